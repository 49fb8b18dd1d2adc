"""Where somebody stands in the guide: the answers by now, the agent beside it, and each step's screen around them."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import render_template

from protocols.ratings import Level

from ....doctor.learn.meanings import LETTERS
from ....lines import Line
from ....setup.desk import Desk, begun
from ....setup.draft import Draft
from ....setup.found import in_use

STEPS = ("name", "device", "bytes", "bind", "try")
NO_LINE = ("screen", "udp", "hid")
"""Devices whose bytes nobody has to look at: each has the one profile."""


class Walk:
    """One for each setup page; every step is given it."""

    def __init__(self, desk: Desk):
        self.desk = desk

    def draft(self) -> Draft:
        found = self.desk.drafts.read()
        if not found.began_ms:
            found = self.note(begun(found, self.now_ms()))
        settings = self.desk.settings
        return found if settings is None else msgspec.structs.replace(found, agent=settings.agent)

    def keep(self, found: Draft, **more: Any) -> Draft:
        """Put these answers on the disk. OSError if they cannot be written."""
        return self.desk.drafts.keep(msgspec.structs.replace(found, **more))

    def note(self, found: Draft, **more: Any) -> Draft:
        """The same for what nobody has typed: a disk without room costs no more than this."""
        try:
            return self.keep(found, **more)
        except OSError:
            return msgspec.structs.replace(found, **more)

    def now_ms(self) -> int:
        return self.desk.place.now().wall_ms

    def page(self, step: str, **more: Any) -> str:
        """The screen of this step; `page` names another template than the step's own."""
        found = self.draft()
        steps = [each for each in STEPS if each != "bytes" or found.kind not in NO_LINE]
        if self.desk.place.running is not None and not (found.applied and found.first):
            steps.remove("name")
        given = {"steps": steps, "step": step, "draft": found, **more}
        return render_template(f"setup/{more.get('page', step)}.html", **given)

    @property
    def lines(self) -> tuple[Line, ...]:
        """Of the agent that runs; none where there is none yet."""
        running = self.desk.place.running
        return tuple(running.lines) if running is not None else ()

    def line_of(self, found: Draft) -> Line | None:
        """The line of this agent that has the port already."""
        return in_use(found.bind, self.lines) if self.lines else None

    @property
    def learning(self) -> bool:
        """Whether a lesson is being held, or what came of it waits to be used."""
        lesson = self.desk.bench.lesson
        return lesson is not None and (lesson.alive or lesson.stage.proposal is not None)


def levels() -> list[tuple[str, str, str]]:
    """Each level with its words."""
    return [(name, Level(name).zh, name.replace("_", " ")) for name in LETTERS.values()]
