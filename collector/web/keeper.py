"""The door keeper of the operators' pages: who is asking, what they may do, and whether a form is our own.

Everything but a few addresses needs somebody who is signed in; what only reads the API may show the token instead.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256
from typing import Any, NoReturn
from urllib.parse import urlencode

from flask import Flask, Response, abort, g, redirect, render_template, request
from markupsafe import Markup

from ..people import People, SignedIn
from ..people.roles import WORDS, Person, Role
from .wrong import Wrong

SIGN_IN, PASSWORD = "/sign-in", "/password"
_OPEN = ("/look/", "/static/")
_BY_THEMSELVES = ("/healthz", "/metrics")  # the one tells no details, the other asks for the token itself
_BY_TOKEN = ("/api/v1/",)
_OF_CLIENTS = ("POST", "/api/v1/ratings")  # a client's name and secret, see channels.py
_ONCE = (PASSWORD, "/sign-out")  # what somebody may do whose password was given out
_FIRST = (
    "还没有可以登录的人。请在汇聚器所在的机器上添加第一位管理员: / Nobody can sign in yet. Add the first administrator,"
    " on the collector's own machine:"
)
FIRST_COMMAND = "collector people add NAME --role administrator"


class Keeper:
    """Keeps the door of one application; see `gate.Gate` for what pages ask of it."""

    def __init__(self, people: People, token: str, now_ms: Callable[[], int], metrics_token: str = ""):
        self.people = people
        self._token = token
        self._metrics_token = metrics_token
        self._now_ms = now_ms
        self._cookie = f"collector-{people.id[:8]}"

    def keep(self, app: Flask) -> None:
        """Stand at this application's door, and give its templates `person`, `may(*roles)` and `csrf()`."""
        app.before_request(self._let_in)
        app.context_processor(self._words)

    # ---- what pages ask

    def person(self, *roles: Role) -> str:
        """See `gate.Gate`."""
        who = self.who() or self._turn_away()
        if not who.may(*roles):
            raise Wrong(
                403, "role", "您的角色不能做这件事, 请找管理员 / your role may not do this: ask an administrator"
            )
        return who.name

    def form(self) -> None:
        """See `gate.Gate`."""
        self.own_site()
        given = request.headers.get("X-Form") or request.form.get("form", "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self._form_word().encode()):
            words = "页面已过期, 请返回、刷新后再试 / this page is out of date: go back, reload it and try again"
            raise Wrong(403, "form", words)

    def note(self, action: str, about: str = "") -> None:
        """See `gate.Gate`."""
        self.people.log.note(self.person(), action, about, address(), self._now_ms())

    # ---- what the pages of people ask besides

    def who(self) -> Person | None:
        """Whoever is signed in."""
        found: Person | None = g.get("person")
        return found

    def still_there(self) -> bool:
        """Whether whoever asked, some time ago, may still be answered: nobody has signed out, lost their role or been
        away for too long since. For answers that go on for hours."""
        return self.token_shown() or self.people.session(self._session_token(), False, self._now_ms()) is not None

    def own_site(self) -> None:
        """Refuse what another site's page has a browser send."""
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "same-origin")
        # The host alone: whoever stands before us and speaks TLS makes http of https.
        if site not in ("same-origin", "none") or (origin is not None and origin.partition("://")[2] != request.host):
            words = "请求来自别的网站, 未执行 / the request came from another site, nothing was done"
            raise Wrong(403, "Origin", words)

    def begin(self, signed_in: SignedIn, to: str) -> Response:
        """Send a browser to `to`, with its new session."""
        answer = redirect(to, 303)
        answer.set_cookie(
            self._cookie, signed_in.token, httponly=True, samesite="Strict", secure=request.is_secure, path="/"
        )
        return answer  # type: ignore[return-value]

    def end(self) -> Response:
        """End the session that asks."""
        self.people.sign_out(self._session_token(), address(), self._now_ms())
        answer = redirect(SIGN_IN, 303)
        answer.delete_cookie(self._cookie, path="/", httponly=True, samesite="Strict")
        return answer  # type: ignore[return-value]

    # ---- at the door

    def token_shown(self) -> bool:
        """Whether the request bears the API's token."""
        return _shows(self._token)

    def may_measure(self) -> bool:
        """Whether the request bears a token that figures are for: one that opens nothing else, or the API's."""
        return bool(self._metrics_token and _shows(self._metrics_token)) or self.token_shown()

    def _let_in(self) -> Any:
        path = request.path
        if path.startswith(_OPEN) or path in _BY_THEMSELVES:
            return None
        g.person = self.people.session(self._session_token(), _by_a_person(), self._now_ms())
        if path == SIGN_IN:
            return None if g.person is not None or not self.people.empty() else self._nobody_yet()
        if path.startswith(_BY_TOKEN) and "Authorization" in request.headers:
            return self._known_program()
        if g.person is None:
            if self.people.empty():
                return self._nobody_yet()
            self._turn_away()
        if g.person.once and path not in _ONCE:
            words = "请先更改发给您的密码 / change the password that you were given first"
            return redirect(PASSWORD, 303) if wants_page() else _wrong(Wrong(403, "password", words))
        return None

    def _known_program(self) -> Any:
        if (request.method, request.path) == _OF_CLIENTS or self.token_shown():
            return None
        return _wrong(Wrong(401, "Authorization", "令牌不对 / wrong token, expected Bearer <web.token>"))

    def _turn_away(self) -> NoReturn:
        if wants_page():
            way = request.full_path.rstrip("?") if request.method == "GET" else "/"
            abort(redirect(SIGN_IN if way == "/" else f"{SIGN_IN}?{urlencode({'to': way})}", 303))
        if request.path.startswith(_BY_TOKEN):
            words = "请登录, 或带令牌 Bearer <web.token> / sign in, or expected Bearer <web.token>"
            raise Wrong(401, "Authorization", words)
        raise Wrong(401, "", "请先登录 / sign in first")

    def _nobody_yet(self) -> Any:
        if wants_page():
            return render_template("nobody_yet.html", first=_FIRST, command=FIRST_COMMAND), 403
        return _wrong(Wrong(401, "Authorization", f"{_FIRST} {FIRST_COMMAND}"))

    def _words(self) -> dict[str, Any]:
        who = self.who()
        return {
            "person": who,
            "may": lambda *roles: who is not None and who.may(*roles),
            "role_names": WORDS,
            "csrf": lambda: Markup('<input type="hidden" name="form" value="{}">').format(self._form_word()),
            "form_word": self._form_word() if who is not None else "",
        }

    def _session_token(self) -> str:
        return request.cookies.get(self._cookie, "")

    def _form_word(self) -> str:
        # Whoever has read the file of sessions cannot make it: that has another hash of the same token.
        return sha256(b"form " + self._session_token().encode("utf-8", "replace")).hexdigest()


def _shows(token: str) -> bool:
    # WSGI hands headers over as latin-1, whatever they are.
    given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode("latin-1", "replace")
    return hmac.compare_digest(given, token.encode())


def address() -> str:
    """From where the request comes, as far as the network says."""
    return request.remote_addr or ""


def wants_page() -> bool:
    """Whether a person's browser asks for a page, and no program or script for data."""
    return "text/html" in request.headers.get("Accept", "") and not request.path.startswith(_BY_TOKEN)


def _by_a_person() -> bool:
    return wants_page() or request.method == "POST"


def _wrong(error: Wrong) -> tuple[dict[str, Any], int]:
    return error.body, error.status
