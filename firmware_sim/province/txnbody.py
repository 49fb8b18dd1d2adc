"""Dialect A from the province's side: the "txnBodyCom" envelope, its records, and its other questions."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import parse_qs

from firmware_sim import sm2
from firmware_sim.province import Answer, Call, Opened, Outcome, Province, Times, Told
from firmware_sim.province.demands import (
    COUNT,
    PAPER,
    STAGE,
    TAG_LIST,
    TASK,
    TASK_ITEM,
    TASK_TYPE,
    USCC,
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

CASE_PATH, RATING_PATH, ONLINE_PATH = "/hcp/case", "/hcp/offline-rating", "/hcp/online-rating"
INDICATORS_PATH, SERVICES_PATH, PAGE_PATH = "/hcp/indicators", "/hcp/services", "/hcp/page"

_CASE_NO = shaped(r"[0-9A-Za-z-]{1,50}")  # halls write hyphens into their case numbers
_NUMBER = shaped(r"\d+")
_SPAN = one_of("0 1 2 3")
_PROP = one_of("1 2 3 4 5 6 9")

CASE_FIELDS = {
    "areaCode": Field(True, shaped(r"\d{6}000000")),
    "deptCode": Field(False, USCC),
    "taskType": Field(False, TASK_TYPE),
    "taskCode": Field(True, TASK),
    "proTaskCode": Field(True, TASK),
    "taskHandleItem": Field(False, TASK_ITEM),
    "subMatter": Field(False, is_text),
    "taskName": Field(True, is_text),
    "proTaskName": Field(True, is_text),
    "projectNo": Field(True, _CASE_NO),
    "proProjectNo": Field(True, _CASE_NO),
    "projectName": Field(False, is_text),
    "proStatus": Field(True, STAGE),
    "proDepart": Field(True, is_text),
    "mobile": Field(True, shaped(r"\d{11}")),
    "userName": Field(True, is_text),
    "creditNum": Field(False, is_text),
    "creditType": Field(True, PAPER),
    "userProp": Field(True, _PROP),
    "acceptDate": Field(False, is_moment),
    "promiseDay": Field(False, _NUMBER),
    "promiseType": Field(False, _SPAN),
    "anticipateDay": Field(False, _NUMBER),
    "anticipateType": Field(False, _SPAN),
    "deptName": Field(True, is_text),
    "proChannel": Field(False, one_of("1 2")),
    "promiseTime": Field(False, one_of("1 2")),
    "certKey": Field(False, is_text),  # which of these two is required, _case_mistake says
    "certkeyGOV": Field(False, is_text),
    "orgcode": Field(True, shaped(r"\d{12}_[0-9A-Z]{18}")),
    "orgName": Field(True, is_text),
    "proManager": Field(False, is_text),
    "userPageType": Field(True, PAPER),
    "handleUserName": Field(False, is_text),
    "handleUserPageType": Field(False, PAPER),
    "handleUserPageCode": Field(False, is_text),
    "serviceName": Field(True, is_text),
    "serviceNumber": Field(False, COUNT),  # kept locally by real clients, which do not send it
    "serviceTime": Field(True, is_moment),
    "dataSource": Field(False, shaped(r"\d{3}")),
    "projectType": Field(True, one_of("1 2")),
    "resultDate": Field(False, is_moment),  # required once proStatus says that the case is closed
}
RATING_FIELDS = {
    "taskType": Field(False, TASK_TYPE),
    "projectNo": Field(True, _CASE_NO),
    "satisfaction": Field(True, one_of("1 2 3 4 5")),
    "pf": Field(True, one_of("1 2 3 4 5")),
    "name": Field(False, is_text),
    "evalDetail": Field(False, TAG_LIST),
    "writingEvaluation": Field(False, is_text),
    "assessTime": Field(True, is_moment),
    "serviceNumber": Field(True, COUNT),
}
ONLINE_FIELDS = {
    "projectNo": Field(True, _CASE_NO),
    "pf": Field(True, one_of("1 2 3")),
    "deptCode": Field(False, USCC),
    "taskCode": Field(True, TASK),
    "taskHandleItem": Field(False, TASK_ITEM),
    "taskName": Field(True, is_text),
    "subMatter": Field(False, is_text),
    "proStatus": Field(True, STAGE),
    "proDepart": Field(True, is_text),
    "certKey": Field(True, is_text),
    "userName": Field(True, is_text),
    "userProp": Field(True, _PROP),
    "userPageType": Field(True, PAPER),
    "handleUserName": Field(False, is_text),
    "handleUserPageType": Field(False, PAPER),
    "handleUserPageCode": Field(False, is_text),
    "satisfaction": Field(True, one_of("1 2 3 4 5")),
    "evalDetail": Field(False, TAG_LIST),
    "serviceNumber": Field(True, COUNT),
    "writingEvaluation": Field(False, is_text),
    "assessTime": Field(True, is_moment),
    "assessNumber": Field(True, one_of("1 2")),
    "dataSource": Field(False, shaped(r"\d{3}")),
    "promisetime": Field(False, one_of("1 2")),
    "acceptDate": Field(False, is_moment),
}
_FIELDS = {RATING_PATH: RATING_FIELDS, ONLINE_PATH: ONLINE_FIELDS}

PARAMETERS_WRONG = "参数结构不正确，请检查参数结构"
NO_CASE = "没有对应的服务数据"
RATED_ALREADY = "评价数据不可重复，请勿重复提交"
CASE_ALREADY = "已存在该条服务信息，请勿重复提交！"
NO_REASON = "差评必须勾选详情或填写文字评价"
INDICATORS = [  # some of the list in force, and one of the list before it
    {"starLevel": code[0], "normCode": code, "normName": name, "usingStatus": using, "expandNorm": more}
    for code, name, using, more in (
        ("510", "一窗受理一次办结", True, False),
        ("115", "服务态度差效率低", True, True),
        ("501", "旧版标签", False, False),
    )
]


@dataclass(frozen=True)
class Keys:
    """What the province and its client have agreed on. The client gets all of it but `private_hex`."""

    private_hex: str
    public_hex: str
    app_mark: str
    app_word: str
    client_private_hex: str = ""
    """The client's own key: what the province hides for it is opened with this one."""
    client_public_hex: str = ""


class TxnBody:
    """The gateway and the business behind it."""

    paths = (CASE_PATH, RATING_PATH, ONLINE_PATH, INDICATORS_PATH, SERVICES_PATH, PAGE_PATH)
    case_first = True
    no_case = NO_CASE
    rated_already = RATED_ALREADY

    def __init__(self, keys: Keys, rules: Rules | None = None):
        self.keys = keys
        self.rules = rules or Rules()
        self.unrated: Any = list  # set by who has the province
        # A client may show one sign for as long as its second lasts, and opening it takes as long as opening a record.
        self._sign = lru_cache(maxsize=64)(self._decrypted)

    # opening

    def open(self, call: Call) -> Opened | Answer:
        if call.path == PAGE_PATH:
            return self._page(call.query)
        tenancy = call.headers.get("c-tenancy-id")
        if tenancy != self.rules.tenancy:
            return Opened(refusal=f"{PARAMETERS_WRONG}：C-Tenancy-Id")
        try:
            match json.loads(call.body):
                case {
                    "txnBodyCom": {
                        "appMark": str(mark),
                        "time": str(moment),
                        "sign": str(sign),
                        "params": dict(params),
                    },
                    "txnCommCom": dict(),
                }:
                    return self._open_signed(call.path, mark, moment, sign, params)
        except ValueError:  # not JSON, or not UTF-8
            pass
        return Opened(refusal=PARAMETERS_WRONG)

    def _open_signed(self, path: str, mark: str, moment: str, sign: str, params: dict[str, Any]) -> Opened | Answer:
        if not re.fullmatch(r"\d{14}", moment, re.ASCII):
            return Opened(refusal=f"{PARAMETERS_WRONG}：time")
        if path != INDICATORS_PATH:
            match params:
                case {"evaluate": [str()]}:
                    pass
                case _:
                    return Opened(refusal=PARAMETERS_WRONG)
        if self._sign(sign) != f"{moment}{self.keys.app_mark}{self.keys.app_word}" or mark != self.keys.app_mark:
            return Opened(refusal=self.rules.bad_sign)
        if path == INDICATORS_PATH:
            return _reply("success", more={"normList": INDICATORS})
        try:
            match json.loads(self._decrypted(params["evaluate"][0]) or ""):
                case [dict(record)]:
                    return self._services(record) if path == SERVICES_PATH else Opened((_told(path, record),))
        except ValueError:
            pass
        return Opened(refusal=f"{PARAMETERS_WRONG}：evaluate")

    def _services(self, asked: Record) -> Answer:
        """Which services of this citizen nobody has rated; hidden for the client."""
        if asked.get("mark") != "0" or not (
            asked.get("userName") and asked.get("creditType") and asked.get("creditNum")
        ):
            return _reply(PARAMETERS_WRONG, PARAMETERS_WRONG)
        names = ("projectNo", "serviceNumber", "serviceName", "taskName")
        theirs = [
            {name: case.get(name, "") for name in names}
            for case in self.unrated()
            if case["userName"] == asked["userName"] and case["creditNum"] == asked["creditNum"]
        ]
        text = json.dumps(theirs, ensure_ascii=False).encode()
        return _reply(
            "success", more={"serviceList": [sm2.encrypt(text, self.keys.client_public_hex, self.rules.order)]}
        )

    def _page(self, query: str) -> Answer:
        """Its own rating page: 200 for an address that was signed with our key, 403 for any other."""
        asked = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
        stamp = asked.get("timestamp", "")
        known = asked.get("appId") == self.keys.app_mark
        signed = self._decrypted(asked.get("sign", "")) == f"{stamp}{self.keys.app_mark}{self.keys.app_word}"
        wanted = ("areaId", "projectId", "serviceName", "serviceNumber", "pf")
        if not (known and signed and all(asked.get(name) for name in wanted)):
            return Answer(403)
        return Answer(200, {"Content-Type": "text/html;charset=UTF-8"}, f"<h1>{asked['projectId']}</h1>".encode())

    def _decrypted(self, text: str) -> str | None:
        try:
            return sm2.decrypt(text, self.keys.private_hex, self.rules.order).decode()
        except ValueError:
            return None

    # judging

    def mistake(self, told: Told) -> str | None:
        if told.kind == "case":
            return _case_mistake(told.record)
        return _rating_mistake(told.record, self.rules, ONLINE_FIELDS if told.id == ONLINE_PATH else RATING_FIELDS)

    def repeated(self) -> str | None:
        return CASE_ALREADY if self.rules.refuses_repeated_case else None

    def times(self, told: Told, case: Record) -> Times:
        return Times(moment_ms(told.record["assessTime"]) or 0, moment_ms(case["serviceTime"]) or 0)

    def answer(self, outcomes: Sequence[Outcome]) -> Answer:
        [outcome] = outcomes
        match outcome.kind:
            case "accepted":
                return _reply("success")
            case "body_false":
                return _reply("success", outcome.words)
            case _:
                return _reply(outcome.words, outcome.words)

    def spoilt(self, kind: str) -> Outcome:
        match kind:
            case "body_false":
                return Outcome("body_false", "业务校验未通过")
            case "missing_parameter":
                return Outcome("refused", PARAMETERS_WRONG)
            case _:
                return Outcome("refused", self.rules.bad_sign)

    def token_lost(self) -> Answer:
        return Answer(401)


def province(keys: Keys, rules: Rules | None = None, **more: Any) -> Province:
    """A province of this dialect; `more` as `Province` takes it."""
    way = TxnBody(keys, rules)
    there = Province(way, way.rules, **more)
    way.unrated = there.unrated
    return there


def _told(path: str, record: Record) -> Told:
    kind: Literal["case", "rating"] = "case" if path == CASE_PATH else "rating"
    case_no, service = record.get("projectNo"), record.get("serviceNumber")
    return Told(
        kind,
        record,
        case_no if isinstance(case_no, str) else "",
        service if isinstance(service, str) else "",
        row=record,
        id=path,
    )


def _reply(description: str, objection: str = "", more: Mapping[str, Any] | None = None) -> Answer:
    """The gateway's form: `description` is its own word, `objection` that of the business behind it."""
    refused = description != "success"
    words = {
        "C-API-Status": "01" if refused else "00",
        "C-Response-Code": "000000000001" if refused else "000000000000",
        "C-Response-Desc": description,
        "C-Response-Body": {"success": "false" if objection else "true", "message": objection, **(more or {})},
    }
    body = json.dumps(words, ensure_ascii=False, separators=(",", ":")).encode()
    return replace(Answer(200, {"Content-Type": "application/json;charset=UTF-8"}), body=body)


def _case_mistake(record: Record) -> str | None:
    """The first thing wrong with a case, in the province's words; None if it is in order."""
    if mistake := fields_mistake(record, CASE_FIELDS, PARAMETERS_WRONG, nullable=("taskHandleItem",)):
        return mistake
    online = record.get("proChannel") == "1"
    wanted, other = ("certKey", "certkeyGOV") if online else ("certkeyGOV", "certKey")
    if not record.get(wanted):
        return f"{PARAMETERS_WRONG}：缺少{wanted}"
    if record.get(other):
        return f"{PARAMETERS_WRONG}：proChannel不允许{other}"
    if record["proStatus"] == "3" and not record.get("resultDate"):
        return f"{PARAMETERS_WRONG}：缺少resultDate"
    if (item := record.get("taskHandleItem")) and not item.startswith(record["taskCode"]):
        return f"{PARAMETERS_WRONG}：taskCode不是taskHandleItem的前31位"
    return None


def _rating_mistake(record: Record, rules: Rules, known: Mapping[str, Field]) -> str | None:
    """The first thing wrong with a rating by itself, in the province's words; None if it is in order."""
    if mistake := fields_mistake(record, known, PARAMETERS_WRONG, nullable=("taskHandleItem",)):
        return mistake
    if missing := known.keys() - record.keys():
        return f"{PARAMETERS_WRONG}：缺少{min(missing)}"
    level, tags = record["satisfaction"], record["evalDetail"]
    if wrong := tags_mistake(tags, level):
        return f"{PARAMETERS_WRONG}：evalDetail {wrong}"
    if rules.requires_reason and level in "12" and not (tags or record["writingEvaluation"]):
        return NO_REASON
    return None
