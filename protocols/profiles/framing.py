"""Frames of any vendor, put together and taken apart as their profile says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import xor
from typing import NamedTuple

from .vocabulary import Check, Escape, Framing, Length

NOISE_MAX = 64  # bytes of noise that are kept to be looked at; a line can make megabytes of it
_CACHE_MAX = 4096  # a device says few different things: its keys, its states, a counter byte or two


class Parts(NamedTuple):
    """What stands in a frame."""

    address: int
    command: bytes
    data: bytes


class Piece(NamedTuple):
    """One part of the layout, with its place from the start of the frame where that is always the same."""

    name: str
    fixed: bytes
    size: int


@dataclass(frozen=True)
class Frames:
    """One way to frame. Made by `frames_of`, which says what is wrong with a description."""

    head: bytes
    pieces: tuple[Piece, ...]
    tail: bytes
    framing: Framing
    overhead: int
    """Bytes of a frame without data."""

    # ---- out

    def build(self, command: bytes, data: bytes, address: int) -> bytes:
        """The frame that says this. ValueError if it does not fit."""
        framing = self.framing
        if not framing.data_min <= len(data) <= framing.data_max:
            raise ValueError(
                f"data 有 {len(data)} 个字节, 应为 {framing.data_min} 到 {framing.data_max}"
                f" / {len(data)} bytes of data, expected {framing.data_min} to {framing.data_max}"
            )
        if len(command) != (framing.command_bytes if self.has("command") else 0):
            shown = command.hex(" ")
            raise ValueError(f"command {shown!r} 长度不对 / command {shown!r} has the wrong size")
        if not 0 <= address < 1 << 8 * framing.address_bytes:
            raise ValueError(
                f"address {address} 写不进 {framing.address_bytes} 个字节"
                f" / address {address} does not fit into {framing.address_bytes} bytes"
            )
        parts = {
            "address": address.to_bytes(framing.address_bytes, "big"),
            "command": command,
            "data": data,
            "length": b"",
            "check": bytes(self._check_size()),
        }
        if framing.length is not None:
            number = sum(self._size(name, parts) for name in framing.length.counts) + framing.length.plus
            parts["length"] = number.to_bytes(framing.length.bytes, framing.length.order)
        if framing.check is not None:
            parts["check"] = _check_bytes(framing.check, self._covered(parts))
        body = b"".join(piece.fixed or parts[piece.name] for piece in self.pieces)
        return self.head + self._escaped(body) + self.tail

    # ---- in

    def scanner(self) -> Callable[[bytes], tuple[list[tuple[int, bytes]], list[int]]]:
        """A function of bytes: everything in them that may be a frame, with its place, also one within another; and
        where one begins that is not all there yet."""
        framing = self.framing
        if framing.escape is not None or (framing.length is None and framing.data_min != framing.data_max):
            return self._scan_for_tails
        # A line may be nothing but heads, lengths and trailers: what cannot be a frame is passed over without a look
        # from Python.
        sizes = self._sizes() or {0: self.overhead + framing.data_max}
        whole = b"|".join(self._pattern(number, size) for number, size in sizes.items())
        # The first byte is taken and the rest looked at, so that one within another is found, and found fast.
        matches = re.compile(b"%s(?=(%s))" % (re.escape(self.head[:1]), whole), re.DOTALL).finditer
        may_grow, head, longest = self._may_grow(sizes), self.head, max(sizes.values())

        def scan(held: bytes) -> tuple[list[tuple[int, bytes]], list[int]]:
            found = [(at := each.start(), held[at : each.end(1)]) for each in matches(held)]
            last = _places(head, held, max(0, len(held) - longest + 1))
            return found, [*(at for at in last if may_grow(held, at)), *_begun(head, held)]

        return scan

    def _pattern(self, number: int, size: int) -> bytes:
        """The regular expression of a frame with this length, from its second byte on."""
        said = b""
        if self.framing.length is not None:
            said = number.to_bytes(self.framing.length.bytes, self.framing.length.order)
        parts = [re.escape(self.head[1:])]
        for piece in self.pieces:
            room = size - self.overhead if piece.name == "data" else piece.size
            fixed = said if piece.name == "length" else piece.fixed
            parts.append(re.escape(fixed) if fixed else b".{%d}" % room)
        return b"".join(parts) + re.escape(self.tail)

    def _may_grow(self, sizes: dict[int, int]) -> Callable[[bytes, int], bool]:
        """A function of bytes and of where a head stands in them: whether what follows may still become a frame."""
        length, at = self.framing.length, self._length_at()

        def may_grow(held: bytes, start: int) -> bool:
            if length is None:
                return start + max(sizes.values()) > len(held)
            said = held[start + at : start + at + length.bytes]
            if len(said) < length.bytes:
                return True
            return start + sizes.get(int.from_bytes(said, length.order), 0) > len(held)

        return may_grow

    def _scan_for_tails(self, held: bytes) -> tuple[list[tuple[int, bytes]], list[int]]:
        found, halves = [], []
        for start in _places(self.head, held, 0):
            end = self._end_at_tail(held, start)
            if end is None:
                halves.append(start)
            elif end > 0:
                found.append((start, held[start:end]))
        return found, [*halves, *_begun(self.head, held)]

    def open(self, frame: bytes) -> Parts | str:
        """What stands in this whole frame, or why it is none."""
        body = frame[len(self.head) : len(frame) - len(self.tail)]
        if frame[len(frame) - len(self.tail) :] != self.tail:
            return "wrong trailer"
        unescaped = self._unescaped(body)
        if unescaped is None:
            return "wrong escape"
        data = len(unescaped) - (self.overhead - len(self.head) - len(self.tail))
        if not self.framing.data_min <= data <= self.framing.data_max:
            return "wrong length"
        parts: dict[str, bytes] = {}
        at = 0
        for piece in self.pieces:
            size = data if piece.name == "data" else piece.size
            found = unescaped[at : at + size]
            at += size
            if piece.fixed and found != piece.fixed:
                return "wrong fixed byte"
            if piece.name == "length" and parts.setdefault("length", found) != found:
                return "two lengths"
            if not piece.fixed:
                parts[piece.name] = found
        return self._verified(parts)

    def _verified(self, parts: dict[str, bytes]) -> Parts | str:
        framing = self.framing
        if framing.length is not None:
            number = int.from_bytes(parts["length"], framing.length.order)
            if number != sum(self._size(name, parts) for name in framing.length.counts) + framing.length.plus:
                return "wrong length"
        if framing.check is not None and parts["check"] != _check_bytes(framing.check, self._covered(parts)):
            return "wrong checksum"
        address = int.from_bytes(parts.get("address", b""), "big")
        return Parts(address, parts.get("command", b""), parts.get("data", b""))

    @property
    def longest(self) -> int:
        """Bytes of the longest frame as it stands on the line."""
        body = self.overhead - len(self.head) - len(self.tail) + self.framing.data_max
        return len(self.head) + body * (2 if self.framing.escape else 1) + len(self.tail)

    # ---- inside

    def has(self, name: str) -> bool:
        return any(piece.name == name for piece in self.pieces)

    def _check_size(self) -> int:
        return next((piece.size for piece in self.pieces if piece.name == "check"), 0)

    def _length_at(self) -> int:
        at = len(self.head)
        for piece in self.pieces:
            if piece.name == "length":
                break
            at += piece.size
        return at

    def _sizes(self) -> dict[int, int]:
        """Each number that the length may be, and how long the frame is then."""
        length = self.framing.length
        if length is None:
            return {}
        sizes = {piece.name: piece.size for piece in self.pieces}
        without_data = length.plus + sum(sizes[name] for name in length.counts if name != "data")
        counted = "data" in length.counts
        return {
            without_data + data * counted: self.overhead + data
            for data in range(self.framing.data_min, self.framing.data_max + 1)
        }

    def _size(self, name: str, parts: dict[str, bytes]) -> int:
        if name == "length" and self.framing.length is not None:
            return self.framing.length.bytes
        return len(parts.get(name, b""))

    def _covered(self, parts: dict[str, bytes]) -> bytes:
        over = self.framing.check.over if self.framing.check is not None else []
        covered = [self.head] if "head" in over else []
        for piece in self.pieces:
            if piece.fixed and "fixed" in over:
                covered.append(piece.fixed)
            elif not piece.fixed and piece.name in over:
                covered.append(parts[piece.name])
        return b"".join(covered)

    def _end_at_tail(self, held: bytes, start: int) -> int | None:
        limit = start + self.longest
        least = start + self.overhead + (0 if self.framing.escape else self.framing.data_min) - len(self.tail)
        at = held.find(self.tail, max(least, start + len(self.head)), limit)
        if at >= 0:
            return at + len(self.tail)
        return -1 if len(held) >= limit else None

    def _escaped(self, body: bytes) -> bytes:
        escape = self.framing.escape
        if escape is None:
            return body
        mark, by, of = (bytes.fromhex(text) for text in (escape.byte, escape.xor, escape.of))
        return b"".join(mark + bytes([byte ^ by[0]]) if byte in of else bytes([byte]) for byte in body)

    def _unescaped(self, body: bytes) -> bytes | None:
        escape = self.framing.escape
        if escape is None:
            return body
        mark, by = bytes.fromhex(escape.byte), bytes.fromhex(escape.xor)
        plain = bytearray()
        marked = False
        for byte in body:
            if byte == mark[0] and not marked:
                marked = True
                continue
            plain.append(byte ^ by[0] if marked else byte)
            marked = False
        return None if marked else bytes(plain)


def _places(head: bytes, held: bytes, at: int) -> Iterator[int]:
    """Where a head stands, from `at` on."""
    while (at := held.find(head, at)) >= 0:
        yield at
        at += 1


def _begun(head: bytes, held: bytes) -> list[int]:
    """Where a head begins that is not all there, as few as may be: the longest one, and those within it."""
    sizes = range(min(len(held), len(head) - 1), 0, -1)
    return [len(held) - size for size in sizes if held.endswith(head[:size])]


def frames_of(framing: Framing) -> Frames:
    """The frames of this description; ValueError says what contradicts itself in it, with the key below `frame`."""
    pieces = tuple(_pieces(framing))
    names = [piece.name for piece in pieces]
    for name in ("address", "command", "data", "check"):
        if names.count(name) > 1:
            raise ValueError(f"layout: {name} 只能出现一次 / {name} may stand there once only")
    if ("length" in names) != (framing.length is not None):
        raise ValueError(
            "length: 布局里有 length 就要有 [frame.length], 反之亦然"
            " / length in the layout and [frame.length] go together"
        )
    if ("check" in names) != (framing.check is not None):
        raise ValueError(
            "check: 布局里有 check 就要有 [frame.check], 反之亦然 / check in the layout and [frame.check] go together"
        )
    if "data" not in names and framing.data_max:
        raise ValueError("layout: 没有 data 时 data_max 应为 0 / without data, data_max has to be 0")
    if framing.data_min > framing.data_max:
        raise ValueError("data_min: 大于 data_max / is larger than data_max")
    if "length" in names and "data" in names and names.index("data") < names.index("length"):
        raise ValueError("layout: length 要在 data 之前 / length has to come before data")
    if framing.length is None and framing.data_min != framing.data_max and framing.tail is None:
        raise ValueError("tail: 看不出在哪里结束 / no end: give length, tail or data of one size")
    tail = bytes.fromhex(framing.tail or "")
    if framing.escape is not None:
        _check_escape(framing.escape, tail)
    overhead = len(bytes.fromhex(framing.head)) + sum(piece.size for piece in pieces) + len(tail)
    frames = Frames(bytes.fromhex(framing.head), pieces, tail, framing, overhead)
    if framing.length is not None:
        _check_length(framing.length, frames)
    if framing.check is not None:
        _check_covered(framing.check, frames)
    return frames


def _check_escape(escape: Escape, tail: bytes) -> None:
    mark, by, of = (bytes.fromhex(text) for text in (escape.byte, escape.xor, escape.of))
    if not tail:
        raise ValueError("escape: 需要 tail / needs a tail")
    if len(mark) != 1 or len(by) != 1:
        raise ValueError("escape: byte 和 xor 各一个字节 / byte and xor are one byte each")
    if mark[0] not in of or tail[0] not in of:
        raise ValueError("escape.of: 要含 byte 自身和 tail 首字节 / has to contain byte itself and the tail's first")
    if any(byte ^ by[0] in of for byte in of):
        raise ValueError("escape.xor: 转义后又成了要转义的字节 / makes a byte that would have to be escaped itself")


def _check_length(length: Length, frames: Frames) -> None:
    for name in length.counts:
        if not frames.has(name) or length.counts.count(name) > 1:
            raise ValueError(
                f"length.counts: {name} 在布局里没有, 或写了两次 / {name} is not in the layout, or counted twice"
            )
    framing = frames.framing
    if "data" not in length.counts and framing.data_min != framing.data_max:
        raise ValueError("length.counts: 应含 data, 它的长短不一 / has to count data, which differs in size")
    numbers = frames._sizes()
    if min(numbers) < 0 or max(numbers) >= 1 << 8 * length.bytes:
        low, high, room = min(numbers), max(numbers), length.bytes
        raise ValueError(f"length: {low} 到 {high} 写不进 {room} 个字节 / {low} to {high} does not fit {room} bytes")


def _check_covered(check: Check, frames: Frames) -> None:
    for name in check.over:
        there = any(piece.fixed for piece in frames.pieces) if name == "fixed" else frames.has(name)
        if name != "head" and not there:
            raise ValueError(f"check.over: {name} 在布局里没有 / {name} is not in the layout")
    if not check.over:
        raise ValueError("check.over: 什么也没有覆盖 / covers nothing")


def _pieces(framing: Framing) -> Iterator[Piece]:
    sizes = {
        "address": framing.address_bytes,
        "command": framing.command_bytes,
        "data": 0,
        "length": framing.length.bytes if framing.length else 1,
        "check": 2 if framing.check is not None and framing.check.kind == "crc16" else 1,
    }
    for name in framing.layout:
        if name in sizes:
            yield Piece(name, b"", sizes[name])
            continue
        try:
            fixed = bytes.fromhex(name)
        except ValueError:
            fixed = b""
        if not fixed:
            known = ", ".join(sizes)
            raise ValueError(
                f"layout: {name!r} 不对, 应为其中之一: {known}, 或十六进制字节"
                f" / {name!r} is wrong, expected one of: {known}, or bytes in hex"
            )
        yield Piece("", fixed, len(fixed))


# ---- checksums


def _check_bytes(check: Check, covered: bytes) -> bytes:
    if check.kind == "crc16":
        return crc16(covered, check).to_bytes(2, check.order)
    return bytes([_SUMS[check.kind](covered)])


_SUMS: dict[str, Callable[[bytes], int]] = {
    "xor": lambda data: reduce(xor, data, 0),
    "sum8": lambda data: sum(data) & 0xFF,
    "sum8-complement": lambda data: -sum(data) & 0xFF,
}


def crc16(data: bytes, check: Check) -> int:
    """A CRC of 16 bits of this kind. Modbus has 0x8005, 0xFFFF, reflected: `123456789` gives 0x4B37."""
    crc = check.init
    if check.reflected:
        table = _table(_mirrored(check.poly), True)
        for byte in data:
            crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    else:
        table = _table(check.poly, False)
        for byte in data:
            crc = (crc << 8 & 0xFFFF) ^ table[crc >> 8 ^ byte]
    return crc ^ check.xor_out


_tables: dict[tuple[int, bool], tuple[int, ...]] = {}


def _table(poly: int, reflected: bool) -> tuple[int, ...]:
    made = _tables.get((poly, reflected))
    if made is None:
        if len(_tables) > 64:  # profiles come and go in a wizard that tries many
            _tables.clear()
        made = _tables[poly, reflected] = tuple(_entry(number, poly, reflected) for number in range(256))
    return made


def _entry(number: int, poly: int, reflected: bool) -> int:
    crc = number if reflected else number << 8
    for _ in range(8):
        out = crc & (1 if reflected else 0x8000)
        crc = crc >> 1 if reflected else crc << 1
        if out:
            crc ^= poly
    return crc & 0xFFFF


def _mirrored(poly: int) -> int:
    return int(f"{poly:016b}"[::-1], 2)
