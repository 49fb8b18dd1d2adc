"""Receivers that stand in for those of a hall, by real HTTP and real SMTP on this machine: they keep what came."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

TAKEN = {"errcode": 0, "errmsg": "ok", "code": 0, "msg": "success"}


class Robot:
    """A webhook. `answer` and `status` are what it says, after `before_answer`; `came` is what it got."""

    def __init__(self) -> None:
        self.came: list[tuple[str, dict[str, Any]]] = []
        self.answer: dict[str, Any] = TAKEN
        self.status = 200
        self.before_answer: Callable[[], object] | None = None
        self.port = 0

    def texts(self) -> list[str]:
        """What people would have read."""
        return [_text(body) for _, body in self.came]

    def heard(self, count: int, within_s: float = 20.0) -> list[str]:
        """The texts once there are so many."""
        until_s = time.monotonic() + within_s
        while len(self.came) < count and time.monotonic() < until_s:
            time.sleep(0.02)
        return self.texts()


def _text(body: dict[str, Any]) -> str:
    for outer, inner in (("text", "content"), ("content", "text")):
        if isinstance(body.get(outer), dict):
            return body[outer][inner]
    return f"{body['title']}\n{body['message']}"


@contextmanager
def robot(port: int = 0) -> Iterator[Robot]:
    """A running one."""
    found = Robot()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.came.append((self.path, body))
            if found.before_answer is not None:
                found.before_answer()
            raw = json.dumps(found.answer).encode()
            self.send_response(found.status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingTCPServer):  # not HTTPServer, which asks the network for the name of this machine
        allow_reuse_address, daemon_threads = True, True

    server = Server(("127.0.0.1", port), Handler)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def post_office() -> Iterator[tuple[int, list[str]]]:
    """The port of an SMTP server, and the mails that it took."""
    listener, mails = socket.create_server(("127.0.0.1", 0)), []

    def serve() -> None:
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            with caller, caller.makefile("rwb") as line:
                line.write(b"220 hello\r\n")
                line.flush()
                while said := line.readline():
                    if said.upper().startswith(b"DATA"):
                        line.write(b"354 go on\r\n")
                        line.flush()
                        mail = b"".join(iter(line.readline, b".\r\n"))
                        mails.append(mail.decode())
                    line.write(b"221 bye\r\n" if said.upper().startswith(b"QUIT") else b"250 ok\r\n")
                    line.flush()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1], mails
    finally:
        listener.close()
