"""Presses that were kept, remembered for as long as a device may say them again. Each row has a sum."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import NamedTuple

from protocols.ratings import Moment, Press

from . import rows

_SAME_PRESS_MS = 5000  # how far two reports of one press may differ: a slow line and a device's cheap crystal
_SAME_PRESS_OTHER_BOOT_MS = 600_000  # the same, when the PC was restarted in between and only the wall clock is left
_KEPT = 200_000  # records back: a device repeats a press for minutes, and this is weeks of a hall
_TRIM = 1_000  # records: trim the above now and then, not at every press


class SeenPress(NamedTuple):
    """A press as it lies in its row."""

    id: int
    """The number of its record; below 1 where that was written to another file."""
    device: str
    boot: int
    counted: int
    button: int
    pressed_ms: int
    mono_ms: int
    host_boot: str


class Seen:
    """Those of one outbox. Whatever writes is called within a transaction. `name` gives a name's number in the file."""

    def __init__(self, db: sqlite3.Connection, name: Callable[[str], int]):
        self._db = db
        self._name = name

    def has(self, press: Press, moment: Moment, by_number: bool = False) -> bool:
        """Whether this is a press again that was kept, and not another one of a device that lost its counters.
        `by_number`: its device never gives a number twice, whatever its clock says."""
        asked = (press.id.device, press.id.boot, press.id.count)
        found = self._db.execute(f"{rows.SELECT['seen']} WHERE device = ? AND boot = ? AND count = ?", asked)
        # With what was asked for in its place: neither a row nor what led to it may have been changed.
        found_as_asked = (rows.checked("seen", (row[0], *asked, *row[4:])) for row in found)
        return any(by_number or _same_press(SeenPress._make(row), press, moment) for row in found_as_asked)

    def note(self, seq: int, press: Press, moment: Moment) -> None:
        """This press is kept as record `seq`."""
        seen = SeenPress(
            seq,
            press.id.device,
            press.id.boot,
            press.id.count,
            press.button,
            moment.wall_ms - press.age_ms,
            moment.mono_ms - press.age_ms,
            moment.host_boot,
        )
        self._insert(seen, "INSERT")

    def restore(self, seen: SeenPress) -> None:
        """Write down one of another file, unless that was done before."""
        self._insert(seen, "INSERT OR IGNORE")

    def last_boot(self, device: str) -> int:
        """The largest number that a start of this device has; 0 if none."""
        found = self._db.execute(
            f"{rows.SELECT['seen']} WHERE device = ? ORDER BY boot DESC, count DESC LIMIT 1", (device,)
        ).fetchone()
        return SeenPress._make(rows.checked("seen", found)).boot if found is not None else 0

    def trim(self, first: int, last: int) -> None:
        """Records `first` to `last` are being written: forget what is much older, now and then."""
        if first // _TRIM != last // _TRIM or last % _TRIM == 0:
            self._db.execute("DELETE FROM seen_row WHERE id <= ?", (last - _KEPT,))

    def _insert(self, seen: SeenPress, how: str) -> None:
        self._db.execute(
            f"{how} INTO seen_row(id, device, boot, count, button, pressed_ms, mono_ms, host, sum)"
            " VALUES (?,?,?,?,?,?,?,?,?)",
            (*seen[:7], self._name(seen.host_boot), rows.sum_of_row("seen", *seen)),
        )


def _same_press(seen: SeenPress, press: Press, moment: Moment) -> bool:
    if seen.button != press.button:
        return False
    if seen.host_boot == moment.host_boot:
        return abs(seen.mono_ms - (moment.mono_ms - press.age_ms)) <= _SAME_PRESS_MS + press.age_ms // 100
    return abs(seen.pressed_ms - (moment.wall_ms - press.age_ms)) <= _SAME_PRESS_OTHER_BOOT_MS
