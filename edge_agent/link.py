"""The cable: open it, read, write, and open it again for ever. The only user of pyserial."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable
from typing import Protocol

import serial

from protocols.ratings import Moment

try:
    # A pty or a real port that went away says so with an error of this module, which is no OSError.
    from termios import error as TermiosError
except ImportError:  # Windows has no termios

    class TermiosError(Exception):  # type: ignore[no-redef]
        """Never raised here."""


log = logging.getLogger(__name__)

RETRY_S = (
    0.5  # opening a port that is not there costs microseconds, and a hall waits for nothing longer than two seconds
)
_READ_S = 0.5  # how often a window looks at its clock when the line is silent; bytes and wake() end the wait at once
_SOCKET_READ_S = 0.1  # pyserial cannot be woken from reading a socket
_WRITE_S = 1.0  # a device that takes no bytes for this long loses an ack, and repeats its press


class LinkDown(Exception):
    """The cable cannot be used; the text says why and what to do, Chinese first."""


class Link:
    """One serial port or `socket://host:port`, by its name in the settings."""

    def __init__(self, port: str, baud: int):
        self.port = port
        self._baud = baud
        self._serial: serial.Serial | None = None
        self.waited = False
        """Whether the last bytes read were there before anybody looked."""

    def open(self) -> None:
        """Take the port for us alone; LinkDown says why not."""
        socket = "://" in self.port
        try:
            self._serial = serial.serial_for_url(
                self.port,
                baudrate=self._baud,
                timeout=_SOCKET_READ_S if socket else _READ_S,
                write_timeout=_WRITE_S,
                exclusive=None if socket else True,
            )
        except (OSError, TermiosError, ValueError) as error:
            raise LinkDown(_why(self.port, error)) from error

    def read(self) -> bytes:
        """What has come; empty after a while without, or when woken."""
        port = self._opened()
        try:
            there = port.in_waiting
            self.waited = there > 0
            return bytes(port.read(there or 1))
        except (OSError, TermiosError, TypeError) as error:
            # TypeError: pyserial's answer when the port is closed while it reads.
            raise LinkDown(_gone(self.port, error)) from error

    def write(self, data: bytes) -> None:
        """Put these bytes on the line; they are lost if the device takes none."""
        try:
            self._opened().write(data)
        except serial.SerialTimeoutException:
            log.warning("设备不收数据 / device takes no bytes: port=%s", self.port)
        except (OSError, TermiosError, TypeError) as error:
            raise LinkDown(_gone(self.port, error)) from error

    def wake(self) -> None:
        """End a `read` that waits. Any thread may call it."""
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
        if port is not None:
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


def carry(link: Link, window: Window, now: Callable[[], Moment], stop: threading.Event) -> None:
    """The loop of one cable: its bytes to the window, the window's to it, until `stop`."""
    while not stop.is_set():
        try:
            link.open()
            link.write(window.plugged(now()))
            while not stop.is_set():
                data = link.read()
                reply = window.feed(data, now(), link.waited) + window.tick(now())
                if reply:
                    link.write(reply)
        except LinkDown as down:
            window.unplugged(str(down), now())
            window.tick(now())
            stop.wait(RETRY_S)
        finally:
            link.close()


def _why(port: str, error: Exception) -> str:
    # Windows tells pyserial the reason in words only.
    number, words = getattr(error, "errno", None), str(error)
    if number == errno.ENOENT or "FileNotFoundError" in words:
        return f"{port}: 没有这个串口, 请检查线缆 / no such port, check the cable"
    if number == errno.EACCES:
        cure = "sudo usermod -aG dialout $USER"
        return f"{port}: 没有权限, 请执行后重新登录 / no permission, run this and sign in again: {cure}"
    if number in (errno.EBUSY, errno.EAGAIN) or "PermissionError" in words:
        return f"{port}: 已被其它程序占用, 请关闭它 / held by another program, close that"
    if "://" in port:
        return f"{port}: 连不上, 请检查网络和地址 / cannot be reached, check network and address: {error}"
    return f"{port}: 打不开, 请检查 windows.port / cannot be opened, check windows.port: {error}"


def _gone(port: str, error: Exception) -> str:
    return f"{port}: 线缆已断开 / cable out ({error})"
