"""The picture of all windows, renewed at most once a second for however many look at it; only what changed is new."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from protocols.messages import WindowHealth

from ..directory import CLIENT, Directory
from ..ledger.since import At, Heard, Since
from .standing import RANK, WELL, Facts, Standing, State, standing
from .today import Done, Today

_FRESH_MS = 500  # and what reading, sending and drawing take: from a change to every screen within a second
_AGAIN = 20  # looks until every window was thought over once: sentences say how old something is
_USUAL_MIN = 20  # ratings of an agent before anything is called usual there
_PAUSE_TIMES = 20  # what counts the whole ledger takes a twentieth of the time at most, however large it is
_PAUSE_MAX_MS = 120_000
_QUICK_MS = 150  # nobody notices that a page took so much longer
_OVERDUE_MS = 20_000
_PAUSE_MIN_MS = 20  # a clock that jumps must not make anybody spin


@dataclass(frozen=True, slots=True)
class Line:
    """One window as it is shown."""

    agent: str
    window: str
    hall: str
    number: str
    device: str
    standing: Standing
    ratings: int
    last_ms: int | None
    oldest_ms: int | None
    """When the oldest record was written that its agent still has, by the centre's clock."""
    version: int = field(compare=False)
    """Of the picture in which it last changed."""


@dataclass(frozen=True, slots=True)
class Agents:
    """How many agents the directory has, how many of them are there, and what all have not handed over yet."""

    placed: int
    online: int
    backlog: int
    oldest_ms: int | None


@dataclass(frozen=True)
class Picture:
    """All windows at one moment, those of a hall together."""

    at_ms: int
    version: int
    order: int
    """Another one when windows came or went: a line's place in `lines` is its name until then."""
    lines: tuple[Line, ...]
    agents: Agents

    def states(self) -> Counter[State]:
        """How many windows are in each state."""
        return Counter(line.standing.state for line in self.lines)

    def troubled(self) -> list[Line]:
        """The windows that need somebody, the worst first."""
        found = [line for line in self.lines if line.standing.state not in WELL]
        return sorted(found, key=lambda line: RANK[line.standing.state])

    def since(self, version: int) -> Iterator[tuple[int, Line]]:
        """The lines that changed after this version, with their places."""
        return ((place, line) for place, line in enumerate(self.lines) if line.version > version)

    def line(self, agent: str, window: str) -> Line | None:
        """That of one window."""
        return next((line for line in self.lines if (line.agent, line.window) == (agent, window)), None)


@dataclass(frozen=True)
class Counted:
    """What only a count of the whole ledger tells."""

    parked: Mapping[At, tuple[int, int]] = field(default_factory=dict)
    keyless: Mapping[At, int] = field(default_factory=dict)
    usual: Mapping[str, float] = field(default_factory=dict)
    """By agent: cases closed for each rating."""


@dataclass
class _Said:
    """What an agent has said of itself, as Facts want it."""

    facts: dict[str, Any] = field(default_factory=dict)
    windows: dict[str, WindowHealth] = field(default_factory=dict)
    mark: tuple[Any, ...] = ()


class Live:
    """Keeps the picture. `count` is asked for what the whole ledger has to be counted for."""

    def __init__(self, since: Since, directory: Directory, now_ms: Callable[[], int], count: Callable[[], Counted]):
        self._since = since
        self._directory = directory
        self._now_ms = now_ms
        self._count = count
        self._lock = threading.Lock()
        self._counter = ThreadPoolExecutor(1, "board-count")
        self._counting = threading.Lock()
        self._under_way: Future[None] | None = None
        self._counted = Counted()
        self._recounted: set[At] = set()
        self._count_from_ms: int | None = None
        self._took_ms = 0
        self._today = Today(since)
        self._said: dict[str, _Said] = {}
        self._placed: dict[str, set[At]] = {}
        for at in directory.places:
            self._placed.setdefault(at[0], set()).add(at)
        self._lines: dict[At, Line] = {}
        self._turn = 0
        self._picture: Picture | None = None
        self._ended = threading.Event()

    def end(self) -> None:
        """Nothing is read any more from when this returns, and a count under way is broken off; streams end."""
        self._ended.set()
        with self._counting:
            pass  # nobody begins another count
        self._counter.shutdown()
        with self._lock:
            pass

    def pause(self, picture: Picture) -> bool:
        """Wait until there may be another picture than this; False as soon as it has ended."""
        left_ms = picture.at_ms + _FRESH_MS - self._now_ms()
        return not self._ended.wait(min(max(left_ms, _PAUSE_MIN_MS), _FRESH_MS) / 1000)

    def look(self, at_once: bool = False) -> Picture:
        """The picture as it is, or was less than a second ago. A long count of the whole ledger goes on beside it: it
        is waited for if there was none for long, and never by somebody who looks again and wants this one `at_once`."""
        self._recount(at_once)
        with self._lock:
            last, at_ms = self._picture, self._now_ms()
            if self._ended.is_set():
                return last or Picture(at_ms, 0, 0, (), self._agents())
            if last is not None and 0 <= at_ms - last.at_ms < _FRESH_MS:
                return last
            try:
                self._picture = self._renewed(last, at_ms)
            finally:
                self._since.rest()
            return self._picture

    def said(self, agent: str, window: str) -> WindowHealth | None:
        """What its agent last said of this window."""
        said = self._said.get(agent)
        return said.windows.get(window) if said is not None else None

    def _recount(self, at_once: bool) -> None:
        """Have counted what has to be counted, if it is time."""
        with self._counting:
            count, at_ms = self._under_way, self._now_ms()
            if self._ended.is_set():
                return
            if count is None or count.done():
                self._under_way = None
                if count is not None:
                    count.result()  # if it failed, whoever looks next is told
                if not self._is_time(at_ms):
                    return
                count = self._under_way = self._counter.submit(self._count_again)
            wait_s = self._wait_s(at_ms, at_once)
        wait([count], wait_s)
        if count.done() and not self._ended.is_set():  # or it was broken off
            with self._counting:
                if self._under_way is count:
                    self._under_way = None
            count.result()

    def _is_time(self, at_ms: int) -> bool:
        from_ms = self._count_from_ms
        # A clock that was set back must not stop it for good.
        return from_ms is None or at_ms >= from_ms or from_ms - at_ms > _PAUSE_MAX_MS

    def _wait_s(self, at_ms: int, at_once: bool) -> float | None:
        """How long the count is waited for; None: until it is there."""
        if self._count_from_ms is None or (not at_once and at_ms - self._count_from_ms >= _OVERDUE_MS):
            return None
        return _QUICK_MS / 1000 if self._took_ms < _QUICK_MS else 0

    def _count_again(self) -> None:
        begun_ms = self._now_ms()
        try:
            # A large ledger is counted for seconds, and whoever ends the collector does not wait for it.
            with self._since.until(self._ended.is_set):
                counted = self._count()
        finally:
            self._since.rest()
        with self._lock:
            self._recounted |= _different(self._counted, counted)
            self._counted = counted
        self._took_ms = max(0, self._now_ms() - begun_ms)
        self._count_from_ms = begun_ms + min(max(_FRESH_MS, _PAUSE_TIMES * self._took_ms), _PAUSE_MAX_MS)

    # ---- what is new

    def _renewed(self, last: Picture | None, at_ms: int) -> Picture:
        heard = {at for each in self._heard() for at in each}
        changed = self._today.look(at_ms) | heard
        if last is None:
            changed |= self._places()
        changed |= self._recounted
        self._recounted = set()
        self._turn = (self._turn + 1) % _AGAIN
        changed |= {at for place, at in enumerate(self._lines) if place % _AGAIN == self._turn}
        version = last.version + 1 if last is not None else 1
        moved, touched = False, False
        for at in changed:
            if at[0].startswith(CLIENT):
                continue
            if self._gone(at):
                if self._lines.pop(at, None) is not None:
                    moved, touched = True, True
                continue
            line = self._line(at, at_ms, version)
            before = self._lines.get(at)
            if before != line:
                moved, touched = moved or before is None, True
                self._lines[at] = line
        if last is not None and not touched:
            return Picture(at_ms, last.version, last.order, last.lines, self._agents())
        if moved:
            self._lines = dict(sorted(self._lines.items(), key=lambda each: _order(each[1])))
        order = version if moved or last is None else last.order
        return Picture(at_ms, version, order, tuple(self._lines.values()), self._agents())

    def _gone(self, at: At) -> bool:
        """Nobody has placed it, its agent does not have it, and there is nothing of it that somebody has to see."""
        return (
            at not in self._directory.places
            and self.said(*at) is None
            and at not in self._counted.parked
            and at not in self._counted.keyless
            and self._today.of(at) == Done()
        )

    def _heard(self) -> Iterator[set[At]]:
        """The windows of each agent that has spoken, those among them that it had before."""
        for each in self._since.heard({agent: said.mark for agent, said in self._said.items()}):
            before = self._windows_of(each.agent) if each.agent in self._said else set()
            self._said[each.agent] = _said(each)
            yield before | self._windows_of(each.agent)

    def _windows_of(self, agent: str) -> set[At]:
        if self._picture is None:
            return set()  # all are new anyway
        return {(agent, window) for window in self._said[agent].windows} | self._placed.get(agent, set())

    def _places(self) -> set[At]:
        said = {(agent, window) for agent, said in self._said.items() for window in said.windows}
        return {*self._directory.places, *said}

    def _line(self, at: At, at_ms: int, version: int) -> Line:
        place = self._directory.places.get(at)
        said = self._said.get(at[0]) or _Said()
        health = said.windows.get(at[1])
        done = self._today.of(at)
        parked, parked_bad = self._counted.parked.get(at, (0, 0))
        facts = Facts(
            placed=place is not None,
            said=health.state if health else "",
            said_ms=health.since_ms if health else 0,
            detail=health.detail if health else "",
            keyless=self._counted.keyless.get(at),
            parked=parked,
            parked_bad=parked_bad,
            ratings=done.ratings,
            last_rating_ms=done.last_ms,
            silent=done.silent if self._today.caught_up else 0,
            usual=self._counted.usual.get(at[0]),
            **said.facts,
        )
        oldest_ms = facts.oldest_ms - facts.clock_off_ms if facts.backlog and facts.oldest_ms is not None else None
        return Line(
            *at,
            place.hall if place else "",
            place.number if place else "",
            place.device if place else (health.device if health else ""),
            standing(facts, at_ms),
            done.ratings,
            done.last_ms,
            oldest_ms,
            version,
        )

    def _agents(self) -> Agents:
        facts = [said.facts for said in self._said.values()]
        behind = [each for each in facts if each.get("backlog") and each.get("oldest_ms") is not None]
        return Agents(
            len(self._directory.agents),
            sum(self._said[each].facts.get("online") is True for each in self._directory.agents if each in self._said),
            sum(each.get("backlog", 0) for each in facts),
            min((each["oldest_ms"] - each["clock_off_ms"] for each in behind), default=None),
        )


def _different(before: Counted, now: Counted) -> set[At]:
    """The windows of which something else was counted. What is usual changes slowly: each is thought over in turn."""
    found: set[At] = set()
    for old, new in ((before.parked, now.parked), (before.keyless, now.keyless)):
        found |= {at for at in {*old, *new} if old.get(at) != new.get(at)}
    return found


def usual(closed: Mapping[str, int], ratings: Mapping[str, int]) -> dict[str, float]:
    """How many cases are closed for each rating, by agent, where enough is known to say so."""
    return {agent: max(1.0, closed.get(agent, 0) / n) for agent, n in ratings.items() if n >= _USUAL_MIN}


def _said(heard: Heard) -> _Said:
    status, health = heard.status, heard.health
    facts: dict[str, Any] = {
        "online": status.online if status else None,
        "online_ms": heard.status_ms,
        "heard_ms": heard.health_ms,
    }
    if health is not None and heard.health_ms is not None:
        facts |= {
            "clock_off_ms": health.at_ms - heard.health_ms,
            "alarm": health.alarm,
            "backlog": health.backlog,
            "oldest_ms": health.oldest_ms,
        }
    windows = {each.window: each for each in health.windows} if health else {}
    return _Said(facts, windows, heard.mark)


def _order(line: Line) -> tuple[Any, ...]:
    """Halls together, their windows as a person counts them, what nobody has placed at the end."""
    parts = re.findall(r"0*([0-9]+)|([^0-9]+)", line.number or line.window)
    # Nothing is reckoned with them: an agent may say any name, ① or a number that is too long for it.
    natural = tuple((0, len(digits), digits) if digits else (1, 0, text) for digits, text in parts)
    return not line.hall, line.hall, natural, line.agent, line.window
