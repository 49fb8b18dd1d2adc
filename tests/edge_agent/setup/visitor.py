"""A browser without a screen: real HTTP to a real setup page, cookies kept, forms sent as a browser sends them."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

from edge_agent import clock, config
from edge_agent.door import serve
from edge_agent.door.setup import create
from edge_agent.lately import Lately
from edge_agent.outbox import Outbox
from edge_agent.setup.place import Place, Running
from protocols.ratings import Moment
from tests.edge_agent import test_door

WORD = "correct horse 9"

PAGE = """agent = "hall-pc-1"
[uplink]
host = "127.0.0.1"
password = "x"
[door]
token = "t"
{door}
[[windows]]
id = "A03"
device = "A03-page"
profile = "page"
"""
"""Settings of an agent with one page, and what else its door is told."""


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def form_word(self) -> str:
        found = re.search(r'name="form_word" value="([0-9a-f]+)"', self.text)
        return found[1] if found else ""


@dataclass
class Visitor:
    """Somebody at a browser of this machine."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)
    host: str = ""
    origin: str = ""

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask("GET", path, None, headers)

    def post(self, path: str, form: dict[str, str], word: str | None = None, **headers: str) -> Answer:
        """The form of the page at that path, filled in."""
        given = self.get(path).form_word if word is None else word
        body = urlencode({**form, "form_word": given})
        origin = self.origin or f"http://127.0.0.1:{self.port}"
        sent = {"Content-Type": "application/x-www-form-urlencoded", "Origin": origin, **headers}
        return self._ask("POST", path, body, sent)

    def _ask(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {"Host": self.host or f"127.0.0.1:{self.port}", "Accept-Language": "en", **headers}
        if cookie:
            sent["Cookie"] = cookie
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        for value in answer.headers.get_all("Set-Cookie") or []:
            self.cookies |= {name: morsel.value for name, morsel in SimpleCookie(value).items()}
        text = answer.read().decode("utf-8", "replace")
        connection.close()
        return Answer(answer.status, dict(answer.headers), text)

    def sign_in(self) -> Answer:
        return self.post("/setup/sign-in", {"word": WORD})

    def begin(self) -> Answer:
        """The first visit of all."""
        return self.post("/setup/password", {"word": WORD, "again": WORD})


class Clock:
    """The machine's, which a test may put forward."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> Moment:
        now = clock.now()
        return Moment(now.wall_ms + self.ahead_ms, now.mono_ms + self.ahead_ms, now.host_boot)


@dataclass
class Page:
    """A setup page that is served."""

    port: int
    folder: Path
    clock: Clock
    again: list[Path | None]

    def visitor(self) -> Visitor:
        return Visitor(self.port)


@contextmanager
def served(folder: Path, running: Running | None = None, door_host: str = "127.0.0.1") -> Iterator[Page]:
    """The page of the agent whose settings lie, or will lie, in this folder. It starts nothing again."""
    now, again = Clock(), list[Path | None]()
    place = Place(folder / "agent.toml", now, Lately(), again.append, door_host, running)
    server, port = serve(create(place), "127.0.0.1", 0)
    serving = test_door.running(server, port)
    try:
        yield Page(next(serving).port, folder, now, again)
    finally:
        next(serving, None)  # also under a test that failed, which would wait for the server's thread for ever


@contextmanager
def beside(folder: Path, settings: str) -> Iterator[Visitor]:
    """Somebody signed in at the page of an agent that has these settings."""
    with served(folder) as page:
        page.visitor().begin()
    file = folder / "agent.toml"
    file.write_text(settings, "utf-8")
    box = Outbox(folder / "outbox.db", "hall-pc-1", 1)
    running: Any = SimpleNamespace(settings=config.checked(file.read_bytes(), file), outbox=box, lines=())
    with served(folder, running) as page:
        visitor = page.visitor()
        visitor.sign_in()
        yield visitor
    box.close()
