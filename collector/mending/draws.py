"""抽查 (监督查评): draws of ratings for spot checks, announced, drawn and drawn again by whoever wants to check."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from ..ledger import acts, lots
from ..ledger.desk import NotSo
from ..ledger.store import Store
from ..ledger.tally import day_of, day_text
from .mendings import checked, named

WANTED_MAX = 1000  # more are not looked into by anybody


@dataclass(frozen=True)
class Draw:
    """What was announced, and what was drawn; until then `seed` is empty, and so is `came`, the hash of the stretch
    that the seed is made of."""

    id: int
    at_ms: int
    who: str
    reason: str
    first: int
    last: int
    kind: str
    hall: str
    wanted: int
    upto: int
    size: int
    frame: bytes
    stretch: int
    hash: bytes
    came: bytes
    seed: str
    ratings: tuple[int, ...]
    drawn_ms: int | None

    def said(self) -> dict[str, Any]:
        """As JSON says it."""
        names = ("id", "at_ms", "who", "reason", "kind", "hall", "wanted", "upto", "size", "stretch", "drawn_ms")
        days = {"from": day_text(self.first), "to": day_text(self.last)}
        hashes = {"frame": self.frame.hex(), "hash": self.hash.hex(), "came": self.came.hex(), "seed": self.seed}
        return {name: getattr(self, name) for name in names} | days | hashes | {"ratings": list(self.ratings)}


class Draws:
    """Announces draws, makes them, and makes them again."""

    def __init__(self, store: Store):
        self._store = store

    def announce(
        self, first: int, last: int, kind: str, hall: str, wanted: int, who: str, reason: str, now_ms: int
    ) -> Draw:
        """Settle what is to be drawn of the ratings of these days that the ledger has now; it is drawn with what the
        ledger takes next. NotSo says what cannot be."""
        who, reason = named(who), checked(reason, needed=True)
        if kind not in lots.KINDS:
            raise NotSo("kind", f"应为 / must be {', '.join(lots.KINDS)}")
        if not 1 <= wanted <= WANTED_MAX:
            raise NotSo("wanted", f"应为 1–{WANTED_MAX} / must be 1–{WANTED_MAX}")
        if first > last:
            raise NotSo("frame", "起止日期不对 / the days are not in order")
        if last > (today := day_of(now_ms)):
            # Who reads "January" beside a draw of its first half would take it for a draw of January.
            day, now = day_text(last), day_text(today)
            raise NotSo(
                "to",
                f"截止日期 {day} 还没有到, 应为今天 ({now}) 或更早: 请改早, 或等到那天之后再公告"
                f" / the last day, {day}, is still to come and must be today ({now}) or earlier:"
                " choose an earlier one, or announce it after that day",
            )
        with self._store.writing() as db:
            upto = db.execute("SELECT coalesce(max(id), 0) FROM rating").fetchone()[0]
            numbers = lots.frame(db, first, last, kind, hall, upto)
            if not numbers:
                raise NotSo("frame", "这些天没有这样的评价 / there are no such ratings in these days")
            said = {
                "at_ms": now_ms,
                "who": who,
                "reason": reason,
                "first": first,
                "last": last,
                "kind": kind,
                "hall": hall,
                "wanted": wanted,
                "upto": upto,
                "size": len(numbers),
                "frame": lots.frame_hash(numbers),
                "stretch": db.execute("SELECT coalesce(max(n), 0) FROM stretch").fetchone()[0],
            }
            number = acts.add(db, "draw", said)
        return self.found(number)

    def make(self, now_ms: int) -> int:
        """Make all announced draws whose seed has come; how many."""
        made = 0
        if self._store.row("SELECT 1 FROM draw WHERE id NOT IN (SELECT draw FROM drawn)") is None:
            return made  # nobody else is held up by a look
        with self._store.writing() as db:
            for row in db.execute("SELECT * FROM draw WHERE id NOT IN (SELECT draw FROM drawn) ORDER BY id").fetchall():
                came = lots.next_stretch(db, row["stretch"])
                if came is None:
                    continue
                seed = lots.seed(row["id"], row["frame"], came)
                ratings = lots.drawn(seed, _frame(db, row), row["wanted"])
                said = {"draw": row["id"], "at_ms": now_ms, "seed": seed, "ratings": str(ratings)}
                acts.add(db, "drawn", said)
                made += 1
        return made

    def listed(self, most: int = 100) -> list[Draw]:
        """The newest first."""
        return [_draw(row) for row in self._store.rows(f"{_SHOWN} ORDER BY draw.id DESC LIMIT ?", (most,))]

    def found(self, number: int) -> Draw:
        """This one; NotSo if there is none."""
        row = self._store.row(f"{_SHOWN} WHERE draw.id = ?", (number,))
        if row is None:
            raise NotSo("id", f"没有第 {number} 次抽查 / there is no draw {number}")
        return _draw(row)

    def ratings(self, draw: Draw) -> list[sqlite3.Row]:
        """The drawn ratings in the order of their lots, each with its last spot check in this draw."""
        return self._store.rows(
            "SELECT rating.id, level, bad, hall, number, clerk, channel, pressed_ms, case_no, step.outcome, step.who,"
            " step.at_ms FROM json_each((SELECT ratings FROM drawn WHERE draw = :draw)) AS lot"
            " JOIN rating ON rating.id = lot.value LEFT JOIN step ON step.id = (SELECT max(id) FROM step AS own"
            " WHERE own.rating = rating.id AND own.draw = :draw) ORDER BY lot.key",
            {"draw": draw.id},
        )

    def frame(self, draw: Draw) -> list[int]:
        """The numbers of all ratings that may be drawn, ascending, as the ledger has them now."""
        with self._store.reading() as db:
            return lots.frame(db, draw.first, draw.last, draw.kind, draw.hall, draw.upto)

    def differences(self, draw: Draw) -> list[str]:
        """What of this draw is not what comes out when it is made again; nothing if all is well."""
        with self._store.reading() as db:
            return lots.differences(db, draw.id)


_SHOWN = (
    "SELECT draw.*, coalesce(seed, '') AS seed, coalesce(ratings, '[]') AS ratings, drawn.at_ms AS drawn_ms,"
    " CAST(coalesce(stretch.hash, '') AS BLOB) AS came FROM draw LEFT JOIN drawn ON drawn.draw = draw.id"
    " LEFT JOIN stretch ON stretch.n = draw.stretch + 1 AND drawn.draw IS NOT NULL"
)


def _frame(db: sqlite3.Connection, row: sqlite3.Row) -> list[int]:
    return lots.frame(db, row["first"], row["last"], row["kind"], row["hall"], row["upto"])


def _draw(row: sqlite3.Row) -> Draw:
    names = [name for name in Draw.__dataclass_fields__ if name != "ratings"]
    return Draw(**{name: row[name] for name in names}, ratings=tuple(acts.ratings_of(row["ratings"])))
