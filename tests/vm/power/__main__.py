"""The power of a guest is cut again and again while citizens press: every start must go by itself, and whatever was
thanked for must be there.

`python -m tests.vm.power --cuts 200` from the project's folder; a round that breaks the promise is said with what
plays it again. What a machine does between two cuts cannot be repeated to the instruction; --keep keeps its disks.

What this shows and the model (tests/power) cannot: the whole of it. Debian's kernel, its page cache and block layer,
the file system's journal and its recovery, SQLite's real log, lock and shared memory, the adapter's driver, both
programs from their first start on, and the drive's own memory of what it was not told to flush.
What only the model shows: each single state. It cuts at every request to the disk and lays what is left in thousands
of ways, some of which this kernel would not bring about; here a few hundred moments are met, as they come.
What neither shows: a drive that says it has flushed and has not (--lying-drive: presses are lost, and nothing that a
program does can help), a drive that damages what it had, or memory that does.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.vm.prepare import ROOT, Boot

from .carried import carried
from .rounds import FILE_SYSTEMS, Lived, Played, Round, can_make, copied


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make vm-power", description="真正断电 / the real power cut, of a guest on a disk of its own"
    )
    parser.add_argument("--cuts", type=int, default=200, help="断电多少次 / how many cuts")
    parser.add_argument("--per-round", type=int, default=20, help="每个新磁盘多少次 / of each new disk")
    parser.add_argument("--seed", type=int, default=1, help="第一轮的种子 / of the first round")
    parser.add_argument("--on", default="", help=f"文件系统 / file systems, in turn: {','.join(FILE_SYSTEMS)}")
    parser.add_argument("--code", type=Path, default=ROOT, help="另一份代码 / the programs of another copy")
    parser.add_argument("--lying-drive", action="store_true", help="flush 不落盘的硬盘 / a drive that does not flush")
    parser.add_argument(
        "--keep",
        type=Path,
        help="出错时保留每次断电后的磁盘 / of a round that fails, keep the disk as each cut left it",
    )
    parser.add_argument("--log", type=Path, help="每次断电一行 / a line for each cut")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # nothing that was started outlives this
    told = _Told(options)
    kinds = options.on.split(",") if options.on else [name for name in FILE_SYSTEMS if can_make(name)]
    with (
        tempfile.TemporaryDirectory(prefix="vm-power-") as place,
        kept_state(Path(place), options.code) as (boot, state),
    ):
        told.booted()
        while told.cuts < options.cuts:
            seed, number = options.seed + told.rounds, min(options.per_round, options.cuts - told.cuts)
            told.round_begins(seed, number, kinds[told.rounds % len(kinds)])
            told.round_ends(_one(options, Path(place), boot, state, told, number), seed, number)
    told.all()
    return 1 if told.broken else 0


@contextmanager
def kept_state(folder: Path, code: Path = ROOT) -> Iterator[tuple[Boot, Path]]:
    """What every life of the machine begins from: what it booted, and its state when it had."""
    boot, state = carried(folder, code), folder / "state"
    scratch = folder / "first"
    scratch.mkdir()
    one = Round(scratch, boot, state, 0, "ext4")
    try:
        one.keep_state()
    finally:
        one.close()
    yield boot, state
    state.unlink()


def _one(options: argparse.Namespace, place: Path, boot: Boot, state: Path, told: _Told, cuts: int) -> Played:
    folder = place / f"round-{told.rounds}"
    folder.mkdir()
    one = Round(folder, boot, state, options.seed + told.rounds, told.kind, not options.lying_drive)
    try:
        played = one.play(cuts, told.cut, keep=options.keep is not None)
        if played.mistakes and options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            copied(folder, options.keep / f"seed-{one.seed}")
        return played
    finally:
        one.close()
        shutil.rmtree(folder)


class _Told:
    """What is said of it as it goes."""

    def __init__(self, options: argparse.Namespace):
        self.cuts = self.rounds = self.broken = 0
        self.kind = ""
        self._options, self._began_s = options, time.monotonic()
        self._pressed = self._thanked = self._at_province = 0
        self._phases: Counter[str] = Counter()
        self._torn = 0

    def booted(self) -> None:
        self._say(f"虚拟机就绪 / guest booted, {time.monotonic() - self._began_s:.0f} s")
        self._began_s = time.monotonic()

    def round_begins(self, seed: int, cuts: int, kind: str) -> None:
        self.kind = kind
        self._say(f"--- 新磁盘 / new disk: {kind}, --seed {seed}, {cuts} 次 / cuts")

    def cut(self, number: int, lived: Lived) -> None:
        self.cuts += 1
        self._phases[lived.cut.phase] += 1
        self._torn += lived.pending > 0
        up = f"启动 / up {lived.up_s:.1f} s" if lived.up_s is not None else "未启动完 / not up yet"
        left_s = (time.monotonic() - self._began_s) / self.cuts * (self._options.cuts - self.cuts)
        self._say(
            f"{self.cuts}/{self._options.cuts} #{number} {lived.cut}: {up}; 致谢 / thanked {lived.thanked}; "
            f"未刷写 / unflushed {lived.pending}, 残留 / left {lived.left}; 还剩 / remaining {left_s / 60:.0f} min"
        )
        for mistake in lived.mistakes:
            self._say(f"  ✗ {mistake}")

    def round_ends(self, played: Played, seed: int, cuts: int) -> None:
        self.rounds += 1
        self.broken += bool(played.mistakes)
        self._pressed += played.pressed
        self._thanked += played.thanked
        self._at_province += played.at_province
        self._say(
            f"=== {played.file_system} --seed {seed}: 按键 pressed {played.pressed}, 致谢 thanked {played.thanked}, "
            f"账本 records {played.records}, 省 province {played.at_province}: "
            f"{'违约 BROKEN' if played.mistakes else '守约 kept'}"
        )
        for mistake in played.mistakes[:20]:
            self._say(f"  ✗ {mistake}")
        if played.mistakes:
            again = f"--cuts {cuts} --per-round {cuts} --seed {seed} --on {played.file_system} --keep FOLDER"
            self._say(f"  重做 / again: python -m tests.vm.power {again}")

    def all(self) -> None:
        phases = ", ".join(f"{name} {count}" for name, count in sorted(self._phases.items()))
        self._say(
            f"{self.cuts} 次断电 / cuts ({phases}; "
            f"有未刷写 / with something unflushed {self._torn}), {self.rounds} 个磁盘 / disks, "
            f"{(time.monotonic() - self._began_s) / 60:.1f} min, 按键 pressed {self._pressed}, "
            f"致谢 thanked {self._thanked}, 省 province {self._at_province}; "
            f"违约的磁盘 / disks that broke the promise: {self.broken}"
        )

    def _say(self, line: str) -> None:
        print(line, flush=True)
        if self._options.log is not None:
            with self._options.log.open("a", encoding="utf-8") as log:
                log.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
