"""The log written back beside the work: no press pays for it, and it stays short."""

import shutil
import sqlite3
import threading
from contextlib import closing

import pytest

from edge_agent.outbox import Outbox, writeback
from edge_agent.outbox.writeback import WriteBack

from .hall import AGENT, T0_MS, at, keep, press, presses, receipt_for


def in_the_file_alone(box: Outbox, into) -> int:
    """How many presses the file holds without its log."""
    shutil.copy(box.path, into)
    with closing(sqlite3.connect(into)) as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        return db.execute("SELECT count(*) FROM record").fetchone()[0] if "record" in tables else 0


def test_the_log_is_written_back_when_there_is_time(box, tmp_path):
    """Before that the file lacks the presses, and the log has them. Red if a press does it, or nobody."""
    number = writeback._COMMITS + 5
    for count in range(1, number + 1):
        keep(box, at(count * 1_000), press(count))
    before = in_the_file_alone(box, tmp_path / "before.db")
    box.tidy()

    assert (0, number) == (before, in_the_file_alone(box, tmp_path / "after.db"))
    assert number == len(presses(box))


def test_a_little_is_left_in_the_log(box, tmp_path):
    """The file is not written for each press."""
    keep(box, at(0), press(1))
    box.tidy()

    assert 0 == in_the_file_alone(box, tmp_path / "copy.db")


def test_the_log_stays_short(box):
    """Written back before SQLite's own bound of four megabytes: red where a press or a receipt has to do it."""
    log, longest = box.path.with_name("outbox.db-wal"), 0
    for count in range(1, 1_001):
        keep(box, at(count * 1_000), press(count))
        if count % 20 == 0:
            box.settle(receipt_for(box.due()))
        box.tidy()
        longest = max(longest, log.stat().st_size)

    assert longest < 2_000_000


def test_no_room_for_it_is_no_trouble(box, monkeypatch):
    """It stays in the log, where it is safe; other trouble is not hidden."""
    back = box._writer.back

    class Disk:
        def __init__(self, code: int):
            self.code = code

        def execute(self, _sql: str) -> None:
            error = sqlite3.OperationalError("no")
            error.sqlite_errorcode = self.code
            raise error

    back._back(Disk(sqlite3.SQLITE_FULL))  # type: ignore[arg-type]
    with pytest.raises(sqlite3.OperationalError):
        back._back(Disk(sqlite3.SQLITE_IOERR))  # type: ignore[arg-type]


def test_one_at_a_time_and_none_after_the_end(tmp_path, monkeypatch):
    """Whoever comes while another is at it goes on with its own work; an end waits for it."""
    outbox = Outbox(tmp_path / "outbox.db", AGENT, T0_MS)
    back = WriteBack(outbox.path)
    inside, go, times = threading.Event(), threading.Event(), []

    def slow(_db: sqlite3.Connection) -> None:
        times.append(1)
        inside.set()
        go.wait(5)

    monkeypatch.setattr(back, "_back", slow)
    for _ in range(writeback._COMMITS):
        back.committed()
    first = threading.Thread(target=back.now_and_then)
    first.start()
    inside.wait(5)
    for _ in range(writeback._COMMITS):
        back.committed()
    back.now_and_then()
    assert 1 == len(times)
    go.set()
    first.join(5)
    back.close()
    back.now_and_then()

    assert 1 == len(times)
    outbox.close()
