"""SQLite's write-ahead log as bytes: what SQLite would pass over in silence is damage here, and one bit is turned back.

Format: https://www.sqlite.org/walformat.html
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, Self

HEADER, FRAME_HEADER = 32, 24
_READ = 256  # frames at once: a megabyte
_WORD = 0xFFFFFFFF
_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}  # the second half says in which byte order the checksums were taken

Pair = tuple[int, ...]


class Bytes(Protocol):
    """Bytes, or what gives them out piece by piece: a mapped file."""

    def __len__(self) -> int: ...

    def __getitem__(self, piece: slice) -> bytes: ...


def log_is_cut(log: bytes, known: int = 0) -> bool:
    """Whether commits that were on the disk can no longer be read from this write-ahead log, of whose frames the first
    `known` are known to be right.

    SQLite itself passes in silence over all that follows a frame that is wrong. After a power cut that is right: the
    last commit was half written, and nothing was promised. But every commit is on the disk before the next begins, so
    more than one commit that follows on a wrong frame is damage; and so is a frame that is wrong by a single bit where
    the rest of its commit is whole, for a disk writes sectors. (Where other frames are missing too the bit says
    nothing: what lay under a sector that was not written may be an earlier version of the same page.)
    Format: https://www.sqlite.org/walformat.html
    """
    if len(log) < HEADER or not any(log):
        return False
    if not _header_holds(log[:HEADER]):
        return True
    wrong = _Wrong.first(log, known)
    if wrong is None:
        return False
    if any(wrong.whole_with(frame) for frame in wrong.turned()):
        return True
    # What was written behind it goes on from its checksum: as it stands there, or as it would be.
    return any(wrong.commits_behind(start) > 1 for start in (_stated(wrong.frame), wrong.computed))


def healed(log: bytes, file: Bytes = b"") -> bytes:
    """The same with one bit turned round, where that makes it right; else as it is. `file` is the database that it
    belongs to.

    Where several bits would (of the highest of a word SQLite's sum says little), a page changes little from one version
    to the next: the bit is where it stands out against the versions before and after. All frames can be read again, and
    what stands in this one is to be looked at.
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


def _likeliest(wrong: _Wrong, frames: list[bytes], file: Bytes) -> bytes:
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


def newest(log: bytes, known: int = 0) -> dict[int, int]:
    """Where the newest committed version of each page begins in this log, by the page's number, as SQLite reads it.

    The first `known` frames are known to be right.
    """
    found: dict[int, int] = {}
    coming: dict[int, int] = {}
    for at, frame, computed, salts in _frames(log, known):
        if _salts(frame) != salts or (computed is not None and _stated(frame) != computed):
            break
        coming[int.from_bytes(frame[:4], "big")] = at + FRAME_HEADER
        if frame[4:8] != b"\0\0\0\0":
            found |= coming
            coming = {}
    return found


class Growing:
    """A log that others write to, read again and again: each frame once in a life of the log, but those of the last
    commit. That one may have come to nothing (its writer could not put it on the disk), and another may stand there
    the next time.

    `read(size, at)` gives the log's bytes.
    """

    def __init__(self, read: Callable[[int, int], bytes]):
        self._read = read
        self._begin(b"")

    def _begin(self, head: bytes) -> None:
        self._head = head
        self._sure: dict[int, int] = {}
        self._at, self._checksum = HEADER, struct.unpack(">2I", head[24:]) if len(head) == HEADER else (0, 0)
        self.unchanged = HEADER
        """What stands before this in the log is what was there the last time."""

    def newest(self) -> dict[int, int]:
        """As `newest` of the log as it is now. Nobody may be writing."""
        head = self._read(HEADER, 0)
        if head != self._head:
            self._begin(head)
        self.unchanged = self._at
        if len(head) < HEADER or not _header_holds(head):
            return {}
        last: dict[int, int] = {}
        coming: dict[int, int] = {}
        begun = before = self._at, self._checksum
        for at, frame, checksum in self._behind(head):
            coming[int.from_bytes(frame[:4], "big")] = at + FRAME_HEADER
            if frame[4:8] != b"\0\0\0\0":
                # Nobody writes behind a commit that came to nothing, so the one before this is there for good.
                self._sure |= last
                before, begun = begun, (at + len(frame), checksum)
                last, coming = coming, {}
        self._at, self._checksum = before
        return self._sure | last

    def _behind(self, head: bytes) -> Iterator[tuple[int, bytes, Pair]]:
        """Where each frame begins that is right and stands behind the sure ones, its bytes and its checksum."""
        order, size = _MAGIC[int.from_bytes(head[:4], "big")], FRAME_HEADER + int.from_bytes(head[8:12], "big")
        at, checksum = self._at, self._checksum
        while pieces := self._read(size * _READ, at):
            for start in range(0, len(pieces) - size + 1, size):
                frame = pieces[start : start + size]
                checksum = _checksum(_summed(frame), checksum, order)
                if frame[8:16] != head[16:24] or _stated(frame) != checksum:
                    return
                yield at + start, frame, checksum
            if len(pieces) < size * _READ:
                return
            at += size * _READ


def _frames(log: bytes, known: int) -> Iterator[tuple[int, bytes, Pair | None, Pair]]:
    """Where each frame begins, its bytes, the checksum that it should state (None for those that are known to be
    right) and the log's salts. Whoever goes on after a wrong one must not believe the sums that follow."""
    if len(log) < HEADER or not _header_holds(log[:HEADER]):
        return
    magic, _, page, _, *rest = struct.unpack(">8I", log[:HEADER])
    salts, checksum, order = tuple(rest[:2]), tuple(rest[2:]), _MAGIC[magic]
    size = FRAME_HEADER + page
    for number, at in enumerate(range(HEADER, len(log) - size + 1, size), 1):
        frame = log[at : at + size]
        if number <= known:
            checksum = _stated(frame)
            yield at, frame, None, salts
        else:
            checksum = _checksum(_summed(frame), checksum, order)
            yield at, frame, checksum, salts


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
    def first(cls, log: bytes, known: int = 0) -> Self | None:
        order = _MAGIC[int.from_bytes(log[:4], "big")]
        for at, frame, computed, salts in _frames(log, known):
            if computed is not None and (_salts(frame) != salts or _stated(frame) != computed):
                return cls(log, at, salts, order, computed)
        return None

    @property
    def frame(self) -> bytes:
        return self.log[self.at : self.at + self.size]

    @property
    def size(self) -> int:
        return FRAME_HEADER + int.from_bytes(self.log[8:12], "big")

    def _goes_on_from(self, checksum: Pair) -> bool:
        frame = self.log[self.at + self.size : self.at + 2 * self.size]
        return len(frame) == self.size and _stated(frame) == _checksum(_summed(frame), checksum, self.order)

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

    def whole_with(self, frame: bytes) -> bool:
        """Whether the commit that this frame belongs to is all there, with `frame` in its place."""
        at, checksum = self.at, _stated(frame)
        while frame[4:8] == b"\0\0\0\0":
            at += self.size
            frame = self.log[at : at + self.size]
            if len(frame) < self.size or _salts(frame) != self.salts:
                return False
            checksum = _checksum(_summed(frame), checksum, self.order)
            if _stated(frame) != checksum:
                return False
        return True

    def others(self, file: Bytes) -> list[bytes]:
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

    def turned(self) -> Iterator[bytes]:
        """The frame with one bit turned round, each way that makes it right."""
        frame, stated = self.frame, _stated(self.frame)
        if stated == self.computed:
            if _bits(_salts(frame), self.salts) == 1:
                yield _with(frame, 8, self.salts)
            return
        if _salts(frame) != self.salts:
            return
        # What follows goes on from the sum that is right: the one that stands here, or the one of the data.
        if _bits(stated, self.computed) == 1 and not self._goes_on_from(stated):
            yield _with(frame, 16, self.computed)
            if self._goes_on_from(self.computed):
                return
        missing = (stated[0] - self.computed[0]) & _WORD, (stated[1] - self.computed[1]) & _WORD
        yield from self._turned_in_its_data(missing)

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
