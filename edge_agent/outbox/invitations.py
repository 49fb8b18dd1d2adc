"""Invitations on the disk: which press answers which, how each opens and ends, and their table.

A row has one sum over all that it says, taken anew whenever its state changes: it is read whole before it is changed
anyway, and a second sum over what never changes would only double the work. It is checked at every reading, before
anything is concluded from a row or written over it: sqlite3.DatabaseError if it is not what was written.
"""

from __future__ import annotations

import secrets
import sqlite3
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from protocols.messages import ClosingRecord
from protocols.ratings import Invitation, InvitationState, Moment, Outcome, Press

from . import rows

GRACE_MS = 1000  # a device starts its seconds when INVITE reaches it, and its words can wait STALE_MS in our buffers
INVITE_S_MAX = 600  # nobody answers for longer; whoever opens one may not ask for more either
NOBODY_S = 0  # the time of an invitation that nobody was asked by
HELD_MAX_MS = 3_600_000
"""For so long after it was made a page's press still answers what it showed, though that has ended: a page says a press
again until it is answered, and an hour is a PC that installs updates, or a cable until hall IT has come. What is said
to be older may as well be somebody's who has had the link since yesterday, and nobody can tell."""
SHOWN_LATE_MS = 500  # a page's press across a hall's network; what it showed says whose it is
_LOOKED_AT = 10_000  # a window's services of a month: a device may hold a press for as long as it has power
_KEPT_MS = 30 * 86_400_000  # how long an ended invitation can still be asked for
# Made when it is first needed: a start on a full disk writes nothing, and an older program of this form, which knows
# nothing of it, reads and writes all the others as ever. Whoever has no row in it was promised all that it goes on for.
_PROMISED = """CREATE TABLE IF NOT EXISTS promised(
    n INTEGER PRIMARY KEY, seconds INTEGER NOT NULL, sum BLOB NOT NULL)"""
_TRIM = 10  # of the oldest at each opening: a look at all of them would hold up a hall's presses
_STAY = 1_000  # a week of a window


def new_id(now_ms: int, bits: Callable[[int], int] = secrets.randbits) -> str:
    """An id for an invitation opened now: a UUID of version 7 (RFC 9562); its chance comes from `bits`.

    Those of one hour stand together in every index. Random ones fall all over it, and a ledger that takes in a month of
    a hall rewrites one page of each index for each record.
    """
    moment = max(now_ms, 0) % 2**48
    number = moment << 80 | 7 << 76 | bits(12) << 64 | 2 << 62 | bits(62)
    return str(uuid.UUID(int=number))


class Kept(NamedTuple):
    """An invitation as it lies in its row."""

    n: int
    """Its place in the order of all."""
    id: str
    window: str
    state: InvitationState
    seconds: int
    """How long it goes on in all, also for somebody who is answering it: so every program of this form reads it."""
    opened_ms: int
    mono_ms: int
    host_boot: str
    synced: int | None
    case_no: str | None
    service_number: int
    clerk: str | None
    closed_ms: int | None = None
    closed_mono_ms: int | None = None
    closed_boot: str | None = None
    press: str | None = None
    """The first press that answered it."""

    @property
    def invitation(self) -> Invitation:
        """The same as others know it, with all that it goes on for: `Invitations.told` knows what was promised."""
        synced = None if self.synced is None else bool(self.synced)
        return Invitation(
            id=self.id,
            window=self.window,
            opened=Moment(self.opened_ms, self.mono_ms, self.host_boot, synced),
            seconds=self.seconds,
            case_no=self.case_no,
            service_number=self.service_number,
            clerk=self.clerk,
            state=self.state,
            closed_ms=self.closed_ms,
        )

    def remaining_ms(self, moment: Moment) -> int:
        """What is left of its time; below 0 it is over."""
        return self.seconds * 1000 - self.since_opened_ms(moment)

    def since_opened_ms(self, moment: Moment) -> int:
        return _since_ms(self.opened_ms, self.mono_ms, self.host_boot, moment)

    def since_closed_ms(self, moment: Moment) -> int:
        return _since_ms(self.closed_ms or 0, self.closed_mono_ms or 0, self.closed_boot, moment)

    def was_open(self, age_ms: int, moment: Moment) -> bool:
        """Whether this invitation, begun before that, was still open `age_ms` ago."""
        if self.state in ("withdrawn", "declined"):
            return age_ms >= self.since_closed_ms(moment)
        return age_ms >= -GRACE_MS - self.remaining_ms(moment)


class Invitations:
    """Those of one outbox. `name` gives a name's number in the file.

    Whatever writes is called within a transaction of the caller, who keeps the record that comes of it and says with
    `forget` that a transaction begins or is over.
    """

    def __init__(self, db: sqlite3.Connection, name: Callable[[str], int]):
        self._db = db
        self._name = name
        self._open: dict[str, Kept | None] = {}

    def forget(self) -> None:
        """What was read may be changed now, or undone."""
        self._open.clear()

    # ---- which press answers which

    def of(self, window: str, press: Press, moment: Moment) -> tuple[Kept | None, Kept | None]:
        """The invitation that was open when the button went down, however late the press arrives; or the one that may
        have been, where it may as well have gone down before that."""
        if press.shown is not None:
            return self._shown(window, press, press.shown, moment)
        # One ends at the latest where the next begins, so the last that began before the press decides.
        found = self._rows_of(window, "ORDER BY n DESC LIMIT ?", _LOOKED_AT)
        begun = next((kept for kept in found if kept.since_opened_ms(moment) >= press.age_ms), None)
        if begun is None or begun.seconds == NOBODY_S or not begun.was_open(press.age_ms, moment):
            return None, None
        if begun.since_opened_ms(moment) < press.age_ms + press.soon_ms:
            return None, begun
        if begun.since_opened_ms(moment) >= press.age_ms + press.unsure_ms:
            return begun, None
        if press.solicited and not self._was_asked_before(begun, press, moment):
            return begun, None
        return None, begun

    def _shown(self, window: str, press: Press, shown: str, moment: Moment) -> tuple[Kept | None, Kept | None]:
        """The same where the device says what it asked: that invitation or none, whatever its clock says."""
        kept = self.get(shown)
        if kept is None or kept.window != window:
            return None, None
        if kept.state == "open" and kept.remaining_ms(moment) > -GRACE_MS:
            return kept, None
        if press.age_ms > kept.since_opened_ms(moment):
            return None, kept  # older than what it answers: nobody knows when it was made
        # Its age does not know how long it was on its way.
        if not kept.was_open(press.age_ms + SHOWN_LATE_MS, moment):
            # A tablet's clock stands still while that sleeps: what it shows may have been open when it was pressed.
            return None, None if kept.state in ("withdrawn", "declined") else kept
        return (kept, None) if press.age_ms <= HELD_MAX_MS else (None, kept)

    def _was_asked_before(self, begun: Kept, press: Press, moment: Moment) -> bool:
        """Whether an invitation before this one may still have had the device ask when the press may have been made."""
        before = next(
            self._rows_of(begun.window, "AND n < ? AND seconds != ? ORDER BY n DESC LIMIT 1", begun.n, NOBODY_S), None
        )
        if before is None:
            return False
        if before.state == "answered":
            # One answer to one question: it has stopped asking by itself.
            over_ms = before.since_closed_ms(moment)
        else:
            # Withdrawn, a device without a word for that goes on asking until its time is over.
            over_ms = -before.remaining_ms(moment) - GRACE_MS
        return over_ms < press.age_ms + press.unsure_ms

    # ---- read

    def get(self, id: str) -> Kept | None:
        """This invitation as it is now."""
        kept = next(self._rows("WHERE key = ?", rows.key_of(id)), None)
        if kept is not None and kept.id != id:
            raise _misled()
        return kept

    def open_in(self, window: str) -> Kept | None:
        """The one that is open at this window."""
        # Asked several times a second for each window, and nearly always to hear that nothing has changed.
        if window not in self._open:
            self._open[window] = next(self._rows_of(window, "AND state = 'open'"), None)
        return self._open[window]

    def latest(self, window: str, most: int) -> list[Kept]:
        """Those of this window that were opened last, the newest first."""
        return list(self._rows_of(window, "AND seconds != ? ORDER BY n DESC LIMIT ?", NOBODY_S, most))

    def told(self, kept: Kept) -> Invitation:
        """The same as everybody knows it: what was promised, and beside it what was added."""
        if not rows.has_promised(self._db):
            return kept.invitation
        row = self._db.execute(f"{rows.SELECT['promised']} WHERE n = ?", (kept.n,)).fetchone()
        promised_s = kept.seconds if row is None else rows.checked("promised", row)[1]
        return replace(kept.invitation, seconds=promised_s, added_s=kept.seconds - promised_s)

    def all_open(self) -> list[Kept]:
        """Those that are open, of all windows."""
        return list(self._rows("WHERE state = 'open'"))

    def rated(self) -> dict[str, int]:
        """Per window, how many have had a press."""
        return dict(Counter(kept.window for kept in self._rows("WHERE press IS NOT NULL")))

    def _rows_of(self, window: str, where: str, *values: Any) -> Iterator[Kept]:
        for kept in self._rows(f"WHERE window = ? {where}", window, *values):
            if kept.window != window:
                raise _misled()
            yield kept

    def _rows(self, where: str, *values: Any) -> Iterator[Kept]:
        for row in self._db.execute(f"{rows.SELECT['invitation']} {where}", values):
            yield Kept._make(rows.checked("invitation", row))

    # ---- opened and ended

    def begin(self, invitation: Invitation) -> None:
        """Open this one, whose window has none; let go of some that ended long ago."""
        opened = invitation.opened
        self._insert(
            Kept(
                n=self._next(),
                id=invitation.id,
                window=invitation.window,
                state="open",
                seconds=invitation.seconds,
                opened_ms=opened.wall_ms,
                mono_ms=opened.mono_ms,
                host_boot=opened.host_boot,
                synced=None if opened.synced is None else int(opened.synced),
                case_no=invitation.case_no,
                service_number=invitation.service_number,
                clerk=invitation.clerk,
            ),
            "INSERT",
        )
        self._trim(invitation.window, opened.wall_ms - _KEPT_MS)

    def nobody_since(self, window: str, moment: Moment) -> None:
        """Until its next invitation begins, nobody at this window was asked, whatever was open there at this moment.
        Not if somebody was after it: then that one's end says it."""
        last = next(self._rows_of(window, "AND seconds != ? ORDER BY n DESC LIMIT 1", NOBODY_S), None)
        if last is not None and last.since_opened_ms(moment) < 0:
            return
        self._insert(
            Kept(
                n=self._next(),
                id=new_id(moment.wall_ms),
                window=window,
                state="withdrawn",
                seconds=NOBODY_S,
                opened_ms=moment.wall_ms,
                mono_ms=moment.mono_ms,
                host_boot=moment.host_boot,
                synced=None,
                case_no=None,
                service_number=1,
                clerk=None,
                closed_ms=moment.wall_ms,
                closed_mono_ms=moment.mono_ms,
                closed_boot=moment.host_boot,
            ),
            "INSERT",
        )

    def _next(self) -> int:
        [last] = self._db.execute("SELECT coalesce(max(n), 0) FROM invitation_row").fetchone()
        return max(int(last), 0) + 1

    def answer(self, kept: Kept, press: str, moment: Moment) -> ClosingRecord | None:
        """This press, of this id, answers it; what that ends it with, unless it had ended."""
        if kept.press is None:
            kept = kept._replace(press=press)
        if kept.state == "open":
            return self.end(kept, "answered", moment)
        self._change(kept)
        return None

    def extend(self, kept: Kept, seconds: int, moment: Moment) -> None:
        """It goes on for at least so many seconds from now, and never for more than INVITE_S_MAX in all."""
        if kept.remaining_ms(moment) <= -GRACE_MS:
            return  # its time is over, whoever says so first
        until_s = min(INVITE_S_MAX, -(-kept.since_opened_ms(moment) // 1000) + seconds)
        if until_s > kept.seconds:
            self._promise(kept.n, kept.seconds)
            self._change(kept._replace(seconds=until_s))

    def end(self, kept: Kept, outcome: Outcome, moment: Moment) -> ClosingRecord:
        """It ends with this outcome."""
        self._change(
            kept._replace(
                state=outcome, closed_ms=moment.wall_ms, closed_mono_ms=moment.mono_ms, closed_boot=moment.host_boot
            )
        )
        return ClosingRecord(
            window=kept.window,
            invitation=kept.id,
            outcome=outcome,
            case_no=kept.case_no,
            service_number=kept.service_number,
            clerk=kept.clerk,
            opened_ms=kept.opened_ms,
            deadline_ms=kept.opened_ms + kept.seconds * 1000,
            closed_ms=moment.wall_ms,
            mono_ms=moment.mono_ms,
            host_boot=moment.host_boot,
            synced=moment.synced,
        )

    def restore(self, kept: Kept, promised_s: int | None) -> None:
        """Write down one of another file, and what was promised of it if that was less, unless it is known or another
        one is open at its window by now."""
        self._insert(kept, "INSERT OR IGNORE")
        if promised_s is not None and self._stands(kept):
            self._promise(kept.n, promised_s)

    def _stands(self, kept: Kept) -> bool:
        # Of a long file some come along at the start, and what was promised of them perhaps only later.
        where = "SELECT 1 FROM invitation_row WHERE n = ? AND key = ?"
        return self._db.execute(where, (kept.n, rows.key_of(kept.id))).fetchone() is not None

    def _promise(self, n: int, seconds: int) -> None:
        self._db.execute(_PROMISED)
        # The first time it is what was promised; later ones change nothing of that.
        self._db.execute(
            "INSERT OR IGNORE INTO promised(n, seconds, sum) VALUES (?,?,?)",
            (n, seconds, rows.sum_of_row("promised", n, seconds)),
        )

    def _insert(self, kept: Kept, how: str) -> None:
        self._db.execute(
            f"{how} INTO invitation_row(n, key, window, state, seconds, opened_ms, mono_ms, host, synced,"
            " case_no, service_number, clerk, closed_ms, closed_mono_ms, closed_host, press, sum)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                kept.n,
                rows.key_of(kept.id),
                *kept[2:7],
                self._name(kept.host_boot),
                *kept[8:14],
                None if kept.closed_boot is None else self._name(kept.closed_boot),
                kept.press,
                rows.sum_of_row("invitation", *kept),
            ),
        )

    def _change(self, kept: Kept) -> None:
        self._db.execute(
            "UPDATE invitation_row SET state = ?, seconds = ?, closed_ms = ?, closed_mono_ms = ?, closed_host = ?,"
            " press = ?, sum = ? WHERE n = ?",
            (
                kept.state,
                kept.seconds,
                kept.closed_ms,
                kept.closed_mono_ms,
                None if kept.closed_boot is None else self._name(kept.closed_boot),
                kept.press,
                rows.sum_of_row("invitation", *kept),
                kept.n,
            ),
        )

    def _trim(self, window: str, before_ms: int) -> None:
        # The last ones stay whatever their time says: somebody may have set the clock by a year, and a press for the
        # one that has just ended may still come.
        old = self._rows(
            "WHERE n IN (SELECT n FROM invitation_row WHERE window = ? ORDER BY n LIMIT ?)"
            " AND n < (SELECT n FROM invitation_row WHERE window = ? ORDER BY n DESC LIMIT 1 OFFSET ?)"
            " AND state != 'open' AND opened_ms < ?",
            window,
            _TRIM,
            window,
            _STAY,
            before_ms,
        )
        tables = ("invitation_row", "promised") if rows.has_promised(self._db) else ("invitation_row",)
        for kept in list(old):
            for table in tables:
                self._db.execute(f"DELETE FROM {table} WHERE n = ?", (kept.n,))


def _since_ms(wall_ms: int, mono_ms: int, host_boot: str | None, moment: Moment) -> int:
    if host_boot == moment.host_boot:
        return moment.mono_ms - mono_ms
    # It was before this start of the PC, whatever a clock says that lost the date: at least as long ago as the start.
    return max(moment.wall_ms - wall_ms, moment.mono_ms)


def _misled() -> sqlite3.DatabaseError:
    return sqlite3.DatabaseError("邀请的索引损坏 / an index of the invitations is damaged")
