"""From what is found to be wrong to what is open, and who is told of it when: no I/O, no clock.

`decide` is asked again and again with what is found now and what was open before. One cause is one alert, however often
it is found. What comes and goes is one alert too, told as such once. Whoever was told that something is wrong is told
when it is right again, and nobody else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Literal

from .hours import ALWAYS, Hours
from .kinds import BAD_RATING, KINDS, WEIGHTS, Weight

What = Literal["opened", "flapping", "reminded", "resolved"]

CALM_MS = 60_000  # so long something has to be right before anybody is told that it is
FLAP_MS = 30 * 60_000  # what is wrong again within this time is the same alert
FLAPS = 3  # so often within that time: it is told as coming and going, and needs FLAP_MS of calm to be right
EVENT_MS = 24 * 3_600_000  # an event is shown for so long, once more from when somebody took it
EVENT_MAX_MS = 7 * EVENT_MS  # and for so long at most it waits for the hours in which it may be told


@dataclass(frozen=True)
class Found:
    """Something that is wrong just now. `cause` is what makes it one alert, `part_of` a greater cause that it is told
    with. `words` are `Chinese / English`, without personal details."""

    kind: str
    cause: str
    since_ms: int
    words: str
    hall: str = ""
    window: str = ""
    part_of: str = ""
    weight: Weight | None = None
    """Its kind's, if none."""
    page: str = ""
    """The page that shows it, and where it is seen to; its kind's, if empty."""


@dataclass(frozen=True)
class Told:
    """What a receiver was told last of an alert, and when."""

    what: What
    at_ms: int
    flapping: bool = False
    """Whether it was ever told that this comes and goes."""


@dataclass(frozen=True)
class Alert:
    """A cause, from when it was first found until it was gone for good."""

    found: Found
    """As it was found last."""
    opened_ms: int
    opens: int = 1
    """How often it was found anew."""
    gone_ms: int | None = None
    """Since when it is not found any longer; None as long as it is."""
    closed_ms: int | None = None
    acked_by: str = ""
    acked_ms: int | None = None
    told: Mapping[str, Told] = field(default_factory=dict)
    """By receiver."""
    id: int = 0
    """Of where it is kept; 0 as long as it is not."""

    @property
    def cause(self) -> str:
        return self.found.cause

    @property
    def weight(self) -> Weight:
        return self.found.weight or KINDS[self.found.kind].weight

    @property
    def page(self) -> str:
        """Where somebody sees to it."""
        return self.found.page or KINDS[self.found.kind].page

    @property
    def event(self) -> bool:
        return KINDS[self.found.kind].event

    @property
    def flapping(self) -> bool:
        return self.opens >= FLAPS


@dataclass(frozen=True)
class Reach:
    """Which alerts are meant: globs, each of them empty for all."""

    kinds: tuple[str, ...] = ()
    halls: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()

    def covers(self, found: Found) -> bool:
        """Whether this one is."""
        meant = ((self.kinds, found.kind), (self.halls, found.hall), (self.windows, found.window))
        return all(_matches(globs, text) for globs, text in meant)

    def names(self, kind: str) -> bool:
        """Whether this kind is meant by its name, and not only among others."""
        return kind in self.kinds

    def hushes(self, found: Found) -> bool:
        """Whether hours or a silence of this reach hold this one back: a bad rating only where it is named."""
        return self.covers(found) and (found.kind != BAD_RATING or self.names(BAD_RATING))


@dataclass(frozen=True)
class Rule:
    """Which alerts go to whom, and when. What is None is as the kind of the alert has it."""

    to: tuple[str, ...]
    reach: Reach = Reach()
    after_minutes: int | None = None
    repeat_minutes: int | None = None
    weight: Weight | None = None
    hours: Hours | None = None


@dataclass(frozen=True)
class Silence:
    """Until when nobody is told of these, why, and who wants it so. With `weekly` only in those times of the week."""

    reach: Reach
    from_ms: int
    until_ms: int
    reason: str
    who: str
    weekly: Hours = ALWAYS
    weekly_text: str = ""
    made_ms: int = 0
    ended_ms: int | None = None
    ended_by: str = ""
    id: int = 0

    def holds(self, found: Found, now_ms: int) -> bool:
        """Whether it keeps this one quiet just now."""
        return (
            self.ended_ms is None
            and self.from_ms <= now_ms < self.until_ms
            and self.weekly.began_ms(now_ms) is not None
            and self.reach.hushes(found)
        )


@dataclass(frozen=True)
class Note:
    """One thing for one receiver to hear."""

    receiver: str
    what: What
    at_ms: int
    alert: Alert
    weight: Weight


@dataclass(frozen=True)
class Decision:
    """The alerts that are new or changed, and the notes, heaviest first."""

    alerts: tuple[Alert, ...]
    notes: tuple[Note, ...]


def decide(
    found: Iterable[Found],
    before: Sequence[Alert],
    rules: Sequence[Rule],
    silences: Sequence[Silence],
    now_ms: int,
    office: Hours = ALWAYS,
    seen_to: Collection[str] = (),
) -> Decision:
    """What there is to open, to tell, to remind of and to resolve. `seen_to`: causes of events that are over, for what
    they ask for is done.

    `before`: all that is open, and what was closed within FLAP_MS or is not told to be right yet. Of several rules for
    one receiver the first that covers an alert is the one that counts.
    """
    alerts = _alerts({each.cause: each for each in reversed(list(found))}, before, now_ms)
    open_causes = {each.cause for each in alerts if each.closed_ms is None}
    receivers = list(dict.fromkeys(name for rule in rules for name in rule.to))
    after, notes = [], []
    for alert in alerts:
        told = dict(alert.told)
        waits = False
        for receiver in receivers:
            rule = next((rule for rule in rules if receiver in rule.to and rule.reach.covers(alert.found)), None)
            if rule is None:
                continue
            what = _due(alert, told.get(receiver), rule, silences, now_ms, office, open_causes)
            if what is not None:
                flapping = what == "flapping" or (receiver in told and told[receiver].flapping)
                told[receiver] = Told(what, now_ms, flapping)
                notes.append(Note(receiver, what, now_ms, alert, rule.weight or alert.weight))
            waits = waits or receiver not in told
        kept = replace(alert, told=told) if told != alert.told else alert
        after.append(_over(kept, waits, kept.cause in seen_to, now_ms) if kept.event else kept)
    was = {each.id: each for each in before}
    heaviest = list(WEIGHTS)
    return Decision(
        tuple(each for each in after if each != was.get(each.id)),
        tuple(sorted(notes, key=lambda each: (heaviest.index(each.weight), each.alert.found.since_ms))),
    )


# ---- what is open


def _alerts(found: dict[str, Found], before: Sequence[Alert], now_ms: int) -> list[Alert]:
    last = {each.cause: each for each in sorted(before, key=lambda each: (each.closed_ms is None, each.closed_ms or 0))}
    alerts = []
    for each in before:
        if last[each.cause] is not each:
            alerts.append(each)  # an earlier one of the same cause, of which only the end is still to be told
        elif each.event:
            alerts.append(each)
        elif each.cause in found:
            alerts.append(_again(each, found[each.cause], now_ms))
        else:
            alerts.append(_gone(each, now_ms))
    known = {each.cause for each in alerts if each.event or each.closed_ms is None}
    return alerts + [Alert(each, now_ms) for cause, each in found.items() if cause not in known]


def _again(alert: Alert, found: Found, now_ms: int) -> Alert:
    """Found, whether it was before or not."""
    if alert.closed_ms is not None and now_ms - alert.closed_ms >= FLAP_MS:
        return alert  # that one is over: this is another
    if alert.gone_ms is None:
        # Since when is what was said first: who sees it only now, and now, says now each time.
        return replace(alert, found=replace(found, since_ms=min(found.since_ms, alert.found.since_ms)))
    reopened = alert.closed_ms is not None
    return replace(
        alert,
        found=found,
        gone_ms=None,
        closed_ms=None,
        opens=alert.opens + 1,
        acked_by="" if reopened else alert.acked_by,
        acked_ms=None if reopened else alert.acked_ms,
    )


def _gone(alert: Alert, now_ms: int) -> Alert:
    """Not found any longer: closed after a while of calm."""
    if alert.closed_ms is not None:
        return alert
    gone_ms = alert.gone_ms if alert.gone_ms is not None else now_ms
    calm = now_ms - gone_ms >= (FLAP_MS if alert.flapping else CALM_MS)
    return replace(alert, gone_ms=gone_ms, closed_ms=now_ms if calm else None)


def _over(alert: Alert, waits: bool, seen_to: bool, now_ms: int) -> Alert:
    """An event is over when it was seen to, or shown and told for long enough, also with the name of who sees to it."""
    age_ms = now_ms - max(alert.opened_ms, alert.acked_ms or 0)
    over = seen_to or age_ms >= (EVENT_MAX_MS if waits else EVENT_MS)
    return replace(alert, closed_ms=now_ms) if over and alert.closed_ms is None else alert


# ---- who is told


def _due(
    alert: Alert,
    told: Told | None,
    rule: Rule,
    silences: Sequence[Silence],
    now_ms: int,
    office: Hours,
    open_causes: set[str],
) -> What | None:
    """What this receiver is to hear of it now, if anything."""
    kind = KINDS[alert.found.kind]
    hours = _hours(alert.found, rule, office)
    began_ms = hours.began_ms(now_ms)
    if began_ms is None or any(each.holds(alert.found, now_ms) for each in silences):
        return None
    if alert.closed_ms is not None:
        return "resolved" if told is not None and told.what != "resolved" and not alert.event else None
    if alert.gone_ms is not None or alert.found.part_of in open_causes:
        return None
    if told is None or told.what == "resolved":
        after_minutes = kind.after_minutes if rule.after_minutes is None else rule.after_minutes
        # Outside of the hours nobody expects anything to be right: a PC that is switched off at night is not missed
        # before it had its time to start in the morning.
        ready = now_ms - max(min(alert.found.since_ms, now_ms), began_ms) >= after_minutes * 60_000
        return "flapping" if alert.flapping else "opened" if ready else None
    if alert.flapping and not told.flapping:
        return "flapping"
    repeat_minutes = kind.repeat_minutes if rule.repeat_minutes is None else rule.repeat_minutes
    if alert.acked_ms is not None or alert.event or not repeat_minutes:
        return None
    return "reminded" if now_ms - told.at_ms >= repeat_minutes * 60_000 else None


def _hours(found: Found, rule: Rule, office: Hours) -> Hours:
    if rule.hours is not None:
        return rule.hours if rule.reach.hushes(found) else ALWAYS
    return office if KINDS[found.kind].office else ALWAYS


def _matches(globs: tuple[str, ...], text: str) -> bool:
    return not globs or any(text == each or fnmatchcase(text, each) for each in globs)
