"""Who changed what, and what finds it: every way that we could think of, as the table of docs/evidence.md has it.

An attacker owns the file. He may stop at the row that he changes, make the hashes of its epoch anew, those of the
ledger's own chain too, or build a whole new ledger that has never held anything else. The hall keeps its own heads and
the auditor a checkpoint, both from before.
"""

from __future__ import annotations

import random
import re
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from collector.ledger import audit, checkpoints
from collector.ledger.audit import Head
from collector.ledger.checkpoints import Checkpoint
from protocols import chain
from protocols.messages import PressRecord, decode_record, encode_record
from protocols.ratings import Accepted
from tests.brokers import ROOT
from tests.collector.agents import NOW_MS, Agent, closing, press, rated
from tests.collector.ledgers import Ledger, case, directory_of, unguard, window

EVIDENCE = (ROOT / "docs" / "evidence.md").read_text("utf-8")
DEVICES = {"hall-a": "D1", "hall-b": "D2"}

NO_LINES = checkpoints.End(0, chain.PEOPLE.hex())


@dataclass(frozen=True)
class Taken:
    """One stretch: whose, its records, and when."""

    agent: str
    epoch: str
    bodies: tuple[bytes, ...]
    at_ms: int


@dataclass
class Before:
    """The ledger as it truly was, and what others kept of it."""

    path: Path
    taken: list[Taken]
    heads: list[Head]
    checkpoint: Checkpoint
    chance: random.Random

    def some(self) -> int:
        """A stretch with a rated press in it, neither the first nor the last of its agent."""
        return self.chance.randrange(2, len(self.taken) - 2)


def directory():
    return directory_of(window(), window("hall-b", "w1", "D2"))


def build(path: Path, taken: list[Taken]) -> list[Head]:
    """A ledger that took exactly these, in this order, and the heads of its halls; one rating in three is accepted."""
    ledger = Ledger(path, directory())
    agents: dict[str, Agent] = {}
    for each in taken:
        agent = agents.setdefault(each.epoch, Agent(each.agent, each.epoch))
        ledger.take(agent, agent.write(*each.bodies), each.at_ms)
    numbers = [row["case_no"] for row in ledger.store.rows("SELECT case_no FROM rating WHERE case_no IS NOT NULL")]
    ledger.intake.take_cases([case(number) for number in numbers if int(number[1:]) % 3 == 0], NOW_MS)
    while due := ledger.delivery.next(NOW_MS, ()):
        ledger.delivery.end(due, "rating", ledger.delivery.begin(due, "rating", NOW_MS), Accepted(), NOW_MS)
    ledger.store.close()
    return [
        Head(agent.name, epoch, "2027-01-15", len(agent.bodies), agent.heads[-1].hex())
        for epoch, agent in agents.items()
    ]


@pytest.fixture(scope="module", params=[1, 2, 3], ids=lambda seed: f"seed{seed}")
def built(request, tmp_path_factory) -> Before:
    """Once for all attacks: each has a copy."""
    path = tmp_path_factory.mktemp("built") / "ledger.db"
    chance = random.Random(request.param)
    epochs = {name: f"00000000-0000-4000-8000-00000000000{at}" for at, name in enumerate(DEVICES)}
    taken = []
    for number in range(1, 25):
        name = list(DEVICES)[number % 2]
        records = rated(number, device=DEVICES[name], button=chance.choice([1, 2, 3]))
        records.append(closing(f"u{number}", f"U{number}", outcome="expired"))
        taken.append(Taken(name, epochs[name], tuple(map(encode_record, records)), NOW_MS + number * 1000))
    heads = build(path, taken)
    ledger = Ledger(path, directory())
    checkpoint = checkpoints.taken(ledger.store, NO_LINES, NOW_MS + 100_000)
    ledger.store.close()
    return Before(path, taken, heads, checkpoint, chance)


@pytest.fixture
def before(built, tmp_path) -> Before:
    for each in built.path.parent.glob("ledger.db*"):
        shutil.copyfile(each, tmp_path / each.name)
    chance = random.Random()
    chance.setstate(built.chance.getstate())
    return replace(built, path=tmp_path / "ledger.db", chance=chance)


# ---- what an attacker does


def by_hand(before: Before, *statements: str) -> None:
    """In the rows alone, the triggers taken away first."""
    db = sqlite3.connect(before.path)
    unguard(db)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def epochs_anew(before: Before) -> None:
    """All hashes of every epoch are right again."""
    db = sqlite3.connect(before.path)
    for number, agent, epoch in db.execute("SELECT id, agent, epoch FROM epoch").fetchall():
        rows = db.execute("SELECT seq, body FROM record WHERE epoch_id = ? ORDER BY seq", (number,)).fetchall()
        heads = chain.heads(chain.genesis(agent, epoch), [body for _, body in rows])
        for (seq, _), head in zip(rows, heads, strict=True):
            db.execute("UPDATE record SET hash = ? WHERE epoch_id = ? AND seq = ?", (head, number, seq))
        db.execute("UPDATE epoch SET upto = ?, head = ? WHERE id = ?", (len(rows), heads[-1], number))
    db.commit()
    db.close()


def stretches_anew(before: Before) -> None:
    """The ledger's own chain follows from what is there now."""
    db = sqlite3.connect(before.path)
    last = chain.LEDGER
    rows = db.execute(
        "SELECT n, epoch, first, stretch.upto, at_ms, record.hash FROM stretch"
        " JOIN epoch ON epoch.id = stretch.epoch_id"
        " LEFT JOIN record ON record.epoch_id = epoch.id AND record.seq = stretch.upto ORDER BY n"
    ).fetchall()
    for n, epoch, first, upto, at_ms, head in rows:
        last = chain.stretch(last, epoch, first, upto, head, at_ms)
        db.execute("UPDATE stretch SET head = ?, hash = ? WHERE n = ?", (head, last, n))
    db.commit()
    db.close()


def new_ledger(before: Before, taken: list[Taken]) -> None:
    """Another file altogether that took these and nothing else, under the old one's name: nothing contradicts."""
    db = sqlite3.connect(before.path)
    name = db.execute("SELECT id FROM identity").fetchone()[0]
    db.close()
    for each in before.path.parent.glob("ledger.db*"):
        each.unlink()
    build(before.path, taken)
    by_hand(before, f"UPDATE identity SET id = '{name}'")


def with_another_level(body: bytes) -> bytes:
    """The same press of another button."""
    record = decode_record(body)
    assert isinstance(record, PressRecord)
    return encode_record(press(**{name: getattr(record, name) for name in record.__struct_fields__} | {
        "button": 1 if record.button != 1 else 3}))  # fmt: skip


def changed(before: Before) -> tuple[str, Taken, int, int]:
    """A statement that changes a record; its stretch as it becomes, which one that is, and its press's number."""
    at = before.some()
    each = before.taken[at]
    other = with_another_level(each.bodies[0])
    seq = 1 + sum(len(earlier.bodies) for earlier in before.taken[:at] if earlier.epoch == each.epoch)
    statement = f"UPDATE record SET body = x'{other.hex()}' WHERE seq = {seq} AND epoch_id = {_number(before, each)}"
    return statement, replace(each, bodies=(other, *each.bodies[1:])), at, seq


def _number(before: Before, each: Taken) -> int:
    db = sqlite3.connect(before.path)
    number = db.execute("SELECT id FROM epoch WHERE epoch = ?", (each.epoch,)).fetchone()[0]
    db.close()
    return number


def change(before: Before) -> None:
    by_hand(before, changed(before)[0])


def change_epoch(before: Before) -> None:
    by_hand(before, changed(before)[0])
    epochs_anew(before)


def change_both(before: Before) -> None:
    by_hand(before, changed(before)[0])
    epochs_anew(before)
    stretches_anew(before)


def change_all(before: Before) -> None:
    _, other, at, _ = changed(before)
    new_ledger(before, [*before.taken[:at], other, *before.taken[at + 1 :]])


def remove(before: Before) -> None:
    by_hand(before, f"DELETE FROM record WHERE epoch_id = 1 AND seq = {before.chance.randrange(1, 25)}")


def remove_for_a_gap(before: Before) -> None:
    """The record goes, and the ledger says that it never came."""
    db = sqlite3.connect(before.path)
    seq = before.chance.randrange(2, 12) * 3 - 2
    (head,) = db.execute("SELECT hex(hash) FROM record WHERE epoch_id = 1 AND seq = ?", (seq,)).fetchone()
    db.close()
    by_hand(
        before,
        f"DELETE FROM record WHERE epoch_id = 1 AND seq = {seq}",
        f"INSERT INTO gap VALUES (1, {seq - 1}, {seq}, x'{head}', {NOW_MS + 500})",
        f"DELETE FROM rating WHERE press = (SELECT id FROM press WHERE epoch_id = 1 AND seq = {seq})",
        f"DELETE FROM press WHERE epoch_id = 1 AND seq = {seq}",
    )


def remove_all(before: Before) -> None:
    at = before.some()
    new_ledger(before, [*before.taken[:at], *before.taken[at + 1 :]])


def insert(before: Before) -> None:
    by_hand(before, "INSERT INTO record SELECT epoch_id, seq + 1, body, hash, received_ms FROM record WHERE seq = 36")


def insert_all(before: Before) -> None:
    at = before.some()
    each = before.taken[at]
    forged = tuple(map(encode_record, rated(900, device=DEVICES[each.agent])))
    new_ledger(before, [*before.taken[:at], replace(each, bodies=forged), *before.taken[at:]])


def append_all(before: Before) -> None:
    forged = tuple(map(encode_record, rated(900)))
    new_ledger(before, [*before.taken, replace(before.taken[0], bodies=forged, at_ms=NOW_MS + 50_000)])


def swap_records(before: Before) -> None:
    seq = before.chance.randrange(2, 20)
    by_hand(
        before,
        f"UPDATE record SET seq = 99 WHERE epoch_id = 1 AND seq = {seq}",
        f"UPDATE record SET seq = {seq} WHERE epoch_id = 1 AND seq = {seq + 1}",
        f"UPDATE record SET seq = {seq + 1} WHERE epoch_id = 1 AND seq = 99",
    )


def swap_stretches(before: Before) -> None:
    n = before.some()
    by_hand(
        before,
        f"UPDATE stretch SET n = 99 WHERE n = {n}",
        f"UPDATE stretch SET n = {n} WHERE n = {n + 1}",
        f"UPDATE stretch SET n = {n + 1} WHERE n = 99",
    )


def swap_both(before: Before) -> None:
    swap_stretches(before)
    stretches_anew(before)


def swap_all(before: Before) -> None:
    at = before.some()
    one, other = before.taken[at], before.taken[at + 1]
    new_ledger(
        before,
        [*before.taken[:at], replace(other, at_ms=one.at_ms), replace(one, at_ms=other.at_ms), *before.taken[at + 2 :]],
    )


def when(before: Before) -> None:
    by_hand(before, f"UPDATE stretch SET at_ms = at_ms - 60000 WHERE n = {before.some()}")


def when_both(before: Before) -> None:
    when(before)
    stretches_anew(before)


def when_came(before: Before) -> None:
    by_hand(before, f"UPDATE record SET received_ms = received_ms - 60000 WHERE seq = {before.some()}")


def when_all(before: Before) -> None:
    at = before.some()
    new_ledger(before, [replace(each, at_ms=each.at_ms - 60_000 * (i < at)) for i, each in enumerate(before.taken)])


def remove_agent(before: Before) -> None:
    by_hand(before, "DELETE FROM record WHERE epoch_id = 2", "DELETE FROM epoch WHERE id = 2")


def remove_agent_both(before: Before) -> None:
    """With its stretches, and the numbers and hashes of the others made anew; what was made of its records stays."""
    remove_agent(before)
    by_hand(
        before,
        "DELETE FROM stretch WHERE epoch_id = 2",
        "CREATE TABLE kept AS SELECT row_number() OVER (ORDER BY n) AS n, epoch_id, first, upto, head, at_ms, hash"
        " FROM stretch",
        "DELETE FROM stretch",
        "INSERT INTO stretch SELECT * FROM kept",
        "DROP TABLE kept",
    )
    stretches_anew(before)


def remove_agent_all(before: Before) -> None:
    new_ledger(before, [each for each in before.taken if each.agent == "hall-a"])


def cut(before: Before) -> None:
    by_hand(before, "DELETE FROM record WHERE epoch_id = 1 AND seq = 36", "DELETE FROM stretch WHERE n = 24")


def cut_all(before: Before) -> None:
    """What a restored backup is too."""
    new_ledger(before, before.taken[: before.some()])


def level(before: Before) -> None:
    by_hand(
        before,
        "UPDATE rating SET level = CASE level WHEN 'very_satisfied' THEN 'dissatisfied' ELSE 'very_satisfied' END,"
        f" bad = NOT bad WHERE id = {before.some()}",
    )


def clerk(before: Before) -> None:
    by_hand(before, f"UPDATE rating SET clerk = '0042' WHERE id = {before.some()}")


def forget_call(before: Before) -> None:
    by_hand(before, "DELETE FROM attempt WHERE id = 2")


def closings(before: Before) -> None:
    by_hand(before, "DELETE FROM closing WHERE invitation NOT IN (SELECT once FROM rating)")


def rename(before: Before) -> None:
    by_hand(before, "UPDATE identity SET id = lower(hex(randomblob(16)))")


# What finds it: verify, the halls' heads, a checkpoint. The words are those of the page for auditors.
ATTACKS: dict[str, tuple[Callable[[Before], None], tuple[bool, bool, bool]]] = {
    "改一条记录 changes a record": (change, (True, False, False)),
    "…并重算该存档的哈希 and makes that outbox's hashes anew": (change_epoch, (True, True, False)),
    "…并重算账本链 and the ledger's chain too": (change_both, (True, True, True)),
    "…并重做整个账本 and makes the whole ledger anew": (change_all, (False, True, True)),
    "删一条记录 removes a record": (remove, (True, False, False)),
    "…并写成缺口 and calls it a gap": (remove_for_a_gap, (True, False, True)),
    "…并重做整个账本 and makes the whole ledger anew, without it": (remove_all, (False, True, True)),
    "插一条记录 inserts a record": (insert, (True, False, False)),
    "…在中间, 并重做整个账本 in between, the whole ledger anew": (insert_all, (False, True, True)),
    "…在末尾, 并重做整个账本 at the end, the whole ledger anew": (append_all, (False, False, False)),
    "调换两条记录 swaps two records": (swap_records, (True, False, False)),
    "调换两段 swaps two stretches": (swap_stretches, (True, False, False)),
    "…并重算账本链 and makes the ledger's chain anew": (swap_both, (False, False, True)),
    "…并重做整个账本 and makes the whole ledger anew, so ordered": (swap_all, (False, False, True)),
    "改一段的时间 changes when a stretch came": (when, (True, False, False)),
    "…并重算账本链 and makes the chain anew": (when_both, (True, False, True)),
    "改记录的收到时间 changes when a record came": (when_came, (True, False, False)),
    "…并重做整个账本 and makes the whole ledger anew, so dated": (when_all, (False, False, True)),
    "删去一个代理 removes an agent with its records": (remove_agent, (True, True, False)),
    "…并重算账本链 and makes the chain of the others anew": (remove_agent_both, (True, True, True)),
    "…并重做整个账本 and makes the whole ledger anew, without that agent": (remove_agent_all, (False, True, True)),
    "截去末尾 cuts the end off": (cut, (True, True, True)),
    "…各处一致, 或恢复旧备份 everywhere, or restores an old backup": (cut_all, (False, True, True)),
    "改一条评价的满意度 changes a rating's level": (level, (True, False, True)),
    "改一条评价的窗口人员 changes a rating's clerk": (clerk, (True, False, False)),
    "删去一次发送记录 removes the note of a call": (forget_call, (True, False, False)),
    "删去没有评价的终结 removes closings that nobody rated": (closings, (True, False, False)),
    "换账本编号 gives the ledger another name": (rename, (False, False, True)),
}


def found_by(before: Before) -> tuple[bool, bool, bool]:
    return (
        bool(audit.verify(before.path).findings),
        bool(audit.compared(before.path, before.heads)),
        checkpoints.compared(before.path, [before.checkpoint], lambda line: NO_LINES) != [[]],
    )


def test_where_nobody_did_anything_nothing_is_found(before):
    assert (False, False, False) == found_by(before)


def test_a_ledger_made_anew_of_the_same_is_the_same(before):
    """The attacker's tool is a good one: what it makes differs only in what he changed."""
    new_ledger(before, before.taken)

    assert (False, False, False) == found_by(before)


@pytest.mark.parametrize("what", ATTACKS)
def test_it_is_found_by_what_the_page_says(before, what):
    """For three ledgers of chance."""
    attack, expected = ATTACKS[what]
    attack(before)
    found = found_by(before)

    assert expected == found


def test_the_page_for_auditors_has_this_table():
    """Line by line, in this order: ✓ found, – not."""
    rows = re.findall(r"^\| (.+?) \| ([✓–]) \| ([✓–]) \| ([✓–]) \|$", EVIDENCE, flags=re.MULTILINE)
    marks = {True: "✓", False: "–"}

    assert [(what, *(marks[each] for each in expected)) for what, (_, expected) in ATTACKS.items()] == rows
