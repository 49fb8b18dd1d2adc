"""Signing in and out, the own password, and the page on which an administrator says who has which role."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, redirect, render_template, request

from ..ledger.tally import time_text
from ..people import NAME_MAX, Refused, passwords
from ..people.roles import ROLES, WORDS, NotSo
from .keeper import PASSWORD, SIGN_IN, Keeper, address

_LOCKED = "失败次数过多, 请在 {} 之后再试 / too many failures: try again after {}"
_OLD = "原密码不对 / the old password is wrong"
_NO = "用户名或密码不对 / wrong name or password"
_way = re.compile(r"/(?![/\\])[^\s\\]*\Z").match  # on this site, and nowhere else


def add(app: Flask, keeper: Keeper, now_ms: Callable[[], int]) -> None:
    """Put the pages into the application."""
    people = keeper.people

    @app.get(SIGN_IN)
    def sign_in_page() -> Any:
        return redirect(_to(), 303) if keeper.who() is not None else _sign_in()

    @app.post(SIGN_IN)
    def sign_in() -> Any:
        keeper.own_site()
        name, password = request.form.get("name", "")[: 4 * NAME_MAX], request.form.get("password", "")
        found = people.sign_in(name, password, address(), now_ms())
        if not isinstance(found, Refused):
            return keeper.begin(found, _to())
        if found.until_ms is None:
            return _sign_in(_NO, name), 401
        return _sign_in(_locked(found.until_ms), name), 429

    @app.post("/sign-out")
    def sign_out() -> Response:
        keeper.person()
        keeper.form()
        return keeper.end()

    @app.get(PASSWORD)
    def password_page() -> Any:
        keeper.person()
        return render_template("password.html", least=passwords.LEAST, mistake=None)

    @app.post(PASSWORD)
    def password() -> Any:
        name = keeper.person()
        keeper.form()
        given = {each: request.form.get(each, "") for each in ("old", "password", "again")}
        try:
            if given["password"] != given["again"]:
                raise NotSo("again", "两次输入的新密码不同 / the two new passwords differ")
            begun = people.change_password(name, given["old"], given["password"], address(), now_ms())
            if isinstance(begun, Refused):
                raise NotSo("old", _OLD if begun.until_ms is None else _locked(begun.until_ms))
        except NotSo as error:
            return render_template("password.html", least=passwords.LEAST, mistake=error), 400
        return keeper.begin(begun, "/")

    @app.get("/people")
    def people_page() -> Any:
        keeper.person("administrator")
        return _people()

    @app.post("/people")
    def add_person() -> Any:
        by = keeper.person("administrator")
        keeper.form()
        name, role = request.form.get("name", "").strip(), request.form.get("role", "")
        word = passwords.given_out()
        return _changed(lambda: people.add(name, role, word, by, address(), now_ms(), once=True), name, word)

    @app.post("/people/<name>/role")
    def set_role(name: str) -> Any:
        by = keeper.person("administrator")
        keeper.form()
        role = request.form.get("role", "")
        return _changed(lambda: people.set_role(name, role, by, address(), now_ms()), name)

    @app.post("/people/<name>/disabled")
    def set_disabled(name: str) -> Any:
        by = keeper.person("administrator")
        keeper.form()
        disabled = request.form.get("disabled") == "yes"
        return _changed(lambda: people.set_disabled(name, disabled, by, address(), now_ms()), name)

    @app.post("/people/<name>/password")
    def reset(name: str) -> Any:
        by = keeper.person("administrator")
        keeper.form()
        word = passwords.given_out()
        return _changed(lambda: people.set_password(name, word, by, address(), now_ms(), once=True), name, word)

    def _changed(change: Callable[[], object], name: str, word: str = "") -> Any:
        try:
            change()
        except NotSo as error:
            return _people(mistake=error), 400
        if word:
            return _people(name=name, word=word)  # not behind a redirect: it is shown this once
        return redirect("/people", 303)

    def _people(name: str = "", word: str = "", mistake: NotSo | None = None) -> str:
        return render_template(
            "people.html",
            people=people.listed(),
            roles=[(role, WORDS[role]) for role in ROLES],
            role_words=WORDS,
            name=name,
            word=word,
            mistake=mistake,
            time_text=time_text,
            name_max=NAME_MAX,
        )


def _sign_in(mistake: str = "", name: str = "") -> str:
    return render_template("sign_in.html", mistake=mistake, name=name, to=_to(), name_max=NAME_MAX)


def _to() -> str:
    to = request.values.get("to", "/")
    return to if _way(to) else "/"


def _locked(until_ms: int) -> str:
    at = time_text(until_ms + 59_999)  # the minute after it: whoever comes then is let in
    return _LOCKED.format(at, at)
