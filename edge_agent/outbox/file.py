"""The outbox's one file: looked into before it is trusted, opened, begun, and set aside whole when it is damaged.

Looking never changes a byte: a damaged file keeps all that can still be read from it.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

from protocols import chain

from . import look, rows, upgrade
from .log import log_of, stays_cut

FORM = 3
FULL, READ_ONLY = "storage_full", "storage_read_only"
_ROOM = 1_000_000  # bytes; with less left, a start that failed failed for want of room
_MARK = 0x48520000  # with the form it is noted as application_id, beside user_version: one wrong bit in either shows
_TABLES = {"epoch", "tip", "receipted", "record"}  # of every form
# Half a second's work: of a longer file a look would keep a hall waiting at start, and is made beside the work.
LOOK_BYTES = 4_000_000
_BUSY_S = 10.0  # another look, or another agent by mistake, holds the file for milliseconds

# What is in a sum: rows.py. What body and sum of a record hold: there too; its hash follows from the receipted head and
# the records since. `done` says the same as `receipted`: no single page may decide what has been let go of. Names that
# many rows have are kept once each: a hall's outage of a month has a million rows. Left joins: a row whose name is lost
# must be seen, and its sum fails. Daily heads are the hall's own evidence, kept for good, by the end of each day (UTC).
_SCHEMA = f"""
CREATE TABLE epoch(agent TEXT NOT NULL, epoch TEXT NOT NULL, created_ms INTEGER NOT NULL, sum BLOB NOT NULL);
CREATE TABLE tip(
    seq INTEGER NOT NULL, head BLOB NOT NULL, at_ms INTEGER NOT NULL, waiting TEXT NOT NULL, done INTEGER NOT NULL,
    sum BLOB NOT NULL);
CREATE TABLE receipted(seq INTEGER NOT NULL, head BLOB NOT NULL, sum BLOB NOT NULL);
CREATE TABLE name(n INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE record(
    seq INTEGER PRIMARY KEY, window INTEGER NOT NULL, press INTEGER NOT NULL, body BLOB NOT NULL, sum BLOB NOT NULL);
CREATE TABLE seen_row(
    id INTEGER PRIMARY KEY, device TEXT NOT NULL, boot INTEGER NOT NULL, count INTEGER NOT NULL,
    button INTEGER NOT NULL, pressed_ms INTEGER NOT NULL, mono_ms INTEGER NOT NULL, host INTEGER NOT NULL,
    sum BLOB NOT NULL);
CREATE INDEX seen_press ON seen_row(device, boot, count);
CREATE VIEW seen AS SELECT seen_row.*, name.text AS host_boot FROM seen_row LEFT JOIN name ON name.n = host;
CREATE TABLE invitation_row(
    n INTEGER PRIMARY KEY, key NOT NULL UNIQUE, window TEXT NOT NULL, state TEXT NOT NULL,
    seconds INTEGER NOT NULL, opened_ms INTEGER NOT NULL, mono_ms INTEGER NOT NULL, host INTEGER NOT NULL,
    synced INTEGER, case_no TEXT, service_number INTEGER NOT NULL, clerk TEXT, closed_ms INTEGER,
    closed_mono_ms INTEGER, closed_host INTEGER, press TEXT, sum BLOB NOT NULL);
CREATE INDEX invitation_window ON invitation_row(window, n);
CREATE VIEW invitation AS SELECT invitation_row.*, CASE typeof(key) WHEN 'text' THEN key ELSE
        lower(substr(hex(key), 1, 8) || '-' || substr(hex(key), 9, 4) || '-' || substr(hex(key), 13, 4) || '-'
            || substr(hex(key), 17, 4) || '-' || substr(hex(key), 21)) END AS id,
        host.text AS host_boot, closed.text AS closed_boot
    FROM invitation_row LEFT JOIN name AS host ON host.n = host LEFT JOIN name AS closed ON closed.n = closed_host;
CREATE UNIQUE INDEX invitation_open ON invitation_row(window) WHERE state = 'open';
CREATE TABLE rescued(
    n INTEGER PRIMARY KEY, file TEXT NOT NULL UNIQUE, at_ms INTEGER NOT NULL, seen INTEGER NOT NULL,
    invitations INTEGER NOT NULL, upto INTEGER NOT NULL, whole INTEGER NOT NULL, sum BLOB NOT NULL);
CREATE TABLE daily_head(
    day TEXT NOT NULL, epoch TEXT NOT NULL, seq INTEGER NOT NULL, head TEXT NOT NULL, sum BLOB NOT NULL,
    PRIMARY KEY(day, epoch));
PRAGMA application_id = {_MARK + FORM};
PRAGMA user_version = {FORM}
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
        # A log that grew while somebody read for long is cut again: each start reads all of it.
        db.execute(f"PRAGMA journal_size_limit = {LOOK_BYTES}")
        _begin(db, path, agent, now_ms)
        _check_owner(db, path, agent)
    except BaseException:
        db.close()
        raise
    return db


def open_to_look(path: Path, agent: str, older: bool = False) -> sqlite3.Connection:
    """The same, but nothing can be written with it and a missing file is not made. OutboxMismatch also for a file of an
    older form, unless `older`."""
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=_BUSY_S)
    try:
        db.row_factory = sqlite3.Row
        _check_owner(db, path, agent)
        if not older and _form(db, path) in (1, 2):
            words = "由旧程序写成, 代理启动后再看 / written by an older program: look again once the agent has started"
            raise OutboxMismatch(f"{path}: {words}")
    except BaseException:
        db.close()
        raise
    return db


def open_beside(path: Path) -> sqlite3.Connection:
    """To read what the writer of this process has written, in any thread and without holding it up."""
    uri = f"{path.resolve().as_uri()}?mode=ro"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=_BUSY_S)
    db.row_factory = sqlite3.Row
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
        with closing(open_to_look(path, agent, older=True)) as db:
            form = _form(db, path)
            # Beside the work if it is long: each row that is used is checked as it is read.
            return next(filter(None, look.wrong(db, form)), "") if form and not is_long(path) else ""
    except UnicodeDecodeError:
        # What SQLite says of a damaged schema quotes it, and that is no text any more.
        return "表结构损坏 / its schema is damaged"
    except sqlite3.DatabaseError as error:
        # A plain error, here where nothing is asked but our own tables: one of them is not there any more.
        if not is_damage(error) and getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR:
            raise
        return str(error)


def lacks(path: Path, least: int = _ROOM) -> str:
    """Why nothing can be written where this file is: FULL (less than `least` bytes left) or READ_ONLY; empty if there
    is room."""
    try:
        there = os.statvfs(path.parent)
    except (AttributeError, OSError):  # Windows has no such call; or the folder itself is not there
        return ""
    if there.f_flag & os.ST_RDONLY:
        return READ_ONLY
    return FULL if there.f_bavail * there.f_frsize < least else ""


def is_long(path: Path) -> bool:
    """Whether a look at the whole file is too long for a start."""
    return path.stat().st_size > LOOK_BYTES


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


# ---- begun, and whose it is


def _begin(db: sqlite3.Connection, path: Path, agent: str, now_ms: int) -> None:
    # All or nothing: a crash in here leaves an empty file, which is begun again.
    db.execute("BEGIN IMMEDIATE")
    match _form(db, path):
        case 1 | 2 as form:
            upgrade.upgraded(db, form, _SCHEMA)
        case 0:
            _begun(db, agent, now_ms)
    db.execute("COMMIT")


def _begun(db: sqlite3.Connection, agent: str, now_ms: int) -> None:
    epoch = str(uuid.uuid4())
    head = chain.genesis(agent, epoch)
    for statement in _SCHEMA.split(";"):
        db.execute(statement)
    for table, values in {
        "epoch": (agent, epoch, now_ms),
        "tip": rows.Tip(0, head, 0, "{}", 0),
        "receipted": rows.Receipted(0, head),
    }.items():
        places = ",".join("?" * (len(values) + 1))
        db.execute(f"INSERT INTO {table} VALUES ({places})", (*values, rows.sum_of_row(table, *values)))


def _check_owner(db: sqlite3.Connection, path: Path, agent: str) -> None:
    """OutboxMismatch if it is another's; sqlite3.DatabaseError if that cannot be told for damage."""
    form = _form(db, path)
    found = "agent, x'', 0, x''" if form < 3 else "CAST(agent AS BLOB), epoch, created_ms, sum"  # it may be no text
    row = db.execute(f"SELECT {found} FROM epoch").fetchone() if form else None
    if row is None:
        return
    raw, epoch, created_ms, stated = row
    other = raw if isinstance(raw, str) else raw.decode(errors="replace")
    meant = form < 3 or rows.holds("epoch", (other, epoch, created_ms, stated))
    ours = rows.sum_of_row("epoch", agent, epoch, created_ms) == stated
    if other != agent and not ours:
        raise OutboxMismatch(f"{path}: 属于 {other}, 不是 {agent} / belongs to {other}, not to {agent}")
    if not meant:
        raise sqlite3.DatabaseError("表 epoch 损坏 / table epoch is damaged")


def _form(db: sqlite3.Connection, path: Path) -> int:
    """Which form of ours it has, 0 before it is begun. OutboxMismatch if it is none of those that this program knows;
    sqlite3.DatabaseError if what says so is damaged."""
    version, mark = (db.execute(f"PRAGMA {noted}").fetchone()[0] for noted in ("user_version", "application_id"))
    if (mark, version) in ((0, 1), (0, 2), (_MARK + FORM, FORM)):
        return int(version)
    tables = {name for [name] in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables and not version and not mark:
        return 0
    newer = version > FORM and mark != _MARK + FORM and mark & ~0xFFFF == _MARK
    if newer or (version > FORM and not tables >= _TABLES):
        raise OutboxMismatch(f"{path}: 由更新的程序写成 / written by a newer program (form {version})")
    if not tables >= _TABLES:
        raise OutboxMismatch(f"{path}: 不是代理的存档 / is no outbox but another program's database")
    raise sqlite3.DatabaseError("版本号损坏 / the version is damaged")


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
