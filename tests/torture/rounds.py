"""One round: a morning while faults happen, then everything healed, everything delivered, and the comparison."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from .faults import KILLS, ON_A_DISK, OTHERS, Fault
from .judge import WhileFull, judged
from .world import World

_TURN_S = 0.02
_HEALTHY_AFTER = 0.85  # of a round: then nothing new goes wrong, and whoever is at a window can finish
_DRAIN_S = 90.0
_COME_S = 60.0  # until the hall has opened; a busy machine takes its time
_OTHERS_EVERY = 4.0  # kills for each other fault


@dataclass(frozen=True)
class Played:
    """What a round came to."""

    seconds: float
    kills: int
    faults: dict[str, int]
    pressed: int
    thanked: int
    at_province: int
    destroyed: int
    while_full: WhileFull
    mistakes: list[str]

    def __str__(self) -> str:
        spent = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        return (
            f"[{self.seconds:.0f} s] kill -9 {self.kills} · 按键 pressed {self.pressed}, 致谢 thanked {self.thanked},"
            f" 省 province {self.at_province}, 人为销毁 destroyed {self.destroyed} · {spent} ·"
            f"{f' {self.while_full} ·' if self.while_full.agents or self.while_full.collector else ''}"
            f" {'违约 BROKEN' if self.mistakes else '守约 kept'}"
        )


@dataclass
class Round:
    """One run, all of it from the seed; `every_s` between kills on average; `only` these faults if any are given."""

    folder: Path
    seed: int
    seconds: int
    every_s: float
    only: Sequence[str] = ()
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.world = World(self.folder, self.seed, self.seconds)
        self._going: list[tuple[float, int, Iterator[float]]] = []
        self._number = itertools.count()
        without = () if self.world.disks else ON_A_DISK
        self._kills = _chosen(KILLS, self.only, without)
        self._others = _chosen(OTHERS, self.only, without)

    def hurt(self, show: Callable[[float], None]) -> None:
        """Let things go wrong for a round's time, from the first citizen on."""
        # The hall opens when every door has answered, and among faults that is hardly ever: whoever came after them
        # would find everything whole, and the round would prove nothing.
        self._opened(show)
        began_s, until_s = time.monotonic(), self.seconds * _HEALTHY_AFTER
        plans = [
            self._plan(self._kills, self.every_s, "kills"),
            self._plan(self._others, self.every_s * _OTHERS_EVERY, "others"),
        ]
        coming = [[*next(plan, (0.0, "", None)), plan] for plan in plans]
        while (spent_s := time.monotonic() - began_s) < until_s:
            for each in coming:
                while each[2] is not None and each[0] <= spent_s:
                    self._begin(each[1], each[2])
                    each[:3] = next(each[3], (0.0, "", None))
            self._go_on(time.monotonic())
            self.world.look()
            show(spent_s / self.seconds)
            time.sleep(_TURN_S)

    def _opened(self, show: Callable[[float], None]) -> None:
        until_s = time.monotonic() + _COME_S
        while not self.world.begun():
            if time.monotonic() > until_s:
                raise RuntimeError(f"nobody came within {_COME_S:.0f} s, though nothing was wrong yet")
            self.world.look()
            show(0.0)
            time.sleep(_TURN_S)

    def heal(self) -> None:
        """Undo whatever is still wrong."""
        while self._going:
            _, _, fault = heapq.heappop(self._going)
            for _ in fault:
                pass

    def _plan(
        self, faults: dict[str, tuple[Fault, int]], every_s: float, what: str
    ) -> Iterator[tuple[float, str, Iterator[float]]]:
        """When, and what: it does not depend on how long anything takes."""
        rng, at_s = Random(f"{self.seed}/{what}"), 0.0
        names, weights = list(faults), [weight for _, weight in faults.values()]
        while names:
            at_s += rng.expovariate(1 / every_s)
            name = rng.choices(names, weights)[0]
            yield at_s, name, faults[name][0](self.world, Random(rng.random()))

    def _begin(self, name: str, fault: Iterator[float]) -> None:
        self.done[name] += 1
        heapq.heappush(self._going, (0.0, next(self._number), fault))

    def _go_on(self, now_s: float) -> None:
        while self._going and self._going[0][0] <= now_s:
            _, _, fault = heapq.heappop(self._going)
            waits_s = next(fault, None)
            if waits_s is not None:
                heapq.heappush(self._going, (now_s + waits_s, next(self._number), fault))


def played(one: Round, show: Callable[[float], None] = lambda _: None) -> Played:
    """The whole round. Its disks stay, for whoever wants to look, until `unmount`."""
    world, began_s = one.world, time.monotonic()
    try:
        world.up()
        one.hurt(show)
        one.heal()
        # A rating that it answers wrongly ten times over is tried once a minute, and may wait longer than a round.
        world.mend_province()
        left = _delivered(world, show)
    finally:
        one.heal()
        world.down()
    verdict = judged(world)
    stuck = [f"stuck: {where}: {count} 条还没有送达 / not delivered" for where, count in left.items()]
    return Played(
        time.monotonic() - began_s,
        world.kills.total(),
        dict(one.done),
        verdict.pressed,
        verdict.thanked,
        verdict.at_province,
        verdict.destroyed,
        verdict.while_full,
        verdict.mistakes + stuck,
    )


def _delivered(world: World, show: Callable[[float], None]) -> dict[str, int]:
    """Wait until the morning is over and nothing is on its way; what still is."""
    until_s = time.monotonic() + world.seconds + _DRAIN_S
    left: dict[str, int] = {"morning": 1}
    while time.monotonic() < until_s:
        world.look()
        if world.over():
            left = world.waiting()
            if not left:
                return {}
        show(1)
        time.sleep(0.2)
    return left


def _chosen(
    faults: dict[str, tuple[Fault, int]], only: Sequence[str], without: Sequence[str]
) -> dict[str, tuple[Fault, int]]:
    return {name: each for name, each in faults.items() if (not only or name in only) and name not in without}
