"""Ledger to province: dialect, HTTP, verdict, ledger. The only user of requests and tenacity.

Each worker takes the most urgent rating that nobody else holds. A rating without an answer waits by itself while the
others go on. When several different ones in a row get none, the province is away: everybody waits, and asks now and
then with the rating that has been asked with least, so that no single one can make a province look away for long.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

import requests
import requests.adapters
import tenacity
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from protocols.dialects import Dialect, without_details
from protocols.ratings import Accepted, Case, Lacking, Refused, Request, Unavailable, Verdict

from .ledger.delivery import Delivery, Due, What

log = logging.getLogger(__name__)

_AWAY_AFTER = 4  # different ratings in a row without an answer: a province that drops one call in ten is not away
_IDLE_S = 1.0
_SAID_MAX = 50  # what a province says instead of an answer is logged once; one that never repeats itself is cut off
_CONNECT_S = 5.0
_ANSWER_MAX = 1024 * 1024  # an answer is 200 bytes; an error page may be long, and is not read to its end


class ProvinceAway(Exception):
    """Several ratings in a row had no usable answer."""


class Forwarder:
    """Sends what is due. `work` is the loop of one worker; several may run it. `stop` ends them all.

    A province that is away is asked again after `look_again_s` at the latest, by each worker.
    """

    def __init__(
        self,
        delivery: Delivery,
        dialect: Dialect,
        timeout_s: float,
        now_ms: Callable[[], int],
        look_again_s: float = 10.0,
    ):
        self._delivery = delivery
        self._dialect = dialect
        self._timeout_s = timeout_s
        self._now_ms = now_ms
        self._look_again_s = look_again_s
        self._stopping = threading.Event()
        self._awake = threading.Event()  # set when nobody needs to wait for the province
        self._turn = threading.Condition()  # holds together all below
        self._held: dict[int, Due] = {}
        self._lines: set[_Line] = set()
        self._silent: set[int] = set()
        self._said: set[str] = set()
        self._away = False
        self._noted = True  # whether the ledger may say that the province is away, from an earlier run too

    def wake(self) -> None:
        """Something may be due. Any thread may call it."""
        with self._turn:
            self._turn.notify()

    def stop(self) -> None:
        """Let every `work` return soon: calls without an answer yet are cut. Any thread may call it."""
        self._stopping.set()
        self._awake.set()
        with self._turn:
            self._turn.notify_all()
            for line in self._lines:
                line.end()

    def work(self) -> None:
        """Send ratings until `stop`."""
        line = _Line(self._timeout_s)
        with self._turn:
            self._lines.add(line)
        patient = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(ProvinceAway),
            wait=tenacity.wait_random_exponential(multiplier=0.25, max=self._look_again_s),
            stop=tenacity.stop_when_event_set(self._stopping),
            sleep=tenacity.sleep_using_event(self._awake),
        )
        while not self._stopping.is_set():
            try:
                patient(self._one, line)
            except tenacity.RetryError:
                return  # told to stop while the province is away

    def _one(self, line: _Line) -> None:
        due = self._taken()
        if due is None:
            return
        try:
            self._deliver(line, due)
        finally:
            with self._turn:
                del self._held[due.id]
        if self._away:
            raise ProvinceAway

    # ---- which one

    def _taken(self) -> Due | None:
        with self._turn:
            if self._stopping.is_set():
                return None
            now_ms = self._now_ms()
            due = self._chosen(now_ms)
            if due is not None:
                self._held[due.id] = due
            else:
                self._turn.wait(self._pause_s(now_ms))
            return due

    def _chosen(self, now_ms: int) -> Due | None:
        if self._away:
            return self._delivery.next_probe(now_ms, self._held)
        due = self._delivery.next(now_ms, self._held)
        # The stubborn may each take a whole time-out: they get one worker at most, and never the only one.
        if (due is None or self._held) and not any(each.stubborn for each in self._held.values()):
            due = self._delivery.next_stubborn(now_ms, self._held) or due
        return due

    def _pause_s(self, now_ms: int) -> float:
        next_ms = self._delivery.next_ms(now_ms, self._held)
        return _IDLE_S if next_ms is None else min(_IDLE_S, (next_ms - now_ms) / 1000)

    # ---- one rating

    def _deliver(self, line: _Line, due: Due) -> None:
        if self._dialect.case_first and not due.case_delivered:
            verdict = self._told(line, due, "case", self._dialect.case_request(due.case, self._now_ms()))
            if not isinstance(verdict, Accepted):
                return
        self._told(line, due, "rating", self._dialect.rating_request(due.rating, due.case, self._now_ms()))

    def _told(self, line: _Line, due: Due, what: What, request: Request | Lacking) -> Verdict | None:
        if isinstance(request, Lacking):
            self._delivery.park(due, "lacking", ", ".join(request.fields), self._now_ms())
            return None
        attempt = self._delivery.begin(due, what, self._now_ms())
        answer = line.ask(request)
        verdict = answer if isinstance(answer, Unavailable) else self._dialect.verdict(*answer)
        verdict = _cleaned(verdict, due.case)
        self._delivery.end(due, what, attempt, verdict, self._now_ms())
        if not self._stopping.is_set():  # a call that we cut says nothing about the province
            self._note(due, verdict)
        return verdict

    # ---- whether the province is there

    def _note(self, due: Due, verdict: Verdict) -> None:
        with self._turn:
            if not isinstance(verdict, Unavailable):
                self._note_answer()
                return
            self._complain(verdict.words)
            if not due.stubborn:
                self._silent.add(due.id)
                if len(self._silent) >= _AWAY_AFTER and not self._away:
                    self._note_away(verdict.words)

    def _complain(self, words: str) -> None:
        # On the first day there is one rating to send, and a wrong key shows in nothing but this.
        if words in self._said or len(self._said) >= _SAID_MAX:
            return
        self._said.add(words)
        log.warning("省平台未受理, 请检查 [province] / not taken by the province, check [province]: %s", words)

    def _note_away(self, words: str) -> None:
        log.warning("省平台不可用 / province away: %s", words)
        self._away = self._noted = True
        self._awake.clear()
        self._delivery.province_away(words, self._now_ms())

    def _note_answer(self) -> None:
        self._silent.clear()
        if self._noted:
            self._delivery.province_back(self._now_ms())
        if self._away:
            log.info("省平台已恢复 / province back")
        self._away = self._noted = False
        self._awake.set()


class _Line:
    """One worker's way to the province. A call ends within `timeout_s` however slowly the answer drips."""

    def __init__(self, timeout_s: float):
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._late = False
        self._ended = False
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the machine's user has no business with citizens' details
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter(self._opened))

    def ask(self, request: Request) -> tuple[int, bytes] | Unavailable:
        """The answer's status and body, or why there is none."""
        if self._ended:
            return Unavailable("正在停止 / stopping")
        self._late = False
        watch = threading.Timer(self._timeout_s, self._cut)
        watch.daemon = True
        watch.start()
        try:
            with self._session.post(
                request.url,
                data=request.body,
                headers=request.headers,
                timeout=(min(_CONNECT_S, self._timeout_s), self._timeout_s),
                allow_redirects=False,
                stream=True,
            ) as answer:
                status, body = answer.status_code, _body(answer)
            # What was cut off can look whole: the end of a head, or an answer of unknown length.
            return self._too_late() if self._late else (status, body)
        except (requests.RequestException, OSError) as error:
            if self._late or isinstance(error, requests.Timeout):
                return self._too_late()
            # The kind of trouble only: its text can carry the request.
            return Unavailable(f"联系不上 / not reached: {type(error).__name__}")
        finally:
            watch.cancel()

    def _too_late(self) -> Unavailable:
        return Unavailable(f"{self._timeout_s:g} 秒内没有答复 / no answer in time")

    def end(self) -> None:
        """Cut the call that is being made, and let no other begin. Any thread may call it."""
        self._ended = True
        self._cut()

    def _cut(self) -> None:
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


def _cleaned(verdict: Verdict, case: Case) -> Verdict:
    """The same verdict; where it repeats a citizen's details, they are taken out of its words."""
    words = without_details(verdict.words, case)
    match verdict:
        case Accepted():
            return Accepted(verdict.duplicate, words)
        case Refused():
            return Refused(words, verdict.case_unknown)
        case Unavailable():
            return Unavailable(words)
