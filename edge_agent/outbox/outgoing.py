"""Records on their way out: what is due, what a receipt lets go of, and what stands in the file meanwhile."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any

from protocols import chain
from protocols.messages import (
    BATCH_BYTES_MAX,
    RECORDS_MAX,
    Batch,
    ClosingRecord,
    PressRecord,
    Receipt,
    Record,
    SalvageRecord,
    batch_of,
    decode_record,
)

from . import look, rows
from .file import open_beside
from .writer import Writer, added, day_of

_DELETED_AT_ONCE = 250  # records: a millisecond of the disk, for which a press may have to wait
_UNPACKED_AT_ONCE = 32  # records: a fifth of a millisecond
_HEAD = ("day", "epoch", "seq", "head")


class Settled(Enum):
    """What a receipt did."""

    DELETED = "deleted"
    STALE = "stale"  # says nothing new, or speaks of another epoch
    MISMATCH = "mismatch"  # the collector holds something else than we wrote: nothing is deleted


@dataclass(frozen=True)
class Backlog:
    """What is not receipted: how many records, and since when the oldest waits; and the last record's number."""

    records: int
    oldest_ms: int | None
    tip: int


class Outgoing:
    """The records of this writer's file. Any thread may call any method."""

    def __init__(self, writer: Writer):
        self.path, self.epoch = writer.path, writer.epoch
        self._writer, self._lock, self._db = writer, writer.lock, writer.db
        self._reader = open_beside(writer.path)
        self._out = threading.Lock()  # for the reader, and what was read with it
        self._heads_at: dict[int, bytes] = {}
        """The hashes of the records that were last asked for, by their numbers."""

    def tidy(self) -> None:
        """Work that nobody waits for, to be called whenever there is time; mostly there is none to do.
        sqlite3.DatabaseError if the file turns out to be damaged."""
        self._writer.back.now_and_then()

    def due(self) -> Batch | None:
        """The oldest records that are not receipted, as many as fit in one batch; None if there are none.

        sqlite3.DatabaseError if they are not what was written.
        """
        return self._batch(None)

    def due_behind(self, batch: Batch) -> Batch | None:
        """What will be due once `batch`, the one on its way, is receipted; None as long as that is less than a whole
        batch may hold. sqlite3.DatabaseError if it is not what was written."""
        return self._batch(batch)

    def _batch(self, behind: Batch | None) -> Batch | None:
        # Read beside the writer: a press must not wait while a thousand records are unpacked.
        with self._out:
            with look.one_view(self._reader):
                done, tip = rows.receipted(self._reader), rows.tip(self._reader)
                before = done
                if behind is not None:
                    before = rows.Receipted(behind.first + len(behind.records) - 1, bytes.fromhex(behind.head))
                    if before.seq + RECORDS_MAX > tip.seq:
                        return None
                found = self._reader.execute(
                    f"{look.RECORDS} WHERE seq > ? ORDER BY seq LIMIT ?", (before.seq, RECORDS_MAX)
                ).fetchall()
            if before.seq == tip.seq:
                return None
            first = before.seq + 1
            # The collector would take what was changed for what was written: it has to be known here.
            bodies = _fitting(self._by_and_by(self._bodies(found, first)))
            last = first + len(bodies) - 1
            head = chain.heads(before.head, bodies)[-1] if bodies else b""
            if not bodies or (last == tip.seq and head != tip.head):
                raise self._broken(first)
            # Of two at most: the one on its way, and the one behind it.
            self._heads_at = {before.seq: before.head, last: head}
        return batch_of(self.epoch, first, before.head, head, bodies, oldest=done.seq + 1)

    def _bodies(self, found: Iterable[Any], first: int) -> Iterator[bytes]:
        """What these rows hold, from record `first` on without a hole; sqlite3.DatabaseError if it is not all there."""
        for seq, row in enumerate(found, first):
            body = look.body_of(row)
            if row["seq"] != seq or body is None:
                raise self._broken(seq)
            yield body

    def _by_and_by(self, bodies: Iterator[bytes]) -> Iterator[bytes]:
        """Unpacked between the presses."""
        while some := list(islice(bodies, _UNPACKED_AT_ONCE)):
            self._lock.stand_back()
            if len(some) == _UNPACKED_AT_ONCE:
                self._lock.breathe()
            yield from some

    def _broken(self, seq: int) -> sqlite3.DatabaseError:
        return sqlite3.DatabaseError(f"{self.path}: 第 {seq} 条损坏 / record {seq} is damaged")

    def _hash_at(self, seq: int) -> bytes | None:
        """The hash of this record, one of those that wait; None if there is no such record any more or yet."""
        done, tip = rows.receipted(self._db), rows.tip(self._db)
        if not done.seq < seq <= tip.seq:
            return None
        if seq == tip.seq:
            return tip.head
        if seq not in self._heads_at:
            found = self._db.execute(f"{look.RECORDS} WHERE seq > ? AND seq <= ? ORDER BY seq", (done.seq, seq))
            head = done.head
            for body in self._bodies(found, done.seq + 1):
                head = chain.link(head, body)
            self._heads_at = {seq: head}
        return self._heads_at[seq]

    def settle(self, receipt: Receipt) -> Settled:
        """Let go of what the collector holds, if it holds exactly what we wrote."""
        if receipt.epoch != self.epoch:
            return Settled.STALE
        self._lock.stand_back()
        with self._writer.transaction():
            if receipt.upto <= rows.receipted(self._db).seq:
                return Settled.STALE
            head = self._hash_at(receipt.upto)
            if head is None or head.hex() != receipt.head:
                return Settled.MISMATCH
            tip = self._writer.tip()
            gone = self._db.execute(
                "SELECT name.text, -count(*) FROM record JOIN name ON name.n = window"
                " WHERE seq > ? AND seq <= ? AND press = 1 GROUP BY window",
                (tip.done, receipt.upto),
            ).fetchall()
            rows.put_receipted(self._db, rows.Receipted(receipt.upto, head))
            rows.put_tip(self._db, tip._replace(waiting=added(tip.waiting, dict(gone)), done=receipt.upto))
            # The receipt of a press is one commit: the next press waits for no second one.
            more = self._delete_some(receipt.upto)
        # What is receipted is nobody's any more, whether it is still there or not: a press waits for a few at most.
        while more:
            self._lock.stand_back()
            with self._writer.transaction():
                more = self._delete_some(receipt.upto)
        return Settled.DELETED

    def _delete_some(self, upto: int) -> bool:
        """Within a transaction; whether there are more to delete."""
        first = self._value("SELECT min(seq) FROM record")
        if first is None or first > upto:
            return False
        last = min(upto, first + _DELETED_AT_ONCE - 1)
        self._db.execute("DELETE FROM record WHERE seq <= ?", (last,))
        return bool(last < upto)

    def backlog(self) -> Backlog:
        """How much is not receipted."""
        with self._lock:
            tip, done = rows.tip(self._db).seq, rows.receipted(self._db).seq
            oldest = self._row(f"{look.RECORDS} WHERE seq > ? ORDER BY seq LIMIT 1", (done,))
        if oldest is None:
            return Backlog(tip - done, None, tip)
        [body] = self._bodies([oldest], oldest["seq"])
        return Backlog(tip - done, _written_ms(decode_record(body)), tip)

    def waiting(self, window: str) -> int:
        """Presses of this window that are not receipted."""
        with self._lock:
            return int(json.loads(rows.tip(self._db).waiting).get(window, 0))

    def heads(self) -> list[dict[str, Any]]:
        """The hall's own evidence: day (UTC), epoch, number and hash of the last record of each day, today's as it is
        now."""
        with self._lock:
            found = self._db.execute(f"{rows.SELECT['daily_head']} ORDER BY day, seq").fetchall()
            tip = rows.tip(self._db)
        heads = [dict(zip(_HEAD, rows.checked("daily_head", row), strict=True)) for row in found]
        if tip.seq:
            heads.append(dict(zip(_HEAD, (day_of(tip.at_ms), self.epoch, tip.seq, tip.head.hex()), strict=True)))
        return heads

    def receipted(self) -> tuple[int, str]:
        """Number and hash (hex) of the last record that the collector has receipted; 0 if none."""
        with self._lock:
            done = rows.receipted(self._db)
        return done.seq, done.head.hex()

    def tip(self) -> tuple[int, str]:
        """Number and hash (hex) of the last record ever written."""
        with self._lock:
            tip = rows.tip(self._db)
        return tip.seq, tip.head.hex()

    def records(self) -> Iterator[dict[str, Any]]:
        """Every record not yet receipted: seq, window, kind, body (JSON text), hash (hex)."""
        with self._lock:
            done = rows.receipted(self._db)
            head = done.head
            for row in self._db.execute(f"{look.RECORDS} WHERE seq > ? ORDER BY seq", (done.seq,)):
                [body] = self._bodies([row], row["seq"])
                head = chain.link(head, body)
                yield {
                    "seq": row["seq"],
                    "window": row["window"],
                    "kind": "press" if row["press"] else "closing",
                    "body": body.decode(),
                    "hash": head.hex(),
                }

    def first_break(self) -> int | None:
        """The number of the first record whose hash does not follow from the one before; None if the chain holds."""
        with self._lock:
            return look.first_break(self._db)

    def _row(self, sql: str, values: tuple[Any, ...] = ()) -> Any:
        with self._lock:
            return self._db.execute(sql, values).fetchone()

    def _value(self, sql: str) -> Any:
        return self._db.execute(sql).fetchone()[0]


def _fitting(bodies: Iterable[bytes]) -> list[bytes]:
    room = BATCH_BYTES_MAX - 1024  # for what stands around the records
    fitting: list[bytes] = []
    for body in bodies:
        room -= len(body) + 1
        if room < 0 and fitting:
            break
        fitting.append(body)
    return fitting


def _written_ms(record: Record) -> int:
    match record:
        case PressRecord(kept_ms=at_ms) | ClosingRecord(closed_ms=at_ms) | SalvageRecord(at_ms=at_ms):
            return at_ms
