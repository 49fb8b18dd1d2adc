"""The ledger's file: transactions that are on disk when they end."""

from __future__ import annotations

import ctypes
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlite_utils

from . import file, mend
from .apart import set_apart
from .file import APPLICATION, LedgerDamaged, LedgerMismatch, is_damage
from .pages import PAGE, Pages
from .schema import SCHEMA, VERSION, bring_up, version_of

Values = tuple[Any, ...] | dict[str, Any]

_LOOK_PAGES = 256  # a megabyte at once
_ASK_EVERY = 50_000  # steps of SQLite's machine: less than ten milliseconds, and what asks costs nothing


class Store:
    """The SQLite file at `path`. One connection writes, whatever thread it is for; each thread reads by its own.

    With `sole` it belongs to this process alone, and LedgerMismatch is raised if another one has it: two that
    forward from one ledger would send every rating twice. With `look_only` nothing is ever written: such a reader is
    welcome beside anybody. Whoever is the first to open it to write looks into it before, see `mend`: a bit that the
    disk has turned round is turned back, LedgerDamaged if that is not enough.
    """

    log_frames = 10_000
    """40 MB: moving the log into the file ten times less often takes a quarter less time in all."""
    shared_log_frames = 1_000
    """Where others write too: who moves the log reads all that they wrote, 0.2 ms a frame, and everybody waits."""

    def __init__(self, path: Path, sole: bool = False, look_only: bool = False, now_ms: int = 0):
        self.path = path
        self._look_only = look_only
        self._sole = sole
        self._lock = threading.RLock()
        self._listeners: list[Callable[[], None]] = []
        self._mine = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._resting: list[sqlite3.Connection] = []
        self._mover: sqlite3.Connection | None = None
        self._pages: Pages | None = None
        self._kept: sqlite3.Connection | None = None
        self._owned: sqlite3.Connection | None = None
        self._damaged: LedgerDamaged | None = None
        if look_only:
            self._db = self._connected()
            if _is_new(self._db, path):
                raise LedgerMismatch(f"{path}: 不是账本 / is no ledger")
            return
        self._owned = file.own(path)
        if sole and self._owned is None:
            raise file.in_use(path)
        try:
            self._open(now_ms)
        except BaseException as error:
            if is_damage(error):
                file.suspect(path, str(error))  # a large one, of which not every page was looked at
            elif self._kept is not None:
                if self._pages is not None:
                    self._pages.keep()
                self._close_all()
            self._let_go()
            raise

    def _open(self, now_ms: int) -> None:
        first = self._owned is not None
        looked = mend.ready(self.path, now_ms) if first else mend.Looked()
        if not self._sole:
            if self._owned is not None:
                self._owned.close()
            self._owned = file.join(self.path)
            self.log_frames = self.shared_log_frames
        self._db = self._connected()
        # Until it is closed, whoever forgets it: SQLite moves the log when its last connection is forgotten, and no
        # sums were put on disk before. A process that ends without closing leaves its ledger as one that was killed.
        self._kept = self._db
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._kept))
        self._begin(first)
        self._state(looked, now_ms)

    def _state(self, looked: mend.Looked, now_ms: int) -> None:
        with self.writing() as db:
            for each in looked.mended:
                db.execute("INSERT INTO mending(at_ms, what, aside) VALUES (?,?,?)", (now_ms, each.what, each.aside))
            if looked.doubtful:
                set_apart(db, now_ms)
        file.suspect_of(self.path).unlink(missing_ok=True)

    def _begin(self, first: bool) -> None:
        new = _is_new(self._db, self.path)
        if new:
            self._db.execute(f"PRAGMA page_size = {PAGE}")
        self._db.execute("PRAGMA journal_mode = WAL")
        # FULL: a receipt lets an agent delete, so what it receipts must survive a power cut.
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA cache_size = -32768")
        # Never by itself: the sums of its pages come first.
        self._db.execute("PRAGMA wal_autocheckpoint = 0")
        pages = self._pages = Pages(self.path, self._sole)
        if first and not new:
            # What a power cut left half written behind the log's end must never pass for a commit.
            self._db.execute("PRAGMA busy_timeout = 0")
            if self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                pages.doubt()  # somebody reads in it
            self._db.execute("PRAGMA busy_timeout = 10000")
        if new:
            pages.sums.begin(complete=True)
            self._db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
        else:
            bring_up(self._db)

    def close(self) -> None:
        """Let go of the file. No thread may be using it."""
        with self._lock:
            if self._look_only:
                for each in (*self._readers, self._db):
                    each.close()
            elif self._pages is not None and self._damaged is None:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._move(self._pages)  # or SQLite would, with its last connection, and without sums
                self._close_all()
            self._let_go()

    def _close_all(self) -> None:
        for each in (*self._readers, self._mover, self._db, self._pages):
            if each is not None:
                each.close()
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(self._kept))
        self._kept = self._pages = None

    def _let_go(self) -> None:
        if self._owned is not None:
            self._owned.close()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener()` after each transaction that wrote. It must not block."""
        self._listeners.append(listener)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction. On disk when it ends; nothing of it remains if it raises. One within another is part of it.

        LedgerDamaged if it turns out to have been made of a page that is no longer what was written: it is undone at$
        the next start.
        """
        with self._lock:
            if self._db.in_transaction:
                yield self._db
                return
            if self._damaged is not None:
                raise self._damaged  # nothing more is built on it
            self._db.execute("BEGIN IMMEDIATE")
            before = self._db.total_changes
            try:
                yield self._db
                self._commit()
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            wrote = self._db.total_changes != before
            if wrote and self._pages is not None:
                try:
                    self._noted(self._pages)
                except LedgerDamaged as damaged:
                    self._damaged = damaged
                    raise
        if wrote:
            for listener in self._listeners:
                listener()

    def _commit(self) -> None:
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._pages is not None:
                self._pages.doubt()
            raise

    def _noted(self, pages: Pages) -> None:
        pages.note()
        if pages.long(self.log_frames):
            self._move(pages)

    def _move(self, pages: Pages) -> None:
        """Move the log into the file, the sums of its pages first."""
        with self._nobody_writing():
            pages.keep()
            if self._mover is None:
                self._mover = self._connected()
            self._mover.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    @contextmanager
    def _nobody_writing(self) -> Iterator[None]:
        with self._lock:
            if self._sole:
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                self._db.execute("ROLLBACK")

    def look(self, first: int) -> int:
        """Look whether these pages, a megabyte from page `first` on, still are what was written; the page to go on
        with, 0 after the last. LedgerDamaged if one is not."""
        pages = self._pages
        if pages is None:
            return 0
        if not pages.sums.complete:
            with self._nobody_writing():
                count = pages.sum_up(first, _LOOK_PAGES)
                if count < _LOOK_PAGES:
                    pages.sums.finish()
        else:
            for number in pages.odd(first, _LOOK_PAGES):
                with self._nobody_writing():
                    pages.look(number)
            count = pages.there(first, _LOOK_PAGES)
        return first + _LOOK_PAGES if count == _LOOK_PAGES else 0

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One moment of the ledger, however much is written meanwhile; nobody waits for it."""
        db = self._reader()
        if db.in_transaction:
            yield db
            return
        db.execute("BEGIN")
        try:
            yield db
        finally:
            db.execute("COMMIT")

    @contextmanager
    def reading_until(self, ended: Callable[[], bool]) -> Iterator[None]:
        """Whatever this thread reads within is broken off as soon as `ended` says so, with an OperationalError."""
        db = self._reader()
        db.set_progress_handler(lambda: int(ended()), _ASK_EVERY)
        try:
            yield
        finally:
            db.set_progress_handler(None, 0)

    def rows(self, sql: str, values: Values = ()) -> list[sqlite3.Row]:
        """All rows of a question."""
        return self._reader().execute(sql, values).fetchall()

    def row(self, sql: str, values: Values = ()) -> Any:
        """The first row of a question, or None."""
        return self._reader().execute(sql, values).fetchone()

    def writable(self) -> bool:
        """Whether there is room to write, and nothing known against it."""
        return self._damaged is None and not self._look_only and not file.lacks(self.path)

    def size(self) -> int:
        """Bytes of the file and of its log."""
        files = (self.path, file.log_of(self.path))
        return sum(each.stat().st_size for each in files if each.exists())

    def tables(self) -> dict[str, int]:
        """How many rows each table has."""
        db = sqlite_utils.Database(self._reader())
        return {name: db[name].count for name in db.table_names()}

    def _reader(self) -> sqlite3.Connection:
        # A connection per thread: a page that counts millions of rows must not hold up the intake.
        db: sqlite3.Connection | None = getattr(self._mine, "db", None)
        if db is None:
            db = self._mine.db = self._rested() or self._another()
        return db

    def _another(self) -> sqlite3.Connection:
        db = self._connected()
        db.execute("PRAGMA query_only = 1")
        with self._lock:
            self._readers.append(db)
        return db

    def _rested(self) -> sqlite3.Connection | None:
        try:
            return self._resting.pop()  # in one step: two threads never get the same
        except IndexError:
            return None

    def rest(self) -> None:
        """This thread has read what it wanted, and leaves its connection to the next one that reads: a server has
        hundreds of threads, few of which read at a time, and each connection costs files and memory."""
        db: sqlite3.Connection | None = getattr(self._mine, "db", None)
        if db is not None and not db.in_transaction:
            self._mine.db = None
            self._resting.append(db)

    def _connected(self) -> sqlite3.Connection:
        name = f"{self.path.absolute().as_uri()}?mode=ro" if self._look_only else self.path
        db = sqlite3.connect(name, isolation_level=None, check_same_thread=False, timeout=10, uri=self._look_only)
        db.row_factory = sqlite3.Row
        return db


def _is_new(db: sqlite3.Connection, path: Path) -> bool:
    """Whether there is nothing in it yet; LedgerMismatch if there is, and it is no ledger of ours."""
    if db.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
        return True
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
        raise LedgerMismatch(f"{path}: 不是账本, 是别的数据库 / is another database and no ledger")
    version = version_of(db)
    if version > VERSION:
        raise LedgerMismatch(f"{path}: 由更新的程序写成 / written by a newer program (version {version})")
    return False
