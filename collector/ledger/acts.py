"""What people did about ratings, kept beside them: steps of mendings and spot checks, and the draws behind these.

Rows are only ever added. Each is bound to the one before it by a hash, so that none can be altered, taken out or put in
between without all behind it being made anew; `verify` goes along them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec

TABLES = (
    # `draw` is set where the step is the outcome of a spot check; `words` are hidden, and deleted when their time is
    # over, while `digest`, of the hidden words, stays.
    "CREATE TABLE step(id INTEGER PRIMARY KEY, rating INTEGER NOT NULL, draw INTEGER, at_ms INTEGER NOT NULL,"
    " who TEXT NOT NULL, what TEXT NOT NULL, outcome TEXT NOT NULL, state TEXT NOT NULL, words BLOB,"
    " digest BLOB NOT NULL, hash BLOB NOT NULL)",
    "CREATE INDEX step_rating ON step(rating, id)",
    "CREATE INDEX step_words ON step(at_ms) WHERE words IS NOT NULL",
    # What is to be drawn, told before anybody can know what that will be: lots.py says how.
    "CREATE TABLE draw(id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, who TEXT NOT NULL, reason TEXT NOT NULL,"
    " first INTEGER NOT NULL, last INTEGER NOT NULL, kind TEXT NOT NULL, hall TEXT NOT NULL, wanted INTEGER NOT NULL,"
    " upto INTEGER NOT NULL, size INTEGER NOT NULL, frame BLOB NOT NULL, stretch INTEGER NOT NULL, hash BLOB NOT NULL)",
    "CREATE TABLE drawn(id INTEGER PRIMARY KEY, draw INTEGER NOT NULL UNIQUE, at_ms INTEGER NOT NULL,"
    " seed TEXT NOT NULL, ratings TEXT NOT NULL, hash BLOB NOT NULL)",
    # One rating in a hundred is bad: what is to be mended is found without looking at the others.
    "CREATE INDEX rating_bad ON rating(pressed_ms) WHERE bad = 1",
)
STEP = ("id", "rating", "draw", "at_ms", "who", "what", "outcome", "state", "digest")
DRAW = (
    "id",
    "at_ms",
    "who",
    "reason",
    "first",
    "last",
    "kind",
    "hall",
    "wanted",
    "upto",
    "size",
    "frame",
    "stretch",
)
DRAWN = ("id", "draw", "at_ms", "seed", "ratings")
SAID = {"step": STEP, "draw": DRAW, "drawn": DRAWN}
"""Of each table: what its hash is of, in that order."""
_encode = msgspec.json.Encoder().encode


def beginning(table: str) -> bytes:
    """The hash before the first row of this table."""
    return sha256(f"hcp/v1/{table}".encode()).digest()


def following(before: bytes, said: Sequence[Any]) -> bytes:
    """The hash of a row that says this, behind one whose hash is `before`."""
    return sha256(before + _encode(said)).digest()


def add(db: sqlite3.Connection, table: str, said: dict[str, Any], **beside: Any) -> int:
    """Part of a transaction: a new row that says this, all of SAID but its number; that number."""
    last = db.execute(f"SELECT id, hash FROM {table} ORDER BY id DESC LIMIT 1").fetchone()
    number, before = (last["id"] + 1, last["hash"]) if last is not None else (1, beginning(table))
    values = {"id": number} | said
    row = values | beside | {"hash": following(before, [values[name] for name in SAID[table]])}
    db.execute(f"INSERT INTO {table}({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
    return number


def add_step(
    db: sqlite3.Connection,
    rating: int,
    draw: int | None,
    at_ms: int,
    who: str,
    what: str,
    outcome: str,
    state: str,
    words: bytes,
) -> int:
    """Part of a transaction: somebody did this; `words` are hidden already. The number of the step."""
    said = {
        "rating": rating,
        "draw": draw,
        "at_ms": at_ms,
        "who": who,
        "what": what,
        "outcome": outcome,
        "state": state,
        "digest": sha256(words).digest(),
    }
    return add(db, "step", said, words=words)


def about_step(rating: int) -> bytes:
    """What the words of a step are bound to when they are hidden."""
    return _encode(["step", rating])


def forget_words(db: sqlite3.Connection, closed_before_ms: int, most: int) -> int:
    """Part of a transaction: delete the words of some steps of mendings that were closed before this moment, and of
    spot checks that were noted before it; how many. That the steps were taken, by whom, when and with which outcome
    stays."""
    found = db.execute(
        "UPDATE step SET words = NULL WHERE id IN (SELECT own.id FROM step AS own INDEXED BY step_words"
        " WHERE own.words IS NOT NULL AND own.at_ms < :before AND (own.draw IS NOT NULL OR EXISTS (SELECT 1 FROM step"
        " AS last WHERE last.id = (SELECT max(id) FROM step WHERE rating = own.rating AND draw IS NULL)"
        " AND last.state = 'closed' AND last.at_ms < :before)) LIMIT :most)",
        {"before": closed_before_ms, "most": most},
    )
    return found.rowcount


def ratings_of(text: str) -> list[int]:
    """The drawn ratings as `drawn` keeps them."""
    found: list[int] = json.loads(text)
    return found
