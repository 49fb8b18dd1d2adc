"""Tables to take away: how the windows stand, the ratings of some days, the lines of the reconciliation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from flask import Flask, Response, request, stream_with_context

from ..directory import Directory
from ..ledger.overview import Overview
from ..ledger.tally import day_number, day_of, day_text, time_text
from ..reconcile.balance import NUMBERS, balance
from ..windows.live import Live
from ..windows.standing import STATES
from . import sheets
from .gate import Gate
from .language import say
from .sheets import Cell
from .words import WORDS, said
from .wrong import Wrong

_DAYS_MAX = 93  # a quarter
_ROWS_MAX = 1_000_000  # what a sheet has room for
_AT_ONCE = 3  # each is a long walk through the ledger; nobody else may have to wait for it
_AGAIN_S = 10
_KINDS = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class _Table(NamedTuple):
    name: str
    head: Sequence[str]
    rows: Iterable[Sequence[Cell]]


def add(
    app: Flask,
    live: Live,
    overview: Overview,
    directory: Directory,
    now_ms: Callable[[], int],
    gate: Gate,
) -> None:
    """Add `/export/<table>.<csv or xlsx>` to `app`."""
    running = threading.BoundedSemaphore(_AT_ONCE)

    @app.get("/export/windows.<kind>")
    def export_windows(kind: str) -> Response:
        gate.person()
        at_ms = now_ms()
        stamp = time_text(at_ms).replace(" ", "-").replace(":", "")
        return _sent(kind, _Table(f"windows-{stamp}", _words(_WINDOWS), _window_rows()))

    @app.get("/export/ratings.<kind>")
    def export_ratings(kind: str) -> Response:
        text = request.args.get("text") == "1"
        # What a citizen wrote may name somebody: only for those whose work it is.
        gate.person("operator") if text else gate.person("operator", "auditor")
        first, last = _days(now_ms())
        number = overview.tables.count(first, last)
        if number > _ROWS_MAX:
            raise Wrong(400, "from", f"{number} 条, 至多 {_ROWS_MAX}, 请选较少的天 / too many: choose fewer days")
        name = f"ratings-{day_text(first)}-{day_text(last)}"
        gate.note("export", f"{name}{' with text' if text else ''} ({number})")
        head = _words(_RATINGS if text else [each for each in _RATINGS if each != _TEXT])
        return _sent(kind, _Table(name, head, _rating_rows(first, last, text)))

    @app.get("/export/reconcile.<kind>")
    def export_reconcile(kind: str) -> Response:
        gate.person()
        first, last = _days(now_ms())
        found = balance(overview.days, directory, now_ms(), first, last, request.args.get("window", ""))
        rows = (
            [
                line["day"],
                line["hall"] or "",
                line["number"] or "",
                line["agent"],
                line["window"],
                *(line[name] for name in NUMBERS),
                sum(line["unexplained"].values()),
            ]
            for line in found["days"]
        )
        return _sent(kind, _Table(f"reconcile-{day_text(first)}-{day_text(last)}", _words(_RECONCILE), rows))

    def _window_rows() -> Iterable[Sequence[Cell]]:
        for line in live.look().lines:
            yield [
                line.hall,
                line.number,
                line.agent,
                line.window,
                line.device,
                say(STATES[line.standing.state].name),
                say(line.standing.words),
                line.ratings,
                time_text(line.last_ms) if line.last_ms else "",
                time_text(line.oldest_ms) if line.oldest_ms else "",
            ]

    def _rating_rows(first: int, last: int, text: bool) -> Iterable[Sequence[Cell]]:
        for row in overview.tables.ratings(first, last):
            yield [
                row["id"],
                time_text(row["pressed_ms"]),
                row["hall"],
                row["number"],
                row["agent"],
                row["window"],
                row["device"],
                row["channel"],
                say(said(WORDS, row["level"])),
                row["tags"],
                *([row["text"]] if text else []),
                say(said(WORDS, row["state"])),
                say(said(WORDS, row["reason"])),
                time_text(row["made_ms"]),
                time_text(row["settled_ms"]) if row["settled_ms"] else "",
            ]

    def _sent(kind: str, table: _Table) -> Response:
        if kind not in _KINDS:
            raise Wrong(404, "", "只有 csv 和 xlsx / only csv and xlsx")
        if not running.acquire(blocking=False):
            response = Response(say("正在为别人导出, 请稍后再试 / others are exporting, try again soon"), 503)
            response.headers["Retry-After"] = str(_AGAIN_S)
            return response
        if kind == "csv":
            body = sheets.csv_of(table.head, table.rows)
        else:
            body = sheets.xlsx_of(table.name.split("-")[0], table.head, table.rows)
        response = Response(stream_with_context(body), content_type=_KINDS[kind])
        response.call_on_close(running.release)
        response.headers["Content-Disposition"] = f'attachment; filename="{table.name}.{kind}"'
        return response


def _days(now_ms: int) -> tuple[int, int]:
    """The days that are asked for, today's if none are."""
    today = day_of(now_ms)
    first, last = (_day(name, today) for name in ("from", "to"))
    if not 0 <= last - first < _DAYS_MAX:
        raise Wrong(400, "from", f"1–{_DAYS_MAX} 天 / 1–{_DAYS_MAX} days")
    return first, last


def _day(name: str, today: int) -> int:
    text = request.args.get(name, "")
    try:
        return day_number(text) if text else today
    except ValueError as error:
        raise Wrong(400, name, f"{name} 应为日期, 如 2026-11-24 / must be a day, as in 2026-11-24") from error


def _words(heads: Sequence[str]) -> list[str]:
    return [say(each) for each in heads]


_TEXT = "原话 / in their own words"
_WINDOWS = (
    "大厅 / hall",
    "窗口 / window",
    "代理 / agent",
    "代理中的窗口 / agent's window",
    "评价器 / device",
    "状态 / state",
    "说明 / why",
    "今日评价 / ratings today",
    "最近评价 / last rating",
    "最早待上交 / oldest waiting",
)
_RATINGS = (
    "编号 / id",
    "按下 / pressed",
    "大厅 / hall",
    "窗口 / window",
    "代理 / agent",
    "代理中的窗口 / agent's window",
    "评价器 / device",
    "渠道 / channel",
    "满意度 / level",
    "评价标签 / tags",
    _TEXT,
    "去向 / state",
    "原因 / reason",
    "入账 / in the ledger",
    "办结 / settled",
)
_RECONCILE = (
    "日期 / day",
    "大厅 / hall",
    "窗口 / window",
    "代理 / agent",
    "代理中的窗口 / agent's window",
    "评价器 / device",
    "不计数的评价器 / device that does not count",
    "记录 / records",
    "账本 / ledger",
    "评价 / ratings",
    "已接收 / accepted",
    "待处理 / parked",
    "等待 / waiting",
    "无法解释 / unexplained",
)
