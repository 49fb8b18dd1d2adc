"""The page that waits while the agent starts again with other settings."""

from __future__ import annotations

from flask import Response, render_template

from ...setup.desk import Desk


def restarting(desk: Desk, next_: str, elsewhere: str = "") -> Response:
    """The page that waits for the restart, which begins when it has been sent."""
    response = Response(render_template("setup/restarting.html", next=next_, elsewhere=elsewhere))
    response.call_on_close(desk.restart)
    return response
