"""A drawn face for a clerk's card: no photo of anybody."""

from __future__ import annotations

import struct
import zlib

_SIZE = 240


def portrait() -> bytes:
    """A PNG of head and shoulders."""
    rows = b"".join(b"\0" + b"".join(_colour(x, y) for x in range(_SIZE)) for y in range(_SIZE))
    header = struct.pack(">IIBBBBB", _SIZE, _SIZE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


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
