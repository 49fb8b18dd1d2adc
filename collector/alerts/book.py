"""Alerts in a file of their own beside the ledger: what is open since when, and who was told what.

Nothing of it is remembered anywhere else: whoever starts again goes on where the file stands.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec

from .core import Alert, Decision, Silence
from .file import BookDamaged, File, NotABook
from .messages import MINUTE_MS, Due, Message
from .rows import DUE, alert_of, matters, put, silence_of

log = logging.getLogger(__name__)

KEEP_MS = 180 * 24 * 3_600_000
_UNTOLD_MS = 7 * 24 * 3_600_000  # a resolved one that could not be told within a week is told on the page only


def book_of(ledger: Path) -> Path:
    """Where the alerts of this ledger are kept."""
    return ledger.with_name("alerts.db")


class Book:
    """The file at `path`. Any thread may use it. NotABook if it is something else, BookDamaged if it is broken."""

    def __init__(self, path: Path):
        self._file = File(path)

    @property
    def in_memory(self) -> bool:
        """Whether the disk does not take it at present."""
        return self._file.in_memory

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    # ---- deciding

    def standing(self, now_ms: int) -> tuple[list[Alert], list[Silence]]:
        """The alerts that a decision needs, and the silences that hold or will."""
        with self._file.reading() as db:
            rows = db.execute(
                "SELECT * FROM alert WHERE closed_ms IS NULL OR closed_ms > ? ORDER BY id", (now_ms - _UNTOLD_MS,)
            ).fetchall()
            alerts = [alert_of(row) for row in rows]
            silences = db.execute(
                "SELECT * FROM silence WHERE ended_ms IS NULL AND until_ms > ? ORDER BY id", (now_ms,)
            ).fetchall()
        return [each for each in alerts if matters(each, now_ms)], [silence_of(row) for row in silences]

    def keep(self, decision: Decision, marks: dict[str, str] | None = None) -> None:
        """All of a decision and how far was looked, or nothing of it. What a person did meanwhile stays."""
        marks = {name: value for name, value in (marks or {}).items() if self.mark(name) != value}
        if not decision.alerts and not decision.notes and not marks:
            return
        with self._file.writing() as db:
            ids = {each.cause: put(db, each) for each in decision.alerts}
            for note in decision.notes:
                found, alert = note.alert.found, note.alert
                db.execute(
                    "INSERT INTO note(alert, receiver, what, at_ms, weight, kind, hall, words, since_ms, opens,"
                    " ended_ms, page) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                    (
                        alert.id or ids[alert.cause],
                        note.receiver,
                        note.what,
                        note.at_ms,
                        note.weight,
                        found.kind,
                        found.hall,
                        found.words,
                        found.since_ms,
                        alert.opens,
                        alert.gone_ms,
                        found.page,
                    ),
                )
            db.executemany("INSERT OR REPLACE INTO mark(name, value) VALUES (?,?)", marks.items())

    def knows(self, cause: str) -> bool:
        """Whether there ever was an alert of this cause."""
        with self._file.reading() as db:
            return db.execute("SELECT 1 FROM alert WHERE cause = ? LIMIT 1", (cause,)).fetchone() is not None

    def mark(self, name: str) -> str | None:
        """How far was looked, by name."""
        with self._file.reading() as db:
            row = db.execute("SELECT value FROM mark WHERE name = ?", (name,)).fetchone()
        return row["value"] if row else None

    # ---- telling

    def waiting(self, receiver: str) -> tuple[int, Message, int] | None:
        """The oldest message that was not sent: its number, itself, and when it was made."""
        with self._file.reading() as db:
            row = db.execute(
                "SELECT * FROM message WHERE receiver = ? AND sent_ms IS NULL ORDER BY id LIMIT 1", (receiver,)
            ).fetchone()
        return (row["id"], Message((), row["title"], row["body"]), row["made_ms"]) if row else None

    def dues(self, receiver: str) -> list[Due]:
        """The notes that are not part of a message yet."""
        with self._file.reading() as db:
            rows = db.execute(
                "SELECT * FROM note WHERE receiver = ? AND message IS NULL ORDER BY id LIMIT 5000", (receiver,)
            ).fetchall()
        return [Due(**{name: row[name] for name in DUE}) for row in rows]

    def lately(self, receiver: str, now_ms: int) -> list[int]:
        """When messages were sent in the last minute."""
        with self._file.reading() as db:
            rows = db.execute(
                "SELECT sent_ms FROM message WHERE receiver = ? AND sent_ms > ?", (receiver, now_ms - MINUTE_MS)
            ).fetchall()
        return [row["sent_ms"] for row in rows]

    def made(self, receiver: str, message: Message, now_ms: int) -> None:
        """This message tells its notes; it is sent next."""
        with self._file.writing() as db:
            number = db.execute(
                "INSERT INTO message(receiver, made_ms, title, body) VALUES (?,?,?,?)",
                (receiver, now_ms, message.title, message.body),
            ).lastrowid
            db.executemany("UPDATE note SET message = ? WHERE id = ?", ((number, each) for each in message.notes))

    def tried(self, message: int, words: str, now_ms: int) -> None:
        """It was tried: sent if `words` are empty, else why not."""
        with self._file.writing() as db:
            db.execute(
                "UPDATE message SET tries = tries + 1, tried_ms = ?, words = ?, sent_ms = ? WHERE id = ?",
                (now_ms, words, now_ms if not words else None, message),
            )

    # ---- people

    def acknowledge(self, alert: int, who: str, now_ms: int) -> bool:
        """Somebody sees to it: nobody is reminded any more. False if it is not open, or somebody does already."""
        with self._file.writing() as db:
            done = db.execute(
                "UPDATE alert SET acked_by = ?, acked_ms = ? WHERE id = ? AND closed_ms IS NULL AND acked_ms IS NULL",
                (who, now_ms, alert),
            )
        return done.rowcount == 1

    def silence(self, wanted: Silence) -> int:
        """Keep it; its number."""
        reach = wanted.reach
        values = (
            *(msgspec.json.encode(each).decode() for each in (reach.kinds, reach.halls, reach.windows)),
            wanted.from_ms,
            wanted.until_ms,
            wanted.weekly_text,
            wanted.reason,
            wanted.who,
            wanted.made_ms,
        )
        with self._file.writing() as db:
            number = db.execute(
                "INSERT INTO silence(kinds, halls, windows, from_ms, until_ms, weekly, reason, who, made_ms)"
                " VALUES (?,?,?,?,?,?,?,?,?)",
                values,
            ).lastrowid
        return number or 0

    def end_silence(self, silence: int, who: str, now_ms: int) -> bool:
        """What it kept quiet is told again. False if it was over."""
        with self._file.writing() as db:
            done = db.execute(
                "UPDATE silence SET ended_ms = ?, ended_by = ? WHERE id = ? AND ended_ms IS NULL AND until_ms > ?",
                (now_ms, who, silence, now_ms),
            )
        return done.rowcount == 1

    def history(self, most: int) -> list[Alert]:
        """What was closed last."""
        with self._file.reading() as db:
            rows = db.execute(
                "SELECT * FROM alert WHERE closed_ms IS NOT NULL ORDER BY closed_ms DESC, id DESC LIMIT ?", (most,)
            ).fetchall()
        return [alert_of(row) for row in rows]

    def undelivered(self) -> dict[int, set[str]]:
        """By alert: the receivers that have not got yet what they were to hear of it."""
        with self._file.reading() as db:
            rows = db.execute(
                "SELECT DISTINCT note.alert, note.receiver FROM note LEFT JOIN message ON message.id = note.message"
                " WHERE message.sent_ms IS NULL AND (note.message IS NULL OR message.id IS NOT NULL)"
            ).fetchall()
        found: dict[int, set[str]] = {}
        for row in rows:
            found.setdefault(row["alert"], set()).add(row["receiver"])
        return found

    def how_told(self, receiver: str) -> dict[str, Any]:
        """`sent_ms` of the last message that was taken; `failed_ms` and `words` of the last try that was not, if it
        came after that; `waiting`: messages and notes that wait."""
        with self._file.reading() as db:
            sent = db.execute("SELECT max(sent_ms) AS at_ms FROM message WHERE receiver = ?", (receiver,)).fetchone()
            failed = db.execute(
                "SELECT tried_ms, words, tries FROM message WHERE receiver = ? AND sent_ms IS NULL AND tries > 0"
                " ORDER BY id LIMIT 1",
                (receiver,),
            ).fetchone()
            waiting = db.execute(
                "SELECT (SELECT count(*) FROM message WHERE receiver = :r AND sent_ms IS NULL)"
                " + (SELECT count(*) FROM note WHERE receiver = :r AND message IS NULL) AS n",
                {"r": receiver},
            ).fetchone()
        return {
            "sent_ms": sent["at_ms"],
            "failed_ms": failed["tried_ms"] if failed else None,
            "words": failed["words"] if failed else "",
            "tries": failed["tries"] if failed else 0,
            "waiting": waiting["n"],
        }

    def forget(self, now_ms: int) -> None:
        """Drop what is half a year old."""
        with self._file.writing() as db:
            before_ms = now_ms - KEEP_MS
            db.execute("DELETE FROM alert WHERE closed_ms < ?", (before_ms,))
            db.execute("DELETE FROM note WHERE at_ms < ?", (before_ms,))
            db.execute("DELETE FROM message WHERE made_ms < ?", (before_ms,))
            db.execute("DELETE FROM silence WHERE until_ms < ?", (before_ms,))


def open_book(path: Path, now_ms: int) -> Book:
    """The book at `path`. One that is damaged, or is no book at all, holds up nobody: it is moved aside, and a new one
    begun."""
    try:
        return Book(path)
    except (BookDamaged, NotABook) as error:
        aside = path.with_name(f"{path.name}.damaged-{now_ms}")
        for ending in ("", "-wal", "-shm"):
            part = path.with_name(path.name + ending)
            if part.exists():
                part.rename(aside.with_name(aside.name + ending))
        words = "报警记录损坏, 已移存, 另建新的 / alerts were damaged and set aside, a new file is begun"
        log.error("%s: %s: %s", words, aside, error)
        return Book(path)
