"""What a check of a ledger says, and how much of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

FINDINGS_MAX = 100  # of each kind: after that a person knows enough, and a broken file must not fill a disk


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written: where, and what."""

    agent: str
    epoch: str
    seq: int
    what: str
    of: Literal["ledger", "log"] = "ledger"
    """The ledger itself, or the audit log beside it."""


@dataclass(frozen=True)
class Gap:
    """Records that an agent had let go of, or lost with its disk, and that never came: the ledger lacks them by its own
    word."""

    agent: str
    epoch: str
    first: int
    last: int


@dataclass(frozen=True)
class Mending:
    """Damage of the file that was mended: when (UTC), what it was, and where the damaged file lies."""

    at: str
    what: str
    aside: str


def enough(findings: Iterable[Finding | None]) -> list[Finding]:
    """The first hundred of each kind, in order: the same however the work was divided."""
    seen: dict[str, int] = {}
    kept = []
    for finding in findings:
        if finding is None:
            continue
        seen[finding.what] = seen.get(finding.what, 0) + 1
        if seen[finding.what] <= FINDINGS_MAX:
            kept.append(finding)
    return kept
