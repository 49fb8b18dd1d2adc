"""What can be read of files that were set aside taken over into today's: once each, also if the power goes meanwhile.

What the next press needs is there when the program starts: open invitations, the latest others and the latest presses
seen. The rest of a long file follows beside the work. How far each file has been taken over stands in a row that is
written together with what was taken.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from protocols.errors import BadMessage
from protocols.messages import ClosingRecord, PressRecord, Record, SalvageRecord, decode_record, encode_record

from . import look, rows, salvage
from .file import is_long
from .invitations import Kept
from .seen import SeenPress
from .writer import New, OutboxFull, Writer

log = logging.getLogger(__name__)

_LATEST = 2_000  # rows that a start waits for: a tenth of a second
_AT_ONCE = 100  # records or rows in a transaction: a press waits for it
_PAUSE_S = 0.005  # between two of them, and between two looks at a few pages


class _Rescued(NamedTuple):
    """A file that was set aside, and how far it has been taken over."""

    n: int
    file: str
    at_ms: int
    seen: int
    """How much smaller the numbers of its presses are here than there, and those of its invitations."""
    invitations: int
    upto: int
    """The last of its records that was taken over; -1 before what is lost has been named."""
    whole: int


class Rescue:
    """Into the file of this writer, from others of the same agent."""

    def __init__(self, writer: Writer, agent: str):
        self._writer = writer
        self._agent = agent

    def begin(self, damaged: Path, now_ms: int) -> None:
        """Take over what the next press needs, and everything where that is soon done; unless that was begun before."""
        if self._row(damaged.name) is None:
            self._tried(damaged, lambda: self._begun(damaged, now_ms))
        if not is_long(damaged):
            self._finish(damaged, lambda: None)

    def finish(self, files: Iterable[Path], stop: threading.Event) -> None:
        """Take over all that is left of these, in small pieces beside the work."""

        def pause() -> None:
            self._writer.back.now_and_then()
            self._writer.lock.stand_back()
            if stop.wait(_PAUSE_S):
                raise _Stopped

        try:
            for damaged in files:
                self._finish(damaged, pause)
        except _Stopped:
            pass

    # ---- what the next press needs

    def _begun(self, damaged: Path, now_ms: int) -> None:
        with salvage.reading(damaged, self._agent) as found:
            latest = found.latest()
            seen = _with_the_latest(list(islice(found.seen(), _LATEST)), latest)
            invitations = list(islice(found.invitations(), _LATEST))
            asked = {kept.id: _as_of(kept, latest) for kept in (*invitations, *found.invitations("state = 'open'"))}
            promised = dict(islice(found.promised(), _LATEST))
            heads, rescued = list(found.heads()), list(found.rescued())
            with self._writer.transaction():
                self._note(damaged.name, now_ms, (each.id for each in seen), (each.n for each in invitations))
                row = self._row(damaged.name)
                assert row is not None
                for head in heads:
                    self._writer.put_head(*head)
                for file in rescued:
                    if self._row(file) is None:
                        self._put(_Rescued(row.n + 1 + rescued.index(file), file, now_ms, 0, 0, 0, True))
                self._restore(row, seen, asked.values(), promised)

    def _note(self, file: str, now_ms: int, seen: Iterable[int], invitations: Iterable[int]) -> None:
        """All that comes from this file is older than what is here, and newer than what came from older files."""
        before = self._rows()
        lowest_seen = min([self._lowest("seen_row", "id"), *(1 - row.seen for row in before)])
        lowest_invitation = min([self._lowest("invitation_row", "n"), *(1 - row.invitations for row in before)])
        self._put(
            _Rescued(
                n=len(before) + 1,
                file=file,
                at_ms=now_ms,
                seen=max(seen, default=0) - lowest_seen + 1,
                invitations=max(invitations, default=0) - lowest_invitation + 1,
                upto=-1,
                whole=False,
            )
        )

    def _lowest(self, table: str, number: str) -> int:
        found = self._writer.db.execute(f"SELECT min({number}) FROM {table}").fetchone()[0]
        return 1 if found is None else min(1, int(found))

    def _restore(
        self, row: _Rescued, seen: Iterable[Any], invitations: Iterable[Any], promised: Mapping[int, int]
    ) -> None:
        for press in seen:
            self._writer.seen.restore(press._replace(id=press.id - row.seen))
        for kept in invitations:
            self._writer.invitations.restore(kept._replace(n=kept.n - row.invitations), promised.get(kept.n))

    # ---- the rest

    def _finish(self, damaged: Path, pause: Callable[[], None]) -> None:
        row = self._row(damaged.name)
        if row is not None and not row.whole:
            self._tried(damaged, lambda: self._finished(damaged, row, pause))

    def _finished(self, damaged: Path, row: _Rescued, pause: Callable[[], None]) -> None:
        with salvage.reading(damaged, self._agent) as found:
            if row.upto < 0:
                self._restore_all(row, found, pause)
            records = found.records(pause)
            lost = list(records.lost)
            if row.upto < 0:
                said = SalvageRecord(found.epoch, records.done + 1, records.tip, lost, row.at_ms, row.file)
                row = self._append(row, [(records.done, encode_record(said))])
            for bodies in _slices(records.after(row.upto)):
                row = self._append(row, bodies)
                pause()
            with self._writer.transaction():
                self._put(row._replace(whole=True))
        names = ", ".join(f"{first}–{last}" for first, last in lost) or "无 / none"
        log.error("损坏的存档已读出 %s 条, 读不出 / records salvaged, not readable: %s", len(records), names)

    def _restore_all(self, row: _Rescued, found: salvage.Damaged, pause: Callable[[], None]) -> None:
        for seen in _slices(found.seen()):
            with self._writer.transaction():
                self._restore(row, seen, (), {})
            pause()
        promised = dict(found.promised())
        for invitations in _slices(found.invitations()):
            with self._writer.transaction():
                self._restore(row, (), invitations, promised)
            pause()

    def _append(self, row: _Rescued, bodies: list[tuple[int, bytes]]) -> _Rescued:
        row = row._replace(upto=bodies[-1][0])
        with self._writer.transaction():
            self._put(row)
            # The day of what is being written now is no other than that of the last record.
            now_ms = max(row.at_ms, rows.tip(self._writer.db).at_ms)
            self._writer.append([_new(body) for _, body in bodies], now_ms)
        return row

    def _tried(self, damaged: Path, work: Callable[[], None]) -> None:
        try:
            work()
        except (OSError, OutboxFull) as error:
            # The work goes on without: what lies aside is not lost, and presses must be taken.
            words = "损坏的存档还没有读出来, 下次启动再试 / not salvaged yet, tried again at the next start"
            log.error("%s: %s (%s)", words, damaged, error)

    # ---- how far it has come

    def _rows(self) -> list[_Rescued]:
        # Each is looked at: an index that misses one would have it taken over twice.
        found = self._writer.db.execute(f"{rows.SELECT['rescued']} NOT INDEXED").fetchall()
        return [_Rescued._make(rows.checked("rescued", row)) for row in found]

    def _row(self, file: str) -> _Rescued | None:
        with self._writer.lock:
            return next((row for row in self._rows() if row.file == file), None)

    def _put(self, row: _Rescued) -> None:
        row = row._replace(whole=int(row.whole))
        self._writer.db.execute(
            "INSERT OR REPLACE INTO rescued(n, file, at_ms, seen, invitations, upto, whole, sum)"
            " VALUES (?,?,?,?,?,?,?,?)",
            (*row, rows.sum_of_row("rescued", *row)),
        )


class _Stopped(Exception):
    """The program ends; the next start goes on."""


def _with_the_latest(seen: list[SeenPress], latest: Mapping[int, Record]) -> list[SeenPress]:
    """Also those that only their own records speak of."""
    known = {(each.device, each.boot, each.counted, each.button) for each in seen}
    return [
        *seen,
        *(
            SeenPress(
                seq,
                press.device,
                press.boot,
                press.count,
                press.button,
                press.pressed_ms,
                press.mono_ms - (press.kept_ms - press.pressed_ms),
                press.host_boot,
            )
            for seq, press in latest.items()
            if isinstance(press, PressRecord) and (press.device, press.boot, press.count, press.button) not in known
        ),
    ]


def _as_of(kept: Kept, latest: Mapping[int, Record]) -> Kept:
    """This invitation after these records: one that was answered must not be asked again."""
    for record in latest.values():
        if isinstance(record, PressRecord) and record.invitation == kept.id and kept.press is None:
            kept = kept._replace(press=str(record.press))
        if isinstance(record, ClosingRecord) and record.invitation == kept.id and kept.state == "open":
            kept = kept._replace(
                state=record.outcome,
                closed_ms=record.closed_ms,
                closed_mono_ms=record.mono_ms,
                closed_boot=record.host_boot,
            )
    return kept


def _slices(found: Iterable[Any]) -> Iterator[list[Any]]:
    each = iter(found)
    while some := list(islice(each, _AT_ONCE)):
        yield some


def _new(body: bytes) -> New:
    """A record that is there already, whatever program wrote it."""
    try:
        record = decode_record(body)
    except BadMessage:
        return New("", False, body)
    window = record.window if isinstance(record, PressRecord | ClosingRecord) else ""
    new = New(window, isinstance(record, PressRecord), body)
    return new if look.fits(body, new.window, new.press) else New("", False, body)
