"""What the setup page is given: where the settings lie, the agent that runs if one does, and how to restart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from protocols.ratings import Moment

from ..config import Settings
from ..details import CaseDetails
from ..lately import Lately
from ..lines import Line
from ..outbox import Outbox
from ..uplink import Uplink
from ..window import Window


@dataclass(frozen=True)
class Running:
    """The agent that this page stands beside."""

    settings: Settings
    outbox: Outbox
    lines: Sequence[Line]
    uplink: Uplink
    details: CaseDetails | None

    @property
    def windows(self) -> list[Window]:
        return [window for line in self.lines for window in line.windows]


@dataclass(frozen=True)
class Place:
    """One setup page. `running` is None where there are no settings yet: the guide alone."""

    file: Path
    now: Callable[[], Moment]
    lately: Lately
    again: Callable[[Path | None], None]
    """Ends this program and starts it again with the settings as they are then; with a file that was kept, goes back to
    that one if the start fails."""
    door_host: str = "127.0.0.1"
    running: Running | None = None

    @property
    def folder(self) -> Path:
        return self.file.parent
