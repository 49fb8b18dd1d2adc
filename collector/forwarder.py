"""Ledger to province: dialect, HTTP, verdict, ledger. The only user of requests and tenacity.

Each worker takes the most urgent rating that nobody else holds. A rating without an answer waits by itself while the
others go on; when several in a row get none, the province is away and everybody waits.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import requests
import tenacity

from protocols.dialects import Dialect, without_details
from protocols.ratings import Accepted, Case, Lacking, Refused, Request, Unavailable, Verdict

from .ledger.delivery import Delivery, Due, What

log = logging.getLogger(__name__)

_AWAY_AFTER = 4  # calls in a row without an answer: a province that drops one call in ten is not away
_IDLE_S = 1.0
_ANSWER_MAX = 1024 * 1024  # an answer is 200 bytes; an error page may be long, and is not read to its end


class ProvinceAway(Exception):
    """Several calls in a row had no usable answer."""


class Forwarder:
    """Sends what is due. `work` is the loop of one worker; several may run it."""

    def __init__(self, delivery: Delivery, dialect: Dialect, timeout_s: float, now_ms: Callable[[], int]):
        self._delivery = delivery
        self._dialect = dialect
        self._timeout_s = timeout_s
        self._now_ms = now_ms
        self._turn = threading.Condition()
        self._held: set[int] = set()
        self._unanswered = 0

    def wake(self) -> None:
        """Something may be due. Any thread may call it."""
        with self._turn:
            self._turn.notify()

    def work(self, stop: threading.Event) -> None:
        """Send ratings until `stop`."""
        session = requests.Session()
        session.trust_env = False  # a proxy of the machine's user has no business with citizens' details
        patient = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(ProvinceAway),
            wait=tenacity.wait_random_exponential(multiplier=0.25, max=10),
            stop=tenacity.stop_when_event_set(stop),
            sleep=tenacity.sleep_using_event(stop),
        )
        while not stop.is_set():
            try:
                patient(self._one, session, stop)
            except tenacity.RetryError:
                return  # told to stop while the province is away

    def _one(self, session: requests.Session, stop: threading.Event) -> None:
        due = self._taken(stop)
        if due is None:
            return
        try:
            self._deliver(session, due)
        finally:
            with self._turn:
                self._held.discard(due.id)
        if self._unanswered >= _AWAY_AFTER:
            raise ProvinceAway

    def _taken(self, stop: threading.Event) -> Due | None:
        with self._turn:
            due = self._delivery.next(self._now_ms(), self._held)
            if due is not None:
                self._held.add(due.id)
            elif not stop.is_set():
                self._turn.wait(self._pause_s())
            return due

    def _pause_s(self) -> float:
        next_ms = self._delivery.next_ms(self._held)
        if next_ms is None:
            return _IDLE_S
        return min(_IDLE_S, max(0.0, (next_ms - self._now_ms()) / 1000))

    # ---- one rating

    def _deliver(self, session: requests.Session, due: Due) -> None:
        if self._dialect.case_first and not due.case_delivered:
            verdict = self._told(session, due, "case", self._dialect.case_request(due.case, self._now_ms()))
            if not isinstance(verdict, Accepted):
                return
        self._told(session, due, "rating", self._dialect.rating_request(due.rating, due.case, self._now_ms()))

    def _told(self, session: requests.Session, due: Due, what: What, request: Request | Lacking) -> Verdict | None:
        if isinstance(request, Lacking):
            self._delivery.park(due, "lacking", ", ".join(request.fields), self._now_ms())
            return None
        attempt = self._delivery.begin(due, what, self._now_ms())
        verdict = _cleaned(self._asked(session, request), due.case)
        self._delivery.end(due, what, attempt, verdict, self._now_ms())
        self._note(verdict)
        return verdict

    def _asked(self, session: requests.Session, request: Request) -> Verdict:
        try:
            with session.post(
                request.url,
                data=request.body,
                headers=request.headers,
                timeout=(min(5.0, self._timeout_s), self._timeout_s),
                allow_redirects=False,
                stream=True,
            ) as answer:
                return self._dialect.verdict(answer.status_code, _body(answer))
        except requests.Timeout:
            return Unavailable(f"{self._timeout_s:g} 秒内没有答复 / no answer in time")
        except (requests.RequestException, OSError) as error:
            # The kind of trouble only: its text can carry the request.
            return Unavailable(f"联系不上 / not reached: {type(error).__name__}")

    def _note(self, verdict: Verdict) -> None:
        if isinstance(verdict, Unavailable):
            self._unanswered += 1
            if self._unanswered == _AWAY_AFTER:
                log.warning("省平台不可用 / province away: %s", verdict.words)
                self._delivery.province_away(verdict.words, self._now_ms())
            return
        if self._unanswered >= _AWAY_AFTER:
            log.info("省平台已恢复 / province back")
            self._delivery.province_back()
        self._unanswered = 0


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
