"""Dialect C: provinces that take one plain form of 25 fields, a case and its rating together.

Source: the public Zhejiang integration (offlinereport). What its answer looks like is not public; `success`, `data` and
`errorMsg` are those of the same province's other interface. Who we are is told to the platform in between, by headers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from protocols.ratings import Accepted, Answer, Case, Held, Rating, Request, Unavailable, Verdict

from . import Rated, quoted
from .codes import (
    Codes,
    ProvinceWays,
    Tokenless,
    china_time,
    empty,
    load,
    tag_codes,
    task_code,
    task_handle_item,
    wait_s,
)

_TABLES = load("flat")


class FlatSettings(ProvinceWays, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one province hands out on joining, and where it differs from the common tables."""

    rating_url: str
    """…/zwztapi/offlinereport.do"""
    app_id: str = ""
    """Who we are on the platform in between (政务总线); sent as a header."""
    app_secret: str = ""
    app_id_header: str = "appId"
    app_secret_header: str = "appSecret"  # noqa: S105 - a name
    sends_handle_code: bool = False
    """Whether taskHandleItem is filled in for a 业务办理项 ("浙江目前不传")."""


class Flat(Tokenless):
    """Dialect C, as one province speaks it."""

    case_first = False
    together_max = 1
    tables_version = _TABLES.version

    def __init__(self, settings: FlatSettings):
        self._settings = settings
        self._codes = Codes(_TABLES, settings)
        self._headers = {"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}
        if settings.app_id:
            self._headers[settings.app_id_header] = settings.app_id
            self._headers[settings.app_secret_header] = settings.app_secret

    def case_lacks(self, case: Case) -> tuple[str, ...]:
        """What the province requires of a case and this one does not have in a form it takes, in our words for it."""
        case = self._codes.mapped(case)
        code = self._codes.code
        required = {
            "case_no": case.case_no,
            "area_code": self._codes.area(case),
            "area_name": case.area_name,
            "item_code": task_code(case),
            "item_name": case.item_name,
            "status": code("proStatus", case.status),
            "case_type": code("promiseTime", case.case_type),
            "dept_code": case.dept_code,
            "dept_name": case.dept_name,
            "accepted_ms": china_time(case.accepted_ms),
            "applicant_name": case.applicant_name,
            "applicant_type": code("userProp", case.applicant_type),
            "certificate_no": case.certificate_no,
        }
        return empty(required)

    def held(self, rating: Rating, case: Case) -> Held | None:
        """Why this rating cannot go as it is."""
        return self._codes.held(rating, case, self.case_lacks(case))

    def case_request(self, case: Case, now_ms: int, token: str = "") -> Request:
        """Never asked for: a case travels with its rating."""
        raise NotImplementedError

    def rating_request(self, ratings: Sequence[Rated], now_ms: int, token: str = "") -> Request:
        """One rating with its case. ValueError for another case's."""
        [(rating, case)] = ratings
        if rating.case_no not in (None, case.case_no):
            raise ValueError(f"rating {rating.press} is of another case than the one it was handed with")
        form = urlencode(self._record(rating, self._codes.mapped(case)))
        return Request(self._settings.rating_url, dict(self._headers), form.encode())

    def _record(self, rating: Rating, case: Case) -> dict[str, str]:
        area, code = self._codes.area(case), self._codes.code
        return {
            "areaCode": area and area + "000000",
            "areaName": case.area_name,
            "deptCode": case.dept_code,
            "taskCode": task_code(case),
            "taskHandleItem": task_handle_item(case) if self._settings.sends_handle_code else "",
            "taskName": case.item_name,
            "subMatter": case.item_theme,
            "projectNo": self._codes.case_no(case),
            "proStatus": code("proStatus", case.status),
            "proDepartCode": case.dept_code,
            "proDepart": case.dept_name,
            "proManager": case.clerk_name,
            "pf": code("pf", rating.channel),
            "certkeyGOV": case.certificate_no,
            "userName": case.applicant_name,
            "userProp": code("userProp", case.applicant_type),
            "satisfaction": self._codes.level(rating),
            "evalDetail": tag_codes(rating),
            "writingEvaluation": rating.text,
            "assessTime": china_time(rating.pressed_ms),
            # 评价次数, which the province tells services of one case apart by.
            "assessNumber": str(rating.service_number),
            "appStatus": "1",  # 无需审核
            "promiseTime": code("promiseTime", case.case_type),
            "acceptDate": china_time(case.accepted_ms),
            "dataSource": self._settings.data_source,
        }

    def records(self, rating: Rating, case: Case, case_too: bool) -> list[tuple[str, dict[str, Any]]]:
        """The rating with its case."""
        return [(self._settings.rating_url, dict(self._record(rating, self._codes.mapped(case))))]

    def verdicts(self, answer: Answer, ratings: Sequence[Rated]) -> tuple[Verdict, ...]:
        """What the province's answer says about the one record that it was sent; never raises."""
        return (self._verdict(answer),)

    def _verdict(self, answer: Answer) -> Verdict:
        text = answer.body.decode("utf-8", "replace").strip()
        try:
            reply = _reply.decode(answer.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            reply = _Reply()
        if answer.status != 200 or reply.success not in _SAID:
            said = f"HTTP {answer.status} {text}".rstrip() if answer.status != 200 or text else ""
            return Unavailable(quoted(said) or "空答复 / empty answer", wait_s=wait_s(answer))
        said = reply.errorMsg.strip()
        if reply.success in _YES:
            receipt = reply.data if isinstance(reply.data, str) else ""
            return Accepted(words=quoted(said), receipt=receipt[:_RECEIPT_MAX])
        return self._codes.judge(said)


_YES, _NO = (True, "true", "1"), (False, "false", "0")
_SAID = _YES + _NO
_RECEIPT_MAX = 200  # characters: the longest number of a province seen is a UUID


class _Reply(msgspec.Struct, frozen=True):
    success: bool | str | None = None
    data: object = None
    errorMsg: str = ""


# Worked out here, before there are threads: msgspec cannot do it in two at once.
_reply = msgspec.json.Decoder(_Reply)
