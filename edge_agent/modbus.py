"""A panel on a Modbus RTU line, asked once: what it shows, or why it shows nothing. The only user of minimalmodbus.

minimalmodbus makes the frames and judges the answers, which costs more than all the rest of a poll. So the same
question is sent as it was sent before, and an answer that is byte for byte the last good one needs no second judgement.

The line is a pyserial object that the link has opened; it is never opened or closed here. Over `socket://` and
`rfc2217://` it works as far as the box at the other end keeps the pauses itself: there the network's own delay counts
against the time-out, and baud and pauses are only what we believe of the far line.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import minimalmodbus

from protocols.profiles.events import Noise
from protocols.profiles.modbus import DeviceSaid, NoAnswer, Poll, Reading

from .link import LinkDown, TermiosError

Function = Literal[2, 3, 4]
"""2 reads inputs, 3 and 4 read registers."""

WAIT_MS = 60  # a slow panel turns the line round in 50
_CHARACTER_BITS = 11  # start, eight, parity or a second stop, stop
_FRAME = 5  # address, function, count of bytes, CRC
_EXCEPTION = 5  # address, function with its highest bit set, code, CRC
_REFUSED = 0x80
_REQUEST = 8  # and as long is the answer to a write
_PAUSE_CHARACTERS = 3.5  # by which a panel tells two frames apart, says the Modbus standard for serial lines
_PAUSE_MIN_S = 0.00175  # and this above 19200 baud


class SerialLike(Protocol):
    """What is needed of pyserial's Serial, its socket:// and its rfc2217:// objects."""

    baudrate: int
    timeout: float | None

    @property
    def port(self) -> str | None: ...

    def read(self, size: int = 1, /) -> bytes: ...
    def write(self, data: bytes, /) -> int | None: ...
    def reset_input_buffer(self) -> None: ...


class ModbusPoll:
    """Panels of one kind on one line: the same function, registers and time-out, an address each.

    `echo` is for adapters that give back what is sent. `wait_ms` counts from when the last byte of the answer could
    have come.
    """

    def __init__(
        self,
        serial: SerialLike,
        function: Function,
        register: int,
        count: int = 1,
        wait_ms: int = WAIT_MS,
        echo: bool = False,
    ):
        self._function = function
        self._register = register
        self._count = count
        data = -(-count // 8) if function == 2 else 2 * count
        self._wire = _Wire(serial, max(_REQUEST, _FRAME + data), wait_ms)
        self._instrument = minimalmodbus.Instrument(self._wire, 1)
        self._instrument.handle_local_echo = echo
        self._good: dict[int, _Good] = {}

    def poll(self, address: int) -> Poll:
        """Look once at the panel of this address, 1 to 247; LinkDown only if the cable is out."""
        good = self._good.pop(address, None)
        heard = None
        if good:
            heard = self._wire.ask_again(good.request, len(good.heard))
            if heard == good.heard:
                self._good[address] = good
                return good.reading
        said = self._asked(address, self._read, heard)
        if isinstance(said, Reading):
            self._good[address] = _Good(self._wire.sent, self._wire.heard, said)
        return said

    def write(self, address: int, register: int, value: int) -> Poll:
        """Set a register, to clear a key or light a lamp; a Reading of the value says that it is set.

        An adapter that echoes without `echo` being set says so too, of everything: its echo is the right answer.
        """
        return self._asked(address, lambda: self._write(register, value))

    def _read(self) -> Reading:
        if self._function == 2:
            bits = self._instrument.read_bits(self._register, self._count, self._function)
            return Reading(tuple(bits), self._wire.answer, bits=True)
        return Reading(
            tuple(self._instrument.read_registers(self._register, self._count, self._function)), self._wire.answer
        )

    def _write(self, register: int, value: int) -> Reading:
        self._instrument.write_register(register, value, functioncode=6)
        return Reading((value,), self._wire.answer)

    def _asked(self, address: int, ask: Callable[[], Reading], heard: bytes | None = None) -> Poll:
        self._instrument.address = address
        wire = self._wire
        wire.begin(heard)
        try:
            return ask()
        except minimalmodbus.NoResponseError:
            return NoAnswer()
        except minimalmodbus.SlaveReportedException:
            return DeviceSaid(wire.answer[2], wire.answer)
        except minimalmodbus.LocalEchoError:
            return Noise(wire.answer, "echo is not what was sent")
        except minimalmodbus.InvalidResponseError as error:
            return Noise(wire.answer, wire.own_words() or _reason(str(error)))


def _reason(words: str) -> str:
    return next((reason for begin, reason in _REASONS if words.startswith(begin)), "not the answer to what was asked")


_REASONS = (
    ("Too short", "answer cut short"),
    ("Checksum", "bad checksum"),
    ("Wrong return slave", "another address answered"),
)


@dataclass(frozen=True, slots=True)
class _Good:
    """A question, all that came back, and what that means."""

    request: bytes
    heard: bytes
    reading: Reading


class _Wire:
    """The line as minimalmodbus sees it: every byte that came is kept, and nothing waits longer than it must.

    It asks the line, or plays back what was heard already, for minimalmodbus to judge.
    """

    is_open = True  # or minimalmodbus would open it; a closed one says so when it is used
    baudrate = 4_000_000  # the pause is kept below, for both ways of asking; of its own it adds next to none to it

    def __init__(self, serial: SerialLike, longest: int, wait_ms: int):
        self._serial = serial
        self._longest = longest
        self._wait_ms = wait_ms
        self._to_play: bytes | None = None
        self.sent = b""
        self.heard = b""
        self.answer = b""

    @property
    def port(self) -> str:
        return self._serial.port or ""

    def begin(self, to_play: bytes | None) -> None:
        """Nothing has been said yet; `to_play` is judged instead of the line being asked."""
        self._to_play = to_play
        self.sent = self.heard = self.answer = b""

    def ask_again(self, request: bytes, size: int) -> bytes:
        """As many bytes as came the last time, or what came in time."""
        try:
            self._send(request)
            return bytes(self._serial.read(size))
        except (OSError, TermiosError) as error:
            raise self._out(error) from error

    def own_words(self) -> str:
        """The reason, if the answer is the beginning of what was sent."""
        return "our own words back: does the adapter echo?" if self.sent.startswith(self.answer) else ""

    def write(self, data: bytes) -> None:
        self.sent = data
        if self._to_play is None:
            try:
                self._send(data)
            except (OSError, TermiosError) as error:
                raise self._out(error) from error

    def read(self, size: int) -> bytes:
        """These many bytes, or those of an exception, or what came in time."""
        self.answer = self._take(min(size, _EXCEPTION))
        if size > len(self.answer) == _EXCEPTION and not self.answer[1] & _REFUSED:
            self.answer += self._take(size - _EXCEPTION)
        self.heard += self.answer
        return self.answer

    def _take(self, size: int) -> bytes:
        if self._to_play is not None:
            played, self._to_play = self._to_play[:size], self._to_play[size:]
            return played
        try:
            return bytes(self._serial.read(size))
        except (OSError, TermiosError) as error:
            raise self._out(error) from error

    def _send(self, request: bytes) -> None:
        serial = self._serial
        character_s = _CHARACTER_BITS / serial.baudrate
        timeout_s = self._wait_ms / 1000 + (_REQUEST + self._longest) * character_s
        if serial.timeout != timeout_s:  # setting it sets up the whole port anew
            serial.timeout = timeout_s
        time.sleep(max(_PAUSE_CHARACTERS * character_s, _PAUSE_MIN_S))
        serial.reset_input_buffer()  # what was too late for the last poll is nothing to this one
        serial.write(request)

    def _out(self, error: Exception) -> LinkDown:
        return LinkDown(f"{self.port}: 线缆已断开 / cable out ({error})")

    # ---- what minimalmodbus asks for besides, and what has been done already or is the link's

    def open(self) -> None: ...
    def close(self) -> None: ...
    def flush(self) -> None: ...
    def reset_input_buffer(self) -> None: ...
    def reset_output_buffer(self) -> None: ...
