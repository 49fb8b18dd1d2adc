"""Details that a window PC has sealed, on their way into the ledger."""

from __future__ import annotations

import dataclasses

import pytest

from collector.ledger.details import Details as Rule
from collector.ledger.details import Keep
from collector.ledger.intake import Intake
from collector.vault import Vault
from protocols.cases import about_case, encode_case
from protocols.messages import Details, SealedCase, Taken, decode, encode
from protocols.ratings import Case
from protocols.seal import PrivateKey
from protocols.seal_sm import SmPrivateKey
from tests.brokers import Mosquitto, mosquitto_or_skip
from tests.collector.agents import NOW_MS, Agent, rated
from tests.collector.ledgers import KEY, PERSON, case, directory_of, window
from tests.collector.provinces import eventually
from tests.collector.test_inbox import agent_peer, collecting, online

OTHER = PrivateKey(bytes(range(1, 33)))


def sealed(given: Case, key: PrivateKey | SmPrivateKey = KEY, at_ms: int = NOW_MS, text: bytes = b"") -> SealedCase:
    about = about_case(given.case_no, given.service_number)
    return SealedCase(given.case_no, given.service_number, at_ms, key.public.seal(text or encode_case(given), about))


def take(ledger, *given: SealedCase, now_ms: int = NOW_MS) -> Taken:
    return ledger.intake.take_details("hall-a", Details(list(given)), now_ms)


def test_a_rating_is_sent_with_what_was_sealed_for_it(ledger):
    """As if the business system had posted it; and nobody's name lies in the ledger."""
    ledger.rate(1, with_case=False)
    given = sealed(case("C1"))

    assert Taken([given.digest]) == take(ledger, given)
    assert {"C1": "due"} == ledger.states()
    assert case("C1") == ledger.delivery.next(NOW_MS, ()).case
    everything = b"".join(each.read_bytes() for each in ledger.path.parent.glob("ledger.db*"))
    assert not [value for value in PERSON.values() if value.encode() in everything]


def test_the_same_once_more_changes_nothing(ledger):
    """An answer was lost. Red if what was accepted meanwhile became due again, or another row were written."""
    given = sealed(case("C1"))
    for _ in range(2):
        assert Taken([given.digest]) == take(ledger, given)

    assert 1 == ledger.count("service_case")


def test_what_was_handed_in_later_stays_whatever_comes_late(ledger):
    """A PC without a network for a week sends what the business system has long put right. Red if the last to come
    wins."""
    ledger.intake.take_cases([case("C1", clerk_name="posted")], NOW_MS)
    take(ledger, sealed(case("C1", clerk_name="late"), at_ms=NOW_MS - 1), now_ms=NOW_MS + 500)
    ledger.rate(1, with_case=False)
    assert "posted" == ledger.delivery.next(NOW_MS, ()).case.clerk_name
    take(ledger, sealed(case("C1", clerk_name="put right"), at_ms=NOW_MS + 400), now_ms=NOW_MS + 500)
    take(ledger, sealed(case("C1", clerk_name="older"), at_ms=NOW_MS + 399), now_ms=NOW_MS + 600)

    assert "put right" == ledger.delivery.next(NOW_MS, ()).case.clerk_name


def test_a_clock_that_is_ahead_does_not_win_for_ever(ledger):
    take(ledger, sealed(case("C1", clerk_name="ahead"), at_ms=NOW_MS + 9_000_000), now_ms=NOW_MS)
    take(ledger, sealed(case("C1", clerk_name="put right"), at_ms=NOW_MS + 10), now_ms=NOW_MS + 10)
    ledger.rate(1, with_case=False)

    assert "put right" == ledger.delivery.next(NOW_MS, ()).case.clerk_name


def test_what_was_deleted_as_the_rule_says_does_not_come_back(ledger):
    take(ledger, sealed(case("C1")))
    assert 1 == Rule(ledger.store, ledger.desk._vault, Keep(1, 1)).forget(NOW_MS + 3 * 86_400_000)
    take(ledger, sealed(case("C1"), at_ms=NOW_MS + 5), now_ms=NOW_MS + 3 * 86_400_000)

    assert "" == ledger.desk.case("C1", 1).applicant_name
    later = NOW_MS + 9 * 86_400_000
    take(ledger, sealed(case("C1"), at_ms=later), now_ms=later)
    assert case("C1") == ledger.desk.case("C1", 1), "handed in anew, for another visit"


def test_without_its_key_it_stays_with_the_agent_and_the_others_are_taken(ledger):
    """Red if a receipt is given for what nobody here can read."""
    ours, theirs = sealed(case("C1")), sealed(case("C2"), OTHER)

    assert Taken([ours.digest], [], [OTHER.key_id]) == take(ledger, theirs, ours)
    with_both = Intake(ledger.store, ledger.directory, Vault([KEY, OTHER]))
    assert Taken([theirs.digest]) == with_both.take_details("hall-a", Details([theirs]), NOW_MS)
    assert 2 == ledger.count("service_case")


def test_what_was_said_again_stays_too(ledger):
    """Posted twice; what was sealed between the two is older than the second. Red if only a change counts."""
    for at_ms in (NOW_MS, NOW_MS + 30):
        ledger.intake.take_cases([case("C1", clerk_name="posted")], at_ms)
    take(ledger, sealed(case("C1", clerk_name="between"), at_ms=NOW_MS + 20), now_ms=NOW_MS + 50)

    assert "posted" == ledger.desk.case("C1", 1).clerk_name


@pytest.mark.parametrize("how", ["altered", "another case", "no case", "no time", "rubbish"])
def test_what_cannot_be_opened_is_named_and_kept_for_a_person(ledger, how):
    given = sealed(case("C1"))
    match how:
        case "altered":
            raw = bytearray(given.sealed)
            raw[-1] ^= 1
            spoilt = SealedCase("C1", 1, NOW_MS, bytes(raw))
        case "another case":
            spoilt = SealedCase("C2", 1, NOW_MS, given.sealed)
        case "no time":
            spoilt = sealed(case("C1", service_ms=2**70))
        case "no case":
            spoilt = sealed(case("C1"), text=b"[1,2]")
        case _:
            spoilt = SealedCase("C1", 1, NOW_MS, bytes([1]) + bytes.fromhex(KEY.key_id) + b"x" * 60)
    whole = sealed(case("C3"))

    assert Taken([whole.digest], [spoilt.digest]) == take(ledger, spoilt, whole)
    assert ["hcp/v1/hall-a/details"] == [row["topic"] for row in ledger.overview.quarantined(5)]
    assert 1 == ledger.count("service_case")


def test_a_case_that_says_it_is_another_one_is_not_believed(ledger):
    """Sealed properly, by a program that mixes cases up."""
    other = dataclasses.replace(case("C1"), case_no="C2")
    given = SealedCase("C1", 1, NOW_MS, KEY.public.seal(encode_case(other), about_case("C1", 1)))

    assert [given.digest] == take(ledger, given).spoilt
    assert 0 == ledger.count("service_case")


@pytest.mark.mosquitto
def test_an_agent_is_answered_and_its_press_finds_its_case(opened, tmp_path):
    """Over a real broker: details and press arrive together, and the rating is due at once."""
    mosquitto_or_skip()
    ledger = opened(directory_of(window("agent-a", "w1", "D1"), window("agent-b", "w1", "D2")))
    agent, given = Agent("agent-a"), sealed(case("C1"))
    with Mosquitto(tmp_path / "broker") as broker, collecting(ledger, broker), agent_peer(broker) as peer:
        peer.subscribe("hcp/v1/agent-a/taken")
        eventually(lambda: online(peer))
        peer.publish("hcp/v1/agent-a/details", encode(Details([given])))
        peer.publish("hcp/v1/agent-a/batch", encode(agent.write(*rated(1))))
        peer.hears("hcp/v1/agent-a/taken")
        peer.hears("hcp/v1/agent-a/receipt")
        (said,) = [each for each in peer.messages if each.topic.endswith("/taken")]

    assert Taken([given.digest]) == decode(said.payload, Taken)
    assert {"C1": "due"} == ledger.states()
