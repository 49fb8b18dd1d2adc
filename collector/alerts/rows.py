"""Alerts and silences as rows of the book, and back."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from .core import FLAP_MS, Alert, Found, Reach, Silence, Told
from .hours import ALWAYS, hours_of

_told = msgspec.json.Decoder(dict[str, Told])
DUE = ("id", "what", "at_ms", "weight", "kind", "hall", "words", "since_ms", "opens", "ended_ms", "page")


def matters(alert: Alert, now_ms: int) -> bool:
    """Whether a decision needs it: open, closed lately, or with an end that somebody has still to hear of."""
    if alert.closed_ms is None or now_ms - alert.closed_ms < FLAP_MS:
        return True
    return not alert.event and any(each.what != "resolved" for each in alert.told.values())


def put(db: sqlite3.Connection, alert: Alert) -> int:
    """Keep it as it is now; its number."""
    found = alert.found
    told = msgspec.json.encode(dict(alert.told)).decode()
    values = (
        found.cause,
        found.kind,
        found.hall,
        found.window,
        found.weight,
        found.words,
        found.part_of,
        found.since_ms,
        alert.opened_ms,
        alert.opens,
        alert.gone_ms,
        alert.closed_ms,
        told,
        found.page,
    )
    if not alert.id:
        return (
            db.execute(
                "INSERT INTO alert(cause, kind, hall, window, weight, words, part_of, since_ms, opened_ms, opens,"
                " gone_ms, closed_ms, told, page) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                values,
            ).lastrowid
            or 0
        )
    # Not who acknowledged it: somebody may have done so since it was read. One that is open again is nobody's.
    db.execute(
        "UPDATE alert SET cause = ?, kind = ?, hall = ?, window = ?, weight = ?, words = ?, part_of = ?, since_ms = ?,"
        " opened_ms = ?, opens = ?, gone_ms = ?,"
        " acked_by = CASE WHEN closed_ms IS NOT NULL AND ? IS NULL THEN '' ELSE acked_by END,"
        " acked_ms = CASE WHEN closed_ms IS NOT NULL AND ? IS NULL THEN NULL ELSE acked_ms END,"
        " closed_ms = ?, told = ?, page = ? WHERE id = ?",
        (*values[:11], alert.closed_ms, alert.closed_ms, *values[11:], alert.id),
    )
    return alert.id


def alert_of(row: sqlite3.Row) -> Alert:
    """The alert of this row."""
    found = Found(
        row["kind"],
        row["cause"],
        row["since_ms"],
        row["words"],
        row["hall"],
        row["window"],
        row["part_of"],
        row["weight"],
        row["page"],
    )
    return Alert(
        found,
        row["opened_ms"],
        row["opens"],
        row["gone_ms"],
        row["closed_ms"],
        row["acked_by"],
        row["acked_ms"],
        _told.decode(row["told"]),
        row["id"],
    )


def silence_of(row: sqlite3.Row) -> Silence:
    """The silence of this row."""
    globs: Sequence[tuple[str, ...]] = [tuple(msgspec.json.decode(row[name])) for name in ("kinds", "halls", "windows")]
    return Silence(
        Reach(*globs),
        row["from_ms"],
        row["until_ms"],
        row["reason"],
        row["who"],
        hours_of(row["weekly"]) if row["weekly"] else ALWAYS,
        row["weekly"],
        row["made_ms"],
        row["ended_ms"],
        row["ended_by"],
        row["id"],
    )
