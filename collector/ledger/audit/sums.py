"""Whether every rating and every case is what was written, also where no record says what it has to be; and what the
ledger says of damage to its file."""

from __future__ import annotations

import sqlite3

from ..rows import RATING, case_sum, rating_sum
from .chains import Span, bounds, has
from .findings import FINDINGS_MAX, Finding, Mending


def ratings(db: sqlite3.Connection, span: Span) -> list[Finding]:
    """Those of these ratings that differ from their sum."""
    db.create_function("rating_sum", -1, lambda *said: rating_sum(said), deterministic=True)
    said = ", ".join(f"rating.{name}" for name in RATING)
    what = "评价与其校验值不符 / a rating differs from its sum"
    return _found(
        db,
        what,
        "FROM rating LEFT JOIN press ON press.id = rating.press"
        f" WHERE rating.sum != rating_sum({said}){bounds('rating.id', span.first, span.end)}",
    )


def cases(db: sqlite3.Connection, _all: None) -> list[Finding]:
    """Those cases that differ from theirs."""
    db.create_function("case_sum", 4, case_sum, deterministic=True)
    what = "办件与其校验值不符 / a case differs from its sum"
    return _found(
        db,
        what,
        "FROM service_case JOIN rating USING (case_no, service_number) LEFT JOIN press ON press.id = rating.press"
        " WHERE service_case.sum != case_sum(case_no, service_number, body, received_ms)",
    )


def there(db: sqlite3.Connection) -> bool:
    """Whether rows have sums: not in a ledger of an older program."""
    return "sum" in {row[1] for row in db.execute("PRAGMA table_info(rating)")}


def mendings(db: sqlite3.Connection) -> list[Mending]:
    """Damage that was turned back. None of it excuses a finding."""
    if not has(db, "mending"):
        return []
    rows = db.execute("SELECT strftime('%Y-%m-%d %H:%M:%S', at_ms / 1000, 'unixepoch'), what, aside FROM mending")
    return [Mending(*row) for row in rows]


def _found(db: sqlite3.Connection, what: str, question: str) -> list[Finding]:
    names = dict(db.execute("SELECT id, epoch FROM epoch"))
    rows = db.execute(
        f"SELECT rating.agent, press.epoch_id, coalesce(press.seq, 0) {question} LIMIT {FINDINGS_MAX}"
    ).fetchall()
    return [Finding(agent, names.get(epoch, "?"), seq, what) for agent, epoch, seq in rows]
