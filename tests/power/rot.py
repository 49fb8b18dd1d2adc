"""A disk turns a bit round, anywhere in an outbox or its log: noticed, at most one record lost and that one named, and
the program starts by itself with all the others. Every invitation, press seen and daily head that it then has is what
was written.

`python -m tests.power.rot --flips 10000` from the project's folder; a failure is said with what replays it.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from edge_agent.outbox import Outbox, rows
from edge_agent.outbox.file import OutboxMismatch
from protocols.messages import SalvageRecord, decode_record

from .lives import AGENT, NOW_MS, OutboxLife

NAMES = ("outbox.db", "outbox.db-wal")
_STEPS = (40, 90, 140)


Row = tuple[Any, ...]
_ORDERED = {"invitation": "n", "seen": "id", "daily_head": "day, seq"}


@dataclass(frozen=True)
class Lying:
    """An outbox as it lay on the disk when its process was killed, and what it holds."""

    files: dict[str, bytes]
    waiting: dict[int, bytes]
    told: dict[str, list[Row]]
    """All other rows that the program trusts, by their table, in order."""


@dataclass(frozen=True)
class Found:
    """What one flipped bit came to."""

    lost: int
    wrong: str
    """What is against the promise, with what replays it; empty if nothing is."""
    unread: int = 0
    """Rows of invitations, presses seen and daily heads that a damaged file did not give back."""


def lying(seed: int, folder: Path) -> list[Lying]:
    """A life, looked at while it goes on, when most of it is in the log, and at its end, when there is no log."""
    life, found = OutboxLife(seed, folder, steps=_STEPS[-1], settles=0.2), []
    for step, _ in enumerate(life.live()):
        if step in _STEPS:
            found.append(_lying(life, folder))
    return [*found, *[_lying(life, folder)] * 3]


def _lying(life: OutboxLife, folder: Path) -> Lying:
    files = {name: (folder / name).read_bytes() for name in NAMES if (folder / name).exists()}
    waiting = {seq: body for seq, body in life.bodies.items() if life.settled < seq <= life.tip}
    with closing(sqlite3.connect(folder / NAMES[0])) as db:
        return Lying(files, waiting, _told(db))


def _told(db: sqlite3.Connection) -> dict[str, list[Row]]:
    """Asked past the program, which would refuse to say what is not as it was written."""
    return {
        table: db.execute(f"SELECT {rows.SUMMED[table]} FROM {table} ORDER BY {order}").fetchall()
        for table, order in _ORDERED.items()
    }


def rotted(seed: int, flips: int, folder: Path) -> Iterator[Found]:
    """So many flips, each in a fresh copy."""
    (folder / "life").mkdir()
    lives = lying(seed, folder / "life")
    for number in range(flips):
        rng = Random(f"{seed}/{number}")
        yield _one(rng.choice(lives), rng, folder / "rot", f"--seed {seed} --only {number}")


def one(seed: int, number: int, folder: Path) -> Found:
    """That flip again."""
    (folder / "life").mkdir()
    rng = Random(f"{seed}/{number}")
    return _one(rng.choice(lying(seed, folder / "life")), rng, folder / "rot", f"--seed {seed} --only {number}")


def _one(was: Lying, rng: Random, folder: Path, again: str) -> Found:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    # The log is ten times as long as the file: each gets its half.
    hit = rng.choice([name for name, data in was.files.items() if data])
    for name, data in was.files.items():
        raw = bytearray(data)
        if name == hit:
            at = rng.randrange(len(raw))
            raw[at] ^= 1 << rng.randrange(8)
            again += f": bit in {name} at {at}"
        (folder / name).write_bytes(raw)
    try:
        box = Outbox(folder / NAMES[0], AGENT, NOW_MS)
    except OutboxMismatch as refused:
        return Found(0, f"{again}: does not start: {refused}")
    try:
        return _compared(was, box, again)
    finally:
        box.close()


def _compared(was: Lying, box: Outbox, again: str) -> Found:
    kept = [record["body"].encode() for record in box.records()]
    told = [said for body in kept if isinstance(said := decode_record(body), SalvageRecord)]
    named = {seq for each in told for first, last in each.lost for seq in range(first, last + 1)}
    bodies = Counter(kept) - Counter(body for body in kept if isinstance(decode_record(body), SalvageRecord))
    lost = {seq for seq, body in was.waiting.items() if not bodies[body]}
    if any(count > 1 for count in bodies.values()):
        return Found(len(lost), f"{again}: doubled")
    # What had been receipted already may be sent once more: it is known by its press.
    if lost - named:
        return Found(len(lost), f"{again}: lost and not named: {sorted(lost - named)}")
    if len(lost) > 1:
        return Found(len(lost), f"{again}: lost {sorted(lost)}")
    if box.first_break() is not None:
        return Found(len(lost), f"{again}: chain broken")
    with closing(sqlite3.connect(box.path)) as db:
        left = _told(db)
    for table, found in left.items():
        wrong = _altered(table, was.told[table], found, box.set_aside is not None)
        if wrong:
            return Found(len(lost), f"{again}: {wrong}")
    unread = sum(len(was.told[table]) - len(found) for table, found in left.items())
    return Found(len(lost), "", unread)


def _altered(table: str, written: list[Row], found: list[Row], damaged: bool) -> str:
    """Whether a row is not what was written; in a file that was not found damaged none may be missing either."""
    if not damaged:
        return "" if found == written else f"{table}: not as it was written, and nobody noticed"
    # Their numbers are others in a new file; their order is not.
    numbered = table != "daily_head"
    rest = iter([row[numbered:] for row in written])
    in_order = all(any(row[numbered:] == each for each in rest) for row in found)
    return "" if in_order else f"{table}: altered, doubled or in another order"


def main() -> int:
    parser = argparse.ArgumentParser(description="位翻转之后还剩什么 / what a flipped bit leaves")
    parser.add_argument("--flips", type=int, default=10_000, help="翻转多少次 / how many flips")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="只看这一次 / this flip only")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    began, lost, wrong, unread = time.monotonic(), 0, 0, 0
    with tempfile.TemporaryDirectory(prefix="rot-") as place:
        found = (
            rotted(options.seed, options.flips, Path(place))
            if options.only is None
            else [one(options.seed, options.only, Path(place))]
        )
        for number, each in enumerate(found, 1):
            lost += each.lost
            unread += each.unread
            if each.wrong:
                wrong += 1
                print(f"!! {each.wrong}")
            if number % 1_000 == 0:
                spent = time.monotonic() - began
                print(f"{number}, 还剩 / left {spent / number * (options.flips - number):.0f} s", flush=True)
    print(
        f"读不出的记录 / records lost and named: {lost}; 读不出的其他行 / other rows not readable: {unread};"
        f" 违约 / promises broken: {wrong}"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
