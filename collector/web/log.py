"""What everybody did, for auditors and administrators: by person, action and day, and as a table to take along."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, render_template, request

from ..ledger.tally import DAY_MS, ZONE_MS, day_number, time_text
from ..people.log import ACTIONS, Line, Log
from .keeper import Keeper
from .pages import number_asked
from .wrong import Wrong

_PAGE = 100
_EXPORTED = 1000  # lines at a time: a year's log is not held in memory at once


def add(app: Flask, keeper: Keeper) -> None:
    """Put the page into the application."""
    log = keeper.people.log

    @app.get("/log")
    def log_page() -> str:
        keeper.person("auditor")
        found = log.lines(_PAGE + 1, **_asked(), before=number_asked("before"))
        lines = found[:_PAGE]
        return render_template(
            "log.html",
            lines=lines,
            older=lines[-1].n if len(found) > _PAGE else None,
            whos=log.known("who"),
            did=log.known("action"),
            actions=ACTIONS,
            asked={name: request.args.get(name, "") for name in ("who", "action", "from", "to")},
            time_text=time_text,
        )

    @app.get("/log.csv")
    def log_table() -> Response:
        keeper.person("auditor")
        asked = _asked()
        keeper.note("log_exported", " ".join(f"{name}={value}" for name, value in request.args.items() if value))
        # A mark at the beginning: without it Excel takes Chinese for something else.
        return Response(
            _table(log, asked),
            mimetype="text/csv",
            headers={"Content-Disposition": "attachment; filename=audit-log.csv"},
        )


def _table(log: Log, asked: dict[str, Any]) -> Iterator[str]:
    yield "\ufeff" + _row(["n", "time UTC+8", "at_ms", "who", "action", "动作", "about", "address"])
    before = None
    while lines := log.lines(_EXPORTED, **asked, before=before):
        yield "".join(_row(_cells(line)) for line in lines)
        before = lines[-1].n


def _cells(line: Line) -> list[str]:
    said = ACTIONS.get(line.action, line.action)
    values = [str(line.n), time_text(line.at_ms), str(line.at_ms), line.who, line.action, said, line.about]
    # A table program runs what begins like this.
    return [f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t") else value for value in [*values, line.address]]


def _row(cells: list[str]) -> str:
    to = io.StringIO()
    csv.writer(to).writerow(cells)
    return to.getvalue()


def _asked() -> dict[str, Any]:
    first, last = _day("from"), _day("to")
    return {
        "who": request.args.get("who", ""),
        "action": request.args.get("action", ""),
        "first_ms": None if first is None else first * DAY_MS - ZONE_MS,
        "last_ms": None if last is None else (last + 1) * DAY_MS - ZONE_MS,
    }


def _day(name: str) -> int | None:
    text = request.args.get(name, "")
    try:
        return day_number(text) if text else None
    except ValueError as error:
        raise Wrong(400, name, f"{name} 应为日期, 如 2026-11-24 / must be a day, as in 2026-11-24") from error
