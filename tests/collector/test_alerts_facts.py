"""What is seen, as what is wrong: one cause for each, and whole halls at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from collector.alerts.core import Found
from collector.alerts.facts import AgentSeen, BadRating, Seen, Unrated, WindowSeen, Work, found_in
from collector.alerts.kinds import KINDS
from collector.alerts.reading import Reader
from collector.ledger.file import FULL, READ_ONLY
from protocols.messages import AgentStatus, Health, WindowHealth
from protocols.ratings import Level, Unavailable
from tests.collector.agents import NOW_MS, Agent, rated
from tests.collector.ledgers import PERSON, directory_of, window

MIN = 60_000
WELL = AgentSeen("a1", "市民中心", True, NOW_MS - MIN, NOW_MS, (WindowSeen("w1", "1号", "ready", 0),))
AWAY = replace(WELL, online=False)


def causes(found: list[Found], told_alone: bool = False) -> list[str]:
    there = {each.cause for each in found}
    return [each.cause for each in found if not told_alone or each.part_of not in there]


def agents(count: int, away: int, hall: str = "市民中心") -> list[AgentSeen]:
    return [replace(AWAY if n < away else WELL, agent=f"{hall}{n}", hall=hall) for n in range(count)]


def test_nothing_is_wrong_where_all_is_well():
    assert [] == found_in(Seen(NOW_MS, (WELL,)))


@pytest.mark.parametrize(
    ("seen", "kind", "words"),
    [
        (Seen(1, away_since_ms=1, away_words="HTTP 503 busy"), "province_away", "HTTP 503"),
        (Seen(1, away_since_ms=1, away_words="HTTP 401 欧阳测试甲"), "key_refused", "HTTP 401"),
        (Seen(1, away_since_ms=1, away_words="没有拿到令牌 / no token: HTTP 403 x"), "key_refused", "HTTP 403"),
        (Seen(1, away_since_ms=1, away_words="工单 401 号"), "province_away", "没有答复"),
        (Seen(20 * MIN, unanswered=3, unanswered_since_ms=MIN), "province_away", "3 条"),
        (Seen(1, disk=FULL), "disk_full", "没有空间"),
        (Seen(1, disk=READ_ONLY), "disk_full", "只读"),
        (Seen(1, disk_free=5_000_000), "disk_low", "5 MB"),
        (Seen(1, checkpoint_trouble="密钥 / key"), "checkpoint_missing", "密钥"),
        (Seen(1, parked=3, parked_bad=2), "rating_parked", "差评 2"),
        (Seen(1, keys=(("北厅", 7),)), "keys_not_confirmed", "北厅 7"),
        (Seen(1, quarantined=2), "quarantine_grows", "2"),
        (Seen(1, unexplained=1), "count_unexplained", "1"),
        (Seen(1, gaps=1), "ledger_gap", "1"),
        (Seen(1, work=Work(due=2, due_ms=NOW_MS)), "work_due", "2"),
        (Seen(1, work=Work(overdue=2, overdue_ms=NOW_MS)), "work_overdue", "2"),
        (Seen(1, unrated=(Unrated("a", "w1", "北厅", "1号", 23, 4, 1),)), "no_rating", "23 个办件"),
    ],
)
def test_each_trouble_of_the_centre_has_its_kind(seen, kind, words):
    """Of what a province says its status alone is told: the rest may name anybody."""
    (found,) = found_in(seen)

    assert kind == found.kind
    assert words in found.words
    assert "欧阳" not in found.words


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"windows": (WindowSeen("w1", "1号", "cable_out", NOW_MS - MIN),)}, "window_bad"),
        ({"windows": (WindowSeen("w1", "1号", "device_silent", NOW_MS - MIN),)}, "window_bad"),
        ({"windows": (WindowSeen("w1", "1号", "of_a_newer_agent", NOW_MS - MIN),)}, "window_bad"),
        ({"windows": (WindowSeen("w1", "1号", "refusing", NOW_MS - MIN),)}, "outbox_full"),
        ({"alarm": "存档不符 / outbox differs"}, "agent_alarm"),
        ({"backlog": 4, "oldest_ms": NOW_MS - 31 * MIN}, "backlog_old"),
        ({"clock_off_ms": -5 * MIN}, "clock_wrong"),
        ({"synced": False}, "clock_wrong"),
        ({"online": False}, "agent_away"),
        ({"heard_ms": NOW_MS - 4 * MIN}, "agent_away"),
    ],
)
def test_each_trouble_of_an_agent_has_its_kind(changed, kind):
    (found,) = found_in(Seen(NOW_MS, (replace(WELL, **changed),)))

    assert kind == found.kind
    assert "市民中心" == found.hall
    assert " / " in found.words


@pytest.mark.parametrize(
    "changed",
    [{"alarm": "存档不符"}, {"backlog": 4, "oldest_ms": 0}, {"synced": False}, {"online": False}],
)
def test_the_trouble_of_an_agent_says_at_which_windows_it_is_and_leads_there(changed):
    """Red if it names the PC alone: whoever is told goes to a hall and looks for a window."""
    windows = tuple(WindowSeen(f"w{n}", f"{n}号", "ready", 0) for n in range(1, 7))
    (one,) = found_in(Seen(NOW_MS, (replace(WELL, **changed),)))
    (several,) = found_in(Seen(NOW_MS, (replace(WELL, windows=windows, **changed),)))
    (unheard,) = found_in(Seen(NOW_MS, (replace(WELL, windows=(), **changed),)))

    assert one.words.startswith("市民中心 1号 (a1)")
    assert "/windows/a1/w1" == one.page
    assert several.words.startswith("市民中心 1号, 2号, 3号, 4号 … (a1)")
    assert "" == several.page
    assert unheard.words.startswith("市民中心 a1")


def test_a_full_disk_is_the_pcs_and_not_forty_windows():
    windows = tuple(WindowSeen(f"w{n}", f"{n}号", "refusing", 0) for n in range(40))

    assert {"outbox/a1"} == set(causes(found_in(Seen(NOW_MS, (replace(WELL, windows=windows),)))))


def test_what_an_agent_said_last_is_part_of_its_being_away_and_not_right_again():
    bad = (WindowSeen("w1", "1号", "cable_out", 0),)
    found = found_in(Seen(NOW_MS, (replace(AWAY, windows=bad),)))

    assert ["agent/a1", "window/a1/w1"] == causes(found)
    assert ["agent/a1"] == causes(found, told_alone=True)


@pytest.mark.parametrize(
    ("count", "away", "open_causes", "alone"),
    [
        (40, 40, (), ["hall/市民中心"]),
        (40, 21, (), ["hall/市民中心"]),
        (40, 20, (), 20),
        (40, 20, ("hall/市民中心",), ["hall/市民中心"]),
        (40, 2, ("hall/市民中心",), 2),
        (2, 2, (), 2),
        (3, 3, (), ["hall/市民中心"]),
    ],
)
def test_a_hall_that_is_away_is_one_trouble_until_nearly_all_are_back(count, away, open_causes, alone):
    found = found_in(Seen(NOW_MS, tuple(agents(count, away))), open_causes)
    told = causes(found, told_alone=True)

    assert alone == (told if isinstance(alone, list) else len(told))
    assert away == sum(each.cause.startswith("agent/") for each in found)


def test_all_halls_away_is_one_trouble_the_brokers():
    everywhere = [each for hall in ("东厅", "西厅", "南厅", "北厅") for each in agents(20, 20, hall)]
    silent = [replace(each, online=True, heard_ms=NOW_MS - 4 * MIN) for each in everywhere]

    assert ["everywhere"] == causes(found_in(Seen(NOW_MS, tuple(everywhere))), told_alone=True)
    assert ["everywhere"] == causes(found_in(Seen(NOW_MS, tuple(silent))), told_alone=True)


def test_every_kind_is_found_by_something_here():
    """A kind that nothing finds is a promise that nothing keeps."""
    tables = test_each_trouble_of_the_centre_has_its_kind.pytestmark[0].args[1]
    others = test_each_trouble_of_an_agent_has_its_kind.pytestmark[0].args[1]

    assert set(KINDS) == {kind for _, kind, *_ in (*tables, *others)} | {"bad_rating", "hall_away"}


# ---- read from a real ledger


def test_a_bad_rating_is_read_once_and_without_anything_personal(ledger):
    reader = Reader(ledger.store, ledger.directory, NOW_MS)
    ledger.rate(1)
    ledger.rate(2, button=3, name="hall-a")
    looked = reader.look(0, NOW_MS + 9)

    (bad,) = looked.seen.bad_ratings
    assert BadRating("D1-1-2", "市民中心", "1号", Level.VERY_DISSATISFIED, NOW_MS + 2000, NOW_MS + 9, 2) == bad
    (found,) = found_in(looked.seen)
    assert "市民中心 1号 非常不满意" in found.words
    assert "C2" not in str(found)
    assert [] == [each for each in PERSON.values() if each in str(found)]
    assert () == reader.look(looked.upto, NOW_MS + 9).seen.bad_ratings


def test_two_hundred_bad_ratings_at_once_are_all_read(ledger):
    """A morning's backlog of a hall. Red if the look ends at the newest rating."""
    reader = Reader(ledger.store, ledger.directory, NOW_MS)
    ledger.rate(*range(1, 451), button=2, with_case=False)
    seen, upto = [], 0
    for _ in range(4):
        looked = reader.look(upto, NOW_MS)
        seen, upto = seen + [each.press for each in looked.seen.bad_ratings], looked.upto

    assert 450 == len(set(seen)) == len(seen)


def test_the_times_of_a_pc_whose_clock_is_wrong_are_the_centres(ledger):
    """A PC that believes it is 2001 does not have a window that is bad for a quarter of a century."""
    wrong_ms = NOW_MS // 2
    said = Health(
        wrong_ms, Agent().epoch, [WindowHealth("w1", "cable_out", wrong_ms - 5 * MIN)], 3, wrong_ms - 40 * MIN
    )
    ledger.intake.note_health("hall-a", said, NOW_MS)
    (agent,) = Reader(ledger.store, ledger.directory, NOW_MS).look(0, NOW_MS).seen.agents

    assert NOW_MS - 5 * MIN == agent.windows[0].since_ms
    assert NOW_MS - 40 * MIN == agent.oldest_ms
    assert wrong_ms - NOW_MS == agent.clock_off_ms


def test_after_a_start_agents_have_their_time_to_say_something(ledger):
    """The centre was down for a night: nobody is away before three minutes have passed."""
    ledger.intake.note_status("hall-a", AgentStatus(True), NOW_MS)
    ledger.intake.note_health("hall-a", Health(NOW_MS, Agent().epoch, []), NOW_MS)
    morning = NOW_MS + 12 * 60 * MIN
    reader = Reader(ledger.store, ledger.directory, morning)

    assert [] == found_in(reader.look(0, morning + MIN).seen)
    assert ["agent/hall-a"] == causes(found_in(reader.look(0, morning + 4 * MIN).seen))


def test_parked_keyless_quarantined_and_the_province_are_read(opened):
    ledger = opened(directory_of(window(), window("hall-b", "w2", "D2", keys="{}")))
    other = Agent("hall-b")
    ledger.take(other, other.write(*rated(7, window="w2", device="D2")))
    ledger.rate(1, 2)
    ledger.delivery.park(ledger.delivery.next(NOW_MS, ()), "lacking", "mobile", NOW_MS)
    ledger.intake.quarantine("hcp/v1/x/batch", "格式 / form", b"?", NOW_MS)
    due = ledger.delivery.next(NOW_MS, ())
    attempt = ledger.delivery.begin(due, "rating", NOW_MS)
    ledger.delivery.end(due, "rating", attempt, Unavailable("HTTP 403 no"), NOW_MS)
    ledger.delivery.province_away("HTTP 403 no", NOW_MS)
    found = found_in(Reader(ledger.store, ledger.directory, NOW_MS).look(0, NOW_MS).seen)

    assert {"key_refused", "rating_parked", "keys/市民中心", "quarantine_grows"} == set(causes(found))


def test_one_that_a_person_gave_up_waits_for_nobody(ledger):
    ledger.rate(1)
    due = ledger.delivery.next(NOW_MS, ())
    ledger.delivery.park(due, "lacking", "mobile", NOW_MS)
    ledger.desk.give_up(due.id, "李敏", "查无此件", NOW_MS)

    assert [] == found_in(Reader(ledger.store, ledger.directory, NOW_MS).look(0, NOW_MS).seen)


def test_what_does_not_add_up_is_read(ledger):
    """Somebody took a row out of the ledger."""
    ledger.rate(1)
    with ledger.store.writing() as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        db.execute("DELETE FROM press")
    found = found_in(Reader(ledger.store, ledger.directory, NOW_MS).look(0, NOW_MS + 10 * MIN).seen)

    assert ["count_unexplained"] == causes(found)
