"""Dialect B from the province's side: a token gateway, SOAP 1.1, and a case with its rating as XML in SM4 blocks."""

import base64
import binascii
import hashlib
import re
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qs
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.ciphers.modes import ECB

from firmware_sim.province import Answer, Call, Opened, Outcome, Times, Told, shown
from firmware_sim.province.demands import (
    PAPER,
    STAGE,
    TAG_LIST,
    Field,
    Record,
    Rules,
    fields_mistake,
    is_moment,
    is_text,
    moment_ms,
    one_of,
    shaped,
    tags_mistake,
)

TOKEN_PATH = "/api-gateway/gateway/get-token"  # noqa: S105
RATING_PATH = "/wailian/webservice/getSaveEvaluation"
TOKEN_S = 120

_SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"
_OPERATION = "{http://webServiceInterface.cms.linewell.com}getSaveEvaluation"
_MISSING = "缺少必要参数:"
_NUMBER = shaped(r"\d+")

FIELDS = {
    "sysNO": Field(True, is_text),
    "businessCode": Field(True, shaped(r"[0-9A-Za-z]{31,33}")),
    "businessName": Field(True, is_text),
    "projectNo": Field(True, shaped(r"[0-9A-Za-z-]{1,50}")),
    "proStatus": Field(True, STAGE),
    "projectName": Field(True, is_text),
    "nodeName": Field(True, is_text),
    "regionCode": Field(True, shaped(r"\d{6}")),
    "acceptDate": Field(True, is_moment),
    "userProp": Field(True, one_of("1 2 3 4 5 6 9")),
    "userName": Field(True, is_text),
    "userPageType": Field(True, PAPER),
    "certKey": Field(True, is_text),
    "handleUserName": Field(False, lambda _value: True),  # one blank where there is nobody
    "handleUserPageType": Field(False, lambda value: value == " " or PAPER(value)),
    "handleUserPageCode": Field(False, lambda _value: True),
    "resultDate": Field(False, is_moment),
    "serviceTime": Field(True, is_moment),
    "evaluateType": Field(True, one_of("1 2")),
    "pf": Field(True, one_of("1 2 3 4 5 6 7")),
    "type": Field(True, one_of("1 2 3")),
    "contactMobile": Field(True, shaped(r"\d{11}")),
    "backUrl": Field(False, is_text),
    "customFields": Field(True, shaped(r"[^,]+,[^,]+,[^,]+")),
    "pf5urltype": Field(False, is_text),
    "alternate": Field(True, one_of("1 2 3 4 5")),
    "appraisald": Field(False, TAG_LIST),
    "appraisaldnum": Field(False, _NUMBER),
    "writingevalua": Field(False, is_text),
    "assessTime": Field(True, is_moment),
}


@dataclass(frozen=True)
class LinewellKeys:
    """What the province and its client have agreed on."""

    app_key: str
    app_secret: str
    system_no: str

    @classmethod
    def made(cls) -> Self:
        return cls(f"hall{secrets.token_hex(4)}", secrets.token_hex(16), "FJ0042")


class Linewell:
    """The gateway and the service behind it."""

    paths = (TOKEN_PATH, RATING_PATH)
    case_first = False
    no_case = ""
    rated_already = "重复值错误"

    def __init__(self, keys: LinewellKeys, rules: Rules | None = None):
        self.keys = keys
        self.rules = rules or Rules()
        self._tokens: dict[str, int] = {}
        self._lock = threading.Lock()

    # opening

    def open(self, call: Call) -> Opened | Answer:
        if call.path == TOKEN_PATH:
            return self._handed_out(call)
        try:
            envelope = ElementTree.fromstring(call.body)  # noqa: S314 - a simulator's own client
        except ElementTree.ParseError:
            return Answer(500)
        token = envelope.findtext(f"{_SOAP}Header/Authorization") or ""
        with self._lock:
            known = token.startswith("Basic ") and self._tokens.get(token[6:], 0) > call.now_ms
        if not known:
            return self.token_lost()
        operation = envelope.find(f"{_SOAP}Body/{_OPERATION}")
        if operation is None or operation.findtext("appKey") != self.keys.app_key:
            return Opened(refusal="401 未登录")
        record = self._opened(operation.findtext("xmlStr") or "")
        if record is None:
            return Opened(refusal="500 解密失败")
        return Opened((_told(record),))

    def _handed_out(self, call: Call) -> Answer:
        asked = {name: values[0] for name, values in parse_qs(call.query).items()}
        stamp = asked.get("timestamp", "")
        sign = hashlib.md5((self.keys.app_secret + stamp).encode()).hexdigest()  # noqa: S324 - the interface's
        right = asked.get("app_key") == self.keys.app_key and asked.get("sign", "").lower() == sign
        far = self.rules.sign_clock_ms
        if not right or not stamp.isdigit() or (far and abs(int(stamp) - call.now_ms) > far):
            return shown({"code": 401, "msg": "签名错误"}, 401)
        token = secrets.token_hex(16)
        with self._lock:
            self._tokens = {old: until_ms for old, until_ms in self._tokens.items() if until_ms > call.now_ms}
            self._tokens[token] = call.now_ms + TOKEN_S * 1000
        return shown(
            {
                "access_token": token,
                "refresh_token": secrets.token_hex(16),
                "expires_in": TOKEN_S,
                "re_expires_in": 7200,
            }
        )

    def _opened(self, sealed: str) -> Record | None:
        # The digest's first sixteen letters are the key, as they are.
        key = hashlib.md5(self.keys.app_secret.encode()).hexdigest()[:16].encode()  # noqa: S324 - the interface's
        try:
            blocks = base64.b64decode(sealed, validate=True)
            decryptor = Cipher(SM4(key), ECB()).decryptor()  # noqa: S305 - the interface's
            text = (decryptor.update(blocks) + decryptor.finalize()).rstrip(b"\0").decode("utf-8")
            # What the prolog says of the encoding is not true, and everybody knows.
            prolog = re.match(r'<\?xml version="1\.0" encoding="GB2312"\?>', text)
            case = ElementTree.fromstring(text[prolog.end() :]) if prolog else None  # noqa: S314
        except (binascii.Error, ValueError, ElementTree.ParseError):
            return None
        if case is None or case.tag != "Case":
            return None
        return {element.tag: element.text or "" for element in case}

    # judging

    def mistake(self, told: Told) -> str | None:
        record = told.record
        if mistake := fields_mistake(record, FIELDS, "400 请求参数有误"):
            return mistake
        if record["sysNO"] != self.keys.system_no:
            return "400 系统编号不存在"
        if record["proStatus"] == "3" and not record["resultDate"]:
            return f"400 {_MISSING}resultDate"
        tags = record["appraisald"]
        if wrong := tags_mistake(tags, record["alternate"]):
            return f"400 请求参数有误：appraisald {wrong}"
        if record["appraisaldnum"] != str(len(tags.split(",")) if tags else 0):
            return "400 请求参数有误：appraisaldnum"
        if self.rules.requires_reason and record["alternate"] in "12" and not (tags or record["writingevalua"]):
            return "400 差评必须勾选详情或填写文字评价"
        return None

    def repeated(self) -> str | None:
        return None

    def times(self, told: Told, case: Record) -> Times:
        return Times(moment_ms(told.record["assessTime"]) or 0, moment_ms(told.record["serviceTime"]))

    def answer(self, outcomes: Sequence[Outcome]) -> Answer:
        [outcome] = outcomes
        match outcome.kind:
            case "accepted":
                return _soap("200", "成功", outcome.receipt)
            case "duplicate":
                return _soap("3", outcome.words)
            case _:
                code, _, words = outcome.words.partition(" ")
                return _soap(code, words) if code.isdigit() else _soap("400", outcome.words)

    def spoilt(self, kind: str) -> Outcome:
        match kind:
            case "body_false":
                return Outcome("refused", "400 业务校验未通过")
            case "missing_parameter":
                return Outcome("refused", f"400 {_MISSING}EXE_ID")
            case _:
                return Outcome("refused", "500 系统内部错误")

    def token_lost(self) -> Answer:
        with self._lock:
            self._tokens.clear()
        return Answer(400, {"x-error-code": "access_token_invalid"})


def _told(record: Record) -> Told:
    parts = record.get("customFields", "").split(",")
    service = parts[1] if len(parts) == 3 else ""
    number = service.rpartition("-")[2]
    row = record | {"serviceNumber": number, "satisfaction": record.get("alternate", "")}
    return Told("rating", record, record.get("projectNo", ""), number, row=row)


def _soap(code: str, words: str, receipt: str = "") -> Answer:
    data = f"<data><evaluateUnid>{receipt}</evaluateUnid></data>" if receipt else f"<msg>{escape(words)}</msg>"
    case = f"<Case><code>{code}</code>{data}</Case>"
    body = (
        '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>'
        '<ns2:getSaveEvaluationResponse xmlns:ns2="http://webServiceInterface.cms.linewell.com">'
        f"<return>{escape(case)}</return></ns2:getSaveEvaluationResponse></soap:Body></soap:Envelope>"
    )
    return Answer(200, {"Content-Type": "text/xml;charset=UTF-8"}, body.encode())
