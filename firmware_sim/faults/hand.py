"""What people do to a panel and its cable, more or less clumsily: a list of happenings from a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from firmware_sim.faults.chances import Faults, happens

HELD_MS, HELD_EVERY_MS = 500, 33  # a held key repeats after this long, 30 times a second
DAY_MS = 24 * 3_600_000

FIVE = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Happening:
    """Something that is done to a panel at a moment.

    `swap` (with the next window's device), `withdraw` (the host takes its invitation back) and `clock_jump` (the
    host's clock is set by `by_ms`) are not done to the panel: whoever runs it does them, or leaves them be.
    """

    at_ms: int
    kind: Literal[
        "closure", "repeat", "reboot", "unplug", "replug", "rename", "swap", "withdraw", "clock_jump", "stranger"
    ]
    button: int = 0
    device: str = ""
    """Which panel of a shared line; the only one, or the first, if it is not said."""
    by_ms: int = 0


def finger(
    button: int,
    at_ms: int,
    faults: Faults,
    rng: Random,
    buttons: Sequence[int] = FIVE,
    *,
    until_ms: int | None = None,
    device: str = "",
) -> list[Happening]:
    """All that one push of a button does to the panel, in the order of time.

    `until_ms` is when the panel stops asking, None if it does not ask.
    """
    if until_ms is not None and happens(faults.at_timeout, rng):
        at_ms = max(at_ms, until_ms + rng.randint(-1, 1))
    happenings: list[Happening] = []
    if happens(faults.after_cancel, rng):
        happenings.append(Happening(at_ms, "withdraw"))
        at_ms += rng.randint(0, 300)
    happenings += closures(button, at_ms, faults.bounce, rng)
    if rng.random() < faults.double:
        other = rng.choice([button, rng.choice(buttons)])
        happenings += closures(other, at_ms + rng.randint(80, 400), faults.bounce, rng)
    if rng.random() < faults.reboot:
        happenings.append(Happening(at_ms + rng.randint(0, 1_500), "reboot"))
    if rng.random() < faults.cable_out:
        happenings += _out_and_in(at_ms + rng.randint(0, 1_000), "replug", rng)
    happenings += _more_presses(button, at_ms, faults, rng, buttons, until_ms)
    happenings += _around(at_ms, faults, rng)
    happenings = [replace(each, device=device) for each in happenings] if device else happenings
    return sorted(happenings, key=lambda happening: happening.at_ms)


def closures(button: int, at_ms: int, bounce: float, rng: Random) -> Iterator[Happening]:
    """A contact closing once, or bouncing."""
    yield Happening(at_ms, "closure", button)
    if rng.random() < bounce:
        for _ in range(rng.randint(1, 4)):
            yield Happening(at_ms + rng.randint(1, 20), "closure", button)


def holding(button: int, at_ms: int, for_ms: int) -> Iterator[Happening]:
    """A key that stays down: what it repeats, if its device repeats at all."""
    for after_ms in range(HELD_MS, for_ms, HELD_EVERY_MS):
        yield Happening(at_ms + after_ms, "repeat", button)


def _more_presses(
    button: int, at_ms: int, faults: Faults, rng: Random, buttons: Sequence[int], until_ms: int | None
) -> Iterator[Happening]:
    if happens(faults.held, rng):
        yield from holding(button, at_ms, rng.randint(600, 2_000))
    if happens(faults.together, rng):
        yield Happening(at_ms, "closure", rng.choice([other for other in buttons if other != button] or [button]))
    if happens(faults.second, rng):
        yield from closures(rng.choice(buttons), at_ms + rng.randint(500, 3_000), faults.bounce, rng)
    if happens(faults.outside, rng):
        yield from closures(rng.choice(buttons), (until_ms or at_ms) + rng.randint(1_000, 20_000), faults.bounce, rng)


def _around(at_ms: int, faults: Faults, rng: Random) -> Iterator[Happening]:
    """What else is done to cables and clocks meanwhile."""
    for chance, back in ((faults.other_name, "rename"), (faults.enodev, "replug"), (faults.ip_change, "rename")):
        if happens(chance, rng):
            # Between a key's going down and its coming up again is the worst moment.
            yield from _out_and_in(at_ms + rng.randint(0, 100), back, rng)
    if happens(faults.swapped, rng):
        yield Happening(at_ms + rng.randint(0, 2_000), "swap")
    if happens(faults.second_keypad, rng):
        yield Happening(at_ms + rng.randint(-200, 200), "stranger")
    if happens(faults.clock_jump, rng):
        jump_ms = rng.choice((1_000, 60_000, 3_600_000, DAY_MS)) * rng.choice((-1, 1))
        yield Happening(at_ms + rng.randint(-500, 500), "clock_jump", by_ms=jump_ms)


def _out_and_in(out_ms: int, back: str, rng: Random) -> Iterator[Happening]:
    yield Happening(out_ms, "unplug")
    yield Happening(out_ms + rng.randint(1_000, 4_000), "rename" if back == "rename" else "replug")
