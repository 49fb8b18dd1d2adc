"""Dialect D: our own plain REST, for a data-exchange platform: a list of ratings with their cases, a result for each.

What travels is described for its receivers in docs/openapi/exchange.json. Levels, channels and kinds are words; the
national digits stand beside the two that have some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

import msgspec

from protocols import tags
from protocols.ratings import Accepted, Answer, Case, Held, Rating, Refused, Request, Unavailable, Verdict

from . import Rated, quoted
from .codes import Codes, ProvinceWays, Tokenless, empty, load, wait_s

_TABLES = load("json")
_RECEIPT_MAX = 200  # characters: the longest number of a province seen is a UUID


class JsonRestSettings(ProvinceWays, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one platform hands out on joining, and where it differs from the common tables."""

    ratings_url: str
    api_token: str
    together: int = 100
    """How many ratings it takes in one call."""


class JsonRest(Tokenless):
    """Dialect D, as one platform speaks it."""

    case_first = False
    tables_version = _TABLES.version

    def __init__(self, settings: JsonRestSettings):
        self._settings = settings
        self._codes = Codes(_TABLES, settings)
        self.together_max = settings.together

    def case_lacks(self, case: Case) -> tuple[str, ...]:
        """What no receiver can do without, in our words for it."""
        case = self._codes.mapped(case)
        required = {
            "case_no": case.case_no,
            "area_code": self._codes.area(case),
            "item_code": case.item_code or case.item_handle_code,
            "item_name": case.item_name,
            "dept_code": case.dept_code,
            "dept_name": case.dept_name,
            "applicant_name": case.applicant_name,
            "certificate_no": case.certificate_no,
        }
        return empty(required)

    def held(self, rating: Rating, case: Case) -> Held | None:
        """Why this rating cannot go as it is."""
        return self._codes.held(rating, case, self.case_lacks(case))

    def case_request(self, case: Case, now_ms: int, token: str = "") -> Request:
        """Never asked for: a case travels with its ratings."""
        raise NotImplementedError

    def rating_request(self, ratings: Sequence[Rated], now_ms: int, token: str = "") -> Request:
        """All of these in one call. ValueError for one that is of another case than the one it comes with."""
        for rating, case in ratings:
            if rating.case_no not in (None, case.case_no):
                raise ValueError(f"rating {rating.press} is of another case than the one it was handed with")
        headers = {
            "Content-Type": "application/json;charset=UTF-8",
            "Authorization": f"Bearer {self._settings.api_token}",
        }
        records = [self._record(rating, self._codes.mapped(case)) for rating, case in ratings]
        return Request(self._settings.ratings_url, headers, msgspec.json.encode({"ratings": records}))

    def _record(self, rating: Rating, case: Case) -> dict[str, Any]:
        details = asdict(case) | {"case_no": self._codes.case_no(case), "data_source": self._settings.data_source}
        return {
            "id": rating.once,
            "level": rating.level.value,
            "satisfaction": self._codes.level(rating),
            "channel": rating.channel,
            "pf": self._codes.code("pf", rating.channel),
            "pressed_ms": rating.pressed_ms,
            "hall": rating.hall,
            "window": rating.window,
            "clerk": rating.clerk or "",
            "service_number": rating.service_number,
            "tags": list(rating.tags),
            "tags_version": tags.VERSION,
            "text": rating.text,
            "case": {name: value for name, value in details.items() if value not in ("", None)},
        }

    def records(self, rating: Rating, case: Case, case_too: bool) -> list[tuple[str, dict[str, Any]]]:
        """The rating with its case."""
        return [(self._settings.ratings_url, dict(self._record(rating, self._codes.mapped(case))))]

    def verdicts(self, answer: Answer, ratings: Sequence[Rated]) -> tuple[Verdict, ...]:
        """What the platform says about each of these; it is told by their ids, whatever the order. Never raises."""
        try:
            reply = _reply.decode(answer.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            reply = _Reply()
        if answer.status != 200 or not reply.results:
            text = answer.body.decode("utf-8", "replace").strip()
            said = quoted(f"HTTP {answer.status} {text}".rstrip()) if text or answer.status != 200 else ""
            return (Unavailable(said or "空答复 / empty answer", wait_s=wait_s(answer)),) * len(ratings)
        results = {each.id: each for each in reply.results}
        return tuple(_verdict(results.get(rating.once)) for rating, _ in ratings)


class _Result(msgspec.Struct, frozen=True):
    id: str
    result: Literal["accepted", "duplicate", "refused", "again"]
    message: str = ""
    receipt: str = ""


class _Reply(msgspec.Struct, frozen=True):
    results: list[_Result] = []


# Worked out here, before there are threads: msgspec cannot do it in two at once.
_reply = msgspec.json.Decoder(_Reply)


def _verdict(said: _Result | None) -> Verdict:
    if said is None:
        return Unavailable("答复中没有这条评价 / the answer says nothing of this rating")
    words = quoted(said.message.strip())
    match said.result:
        case "accepted" | "duplicate":
            return Accepted(said.result == "duplicate", words, said.receipt[:_RECEIPT_MAX])
        case "refused":
            return Refused(words or "省平台未说明原因 / no reason given")
        case "again":
            return Unavailable(words or "省平台请稍后再试 / asked to try again")
