"""The wrong baud rate, bit by bit: what a UART reads when the other end sends at another rate.

A pseudo terminal ignores the rate, so it has to be done here. 8 data bits, no parity, 1 stop bit; the receiver looks
for a falling edge, then into the middle of each of its own ten bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

BITS = 10  # start, eight data bits from the lowest, stop


def resample(data: bytes, sent_baud: int, read_baud: int) -> list[tuple[int, bool]]:
    """Each byte as it is read, and whether it had a framing error (no stop bit). The bytes are sent without a gap."""
    return list(_read(_levels(data), sent_baud, read_baud))


def as_read(data: bytes, sent_baud: int, read_baud: int, *, error_as_zero: bool = False) -> bytes:
    """The same, as a program gets it.

    Linux hands a byte with a framing error on as it is, unless the terminal checks its input (INPCK) and neither
    drops (IGNPAR) nor marks (PARMRK) what is wrong: then as 00.
    """
    if sent_baud == read_baud:
        return data
    read = resample(data, sent_baud, read_baud)
    return bytes(0 if error and error_as_zero else byte for byte, error in read)


def _levels(data: bytes) -> list[int]:
    """The line's level in each bit's time of the sender, idle (1) before the first byte."""
    levels = [1]
    for byte in data:
        levels += [0, *((byte >> bit) & 1 for bit in range(8)), 1]
    return levels


def _read(levels: Sequence[int], sent_baud: int, read_baud: int) -> Iterator[tuple[int, bool]]:
    # In ticks of which both rates make whole numbers: one bit of a rate lasts twice the other's figure.
    sent, read = 2 * read_baud, 2 * sent_baud
    at = 0
    while (edge := _falling_edge(levels, at, sent)) is not None:
        # A tick early: where a middle falls on the sender's edge, the receiver still sees the bit before it.
        bits = [_level(levels, edge + read // 2 + place * read - 1, sent) for place in range(BITS)]
        at = edge + read // 2
        if bits[0] == 0:  # else a glitch: no start bit stands there
            yield sum(bit << place for place, bit in enumerate(bits[1:9])), bits[9] == 0
            at = edge + read // 2 + 9 * read


def _falling_edge(levels: Sequence[int], at: int, sent: int) -> int | None:
    """When the line next falls, at this tick or later."""
    for place in range(max(1, -(-at // sent)), len(levels)):
        if levels[place - 1] == 1 and levels[place] == 0:
            return place * sent
    return None


def _level(levels: Sequence[int], at: int, sent: int) -> int:
    """The line at this tick; idle when nobody sends any more."""
    place = at // sent
    return levels[place] if place < len(levels) else 1
