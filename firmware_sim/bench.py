"""A panel, its cable and what people do to both, in any time one likes: no I/O, no clock, everything from the seed."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from firmware_sim.faults import Faults, FaultyLine, Happening, finger
from firmware_sim.panel import Event
from firmware_sim.panels.base import Panel

SAID_MAX = 256  # frames at one moment; a panel that has more to say than that would never be silent


@dataclass(frozen=True)
class Unplugged:
    """The cable of this window is out."""

    at_ms: int


@dataclass(frozen=True)
class Replugged:
    """The cable of this window is back."""

    at_ms: int


Change = Event | Unplugged | Replugged | Happening
"""What the truth should know of. A Happening among them is one that whoever runs the panel has to do, or not."""


class Cable:
    """One panel, or a bus of them, with its cable, and what is still going to happen to both."""

    def __init__(self, panel: Panel, faults: Faults | None = None, seed: int | str = 0, *, error_as_zero: bool = False):
        self.panel = panel
        self.faults = faults or Faults()
        self.seed = seed
        self.plugged = True
        self.renamed = 0
        """How often the cable came back under another name."""
        self.rng = Random(f"{seed}/{panel.device}/finger")
        self.wire = FaultyLine(self.faults, Random(f"{seed}/{panel.device}/wire"), panel.wire)
        self.wire.error_as_zero = error_as_zero
        self.ahead: list[Happening] = []
        self._changes: list[Change] = []
        self._on = False
        panel.suffer(self.faults, Random(f"{seed}/{panel.device}/device"))

    def press(self, button: int, now_ms: int, device: str = "") -> None:
        """A finger pushes a button, now; what comes of it depends on the faults. KeyError for an unknown device."""
        panel = self.panel.at(device)
        until_ms = panel.asks_until_ms(now_ms)
        self.plan(finger(button, now_ms, self.faults, self.rng, panel.buttons, until_ms=until_ms, device=device))

    def plan(self, happenings: Iterable[Happening]) -> None:
        """Have these happen in their time; those of one moment in the order given."""
        for happening in happenings:
            insort(self.ahead, happening, key=lambda other: other.at_ms)

    def to_device(self, data: bytes, now_ms: int) -> None:
        """The host writes; of datagrams and requests, one whole."""
        if self.plugged and data:
            self.wire.to_device(data, now_ms)

    def due_ms(self, now_ms: int) -> int | None:
        """When something will happen if nobody does anything; None if it waits for the host or a finger."""
        ahead_ms = self.ahead[0].at_ms if self.ahead else None
        moments = (self.panel.next_ms(now_ms), ahead_ms, self.wire.next_ms())
        return min((moment for moment in moments if moment is not None), default=None)

    def take_events(self) -> list[Change]:
        """The truth since the last call."""
        changes, self._changes = self._changes, []
        return changes

    def carry(self, now_ms: int) -> list[bytes]:
        """Let everything happen that is due; the pieces that arrive at the host."""
        if not self._on:
            self._on = True
            self.wire.power_on(now_ms)
        self._happen(now_ms)
        up, down = self.wire.pieces(now_ms)
        for piece in down:
            self.panel.feed(piece, now_ms)
        for _ in range(SAID_MAX):
            if not (said := self.panel.poll(now_ms)):
                break
            self.wire.to_host(said, now_ms)
        up += self.wire.pieces(now_ms)[0]
        self._changes += self.panel.take_events()
        return up

    # ---- inside

    def _happen(self, now_ms: int) -> None:
        while self.ahead and self.ahead[0].at_ms <= now_ms:
            happening = self.ahead.pop(0)
            match happening.kind:
                case "closure":
                    # At its own moment, however late the caller is: bounces 5 ms apart must stay 5 ms apart.
                    self.panel.at(happening.device).press(happening.button, happening.at_ms)
                case "repeat":
                    self.panel.at(happening.device).repeat(happening.button, happening.at_ms)
                case "reboot":
                    self._reboot(happening.device, now_ms)
                case "unplug":
                    self._unplug(now_ms)
                case "replug" | "rename":
                    self._replug(happening.kind == "rename", now_ms)
                case _:
                    self._changes.append(happening)

    def _reboot(self, device: str, now_ms: int) -> None:
        self.panel.at(device).reboot(now_ms)
        self.wire.power_on(now_ms)

    def _unplug(self, now_ms: int) -> None:
        if self.plugged:
            self._pull()
            self.plugged = False
            self.wire.cut()
            self._changes.append(Unplugged(now_ms))

    def _replug(self, renamed: bool, now_ms: int) -> None:
        if not self.plugged:
            self._plug(renamed)
            self.plugged = True
            self.renamed += renamed
            self.wire.power_on(now_ms)
            self._changes.append(Replugged(now_ms))

    def _pull(self) -> None:
        """Pull the real cable, if there is one."""

    def _plug(self, renamed: bool) -> None:
        """Plug the real cable in, under its old name or another."""


class VirtualLine(Cable):
    """The host's end at hand. To be stepped at `next_ms`, or as often as one likes."""

    def step(self, now_ms: int) -> bytes:
        """Let everything happen that is due; what the host reads."""
        return b"".join(self.step_pieces(now_ms))

    def step_pieces(self, now_ms: int) -> list[bytes]:
        """The same in the pieces in which it was sent, for datagrams and requests."""
        pieces = self.carry(now_ms)
        return pieces if self.plugged else []

    def next_ms(self, now_ms: int) -> int | None:
        """When it wants to be stepped if nothing happens before; None if it waits for the host or a finger."""
        return self.due_ms(now_ms)
