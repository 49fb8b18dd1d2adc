"""The file of those who sign in, and of what they did: people.db, beside the ledger."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..ledger.guards import guarded

APPLICATION = 0x68637070  # "hcpp": tells it from a ledger, and from any other SQLite file
VERSION = 1
_SCHEMA = f"""
CREATE TABLE identity(id TEXT NOT NULL);
INSERT INTO identity(id) VALUES (lower(hex(randomblob(8))));
CREATE TABLE person(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE, role TEXT NOT NULL, password TEXT NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0, once INTEGER NOT NULL DEFAULT 0, password_ms INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL, signed_in_ms INTEGER);
-- Of a session only what its token is turned into: who reads this file can sign in as nobody.
CREATE TABLE session(
    token BLOB PRIMARY KEY, person INTEGER NOT NULL, made_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE failure(
    what TEXT PRIMARY KEY, times INTEGER NOT NULL, last_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL) WITHOUT ROWID;
-- What everybody did. Rows are never changed, never replaced and never deleted, and each is chained to the one before.
CREATE TABLE log(
    n INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL, about TEXT NOT NULL,
    address TEXT NOT NULL, hash BLOB NOT NULL);
CREATE INDEX log_who ON log(who, n);
CREATE INDEX log_action ON log(action, n);
CREATE INDEX log_at ON log(at_ms);
{"; ".join(guarded("log", "n at_ms who action about address hash", ("n",)))};
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""
Values = Sequence[object] | Mapping[str, object]


class PeopleMismatch(Exception):
    """This file is none that this program can use."""


class File:
    """The file, opened by this process; others may have it open too: the command line, a second collector."""

    def __init__(self, path: Path, like: Path | None = None):
        """A new one belongs to whom `like` belongs, the ledger: whoever makes it may be root."""
        self.path = path
        self._lock = threading.RLock()
        _made(path, like)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        try:
            self._begin()
        except BaseException:
            self._db.close()
            raise

    def _begin(self) -> None:
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        # FULL, not NORMAL: a lock-out, or a line of the log, that a power cut takes back was never there.
        self._db.execute("PRAGMA synchronous = FULL")
        with self.writing() as db:
            if db.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
                for statement in _statements():
                    db.execute(statement)
        if self.row("PRAGMA application_id")[0] != APPLICATION or self.row("PRAGMA user_version")[0] > VERSION:
            words = "不是人员文件, 或由更新的程序写成 / is no file of people, or a newer program's"
            raise PeopleMismatch(f"{self.path}: {words}")
        if self.row("PRAGMA quick_check(1)")[0] != "ok":
            raise sqlite3.DatabaseError("database disk image is malformed")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction. On disk when it ends; nothing of it remains if it raises. One within another is part of it."""
        with self._lock:
            if self._db.in_transaction:
                yield self._db
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def rows(self, sql: str, values: Values = ()) -> list[sqlite3.Row]:
        """All rows of a question."""
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def row(self, sql: str, values: Values = ()) -> sqlite3.Row:
        """The first row of a question; None, which callers ask for, where there is none."""
        with self._lock:
            return self._db.execute(sql, values).fetchone()  # type: ignore[no-any-return]

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()


def _made(path: Path, like: Path | None) -> None:
    """There, and nobody else's to read. Whoever is root makes it for the collector, which is not."""
    if str(path) == ":memory:" or path.exists():
        return
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    if os.name == "posix" and os.geteuid() == 0:
        owner = (like if like is not None and like.exists() else path.parent).stat()
        os.chown(path, owner.st_uid, owner.st_gid)
        if owner.st_uid == 0 and owner.st_gid != 0:
            path.chmod(0o660)  # a folder of root's, in which the collector writes as a member of its group


def _statements() -> Iterator[str]:
    """One by one: a script would end the transaction that it stands in."""
    so_far = ""
    for part in _SCHEMA.split(";"):
        so_far += part + ";"
        if sqlite3.complete_statement(so_far):
            if so_far.strip(" \n;"):
                yield so_far
            so_far = ""


def set_aside(path: Path, now_ms: int) -> Path:
    """Move a damaged file away, with its log, whole; its new name."""
    aside = path.with_name(f"{path.name}.damaged-{now_ms}")
    for ending in ("-wal", "-shm", ""):  # itself last: where it lies, all of it lies
        part = path.with_name(path.name + ending)
        if part.exists():
            part.replace(aside.with_name(aside.name + ending))
    return aside
