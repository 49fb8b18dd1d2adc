"""The guide's first step: what this agent is called, and which broker it hands over to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Flask, redirect, request, url_for

from protocols.errors import BadSettings
from protocols.words import Words

from .... import config
from ....config import TlsSettings
from ....page import OWN
from ....setup import apply, broker, draft, toml
from ....setup.draft import Draft
from ....setup.typed import number_of
from .walk import Walk

_KEYS = {"agent": "agent", "uplink.host": "host", "uplink.port": "port", "uplink.tls.ca": "ca"}


class ThisAgent:
    def __init__(self, walk: Walk):
        self._walk = walk

    def add(self, app: Flask) -> None:
        app.add_url_rule("/setup/guide/name", "guide.name", self.name, methods=["GET", "POST"])

    def name(self) -> Any:
        walk = self._walk
        if walk.desk.place.running is not None:
            return redirect(url_for("guide.device"))
        found = walk.draft()
        if not found.agent:
            found = walk.keep(found, agent=draft.agent_name())
        if request.method == "GET":
            return walk.page("name", answer=None, wrong={})
        found, wrong = self._named(found)
        if wrong:
            return walk.page("name", answer=None, wrong=wrong), 422
        if request.form.get("do") == "test":
            answer = self._tried(found)
            there = {} if answer.well else {answer.field: "见上面的说明 / see what is said above"}
            return walk.page("name", answer=answer, wrong=there)
        return redirect(url_for("guide.device"), 303)

    def _named(self, found: Draft) -> tuple[Draft, Mapping[str, str | Words]]:
        form = request.form
        later, tls = form.get("broker") == "later", bool(form.get("tls"))
        host, typed = form.get("host", "").strip(), number_of(form.get("port", "").strip())
        port = typed if typed is not None and typed < 65_536 else 0
        found = self._walk.keep(
            found,
            agent=form.get("agent", "").strip(),
            later=later,
            host=host,
            port=port or 1883,
            password=form.get("password", "") or found.password,
            tls=tls,
            ca=form.get("ca", "").strip(),
        )
        wrong = {} if later or host else {"host": "请填主机名或地址, 或选“以后再填” / give a host, or choose “later”"}
        if not later and not port:
            wrong["port"] = "应为 1 到 65535 / expected 1 to 65535"
        return found, {**self._mistakes(found), **wrong}

    def _mistakes(self, found: Draft) -> dict[str, Words]:
        """What the settings would say of the agent's part."""
        try:
            config.checked(toml.new_text(_with_a_page(found), 0).encode(), self._walk.desk.place.file)
        except BadSettings as error:
            told = apply.by_key(error)
            return {name: told[key] for key, name in _KEYS.items() if key in told}
        return {}

    def _tried(self, found: Draft) -> broker.Answer:
        try:
            context = config.tls_context(TlsSettings(ca=found.ca), self._walk.desk.place.folder) if found.tls else None
        except BadSettings as error:
            return broker.Answer(False, error.mistakes[0].words, "ca")
        return broker.tried(found.host, found.port, found.agent, found.password, context)


def _with_a_page(found: Draft) -> Draft:
    """The draft with a window that has no mistake of its own."""
    host = found.host or draft.LATER
    return msgspec.structs.replace(found, window="1", device="D1", kind="screen", profile=OWN, host=host)
