"""The home of an agent that is set up: how it stands, what is wrong and the cure, its log, its settings."""

from __future__ import annotations

import hmac
import logging
import secrets
import shutil
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, abort, g, make_response, redirect, render_template, request, url_for

from protocols.errors import BadSettings
from protocols.words import Words

from ... import config
from ...config import DoorSettings, is_loopback
from ...setup import apply, toml
from ...setup.bundle import bundle
from ...setup.desk import Desk
from ...setup.draft import LATER
from ...setup.fields import SECRETS, TABLES, Field, fields
from .broker import Broker
from .cards import Cards
from .restart import closing, restarting

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_GONE = (
    "代理重启过, 或这一页放得太久: 没有保存, 请重新打开“配置”再改 / the agent has started again, or this page is too"
    " old: nothing was saved, open Settings anew"
)
_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - what the settings may say, not what is bound here
_CHANGED = (
    "agent.toml 刚才被改过, 还没有保存: 请再看一遍改动 / agent.toml was changed meanwhile, and nothing is saved yet:"
    " look at the changes once more"
)
_STATES = {
    "ready": ("good", "可以评价", "ready for presses"),
    "inviting": ("good", "正在邀请评价", "a citizen is being asked"),
    "cable_out": ("look", "线缆不通", "cable out"),
    "device_silent": ("look", "评价器没有动静", "the device is silent"),
    "refusing": ("look", "存储已满, 不收按键", "storage is full, presses are refused"),
}


def add(app: Flask, desk: Desk) -> None:
    """The pages behind the guide."""
    Home(desk).add(app)
    Broker(desk).add(app)
    Cards(desk).add(app)


class Home:
    def __init__(self, desk: Desk):
        self._desk = desk
        self._fields = fields()
        self._key = secrets.token_bytes(16)

    def add(self, app: Flask) -> None:
        route = app.add_url_rule
        route("/setup/", "home", self.home)
        route("/setup/part", "home.part", self.part)
        route("/setup/doctor", "doctor", self.doctor, methods=["GET", "POST"])
        route("/setup/doctor/part", "doctor.part", self.doctor_part)
        route("/setup/chain", "chain", self.chain, methods=["POST"])
        route("/setup/log", "log", self.log)
        route("/setup/log/part", "log.part", self.log_part)
        route("/setup/settings", "settings", self.settings, methods=["GET", "POST"])
        route("/setup/settings/text", "settings.text", self.text, methods=["GET", "POST"])
        route("/setup/settings/apply", "settings.apply", self.apply, methods=["POST"])
        route("/setup/bundle", "bundle", self.bundle)
        route("/setup/refused", "refused", self.refused, methods=["POST"])

    # ---- how it stands

    def home(self) -> Any:
        if self._desk.place.running is None:
            return redirect(url_for("guide"))
        return render_template("setup/home.html", **self._standing())

    def part(self) -> Any:
        if self._desk.place.running is None:
            return redirect(url_for("guide"))
        return render_template("setup/home_part.html", **self._standing())

    def _standing(self) -> dict[str, Any]:
        desk, running = self._desk, self._desk.place.running
        assert running is not None and desk.chain is not None
        moment, outbox = desk.place.now(), running.outbox
        backlog, tip, (done, _) = outbox.backlog(), outbox.tip(), outbox.receipted()
        old_s = (moment.wall_ms - backlog.oldest_ms) // 1000 if backlog.oldest_ms is not None else 0
        return {
            "windows": [(each.health(moment), each.device) for each in running.windows],
            "ports": {each.id: line.link.port for line in running.lines for each in line.windows},
            "pages": [(each.id, path) for each in running.windows if (path := desk.rating_path(each))],
            "door_url": f"http://{request.host}",
            "here_alone": is_loopback(desk.place.door_host),
            "states": _STATES,
            "backlog": backlog,
            "old_s": old_s,
            "tip": tip,
            "done": done,
            "epoch": outbox.epoch,
            "reach": running.uplink.reach,
            "later": LATER,
            "broker": running.settings.uplink,
            "alarm": running.uplink.alarm,
            "room_mb": shutil.disk_usage(outbox.path.parent).free // 1_000_000,
            "chain": desk.chain.progress,
            "refused": desk.refused,
            "findings": desk.examination.findings,
            "now_ms": moment.wall_ms,
        }

    def chain(self) -> Any:
        """Begin to look at every record."""
        running = self._desk.place.running
        if running is not None and self._desk.chain is not None:
            self._desk.chain.run(running.outbox.backlog().records)
        return redirect(url_for("home") + "#chain", 303)

    def refused(self) -> Any:
        """It was read."""
        self._desk.forget_refused()
        return redirect(url_for("home"), 303)

    # ---- what is wrong

    def doctor(self) -> Any:
        if request.method == "POST" or self._desk.examination.findings is None:
            self._desk.examination.run(self._desk.place.file if self._desk.text else None)
        if request.method == "POST":
            return redirect(url_for("doctor"), 303)
        return render_template("setup/doctor.html", examination=self._desk.examination)

    def doctor_part(self) -> str:
        return render_template("setup/doctor_part.html", examination=self._desk.examination)

    # ---- what it says

    def log(self) -> str:
        return render_template("setup/log.html", **self._lines())

    def log_part(self) -> str:
        return render_template("setup/log_part.html", **self._lines())

    def _lines(self) -> dict[str, Any]:
        level = request.args.get("level", "info")
        return {"lines": self._desk.place.lately.lines(_LEVELS.get(level, logging.INFO)), "level": level}

    def bundle(self) -> Response:
        """One file for whoever helps."""
        response = Response(bundle(self._desk), mimetype="application/zip")
        name = f"edge-agent-{apply.day(self._desk.place.now().wall_ms)}.zip"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    # ---- its settings

    def settings(self) -> Any:
        text = self._desk.text
        if request.method == "GET":
            if self._desk.unshown:
                return redirect(url_for("settings.text"))
            try:
                return self._form(toml.values(text), {})
            except ValueError:
                return redirect(url_for("settings.text"))
        wanted = {key: value.strip() for key, value in request.form.items() if key not in ("form_word", "do", "typed")}
        known = toml.secrets(self._typed())
        whole = wanted | {key: known[key] for key in known if wanted.get(key) == toml.COVERED}
        changed = toml.changed(text, whole, self._fields)
        try:
            return self._reviewed(changed)
        except BadSettings as error:
            shown = {key: toml.COVERED if key in SECRETS and value else value for key, value in wanted.items()}
            return self._form(shown, apply.by_key(error), self._kept(changed)), 422

    def _form(self, values: dict[str, str], wrong: Mapping[str, Words], typed: str = "") -> str:
        windows = 1 + max((int(key.split(".")[1]) for key in values if key.startswith("windows.")), default=-1)
        tables: list[tuple[str, str, list[Field]]] = []
        for table in TABLES:
            here = [field for field in self._fields if field.table == table]
            prefixes = [f"windows.{number}" for number in range(windows)] if table == "windows" else [table]
            tables += [(table, prefix, here) for prefix in prefixes]
        seen = {
            f"{prefix}.{field.name}" if prefix else field.name: field for _, prefix, here in tables for field in here
        }
        rest = [words for key, words in wrong.items() if key not in seen]
        marked = [(key, field.words) for key, field in seen.items() if key in wrong]
        given = {"tables": tables, "titles": TABLES, "values": values, "wrong": wrong, "rest": rest, "marked": marked}
        return render_template("setup/settings.html", typed=typed, **given)

    def text(self) -> Any:
        if request.method == "GET":
            shown = toml.covered(self._desk.text)
            return render_template("setup/settings_text.html", text=shown, wrong=[], unshown=self._desk.unshown)
        typed = request.form.get("text", "").replace("\r\n", "\n")
        try:
            text = toml.uncovered(typed, self._typed())
        except BadSettings as error:
            return self._as_text(typed, error), 422
        try:
            return self._reviewed(text)
        except BadSettings as error:
            return self._as_text(text, error), 422

    def _as_text(self, text: str, error: BadSettings) -> str:
        """The text once more, with what is wrong. One that is no TOML is shown as it was typed: who knows where in it
        its secrets are?"""
        shown = toml.covered(text) or text
        return render_template("setup/settings_text.html", text=shown, wrong=error.mistakes, typed=self._kept(text))

    def _reviewed(self, text: str) -> str:
        """What would change, once more before it does. BadSettings if it is wrong."""
        apply.check(text, self._desk.place.file)
        return self._shown(text)

    def _shown(self, text: str, lack: str = "") -> str:
        changes = toml.difference(self._desk.text, text)
        typed = f"{self._kept(text)}.{self._mark_of_now}"
        return render_template("setup/settings_apply.html", changes=changes, typed=typed, lack=lack)

    @property
    def _mark_of_now(self) -> str:
        """By which agent.toml as it lies there is told from any other; nothing of its secrets can be guessed by it."""
        return hmac.digest(self._key, self._desk.text.encode(), "sha256").hex()[:16]

    def apply(self) -> Any:
        """What was shown just before, and nothing else."""
        typed, _, seen = request.form.get("typed", "").rpartition(".")
        text = self._desk.typed.of(g.token, typed)
        if text is None:
            return render_template("setup/wrong.html", words=_GONE), 409
        if seen != self._mark_of_now:
            return self._shown(text, _CHANGED), 409
        try:
            self._desk.apply(text)
        except BadSettings as error:
            return self._as_text(text, error), 422
        except OSError as error:
            return self._shown(text, apply.not_written(error)), 507
        door = config.load(self._desk.place.file).door
        if door is None or not door.has_setup:
            return closing(self._desk)
        return restarting(self._desk, url_for("home"), self._elsewhere(door))

    def _typed(self) -> str:
        """What covered secrets of this form stand for: those that were typed on the page before, or those in force."""
        typed = request.form.get("typed", "")
        text = self._desk.typed.of(g.token, typed) if typed else self._desk.text
        if text is None:
            # Taking the secret in force instead would drop the one that was typed, without a word.
            abort(make_response(render_template("setup/wrong.html", words=_GONE), 409))
        return text

    def _kept(self, text: str) -> str:
        return self._desk.typed.keep(g.token, text)

    def _elsewhere(self, door: DoorSettings) -> str:
        """The page's new address, if it has one from now on; empty if not, or if nobody can know it."""
        here, port = request.environ["SERVER_PORT"], str(door.port)
        if port == "0" or (door.host, port) == (self._desk.place.door_host, here):
            return ""
        host = request.host.removesuffix(f":{here}")
        if door.host not in (self._desk.place.door_host, *_EVERY_ADDRESS):
            host = f"[{door.host}]" if ":" in door.host else door.host
        return f"http://{host}:{port}/setup/"
