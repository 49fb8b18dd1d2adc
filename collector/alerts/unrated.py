"""Windows at which cases are closed and nobody rates: counted from what is new in the ledger."""

from __future__ import annotations

from collections.abc import Iterable

from protocols.messages import ClosingRecord

from ..directory import Directory
from ..ledger.since import At, Rated, Since, went_unrated
from ..ledger.tally import day_of
from .facts import Unrated
from .hours import Hours

_MOST = 20_000  # records in one look: a tenth of a second


class Watch:
    """Tells a window of which the last `cases` closed ones within `hours` of opening were not rated. `cases` 0: none is
    told. Kept up by `look`, which one thread calls."""

    def __init__(self, since: Since, directory: Directory, office: Hours, cases: int, hours: int):
        self._since = since
        self._directory = directory
        self._office = office
        self._cases = cases
        self._hours = hours
        self._stretch: int | None = None
        self._rating = 0
        self._rated_ms: dict[At, int] = {}
        self._closed_ms: dict[At, list[int]] = {}

    def look(self, now_ms: int) -> tuple[Unrated, ...]:
        """Those of which it is so now; none before all that is to be read was read."""
        if not self._cases:
            return ()
        from_ms = self._office.back_ms(now_ms, self._hours * 3_600_000)
        if self._stretch is None:
            self._begin(from_ms, now_ms)
        rated, self._rating = self._since.ratings(self._rating, _MOST)
        self._rate(rated)
        closed, self._stretch, caught_up = self._since.closings(self._stretch or 0, _MOST)
        for agent, closing in closed:
            self._close(agent, closing)
        if not caught_up or len(rated) >= _MOST:
            return ()
        return tuple(found for at in self._closed_ms if (found := self._of(at, from_ms)) is not None)

    def _begin(self, from_ms: int, now_ms: int) -> None:
        self._stretch = self._since.stretch_before(from_ms)
        days = [self._since.day(day) for day in range(day_of(from_ms), day_of(now_ms) + 1)]
        # From the first of these looks on: what came while the days behind it were read may be of one read before.
        self._rating = days[0][1]
        for rated, _ in days:
            self._rate(rated)

    def _rate(self, rated: Iterable[Rated]) -> None:
        for each in rated:
            at = (each.agent, each.window)
            self._rated_ms[at] = max(each.last_ms, self._rated_ms.get(at, 0))

    def _close(self, agent: str, closing: ClosingRecord) -> None:
        at = (agent, closing.window)
        if went_unrated(closing) and at in self._directory.places:
            self._closed_ms.setdefault(at, []).append(closing.closed_ms)

    def _of(self, at: At, from_ms: int) -> Unrated | None:
        after_ms = max(from_ms, self._rated_ms.get(at, 0) + 1)
        closed_ms = self._closed_ms[at] = [each for each in self._closed_ms[at] if each >= after_ms]
        if len(closed_ms) < self._cases:
            return None
        place = self._directory.places[at]
        return Unrated(*at, place.hall, place.number, len(closed_ms), self._hours, min(closed_ms))
