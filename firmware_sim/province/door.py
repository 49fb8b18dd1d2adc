"""HTTP around a simulated province: its door on 127.0.0.1, and what a test asks of it beside."""

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from firmware_sim.province import Answer, Province, shown

BODY_MAX = 1 << 20  # one sealed record is about 4 kB; what is longer than this was not meant for us


class ProvinceDoor(ThreadingHTTPServer):
    """The province on 127.0.0.1; port 0 lets the system choose one."""

    daemon_threads = True
    request_queue_size = 128  # a forwarder may open all its connections at once

    def __init__(self, province: Province, port: int = 0):
        super().__init__(("127.0.0.1", port), _Caller)
        self.province = province
        self.stopping = threading.Event()
        self._callers: set[socket.socket] = set()
        self._callers_lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._callers_lock:
            self._callers.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._callers_lock:
            self._callers.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news; anything else is a mistake of ours and is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        """Stop listening and hang up on everyone, also on those who are being kept waiting."""
        self.stopping.set()
        self.server_close()
        with self._callers_lock:
            for caller in self._callers:
                try:
                    caller.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it hung up first


class _Caller(BaseHTTPRequestHandler):
    """One keep-alive connection."""

    server: ProvinceDoor
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16  # head and body leave in one piece
    timeout = 120  # a connection that is silent for longer is given up

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or int(size) > BODY_MAX:
            self.close_connection = True
            self._send(Answer(413 if size.isdecimal() else 411))
            return
        body = self.rfile.read(int(size))
        now_ms = time.time_ns() // 1_000_000
        if self.path == "/_sim/away":
            self._send(self._go_away(body, now_ms))
            return
        self._send(self.server.province.answer(self.path, dict(self.headers.items()), body, now_ms))

    def do_GET(self) -> None:
        match self.path:
            case "/_sim/state":
                self._send(shown(self.server.province.state()))
            case "/_sim/ratings":
                self._send(shown(self.server.province.ratings()))
            case _:
                now_ms = time.time_ns() // 1_000_000
                self._send(self.server.province.answer(self.path, dict(self.headers.items()), b"", now_ms))

    def _go_away(self, body: bytes, now_ms: int) -> Answer:
        try:
            seconds = float(json.loads(body)["seconds"])
        except (ValueError, TypeError, KeyError):
            return Answer(400)
        self.server.province.go_away(now_ms + int(seconds * 1000))
        return shown({"away_ms": int(seconds * 1000)})

    def _send(self, answer: Answer) -> None:
        if answer.delay_ms:
            self.server.stopping.wait(answer.delay_ms / 1000)
        if answer.drop:
            self.close_connection = True
            return
        try:
            self.send_response(HTTPStatus(answer.status))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)
            self.wfile.flush()
        except OSError:  # the client did not wait
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: one line per call would hide the rest."""


@contextmanager
def serving(province: Province, port: int = 0) -> Iterator[ProvinceDoor]:
    """The province's door, open in a thread of this process for as long as the block lasts."""
    door = ProvinceDoor(province, port)
    thread = threading.Thread(target=door.serve_forever, args=(0.05,), name="province", daemon=True)
    thread.start()
    try:
        yield door
    finally:
        door.shutdown()
        door.close()
        thread.join()
