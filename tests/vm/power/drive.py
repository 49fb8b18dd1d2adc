"""The guest's drive: it keeps what it was told to flush, and any part of the rest when the power goes.

It is an NBD server of one export, spoken to by QEMU over a socket of its own. Between two flushes a drive may write
what it has taken in any order, a sector at a time, or not at all; a sector is written whole or not at all.
Format: the NBD protocol (NetworkBlockDevice/nbd, doc/proto.md), fixed newstyle and simple replies.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

# ext4 writes its first kilobyte on its own, sums it up, and asks for fsck if half of it is old. That is between the
# drive and ext4, and cannot happen on a drive with sectors of 4096 bytes.
WHOLE_UP_TO = 4096

_MAGIC, _OPTION_MAGIC, _REPLY_MAGIC = b"NBDMAGIC", b"IHAVEOPT", 0x3E889045565A9
_REQUEST_MAGIC, _ANSWER_MAGIC = 0x25609513, 0x67446698
_FIXED_NEWSTYLE = 1
_GO, _ACK, _INFO, _UNKNOWN = 7, 1, 3, 0x80000001
_READ, _WRITE, _HANG_UP, _FLUSH = range(4)
_FUA = 1
_FLAGS = 0b1101  # there are flags; it knows FLUSH and FUA

What = Literal["write", "flush"]
HOWS = ("nothing", "everything", "in order", "some", "torn")


@dataclass
class Counts:
    """What was asked of the drive since the power came on."""

    writes: int = 0
    flushes: int = 0


@dataclass(frozen=True)
class _Written:
    at: int
    data: bytes
    before: bytes
    """What the image had there."""


@dataclass
class Drive:
    """One image that survives; `on_cut` is called once when the power goes, by whoever was first to notice."""

    image: Path
    on_cut: Callable[[], None] = lambda: None
    sector: int = 512
    honest: bool = True
    """Whether a flush is a flush. Some drives lie."""
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self._file = os.open(self.image, os.O_RDWR)
        self._size = self.image.stat().st_size
        self._unflushed: list[_Written] = []
        self._lock = threading.Lock()
        self._off = False
        self._at: tuple[What, int] | None = None

    # ---- power

    def cut_at(self, what: What, number: int) -> None:
        """The power goes when it is asked for so many more of these: before it has done the last."""
        with self._lock:
            self._at = (what, number)

    def cut(self) -> None:
        """The power goes now; what is asked from now on never happens. Nothing if it is gone already."""
        with self._lock:
            if self._off:
                return
            self._off = True
        self.on_cut()

    @property
    def off(self) -> bool:
        """Whether the power is gone."""
        return self._off

    def settle(self, how: str, rng: Random) -> tuple[int, int]:
        """After the cut: keep only what reached the platter. How many writes were not flushed, and of how many of
        them there is something left."""
        pending, self._unflushed = self._unflushed, []
        for each in reversed(pending):
            os.pwrite(self._file, each.before, each.at)
        left = _left(pending, how, rng, self.sector)
        for at, data in left:
            os.pwrite(self._file, data, at)
        return len(pending), len(left)

    def power_on(self) -> None:
        """Ready for the next machine."""
        self._off, self._at, self.counts = False, None, Counts()

    def close(self) -> None:
        os.close(self._file)

    # ---- as QEMU sees it

    def serve(self, path: Path) -> threading.Thread:
        """Wait for a machine at this socket and serve it until it hangs up."""
        path.unlink(missing_ok=True)
        door = socket.socket(socket.AF_UNIX)
        door.bind(str(path))
        door.listen(1)
        self._path = path
        thread = threading.Thread(target=self._serve, args=(door,), name="drive", daemon=True)
        thread.start()
        return thread

    def hang_up(self) -> None:
        """No machine will come any more, if none has come yet."""
        with socket.socket(socket.AF_UNIX) as nobody:
            try:
                nobody.connect(str(self._path))
            except ConnectionError:
                pass  # there was one

    def _serve(self, door: socket.socket) -> None:
        with door.accept()[0] as client, client.makefile("rb") as asked:
            door.close()
            try:
                self._greet(client, asked.read)
                while self._answer(client, asked.read):
                    pass
            except (ConnectionError, _HungUp):
                pass  # the machine lost its power

    def _greet(self, client: socket.socket, read: Callable[[int], bytes]) -> None:
        client.sendall(_MAGIC + _OPTION_MAGIC + struct.pack(">H", _FIXED_NEWSTYLE))
        _whole(read, 4)
        while True:
            _, option, length = struct.unpack(">8sII", _whole(read, 16))
            _whole(read, length)
            if option != _GO:
                client.sendall(struct.pack(">QIII", _REPLY_MAGIC, option, _UNKNOWN, 0))
                continue
            export = struct.pack(">HQH", 0, self._size, _FLAGS)
            client.sendall(struct.pack(">QIII", _REPLY_MAGIC, option, _INFO, len(export)) + export)
            client.sendall(struct.pack(">QIII", _REPLY_MAGIC, option, _ACK, 0))
            return

    def _answer(self, client: socket.socket, read: Callable[[int], bytes]) -> bool:
        """Do what is asked next; False when nothing more will be."""
        _, flags, what, handle, at, length = struct.unpack(">IHHQQI", _whole(read, 28))
        data = _whole(read, length) if what == _WRITE else b""
        if what == _HANG_UP:
            return False
        with self._lock:
            done = None if self._off or self._is_the_cut(what) else self._do(what, at, length, data)
            if done is not None and flags & _FUA:
                self._flush()
        if done is None:
            self.cut()
            return False
        client.sendall(struct.pack(">IIQ", _ANSWER_MAGIC, 0, handle) + done)
        return True

    def _is_the_cut(self, what: int) -> bool:
        if self._at is None or what != {"write": _WRITE, "flush": _FLUSH}[self._at[0]]:
            return False
        self._at = (self._at[0], self._at[1] - 1)
        return self._at[1] <= 0

    def _do(self, what: int, at: int, length: int, data: bytes) -> bytes:
        match what:
            case 0:
                return os.pread(self._file, length, at)
            case 1:
                self._unflushed.append(_Written(at, data, os.pread(self._file, length, at)))
                os.pwrite(self._file, data, at)
                self.counts.writes += 1
            case 3:
                self._flush()
                self.counts.flushes += 1
            case _:
                raise ValueError(f"NBD command {what}, which was not offered")
        return b""

    def _flush(self) -> None:
        if self.honest:
            self._unflushed.clear()


class _HungUp(Exception):
    """The machine is gone."""


def _whole(read: Callable[[int], bytes], size: int) -> bytes:
    data = read(size)
    if len(data) < size:
        raise _HungUp
    return data


def _left(pending: list[_Written], how: str, rng: Random, sector: int) -> list[tuple[int, bytes]]:
    """What of these is on the platter, in the order in which it was written."""
    match how:
        case "nothing":
            return []
        case "everything":
            return [(each.at, each.data) for each in pending]
        case "in order":
            upto = rng.randint(0, len(pending))
            return [(each.at, each.data) for each in pending[:upto]] + _torn(pending[upto : upto + 1], rng, sector)
        case "some":
            share = rng.random()
            return [(each.at, each.data) for each in pending if rng.random() < share]
        case "torn":
            return _torn(pending, rng, sector)
    raise ValueError(how)


def _torn(pending: list[_Written], rng: Random, sector: int) -> list[tuple[int, bytes]]:
    share = rng.random()
    left = []
    for each in pending:
        at, end = each.at, each.at + len(each.data)
        while at < end:
            upto = min(end, WHOLE_UP_TO if at < WHOLE_UP_TO else (at // sector + 1) * sector)
            if rng.random() < share:
                left.append((at, each.data[at - each.at : upto - each.at]))
            at = upto
    return left
