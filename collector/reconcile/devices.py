"""Presses that a device has counted and nobody received: how many, of which day, and where they are.

A device that counts says so itself, independently of every record. A number of it that is not in the ledger is found by
counting alone; its name comes from what agents and devices say. What nothing accounts for stays unexplained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from ..ledger.days import At, Boot, Counted

_K = TypeVar("_K")
_Place = Literal["thanked", "between", "held", "first"]
# Where a number is missing, in the order in which what waits or was lost accounts for it: a device sends a press only
# after the one before was acknowledged, so all but `held` were certainly on some disk.
_ORDER: tuple[_Place, ...] = ("thanked", "between", "held", "first")


@dataclass(frozen=True)
class Hole:
    """Numbers of one boot that are missing. `number` is negative where more were received than it can have."""

    at: At
    number: int
    place: _Place
    rebooted: bool
    """The device has started anew since: what it held is gone."""


def holes(boot: Boot) -> list[Hole]:
    """All numbers that are missing; with those received they are what the device has counted."""
    rows = [each for each in boot.received if each.first is not None and each.last is not None]
    rows.sort(key=lambda row: (row.first, row.last))
    found: list[Hole] = []

    def miss(at: At, number: int, place: _Place) -> None:
        if number:
            found.append(Hole(at, number, place, not boot.is_last))

    top = -1 if rows and rows[0].first == 0 else 0  # a page may count from nought
    for cluster in _clusters(rows):
        first, last = cluster[0].first or 0, max(row.last or 0 for row in cluster)
        # Nobody knows the day of a press that nobody has: it is counted in that of the next one.
        before = max(min(first - 1, boot.met) - max(top, 0), 0)
        miss(cluster[0].at, before, "first")
        miss(cluster[0].at, first - top - 1 - before, "between")
        within = last - first + 1 - sum(row.fresh for row in cluster)
        miss(max(cluster, key=_missing).at, within, "between")
        top = last
    at, top = boot.said_at or (rows[-1].at if rows else None), max(top, 0)
    if at is not None and boot.said > top:
        thanked = max(min(boot.said, boot.thanked), top)
        before = max(min(thanked, boot.met) - top, 0)
        miss(at, before, "first")
        miss(at, thanked - top - before, "thanked")
        miss(at, boot.said - thanked, "held")
    return found


def _clusters(rows: list[Counted]) -> list[list[Counted]]:
    """Rows whose numbers lie within one another's, as where a clock was set back or a device went to and fro."""
    found: list[list[Counted]] = []
    last = -1
    for row in rows:
        if found and (row.first or 0) <= last:
            found[-1].append(row)
        else:
            found.append([row])
        last = max(last, row.last or 0)
    return found


def _missing(row: Counted) -> int:
    return (row.last or 0) - (row.first or 0) + 1 - row.fresh


def named(
    found: list[Hole], in_flight: dict[tuple[str, str], int], lacking: dict[str, Counter[str]]
) -> dict[At, Counter[str]]:
    """The reasons for these holes, by day and window.

    `in_flight`: presses of each agent and window that are in its outbox. `lacking`: records of each agent that the
    ledger cannot have or read, by reason, the surest first. Each is used up: one record does not explain two presses.
    """
    waiting, pool = dict(in_flight), {agent: Counter(reasons) for agent, reasons in lacking.items()}
    reasons: dict[At, Counter[str]] = {}
    # The newest first: what is in flight is rather of today than of last year.
    for hole in sorted(found, key=lambda hole: (_ORDER.index(hole.place), -hole.at.day, hole.at)):
        at, left = hole.at, hole.number
        mine = reasons.setdefault(at, Counter())
        if left > 0:
            left -= _use(mine, "in_flight", left, waiting, (at.agent, at.window))
        if left > 0 and hole.place not in ("held", "first"):
            for reason in list(pool.get(at.agent, ())):
                left -= _use(mine, reason, left, pool[at.agent], reason)
        if left:
            mine[_rest(hole) if left > 0 else "unexplained"] += left
    return reasons


def _use(mine: Counter[str], reason: str, wanted: int, source: MutableMapping[_K, int], key: _K) -> int:
    used = min(wanted, source.get(key, 0))
    if used:
        source[key] -= used
        mine[reason] += used
    return used


def _rest(hole: Hole) -> str:
    match hole.place:
        case "held":
            return "device_rebooted" if hole.rebooted else "in_device"
        case "first":
            return "before_first"
        case _:
            return "unexplained"
