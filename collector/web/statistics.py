"""Statistics for people and programs: a table, as CSV, as JSON, and on paper as a hall's monthly report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flask import Flask, Response, render_template, request

from ..ledger.tally import day_number, day_of, day_text, time_text
from ..mending.report import as_csv
from ..statistics import ITEMS_MAX, Statistics, TooMany
from ..statistics import words as w
from ..statistics.figures import BYS
from .columns import of_line
from .deeds import picks
from .gate import Gate
from .wrong import EXCHANGED, Wrong

_CSV = "text/csv; charset=utf-8"


def add_api(
    app: Flask,
    statistics: Statistics,
    allowed: Callable[[], None],
    now_ms: Callable[[], int],
) -> None:
    """Put the address for programs into the application; it needs the token."""

    @app.get("/api/v1/statistics")
    def api_statistics() -> dict[str, Any] | Response:
        allowed()
        found = _found(statistics, now_ms())
        return _csv(found) if _wants_csv() else found


def add(app: Flask, statistics: Statistics, halls: Sequence[str], now_ms: Callable[[], int], gate: Gate) -> None:
    """Put the page into the application; `halls` can be chosen."""

    @app.get("/statistics")
    def statistics_page() -> str | Response:
        gate.person()
        at_ms = now_ms()
        found = _found(statistics, at_ms)
        if _wants_csv():
            if found["by"] == "clerk":
                about = f"statistics-{found['from']}-{found['to']} {picks({'hall': found['hall']})}"
                gate.note("export", about.strip())
            return _csv(found)
        month = day_text(day_of(at_ms))[:8] + "01"
        before = day_number(month) - 1
        return render_template(
            "statistics.html",
            found=found,
            rows=[(of_line(found["by"], line), line) for line in found["lines"]],
            halls=halls,
            today=day_text(day_of(at_ms)),
            printed=time_text(at_ms),
            months=[(day_text(before)[:8] + "01", day_text(before)), (month, day_text(day_of(at_ms)))],
            w=w,
        )


def _found(statistics: Statistics, at_ms: int) -> dict[str, Any]:
    """What was asked for, of this month unless it is said."""
    today = day_text(day_of(at_ms))
    first, last = _day("from", today[:8] + "01"), _day("to", today)
    if first > last:
        raise Wrong(409, "from", EXCHANGED)
    by, hall = request.args.get("by", "hall"), request.args.get("hall", "")
    if by not in BYS:
        raise Wrong(400, "by", f"by: 应为 / must be {', '.join(BYS)}")
    if request.args.get("format", "") not in ("", "csv", "json"):
        raise Wrong(400, "format", "format: 应为 csv 或 json / must be csv or json")
    try:
        return statistics.of(first, last, by, hall, at_ms, ITEMS_MAX)  # type: ignore[arg-type]
    except TooMany as error:
        raise Wrong(400, "by", str(error)) from error


def _wants_csv() -> bool:
    return request.args.get("format") == "csv"


def _csv(found: dict[str, Any]) -> Response:
    answer = Response(as_csv(found["lines"], found["lines"][0] if found["lines"] else ()), content_type=_CSV)
    name = f"statistics-{found['from']}-{found['to']}-{found['by']}.csv"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _day(name: str, usual: str) -> int:
    text = request.args.get(name, "") or usual
    try:
        return day_number(text)
    except ValueError as error:
        raise Wrong(400, name, f"{name} 应为日期, 如 2026-11-24 / must be a day, as in 2026-11-24") from error
