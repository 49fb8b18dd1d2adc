"""Each page in one language at a time: Chinese unless its reader chose English, or has a browser that wants it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Flask, Response, g, request
from markupsafe import Markup

from protocols.words import Language, said_in, wanted

_COOKIE = "language"
_A_YEAR_S = 365 * 24 * 3600


def add(app: Flask) -> None:
    """Give the templates of `app` their words: `t(zh, en)`, `say("zh / en")`, `many`, `language`, and `other`, the
    link to this page in the other language."""

    @app.before_request
    def choose() -> None:
        g.language = wanted(
            request.args.get("lang", ""), request.cookies.get(_COOKIE, ""), request.headers.get("Accept-Language", "")
        )

    @app.context_processor
    def words() -> dict[str, Any]:
        return {
            "t": lambda zh, en: zh if language() == "zh" else en,
            "say": say,
            "many": many,
            "language": language(),
            "other": other(),
        }

    @app.after_request
    def keep(response: Response) -> Response:
        if request.args.get("lang") in ("zh", "en"):
            response.set_cookie(_COOKIE, g.language, max_age=_A_YEAR_S, httponly=True, samesite="Lax")
        response.vary.update(("Accept-Language", "Cookie"))
        return response


def _either(zh: str, en: str) -> str:
    return zh if language() == "zh" else en


def language() -> Language:
    """That of the request that is being answered."""
    chosen: Language = g.get("language", "zh")
    return chosen


def say(words: str) -> str:
    """The half of `Chinese / English` that this reader reads."""
    return said_in(words, language())


def many(number: int, one: str, more: str = "") -> str:
    """English knows of one thing and of several: `1 rating`, `2 ratings`. `more` where it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def other() -> Markup:
    """A link to this page in the other language."""
    to, name = ("en", "English") if language() == "zh" else ("zh", "中文")
    kept = [(key, value) for key, value in request.args.items(multi=True) if key != "lang"]
    return Markup('<a class="language" lang="{0}" hreflang="{0}" href="?{1}">{2}</a>').format(
        to, urlencode([*kept, ("lang", to)]), name
    )
