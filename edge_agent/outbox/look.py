"""Whether everything in an outbox is what was written there: its pages, its chain, and the sum of every row.

In slices, each of one moment: the program may go on writing meanwhile, and nothing is held for long.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import msgspec

from protocols import chain

from . import rows, upgrade

RECORDS = "SELECT seq, text AS window, press, body, sum FROM record LEFT JOIN name ON n = window"
_ALONE = ("epoch", "tip", "receipted")  # tables of one row


def wrong(db: sqlite3.Connection, form: int, slice: int = 1_000_000) -> Iterator[str]:
    """What is wrong, in words, or '' for each slice of so many rows in which nothing is; or sqlite3.DatabaseError."""
    for table in _ALONE:
        if db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] != 1:
            yield f"表 {table} 缺行 / table {table} lost its row"
            return
    # Not quick_check: that one does not see that an index leads to another row, or to none.
    found = str(db.execute("PRAGMA integrity_check(1)").fetchone()[0])
    yield "" if found == "ok" else found
    if form < 3:
        broken = upgrade.first_break_1(db) if form == 1 else first_break(db, form)
        yield "" if broken is None else _broken(broken)
        return
    yield from _sums(db, slice)
    yield from _chain(db, slice)


def first_break(db: sqlite3.Connection, form: int = 3) -> int | None:
    """The number of the first record whose hash does not follow from the one before; None if the chain holds."""
    with one_view(db):
        done, tip = _ends(db, form)
        if tip.done != done.seq:
            return done.seq
        seq, head = done
        for row in db.execute(f"{RECORDS} WHERE seq > ? ORDER BY seq", (seq,)):
            body = body_of(row)
            if row["seq"] != seq + 1 or body is None:
                return int(row["seq"])
            seq, head = row["seq"], chain.link(head, body)
    return None if (tip.seq, tip.head) == (seq, head) else tip.seq


def body_of(row: Any) -> bytes | None:
    """What this row of RECORDS holds; None if it is not what was written there."""
    body = rows.unpacked(row["seq"], row["body"], row["sum"])
    # The columns beside it say the same as the record itself.
    return body if body is not None and fits(body, row["window"], row["press"]) else None


def fits(body: bytes, window: str | None, press: int) -> bool:
    """Whether these can stand beside this record."""
    return body.startswith(_beginning(window, press))


@contextmanager
def one_view(db: sqlite3.Connection) -> Iterator[None]:
    """All that is read inside is of one moment, whoever else writes meanwhile."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _sums(db: sqlite3.Connection, slice: int) -> Iterator[str]:
    long = {"seen": "id", "invitation": "n", "promised": "n"}
    for table in (table for table in rows.SUMMED if table not in long):
        yield "" if all(rows.holds(table, row) for row in db.execute(rows.SELECT[table]).fetchall()) else _row(table)
    if not rows.has_promised(db):
        del long["promised"]
    for table, number in long.items():
        last = -(1 << 63)
        while found := db.execute(
            f"{rows.SELECT[table]} WHERE {number} > ? ORDER BY {number} LIMIT ?", (last, slice)
        ).fetchall():
            last = found[-1][0]
            yield "" if all(rows.holds(table, row) for row in found) else _row(table)


def _chain(db: sqlite3.Connection, slice: int) -> Iterator[str]:
    seq, head, ended = 0, b"", False
    while not ended:
        with one_view(db):
            done, tip = _ends(db, 3)
            if tip.done != done.seq:
                yield _broken(done.seq)
                return
            if done.seq >= seq:  # at the beginning, and where it was receipted meanwhile
                seq, head = done
            found = db.execute(f"{RECORDS} WHERE seq > ? ORDER BY seq LIMIT ?", (seq, slice)).fetchall()
        for row in found:
            body = body_of(row)
            if row["seq"] != seq + 1 or body is None:
                yield _broken(row["seq"])
                return
            seq, head = row["seq"], chain.link(head, body)
        ended = len(found) < slice
        yield _broken(tip.seq) if ended and (tip.seq, tip.head) != (seq, head) else ""


def _ends(db: sqlite3.Connection, form: int) -> tuple[rows.Receipted, rows.Tip]:
    if form >= 3:
        return rows.receipted(db), rows.tip(db)
    done, tip = (db.execute(f"SELECT {rows.SUMMED[table]} FROM {table}").fetchone() for table in ("receipted", "tip"))
    return rows.Receipted._make(done), rows.Tip._make(tip)


def _broken(seq: int) -> str:
    return f"哈希链在第 {seq} 条断裂 / the chain is broken at record {seq}"


def _row(table: str) -> str:
    return f"表 {table} 有一行损坏 / a row of table {table} is damaged"


@lru_cache(maxsize=1_000)
def _beginning(window: str | None, press: int) -> bytes:
    """How a record begins that has these beside it; what no record begins with where they cannot be."""
    if window is None or press not in (0, 1):
        return b"\0"
    if window == "" and not press:
        return b""  # of no window: a salvage, or a kind that this program does not know
    return b'{"kind":"%s","window":%s,' % (b"press" if press else b"closing", msgspec.json.encode(window))
