"""Text that stays text: what others wrote must never run in the spreadsheet of whoever opens a table."""

from __future__ import annotations

import unicodedata
from typing import TypeVar

_Cell = TypeVar("_Cell")
_RUNS = ("=", "+", "-", "@")
_ALONE = ("\t", "\r", "\n")  # some programs cut these off first, and look then


def runs(cell: str) -> bool:
    """Whether some spreadsheet takes it for a formula: the signs of full width are signs to those of East Asia."""
    return cell.startswith(_ALONE) or unicodedata.normalize("NFKC", cell.lstrip()[:1]) in _RUNS


def harmless(cell: _Cell) -> _Cell | str:
    """For CSV: text that would run gets a ' before it, everything else stays as it is."""
    return f"'{cell}" if isinstance(cell, str) and runs(cell) else cell
