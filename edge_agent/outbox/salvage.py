"""What can still be read from a damaged outbox: every row whose sum says that it is what was written.

SQLite gives up a page, or a whole tree, for one wrong bit. The rows of records are looked for byte by byte instead, in
every page of the file and of its log, whether or not anything still points there. Nothing is ever written to the file.
Format: https://www.sqlite.org/fileformat2.html#record_format and https://www.sqlite.org/walformat.html
"""

from __future__ import annotations

import mmap
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from itertools import groupby
from pathlib import Path
from types import NoneType
from typing import Any

from protocols import chain
from protocols.errors import BadMessage
from protocols.messages import Record, decode_record
from protocols.wal import FRAME_HEADER, HEADER, healed

from . import rows
from .invitations import Kept
from .log import log_of
from .seen import SeenPress

_PAGE = 4096
_LOCAL_MAX = _PAGE - 35
_LOCAL_MIN = (_PAGE - 12) * 32 // 255 - 23
_SUM_BYTES = 8
_BODY_MAX = 64 * 1024
_PAGES_AT_ONCE = 4  # between two pauses: half a millisecond's work
_RANGES_MAX = 300  # what is named goes into one record
_BEYOND_MAX = 1_000  # records that are missing at the end: more were not written since their number was; it is wrong
_INTEGERS = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}
# A row of `record` as it begins: the length of its header; null, for the number is the row's own; window; press or not;
# the body as a blob; the sum as a blob of eight bytes.
_ROW = re.compile(rb"[\x06-\x08]\x00[\x01-\x06\x08\x09][\x08\x09]([\x80-\xff]{0,2}[\x00-\x7f])\x1c", re.DOTALL)


def ranges(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """From and to of each stretch of these numbers, which rise; of very many the last stands for all that follow."""
    behind: list[int] = []
    for at, (_, stretch) in enumerate(groupby(enumerate(numbers), lambda each: each[1] - each[0])):
        first = last = next(stretch)[1]
        for _, number in stretch:
            last = number
        if at < _RANGES_MAX:
            yield first, last
        else:
            behind = [behind[0] if behind else first, last]
    if behind:
        yield behind[0], behind[-1]


@contextmanager
def reading(path: Path, agent: str = "") -> Iterator[Damaged]:
    """This file of that agent and its log, for as long as they are read; what is in them raises nothing.

    OSError if there is no room for a copy of the log beside them, or of both where a file cannot have two names."""
    with tempfile.TemporaryDirectory(prefix=f"{path.name}-", dir=path.parent) as folder:
        # What SQLite is asked it is asked with a log of its own, a wrong bit turned back, and without leave to write.
        copy = Path(folder) / path.name
        _second_name(path, copy)
        with closing(_Pages(copy, path)) as pages:  # first: SQLite throws a log away that has no file
            log_of(copy).write_bytes(pages.log)
            yield Damaged(_Asked(copy), pages, agent)


def _second_name(path: Path, copy: Path) -> None:
    try:
        os.link(path, copy)
    except OSError:
        shutil.copyfile(path, copy)  # a file system without a second name for a file


class Damaged:
    """A damaged outbox, as far as it can be read."""

    def __init__(self, asked: _Asked, pages: _Pages, agent: str):
        self._asked = asked
        self._pages = pages
        schema = {row["name"]: row["sql"] or "" for row in asked.all("SELECT name, sql FROM sqlite_master", "")}
        # What says which form it has may be what is damaged: its tables tell.
        self._form = 1 if "seen" in schema and "CREATE TABLE" in schema["seen"] else 2
        if self._form == 2 and "sum BLOB" in schema.get("seen_row", "sum BLOB"):
            self._form = 3
        self._sum = "sum" if self._form == 3 else "NULL AS sum"
        self.epoch: str = self._epoch(agent)
        """Empty if it cannot be read."""
        self.done = self._done()
        """The last record that was receipted; 0 if that cannot be read."""
        self._names = self._read_names()

    def seen(self) -> Iterator[SeenPress]:
        """The presses that it had seen, the last one first."""
        if self._form == 1:
            sql = (
                "SELECT id, device, boot, count, button, pressed_ms, mono_ms, host_boot AS host, NULL AS sum FROM seen"
            )
        else:
            sql = f"SELECT id, device, boot, count, button, pressed_ms, mono_ms, host, {self._sum} FROM seen_row"
        for row in self._asked.all(sql, "id"):
            for host in self._names_of(row["host"]):
                values = {**row, "host_boot": host}
                if self._holds("seen", values, _SEEN):
                    yield SeenPress._make(values[name] for name in rows.SUMMED["seen"].split(", "))
                    break

    def invitations(self, where: str = "true") -> Iterator[Kept]:
        """Its invitations, the last one first."""
        sql = {
            1: "SELECT *, host_boot AS host, closed_boot AS closed_host, NULL AS sum FROM invitation",
            2: "SELECT *, NULL AS sum FROM invitation_row",
            3: "SELECT * FROM invitation_row",
        }[self._form] + f" NOT INDEXED WHERE {where}"
        for row in self._asked.all(sql, "n"):
            # A wrong bit in the schema renames a column.
            hosts, ended = self._names_of(row.get("host")), row.get("closed_host")
            closed_as = self._names_of(ended) if ended is not None else [None]
            for host, closed in ((host, closed) for host in hosts for closed in closed_as):
                values = {**row, "host_boot": host, "closed_boot": closed}
                if self._form > 1:
                    values["id"] = rows.id_of(row.get("key"))
                if self._holds("invitation", values, _INVITATION):
                    yield Kept._make(values[name] for name in Kept._fields)
                    break

    def promised(self) -> Iterator[tuple[int, int]]:
        """The seconds that were promised of those which went on for longer, by their numbers, the last one first."""
        for row in self._asked.all("SELECT * FROM promised", "n"):
            if self._holds("promised", row, _PROMISED):
                yield row["n"], row["seconds"]

    def heads(self) -> Iterator[tuple[str, str, int, str]]:
        """The hall's own evidence, day by day: day, epoch, number, head."""
        for row in self._asked.all(f"SELECT *{'' if self._form == 3 else ', NULL AS sum'} FROM daily_head", ""):
            values = {"epoch": self.epoch, **row}
            if self._holds("daily_head", values, _HEAD):
                yield values["day"], values["epoch"], values["seq"], values["head"]

    def rescued(self) -> Iterator[str]:
        """The names of the damaged files that it had taken over."""
        older = "SELECT rowid AS n, file, at_ms, 1 AS whole, NULL AS sum FROM rescued"
        for row in self._asked.all("SELECT * FROM rescued" if self._form == 3 else older, ""):
            if row.get("whole") == 1 and self._holds("rescued", row, _RESCUED):
                yield row["file"]

    def latest(self) -> dict[int, Record]:
        """The records of its log: what happened last, also where SQLite does not read the log to its end."""
        said: dict[int, Record] = {}
        for _, page in self._pages.of_the_log() if self._form > 1 else ():
            for _, seq, row, stated in _rows_in(page, self._pages):
                body = rows.unpacked(seq, row, stated)
                if body is not None:
                    with suppress(BadMessage):
                        said[seq] = decode_record(body)
        return dict(sorted(said.items()))

    def records(self, pause: Callable[[], None] = lambda: None) -> Records:
        """Look for them; `pause` is called after each bit of work."""
        if self._form == 1:
            return self._of_the_first_form()
        found: dict[int, int] = {}
        nameless: list[tuple[bytes, bytes]] = []
        for at, page in self._pages.all():
            for place, seq, row, stated in _rows_in(page, self._pages):
                if rows.unpacked(seq, row, stated) is None:
                    nameless.append((row, stated))
                elif seq > self.done:
                    found[seq] = at + place
            if at // _PAGE % _PAGES_AT_ONCE == 0:
                pause()
        tip = self._tip(max(found, default=self.done))
        # Where the bit was in a row's number, its sum still tells which of the missing ones it is.
        renamed: dict[int, bytes] = {}
        for seq in (seq for seq in range(self.done + 1, tip + 1) if seq not in found) if nameless else ():
            for row, stated in nameless:
                body = rows.unpacked(seq, row, stated)
                if body is not None:
                    renamed[seq] = body
        return Records(self.done, tip, {**found, **renamed}, self._pages)

    def _of_the_first_form(self) -> Records:
        """Of an older program's file: the records that follow from the hash before them, as SQLite gives them."""
        bodies: dict[int, int | bytes] = {}
        head = self._asked.first("SELECT head FROM receipted").get("head", b"")
        for row in self._asked.all("SELECT seq, body, hash FROM record ORDER BY seq", ""):
            if chain.link(head, row["body"]) == row["hash"]:
                bodies[row["seq"]] = row["body"]
            head = row["hash"]
        tip = self._asked.first("SELECT seq FROM tip").get("seq", 0)
        return Records(self.done, max([tip, *bodies]), bodies, self._pages)

    # ---- what it says of itself

    def _epoch(self, agent: str) -> str:
        values = f"CAST(agent AS BLOB) AS agent, CAST(epoch AS BLOB) AS epoch, created_ms, {self._sum}"
        row = self._asked.first(f"SELECT {values} FROM epoch")
        epoch = row.get("epoch") or b""
        if self._form < 3:
            return epoch.decode(errors="replace")
        # Exactly, or not at all: losses would be looked for under a name that nobody knows.
        agent = agent or (row.get("agent") or b"").decode(errors="replace")
        for each in _turned(epoch) if row else ():
            turned = each.decode(errors="replace")
            if rows.holds("epoch", (agent, turned, row["created_ms"], row["sum"])):
                return turned
        return ""

    def _done(self) -> int:
        # Noted twice, on two pages. If only one holds, that; else the smaller one: it loses nothing, for what is sent
        # twice is known by its press.
        receipted = self._asked.first(f"SELECT seq, head, {self._sum} FROM receipted")
        tip = self._asked.first(f"SELECT * FROM tip{'' if self._form == 3 else ', (SELECT NULL AS sum)'}")
        stated = [
            (row.get(name), self._form == 3 and _whole(table, row))
            for table, row, name in (("receipted", receipted, "seq"), ("tip", tip, "done"))
        ]
        some = [number for number, whole in stated if whole] or [number for number, _ in stated]
        return min((number for number in some if isinstance(number, int) and number >= 0), default=0)

    def _tip(self, most: int) -> int:
        """The last written record, as the file says; the last that was found where that cannot be true."""
        row = self._asked.first("SELECT * FROM tip")
        last = row.get("seq")
        if self._form == 3 and _whole("tip", row):
            return max(int(row["seq"]), most)
        return last if isinstance(last, int) and most <= last <= most + _BEYOND_MAX else most

    def _holds(self, table: str, values: dict[str, Any], kinds: _Kinds) -> bool:
        # Of an older form, without sums: values of the kinds that they have to be. A wrong bit makes a number nothing.
        if not all(isinstance(values.get(name), kind) for name, kind in kinds.items()):
            return False
        return self._form < 3 or _whole(table, values)

    def _read_names(self) -> dict[int, list[str]]:
        """Each name's texts: as its row has it, and as the index has it. Its rows' sums tell which one was meant."""
        names: dict[int, list[str]] = {}
        for index in ("NOT INDEXED", "INDEXED BY sqlite_autoindex_name_1"):
            for row in self._asked.all(f"SELECT n, CAST(text AS BLOB) AS text FROM name {index}", ""):
                if isinstance(row["text"], bytes):
                    names.setdefault(row["n"], []).append(row["text"].decode(errors="replace"))
        return {number: list(dict.fromkeys(texts)) for number, texts in names.items()}

    def _names_of(self, host: Any) -> list[str]:
        return [host] if isinstance(host, str) else self._names.get(host, [])


class Records:
    """The records of a damaged outbox after `done`, up to `tip`."""

    def __init__(self, done: int, tip: int, found: Mapping[int, int | bytes], pages: _Pages):
        self.done = done
        self.tip = tip
        self._found = found
        self._pages = pages

    def __len__(self) -> int:
        return len(self._found)

    @property
    def lost(self) -> Iterator[tuple[int, int]]:
        """The numbers of those that were written and not receipted, and cannot be read: from and to."""
        return ranges(seq for seq in range(self.done + 1, self.tip + 1) if seq not in self._found)

    def after(self, seq: int) -> Iterator[tuple[int, bytes]]:
        """Number and body of each that was read and comes after this one, in order."""
        for number in sorted(number for number in self._found if number > seq):
            place = self._found[number]
            if isinstance(place, bytes):
                yield number, place
                continue
            page, within = self._pages.around(place)
            [(_, _, row, stated)] = _rows_in(page, self._pages, within)
            yield number, rows.unpacked(number, row, stated) or b""


def _whole(table: str, values: Mapping[str, Any]) -> bool:
    names = rows.SUMMED[table].split(", ")
    try:
        return rows.holds(table, [values.get(name) for name in (*names, "sum")])
    except (TypeError, ValueError, OverflowError):
        return False  # text that is none


def _turned(data: bytes) -> Iterator[bytes]:
    """As it is, then with each of its bits turned round."""
    yield data
    for bit in range(8 * len(data)):
        turned = bytearray(data)
        turned[bit // 8] ^= 1 << bit % 8
        yield bytes(turned)


_MAYBE_INT, _MAYBE_STR = (int, NoneType), (str, NoneType)
_Kinds = Mapping[str, tuple[type, ...]]
_SEEN: _Kinds = {
    **dict.fromkeys(("id", "boot", "count", "button", "pressed_ms", "mono_ms"), (int,)),
    **dict.fromkeys(("device", "host_boot"), (str,)),
}
_HEAD: _Kinds = {"day": (str,), "epoch": (str,), "seq": (int,), "head": (str,)}
_RESCUED: _Kinds = {"n": (int,), "file": (str,), "at_ms": (int,)}
_PROMISED: _Kinds = {"n": (int,), "seconds": (int,)}
_INVITATION: _Kinds = {
    **dict.fromkeys(("n", "seconds", "opened_ms", "mono_ms", "service_number"), (int,)),
    **dict.fromkeys(("synced", "closed_ms", "closed_mono_ms"), _MAYBE_INT),
    **dict.fromkeys(("id", "window", "state", "host_boot"), (str,)),
    **dict.fromkeys(("case_no", "clerk", "closed_boot", "press"), _MAYBE_STR),
}


class _Asked:
    """Questions to SQLite, as far as it answers them."""

    def __init__(self, path: Path):
        self._path = path

    def first(self, sql: str) -> dict[str, Any]:
        return next(self.all(sql, ""), {})

    def all(self, sql: str, number: str) -> Iterator[dict[str, Any]]:
        """The rows that can be read; with `number`, their key, the last one first, and also those before a page that
        cannot be."""
        if not number:
            yield from self._until_broken(sql)
            return
        last = None
        for row in self._until_broken(f"{sql} ORDER BY {number} DESC"):
            last = row[number]
            yield row
        for row in self._until_broken(f"{sql} ORDER BY {number}"):
            if last is not None and row[number] >= last:
                break
            yield row

    def _until_broken(self, sql: str) -> Iterator[dict[str, Any]]:
        try:
            with closing(sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True)) as db:
                db.row_factory = sqlite3.Row
                for row in db.execute(sql):
                    yield dict(row)
        except (sqlite3.Error, UnicodeDecodeError):
            pass  # what was read before is worth having


class _Pages:
    """The pages of the file and of its log, also those that are not valid any more."""

    def __init__(self, path: Path, damaged: Path):
        log = log_of(damaged)
        self._file: bytes | mmap.mmap = b""
        if path.stat().st_size:
            with path.open("rb") as file:  # of a hall's month without a broker that is more than goes into memory
                self._file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.log = healed(log.read_bytes(), self._file) if log.exists() else b""

    def close(self) -> None:
        if isinstance(self._file, mmap.mmap):
            self._file.close()

    def all(self) -> Iterator[tuple[int, bytes]]:
        """Each with its place."""
        for at in range(0, len(self._file), _PAGE):
            yield at, self._file[at : at + _PAGE]
        yield from self.of_the_log()

    def of_the_log(self) -> Iterator[tuple[int, bytes]]:
        for at in range(HEADER + FRAME_HEADER, len(self.log), FRAME_HEADER + _PAGE):
            yield len(self._file) + at, self.log[at : at + _PAGE]

    def around(self, place: int) -> tuple[bytes, int]:
        """The page in which this place lies, and where in it."""
        if place < len(self._file):
            return self._file[place - place % _PAGE : place - place % _PAGE + _PAGE], place % _PAGE
        place -= len(self._file)
        within = (place - HEADER - FRAME_HEADER) % (FRAME_HEADER + _PAGE)
        return self.log[place - within : place - within + _PAGE], within

    def numbered(self, number: int) -> Iterator[bytes]:
        """Every version of this page, the newest first."""
        frames = range(HEADER, len(self.log), FRAME_HEADER + _PAGE)
        for at in reversed(frames):
            if int.from_bytes(self.log[at : at + 4], "big") == number:
                yield self.log[at + FRAME_HEADER : at + FRAME_HEADER + _PAGE]
        if 0 < number <= len(self._file) // _PAGE:
            yield self._file[(number - 1) * _PAGE : number * _PAGE]


def _rows_in(page: bytes, pages: _Pages, only: int | None = None) -> Iterator[tuple[int, int, bytes, bytes]]:
    """(place, number, body as it lies there, sum) of whatever looks like a row of `record` in this page, or of `only`
    the one at this place."""
    at = -1 if only is None else only - 1
    while (found := _ROW.search(page, at + 1)) is not None:
        at = found.start()
        header, window = page[at], page[at + 2]
        size = (_varint(found[1]) - 12) // 2
        if found.end() - at != header or not 0 < size <= _BODY_MAX:
            continue
        before = header + _INTEGERS[window]
        payload = _payload(page, at, before + size + _SUM_BYTES, pages)
        body = payload[before : before + size]
        yield at, _number_before(page, at), body, payload[before + size : before + size + _SUM_BYTES]
        if only is not None:
            return


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
