"""What was made of the records: every press, every rating, every call, against the record that it was made of."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import astuple

from protocols.errors import BadMessage
from protocols.messages import ClosingRecord, PressRecord, decode_record
from protocols.ratings import Level

from .chains import PRESS, Chained, Epoch, Span, bounds
from .chains import epochs as all_epochs
from .findings import FINDINGS_MAX, Finding, enough

_BAD = {level.value for level in Level if level.bad}
_Key = tuple[int, str, int]
"""A key of a key map: the map's number, its device, the button."""
_Meant = tuple[Any, str | None]
"""What a key meant, as the ledger keeps it with a rating: level, and tags and words where it has any."""


class _Press(msgspec.Struct, tag_field="kind", tag="press", gc=False):
    """What a press row repeats of its record, and the button: as much as is compared, in the order of _COLUMNS."""

    window: str
    device: str
    boot: int
    count: int
    pressed_ms: int
    invitation: str | None = None
    button: int = -1


class _Closing(msgspec.Struct, tag_field="kind", tag="closing", gc=False):
    """The same of a closing, for its rating."""

    invitation: str
    case_no: str | None = None
    service_number: int = 1
    clerk: str | None = None


_press = msgspec.json.Decoder(_Press)
_closing = msgspec.json.Decoder(_Closing)


@dataclass
class _OfEpoch:
    """The presses of one epoch in one span."""

    agent: str
    epoch: str
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
    epochs: dict[int, _OfEpoch] = field(default_factory=dict)


# What is wrong is found out and named by _wrong; what is well has to be seen fast, for every press of a province. Each
# column costs as much as a comparison, so that the database does those that need no record. And a record is not looked
# up: of those that came together all are read in one go, as their rows lie deep.
_RATED = (
    "SELECT CAST(press.epoch_id AS INTEGER), CAST(press.seq AS INTEGER), press.id, fate = 'rated',"
    " (rating.device, rating.boot, rating.count, rating.pressed_ms, rating.window, rating.agent) ="
    " (press.device, press.boot, press.count, press.pressed_ms, press.window, press.agent)"
    " AND rating.invitation IS press.invitation AND (press.invitation IS NULL OR once = press.invitation)"
    f" AND bad = (level IN ({', '.join(repr(level) for level in sorted(_BAD))}))"
    " AND (state != 'accepted' OR EXISTS (SELECT 1 FROM attempt WHERE attempt.rating = rating.id"
    " AND what = 'rating' AND verdict = 'accepted')),"
    " press.agent, closing.epoch_id, closing.seq, key_map, level, {reason},"
    " press.window, press.device, press.boot, press.count, press.pressed_ms,"
    " press.invitation, case_no, service_number, clerk"
    # In the order of the presses, whose rows are then found one behind the other.
    " FROM rating CROSS JOIN press ON press.id = rating.press"
    " LEFT JOIN closing ON closing.invitation = rating.invitation WHERE 1{bounds} ORDER BY rating.press"
)
_LEVEL, _FACTS, _CASE, _CASE_OF = 9, 11, 16, 17
_NO_CASE = (None, None, 1, None)
_OTHERS = (
    "SELECT CAST(epoch_id AS INTEGER), CAST(seq AS INTEGER), id, fate, agent,"
    " window, device, boot, count, pressed_ms, invitation FROM press WHERE fate != 'rated'{bounds} ORDER BY id"
)
_BORNE_OUT = {"unsolicited", "undatable", "duplicate", "repeat"}  # fates that a record or another row must show
_NOT_WELL = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError)
_SPARSE = 40  # records to one press: where there are more between them, each is looked up
_BEHIND = 8  # records: a press is followed by its closing


def presses(db: sqlite3.Connection, span: Span) -> Understood:
    """A press must be what its record says, and have a fate that the other rows bear out.

    A rating must be what its records say: press, time, case, clerk, and the level that its button meant at that time;
    and accepted only if it was sent.
    """
    found = Understood()
    maps = _key_maps(db)
    epochs = {each.number: _OfEpoch(each.agent, each.epoch) for each in all_epochs(db)}
    rated: dict[int, list[tuple[Any, ...]]] = {}
    others: dict[int, list[tuple[Any, ...]]] = {}
    called_rated = 0
    sql = _RATED.format(reason=_reason(db), bounds=bounds("rating.press", span.first, span.end))
    for row in db.execute(sql):
        rated.setdefault(row[0], []).append(row)
        called_rated += row[3]
        found.ratings += 1
    within = bounds("id", span.first, span.end)
    for row in db.execute(_OTHERS.format(bounds=within)):
        others.setdefault(row[0], []).append(row)
    suspects: list[int] = []
    for number in sorted(rated.keys() | others.keys()):
        mine, rest = rated.get(number, []), others.get(number, [])
        of_epoch = epochs.get(number)
        if of_epoch is None:
            of_epoch = epochs[number] = _OfEpoch((mine or rest)[0][5 if mine else 4], "?")
        bodies = _bodies(db, number, [row[1] for row in mine] + [row[1] for row in rest])
        suspects += _suspects(db, maps, of_epoch, bodies, mine, rest)
        seqs = [row[1] for row in mine + rest if bodies.get(row[1], b"").startswith(PRESS)]
        if seqs:
            of_epoch.rows, of_epoch.first, of_epoch.last = len(seqs), min(seqs), max(seqs)
            of_epoch.ordered = len(set(seqs)) == len(seqs)
    if called_rated != db.execute(f"SELECT count(*) FROM press WHERE fate = 'rated'{within}").fetchone()[0]:
        suspects += _unrated(db, within)
    found.findings = enough(_named(db, maps, epochs, press) for press in sorted(set(suspects)))
    found.epochs = {number: each for number, each in epochs.items() if each.rows}
    return found


class _Bodies(dict[int, bytes]):
    """The records of one epoch by number; those that are not at hand are looked up."""

    def __init__(self, db: sqlite3.Connection, number: int, at_hand: Iterable[tuple[int, bytes]]):
        super().__init__(at_hand)
        self._db = db
        self._number = number

    def __missing__(self, seq: int) -> bytes:
        return _body(self._db, self._number, seq) or b""

    def get(self, seq: int, _default: object = None) -> bytes:
        return self[seq]


def _bodies(db: sqlite3.Connection, number: int, seqs: list[int]) -> _Bodies:
    first, last = min(seqs), max(seqs) + _BEHIND
    if last - first > _SPARSE * len(seqs) + 1000:
        return _Bodies(db, number, ())
    columns = "CAST(seq AS INTEGER), CAST(body AS BLOB)"
    rows = db.execute(f"SELECT {columns} FROM record WHERE epoch_id = ? AND seq BETWEEN ? AND ?", (number, first, last))
    return _Bodies(db, number, rows)


def _body(db: sqlite3.Connection, number: int, seq: int) -> bytes | None:
    row = db.execute("SELECT CAST(body AS BLOB) FROM record WHERE epoch_id = ? AND seq = ?", (number, seq)).fetchone()
    return row[0] if row else None


def _suspects(
    db: sqlite3.Connection,
    maps: dict[_Key, _Meant],
    of_epoch: _OfEpoch,
    bodies: _Bodies,
    rated: list[tuple[Any, ...]],
    others: list[tuple[Any, ...]],
) -> list[int]:
    """Those of an epoch's presses that are not well at first sight."""
    read_press, read_closing, owner = _press.decode, _closing.decode, of_epoch.agent
    suspects: list[int] = []
    for row in rated:
        number, seq, press_id, fate, same, agent, said_epoch, said_seq, key_map = row[:9]
        try:
            press = astuple(read_press(bodies[seq]))
            if said_seq is None:
                # Without an invitation there is no closing, nor a case.
                closing = _NO_CASE if press[5] is None else None
            elif said_epoch == number:
                closing = astuple(read_closing(bodies[said_seq]))
            else:
                closing = astuple(read_closing(_body(db, said_epoch, said_seq) or b""))
            well = (
                fate == 1
                and same == 1
                and agent == owner
                and press[:6] == row[_FACTS:_CASE_OF]
                and closing == row[_CASE:]
                and maps.get((key_map, press[1], press[6])) == row[_LEVEL:_FACTS]
            )
        except _NOT_WELL:
            well = False
        if not well:
            suspects.append(press_id)
    for row in others:
        try:
            press = astuple(read_press(bodies[row[1]]))
            well = (
                row[4] == owner
                and press[:6] == row[5:]
                and (
                    row[3] not in _BORNE_OUT
                    or (row[3] == "unsolicited" and press[5] is None)
                    or (row[3] == "repeat" and _is_rated(db, press[5]))
                )
            )
        except _NOT_WELL:
            well = False
        if not well:
            suspects.append(row[2])
    return suspects


def _unrated(db: sqlite3.Connection, within: str) -> list[int]:
    rows = db.execute(
        "SELECT id FROM press WHERE fate = 'rated' AND NOT EXISTS (SELECT 1 FROM rating WHERE rating.press = press.id)"
        f"{within} ORDER BY id LIMIT {10 * FINDINGS_MAX}"
    )
    return [press_id for (press_id,) in rows]


def _reason(db: sqlite3.Connection) -> str:
    """As _said puts it. A ledger that only an older program has opened has no reasons yet."""
    if db.execute("PRAGMA user_version").fetchone()[0] == 1:
        return "NULL"
    return "CASE WHEN tags != '' OR rating.text != '' THEN tags || char(10) || rating.text END"


def _said(tags: str, text: str) -> str | None:
    return f"{tags}\n{text}" if tags or text else None


def _key_maps(db: sqlite3.Connection) -> dict[_Key, _Meant]:
    return {
        (number, device, int(button)): _meant(key)
        for number, device, keys in db.execute("SELECT id, device, keys FROM key_map")
        for button, key in _keys(keys).items()
        if button.isdecimal()
    }


def _keys(keys: Any) -> dict[str, Any]:
    try:
        return msgspec.json.decode(keys, type=dict[str, Any])
    except _NOT_WELL:
        return {}  # changed beyond reading: no rating agrees with it


def _meant(key: Any) -> _Meant:
    """It stands there as a level alone too."""
    if not isinstance(key, dict):
        return key, None
    return key.get("level"), _said(",".join(map(str, key.get("tags", ()))), str(key.get("text", "")))


# ---- what is wrong with one of them


def _named(
    db: sqlite3.Connection, maps: dict[_Key, _Meant], epochs: dict[int, _OfEpoch], press_id: int
) -> Finding | None:
    number, seq, agent = db.execute(
        "SELECT CAST(epoch_id AS INTEGER), CAST(seq AS INTEGER), agent FROM press WHERE id = ?", (press_id,)
    ).fetchone()
    words = _wrong(db, maps, press_id)
    of_epoch = epochs.get(number) or _OfEpoch(agent, "?")
    return Finding(of_epoch.agent, of_epoch.epoch, seq, words) if words else None


def _wrong(db: sqlite3.Connection, maps: dict[_Key, _Meant], press_id: int) -> str:
    """In words, all of it from the beginning; nothing if it is well."""
    press = db.execute(
        "SELECT press.agent, epoch.agent, CAST(body AS BLOB), fate, press.device, press.boot, press.count,"
        " press.pressed_ms, press.invitation, press.window FROM press"
        " LEFT JOIN record ON record.epoch_id = press.epoch_id AND record.seq = press.seq"
        " LEFT JOIN epoch ON epoch.id = press.epoch_id WHERE press.id = ?",
        (press_id,),
    ).fetchone()
    agent, owner, body, fate, *facts = press
    record = _record(body)
    if not isinstance(record, PressRecord):
        return "按键没有对应的记录 / a press without a record"
    said = [record.device, record.boot, record.count, record.pressed_ms, record.invitation, record.window]
    if agent != owner or facts != said:
        return "按键与其记录不符 / a press differs from its record"
    rating = db.execute(
        "SELECT level, bad, key_map, once, state, case_no, service_number, clerk, agent, device, boot, count,"
        f" pressed_ms, invitation, window, {_reason(db)} FROM rating WHERE press = ?",
        (press_id,),
    ).fetchone()
    if rating is None:
        return _wrong_fate(db, record, fate)
    if fate != "rated":
        return "按键有评价却不标为已评价 / a press with a rating and not called rated"
    return _wrong_rating(db, maps, agent, record, rating) or _unsent(db, press_id)


def _wrong_rating(
    db: sqlite3.Connection, maps: dict[_Key, _Meant], agent: str, press: PressRecord, rating: tuple[Any, ...]
) -> str:
    level, bad, key_map, once, _state, case_no, service_number, clerk, whose, *facts, reason = rating
    case: tuple[Any, ...] = (None, 1, None)
    closing = _closing_of(db, press.invitation)
    if isinstance(closing, ClosingRecord) and closing.invitation == press.invitation:
        case = closing.case_no, closing.service_number, closing.clerk
    said = [press.device, press.boot, press.count, press.pressed_ms, press.invitation, press.window]
    if (whose, facts, (case_no, service_number, clerk)) != (agent, said, case) or once != (press.invitation or once):
        return "评价与其记录不符 / a rating differs from its record"
    meant = maps.get((key_map, press.device, press.button), (None, None))
    if (level, bool(bad)) != (meant[0], meant[0] in _BAD):
        return "评价的满意度与按键不符 / a rating's level is not what its button meant"
    if reason != meant[1]:
        return "评价的原因与按键不符 / a rating's reason is not what its button meant"
    return ""


def _closing_of(db: sqlite3.Connection, invitation: str | None) -> object:
    said = db.execute(
        "SELECT CAST(body AS BLOB) FROM closing JOIN record USING (epoch_id, seq) WHERE invitation = ?", (invitation,)
    ).fetchone()
    return _record(said[0]) if said else None


def _unsent(db: sqlite3.Connection, press_id: int) -> str:
    row = db.execute(
        "SELECT 1 FROM rating WHERE press = ? AND state = 'accepted' AND NOT EXISTS (SELECT 1 FROM attempt"
        " WHERE attempt.rating = rating.id AND what = 'rating' AND verdict = 'accepted')",
        (press_id,),
    ).fetchone()
    return "评价标为已接收却没有发送记录 / a rating called accepted and never sent" if row else ""


def _wrong_fate(db: sqlite3.Connection, press: PressRecord, fate: str) -> str:
    """Of a press without a rating."""
    match fate:
        case "rated":
            return "按键标为已评价却没有评价 / a press called rated without a rating"
        case "unsolicited" if press.invitation is not None:
            return "邀请内的按键标为邀请外 / a press of an invitation called unsolicited"
        case "undatable" if not press.doubt:
            return "有准确时间的按键标为时间不明 / a press that can be dated called undatable"
        case "duplicate":
            first = "SELECT 1 FROM press WHERE device = ? AND boot = ? AND count = ? AND fate != 'duplicate'"
            if db.execute(first, (press.device, press.boot, press.count)).fetchone() is None:
                return "按键标为重复上报却没有另一条 / a press called duplicate of none"
        case "repeat":
            return _wrong_repeat(db, press.invitation)
    return ""


def _wrong_repeat(db: sqlite3.Connection, invitation: str | None) -> str:
    if _is_rated(db, invitation):
        return ""
    closing = _closing_of(db, invitation)
    if isinstance(closing, ClosingRecord):
        service = (closing.case_no, closing.service_number)
        if db.execute("SELECT 1 FROM rating WHERE case_no = ? AND service_number = ?", service).fetchone():
            return ""
    return "按键标为再次评价却没有第一次 / a press called repeat of none"


def _is_rated(db: sqlite3.Connection, invitation: str | None) -> bool:
    return db.execute("SELECT 1 FROM rating WHERE once = ?", (invitation,)).fetchone() is not None


def _record(body: bytes | None) -> object:
    try:
        return decode_record(body) if body is not None else None
    except BadMessage:
        return None


# ---- what has no press


def joined(db: sqlite3.Connection, chained: Iterable[Chained], found: list[Understood]) -> tuple[int, list[Finding]]:
    """How many ratings there are, and what is wrong with all presses and ratings, from their spans in order.

    Where the numbers agree nothing is missing and nothing too much; only where they do not is it looked for.
    """
    findings = [finding for each in found for finding in each.findings]
    ratings: int = db.execute("SELECT count(*) FROM rating").fetchone()[0]
    if ratings != sum(each.ratings for each in found):
        findings += _without_press(db)
    findings += _without_row(db, chained, found)
    findings += _disordered(db, found)
    return ratings, enough(dict.fromkeys(findings))


def _without_press(db: sqlite3.Connection) -> list[Finding]:
    rows = db.execute(
        "SELECT agent FROM rating WHERE NOT EXISTS (SELECT 1 FROM press WHERE press.id = rating.press) ORDER BY id"
        f" LIMIT {FINDINGS_MAX}"
    )
    return [Finding(agent, "?", 0, "评价没有对应的记录 / a rating without a record") for (agent,) in rows]


def _without_row(db: sqlite3.Connection, chained: Iterable[Chained], found: list[Understood]) -> list[Finding]:
    """Press records of which nothing became. One that nobody can read is in quarantine, and rightly has no row."""
    records: dict[Epoch, int] = {}
    for each in chained:
        records[each.piece.epoch] = records.get(each.piece.epoch, 0) + each.presses
    rows: dict[int, int] = {}
    for understood in found:
        for number, of_epoch in understood.epochs.items():
            rows[number] = rows.get(number, 0) + of_epoch.rows
    findings: list[Finding] = []
    for epoch, presses in records.items():
        if presses != rows.get(epoch.number, 0) and len(findings) < FINDINGS_MAX:
            findings += _orphans(db, epoch) + _twice(db, epoch.number)
    return findings


def _orphans(db: sqlite3.Connection, epoch: Epoch) -> list[Finding]:
    rows = db.execute(
        "SELECT seq, CAST(body AS BLOB) FROM record WHERE epoch_id = :epoch AND substr(CAST(body AS BLOB), 1, :length)"
        " = :press AND seq NOT IN (SELECT seq FROM press WHERE epoch_id = :epoch) ORDER BY seq",
        {"epoch": epoch.number, "length": len(PRESS), "press": PRESS},
    )
    what = "按键记录没有下文 / nothing became of a press"
    return enough(
        Finding(epoch.agent, epoch.epoch, seq, what) for seq, body in rows if isinstance(_record(body), PressRecord)
    )


def _disordered(db: sqlite3.Connection, found: list[Understood]) -> list[Finding]:
    """Rows of an epoch stand as its records do; where they do not, one may stand there twice, or hide another."""
    last: dict[int, int] = {}
    epochs: set[int] = set()
    for understood in found:
        for number, of_epoch in understood.epochs.items():
            if not of_epoch.ordered or of_epoch.first <= last.get(number, of_epoch.first - 1):
                epochs.add(number)
            last[number] = of_epoch.last
    findings: list[Finding] = []
    for epoch in all_epochs(db):
        if epoch.number in epochs and len(findings) < FINDINGS_MAX:
            findings += _twice(db, epoch.number) + _orphans(db, epoch)
    return findings


def _twice(db: sqlite3.Connection, number: int) -> list[Finding]:
    """Presses that were made of one record."""
    rows = db.execute(
        "SELECT coalesce(epoch.agent, ''), coalesce(epoch.epoch, '?'), seq FROM press LEFT JOIN epoch"
        " ON epoch.id = epoch_id WHERE epoch_id = ? GROUP BY seq HAVING count(*) > 1 ORDER BY seq"
        f" LIMIT {FINDINGS_MAX}",
        (number,),
    )
    what = "一条记录成了两次按键 / one record became two presses"
    return [Finding(agent, epoch, seq, what) for agent, epoch, seq in rows]
