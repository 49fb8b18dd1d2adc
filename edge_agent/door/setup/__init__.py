"""The setup page behind the agent's door: hall IT alone, with its own password, on this machine alone.

An application of its own, loaded at the first visit: an agent that nobody sets up carries none of it.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from flask import Flask, Response, abort, g, redirect, render_template, request, send_from_directory, url_for
from werkzeug.exceptions import HTTPException

from protocols import __version__
from protocols.errors import Mistake
from protocols.words import Words, said_in

from ...config import is_loopback
from ...hall_it import WORD_MIN, BadPassword
from ...setup import apply
from ...setup.desk import Desk
from ...setup.guard import LIFE_MS, is_from_us, is_ours
from ...setup.place import Place
from .. import language
from . import guide, home

_BODY_MAX = 60 * 1024  # an agent.toml of two hundred windows
_KEPT_S = 3600
_COOKIE, _FORM_COOKIE = "setup", "setup_form"
_LOOK = str(resources.files("protocols").joinpath("look"))
_OPEN = ("setup.password", "setup.sign_in", "static", "look", "alive", "first")
"""What is there before anybody has signed in."""


def create(place: Place) -> Flask:
    """The setup page of this place."""
    app = Flask(
        "edge_agent.door", template_folder="templates", static_folder="static/setup", static_url_path="/setup/static"
    )
    app.config["MAX_CONTENT_LENGTH"] = _BODY_MAX
    # Whoever waits for the restart has to have what waits: it cannot be asked for meanwhile.
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = _KEPT_S
    desk = Desk(place)
    language.add(app)
    _add_guard(app, desk)
    _add_words(app, desk)
    _add_errors(app)
    _add_sign_in(app, desk)
    guide.add(app, desk)
    home.add(app, desk)

    @app.get("/", endpoint="first")
    def first() -> Any:
        return redirect(url_for("home"))

    @app.get("/look/<path:name>", endpoint="look")
    def look(name: str) -> Response:
        return send_from_directory(_LOOK, name)

    @app.get("/setup/alive", endpoint="alive")
    def alive() -> dict[str, int]:
        """For a page that waits for the restart: another number is another start."""
        return {"started": desk.started_ms}

    return app


# ---- who is let in


def _add_guard(app: Flask, desk: Desk) -> None:
    @app.before_request
    def who() -> Any:
        if not is_ours(request.headers.get("Host", ""), request.environ["SERVER_PORT"], desk.place.door_host):
            return _wrong(421)
        g.token = request.cookies.get(_COOKIE, "")
        # Of a password file that cannot be read the look of the page that says so does not depend.
        asked = bool(g.token) and request.endpoint not in ("static", "look", "alive")
        g.signed_in = asked and desk.sessions.knows(g.token, desk.hall_it.mark, desk.place.now())
        g.form_cookie = request.cookies.get(_FORM_COOKIE, "") or desk.sessions.new_visitor()
        if request.method == "POST":
            _only_from_us(desk)
        if g.signed_in or request.endpoint in _OPEN:
            return None
        if request.path.endswith("/part"):
            abort(401)  # a part of a page: the page itself goes to sign in
        return redirect(url_for("setup.sign_in" if desk.hall_it.has_password() else "setup.password"))

    @app.after_request
    def careful(response: Response) -> Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        policy = "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'"
        response.headers["Content-Security-Policy"] = policy
        if request.endpoint not in ("static", "look"):
            response.headers["Cache-Control"] = "no-store"
        if not request.cookies.get(_FORM_COOKIE) and "form_cookie" in g and request.endpoint not in ("static", "look"):
            response.set_cookie(_FORM_COOKIE, g.form_cookie, httponly=True, samesite="Strict", path="/setup")
        return response


def _only_from_us(desk: Desk) -> None:
    if not is_from_us(request.headers.get("Origin"), request.headers.get("Host", "")):
        abort(403)
    if not desk.sessions.is_form_word(_form_of(), request.form.get("form_word", "")):
        abort(403)


def _form_of() -> str:
    # A session's forms are the session's alone: who signs in takes no word along from before.
    return str(g.token if g.signed_in else g.form_cookie)


def _add_sign_in(app: Flask, desk: Desk) -> None:
    @app.route("/setup/password", methods=["GET", "POST"], endpoint="setup.password")
    def password() -> Any:
        has = desk.hall_it.has_password()
        if has and not g.signed_in:
            return redirect(url_for("setup.sign_in"))
        if not has and (not is_loopback(request.remote_addr or "") or desk.settings is not None):
            # Whoever comes first from the network is not hall IT; nor is whoever sits at a PC that serves already.
            return render_template("setup/password.html", far=True), 403
        given = {"least": WORD_MIN, "change": has, "wrong": {}}
        if request.method == "GET":
            return render_template("setup/password.html", **given)
        # A page that was left open is not hall IT: whoever sits down at it does not know the old one.
        right, wait_s = _is_right(desk, request.form.get("old", "")) if has else (True, 0)
        wrong = {} if right else {"old": _slow_down(wait_s) if wait_s else _WRONG_WORD}
        word = request.form.get("word", "")
        if right and word != request.form.get("again", ""):
            wrong = {"again": "两次输入不同 / the two are not the same"}
        elif right:
            try:
                desk.hall_it.set_password(word)
                return _let_in(desk)
            except ValueError as error:
                wrong = {"word": str(error)}
        status = (429 if wait_s else 401) if "old" in wrong else 422
        return render_template("setup/password.html", **{**given, "wrong": wrong}), status

    @app.route("/setup/sign-in", methods=["GET", "POST"], endpoint="setup.sign_in")
    def sign_in() -> Any:
        if not desk.hall_it.has_password():
            return redirect(url_for("setup.password"))
        if request.method == "GET":
            return render_template("setup/sign_in.html", wrong="", wait_s=desk.tries.wait_s(desk.place.now()))
        right, wait_s = _is_right(desk, request.form.get("word", ""))
        if right:
            return _let_in(desk)
        page = render_template("setup/sign_in.html", wrong=_WRONG_WORD, wait_s=wait_s)
        return page, 429 if wait_s else 401, {"Retry-After": str(wait_s)} if wait_s else {}

    @app.post("/setup/sign-out", endpoint="setup.sign_out")
    def sign_out() -> Any:
        desk.sessions.end(g.token)
        desk.typed.forget(g.token)
        response = redirect(url_for("setup.sign_in"))
        response.delete_cookie(_COOKIE, path="/setup")
        return response


_WRONG_WORD = "口令不对 / the password is wrong"


def _slow_down(wait_s: int) -> str:
    return f"口令输错太多次, 请等 {wait_s} 秒再试 / too many wrong passwords: wait {wait_s} s before the next try"


def _is_right(desk: Desk, word: str) -> tuple[bool, int]:
    """Whether this is hall IT's password, and for how many seconds nobody may try another; while somebody may not, the
    right one is none either."""
    with desk.trying:
        wait_s = desk.tries.wait_s(desk.place.now())
        if not wait_s and desk.hall_it.holds(word):
            desk.tries.right()
            return True, 0
        if not wait_s:
            desk.tries.wrong(desk.place.now())
        return False, desk.tries.wait_s(desk.place.now())


def _let_in(desk: Desk) -> Any:
    response = redirect(url_for("home"), 303)
    token = desk.sessions.begin(desk.hall_it.mark, desk.place.now())
    response.set_cookie(_COOKIE, token, max_age=LIFE_MS // 1000, httponly=True, samesite="Strict", path="/setup")
    return response


# ---- what every page has


def _add_words(app: Flask, desk: Desk) -> None:
    @app.context_processor
    def given() -> dict[str, Any]:
        language_ = g.get("language", "zh")
        return {
            "w": lambda words: words.said(g.get("language", language_)),
            "told": _told,
            "clock_of": lambda at_ms: apply.clock_of(at_ms, desk.place.now().wall_ms),
            "form_word": desk.sessions.form_word(_form_of()) if "form_cookie" in g else "",
            "signed_in": g.get("signed_in", False),
            "running": desk.place.running is not None,
            "agent": desk.settings.agent if desk.settings is not None else "",
            "version": __version__,
            "started_ms": desk.started_ms,
        }


def _told(words: str | Words) -> str:
    """A message in the page's language. One that is text alone is whole where it is put together of several."""
    language_ = g.get("language", "zh")
    if isinstance(words, Words | Mistake):
        return words.said(language_)
    return words if words.count(" / ") > 1 else said_in(words, language_)


_WRONG = {
    400: ("请求有误", "this request is not right"),
    401: ("请重新登录", "please sign in again"),
    403: (
        "此表单不是本页发出的, 或已过期: 请返回, 刷新后再试",
        "this form is not from this page, or too old: go back, reload and try again",
    ),
    404: ("没有这个页面", "there is no such page"),
    405: ("没有这个操作", "that cannot be done here"),
    413: ("内容太长", "that is too long"),
    421: (
        "请用本机地址打开: http://127.0.0.1:端口/setup/",
        "open this page by this machine's own address: http://127.0.0.1:port/setup/",
    ),
}


def _wrong(code: int) -> Any:
    zh, en = _WRONG.get(code, ("出错了, 详见日志", "something went wrong, see the log"))
    return render_template("setup/wrong.html", words=f"{zh} / {en}"), code


def _add_errors(app: Flask) -> None:
    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Any:
        return _wrong(error.code or 500)

    @app.errorhandler(BadPassword)
    def password(error: BadPassword) -> Any:
        return render_template("setup/wrong.html", words=str(error)), 500

    @app.errorhandler(OSError)
    def disk(error: OSError) -> Any:
        return render_template("setup/wrong.html", words=apply.not_written(error)), 507
