"""The ledger's file: its tables, and transactions that are on disk when they end."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlite_utils

from protocols import chain

from . import tally
from .guards import GUARDS

Values = tuple[Any, ...] | dict[str, Any]

APPLICATION = 0x68637031  # "hcp1": tells a ledger from any other SQLite file
VERSION = 4
_LOSS = (
    "CREATE TABLE loss(id INTEGER PRIMARY KEY, epoch_id INTEGER NOT NULL, epoch TEXT NOT NULL, first INTEGER NOT NULL,"
    " last INTEGER NOT NULL, reason TEXT NOT NULL, at_ms INTEGER NOT NULL)"
)
_STRETCH = (
    "CREATE TABLE stretch(n INTEGER PRIMARY KEY, epoch_id INTEGER NOT NULL, first INTEGER NOT NULL,"
    " upto INTEGER NOT NULL, head BLOB NOT NULL, at_ms INTEGER NOT NULL, hash BLOB NOT NULL)",
    "CREATE TRIGGER stretch_never_changes BEFORE UPDATE ON stretch"
    " BEGIN SELECT RAISE(ABORT, 'stretches never change'); END",
    "CREATE TRIGGER stretch_never_goes BEFORE DELETE ON stretch BEGIN SELECT RAISE(ABORT, 'stretches never go'); END",
)
# Which ledger this is, for as long as there is a copy of it: a checkpoint names it.
_IDENTITY = (
    "CREATE TABLE identity(id TEXT NOT NULL)",
    "INSERT INTO identity(id) VALUES (lower(hex(randomblob(16))))",
    "CREATE TRIGGER identity_stays BEFORE UPDATE ON identity BEGIN SELECT RAISE(ABORT, 'a ledger stays itself'); END",
    "CREATE TRIGGER identity_never_goes BEFORE DELETE ON identity"
    " BEGIN SELECT RAISE(ABORT, 'a ledger stays itself'); END",
    "CREATE TRIGGER identity_once BEFORE INSERT ON identity BEGIN SELECT RAISE(ABORT, 'a ledger has one'); END",
)
_SCHEMA = f"""
CREATE TABLE epoch(
    id INTEGER PRIMARY KEY, agent TEXT NOT NULL, epoch TEXT NOT NULL UNIQUE, upto INTEGER NOT NULL, head BLOB NOT NULL,
    first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL);
-- What was sent, as it was sent. Rows are never changed, never replaced and never deleted.
CREATE TABLE record(
    epoch_id INTEGER NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL, hash BLOB NOT NULL,
    received_ms INTEGER NOT NULL, PRIMARY KEY(epoch_id, seq)) WITHOUT ROWID;
CREATE TRIGGER record_never_changes BEFORE UPDATE ON record BEGIN SELECT RAISE(ABORT, 'records never change'); END;
CREATE TRIGGER record_never_goes BEFORE DELETE ON record BEGIN SELECT RAISE(ABORT, 'records never go'); END;
CREATE TRIGGER record_once BEFORE INSERT ON record
    WHEN EXISTS(SELECT 1 FROM record WHERE epoch_id = NEW.epoch_id AND seq = NEW.seq)
    BEGIN SELECT RAISE(ABORT, 'records are never replaced'); END;
-- Records that an agent had sent and let go of, and that this ledger does not have: it was restored from a backup.
CREATE TABLE gap(
    epoch_id INTEGER NOT NULL, after INTEGER NOT NULL, upto INTEGER NOT NULL, head BLOB NOT NULL,
    at_ms INTEGER NOT NULL, PRIMARY KEY(epoch_id, upto));
-- The ledger's own chain, over what it took of all agents and in which order: chain.py says how.
{"; ".join(_STRETCH)};
-- Records that an agent's disk has lost: it says so itself, in epoch_id. `epoch` is the damaged outbox's.
{_LOSS};

-- What it means. Everything below can be made again from the records, but for the province's answers.
CREATE TABLE press(
    id INTEGER PRIMARY KEY, epoch_id INTEGER NOT NULL, seq INTEGER NOT NULL, agent TEXT NOT NULL, window TEXT NOT NULL,
    device TEXT NOT NULL, boot INTEGER NOT NULL, count INTEGER NOT NULL, invitation TEXT, pressed_ms INTEGER NOT NULL,
    fate TEXT NOT NULL, detail TEXT NOT NULL DEFAULT '');
CREATE INDEX press_id ON press(device, boot, count);
CREATE INDEX press_curable ON press(invitation) WHERE fate NOT IN ('rated', 'repeat', 'duplicate', 'unsolicited');
CREATE INDEX press_window ON press(agent, window, fate);
CREATE TABLE closing(
    invitation TEXT PRIMARY KEY, epoch_id INTEGER NOT NULL, seq INTEGER NOT NULL, agent TEXT NOT NULL,
    window TEXT NOT NULL, outcome TEXT NOT NULL, closed_ms INTEGER NOT NULL) WITHOUT ROWID;
-- Which button of a device meant which level from when on: what a rating said when it was made stays checkable.
CREATE TABLE key_map(
    id INTEGER PRIMARY KEY, device TEXT NOT NULL, from_ms INTEGER NOT NULL, keys BLOB NOT NULL);
CREATE TRIGGER key_map_never_changes BEFORE UPDATE ON key_map BEGIN SELECT RAISE(ABORT, 'key maps never change'); END;
CREATE TRIGGER key_map_never_goes BEFORE DELETE ON key_map BEGIN SELECT RAISE(ABORT, 'key maps never go'); END;
CREATE TABLE rating(
    id INTEGER PRIMARY KEY, press INTEGER NOT NULL UNIQUE, once TEXT NOT NULL UNIQUE, level TEXT NOT NULL,
    bad INTEGER NOT NULL, device TEXT NOT NULL, boot INTEGER NOT NULL, count INTEGER NOT NULL, hall TEXT NOT NULL,
    number TEXT NOT NULL, agent TEXT NOT NULL, window TEXT NOT NULL, pressed_ms INTEGER NOT NULL,
    channel TEXT NOT NULL, invitation TEXT, case_no TEXT, service_number INTEGER NOT NULL, clerk TEXT,
    state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', words TEXT NOT NULL DEFAULT '',
    tries INTEGER NOT NULL DEFAULT 0, next_ms INTEGER NOT NULL, duplicate INTEGER NOT NULL DEFAULT 0,
    flagged INTEGER NOT NULL DEFAULT 0, key_map INTEGER NOT NULL, made_ms INTEGER NOT NULL, settled_ms INTEGER,
    tags TEXT NOT NULL DEFAULT '', text TEXT NOT NULL DEFAULT '');
-- One service, one rating (一次一评).
CREATE UNIQUE INDEX rating_service ON rating(case_no, service_number) WHERE case_no IS NOT NULL;
-- Bad ratings first, then in order of arrival.
CREATE INDEX rating_due ON rating(bad DESC, id) WHERE state = 'due';
CREATE INDEX rating_tries ON rating(tries, next_ms) WHERE state = 'due';
-- Every count of ratings on a page is read from this index alone.
CREATE INDEX rating_counts ON rating(agent, window, state, reason, level, bad, flagged);
CREATE TABLE service_case(
    case_no TEXT NOT NULL, service_number INTEGER NOT NULL, body BLOB NOT NULL, received_ms INTEGER NOT NULL,
    delivered_ms INTEGER, PRIMARY KEY(case_no, service_number)) WITHOUT ROWID;
-- Each call to the province, written before it is made: after a crash it is known what may have arrived.
CREATE TABLE attempt(
    id INTEGER PRIMARY KEY, rating INTEGER NOT NULL, what TEXT NOT NULL, at_ms INTEGER NOT NULL, verdict TEXT,
    words TEXT NOT NULL DEFAULT '');
CREATE INDEX attempt_rating ON attempt(rating);

CREATE TABLE quarantine(
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, digest BLOB NOT NULL, reason TEXT NOT NULL, payload BLOB NOT NULL,
    size INTEGER NOT NULL, times INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
    UNIQUE(topic, digest));
CREATE TABLE agent(agent TEXT PRIMARY KEY, status BLOB, status_ms INTEGER, health BLOB, health_ms INTEGER);
CREATE TABLE device_count(
    agent TEXT NOT NULL, window TEXT NOT NULL, device TEXT NOT NULL, boot INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY(agent, window, device, boot)) WITHOUT ROWID;
-- What the rows above are held against, day by day.
{"; ".join((*tally.TABLES, *tally.COLUMNS, *tally.INDEXES))};
CREATE TABLE province(id INTEGER PRIMARY KEY CHECK(id = 1), away_since_ms INTEGER, words TEXT NOT NULL DEFAULT '');
INSERT INTO province(id) VALUES (1);
{"; ".join(_IDENTITY)};
{"; ".join(GUARDS)};
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""
# What makes a file of one version one of the next. Only tables, columns with a default, and triggers against what no
# program of ours ever did are added: a program of before, that has the file open meanwhile, goes on writing to it. What
# it writes after step 3 is in no count by day, and shows as unexplained: several collectors on one ledger are stopped
# before it.
_STEPS = {
    1: (
        "ALTER TABLE rating ADD COLUMN tags TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE rating ADD COLUMN text TEXT NOT NULL DEFAULT ''",
    ),
    2: (_LOSS, *_STRETCH),
    3: (*_IDENTITY, *GUARDS, *tally.TABLES, *tally.COLUMNS, *tally.INDEXES, *tally.TAKEN_OVER),
}


class LedgerMismatch(Exception):
    """This file is no ledger that this program can use."""


class Store:
    """The SQLite file at `path`. One connection writes, whatever thread it is for; each thread reads by its own.

    With `sole` it belongs to this process alone, and LedgerMismatch is raised if another one has it: two that
    forward from one ledger would send every rating twice. Readers are always welcome beside it.
    """

    def __init__(self, path: Path, sole: bool = False):
        self.path = path
        self._owned = _own(path) if sole else None
        self._lock = threading.RLock()
        self._listeners: list[Callable[[], None]] = []
        self._db = _connected(path)
        new = _is_new(self._db, path)
        self._db.execute("PRAGMA journal_mode = WAL")
        # FULL: a receipt lets an agent delete, so what it receipts must survive a power cut.
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA cache_size = -32768")
        # 40 MB: moving the log into the file ten times less often takes a quarter less time in all.
        self._db.execute("PRAGMA wal_autocheckpoint = 10000")
        if new:
            self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        else:
            _bring_up(self._db)
        self._mine = threading.local()
        self._readers: list[sqlite3.Connection] = []

    def close(self) -> None:
        """Let go of the file. No thread may be using it."""
        with self._lock:
            for each in (*self._readers, self._db, self._owned):
                if each is not None:
                    each.close()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener()` after each transaction that wrote. It must not block."""
        self._listeners.append(listener)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction. On disk when it ends; nothing of it remains if it raises. One within another is part of it."""
        with self._lock:
            if self._db.in_transaction:
                yield self._db
                return
            self._db.execute("BEGIN IMMEDIATE")
            before = self._db.total_changes
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            wrote = self._db.total_changes != before
        if wrote:
            for listener in self._listeners:
                listener()

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

    def rows(self, sql: str, values: Values = ()) -> list[sqlite3.Row]:
        """All rows of a question."""
        return self._reader().execute(sql, values).fetchall()

    def row(self, sql: str, values: Values = ()) -> Any:
        """The first row of a question, or None."""
        return self._reader().execute(sql, values).fetchone()

    def tables(self) -> dict[str, int]:
        """How many rows each table has."""
        db = sqlite_utils.Database(self._reader())
        return {name: db[name].count for name in db.table_names()}

    def _reader(self) -> sqlite3.Connection:
        # A connection per thread: a page that counts millions of rows must not hold up the intake.
        db: sqlite3.Connection | None = getattr(self._mine, "db", None)
        if db is None:
            db = _connected(self.path)
            db.execute("PRAGMA query_only = 1")
            with self._lock:
                self._readers.append(db)
            self._mine.db = db
        return db


def _connected(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    db.row_factory = sqlite3.Row
    return db


def _own(path: Path) -> sqlite3.Connection:
    """A lock that the system lets go of when this process ends, however it ends."""
    lock = sqlite3.connect(f"{path}.lock", isolation_level=None, check_same_thread=False, timeout=0)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        raise LedgerMismatch(f"{path}: 另一个汇聚器正在使用 / another collector is using it") from error
    return lock


def _is_new(db: sqlite3.Connection, path: Path) -> bool:
    """Whether there is nothing in it yet; LedgerMismatch if there is, and it is no ledger of ours."""
    if db.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
        return True
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
        raise LedgerMismatch(f"{path}: 不是账本, 是别的数据库 / is another database and no ledger")
    version = _version(db)
    if version > VERSION:
        raise LedgerMismatch(f"{path}: 由更新的程序写成 / written by a newer program (version {version})")
    return False


def _bring_up(db: sqlite3.Connection) -> None:
    """Make a ledger of an older program one of this program: all of it or nothing."""
    if _version(db) == VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for version in range(_version(db), VERSION):  # read again: another program may have been first
            for statement in _STEPS[version]:
                db.execute(statement)
            if version == 2:
                _take_over(db)
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _take_over(db: sqlite3.Connection) -> None:
    """What an older program had taken, as one stretch of each epoch."""
    before = chain.LEDGER
    rows = db.execute("SELECT id, epoch, upto, head, last_ms FROM epoch WHERE upto > 0 ORDER BY id").fetchall()
    for row in rows:
        before = chain.stretch(before, row["epoch"], 1, row["upto"], row["head"], row["last_ms"])
        db.execute(
            "INSERT INTO stretch(epoch_id, first, upto, head, at_ms, hash) VALUES (?,1,?,?,?,?)",
            (row["id"], row["upto"], row["head"], row["last_ms"], before),
        )


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version
