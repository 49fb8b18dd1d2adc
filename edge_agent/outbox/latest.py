"""Beside an outbox, how far it had come when it was last written: an older copy in its place shows by that.

A block of a few bytes, written over again after each commit and not forced to the disk. After a power cut it may say
less than it could; it never says more than the file beside it holds, so whole files are never taken for older ones.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from struct import Struct

_BLOCK = Struct(">16sQ")  # epoch, number of its last record
_SUM_BYTES = 8


class Latest:
    """Of the outbox at `path`, whose writer keeps it; OSError if it cannot be opened."""

    def __init__(self, path: Path):
        place = path.with_name(f"{path.name}.latest")
        place.touch()
        self._file = place.open("r+b", buffering=0)

    def read(self) -> tuple[str, int] | None:
        """Epoch and number of the last record; None if nothing was noted, or it cannot be trusted."""
        self._file.seek(0)
        noted = self._file.read(_BLOCK.size + _SUM_BYTES)
        block, stated = noted[: _BLOCK.size], noted[_BLOCK.size :]
        if len(block) < _BLOCK.size or _sum(block) != stated:
            return None
        epoch, seq = _BLOCK.unpack(block)
        return str(uuid.UUID(bytes=epoch)), seq

    def put(self, epoch: str, seq: int) -> None:
        """Note this; to be called when the record is on the disk."""
        block = _BLOCK.pack(uuid.UUID(epoch).bytes, seq)
        # The record is kept, whatever becomes of this note: without it an older copy passes for the file itself.
        with suppress(OSError):
            self._file.seek(0)
            self._file.write(block + _sum(block))

    def close(self) -> None:
        self._file.close()


def _sum(block: bytes) -> bytes:
    return sha256(block).digest()[:_SUM_BYTES]
