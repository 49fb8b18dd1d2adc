"""The power goes at every moment of a life, and of the start after it: what is left must open by itself and keep every
promise that was made.

`python -m tests.power.cuts --states 20000` from the project's folder; a failure is said with what replays it.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from collector.ledger import pages

from .lives import DetailsLife, LedgerLife, OutboxLife
from .platter import Platter
from .watched import Asked, OwnWrites, Watched

_LIFE_STATES = 1_000
LIVES = {"outbox": OutboxLife, "details": DetailsLife, "ledger": LedgerLife}


@dataclass(frozen=True)
class Moment:
    """What was promised by the time that so much had been asked of the disk."""

    asked: int
    promised: Any
    settled: Any


@dataclass
class Lived:
    """A life that is over: its requests to the disk, and its promises."""

    life: Any
    asked: list[Asked]
    moments: list[Moment]


@dataclass(frozen=True)
class Broken:
    """A state that does not keep a promise."""

    which: str
    seed: int
    states: int
    state: int
    at: int
    why: str

    def __str__(self) -> str:
        again = f"--life {self.which} --seed {self.seed} --states {self.states} --only {self.state}"
        return f"{again}: {self.why} (cut at request {self.at})"


def live(which: str, seed: int, folder: Path) -> Lived:
    """Live it once, on a watched disk."""
    life = LIVES[which](seed, folder)
    asked: list[Asked] = []
    moments = []
    with Watched() as watched, OwnWrites(watched, pages):
        for _ in life.live():
            asked += _of_the_database(watched)
            moments.append(Moment(len(asked), life.tip, life.settled))
    return Lived(life, asked, moments)


def _of_the_database(watched: Watched) -> list[Asked]:
    """What was asked since the last look. A lock and what is shared in memory hold nothing that has to last."""
    asked = [replace(each, name=Path(each.name).name) for each in watched.asked]
    watched.asked.clear()
    return [each for each in asked if not each.name.endswith((".lock", "-shm"))]


def cut(lived: Lived, which: str, seed: int, states: int, folder: Path, only: int | None) -> Iterator[Broken | None]:
    """So many states that a cut may leave, spread over the whole life; each is checked, or `only` that one."""
    platter, number = Platter(), 0
    known = [moment.asked for moment in lived.moments]
    for at, asked in enumerate(lived.asked, 1):
        platter.take(asked)
        last = bisect_right(known, at) - 1
        done, coming = lived.moments[max(0, last)], lived.moments[min(last + 1, len(known) - 1)]
        while number < states * at // len(lived.asked):
            if only is None or number == only:
                rng = Random(f"{seed}/{which}/{number}")
                why = _checked(lived, platter, rng, done, coming, folder)
                yield Broken(which, seed, states, number, at, why) if why else None
            number += 1


def _checked(lived: Lived, platter: Platter, rng: Random, done: Moment, coming: Moment, folder: Path) -> str:
    left = platter.after_cut(rng)
    if rng.random() < 0.3:
        # And again, while it starts after the first cut.
        left = _cut_again(lived, left, rng, folder)
    _lay(left, folder)
    return str(lived.life.check(folder, done.promised, coming.promised, coming.settled))


def _cut_again(lived: Lived, left: dict[str, bytes], rng: Random, folder: Path) -> dict[str, bytes]:
    _lay(left, folder)
    with Watched() as watched, OwnWrites(watched, pages):
        lived.life.start(folder)
    asked = _of_the_database(watched)
    platter = Platter(left)
    for each in asked[: rng.randint(0, len(asked))]:
        platter.take(each)
    return platter.after_cut(rng)


def _lay(files: dict[str, bytes], folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="断电之后能自己打开、什么也没丢吗 / after a power cut: opens by itself, nothing lost"
    )
    parser.add_argument(
        "--states", type=int, default=20_000, help="多少种断电后的磁盘状态 / how many states of the disk"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--life", choices=sorted(LIVES))
    parser.add_argument("--only", type=int, help="只看这一个状态 / this state only")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    lives = list(_lives([options.life] if options.life else sorted(LIVES), options.states, options.seed))
    began, done, broken = time.monotonic(), 0, 0
    for which, seed, states in lives:
        broken += _told(which, seed, states, options.only)
        done += states
        left_s = (time.monotonic() - began) / done * (options.states - done)
        print(f"{which} --seed {seed}: {done}/{options.states}, 还剩 / left {left_s:.0f} s", flush=True)
    print(f"{'没有一个丢失 / nothing lost' if not broken else f'{broken} 个状态违约 / states that break a promise'}")
    return 1 if broken else 0


def _lives(names: list[str], states: int, seed: int) -> Iterator[tuple[str, int, int]]:
    """Many lives, a seed and some states each: they see more than one long one."""
    for which in names:
        per = states // len(names)
        for number, first in enumerate(range(0, per, _LIFE_STATES)):
            yield which, seed + number, min(_LIFE_STATES, per - first)


def _told(which: str, seed: int, states: int, only: int | None) -> int:
    broken = 0
    with tempfile.TemporaryDirectory(prefix="cuts-") as place:
        folder = Path(place)
        (folder / "life").mkdir()
        lived = live(which, seed, folder / "life")
        for found in cut(lived, which, seed, states, folder / "cut", only):
            if found is not None:
                broken += 1
                print(f"!! {found}")
    return broken


if __name__ == "__main__":
    sys.exit(main())
