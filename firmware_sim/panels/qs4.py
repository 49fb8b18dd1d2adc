"""The four-key evaluator of a queue system, several on one line with callers, told apart by address. 9600 8N1.

Observed in the field, one source. Both ways `FF 68 LEN LEN 68 ADDR FUNC DATA SUM 16`; LEN is 2 and the data bytes, SUM
adds ADDR, FUNC and data. A rating is repeated until the host answers with the same frame whose FUNC is 01.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from firmware_sim.faults import Wire
from firmware_sim.panel import PressMade, PressThanked
from firmware_sim.panels.base import ButtonPanel, sum8

RATING, HOST, STARS = 0x11, 0x01, 0x02  # FUNC
RATE, CALL, CALL_AGAIN = 0x0B, 0x0C, 0x0D  # DATA of a caller's keys, the first also of the host's start
CALLER = 0x10  # FUNC of a caller; the description only says that it is none of the others
HELD_MAX = 64  # the host's longest frame is 15 bytes


def frame(address: int, func: int, data: bytes) -> bytes:
    """A frame as it stands on the line."""
    body = bytes([address, func]) + data
    size = len(body)
    return bytes([0xFF, 0x68, size, size, 0x68]) + body + bytes([sum8(body), 0x16])


def _is_answer(data: bytes) -> bool:
    return len(data) == 10 and data[6] == HOST and data[7] <= 3


WIRE = Wire(header=b"\xff\x68", length_at=(2, 3), sum_at=(-2,), trailer=1, is_ack=_is_answer)


class Deframer:
    """Cuts what is heard into (ADDR, FUNC, DATA); what is no whole frame is passed over byte by byte."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        self._held += data
        while (start := self._held.find(0xFF)) >= 0:
            del self._held[:start]
            size = self._held[2] if len(self._held) > 2 else 0
            if not b"\xff\x68".startswith(self._held[:2]) or (len(self._held) > 2 and not 3 <= size <= 10):
                del self._held[:1]
                continue
            if len(self._held) < size + 7 or size == 0:
                break
            body, rest = self._held[5 : size + 5], self._held[size + 5 : size + 7]
            if self._held[2:5] == bytes([size, size, 0x68]) and rest == bytes([sum8(bytes(body)), 0x16]):
                del self._held[: size + 7]
                yield body[0], body[1], bytes(body[2:])
            else:
                del self._held[:1]
        del self._held[:-HELD_MAX]
        if self._held[:1] != b"\xff":
            self._held.clear()


class Qs4Panel(ButtonPanel):
    """Keys 0-3. `always`: takes a key at any time; else only while the host has started a rating."""

    wire = WIRE

    def __init__(
        self,
        address: int = 5,
        on_ms: int = 0,
        *,
        boot: int = 1,
        always: bool = False,
        asks_ms: int = 15_000,
        repeat_ms: int = 600,
    ):
        self.address = address
        self.stars = 0
        self._always = always
        self._asks_ms = asks_ms
        self._repeat_ms = repeat_ms
        super().__init__(str(address), on_ms, boot=boot, buttons=(0, 1, 2, 3))

    def feed(self, data: bytes, now_ms: int) -> None:
        for address, func, body in self._deframer.feed(data):
            if address == self.address:
                self._obey(func, body, now_ms)

    def _power_on(self, now_ms: int) -> None:
        super()._power_on(now_ms)
        self._deframer = Deframer()
        self._kept: PressMade | None = None
        self._repeat_at_ms = now_ms

    def _has_room(self, now_ms: int) -> bool:
        return self._kept is None

    def _waiting(self) -> tuple[PressMade, ...]:
        return (self._kept,) if self._kept else ()

    def _pressed(self, press: PressMade) -> None:
        if press.invited or self._always:
            self._kept, self._repeat_at_ms = press, press.at_ms
            self._ask(press.at_ms)  # one rating for one start

    def _pass(self, now_ms: int) -> None:
        if self._kept is not None and self._repeat_at_ms <= now_ms:
            self._repeat_at_ms = now_ms + self._repeat_ms
            self._say(frame(self.address, RATING, bytes([self._kept.button])), now_ms)

    def _wakes_ms(self) -> int | None:
        return self._repeat_at_ms if self._kept else None

    def _obey(self, func: int, data: bytes, now_ms: int) -> None:
        match func, data:
            case 0x01, b"\x0b":
                self._ask(now_ms + self._asks_ms)
            case 0x01, _ if self._kept is not None and data == bytes([self._kept.button]):
                self._tell(PressThanked(self._kept, now_ms))
                self._kept = None
            case 0x02, bytes() if len(data) == 1:
                self.stars = data[0]


@dataclass(frozen=True)
class CallerKey:
    """A clerk pressed a key of a caller; no press of a citizen."""

    device: str
    key: int
    at_ms: int


class CallerPanel(ButtonPanel):
    """A clerk's caller on the same line: button 1 calls, 2 calls again, 3 opens a rating, 4 and 5 are others."""

    wire = WIRE
    KEYS: ClassVar[dict[int, int]] = {1: CALL, 2: CALL_AGAIN, 3: RATE, 4: 0x0E, 5: 0x0F}

    def __init__(self, address: int = 15, on_ms: int = 0, *, boot: int = 1):
        self.address = address
        self.keys: list[CallerKey] = []
        super().__init__(str(address), on_ms, boot=boot, buttons=tuple(self.KEYS))

    def press(self, button: int, now_ms: int) -> int | None:
        """Says the key; never a press of the truth."""
        if button in self.KEYS:
            self.keys.append(CallerKey(self.device, self.KEYS[button], now_ms))
            self._say(frame(self.address, CALLER, bytes([self.KEYS[button]])), now_ms)
        return None
