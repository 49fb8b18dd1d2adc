"""Tables to take away, and the page that offers them: how the windows stand, the ratings of some days, what waits for
somebody, the statistics, the lines of the reconciliation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from flask import Flask, Response, render_template, request, stream_with_context

from ..directory import Directory
from ..ledger.desk import Desk
from ..ledger.overview import Overview
from ..ledger.tally import day_number, day_of, day_text
from ..people.roles import Role
from ..windows.live import Live
from . import sheets, taken
from .deeds import picks
from .gate import Gate
from .keeper import wants_page
from .language import say
from .sheets import Table
from .wrong import EXCHANGED, Wrong

DAYS_MAX = 93  # a quarter
_ROWS_MAX = 1_000_000  # what a sheet has room for
_AT_ONCE = 3  # each is a long walk through the ledger; nobody else may have to wait for it
_AGAIN_S = 10
_PIECES_MAX = 24


class Offer(NamedTuple):
    """One table of the page: who may have it, and whether it is of some days."""

    path: str
    name: str
    about: str
    roles: tuple[Role, ...] = ()
    dated: bool = True
    extra: str = ""


OFFERS = (
    Offer(
        "ratings",
        "评价 / ratings",
        "这些天的每一条评价; 没有办件、窗口人员和办事人 / every rating of these days; without case, clerk and citizen",
        ("operator", "auditor"),
    ),
    Offer(
        "ratings",
        "评价, 连同办事人原话 / ratings with what citizens wrote",
        "办事人写的文字可能写到人名, 请妥善保管 / what they wrote may name somebody: keep it with care",
        ("operator",),
        extra="text",
    ),
    Offer(
        "statistics", "统计 / statistics", "按大厅; 其他分法见统计页 / by hall; the page of the statistics has others"
    ),
    Offer("reconcile", "对账 / reconciliation", "每天每个窗口一行 / a line for each window and day"),
    Offer("windows", "窗口状况 / windows", "各窗口此刻的状态 / how each stands now", dated=False),
    Offer(
        "parked",
        "待处理的评价 / parked ratings",
        "此刻等人处理的, 原因和办法 / those that wait for somebody now, why, and what to do",
        ("operator", "auditor"),
        dated=False,
    ),
    Offer(
        "mending",
        "差评整改清单 / mending of bad ratings",
        "未办结的, 逾期最久的在前 / those that are open, the longest overdue first",
        ("operator", "auditor"),
        dated=False,
    ),
)


class BadDays(Wrong):
    """Days of which there can be no table; `first` and `last` where both are days."""

    def __init__(self, field: str, message: str, first: int | None = None, last: int | None = None):
        super().__init__(400, field, message)
        self.first, self.last = first, last


def add(
    app: Flask,
    live: Live,
    overview: Overview,
    directory: Directory,
    desk: Desk,
    now_ms: Callable[[], int],
    gate: Gate,
    works: taken.Works | None = None,
) -> None:
    """Add `/export` and `/export/<table>.<csv or xlsx>` to `app`."""
    running = threading.BoundedSemaphore(_AT_ONCE)

    @app.get("/export")
    def export_page() -> str:
        gate.person()
        return _page()

    @app.errorhandler(BadDays)
    def bad_days(error: BadDays) -> Any:
        return (_page(error) if wants_page() else error.body), error.status

    @app.get("/export/windows.<kind>")
    def export_windows(kind: str) -> Response:
        gate.person()
        return _sent(kind, lambda: taken.windows(live, now_ms()))

    @app.get("/export/ratings.<kind>")
    def export_ratings(kind: str) -> Response:
        text, window = request.args.get("text") == "1", request.args.get("window", "")
        # What a citizen wrote may name somebody: only for those whose work it is.
        gate.person("operator") if text else gate.person("operator", "auditor")
        first, last = _days(now_ms())
        number = overview.tables.count(first, last, window)
        if number > _ROWS_MAX:
            zh, en = f"{number} 条, 至多 {_ROWS_MAX} 条", f"{number} ratings, {_ROWS_MAX} at most"
            raise BadDays("from", f"{zh}, 请选较少的天 / {en}: choose fewer days")
        own = " with text" if text else ""
        about = _about(f"{_of_days('ratings', first, last)}{own} ({number})", {"window": window})
        return _sent(kind, lambda: taken.ratings(overview.tables, first, last, text, window, now_ms()), about)

    @app.get("/export/reconcile.<kind>")
    def export_reconcile(kind: str) -> Response:
        gate.person()
        first, last = _days(now_ms())
        window = request.args.get("window", "")
        return _sent(kind, lambda: taken.reconcile(overview, directory, first, last, window, now_ms()))

    @app.get("/export/parked.<kind>")
    def export_parked(kind: str) -> Response:
        gate.person("operator", "auditor")
        picked = {name: request.args.get(name, "") for name in ("reason", "hall", "level")}
        return _sent(kind, lambda: taken.parked(desk, [*picked.values()], now_ms()), _about("parked", picked))

    if works is not None:

        @app.get("/export/mending.<kind>")
        def export_mending(kind: str) -> Response:
            gate.person("operator", "auditor")
            picked = {name: request.args.get(name, "").strip() for name in ("hall", "number", "clerk")}
            tab = request.args.get("tab", "open")
            about = _about("mending", {"tab": tab, **picked})
            return _sent(kind, lambda: taken.mending(works.mendings, tab, picked, now_ms()), about)

        @app.get("/export/statistics.<kind>")
        def export_statistics(kind: str) -> Response:
            gate.person()
            first, last = _asked(now_ms())
            by, hall = request.args.get("by", "hall"), request.args.get("hall", "")
            about = _about(_of_days("statistics", first, last), {"hall": hall}) if by == "clerk" else ""
            return _sent(kind, lambda: taken.statistics(works.statistics, first, last, by, hall, now_ms()), about)

    def _page(mistake: BadDays | None = None) -> str:
        today = day_of(now_ms())
        month = day_number(day_text(today)[:8] + "01")
        return render_template(
            "export.html",
            offers=[each for each in OFFERS if works is not None or each.path not in ("statistics", "mending")],
            first=request.args.get("from") or day_text(month),
            last=request.args.get("to") or day_text(today),
            today=day_text(today),
            window=request.args.get("window", ""),
            days_max=DAYS_MAX,
            mistake=mistake,
            pieces=_pieces(mistake) if mistake else [],
            asked_for=next((each.name for each in OFFERS if f"/{each.path}." in request.path), ""),
            kept={name: request.args[name] for name in ("text", "window") if request.args.get(name)},
        )

    def _sent(kind: str, make: Callable[[], Table], about: str = "") -> Response:
        """The table that `make` makes. `about`: the words of the audit log, where cases, clerks or citizens' words
        leave the centre."""
        if kind not in sheets.KINDS:
            raise Wrong(404, "", "只有 csv 和 xlsx / only csv and xlsx")
        if not running.acquire(blocking=False):
            words = "正在为别人导出, 请稍等 10 秒再试 / others are exporting: wait ten seconds and try again"
            response = Response(render_template("wrong.html", message=words) if wants_page() else say(words), 503)
            response.headers["Retry-After"] = str(_AGAIN_S)
            return response
        try:
            table = make()
            if about:
                gate.note("export", about)
        except BaseException:
            running.release()
            raise
        body = (sheets.csv_of if kind == "csv" else sheets.xlsx_of)(table)
        response = Response(stream_with_context(body), content_type=sheets.KINDS[kind])
        response.call_on_close(running.release)
        response.headers["Content-Disposition"] = f'attachment; filename="{table.name}.{kind}"'
        return response


def _days(now_ms: int) -> tuple[int, int]:
    """The days that are asked for, today's if none are; of no more than a quarter."""
    first, last = _asked(now_ms)
    if last - first >= DAYS_MAX:
        asked = last - first + 1
        words = (
            f"所选 {asked} 天, 一次至多 {DAYS_MAX} 天, 请分几次导出"
            f" / {asked} days are chosen, {DAYS_MAX} at most at once: take them in pieces"
        )
        raise BadDays("from", words, first, last)
    return first, last


def _asked(now_ms: int) -> tuple[int, int]:
    today = day_of(now_ms)
    first, last = (_day(name, today) for name in ("from", "to"))
    if first > last:
        raise BadDays("from", EXCHANGED)
    return first, last


def _day(name: str, today: int) -> int:
    text = request.args.get(name, "")
    try:
        return day_number(text) if text else today
    except ValueError as error:
        raise BadDays(name, f"{name} 应为日期, 如 2026-11-24 / must be a day, as in 2026-11-24") from error


def _pieces(mistake: BadDays) -> Sequence[tuple[str, str]]:
    """The same days in pieces that can be had, the last ones first."""
    if mistake.first is None or mistake.last is None:
        return []
    lasts: Iterable[int] = range(mistake.last, mistake.first - 1, -DAYS_MAX)
    pieces = [(day_text(max(mistake.first, last - DAYS_MAX + 1)), day_text(last)) for last in lasts]
    return pieces[:_PIECES_MAX]


def _about(table: str, picked: Mapping[str, str]) -> str:
    return f"{table} {picks(picked)}".strip()


def _of_days(name: str, first: int, last: int) -> str:
    return f"{name}-{day_text(first)}-{day_text(last)}"
