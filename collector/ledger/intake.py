"""Takes batches in: checks the chain and keeps every record; takes cases in, and what agents say of themselves."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import NamedTuple

import msgspec

from protocols import chain
from protocols.errors import BadMessage
from protocols.messages import (
    AgentStatus,
    Batch,
    ClosingRecord,
    Details,
    Health,
    PressRecord,
    Receipt,
    SalvageRecord,
    Taken,
    decode_record,
    topic,
)
from protocols.ratings import Case
from protocols.seal import CannotOpen

from ..directory import Directory
from ..vault import Locked, Vault
from . import cases, told
from .file import LedgerDamaged
from .meaning import Meaning
from .store import Store
from .tally import Tally

log = logging.getLogger(__name__)

_QUARANTINE_MAX = 10_000  # a flood must not fill the disk; the oldest rows are of the least use
_QUARANTINE_BYTES = 64 * 1024  # enough to see what it is; size and digest of the whole are kept beside it


class Fork(BadMessage):
    """A batch whose chain does not continue the ledger's: two outboxes with one epoch, or a record that was changed."""


class _Held(NamedTuple):
    """What the ledger holds of an epoch; `id` is None as long as that is nothing."""

    id: int | None
    upto: int
    head: bytes


class Intake:
    """The way into the ledger."""

    def __init__(self, store: Store, directory: Directory, vault: Vault):
        self._store = store
        self._vault = vault
        self._tally = Tally()
        self._meaning = Meaning(directory, self._tally)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is taken and noted within is one transaction: on disk when it ends, and nothing of it before."""
        with self._writing():
            yield

    # ---- batches

    def take(self, batches: Sequence[tuple[str, Batch, bytes]], now_ms: int) -> list[tuple[str, Receipt]]:
        """Keep what is new in these batches of agents, in one transaction; the receipts to give, one per batch.

        On disk when this returns. A batch that does not fit the chain goes to quarantine with its payload, and is
        answered by the receipt of what the ledger really holds.
        """
        receipts = []
        with self._writing() as db:
            for agent, batch, payload in batches:
                try:
                    self._take(db, agent, batch, now_ms)
                except Fork as fork:
                    self._quarantine(db, topic(agent, "batch"), fork.reason, payload, now_ms)
                receipts.append((agent, _receipt(db, agent, batch.epoch)))
        return receipts

    def _take(self, db: sqlite3.Connection, agent: str, batch: Batch, now_ms: int) -> None:
        prev = bytes.fromhex(batch.prev)
        bodies = [bytes(body) for body in batch.records]
        heads = chain.heads(prev, bodies)
        if heads[-1].hex() != batch.head:
            raise Fork("哈希链与批次不符 / the batch's records do not add up to its head")
        held = _held(db, agent, batch.epoch)
        before = batch.first - 1
        if before <= held.upto:
            # The ledger has the first `known` of these already, or rather: should have exactly these.
            known = min(held.upto - before, len(bodies))
            ours = held.head if before + known == held.upto else _head_at(db, held.id, before + known)
            if ours != (heads[known - 1] if known else prev):
                raise Fork(f"与账本第 {before + known} 条不符 / differs from the ledger at record {before + known}")
            bodies, heads, before = bodies[known:], heads[known:], before + known
        elif batch.oldest < batch.first:
            return  # out of order: the receipt makes the agent send what it still has of the records between
        if not bodies:
            return
        epoch_id = held.id or _new_epoch(db, agent, batch.epoch, held.head, now_ms)
        if before > held.upto:
            # The agent has nothing older: what lies between is not to be had any more.
            _note_gap(db, agent, epoch_id, held.upto, before, prev, now_ms)
        self._keep(db, agent, epoch_id, before, bodies, heads, now_ms)
        _note_stretch(db, epoch_id, batch.epoch, before + 1, before + len(bodies), heads[-1], now_ms)

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
                (epoch_id, seq, body, head, now_ms)
                for seq, (body, head) in enumerate(zip(bodies, heads, strict=True), after + 1)
            ],
        )
        db.execute(
            "UPDATE epoch SET upto = ?, head = ?, last_ms = ? WHERE id = ?",
            (after + len(bodies), heads[-1], now_ms, epoch_id),
        )
        presses: list[tuple[int, PressRecord]] = []
        closings: dict[str, ClosingRecord] = {}
        for seq, body in enumerate(bodies, after + 1):
            try:
                record = decode_record(body)
            except BadMessage as bad:
                # A kind that a newer agent knows and we do not: it is in the chain, and its bytes are kept.
                self._tally.record(epoch_id, "other")
                self._quarantine(db, topic(agent, "batch"), bad.reason, body, now_ms)
                continue
            self._tally.record(epoch_id, str(record.__struct_config__.tag))
            match record:
                case PressRecord():
                    presses.append((seq, record))
                case ClosingRecord() if self._meaning.note_closing(db, agent, epoch_id, seq, record):
                    closings[record.invitation] = record
                case SalvageRecord():
                    _note_loss(db, agent, epoch_id, record, now_ms)
        if closings:
            # Older presses before newer ones: the first press wins, however late its closing came.
            self._meaning.cure(db, closings, now_ms)
        self._meaning.understand(db, agent, epoch_id, presses, closings, now_ms)
        told.count_devices(db, agent, (press for _, press in presses))

    def append(self, agent: str, epoch: str, bodies: list[bytes], now_ms: int) -> None:
        """Write these records behind what there is of an epoch that nobody else writes."""
        with self._writing() as db:
            held = _held(db, agent, epoch)
            heads = chain.heads(held.head, bodies)
            epoch_id = held.id or _new_epoch(db, agent, epoch, held.head, now_ms)
            self._keep(db, agent, epoch_id, held.upto, bodies, heads, now_ms)
            _note_stretch(db, epoch_id, epoch, held.upto + 1, held.upto + len(bodies), heads[-1], now_ms)

    def cure(self, now_ms: int) -> int:
        """Ask again what every press means that meant nothing yet: the directory may have changed. How many now do."""
        with self._writing() as db:
            return self._meaning.cure(db, None, now_ms)

    # ---- cases

    def take_cases(self, given: Iterable[Case], now_ms: int) -> int:
        """Keep these details, all or none; how many were new or changed. Ratings that waited for them are due now."""
        with self._writing() as db:
            return sum([cases.take(db, self._vault, case, now_ms, now_ms) for case in given])

    def take_details(self, agent: str, details: Details, now_ms: int) -> Taken:
        """The same for what an agent's window PC has sealed; what to tell it."""
        taken, spoilt, locked = [], [], set()
        with self._writing() as db:
            for each in details.cases:
                try:
                    cases.take_sealed(db, self._vault, each, now_ms)
                    taken.append(each.digest)
                except Locked as error:
                    if error.key_id not in locked:
                        log.error(
                            "缺少密钥 %s, 办件信息留在代理 %s: 把它加在密钥文件末尾并重启, 或改代理的 [details] key /"
                            " key missing, case details stay at that agent: add it to the key file and start again, or"
                            " put the agent's [details] key right",
                            error.key_id,
                            agent,
                        )
                    locked.add(error.key_id)
                except CannotOpen as error:
                    self._quarantine(db, topic(agent, "details"), str(error), each.sealed, now_ms)
                    spoilt.append(each.digest)
        return Taken(taken, spoilt, sorted(locked))

    # ---- what agents say of themselves

    def note_status(self, agent: str, status: AgentStatus, now_ms: int) -> None:
        """Keep an agent's last status, and since when it is so: a broker says the last one again to whoever is new."""
        with self._writing() as db:
            db.execute(
                "INSERT INTO agent(agent, status, status_ms) VALUES (?,?,?)"
                " ON CONFLICT(agent) DO UPDATE SET status = excluded.status, status_ms = excluded.status_ms"
                " WHERE status IS NOT excluded.status",
                (agent, msgspec.json.encode(status), now_ms),
            )

    def note_health(self, agent: str, health: Health, now_ms: int) -> None:
        """Keep an agent's last health, and how many presses its devices say they have counted."""
        with self._writing() as db:
            db.execute(
                "INSERT INTO agent(agent, health, health_ms) VALUES (?,?,?)"
                " ON CONFLICT(agent) DO UPDATE SET health = excluded.health, health_ms = excluded.health_ms"
                " WHERE health IS NOT excluded.health",
                (agent, msgspec.json.encode(health), now_ms),
            )
            _note_receipted(db, agent, health, now_ms)
            told.counted(db, agent, health)
            if health.tip:
                told.note_tip(db, agent, health.epoch, health.tip, health.at_ms)

    def quarantine(self, name: str, reason: str, payload: bytes, now_ms: int) -> None:
        """Keep a message that is not ours, for a person to look at."""
        with self._writing() as db:
            self._quarantine(db, name, reason, payload, now_ms)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._store.writing() as db:
                yield db
                self._tally.write(db)
        except BaseException:
            self._meaning.forget()
            self._tally.forget()
            raise

    def _quarantine(self, db: sqlite3.Connection, name: str, reason: str, payload: bytes, now_ms: int) -> None:
        db.execute(
            "INSERT INTO quarantine(topic, digest, reason, payload, size, times, first_ms, last_ms)"
            " VALUES (?,?,?,?,?,1,?,?)"
            " ON CONFLICT(topic, digest) DO UPDATE SET times = times + 1, last_ms = excluded.last_ms",
            (name, sha256(payload).digest(), reason, payload[:_QUARANTINE_BYTES], len(payload), now_ms, now_ms),
        )
        db.execute("DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?", (_QUARANTINE_MAX,))


def _held(db: sqlite3.Connection, agent: str, epoch: str) -> _Held:
    row = db.execute("SELECT id, agent, upto, head FROM epoch WHERE epoch = ?", (epoch,)).fetchone()
    if row is None:
        return _Held(None, 0, chain.genesis(agent, epoch))
    if row["agent"] != agent:
        raise Fork(f"纪元属于 {row['agent']} / the epoch belongs to {row['agent']}")
    if row["upto"] and _head_at(db, row["id"], row["upto"]) != row["head"]:
        # Nobody may let go of anything for a receipt that the records do not bear out.
        raise LedgerDamaged(f"{agent} {epoch}: 纪元与其末条记录不符 / the epoch is not what its last record says")
    return _Held(row["id"], row["upto"], row["head"])


def _receipt(db: sqlite3.Connection, agent: str, epoch: str) -> Receipt:
    try:
        held = _held(db, agent, epoch)
    except Fork:
        held = _Held(None, 0, chain.genesis(agent, epoch))  # of this agent the ledger holds nothing under that name
    return Receipt(epoch, held.upto, held.head.hex())


def _new_epoch(db: sqlite3.Connection, agent: str, epoch: str, head: bytes, now_ms: int) -> int:
    number = db.execute(
        "INSERT INTO epoch(agent, epoch, upto, head, first_ms, last_ms) VALUES (?,?,0,?,?,?)",
        (agent, epoch, head, now_ms, now_ms),
    ).lastrowid
    if number is None:
        raise sqlite3.IntegrityError("an epoch without a number")
    return number


def _note_receipted(db: sqlite3.Connection, agent: str, health: Health, now_ms: int) -> None:
    """Name what was receipted once and is not here: the agent has let go of it, and this ledger is an older one."""
    try:
        held = _held(db, agent, health.epoch)
    except Fork:
        return
    if health.receipted > held.upto:
        epoch_id = held.id or _new_epoch(db, agent, health.epoch, held.head, now_ms)
        _note_gap(db, agent, epoch_id, held.upto, health.receipted, bytes.fromhex(health.head), now_ms)


def _note_gap(
    db: sqlite3.Connection, agent: str, epoch_id: int, after: int, upto: int, head: bytes, now_ms: int
) -> None:
    noted = db.execute(
        "INSERT INTO gap(epoch_id, after, upto, head, at_ms) SELECT ?,?,?,?,?"
        " WHERE NOT EXISTS (SELECT 1 FROM gap WHERE epoch_id = ? AND upto = ?)",
        (epoch_id, after, upto, head, now_ms, epoch_id, upto),
    )
    if noted.rowcount:
        words = "账本缺代理已删的记录, 是否恢复过旧备份? / records that the agent has let go of are not in this ledger"
        log.error("%s: %s #%s–%s", words, agent, after + 1, upto)


def _note_stretch(
    db: sqlite3.Connection, epoch_id: int, epoch: str, first: int, upto: int, head: bytes, now_ms: int
) -> None:
    """Note in the ledger's own chain that these records were taken."""
    last = db.execute("SELECT hash FROM stretch ORDER BY n DESC LIMIT 1").fetchone()
    digest = chain.stretch(last["hash"] if last else chain.LEDGER, epoch, first, upto, head, now_ms)
    db.execute(
        "INSERT INTO stretch(epoch_id, first, upto, head, at_ms, hash) VALUES (?,?,?,?,?,?)",
        (epoch_id, first, upto, head, now_ms, digest),
    )


def _head_at(db: sqlite3.Connection, epoch_id: int | None, seq: int) -> bytes | None:
    row = db.execute("SELECT hash FROM record WHERE epoch_id = ? AND seq = ?", (epoch_id, seq)).fetchone()
    return row["hash"] if row else None


def _note_loss(db: sqlite3.Connection, agent: str, epoch_id: int, salvage: SalvageRecord, now_ms: int) -> None:
    """What an agent's damaged outbox has cost, by number; what had arrived before is not lost."""
    told.note_tip(db, agent, salvage.epoch, salvage.last, salvage.at_ms, salvage.last)
    try:
        held = _held(db, agent, salvage.epoch).upto
    except Fork:
        held = 0
    for first, last in salvage.lost:
        first = max(first, held + 1)
        known = db.execute(
            "SELECT 1 FROM loss JOIN epoch ON epoch.id = epoch_id WHERE agent = ? AND loss.epoch = ? AND first = ?"
            " AND last = ?",
            (agent, salvage.epoch, first, last),
        ).fetchone()
        # The word of a loss may itself be carried over from one damaged outbox to the next.
        if first <= last and known is None:
            db.execute(
                "INSERT INTO loss(epoch_id, epoch, first, last, reason, at_ms) VALUES (?,?,?,?,?,?)",
                (epoch_id, salvage.epoch, first, last, salvage.reason, now_ms),
            )
            log.error(
                "代理存档损坏, 记录已失 / records lost to a damaged outbox: %s %s #%s–%s",
                agent,
                salvage.epoch,
                first,
                last,
            )
