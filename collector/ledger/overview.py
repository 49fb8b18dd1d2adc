"""Counts and lists for people and programs, without personal details."""

from __future__ import annotations

from typing import Any

import msgspec

from .store import Store

WAITING = ("due", "awaiting_case")


class Overview:
    """Reads the ledger for a page."""

    def __init__(self, store: Store):
        self._store = store

    def counts(self) -> dict[str, Any]:
        """Of everything: records, presses by fate, ratings by state, bad ratings on a line of their own."""
        states = self._states("1")
        bad = self._states("bad = 1")
        return {
            "records": self._one("SELECT coalesce(sum(upto), 0) FROM epoch")
            - self._one("SELECT coalesce(sum(upto - after), 0) FROM gap"),
            "presses": self._one("SELECT count(*) FROM press"),
            "fates": self._pairs("SELECT fate, count(*) FROM press GROUP BY fate"),
            "ratings": _balance(states),
            "bad": _balance(bad),
            "flagged": self._one("SELECT count(*) FROM rating WHERE flagged = 1"),
            "parked": self._pairs("SELECT reason, count(*) FROM rating WHERE state = 'parked' GROUP BY reason"),
            "levels": self._pairs("SELECT level, count(*) FROM rating GROUP BY level"),
            "quarantined": self._one("SELECT coalesce(sum(times), 0) FROM quarantine"),
            "gaps": self._one("SELECT count(*) FROM gap"),
            "province": dict(self._store.row("SELECT away_since_ms, words FROM province")),
        }

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
        """The newest ratings. Neither case number nor clerk: a page on a wall is read by everybody."""
        rows = self._store.rows(
            "SELECT id, hall, number, level, pressed_ms, state, reason, words, settled_ms FROM rating"
            " ORDER BY id DESC LIMIT ?",
            (most,),
        )
        return [dict(row) for row in rows]

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
        for row in self._store.rows("SELECT agent, window, fate, count(*) AS n FROM press GROUP BY 1, 2, 3"):
            found.setdefault((row["agent"], row["window"]), {})[f"fate_{row['fate']}"] = row["n"]
        for row in self._store.rows("SELECT agent, window, state, count(*) AS n FROM rating GROUP BY 1, 2, 3"):
            found.setdefault((row["agent"], row["window"]), {})[f"state_{row['state']}"] = row["n"]
        for row in self._store.rows("SELECT agent, window, sum(count) AS n FROM device_count GROUP BY 1, 2"):
            found.setdefault((row["agent"], row["window"]), {})["pressed"] = row["n"]
        return found

    def _states(self, where: str) -> dict[str, int]:
        return self._pairs(f"SELECT state, count(*) FROM rating WHERE {where} GROUP BY state")

    def _pairs(self, sql: str) -> dict[str, int]:
        return {row[0]: row[1] for row in self._store.rows(sql)}

    def _one(self, sql: str) -> int:
        number: int = self._store.row(sql)[0]
        return number


def _balance(states: dict[str, int]) -> dict[str, int]:
    """Received = accepted + parked + waiting, always."""
    return {
        "received": sum(states.values()),
        "accepted": states.get("accepted", 0),
        "parked": states.get("parked", 0),
        "waiting": sum(states.get(state, 0) for state in WAITING),
    }
