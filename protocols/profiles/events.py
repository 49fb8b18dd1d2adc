"""What a line can say, whoever made the device: pressed, nobody pressed, alive, answered, or noise."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.ratings import NO_REASONS, Reasons


@dataclass(frozen=True, slots=True)
class Pressed:
    """A key went down `age_ms` before its bytes were read."""

    device: str
    """What the device calls itself on the line: a house device's id, `5` for bus address 5, empty where nobody says."""
    key: int
    age_ms: int
    raw: bytes
    boot: int | None = None
    count: int | None = None
    """Its number within `boot`, or a sequence number without one; None from a device that does not count."""
    shown: str | None = None
    """The invitation that the device showed, empty for none; None if it does not say."""
    reasons: Reasons = NO_REASONS


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life, with what the device says of itself."""

    device: str
    boot: int | None = None
    uptime_s: int | None = None
    state: str = ""
    count: int | None = None


@dataclass(frozen=True, slots=True)
class NobodyPressed:
    """The device's own word that its time is over."""

    device: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer to something that we said, by the name of its rule."""

    device: str
    name: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Noise:
    """Bytes that mean nothing here, and why."""

    raw: bytes
    reason: str
    age_ms: int = 0
    """How long before it was told its first byte came: of half a frame, nobody knows at once that it is one."""


Event = Pressed | Beat | NobodyPressed | Answered | Noise
