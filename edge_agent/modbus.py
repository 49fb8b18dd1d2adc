"""A panel on a Modbus RTU line, asked once: what it shows, or why it shows nothing. The only user of minimalmodbus.

minimalmodbus makes and checks the frames and keeps the pause between two of them (3.5 characters, at least 1.75 ms).
The line is a pyserial object that the link has opened; it is never opened or closed here. Over `socket://` and
`rfc2217://` it works as far as the box at the other end keeps the pauses itself: there the network's own delay counts
against the time-out, and baud and pauses are only what we believe of the far line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import minimalmodbus

from protocols.profiles.events import Noise
from protocols.profiles.modbus import DeviceSaid, NoAnswer, Poll, Reading

from .link import LinkDown

try:
    # A pty or a real port that went away says so with an error of this module, which is no OSError.
    from termios import error as TermiosError
except ImportError:  # Windows has no termios

    class TermiosError(Exception):  # type: ignore[no-redef]
        """Never raised here."""


Function = Literal[2, 3, 4]
"""2 reads inputs, 3 and 4 read registers."""

WAIT_MS = 60  # a slow panel turns the line round in 50
_CHARACTER_BITS = 11  # start, eight, parity or a second stop, stop
_FRAME = 5  # address, function, count of bytes, CRC
_EXCEPTION = 5  # address, function with its highest bit set, code, CRC
_REFUSED = 0x80
_REQUEST = 8  # and as long is the answer to a write


class SerialLike(Protocol):
    """What is needed of pyserial's Serial, its socket:// and its rfc2217:// objects."""

    is_open: bool

    @property
    def port(self) -> str | None: ...

    baudrate: int
    timeout: float | None

    def read(self, size: int = 1, /) -> bytes: ...
    def write(self, data: bytes, /) -> int | None: ...
    def flush(self) -> None: ...
    def reset_input_buffer(self) -> None: ...
    def reset_output_buffer(self) -> None: ...


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

    def poll(self, address: int) -> Poll:
        """Look once at the panel of this address, 1 to 247; LinkDown only if the cable is out."""
        return self._asked(address, self._read)

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

    def _asked(self, address: int, ask: Callable[[], Reading]) -> Poll:
        self._instrument.address = address
        wire = self._wire
        wire.begin()
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
        except (OSError, TermiosError) as error:  # after the others, which are OSErrors too
            raise LinkDown(f"{wire.port}: 线缆已断开 / cable out ({error})") from error


def _reason(words: str) -> str:
    return next((reason for begin, reason in _REASONS if words.startswith(begin)), "not the answer to what was asked")


_REASONS = (
    ("Too short", "answer cut short"),
    ("Checksum", "bad checksum"),
    ("Wrong return slave", "another address answered"),
)


class _Wire:
    """The line as minimalmodbus sees it, which keeps the last answer as it came and waits no longer than it must."""

    is_open = True  # or minimalmodbus would open it; a closed one says so when it is used

    def __init__(self, serial: SerialLike, longest: int, wait_ms: int):
        self._serial = serial
        self._longest = longest
        self._wait_ms = wait_ms
        self._sent = b""
        self.answer = b""

    @property
    def port(self) -> str:
        return self._serial.port or ""

    @property
    def baudrate(self) -> int:
        return self._serial.baudrate

    def begin(self) -> None:
        """Nothing has been said yet."""
        self._sent = self.answer = b""
        characters_s = (_REQUEST + self._longest) * _CHARACTER_BITS / self._serial.baudrate
        timeout_s = self._wait_ms / 1000 + characters_s
        if self._serial.timeout != timeout_s:  # setting it sets up the whole port anew
            self._serial.timeout = timeout_s

    def own_words(self) -> str:
        """The reason, if the answer is the beginning of what was sent."""
        return "our own words back: does the adapter echo?" if self._sent.startswith(self.answer) else ""

    def open(self) -> None:
        """Never asked for: see `is_open`."""

    def close(self) -> None:
        """Never asked for: the link closes its port itself."""

    def write(self, data: bytes) -> None:
        self._sent = data
        self._serial.write(data)

    def read(self, size: int) -> bytes:
        """These many bytes, or those of an exception, or what came in time."""
        self.answer = bytes(self._serial.read(min(size, _EXCEPTION)))
        if size > len(self.answer) == _EXCEPTION and not self.answer[1] & _REFUSED:
            self.answer += self._serial.read(size - _EXCEPTION)
        return self.answer

    def flush(self) -> None:
        self._serial.flush()

    def reset_input_buffer(self) -> None:
        """What was too late for the last poll is nothing to this one."""
        self._serial.reset_input_buffer()

    def reset_output_buffer(self) -> None:
        """Nothing waits there: the answer to what was sent before was awaited."""
