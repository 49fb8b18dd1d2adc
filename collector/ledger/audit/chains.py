"""The chains of a ledger, range by range: each range begins with the hash before it, which the range before proves."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from typing import NamedTuple

from protocols import chain

from .closings import Kept, kept
from .findings import FINDINGS_MAX, Finding, Gap
from .held import CLOSING, PRESS, has

RANGE = 50_000
"""Records or stretches of one task, or a multiple where there are too many: a second of work at most."""
_RANGES_MAX = 5_000  # of one epoch: a number that somebody has put there must not make millions of tasks


class Epoch(NamedTuple):
    """One row of the table: its number, whose it is, and where it ends."""

    number: int
    agent: str
    epoch: str
    upto: int
    head: bytes
    first_ms: int
    last_ms: int


# As what they should be, whatever somebody put there.
_EPOCH = (
    "id, CAST(agent AS TEXT), CAST(epoch AS TEXT), CAST(upto AS INTEGER), CAST(head AS BLOB),"
    " CAST(first_ms AS INTEGER), CAST(last_ms AS INTEGER)"
)


def epochs(db: sqlite3.Connection) -> list[Epoch]:
    """All of them, in order."""
    return [Epoch(*row) for row in db.execute(f"SELECT {_EPOCH} FROM epoch ORDER BY id").fetchall()]


class Piece(NamedTuple):
    """Records of one epoch, from `first` on and before `end`; None where nothing bounds them."""

    epoch: Epoch
    first: int | None
    end: int | None


@dataclass
class Chained:
    """One piece looked at: its records, how many of them are presses by their first bytes, what is wrong, and what the
    ledger keeps of its closings."""

    piece: Piece
    records: int = 0
    presses: int = 0
    findings: list[Finding] = field(default_factory=list)
    closings: Kept = field(default_factory=Kept)


def pieces(db: sqlite3.Connection) -> list[list[Piece]]:
    """All records of the ledger, in order and in tasks of about the same size."""
    tasks: list[list[Piece]] = []
    room = 0
    for epoch in epochs(db):
        last = db.execute(
            "SELECT CAST(seq AS INTEGER) FROM record WHERE epoch_id = ? ORDER BY seq DESC LIMIT 1", (epoch.number,)
        ).fetchone()
        size = last[0] if last else 0
        for first, end in _ranges(0, size):
            if room <= 0:
                tasks.append([])
                room = RANGE
            tasks[-1].append(Piece(epoch, first, end))
            room -= min(size, RANGE)
    return tasks


def _ranges(before: int, last: int) -> Iterator[tuple[int | None, int | None]]:
    """From nothing to nothing, cut in between: whatever a number is, it lies in one of them."""
    step = RANGE * (1 + max(0, last - before) // RANGE // _RANGES_MAX)
    cuts = [None, *range(before + step + 1, last + 1, step), None]
    return pairwise(cuts)


def bounds(column: str, first: int | None, end: int | None) -> str:
    """The rest of a condition; its numbers are ours."""
    low = "" if first is None else f" AND {column} >= {first}"
    return low + ("" if end is None else f" AND {column} < {end}")


def records(db: sqlite3.Connection, task: Iterable[Piece]) -> list[Chained]:
    """Recompute the chain of each piece."""
    return [_piece(db, piece) for piece in task]


def _piece(db: sqlite3.Connection, piece: Piece) -> Chained:
    number, agent, epoch, upto, head, *_ = piece.epoch
    gaps = {
        last: (after, known)
        for after, last, known in db.execute(
            "SELECT CAST(after AS INTEGER), CAST(upto AS INTEGER), CAST(head AS BLOB) FROM gap WHERE epoch_id = ?",
            (number,),
        )
    }
    running, expected = chain.genesis(agent, epoch), 1
    # As blobs and whole numbers, whatever somebody put there: a strange type is a finding too.
    columns = "CAST(seq AS INTEGER), CAST(body AS BLOB), CAST(hash AS BLOB) FROM record WHERE epoch_id = ?"
    if piece.first is not None:
        before = db.execute(f"SELECT {columns} AND seq < ? ORDER BY seq DESC LIMIT 1", (number, piece.first)).fetchone()
        if before is not None:
            running, expected = before[2], before[0] + 1
    found = Chained(piece)
    findings, closed, count, presses = found.findings, list[tuple[int, bytes]](), 0, 0
    rows = db.execute(f"SELECT {columns}{bounds('seq', piece.first, piece.end)} ORDER BY seq", (number,))
    for seq, body, digest in rows:
        if seq != expected:
            # A gap that was named before all that could still come had come begins earlier than what is missing.
            if seq - 1 in gaps and gaps[seq - 1][0] < expected:
                running = gaps[seq - 1][1]
            elif len(findings) <= FINDINGS_MAX:
                findings.append(Finding(agent, epoch, expected, f"缺 {expected}–{seq - 1} 条 / records missing"))
        # What chain.link does, without the call: this line runs for every record of a province.
        running = sha256(running + body).digest()
        if digest != running:
            if len(findings) <= FINDINGS_MAX:
                findings.append(Finding(agent, epoch, seq, "记录或哈希被改 / record or hash was changed"))
            running = digest  # to find what else was changed, and not this one again in all that follow
        expected = seq + 1
        count += 1
        if body.startswith(PRESS):
            presses += 1
        elif body.startswith(CLOSING):
            closed.append((seq, body))
    if piece.end is None and (expected - 1 != upto or running != head):
        findings.append(Finding(agent, epoch, expected, "末尾记录缺失 / records missing at the end"))
    found.records, found.presses = count, presses
    found.closings = kept(db, number, agent, epoch, closed)
    return found


# ---- the ledger's own


class Span(NamedTuple):
    """Rows from number `first` on and before `end`; None where nothing bounds them."""

    first: int | None
    end: int | None


@dataclass
class Spanned:
    """One span looked at: what is wrong in it, by number, and where each epoch begins and ends in it."""

    findings: list[tuple[int, Finding]] = field(default_factory=list)
    begins: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    """By epoch: number, first and last record of its first stretch here."""
    ends: dict[int, int] = field(default_factory=dict)
    """By epoch: the last record of its last stretch here."""


def spans(db: sqlite3.Connection, table: str, number: str) -> list[Span]:
    """All rows of a table, by their number, in order."""
    low, high = db.execute(f"SELECT coalesce(min({number}), 1), coalesce(max({number}), 0) FROM {table}").fetchone()
    return [Span(*each) for each in _ranges(low - 1, high)]


def stretches(db: sqlite3.Connection, span: Span) -> Spanned:
    """Each stretch follows from the one before, and says what the ledger holds."""
    known = {epoch.number: epoch for epoch in epochs(db)}
    found = Spanned()
    before, expected = chain.LEDGER, 1
    if span.first is not None:
        row = db.execute(
            "SELECT n, CAST(hash AS BLOB) FROM stretch WHERE n < ? ORDER BY n DESC LIMIT 1", (span.first,)
        ).fetchone()
        if row is not None:
            expected, before = row[0] + 1, row[1]
    rows = db.execute(
        "SELECT n, CAST(stretch.epoch_id AS INTEGER), CAST(first AS INTEGER), CAST(stretch.upto AS INTEGER),"
        " CAST(head AS BLOB), CAST(at_ms AS INTEGER), CAST(stretch.hash AS BLOB),"
        " CAST(record.hash AS BLOB), (SELECT count(*) FROM record AS each WHERE each.epoch_id = stretch.epoch_id"
        " AND each.seq BETWEEN stretch.first AND stretch.upto AND each.received_ms = stretch.at_ms)"
        " FROM stretch LEFT JOIN record ON record.epoch_id = stretch.epoch_id AND record.seq = stretch.upto"
        f" WHERE 1{bounds('n', span.first, span.end)} ORDER BY n"
    )
    ends, begins = found.ends, found.begins
    for n, number, first, last, head, at_ms, digest, held, count in rows:
        epoch = known.get(number)
        wrong = ""
        if n != expected:
            wrong = f"账本链缺第 {expected}–{n - 1} 段 / stretches {expected}–{n - 1} of the ledger are missing"
        elif digest != chain.stretch(before, epoch.epoch if epoch else "", first, last, head, at_ms):
            wrong = f"账本链第 {n} 段被改 / stretch {n} of the ledger was changed"
        elif head != held:
            wrong = f"账本链第 {n} 段与记录不符 / stretch {n} of the ledger is not what the records say"
        elif number in ends and first <= ends[number]:
            wrong = repeated(n)
        elif count != last - first + 1 and not _taken_over(db, epoch, first, last, at_ms):
            wrong = (
                f"账本链第 {n} 段的记录不全或收到时间被改 / stretch {n} lacks records, or when they came was changed"
            )
        if wrong and len(found.findings) <= FINDINGS_MAX:
            found.findings.append((n, Finding(epoch.agent if epoch else "", epoch.epoch if epoch else "", last, wrong)))
        before, expected = digest, n + 1
        if number not in begins:
            begins[number] = (n, first, last)
        ends[number] = last
    return found


def repeated(n: int) -> str:
    """The words for a stretch that takes what an earlier one took."""
    return f"账本链第 {n} 段重复 / stretch {n} of the ledger repeats what was taken"


def _taken_over(db: sqlite3.Connection, epoch: Epoch | None, first: int, last: int, at_ms: int) -> bool:
    """Whether this is all that an older program, which had no stretches, had taken of an epoch: with its gaps, and with
    records of several moments. A gap that was noted before the epoch began or after that is none of it."""
    if epoch is None or first != 1 or at_ms <= epoch.first_ms:
        return False
    held = db.execute(
        "SELECT count(*) FROM record WHERE epoch_id = ? AND seq <= ? AND received_ms BETWEEN ? AND ?",
        (epoch.number, last, epoch.first_ms, at_ms),
    ).fetchone()[0]
    lacking = db.execute(
        "SELECT coalesce(sum(upto - after), 0) FROM gap WHERE epoch_id = ? AND upto <= ? AND at_ms BETWEEN ? AND ?",
        (epoch.number, last, epoch.first_ms, at_ms),
    ).fetchone()[0]
    return bool(held + lacking == last)


def joined(db: sqlite3.Connection, found: Iterable[Spanned]) -> list[Finding]:
    """What is wrong with the ledger's own chain, from all its spans in order."""
    findings: list[Finding] = []
    ends: dict[int, int] = {}
    known = epochs(db)
    names = {epoch.number: (epoch.agent, epoch.epoch) for epoch in known}
    for spanned in found:
        here = dict(spanned.findings)
        for number, (n, first, last) in spanned.begins.items():
            agent, epoch = names.get(number, ("", ""))
            if number in ends and first <= ends[number] and n not in here:
                here[n] = Finding(agent, epoch, last, repeated(n))
        ends |= spanned.ends
        findings += [here[n] for n in sorted(here)]
    findings = findings[: FINDINGS_MAX + 1]
    for each in known:
        if ends.get(each.number, 0) != each.upto:
            words = "账本链末尾与纪元不符 / the ledger's chain ends elsewhere than the epoch"
            findings.append(Finding(each.agent, each.epoch, each.upto, words))
    return findings


def times(db: sqlite3.Connection) -> list[Finding]:
    """An epoch began when its first record came, and was last heard of with its last one."""
    one = "(SELECT received_ms FROM record WHERE epoch_id = epoch.id ORDER BY seq {} LIMIT 1)"
    # Or when its agent said that there had been records of it, which this ledger lacks.
    named = "(SELECT at_ms FROM gap WHERE epoch_id = epoch.id AND after = 0)"
    first = f"min(coalesce({one.format('ASC')}, first_ms), coalesce({named}, {one.format('ASC')}, first_ms))"
    rows = db.execute(
        f"SELECT agent, epoch, upto FROM epoch WHERE {first} IS NOT first_ms"
        f" OR coalesce({one.format('DESC')}, last_ms) IS NOT last_ms ORDER BY id LIMIT {FINDINGS_MAX}"
    )
    words = "纪元的时间与记录不符 / the times of the epoch are not those of its records"
    return [Finding(agent, epoch, seq, words) for agent, epoch, seq in rows]


def removed(db: sqlite3.Connection) -> list[Finding]:
    """Rows are numbered without holes and never go: a hole is a row that somebody took."""
    findings = []
    for table in ("epoch", "press", "rating", "attempt", "key_map", "loss"):
        if has(db, table):
            lacking = db.execute(f"SELECT coalesce(max(id), 0) - count(*) FROM {table}").fetchone()[0]
            if lacking:
                words = f"{table} 表的编号缺 {lacking} 行 / {lacking} numbers of the table {table} are missing"
                findings.append(Finding("?", "?", 0, words))
    return findings


def of_epochs(chained: Iterable[Chained]) -> list[Finding]:
    """What is wrong with the records, a hundred findings of each epoch."""
    found: dict[int, list[Finding]] = {}
    for each in chained:
        found.setdefault(each.piece.epoch.number, []).extend(each.findings)
    return [finding for findings in found.values() for finding in findings[: FINDINGS_MAX + 1]]


def strays(db: sqlite3.Connection) -> list[Finding]:
    """Records that belong to no epoch."""
    # From one epoch's records to the next one's, not from record to record.
    row = db.execute(
        "WITH RECURSIVE held(id) AS (SELECT min(epoch_id) FROM record UNION ALL"
        " SELECT (SELECT min(epoch_id) FROM record WHERE epoch_id > id) FROM held WHERE id IS NOT NULL)"
        " SELECT count(*) FROM record WHERE epoch_id IN (SELECT id FROM held WHERE id NOT IN (SELECT id FROM epoch))"
    ).fetchone()
    return [Finding("?", "?", 0, f"{row[0]} 条记录不属于任何纪元 / records of no epoch")] if row[0] else []


def gaps(db: sqlite3.Connection) -> list[Gap]:
    """What the ledger lacks by its own word, or by an agent's."""
    # Some of what a restored ledger lacked may have come again from an outbox that still had it.
    came = "(SELECT max(seq) FROM record WHERE record.epoch_id = gap.epoch_id AND seq BETWEEN after + 1 AND gap.upto)"
    rows = db.execute(
        f"SELECT * FROM (SELECT agent, epoch, coalesce({came}, after) + 1 AS first, gap.upto AS last FROM gap"
        " JOIN epoch ON epoch.id = epoch_id ORDER BY epoch_id, after) WHERE first <= last"
    ).fetchall()
    if has(db, "loss"):  # not yet in an older ledger
        rows += db.execute(
            "SELECT agent, loss.epoch, first, last FROM loss JOIN epoch ON epoch.id = epoch_id"
        ).fetchall()
    return [Gap(*row) for row in rows]
