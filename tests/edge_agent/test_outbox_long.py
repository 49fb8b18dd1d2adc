"""A long outbox: no start waits for a look through all of it, and nothing is missed for that."""

import logging
import shutil
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from edge_agent.outbox import Outbox, rows
from protocols.messages import SalvageRecord, decode_record

from .hall import AGENT, T0_MS, an_id, at, drain, held, invitation, keep, look, press, presses

SERVICES = 150


@pytest.fixture
def everything_is_long(monkeypatch) -> None:
    monkeypatch.setattr("edge_agent.outbox.file.LOOK_BYTES", 0)
    monkeypatch.setattr("edge_agent.outbox._LOOK_PAUSE_S", 0)
    monkeypatch.setattr("edge_agent.outbox.rescue._PAUSE_S", 0)
    monkeypatch.setattr("edge_agent.outbox.rescue._LATEST", 20)
    monkeypatch.setattr("edge_agent.outbox.rescue._AT_ONCE", 10)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """Many services, and one that is open."""
    path = tmp_path_factory.mktemp("written") / "outbox.db"
    with closing(Outbox(path, AGENT, T0_MS)) as box:
        box.open_invitation(invitation(1_000, at(0), seconds=3_600, window="2"))
        for number in range(1, SERVICES + 1):
            box.open_invitation(invitation(number, at(number * 1_000)))
            keep(box, at(number * 1_000 + 500), press(number))
    return path


@pytest.fixture
def file(written, tmp_path, everything_is_long) -> Path:
    return Path(shutil.copy(written, tmp_path / "outbox.db"))


def change(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(sql)
        db.commit()


class Stops(threading.Event):
    """Stops the work after so many pauses."""

    def __init__(self, pauses: int):
        super().__init__()
        self.pauses = pauses

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses -= 1
        if self.pauses <= 0:
            self.set()
        return self.is_set()


# ---- the look beside the work


ALTERED = [
    "UPDATE invitation_row SET case_no = 'x' WHERE n = 30",
    "UPDATE seen_row SET count = 9999 WHERE count = 30",
    "UPDATE record SET body = (SELECT body FROM record WHERE seq = 31) WHERE seq = 30",
    "UPDATE record SET press = 0 WHERE seq = 31",
    "UPDATE tip SET head = zeroblob(32)",
    "UPDATE receipted SET seq = 3",
]


@pytest.mark.parametrize("altered", ALTERED)
def test_a_long_file_is_looked_through_after_the_start(file, opened, altered):
    """All that a start would have found. Red without the look."""
    change(file, altered)
    box = opened()

    assert box.set_aside is None
    with pytest.raises(sqlite3.DatabaseError):
        box.after_start(threading.Event())


def test_what_leads_to_a_row_is_looked_at_too(file, opened):
    """An index that does not know a press any more."""
    [(root,)] = look(file, "SELECT rootpage FROM sqlite_master WHERE name = 'seen_press'")
    raw = bytearray(file.read_bytes())
    raw[raw.index(b"D0217", (root - 1) * 4096) + 5] ^= 1
    file.write_bytes(raw)

    with pytest.raises(sqlite3.DatabaseError):
        opened().after_start(threading.Event())


def test_a_whole_file_is_found_whole_while_the_work_goes_on(file, opened, caplog):
    """Presses, openings and receipts meanwhile are no damage. Red if a slice is not of one moment."""
    box = opened()
    rng, stop, number = Random(5), threading.Event(), SERVICES
    looked: list[BaseException | None] = []

    def work() -> None:
        try:
            for _ in range(3):
                box.after_start(stop)
            looked.append(None)
        except BaseException as error:  # noqa: BLE001 - compared below
            looked.append(error)

    thread = threading.Thread(target=work)
    with caplog.at_level(logging.INFO):
        thread.start()
        while thread.is_alive():
            number += 1
            box.open_invitation(invitation(number, at(number * 1_000)))
            keep(box, at(number * 1_000 + 500), press(number))
            if rng.random() < 0.2:
                drain(box, 1)
        thread.join()

    assert [None] == looked
    assert 3 == sum("the outbox is whole" in each.message for each in caplog.records)


def test_the_look_ends_with_the_program(file, opened):
    """Wherever it is."""
    box = opened()
    change(file, "UPDATE record SET press = 0 WHERE seq = 299")  # among the last that it would come to

    box.after_start(Stops(2))


# ---- the salvage beside the work


@pytest.fixture
def damaged(file, opened) -> Path:
    """A wrong bit where every start looks."""
    change(file, "PRAGMA user_version = 11")
    return file


def test_what_the_next_press_needs_is_there_at_once(damaged, opened):
    """The open invitation, however old, and the latest presses: none of them is kept twice."""
    box = opened()

    assert box.set_aside is not None
    assert [] == held(box)
    assert "open" == box.invitation(an_id(1_000)).state
    assert 0 == keep(box, at(SERVICES * 1_000 + 900), press(SERVICES, age_ms=400))
    assert box.invitation(an_id(5)) is None
    assert 1 == keep(box, at(SERVICES * 1_000 + 900), press(7_000), window="2")
    assert "answered" == box.invitation(an_id(1_000)).state


def test_the_rest_follows_and_nothing_is_lost_or_doubled(damaged, opened):
    """Its records behind one that names what is lost, in their order; its invitations and presses in theirs."""
    written = _bodies(damaged)
    before = _told(damaged)
    box = opened()
    keep(box, at(1_000_000), press(9_000))
    box.after_start(threading.Event())
    [mine, said, *saved] = [row["body"] for row in box.records()]

    assert isinstance(decode_record(said.encode()), SalvageRecord)
    assert written == saved
    assert (None, SERVICES + 1) == (box.first_break(), box.waiting("3"))
    assert before["invitation"] == _told(damaged)["invitation"]
    assert before["seen"] == _told(damaged)["seen"][:-1]
    assert 2 * SERVICES + 2 == drain(box)
    assert "D0217" in mine


@pytest.mark.parametrize("seed", range(4))
def test_a_salvage_may_be_broken_off_anywhere_and_goes_on(damaged, opened, tmp_path, seed):
    """Each start goes on from what is on the disk. Red if how far it came is not written with what was taken."""
    rng, written = Random(seed), Counter(_bodies(damaged))
    for number in range(100):
        box = opened()
        keep(box, at(2_000_000 + number), press(10_000 + number))
        stop = Stops(rng.randint(10, 60))
        box.after_start(stop)
        box.close()
        if not stop.is_set():
            break
    again = opened()
    saved = Counter(row["body"] for row in again.records())
    told = [body for body in saved if isinstance(decode_record(body.encode()), SalvageRecord)]

    assert number > 1, f"--seed {seed}: it was never broken off"
    assert 1 == len(told) == saved[told[0]]
    assert Counter() == written - saved
    assert set(saved.values()) == {1}
    assert SERVICES + number + 1 == len(presses(again))
    assert again.first_break() is None


def test_an_older_file_that_was_taken_over_is_not_taken_over_again(damaged, opened, tmp_path):
    """The outbox that had done so is damaged itself: it is remembered. Red if only today's file remembers."""
    written = Counter(_bodies(damaged))
    box = opened()
    box.after_start(threading.Event())
    keep(box, at(1_000_000), press(9_000))
    box.close()
    change(damaged, "PRAGMA user_version = 11")
    again = Outbox(damaged, AGENT, T0_MS + 1)
    again.after_start(threading.Event())

    assert 2 == len(again.damaged_files())
    assert Counter() == written - Counter(row["body"] for row in again.records())
    assert {1} == set(Counter(row["body"] for row in again.records()).values())
    again.close()


def _bodies(path: Path) -> list[str]:
    return [rows.unpacked(*row).decode() for row in look(path, "SELECT seq, body, sum FROM record ORDER BY seq")]


def _told(path: Path) -> dict[str, list[tuple[object, ...]]]:
    seen = "SELECT device, boot, count, button, pressed_ms, mono_ms, host_boot FROM seen ORDER BY id"
    asked = "SELECT id, window, state, opened_ms, host_boot, case_no, closed_ms, press FROM invitation ORDER BY n"
    return {"seen": look(path, seen), "invitation": look(path, asked)}
