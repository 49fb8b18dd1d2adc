"""Takes batches in: checks the chain, keeps every record, and says what each press means."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from hashlib import sha256

import msgspec

from protocols import chain
from protocols.errors import BadMessage
from protocols.messages import Batch, ClosingRecord, Health, PressRecord, Receipt, decode_record
from protocols.ratings import Case, Rating, Unratable

from ..directory import Directory
from ..normalize import normalize
from .store import Store

_SAME_PRESS_MS = 600_000  # two reports of one press, by the clocks of an agent before and after it was set up anew
_QUARANTINE_MAX = 10_000  # a flood must not fill the disk; the oldest rows are of the least use
_QUARANTINE_BYTES = 64 * 1024  # enough to see what it is; size and digest of the whole are kept beside it


class Fork(BadMessage):
    """A batch whose chain does not continue the ledger's: two outboxes with one epoch, or a record that was changed."""


class Intake:
    """The way into the ledger."""

    def __init__(self, store: Store, directory: Directory):
        self._store = store
        self._directory = directory

    # ---- batches

    def take(self, batches: Sequence[tuple[str, Batch, bytes]], now_ms: int) -> list[tuple[str, Receipt]]:
        """Keep what is new in these batches of agents, in one transaction; the receipts to give, one per batch.

        On disk when this returns. A batch that does not fit the chain goes to quarantine with its payload, and is
        answered by the receipt of what the ledger really holds.
        """
        receipts = []
        with self._store.writing() as db:
            for agent, batch, payload in batches:
                try:
                    self._take(db, agent, batch, now_ms)
                except Fork as fork:
                    self._quarantine(db, f"hcp/v1/{agent}/batch", fork.reason, payload, now_ms)
                receipts.append((agent, _receipt(db, agent, batch.epoch)))
        return receipts

    def _take(self, db: sqlite3.Connection, agent: str, batch: Batch, now_ms: int) -> None:
        bodies = [bytes(body) for body in batch.records]
        heads = chain.heads(bytes.fromhex(batch.prev), bodies)
        if heads[-1].hex() != batch.head:
            raise Fork("哈希链与批次不符 / the batch's records do not add up to its head")
        epoch = _epoch(db, agent, batch.epoch, now_ms)
        held = batch.first - 1
        if held > epoch["upto"]:
            # What it sends first is the oldest that it still has: what lies before is not to be had any more.
            db.execute(
                "INSERT INTO gap(epoch_id, after, upto, head, at_ms) VALUES (?,?,?,?,?)",
                (epoch["id"], epoch["upto"], held, bytes.fromhex(batch.prev), now_ms),
            )
        else:
            new = epoch["upto"] - held
            before = bytes.fromhex(batch.prev) if new == 0 else heads[min(new, len(heads)) - 1]
            expected = epoch["head"] if new <= len(heads) else _head_at(db, epoch["id"], batch.first + len(heads) - 1)
            if before != expected:
                raise Fork(
                    f"与账本第 {min(epoch['upto'], batch.first + len(heads) - 1)} 条不符 / differs from the ledger"
                )
            bodies, heads = bodies[new:], heads[new:]
            held += new
        if bodies:
            self._keep(db, agent, epoch["id"], held, bodies, heads, now_ms)

    def _keep(
        self,
        db: sqlite3.Connection,
        agent: str,
        epoch_id: int,
        after: int,
        bodies: list[bytes],
        heads: list[bytes],
        now_ms: int,
    ) -> None:
        db.executemany(
            "INSERT INTO record(epoch_id, seq, body, hash, received_ms) VALUES (?,?,?,?,?)",
            [
                (epoch_id, after + at, body, head, now_ms)
                for at, (body, head) in enumerate(zip(bodies, heads, strict=True), 1)
            ],
        )
        db.execute(
            "UPDATE epoch SET upto = ?, head = ?, last_ms = ? WHERE id = ?",
            (after + len(bodies), heads[-1], now_ms, epoch_id),
        )
        presses, closings = [], {}
        for seq, body in enumerate(bodies, after + 1):
            try:
                record = decode_record(body)
            except BadMessage as bad:
                # A kind that a newer agent knows and we do not: it is in the chain, and its bytes are kept.
                self._quarantine(db, f"hcp/v1/{agent}/batch", bad.reason, body, now_ms)
                continue
            if isinstance(record, PressRecord):
                presses.append((seq, record))
            else:
                closings[record.invitation] = record
                _note_closing(db, agent, epoch_id, seq, record)
        for seq, press in presses:
            closing = closings.get(press.invitation) if press.invitation else None
            self._understand(db, agent, epoch_id, seq, press, closing, now_ms)
        _count_devices(db, agent, (press for _, press in presses))
        for invitation in closings:
            self._cure(db, "AND press.invitation = ?", (invitation,), now_ms)

    # ---- meaning

    def cure(self, now_ms: int) -> int:
        """Ask again what every press means that meant nothing yet: the directory may have changed. How many now do."""
        with self._store.writing() as db:
            return self._cure(db, "", (), now_ms)

    def _cure(self, db: sqlite3.Connection, only: str, values: tuple[str, ...], now_ms: int) -> int:
        rows = db.execute(
            "SELECT press.id, press.agent, record.body FROM press JOIN record USING (epoch_id, seq)"
            f" WHERE fate NOT IN ('rated', 'repeat', 'duplicate', 'unsolicited') {only} ORDER BY press.id",
            values,
        ).fetchall()
        cured = 0
        for row in rows:
            press = msgspec.json.decode(row["body"], type=PressRecord)
            closing = _closing(db, press.invitation)
            meaning = normalize(press, closing, row["agent"], self._directory)
            fate, detail = self._fate(db, row["id"], row["agent"], press, meaning, now_ms)
            db.execute("UPDATE press SET fate = ?, detail = ? WHERE id = ?", (fate, detail, row["id"]))
            cured += fate in ("rated", "repeat")
        return cured

    def _understand(
        self,
        db: sqlite3.Connection,
        agent: str,
        epoch_id: int,
        seq: int,
        press: PressRecord,
        closing: ClosingRecord | None,
        now_ms: int,
    ) -> None:
        if closing is None:
            closing = _closing(db, press.invitation)
        duplicate = _is_duplicate(db, press)
        inserted = db.execute(
            "INSERT INTO press(epoch_id, seq, agent, window, device, boot, count, invitation, pressed_ms, fate)"
            " VALUES (?,?,?,?,?,?,?,?,?,'duplicate')",
            (
                epoch_id,
                seq,
                agent,
                press.window,
                press.device,
                press.boot,
                press.count,
                press.invitation,
                press.pressed_ms,
            ),
        ).lastrowid
        if duplicate or inserted is None:
            return
        fate, detail = self._fate(db, inserted, agent, press, normalize(press, closing, agent, self._directory), now_ms)
        db.execute("UPDATE press SET fate = ?, detail = ? WHERE id = ?", (fate, detail, inserted))

    def _fate(
        self,
        db: sqlite3.Connection,
        press_row: int,
        agent: str,
        press: PressRecord,
        meaning: Rating | Unratable,
        now_ms: int,
    ) -> tuple[str, str]:
        if isinstance(meaning, Unratable):
            return meaning.reason, meaning.detail
        if _rated_already(db, meaning):
            return "repeat", ""
        state, reason = _first_state(db, meaning)
        db.execute(
            "INSERT INTO rating(press, once, level, bad, device, boot, count, hall, number, agent, window, pressed_ms,"
            " channel, invitation, case_no, service_number, clerk, state, reason, next_ms, made_ms)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                press_row,
                _once(meaning),
                meaning.level.value,
                meaning.level.bad,
                press.device,
                press.boot,
                press.count,
                meaning.hall,
                meaning.window,
                agent,
                press.window,
                meaning.pressed_ms,
                meaning.channel,
                meaning.invitation,
                meaning.case_no,
                meaning.service_number,
                meaning.clerk,
                state,
                reason,
                now_ms,
                now_ms,
            ),
        )
        return "rated", ""

    # ---- cases

    def take_case(self, case: Case, now_ms: int) -> bool:
        """Keep these details; whether they were new or changed. Ratings that waited for them are due now."""
        body = msgspec.json.encode(case)
        with self._store.writing() as db:
            held = db.execute(
                "SELECT body FROM service_case WHERE case_no = ? AND service_number = ?",
                (case.case_no, case.service_number),
            ).fetchone()
            if held is not None and held["body"] == body:
                return False
            db.execute(
                "INSERT OR REPLACE INTO service_case(case_no, service_number, body, received_ms) VALUES (?,?,?,?)",
                (case.case_no, case.service_number, body, now_ms),
            )
            db.execute(
                "UPDATE rating SET state = 'due', reason = '', words = '', tries = 0, next_ms = ? WHERE case_no = ?"
                " AND service_number = ? AND (state = 'awaiting_case' OR state = 'parked' AND reason = 'lacking')",
                (now_ms, case.case_no, case.service_number),
            )
        return True

    # ---- what agents say of themselves

    def note_status(self, agent: str, payload: bytes, now_ms: int) -> None:
        """Keep an agent's last status."""
        with self._store.writing() as db:
            db.execute(
                "INSERT INTO agent(agent, status, status_ms) VALUES (?,?,?)"
                " ON CONFLICT(agent) DO UPDATE SET status = excluded.status, status_ms = excluded.status_ms",
                (agent, payload, now_ms),
            )

    def note_health(self, agent: str, health: Health, now_ms: int) -> None:
        """Keep an agent's last health, and how many presses its devices say they have counted."""
        with self._store.writing() as db:
            db.execute(
                "INSERT INTO agent(agent, health, health_ms) VALUES (?,?,?)"
                " ON CONFLICT(agent) DO UPDATE SET health = excluded.health, health_ms = excluded.health_ms",
                (agent, msgspec.json.encode(health), now_ms),
            )
            _raise_counts(
                db, [(agent, each.window, each.device, each.boot, each.count) for each in health.windows if each.device]
            )

    def quarantine(self, topic: str, reason: str, payload: bytes, now_ms: int) -> None:
        """Keep a message that is not ours, for a person to look at."""
        with self._store.writing() as db:
            self._quarantine(db, topic, reason, payload, now_ms)

    def _quarantine(self, db: sqlite3.Connection, topic: str, reason: str, payload: bytes, now_ms: int) -> None:
        db.execute(
            "INSERT INTO quarantine(topic, digest, reason, payload, size, times, first_ms, last_ms)"
            " VALUES (?,?,?,?,?,1,?,?)"
            " ON CONFLICT(topic, digest) DO UPDATE SET times = times + 1, last_ms = excluded.last_ms",
            (topic, sha256(payload).digest(), reason, payload[:_QUARANTINE_BYTES], len(payload), now_ms, now_ms),
        )
        db.execute("DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?", (_QUARANTINE_MAX,))


def _epoch(db: sqlite3.Connection, agent: str, epoch: str, now_ms: int) -> sqlite3.Row:
    row = _held(db, epoch)
    if row is None:
        db.execute(
            "INSERT INTO epoch(agent, epoch, upto, head, first_ms, last_ms) VALUES (?,?,0,?,?,?)",
            (agent, epoch, chain.genesis(agent, epoch), now_ms, now_ms),
        )
        row = _held(db, epoch)
    if row["agent"] != agent:
        raise Fork(f"纪元属于 {row['agent']} / the epoch belongs to {row['agent']}")
    return row


def _held(db: sqlite3.Connection, epoch: str) -> sqlite3.Row:
    row: sqlite3.Row = db.execute("SELECT id, agent, upto, head FROM epoch WHERE epoch = ?", (epoch,)).fetchone()
    return row


def _head_at(db: sqlite3.Connection, epoch_id: int, seq: int) -> bytes | None:
    row = db.execute("SELECT hash FROM record WHERE epoch_id = ? AND seq = ?", (epoch_id, seq)).fetchone()
    return row["hash"] if row else None


def _receipt(db: sqlite3.Connection, agent: str, epoch: str) -> Receipt:
    row = _held(db, epoch)
    if row is None or row["agent"] != agent:
        return Receipt(epoch, 0, chain.genesis(agent, epoch).hex())
    return Receipt(epoch, row["upto"], row["head"].hex())


def _note_closing(db: sqlite3.Connection, agent: str, epoch_id: int, seq: int, closing: ClosingRecord) -> None:
    # An invitation closes once; a second closing of the same id is a fact in the chain and nothing else.
    db.execute(
        "INSERT OR IGNORE INTO closing(invitation, epoch_id, seq, agent, window, outcome, closed_ms)"
        " VALUES (?,?,?,?,?,?,?)",
        (closing.invitation, epoch_id, seq, agent, closing.window, closing.outcome, closing.closed_ms),
    )


def _closing(db: sqlite3.Connection, invitation: str | None) -> ClosingRecord | None:
    if invitation is None:
        return None
    row = db.execute(
        "SELECT body FROM closing JOIN record USING (epoch_id, seq) WHERE invitation = ?", (invitation,)
    ).fetchone()
    return msgspec.json.decode(row["body"], type=ClosingRecord) if row else None


def _is_duplicate(db: sqlite3.Connection, press: PressRecord) -> bool:
    """Whether this is a press that the ledger has, and not another one of a device that lost its counters."""
    rows = db.execute(
        "SELECT invitation, pressed_ms FROM press WHERE device = ? AND boot = ? AND count = ? AND fate != 'duplicate'",
        (press.device, press.boot, press.count),
    )
    return any(
        press.invitation == row["invitation"] is not None
        or (
            None in (press.invitation, row["invitation"])
            and abs(press.pressed_ms - row["pressed_ms"]) <= _SAME_PRESS_MS
        )
        for row in rows
    )


def _once(rating: Rating) -> str:
    """What may be rated once: an invitation, or, at a walk-in window, a press."""
    return rating.invitation or f"{rating.press}@{rating.pressed_ms}"


def _rated_already(db: sqlite3.Connection, rating: Rating) -> bool:
    row = db.execute(
        "SELECT 1 FROM rating WHERE once = ? UNION ALL SELECT 1 FROM rating WHERE case_no = ? AND service_number = ?",
        (_once(rating), rating.case_no, rating.service_number),
    ).fetchone()
    return row is not None


def _first_state(db: sqlite3.Connection, rating: Rating) -> tuple[str, str]:
    if rating.case_no is None:
        return "parked", "no_case"
    row = db.execute(
        "SELECT 1 FROM service_case WHERE case_no = ? AND service_number = ?", (rating.case_no, rating.service_number)
    ).fetchone()
    return ("due", "") if row else ("awaiting_case", "")


def _count_devices(db: sqlite3.Connection, agent: str, presses: Iterable[PressRecord]) -> None:
    counts: dict[tuple[str, str, int], int] = {}
    for press in presses:
        key = (press.window, press.device, press.boot)
        counts[key] = max(counts.get(key, 0), press.count)
    _raise_counts(db, [(agent, *key, count) for key, count in counts.items()])


def _raise_counts(db: sqlite3.Connection, rows: list[tuple[str, str, str, int, int]]) -> None:
    db.executemany(
        "INSERT INTO device_count(agent, window, device, boot, count) VALUES (?,?,?,?,?)"
        " ON CONFLICT DO UPDATE SET count = max(count, excluded.count)",
        rows,
    )
