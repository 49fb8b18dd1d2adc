"""A collector's pages on a real port, with a ledger and people in real files, for a browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner
from playwright.sync_api import Page

from collector import web
from collector.cli import main
from collector.directory import Directory
from collector.people import People, open_people
from collector.web.keeper import Keeper
from tests.collector.agents import NOW_MS
from tests.collector.ledgers import Ledger, window

PASSWORD = "一个很长的口令2026"
_SETTINGS = '[broker]\nhost = "127.0.0.1"\npassword = "x"\n[web]\ntoken = "t"\n'


class Centre:
    """What is behind the pages. `now_ms` is theirs, and can be moved."""

    def __init__(self, folder: Path, directory: Directory):
        self.now_ms = NOW_MS
        self.folder = folder
        self.ledger = Ledger(folder / "ledger.db", directory)
        self.people: People
        self.people, _ = open_people(self.ledger.path, NOW_MS)
        (folder / "collector.toml").write_text(_SETTINGS, "utf-8")
        (folder / "directory.toml").write_text(window(), "utf-8")
        ledger = self.ledger
        app = web.create_app(
            ledger.overview,
            ledger.intake,
            ledger.desk,
            ledger.channels,
            directory,
            Keeper(self.people, "t", lambda: self.now_ms),
            [],
            lambda: self.now_ms,
        )
        self.server = web.serve(app, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.effective_port}"

    def command(self, *words: str, said: str = "") -> str:
        """What this command of the collector prints; it runs beside the server."""
        done = CliRunner().invoke(main, [*words, "--config", str(self.folder / "collector.toml")], input=said)
        assert 0 == done.exit_code, done.output
        return done.output

    def sign_in(self, page: Page, name: str, password: str = PASSWORD) -> Page:
        """The same page, and this person in front of it."""
        page.goto(f"{self.url}/sign-in")
        page.fill("[name=name]", name)
        page.fill("[name=password]", password)
        page.click("main button")
        return page


@contextmanager
def serving(folder: Path, directory: Directory) -> Iterator[Centre]:
    """The pages answer as long as this lasts."""
    centre = Centre(folder, directory)
    thread = threading.Thread(target=_served, args=(centre,), daemon=True)
    thread.start()
    try:
        yield centre
    finally:
        centre.server.close()
        thread.join(10)
        centre.people.close()
        centre.ledger.store.close()


def _served(centre: Centre) -> None:
    try:
        centre.server.run()
    except OSError:
        pass  # waitress closes its sockets under its own loop when another thread closes it
