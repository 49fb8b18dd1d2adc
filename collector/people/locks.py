"""Lock-outs: whoever fails too often waits, longer each time, also after a restart."""

from __future__ import annotations

import hmac
import sqlite3
from hashlib import sha256

MINUTE_MS = 60_000
_DAY_MS = 24 * 60 * MINUTE_MS
FREE = {"name": 5, "address": 20}
"""Failures until the first lock-out: a person mistypes, and a whole hall may stand behind one address."""
_DOUBLED = 4  # 1, 2, 4, 8 and then 15 minutes: a guess every quarter of an hour is none, and nobody is out for long
LONGEST_MS = 15 * MINUTE_MS
_ROWS_MAX = 10_000  # whoever sends names without end fills nobody's disk


def named(name: str, secret: str) -> str:
    """How failures of a name are kept, there or not: somebody may type a password there, and it must not stand here."""
    return "name:" + hmac.new(secret.encode(), name.casefold().encode("utf-8", "replace"), sha256).hexdigest()[:8]


def from_address(address: str) -> str:
    """How failures from an address are kept."""
    return f"address:{address}"


def until(db: sqlite3.Connection, whats: list[str], now_ms: int) -> int | None:
    """Until when one of these is locked out; None if none is."""
    found = [
        row["until_ms"]
        for what in whats
        for row in db.execute("SELECT until_ms FROM failure WHERE what = ?", (what,))
        # No later than a lock-out can last: a clock that was wrong must not lock anybody out for years.
        if now_ms < row["until_ms"] <= now_ms + LONGEST_MS
    ]
    return max(found) if found else None


def count(db: sqlite3.Connection, what: str, now_ms: int) -> int | None:
    """One failure more; until when it is locked out by it, None if it is not yet. Forgotten a day after the last."""
    row = db.execute("SELECT times, last_ms FROM failure WHERE what = ?", (what,)).fetchone()
    times = 1 + (row["times"] if row is not None and abs(now_ms - row["last_ms"]) < _DAY_MS else 0)
    over = times - FREE[what.partition(":")[0]]
    until_ms = 0 if over < 0 else now_ms + (MINUTE_MS << over if over < _DOUBLED else LONGEST_MS)
    db.execute(
        "INSERT INTO failure(what, times, last_ms, until_ms) VALUES (:what, :times, :now, :until) ON CONFLICT(what)"
        " DO UPDATE SET times = :times, last_ms = :now, until_ms = :until",
        {"what": what, "times": times, "now": now_ms, "until": until_ms},
    )
    if row is None:
        _bound(db)
    return until_ms or None


def take_back(db: sqlite3.Connection, what: str) -> None:
    """What was counted was none: the password was right."""
    db.execute("UPDATE failure SET times = max(times - 1, 0), until_ms = 0 WHERE what = ?", (what,))


def forget(db: sqlite3.Connection, what: str) -> None:
    """Begin again."""
    db.execute("DELETE FROM failure WHERE what = ?", (what,))


def _bound(db: sqlite3.Connection) -> None:
    db.execute(
        "DELETE FROM failure WHERE what IN (SELECT what FROM failure ORDER BY last_ms DESC LIMIT -1 OFFSET ?)",
        (_ROWS_MAX,),
    )
