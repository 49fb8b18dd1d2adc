"""How things lie in their rows: each row with a sum of its own, a record deflated with words that every record has.

What a deflated body stands for are the exact bytes that are hashed and sent. A sum tells, without the rows before and
after it, whether a row still holds what was written there.
"""

from __future__ import annotations

import re
import sqlite3
import zlib
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from protocols.messages import RECORD_BYTES_MAX

_SUM_BYTES = 8
_LARGEST = 4 * RECORD_BYTES_MAX  # a body that was damaged must not unfold into a gigabyte
# By the first byte of a row. A version that was ever written stays: rows of it wait in halls. What is most frequent
# stands last, where it is found at the least cost.
_WORDS = {
    1: (
        b'"raw":"7b22646576696365223a22222c22626f6f74223a2c22636f756e74223a2c22627574746f6e223a2c226167655f6d73223a2c22'
        b'696e7669746174696f6e223a222273637265656e0d0aff680303680511"profile":"screen"qs4"pj06"key-byte"key-ascii"'
        b'modbus-key"hid-keypad"taxi905"sundyn-udp","unsure_ms":500,"doubt":""synced":false,"case_no":nullwithdrawn"'
        b'expired"declined"device_failed"{"kind":"closing","window":"1","invitation":"","outcome":"answered",'
        b'"opened_ms":179,"deadline_ms":179,"closed_ms":179,"mono_ms":,"host_boot":"","service_number":1,"case_no":"",'
        b'"clerk":"","synced":true}{"kind":"press","window":"1","device":"D0001","boot":1,"count":1,"button":1,'
        b'"pressed_ms":179,"kept_ms":179,"mono_ms":,"host_boot":"","profile":"house","profile_version":1,'
        b'"raw":"2450524553532c44302c312c2c312c302a0d0a","synced":true,"invitation":""}'
    ),
}
_NEWEST = max(_WORDS)


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def key_of(invitation: str) -> bytes | str:
    """What an invitation's id is kept as: a UUID in 16 bytes, any other as it is."""
    return bytes.fromhex(invitation.replace("-", "")) if _UUID.fullmatch(invitation) else invitation


def id_of(key: Any) -> str:
    """And back; text that no invitation has if it is neither."""
    if isinstance(key, bytes) and len(key) == 16:
        digits = key.hex()
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    return key if isinstance(key, str) else ""


def packed(body: bytes) -> bytes:
    """This record's bytes as they lie in a row."""
    press = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=_WORDS[_NEWEST])
    return bytes([_NEWEST]) + press.compress(body) + press.flush()


def sum_of(seq: int, body: bytes) -> bytes:
    """What stands beside it: of its number too, so that no row passes for another."""
    return sha256(seq.to_bytes(8, "big") + body).digest()[:_SUM_BYTES]


def unpacked(seq: int, row: bytes, stated: bytes) -> bytes | None:
    """The record's bytes; None if they are not what was written under this number."""
    words = _WORDS.get(row[0]) if row else None
    if words is None:
        return None
    unfold = zlib.decompressobj(-zlib.MAX_WBITS, zdict=words)
    try:
        body = unfold.decompress(row[1:], _LARGEST)
    except zlib.error:
        return None
    return body if unfold.eof and not unfold.unused_data and sum_of(seq, body) == stated else None


# ---- all other rows

# What the sum of a row is taken over, by table or view, in this order. Names stand for themselves in it, not for their
# numbers: a name that was changed shows in every row that has it. Each row has its own number in its sum, for the
# order of invitations and of presses means something too.
SUMMED = {
    "epoch": "agent, epoch, created_ms",
    "tip": "seq, head, at_ms, waiting, done",
    "receipted": "seq, head",
    "seen": "id, device, boot, count, button, pressed_ms, mono_ms, host_boot",
    "invitation": "n, id, window, state, seconds, opened_ms, mono_ms, host_boot, synced, case_no, service_number,"
    " clerk, closed_ms, closed_mono_ms, closed_boot, press",
    "promised": "n, seconds",
    "rescued": "n, file, at_ms, seen, invitations, upto, whole",
    "daily_head": "day, epoch, seq, head",
}
SELECT = {table: f"SELECT {values}, sum FROM {table}" for table, values in SUMMED.items()}
"""The values of each row and its sum, as `checked` takes them."""

_encode = msgspec.msgpack.Encoder().encode  # one way to write each value, the same on every machine


def has_promised(db: sqlite3.Connection) -> bool:
    """Whether anything was ever promised to end sooner than it did: the one table that a file may lack."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'promised'").fetchone() is not None


def sum_of_row(table: str, *values: Any) -> bytes:
    """What stands beside these values of SUMMED in their row: of its table too, so that no row passes for another."""
    return sha256(_encode((table, *values))).digest()[:_SUM_BYTES]


def holds(table: str, row: Iterable[Any]) -> bool:
    """Whether this row of SELECT is what was written."""
    *values, stated = row
    return bool(sum_of_row(table, *values) == stated)


def checked(table: str, row: Iterable[Any]) -> tuple[Any, ...]:
    """Its values; sqlite3.DatabaseError if they are not what was written."""
    values = tuple(row)
    if not holds(table, values):
        # Not what stands in it: that may be a citizen's case.
        raise sqlite3.DatabaseError(f"表 {table} 有一行损坏 / a row of table {table} is damaged")
    return values[:-1]


# ---- where the chain stands


class Tip(NamedTuple):
    """The last record ever written."""

    seq: int
    head: bytes
    at_ms: int
    waiting: str
    """The presses that wait (JSON, by window)."""
    done: int
    """The last record that was receipted, once more: no single page may decide what has been let go of."""


class Receipted(NamedTuple):
    """The last record that the collector has."""

    seq: int
    head: bytes


def tip(db: sqlite3.Connection) -> Tip:
    """sqlite3.DatabaseError if it is not what was written."""
    return Tip._make(checked("tip", db.execute(SELECT["tip"]).fetchone()))


def receipted(db: sqlite3.Connection) -> Receipted:
    """sqlite3.DatabaseError if it is not what was written."""
    return Receipted._make(checked("receipted", db.execute(SELECT["receipted"]).fetchone()))


def put_tip(db: sqlite3.Connection, tip: Tip) -> None:
    """Within a transaction."""
    db.execute(
        "UPDATE tip SET seq = ?, head = ?, at_ms = ?, waiting = ?, done = ?, sum = ?", (*tip, sum_of_row("tip", *tip))
    )


def put_receipted(db: sqlite3.Connection, done: Receipted) -> None:
    """Within a transaction."""
    db.execute("UPDATE receipted SET seq = ?, head = ?, sum = ?", (*done, sum_of_row("receipted", *done)))
