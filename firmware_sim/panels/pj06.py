"""The PJ06 counter evaluator: framed commands in, one bare byte out. 9600 or 19200 8N1.

Observed in the field, one driver, never tried on the device. Commands are `55 AA LEN CMD DATA 1A`, LEN counting CMD and
DATA; none is answered. A vote is the raw byte 01-06. It is silent when its time is over and outside a window.
"""

from __future__ import annotations

from collections.abc import Iterator

from firmware_sim.faults import Wire
from firmware_sim.panel import PressMade
from firmware_sim.panels.base import ButtonPanel

TIME_OUT, STARS, WELCOME, PLEASE_RATE = 0x13, 0x15, 0x1F, 0x20  # CMD
COMMAND_MS = 400  # the driver leaves 500-1000 ms after each command; what comes sooner is not heard
HELD_MAX = 16  # the longest command is 7 bytes

WIRE = Wire(header=b"\x55\xaa", length_at=(2,), trailer=1)


class Pj06Panel(ButtonPanel):
    """Keys 1 to stars + 1, so six of them until the host says otherwise; one vote for each "please rate"."""

    wire = WIRE
    _heard_ms: int

    def __init__(self, device: str = "", on_ms: int = 0, *, boot: int = 1):
        super().__init__(device, on_ms, boot=boot)

    def feed(self, data: bytes, now_ms: int) -> None:
        for command, parameters in self._commands(data):
            if now_ms - self._heard_ms < COMMAND_MS:
                self.missed += 1
            else:
                self._heard_ms = now_ms
                self._obey(command, parameters, now_ms)

    def _power_on(self, now_ms: int) -> None:
        super()._power_on(now_ms)
        self.missed = 0
        """Commands that came too soon after the one before."""
        self.stars = 5
        self.asks_s = 10
        self.welcomed = 0
        self._held = bytearray()
        self._heard_ms = now_ms - COMMAND_MS

    def _pressed(self, press: PressMade) -> None:
        if press.invited and press.button <= self.stars + 1:
            self._say(bytes([press.button]), press.at_ms)
            self._ask(press.at_ms)

    def _commands(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        for byte in data:
            # Between commands everything but a header is nothing, above all the 00 of a BREAK.
            if byte == 0x55 or self._held:
                self._held.append(byte)
            yield from self._whole()

    def _whole(self) -> Iterator[tuple[int, bytes]]:
        held = self._held
        while held and (held[0] != 0x55 or (len(held) > 1 and held[1] != 0xAA) or len(held) > HELD_MAX):
            del held[:1]
        if len(held) > 2 and len(held) == held[2] + 4:
            whole = bytes(held)
            held.clear()
            if whole[-1] == 0x1A and len(whole) > 4:
                yield whole[3], whole[4:-1]

    def _obey(self, command: int, parameters: bytes, now_ms: int) -> None:
        match command, list(parameters):
            case 0x1F, _:
                self.welcomed += 1
            case 0x20, _:
                self._ask(now_ms + self.asks_s * 1_000)
            case 0x13, [seconds, *_] if 1 <= seconds <= 254:
                self.asks_s = seconds
            case 0x15, [stars] if 1 <= stars <= 5:
                self.stars = stars
