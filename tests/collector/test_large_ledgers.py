"""What a person asks for is found among millions: the work does not grow with what is not asked for."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest

from collector.alerts.reading import Reader
from collector.ledger.desk import Desk
from collector.ledger.schema import VERSION
from collector.ledger.store import Store
from collector.ledger.tally import day_of
from collector.mending.mendings import Mendings
from collector.statistics import Statistics
from protocols.ratings import Accepted
from tests.collector.agents import NOW_MS, Agent, closing, press
from tests.collector.ledgers import VAULT, Ledger, case

DAY_MS = 86_400_000
DAY = day_of(NOW_MS)


def settled(ledger: Ledger, first: int, number: int) -> None:
    """So many more ratings of a month ago that the province has."""
    at_ms, agent = NOW_MS - 30 * DAY_MS, Agent(epoch=f"00000000-0000-4000-8000-{first:012}")
    for n in range(first, first + number):
        ended = closing(f"i{n}", f"C{n}", closed_ms=at_ms + n)
        ledger.take(agent, agent.write(press(n, f"i{n}", pressed_ms=at_ms + n), ended))
        ledger.intake.take_cases([case(f"C{n}")], NOW_MS)
        due = ledger.delivery.next(NOW_MS, ())
        for what in ("case", "rating"):
            ledger.delivery.end(due, what, ledger.delivery.begin(due, what, NOW_MS), Accepted(), NOW_MS)


def steps(ledger: Ledger, ask: Callable[[], object]) -> int:
    """How much SQLite does for it: instructions of its machine."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    with ledger.store.reading() as db:
        db.set_progress_handler(count, 1)
        ask()
        db.set_progress_handler(None, 1)
    return counted


def _desk(ledger: Ledger) -> Desk:
    return Desk(ledger.store, VAULT, ledger.intake)


def _counts(ledger: Ledger, by: str) -> object:
    statistics = Statistics(ledger.store, VAULT, Mendings(ledger.store, VAULT), ledger.directory)
    return statistics.counts(DAY, DAY, by, "", NOW_MS)  # type: ignore[arg-type]


def _alerts(ledger: Ledger) -> None:
    reader = Reader(ledger.store, ledger.directory, NOW_MS)
    reader._counts = 1  # without the balance, which has a line for each epoch
    reader.count(NOW_MS)
    reader.look(reader.last_rating(), NOW_MS)


QUESTIONS: dict[str, Callable[[Ledger], object]] = {
    "the desk's list": lambda ledger: _desk(ledger).listed(50),
    "the same of a hall, a level and a reason": lambda ledger: _desk(ledger).listed(
        50, "lacking", hall="市民中心", level="dissatisfied"
    ),
    "how many wait": lambda ledger: _desk(ledger).count(),
    "why they wait": lambda ledger: _desk(ledger).reasons(),
    "the board's list of parked ones": lambda ledger: ledger.overview.parked(),
    "the board's parked ones by window": lambda ledger: ledger.overview.since.parked(),
    "what the alerts look at, and count each minute": _alerts,
    "one day by window": lambda ledger: _counts(ledger, "window"),
    "one day by item": lambda ledger: _counts(ledger, "item"),
}


@pytest.mark.parametrize("what", QUESTIONS)
def test_what_is_not_asked_for_costs_nothing(ledger, what):
    """Thirty ratings of last month more, and no more work. Red without rating_open, or without closing_at."""
    ledger.rate(1, button=2)
    ledger.delivery.park(ledger.delivery.next(NOW_MS, ()), "lacking", "mobile", NOW_MS)
    settled(ledger, 100, 10)
    few = steps(ledger, lambda: QUESTIONS[what](ledger))
    settled(ledger, 200, 30)
    many = steps(ledger, lambda: QUESTIONS[what](ledger))

    assert 10 < few
    assert many < few + 30


def test_a_ledger_of_the_version_before_finds_them_too(tmp_path, ledger):
    """Its indexes are made when it is opened, and nothing else is touched."""
    ledger.rate(1)
    ledger.store.close()
    db = sqlite3.connect(ledger.path)
    before = db.execute("SELECT * FROM rating").fetchall()
    guards = db.execute("SELECT count(*) FROM sqlite_master WHERE type = 'trigger'").fetchone()
    for name in ("closing_at", "rating_open"):
        db.execute(f"DROP INDEX {name}")
    db.execute("PRAGMA user_version = 7")
    db.commit()
    db.close()
    Store(ledger.path).close()
    db = sqlite3.connect(ledger.path)
    names = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}

    assert {"closing_at", "rating_open"} <= names
    assert (VERSION,) == db.execute("PRAGMA user_version").fetchone()
    assert before == db.execute("SELECT * FROM rating").fetchall()
    assert guards == db.execute("SELECT count(*) FROM sqlite_master WHERE type = 'trigger'").fetchone()
    db.close()
