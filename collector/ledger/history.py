"""What one window has done in the last days: its presses and what became of them, how its invitations ended, and how
long a press took to the ledger and to the province."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, get_args

import msgspec

from protocols.errors import BadMessage
from protocols.messages import SEQ_MAX, ClosingRecord, decode_record
from protocols.ratings import UnratableReason

from .store import Store
from .tally import begins_ms, day_of

FATES = ("rated", "repeat", "duplicate", *get_args(UnratableReason))
_AT_ONCE = 1000  # presses of a fate: most windows have fewer in a month
_PRESSES_MAX = 50_000  # of a fate: one a minute, day and night; a third of a second
_AHEAD_MS = 2 * 86_400_000  # so far ahead may the clock of an agent be: what it pressed came before that day
_RECORDS_MAX = 200_000  # of its agent: those of a hall of thirty windows in a month; half a second


@dataclass
class Day:
    """One day of one window."""

    day: int
    levels: Counter[str] = field(default_factory=Counter)
    """Ratings by level."""
    fates: Counter[str] = field(default_factory=Counter)
    """Presses by what became of them."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """Invitations by how they ended."""
    to_ledger_ms: list[int] = field(default_factory=list)
    """From the button to the ledger, of each press, by two clocks."""
    to_province_ms: list[int] = field(default_factory=list)
    """From the ledger to the province's word, of each rating that it accepted."""


class History:
    """Reads the ledger for one window. Every question has its index and its bound."""

    def __init__(self, store: Store):
        self._store = store

    def days(self, agent: str, window: str, first: int, last: int) -> list[Day]:
        """These days, each that there is, whether anything happened or not."""
        found = {day: Day(day) for day in range(first, last + 1)}
        with self._store.reading():
            for fate in FATES:
                for row in self._pressed(agent, window, fate, begins_ms(first) - _AHEAD_MS):
                    day = found.get(day_of(row["pressed_ms"]))
                    if day is not None:
                        _add(day, row)
            for closing in self._closings(agent, window, begins_ms(first)):
                day = found.get(day_of(closing.closed_ms))
                if day is not None:
                    day.outcomes[closing.outcome] += 1
        return [*found.values()]

    def presses(self, agent: str, window: str, most: int) -> list[sqlite3.Row]:
        """The newest presses, so many of each fate, the newest first; with their ratings where they have one."""
        found = []
        for fate in FATES:
            found += self._newest(agent, window, fate, SEQ_MAX, most)
        return sorted(found, key=lambda row: row["id"], reverse=True)

    def _pressed(self, agent: str, window: str, fate: str, since_ms: int) -> Iterator[sqlite3.Row]:
        """All that came since this moment, and a few before, the newest first."""
        before = SEQ_MAX
        for _ in range(_PRESSES_MAX // _AT_ONCE):
            rows = self._newest(agent, window, fate, before, _AT_ONCE)
            yield from rows
            if len(rows) < _AT_ONCE or all(row["received_ms"] < since_ms for row in rows):
                return
            before = rows[-1]["id"]

    def _newest(self, agent: str, window: str, fate: str, before: int, most: int) -> list[sqlite3.Row]:
        return self._store.rows(
            "SELECT press.id, press.fate, press.detail, press.pressed_ms, record.received_ms, rating.level,"
            " rating.state, rating.reason, rating.settled_ms FROM press INDEXED BY press_window"
            " JOIN record USING (epoch_id, seq) LEFT JOIN rating ON rating.press = press.id"
            " WHERE press.agent = ? AND press.window = ? AND press.fate = ? AND press.id < ?"
            " ORDER BY press.id DESC LIMIT ?",
            (agent, window, fate, before, most),
        )

    def _closings(self, agent: str, window: str, since_ms: int) -> Iterator[ClosingRecord]:
        left = _RECORDS_MAX
        for epoch in self._store.rows(
            "SELECT id, upto FROM epoch WHERE agent = ? AND last_ms >= ? ORDER BY last_ms DESC", (agent, since_ms)
        ):
            first = max(self._received_from(epoch["id"], epoch["upto"], since_ms), epoch["upto"] - left + 1)
            left -= max(0, epoch["upto"] - first + 1)
            for row in self._store.rows(
                # Only what names the window, as our agents write it: to read all others would take most of the time.
                "SELECT body FROM record WHERE epoch_id = ? AND seq BETWEEN ? AND ? AND instr(body, ?)",
                (epoch["id"], first, epoch["upto"], msgspec.json.encode(window)),
            ):
                try:
                    record = decode_record(row["body"])
                except BadMessage:
                    continue  # the ledger keeps it in quarantine
                if isinstance(record, ClosingRecord) and record.window == window:
                    yield record

    def _received_from(self, epoch_id: int, upto: int, since_ms: int) -> int:
        """The number of the first record of an epoch that was received at or after this moment."""
        low, high = 1, upto + 1
        while low < high:
            middle = (low + high) // 2
            # Behind a gap the next one that is there.
            row = self._store.row(
                "SELECT received_ms FROM record WHERE epoch_id = ? AND seq >= ? ORDER BY seq LIMIT 1",
                (epoch_id, middle),
            )
            if row is not None and row["received_ms"] < since_ms:
                low = middle + 1
            else:
                high = middle
        return low


def _add(day: Day, row: Any) -> None:
    day.fates[row["fate"]] += 1
    if row["fate"] != "duplicate":
        day.to_ledger_ms.append(max(0, row["received_ms"] - row["pressed_ms"]))
    if row["level"] is not None:
        day.levels[row["level"]] += 1
    if row["state"] == "accepted" and row["settled_ms"] is not None:
        day.to_province_ms.append(max(0, row["settled_ms"] - row["received_ms"]))
