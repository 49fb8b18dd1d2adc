"""The guide's step for a device that no profile knows: its keys are learnt, and a person says what stands on them."""

from __future__ import annotations

from typing import Any

from flask import Flask, abort, redirect, render_template, request, url_for

from protocols.profiles.vocabulary import KeyMeaning, LineSettings

from ....doctor.desk import BAUDS
from ....doctor.learn import Naming
from ....doctor.learn.dialogue import Plan
from ....doctor.learn.meanings import LETTERS, mistake
from ....setup import apply
from ....setup.typed import number_of
from .walk import Walk, levels


class Learn:
    def __init__(self, walk: Walk):
        self._walk = walk
        self._desk = walk.desk

    def add(self, app: Flask) -> None:
        route = app.add_url_rule
        route("/setup/guide/learn", "guide.learn", self.learn, methods=["GET", "POST"])
        route("/setup/guide/learn/part", "guide.learn_part", self.learn_part)
        route("/setup/guide/learn/answer", "guide.answer", self.answer, methods=["POST"])
        route("/setup/guide/meanings", "guide.meanings", self.meanings, methods=["GET", "POST"])

    def learn(self) -> Any:
        found = self._walk.draft()
        if not found.bind or self._walk.line_of(found) is not None:
            return redirect(url_for("guide.bytes"))
        if request.method == "GET":
            lesson = self._desk.bench.lesson
            return self._walk.page("bytes", page="learn", lesson=lesson, stage=lesson and lesson.look())
        keys = number_of(request.form.get("keys", ""))
        number = 5 if keys is None else min(max(keys, 2), 32)
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
            page = self._walk.page(
                "bytes", page="meanings", lesson=lesson, proposal=proposal, levels=levels(), given=given,
                wrong=wrong, twins=twins,
            )  # fmt: skip
            return page, 422 if request.method == "POST" else 200
        name = self._desk.keep_profile(proposal, given, lesson.plan.naming.id)
        self._walk.keep(self._walk.draft(), profile=name, baud=lesson.baud, device="", address=None)
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


def _twins(given: dict[int, KeyMeaning]) -> list[tuple[int, int]]:
    """Keys with one meaning: mostly a slip."""
    seen: dict[KeyMeaning, int] = {}
    twins = []
    for key, meaning in given.items():
        if meaning in seen:
            twins.append((seen[meaning], key))
        seen.setdefault(meaning, key)
    return twins
