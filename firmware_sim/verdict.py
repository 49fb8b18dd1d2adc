"""What came of a run, reached from outside: what the panels wrote down, against what the province and the ledger hold.

Used by the demo, and by whoever lets more go wrong than it does.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from firmware_sim.scenario import Fate, Truth

PREFIX = "37"
KEYS = ("very_satisfied", "satisfied", "basically_satisfied", "dissatisfied", "very_dissatisfied")

Service = tuple[str, int]


def of_fates(
    fates: list[Fate], held: dict[Service, list[int]], here: dict[Service, list[tuple[str, int]]]
) -> list[str]:
    """What is wrong with each case: at the province, or among the ratings that are parked or waiting."""
    mistakes = []
    for fate in fates:
        wrong = of_fate(fate, held, here)
        if wrong is not None:
            mistakes.append(
                f"{wrong} — {fate.window} {fate.case_no} ({', '.join(map(str, fate.presses)) or 'no press'})"
            )
    return mistakes


def of_fate(fate: Fate, held: dict[Service, list[int]], here: dict[Service, list[tuple[str, int]]]) -> str | None:
    """The same of one case; None if it keeps the promise."""
    there = held.get((f"{PREFIX}{fate.case_no}", fate.service_number), [])
    stopped = [button for state, button in here.get((fate.case_no, fate.service_number), []) if state != "accepted"]
    # A call whose answer was lost: the province has it, the ledger does not know yet. That is one rating, not two.
    ratings = there or stopped
    if there and stopped and there[0] != stopped[0]:
        ratings = there + stopped
    return fate.mistake(ratings)


def of_presses(truth: Truth, ledger: Path) -> list[str]:
    """Every thanked press is in the ledger once, whether it is a rating or not; nothing else is."""
    with reading(ledger) as db:
        rows = db.execute("SELECT device, boot, count FROM press WHERE fate != 'duplicate'").fetchall()
    times = Counter(tuple(row) for row in rows)
    pressed, thanked = truth.pressed(), truth.thanked()
    return [
        *(f"lost: 已致谢而账本没有 / thanked, not in the ledger: {press}" for press in thanked if press not in times),
        *(
            f"invented: 账本有而从未按下 / in the ledger, never pressed: {press}"
            for press in times
            if press not in pressed
        ),
        *(f"doubled: 账本中两次 / twice in the ledger: {press}" for press, count in times.items() if count > 1),
    ]


def at_province(journal: Path) -> dict[Service, list[int]]:
    """Per case and service the buttons that the province's ratings stand for. The province counts 5 = best."""
    held: dict[Service, list[int]] = {}
    for line in whole_lines(journal):
        row = json.loads(line)
        if row["kind"] == "rating":
            button = 6 - int(row["satisfaction"])
            held.setdefault((row["projectNo"], int(row["serviceNumber"])), []).append(button)
    return held


def in_ledger(path: Path) -> dict[Service, list[tuple[str, int]]]:
    """Per case and service the state and button of the ledger's ratings."""
    here: dict[Service, list[tuple[str, int]]] = {}
    with reading(path) as db:
        for case_no, number, state, level in db.execute("SELECT case_no, service_number, state, level FROM rating"):
            here.setdefault((case_no, number), []).append((state, KEYS.index(level) + 1))
    return here


class reading:
    """A SQLite file, for reading only, beside the program that owns it."""

    def __init__(self, path: Path):
        self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)

    def __enter__(self) -> sqlite3.Connection:
        return self._db

    def __exit__(self, *_: object) -> None:
        self._db.close()


def whole_lines(path: Path) -> Iterator[str]:
    """The whole lines of a file that somebody may be writing."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield line
