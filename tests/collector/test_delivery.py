"""What is sent next, and what becomes of it after each thing that a province can say."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.ledger.delivery import STUBBORN, back_off_ms
from protocols.ratings import Accepted, Level, PressId, Refused, Unavailable, Verdict
from tests.collector.agents import NOW_MS, Agent, rated
from tests.collector.crashes import crashes
from tests.collector.ledgers import Ledger, case, directory_of, window


def told(ledger: Ledger, verdict: Verdict, what: str = "rating", now_ms: int = NOW_MS) -> None:
    """One call for the next rating, answered by `verdict`."""
    due = ledger.delivery.next(now_ms, ()) or ledger.delivery.next_stubborn(now_ms, ())
    ledger.delivery.end(due, what, ledger.delivery.begin(due, what, now_ms), verdict, now_ms)


def rating(ledger: Ledger) -> dict:
    """The only rating, as it stands."""
    return dict(ledger.store.row("SELECT * FROM rating"))


def test_bad_ratings_go_first_then_in_order_of_arrival(ledger):
    """Red if `bad DESC` goes."""
    ledger.rate(1, 2)
    ledger.rate(3, 4, button=2)
    ledger.rate(5, button=3)
    order, busy = [], []
    while due := ledger.delivery.next(NOW_MS, busy):
        order.append(due.rating.case_no)
        busy.append(due.id)

    assert ["C3", "C4", "C5", "C1", "C2"] == order


def test_what_is_handed_out_is_what_was_pressed(ledger):
    ledger.rate(1, button=2)
    due = ledger.delivery.next(NOW_MS, ())

    assert (PressId("D1", 1, 1), Level.DISSATISFIED, "市民中心", "1号", NOW_MS + 1000, "i1", "C1", 1) == (
        due.rating.press,
        due.rating.level,
        due.rating.hall,
        due.rating.window,
        due.rating.pressed_ms,
        due.rating.invitation,
        due.rating.case_no,
        due.rating.service_number,
    )
    assert (case("C1"), False, 0, False) == (due.case, due.case_delivered, due.tries, due.stubborn)


def test_an_accepted_rating_is_settled(ledger):
    ledger.rate(1)
    told(ledger, Accepted(), "case")
    assert ledger.delivery.next(NOW_MS, ()).case_delivered
    told(ledger, Accepted(words="成功"))

    assert ("accepted", 0, 0, NOW_MS) == tuple(
        rating(ledger)[name] for name in ("state", "duplicate", "flagged", "settled_ms")
    )
    assert ledger.delivery.next(NOW_MS + 10**9, ()) is None


def test_a_refused_rating_is_parked_in_the_provinces_words(ledger):
    ledger.rate(1, 2)
    told(ledger, Refused("评价超时"))

    assert {"C1": "parked refused", "C2": "due"} == ledger.states()
    assert "评价超时" == ledger.store.row("SELECT words FROM rating WHERE case_no = 'C1'")["words"]


@pytest.mark.parametrize("verdict", [Refused("区划不符"), Refused("没有对应的服务数据", case_unknown=True)])
def test_a_refused_case_parks_its_rating(ledger, verdict):
    """Also when the province answers to a case that it does not know it: that would go on for ever.

    Red if case_unknown is looked at before `what`.
    """
    ledger.rate(1)
    told(ledger, verdict, "case")

    assert {"C1": "parked case_refused"} == ledger.states()


def test_no_answer_only_costs_time(ledger):
    """Nothing is marked bad, ever: the rating waits longer each time, up to a minute."""
    ledger.rate(1)
    now_ms, waits = NOW_MS, []
    for _ in range(20):
        told(ledger, Unavailable("HTTP 401"), now_ms=now_ms)
        assert {"C1": "due"} == ledger.states()
        waits.append(rating(ledger)["next_ms"] - now_ms)
        now_ms = rating(ledger)["next_ms"]

    assert [back_off_ms(tries) for tries in range(20)] == waits
    assert (400, 60_000) == (waits[0], waits[-1])


def test_a_rating_that_waits_does_not_hold_up_the_next(ledger):
    ledger.rate(1, button=2)
    ledger.rate(2)
    told(ledger, Unavailable("x"))

    assert "C2" == ledger.delivery.next(NOW_MS, ()).rating.case_no
    assert NOW_MS + 400 == ledger.delivery.next_ms(NOW_MS, ())
    assert "C1" == ledger.delivery.next(NOW_MS + 400, ()).rating.case_no


def test_a_clock_set_back_does_not_make_a_rating_wait_for_years(ledger):
    """What waits longer than the longest wait is due. Red if `next_ms` is only compared with now."""
    ledger.rate(1)
    told(ledger, Unavailable("x"))

    assert ledger.delivery.next(NOW_MS - 10**9, ()) is not None


def test_after_several_calls_without_an_answer_a_rating_is_stubborn(ledger):
    """It leaves the main queue for one of its own, oldest first."""
    ledger.rate(1, 2)
    now_ms = NOW_MS
    for _ in range(2 * STUBBORN):
        now_ms += 100_000
        due = ledger.delivery.next(now_ms, ())
        ledger.delivery.end(due, "rating", 0, Unavailable("x"), now_ms)
    later_ms = now_ms + 100_000

    assert ledger.delivery.next(later_ms, ()) is None
    assert ledger.delivery.next_stubborn(later_ms, ()).stubborn


def test_a_probe_is_always_another_rating(ledger):
    """The least tried first, bad ones before good ones. Red if a probe is chosen like any other rating."""
    ledger.rate(1)
    ledger.rate(2, button=2)
    ledger.rate(3)
    order, now_ms = [], NOW_MS
    for _ in range(6):
        now_ms += 100_000
        due = ledger.delivery.next_probe(now_ms, ())
        order.append(due.rating.case_no)
        ledger.delivery.end(due, "rating", 0, Unavailable("x"), now_ms)

    assert ["C2", "C1", "C3"] * 2 == order


def test_a_duplicate_after_a_call_without_an_answer_is_ours(ledger):
    """It arrived, and the answer was lost: not flagged."""
    ledger.rate(1)
    told(ledger, Unavailable("timeout"))
    told(ledger, Accepted(duplicate=True), now_ms=NOW_MS + 1000)

    assert ("accepted", 1, 0) == tuple(rating(ledger)[name] for name in ("state", "duplicate", "flagged"))


def test_a_duplicate_after_a_crash_in_the_middle_of_a_call_is_ours(ledger):
    """A call that was begun and never ended. Red if begin() is not written before the call."""
    ledger.rate(1)
    ledger.delivery.begin(ledger.delivery.next(NOW_MS, ()), "rating", NOW_MS)
    told(ledger, Accepted(duplicate=True))

    assert 0 == rating(ledger)["flagged"]


@pytest.mark.parametrize("earlier", [None, "case", "unknown"])
def test_a_duplicate_out_of_the_blue_is_flagged(ledger, earlier):
    """Somebody else rated this service: a person must see it. An unanswered *case* is no excuse, nor is a refusal."""
    ledger.rate(1)
    if earlier == "case":
        told(ledger, Unavailable("timeout"), "case")
    if earlier == "unknown":
        told(ledger, Refused("没有对应的服务数据", case_unknown=True))
    told(ledger, Accepted(duplicate=True), now_ms=NOW_MS + 100_000)

    assert ("accepted", 1, 1) == tuple(rating(ledger)[name] for name in ("state", "duplicate", "flagged"))
    assert 1 == ledger.overview.counts()["flagged"]


def test_an_unknown_case_is_sent_again_and_then_the_rating(ledger):
    ledger.rate(1)
    told(ledger, Accepted(), "case")
    told(ledger, Refused("没有对应的服务数据", case_unknown=True))

    assert {"C1": "due"} == ledger.states()
    assert not ledger.delivery.next(NOW_MS + 1000, ()).case_delivered


def test_a_case_that_stays_unknown_is_for_a_person(ledger):
    """Five denials, then it is parked; the others go on meanwhile."""
    ledger.rate(1)
    now_ms = NOW_MS
    for _ in range(5):
        now_ms += 100_000
        assert {"C1": "due"} == ledger.states()
        told(ledger, Refused("没有对应的服务数据", case_unknown=True), now_ms=now_ms)

    assert {"C1": "parked case_unknown"} == ledger.states()


@pytest.mark.parametrize("verdict", [Refused("部门不存在"), Accepted()])
def test_an_answer_about_old_details_says_nothing_about_new_ones(ledger, verdict):
    """The hall corrected them while the call was under way. Red if an answer is not compared with what it is about."""
    ledger.rate(1)
    due = ledger.delivery.next(NOW_MS, ())
    number = ledger.delivery.begin(due, "case", NOW_MS)
    ledger.intake.take_cases([case("C1", dept_name="税务局")], NOW_MS)
    ledger.delivery.end(due, "case", number, verdict, NOW_MS)

    assert {"C1": "due"} == ledger.states()
    assert not ledger.delivery.next(NOW_MS, ()).case_delivered


def test_the_province_is_away_since_the_first_time_it_was_noticed(ledger):
    """And when it is back, what it could not answer is due at once."""
    ledger.rate(1)
    told(ledger, Unavailable("x"))
    ledger.delivery.province_away("HTTP 503", NOW_MS)
    ledger.delivery.province_away("HTTP 502", NOW_MS + 5000)
    assert {"away_since_ms": NOW_MS, "words": "HTTP 502"} == ledger.overview.counts()["province"]

    ledger.delivery.province_back(NOW_MS + 10)

    assert {"away_since_ms": None, "words": ""} == ledger.overview.counts()["province"]
    assert "C1" == ledger.delivery.next(NOW_MS + 10, ()).rating.case_no


@pytest.mark.parametrize(
    "verdict",
    [Accepted(), Accepted(duplicate=True), Refused("no"), Refused("?", case_unknown=True), Unavailable("x")],
    ids=["accepted", "duplicate", "refused", "unknown", "unavailable"],
)
def test_a_power_cut_while_a_verdict_is_written_down_loses_nothing(tmp_path: Path, verdict):
    """Found again, the rating is either settled or due, never in between; asked again it ends the same.

    Red if end() or begin() writes in two transactions.
    """

    def make(path: Path) -> Ledger:
        ledger = Ledger(path, directory_of(window()))
        ledger.rate(1)
        return ledger

    def settled(found: Ledger) -> tuple:
        return tuple(found.store.row("SELECT state, reason, duplicate, flagged FROM rating"))

    for found in crashes(make, tmp_path, lambda ledger: told(ledger, verdict)):
        calls = found.count("attempt")
        answered = found.store.row("SELECT count(verdict) FROM attempt")[0]
        if answered == 0:
            assert ("due", "", 0, 0) == settled(found)
            told(found, Accepted(duplicate=True))
            # A call that was begun may have arrived: then the duplicate is our own.
            assert ("accepted", "", 1, 0 if calls else 1) == settled(found)
        else:
            assert (1, 1) == (calls, answered)
            assert (
                found.states()
                == {
                    "Accepted": {"C1": "accepted"},
                    "Refused": {"C1": "due" if "?" in verdict.words else "parked refused"},
                    "Unavailable": {"C1": "due"},
                }[type(verdict).__name__]
            )


def test_ratings_in_each_state_always_add_up(ledger):
    """received = accepted + parked + waiting, and for bad ratings on their own."""
    ledger.rate(1, 2, 3, button=2)
    ledger.rate(4)
    ledger.rate(5, with_case=False)
    told(ledger, Accepted())
    told(ledger, Refused("no"))

    counts = ledger.overview.counts()
    assert {"received": 5, "accepted": 1, "parked": 1, "waiting": 3} == counts["ratings"]
    assert {"received": 3, "accepted": 1, "parked": 1, "waiting": 1} == counts["bad"]
    assert {"refused": 1} == counts["parked"]


def test_a_rating_without_details_is_not_handed_out(ledger):
    agent = Agent()
    ledger.take(agent, agent.write(*rated(1)))

    assert ledger.delivery.next(NOW_MS, ()) is None
