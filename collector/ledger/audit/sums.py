"""Whether every case is what was written, though no record says what it has to be; and what the ledger says of damage
to its file."""

from __future__ import annotations

import sqlite3
from hashlib import blake2b

from .. import links
from ..rows import SUM_BYTES, case_sum
from .findings import FINDINGS_MAX, Finding, Mending
from .held import has


def cases(db: sqlite3.Connection, _all: None) -> list[Finding]:
    """Those cases that differ from their sums."""
    return [] if _cases_hold(db) else _altered_cases(db)


def _cases_hold(db: sqlite3.Connection) -> bool:
    """Fast, for all cases of a province: what is hashed is written by SQLite itself."""
    text = (
        "SELECT CASE WHEN typeof(body) = 'blob' THEN"
        " CAST(json_array(case_no, service_number, received_ms) || body AS BLOB) END, sum FROM service_case"
    )
    try:
        return all(
            stated is None or blake2b(said, digest_size=SUM_BYTES).digest() == stated
            for said, stated in db.execute(text)
        )
    except (sqlite3.OperationalError, TypeError):
        return False  # bytes where text belongs, or text where bytes do


def _altered_cases(db: sqlite3.Connection) -> list[Finding]:
    db.create_function("case_sum", 4, case_sum, deterministic=True)
    names = dict(db.execute("SELECT id, epoch FROM epoch"))
    rows = db.execute(
        f"SELECT rating.agent, press.epoch_id, coalesce(press.seq, 0) FROM rating {_joined(db)}"
        " LEFT JOIN press ON press.id = rating.press WHERE service_case.sum != case_sum(service_case.case_no,"
        " service_case.service_number, body, received_ms)"
        f" LIMIT {FINDINGS_MAX}"
    ).fetchall()
    what = "办件与其校验值不符 / a case differs from its sum"
    return [Finding(agent, names.get(epoch, "?"), seq, what) for agent, epoch, seq in rows]


def _joined(db: sqlite3.Connection) -> str:
    if has(db, "case_link"):
        return f"{links.JOINED} JOIN {links.CASE_JOINED}"
    return "JOIN service_case USING (case_no, service_number)"


def linked(db: sqlite3.Connection) -> list[Finding]:
    """Links of ratings to cases that are not what a person made: of a rating that came without a case, by its sum."""
    if not has(db, "case_link"):
        return []
    names = dict(db.execute("SELECT id, epoch FROM epoch"))
    rows = db.execute(
        "SELECT case_link.rating, case_link.case_no, case_link.service_number, at_ms, case_link.sum, rating.case_no,"
        " rating.agent, press.epoch_id, coalesce(press.seq, 0) FROM case_link LEFT JOIN rating"
        " ON rating.id = case_link.rating LEFT JOIN press ON press.id = rating.press"
    )
    what = "评价的办件关联与人工所做不符 / a rating's link to a case is not what a person made"
    return [
        Finding(agent or "?", names.get(epoch, "?"), seq, what)
        for *said, stated, own, agent, epoch, seq in rows
        if own is not None or agent is None or links.link_sum(*said) != stated
    ][:FINDINGS_MAX]


def there(db: sqlite3.Connection) -> bool:
    """Whether rows have sums: not in a ledger of an older program."""
    return "sum" in {row[1] for row in db.execute("PRAGMA table_info(rating)")}


def mendings(db: sqlite3.Connection) -> list[Mending]:
    """Damage that was turned back. None of it excuses a finding."""
    if not has(db, "mending"):
        return []
    rows = db.execute("SELECT strftime('%Y-%m-%d %H:%M:%S', at_ms / 1000, 'unixepoch'), what, aside FROM mending")
    return [Mending(*row) for row in rows]
