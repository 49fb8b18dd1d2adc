"""Carries bytes both ways, in order, and spoils them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from random import Random

from firmware_sim.faults.baud import as_read
from firmware_sim.faults.chances import Faults, happens
from firmware_sim.faults.damage import glitch, in_pieces, spoil, truncate
from firmware_sim.faults.wire import LINES, Wire

IN_FLIGHT_MAX = 8_192  # bytes: eight seconds of a 9600 baud line, longer than anything is held back
SILENCE_MS = 1_000  # after a frame that was cut short
_BAUDS = ((9_600, 19_200), (19_200, 9_600), (9_600, 4_800), (9_600, 2_400))


class FaultyLine:
    """A wire between one host and its device or devices. The same seed and calls give the same bytes."""

    def __init__(self, faults: Faults, rng: Random, wire: Wire = LINES):
        self.faults = faults
        self.error_as_zero = False
        """Whether the host's terminal hands a byte with a framing error on as 00."""
        self._wire = wire
        # One source of chance for each way, so that what the host says does not change what the device's bytes suffer.
        self._up, self._down = Random(rng.random()), Random(rng.random())
        self._to_host, self._to_device = _Way(), _Way()
        self._mute_until_ms = 0
        self.device_baud, self.host_baud = _bauds(faults, rng) if wire.kind == "serial" else (9_600, 9_600)

    def to_host(self, data: bytes, now_ms: int) -> None:
        """The device writes."""
        match self._wire.kind:
            case "serial":
                for frame in self._wire.frames(data):
                    self._frame_to_host(frame, now_ms)
            case "datagram":
                _datagram(data, self._to_host, self.faults, self._up, now_ms)
            case "whole":
                self._to_host.put(data, now_ms)

    def to_device(self, data: bytes, now_ms: int) -> None:
        """The host writes."""
        match self._wire.kind:
            case "serial":
                for frame in self._wire.frames(data):
                    self._echo(frame, now_ms)
                    self._frame_to_device(frame, now_ms)
            case "datagram":
                _datagram(data, self._to_device, self.faults, self._down, now_ms)
            case "whole":
                self._to_device.put(data, now_ms)

    def power_on(self, now_ms: int) -> None:
        """The device gets its power; its UART may say something before its firmware does."""
        if self._wire.kind == "serial" and happens(self.faults.power_on, self._up):
            self._to_host.put(glitch(self._up), now_ms)

    def due(self, now_ms: int) -> tuple[bytes, bytes]:
        """What arrives by now: at the host, at the device."""
        at_host, at_device = self.pieces(now_ms)
        return b"".join(at_host), b"".join(at_device)

    def pieces(self, now_ms: int) -> tuple[list[bytes], list[bytes]]:
        """The same in the pieces in which it was sent, for datagrams."""
        at_host = [piece for piece in self._to_host.take(now_ms) if not happens(self.faults.reader_steals, self._up)]
        return at_host, self._to_device.take(now_ms)

    def next_ms(self) -> int | None:
        """When the next byte arrives, or None if nothing is on the way."""
        return min((way.next_ms for way in (self._to_host, self._to_device) if way.next_ms is not None), default=None)

    def cut(self) -> None:
        """The cable is out: what was on its way is gone."""
        self._to_host, self._to_device = _Way(), _Way()

    # ---- one frame of a serial line

    def _frame_to_host(self, frame: bytes, now_ms: int) -> None:
        if now_ms < self._mute_until_ms:
            return
        spoilt = spoil(frame, self.faults, self._up, self._wire)
        if happens(self.faults.truncated, self._up):
            spoilt = truncate(spoilt, self._up)
            self._mute_until_ms = now_ms + SILENCE_MS
        spoilt = self._as_host_reads(spoilt)
        for after_ms, piece in in_pieces(spoilt, self.faults, self._up, now_ms):
            self._to_host.put(piece, now_ms + after_ms)

    def _as_host_reads(self, data: bytes) -> bytes:
        return as_read(data, self.device_baud, self.host_baud, error_as_zero=self.error_as_zero)

    def _frame_to_device(self, frame: bytes, now_ms: int) -> None:
        after_ms = 0
        if self._wire.is_ack(frame):
            if self._down.random() < self.faults.ack_lost:
                return
            if self._down.random() < self.faults.ack_late:
                after_ms = self._down.randint(200, 1_500)
        if happens(self.faults.silent, self._down) or self._refused(frame, now_ms):
            return
        spoilt = spoil(frame, self.faults, self._down, self._wire)
        self._to_device.put(as_read(spoilt, self.host_baud, self.device_baud), now_ms + after_ms)

    def _refused(self, frame: bytes, now_ms: int) -> bool:
        """Whether the device says no to it, or that it has no time, instead of obeying."""
        for chance, say in ((self.faults.nak, self._wire.nak), (self.faults.busy, self._wire.busy)):
            if (answer := say(frame)) and happens(chance, self._down):
                self._to_host.put(self._as_host_reads(answer), now_ms)
                return True
        return False

    def _echo(self, frame: bytes, now_ms: int) -> None:
        """A two-wire adapter hears its own host. It is the host's own rate, so the bits are not read wrongly."""
        if happens(self.faults.echo, self._down):
            self._to_host.put(frame, now_ms)
        if happens(self.faults.echo_late, self._down):
            self._to_host.put(frame, now_ms + self._down.randint(5, 300))
        if happens(self.faults.echo_short, self._down):
            self._to_host.put(self._down.choice((frame[1:], frame[:-1])), now_ms)


def _bauds(faults: Faults, rng: Random) -> tuple[int, int]:
    """The device's rate and the host's: the same, unless a fault of the seventh group is in this line."""
    possible = [bauds for bauds in _BAUDS if getattr(faults, "baud_{}_{}".format(*bauds)) > 0]
    wrong = [bauds for bauds in possible if happens(getattr(faults, "baud_{}_{}".format(*bauds)), rng)]
    return rng.choice(wrong) if wrong else (9_600, 9_600)


def _datagram(data: bytes, way: _Way, faults: Faults, rng: Random, now_ms: int) -> None:
    """A datagram is whole or not there at all, but it may come twice, or after those that were sent later."""
    if not happens(faults.udp_lost, rng):
        way.overtake(data, now_ms + (rng.randint(1, 300) if happens(faults.udp_late, rng) else 0))
        if happens(faults.udp_doubled, rng):
            way.overtake(data, now_ms + rng.randint(0, 300))


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

    def overtake(self, piece: bytes, due_ms: int) -> None:
        """As `put`, but it may arrive before what was sent earlier."""
        self.put(piece, due_ms)
        self._pieces = deque(sorted(self._pieces, key=lambda each: each[0]))

    def take(self, now_ms: int) -> list[bytes]:
        arrived = list(self._arrive(now_ms))
        self._bytes -= sum(map(len, arrived))
        return arrived

    def _arrive(self, now_ms: int) -> Iterator[bytes]:
        while self._pieces and self._pieces[0][0] <= now_ms:
            yield self._pieces.popleft()[1]
