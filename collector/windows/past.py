"""Noise and backlog of the past days, as agents said of themselves: past.db, beside the ledger.

No evidence, and nothing that a rating depends on: a file that is damaged is set aside and begun anew, and what cannot
be written for want of room is missed. Only hours in which there was something have a row.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from protocols.messages import Health, WindowHealth

from ..ledger.since import Heard
from ..ledger.tally import begins_ms, day_of

log = logging.getLogger(__name__)

APPLICATION = 0x68637077  # "hcpw": tells this file from any other
VERSION = 2
KEEP_DAYS = 31  # as far back as the page of a window shows
LATE_MS = 60_000  # records that wait for less are on their way
_BESIDE_MS = 600_000  # what looks older than that was said by a clock that has been set back
_HOUR_MS = 3_600_000
_NO_ROOM = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
)
# A bit that turned round may be found by SQLite or by us: a column of another name, a number that is none.
_BROKEN = (sqlite3.Error, IndexError, KeyError, TypeError, ValueError)
_SCHEMA = f"""
-- What counts since an agent's start, as it was last heard: what is more by the next time came between. And since when
-- the window is known here: of the time before, nothing is.
CREATE TABLE counted(
    agent TEXT NOT NULL, window TEXT NOT NULL, since_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL,
    noise INTEGER NOT NULL, not_taken INTEGER NOT NULL, PRIMARY KEY(agent, window)) WITHOUT ROWID;
CREATE TABLE hour(
    agent TEXT NOT NULL, window TEXT NOT NULL, hour INTEGER NOT NULL, noise INTEGER NOT NULL DEFAULT 0,
    not_taken INTEGER NOT NULL DEFAULT 0, waiting INTEGER NOT NULL DEFAULT 0, oldest_ms INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY(agent, window, hour)) WITHOUT ROWID;
CREATE INDEX hour_at ON hour(hour);
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""


@dataclass
class PastDay:
    """A day of one window, added up from what its agent said."""

    noise: int = 0
    """Pieces of noise on its line."""
    not_taken: int = 0
    """Keys that were no press of their own: bounces, held keys, repeats."""
    waiting: int = 0
    """Presses of this window that waited at the agent, the most of the day."""
    oldest_ms: int = 0
    """How long a record of its agent waited there, the longest of the day."""


def past_of(ledger: Path) -> Path:
    """Where the past of this ledger's windows is kept."""
    return ledger.with_name("past.db")


class Past:
    """The file at `path`. Any thread may use it."""

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.Lock()
        self._db = _opened(path)
        self._closed = False
        self._forgotten = 0

    def close(self) -> None:
        """Let go of the file. Whoever still asks finds nothing."""
        with self._lock:
            self._closed = True
            self._db.close()

    def note(self, heard: Iterable[Heard]) -> None:
        """Add what these agents said. The same again changes nothing; nothing is kept for which there is no room."""
        with self._may_break():
            self._db.execute("BEGIN IMMEDIATE")
            for each in heard:
                if each.health is not None and each.health_ms is not None:
                    self._note(each.agent, each.health, each.health_ms)
            self._db.execute("COMMIT")

    def forget(self, now_ms: int) -> None:
        """Let go of what is older than KEEP_DAYS."""
        first = begins_ms(day_of(now_ms) - KEEP_DAYS + 1) // _HOUR_MS
        with self._may_break():
            if first != self._forgotten:
                self._db.execute("DELETE FROM hour WHERE hour < ?", (first,))
                self._forgotten = first

    def days(self, agent: str, window: str, first: int, last: int) -> dict[int, PastDay]:
        """These days of one window; none from before it was first heard here."""
        found: dict[int, PastDay] = {}
        with self._may_break():
            known = self._db.execute(
                "SELECT since_ms FROM counted WHERE agent = ? AND window = ?", (agent, window)
            ).fetchone()
            if known is None:
                return found
            found = {day: PastDay() for day in range(max(first, day_of(known["since_ms"])), last + 1)}
            for row in self._db.execute(
                "SELECT * FROM hour WHERE agent = ? AND window = ? AND hour >= ? AND hour < ?",
                (agent, window, begins_ms(first) // _HOUR_MS, begins_ms(last + 1) // _HOUR_MS),
            ):
                # A clock that was set back leaves hours from before.
                day = found.setdefault(day_of(row["hour"] * _HOUR_MS), PastDay())
                day.noise += row["noise"]
                day.not_taken += row["not_taken"]
                day.waiting = max(day.waiting, row["waiting"])
                day.oldest_ms = max(day.oldest_ms, row["oldest_ms"])
        return found

    @contextmanager
    def _may_break(self) -> Iterator[None]:
        """Alone with the file. What its disk refuses is left, and a broken one is begun anew: nothing of it ends the
        program, which would take it for its ledger."""
        with self._lock:
            try:
                yield
            except _BROKEN as error:
                if self._closed:
                    return  # a page asks while the collector ends: the file is whole
                if _is(error, _NO_ROOM):
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                else:
                    self._db.close()
                    self._db = _begun_anew(self._path, error)

    def _note(self, agent: str, health: Health, at_ms: int) -> None:
        # Both moments are the agent's: a clock that is wrong is as wrong in the one as in the other.
        late_ms = max(0, health.at_ms - health.oldest_ms) if health.oldest_ms is not None else 0
        if late_ms < LATE_MS:
            late_ms = 0
        before = {
            row["window"]: row for row in self._db.execute("SELECT * FROM counted WHERE agent = ?", (agent,)).fetchall()
        }
        for each in health.windows:
            noise, not_taken = self._came(agent, each, before.get(each.window), at_ms)
            waiting = each.waiting if late_ms else 0
            if noise or not_taken or waiting or late_ms:
                self._db.execute(
                    "INSERT INTO hour(agent, window, hour, noise, not_taken, waiting, oldest_ms) VALUES (?,?,?,?,?,?,?)"
                    " ON CONFLICT(agent, window, hour) DO UPDATE SET noise = noise + excluded.noise,"
                    " not_taken = not_taken + excluded.not_taken, waiting = max(waiting, excluded.waiting),"
                    " oldest_ms = max(oldest_ms, excluded.oldest_ms)",
                    (agent, each.window, at_ms // _HOUR_MS, noise, not_taken, waiting, late_ms),
                )

    def _came(self, agent: str, window: WindowHealth, known: sqlite3.Row | None, at_ms: int) -> tuple[int, int]:
        """Noise and keys not taken since this window was last heard of; none where nobody knows."""
        # Another collector of this ledger may have noted a newer word already: an older one is no restart.
        if known is not None and 0 < known["at_ms"] - at_ms < _BESIDE_MS:
            return 0, 0
        if known is None or (known["noise"], known["not_taken"]) != (window.noise, window.not_taken):
            self._db.execute(
                "INSERT INTO counted(agent, window, since_ms, at_ms, noise, not_taken) VALUES (?,?,?,?,?,?)"
                " ON CONFLICT(agent, window) DO UPDATE SET at_ms = excluded.at_ms, noise = excluded.noise,"
                " not_taken = excluded.not_taken",
                (agent, window.window, at_ms, at_ms, window.noise, window.not_taken),
            )
        if known is None:
            return 0, 0
        return _more(window.noise, known["noise"]), _more(window.not_taken, known["not_taken"])


def _more(now: int, before: int) -> int:
    """All of it after a restart of the agent."""
    return now - before if now >= before else now


def _opened(path: Path) -> sqlite3.Connection:
    try:
        return _connected(str(path))
    except sqlite3.Error as error:
        if not _is(error, _NO_ROOM):
            return _begun_anew(path, error)
        return _remembered(path, error)


def _begun_anew(path: Path, why: Exception) -> sqlite3.Connection:
    words = "往日数字损坏, 已移存, 另建新的 / past figures were damaged and set aside, a new file is begun"
    log.error("%s: %s: %s", words, path, why)
    try:
        for ending in ("-wal", "-shm", ""):
            part = path.with_name(path.name + ending)
            if part.exists():
                part.replace(path.with_name(f"{path.name}.damaged{ending}"))
        return _connected(str(path))
    except (OSError, sqlite3.Error) as error:
        return _remembered(path, error)


def _remembered(path: Path, why: Exception) -> sqlite3.Connection:
    log.warning("往日数字暂不保存 / past figures are not kept until the next start: %s: %s", path, why)
    return _connected(":memory:")


def _is(error: Exception, codes: tuple[int, ...]) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in codes


def _connected(name: str) -> sqlite3.Connection:
    db = sqlite3.connect(name, isolation_level=None, check_same_thread=False, timeout=5)
    db.row_factory = sqlite3.Row
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("BEGIN IMMEDIATE")  # two collectors of one ledger may begin it at once
        if db.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
        db.execute("COMMIT")
        if (
            db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION
            or db.execute("PRAGMA user_version").fetchone()[0] != VERSION
            or db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok"
        ):
            raise sqlite3.DatabaseError("不是往日数字 / is no file of past figures")
    except BaseException:
        db.close()
        raise
    return db
