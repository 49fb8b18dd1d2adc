"""Key events of a USB keypad, as Linux gives them: which went down is a press, what came of itself is not.

The kernel's `struct input_event` (linux/input.h): seconds and microseconds as longs, type and code of 16 bits, a value
of 32: 24 bytes on a 64-bit kernel, 16 on a 32-bit one. The codes are those of linux/input-event-codes.h.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from .events import Noise, Pressed

EVENT = struct.Struct("@llHHi")
"""As this machine writes it."""

SYN, KEY = 0x00, 0x01
_BESIDES = {0x04, 0x11, 0x14}  # EV_MSC, the scan code of the key that follows; EV_LED and EV_REP, our machine's own
_SYN_REPORT, _SYN_DROPPED = 0, 3
_UP, _DOWN, _REPEAT = 0, 1, 2
_NUMLOCK = 69  # some keypads press it around every key, so it is never one itself, whatever a key map says

_ABOVE_THE_LETTERS = dict(zip(range(2, 12), (1, 2, 3, 4, 5, 6, 7, 8, 9, 0), strict=True))
_ON_THE_KEYPAD = {79: 1, 80: 2, 81: 3, 75: 4, 76: 5, 77: 6, 71: 7, 72: 8, 73: 9, 82: 0}
DIGITS: Mapping[int, int] = _ABOVE_THE_LETTERS | _ON_THE_KEYPAD
"""The digit that is printed on a key, by its code: those above the letters and those of the keypad."""

AGE_MAX_MS = 60_000  # the kernel holds a few dozen events; older than a minute is another clock, not a late reader


class Decoder:
    """Events in, presses and noise out, however the reads chop them. Never raises; holds less than one event.

    `keys` says which code is which key of the panel; `event` is the shape of one event.
    """

    def __init__(self, keys: Mapping[int, int], event: struct.Struct = EVENT):
        self._keys = dict(keys)
        self._event = event
        self._held = b""
        self._down: set[int] = set()
        self._lost = False

    def feed(self, data: bytes, now_ms: int) -> list[Pressed | Noise]:
        """What `data` says at `now_ms` of the clock that the events carry, in the order in which it happened."""
        data = self._held + data
        size = self._event.size
        whole = len(data) - len(data) % size
        self._held = data[whole:]
        found: list[Pressed | Noise] = []
        at = 0
        for seconds, micros, kind, code, value in self._event.iter_unpack(data[:whole]):
            if kind == KEY:
                if value != _REPEAT and code != _NUMLOCK and not self._lost:
                    age_ms = now_ms - seconds * 1000 - micros // 1000
                    self._key(found, code, value, age_ms, data[at : at + size])
            elif kind == SYN:
                self._syn(found, code, data[at : at + size])
            elif kind not in _BESIDES:
                found.append(Noise(data[at : at + size], "not a key"))
            at += size
        return found

    def _key(self, found: list[Pressed | Noise], code: int, value: int, age_ms: int, raw: bytes) -> None:
        if value == _UP:
            self._down.discard(code)
        elif value != _DOWN:
            found.append(Noise(raw, "neither up nor down"))
        elif code not in self._keys:
            found.append(Noise(raw, f"key code {code} is not in the key map"))
        elif code in self._down:
            found.append(Noise(raw, "down again without having been up"))
        else:
            self._down.add(code)
            if not 0 <= age_ms <= AGE_MAX_MS:
                found.append(Noise(raw, "time of the press not believable: taken as now"))
                age_ms = 0
            found.append(Pressed("", self._keys[code], age_ms, raw, None, None))

    def _syn(self, found: list[Pressed | Noise], code: int, raw: bytes) -> None:
        if code == _SYN_DROPPED:
            # What stands between this and the next report is a remainder, and which keys are down nobody knows.
            self._lost = True
            self._down.clear()
            found.append(Noise(raw, "events lost in this machine"))
        elif code == _SYN_REPORT:
            self._lost = False
