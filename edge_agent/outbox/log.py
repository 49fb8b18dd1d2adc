"""SQLite's write-ahead log, looked into before SQLite does: what it would pass over in silence is damage here."""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_SECOND_LOOK_S = 0.1  # longer than another process needs to begin its log anew


def log_of(path: Path) -> Path:
    """Where the log of this file lies."""
    return path.with_name(path.name + "-wal")


def stays_cut(log: Path) -> bool:
    """Whether commits are lost in this log, at a second look too."""
    # In the middle of another process's write the first may see half of it.
    before = log.read_bytes()
    if not log_is_cut(before):
        return False
    time.sleep(_SECOND_LOOK_S)
    return log.exists() and log.read_bytes() == before


HEADER, FRAME_HEADER = 32, 24
_WORD = 0xFFFFFFFF
_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}  # the second half says in which byte order the checksums were taken

Pair = tuple[int, ...]


def log_is_cut(log: bytes) -> bool:
    """Whether commits that were on the disk can no longer be read from this write-ahead log.

    SQLite itself passes in silence over all that follows a frame that is wrong. After a power cut that is right: the
    last commit was half written, and nothing was promised. But every commit is on the disk before the next begins, so
    more than one commit that follows on a wrong frame is damage; and so is a frame that is wrong by a single bit, for
    a disk writes sectors. Format: https://www.sqlite.org/walformat.html
    """
    if len(log) < HEADER or not any(log):
        return False
    if not _header_holds(log[:HEADER]):
        return True
    wrong = _Wrong.first(log)
    if wrong is None:
        return False
    if any(wrong.turned()):
        return True
    # What was written behind it goes on from its checksum: as it stands there, or as it would be.
    return any(wrong.commits_behind(start) > 1 for start in (_stated(wrong.frame), wrong.computed))


def healed(log: bytes, file: bytes | mmap.mmap = b"") -> bytes:
    """The same with a single wrong bit turned back, where that makes it right; else as it is. `file` is the database
    that it belongs to.

    Of the upper bits of a word the checksum does not tell which word it was. A page changes little from one version to
    the next: the bit is where it stands out against the versions before and after.
    """
    if len(log) < HEADER:
        return log
    if not _header_holds(log[:HEADER]):
        head = next((each for each in _turned_anywhere(log[:HEADER]) if _header_holds(each)), log[:HEADER])
        return head + log[HEADER:]
    wrong = _Wrong.first(log)
    frames = list(wrong.turned()) if wrong is not None else []
    if wrong is None or not frames:
        return log
    frame = frames[0] if len(frames) == 1 else _likeliest(wrong, frames, file)
    return log[: wrong.at] + frame + log[wrong.at + len(frame) :]


def _likeliest(wrong: _Wrong, frames: list[bytes], file: bytes | mmap.mmap) -> bytes:
    """The one of these frames that is most like the other versions of its page."""
    # A page's number and the size of the file are small: if one is not, the bit is there.
    for frame in frames:
        if frame[:8] != wrong.frame[:8] and len(wrong.log) + len(file) < int.from_bytes(
            max(wrong.frame[:4], wrong.frame[4:8]), "big"
        ):
            return frame
    data = [frame for frame in frames if frame[:8] == wrong.frame[:8]] or frames
    others = wrong.others(file)

    def alike(frame: bytes) -> int:
        return sum(
            (other[at] == frame[at]) - (other[at] == wrong.frame[at])
            for at in _differing(frame, wrong.frame)
            for other in others
        )

    return max(data, key=alike)


def _differing(one: bytes, other: bytes) -> Iterator[int]:
    return (at for at in range(FRAME_HEADER, len(one)) if one[at] != other[at])


def _header_holds(head: bytes) -> bool:
    order, page = _MAGIC.get(int.from_bytes(head[:4], "big")), int.from_bytes(head[8:12], "big")
    return order is not None and page >= 512 and _checksum(head[:24], (0, 0), order) == struct.unpack(">2I", head[24:])


def _turned_anywhere(data: bytes) -> Iterator[bytes]:
    for bit in range(8 * len(data)):
        turned = bytearray(data)
        turned[bit // 8] ^= 1 << bit % 8
        yield bytes(turned)


@dataclass(frozen=True)
class _Wrong:
    """The first frame of a log that is not as it was written."""

    log: bytes
    at: int
    salts: Pair
    order: str
    computed: Pair
    """The checksum that it should state."""

    @classmethod
    def first(cls, log: bytes) -> Self | None:
        magic, _, page, _, *rest = struct.unpack(">8I", log[:HEADER])
        salts, checksum, order = tuple(rest[:2]), tuple(rest[2:]), _MAGIC[magic]
        for at in range(HEADER, len(log) - FRAME_HEADER - page + 1, FRAME_HEADER + page):
            frame = log[at : at + FRAME_HEADER + page]
            computed = _checksum(_summed(frame), checksum, order)
            if _salts(frame) != salts or _stated(frame) != computed:
                return cls(log, at, salts, order, computed)
            checksum = computed
        return None

    @property
    def frame(self) -> bytes:
        return self.log[self.at : self.at + self.size]

    @property
    def size(self) -> int:
        return FRAME_HEADER + int.from_bytes(self.log[8:12], "big")

    def commits_behind(self, checksum: Pair) -> int:
        """How many commits follow on it, if it ends with this checksum."""
        commits = 0
        for at in range(self.at + self.size, len(self.log) - self.size + 1, self.size):
            frame = self.log[at : at + self.size]
            checksum = _checksum(_summed(frame), checksum, self.order)
            if _salts(frame) != self.salts or _stated(frame) != checksum:
                break
            commits += frame[4:8] != b"\0\0\0\0"
        return commits

    def turned(self) -> Iterator[bytes]:
        """The frame with one bit turned round, each way that makes it right."""
        frame, stated = self.frame, _stated(self.frame)
        if stated == self.computed:
            if _bits(_salts(frame), self.salts) == 1:
                yield _with(frame, 8, self.salts)
        elif _salts(frame) == self.salts:
            if _bits(stated, self.computed) == 1:
                yield _with(frame, 16, self.computed)
            missing = (stated[0] - self.computed[0]) & _WORD, (stated[1] - self.computed[1]) & _WORD
            yield from self._turned_in_its_data(missing)

    def others(self, file: bytes | mmap.mmap) -> list[bytes]:
        """The page's other versions, each where a frame has it: the one before, and the one after."""
        number, before, after = self.frame[:4], b"", b""
        for at in range(HEADER, len(self.log) - self.size + 1, self.size):
            if self.log[at : at + 4] == number and self.log[at + 8 : at + 16] == self.log[16:24]:
                frame = self.log[at : at + self.size]
                if at < self.at:
                    before = frame
                elif at > self.at:
                    after = frame
                    break
        page, first = self.size - FRAME_HEADER, int.from_bytes(number, "big") - 1
        if not before and 0 <= first < len(file) // page:
            before = bytes(FRAME_HEADER) + bytes(file[first * page : (first + 1) * page])
        return [frame for frame in (before, after) if frame]

    def _turned_in_its_data(self, missing: Pair) -> Iterator[bytes]:
        data = _summed(self.frame)
        words = struct.unpack(f"{self.order}{len(data) // 4}I", data)
        # What a word adds to both sums, from the last pair of words to the first.
        even, odd = (1, 1), (0, 1)
        for at in range(len(words) - 2, -1, -2):
            for place, (first, second) in ((at, even), (at + 1, odd)):
                for bit in range(32):
                    turned = -(1 << bit) if words[place] >> bit & 1 else 1 << bit
                    if (turned * first & _WORD, turned * second & _WORD) == missing:
                        right = [*words[:place], words[place] ^ 1 << bit, *words[place + 1 :]]
                        summed = struct.pack(f"{self.order}{len(right)}I", *right)
                        yield summed[:8] + self.frame[8:FRAME_HEADER] + summed[8:]
            even, odd = _carried(even), _carried(odd)


def _with(frame: bytes, at: int, pair: Pair) -> bytes:
    return frame[:at] + struct.pack(">2I", *pair) + frame[at + 8 :]


def _carried(added: tuple[int, int]) -> tuple[int, int]:
    """What is added to both sums, one pair of words later."""
    first = added[0] + added[1]
    return first & _WORD, (added[1] + first) & _WORD


def _bits(one: Pair, other: Pair) -> int:
    return sum((mine ^ theirs).bit_count() for mine, theirs in zip(one, other, strict=True))


def _summed(frame: bytes) -> bytes:
    return frame[:8] + frame[FRAME_HEADER:]


def _salts(frame: bytes) -> Pair:
    return struct.unpack(">2I", frame[8:16])


def _stated(frame: bytes) -> Pair:
    return struct.unpack(">2I", frame[16:24])


def _checksum(data: bytes, before: Pair, order: str) -> Pair:
    first, second = before
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for at in range(0, len(words), 2):
        first = (first + words[at] + second) & _WORD
        second = (second + words[at + 1] + first) & _WORD
    return first, second
