"""What a ledger stands for at one moment, in a few numbers; and whether it still does what it did at such a moment.

With it go the ends of the chains beside its own: what people did about ratings, and the audit log of the people's file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocols import chain
from protocols.ratings import Level

from .acts import beginning
from .store import Store

STATES = ("due", "awaiting_case", "parked", "accepted")


@dataclass(frozen=True)
class End:
    """How far a chain goes: the number of its last row, 0 if it has none yet, and the hash behind it, in hex."""

    number: int
    head: str


@dataclass(frozen=True)
class Ends:
    """Of the chains beside the ledger's own."""

    step: End
    draw: End
    drawn: End
    people: End
    """Of the audit log."""


_ACTS = {"step": "步骤 steps", "draw": "抽查公告 draws", "drawn": "抽查结果 drawn"}
LOG = "审计日志 audit log"
"""What every difference of the audit log begins with: it is no difference of the ledger."""
NO_HASH = "最后一行的哈希被改 / the hash of its last row was changed"
LogAt = Callable[[int | None], End | None]
"""The audit log up to this line, its last one if None is asked for; None if it does not go so far."""
LogBefore = Callable[[End], str | None]
"""None if an audit log that was set aside, its file being damaged, had this end; else what is to be said of one."""


@dataclass(frozen=True)
class Checkpoint:
    """The head of a ledger's own chain and how much stands behind it. All of one moment."""

    ledger: str
    """Which ledger: its name of its own, in hex."""
    stretch: int
    """The number of its last stretch, 0 if it has none yet."""
    head: str
    """That stretch's hash, in hex: it fixes every record of every agent up to there, and their order."""
    at_ms: int
    epochs: int
    records: int
    gaps: int
    presses: int
    ratings: int
    levels: tuple[int, ...]
    """Ratings of each level, in the order of `Level`; they never change."""
    states: tuple[int, ...]
    """Ratings in each of STATES; one that is accepted stays so."""
    ends: Ends | None = None
    """None in one that a program of before these chains has written."""


def taken(store: Store, people: End, now_ms: int) -> Checkpoint:
    """The ledger as it is now, and where the audit log ends. Reads one moment of it, and nobody waits for that.
    DatabaseError if nobody wrote the end of one of its chains."""
    with store.reading() as db:
        last = db.execute("SELECT n, hash FROM stretch ORDER BY n DESC LIMIT 1").fetchone()
        rated = {
            (level, state): count
            for level, state, count in db.execute("SELECT level, state, count(*) FROM rating GROUP BY level, state")
        }
        return Checkpoint(
            ledger=_one(db, "SELECT id FROM identity"),
            stretch=last["n"] if last else 0,
            head=_hex(store, last["hash"] if last else chain.LEDGER),
            at_ms=now_ms,
            epochs=_one(db, "SELECT count(*) FROM epoch WHERE upto > 0"),
            records=_one(db, "SELECT coalesce(sum(upto), 0) FROM epoch")
            - _one(db, "SELECT coalesce(sum(upto - after), 0) FROM gap"),
            gaps=_one(db, "SELECT count(*) FROM gap"),
            presses=_one(db, "SELECT count(*) FROM press"),
            ratings=sum(rated.values()),
            levels=tuple(sum(count for (of, _), count in rated.items() if of == level.value) for level in Level),
            states=tuple(sum(count for (_, of), count in rated.items() if of == state) for state in STATES),
            ends=Ends(**{table: _end(store, db, table) for table in _ACTS}, people=people),
        )


def _end(store: Store, db: sqlite3.Connection, table: str) -> End:
    last = db.execute(f"SELECT id, hash FROM {table} ORDER BY id DESC LIMIT 1").fetchone()
    return End(last["id"], _hex(store, last["hash"])) if last else End(0, beginning(table).hex())


def _hex(store: Store, head: Any) -> str:
    if not isinstance(head, bytes):
        raise sqlite3.DatabaseError(f"{store.path.name}: {NO_HASH}")
    return head.hex()


def _one(db: sqlite3.Connection, sql: str) -> Any:
    return db.execute(sql).fetchone()[0]


# ---- the same ledger later


def compared(
    path: Path, checkpoints: Iterable[Checkpoint], log_at: LogAt, log_before: LogBefore = lambda _end: ""
) -> list[list[str]]:
    """What of each checkpoint is not so any more in the ledger at `path` and the audit log beside it, in words; nothing
    where all of it is."""
    given = list(checkpoints)
    in_order = sorted(range(len(given)), key=lambda at: (given[at].stretch, given[at].at_ms))
    found: list[list[str]] = [[] for _ in given]
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as db:
        db.execute("BEGIN")
        then = _Then(db, log_at, log_before)
        agreed = 0
        for at in in_order:
            found[at] = then.differences(given[at], agreed)
            if not found[at]:
                agreed = given[at].stretch
    return found


class _Then:
    """The ledger as it was at one stretch after another: each row is read once, however many checkpoints there are."""

    def __init__(self, db: sqlite3.Connection, log_at: LogAt, log_before: LogBefore):
        self._db = db
        self._log_at = log_at
        self._log_before = log_before
        known = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'identity'").fetchone()
        self._ledger = db.execute("SELECT id FROM identity").fetchone()[0] if known else None
        self._stretch = self._rating = 0
        self._upto: dict[int, int] = {}
        self._levels = [0] * len(Level)

    def differences(self, said: Checkpoint, agreed: int) -> list[str]:
        """In words; `agreed` is the last stretch up to which an earlier checkpoint agrees."""
        if (
            self._ledger is None
            and self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'stretch'").fetchone() is None
        ):
            return ["账本是旧版程序的, 没有自己的链 / the ledger is of an older program and has no chain of its own"]
        last = self._db.execute("SELECT coalesce(max(n), 0) FROM stretch").fetchone()[0]
        row = self._db.execute("SELECT hash FROM stretch WHERE n = ?", (said.stretch,)).fetchone()
        head = chain.LEDGER if said.stretch == 0 else row[0] if row else None
        same = isinstance(head, bytes) and head.hex() == said.head
        if self._ledger != said.ledger and not same:
            return [f"属于另一账本 / of another ledger: {said.ledger}, 这里是 / this is {self._ledger}"]
        wrong = []
        if self._ledger != said.ledger:
            wrong.append(f"账本编号被改 / the ledger's name was changed: {said.ledger} → {self._ledger}")
        if last < said.stretch:
            # Nothing behind the end can be compared any more.
            return [
                *wrong,
                f"账本只到第 {last} 段, 当时已有第 {said.stretch} 段: 末尾被截去, 或恢复了更早的备份"
                f" / the ledger ends at stretch {last} and had {said.stretch}: cut off, or an earlier backup restored",
                *self._ends(said.ends),
            ]
        if not same:
            wrong.append(
                f"第 {agreed + 1}–{said.stretch} 段中有记录被改、删、插或调换, 且哈希已重算"
                f" / within stretches {agreed + 1}–{said.stretch} something was changed, removed, inserted or"
                " reordered, and the hashes made anew"
            )
        return wrong + self._numbers(said) + self._ends(said.ends)

    def _ends(self, said: Ends | None) -> list[str]:
        """What was cut off or exchanged of the chains beside the ledger's own."""
        if said is None:
            return []
        wrong = [words for table, name in _ACTS.items() if (words := self._act(table, name, getattr(said, table)))]
        return wrong + self._log(said.people)

    def _log(self, said: End) -> list[str]:
        there, held = self._log_at(None), self._log_at(said.number)
        if there is None and said.number:
            return [
                f"{LOG}: 旁边没有人员文件 people.db, 当时有 {said.number} 行审计日志: 请一并复制, 或被删去"
                f" / no people.db beside the ledger, and its audit log had {said.number} lines: copy it too,"
                " or somebody removed it"
            ]
        wrong = _lacking(LOG, said, there.number, held) if there is not None else []
        before = self._log_before(said) if wrong else ""
        return [] if before is None else [f"{words}{before}" for words in wrong]

    def _act(self, table: str, name: str, said: End) -> str:
        known = self._db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        last = self._db.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0] if known else 0
        row = self._db.execute(f"SELECT hash FROM {table} WHERE id = ?", (said.number,)).fetchone() if last else None
        head = beginning(table) if said.number == 0 else row[0] if row else b""
        held = End(said.number, head.hex()) if isinstance(head, bytes) else None
        return "".join(_lacking(name, said, last, held))

    def _numbers(self, said: Checkpoint) -> list[str]:
        self._go_to(said)
        epochs = sum(1 for upto in self._upto.values() if upto)
        gaps = self._db.execute("SELECT epoch_id, after, upto FROM gap").fetchall()
        spans = [(epoch, _number(after), _number(upto)) for epoch, after, upto in gaps]
        before = [(after, upto) for epoch, after, upto in spans if upto <= self._upto.get(epoch, 0)]
        records = sum(self._upto.values()) - sum(upto - after for after, upto in before)
        presses = self._db.execute("SELECT count(*) FROM press WHERE id <= ?", (said.presses,)).fetchone()[0]
        accepted = self._db.execute(
            "SELECT count(*) FROM rating WHERE id <= ? AND state = 'accepted'", (said.ratings,)
        ).fetchone()[0]
        pairs = [
            ("存档 epochs", said.epochs, epochs),
            ("记录 records", said.records, records),
            ("缺口 gaps", said.gaps, len(before)),
            ("按键 presses", said.presses, presses),
            ("评价 ratings", said.ratings, sum(self._levels)),
            *zip([f"{level.zh} {level.value}" for level in Level], said.levels, self._levels, strict=True),
        ]
        wrong = [f"{name}: 当时 then {then}, 现为 now {now}" for name, then, now in pairs if then != now]
        if accepted < said.states[STATES.index("accepted")]:
            wrong.append(
                f"已接收 accepted: 当时 then {said.states[STATES.index('accepted')]}, 现为 now {accepted},"
                " 只会增加 / can only become more"
            )
        return wrong

    def _go_to(self, said: Checkpoint) -> None:
        if said.ratings < self._rating:
            # A later stretch with fewer ratings: one of the two is not of this ledger's past. Count anew.
            self._rating, self._levels = 0, [0] * len(Level)
        rows = self._db.execute(
            "SELECT epoch_id, max(upto) FROM stretch WHERE n > ? AND n <= ? GROUP BY epoch_id",
            (self._stretch, said.stretch),
        )
        self._upto |= {epoch: _number(upto) for epoch, upto in rows}
        counts = dict(
            self._db.execute(
                "SELECT level, count(*) FROM rating WHERE id > ? AND id <= ? GROUP BY level",
                (self._rating, said.ratings),
            ).fetchall()
        )
        self._levels = [before + counts.get(level.value, 0) for before, level in zip(self._levels, Level, strict=True)]
        self._stretch, self._rating = said.stretch, said.ratings


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0  # somebody may have put text there


def _lacking(name: str, said: End, last: int, held: End | None) -> list[str]:
    if last < said.number:
        return [
            f"{name}: 只到第 {last} 行, 当时已有 {said.number} 行: 末尾被截去, 或换上了更早或另一个文件"
            f" / ends at row {last} and had {said.number}: cut off, or an earlier or another file put there"
        ]
    if held != said:
        return [
            f"{name}: 第 1–{said.number} 行中有被改、删、插或调换的, 且哈希已重算"
            f" / within rows 1–{said.number} something was changed, and the hashes made anew"
        ]
    return []
