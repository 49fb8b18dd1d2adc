"""What the ledger knows of each day, from two sides: the rows themselves, and the counts that were kept beside them."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from protocols.errors import BadMessage
from protocols.messages import PressRecord, decode_record

from .store import Store
from .tally import DAY, begins_ms, day_of

FIRST, LAST = -1_000_000, 10_000_000
"""Before and after every day that a time can have."""


class At(NamedTuple):
    """A day, counted from 1970-01-01, at a window."""

    day: int
    agent: str
    window: str


class Counted(NamedTuple):
    """Presses that were taken, by what their records say: of one boot of a device, at one window, of one day."""

    at: At
    counts: bool
    """Whether the device counts its presses itself."""
    presses: int
    fresh: int
    reused: int
    doubled: int
    first: int | None
    last: int | None
    """The smallest and the largest of the fresh numbers."""


class Boot(NamedTuple):
    """One start of a device that counts: what was received of it, and what it says itself."""

    device: str
    boot: int
    received: list[Counted]
    said: int
    """Presses that it has counted, by its own word or by a press of it."""
    thanked: int
    said_at: At | None
    """Where and when it said so, if no press shows that number."""
    met: int
    """What it had counted when it was first heard of, if nothing is known of an earlier start; else 0."""
    is_last: bool
    """Nothing is known of a later one."""


class Chain(NamedTuple):
    """One outbox as the ledger knows it."""

    agent: str
    epoch: str
    upto: int
    gap: int
    """Records up to `upto` that the ledger does not have."""
    kinds: dict[str, int]
    """Records that were taken, by kind, counted when they were."""
    told: int
    """How far its agent said that it reaches; 0 if it never did."""
    salvaged: int | None
    """The last record that its agent found in its damaged file; None if it never was damaged."""
    lost: int
    """Records that the agent said its disk has lost."""


class Days:
    """Reads the ledger for a comparison of its days `first` to `last`, both included."""

    def __init__(self, store: Store):
        self._store = store

    @contextmanager
    def moment(self) -> Iterator[None]:
        """All that is asked within is of one moment."""
        with self._store.reading():
            yield

    def last_days(self, upto: int, most: int) -> int | None:
        """The first of the last `most` days until `upto` in which anything was pressed; None if nothing was."""
        row = self._store.row(
            "WITH RECURSIVE found(day, n) AS (SELECT max(day), 1 FROM press_count WHERE day <= :upto UNION ALL"
            " SELECT (SELECT max(day) FROM press_count WHERE press_count.day < found.day), n + 1 FROM found"
            " WHERE n < :most AND day IS NOT NULL) SELECT min(day) AS first FROM found",
            {"upto": upto, "most": most},
        )
        first: int | None = row["first"]
        return first

    def outside(self, first: int, last: int) -> int:
        """How many presses are dated before or after these days."""
        number: int = self._store.row(
            "SELECT (SELECT coalesce(sum(presses), 0) FROM press_count WHERE day < ?)"
            " + (SELECT coalesce(sum(presses), 0) FROM press_count WHERE day > ?)",
            (first, last),
        )[0]
        return number

    # ---- the rows

    def presses(self, first: int, last: int) -> dict[At, Counter[str]]:
        """Press rows by fate."""
        found: dict[At, Counter[str]] = {}
        for row in self._store.rows(
            f"SELECT {DAY} AS day, agent, window, fate, count(*) AS n FROM press INDEXED BY press_day"
            " WHERE pressed_ms >= ? AND pressed_ms < ? GROUP BY 1, 2, 3, 4",
            (begins_ms(first), begins_ms(last + 1)),
        ):
            found.setdefault(_at(row), Counter())[row["fate"]] += row["n"]
        return found

    def ratings(self, first: int, last: int) -> list[tuple[At, sqlite3.Row]]:
        """Rating rows: state, reason, bad, duplicate, flagged, and how many (n)."""
        rows = self._store.rows(
            f"SELECT {DAY} AS day, agent, window, state, reason, bad, duplicate, flagged, count(*) AS n"
            " FROM rating INDEXED BY rating_day WHERE pressed_ms >= ? AND pressed_ms < ?"
            " GROUP BY 1, 2, 3, 4, 5, 6, 7, 8",
            (begins_ms(first), begins_ms(last + 1)),
        )
        return [(_at(row), row) for row in rows]

    # ---- the counts

    def counted(self, first: int, last: int) -> dict[At, list[Counted]]:
        """Presses as they were counted when their records were taken."""
        found: dict[At, list[Counted]] = {}
        for row in self._store.rows(
            "SELECT press_count.*, coalesce(agent, '?') AS agent FROM press_count"
            " LEFT JOIN epoch ON epoch.id = epoch_id WHERE day BETWEEN ? AND ?",
            (first, last),
        ):
            found.setdefault(_at(row), []).append(_counted(row))
        return found

    def counted_ratings(self, first: int, last: int) -> dict[At, Counter[tuple[bool, str]]]:
        """Ratings by whether they are bad and by state, as they were counted at each step."""
        found: dict[At, Counter[tuple[bool, str]]] = {}
        for row in self._store.rows("SELECT * FROM rating_count WHERE day BETWEEN ? AND ?", (first, last)):
            found.setdefault(_at(row), Counter())[bool(row["bad"]), row["state"]] += row["ratings"]
        return found

    # ---- the devices

    def boots(self, first: int, last: int, agents: list[str]) -> list[Boot]:
        """Starts of counting devices that were heard of in these days, and all of them at these agents."""
        values = {
            "first": first,
            "last": last,
            "first_ms": begins_ms(first),
            "end_ms": begins_ms(last + 1),
            "agents": json.dumps(agents),
        }
        wanted = (
            "SELECT device, boot FROM press_count WHERE day BETWEEN :first AND :last AND counts"
            " UNION SELECT device, boot FROM device_count WHERE said_ms >= :first_ms AND said_ms < :end_ms"
        )
        if agents:
            wanted += (
                " UNION SELECT device, boot FROM device_count WHERE agent IN (SELECT value FROM json_each(:agents))"
            )
        received: dict[tuple[str, int], list[Counted]] = {}
        for row in self._store.rows(
            f"WITH wanted AS ({wanted}) SELECT press_count.*, coalesce(agent, '?') AS agent FROM wanted"
            " JOIN press_count USING (device, boot) LEFT JOIN epoch ON epoch.id = epoch_id",
            values,
        ):
            received.setdefault((row["device"], row["boot"]), []).append(_counted(row))
        said: dict[tuple[str, int], list[sqlite3.Row]] = {}
        for row in self._store.rows(
            f"WITH wanted AS ({wanted}) SELECT device_count.*,"
            " (SELECT min(boot) FROM device_count AS b WHERE b.device = wanted.device) AS first_boot,"
            " (SELECT max(boot) FROM device_count AS b WHERE b.device = wanted.device) AS last_boot"
            " FROM wanted JOIN device_count USING (device, boot)",
            values,
        ):
            said.setdefault((row["device"], row["boot"]), []).append(row)
        return [
            _boot(key, received.get(key, []), said.get(key, []))
            for key in sorted({*received, *said})
            # One that no press is known of was heard of by its own word: only devices that count have one.
            if key not in received or any(each.counts for each in received[key])
        ]

    # ---- the agents

    def chains(self) -> list[Chain]:
        """Every outbox that the ledger has records of, or was told of."""
        kinds: dict[int, dict[str, int]] = {}
        for row in self._store.rows("SELECT epoch_id, kind, records FROM kind_count ORDER BY 1, 2"):
            kinds.setdefault(row["epoch_id"], {})[row["kind"]] = row["records"]
        held = "(SELECT agent, epoch FROM epoch UNION SELECT agent, epoch FROM told)"
        rows = self._store.rows(
            "SELECT each.agent, each.epoch, epoch.id, coalesce(epoch.upto, 0) AS upto, coalesce(told.tip, 0) AS told,"
            " salvaged,"
            " (SELECT coalesce(sum(gap.upto - after), 0) FROM gap WHERE gap.epoch_id = epoch.id) AS gap,"
            " (SELECT coalesce(sum(last - first + 1), 0) FROM loss JOIN epoch AS own ON own.id = loss.epoch_id"
            "  WHERE loss.epoch = each.epoch AND own.agent = each.agent) AS lost"
            f" FROM {held} AS each LEFT JOIN epoch USING (agent, epoch) LEFT JOIN told USING (agent, epoch)"
            " ORDER BY each.agent, epoch.id IS NULL, epoch.id"
        )
        return [
            Chain(
                row["agent"],
                row["epoch"],
                row["upto"],
                row["gap"],
                kinds.get(row["id"], {}),
                row["told"],
                row["salvaged"],
                row["lost"],
            )
            for row in rows
        ]

    def healths(self) -> dict[str, dict[str, Any]]:
        """What each agent last said of itself, with when it was heard as `heard_ms`."""
        rows = self._store.rows("SELECT agent, health, health_ms FROM agent WHERE health IS NOT NULL")
        return {row["agent"]: msgspec.json.decode(row["health"]) | {"heard_ms": row["health_ms"]} for row in rows}

    def arrived(self, epoch: str, after: int, upto: int) -> Counter[str]:
        """Presses by window among these records of an outbox, as far as the ledger has them."""
        found: Counter[str] = Counter()
        for row in self._store.rows(
            "SELECT body FROM record WHERE epoch_id = (SELECT id FROM epoch WHERE epoch = ?) AND seq > ? AND seq <= ?",
            (epoch, after, upto),
        ):
            try:
                record = decode_record(row["body"])
            except BadMessage:
                continue
            if isinstance(record, PressRecord):
                found[record.window] += 1
        return found


def _at(row: sqlite3.Row) -> At:
    return At(row["day"], row["agent"], row["window"])


def _counted(row: sqlite3.Row) -> Counted:
    return Counted(
        _at(row),
        bool(row["counts"]),
        row["presses"],
        row["fresh"],
        row["reused"],
        row["doubled"],
        row["first"],
        row["last"],
    )


def _met(row: sqlite3.Row) -> int:
    if row["first_boot"] != row["boot"]:
        return 0
    met: int = row["count"] if row["met"] is None else row["met"]  # nobody wrote it down in an older ledger
    return met


def _boot(key: tuple[str, int], received: list[Counted], said: list[sqlite3.Row]) -> Boot:
    most = max(said, key=lambda row: (row["count"], row["said_ms"] or 0), default=None)
    said_at = None
    if most is not None and most["said_ms"] is not None:
        said_at = At(day_of(most["said_ms"]), most["agent"], most["window"])
    return Boot(
        *key,
        received,
        most["count"] if most is not None else 0,
        max((row["thanked"] for row in said), default=0),
        said_at,
        min((_met(row) for row in said), default=0),
        all(row["last_boot"] == key[1] for row in said),
    )
