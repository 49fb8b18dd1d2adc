"""An outbox that somebody replaces by an older copy of it: what is open in the copy was answered since."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge_agent.outbox import Outbox, OutboxFull
from edge_agent.outbox.latest import Latest
from edge_agent.outbox.writer import Writer

from .hall import DEVICE, WINDOW, answers, at, closings, invitation, keep, power_cut, press


@pytest.fixture
def mine(opened):
    """Opens the outbox as an agent does."""
    return lambda: opened(sole=True)


def copied(box: Outbox, into: Path) -> Path:
    """A backup of it while it is used."""
    with closing(sqlite3.connect(box.path)) as db, closing(sqlite3.connect(into)) as copy:
        db.backup(copy)
    return into


def replaced(box: Outbox, copy: Path) -> None:
    box.close()
    for suffix in ("-wal", "-shm"):
        box.path.with_name(box.path.name + suffix).unlink(missing_ok=True)
    shutil.copyfile(copy, box.path)


def test_the_next_citizen_does_not_answer_for_the_one_before(mine, tmp_path, caplog):
    """Copied while she was asked, put back after she answered and another one was asked. Red without the note of how
    far the file had come: his press, made before the agent was there again or after, would be hers."""
    box = mine()
    box.open_invitation(invitation(1, at(0)))
    copy = copied(box, tmp_path / "copy")
    keep(box, at(2_000), press(1, 5))
    box.open_invitation(invitation(2, at(3_000)))
    replaced(box, copy)

    box = mine()
    keep(box, at(6_000), press(2, 1, age_ms=2_000), press(3, 1))
    assert [None, None] == answers(box)
    assert [("withdrawn", at(0).wall_ms)] == [(each.outcome, each.closed_ms) for each in closings(box)]
    assert "旧副本" in caplog.text
    # And the window goes on: the next one is asked and answers.
    box.open_invitation(invitation(3, at(7_000)))
    keep(box, at(8_000), press(4, 2))
    assert invitation(3, at(7_000)).id == answers(box)[-1]


def test_a_copy_of_an_earlier_epoch_is_older_too(mine, tmp_path):
    """The file was set aside in between, and numbers began again."""
    box = mine()
    keep(box, at(0), press(1))
    box.open_invitation(invitation(1, at(1_000)))
    copy = copied(box, tmp_path / "copy")
    box.condemn(2_000)
    box = mine()
    replaced(box, copy)
    for aside in box.damaged_files():
        aside.unlink()

    box = mine()
    keep(box, at(5_000), press(2))
    assert [None, None] == answers(box)


@pytest.mark.parametrize("end", ["closed", "killed", "power cut"])
def test_a_file_of_its_own_asks_on(opened, mine, tmp_path, end):
    """Whoever is asked when the agent ends can still answer. Red if every start withdraws."""
    box = mine()
    keep(box, at(0), press(1))
    box.open_invitation(invitation(1, at(1_000)))
    note = box.path.with_name("outbox.db.latest")
    if end == "closed":
        box.close()
        box = mine()
    else:
        place = power_cut(box.path, tmp_path / "after")
        if end == "killed":
            shutil.copy(note, place.parent)
        box = opened(place, sole=True)

    keep(box, at(2_000), press(2))
    assert [None, invitation(1, at(1_000)).id] == answers(box)


@pytest.mark.parametrize("note", [b"", b"rubbish", b"\xff" * 32, b"\xff" * 64])
def test_a_note_that_is_none_says_nothing(mine, note):
    """Nothing is withdrawn, and the next record is noted again."""
    box = mine()
    box.open_invitation(invitation(1, at(0)))
    box.close()
    place = box.path.with_name("outbox.db.latest")
    place.write_bytes(note)
    box = mine()
    keep(box, at(1_000), press(1))

    assert [invitation(1, at(0)).id] == answers(box)
    box.close()
    with closing(Latest(box.path)) as latest:
        assert (box.epoch, 2) == latest.read()


def test_no_room_for_the_note_costs_no_press(mine):
    """The press is on the disk, and is thanked for. Red if the note's own trouble comes through."""
    box = mine()
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, box._latest._file.fileno())
    os.close(full)

    assert 1 == keep(box, at(0), press(1))
    assert 0 == keep(box, at(1_000), press(1))


def test_an_older_copy_without_room_still_starts(opened, tmp_path, monkeypatch):
    """What cannot be withdrawn now is withdrawn by the next start that has room."""
    box = opened(sole=True)
    box.open_invitation(invitation(1, at(0)))
    copy = copied(box, tmp_path / "copy")
    keep(box, at(1_000), press(1))
    replaced(box, copy)

    def no_room(*_: object) -> None:
        raise OutboxFull("outbox.db")

    with monkeypatch.context() as full:
        full.setattr(Writer, "append", no_room)
        box = opened(sole=True)
    assert "open" == box.open_at(WINDOW, at(2_000))[0].state
    box.close()

    assert opened(sole=True).open_at(WINDOW, at(2_000)) is None


def test_only_its_owner_notes(opened, box):
    """Whoever looks beside the agent leaves no file behind."""
    keep(box, at(0), press(1, device=DEVICE))
    opened(look_only=True)

    assert not box.path.with_name("outbox.db.latest").exists()
