"""A collector's pages over real HTTP, with windows in every state, for journeys and pictures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collector.ledger.since import Heard
from collector.windows.past import Past
from protocols.messages import Health, WindowHealth
from protocols.ratings import Accepted, Refused
from tests.collector.doors import app_of, served
from tests.collector.gates import StandIn
from tests.collector.ledgers import case
from tests.collector.windows.many import Province

MIN = 60_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Board(Province):
    """A province that is served at `url`."""

    url = ""
    past: Past | None = None

    @contextmanager
    def served(self, port: int = 0) -> Iterator[str]:
        """Its address as long as it answers there; at this port if one is given."""
        with served(app_of(self.ledger, StandIn(), now_ms, past=self.past), port) as port:
            self.url = f"http://127.0.0.1:{port}"
            yield self.url

    def address(self, place: int) -> str:
        """The page of one window."""
        return f"{self.url}/windows/{self.places[place].agent}/1"


def small(folder: Path) -> Board:
    """Twelve windows, of which each third has something; some ratings went out, some are parked, one is refused."""
    at_ms = now_ms()
    board = Board(folder, 12, at_ms)
    ledger = board.ledger
    for place, how in zip(
        board.places,
        ("ready", "cable_out", "ready", "backlog", "inviting", "away", "ready", "clock", "ready", "alarm", "refusing"),
        strict=False,
    ):
        board.say(place, at_ms, how, at_ms - 87 * MIN)
    for day in range(9, -1, -1):
        for place in board.places[:5]:
            for n in range(3 + (day * 7 + int(place.device[1:]) * 3) % 9):
                when_ms = at_ms - day * 24 * 60 * MIN - n * 3 * MIN - 5 * MIN
                outcome = ("answered", "answered", "answered", "expired", "declined")[n % 5]
                board.rate(place, when_ms, (5, 5, 4, 5, 3, 2)[(n + day) % 6], outcome)
    numbers = range(1, board._number + 1)
    ledger.intake.take_cases([case(f"C{n}") for n in numbers if n % 11], at_ms)
    for n in range(120):
        due = ledger.delivery.next(at_ms, ())
        if due is None:
            break
        verdict = Refused("办件编号不存在") if n % 40 == 5 else Accepted()
        sent_ms = due.rating.pressed_ms + 700 + 90 * (n % 7)
        ledger.delivery.end(due, "rating", ledger.delivery.begin(due, "rating", sent_ms), verdict, sent_ms + 150)
    board.past = _past(folder, board, at_ms)
    for n in range(25):
        board.rate(board.places[8], at_ms - 40 * MIN + n * MIN, outcome="expired")
    return board


def _past(folder: Path, board: Board, at_ms: int) -> Past:
    """A cable that began to fail eight days ago, and two mornings without a network."""
    past = Past(folder / "past.db")
    agent, noise = board.places[1].agent, 0
    for day in range(9, -1, -1):
        for hour in range(3):
            noise += (9 - day) ** 2 // 3 + hour
            waits = 7 * (hour + 1) if day in (2, 6) else 0
            when_ms = at_ms - day * 24 * 60 * MIN - hour * 60 * MIN
            windows = [WindowHealth("1", "ready", noise=noise, waiting=waits)]
            oldest_ms = when_ms - 13 * waits * MIN // 7 if waits else None
            health = Health(when_ms, "e", windows, waits, oldest_ms)
            past.note([Heard(agent, (day, hour), None, None, health, when_ms)])
    return past
