"""The guide: from an empty folder, or a running agent, to the first press that is kept. One decision a screen."""

from __future__ import annotations

from typing import Any

from flask import Flask, redirect, url_for

from ....setup.desk import Desk
from ....setup.draft import Draft
from .bind import Bind
from .device import WhereItIs
from .learn import Learn
from .name import ThisAgent
from .trial import Trial
from .walk import NO_LINE, Walk


def add(app: Flask, desk: Desk) -> None:
    """The guide's pages."""
    walk = Walk(desk)
    Way(walk).add(app)
    for step in (ThisAgent(walk), WhereItIs(walk), Learn(walk), Bind(walk), Trial(walk)):
        step.add(app)


class Way:
    """Which step is next."""

    def __init__(self, walk: Walk):
        self._walk = walk

    def add(self, app: Flask) -> None:
        app.add_url_rule("/setup/guide/", "guide", self.first)
        app.add_url_rule("/setup/guide/new", "guide.new", self.anew, methods=["POST"])

    def first(self) -> Any:
        """Where the guide was left."""
        found, running = self._walk.draft(), self._walk.desk.place.running
        if found.applied and running is not None:
            return redirect(url_for("guide.try"))
        if running is None and not (found.agent and (found.later or found.host)):
            return redirect(url_for("guide.name"))
        if self._walk.learning:
            return redirect(url_for("guide.learn"))
        if not found.bind and found.kind != "screen":
            return redirect(url_for("guide.device"))
        return redirect(url_for("guide.bind" if found.profile or found.kind in NO_LINE else "guide.bytes"))

    def anew(self) -> Any:
        """Another window, from its first screen; its hall is the one of the window before."""
        desk = self._walk.desk
        hall = desk.drafts.read().hall
        desk.bench.clear()
        desk.drafts.forget()
        if hall:
            desk.drafts.keep(Draft(hall=hall))
        return redirect(url_for("guide"), 303)
