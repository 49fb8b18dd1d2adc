"""What damages the bytes of one frame: each fault a function of the frame, its chance and the seed."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from firmware_sim.faults.chances import Faults, happens
from firmware_sim.faults.wire import LINES, Wire

LUMP_MS = 16  # the latency timer of a common USB bridge


def spoil(frame: bytes, faults: Faults, rng: Random, wire: Wire = LINES) -> bytes:
    """A frame after everything that damages bytes."""
    if rng.random() < faults.frame_lost:
        return b""
    frame = wrong_sum(frame, faults.bad_sum, rng, wire)
    frame = wrong_length(frame, faults.bad_length, rng, wire)
    frame = without_trailer(frame, faults.no_trailer, rng, wire)
    frame = header_inside(frame, faults.header_inside, rng, wire)
    frame = flip_bits(frame, faults.flip, rng)
    frame = lose_bytes(frame, faults.byte_lost, rng)
    frame = add_noise(frame, faults.noise, rng)
    return add_break(frame, faults.breaks, rng)


def wrong_sum(frame: bytes, chance: float, rng: Random, wire: Wire) -> bytes:
    """With this chance one byte of its checksum is another; a frame without one stays."""
    if not wire.sum_at or not happens(chance, rng):
        return frame
    return _other_byte(frame, rng.choice(wire.sum_at), rng)


def wrong_length(frame: bytes, chance: float, rng: Random, wire: Wire) -> bytes:
    """With this chance one byte that says its length is another; a frame without one stays."""
    if not wire.length_at or not happens(chance, rng):
        return frame
    return _other_byte(frame, rng.choice(wire.length_at), rng)


def without_trailer(frame: bytes, chance: float, rng: Random, wire: Wire) -> bytes:
    """With this chance its trailer is missing."""
    return frame[: -wire.trailer] if wire.trailer and happens(chance, rng) else frame


def header_inside(frame: bytes, chance: float, rng: Random, wire: Wire) -> bytes:
    """With this chance its header stands once more somewhere behind the first byte."""
    if not wire.header or len(frame) < 2 or not happens(chance, rng):
        return frame
    at = rng.randrange(1, len(frame))
    return frame[:at] + wire.header + frame[at:]


def flip_bits(data: bytes, chance: float, rng: Random) -> bytes:
    """Each byte with this chance has one bit wrong."""
    return bytes(byte ^ (1 << rng.randrange(8)) if rng.random() < chance else byte for byte in data)


def lose_bytes(data: bytes, chance: float, rng: Random) -> bytes:
    """Each byte with this chance is gone."""
    return bytes(byte for byte in data if rng.random() >= chance)


def add_noise(data: bytes, chance: float, rng: Random) -> bytes:
    """With this chance some bytes that nobody sent, before, inside or after; often the ones that hurt."""
    if rng.random() >= chance:
        return data
    noise = bytes(rng.choice([0x00, 0xFF, ord("$"), ord("*"), rng.randrange(256)]) for _ in range(rng.randint(1, 8)))
    at = rng.choice([0, rng.randint(0, len(data)), len(data)])
    return data[:at] + noise + data[at:]


def add_break(data: bytes, chance: float, rng: Random) -> bytes:
    """With this chance a BREAK before or after, which a UART hands on as 00."""
    if not happens(chance, rng):
        return data
    return b"\0" + data if rng.random() < 0.5 else data + b"\0"


def truncate(frame: bytes, rng: Random) -> bytes:
    """Some of its first bytes, never all of them."""
    return frame[: rng.randrange(1, len(frame))] if len(frame) > 1 else b""


def glitch(rng: Random) -> bytes:
    """What a UART says while the device behind it gets its power."""
    return bytes(rng.choice((0x00, 0xFF)) for _ in range(rng.randint(1, 4)))


def in_pieces(frame: bytes, faults: Faults, rng: Random, now_ms: int = 0) -> Iterator[tuple[int, bytes]]:
    """After how many ms each piece of a frame reaches the host: whole, a byte at a time, in lumps, or late."""
    if rng.random() < faults.split:
        for after_ms in range(len(frame)):
            yield after_ms, frame[after_ms : after_ms + 1]
    elif rng.random() < faults.glue:
        yield rng.randint(50, 250), frame
    elif happens(faults.lumps, rng):
        yield -now_ms % LUMP_MS, frame
    elif happens(faults.delay, rng):
        yield rng.randint(0, 2_000), frame
    else:
        yield 0, frame


def _other_byte(frame: bytes, at: int, rng: Random) -> bytes:
    at += len(frame) if at < 0 else 0
    if not 0 <= at < len(frame):
        return frame
    return frame[:at] + bytes([frame[at] ^ rng.randrange(1, 256)]) + frame[at + 1 :]
