"""Recomputes every chain in the ledger, and whether what was made of each record still is what the record says."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from protocols import chain
from protocols.errors import BadMessage
from protocols.messages import ClosingRecord, PressRecord, decode_record
from protocols.ratings import Level

from .file import APPLICATION, LedgerMismatch
from .rows import RATING, case_sum, rating_sum

_FINDINGS_MAX = 100  # of each kind, per epoch: after that a person knows enough, and a broken file must not fill a disk
_BAD = {level.value for level in Level if level.bad}
_PRESS = b'{"kind":"press"'  # how our agents' press records begin


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written: where, and what."""

    agent: str
    epoch: str
    seq: int
    what: str


@dataclass(frozen=True)
class Gap:
    """Records that an agent had let go of, or lost with its disk, and that never came: the ledger lacks them by its own
    word."""

    agent: str
    epoch: str
    first: int
    last: int


@dataclass(frozen=True)
class Mending:
    """Damage of the file that was mended: when (UTC), what it was, and where the damaged file lies."""

    at: str
    what: str
    aside: str


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


def verify(path: Path) -> Audit:
    """Read the ledger at `path`, beside a collector that may be running, and check all of it."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            raise LedgerMismatch(f"{path}: 不是账本 / is no ledger")
        db.execute("BEGIN")  # one moment of the ledger, whatever is written meanwhile
        findings: list[Finding] = []
        records = 0
        epochs = db.execute("SELECT id, agent, epoch, upto, head FROM epoch ORDER BY id").fetchall()
        for epoch in epochs:
            count, found = _epoch(db, *epoch)
            records += count
            findings += found
        findings += _stretches(db)
        findings += _strays(db)
        findings += _presses(db)
        ratings, wrong = _ratings(db)
        findings += wrong
        findings += _unsent(db)
        findings += _altered(db)
        return Audit(len(epochs), records, ratings, _gaps(db), findings, _mendings(db))
    finally:
        db.close()


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


# ---- the chains


def _epoch(
    db: sqlite3.Connection, number: int, agent: str, epoch: str, upto: int, head: bytes
) -> tuple[int, list[Finding]]:
    gaps = {
        after + 1: (last, known)
        for after, last, known in db.execute("SELECT after, upto, head FROM gap WHERE epoch_id = ?", (number,))
    }
    findings: list[Finding] = []
    running, expected, count = chain.genesis(agent, epoch), 1, 0
    # As blobs and whole numbers, whatever somebody put there: a strange type is a finding too.
    rows = db.execute(
        "SELECT CAST(seq AS INTEGER), CAST(body AS BLOB), CAST(hash AS BLOB) FROM record WHERE epoch_id = ?"
        " ORDER BY seq",
        (number,),
    )
    for seq, body, digest in rows:
        if seq != expected:
            if expected in gaps and gaps[expected][0] == seq - 1:
                running = gaps[expected][1]
            else:
                findings.append(Finding(agent, epoch, expected, f"缺 {expected}–{seq - 1} 条 / records missing"))
        # What chain.link does, without the call: this line runs for every record of a province.
        running = sha256(running + body).digest()
        if digest != running:
            findings.append(Finding(agent, epoch, seq, "记录或哈希被改 / record or hash was changed"))
            running = digest  # to find what else was changed, and not this one again in all that follow
        if len(findings) > _FINDINGS_MAX:
            return count, findings
        expected = seq + 1
        count += 1
    if expected - 1 != upto or running != head:
        findings.append(Finding(agent, epoch, expected, "末尾记录缺失 / records missing at the end"))
    return count, findings


def _stretches(db: sqlite3.Connection) -> list[Finding]:
    """The ledger's own chain: each stretch follows from the one before, and says what the ledger holds."""
    if not _has(db, "stretch"):
        return []  # of an older program that has not been started anew
    findings: list[Finding] = []
    upto: dict[int, int] = {}
    before, expected = chain.LEDGER, 1
    rows = db.execute(
        "SELECT n, agent, epoch, stretch.epoch_id, first, stretch.upto, CAST(stretch.head AS BLOB), at_ms,"
        " CAST(stretch.hash AS BLOB), record.hash FROM stretch LEFT JOIN epoch ON epoch.id = stretch.epoch_id"
        " LEFT JOIN record ON record.epoch_id = stretch.epoch_id AND record.seq = stretch.upto ORDER BY n"
    )
    for n, agent, epoch, epoch_id, first, last, head, at_ms, digest, held in rows:
        wrong = ""
        if n != expected:
            wrong = f"账本链缺第 {expected}–{n - 1} 段 / stretches {expected}–{n - 1} of the ledger are missing"
        elif digest != chain.stretch(before, epoch or "", first, last, head, at_ms):
            wrong = f"账本链第 {n} 段被改 / stretch {n} of the ledger was changed"
        elif head != held:
            wrong = f"账本链第 {n} 段与记录不符 / stretch {n} of the ledger is not what the records say"
        elif first <= upto.get(epoch_id, 0):
            wrong = f"账本链第 {n} 段重复 / stretch {n} of the ledger repeats what was taken"
        if wrong:
            findings.append(Finding(agent or "", epoch or "", last, wrong))
        if len(findings) > _FINDINGS_MAX:
            return findings
        before, expected = digest, n + 1
        upto[epoch_id] = last
    for agent, epoch, number, held in db.execute("SELECT agent, epoch, id, upto FROM epoch").fetchall():
        if upto.get(number, 0) != held:
            words = "账本链末尾与纪元不符 / the ledger's chain ends elsewhere than the epoch"
            findings.append(Finding(agent, epoch, held, words))
    return findings


def _has(db: sqlite3.Connection, table: str) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is not None


def _gaps(db: sqlite3.Connection) -> list[Gap]:
    rows = db.execute(
        "SELECT agent, epoch, after + 1, gap.upto FROM gap JOIN epoch ON epoch.id = epoch_id ORDER BY epoch_id, after"
    ).fetchall()
    if _has(db, "loss"):  # not yet in an older ledger
        rows += db.execute(
            "SELECT agent, loss.epoch, first, last FROM loss JOIN epoch ON epoch.id = epoch_id"
        ).fetchall()
    return [Gap(*row) for row in rows]


def _strays(db: sqlite3.Connection) -> list[Finding]:
    # From one epoch's records to the next one's, not from record to record.
    row = db.execute(
        "WITH RECURSIVE held(id) AS (SELECT min(epoch_id) FROM record UNION ALL"
        " SELECT (SELECT min(epoch_id) FROM record WHERE epoch_id > id) FROM held WHERE id IS NOT NULL)"
        " SELECT count(*) FROM record WHERE epoch_id IN (SELECT id FROM held WHERE id NOT IN (SELECT id FROM epoch))"
    ).fetchone()
    return [Finding("?", "?", 0, f"{row[0]} 条记录不属于任何纪元 / records of no epoch")] if row[0] else []


# ---- what was made of them


def _presses(db: sqlite3.Connection) -> list[Finding]:
    """Each press record must have its row, and each row a fate that its record and the other rows bear out."""
    where = "FROM press LEFT JOIN record USING (epoch_id, seq) LEFT JOIN epoch ON epoch.id = press.epoch_id"
    at = "coalesce(epoch.agent, press.agent), coalesce(epoch.epoch, '?'), press.seq"
    questions = {
        "按键没有对应的记录 / a press without a record": f"SELECT {at} {where} WHERE record.seq IS NULL",
        "按键标为已评价却没有评价 / a press called rated without a rating": f"SELECT {at} {where}"
        " WHERE fate = 'rated' AND NOT EXISTS (SELECT 1 FROM rating WHERE rating.press = press.id)",
        "按键有评价却不标为已评价 / a press with a rating and not called rated": f"SELECT {at} {where}"
        " WHERE fate != 'rated' AND EXISTS (SELECT 1 FROM rating WHERE rating.press = press.id)",
        "按键标为重复上报却没有另一条 / a press called duplicate of none": f"SELECT {at} {where}"
        " WHERE fate = 'duplicate' AND NOT EXISTS (SELECT 1 FROM press AS first WHERE first.device = press.device"
        " AND first.boot = press.boot AND first.count = press.count AND first.fate != 'duplicate')",
    }
    findings = [
        Finding(agent, epoch, seq, what)
        for what, question in questions.items()
        for agent, epoch, seq in db.execute(f"{question} LIMIT {_FINDINGS_MAX}")
    ]
    repeats = _found(_repeat_rows(db), lambda body: _wrong_repeat(db, body))
    return findings + repeats + _found(_press_rows(db), _wrong_press) + _found(_orphans(db), _orphan)


def _repeat_rows(db: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    return db.execute(
        "SELECT press.agent, coalesce(epoch.epoch, '?'), press.seq, CAST(said.body AS BLOB) FROM press"
        " LEFT JOIN epoch ON epoch.id = press.epoch_id LEFT JOIN closing ON closing.invitation = press.invitation"
        " LEFT JOIN record AS said ON said.epoch_id = closing.epoch_id AND said.seq = closing.seq"
        " WHERE fate = 'repeat' AND NOT EXISTS (SELECT 1 FROM rating WHERE once = press.invitation)"
    )


def _wrong_repeat(db: sqlite3.Connection, body: bytes | None) -> str:
    closing = _record(body)
    if isinstance(closing, ClosingRecord):
        service = (closing.case_no, closing.service_number)
        if db.execute("SELECT 1 FROM rating WHERE case_no = ? AND service_number = ?", service).fetchone():
            return ""
    return "按键标为再次评价却没有第一次 / a press called repeat of none"


def _press_rows(db: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    """Those that became no rating; the others are looked at together with theirs."""
    return db.execute(
        "SELECT epoch.agent, epoch.epoch, seq, CAST(body AS BLOB), fate, press.device, press.boot, press.count,"
        " press.pressed_ms, press.invitation, press.window FROM press JOIN record USING (epoch_id, seq)"
        " JOIN epoch ON epoch.id = press.epoch_id"
        " WHERE fate != 'rated' OR NOT EXISTS (SELECT 1 FROM rating WHERE rating.press = press.id)"
    )


def _wrong_press(body: bytes, fate: str, *kept: Any) -> str:
    record = _record(body)
    if not isinstance(record, PressRecord):
        return "按键没有对应的记录 / a press without a record"
    if kept != _said(record):
        return "按键与其记录不符 / a press differs from its record"
    if fate == "unsolicited" and record.invitation is not None:
        return "邀请内的按键标为邀请外 / a press of an invitation called unsolicited"
    if fate == "undatable" and not record.doubt:
        return "有准确时间的按键标为时间不明 / a press that can be dated called undatable"
    return ""


def _said(record: PressRecord) -> tuple[Any, ...]:
    return record.device, record.boot, record.count, record.pressed_ms, record.invitation, record.window


def _orphans(db: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    return db.execute(
        "SELECT epoch.agent, epoch.epoch, record.seq, CAST(body AS BLOB) FROM"
        " (SELECT epoch_id, seq FROM record WHERE substr(CAST(body AS BLOB), 1, ?) = ?"
        " EXCEPT SELECT epoch_id, seq FROM press)"
        " JOIN record USING (epoch_id, seq) JOIN epoch ON epoch.id = epoch_id",
        (len(_PRESS), _PRESS),
    )


def _orphan(body: bytes) -> str:
    # One that nobody can read is in quarantine, and rightly has no row.
    return "按键记录没有下文 / nothing became of a press" if isinstance(_record(body), PressRecord) else ""


def _ratings(db: sqlite3.Connection) -> tuple[int, list[Finding]]:
    """A rating must be what its records say: press, time, case, and the level that its button meant at that time."""
    maps = {
        number: (device, msgspec.json.decode(keys))
        for number, device, keys in db.execute("SELECT id, device, keys FROM key_map")
    }

    def wrong(
        body: bytes | None,
        said: bytes | None,
        level: str,
        bad: int,
        tags: str,
        text: str,
        key_map: int,
        *kept: Any,
    ) -> str:
        press, closing = _record(body), _record(said)
        if not isinstance(press, PressRecord):
            return "评价没有对应的记录 / a rating without a record"
        device, keys = maps.get(key_map, ("", {}))
        meant, *reason = _meant(keys.get(str(press.button)))
        if (device, meant, level in _BAD) != (press.device, level, bool(bad)):
            return "评价的满意度与按键不符 / a rating's level is not what its button meant"
        if reason != [tags, text]:
            return "评价的原因与按键不符 / a rating's reason is not what its button meant"
        case: tuple[str | None, int] = (None, 1)
        if isinstance(closing, ClosingRecord) and closing.invitation == press.invitation:
            case = (closing.case_no, closing.service_number)
        *facts, same = kept
        if facts != [*_said(press), *case]:
            return "评价与其记录不符 / a rating differs from its record"
        return "" if same else "按键与其记录不符 / a press differs from its record"

    count = db.execute("SELECT count(*) FROM rating").fetchone()[0]
    names = dict(db.execute("SELECT id, epoch FROM epoch"))
    found = _found(_rating_rows(db), wrong)
    return count, [Finding(each.agent, names.get(each.epoch, "?"), each.seq, each.what) for each in found]


def _meant(key: Any) -> tuple[Any, str, str]:
    """Level, tags and words of one key of a key map, as the ledger keeps them; it stands there as a level alone too."""
    if not isinstance(key, dict):
        return key, "", ""
    return key.get("level"), ",".join(map(str, key.get("tags", ()))), str(key.get("text", ""))


def _rating_rows(db: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    # A ledger that only an older program has opened has no reasons yet.
    reason = "tags, text" if db.execute("PRAGMA user_version").fetchone()[0] > 1 else "'', ''"
    # The epoch's number, not its name: one look-up less for every rating.
    return db.execute(
        "SELECT rating.agent, press.epoch_id, coalesce(record.seq, 0),"
        " CAST(record.body AS BLOB), CAST(said.body AS BLOB), level, bad,"
        f" {reason}, key_map, rating.device, rating.boot,"
        " rating.count, rating.pressed_ms, rating.invitation, rating.window, rating.case_no, rating.service_number,"
        " (press.device, press.boot, press.count, press.pressed_ms, press.window) ="
        " (rating.device, rating.boot, rating.count, rating.pressed_ms, rating.window)"
        " AND press.invitation IS rating.invitation FROM rating"
        " LEFT JOIN press ON press.id = rating.press LEFT JOIN record USING (epoch_id, seq)"
        " LEFT JOIN closing ON closing.invitation = rating.invitation"
        " LEFT JOIN record AS said ON said.epoch_id = closing.epoch_id AND said.seq = closing.seq"
    )


def _unsent(db: sqlite3.Connection) -> list[Finding]:
    """Nothing is called accepted that the province was not asked about and did not accept."""
    rows = db.execute(
        "SELECT rating.agent, coalesce(epoch.epoch, '?'), coalesce(press.seq, 0) FROM rating"
        " LEFT JOIN press ON press.id = rating.press LEFT JOIN epoch ON epoch.id = press.epoch_id"
        " WHERE state = 'accepted' AND NOT EXISTS (SELECT 1 FROM attempt WHERE attempt.rating = rating.id"
        f" AND what = 'rating' AND verdict = 'accepted') LIMIT {_FINDINGS_MAX}"
    )
    what = "评价标为已接收却没有发送记录 / a rating called accepted and never sent"
    return [Finding(agent, epoch, seq, what) for agent, epoch, seq in rows]


def _altered(db: sqlite3.Connection) -> list[Finding]:
    """Every rating and every case is what was written, also where no record says what it has to be."""
    if "sum" not in {row[1] for row in db.execute("PRAGMA table_info(rating)")}:
        return []
    db.create_function("rating_sum", -1, lambda *said: rating_sum(said), deterministic=True)
    db.create_function("case_sum", 4, case_sum, deterministic=True)
    said = ", ".join(f"rating.{name}" for name in RATING)
    where = "SELECT rating.agent, press.epoch_id, coalesce(press.seq, 0)"
    questions = {
        "评价与其校验值不符 / a rating differs from its sum": f"{where} FROM rating"
        f" LEFT JOIN press ON press.id = rating.press WHERE rating.sum != rating_sum({said})",
        "办件与其校验值不符 / a case differs from its sum": f"{where} FROM service_case"
        " JOIN rating USING (case_no, service_number) LEFT JOIN press ON press.id = rating.press"
        " WHERE service_case.sum != case_sum(case_no, service_number, body, received_ms)",
    }
    names = dict(db.execute("SELECT id, epoch FROM epoch"))
    return [
        Finding(agent, names.get(epoch, "?"), seq, what)
        for what, question in questions.items()
        for agent, epoch, seq in db.execute(f"{question} LIMIT {_FINDINGS_MAX}")
    ]


def _mendings(db: sqlite3.Connection) -> list[Mending]:
    if not _has(db, "mending"):
        return []
    rows = db.execute("SELECT strftime('%Y-%m-%d %H:%M:%S', at_ms / 1000, 'unixepoch'), what, aside FROM mending")
    return [Mending(*row) for row in rows]


# ---- small things


def _found(rows: Iterator[tuple[Any, ...]], wrong: Callable[..., str]) -> list[Finding]:
    """What `wrong` says to the rest of each row, after agent, epoch and number; nothing for an empty answer."""
    findings = (Finding(agent, epoch, seq, what) for agent, epoch, seq, *rest in rows if (what := wrong(*rest)))
    return list(islice(findings, _FINDINGS_MAX))


def _record(body: bytes | None) -> object:
    try:
        return decode_record(body) if body is not None else None
    except BadMessage:
        return None
