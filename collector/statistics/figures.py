"""Figures of a period: what was rated, how well, how many were asked, and how bad ratings were mended.

Each figure says what it is of; a rate of nothing is None and never 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from protocols.ratings import Level

from ..ledger.tally import day_text

By = Literal["hall", "window", "item", "clerk", "channel", "day", "month"]
BYS: tuple[str, ...] = By.__args__  # type: ignore[attr-defined]
SMALL = 10
"""A clerk with fewer ratings gets counts and no rates: one citizen more or less would say too much about a person."""
LEVELS = tuple(level.value for level in Level)
_GOOD = tuple(level.value for level in Level if not level.bad)
_DAY_MS = 86_400_000


class Where(NamedTuple):
    """What a rating or an invitation is counted under; what is not asked for stays empty."""

    day: int = 0
    hall: str = ""
    number: str = ""
    clerk: str = ""
    channel: str = ""
    item: str = ""


class Mended(NamedTuple):
    """How a bad rating stands: closed in time or not, still open, overdue; what it was found to be."""

    standing: Literal["in_time", "late", "open", "overdue"]
    finding: str
    took_ms: int
    """From the press to the approval; 0 while it is open."""


@dataclass
class Counts:
    """What is counted, from any source; two sources agree when these are equal."""

    levels: Counter[tuple[Where, str]] = field(default_factory=Counter)
    """Ratings by where and level."""
    asked: Counter[tuple[Where, bool]] = field(default_factory=Counter)
    """Invitations that ended, by where and whether they were rated."""
    mended: Counter[tuple[Where, Mended]] = field(default_factory=Counter)
    """Bad ratings by where and how they stand."""


def lines(counts: Counts, by: By) -> list[dict[str, Any]]:
    """A line for each hall, window, …: in the order of their names, days in theirs."""
    groups: dict[tuple[str, ...], Counts] = {}

    def of(where: Where) -> Counts:
        return groups.setdefault(key(where, by), Counts())

    for (where, level), number in counts.levels.items():
        of(where).levels[Where(), level] += number
    for (where, rated), number in counts.asked.items():
        of(where).asked[Where(), rated] += number
    for (where, mended), number in counts.mended.items():
        of(where).mended[Where(), mended] += number
    return [_named(group, by) | figures(groups[group], by == "clerk") for group in sorted(groups)]


def key(where: Where, by: By) -> tuple[str, ...]:
    """What its line is called."""
    match by:
        case "hall":
            return (where.hall,)
        case "window":
            return (where.hall, where.number)
        case "item":
            return (where.item,)
        case "clerk":
            return (where.hall, where.clerk)
        case "channel":
            return (where.channel,)
        case "day":
            return (day_text(where.day),)
        case "month":
            return (day_text(where.day)[:7],)


def _named(group: tuple[str, ...], by: By) -> dict[str, str]:
    names = ("hall", by) if len(group) == 2 else (by,)
    return dict(zip(names, group, strict=True))


def figures(counts: Counts, private: bool = False) -> dict[str, Any]:
    """The figures of all that is counted here; `private`: of one person, who gets no rates of a few ratings."""
    levels = _summed(counts.levels)
    asked = _summed(counts.asked)
    standing: Counter[str] = Counter()
    found: Counter[str] = Counter()
    took_ms = 0
    for (_, mended), number in counts.mended.items():
        standing[mended.standing] += number
        found[mended.finding] += number
        took_ms += mended.took_ms * number
    ratings, good = levels.total(), sum(levels[level] for level in _GOOD)
    closed = standing["in_time"] + standing["late"]
    rates = {
        "good_rate": _rate(good, ratings),
        "coverage": _rate(asked[True], asked.total()),
        "in_time_rate": _rate(standing["in_time"], closed + standing["overdue"]),
        "days_to_mend": rounded(took_ms, closed * _DAY_MS, 1) if closed else None,
    }
    if private and ratings < SMALL:
        rates = dict.fromkeys(rates)
    return {
        "ratings": ratings,
        **{level: levels[level] for level in LEVELS},
        "good": good,
        "bad": ratings - good,
        "mistaken": found["mistaken"],
        "malicious": found["malicious"],
        "asked": asked.total(),
        "asked_rated": asked[True],
        "mended_in_time": standing["in_time"],
        "mended_late": standing["late"],
        "mending": standing["open"],
        "overdue": standing["overdue"],
        **rates,
    }


def _summed(counter: Mapping[tuple[Where, Any], int]) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for (_, what), number in counter.items():
        found[what] += number
    return found


def _rate(part: int, whole: int) -> float | None:
    return rounded(part, whole, 3) if whole else None


def rounded(part: int, whole: int, places: int) -> float:
    """`part` of `whole` with so many places, half up and once: whoever reckons it again from the counts beside it gets
    the very figure that the pages, the tables and the API say."""
    scale = 10.0**places
    return (2 * part * int(scale) + whole) // (2 * whole) / scale


def differences(one: Counts, other: Counts) -> Iterable[str]:
    """Which of the three kinds of counts differ."""
    for name in ("levels", "asked", "mended"):
        if +getattr(one, name) != +getattr(other, name):
            yield name
