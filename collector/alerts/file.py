"""The file that alerts are kept in, beside the ledger. When the disk is full it goes on in memory with all that it had,
and on disk again as soon as there is room."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

APPLICATION = 0x68637061  # "hcpa": tells this file from any other
VERSION = 2
_PATIENCE_S = 5.0  # for another who writes, and for milliseconds
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR)
_SCHEMA = f"""
CREATE TABLE alert(
    id INTEGER PRIMARY KEY, cause TEXT NOT NULL, kind TEXT NOT NULL, hall TEXT NOT NULL, window TEXT NOT NULL,
    weight TEXT, words TEXT NOT NULL, part_of TEXT NOT NULL, since_ms INTEGER NOT NULL, opened_ms INTEGER NOT NULL,
    opens INTEGER NOT NULL, gone_ms INTEGER, closed_ms INTEGER, acked_by TEXT NOT NULL DEFAULT '', acked_ms INTEGER,
    told TEXT NOT NULL DEFAULT '{{}}', page TEXT NOT NULL DEFAULT '');
-- Never two of one cause.
CREATE UNIQUE INDEX alert_open ON alert(cause) WHERE closed_ms IS NULL;
CREATE INDEX alert_cause ON alert(cause);
CREATE INDEX alert_closed ON alert(closed_ms);
CREATE TABLE note(
    id INTEGER PRIMARY KEY, alert INTEGER NOT NULL, receiver TEXT NOT NULL, what TEXT NOT NULL, at_ms INTEGER NOT NULL,
    weight TEXT NOT NULL, kind TEXT NOT NULL, hall TEXT NOT NULL, words TEXT NOT NULL, since_ms INTEGER NOT NULL,
    opens INTEGER NOT NULL, ended_ms INTEGER, message INTEGER, page TEXT NOT NULL DEFAULT '');
CREATE INDEX note_due ON note(receiver) WHERE message IS NULL;
CREATE INDEX note_alert ON note(alert);
CREATE TABLE message(
    id INTEGER PRIMARY KEY, receiver TEXT NOT NULL, made_ms INTEGER NOT NULL, title TEXT NOT NULL, body TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0, tried_ms INTEGER, sent_ms INTEGER, words TEXT NOT NULL DEFAULT '');
CREATE INDEX message_waits ON message(receiver) WHERE sent_ms IS NULL;
CREATE INDEX message_sent ON message(receiver, sent_ms);
CREATE TABLE silence(
    id INTEGER PRIMARY KEY, kinds TEXT NOT NULL, halls TEXT NOT NULL, windows TEXT NOT NULL, from_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL, weekly TEXT NOT NULL, reason TEXT NOT NULL, who TEXT NOT NULL, made_ms INTEGER NOT NULL,
    ended_ms INTEGER, ended_by TEXT NOT NULL DEFAULT '');
CREATE TABLE mark(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""
_NEWER = """
ALTER TABLE alert ADD COLUMN page TEXT NOT NULL DEFAULT '';
ALTER TABLE note ADD COLUMN page TEXT NOT NULL DEFAULT '';
PRAGMA user_version = 2;
"""
"""What a file of version 1 lacks."""


class NotABook(Exception):
    """This file is not one of alerts that this program can use."""


class BookDamaged(Exception):
    """The disk gives something else than was written."""


class NotKept(Exception):
    """It was not written; the same may be tried again."""


class File:
    """The file at `path`. Any thread may use it. NotABook if it is something else, BookDamaged if it is broken."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.RLock()
        self.in_memory = False
        """Whether the disk does not take it at present."""
        with _damage_named(path):
            try:
                self._db = _checked(_connected(str(path)), path)
            except sqlite3.OperationalError as error:
                if not _is(error, _ROOM):
                    raise
                self._db = _checked(_recalled(path), path)
                self._lost_room(error)

    def close(self) -> None:
        """Let go of it."""
        with self._lock:
            self._db.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """All that is read within is of one moment."""
        with self._lock, _damage_named(self.path):
            yield self._db

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction; in memory where the disk has no room for it. NotKept if it has to be tried again."""
        with self._lock, _damage_named(self.path):
            if self.in_memory:
                self._back_on_disk()
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if not isinstance(error, sqlite3.OperationalError):
                    raise
                if _is(error, _ROOM) and not self.in_memory:
                    self._into_memory(error)
                elif not _is(error, _BUSY):
                    raise
                raise NotKept(str(error)) from error

    def _into_memory(self, error: sqlite3.OperationalError) -> None:
        memory = _connected(":memory:")
        self._db.backup(memory)
        self._db.close()
        self._db = memory
        self._lost_room(error)

    def _lost_room(self, error: sqlite3.OperationalError) -> None:
        self.in_memory = True
        log.error("报警记录写不进磁盘, 暂存内存 / alerts cannot be written and are kept in memory: %s", error)

    def _back_on_disk(self) -> None:
        file = None
        try:
            file = _connected(str(self.path))
            _had(file)
            self._db.backup(file)
            file.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if file is not None:
                file.close()
            if not _is(error, _ROOM + _BUSY):
                raise
            return
        self._db.close()
        self._db = file
        self.in_memory = False


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    # By a name of its own: it is not the ledger that is damaged.
    try:
        yield
    except sqlite3.DatabaseError as error:
        if _is(error, _DAMAGE):
            raise BookDamaged(f"{path}: {error}") from error
        raise


def _is(error: sqlite3.Error, codes: tuple[int, ...]) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in codes


def _connected(name: str) -> sqlite3.Connection:
    db = sqlite3.connect(name, isolation_level=None, check_same_thread=False, timeout=_PATIENCE_S)
    try:
        db.row_factory = sqlite3.Row
        # FULL: what was told must not be told again after a power cut.
        db.execute("PRAGMA synchronous = FULL")
    except BaseException:
        db.close()
        raise
    return db


def _recalled(path: Path) -> sqlite3.Connection:
    """In memory what the file says: it is written over as soon as there is room, so nothing of it may be missing."""
    memory = _connected(":memory:")
    try:
        if path.exists() and path.stat().st_size:
            with closing(_without_room(path)) as file:
                file.backup(memory)
    except BaseException:
        memory.close()
        raise
    return memory


def _had(file: sqlite3.Connection) -> None:
    """It can be written to now; OperationalError if not. A copy that was begun waits for ever for whoever has it."""
    file.execute("BEGIN IMMEDIATE")
    file.execute("ROLLBACK")


def _without_room(path: Path) -> sqlite3.Connection:
    """To read it where SQLite has no room for what it lays beside a file that others may read too."""
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        file = sqlite3.connect(path, isolation_level=None)
        try:
            file.execute("PRAGMA locking_mode = EXCLUSIVE").fetchone()
            _had(file)
            return file
        except sqlite3.DatabaseError as error:
            file.close()
            if not _is(error, _ROOM):
                raise
    # A read-only disk gives nobody a file for himself: then without what stands in the log alone.
    return sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)


def _checked(db: sqlite3.Connection, name: Path) -> sqlite3.Connection:
    """The same, begun or brought up where it has to be. Closed if it is nothing that this program can use."""
    try:
        if db.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        elif db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            raise NotABook(f"{name}: 不是报警记录 / is no file of alerts")
        elif db.execute("PRAGMA user_version").fetchone()[0] > VERSION:
            raise NotABook(f"{name}: 由更新的程序写成 / written by a newer program")
        elif (said := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise BookDamaged(f"{name}: {said}")
        elif db.execute("PRAGMA user_version").fetchone()[0] == 1:
            db.executescript(f"BEGIN IMMEDIATE; {_NEWER} COMMIT;")
    except BaseException:
        db.close()
        raise
    return db
