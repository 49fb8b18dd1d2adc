"""The program started again in its own place, so that a supervisor sees one that never ended; and back to what worked.

With other settings everything is another: ports, doors, threads. A new program has nothing left over of the old one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import msgspec

from protocols.errors import Mistake

REFUSED_FILE = "setup.refused"
_MARK = "EDGE_AGENT_APPLIED"
"""In the environment of a program that was started with new settings: the file to go back to, or nothing."""


@dataclass(frozen=True)
class Again:
    """A start with the settings as they are now. `kept` is the file to go back to if they cannot be used."""

    kept: Path | None = None

    def start(self) -> NoReturn:
        """Be that program. Returns to nobody."""
        arguments = [sys.executable, *("run" if each == "setup" else each for each in sys.orig_argv[1:])]
        arguments = [each for each in arguments if each != "--no-browser"]
        environment = {**os.environ, _MARK: str(self.kept or "")}
        sys.stdout.flush()
        sys.stderr.flush()
        if sys.platform == "win32":
            # There a program cannot take another's place: this one stays for the supervisor to see.
            sys.exit(subprocess.call(arguments, env=environment))  # noqa: S603 - our own command line
        os.execve(sys.executable, arguments, environment)  # noqa: S606 - the same

    def refused(self, file: Path, mistakes: list[Mistake]) -> None:
        """The settings in this file could not be used: those from before take their place, and the page says why."""
        told = [each.whole for each in mistakes]
        (file.parent / REFUSED_FILE).write_bytes(msgspec.json.encode(told))
        file.replace(file.with_name(f"{file.name}.refused"))
        if self.kept is not None and self.kept.exists():
            self.kept.replace(file)


def before() -> Again | None:
    """What to go back to, if this start is the first with new settings."""
    kept = os.environ.pop(_MARK, None)
    return None if kept is None else Again(Path(kept) if kept else None)
