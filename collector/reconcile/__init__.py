"""The counts that must agree, per window and in all: pressed, in the outbox, in the ledger, and what became of it."""

from __future__ import annotations

from typing import Any

from ..directory import Directory
from ..ledger.overview import Overview

KEYS = (
    "pressed",
    "in_outbox",
    "in_ledger",
    "ratings",
    "accepted",
    "parked",
    "waiting",
    "unsolicited",
    "repeat",
    "duplicate",
    "undatable",
    "unratable",
)
_NAMED = ("rated", "unsolicited", "repeat", "duplicate", "undatable")


def reconcile(overview: Overview, directory: Directory, agents: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """`{"windows": [{agent, window, hall, number, …}], "all": {…}}` with the counts of KEYS.

    `pressed` is what the devices count (all presses, with or without an invitation; of a device that lost power also
    those that it never got rid of); `in_outbox` is what the agents said last. `in_ledger` counts press records, and
    `ratings` = accepted + parked + waiting. `undatable` may be from before the invitation that was open when their
    bytes came and are never rated; `unratable` have no meaning yet. `agents`: what the overview says of them, if known.
    """
    with overview.moment():
        found = overview.per_window()
        outboxes = _outboxes(overview.agents() if agents is None else agents)
    places = directory.places
    windows = []
    for key in sorted({*found, *outboxes, *places}):
        place = places.get(key)
        windows.append(
            {
                "agent": key[0],
                "window": key[1],
                "hall": place.hall if place else None,
                "number": place.number if place else None,
                **_line(found.get(key, {}), outboxes.get(key, 0)),
            }
        )
    return {"windows": windows, "all": {key: sum(each[key] for each in windows) for key in KEYS}}


def _line(found: dict[str, int], in_outbox: int) -> dict[str, int]:
    fates = {name.removeprefix("fate_"): count for name, count in found.items() if name.startswith("fate_")}
    waiting = found.get("state_due", 0) + found.get("state_awaiting_case", 0)
    accepted, parked = found.get("state_accepted", 0), found.get("state_parked", 0)
    return {
        "pressed": found.get("pressed", 0),
        "in_outbox": in_outbox,
        "in_ledger": sum(fates.values()),
        "ratings": accepted + parked + waiting,
        "accepted": accepted,
        "parked": parked,
        "waiting": waiting,
        "unsolicited": fates.get("unsolicited", 0),
        "repeat": fates.get("repeat", 0),
        "duplicate": fates.get("duplicate", 0),
        "undatable": fates.get("undatable", 0),
        "unratable": sum(count for fate, count in fates.items() if fate not in _NAMED),
    }


def _outboxes(agents: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    return {
        (agent["agent"], window["window"]): window.get("waiting", 0)
        for agent in agents
        if agent["health"]
        for window in agent["health"]["windows"]
    }
