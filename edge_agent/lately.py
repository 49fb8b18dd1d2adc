"""The last lines of the log, in memory, for a person at the setup page: bounded, and never more than the log says."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass

_LINES_MAX = 500  # a day of a quiet hall, a bad hour of a loud one; a tenth of a megabyte
_LINE_MAX = 2_000  # characters; a traceback's end says what it was


@dataclass(frozen=True)
class Line:
    """One line of the log."""

    at_ms: int
    level: str
    name: str
    text: str


class Lately(logging.Handler):
    """Keeps what is logged, the newest last."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[Line] = deque(maxlen=_LINES_MAX)

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)[-_LINE_MAX:]
        self._lines.append(Line(int(record.created * 1000), record.levelname.lower(), record.name, text))

    def lines(self, least: int = logging.DEBUG) -> list[Line]:
        """Those of this level or graver, the newest first."""
        names = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}
        return [line for line in reversed(list(self._lines)) if names.get(line.level, logging.INFO) >= least]
