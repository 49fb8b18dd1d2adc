"""An agent with rating pages: the real program on a real outbox, or its door alone where a test has to see inside."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from edge_agent.clerks import Clerk, Clerks
from edge_agent.links import Links
from tests.edge_agent.program import agent, said

TOKEN = "a-token-of-the-hall"
PATIENCE_S = 15
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
[[windows]]
id = "3"
device = "PAGE-3"
profile = "page"
{window}
"""


class Running:
    """A running agent with its door, and what a business system does there."""

    def __init__(self, folder: Path, port: int, pid: int):
        self._pid = pid
        self.folder = folder
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    @property
    def standing(self) -> str:
        """The address of the page that stays at window 3."""
        return self.url + Links(TOKEN).window("3")

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
        """Open an invitation at window 3."""
        return self.ask("POST", "/v1/invitations", {"window": "3", **more})

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


@contextmanager
def running(
    folder: Path, window: str = "", more: str = "", embed: tuple[str, ...] = (), port: int = 0, broker: int = 1
) -> Iterator[Running]:
    """The agent in this folder, which may have run there before."""
    file = folder / "agent.toml"
    text = SETTINGS.format(port=port, token=TOKEN, embed=json.dumps(embed), window=window, more=more, broker=broker)
    file.write_text(text, "utf-8")
    (folder / "door.port").unlink(missing_ok=True)
    with agent(file) as process:
        deadline_s = time.monotonic() + PATIENCE_S
        while not (folder / "door.port").exists() or not (folder / "door.port").read_text():
            assert time.monotonic() < deadline_s, said(file)
            time.sleep(0.02)
        yield Running(folder, int((folder / "door.port").read_text()), process.pid)
