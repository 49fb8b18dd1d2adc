"""The guide's second step: where the device is, and what it says; nothing is sent to it unless somebody says so."""

from __future__ import annotations

from typing import Any

from flask import Flask, abort, redirect, render_template, request, url_for

from protocols import profiles

from .... import ports
from ....datagrams import udp_address
from ....doctor.desk import BAUDS
from ....page import OWN
from ....setup import judge
from ....setup.draft import Draft
from ....setup.typed import number_of
from .walk import Walk


class WhereItIs:
    def __init__(self, walk: Walk):
        self._walk = walk
        self._desk = walk.desk

    def add(self, app: Flask) -> None:
        route = app.add_url_rule
        route("/setup/guide/device", "guide.device", self.device, methods=["GET", "POST"])
        route("/setup/guide/device/part", "guide.device_part", self.device_part)
        route("/setup/guide/bytes", "guide.bytes", self.bytes, methods=["GET", "POST"])
        route("/setup/guide/bytes/part", "guide.bytes_part", self.bytes_part)

    # ---- where it is

    def device(self) -> Any:
        if request.method == "GET":
            return self._walk.page("device", wrong={}, **self._there())
        form, wrong = request.form, ""
        bind, kind = form.get("bind", "").strip(), form.get("kind", "serial")
        if kind == "udp":
            wrong = _expected(udp_address, bind)
        elif kind == "serial":
            wrong = _expected(ports.parse, bind)
        if wrong:
            return self._walk.page("device", wrong={kind: wrong}, typed=bind, **self._there()), 422
        self._desk.bench.clear()
        fixed = {"screen": OWN, "udp": "sundyn-udp", "hid": "hid-keypad"}.get(kind, "")
        more: dict[str, Any] = {"kind": kind, "bind": "" if kind == "screen" else bind, "profile": fixed}
        self._walk.keep(self._walk.draft(), applied=False, window="", device="", address=None, **more)
        return redirect(url_for("guide.bind" if fixed else "guide.bytes"), 303)

    def device_part(self) -> str:
        return render_template("setup/device_part.html", **self._there())

    def _there(self) -> dict[str, Any]:
        return {"places": self._desk.sockets.places(self._walk.lines, self._desk.place.now().mono_ms)}

    # ---- what it says

    def bytes(self) -> Any:
        found = self._walk.draft()
        if not found.bind:
            return redirect(url_for("guide.device"))
        if self._walk.learning:
            return redirect(url_for("guide.learn"))
        if request.method == "POST":
            return self._heard(found)
        return self._walk.page("bytes", bauds=BAUDS, others=self._others(), **self._bytes(found))

    def _heard(self, found: Draft) -> Any:
        form = request.form
        match form.get("do"):
            case "baud":
                baud = number_of(form.get("baud", ""))
                self._walk.keep(found, baud=found.baud if baud is None else min(max(baud, 110), 4_000_000))
            case "say":
                self._say(found, form.get("profile", ""))
            case "profile":
                profile = self._desk.profile(form.get("profile", ""))
                if profile is None:
                    abort(400)
                self._desk.bench.clear()
                address = number_of(form.get("device", "")) if profile.by_address else None
                named = form.get("device", "") if profile.shape.form == "house" else ""
                kind = "modbus" if profile.shape.transport == "modbus" else "serial"
                self._walk.keep(found, profile=form["profile"], kind=kind, device=named, address=address)
                return redirect(url_for("guide.bind"), 303)
        return redirect(url_for("guide.bytes"), 303)

    def _say(self, found: Draft, profile: str) -> None:
        if profile in profiles.SHIPPED and self._walk.line_of(found) is None:
            self._desk.bench.listening(found.bind, found.baud).say(profile, "please_rate", found.device, 1)

    def _others(self) -> list[tuple[str, str]]:
        """Every profile of a line, for who knows better."""
        shipped = [profiles.shipped(name) for name in profiles.SHIPPED]
        known = [(each.id, each.shape.title) for each in shipped if each.shape.transport in ("serial", "modbus")]
        return [(id, f"{title.zh} / {title.en}") for id, title in known] + [
            (name, name) for name in self._desk.learnt()
        ]

    def bytes_part(self) -> Any:
        if self._walk.learning:
            abort(404)
        return render_template("setup/bytes_part.html", **self._bytes(self._walk.draft()))

    def _bytes(self, found: Draft) -> dict[str, Any]:
        line = self._walk.line_of(found)
        if line is not None:
            # The port has an owner: its own bytes are looked at, and nobody opens it a second time.
            heard = judge.of_tap(line.tap.pieces() if line.tap is not None else (), found.baud)
            return {**_judged(heard), "down": "", "ours": ", ".join(window.id for window in line.windows)}
        listening = self._desk.bench.listening(found.bind, found.baud)
        with listening.held:
            return {**_judged(listening.look()), "down": listening.down, "ours": ""}


def _expected(parse: Any, text: str) -> str:
    try:
        parse(text)
    except ValueError as expected:
        return str(expected)
    return ""


def _judged(heard: judge.Judge) -> dict[str, Any]:
    return {"shown": heard.shown(), "signs": heard.signs(), "readings": heard.readings(), "bytes": heard.bytes}
