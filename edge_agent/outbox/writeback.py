"""What is only in the outbox's log written back into its file (SQLite's checkpoint), beside the work.

Left alone, SQLite has whoever makes a commit that fills the log do it, ten milliseconds' work with a press behind it.
A second connection holds nobody up: commits go on meanwhile. Where nobody calls, SQLite still does as it always did.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

_COMMITS = 24  # a few hundred pages, well before SQLite's own thousand


class WriteBack:
    """Of the outbox at `path`. Any thread may call any method."""

    def __init__(self, path: Path):
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._commits = 0
        self._closed = False

    def committed(self) -> None:
        """There is one commit more in the log."""
        self._commits += 1

    def now_and_then(self) -> None:
        """To be called after work that nobody waits for; mostly there is nothing to do. sqlite3.DatabaseError if the
        file turns out to be damaged."""
        if self._commits < _COMMITS or not self._lock.acquire(blocking=False):
            return
        try:
            if not self._closed:
                self._commits = 0
                self._back(self._db or self._opened())
        finally:
            self._lock.release()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._db is not None:
                self._db.close()

    def _opened(self) -> sqlite3.Connection:
        self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        # The log may be written over once the file has it, and so the file has to be on the disk before.
        self._db.execute("PRAGMA synchronous = FULL")
        return self._db

    def _back(self, db: sqlite3.Connection) -> None:
        try:
            # Passive: as far as it goes without waiting for anybody.
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.OperationalError as error:
            # No room in the file for what the log holds, or somebody else is at it: it stays in the log.
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
