"""What the board and the API show of everything, counted from the whole ledger, of one moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..directory import Directory, Place
from ..ledger.overview import Overview
from ..reconcile import reconcile
from ..reconcile.words import REASONS as DIFFERENCES
from ..windows.live import Counted, usual
from .keyless import unconfirmed
from .words import EVIDENCE, REASONS, said


class Shown:
    """What the pages show, of one moment. `last` is what was counted last. `at_desk`: how many the desk lists for a
    reason, or for all."""

    def __init__(
        self,
        overview: Overview,
        directory: Directory,
        now_ms: Callable[[], int],
        checkpoint: Callable[[], dict[str, Any] | None],
        at_desk: Callable[[str], int],
    ):
        self._at_desk = at_desk
        self._checkpoint = checkpoint
        self._overview = overview
        self._directory = directory
        self._now_ms = now_ms
        self.last: dict[str, Any] = {}

    def count(self) -> Counted:
        """Count again; what the windows' own lines need of it."""
        with self._overview.moment():
            found = self.now()
            parked, closed = self._overview.since.parked(), self._overview.since.cases_closed()
        found["keyless"] = [line for line in found["windows"] if line["unconfirmed"]]
        self.last = found
        keyless: dict[tuple[str, str], int] = {}
        ratings: dict[str, int] = {}
        for line in self.last["windows"]:
            if line["unconfirmed"]:
                keyless[line["agent"], line["window"]] = sum(each["presses"] for each in line["unconfirmed"])
            ratings[line["agent"]] = ratings.get(line["agent"], 0) + line["ratings"]
        return Counted(parked, keyless, usual(closed, ratings))

    def of(self, agent: str, window: str) -> dict[str, Any]:
        """The last counts of one window."""
        found = self.last["windows"]
        return next((each for each in found if (each["agent"], each["window"]) == (agent, window)), {})

    def now(self) -> dict[str, Any]:
        """`summary`, `windows` with their health, the agents' `alarms`, and the last `ratings`."""
        with self._overview.moment():
            at_ms = self._now_ms()
            agents = self._overview.agents()
            found = reconcile(self._overview, self._directory, agents)
            health = _health(agents)
            unratable = in_words(self._overview.unratable())
            keyless = unconfirmed(found["windows"], unratable, self._overview, self._directory)
            return {
                "summary": {
                    "at_ms": at_ms,
                    **self._overview.counts(),
                    "all": found["all"],
                    "backlog": _backlog(agents),
                    "checkpoint": self._checkpoint(),
                },
                "windows": [
                    {**line, **health.get(at, _UNKNOWN), "unconfirmed": keyless.get(at, [])}
                    for line in found["windows"]
                    for at in [(line["agent"], line["window"])]
                ],
                "ratings": [
                    {**row, "placed": (row["agent"], row["window"]) in self._directory.places}
                    for row in self._overview.last_ratings(12)
                ],
                "parked": [{**row, "cure": _cure(row["reason"])} for row in self._overview.parked(12)],
                "unratable": unratable,
                "alarms": _alarms(agents, self._directory),
                "desk": {"all": self._at_desk(""), "awaiting": self._at_desk("awaiting_case")},
            }


def in_words(unratable: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each with its reason as a person says it."""
    return [{**row, "words": said(REASONS, row["reason"])} for row in unratable]


def _cure(reason: str) -> str:
    return DIFFERENCES[reason].cure if reason in DIFFERENCES else ""


_UNKNOWN: dict[str, Any] = {
    "state": "unknown",
    "detail": "",
    "since_ms": None,
    "profile": "",
    "evidence": "",
    "evidence_words": "",
    "not_taken": 0,
}


def _health(agents: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (agent["agent"], window["window"]): {
            "state": window["state"] if (agent["status"] or {}).get("online") else "agent_away",
            "detail": window.get("detail", ""),
            "since_ms": window.get("since_ms"),
            "profile": window.get("profile", ""),
            "evidence": window.get("evidence", ""),
            "evidence_words": said(EVIDENCE, window.get("evidence", "")),
            "not_taken": window.get("not_taken", 0),
        }
        for agent in agents
        if agent["health"]
        for window in agent["health"]["windows"]
    }


def _backlog(agents: list[dict[str, Any]]) -> dict[str, Any]:
    healths = [agent["health"] for agent in agents if agent["health"]]
    oldest = [health["oldest_ms"] for health in healths if health.get("oldest_ms") is not None]
    return {
        "records": sum(health.get("backlog", 0) for health in healths),
        "oldest_ms": min(oldest) if oldest else None,
        # Whose it is first: somebody has to go there.
        "alarms": [
            f"{agent['agent']}: {agent['health']['alarm']}"
            for agent in agents
            if agent["health"] and agent["health"].get("alarm")
        ],
    }


def _alarms(agents: list[dict[str, Any]], directory: Directory) -> list[dict[str, Any]]:
    """Each agent with an alarm: its words, and the windows at which it stands, where the directory has them."""
    found = {agent["agent"]: agent["health"].get("alarm", "") for agent in agents if agent["health"]}
    places: dict[str, list[Place]] = {agent: [] for agent, words in found.items() if words}
    if places:
        for place in directory.places.values():
            if place.agent in places:
                places[place.agent].append(place)
    return [{"agent": agent, "words": found[agent], "places": its} for agent, its in places.items()]
