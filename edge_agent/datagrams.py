"""A tablet on the network: its datagrams, each read as one. Of the shape of a link."""

from __future__ import annotations

import re
import select
import socket

from protocols.words import Words

from .link import LinkDown
from .ports import BadPort
from .waker import Waker

_ADDRESS = re.compile(r"udp://([^\s/:@?#\[\]]+|\[[0-9a-f:.]+\]):(\d{1,5})/?", re.IGNORECASE)
_LONGEST = 2048  # bytes; a tablet's longest answer, with its tags, is under 600


def udp_address(port: str) -> tuple[str, int]:
    """Host and number of `udp://host:number`; BadPort says what it should look like."""
    found = _ADDRESS.fullmatch(port)
    if found is None or not 0 < int(found[2]) <= 65_535:
        raise BadPort(Words("udp://主机:端口号", "udp://host:number"))
    return found[1].strip("[]"), int(found[2])


class Datagrams:
    """The tablet at `udp://host:port`. Only what comes from there is read."""

    def __init__(self, port: str):
        self.port = port
        self.waited = False
        """Whether the last datagram read was there before anybody looked."""
        self._waker = Waker()
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Be ready for datagrams; LinkDown says why that cannot be."""
        host, number = udp_address(self.port)
        self._waker.open()
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind)
            # Connected, so that the system lets nobody else's datagrams through.
            self._socket.connect(address)
            self._socket.setblocking(False)
        except OSError as error:
            self.close()
            words = "连不上, 请检查网络和地址 / cannot be reached, check network and address"
            raise LinkDown(f"{self.port}: {words}: {error}") from error

    def read(self, wait_ms: int | None = None) -> bytes:
        """One datagram; empty after a while without, or when woken."""
        opened = self._opened()
        self.waited = bool(select.select([opened], [], [], 0)[0])
        if not self.waited and not self._waker.waits(opened.fileno(), wait_ms):
            return b""
        try:
            return opened.recv(_LONGEST)
        except BlockingIOError:
            return b""  # its checksum was wrong: the system has thrown it away
        except OSError as error:
            raise LinkDown(f"{self.port}: 平板无应答, 请检查它是否开机 / tablet away, is it on? ({error})") from error

    def write(self, data: bytes) -> None:
        """Send one datagram; it may be lost, as any may."""
        try:
            self._opened().send(data)
        except BlockingIOError:
            pass
        except OSError as error:
            raise LinkDown(f"{self.port}: 平板无应答, 请检查它是否开机 / tablet away, is it on? ({error})") from error

    def wake(self) -> None:
        """End a `read` that waits. Any thread may call it."""
        self._waker.wake()

    def close(self) -> None:
        """Let go of the socket."""
        opened, self._socket = self._socket, None
        self._waker.close()
        if opened is not None:
            opened.close()

    def _opened(self) -> socket.socket:
        if self._socket is None:
            raise LinkDown(f"{self.port}: 未打开 / not open")
        return self._socket
