"""The outbox's one file: looked into before it is trusted, opened, begun, and set aside whole when it is damaged.

Looking never changes a byte: a damaged file keeps all that can still be read from it.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from protocols import chain

from . import rows, upgrade
from .log import log_of, stays_cut

_VERSION = 2
_QUICK_CHECK_BYTES = 200_000_000  # above it a look would keep a hall waiting at start; each batch is checked as it goes
_BUSY_S = 10.0  # another look, or another agent by mistake, holds the file for milliseconds

_SCHEMA = """
CREATE TABLE epoch(agent TEXT NOT NULL, epoch TEXT NOT NULL, created_ms INTEGER NOT NULL);
-- The last record ever written with the presses that wait (JSON, by window), and the last one that was receipted.
-- `done` says the same as `receipted`: no single page may decide what has been let go of.
CREATE TABLE tip(
    seq INTEGER NOT NULL, head BLOB NOT NULL, at_ms INTEGER NOT NULL, waiting TEXT NOT NULL, done INTEGER NOT NULL);
CREATE TABLE receipted(seq INTEGER NOT NULL, head BLOB NOT NULL);
-- Names that many rows have, once each: a hall's outage of a month has a million rows.
CREATE TABLE name(n INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
-- rows.py says what body and sum hold. Its hash follows from the receipted head and the records since.
CREATE TABLE record(
    seq INTEGER PRIMARY KEY, window INTEGER NOT NULL, press INTEGER NOT NULL, body BLOB NOT NULL, sum BLOB NOT NULL);
CREATE TABLE seen_row(
    id INTEGER PRIMARY KEY, device TEXT NOT NULL, boot INTEGER NOT NULL, count INTEGER NOT NULL,
    button INTEGER NOT NULL, pressed_ms INTEGER NOT NULL, mono_ms INTEGER NOT NULL, host INTEGER NOT NULL);
CREATE INDEX seen_press ON seen_row(device, boot, count);
CREATE VIEW seen AS SELECT seen_row.*, name.text AS host_boot FROM seen_row JOIN name ON name.n = host;
CREATE TABLE invitation_row(
    n INTEGER PRIMARY KEY, key NOT NULL UNIQUE, window TEXT NOT NULL, state TEXT NOT NULL,
    seconds INTEGER NOT NULL, opened_ms INTEGER NOT NULL, mono_ms INTEGER NOT NULL, host INTEGER NOT NULL,
    synced INTEGER, case_no TEXT, service_number INTEGER NOT NULL, clerk TEXT, closed_ms INTEGER,
    closed_mono_ms INTEGER, closed_host INTEGER, press TEXT);
CREATE INDEX invitation_window ON invitation_row(window, n);
CREATE VIEW invitation AS SELECT invitation_row.*, CASE typeof(key) WHEN 'text' THEN key ELSE
        lower(substr(hex(key), 1, 8) || '-' || substr(hex(key), 9, 4) || '-' || substr(hex(key), 13, 4) || '-'
            || substr(hex(key), 17, 4) || '-' || substr(hex(key), 21)) END AS id,
        host.text AS host_boot, closed.text AS closed_boot
    FROM invitation_row JOIN name AS host ON host.n = host LEFT JOIN name AS closed ON closed.n = closed_host;
CREATE UNIQUE INDEX invitation_open ON invitation_row(window) WHERE state = 'open';
-- The damaged files whose records were taken over.
CREATE TABLE rescued(file TEXT PRIMARY KEY, at_ms INTEGER NOT NULL);
-- The hall's own evidence: the head at the end of each day (UTC), kept for good.
CREATE TABLE daily_head(
    day TEXT NOT NULL, epoch TEXT NOT NULL, seq INTEGER NOT NULL, head TEXT NOT NULL, PRIMARY KEY(day, epoch));
PRAGMA user_version = 2
"""


class OutboxForked(Exception):
    """The collector holds other records under our numbers: this file is an older copy, or two PCs have the same one."""


class OutboxMismatch(Exception):
    """This file belongs to another agent, is used by one, was made by a newer program, or is no outbox at all."""


def own(path: Path) -> sqlite3.Connection:
    """A lock that goes when it is closed or this process ends, however it ends; OutboxMismatch if another has it.

    It lies in a file of its own, so that whoever only looks is never in the way.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    lock = sqlite3.connect(f"{path}.lock", isolation_level=None, check_same_thread=False, timeout=0)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        raise OutboxMismatch(f"{path}: 另一个代理正在使用这个存档 / another agent is using this outbox") from error
    return lock


def open_to_write(path: Path, agent: str, now_ms: int) -> sqlite3.Connection:
    """The file of this agent, begun if it is not there. Look into it with `damage` first."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_S)
    try:
        db.row_factory = sqlite3.Row
        # Space that drained records leave goes back to the system; must be set before the first table.
        db.execute("PRAGMA auto_vacuum = FULL")
        db.execute("PRAGMA journal_mode = WAL")
        # FULL, not NORMAL: in WAL mode NORMAL may forget the last commits when the power goes.
        db.execute("PRAGMA synchronous = FULL")
        _begin(db, agent, now_ms)
        _check_owner(db, path, agent)
    except BaseException:
        db.close()
        raise
    return db


def open_to_look(path: Path, agent: str) -> sqlite3.Connection:
    """The same, but nothing can be written with it and a missing file is not made."""
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=_BUSY_S)
    try:
        db.row_factory = sqlite3.Row
        _check_owner(db, path, agent)
    except BaseException:
        db.close()
        raise
    return db


def damage(path: Path, agent: str) -> str:
    """Why this file cannot be trusted; empty if it can, or is not there yet. OutboxMismatch if it is not ours.

    Called before it is written, and by nobody else: a beginning that was broken off is undone first.
    """
    _undo_half_begun(path)
    log = log_of(path)
    if not path.exists() or path.stat().st_size == 0:
        # SQLite throws a log away that has no file: what is in it would be gone.
        return "只剩日志 / only its log is left" if log.exists() and log.stat().st_size else ""
    if log.exists() and stays_cut(log):
        return "日志损坏 / its log is damaged"
    try:
        with closing(open_to_look(path, agent)) as db:
            return _inner_damage(db, path) if _version(db) else ""
    except UnicodeDecodeError:
        # What SQLite says of a damaged schema quotes it, and that is no text any more.
        return "表结构损坏 / its schema is damaged"
    except sqlite3.DatabaseError as error:
        # A plain error, here where nothing is asked but our own tables: one of them is not there any more.
        if not is_damage(error) and getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR:
            raise
        return str(error)


def put_aside(path: Path, now_ms: int, why: str = "damaged") -> Path:
    """Give the file another name, with its log and all; that name. `why` is one of WHY."""
    aside = path.with_name(f"{path.name}.{why}-{now_ms}")
    path.touch()  # where only a log is left: what is set aside has one name
    # The file itself goes first. Left behind alone it would pass for a whole one, some records ago.
    for suffix in ("", "-journal", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


WHY = ("damaged", "forked")


def put_aside_before(path: Path) -> list[Path]:
    """The files that were put aside here and wait for a person."""
    found = [file for why in WHY for file in path.parent.glob(f"{path.name}.{why}-*")]
    return sorted(file for file in found if not file.name.endswith(("-journal", "-wal", "-shm")))


def is_damage(error: BaseException) -> bool:
    """Whether this says that the file is broken. Locked, full, no permission: that is trouble around a whole file."""
    if type(error) not in (sqlite3.DatabaseError, sqlite3.OperationalError):
        return False
    # Without a code: text that is no text, or our own word for a broken chain.
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or (code & 0xFF) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def first_break(db: sqlite3.Connection) -> int | None:
    """The number of the first record whose hash does not follow from the one before; None if the chain holds."""
    with one_view(db):
        done = db.execute("SELECT seq, head FROM receipted").fetchone()
        tip = db.execute("SELECT seq, head, done FROM tip").fetchone()
        seq, head = int(done["seq"]), bytes(done["head"])
        if tip["done"] != seq:
            return seq
        for row in db.execute("SELECT seq, body, sum FROM record ORDER BY seq"):
            body = rows.unpacked(row["seq"], row["body"], row["sum"])
            if row["seq"] != seq + 1 or body is None:
                return int(row["seq"])
            seq, head = row["seq"], chain.link(head, body)
    return None if (tip["seq"], tip["head"]) == (seq, head) else int(tip["seq"])


@contextmanager
def one_view(db: sqlite3.Connection) -> Iterator[None]:
    """All that is read inside is of one moment, whoever else writes meanwhile."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


# ---- begun, and whose it is


def _begin(db: sqlite3.Connection, agent: str, now_ms: int) -> None:
    # All or nothing: a crash in here leaves an empty file, which is begun again.
    db.execute("BEGIN IMMEDIATE")
    if _version(db) == 1:
        upgrade.from_1(db, _SCHEMA)
    elif _version(db) == 0:
        epoch = str(uuid.uuid4())
        head = chain.genesis(agent, epoch)
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        db.execute("INSERT INTO epoch VALUES (?,?,?)", (agent, epoch, now_ms))
        db.execute("INSERT INTO tip VALUES (0,?,0,'{}',0)", (head,))
        db.execute("INSERT INTO receipted VALUES (0,?)", (head,))
    db.execute("COMMIT")


def _check_owner(db: sqlite3.Connection, path: Path, agent: str) -> None:
    version = _version(db)
    if version == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise OutboxMismatch(f"{path}: 不是代理的存档 / is no outbox but another program's database")
    if version > _VERSION:
        raise OutboxMismatch(f"{path}: 由更新的程序写成 / written by a newer program (version {version})")
    owner = db.execute("SELECT agent FROM epoch").fetchone() if version else None
    if owner is not None and owner["agent"] != agent:
        other = owner["agent"]
        raise OutboxMismatch(f"{path}: 属于 {other}, 不是 {agent} / belongs to {other}, not to {agent}")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


# ---- what can be wrong with it


def _undo_half_begun(path: Path) -> None:
    # The power went while the file was begun, before it got its log: SQLite puts that right, but only for a writer.
    if path.with_name(path.name + "-journal").exists():
        with closing(sqlite3.connect(path, timeout=_BUSY_S)) as db:
            try:
                db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise


def _inner_damage(db: sqlite3.Connection, path: Path) -> str:
    for table in ("epoch", "tip", "receipted"):
        if db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] != 1:
            return f"表 {table} 缺行 / table {table} lost its row"
    if path.stat().st_size > _QUICK_CHECK_BYTES:
        return ""
    found = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    if found != "ok":
        return found
    broken = upgrade.first_break_1(db) if _version(db) == 1 else first_break(db)
    return "" if broken is None else f"哈希链在第 {broken} 条断裂 / the chain is broken at record {broken}"
