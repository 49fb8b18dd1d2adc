"""Rounds of a hall's morning on real processes, in each of which everything goes wrong that can: one press must still
be exactly one rating.

`python -m tests.torture --minutes 5` from the project's folder; a round that breaks the promise is said with what
replays it.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from .judge import WhileFull
from .rounds import Played, Round, played

_BAR = 24


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make torture",
        description="一切都可能出错, 一次按键仍是一条评价 / everything goes wrong, one press is one rating",
    )
    parser.add_argument("--minutes", type=float, default=5, help="多久 / for how long")
    parser.add_argument("--kills", type=int, default=0, help="直到这么多次 kill -9 / until so many kills instead")
    parser.add_argument(
        "--full",
        type=int,
        default=0,
        help="直到代理和汇聚器各满盘这么多次 / until so many cycles of a full disk of each",
    )
    parser.add_argument("--seed", type=int, default=1, help="第一轮的种子 / of the first round")
    parser.add_argument("--seconds", type=int, default=45, help="一轮多长 / of one round")
    parser.add_argument("--every", type=float, default=0.4, help="平均几秒一次 kill -9 / seconds between kills")
    parser.add_argument("--only", default="", help="只用这些故障 / these faults only: kill,freeze,…")
    parser.add_argument("--rounds", type=int, default=0, help="只跑几轮 / so many rounds")
    parser.add_argument("--keep", type=Path, help="保留出错的那一轮 / keep a round that fails here")
    parser.add_argument("--log", type=Path, help="每轮一行 / a line for each round")
    options = parser.parse_args()
    # So that whoever ends it, and not only Ctrl-C, leaves no process behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sums = _Sums(options)
    while not sums.enough():
        seed = options.seed + sums.rounds
        with tempfile.TemporaryDirectory(prefix="torture-") as place:
            done = _one(options, Path(place), seed, sums)
        sums.add(done)
        _tell(options, f"{seed} {done}")
        for mistake in done.mistakes[:20]:
            _tell(options, f"  ✗ {mistake}")
        if done.mistakes:
            _tell(options, f"  重做 / again: {_again(options, seed)}")
    _tell(options, str(sums))
    return 1 if sums.broken else 0


def _one(options: argparse.Namespace, folder: Path, seed: int, sums: _Sums) -> Played:
    one = Round(folder, seed, options.seconds, options.every, [name for name in options.only.split(",") if name])
    try:
        done = played(one, sums.show)
        if done.mistakes and options.keep:
            shutil.copytree(folder, options.keep / f"seed-{seed}", dirs_exist_ok=True)
    finally:
        one.world.unmount()
    return done


def _again(options: argparse.Namespace, seed: int) -> str:
    words = f"python -m tests.torture --rounds 1 --seed {seed} --seconds {options.seconds} --every {options.every}"
    return f"{words}{f' --only {options.only}' if options.only else ''} --keep FOLDER"


class _Sums:
    """What all rounds came to so far, and how long it still takes."""

    def __init__(self, options: argparse.Namespace):
        self._options = options
        self._began_s = time.monotonic()
        self.rounds = self.broken = self.kills = self.pressed = 0
        self._faults: Counter[str] = Counter()
        self._full = WhileFull()

    def add(self, done: Played) -> None:
        self.rounds += 1
        self.broken += bool(done.mistakes)
        self.kills += done.kills
        self.pressed += done.pressed
        self._faults += Counter(done.faults)
        self._full += done.while_full

    def enough(self) -> bool:
        return self.rounds > 0 and self._share(0) >= 1

    def show(self, part: float) -> None:
        """How far it is, on a terminal."""
        if not sys.stderr.isatty():
            return
        share = min(1.0, self._share(part))
        full = round(share * _BAR)
        spent_s = time.monotonic() - self._began_s
        left = f"{spent_s / share - spent_s:.0f} s" if share > 0.01 else "…"
        bar = f"[{'█' * full}{'·' * (_BAR - full)}] kill -9 {self.kills}, 还剩 / left {left}   "
        print(f"\r{bar}", end="", file=sys.stderr, flush=True)

    def _share(self, part: float) -> float:
        if self._options.rounds:
            return (self.rounds + part) / self._options.rounds
        if self._options.full:
            return min(self._full.agents, self._full.collector) / self._options.full
        if self._options.kills:
            return self.kills / self._options.kills
        return (time.monotonic() - self._began_s) / (self._options.minutes * 60)

    def __str__(self) -> str:
        spent = ", ".join(f"{name} {count}" for name, count in sorted(self._faults.items()))
        return (
            f"{self.rounds} 轮 rounds, {(time.monotonic() - self._began_s) / 60:.1f} min, 按键 pressed {self.pressed},"
            f" kill -9 {self.kills} ({spent}); {self._full}; 违约的轮次 / rounds that broke the promise: {self.broken}"
        )


def _tell(options: argparse.Namespace, line: str) -> None:
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    print(f"{clear}{line}", flush=True)
    if options.log is not None:
        with options.log.open("a", encoding="utf-8") as log:
            log.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
