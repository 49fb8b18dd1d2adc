"""Ledger to province: dialect, HTTP, verdict, ledger. Calls are retried here and nowhere else.

Each worker takes the most urgent rating that nobody else holds. A rating without an answer waits by itself while the
others go on. When several different ones in a row get none, the province is away: everybody waits, and asks now and
then with the rating that has been asked with least, so that no single one can make a province look away for long.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from typing import NamedTuple

import tenacity

from protocols.dialects import Dialect, without_details
from protocols.ratings import Accepted, Case, Token, Unavailable, Verdict

from .calls import Calls, Watch
from .ledger.delivery import Delivery, Due, What
from .pace import Pace

log = logging.getLogger(__name__)

_AWAY_AFTER = 4  # different ratings in a row without an answer: a province that drops one call in ten is not away
_IDLE_S = 1.0
_AT_ONCE = 16  # calls of one worker between two commits
_AT_ONCE_S = 0.1  # and for how long at most: a bad rating that comes meanwhile waits behind them
_SAID_MAX = 50  # what a province says instead of an answer is logged once; one that never repeats itself is cut off


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
        pace: Pace | None = None,
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
        self._callers: set[Calls] = set()
        self._silent: set[int] = set()
        self._said: set[str] = set()
        self._pace = pace or Pace()
        self._asking = threading.Lock()
        self._token: Token | None = None
        self._watch = Watch()
        self._call_s = 1.0  # what a call takes; slow as long as that is not known
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
            for calls in self._callers:
                calls.end()
        self._watch.stop()

    def work(self) -> None:
        """Send ratings until `stop`."""
        calls = Calls(self._timeout_s, self._watch)
        with self._turn:
            if not self._callers:
                threading.Thread(target=self._watch.run, name="forwarder-watch", daemon=True).start()
            self._callers.add(calls)
        patient = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(ProvinceAway),
            wait=tenacity.wait_random_exponential(multiplier=0.25, max=self._look_again_s),
            stop=tenacity.stop_when_event_set(self._stopping),
            sleep=tenacity.sleep_using_event(self._awake),
        )
        while not self._stopping.is_set():
            try:
                patient(self._one, calls)
            except tenacity.RetryError:
                return  # told to stop while the province is away

    def _one(self, calls: Calls) -> None:
        dues = self._taken()
        if not dues:
            return
        try:
            self._deliver(calls, dues)
        finally:
            with self._turn:
                for due in dues:
                    del self._held[due.id]
        if self._away:
            raise ProvinceAway

    # ---- which ones

    def _taken(self) -> list[Due]:
        with self._turn:
            if self._stopping.is_set():
                return []
            now_ms = self._now_ms()
            # First the right to call, and then what with: whatever is the most urgent by then.
            wait_ms = self._pace.wait_ms(now_ms)
            dues = [] if wait_ms else self._chosen(now_ms)
            if dues:
                self._pace.take(now_ms)
                self._held |= {due.id: due for due in dues}
            else:
                self._turn.wait(wait_ms / 1000 if wait_ms else self._pause_s(now_ms))
            return dues

    def _chosen(self, now_ms: int) -> list[Due]:
        if self._away:
            # One at a time: a province that comes back must not meet all workers at once.
            probe = None if self._held else self._delivery.next_probe(now_ms, self._held)
            return [probe] if probe else []
        # The stubborn may each take a whole time-out: they get one worker at most, and never the only one.
        stubborn = None
        dues = self._delivery.batch(now_ms, self._held, self._dialect.together_max * self._at_once())
        if (not dues or self._held) and not any(each.stubborn for each in self._held.values()):
            stubborn = self._delivery.next_stubborn(now_ms, self._held)
        return [stubborn] if stubborn else dues

    def _at_once(self) -> int:
        """How many calls a worker makes before it writes down what came of them: each commit costs as much as a call to
        a province that is near. What is more urgent waits for no more than that."""
        if self._pace.limited:
            return 1
        return max(1, min(_AT_ONCE, int(_AT_ONCE_S / self._call_s)))

    def _pause_s(self, now_ms: int) -> float:
        if self._away and self._held:
            return _IDLE_S  # somebody asks already, and wakes the others when it hears something
        next_ms = self._delivery.next_ms(now_ms, self._held)
        return _IDLE_S if next_ms is None else min(_IDLE_S, (next_ms - now_ms) / 1000)

    # ---- one call

    def _deliver(self, calls: Calls, dues: list[Due]) -> None:
        dues = [due for due in dues if not self._parked(due)]
        first = [due for due in dues if self._dialect.case_first and not due.case_delivered]
        ended = self._told(calls, first, "case", [])
        missing = {each.due.id for each in ended if not isinstance(each.verdict, Accepted)}
        ended = self._told(calls, [due for due in dues if due.id not in missing], "rating", ended)
        self._write_down(ended)

    def _parked(self, due: Due) -> bool:
        held = self._dialect.held(due.rating, due.case)
        if held is None or (held.waivable and due.as_is):
            return False
        self._delivery.park(due, held.reason, held.detail, self._now_ms())
        return True

    def _told(self, calls: Calls, dues: list[Due], what: What, before: list[_Ended]) -> list[_Ended]:
        """Make these calls, one after the other; what came of them is to be written down with the begin of the next, or
        at once. After a call without an answer the others are not made."""
        if not dues:
            return before
        token = self._token_text(calls)
        said: What = "token" if isinstance(token, Unavailable) else what
        with self._delivery.together():
            self._write_down(before)
            attempts = [self._delivery.begin(due, said, self._now_ms()) for due in dues]
        verdicts: list[Verdict] = []
        if isinstance(token, Unavailable):
            verdicts = [token] * len(dues)
            self._heard(dues[0], verdicts)
        while len(verdicts) < len(dues) and not (verdicts and isinstance(verdicts[-1], Unavailable)):
            if verdicts or before:
                self._wait_for_turn()
            token = self._token_text(calls)  # again: it may have ended, or been lost, meanwhile
            if isinstance(token, Unavailable):
                break
            some = dues[len(verdicts) : len(verdicts) + self._dialect.together_max]
            said_of_some = self._asked(calls, some, what, token)
            verdicts += said_of_some
            self._heard(some[0], said_of_some)
        made = zip_longest(dues, attempts, verdicts)
        return [_Ended(due, said, attempt, verdict) for due, attempt, verdict in made]

    def _write_down(self, ended: list[_Ended]) -> None:
        if ended:
            with self._delivery.together():
                for each in ended:
                    if each.verdict is None:
                        self._delivery.not_made(each.attempt)
                    else:
                        self._delivery.end(each.due, each.what, each.attempt, each.verdict, self._now_ms())

    def _asked(self, calls: Calls, dues: list[Due], what: What, token: str) -> list[Verdict]:
        verdicts = self._called(calls, dues, what, token)
        if isinstance(verdicts[0], Unavailable) and verdicts[0].token_stale:
            fresh = self._token_text(calls)
            if not isinstance(fresh, Unavailable):
                verdicts = self._called(calls, dues, what, fresh)
        return [_cleaned(verdict, due.case) for due, verdict in zip(dues, verdicts, strict=True)]

    def _called(self, calls: Calls, dues: list[Due], what: What, token: str) -> list[Verdict]:
        rated = [(due.rating, due.case) for due in dues]
        now_ms = self._now_ms()
        request = (
            self._dialect.case_request(dues[0].case, now_ms, token)
            if what == "case"
            else self._dialect.rating_request(rated, now_ms, token)
        )
        began_s = time.monotonic()
        answer = calls.ask(request)
        self._call_s += (time.monotonic() - began_s - self._call_s) / 4  # it forgets what is some calls ago
        verdicts = [answer] * len(dues) if isinstance(answer, Unavailable) else self._dialect.verdicts(answer, rated)
        self._mind(verdicts[0], token)
        return list(verdicts)

    def _mind(self, verdict: Verdict, token: str) -> None:
        """What the province asks of us besides."""
        if isinstance(verdict, Unavailable):
            with self._turn:
                if verdict.wait_s:
                    self._pace.rest(self._now_ms() + verdict.wait_s * 1000)
                if verdict.token_stale and self._token is not None and self._token.text == token:
                    self._token = None

    # ---- the token

    def _token_text(self, calls: Calls) -> str | Unavailable:
        """What has to be shown with a call; empty where nothing has to."""
        with self._asking:  # one for all workers: some gateways take only the last one that they handed out
            now_ms = self._now_ms()
            if self._token is not None and now_ms < self._token.until_ms:
                return self._token.text
            request = self._dialect.token_request(now_ms)
            if request is None:
                return ""
            answer = calls.ask(request)
            given = answer if isinstance(answer, Unavailable) else self._dialect.token(answer, now_ms)
            if isinstance(given, Unavailable):
                self._mind(given, "")
                return given
            self._token = given
            return given.text

    def _wait_for_turn(self) -> None:
        """The second call of a rating: it has begun, so it goes on, at the pace that is asked for."""
        with self._turn:
            while (wait_ms := self._pace.wait_ms(self._now_ms())) and not self._stopping.is_set():
                self._turn.wait(wait_ms / 1000)
            self._pace.take(self._now_ms())

    # ---- whether the province is there

    def _heard(self, due: Due, verdicts: list[Verdict]) -> None:
        """What one call says about the province, whichever of its ratings it says something of."""
        if not self._stopping.is_set():  # a call that we cut says nothing about it
            answered = [verdict for verdict in verdicts if not isinstance(verdict, Unavailable)]
            self._note(due, (answered or verdicts)[0])

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
            self._turn.notify_all()
        self._away = self._noted = False
        self._awake.set()


class _Ended(NamedTuple):
    """A call that was made, and what came of it."""

    due: Due
    what: What
    attempt: int
    verdict: Verdict | None
    """None for a call that was not made after all."""


def _cleaned(verdict: Verdict, case: Case) -> Verdict:
    """The same verdict; where it repeats a citizen's details, they are taken out of its words."""
    return replace(verdict, words=without_details(verdict.words, case))
