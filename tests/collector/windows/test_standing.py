"""What is said of a window: one state and one sentence, whatever is known of it. (14:00 of a Friday in Beijing.)"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest

from collector.windows.standing import RANK, STATES, Facts, silent_from, standing
from protocols.words import said_in
from tests.collector.agents import NOW_MS

MIN, HOUR = 60_000, 3_600_000
NOON_MS = NOW_MS - NOW_MS % 86_400_000 + 6 * HOUR  # 14:00 in Beijing
WELL = Facts(online=True, online_ms=NOON_MS - HOUR, heard_ms=NOON_MS - 20_000, said="ready")
AWAY = replace(WELL, online=False, online_ms=NOON_MS - 5 * HOUR - 10 * MIN)


def said(**facts) -> tuple[str, str, str]:
    """State, Chinese, English of a window that is well but for these facts."""
    found = standing(replace(WELL, **facts), NOON_MS)
    return found.state, said_in(found.words, "zh"), said_in(found.words, "en")


@pytest.mark.parametrize(
    ("facts", "state", "zh", "en"),
    [
        ({}, "ready", "正常: 今日还没有评价", "well: no rating yet today"),
        (
            {"ratings": 41, "last_rating_ms": NOON_MS - 3 * HOUR - 18 * MIN},
            "ready",
            "正常: 今日 41 条评价, 最近 10:42",
            "well: 41 ratings today, last 10:42",
        ),
        ({"ratings": 1}, "ready", "正常: 今日 1 条评价", "well: 1 rating today"),
        ({"said": "inviting"}, "inviting", "正在评价: 今日还没有评价", "being rated: no rating yet today"),
        (
            {"said": "cable_out", "said_ms": NOON_MS - 4 * HOUR - 29 * MIN, "detail": "ttyUSB0"},
            "cable_out",
            "线缆 09:31 起断开 (ttyUSB0)",
            "cable out since 09:31 (ttyUSB0)",
        ),
        (
            {"said": "device_silent", "said_ms": NOON_MS - 26 * HOUR},
            "device_silent",
            "评价器 01-14 12:00 起无应答",
            "device silent since 01-14 12:00",
        ),
        (
            {"said": "refusing", "said_ms": NOON_MS - 380 * 24 * HOUR},
            "refusing",
            "磁盘已满, 2025-12-31 14:00 起不收按键",
            "disk full, presses refused since 2025-12-31 14:00",
        ),
        ({"said": "refusing"}, "refusing", "磁盘已满, ? 起不收按键", "disk full, presses refused since ?"),
        ({"alarm": "请看 / look"}, "alarm", "代理报警: 请看", "agent's alarm: look"),
        (
            {"placed": False},
            "not_placed",
            "目录中没有这个窗口, 按键只保存",
            "not in the directory: presses are only kept",
        ),
        ({"keyless": 0}, "keys_not_confirmed", "按键未确认", "keys not confirmed"),
        (
            {"keyless": 35},
            "keys_not_confirmed",
            "按键未确认, 35 次按键等待",
            "keys not confirmed, 35 presses waiting",
        ),
        (
            {"silent": 12, "usual": 1.5, "last_rating_ms": NOON_MS - 3 * HOUR - 55 * MIN},
            "no_rating",
            "12 个办件已结束, 10:05 起无评价",
            "12 cases closed, no rating since 10:05",
        ),
        (
            {"silent": 20},
            "no_rating",
            "20 个办件已结束, 今天还没有评价",
            "20 cases closed, no rating yet today",
        ),
        (
            {"backlog": 214, "oldest_ms": NOON_MS - 2 * HOUR},
            "backlog",
            "214 条待上交, 最早 2 小时",
            "214 records waiting, oldest 2 h",
        ),
        (
            {"backlog": 1214, "oldest_ms": NOON_MS - 2 * HOUR},
            "backlog",
            "1,214 条待上交, 最早 2 小时",
            "1,214 records waiting, oldest 2 h",
        ),
        (
            {"backlog": 1, "oldest_ms": NOON_MS - 3 * 24 * HOUR},
            "backlog",
            "1 条待上交, 最早 3 天",
            "1 record waiting, oldest 3 days",
        ),
        ({"clock_off_ms": -3 * MIN}, "clock_wrong", "时钟慢 3 分钟", "clock 3 min behind"),
        ({"clock_off_ms": 90_000}, "clock_wrong", "时钟快 90 秒", "clock 90 s ahead"),
        ({"parked": 3}, "parked", "3 条评价待处理", "3 ratings parked"),
        ({"parked": 3, "parked_bad": 1}, "parked", "3 条评价待处理, 其中差评 1 条", "3 ratings parked, 1 of them bad"),
        ({"said": ""}, "unknown", "代理没有这个窗口", "its agent does not have this window"),
        ({"online": None, "heard_ms": None}, "unknown", "代理还没有连接过", "its agent has never connected"),
        (
            {"online": False, "online_ms": NOON_MS - 5 * HOUR - 10 * MIN},
            "agent_away",
            "代理 08:50 起离线",
            "agent away since 08:50",
        ),
        (
            {"online": False, "online_ms": NOON_MS - 5 * HOUR - 10 * MIN, "backlog": 7},
            "agent_away",
            "代理 08:50 起离线, 当时有 7 条待上交",
            "agent away since 08:50, 7 records were waiting then",
        ),
        (
            {"heard_ms": NOON_MS - 10 * MIN},
            "agent_away",
            "代理 13:50 起没有消息",
            "agent not heard since 13:50",
        ),
    ],
)
def test_each_state_has_its_sentence(facts, state, zh, en):
    """Red if a sentence lacks its fact, or says it in one language only."""

    assert (state, zh, en) == said(**facts)


@pytest.mark.parametrize(
    "facts",
    [
        {"backlog": 1, "oldest_ms": NOON_MS - 5000},
        {"clock_off_ms": 20_000},
        {"silent": 7, "usual": 1.0},
        {"silent": 19},
        {"heard_ms": NOON_MS - 100_000},
        {"heard_ms": NOON_MS - HOUR, "online_ms": NOON_MS - 1000},
        {"heard_ms": NOON_MS + HOUR},
    ],
    ids=["one on its way", "clock nearly right", "few cases", "unusual unknown", "one lost", "just back", "set back"],
)
def test_what_is_usual_is_no_trouble(facts):
    """Nobody is sent to a window for nothing: a press on its way, a lunch without cases, a lost message."""

    assert "ready" == said(**facts)[0]


TROUBLES = {
    "agent_away": {"online": False},
    "refusing": {"said": "refusing"},
    "cable_out": {"said": "cable_out"},
    "device_silent": {"said": "device_silent"},
    "alarm": {"alarm": "x"},
    "not_placed": {"placed": False},
    "keys_not_confirmed": {"keyless": 0},
    "no_rating": {"silent": 99},
    "backlog": {"backlog": 9, "oldest_ms": 1},
    "clock_wrong": {"clock_off_ms": HOUR},
    "parked": {"parked": 1},
}


@pytest.mark.parametrize(
    ("worse", "other"),
    # A window is said to be in one state at a time by its agent.
    [pair for pair in combinations(TROUBLES, 2) if not all("said" in TROUBLES[each] for each in pair)],
)
def test_of_two_troubles_the_worse_is_said(worse, other):
    """Red if a rule stands in another place than its state."""

    assert worse == min(worse, other, key=RANK.__getitem__) == said(**(TROUBLES[other] | TROUBLES[worse]))[0]


def test_an_agent_that_is_away_is_said_before_all_that_it_has_said():
    """What it said of the cable may long be past. Red if the cable is said to be out now."""

    assert "agent_away" == standing(replace(AWAY, said="cable_out"), NOON_MS).state


def test_moments_are_put_right_by_the_agents_clock():
    """Its clock is an hour behind: a cable out since 8:31 by it went at 9:31. Red if 08:31 is shown."""
    behind = {"clock_off_ms": -HOUR, "said": "cable_out", "said_ms": NOON_MS - 5 * HOUR - 29 * MIN}

    assert "线缆 09:31 起断开" == said(**behind)[1]
    assert NOON_MS - 4 * HOUR - 29 * MIN == standing(replace(WELL, **behind), NOON_MS).since_ms
    assert "backlog" != said(clock_off_ms=-HOUR, backlog=1, oldest_ms=NOON_MS - HOUR - 5000)[0]


@pytest.mark.parametrize(("usual", "cases"), [(1.0, 8), (2.0, 14), (5.0, 35), (None, 20)])
def test_a_window_where_few_rate_may_be_silent_for_longer(usual, cases):
    """Seven times what is usual there; never fewer than eight. Red with one number for all windows."""

    assert cases == silent_from(usual)
    assert ("ready", "no_rating") == tuple(said(silent=each, usual=usual)[0] for each in (cases - 1, cases))


def test_every_state_has_a_name_in_both_languages_and_a_mark():
    """What cannot be told by its colour is told by its mark and word."""

    assert all(" / " in kind.name and kind.mark for kind in STATES.values())
    assert [*STATES] == sorted(STATES, key=RANK.__getitem__)
