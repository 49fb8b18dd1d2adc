"""What was made of the records, as fast as it can be seen that all is well: every press and every rating once.

Whatever is not well at first sight is left to `meanings`, which looks at all of it from the beginning and finds the
words. So nothing here has to understand what is wrong; it only must never call well what is not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec.structs import astuple

from .. import tally
from ..rows import RATING, SUM_BYTES
from . import counted, meanings, sums
from .chains import Span, bounds
from .chains import epochs as all_epochs
from .findings import FINDINGS_MAX, Finding, enough
from .held import PRESS
from .marks import Marks


class _Press(msgspec.Struct, tag_field="kind", tag="press", gc=False):
    """What a rating repeats of the record of its press, in the order of RATING; and the button."""

    device: str
    boot: int
    count: int
    window: str
    pressed_ms: int
    invitation: str | None = None
    button: int = -1
    tags: list[str] = []
    text: str = ""


class _Closing(msgspec.Struct, tag_field="kind", tag="closing", gc=False):
    """The same of a closing."""

    invitation: str
    case_no: str | None = None
    service_number: int = 1
    clerk: str | None = None


_press = msgspec.json.Decoder(_Press)
_closing = msgspec.json.Decoder(_Closing)
# A rating, in the order of RATING: what is compared is next to each other there as in _Press and _Closing.
_Said = tuple[
    int, int, str, str, int, str, int, int, str, str, str, str, int, str,
    str | None, str | None, int, str | None, str, str, int, int,
]  # fmt: skip
_LEVEL, _BAD, _AGENT, _KEY_MAP = (RATING.index(name) for name in ("level", "bad", "agent", "key_map"))
_PLACE = slice(RATING.index("device"), RATING.index("count") + 1)
_TIME = slice(RATING.index("window"), RATING.index("pressed_ms") + 1)
_INVITATION = RATING.index("invitation")
_CASE = slice(_INVITATION, RATING.index("clerk") + 1)
_WORDS = slice(RATING.index("tags"), RATING.index("text") + 1)
_Row = tuple[int, int, int | None, int | None, int | None, str, str | None, msgspec.Raw]
"""Epoch and number of the record of the press; whether the press row agrees with the rating; the record of the
closing; the rating's state, its sum, and what that is the sum of, as it is hashed."""
_said: msgspec.json.Decoder[tuple[Any, ...]] = msgspec.json.Decoder(_Said)  # read by places counted out of RATING
_rows = msgspec.json.Decoder(_Row)
_NO_CASE = (None, None, 1, None)
# Each column that is handed to Python costs as much as a comparison, or as ten columns that SQLite writes into one text
# and msgspec reads from it. So a few thousand ratings come as one such text, a line each; the text of a rating is just
# what `rows.rating_sum` hashes. In the order of the presses, whose rows are then found one behind the other.
_RATED = (
    "SELECT count(*), CAST(group_concat(json_array(press.epoch_id, press.seq,"
    " fate = 'rated' AND (rating.device, rating.boot, rating.count, rating.pressed_ms, rating.window, rating.agent) ="
    " (press.device, press.boot, press.count, press.pressed_ms, press.window, press.agent)"
    " AND rating.invitation IS press.invitation AND (press.invitation IS NULL OR once = press.invitation),"
    " closing.epoch_id, closing.seq, state, {sum}, json_array({said})), char(10)) AS BLOB)"
    " FROM rating CROSS JOIN press ON press.id = rating.press"
    " LEFT JOIN closing ON closing.invitation = rating.invitation WHERE 1{bounds}"
)
_OTHERS = (
    "SELECT CAST(epoch_id AS INTEGER), CAST(seq AS INTEGER), id, fate, agent,"
    " device, boot, count, window, pressed_ms, invitation FROM press WHERE fate != 'rated'{bounds} ORDER BY id"
)
_BORNE_OUT = {"unsolicited", "undatable", "duplicate", "repeat"}  # fates that a record or another row must show
_NOT_WELL = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError)
_AT_ONCE = 4_000  # presses: a few megabytes of text, as much as the caches of a processor hold
_SPARSE = 40  # records to one press: where there are more between them, each is looked up
_BEHIND = 8  # records: a press is followed by its closing
_LARGEST = 2**63 - 1  # number that SQLite knows: somebody may have put it there


@dataclass
class OfEpoch:
    """The presses of one epoch in one span."""

    agent: str | None
    """None if there is no such epoch; then that is what is wrong, and whose it was is not known."""
    rows: int = 0
    """How many rows speak of a record that begins like a press."""
    first: int = 0
    last: int = 0
    ordered: bool = True
    """Whether they stand as their records do: if not, one of them may stand there twice."""


@dataclass
class Understood:
    """Presses of one span looked at, with their ratings."""

    findings: list[Finding] = field(default_factory=list)
    ratings: int = 0
    epochs: dict[int, OfEpoch] = field(default_factory=dict)
    accepted: Marks = field(default_factory=Marks)
    """The ratings called accepted."""
    made: counted.Made = field(default_factory=counted.Made)


def presses(db: sqlite3.Connection, span: Span) -> Understood:
    """A press must be what its record says, and have a fate that the other rows bear out.

    A rating must be what its records say: press, time, case, clerk, and the level that its button meant at that time;
    and what its own sum says.
    """
    look = _Look(db)
    for within in _parts(db, span):
        look.at(within)
    return look.found(span)


def _parts(db: sqlite3.Connection, span: Span) -> Iterator[Span]:
    low, high = db.execute(f"SELECT min(id), max(id) FROM press WHERE 1{bounds('id', *span)}").fetchone()
    if low is None:
        return
    step = max(_AT_ONCE, (high - low) // 10 + 1)  # a number that somebody has put there must not make millions of them
    for first in range(low, high + 1, step):
        yield Span(first, min(first + step, high + 1))


class _Look:
    """At one part of the presses after the other."""

    def __init__(self, db: sqlite3.Connection):
        self._db = db
        self._key_maps = meanings.key_maps(db)
        self._maps = {key: (level, int(meanings.bad(level)), *words) for key, (level, *words) in self._key_maps.items()}
        self._names = {each.number: (each.agent, each.epoch) for each in all_epochs(db)}
        self._epochs = {number: OfEpoch(agent) for number, (agent, _) in self._names.items()}
        told = sums.there(db)
        # A ledger that only an older program has opened has no reasons yet, or no sums.
        lacking = set() if meanings.has_reasons(db) else {"tags", "text"}
        self._rated = _RATED.format(
            sum="lower(hex(rating.sum))" if told else "NULL",
            said=", ".join("''" if name in lacking else f"rating.{name}" for name in RATING),
            bounds="{bounds}",
        )
        self._suspects: list[int] = []
        self._found = Understood()
        self._called_rated = 0

    def found(self, span: Span) -> Understood:
        """What is wrong with all presses of this span, and what they add up to."""
        db, found = self._db, self._found
        within, of_rating = bounds("id", *span), bounds("press", *span)
        if self._called_rated != db.execute(f"SELECT count(*) FROM press WHERE fate = 'rated'{within}").fetchone()[0]:
            self._suspects += _unrated(db, within)
            found.made = counted.made(db, within, of_rating)
        named = (meanings.named(db, self._key_maps, self._names, press) for press in sorted(set(self._suspects)))
        found.findings = enough(finding for findings in named for finding in findings)
        found.epochs = {number: each for number, each in self._epochs.items() if each.rows}
        return found

    def at(self, part: Span) -> None:
        """All presses of this part, and their ratings."""
        within = bounds("id", *part)
        made, accepted = counted.Made(), list[int]()
        try:
            rated = self._read(bounds("rating.press", *part))
            others: dict[int, list[tuple[Any, ...]]] = {}
            for row in self._db.execute(_OTHERS.format(bounds=within)):
                others.setdefault(row[0], []).append(row)
            suspects: list[int] = []
            for number in sorted(rated.keys() | others.keys()):
                suspects += self._of_epoch(number, rated.get(number, []), others.get(number, []), made, accepted)
        except (_Unreadable, *_NOT_WELL):
            self._all_suspected(part)
            return
        if suspects:  # they may say anything
            made = counted.made(self._db, within, bounds("press", *part))
        ratings = sum(map(len, rated.values()))
        self._called_rated += ratings
        self._suspects += suspects
        self._found.ratings += ratings
        self._found.accepted.add(accepted)
        self._found.made.join(made)

    def _read(self, within: str) -> dict[int, list[tuple[Any, ...]]]:
        """The ratings of a part, by the epoch of their presses; _Unreadable if one of them is no rating at all."""
        try:
            count, lines = self._db.execute(self._rated.format(bounds=within)).fetchone()
        except sqlite3.OperationalError as error:
            raise _Unreadable from error  # bytes where text belongs
        rows = _rows.decode_lines(lines or b"")
        if len(rows) != count:
            raise _Unreadable
        rated: dict[int, list[tuple[Any, ...]]] = {}
        for row in rows:
            rated.setdefault(row[0], []).append(row)
        return rated

    def _all_suspected(self, part: Span) -> None:
        """One of them cannot be read: each is looked at from the beginning."""
        within, of_press = bounds("id", *part), bounds("rating.press", *part)
        db, found = self._db, self._found
        of_epoch: dict[int, list[int]] = {}
        for number, seq, press in db.execute(
            f"SELECT CAST(epoch_id AS INTEGER), CAST(seq AS INTEGER), id FROM press WHERE 1{within} ORDER BY id"
        ):
            of_epoch.setdefault(number, []).append(seq)
            self._suspects.append(press)
        for number, seqs in of_epoch.items():
            self._place(number, seqs, _Bodies(db, number, ()))
        join = "FROM rating JOIN press ON press.id = rating.press"
        ratings, rated = db.execute(f"SELECT count(*), total(fate = 'rated') {join} WHERE 1{of_press}").fetchone()
        found.ratings += ratings
        self._called_rated += int(rated)
        found.accepted.add(
            number for (number,) in db.execute(f"SELECT rating.id {join} WHERE state = 'accepted'{of_press}")
        )
        found.made.join(counted.made(db, within, bounds("press", *part)))

    def _place(self, number: int, seqs: list[int], bodies: _Bodies) -> OfEpoch:
        """Note where the presses of this part stand, by the numbers of their records as their rows stand."""
        of_epoch = self._epochs.get(number)
        if of_epoch is None:
            of_epoch = self._epochs[number] = OfEpoch(None)
        seqs = [seq for seq in seqs if bodies[seq].startswith(PRESS)]
        if seqs:
            first = min(seqs)
            of_epoch.ordered &= len(set(seqs)) == len(seqs) and (not of_epoch.rows or first > of_epoch.last)
            of_epoch.first = min(of_epoch.first, first) if of_epoch.rows else first
            of_epoch.last = max(of_epoch.last, *seqs)
            of_epoch.rows += len(seqs)
        return of_epoch

    def _of_epoch(
        self,
        number: int,
        rated: list[tuple[Any, ...]],
        others: list[tuple[Any, ...]],
        made: counted.Made,
        accepted: list[int],
    ) -> list[int]:
        """Those of an epoch's presses that are not well at first sight; all others are counted."""
        seqs = [row[1] for row in rated] + [row[1] for row in others]
        bodies = _bodies(self._db, number, seqs)
        owner = self._place(number, seqs, bodies).agent
        suspects: list[int] = []
        kinds: list[tuple[str, int, int, str, str, int, str]] = []
        counts: list[int] = []
        read_press, read_closing, read_said, maps = _press.decode, _closing.decode, _said.decode, self._maps
        for _, seq, same, said_epoch, said_seq, state, stated, raw in rated:
            said = read_said(raw)
            if state == "accepted":
                accepted.append(said[0])
            try:
                press = astuple(read_press(bodies[seq]))
                if said_seq is None:
                    # Without an invitation there is no closing, nor a case.
                    closing = _NO_CASE if press[5] is None else None
                elif said_epoch == number:
                    closing = astuple(read_closing(bodies[said_seq]))
                else:
                    closing = astuple(read_closing(_body(self._db, said_epoch, said_seq) or b""))
                level = maps[said[_KEY_MAP], press[0], press[6]]
                if press[7] or press[8]:
                    level = (*level[:2], ",".join(press[7]), press[8])
            except (*_NOT_WELL, KeyError):
                suspects.append(said[1])
                continue
            if (
                same
                and press[:3] == said[_PLACE]
                and press[3:5] == said[_TIME]
                and press[5] == said[_INVITATION]
                and closing == said[_CASE]
                and level == (said[_LEVEL], said[_BAD], *said[_WORDS])
                and (owner is None or said[_AGENT] == owner)
                and (stated is None or blake2b(raw, digest_size=SUM_BYTES).hexdigest() == stated)
            ):
                day = (press[4] + tally.ZONE_MS) // tally.DAY_MS
                kinds.append((press[0], press[1], day, press[3], said[_AGENT], level[1], state))
                counts.append(press[2])
            else:
                suspects.append(said[1])
        made.add_rated(number, kinds, counts)
        for row in others:
            try:
                press = astuple(read_press(bodies[row[1]]))
                well = (
                    (owner is None or row[4] == owner)
                    and press[:6] == row[5:]
                    and (
                        row[3] not in _BORNE_OUT
                        or (row[3] == "unsolicited" and press[5] is None)
                        or (row[3] == "repeat" and meanings.is_rated(self._db, press[5]))
                    )
                )
            except _NOT_WELL:
                well = False
            if well:
                made.add_other(number, *row[5:10], doubled=row[3] == "duplicate")
            else:
                suspects.append(row[2])
        return suspects


class _Unreadable(Exception):
    """One row of many is not of the kind that it should be; which of them is not known."""


# ---- the records


class _Bodies(dict[int, bytes]):
    """The records of one epoch by number; those that are not at hand are looked up."""

    def __init__(self, db: sqlite3.Connection, number: int, at_hand: Iterable[tuple[int, bytes]]):
        super().__init__(at_hand)
        self._db = db
        self._number = number

    def __missing__(self, seq: int) -> bytes:
        return _body(self._db, self._number, seq) or b""


def _bodies(db: sqlite3.Connection, number: int, seqs: list[int]) -> _Bodies:
    first, last = min(seqs), min(max(seqs) + _BEHIND, _LARGEST)
    if last - first > _SPARSE * len(seqs) + 1000:
        return _Bodies(db, number, ())
    columns = "CAST(seq AS INTEGER), CAST(body AS BLOB)"
    rows = db.execute(f"SELECT {columns} FROM record WHERE epoch_id = ? AND seq BETWEEN ? AND ?", (number, first, last))
    return _Bodies(db, number, rows)


def _body(db: sqlite3.Connection, number: int, seq: int) -> bytes | None:
    row = db.execute("SELECT CAST(body AS BLOB) FROM record WHERE epoch_id = ? AND seq = ?", (number, seq)).fetchone()
    return row[0] if row else None


def _unrated(db: sqlite3.Connection, within: str) -> list[int]:
    rows = db.execute(
        "SELECT id FROM press WHERE fate = 'rated' AND NOT EXISTS (SELECT 1 FROM rating WHERE rating.press = press.id)"
        f"{within} ORDER BY id LIMIT {10 * FINDINGS_MAX}"
    )
    return [press_id for (press_id,) in rows]
