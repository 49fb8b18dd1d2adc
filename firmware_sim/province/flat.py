"""Dialect C from the province's side: one plain form of 25 fields, behind a platform that wants to know who calls."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl

from firmware_sim.province import Answer, Call, Opened, Outcome, Times, Told, shown
from firmware_sim.province.demands import (
    COUNT,
    STAGE,
    TAG_LIST,
    TASK,
    TASK_ITEM,
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

RATING_PATH = "/zwztapi/offlinereport.do"
PARAMETERS_WRONG = "参数错误"

FIELDS = {
    "areaCode": Field(True, shaped(r"\d{12}")),
    "areaName": Field(True, is_text),
    "deptCode": Field(True, USCC),
    "taskCode": Field(True, TASK),
    "taskHandleItem": Field(False, TASK_ITEM),
    "taskName": Field(True, is_text),
    "subMatter": Field(False, is_text),
    "projectNo": Field(True, shaped(r"[0-9A-Za-z-]{1,50}")),
    "proStatus": Field(True, STAGE),
    "proDepartCode": Field(True, USCC),
    "proDepart": Field(True, is_text),
    "proManager": Field(False, is_text),
    "pf": Field(True, one_of("1 2 3 4 5 6")),  # 7, the system's own ratings, come from nobody outside
    "certkeyGOV": Field(True, is_text),
    "userName": Field(True, is_text),
    "userProp": Field(True, one_of("1 2")),
    "satisfaction": Field(True, one_of("1 2 3 4 5")),
    "evalDetail": Field(False, TAG_LIST),
    "writingEvaluation": Field(False, is_text),
    "assessTime": Field(True, is_moment),
    "assessNumber": Field(True, COUNT),
    "appStatus": Field(True, one_of("1 2 3")),
    "promiseTime": Field(True, one_of("1 2")),
    "acceptDate": Field(True, is_moment),
    "dataSource": Field(True, shaped(r"\d{3}")),
}


@dataclass(frozen=True)
class FlatKeys:
    """What the platform in between and its client have agreed on."""

    app_id: str
    app_secret: str

    @classmethod
    def made(cls) -> Self:
        return cls(f"hall{secrets.token_hex(4)}", secrets.token_hex(16))


class Flat:
    """The platform and the business behind it."""

    paths = (RATING_PATH,)
    case_first = False
    no_case = ""
    rated_already = "该办件已评价，无需重复评价"

    def __init__(self, keys: FlatKeys, rules: Rules | None = None):
        self.keys = keys
        self.rules = rules or Rules()

    def open(self, call: Call) -> Opened | Answer:
        if (call.headers.get("appid"), call.headers.get("appsecret")) != (self.keys.app_id, self.keys.app_secret):
            return Answer(401)
        if not call.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return Opened(refusal=f"{PARAMETERS_WRONG}：Content-Type")
        try:
            pairs = parse_qsl(call.body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict")
        except (ValueError, UnicodeDecodeError):
            return Opened(refusal=PARAMETERS_WRONG)
        record = dict(pairs)
        if len(record) != len(pairs):
            return Opened(refusal=f"{PARAMETERS_WRONG}：重复")
        number = record.get("assessNumber", "")
        row = record | {"serviceNumber": number}
        return Opened((Told("rating", record, record.get("projectNo", ""), number, row),))

    def mistake(self, told: Told) -> str | None:
        record = told.record
        if mistake := fields_mistake(record, FIELDS, PARAMETERS_WRONG):
            return mistake
        if missing := FIELDS.keys() - record.keys():
            return f"{PARAMETERS_WRONG}：缺少{min(missing)}"
        if wrong := tags_mistake(record["evalDetail"], record["satisfaction"]):
            return f"{PARAMETERS_WRONG}：evalDetail {wrong}"
        bare = not (record["evalDetail"] or record["writingEvaluation"])
        if self.rules.requires_reason and record["satisfaction"] in "12" and bare:
            return "差评必须勾选详情或填写文字评价"
        return None

    def repeated(self) -> str | None:
        return None

    def times(self, told: Told, case: Record) -> Times:
        return Times(moment_ms(told.record["assessTime"]) or 0, moment_ms(told.record["acceptDate"]))

    def answer(self, outcomes: Sequence[Outcome]) -> Answer:
        [outcome] = outcomes
        if outcome.kind == "accepted":
            return shown({"success": True, "data": outcome.receipt, "errorMsg": ""})
        return shown({"success": False, "data": None, "errorMsg": outcome.words})

    def spoilt(self, kind: str) -> Outcome:
        match kind:
            case "body_false":
                return Outcome("refused", "业务校验未通过")
            case "missing_parameter":
                return Outcome("refused", f"{PARAMETERS_WRONG}：缺少taskCode")
            case _:
                return Outcome("refused", "签名验证失败")

    def token_lost(self) -> Answer:
        return Answer(401)
