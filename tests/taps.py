"""A cable between two processes that remembers every byte it carries."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Tap:
    """Listens at `port` of 127.0.0.1, and carries on to `target`."""

    def __init__(self, target: int):
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.carried: list[bytes] = []
        self._sockets: list[socket.socket] = [self._listening]
        threading.Thread(target=self._accept, daemon=True).start()

    def everything(self) -> bytes:
        """All that went either way, one stream behind the other in pieces as they came."""
        return b"".join(self.carried)

    def close(self) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                self.carried.append(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
