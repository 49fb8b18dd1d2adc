"""Something to be waited for beside a port: another thread wakes whoever waits."""

from __future__ import annotations

import select
import socket
import threading

READ_S = 0.5  # how often a window looks at its clock when nothing comes


class Waker:
    """Opened and closed with the port that it stands beside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pair: tuple[socket.socket, socket.socket] | None = None

    def open(self) -> None:
        """Be ready to be woken."""
        self._pair = socket.socketpair()
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
        woken = self._pair[0]
        wait_s = READ_S if wait_ms is None else min(READ_S, wait_ms / 1000)
        both: list[int | socket.socket] = [port, woken]
        ready, _, _ = select.select(both, [], [], wait_s)
        if woken in ready:
            woken.recv(4096)
        return port in ready

    def close(self) -> None:
        """Nobody waits any more."""
        with self._lock:
            pair, self._pair = self._pair, None
        for end in pair or ():
            end.close()
