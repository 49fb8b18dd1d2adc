"""A panel of a shape that no profile knows, chosen by a seed; its truth can be read, so that a guess can be judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import xor
from random import Random
from typing import Any, Literal

from firmware_sim.faults import Faults, Wire
from firmware_sim.panel import PressMade, crc16
from firmware_sim.panels.base import ButtonPanel, sum8
from firmware_sim.panels.modbus import crc16 as modbus_crc16

Release = Literal["none", "state", "high-bit"]
Kind = Literal["byte", "ascii", "framed"]
Length = Literal["none", "all", "behind", "before_sum", "data"]
Sum = Literal["none", "xor", "sum8", "negative8", "crc16-modbus", "crc16-ccitt"]
Coding = Literal["binary", "ascii", "one-hot", "odd"]

SUM_SIZE: dict[Sum, int] = {"none": 0, "xor": 1, "sum8": 1, "negative8": 1, "crc16-modbus": 2, "crc16-ccitt": 2}
DOWN_MS = 120


@dataclass(frozen=True)
class Shape:
    """What its bytes look like.

    A frame is header, length, address, command, sequence, key, state, checksum, trailer; each of them but the key may
    be missing. `length` says what is counted: all bytes of the frame, all behind the length byte, those behind it
    and before the checksum, or key and state only. `state` is 01 for down and 00 for up.
    """

    kind: Kind
    coding: Coding
    codes: tuple[int, ...]
    """The code of button 1, 2, …"""
    header: bytes = b""
    """Of an ASCII shape, what stands before the digit."""
    length: Length = "none"
    address: int | None = None
    command: int | None = None
    sequence: bool = False
    release: Release = "none"
    checksum: Sum = "none"
    sum_over: Literal["all", "behind_header"] = "all"
    trailer: bytes = b""
    """Of an ASCII shape, what stands behind the digit."""
    beat_every_ms: int | None = None
    beat_command: int | None = None

    def describe(self) -> dict[str, Any]:
        """All of it as plain values, bytes in hex."""
        return {
            "kind": self.kind,
            "coding": self.coding,
            "keys": {button: f"{code:02X}" for button, code in enumerate(self.codes, 1)},
            "header": self.header.hex(" ").upper(),
            "length": self.length,
            "address": self.address,
            "command": self.command,
            "sequence": self.sequence,
            "release": self.release,
            "checksum": self.checksum,
            "sum_over": self.sum_over,
            "trailer": self.trailer.hex(" ").upper(),
            "beat_every_ms": self.beat_every_ms,
            "beat_command": self.beat_command,
        }

    def say(self, code: int, *, command: int | None, sequence: int, down: bool = True) -> bytes:
        """One frame, or what stands for one."""
        if self.release == "high-bit" and not down:
            code |= 0x80
        data = bytes([code, down]) if self.release == "state" else bytes([code])
        if self.kind != "framed":
            return self.header + data + self.trailer
        body = b"".join(self._fields(command, sequence)) + data
        counted = self.header + self._length(len(body), len(data)) + body
        return counted + self._sum(counted) + self.trailer

    def wire(self) -> Wire:
        """Where its parts stand."""
        size = SUM_SIZE[self.checksum]
        first = -len(self.trailer) - size
        return Wire(
            header=self.header,
            length_at=(len(self.header),) if self.length != "none" else (),
            sum_at=tuple(range(first, first + size)),
            trailer=len(self.trailer),
        )

    def _fields(self, command: int | None, sequence: int) -> Iterator[bytes]:
        if self.address is not None:
            yield bytes([self.address])
        if command is not None:
            yield bytes([command])
        if self.sequence:
            yield bytes([sequence % 256])

    def _length(self, body: int, data: int) -> bytes:
        behind = body + SUM_SIZE[self.checksum] + len(self.trailer)
        match self.length:
            case "none":
                return b""
            case "all":
                return bytes([len(self.header) + 1 + behind])
            case "behind":
                return bytes([behind])
            case "before_sum":
                return bytes([body])
            case "data":
                return bytes([data])

    def _sum(self, counted: bytes) -> bytes:
        data = counted if self.sum_over == "all" else counted[len(self.header) :]
        match self.checksum:
            case "none":
                return b""
            case "xor":
                return bytes([reduce(xor, data)])
            case "sum8":
                return bytes([sum8(data)])
            case "negative8":
                return bytes([-sum8(data) % 256])
            case "crc16-modbus":
                return modbus_crc16(data).to_bytes(2, "little")
            case "crc16-ccitt":
                return crc16(data).to_bytes(2, "big")


def shape_of(seed: int | str) -> Shape:
    """The shape of this seed: a quarter are bare bytes, a quarter ASCII, half are framed."""
    rng = Random(f"{seed}/shape")
    buttons = rng.randint(3, 6)
    match rng.choice(("byte", "ascii", "framed", "framed")):
        case "byte":
            coding: Coding = rng.choice(("one-hot", "odd"))
            release: Release = rng.choice(("none", "none", "high-bit"))
            return Shape("byte", coding, _codes(coding, buttons, rng), release=release)
        case "ascii":
            return _ascii(buttons, rng)
        case _:
            return _framed(buttons, rng)


def _ascii(buttons: int, rng: Random) -> Shape:
    prefix = rng.choice((b"", b"K", b"KEY", b"#", b"P:", b"EVAL=", b"<", b"PJ"))
    suffix = rng.choice((b"\r\n", b"\r", b"\n", b";", b"#", b">\r\n", b"!"))
    return Shape("ascii", "ascii", _codes("ascii", buttons, rng), header=prefix, trailer=suffix)


def _framed(buttons: int, rng: Random) -> Shape:
    coding: Coding = rng.choice(("binary", "ascii", "one-hot"))
    beats = rng.random() < 0.3
    commands = rng.sample(range(1, 0x80), 2)
    return Shape(
        "framed",
        coding,
        _codes(coding, buttons, rng),
        header=bytes(rng.sample((0xA5, 0x5A, 0x7E, 0xFE, 0xAA, 0x55, 0xC0, 0xEB, 0x90, 0x02), rng.randint(1, 3))),
        length=rng.choice(("none", "all", "behind", "before_sum", "data")),
        address=rng.choice((None, rng.randint(1, 0x20))),
        # A beat has to differ from a press in something, and that is its command.
        command=commands[0] if beats or rng.random() < 0.6 else None,
        sequence=rng.random() < 0.3,
        release=rng.choice(("none", "none", "state", "high-bit")),
        checksum=rng.choice(tuple(SUM_SIZE)),
        sum_over=rng.choice(("all", "behind_header")),
        trailer=rng.choice((b"", b"", b"\x0d", b"\x0d\x0a", b"\x16", b"\xef", b"\x03")),
        beat_every_ms=rng.choice((1_000, 3_000, 5_000)) if beats else None,
        beat_command=commands[1] if beats else None,
    )


def _codes(coding: Coding, buttons: int, rng: Random) -> tuple[int, ...]:
    match coding:
        case "binary":
            first = rng.choice((0, 1, 0x10, 0x21))
            return tuple(range(first, first + buttons))
        case "ascii":
            first = ord("0") + rng.choice((0, 1))
            return tuple(range(first, first + buttons))
        case "one-hot":
            return tuple(1 << place for place in range(buttons))
        case _:
            return tuple(rng.sample(range(1, 0x7F), buttons))


class UnknownPanel(ButtonPanel):
    """A panel of that shape. It listens to nobody and takes every key at any time."""

    def __init__(self, shape: Shape, device: str = "", on_ms: int = 0, *, boot: int = 1):
        self.shape = shape
        self.wire = shape.wire()
        super().__init__(device, on_ms, boot=boot, buttons=tuple(range(1, len(shape.codes) + 1)))

    def describe(self) -> dict[str, Any]:
        """The truth of its shape."""
        return self.shape.describe()

    def suffer(self, faults: Faults, rng: Random) -> None:
        super().suffer(faults, rng)
        if self._happens(faults.wrap):
            self._sequence = 254

    def _power_on(self, now_ms: int) -> None:
        super()._power_on(now_ms)
        self._sequence = 0
        self._beats = 0
        self._beat_ms = now_ms

    def _pressed(self, press: PressMade) -> None:
        code = self.shape.codes[press.button - 1]
        self._next(code, press.at_ms)
        if self.shape.release != "none":
            self._next(code, press.at_ms + DOWN_MS, down=False)

    def _next(self, code: int, at_ms: int, *, down: bool = True) -> None:
        self._sequence += 1
        self._say(self.shape.say(code, command=self.shape.command, sequence=self._sequence, down=down), at_ms)

    def _pass(self, now_ms: int) -> None:
        if self.shape.beat_every_ms is not None and self._beat_ms <= now_ms:
            self._beat_ms = now_ms + self.shape.beat_every_ms
            self._beats += 1
            self._say(
                self.shape.say(self._beats % 128, command=self.shape.beat_command, sequence=self._sequence), now_ms
            )

    def _wakes_ms(self) -> int | None:
        return self._beat_ms if self.shape.beat_every_ms is not None else None
