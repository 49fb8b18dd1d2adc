"""What the guide was told so far: kept on disk after each step, so that a reload or a restart loses nothing."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Literal

import msgspec

from protocols.messages import NAME

from ..config import Settings
from ..hall_it import write_private

FILE = "setup.draft"
Kind = Literal["", "serial", "screen", "udp", "hid", "modbus"]
_DEVICE_MAX = 32  # of a device's id on the line
LATER = "127.0.0.1"
"""The broker of an agent that is given one later: nobody is there, so every press is kept and sent some day."""


class Draft(msgspec.Struct, frozen=True):
    """The answers by now; what is not answered yet is empty."""

    began_ms: int = 0
    agent: str = ""
    host: str = ""
    port: int = 1883
    password: str = ""
    password_file: str = ""
    tls: bool = False
    ca: str = ""
    later: bool = False
    kind: Kind = ""
    bind: str = ""
    baud: int = 9600
    profile: str = ""
    window: str = ""
    device: str = ""
    address: int | None = None
    hall: str = ""
    number: str = ""
    applied: bool = False
    """Whether it stands in agent.toml: what is left is to try it."""
    first: bool = False
    """Whether agent.toml began with it, so that this agent was named in the same guide."""
    kept_ms: int | None = None
    """When the first press was kept: what hall IT's stopwatch would say."""
    tip: int = 0
    """How many records there were when it was applied."""


msgspec.json.Decoder(Draft)  # a type is worked out here, before there are threads


class Drafts:
    """The one draft of this folder."""

    def __init__(self, folder: Path):
        self._file = folder / FILE

    def read(self) -> Draft:
        """The answers so far; empty ones where there are none."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Draft)
        except (OSError, msgspec.DecodeError):
            return Draft()

    def keep(self, draft: Draft) -> Draft:
        """These are the answers. OSError if they cannot be written."""
        write_private(self._file, msgspec.json.encode(draft).decode())
        return draft

    def forget(self) -> None:
        """From the beginning."""
        self._file.unlink(missing_ok=True)


# ---- what is proposed where nobody has said anything


def agent_name(host: str | None = None) -> str:
    """A name for this agent after that of its machine."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", host if host is not None else socket.gethostname()).strip("-._")[:64]
    return name.lower() if NAME.fullmatch(name) and name.lower() not in ("localhost", "collector") else "hall-pc-1"


def ending(kind: Kind) -> str:
    """What a device of this kind is called after its window's number."""
    return {"screen": "page", "udp": "tablet"}.get(kind, "btn")


def device_id(window: str, kind: Kind, settings: Settings | None) -> str:
    """A name for a device that has none printed on it: `A03-page`, `A03-btn`; none that this agent has already, and
    none where the window has no number yet."""
    taken = {each.device for each in settings.windows} if settings is not None else set()
    last = f"-{ending(kind)}"
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", window)[: _DEVICE_MAX - len(last) - 1].strip("-")
    every = (f"{stem}{last}", *(f"{stem}{last}{number}" for number in range(2, 10)))
    return next((name for name in every if name not in taken), "") if stem else ""
