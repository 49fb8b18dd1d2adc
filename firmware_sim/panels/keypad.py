"""A USB numeric keypad as the kernel shows it: a stream of `struct input_event` from its event node.

From the kernel's headers (64-bit: two longs of time, type, code, value, 24 bytes). Value 1 down, 0 up, 2 auto-repeat.
There is no wire: of the line's faults only an unplugged node happens to it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from firmware_sim.faults import Wire
from firmware_sim.faults.hand import HELD_EVERY_MS, HELD_MS
from firmware_sim.panel import PressMade
from firmware_sim.panels.base import ButtonPanel

EVENT = struct.Struct("@llHHi")
EV_SYN, EV_KEY, EV_MSC = 0x00, 0x01, 0x04
SYN_REPORT, MSC_SCAN = 0x00, 0x04
UP, DOWN, AGAIN = 0, 1, 2
NUMLOCK, KPENTER, VOLUMEUP = 69, 96, 115
KEYPAD = {1: 79, 2: 80, 3: 81, 4: 75, 5: 76, 6: 77, 7: 71, 8: 72, 9: 73, 0: 82}
MAIN_ROW = {1: 2, 2: 3, 3: 4, 4: 5, 5: 6, 6: 7, 7: 8, 8: 9, 9: 10, 0: 11}
# HID usages of page 7, which the kernel gives as scan codes before the key.
SCANS = {79: 0x59, 80: 0x5A, 81: 0x5B, 75: 0x5C, 76: 0x5D, 77: 0x5E, 71: 0x5F, 72: 0x60, 73: 0x61, 82: 0x62}
SCANS |= {code: 0x1D + code - 1 for code in range(2, 12)} | {NUMLOCK: 0x53, KPENTER: 0x58}
DOWN_MS = 90  # how long a finger stays on a key

WIRE = Wire(kind="whole")


def event(kind: int, code: int, value: int, at_ms: int) -> bytes:
    """One `struct input_event`."""
    return EVENT.pack(at_ms // 1_000, at_ms % 1_000 * 1_000, kind, code, value)


def key(code: int, value: int, at_ms: int) -> bytes:
    """A key going down, up or on: scan code, key, report. An auto-repeat has no scan code."""
    scan = b"" if value == AGAIN else event(EV_MSC, MSC_SCAN, 0x70000 | SCANS.get(code, 0), at_ms)
    return scan + event(EV_KEY, code, value, at_ms) + event(EV_SYN, SYN_REPORT, 0, at_ms)


class KeypadPanel(ButtonPanel):
    """Digits 0-9. With `numlock` each key comes between two taps of NumLock; with `enter` KPENTER follows."""

    wire = WIRE

    def __init__(
        self,
        device: str = "",
        on_ms: int = 0,
        *,
        boot: int = 1,
        buttons: Sequence[int] = tuple(KEYPAD),
        numlock: bool = False,
        enter: bool = False,
        main_row: bool = False,
    ):
        self._numlock = numlock
        self._enter = enter
        self._codes = MAIN_ROW if main_row else KEYPAD
        super().__init__(device, on_ms, boot=boot, buttons=buttons)

    def repeat(self, button: int, now_ms: int) -> None:
        if button in self._codes:
            self._say(key(self._codes[button], AGAIN, now_ms), now_ms)

    def other_node(self) -> bytes:
        """What the keypad's second event node (its media keys) has said since the last call."""
        said = bytes(self._other)
        self._other.clear()
        return said

    def _power_on(self, now_ms: int) -> None:
        super()._power_on(now_ms)
        self._other = bytearray()

    def _pressed(self, press: PressMade) -> None:
        code, at_ms = self._codes[press.button], press.at_ms
        numlock = self._numlock or self._happens(self.faults.numlock)
        if numlock:
            self._tap(NUMLOCK, at_ms)
        self._say(key(code, DOWN, at_ms), at_ms)
        up_ms = at_ms + self._hold(code, at_ms)
        self._say(key(code, UP, up_ms), up_ms)
        if numlock:
            self._tap(NUMLOCK, up_ms)
        if self._enter:
            self._tap(KPENTER, up_ms)
        if self._happens(self.faults.second_node):
            self._other += key(VOLUMEUP, DOWN, at_ms) + key(VOLUMEUP, UP, up_ms)

    def _hold(self, code: int, at_ms: int) -> int:
        """For how long the key stays down; what the kernel repeats meanwhile is said."""
        if not self._happens(self.faults.key_repeat):
            return DOWN_MS
        for after_ms in range(HELD_MS, HELD_MS + 6 * HELD_EVERY_MS, HELD_EVERY_MS):
            self._say(key(code, AGAIN, at_ms + after_ms), at_ms + after_ms)
        return HELD_MS + 6 * HELD_EVERY_MS

    def _tap(self, code: int, at_ms: int) -> None:
        self._say(key(code, DOWN, at_ms) + key(code, UP, at_ms), at_ms)
