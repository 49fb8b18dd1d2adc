"""Every bad rating as a work item: how it stands, until when, what people did about it, and their next step.

The rating is the work item from the moment the ledger has it, and nothing here ever touches it: what is found to be
malicious or a mistake is marked so by a step, and stays in every total.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from protocols.bodies import SAYING
from protocols.ratings import Case
from protocols.seal import CannotOpen

from ..ledger import acts
from ..ledger.desk import WHO_MAX, NotSo
from ..ledger.links import CASE_NO, JOINED, NUMBER
from ..ledger.store import Store
from ..ledger.tally import begins_ms, day_of
from ..vault import Locked, Vault, masked
from . import states
from .states import BEGINNING, NEEDS_WORDS, NOT_TAKEN_UP, TABLE, WORK, State

DAYS = 15
"""Natural days from the press, the day of the press not counted; the deadline is the end of the last one.
国办发〔2019〕51号 asks for mending within a set time, and each place sets its own (`[mending] days`)."""
WORDS_MAX = 500  # characters: a person reads them
_AT_ONCE = 200  # rows of one transaction: the intake waits for no longer than that takes
_DAY_MS = 86_400_000
Tab = Literal["open", "soon", "overdue", "to_close", "closed"]
_LAST = "(SELECT max(id) FROM step WHERE step.rating = rating.id AND step.draw IS NULL)"
_LATEST = (
    "(SELECT {} FROM step WHERE step.rating = rating.id AND step.draw IS NULL AND what = '{}' ORDER BY id DESC LIMIT 1)"
)
_STATE = f"coalesce(last.state, '{BEGINNING}')"
_FROM = (
    f" FROM rating INDEXED BY rating_bad {JOINED} LEFT JOIN step AS last ON last.id = {_LAST}"
    " WHERE bad = 1 AND pressed_ms >= :since"
)
_SHOWN = (
    f"SELECT rating.id, level, hall, rating.number, clerk, channel, pressed_ms, {CASE_NO} AS case_no,"
    f" {NUMBER} AS service_number, {_STATE} AS state, coalesce(last.id, 0) AS last,"
    f" {_LATEST.format('outcome', 'check')} AS finding, {_LATEST.format('outcome', 'call_back')} AS called,"
    f" CASE WHEN last.state = 'closed' THEN last.at_ms END AS closed_ms{_FROM}"
)
_TABS = {
    "open": f" AND {_STATE} != 'closed'",
    "soon": f" AND {_STATE} != 'closed' AND pressed_ms >= :late AND pressed_ms < :soon",
    "overdue": f" AND {_STATE} != 'closed' AND pressed_ms < :late",
    "to_close": f" AND {_STATE} = 'to_close'",
    "closed": f" AND {_STATE} = 'closed'",
}
TABS: tuple[str, ...] = tuple(_TABS)
_saying = re.compile(SAYING).match


@dataclass(frozen=True)
class Rules:
    """What the hall has set, see `[mending]`."""

    days: int = DAYS
    remind_days: tuple[int, ...] = (7, 3, 1)
    """So many days before the deadline somebody is reminded."""
    since: int | None = None
    """Bad ratings of days before this one were dealt with elsewhere."""
    keep_days: int = 365
    """So long after a mending was closed the words of its steps are kept."""


@dataclass(frozen=True)
class Mending:
    """How one bad rating stands. Nobody's words are in it."""

    rating: int
    level: str
    hall: str
    number: str
    clerk: str | None
    channel: str
    pressed_ms: int
    case_no: str | None
    service_number: int
    state: State
    last: int
    """Its last step; 0 if there is none."""
    finding: str | None
    """What its last check found."""
    called: str | None
    """What came of the last call to the citizen."""
    closed_ms: int | None
    deadline_ms: int
    """The first moment that is too late."""

    @property
    def not_taken_up(self) -> bool:
        """Whether it was found to be a mistake or malicious."""
        return self.finding in NOT_TAKEN_UP

    def days_left(self, now_ms: int) -> int:
        """Whole days until the day of the deadline, in Beijing time: 0 is today, negative is too late."""
        return day_of(self.deadline_ms) - 1 - day_of(self.closed_ms if self.closed_ms is not None else now_ms)

    def in_time(self) -> bool | None:
        """Whether it was closed in time; None while it is open."""
        return None if self.closed_ms is None else self.closed_ms < self.deadline_ms


@dataclass(frozen=True)
class Reminder:
    """A mending that somebody is to be told of now: `rating` and `at_days` together name it, so that each is told
    once."""

    kind: Literal["due_soon", "overdue"]
    mending: Mending
    at_days: int
    """Which of the days before the deadline was reached; -1 once it is over."""
    days_left: int


@dataclass(frozen=True)
class Step:
    """What somebody did. `words` is None where they were deleted or cannot be read here."""

    id: int
    at_ms: int
    who: str
    what: str
    outcome: str
    state: str
    words: str | None
    draw: int | None


def deadline_ms(pressed_ms: int, days: int) -> int:
    """The first moment that is too late for a rating that was pressed then."""
    return begins_ms(day_of(pressed_ms) + days + 1)


class Mendings:
    """All of them, and what can be done about each."""

    def __init__(self, store: Store, vault: Vault, rules: Rules = Rules()):
        self._store = store
        self._vault = vault
        self.rules = rules

    # ---- lists

    def listed(
        self,
        tab: Tab,
        now_ms: int,
        most: int = 100,
        skip: int = 0,
        hall: str = "",
        number: str = "",
        clerk: str = "",
    ) -> list[Mending]:
        """Those of a tab, the longest overdue first; closed ones newest first."""
        order = "pressed_ms DESC, rating.id DESC" if tab == "closed" else "pressed_ms, rating.id"
        chosen, values = _chosen(hall, number, clerk)
        rows = self._store.rows(
            f"{_SHOWN}{_TABS[tab]}{chosen} ORDER BY {order} LIMIT :most OFFSET :skip",
            self._days(now_ms) | values | {"most": most, "skip": skip},
        )
        return [self._mending(row) for row in rows]

    def counts(self, now_ms: int, hall: str = "", number: str = "", clerk: str = "") -> dict[str, int]:
        """How many each tab has."""
        chosen, values = _chosen(hall, number, clerk)
        parts = ", ".join(f"coalesce(sum(1{condition}), 0) AS {tab}" for tab, condition in _TABS.items())
        return dict(self._store.row(f"SELECT {parts}{_FROM}{chosen}", self._days(now_ms) | values))

    def reminders(self, now_ms: int) -> list[Reminder]:
        """All that are overdue or due soon at this moment, the longest overdue first: a value of the ledger and the
        time, whoever sends it."""
        late = self.listed("overdue", now_ms, most=-1)
        soon = self.listed("soon", now_ms, most=-1)
        found = [Reminder("overdue", each, -1, each.days_left(now_ms)) for each in late]
        for each in soon:
            left = each.days_left(now_ms)
            found.append(Reminder("due_soon", each, min(at for at in self.rules.remind_days if at >= left), left))
        return found

    def between(self, first: int, last: int, hall: str = "") -> Iterator[Mending]:
        """Those whose ratings were pressed in these days, in that order."""
        chosen, values = _chosen(hall, "", "")
        rows = self._store.rows(
            f"{_SHOWN} AND pressed_ms >= :first AND pressed_ms < :end{chosen} ORDER BY pressed_ms, rating.id",
            self._days(0) | values | {"first": begins_ms(first), "end": begins_ms(last + 1)},
        )
        return map(self._mending, rows)

    # ---- one

    def found(self, rating: int) -> Mending:
        """This one; NotSo if there is no such bad rating."""
        row = self._store.row(f"{_SHOWN} AND rating.id = :id", self._days(0) | {"id": rating})
        if row is None:
            raise NotSo("id", f"没有第 {rating} 号差评 / there is no bad rating {rating}")
        return self._mending(row)

    def steps(self, rating: int) -> list[Step]:
        """What people did about any rating, spot checks too, in that order."""
        rows = self._store.rows("SELECT * FROM step WHERE rating = ? ORDER BY id", (rating,))
        return [
            Step(
                row["id"],
                row["at_ms"],
                row["who"],
                row["what"],
                row["outcome"],
                row["state"],
                self._shown(row),
                row["draw"],
            )
            for row in rows
        ]

    def said(self, rating: int) -> dict[str, Any]:
        """What the citizen said beside the level: tags and text."""
        row = self._store.row("SELECT tags, text FROM rating WHERE id = ?", (rating,))
        return {"tags": row["tags"].split(",") if row["tags"] else [], "text": row["text"]}

    def case(self, mending: Mending) -> Case | None:
        """The details of its case, masked; None if they are not there or cannot be read here."""
        row = self._store.row(
            "SELECT body FROM service_case WHERE case_no = ? AND service_number = ?",
            (mending.case_no, mending.service_number),
        )
        if row is None or mending.case_no is None:
            return None
        try:
            return masked(self._vault.show(mending.case_no, mending.service_number, row["body"]))
        except (Locked, CannotOpen):
            return None

    def can(self, mending: Mending) -> list[tuple[str, list[str]]]:
        """The steps that can be noted now, the usual next one first, each with its outcomes."""
        found: dict[str, list[str]] = {}
        for what, outcome in reversed(TABLE[mending.state]):
            found.setdefault(what, []).insert(0, outcome)
        return list(found.items())

    def take(self, rating: int, what: str, outcome: str, words: str, who: str, seen: int, now_ms: int) -> Mending:
        """Note this step; how it stands then. `seen` is the last step that this person had before them. NotSo says
        what cannot be noted, and why."""
        words, who = checked(words, (what, outcome) in NEEDS_WORDS), named(who)
        with self._store.writing() as db:
            before = self._standing(db, rating)
            if before["last"] != seen:
                raise NotSo("seen", "别人刚刚记了一步, 请看过再做 / somebody else has just noted a step: look again")
            state = states.after(before["state"], what, outcome)
            if state is None:
                raise NotSo("what", f"现在不能记这一步 / this step cannot be noted now: {what} {outcome}")
            if what == "close" and not states.may_close(self._workers(db, rating), who):
                raise NotSo("who", "办理人不能审批自己办的差评 / nobody approves what they worked on themselves")
            self._add(db, rating, None, now_ms, who, what, outcome, state, words)
        return self.found(rating)

    def spot_checked(self, draw: int, rating: int, outcome: str, words: str, who: str, now_ms: int) -> None:
        """Note what came of the spot check of a drawn rating. NotSo if it was not drawn."""
        words, who = checked(words, outcome != "sound"), named(who)
        if outcome not in SPOT_CHECKS:
            raise NotSo("outcome", f"没有这种结果 / no such outcome: {outcome}")
        with self._store.writing() as db:
            row = db.execute("SELECT ratings FROM drawn WHERE draw = ?", (draw,)).fetchone()
            if row is None or rating not in acts.ratings_of(row["ratings"]):
                raise NotSo("id", f"第 {rating} 号评价不在第 {draw} 次抽查中 / was not drawn in draw {draw}: {rating}")
            self._add(db, rating, draw, now_ms, who, "spot_check", outcome, "", words)

    def forget(self, now_ms: int) -> int:
        """Delete the words of some steps whose time is over; how many, 0 when all is done."""
        with self._store.writing() as db:
            return acts.forget_words(db, now_ms - self.rules.keep_days * _DAY_MS, _AT_ONCE)

    # ---- small things

    def _days(self, now_ms: int) -> dict[str, Any]:
        late = day_of(now_ms) - self.rules.days
        since = -(2**62) if self.rules.since is None else begins_ms(self.rules.since)
        soon = late + max(self.rules.remind_days, default=0) + 1
        return {"since": since, "late": begins_ms(late), "soon": begins_ms(soon)}

    def _mending(self, row: sqlite3.Row) -> Mending:
        return Mending(
            row["id"],
            row["level"],
            row["hall"],
            row["number"],
            row["clerk"],
            row["channel"],
            row["pressed_ms"],
            row["case_no"],
            row["service_number"],
            row["state"],
            row["last"],
            row["finding"],
            row["called"],
            row["closed_ms"],
            deadline_ms(row["pressed_ms"], self.rules.days),
        )

    def _standing(self, db: sqlite3.Connection, rating: int) -> sqlite3.Row:
        row = db.execute(f"{_SHOWN} AND rating.id = :id", self._days(0) | {"id": rating}).fetchone()
        if row is None:
            raise NotSo("id", f"没有第 {rating} 号差评 / there is no bad rating {rating}")
        found: sqlite3.Row = row
        return found

    def _workers(self, db: sqlite3.Connection, rating: int) -> list[str]:
        rows = db.execute(
            f"SELECT DISTINCT who FROM step WHERE rating = ? AND draw IS NULL AND what IN {WORK}", (rating,)
        )
        return [row["who"] for row in rows]

    def _add(
        self,
        db: sqlite3.Connection,
        rating: int,
        draw: int | None,
        now_ms: int,
        who: str,
        what: str,
        outcome: str,
        state: str,
        words: str,
    ) -> None:
        hidden = self._vault.hide_text(words.encode(), acts.about_step(rating))
        acts.add_step(db, rating, draw, now_ms, who, what, outcome, state, hidden)

    def _shown(self, row: sqlite3.Row) -> str | None:
        if row["words"] is None:
            return None
        try:
            return self._vault.show_text(row["words"], acts.about_step(row["rating"])).decode()
        except (Locked, CannotOpen):
            return None


SPOT_CHECKS: Sequence[str] = ("sound", "doubtful", "not_reached")
"""What can come of a spot check: the citizen says the same, something is odd about it, nobody could be asked."""


def named(who: str) -> str:
    """The name as it is kept; NotSo if it is none."""
    if not 1 <= len(who.strip()) <= WHO_MAX or not _saying(who):
        raise NotSo("who", f"who: 应为 1–{WHO_MAX} 个字 / must be 1–{WHO_MAX} characters")
    return who.strip()


def checked(words: str, needed: bool) -> str:
    """The words as they are kept, in one line; NotSo if they are too many, or are lacking."""
    words = " ".join(words.split())
    if len(words) > WORDS_MAX:
        raise NotSo("words", f"说明至多 {WORDS_MAX} 个字 / at most {WORDS_MAX} characters")
    if words and not _saying(words):
        raise NotSo("words", "说明中有不可见的字符 / there are characters in it that nobody can see")
    if needed and not words:
        raise NotSo("words", "请写明情况 / say in words what was found or done")
    return words


def _chosen(hall: str, number: str, clerk: str) -> tuple[str, dict[str, str]]:
    given = {"hall": hall, "number": number, "clerk": clerk}
    return "".join(f" AND rating.{name} = :{name}" for name, value in given.items() if value), given
