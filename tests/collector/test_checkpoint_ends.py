"""A checkpoint fixes what people did too: the steps of mendings, the draws, and the audit log; and whoever cuts off the
end of one of these chains, or makes one anew, is found by it."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import pytest

from collector import checkpoint as signing
from collector.ledger import acts, checkpoints
from collector.ledger.tally import day_of
from collector.mending.draws import Draws
from collector.mending.mendings import Mendings
from collector.people import People, open_people
from collector.people.file import File
from protocols import chain
from tests.collector.agents import NOW_MS
from tests.collector.ledgers import VAULT, Ledger, directory_of, unguard, window
from tests.collector.test_checkpoint import outcome, said, verified, written

DAY = day_of(NOW_MS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A ledger with two steps and two draws, an audit log of three lines, and a key."""
    (tmp_path / "directory.toml").write_text(window("agent-a"), "utf-8")
    (tmp_path / "collector.toml").write_text('[broker]\nhost = "127.0.0.1"\npassword = "x"\n[checkpoint]\n', "utf-8")
    assert 0 == said(tmp_path, "--new-key", str(tmp_path / "checkpoint.key")).exit_code
    more(tmp_path, 1)
    return tmp_path


def more(folder: Path, number: int) -> None:
    """Two steps, two draws and three lines more."""
    ledger = Ledger(folder / "ledger.db", directory_of(window("agent-a")))
    ledger.rate(number, button=2, name="agent-a")
    mendings, draws = Mendings(ledger.store, VAULT), Draws(ledger.store)
    for what, how, who in (("check", "founded", "李敏"), ("mend", "done", "李敏")):
        rating = ledger.store.row("SELECT max(id) FROM rating")[0]
        mendings.take(rating, what, how, "已摆放样本", who, mendings.found(rating).last, NOW_MS)
    for _ in range(2):
        draws.announce(DAY, DAY, "all", "", 1, "周审", "监督查评", NOW_MS)
    ledger.rate(number + 1000, name="agent-a")
    assert 2 == draws.make(NOW_MS)
    ledger.store.close()
    people = People(File(folder / "people.db"))
    for about in "abc":
        people.log.note("李敏", "parked_corrected", about, "10.0.0.7", NOW_MS)
    people.close()


def by_hand(file: Path, *statements: str) -> None:
    db = sqlite3.connect(file)
    unguard(db)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def acts_anew(folder: Path, table: str) -> None:
    """All hashes of this table are right again."""
    db = sqlite3.connect(folder / "ledger.db")
    before = acts.beginning(table)
    for number, *row in db.execute(f"SELECT id, {', '.join(acts.SAID[table])} FROM {table} ORDER BY id").fetchall():
        before = acts.following(before, row)
        db.execute(f"UPDATE {table} SET hash = ? WHERE id = ?", (before, number))
    db.commit()
    db.close()


def log_anew(folder: Path) -> None:
    """The same of the audit log, by the program itself: its lines again, the second one another."""
    people = People(File(folder / "people.db"))
    lines = people.log.lines(100)[::-1]
    people.close()
    (folder / "people.db").unlink()
    people = People(File(folder / "people.db"))
    for line in lines:
        people.log.note(line.who, line.action, "x" if line.n == 2 else line.about, line.address, line.at_ms)
    assert [] == people.log.verify().findings
    people.close()


def cut_log(folder: Path) -> None:
    by_hand(folder / "people.db", "DELETE FROM log WHERE n = 3")


def cut(*tables: str):
    return lambda folder: by_hand(
        folder / "ledger.db", *(f"DELETE FROM {table} WHERE id = (SELECT max(id) FROM {table})" for table in tables)
    )


def exchange(table: str, change: str):
    def attack(folder: Path) -> None:
        by_hand(folder / "ledger.db", f"UPDATE {table} SET {change} WHERE id = 1")
        acts_anew(folder, table)

    return attack


ATTACKS = {
    "the last step is cut off": (cut("step"), "步骤 steps: 只到第 1 行, 当时已有 2 行"),
    "all steps are cut off": (
        lambda folder: by_hand(folder / "ledger.db", "DELETE FROM step"),
        "步骤 steps: 只到第 0 行, 当时已有 2 行",
    ),
    "a step is another one's, all hashes made anew": (exchange("step", "who = '别人'"), "步骤 steps: 第 1–2 行"),
    "the last draw is cut off": (cut("drawn", "draw"), "抽查公告 draws: 只到第 1 行, 当时已有 2 行"),
    "what was drawn last is cut off": (cut("drawn"), "抽查结果 drawn: 只到第 1 行, 当时已有 2 行"),
    "why it was drawn is changed, all hashes made anew": (exchange("draw", "reason = 'x'"), "抽查公告 draws: 第 1–2"),
    "when it was drawn is changed, all hashes made anew": (exchange("drawn", "at_ms = 1"), "抽查结果 drawn: 第 1–2"),
    "the last line of the audit log is cut off": (cut_log, "审计日志 audit log: 只到第 2 行, 当时已有 3 行"),
    "a line is another one, all hashes made anew": (log_anew, "审计日志 audit log: 第 1–3 行"),
    "the people's file is gone": (lambda folder: (folder / "people.db").unlink(), "旁边没有人员文件 people.db"),
}


def damaged(folder: Path) -> Path:
    """The people's file is found damaged, is set aside by the program, and people go on; where it lies now."""
    whole = (folder / "people.db").read_bytes()
    (folder / "people.db").write_bytes(b"x" * 9000)
    people, aside = open_people(folder / "ledger.db", NOW_MS + sum(1 for _ in folder.glob("people.db.damaged-*")))
    for about in "defg":
        people.log.note("李敏", "parked_corrected", about, "10.0.0.7", NOW_MS)
    people.close()
    assert aside is not None
    aside.write_bytes(whole)  # damaged where nothing of the log lies
    return aside


def test_a_log_that_was_set_aside_is_looked_for_where_it_lies(folder):
    """Twice even. Red if a disk's damage has every checkpoint of before accuse an honest ledger for ever."""
    first = written(folder)
    damaged(folder)
    second = written(folder)
    damaged(folder)

    assert (0, True) == outcome(verified(folder, first, second, written(folder)), "3 个检查点")


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (lambda aside: aside.unlink(), "请放在旁边再核对: 没有此文件"),
        (lambda aside: aside.write_bytes(b"x" * 9000), "请放在旁边再核对: 那里读不了"),
        (lambda aside: by_hand(aside, "DELETE FROM log WHERE n = 3"), "那里没有当时的末行"),
    ],
)
def test_a_log_of_before_that_cannot_be_had_is_named_and_the_ledger_is_not_accused(folder, lost, words):
    """Whoever puts a new file there may say that the old one was damaged: it stays a finding, of the log."""
    file = written(folder)
    aside = damaged(folder)
    lost(aside)
    found = verified(folder, file)

    assert (1, True) == outcome(found, words)
    assert aside.name in found.output
    assert "the ledger is whole; the audit log beside it is not what a checkpoint says" in found.output
    assert "the ledger was changed" not in found.output


def test_a_line_of_a_log_leads_to_no_other_file(folder):
    """Red if the first line of an exchanged file can name any file that suits its owner."""
    file = written(folder)
    (folder / "people.db").replace(folder / "mine.db")
    people = People(File(folder / "people.db"))
    people.log.note("", "file_set_aside", "mine.db", "", NOW_MS)
    people.close()

    assert (1, True) == outcome(verified(folder, file), "审计日志 audit log: 只到第 1 行, 当时已有 3 行")


@pytest.mark.parametrize("change", ["at_ms = 9000000000000000000", "at_ms = 'x'", "about = x'00'"])
def test_a_line_that_nobody_wrote_ends_no_check(folder, change):
    """The first one, which says what was set aside. Red if the auditor reads no word of what is wrong."""
    file = written(folder)
    damaged(folder)
    by_hand(folder / "people.db", f"UPDATE log SET {change} WHERE n = 1")

    assert (1, True) == outcome(verified(folder, file), "审计日志 audit log: 第 1–3 行")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE stretch SET upto = 'x' WHERE n = 1", "记录 records"),
        ("INSERT INTO gap SELECT id, 'x', 'y', x'00', 0 FROM epoch", "缺口 gaps"),
        ("UPDATE draw SET first = 'x' WHERE id = 1", "抽查的公告与其哈希不符"),
        ("UPDATE draw SET last = 9223372036854775807 WHERE id = 1", "抽查的公告与其哈希不符"),
        ("UPDATE draw SET wanted = 1.5 WHERE id = 1", "抽查的公告与其哈希不符"),
        ("UPDATE draw SET stretch = x'00' WHERE id = 1", "抽查的公告与其哈希不符"),
    ],
)
def test_a_number_that_is_none_is_named_and_ends_no_check(folder, statement, words):
    """Red if whoever puts it there keeps an auditor from all other findings."""
    file = written(folder)
    by_hand(folder / "ledger.db", statement)

    assert (1, True) == outcome(verified(folder, file), words)


@pytest.mark.parametrize("what", ATTACKS)
def test_what_was_cut_off_or_exchanged_is_found_by_a_checkpoint(folder, what):
    """And by nothing else: each of these leaves chains that are whole in themselves."""
    attack, words = ATTACKS[what]
    file = written(folder)
    attack(folder)

    assert (0, True) == outcome(said(folder, command="verify"), "完好")
    assert (1, True) == outcome(verified(folder, file), words)


def test_a_checkpoint_holds_when_people_have_gone_on(folder):
    """Steps, draws and lines that came behind it; and words that were deleted when their time was over."""
    file = written(folder)
    more(folder, 2)
    by_hand(folder / "ledger.db", "UPDATE step SET words = NULL")

    assert (0, True) == outcome(verified(folder, file, written(folder)), "2 个检查点")


def test_a_checkpoint_of_a_program_before_stays_valid(folder):
    """It says nothing of these chains, and is held against nothing of them. Red if its missing lines are a fault."""
    (now,) = signing.read(written(folder).read_bytes(), signing.read_public(folder / "checkpoint.key.pub"))
    before = signing.read_key(folder / "checkpoint.key").signed(dataclasses.replace(now, ends=None))
    assert before.startswith("好差评账本检查点 hall-rating checkpoint 1\n".encode())
    assert b"steps" not in before
    (folder / "old.checkpoint").write_bytes(before)
    cut("step")(folder)

    assert (0, True) == outcome(verified(folder, folder / "old.checkpoint"), "1 个检查点")


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        ("people.db", "UPDATE log SET hash = 'x' WHERE n = 3"),
        ("ledger.db", "UPDATE step SET hash = 'x' WHERE id = 2"),
        ("ledger.db", "UPDATE stretch SET hash = 'x' WHERE n = (SELECT max(n) FROM stretch)"),
    ],
)
def test_a_chain_that_ends_with_text_is_found_hinders_its_checkpoint_and_ends_nothing(folder, file, statement):
    """Red if a collector ends with it, at each start again, and takes no press meanwhile."""
    before = written(folder)
    by_hand(folder / file, statement)
    ledger = Ledger(folder / "ledger.db", directory_of(window("agent-a")))
    daily = signing.Daily(ledger.store, folder / "checkpoint.key", folder / "others", lambda: NOW_MS)
    daily.look()
    ledger.store.close()

    assert file in daily.state()["trouble"]
    assert not (folder / "others").exists()
    assert (1, True) == outcome(verified(folder, before), "哈希")


def test_what_a_checkpoint_says_of_these_chains_is_what_each_ends_with(folder):
    """Number and hash of the last row of each, and of the last line of the log."""
    text = written(folder).read_text("utf-8")
    db = sqlite3.connect(folder / "ledger.db")
    (step,) = db.execute("SELECT hash FROM step WHERE id = 2").fetchone()
    db.close()
    people = People(File(folder / "people.db"))
    head = people.log.verify().head
    people.close()

    assert f"步骤 steps: 2 {step.hex()}\n" in text
    assert f"审计日志 log: 3 {head}\n" in text


def test_where_nobody_signs_in_and_nothing_is_mended_each_chain_is_at_its_beginning(tmp_path):
    """No people's file is made for a checkpoint."""
    ledger = Ledger(tmp_path / "ledger.db", directory_of(window("agent-a")))
    found = checkpoints.taken(ledger.store, signing.log_end(ledger.store.path), NOW_MS).ends
    ledger.store.close()

    assert checkpoints.End(0, acts.beginning("step").hex()) == found.step
    assert checkpoints.End(0, chain.PEOPLE.hex()) == found.people
    assert not (tmp_path / "people.db").exists()


def test_a_people_file_that_cannot_be_read_hinders_the_checkpoint_and_is_named(folder, caplog):
    """Red if the checkpoint then says that there never was a line."""
    (folder / "people.db").write_bytes(b"x" * 9000)
    ledger = Ledger(folder / "ledger.db", directory_of(window("agent-a")))
    daily = signing.Daily(ledger.store, folder / "checkpoint.key", folder / "checkpoints", lambda: NOW_MS)
    daily.look()
    ledger.store.close()

    assert "people.db" in daily.state()["trouble"]
    assert not (folder / "checkpoints").exists()
