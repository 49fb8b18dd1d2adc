"""The ledger's file and what lies beside it: whose it is, what is damage to it, and where a damaged one goes."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

FULL, READ_ONLY = "storage_full", "storage_read_only"
_ROOM = 4_000_000  # bytes: a batch of a megabyte is several in the log, and a start that soon ends again helps nobody
APPLICATION = 0x68637031  # "hcp1": tells a ledger from any other SQLite file
_JOIN_S = 10.0  # as long as another one looks into the file, a new one waits


class LedgerMismatch(Exception):
    """This file is no ledger that this program can use."""


class LedgerDamaged(Exception):
    """The disk gives something else than was written. What can be mended is mended at the next start."""


def beside(path: Path, what: str) -> Path:
    """The file of this ledger with that ending."""
    return path.with_name(path.name + what)


def log_of(path: Path) -> Path:
    """SQLite's write-ahead log."""
    return beside(path, "-wal")


def sums_of(path: Path) -> Path:
    """A sum of each page of the file."""
    return beside(path, ".sums")


def log_sums_of(path: Path) -> Path:
    """A sum of each frame of the log."""
    return beside(path, ".log-sums")


def suspect_of(path: Path) -> Path:
    """Lies there from when damage was met until a start has looked into all of the file."""
    return beside(path, ".suspect")


# ---- whose it is


def lacks(path: Path) -> str:
    """Why nothing can be written where this file is: FULL or READ_ONLY; empty if there is room."""
    try:
        there = os.statvfs(path.parent)
    except (AttributeError, OSError):  # Windows has no such call; or the folder itself is not there
        return ""
    if there.f_flag & os.ST_RDONLY:
        return READ_ONLY
    return FULL if there.f_bavail * there.f_frsize < _ROOM else ""


def own(path: Path) -> sqlite3.Connection | None:
    """A lock that nobody else has while it is held, by whatever end of this process it goes; None if somebody has it.

    It lies in a file of its own, so that whoever only looks is never in the way.
    """
    lock = sqlite3.connect(beside(path, ".lock"), isolation_level=None, check_same_thread=False, timeout=0)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except BaseException as error:
        lock.close()
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            return None
        raise
    return lock


def join(path: Path) -> sqlite3.Connection:
    """A lock that others who share the ledger may have too, and nobody who wants it alone."""
    lock = sqlite3.connect(beside(path, ".lock"), isolation_level=None, check_same_thread=False, timeout=_JOIN_S)
    try:
        lock.execute("BEGIN")
        lock.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException as error:
        lock.close()
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise in_use(path) from error
        raise
    return lock


def in_use(path: Path) -> LedgerMismatch:
    """What to say where another collector has the ledger."""
    return LedgerMismatch(f"{path}: 另一个汇聚器正在使用 / another collector is using it")


# ---- damage


def is_damage(error: BaseException) -> bool:
    """Whether this says that the file is broken. Locked, full, no permission: that is trouble around a whole file."""
    if isinstance(error, LedgerDamaged | UnicodeDecodeError):
        return True  # what SQLite says of a damaged schema quotes it, and that is no text any more
    if type(error) not in (sqlite3.DatabaseError, sqlite3.OperationalError):
        return False
    # Without a code: text that is no text any more. A plain error, where nothing is asked but our own tables: one of
    # them is not there any more, or has another column.
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or (code & 0xFF) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def suspect(path: Path, why: str) -> None:
    """Let the next start look into all of this file, however large it is."""
    note = suspect_of(path)
    note.write_text(f"{why}\n", encoding="utf-8")
    with note.open("rb") as file:
        os.fsync(file.fileno())


def set_aside(path: Path, now_ms: int) -> Path:
    """A copy of the file as it is, with its log and the sums; its name. OSError if there is no room for it."""
    aside = path.with_name(f"{path.name}.damaged-{now_ms}")
    if aside.exists():
        return aside  # at this very start already, before anything was turned back
    parts = [(each, beside(aside, each.name.removeprefix(path.name))) for each in _parts(path)]
    # The file itself last: where it lies, all of it lies.
    for part, copy in reversed(parts):
        draft = beside(copy, ".part")
        try:
            shutil.copyfile(part, draft)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(copy)
    return aside


def _parts(path: Path) -> list[Path]:
    return [each for each in (path, log_of(path), sums_of(path), log_sums_of(path)) if each.exists()]
