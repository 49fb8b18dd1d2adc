"""Ways a line and a device go wrong: small functions with a seed, composed. No line, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, fields
from random import Random
from typing import Literal

IN_FLIGHT_MAX = 8_192  # bytes: eight seconds of a 9600 baud line, longer than anything is held back


@dataclass(frozen=True)
class Faults:
    """What goes wrong and how often; each is a probability from 0 to 1 of the thing it says."""

    # per press of a finger
    bounce: float = 0.0
    """The contact closes 1-4 more times within 1-20 ms."""
    double: float = 0.0
    """The same or another button is pressed again 80-400 ms later."""
    reboot: float = 0.0
    """The device reboots 0-1500 ms later."""
    cable_out: float = 0.0
    """The cable is pulled 0-1000 ms later and comes back after 1-4 s."""

    # per frame on the line
    split: float = 0.0
    """To the host: a byte at a time, a millisecond apart."""
    glue: float = 0.0
    """To the host: held back 50-250 ms, and joined with what follows."""
    frame_lost: float = 0.0
    """Both ways: the whole frame is gone."""
    noise: float = 0.0
    """Both ways: 1-8 random bytes before, inside or after."""
    ack_lost: float = 0.0
    """To the device: an acknowledgement is gone."""
    ack_late: float = 0.0
    """To the device: an acknowledgement, and all behind it, comes 200-1500 ms late."""

    # per byte on the line
    flip: float = 0.0
    """Both ways: one bit of it is wrong."""
    byte_lost: float = 0.0
    """Both ways: it is gone."""

    @classmethod
    def parse(cls, text: str) -> Faults:
        """`bounce:0.3,flip:0.001` as a value; nothing at all is no faults. ValueError says what is wrong with it."""
        known = [field.name for field in fields(cls)]
        chances: dict[str, float] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, number = (piece.strip() for piece in part.partition(":"))
            if name not in known:
                raise ValueError(f"没有这种故障 / no such fault: {name!r}; 可用 / known: {', '.join(known)}")
            if name in chances:
                raise ValueError(f"故障重复 / the same fault twice: {name}")
            chances[name] = _chance(name, number, known)
        return cls(**chances)

    def __str__(self) -> str:
        """As `parse` reads it: only what can happen."""
        chances = {field.name: getattr(self, field.name) for field in fields(self)}
        return ",".join(f"{name}:{chance!r}" for name, chance in chances.items() if chance)


def _chance(name: str, number: str, known: list[str]) -> float:
    try:
        chance = float(number)
    except ValueError:
        chance = -1.0
    if not 0.0 <= chance <= 1.0:
        raise ValueError(
            f"{name} 需要 0 到 1 之间的数 / {name} wants a number from 0 to 1, not {number!r}; "
            f"可用 / known: {', '.join(known)}"
        )
    return chance


# ---- the finger and the device


@dataclass(frozen=True)
class Happening:
    """Something that is done to a panel at a moment."""

    at_ms: int
    kind: Literal["closure", "reboot", "unplug", "replug"]
    button: int = 0


def finger(button: int, at_ms: int, faults: Faults, rng: Random, buttons: int = 5) -> list[Happening]:
    """All that one push of a button does to the panel, in the order of time."""
    happenings = [*closures(button, at_ms, faults.bounce, rng)]
    if rng.random() < faults.double:
        other = rng.choice([button, rng.randint(1, buttons)])
        happenings += closures(other, at_ms + rng.randint(80, 400), faults.bounce, rng)
    if rng.random() < faults.reboot:
        happenings.append(Happening(at_ms + rng.randint(0, 1_500), "reboot"))
    if rng.random() < faults.cable_out:
        out_ms = at_ms + rng.randint(0, 1_000)
        happenings.append(Happening(out_ms, "unplug"))
        happenings.append(Happening(out_ms + rng.randint(1_000, 4_000), "replug"))
    return sorted(happenings, key=lambda happening: happening.at_ms)


def closures(button: int, at_ms: int, bounce: float, rng: Random) -> Iterator[Happening]:
    """A contact closing once, or bouncing."""
    yield Happening(at_ms, "closure", button)
    if rng.random() < bounce:
        for _ in range(rng.randint(1, 4)):
            yield Happening(at_ms + rng.randint(1, 20), "closure", button)


# ---- the line


class FaultyLine:
    """Carries bytes both ways, in order, and spoils them. The same seed and calls give the same bytes."""

    def __init__(self, faults: Faults, rng: Random):
        self._faults = faults
        # One source of chance for each way, so that what the host says does not change what the device's bytes suffer.
        self._up, self._down = Random(rng.random()), Random(rng.random())
        self._to_host, self._to_device = _Way(), _Way()

    def to_host(self, data: bytes, now_ms: int) -> None:
        """The device writes."""
        for frame in data.splitlines(keepends=True):
            spoilt = spoil(frame, self._faults, self._up)
            for after_ms, piece in in_pieces(spoilt, self._faults, self._up):
                self._to_host.put(piece, now_ms + after_ms)

    def to_device(self, data: bytes, now_ms: int) -> None:
        """The host writes."""
        for frame in data.splitlines(keepends=True):
            after_ms = 0
            if frame.startswith(b"$ACK,"):
                if self._down.random() < self._faults.ack_lost:
                    continue
                if self._down.random() < self._faults.ack_late:
                    after_ms = self._down.randint(200, 1_500)
            self._to_device.put(spoil(frame, self._faults, self._down), now_ms + after_ms)

    def due(self, now_ms: int) -> tuple[bytes, bytes]:
        """What arrives by now: at the host, at the device."""
        return self._to_host.take(now_ms), self._to_device.take(now_ms)

    def next_ms(self) -> int | None:
        """When the next byte arrives, or None if nothing is on the way."""
        return min((way.next_ms for way in (self._to_host, self._to_device) if way.next_ms is not None), default=None)

    def cut(self) -> None:
        """The cable is out: what was on its way is gone."""
        self._to_host, self._to_device = _Way(), _Way()


def spoil(frame: bytes, faults: Faults, rng: Random) -> bytes:
    """A frame after everything that damages bytes."""
    if rng.random() < faults.frame_lost:
        return b""
    frame = flip_bits(frame, faults.flip, rng)
    frame = lose_bytes(frame, faults.byte_lost, rng)
    return add_noise(frame, faults.noise, rng)


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


def in_pieces(frame: bytes, faults: Faults, rng: Random) -> Iterator[tuple[int, bytes]]:
    """How a frame reaches the host: whole, a byte at a time, or late and so joined with what follows."""
    if rng.random() < faults.split:
        for after_ms in range(len(frame)):
            yield after_ms, frame[after_ms : after_ms + 1]
    elif rng.random() < faults.glue:
        yield rng.randint(50, 250), frame
    else:
        yield 0, frame


class _Way:
    """Bytes on their way in one direction. Nothing overtakes on a wire: what is late holds up all that is behind it."""

    def __init__(self) -> None:
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._bytes = 0

    @property
    def next_ms(self) -> int | None:
        return self._pieces[0][0] if self._pieces else None

    def put(self, piece: bytes, due_ms: int) -> None:
        if not piece or self._bytes + len(piece) > IN_FLIGHT_MAX:
            return
        self._pieces.append((due_ms, piece))
        self._bytes += len(piece)

    def take(self, now_ms: int) -> bytes:
        arrived = bytearray()
        while self._pieces and self._pieces[0][0] <= now_ms:
            arrived += self._pieces.popleft()[1]
        self._bytes -= len(arrived)
        return bytes(arrived)
