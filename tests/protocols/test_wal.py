"""A write-ahead log's bytes, made by the real SQLite: cut or whole, healed, and which pages it holds."""

import sqlite3
import struct
from pathlib import Path
from random import Random

import pytest

from protocols import wal
from protocols.wal import FRAME_HEADER, HEADER, Growing, healed, log_is_cut, newest

PAGE = 4096
FRAME = FRAME_HEADER + PAGE


@pytest.fixture(scope="module")
def lying(tmp_path_factory) -> tuple[bytes, bytes]:
    """A database and its log, as they lie when a process is killed: the log begun anew once, some pages in it twice."""
    folder: Path = tmp_path_factory.mktemp("wal")
    db = sqlite3.connect(folder / "a.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE word(n INTEGER PRIMARY KEY, text TEXT)")
    for n in range(60):
        db.execute("INSERT INTO word(text) VALUES (?)", (f"{n} " * 200,))
        if n == 40:
            db.execute("PRAGMA wal_checkpoint")
    left = (folder / "a.db").read_bytes(), (folder / "a.db-wal").read_bytes()
    db.close()
    return left


def test_the_newest_version_of_each_page_is_what_sqlite_reads(lying, tmp_path):
    """The file with these pages put in is the file that SQLite makes of both. Red if frames of the log's life before
    count, or an older version of a page."""
    file, log = lying
    whole = bytearray(file)
    for number, at in newest(log).items():
        whole[(number - 1) * PAGE : number * PAGE] = log[at : at + PAGE]
    (tmp_path / "a.db").write_bytes(file)
    (tmp_path / "a.db-wal").write_bytes(log)
    sqlite3.connect(tmp_path / "a.db").execute("PRAGMA wal_checkpoint").connection.close()

    assert (tmp_path / "a.db").read_bytes() == whole


def test_what_was_not_committed_is_no_version_of_a_page(lying):
    """The last commit without its end: what it had written of it does not count."""
    log = lying[1]
    ends = [at for at in range(HEADER, len(log), FRAME) if log[at + 4 : at + 8] != bytes(4)]
    first_life = [at for at in ends if log[at + 8 : at + 16] == log[16:24]]
    cut = log[: first_life[-1]]

    assert max(newest(cut).values()) <= first_life[-2] + FRAME_HEADER
    assert {} == newest(log[: HEADER + 100])


class Log:
    """What `Growing` reads: the log as it is now, and how much of it was asked for."""

    def __init__(self) -> None:
        self.now = b""
        self.asked = 0

    def read(self, size: int, at: int) -> bytes:
        piece = self.now[at : at + size]
        self.asked += len(piece)
        return piece


def logs_of(folder: Path, *words: str, after: tuple[Path, Path] | None = None) -> list[bytes]:
    """The log as it is after each of these commits, behind what lay there before; a word "move" moves the log."""
    folder.mkdir()
    if after is not None:
        for each in ("a.db", "a.db-wal"):
            (folder / each).write_bytes((after[0] / each).read_bytes())
    db = sqlite3.connect(folder / "a.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE IF NOT EXISTS word(n INTEGER PRIMARY KEY, text TEXT)")
    logs = []
    for word in words:
        db.execute("PRAGMA wal_checkpoint") if word == "move" else db.execute(
            "INSERT INTO word(text) VALUES (?)", (word,)
        )
        logs.append((folder / "a.db-wal").read_bytes())
    (folder / "left").mkdir()
    for each in ("a.db", "a.db-wal"):
        (folder / "left" / each).write_bytes((folder / each).read_bytes())
    db.close()
    return logs


def test_a_log_that_grows_is_read_as_if_anew_and_each_frame_once(tmp_path, monkeypatch):
    """Through two lives of it. Red if the older life stays, and if all of it is read each time."""
    monkeypatch.setattr(wal, "_READ", 1)
    words = [f"{n} " * 300 * (1 + n % 5) for n in range(40)]
    log = Log()
    growing = Growing(log.read)
    for now in logs_of(tmp_path / "one", *words[:25], "move", *words[25:]):
        log.now = now
        assert newest(now) == growing.newest()

    log.asked = 0
    assert newest(log.now) == growing.newest()
    assert log.asked < len(log.now) / 4


@pytest.mark.parametrize(
    "others", [("other",), ("other " * 4000,), ("other " * 4000, "more"), ("other", "and", "more")]
)
def test_a_commit_that_came_to_nothing_is_forgotten_when_another_stands_there(tmp_path, others):
    """Its writer could not put it on the disk. Red if what was read once is believed for good."""
    before = logs_of(tmp_path / "before", "one", "two")
    left = tmp_path / "before" / "left", tmp_path
    failed = logs_of(tmp_path / "failed", "came to nothing " * 1500, after=left)[-1]
    log = Log()
    growing = Growing(log.read)
    for log.now in (*before, failed):
        growing.newest()
    for which, other in enumerate(logs_of(tmp_path / "other", *others, after=left)):
        log.now = other + failed[len(other) :]
        assert newest(log.now) == growing.newest()
        assert which or growing.unchanged <= len(before[-1])


@pytest.mark.parametrize("seed", range(20))
def test_a_single_bit_is_turned_back_so_that_all_can_be_read(lying, seed):
    """In the part that is valid; behind it nothing matters. A log's own sum cannot always tell which bit it was."""
    log, rng = lying[1], Random(seed)
    end = max(newest(log).values()) + PAGE
    raw = bytearray(log)
    raw[rng.randrange(end)] ^= 1 << rng.randrange(8)
    right = healed(bytes(raw))

    assert log_is_cut(bytes(raw))
    assert not log_is_cut(right)
    assert newest(log).keys() == newest(right).keys()


@pytest.mark.parametrize("at", range(3, 3 + 8 * 24, 8))
def test_a_bit_that_changes_one_bit_of_the_sum_is_not_taken_for_one_of_the_sum(lying, at):
    """The highest of a word may do so: what follows says which it was. Red if the sum is put right first: all that
    follows would be lost."""
    log = lying[1]
    raw = bytearray(log)
    raw[HEADER + FRAME + FRAME_HEADER + 2000 + at] ^= 0x80

    assert newest(log).keys() == newest(healed(bytes(raw))).keys()


def test_of_frames_that_are_known_to_be_right_nothing_is_asked_again(lying):
    """Which is what makes a long log quick to look into: only what is not known yet is summed up."""
    log = lying[1]
    ours = [at for at in range(HEADER, len(log), FRAME) if log[at + 8 : at + 16] == log[16:24]]
    raw = bytearray(log)
    raw[ours[2] + 100] ^= 1

    assert log_is_cut(bytes(raw))
    assert not log_is_cut(bytes(raw), known=3)
    assert newest(log) == newest(bytes(raw), known=3) == newest(log, known=len(ours))


@pytest.mark.parametrize("raw", [b"", bytes(10), bytes(32), bytes(100_000), b"\x37\x7f\x06\x82"])
def test_a_log_in_which_nothing_stands_is_no_damage(raw):
    """A file system may give a new file its length before its bytes."""
    assert not log_is_cut(raw)


def test_a_page_size_that_cannot_be_is_damage():
    """And no reason to divide by it."""
    header = struct.pack(">6I", 0x377F0682, 3007000, 0, 0, 1, 2)
    words = struct.unpack("<6I", header)
    first = second = 0
    for at_ in range(0, 6, 2):
        first = (first + words[at_] + second) & 0xFFFFFFFF
        second = (second + words[at_ + 1] + first) & 0xFFFFFFFF

    assert log_is_cut(header + struct.pack(">2I", first, second) + bytes(1000))


def test_a_bit_in_a_commit_that_is_not_all_there_is_half_a_write(lying):
    """What lay under a sector that was not written may be an earlier version of the same page, a bit apart. Red if the
    bit alone decides: a whole outbox would be set aside after a power cut."""
    log = lying[1]
    ours = [at for at in range(HEADER, len(log), FRAME) if log[at + 8 : at + 16] == log[16:24]]
    ends = [at for at in ours if log[at + 4 : at + 8] != bytes(4)]
    # As far as the last commit of several pages.
    upto = max(k for k in range(4, len(ends)) if ends[k] - ends[k - 1] > FRAME)
    last = [at for at in ours if ends[upto - 1] < at <= ends[upto]]
    a_bit = bytearray(log[: ends[upto] + FRAME])
    a_bit[last[0] + FRAME_HEADER + 1000] ^= 1
    and_a_sector = bytearray(a_bit)
    and_a_sector[last[1] + FRAME_HEADER + 512 : last[1] + FRAME_HEADER + 1024] = bytes(range(256)) * 2

    assert log_is_cut(bytes(a_bit))
    assert not log_is_cut(bytes(and_a_sector))
    # An earlier commit was promised: there it is damage all the same.
    a_bit[ends[upto - 3] + FRAME_HEADER + 1000] ^= 1
    assert log_is_cut(bytes(a_bit))
