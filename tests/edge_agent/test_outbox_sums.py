"""The outbox's rows: what was altered on the disk is known for damage, is not used, and never reaches the chain."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge_agent.outbox import Outbox, Settled
from edge_agent.outbox.file import OutboxMismatch
from edge_agent.outbox.rescue import _Rescued

from .hall import (
    AGENT,
    an_id,
    at,
    closings,
    drain,
    held,
    invitation,
    keep,
    look,
    power_cut,
    press,
    presses,
    receipt_for,
)

DAY_MS = 86_400_000

# In the row of one table each: a citizen's case, which press it was, what was let go of, the hall's own evidence.
ALTERED = [
    "UPDATE invitation_row SET case_no = 'case-7' WHERE n = 2",
    "UPDATE invitation_row SET service_number = 3 WHERE n = 2",
    "UPDATE invitation_row SET clerk = '0043' WHERE n = 2",
    "UPDATE invitation_row SET opened_ms = opened_ms - 1024 WHERE n = 2",
    "UPDATE invitation_row SET mono_ms = mono_ms - 1024 WHERE n = 2",
    "UPDATE invitation_row SET seconds = 31 WHERE n = 2",
    "UPDATE invitation_row SET synced = 1 WHERE n = 2",
    "UPDATE invitation_row SET host = 77 WHERE n = 2",
    "UPDATE invitation_row SET state = 'expired' WHERE n = 2",
    "UPDATE invitation_row SET n = 9 WHERE n = 2",
    "UPDATE invitation_row SET press = 'D0217-1-9' WHERE n = 1",
    "UPDATE invitation_row SET closed_ms = closed_ms + 4 WHERE n = 1",
    "UPDATE invitation_row SET sum = zeroblob(8) WHERE n = 1",
    "UPDATE seen_row SET count = 6 WHERE count = 2",
    "UPDATE seen_row SET button = 5 WHERE count = 2",
    "UPDATE seen_row SET mono_ms = mono_ms + 65536 WHERE count = 2",
    "UPDATE seen_row SET device = 'D0216' WHERE count = 2",
    "UPDATE seen_row SET id = 900 WHERE count = 2",
    "UPDATE name SET text = 'pc-3' WHERE text = 'pc-1'",
    "UPDATE record SET window = (SELECT n FROM name WHERE text = 'pc-1') WHERE seq = 3",
    "UPDATE record SET press = 0 WHERE seq = 3",
    """UPDATE tip SET waiting = '{"3": 9}'""",
    "UPDATE tip SET at_ms = at_ms + 1",
    "UPDATE receipted SET head = zeroblob(32)",
    "UPDATE receipted SET seq = 0",
    "UPDATE epoch SET epoch = replace(epoch, '-', '_')",
    "UPDATE epoch SET created_ms = 1",
    "UPDATE daily_head SET head = zeroblob(32)",
    "UPDATE daily_head SET seq = 9",
    "UPDATE rescued SET file = 'outbox.db.damaged-2'",
    "UPDATE rescued SET whole = 0",
    "UPDATE promised SET seconds = 31",
    "UPDATE promised SET n = 1",
]


@pytest.fixture
def file(opened, tmp_path) -> Path:
    """Closed in good order: an answered invitation and an open one, five presses, a day that is over."""
    box = opened()
    box.open_invitation(invitation(1, at(0)))
    keep(box, at(1_000), press(1))
    drain(box)
    keep(box, at(DAY_MS), press(2), press(3), press(4))
    keep(box, at(DAY_MS + 40_000), press(5), window="2")
    box.open_invitation(invitation(2, at(DAY_MS + 60_000)))
    box.stay(an_id(2), 60, at(DAY_MS + 61_000))
    with box._writer.transaction():
        box._rescue._put(_Rescued(1, "outbox.db.damaged-1", 1, 0, 0, 0, True))
    box.close()
    return box.path


def change(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(sql)
        db.commit()


@pytest.mark.parametrize("altered", ALTERED)
def test_what_was_altered_is_damage_at_the_next_start(file, opened, altered):
    """Set aside whole; nothing of the record's is lost, and no row that was altered comes along. Red without the sum of
    its table."""
    written = _told(file)
    bodies = [bytes(row[0]) for row in look(file, "SELECT body FROM record")]
    change(file, altered)
    box = opened()
    [said, *_] = held(box)

    assert box.set_aside is not None
    assert [] == said.lost
    assert len(bodies) == len(held(box)) - 1 == 4
    for table, rows in _told(file).items():
        assert set(rows) <= set(written[table])
    assert 1 == keep(box, at(2 * DAY_MS), press(1_000))


def _told(path: Path) -> dict[str, list[tuple[object, ...]]]:
    seen = "SELECT device, boot, count, button, pressed_ms, mono_ms, host_boot FROM seen"
    asked = (
        "SELECT id, window, state, seconds, opened_ms, mono_ms, host_boot, synced, case_no, service_number, clerk,"
        " closed_ms, closed_mono_ms, closed_boot, press FROM invitation"
    )
    heads = "SELECT day, epoch, seq, head FROM daily_head"
    return {"seen": look(path, seen), "invitation": look(path, asked), "head": look(path, heads)}


@pytest.mark.parametrize("altered", ALTERED[:10])
def test_an_altered_invitation_is_not_answered_by_the_press_that_comes(file, opened, altered):
    """The disk goes bad under a running program: it is damage when it is read. Red if a row is not looked at."""
    box = opened()
    change(file, altered)

    with pytest.raises(sqlite3.DatabaseError, match="damaged"):
        keep(box, at(DAY_MS + 61_000), press(6))
    assert [] == closings(box)
    assert 4 == len(presses(box))


def test_a_press_is_not_taken_for_one_that_was_altered_to_look_like_it(file, opened):
    """Press 2 lies there as press 6: when that one comes it would be lost. Red if a row is not looked at."""
    box = opened()
    change(file, "UPDATE seen_row SET count = 6 WHERE count = 2")

    with pytest.raises(sqlite3.DatabaseError, match="damaged"):
        keep(box, at(DAY_MS + 1_000), press(6, age_ms=1_000))


def test_a_press_that_was_altered_in_its_row_alone_is_still_itself(file, opened):
    """What finds it and its sum agree on which it is: it is not kept twice."""
    box = opened()
    [(root,)] = look(file, "SELECT rootpage FROM sqlite_master WHERE name = 'seen_row'")
    overwrite(file, file.read_bytes().index(b"D0217\x02", (root - 1) * 4096) + 5, b"\x06")

    assert 0 == keep(box, at(DAY_MS + 1_000), press(2, age_ms=1_000))
    assert 1 == keep(box, at(DAY_MS + 1_000), press(6, age_ms=1_000))


def overwrite(path: Path, where: int, data: bytes) -> None:
    with path.open("r+b") as raw:
        raw.seek(where)
        raw.write(data)


def test_a_receipt_cannot_be_measured_by_an_altered_head(file, opened):
    """Nothing is let go of by it."""
    box = opened()
    batch = box.due()
    change(file, "UPDATE receipted SET head = zeroblob(32)")

    with pytest.raises(sqlite3.DatabaseError, match="damaged"):
        box.due()
    with pytest.raises(sqlite3.DatabaseError, match="damaged"):
        box.settle(receipt_for(batch))


def test_altered_heads_are_not_handed_to_an_auditor(file, opened):
    """The hall's own evidence speaks against a ledger: a wrong bit in it must not."""
    box = opened()
    assert 2 == len(box.heads())
    change(file, "UPDATE daily_head SET head = zeroblob(32)")

    with pytest.raises(sqlite3.DatabaseError, match="daily_head"):
        box.heads()


def test_a_name_that_was_altered_costs_no_row(file, opened):
    """It stands twice, in its table and in what finds it: the sums of its rows tell which one is right."""
    written = _told(file)
    page = file.read_bytes()
    change(file, "PRAGMA wal_checkpoint(TRUNCATE)")
    at_ = page.index(b"pc-1")
    file.write_bytes(page[:at_] + b"pc-3" + page[at_ + 4 :])
    box = opened()

    assert box.set_aside is not None
    assert written == _told(file)


def test_an_answered_invitation_is_not_asked_again_where_its_log_cannot_be_read(opened, tmp_path):
    """The answer is in a part of the log that SQLite does not read any more; its records tell. Red without them."""
    box = opened(tmp_path / "running.db")
    box.open_invitation(invitation(1, at(0)))
    look(box.path, "PRAGMA wal_checkpoint(TRUNCATE)")
    keep(box, at(500), press(7))
    keep(box, at(1_000), press(8))
    for number in range(20, 30):
        keep(box, at(2_000), press(number))
    path = power_cut(box.path, tmp_path / "cut")
    log = path.with_name(path.name + "-wal")
    raw = log.read_bytes()
    log.write_bytes(raw[: 32 + 24 + 200] + b"\xa5" * 100 + raw[32 + 24 + 300 :])
    again = opened(path)

    assert again.set_aside is not None
    assert "answered" == again.invitation(an_id(1)).state
    assert box.invitation(an_id(1)) == again.invitation(an_id(1))
    assert 0 == keep(again, at(3_000), press(8, age_ms=2_000))


# ---- whose it is, and of which form


def flipped(path: Path, into: Path, at_: int, bit: int) -> Path:
    raw = bytearray(path.read_bytes())
    raw[at_] ^= 1 << bit
    into.write_bytes(raw)
    return into


@pytest.mark.parametrize("noted", [60, 68], ids=["user_version", "application_id"])
def test_a_wrong_bit_in_the_form_is_damage_and_not_a_newer_program(file, tmp_path, noted):
    """The program starts by itself with all that waits. Red if either note is believed alone."""
    for bit in (0, 1, 2, 3, 7, 8, 13, 16, 22, 24, 30, 31):
        path = flipped(file, tmp_path / f"{bit}.db", noted + bit // 8, bit % 8)
        with closing(Outbox(path, AGENT, 0)) as box:
            assert box.set_aside is not None, bit
            assert 5 == len(held(box)), bit


def test_a_wrong_bit_in_the_agents_name_is_damage_and_not_another_agent(file, tmp_path):
    """The same, all over the name, its epoch and their sum."""
    raw = file.read_bytes()
    first = raw.index(f"{AGENT}{look(file, 'SELECT epoch FROM epoch')[0][0]}".encode())
    for bit in range(0, 8 * (len(AGENT) + 36 + 5 + 8), 13):
        path = flipped(file, tmp_path / f"{bit}.db", first + bit // 8, bit % 8)
        with closing(Outbox(path, AGENT, 0)) as box:
            [said, *saved] = held(box)

            assert box.set_aside is not None, bit
            assert 4 == len(saved), bit
            assert look(file, "SELECT epoch FROM epoch")[0][0] == said.epoch or bit >= 8 * (len(AGENT) + 36), bit


def test_a_file_of_an_older_form_is_known_by_both_notes(tmp_path):
    """A wrong bit in its version makes it no newer file, no older one and no one else's."""
    with closing(sqlite3.connect(tmp_path / "old.db")) as db:
        db.executescript((Path(__file__).parent / "outbox_2.sql").read_text())
        db.execute("PRAGMA journal_mode = DELETE")
    for bit in range(1, 8):
        path = flipped(tmp_path / "old.db", tmp_path / f"{bit}.db", 63, bit)
        with closing(Outbox(path, AGENT, 0)) as box:
            assert box.set_aside is not None, bit
            assert 5 == len(held(box)), bit


@pytest.mark.parametrize("other", ["hall-pc-3", "hall-pc-2", "another"])
def test_another_agents_outbox_is_refused_however_alike_their_names(opened, tmp_path, other):
    """One bit apart, and still somebody else's: not a byte of it changes."""
    with closing(Outbox(tmp_path / "outbox.db", other, 0)) as box:
        keep(box, at(0), press(1))
    before = box.path.read_bytes()

    with pytest.raises(OutboxMismatch, match=other):
        opened()
    assert before == box.path.read_bytes()


def test_a_receipt_still_settles_after_all_that(file, opened):
    """Nothing of this stands in the way of the work."""
    box = opened()
    batch = box.due()

    assert Settled.DELETED is box.settle(receipt_for(batch))
    assert box.due() is None
    assert box.first_break() is None


def test_an_index_that_leads_nowhere_is_damage_at_the_next_start(file, opened):
    """A press that is not found is kept twice. Red with quick_check, which does not look at what an index says."""
    [(root,)] = look(file, "SELECT rootpage FROM sqlite_master WHERE name = 'seen_press'")
    overwrite(file, file.read_bytes().index(b"D0217\x02", (root - 1) * 4096) + 5, b"\x03")
    box = opened()

    assert box.set_aside is not None
    assert 0 == keep(box, at(DAY_MS + 1_000), press(2, age_ms=1_000))
