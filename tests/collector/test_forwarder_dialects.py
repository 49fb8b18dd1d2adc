"""Every dialect, over real HTTP, to a province made from its description: each rating once, whatever goes wrong."""

from __future__ import annotations

import time

import pytest

from collector.pace import Pace
from firmware_sim.province import Answer
from firmware_sim.province.demands import Rules
from firmware_sim.province.door import serving
from firmware_sim.province.linewell import TOKEN_PATH
from firmware_sim.province.misbehaviour import Misbehaviour
from tests.collector.agents import NOW_MS, Agent, closing, press
from tests.collector.ledgers import PERSON, case
from tests.collector.provinces import SPOKEN, eventually, forwarding

DIALECTS = pytest.mark.parametrize("name", SPOKEN)
LIVELY = {
    "slow": 0.05,
    "drop_before": 0.05,
    "timeout_after": 0.05,
    "empty": 0.05,
    "rubbish": 0.05,
    "http_5xx": 0.1,
    "http_401": 0.05,
    "http_403": 0.05,
    "token_lost": 0.05,
}


def settled(ledger, number: int):
    return lambda: number == list(ledger.states().values()).count("accepted")


def levels(there) -> dict[str, str]:
    return {row["projectNo"]: row["satisfaction"] for row in there.ratings()}


@DIALECTS
def test_ratings_arrive_as_they_were_given(ledger, name):
    """A good and a bad one, read at the province as it opened them: level, time, tags, case, and whose it is."""
    spoken = SPOKEN[name]
    there = spoken.province()
    ledger.rate(1)
    ledger.rate(2, button=2)
    with serving(there) as door, forwarding(ledger, door.url, speaks=spoken.dialect(door.url)):
        eventually(settled(ledger, 2))

    assert {"C1": "5", "C2": "2"} == levels(there)
    assert {"refused": 0, "duplicates_refused": 0} == {
        count: there.state()[count] for count in ("refused", "duplicates_refused")
    }
    if name == "txnbody":
        assert [PERSON["applicant_name"]] * 2 == [row["name"] for row in there.ratings()]
    else:
        receipts = [row["receipt"] for row in ledger.store.rows("SELECT receipt FROM rating ORDER BY receipt")]
        assert ["PJ000000000001", "PJ000000000002"] == receipts


@DIALECTS
@pytest.mark.parametrize("seed", [1, 2])
def test_a_misbehaving_province_gets_every_rating_once(ledger, name, seed):
    """Nothing lost, doubled, refused or parked by what says nothing about a rating. Red if any of these answers becomes
    a no, or if a call is not written down before it is made."""
    spoken = SPOKEN[name]
    numbers = range(1, 25)
    ledger.rate(*numbers)
    ledger.rate(25, 26, button=2)
    there = spoken.province(misbehaviour=Misbehaviour(seed, **LIVELY), slow_ms=30, stall_ms=300)
    with (
        serving(there) as door,
        forwarding(ledger, door.url, 4, timeout_s=0.2, speaks=spoken.dialect(door.url)),
    ):
        eventually(settled(ledger, 26), 60)

    assert {f"C{number}": "2" if number > 24 else "5" for number in range(1, 27)} == levels(there)
    assert 26 == len(there.ratings())
    assert 0 == ledger.overview.counts()["flagged"]


@DIALECTS
def test_what_a_province_refuses_is_parked_in_its_own_words(ledger, name):
    """The next one goes on."""
    spoken = SPOKEN[name]
    there = spoken.province(Rules(requires_reason=True))
    ledger.rate(1, button=2)
    ledger.rate(2)
    with serving(there) as door, forwarding(ledger, door.url, speaks=spoken.dialect(door.url)):
        eventually(lambda: ledger.states() == {"C1": "parked refused", "C2": "accepted"})

    words = ledger.store.row("SELECT words FROM rating WHERE case_no = 'C1'")["words"]
    assert "差评必须" in words or "required of a bad rating" in words


@DIALECTS
def test_what_the_province_has_from_somebody_else_is_flagged(ledger, name):
    """We never had a success for it, and never sent it: a person has to see that."""
    spoken = SPOKEN[name]
    there = spoken.province()
    ledger.rate(1)
    with serving(there) as door:
        with forwarding(ledger, door.url, speaks=spoken.dialect(door.url)):
            eventually(settled(ledger, 1))
        with ledger.store.writing() as db:  # as if another system had sent it, and this ledger had not
            db.execute("UPDATE rating SET state = 'due', next_ms = 0")
            for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                db.execute(f"DROP TRIGGER {trigger}")
            db.execute("DELETE FROM attempt")
        with forwarding(ledger, door.url, speaks=spoken.dialect(door.url)):
            eventually(settled(ledger, 1))

    assert (1, 1) == tuple(ledger.store.row("SELECT duplicate, flagged FROM rating"))
    assert 1 == len(there.ratings())


# ---- the token


def calls_of(door) -> list[str]:
    """The paths that are called from here on."""
    calls: list[str] = []
    real = door.province.answer

    def answer(path, headers, body, now_ms):
        calls.append(path.partition("?")[0])
        return real(path, headers, body, now_ms)

    door.province.answer = answer
    return calls


def test_one_token_serves_many_calls_and_all_workers(ledger):
    """Red if each call, or each worker, asks for its own: some gateways take only the last that they handed out."""
    spoken = SPOKEN["linewell"]
    ledger.rate(*range(1, 13))
    with serving(spoken.province()) as door:
        calls = calls_of(door)
        with forwarding(ledger, door.url, 4, speed=1, speaks=spoken.dialect(door.url)):
            eventually(settled(ledger, 12))

    assert 1 == calls.count(TOKEN_PATH)


def test_a_token_that_the_gateway_lost_costs_no_rating_a_try(ledger):
    """Another one is asked for, and the same rating is sent at once."""
    spoken = SPOKEN["linewell"]
    there = spoken.province()
    ledger.rate(1)
    with serving(there) as door, forwarding(ledger, door.url, 1, speed=1, speaks=spoken.dialect(door.url)):
        eventually(settled(ledger, 1))
        there.way.token_lost()
        ledger.rate(2)
        eventually(settled(ledger, 2))

    assert 0 == ledger.store.row("SELECT sum(tries) FROM rating")[0]


def test_a_token_lost_in_the_middle_of_a_turn_is_replaced_once(ledger):
    """One more call, and one more token. Red if the rest of the turn goes on with the old one."""
    spoken = SPOKEN["linewell"]
    there = spoken.province()
    ledger.rate(*range(1, 61))
    with serving(there) as door:
        calls, real = [], there.answer

        def answer(path, *rest):
            calls.append(path.partition("?")[0])
            return there.way.token_lost() if len(calls) == 30 else real(path, *rest)

        there.answer = answer
        with forwarding(ledger, door.url, 1, speed=1, speaks=spoken.dialect(door.url)) as forwarder:
            forwarder._call_s = 0.001
            eventually(settled(ledger, 60))

    assert 2 == calls.count(TOKEN_PATH)
    assert 61 == len(calls) - calls.count(TOKEN_PATH)


def test_without_a_token_no_call_is_counted_as_made(ledger):
    """A duplicate later on is then somebody else's, and flagged. Red if "rating" is written down for a call of which
    only the token was asked for."""
    spoken = SPOKEN["linewell"]
    ledger.rate(1)
    with (
        serving(spoken.province()) as door,
        forwarding(ledger, door.url, 1, speaks=spoken.dialect(door.url, app_secret="wrong")),
    ):
        eventually(lambda: ledger.count("attempt") > 2)

    assert {"token"} == {row["what"] for row in ledger.store.rows("SELECT what FROM attempt")}
    assert {"C1": "due"} == ledger.states()


# ---- several at once


def test_an_exchange_platform_gets_many_in_one_call(ledger):
    """And each has its own verdict: a bad one among them is parked alone."""
    spoken = SPOKEN["json"]
    ledger.rate(*range(1, 41))
    ledger.rate(41, button=2)
    there = spoken.province(Rules(requires_reason=True))
    with serving(there) as door, forwarding(ledger, door.url, 1, speaks=spoken.dialect(door.url, together=20)):
        eventually(settled(ledger, 40))

    assert 40 == len(there.ratings())
    assert "parked refused" == ledger.states()["C41"]
    assert there.state()["calls"] <= 4


def test_one_call_of_many_without_an_answer_does_not_make_the_province_away(ledger, caplog):
    """It is one silence and not forty. Red if each rating of the call is counted."""
    spoken = SPOKEN["json"]
    ledger.rate(*range(1, 41))
    there = spoken.province()
    with serving(there) as door:
        calls, real = [], there.answer

        def silent_once(*call):
            calls.append(call)
            return Answer(503) if len(calls) == 1 else real(*call)

        there.answer = silent_once
        with forwarding(ledger, door.url, 1, speaks=spoken.dialect(door.url)):
            eventually(settled(ledger, 40))

    assert len(calls) > 1
    assert "province away" not in caplog.text


@pytest.mark.parametrize("name", ["txnbody", "flat"])
def test_after_a_call_without_an_answer_the_others_of_its_turn_are_not_made(ledger, name):
    """Their begin was written down: so is that they were not made, and a duplicate later on is somebody else's. Red if
    they count as calls whose answer was lost."""
    spoken = SPOKEN[name]
    there = spoken.province()
    ledger.rate(*range(1, 13))
    with serving(there) as door, forwarding(ledger, door.url, 1, speaks=spoken.dialect(door.url)) as forwarder:
        forwarder._call_s = 0.001
        eventually(settled(ledger, 12))
        there.go_away(10**15)
        ledger.rate(*range(20, 32))
        eventually(lambda: ledger.store.row("SELECT count(*) FROM attempt WHERE verdict = 'not_made'")[0] > 0)
        there.go_away(0)
        eventually(settled(ledger, 24))

    assert 24 == len(there.ratings())
    assert 0 == ledger.overview.counts()["flagged"]


# ---- the order of one case


def services(ledger, *buttons: int) -> None:
    """Several services of one case, rated one after the other."""
    agent = Agent("hall-a")
    records = []
    for number, button in enumerate(buttons, 1):
        records += [
            press(number, button=button, invitation=f"i{number}"),
            closing(f"i{number}", "C1", service_number=number),
        ]
    ledger.take(agent, agent.write(*records))
    ledger.intake.take_cases([case("C1", number) for number in range(1, len(buttons) + 1)], NOW_MS)


@DIALECTS
def test_services_of_one_case_go_in_their_order_and_one_at_a_time(ledger, name):
    """Also where the last one is bad: it takes the older ones of its case along. Red if bad ones overtake their own."""
    spoken = SPOKEN[name]
    there = spoken.province(slow_ms=1)
    services(ledger, 1, 1, 1, 2)
    ledger.rate(7, 8, 9)
    with serving(there) as door, forwarding(ledger, door.url, 4, speaks=spoken.dialect(door.url)):
        eventually(lambda: 4 == len([row for row in there.ratings() if row["projectNo"] == "C1"]))

    order = [row["serviceNumber"] for row in there.ratings() if row["projectNo"] == "C1"]
    assert ["1", "2", "3", "4"] == order


def test_a_bad_rating_takes_the_older_ones_of_its_case_along(ledger):
    """Before all others that wait."""
    spoken = SPOKEN["flat"]
    there = spoken.province()
    ledger.rate(*range(10, 30))
    services(ledger, 1, 2)
    with serving(there) as door, forwarding(ledger, door.url, 1, speaks=spoken.dialect(door.url)):
        eventually(lambda: 22 == len(there.ratings()))

    assert ["C1", "C1"] == [row["projectNo"] for row in there.ratings()[:2]]


# ---- the pace


def test_a_province_is_not_called_faster_than_it_wants(ledger):
    """The bucket holds one second's calls; after that it fills. Red if the case's call is not counted."""
    spoken = SPOKEN["txnbody"]
    there = spoken.province()
    ledger.rate(*range(1, 9))
    began_s = time.monotonic()
    with serving(there) as door, forwarding(ledger, door.url, 4, speed=1, pace=Pace(8)):
        eventually(settled(ledger, 8))

    assert 16 == there.state()["calls"]
    assert time.monotonic() - began_s > 0.9  # eight at once, eight more in a second


def test_a_pace_fills_with_time_and_no_further_than_one_second():
    pace = Pace(10)
    for _ in range(10):
        assert 0 == pace.wait_ms(1_000)
        pace.take(1_000)

    assert 100 == pace.wait_ms(1_000)
    assert 0 == pace.wait_ms(1_100)
    pace.take(1_100)
    assert 0 == pace.wait_ms(9_000)
    for _ in range(10):
        pace.take(9_000)
    assert pace.wait_ms(9_000) > 0
    assert pace.wait_ms(0) > 0, "a clock that was put back fills nothing"


def test_who_asks_for_a_rest_gets_it():
    """Bounded: what a clock has made a year of is nobody's wish."""
    pace = Pace()
    pace.rest(5_000)

    assert (4_000, 0) == (pace.wait_ms(1_000), pace.wait_ms(5_000))
    assert 0 == pace.wait_ms(-(10**9))


def test_all_workers_rest_when_the_province_says_429(ledger):
    """Retry-After is honoured, and nothing is marked bad."""
    spoken = SPOKEN["flat"]
    there = spoken.province(misbehaviour=Misbehaviour(3, http_429=1.0))
    ledger.rate(*range(1, 9))
    with serving(there) as door, forwarding(ledger, door.url, 4, speed=1, speaks=spoken.dialect(door.url)):
        time.sleep(0.9)
        calls = there.state()["calls"]
        there.misbehaviour = Misbehaviour()
        eventually(settled(ledger, 8))

    assert calls <= 4  # those that were on their way when the first answer came
