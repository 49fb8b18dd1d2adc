"""What became of each press: its fate, and a rating where it is one. Part of the transaction that it is asked in."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from protocols import chain
from protocols.messages import ClosingRecord, PressRecord
from protocols.ratings import Rating, Unratable

from ..directory import PAGE, Directory, Key
from ..normalize import normalize
from .rows import RATING, rating_sum
from .tally import How, Tally

log = logging.getLogger(__name__)

_SAME_MOMENT_MS = (
    5_000  # two reports of one press, by one clock that nobody sets: a slow line, a device's cheap crystal
)
_SAME_PRESS_MS = 600_000  # two reports of one press, by the clocks of an agent before and after it was set up anew
# What such a press means may still be found out. Word for word as in the index press_curable, or SQLite scans.
_OPEN = "fate NOT IN ('rated', 'repeat', 'duplicate', 'unsolicited')"
_RATE = (
    f"INSERT INTO rating({', '.join(RATING)}, sum, state, reason, next_ms)"
    f" VALUES ({', '.join('?' * (len(RATING) + 4))})"
)
_PRESS = (
    "INSERT INTO press(id, epoch_id, seq, agent, window, device, boot, count, invitation, pressed_ms, fate, detail)"
    " VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"
)


class _Made:
    """Presses and ratings of one batch, written together: row by row they take half as long again.

    What is asked of the tables meanwhile is asked of these too.
    """

    def __init__(self, db: sqlite3.Connection):
        self._db = db
        self._press, self._rating = (
            int(db.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]) for table in ("press", "rating")
        )
        self._presses: list[tuple[Any, ...]] = []
        self._ratings: list[tuple[Any, ...]] = []
        self._onces: set[str] = set()
        self._services: set[tuple[str | None, int]] = set()
        self._counts: dict[tuple[str, int], int] = {}

    def add_press(self, press: PressRecord, *rest: Any) -> int:
        """The number of a new row of these values of _PRESS."""
        self._press += 1
        self._presses.append((self._press, *rest))
        which = press.device, press.boot
        self._counts[which] = max(press.count, self._counts.get(which, 0))
        return self._press

    def next_rating(self) -> int:
        """The number of the next rating."""
        self._rating += 1
        return self._rating

    def add_rating(self, rating: Rating, values: tuple[Any, ...]) -> None:
        """A new row of these values of _RATE."""
        self._ratings.append(values)
        self._onces.add(rating.once)
        if rating.case_no is not None:
            self._services.add((rating.case_no, rating.service_number))

    def is_beyond(self, press: PressRecord) -> bool:
        """Whether its number is larger than any that its device had: it is a new one then, without another look."""
        which = press.device, press.boot
        if which not in self._counts:
            asked = "SELECT coalesce(max(count), -1) FROM press WHERE device = ? AND boot = ?"
            self._counts[which] = int(self._db.execute(asked, which).fetchone()[0])
        return press.count > self._counts[which]

    def is_rated(self, rating: Rating) -> bool:
        """Whether one of these is of the same invitation or service."""
        return rating.once in self._onces or (rating.case_no, rating.service_number) in self._services

    def write(self) -> None:
        """Put into the tables what is not there yet."""
        self._db.executemany(_PRESS, self._presses)
        self._db.executemany(_RATE, self._ratings)
        self._presses.clear()
        self._ratings.clear()


class Meaning:
    """Attaches what the directory says to what was pressed, once per service."""

    def __init__(self, directory: Directory, tally: Tally):
        self._directory = directory
        self._tally = tally
        self._key_maps: dict[tuple[str, bool], int] = {}

    def forget(self) -> None:
        """A transaction was undone: what was numbered in it has no number."""
        self._key_maps.clear()

    def note_closing(self, db: sqlite3.Connection, agent: str, epoch_id: int, seq: int, closing: ClosingRecord) -> bool:
        """Whether it is the first: an invitation closes once, and a later closing is a fact in the chain, no more."""
        noted = db.execute(
            "INSERT OR IGNORE INTO closing(invitation, epoch_id, seq, agent, window, outcome, closed_ms)"
            " VALUES (?,?,?,?,?,?,?)",
            (closing.invitation, epoch_id, seq, agent, closing.window, closing.outcome, closing.closed_ms),
        )
        return noted.rowcount == 1

    def cure(self, db: sqlite3.Connection, invitations: Iterable[str] | None, now_ms: int) -> int:
        """Ask again what each press means that meant nothing yet, of these invitations or of all; how many now do."""
        only = "" if invitations is None else " AND press.invitation IN (SELECT value FROM json_each(?))"
        rows = db.execute(
            "SELECT press.id, press.agent, epoch_id, seq, record.body FROM press INDEXED BY press_curable"
            f" JOIN record USING (epoch_id, seq) WHERE {_OPEN}{only} ORDER BY press.id",
            () if invitations is None else (_json(list(invitations)).decode(),),
        ).fetchall()
        cured, made = 0, _Made(db)
        for row in rows:
            if not _follows(db, row):
                continue
            press = msgspec.json.decode(row["body"], type=PressRecord)
            fate, detail, rating = self._fate(db, made, row["agent"], press, _closing(db, press.invitation))
            db.execute("UPDATE press SET fate = ?, detail = ? WHERE id = ?", (fate, detail, row["id"]))
            if rating is not None:
                self._rate(db, made, row["id"], row["agent"], press, rating, now_ms)
            cured += fate in ("rated", "repeat")
        made.write()
        return cured

    def understand(
        self,
        db: sqlite3.Connection,
        agent: str,
        epoch_id: int,
        presses: Iterable[tuple[int, PressRecord]],
        closings: Mapping[str, ClosingRecord],
        now_ms: int,
    ) -> None:
        """Keep these presses (with their seq) with their fates, and the ratings of those that are one. `closings` are
        at hand, by invitation."""
        made = _Made(db)
        for seq, press in presses:
            fate, detail, rating = "duplicate", "", None
            how = "fresh" if made.is_beyond(press) else _how(db, made, press)
            self._tally.press(epoch_id, press, how)
            if how != "doubled":
                closing = closings.get(press.invitation or "") or _closing(db, press.invitation)
                fate, detail, rating = self._fate(db, made, agent, press, closing)
            row = made.add_press(
                press,
                epoch_id,
                seq,
                agent,
                press.window,
                press.device,
                press.boot,
                press.count,
                press.invitation,
                press.pressed_ms,
                fate,
                detail,
            )
            if rating is not None:
                self._rate(db, made, row, agent, press, rating, now_ms)
        made.write()

    def _fate(
        self, db: sqlite3.Connection, made: _Made, agent: str, press: PressRecord, closing: ClosingRecord | None
    ) -> tuple[str, str, Rating | None]:
        meaning = normalize(press, closing, agent, self._directory)
        if isinstance(meaning, Unratable):
            return meaning.reason, meaning.detail, None
        if made.is_rated(meaning) or _rated_already(db, meaning):
            return "repeat", "", None
        return "rated", "", meaning

    def _rate(
        self,
        db: sqlite3.Connection,
        made: _Made,
        press_row: int,
        agent: str,
        press: PressRecord,
        rating: Rating,
        now_ms: int,
    ) -> None:
        state, reason = _first_state(db, rating)
        self._tally.rating(agent, press.window, rating.pressed_ms, rating.level.bad, state)
        said = (
            made.next_rating(),
            press_row,
            rating.once,
            rating.level.value,
            int(rating.level.bad),
            press.device,
            press.boot,
            press.count,
            rating.hall,
            rating.window,
            agent,
            press.window,
            rating.pressed_ms,
            rating.channel,
            rating.invitation,
            rating.case_no,
            rating.service_number,
            rating.clerk,
            ",".join(rating.tags),
            rating.text,
            self._key_map(db, press, now_ms),
            now_ms,
        )
        made.add_rating(rating, (*said, rating_sum(said), state, reason, now_ms))

    def _key_map(self, db: sqlite3.Connection, press: PressRecord, now_ms: int) -> int:
        """The number of what this device's buttons mean now; a new one whenever the directory says otherwise."""
        # A device that became a page, or was one, has two maps for as long as presses of both come.
        device, of = press.device, (press.device, press.profile == PAGE)
        number = self._key_maps.get(of)
        if number is None:
            meanings = self._directory.meanings(press)
            keys = _json({str(button): _said(key) for button, key in sorted(meanings.items())})
            last = db.execute("SELECT id, keys FROM key_map WHERE device = ? ORDER BY id DESC", (device,)).fetchone()
            if last is not None and last["keys"] == keys:
                number = int(last["id"])
            else:
                number = _number(
                    db.execute(
                        "INSERT INTO key_map(device, from_ms, keys) VALUES (?,?,?)", (device, now_ms, keys)
                    ).lastrowid
                )
            self._key_maps[of] = number
        return number


def _said(key: Key) -> str | dict[str, object]:
    # A level alone stands as it always did: the map of a device without reasons keeps its number.
    if not key.tags and not key.text:
        return key.level.value
    return {"level": key.level.value, "tags": key.tags, "text": key.text}


def _closing(db: sqlite3.Connection, invitation: str | None) -> ClosingRecord | None:
    if invitation is None:
        return None
    row = db.execute(
        "SELECT epoch_id, seq, body FROM closing JOIN record USING (epoch_id, seq) WHERE invitation = ?", (invitation,)
    ).fetchone()
    return msgspec.json.decode(row["body"], type=ClosingRecord) if row and _follows(db, row) else None


def _follows(db: sqlite3.Connection, row: sqlite3.Row) -> bool:
    """Whether this record still is what was taken in: nothing is made of one that a disk has altered."""
    where = (row["epoch_id"], row["seq"])
    digest = db.execute("SELECT hash FROM record WHERE epoch_id = ? AND seq = ?", where).fetchone()["hash"]
    before = db.execute(
        "SELECT hash FROM record WHERE epoch_id = ?1 AND seq = ?2 - 1"
        " UNION ALL SELECT head FROM gap WHERE epoch_id = ?1 AND upto = ?2 - 1",
        where,
    ).fetchone()
    if before is None:
        epoch = db.execute("SELECT agent, epoch FROM epoch WHERE id = ?", where[:1]).fetchone()
        head = chain.genesis(epoch["agent"], epoch["epoch"])
    else:
        head = before[0]
    body = row["body"]
    if isinstance(body, bytes) and chain.link(head, body) == digest:
        return True
    log.error("记录与其哈希不符, 不作评价 / record is not what its hash says, nothing is made of it: %s #%s", *where)
    return False


def _how(db: sqlite3.Connection, made: _Made, press: PressRecord) -> How:
    """Whether this is a press that the ledger has, or another one of a device that lost its counters."""
    made.write()
    rows = db.execute(
        "SELECT body FROM press JOIN record USING (epoch_id, seq)"
        " WHERE device = ? AND boot = ? AND count = ? AND fate != 'duplicate'",
        (press.device, press.boot, press.count),
    ).fetchall()
    if not rows:
        return "fresh"
    same = any(_same_press(press, msgspec.json.decode(row["body"], type=PressRecord)) for row in rows)
    return "doubled" if same else "reused"


def _same_press(one: PressRecord, other: PressRecord) -> bool:
    """Whether these two of one device, with one number, are one press."""
    if one.invitation == other.invitation is not None:
        return True
    # Our own page draws the number of each of its starts. Times tell nothing of it: a tablet's clock stands still while
    # that sleeps, and an agent whose outbox was replaced dates by it what is said again.
    if one.profile == other.profile == PAGE:
        return True
    # Whatever invitation they name: an agent that was given an older copy of its file takes an earlier one for open.
    if one.host_boot == other.host_boot and one.button == other.button:
        age_ms = max(one.kept_ms - one.pressed_ms, other.kept_ms - other.pressed_ms)
        if abs(_pressed_mono_ms(one) - _pressed_mono_ms(other)) <= _SAME_MOMENT_MS + age_ms // 100:
            return True
    unasked = None in (one.invitation, other.invitation)
    return unasked and abs(one.pressed_ms - other.pressed_ms) <= _SAME_PRESS_MS


def _pressed_mono_ms(press: PressRecord) -> int:
    return press.mono_ms - (press.kept_ms - press.pressed_ms)


def _rated_already(db: sqlite3.Connection, rating: Rating) -> bool:
    row = db.execute(
        "SELECT 1 FROM rating WHERE once = ?1 UNION ALL SELECT 1 FROM rating WHERE case_no = ?2 AND service_number = ?3"
        " UNION ALL SELECT 1 FROM case_link WHERE case_no = ?2 AND service_number = ?3",
        (rating.once, rating.case_no, rating.service_number),
    ).fetchone()
    return row is not None


def _first_state(db: sqlite3.Connection, rating: Rating) -> tuple[str, str]:
    if rating.case_no is None:
        return "parked", "no_case"
    row = db.execute(
        "SELECT 1 FROM service_case WHERE case_no = ? AND service_number = ?", (rating.case_no, rating.service_number)
    ).fetchone()
    return ("due", "") if row else ("awaiting_case", "")


def _number(row: int | None) -> int:
    if row is None:
        raise sqlite3.IntegrityError("a row without a number")
    return row


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)
