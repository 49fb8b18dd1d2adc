"""A sum of every page of the ledger's file and of every frame of its log, kept beside them: a bit that the disk turns
round is found, and turned back.

SQLite takes what the disk gives it for what was written. So whatever is written gets a sum: a frame of the log as soon
as it is committed, a page of the file before it is moved there out of the log. The order is: the log is on the disk,
then the sums are, then the pages; whatever a power cut leaves, each page is in the log or as its sum says.
Formats: https://www.sqlite.org/fileformat2.html#the_write_ahead_log; ours are `_FILE` and `_LOG` and a sum of eight
bytes each.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar

from protocols.wal import FRAME_HEADER, HEADER, Growing

from .file import LedgerDamaged, log_of, log_sums_of, sums_of

PAGE = 4096
FRAME = FRAME_HEADER + PAGE
SUM = 8
_FILE = b"hcp-sum1"  # a sum of every page, none of them older than its page
_PART = b"hcp-sum0"  # the same, but pages that have not been written since this file began have none
_LOG = b"hcp-log1"
UNKNOWN = bytes(SUM)
_BLOCK = 128  # of BLAKE2b: what stands before one is summed up once
_READ = 256  # frames at once: a megabyte


def sum_of(number: int, data: bytes) -> bytes:
    """What page `number` (or frame; the log's header is frame 0) has to hold: of its place too."""
    return _begun(number, data).digest()


def turned_back(number: int, data: bytes, stated: bytes) -> bytes | None:
    """The same with one bit turned round, where that makes it what was written; None where it does not."""
    if _bits(sum_of(number, data), stated) == 1:
        return data  # the bit is in the sum
    raw = bytearray(data)
    before = _begun(number, b"")
    for block in range(0, len(raw), _BLOCK):
        for at in range(block, min(block + _BLOCK, len(raw))):
            for bit in range(8):
                raw[at] ^= 1 << bit
                tried = before.copy()
                tried.update(memoryview(raw)[block:])
                if tried.digest() == stated:
                    return bytes(raw)
                raw[at] ^= 1 << bit
        before.update(data[block : block + _BLOCK])
    return None


def _begun(number: int, data: bytes) -> blake2b:
    return blake2b(data, digest_size=SUM, salt=number.to_bytes(8, "big"))


def _bits(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


class Sums:
    """The sums of the file's pages, on disk."""

    def __init__(self, path: Path):
        self._fd = os.open(sums_of(path), os.O_RDWR | os.O_CREAT, 0o644)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)

    @property
    def complete(self) -> bool:
        """Whether every page has one."""
        return os.pread(self._fd, SUM, 0) == _FILE

    @property
    def pages(self) -> int:
        """How many pages there are sums for."""
        return max(0, os.fstat(self._fd).st_size // SUM - 1)

    def begin(self, complete: bool) -> None:
        """Forget all sums. `complete` if there is no page yet."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, _FILE if complete else _PART, 0)

    def known(self) -> bool:
        """Whether this is a file of sums at all."""
        return os.pread(self._fd, SUM, 0) in (_FILE, _PART)

    def finish(self) -> None:
        """Every page has one now."""
        os.fsync(self._fd)
        os.pwrite(self._fd, _FILE, 0)
        os.fsync(self._fd)

    def of(self, first: int, count: int = 1) -> list[bytes]:
        """The sums of these pages; UNKNOWN where there is none."""
        raw = os.pread(self._fd, SUM * count, SUM * first).ljust(SUM * count, b"\0")
        return [raw[at : at + SUM] for at in range(0, len(raw), SUM)]

    def put(self, number: int, stated: bytes) -> None:
        """Page `number` has this sum. On disk after `sync`."""
        os.pwrite(self._fd, stated, SUM * number)

    def cut(self, pages: int) -> None:
        """There are no more pages than that."""
        os.ftruncate(self._fd, SUM * (pages + 1))

    def sync(self) -> None:
        """What was put is on disk when this returns."""
        os.fsync(self._fd)


class Pages:
    """What a running ledger writes, summed up as it is written. Its owner sees to it that nobody writes meanwhile.

    `alone` if no other process writes to it.
    """

    def __init__(self, path: Path, alone: bool):
        self._path = path
        self._alone = alone
        self._file = _Held(path)
        self._sums = Sums(path)
        self._log_sums = os.open(log_sums_of(path), os.O_RDWR | os.O_CREAT, 0o644)
        self._log: int | None = None
        self._life = b""
        self._doubted: bytes | None = None
        """The life of the log of which SQLite's own sums have to say what is whole."""
        self._frames = 0
        self._newest: dict[int, int] = {}
        """Where the newest version of each page stands that is in the log."""
        self._summed: dict[int, int] = {}
        """Those of them whose sum is on disk."""
        self._growing: Growing | None = None

    def close(self) -> None:
        """Let go of the files; after every connection, for with the file its locks go."""
        for each in (self._log, self._log_sums):
            if each is not None:
                os.close(each)
        self._sums.close()
        self._file.close()

    def long(self, frames: int) -> bool:
        """Whether the log has so many frames."""
        log = self._opened()
        if log is None:
            return False
        there = os.pread(log, 8, HEADER + (frames - 1) * FRAME + 8)
        return len(there) == 8 and there == os.pread(log, 8, 16)

    def note(self) -> None:
        """Give every frame a sum that was committed since the last time.

        LedgerDamaged if it was made of a page that is not what was written: nobody may be promised anything for it.
        """
        log = self._opened() if self._alone else None
        header = os.pread(log, HEADER, 0) if log is not None else b""
        if log is None or len(header) < HEADER or header == self._doubted:
            return
        if header != self._life:
            self._begin(header)
        found: list[bytes] = []
        newest: dict[int, int] = {}
        coming: dict[int, int] = {}
        sums: list[bytes] = []
        for at, frame in self._behind(log):
            sums.append(sum_of((at - HEADER) // FRAME + 1, frame))
            coming[int.from_bytes(frame[:4], "big")] = at + FRAME_HEADER
            if frame[4:8] != b"\0\0\0\0":  # the end of a commit
                found += sums
                newest |= coming
                coming, sums = {}, []
        # Before it is noted: a commit that was made of a damaged page is undone at the next start.
        for number in sorted(newest.keys() - self._newest.keys()):
            self._look(number)
        if found:
            os.pwrite(self._log_sums, b"".join(found), SUM * (2 + self._frames))
            self._newest |= newest
            self._frames += len(found)

    def doubt(self) -> None:
        """Half a commit may stand in the log: until it begins anew SQLite's own sums say what is whole."""
        log = self._opened()
        self._doubted = os.pread(log, HEADER, 0) if log is not None else b""

    def keep(self) -> None:
        """Put a sum of each page that is in the log on disk, before it replaces the one in the file."""
        log = self._opened()
        if log is None:
            return
        self._read_again(log)
        fresh = [(number, at) for number, at in self._newest.items() if self._summed.get(number) != at]
        for number, at in sorted(fresh):
            self._sums.put(number, sum_of(number, os.pread(log, PAGE, at)))
        if fresh:
            self._sums.sync()
            self._summed |= fresh

    def odd(self, first: int, count: int) -> list[int]:
        """Those of these pages that are not as their sum says, at a first look: someone may just have written them."""
        raw = self._file.read(PAGE * count, PAGE * (first - 1))
        stated = self._sums.of(first, count)
        return [
            first + at
            for at in range(len(raw) // PAGE)
            if stated[at] != UNKNOWN and sum_of(first + at, raw[at * PAGE : (at + 1) * PAGE]) != stated[at]
        ]

    def there(self, first: int, count: int) -> int:
        """How many of these pages the file has."""
        return len(self._file.read(PAGE * count, PAGE * (first - 1))) // PAGE

    def look(self, number: int) -> None:
        """The second look, while nobody writes: LedgerDamaged if this page is not what was written."""
        log = self._opened()
        if log is not None:
            self._read_again(log)
        if number not in self._newest:
            self._look(number)

    def sum_up(self, first: int, count: int) -> int:
        """Give those of these pages a sum that have none, while nobody writes; how many pages there are of them."""
        raw = self._file.read(PAGE * count, PAGE * (first - 1))
        for at, stated in enumerate(self._sums.of(first, len(raw) // PAGE)):
            if stated == UNKNOWN:
                self._sums.put(first + at, sum_of(first + at, raw[at * PAGE : (at + 1) * PAGE]))
        return len(raw) // PAGE

    @property
    def sums(self) -> Sums:
        return self._sums

    def _look(self, number: int) -> None:
        old, (stated,) = self._file.read(PAGE, PAGE * (number - 1)), self._sums.of(number)
        if stated != UNKNOWN and len(old) == PAGE and sum_of(number, old) != stated:
            raise LedgerDamaged(f"{self._path}: 第 {number} 页与写入时不同 / page {number} is not what was written")

    def _opened(self) -> int | None:
        if self._log is None:
            try:
                self._log = os.open(log_of(self._path), os.O_RDONLY)
            except FileNotFoundError:
                return None  # nothing was ever written
        return self._log

    def _read_again(self, log: int) -> None:
        """What is in the log by now; by SQLite's own sums where others write to it, or half a commit may stand."""
        if self._alone and os.pread(log, HEADER, 0) != self._doubted:
            self.note()
            return
        os.ftruncate(self._log_sums, 0)
        self._life = os.pread(log, HEADER, 0)
        if self._growing is None:
            self._growing = Growing(lambda size, at: os.pread(log, size, at))
        self._newest = self._growing.newest()
        unchanged = self._growing.unchanged
        self._summed = {page: at for page, at in self._summed.items() if at < unchanged}

    def _begin(self, header: bytes) -> None:
        """The log begins anew: all that it held is in the file."""
        self._life, self._frames = header, 0
        self._newest.clear()
        self._summed.clear()
        os.ftruncate(self._log_sums, 0)
        os.pwrite(self._log_sums, _LOG + sum_of(0, header), 0)

    def _behind(self, log: int) -> Iterator[tuple[int, bytes]]:
        """Where it stands and what it is: each frame of this life of the log, behind those that were noted."""
        salts, at = self._life[16:24], HEADER + self._frames * FRAME
        while raw := os.pread(log, FRAME * _READ, at):
            for each in range(0, len(raw) - FRAME + 1, FRAME):
                if raw[each + 8 : each + 16] != salts:
                    return
                yield at + each, raw[each : each + FRAME]
            if len(raw) < FRAME * _READ:
                return
            at += FRAME * _READ


def begun(path: Path) -> bool:
    """Whether there are sums for this ledger, be it only of its first page."""
    file = sums_of(path)
    if not file.exists():
        return False
    with file.open("rb") as sums:
        return sums.read(SUM) in (_FILE, _PART)


def noted(path: Path) -> list[bytes]:
    """The sums of the log's frames as they were noted, that of its header first."""
    file = log_sums_of(path)
    raw = file.read_bytes() if file.exists() else b""
    return [raw[at : at + SUM] for at in range(SUM, len(raw) - SUM + 1, SUM)] if raw[:SUM] == _LOG else []


class _Held:
    """A file open for reading. Where one is closed, every lock of this process on that file goes: the last one only."""

    _all: ClassVar[dict[tuple[int, int], tuple[int, int]]] = {}
    _lock = threading.Lock()

    def __init__(self, path: Path):
        with self._lock:
            there = path.stat()
            self._which = there.st_dev, there.st_ino
            fd, users = self._all.get(self._which, (None, 0))
            self._fd = os.open(path, os.O_RDONLY) if fd is None else fd
            self._all[self._which] = (self._fd, users + 1)

    def read(self, size: int, at: int) -> bytes:
        return os.pread(self._fd, size, at)

    def close(self) -> None:
        with self._lock:
            fd, users = self._all.pop(self._which)
            if users > 1:
                self._all[self._which] = (fd, users - 1)
            else:
                os.close(fd)
