"""What is wrong with the presses and ratings of a ledger as a whole, once all spans have been looked at."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from itertools import islice

from protocols.messages import PressRecord

from . import counted
from .chains import Chained, Epoch, Span, bounds
from .chains import epochs as all_epochs
from .findings import FINDINGS_MAX, Finding, enough
from .held import PRESS, record
from .marks import Marks
from .presses import Understood


def sent(db: sqlite3.Connection, span: Span) -> Marks:
    """The ratings that the province took by one of these calls."""
    calls = "SELECT CAST(rating AS INTEGER) FROM attempt WHERE what = 'rating' AND verdict = 'accepted'"
    return Marks(rating for (rating,) in db.execute(calls + bounds("id", *span)))


def joined(
    db: sqlite3.Connection, chained: Iterable[Chained], found: list[Understood], calls: Iterable[Marks]
) -> tuple[int, list[Finding]]:
    """How many ratings there are, and what is wrong with all presses and ratings, from their spans in order.

    Where the numbers agree nothing is missing and nothing too much; only where they do not is it looked for.
    """
    findings = [finding for each in found for finding in each.findings]
    ratings: int = db.execute("SELECT count(*) FROM rating").fetchone()[0]
    if ratings != sum(each.ratings for each in found):
        findings += _without_press(db)
    findings += _unsent(db, found, calls)
    findings += _without_row(db, chained, found)
    findings += _disordered(db, found)
    return ratings, enough(dict.fromkeys(findings))


def made(db: sqlite3.Connection, found: Iterable[Understood], ratings: int) -> counted.Made:
    """What all presses and ratings add up to, day by day."""
    added, joined = counted.Made(), 0
    for each in found:
        added.join(each.made)
        joined += each.ratings
    if joined != ratings:  # some have no press
        added.ratings = counted.ratings(db)
    return added


def _unsent(db: sqlite3.Connection, found: Iterable[Understood], calls: Iterable[Marks]) -> list[Finding]:
    accepted, sent = Marks(), Marks()
    for each in found:
        accepted.join(each.accepted)
    for marks in calls:
        sent.join(marks)
    names = {epoch.number: (epoch.agent, epoch.epoch) for epoch in all_epochs(db)}
    findings = []
    for rating in islice(accepted.without(sent), FINDINGS_MAX):
        agent, number, seq = db.execute(
            "SELECT press.agent, CAST(epoch_id AS INTEGER), CAST(seq AS INTEGER) FROM rating"
            " JOIN press ON press.id = rating.press WHERE rating.id = ?",
            (rating,),
        ).fetchone()
        owner, epoch = names.get(number, (agent, "?"))
        what = "评价标为已接收却没有发送记录 / a rating called accepted and never sent"
        findings.append(Finding(owner, epoch, seq, what))
    return findings


def _without_press(db: sqlite3.Connection) -> list[Finding]:
    rows = db.execute(
        "SELECT agent FROM rating WHERE NOT EXISTS (SELECT 1 FROM press WHERE press.id = rating.press) ORDER BY id"
        f" LIMIT {FINDINGS_MAX}"
    )
    return [Finding(agent, "?", 0, "评价没有对应的记录 / a rating without a record") for (agent,) in rows]


def _without_row(db: sqlite3.Connection, chained: Iterable[Chained], found: list[Understood]) -> list[Finding]:
    """Press records of which nothing became. One that nobody can read is in quarantine, and rightly has no row."""
    records: dict[Epoch, int] = {}
    for each in chained:
        records[each.piece.epoch] = records.get(each.piece.epoch, 0) + each.presses
    rows: dict[int, int] = {}
    for understood in found:
        for number, of_epoch in understood.epochs.items():
            rows[number] = rows.get(number, 0) + of_epoch.rows
    findings: list[Finding] = []
    for epoch, presses in records.items():
        if presses != rows.get(epoch.number, 0) and len(findings) < FINDINGS_MAX:
            findings += _orphans(db, epoch) + _twice(db, epoch.number)
    return findings


def _orphans(db: sqlite3.Connection, epoch: Epoch) -> list[Finding]:
    rows = db.execute(
        "SELECT seq, CAST(body AS BLOB) FROM record WHERE epoch_id = :epoch AND substr(CAST(body AS BLOB), 1, :length)"
        " = :press AND seq NOT IN (SELECT seq FROM press WHERE epoch_id = :epoch) ORDER BY seq",
        {"epoch": epoch.number, "length": len(PRESS), "press": PRESS},
    )
    what = "按键记录没有下文 / nothing became of a press"
    return enough(
        Finding(epoch.agent, epoch.epoch, seq, what) for seq, body in rows if isinstance(record(body), PressRecord)
    )


def _disordered(db: sqlite3.Connection, found: list[Understood]) -> list[Finding]:
    """Rows of an epoch stand as its records do; where they do not, one may stand there twice, or hide another."""
    last: dict[int, int] = {}
    epochs: set[int] = set()
    for understood in found:
        for number, of_epoch in understood.epochs.items():
            if not of_epoch.ordered or of_epoch.first <= last.get(number, of_epoch.first - 1):
                epochs.add(number)
            last[number] = of_epoch.last
    findings: list[Finding] = []
    for epoch in all_epochs(db):
        if epoch.number in epochs and len(findings) < FINDINGS_MAX:
            findings += _twice(db, epoch.number) + _orphans(db, epoch)
    return findings


def _twice(db: sqlite3.Connection, number: int) -> list[Finding]:
    """Presses that were made of one record."""
    rows = db.execute(
        "SELECT coalesce(epoch.agent, ''), coalesce(epoch.epoch, '?'), seq FROM press LEFT JOIN epoch"
        " ON epoch.id = epoch_id WHERE epoch_id = ? GROUP BY seq HAVING count(*) > 1 ORDER BY seq"
        f" LIMIT {FINDINGS_MAX}",
        (number,),
    )
    what = "一条记录成了两次按键 / one record became two presses"
    return [Finding(agent, epoch, seq, what) for agent, epoch, seq in rows]
