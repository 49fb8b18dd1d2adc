"""What there is to see, read from the ledger, the disk and what other loops say of themselves: what is cheap every few
seconds, what has to be counted now and then."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from protocols.messages import AgentStatus, Health
from protocols.ratings import Level

from ..directory import CLIENT, Directory
from ..ledger.file import lacks
from ..ledger.overview import Overview
from ..ledger.since import UNANSWERED_MS
from ..ledger.store import Store
from ..ledger.tally import day_of
from ..reconcile.balance import balance
from .facts import BAD_CAUSE, AgentSeen, BadRating, Seen, Unrated, WindowSeen, Work

_RECONCILE_TIMES = 10  # of these counts, for one of the days
_DAYS = 3
_HOUR_MS = 3_600_000
_BAD_MAX = 200  # at once; the rest follows at the next look
_LOW = 1_000_000_000  # bytes: a hall's year of presses
_status, _health = msgspec.json.Decoder(AgentStatus), msgspec.json.Decoder(Health)


@dataclass(frozen=True)
class Looked:
    """What was seen, and up to which rating bad ones were looked for."""

    seen: Seen
    upto: int


class Reader:
    """Reads one ledger. `started_ms`: when this program began to listen."""

    def __init__(
        self,
        store: Store,
        directory: Directory,
        started_ms: int,
        checkpoint: Callable[[], dict[str, Any] | None] = lambda: None,
        work: Callable[[int], Work] = lambda _now_ms: Work(),
        unrated: Callable[[int], tuple[Unrated, ...]] = lambda _now_ms: (),
    ):
        self._store = store
        self._overview = Overview(store)
        self._directory = directory
        self._started_ms = started_ms
        self._checkpoint = checkpoint
        self._work = work
        self._unrated = unrated
        self._halls = {agent: place.hall for (agent, _), place in sorted(directory.places.items(), reverse=True)}
        self._counted: dict[str, Any] = {}
        self._counts = 0

    @property
    def ledger(self) -> str:
        """Which ledger this is, for as long as there is a copy of it."""
        name: str = self._store.row("SELECT id FROM identity")[0]
        return name

    def last_rating(self) -> int:
        """The number of the newest rating; 0 if there is none."""
        number: int = self._store.row("SELECT coalesce(max(id), 0) FROM rating")[0]
        return number

    def bad_came(self, after: int) -> bool:
        """Whether a bad rating came after this one."""
        return self._store.row("SELECT 1 FROM rating WHERE id > ? AND bad = 1 LIMIT 1", (after,)) is not None

    def look(self, after: int, now_ms: int, bad_open: Collection[str] = ()) -> Looked:
        """Everything, of one moment of the ledger; bad ratings after number `after`, and which of the causes in
        `bad_open` are closed."""
        with self._store.reading():
            bad, upto = self._bad(after, now_ms)
            province = self._store.row("SELECT away_since_ms, words FROM province")
            unanswered = self._store.row(
                f"SELECT count(*) AS ratings, min({UNANSWERED_MS}) AS since_ms FROM rating"
                " WHERE state = 'due' AND tries > 0"
            )
            seen = Seen(
                now_ms,
                agents=self._agents(),
                bad_ratings=bad,
                away_since_ms=province["away_since_ms"],
                away_words=province["words"],
                unanswered=unanswered["ratings"],
                unanswered_since_ms=unanswered["since_ms"],
                checkpoint_trouble=(self._checkpoint() or {}).get("trouble", ""),
                gaps=self._store.row("SELECT count(*) FROM gap")[0],
                mended=frozenset(cause for cause in bad_open if self._mended(cause)),
            )
        if not self._counted:
            self.count(now_ms)
        work = self._work(now_ms)
        return Looked(replace(seen, **self._counted, **disk(self._store.path), work=work), upto)

    # ---- what is cheap

    def _bad(self, after: int, now_ms: int) -> tuple[tuple[BadRating, ...], int]:
        rows = self._store.rows(
            "SELECT id, device, boot, count, hall, number, channel, level, pressed_ms FROM rating"
            " WHERE id > ? AND bad = 1 ORDER BY id LIMIT ?",
            (after, _BAD_MAX),
        )
        upto = rows[-1]["id"] if len(rows) == _BAD_MAX else max(after, self.last_rating())
        return tuple(_bad_rating(row, now_ms) for row in rows), upto

    def _mended(self, cause: str) -> bool:
        """Whether the bad rating of this cause was approved as dealt with: asked by its press, as it was told."""
        device, boot, count = cause.removeprefix(BAD_CAUSE).rsplit("-", 2)
        row = self._store.row(
            "SELECT step.state FROM press JOIN rating ON rating.press = press.id JOIN step ON step.rating = rating.id"
            " WHERE press.device = ? AND press.boot = ? AND press.count = ? AND step.draw IS NULL"
            " ORDER BY step.id DESC LIMIT 1",
            (device, int(boot), int(count)),
        )
        return row is not None and row["state"] == "closed"

    def _agents(self) -> tuple[AgentSeen, ...]:
        rows = self._store.rows("SELECT * FROM agent WHERE status IS NOT NULL OR health IS NOT NULL ORDER BY agent")
        return tuple(self._agent(row) for row in rows if row["agent"] in self._halls)

    def _agent(self, row: sqlite3.Row) -> AgentSeen:
        status = _status.decode(row["status"]) if row["status"] else None
        health = _health.decode(row["health"]) if row["health"] else None
        off_ms = health.at_ms - row["health_ms"] if health else 0
        online = status is None or status.online
        return AgentSeen(
            row["agent"],
            self._halls[row["agent"]],
            online,
            row["status_ms"] or self._started_ms,
            max(row["health_ms"] or 0, self._started_ms),
            self._windows(row["agent"], health, off_ms) if health else (),
            health.oldest_ms - off_ms if health and health.oldest_ms is not None else None,
            health.backlog if health else 0,
            off_ms,
            health.synced if health else None,
            health.alarm if health else "",
        )

    def _windows(self, agent: str, health: Health, off_ms: int) -> tuple[WindowSeen, ...]:
        places = self._directory.places
        return tuple(
            WindowSeen(each.window, place.number if place else each.window, each.state, each.since_ms - off_ms)
            for each in health.windows
            for place in [places.get((agent, each.window))]
        )

    # ---- what has to be counted

    def count(self, now_ms: int) -> None:
        """Count again what has to be counted. By a thread of its own: millions of rows take a while, and no bad rating
        waits for it."""
        parked = self._store.row(
            "SELECT count(*) AS n, total(bad) AS bad, min(coalesce(settled_ms, made_ms)) AS since_ms FROM rating"
            " WHERE state = 'parked' AND reason != 'given_up'"
        )
        quarantine = self._store.row(
            "SELECT count(*) AS n, min(last_ms) AS since_ms FROM quarantine WHERE last_ms > ?", (now_ms - _HOUR_MS,)
        )
        counted = {
            "parked": parked["n"],
            "parked_bad": int(parked["bad"]),
            "parked_since_ms": parked["since_ms"] or 0,
            "quarantined": quarantine["n"],
            "quarantined_ms": quarantine["since_ms"] or 0,
            "keys": self._keyless(),
            "unexplained": self._counted.get("unexplained", 0),
            "unrated": self._unrated(now_ms),
        }
        if self._counts % _RECONCILE_TIMES == 0:
            today = day_of(now_ms)
            found = balance(self._overview.days, self._directory, now_ms, today - _DAYS + 1, today)
            counted["unexplained"] = found["unexplained"]
        self._counts += 1
        self._counted = counted

    def _keyless(self) -> tuple[tuple[str, int], ...]:
        halls: dict[str, int] = {}
        for row in self._overview.unratable():
            if row["reason"] == "keys_not_confirmed":
                hall = self._halls.get(row["agent"], row["agent"])
                halls[hall] = halls.get(hall, 0) + row["presses"]
        return tuple(sorted(halls.items()))


def disk(ledger: Path) -> dict[str, Any]:
    """`disk` and `disk_free` of where this ledger lies, as `Seen` has them."""
    why = lacks(ledger)
    if why:
        return {"disk": why}
    try:
        there = os.statvfs(ledger.parent)
    except (AttributeError, OSError):  # Windows has no such call; or the folder itself is not there
        return {}
    free = there.f_bavail * there.f_frsize
    return {"disk_free": free} if free < _LOW else {}


def _bad_rating(row: sqlite3.Row, now_ms: int) -> BadRating:
    # What came through no window has none: then it is the channel that is named.
    other = row["device"].startswith(CLIENT)
    return BadRating(
        f"{row['device']}-{row['boot']}-{row['count']}",
        row["hall"],
        _CHANNELS.get(row["channel"], row["channel"]) if other else row["number"],
        Level(row["level"]),
        row["pressed_ms"],
        now_ms,
        row["id"],
    )


_CHANNELS = {
    "web": "网站 web",
    "mobile": "手机 mobile",
    "qr": "扫码 QR",
    "phone": "电话 phone",
    "sms": "短信 SMS",
    "kiosk": "自助机 kiosk",
}
