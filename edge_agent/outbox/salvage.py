"""What can still be read from a damaged outbox: every row whose sum says that it is what was written.

SQLite gives up a page, or a whole tree, for one wrong bit. The rows of records are looked for byte by byte instead, in
every page of the file and of its log, whether or not anything still points there. Nothing is ever written to the file.
Format: https://www.sqlite.org/fileformat2.html#record_format and https://www.sqlite.org/walformat.html
"""

from __future__ import annotations

import mmap
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from types import NoneType
from typing import Any

from protocols import chain
from protocols.wal import FRAME_HEADER, HEADER, healed

from . import rows
from .log import log_of

_PAGE = 4096
_LOCAL_MAX = _PAGE - 35
_LOCAL_MIN = (_PAGE - 12) * 32 // 255 - 23
_SUM_BYTES = 8
_BODY_MAX = 64 * 1024
_RANGES_MAX = 300  # what is named goes into one record
_BEYOND_MAX = 1_000  # records that are missing at the end: more were not written since their number was; it is wrong
_INTEGERS = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}
# A row of `record` as it begins: the length of its header; null, for the number is the row's own; window; press or not;
# the body as a blob; the sum as a blob of eight bytes.
_ROW = re.compile(rb"[\x06-\x08]\x00[\x01-\x06\x08\x09][\x08\x09]([\x80-\xff]{0,2}[\x00-\x7f])\x1c", re.DOTALL)


@dataclass(frozen=True)
class Salvaged:
    """What was read; `epoch` is empty and `done` 0 where that could not be."""

    epoch: str = ""
    done: int = 0
    """The last record that was receipted."""
    tip: int = 0
    """The last record that was written, as far as can be known."""
    bodies: dict[int, bytes] = field(default_factory=dict)
    """The records after `done`, by number."""
    seen: list[dict[str, Any]] = field(default_factory=list)
    invitations: list[dict[str, Any]] = field(default_factory=list)
    heads: list[dict[str, Any]] = field(default_factory=list)
    """The hall's own evidence, day by day."""

    @property
    def lost(self) -> list[int]:
        """The numbers of records that were written and not receipted, and cannot be read."""
        return [seq for seq in range(self.done + 1, self.tip + 1) if seq not in self.bodies]


def ranges(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """From and to of each stretch of these numbers, which rise; of very many the last stands for all that follow."""
    for at, (_, stretch) in enumerate(groupby(enumerate(numbers), lambda each: each[1] - each[0])):
        found = [number for _, number in stretch]
        if at == _RANGES_MAX:
            yield found[0], numbers[-1]
            return
        yield found[0], found[-1]


def salvaged(path: Path) -> Salvaged:
    """Read this file and its log; never raises for what is in them. Room for a copy of both is needed beside them."""
    with tempfile.TemporaryDirectory(prefix=f"{path.name}-", dir=path.parent) as folder:
        # What SQLite is asked writes to the files that it is asked about: it gets its own, a wrong bit turned back.
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        if log_of(path).exists():
            log_of(copy).write_bytes(healed(log_of(path).read_bytes()))
        return _read(copy)


def _read(path: Path) -> Salvaged:
    with closing(_Pages(path)) as pages:  # first: SQLite throws a log away that has no file
        asked = _Asked(path)
        if asked.first("PRAGMA user_version").get("user_version") == 1:
            return _of_the_first_form(asked)
        done = _done(asked)
        bodies: dict[int, bytes] = {}
        nameless: list[tuple[bytes, bytes]] = []
        for page in pages.all():
            for seq, row, stated in _rows_in(page, pages):
                body = rows.unpacked(seq, row, stated)
                if body is None:
                    nameless.append((row, stated))
                elif seq > done:
                    bodies[seq] = body
    tip = _tip(asked, max(bodies, default=done))
    # Where the bit was in a row's number, its sum still tells which of the missing ones it is.
    for seq in (seq for seq in range(done + 1, tip + 1) if seq not in bodies):
        for row, stated in nameless:
            body = rows.unpacked(seq, row, stated)
            if body is not None:
                bodies[seq] = body
    return Salvaged(
        asked.first("SELECT epoch FROM epoch").get("epoch", ""),
        done,
        tip,
        dict(sorted(bodies.items())),
        _sane(asked.all("SELECT * FROM seen"), _SEEN),
        _sane(asked.all("SELECT * FROM invitation"), _INVITATION),
        _sane(asked.all("SELECT * FROM daily_head"), _HEAD),
    )


def _of_the_first_form(asked: _Asked) -> Salvaged:
    """Of an older program's file: the records that follow from the hash before them, as far as SQLite gives them."""
    done, tip = asked.first("SELECT seq, head FROM receipted"), asked.first("SELECT seq FROM tip")
    bodies, head = {}, done.get("head", b"")
    for row in asked.all("SELECT seq, body, hash FROM record ORDER BY seq"):
        if chain.link(head, row["body"]) == row["hash"]:
            bodies[row["seq"]] = row["body"]
        head = row["hash"]
    invitations = asked.all("SELECT * FROM invitation")
    return Salvaged(
        asked.first("SELECT epoch FROM epoch").get("epoch", ""),
        done.get("seq", 0),
        max([tip.get("seq", 0), *bodies]),
        bodies,
        _sane(asked.all("SELECT * FROM seen"), _SEEN),
        [each | {"key": rows.key_of(each["id"])} for each in _sane(invitations, _INVITATION_1)],
        _sane(asked.all("SELECT * FROM daily_head"), _HEAD),
    )


def _done(asked: _Asked) -> int:
    """The last receipted record. It is noted twice, on two pages: the smaller one loses nothing, for what is sent twice
    is known by its press."""
    stated = [asked.first("SELECT seq FROM receipted").get("seq"), asked.first("SELECT done FROM tip").get("done")]
    return min((number for number in stated if isinstance(number, int) and number >= 0), default=0)


def _tip(asked: _Asked, most: int) -> int:
    """The last written record, as the file says; the last that was found where that cannot be true."""
    last = asked.first("SELECT seq FROM tip").get("seq")
    return last if isinstance(last, int) and most <= last <= most + _BEYOND_MAX else most


_MAYBE_INT, _MAYBE_STR = (int, NoneType), (str, NoneType)
_Kinds = Mapping[str, tuple[type, ...]]
_SEEN: _Kinds = {
    **dict.fromkeys(("boot", "count", "button", "pressed_ms", "mono_ms"), (int,)),
    **dict.fromkeys(("device", "host_boot"), (str,)),
}
_HEAD: _Kinds = {"day": (str,), "seq": (int,), "head": (str,)}
_INVITATION_1: _Kinds = {
    **dict.fromkeys(("n", "seconds", "opened_ms", "mono_ms", "service_number"), (int,)),
    **dict.fromkeys(("synced", "closed_ms", "closed_mono_ms"), _MAYBE_INT),
    **dict.fromkeys(("id", "window", "state", "host_boot"), (str,)),
    **dict.fromkeys(("case_no", "clerk", "closed_boot", "press"), _MAYBE_STR),
}
_INVITATION: _Kinds = {**_INVITATION_1, "key": (str, bytes)}


def _sane(found: list[dict[str, Any]], kinds: _Kinds) -> list[dict[str, Any]]:
    """Those rows whose values are of the kinds that they have to be: a wrong bit makes a number nothing."""
    return [row for row in found if all(isinstance(row.get(name), kind) for name, kind in kinds.items())]


class _Asked:
    """Questions to SQLite, as far as it answers them."""

    def __init__(self, path: Path):
        self._path = path

    def first(self, sql: str) -> dict[str, Any]:
        return next(iter(self.all(sql)), {})

    def all(self, sql: str) -> list[dict[str, Any]]:
        """The rows up to the first that cannot be read."""
        found: list[dict[str, Any]] = []
        try:
            with closing(sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True)) as db:
                db.row_factory = sqlite3.Row
                found.extend(dict(row) for row in db.execute(sql))
        except (sqlite3.Error, UnicodeDecodeError):
            pass  # what was read before is worth having
        return found


class _Pages:
    """The pages of the file and of its log, also those that are not valid any more."""

    def __init__(self, path: Path):
        log = log_of(path)
        self._file: bytes | mmap.mmap = b""
        if path.stat().st_size:
            with path.open("rb") as file:  # of a hall's month without a broker that is more than goes into memory
                self._file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._log = log.read_bytes() if log.exists() else b""

    def close(self) -> None:
        if isinstance(self._file, mmap.mmap):
            self._file.close()

    def all(self) -> Iterator[bytes]:
        for at in range(0, len(self._file), _PAGE):
            yield self._file[at : at + _PAGE]
        for at in range(HEADER, len(self._log), FRAME_HEADER + _PAGE):
            yield self._log[at + FRAME_HEADER : at + FRAME_HEADER + _PAGE]

    def numbered(self, number: int) -> Iterator[bytes]:
        """Every version of this page, the newest first."""
        frames = range(HEADER, len(self._log), FRAME_HEADER + _PAGE)
        for at in reversed(frames):
            if int.from_bytes(self._log[at : at + 4], "big") == number:
                yield self._log[at + FRAME_HEADER : at + FRAME_HEADER + _PAGE]
        if 0 < number <= len(self._file) // _PAGE:
            yield self._file[(number - 1) * _PAGE : number * _PAGE]


def _rows_in(page: bytes, pages: _Pages) -> Iterator[tuple[int, bytes, bytes]]:
    """(number, body as it lies there, sum) of whatever looks like a row of `record` in this page."""
    at = -1
    while (found := _ROW.search(page, at + 1)) is not None:
        at = found.start()
        header, window = page[at], page[at + 2]
        size = (_varint(found[1]) - 12) // 2
        if found.end() - at != header or not 0 < size <= _BODY_MAX:
            continue
        before = header + _INTEGERS[window]
        payload = _payload(page, at, before + size + _SUM_BYTES, pages)
        body = payload[before : before + size]
        yield _number_before(page, at), body, payload[before + size : before + size + _SUM_BYTES]


def _payload(page: bytes, at: int, size: int, pages: _Pages) -> bytes:
    """A row's bytes, also those that did not fit on its page."""
    if size <= _LOCAL_MAX:
        return page[at : at + size]
    local = _LOCAL_MIN + (size - _LOCAL_MIN) % (_PAGE - 4)
    local = local if local <= _LOCAL_MAX else _LOCAL_MIN
    payload, next_page = page[at : at + local], int.from_bytes(page[at + local : at + local + 4], "big")
    while len(payload) < size:
        more = next(pages.numbered(next_page), b"")
        if len(more) < _PAGE:
            break
        payload, next_page = payload + more[4:], int.from_bytes(more[:4], "big")
    return payload[:size]


def _number_before(page: bytes, at: int) -> int:
    """The row's own number, which ends where the row begins."""
    start = at - 1
    while start > 0 and at - start < 9 and page[start - 1] >= 0x80:
        start -= 1
    return _varint(page[max(start, 0) : at])


def _varint(data: bytes) -> int:
    number = 0
    for byte in data:
        number = number << 7 | (byte & 0x7F)
    return number
