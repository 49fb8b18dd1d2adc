"""The door's pages in one language at a time: Chinese unless their reader chose English, or has a browser that does."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Flask, Response, g, request

from protocols.words import said_in, wanted

_COOKIE = "language"
_A_YEAR_S = 365 * 24 * 3600


def add(app: Flask) -> None:
    """Give the templates of `app` their words: `t(zh, en)`, `say("zh / en")`, `language`, and `other`: name, code and
    query of this page in the other language."""

    @app.context_processor
    def words() -> dict[str, Any]:
        g.language = wanted(
            request.args.get("lang", ""), request.cookies.get(_COOKIE, ""), request.headers.get("Accept-Language", "")
        )
        zh_shown = g.language == "zh"
        to, name = ("en", "English") if zh_shown else ("zh", "中文")
        kept = [(key, value) for key, value in request.args.items(multi=True) if key != "lang"]
        return {
            "t": lambda zh, en: zh if zh_shown else en,
            "say": lambda text: said_in(text, g.language),
            "language": g.language,
            "other": (name, to, urlencode([*kept, ("lang", to)])),
        }

    @app.after_request
    def keep(response: Response) -> Response:
        if request.args.get("lang") in ("zh", "en"):
            response.set_cookie(_COOKIE, request.args["lang"], max_age=_A_YEAR_S, httponly=True, samesite="Lax")
        return response
