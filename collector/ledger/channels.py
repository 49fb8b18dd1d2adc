"""Ratings of other channels (website, mobile, QR code, telephone) into the same ledger: a chain of its own for each
system that hands them over, and from there on the same as any press.

A rating of a system is a press and the closing of its invitation, written here instead of by an agent. The invitation's
id is made of the system's name and of its own number for the rating, so the same number is the same rating, however
often it comes.
"""

from __future__ import annotations

import sqlite3
import uuid
from dataclasses import dataclass
from typing import Literal

from protocols.messages import ClosingRecord, PressRecord, decode_record, encode_record
from protocols.ratings import Channel, Level

from ..directory import BUTTONS, CLIENT
from .intake import Intake
from .store import Store

_NAMES = uuid.UUID("6f1f5ad0-6c0d-4a0e-9d0e-2b8f6f0f2f5a")  # of these ids, and of nothing else
PROFILE = ("api", 1)


@dataclass(frozen=True)
class Given:
    """A rating as a system hands it over."""

    ref: str
    """The system's own number for it."""
    level: Level
    channel: Channel
    case_no: str
    given_ms: int
    service_number: int = 1
    tags: tuple[str, ...] = ()
    tags_version: int = 0
    text: str = ""
    hall: str = ""
    window: str = ""
    clerk: str | None = None


@dataclass(frozen=True)
class Taken:
    """What became of it."""

    how: Literal["new", "known", "contradicts"]
    """Whether it is new, the same as before, or another rating under a number that has one."""
    invitation: str
    fate: str
    """`rated`, or `repeat` where this service has its rating already."""
    state: str
    """Of the rating: due, awaiting_case, accepted, parked; empty for a repeat."""


class Channels:
    """The way in for systems."""

    def __init__(self, store: Store, intake: Intake):
        self._store = store
        self._intake = intake

    def take(self, client: str, given: Given, now_ms: int) -> Taken:
        """Keep it, once. On disk when this returns."""
        agent = CLIENT + client
        invitation = str(uuid.uuid5(_NAMES, f"{client}\0{given.ref}"))
        with self._store.writing() as db:
            held = _held(db, invitation)
            if held is not None and held != _content(given):
                return Taken("contradicts", invitation, *_fate(db, invitation))
            if held is None:
                epoch, upto = _chain_of(db, agent)
                self._intake.append(agent, epoch, _records(agent, given, invitation, upto + 1, now_ms), now_ms)
            return Taken("new" if held is None else "known", invitation, *_fate(db, invitation))


def _records(agent: str, given: Given, invitation: str, count: int, now_ms: int) -> list[bytes]:
    press = PressRecord(
        window=given.channel,
        device=agent,
        boot=1,
        count=count,
        button=BUTTONS[given.level],
        pressed_ms=given.given_ms,
        kept_ms=now_ms,
        mono_ms=0,
        host_boot=PROFILE[0],
        profile=PROFILE[0],
        profile_version=PROFILE[1],
        raw="",
        invitation=invitation,
        tags=list(given.tags),
        tags_version=given.tags_version,
        text=given.text,
        hall=given.hall,
        number=given.window,
    )
    closing = ClosingRecord(
        window=given.channel,
        invitation=invitation,
        outcome="answered",
        opened_ms=given.given_ms,
        deadline_ms=given.given_ms,
        closed_ms=now_ms,
        mono_ms=0,
        host_boot=PROFILE[0],
        service_number=given.service_number,
        case_no=given.case_no,
        clerk=given.clerk,
    )
    return [encode_record(press), encode_record(closing)]


_Content = tuple[object, ...]


def _content(given: Given) -> _Content:
    """What must be the same where a number comes again."""
    return (
        BUTTONS[given.level],
        given.channel,
        given.given_ms,
        list(given.tags),
        given.text,
        given.hall,
        given.window,
        given.case_no,
        given.service_number,
        given.clerk,
    )


def _held(db: sqlite3.Connection, invitation: str) -> _Content | None:
    """The same of what the ledger has under this id."""
    row = db.execute(
        "SELECT closing.epoch_id, closing.seq, record.body FROM closing JOIN record USING (epoch_id, seq)"
        " WHERE invitation = ?",
        (invitation,),
    ).fetchone()
    if row is None:
        return None
    pressed = db.execute(
        "SELECT body FROM record WHERE epoch_id = ? AND seq = ?", (row["epoch_id"], row["seq"] - 1)
    ).fetchone()
    closing, press = decode_record(row["body"]), decode_record(pressed["body"])
    if not isinstance(closing, ClosingRecord) or not isinstance(press, PressRecord):
        return ()  # altered: nothing is like it
    return (
        press.button,
        press.window,
        press.pressed_ms,
        press.tags,
        press.text,
        press.hall,
        press.number,
        closing.case_no,
        closing.service_number,
        closing.clerk,
    )


def _chain_of(db: sqlite3.Connection, agent: str) -> tuple[str, int]:
    """This system's epoch, and how far it has come; a new one for a system that is new."""
    row = db.execute("SELECT epoch, upto FROM epoch WHERE agent = ? ORDER BY id DESC LIMIT 1", (agent,)).fetchone()
    return (row["epoch"], row["upto"]) if row is not None else (str(uuid.uuid4()), 0)


def _fate(db: sqlite3.Connection, invitation: str) -> tuple[str, str]:
    row = db.execute("SELECT state FROM rating WHERE once = ?", (invitation,)).fetchone()
    return ("rated", row["state"]) if row is not None else ("repeat", "")
