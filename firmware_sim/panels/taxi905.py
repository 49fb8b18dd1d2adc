"""A taxi's service evaluator on the vehicle's peripheral bus, after one copied text. 9600 8N1, master and slave.

Unverified assumption: no device and no standard was at hand. `55 AA | length 2 | device type 1 | vendor 1 | command 2
| data | XOR 1 | 55 AA`. Our reading, nowhere confirmed: numbers are big-endian, the length counts device type to data,
the XOR runs from the length to the data, and the commands are those below. The result codes are those of the trip
record of JT/T 905.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import xor

from firmware_sim.faults import Wire
from firmware_sim.panel import PressMade, PressThanked
from firmware_sim.panels.base import ButtonPanel

REAR, FRONT = 0x06, 0x11  # device type
POLL, PLEASE_RATE, RESULT, RESULT_TAKEN = 0x0000, 0x0001, 0x0002, 0x8002  # command
IDLE, ASKING = 0x00, 0x01  # data of an answer to a poll
NOBODY = 0x00  # data of a result: 01 satisfied, 02 average, 03 dissatisfied, 04 complaint
ENDS = b"\x55\xaa"
LENGTH_MAX = 64  # no text of the bus is nearly as long


def frame(device_type: int, vendor: int, command: int, data: bytes = b"") -> bytes:
    """A frame as it stands on the line."""
    body = bytes([device_type, vendor]) + command.to_bytes(2, "big") + data
    counted = len(body).to_bytes(2, "big") + body
    return ENDS + counted + bytes([reduce(xor, counted)]) + ENDS


WIRE = Wire(
    header=ENDS,
    length_at=(2, 3),
    sum_at=(-3,),
    trailer=2,
    is_ack=lambda data: data[6:8] == RESULT_TAKEN.to_bytes(2, "big"),
)


class Taxi905Panel(ButtonPanel):
    """Keys 1-4. Speaks only when polled: the result until the host has taken it, else whether it is asking."""

    wire = WIRE

    def __init__(self, device_type: int = REAR, on_ms: int = 0, *, boot: int = 1, vendor: int = 0x01):
        self.device_type = device_type
        self.vendor = vendor
        super().__init__(str(device_type), on_ms, boot=boot, buttons=(1, 2, 3, 4))

    def feed(self, data: bytes, now_ms: int) -> None:
        self._held += data
        for device_type, command, body in self._frames():
            if device_type == self.device_type:
                self._obey(command, body, now_ms)

    def _power_on(self, now_ms: int) -> None:
        super()._power_on(now_ms)
        self._held = bytearray()
        self._result: int | None = None
        self._press: PressMade | None = None
        self._runs_out_ms: int | None = None

    def _waiting(self) -> tuple[PressMade, ...]:
        return (self._press,) if self._press else ()

    def _pressed(self, press: PressMade) -> None:
        if press.invited:
            self._result, self._press = press.button, press
            self._runs_out_ms = None
            self._ask(press.at_ms)

    def _pass(self, now_ms: int) -> None:
        if self._runs_out_ms is not None and self._runs_out_ms <= now_ms:
            self._runs_out_ms, self._result = None, NOBODY

    def _wakes_ms(self) -> int | None:
        return self._runs_out_ms

    def _obey(self, command: int, data: bytes, now_ms: int) -> None:
        self._pass(now_ms)
        match command, list(data):
            case 0x0000, _:
                self._report(now_ms)
            case 0x0001, [seconds]:
                self._ask(now_ms + seconds * 1_000)
                self._runs_out_ms = now_ms + seconds * 1_000
                self._result, self._press = None, None
            case 0x8002, _:
                if self._press is not None:
                    self._tell(PressThanked(self._press, now_ms))
                self._result, self._press = None, None

    def _report(self, now_ms: int) -> None:
        if self._result is not None:
            answer = frame(self.device_type, self.vendor, RESULT, bytes([self._result]))
        else:
            state = ASKING if self.inviting(now_ms) else IDLE
            answer = frame(self.device_type, self.vendor, POLL, bytes([state]))
        slow_ms = self.rng.randint(5, 50) if self._happens(self.faults.slow_turnaround) else 0
        self._say(answer, now_ms + slow_ms)

    def _frames(self) -> Iterator[tuple[int, int, bytes]]:
        """(device type, command, data) of each whole frame; what is none is passed over byte by byte."""
        while (start := self._held.find(ENDS)) >= 0:
            del self._held[:start]
            size = int.from_bytes(self._held[2:4], "big")
            if len(self._held) < 4 or (size <= LENGTH_MAX and len(self._held) < size + 7):
                return
            counted = bytes(self._held[2 : size + 4])
            ending = bytes([reduce(xor, counted)]) + ENDS
            if not 4 <= size <= LENGTH_MAX or self._held[size + 4 : size + 7] != ending:
                del self._held[:1]
                continue
            del self._held[: size + 7]
            yield counted[2], int.from_bytes(counted[4:6], "big"), counted[6:]
        del self._held[:-1]  # half a header may be the last byte
