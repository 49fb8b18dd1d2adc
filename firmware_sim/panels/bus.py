"""Several panels on one line: all hear the host, their bytes share the wire, and two that talk at once may collide."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from random import Random

from firmware_sim.faults import Faults
from firmware_sim.faults.chances import happens
from firmware_sim.panel import Event
from firmware_sim.panels.base import Panel


class Bus:
    """Is a panel itself, so that whoever runs one panel runs a whole line of them. The first is pressed by default."""

    def __init__(self, panels: Sequence[Panel]):
        self.panels = tuple(panels)
        self.wire = self.panels[0].wire
        self.device = self.panels[0].device
        self.counts = self.panels[0].counts
        self.buttons = self.panels[0].buttons
        self.absent: set[str] = set()
        """Addresses at which nobody is, by fault: pressed, but never heard."""
        self.doubled: set[str] = set()
        """Addresses at which two devices are, by fault."""
        self._faults = Faults()
        self._rng = Random(0)
        self._waiting: list[bytes] = []

    @property
    def boot(self) -> int:
        return self.panels[0].boot

    @property
    def count(self) -> int:
        return self.panels[0].count

    def at(self, device: str) -> Panel:
        if device == "":
            return self
        for panel in self.panels:
            if panel.device == device:
                return panel
        raise KeyError(device)

    def press(self, button: int, now_ms: int) -> int | None:
        return self.panels[0].press(button, now_ms)

    def repeat(self, button: int, now_ms: int) -> None:
        self.panels[0].repeat(button, now_ms)

    def feed(self, data: bytes, now_ms: int) -> None:
        for panel in self._present():
            panel.feed(data, now_ms)

    def poll(self, now_ms: int) -> bytes:
        if not self._waiting:
            said = [self._with_twin(panel, panel.poll(now_ms)) for panel in self.panels]
            heard = [data for panel, data in zip(self.panels, said, strict=True) if panel.device not in self.absent]
            self._waiting = self._collided([data for data in heard if data])
        return self._waiting.pop(0) if self._waiting else b""

    def next_ms(self, now_ms: int) -> int | None:
        if self._waiting:
            return now_ms
        moments = [moment for panel in self.panels if (moment := panel.next_ms(now_ms)) is not None]
        return min(moments, default=None)

    def reboot(self, now_ms: int) -> None:
        """The line's common power."""
        self._waiting.clear()
        for panel in self.panels:
            panel.reboot(now_ms)

    def take_events(self) -> list[Event]:
        return [event for panel in self.panels for event in panel.take_events()]

    def inviting(self, now_ms: int) -> bool:
        return any(panel.inviting(now_ms) for panel in self.panels)

    def asks_until_ms(self, now_ms: int) -> int | None:
        return self.panels[0].asks_until_ms(now_ms)

    def state(self, now_ms: int) -> str:
        states = {panel.state(now_ms) for panel in self.panels}
        return next((state for state in ("pending", "inviting") if state in states), "idle")

    def suffer(self, faults: Faults, rng: Random) -> None:
        self._faults, self._rng = faults, rng
        for panel in self.panels:
            if happens(faults.absent, rng):
                self.absent.add(panel.device)
            if happens(faults.same_address, rng):
                self.doubled.add(panel.device)
            panel.suffer(faults, Random(rng.random()))

    def _present(self) -> list[Panel]:
        return [panel for panel in self.panels if panel.device not in self.absent]

    def _with_twin(self, panel: Panel, said: bytes) -> bytes:
        # The twin says nearly the same, but no two devices start on the same bit.
        return mash(said, said[1:] + said[:1]) if panel.device in self.doubled else said

    def _collided(self, said: list[bytes]) -> list[bytes]:
        if len(said) < 2 or not happens(self._faults.collision, self._rng):
            return said
        spoilt = said[0]
        for other in said[1:]:
            spoilt = mash(spoilt, other)
        return [spoilt]


def mash(one: bytes, other: bytes) -> bytes:
    """What is read when two talk at once: of two drivers on one pair of wires the one that pulls down wins."""
    return bytes(a & b for a, b in zip_longest(one, other, fillvalue=0xFF))
