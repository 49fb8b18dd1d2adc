"""The outbox's one file: looked into before it is trusted, opened, begun, and set aside whole when it is damaged.

Looking never changes a byte: a damaged file keeps all that can still be read from it.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import struct
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from protocols import chain

_VERSION = 1
_QUICK_CHECK_BYTES = 200_000_000  # above it a look would keep a hall waiting at start; each batch is checked as it goes
_BUSY_S = 10.0  # another look, or another agent by mistake, holds the file for milliseconds
_SECOND_LOOK_S = 0.1  # longer than another process needs to begin its log anew

_SCHEMA = """
CREATE TABLE epoch(agent TEXT NOT NULL, epoch TEXT NOT NULL, created_ms INTEGER NOT NULL);
-- The last record ever written, and the last one that the collector receipted.
CREATE TABLE tip(seq INTEGER NOT NULL, head BLOB NOT NULL, at_ms INTEGER NOT NULL);
CREATE TABLE receipted(seq INTEGER NOT NULL, head BLOB NOT NULL);
CREATE TABLE record(
    seq INTEGER PRIMARY KEY, window TEXT NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL, hash BLOB NOT NULL);
CREATE TABLE seen(
    id INTEGER PRIMARY KEY, device TEXT NOT NULL, boot INTEGER NOT NULL, count INTEGER NOT NULL,
    button INTEGER NOT NULL, pressed_ms INTEGER NOT NULL, mono_ms INTEGER NOT NULL, host_boot TEXT NOT NULL);
CREATE INDEX seen_press ON seen(device, boot, count);
CREATE TABLE invitation(
    n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, window TEXT NOT NULL, state TEXT NOT NULL,
    seconds INTEGER NOT NULL, opened_ms INTEGER NOT NULL, mono_ms INTEGER NOT NULL, host_boot TEXT NOT NULL,
    synced INTEGER, case_no TEXT, service_number INTEGER NOT NULL, clerk TEXT, closed_ms INTEGER,
    closed_mono_ms INTEGER, closed_boot TEXT, press TEXT);
CREATE INDEX invitation_window ON invitation(window, n);
CREATE UNIQUE INDEX invitation_open ON invitation(window) WHERE state = 'open';
-- The hall's own evidence: the head at the end of each day (UTC), kept for good.
CREATE TABLE daily_head(day TEXT PRIMARY KEY, seq INTEGER NOT NULL, head TEXT NOT NULL);
PRAGMA user_version = 1
"""


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
    log = _log_of(path)
    if not path.exists() or path.stat().st_size == 0:
        # SQLite throws a log away that has no file: what is in it would be gone.
        return "只剩日志 / only its log is left" if log.exists() and log.stat().st_size else ""
    if log.exists() and _stays_cut(log):
        return "日志损坏 / its log is damaged"
    try:
        with closing(open_to_look(path, agent)) as db:
            return _inner_damage(db, path) if _version(db) else ""
    except sqlite3.DatabaseError as error:
        # A plain error, here where nothing is asked but our own tables: one of them is not there any more.
        if not is_damage(error) and getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR:
            raise
        return str(error)


def put_aside(path: Path, now_ms: int) -> Path:
    """Give the file another name, with its log and all; that name."""
    aside = path.with_name(f"{path.name}.damaged-{now_ms}")
    # The file itself goes first. Left behind alone it would pass for a whole one, some records ago.
    for suffix in ("", "-journal", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def put_aside_before(path: Path) -> list[Path]:
    """The damaged files that lie beside this one and wait for a person."""
    found = path.parent.glob(f"{path.name}.damaged-*")
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
        tip = db.execute("SELECT seq, head FROM tip").fetchone()
        seq, head = int(done["seq"]), bytes(done["head"])
        for row in db.execute("SELECT seq, body, hash FROM record ORDER BY seq"):
            head = chain.link(head, row["body"])
            if row["seq"] != seq + 1 or row["hash"] != head:
                return int(row["seq"])
            seq = row["seq"]
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
    if _version(db) == 0:
        epoch = str(uuid.uuid4())
        head = chain.genesis(agent, epoch)
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        db.execute("INSERT INTO epoch VALUES (?,?,?)", (agent, epoch, now_ms))
        db.execute("INSERT INTO tip VALUES (0,?,0)", (head,))
        db.execute("INSERT INTO receipted VALUES (0,?)", (head,))
    db.execute("COMMIT")


def _check_owner(db: sqlite3.Connection, path: Path, agent: str) -> None:
    version = _version(db)
    if version == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise OutboxMismatch(f"{path}: 不是代理的存档 / is no outbox but another program's database")
    if version not in (0, _VERSION):
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
    broken = first_break(db)
    return "" if broken is None else f"哈希链在第 {broken} 条断裂 / the chain is broken at record {broken}"


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _stays_cut(log: Path) -> bool:
    # Two looks: in the middle of another process's write the first may see half of it.
    before = log.read_bytes()
    if not log_is_cut(before):
        return False
    time.sleep(_SECOND_LOOK_S)
    return log.exists() and log.read_bytes() == before


_LOG_HEADER, _FRAME_HEADER = 32, 24
_WORD = 0xFFFFFFFF
_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}  # the second half says in which byte order the checksums were taken


def log_is_cut(log: bytes) -> bool:
    """Whether commits that were on the disk can no longer be read from this write-ahead log.

    SQLite itself passes in silence over all that follows a frame that is wrong. After a power cut that is right: the
    last commit was half written, and nothing was promised. But every commit is on the disk before the next begins, so
    more than one commit that follows on a wrong frame is damage; and so is a frame that is wrong by a single bit, for
    a disk writes sectors. Format: https://www.sqlite.org/walformat.html
    """
    if len(log) < _LOG_HEADER or not any(log):
        return False
    magic, _, page, _, *rest = struct.unpack(">8I", log[:_LOG_HEADER])
    salts, stated = tuple(rest[:2]), tuple(rest[2:])
    order = _MAGIC.get(magic)
    if order is None or _checksum(log[:24], (0, 0), order) != stated or page < 512:
        return True
    size = _FRAME_HEADER + page
    frames = [log[at : at + size] for at in range(_LOG_HEADER, len(log) - size + 1, size)]
    good, checksum = _readable(frames, salts, stated, order)
    if good == len(frames):
        return False
    wrong, behind = frames[good], frames[good + 1 :]
    computed = _checksum(_summed(wrong), checksum, order)
    if _one_bit_off(wrong, salts, computed, order):
        return True
    # What was written behind it goes on from its checksum: as it stands there, or as it would be.
    return any(_commits(behind, salts, start, order) > 1 for start in (_stated(wrong), computed))


Pair = tuple[int, ...]


def _readable(frames: list[bytes], salts: Pair, checksum: Pair, order: str) -> tuple[int, Pair]:
    """How many frames from the first are as they were written, and the checksum of the last of them."""
    for at, frame in enumerate(frames):
        computed = _checksum(_summed(frame), checksum, order)
        if _salts(frame) != salts or _stated(frame) != computed:
            return at, checksum
        checksum = computed
    return len(frames), checksum


def _commits(frames: list[bytes], salts: Pair, checksum: Pair, order: str) -> int:
    readable, _ = _readable(frames, salts, checksum, order)
    return sum(frame[4:8] != b"\0\0\0\0" for frame in frames[:readable])


def _one_bit_off(frame: bytes, salts: Pair, computed: Pair, order: str) -> bool:
    """Whether one bit of this frame, turned round, would make it right."""
    stated = _stated(frame)
    if stated == computed:
        return _bits(_salts(frame), salts) == 1
    if _salts(frame) != salts:
        return False
    if _bits(stated, computed) == 1:
        return True
    data = _summed(frame)
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    missing = ((stated[0] - computed[0]) & _WORD, (stated[1] - computed[1]) & _WORD)
    # What a word adds to both sums, from the last pair of words to the first.
    even, odd = (1, 1), (0, 1)
    for at in range(len(words) - 2, -1, -2):
        for word, (first, second) in ((words[at], even), (words[at + 1], odd)):
            for bit in range(32):
                turned = -(1 << bit) if word >> bit & 1 else 1 << bit
                if (turned * first & _WORD, turned * second & _WORD) == missing:
                    return True
        even, odd = _carried(even), _carried(odd)
    return False


def _carried(added: tuple[int, int]) -> tuple[int, int]:
    """What is added to both sums, one pair of words later."""
    first = added[0] + added[1]
    return first & _WORD, (added[1] + first) & _WORD


def _bits(one: Pair, other: Pair) -> int:
    return sum((mine ^ theirs).bit_count() for mine, theirs in zip(one, other, strict=True))


def _summed(frame: bytes) -> bytes:
    return frame[:8] + frame[_FRAME_HEADER:]


def _salts(frame: bytes) -> Pair:
    return struct.unpack(">2I", frame[8:16])


def _stated(frame: bytes) -> Pair:
    return struct.unpack(">2I", frame[16:24])


def _checksum(data: bytes, before: Pair, order: str) -> Pair:
    first, second = before
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for at in range(0, len(words), 2):
        first = (first + words[at] + second) & _WORD
        second = (second + words[at + 1] + first) & _WORD
    return first, second
