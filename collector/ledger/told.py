"""What devices and agents say of themselves: how far a device has counted, and how far an outbox reaches."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from protocols.messages import Health, PressRecord, WindowHealth


def count_devices(db: sqlite3.Connection, agent: str, presses: Iterable[PressRecord]) -> None:
    """Part of a transaction: how far these presses' own numbers reach."""
    counts: dict[tuple[str, str, int], tuple[int, int]] = {}
    for press in presses:
        key = (press.window, press.device, press.boot)
        least, most = counts.get(key, (press.count, press.count))
        counts[key] = (min(least, press.count), max(most, press.count))
    _raise_counts(db, [(agent, *key, most, 0, None, max(least - 1, 0)) for key, (least, most) in counts.items()])


def counted(db: sqlite3.Connection, agent: str, health: Health) -> None:
    """Part of a transaction: how many presses its devices say they have counted."""
    _raise_counts(
        db,
        [(agent, each.window, *_said(each), health.at_ms, _met(each)) for each in health.windows if each.device],
    )


def _raise_counts(db: sqlite3.Connection, rows: list[tuple[str, str, str, int, int, int, int | None, int]]) -> None:
    db.executemany(
        "INSERT INTO device_count(agent, window, device, boot, count, thanked, said_ms, met) VALUES (?,?,?,?,?,?,?,?)"
        " ON CONFLICT DO UPDATE SET count = max(count, excluded.count), thanked = max(thanked, excluded.thanked),"
        " said_ms = CASE WHEN excluded.count > count THEN excluded.said_ms ELSE said_ms END",
        rows,
    )


def _said(window: WindowHealth) -> tuple[str, int, int, int]:
    return window.device, window.boot, window.count, window.thanked or 0


def _met(window: WindowHealth) -> int:
    """How many of its presses were taken before its agent took any, if this is the first that is heard of it."""
    return max((window.count if window.thanked is None else window.thanked) - window.waiting, 0)


def note_tip(db: sqlite3.Connection, agent: str, epoch: str, tip: int, at_ms: int, salvaged: int | None = None) -> None:
    """How far an outbox reached, by its agent's own word; once it is salvaged, what it held comes in another epoch."""
    db.execute(
        "INSERT INTO told(agent, epoch, tip, at_ms, salvaged) VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET"
        " tip = max(tip, excluded.tip), at_ms = excluded.at_ms, salvaged = coalesce(excluded.salvaged, salvaged)",
        (agent, epoch, tip, at_ms, salvaged),
    )
