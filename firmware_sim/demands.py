"""What the province demands of a case and of a rating, field by field (A.1, A.2), in its own words when it refuses."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

_CHINA = timezone(timedelta(hours=8))

Record = dict[str, str]


class Field(NamedTuple):
    required: bool
    holds: Callable[[str], bool]


def _text(value: str) -> bool:
    return bool(value.strip())


def _shaped(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern, re.ASCII)
    return lambda value: compiled.fullmatch(value) is not None


def _one_of(codes: str) -> Callable[[str], bool]:
    known = frozenset(codes.split())
    return lambda value: value in known


def moment_ms(value: str) -> int | None:
    """When `yyyy-MM-dd HH:mm:ss` is, in China; None if that is no moment."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", value, re.ASCII):
        return None
    try:
        moment = datetime.strptime(value, "%Y-%m-%d %H:%M:%S").replace(tzinfo=_CHINA)
    except ValueError:
        return None
    return int(moment.timestamp() * 1000)


def _moment(value: str) -> bool:
    return moment_ms(value) is not None


_TASK_TYPE = _one_of("01 05 07 08 09 10 20 99")
_PAPER = _one_of("111 001 821 114 118 414 511 516 999")
_USCC = _shaped(r"[0-9A-Z]{18}")
_TASK = _shaped(r"[0-9A-Za-z]{31}")
_CASE_NO = _shaped(r"[0-9A-Za-z-]{1,50}")  # halls write hyphens into their case numbers
_NUMBER = _shaped(r"\d+")
_COUNT = _shaped(r"[1-9]\d*")
_SPAN = _one_of("0 1 2 3")

CASE_FIELDS = {
    "areaCode": Field(True, _shaped(r"\d{6}000000")),
    "deptCode": Field(False, _USCC),
    "taskType": Field(False, _TASK_TYPE),
    "taskCode": Field(True, _TASK),
    "proTaskCode": Field(True, _TASK),
    "taskHandleItem": Field(False, _shaped(r"[0-9A-Za-z]{33}")),
    "subMatter": Field(False, _text),
    "taskName": Field(True, _text),
    "proTaskName": Field(True, _text),
    "projectNo": Field(True, _CASE_NO),
    "proProjectNo": Field(True, _CASE_NO),
    "projectName": Field(False, _text),
    "proStatus": Field(True, _one_of("1 2 3")),
    "proDepart": Field(True, _text),
    "mobile": Field(True, _shaped(r"\d{11}")),
    "userName": Field(True, _text),
    "creditNum": Field(False, _text),
    "creditType": Field(True, _PAPER),
    "userProp": Field(True, _one_of("1 2 3 4 5 6 9")),
    "acceptDate": Field(False, _moment),
    "promiseDay": Field(False, _NUMBER),
    "promiseType": Field(False, _SPAN),
    "anticipateDay": Field(False, _NUMBER),
    "anticipateType": Field(False, _SPAN),
    "deptName": Field(True, _text),
    "proChannel": Field(False, _one_of("1 2")),
    "promiseTime": Field(False, _one_of("1 2")),
    "certKey": Field(False, _text),  # which of these two is required, case_mistake says
    "certkeyGOV": Field(False, _text),
    "orgcode": Field(True, _shaped(r"\d{12}_[0-9A-Z]{18}")),
    "orgName": Field(True, _text),
    "proManager": Field(False, _text),
    "userPageType": Field(True, _PAPER),
    "handleUserName": Field(False, _text),
    "handleUserPageType": Field(False, _PAPER),
    "handleUserPageCode": Field(False, _text),
    "serviceName": Field(True, _text),
    "serviceNumber": Field(False, _COUNT),  # kept locally by real clients, which do not send it
    "serviceTime": Field(True, _moment),
    "dataSource": Field(False, _shaped(r"\d{3}")),
    "projectType": Field(True, _one_of("1 2")),
    "resultDate": Field(False, _moment),  # required once proStatus says that the case is closed
}
RATING_FIELDS = {
    "taskType": Field(False, _TASK_TYPE),
    "projectNo": Field(True, _CASE_NO),
    "satisfaction": Field(True, _one_of("1 2 3 4 5")),
    "pf": Field(True, _one_of("1 2 3 4 5")),
    "name": Field(False, _text),
    "evalDetail": Field(False, _shaped(r"\d{3}(,\d{3})*")),
    "writingEvaluation": Field(False, _text),
    "assessTime": Field(True, _moment),
    "serviceNumber": Field(True, _COUNT),
}
# The national tags, the list in force and the one before it; the first digit is the level they belong to.
TAGS = frozenset(
    str(code)
    for first, last in (
        *((108, 115), (207, 214), (307, 314), (406, 413), (510, 517)),
        *((101, 107), (201, 206), (301, 306), (401, 402), (404, 405), (501, 509)),
    )
    for code in range(first, last + 1)
)

PARAMETERS_WRONG = "参数结构不正确，请检查参数结构"
NO_CASE = "没有对应的服务数据"
RATED_ALREADY = "评价数据不可重复，请勿重复提交"
CASE_ALREADY = "已存在该条服务信息，请勿重复提交！"
NO_REASON = "差评必须勾选详情或填写文字评价"


@dataclass(frozen=True)
class Rules:
    """What one province insists on, beyond the tables above."""

    tenancy: str = "370000000000"
    order: str = "C1C3C2"
    bad_sign: str = "签名验证失败"  # the real text is not public
    requires_reason: bool = False  # a bad rating needs tags or text
    refuses_early: bool = False  # assessTime before the serviceTime of its case
    refuses_future: bool = False  # assessTime more than five minutes ahead
    refuses_repeated_case: bool = False  # an identical case pushed again is refused instead of welcomed


def case_mistake(record: Record) -> str | None:
    """The first thing wrong with a case, in the province's words; None if it is in order."""
    if mistake := _fields_mistake(record, CASE_FIELDS):
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


def rating_mistake(record: Record, rules: Rules) -> str | None:
    """The first thing wrong with a rating by itself, in the province's words; None if it is in order."""
    if mistake := _fields_mistake(record, RATING_FIELDS):
        return mistake
    if missing := RATING_FIELDS.keys() - record.keys():
        return f"{PARAMETERS_WRONG}：缺少{min(missing)}"
    level, tags = record["satisfaction"], record["evalDetail"]
    for tag in tags.split(",") if tags else ():
        if tag not in TAGS or tag[0] != level:
            return f"{PARAMETERS_WRONG}：evalDetail {tag}"
    if rules.requires_reason and level in "12" and not (tags or record["writingEvaluation"]):
        return NO_REASON
    return None


def _fields_mistake(record: Record, known: Mapping[str, Field]) -> str | None:
    if unknown := record.keys() - known.keys():
        return f"{PARAMETERS_WRONG}：未知参数{min(unknown)}"
    for name, rule in known.items():
        value = record.get(name, "")
        if value is None and name == "taskHandleItem":
            continue  # the one field for which a main item is told to send null
        if not isinstance(value, str):
            return f"{PARAMETERS_WRONG}：{name}不是字符串"
        if rule.required and not value.strip():
            return f"{PARAMETERS_WRONG}：缺少{name}"
        if value and not rule.holds(value):
            return f"{PARAMETERS_WRONG}：{name}"
    return None
