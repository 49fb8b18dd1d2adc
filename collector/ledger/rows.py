"""What of a row must never change, as a sum in that row: nothing that a disk has altered is ever sent.

A ledger of an older program has rows without a sum: of ratings that are settled, which nobody sends any more.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec

log = logging.getLogger(__name__)

SUM_BYTES = 8
RATING = (
    "id",
    "press",
    "once",
    "level",
    "bad",
    "device",
    "boot",
    "count",
    "hall",
    "number",
    "agent",
    "window",
    "pressed_ms",
    "channel",
    "invitation",
    "case_no",
    "service_number",
    "clerk",
    "tags",
    "text",
    "key_map",
    "made_ms",
)
"""What a rating said when it was made; its state, and what the province says to it, stand beside that."""
_SETTLED = "accepted"
_encode = msgspec.json.Encoder().encode


def rating_sum(rating: Sequence[Any]) -> bytes:
    """Of the values of RATING, in that order."""
    return blake2b(_encode(rating), digest_size=SUM_BYTES).digest()


def case_sum(case_no: str, service_number: int, body: bytes, received_ms: int) -> bytes:
    """Of a case's details, and of whose they are."""
    # A wrong bit makes text of bytes, which is another thing to SQLite.
    said = body if isinstance(body, bytes) else _encode(body)
    return blake2b(_encode((case_no, service_number, received_ms)) + said, digest_size=SUM_BYTES).digest()


def rating_holds(row: sqlite3.Row) -> bool:
    """Whether this rating still says what it said when it was made."""
    return row["sum"] is None or row["sum"] == rating_sum([row[name] for name in RATING])


def case_holds(row: sqlite3.Row) -> bool:
    """Whether these are the details that were taken in; `case_sum` and `case_ms` are the case's own sum and time,
    `its_case_no` and `its_number` its service."""
    stated = row["case_sum"]
    return stated is None or stated == case_sum(row["its_case_no"], row["its_number"], row["body"], row["case_ms"])


def add_sums(db: sqlite3.Connection) -> None:
    """Give the rows of an older ledger their sums, as far as they may still be sent."""
    ratings = db.execute(f"SELECT {', '.join(RATING)} FROM rating WHERE state != ?", (_SETTLED,))
    _update(db, "rating SET sum = ? WHERE id = ?", [(rating_sum(tuple(row)), row["id"]) for row in ratings])
    cases = db.execute("SELECT case_no, service_number, body, received_ms FROM service_case")
    _update(
        db,
        "service_case SET sum = ? WHERE case_no = ? AND service_number = ?",
        [(case_sum(*row), row["case_no"], row["service_number"]) for row in cases],
    )


def _update(db: sqlite3.Connection, what: str, rows: list[tuple[Any, ...]]) -> None:
    db.executemany(f"UPDATE {what}", rows)
