"""Counts by day, written by the transaction that makes them so, and never read from the rows held against them.

A press counts in the day in which the button went down, by the wall clock of its agent; a day is that of China, which
has one time zone, UTC+8. Nothing is ever moved to another day.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Any, Literal

from protocols.messages import PressRecord

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
_COUNTING = f"(CASE WHEN json_valid({_BODY}) THEN {_PROFILE} IN {COUNTING} ELSE 0 END)"
_PRESSES = f"""
SELECT press.device, press.boot, {DAY} AS day, press.window, press.epoch_id,
    max({_COUNTING}) AS counts,
    count(*) AS presses, sum({_FRESH}) AS fresh, sum(fate != 'duplicate' AND place > 1) AS reused,
    sum(fate = 'duplicate') AS doubled,
    min(CASE WHEN {_FRESH} THEN count END) AS first, max(CASE WHEN {_FRESH} THEN count END) AS last
FROM (SELECT *, row_number() OVER (PARTITION BY device, boot, count ORDER BY fate = 'duplicate', id) AS place
    FROM press) AS press LEFT JOIN record USING (epoch_id, seq)
GROUP BY 1, 2, 3, 4, 5"""
_RATINGS = f"SELECT {DAY} AS day, agent, window, bad, state, count(*) AS ratings FROM rating GROUP BY 1, 2, 3, 4, 5"
_PREFIXES = {"closing": '{"kind":"closing"', "salvage": '{"kind":"salvage"'}
# How records of these kinds begin, as our agents write them.
_OTHERS = "CASE {} ELSE 'other' END".format(
    " ".join(
        f"WHEN substr(CAST(body AS BLOB), 1, {len(text)}) = CAST('{text}' AS BLOB) THEN '{kind}'"
        for kind, text in _PREFIXES.items()
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


# ---- what the rows themselves add up to

_Key = tuple[str, int, int, str, int]
"""Device, boot, day, window, epoch: a row of press_count."""


class Made:
    """What presses and ratings add up to, from any part of the ledger; `join` makes one of two parts."""

    def __init__(self) -> None:
        self.presses: dict[_Key, list[Any]] = {}
        """How many, how many of them `doubled`, and the lowest and highest count of the others."""
        self.ratings: Counter[tuple[int, str, str, int, str]] = Counter()
        """Day, agent, window, bad, state."""

    def add_rated(
        self, epoch_id: int, kinds: list[tuple[str, int, int, str, str, int, str]], counts: list[int]
    ) -> None:
        """Presses and their ratings: device, boot, day, window, agent, bad and state of each, and its count in the same
        place of `counts`."""
        found = Counter(kinds)
        for (_, _, day, window, agent, bad, state), number in found.items():
            self.ratings[day, agent, window, bad, state] += number
        keys = {(*kind[:4], epoch_id) for kind in found}
        if len(keys) == 1:
            self._add(keys.pop(), [len(counts), 0, min(counts), max(counts)])
            return
        for kind, count in zip(kinds, counts, strict=True):
            self._add((*kind[:4], epoch_id), [1, 0, count, count])

    def add_other(
        self, epoch_id: int, device: str, boot: int, count: int, window: str, pressed_ms: int, *, doubled: bool
    ) -> None:
        """A press without a rating."""
        numbers = [1, 1, None, None] if doubled else [1, 0, count, count]
        self._add((device, boot, day_of(pressed_ms), window, epoch_id), numbers)

    def _add(self, key: _Key, numbers: list[Any]) -> None:
        found = self.presses.setdefault(key, [0, 0, None, None])
        presses, doubled, first, last = numbers
        found[0] += presses
        found[1] += doubled
        if first is not None:
            # As SQLite orders them, should somebody have put text there.
            found[2] = first if found[2] is None else min(found[2], first, key=_order)
            found[3] = last if found[3] is None else max(found[3], last, key=_order)

    def join(self, other: Made) -> None:
        """All that the other one has counted too."""
        self.ratings.update(other.ratings)
        for key, numbers in other.presses.items():
            self._add(key, numbers)


def _order(value: Any) -> tuple[int, Any]:
    return (0, value) if isinstance(value, int | float) else (1, value) if isinstance(value, str) else (2, value)


def made(db: sqlite3.Connection, of_press: str, of_rating: str) -> Made:
    """What some rows add up to, whatever stands there; both are ends of a condition."""
    found = Made()
    dated = f"SELECT device, boot, {DAY}, window, epoch_id, count(*), sum(fate = 'duplicate'),"
    counted = "{}(CASE WHEN fate != 'duplicate' THEN count END)"
    for *key, presses, doubled, first, last in db.execute(
        f"{dated} {counted.format('min')}, {counted.format('max')} FROM press WHERE 1{of_press} GROUP BY 1, 2, 3, 4, 5"
    ):
        found.presses[key[0], key[1], key[2], key[3], key[4]] = [presses, doubled, first, last]
    found.ratings = ratings(db, of_rating)
    return found


def ratings(db: sqlite3.Connection, of_rating: str = "") -> Counter[tuple[int, str, str, int, str]]:
    """The same of ratings alone, those without a press among them."""
    rows = db.execute(
        f"SELECT {DAY}, agent, window, bad, state, count(*) FROM rating WHERE 1{of_rating} GROUP BY 1, 2, 3, 4, 5"
    )
    return Counter({(day, agent, window, bad, state): number for day, agent, window, bad, state, number in rows})


# Only numbers that were used more than once are looked at one by one.
_AGAIN = """
SELECT id FROM (SELECT id, fate, row_number() OVER (PARTITION BY device, boot, count ORDER BY fate = 'duplicate', id)
    AS place FROM press JOIN (SELECT device, boot, count FROM press GROUP BY 1, 2, 3 HAVING count(*) > 1)
    USING (device, boot, count)) WHERE place > 1 AND fate != 'duplicate'"""
_NEW = "fate != 'duplicate' AND again.id IS NULL"
_REUSED = f"""
SELECT device, boot, {DAY} AS day, window, epoch_id, count(*) AS presses, sum({_NEW}) AS fresh,
    sum(again.id IS NOT NULL) AS reused, sum(fate = 'duplicate') AS doubled,
    min(CASE WHEN {_NEW} THEN count END) AS first, max(CASE WHEN {_NEW} THEN count END) AS last
FROM press LEFT JOIN temp.again ON again.id = press.id
WHERE (device, boot) IN (SELECT device, boot FROM press JOIN temp.again USING (id)) GROUP BY 1, 2, 3, 4, 5"""


def reused(db: sqlite3.Connection, _all: None = None) -> dict[Any, tuple[Any, ...]]:
    """The rows of press_count, key and rest, of devices that have used a number for another press."""
    db.execute("CREATE TEMP TABLE IF NOT EXISTS again(id INTEGER PRIMARY KEY)")
    db.execute("DELETE FROM temp.again")
    db.execute(f"INSERT INTO temp.again {_AGAIN}")
    return {row[:5]: row[5:] for row in db.execute(_REUSED)}


def differences(
    db: sqlite3.Connection,
    found: Made,
    numbers: Mapping[Any, tuple[Any, ...]],
    records: Mapping[int, int],
    most: int,
) -> list[tuple[str, str]]:
    """Agent and words, of each count that is not what the rows themselves add up to; `most` of a sort.

    `numbers` is what `reused` says of all presses, `records` how many records each epoch has.
    """
    epochs = {number: (agent, epoch) for number, agent, epoch in db.execute("SELECT id, agent, epoch FROM epoch")}
    return [
        *_of_presses(db, found, numbers, epochs, most),
        *_of_records(db, found, records, epochs, most),
        *_of_ratings(db, found, most),
    ]


_Epochs = Mapping[int, tuple[str, str]]


def _of_presses(
    db: sqlite3.Connection, found: Made, numbers: Mapping[Any, tuple[Any, ...]], epochs: _Epochs, most: int
) -> Iterator[tuple[str, str]]:
    made: dict[Any, tuple[Any, ...]] = {
        key: (presses, presses - doubled, 0, doubled, first, last)
        for key, (presses, doubled, first, last) in found.presses.items()
    }
    made |= numbers
    columns = "device, boot, day, window, epoch_id, presses, fresh, reused, doubled, first, last"
    kept = {row[:5]: row[5:] for row in db.execute(f"SELECT {columns} FROM press_count")}
    for agent, device, boot, day in _some(
        ((_agent(epochs, key[4]), key[0], key[1], key[2]) for key in _unlike(made, kept)), most
    ):
        where = f"{day_text(day)} {device} #{boot}"
        yield agent, f"{where}: 按日计数与按键不符 / the day's count is not what the presses add up to"
    one = "SELECT 1 FROM press JOIN record USING (epoch_id, seq) WHERE press.device = c.device AND press.boot = c.boot"
    for agent, device, boot in db.execute(
        "SELECT coalesce(epoch.agent, '?'), device, boot FROM (SELECT device, boot, max(counts) AS yes,"
        f" min(counts) AS no, epoch_id FROM press_count GROUP BY 1, 2) AS c LEFT JOIN epoch ON epoch.id = epoch_id"
        f" WHERE yes AND NOT EXISTS ({one} AND {_COUNTING}) OR NOT no AND NOT EXISTS ({one} AND NOT {_COUNTING})"
        f" LIMIT {most}"
    ):
        yield (
            agent,
            f"{device} #{boot}: 评价器是否计数与记录不符 / whether the device counts is not what its records say",
        )


def _of_records(
    db: sqlite3.Connection, found: Made, records: Mapping[int, int], epochs: _Epochs, most: int
) -> Iterator[tuple[str, str]]:
    presses: Counter[int] = Counter()
    for key, (number, *_) in found.presses.items():
        presses[key[4]] += number
    made = {epoch: (number, presses[epoch]) for epoch, number in records.items() if number}
    kept = {
        row[0]: row[1:]
        for row in db.execute(
            "SELECT epoch_id, sum(records), coalesce(sum(records) FILTER (WHERE kind = 'press'), 0)"
            " FROM kind_count GROUP BY 1"
        )
    }
    for agent, epoch in _some((epochs.get(key, ("?", "?")) for key in _unlike(made, kept)), most):
        yield agent, f"{epoch}: 计数与记录不符 / the count is not what the records add up to"


def _of_ratings(db: sqlite3.Connection, found: Made, most: int) -> Iterator[tuple[str, str]]:
    kept = {row[:5]: row[5] for row in db.execute("SELECT day, agent, window, bad, state, ratings FROM rating_count")}
    made = dict(found.ratings)
    for day, agent, window in _some(
        (key[:3] for key in _unlike(made, {key: number for key, number in kept.items() if number})), most
    ):
        where = f"{day_text(day)} {window}"
        yield agent, f"{where}: 按日计数与评价不符 / the day's count is not what the ratings add up to"


def _agent(epochs: _Epochs, number: int) -> str:
    return epochs.get(number, ("?", "?"))[0]


def _unlike(made: Mapping[Any, Any], kept: Mapping[Any, Any]) -> list[Any]:
    """The keys of what stands in one and not in the other, in the same order every time."""
    return sorted((key for key in made.keys() | kept.keys() if made.get(key) != kept.get(key)), key=repr)


def _some(keys: Iterable[Any], most: int) -> Iterator[Any]:
    """Each once, and no more than so many."""
    return islice(dict.fromkeys(keys), most)
