"""Records on their way out, kept on disk until the collector says that it has them.

One SQLite file: records in a hash chain, the invitations of the windows, and which presses have been seen. Every
method that writes has written to the disk when it returns. Any thread may call any method.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Any

from protocols import chain
from protocols.messages import (
    BATCH_BYTES_MAX,
    RECORDS_MAX,
    SEQ_MAX,
    Batch,
    ClosingRecord,
    PressRecord,
    Receipt,
    Record,
    SalvageRecord,
    batch_of,
    decode_record,
    encode_record,
)
from protocols.ratings import Invitation, Moment, Outcome, Press, PressId

from . import file as outbox_file
from . import look, rows
from .invitations import GRACE_MS
from .latest import Latest
from .lock import OutboxClosed
from .rescue import Rescue
from .writer import New, OutboxFull, Writer, added, day_of

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
_DELETED_AT_ONCE = 250  # records: a millisecond of the disk, for which a press may have to wait
_UNPACKED_AT_ONCE = 32  # records: a fifth of a millisecond
_LOOKED_AT_ONCE = (
    64  # rows: half a millisecond's work, and then the same ten times over for whatever else there is to do
)
_LOOK_PAUSE_S = 0.005
_LOOK_FOR_ROOM_MS = 1000  # a clerk who has made room sees it at once; one small write a second wears no disk out
_LOOKS_SAID = 2_000  # looks: a line in the log for each hundred thousand rows
_HEAD = ("day", "epoch", "seq", "head")
_NOTED_MAX = 10  # presses of one read that get a line each; more is a device that gives back what it had stored


class WindowBusy(Exception):
    """Another invitation is open at this window."""

    def __init__(self, invitation: str):
        super().__init__(invitation)
        self.invitation = invitation


class Settled(Enum):
    """What a receipt did."""

    DELETED = "deleted"
    STALE = "stale"  # says nothing new, or speaks of another epoch
    MISMATCH = "mismatch"  # the collector holds something else than we wrote: nothing is deleted


@dataclass(frozen=True)
class Backlog:
    """What is not receipted: how many records, and since when the oldest waits; and the last record's number."""

    records: int
    oldest_ms: int | None
    tip: int


class Outbox:
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
            self._db = outbox_file.open_to_look(path, agent) if look_only else self._opened(now_ms)
        except BaseException:
            if self._owned is not None:
                self._owned.close()
            raise
        self._reader = outbox_file.open_beside(path)
        self._out = threading.Lock()  # for the reader, and what was read with it
        pages = max_megabytes * 1_000_000 // self._value("PRAGMA page_size")
        # With a bound of our own an insert fails before the disk is full, and deleting still works.
        self._db.execute(f"PRAGMA max_page_count = {pages}")
        self.epoch: str = self._value("SELECT epoch FROM epoch")
        self._writer = Writer(self._db, path, self.epoch)
        self._writer.on_room = lambda: self._tell("")
        self._looked_ms = 0
        """When it was last tried whether there is room again."""
        self._lock = self._writer.lock
        self._invitations, self._seen = self._writer.invitations, self._writer.seen
        self._rescue = Rescue(self._writer, agent)
        self._heads_at: dict[int, bytes] = {}
        """The hashes of the records that were last asked for, by their numbers."""
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
                "存档被旧副本替换, 其中未结束的邀请作废 / the outbox is an older copy, what is open in it is withdrawn"
            )
            log.error("%s: %s (%s < %s)", words, self.path, tip, noted[1])
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

    def look_for_room(self, moment: Moment) -> None:
        """See whether `full` still holds; to be called now and then, also when nobody presses."""
        if not 0 <= moment.mono_ms - self._looked_ms < _LOOK_FOR_ROOM_MS:
            self._looked_ms = moment.mono_ms
            self._writer.look_for_room()

    def after_start(self, stop: threading.Event) -> None:
        """What a start does not wait for, in small pieces beside the work, until it is done or `stop`: the rest of long
        files that were set aside, and the look through a long one. sqlite3.DatabaseError if that finds it damaged."""
        self._rescue.finish(reversed(self.damaged_files()), stop)
        if not self._long or stop.is_set():
            return
        log.info("存档较长, 边工作边检查 / the outbox is long, looked through beside the work: %s", self.path)
        with closing(outbox_file.open_beside(self.path)) as db:
            for number, wrong in enumerate(look.wrong(db, outbox_file.FORM, _LOOKED_AT_ONCE), 1):
                if wrong:
                    raise sqlite3.DatabaseError(f"{self.path}: {wrong}")
                if number % _LOOKS_SAID == 0:
                    log.info("存档已检查 %s 行 / rows of the outbox looked through", number * _LOOKED_AT_ONCE)
                if stop.wait(_LOOK_PAUSE_S):
                    return
        log.info("存档完好 / the outbox is whole: %s", self.path)

    def tidy(self) -> None:
        """Work that nobody waits for, to be called whenever there is time; mostly there is none to do.
        sqlite3.DatabaseError if the file turns out to be damaged."""
        self._writer.back.now_and_then()

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
        if self._seen.has(press, moment):
            return []
        self._seen.note(seq, press, moment)
        invitation, doubted = self._invitations.of(window, press, moment)
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
        )
        closing = self._invitations.answer(invitation, str(press.id), moment) if invitation else None
        return [record] if closing is None else [record, closing]

    def next_boot(self, device: str, wall_ms: int) -> int:
        """A number for a device that does not count its starts: larger than any it had, also after a new outbox."""
        with self._lock:
            return max(self._seen.last_boot(device) + 1, wall_ms // 1000)

    # ---- invitations

    def open_invitation(self, invitation: Invitation, replace: bool = False) -> Invitation:
        """Open this invitation; WindowBusy if its window has one open and it is not to be replaced.

        One whose id is known is not opened a second time: the answer is the one that is known, as it is now.
        """
        opened = invitation.opened
        with self._lock.urgent(), self._writer.transaction():
            known = self._invitations.get(invitation.id)
            if known is not None:
                return known.invitation
            busy = self._invitations.open_in(invitation.window)
            if busy is not None:
                # One whose time is over ends by that, whoever comes next.
                over = busy.remaining_ms(opened) <= 0
                if not over and not replace:
                    raise WindowBusy(busy.id)
                ended = self._invitations.end(busy, "expired" if over else "withdrawn", opened)
                self._append([ended], opened.wall_ms)
            self._invitations.begin(invitation)
        self._tell(invitation.window)
        return invitation

    def close_invitation(self, invitation: str, outcome: Outcome, moment: Moment) -> Invitation | None:
        """End this invitation unless it has ended; as it is then, or None if there is no such invitation."""
        with self._lock.urgent(), self._writer.transaction():
            kept = self._invitations.get(invitation)
            if kept is not None and kept.state == "open":
                self._append([self._invitations.end(kept, outcome, moment)], moment.wall_ms)
        if kept is not None:
            self._tell(kept.window)
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
        return kept.invitation if kept is not None else None

    def open_at(self, window: str, moment: Moment) -> tuple[Invitation, int] | None:
        """The window's open invitation and how many milliseconds it has left (below 0: over)."""
        with self._lock:
            kept = self._invitations.open_in(window)
        return (kept.invitation, kept.remaining_ms(moment)) if kept is not None else None

    def open_id(self, window: str) -> str | None:
        """The id of the window's open invitation."""
        with self._lock:
            kept = self._invitations.open_in(window)
        return kept.id if kept is not None else None

    def kept_rated(self) -> dict[str, int]:
        """Per window, how many invitations have had a press."""
        with self._lock:
            return self._invitations.rated()

    # ---- on their way out

    def due(self) -> Batch | None:
        """The oldest records that are not receipted, as many as fit in one batch; None if there are none.

        sqlite3.DatabaseError if they are not what was written.
        """
        return self._batch(None)

    def due_behind(self, batch: Batch) -> Batch | None:
        """What will be due once `batch`, the one on its way, is receipted; None as long as that is less than a whole
        batch may hold. sqlite3.DatabaseError if it is not what was written."""
        return self._batch(batch)

    def _batch(self, behind: Batch | None) -> Batch | None:
        # Read beside the writer: a press must not wait while a thousand records are unpacked.
        with self._out:
            with look.one_view(self._reader):
                done, tip = rows.receipted(self._reader), rows.tip(self._reader)
                before = done
                if behind is not None:
                    before = rows.Receipted(behind.first + len(behind.records) - 1, bytes.fromhex(behind.head))
                    if before.seq + RECORDS_MAX > tip.seq:
                        return None
                found = self._reader.execute(
                    f"{look.RECORDS} WHERE seq > ? ORDER BY seq LIMIT ?", (before.seq, RECORDS_MAX)
                ).fetchall()
            if before.seq == tip.seq:
                return None
            first = before.seq + 1
            # The collector would take what was changed for what was written: it has to be known here.
            bodies = _fitting(self._by_and_by(self._bodies(found, first)))
            last = first + len(bodies) - 1
            head = chain.heads(before.head, bodies)[-1] if bodies else b""
            if not bodies or (last == tip.seq and head != tip.head):
                raise self._broken(first)
            # Of two at most: the one on its way, and the one behind it.
            self._heads_at = {before.seq: before.head, last: head}
        return batch_of(self.epoch, first, before.head, head, bodies, oldest=done.seq + 1)

    def _bodies(self, found: Iterable[Any], first: int) -> Iterator[bytes]:
        """What these rows hold, from record `first` on without a hole; sqlite3.DatabaseError if it is not all there."""
        for seq, row in enumerate(found, first):
            body = look.body_of(row)
            if row["seq"] != seq or body is None:
                raise self._broken(seq)
            yield body

    def _by_and_by(self, bodies: Iterator[bytes]) -> Iterator[bytes]:
        """Unpacked between the presses."""
        while some := list(islice(bodies, _UNPACKED_AT_ONCE)):
            self._lock.stand_back()
            yield from some

    def _broken(self, seq: int) -> sqlite3.DatabaseError:
        return sqlite3.DatabaseError(f"{self.path}: 第 {seq} 条损坏 / record {seq} is damaged")

    def _hash_at(self, seq: int) -> bytes | None:
        """The hash of this record, one of those that wait; None if there is no such record any more or yet."""
        done, tip = rows.receipted(self._db), rows.tip(self._db)
        if not done.seq < seq <= tip.seq:
            return None
        if seq == tip.seq:
            return tip.head
        if seq not in self._heads_at:
            found = self._db.execute(f"{look.RECORDS} WHERE seq > ? AND seq <= ? ORDER BY seq", (done.seq, seq))
            head = done.head
            for body in self._bodies(found, done.seq + 1):
                head = chain.link(head, body)
            self._heads_at = {seq: head}
        return self._heads_at[seq]

    def settle(self, receipt: Receipt) -> Settled:
        """Let go of what the collector holds, if it holds exactly what we wrote."""
        if receipt.epoch != self.epoch:
            return Settled.STALE
        self._lock.stand_back()
        with self._writer.transaction():
            if receipt.upto <= rows.receipted(self._db).seq:
                return Settled.STALE
            head = self._hash_at(receipt.upto)
            if head is None or head.hex() != receipt.head:
                return Settled.MISMATCH
            tip = self._writer.tip()
            gone = self._db.execute(
                "SELECT name.text, -count(*) FROM record JOIN name ON name.n = window"
                " WHERE seq > ? AND seq <= ? AND press = 1 GROUP BY window",
                (tip.done, receipt.upto),
            ).fetchall()
            rows.put_receipted(self._db, rows.Receipted(receipt.upto, head))
            rows.put_tip(self._db, tip._replace(waiting=added(tip.waiting, dict(gone)), done=receipt.upto))
            # The receipt of a press is one commit: the next press waits for no second one.
            more = self._delete_some(receipt.upto)
        # What is receipted is nobody's any more, whether it is still there or not: a press waits for a few at most.
        while more:
            self._lock.stand_back()
            with self._writer.transaction():
                more = self._delete_some(receipt.upto)
        self.tidy()
        return Settled.DELETED

    def _delete_some(self, upto: int) -> bool:
        """Within a transaction; whether there are more to delete."""
        first = self._value("SELECT min(seq) FROM record")
        if first is None or first > upto:
            return False
        last = min(upto, first + _DELETED_AT_ONCE - 1)
        self._db.execute("DELETE FROM record WHERE seq <= ?", (last,))
        return bool(last < upto)

    def backlog(self) -> Backlog:
        """How much is not receipted."""
        with self._lock:
            tip, done = rows.tip(self._db).seq, rows.receipted(self._db).seq
            oldest = self._row(f"{look.RECORDS} WHERE seq > ? ORDER BY seq LIMIT 1", (done,))
        if oldest is None:
            return Backlog(tip - done, None, tip)
        [body] = self._bodies([oldest], oldest["seq"])
        return Backlog(tip - done, _written_ms(decode_record(body)), tip)

    def waiting(self, window: str) -> int:
        """Presses of this window that are not receipted."""
        with self._lock:
            return int(json.loads(rows.tip(self._db).waiting).get(window, 0))

    def heads(self) -> list[dict[str, Any]]:
        """The hall's own evidence: day (UTC), epoch, number and hash of the last record of each day, today's as it is
        now."""
        with self._lock:
            found = self._db.execute(f"{rows.SELECT['daily_head']} ORDER BY day, seq").fetchall()
            tip = rows.tip(self._db)
        heads = [dict(zip(_HEAD, rows.checked("daily_head", row), strict=True)) for row in found]
        if tip.seq:
            heads.append(dict(zip(_HEAD, (day_of(tip.at_ms), self.epoch, tip.seq, tip.head.hex()), strict=True)))
        return heads

    def receipted(self) -> tuple[int, str]:
        """Number and hash (hex) of the last record that the collector has receipted; 0 if none."""
        with self._lock:
            done = rows.receipted(self._db)
        return done.seq, done.head.hex()

    def tip(self) -> tuple[int, str]:
        """Number and hash (hex) of the last record ever written."""
        with self._lock:
            tip = rows.tip(self._db)
        return tip.seq, tip.head.hex()

    def records(self) -> Iterator[dict[str, Any]]:
        """Every record not yet receipted: seq, window, kind, body (JSON text), hash (hex)."""
        with self._lock:
            done = rows.receipted(self._db)
            head = done.head
            for row in self._db.execute(f"{look.RECORDS} WHERE seq > ? ORDER BY seq", (done.seq,)):
                [body] = self._bodies([row], row["seq"])
                head = chain.link(head, body)
                yield {
                    "seq": row["seq"],
                    "window": row["window"],
                    "kind": "press" if row["press"] else "closing",
                    "body": body.decode(),
                    "hash": head.hex(),
                }

    def first_break(self) -> int | None:
        """The number of the first record whose hash does not follow from the one before; None if the chain holds."""
        with self._lock:
            return look.first_break(self._db)

    # ---- the file

    def _append(self, records: Sequence[PressRecord | ClosingRecord], now_ms: int) -> None:
        made = [New(record.window, isinstance(record, PressRecord), encode_record(record)) for record in records]
        self._writer.append(made, now_ms)

    def _row(self, sql: str, values: tuple[Any, ...] = ()) -> Any:
        with self._lock:
            return self._db.execute(sql, values).fetchone()

    def _value(self, sql: str) -> Any:
        return self._db.execute(sql).fetchone()[0]

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


def _fitting(bodies: Iterable[bytes]) -> list[bytes]:
    room = BATCH_BYTES_MAX - 1024  # for what stands around the records
    fitting: list[bytes] = []
    for body in bodies:
        room -= len(body) + 1
        if room < 0 and fitting:
            break
        fitting.append(body)
    return fitting


def _written_ms(record: Record) -> int:
    match record:
        case PressRecord(kept_ms=at_ms) | ClosingRecord(closed_ms=at_ms) | SalvageRecord(at_ms=at_ms):
            return at_ms
