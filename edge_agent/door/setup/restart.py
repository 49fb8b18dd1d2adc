"""The page that is shown while the agent starts again with other settings."""

from __future__ import annotations

from flask import Response, render_template

from ...setup.desk import Desk


def restarting(desk: Desk, next_: str, elsewhere: str = "") -> Response:
    """The page that waits for the restart, which begins when it has been sent."""
    response = Response(render_template("setup/restarting.html", next=next_, elsewhere=elsewhere))
    response.call_on_close(desk.restart)
    return response


def closing(desk: Desk) -> Response:
    """The same where there is no setup page from now on: nothing waits for it."""
    response = Response(render_template("setup/restarting.html", closed=True))
    response.call_on_close(desk.restart)
    return response
