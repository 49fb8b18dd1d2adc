"""Citizens' details in the ledger: hidden where an older program left them in clear, and deleted when nobody needs
them any longer. The ratings, their records and every chain stay as they are, and stay verifiable."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from protocols.seal import CannotOpen

from ..vault import Locked, Vault, without_person
from .links import rating_of
from .rows import case_sum
from .store import Store

_AT_ONCE = 200  # rows of one transaction: the intake waits for no longer than that takes
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Keep:
    """For how long, in days."""

    accepted_days: int
    """After the province has taken the rating."""
    unrated_days: int
    """After they came, of a case that nobody has rated."""


def hides(ledger: Path) -> bool:
    """Whether any details in this ledger are hidden: they can be read with their key only."""
    db = sqlite3.connect(f"{ledger.absolute().as_uri()}?mode=ro", uri=True)
    try:
        found = db.execute("SELECT 1 FROM service_case WHERE substr(body, 1, 1) != x'7b' LIMIT 1").fetchone()
    except sqlite3.DatabaseError:
        return False  # no ledger, or a damaged one: the store says so better
    finally:
        db.close()
    return found is not None


class Details:
    """Looks after the details of all cases; a few at a time, so that nobody waits."""

    def __init__(self, store: Store, vault: Vault, keep: Keep):
        self._store = store
        self._vault = vault
        self._keep = keep

    def hide(self) -> int:
        """Hide some of what stands there in clear; how many, 0 when all is hidden."""
        with self._store.writing() as db:
            rows = db.execute(
                "SELECT case_no, service_number, body, received_ms FROM service_case"
                " WHERE substr(body, 1, 1) = x'7b' LIMIT ?",
                (_AT_ONCE,),
            ).fetchall()
            for row in rows:
                case = self._vault.show(row["case_no"], row["service_number"], row["body"])
                self._put(db, row, self._vault.hide(case))
        return len(rows)

    def forget(self, now_ms: int) -> int:
        """Delete who somebody is from some of the cases that nobody needs any longer; how many, 0 when all is done.

        A rating that waits, or that is parked, keeps its details, however long that takes.
        """
        with self._store.writing() as db:
            rows = db.execute(
                "SELECT service_case.case_no, service_case.service_number, body, received_ms FROM service_case"
                " LEFT JOIN case_link USING (case_no, service_number) LEFT JOIN rating ON rating.id ="
                " coalesce(case_link.rating, (SELECT id FROM rating AS own WHERE own.case_no = service_case.case_no"
                " AND own.service_number = service_case.service_number)) WHERE forgotten_ms IS NULL"
                " AND received_ms < max(:accepted_ms, :unrated_ms)"
                " AND CASE WHEN rating.id IS NULL THEN received_ms < :unrated_ms"
                "  ELSE state = 'accepted' AND settled_ms < :accepted_ms END LIMIT :most",
                {
                    "unrated_ms": now_ms - self._keep.unrated_days * _DAY_MS,
                    "accepted_ms": now_ms - self._keep.accepted_days * _DAY_MS,
                    "most": _AT_ONCE,
                },
            ).fetchall()
            for row in rows:
                self._put(db, row, self._forgotten(row))
                db.execute(
                    "UPDATE service_case SET forgotten_ms = ? WHERE case_no = ? AND service_number = ?",
                    (now_ms, row["case_no"], row["service_number"]),
                )
                rating = rating_of(db, row["case_no"], row["service_number"])
                db.execute("UPDATE correction SET details = NULL WHERE rating = ?", (rating,))
        return len(rows)

    def _forgotten(self, row: sqlite3.Row) -> bytes:
        try:
            case = self._vault.show(row["case_no"], row["service_number"], row["body"])
        except (Locked, CannotOpen):
            return b""  # nobody can read it any more, and nobody is to
        return self._vault.hide(without_person(case))

    def _put(self, db: sqlite3.Connection, row: sqlite3.Row, body: bytes) -> None:
        at = row["case_no"], row["service_number"]
        db.execute(
            "UPDATE service_case SET body = ?, sum = ? WHERE case_no = ? AND service_number = ?",
            (body, case_sum(*at, body, row["received_ms"]), *at),
        )
