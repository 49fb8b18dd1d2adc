"""The loop that looks, decides and writes down, and a loop for each receiver that sends what was written down.

None of them ever waits for another, nor anybody for them. A message is retried here and nowhere else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import tenacity

from protocols.words import Language

from .book import Book
from .core import Found, Rule, decide
from .facts import Seen, found_in
from .file import NotKept
from .hours import Hours
from .kinds import BAD_RATING
from .messages import marked_late, next_message, test_message
from .reading import Reader

log = logging.getLogger(__name__)

LOOK_S = 5.0
_COUNT_S = 60.0
_WAKE_MS = 200  # a hall's busiest second writes a hundred times: a look for bad ratings is one of them
_AGAIN_S = 300.0  # a receiver that cannot be reached is tried at the latest so often
_FORGET_MS = 6 * 3_600_000
_CURSOR, _LEDGER = "bad_rating", "ledger"


class Carries(Protocol):
    """The way to a receiver."""

    def send(self, title: str, body: str) -> str:
        """Empty if it was taken; else why not, in words."""
        ...


@dataclass(frozen=True)
class Receiver:
    """Who hears, and how."""

    name: str
    language: Language
    shown: str
    """Its address with everything hidden that may be secret."""
    carrier: Carries


class NotSent(Exception):
    """A message was not taken."""


class Alerts:
    """Everything that runs. Constructed, it has done nothing yet; `loops` are for threads. `mine`: whether no other
    collector of the same ledger tells already; it is asked until it says yes."""

    def __init__(
        self,
        book: Book,
        receivers: Sequence[Receiver],
        rules: Sequence[Rule],
        office: Hours,
        per_minute: int,
        link: str,
        now_ms: Callable[[], int],
        mine: Callable[[], bool] = lambda: True,
    ):
        self.book = book
        self.receivers = tuple(receivers)
        self.looked_ms: int | None = None
        """When it last looked."""
        self._rules = tuple(rules)
        self._office = office
        self._per_minute = per_minute
        self._link = link
        self._now_ms = now_ms
        self._mine = mine
        self._turn = threading.Event()
        self._taken: dict[str, int] = {}
        self._reader: Reader | None = None
        self._stopping = threading.Event()
        self._awake = threading.Event()
        self._told = {each.name: threading.Event() for each in receivers}
        self._testing = {each.name: threading.Lock() for each in receivers}
        self._upto = 0
        self._forgot_ms = 0

    def begin(self, reader: Reader) -> None:
        """From now on it looks into this ledger. What came before it did so for the first time is not told."""
        self._reader = reader
        known, last = self.book.mark(_CURSOR), reader.last_rating()
        same = self.book.mark(_LEDGER) == reader.ledger
        # A ledger that was restored from a backup is behind what was told already.
        self._upto = int(known) if known is not None and same and int(known) <= last else last

    def wake(self) -> None:
        """Something was written: perhaps a bad rating. Any thread may call it, it never blocks."""
        self._awake.set()

    def stop(self) -> None:
        """Let every loop end."""
        self._stopping.set()
        self._awake.set()
        self._turn.set()
        for each in self._told.values():
            each.set()

    def loops(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Name and work of each thread."""
        yield "alerts", self.work
        yield "alerts-count", self.count_all
        for receiver in self.receivers:
            yield f"alerts-{receiver.name}", lambda receiver=receiver: self.send_all(receiver)  # type: ignore[misc]

    # ---- looking

    def work(self) -> None:
        """Look every few seconds, and at once when a bad rating came, until `stop`."""
        while not self._mine():
            if self._stopping.wait(LOOK_S):
                return
        self._turn.set()
        next_ms = 0
        while not self._stopping.is_set():
            now_ms = self._now_ms()
            reader = self._reader
            bad = self._awake.is_set() and reader is not None and self._bad_came(reader)
            if bad or not 0 < next_ms - now_ms <= LOOK_S * 1000:
                self.look()
                next_ms = self._now_ms() + int(LOOK_S * 1000)
            self._stopping.wait(_WAKE_MS / 1000)  # however often it is woken
            self._awake.wait(max(0.0, (next_ms - self._now_ms()) / 1000))

    def count_all(self) -> None:
        """Have counted what has to be counted, now and then, until `stop`."""
        self._turn.wait()
        while not self._stopping.wait(_COUNT_S):
            if self._reader is not None:
                self._reader.count(self._now_ms())

    def _bad_came(self, reader: Reader) -> bool:
        self._awake.clear()
        return reader.bad_came(self._upto)

    def look(self) -> None:
        """Once: what is wrong now, and who has to hear of it."""
        if self._reader is None:
            return
        at_ms = self._now_ms()
        alerts, _ = self.book.standing(at_ms)
        bad = [each.cause for each in alerts if each.found.kind == BAD_RATING and each.closed_ms is None]
        looked = self._reader.look(self._upto, at_ms, bad)
        if self._decide(looked.seen, {_CURSOR: str(looked.upto), _LEDGER: self._reader.ledger}):
            self._upto = looked.upto

    def look_shut(self, seen: Seen) -> None:
        """The same without a ledger, for a start that has no room for one; and send it here, where nobody waits."""
        if not self._mine() or (self.looked_ms is not None and 0 <= seen.at_ms - self.looked_ms < LOOK_S * 1000):
            return
        self._decide(seen, {}, only=("disk_full", "disk_low"))
        for receiver in self.receivers:
            try:
                while self._send_one(receiver):
                    pass
            except (NotSent, NotKept):
                pass  # again at the next look

    def _decide(self, seen: Seen, marks: dict[str, str], only: tuple[str, ...] = ()) -> bool:
        now_ms = seen.at_ms
        alerts, silences = self.book.standing(now_ms)
        if only:
            alerts = [each for each in alerts if each.found.kind in only]
        found = found_in(seen, {each.cause for each in alerts if each.closed_ms is None})
        decision = decide(self._news(found), alerts, self._rules, silences, now_ms, self._office, seen.mended)
        try:
            self.book.keep(decision, marks)
            if now_ms - self._forgot_ms >= _FORGET_MS:
                self.book.forget(now_ms)
                self._forgot_ms = now_ms
        except NotKept:
            return False  # the book has gone into memory by now: the next look finds the same
        self.looked_ms = now_ms
        for note in decision.notes:
            self._told[note.receiver].set()
        return True

    def _news(self, found: list[Found]) -> list[Found]:
        """Without the bad ratings that were told before: their ledger may have been restored."""
        return [each for each in found if each.kind != BAD_RATING or not self.book.knows(each.cause)]

    # ---- sending

    def send_all(self, receiver: Receiver) -> None:
        """Send what there is for this one, as soon as it may be, until `stop`."""
        self._turn.wait()
        told = self._told[receiver.name]
        patient = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((NotSent, NotKept)),
            wait=tenacity.wait_random_exponential(multiplier=2, max=_AGAIN_S),
            stop=tenacity.stop_when_event_set(self._stopping),
            sleep=tenacity.sleep_using_event(self._stopping),
        )
        while not self._stopping.is_set():
            told.clear()
            try:
                if not patient(self._send_one, receiver):
                    told.wait(1.0 if self.book.dues(receiver.name) else LOOK_S)
            except tenacity.RetryError:
                return  # told to stop

    def _send_one(self, receiver: Receiver) -> bool:
        """Send the next message. False if there is none now; NotSent if it was not taken."""
        now_ms = self._now_ms()
        waiting = self.book.waiting(receiver.name)
        if waiting is None:
            dues = self.book.dues(receiver.name)
            lately = self.book.lately(receiver.name, now_ms)
            message = next_message(dues, lately, self._per_minute, receiver.language, self._link, now_ms)
            if message is None:
                return False
            # Kept before it is sent: whoever starts again sends this one, and not another.
            self.book.made(receiver.name, message, min(each.at_ms for each in dues if each.id in message.notes))
            return True
        number, message, made_ms = waiting
        words = ""
        if self._taken.get(receiver.name) != number:  # or only to write it down has failed
            title = marked_late(message.title, made_ms, receiver.language, now_ms)
            with self._testing[receiver.name]:
                words = receiver.carrier.send(title, message.body)
            if not words:
                self._taken[receiver.name] = number
        self.book.tried(number, words, self._now_ms())
        if words:
            log.warning("报警没有送到, 将再试 / alert not delivered, will try again: %s: %s", receiver.name, words)
            raise NotSent(words)
        return True

    def test(self, name: str) -> str | None:
        """Send a test message to this receiver at once: empty if it was taken, else why not; None if there is none."""
        receiver = next((each for each in self.receivers if each.name == name), None)
        if receiver is None:
            return None
        with self._testing[name]:
            return receiver.carrier.send(*test_message(name, receiver.language, self._link))
