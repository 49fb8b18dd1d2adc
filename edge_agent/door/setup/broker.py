"""The broker of an agent that runs already: given later than the guide, or another one, and tried before it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask, g, redirect, render_template, request, url_for

from protocols.errors import BadSettings
from protocols.words import Words

from ... import config
from ...config import TlsSettings
from ...setup import apply
from ...setup.broker import Answer, tried
from ...setup.desk import Desk
from ...setup.draft import LATER, Draft
from ...setup.typed import number_of
from .restart import restarting

_KEYS = {
    "uplink.host": "host",
    "uplink.port": "port",
    "uplink.password": "password",
    "uplink.password_file": "password",
    "uplink.tls.ca": "ca",
}


class Broker:
    def __init__(self, desk: Desk):
        self._desk = desk

    def add(self, app: Flask) -> None:
        app.add_url_rule("/setup/broker", "broker", self.broker, methods=["GET", "POST"])

    def broker(self) -> Any:
        if self._desk.settings is None:
            return redirect(url_for("guide"))
        if request.method == "GET":
            return self._page(self._in_force(self._desk.settings))
        given = self._given()
        port = number_of(request.form.get("port", "").strip())
        wrong = {} if given.host else {"host": "请填主机名或地址 / give a host name or an address"}
        if port is None or not 0 < port < 65_536:
            wrong["port"] = "应为 1 到 65535 / expected 1 to 65535"
        if wrong:
            return self._page(given, wrong), 422
        if request.form.get("do") == "test":
            answer = self._tried(given)
            return self._page(given, {} if answer.well else {answer.field: _SEE}, answer)
        try:
            self._desk.apply_broker(given)
        except BadSettings as error:
            told = apply.by_key(error)
            return self._page(given, {_KEYS.get(key, ""): words for key, words in told.items()}), 422
        except OSError as error:
            return self._page(given, {"": apply.not_written(error)}), 507
        self._desk.typed.forget(g.token)
        return restarting(self._desk, url_for("home"))

    def _page(self, shown: Draft, wrong: Mapping[str, str | Words] | None = None, answer: Answer | None = None) -> str:
        # The password goes back to nobody: the form carries where it is kept.
        typed = self._desk.typed.keep(g.token, shown.password) if shown.password else ""
        return render_template(
            "setup/broker.html", draft=shown, wrong=wrong or {}, answer=answer, typed=typed, has=self._has_password
        )

    @property
    def _has_password(self) -> bool:
        settings = self._desk.settings
        return settings is not None and bool(settings.uplink.password or settings.uplink.password_file)

    def _in_force(self, settings: config.Settings) -> Draft:
        uplink = settings.uplink
        return Draft(
            agent=settings.agent,
            host="" if uplink.host == LATER else uplink.host,
            port=uplink.port,
            tls=uplink.tls is not None,
            ca=uplink.tls.ca if uplink.tls is not None else "",
        )

    def _given(self) -> Draft:
        form, settings = request.form, self._desk.settings
        assert settings is not None
        port = number_of(form.get("port", "").strip())
        return Draft(
            agent=settings.agent,
            host=form.get("host", "").strip(),
            port=port if port is not None else settings.uplink.port,
            password=form.get("password", "") or self._desk.typed.of(g.token, form.get("typed", "")) or "",
            tls=bool(form.get("tls")),
            ca=form.get("ca", "").strip(),
        )

    def _tried(self, given: Draft) -> Answer:
        settings, folder = self._desk.settings, self._desk.place.folder
        assert settings is not None
        uplink = settings.uplink
        try:
            context = config.tls_context(TlsSettings(ca=given.ca), folder) if given.tls else None
        except BadSettings as error:
            return Answer(False, error.mistakes[0].words, "ca")
        try:
            # Only where none was typed: whoever types a new one does so because the old is of no use.
            word = given.password or config.secret("uplink.password", uplink.password, uplink.password_file, folder)
        except BadSettings as error:
            return Answer(False, error.mistakes[0].words, "password")
        return tried(given.host, given.port, given.agent, word, context)


_SEE = "见上面的说明 / see what is said above"
