"""Something to be waited for beside a port: another thread wakes whoever waits."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Container
from typing import Any

READ_S = 0.9  # how often a window looks at its clock when nothing comes; more than STALE_MS, and bytes would seem old


class Waker:
    """Opened and closed with the port that it stands beside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pair: tuple[socket.socket, socket.socket] | None = None
        self._poll: Any = None
        self._polled: int | None = None

    def open(self) -> None:
        """Be ready to be woken."""
        self._pair, self._polled = socket.socketpair(), None
        for end in self._pair:
            end.setblocking(False)

    def wake(self) -> None:
        """End the wait, or the next one. Any thread may call it."""
        with self._lock:  # or the socket might be another's by now
            if self._pair is not None:
                try:
                    self._pair[1].send(b".")
                except BlockingIOError:
                    pass  # plenty of wake-ups are waiting already

    def sleeps(self, wait_ms: int) -> None:
        """Let so much time go by, or until somebody wakes us."""
        if self._pair is not None and select.select([self._pair[0]], [], [], wait_ms / 1000)[0]:
            self._pair[0].recv(4096)

    def waits(self, port: int, wait_ms: int | None) -> bool:
        """Whether `port`, a file descriptor, has something before `wait_ms` are over or somebody wakes us."""
        if self._pair is None:
            return False
        ready = self._ready(port, READ_S if wait_ms is None else min(READ_S, wait_ms / 1000))
        if self._pair[0].fileno() in ready:
            self._pair[0].recv(4096)
        return port in ready

    def _ready(self, port: int, wait_s: float) -> Container[int]:
        woken = self._pair[0].fileno() if self._pair is not None else port
        if not hasattr(select, "poll"):  # Windows
            return select.select([port, woken], [], [], wait_s)[0]
        if self._polled != port:
            # Made once for a port: a hall's agent waits forty times a second, and mostly for nothing.
            self._poll, self._polled = select.poll(), port
            self._poll.register(port, select.POLLIN)
            self._poll.register(woken, select.POLLIN)
        return [fd for fd, _ in self._poll.poll(wait_s * 1000)]

    def close(self) -> None:
        """Nobody waits any more."""
        with self._lock:
            pair, self._pair = self._pair, None
        for end in pair or ():
            end.close()
