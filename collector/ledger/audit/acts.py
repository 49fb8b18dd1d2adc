"""Whether what people did about ratings still is what they did: steps, draws, and what was drawn."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from hashlib import sha256
from itertools import islice
from typing import Any

import msgspec

from ...mending import states
from .. import lots
from ..acts import SAID, beginning, following
from .findings import FINDINGS_MAX, Finding
from .held import has

_Step = tuple[Any, ...]
_WRONG = {
    "step": "整改或抽查的步骤与其哈希不符 / a step of a mending or a spot check is not what its hash says",
    "draw": "抽查的公告与其哈希不符 / the announcement of a draw is not what its hash says",
    "drawn": "抽查的结果与其哈希不符 / the outcome of a draw is not what its hash says",
}


def acts(db: sqlite3.Connection) -> list[Finding]:
    """All that is wrong; nothing in a ledger of an older program."""
    if not has(db, "step"):
        return []
    findings: list[Finding] = []
    for table, what in _WRONG.items():
        findings += [Finding("?", table, number, what) for number in islice(_broken(db, table), FINDINGS_MAX)]
    findings += islice(_steps(db), FINDINGS_MAX)
    findings += islice(_draws(db), FINDINGS_MAX)
    return findings


def _broken(db: sqlite3.Connection, table: str) -> Iterator[int]:
    """Rows that do not follow the one before."""
    head, number = beginning(table), 0
    for *said, stated in db.execute(f"SELECT {', '.join(SAID[table])}, hash FROM {table} ORDER BY id"):
        number += 1
        if said[0] != number or _hash(head, said) != stated:
            yield int(said[0])
        number, head = said[0], stated if isinstance(stated, bytes) else b""


def _hash(head: bytes, said: list[Any]) -> bytes | None:
    try:
        return following(head, said)
    except (msgspec.MsgspecError, TypeError, UnicodeEncodeError):
        return None


def _steps(db: sqlite3.Connection) -> Iterator[Finding]:
    """Steps that nobody could have taken: of no bad rating, from a state that has no such step, or approved by one who
    worked on it; and words that are not those that were written."""
    state: dict[int, states.State] = {}
    workers: dict[int, set[str]] = {}
    rows = db.execute(
        "SELECT step.id, step.rating, draw, who, what, outcome, step.state, step.words, digest, rating.bad,"
        " rating.agent, epoch.epoch, coalesce(press.seq, 0) FROM step LEFT JOIN rating ON rating.id = step.rating"
        " LEFT JOIN press ON press.id = rating.press LEFT JOIN epoch ON epoch.id = press.epoch_id ORDER BY step.id"
    )
    for _, rating, draw, who, what, outcome, stated, words, digest, bad, agent, epoch, seq in rows:
        wrong = ""
        if words is not None and (not isinstance(words, bytes) or sha256(words).digest() != digest):
            wrong = "步骤的文字被改动 / the words of a step were altered"
        elif draw is not None:
            wrong = "" if agent is not None else "抽查没有对应的评价 / a spot check of no rating"
        else:
            after = states.after(state.get(rating, states.BEGINNING), what, outcome)
            alone = what == "close" and not states.may_close(workers.get(rating, ()), who)
            if bad != 1 or after is None or after != stated or alone:
                wrong = "这一步谁也记不了 / a step that nobody could have taken"
            state[rating] = after or states.BEGINNING
            if what in states.WORK:
                workers.setdefault(rating, set()).add(who)
        if wrong:
            yield Finding(agent or "?", epoch or "?", seq, wrong)


def _draws(db: sqlite3.Connection) -> Iterator[Finding]:
    for (number,) in db.execute("SELECT id FROM draw ORDER BY id").fetchall():
        try:
            differences = lots.differences(db, number)
        except (TypeError, OverflowError):
            differences = [f"第 {number} 次抽查无法重抽 / draw {number} cannot be made again"]  # no numbers stand there
        yield from (Finding("?", "draw", number, words) for words in differences)
    for (number,) in db.execute("SELECT draw FROM drawn WHERE draw NOT IN (SELECT id FROM draw)").fetchall():
        yield Finding("?", "drawn", number, "抽出了没有公告过的抽查 / a draw that was never announced")
