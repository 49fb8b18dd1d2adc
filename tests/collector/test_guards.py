"""No statement changes, removes or replaces evidence in a ledger, by whatever name and with whatever conflict rule."""

from __future__ import annotations

import sqlite3

import pytest

from collector.ledger.store import Store
from protocols.messages import SalvageRecord
from protocols.ratings import Accepted
from tests.collector.agents import NOW_MS, Agent, closing, press, rated
from tests.collector.ledgers import Ledger, made_older

FIXED = {
    "identity": "id",
    "epoch": "id agent epoch first_ms",
    "record": "epoch_id seq body hash received_ms",
    "stretch": "n epoch_id first upto head at_ms hash",
    "gap": "epoch_id after upto head at_ms",
    "loss": "id epoch_id epoch first last reason at_ms",
    "press": "id epoch_id seq agent window device boot count invitation pressed_ms",
    "closing": "invitation epoch_id seq agent window outcome closed_ms",
    "key_map": "id device from_ms keys",
    "rating": "id press once level bad tags text device boot count hall number agent window pressed_ms channel"
    " invitation case_no service_number clerk key_map made_ms",
    "attempt": "id rating what at_ms verdict words",
}
NUMBERED = ("epoch", "stretch", "loss", "press", "key_map", "rating", "attempt")


@pytest.fixture
def full(ledger: Ledger) -> Ledger:
    """Something in every table that is evidence."""
    ledger.rate(1, 2)
    due = ledger.delivery.next(NOW_MS, ())
    ledger.delivery.end(due, "rating", ledger.delivery.begin(due, "rating", NOW_MS), Accepted(), NOW_MS)
    lost = Agent()
    lost.write(*rated(7), SalvageRecord("", 1, 9, [(3, 4)], NOW_MS, "disk"))
    ledger.take(lost, lost.batch(3, 3))
    return ledger


def evidence(ledger: Ledger) -> dict[str, list[tuple]]:
    return {table: [tuple(row) for row in ledger.store.rows(f"SELECT * FROM {table}")] for table in FIXED}


def refused(ledger: Ledger, statement: str) -> bool:
    """Whether somebody's own connection may not do this: an error, or nothing done."""
    before = evidence(ledger)
    with sqlite3.connect(ledger.path) as somebody:
        try:
            somebody.execute(statement)
        except sqlite3.IntegrityError as error:
            assert any(word in str(error) for word in ("never", "itself", "has one")), error
    somebody.close()
    return evidence(ledger) == before


def test_every_table_has_something(full):
    """Or the tests below would change nothing for another reason."""
    assert [] == [table for table, rows in evidence(full).items() if not rows]


@pytest.mark.parametrize(("table", "column"), [(table, name) for table in FIXED for name in FIXED[table].split()])
def test_no_column_of_the_evidence_changes(full, table, column):
    """Each by its own name, also when conflicts are to be resolved. Red without the trigger, column by column."""
    for how in ("UPDATE", "UPDATE OR REPLACE", "UPDATE OR IGNORE"):
        assert refused(full, f"{how} {table} SET {column} = 7"), how


@pytest.mark.parametrize("table", NUMBERED)
def test_a_row_is_not_renumbered_by_another_name_of_its_number(full, table):
    """A trigger `UPDATE OF id` does not hear of `rowid`. Red with one."""
    for name in ("rowid", "_rowid_", "oid"):
        assert refused(full, f"UPDATE {table} SET {name} = 77"), name


@pytest.mark.parametrize("table", FIXED)
def test_no_row_goes(full, table):
    assert refused(full, f"DELETE FROM {table}")


@pytest.mark.parametrize("table", FIXED)
def test_no_row_is_replaced(full, table):
    """By any of its keys; SQLite asks no trigger of DELETE then. Red without the trigger of INSERT."""
    names = [row[1] for row in full.store.rows(f"PRAGMA table_info({table})")]
    for key in {"rating": ("id", "press", "once", "case_no")}.get(table, ("every key",)):
        # The row as it is, but for what is no key and for the keys that are not meant.
        chosen = [
            name
            if key == "every key" or name in (key, "service_number") or name not in RATING_KEYS
            else RATING_KEYS[name]
            for name in names
        ]
        assert refused(full, f"REPLACE INTO {table} SELECT {', '.join(chosen)} FROM {table} LIMIT 1"), key
        assert refused(full, f"INSERT OR IGNORE INTO {table} SELECT {', '.join(chosen)} FROM {table} LIMIT 1"), key


RATING_KEYS = {"id": "999", "press": "999", "once": "'x'", "case_no": "'x'"}


def test_an_epoch_never_becomes_shorter(full):
    assert refused(full, "UPDATE epoch SET upto = upto - 1")


def test_what_the_ledger_itself_does_goes_on(full):
    """A later closing is passed over, a press gets its fate, a rating its state."""
    agent = Agent("hall-b")
    full.take(agent, agent.write(press(31, "i31", window="w9")))
    full.take(agent, agent.write(closing("i31", "C31"), closing("i31", "C32")))

    assert "unplaced" not in full.fates()[0]
    assert [("C31",)] == [
        tuple(row)
        for row in full.store.rows(
            "SELECT json_extract(body, '$.case_no') FROM closing JOIN record USING (epoch_id, seq)"
            " WHERE invitation = 'i31'"
        )
    ]


def test_a_ledger_of_before_gets_them(tmp_path):
    """Version 3 becomes version 4, with a name of its own. Red without the step."""
    path = tmp_path / "ledger.db"
    Store(path).close()
    db = sqlite3.connect(path)
    triggers = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
    new = db.execute(triggers).fetchall()
    made_older(db)
    Store(path).close()

    assert new == db.execute(triggers).fetchall()
    assert 32 == len(db.execute("SELECT id FROM identity").fetchone()[0])
    db.close()
