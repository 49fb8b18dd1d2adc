"""What a ledger's file holds, for whoever checks it: its tables and records, whatever somebody has put there."""

from __future__ import annotations

import sqlite3

from protocols.errors import BadMessage
from protocols.messages import BEGINS, decode_record

PRESS, CLOSING = BEGINS["press"], BEGINS["closing"]
"""How our agents' presses and closings begin."""


def record(body: bytes | None) -> object:
    """The record, or None if nobody can read it."""
    try:
        return decode_record(body) if body is not None else None
    except BadMessage:
        return None


def has(db: sqlite3.Connection, table: str) -> bool:
    """Whether there is such a table: not in a ledger of an older program."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is not None
