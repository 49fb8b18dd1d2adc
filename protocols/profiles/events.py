"""What a device can say, whatever its wire: above this line of the house there is nothing of any vendor's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pressed:
    """A key went down `age_ms` ago; `boot` and `count` only from a device that counts its own."""

    device: str
    """What it calls itself on the line: a house id, "5" for bus address 5, "" where nobody says."""
    key: int
    age_ms: int
    raw: bytes
    boot: int | None
    count: int | None


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life."""

    device: str
    boot: int
    uptime_s: int
    state: str
    count: int


@dataclass(frozen=True, slots=True)
class NobodyPressed:
    """The device's own time-out code: it asked, and nobody pressed."""

    device: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """The device answered a command or a probe of that name."""

    device: str
    name: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Noise:
    """Bytes that are no frame, and why."""

    raw: bytes
    reason: str
