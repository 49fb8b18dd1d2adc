"""What agents and the collector say to each other over MQTT: topics, records, batch, receipt, details, status, health.

JSON, every field named; a batch is deflated (zlib) when that is shorter. Unknown fields are passed over, so an
old collector understands a newer agent; a record keeps its exact bytes whatever is in it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from .cases import CaseNo, ServiceNumber
from .errors import BadMessage
from .ratings import Outcome, PressId

ROOT = "hcp/v1"
_COLLECTOR = "collector"
COLLECTOR_STATUS = f"{ROOT}/{_COLLECTOR}/status"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
"""What an agent, an epoch or a window may be called: it becomes part of a topic or a file name."""
EPOCH = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_HEAD = re.compile(r"[0-9a-f]{64}", re.ASCII)

RECORDS_MAX = 1000  # a round trip each: tens of thousands a second, and a lost batch costs little to send again
RECORD_BYTES_MAX = 16 * 1024  # the longest record: a rating page's text of 150 characters and raw bytes, with room
BATCH_BYTES_MAX = 1024 * 1024  # inflated; 1,000 records of a button panel are 400 kB
PAYLOAD_BYTES_MAX = BATCH_BYTES_MAX + 4096  # on the wire; above it nothing is even looked at
SEQ_MAX = 2**62  # SQLite counts to 2**63 - 1
SEALED_BYTES_MAX = 8 * 1024  # all fields of a case are under 2 kB
DETAILS_MAX = 50  # cases in one message: they must not hold up a press behind them
_REASON_MAX = 200  # characters: it stands in a table that a person reads

Count = Annotated[int, Meta(ge=0, le=SEQ_MAX)]
"""What is counted, numbered or measured from some start. A larger one would break the database that is to keep it."""
Time = Annotated[int, Meta(ge=-62_000_000_000_000, le=253_000_000_000_000)]
"""Milliseconds UTC, of the years 6 to 9987: a calendar can show them in any zone, and a wrong clock stays inside."""


def topic(agent: str, kind: str) -> str:
    """`hcp/v1/<agent>/<kind>`."""
    return f"{ROOT}/{agent}/{kind}"


def parse_topic(text: str) -> tuple[str, str] | None:
    """Agent and kind of an agent's topic, None for any other."""
    parts = text.split("/", 3)
    if len(parts) != 4 or "/".join(parts[:2]) != ROOT or not NAME.fullmatch(parts[2]):
        return None
    # The collector's own topic looks the same: no agent can have its name.
    return None if parts[2] == _COLLECTOR else (parts[2], parts[3])


# ---- records


class PressRecord(msgspec.Struct, frozen=True, tag_field="kind", tag="press", omit_defaults=True):
    """One press, as the agent wrote it down."""

    window: str
    device: str
    boot: Count
    count: Count
    button: Count
    pressed_ms: Time
    """When the button went down, by the agent's wall clock."""
    kept_ms: Time
    """When it was on disk, by the same clock."""
    mono_ms: Count
    """The same moment as `kept_ms` by the clock that nobody can set, counted within `host_boot`."""
    host_boot: str
    profile: str
    profile_version: Count
    raw: str
    """The frame's bytes, in hex."""
    synced: bool | None = None
    invitation: str | None = None
    unsure_ms: Count = 0
    """How much earlier than `pressed_ms` it may have gone down; 0 from a device that says how old its presses are."""
    doubt: str = ""
    """The invitation that was open when its bytes came, where the press may be from before it: it answers none."""
    tags: list[str] = []
    """Codes of rating tags, and `text` in the citizen's own words, where they came with the press and do not stand on
    its button."""
    tags_version: Count = 0
    """Which version of the tag list was shown; 0 where that is not known."""
    text: str = ""
    hall: str = ""
    """Where it was given, and at which window, where the directory does not say so: of other channels."""
    number: str = ""

    @property
    def press(self) -> PressId:
        return PressId(self.device, self.boot, self.count)


class ClosingRecord(msgspec.Struct, frozen=True, tag_field="kind", tag="closing", omit_defaults=True):
    """How one invitation ended."""

    window: str
    invitation: str
    outcome: Outcome
    opened_ms: Time
    deadline_ms: Time
    closed_ms: Time
    mono_ms: Count
    host_boot: str
    service_number: Count = 1
    case_no: str | None = None
    clerk: str | None = None
    synced: bool | None = None


class SalvageRecord(msgspec.Struct, frozen=True, tag_field="kind", tag="salvage", omit_defaults=True):
    """An outbox was damaged: what could be read of it follows, and what could not is named here."""

    epoch: str
    """Of the damaged one; empty if not even that could be read."""
    first: Count
    """The first record that had not been receipted, and the last that was written, as far as that is known."""
    last: Count
    lost: list[tuple[Count, Count]]
    """From and to, of records that cannot be read any more."""
    at_ms: Time
    reason: str


Record = PressRecord | ClosingRecord | SalvageRecord

# How msgspec says no: a wrong shape, text that is not UTF-8, and brackets so deep that it gives up.
_NOT_OURS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_encoder = msgspec.json.Encoder()
_record: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


BEGINS = {kind: b'{"kind":"%s"' % kind.encode() for kind in ("press", "closing", "salvage")}
"""How the canonical bytes of each kind begin: what a record is can be told without reading it."""


def encode_record(record: Record) -> bytes:
    """The record's canonical bytes: what is hashed, stored and sent."""
    return _encoder.encode(record)


def decode_record(body: bytes) -> Record:
    """The record of these bytes; BadMessage if it is none."""
    try:
        return _record.decode(body)
    except _NOT_OURS as error:
        raise BadMessage(_short(f"不是记录 / no record: {error}"), bytes(body)) from error


# ---- agent → collector


class Batch(msgspec.Struct, frozen=True, omit_defaults=True):
    """Consecutive records of one epoch: `records[0]` is number `first`."""

    epoch: str
    first: Count
    prev: str
    """The head before `first`, in hex."""
    head: str
    """The head after the last of them: the collector computes it too before it believes a byte."""
    records: list[msgspec.Raw]
    oldest: Count = 1
    """The oldest record that the agent still holds; what came before it is in the ledger, or nowhere."""


class Receipt(msgspec.Struct, frozen=True):
    """The ledger holds all of `epoch` up to `upto`, and its head there is `head` (hex)."""

    epoch: str
    upto: Count
    head: str


class SealedCase(msgspec.Struct, frozen=True):
    """The details of a case, hidden on the window PC for the collector's key (`seal`)."""

    case_no: CaseNo
    service_number: ServiceNumber
    at_ms: Time
    """When they were handed in, by the agent's wall clock: of two for one case the later one counts."""
    sealed: bytes

    @property
    def digest(self) -> str:
        """What an answer calls it by: nobody can name one by chance."""
        return sha256(self.sealed).hexdigest()


class Details(msgspec.Struct, frozen=True):
    """Details of cases, in no chain: they are deleted once nobody needs them, and the records stay checkable."""

    cases: list[SealedCase]


class Taken(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the collector has of them, by digest: the agent lets go of these."""

    taken: list[str]
    spoilt: list[str] = []
    """They cannot be opened, and never will: the agent lets go of them too, and says so."""
    locked: list[str] = []
    """The keys (`Sealer.key_id`) that some are sealed for and that are not here: the agent keeps those."""


class AgentStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """Retained; the will says online = false."""

    online: bool
    version: str = ""
    epoch: str = ""
    since_ms: Time = 0


class CollectorStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """Retained: whether anyone is there to give receipts, and since when."""

    online: bool
    since_ms: Time = 0


WindowState = Literal["ready", "inviting", "cable_out", "device_silent", "refusing"]


class WindowHealth(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an agent knows about one window."""

    window: str
    state: WindowState
    since_ms: Time = 0
    detail: str = ""
    device: str = ""
    boot: Count = 0
    count: Count = 0
    """Presses that the device says it has counted in `boot`."""
    kept: Count = 0
    """Presses of this window written since the agent started."""
    noise: Count = 0
    """Pieces of noise on the line since the agent started."""
    waiting: Count = 0
    """Presses of this window not yet receipted."""
    profile: str = ""
    """What its device is taken for."""
    evidence: str = ""
    """How far that profile is to be trusted, see `protocols.profiles.vocabulary.Evidence`."""
    not_taken: Count = 0
    """Keys that were no press of their own since the agent started: bounces, held keys, repeats of one press."""
    thanked: Count | None = None
    """How many of `count` the device had surely been thanked for when it said so; None where it holds some, or where
    nobody can tell."""


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an agent knows about itself and its windows; sent every now and then, and when something changes."""

    at_ms: Time
    epoch: str
    windows: list[WindowHealth]
    backlog: Count = 0
    oldest_ms: Time | None = None
    synced: bool | None = None
    alarm: str = ""
    """What a person has to look at, in words; empty when nothing."""
    tip: Count = 0
    """The number of the last record of `epoch`, the last `backlog` of them not receipted; 0 where it is not said."""
    receipted: Count = 0
    """The last record that the agent was told the ledger has, and let go of: a ledger that has less has lost it."""
    head: str = ""
    """The hash of that record."""


Message = Batch | Receipt | Details | Taken | AgentStatus | CollectorStatus | Health
M = TypeVar("M", Batch, Receipt, Details, Taken, AgentStatus, CollectorStatus, Health)


def encode(message: Message) -> bytes:
    """The message as it travels. A batch of more than one record is deflated."""
    body = _encoder.encode(message)
    if isinstance(message, Batch) and len(message.records) > 1:
        # Level 1: three times smaller at a third of the time of the default.
        return zlib.compress(body, 1)
    return body


def decode(payload: bytes, kind: type[M]) -> M:
    """The message of these bytes; BadMessage says what is wrong with it."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise BadMessage(f"太长 / too long: {len(payload)} > {PAYLOAD_BYTES_MAX} bytes", payload)
    body = _inflate(payload) if payload[:1] == b"\x78" else payload
    try:
        message = msgspec.json.decode(body, type=kind)
    except _NOT_OURS as error:
        raise BadMessage(_short(f"格式不符 / no {kind.__name__}: {error}"), payload) from error
    reason = _wrong(message)
    if reason:
        raise BadMessage(reason, payload)
    return message


def _short(reason: str) -> str:
    return reason if len(reason) <= _REASON_MAX else reason[: _REASON_MAX - 1] + "…"


def _inflate(payload: bytes) -> bytes:
    # Bounded: a few bytes can claim to be gigabytes.
    inflater = zlib.decompressobj()
    try:
        body = inflater.decompress(payload, BATCH_BYTES_MAX)
    except zlib.error as error:
        raise BadMessage(f"解压失败 / does not inflate: {error}", payload) from error
    if not inflater.eof:
        raise BadMessage(f"不完整, 或解压后太长 / cut short, or inflates to over {BATCH_BYTES_MAX} bytes", payload)
    if inflater.unused_data:
        raise BadMessage(f"后面多出字节 / followed by {len(inflater.unused_data)} bytes too many", payload)
    return body


def _wrong(message: Message) -> str:
    match message:
        case Batch():
            return _wrong_batch(message)
        case Receipt():
            return _wrong_place(message.epoch, message.head)
        case Details():
            return _wrong_details(message)
        case Health() if message.receipted:
            return _wrong_place(message.epoch, message.head)
        case Health():
            return _wrong_epoch(message.epoch)
        case AgentStatus() if message.epoch:
            return _wrong_epoch(message.epoch)
        case _:
            return ""


def _wrong_batch(batch: Batch) -> str:
    if not 1 <= len(batch.records) <= RECORDS_MAX:
        return f"记录条数不对 / {len(batch.records)} records, expected 1 to {RECORDS_MAX}"
    if not 1 <= batch.oldest <= batch.first:
        return f"记录编号不对 / oldest is {batch.oldest}, expected 1 to first ({batch.first})"
    if not _HEAD.fullmatch(batch.prev):
        return "prev 不是 SHA-256 / prev is no SHA-256 in hex"
    if any(len(bytes(body)) > RECORD_BYTES_MAX for body in batch.records):
        return f"有一条记录太长 / a record of more than {RECORD_BYTES_MAX} bytes"
    return _wrong_place(batch.epoch, batch.head)


def _wrong_details(details: Details) -> str:
    if not 1 <= len(details.cases) <= DETAILS_MAX:
        return f"办件个数不对 / {len(details.cases)} cases, expected 1 to {DETAILS_MAX}"
    if any(not 1 <= len(each.sealed) <= SEALED_BYTES_MAX for each in details.cases):
        return f"办件信息长度不对 / sealed details of 0 or of more than {SEALED_BYTES_MAX} bytes"
    return ""


def _wrong_place(epoch: str, head: str) -> str:
    if not _HEAD.fullmatch(head):
        return "head 不是 SHA-256 / head is no SHA-256 in hex"
    return _wrong_epoch(epoch)


def _wrong_epoch(epoch: str) -> str:
    return "" if EPOCH.fullmatch(epoch) else "纪元不是 UUID / epoch is no UUID"


def batch_of(epoch: str, first: int, prev: bytes, head: bytes, bodies: Sequence[bytes], oldest: int) -> Batch:
    """A batch of record bodies."""
    return Batch(epoch, first, prev.hex(), head.hex(), [msgspec.Raw(body) for body in bodies], oldest)
