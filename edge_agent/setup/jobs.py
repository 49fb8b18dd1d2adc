"""What takes a while, done beside the work and looked at by a page: the doctor's examination, the look at the chain."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from protocols.ratings import Moment

from .. import link
from ..doctor import checks
from ..doctor.findings import Finding
from ..outbox import look
from ..outbox.file import FORM, OutboxMismatch, open_to_look

_SLICE = 500  # rows; a press waits for none of it, the page sees it move


class Examination:
    """The doctor's checks: `run` begins them, `findings` is what was found last."""

    def __init__(self, now: Callable[[], Moment]):
        self._now = now
        self._turn = threading.Lock()
        self.running = False
        self.findings: list[Finding] | None = None
        self.at_ms = 0

    def run(self, file: Path | None) -> None:
        """Begin, unless it is being done."""
        with self._turn:
            if self.running:
                return
            self.running = True
        threading.Thread(target=self._examine, args=(file,), name="doctor", daemon=True).start()

    def _examine(self, file: Path | None) -> None:
        try:
            self.findings = checks.examine(file, link.serial_ports(), self._now())
            self.at_ms = self._now().wall_ms
        finally:
            self.running = False


@dataclass(frozen=True)
class Progress:
    """How far a look at the chain has come."""

    running: bool = False
    done: int = 0
    of: int = 0
    wrong: str = ""
    """What is wrong, in words; empty while nothing is."""
    ended_ms: int = 0
    """When it was finished; 0 if it never was."""


class ChainCheck:
    """Every page, row and hash of the outbox, read by a connection of its own while the agent goes on writing."""

    def __init__(self, path: Path, agent: str, now: Callable[[], Moment]):
        self._path, self._agent, self._now = path, agent, now
        self._turn = threading.Lock()
        self.progress = Progress()

    def run(self, records: int) -> None:
        """Begin, unless it is being done; about so many records are there."""
        with self._turn:
            if self.progress.running:
                return
            self.progress = Progress(True, 0, records)
        threading.Thread(target=self._look, args=(records,), name="chain", daemon=True).start()

    def _look(self, records: int) -> None:
        wrong, done = "", 0
        try:
            with closing(open_to_look(self._path, self._agent)) as db:
                for wrong in look.wrong(db, FORM, _SLICE):
                    if wrong:
                        break
                    done += 1
                    self.progress = Progress(True, min(done * _SLICE, records), records)
        except (sqlite3.DatabaseError, OutboxMismatch) as error:
            wrong = f"读不了 / cannot be read: {error}"
        finally:
            self.progress = Progress(False, records, records, wrong, self._now().wall_ms)
