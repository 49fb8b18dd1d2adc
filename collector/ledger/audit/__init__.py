"""Recomputes every chain in the ledger, and whether what was made of each record still is what the record says."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from ..file import APPLICATION, LedgerMismatch
from . import chains, closings, counted, presses, sums, whole
from .acts import acts
from .findings import FINDINGS_MAX, Finding, Gap, Mending
from .held import has
from .readers import Readers, Task

__all__ = ["Audit", "Finding", "Gap", "Head", "Mending", "compared", "verify"]

_ALONE = 150_000  # records: fewer are looked at before a second process has started


class Head(msgspec.Struct, frozen=True):
    """The last record of a day as the hall itself kept it: a line of `edge-agent heads`."""

    agent: str
    epoch: str
    day: str
    seq: int
    head: str


@dataclass(frozen=True)
class Audit:
    """What was looked at, and what was found."""

    epochs: int
    records: int
    ratings: int
    gaps: list[Gap]
    findings: list[Finding]
    mendings: list[Mending]
    """What the ledger says of itself; none of it excuses a finding."""


def verify(
    path: Path, processes: int | None = None, progress: Callable[[int, int], None] = lambda _done, _whole: None
) -> Audit:
    """Read the ledger at `path`, beside a collector that may be running, and check all of it.

    With so many processes; if none are given, one for each core, and one alone for a small ledger. What is found is the
    same, and in the same order. `progress` is called with what is done and the whole, in records or so.
    """
    size = _size(path)
    if processes is None:
        processes = cores() if size > _ALONE else 1
    with Readers(path, processes) as readers:
        db = readers.db
        tallied, summed = has(db, "press_count"), sums.there(db)
        kinds: dict[str, list[Task]] = {
            "records": [Task(chains.records, pieces, chains.RANGE) for pieces in chains.pieces(db)],
            "stretches": [Task(chains.stretches, span, chains.RANGE) for span in _stretches(db)],
            "presses": [Task(presses.presses, span, 5 * chains.RANGE) for span in chains.spans(db, "press", "id")],
            "calls": [Task(whole.sent, span, chains.RANGE // 4) for span in chains.spans(db, "attempt", "id")],
            # Each of these in one go, and so among the first.
            "cases": [Task(sums.cases, None, size)] if summed else [],
            "reused": [Task(counted.reused, None, size // 4)] if tallied else [],
        }
        results = iter(readers.done([task for tasks in kinds.values() for task in tasks], progress))
        found = {kind: list(islice(results, len(tasks))) for kind, tasks in kinds.items()}
        chained = [each for task in found["records"] for each in task]
        findings = chains.of_epochs(chained)
        if kinds["stretches"]:
            findings += chains.joined(db, found["stretches"])
        findings += chains.times(db)
        findings += chains.strays(db)
        findings += chains.removed(db)
        ratings, wrong = whole.joined(db, chained, found["presses"], found["calls"])
        findings += wrong
        findings += closings.joined(db, (each.closings for each in chained))
        if tallied:
            findings += _miscounted(db, chained, whole.made(db, found["presses"], ratings), found["reused"][0])
        findings += [finding for cases in found["cases"] for finding in cases]
        findings += sums.linked(db)
        findings += acts(db)
        epochs = db.execute("SELECT count(*) FROM epoch").fetchone()[0]
        return Audit(
            epochs, sum(each.records for each in chained), ratings, chains.gaps(db), findings, sums.mendings(db)
        )


def _miscounted(
    db: sqlite3.Connection, chained: list[chains.Chained], made: counted.Made, numbers: dict[Any, tuple[Any, ...]]
) -> list[Finding]:
    """What was counted day by day, held against the rows."""
    records: Counter[int] = Counter()
    for each in chained:
        records[each.piece.epoch.number] += each.records
    differences = counted.differences(db, made, numbers, records, FINDINGS_MAX)
    return [Finding(agent, "?", 0, what) for agent, what in differences]


def cores() -> int:
    """How many processes can run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _stretches(db: sqlite3.Connection) -> list[chains.Span]:
    # Not in a ledger of an older program that has not been started anew.
    return chains.spans(db, "stretch", "n") if has(db, "stretch") else []


def _size(path: Path) -> int:
    """About how many records it holds; LedgerMismatch if it is none."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as db:
        if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            raise LedgerMismatch(f"{path}: 不是账本 / is no ledger")
        size: int = db.execute("SELECT CAST(total(upto) AS INTEGER) FROM epoch").fetchone()[0]
        return size


def compared(path: Path, heads: Iterable[Head]) -> list[Finding]:
    """What of a hall's own heads is not what the ledger at `path` holds."""
    findings: list[Finding] = []
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as db:
        for head in heads:
            row = db.execute(
                "SELECT agent, hash FROM epoch LEFT JOIN record ON epoch_id = epoch.id AND seq = ? WHERE epoch = ?",
                (head.seq, head.epoch),
            ).fetchone()
            if row is None or row[1] is None:
                what = f"{head.day}: 账本还没有这一条 / the ledger does not have this record yet"
            elif row[0] != head.agent:
                what = f"{head.day}: 账本中属于 {row[0]} / belongs to {row[0]} in the ledger"
            elif row[1].hex() != head.head:
                what = f"{head.day}: 与本厅自留的链首不符 / differs from the head that the hall kept"
            else:
                continue
            findings.append(Finding(head.agent, head.epoch, head.seq, what))
    return findings
