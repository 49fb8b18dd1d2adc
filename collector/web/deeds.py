"""What a line of the audit log says, as a sentence in one language, and the page of what it was done to."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import quote, unquote

from protocols.words import Language, said_in

from ..alerts.kinds import KINDS as TROUBLES
from ..mending.words import KINDS, LEVELS, OUTCOMES, STEPS, TABS
from ..people.log import ACTIONS, Line
from ..people.roles import WORDS as ROLES
from ..reconcile.words import REASONS
from . import fields
from .language import many


class Deed(NamedTuple):
    """What somebody did; `address` is empty where there is no page of what it was done to."""

    words: str
    address: str = ""


class _Form(NamedTuple):
    """How one action is said: what its `about` looks like, and the sentence around its parts."""

    about: str
    zh: str
    en: str
    address: str = ""


def deed(line: Line, language: Language) -> Deed:
    """This line as a sentence without its subject. One of a newer program stands as that wrote it."""
    form = _FORMS.get(line.action)
    found = form and re.fullmatch(form.about, line.about)
    if not form or not found:
        name = said_in(ACTIONS.get(line.action, line.action), language)
        # As it stands, both languages of it if there are two: whoever wrote it must not choose what is left out.
        return Deed(f"{name} {line.about}".strip())
    parts = {name: _PARTS.get(name, _as_it_is)(part or "", language) for name, part in found.groupdict().items()}
    return Deed((form.zh if language == "zh" else form.en).format(**parts).strip(" ,:"), form.address.format(**parts))


def picks(given: Mapping[str, str]) -> str:
    """What was picked, for the `about` of a line: `hall=… level=…`, and no value can be taken for another pick."""
    # Bounded, for a line that is too long is cut; %20 for a space, as in an address.
    values = {name: _BLANK.sub(lambda found: quote(found[0]), value[:_PICK_MAX]) for name, value in given.items()}
    return " ".join(f"{name}={value}" for name, value in values.items() if value)


_PICK_MAX = 64  # characters, as long as the name of a hall
_BLANK = re.compile(r"[\s%\x00-\x1f]")
_WORD = re.compile(r"[\w./-]+")
_MARKS = str.maketrans("“”", '""')
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_NUMBERED = r"#(?P<n>[0-9]+) ?"
_DAYS = f"(?P<first>{_DAY})-(?P<last>{_DAY})"


_ASKED = {"who": "人员 / person", "action": "动作 / action", "from": "从 / from", "to": "到 / to"}
_PICKED = {
    "window": "窗口 / window",
    "tab": "栏 / tab",
    "reason": "原因 / reason",
    "hall": "大厅 / hall",
    "level": "等级 / level",
    "number": "窗口号 / window number",
    "clerk": "窗口人员 / clerk",
}


def _picks(*names: str) -> str:
    """Picks of these names as they stand in an `about`, or nothing."""
    one = rf"(?:{'|'.join(names)})=\S+"
    return f"(?:{one}(?: {one})*)?"


def _mended(step: str) -> _Form:
    zh, en = (said_in(STEPS[step], language) for language in ("zh", "en"))
    return _Form(_NUMBERED + "(?P<outcome>[a-z_]*)", f"差评 #{{n}}: {zh}, {{outcome}}", f"bad rating #{{n}}: {en}, "
                 "{outcome}", "/mending/{n}")  # fmt: skip


_FORMS = {
    "signed_in": _Form("", "登录", "signed in"),
    "signed_out": _Form("", "退出登录", "signed out"),
    "sign_in_failed": _Form("(?P<nobody>.*)", "登录失败{nobody}", "could not sign in{nobody}"),
    "locked_out": _Form("", "失败次数过多, 暂停登录", "failed too often and has to wait"),
    "person_added": _Form(r"(?P<name>\S+) (?P<role>\S+)", "添加 {name}, 角色{role}", "added {name} as {role}"),
    "role_changed": _Form(
        r"(?P<name>\S+) (?P<before>\S+) → (?P<role>\S+)",
        "把 {name} 的角色由{before}改为{role}",
        "made {name}, so far {before}, {role}",
    ),
    "person_disabled": _Form(r"(?P<name>\S+)", "停用 {name}", "disabled {name}"),
    "person_enabled": _Form(r"(?P<name>\S+)", "恢复 {name}", "let {name} sign in again"),
    "password_changed": _Form(r"\S+", "更改自己的密码", "changed the own password"),
    "password_reset": _Form(r"(?P<name>\S+)", "重置 {name} 的密码", "gave {name} another password"),
    "file_set_aside": _Form(
        "(?P<file>.*)", "人员文件损坏, 已移存为 {file}", "the damaged file of people was set aside as {file}"
    ),
    "parked_corrected": _Form(
        _NUMBERED + "(?P<fields>.*)",
        "更正评价 #{n} 的办件: {fields}",
        "put the case of rating #{n} right: {fields}",
        "/parked/{n}",
    ),
    "parked_linked": _Form(
        _NUMBERED + "(?P<case>.*)", "把评价 #{n} 关联到办件 {case}", "linked rating #{n} to case {case}", "/parked/{n}"
    ),
    "parked_sent_again": _Form(_NUMBERED, "重发评价 #{n}", "sent rating #{n} again", "/parked/{n}"),
    "parked_sent_as_is": _Form(_NUMBERED, "照发评价 #{n}", "sent rating #{n} as it is", "/parked/{n}"),
    "parked_given_up": _Form(_NUMBERED, "评价 #{n} 不再上报", "gave up sending rating #{n}", "/parked/{n}"),
    "parked_all_sent_again": _Form(
        "(?P<times>[0-9]+) × (?P<reason>[a-z_]+) ?(?P<picked>.*)",
        "成批重发 {times} 条: {reason} {picked}",
        "sent {times} again all at once: {reason} {picked}",
    ),
    "log_exported": _Form(
        f"(?P<asked>{_picks('who', 'action', 'from', 'to')})",
        "导出审计日志: {asked}",
        "exported the audit log: {asked}",
    ),
    "export": _Form(
        f"(?P<table>[a-z]+)(?P<days>-{_DAY}-{_DAY})?(?P<own> with text)?"
        rf"(?: \((?P<lines>[0-9]+)\))?(?: (?P<only>{_picks(*_PICKED)}))?",
        "导出{table}{days}{own}{lines}{only}",
        "exported {table}{days}{own}{lines}{only}",
    ),
    "draw": _Form(
        f"(?P<n>[0-9]+): (?P<first>{_DAY}) (?P<last>{_DAY}) (?P<kind>[a-z]+) (?P<size>[0-9]+) → (?P<times>[0-9]+)",
        "公告第 {n} 次抽查: {first} 至 {last}, {kind}, {size} 条中抽 {times} 条",
        "announced draw {n}: {first} to {last}, {kind}, {times} out of {size}",
        "/draws/{n}",
    ),
    "spot_check": _Form(
        "(?P<n>[0-9]+): #(?P<rating>[0-9]+) (?P<outcome>[a-z_]+)",
        "第 {n} 次抽查, 评价 #{rating}: {outcome}",
        "draw {n}, rating #{rating}: {outcome}",
        "/draws/{n}",
    ),
    **{f"mending_{step}": _mended(step) for step in STEPS},
    "alert_acknowledged": _Form(
        "(?P<n>[0-9]+) ?(?P<trouble>[a-z_]*) ?(?P<place>.*)",
        "处理报警 {n}: {trouble} {place}",
        "sees to alert {n}: {trouble} {place}",
        "/alerts",
    ),
    "alerts_silenced": _Form(
        r"(?P<n>[0-9]+) (?P<troubles>\S+) (?P<reach>.*)",
        "静默报警 (#{n}): {troubles}{reach}",
        "silenced alerts (#{n}): {troubles}{reach}",
        "/alerts",
    ),
    "silence_ended": _Form("(?P<n>[0-9]+)", "结束静默 #{n}", "ended silence #{n}", "/alerts"),
    "alert_tested": _Form("(?P<name>.*)", "向 {name} 发测试消息", "sent {name} a test message", "/alerts"),
}


def _as_it_is(part: str, _language: Language) -> str:
    return part


def _word_of(words: Mapping[str, str]) -> Callable[[str, Language], str]:
    return lambda part, language: said_in(words.get(part, part), language)


def _listed(parts: list[str], language: Language) -> str:
    return ("、" if language == "zh" else ", ").join(parts)


def _fields(part: str, language: Language) -> str:
    return _listed([said_in(fields.WORDS.get(name, name), language) for name in part.split()], language)


def _nobody(part: str, language: Language) -> str:
    return part and (", 没有这个用户名" if language == "zh" else ": nobody has this name")


def _own(part: str, language: Language) -> str:
    return part and (", 连同办事人原话" if language == "zh" else " with what citizens wrote")


def _picked(part: str, language: Language) -> str:
    words = LEVELS | {"as-is": "照发 / as they are"}
    return " ".join(said_in(words.get(each, each), language) for each in part.split(" ")).strip()


def _asked(part: str, language: Language) -> str:
    return _said_picks(part, _ASKED, language) or ("全部" if language == "zh" else "all of it")


def _only(part: str, language: Language) -> str:
    return part and (", 仅 " if language == "zh" else ", only of ") + _said_picks(part, _PICKED, language)


def _said_picks(part: str, names: Mapping[str, str], language: Language) -> str:
    pairs = (each.partition("=") for each in part.split())
    return _listed(
        [f"{said_in(names[name], language)} {_value(name, unquote(value), language)}" for name, _, value in pairs],
        language,
    )


def _value(name: str, value: str, language: Language) -> str:
    known = _VALUES.get(name, {}).get(value)
    if known:
        return said_in(known, language)
    # In marks where it is more than a word: what somebody typed must not read as a part of the sentence.
    return value if _WORD.fullmatch(value) else f"“{value.translate(_MARKS)}”"


def _days(part: str, language: Language) -> str:
    first, last = part[1:11], part[12:]
    return part and (f" {first} 至 {last}" if language == "zh" else f" of {first} to {last}")


def _lines(part: str, language: Language) -> str:
    return part and (f", {part} 条" if language == "zh" else f", {many(int(part), 'line')}")


def _troubles(part: str, language: Language) -> str:
    if part == "*":
        return "全部, 差评除外" if language == "zh" else "all but bad ratings"
    return _listed([said_in(_TROUBLES.get(kind, kind), language) for kind in part.split(",")], language)


def _reach(part: str, _language: Language) -> str:
    return "" if part == "* *" else f" · {part}"


_TROUBLES = {name: kind.name for name, kind in TROUBLES.items()}
_TABLES = {
    "ratings": "评价表 / the table of ratings",
    "parked": "待处理评价表 / the table of parked ratings",
    "mending": "差评整改清单 / the list of bad ratings and their mending",
    "statistics": "按窗口人员的统计 / the statistics by clerk",
}
_REASONS = {name: words.name for name, words in REASONS.items()}
_VALUES: Mapping[str, Mapping[str, str]] = {"action": ACTIONS, "reason": _REASONS, "level": LEVELS, "tab": TABS}
_PARTS = {
    "role": _word_of(ROLES),
    "before": _word_of(ROLES),
    "outcome": _word_of(OUTCOMES),
    "reason": _word_of(_REASONS),
    "kind": _word_of(KINDS),
    "table": _word_of(_TABLES),
    "trouble": _word_of(_TROUBLES),
    "fields": _fields,
    "nobody": _nobody,
    "own": _own,
    "picked": _picked,
    "asked": _asked,
    "only": _only,
    "days": _days,
    "lines": _lines,
    "troubles": _troubles,
    "reach": _reach,
}
