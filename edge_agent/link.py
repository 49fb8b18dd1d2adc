"""The cable: find it, take it, read, write, and open it again for ever. The only user of pyserial."""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import serial
import serial.tools.list_ports

from protocols.ratings import Moment

from . import machine, ports
from .ports import Ambiguous, NoMatch, PortFacts
from .tap import Tap
from .waker import READ_S, Waker

if sys.platform == "win32":  # neither termios nor fcntl there: the system lets one program alone open a port
    termios = fcntl = None

    class TermiosError(Exception):
        """Never raised here."""
else:
    import fcntl
    import termios

    # A pty or a real port that went away says so with an error of this module, which is no OSError.
    TermiosError = termios.error

log = logging.getLogger(__name__)

RETRY_S = (
    0.5  # opening a port that is not there costs microseconds, and a hall waits for nothing longer than two seconds
)
_NETWORK_READ_S = 0.1  # pyserial cannot be woken from reading a socket
_READ_MAX = 4096  # bytes; what a kernel holds for us
_WRITE_S = 1.0  # a device that takes no bytes for this long loses an ack, and repeats its press


class LinkDown(Exception):
    """The cable cannot be used; the text says why and what to do, Chinese first."""


@dataclass(frozen=True)
class LineFormat:
    """How a byte goes over the line. DTR and RTS are left as the system has them (on) where nothing is said."""

    bytesize: int = 8
    parity: str = "N"
    stopbits: float = 1
    dtr: bool | None = None
    rts: bool | None = None
    mark_errors: bool = False
    """Read a byte that arrives with a wrong parity or stop bit as 00, so that a wrong baud rate forges no key.

    A port of this machine can do it, except on Windows; through a device server such a byte cannot be told."""


def serial_ports() -> list[PortFacts]:
    """The serial ports that this machine has now."""
    if sys.platform == "linux":
        return machine.serial_ports()
    return [_facts(each) for each in serial.tools.list_ports.comports()]


def _facts(listed: serial.tools.list_ports_common.ListPortInfo) -> PortFacts:
    return PortFacts(
        listed.device,
        vid=listed.vid,
        pid=listed.pid,
        serial=listed.serial_number or "",
        location=listed.location or "",
        description=listed.description or "",
        manufacturer=listed.manufacturer or "",
        product=listed.product or "",
        interface=listed.interface or "",
    )


def resolve(port: str, there: Callable[[], Sequence[PortFacts]] = serial_ports) -> str | NoMatch | Ambiguous:
    """What a port of the settings leads to now; ValueError says what it should look like."""
    matcher = ports.parse(port)
    # A path stands for itself: the others are asked for only when one has to be told from them.
    return ports.match(matcher, () if matcher.path and not matcher.by_id else there())


class Link:
    """One serial port, of this machine or behind a device server, by its name in the settings."""

    def __init__(
        self,
        port: str,
        baud: int,
        *,
        line: LineFormat = LineFormat(),
        there: Callable[[], Sequence[PortFacts]] = serial_ports,
    ):
        self.port = port
        self._baud = baud
        self._line = line
        self._there = there
        self._serial: serial.Serial | None = None
        self._exclusive = False
        self._waker = Waker()
        # pyserial's own waiting has one fixed time, and changing that sets the line anew: where there is something to
        # wait for, we wait. Windows has no such thing, nor has rfc2217, which reads on a thread of its own.
        self._selectable = False
        self._by_ones = False
        self.waited = False
        """Whether the last bytes read were there before anybody looked."""

    def open(self) -> None:
        """Take the port for us alone, under whatever name it has now; LinkDown says why not."""
        device = self._found()
        if "://" in device:
            self._serial = self._opened_at(device, timeout=_NETWORK_READ_S, exclusive=None)
            # It says of a socket only that there is something, not how much.
            self._by_ones = self._selectable = device.lower().startswith("socket:")
            self._waker.open()
            return
        holders = machine.holders(device) if machine.is_tty(device) else []
        if any(not each.far_end and each.pid != os.getpid() for each in holders):
            # Opening it would change the baud rate under the other one, and each would get half of the bytes.
            raise LinkDown(_held(self.port, holders))
        self._serial = self._opened_at(device, timeout=READ_S, exclusive=True)
        self._by_ones, self._selectable = False, sys.platform != "win32"
        self._waker.open()
        try:
            self._settle(self._serial.fileno(), machine.is_pty(device))
        except (OSError, TermiosError) as error:
            self.close()
            raise LinkDown(_gone(self.port, error)) from error

    def _found(self) -> str:
        try:
            found = resolve(self.port, self._there)
        except ValueError as mistake:
            raise LinkDown(f"{self.port}: 打不开, 请检查 windows.port / check windows.port: {mistake}") from mistake
        if not isinstance(found, str):
            raise LinkDown(f"{self.port}: {found}")
        return found

    def _opened_at(self, device: str, timeout: float, exclusive: bool | None) -> serial.Serial:
        pty = machine.is_pty(device)  # always 8N; told of anything else, it fails when it is opened a second time
        try:
            port = serial.serial_for_url(
                device,
                do_not_open=True,
                baudrate=self._baud,
                bytesize=8 if pty else self._line.bytesize,
                parity="N" if pty else self._line.parity,
                stopbits=self._line.stopbits,
                timeout=timeout,
                # pyserial refuses a write timeout on rfc2217; the socket under it has five seconds of its own.
                write_timeout=None if device.lower().startswith("rfc2217:") else _WRITE_S,
                exclusive=exclusive,
            )
            if self._line.dtr is not None:
                port.dtr = self._line.dtr
            if self._line.rts is not None:
                port.rts = self._line.rts
            port.open()
        except (OSError, TermiosError, ValueError) as error:
            raise LinkDown(_why(self.port, device, error)) from error
        return port

    def _settle(self, fd: int, pty: bool) -> None:
        """What pyserial does not do; after its open, which sets the line anew. No setting may be changed after this."""
        if sys.platform == "win32":
            return
        if not pty:
            # The lock that pyserial takes stops only those who ask for it; this stops everybody but root. A port
            # forgets it when the last program closes it. A pty keeps it as long as its far end lives: there an agent
            # that is killed would lock out the next one.
            fcntl.ioctl(fd, termios.TIOCEXCL)
            self._exclusive = True
        if self._line.mark_errors:
            settings = termios.tcgetattr(fd)
            # With INPCK and neither of the others the kernel hands over a damaged byte as 00 (termios(3)).
            settings[0] = settings[0] & ~(termios.IGNPAR | termios.PARMRK) | termios.INPCK
            termios.tcsetattr(fd, termios.TCSANOW, settings)

    def read(self, wait_ms: int | None = None) -> bytes:
        """What has come; empty after a while without, at most `wait_ms`, or when woken."""
        port = self._opened()
        try:
            there = port.in_waiting
            self.waited = there > 0
            if not there and self._selectable and not self._waker.waits(port.fileno(), wait_ms):
                return b""
            data = bytes(port.read(there or 1))
            while self._by_ones and len(data) < _READ_MAX and port.in_waiting:
                data += port.read(1)
            return data
        except (OSError, TermiosError, TypeError, ValueError) as error:
            # TypeError, ValueError: what is said when the port is closed while it is read.
            raise LinkDown(_gone(self.port, error)) from error

    def write(self, data: bytes) -> None:
        """Put these bytes on the line; they are lost if the device takes none."""
        try:
            self._opened().write(data)
        except serial.SerialTimeoutException:
            log.warning("设备不收数据 / device takes no bytes: port=%s", self.port)
        except (OSError, TermiosError, TypeError) as error:
            raise LinkDown(_gone(self.port, error)) from error

    def wait(self, wait_ms: int) -> None:
        """Let so much time go by, or until woken."""
        self._waker.sleeps(wait_ms)

    def opened(self) -> serial.Serial:
        """The port itself, for who speaks a protocol of its own on it; LinkDown if it is not open."""
        return self._opened()

    def wake(self) -> None:
        """End a `read` that waits. Any thread may call it."""
        self._waker.wake()
        if self._selectable:
            return
        cancel = getattr(self._serial, "cancel_read", None)
        if cancel is None:
            return
        try:
            cancel()
        except (OSError, TypeError, AttributeError):
            pass  # the port is being closed, which ends the read as well

    def close(self) -> None:
        """Let go of the port."""
        port, self._serial = self._serial, None
        self._waker.close()
        if port is None:
            return
        try:
            if sys.platform != "win32" and self._exclusive:
                # Whoever else has opened it since, as only root can, would keep it shut for the next one.
                fcntl.ioctl(port.fileno(), termios.TIOCNXCL)
        except (OSError, TermiosError):
            pass  # it is gone already
        self._exclusive = False
        try:
            port.close()
        except (OSError, TermiosError):
            pass  # it is gone already

    def _opened(self) -> serial.Serial:
        if self._serial is None:
            raise LinkDown(f"{self.port}: 未打开 / not open")
        return self._serial


class Window(Protocol):
    """What a cable leads to: bytes in, bytes out."""

    def plugged(self, moment: Moment) -> bytes:
        """The cable is there."""

    def unplugged(self, why: str, moment: Moment) -> None:
        """The cable is not there."""

    def feed(self, data: bytes, moment: Moment, waited: bool) -> bytes:
        """Bytes from the device, and whether they were there before anybody looked; what to answer."""

    def tick(self, moment: Moment) -> bytes:
        """Time goes by; what to send."""

    def sent(self, data: bytes, moment: Moment) -> None:
        """This was put on the line."""

    def wait_ms(self, moment: Moment) -> int | None:
        """How long it may be left alone if nothing comes; None for as long as may be."""


class Carried(Protocol):
    """What `carry` needs of a link, whatever it is made of."""

    waited: bool

    def open(self) -> None: ...
    def read(self, wait_ms: int | None = None) -> bytes: ...
    def write(self, data: bytes) -> None: ...
    def wake(self) -> None: ...
    def close(self) -> None: ...


def carry(
    link: Carried, window: Window, now: Callable[[], Moment], stop: threading.Event, tap: Tap | None = None
) -> None:
    """The loop of one cable: its bytes to the window, the window's to it, until `stop`; `tap` gets them too."""

    def say(data: bytes) -> None:
        if data:
            link.write(data)
            window.sent(data, now())
            if tap is not None:
                tap.put(True, data, now().mono_ms)

    while not stop.is_set():
        try:
            link.open()
            say(window.plugged(now()))
            while not stop.is_set():
                data = link.read(window.wait_ms(now()))
                moment = now()
                if data and tap is not None:
                    tap.put(False, data, moment.mono_ms)
                say(window.feed(data, moment, link.waited) + window.tick(moment))
        except LinkDown as down:
            window.unplugged(str(down), now())
            window.tick(now())
            stop.wait(RETRY_S)
        finally:
            link.close()


def _why(port: str, device: str, error: Exception) -> str:
    # Windows tells pyserial the reason in words only; termios gives the number as an argument only.
    number = error.args[0] if isinstance(error, TermiosError) and error.args else getattr(error, "errno", None)
    words = str(error)
    if number == errno.ENOENT or "FileNotFoundError" in words:
        return f"{port}: 没有这个串口, 请检查线缆 / no such port, check the cable"
    if number == errno.EACCES:
        cure = "sudo usermod -aG dialout $USER"
        return f"{port}: 没有权限, 请执行后重新登录 / no permission, run this and sign in again: {cure}"
    if number in (errno.EBUSY, errno.EAGAIN) or "PermissionError" in words:
        return _held(port, machine.holders(device))
    if number == errno.EINVAL and isinstance(error, TermiosError):
        return f"{port}: 串口不支持此校验位或数据位 / the port cannot do this parity or byte size"
    if "://" in port:
        return f"{port}: 连不上, 请检查网络和地址 / cannot be reached, check network and address: {error}"
    return f"{port}: 打不开, 请检查 windows.port / cannot be opened, check windows.port: {error}"


def _held(port: str, holders: Sequence[machine.Holder]) -> str:
    told = f"{port}: 已被其它程序占用, 请关闭它 / held by another program, close that"
    others = [each for each in holders if not each.far_end and each.pid != os.getpid()]
    if not others and any(each.pid == os.getpid() for each in holders):
        return f"{port}: 本代理另一窗口已占用, 请改 windows.port / another window of this agent has it, change this one"
    if sys.platform == "win32":
        return f"{told}: 例如排队叫号程序 / e.g. the queue client"
    return f"{told}: {', '.join(map(str, others)) or '只有 root 可见 / only root can see which'}"


def _gone(port: str, error: Exception) -> str:
    # What pyserial says of a port that was pulled out is long, and guesses at more than one reason.
    detail = "" if "readiness to read" in str(error) else f" ({error})"
    return f"{port}: 线缆已断开 / cable out{detail}"
