"""Dialect A: provinces that take JSON in a "txnBodyCom" envelope, hidden with SM2; the case first, then its rating.

Source: the public Shandong integrations (the same scheme is seen in Beijing). Field names, their order and the codes
are the province's; whatever travels is text.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from importlib import resources
from typing import Any, Literal

import msgspec

from protocols import sm2
from protocols.dialects import quoted
from protocols.ratings import Accepted, Case, Lacking, Rating, Refused, Request, Unavailable, Verdict

_CHINA = timezone(timedelta(hours=8))  # one zone for the whole country, and no summer time
_EARLIEST_MS = 946_656_000_000  # 2000: what lies before has been given in seconds
_LATEST_MS = 4_102_416_000_000  # 2100: what lies behind has been given in microseconds

CodeTable = Literal["pf", "proStatus", "projectType", "proChannel", "userProp", "userPageType", "taskType"]


class TxnBodySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one province hands out on joining, and where it differs from the common tables."""

    case_url: str
    offline_rating_url: str
    app_mark: str
    """应用标识"""
    app_word: str
    """应用密钥"""
    public_key: str
    """The province's SM2 key: 130 hex digits with the leading 04, or 128 without."""
    data_source: str
    """数据来源, three digits."""
    tenancy_id: str = "370000000000"
    province_prefix: str = ""
    """Put before the hall's case number, e.g. "37"."""
    order: Literal["C1C3C2", "C1C2C3"] = "C1C3C2"
    upper_hex: bool = True
    case_sends_service_number: bool = True
    bad_needs_reason: bool = False
    """Hold back a bad rating that has neither tag nor text, where the province refuses those."""
    area_rewrite: dict[str, str] = {}
    """行政区划 that the province counts under another number: six digits to six digits."""
    tables: dict[CodeTable, dict[str, str]] = {}
    """Codes that differ from txnbody.toml, e.g. {"pf": {"window_keypad": "5"}}. The levels cannot be overridden."""
    unavailable_words: tuple[str, ...] = ()
    """Words of this province for a wrong key or sign, besides the common ones."""
    duplicate_words: tuple[str, ...] = ()
    case_unknown_words: tuple[str, ...] = ()


class _Answers(msgspec.Struct, frozen=True):
    """Words to know an answer by; the fields stand in the order in which they decide."""

    unavailable: tuple[str, ...]
    duplicate: tuple[str, ...]
    case_unknown: tuple[str, ...]


class _Tables(msgspec.Struct, frozen=True):
    version: str
    codes: dict[str, dict[str, str]]
    answers: _Answers


_TABLES = msgspec.convert(
    tomllib.loads(resources.files("protocols.dialects").joinpath("txnbody.toml").read_text("utf-8")), _Tables
)


class TxnBody:
    """Dialect A, as one province speaks it. Raises BadSettings for a public key that is none."""

    case_first = True
    tables_version = _TABLES.version

    def __init__(self, settings: TxnBodySettings):
        self._settings = settings
        self._key = sm2.PublicKey.from_hex(settings.public_key)
        self._codes = _overridden(_TABLES.codes, settings.tables)
        self._answers = _Answers(
            unavailable=_TABLES.answers.unavailable + settings.unavailable_words,
            duplicate=_TABLES.answers.duplicate + settings.duplicate_words,
            case_unknown=_TABLES.answers.case_unknown + settings.case_unknown_words,
        )
        self._sign_of: tuple[str, str] = ("", "")

    def case_request(self, case: Case, now_ms: int) -> Request | Lacking:
        """办件服务: one service of a case. Lacking names the fields of `Case` that a person has to fill in."""
        lacking = self.case_lacks(case)
        if lacking:
            return Lacking(lacking)
        return self._request(self._settings.case_url, self._case_record(case), now_ms)

    def rating_request(self, rating: Rating, case: Case, now_ms: int) -> Request | Lacking:
        """线下评价: one rating, with the time at which it was pressed and nothing made up."""
        if rating.case_no not in (None, case.case_no):
            raise ValueError(f"rating {rating.press} is of another case than the one it was handed with")
        lacking = self._lacking_for_rating(rating, case)
        if lacking:
            return Lacking(lacking)
        return self._request(self._settings.offline_rating_url, self._rating_record(rating, case), now_ms)

    def verdict(self, status: int, body: bytes) -> Verdict:
        """What the province's answer says about the record it was sent; never raises."""
        text = body.decode("utf-8", "replace")
        if status != 200:
            return Unavailable(quoted(f"HTTP {status} {text}".rstrip()))
        answer = _read_answer(body)
        if answer is None:
            return Unavailable(quoted(text.strip()) or "空答复 / empty answer")
        return self._judge(answer)

    # ---- the records

    def case_lacks(self, case: Case) -> tuple[str, ...]:
        """What the province requires of a case and this one does not have in a form it takes, in our words for it."""
        required = {
            "case_no": case.case_no,
            "area_code": self._area(case.area_code),
            "item_code": _task_code(case),
            "item_name": case.item_name,
            "status": self._code("proStatus", case.status),
            "case_type": self._code("projectType", case.case_type),
            "dept_code": case.dept_code,
            "dept_name": case.dept_name,
            "mobile": case.mobile,
            "applicant_name": case.applicant_name,
            "applicant_type": self._code("userProp", case.applicant_type),
            "certificate_type": self._code("userPageType", case.certificate_type),
            "certificate_no": case.certificate_no,
            "service_name": case.service_name,
            "service_ms": _china_time(case.service_ms),
        }
        if case.status == "finished":
            required["finished_ms"] = _china_time(case.finished_ms)
        return _empty(required)

    def _case_record(self, case: Case) -> dict[str, str]:
        area = self._area(case.area_code)
        certificate_type = self._code("userPageType", case.certificate_type)
        project_type = self._code("projectType", case.case_type)
        service_number = {"serviceNumber": str(case.service_number)}
        return {
            "areaCode": area,
            "deptCode": case.dept_code,
            "taskType": self._task_type(case.item_type),
            "taskCode": _task_code(case),
            "proTaskCode": _task_code(case),
            "taskHandleItem": _task_handle_item(case),
            "subMatter": case.item_theme,
            "taskName": case.item_name,
            "proTaskName": case.item_name,
            "projectNo": self._project_no(case),
            "proProjectNo": self._project_no(case),
            "projectName": case.case_name,
            "proStatus": self._code("proStatus", case.status),
            "proDepart": case.dept_name,
            "mobile": case.mobile,
            "userName": case.applicant_name,
            "creditNum": case.certificate_no,
            "creditType": certificate_type,
            "userProp": self._code("userProp", case.applicant_type),
            "acceptDate": _china_time(case.accepted_ms),
            # Halls do not tell us the promised and the legal time limits, and the province does not insist.
            "promiseDay": "",
            "promiseType": "",
            "anticipateDay": "",
            "anticipateType": "",
            "deptName": case.dept_name,
            "proChannel": self._code("proChannel", case.channel),
            "promiseTime": project_type,
            "certKey" if case.channel == "online" else "certkeyGOV": case.certificate_no,
            "orgcode": f"{area}_{case.dept_code}",
            "orgName": case.dept_name,
            "proManager": case.clerk_name,
            "userPageType": certificate_type,
            "handleUserName": case.handler_name,
            "handleUserPageType": self._code("userPageType", case.handler_certificate_type),
            "handleUserPageCode": case.handler_certificate_no,
            "serviceName": case.service_name,
            **(service_number if self._settings.case_sends_service_number else {}),
            "serviceTime": _china_time(case.service_ms),
            "dataSource": self._settings.data_source,
            "projectType": project_type,
            "resultDate": _china_time(case.finished_ms),
        }

    def _lacking_for_rating(self, rating: Rating, case: Case) -> tuple[str, ...]:
        required = {
            "case_no": case.case_no,
            "applicant_name": case.applicant_name,
            "channel": self._code("pf", rating.channel),
            "pressed_ms": _china_time(rating.pressed_ms),
        }
        if self._settings.bad_needs_reason and rating.level.bad:
            # A keypad cannot ask for a reason, and we do not make one up.
            required["evalDetail|writingEvaluation"] = "".join(rating.tags) + rating.text
        return _empty(required)

    def _rating_record(self, rating: Rating, case: Case) -> dict[str, str]:
        return {
            "taskType": self._task_type(case.item_type),
            "projectNo": self._project_no(case),
            "satisfaction": self._code("satisfaction", rating.level.value),
            "pf": self._code("pf", rating.channel),
            "name": case.applicant_name,
            "evalDetail": ",".join(rating.tags),
            "writingEvaluation": rating.text,
            "assessTime": _china_time(rating.pressed_ms),
            "serviceNumber": str(rating.service_number),
        }

    def _code(self, table: str, word: str) -> str:
        """The province's code for a word of ours; empty if it has none."""
        return self._codes[table].get(word, "")

    def _task_type(self, item_type: str) -> str:
        return self._codes["taskType"].get(item_type, "99") if item_type else ""

    def _project_no(self, case: Case) -> str:
        return self._settings.province_prefix + case.case_no

    def _area(self, area_code: str) -> str:
        """The six digits of the county and six zeros, which is all that the interface knows; empty for no area."""
        digits = area_code.strip()
        if len(digits) not in (6, 12) or not (digits.isascii() and digits.isdigit()):
            return ""
        return self._settings.area_rewrite.get(digits[:6], digits[:6]) + "000000"

    # ---- the envelope

    def _request(self, url: str, record: dict[str, str], now_ms: int) -> Request:
        time = _moment(now_ms).strftime("%Y%m%d%H%M%S")
        envelope = {
            "txnBodyCom": {
                "appMark": self._settings.app_mark,
                "time": time,
                "sign": self._sign(time),
                "params": {"evaluate": [self._hidden(msgspec.json.encode([record]))]},
            },
            "txnCommCom": {},
        }
        return Request(
            url=url,
            headers={
                "Content-Type": "application/json;charset=UTF-8",
                "C-Tenancy-Id": self._settings.tenancy_id,
            },
            body=msgspec.json.encode(envelope),
        )

    def _sign(self, time: str) -> str:
        """The province calls it a sign; it is our two secrets and the second, hidden with its public key."""
        made_for, sign = self._sign_of
        if made_for != time:
            text = time + self._settings.app_mark + self._settings.app_word
            sign = self._hidden(text.encode())
            # In one step, so that two threads in the same second make it twice at worst.
            self._sign_of = (time, sign)
        return sign

    def _hidden(self, text: bytes) -> str:
        ciphertext = sm2.encrypt(text, self._key)
        raw = ciphertext.c1c3c2() if self._settings.order == "C1C3C2" else ciphertext.c1c2c3()
        return raw.hex().upper() if self._settings.upper_hex else raw.hex()

    # ---- the answer

    def _judge(self, answer: _Answer) -> Verdict:
        # Gateways like to say the same thing twice, once for themselves and once for the business behind them.
        said = "；".join(dict.fromkeys(part for part in (answer.reason, answer.message) if part))
        words = quoted(said)
        if answer.taken:
            return Accepted(words=words)
        if _any_in(self._answers.unavailable, said):
            return Unavailable(words)
        if _any_in(self._answers.duplicate, said):
            return Accepted(duplicate=True, words=words)
        if _any_in(self._answers.case_unknown, said):
            return Refused(words, case_unknown=True)
        return Refused(words or "省平台未说明原因 / no reason given")


class _Answer(msgspec.Struct, frozen=True):
    """An answer of the agreed shape."""

    taken: bool
    reason: str
    """C-Response-Desc, unless it is the gateway's "success"."""
    message: str


def _read_answer(body: bytes) -> _Answer | None:
    """None for anything that does not say yes or no in the agreed shape."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(answer, dict):
        return None
    reason = _text(answer.get("C-Response-Desc")).strip()
    inner = answer.get("C-Response-Body")
    inner = inner if isinstance(inner, dict) else {}
    message = _text(inner.get("message")).strip()
    if reason and reason.lower() != "success":
        return _Answer(taken=False, reason=reason, message=message)
    # The gateway's "success" only means that it passed the record on: the answer stands in the body.
    match inner.get("success"):
        case True | "true" if reason:
            return _Answer(taken=True, reason="", message=message)
        case False | "false" if reason or message:
            return _Answer(taken=False, reason="", message=message)
        case _:
            return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _any_in(words: tuple[str, ...], said: str) -> bool:
    return any(word.lower() in said.lower() for word in words)


# ---- small things


def _overridden(
    codes: Mapping[str, dict[str, str]], tables: Mapping[CodeTable, dict[str, str]]
) -> dict[str, dict[str, str]]:
    return {**codes, **{name: {**codes[name], **own} for name, own in tables.items()}}


def _task_code(case: Case) -> str:
    """实施清单编码, 31 characters; the first 31 of a 业务办理项编码."""
    return (case.item_code or case.item_handle_code)[:31]


def _task_handle_item(case: Case) -> str:
    """业务办理项编码, 33 characters; empty for a main item."""
    return case.item_handle_code or (case.item_code if len(case.item_code) == 33 else "")


def _china_time(moment_ms: int | None) -> str:
    """Empty for no time, and for one that no calendar has (seconds or microseconds given as milliseconds)."""
    if moment_ms is None or not _EARLIEST_MS <= moment_ms < _LATEST_MS:
        return ""
    return _moment(moment_ms).strftime("%Y-%m-%d %H:%M:%S")


def _moment(moment_ms: int) -> datetime:
    # Whole seconds, cut and not rounded: what has not happened yet is not written down.
    return datetime.fromtimestamp(moment_ms // 1000, _CHINA)


def _empty(required: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name for name, value in required.items() if not value.strip())
