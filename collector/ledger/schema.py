"""The ledger's tables, and how the file of an older program becomes one of this program."""

from __future__ import annotations

import sqlite3

from protocols import chain

from . import acts, links, rows, tally
from .file import APPLICATION
from .guards import GUARDS, GUARDS_OF_ACTS, GUARDS_OF_HANDS, GUARDS_OF_LINKS

VERSION = 8
_LOSS = (
    "CREATE TABLE loss(id INTEGER PRIMARY KEY, epoch_id INTEGER NOT NULL, epoch TEXT NOT NULL, first INTEGER NOT NULL,"
    " last INTEGER NOT NULL, reason TEXT NOT NULL, at_ms INTEGER NOT NULL)"
)
_STRETCH = (
    "CREATE TABLE stretch(n INTEGER PRIMARY KEY, epoch_id INTEGER NOT NULL, first INTEGER NOT NULL,"
    " upto INTEGER NOT NULL, head BLOB NOT NULL, at_ms INTEGER NOT NULL, hash BLOB NOT NULL)",
    "CREATE TRIGGER stretch_never_changes BEFORE UPDATE ON stretch"
    " BEGIN SELECT RAISE(ABORT, 'stretches never change'); END",
    "CREATE TRIGGER stretch_never_goes BEFORE DELETE ON stretch BEGIN SELECT RAISE(ABORT, 'stretches never go'); END",
)
# Which ledger this is, for as long as there is a copy of it: a checkpoint names it.
_IDENTITY = (
    "CREATE TABLE identity(id TEXT NOT NULL)",
    "INSERT INTO identity(id) VALUES (lower(hex(randomblob(16))))",
    "CREATE TRIGGER identity_stays BEFORE UPDATE ON identity BEGIN SELECT RAISE(ABORT, 'a ledger stays itself'); END",
    "CREATE TRIGGER identity_never_goes BEFORE DELETE ON identity"
    " BEGIN SELECT RAISE(ABORT, 'a ledger stays itself'); END",
    "CREATE TRIGGER identity_once BEFORE INSERT ON identity BEGIN SELECT RAISE(ABORT, 'a ledger has one'); END",
)
# When and how damage of this file was mended, and what the damaged one is called now. No finding is excused by it.
_MENDING = (
    "CREATE TABLE mending(id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, what TEXT NOT NULL, aside TEXT NOT NULL)"
)
_BY_HAND = (
    # The province's number for a rating, and whether a person has it sent as it is.
    "ALTER TABLE rating ADD COLUMN receipt TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE rating ADD COLUMN as_is INTEGER NOT NULL DEFAULT 0",
    # When a citizen's details were deleted from the body, because nobody needs them any longer.
    "ALTER TABLE service_case ADD COLUMN forgotten_ms INTEGER",
    "CREATE INDEX case_known ON service_case(received_ms) WHERE forgotten_ms IS NULL",
    # What people did at the desk of parked ratings: who, when, why, and in `details`, hidden, what was there before.
    "CREATE TABLE correction(id INTEGER PRIMARY KEY, rating INTEGER NOT NULL, at_ms INTEGER NOT NULL,"
    " who TEXT NOT NULL, what TEXT NOT NULL, reason TEXT NOT NULL, details BLOB)",
    "CREATE INDEX correction_rating ON correction(rating)",
    *GUARDS_OF_HANDS,
)
_LINKS = (
    # When a case's details were handed in, by the clock of whoever was handed them: of two the later ones count.
    "ALTER TABLE service_case ADD COLUMN given_ms INTEGER",
    *links.TABLES,
    *GUARDS_OF_LINKS,
)
_ACTS = (*acts.TABLES, *GUARDS_OF_ACTS)
_FOUND = (
    # Of a ledger of years, the closings of a month are found without looking at the others.
    "CREATE INDEX closing_at ON closing(closed_ms, agent, window)",
    # What waits for a person, the worst first: few among millions.
    "CREATE INDEX rating_open ON rating(bad DESC, id) WHERE state IN ('awaiting_case', 'parked')",
)
_ROW_SUMS = ("ALTER TABLE rating ADD COLUMN sum BLOB", "ALTER TABLE service_case ADD COLUMN sum BLOB")
SCHEMA = f"""
CREATE TABLE epoch(
    id INTEGER PRIMARY KEY, agent TEXT NOT NULL, epoch TEXT NOT NULL UNIQUE, upto INTEGER NOT NULL, head BLOB NOT NULL,
    first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL);
-- What was sent, as it was sent. Rows are never changed, never replaced and never deleted.
CREATE TABLE record(
    epoch_id INTEGER NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL, hash BLOB NOT NULL,
    received_ms INTEGER NOT NULL, PRIMARY KEY(epoch_id, seq)) WITHOUT ROWID;
CREATE TRIGGER record_never_changes BEFORE UPDATE ON record BEGIN SELECT RAISE(ABORT, 'records never change'); END;
CREATE TRIGGER record_never_goes BEFORE DELETE ON record BEGIN SELECT RAISE(ABORT, 'records never go'); END;
CREATE TRIGGER record_once BEFORE INSERT ON record
    WHEN EXISTS(SELECT 1 FROM record WHERE epoch_id = NEW.epoch_id AND seq = NEW.seq)
    BEGIN SELECT RAISE(ABORT, 'records are never replaced'); END;
-- Records that an agent had sent and let go of, and that this ledger does not have: it was restored from a backup.
CREATE TABLE gap(
    epoch_id INTEGER NOT NULL, after INTEGER NOT NULL, upto INTEGER NOT NULL, head BLOB NOT NULL,
    at_ms INTEGER NOT NULL, PRIMARY KEY(epoch_id, upto));
-- The ledger's own chain, over what it took of all agents and in which order: chain.py says how.
{"; ".join(_STRETCH)};
-- Records that an agent's disk has lost: it says so itself, in epoch_id. `epoch` is the damaged outbox's.
{_LOSS};
{_MENDING};

-- What it means. Everything below can be made again from the records, but for the province's answers.
CREATE TABLE press(
    id INTEGER PRIMARY KEY, epoch_id INTEGER NOT NULL, seq INTEGER NOT NULL, agent TEXT NOT NULL, window TEXT NOT NULL,
    device TEXT NOT NULL, boot INTEGER NOT NULL, count INTEGER NOT NULL, invitation TEXT, pressed_ms INTEGER NOT NULL,
    fate TEXT NOT NULL, detail TEXT NOT NULL DEFAULT '');
CREATE INDEX press_id ON press(device, boot, count);
CREATE INDEX press_curable ON press(invitation) WHERE fate NOT IN ('rated', 'repeat', 'duplicate', 'unsolicited');
CREATE INDEX press_window ON press(agent, window, fate);
CREATE TABLE closing(
    invitation TEXT PRIMARY KEY, epoch_id INTEGER NOT NULL, seq INTEGER NOT NULL, agent TEXT NOT NULL,
    window TEXT NOT NULL, outcome TEXT NOT NULL, closed_ms INTEGER NOT NULL) WITHOUT ROWID;
-- Which button of a device meant which level from when on: what a rating said when it was made stays checkable.
CREATE TABLE key_map(
    id INTEGER PRIMARY KEY, device TEXT NOT NULL, from_ms INTEGER NOT NULL, keys BLOB NOT NULL);
CREATE TRIGGER key_map_never_changes BEFORE UPDATE ON key_map BEGIN SELECT RAISE(ABORT, 'key maps never change'); END;
CREATE TRIGGER key_map_never_goes BEFORE DELETE ON key_map BEGIN SELECT RAISE(ABORT, 'key maps never go'); END;
CREATE TABLE rating(
    id INTEGER PRIMARY KEY, press INTEGER NOT NULL UNIQUE, once TEXT NOT NULL UNIQUE, level TEXT NOT NULL,
    bad INTEGER NOT NULL, device TEXT NOT NULL, boot INTEGER NOT NULL, count INTEGER NOT NULL, hall TEXT NOT NULL,
    number TEXT NOT NULL, agent TEXT NOT NULL, window TEXT NOT NULL, pressed_ms INTEGER NOT NULL,
    channel TEXT NOT NULL, invitation TEXT, case_no TEXT, service_number INTEGER NOT NULL, clerk TEXT,
    state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', words TEXT NOT NULL DEFAULT '',
    tries INTEGER NOT NULL DEFAULT 0, next_ms INTEGER NOT NULL, duplicate INTEGER NOT NULL DEFAULT 0,
    flagged INTEGER NOT NULL DEFAULT 0, key_map INTEGER NOT NULL, made_ms INTEGER NOT NULL, settled_ms INTEGER,
    tags TEXT NOT NULL DEFAULT '', text TEXT NOT NULL DEFAULT '', sum BLOB); -- rows.py says of what
-- One service, one rating (一次一评).
CREATE UNIQUE INDEX rating_service ON rating(case_no, service_number) WHERE case_no IS NOT NULL;
-- Bad ratings first, then in order of arrival.
CREATE INDEX rating_due ON rating(bad DESC, id) WHERE state = 'due';
CREATE INDEX rating_tries ON rating(tries, next_ms) WHERE state = 'due';
-- Every count of ratings on a page is read from this index alone.
CREATE INDEX rating_counts ON rating(agent, window, state, reason, level, bad, flagged);
CREATE TABLE service_case(
    case_no TEXT NOT NULL, service_number INTEGER NOT NULL, body BLOB NOT NULL, received_ms INTEGER NOT NULL,
    delivered_ms INTEGER, sum BLOB, PRIMARY KEY(case_no, service_number)) WITHOUT ROWID;
-- Each call to the province, written before it is made: after a crash it is known what may have arrived.
CREATE TABLE attempt(
    id INTEGER PRIMARY KEY, rating INTEGER NOT NULL, what TEXT NOT NULL, at_ms INTEGER NOT NULL, verdict TEXT,
    words TEXT NOT NULL DEFAULT '');
CREATE INDEX attempt_rating ON attempt(rating);

CREATE TABLE quarantine(
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, digest BLOB NOT NULL, reason TEXT NOT NULL, payload BLOB NOT NULL,
    size INTEGER NOT NULL, times INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
    UNIQUE(topic, digest));
CREATE TABLE agent(agent TEXT PRIMARY KEY, status BLOB, status_ms INTEGER, health BLOB, health_ms INTEGER);
CREATE TABLE device_count(
    agent TEXT NOT NULL, window TEXT NOT NULL, device TEXT NOT NULL, boot INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY(agent, window, device, boot)) WITHOUT ROWID;
-- What the rows above are held against, day by day.
{"; ".join((*tally.TABLES, *tally.COLUMNS, *tally.INDEXES))};
CREATE TABLE province(id INTEGER PRIMARY KEY CHECK(id = 1), away_since_ms INTEGER, words TEXT NOT NULL DEFAULT '');
INSERT INTO province(id) VALUES (1);
{"; ".join(_BY_HAND)};
{"; ".join(_LINKS)};
{"; ".join(_ACTS)};
{"; ".join(_FOUND)};
{"; ".join(_IDENTITY)};
{"; ".join(GUARDS)};
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""
# What makes a file of one version one of the next. Only tables, columns with a default, and triggers against what no
# program of ours ever did are added: a program of before, that has the file open meanwhile, goes on writing to it. What
# it writes after step 3 is in no count by day, and shows as unexplained: several collectors on one ledger are stopped
# before it.
_STEPS = {
    1: (
        "ALTER TABLE rating ADD COLUMN tags TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE rating ADD COLUMN text TEXT NOT NULL DEFAULT ''",
    ),
    2: (_LOSS, *_STRETCH),
    3: (_MENDING, *_ROW_SUMS, *_IDENTITY, *GUARDS, *tally.TABLES, *tally.COLUMNS, *tally.INDEXES, *tally.TAKEN_OVER),
    4: _BY_HAND,
    5: _LINKS,
    6: _ACTS,
    7: _FOUND,
}


def bring_up(db: sqlite3.Connection) -> None:
    """Make a ledger of an older program one of this program: all of it or nothing."""
    if version_of(db) == VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for version in range(version_of(db), VERSION):  # read again: another program may have been first
            for statement in _STEPS[version]:
                db.execute(statement)
            if version == 2:
                _take_over(db)
            if version == 3:
                rows.add_sums(db)
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _take_over(db: sqlite3.Connection) -> None:
    """What an older program had taken, as one stretch of each epoch."""
    before = chain.LEDGER
    rows = db.execute("SELECT id, epoch, upto, head, last_ms FROM epoch WHERE upto > 0 ORDER BY id").fetchall()
    for row in rows:
        before = chain.stretch(before, row["epoch"], 1, row["upto"], row["head"], row["last_ms"])
        db.execute(
            "INSERT INTO stretch(epoch_id, first, upto, head, at_ms, hash) VALUES (?,1,?,?,?,?)",
            (row["id"], row["upto"], row["head"], row["last_ms"], before),
        )


def version_of(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version
