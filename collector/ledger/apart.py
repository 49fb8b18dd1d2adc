"""What may no longer be sent after a disk has altered it: for a person."""

from __future__ import annotations

import logging
import sqlite3

from . import links
from .rows import case_holds, rating_holds

log = logging.getLogger(__name__)


def set_apart(db: sqlite3.Connection, now_ms: int) -> int:
    """Park what may no longer be sent, for a person: ratings, or their details, that are not what was written, and
    cannot be mended. How many. Part of the transaction that it is asked in."""
    rows = db.execute(
        "SELECT rating.*, service_case.body, service_case.sum AS case_sum, service_case.received_ms AS case_ms,"
        f" {links.ITS} FROM rating NOT INDEXED {links.JOINED} LEFT JOIN {links.CASE_JOINED} WHERE state != 'accepted'"
    )
    wrong = []
    for row in rows:
        reason = "" if rating_holds(row) and links.holds(row) else "damaged"
        reason = reason or ("" if case_holds(row) else "case_damaged")
        if reason:
            log.error(
                "评价已损坏, 不上报, 待人处理 / rating is damaged, parked and not sent: %s (%s)", row["id"], reason
            )
            wrong.append((reason, now_ms, row["id"]))
    db.executemany("UPDATE rating SET state = 'parked', reason = ?, settled_ms = ? WHERE id = ?", wrong)
    return len(wrong)
