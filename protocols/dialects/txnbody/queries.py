"""What else a province of dialect A can be asked: its rating tags, what a citizen has not rated yet, and the address of
its own rating page for one case.

Source: the public Shandong integrations name the calls, their parameters and the fields of the answers; where a list
stands inside C-Response-Body is not public, so it is looked for by its fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import msgspec

from protocols import sm2
from protocols.ratings import Answer, Case, Channel, Request, Unavailable

from .. import quoted
from ..codes import Codes
from .envelope import Envelope, Hider, Order, read_reply


class Indicator(msgspec.Struct, frozen=True, rename="camel"):
    """A rating tag (评价指标) as the province has it."""

    norm_code: str
    norm_name: str
    star_level: str
    using_status: bool = True
    """Whether it is in force."""
    expand_norm: bool = False
    """Whether it is beyond the basic set."""


class Unrated(msgspec.Struct, frozen=True, rename="camel"):
    """A service that the province has and nobody has rated."""

    project_no: str
    service_number: str = ""
    service_name: str = ""
    task_name: str = ""


# Worked out here, before there are threads: msgspec cannot do it in two at once.
_unrated = msgspec.json.Decoder(list[Unrated], strict=False)
msgspec.json.Decoder(Indicator)


class Queries:
    """The questions, and how to read what comes back."""

    def __init__(self, envelope: Envelope, hider: Hider, codes: Codes, app_mark: str, app_word: str):
        self._envelope = envelope
        self._hider = hider
        self._codes = codes
        self._app_mark = app_mark
        self._app_word = app_word

    def indicators(self, url: str, now_ms: int) -> Request:
        """Which tags are there?"""
        return self._envelope.with_params(url, {}, now_ms)

    def unrated(self, url: str, case: Case, now_ms: int) -> Request:
        """Which services of this case's applicant has nobody rated?"""
        asked = {
            "mark": "0",
            "userName": case.applicant_name,
            "creditType": self._codes.code("userPageType", case.certificate_type),
            "creditNum": case.certificate_no,
        }
        return self._envelope.around(url, [asked], now_ms)

    def page(self, url: str, case: Case, channel: Channel, now_ms: int) -> str:
        """The address of the province's own rating page for this service, signed as of now. Nobody's name is in it."""
        stamp = str(now_ms)
        asked = {
            "areaId": self._codes.area(case) + "000000",
            "projectId": self._codes.case_no(case),
            "serviceName": case.service_name,
            "serviceNumber": str(case.service_number),
            "pf": self._codes.code("pf", channel),
            "sign": self._hider.hidden((stamp + self._app_mark + self._app_word).encode()),
            "timestamp": stamp,
            "appId": self._app_mark,
        }
        return f"{url}{'&' if '?' in url else '?'}{urlencode(asked)}"


def read_indicators(answer: Answer) -> list[Indicator] | Unavailable:
    """The tags in this answer."""
    found = _rows(answer, "normCode")
    return found if isinstance(found, Unavailable) else [msgspec.convert(row, Indicator, strict=False) for row in found]


def read_unrated(answer: Answer, private_key: sm2.PrivateKey, order: Order) -> list[Unrated] | Unavailable:
    """The services in this answer, which the province hid with our key."""
    reply = _reply(answer)
    if isinstance(reply, Unavailable):
        return reply
    for value in reply.values():
        if isinstance(value, list) and value and isinstance(value[0], str):
            try:
                return _unrated.decode(sm2.decrypt(value[0], private_key, order))
            except (ValueError, msgspec.MsgspecError):
                return Unavailable("serviceList 解不开, 请检查 private_key / cannot be opened, check private_key")
    return []


def _rows(answer: Answer, field: str) -> list[dict[str, Any]] | Unavailable:
    reply = _reply(answer)
    return reply if isinstance(reply, Unavailable) else [row for row in _objects(reply) if field in row]


def _reply(answer: Answer) -> dict[str, Any] | Unavailable:
    reply = read_reply(answer.body)
    if answer.status != 200 or reply is None:
        return Unavailable(quoted(f"HTTP {answer.status} {answer.body.decode('utf-8', 'replace')}"))
    return reply.body if reply.taken else Unavailable(quoted(reply.said))


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from _objects(each)
    elif isinstance(value, list):
        for each in value:
            yield from _objects(each)
