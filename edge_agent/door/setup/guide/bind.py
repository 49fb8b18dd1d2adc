"""The guide's step that writes: which window the device is at, checked and put into agent.toml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask, redirect, request, url_for

from protocols.errors import BadSettings
from protocols.words import Words

from ....setup import apply, draft, toml
from ....setup.draft import Draft
from ....setup.typed import number_of
from ..restart import restarting
from .walk import Walk

_KEYS = {"id": "window", "device": "device", "port": "bind", "address": "address", "profile": "profile"}


class Bind:
    def __init__(self, walk: Walk):
        self._walk = walk
        self._desk = walk.desk

    def add(self, app: Flask) -> None:
        app.add_url_rule("/setup/guide/bind", "guide.bind", self.bind, methods=["GET", "POST"])

    def bind(self) -> Any:
        found = self._walk.draft()
        profile = self._desk.profile(found.profile)
        if profile is None:
            return redirect(url_for("guide.device"))
        if not found.device and found.window:
            found = self._walk.note(found, device=self._proposed(found, found.window))
        wrong: Mapping[str, str | Words] = {}
        status = 200
        if request.method == "POST":
            form = request.form
            address, window = form.get("address", "").strip(), form.get("window", "").strip()
            found = self._walk.note(
                found,
                window=window,
                device=form.get("device", "").strip() or self._proposed(found, window),
                address=number_of(address),
                hall=form.get("hall", "").strip(),
                number=form.get("number", "").strip(),
            )
            wrong, status = self._applied(found)
            if not wrong:
                return restarting(self._desk, url_for("guide.try"))
        text = self._desk.wanted(found, self._door_port)
        changes = toml.difference(self._desk.text, text)
        page = self._walk.page(
            "bind", profile=profile, wrong=wrong, changes=changes, refused=self._desk.refused,
            ending=draft.ending(found.kind), draft=found,
            follows=found.device in ("", self._proposed(found, found.window)),
        )  # fmt: skip
        return page, status

    def _proposed(self, found: Draft, window: str) -> str:
        return draft.device_id(window, found.kind, self._desk.settings)

    @property
    def _door_port(self) -> int:
        return int(request.environ["SERVER_PORT"])

    def _applied(self, found: Draft) -> tuple[Mapping[str, str | Words], int]:
        """What is wrong with it, and the answer's status; nothing is, if it is written."""
        try:
            self._desk.apply_draft(found, self._door_port)
        except BadSettings as error:
            return {_name_of(key): words for key, words in apply.by_key(error).items()}, 422
        except OSError as error:
            return {"": apply.not_written(error)}, 507
        return {}, 200


def _name_of(key: str) -> str:
    """The field of this page that this key is."""
    last = key.rpartition(".")[2]
    if key.startswith("windows."):
        return _KEYS.get(last, "")
    return ""
