"""What each window has done today: its ratings, and the cases closed without one since. Counted from what is new."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from protocols.messages import ClosingRecord

from ..ledger.since import At, Rated, Since, went_unrated
from ..ledger.tally import begins_ms, day_of

_MOST = 20_000  # records in one look: a tenth of a second; a day that is half over is caught up with in a minute


@dataclass
class Done:
    """What one window has done today."""

    ratings: int = 0
    last_ms: int | None = None
    silent: int = 0
    """Cases closed without a rating since the last one."""


class Today:
    """Counts of the day that it is, kept up by `look`."""

    def __init__(self, since: Since):
        self._since = since
        self._day: int | None = None
        self._rating = 0
        self._stretch = 0
        self._done: dict[At, Done] = {}
        self.caught_up = False
        """Whether all closings of the day have been read: nobody is called silent before."""

    def of(self, at: At) -> Done:
        """What this window has done."""
        return self._done.get(at) or Done()

    def look(self, now_ms: int) -> set[At]:
        """Read what is new; the windows of which something is."""
        if day_of(now_ms) != self._day:
            return self._begin(day_of(now_ms))
        rated, self._rating = self._since.ratings(self._rating, _MOST)
        changed = self._rate(each for each in rated if day_of(each.last_ms) == self._day)
        closed, self._stretch, caught_up = self._since.closings(self._stretch, _MOST)
        changed |= {at for agent, closing in closed if (at := self._close(agent, closing))}
        if caught_up and not self.caught_up:
            self.caught_up = True
            return {*self._done}
        return changed

    def _begin(self, day: int) -> set[At]:
        rated, rating = self._since.day(day)
        stretch = self._since.stretch_before(begins_ms(day))
        before = {*self._done}
        # Only now: if the ledger could not be read, the next look begins the day again.
        self._day, self._rating, self._stretch, self._done, self.caught_up = day, rating, stretch, {}, False
        return before | self._rate(rated)

    def _rate(self, rated: Iterable[Rated]) -> set[At]:
        changed = set()
        for each in rated:
            done = self._done.setdefault((each.agent, each.window), Done())
            done.ratings += each.ratings
            done.last_ms = max(each.last_ms, done.last_ms or each.last_ms)
            done.silent = 0
            changed.add((each.agent, each.window))
        return changed

    def _close(self, agent: str, closing: ClosingRecord) -> At | None:
        if not went_unrated(closing) or day_of(closing.closed_ms) != self._day:
            return None
        done = self._done.setdefault((agent, closing.window), Done())
        if closing.closed_ms <= (done.last_ms or 0):
            return None
        done.silent += 1
        return agent, closing.window
