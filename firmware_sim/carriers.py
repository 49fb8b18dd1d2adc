"""Lines that are no serial port: datagrams for a tablet, an event node for a keypad, a door's HTTP for a screen."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from queue import Full, Queue
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from firmware_sim.line import READ_MAX, Line

ANSWER_S = 3.0  # a page gives a request up after so long, and repeats it
WAITING_MAX = 4  # requests of a page that the door has not yet answered


class UdpLine(Line):
    """A tablet's socket on this machine: it hears datagrams, and answers whoever spoke last."""

    datagrams = True

    def __init__(self, port: int = 0):
        self.port = port
        """As given, or as the system chose; another one after `rename`."""
        self._peer: tuple[str, int] | None = None
        super().__init__()

    def fileno(self) -> int:
        return self._socket.fileno() if self.plugged else -1

    def rename(self) -> None:
        """The tablet gets another address the next time: here, a port that the system chooses."""
        self.port = 0

    def _plug(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", self.port))
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]

    def _pull(self) -> None:
        self._socket.close()

    def _read(self) -> bytes:
        data, self._peer = self._socket.recvfrom(READ_MAX)
        return data

    def _write(self, data: bytes) -> int:
        return self._socket.sendto(data, self._peer) if self._peer else 0


class NodeLine(Line):
    """A keypad's event node as a FIFO at `path`: who opens it reads whole `struct input_event`s.

    Where a kernel says ENODEV for a node that is gone, a FIFO says end of file; and it keeps what was typed before
    anybody had opened it.
    """

    datagrams = True

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self._first = self.path
        super().__init__()

    def fileno(self) -> int:
        """Nothing ever comes from the host; and our own end would say that our own words are there to be read."""
        return -1

    def rename(self) -> None:
        """`event3` becomes `event3-other`, and the next time `event3` again."""
        other = self._first.with_name(f"{self._first.name}-other")
        self.path = other if self.path == self._first else self._first

    def _plug(self) -> None:
        if self.path.is_fifo():
            self.path.unlink()  # of a simulator that was killed
        os.mkfifo(self.path)
        # Open for both ways: with no writer a reader would be told that the node is gone.
        self._fifo = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)

    def _pull(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self._fifo)

    def _read(self) -> bytes:
        return b""

    def _write(self, data: bytes) -> int:
        return os.write(self._fifo, data)


class DoorLine(Line):
    """A browser's requests to an agent's door at `url`; what is read is the status of each answer, three digits.

    A thread of its own waits for the door, so that nothing else has to.
    """

    datagrams = True

    def __init__(self, url: str, headers: dict[str, str] | None = None):
        if not url.startswith(("http://127.0.0.1:", "http://localhost:")):
            raise ValueError(f"只向本机的门提交 / only to a door of this machine, http://127.0.0.1:PORT/…: {url!r}")
        self._url = url
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        super().__init__()

    def fileno(self) -> int:
        return self._answers.fileno() if self.plugged else -1

    def _plug(self) -> None:
        self._answers, self._said = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._answers.setblocking(False)
        self._requests: Queue[bytes | None] = Queue(WAITING_MAX)
        self._thread = threading.Thread(target=_post_all, args=(self._requests, self._said, self._post), daemon=True)
        self._thread.start()

    def _pull(self) -> None:
        while not self._requests.empty():
            self._requests.get_nowait()
        self._requests.put(None)
        self._answers.close()

    def _read(self) -> bytes:
        return self._answers.recv(READ_MAX)

    def _write(self, data: bytes) -> int:
        try:
            self._requests.put_nowait(data)
        except Full:
            return 0
        return len(data)

    def _post(self, body: bytes) -> bytes:
        request = Request(self._url, body, self._headers, method="POST")  # noqa: S310 - checked above
        try:
            with urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310
                return b"%d" % answer.status
        except HTTPError as error:
            with error:
                return b"%d" % error.code
        except (OSError, HTTPException):
            return b""


def _post_all(requests: Queue[bytes | None], said: socket.socket, post: Callable[[bytes], bytes]) -> None:
    """Until told to end: one request after the other, and what came of each."""
    with said:
        while (body := requests.get()) is not None:
            if status := post(body):
                try:
                    said.send(status)
                except OSError:
                    return  # unplugged meanwhile
