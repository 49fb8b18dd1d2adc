"""Whatever arrives, in whatever order and however often: the ledger ends up with every record once, and says so."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.ledger import audit
from collector.ledger.file import LedgerMismatch
from collector.ledger.schema import VERSION
from collector.ledger.store import Store
from protocols import chain
from protocols.messages import AgentStatus, Batch, Health, Receipt, SalvageRecord, WindowHealth, encode_record
from protocols.ratings import Accepted
from tests.collector.agents import NOW_MS, Agent, closing, press, rated
from tests.collector.crashes import crashes
from tests.collector.ledgers import PERSON, Ledger, case, directory_of, window


def test_what_an_agents_disk_has_lost_is_named(ledger: Ledger) -> None:
    """By number, but for what had arrived before; the records behind it are understood. Red if it is passed over."""
    old, new = twelve(), Agent()
    ledger.take(old, old.batch(1, 6))
    ledger.take(new, new.write(SalvageRecord(old.epoch, 1, 12, [(5, 8), (11, 11)], NOW_MS, "disk"), *rated(20)))
    found = audit.verify(ledger.store.path)

    assert [(old.epoch, 7, 8), (old.epoch, 11, 11)] == [(gap.epoch, gap.first, gap.last) for gap in found.gaps]
    assert [] == found.findings


def receipt(agent: Agent, upto: int) -> Receipt:
    """The honest receipt of the first `upto` records of this agent."""
    return Receipt(agent.epoch, upto, agent.heads[upto].hex())


def twelve() -> Agent:
    """Three rated presses, an unsolicited one, and so on: twelve records in all."""
    agent = Agent()
    agent.write(*rated(1), *rated(2, button=2), press(3), *rated(4), press(5), press(6), *rated(7), press(8))
    return agent


# ---- the file


def test_what_is_receipted_survives_a_power_cut(ledger):
    """WAL with synchronous FULL on the connection that writes, asked of the real file. Red with NORMAL."""
    pragmas = [
        ledger.store._db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "user_version")
    ]

    assert ["wal", 2, 0, VERSION] == pragmas


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE record SET body = x'00' WHERE seq = 1",
        "DELETE FROM record WHERE seq = 1",
        "DELETE FROM record",
        "REPLACE INTO record SELECT epoch_id, seq, x'00', hash, received_ms FROM record WHERE seq = 1",
        "INSERT OR REPLACE INTO record SELECT epoch_id, seq, x'00', hash, 1 FROM record WHERE seq = 1",
        "UPDATE key_map SET keys = '{}'",
        "DELETE FROM key_map",
    ],
)
def test_a_record_is_never_changed_replaced_or_deleted(ledger, sql):
    """Not even with the sqlite3 command line. Red without the triggers, one by one."""
    ledger.rate(1)
    before = ledger.records()
    somebody = sqlite3.connect(ledger.path)

    with pytest.raises(sqlite3.IntegrityError, match="never"):
        somebody.execute(sql)
    somebody.close()

    assert before == ledger.records()


def test_another_database_is_not_made_a_ledger(tmp_path):
    """Somebody's file stays as it is, down to its journal mode."""
    path = tmp_path / "accounts.db"
    somebody = sqlite3.connect(path)
    somebody.execute("CREATE TABLE account(id)")
    somebody.close()
    before = path.read_bytes()

    with pytest.raises(LedgerMismatch, match=r"accounts\.db"):
        Store(path)

    assert before == path.read_bytes()


def test_a_ledger_of_a_newer_program_is_left_alone(opened, tmp_path):
    opened().store.close()
    newer = sqlite3.connect(tmp_path / "ledger.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()

    with pytest.raises(LedgerMismatch, match="newer"):
        Store(tmp_path / "ledger.db")


def test_only_one_collector_has_a_ledger_and_readers_are_welcome(tmp_path):
    """Two forwarders on one ledger would send everything twice. Red if `sole` does not lock."""
    first = Store(tmp_path / "ledger.db", sole=True)

    with pytest.raises(LedgerMismatch, match="another collector"):
        Store(tmp_path / "ledger.db", sole=True)
    Store(tmp_path / "ledger.db", look_only=True).close()
    first.close()
    Store(tmp_path / "ledger.db", sole=True).close()


# ---- batches


def test_a_batch_that_extends_the_chain_is_kept_as_it_came(ledger):
    """Byte for byte, and the receipt names the last record and its head."""
    agent = twelve()

    assert receipt(agent, 12) == ledger.take(agent, agent.batch(1, 12))
    assert agent.bodies == ledger.records()


@pytest.mark.parametrize(
    ("first", "last"), [(1, 8), (1, 3), (3, 5), (8, 8), (1, 1)], ids=["all", "begin", "middle", "end", "one"]
)
def test_old_batches_are_answered_by_what_is_held(ledger, first, last):
    """Nothing is kept twice, nothing is quarantined."""
    agent = twelve()
    ledger.take(agent, agent.batch(1, 8))

    assert receipt(agent, 8) == ledger.take(agent, agent.batch(first, last))
    assert agent.bodies[:8] == ledger.records()
    assert 0 == ledger.count("quarantine")


def test_of_an_overlapping_batch_only_the_new_part_is_kept(ledger):
    agent = twelve()
    ledger.take(agent, agent.batch(1, 8))

    assert receipt(agent, 12) == ledger.take(agent, agent.batch(5, 12))
    assert agent.bodies == ledger.records()
    assert ledger.count("press") == 8


def test_a_batch_that_came_too_early_is_not_taken_for_a_gap(ledger):
    """The agent still has what lies between: nothing is kept, and the receipt makes it send that first.

    Red if `oldest` is not looked at: records 1 to 4 would be refused for ever after.
    """
    agent = twelve()

    assert receipt(agent, 0) == ledger.take(agent, agent.batch(5, 8, oldest=1))
    assert [0, 0, 0] == [ledger.count(table) for table in ("record", "gap", "quarantine")]
    assert receipt(agent, 4) == ledger.take(agent, agent.batch(1, 4))
    assert receipt(agent, 8) == ledger.take(agent, agent.batch(5, 8, oldest=5))


def test_a_hole_where_the_agent_has_nothing_older_is_accepted_and_named(opened):
    """A ledger restored from a backup goes on, and says for ever what it lacks."""
    agent = twelve()
    restored = opened()
    restored.take(agent, agent.batch(1, 2))

    assert receipt(agent, 12) == restored.take(agent, agent.batch(9, 12))
    assert (2, 8) == tuple(restored.store.row("SELECT after, upto FROM gap"))
    assert agent.bodies[:2] + agent.bodies[8:] == restored.records()
    assert (6, 1) == (restored.overview.counts()["records"], restored.overview.counts()["gaps"])


def test_what_lay_in_a_gap_is_quarantined_when_it_turns_up(opened):
    """Its bytes are not lost, and the receipt stays honest."""
    agent = twelve()
    restored = opened()
    restored.take(agent, agent.batch(9, 12))

    assert receipt(agent, 12) == restored.take(agent, agent.batch(1, 8))
    assert 1 == restored.count("quarantine")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_deliveries_of_any_batches_end_in_every_record_once(tmp_path_factory, data):
    """Repeats, overlaps, shuffles, several in one transaction. Each receipt is honest at its time.

    The agent's `oldest` is what was receipted so far and one more, as its outbox has it.
    Red if an overlap is kept twice, if an early batch becomes a gap, or if a receipt promises more than is held.
    """
    agent = twelve()
    ledger = Ledger(tmp_path_factory.mktemp("any") / "ledger.db", directory_of(window()))
    held = 0
    for _ in range(data.draw(st.integers(1, 12))):
        group = []
        for _ in range(data.draw(st.integers(1, 3))):
            first = data.draw(st.integers(1, 12))
            last = data.draw(st.integers(first, 12))
            # What is older than `oldest` was receipted before this batch was made.
            oldest = data.draw(st.integers(1, min(first, held + 1)))
            group += agent.sent(agent.batch(first, last, oldest))
        for (_, batch, _), (_, given_receipt) in zip(group, ledger.intake.take(group, NOW_MS), strict=True):
            last = batch.first + len(batch.records) - 1
            held = max(held, last) if batch.first <= held + 1 else held

            assert receipt(agent, held) == given_receipt
    ledger.take(agent, agent.batch(1, 12))

    assert agent.bodies == ledger.records()
    assert [0, 0] == [ledger.count("gap"), ledger.count("quarantine")]
    assert ["rated", "rated", "unsolicited", "rated", "unsolicited", "unsolicited", "rated", "unsolicited"] == (
        ledger.fates()
    )
    assert 4 == ledger.count("rating")
    ledger.store.close()


def changed(batch: Batch, **other) -> Batch:
    return msgspec.structs.replace(batch, **other)


def forged(agent: Agent) -> Batch:
    """Records 1 to 12 with another level in the third, and heads that fit it."""
    bodies = [*agent.bodies]
    bodies[2] = bodies[2].replace(b'"button":2', b'"button":1')
    head = chain.heads(agent.heads[0], bodies)[-1]
    return changed(agent.batch(1, 12), records=[msgspec.Raw(body) for body in bodies], head=head.hex())


@pytest.mark.parametrize(
    "make",
    [
        lambda agent: changed(agent.batch(5, 12), head="0" * 64),
        lambda agent: changed(agent.batch(5, 12), prev="0" * 64),
        lambda agent: changed(agent.batch(5, 12), records=agent.batch(5, 11).records),
        lambda agent: changed(agent.batch(5, 12), records=list(reversed(agent.batch(5, 12).records))),
        lambda agent: changed(agent.batch(5, 12), first=4, oldest=4),
        forged,
        lambda agent: changed(forged(agent), first=1),
        lambda agent: Agent(epoch=agent.epoch).write(press(77)),
    ],
    ids=["head", "prev", "one left out", "reversed", "shifted", "forged", "forged again", "two outboxes, one epoch"],
)
def test_a_batch_that_does_not_fit_is_quarantined_and_answered_honestly(ledger, make):
    """And what fits is still taken afterwards. Red if any comparison of heads is left out."""
    agent = twelve()
    ledger.take(agent, agent.batch(1, 4))
    wrong = make(agent)

    assert receipt(agent, 4) == ledger.take(agent, wrong)
    assert agent.bodies[:4] == ledger.records()
    quarantined = ledger.overview.quarantined()
    assert ["hcp/v1/hall-a/batch"] == [each["topic"] for each in quarantined]
    assert receipt(agent, 12) == ledger.take(agent, agent.batch(5, 12))


def test_a_misfit_takes_nothing_else_of_its_transaction_with_it(ledger):
    """Three agents in one transaction, the one in the middle wrong: not even its epoch is noted."""
    good, wrong, other = Agent(), Agent(), Agent("hall-b")
    good.write(*rated(1))
    wrong.write(*rated(2))
    other.write(*rated(3))
    misfit = changed(
        wrong.batch(1, 2), prev=good.heads[1].hex(), head=chain.heads(good.heads[1], wrong.bodies)[-1].hex()
    )

    answers = ledger.intake.take([*good.sent(good.batch(1, 2)), *wrong.sent(misfit), *other.sent(other.batch(1, 2))], 1)

    assert [receipt(good, 2), receipt(wrong, 0), receipt(other, 2)] == [answer for _, answer in answers]
    assert [good.epoch, other.epoch] == [
        row["epoch"] for row in ledger.store.rows("SELECT epoch FROM epoch ORDER BY id")
    ]


def test_an_epoch_belongs_to_the_agent_that_began_it(ledger):
    """Another agent under the same name gets the receipt of what the ledger holds of it: nothing."""
    first = twelve()
    second = Agent("hall-b", first.epoch)
    second.write(press(1))
    ledger.take(first, first.batch(1, 12))

    assert receipt(second, 0) == ledger.take(second, second.batch(1, 1))
    assert 1 == ledger.count("quarantine")
    assert first.bodies == ledger.records()


def test_records_of_an_unknown_kind_keep_their_place(ledger):
    """A newer agent's records are in the chain, byte for byte, and in quarantine for a person to see."""
    agent = Agent()
    batch = agent.write(press(1, "i1"), b'{"kind":"mood","x":1}', b"[]", closing("i1", "C1"))

    assert receipt(agent, 4) == ledger.take(agent, batch)
    assert agent.bodies == ledger.records()
    assert ["rated"] == ledger.fates()
    assert 2 == ledger.count("quarantine")


def test_numbers_that_no_database_can_hold_do_not_stop_the_intake(ledger):
    """One agent's nonsense must not make the collector end, and end again at every restart."""
    agent = Agent()
    endless = encode_record(press(1)).replace(b'"boot":1', b'"boot":%d' % 2**80)
    batch = agent.write(endless, press(2))

    assert receipt(agent, 2) == ledger.take(agent, batch)
    assert ["unsolicited"] == ledger.fates()


# ---- meaning


@pytest.mark.parametrize("restart", [False, True])
def test_a_press_waits_for_its_closing(opened, restart):
    """awaiting_closing until it comes, in a later batch and after a restart too; then it is rated with its case."""
    agent = Agent()
    ledger = opened()
    ledger.take(agent, agent.write(press(1, "i1", button=2)))
    assert ["awaiting_closing"] == ledger.fates()
    if restart:
        ledger.store.close()
        ledger = opened()
        ledger.intake.cure(NOW_MS)
        assert ["awaiting_closing"] == ledger.fates()

    ledger.take(agent, agent.write(closing("i1", "C1", service_number=2)))

    assert ["rated"] == ledger.fates()
    assert ("C1", 2, "dissatisfied", 1) == tuple(
        ledger.store.row("SELECT case_no, service_number, level, bad FROM rating")
    )


def test_a_closing_may_come_before_its_press(ledger):
    agent = Agent()
    ledger.take(agent, agent.write(closing("i1", "C1")))
    ledger.take(agent, agent.write(press(1, "i1")))

    assert ["rated"] == ledger.fates()


def test_the_first_press_wins_even_if_its_closing_comes_with_the_second(ledger):
    """Red if new presses are understood before the older ones are cured."""
    agent = Agent()
    ledger.take(agent, agent.write(press(1, "i1", button=2)))
    ledger.take(agent, agent.write(press(2, "i1", button=1), closing("i1", "C1")))

    assert ["rated", "repeat"] == ledger.fates()
    assert "dissatisfied" == ledger.store.row("SELECT level FROM rating")["level"]


def test_an_invitation_closes_once(ledger):
    """The first closing says which case it was, also when both come in one batch and when a press follows."""
    agent = Agent()
    ledger.take(agent, agent.write(closing("i1", "C1"), closing("i1", "C2"), press(1, "i1")))
    ledger.take(agent, agent.write(closing("i2", "C3")))
    ledger.take(agent, agent.write(closing("i2", "C4"), press(2, "i2")))

    assert ["C1", "C3"] == [row["case_no"] for row in ledger.store.rows("SELECT case_no FROM rating ORDER BY id")]


def test_the_same_press_again_is_a_duplicate(ledger):
    """The same press id: in one batch, in another, from another agent that got the device."""
    first, second = Agent(), Agent("hall-b")
    ledger.take(first, first.write(press(1, "i1"), press(1, "i1"), closing("i1", "C1")))
    ledger.take(first, first.write(press(1, "i1")))
    ledger.take(second, second.write(press(1, "i1")))

    assert ["rated", "duplicate", "duplicate", "duplicate"] == ledger.fates()
    assert 1 == ledger.count("rating")


def test_a_resent_press_that_lost_its_invitation_is_still_the_same_press(ledger):
    """An agent that was set up anew does not know the invitation any more."""
    first, anew = Agent(), Agent()
    ledger.take(first, first.write(press(1, "i1"), closing("i1", "C1")))
    ledger.take(anew, anew.write(press(1, pressed_ms=NOW_MS + 61_000)))

    assert ["rated", "duplicate"] == ledger.fates()


def test_another_press_of_the_same_invitation_is_a_repeat(ledger):
    """Kept and not counted: the first wins."""
    agent = Agent()
    ledger.take(agent, agent.write(press(1, "i1", button=2), press(2, "i1", button=1), closing("i1", "C1")))

    assert ["rated", "repeat"] == ledger.fates()
    assert ["dissatisfied"] == [row["level"] for row in ledger.store.rows("SELECT level FROM rating")]


def test_one_service_of_a_case_is_rated_once(ledger):
    """A second invitation for the same case and service is a repeat; another service of the case is not (一次一评)."""
    agent = Agent()
    for number, (invitation, service) in enumerate([("i1", 1), ("i2", 1), ("i3", 2)], 1):
        ledger.take(agent, agent.write(press(number, invitation), closing(invitation, "C1", service_number=service)))

    assert ["rated", "repeat", "rated"] == ledger.fates()


def test_in_one_batch_too_a_service_is_rated_once(ledger):
    """What one batch makes is in no table yet when its next press comes. Red if only invitations are compared."""
    agent = Agent()
    services = enumerate([("i1", 1), ("i2", 1), ("i3", 2)], 1)
    records = [
        (press(number, each), closing(each, "C1", service_number=service)) for number, (each, service) in services
    ]
    ledger.take(agent, agent.write(*(record for pair in records for record in pair)))

    assert ["rated", "repeat", "rated"] == ledger.fates()


def test_a_number_below_the_highest_is_looked_up(ledger):
    """A panel's store may come out of order. Red if the last number of a batch is taken for its highest."""
    agent = Agent()
    ledger.take(agent, agent.write(*rated(5), *rated(3), press(5, "i5"), *rated(4)))
    ledger.take(agent, agent.write(press(4, "i4"), press(2)))

    assert ["rated", "rated", "duplicate", "rated", "duplicate", "unsolicited"] == ledger.fates()


def test_a_device_that_lost_its_counters_goes_on_rating(ledger):
    """The same press id in another invitation is another press."""
    agent, at_ms = Agent(), NOW_MS + 30_000
    again = press(1, "i2", pressed_ms=at_ms, kept_ms=at_ms + 3, mono_ms=30_000)
    ledger.take(agent, agent.write(*rated(1), again, closing("i2", "C2")))

    assert ["rated", "rated"] == ledger.fates()


@pytest.mark.parametrize(
    ("profile", "boot", "fates"),
    [("page", 1, ["rated", "duplicate"]), ("page", 2, ["rated", "rated"]), ("house", 1, ["rated", "rated"])],
)
def test_a_press_of_our_own_page_is_known_by_its_number_alone(opened, profile, boot, fates):
    """The tablet slept for forty minutes and said it again to an agent whose outbox had been replaced. Red if one press
    is two ratings; another start of the page, or a device that counts anew from one, is another press."""
    ledger = opened(directory_of(window(more="walk_in = true")))
    first, anew = Agent(), Agent()
    ledger.take(first, first.write(press(7, profile=profile)))
    later_ms = NOW_MS + 40 * 60_000
    said_again = press(7, profile=profile, boot=boot, pressed_ms=later_ms, kept_ms=later_ms, mono_ms=later_ms)
    ledger.take(anew, anew.write(said_again))

    assert fates == ledger.fates()
    assert fates.count("rated") == ledger.count("rating")


def test_a_resent_press_that_was_given_to_another_invitation_is_still_the_same_press(ledger):
    """An agent with an older copy of its file takes the citizen before for the one who is asked. Red: rated twice."""
    first, older = Agent(), Agent()
    ledger.take(first, first.write(press(1, "i2"), closing("i2", "C2")))
    ledger.take(older, older.write(press(1, "i1", kept_ms=NOW_MS + 1803, mono_ms=1800), closing("i1", "C1")))

    assert ["rated", "duplicate"] == ledger.fates()


def test_unsolicited_presses_never_become_ratings(opened):
    """Not when the directory changes to walk-in either: what was not asked for stays that."""
    agent = Agent()
    ledger = opened()
    ledger.take(agent, agent.write(press(1), press(2)))
    ledger.store.close()
    later = opened(directory_of(window(more="walk_in = true")))

    assert 0 == later.intake.cure(NOW_MS)
    assert ["unsolicited", "unsolicited"] == later.fates()
    later.take(agent, agent.write(press(3)))
    assert ["unsolicited", "unsolicited", "rated"] == later.fates()
    assert ("parked", "no_case") == tuple(later.store.row("SELECT state, reason FROM rating"))


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (window(keys="{}"), window(), "keys_not_confirmed"),
        (window(keys='{2 = "satisfied"}'), window(), "button_not_mapped"),
        (window(window="w2"), window(), "window_not_placed"),
    ],
)
def test_a_directory_put_right_gives_old_presses_their_meaning(opened, before, after, reason):
    """Restart with a new directory; the time and the order of the presses stay."""
    agent = Agent()
    ledger = opened(directory_of(before))
    ledger.take(agent, agent.write(*rated(1), *rated(2)))
    assert [reason, reason] == ledger.fates()
    ledger.store.close()
    cured = opened(directory_of(after))

    assert 2 == cured.intake.cure(NOW_MS)
    assert ["rated", "rated"] == cured.fates()
    assert [NOW_MS + 1000, NOW_MS + 2000] == [
        row["pressed_ms"] for row in cured.store.rows("SELECT pressed_ms FROM rating ORDER BY id")
    ]
    assert 0 == cured.intake.cure(NOW_MS)


def test_a_new_key_map_is_for_new_presses(opened):
    """What was rated stays as it was; which map it was made by is on record."""
    agent = Agent()
    ledger = opened()
    ledger.take(agent, agent.write(*rated(1)))
    ledger.store.close()
    later = opened(directory_of(window(keys='{1 = "very_dissatisfied"}')))
    later.intake.cure(NOW_MS)
    later.take(agent, agent.write(*rated(2), *rated(3)))

    rows = later.store.rows("SELECT level, key_map FROM rating ORDER BY id")
    assert [("very_satisfied", 1), ("very_dissatisfied", 2), ("very_dissatisfied", 2)] == [tuple(row) for row in rows]


# ---- cases


def test_a_rating_waits_for_its_case_and_is_due_when_it_comes(ledger):
    ledger.rate(1, with_case=False)
    assert {"C1": "awaiting_case"} == ledger.states()
    assert ledger.delivery.next(NOW_MS, ()) is None

    assert 1 == ledger.intake.take_cases([case("C1")], NOW_MS)
    assert {"C1": "due"} == ledger.states()


def test_a_case_may_come_first(ledger):
    ledger.intake.take_cases([case("C1")], NOW_MS)
    ledger.rate(1, with_case=False)

    assert {"C1": "due"} == ledger.states()


def test_details_of_another_service_do_not_help(ledger):
    ledger.rate(1, with_case=False)
    ledger.intake.take_cases([case("C1", 2)], NOW_MS)

    assert {"C1": "awaiting_case"} == ledger.states()


def test_the_same_details_again_change_nothing(ledger):
    """Business systems send everything twice: what was delivered to the province stays delivered."""
    ledger.rate(1)
    due = ledger.delivery.next(NOW_MS, ())
    number = ledger.delivery.begin(due, "case", NOW_MS)
    ledger.delivery.end(due, "case", number, Accepted(), NOW_MS)

    assert 0 == ledger.intake.take_cases([case("C1"), case("C1")], NOW_MS)
    assert ledger.delivery.next(NOW_MS, ()).case_delivered
    assert 1 == ledger.intake.take_cases([case("C1", mobile="13700000000")], NOW_MS)
    assert not ledger.delivery.next(NOW_MS, ()).case_delivered


@pytest.mark.parametrize("reason", ["lacking", "case_refused", "case_unknown"])
def test_changed_details_set_a_rating_going_again(ledger, reason):
    """What was parked for its details is due as soon as they change; not by the same details again."""
    ledger.rate(1)
    ledger.delivery.park(ledger.delivery.next(NOW_MS, ()), reason, "words", NOW_MS)
    ledger.intake.take_cases([case("C1")], NOW_MS)
    assert {"C1": f"parked {reason}"} == ledger.states()

    ledger.intake.take_cases([case("C1", dept_name="税务局")], NOW_MS)

    assert {"C1": "due"} == ledger.states()
    assert (None, "") == tuple(ledger.store.row("SELECT settled_ms, words FROM rating"))


def test_what_the_province_said_to_the_rating_itself_stays(ledger):
    """A refused rating and an accepted one are not sent again because a detail changed."""
    ledger.rate(1)
    ledger.delivery.park(ledger.delivery.next(NOW_MS, ()), "refused", "不行", NOW_MS)
    ledger.intake.take_cases([case("C1", dept_name="税务局")], NOW_MS)

    assert {"C1": "parked refused"} == ledger.states()


# ---- what agents say of themselves


def test_an_agents_own_words_are_kept_whole_and_shown(ledger):
    """A count never goes down, however late an old health message comes."""
    healths = [
        Health(at_ms=1, epoch="e", windows=[WindowHealth("w1", "ready", device="D1", boot=1, count=count)])
        for count in (5, 3)
    ]
    for health in healths:
        ledger.intake.note_health("hall-a", health, NOW_MS)
    ledger.intake.note_status("hall-a", AgentStatus(True, "1.0"), NOW_MS)

    (agent,) = ledger.overview.agents()
    assert (True, "1.0") == (agent["status"]["online"], agent["status"]["version"])
    assert 3 == agent["health"]["windows"][0]["count"]
    assert 5 == ledger.overview.per_window()["hall-a", "w1"]["pressed"]


def test_the_largest_counts_can_still_be_added_up(ledger):
    """Three devices that claim 2**62 presses must not break the page."""
    windows = [WindowHealth("w1", "ready", device=f"D{n}", boot=1, count=2**62) for n in range(3)]
    ledger.intake.note_health("hall-a", Health(at_ms=1, epoch="e", windows=windows), NOW_MS)

    assert ledger.overview.per_window()["hall-a", "w1"]["pressed"] > 2**62


def test_quarantine_counts_what_comes_again_and_keeps_the_newest(ledger, monkeypatch):
    """A flood does not fill the disk: long messages are cut, old ones go."""
    monkeypatch.setattr("collector.ledger.intake._QUARANTINE_MAX", 3)
    for number in range(5):
        ledger.intake.quarantine("t", "why", b"%d" % number * 100_000, NOW_MS)
    ledger.intake.quarantine("t", "why", b"4" * 100_000, NOW_MS + 5)

    shown = ledger.overview.quarantined()
    assert ["34", "33", "32"] == [each["begins"][:2] for each in shown]
    assert (2, 100_000, NOW_MS + 5) == (shown[0]["times"], shown[0]["size"], shown[0]["last_ms"])
    assert 65536 == ledger.store.row("SELECT max(length(payload)) FROM quarantine")[0]


# ---- crashes


def test_a_power_cut_at_any_statement_leaves_all_of_a_batch_or_nothing(tmp_path):
    """And what is held is receipted, and the rest arrives with the next delivery, once.

    Red if take() commits in two steps, or if any row is written outside its transaction.
    """
    agent = Agent()
    agent.write(press(1, "i1"))
    agent.write(closing("i1", "C1"), *rated(2, button=2), b'{"kind":"mood"}', press(2, "i2"), press(9))

    def make(path: Path) -> Ledger:
        ledger = Ledger(path, directory_of(window()))
        ledger.take(agent, agent.batch(1, 1))
        return ledger

    expected = None
    for found in crashes(make, tmp_path, lambda ledger: ledger.take(agent, agent.batch(2, 7))):
        held = len(found.records())
        assert held in (1, 7)
        assert found.fates() == (["awaiting_closing"] if held == 1 else ["rated", "rated", "duplicate", "unsolicited"])

        assert receipt(agent, 7) == found.take(agent, agent.batch(2, 7))
        tables = found.store.tables()
        expected = expected or tables
        assert expected == tables
        assert agent.bodies == found.records()


def test_a_power_cut_while_cases_come_in_leaves_all_of_them_or_none(tmp_path):
    """The hall's business system was not answered and sends them again."""

    def make(path: Path) -> Ledger:
        ledger = Ledger(path, directory_of(window()))
        ledger.rate(1, 2, with_case=False)
        return ledger

    given_cases = [case("C1"), case("C2")]
    for found in crashes(make, tmp_path, lambda ledger: ledger.intake.take_cases(given_cases, NOW_MS)):
        assert set(found.states().values()) in ({"awaiting_case"}, {"due"})
        found.intake.take_cases(given_cases, NOW_MS)
        assert {"C1": "due", "C2": "due"} == found.states()


def test_a_key_map_that_was_undone_is_numbered_again(ledger):
    """Red if the number of an undone transaction is remembered."""
    agent = Agent()
    agent.write(*rated(1))

    with pytest.raises(RuntimeError), ledger.intake.together():
        ledger.take(agent, agent.batch(1, 2))
        raise RuntimeError
    ledger.take(agent, agent.batch(1, 2))

    assert [1] == [
        row[0] for row in ledger.store.rows("SELECT key_map.id FROM rating JOIN key_map ON key_map = key_map.id")
    ]


def test_nobodys_details_are_in_the_records(ledger):
    """The chain is for good and for everybody: details live beside it, where they can be deleted."""
    ledger.rate(1)
    kept = b"".join(ledger.records()).decode()

    assert [] == [detail for detail in PERSON.values() if detail in kept]


# ---- presses that may be from before


def test_a_press_that_may_be_from_before_is_kept_and_never_rated(ledger):
    """Neither at once nor when the closing comes nor when everything is asked again. Red if it waits for a closing."""
    agent = Agent()
    ledger.take(agent, agent.write(press(1, doubt="i1")))
    ledger.take(agent, agent.write(closing("i1", "C1")))
    row = ledger.store.row("SELECT fate, detail FROM press")

    assert ("undatable", "i1") == tuple(row)
    assert 0 == ledger.intake.cure(NOW_MS)
    assert ["undatable"] == ledger.fates()
    assert 0 == ledger.count("rating")


def test_a_press_from_before_leaves_its_invitation_to_the_next(ledger):
    """It takes no one's place: the press that was made for this invitation is its rating."""
    agent = Agent()
    ledger.take(agent, agent.write(press(1, doubt="i2", button=3), *rated(2)))

    assert ["undatable", "rated"] == ledger.fates()
    assert ["very_satisfied"] == [row["level"] for row in ledger.store.rows("SELECT level FROM rating")]


def test_a_restored_ledger_names_what_it_lacks_as_soon_as_the_agent_says_where_it_is(ledger):
    """The agent has nothing new to send: its health says how far it was receipted. Red if only a batch is looked at."""
    agent = Agent()
    agent.write(press(1), press(2), press(3))
    batch = agent.batch(1, 3)
    health = Health(at_ms=1, epoch=agent.epoch, windows=[], receipted=3, head=batch.head)
    ledger.intake.note_health(agent.name, health, NOW_MS)
    ledger.intake.note_health(agent.name, health, NOW_MS + 1)

    assert [(0, 3, NOW_MS)] == [tuple(row) for row in ledger.store.rows("SELECT after, upto, at_ms FROM gap")]
    ledger.take(agent, agent.write(press(4)))
    assert [4] == [row["seq"] for row in ledger.store.rows("SELECT seq FROM record")]
    assert [] == audit.verify(ledger.store.path).findings


def test_a_health_that_says_what_the_ledger_has_names_nothing(ledger):
    """As it is nearly always."""
    agent = Agent()
    ledger.take(agent, agent.write(press(1), press(2)))
    health = Health(at_ms=1, epoch=agent.epoch, windows=[], receipted=1, head="0" * 64)
    ledger.intake.note_health(agent.name, health, NOW_MS)

    assert [] == ledger.store.rows("SELECT * FROM gap")
