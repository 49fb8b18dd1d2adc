"""Whether the ledger keeps one closing of each invitation, and as its record says it: coverage counts these rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field

from protocols.messages import ClosingRecord

from .findings import FINDINGS_MAX, Finding, enough
from .held import has, record

# Invitations of one question to the table: a question for each of millions costs more than its answer. SQLite before
# 3.32 takes 999 values, and as values they are compared whole: JSON ends at a zero.
_AT_ONCE = 500
_ROWS = "SELECT invitation, epoch_id, seq, agent, window, outcome, closed_ms FROM closing WHERE invitation IN ({})"
_UNLIKE = "终结与其记录不符 / a closing differs from its record"
_FORGOTTEN = "终结记录没有下文 / nothing became of a closing"


@dataclass
class Kept:
    """How many closing records of one piece of an epoch have a row of their own, and which have none and should."""

    rows: int = 0
    findings: list[Finding] = field(default_factory=list)


def kept(db: sqlite3.Connection, number: int, agent: str, epoch: str, said: Iterable[tuple[int, bytes]]) -> Kept:
    """Hold these records of an epoch (seq and body) against their rows."""
    found = Kept()
    # One that nobody can read is in quarantine, and rightly has no row.
    closed = [(seq, closing) for seq, body in said if isinstance(closing := record(body), ClosingRecord)]
    for part in (closed[at : at + _AT_ONCE] for at in range(0, len(closed), _AT_ONCE)):
        asked = [closing.invitation for _, closing in part]
        rows = {row[0]: row[1:] for row in db.execute(_ROWS.format(",".join("?" * len(asked))), asked)}
        for seq, closing in part:
            row = rows.get(closing.invitation)
            if row == (number, seq, agent, closing.window, closing.outcome, closing.closed_ms):
                found.rows += 1
            elif len(found.findings) <= FINDINGS_MAX and (
                row is None or not _stands_for(db, row, closing, agent, (number, seq))
            ):
                found.findings.append(Finding(agent, epoch, seq, _FORGOTTEN if row is None else _UNLIKE))
    return found


def _facts(closing: ClosingRecord) -> tuple[str, str, int]:
    return closing.window, closing.outcome, closing.closed_ms


def _stands_for(
    db: sqlite3.Connection, row: tuple[object, ...], closing: ClosingRecord, agent: str, here: tuple[int, int]
) -> bool:
    """Whether the row is another record's, that closed the same invitation before this one of `agent` did."""
    other = _at(db, row[0], row[1])
    if other is None or other.invitation != closing.invitation:
        return False
    if row[2] == agent and _facts(other) == _facts(closing):
        return True  # a damaged outbox is sent again as it was: which of the two came first changes nothing
    return not has(db, "stretch") or _taken(db, row[0], row[1]) <= _taken(db, *here)


def _at(db: sqlite3.Connection, number: object, seq: object) -> ClosingRecord | None:
    row = db.execute("SELECT CAST(body AS BLOB) FROM record WHERE epoch_id = ? AND seq = ?", (number, seq)).fetchone()
    found = record(row[0]) if row else None
    return found if isinstance(found, ClosingRecord) else None


def _taken(db: sqlite3.Connection, number: object, seq: object) -> tuple[int, object]:
    """When it was taken: by stretches, as a clock may go back, and within one by number."""
    row = db.execute(
        "SELECT n FROM stretch WHERE epoch_id = ? AND ? BETWEEN first AND upto ORDER BY n LIMIT 1", (number, seq)
    ).fetchone()
    return (row[0] if row else 0), seq


def joined(db: sqlite3.Connection, found: Iterable[Kept]) -> list[Finding]:
    """What is wrong with all closings. A row without a record is only looked for where the numbers do not agree."""
    findings, rows = [], 0
    for each in found:
        findings += each.findings
        rows += each.rows
    if rows != db.execute("SELECT count(*) FROM closing").fetchone()[0]:
        findings += _strays(db)
    return enough(dict.fromkeys(findings))


def _strays(db: sqlite3.Connection) -> list[Finding]:
    findings: list[Finding] = []
    for invitation, *row, owner, epoch, body in db.execute(
        "SELECT invitation, epoch_id, seq, closing.agent, window, outcome, closed_ms, epoch.agent, epoch.epoch,"
        " CAST(body AS BLOB) FROM closing LEFT JOIN record USING (epoch_id, seq)"
        " LEFT JOIN epoch ON epoch.id = epoch_id ORDER BY invitation"
    ):
        closing = record(body)
        said = (closing.invitation, owner, *_facts(closing)) if isinstance(closing, ClosingRecord) else None
        if (invitation, *row[2:]) != said and len(findings) <= FINDINGS_MAX:
            seq = row[1] if isinstance(row[1], int) else 0  # somebody has put there what is no number
            findings.append(Finding(owner or str(row[2]), epoch or "?", seq, _UNLIKE))
    return findings
