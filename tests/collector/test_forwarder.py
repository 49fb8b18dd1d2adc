"""Every rating reaches a real province over real HTTP once, whatever the province does; nothing burns a rating."""

from __future__ import annotations

import json
import logging
import threading
import time

import pytest
import tenacity

from firmware_sim.province import Outcome, Province
from firmware_sim.province.demands import Rules
from firmware_sim.province.door import serving
from firmware_sim.province.misbehaviour import Misbehaviour, misbehaviour
from firmware_sim.province.txnbody import CASE_PATH, RATING_PATH, TxnBody
from firmware_sim.province.txnbody import province as txnbody
from tests.collector.agents import NOW_MS
from tests.collector.ledgers import PERSON, case
from tests.collector.provinces import ACCEPTED, KEYS, eventually, forwarding, refusing, says, stubbed

LEVELS = {"very_satisfied": "5", "dissatisfied": "2"}


def province(**chances: float) -> Province:
    """A strict province that misbehaves by seed 1."""
    return txnbody(KEYS, misbehaviour=Misbehaviour(1, **chances), slow_ms=50, stall_ms=300)


def held(there: Province) -> dict[str, str]:
    """What the province has: case number → level."""
    return {row["projectNo"]: row["satisfaction"] for row in there.ratings()}


def settled(ledger, number: int):
    """Whether this many ratings are accepted."""
    return lambda: number == list(ledger.states().values()).count("accepted")


# ---- a province that does its work


def test_every_rating_arrives_once_after_its_case(ledger):
    """Pressed time and level as they were; the case first, then its rating."""
    journal: list[dict] = []
    there = txnbody(KEYS, keep=journal.append)
    ledger.rate(1, 2)
    ledger.rate(3, button=2)
    with serving(there) as door, forwarding(ledger, door.url):
        eventually(settled(ledger, 3))

    assert {"C1": "5", "C2": "5", "C3": "2"} == held(there)
    assert "2027-01-15 16:00:01" == there.ratings()[0]["assessTime"] or "C1" != there.ratings()[0]["projectNo"]
    for number in ("C1", "C2", "C3"):
        assert ["case", "rating"] == [row["kind"] for row in journal if row["projectNo"] == number]


def test_bad_ratings_arrive_first(ledger):
    ledger.rate(1, 2, 3)
    ledger.rate(4, 5, button=2)
    there = txnbody(KEYS)
    with serving(there) as door, forwarding(ledger, door.url, workers=1):
        eventually(settled(ledger, 5))

    assert ["C4", "C5", "C1", "C2", "C3"] == [row["projectNo"] for row in there.ratings()]


@pytest.mark.alone
def test_what_is_waiting_is_sent_as_soon_as_its_case_comes(ledger):
    """The forwarder is woken, it does not look by the clock. Red if nobody listens to the store (then it takes 1 s)."""
    ledger.rate(1, with_case=False)
    there = txnbody(KEYS)
    with serving(there) as door, forwarding(ledger, door.url, speed=1):
        time.sleep(0.1)
        began_s = time.monotonic()
        ledger.intake.take_cases([case("C1")], NOW_MS)
        eventually(settled(ledger, 1))

    assert time.monotonic() - began_s < 0.9


def test_what_a_province_would_refuse_for_missing_fields_is_never_sent(ledger):
    """Parked with the names of the fields; due again when the details come."""
    ledger.rate(1, with_case=False)
    ledger.intake.take_cases([case("C1", dept_name="", mobile="")], NOW_MS)
    there = txnbody(KEYS)
    with serving(there) as door, forwarding(ledger, door.url):
        eventually(lambda: ledger.states() == {"C1": "parked lacking"})
        assert 0 == there.state()["calls"]
        assert "mobile" in ledger.store.row("SELECT words FROM rating")["words"]
        ledger.intake.take_cases([case("C1")], NOW_MS)
        eventually(settled(ledger, 1))

    assert {"C1": "5"} == held(there)


def test_a_bad_rating_by_keypad_is_parked_where_a_reason_is_required(ledger):
    """Nothing is made up for it, and nothing else waits for it."""
    ledger.rate(1, button=2)
    ledger.rate(2)
    there = txnbody(KEYS, rules=Rules(requires_reason=True))
    with serving(there) as door, forwarding(ledger, door.url, bad_needs_reason=True):
        eventually(lambda: ledger.states() == {"C1": "parked bad_without_reason", "C2": "accepted"})


# ---- every way to misbehave


@pytest.mark.parametrize(
    "chances",
    [
        {"http_5xx": 0.2, "http_429": 0.2, "http_401": 0.2},
        {"empty": 0.3, "rubbish": 0.3},
        {"drop_before": 0.4, "slow": 0.4},
        {"forget": 0.5},
        {"stall_before": 0.2, "timeout_after": 0.3},
        {"http_5xx": 0.2, "empty": 0.1, "rubbish": 0.1, "drop_before": 0.1, "forget": 0.3, "http_429": 0.1},
    ],
    ids=lambda chances: "+".join(chances),
)
def test_a_misbehaving_province_gets_every_rating_once(ledger, chances):
    """Nothing refused, nothing parked, nothing flagged: what was kept without an answer is known to be ours.

    Red if any of these answers becomes a Refused, or if begin() is not written before the call.
    """
    ledger.rate(*range(1, 8))
    ledger.rate(8, 9, button=2)
    there = province(**chances)
    with serving(there) as door, forwarding(ledger, door.url, workers=4, timeout_s=0.2):
        eventually(settled(ledger, 9))

    assert {f"C{number}": "2" if number > 7 else "5" for number in range(1, 10)} == held(there)
    assert 9 == len(there.ratings())
    assert 0 == ledger.overview.counts()["flagged"]
    assert there.state()["misbehaved"]


def test_a_rating_that_was_kept_without_an_answer_is_recognised(ledger):
    """timeout after commit → "duplicate" → accepted, and not flagged."""
    ledger.rate(1)
    there = txnbody(KEYS)
    real = there.answer

    def silent_once(path, headers, body, now_ms):
        answer = real(path, headers, body, now_ms)
        if path == RATING_PATH and there.state()["duplicates_refused"] == 0:
            return type(answer)(drop=True)
        return answer

    there.answer = silent_once
    with serving(there) as door, forwarding(ledger, door.url):
        eventually(settled(ledger, 1))

    assert (1, 0) == tuple(ledger.store.row("SELECT duplicate, flagged FROM rating"))
    assert 1 == len(there.ratings())


def test_a_rating_that_somebody_else_gave_is_flagged(ledger, opened):
    """It was there before our first call."""
    ledger.rate(1)
    there = txnbody(KEYS)
    with serving(there) as door:
        with forwarding(ledger, door.url):
            eventually(settled(ledger, 1))
        ledger.store._db.execute("DROP TRIGGER attempt_never_goes")
        ledger.store._db.execute("UPDATE rating SET state = 'due', duplicate = 0")
        ledger.store._db.execute("DELETE FROM attempt")
        with forwarding(ledger, door.url):
            eventually(settled(ledger, 1))

    assert (1, 1) == tuple(ledger.store.row("SELECT duplicate, flagged FROM rating"))


def test_refused_ratings_are_parked_and_the_others_go_on(ledger):
    """Per record: the same refusal however often it is tried. Refused once, asked once."""
    ledger.rate(*range(1, 21))
    there = province(body_false=0.2, missing_parameter=0.2)
    with serving(there) as door, forwarding(ledger, door.url):
        eventually(lambda: "due" not in ledger.states().values())

    states = ledger.states()
    parked = {number for number, state in states.items() if state.startswith("parked")}
    assert 0 < len(parked) < 20
    assert set(states) - parked == set(held(there))
    words = {row["words"] for row in ledger.store.rows("SELECT words FROM rating WHERE state = 'parked'")}
    assert words <= {"业务校验未通过", "参数结构不正确，请检查参数结构"}


def test_a_wrong_key_burns_nothing(ledger):
    """Our fault: everything waits, the ledger says since when, and with the right key everything arrives."""
    ledger.rate(*range(1, 7))
    there = txnbody(KEYS)
    with serving(there) as door:
        with forwarding(ledger, door.url, app_word="not-the-word"):
            eventually(lambda: ledger.overview.counts()["province"]["away_since_ms"])
        assert {"due"} == set(ledger.states().values())
        assert "签名" in ledger.overview.counts()["province"]["words"]
        with forwarding(ledger, door.url):
            eventually(settled(ledger, 6))

    assert ledger.overview.counts()["province"]["away_since_ms"] is None


@pytest.mark.parametrize(
    "answer",
    [
        lambda caller, _: says(caller, ACCEPTED, 301, Location="/elsewhere"),
        lambda caller, _: says(caller, ACCEPTED, 302, Location="http://127.0.0.1:1/"),
        lambda caller, _: says(caller, ACCEPTED, 307, Location="/elsewhere"),
        lambda caller, _: says(caller, ACCEPTED, 403),
        lambda caller, _: says(caller, ACCEPTED, 500),
        lambda caller, _: says(caller, b""),
        lambda caller, _: says(caller, b"{"),
        lambda caller, _: says(caller, b"[]"),
        lambda caller, _: says(caller, b"[" * 100_000),
        lambda caller, _: says(caller, b'{"C-Response-Desc":"success"}'),
        lambda caller, _: says(caller, b"\xff\xfe\x00"),
        lambda caller, _: says(caller, ACCEPTED[:-1]),
        lambda caller, _: says(caller, b"x" * 3_000_000),
        lambda caller, _: says(caller, ACCEPTED, **{"Content-Encoding": "gzip"}),
        lambda caller, _: caller.wfile.write(b"\x00\x01\x02\r\n\r\n"),
        lambda caller, _: caller.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"),
        lambda caller, _: caller.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        lambda caller, _: caller.connection.close(),
        lambda caller, _: says(caller, refusing("签名验证失败")),
        lambda caller, _: says(caller, refusing("系统繁忙，请稍后再试")),
    ],
)
def test_whatever_is_no_answer_only_costs_time(ledger, answer):
    """Redirects are not followed. The rating stays due."""
    ledger.rate(1)

    def once(caller, number):
        caller.close_connection = True
        answer(caller, number)

    with stubbed(once) as stub, forwarding(ledger, stub.url, timeout_s=0.3):
        eventually(lambda: ledger.store.row("SELECT tries FROM rating")["tries"] > 0)
        assert {"C1": "due"} == ledger.states()

    assert {CASE_PATH} == set(stub.calls)
    assert {"unavailable"} == {row["verdict"] for row in ledger.store.rows("SELECT verdict FROM attempt")}


@pytest.mark.alone
@pytest.mark.parametrize("part", ["head", "body"])
def test_an_answer_that_drips_is_cut_at_the_deadline(ledger, part):
    """Each byte comes in time, and the whole never. Red if only single reads have a time limit."""
    ledger.rate(1)
    told = threading.Event()

    def drip(caller, _):
        caller.close_connection = True
        if part == "body":
            caller.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n")
        else:
            caller.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not told.wait(0.05):
            caller.wfile.write(b"x")

    with stubbed(drip) as stub, forwarding(ledger, stub.url, timeout_s=0.4):
        began_s = time.monotonic()
        eventually(lambda: ledger.store.row("SELECT tries FROM rating")["tries"] > 0)
        told.set()

    assert time.monotonic() - began_s < 2
    assert "no answer in time" in ledger.store.row("SELECT words FROM attempt")["words"]


def test_a_province_that_is_not_there_only_costs_time(ledger):
    """Connection refused. And no port, no address stands in the words that a page shows."""
    ledger.rate(1)
    with stubbed(says) as stub:
        url = stub.url
    with forwarding(ledger, url):
        eventually(lambda: ledger.store.row("SELECT tries FROM rating")["tries"] > 1)

    assert {"联系不上 / not reached: ConnectionError"} == {
        row["words"] for row in ledger.store.rows("SELECT words FROM attempt")
    }


# ---- away, and back


def test_away_is_noted_with_its_beginning_and_ends_by_itself(ledger, caplog):
    """Workers wait and ask now and then; nothing is refused; all arrives when the province is back."""
    caplog.set_level(logging.INFO)
    ledger.rate(*range(1, 31))
    there = txnbody(KEYS)
    there.go_away(time.time_ns() // 1_000_000 + 3_600_000)
    with serving(there) as door, forwarding(ledger, door.url, workers=4):
        eventually(lambda: ledger.overview.counts()["province"]["away_since_ms"])
        time.sleep(0.3)
        calls = there.state()["calls"]
        there.go_away(0)
        eventually(settled(ledger, 30))
        eventually(lambda: ledger.overview.counts()["province"]["away_since_ms"] is None)

    assert calls < 30
    assert ["not taken by the province, check [province]", "province away", "province back"] == [
        record.getMessage().split(" / ")[1].split(":")[0]
        for record in caplog.records
        if "province" in record.getMessage()
    ]


def test_a_single_rating_without_an_answer_is_said_once_in_the_log(ledger, caplog):
    """A wrong key on the first day shows in nothing else; red if only a province that is away is named."""
    ledger.rate(1)
    there = txnbody(KEYS, Rules(bad_sign="签名验证失败"), misbehaviour=misbehaviour(1, ("bad_sign:1",)))
    with serving(there) as door, forwarding(ledger, door.url):
        eventually(lambda: ledger.store.row("SELECT tries FROM rating")["tries"] > 1)

    assert 1 == sum("签名验证失败" in record.getMessage() for record in caplog.records)
    assert 1 == ledger.overview.counts()["unanswered"]["ratings"]


def test_the_first_answer_wakes_everybody(ledger, monkeypatch):
    """One worker's call is answered late; the other one sleeps by then, for half a minute if nobody wakes it.

    From then on each call is answered only when there are two at a time.
    """
    monkeypatch.setattr("tenacity.wait_random_exponential", lambda **_: tenacity.wait_fixed(30))
    ledger.rate(*range(1, 7))
    late = threading.Event()
    both = threading.Barrier(2)

    def answer(caller, number):
        if number == 1:
            late.wait(10)
            says(caller, ACCEPTED)
        elif not late.is_set():
            says(caller, b"", 503)
        else:
            both.wait(5)
            says(caller, ACCEPTED)

    with stubbed(answer) as stub, forwarding(ledger, stub.url, workers=2) as forwarder:
        eventually(lambda: forwarder._away)
        late.set()
        eventually(lambda: "accepted" in ledger.states().values())
        both.abort()


def test_an_away_noted_by_an_earlier_run_ends_with_the_first_answer(ledger):
    """After a crash during an outage the page must not say "away" for ever. Red if only this run's outages end."""
    ledger.delivery.province_away("HTTP 503", NOW_MS)
    ledger.rate(1)
    with serving(txnbody(KEYS)) as door, forwarding(ledger, door.url):
        eventually(settled(ledger, 1))

    assert ledger.overview.counts()["province"]["away_since_ms"] is None


# ---- records that never get an answer


class Poisoned(Province):
    """Gives these cases no usable answer, ever, and all others a good one; `asked` are the cases in order."""

    def __init__(self, numbers):
        super().__init__(TxnBody(KEYS))
        self.never = {f"C{number}" for number in numbers}
        self.asked: list[str] = []

    def _take_case(self, told, now_ms):
        self.asked.append(told.case_no)
        return Outcome("refused", "签名验证失败") if told.case_no in self.never else super()._take_case(told, now_ms)


def test_one_poisoned_record_does_not_make_the_province_away(ledger):
    """However often it is tried while nothing else is to do. Red if calls are counted, and not ratings."""
    ledger.rate(1)
    there = Poisoned([1])
    with serving(there) as door, forwarding(ledger, door.url, speed=2000) as forwarder:
        eventually(lambda: len(there.asked) >= 8)
        assert not forwarder._away
        ledger.rate(2)
        eventually(settled(ledger, 1))

    assert {"C1": "due", "C2": "accepted"} == ledger.states()


@pytest.mark.parametrize("workers", [1, 4])
def test_poisoned_records_do_not_hold_up_the_others(ledger, workers):
    """A dozen bad ratings without an answer, in front of everything: the others pass by them.

    Red if the stubborn are served before the rest by every worker, or if an away province is asked with the same
    ratings again and again.
    """
    ledger.rate(*range(1, 13), button=2)
    there = Poisoned(range(1, 13))
    with serving(there) as door, forwarding(ledger, door.url, workers, speed=200) as forwarder:
        eventually(lambda: there.state()["calls"] >= 12)
        for first in (100, 200, 300):
            ledger.rate(*range(first, first + 10))
        eventually(settled(ledger, 30))
        assert not forwarder._away

    assert 12 == list(ledger.states().values()).count("due")


def test_what_never_gets_an_answer_says_nothing_about_the_province(ledger):
    """Eight that have been tried often, and nothing else to do: not away. Red if their silence is counted."""
    ledger.rate(*range(1, 9))
    ledger.store._db.execute("UPDATE rating SET tries = 9")
    there = Poisoned(range(1, 9))
    with serving(there) as door, forwarding(ledger, door.url, speed=60_000) as forwarder:
        eventually(lambda: len(set(there.asked)) >= 6)
        assert not forwarder._away


def test_a_single_worker_serves_the_stubborn_last(ledger):
    """They may each take a whole time-out. Red if they come before the rest."""
    ledger.rate(1, 2, 3, button=2)
    ledger.store._db.execute("UPDATE rating SET tries = 9")
    ledger.rate(4, 5)
    there = Poisoned([1, 2, 3])
    with serving(there) as door, forwarding(ledger, door.url, workers=1):
        eventually(lambda: len(there.asked) >= 4)

    assert ["C4", "C5"] == there.asked[:2]


def test_a_silent_province_is_asked_with_what_was_asked_least(ledger):
    """A dozen poisoned bad ratings make it look away; a good one comes, and its turn is soon.

    Red if an away province is asked in the usual order: bad ones first, again and again.
    """
    ledger.rate(*range(1, 13), button=2)
    there = Poisoned(range(1, 13))
    with serving(there) as door, forwarding(ledger, door.url, workers=1, speed=1000) as forwarder:
        eventually(lambda: forwarder._away)
        before = len(there.asked)
        ledger.rate(100)
        eventually(settled(ledger, 1))

    # The eight that were not asked yet, and bad ones go first; one or two calls may have been on their way.
    assert there.asked.index("C100") - before <= 8 + 2


def test_records_that_stall_take_one_worker_at_most(ledger):
    """Each of them holds its worker for a whole time-out. Red if the stubborn may take every worker."""
    ledger.rate(*range(1, 9), button=2)
    ledger.store._db.execute("UPDATE rating SET tries = 9")
    release = threading.Event()

    def stall(caller, number):
        release.wait(20)

    with stubbed(stall) as stub, forwarding(ledger, stub.url, workers=4, timeout_s=20):
        eventually(lambda: len(stub.calls) == 1)
        time.sleep(0.3)
        assert 1 == len(stub.calls)
        ledger.rate(20, 21, 22)
        eventually(lambda: len(stub.calls) == 4)
        release.set()


# ---- workers, and their end


def test_no_two_workers_have_the_same_rating(ledger):
    """Eight workers, twenty ratings: one case call and one rating call each."""
    ledger.rate(*range(1, 21))
    there = txnbody(KEYS)
    with serving(there) as door, forwarding(ledger, door.url, workers=8):
        eventually(settled(ledger, 20))

    assert 40 == there.state()["calls"] == ledger.count("attempt")


@pytest.mark.alone
@pytest.mark.parametrize("speaks", ["nothing", "half a head", "half a body"])
def test_it_stops_at_once_while_the_province_stalls(ledger, speaks):
    """Long before the time-out; the rating stays due. `forwarding` fails if a worker needs more than two seconds.

    Red if stop() does not cut the calls.
    """
    ledger.rate(1, 2, 3, 4)
    release = threading.Event()

    def stall(caller, _):
        begun = {
            "nothing": b"",
            "half a head": b"HTTP/1.1 200 OK\r\nConte",
            "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
        }
        caller.wfile.write(begun[speaks])
        release.wait(30)

    with stubbed(stall) as stub:
        with forwarding(ledger, stub.url, workers=4, timeout_s=60):
            eventually(lambda: len(stub.calls) == 4)
            began_s = time.monotonic()
        took_s = time.monotonic() - began_s
        release.set()

    assert took_s < 1
    assert {"due"} == set(ledger.states().values())


@pytest.mark.alone
def test_it_stops_at_once_while_the_province_is_away(ledger):
    ledger.rate(*range(1, 9))
    with (
        stubbed(lambda caller, _: says(caller, b"", 503)) as stub,
        forwarding(ledger, stub.url, look_again_s=30) as forwarder,
    ):
        eventually(lambda: forwarder._away)
        time.sleep(0.5)
        began_s = time.monotonic()

    assert time.monotonic() - began_s < 2


def test_a_crash_between_call_and_verdict_is_settled_after_the_restart(opened):
    """The call was begun and the province kept the rating; the answer never came to the ledger."""
    ledger = opened()
    ledger.rate(1)
    there = txnbody(KEYS)
    with serving(there) as door:

        class Gone(BaseException):
            pass

        real = ledger.delivery.end

        def end(due, what, attempt, verdict, now_ms):
            if what == "rating":
                raise Gone
            real(due, what, attempt, verdict, now_ms)

        ledger.delivery.end = end
        with pytest.raises(Gone), forwarding(ledger, door.url, workers=1):
            eventually(lambda: there.ratings())
            time.sleep(0.1)
        assert {"C1": "due"} == ledger.states()
        restarted = opened()
        with forwarding(restarted, door.url):
            eventually(settled(restarted, 1))

    assert (1, 0) == tuple(restarted.store.row("SELECT duplicate, flagged FROM rating"))
    assert 1 == len(there.ratings())


def test_a_kept_alive_connection_that_the_province_closed_costs_nothing(ledger):
    """A new one is opened without a call that looks unanswered."""
    ledger.rate(1)

    def answer(caller, number):
        caller.close_connection = True  # without saying so
        says(caller, ACCEPTED)

    with stubbed(answer) as stub, forwarding(ledger, stub.url, workers=1):
        eventually(settled(ledger, 1))
        ledger.rate(2)
        eventually(settled(ledger, 2))

    assert {"accepted"} == {row["verdict"] for row in ledger.store.rows("SELECT verdict FROM attempt")}


# ---- privacy


def test_nobodys_details_leave_the_way_to_the_province(ledger, caplog):
    """A province that repeats names and numbers in every answer: none of it in logs, attempts, ratings or counts.

    Red without _cleaned(), or if the text of an exception is kept.
    """
    caplog.set_level(logging.DEBUG)
    ledger.rate(1, 2, 3, 4, 5, 6)
    said = "，".join(PERSON.values())
    answers = [
        refusing(f"参数不对：{said}"),
        f"<html>{said}</html>".encode(),
        refusing(f"系统繁忙 {said}"),
        ACCEPTED.replace(b'"message":""', f'"message":"{said}"'.encode()),
    ]

    def repeat(caller, number):
        says(caller, answers[number % len(answers)], 500 if number % 7 == 0 else 200)

    with stubbed(repeat) as stub, forwarding(ledger, stub.url):
        eventually(lambda: len(stub.calls) > 12)

    seen = caplog.text + json.dumps(
        [
            ledger.overview.counts(),
            ledger.overview.last_ratings(),
            [list(row) for row in ledger.store.rows("SELECT verdict, words FROM attempt")],
            [list(row) for row in ledger.store.rows("SELECT words FROM rating")],
        ],
        ensure_ascii=False,
    )
    assert [] == [detail for detail in PERSON.values() if detail in seen]
    assert "参数不对" in seen


def test_a_proxy_of_the_machines_user_is_not_used(ledger, monkeypatch):
    """Citizens' details go to the province and nowhere else. Red if the session trusts the environment."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    ledger.rate(1)
    with serving(txnbody(KEYS)) as door, forwarding(ledger, door.url):
        eventually(settled(ledger, 1))

    assert {"accepted"} == {row["verdict"] for row in ledger.store.rows("SELECT verdict FROM attempt")}


def test_an_accepted_case_is_not_sent_twice(ledger):
    """Only the rating is asked again when the rating had no answer."""
    ledger.rate(1)

    def answer(caller, _):
        if caller.path == RATING_PATH and stub.calls.count(RATING_PATH) < 3:
            says(caller, b"", 503)
        else:
            says(caller, ACCEPTED)

    with stubbed(answer) as stub, forwarding(ledger, stub.url):
        eventually(settled(ledger, 1))

    assert [CASE_PATH, RATING_PATH, RATING_PATH, RATING_PATH] == stub.calls


def test_each_call_is_written_down_before_it_is_made(ledger):
    """A crash in the middle of a call must leave a trace. Red if begin() comes after the call."""
    ledger.rate(1, 2)
    begun: list[int] = []

    def answer(caller, _):
        begun.append(ledger.count("attempt"))
        says(caller, ACCEPTED)

    with stubbed(answer) as stub, forwarding(ledger, stub.url, workers=1):
        eventually(settled(ledger, 2))

    assert [1, 2, 3, 4] == begun
