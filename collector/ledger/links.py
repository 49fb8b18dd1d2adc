"""Cases that a person has found for ratings which came without a number: kept beside them, for nothing that was pressed
is ever changed. A link is made once and stays."""

from __future__ import annotations

import sqlite3
from hashlib import blake2b

import msgspec

from .rows import SUM_BYTES

TABLES = (
    "CREATE TABLE case_link(rating INTEGER PRIMARY KEY, case_no TEXT NOT NULL, service_number INTEGER NOT NULL,"
    " at_ms INTEGER NOT NULL, who TEXT NOT NULL, reason TEXT NOT NULL, sum BLOB NOT NULL,"
    " UNIQUE(case_no, service_number))",
)
CASE_NO = "coalesce(case_link.case_no, rating.case_no)"
NUMBER = "coalesce(case_link.service_number, rating.service_number)"
JOINED = "LEFT JOIN case_link ON case_link.rating = rating.id"
"""Behind `rating` in a statement: CASE_NO and NUMBER are then the service that it is of."""
CASE_JOINED = f"service_case ON service_case.case_no = {CASE_NO} AND service_case.service_number = {NUMBER}"
"""The details of that service, behind JOINED and a JOIN."""
ITS = (
    f"{CASE_NO} AS its_case_no, {NUMBER} AS its_number, case_link.case_no AS linked_no, case_link.at_ms AS linked_ms,"
    " case_link.sum AS link_sum"
)
"""To be selected: what `holds` looks at, and its service."""
_OF = "SELECT id FROM rating WHERE case_no = ? AND service_number = ?"
_LINKED = "SELECT rating FROM case_link WHERE case_no = ? AND service_number = ?"
_encode = msgspec.json.Encoder().encode


def link_sum(rating: int, case_no: str, service_number: int, at_ms: int) -> bytes:
    """What stands beside these values in their row."""
    return blake2b(_encode((rating, case_no, service_number, at_ms)), digest_size=SUM_BYTES).digest()


def holds(row: sqlite3.Row) -> bool:
    """Whether the link of this rating, a row of ITS, is what was written; so is none."""
    if row["linked_no"] is None:
        return row["link_sum"] is None
    said = link_sum(row["id"], row["linked_no"], row["its_number"], row["linked_ms"])
    return bool(row["case_no"] is None and row["link_sum"] == said)


def ratings_of_case(db: sqlite3.Connection, case_no: str) -> list[int]:
    """The ratings of this case, one of each of its services that was rated, in the order of the services."""
    rows = db.execute(
        "SELECT id, service_number FROM rating WHERE case_no = ?"
        " UNION ALL SELECT rating, service_number FROM case_link WHERE case_no = ? ORDER BY service_number",
        (case_no, case_no),
    )
    return [row[0] for row in rows]


def rating_of(db: sqlite3.Connection, case_no: str, service_number: int) -> int | None:
    """The rating of this service; None if it has none."""
    service = (case_no, service_number)
    row = db.execute(f"{_OF} UNION ALL {_LINKED}", (*service, *service)).fetchone()
    return None if row is None else int(row[0])


def link(
    db: sqlite3.Connection, rating: int, case_no: str, service_number: int, who: str, reason: str, now_ms: int
) -> None:
    """Part of a transaction: this rating is of this service, which has none."""
    said = link_sum(rating, case_no, service_number, now_ms)
    db.execute(
        "INSERT INTO case_link(rating, case_no, service_number, at_ms, who, reason, sum) VALUES (?,?,?,?,?,?,?)",
        (rating, case_no, service_number, now_ms, who, reason, said),
    )
