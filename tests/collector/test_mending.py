"""What is done about bad ratings: the table of states, the steps in the ledger, deadlines, and what nobody can do."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.ledger import acts, audit
from collector.ledger.desk import NotSo
from collector.ledger.tally import begins_ms, day_number, day_of
from collector.mending import states
from collector.mending.mendings import Mendings, Rules, deadline_ms
from collector.mending.report import FIELDS, as_csv, lines
from tests.collector.agents import NOW_MS
from tests.collector.crashes import crashes
from tests.collector.ledgers import VAULT, Ledger, directory_of, unguard, window

DAY_MS = 86_400_000
SECRET = "欧阳测试甲 13912345678"
WAY = [  # the usual one
    ("check", "founded", "窗口确实没有材料样本", "李敏"),
    ("mend", "done", "已摆放样本", "李敏"),
    ("answer", "told", "已电话告知", "李敏"),
    ("call_back", "satisfied", "", "李敏"),
    ("close", "approved", "", "王芳"),
]
MOVES = sorted({move for table in states.TABLE.values() for move in table})


@pytest.fixture
def mendings(ledger) -> Mendings:
    ledger.rate(1)
    ledger.rate(2, button=2)
    ledger.rate(3, button=3)
    return Mendings(ledger.store, VAULT)


def walk(mendings: Mendings, rating: int, way=WAY, at_ms: int = NOW_MS) -> None:
    for at, (what, outcome, words, who) in enumerate(way):
        mendings.take(rating, what, outcome, words, who, mendings.found(rating).last, at_ms + at)


# ---- the table


def test_the_usual_way_goes_from_check_to_closed():
    state = states.BEGINNING
    for what, outcome, _, _ in WAY:
        state = states.after(state, what, outcome)

    assert "closed" == state


def test_every_state_is_reached_and_left():
    """No state is a dead end, none is for nothing."""
    reached = {state for table in states.TABLE.values() for state in table.values()}

    assert set(states.TABLE) == reached
    assert all(states.TABLE.values())


def ways(deep: int, state: states.State = states.BEGINNING) -> Iterator[list[tuple[str, str, str]]]:
    """Every way of so many steps, each with the state after it."""
    if not deep:
        yield []
        return
    for (what, outcome), after in states.TABLE[state].items():
        yield from ([(what, outcome, after), *rest] for rest in ways(deep - 1, after))


@pytest.fixture(scope="module")
def closings() -> list[list[tuple[str, str, str]]]:
    """Every way of five steps up to where it closes something, once or twice."""
    found = {tuple(way[: at + 1]) for way in ways(5) for at, step in enumerate(way) if step[2] == "closed"}
    return [list(way) for way in found]


def test_nothing_is_closed_without_a_check_and_an_approval(closings):
    """Whatever way it goes, since it was opened or sent back last. Red with `close` in to_check, or `reopen` to
    to_close."""
    assert len(closings) > 100
    for way in closings:
        since: list[tuple[str, str]] = []
        for what, outcome, _ in way:
            since = [] if what == "reopen" or outcome == "sent_back" else [*since, (what, outcome)]
        assert "check" in {what for what, _ in since}, way
        assert ("close", "approved") == since[-1], way


def test_what_was_found_to_be_so_is_mended_and_told_before_it_is_closed(closings):
    """And what was not is told at least. Red with ("mend", "done") leading to to_close, or `close` in to_mend."""
    wanted = {"founded": {"mend", "answer"}, "mistaken": set(), "malicious": set()}
    for way in closings:
        last = max(at for at, step in enumerate(way) if step[0] == "check")
        assert wanted.get(way[last][1], {"answer"}) <= {what for what, _, _ in way[last:]}, way


@given(st.lists(st.sampled_from(MOVES), max_size=12))
def test_a_step_that_the_table_does_not_have_leads_nowhere(moves):
    """Of any steps in any order, only those that the table has are taken."""
    state = states.BEGINNING
    for move in moves:
        after = states.after(state, *move)
        assert (after is not None) == (move in states.TABLE[state])
        state = after or state


def test_an_earlier_kind_again_puts_what_is_behind_it_to_be_done_again():
    """A wrong check is put right by another one, wherever it has come to."""
    for state in ("to_mend", "to_answer", "to_call_back", "to_close"):
        assert "to_mend" == states.after(state, "check", "founded")
        assert "to_close" == states.after(state, "check", "malicious")
    assert "to_answer" == states.after("to_close", "mend", "done")


# ---- in the ledger


def test_every_bad_rating_is_a_work_item_at_once_and_no_other(ledger, mendings):
    """Nobody has to make one. Red without the condition `bad = 1`."""
    assert [2, 3] == [each.rating for each in mendings.listed("open", NOW_MS)]
    assert {"to_check"} == {each.state for each in mendings.listed("open", NOW_MS)}
    assert {"open": 2, "soon": 0, "overdue": 0, "to_close": 0, "closed": 0} == mendings.counts(NOW_MS)
    with pytest.raises(NotSo, match="没有第 1 号差评"):
        mendings.take(1, "check", "founded", "x", "李敏", 0, NOW_MS)


def test_the_steps_are_kept_with_who_and_when_and_the_rating_stays(ledger, mendings):
    """Red if a finding touches the rating."""
    before = [tuple(row) for row in ledger.store.rows("SELECT * FROM rating")]
    walk(mendings, 2)
    steps = mendings.steps(2)

    assert [(what, outcome, words, who) for what, outcome, words, who in WAY] == [
        (step.what, step.outcome, step.words, step.who) for step in steps
    ]
    assert [NOW_MS + at for at in range(5)] == [step.at_ms for step in steps]
    assert "closed" == mendings.found(2).state
    assert before == [tuple(row) for row in ledger.store.rows("SELECT * FROM rating")]


def test_nobody_approves_their_own_work(ledger, mendings):
    """Not even who only called back. Red if the workers are not asked for."""
    walk(mendings, 2, WAY[:3])
    mendings.take(2, "call_back", "satisfied", "", "赵强", 3, NOW_MS)
    for who in ("李敏", "赵强", " 赵强 "):
        with pytest.raises(NotSo, match="不能审批自己办的"):
            mendings.take(2, "close", "approved", "", who, 4, NOW_MS)

    assert "closed" == mendings.take(2, "close", "approved", "", "王芳", 4, NOW_MS).state


def test_a_malicious_one_is_marked_and_stays_in_every_total(ledger, mendings):
    walk(mendings, 2, [("check", "malicious", "与监控不符", "李敏"), ("close", "approved", "", "王芳")])

    assert mendings.found(2).not_taken_up
    assert 3 == ledger.overview.counts()["ratings"]["received"]
    assert 2 == ledger.overview.counts()["bad"]["received"]


def test_a_closed_one_is_opened_again_with_a_reason(ledger, mendings):
    walk(mendings, 2)
    with pytest.raises(NotSo, match="请写明情况"):
        mendings.take(2, "reopen", "reopened", " ", "王芳", 5, NOW_MS)
    with pytest.raises(NotSo, match="现在不能记这一步"):
        mendings.take(2, "check", "founded", "x", "李敏", 5, NOW_MS)
    again = mendings.take(2, "reopen", "reopened", "办事人来电, 问题仍在", "王芳", 5, NOW_MS)

    assert ("to_check", None) == (again.state, again.closed_ms)


def test_two_who_work_at_once_do_not_both_count(ledger, mendings):
    """The second has not seen the first one's step. Red if `seen` is not looked at."""
    mendings.take(2, "check", "founded", "x", "李敏", 0, NOW_MS)
    with pytest.raises(NotSo, match="别人刚刚记了一步"):
        mendings.take(2, "check", "malicious", "x", "赵强", 0, NOW_MS)

    assert 1 == ledger.count("step")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"words": ""}, "words"),
        ({"words": "字" * 501}, "words"),
        ({"words": "a\x00b"}, "words"),
        ({"who": " "}, "who"),
        ({"who": "字" * 65}, "who"),
        ({"what": "mend", "outcome": "done"}, "what"),
        ({"what": "?"}, "what"),
    ],
)
def test_a_slip_is_said_in_words_and_nothing_is_kept(ledger, mendings, change, field):
    usual = {"what": "check", "outcome": "founded", "words": "x", "who": "李敏"}
    with pytest.raises(NotSo) as said:
        mendings.take(2, **(usual | change), seen=0, now_ms=NOW_MS)

    assert (field, True) == (said.value.field, " / " in str(said.value))
    assert 0 == ledger.count("step")


# ---- the time


def test_the_day_of_the_press_is_not_counted_and_the_last_day_is_whole():
    """Beijing time, to the millisecond. Red by a day, or in another zone."""
    late_on_the_first = begins_ms(day_number("2027-01-05")) - 1
    end = deadline_ms(late_on_the_first, 15)

    assert begins_ms(day_number("2027-01-20")) == end
    assert end == deadline_ms(begins_ms(day_number("2027-01-04")), 15)
    assert end + DAY_MS == deadline_ms(late_on_the_first + 1, 15)


def test_what_is_due_soon_and_what_is_overdue_is_told_once_for_each_mark(ledger, mendings):
    """A value of the ledger and the time. The mark names the reminder: 7 days before, 3, 1, and late."""
    day = day_of(mendings.found(2).pressed_ms)

    def at(days: int) -> list:
        return [
            (each.kind, each.at_days, each.days_left)
            for each in mendings.reminders(begins_ms(day + days))
            if each.mending.rating == 2
        ]

    assert [] == at(7)
    assert [("due_soon", 7, 7)] == at(8)
    assert [("due_soon", 7, 4)] == at(11)
    assert [("due_soon", 3, 3)] == at(12)
    assert [("due_soon", 1, 0)] == at(15)
    assert [("overdue", -1, -1)] == at(16)
    walk(mendings, 2)
    assert [] == at(16)


def test_the_longest_overdue_stands_first(ledger, mendings):
    ledger.rate(200_000, button=2)
    late_ms = NOW_MS + 40 * DAY_MS

    assert [2, 3, 4] == [each.rating for each in mendings.listed("overdue", late_ms)]
    assert [3] == [each.rating for each in mendings.listed("overdue", late_ms, most=1, skip=1)]
    assert [] == mendings.listed("overdue", late_ms, hall="别处")
    assert 3 == mendings.counts(late_ms, hall="市民中心", number="1号")["overdue"]


def test_ratings_of_before_the_hall_took_this_up_are_no_work_items(ledger, mendings):
    """Or a ledger of years would begin with thousands that are overdue."""
    since = Mendings(ledger.store, VAULT, Rules(since=day_of(NOW_MS) + 1))

    assert [] == since.listed("open", NOW_MS)


# ---- what nobody can do


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE step SET who = '王芳'",
        "UPDATE step SET outcome = 'malicious'",
        "UPDATE step SET words = x'00'",
        "DELETE FROM step",
        "INSERT OR REPLACE INTO step SELECT * FROM step",
    ],
)
def test_steps_never_change_and_never_go(ledger, mendings, statement):
    walk(mendings, 2)
    before = [tuple(row) for row in ledger.store.rows("SELECT * FROM step")]
    with sqlite3.connect(ledger.path) as somebody, pytest.raises(sqlite3.IntegrityError):
        somebody.execute(statement)
    somebody.close()

    assert before == [tuple(row) for row in ledger.store.rows("SELECT * FROM step")]


@pytest.mark.parametrize(
    ("forged", "said"),
    [
        ("UPDATE step SET who = '王芳' WHERE id = 1", "与其哈希不符"),
        ("UPDATE step SET outcome = 'malicious' WHERE id = 1", "与其哈希不符"),
        ("UPDATE step SET at_ms = at_ms + 1 WHERE id = 5", "与其哈希不符"),
        ("DELETE FROM step WHERE id = 3", "与其哈希不符"),
        ("DELETE FROM step WHERE id = 1", "与其哈希不符"),
        ("UPDATE step SET words = CAST('x' AS BLOB) WHERE id = 2", "文字被改动"),
        ("UPDATE step SET words = 7 WHERE id = 2", "文字被改动"),
        ("UPDATE step SET rating = 1 WHERE id = 5", "谁也记不了"),
    ],
)
def test_what_somebody_alters_behind_our_back_is_found(ledger, mendings, forged, said):
    """By who owns the file and drops the triggers. Red without the chain, the digest, or the states gone through."""
    walk(mendings, 2)
    assert [] == audit.verify(ledger.path).findings
    with sqlite3.connect(ledger.path) as somebody:
        unguard(somebody)
        somebody.execute(forged)
    somebody.close()

    assert [True] == [said in each.what for each in audit.verify(ledger.path).findings if said in each.what]


def test_a_step_that_was_made_up_with_a_right_hash_is_found_too(ledger, mendings):
    """Approved by who worked on it: no program of ours writes that."""
    walk(mendings, 2, WAY[:4])
    with ledger.store.writing() as db:
        acts.add_step(db, 2, None, NOW_MS, "李敏", "close", "approved", "closed", b"x")

    assert ["这一步谁也记不了"] == [each.what.split(" / ")[0] for each in audit.verify(ledger.path).findings]


def test_words_are_hidden_at_rest_and_stay_out_of_logs(ledger, mendings, caplog):
    """Of the file, its log and everything that was said. Red if words are kept as they are."""
    with caplog.at_level(logging.DEBUG):
        walk(mendings, 2, [("check", "founded", SECRET, "李敏")])
        with pytest.raises(NotSo):
            mendings.take(2, "close", "approved", SECRET, "李敏", 1, NOW_MS)
    kept = b"".join(each.read_bytes() for each in ledger.path.parent.glob("ledger.db*"))

    assert SECRET == mendings.steps(2)[0].words
    assert SECRET.encode() not in kept and b"13912345678" not in kept
    assert SECRET not in caplog.text


def test_words_are_deleted_when_their_time_is_over_and_the_steps_stay(ledger, mendings):
    """Not of one that is open, and `verify` has nothing against it. Red if open ones lose theirs."""
    walk(mendings, 2)
    walk(mendings, 3, WAY[:1])
    assert 0 == mendings.forget(NOW_MS + 364 * DAY_MS)
    assert 5 == mendings.forget(NOW_MS + 366 * DAY_MS)

    assert [None] * 5 == [step.words for step in mendings.steps(2)]
    assert ["李敏", "李敏", "李敏", "李敏", "王芳"] == [step.who for step in mendings.steps(2)]
    assert [WAY[0][2]] == [step.words for step in mendings.steps(3)]
    assert [] == audit.verify(ledger.path).findings


def test_a_power_cut_at_any_moment_leaves_a_step_whole_or_none(tmp_path):
    """Before and after every statement. Red if a step is written in two transactions."""

    def make(path):
        ledger = Ledger(path, directory_of(window()))
        ledger.rate(1, button=2)
        Mendings(ledger.store, VAULT).take(1, "check", "founded", "x", "李敏", 0, NOW_MS)
        return ledger

    def act(ledger):
        Mendings(ledger.store, VAULT).take(1, "mend", "done", "y", "李敏", 1, NOW_MS)

    counts = set()
    for found in crashes(make, tmp_path, act):
        steps = Mendings(found.store, VAULT).steps(1)
        counts.add(len(steps))
        assert ["check", "mend"][: len(steps)] == [step.what for step in steps]
        assert [] == audit.verify(found.path).findings
    assert {1, 2} == counts


# ---- for the province


def test_a_line_for_each_bad_rating_in_the_provinces_field_names(ledger, mendings):
    walk(mendings, 2)
    walk(mendings, 3, [("check", "malicious", "与监控不符", "李敏"), ("close", "approved", "情况属实", "王芳")])
    day = day_of(NOW_MS)
    first, second = lines(mendings, day, day + 1)

    assert list(FIELDS) == list(first)
    assert ("C2", "2", "1", "1", "0", "已摆放样本", "1", "1", "满意", "已办结") == tuple(
        first[name]
        for name in (
            "projectNo",
            "satisfaction",
            "sfss",
            "sfhl",
            "sfeypj",
            "zgjg",
            "sfhf",
            "sfhfang",
            "hfdc",
            "appstatus",
        )
    )
    assert ("1", "1", "情况属实", "") == tuple(second[name] for name in ("satisfaction", "sfeypj", "eypjsh", "sfhf"))
    assert "" == first["eypjsh"]
    assert [] == list(lines(mendings, day - 5, day - 1))


def test_what_a_spreadsheet_would_run_is_text(ledger, mendings):
    walk(mendings, 2, [("check", "founded", "=HYPERLINK(1)", "李敏")])
    text = as_csv(lines(mendings, day_of(NOW_MS), day_of(NOW_MS)))

    assert ",'=HYPERLINK(1)," in text
    assert text.startswith("\ufeffprojectNo,")


def test_nothing_of_the_citizen_stands_in_a_list(ledger, mendings):
    """What the case says is masked even for who works on it."""
    shown = mendings.case(mendings.found(2))

    assert "欧****" == shown.applicant_name and "139****5678" == shown.mobile
    assert "欧阳测试甲" not in json.dumps([str(each) for each in mendings.listed("open", NOW_MS)], ensure_ascii=False)
