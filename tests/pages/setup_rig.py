"""An agent without settings, a panel on a real pty beside it, and a technician at the browser."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from playwright.sync_api import Page

from edge_agent import clock
from edge_agent.hall_it import HallIt
from edge_agent.setup import apply, toml
from edge_agent.setup.draft import Draft, Drafts
from tests.edge_agent.hall import until
from tests.edge_agent.program import command, environment

WORD = "correct horse 9"
_PATIENCE_S = 30


@dataclass
class Rig:
    """A folder, the agent that runs in it, and its panel."""

    folder: Path
    url: str
    agent: subprocess.Popen[bytes]
    panel: subprocess.Popen[bytes]

    @property
    def port(self) -> Path:
        return self.folder / "panel"

    @property
    def log(self) -> str:
        return (self.folder / "agent.log").read_text("utf-8")

    @property
    def rss_mb(self) -> float:
        """What the agent holds of the machine's memory."""
        status = Path(f"/proc/{self.agent.pid}/status").read_text("ascii")
        found = re.search(r"VmRSS:\s+(\d+)", status)
        return int(found[1]) / 1024 if found else 0.0

    def press(self, key: int) -> None:
        self.say(f"{key}\n")

    def say(self, line: str) -> None:
        assert self.panel.stdin is not None
        self.panel.stdin.write(line.encode())
        self.panel.stdin.flush()


@contextmanager
def rig(folder: Path, *panel: str, settings: str = "", port: int = 0) -> Iterator[Rig]:
    """Without `settings` the folder is empty. Everything that was started has ended when this is left."""
    folder.mkdir(exist_ok=True)
    if settings:
        (folder / "agent.toml").write_text(settings, "utf-8")
    device = subprocess.Popen(
        [sys.executable, "-m", "firmware_sim", "panel", "--link", str(folder / "panel"), *panel],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=environment(),
        cwd=folder,
    )
    with (folder / "agent.log").open("ab") as log:
        agent = subprocess.Popen(
            command("run", "--config", folder / "agent.toml", "--setup-port", port),
            stderr=log,
            env=environment(),
            cwd=folder,
        )
    try:
        yield Rig(folder, _address(folder), agent, device)
    finally:
        for process in (agent, device):
            process.kill()
            process.wait()
        assert device.stdin is not None
        device.stdin.close()


def set_up(folder: Path) -> str:
    """Settings of an agent that hall IT has brought through the guide, with all that lies beside them."""
    folder.mkdir(exist_ok=True)
    HallIt(folder).set_password(WORD)
    draft = Draft(agent="hall-pc-7", later=True, kind="serial", bind=str(folder / "panel"), profile="house")
    draft = msgspec.structs.replace(draft, window="1", device="D0001", hall="青山区政务服务大厅")
    Drafts(folder).keep(msgspec.structs.replace(draft, applied=True, began_ms=clock.now().wall_ms))
    apply.keep_secret(folder, "door.token")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return toml.new_text(draft, port)


def _address(folder: Path) -> str:
    log, found = folder / "agent.log", list[str]()

    def told() -> bool:
        found[:] = re.findall(r"http://\S+/setup/", log.read_text("utf-8"))
        return bool(found) and (folder / "panel").exists()

    assert until(told, _PATIENCE_S), log.read_text("utf-8")
    return found[-1]


def sign_in(page: Page, url: str) -> None:
    """Past the first screen, by setting the password or by giving it."""
    page.goto(url)
    if page.locator("#f-again").count():
        page.fill("#f-word", WORD)
        page.fill("#f-again", WORD)
        page.click("button.first")
    elif page.locator("#f-word").count():
        page.fill("#f-word", WORD)
        page.click("button.first")


def through(page: Page, rig: Rig, upto: str = "try") -> None:
    """The guide up to the screen of that name, as whoever has the panel before them."""
    page.get_by_label("以后再填").or_(page.get_by_label("Later")).check()
    page.click("button[value=next]")
    if upto == "device":
        return
    page.click("details summary")
    page.fill("#f-bind", str(rig.port))
    page.locator("details button").click()
    page.wait_for_selector("table.bytes, .wait, .alarm")
    if upto == "bytes":
        return
    rig.press(3)
    page.wait_for_selector("#reads-house", timeout=60_000)
    if upto == "read":
        return
    page.click("#reads-house")
    page.fill("#f-window", "1")
    if upto == "bind":
        return
    page.click("button.first")
    page.wait_for_url("**/guide/try", timeout=90_000)


def run_out(process: subprocess.Popen[bytes], within_s: float = 10) -> int | None:
    """How it ended."""
    deadline_s = time.monotonic() + within_s
    while process.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.02)
    return process.poll()


def sideways(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))
