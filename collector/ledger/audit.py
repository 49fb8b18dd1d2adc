"""Recomputes every chain in the ledger, and whether each rating still says what its record says."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from protocols import chain
from protocols.messages import PressRecord

from ..directory import Directory


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written: where, and what."""

    agent: str
    epoch: str
    seq: int
    what: str


@dataclass(frozen=True)
class Audit:
    """What was looked at, and what was found."""

    epochs: int
    records: int
    ratings: int
    gaps: int
    findings: list[Finding]


def verify(path: Path, directory: Directory) -> Audit:
    """Read the ledger at `path`, beside a collector that may be running, and check all of it."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    try:
        db.execute("BEGIN")  # one moment of the ledger, whatever is written meanwhile
        epochs = db.execute("SELECT id, agent, epoch, upto, head FROM epoch ORDER BY id").fetchall()
        findings: list[Finding] = []
        records = 0
        for epoch in epochs:
            count, found = _epoch(db, *epoch)
            records += count
            findings += found
        findings += _strays(db)
        ratings, wrong = _ratings(db, directory)
        gaps = db.execute("SELECT count(*) FROM gap").fetchone()[0]
        return Audit(len(epochs), records, ratings, gaps, findings + wrong)
    finally:
        db.close()


def _epoch(
    db: sqlite3.Connection, number: int, agent: str, epoch: str, upto: int, head: bytes
) -> tuple[int, list[Finding]]:
    gaps = {
        after + 1: (last, known)
        for after, last, known in db.execute("SELECT after, upto, head FROM gap WHERE epoch_id = ?", (number,))
    }
    running, expected, count = chain.genesis(agent, epoch), 1, 0
    rows = db.execute("SELECT seq, body, hash FROM record WHERE epoch_id = ? ORDER BY seq", (number,))
    for seq, body, digest in rows:
        if seq != expected:
            if expected in gaps and gaps[expected][0] == seq - 1:
                running = gaps[expected][1]
            else:
                return count, [Finding(agent, epoch, expected, f"缺 {expected}–{seq - 1} 条 / records missing")]
        # What chain.link does, without the call: this line runs for every record of a province.
        running = sha256(running + body).digest()
        if digest != running:
            return count, [Finding(agent, epoch, seq, "记录或哈希被改 / record or hash was changed")]
        expected = seq + 1
        count += 1
    if expected - 1 != upto or running != head:
        return count, [Finding(agent, epoch, expected, "末尾记录缺失 / records missing at the end")]
    return count, []


def _strays(db: sqlite3.Connection) -> list[Finding]:
    row = db.execute("SELECT count(*) FROM record WHERE epoch_id NOT IN (SELECT id FROM epoch)").fetchone()
    return [Finding("?", "?", 0, f"{row[0]} 条记录不属于任何纪元 / records of no epoch")] if row[0] else []


def _ratings(db: sqlite3.Connection, directory: Directory) -> tuple[int, list[Finding]]:
    """A rating must be what its record says: same press, same time, and the level that its button means."""
    findings, count = [], 0
    for agent, epoch, seq, body, level, device, boot, number, pressed_ms, invitation in _rating_rows(db):
        count += 1
        record = msgspec.json.decode(body, type=PressRecord) if body is not None else None
        if record is None:
            findings.append(
                Finding(agent or "?", epoch or "?", seq or 0, "评价没有对应的记录 / a rating without a record")
            )
            continue
        same = (record.device, record.boot, record.count, record.pressed_ms, record.invitation) == (
            device,
            boot,
            number,
            pressed_ms,
            invitation,
        )
        meant = directory.keys.get(record.device, {}).get(record.button)
        if not same or (meant is not None and meant.value != level):
            findings.append(Finding(agent, epoch, seq, "评价与其记录不符 / a rating differs from its record"))
    return count, findings


def _rating_rows(db: sqlite3.Connection) -> Iterator[tuple]:  # type: ignore[type-arg]
    return db.execute(
        "SELECT epoch.agent, epoch.epoch, record.seq, record.body, rating.level, rating.device, rating.boot,"
        " rating.count, rating.pressed_ms, rating.invitation FROM rating LEFT JOIN press ON press.id = rating.press"
        " LEFT JOIN record USING (epoch_id, seq) LEFT JOIN epoch ON epoch.id = press.epoch_id"
    )
