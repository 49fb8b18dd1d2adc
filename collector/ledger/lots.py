"""抽查的抽签: which ratings are drawn, so that nobody can steer it and anybody can draw again.

1. Announced first: days, kind, hall and how many. The frame is settled then: every rating of that kind, of those days,
   that the ledger has at that moment. Its numbers stand one a line, ascending, each with a line feed behind it; the
   SHA-256 of that text is kept.
2. The seed comes after: SHA-256 of `<draw>/<frame>/<stretch>`, where <stretch> is the hash, in hex, of the first
   stretch that the ledger takes of any agent after the announcement. That is made of presses which had not come when
   the draw was announced: whoever announces cannot know it, and whoever presses cannot know what it will do.
3. Each rating of the frame gets a lot, SHA-256 of `<seed>/<number of the rating>`. Those with the smallest lots are
   drawn, as many as were announced.

All hashes are written in hex, in small letters, and all text is ASCII: `printf '%s/%s' $seed $rating | sha256sum`.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterable
from hashlib import sha256
from typing import Literal

from .tally import begins_ms

Kind = Literal["all", "bad", "good"]
_KINDS = {"all": "", "bad": " AND bad = 1", "good": " AND bad = 0"}
KINDS: tuple[str, ...] = tuple(_KINDS)


def frame(db: sqlite3.Connection, first: int, last: int, kind: str, hall: str, upto: int) -> list[int]:
    """The numbers of all ratings that may be drawn, ascending: pressed in these days, and no newer than `upto`."""
    rows = db.execute(
        "SELECT id FROM rating INDEXED BY rating_day WHERE pressed_ms >= ? AND pressed_ms < ? AND id <= ?"
        f" AND (? = '' OR hall = ?){_KINDS[kind]}",
        (begins_ms(first), begins_ms(last + 1), upto, hall, hall),
    )
    return sorted(int(number) for (number,) in rows)


def frame_hash(numbers: Iterable[int]) -> bytes:
    """What is kept of a frame."""
    return sha256("".join(f"{number}\n" for number in numbers).encode()).digest()


def seed(draw: int, framed: bytes, stretch: bytes) -> str:
    """What decides, in hex."""
    return sha256(f"{draw}/{framed.hex()}/{stretch.hex()}".encode()).hexdigest()


def drawn(seeded: str, numbers: Iterable[int], wanted: int) -> list[int]:
    """The ratings with the smallest lots, in the order of these."""
    return heapq.nsmallest(wanted, numbers, key=lambda number: sha256(f"{seeded}/{number}".encode()).digest())


def next_stretch(db: sqlite3.Connection, after: int) -> bytes | None:
    """The hash of the stretch that the ledger took after this one; None if there is none yet."""
    row = db.execute("SELECT CAST(hash AS BLOB) FROM stretch WHERE n = ?", (after + 1,)).fetchone()
    return None if row is None else bytes(row[0])


def differences(db: sqlite3.Connection, number: int) -> list[str]:
    """Make a draw again from the ledger alone: what of it differs, nothing if all is well."""
    columns = "first, last, kind, hall, upto, size, frame, stretch, wanted, seed, ratings"
    row = db.execute(
        f"SELECT {columns} FROM draw LEFT JOIN drawn ON drawn.draw = draw.id WHERE draw.id = ?", (number,)
    ).fetchone()
    first, last, kind, hall, upto, size, framed, stretch, wanted, seeded, ratings = row
    if kind not in _KINDS:
        return [f"第 {number} 次抽查的范围被改动 / the kind of draw {number} was altered"]
    numbers = frame(db, first, last, kind, hall, upto)
    if len(numbers) != size or frame_hash(numbers) != framed:
        return [f"第 {number} 次抽查的范围与账本不符 / the frame of draw {number} is not what the ledger has"]
    if seeded is None:
        return []
    came = next_stretch(db, stretch)
    if came is None or seeded != seed(number, framed, came):
        return [f"第 {number} 次抽查的种子不是账本给出的 / the seed of draw {number} is not what the ledger gave"]
    if ratings != str(drawn(seeded, numbers, wanted)):
        return [f"第 {number} 次抽查的结果与重抽不符 / draw {number} made again gives other ratings"]
    return []
