"""A panel that has to be asked: what its registers show from one look to the next, as presses.

A poll looks once. Between two looks nothing is seen, so a press that is shorter than the time between them is lost
unless the panel holds it (latched) or counts it (counter); and how long ago a press was is known only up to the last
look.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from .events import Noise, Pressed

Mode = Literal["level", "edge", "latched", "counter"]
"""What the panel shows:
level: the key, for as long as it is held;
edge: the last key for good, or an input that changes over with each press;
latched: the key, until it is cleared;
counter: how often, and it never goes back but to 0 behind its highest."""

Shape = Literal["number", "places"]
"""Where the key stands:
number: the first register is its number, 0 is none; with counter the first counts and the second is the number;
places: each key has an input, or a bit of a register (the lowest of the first register is place 0); with counter a
register."""

LOOK_MAX_MS = 2000  # 32 panels on one line of 9600 baud are all looked at within one and a half seconds
STEPS_MAX = 20  # presses between two looks; nobody presses ten times a second
_REGISTER_BITS = 16


@dataclass(frozen=True, slots=True)
class Reading:
    """What the panel showed: an input each, 0 or 1, or a register each, and the answer as it came."""

    values: tuple[int, ...]
    raw: bytes
    bits: bool = False
    """Whether the values are inputs."""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nothing came in time."""


@dataclass(frozen=True, slots=True)
class DeviceSaid:
    """The panel refused, with a Modbus exception code: 1 function, 2 register, 3 value, 4 failed, 6 busy."""

    code: int
    raw: bytes


Poll = Reading | NoAnswer | DeviceSaid | Noise


class Keys:
    """One panel's answers in, its presses out. Never raises, and never makes a press of what it did not see change.

    `codes` says which number, or which place, is which key; `count_at` which of the two registers of a counter with a
    number counts.
    """

    def __init__(
        self,
        device: str,
        mode: Mode,
        shape: Shape,
        codes: Mapping[int, int],
        modulus: int = 1 << _REGISTER_BITS,
        look_max_ms: int = LOOK_MAX_MS,
        count_at: int = 0,
    ):
        self._device = device
        self._mode = mode
        self._shape = shape
        self._codes = dict(codes)
        self._modulus = modulus
        self._look_max_ms = look_max_ms
        self._count_at = count_at
        self._before: tuple[int, ...] | frozenset[int] | None = None
        self._looked_ms = 0
        self.to_clear = False
        """Whether the panel holds a key that it has to be told to let go of."""

    def forget(self) -> None:
        """The cable was out: what is there at the next look may be old."""
        self._before = None

    def feed(self, poll: Poll, now_ms: int) -> list[Pressed | Noise]:
        """What an answer that was read at `now_ms` tells; each press with the oldest age it can have."""
        match poll:
            case Noise():
                return [poll]
            case DeviceSaid():
                return [Noise(poll.raw, f"exception {poll.code}")]
            case NoAnswer():
                return []
            case Reading():
                return self._looked(poll, now_ms)

    def _looked(self, reading: Reading, now_ms: int) -> list[Pressed | Noise]:
        shown = self._counts(reading) if self._mode == "counter" else self._shown(reading)
        if isinstance(shown, Noise):
            return [shown]
        age_ms = now_ms - self._looked_ms
        before, self._before, self._looked_ms = self._before, shown, now_ms
        self.to_clear = self._mode == "latched" and bool(shown)
        if before is None:
            return list(self._first(shown, reading.raw))
        if not 0 <= age_ms <= self._look_max_ms:
            return [Noise(reading.raw, "changed while nobody could look")] if shown != before else []
        if isinstance(shown, tuple):
            return self._told(list(self._steps(before, shown, reading)), age_ms, reading.raw)
        return self._told(list(self._changes(before, shown, reading.raw)), age_ms, reading.raw)

    def _first(self, shown: tuple[int, ...] | frozenset[int], raw: bytes) -> Iterator[Noise]:
        # An edge and a counter stand where the last press left them, whenever that was.
        if self._mode in ("level", "latched") and shown:
            yield Noise(raw, "pressed before anybody looked")

    def _told(self, found: list[int | Noise], age_ms: int, raw: bytes) -> list[Pressed | Noise]:
        """The one press of this look. Of two keys nobody knows which was first, and guessing would favour one."""
        keys = [each for each in found if isinstance(each, int)]
        noise = [each for each in found if isinstance(each, Noise)]
        if len(keys) > 1:
            return [Noise(raw, "several keys since the last look: which was first is not known"), *noise]
        return [*(Pressed(self._device, key, age_ms, raw, None, None) for key in keys), *noise]

    # ---- what is shown

    def _shown(self, reading: Reading) -> frozenset[int] | Noise:
        """The numbers or places that are set."""
        if not reading.values:
            return Noise(reading.raw, "empty answer")
        if self._shape == "number":
            return frozenset(reading.values[:1]) - {0}
        width = 1 if reading.bits else _REGISTER_BITS
        return frozenset(
            at * width + bit for at, value in enumerate(reading.values) for bit in range(width) if value >> bit & 1
        )

    def _changes(
        self, before: tuple[int, ...] | frozenset[int], shown: frozenset[int], raw: bytes
    ) -> Iterator[int | Noise]:
        was = frozenset(before)
        # An input that changes over says with both of its states that it was pressed; a number only by being shown.
        changed = was ^ shown if self._mode == "edge" and self._shape == "places" else shown - was
        if self._mode == "latched" and was & shown:
            yield Noise(raw, "not cleared, or pressed again at once")
        yield from self._meant(sorted(changed), raw)

    def _meant(self, codes: list[int], raw: bytes) -> Iterator[int | Noise]:
        for code in codes:
            key = self._codes.get(code)
            yield Noise(raw, f"{self._shape} {code} is not in the key map") if key is None else key

    # ---- what is counted

    def _counts(self, reading: Reading) -> tuple[int, ...] | Noise:
        needed = 2 if self._shape == "number" else 1
        if len(reading.values) < needed or reading.bits:
            return Noise(reading.raw, "no counter in the answer")
        counts = (reading.values[self._count_at],) if self._shape == "number" else reading.values
        if max(counts) >= self._modulus:
            return Noise(reading.raw, "counter higher than it can be")
        return counts

    def _steps(
        self, before: tuple[int, ...] | frozenset[int], counts: tuple[int, ...], reading: Reading
    ) -> Iterator[int | Noise]:
        for place, (was, count) in enumerate(zip(before, counts, strict=False)):
            steps = count - was
            if steps == 1 - self._modulus:
                steps = 1  # from its highest to 0
            if steps == 0:
                continue
            if steps < 0:
                yield Noise(reading.raw, "counter went back: restarted")
            elif steps > STEPS_MAX:
                yield Noise(reading.raw, f"counter leapt by {steps}: another panel?")
            else:
                yield from self._meant(
                    [reading.values[1 - self._count_at] if self._shape == "number" else place], reading.raw
                )
                if steps > 1:
                    yield Noise(reading.raw, f"{steps} presses since the last look: taken for one")
