"""The large ledgers that are measured are those that the collector itself writes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from collector.ledger import audit
from tests.bench import ledgers
from tests.collector.ledgers import VAULT


def everything(path: Path) -> dict[str, list[tuple]]:
    """All rows of all tables but for the ledger's own name, which is chance; and the schema."""
    db = sqlite3.connect(path)
    names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    found = {name: db.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in names if name != "identity"}
    found["rating_count"] = [row for row in found["rating_count"] if row[-1]]  # of a state that all have left: none
    # What is hidden looks different each time, and so do the sums of it.
    found["service_case"] = [
        (VAULT.show(*row[:3]), *row[3:5]) for row in db.execute("SELECT * FROM service_case ORDER BY 1, 2")
    ]
    found["schema"] = db.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
    found["pragmas"] = [
        db.execute(f"PRAGMA {name}").fetchone() for name in ("user_version", "application_id", "journal_mode")
    ]
    db.close()
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_a_ledger_made_by_hand_is_the_one_that_the_intake_makes(tmp_path, seed):
    """Row by row in every table; and it is whole. Red if one column of one of them differs."""
    ledgers.by_parts(tmp_path / "parts.db", 1200, seed)
    ledgers.by_hand(tmp_path / "hand.db", 1200, seed)
    parts, hand = everything(tmp_path / "parts.db"), everything(tmp_path / "hand.db")

    for table, rows in parts.items():
        assert rows == hand[table], table
    assert {"rated", "repeat", "unsolicited"} == {row[10] for row in parts["press"]}
    assert [] == audit.verify(tmp_path / "hand.db").findings
