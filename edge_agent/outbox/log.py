"""SQLite's write-ahead log, looked into before SQLite does; what is wrong with its bytes, `protocols.wal` says."""

from __future__ import annotations

import time
from pathlib import Path

from protocols.wal import log_is_cut

_SECOND_LOOK_S = 0.1  # longer than another process needs to begin its log anew


def log_of(path: Path) -> Path:
    """Where the log of this file lies."""
    return path.with_name(path.name + "-wal")


def stays_cut(log: Path) -> bool:
    """Whether commits are lost in this log, at a second look too."""
    # In the middle of another process's write the first may see half of it.
    before = log.read_bytes()
    if not log_is_cut(before):
        return False
    time.sleep(_SECOND_LOOK_S)
    return log.exists() and log.read_bytes() == before
