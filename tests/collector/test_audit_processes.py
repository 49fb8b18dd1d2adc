"""A ledger checked by several processes at once: what is found, and in which order, is what one finds alone."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from collector.ledger import audit
from collector.ledger.audit import chains, readers
from collector.ledger.audit.readers import Readers, Task
from tests.bench import ledgers
from tests.collector.agents import rated
from tests.collector.ledgers import unguard
from tests.collector.test_audit import grown

TABLES = {  # every table that is evidence, and a column of each to spoil
    "record": ("body", "hash", "received_ms"),
    "stretch": ("head", "at_ms", "hash", "first", "upto"),
    "press": ("fate", "pressed_ms", "invitation", "seq"),
    "rating": ("level", "case_no", "pressed_ms", "clerk", "press"),
    "closing": ("seq", "outcome", "closed_ms", "agent"),
    "attempt": ("verdict",),
    "key_map": ("keys",),
    "epoch": ("upto", "head", "agent"),
}
VALUES = ("7", "NULL", "x'00'", "'very_satisfied'", "zeroblob(32)", "'x' || {}", "{} + 1")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "ledger.db"
    ledgers.by_hand(path, 800, 5)
    return path


def spoiled(whole: Path, path: Path, seed: int) -> list[str]:
    """A copy in which chance has changed, removed or doubled up to five rows; what was done."""
    path.write_bytes(whole.read_bytes())
    chance = random.Random(seed)
    done = []
    db = sqlite3.connect(path)
    unguard(db)
    db.text_factory = bytes
    for _ in range(chance.randint(1, 5)):
        table = chance.choice(list(TABLES))
        column = chance.choice(TABLES[table])
        where = _some(db, table, chance)
        value = chance.choice(VALUES).format(column)
        statement = chance.choice(
            [f"UPDATE OR IGNORE {table} SET {column} = {value} {where}", f"DELETE FROM {table} {where}"]
        )
        try:
            before = db.execute(f"SELECT * FROM {table}").fetchall()
            db.execute(statement)
            if before != db.execute(f"SELECT * FROM {table}").fetchall():
                done.append(statement)
        except sqlite3.IntegrityError:
            pass  # this column cannot be NULL
    db.commit()
    db.close()
    return done


def _some(db: sqlite3.Connection, table: str, chance: random.Random) -> str:
    """One row, or many that follow one another."""
    if table == "record":
        epoch, upto = chance.choice(db.execute("SELECT epoch_id, max(seq) FROM record GROUP BY 1").fetchall())
        first = chance.randint(1, max(1, upto if isinstance(upto, int) else 1))
        return f"WHERE epoch_id = {epoch} AND seq BETWEEN {first} AND {first + chance.choice([0, 0, 0, 40])}"
    if table == "closing":
        return f"WHERE seq = {chance.randint(1, 40)}"
    if table == "attempt":  # the calls of ratings: what was said to those of cases decides nothing
        calls = db.execute("SELECT count(*) FROM attempt").fetchone()[0]
        return f"WHERE id = {2 * chance.randint(1, calls // 2)}"
    name = "n" if table == "stretch" else "id"
    most = db.execute(f"SELECT max({name}) FROM {table}").fetchone()[0] or 1
    first = chance.randint(1, most)
    return f"WHERE {name} BETWEEN {first} AND {first + chance.choice([0, 0, 0, 150])}"


@pytest.mark.parametrize("seed", range(60))
def test_any_change_is_found_and_the_same_however_the_work_is_divided(whole, tmp_path, monkeypatch, seed):
    """In ranges of 7 rows and in one of all, in the same order. Red if a range began with anything but the hash that
    stands before it, or if one that ends within a damage forgot it."""
    done = spoiled(whole, tmp_path / "ledger.db", seed)
    at_once = audit.verify(tmp_path / "ledger.db", 1)
    monkeypatch.setattr(chains, "RANGE", 7)
    divided = audit.verify(tmp_path / "ledger.db", 1)

    assert at_once == divided, (seed, done)
    assert bool(at_once.findings) == bool(done), (seed, done)


@pytest.mark.parametrize("seed", [101, 102, 103])
def test_several_processes_find_the_same(whole, tmp_path, monkeypatch, seed):
    """Three processes, hundreds of tasks, in whatever order they end."""
    done = spoiled(whole, tmp_path / "ledger.db", seed)
    monkeypatch.setattr(chains, "RANGE", 50)
    steps: list[tuple[int, int]] = []
    several = audit.verify(tmp_path / "ledger.db", 3, lambda done, whole: steps.append((done, whole)))

    assert audit.verify(tmp_path / "ledger.db", 1) == several, (seed, done)
    assert several.records > 100
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]


def test_several_processes_see_one_moment_of_a_ledger_that_is_written(tmp_path, monkeypatch):
    """Never a finding while batches come in. Red if the processes begin their readings without looking whether
    something was committed in between."""
    monkeypatch.setattr(chains, "RANGE", 5)
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
        found = [audit.verify(tmp_path / "ledger.db", 2) for _ in range(6)]
    finally:
        done.set()
        writer.join()
    ledger.store.close()

    assert [] == [each.findings for each in found if each.findings]
    assert found[0].records < found[-1].records


def test_where_no_moment_is_had_together_one_connection_reads_alone(tmp_path, monkeypatch):
    """A writer without a pause cannot keep a ledger from being checked. Red if it gave up, or went on with moments
    that differ."""
    numbers = iter(range(10**6))
    monkeypatch.setattr(readers, "_TRIES", 3)
    monkeypatch.setattr(readers, "_version", lambda _db: next(numbers))
    ledger, *_ = grown(tmp_path / "ledger.db")
    ledger.store.close()

    assert (14, []) == ((found := audit.verify(tmp_path / "ledger.db", 2)).records, found.findings)


def _die(_db: sqlite3.Connection, _what: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _sleep(_db: sqlite3.Connection, seconds: float) -> None:
    time.sleep(seconds)


def _break(db: sqlite3.Connection, _what: object) -> None:
    db.execute("SELECT nothing FROM nowhere")


def test_a_process_that_dies_is_an_error_and_no_result(tmp_path):
    """A verdict over half a ledger would be worse than none; nothing is left running."""
    ledger, *_ = grown(tmp_path / "ledger.db")
    ledger.store.close()
    with Readers(tmp_path / "ledger.db", 2) as two:
        with pytest.raises(RuntimeError, match="ended before"):
            two.done([Task(_sleep, 30.0, 1), Task(_die, None, 2)], lambda *_: None)
        began_s = time.monotonic()

    assert time.monotonic() - began_s < 10


def test_what_breaks_in_a_process_breaks_here(tmp_path):
    """With SQLite's own code, by which the command line knows a damaged file."""
    ledger, *_ = grown(tmp_path / "ledger.db")
    ledger.store.close()
    with Readers(tmp_path / "ledger.db", 2) as two, pytest.raises(sqlite3.OperationalError) as broken:
        two.done([Task(_break, None, 1)], lambda *_: None)

    assert sqlite3.SQLITE_ERROR == broken.value.sqlite_errorcode
