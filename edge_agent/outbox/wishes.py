"""Invitations that were to end, and whose end could not be written down for want of room: whoever presses from then on
is another citizen. Known as long as this process lives; the business system asks again until it is answered."""

from __future__ import annotations

from typing import NamedTuple

from protocols.ratings import Moment, Outcome, Press

from .invitations import Kept


class Wish(NamedTuple):
    """How an invitation was to end, and when that was asked first."""

    invitation: str
    outcome: Outcome
    moment: Moment


class Wishes:
    """At most one of each window."""

    def __init__(self) -> None:
        self._wishes: dict[str, Wish] = {}

    def note(self, kept: Kept, outcome: Outcome, moment: Moment) -> None:
        """It was to end so, and could not."""
        if self.of(kept) is None:
            self._wishes[kept.window] = Wish(kept.id, outcome, moment)

    def of(self, kept: Kept) -> Wish | None:
        """How this one was to end."""
        wish = self._wishes.get(kept.window)
        return wish if wish is not None and wish.invitation == kept.id else None

    def is_later(self, kept: Kept, press: Press, moment: Moment) -> bool:
        """Whether this press may have been made after that one was to end, also on a page that shows it still."""
        wish = self.of(kept)
        return wish is not None and moment.mono_ms - press.age_ms >= wish.moment.mono_ms
