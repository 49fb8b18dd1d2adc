"""What the guide was told so far: kept on disk after each step, so that a reload or a restart loses nothing."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Literal

import msgspec

from protocols.messages import NAME

from ..config import Settings, UplinkSettings
from ..hall_it import write_private

FILE = "setup.draft"
Kind = Literal["", "serial", "screen", "udp", "hid", "modbus"]
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


def window_id(settings: Settings | None) -> str:
    """The first number that no window has."""
    taken = {window.id for window in settings.windows} if settings is not None else set()
    return next(str(number) for number in range(1, 10_000) if str(number) not in taken)


def device_id(agent: str, window: str, settings: Settings | None) -> str:
    """A name for a device that has none printed on it; no other agent's has the same."""
    taken = {each.device for each in settings.windows} if settings is not None else set()
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{agent}-{window}")[-30:].strip("-")
    return next(name for name in (stem, *(f"{stem}{letter}" for letter in "bcdefghijk")) if name not in taken)


def uplink_of(draft: Draft) -> UplinkSettings:
    """What the test of the connection takes."""
    return UplinkSettings(LATER if draft.later else draft.host, draft.port)
