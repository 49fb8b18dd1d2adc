"""Details of cases on their way into the ledger: from the business system, from the desk, or sealed by a window PC."""

from __future__ import annotations

import logging
import sqlite3

from protocols.messages import SealedCase
from protocols.ratings import Case
from protocols.seal import CannotOpen

from ..vault import Locked, Vault
from .links import rating_of
from .rows import case_sum
from .tally import moved

log = logging.getLogger(__name__)

# What the province said to the old details says nothing about the new ones. What it said to the rating stays.
_WAITING = (
    "SELECT 1 FROM rating WHERE id = ? AND (state = 'awaiting_case' OR state = 'parked' AND reason IN ('lacking',"
    " 'case_refused', 'case_unknown', 'case_damaged', 'item_not_mapped', 'before_service', 'locked'))"
)


def take(db: sqlite3.Connection, vault: Vault, case: Case, given_ms: int, now_ms: int) -> bool:
    """Part of a transaction: keep these details, handed in at `given_ms`; whether they are new, or changed something. A
    rating that waited for them is due now."""
    held = db.execute(
        "SELECT body FROM service_case WHERE case_no = ? AND service_number = ?", (case.case_no, case.service_number)
    ).fetchone()
    if held is not None and _same(vault, case, held["body"]):
        # Said once more: what was sealed before this is older than this.
        db.execute(
            "UPDATE service_case SET given_ms = max(coalesce(given_ms, received_ms), ?)"
            " WHERE case_no = ? AND service_number = ?",
            (given_ms, case.case_no, case.service_number),
        )
        return False
    body = vault.hide(case)
    db.execute(
        "INSERT OR REPLACE INTO service_case(case_no, service_number, body, received_ms, given_ms, sum)"
        " VALUES (?,?,?,?,?,?)",
        (
            case.case_no,
            case.service_number,
            body,
            now_ms,
            given_ms,
            case_sum(case.case_no, case.service_number, body, now_ms),
        ),
    )
    rating = rating_of(db, case.case_no, case.service_number)
    if rating is not None and db.execute(_WAITING, (rating,)).fetchone():
        moved(db, rating, "due")
        db.execute(
            "UPDATE rating SET state = 'due', reason = '', words = '', tries = 0, next_ms = ?, settled_ms = NULL"
            " WHERE id = ?",
            (now_ms, rating),
        )
    return True


def take_sealed(db: sqlite3.Connection, vault: Vault, sealed: SealedCase, now_ms: int) -> None:
    """Part of a transaction: the same for what a window PC has sealed. Locked if the key is not here, CannotOpen if it
    is not whole.

    It may have waited there for days: what was handed in after it stays, and what was deleted as the rule says does.
    """
    case = vault.unseal(sealed.case_no, sealed.service_number, sealed.sealed)
    given_ms = min(sealed.at_ms, now_ms)  # of a clock that is ahead
    held = db.execute(
        "SELECT body, forgotten_ms, max(coalesce(given_ms, received_ms), coalesce(forgotten_ms, 0)) AS at_ms"
        " FROM service_case WHERE case_no = ? AND service_number = ?",
        (case.case_no, case.service_number),
    ).fetchone()
    if held is None or held["at_ms"] < given_ms:
        take(db, vault, case, given_ms, now_ms)
    elif held["forgotten_ms"] is None and not _same(vault, case, held["body"]):
        words = "较早的办件信息, 不覆盖 / case details handed in before those that are here, passed over: %s/%s"
        log.warning(words, case.case_no, case.service_number)


def _same(vault: Vault, case: Case, body: bytes) -> bool:
    try:
        return vault.show(case.case_no, case.service_number, body) == case
    except (Locked, CannotOpen):
        return False  # what comes now can be read
