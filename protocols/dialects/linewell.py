"""Dialect B: provinces behind a token gateway that take SOAP 1.1 with a case and its rating as hidden XML.

Source: the public Fujian integrations. Element names are theirs; the order of the rating's own elements is the order of
the client's parameter list, because its template is not public.

The XML is put together here and not by a SOAP library: one operation with two text parameters is twenty lines, while a
library would fetch the province's WSDL at each start and bring a compiled XML parser with it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import msgspec

from protocols import sm4
from protocols.ratings import Accepted, Answer, Case, Held, Rating, Request, Token, Unavailable, Verdict

from . import Rated, quoted
from .codes import Codes, ProvinceWays, china_time, empty, load, tag_codes, task_code, task_handle_item, wait_s

_TABLES = load("linewell")
_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_OPERATIONS = "http://webServiceInterface.cms.linewell.com"
_TAKEN = "200"
_EARLY_MS = 30_000  # a token is not used in its last half minute: a call takes its time
_USUAL_S = 60  # what clients keep a token for, where the gateway does not say how long it lasts
_STALE = "access_token_invalid"
# A character that XML has no place for: it would make the whole record unreadable.
_NO_XML = {code: None for code in range(32) if chr(code) not in "\t\n\r"} | {0xFFFE: None, 0xFFFF: None}


class LinewellSettings(ProvinceWays, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one province hands out on joining, and where it differs from the common tables."""

    token_url: str
    """…/api-gateway/gateway/get-token"""
    rating_url: str
    """…/wailian/webservice/getSaveEvaluation"""
    app_key: str
    app_secret: str
    system_no: str
    """sysNO 系统编号, given by the province."""
    operation: str = "getSaveEvaluation"
    upper_sign: bool = False
    """Whether the gateway wants the hex of its sign in capitals; both are seen."""
    custom_tail: str = "351001"
    """The third part of customFields, given by the province."""


class Linewell:
    """Dialect B, as one province speaks it."""

    case_first = False
    together_max = 1
    tables_version = _TABLES.version

    def __init__(self, settings: LinewellSettings):
        self._settings = settings
        self._codes = Codes(_TABLES, settings)
        # Its clients hand the hex of the digest to a cipher that reads the first sixteen characters of it as they are.
        self._key = hashlib.md5(settings.app_secret.encode(), usedforsecurity=False).hexdigest()[:16].encode()

    def case_lacks(self, case: Case) -> tuple[str, ...]:
        """What the province requires of a case and this one does not have in a form it takes, in our words for it."""
        case = self._codes.mapped(case)
        code = self._codes.code
        required = {
            "case_no": case.case_no,
            "case_name": case.case_name,
            "area_code": self._codes.area(case),
            "item_code": task_code(case),
            "item_name": case.item_name,
            "status": code("proStatus", case.status),
            "accepted_ms": china_time(case.accepted_ms),
            "mobile": case.mobile,
            "applicant_name": case.applicant_name,
            "applicant_type": code("userProp", case.applicant_type),
            "certificate_type": code("userPageType", case.certificate_type),
            "certificate_no": case.certificate_no,
            "service_name": case.service_name,
            "service_ms": china_time(case.service_ms),
        }
        if case.status == "finished":
            required["finished_ms"] = china_time(case.finished_ms)
        return empty(required)

    def held(self, rating: Rating, case: Case) -> Held | None:
        """Why this rating cannot go as it is."""
        return self._codes.held(rating, case, self.case_lacks(case))

    # ---- the token

    def token_request(self, now_ms: int) -> Request | None:
        """A GET with our key, the time and a digest of the secret and the time."""
        digest = hashlib.md5(f"{self._settings.app_secret}{now_ms}".encode(), usedforsecurity=False).hexdigest()
        asked = {
            "app_key": self._settings.app_key,
            "timestamp": str(now_ms),
            "sign": digest.upper() if self._settings.upper_sign else digest,
        }
        url = self._settings.token_url
        return Request(f"{url}{'&' if '?' in url else '?'}{urlencode(asked)}", {}, None)

    def token(self, answer: Answer, now_ms: int) -> Token | Unavailable:
        """What the gateway handed out, and until when."""
        try:
            given = _given.decode(answer.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            given = _Given()
        if answer.status != 200 or not given.access_token:
            return Unavailable(f"没有拿到令牌 / no token: {_said(answer)}", wait_s=wait_s(answer))
        return Token(given.access_token, now_ms + max(0, given.expires_in * 1000 - _EARLY_MS))

    # ---- the record

    def case_request(self, case: Case, now_ms: int, token: str = "") -> Request:
        """Never asked for: a case travels with its rating."""
        raise NotImplementedError

    def rating_request(self, ratings: Sequence[Rated], now_ms: int, token: str = "") -> Request:
        """One rating with its case. ValueError for another case's."""
        [(rating, case)] = ratings
        if rating.case_no not in (None, case.case_no):
            raise ValueError(f"rating {rating.press} is of another case than the one it was handed with")
        xml = _xml(self._record(rating, self._codes.mapped(case)))
        blocks = xml + bytes(-len(xml) % sm4.BLOCK)
        hidden = base64.b64encode(sm4.encrypt_blocks(blocks, self._key)).decode()
        return Request(
            self._settings.rating_url,
            {"Content-Type": "text/xml;charset=UTF-8", "SOAPAction": '""'},
            self._soap(token, hidden),
        )

    def _record(self, rating: Rating, case: Case) -> dict[str, str]:
        code, tags = self._codes.code, tag_codes(rating)
        return {
            "sysNO": self._settings.system_no,
            "businessCode": task_handle_item(case) or task_code(case),
            "businessName": case.item_name,
            "projectNo": self._codes.case_no(case),
            "proStatus": code("proStatus", case.status),
            "projectName": case.case_name,
            "nodeName": case.service_name,
            "regionCode": self._codes.area(case),
            "acceptDate": china_time(case.accepted_ms),
            "userProp": code("userProp", case.applicant_type),
            "userName": case.applicant_name,
            "userPageType": code("userPageType", case.certificate_type),
            "certKey": case.certificate_no,
            # Its clients send one blank where there is nobody.
            "handleUserName": case.handler_name or " ",
            "handleUserPageType": code("userPageType", case.handler_certificate_type) or " ",
            "handleUserPageCode": case.handler_certificate_no or " ",
            "resultDate": china_time(case.finished_ms),
            "serviceTime": china_time(case.service_ms),
            "evaluateType": "1",  # 首次: a second one (追评) is the province's own business with the citizen
            "pf": code("pf", rating.channel),
            "type": code("type", case.channel),
            "contactMobile": case.mobile,
            "backUrl": "",
            "customFields": self._custom(rating, case),
            "pf5urltype": "",
            "alternate": self._codes.level(rating),
            "appraisald": tags,
            "appraisaldnum": str(len(tags.split(","))) if tags else "0",
            "writingevalua": rating.text,
            "assessTime": china_time(rating.pressed_ms),
        }

    def _custom(self, rating: Rating, case: Case) -> str:
        # 评价器编号, 业务流水号 and a number of the province's. One service of a case is one number. Where there was no
        # window, the channel stands for it.
        number = f"{case.case_no}-{rating.service_number}"
        where = f"{rating.hall}{rating.window}".replace(",", " ") or rating.channel
        return ",".join((where, number, self._settings.custom_tail))

    def _soap(self, token: str, hidden: str) -> bytes:
        operation = self._settings.operation
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            f'<soapenv:Envelope xmlns:soapenv="{_SOAP}" xmlns:web="{_OPERATIONS}">'
            f"<soapenv:Header><Authorization>Basic {escape(token)}</Authorization></soapenv:Header>"
            f"<soapenv:Body><web:{operation}>"
            f"<appKey>{escape(self._settings.app_key)}</appKey><xmlStr>{hidden}</xmlStr>"
            f"</web:{operation}></soapenv:Body></soapenv:Envelope>"
        ).encode()

    # ---- the answer

    def records(self, rating: Rating, case: Case, case_too: bool) -> list[tuple[str, dict[str, Any]]]:
        """The rating with its case."""
        return [(self._settings.rating_url, dict(self._record(rating, self._codes.mapped(case))))]

    def verdicts(self, answer: Answer, ratings: Sequence[Rated]) -> tuple[Verdict, ...]:
        """What the province's answer says about the one record that it was sent; never raises."""
        return (self._verdict(answer),)

    def _verdict(self, answer: Answer) -> Verdict:
        if answer.headers.get("x-error-code") == _STALE:
            return Unavailable(f"令牌已失效 / {_STALE}", token_stale=True)
        case = _returned(answer.body)
        if answer.status != 200 or case is None:
            return Unavailable(_said(answer), wait_s=wait_s(answer))
        if case.code == _TAKEN:
            return Accepted(words=quoted(case.words), receipt=case.receipt)
        return self._codes.judge(f"{case.words} [{case.code}]".lstrip())


class _Given(msgspec.Struct, frozen=True):
    """What the gateway hands out."""

    access_token: str = ""
    expires_in: int = _USUAL_S


# Worked out here, before there are threads: msgspec cannot do it in two at once.
_given = msgspec.json.Decoder(_Given, strict=False)


class _Case(msgspec.Struct, frozen=True):
    """<Case> of an answer."""

    code: str
    words: str
    receipt: str


def _said(answer: Answer) -> str:
    text = answer.body.decode("utf-8", "replace").strip()
    return quoted(f"HTTP {answer.status} {text}".rstrip()) if text or answer.status != 200 else "空答复 / empty answer"


def _returned(body: bytes) -> _Case | None:
    """What stands in <return>; None for anything that is not of the agreed shape."""
    envelope = _tree(body)
    if envelope is None:
        return None
    text = next((each.text for each in envelope.iter() if _local(each.tag) == "return"), None)
    case = _tree((text or "").encode())
    code = (case.findtext("code") or "").strip() if case is not None and case.tag == "Case" else ""
    if case is None or not code:
        return None
    words = next((case.findtext(name) for name in ("msg", "message", "data/msg") if case.findtext(name)), "") or ""
    return _Case(code, words.strip(), (case.findtext("data/evaluateUnid") or "").strip())


def _tree(xml: bytes) -> ElementTree.Element | None:
    if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml:
        return None  # no answer of theirs declares anything, and a declaration can make a kilobyte a gigabyte
    try:
        return ElementTree.fromstring(xml)  # noqa: S314 - nothing that was declared
    except (ElementTree.ParseError, LookupError, ValueError):  # no XML, or in an encoding that nobody knows
        return None


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _xml(record: dict[str, str]) -> bytes:
    # The prolog says GB2312, as its clients' does; the bytes are UTF-8, as theirs are.
    elements = "".join(f"<{name}>{escape(value.translate(_NO_XML))}</{name}>" for name, value in record.items())
    return f'<?xml version="1.0" encoding="GB2312"?><Case>{elements}</Case>'.encode()
