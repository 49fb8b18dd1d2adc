"""The last bytes of a line that a window is using, for whoever looks on: the port is never opened a second time."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

_PIECES_MAX = 64  # as much as fits a screen
_PIECE_MAX = 256  # bytes; a longer piece is no frame of a button


class Piece(NamedTuple):
    """What was read at once, or written (`out`)."""

    number: int
    at_ms: int
    out: bool
    data: bytes


class Tap:
    """Filled by the line's own thread, looked at by any."""

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque(maxlen=_PIECES_MAX)
        self._number = 0

    def put(self, out: bool, data: bytes, now_ms: int) -> None:
        """These bytes went over the line."""
        self._number += 1
        self._pieces.append(Piece(self._number, now_ms, out, data[:_PIECE_MAX]))

    def pieces(self, after: int = 0) -> list[Piece]:
        """What it holds, the oldest first, from behind that number on."""
        return [piece for piece in list(self._pieces) if piece.number > after]
