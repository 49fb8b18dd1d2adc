"""The operators' page and the API. The only user of Flask here."""

from __future__ import annotations

import errno
import logging
import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from flask import Flask, Response, render_template, request, send_from_directory
from waitress.server import create_server
from werkzeug.exceptions import MethodNotAllowed

from protocols.bodies import BadBody, json_of
from protocols.cases import case_of
from protocols.ratings import Case

from ..alerts.alerts import Alerts
from ..directory import Directory
from ..ledger.channels import Channels
from ..ledger.desk import Desk
from ..ledger.file import FULL, READ_ONLY
from ..ledger.intake import Intake
from ..ledger.overview import Overview
from ..ledger.tally import day_number, day_of, day_text, time_text
from ..mending.draws import Draws
from ..mending.mendings import Mendings
from ..reconcile import reconcile
from ..reconcile.balance import balance
from ..reconcile.words import REASONS as DIFFERENCES
from ..reconcile.words import UNEXPLAINED
from ..statistics import Statistics
from ..windows.past import Past
from . import alerts as alerting
from . import board, desk_pages, exports, healthz, language, log, metrics, odd, people, windows
from . import channels as others
from . import desk as desks
from . import draws as drawing
from . import mending as mending_pages
from . import statistics as figures
from .channels import Client
from .keeper import Keeper, wants_page
from .shown import Shown, in_words
from .wrong import EXCHANGED, Wrong

# That a request waits a moment for a thread is no news: a page asks for several things at once.
logging.getLogger("waitress.queue").setLevel(logging.ERROR)

THREADS = board.STREAMS_MAX + 32  # a stream has a thread for as long as it is open, and the API must never wait for one
_CASES_MAX = 500
BODY_MAX = 1024 * 1024  # so many cases of a kilobyte each, with room
_CONNECTIONS_MAX = 1000  # a browser has several for a page, and keeps them; waitress would stop at a hundred
_DAYS = 7  # what the page of the reconciliation shows unless it is asked for more
_LINES_MAX = 500  # of that page: more are not read by anybody, and the figures above are of all

_WHY = {
    FULL: ("中心存储已满", "the centre's storage is full"),
    READ_ONLY: ("中心存储只读", "the centre's storage is read-only"),
}
_NO_ROOM = 507
_BEHIND: dict[str, Any] = {
    "trusted_proxy_count": 1,
    "trusted_proxy_headers": {"x-forwarded-for", "x-forwarded-proto"},
}
_POLICY = "default-src 'self'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_LOOK = str(resources.files("protocols").joinpath("look"))
"""What the pages of both doors wear."""


@dataclass(frozen=True)
class Works:
    """What is done about ratings once they are in the ledger, and what is counted of them."""

    mendings: Mendings
    draws: Draws
    statistics: Statistics


def create_app(
    overview: Overview,
    intake: Intake,
    desk: Desk,
    channels: Channels,
    directory: Directory,
    gate: Keeper,
    clients: Sequence[Client],
    now_ms: Callable[[], int],
    case_lacks: Callable[[Case], tuple[str, ...]] = lambda _case: (),
    checkpoint: Callable[[], dict[str, Any] | None] = lambda: None,
    alerts: Alerts | None = None,
    connected: Callable[[], bool | None] = lambda: None,
    forwards: bool = False,
    works: Works | None = None,
    past: Past | None = None,
) -> Flask:
    """The collector's web application, at whose door `gate` stands. `case_lacks` tells what the province will miss in a
    case; `checkpoint` how the daily checkpoints stand, see `Daily.state`; `connected` whether the broker is; `forwards`
    whether there is a province."""
    app = Flask(__name__)
    # Chinese that a person reads with curl must not be \\uXXXX.
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.config["MAX_CONTENT_LENGTH"] = BODY_MAX

    shown = Shown(overview, directory, now_ms, checkpoint, desk.count)

    def allowed() -> None:
        """Programs change things with the token; whoever is signed in may look."""
        if not gate.token_shown() and (request.method != "GET" or gate.who() is None):
            raise Wrong(401, "Authorization", "令牌不对 / wrong token, expected Bearer <web.token>")

    def reads() -> None:
        """What may name somebody is for programs, and for those whose work it is."""
        allowed()
        if not gate.token_shown():
            gate.person("operator", "auditor")

    @app.errorhandler(Wrong)
    def wrong(error: Wrong) -> tuple[str | dict[str, Any], int]:
        if wants_page():
            return render_template("wrong.html", message=str(error), status=error.status), error.status
        return error.body, error.status

    @app.errorhandler(BadBody)
    def bad_body(error: BadBody) -> tuple[str | dict[str, Any], int]:
        return wrong(Wrong(400, error.field, error.message))

    @app.errorhandler(sqlite3.OperationalError)
    def no_room(error: sqlite3.OperationalError) -> tuple[dict[str, Any], int]:
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
            raise error
        return _no_room(FULL), _NO_ROOM

    @app.errorhandler(404)
    def nothing(_error: Exception) -> tuple[str | dict[str, Any], int]:
        return wrong(Wrong(404, "", "没有这个地址 / no such address"))

    @app.errorhandler(405)
    def not_so(error: MethodNotAllowed) -> tuple[str | dict[str, Any], int, dict[str, str]]:
        answer, status = wrong(Wrong(405, "", "不支持这个方法 / this method is not supported here"))
        return answer, status, {"Allow": ", ".join(error.valid_methods or ())}

    @app.errorhandler(413)
    def too_long(_error: Exception) -> tuple[dict[str, Any], int]:
        return {"error": {"field": "", "message": f"请求过长, 至多 {BODY_MAX} 字节 / too long"}}, 413

    @app.context_processor
    def printed() -> dict[str, Any]:
        return {"now_text": lambda: time_text(now_ms())}  # a sheet of paper has no clock

    @app.get("/look/<path:name>")
    def look(name: str) -> Response:
        return send_from_directory(_LOOK, name)

    @app.get("/reconcile")
    def reconcile_page() -> str:
        at_ms = now_ms()
        first, last = _days()
        with overview.moment():
            if first is None and last is None:
                # The last days, and not all: a page is for a look, and the command line for the whole.
                first = overview.days.last_days(day_of(at_ms), _DAYS)
            found = balance(overview.days, directory, at_ms, first, last, _window())
        return render_template(
            "reconcile.html",
            **(found | {"days": found["days"][:_LINES_MAX], "agents": [_dated(each) for each in found["agents"]]}),
            unlisted=max(0, len(found["days"]) - _LINES_MAX),
            since=found["from"],
            window=_window(),
            windows=sorted(f"{agent}/{window}" for agent, window in directory.places),
            reasons=DIFFERENCES,
            where=UNEXPLAINED,
            today=day_text(day_of(at_ms)),
            tomorrow=day_text(day_of(at_ms) + 1),
        )

    @app.get("/api/v1/summary")
    def api_summary() -> dict[str, Any]:
        found: dict[str, Any] = shown.now()["summary"]
        return found

    @app.get("/api/v1/windows")
    def api_windows() -> dict[str, Any]:
        return {"windows": shown.now()["windows"]}

    @app.get("/api/v1/ratings")
    def api_ratings() -> dict[str, Any]:
        reads()
        return {"ratings": overview.last_ratings(_most())}

    @app.get("/api/v1/unratable")
    def api_unratable() -> dict[str, Any]:
        return {"unratable": in_words(overview.unratable())}

    @app.get("/api/v1/agents")
    def api_agents() -> dict[str, Any]:
        return {"agents": overview.agents()}

    @app.get("/api/v1/quarantine")
    def api_quarantine() -> dict[str, Any]:
        reads()
        return {"quarantine": overview.quarantined(_most())}

    @app.get("/api/v1/reconcile")
    def api_reconcile() -> dict[str, Any]:
        with overview.moment():
            counts = reconcile(overview, directory)
            return {**counts, **balance(overview.days, directory, now_ms(), *_days(), _window())}

    @app.post("/api/v1/cases")
    def api_cases() -> tuple[dict[str, Any], int]:
        allowed()
        cases = _cases(request.get_data())
        changed = intake.take_cases(cases, now_ms())
        lacking = [
            {"case_no": case.case_no, "service_number": case.service_number, "fields": fields}
            for case in cases
            if (fields := case_lacks(case))
        ]
        return {"taken": len(cases), "changed": changed, "lacking": lacking}, 200

    language.add(app)
    gate.keep(app)
    desk_pages.add(app, desk, directory, now_ms, gate)
    odd.add(app, overview, directory, gate)
    people.add(app, gate, now_ms)
    log.add(app, gate)
    live = board.add(app, shown, overview, directory, now_ms, gate)
    windows.add(app, live, shown, overview, directory, now_ms, gate, past)
    exports.add(app, live, overview, directory, desk, now_ms, gate, works)
    metrics.add(app, live, shown, overview, gate.may_measure, now_ms)
    healthz.add(app, overview, connected, forwards, now_ms)
    desks.add(app, desk, reads, _most, now_ms)
    others.add(app, channels, clients, now_ms)
    if alerts is not None:
        alerting.add(app, alerts, gate, now_ms)
    if works is not None:
        halls = sorted({place.hall for place in directory.places.values() if place.hall})
        drawing.add_api(app, works.draws, allowed, now_ms)
        figures.add_api(app, works.statistics, allowed, now_ms)
        mending_pages.add(app, works.mendings, halls, now_ms, gate)
        drawing.add(app, works.draws, works.mendings, now_ms, gate)
        figures.add(app, works.statistics, halls, now_ms, gate)

    @app.teardown_request
    def rested(_error: BaseException | None) -> None:
        overview.since.rest()

    app.after_request(_careful)
    return app


def create_shut(why: str) -> Flask:
    """What answers as long as the ledger has no room: that nothing is taken, and nothing lost. `why`: FULL or
    READ_ONLY."""
    app = Flask(__name__)
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.after_request(_careful)
    language.add(app)
    zh, en = _WHY[why]

    @app.get("/look/<path:name>")
    def look(name: str) -> Response:
        return send_from_directory(_LOOK, name)

    @app.get("/")
    @app.get("/board")
    def page() -> str:
        return render_template("shut.html", why=f"{zh} / {en}")

    @app.route("/<path:_path>", methods=["GET", "POST"])
    def shut(_path: str) -> tuple[dict[str, Any], int, dict[str, str]]:
        return _no_room(why), _NO_ROOM, {"Retry-After": "5"}

    return app


class Front:
    """The one application that a server has from its start to its end; `app` is what answers behind it just now."""

    def __init__(self, app: Flask):
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        return self.app(environ, start_response)


def _careful(response: Response) -> Response:
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = _POLICY
    # To ourselves only. Not no-referrer: with that a browser hides from us too that a form is our own page's.
    response.headers["Referrer-Policy"] = "same-origin"
    if not request.path.startswith(("/static/", "/look/")):
        response.headers["Cache-Control"] = "no-store"
    return response


def _no_room(why: str) -> dict[str, Any]:
    zh, en = _WHY[why]
    return {
        "error": {
            "code": why,
            "field": "",
            "message": f"{zh}, 没有收下, 请稍后再送 / {en}, not taken, send it again later",
        }
    }


def serve(app: Flask | Front, host: str, port: int, trusted_proxy: str = "") -> Any:
    """A server for this application, bound and not yet running: `.run()`, `.close()`, `.effective_port`. What
    `trusted_proxy` says of whom it speaks for, and whether they speak TLS with it, is believed, and nobody else's word.

    OSError names the address if it cannot be had.
    """
    v6 = ":" in host  # one kind of address only, or there would be two servers behind a name like localhost
    try:
        return create_server(
            app,
            host=host,
            port=port,
            ipv4=not v6,
            ipv6=v6,
            threads=THREADS,
            ident=None,
            clear_untrusted_proxy_headers=True,
            **(_BEHIND | {"trusted_proxy": trusted_proxy} if trusted_proxy else {}),
            connection_limit=_CONNECTIONS_MAX,
            # What is longer is taken by nobody, and must not lie on the disk meanwhile; a little longer gets our words.
            max_request_body_size=4 * BODY_MAX,
            # Not select(), which knows no file beyond number 1,023.
            asyncore_use_poll=True,
        )
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"web {host}:{port}") from error
    except ValueError as error:  # what waitress makes of a name that nobody knows
        raise OSError(errno.EADDRNOTAVAIL, str(error), f"web {host}:{port}") from error


def _dated(agent: dict[str, Any]) -> dict[str, Any]:
    """With its times as text: the page has no script that would write them."""
    times = {"in_flight_since_text": agent["in_flight_since_ms"], "heard_text": agent["heard_ms"]}
    return agent | {name: time_text(at_ms) if at_ms is not None else "" for name, at_ms in times.items()}


def _most() -> int:
    text = request.args.get("most", "20")
    if not re.fullmatch(r"[0-9]{1,3}", text) or int(text) < 1:
        raise Wrong(400, "most", "most 应为 1–999 / most must be 1–999")
    return int(text)


def _days() -> tuple[int | None, int | None]:
    first, last = _day("from"), _day("to")
    if first is not None and last is not None and first > last:
        raise Wrong(409, "from", EXCHANGED)
    return first, last


def _day(name: str) -> int | None:
    text = request.args.get(name, "")
    try:
        return day_number(text) if text else None
    except ValueError as error:
        raise Wrong(400, name, f"{name} 应为日期, 如 2026-11-24 / must be a day, as in 2026-11-24") from error


def _window() -> str:
    return request.args.get("window", "")


def _cases(body: bytes) -> list[Case]:
    """One case or a list of them; BadBody names the field, and never repeats what stood in it."""
    given = json_of(body)
    items = given if isinstance(given, list) else [given]
    if not 1 <= len(items) <= _CASES_MAX:
        raise Wrong(400, "", f"一次 1–{_CASES_MAX} 个办件 / 1–{_CASES_MAX} cases at once")
    return [case_of(item, f"[{at}]." if isinstance(given, list) else "") for at, item in enumerate(items)]
