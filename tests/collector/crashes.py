"""A power cut at any SQL statement: what is on the disk at that moment is all that is left."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.collector.ledgers import Ledger


class PowerCut(BaseException):
    """Nothing runs after it, as after a real one."""


class Mains:
    """The writing connection of a ledger; its power goes just before or just after the `at`-th statement."""

    def __init__(self, ledger: Ledger, at: int, after: bool):
        self._db, self._path, self._left, self._after = ledger.store._db, ledger.path, at, after
        self.left_behind = ledger.path.parent / "left-behind"
        ledger.store._db = self  # type: ignore[assignment]

    def execute(self, *question: Any) -> Any:
        return self._powered(self._db.execute, question)

    def executemany(self, *question: Any) -> Any:
        return self._powered(self._db.executemany, question)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def _powered(self, run: Callable[..., Any], question: tuple[Any, ...]) -> Any:
        self._left -= 1
        if self._left < 0 or (self._left == 0 and not self._after):
            self._cut()
        answer = run(*question)
        if self._left == 0:
            self._cut()
        return answer

    def _cut(self) -> None:
        if not self.left_behind.exists():
            self.left_behind.mkdir()
            for each in self._path.parent.glob(f"{self._path.name}*"):
                shutil.copy(each, self.left_behind / each.name)
        raise PowerCut


def crashes(make: Callable[[Path], Ledger], folder: Path, act: Callable[[Ledger], Any]) -> Iterator[Ledger]:
    """The ledger as it is found after a power cut at each statement of `act`, before it and after it."""
    at, survived = 0, False
    while not survived:
        at += 1
        for after in (False, True):
            here = folder / f"{at}-{after}"
            here.mkdir()
            ledger = make(here / "ledger.db")
            mains = Mains(ledger, at, after)
            try:
                act(ledger)
                survived = True
            except PowerCut:
                found = Ledger(mains.left_behind / "ledger.db", ledger.directory)
                yield found
                found.store.close()
            # What lies here is over; whoever has died keeps no files open.
            ledger.store._db = mains._db
            ledger.store.close()
    assert at > 3, "the power never went"
