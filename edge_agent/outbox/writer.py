"""The one way into an outbox's file: transactions, on the disk when they end, and records appended to its chain."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, NoReturn

from protocols import chain

from . import rows
from .file import lacks
from .invitations import Invitations
from .lock import Lock
from .seen import Seen
from .writeback import WriteBack

log = logging.getLogger(__name__)

_A_PRESS = 65_536  # bytes; a press with its closing takes a third of that in the log
DAY_MS = 86_400_000


class OutboxFull(Exception):
    """The disk, or the room given to the outbox, is full: nothing was kept and nothing may be acknowledged."""


class New(NamedTuple):
    """A record as it goes into its table."""

    window: str
    press: bool
    body: bytes


class Writer:
    """`lock` is held by whoever reads or writes with `db`; a transaction takes it by itself."""

    def __init__(self, db: sqlite3.Connection, path: Path, epoch: str):
        self.db = db
        self.path = path
        self.epoch = epoch
        self.full = False
        """Whether the last attempt to write something down failed for want of room."""
        self.on_kept: Callable[[int], None] = lambda seq: None
        """Called with the number of the last record, each time that one is on the disk."""
        self._appended = self.kept_upto = 0
        self.on_room: Callable[[], None] = lambda: None
        """Called when `full` has changed, by nobody who holds the lock."""
        self.lock = Lock()
        self.back = WriteBack(path)
        self.invitations = Invitations(db, self._name)
        self.seen = Seen(db, self._name)
        self._names: dict[str, int] = {}
        self._tip: rows.Tip | None = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of what is written inside; on the disk at the end. OutboxFull if there is no room."""
        before = self.full
        try:
            with self._locked_transaction():
                yield
        finally:
            if self.full != before:
                self.on_room()

    @contextmanager
    def _locked_transaction(self) -> Iterator[None]:
        with self.lock:
            before = self.db.total_changes
            try:
                self.db.execute("BEGIN IMMEDIATE")
                # What was known before may be changed now, and what is read within is undone with the rest if it fails.
                self._forget()
                self._appended = 0
                yield
                self._forget()
                self.db.execute("COMMIT")
                self.back.committed()
                if self._appended:
                    self.kept_upto = self._appended
                    self.on_kept(self._appended)
            except BaseException as error:
                self._forget()
                self._names.clear()
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                    self._no_room(error)
                raise
            # A transaction that wrote nothing does not show that there is room again; nor does one that just fitted
            # into what the log had left, when the next one may not.
            if self.full and self.db.total_changes != before and not lacks(self.path, _A_PRESS):
                log.warning("存储又有空间, 照常收按键 / there is room again, presses are accepted: %s", self.path)
                self.full = False

    def look_for_room(self) -> None:
        """Whether there is room again shows when something is written: what is there, once more."""
        with self.lock:
            pages, most = (self.db.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "max_page_count"))
        if pages >= most:
            return  # its own bound: there is room when something has been deleted, which is written then
        try:
            with self.transaction():
                rows.put_tip(self.db, self.tip())
        except OutboxFull:
            pass  # not yet

    def tip(self) -> rows.Tip:
        """Within a transaction: the last record of the chain."""
        if self._tip is None:
            self._tip = rows.tip(self.db)
        return self._tip

    def append(self, records: Sequence[New], now_ms: int) -> None:
        """Within a transaction: the next records of the chain."""
        tip = self.tip()
        if tip.seq and tip.at_ms // DAY_MS < now_ms // DAY_MS:
            self.put_head(day_of(tip.at_ms), self.epoch, tip.seq, tip.head.hex())
        hashes = chain.heads(tip.head, [record.body for record in records])
        first = tip.seq + 1
        self.db.executemany(
            "INSERT INTO record(seq, window, press, body, sum) VALUES (?,?,?,?,?)",
            [
                (
                    seq,
                    self._name(record.window),
                    record.press,
                    rows.packed(record.body),
                    rows.sum_of(seq, record.body),
                )
                for seq, record in enumerate(records, first)
            ],
        )
        last = first + len(records) - 1
        waiting = added(tip.waiting, Counter(each.window for each in records if each.press))
        self._tip = rows.Tip(last, hashes[-1], now_ms, waiting, tip.done)
        self._appended = last
        rows.put_tip(self.db, self._tip)
        self.seen.trim(first, last)

    def put_head(self, day: str, epoch: str, seq: int, head: str) -> None:
        """Within a transaction: the head at the end of this day, for good."""
        kept = (day, epoch, seq, head)
        self.db.execute(
            "INSERT OR REPLACE INTO daily_head(day, epoch, seq, head, sum) VALUES (?,?,?,?,?)",
            (*kept, rows.sum_of_row("daily_head", *kept)),
        )

    def _forget(self) -> None:
        self.invitations.forget()
        self._tip = None

    def _name(self, text: str) -> int:
        """The number of this window or start of the PC; given the first time that it is seen."""
        if text not in self._names:
            self.db.execute("INSERT OR IGNORE INTO name(text) VALUES (?)", (text,))
            [number] = self.db.execute("SELECT n FROM name WHERE text = ?", (text,)).fetchone()
            # From the row itself: what led to it may have been changed.
            if self.db.execute("SELECT text FROM name WHERE n = ?", (number,)).fetchone()[0] != text:
                raise sqlite3.DatabaseError("名称的索引损坏 / the index of the names is damaged")
            self._names[text] = number
        return self._names[text]

    def _no_room(self, error: sqlite3.OperationalError) -> NoReturn:
        if not self.full:
            log.error("存储已满, 按键不再收下 / storage is full, presses are not accepted: %s", self.path)
        self.full = True
        raise OutboxFull(str(self.path)) from error


def added(waiting: str, more: Mapping[str, int]) -> str:
    """The presses that wait (JSON, by window), with `more` of them; a window without any is not named."""
    counts: dict[str, int] = json.loads(waiting)
    for window, count in more.items():
        counts[window] = counts.get(window, 0) + count
    return json.dumps({window: count for window, count in counts.items() if count}, ensure_ascii=False)


def day_of(at_ms: int) -> str:
    """The day (UTC) of this time."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")
