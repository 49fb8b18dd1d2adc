"""Noise and backlog of the past days: added up from what agents say, and the same when it is said twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from collector.ledger.since import Heard
from collector.ledger.tally import begins_ms, day_of
from collector.windows.past import KEEP_DAYS, Past, PastDay
from protocols.messages import Health, WindowHealth
from tests.collector.agents import NOW_MS, Agent

TODAY = day_of(NOW_MS)
NOON_MS = begins_ms(TODAY) + 12 * 3_600_000
MIN_MS = 60_000


def heard(at_ms: int, noise: int = 0, waits_ms: int = 0, waiting: int = 0, window: str = "w1", **more) -> Heard:
    windows = [WindowHealth(window, "ready", noise=noise, waiting=waiting, **more)]
    oldest_ms = at_ms - waits_ms if waits_ms else None
    return Heard("hall-a", (at_ms,), None, None, Health(at_ms, Agent().epoch, windows, waiting, oldest_ms), at_ms)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "past.db"


@pytest.fixture
def past(path):
    opened = Past(path)
    yield opened
    opened.close()


def today(past: Past) -> PastDay | None:
    return past.days("hall-a", "w1", TODAY, TODAY).get(TODAY)


def test_what_an_agent_counted_before_it_was_first_heard_is_of_no_day(past):
    """Red if a collector that is new to a hall says that a year's noise came today."""
    past.note([heard(NOON_MS, noise=900)])
    past.note([heard(NOON_MS + MIN_MS, noise=907)])

    assert 7 == today(past).noise


def test_an_agent_that_starts_again_counts_from_nothing(past):
    past.note([heard(NOON_MS, noise=0)])
    past.note([heard(NOON_MS + MIN_MS, noise=50)])
    past.note([heard(NOON_MS + 2 * MIN_MS, noise=3)])

    assert 53 == today(past).noise


def test_the_same_said_again_changes_nothing_also_after_a_restart(past, path):
    said = [heard(NOON_MS, noise=0), heard(NOON_MS + MIN_MS, noise=5, not_taken=2, waits_ms=3 * MIN_MS, waiting=4)]
    past.note(said)
    past.note(said[1:])
    again = Past(path)
    again.note(said[1:])

    assert PastDay(5, 2, 4, 3 * MIN_MS) == today(again)
    again.close()


def test_a_word_that_another_collector_has_overtaken_is_no_restart(past, path):
    """Two of one ledger note beside each other. Red if all since an agent's start comes once more."""
    other = Past(path)
    past.note([heard(NOON_MS, noise=1000)])
    past.note([heard(NOON_MS + 2 * MIN_MS, noise=1010)])
    other.note([heard(NOON_MS + MIN_MS, noise=1005)])
    other.note([heard(NOON_MS + 3 * MIN_MS, noise=1011)])

    assert 11 == today(past).noise
    other.close()


def test_a_clock_that_was_set_back_stops_no_counting(past):
    past.note([heard(NOON_MS, noise=0), heard(NOON_MS - 3_600_000, noise=4)])

    assert 4 == today(past).noise


def test_the_worst_of_a_day_is_what_is_kept_of_its_backlog(past):
    for minute, (waits_min, waiting) in enumerate(((2, 9), (40, 3), (1, 1))):
        past.note([heard(NOON_MS + minute * MIN_MS, waits_ms=waits_min * MIN_MS, waiting=waiting)])

    assert (9, 40 * MIN_MS) == (today(past).waiting, today(past).oldest_ms)


def test_records_that_are_on_their_way_are_no_backlog_and_a_quiet_hour_has_no_row(past):
    past.note([heard(NOON_MS, waits_ms=MIN_MS - 1, waiting=2)])

    assert PastDay() == today(past)
    assert 0 == past._db.execute("SELECT count(*) FROM hour").fetchone()[0]


def test_each_day_has_its_own_and_what_is_older_than_a_month_is_let_go(past):
    past.note([heard(NOON_MS - 86_400_000, noise=0)])
    past.note([heard(NOON_MS - 86_400_000 + 1, noise=1), heard(NOON_MS, noise=3)])

    found = past.days("hall-a", "w1", TODAY - 1, TODAY)
    assert [1, 2] == [found[day].noise for day in (TODAY - 1, TODAY)]
    past.forget(NOON_MS + KEEP_DAYS * 86_400_000)
    assert PastDay() == today(past)


def test_one_window_does_not_have_the_noise_of_another(past):
    for noise in (0, 8):
        past.note([heard(NOON_MS + noise, noise=noise), heard(NOON_MS + noise, noise=2 * noise, window="w2")])

    assert PastDay(noise=8) == today(past)


def test_of_days_before_a_window_was_first_heard_nothing_is_said(past):
    """Red if a page says that there was no noise on a line that nobody listened to."""
    past.note([heard(NOON_MS)])
    past.note([heard(NOON_MS + 86_400_000, noise=2)])

    assert {TODAY: PastDay(), TODAY + 1: PastDay(noise=2)} == past.days("hall-a", "w1", TODAY - 7, TODAY + 1)
    assert {} == past.days("hall-a", "w2", TODAY - 7, TODAY)


def test_whoever_looks_when_it_has_been_closed_finds_nothing_and_breaks_nothing(past, path):
    """A page may be asked for while the collector ends. Red if a month of figures is set aside as damaged for it."""
    past.note([heard(NOON_MS), heard(NOON_MS + MIN_MS, noise=5)])
    past.close()
    found = today(past)
    again = Past(path)

    assert (None, 5) == (found, today(again).noise)
    assert not path.with_name("past.db.damaged").exists()
    again.close()


@pytest.mark.parametrize("what", [b"", b"no database at all" * 400])
def test_a_file_that_is_damaged_is_set_aside_and_holds_up_nobody(path, what):
    path.write_bytes(what)
    past = Past(path)
    past.note([heard(NOON_MS), heard(NOON_MS + 1, noise=1)])

    assert 1 == today(past).noise
    assert what == b"" or what == path.with_name("past.db.damaged").read_bytes()
    past.close()


def test_what_there_is_no_room_for_is_missed_and_the_rest_goes_on(past):
    past.note([heard(NOON_MS)])
    past._db.execute("PRAGMA query_only = 1")
    past.note([heard(NOON_MS + 1, noise=1)])
    past._db.execute("PRAGMA query_only = 0")
    past.note([heard(NOON_MS + 2, noise=4)])

    assert 4 == today(past).noise


def test_a_bit_that_turns_round_under_it_ends_nothing(past, path):
    """Red if a broken file of figures stops a collector, which would take it for its ledger."""
    for n in range(400):
        past.note([heard(NOON_MS + n, noise=n, window=f"w{n % 40}")])
    past._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    past._db.execute("PRAGMA cache_size = 0")
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    for n in (1, 2, 3):  # found broken, heard for the first time, and one more
        past.note([heard(NOON_MS + n, noise=n)])
        today(past)

    assert path.with_name("past.db.damaged").exists()
    assert 1 == today(past).noise


@pytest.mark.parametrize(
    ("was", "turned"),
    [(b"waiting INTEGER", b"vaiting INTEGER"), (b"noise INTEGER", b"nnise INTEGER"), (b"hour_at", b"hou2_at")],
)
def test_a_bit_that_turns_round_in_a_name_ends_nothing_either(path, was, turned):
    """SQLite's own check passes over it, and what breaks is a question. Red if that ends the collector."""
    first = Past(path)
    first.note([heard(NOON_MS)])
    first.close()
    path.write_bytes(path.read_bytes().replace(was, turned))
    past = Past(path)
    for n in (1, 2, 3):
        past.note([heard(NOON_MS + n, noise=n)])
        past.forget(NOON_MS + n)
        today(past)

    assert 1 <= today(past).noise <= 3
    past.close()


def test_a_number_that_is_none_ends_nothing(past):
    past.note([heard(NOON_MS)])
    past._db.execute("UPDATE counted SET noise = 'x'")
    for n in (1, 2, 3):
        past.note([heard(NOON_MS + n, noise=n)])

    assert 1 == today(past).noise


def test_where_nothing_can_be_kept_the_collector_goes_on(tmp_path):
    """A folder in its place cannot even be set aside for a file."""
    path = tmp_path / "past.db"
    path.mkdir()
    (tmp_path / "past.db.damaged").write_bytes(b"")
    past = Past(path)
    past.note([heard(NOON_MS), heard(NOON_MS + 1, noise=2)])

    assert 2 == today(past).noise
    past.close()


def test_collectors_that_begin_it_at_once_have_one_file(tmp_path):
    for n in range(20):
        path = tmp_path / f"{n}.db"
        with ThreadPoolExecutor(4) as pool:
            for each in pool.map(lambda _, path=path: Past(path), range(4)):
                each.close()
        assert not path.with_name(f"{n}.db.damaged").exists()
