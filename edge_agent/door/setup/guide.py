"""The guide: from an empty folder, or a running agent, to the first press that is kept. One decision a screen."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from flask import Flask, Response, abort, redirect, render_template, request, url_for

from protocols import profiles
from protocols.errors import BadSettings
from protocols.profiles.vocabulary import KeyMeaning, LineSettings
from protocols.ratings import Level

from ... import config, ports
from ...config import TlsSettings
from ...datagrams import udp_address
from ...doctor.desk import BAUDS
from ...doctor.learn import Naming
from ...doctor.learn.dialogue import Plan
from ...doctor.learn.meanings import LETTERS, mistake
from ...links import Links
from ...page import OWN
from ...setup import apply, broker, draft, judge, toml
from ...setup.desk import Desk, begun
from ...setup.draft import Draft
from ...setup.found import in_use
from ...window import Window

_TRIED_MS = 15 * 60_000  # after the first press: whoever tries is done by then

_STEPS = ("name", "device", "bytes", "bind", "try")
_AGENT_KEYS = {"agent": "agent", "uplink.host": "host", "uplink.port": "port", "uplink.tls.ca": "ca"}
_WINDOW_KEYS = {"id": "window", "device": "device", "port": "bind", "address": "address", "profile": "profile"}


def add(app: Flask, desk: Desk) -> None:
    """The guide's pages."""
    Guide(desk).add(app)


class Guide:
    def __init__(self, desk: Desk):
        self._desk = desk

    def add(self, app: Flask) -> None:
        route = app.add_url_rule
        route("/setup/guide/", "guide", self.first)
        route("/setup/guide/new", "guide.new", self.anew, methods=["POST"])
        route("/setup/guide/name", "guide.name", self.name, methods=["GET", "POST"])
        route("/setup/guide/device", "guide.device", self.device, methods=["GET", "POST"])
        route("/setup/guide/device/part", "guide.device_part", self.device_part)
        route("/setup/guide/bytes", "guide.bytes", self.bytes, methods=["GET", "POST"])
        route("/setup/guide/bytes/part", "guide.bytes_part", self.bytes_part)
        route("/setup/guide/learn", "guide.learn", self.learn, methods=["GET", "POST"])
        route("/setup/guide/learn/part", "guide.learn_part", self.learn_part)
        route("/setup/guide/learn/answer", "guide.answer", self.answer, methods=["POST"])
        route("/setup/guide/meanings", "guide.meanings", self.meanings, methods=["GET", "POST"])
        route("/setup/guide/bind", "guide.bind", self.bind, methods=["GET", "POST"])
        route("/setup/guide/try", "guide.try", self.try_it)
        route("/setup/guide/try/part", "guide.try_part", self.try_part)

    # ---- where we are

    def _draft(self) -> Draft:
        found = self._desk.drafts.read()
        if not found.began_ms:
            found = self._keep(begun(found, self._now_ms()))
        settings = self._desk.settings
        return found if settings is None else msgspec.structs.replace(found, agent=settings.agent)

    def _keep(self, found: Draft, **more: Any) -> Draft:
        return self._desk.drafts.keep(msgspec.structs.replace(found, **more))

    def _now_ms(self) -> int:
        return self._desk.place.now().wall_ms

    def _page(self, step: str, **more: Any) -> str:
        steps = _STEPS[1:] if self._desk.place.running is not None and step != "name" else _STEPS
        given = {"steps": steps, "step": step, "draft": self._draft(), **more}
        return render_template(f"setup/{more.get('page', step)}.html", **given)

    def first(self) -> Any:
        """Where the guide was left."""
        found = self._draft()
        if found.applied and self._desk.place.running is not None:
            return redirect(url_for("guide.try"))
        if self._desk.place.running is None and not (found.agent and (found.later or found.host)):
            return redirect(url_for("guide.name"))
        if self._learning():
            return redirect(url_for("guide.learn"))
        if not found.bind and found.kind != "screen":
            return redirect(url_for("guide.device"))
        return redirect(url_for("guide.bind" if found.profile else "guide.bytes"))

    def anew(self) -> Any:
        """Another window, from its first screen."""
        self._desk.bench.clear()
        self._desk.drafts.forget()
        return redirect(url_for("guide"), 303)

    # ---- a. this agent and its broker

    def name(self) -> Any:
        if self._desk.place.running is not None:
            return redirect(url_for("guide.device"))
        found = self._draft()
        if not found.agent:
            found = self._keep(found, agent=draft.agent_name())
        if request.method == "GET":
            return self._page("name", answer=None, wrong={})
        found, wrong = self._named(found)
        if wrong:
            return self._page("name", answer=None, wrong=wrong), 422
        if request.form.get("do") == "test":
            answer = self._tried(found)
            return self._page("name", answer=answer, wrong={})
        return redirect(url_for("guide.device"), 303)

    def _named(self, found: Draft) -> tuple[Draft, dict[str, str]]:
        form = request.form
        later, tls = form.get("broker") == "later", bool(form.get("tls"))
        host, number = form.get("host", "").strip(), form.get("port", "").strip()
        port = int(number) if number.isdigit() and 0 < int(number) < 65_536 else 0
        found = self._keep(
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

    def _mistakes(self, found: Draft) -> dict[str, str]:
        """What the settings would say of the agent's part."""
        try:
            config.checked(toml.new_text(_with_a_page(found), 0).encode(), self._desk.place.file)
        except BadSettings as error:
            told = apply.by_key(error)
            return {name: told[key] for key, name in _AGENT_KEYS.items() if key in told}
        return {}

    def _tried(self, found: Draft) -> broker.Answer:
        try:
            context = config.tls_context(TlsSettings(ca=found.ca), self._desk.place.folder) if found.tls else None
        except BadSettings as error:
            return broker.Answer(False, error.mistakes[0], "ca")
        return broker.tried(found.host, found.port, found.agent, found.password, context)

    # ---- b. where the device is

    def device(self) -> Any:
        if request.method == "GET":
            return self._page("device", wrong={}, **self._there())
        form, wrong = request.form, ""
        bind, kind = form.get("bind", "").strip(), form.get("kind", "serial")
        if kind == "udp":
            wrong = _expected(udp_address, bind)
        elif kind == "serial":
            wrong = _expected(ports.parse, bind)
        if wrong:
            return self._page("device", wrong={kind: wrong}, typed=bind, **self._there()), 422
        self._desk.bench.clear()
        fixed = {"screen": OWN, "udp": "sundyn-udp", "hid": "hid-keypad"}.get(kind, "")
        more: dict[str, Any] = {"kind": kind, "bind": "" if kind == "screen" else bind, "profile": fixed}
        self._keep(self._draft(), applied=False, window="", device="", address=None, **more)
        return redirect(url_for("guide.bind" if fixed else "guide.bytes"), 303)

    def device_part(self) -> str:
        return render_template("setup/device_part.html", **self._there())

    def _there(self) -> dict[str, Any]:
        running = self._desk.place.running
        lines = running.lines if running is not None else ()
        return {"places": self._desk.sockets.places(lines, self._desk.place.now().mono_ms)}

    # ---- c. what it says

    def bytes(self) -> Any:
        found = self._draft()
        if not found.bind:
            return redirect(url_for("guide.device"))
        if self._learning():
            return redirect(url_for("guide.learn"))
        if request.method == "POST":
            return self._heard(found)
        return self._page("bytes", bauds=BAUDS, others=self._others(), **self._bytes(found))

    def _learning(self) -> bool:
        """Whether a lesson is being held, or what came of it waits to be used."""
        lesson = self._desk.bench.lesson
        return lesson is not None and (lesson.alive or lesson.stage.proposal is not None)

    def _heard(self, found: Draft) -> Any:
        form = request.form
        match form.get("do"):
            case "baud":
                baud = int(form["baud"]) if form.get("baud", "").isdigit() else found.baud
                self._keep(found, baud=min(max(baud, 110), 4_000_000))
            case "say":
                self._say(found, form.get("profile", ""))
            case "profile":
                profile = self._desk.profile(form.get("profile", ""))
                if profile is None:
                    abort(400)
                self._desk.bench.clear()
                address = int(form["device"]) if profile.by_address and form.get("device", "").isdigit() else None
                named = form.get("device", "") if profile.shape.form == "house" else ""
                kind = "modbus" if profile.shape.transport == "modbus" else "serial"
                self._keep(found, profile=form["profile"], kind=kind, device=named, address=address)
                return redirect(url_for("guide.bind"), 303)
        return redirect(url_for("guide.bytes"), 303)

    def _say(self, found: Draft, profile: str) -> None:
        if profile in profiles.SHIPPED and self._ours(found) is None:
            self._desk.bench.listening(found.bind, found.baud).say(profile, "please_rate", found.device, 1)

    def _others(self) -> list[tuple[str, str]]:
        """Every profile of a line, for who knows better."""
        shipped = [profiles.shipped(name) for name in profiles.SHIPPED]
        known = [(each.id, each.shape.title) for each in shipped if each.shape.transport in ("serial", "modbus")]
        return [(id, f"{title.zh} / {title.en}") for id, title in known] + [
            (name, name) for name in self._desk.learnt()
        ]

    def bytes_part(self) -> Any:
        if self._learning():
            abort(404)
        return render_template("setup/bytes_part.html", **self._bytes(self._draft()))

    def _ours(self, found: Draft) -> Any:
        running = self._desk.place.running
        return in_use(found.bind, running.lines) if running is not None else None

    def _bytes(self, found: Draft) -> dict[str, Any]:
        line = self._ours(found)
        if line is not None:
            # The port has an owner: its own bytes are looked at, and nobody opens it a second time.
            heard = judge.of_tap(line.tap.pieces() if line.tap is not None else (), found.baud)
            return {**_judged(heard), "down": "", "ours": ", ".join(window.id for window in line.windows)}
        listening = self._desk.bench.listening(found.bind, found.baud)
        with listening.held:
            return {**_judged(listening.look()), "down": listening.down, "ours": ""}

    # ---- d. what its keys say

    def learn(self) -> Any:
        found = self._draft()
        if not found.bind or self._ours(found) is not None:
            return redirect(url_for("guide.bytes"))
        if request.method == "GET":
            lesson = self._desk.bench.lesson
            return self._page("bytes", page="learn", lesson=lesson, stage=lesson and lesson.look())
        keys = request.form.get("keys", "")
        number = min(max(int(keys), 2), 32) if keys.isdigit() else 5
        id, at = self._desk.free_name(), self._desk.place.now().wall_ms
        line = LineSettings(found.baud, alt_baud=[rate for rate in BAUDS if rate != found.baud])
        plan = Plan(line, number, found.bind, Naming(id, date=apply.day(at)))
        self._desk.bench.begin_lesson(found.bind, plan, self._desk.free_recording(id))
        return redirect(url_for("guide.learn"), 303)

    def learn_part(self) -> Any:
        lesson = self._desk.bench.lesson
        if lesson is None:
            abort(404)
        return render_template("setup/learn_part.html", lesson=lesson, stage=lesson.look())

    def answer(self) -> Any:
        lesson, text = self._desk.bench.lesson, request.form.get("text", "")
        if lesson is not None and text in ("y", "n", "b", "e"):
            lesson.answer(text)
        if text == "stop":
            self._desk.bench.clear()
        return redirect(url_for("guide.learn"), 303)

    def meanings(self) -> Any:
        lesson = self._desk.bench.lesson
        proposal = lesson.look().proposal if lesson is not None else None
        if lesson is None or proposal is None:
            return redirect(url_for("guide.learn"))
        given, wrong = self._meant(proposal.keys)
        twins = _twins(given)
        sure = not twins or bool(request.form.get("sure"))
        if request.method == "GET" or wrong or not sure:
            page = self._page(
                "bytes", page="meanings", lesson=lesson, proposal=proposal, levels=_levels(), given=given,
                wrong=wrong, twins=twins,
            )  # fmt: skip
            return page, 422 if request.method == "POST" else 200
        name = self._desk.keep_profile(proposal, given, lesson.plan.naming.id)
        self._keep(self._draft(), profile=name, baud=lesson.baud, device="", address=None)
        self._desk.bench.clear()
        return redirect(url_for("guide.bind"), 303)

    def _meant(self, keys: list[int]) -> tuple[dict[int, KeyMeaning], dict[int, str]]:
        given, wrong = {}, {}
        for key in keys:
            level, reason = request.form.get(f"level-{key}", ""), request.form.get(f"reason-{key}", "")
            if level in LETTERS.values():
                given[key] = meaning = KeyMeaning(level, " ".join(reason.split()))  # type: ignore[arg-type]
                words = mistake(meaning)
                if words is not None:
                    wrong[key] = f"{words.zh} / {words.en}"
        return given, wrong

    # ---- e. its window

    def bind(self) -> Any:
        found = self._draft()
        profile = self._desk.profile(found.profile)
        if profile is None:
            return redirect(url_for("guide.device"))
        if not found.window:
            window = draft.window_id(self._desk.settings)
            device = found.device or draft.device_id(found.agent, window, self._desk.settings)
            found = self._keep(found, window=window, device=device)
        wrong: dict[str, str] = {}
        if request.method == "POST":
            form = request.form
            address = form.get("address", "").strip()
            found = self._keep(
                found,
                window=form.get("window", "").strip(),
                device=form.get("device", "").strip(),
                address=int(address) if address.isdigit() else None,
                hall=form.get("hall", "").strip(),
                number=form.get("number", "").strip(),
            )
            wrong = self._applied(found)
            if not wrong:
                return restarting(self._desk, url_for("guide.try"))
        text = self._desk.wanted(found, self._door_port)
        changes = toml.difference(self._desk.text, text)
        page = self._page("bind", profile=profile, wrong=wrong, changes=changes, refused=self._desk.refused)
        return page, 422 if wrong else 200

    @property
    def _door_port(self) -> int:
        return int(request.environ["SERVER_PORT"])

    def _applied(self, found: Draft) -> dict[str, str]:
        """What is wrong with it; nothing if it is written and the restart has begun."""
        try:
            self._desk.apply_draft(found, self._door_port)
        except BadSettings as error:
            return {_name_of(key): words for key, words in apply.by_key(error).items()}
        return {}

    # ---- f. try it

    def try_it(self) -> Any:
        if self._desk.place.running is None:
            return redirect(url_for("guide"))
        return self._page("try", **self._tried_so_far(), **self._handed_over())

    def try_part(self) -> str:
        return render_template("setup/try_part.html", draft=self._draft(), **self._tried_so_far())

    def _tried_so_far(self) -> dict[str, Any]:
        running, found = self._desk.place.running, self._draft()
        if running is None:
            abort(404)
        window = next((each for each in running.windows if each.id == found.window), None)
        kept = _tried(window, found) if window is not None else []
        if kept and found.applied and found.kept_ms is None:
            found = self._keep(found, kept_ms=kept[0][0])
        done, _ = running.outbox.receipted()
        online, why = running.uplink.standing
        took_s = (found.kept_ms - found.began_ms) // 1000 if found.kept_ms is not None else None
        return {
            "window": window,
            "rating_page": self._page_of(window),
            "health": window.health(self._desk.place.now()) if window is not None else None,
            "kept": [(at, key, tip, tip <= done, _meaning(window, key)) for at, key, tip in reversed(kept)],
            "own": window is not None and window.profile.id == OWN,
            "backlog": running.outbox.backlog(),
            "online": online,
            "why": why,
            "took": f"{took_s // 60}:{took_s % 60:02}" if took_s is not None else "",
        }

    def _page_of(self, window: Window | None) -> str:
        """The path of the window's rating page; empty where its device is none."""
        settings = self._desk.settings
        if window is None or settings is None or settings.door is None or window.profile.id != OWN:
            return ""
        token = config.secret("door.token", settings.door.token, settings.door.token_file, self._desk.place.folder)
        return Links(token).window(window.id)

    def _handed_over(self) -> dict[str, Any]:
        """The lines for the collector's directory.toml."""
        found = self._draft()
        profile = self._desk.profile(found.profile)
        meanings = {int(key): meaning for key, meaning in profile.shape.keys.items()} if profile is not None else {}
        asked = {int(name[1:]): value for name, value in request.args.items() if _is_key(name, value)}
        keys = {str(key): _value(meaning) for key, meaning in meanings.items()}
        keys |= {str(key): json.dumps(level) for key, level in sorted(asked.items())}
        number = max([5, *meanings, *asked])
        return {
            "directory": toml.directory_text(found, keys),
            "levels": _levels(),
            "keys": range(1, number + 1),
            "chosen": {**{key: meaning.level for key, meaning in meanings.items()}, **asked},
        }


def restarting(desk: Desk, next_: str, elsewhere: str = "") -> Response:
    """The page that waits for the restart, which begins when it has been sent."""
    response = Response(render_template("setup/restarting.html", next=next_, elsewhere=elsewhere))
    response.call_on_close(desk.restart)
    return response


def _with_a_page(found: Draft) -> Draft:
    """The draft with a window that has no mistake of its own."""
    host = found.host or draft.LATER
    return msgspec.structs.replace(found, window="1", device="D1", kind="screen", profile=OWN, host=host)


def _expected(parse: Any, text: str) -> str:
    try:
        parse(text)
    except ValueError as expected:
        return str(expected)
    return ""


def _judged(heard: judge.Judge) -> dict[str, Any]:
    return {"shown": heard.shown(), "signs": heard.signs(), "readings": heard.readings(), "bytes": heard.bytes}


def _levels() -> list[tuple[str, str, str]]:
    """Each level with its words."""
    return [(name, Level(name).zh, name.replace("_", " ")) for name in LETTERS.values()]


def _twins(given: dict[int, KeyMeaning]) -> list[tuple[int, int]]:
    """Keys with one meaning: mostly a slip."""
    seen: dict[KeyMeaning, int] = {}
    twins = []
    for key, meaning in given.items():
        if meaning in seen:
            twins.append((seen[meaning], key))
        seen.setdefault(meaning, key)
    return twins


def _name_of(key: str) -> str:
    """The field of this page that this key is."""
    last = key.rpartition(".")[2]
    if key.startswith("windows."):
        return _WINDOW_KEYS.get(last, "")
    return ""


def _tried(window: Window, draft: Draft) -> list[tuple[int, int, int]]:
    """The presses of whoever tries the window that was just bound, and nobody's later: those are citizens'."""
    since = [each for each in list(window.lately) if draft.applied and each[0] >= draft.began_ms]
    first_ms = draft.kept_ms if draft.kept_ms is not None else (since[0][0] if since else 0)
    return [each for each in since if each[0] <= first_ms + _TRIED_MS]


def _meaning(window: Any, key: int) -> str:
    """What the profile says of this key; nothing where it says nothing: there is no usual meaning."""
    meaning = window.profile.shape.keys.get(str(key))
    if meaning is None:
        return ""
    reason = f" {meaning.reason}" if meaning.reason else ""
    return f"{Level(meaning.level).zh}{reason} / {meaning.level.replace('_', ' ')}{reason}"


def _value(meaning: KeyMeaning) -> str:
    level = json.dumps(meaning.level)
    return (
        f"{{ level = {level}, reason = {json.dumps(meaning.reason, ensure_ascii=False)} }}" if meaning.reason else level
    )


def _is_key(name: str, value: str) -> bool:
    return name[:1] == "k" and name[1:].isdigit() and len(name) < 5 and value in LETTERS.values()
