"""The desk of parked ratings, over HTTP: look, put right, link to a case, send again, give up. Every call needs the
token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, request

from protocols.cases import CASE_NO_MAX, SERVICES_MAX

from ..ledger.desk import Desk, NotSo
from ..reconcile.words import REASONS
from .wrong import Wrong

_AWAITING = "awaiting_case"


def add(
    app: Flask, desk: Desk, allowed: Callable[[], None], most: Callable[[], int], now_ms: Callable[[], int]
) -> None:
    """Put the desk's addresses into the application."""

    @app.errorhandler(NotSo)
    def not_so(error: NotSo) -> tuple[dict[str, Any], int]:
        status = 404 if error.field == "id" and "没有第" in str(error) else 409 if error.field == "id" else 400
        return {"error": {"field": error.field, "message": str(error)}}, status

    @app.get("/api/v1/parked")
    def api_parked() -> dict[str, Any]:
        allowed()
        reason = request.args.get("reason", "")
        return {"parked": [_in_words(row) for row in desk.listed(most(), reason, _after())]}

    @app.get("/api/v1/parked/<int:rating>")
    def api_parked_one(rating: int) -> dict[str, Any]:
        allowed()
        return _in_words(desk.shown(rating))

    @app.post("/api/v1/parked/<int:rating>/correct")
    def api_correct(rating: int) -> dict[str, Any]:
        allowed()
        given = _given("who", "why", "fields")
        if not isinstance(given["fields"], dict):
            raise Wrong(400, "fields", "fields: 应为对象 / must be an object")
        desk.correct(rating, given["fields"], *_by(given), now_ms())
        return _in_words(desk.shown(rating))

    @app.post("/api/v1/parked/<int:rating>/link")
    def api_link(rating: int) -> dict[str, Any]:
        allowed()
        given = _given("who", "why", "case_no", "service_number")
        case_no, number = given.get("case_no", ""), given.get("service_number", 1)
        if not isinstance(case_no, str) or not 1 <= len(case_no) <= CASE_NO_MAX:
            raise Wrong(400, "case_no", f"case_no: 应为 1–{CASE_NO_MAX} 个字符 / must be 1–{CASE_NO_MAX} characters")
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= SERVICES_MAX:
            raise Wrong(400, "service_number", f"service_number: 应为 must be 1–{SERVICES_MAX}")
        desk.link(rating, case_no, number, *_by(given), now_ms())
        return _in_words(desk.shown(rating))

    @app.post("/api/v1/parked/<int:rating>/send-again")
    def api_send_again(rating: int) -> dict[str, Any]:
        allowed()
        given = _given("who", "why", "as_is")
        as_is = given.get("as_is", False)
        if not isinstance(as_is, bool):
            raise Wrong(400, "as_is", "as_is: true 或 false / true or false")
        desk.send_again(rating, *_by(given), as_is, now_ms())
        return _in_words(desk.shown(rating))

    @app.post("/api/v1/parked/<int:rating>/give-up")
    def api_give_up(rating: int) -> dict[str, Any]:
        allowed()
        desk.give_up(rating, *_by(_given("who", "why")), now_ms())
        return _in_words(desk.shown(rating))


def _given(*names: str) -> dict[str, Any]:
    given = request.get_json(force=True, silent=True)
    if not isinstance(given, dict):
        raise Wrong(400, "", "请求体应为 JSON 对象 / the body must be a JSON object")
    unknown = sorted(given.keys() - set(names))
    if unknown:
        raise Wrong(400, unknown[0], f"{unknown[0]}: 没有这个字段, 可用 / no such field, known: {', '.join(names)}")
    if "fields" in names and "fields" not in given:
        raise Wrong(400, "fields", "fields: 缺少 / missing")
    return given


def _by(given: dict[str, Any]) -> tuple[str, str]:
    who, why = given.get("who", ""), given.get("why", "")
    for name, value in (("who", who), ("why", why)):
        if not isinstance(value, str):
            raise Wrong(400, name, f"{name}: 应为文字 / must be text")
    return who, why


def _after() -> int | None:
    text = request.args.get("after", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Wrong(400, "after", "after: 应为上一页最后一条的 id / must be the id of the last one seen")
    return int(text)


def _in_words(row: dict[str, Any]) -> dict[str, Any]:
    """With what its reason is called, and what a person does about it."""
    reason = row["reason"] or (_AWAITING if row["state"] == _AWAITING else "")
    if reason not in REASONS:
        return row
    name, cure = REASONS[reason]
    return row | {"reason_words": name, "cure": cure}
