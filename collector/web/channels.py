"""Ratings of other channels, over HTTP: POST /api/v1/ratings, each system with its own name and secret."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from flask import Flask, Response, request
from msgspec import Meta

from protocols import tags
from protocols.bodies import read
from protocols.cases import CaseNo, ServiceNumber
from protocols.ratings import Channel, Level

from ..ledger.channels import Channels, Given
from .wrong import Wrong

_AHEAD_MS = 300_000  # a rating that is further in the future than clocks differ was not given yet
_EARLIEST_MS = 1_577_808_000_000  # 2020, when the policy began: what lies before has been given in seconds
LevelName = Literal["very_satisfied", "satisfied", "basically_satisfied", "dissatisfied", "very_dissatisfied"]


class RatingGiven(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /api/v1/ratings."""

    id: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+\Z")]
    """The caller's own number for it: sent again, it is the same rating."""
    level: LevelName
    channel: Channel
    case_no: CaseNo
    given_ms: Annotated[int, Meta(ge=_EARLIEST_MS)]
    """When the citizen gave it; not in the future."""
    service_number: ServiceNumber = 1
    tags: Annotated[list[Annotated[str, Meta(pattern=r"^[0-9A-Za-z]{1,8}\Z")]], Meta(max_length=16)] = []
    tags_version: Annotated[int, Meta(ge=0, le=9999)] = 0
    text: Annotated[str, Meta(max_length=150)] = ""
    hall: Annotated[str, Meta(max_length=64)] = ""
    window: Annotated[str, Meta(max_length=32)] = ""
    clerk: Annotated[str, Meta(max_length=50)] = ""


# Worked out here, before there are threads: msgspec cannot do it in two at once.
msgspec.json.Decoder(RatingGiven)


@dataclass(frozen=True)
class Client:
    """A system that hands ratings over."""

    name: str
    secret: str
    channels: tuple[Channel, ...]


def add(app: Flask, channels: Channels, clients: Sequence[Client], now_ms: Callable[[], int]) -> None:
    """Put the address into the application."""

    @app.post("/api/v1/ratings")
    def api_rating() -> tuple[dict[str, Any], int] | Response:
        client = _known(clients)
        given, at_ms = read(request.get_data(), RatingGiven), now_ms()
        if given.channel not in client.channels:
            raise Wrong(403, "channel", f"channel: {client.name} 可用 / may use: {', '.join(client.channels)}")
        if given.given_ms > at_ms + _AHEAD_MS:
            raise Wrong(400, "given_ms", "given_ms: 毫秒 UTC, 不晚于现在 / milliseconds UTC, not in the future")
        level = Level(given.level)
        taken = channels.take(client.name, _rating(given, level), at_ms)
        if taken.how == "contradicts":
            raise Wrong(409, "id", "此 id 已是另一条评价, 原来的不变 / this id is another rating's, which stays")
        odd = {code: standing for code in given.tags if (standing := tags.standing(code, level)) != "current"}
        answer = {
            "id": given.id,
            "invitation": taken.invitation,
            "fate": taken.fate,
            "state": taken.state,
            "tags": odd,
        }
        return answer, 201 if taken.how == "new" else 200


def _rating(given: RatingGiven, level: Level) -> Given:
    return Given(
        ref=given.id,
        level=level,
        channel=given.channel,
        case_no=given.case_no,
        given_ms=given.given_ms,
        service_number=given.service_number,
        tags=tuple(given.tags),
        tags_version=given.tags_version,
        text=given.text,
        hall=given.hall,
        window=given.window,
        clerk=given.clerk or None,
    )


def _known(clients: Sequence[Client]) -> Client:
    """Who calls, by HTTP Basic: its name and its secret."""
    given = request.authorization
    name, secret = (
        (given.username or "", given.password or "") if given is not None and given.type == "basic" else ("", "")
    )
    found = None
    for client in clients:  # all of them: how long it takes tells nobody a name
        same = hmac.compare_digest(client.name.encode(), name.encode())
        if same & hmac.compare_digest(client.secret.encode(), secret.encode()):
            found = client
    if found is None:
        raise Wrong(401, "Authorization", "名称或密钥不对, 应为 HTTP Basic / wrong name or secret, expected HTTP Basic")
    return found
