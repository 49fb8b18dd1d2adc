"""The ledger's file: its tables, and transactions that are on disk when they end."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlite_utils

_SCHEMA = """
-- What was sent, as it was sent. Rows are never changed and never deleted.
CREATE TABLE epoch(
    id INTEGER PRIMARY KEY, agent TEXT NOT NULL, epoch TEXT NOT NULL UNIQUE, upto INTEGER NOT NULL, head BLOB NOT NULL,
    first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL);
CREATE TABLE record(
    epoch_id INTEGER NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL, hash BLOB NOT NULL,
    received_ms INTEGER NOT NULL, PRIMARY KEY(epoch_id, seq)) WITHOUT ROWID;
CREATE TRIGGER record_never_changes BEFORE UPDATE ON record BEGIN SELECT RAISE(ABORT, 'records never change'); END;
CREATE TRIGGER record_never_goes BEFORE DELETE ON record BEGIN SELECT RAISE(ABORT, 'records never go'); END;
-- Records that an agent had sent and let go of, and that this ledger does not have: it was restored from a backup.
CREATE TABLE gap(
    epoch_id INTEGER NOT NULL, after INTEGER NOT NULL, upto INTEGER NOT NULL, head BLOB NOT NULL,
    at_ms INTEGER NOT NULL, PRIMARY KEY(epoch_id, upto));

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
    flagged INTEGER NOT NULL DEFAULT 0, key_map INTEGER NOT NULL, made_ms INTEGER NOT NULL, settled_ms INTEGER);
-- One service, one rating (一次一评).
CREATE UNIQUE INDEX rating_service ON rating(case_no, service_number) WHERE case_no IS NOT NULL;
-- Bad ratings first, then in order of arrival.
CREATE INDEX rating_due ON rating(bad DESC, id) WHERE state = 'due';
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
CREATE TABLE province(id INTEGER PRIMARY KEY CHECK(id = 1), away_since_ms INTEGER, words TEXT NOT NULL DEFAULT '');
INSERT INTO province(id) VALUES (1);
PRAGMA user_version = 1;
"""
_VERSION = 1


class LedgerMismatch(Exception):
    """This file is no ledger that this program can use."""


class Store:
    """The SQLite file at `path`. One connection; any thread may use it, one at a time."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.RLock()
        self._listeners: list[Callable[[], None]] = []
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        # FULL: a receipt lets an agent delete, so what it receipts must survive a power cut.
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA cache_size = -32768")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        elif version != _VERSION:
            raise LedgerMismatch(f"{path}: 由更新的程序写成 / written by a newer program (version {version})")

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener()` after each transaction that wrote. It must not block."""
        self._listeners.append(listener)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction. On disk when it ends; nothing of it remains if it raises."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        for listener in self._listeners:
            listener()

    def rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """All rows of a question."""
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def row(self, sql: str, values: tuple[Any, ...] = ()) -> Any:
        """The first row of a question, or None."""
        with self._lock:
            return self._db.execute(sql, values).fetchone()

    def tables(self) -> dict[str, int]:
        """How many rows each table has."""
        with self._lock:
            db = sqlite_utils.Database(self._db)
            return {name: db[name].count for name in db.table_names()}
