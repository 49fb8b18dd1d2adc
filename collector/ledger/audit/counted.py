"""What presses, records and ratings themselves add up to, day by day, and where the counts kept beside them differ."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from ..tally import COUNTING_BODY, DAY, day_of, day_text

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
        where = f"{_named(day)} {device} #{boot}"
        yield agent, f"{where}: 按日计数与按键不符 / the day's count is not what the presses add up to"
    one = "SELECT 1 FROM press JOIN record USING (epoch_id, seq) WHERE press.device = c.device AND press.boot = c.boot"
    for agent, device, boot in db.execute(
        "SELECT coalesce(epoch.agent, '?'), device, boot FROM (SELECT device, boot, max(counts) AS yes,"
        f" min(counts) AS no, epoch_id FROM press_count GROUP BY 1, 2) AS c LEFT JOIN epoch ON epoch.id = epoch_id"
        f" WHERE yes AND NOT EXISTS ({one} AND {COUNTING_BODY})"
        f" OR NOT no AND NOT EXISTS ({one} AND NOT {COUNTING_BODY})"
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
            # total() and not sum(): somebody may have put any number there.
            "SELECT epoch_id, total(records), total(records) FILTER (WHERE kind = 'press') FROM kind_count GROUP BY 1"
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
        where = f"{_named(day)} {window}"
        yield agent, f"{where}: 按日计数与评价不符 / the day's count is not what the ratings add up to"


def _named(day: Any) -> str:
    return day_text(day) if isinstance(day, int) else repr(day)  # somebody has put it there


def _agent(epochs: _Epochs, number: int) -> str:
    return epochs.get(number, ("?", "?"))[0]


def _unlike(made: Mapping[Any, Any], kept: Mapping[Any, Any]) -> list[Any]:
    """The keys of what stands in one and not in the other, in the same order every time."""
    return sorted((key for key in made.keys() | kept.keys() if made.get(key) != kept.get(key)), key=repr)


def _some(keys: Iterable[Any], most: int) -> Iterator[Any]:
    """Each once, and no more than so many."""
    return islice(dict.fromkeys(keys), most)
