"""A device server as halls have them: a panel's serial port behind a TCP port, by RFC 2217. pyserial's own server."""

import socket
import threading

import serial
from serial.rfc2217 import PortManager


class DeviceServer:
    """Serves one client after the other until it is closed; `port` shows what the client has set."""

    def __init__(self, panel_url: str):
        # Its modem lines say yes to everything; a pty's fail.
        self.port = serial.serial_for_url(panel_url, timeout=0.05)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rfc2217://127.0.0.1:{self._listener.getsockname()[1]}"
        self.clients = 0
        self._client: socket.socket | None = None
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def hang_up(self) -> None:
        """End the client's connection; it may call again."""
        if self._client is not None:
            self._client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        try:
            self.hang_up()
        except OSError:
            pass  # the client was first
        for thread in self._threads:
            thread.join(10)
        self._listener.close()
        self.port.close()

    def _serve(self) -> None:
        while True:
            try:
                self._client, _ = self._listener.accept()
            except OSError:
                return
            self.clients += 1
            self._carry(self._client)

    def _carry(self, client: socket.socket) -> None:
        over = threading.Event()
        manager = PortManager(self.port, _Sender(client))

        def down() -> None:
            while not over.is_set():
                if data := self.port.read(1):
                    client.sendall(b"".join(manager.escape(data)))

        sender = threading.Thread(target=down)
        sender.start()
        try:
            while data := client.recv(1024):
                self.port.write(b"".join(manager.filter(data)))
        except OSError:
            pass  # the client has gone
        over.set()
        sender.join(10)
        client.close()


class _Sender:
    def __init__(self, client: socket.socket):
        self._client = client

    def write(self, data: bytes) -> None:
        self._client.sendall(data)
