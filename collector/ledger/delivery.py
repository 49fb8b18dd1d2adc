"""What the forwarder works on: which rating is next, what was tried, and what the province said."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import msgspec

from protocols.ratings import Accepted, Case, Level, ParkReason, PressId, Rating, Refused, Unavailable, Verdict
from protocols.seal import CannotOpen

from ..vault import Locked, Vault
from . import links
from .file import LedgerDamaged
from .rows import case_holds, rating_holds
from .store import Store
from .tally import moved

log = logging.getLogger(__name__)

What = Literal["case", "rating", "token"]
_BACK_OFF_MS = 400
_BACK_OFF_MAX_MS = 60_000
_CASE_UNKNOWN_MAX = 5  # a province that has a case and denies it five times will not learn better by itself
STUBBORN = 4  # so many calls without an answer: whatever it is, it may be about this very rating
# Whatever waits longer than the longest wait was written by a clock that has been put right since.
_NOW = f"next_ms NOT BETWEEN :now_ms + 1 AND :now_ms + {_BACK_OFF_MAX_MS}"


@dataclass(frozen=True)
class Due:
    """A rating that the province should have, with its case."""

    id: int
    rating: Rating
    case: Case
    details: bytes
    """The case as the ledger keeps it: what is found out about it holds as long as these are its details."""
    case_delivered: bool
    tries: int
    as_is: bool = False
    """Whether a person has said that it is to be sent as it is."""

    @property
    def stubborn(self) -> bool:
        """Whether it has had no answer so often that no more can be concluded from that."""
        return self.tries >= STUBBORN


class Delivery:
    """The way out of the ledger."""

    def __init__(self, store: Store, vault: Vault):
        self._store = store
        self._vault = vault

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is written down within is one transaction: on disk when it ends."""
        with self._store.writing():
            yield

    def next(self, now_ms: int, busy: Collection[int]) -> Due | None:
        """The rating to send now, bad ones first, that is not among `busy`; None if there is none.

        Ratings of one case go in the order in which they arrived, one at a time: of a bad one the older ones of its
        case come first. Only those that had no answer several times are waited for no longer.
        """
        found = self.batch(now_ms, busy, 1)
        return found[0] if found else None

    def batch(self, now_ms: int, busy: Collection[int], most: int) -> list[Due]:
        """The same, up to `most` of them; one of each case."""
        found: dict[str, sqlite3.Row] = {}
        passed: set[str] = set()
        while len(found) < most:
            # A few more: of some cases it is another rating's turn, or nobody's yet.
            rows = self._all(f"+tries < {STUBBORN}", "bad DESC, rating.id", now_ms, busy, [*found, *passed], most + 4)
            for row in rows:
                case_no = row["its_case_no"]
                if case_no in found or case_no in passed or len(found) == most:
                    continue
                turn = self._turn(row, now_ms)
                if turn is None:
                    passed.add(case_no)
                else:
                    found[case_no] = turn
            if len(rows) < most + 4:
                break
        return self._dues(list(found.values()), now_ms)

    def _turn(self, row: sqlite3.Row, now_ms: int) -> sqlite3.Row | None:
        """The oldest rating of the same case that is due, if its time has come."""
        older = self._store.row(
            f"SELECT id, next_ms, {_NOW} AS now FROM rating WHERE (case_no = :case_no"
            " OR id IN (SELECT rating FROM case_link WHERE case_no = :case_no)) AND state = 'due'"
            f" AND tries < {STUBBORN} ORDER BY id LIMIT 1",
            {"case_no": row["its_case_no"], "now_ms": now_ms},
        )
        if older is None or older["id"] == row["id"]:
            return row
        found = self._all("rating.id = :id", "1", now_ms, (), (), 1, older["id"]) if older["now"] else []
        return found[0] if found else None

    def next_stubborn(self, now_ms: int, busy: Collection[int]) -> Due | None:
        """The same among those that had no answer several times; the one that has waited longest."""
        return self._first(f"tries >= {STUBBORN}", "next_ms", now_ms, busy)

    def next_probe(self, now_ms: int, busy: Collection[int]) -> Due | None:
        """The rating to ask a silent province with: the least tried, so that each time it is another one."""
        return self._first("1", "tries, bad DESC, rating.id", now_ms, busy)

    def _first(self, which: str, order: str, now_ms: int, busy: Collection[int]) -> Due | None:
        dues = self._dues(self._all(which, order, now_ms, busy, (), 1), now_ms)
        return dues[0] if dues else None

    def _dues(self, rows: list[sqlite3.Row], now_ms: int) -> list[Due]:
        dues, locked = [], []
        for row in rows:
            try:
                dues.append(_due(row, self._vault))
            except Locked as error:
                locked.append((row, error.key_id))
        if locked:
            with self._store.writing() as db:
                for row, key_id in locked:
                    log.error("缺少密钥, 待人处理 / key missing, parked: 评价 rating %s, %s", row["id"], key_id)
                    _parked_now(db, row["id"], "locked", key_id, now_ms)
        return dues

    def _all(
        self,
        which: str,
        order: str,
        now_ms: int,
        busy: Collection[int],
        passed: Collection[str],
        most: int,
        only: int = 0,
    ) -> list[sqlite3.Row]:
        held = ",".join(map(str, busy))
        return self._store.rows(
            "SELECT rating.*, service_case.body, service_case.delivered_ms, service_case.sum AS case_sum,"
            f" service_case.received_ms AS case_ms, {links.ITS} FROM rating {links.JOINED} JOIN {links.CASE_JOINED}"
            f" WHERE state = 'due' AND {which} AND {_NOW} AND rating.id NOT IN ({held})"
            # Two of one case are never on their way at once: the province would have to sort them.
            f" AND service_case.case_no NOT IN (SELECT {links.CASE_NO} FROM rating {links.JOINED}"
            f" WHERE rating.id IN ({held}))"
            " AND service_case.case_no NOT IN (SELECT value FROM json_each(:passed))"
            f" ORDER BY {order} LIMIT :most",
            {"now_ms": now_ms, "most": most, "id": only, "passed": _encode(list(passed)).decode()},
        )

    def next_ms(self, now_ms: int, busy: Collection[int]) -> int | None:
        """When the next rating that is not among `busy` is to be tried; None if none is waiting for its time."""
        at_ms: int | None = self._store.row(
            "SELECT min(next_ms) FROM rating"
            f" WHERE state = 'due' AND next_ms > :now_ms AND id NOT IN ({','.join(map(str, busy))})",
            {"now_ms": now_ms},
        )[0]
        return at_ms

    def begin(self, due: Due, what: What, now_ms: int) -> int:
        """Write down that a call is about to be made; its number."""
        with self._store.writing() as db:
            number = db.execute(
                "INSERT INTO attempt(rating, what, at_ms) VALUES (?,?,?)", (due.id, what, now_ms)
            ).lastrowid
        if number is None:
            raise sqlite3.IntegrityError("attempt without a number")
        return number

    def not_made(self, attempt: int) -> None:
        """Write down that this call was not made after all: the one before it had no answer."""
        with self._store.writing() as db:
            db.execute("UPDATE attempt SET verdict = 'not_made' WHERE id = ?", (attempt,))

    def end(self, due: Due, what: What, attempt: int, verdict: Verdict, now_ms: int) -> None:
        """Write down what the province said, and what becomes of the rating."""
        with self._store.writing() as db:
            db.execute(
                "UPDATE attempt SET verdict = ?, words = ? WHERE id = ?",
                (type(verdict).__name__.lower(), verdict.words, attempt),
            )
            match verdict:
                case Accepted() if what == "case":
                    _case_delivered(db, due, now_ms)
                case Accepted():
                    _accepted(db, due, attempt, verdict, now_ms)
                case Refused() if what == "case":
                    _parked(db, due, "case_refused", verdict.words, now_ms)
                case Refused(case_unknown=True):
                    _case_unknown(db, due, verdict, now_ms)
                case Refused():
                    _parked(db, due, "refused", verdict.words, now_ms)
                case Unavailable():
                    _again(db, due, verdict.words, now_ms)

    def park(self, due: Due, reason: ParkReason, words: str, now_ms: int) -> None:
        """Put a rating aside for a person."""
        with self._store.writing() as db:
            _parked(db, due, reason, words, now_ms)

    def province_away(self, words: str, now_ms: int) -> None:
        """The province gives no usable answer."""
        with self._store.writing() as db:
            db.execute("UPDATE province SET away_since_ms = coalesce(away_since_ms, ?), words = ?", (now_ms, words))

    def province_back(self, now_ms: int) -> None:
        """It does again: what was tried meanwhile need not wait any longer."""
        if self._store.row("SELECT away_since_ms FROM province")["away_since_ms"] is not None:
            with self._store.writing() as db:
                db.execute("UPDATE province SET away_since_ms = NULL, words = ''")
                db.execute(
                    "UPDATE rating SET next_ms = ? WHERE state = 'due' AND tries > 0 AND next_ms > ?", (now_ms, now_ms)
                )


def back_off_ms(tries: int) -> int:
    """How long a single rating waits after its `tries`-th call without an answer."""
    return int(min(_BACK_OFF_MAX_MS, _BACK_OFF_MS * 2 ** min(tries, 16)))


def _due(row: sqlite3.Row, vault: Vault) -> Due:
    # An index may lead elsewhere than it says, and a row may say what nobody wrote: neither reaches the province.
    if row["state"] != "due" or not rating_holds(row) or not links.holds(row) or not case_holds(row):
        raise LedgerDamaged(
            f"评价 {row['id']} 与写入时不同, 未上报 / rating {row['id']} is not what was written, not sent"
        )
    rating = Rating(
        press=PressId(row["device"], row["boot"], row["count"]),
        level=Level(row["level"]),
        hall=row["hall"],
        window=row["number"],
        pressed_ms=row["pressed_ms"],
        channel=row["channel"],
        invitation=row["invitation"],
        case_no=row["its_case_no"],
        service_number=row["its_number"],
        clerk=row["clerk"],
        tags=tuple(row["tags"].split(",")) if row["tags"] else (),
        text=row["text"],
    )
    try:
        case = vault.show(row["its_case_no"], row["its_number"], row["body"])
    except CannotOpen as error:
        raise LedgerDamaged(f"评价 {row['id']} 的办件信息打不开 / details of rating {row['id']}: {error}") from error
    return Due(row["id"], rating, case, row["body"], row["delivered_ms"] is not None, row["tries"], bool(row["as_is"]))


_encode = msgspec.json.Encoder().encode
_OF_THIS_CASE = "case_no = ? AND service_number = ? AND body = ?"


def _case_delivered(db: sqlite3.Connection, due: Due, now_ms: int) -> None:
    db.execute(
        f"UPDATE service_case SET delivered_ms = ? WHERE {_OF_THIS_CASE}",
        (now_ms, due.case.case_no, due.case.service_number, due.details),
    )


def _accepted(db: sqlite3.Connection, due: Due, attempt: int, verdict: Accepted, now_ms: int) -> None:
    # "It has it already" is expected after a call whose answer was lost. Without such a call somebody else has
    # rated this service, which a person must see.
    ours = db.execute(
        "SELECT 1 FROM attempt WHERE rating = ? AND what = 'rating' AND id != ?"
        " AND (verdict IS NULL OR verdict = 'unavailable')",
        (due.id, attempt),
    ).fetchone()
    flagged = verdict.duplicate and ours is None
    moved(db, due.id, "accepted")
    db.execute(
        "UPDATE rating SET state = 'accepted', reason = '', words = ?, receipt = ?, duplicate = ?, flagged = ?,"
        " settled_ms = ? WHERE id = ?",
        (verdict.words, verdict.receipt, verdict.duplicate, flagged, now_ms, due.id),
    )


def _case_unknown(db: sqlite3.Connection, due: Due, verdict: Refused, now_ms: int) -> None:
    denied = db.execute(
        "SELECT count(*) FROM attempt WHERE rating = ? AND what = 'rating' AND verdict = 'refused'", (due.id,)
    ).fetchone()[0]
    if denied >= _CASE_UNKNOWN_MAX:
        _parked(db, due, "case_unknown", verdict.words, now_ms)
        return
    db.execute(
        "UPDATE service_case SET delivered_ms = NULL WHERE case_no = ? AND service_number = ?",
        (due.case.case_no, due.case.service_number),
    )
    _again(db, due, verdict.words, now_ms)


def _parked(db: sqlite3.Connection, due: Due, reason: ParkReason, words: str, now_ms: int) -> None:
    same = db.execute(
        f"SELECT 1 FROM service_case WHERE {_OF_THIS_CASE}", (due.case.case_no, due.case.service_number, due.details)
    ).fetchone()
    if reason != "refused" and same is None:
        return  # it is about details that were put right meanwhile
    _parked_now(db, due.id, reason, words, now_ms)


def _parked_now(db: sqlite3.Connection, rating: int, reason: ParkReason, words: str, now_ms: int) -> None:
    moved(db, rating, "parked")
    db.execute(
        "UPDATE rating SET state = 'parked', reason = ?, words = ?, settled_ms = ? WHERE id = ?",
        (reason, words, now_ms, rating),
    )


def _again(db: sqlite3.Connection, due: Due, words: str, now_ms: int) -> None:
    db.execute(
        "UPDATE rating SET tries = tries + 1, words = ?, next_ms = ? WHERE id = ?",
        (words, now_ms + back_off_ms(due.tries), due.id),
    )
