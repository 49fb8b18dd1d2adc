"""What a disk has altered in a ledger: nothing of it is sent, nothing is made of it, and a start turns it back."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing as closing_of
from pathlib import Path

import pytest

from collector.ledger import audit, delivery, file, links, mend, pages
from collector.ledger.file import LedgerDamaged, LedgerMismatch
from collector.ledger.pages import PAGE, Sums
from collector.ledger.store import Store
from protocols.ratings import Accepted
from tests.collector.agents import NOW_MS, Agent, closing, press, rated
from tests.collector.ledgers import VAULT, Ledger, case, directory_of, window


@pytest.fixture
def closed(opened, tmp_path) -> Path:
    """A ledger with ratings, all of it in its file."""
    ledger = opened()
    ledger.rate(*range(1, 40))
    ledger.store.close()
    return ledger.path


OTHER_BODY = "CAST(substr(body, 1, 49) || iif(substr(body, 50, 1) = '+', '-', '+') || substr(body, 51) AS BLOB)"
"""Hidden details with one character that is another: any may have stood there."""


def altered(path: Path, *statements: str) -> None:
    """As a disk may alter a row: its sum stays what it was."""
    with closing_of(sqlite3.connect(path, isolation_level=None)) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            db.execute(statement)


def turn(path: Path, at: int, bit: int = 0) -> None:
    """Turn one bit of the file round."""
    with path.open("r+b") as whole:
        whole.seek(at)
        byte = whole.read(1)[0]
        whole.seek(at)
        whole.write(bytes([byte ^ 1 << bit]))


def where(path: Path, what: bytes) -> int:
    """Where these bytes stand in the file."""
    found = path.read_bytes().rindex(what)
    assert found > 0
    return found


def details_in(path: Path) -> bytes:
    """Bytes out of the middle of the first case's details, which are hidden."""
    with closing_of(sqlite3.connect(path)) as db:
        return db.execute("SELECT body FROM service_case ORDER BY case_no LIMIT 1").fetchone()[0][100:140]


# ---- what is sent, and what is made of a record


@pytest.mark.parametrize(
    "what",
    [
        "rating SET level = 'very_dissatisfied'",
        "rating SET pressed_ms = pressed_ms + 1",
        "rating SET case_no = 'C2' WHERE case_no = 'C1'",
        "rating SET number = '2号'",
        "rating SET clerk = '0043'",
        "rating SET count = count + 100",
        "rating SET id = id + 100",
        "rating SET sum = zeroblob(8)",
        f"service_case SET body = {OTHER_BODY}",
        "service_case SET body = CAST(body AS TEXT)",
        "service_case SET received_ms = received_ms + 1",
        "service_case SET sum = zeroblob(8)",
    ],
)
def test_nothing_altered_is_sent(ledger, what):
    """Not even looked at by the province. Red if the sums of the row and of its case are not asked."""
    ledger.rate(1, with_case=False)
    ledger.intake.take_cases([case("C1"), case("C2")], NOW_MS)
    altered(ledger.path, f"UPDATE {what}")

    with pytest.raises(LedgerDamaged, match="not sent"):
        ledger.delivery.next(NOW_MS, ())


def test_a_link_to_a_case_that_was_altered_is_not_sent(ledger):
    """Red if a link's sum is not asked for: the rating would go to another case."""
    agent = Agent()
    ledger.take(agent, agent.write(press(1, "i1"), closing("i1", None)))
    ledger.intake.take_cases([case("C1"), case("C2")], NOW_MS)
    ledger.desk.link(1, "C1", 1, "李敏", "x", NOW_MS)
    altered(ledger.path, "UPDATE case_link SET case_no = 'C2'")

    with pytest.raises(LedgerDamaged, match="not sent"):
        ledger.delivery.next(NOW_MS, ())


def test_a_rating_that_an_index_calls_due_and_is_not_is_not_sent(ledger):
    """Red if the row itself is not asked for its state."""
    read = (
        "SELECT rating.*, body, delivered_ms, service_case.sum AS case_sum, service_case.received_ms AS case_ms,"
        f" {links.ITS} FROM rating {links.JOINED} JOIN {links.CASE_JOINED}"
    )
    ledger.rate(1)
    row = ledger.store.row(read)
    assert delivery._due(row, VAULT)
    altered(ledger.path, "UPDATE rating SET state = 'accepted'")
    row = ledger.store.row(read)

    with pytest.raises(LedgerDamaged):
        delivery._due(row, VAULT)


@pytest.mark.parametrize("what", ["head = zeroblob(32)", "upto = upto + 1", "upto = upto - 1"])
def test_no_receipt_is_given_that_the_records_do_not_bear_out(ledger, what):
    """An agent deletes for it. Red if the epoch is believed."""
    agent = Agent()
    ledger.take(agent, agent.write(*rated(1)))
    altered(ledger.path, f"UPDATE epoch SET {what}")

    with pytest.raises(LedgerDamaged, match="last record"):
        ledger.take(agent, agent.write(*rated(2)))


@pytest.mark.parametrize("altered_record", [1, 2])
def test_nothing_is_made_of_a_record_that_is_not_what_was_taken(ledger, altered_record, caplog):
    """The press that waited, or the closing that came first. Red if the hash is not asked."""
    agent = Agent()
    if altered_record == 1:
        ledger.take(agent, agent.write(press(1, "i1")))
        altered(ledger.path, "UPDATE record SET body = CAST(replace(body, 'button\":1', 'button\":3') AS BLOB)")
        ledger.take(agent, agent.write(closing("i1", "C1")))
    else:
        ledger.take(agent, agent.write(closing("i1", "C1")))
        altered(ledger.path, "UPDATE record SET body = CAST(replace(body, 'C1', 'C2') AS BLOB)")
        ledger.take(agent, agent.write(press(1, "i1")))

    assert ["awaiting_closing"] == ledger.fates()
    assert "nothing is made of it" in caplog.text


def test_records_behind_a_gap_are_what_they_are(ledger):
    """Their hash goes on from the gap's head. Red if a missing record before one counts as damage."""
    agent = Agent()
    agent.write(*rated(1), press(2, "i2"))
    ledger.take(agent, agent.batch(3, 3))
    ledger.take(agent, agent.write(closing("i2", "C2")))

    assert ["rated"] == ledger.fates()


# ---- a start


@pytest.mark.parametrize("bit", range(8))
def test_a_bit_is_turned_back_and_the_ledger_says_so(closed, opened, tmp_path, bit):
    """In a case's details, which nothing else in the ledger bears out. Red if the pages are not looked at."""
    turn(closed, where(closed, details_in(closed)), bit)
    damaged = closed.read_bytes()
    ledger = opened()

    assert 39 == len(ledger.records()) // 2
    assert "13912345678" == ledger.delivery.next(NOW_MS, ()).case.mobile
    (said,) = audit.verify(closed).mendings
    assert damaged == (tmp_path / said.aside).read_bytes()
    assert [] == audit.verify(closed).findings


def test_where_there_is_no_room_to_set_the_damaged_file_aside_it_is_mended_all_the_same(closed, opened, monkeypatch):
    """And which bit it was is said. Red if the start fails for it."""

    def full(*_: object) -> Path:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(file, "set_aside", full)
    at = where(closed, details_in(closed))
    turn(closed, at)
    opened()

    (said,) = audit.verify(closed).mendings
    assert "" == said.aside
    assert f"byte {at % PAGE} of page {at // PAGE + 1}" in said.what


def test_a_page_that_another_program_wrote_is_no_damage(closed, opened, caplog):
    """A person with the sqlite3 command line: the ledger holds together, so it is taken as it is; once. Red if what no
    single bit explains stops the start."""
    altered(closed, "UPDATE rating SET words = 'looked at by a person'")
    opened().store.close()
    assert "another program" in caplog.text
    caplog.clear()
    ledger = opened()

    assert "" == caplog.text
    assert "looked at by a person" == ledger.store.row("SELECT words FROM rating")["words"]
    assert [] == audit.verify(closed).mendings


def test_rows_that_are_lost_are_not_passed_over(closed):
    """A whole page of records: no program may go on from there. Red if the deep look is left out."""
    lose(closed, "record")

    with pytest.raises(LedgerDamaged, match="restore"):
        Store(closed, sole=True)


def lose(path: Path, name: str) -> None:
    """Zeros over the last page of this table or index."""
    with closing_of(sqlite3.connect(path)) as db:
        (number,) = db.execute("SELECT max(pageno) FROM dbstat WHERE name = ?", (name,)).fetchone()
    with path.open("r+b") as whole:
        whole.seek((number - 1) * PAGE)
        whole.write(bytes(PAGE))


@pytest.mark.parametrize("index", ["rating_counts", "press_id", "sqlite_autoindex_rating_2"])
def test_an_index_that_is_lost_is_made_anew(closed, opened, tmp_path, index):
    """A whole page of it: every row is still there, and is written into a new file. Red if the start gives up."""
    lose(closed, index)
    damaged = closed.read_bytes()
    ledger = opened()

    (said,) = audit.verify(closed).mendings
    assert damaged == (tmp_path / said.aside).read_bytes()
    assert [] == audit.verify(closed).findings
    assert 39 == sum(state == "due" for state in ledger.states().values())
    ledger.rate(50, name="hall-b")
    ledger.store.close()
    assert mend.Looked([]) == mend.ready(closed, NOW_MS)


def test_a_file_of_before_put_back_is_taken_as_it_is(closed, opened, monkeypatch):
    """A person restored it and left the sums. Not every page is tried bit by bit. Red if each is: hours."""
    before, tried = closed.read_bytes(), []
    ledger = opened()
    ledger.rate(*range(50, 80), name="hall-b")
    ledger.store.close()
    closed.write_bytes(before)
    monkeypatch.setattr(mend, "_TURNED_MAX", 3)
    monkeypatch.setattr(mend, "turned_back", lambda *page: tried.append(page))
    opened().store.close()

    assert 3 == len(tried)
    assert [] == audit.verify(closed).mendings
    assert mend.Looked([]) == mend.ready(closed, NOW_MS)


def test_a_ledger_of_before_gets_its_sums(closed, opened):
    """An older program had none. Red if a bit that turns round later is not found."""
    file.sums_of(closed).unlink()
    opened().store.close()
    turn(closed, where(closed, details_in(closed)))
    ledger = opened()

    assert 1 == len(audit.verify(closed).mendings)
    assert "13912345678" == ledger.delivery.next(NOW_MS, ()).case.mobile


def test_sums_that_cannot_be_read_are_made_anew(closed, opened):
    """They lie on the same disk. Red if a ledger is refused for them."""
    file.sums_of(closed).write_bytes(b"rubbish")
    file.log_sums_of(closed).write_bytes(b"rubbish")
    opened().store.close()

    with closing_of(Sums(closed)) as sums:
        assert (True, closed.stat().st_size // PAGE) == (sums.complete, sums.pages)


def test_somebody_elses_database_gets_no_sums(tmp_path):
    """Nothing is laid beside it."""
    with closing_of(sqlite3.connect(tmp_path / "accounts.db")) as somebody:
        somebody.execute("CREATE TABLE account(id)")
    with pytest.raises(LedgerMismatch):
        Store(tmp_path / "accounts.db")

    assert not file.sums_of(tmp_path / "accounts.db").exists()


# ---- beside the work


def left(path: Path, folder: Path) -> Path:
    """What is on the disk if the process is killed now."""
    folder.mkdir()
    for each in path.parent.glob(f"{path.name}*"):
        if not each.name.endswith((".lock", "-shm")):
            shutil.copyfile(each, folder / each.name)
    return folder / path.name


@pytest.fixture
def large(closed, monkeypatch, tmp_path) -> Path:
    """A ledger that is too large to be looked into before the start, with a bit turned round in a page of cases."""
    monkeypatch.setattr(mend, "_FIRST_BYTES", 0)
    turn(closed, where(closed, details_in(closed)))
    return closed


def test_the_look_beside_the_work_finds_it_and_the_next_start_turns_it_back(large):
    """Red if the pages are not looked at, or if the next start does not look into all of them."""
    store, page = Store(large, sole=True), 1
    with pytest.raises(LedgerDamaged, match="page") as met:
        while page:
            page = store.look(page)
    file.suspect(large, str(met.value))
    store.close()
    Store(large, sole=True).close()

    assert 1 == len(audit.verify(large).mendings)
    assert not file.suspect_of(large).exists()


def test_the_look_finds_nothing_in_what_has_just_been_written(closed, opened):
    """Also where it is still in the log, or has been moved since. Red if a page in the log is held against the file."""
    store = Store(closed, sole=True)
    for at_ms in range(5):
        with store.writing() as db:
            db.execute("UPDATE rating SET next_ms = ?", (at_ms,))
        if at_ms == 2:
            store._move(store._pages)
        assert 0 == store.look(1)
    store.close()


def test_what_was_made_of_a_damaged_page_is_undone(large, tmp_path):
    """A commit that changes the page: its bit would be in the new one, with a right sum. Nobody is promised anything.
    Red if the page that is replaced is not looked at."""
    store = Store(large, sole=True)
    with pytest.raises(LedgerDamaged), store.writing() as db:
        db.execute("UPDATE service_case SET delivered_ms = 1")
    with pytest.raises(LedgerDamaged), store.writing():
        pytest.fail("nothing more is written")
    killed = left(large, tmp_path / "killed")
    file.suspect(killed, "met")
    again = Store(killed, sole=True)

    assert 0 == again.row("SELECT count(*) FROM service_case WHERE delivered_ms = 1")[0]
    details = [VAULT.show(*row) for row in again.rows("SELECT case_no, service_number, body FROM service_case")]
    assert 39 == sum(each.mobile == "13912345678" for each in details)
    again.close()
    store.close()


def test_what_cannot_be_mended_is_parked_for_a_person(ledger, opened):
    """Where no page explains it. Details that were altered may come again. Red if such a rating is met for ever."""
    ledger.rate(1, 2, 3)
    ledger.store.close()
    altered(
        ledger.path,
        "UPDATE rating SET level = 'satisfied' WHERE case_no = 'C1'",
        f"UPDATE service_case SET body = {OTHER_BODY} WHERE case_no = 'C2'",
    )
    again = opened()

    assert {"C1": "parked damaged", "C2": "parked case_damaged", "C3": "due"} == again.states()
    again.intake.take_cases([case("C1", area_code="370104"), case("C2")], NOW_MS)
    assert {"C1": "parked damaged", "C2": "due", "C3": "due"} == again.states()
    assert "C2" == again.delivery.next(NOW_MS, ()).case.case_no


# ---- one process or several


def test_two_that_share_a_ledger_leave_right_sums(tmp_path):
    """Each writes to the same log. Red if one sums up what it has written only."""
    directory = directory_of(window(), window("hall-b", "w1", "D2"))
    first, second = Ledger(tmp_path / "ledger.db", directory), Ledger(tmp_path / "ledger.db", directory)
    first.store.log_frames = second.store.log_frames = 20
    agents = (Agent("hall-a"), Agent("hall-b"))
    for number in range(1, 20):
        for ledger, agent, device in zip((first, second), agents, ("D1", "D2"), strict=True):
            ledger.take(agent, agent.write(*rated(number, device=device)))
    assert [0, 0] == [first.store.look(1), second.store.look(1)]
    first.store.close()
    second.store.close()

    assert mend.Looked([]) == mend.ready(tmp_path / "ledger.db", NOW_MS)


@pytest.mark.parametrize("at", range(31, 32 + 3 * 4120, 397))
def test_of_a_log_the_very_bit_is_turned_back(ledger, tmp_path, at):
    """The highest of a byte: SQLite's own sum often cannot tell where it was. Red without the sums of the frames."""
    ledger = Ledger(tmp_path / "own.db", ledger.directory, sole=True)
    ledger.rate(1, 2, 3)
    killed = left(ledger.path, tmp_path / "killed")
    log = file.log_of(killed)
    right = log.read_bytes()
    turn(log, at, 7)
    with closing_of(Sums(killed)) as sums:
        assert right == mend._Log.read(killed, sums).right
    ledger.store.close()


def test_a_log_that_nobody_moved_is_moved_with_its_sums(ledger, tmp_path):
    """Killed, with everything in the log. Red if the start lets SQLite move it first."""
    ledger.rate(1, 2, 3)
    killed = left(ledger.path, tmp_path / "killed")
    Store(killed, sole=True).close()

    with closing_of(Sums(killed)) as sums:
        count = killed.stat().st_size // PAGE
        raw = killed.read_bytes()
        made = [pages.sum_of(number, raw[(number - 1) * PAGE : number * PAGE]) for number in range(1, count + 1)]
        assert made == sums.of(1, count)


def test_a_process_that_forgets_to_close_leaves_the_log_where_it_is(tmp_path):
    """SQLite would move it without sums. Red if the connection goes with the store."""
    store = Store(tmp_path / "ledger.db", sole=True)
    store._owned.close()
    del store

    assert file.log_of(tmp_path / "ledger.db").stat().st_size > 0
    assert PAGE == (tmp_path / "ledger.db").stat().st_size


def test_a_rating_is_sent_once_after_all_that(closed, opened):
    """From the altered ledger to the province's word."""
    turn(closed, where(closed, details_in(closed)))
    ledger, sent = opened(), []
    while (due := ledger.delivery.next(NOW_MS, ())) is not None:
        ledger.delivery.end(due, "rating", ledger.delivery.begin(due, "rating", NOW_MS), Accepted(), NOW_MS)
        sent.append(due.case.case_no)

    assert sorted(f"C{number}" for number in range(1, 40)) == sorted(sent)
