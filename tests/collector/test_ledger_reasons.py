"""Why a citizen was not content: from the key map through the ledger to the province, and checked ever after."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from collector.ledger import audit
from collector.ledger.file import LedgerMismatch
from collector.ledger.schema import VERSION
from collector.ledger.store import Store
from protocols.ratings import Level
from tests.collector.agents import NOW_MS, Agent, closing, rated
from tests.collector.ledgers import Ledger, case, directory_of, unguard, window

REASONS = (
    '{1 = "very_satisfied", 2 = {level = "dissatisfied", reason = "214"},'
    ' 3 = {level = "very_dissatisfied", reason = "态度不好"}}'
)
OLD = Path(__file__).with_name("ledger_1.sql").read_text(encoding="utf-8")


@pytest.fixture
def reasoned(opened) -> Ledger:
    """A ledger with one rating of each button."""
    ledger = opened(directory_of(window(keys=REASONS)))
    agent = Agent()
    for button in (1, 2, 3):
        ledger.take(agent, agent.write(*rated(button, button=button)))
        ledger.intake.take_cases([case(f"C{button}")], NOW_MS)
    return ledger


def old_ledger(path: Path) -> Path:
    """A ledger as a program of before wrote it."""
    db = sqlite3.connect(path)
    db.executescript(OLD)
    db.close()
    return path


def change(path: Path, sql: str) -> None:
    db = sqlite3.connect(path)
    unguard(db)
    db.execute(sql)
    db.commit()
    db.close()


def test_a_reason_comes_out_of_the_ledger_as_it_went_in(reasoned):
    """What the forwarder gets is what the button says. Red if a column is left out on either way."""
    found = {}
    while due := reasoned.delivery.next(NOW_MS, [*found]):
        found[due.id] = (due.rating.level, due.rating.tags, due.rating.text)

    assert {
        (Level.VERY_SATISFIED, (), ""),
        (Level.DISSATISFIED, ("214",), ""),
        (Level.VERY_DISSATISFIED, (), "态度不好"),
    } == set(found.values())
    assert [] == audit.verify(reasoned.path).findings


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE rating SET tags = '213' WHERE tags = '214'",
        "UPDATE rating SET tags = '' WHERE tags = '214'",
        "UPDATE rating SET text = '态度好' WHERE text != ''",
        "UPDATE rating SET tags = '510' WHERE level = 'very_satisfied'",
        "UPDATE rating SET text = '很好' WHERE level = 'very_satisfied'",
    ],
)
def test_a_changed_reason_is_found(reasoned, sql):
    """verify holds it against the key map of its time. Red if only the level is compared."""
    change(reasoned.path, sql)
    found = [finding.what for finding in audit.verify(reasoned.path).findings]

    assert 1 == sum("评价的原因与按键不符" in what for what in found)


def test_another_reason_is_another_key_map(opened):
    """What was rated before keeps what its button meant then. Red if the reason is left out of the numbered map."""
    for number, keys in enumerate((REASONS, REASONS.replace("214", "213"), REASONS.replace("214", "213")), 1):
        ledger = opened(directory_of(window(keys=keys)))
        ledger.rate(number, button=2)

    assert 2 == ledger.count("key_map")
    assert ["214", "213", "213"] == [row["tags"] for row in ledger.store.rows("SELECT tags FROM rating ORDER BY id")]
    assert [] == audit.verify(ledger.path).findings


# ---- a ledger of before


def test_a_ledger_of_before_still_opens(tmp_path, opened):
    """All that was in it is there, and it takes reasons from now on. Red without the added columns."""
    old_ledger(tmp_path / "ledger.db")
    ledger = opened(directory_of(window(keys=REASONS)))
    agent = Agent(epoch="00000000-0000-4000-8000-000000000002")
    ledger.take(agent, agent.write(*rated(4, button=2)))
    rows = ledger.store.rows("SELECT level, tags, text FROM rating ORDER BY id")

    assert VERSION == ledger.store.row("PRAGMA user_version")[0]
    assert [("very_satisfied", "", ""), ("dissatisfied", "", ""), ("dissatisfied", "214", "")] == [
        tuple(row) for row in rows
    ]
    assert [] == audit.verify(ledger.path).findings


def test_a_press_of_before_is_rated_when_its_closing_comes(tmp_path, opened):
    """The chain goes on where the older program left it, and its key map keeps its number."""
    old_ledger(tmp_path / "ledger.db")
    ledger = opened()
    agent = Agent(epoch="00000000-0000-4000-8000-000000000001")
    agent.bodies = ledger.records()
    agent.heads += [row["hash"] for row in ledger.store.rows("SELECT hash FROM record ORDER BY seq")]
    ledger.take(agent, agent.write(closing("i3", "C3")))

    assert ["rated"] * 3 == ledger.fates()
    assert 1 == ledger.count("key_map")


def test_a_ledger_of_before_is_verified_as_it_lies(tmp_path):
    """verify only reads, and an old backup must be checked without being touched. Red if it asks for new columns."""
    path = old_ledger(tmp_path / "ledger.db")

    assert (2, []) == (audit.verify(path).ratings, audit.verify(path).findings)
    assert 1 == sqlite3.connect(path).execute("PRAGMA user_version").fetchone()[0]


def test_an_addition_that_fails_leaves_the_ledger_as_it_was(tmp_path):
    """All columns or none. Red if each is added for itself."""
    path = old_ledger(tmp_path / "ledger.db")
    change(path, "ALTER TABLE rating ADD COLUMN text TEXT")
    with pytest.raises(sqlite3.OperationalError, match="duplicate column"):
        Store(path)
    db = sqlite3.connect(path)

    assert 1 == db.execute("PRAGMA user_version").fetchone()[0]
    assert "tags" not in {row[1] for row in db.execute("PRAGMA table_info(rating)")}
    db.close()


def test_a_ledger_of_a_newer_program_is_left_alone(tmp_path):
    """It may keep what this program would not check. Red with any comparison but greater than."""
    path = tmp_path / "ledger.db"
    Store(path).close()
    change(path, f"PRAGMA user_version = {VERSION + 1}")

    with pytest.raises(LedgerMismatch, match="newer"):
        Store(path)
