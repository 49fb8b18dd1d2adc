"""A set of row numbers that is sent from process to process and held for a whole ledger: one bit each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_BITS = 15  # of a number that stand for its place on a page of 4 KiB: one strange number costs one page


class Marks:
    """Numbers of rows, of any size and in any order."""

    def __init__(self, numbers: Iterable[int] = ()):
        self._pages: dict[int, bytearray] = {}
        self.add(numbers)

    def add(self, numbers: Iterable[int]) -> None:
        """Mark these too."""
        pages, last = self._pages, (1 << _BITS) - 1
        for number in numbers:
            page = pages.get(number >> _BITS)
            if page is None:
                page = pages[number >> _BITS] = bytearray(1 << _BITS - 3)
            page[(number & last) >> 3] |= 1 << (number & 7)

    def join(self, other: Marks) -> None:
        """Mark all that the other has marked."""
        for at, page in other._pages.items():
            mine = self._pages.get(at, b"")
            whole = int.from_bytes(mine, "little") | int.from_bytes(page, "little")
            self._pages[at] = bytearray(whole.to_bytes(len(page), "little"))

    def without(self, other: Marks) -> Iterator[int]:
        """The numbers marked here and not there, in order."""
        for at in sorted(self._pages):
            theirs = int.from_bytes(other._pages.get(at, b""), "little")
            left = int.from_bytes(self._pages[at], "little") & ~theirs
            while left:
                lowest = left & -left
                yield (at << _BITS) + lowest.bit_length() - 1
                left ^= lowest
