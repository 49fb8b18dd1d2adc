"""What a test of the agent needs of a hall: moments, presses, invitations, and what an outbox holds."""

import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from edge_agent.cable import Cable
from edge_agent.outbox import Outbox
from edge_agent.window import Window
from protocols import chain, profiles
from protocols.messages import Batch, ClosingRecord, PressRecord, Receipt, Record, WindowHealth, decode_record
from protocols.ratings import Invitation, Moment, Press, PressId

AGENT = "hall-pc-1"
WINDOW = "3"
DEVICE = "D0217"
PROFILE = ("house", 1)
T0_MS = 1_790_000_000_000
UP_MS = 5_000_000  # the PC has been on for a while
PATIENCE_S = 10  # for a busy machine; what is expected comes within milliseconds


class Alone(Cable):
    """A window alone on its line, and that line."""

    def __init__(self, window: str, device: str, box: Outbox, moment: Moment, profile: str = "house", **more: int):
        self.window = Window(window, device, box, moment, profile=profiles.shipped(profile), **more)
        super().__init__(self.window.profile, [self.window], moment)

    def health(self, moment: Moment) -> WindowHealth:
        return self.window.health(moment)


def at(ms: int = 0, boot: str = "pc-1", wall_jump_ms: int = 0) -> Moment:
    """`ms` after the beginning, on a PC that has been on all the time, whose wall clock may have been set."""
    return Moment(T0_MS + ms + wall_jump_ms, UP_MS + ms, boot)


def rebooted(ms: int, up_ms: int = 1_000, wall_jump_ms: int = 0) -> Moment:
    """`ms` after the beginning, on a PC that was started again `up_ms` ago."""
    return Moment(T0_MS + ms + wall_jump_ms, up_ms, "pc-2")


def press(count: int, button: int = 1, age_ms: int = 0, boot: int = 1, device: str = DEVICE) -> Press:
    return Press(PressId(device, boot, count), button, age_ms, b"$PRESS")


def invitation(number: int, opened: Moment, seconds: int = 30, window: str = WINDOW) -> Invitation:
    return Invitation(an_id(number), window, opened, seconds, case_no=f"case-{number}")


def an_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def keep(box: Outbox, moment: Moment, *presses: Press, window: str = WINDOW) -> int | None:
    return box.keep(window, PROFILE, presses, moment)


def held(box: Outbox) -> list[Record]:
    """Every record that is not receipted."""
    return [decode_record(row["body"].encode()) for row in box.records()]


def presses(box: Outbox) -> list[PressRecord]:
    return [record for record in held(box) if isinstance(record, PressRecord)]


def closings(box: Outbox) -> list[ClosingRecord]:
    return [record for record in held(box) if isinstance(record, ClosingRecord)]


def answers(box: Outbox) -> list[str | None]:
    """The invitation of each press, in order."""
    return [record.invitation for record in presses(box)]


def drain(box: Outbox, batches: int = 1_000_000) -> int:
    """Have a ledger that takes everything take so many batches; how many records that was."""
    taken = 0
    for _ in range(batches):
        batch = box.due()
        if batch is None:
            break
        box.settle(receipt_for(batch))
        taken += len(batch.records)
    return taken


def receipt_for(batch: Batch, records: int | None = None) -> Receipt:
    """What a ledger answers that took these records, or the first so many of them."""
    bodies = [bytes(body) for body in batch.records][:records]
    head = chain.heads(bytes.fromhex(batch.prev), bodies)[-1]
    return Receipt(batch.epoch, batch.first + len(bodies) - 1, head.hex())


def power_cut(path: Path, into: Path) -> Path:
    """The files as they lie on the disk at this moment, seen by a machine that starts again."""
    into.mkdir()
    for suffix in ("", "-wal"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            shutil.copy(part, into / part.name)
    return into / path.name


def look(path: Path, sql: str) -> list[tuple[object, ...]]:
    """What another program sees in the file."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


def until(true: Callable[[], object], within_s: float = PATIENCE_S) -> bool:
    """Wait for it; False if it does not come true."""
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
