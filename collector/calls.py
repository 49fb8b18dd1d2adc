"""Calls to a province that end in time, whatever comes back. The only user of requests."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import requests
import requests.adapters
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from protocols.ratings import Answer, Request, Unavailable

_CONNECT_S = 5.0
_ANSWER_MAX = 1024 * 1024  # an answer is 200 bytes; an error page may be long, and is not read to its end
_IDLE_S = 1.0


def asked_once(request: Request, timeout_s: float) -> Answer | Unavailable:
    """One call by itself, for a person who waits for it."""
    watch = Watch()
    threading.Thread(target=watch.run, name="forwarder-watch", daemon=True).start()
    try:
        return Calls(timeout_s, watch).ask(request)
    finally:
        watch.stop()


class Watch:
    """Cuts calls whose time is over: one thread for all workers, for one each call would cost more than the call."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ends_s: dict[Calls, float] = {}
        self._stopped = False

    def begin(self, whose: Calls, end_s: float) -> None:
        """Its call is to end by then, by the monotonic clock."""
        with self._changed:
            first = not self._ends_s
            self._ends_s[whose] = end_s
            if first:
                self._changed.notify()

    def end(self, whose: Calls) -> None:
        """It has."""
        with self._changed:
            self._ends_s.pop(whose, None)

    def stop(self) -> None:
        """Let `run` return."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def run(self) -> None:
        """Until `stop`."""
        with self._changed:
            while not self._stopped:
                now_s = time.monotonic()
                for whose in [whose for whose, end_s in self._ends_s.items() if end_s <= now_s]:
                    del self._ends_s[whose]
                    whose.cut()  # held together with `end`: it never meets the next call
                # Calls that begin meanwhile end later than those that are there: all have the same time.
                soonest_s = min(self._ends_s.values(), default=now_s + _IDLE_S)
                self._changed.wait(max(0.0, soonest_s - now_s))


class Calls:
    """The calls of one worker, one after the other. Each ends within `timeout_s` however slowly the answer drips."""

    def __init__(self, timeout_s: float, watch: Watch):
        self._timeout_s = timeout_s
        self._watch = watch
        self._socket: socket.socket | None = None
        self._late = False
        self._ended = False
        # No session: it would look for proxies, cookies and redirects with each call, and none of them is wanted. A
        # proxy of the machine's user has no business with citizens' details.
        self._adapter = _Adapter(self._opened)

    def ask(self, request: Request) -> Answer | Unavailable:
        """What came back, or why nothing did."""
        if self._ended:
            return Unavailable("正在停止 / stopping")
        self._late = False
        self._watch.begin(self, time.monotonic() + self._timeout_s)
        try:
            with self._adapter.send(
                _prepared(request), stream=True, timeout=(min(_CONNECT_S, self._timeout_s), self._timeout_s)
            ) as answer:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                said = Answer(answer.status_code, _body(answer), headers)
            # What was cut off can look whole: the end of a head, or an answer of unknown length.
            return self._too_late() if self._late else said
        except (requests.RequestException, OSError) as error:
            if self._late or isinstance(error, requests.Timeout):
                return self._too_late()
            # The kind of trouble only: its text can carry the request.
            return Unavailable(f"联系不上 / not reached: {type(error).__name__}")
        finally:
            self._watch.end(self)

    def _too_late(self) -> Unavailable:
        return Unavailable(f"{self._timeout_s:g} 秒内没有答复 / no answer in time")

    def end(self) -> None:
        """Cut the call that is being made, and let no other begin. Any thread may call it."""
        self._ended = True
        self.cut()

    def cut(self) -> None:
        """Cut the call that is being made. Any thread may call it."""
        self._late = True
        if self._socket is not None:
            try:
                # Not SSLSocket's own: it would make the reader go on without its cipher.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            except OSError:
                pass  # the other side was quicker

    def _opened(self, sock: socket.socket) -> None:
        self._socket = sock
        if self._late or self._ended:
            raise TimeoutError


@lru_cache(maxsize=16)  # a province has a handful of addresses, each of which is looked through once
def _whole(url: str) -> str:
    prepared = requests.PreparedRequest()
    prepared.prepare_url(url, None)
    return str(prepared.url)


def _prepared(request: Request) -> requests.PreparedRequest:
    prepared = requests.PreparedRequest()
    prepared.method = "GET" if request.body is None else "POST"
    prepared.url = _whole(request.url)
    prepared.headers = requests.structures.CaseInsensitiveDict(request.headers)
    if request.body is not None:
        prepared.body = request.body
        prepared.headers["Content-Length"] = str(len(request.body))
    return prepared


class _Adapter(requests.adapters.HTTPAdapter):
    """Shows each socket that is opened to `opened`, which may object."""

    def __init__(self, opened: Callable[[socket.socket], None]):
        self._opened = opened
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        opened = self._opened

        class Http(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                opened(self.sock)

        class Https(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                opened(self.sock)

        self.poolmanager.pool_classes_by_scheme = {
            "http": type("HttpPool", (HTTPConnectionPool,), {"ConnectionCls": Http}),
            "https": type("HttpsPool", (HTTPSConnectionPool,), {"ConnectionCls": Https}),
        }


def _body(answer: requests.Response) -> bytes:
    body = b""
    for piece in answer.iter_content(_ANSWER_MAX):
        body += piece
        if len(body) >= _ANSWER_MAX:
            break
    return body
