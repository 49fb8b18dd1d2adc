"""Which checksum stands in frames: every kind over every range is tried, and what fits is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import xor

from protocols.profiles.framing import crc16
from protocols.profiles.vocabulary import Check

TAIL_MAX = 3  # bytes after the checksum
_CRCS = (
    Check("crc16", [], poly=0x8005, init=0xFFFF, reflected=True),
    Check("crc16", [], poly=0x1021, init=0xFFFF, reflected=False),
    Check("crc16", [], poly=0x1021, init=0x0000, reflected=False),
)
_NAMES = {(0x8005, 0xFFFF): "crc16 Modbus", (0x1021, 0xFFFF): "crc16 CCITT-FALSE", (0x1021, 0): "crc16 XMODEM"}


@dataclass(frozen=True)
class Fit:
    """A checksum that fits: what it is, from which byte on, and how many bytes stand behind it."""

    check: Check
    start: int
    tail: int

    @property
    def size(self) -> int:
        return 2 if self.check.kind == "crc16" else 1

    def at(self, frame: bytes) -> int:
        """Where it stands in this frame."""
        return len(frame) - self.tail - self.size

    def of(self, frame: bytes) -> bytes:
        """What should stand there."""
        covered = frame[self.start : self.at(frame)]
        match self.check.kind:
            case "crc16":
                return crc16(covered, self.check).to_bytes(2, self.check.order)
            case "xor":
                return bytes([reduce(xor, covered, 0)])
            case "sum8":
                return bytes([sum(covered) & 0xFF])
            case "sum8-complement":
                return bytes([-sum(covered) & 0xFF])

    def holds(self, frame: bytes) -> bool:
        at = self.at(frame)
        return at > self.start and frame[at : at + self.size] == self.of(frame)

    def __str__(self) -> str:
        crc = self.check
        name = crc.kind if crc.kind != "crc16" else f"{_NAMES[crc.poly, crc.init]} {crc.order}"
        return f"{name} [{self.start}:{-self.tail - self.size}]"


def fits_of(frames: Sequence[bytes]) -> list[Fit]:
    """Every checksum that holds in all of these frames and is not the same in all; the likeliest first."""
    return [
        fit
        for fit in _tried(min(map(len, frames)))
        if all(fit.holds(frame) for frame in frames) and _varies(fit, frames)
    ]


def _tried(shortest: int) -> Iterator[Fit]:
    checks: list[Check] = [Check("xor", []), Check("sum8", []), Check("sum8-complement", [])]
    checks += [_ordered(crc, order) for crc in _CRCS for order in ("little", "big")]
    for tail in range(TAIL_MAX + 1):
        for check in checks:
            size = 2 if check.kind == "crc16" else 1
            for start in range(shortest - tail - size):
                yield Fit(check, start, tail)


def _ordered(crc: Check, order: str) -> Check:
    return Check("crc16", [], poly=crc.poly, init=crc.init, reflected=crc.reflected, order=order)  # type: ignore[arg-type]


def _varies(fit: Fit, frames: Sequence[bytes]) -> bool:
    return len({frame[fit.at(frame) : fit.at(frame) + fit.size] for frame in frames}) > 1


def changed(frame: bytes, at: int, value: int, fit: Fit) -> bytes:
    """The frame with another byte there, and the checksum that goes with it."""
    other = frame[:at] + bytes([value]) + frame[at + 1 :]
    where = fit.at(frame)
    return other[:where] + fit.of(other) + other[where + fit.size :]
