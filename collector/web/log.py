"""What everybody did, for auditors and administrators: by person, action and day, and as a table to take along."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, render_template, request, stream_with_context

from ..ledger.tally import DAY_MS, ZONE_MS, day_number, second_text
from ..people.log import ACTIONS, HERE, Log
from .columns import LOG, columns
from .deeds import deed, picks
from .keeper import Keeper
from .language import language, say
from .pages import number_asked
from .sheets import KINDS, Cell, Table, csv_of, xlsx_of
from .wrong import Wrong

_PAGE = 100
_PICKS = ("who", "action", "from", "to")
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
            lines=[(line, deed(line, language())) for line in lines],
            older=lines[-1].n if len(found) > _PAGE else None,
            whos=log.known("who"),
            did=log.known("action"),
            actions=ACTIONS,
            asked={name: request.args.get(name, "") for name in _PICKS},
            second_text=second_text,
            named=_named,
        )

    @app.get("/log.csv", defaults={"kind": "csv"})
    @app.get("/log.xlsx", defaults={"kind": "xlsx"})
    def log_table(kind: str) -> Response:
        keeper.person("auditor")
        asked = _asked()
        keeper.note("log_exported", picks({name: request.args.get(name, "") for name in _PICKS}))
        table = Table("audit-log", say("审计日志 / audit log"), say("说明 / about"), columns(*LOG), _rows(log, asked))
        return Response(
            stream_with_context((csv_of if kind == "csv" else xlsx_of)(table)),
            content_type=KINDS[kind],
            headers={"Content-Disposition": f"attachment; filename=audit-log.{kind}"},
        )


def _rows(log: Log, asked: dict[str, Any]) -> Iterator[list[Cell]]:
    before = None
    while lines := log.lines(_EXPORTED, **asked, before=before):
        for line in lines:
            words = deed(line, language()).words
            yield [line.n, line.at_ms, _named(line.who), words, say(line.address), line.action, line.about]
        before = lines[-1].n


def _named(who: str) -> str:
    """Whoever did it, in one language: lines of the command line have both, and never change."""
    if not who.endswith(HERE):
        return who
    return f"{who.removesuffix(HERE)} {say('(本机) / (on this machine)')}"


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
