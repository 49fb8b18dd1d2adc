"""Whatever is changed in a ledger, by whoever, with whatever tool: verify finds it and says which record."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import pytest

from collector.ledger import audit
from collector.ledger.audit import Gap
from collector.ledger.file import LedgerMismatch
from collector.ledger.store import Store
from protocols import chain
from protocols.messages import encode_record
from protocols.ratings import Accepted
from tests.collector.agents import NOW_MS, Agent, closing, press, rated
from tests.collector.ledgers import Ledger, case, directory_of, made_older, unguard, window


def grown(path: Path) -> tuple[Ledger, Agent, Agent]:
    """A ledger of two agents: ratings good and bad, sent and waiting, a repeat, a duplicate, a record unknown."""
    ledger = Ledger(path, directory_of(window(), window("hall-b", "w1", "D2")))
    first, second = Agent(), Agent("hall-b")
    ledger.take(
        first,
        first.write(
            *rated(1),
            *rated(2, button=2),
            press(3, "i2"),  # repeat
            press(2, "i2"),  # duplicate
            press(4),  # unsolicited
            b'{"kind":"mood"}',
            b'{"kind":"press","odd":1}',
            press(5, "i5"),  # awaiting
        ),
    )
    ledger.take(second, second.write(*rated(11, device="D2"), *rated(12, device="D2", button=3)))
    ledger.intake.take_cases([case("C1"), case("C2")], NOW_MS)
    due = ledger.delivery.next(NOW_MS, ())
    ledger.delivery.end(due, "rating", ledger.delivery.begin(due, "rating", NOW_MS), Accepted(), NOW_MS)
    return ledger, first, second


@pytest.fixture
def whole(tmp_path):
    ledger, first, second = grown(tmp_path / "ledger.db")
    yield ledger, first, second
    ledger.store.close()


def forge(path: Path, *statements: str | tuple) -> None:
    """Somebody with the sqlite3 command line who takes the triggers away first."""
    somebody = sqlite3.connect(path)
    unguard(somebody)
    for statement in statements:
        somebody.execute(*([statement] if isinstance(statement, str) else statement))
    somebody.commit()
    somebody.close()


def test_a_whole_ledger_is_found_whole(whole):
    """Everything counted, nothing found; unknown and unreadable records too."""
    found = audit.verify(whole[0].path)

    assert [] == found.findings
    assert (2, 10 + 4, 4, []) == (found.epochs, found.records, found.ratings, found.gaps)


def rehashed(path: Path, agent: Agent, seq: int, body: bytes) -> list[tuple]:
    """A change by somebody who knows about the chain: all hashes from there on are made anew."""
    bodies = [*agent.bodies]
    bodies[seq - 1] = body
    heads = chain.heads(agent.heads[0], bodies)
    where = "WHERE epoch_id = (SELECT id FROM epoch WHERE epoch = ?) AND seq = ?"
    return [
        (f"UPDATE record SET body = ? {where}", (body, agent.epoch, seq)),
        *((f"UPDATE record SET hash = ? {where}", (head, agent.epoch, at)) for at, head in enumerate(heads, 1)),
        ("UPDATE epoch SET head = ? WHERE epoch = ?", (heads[-1], agent.epoch)),
    ]


RECORDS: dict[str, tuple[str, int]] = {
    "a body": ("UPDATE record SET body = replace(body, '\"button\":2', '\"button\":1') WHERE epoch_id=1 AND seq=3", 3),
    "a body, as text": ("UPDATE record SET body = 'x' WHERE epoch_id = 1 AND seq = 3", 3),
    "a body, as a number": ("UPDATE record SET body = 7 WHERE epoch_id = 1 AND seq = 3", 3),
    "one byte": ("UPDATE record SET body = body || x'20' WHERE epoch_id = 1 AND seq = 10", 10),
    "a hash": ("UPDATE record SET hash = zeroblob(32) WHERE epoch_id = 1 AND seq = 5", 5),
    "the last hash": ("UPDATE record SET hash = zeroblob(32) WHERE epoch_id = 1 AND seq = 10", 10),
    "removed first": ("DELETE FROM record WHERE epoch_id = 1 AND seq = 1", 1),
    "removed inside": ("DELETE FROM record WHERE epoch_id = 1 AND seq = 5", 5),
    "removed last": ("DELETE FROM record WHERE epoch_id = 1 AND seq = 10", 10),
    "removed all": ("DELETE FROM record WHERE epoch_id = 1", 1),
    "inserted": ("INSERT INTO record SELECT 1, 11, body, hash, 1 FROM record WHERE epoch_id = 1 AND seq = 4", 11),
    "the end moved": ("UPDATE epoch SET upto = 9 WHERE id = 1", 11),
    "the head": ("UPDATE epoch SET head = zeroblob(32) WHERE id = 1", 11),
    "another agent": ("UPDATE epoch SET agent = 'hall-c' WHERE id = 1", 1),
    "another epoch": ("UPDATE epoch SET epoch = '00000000-0000-0000-0000-000000000000' WHERE id = 1", 1),
}


@pytest.mark.parametrize("what", RECORDS)
def test_a_changed_record_is_found_and_named(whole, what):
    """Changed, removed, inserted, moved: the first record that is not as it was written."""
    statement, seq = RECORDS[what]
    forge(whole[0].path, statement)
    found = audit.verify(whole[0].path)

    assert seq in [finding.seq for finding in found.findings if finding.agent.startswith("hall")]


STRETCHES = {
    "a head": "UPDATE stretch SET head = zeroblob(32) WHERE n = 1",
    "a time": "UPDATE stretch SET at_ms = at_ms + 1 WHERE n = 1",
    "its hash": "UPDATE stretch SET hash = zeroblob(32) WHERE n = 1",
    "another epoch": "UPDATE stretch SET epoch_id = 2 WHERE n = 1",
    "where it begins": "UPDATE stretch SET first = first + 1 WHERE n = 1",
    "removed first": "DELETE FROM stretch WHERE n = 1",
    "removed last": "DELETE FROM stretch WHERE n = (SELECT max(n) FROM stretch)",
    "removed all": "DELETE FROM stretch",
    "one more": "INSERT INTO stretch SELECT n + 100, epoch_id, first, upto, head, at_ms, hash FROM stretch WHERE n = 1",
}


@pytest.mark.parametrize("what", STRETCHES)
def test_a_change_in_the_ledgers_own_chain_is_found(whole, what):
    """The chain over all agents: what was taken, when, and in which order."""
    forge(whole[0].path, STRETCHES[what])

    assert audit.verify(whole[0].path).findings


def test_whoever_makes_an_agents_chain_anew_meets_the_ledgers(whole):
    """All hashes of an epoch are right again, and the stretches still say what was taken. Red without them."""
    ledger, agent = whole[0], whole[1]
    forge(ledger.path, *rehashed(ledger.path, agent, 3, agent.bodies[2].replace(b'"button":2', b'"button":1')))

    assert any("账本链" in finding.what for finding in audit.verify(ledger.path).findings)


def test_records_that_changed_places_are_found(whole):
    """Reordered with their hashes."""
    forge(
        whole[0].path,
        "UPDATE record SET seq = 99 WHERE epoch_id = 1 AND seq = 3",
        "UPDATE record SET seq = 3 WHERE epoch_id = 1 AND seq = 4",
        "UPDATE record SET seq = 4 WHERE epoch_id = 1 AND seq = 99",
    )

    assert 3 == audit.verify(whole[0].path).findings[0].seq


def test_records_of_one_agent_cannot_be_given_to_another(whole):
    """The chain begins with agent and epoch."""
    forge(whole[0].path, "DELETE FROM record WHERE epoch_id = 2", "UPDATE record SET epoch_id = 2")

    assert {"hall-a", "hall-b"} <= {finding.agent for finding in audit.verify(whole[0].path).findings}


def test_every_changed_record_is_named_and_no_other(whole):
    """Two changes far apart are two findings. Red if the first one hides the second, or drags all that follow along."""
    forge(
        whole[0].path,
        "UPDATE record SET body = x'00' WHERE epoch_id = 1 AND seq IN (2, 8)",
    )
    chained = [finding for finding in audit.verify(whole[0].path).findings if "hash" in finding.what]

    assert [(whole[1].epoch, 2), (whole[1].epoch, 8)] == [(finding.epoch, finding.seq) for finding in chained]


def test_who_makes_the_whole_chain_anew_is_found_by_what_was_made_of_the_record(whole):
    """A dissatisfied press turned into a satisfied one with all hashes right: the rating tells."""
    ledger, agent, _ = whole
    forge(ledger.path, *rehashed(ledger.path, agent, 3, encode_record(press(2, "i2", button=1))))

    found = audit.verify(ledger.path).findings
    assert {3} == {finding.seq for finding in found if "账本链" not in finding.what}


MEANINGS: dict[str, str] = {
    "a level": "UPDATE rating SET level = 'very_satisfied' WHERE case_no = 'C2'",
    "a level and its map": "UPDATE rating SET level = 'very_satisfied', bad = 0, key_map = 99 WHERE case_no = 'C2'",
    "no longer bad": "UPDATE rating SET bad = 0 WHERE case_no = 'C2'",
    "a key map": 'UPDATE key_map SET keys = \'{"1":"very_satisfied","2":"satisfied"}\' WHERE device = \'D1\'',
    "another device's map": "UPDATE rating SET key_map = 2 WHERE case_no = 'C2'",
    "a time": "UPDATE rating SET pressed_ms = pressed_ms - 180000 WHERE case_no = 'C2'",
    "a case": "UPDATE rating SET case_no = 'C9' WHERE case_no = 'C2'",
    "a service": "UPDATE rating SET service_number = 2 WHERE case_no = 'C2'",
    "a press": "UPDATE rating SET count = 77 WHERE case_no = 'C2'",
    "a boot": "UPDATE rating SET boot = 77 WHERE case_no = 'C2'",
    "another press": "UPDATE rating SET press = (SELECT id FROM press WHERE seq = 7) WHERE case_no = 'C2'",
    "a press from nowhere": "UPDATE rating SET press = 999 WHERE case_no = 'C2'",
    "a rating removed": "DELETE FROM rating WHERE case_no = 'C2'",
    "a rating invented": "INSERT INTO rating SELECT 99, 999, 'x', level, bad, device, boot, count, hall, number, agent,"
    " window, pressed_ms, channel, 'i99', 'C99', 1, clerk, state, reason, words, tries, next_ms, duplicate, flagged,"
    " key_map, made_ms, settled_ms, tags, text, sum, '', 0 FROM rating WHERE case_no = 'C2'",
    "a rating called accepted": "UPDATE rating SET state = 'accepted' WHERE case_no = 'C1'",
    "a call forgotten": "DELETE FROM attempt",
    "a press removed": "DELETE FROM press WHERE seq = 7",
    "a bad press and its rating removed": "DELETE FROM press WHERE seq = 3 AND epoch_id = 1",
    "called undatable": "UPDATE press SET fate = 'undatable' WHERE seq = 10",
    "called unsolicited": "UPDATE press SET fate = 'unsolicited' WHERE seq = 10",
    "called repeat": "UPDATE press SET fate = 'repeat' WHERE seq = 10",
    "called duplicate": "UPDATE press SET fate = 'duplicate' WHERE seq = 10",
    "called rated": "UPDATE press SET fate = 'rated' WHERE seq = 10",
    "not called rated": "UPDATE press SET fate = 'repeat' WHERE seq = 3 AND epoch_id = 1",
    "another window": "UPDATE press SET window = 'w9' WHERE seq = 7",
    "another closing": "UPDATE closing SET seq = 2 WHERE invitation = 'i2'",
    "a closing removed": "DELETE FROM closing WHERE invitation = 'i2'",
    "an epoch removed": "DELETE FROM epoch WHERE id = 2",
    "the place of a record beyond all numbers": "UPDATE press SET seq = 9223372036854775807 - seq WHERE epoch_id = 2",
    "a button beyond all numbers": "UPDATE key_map SET keys = json_object(replace(hex(zeroblob(2500)), '0', '1'), 1)",
    "a count beyond all numbers": "UPDATE kind_count SET records = 9223372036854775807 WHERE kind = 'press'",
}


@pytest.mark.parametrize("what", MEANINGS)
def test_a_changed_meaning_is_found(whole, what):
    """What became of a record is checked against the record. Red if one of the checks is left out."""
    forge(whole[0].path, MEANINGS[what])

    assert audit.verify(whole[0].path).findings


# What no record says: where the window is, by the directory of that moment, and when the rating was made.
TOLD = {"hall": "'another'", "number": "'99'", "channel": "'window_screen'", "made_ms": "made_ms + 1", "sum": "x'00'"}


@pytest.mark.parametrize("column", TOLD)
def test_what_only_a_ratings_own_sum_says_is_checked_too(whole, column):
    """Red without the sum: no record knows these."""
    forge(whole[0].path, f"UPDATE rating SET {column} = {TOLD[column]} WHERE id = (SELECT max(id) FROM rating)")
    found = audit.verify(whole[0].path).findings

    assert ["评价与其校验值不符 / a rating differs from its sum"] == [finding.what for finding in found]


CLOSINGS = {
    "one that nobody rated, removed": "DELETE FROM closing WHERE invitation = 'i9'",
    "another outcome": "UPDATE closing SET outcome = 'expired' WHERE invitation = 'i9'",
    "another day": "UPDATE closing SET closed_ms = closed_ms - 86400000 WHERE invitation = 'i9'",
    "another window": "UPDATE closing SET window = 'w9' WHERE invitation = 'i9'",
    "another agent": "UPDATE closing SET agent = 'hall-b' WHERE invitation = 'i9'",
    "the later of two": "UPDATE closing SET (seq, outcome) = (3, 'declined') WHERE invitation = 'i9'",
    "invented": "INSERT INTO closing SELECT 'i10', epoch_id, seq, agent, window, outcome, closed_ms FROM closing"
    " WHERE invitation = 'i9'",
}


@pytest.mark.parametrize("what", CLOSINGS)
def test_a_changed_closing_that_no_rating_speaks_of_is_found(whole, what):
    """Coverage counts these rows: fewer closings, and a window that asks nobody looks diligent. Red without `closings`,
    each of them."""
    ledger, *_ = whole
    agent = Agent("hall-c")
    ledger.take(agent, agent.write(closing("i9", "C9"), press(20), closing("i9", "C9", outcome="declined")))
    assert [] == audit.verify(ledger.path).findings
    forge(ledger.path, CLOSINGS[what])

    assert {"hall-c"} <= {finding.agent for finding in audit.verify(ledger.path).findings}


def test_a_closing_that_came_again_from_a_damaged_outbox_is_no_finding(whole):
    """It stands in two epochs, word for word, and counts once."""
    ledger, first, _ = whole
    again = Agent("hall-a")
    ledger.take(again, again.write(*first.bodies[:4]))

    assert [] == audit.verify(ledger.path).findings


def test_an_invitation_with_a_zero_in_it_is_no_finding(whole):
    """An agent of somebody else's may call it so. Red if the table is asked in JSON, which ends there."""
    ledger, *_ = whole
    agent = Agent("hall-c")
    ledger.take(agent, agent.write(closing("i\0", "C9"), closing("i\0x", "C10")))

    assert [] == audit.verify(ledger.path).findings


def test_a_closing_given_to_another_agent_that_said_the_same_is_found(whole):
    """Two agents closed one invitation at once: the one that came first keeps it. Red if either may."""
    ledger, *_ = whole
    first, second = Agent("hall-c"), Agent("hall-d")
    ledger.take(first, first.write(closing("i9", "C9")))
    ledger.take(second, second.write(closing("i9", "C9")))
    assert [] == audit.verify(ledger.path).findings
    forge(
        ledger.path,
        "UPDATE closing SET (epoch_id, agent) = (SELECT id, agent FROM epoch WHERE agent = 'hall-d')"
        " WHERE invitation = 'i9'",
    )

    assert ["hall-c"] == [finding.agent for finding in audit.verify(ledger.path).findings]


def test_bytes_where_text_belongs_are_found_beside_all_others(whole):
    """What cannot be read with others at once is looked at one by one. Red if those are then taken for well."""
    forge(
        whole[0].path,
        "UPDATE rating SET hall = x'ff00' WHERE id = (SELECT max(id) FROM rating)",
        "UPDATE rating SET number = '99' WHERE id = (SELECT min(id) FROM rating)",
    )
    found = audit.verify(whole[0].path).findings

    assert ["评价与其校验值不符 / a rating differs from its sum"] * 2 == [finding.what for finding in found]


def test_a_rating_made_to_vanish_is_found_however_thoroughly(whole):
    """The worst rating of all, removed with its press: nothing became of its record."""
    forge(
        whole[0].path,
        "DELETE FROM rating WHERE level = 'very_dissatisfied'",
        "DELETE FROM press WHERE epoch_id = 2 AND seq = 3",
    )

    first, *counts = audit.verify(whole[0].path).findings
    assert ("hall-b", whole[2].epoch, 3) == (first.agent, first.epoch, first.seq)
    assert 3 == sum("计数" in finding.what for finding in counts)


def test_a_directory_put_right_later_makes_nothing_look_forged(tmp_path):
    """A rating is held against the key map of its time. Red if it is held against today's."""
    ledger, agent, _ = grown(tmp_path / "ledger.db")
    ledger.store.close()
    turned = Ledger(
        tmp_path / "ledger.db", directory_of(window(keys='{1 = "very_dissatisfied", 2 = "very_satisfied"}'))
    )
    turned.intake.cure(NOW_MS)
    turned.take(agent, agent.write(*rated(21)))
    turned.store.close()

    assert [] == audit.verify(tmp_path / "ledger.db").findings


def test_a_gap_is_named_and_is_no_finding(whole):
    """The ledger itself says that it lacks these; nobody changed anything."""
    ledger, _, _ = whole
    agent = Agent("hall-c")
    for number in range(1, 6):
        agent.write(*rated(number + 50, boot=9))
    ledger.take(agent, agent.batch(3, 4))
    ledger.take(agent, agent.batch(9, 10))
    found = audit.verify(ledger.path)

    assert [Gap("hall-c", agent.epoch, 1, 2), Gap("hall-c", agent.epoch, 5, 8)] == found.gaps
    assert [] == found.findings


def before_stretches(path: Path) -> None:
    """As a program of version 2 has left it: no chain of its own, no name, no guards."""
    db = sqlite3.connect(path)
    made_older(db)
    db.close()
    forge(path, "DROP TABLE stretch", "DROP TABLE loss", "PRAGMA user_version = 2")


def test_a_gap_of_before_the_ledgers_own_chain_is_no_change(tmp_path):
    """What an older program took, at several moments and with a gap, becomes one stretch of its epoch. Red if that had
    to hold each of its records, as other stretches have to."""
    ledger = Ledger(tmp_path / "ledger.db", directory_of(window()))
    agent = Agent()
    for number in range(1, 7):
        agent.write(*rated(number))
    ledger.take(agent, agent.batch(1, 4), NOW_MS)
    ledger.take(agent, agent.batch(9, 12), NOW_MS + 5000)
    ledger.store.close()
    before_stretches(tmp_path / "ledger.db")
    as_it_lies = audit.verify(tmp_path / "ledger.db")
    Store(tmp_path / "ledger.db").close()
    brought_up = audit.verify(tmp_path / "ledger.db")

    assert ([], []) == (as_it_lies.findings, brought_up.findings)
    assert [Gap("hall-a", agent.epoch, 5, 8)] == brought_up.gaps
    forge(tmp_path / "ledger.db", f"UPDATE gap SET at_ms = {NOW_MS - 1}")
    assert audit.verify(tmp_path / "ledger.db").findings


@pytest.mark.alone
def test_it_reads_beside_a_collector_that_is_writing(tmp_path):
    """One moment of the ledger each time: never a finding, and whoever writes goes on meanwhile."""
    ledger, agent, _ = grown(tmp_path / "ledger.db")
    done = threading.Event()

    def write() -> None:
        number = 100
        while not done.is_set():
            number += 1
            ledger.take(agent, agent.write(*rated(number)))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        found = [audit.verify(tmp_path / "ledger.db") for _ in range(30)]
    finally:
        done.set()
        writer.join()
    ledger.store.close()

    assert [] == [each.findings for each in found if each.findings]
    assert found[0].records < found[-1].records


def test_a_file_that_is_no_ledger_is_named(tmp_path):
    """Another database, and a file that is none."""
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE t(x)")
    other.close()
    (tmp_path / "text.db").write_text("no database at all " * 100)

    with pytest.raises(LedgerMismatch):
        audit.verify(tmp_path / "other.db")
    with pytest.raises(sqlite3.DatabaseError):
        audit.verify(tmp_path / "text.db")


def test_a_path_with_odd_characters_is_found(tmp_path):
    folder = tmp_path / "a b?c#d%20"
    folder.mkdir()
    ledger, _, _ = grown(folder / "ledger.db")
    ledger.store.close()

    assert 14 == audit.verify(folder / "ledger.db").records


def test_a_ruined_ledger_does_not_flood_the_screen(tmp_path):
    """A hundred findings of a kind are enough."""
    ledger = Ledger(tmp_path / "ledger.db", directory_of(window()))
    agent = Agent()
    ledger.take(agent, agent.write(*(record for number in range(1, 400) for record in rated(number))))
    ledger.store.close()
    forge(tmp_path / "ledger.db", "UPDATE record SET body = x'00', hash = zeroblob(32)")
    began_s = time.monotonic()

    assert 100 < len(audit.verify(tmp_path / "ledger.db").findings) < 1000
    assert time.monotonic() - began_s < 5
