"""The same counts from the records themselves: every chain gone along, every press, closing and step read again.

Only what no record says is taken from the rows: hall and number of a window, and its channel.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec

from protocols import chain
from protocols.errors import BadMessage
from protocols.messages import ClosingRecord, PressRecord, decode_record

from ..directory import CLIENT, Directory
from ..ledger.audit.acts import acts as acts_findings
from ..ledger.store import Store
from ..ledger.tally import day_of
from ..mending import states
from ..mending.mendings import Rules, deadline_ms
from .figures import By, Counts, Mended, Where


class Altered(Exception):
    """A record, a step or a meaning is not what it was: there is nothing to count, `collector verify` says more."""


class Recount:
    """One way through the whole ledger."""

    def __init__(self, store: Store, directory: Directory, rules: Rules):
        self._store = store
        self._directory = directory
        self._rules = rules

    def counts(self, first: int, last: int, by: By, hall: str, now_ms: int) -> Counts:
        """What `Statistics.counts` says; not by item, which no record knows. Altered if a chain is broken, or a rating
        is not what its record says."""
        with self._store.reading() as db:
            if acts_findings(db):
                raise Altered("整改步骤或抽查被改动 / steps or draws were altered")
            presses, closings = self._read(db)
            keys = _key_maps(db)
            ratings = {row["press"]: row for row in db.execute("SELECT * FROM rating")}
            steps = _steps(db)
            found = Counts()
            rated = {}
            for row in db.execute("SELECT id, epoch_id, seq FROM press ORDER BY id"):
                rating = ratings.pop(row["id"], None)
                if rating is None:
                    continue
                press = presses[row["epoch_id"], row["seq"]]
                closing = closings.get(press.invitation or "")
                if keys.get((rating["key_map"], press.button)) != rating["level"]:
                    raise Altered(f"第 {rating['id']} 号评价的等级与记录不符 / its level is not its record's")
                if press.invitation is not None:
                    rated[press.invitation] = rating
                where = Where(
                    day_of(press.pressed_ms),
                    rating["hall"],
                    rating["number"],
                    (closing[1].clerk if closing else None) or "",
                    rating["channel"],
                )
                if first <= where.day <= last and hall in ("", where.hall):
                    found.levels[_only(where, by), rating["level"]] += 1
                    if rating["bad"] and (self._rules.since is None or where.day >= self._rules.since):
                        standing = self._standing(press.pressed_ms, steps.get(rating["id"], []), now_ms)
                        found.mended[_only(where, by), standing] += 1
            if ratings:
                raise Altered("有评价没有按键 / there are ratings without a press")
            self._asked(found, closings, rated, (first, last), by, hall)
        return found

    def _read(
        self, db: sqlite3.Connection
    ) -> tuple[dict[tuple[int, int], PressRecord], dict[str, tuple[str, ClosingRecord]]]:
        """All presses by where they stand, and the first closing of each invitation with its agent."""
        presses: dict[tuple[int, int], PressRecord] = {}
        closings: dict[str, tuple[str, ClosingRecord]] = {}
        for number, agent, seq, body in _bodies(db):
            try:
                record = decode_record(body)
            except BadMessage:
                continue  # of a kind that only a newer program knows
            if isinstance(record, PressRecord):
                presses[number, seq] = record
            elif isinstance(record, ClosingRecord):
                taken = db.execute(
                    "SELECT 1 FROM closing WHERE invitation = ? AND epoch_id = ? AND seq = ?",
                    (record.invitation, number, seq),
                ).fetchone()
                if taken is not None:
                    closings[record.invitation] = agent, record
        return presses, closings

    def _standing(self, pressed_ms: int, steps: list[sqlite3.Row], now_ms: int) -> Mended:
        state, finding, closed_ms = states.BEGINNING, "", None
        for step in steps:
            state = states.TABLE[state][step["what"], step["outcome"]]
            closed_ms = step["at_ms"] if state == states.CLOSED else None
            if step["what"] == "check":
                finding = step["outcome"] if step["outcome"] in states.NOT_TAKEN_UP else ""
        late_ms = deadline_ms(pressed_ms, self._rules.days)
        if closed_ms is None:
            return Mended("overdue" if now_ms >= late_ms else "open", finding, 0)
        return Mended("in_time" if closed_ms < late_ms else "late", finding, max(0, closed_ms - pressed_ms))

    def _asked(
        self,
        found: Counts,
        closings: dict[str, tuple[str, ClosingRecord]],
        rated: dict[str, Any],
        days: tuple[int, int],
        by: By,
        hall: str,
    ) -> None:
        for invitation, (agent, closing) in closings.items():
            day = day_of(closing.closed_ms)
            if agent.startswith(CLIENT) or not days[0] <= day <= days[1]:
                continue
            rating = rated.get(invitation)
            place = self._directory.places.get((agent, closing.window))
            if rating is not None:
                at = rating["hall"], rating["number"], rating["channel"]
            else:
                at = (place.hall, place.number, place.channel) if place is not None else ("", "", "")
            where = Where(day, at[0], at[1], closing.clerk or "", at[2])
            if hall in ("", where.hall):
                found.asked[_only(where, by), rating is not None] += 1


_AXES = {
    "hall": lambda at: Where(hall=at.hall),
    "window": lambda at: Where(hall=at.hall, number=at.number),
    "clerk": lambda at: Where(hall=at.hall, clerk=at.clerk),
    "channel": lambda at: Where(channel=at.channel),
    "day": lambda at: Where(day=at.day),
    "month": lambda at: Where(day=at.day),
}


def _only(where: Where, by: By) -> Where:
    return _AXES[by](where)


def _bodies(db: sqlite3.Connection) -> Iterator[tuple[int, str, int, bytes]]:
    """Every record with its epoch's number and agent; Altered where one does not follow."""
    gaps = {(row["epoch_id"], row["upto"]): row["head"] for row in db.execute("SELECT epoch_id, upto, head FROM gap")}
    for epoch in db.execute("SELECT * FROM epoch ORDER BY id").fetchall():
        head, last = chain.genesis(epoch["agent"], epoch["epoch"]), 0
        for row in db.execute("SELECT seq, body, hash FROM record WHERE epoch_id = ? ORDER BY seq", (epoch["id"],)):
            if row["seq"] != last + 1:
                head = gaps.get((epoch["id"], row["seq"] - 1), b"")
            whole = isinstance(row["body"], bytes)  # somebody may have put text there
            head, last = chain.link(head, row["body"]) if whole else b"", row["seq"]
            if head != row["hash"]:
                raise Altered(f"{epoch['agent']} {epoch['epoch']} #{last}: 记录被改动 / a record was altered")
            yield epoch["id"], epoch["agent"], last, row["body"]


def _key_maps(db: sqlite3.Connection) -> dict[tuple[int, int], str]:
    found = {}
    for row in db.execute("SELECT id, keys FROM key_map"):
        for button, key in msgspec.json.decode(row["keys"], type=dict[str, Any]).items():
            found[row["id"], int(button)] = key["level"] if isinstance(key, dict) else key
    return found


def _steps(db: sqlite3.Connection) -> dict[int, list[sqlite3.Row]]:
    found: dict[int, list[sqlite3.Row]] = {}
    for row in db.execute("SELECT * FROM step WHERE draw IS NULL ORDER BY id"):
        found.setdefault(row["rating"], []).append(row)
    return found
