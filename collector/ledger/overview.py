"""Counts and lists for people and programs, without personal details."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from protocols.messages import PressRecord

from ..directory import PAGE
from .days import Days
from .history import History
from .links import CASE_NO, JOINED, NUMBER
from .since import PARKED, UNANSWERED_MS, Since
from .store import Store
from .tables import Tables

WAITING = ("due", "awaiting_case")
_LATELY = 200  # presses: whoever confirms a device presses each of its keys once, and a look must stay short
# Grouped as their indexes are sorted: millions of rows are counted in one pass without looking at any.
_PRESSES = "SELECT agent, window, fate, count(*) AS n FROM press GROUP BY 1, 2, 3"
_RATINGS = (
    "SELECT agent, window, state, reason, level, bad, flagged, count(*) AS n FROM rating GROUP BY 1, 2, 3, 4, 5, 6, 7"
)


class Overview:
    """Reads the ledger for a page."""

    def __init__(self, store: Store):
        self._store = store
        self.days = Days(store)
        """The same ledger, day by day."""
        self.history = History(store)
        """The same, window by window."""
        self.tables = Tables(store)
        """The same, row by row."""
        self.since = Since(store)
        """What is new in it."""

    @contextmanager
    def moment(self) -> Iterator[None]:
        """All that is asked within is of one moment: what belongs together adds up."""
        with self._store.reading():
            yield

    def counts(self) -> dict[str, Any]:
        """Of everything: records, presses by fate, ratings by state, bad ratings on a line of their own."""
        with self.moment():
            ratings = self._store.rows(_RATINGS)
            fates = _summed(self._store.rows(_PRESSES), "fate")
            return {
                "records": self._one("SELECT coalesce(sum(upto), 0) FROM epoch")
                - self._one("SELECT coalesce(sum(upto - after), 0) FROM gap"),
                "presses": sum(fates.values()),
                "fates": fates,
                "ratings": _balance(_summed(ratings, "state")),
                "bad": _balance(_summed([row for row in ratings if row["bad"]], "state")),
                "flagged": sum(row["n"] for row in ratings if row["flagged"]),
                "parked": _summed([row for row in ratings if row["state"] == "parked"], "reason"),
                "bad_parked": _summed([row for row in ratings if row["state"] == "parked" and row["bad"]], "reason"),
                "levels": _summed(ratings, "level"),
                "quarantined": self._one("SELECT coalesce(sum(times), 0) FROM quarantine"),
                "gaps": self._one("SELECT count(*) FROM gap"),
                "province": dict(self._store.row("SELECT away_since_ms, words FROM province")),
                "unanswered": self._unanswered(),
            }

    def _unanswered(self) -> dict[str, Any]:
        """Ratings that were sent and not answered: how many, since when the first waits, and what was said last."""
        row = self._store.row(
            f"SELECT count(*) AS ratings, min({UNANSWERED_MS}) AS since_ms, max(words) AS words FROM rating"
            " WHERE state = 'due' AND tries > 0"
        )
        return dict(row)

    def agents(self) -> list[dict[str, Any]]:
        """What each agent last said of itself, and when."""
        return [
            {
                "agent": row["agent"],
                "status": msgspec.json.decode(row["status"]) if row["status"] else None,
                "health": msgspec.json.decode(row["health"]) if row["health"] else None,
                "health_ms": row["health_ms"],
            }
            for row in self._store.rows("SELECT agent, status, health, health_ms FROM agent ORDER BY agent")
        ]

    def last_ratings(self, most: int = 20) -> list[dict[str, Any]]:
        """The newest ratings, the last that became one first: a late one stands among them, however long ago it was
        pressed. Neither case number nor clerk: a page on a wall is read by everybody."""
        rows = self._store.rows(
            "SELECT id, agent, window, hall, number, level, pressed_ms, made_ms, state, reason, words, settled_ms"
            " FROM rating ORDER BY id DESC LIMIT ?",
            (most,),
        )
        return [dict(row) for row in rows]

    def parked(self, most: int = 20) -> list[dict[str, Any]]:
        """Ratings that wait for a person, bad ones first, then the newest, with what that person needs to find them:
        not for a wall."""
        rows = self._store.rows(
            f"SELECT rating.id, hall, number, level, pressed_ms, {CASE_NO} AS case_no, {NUMBER} AS service_number,"
            f" rating.reason, words, settled_ms FROM rating {JOINED} WHERE {PARKED}"
            " ORDER BY bad DESC, coalesce(settled_ms, made_ms) DESC, rating.id DESC LIMIT ?",
            (most,),
        )
        return [dict(row) for row in rows]

    def unratable(self) -> list[dict[str, Any]]:
        """Presses without a meaning, by window, device and reason.

        `detail` of undatable ones is the invitation that the last of them may be from before: each has its own, and a
        line for each would bury the rest.
        """
        rows = self._store.rows(
            # SQLite takes a bare column from the row that max() was found in.
            "SELECT agent, window, device, fate AS reason, detail, count(*) AS presses, max(id) FROM press"
            " INDEXED BY press_curable WHERE fate NOT IN ('rated', 'repeat', 'duplicate', 'unsolicited')"
            " GROUP BY 1, 2, 3, 4, CASE fate WHEN 'undatable' THEN '' ELSE detail END"
        )
        names = ("agent", "window", "device", "reason", "detail", "presses")
        return [{name: row[name] for name in names} for row in rows]

    def buttons(self, agent: str, window: str, device: str) -> list[int]:
        """Which buttons of a device without a key map have been pressed lately at this window; none of our own page,
        whose keys bring their levels along."""
        found: set[int] = set()
        for fate in ("window_not_placed", "keys_not_confirmed", "unsolicited"):
            rows = self._store.rows(
                "SELECT record.body FROM press JOIN record USING (epoch_id, seq) WHERE agent = ? AND window = ?"
                " AND fate = ? AND device = ? ORDER BY press.id DESC LIMIT ?",
                (agent, window, fate, device, _LATELY),
            )
            presses = (msgspec.json.decode(row["body"], type=PressRecord) for row in rows)
            found |= {press.button for press in presses if press.profile != PAGE}
        return sorted(found)

    def quarantine_agents(self) -> list[str]:
        """Of whom there are messages that were not ours."""
        rows = self._store.rows("SELECT DISTINCT topic FROM quarantine")
        return sorted({agent for row in rows if (agent := _agent_of(row["topic"]))})

    def quarantine(self, most: int, agent: str = "", before: int | None = None) -> list[dict[str, Any]]:
        """The newest of them, of this agent only, and the beginning of each; `before` goes on behind that one."""
        rows = self._store.rows(
            "SELECT id, topic, reason, substr(payload, 1, 64) AS begins, size, times, first_ms, last_ms FROM quarantine"
            " WHERE (:before IS NULL OR id < :before) AND (:agent = '' OR topic GLOB :topics) ORDER BY id DESC"
            " LIMIT :most",
            {"before": before, "agent": agent, "topics": f"hcp/v1/{_no_pattern(agent)}/*", "most": most},
        )
        return [{**dict(row), "agent": _agent_of(row["topic"])} for row in rows]

    def quarantined_one(self, number: int) -> dict[str, Any] | None:
        """All that is kept of one; None if there is none with this number."""
        row = self._store.row("SELECT * FROM quarantine WHERE id = ?", (number,))
        return None if row is None else {**dict(row), "agent": _agent_of(row["topic"])}

    def quarantined(self, most: int = 20) -> list[dict[str, Any]]:
        """The newest messages that were not ours; the first bytes of each as hex."""
        rows = self._store.rows("SELECT * FROM quarantine ORDER BY id DESC LIMIT ?", (most,))
        return [
            {
                "topic": row["topic"],
                "reason": row["reason"],
                "size": row["size"],
                "times": row["times"],
                "first_ms": row["first_ms"],
                "last_ms": row["last_ms"],
                "begins": row["payload"][:64].hex(),
            }
            for row in rows
        ]

    def per_window(self) -> dict[tuple[str, str], dict[str, int]]:
        """Per agent and window: presses by fate and ratings by state."""
        found: dict[tuple[str, str], dict[str, int]] = {}
        with self.moment():
            for prefix, name, question in (
                ("fate_", "fate", _PRESSES),
                ("state_", "state", _RATINGS),
                # total() and not sum(): what a device says of itself may be any number.
                (
                    "",
                    "counted",
                    "SELECT agent, window, 'pressed' AS counted, CAST(total(count) AS INTEGER) AS n FROM device_count"
                    " GROUP BY 1, 2",
                ),
            ):
                for row in self._store.rows(question):
                    window = found.setdefault((row["agent"], row["window"]), {})
                    window[prefix + row[name]] = window.get(prefix + row[name], 0) + row["n"]
        return found

    def _one(self, sql: str) -> int:
        number: int = self._store.row(sql)[0]
        return number


def _agent_of(topic: str) -> str:
    """Whose topic it is (`hcp/v1/<agent>/…`); empty where it says nobody."""
    parts = topic.split("/")
    return parts[2] if len(parts) > 3 else ""


def _no_pattern(text: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def _summed(rows: list[sqlite3.Row], name: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        found[row[name]] = found.get(row[name], 0) + row["n"]
    return found


def _balance(states: dict[str, int]) -> dict[str, int]:
    """Received = accepted + parked + waiting, always."""
    return {
        "received": sum(states.values()),
        "accepted": states.get("accepted", 0),
        "parked": states.get("parked", 0),
        "waiting": sum(states.get(state, 0) for state in WAITING),
    }
