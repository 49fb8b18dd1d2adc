"""Records on their way out, kept on disk until the collector says that it has them.

One SQLite file: records in a hash chain, the invitations of the windows, and which presses have been seen. Every
method that writes has written to the disk when it returns. Any thread may call any method.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import sqlite_utils

from protocols import chain
from protocols.errors import BadMessage
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
from protocols.ratings import Invitation, InvitationState, Moment, Outcome, Press, PressId

from . import file as outbox_file
from . import rows, salvage

log = logging.getLogger(__name__)

GRACE_MS = 1000  # a device starts its seconds when INVITE reaches it, and its words can wait STALE_MS in our buffers
ANY_INVITATION = "*"
_SAME_PRESS_MS = 5000  # how far two reports of one press may differ: a slow line and a device's cheap crystal
_SAME_PRESS_OTHER_BOOT_MS = 600_000  # the same, when the PC was restarted in between and only the wall clock is left
_SEEN_MAX = 100_000  # a device repeats a press for minutes; this is weeks of a hall
_SEEN_TRIM = 1_000  # trim the above now and then, not at every press
_INVITATIONS_LOOKED_AT = 10_000  # a window's services of a month: a device may hold a press for as long as it has power
_INVITATION_DAYS = 30  # how long an ended invitation can still be asked for
_INVITATIONS_TRIM = 10  # of the oldest at each opening: a look at all of them would hold up a hall's presses
_INVITATION_KEPT = (
    "n",
    "key",
    "window",
    "state",
    "seconds",
    "opened_ms",
    "mono_ms",
    "synced",
    "case_no",
    "service_number",
    "clerk",
    "closed_ms",
    "closed_mono_ms",
    "press",
)
_DAY_MS = 86_400_000
_NOTED_MAX = 10  # presses of one read that get a line each; more is a device that gives back what it had stored


class OutboxFull(Exception):
    """The disk, or the room given to the outbox, is full: nothing was kept and nothing may be acknowledged."""


class WindowBusy(Exception):
    """Another invitation is open at this window."""

    def __init__(self, invitation: str):
        super().__init__(invitation)
        self.invitation = invitation


class Settled(Enum):
    """What a receipt did."""

    DELETED = "deleted"
    STALE = "stale"  # says nothing new, or speaks of another epoch
    MISMATCH = "mismatch"  # the collector holds something else than we wrote: nothing is deleted, a person must look


@dataclass(frozen=True)
class Backlog:
    """What is not receipted: how many records, and since when the oldest waits; and the last record's number."""

    records: int
    oldest_ms: int | None
    tip: int


class _Row(NamedTuple):
    """A record as it goes into its table."""

    window: str
    press: bool
    body: bytes


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
        self.full = False
        """Whether the last attempt to write something down failed for want of room."""
        self.set_aside: Path | None = None
        self._lock = threading.RLock()
        self._listeners: list[Callable[[str], None]] = []
        # Before the look: whoever else has it may be writing, and a file in use must not be set aside.
        self._owned = outbox_file.own(path) if sole else None
        self._db = outbox_file.open_to_look(path, agent) if look_only else self._opened(now_ms)
        pages = max_megabytes * 1_000_000 // self._value("PRAGMA page_size")
        # With a bound of our own an insert fails before the disk is full, and deleting still works.
        self._db.execute(f"PRAGMA max_page_count = {pages}")
        self.epoch: str = self._value("SELECT epoch FROM epoch")
        self._open_rows: dict[str, sqlite3.Row | None] = {}
        self._names: dict[str, int] = {}
        self._head_at = (0, b"")
        """The hash of a record that was last asked for, by its number."""
        if not look_only:
            for damaged in self.damaged_files():
                self._rescue(damaged, now_ms)

    def _opened(self, now_ms: int) -> sqlite3.Connection:
        damage = outbox_file.damage(self.path, self.agent)
        if damage:
            self.set_aside = outbox_file.put_aside(self.path, now_ms)
            log.error("存档损坏, 已原样移至 / outbox was damaged, set aside whole: %s (%s)", self.set_aside, damage)
        return outbox_file.open_to_write(self.path, self.agent, now_ms)

    def _rescue(self, damaged: Path, now_ms: int) -> None:
        """Take over all that can be read of a file that was set aside; what cannot is named in a record. Once."""
        if self._row("SELECT 1 FROM rescued WHERE file = ?", (damaged.name,)) is not None:
            return
        try:
            found = salvage.salvaged(damaged)
            lost = list(salvage.ranges(found.lost))
            self._take_over(found, damaged.name, lost, now_ms)
        except (OSError, OutboxFull) as error:
            # The work goes on without: what lies aside is not lost, and presses must be taken.
            words = "损坏的存档还没有读出来, 下次启动再试 / not salvaged yet, tried again at the next start"
            log.error("%s: %s (%s)", words, damaged, error)
            return
        names = ", ".join(f"{first}–{last}" for first, last in lost) or "无 / none"
        log.error("损坏的存档已读出 %s 条, 读不出 / records salvaged, not readable: %s", len(found.bodies), names)

    def _take_over(self, found: salvage.Salvaged, name: str, lost: Sequence[tuple[int, int]], now_ms: int) -> None:
        said = SalvageRecord(found.epoch, found.done + 1, found.tip, list(lost), now_ms, name)
        with self._writing():
            noted = self._db.execute("INSERT OR IGNORE INTO rescued VALUES (?,?)", (name, now_ms))
            if not noted.rowcount:
                return  # another program has been faster
            self._append_all([_Row("", False, encode_record(said)), *map(_row_of, found.bodies.values())], now_ms)
            self._restore(found)

    def _restore(self, found: salvage.Salvaged) -> None:
        """The invitations and the presses seen of a damaged file, as far as they could be read."""
        for each in found.seen:
            row = (each["device"], each["boot"], each["count"], each["button"], each["pressed_ms"], each["mono_ms"])
            self._db.execute(
                "INSERT OR IGNORE INTO seen_row(device, boot, count, button, pressed_ms, mono_ms, host)"
                " VALUES (?,?,?,?,?,?,?)",
                (*row, self._name(each["host_boot"])),
            )
        for each in found.heads:
            self._db.execute(
                "INSERT OR IGNORE INTO daily_head(day, epoch, seq, head) VALUES (?,?,?,?)",
                (each["day"], each.get("epoch") or found.epoch, each["seq"], each["head"]),
            )
        if self._row("SELECT 1 FROM invitation_row LIMIT 1") is not None:
            return  # a later start: citizens have been asked since, and those of before are gone
        for each in found.invitations:
            closed = self._name(each["closed_boot"]) if each["closed_boot"] is not None else None
            kept = {name: each[name] for name in _INVITATION_KEPT}
            self._db.execute(
                f"INSERT OR IGNORE INTO invitation_row({', '.join(kept)}, host, closed_host)"
                f" VALUES ({', '.join('?' * len(kept))}, ?, ?)",
                (*kept.values(), self._name(each["host_boot"]), closed),
            )

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()
            if self._owned is not None:
                self._owned.close()

    def condemn(self, now_ms: int) -> None:
        """Let go of a file that turned out to be damaged while it was used, and set it aside whole."""
        with self._lock:
            self._db.close()
            # Still ours: the next agent finds the place empty.
            self.set_aside = outbox_file.put_aside(self.path, now_ms)
        self.close()
        log.error("存档损坏, 已原样移至 / outbox is damaged, set aside whole: %s", self.set_aside)

    def damaged_files(self) -> list[Path]:
        """The files that were ever set aside here and still wait for a person."""
        return outbox_file.put_aside_before(self.path)

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call `listener(window)` after each change on disk. It must not block."""
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
        with self._lock, self._writing():
            if known != ANY_INVITATION and known != self.open_id(window):
                return None
            records: list[PressRecord | ClosingRecord] = []
            for press in presses:
                records += self._understood(window, profile, press, moment)
            if records:
                self._append(records, moment.wall_ms)
        fresh = sum(1 for record in records if isinstance(record, PressRecord))
        if records:
            _note(window, [record for record in records if isinstance(record, PressRecord)])
            self._tell(window)
        return fresh

    def _understood(
        self, window: str, profile: tuple[str, int], press: Press, moment: Moment
    ) -> list[PressRecord | ClosingRecord]:
        if self._seen_before(press, moment):
            return []
        self._db.execute(
            "INSERT INTO seen_row(device, boot, count, button, pressed_ms, mono_ms, host) VALUES (?,?,?,?,?,?,?)",
            (
                press.id.device,
                press.id.boot,
                press.id.count,
                press.button,
                moment.wall_ms - press.age_ms,
                moment.mono_ms - press.age_ms,
                self._name(moment.host_boot),
            ),
        )
        invitation, doubted = self._invitation_of(window, press, moment)
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
            invitation=invitation["id"] if invitation else None,
            unsure_ms=min(press.unsure_ms, SEQ_MAX),
            doubt=doubted["id"] if doubted else "",
        )
        if invitation is None:
            return [record]
        if invitation["press"] is None:
            self._db.execute("UPDATE invitation_row SET press = ? WHERE n = ?", (str(press.id), invitation["n"]))
        if invitation["state"] != "open":
            return [record]
        return [record, self._closed(invitation, "answered", moment)]

    def next_boot(self, device: str, wall_ms: int) -> int:
        """A number for a device that does not count its starts: larger than any it had, also after a new outbox."""
        last = self._row("SELECT max(boot) AS boot FROM seen_row WHERE device = ?", (device,))["boot"]
        return max((last or 0) + 1, wall_ms // 1000)

    def _seen_before(self, press: Press, moment: Moment) -> bool:
        found = self._db.execute(
            "SELECT button, pressed_ms, mono_ms, host_boot FROM seen WHERE device = ? AND boot = ? AND count = ?",
            (press.id.device, press.id.boot, press.id.count),
        )
        return any(_same_press(row, press, moment) for row in found)

    def _invitation_of(
        self, window: str, press: Press, moment: Moment
    ) -> tuple[sqlite3.Row | None, sqlite3.Row | None]:
        """The invitation that was open when the button went down, however late the press arrives; or the one that may
        have been, where it may as well have gone down before that."""
        if press.shown is not None:
            return self._shown(window, press, press.shown, moment)
        found = self._db.execute(
            "SELECT * FROM invitation WHERE window = ? ORDER BY n DESC LIMIT ?", (window, _INVITATIONS_LOOKED_AT)
        )
        # One ends at the latest where the next begins, so the last that began before the press decides.
        begun = next((row for row in found if _since_opened_ms(row, moment) >= press.age_ms), None)
        if begun is None or not _was_open(begun, press.age_ms, moment):
            return None, None
        if _since_opened_ms(begun, moment) < press.age_ms + press.soon_ms:
            return None, begun
        if _since_opened_ms(begun, moment) >= press.age_ms + press.unsure_ms:
            return begun, None
        if press.solicited and not self._was_asked_before(begun, press, moment):
            return begun, None
        return None, begun

    def _shown(
        self, window: str, press: Press, shown: str, moment: Moment
    ) -> tuple[sqlite3.Row | None, sqlite3.Row | None]:
        """The same where the device says what it asked: that invitation or none, whatever its clock says."""
        row = self._row("SELECT * FROM invitation WHERE key = ? AND window = ?", (rows.key_of(shown), window))
        if row is None or (row["state"] == "open" and _remaining_ms(row, moment) > -GRACE_MS):
            return row, None
        if press.age_ms > _since_opened_ms(row, moment):
            return None, row  # older than what it answers: nobody knows when it was made
        return (row, None) if _was_open(row, press.age_ms, moment) else (None, None)

    def _was_asked_before(self, begun: sqlite3.Row, press: Press, moment: Moment) -> bool:
        """Whether an invitation before this one may still have had the device ask when the press may have been made."""
        before = self._db.execute(
            "SELECT * FROM invitation WHERE window = ? AND n < ? ORDER BY n DESC LIMIT 1", (begun["window"], begun["n"])
        ).fetchone()
        if before is None:
            return False
        if before["state"] == "answered":
            # One answer to one question: it has stopped asking by itself.
            over_ms = _since_ms(before["closed_ms"], before["closed_mono_ms"], before["closed_boot"], moment)
        else:
            # Withdrawn, a device without a word for that goes on asking until its time is over.
            over_ms = -_remaining_ms(before, moment) - GRACE_MS
        return over_ms < press.age_ms + press.unsure_ms

    # ---- invitations

    def open_invitation(self, invitation: Invitation, replace: bool = False) -> Invitation:
        """Open this invitation; WindowBusy if its window has one open and it is not to be replaced.

        One whose id is known is not opened a second time: the answer is the one that is known, as it is now.
        """
        opened = invitation.opened
        with self._writing():
            known = self.invitation(invitation.id)
            if known is not None:
                return known
            busy = self._db.execute(
                "SELECT * FROM invitation WHERE window = ? AND state = 'open'", (invitation.window,)
            ).fetchone()
            if busy is not None:
                # One whose time is over ends by that, whoever comes next.
                over = _remaining_ms(busy, opened) <= 0
                if not over and not replace:
                    raise WindowBusy(busy["id"])
                self._append([self._closed(busy, "expired" if over else "withdrawn", opened)], opened.wall_ms)
            self._db.execute(
                "INSERT INTO invitation_row(key, window, state, seconds, opened_ms, mono_ms, host, synced, case_no,"
                " service_number, clerk) VALUES (?,?,'open',?,?,?,?,?,?,?,?)",
                (
                    rows.key_of(invitation.id),
                    invitation.window,
                    invitation.seconds,
                    opened.wall_ms,
                    opened.mono_ms,
                    self._name(opened.host_boot),
                    opened.synced,
                    invitation.case_no,
                    invitation.service_number,
                    invitation.clerk,
                ),
            )
            self._db.execute(
                "DELETE FROM invitation_row"
                " WHERE n IN (SELECT n FROM invitation_row WHERE window = ? ORDER BY n LIMIT ?)"
                " AND state != 'open' AND opened_ms < ?",
                (invitation.window, _INVITATIONS_TRIM, opened.wall_ms - _INVITATION_DAYS * _DAY_MS),
            )
        self._tell(invitation.window)
        return invitation

    def close_invitation(self, invitation: str, outcome: Outcome, moment: Moment) -> Invitation | None:
        """End this invitation unless it has ended; as it is then, or None if there is no such invitation."""
        with self._writing():
            row = self._db.execute("SELECT * FROM invitation WHERE key = ?", (rows.key_of(invitation),)).fetchone()
            if row is not None and row["state"] == "open":
                self._append([self._closed(row, outcome, moment)], moment.wall_ms)
        if row is not None:
            self._tell(row["window"])
        return self.invitation(invitation)

    def expire(self, window: str, outcome: Outcome, moment: Moment) -> bool:
        """End the window's open invitation with `outcome` if its time is over; whether it was."""
        row = self._open_row(window)
        if row is None or _remaining_ms(row, moment) > -GRACE_MS:
            return False
        return self.close_invitation(row["id"], outcome, moment) is not None

    def invitation(self, invitation: str) -> Invitation | None:
        """This invitation as it is now."""
        row = self._row("SELECT * FROM invitation WHERE key = ?", (rows.key_of(invitation),))
        return _invitation(row) if row is not None else None

    def open_at(self, window: str, moment: Moment) -> tuple[Invitation, int] | None:
        """The window's open invitation and how many milliseconds it has left (below 0: over)."""
        row = self._open_row(window)
        return (_invitation(row), _remaining_ms(row, moment)) if row is not None else None

    def open_id(self, window: str) -> str | None:
        """The id of the window's open invitation."""
        row = self._open_row(window)
        return row["id"] if row is not None else None

    def _open_row(self, window: str) -> sqlite3.Row | None:
        # Asked several times a second for each window, and nearly always to hear that nothing has changed.
        with self._lock:
            if window not in self._open_rows:
                self._open_rows[window] = self._row(
                    "SELECT * FROM invitation WHERE window = ? AND state = 'open'", (window,)
                )
            return self._open_rows[window]

    def _closed(self, row: sqlite3.Row, outcome: Outcome, moment: Moment) -> ClosingRecord:
        self._db.execute(
            "UPDATE invitation_row SET state = ?, closed_ms = ?, closed_mono_ms = ?, closed_host = ? WHERE n = ?",
            (outcome, moment.wall_ms, moment.mono_ms, self._name(moment.host_boot), row["n"]),
        )
        return ClosingRecord(
            window=row["window"],
            invitation=row["id"],
            outcome=outcome,
            case_no=row["case_no"],
            service_number=row["service_number"],
            clerk=row["clerk"],
            opened_ms=row["opened_ms"],
            deadline_ms=row["opened_ms"] + row["seconds"] * 1000,
            closed_ms=moment.wall_ms,
            mono_ms=moment.mono_ms,
            host_boot=moment.host_boot,
            synced=moment.synced,
        )

    # ---- on their way out

    def due(self) -> Batch | None:
        """The oldest records that are not receipted, as many as fit in one batch; None if there are none.

        sqlite3.DatabaseError if they are not what was written.
        """
        with self._lock, outbox_file.one_view(self._db):
            done = self._row("SELECT seq, head FROM receipted")
            tip = self._row("SELECT seq, head FROM tip")
            found = self._db.execute(
                "SELECT seq, body, sum FROM record WHERE seq > ? ORDER BY seq LIMIT ?", (done["seq"], RECORDS_MAX)
            ).fetchall()
        if done["seq"] == tip["seq"]:
            return None
        first = done["seq"] + 1
        # The collector would take what was changed for what was written: it has to be known here.
        bodies = _fitting(self._bodies(found, first))
        last = first + len(bodies) - 1
        head = chain.heads(done["head"], bodies)[-1] if bodies else b""
        if not bodies or (last == tip["seq"] and head != tip["head"]):
            raise self._broken(first)
        self._head_at = (last, head)
        return batch_of(self.epoch, first, done["head"], head, bodies, oldest=first)

    def _bodies(self, found: Iterable[Any], first: int) -> Iterator[bytes]:
        """What these rows hold, from record `first` on without a hole; sqlite3.DatabaseError if it is not all there."""
        for seq, row in enumerate(found, first):
            body = rows.unpacked(row["seq"], row["body"], row["sum"])
            if row["seq"] != seq or body is None:
                raise self._broken(seq)
            yield body

    def _broken(self, seq: int) -> sqlite3.DatabaseError:
        return sqlite3.DatabaseError(f"{self.path}: 第 {seq} 条损坏 / record {seq} is damaged")

    def _hash_at(self, seq: int) -> bytes | None:
        """The hash of this record, one of those that wait; None if there is no such record any more or yet."""
        done, tip = self._row("SELECT seq, head FROM receipted"), self._row("SELECT seq, head FROM tip")
        if not done["seq"] < seq <= tip["seq"]:
            return None
        if seq == tip["seq"]:
            return bytes(tip["head"])
        if self._head_at[0] != seq:
            found = self._db.execute(
                "SELECT seq, body, sum FROM record WHERE seq > ? AND seq <= ? ORDER BY seq", (done["seq"], seq)
            )
            head = bytes(done["head"])
            for body in self._bodies(found, done["seq"] + 1):
                head = chain.link(head, body)
            self._head_at = (seq, head)
        return self._head_at[1]

    def settle(self, receipt: Receipt) -> Settled:
        """Let go of what the collector holds, if it holds exactly what we wrote."""
        if receipt.epoch != self.epoch:
            return Settled.STALE
        with self._lock, self._writing():
            if receipt.upto <= self._row("SELECT seq FROM receipted")["seq"]:
                return Settled.STALE
            head = self._hash_at(receipt.upto)
            if head is None or head.hex() != receipt.head:
                return Settled.MISMATCH
            gone = self._db.execute(
                "SELECT name.text, -count(*) FROM record JOIN name ON name.n = window"
                " WHERE seq <= ? AND press = 1 GROUP BY window",
                (receipt.upto,),
            ).fetchall()
            self._db.execute("DELETE FROM record WHERE seq <= ?", (receipt.upto,))
            self._db.execute("UPDATE receipted SET seq = ?, head = ?", (receipt.upto, head))
            waiting = _added(self._row("SELECT waiting FROM tip")["waiting"], dict(gone))
            self._db.execute("UPDATE tip SET waiting = ?, done = ?", (waiting, receipt.upto))
        return Settled.DELETED

    def backlog(self) -> Backlog:
        """How much is not receipted."""
        with self._lock:
            tip = self._row("SELECT seq FROM tip")["seq"]
            records = tip - self._row("SELECT seq FROM receipted")["seq"]
            oldest = self._row("SELECT seq, body, sum FROM record ORDER BY seq LIMIT 1")
        if oldest is None:
            return Backlog(records, None, tip)
        [body] = self._bodies([oldest], oldest["seq"])
        return Backlog(records, _written_ms(decode_record(body)), tip)

    def waiting(self, window: str) -> int:
        """Presses of this window that are not receipted."""
        return int(json.loads(self._row("SELECT waiting FROM tip")["waiting"]).get(window, 0))

    def kept_rated(self) -> dict[str, int]:
        """Per window, how many invitations have had a press."""
        with self._lock:
            found = self._db.execute(
                "SELECT window, count(*) FROM invitation_row WHERE press IS NOT NULL GROUP BY window"
            )
            return dict(found.fetchall())

    def heads(self) -> list[dict[str, Any]]:
        """The hall's own evidence: day (UTC), epoch, number and hash of the last record of each day, today's as it is
        now."""
        with self._lock:
            found = self._db.execute("SELECT day, epoch, seq, head FROM daily_head ORDER BY day, seq").fetchall()
            tip = self._row("SELECT seq, head, at_ms FROM tip")
        heads = [dict(row) for row in found]
        if tip["seq"]:
            head = {"epoch": self.epoch, "seq": tip["seq"], "head": tip["head"].hex()}
            heads.append({"day": _day(tip["at_ms"]), **head})
        return heads

    def tip(self) -> tuple[int, str]:
        """Number and hash (hex) of the last record ever written."""
        row = self._row("SELECT seq, head FROM tip")
        return row["seq"], row["head"].hex()

    def records(self) -> Iterator[dict[str, Any]]:
        """Every record not yet receipted: seq, window, kind, body (JSON text), hash (hex)."""
        with self._lock:
            head = bytes(self._row("SELECT head FROM receipted")["head"])
            window_of = {row["n"]: row["text"] for row in sqlite_utils.Database(self._db)["name"].rows}
            for row in sqlite_utils.Database(self._db)["record"].rows:
                [body] = self._bodies([row], row["seq"])
                head = chain.link(head, body)
                yield {
                    "seq": row["seq"],
                    "window": window_of[row["window"]],
                    "kind": "press" if row["press"] else "closing",
                    "body": body.decode(),
                    "hash": head.hex(),
                }

    def first_break(self) -> int | None:
        """The number of the first record whose hash does not follow from the one before; None if the chain holds."""
        with self._lock:
            return outbox_file.first_break(self._db)

    # ---- the file

    def _append(self, records: Sequence[PressRecord | ClosingRecord], now_ms: int) -> None:
        made = [_Row(record.window, isinstance(record, PressRecord), encode_record(record)) for record in records]
        self._append_all(made, now_ms)

    def _append_all(self, records: Sequence[_Row], now_ms: int) -> None:
        tip = self._row("SELECT seq, head, at_ms, waiting FROM tip")
        if tip["seq"] and tip["at_ms"] // _DAY_MS < now_ms // _DAY_MS:
            self._db.execute(
                "INSERT OR REPLACE INTO daily_head(day, epoch, seq, head) VALUES (?,?,?,?)",
                (_day(tip["at_ms"]), self.epoch, tip["seq"], tip["head"].hex()),
            )
        hashes = chain.heads(tip["head"], [record.body for record in records])
        first = tip["seq"] + 1
        self._db.executemany(
            "INSERT INTO record(seq, window, press, body, sum) VALUES (?,?,?,?,?)",
            [
                (
                    seq,
                    self._name(record.window),
                    record.press,
                    rows.packed(record.body),
                    rows.sum_of(seq, record.body),
                )
                for seq, record in enumerate(records, first)
            ],
        )
        last = first + len(records) - 1
        waiting = _added(tip["waiting"], Counter(each.window for each in records if each.press))
        self._db.execute(
            "UPDATE tip SET seq = ?, head = ?, at_ms = ?, waiting = ?", (last, hashes[-1], now_ms, waiting)
        )
        if first // _SEEN_TRIM != last // _SEEN_TRIM or last % _SEEN_TRIM == 0:
            self._db.execute("DELETE FROM seen_row WHERE id <= (SELECT max(id) FROM seen_row) - ?", (_SEEN_MAX,))

    def _name(self, text: str) -> int:
        """The number of this window or start of the PC, within a transaction; given the first time that it is seen."""
        if text not in self._names:
            self._db.execute("INSERT OR IGNORE INTO name(text) VALUES (?)", (text,))
            self._names[text] = self._row("SELECT n FROM name WHERE text = ?", (text,))["n"]
        return self._names[text]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            before = self._db.total_changes
            try:
                self._db.execute("BEGIN IMMEDIATE")
                # What was known before may be changed now, and what is read within is undone with the rest if it fails.
                self._open_rows.clear()
                yield
                self._open_rows.clear()
                self._db.execute("COMMIT")
            except BaseException as error:
                self._open_rows.clear()
                self._names.clear()
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                    self._no_room(error)
                raise
            # A transaction that wrote nothing does not show that there is room again.
            self.full = self.full and self._db.total_changes == before

    def _no_room(self, error: sqlite3.OperationalError) -> NoReturn:
        if not self.full:
            log.error("磁盘已满, 不再确认按键 / disk full, presses are not accepted: %s", self.path)
        self.full = True
        raise OutboxFull(str(self.path)) from error

    def _row(self, sql: str, values: tuple[Any, ...] = ()) -> Any:
        with self._lock:
            return self._db.execute(sql, values).fetchone()

    def _value(self, sql: str) -> Any:
        return self._row(sql)[0]

    def _tell(self, window: str) -> None:
        for listener in self._listeners:
            listener(window)


def _same_press(row: sqlite3.Row, press: Press, moment: Moment) -> bool:
    """Whether this is the press of `row` again, and not another one of a device that lost its counters."""
    if row["button"] != press.button:
        return False
    if row["host_boot"] == moment.host_boot:
        return bool(abs(row["mono_ms"] - (moment.mono_ms - press.age_ms)) <= _SAME_PRESS_MS + press.age_ms // 100)
    return bool(abs(row["pressed_ms"] - (moment.wall_ms - press.age_ms)) <= _SAME_PRESS_OTHER_BOOT_MS)


def _was_open(row: sqlite3.Row, age_ms: int, moment: Moment) -> bool:
    """Whether this invitation, begun before that, was still open `age_ms` ago."""
    if row["state"] in ("withdrawn", "declined"):
        return age_ms >= _since_ms(row["closed_ms"], row["closed_mono_ms"], row["closed_boot"], moment)
    return age_ms >= -GRACE_MS - _remaining_ms(row, moment)


def _remaining_ms(row: sqlite3.Row, moment: Moment) -> int:
    return int(row["seconds"] * 1000 - _since_opened_ms(row, moment))


def _since_opened_ms(row: sqlite3.Row, moment: Moment) -> int:
    return _since_ms(row["opened_ms"], row["mono_ms"], row["host_boot"], moment)


def _since_ms(wall_ms: int, mono_ms: int, host_boot: str, moment: Moment) -> int:
    if host_boot == moment.host_boot:
        return int(moment.mono_ms - mono_ms)
    # It was before this start of the PC, whatever a clock says that lost the date: at least as long ago as the start.
    return max(int(moment.wall_ms - wall_ms), moment.mono_ms)


def _invitation(row: sqlite3.Row) -> Invitation:
    state: InvitationState = row["state"]
    synced = None if row["synced"] is None else bool(row["synced"])
    return Invitation(
        id=row["id"],
        window=row["window"],
        opened=Moment(row["opened_ms"], row["mono_ms"], row["host_boot"], synced),
        seconds=row["seconds"],
        case_no=row["case_no"],
        service_number=row["service_number"],
        clerk=row["clerk"],
        state=state,
        closed_ms=row["closed_ms"],
    )


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


def _added(waiting: str, more: Mapping[str, int]) -> str:
    """The presses that wait (JSON, by window), with `more` of them; a window without any is not named."""
    counts: dict[str, int] = json.loads(waiting)
    for window, count in more.items():
        counts[window] = counts.get(window, 0) + count
    return json.dumps({window: count for window, count in counts.items() if count}, ensure_ascii=False)


def _row_of(body: bytes) -> _Row:
    """A record that is there already, whatever program wrote it."""
    try:
        record = decode_record(body)
    except BadMessage:
        return _Row("", False, body)
    window = record.window if isinstance(record, PressRecord | ClosingRecord) else ""
    return _Row(window, isinstance(record, PressRecord), body)


def _written_ms(record: Record) -> int:
    match record:
        case PressRecord(kept_ms=at_ms) | ClosingRecord(closed_ms=at_ms) | SalvageRecord(at_ms=at_ms):
            return at_ms


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")
