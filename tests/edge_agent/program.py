"""The agent as a program of its own: its settings, its command line, and a running one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .hall import DEVICE
from .ledger import AGENT

ROOT = Path(__file__).parent.parent.parent


def settings(
    broker_port: int = 1, password: str = "x", window: str = "/nowhere", door: str = "", more: str = ""
) -> str:
    return f"""
agent = "{AGENT}"
{more}
[uplink]
host = "127.0.0.1"
port = {broker_port}
password = "{password}"
receipt_wait_ms = 500
{door}
[[windows]]
id = "3"
device = "{DEVICE}"
port = "{window}"
"""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "edge_agent", *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}


@contextmanager
def agent(file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A running agent; whatever is left of it is killed when this is left."""
    with (file.parent / "agent.log").open("ab") as log:
        process = subprocess.Popen(command("run", "--config", file), stderr=log, env=environment(), cwd="/")
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def said(file: Path) -> str:
    return (file.parent / "agent.log").read_text("utf-8")


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage" * 1000)
