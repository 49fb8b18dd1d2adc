"""Counts by day, written by the transaction that makes them so, and never read from the rows held against them.

A press counts in the day in which the button went down, by the wall clock of its agent; a day is that of China, which
has one time zone, UTC+8. Nothing is ever moved to another day.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import Literal

from protocols.messages import BEGINS, PressRecord

ZONE_MS = 8 * 3_600_000
DAY_MS = 86_400_000
COUNTING = ("house", "screen")
"""Profiles whose devices count their presses; all others are numbered by the agent, and nobody knows their count."""
_DAY_TEXT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EPOCH_DAY = date(1970, 1, 1).toordinal()

How = Literal["fresh", "reused", "doubled"]
"""A press whose number is new; another press with a number that was used before; the same press once more."""

TABLES = (
    # Per epoch, and not per agent: what is in an outbox's chain is added up outbox by outbox.
    "CREATE TABLE press_count(device TEXT NOT NULL, boot INTEGER NOT NULL, day INTEGER NOT NULL, window TEXT NOT NULL,"
    " epoch_id INTEGER NOT NULL, counts INTEGER NOT NULL, presses INTEGER NOT NULL, fresh INTEGER NOT NULL,"
    " reused INTEGER NOT NULL, doubled INTEGER NOT NULL, first INTEGER, last INTEGER,"
    " PRIMARY KEY(device, boot, day, window, epoch_id)) WITHOUT ROWID",
    "CREATE INDEX press_count_day ON press_count(day)",
    "CREATE TABLE kind_count(epoch_id INTEGER NOT NULL, kind TEXT NOT NULL, records INTEGER NOT NULL,"
    " PRIMARY KEY(epoch_id, kind)) WITHOUT ROWID",
    "CREATE TABLE rating_count(day INTEGER NOT NULL, agent TEXT NOT NULL, window TEXT NOT NULL, bad INTEGER NOT NULL,"
    " state TEXT NOT NULL, ratings INTEGER NOT NULL, PRIMARY KEY(day, agent, window, bad, state)) WITHOUT ROWID",
    # How far each agent has said that an outbox of its reaches; and if it was damaged, the last record found in it.
    "CREATE TABLE told(agent TEXT NOT NULL, epoch TEXT NOT NULL, tip INTEGER NOT NULL, at_ms INTEGER NOT NULL,"
    " salvaged INTEGER, PRIMARY KEY(agent, epoch)) WITHOUT ROWID",
)
COLUMNS = (
    # How many of this boot the device had been thanked for; and when it said a count that no press had shown yet.
    "ALTER TABLE device_count ADD COLUMN thanked INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE device_count ADD COLUMN said_ms INTEGER",
    # What it had counted when it was first heard of in this boot: by whom those presses were taken is not known here.
    "ALTER TABLE device_count ADD COLUMN met INTEGER",
)
INDEXES = (
    "CREATE INDEX device_boot ON device_count(device, boot)",
    "CREATE INDEX device_said ON device_count(said_ms) WHERE said_ms IS NOT NULL",
    "CREATE INDEX press_day ON press(pressed_ms, agent, window, fate)",
    "CREATE INDEX rating_day ON rating(pressed_ms, agent, window, state, reason, bad, duplicate, flagged)",
)
# Rounded down also before 1970, where SQLite's own division rounds up.
_FAR = 1_000_000
DAY = f"((pressed_ms + {ZONE_MS + _FAR * DAY_MS}) / {DAY_MS} - {_FAR})"
"""The day of a row's `pressed_ms`, in SQL."""
_FRESH = "(fate != 'duplicate' AND place = 1)"
_BODY = "CAST(body AS TEXT)"
_PROFILE = f"coalesce(json_extract({_BODY}, '$.profile'), '')"
COUNTING_BODY = f"(CASE WHEN json_valid({_BODY}) THEN {_PROFILE} IN {COUNTING} ELSE 0 END)"
_PRESSES = f"""
SELECT press.device, press.boot, {DAY} AS day, press.window, press.epoch_id,
    max({COUNTING_BODY}) AS counts,
    count(*) AS presses, sum({_FRESH}) AS fresh, sum(fate != 'duplicate' AND place > 1) AS reused,
    sum(fate = 'duplicate') AS doubled,
    min(CASE WHEN {_FRESH} THEN count END) AS first, max(CASE WHEN {_FRESH} THEN count END) AS last
FROM (SELECT *, row_number() OVER (PARTITION BY device, boot, count ORDER BY fate = 'duplicate', id) AS place
    FROM press) AS press LEFT JOIN record USING (epoch_id, seq)
GROUP BY 1, 2, 3, 4, 5"""
_RATINGS = f"SELECT {DAY} AS day, agent, window, bad, state, count(*) AS ratings FROM rating GROUP BY 1, 2, 3, 4, 5"
_OTHERS = "CASE {} ELSE 'other' END".format(
    " ".join(
        f"WHEN substr(CAST(body AS BLOB), 1, {len(BEGINS[kind])}) = x'{BEGINS[kind].hex()}' THEN '{kind}'"
        for kind in ("closing", "salvage")
    )
)
TAKEN_OVER = (
    f"INSERT INTO press_count {_PRESSES}",
    f"INSERT INTO rating_count {_RATINGS}",
    "INSERT INTO kind_count SELECT epoch_id, 'press', count(*) FROM press GROUP BY 1",
    f"INSERT INTO kind_count SELECT epoch_id, {_OTHERS} AS kind, count(*) FROM record"
    " WHERE (epoch_id, seq) IN (SELECT epoch_id, seq FROM record EXCEPT SELECT epoch_id, seq FROM press) GROUP BY 1, 2",
)
"""What makes the counts of a ledger that had none."""


def day_of(at_ms: int) -> int:
    """The day, counted from 1970-01-01, of this moment."""
    return (at_ms + ZONE_MS) // DAY_MS


def begins_ms(day: int) -> int:
    """The first millisecond of this day."""
    return day * DAY_MS - ZONE_MS


def day_text(day: int) -> str:
    """`2026-11-24`; the number itself where no calendar has that day: somebody put it there."""
    if not 0 < _EPOCH_DAY + day <= date.max.toordinal():
        return str(day)
    return date.fromordinal(_EPOCH_DAY + day).isoformat()


def time_text(at_ms: int) -> str:
    """`2026-11-24 09:31`, in the same zone."""
    minutes = (at_ms + ZONE_MS) % DAY_MS // 60_000
    return f"{day_text(day_of(at_ms))} {minutes // 60:02}:{minutes % 60:02}"


def second_text(at_ms: int) -> str:
    """`2026-11-24 09:31:07`: where the order of what was done within a minute matters."""
    return f"{time_text(at_ms)}:{at_ms % 60_000 // 1000:02}"


def moment_text(at_ms: int, now_ms: int) -> str:
    """`09:31:07` if that is today, `11-24 09:31` if it is not, with the year where it is another one."""
    if day_of(at_ms) == day_of(now_ms):
        return f"{time_text(at_ms)[-5:]}:{at_ms % 60_000 // 1000:02}"
    text, year = time_text(at_ms), time_text(now_ms)[:5]
    return text.removeprefix(year)


def day_number(text: str) -> int:
    """The day of `2026-11-24`; ValueError if it is none."""
    if not _DAY_TEXT.fullmatch(text):
        raise ValueError(text)  # Python takes weeks too
    return date.fromisoformat(text).toordinal() - _EPOCH_DAY


@dataclass
class _Presses:
    counts: int
    presses: int = 0
    fresh: int = 0
    reused: int = 0
    doubled: int = 0
    first: int | None = None
    last: int | None = None


class Tally:
    """What one transaction adds to the counts. `write` belongs into it, `forget` to one that was undone."""

    def __init__(self) -> None:
        self._presses: dict[tuple[str, int, int, str, int], _Presses] = {}
        self._kinds: Counter[tuple[int, str]] = Counter()
        self._ratings: Counter[tuple[int, str, str, int, str]] = Counter()

    def record(self, epoch_id: int, kind: str) -> None:
        """A record was taken."""
        self._kinds[epoch_id, kind] += 1

    def press(self, epoch_id: int, press: PressRecord, how: How) -> None:
        """A press was taken, by what its record says."""
        key = (press.device, press.boot, day_of(press.pressed_ms), press.window, epoch_id)
        found = self._presses.get(key)
        if found is None:
            found = self._presses[key] = _Presses(press.profile in COUNTING)
        found.presses += 1
        match how:
            case "doubled":
                found.doubled += 1
            case "reused":
                found.reused += 1
            case "fresh":
                found.fresh += 1
                found.first = press.count if found.first is None else min(found.first, press.count)
                found.last = press.count if found.last is None else max(found.last, press.count)

    def rating(self, agent: str, window: str, pressed_ms: int, bad: bool, state: str) -> None:
        """A rating was made."""
        self._ratings[day_of(pressed_ms), agent, window, int(bad), state] += 1

    def write(self, db: sqlite3.Connection) -> None:
        """Add what was counted to the tables."""
        if self._presses:
            db.executemany(
                "INSERT INTO press_count VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET"
                " counts = max(counts, excluded.counts), presses = presses + excluded.presses,"
                " fresh = fresh + excluded.fresh, reused = reused + excluded.reused,"
                " doubled = doubled + excluded.doubled,"
                " first = min(coalesce(first, excluded.first), coalesce(excluded.first, first)),"
                " last = max(coalesce(last, excluded.last), coalesce(excluded.last, last))",
                [(*key, *vars(found).values()) for key, found in self._presses.items()],
            )
        if self._kinds:
            db.executemany(
                "INSERT INTO kind_count VALUES (?,?,?) ON CONFLICT DO UPDATE SET records = records + excluded.records",
                [(*key, number) for key, number in self._kinds.items()],
            )
        _add(db, self._ratings)
        self.forget()

    def forget(self) -> None:
        """The transaction was undone, or written."""
        self._presses.clear()
        self._kinds.clear()
        self._ratings.clear()


def moved(db: sqlite3.Connection, rating: int, state: str) -> None:
    """Count that this rating is about to go over to `state`."""
    agent, window, pressed_ms, bad, before = db.execute(
        "SELECT agent, window, pressed_ms, bad, state FROM rating WHERE id = ?", (rating,)
    ).fetchone()
    if before != state:
        where = (day_of(pressed_ms), agent, window, bad)
        _add(db, Counter({(*where, before): -1, (*where, state): 1}))


def _add(db: sqlite3.Connection, ratings: Counter[tuple[int, str, str, int, str]]) -> None:
    if ratings:
        db.executemany(
            "INSERT INTO rating_count VALUES (?,?,?,?,?,?) ON CONFLICT DO UPDATE SET"
            " ratings = ratings + excluded.ratings",
            [(*key, number) for key, number in ratings.items()],
        )
