"""Records on their way out, kept on disk until the collector says that it has them.

One SQLite file: records in a hash chain, the invitations of the windows, and which presses have been seen. Every
method that writes has written to the disk when it returns. Any thread may call any method.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from protocols.messages import SEQ_MAX, ClosingRecord, PressRecord, encode_record
from protocols.ratings import Invitation, Moment, Outcome, Press, PressId

from ..page import OWN
from . import file as outbox_file
from . import look
from .invitations import GRACE_MS, Kept
from .latest import Latest
from .lock import OutboxClosed
from .outgoing import Backlog, Outgoing, Settled
from .rescue import Rescue
from .wishes import Wishes
from .writer import New, OutboxFull, Writer

__all__ = [
    "ANY_INVITATION",
    "GRACE_MS",
    "Backlog",
    "Outbox",
    "OutboxClosed",
    "OutboxFull",
    "Settled",
    "WindowBusy",
]

log = logging.getLogger(__name__)

ANY_INVITATION = "*"
_LOOKED_AT_ONCE = (
    64  # rows: half a millisecond's work, and then the same ten times over for whatever else there is to do
)
_LOOK_PAUSE_S = 0.005
_LOOK_FOR_ROOM_MS = 1000  # a clerk who has made room sees it at once; one small write a second wears no disk out
_LOOKS_SAID = 2_000  # looks: a line in the log for each hundred thousand rows
_NOTED_MAX = 10  # presses of one read that get a line each; more is a device that gives back what it had stored


class WindowBusy(Exception):
    """Another invitation is open at this window."""

    def __init__(self, invitation: str):
        super().__init__(invitation)
        self.invitation = invitation


class Outbox(Outgoing):
    """The file at `path`. A damaged file is set aside whole, named in `set_aside`, and a new epoch begins.

    With `sole` it belongs to this process alone, and OutboxMismatch is raised if another one has it: two agents of one
    id push each other out at the broker. With `look_only` nothing is ever written: a damaged file raises
    sqlite3.DatabaseError.
    """

    def __init__(
        self,
        path: Path,
        agent: str,
        now_ms: int,
        max_megabytes: int = 20_000,
        look_only: bool = False,
        sole: bool = False,
    ):
        self.path = path
        self.agent = agent
        self.set_aside: Path | None = None
        self._listeners: list[Callable[[str], None]] = []
        # Before the look: whoever else has it may be writing, and a file in use must not be set aside.
        self._owned = outbox_file.own(path) if sole else None
        self._long = False
        """Whether it was too long to be looked through when it was opened."""
        try:
            db = outbox_file.open_to_look(path, agent) if look_only else self._opened(now_ms)
        except BaseException:
            if self._owned is not None:
                self._owned.close()
            raise
        [page_bytes] = db.execute("PRAGMA page_size").fetchone()
        # With a bound of our own an insert fails before the disk is full, and deleting still works.
        db.execute(f"PRAGMA max_page_count = {max_megabytes * 1_000_000 // page_bytes}")
        [epoch] = db.execute("SELECT epoch FROM epoch").fetchone()
        super().__init__(Writer(db, path, epoch))
        self._writer.on_room = lambda: self._tell("")
        self._looked_ms = 0
        """When it was last tried whether there is room again."""
        self._invitations, self._seen = self._writer.invitations, self._writer.seen
        self._wishes = Wishes()
        self._rescue = Rescue(self._writer, agent)
        self._latest = Latest(path) if sole else None
        if self._latest is not None:
            self._if_older(self._latest, now_ms)
        if not look_only:
            # The newest first: it says which of the older ones it had taken over.
            for damaged in reversed(self.damaged_files()):
                self._rescue.begin(damaged, now_ms)

    def _if_older(self, latest: Latest, now_ms: int) -> None:
        """What an older copy in the place of the file takes for open was answered since, as like as not, and another
        citizen stands there: no press may answer it any more. Its numbers are the collector's matter."""
        noted, tip, opened = latest.read(), self.tip()[0], self._invitations.all_open()
        begun = tip or opened  # a file that is not has taken the place of one that was set aside
        if noted is not None and begun and (noted[0] != self.epoch or noted[1] > tip):
            words = (
                "存档被旧副本替换, 其中未结束的邀请作废, 请为正在评价的办事人重新邀请"
                " / the outbox is an older copy, what is open in it is withdrawn: invite again whoever is being asked"
            )
            log.error("%s: %s (%s/%s, 曾到 was at %s/%s)", words, self.path, self.epoch, tip, *noted)
            try:
                with self._writer.transaction():
                    # As of when they were opened: also a press that was made before this start is none of theirs.
                    ended = [self._invitations.end(kept, "withdrawn", kept.invitation.opened) for kept in opened]
                    if ended:
                        self._append(ended, now_ms)
            except OutboxFull:
                return  # and the next start finds it so again
        latest.put(self.epoch, self.tip()[0])
        self._writer.on_kept = lambda seq: latest.put(self.epoch, seq)

    def _opened(self, now_ms: int) -> sqlite3.Connection:
        damage = outbox_file.damage(self.path, self.agent)
        if damage:
            self.set_aside = outbox_file.put_aside(self.path, now_ms)
            log.error("存档损坏, 已原样移至 / outbox was damaged, set aside whole: %s (%s)", self.set_aside, damage)
        self._long = self.path.exists() and outbox_file.is_long(self.path)
        return outbox_file.open_to_write(self.path, self.agent, now_ms)

    @property
    def full(self) -> bool:
        """Whether the last attempt to write something down failed for want of room."""
        return self._writer.full

    @property
    def kept_upto(self) -> int:
        """The number of the last record that was kept here since it was opened; 0 for none."""
        return self._writer.kept_upto

    def look_for_room(self, moment: Moment) -> None:
        """See whether `full` still holds; to be called now and then, also when nobody presses."""
        if not 0 <= moment.mono_ms - self._looked_ms < _LOOK_FOR_ROOM_MS:
            self._looked_ms = moment.mono_ms
            self._writer.look_for_room()

    def after_start(self, stop: threading.Event) -> None:
        """What a start does not wait for, in small pieces beside the work, until it is done or `stop`: the rest of long
        files that were set aside, and the look through a long one. sqlite3.DatabaseError if that finds it damaged."""
        try:
            self._rescue.finish(reversed(self.damaged_files()), stop)
        except OutboxClosed:
            return  # the end did not wait for this; the next start goes on
        if not self._long or stop.is_set():
            return
        log.info("存档较长, 边工作边检查 / the outbox is long, looked through beside the work: %s", self.path)
        with closing(outbox_file.open_beside(self.path)) as db:
            for number, wrong in enumerate(look.wrong(db, outbox_file.FORM, _LOOKED_AT_ONCE), 1):
                if wrong:
                    raise sqlite3.DatabaseError(f"{self.path}: {wrong}")
                if number % _LOOKS_SAID == 0:
                    log.info("存档已检查 %s 行 / rows of the outbox looked through", number * _LOOKED_AT_ONCE)
                self._lock.stand_back()
                if stop.wait(_LOOK_PAUSE_S):
                    return
        log.info("存档完好 / the outbox is whole: %s", self.path)

    def close(self) -> None:
        """Let go of the file. A door's thread may ask all the same, and is told OutboxClosed."""
        self._lock.shut()
        self._writer.back.close()
        with self._out:
            self._reader.close()
        self._db.close()
        if self._latest is not None:
            self._latest.close()
        if self._owned is not None:
            self._owned.close()

    def condemn(self, now_ms: int, why: str = "damaged") -> None:
        """Let go of a file that turned out to be damaged, or forked, while it was used, and set it aside whole.

        The next start begins a new epoch with all that waits in it.
        """
        self._lock.shut()
        self._writer.back.close()
        with self._out:
            self._reader.close()
        self._db.close()
        # Still ours: the next agent finds the place empty.
        self.set_aside = outbox_file.put_aside(self.path, now_ms, why)
        self.close()
        log.error("存档不能再用 (%s), 已原样移至 / outbox set aside whole: %s", why, self.set_aside)

    def damaged_files(self) -> list[Path]:
        """The files that were ever set aside here and still wait for a person."""
        return outbox_file.put_aside_before(self.path)

    @property
    def forked_ms(self) -> int:
        """When an outbox was last set aside here because the collector contradicted it; 0 if never."""
        stamps = [file.name.rpartition(".forked-")[2] for file in self.damaged_files() if ".forked-" in file.name]
        return max((int(stamp) for stamp in stamps if stamp.isdecimal()), default=0)

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call `listener(window)` after each change on disk, and with no window when `full` changes. It must not
        block."""
        self._listeners.append(listener)

    # ---- presses

    def keep(
        self,
        window: str,
        profile: tuple[str, int],
        presses: Sequence[Press],
        moment: Moment,
        known: str | None = ANY_INVITATION,
    ) -> int | None:
        """Keep these presses; how many were new. All are on disk when this returns; OutboxFull if they are not.

        A press inside an open invitation answers it. A press that was kept before is not kept again. `known` is the
        invitation that the caller believes to be open; if it is another one, nothing is kept and the answer is None.
        """
        with self._lock.urgent(), self._writer.transaction():
            if known != ANY_INVITATION and known != self.open_id(window):
                return None
            records: list[PressRecord | ClosingRecord] = []
            first = self._writer.tip().seq + 1
            for press in presses:
                records += self._understood(first + len(records), window, profile, press, moment)
            if records:
                self._append(records, moment.wall_ms)
        fresh = sum(1 for record in records if isinstance(record, PressRecord))
        if records:
            _note(window, [record for record in records if isinstance(record, PressRecord)])
            self._tell(window)
        return fresh

    def _understood(
        self, seq: int, window: str, profile: tuple[str, int], press: Press, moment: Moment
    ) -> list[PressRecord | ClosingRecord]:
        """What record `seq` and the one after it are to say of this press, if it is new."""
        # Our own page draws the number of each start, and the clock of a tablet stands still while that sleeps.
        if self._seen.has(press, moment, by_number=profile[0] == OWN):
            return []
        self._seen.note(seq, press, moment)
        invitation, doubted = self._invitations.of(window, press, moment)
        if invitation is not None and self._wishes.is_later(invitation, press, moment):
            invitation, doubted = None, invitation  # somebody else stands there, who could not be asked
        record = PressRecord(
            window=window,
            device=press.id.device,
            boot=press.id.boot,
            count=press.id.count,
            button=press.button,
            pressed_ms=moment.wall_ms - press.age_ms,
            kept_ms=moment.wall_ms,
            mono_ms=moment.mono_ms,
            host_boot=moment.host_boot,
            synced=moment.synced,
            profile=profile[0],
            profile_version=profile[1],
            raw=press.raw.hex(),
            invitation=invitation.id if invitation else None,
            unsure_ms=min(press.unsure_ms, SEQ_MAX),
            doubt=doubted.id if doubted else "",
            tags=list(press.reasons.tags),
            tags_version=press.reasons.tags_version,
            text=press.reasons.text,
        )
        closing = self._invitations.answer(invitation, str(press.id), moment) if invitation else None
        return [record] if closing is None else [record, closing]

    def next_boot(self, device: str, wall_ms: int) -> int:
        """A number for a device that does not count its starts: larger than any it had, also after a new outbox."""
        with self._lock:
            return max(self._seen.last_boot(device) + 1, wall_ms // 1000)

    # ---- invitations

    def open_invitation(self, invitation: Invitation, replace: bool = False, waited_ms: int = 0) -> Invitation:
        """Open this invitation; WindowBusy if its window has one open and it is not to be replaced.

        One whose id is known is not opened a second time: the answer is the one that is known, as it is now. It was
        tried first `waited_ms` ago: whoever pressed since then is another citizen than the one before, and was not
        asked yet.
        """
        opened, tried = invitation.opened, invitation.opened.ago(waited_ms)
        with self._or_wished(invitation.window, "withdrawn", tried, replace), self._writer.transaction():
            known = self._invitations.get(invitation.id)
            if known is not None:
                return self._invitations.told(known)
            busy = self._invitations.open_in(invitation.window)
            if busy is not None:
                # One whose time is over ends by that, whoever comes next.
                over = busy.remaining_ms(opened) <= 0
                if not over and not replace:
                    raise WindowBusy(busy.id)
                # One that began after this was tried first ended when this begins: its citizen was asked meanwhile.
                ended = opened if over or busy.since_opened_ms(tried) < 0 else tried
                self._end(busy, "expired" if over else "withdrawn", ended, opened.wall_ms)
            if waited_ms:
                self._invitations.nobody_since(invitation.window, tried)
            self._invitations.begin(invitation)
        self._tell(invitation.window)
        return invitation

    def close_invitation(self, invitation: str, outcome: Outcome, moment: Moment) -> Invitation | None:
        """End this invitation unless it has ended; as it is then, or None if there is no such invitation."""
        with self._lock:
            known = self._invitations.get(invitation)
        if known is None:
            return None
        with self._or_wished(known.window, outcome, moment, True, invitation), self._writer.transaction():
            kept = self._invitations.get(invitation)
            if kept is not None and kept.state == "open":
                self._end(kept, outcome, moment, moment.wall_ms)
        self._tell(known.window)
        return self.invitation(invitation)

    def stay(self, invitation: str, seconds: int, moment: Moment) -> Invitation | None:
        """Somebody is answering this invitation just now: while it is open it goes on for at least so many seconds,
        and for INVITE_S_MAX in all. As it is then, or None if there is no such invitation."""
        with self._lock.urgent(), self._writer.transaction():
            kept = self._invitations.get(invitation)
            if kept is not None and kept.state == "open":
                self._invitations.extend(kept, seconds, moment)
        return self.invitation(invitation)

    def expire(self, window: str, outcome: Outcome, moment: Moment) -> bool:
        """End the window's open invitation with `outcome` if its time is over; whether it was."""
        with self._lock:
            kept = self._invitations.open_in(window)
        if kept is None or kept.remaining_ms(moment) > -GRACE_MS:
            return False
        return self.close_invitation(kept.id, outcome, moment) is not None

    def invitation(self, invitation: str) -> Invitation | None:
        """This invitation as it is now."""
        with self._lock:
            kept = self._invitations.get(invitation)
            return self._invitations.told(kept) if kept is not None else None

    def open_at(self, window: str, moment: Moment) -> tuple[Invitation, int] | None:
        """The window's open invitation and how many milliseconds it has left (below 0: over)."""
        with self._lock:
            kept = self._invitations.open_in(window)
            return (self._invitations.told(kept), kept.remaining_ms(moment)) if kept is not None else None

    def open_id(self, window: str) -> str | None:
        """The id of the window's open invitation."""
        with self._lock:
            kept = self._invitations.open_in(window)
        return kept.id if kept is not None else None

    def latest_invitations(self, window: str, most: int) -> list[tuple[Invitation, bool]]:
        """Those of this window that were opened last, the newest first, and whether each has had a press: also one
        that was taken back while somebody was answering it."""
        with self._lock:
            told = self._invitations.told
            return [(told(kept), kept.press is not None) for kept in self._invitations.latest(window, most)]

    def kept_rated(self) -> dict[str, int]:
        """Per window, how many invitations have had a press."""
        with self._lock:
            return self._invitations.rated()

    def _end(self, kept: Kept, outcome: Outcome, moment: Moment, now_ms: int) -> None:
        """Within a transaction: it ends so, or as it was to end before there was room to write that down."""
        wish = self._wishes.of(kept)
        if wish is not None:
            outcome, moment = wish.outcome, wish.moment
        self._append([self._invitations.end(kept, outcome, moment)], now_ms)

    @contextmanager
    def _or_wished(
        self, window: str, outcome: Outcome, moment: Moment, ends: bool, only: str | None = None
    ) -> Iterator[None]:
        """Where there is no room to write it down: what is open at this window was to end so, all the same."""
        with self._lock.urgent():
            try:
                yield
            except OutboxFull:
                if ends:
                    self._wish(window, outcome, moment, only)
                raise

    def not_asked(self, window: str, moment: Moment) -> None:
        """There was no room for what the next invitation of this window needs: what is open there is to end, as if
        there had been."""
        self._wish(window, "withdrawn", moment, None)

    def _wish(self, window: str, outcome: Outcome, moment: Moment, only: str | None) -> None:
        with self._lock:
            kept = self._invitations.open_in(window)
            if kept is not None and only in (None, kept.id) and kept.since_opened_ms(moment) >= 0:
                self._wishes.note(kept, outcome, moment)

    # ---- the file

    def _append(self, records: Sequence[PressRecord | ClosingRecord], now_ms: int) -> None:
        made = [New(record.window, isinstance(record, PressRecord), encode_record(record)) for record in records]
        self._writer.append(made, now_ms)

    def _tell(self, window: str) -> None:
        for listener in self._listeners:
            listener(window)


def _note(window: str, kept: list[PressRecord]) -> None:
    """Say what was kept, for whoever reads the log: never the button, which is the citizen's."""
    if not log.isEnabledFor(logging.INFO):
        return
    invited = sum(press.invitation is not None for press in kept)
    if len(kept) > _NOTED_MAX:
        words = "按键已存 / presses kept: window=%s %s 次, 评价中 %s 次 / %s of them, %s inside an invitation"
        log.info(words, window, len(kept), invited, len(kept), invited)
        return
    for press in kept:
        where = "评价中 / inside an invitation" if press.invitation else "无邀请 / no invitation"
        if press.doubt:
            where = "太早, 可能属于上一位, 不评 / too early, may be the one before's: rated for nobody"
        log.info(
            "按键已存 / press kept: window=%s %s %s", window, PressId(press.device, press.boot, press.count), where
        )
