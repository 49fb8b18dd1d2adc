"""The picture of all windows: what is new is in it within a second, and nothing else is sent."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from collector.ledger.tally import begins_ms, day_of
from collector.web.shown import Shown
from collector.windows.live import Counted, Live, Picture, usual
from protocols.messages import AgentStatus, Health, WindowHealth
from tests.collector.agents import NOW_MS, Agent, closing, press, rated
from tests.collector.ledgers import Ledger, directory_of, window

TWO = directory_of(window(), window(agent="hall-b", window="w2", device="D2"))
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000000) SELECT count(*) FROM n"
"""What takes a while to be counted."""
AT_MS = NOW_MS + 60_000  # a minute after what the agents of these tests have pressed


class Looking:
    """Somebody who looks at the windows of a ledger, a second later each time."""

    def __init__(self, ledger: Ledger):
        self.now_ms = AT_MS
        self.counts = 0
        shown = Shown(ledger.overview, ledger.directory, lambda: self.now_ms, lambda: None, lambda _: 0)

        def count():
            self.counts += 1
            return shown.count()

        self.live = Live(ledger.overview.since, ledger.directory, lambda: self.now_ms, count)

    def look(self) -> Picture:
        self.now_ms += 1000
        return self.live.look()

    def line(self, agent: str = "hall-a", name: str = "w1"):
        return self.look().line(agent, name)


@pytest.fixture
def two(opened) -> Ledger:
    return opened(TWO)


def said(ledger: Ledger, now_ms: int = AT_MS, agent: str = "hall-a", state: str = "ready", **health) -> None:
    name = "w1" if agent == "hall-a" else "w2"
    ledger.intake.note_status(agent, AgentStatus(True, epoch=Agent().epoch), now_ms)
    found = {"at_ms": now_ms, "epoch": Agent().epoch, "windows": [WindowHealth(name, state, since_ms=now_ms)]}
    ledger.intake.note_health(agent, Health(**(found | health)), now_ms)


def test_every_window_of_the_directory_is_there_whether_it_was_heard_of_or_not(two):
    picture = Looking(two).look()

    assert [("hall-a", "w1"), ("hall-b", "w2")] == [(line.agent, line.window) for line in picture.lines]
    assert {"unknown"} == {*picture.states()}


def test_only_what_changed_is_new(two):
    """Red if a line gets a version whenever it is thought over."""
    looking = Looking(two)
    said(two)
    first = looking.look()
    assert first is looking.live.look()  # within the second nobody reads anything
    same = [looking.look() for _ in range(20)][-1]  # each window was thought over at least once
    said(two, agent="hall-b", state="cable_out")
    last = looking.look()

    assert (first.version, first.version + 1) == (same.version, last.version)
    assert ["w2"] == [line.window for _, line in last.since(first.version)]
    assert [] == [*last.since(last.version)]
    assert last.order == first.order


def test_a_change_is_seen_though_it_came_in_the_same_millisecond(two):
    looking = Looking(two)
    said(two)
    assert "ready" == looking.line().standing.state
    two.intake.note_status("hall-a", AgentStatus(False), AT_MS)

    assert "agent_away" == looking.line().standing.state


def test_a_rating_is_seen_at_the_next_look_and_counts_on_its_day(two):
    """Counted by number: what was pressed yesterday and comes today is not of today."""
    looking = Looking(two)
    said(two)
    looking.look()
    agent = Agent()
    yesterday_ms = begins_ms(day_of(AT_MS)) - 1
    old = press(7, "i7", pressed_ms=yesterday_ms), closing("i7", "C7")
    two.take(agent, agent.write(*rated(1), *rated(2), *old), AT_MS)
    line = looking.line()

    assert (2, NOW_MS + 2000) == (line.ratings, line.last_ms)
    assert "正常: 今日 2 条评价" in line.standing.words


def test_what_was_there_before_the_start_is_counted_too(two):
    agent = Agent()
    two.take(agent, agent.write(*rated(1), *rated(2)), AT_MS)

    assert 2 == Looking(two).line().ratings


def test_at_midnight_everything_begins_anew(two):
    agent = Agent()
    two.take(agent, agent.write(*rated(1)), AT_MS)
    looking = Looking(two)
    assert 1 == looking.line().ratings
    looking.now_ms = begins_ms(day_of(AT_MS) + 1)

    assert 0 == looking.line().ratings


def test_cases_that_close_without_a_rating_make_a_window_silent(two):
    """Twenty where nothing is usual; the next rating ends it. Red if answered or withdrawn ones count."""
    looking = Looking(two)
    said(two)
    looking.look()
    agent = Agent()
    outcomes = ["expired"] * 15 + ["declined"] * 4 + ["withdrawn"] * 9 + ["answered"] * 3
    ends = [
        closing(f"e{n}", f"E{n}", outcome=outcome, closed_ms=AT_MS + n * 1000) for n, outcome in enumerate(outcomes)
    ]
    two.take(agent, agent.write(*ends), AT_MS)
    looking.look()
    assert "ready" == looking.line().standing.state
    two.take(agent, agent.write(closing("e99", "E99", outcome="device_failed", closed_ms=AT_MS + 99_000)), AT_MS)
    found = looking.line().standing
    assert ("no_rating", "20 个办件已结束, 今天还没有评价") == (found.state, found.words.split(" / ")[0])
    two.take(agent, agent.write(press(100, "i100", pressed_ms=AT_MS + 100_000), closing("i100", "C100")), AT_MS)

    assert "ready" == looking.line().standing.state


def test_a_day_that_could_not_be_begun_is_begun_at_the_next_look(two, monkeypatch):
    """Red if the ratings of the morning are missing until midnight because one reading of the ledger failed."""
    agent = Agent()
    two.take(agent, agent.write(*rated(1), *rated(2)), AT_MS)
    monkeypatch.setattr("collector.windows.today._MOST", 1)
    looking = Looking(two)
    since = two.overview.since
    monkeypatch.setattr(since, "stretch_before", failing(since.stretch_before))
    with pytest.raises(sqlite3.OperationalError):
        looking.look()

    assert 2 == looking.line().ratings


def failing(work: Callable[..., Any]) -> Callable[..., Any]:
    """The same, but once an error of the disk."""
    failures = [sqlite3.OperationalError("disk I/O error")]

    def once(*given: Any) -> Any:
        if failures:
            raise failures.pop()
        return work(*given)

    return once


def test_nobody_is_called_silent_before_the_day_has_been_read(two, monkeypatch):
    """After a start in the afternoon the morning's closings come before its ratings were counted, or the other way."""
    monkeypatch.setattr("collector.windows.today._MOST", 4)
    agent = Agent()
    said(two)
    for n in range(30):
        end = closing(f"e{n}", f"E{n}", outcome="expired", closed_ms=AT_MS + n * 1000)
        two.take(agent, agent.write(end), AT_MS)
    looking = Looking(two)
    states = [looking.line().standing.state for _ in range(12)]

    assert "ready" == states[5]
    assert "no_rating" == states[-1]


def test_parked_ratings_and_unconfirmed_keys_are_counted_now_and_then(opened):
    ledger = opened(directory_of(window(), window(window="w2", device="D2", keys="{}")))
    ledger.intake.note_status("hall-a", AgentStatus(True), AT_MS)
    windows = [WindowHealth("w1", "ready"), WindowHealth("w2", "ready")]
    ledger.intake.note_health("hall-a", Health(AT_MS, Agent().epoch, windows), AT_MS)
    looking = Looking(ledger)
    looking.look()
    ledger.rate(1, button=2)
    ledger.delivery.park(ledger.delivery.next(NOW_MS, ()), "lacking", "mobile", NOW_MS)
    agent = Agent()
    ledger.take(agent, agent.write(press(5, "i5", window="w2", device="D2"), closing("i5", "C5", window="w2")))
    looking.look()

    assert "其中差评 1 条" in looking.line().standing.words
    assert "按键未确认, 1 次按键等待" in looking.line(name="w2").standing.words


def test_a_count_of_a_large_ledger_takes_a_twentieth_of_the_time(two):
    """Red if it is counted every second however long that takes."""
    looking = Looking(two)
    slow = looking.live._count

    def count():
        looking.now_ms += 500
        return slow()

    looking.live._count = count
    looking.look()
    for _ in range(8):
        looking.now_ms += 1000
        looking.live.look(at_once=True)
    assert 1 == looking.counts
    looking.now_ms += 40_000
    looking.live.look()

    assert 2 == looking.counts


def test_a_change_is_shown_while_the_whole_ledger_is_counted(two):
    """Whoever looks again waits for no count, however large the ledger. Red if streams count on their own threads."""
    looking = Looking(two)
    said(two)
    counting, go_on = threading.Event(), threading.Event()
    quick = looking.live._count

    def count():
        counting.set()
        looking.now_ms += 5000
        assert go_on.wait(10)
        return quick()

    go_on.set()
    looking.live._count = count
    looking.look()
    go_on.clear()
    counting.clear()
    looking.now_ms += 115_000
    looking.live.look(at_once=True)
    assert counting.wait(60)
    said(two, state="cable_out")
    looking.now_ms += 1000
    seen = looking.live.look(at_once=True).line("hall-a", "w1")
    go_on.set()
    looking.live.end()

    assert "cable_out" == seen.standing.state
    assert 2 == looking.counts


def test_a_page_waits_for_the_count_if_there_was_none_for_long(two):
    """At 8:55 nobody is shown what was parked last night. Red if a page takes whatever was counted last."""
    looking = Looking(two)
    quick = looking.live._count

    def count():
        looking.now_ms += 500
        return quick()

    looking.live._count = count
    looking.look()
    two.rate(1, button=2)
    two.delivery.park(two.delivery.next(NOW_MS, ()), "lacking", "mobile", NOW_MS)
    looking.now_ms += 30_000

    assert "parked" == looking.live.look().line("hall-a", "w1").standing.state


def test_a_count_that_fails_is_told_to_who_looks_and_tried_again(two):
    """Red if the board goes on with old figures for good, and nobody hears why."""
    looking = Looking(two)
    looking.live._count = failing(looking.live._count)
    with pytest.raises(sqlite3.OperationalError):
        looking.look()

    assert 2 == len(looking.look().lines)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_shown_is_what_a_fresh_count_says_whatever_came_in_between(opened, seed):
    """Of each window: its ratings of today, the cases closed since the last one, what is parked, and its state. Red if
    a rating is missed or counted twice between two looks."""
    chance = random.Random(seed)
    names = [("hall-a", "w1", "D1"), ("hall-a", "w2", "D2"), ("hall-b", "w3", "D3")]
    ledger = opened(directory_of(*(window(agent=agent, window=name, device=device) for agent, name, device in names)))
    looking = Looking(ledger)
    agents = {name: Agent(name, f"{n:08x}-0000-7000-8000-000000000000") for n, name in enumerate(("hall-a", "hall-b"))}
    number, now_ms = 0, AT_MS
    for _ in range(25):
        for _ in range(chance.randrange(6)):
            number, now_ms = number + 1, now_ms + 1000
            who, name, device = chance.choice(names)
            outcome = chance.choice(("answered", "expired", "declined", "withdrawn"))
            written = [closing(f"i{number}", f"C{number}", window=name, outcome=outcome, closed_ms=now_ms)]
            if outcome == "answered":
                at_ms = now_ms - chance.choice((5, 86_400_000))
                button = chance.choice((2, 5))
                written.insert(
                    0, press(number, f"i{number}", window=name, device=device, button=button, pressed_ms=at_ms)
                )
            ledger.take(agents[who], agents[who].write(*written), now_ms)
            due = ledger.delivery.next(now_ms, ())
            if due is not None and chance.random() < 0.3:
                ledger.delivery.park(due, "lacking", "mobile", now_ms)
        looking.now_ms = max(looking.now_ms, now_ms)
        looking.look()
    looking.now_ms += 1_000_000  # every sentence and every count is thought over
    shown = [looking.look() for _ in range(20)][-1]
    fresh = Looking(ledger)
    fresh.now_ms = looking.now_ms - 1000
    counted = fresh.look()

    assert [(line.agent, line.window, line.ratings, line.last_ms, line.standing) for line in counted.lines] == [
        (line.agent, line.window, line.ratings, line.last_ms, line.standing) for line in shown.lines
    ]
    assert (
        sum(line.ratings for line in shown.lines)
        == ledger.store.row("SELECT count(*) FROM rating WHERE pressed_ms >= ?", (begins_ms(day_of(AT_MS)),))[0]
    )
    assert fresh.live._counted == looking.live._counted


def test_a_clock_that_was_set_back_freezes_nothing(two):
    looking = Looking(two)
    said(two)
    looking.look()
    looking.now_ms -= 10_000_000
    said(two, state="cable_out")

    assert "cable_out" == looking.line().standing.state
    assert 2 == looking.counts


def test_a_window_that_nobody_has_placed_comes_last_and_makes_a_new_order(two):
    """Places of lines are names until then. Red if a browser could mix two windows up."""
    looking = Looking(two)
    before = looking.look()
    windows = [WindowHealth("w1", "ready"), WindowHealth("w9", "ready", device="D9")]
    said(two, windows=windows)
    after = looking.look()

    assert before.order != after.order
    assert ("not_placed", "w9") == (after.lines[-1].standing.state, after.lines[-1].window)


def test_a_window_that_its_agent_has_no_more_and_nobody_placed_goes(two):
    """Its name was put right. Red if the wrong one stands there as a window in trouble until the collector restarts."""
    looking = Looking(two)
    said(two, windows=[WindowHealth("w1", "ready"), WindowHealth("w9", "ready")])
    before = looking.look()
    said(two, AT_MS + 1, windows=[WindowHealth("w1", "ready")])
    after = looking.look()

    assert {"w1", "w2", "w9"} == {line.window for line in before.lines}
    assert {"w1", "w2"} == {line.window for line in after.lines}
    assert before.order != after.order


def test_a_window_with_parked_ratings_stays_whoever_has_it(two):
    looking = Looking(two)
    said(two, windows=[WindowHealth("w1", "ready"), WindowHealth("w9", "ready")])
    looking.look()
    looking.live._count = lambda: Counted(parked={("hall-a", "w9"): (1, 0)})
    looking.look()
    said(two, AT_MS + 1, windows=[WindowHealth("w1", "ready")])

    assert "w9" in {line.window for line in [looking.look() for _ in range(20)][-1].lines}


def test_windows_of_a_hall_stand_in_the_order_of_their_numbers(opened):
    """As a person counts: 2 before 10."""
    ledger = opened(directory_of(*(window(window=f"w{n}", device=f"D{n}") for n in (10, 2, 1, 11))))

    assert ["1号", "2号", "10号", "11号"] == [line.number for line in Looking(ledger).look().lines]


@pytest.mark.parametrize("name", ["²", "①", "9" * 5000])
def test_whatever_an_agent_calls_a_window_everybody_still_sees_the_board(two, name):
    """Such a number is none that Python reads. Red if one window's name takes all windows of all halls away."""
    looking = Looking(two)
    said(two, windows=[WindowHealth("w1", "ready"), WindowHealth(name, "ready"), WindowHealth("10", "ready")])

    assert {"w1", "w2", name, "10"} == {line.window for line in looking.look().lines}


def test_other_channels_are_no_windows(two):
    places = TWO.with_clients([("app", ["mobile"])])
    two.directory = places

    assert 2 == len(Looking(two).look().lines)


def test_the_end_waits_for_no_count_of_the_whole_ledger(two):
    """It takes seconds in a large ledger. Red if the count is gone through; the file is closed safely behind it."""
    looking = Looking(two)
    picture = looking.look()
    counting, finished = threading.Event(), []

    def count():
        with two.overview.moment():
            counting.set()
            finished.append(two.store.row(NUMBERS))

    looking.live._count = count
    looking.now_ms += 115_000
    looking.live.look(at_once=True)
    assert counting.wait(60)
    looking.live.end()
    two.store.close()

    assert [] == finished
    assert picture.order == looking.look().order


def test_whoever_waits_for_a_count_at_the_end_gets_what_was_there(two):
    """Red if a page that is asked for while the collector ends is an error, and stands in the log as one."""
    looking = Looking(two)
    picture = looking.look()
    counting = threading.Event()

    def count():
        counting.set()
        two.store.row(NUMBERS)

    looking.live._count = count
    looking.now_ms += 115_000
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(looking.live.look)
        assert counting.wait(60)
        looking.live.end()

        assert picture is waiting.result(60)


def test_nobody_reads_the_ledger_after_the_end_who_never_looked_before(two):
    looking = Looking(two)
    looking.live.end()
    two.store.close()

    assert () == looking.look().lines


def test_nothing_is_read_after_the_end(two):
    """The ledger may be closed then. Red with ProgrammingError from the closed file."""
    looking = Looking(two)
    picture = looking.look()
    looking.live.end()
    two.store.close()

    assert picture is looking.look()
    assert not looking.live.pause(picture)


def test_what_is_usual_is_only_known_of_agents_with_ratings():
    assert {"a": 4.0, "c": 1.0} == usual({"a": 80, "b": 80, "c": 3}, {"a": 20, "b": 19, "c": 30})


def test_a_message_that_the_broker_says_again_is_not_new(two):
    """A collector that starts hears what is retained: since when an agent is away, and how far its clock is off, stay
    what they were. Red if the moment of the restart is shown."""
    two.intake.note_status("hall-a", AgentStatus(False), AT_MS)
    health = Health(AT_MS, Agent().epoch, [WindowHealth("w1", "ready")])
    two.intake.note_health("hall-a", health, AT_MS + 100)
    for _ in range(2):
        two.intake.note_status("hall-a", AgentStatus(False), AT_MS + 3_600_000)
        two.intake.note_health("hall-a", health, AT_MS + 3_600_000)
    row = two.store.row("SELECT status_ms, health_ms FROM agent")

    assert (AT_MS, AT_MS + 100) == tuple(row)
