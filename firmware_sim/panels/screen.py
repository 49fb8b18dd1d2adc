"""A page in a browser at the window: it POSTs each press to the agent's door and repeats it until the door says 2xx.

What it says is the JSON of one request; what it is fed is the status of the answer as three digits. Who runs it carries
both, so a request lost on its way is simply a status that never comes.
"""

from __future__ import annotations

import json

from firmware_sim.faults import Wire
from firmware_sim.panel import PressMade, PressThanked
from firmware_sim.panels.base import ButtonPanel

REPEAT_MS = 1_000
QUEUE_MAX = 16  # presses that a page keeps while the door is shut
SKEW_MS = 600_000

WIRE = Wire(kind="whole")


class ScreenPanel(ButtonPanel):
    """Buttons 1-5. It counts its starts and its presses, and says how old a press is and what the page asked.

    How old: by a clock that somebody may set. Which invitation was shown is what it knows for certain.
    """

    wire = WIRE
    counts = True
    _asked: bool
    _post_ms: int
    _shown: str | None

    def __init__(self, device: str = "S1", on_ms: int = 0, *, boot: int = 1):
        super().__init__(device, on_ms, boot=boot, buttons=(1, 2, 3, 4, 5))

    def feed(self, data: bytes, now_ms: int) -> None:
        if data[:1] == b"2" and self._asked and self._kept:
            self._tell(PressThanked(self._kept.pop(0), now_ms))
        self._asked = False
        self._post_ms = now_ms if data[:1] == b"2" else now_ms + REPEAT_MS

    def ask(self, until_ms: int, invitation: str) -> None:
        """The page shows "please rate" for this invitation until then. One that was never told says none."""
        self._ask(until_ms)
        self._shown = invitation

    def _power_on(self, now_ms: int) -> None:
        super()._power_on(now_ms)
        self._kept: list[PressMade] = []
        self._shown = None
        self._answers: dict[int, str | None] = {}
        self._asked = False
        self._post_ms = now_ms

    def _has_room(self, now_ms: int) -> bool:
        return len(self._kept) < QUEUE_MAX

    def _waiting(self) -> list[PressMade]:
        return self._kept

    def _pressed(self, press: PressMade) -> None:
        self._answers[press.count] = self._shown if press.invited or self._shown is None else ""
        self._kept.append(press)
        self._ask(press.at_ms)

    def _pass(self, now_ms: int) -> None:
        if self._kept and self._post_ms <= now_ms:
            self._post_ms = now_ms + REPEAT_MS
            self._asked = True
            self._say(self._request(self._kept[0], now_ms), now_ms)

    def _wakes_ms(self) -> int | None:
        return self._post_ms if self._kept else None

    def _request(self, press: PressMade, now_ms: int) -> bytes:
        age_ms = now_ms - press.at_ms
        if self._happens(self.faults.clock_skew):
            age_ms += self.rng.randint(-SKEW_MS, SKEW_MS)
        said = {
            "device": self.device,
            "boot": press.boot,
            "count": press.count,
            "button": press.button,
            "age_ms": age_ms,
        }
        shown = self._answers[press.count]
        if shown is not None:
            said["invitation"] = shown
        return json.dumps(said).encode("ascii")
