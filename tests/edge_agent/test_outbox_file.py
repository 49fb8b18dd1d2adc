"""The outbox's file, damaged in every way that a disk knows: never trusted, never lost, and the work goes on."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from edge_agent.outbox import Outbox, OutboxFull, rows
from edge_agent.outbox.file import OutboxMismatch, is_damage
from edge_agent.outbox.writer import Writer
from protocols.messages import SalvageRecord, decode_record
from protocols.wal import log_is_cut

from .hall import AGENT, an_id, answers, at, drain, held, invitation, keep, look, power_cut, press, presses

PAGE = 4096
FRAME = PAGE + 24


@pytest.fixture
def closed(opened, tmp_path) -> Path:
    """A file of 300 records that was closed in good order: no log beside it."""
    box = opened(tmp_path / "hall" / "outbox.db") if (tmp_path / "hall").mkdir() is None else None
    for first in range(0, 300, 50):
        keep(box, at(first), *(press(first + each) for each in range(50)))
    box.close()
    return box.path


@pytest.fixture
def cut(opened, tmp_path) -> Path:
    """A file as a power cut leaves it: all twenty presses are still in the log."""
    box = opened(tmp_path / "running.db")
    for number in range(20):
        keep(box, at(number), press(number))
    return power_cut(box.path, tmp_path / "cut")


def garbage_header(file: Path) -> None:
    overwrite(file, 0, bytes(range(100)))


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2 + 100])


def a_few_bytes(file: Path) -> None:
    file.write_bytes(b"$PRESS")


def zeros(file: Path) -> None:
    overwrite(file, 0, bytes(file.stat().st_size))


def page_of_noise(file: Path) -> None:
    overwrite(file, 3 * PAGE, Random(3).randbytes(PAGE))


def index_of_noise(file: Path) -> None:
    """The records are whole; what finds a press that was seen is not."""
    [(page,)] = look(file, "SELECT rootpage FROM sqlite_master WHERE name = 'seen_press'")
    overwrite(file, (page - 1) * PAGE, Random(3).randbytes(PAGE))


def no_tables(file: Path) -> None:
    change(file, "DROP TABLE epoch")


def no_owner(file: Path) -> None:
    change(file, "DELETE FROM epoch")


def no_tip(file: Path) -> None:
    change(file, "DELETE FROM tip")


def text_that_is_none(file: Path) -> None:
    change(file, "UPDATE epoch SET agent = CAST(x'ff80' AS TEXT)")


DAMAGES = [
    garbage_header,
    truncated,
    a_few_bytes,
    zeros,
    page_of_noise,
    index_of_noise,
    no_tables,
    no_owner,
    no_tip,
    text_that_is_none,
]


def overwrite(file: Path, where: int, with_what: bytes) -> None:
    with file.open("r+b") as raw:
        raw.seek(where)
        raw.write(with_what)


def change(file: Path, sql: str) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.execute(sql)
        db.commit()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_set_aside_and_the_work_goes_on(closed, opened, damage):
    """Every byte of it is kept, under a name that says so; a new epoch begins.

    Red if damage() finds nothing, and at index_of_noise without quick_check.
    """
    epoch = look(closed, "SELECT epoch FROM epoch")[0][0]
    damage(closed)
    broken = closed.read_bytes()
    box = opened(closed)

    assert broken == box.set_aside.read_bytes()
    assert box.set_aside.name.startswith("outbox.db.damaged-")
    assert epoch != box.epoch
    assert 1 == keep(box, at(0), press(1_000))
    saved = held(box)
    box.close()
    again = opened(closed)

    assert (None, box.epoch, saved) == (again.set_aside, again.epoch, held(again))
    assert [box.set_aside] == again.damaged_files()


SAVED = {garbage_header: 300, truncated: 0, a_few_bytes: 0, zeros: 0, page_of_noise: 250, text_that_is_none: 299}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_can_be_read_of_a_damaged_file_goes_on_its_way(closed, opened, damage):
    """Each record as it was, once, behind a record that names what cannot be read. Red without the salvage."""
    with closing(opened(closed)) as whole:
        written = {record["body"] for record in whole.records()}
        epoch = whole.epoch
    damage(closed)
    box = opened(closed)
    [said, *saved] = box.records()
    told = decode_record(said["body"].encode())

    assert isinstance(told, SalvageRecord)
    assert SAVED.get(damage, 300) <= len(saved) == len({each["body"] for each in saved})
    assert written >= {each["body"] for each in saved}
    assert 0 == sum(each["kind"] != "press" for each in saved)
    assert len(saved) == box.waiting("3")
    if len(saved) > 200:
        assert 300 == len(saved) + sum(last - first + 1 for first, last in told.lost)
        assert epoch == told.epoch or damage in (garbage_header, no_tables, no_owner)
    assert 1 + len(saved) == drain(box)


def test_a_salvage_that_was_broken_off_is_made_at_the_next_start(closed, opened, monkeypatch):
    """The power goes after the file was set aside, or the disk is full: nothing is forgotten. Red if tried once."""
    monkeypatch.setattr("edge_agent.outbox.salvage._second_name", no_room)
    page_of_noise(closed)
    with closing(opened(closed)) as box:
        assert box.set_aside is not None
        assert [] == held(box)
    monkeypatch.undo()

    saved = len(presses(opened(closed)))
    assert 250 <= saved <= 300
    assert saved == len(presses(opened(closed)))


def test_a_full_disk_does_not_keep_the_agent_from_starting(closed, opened, monkeypatch):
    """The salvage has no room: it waits for the next start, and today's presses are taken. Red if it raises."""

    def full(*_: object) -> None:
        raise OutboxFull("no room")

    page_of_noise(closed)
    monkeypatch.setattr(Writer, "append", full)
    with closing(opened(closed)) as box:
        assert [] == held(box)
    monkeypatch.undo()

    assert 250 <= len(presses(opened(closed)))


def no_room(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_an_open_invitation_is_asked_on(closed, opened):
    """The citizen stands there: the press still answers it, and what was seen is not kept again."""
    with closing(opened(closed)) as box:
        box.open_invitation(invitation(1, at(300)))
    with closing(sqlite3.connect(closed)) as db:
        [number] = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'daily_head'").fetchone()
    overwrite(closed, (number - 1) * PAGE, Random(1).randbytes(PAGE))
    box = opened(closed)

    assert box.set_aside is not None
    assert 0 == keep(box, at(301), press(3, age_ms=301))
    assert 1 == keep(box, at(400), press(1_000))
    assert "answered" == box.invitation(an_id(1)).state


def test_a_schema_that_is_no_text_any_more_is_damage(closed, opened):
    """SQLite's own words about it cannot be read then. Red if only its errors are caught: the agent never starts."""
    raw = closed.read_bytes()
    closed.write_bytes(raw.replace(b"CREATE TABLE epoch(agent", b"CREATE T\xe9BLE epoch(agent", 1))
    box = opened(closed)

    assert box.set_aside is not None
    assert 300 == len(presses(box))


def test_a_damaged_file_is_set_aside_with_its_log(opened, tmp_path):
    """As it was: looking at it must not write the log into it. Red if the look may write, or the log stays behind."""
    running = opened(tmp_path / "running.db")
    keep(running, at(0), *(press(number) for number in range(300)))
    look(running.path, "PRAGMA wal_checkpoint")
    keep(running, at(1), press(300))
    file = power_cut(running.path, tmp_path / "cut")
    overwrite(file, 10 * PAGE, Random(3).randbytes(PAGE))
    whole, log = file.read_bytes(), log_of(file).read_bytes()
    box = opened(file)

    assert whole == box.set_aside.read_bytes()
    assert log == log_of(box.set_aside).read_bytes()
    assert 301 - 40 <= len(presses(box)) <= 301


def test_a_log_without_its_file_is_set_aside(cut, opened):
    """SQLite would throw it away, and twenty presses with it. Also if the file is there but empty."""
    log = log_of(cut).read_bytes()
    cut.unlink()
    box = opened(cut)

    assert log == log_of(box.set_aside).read_bytes()
    assert 20 == len(presses(box))


def test_an_empty_file_is_begun_again(tmp_path, opened):
    """A crash at the very first start leaves one: nothing is lost, nothing is set aside."""
    (tmp_path / "outbox.db").touch()
    box = opened()

    assert box.set_aside is None
    assert 1 == keep(box, at(0), press(1))


# ---- the log


def log_of(file: Path) -> Path:
    return file.with_name(file.name + "-wal")


def test_a_log_that_a_power_cut_left_is_whole(cut, opened):
    """All twenty presses come out of it."""
    assert not log_is_cut(log_of(cut).read_bytes())
    box = opened(cut)

    assert box.set_aside is None
    assert 20 == len(presses(box))


@pytest.mark.parametrize("lost", [1, 100, FRAME, 2 * FRAME + 7])
def test_the_last_commit_may_be_half_written(cut, opened, lost):
    """The power went while it was on its way: it was never promised, and all before it is there."""
    log = log_of(cut)
    log.write_bytes(log.read_bytes()[:-lost])
    box = opened(cut)

    assert box.set_aside is None
    assert 19 == len(presses(box))
    assert box.first_break() is None


def test_the_last_commit_may_have_reached_the_disk_out_of_order(cut, opened):
    """Its end is written, its beginning is not: still a power cut. Red if one commit behind a wrong frame is damage."""
    log = log_of(cut)
    raw = log.read_bytes()
    commits = [at for at in range(32, len(raw), FRAME) if raw[at + 4 : at + 8] != bytes(4)]
    overwrite(log, commits[-2] + FRAME + 24, bytes(PAGE))
    box = opened(cut)

    assert box.set_aside is None
    assert 19 == len(presses(box))


@pytest.mark.parametrize("where", [0, 9, 17, 25, 32 + 4, 32 + 25, 32 + FRAME + 20, 32 + 5 * FRAME + 2000])
def test_a_damaged_log_is_not_passed_over_in_silence(cut, opened, where):
    """SQLite would go on without all that follows: presses that were acknowledged. Red if the log is not looked at."""
    log = log_of(cut)
    byte = log.read_bytes()[where]
    overwrite(log, where, bytes([byte ^ 0x10]))
    broken = log.read_bytes()
    box = opened(cut)

    assert box.set_aside is not None
    assert broken == log_of(box.set_aside).read_bytes()
    assert 20 == len(presses(box))


@pytest.mark.parametrize("seed", range(40))
def test_a_single_flipped_bit_is_noticed_wherever_it_is(cut, seed):
    """In the last commit too, where half a write would be no damage. Red without the look at single bits."""
    rng, raw = Random(seed), bytearray(log_of(cut).read_bytes())
    where = rng.choice(
        (rng.randrange(len(raw)), rng.randrange(len(raw) - 2 * FRAME, len(raw)), len(raw) - FRAME + seed % 24)
    )
    raw[where] ^= 1 << rng.randrange(8)

    assert log_is_cut(bytes(raw))


def test_what_an_earlier_cut_left_behind_is_no_commit(cut, opened):
    """Two cuts one after the other: of the first a commit without its beginning, of the second half a frame. Red if
    every frame with the log's own marks counts."""
    whole = log_of(cut).read_bytes()
    box = opened(cut)
    keep(box, at(30), *(press(number) for number in range(30, 50)))
    longer = log_of(cut).read_bytes()
    stale = longer[len(whole) :]
    box.close()
    assert len(stale) > 2 * FRAME
    half = whole[-FRAME:-100] + Random(1).randbytes(100)  # the commit of another transaction, torn
    left = whole + half + stale[FRAME:] + stale[-FRAME:]

    assert not log_is_cut(left)


def test_a_log_that_was_begun_anew_is_whole(opened, tmp_path):
    """Behind its end lie frames of its life before: no damage."""
    box = opened(tmp_path / "running.db")
    for number in range(300):
        keep(box, at(number), press(number))
        if number % 100 == 99:
            look(box.path, "PRAGMA wal_checkpoint")
    keep(box, at(300), press(300))
    path = power_cut(box.path, tmp_path / "cut")
    raw = log_of(path).read_bytes()
    salts = {raw[at + 8 : at + 16] for at in range(32, len(raw) - 24, FRAME)}

    assert len(salts) > 1
    assert not log_is_cut(raw)
    assert 301 == len(presses(opened(path)))


# ---- any bit


@pytest.mark.parametrize("seed", range(6))
def test_no_flipped_bit_changes_a_record_unseen(closed, opened, tmp_path, seed):
    """Twenty places each: whatever is flipped, the records are as they were written, or the file is set aside.

    Red without the look at the chain, or without quick_check.
    """
    rng = Random(seed)
    written = look(closed, "SELECT body, sum FROM record")
    whole = closed.read_bytes()
    for number in range(20):
        file = tmp_path / f"{number}.db"
        shutil.copy(closed, file)
        where = rng.randrange(len(whole))
        overwrite(file, where, bytes([whole[where] ^ 1 << rng.randrange(8)]))
        box = opened(file)
        if box.set_aside is None:
            assert written == look(file, "SELECT body, sum FROM record"), f"--seed {seed} at {where}"
            box.due()
        assert 1 == keep(box, at(0), press(1_000))


def test_damage_that_shows_while_it_is_used_is_set_aside_too(closed, opened):
    """A disk can go bad under a running program."""
    box = opened(closed)
    box.condemn(5)

    assert "outbox.db.damaged-5" == box.set_aside.name
    assert 300 == look(box.set_aside, "SELECT count(*) FROM record")[0][0]
    assert 300 <= len(held(opened(closed)))


@pytest.mark.parametrize(
    ("error", "damaged"),
    [
        (sqlite3.DatabaseError("chain broken"), True),
        (sqlite3.ProgrammingError("closed"), False),
        (sqlite3.IntegrityError("unique"), False),
        (ValueError("x"), False),
    ],
)
def test_only_damage_is_damage(error, damaged):
    """Our own bugs must not set a whole file aside."""
    assert damaged == is_damage(error)


def test_a_locked_file_is_not_damaged(closed, monkeypatch):
    """Somebody else's trouble: it is said, and the file stays."""
    monkeypatch.setattr("edge_agent.outbox.file._BUSY_S", 0.01)
    with closing(sqlite3.connect(closed, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")

        with pytest.raises(sqlite3.OperationalError, match="locked"):
            Outbox(closed, AGENT, 0)
    assert [closed] == list(closed.parent.glob("outbox.db*"))


# ---- of an older program


def test_an_outbox_of_the_first_form_goes_on(tmp_path, opened):
    """Written by the program before: its records, in its chain, its invitations and what it has seen. Red if any is
    lost on the way, or the file is set aside."""
    with closing(sqlite3.connect(tmp_path / "outbox.db")) as db:
        db.executescript((Path(__file__).parent / "outbox_1.sql").read_text())
        epoch, tip = (
            db.execute("SELECT epoch FROM epoch").fetchone()[0],
            db.execute("SELECT head FROM tip").fetchone()[0],
        )
        bodies = [row[0].decode() for row in db.execute("SELECT body FROM record ORDER BY seq")]
    box = opened(tmp_path / "outbox.db")

    assert (None, epoch, tip.hex()) == (box.set_aside, box.epoch, box.tip()[1])
    assert bodies == [record["body"] for record in box.records()]
    assert (3, 4, None) == (box.waiting("3"), box.backlog().records, box.first_break())
    assert ["answered", "answered", "open"] == [box.invitation(an_id(number)).state for number in (1, 2, 3)]
    assert 0 == keep(box, at(106_000), press(3, age_ms=1_000))
    assert 1 == keep(box, at(86_500_000), press(6))
    assert 5 == drain(box)
    assert 1 == len(look(box.path, "SELECT * FROM daily_head"))


def test_an_outbox_of_the_second_form_goes_on(tmp_path, opened):
    """The same; and every row has its sum from now on."""
    with closing(sqlite3.connect(tmp_path / "outbox.db")) as db:
        db.executescript((Path(__file__).parent / "outbox_2.sql").read_text())
        epoch, head = db.execute("SELECT epoch, lower(hex(head)) FROM epoch, tip").fetchone()
    with pytest.raises(OutboxMismatch, match="older program"):
        opened(look_only=True)
    box = opened(tmp_path / "outbox.db")

    assert (None, epoch, head) == (box.set_aside, box.epoch, box.tip()[1])
    assert (3, 4, None) == (box.waiting("3"), box.backlog().records, box.first_break())
    assert ["answered", "answered", "open"] == [box.invitation(an_id(number)).state for number in (1, 2, 3)]
    assert ["case-1", "case-2", "case-3"] == [box.invitation(an_id(number)).case_no for number in (1, 2, 3)]
    assert 0 == keep(box, at(106_000), press(3, age_ms=1_000))
    assert 1 == keep(box, at(86_500_000), press(6))
    assert [("outbox.db.damaged-1", 1)] == look(box.path, "SELECT file, whole FROM rescued")
    assert 5 == drain(box)
    assert ["2026-09-21", "2026-09-22"] == [head["day"] for head in box.heads()]
    box.close()

    assert opened(tmp_path / "outbox.db").set_aside is None


def test_a_damaged_one_of_the_second_form_is_set_aside_and_salvaged(tmp_path, opened):
    """Red if its rows are looked for with sums that it does not have."""
    with closing(sqlite3.connect(tmp_path / "outbox.db")) as db:
        db.executescript((Path(__file__).parent / "outbox_2.sql").read_text())
        db.execute("UPDATE tip SET head = zeroblob(32)")
        db.commit()
    box = opened(tmp_path / "outbox.db")
    [told, *saved] = held(box)

    assert box.set_aside is not None
    assert ([], 4) == (told.lost, len(saved))
    assert ["answered", "answered", "open"] == [box.invitation(an_id(number)).state for number in (1, 2, 3)]
    assert 0 == keep(box, at(106_000), press(3, age_ms=1_000))
    assert ["2026-09-21"] == [head["day"] for head in box.heads()][:1]


def test_a_damaged_one_of_the_first_form_is_set_aside_and_salvaged(tmp_path, opened):
    """What follows from the hash before it goes on; the last record, which was changed, is named."""
    with closing(sqlite3.connect(tmp_path / "outbox.db")) as db:
        db.executescript((Path(__file__).parent / "outbox_1.sql").read_text())
        db.execute("UPDATE record SET body = x'7b7d' WHERE seq = (SELECT max(seq) FROM record)")
        db.commit()
    box = opened(tmp_path / "outbox.db")
    [told, *saved] = held(box)

    assert box.set_aside is not None
    assert [(told.last, told.last)] == told.lost
    assert told.last - told.first == len(saved) == 3
    assert "open" == box.invitation(an_id(3)).state


# ---- not ours


def by_another_agent(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db:
        [epoch, created_ms] = db.execute("SELECT epoch, created_ms FROM epoch").fetchone()
        db.execute(
            "UPDATE epoch SET agent = 'hall-pc-3', sum = ?", (rows.sum_of_row("epoch", "hall-pc-3", epoch, created_ms),)
        )
        db.commit()


def by_a_newer_program(file: Path) -> None:
    change(file, "PRAGMA user_version = 4")
    change(file, f"PRAGMA application_id = {0x48520004}")


def by_another_program(file: Path) -> None:
    file.unlink()
    change(file, "CREATE TABLE bookmark(url TEXT)")


@pytest.mark.parametrize("made", [by_another_agent, by_a_newer_program, by_another_program])
def test_a_file_that_is_not_ours_is_left_alone(closed, opened, made: Callable[[Path], None]):
    """Not a byte of it changes: not its journal mode, not its tables. Red if it is opened before it is looked into."""
    made(closed)
    before = closed.read_bytes()

    with pytest.raises(OutboxMismatch, match="outbox"):
        opened(closed)
    assert before == closed.read_bytes()
    assert [] == list(closed.parent.glob("*damaged*"))


def test_who_only_looks_changes_nothing(cut, opened):
    """`outbox status` beside a stopped agent: the log is not written into the file. Red if it is opened to write."""
    before = (cut.read_bytes(), log_of(cut).read_bytes())
    box = opened(cut, look_only=True)
    assert 20 == len(presses(box))
    assert box.first_break() is None
    box.close()

    assert before == (cut.read_bytes(), log_of(cut).read_bytes())


def test_who_only_looks_does_not_set_aside(closed, opened):
    """A damaged file is an error, and stays where it is."""
    garbage_header(closed)

    with pytest.raises(sqlite3.DatabaseError):
        opened(closed, look_only=True)
    assert [] == list(closed.parent.glob("*damaged*"))


def test_who_only_looks_sees_a_running_agent(box, opened):
    """And does not hold it up."""
    box.open_invitation(invitation(1, at(0)))
    keep(box, at(1), press(1))
    looking = opened(look_only=True)

    assert answers(box) == answers(looking)
    assert 1 == keep(box, at(2), press(2))
