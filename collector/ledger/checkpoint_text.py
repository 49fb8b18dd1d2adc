"""A checkpoint as text that a person can read. The conversions meet in a test.

UTF-8, a line feed after each line, and behind it the signature of all of it:

    好差评账本检查点 hall-rating checkpoint 2
    账本 ledger: <32 hex>
    段 stretch: <number>
    链首 head: <64 hex>
    时间 at: 2026-11-24T00:00:03.217Z
    毫秒 at_ms: 1795478403217
    …
    步骤 steps: <number> <64 hex>
    抽查公告 draws: …
    抽查结果 drawn: …
    审计日志 log: …
    公钥 key: <64 hex: SHA-256 of the public key in DER>
    signature: <base64 of the 64 bytes of Ed25519>
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from protocols.ratings import Level

from .checkpoints import STATES, Checkpoint, End, Ends

_TITLE = "好差评账本检查点 hall-rating checkpoint"
_VERSIONS = (1, 2)  # the first has no ends of the chains beside the ledger's own


class BadCheckpoint(Exception):
    """This is no checkpoint that can be checked; the text says what was expected and what to do."""


def text(checkpoint: Checkpoint, key: str) -> bytes:
    """The bytes that are signed, by the key of this name."""
    levels = " ".join(f"{level.value}={count}" for level, count in zip(Level, checkpoint.levels, strict=True))
    states = " ".join(f"{state}={count}" for state, count in zip(STATES, checkpoint.states, strict=True))
    ends = checkpoint.ends
    lines = (
        f"{_TITLE} {_VERSIONS[0 if ends is None else 1]}",
        f"账本 ledger: {checkpoint.ledger}",
        f"段 stretch: {checkpoint.stretch}",
        f"链首 head: {checkpoint.head}",
        f"时间 at: {readable(checkpoint.at_ms)}",
        f"毫秒 at_ms: {checkpoint.at_ms}",
        f"存档 epochs: {checkpoint.epochs}",
        f"记录 records: {checkpoint.records}",
        f"缺口 gaps: {checkpoint.gaps}",
        f"按键 presses: {checkpoint.presses}",
        f"评价 ratings: {checkpoint.ratings}",
        f"满意度 levels: {levels}",
        f"去向 states: {states}",
        *(f"{name}: {getattr(ends, of).number} {getattr(ends, of).head}" for of, name in _ENDS.items() if ends),
        f"公钥 key: {key}",
    )
    return "".join(f"{line}\n" for line in lines).encode()


_ENDS = {"step": "步骤 steps", "draw": "抽查公告 draws", "drawn": "抽查结果 drawn", "people": "审计日志 log"}
_NUMBER = r"(0|[1-9][0-9]{0,18})"
_HASH = "([0-9a-f]{64})"
_TEXTS = {
    version: re.compile(
        rf"{_TITLE} {version}\n账本 ledger: ([0-9a-f]{{32}})\n段 stretch: {_NUMBER}\n链首 head: {_HASH}\n"
        rf"时间 at: ([0-9TZ:.-]+)\n毫秒 at_ms: {_NUMBER}\n存档 epochs: {_NUMBER}\n记录 records: {_NUMBER}\n"
        rf"缺口 gaps: {_NUMBER}\n按键 presses: {_NUMBER}\n评价 ratings: {_NUMBER}\n"
        rf"满意度 levels: {' '.join(f'{level.value}={_NUMBER}' for level in Level)}\n"
        rf"去向 states: {' '.join(f'{state}={_NUMBER}' for state in STATES)}\n{ends}公钥 key: {_HASH}\n",
        re.ASCII,
    )
    for version, ends in zip(
        _VERSIONS, ("", "".join(f"{name}: {_NUMBER} {_HASH}\n" for name in _ENDS.values())), strict=True
    )
}
_COUNTS = 6 + len(Level) + len(STATES)  # at_ms to ratings, then those


def untext(signed: bytes) -> tuple[Checkpoint, str]:
    """The checkpoint of these bytes and the name of its key; BadCheckpoint if they are none."""
    try:
        said = signed.decode()
    except UnicodeDecodeError:
        raise BadCheckpoint("不是 UTF-8 文本 / is no UTF-8 text") from None
    title, _, version = said.partition("\n")[0].rpartition(" ")
    if title != _TITLE:
        raise BadCheckpoint(f"第一行应为 / the first line must be {_TITLE!r} {_VERSIONS[-1]}")
    if version not in map(str, _VERSIONS):
        raise BadCheckpoint(
            f"格式版本 {version[:20]!r} 由更新的程序写成, 请用该程序核对"
            " / this format version is of a newer program, check it with that"
        )
    found = _TEXTS[int(version)].fullmatch(said)
    if found is None:
        raise BadCheckpoint(
            "缺行、多行或值不对, 请取原件 / a line is missing, too much or wrong; get the original file"
        )
    ledger, stretch, head, _at, *rest, key = found.groups()
    at_ms, epochs, records, gaps, presses, ratings, *counts = map(int, rest[:_COUNTS])
    levels, states = tuple(counts[: len(Level)]), tuple(counts[len(Level) :])
    pairs = [End(int(number), last) for number, last in zip(rest[_COUNTS::2], rest[_COUNTS + 1 :: 2], strict=True)]
    ends = Ends(*pairs) if pairs else None
    checkpoint = Checkpoint(
        ledger, int(stretch), head, at_ms, epochs, records, gaps, presses, ratings, levels, states, ends
    )
    try:
        same = text(checkpoint, key) == signed
    except (ValueError, OverflowError):
        same = False  # a time that no calendar has
    if not same:
        raise BadCheckpoint("时间与毫秒不一致 / the time and its milliseconds differ")
    return checkpoint, key


def readable(at_ms: int) -> str:
    """`2026-11-24T00:00:03.217Z`."""
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03}Z"
