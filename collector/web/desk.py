"""The desk of parked ratings, over HTTP: look, put right, link to a case, send again, give up. Every call needs the
token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from flask import Flask, request
from msgspec import Meta

from protocols.bodies import SAYING, read
from protocols.cases import CaseNo, ServiceNumber
from protocols.messages import SEQ_MAX

from ..ledger.desk import WHO_MAX, WHY_MAX, Desk, NotSo
from ..reconcile.words import REASONS
from .wrong import Wrong

_AWAITING = "awaiting_case"
_ONE = f"/api/v1/parked/<int(max={SEQ_MAX}):rating>"  # a larger number is none that a ledger could have given
Who = Annotated[str, Meta(min_length=1, max_length=WHO_MAX, pattern=SAYING)]
Why = Annotated[str, Meta(min_length=1, max_length=WHY_MAX, pattern=SAYING)]


class GivesUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST …/give-up: who does it, and why."""

    who: Who
    why: Why


class Corrects(GivesUp, frozen=True, forbid_unknown_fields=True):
    """Body of POST …/correct."""

    fields: dict[str, Any]


class Links(GivesUp, frozen=True, forbid_unknown_fields=True):
    """Body of POST …/link."""

    case_no: CaseNo
    service_number: ServiceNumber = 1


class SendsAgain(GivesUp, frozen=True, forbid_unknown_fields=True):
    """Body of POST …/send-again."""

    as_is: bool = False


# Worked out here, before there are threads: msgspec cannot do it in two at once.
for _body in (GivesUp, Corrects, Links, SendsAgain):
    msgspec.json.Decoder(_body)


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

    @app.get(_ONE)
    def api_parked_one(rating: int) -> dict[str, Any]:
        allowed()
        return _in_words(desk.shown(rating))

    @app.post(f"{_ONE}/correct")
    def api_correct(rating: int) -> dict[str, Any]:
        allowed()
        given = read(request.get_data(), Corrects)
        desk.correct(rating, given.fields, given.who, given.why, now_ms())
        return _in_words(desk.shown(rating))

    @app.post(f"{_ONE}/link")
    def api_link(rating: int) -> dict[str, Any]:
        allowed()
        given = read(request.get_data(), Links)
        desk.link(rating, given.case_no, given.service_number, given.who, given.why, now_ms())
        return _in_words(desk.shown(rating))

    @app.post(f"{_ONE}/send-again")
    def api_send_again(rating: int) -> dict[str, Any]:
        allowed()
        given = read(request.get_data(), SendsAgain)
        desk.send_again(rating, given.who, given.why, given.as_is, now_ms())
        return _in_words(desk.shown(rating))

    @app.post(f"{_ONE}/give-up")
    def api_give_up(rating: int) -> dict[str, Any]:
        allowed()
        given = read(request.get_data(), GivesUp)
        desk.give_up(rating, given.who, given.why, now_ms())
        return _in_words(desk.shown(rating))


def _after() -> int | None:
    text = request.args.get("after", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= SEQ_MAX):
        raise Wrong(400, "after", "after: 应为上一页最后一条的 id / must be the id of the last one seen")
    return int(text)


def _in_words(row: dict[str, Any]) -> dict[str, Any]:
    """With what its reason is called, and what a person does about it."""
    reason = row["reason"] or (_AWAITING if row["state"] == _AWAITING else "")
    if reason not in REASONS:
        return row
    name, cure = REASONS[reason]
    return row | {"reason_words": name, "cure": cure}
