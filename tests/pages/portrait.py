"""A drawn face for a clerk's card: no photo of anybody."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from random import Random

_SIZE = 240


def portrait() -> bytes:
    """A PNG of head and shoulders."""
    return _png(_SIZE, _SIZE, [b"".join(_colour(x, y) for x in range(_SIZE)) for y in range(_SIZE)])


def noise(wide: int, high: int) -> bytes:
    """A PNG in which no two dots are alike: nothing makes more bytes of a picture."""
    drawn = Random(1)
    return _png(wide, high, [drawn.randbytes(3 * wide) for _ in range(high)])


def _png(wide: int, high: int, rows: Sequence[bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0)
    dots = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", dots) + _chunk(b"IEND", b"")


def _colour(x: int, y: int) -> bytes:
    at_x, at_y = x / _SIZE - 0.5, y / _SIZE - 0.5
    if at_x**2 + (at_y + 0.19) ** 2 < 0.024 and at_y < -0.22:
        return b"\x2b\x2b\x33"  # hair
    if at_x**2 + (at_y + 0.13) ** 2 < 0.024:
        return b"\xf0\xc9\xa8"
    if (at_x / 0.42) ** 2 + ((at_y - 0.5) / 0.42) ** 2 < 1:
        return b"\x1d\x4e\x89"
    return b"\xdd\xe7\xf0"


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
