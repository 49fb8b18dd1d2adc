"""A button panel that is a Modbus RTU slave, from the public specification: it speaks only when it is asked.

What a host finds at which place:

    discrete input i     (02)        key i+1: is down (level), or went down and was not cleared (latched)
    coil i               (01, 05)    lamp i
    register 0           (03, 04)    the key, as the mode says, 0 for none
    register 1           (03, 04)    how many presses so far, modulo 65536
    register 4           (03, 04, 06) lamps; a panel with any lamp on is asking
    register 10 hex      (06)        any write clears the key and all inputs

Modes of register 0: `level` the key while it is down; `edge` the key once, to the first who reads it; `latched` until
cleared; `counter` the last key for good, register 1 tells a new press from an old one.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal

from firmware_sim.faults import Faults, Wire
from firmware_sim.panel import PressMade, PressThanked
from firmware_sim.panels.base import ButtonPanel

Mode = Literal["level", "edge", "latched", "counter"]

KEY_AT, COUNT_AT, LAMPS_AT, CLEAR_AT = 0x00, 0x01, 0x04, 0x10
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, DEVICE_FAILURE, DEVICE_BUSY = 1, 2, 3, 4, 6
REQUEST = 8  # bytes of every request that is understood
HELD_MAX = 256  # the longest frame of the specification
GAP_MS = 50  # a request that stands still for so long was none
DOWN_MS = 120  # how long a finger stays on a button
WORD = 0x10000


def crc16(data: bytes) -> int:
    """CRC-16 of Modbus, bit by bit: polynomial 0xA001 reflected, start 0xFFFF."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def frame(address: int, body: bytes) -> bytes:
    """A frame as it stands on the line; the checksum's low byte comes first."""
    whole = bytes([address]) + body
    return whole + crc16(whole).to_bytes(2, "little")


def exception(request: bytes, code: int) -> bytes:
    """A slave's no to this request; nothing to one that is none or that all slaves hear."""
    if len(request) != REQUEST or request[0] == 0:
        return b""
    return frame(request[0], bytes([request[1] | 0x80, code]))


WIRE = Wire(
    sum_at=(-2, -1),
    length_at=(2,),
    is_ack=lambda request: request[1:4] == b"\x06\x00\x10",
    nak=lambda request: exception(request, DEVICE_FAILURE),
    busy=lambda request: exception(request, DEVICE_BUSY),
)


class ModbusPanel(ButtonPanel):
    """One slave. What it cannot do is answered by an exception; what is not for it, or damaged, by silence."""

    wire = WIRE
    _heard_ms: int

    def __init__(
        self,
        address: int = 1,
        on_ms: int = 0,
        *,
        boot: int = 1,
        mode: Mode = "latched",
        buttons: Sequence[int] = (1, 2, 3, 4, 5),
        turnaround_ms: int = 2,
        down_ms: int = DOWN_MS,
    ):
        self.address = address
        self._mode = mode
        self._turnaround_ms = turnaround_ms
        self._down_ms = down_ms
        super().__init__(str(address), on_ms, boot=boot, buttons=buttons)

    def feed(self, data: bytes, now_ms: int) -> None:
        if now_ms - self._heard_ms > GAP_MS:
            self._held.clear()
        self._heard_ms = now_ms
        self._held += data
        while len(self._held) >= REQUEST:
            request = bytes(self._held[:REQUEST])
            whole = frame(request[0], request[1:6]) == request
            del self._held[: REQUEST if whole else 1]
            if whole and request[0] in (self.address, 0):
                self._reply(request, now_ms)
        del self._held[:-HELD_MAX]

    # ---- its places

    def _power_on(self, now_ms: int) -> None:
        super()._power_on(now_ms)
        self.lamps = 0
        self.presses = self.count
        self._held = bytearray()
        self._heard_ms = now_ms
        self._key = 0
        self._latched: set[int] = set()
        self._down: dict[int, int] = {}
        self._last: PressMade | None = None

    def suffer(self, faults: Faults, rng: Random) -> None:
        super().suffer(faults, rng)
        if self._happens(self.faults.wrap):
            self.presses = WORD - 2

    def _pressed(self, press: PressMade) -> None:
        self.presses = (self.presses + 1) % WORD
        self._key = press.button
        self._latched.add(press.button)
        down_ms = self.rng.randint(5, 40) if self._happens(self.faults.short_press) else self._down_ms
        self._down[press.button] = press.at_ms + down_ms
        self._last = press

    def _waiting(self) -> Sequence[PressMade]:
        return (self._last,) if self._last and self._mode == "latched" else ()

    def repeat(self, button: int, now_ms: int) -> None:
        self._down[button] = max(now_ms + self._down_ms, self._down.get(button, 0))

    def _register(self, at: int, now_ms: int) -> int | None:
        match at:
            case 0x00:
                return self._key_now(now_ms)
            case 0x01:
                return self.presses
            case 0x04:
                return self.lamps
        return None

    def _key_now(self, now_ms: int) -> int:
        match self._mode:
            case "level":
                return next((key for key in self.buttons if self._is_down(key, now_ms)), 0)
            case "edge":
                key, self._key = self._key, 0
                return key
            case "latched" | "counter":
                return self._key

    def _is_down(self, key: int, now_ms: int) -> bool:
        return now_ms < self._down.get(key, now_ms)

    def _inputs(self, now_ms: int) -> list[bool]:
        if self._mode == "latched":
            return [key in self._latched for key in self.buttons]
        return [self._is_down(key, now_ms) for key in self.buttons]

    def _clear(self, now_ms: int) -> None:
        if self._last is not None:
            self._tell(PressThanked(self._last, now_ms))
        self._key, self._last = 0, None
        self._latched.clear()

    # ---- requests and answers

    def _reply(self, request: bytes, now_ms: int) -> None:
        if self._happens(self.faults.exception):
            answer = exception(request, self.rng.choice((DEVICE_FAILURE, DEVICE_BUSY)))
        else:
            body = self._answer(request, now_ms)
            answer = exception(request, body) if isinstance(body, int) else self._from_here(body)
        # What all slaves hear none of them answers.
        if request[0] != 0:
            slow_ms = self.rng.randint(5, 50) if self._happens(self.faults.slow_turnaround) else self._turnaround_ms
            self._say(answer, now_ms + slow_ms)

    def _from_here(self, body: bytes) -> bytes:
        wrong = self._happens(self.faults.wrong_address)
        return frame(self.address % 247 + 1 if wrong else self.address, body)

    def _answer(self, request: bytes, now_ms: int) -> bytes | int:
        """The answer without address and checksum, or the code of an exception."""
        func, at, value = request[1], int.from_bytes(request[2:4], "big"), int.from_bytes(request[4:6], "big")
        match func:
            case 0x01:
                return _bits(func, at, value, [bool(self.lamps >> lamp & 1) for lamp in range(16)])
            case 0x02:
                return _bits(func, at, value, self._inputs(now_ms))
            case 0x03 | 0x04:
                return self._read(func, at, value, now_ms)
            case 0x05:
                return self._light(request, at, value, now_ms)
            case 0x06:
                return self._write(request, at, value, now_ms)
        return ILLEGAL_FUNCTION

    def _read(self, func: int, at: int, size: int, now_ms: int) -> bytes | int:
        if not 1 <= size <= 125:
            return ILLEGAL_VALUE
        found = [self._register(place, now_ms) for place in range(at, at + size)]
        words = [value for value in found if value is not None]
        if len(words) < size:
            return ILLEGAL_ADDRESS
        return bytes([func, 2 * size]) + b"".join(word.to_bytes(2, "big") for word in words)

    def _light(self, request: bytes, lamp: int, value: int, now_ms: int) -> bytes | int:
        if lamp > 15:
            return ILLEGAL_ADDRESS
        if value not in (0x0000, 0xFF00):
            return ILLEGAL_VALUE
        self._lit(self.lamps | 1 << lamp if value else self.lamps & ~(1 << lamp), now_ms)
        return request[1:6]

    def _write(self, request: bytes, at: int, value: int, now_ms: int) -> bytes | int:
        match at:
            case 0x04:
                self._lit(value, now_ms)
            case 0x10:
                self._clear(now_ms)
            case _:
                return ILLEGAL_ADDRESS
        return request[1:6]

    def _lit(self, lamps: int, now_ms: int) -> None:
        self.lamps = lamps
        self._ask(now_ms + 3_600_000 if lamps else now_ms)


def _bits(func: int, at: int, size: int, bits: Sequence[bool]) -> bytes | int:
    if not 1 <= size <= 2_000:
        return ILLEGAL_VALUE
    if at + size > len(bits):
        return ILLEGAL_ADDRESS
    wanted = sum(bit << place for place, bit in enumerate(bits[at : at + size]))
    return bytes([func, (size + 7) // 8]) + wanted.to_bytes((size + 7) // 8, "little")
