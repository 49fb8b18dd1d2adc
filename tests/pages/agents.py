"""An agent with rating pages: the real program on a real outbox, or its door alone where a test has to see inside."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from edge_agent.clerks import Clerk, Clerks
from edge_agent.links import Links
from edge_agent.outbox.salvage import reading
from tests.edge_agent.program import agent, said

TOKEN = "a-token-of-the-hall"
PATIENCE_S = 60  # for a busy machine, on which a program takes its time to start
SETTINGS = """
agent = "hall-pc-1"
[uplink]
host = "127.0.0.1"
port = {broker}
password = "x"
receipt_wait_ms = 500
[door]
port = {port}
port_file = "door.port"
token = "{token}"
embed = {embed}
{more}
"""
WINDOW = """
[[windows]]
id = "{id}"
device = "PAGE-{id}"
profile = "page"
{more}
"""
_FRESH = {"": 40, 'reasons = "bad"': 2, "walk_in = true": 5}
"""How many windows a shared agent has, by what their settings say: each test of a module takes one that nobody used."""


class Running:
    """A running agent with its door, and what a business system does there at one window."""

    def __init__(self, folder: Path, port: int, pid: int, window: str = "3"):
        self._pid = pid
        self.folder = folder
        self.port = port
        self.window = window
        self.url = f"http://127.0.0.1:{port}"

    def at(self, window: str) -> Running:
        """The same agent at another window."""
        return Running(self.folder, self.port, self._pid, window)

    @property
    def standing(self) -> str:
        """The address of the page that stays at its window."""
        return self.url + Links(TOKEN).window(self.window)

    def kept(self, kind: str = "press", folder: Path | None = None) -> list[dict[str, Any]]:
        """Every record of this kind that is on the disk and not receipted, of its window; `folder`: where its
        outbox is elsewhere."""
        with reading((folder or self.folder) / "outbox.db") as found:
            records = found.records()
            bodies = [json.loads(body) for _, body in records.after(records.done)]
        return [body for body in bodies if (body["kind"], body["window"]) == (kind, self.window)]

    def sit(self, number: str) -> None:
        """This clerk sits at its window."""
        self.ask("PUT", f"/v1/windows/{self.window}/seat", {"clerk": number})

    def rss_mb(self) -> float:
        """Resident memory of the agent, in MB (10⁶ bytes)."""
        status = Path(f"/proc/{self._pid}/status").read_text("utf-8")
        return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request(method, path, json.dumps(body), {"Authorization": f"Bearer {TOKEN}"})
            with connection.getresponse() as response:
                answer: dict[str, Any] = json.loads(response.read())
                return answer

    def invite(self, **more: Any) -> dict[str, Any]:
        """Open an invitation at its window."""
        return self.ask("POST", "/v1/invitations", {"window": self.window, **more})

    def state(self, invitation: str) -> str:
        """How that invitation stands."""
        found: str = self.ask("GET", f"/v1/invitations/{invitation}")["state"]
        return found


def clerks(folder: Path) -> Clerks:
    """Two clerks, the first of whom can sign in with 2468."""
    known = Clerks(folder)
    known.put(Clerk("018", "张敏", 4), "2468")
    known.put(Clerk("021", "李强", 5), "1357")
    return known


class Hall:
    """One agent for many tests, each of which has a window to itself."""

    def __init__(self, agent: Running):
        self._agent = agent
        self._fresh = {more: iter([id for id, has in _windows() if has == more]) for more in _FRESH}

    def window(self, more: str = "") -> Running:
        """A window where nobody was asked and nothing was pressed yet."""
        return self._agent.at(next(self._fresh[more]))


def _windows() -> list[tuple[str, str]]:
    said = [more for more, number in _FRESH.items() for _ in range(number)]
    return [(str(number), more) for number, more in enumerate(said, 3)]


@contextmanager
def hall(folder: Path) -> Iterator[Hall]:
    """An agent with windows of every kind, and the two clerks."""
    clerks(folder)
    with running(folder, windows=_windows()) as agent:
        yield Hall(agent)


@contextmanager
def running(
    folder: Path,
    window: str = "",
    more: str = "",
    embed: tuple[str, ...] = (),
    port: int = 0,
    broker: int = 1,
    windows: Sequence[tuple[str, str]] = (),
) -> Iterator[Running]:
    """The agent in this folder, which may have run there before. `windows`: their ids, and what else is said of each;
    window 3 alone if left out, of which `window` is said."""
    file = folder / "agent.toml"
    text = SETTINGS.format(port=port, token=TOKEN, embed=json.dumps(embed), more=more, broker=broker)
    said_of = "".join(WINDOW.format(id=id, more=each) for id, each in windows or [("3", window)])
    file.write_text(text + said_of, "utf-8")
    (folder / "door.port").unlink(missing_ok=True)
    with agent(file) as process:
        deadline_s = time.monotonic() + PATIENCE_S
        while not (folder / "door.port").exists() or not (folder / "door.port").read_text():
            assert time.monotonic() < deadline_s, said(file)
            time.sleep(0.02)
        yield Running(folder, int((folder / "door.port").read_text()), process.pid)
