"""SQLite's write-ahead log, looked into before SQLite does: what it would pass over in silence is damage here."""

from __future__ import annotations

import struct
import time
from pathlib import Path

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


_LOG_HEADER, _FRAME_HEADER = 32, 24
_WORD = 0xFFFFFFFF
_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}  # the second half says in which byte order the checksums were taken


def log_is_cut(log: bytes) -> bool:
    """Whether commits that were on the disk can no longer be read from this write-ahead log.

    SQLite itself passes in silence over all that follows a frame that is wrong. After a power cut that is right: the
    last commit was half written, and nothing was promised. But every commit is on the disk before the next begins, so
    more than one commit that follows on a wrong frame is damage; and so is a frame that is wrong by a single bit, for
    a disk writes sectors. Format: https://www.sqlite.org/walformat.html
    """
    if len(log) < _LOG_HEADER or not any(log):
        return False
    magic, _, page, _, *rest = struct.unpack(">8I", log[:_LOG_HEADER])
    salts, stated = tuple(rest[:2]), tuple(rest[2:])
    order = _MAGIC.get(magic)
    if order is None or _checksum(log[:24], (0, 0), order) != stated or page < 512:
        return True
    size = _FRAME_HEADER + page
    frames = [log[at : at + size] for at in range(_LOG_HEADER, len(log) - size + 1, size)]
    good, checksum = _readable(frames, salts, stated, order)
    if good == len(frames):
        return False
    wrong, behind = frames[good], frames[good + 1 :]
    computed = _checksum(_summed(wrong), checksum, order)
    if _one_bit_off(wrong, salts, computed, order):
        return True
    # What was written behind it goes on from its checksum: as it stands there, or as it would be.
    return any(_commits(behind, salts, start, order) > 1 for start in (_stated(wrong), computed))


Pair = tuple[int, ...]


def _readable(frames: list[bytes], salts: Pair, checksum: Pair, order: str) -> tuple[int, Pair]:
    """How many frames from the first are as they were written, and the checksum of the last of them."""
    for at, frame in enumerate(frames):
        computed = _checksum(_summed(frame), checksum, order)
        if _salts(frame) != salts or _stated(frame) != computed:
            return at, checksum
        checksum = computed
    return len(frames), checksum


def _commits(frames: list[bytes], salts: Pair, checksum: Pair, order: str) -> int:
    readable, _ = _readable(frames, salts, checksum, order)
    return sum(frame[4:8] != b"\0\0\0\0" for frame in frames[:readable])


def _one_bit_off(frame: bytes, salts: Pair, computed: Pair, order: str) -> bool:
    """Whether one bit of this frame, turned round, would make it right."""
    stated = _stated(frame)
    if stated == computed:
        return _bits(_salts(frame), salts) == 1
    if _salts(frame) != salts:
        return False
    if _bits(stated, computed) == 1:
        return True
    data = _summed(frame)
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    missing = ((stated[0] - computed[0]) & _WORD, (stated[1] - computed[1]) & _WORD)
    # What a word adds to both sums, from the last pair of words to the first.
    even, odd = (1, 1), (0, 1)
    for at in range(len(words) - 2, -1, -2):
        for word, (first, second) in ((words[at], even), (words[at + 1], odd)):
            for bit in range(32):
                turned = -(1 << bit) if word >> bit & 1 else 1 << bit
                if (turned * first & _WORD, turned * second & _WORD) == missing:
                    return True
        even, odd = _carried(even), _carried(odd)
    return False


def _carried(added: tuple[int, int]) -> tuple[int, int]:
    """What is added to both sums, one pair of words later."""
    first = added[0] + added[1]
    return first & _WORD, (added[1] + first) & _WORD


def _bits(one: Pair, other: Pair) -> int:
    return sum((mine ^ theirs).bit_count() for mine, theirs in zip(one, other, strict=True))


def _summed(frame: bytes) -> bytes:
    return frame[:8] + frame[_FRAME_HEADER:]


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
