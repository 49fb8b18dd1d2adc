"""Device = records = ledger = province, per day and window, and a named reason for every difference.

Four counts, and who says each:

    device    what the devices have counted, by their own word (beats) and by the numbers of their presses
    records   press records that came in the agents' chains, counted when they were taken
    ledger    press rows, by what became of them
    province  ratings by state; what was accepted is what the province said

A difference is computed from two of them, and is the sum of its reasons; whatever remains is `unexplained`, with where
and how much. It is never added to another reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from ..directory import Directory
from ..ledger.days import FIRST, LAST, At, Chain, Counted, Days
from ..ledger.tally import day_number, day_of, day_text
from .devices import holes, named

_BORN = day_number("2020-01-01")  # no press is older than this program
NUMBERS = ("device", "not_counting", "records", "ledger", "ratings", "accepted", "parked", "waiting")

Line = dict[str, Any]


def balance(
    days: Days, directory: Directory, now_ms: int, first: int | None = None, last: int | None = None, window: str = ""
) -> dict[str, Any]:
    """The comparison for these days (all of them if not given), as JSON:

    `unexplained`: how much in all does not add up, 0 if everything does. `ratings` and `bad`: received = accepted +
    parked + waiting. `total` and `days`: a line each (see `_line`), newest first. `agents`: see `_agent`.
    `clock_wrong`: presses dated where no clock that is right would date them. `window`: only lines of this one, as
    `window` or `agent/window`.
    """
    first, last = FIRST if first is None else first, LAST if last is None else last
    with days.moment():
        healths, chains = days.healths(), days.chains()
        agents = [_agent(each, chains, healths.get(each), now_ms) for each in _names(chains, healths)]
        in_flight = _in_flight(days, healths, agents)
        lacking = {each["agent"]: Counter({key: each[key] for key in _POOLS if each[key]}) for each in agents}
        wanted = sorted({agent for agent, _ in in_flight} | {agent for agent, pool in lacking.items() if pool})
        missing = [hole for boot in days.boots(first, last, wanted) for hole in holes(boot)]
        counted = days.counted(first, last)
        reasons = named(missing, in_flight, lacking)
        fates = days.presses(first, last)
        kept = days.counted_ratings(first, last)
        rows = _by_at(days.ratings(first, last))
        strange = days.outside(_BORN, day_of(now_ms))
    today = day_of(now_ms)
    lines = [
        _line(
            at,
            directory,
            today,
            counted.get(at, []),
            Counter(reasons.get(at)),
            fates.get(at, Counter()),
            kept.get(at, Counter()),
            rows.get(at, []),
        )
        for at in sorted({*counted, *reasons, *fates, *kept, *rows}, key=_order)
        if first <= at.day <= last and window in ("", at.window, f"{at.agent}/{at.window}")
    ]
    if window:
        here = {line["agent"] for line in lines}
        agents = [each for each in agents if each["agent"] in here]
    total = _total(lines)
    return {
        "zone": "UTC+8",
        "from": day_text(first) if first > FIRST else None,
        "to": day_text(last) if last < LAST else None,
        "at_ms": now_ms,
        "unexplained": _amount([*lines, *agents]),
        "ratings": total["all_ratings"],
        "bad": total["bad"],
        "clock_wrong": strange,
        "total": total,
        "days": lines,
        "agents": agents,
    }


def _order(at: At) -> tuple[int, str, str]:
    return -at.day, at.agent, at.window


def _names(chains: list[Chain], healths: dict[str, Any]) -> list[str]:
    return sorted({chain.agent for chain in chains} | set(healths))


def _by_at(rows: Iterable[tuple[At, Any]]) -> dict[At, list[Any]]:
    found: dict[At, list[Any]] = {}
    for at, row in rows:
        found.setdefault(at, []).append(row)
    return found


# ---- one day at one window


def _line(
    at: At,
    directory: Directory,
    today: int,
    counted: list[Counted],
    missing: Counter[str],
    fates: Counter[str],
    kept: Counter[tuple[bool, str]],
    rows: list[Any],
) -> Line:
    """A line: the counts of NUMBERS, `bad` and `all_ratings` (received, accepted, parked, waiting), three `differences`
    with their reasons (first less second = sum of the reasons + what is unexplained of it), `accepted_notes`, and
    `unexplained` by place. `device` is None where no device counts.
    """
    place = directory.places.get((at.agent, at.window))
    unexplained: Counter[str] = Counter({"device": missing.pop("unexplained", 0)})
    own = [each for each in counted if each.counts]
    records, doubled = sum(each.presses for each in counted), sum(each.doubled for each in counted)
    more = {
        "not_counting": -sum(each.presses for each in counted if not each.counts),
        "duplicate": -sum(each.doubled for each in own),
        "reused": -sum(each.reused for each in own),
    }
    device = None
    if own or missing or unexplained["device"]:
        device = sum(each.fresh for each in own) + missing.total() + unexplained["device"]
    ledger = fates.total()
    unexplained["presses"] = records - ledger
    if doubled != fates["duplicate"] and records == ledger:
        unexplained["duplicates"] = doubled - fates["duplicate"]
    ratings = sum(row["n"] for row in rows)
    unexplained["ratings"] = fates["rated"] - ratings
    states: Counter[tuple[bool, str]] = Counter()
    for row in rows:
        states[bool(row["bad"]), row["state"]] += row["n"]
    for bad, state in {*states, *kept}:
        unexplained[f"bad_{state}" if bad else state] += kept[bad, state] - states[bad, state]
    reasons: Counter[str] = Counter()
    for row in rows:
        if row["state"] != "accepted":
            reasons[row["reason"] if row["state"] == "parked" else row["state"]] += row["n"]
    return {
        "day": day_text(at.day),
        "agent": at.agent,
        "window": at.window,
        "hall": place.hall if place else None,
        "number": place.number if place else None,
        "clock_wrong": not _BORN <= at.day <= today,
        "device": device,
        "not_counting": -more["not_counting"],
        "records": records,
        "ledger": ledger,
        "ratings": ratings,
        **_states(states, (False, True)),
        "all_ratings": {"received": kept.total(), **_states(states, (False, True))},
        "bad": {
            "received": sum(number for (bad, _), number in kept.items() if bad),
            **_states(states, (True,)),
        },
        "differences": {
            "device_records": _without_noughts({**missing, **more}),
            "ledger_ratings": _without_noughts({key: number for key, number in fates.items() if key != "rated"}),
            "ratings_accepted": _without_noughts(reasons),
        },
        "accepted_notes": _without_noughts(
            {
                "said_duplicate": sum(row["n"] for row in rows if row["duplicate"] and not row["flagged"]),
                "flagged": sum(row["n"] for row in rows if row["flagged"]),
            }
        ),
        "unexplained": _without_noughts(unexplained),
    }


def _states(states: Counter[tuple[bool, str]], which: tuple[bool, ...]) -> dict[str, int]:
    by_state: Counter[str] = Counter()
    for (bad, state), number in states.items():
        if bad in which:
            by_state[state] += number
    accepted, parked = by_state.pop("accepted", 0), by_state.pop("parked", 0)
    return {"accepted": accepted, "parked": parked, "waiting": by_state.total()}


def _without_noughts(numbers: dict[str, int]) -> dict[str, int]:
    return {key: number for key, number in sorted(numbers.items()) if number}


def _total(lines: list[Line]) -> Line:
    """The sum of these lines. What is unexplained is added up without its sign: too many here and too few there are two
    mistakes."""
    total: Line = {key: sum(line[key] or 0 for line in lines) for key in NUMBERS}
    if all(line["device"] is None for line in lines):
        total["device"] = None
    for key in ("all_ratings", "bad"):
        total[key] = dict.fromkeys(("received", "accepted", "parked", "waiting"), 0) | _sum(line[key] for line in lines)
    names = ("device_records", "ledger_ratings", "ratings_accepted")
    total["differences"] = {name: _sum(line["differences"][name] for line in lines) for name in names}
    total["accepted_notes"] = _sum(line["accepted_notes"] for line in lines)
    total["unexplained"] = _sum({key: abs(n) for key, n in line["unexplained"].items()} for line in lines)
    return total


def _sum(each: Iterable[dict[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for numbers in each:
        for key, number in numbers.items():
            found[key] = found.get(key, 0) + number
    return dict(sorted(found.items()))


def _amount(lines: list[Line]) -> int:
    return sum(abs(number) for line in lines for number in line["unexplained"].values())


# ---- the agents

_POOLS = ("unreadable", "loss", "gap", "epoch_lost")  # what is known most surely comes first


def _agent(name: str, chains: list[Chain], health: dict[str, Any] | None, now_ms: int) -> Line:
    """What an agent has written (`written`), by its own word, and where those records are: written = received +
    in_flight + gap + loss + epoch_lost + sent_again, and received is the sum of `kinds` + what is unexplained.

    `sent_again`: of a damaged outbox, came in the next one. `in_flight_since_ms`, `heard_ms`: when the oldest of them
    was written, and when the agent was last heard. `epochs`: how many outboxes it has had.
    """
    mine = [chain for chain in chains if chain.agent == name]
    now = health["epoch"] if health else None
    found = dict.fromkeys(("written", "received", "in_flight", "gap", "loss", "epoch_lost", "sent_again"), 0)
    kinds: Counter[str] = Counter()
    unexplained = 0
    for chain in mine:
        kinds.update(chain.kinds)
        unexplained += chain.upto - chain.gap - sum(chain.kinds.values())
        found["received"] += chain.upto - chain.gap
        found["gap"] += chain.gap
        read = max((chain.salvaged or 0) - chain.upto, chain.lost)
        found["loss"] += chain.lost
        found["sent_again"] += read - chain.lost
        rest = max(chain.told - chain.upto - read, 0)
        found["in_flight" if chain.epoch == now else "epoch_lost"] += rest
        found["written"] += chain.upto + read + rest
    if health and not health.get("tip"):
        found["in_flight"] = health.get("backlog", 0)  # an older agent: as it was when it said so
        found["written"] += found["in_flight"]
    return {
        "agent": name,
        "epochs": sum(1 for chain in mine if chain.upto),
        **found,
        "kinds": dict(kinds),
        "unreadable": kinds["other"],
        "in_flight_since_ms": health.get("oldest_ms") if health and found["in_flight"] else None,
        "heard_ms": health["heard_ms"] if health else None,
        "windows": {},
        "unexplained": {"records": unexplained} if unexplained else {},
    }


def _in_flight(days: Days, healths: dict[str, dict[str, Any]], agents: list[Line]) -> dict[tuple[str, str], int]:
    """Presses in the agents' outboxes by window, and put into `windows` of each agent too.

    An agent says how many wait; those of them that have come since are taken off.
    """
    found: dict[tuple[str, str], int] = {}
    for agent in agents:
        health = healths.get(agent["agent"])
        if health is None or not agent["in_flight"]:
            continue
        arrived: Counter[str] = Counter()
        if tip := health.get("tip", 0):
            arrived = days.arrived(health["epoch"], tip - health.get("backlog", 0), tip)
        for window in health["windows"]:
            left = min(window.get("waiting", 0) - arrived[window["window"]], agent["in_flight"])
            if left > 0:
                found[agent["agent"], window["window"]] = agent["windows"][window["window"]] = left
    return found
