"""What one window did in the last days: every press and closing of it once, on its day, and nothing of another's."""

from __future__ import annotations

import pytest

from collector.ledger import history as histories
from collector.ledger.tally import begins_ms, day_of
from protocols.ratings import Accepted
from tests.collector.agents import NOW_MS, Agent, closing, press
from tests.collector.ledgers import Ledger, case, directory_of, window

TWO = directory_of(window(), window(window="w2", device="D2"))
TODAY = day_of(NOW_MS)
HOUR = 3_600_000


@pytest.fixture
def two(opened) -> Ledger:
    return opened(TWO)


def rate(ledger: Ledger, agent: Agent, n: int, at_ms: int, later_ms: int = 200, name: str = "w1", **other) -> None:
    device = "D1" if name == "w1" else "D2"
    pressed = press(n, f"i{n}", window=name, device=device, pressed_ms=at_ms, **other)
    ledger.take(
        agent, agent.write(pressed, closing(f"i{n}", f"C{n}", window=name, closed_ms=at_ms + 4)), at_ms + later_ms
    )


def days(ledger: Ledger, back: int = 2, name: str = "w1"):
    return ledger.overview.history.days("hall-a", name, TODAY - back, TODAY)


def test_a_press_counts_on_its_day_at_its_window_and_by_what_became_of_it(two):
    agent = Agent()
    rate(two, agent, 1, begins_ms(TODAY) - 10)
    rate(two, agent, 2, begins_ms(TODAY), button=2)
    rate(two, agent, 3, NOW_MS, name="w2")
    two.take(agent, agent.write(press(4)), NOW_MS + 5000)
    before, yesterday, today = days(two)

    assert ({}, {"very_satisfied": 1}, {"dissatisfied": 1}) == tuple(
        dict(day.levels) for day in (before, yesterday, today)
    )
    assert {"rated": 1, "unsolicited": 1} == dict(today.fates)
    assert {"answered": 1} == dict(today.outcomes) == dict(yesterday.outcomes)


def test_how_invitations_ended_is_counted_though_nobody_pressed(two):
    agent = Agent()
    ends = ("expired", "expired", "declined", "device_failed")
    closings = [closing(f"e{n}", f"E{n}", outcome=each, closed_ms=NOW_MS) for n, each in enumerate(ends)]
    two.take(agent, agent.write(*closings, closing("o", "O", window="w2", outcome="expired", closed_ms=NOW_MS)))

    assert {"expired": 2, "declined": 1, "device_failed": 1} == dict(days(two)[-1].outcomes)


def test_a_window_is_found_whatever_it_is_called(opened):
    """As it stands in the records: with quotes, and in Chinese."""
    name = '综合"1"\\号'
    ledger = opened(directory_of(window(window="w2", device="D2")))
    agent = Agent()
    ledger.take(agent, agent.write(closing("e1", "E1", window=name, outcome="expired", closed_ms=NOW_MS)))

    assert {"expired": 1} == dict(days(ledger, name=name)[-1].outcomes)


def test_delays_are_from_the_button_to_the_ledger_and_from_there_to_the_province(two):
    agent = Agent()
    rate(two, agent, 1, NOW_MS, later_ms=1500)
    rate(two, agent, 2, NOW_MS, later_ms=HOUR)
    two.intake.take_cases([case("C1"), case("C2")], NOW_MS + HOUR)
    due = two.delivery.next(NOW_MS + HOUR, ())
    two.delivery.end(due, "rating", two.delivery.begin(due, "rating", NOW_MS), Accepted(), NOW_MS + 4500)
    today = days(two)[-1]

    assert [1500, HOUR] == sorted(today.to_ledger_ms)
    assert [3000] == today.to_province_ms


def test_a_busy_window_has_all_its_presses_of_a_month_and_no_older_one_is_read(two, monkeypatch):
    """Red if the first days of a month show fewer ratings than there were, as if nobody had come."""
    agent = Agent()
    for n, back in enumerate((90, 60, 30, 20, 0), 1):
        at_ms = NOW_MS - back * 24 * HOUR
        records = [press(n * 1000 + each, f"i{n}-{each}", pressed_ms=at_ms + each) for each in range(1100)]
        ends = [closing(f"i{n}-{each}", f"C{n}-{each}", closed_ms=at_ms + each) for each in range(1100)]
        two.take(agent, agent.write(*(each for pair in zip(records, ends, strict=True) for each in pair)), at_ms + 1200)
    read = []
    monkeypatch.setattr(histories, "_add", lambda day, row, add=histories._add: (read.append(row["id"]), add(day, row)))
    found = {TODAY - day.day: (sum(day.levels.values()), day.outcomes["answered"]) for day in days(two, 30)}

    assert {30: (1100, 1100), 20: (1100, 1100), 0: (1100, 1100)} == {
        back: each for back, each in found.items() if each[0]
    }
    assert 3300 <= len(read) <= 4300  # and what lies with the oldest of them


def test_of_an_agent_with_years_behind_it_only_these_days_are_read(two, monkeypatch):
    """By halves to the first record of the days. Red if it begins at the beginning."""
    agent = Agent()
    for n in range(1, 200):
        rate(two, agent, n, NOW_MS - (200 - n) * 24 * HOUR)
    read = []
    decode = histories.decode_record
    monkeypatch.setattr(histories, "decode_record", lambda body: read.append(1) or decode(body))
    found = days(two, back=3)

    assert [1, 1, 1, 0] == [day.outcomes["answered"] for day in found]
    assert len(read) <= 8


def test_a_bound_leaves_the_oldest_out_and_never_the_newest(two, monkeypatch):
    monkeypatch.setattr(histories, "_RECORDS_MAX", 4)
    agent = Agent()
    for n in range(1, 6):
        rate(two, agent, n, NOW_MS + n)

    assert 2 == days(two)[-1].outcomes["answered"]


@pytest.mark.parametrize(
    ("question", "index"),
    [
        (
            "SELECT level FROM press INDEXED BY press_window JOIN record USING (epoch_id, seq) LEFT JOIN rating ON"
            " rating.press = press.id WHERE press.agent = 'a' AND press.window = 'w' AND press.fate = 'rated'"
            " AND press.id < 77 ORDER BY press.id DESC LIMIT 40",
            [
                "press_window (agent=? AND window=? AND fate=? AND rowid<?)",
                "PRIMARY KEY (epoch_id=? AND seq=?)",
                "(press=?)",
            ],
        ),
        (
            "SELECT body FROM record WHERE epoch_id = 1 AND seq BETWEEN 5 AND 9",
            ["PRIMARY KEY (epoch_id=? AND seq>? AND seq<?)"],
        ),
        ("SELECT id FROM rating WHERE id > 7 ORDER BY id LIMIT 9", ["PRIMARY KEY (rowid>?)"]),
        (
            "SELECT n, epoch_id, first, stretch.upto, agent FROM stretch JOIN epoch ON epoch.id = epoch_id WHERE n > 5"
            " ORDER BY n LIMIT 9",
            ["stretch USING INTEGER PRIMARY KEY (rowid>?)", "epoch USING INTEGER PRIMARY KEY (rowid=?)"],
        ),
    ],
    ids=["presses", "records", "new ratings", "new stretches"],
)
def test_every_question_has_its_index_and_sorts_nothing(two, question, index):
    """As SQLite plans it. Red with a walk through the table, or rows sorted behind it."""
    plan = [row["detail"] for row in two.store.rows(f"EXPLAIN QUERY PLAN {question}")]

    assert [] == [each for each in index if not any(each in step for step in plan)]
    assert not any("SCAN" in step or "TEMP B-TREE" in step for step in plan)


def test_a_thread_that_has_read_leaves_its_connection_to_the_next(two):
    """Hundreds of threads of a server share a few. Red if each keeps one for good."""
    two.store.rows("SELECT 1")
    before = len(two.store._readers)
    two.store.rest()
    with two.store.reading():
        two.store.rest()  # within a moment it stays
        two.store.rows("SELECT 1")

    assert before == len(two.store._readers)
