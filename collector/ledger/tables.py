"""Ratings of a range of days, row by row, for a table that somebody takes away: without case, clerk or citizen."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from .store import Store
from .tally import begins_ms

COLUMNS = (
    "id",
    "pressed_ms",
    "hall",
    "number",
    "agent",
    "window",
    "device",
    "channel",
    "level",
    "tags",
    "text",
    "state",
    "reason",
    "made_ms",
    "settled_ms",
)
_WANTED = "pressed_ms >= ? AND pressed_ms < ? AND ? IN ('', agent || '/' || window)"
_STRETCH_MS = 600_000  # what a province presses in ten minutes fits into memory


class Tables:
    """Reads the ledger for tables of any length."""

    def __init__(self, store: Store):
        self._store = store

    def count(self, first: int, last: int, window: str = "") -> int:
        """How many ratings were pressed on these days, at this window (`agent/window`) if one is named."""
        number: int = self._store.row(
            f"SELECT count(*) FROM rating INDEXED BY rating_day WHERE {_WANTED}",
            (begins_ms(first), begins_ms(last + 1), window),
        )[0]
        return number

    def ratings(self, first: int, last: int, window: str = "") -> Iterator[sqlite3.Row]:
        """The same ratings in the order of their presses, with the values of COLUMNS."""
        for from_ms in range(begins_ms(first), begins_ms(last + 1), _STRETCH_MS):
            yield from self._store.rows(
                f"SELECT {', '.join(COLUMNS)} FROM rating INDEXED BY rating_day WHERE {_WANTED}"
                " ORDER BY pressed_ms, id",
                (from_ms, from_ms + _STRETCH_MS, window),
            )
