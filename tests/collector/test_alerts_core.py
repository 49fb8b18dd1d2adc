"""From what is found to what is open and who is told of it: by tables, and by whatever hypothesis comes up with."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.alerts.core import CALM_MS, EVENT_MS, FLAP_MS, Alert, Found, Reach, Rule, Silence, decide
from collector.alerts.hours import ALWAYS, BadHours, hours_of, in_words
from collector.alerts.kinds import KINDS
from collector.ledger.tally import begins_ms, day_number

MIN = 60_000
HOUR = 60 * MIN
MONDAY = begins_ms(day_number("2026-11-23"))
OFFICE = hours_of("Mon-Fri 08:30-17:30")
NINE = MONDAY + 9 * HOUR
CABLE = Found("window_bad", "window/a/w1", NINE, "市民中心 1号 线缆断开 / cable out", "市民中心", "1号")
BAD = Found("bad_rating", "bad_rating/D1-1-1", NINE, "市民中心 1号 不满意 / dissatisfied", "市民中心", "1号")
ALL = [Rule(("desk",))]


class Told:
    """What a hall hears, as time goes by: the book of the alerts in memory."""

    def __init__(self, rules=ALL, office=OFFICE, silences=()):
        self.rules, self.office, self.silences = rules, office, list(silences)
        self.alerts: list[Alert] = []
        self.heard: list[tuple[str, str, str]] = []
        self.opened: Counter[str] = Counter()

    def look(self, now_ms: int, *found: Found) -> list[str]:
        """What is told now, as `what cause`."""
        decision = decide(found, self.alerts, self.rules, self.silences, now_ms, self.office)
        for each in decision.alerts:
            if not each.id:
                self.opened[each.cause] += 1
                self.alerts.append(replace(each, id=len(self.alerts) + 1))
            else:
                self.alerts[each.id - 1] = each
        self.heard += [(each.receiver, each.what, each.alert.cause) for each in decision.notes]
        return [f"{each.what} {each.alert.cause}" for each in decision.notes]

    def every(self, step_ms: int, first_ms: int, last_ms: int, *found: Found) -> list[str]:
        """What is told while this stays so."""
        return [told for now_ms in range(first_ms, last_ms, step_ms) for told in self.look(now_ms, *found)]

    def open(self) -> list[str]:
        return [each.cause for each in self.alerts if each.closed_ms is None]


# ---- when it is told


def test_a_window_is_told_once_it_has_been_bad_for_ten_minutes_and_when_it_is_right():
    told = Told()

    assert [] == told.every(MIN, NINE, NINE + 10 * MIN, CABLE)
    assert ["opened window/a/w1"] == told.every(MIN, NINE + 10 * MIN, NINE + 30 * MIN, CABLE)
    assert ["resolved window/a/w1"] == told.every(MIN, NINE + 30 * MIN, NINE + 60 * MIN)
    assert [] == told.open()


def test_what_is_right_again_before_anybody_was_told_is_told_to_nobody():
    told = Told()
    told.every(MIN, NINE, NINE + 9 * MIN, CABLE)

    assert [] == told.every(MIN, NINE + 9 * MIN, NINE + 2 * HOUR)


def test_a_reminder_comes_every_four_hours_and_no_more_once_somebody_sees_to_it():
    told = Told(office=ALWAYS)
    told.every(MIN, NINE, NINE + 11 * MIN, CABLE)

    assert ["reminded window/a/w1"] == told.every(MIN, NINE + 11 * MIN, NINE + 5 * HOUR, CABLE)
    told.alerts[0] = replace(told.alerts[0], acked_by="李敏", acked_ms=NINE + 5 * HOUR)
    assert [] == told.every(MIN, NINE + 5 * HOUR, NINE + 20 * HOUR, CABLE)
    assert ["resolved window/a/w1"] == told.every(MIN, NINE + 20 * HOUR, NINE + 21 * HOUR)


def test_each_bad_rating_is_told_at_once_at_any_hour_and_only_once():
    """Also at three in the morning on a Sunday. Red if office hours hold it back."""
    told = Told()
    sunday = MONDAY - 21 * HOUR

    assert ["opened bad_rating/D1-1-1"] == told.look(sunday, BAD)
    assert [] == told.every(MIN, sunday + MIN, sunday + 3 * HOUR, BAD)
    assert [] == told.every(HOUR, sunday + 3 * HOUR, sunday + 60 * HOUR)
    assert 1 == told.opened[BAD.cause]
    assert [] == told.open()


def test_a_bad_rating_stays_on_the_page_with_the_name_of_who_sees_to_it():
    """Red if it goes as soon as somebody takes it: nobody else would know that somebody works on it."""
    told = Told()
    told.look(NINE, BAD)
    told.alerts[0] = replace(told.alerts[0], acked_by="李敏", acked_ms=NINE + HOUR)
    told.look(NINE + 2 * HOUR)

    assert [BAD.cause] == told.open()
    assert [] == told.every(HOUR, NINE + 2 * HOUR, NINE + 24 * HOUR, BAD)
    assert [BAD.cause] == told.open()
    told.look(NINE + 25 * HOUR, BAD)
    assert [] == told.open()


# ---- hours


def test_a_pc_that_is_off_at_night_is_not_missed_before_it_had_its_time_in_the_morning():
    """Off from Sunday on; five minutes after half past eight it is missed. Red if the night counts."""
    told = Told()
    away = Found("agent_away", "agent/a", MONDAY - HOUR, "a 离线 / away")

    assert [] == told.every(MIN, MONDAY - HOUR, MONDAY + 8 * HOUR + 35 * MIN, away)
    assert ["opened agent/a"] == told.look(MONDAY + 8 * HOUR + 35 * MIN, away)


def test_what_is_right_again_at_night_is_told_in_the_morning():
    told = Told()
    told.every(MIN, NINE, NINE + 11 * MIN, CABLE)
    told.every(10 * MIN, NINE + 11 * MIN, NINE + 9 * HOUR, CABLE)

    assert [] == told.every(10 * MIN, NINE + 9 * HOUR, MONDAY + 32 * HOUR)
    assert ["resolved window/a/w1"] == told.every(10 * MIN, MONDAY + 32 * HOUR, MONDAY + 40 * HOUR)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("Mon-Fri 08:30-17:30", ["Mon 08:30", "Fri 17:29"], ["Mon 08:29", "Mon 17:30", "Sat 09:00"]),
        (
            "周一至周五 08:30-12:00 13:30-17:30; 周六 09:00-12:00",
            ["Sat 11:59", "Tue 13:30"],
            ["Tue 12:30", "Sat 12:00"],
        ),
        ("22:00-06:00", ["Mon 23:00", "Tue 05:59", "Mon 01:00", "Sun 23:59"], ["Tue 06:00", "Mon 12:00"]),
        ("Sat-Mon 00:00-24:00", ["Sat 00:00", "Sun 12:00", "Mon 23:59"], ["Tue 00:00", "Fri 23:59"]),
        ("always", ["Sun 03:00"], []),
    ],
)
def test_weekly_times_are_what_they_say(text, inside, outside):
    hours = hours_of(text)
    days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]

    def at_ms(said: str) -> int:
        day, time = said.split()
        hour, minute = map(int, time.split(":"))
        return MONDAY + (days.index(day) * 24 + hour) * HOUR + minute * MIN

    assert [] == [each for each in inside if hours.began_ms(at_ms(each)) is None]
    assert [] == [each for each in outside if hours.began_ms(at_ms(each)) is not None]


def test_a_span_began_when_it_says_also_over_midnight_and_over_the_week():
    assert NINE - 30 * MIN == OFFICE.began_ms(NINE)
    assert MONDAY - 2 * HOUR == hours_of("22:00-06:00").began_ms(MONDAY + HOUR)
    assert MONDAY - 48 * HOUR == hours_of("Sat-Mon 00:00-24:00").began_ms(NINE)
    assert 0 == hours_of("00:00-12:00; 12:00-24:00").began_ms(NINE)


@pytest.mark.parametrize("text", ["", "Mon", "Mon-Fri 8-17", "Mon 25:00-26:00", "Mon 08:61-09:00", "Fun 08:00-09:00"])
def test_other_times_are_refused(text):
    with pytest.raises(BadHours):
        hours_of(text)


# ---- silences


def test_a_silence_keeps_quiet_ends_by_itself_and_then_tells_what_is_still_wrong():
    silence = Silence(Reach(("window_*",)), NINE, NINE + 2 * HOUR, "换线", "李敏")
    told = Told(silences=[silence])

    assert [] == told.every(MIN, NINE, NINE + 2 * HOUR, CABLE)
    assert [CABLE.cause] == told.open()
    assert ["opened window/a/w1"] == told.look(NINE + 2 * HOUR, CABLE)


@pytest.mark.parametrize(
    ("reach", "quiet"),
    [
        (Reach(), True),
        (Reach(("window_bad",)), True),
        (Reach(("agent_*",)), False),
        (Reach(halls=("市民*",)), True),
        (Reach(halls=("北厅",)), False),
        (Reach(windows=("1号",)), True),
        (Reach(("window_*",), ("市民中心",), ("2号",)), False),
    ],
)
def test_a_silence_reaches_what_its_globs_say(reach, quiet):
    told = Told(silences=[Silence(reach, NINE, NINE + HOUR, "", "")])

    assert quiet == (told.every(MIN, NINE, NINE + 30 * MIN, CABLE) == [])


@pytest.mark.parametrize(
    ("kinds", "quiet"), [((), False), (("*",), False), (("bad_*",), False), (("bad_rating",), True)]
)
def test_a_bad_rating_is_kept_quiet_only_where_it_is_named(kinds, quiet):
    """A silence for everything is meant for machines. The same with hours of a rule."""
    silenced = Told(silences=[Silence(Reach(kinds), NINE, NINE + HOUR, "", "")])
    at_night = Told(rules=[Rule(("desk",), Reach(kinds), hours=OFFICE)])

    assert quiet == (silenced.look(NINE, BAD) == [])
    assert quiet == (at_night.look(MONDAY, BAD) == [])


def test_a_weekly_silence_is_one_in_those_times_only():
    weekly = Silence(Reach(), MONDAY, MONDAY + 999 * HOUR, "", "", hours_of("Mon 09:00-10:00"))
    told = Told(silences=[weekly])

    assert [] == told.every(MIN, NINE, NINE + HOUR, CABLE)
    assert ["opened window/a/w1"] == told.look(NINE + HOUR, CABLE)


# ---- storms and flapping


def test_what_comes_and_goes_is_told_as_that_and_then_not_before_it_is_calm():
    """A loose plug: out for two minutes, in for two, all morning. Four messages at most, with the count in the last."""
    told = Told(rules=[Rule(("desk",), after_minutes=0)])
    for minute in range(0, 180, 4):
        told.every(MIN, NINE + minute * MIN, NINE + (minute + 2) * MIN, CABLE)
        told.every(MIN, NINE + (minute + 2) * MIN, NINE + (minute + 4) * MIN)
    heard = [what for _, what, _ in told.heard]

    assert ["opened", "resolved", "opened", "resolved", "flapping"] == heard[:5]
    assert [] == heard[5:]
    assert 1 == told.opened[CABLE.cause]
    assert 40 < told.alerts[0].opens
    assert ["resolved window/a/w1"] == told.every(MIN, NINE + 3 * HOUR, NINE + 4 * HOUR)


def test_a_loose_plug_is_told_even_if_it_is_never_out_for_ten_minutes():
    told = Told()
    for minute in (0, 5, 10):
        told.every(MIN, NINE + minute * MIN, NINE + (minute + 1) * MIN, CABLE)
        told.every(MIN, NINE + (minute + 1) * MIN, NINE + (minute + 5) * MIN)

    assert [("desk", "flapping", CABLE.cause)] == told.heard


def test_a_blink_shorter_than_the_calm_is_the_same_alert_without_a_word():
    told = Told(rules=[Rule(("desk",), after_minutes=0)])
    told.look(NINE, CABLE)
    told.look(NINE + 5000)
    told.look(NINE + 10_000, CABLE)

    assert [("desk", "opened", CABLE.cause)] == told.heard
    assert 2 == told.alerts[0].opens


def test_what_is_part_of_a_greater_trouble_is_told_with_it_and_alone_if_it_stays():
    """Forty PCs of a hall are one message."""
    told = Told(rules=[Rule(("desk",), after_minutes=0)])
    hall = Found("agent_away", "hall/h", NINE, "大厅 / hall")
    each = [Found("agent_away", f"agent/{n}", NINE, "离线 / away", part_of="hall/h") for n in range(40)]

    assert ["opened hall/h"] == told.every(MIN, NINE, NINE + HOUR, hall, *each)
    left = replace(each[7], part_of="")
    heard = told.every(MIN, NINE + HOUR, NINE + HOUR + 10 * MIN, left)
    assert {"resolved hall/h", "opened agent/7"} == set(heard)
    assert 2 == len(heard)


# ---- rules


def test_the_first_rule_that_names_a_receiver_and_covers_an_alert_is_the_one_that_counts():
    rules = [
        Rule(("boss",), Reach(("window_bad",)), after_minutes=30),
        Rule(("desk", "boss"), after_minutes=0, repeat_minutes=0),
    ]
    told = Told(rules)
    told.every(MIN, NINE, NINE + HOUR, CABLE)

    assert [("desk", "opened", CABLE.cause), ("boss", "opened", CABLE.cause)] == told.heard


def test_every_kind_has_words_in_two_languages_and_what_to_do():
    for name, kind in KINDS.items():
        assert " / " in kind.name, name
        assert " / " in kind.cure, name


# ---- whatever happens

_CAUSES = [
    replace(CABLE, cause=f"c{n}", kind=kind) for n, kind in enumerate(("window_bad", "disk_full", "clock_wrong"))
]
_EVENTS = [replace(BAD, cause=f"bad_rating/{n}") for n in range(3)]
_STEP = st.tuples(
    st.integers(1000, 45 * MIN), st.sets(st.sampled_from(range(6))), st.booleans(), st.sampled_from((None, 0, 1, 2))
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_STEP, max_size=40))
def test_never_two_open_of_one_cause_and_resolved_is_only_what_was_told(steps):
    """And a restart, after which nothing is remembered but the alerts themselves, changes nothing: there is nothing
    else to remember here. An event is told once, whatever happens."""
    told, now_ms = Told(rules=[Rule(("desk",), after_minutes=5)], office=ALWAYS), NINE
    last: dict[str, str] = {}
    for pass_ms, which, twice, acked in steps:
        now_ms += pass_ms
        found = [each for n, each in enumerate(_CAUSES + _EVENTS) if n in which]
        before = list(told.alerts)
        told.heard.clear()
        told.look(now_ms, *found, *(found if twice else ()))
        for _, what, cause in told.heard:
            assert what != "resolved" or last.get(cause) in ("opened", "reminded", "flapping")
            assert what != "reminded" or last.get(cause) in ("opened", "reminded", "flapping")
            assert what != "opened" or last.get(cause) in (None, "resolved")
            last[cause] = what
        open_now = told.open()
        assert len(open_now) == len(set(open_now))
        assert not [each for each in told.alerts[len(before) :] if each.cause not in {f.cause for f in found}]
        again = Told(told.rules, ALWAYS)
        again.alerts = list(told.alerts)
        assert [] == again.look(now_ms, *found)
        if acked is not None and acked < len(told.alerts):
            told.alerts[acked] = replace(told.alerts[acked], acked_by="x", acked_ms=now_ms)
    assert all(told.opened[each.cause] <= 1 for each in _EVENTS)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1000, 20 * MIN), min_size=1, max_size=60))
def test_however_something_flaps_the_messages_stay_few(passes):
    """Never more than three in any half an hour beside the calls to calm: what flaps is silent until it is calm."""
    told, now_ms, there, times = Told(rules=[Rule(("desk",), after_minutes=0)], office=ALWAYS), NINE, True, []
    for pass_ms in passes:
        for _ in range(2):
            told.heard.clear()
            told.look(now_ms, *([CABLE] if there else []))
            times += [now_ms] * len(told.heard)
            now_ms += pass_ms // 2
        there = not there

    assert not [at for at in times if sum(at <= other < at + FLAP_MS for other in times) > 6]


def test_an_event_ends_by_itself_after_a_day_and_calm_is_a_minute():
    """What the page of the alerts says of them."""
    assert (24 * HOUR, MIN, 30 * MIN) == (EVENT_MS, CALM_MS, FLAP_MS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Sat 08:00-12:00", "周六 08:00-12:00 / Sat 08:00-12:00"),
        (
            "周一至周五 18:00-24:00; sun 09:00-10:00",
            "周一至周五 18:00-24:00; 周日 09:00-10:00 / Mon-Fri 18:00-24:00; Sun 09:00-10:00",
        ),
        ("08:00-09:00", "08:00-09:00 / 08:00-09:00"),
    ],
)
def test_weekly_times_are_shown_in_the_readers_words_and_mean_the_same(text, words):
    """Red if a person reads other days than those that hold."""
    assert words == in_words(text)
    assert {hours_of(text)} == {hours_of(each) for each in words.split(" / ")}
