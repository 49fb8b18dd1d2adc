"""An agent's side of the ledger: records, chained and batched as an outbox does it."""

from __future__ import annotations

import uuid

from protocols import chain
from protocols.messages import Batch, ClosingRecord, PressRecord, Record, batch_of, encode, encode_record

NOW_MS = 1_800_000_000_000


def press(count: int = 1, invitation: str | None = None, **other) -> PressRecord:
    """One press of button 1 at window w1, `count` seconds after NOW_MS."""
    at_ms = NOW_MS + count * 1000
    usual = {
        "window": "w1",
        "device": "D1",
        "boot": 1,
        "count": count,
        "button": 1,
        "pressed_ms": at_ms,
        "kept_ms": at_ms + 3,
        "mono_ms": count * 1000,
        "host_boot": "host-1",
        "profile": "house",
        "profile_version": 1,
        "raw": "2450",
        "invitation": invitation,
    }
    return PressRecord(**(usual | other))


def closing(invitation: str, case_no: str | None = None, **other) -> ClosingRecord:
    """The answered end of an invitation."""
    usual = {
        "window": "w1",
        "invitation": invitation,
        "outcome": "answered",
        "opened_ms": NOW_MS,
        "deadline_ms": NOW_MS + 60_000,
        "closed_ms": NOW_MS + 5000,
        "mono_ms": 5000,
        "host_boot": "host-1",
        "case_no": case_no,
    }
    return ClosingRecord(**(usual | other))


def rated(number: int, **other) -> list[Record]:
    """A press and the closing of its invitation, of case number C<number>."""
    return [press(number, f"i{number}", **other), closing(f"i{number}", f"C{number}")]


class Agent:
    """An outbox that never lets go: any stretch of its chain can be had as a batch."""

    def __init__(self, name: str = "hall-a", epoch: str | None = None):
        self.name = name
        self.epoch = epoch or str(uuid.uuid4())
        self.bodies: list[bytes] = []
        self.heads = [chain.genesis(name, self.epoch)]

    def write(self, *records: Record | bytes) -> Batch:
        """The batch of these new records. Bytes are a record of a kind that nobody knows yet."""
        first = len(self.bodies) + 1
        for record in records:
            self.bodies.append(record if isinstance(record, bytes) else encode_record(record))
            self.heads.append(chain.link(self.heads[-1], self.bodies[-1]))
        return self.batch(first, len(self.bodies))

    def batch(self, first: int, last: int, oldest: int | None = None) -> Batch:
        """Records `first` to `last`; `oldest` is what the agent still holds, `first` if not given."""
        bodies = self.bodies[first - 1 : last]
        return batch_of(self.epoch, first, self.heads[first - 1], self.heads[last], bodies, oldest or first)

    def sent(self, batch: Batch) -> list[tuple[str, Batch, bytes]]:
        """As the inbox hands it to `Intake.take`."""
        return [(self.name, batch, encode(batch))]
