"""How a record lies in its row: deflated with words that every record has, and with a sum of its own.

What a deflated body stands for are the exact bytes that are hashed and sent. The sum tells, without the records
before and after it, whether a row still holds what was written under its number.
"""

from __future__ import annotations

import re
import zlib
from hashlib import sha256

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
