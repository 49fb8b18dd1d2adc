"""What a fault has to know of a device family's frames: where their parts stand, and nothing of what they mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


def _never(_: bytes) -> bool:
    return False


def _nothing(_: bytes) -> bytes:
    return b""


@dataclass(frozen=True)
class Wire:
    """A family's frames. Places count from the front, or negative from the end, as in a slice."""

    kind: Literal["serial", "datagram", "whole"] = "serial"
    """`whole` is what no line can damage: events of a keypad's node, the requests of a browser."""
    lines: bool = False
    """Frames are lines of text, so several may stand in one piece; else each piece is a frame."""
    header: bytes = b""
    length_at: tuple[int, ...] = ()
    sum_at: tuple[int, ...] = ()
    trailer: int = 0
    """Bytes of it."""
    is_ack: Callable[[bytes], bool] = _never
    """Whether a frame from the host is one that the device waits for."""
    nak: Callable[[bytes], bytes] = _nothing
    """How the device refuses this frame from the host; nothing where the family cannot."""
    busy: Callable[[bytes], bytes] = _nothing
    """How it says that it is busy."""

    def frames(self, data: bytes) -> list[bytes]:
        """The piece cut into frames."""
        if self.lines:
            return data.splitlines(keepends=True)
        return [data] if data else []


LINES = Wire(
    lines=True,
    header=b"$",
    sum_at=(-6, -5, -4, -3),
    trailer=2,
    is_ack=lambda frame: frame.startswith(b"$ACK,"),
)
"""The house line: `$NAME,field*CRC4\\r\\n`."""
