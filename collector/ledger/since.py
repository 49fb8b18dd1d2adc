"""What has come into the ledger since the last look, found by number: whoever looks every second reads only what is
new, however much there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import msgspec

from protocols.errors import BadMessage
from protocols.messages import BEGINS, AgentStatus, ClosingRecord, Health, decode_record

from .store import Store
from .tally import begins_ms

PARKED = "state IN ('awaiting_case', 'parked') AND state = 'parked'"
"""So said that SQLite sees its index, `rating_open`."""
# Since when a rating waits for the province: its turn; once it was tried, its first call without an answer or, if that
# was earlier, the moment at which it and its case were there. An answer ends that, and so does a person who sends it
# again or finds its case: neither a hall's own weeks nor a refusal are the province's silence.
UNANSWERED_MS = (
    "CASE WHEN tries = 0 THEN next_ms ELSE (SELECT min(max(begun_ms, coalesce((SELECT received_ms FROM service_case AS"
    " its WHERE its.case_no = rating.case_no AND its.service_number = rating.service_number), 0)),"
    " coalesce((SELECT min(at_ms) FROM attempt WHERE attempt.rating = rating.id AND at_ms >= begun_ms"
    " AND coalesce(verdict, '') NOT IN ('accepted', 'refused')), begun_ms)) FROM (SELECT max(made_ms,"
    " coalesce((SELECT max(at_ms) FROM correction WHERE correction.rating = rating.id), 0),"
    " coalesce((SELECT max(at_ms) FROM attempt WHERE attempt.rating = rating.id"
    " AND verdict IN ('accepted', 'refused')), 0)) AS begun_ms)) END"
)
At = tuple[str, str]
"""Agent and window."""
_NOT_ASKED = ("answered", "withdrawn")  # answered ones have their rating; of withdrawn ones nobody was to rate
_CALLS = 50  # the newest: with many workers a few of them wait for an answer
_CLOSING = BEGINS["closing"]
_status: msgspec.json.Decoder[AgentStatus] = msgspec.json.Decoder(AgentStatus)
_rows: msgspec.json.Decoder[list[list[Any]]] = msgspec.json.Decoder(list[list[Any]])
_health: msgspec.json.Decoder[Health] = msgspec.json.Decoder(Health)


class Rated(NamedTuple):
    """Ratings of one window that were pressed on one day, and when the last of them was."""

    agent: str
    window: str
    ratings: int
    last_ms: int


class Heard(NamedTuple):
    """What an agent last said of itself, and since when it says so."""

    agent: str
    mark: tuple[Any, ...]
    """Another one when it has spoken again."""
    status: AgentStatus | None
    status_ms: int | None
    health: Health | None
    health_ms: int | None


class Forwarding(NamedTuple):
    """What is known of the way to the province."""

    away_since_ms: int | None
    due_since_ms: int | None
    """Since when the rating waits for the province that goes first; None if none waits to be sent."""
    answered_ms: int | None
    """When the last of the newest calls was begun that had an answer."""


def went_unrated(closing: ClosingRecord) -> bool:
    """Whether somebody was to rate this case, and nobody did."""
    return closing.outcome not in _NOT_ASKED


class Since:
    """Reads what is new in the ledger."""

    def __init__(self, store: Store):
        self._store = store

    def rest(self) -> None:
        """This thread has read what it wanted."""
        self._store.rest()

    def until(self, ended: Callable[[], bool]) -> AbstractContextManager[None]:
        """What this thread reads of the ledger within is broken off as soon as `ended` says so: OperationalError."""
        return self._store.reading_until(ended)

    def heard(self, known: Mapping[str, tuple[Any, ...]]) -> Iterator[Heard]:
        """The agents that have spoken since; `known`: the `mark` of each that is known already."""
        # Two messages of one moment differ in their length, or say the same again.
        for agent, *mark in self._in_one("agent, status_ms, health_ms, length(status), length(health)", "agent"):
            if known.get(agent) != tuple(mark):
                yield self._heard(agent, tuple(mark))

    def _heard(self, agent: str, mark: tuple[Any, ...]) -> Heard:
        row = self._store.row("SELECT * FROM agent WHERE agent = ?", (agent,))
        status, health = row["status"], row["health"]
        return Heard(
            agent,
            mark,
            _status.decode(status) if status else None,
            row["status_ms"],
            _health.decode(health) if health else None,
            row["health_ms"],
        )

    # ---- ratings

    def day(self, day: int) -> tuple[list[Rated], int]:
        """The ratings pressed on this day so far, and the number of the last rating of all."""
        with self._store.reading():
            rows = self._store.rows(
                "SELECT agent, window, count(*) AS n, max(pressed_ms) AS last_ms FROM rating INDEXED BY rating_day"
                " WHERE pressed_ms >= ? AND pressed_ms < ? GROUP BY agent, window",
                (begins_ms(day), begins_ms(day + 1)),
            )
            last: int = self._store.row("SELECT coalesce(max(id), 0) FROM rating")[0]
        return [Rated(row["agent"], row["window"], row["n"], row["last_ms"]) for row in rows], last

    def ratings(self, after: int, most: int) -> tuple[list[Rated], int]:
        """Ratings with a larger number, one by one, and the number of the last of them."""
        rows = self._in_one(
            "id, agent, window, pressed_ms", "(SELECT * FROM rating WHERE id > ? ORDER BY id LIMIT ?)", (after, most)
        )
        found = [Rated(agent, window, 1, pressed_ms) for _, agent, window, pressed_ms in rows]
        return found, rows[-1][0] if rows else after

    # ---- closings

    def stretch_before(self, at_ms: int) -> int:
        """The number of the last stretch that was taken before this moment; 0 if none was."""
        low, high = 0, int(self._store.row("SELECT coalesce(max(n), 0) FROM stretch")[0])
        while low < high:
            middle = (low + high + 1) // 2
            row = self._store.row("SELECT at_ms FROM stretch WHERE n = ?", (middle,))
            if row is None or row["at_ms"] < at_ms:
                low = middle
            else:
                high = middle - 1
        return low

    def closings(self, after: int, most: int) -> tuple[list[tuple[str, ClosingRecord]], int, bool]:
        """Agent and closing of the stretches behind this one; how far that went, and whether it went to the end.
        About `most` records are read."""
        stretches = self._in_one(
            "n, upto - first + 1", "(SELECT n, first, upto FROM stretch WHERE n > ? ORDER BY n LIMIT ?)", (after, most)
        )
        records, upto, whole = 0, after, len(stretches) < most
        for n, length in stretches:
            if records >= most:
                whole = False
                break
            records, upto = records + length, n
        return [*self._closings_of(after, upto)], upto, whole

    def _closings_of(self, after: int, upto: int) -> Iterator[tuple[str, ClosingRecord]]:
        """Of the stretches behind the first of these up to the other."""
        for agent, body in self._store.rows(
            "SELECT agent, body FROM stretch JOIN epoch ON epoch.id = stretch.epoch_id JOIN record"
            " ON record.epoch_id = stretch.epoch_id AND seq BETWEEN stretch.first AND stretch.upto"
            " WHERE n > ? AND n <= ? AND substr(body, 1, ?) = ? ORDER BY n, seq",
            (after, upto, len(_CLOSING), _CLOSING),
        ):
            try:
                record = decode_record(body)
            except BadMessage:
                continue  # the ledger keeps it in quarantine
            if isinstance(record, ClosingRecord):
                yield agent, record

    def cases_closed(self) -> dict[str, int]:
        """Closings of each agent that the ledger has, of all days."""
        rows = self._store.rows(
            "SELECT agent, sum(records) AS n FROM kind_count JOIN epoch ON epoch.id = epoch_id WHERE kind = 'closing'"
            " GROUP BY agent"
        )
        return {row["agent"]: row["n"] for row in rows}

    def parked(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Parked ratings by agent and window, and how many of them are bad."""
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for row in self._store.rows(
            f"SELECT agent, window, bad, count(*) AS n FROM rating INDEXED BY rating_open WHERE {PARKED}"
            " GROUP BY agent, window, bad"
        ):
            all_of, bad = found.get((row["agent"], row["window"]), (0, 0))
            found[row["agent"], row["window"]] = (all_of + row["n"], bad + row["n"] * bool(row["bad"]))
        return found

    def _in_one(self, columns: str, table: str, values: tuple[int, ...] = ()) -> list[list[Any]]:
        """Rows that the ledger hands over as one: between any two, threads that reckon may each go first for 5 ms."""
        (rows,) = self._store.row(f"SELECT json_group_array(json_array({columns})) FROM {table}", values)
        return _rows.decode(rows)

    # ---- how the ledger itself stands

    def forwarding(self) -> Forwarding:
        """How the way to the province stands, from a few rows."""
        with self._store.reading():
            away = self._store.row("SELECT away_since_ms FROM province")
            due = self._store.row(
                f"SELECT {UNANSWERED_MS} AS since_ms FROM rating INDEXED BY rating_due WHERE state = 'due'"
                " ORDER BY bad DESC, id LIMIT 1"
            )
            calls = self._store.rows("SELECT at_ms, verdict FROM attempt ORDER BY id DESC LIMIT ?", (_CALLS,))
        answered = [row["at_ms"] for row in calls if row["verdict"] in ("accepted", "refused")]
        return Forwarding(
            away["away_since_ms"], due["since_ms"] if due is not None else None, max(answered, default=None)
        )

    def writable(self) -> bool:
        """Whether something could be written into the ledger."""
        return self._store.writable()

    def size(self) -> int:
        """Bytes of the ledger and its log."""
        return self._store.size()
