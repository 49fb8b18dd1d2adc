"""抽查 for people and programs: announce a draw, see what was drawn and how to draw it again, note what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from flask import Flask, Response, redirect, render_template, request
from msgspec import Meta

from protocols.bodies import read
from protocols.messages import SEQ_MAX

from ..ledger.desk import NotSo
from ..ledger.tally import day_number, day_of, day_text, time_text
from ..mending import words as w
from ..mending.draws import WANTED_MAX, Draw, Draws
from ..mending.mendings import SPOT_CHECKS, WORDS_MAX, Mendings
from .desk import Who, Why
from .gate import Gate
from .mending import allowed as may
from .wrong import Wrong

_ONE = f"/draws/<int(max={SEQ_MAX}):number>"
_DAY = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]


class Announces(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"first": "from", "last": "to"}):
    """Body of POST /api/v1/draws: of which days, hall and kind so many are to be drawn; who announces it, and why."""

    first: _DAY
    last: _DAY
    number: Annotated[int, Meta(ge=1, le=WANTED_MAX)]
    who: Who
    why: Why
    kind: Literal["all", "bad", "good"] = "all"
    hall: Annotated[str, Meta(max_length=64)] = ""


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /api/v1/draws/make."""


# Worked out here, before there are threads: msgspec cannot do it in two at once.
for _body in (Announces, Nothing):
    msgspec.json.Decoder(_body)


def add_api(app: Flask, draws: Draws, allowed: Callable[[], None], now_ms: Callable[[], int]) -> None:
    """Put the addresses for programs into the application; every call needs the token."""

    @app.get("/api/v1/draws")
    def api_draws() -> dict[str, Any]:
        allowed()
        return {"draws": [each.said() for each in draws.listed()]}

    @app.post("/api/v1/draws")
    def api_announce() -> tuple[dict[str, Any], int]:
        allowed()
        given = read(request.get_data(), Announces)
        first, last = _number("from", given.first), _number("to", given.last)
        try:
            made = draws.announce(first, last, given.kind, given.hall, given.number, given.who, given.why, now_ms())
        except NotSo as error:
            raise Wrong(409 if error.field in ("frame", "to") else 400, error.field, str(error)) from error
        return made.said(), 201

    @app.post("/api/v1/draws/make")
    def api_make() -> dict[str, Any]:
        allowed()
        read(request.get_data(), Nothing)
        return {"made": draws.make(now_ms())}


def add(app: Flask, draws: Draws, mendings: Mendings, now_ms: Callable[[], int], gate: Gate) -> None:
    """Put the pages into the application. Whoever looks has the draws made whose seed has come: they could not come out
    otherwise, whoever makes them."""

    @app.get("/draws")
    def draws_page() -> str:
        gate.person()
        draws.make(now_ms())
        return _listed({}, None)

    @app.post("/draws")
    def draws_announce() -> Any:
        who = gate.person("auditor")
        gate.form()
        given = {name: request.form.get(name, "").strip() for name in ("from", "to", "kind", "hall", "number", "why")}
        try:
            number = given["number"]
            wanted = int(number) if number.isascii() and number.isdigit() and len(number) < 19 else 0
            first, last = _day("from", given["from"]), _day("to", given["to"])
            made = draws.announce(first, last, given["kind"], given["hall"], wanted, who, given["why"], now_ms())
        except NotSo as error:
            return _listed(given, error), 400
        gate.note("draw", f"{made.id}: {given['from']} {given['to']} {given['kind']} {made.size} → {wanted}")
        return redirect(f"/draws/{made.id}", 303)

    @app.get(_ONE)
    def draw_page(number: int) -> str:
        gate.person()
        draws.make(now_ms())
        return _shown(number, {}, None)

    @app.get(f"{_ONE}/frame.txt")
    def draw_frame(number: int) -> Response:
        gate.person()  # numbers of ratings, and nothing else
        numbers = draws.frame(_found(number))
        return Response(
            (f"{each}\n" for each in numbers),
            content_type="text/plain; charset=utf-8",
            headers={"Content-Disposition": f"attachment; filename=draw-{number}-frame.txt"},
        )

    @app.post(_ONE)
    def draw_checked(number: int) -> Any:
        who = gate.person("operator", "auditor")
        gate.form()
        given = {name: request.form.get(name, "") for name in ("rating", "outcome", "words")}
        try:
            text = given["rating"].strip().removeprefix("#")
            rating = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
            mendings.spot_checked(number, rating, given["outcome"], given["words"], who, now_ms())
        except NotSo as error:
            return _shown(number, given, error), 400
        gate.note("spot_check", f"{number}: #{rating} {given['outcome']}")
        return redirect(f"/draws/{number}", 303)

    def _listed(given: dict[str, str], mistake: NotSo | None) -> str:
        today = day_of(now_ms())
        return render_template(
            "draws.html",
            rows=[_row(each) for each in draws.listed()],
            announces=may(gate, "auditor"),
            given=given or {"from": day_text(today)[:8] + "01", "to": day_text(today), "number": "10", "kind": "all"},
            mistake=mistake,
            today=day_text(today),
            wanted_max=WANTED_MAX,
            words_max=WORDS_MAX,
            w=w,
        )

    def _found(number: int) -> Draw:
        try:
            return draws.found(number)
        except NotSo as error:
            raise Wrong(404, "id", str(error)) from error

    def _shown(number: int, given: dict[str, str], mistake: NotSo | None) -> str:
        found = _found(number)
        reads = may(gate, "operator", "auditor")
        words = {
            row["id"]: [each.words for each in mendings.steps(row["id"]) if each.draw == number][-1:]
            for row in draws.ratings(found)
            if reads and row["outcome"]
        }
        return render_template(
            "draw.html",
            draw=_row(found),
            ratings=[
                {**dict(row), "pressed": time_text(row["pressed_ms"]), "words": (words.get(row["id"]) or [""])[0]}
                for row in draws.ratings(found)
            ],
            differences=draws.differences(found),
            reads=reads,
            outcomes=SPOT_CHECKS,
            given=given,
            mistake=mistake,
            words_max=WORDS_MAX,
            w=w,
        )


def _row(each: Draw) -> dict[str, Any]:
    drawn = time_text(each.drawn_ms) if each.drawn_ms is not None else ""
    return each.said() | {"at": time_text(each.at_ms), "drawn": drawn}


def _number(name: str, text: str) -> int:
    try:
        return day_number(text)
    except ValueError as error:
        raise Wrong(400, name, f"{name} 应为日期, 如 2026-11-24 / must be a day, as in 2026-11-24") from error


def _day(name: str, text: str) -> int:
    try:
        return day_number(text)
    except ValueError as error:
        raise NotSo(name, "应为日期, 如 2026-11-24 / must be a day, as in 2026-11-24") from error
