"""The fields of a case as a person puts them right: what each is called, how its value is shown, and read again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from protocols.ratings import Case
from protocols.words import Words, said_in

from ..ledger.desk import FIELDS, NotSo
from ..vault import PERSONAL
from .language import say

_CHINA = timezone(timedelta(hours=8))
WORDS = {
    "case_no": "办件编号 / case number",
    "service_number": "服务序号 / service number",
    "service_name": "服务名称 / service",
    "service_ms": "服务时间 / service time",
    "case_name": "办件名称 / case name",
    "status": "办件状态 / status",
    "case_type": "办件类型 / kind of case",
    "item_code": "事项编码 / item code",
    "item_handle_code": "业务办理项编码 / handling item code",
    "item_name": "事项名称 / item",
    "item_type": "事项类型 / kind of item",
    "item_theme": "事项主题 / theme of item",
    "area_code": "行政区划 / area code",
    "area_name": "行政区划名称 / area",
    "dept_code": "部门代码 / department code",
    "dept_name": "部门 / department",
    "channel": "办理渠道 / way of handling",
    "accepted_ms": "受理时间 / accepted",
    "finished_ms": "办结时间 / finished",
    "clerk_name": "窗口人员 / clerk",
    "applicant_type": "申请人类型 / kind of applicant",
    "applicant_name": "申请人 / applicant",
    "certificate_type": "申请人证件类型 / certificate type",
    "certificate_no": "申请人证件号 / certificate number",
    "mobile": "手机号 / mobile number",
    "handler_name": "代办人 / handler",
    "handler_certificate_type": "代办人证件类型 / handler's certificate type",
    "handler_certificate_no": "代办人证件号 / handler's certificate number",
    # Of the rating itself, which no case puts right.
    "rating_channel": "评价渠道 (省平台代码表里没有) / the rating's channel (not in the province's code table)",
    "pressed_ms": "按下时间 / time of the press",
}
_VALUES = {
    "pending": "待受理 / pending",
    "accepted": "已受理 / accepted",
    "finished": "已办结 / finished",
    "immediate": "即办件 / immediate",
    "promised": "承诺件 / promised",
    "online": "线上 / online",
    "offline": "线下 / offline",
    "person": "自然人 / person",
    "enterprise": "企业 / enterprise",
    "institution": "事业单位 / institution",
    "social_organisation": "社会组织 / social organisation",
    "unincorporated": "非法人企业 / unincorporated",
    "government": "行政机关 / government",
    "other": "其他 / other",
    "id_card": "身份证 / identity card",
    "uscc": "统一社会信用代码 / USCC",
    "business_licence": "营业执照 / business licence",
    "officer": "军官证 / officer's card",
    "passport": "护照 / passport",
    "taiwan": "台胞证 / Taiwan pass",
    "hk_macau": "港澳通行证 / Hong Kong and Macau pass",
    "": "– / –",
}


class Field(NamedTuple):
    """One field of the form. `value` is empty where somebody's details stand, which `shown` tells of, masked.
    `lacking`: whether the province misses it, or does not take what stands there; or neither."""

    name: str
    words: str
    kind: Literal["text", "time", "choice", "personal"]
    shown: str
    value: str
    options: list[tuple[str, str]]
    lacking: Literal["", "missing", "malformed"]


def form(case: Mapping[str, Any], lacking: str) -> list[Field]:
    """What can be put right of a case as `Desk.shown` gives it; what the province misses of it stands first."""
    missed = set(_names(lacking))
    fields = [_field(name, case.get(name), name in missed) for name in FIELDS]
    return sorted(fields, key=lambda each: not each.lacking)


def told(case: Mapping[str, Any], lacking: str) -> str:
    """What the province misses of this case, and what of it is there and not taken, as `Chinese / English`."""
    found = form(case, lacking)
    parts = [_words(name for name in _names(lacking) if name not in FIELDS)]
    for kind, zh, en in (("missing", "缺少", "missing"), ("malformed", "不合格式", "not in the form it has to have")):
        names = _words(each.name for each in found if each.lacking == kind)
        parts.append(Words(f"{zh} {names.zh}", f"{en}: {names.en}") if names.zh else names)
    said = [each for each in parts if each.zh]
    return str(Words("; ".join(each.zh for each in said), "; ".join(each.en for each in said))) if said else ""


def named(lacking: str) -> str:
    """The same where nobody has the case at hand: what it is called, as `Chinese / English`."""
    return str(_words(_names(lacking)))


def _names(lacking: str) -> list[str]:
    return [name for name in map(str.strip, lacking.split(",")) if name]


def _words(names: Iterable[str]) -> Words:
    said = [WORDS.get(name, name) for name in names]
    return Words(*(", ".join(said_in(each, language) for each in said) for language in ("zh", "en")))


def changes(given: Mapping[str, str], case: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that differ from the case in what a person filled in. NotSo for a time that is none."""
    found: dict[str, Any] = {}
    for field in form(case, ""):
        said = given.get(field.name, field.value).strip()
        if field.kind == "time":
            # As times and not as text: browsers leave out seconds that are none.
            if _time(field.name, said) != _time(field.name, field.value):
                found[field.name] = _time(field.name, said)
        elif said != field.value:
            found[field.name] = said
    return found


def text_of(name: str, value: Any) -> str:
    """A value of this field: one of ours in the reader's language, what somebody wrote as it stands."""
    if name.endswith("_ms"):
        return _moment(value).replace("T", " ")
    return say(_VALUES.get(value or "", value)) if _choices(name) else str(value or "")


def _field(name: str, value: Any, missed: bool) -> Field:
    shown = text_of(name, value)
    lacking: Literal["", "missing", "malformed"] = (
        "" if not missed else "missing" if value in (None, "") else "malformed"
    )
    if name in PERSONAL:
        return Field(name, WORDS[name], "personal", shown, "", [], lacking)
    if name.endswith("_ms"):
        return Field(name, WORDS[name], "time", shown, _moment(value), [], lacking)
    options = [(each, _VALUES[each]) for each in _choices(name)]
    standing = str(value or (Case("").channel if name == "channel" else ""))
    return Field(name, WORDS[name], "choice" if options else "text", shown, standing, options, lacking)


_HINTS = get_type_hints(Case)


def _choices(name: str) -> tuple[str, ...]:
    kind = _HINTS.get(name)
    return get_args(kind) if get_origin(kind) is Literal else ()


def _moment(at_ms: int | None) -> str:
    return "" if at_ms is None else datetime.fromtimestamp(at_ms // 1000, _CHINA).strftime("%Y-%m-%dT%H:%M:%S")


def _time(name: str, said: str) -> int | None:
    if not said:
        return None
    try:
        return int(datetime.fromisoformat(said).replace(tzinfo=_CHINA).timestamp()) * 1000
    except (ValueError, OverflowError) as error:
        raise NotSo(name, f"{WORDS[name].partition(' / ')[0]}: 应为时间 / {name}: must be a time") from error
