"""What was made of a press, in words: whether all of it is what its record says, from the beginning, for any row
whatever somebody has put there."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

from protocols.messages import ClosingRecord, PressRecord
from protocols.ratings import Level

from ..rows import RATING, rating_sum
from . import sums
from .findings import Finding
from .held import has, record

_BAD = {level.value for level in Level if level.bad}
_SERVICE = " WHERE case_no = ? AND service_number = ?"
_NOT_WELL = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError)
Key = tuple[int, str, int]
"""A key of a key map: the map's number, its device, the button."""
Meant = tuple[Any, str, str]
"""What a key meant, as the ledger keeps it with a rating: level, tags and words."""


def bad(level: Any) -> bool:
    """Whether this is a level of a bad rating; it may be anything that stands in a damaged key map."""
    return isinstance(level, str) and level in _BAD


def has_reasons(db: sqlite3.Connection) -> bool:
    """Whether ratings have tags and words: not in a ledger that only an older program has opened."""
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version > 1


def key_maps(db: sqlite3.Connection) -> dict[Key, Meant]:
    """What each button has meant."""
    return {
        (number, device, int(button)): _meant(key)
        for number, device, keys in db.execute("SELECT id, device, keys FROM key_map")
        for button, key in _keys(keys).items()
        if button.isdecimal() and len(button) < 20  # somebody has put there what is no number of a button
    }


def _keys(keys: Any) -> dict[str, Any]:
    try:
        return msgspec.json.decode(keys, type=dict[str, Any])
    except _NOT_WELL:
        return {}  # changed beyond reading: no rating agrees with it


def _meant(key: Any) -> Meant:
    """It stands there as a level alone too."""
    if not isinstance(key, dict):
        return key, "", ""
    return key.get("level"), ",".join(map(str, key.get("tags", ()))), str(key.get("text", ""))


# ---- what is wrong with one of them


def named(
    db: sqlite3.Connection, maps: dict[Key, Meant], epochs: Mapping[int, tuple[str, str]], press_id: int
) -> list[Finding]:
    """What is wrong with this press and its rating; nothing if all is well. `epochs`: agent and epoch by number."""
    number, seq, whose = db.execute(
        "SELECT CAST(epoch_id AS INTEGER), CAST(seq AS INTEGER), agent FROM press WHERE id = ?", (press_id,)
    ).fetchone()
    agent, epoch = epochs.get(number) or (whose, "?")
    wrong = (_wrong(db, maps, press_id), _altered(db, press_id))
    return [Finding(agent, epoch, seq, words) for words in wrong if words]


def _altered(db: sqlite3.Connection, press_id: int) -> str:
    if not sums.there(db):
        return ""
    row = db.execute(f"SELECT sum, {', '.join(RATING)} FROM rating WHERE press = ?", (press_id,)).fetchone()
    if row is None or row[0] is None or row[0] == rating_sum(row[1:]):
        return ""
    return "评价与其校验值不符 / a rating differs from its sum"


def _wrong(db: sqlite3.Connection, maps: dict[Key, Meant], press_id: int) -> str:
    """In words, all of it from the beginning; nothing if it is well."""
    row = db.execute(
        "SELECT press.agent, epoch.agent, CAST(body AS BLOB), fate, press.device, press.boot, press.count,"
        " press.pressed_ms, press.invitation, press.window FROM press"
        " LEFT JOIN record ON record.epoch_id = press.epoch_id AND record.seq = press.seq"
        " LEFT JOIN epoch ON epoch.id = press.epoch_id WHERE press.id = ?",
        (press_id,),
    ).fetchone()
    agent, owner, body, fate, *facts = row
    press = record(body)
    if not isinstance(press, PressRecord):
        return "按键没有对应的记录 / a press without a record"
    said = [press.device, press.boot, press.count, press.pressed_ms, press.invitation, press.window]
    # Where there is no such epoch that is what is wrong, and whose it was is not known.
    if (owner is not None and agent != owner) or facts != said:
        return "按键与其记录不符 / a press differs from its record"
    reason = "tags, text" if has_reasons(db) else "'', ''"
    rating = db.execute(
        "SELECT level, bad, key_map, once, state, case_no, service_number, clerk, agent, device, boot, count,"
        f" pressed_ms, invitation, window, {reason} FROM rating WHERE press = ?",
        (press_id,),
    ).fetchone()
    if rating is None:
        return _wrong_fate(db, press, fate)
    if fate != "rated":
        return "按键有评价却不标为已评价 / a press with a rating and not called rated"
    return _wrong_rating(db, maps, agent, press, rating)


def _wrong_rating(
    db: sqlite3.Connection, maps: dict[Key, Meant], agent: str, press: PressRecord, rating: tuple[Any, ...]
) -> str:
    level, called_bad, key_map, once, _state, case_no, service_number, clerk, whose, *facts, tags, text = rating
    case: tuple[Any, ...] = (None, 1, None)
    closing = _closing_of(db, press.invitation)
    if isinstance(closing, ClosingRecord) and closing.invitation == press.invitation:
        case = closing.case_no, closing.service_number, closing.clerk
    said = [press.device, press.boot, press.count, press.pressed_ms, press.invitation, press.window]
    if (whose, facts, (case_no, service_number, clerk)) != (agent, said, case) or once != (press.invitation or once):
        return "评价与其记录不符 / a rating differs from its record"
    meant = maps.get((key_map, press.device, press.button), (None, "", ""))
    if (level, bool(called_bad)) != (meant[0], bad(meant[0])):
        return "评价的满意度与按键不符 / a rating's level is not what its button meant"
    reason = (",".join(press.tags), press.text) if press.tags or press.text else meant[1:]
    if (tags, text) != reason:
        return "评价的原因与按键不符 / a rating's reason is not what its button meant"
    return ""


def _closing_of(db: sqlite3.Connection, invitation: str | None) -> object:
    said = db.execute(
        "SELECT CAST(body AS BLOB) FROM closing JOIN record USING (epoch_id, seq) WHERE invitation = ?", (invitation,)
    ).fetchone()
    return record(said[0]) if said else None


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
    if is_rated(db, invitation):
        return ""
    closing = _closing_of(db, invitation)
    if isinstance(closing, ClosingRecord):
        service = (closing.case_no, closing.service_number)
        if any(db.execute(f"SELECT 1 FROM {table}{_SERVICE}", service).fetchone() for table in _rated(db)):
            return ""
    return "按键标为再次评价却没有第一次 / a press called repeat of none"


def _rated(db: sqlite3.Connection) -> tuple[str, ...]:
    # No links in a ledger that only an older program has opened.
    return ("rating", "case_link") if has(db, "case_link") else ("rating",)


def is_rated(db: sqlite3.Connection, invitation: str | None) -> bool:
    """Whether an invitation has its rating."""
    return db.execute("SELECT 1 FROM rating WHERE once = ?", (invitation,)).fetchone() is not None
