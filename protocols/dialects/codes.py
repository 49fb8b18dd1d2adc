"""What all dialects ask of one province: its code tables, its words, and when a rating has to wait for a person."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from importlib import resources

import msgspec

from protocols import tags
from protocols.errors import BadSettings
from protocols.ratings import Accepted, Answer, Case, Held, Rating, Refused, Request, Token, Unavailable, Verdict

from . import quoted

_CHINA = timezone(timedelta(hours=8))  # one zone for the whole country, and no summer time
_EARLIEST_MS = 946_656_000_000  # 2000: what lies before has been given in seconds
_LATEST_MS = 4_102_416_000_000  # 2100: what lies behind has been given in microseconds
_OWN_ITEM = "00000000"  # 自建事项: the mark of an item that a county made for itself


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An item as the province knows it."""

    code: str
    """实施清单编码, 31 characters, or 业务办理项编码, 33."""
    name: str = ""
    """Its name there; the hall's own where it is empty."""


class ProvinceWays(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where one province differs from the common tables of its dialect; every dialect's settings begin with these."""

    data_source: str = ""
    """数据来源, three digits: 165, 133, 111 …"""
    province_prefix: str = ""
    """Put before the hall's case number, e.g. "37"."""
    bad_needs_reason: bool = False
    """Hold back a bad rating that has neither tag nor text, where the province refuses those."""
    holds_early: bool = True
    """Hold back a rating that was given before its service, by the clocks: provinces refuse those."""
    holds_own_items: bool = False
    """Hold back ratings of 自建事项, where the province does not take them."""
    area_rewrite: dict[str, str] = {}
    """行政区划 that the province counts under another number: six digits to six digits."""
    tables: dict[str, dict[str, str]] = {}
    """Codes that differ from the dialect's own file, e.g. {"pf": {"window_keypad": "5"}}. Never the levels."""
    items: dict[str, Item] = {}
    """The hall's item codes and the province's. Where there are any, an item that is not among them is held back."""
    unavailable_words: tuple[str, ...] = ()
    """Words of this province for a wrong key or sign, besides the common ones."""
    duplicate_words: tuple[str, ...] = ()
    case_unknown_words: tuple[str, ...] = ()


class Answers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Words to know an answer by; the fields stand in the order in which they decide."""

    unavailable: tuple[str, ...]
    duplicate: tuple[str, ...]
    case_unknown: tuple[str, ...] = ()


class Tables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One dialect's file: its version, its code lists by their names in the province's interface, its answers."""

    version: str
    codes: dict[str, dict[str, str]]
    answers: Answers


class Tokenless:
    """What a dialect says to who asks it for a token and needs none: every call shows who we are."""

    def token_request(self, now_ms: int) -> Request | None:
        """None."""
        return None

    def token(self, answer: Answer, now_ms: int) -> Token | Unavailable:
        """There is none."""
        return Unavailable("不用令牌 / no token is needed")


LEVELS = "levels"
"""The table that nothing may override: a level that is turned round is a lie."""


def load(name: str) -> Tables:
    """The tables of `<name>.toml`."""
    text = resources.files("protocols.dialects").joinpath(f"{name}.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), Tables)


class Codes:
    """One dialect's tables with one province's own lines in them. BadSettings for a table that there is not."""

    def __init__(self, tables: Tables, ways: ProvinceWays):
        own = sorted(tables.codes.keys() - {LEVELS})
        mistakes = [
            f"tables.{name}: 没有这个代码表, 可用 / no such code table, known: {', '.join(own)}"
            for name in ways.tables
            if name not in own
        ]
        if mistakes:
            raise BadSettings(mistakes)
        self._codes = tables.codes | {name: tables.codes[name] | own for name, own in ways.tables.items()}
        self._ways = ways
        self._answers = Answers(
            tables.answers.unavailable + ways.unavailable_words,
            tables.answers.duplicate + ways.duplicate_words,
            tables.answers.case_unknown + ways.case_unknown_words,
        )

    def code(self, table: str, word: str) -> str:
        """The province's code for a word of ours; empty if it has none."""
        return self._codes[table].get(word, "")

    def level(self, rating: Rating) -> str:
        """满意度, 5 is best."""
        return self._codes[LEVELS][rating.level.value]

    def task_type(self, case: Case) -> str:
        """事项类型: 99 for what is not listed, empty for none."""
        return self._codes["taskType"].get(case.item_type, "99") if case.item_type else ""

    def case_no(self, case: Case) -> str:
        """办件编号 as the province has it."""
        return self._ways.province_prefix + case.case_no

    def area(self, case: Case) -> str:
        """行政区划 of the county, six digits, which is all that the interfaces know; empty for none."""
        digits = case.area_code.strip()
        if len(digits) not in (6, 12) or not (digits.isascii() and digits.isdigit()):
            return ""
        return self._ways.area_rewrite.get(digits[:6], digits[:6])

    def mapped(self, case: Case) -> Case:
        """The same case, with its item as the province knows it; as it is where no item is mapped."""
        item = self._ways.items.get(case.item_handle_code or case.item_code)
        if item is None:
            return case
        handle_code = item.code if len(item.code) == _HANDLE_CODE else ""
        return replace(
            case, item_code=item.code[:_TASK_CODE], item_handle_code=handle_code, item_name=item.name or case.item_name
        )

    def held(self, rating: Rating, case: Case, lacks: tuple[str, ...]) -> Held | None:
        """Why a person has to look before this is sent, given what it `lacks`; None if it can go."""
        item_code = case.item_handle_code or case.item_code
        given = {"rating_channel": self.code("pf", rating.channel), "pressed_ms": china_time(rating.pressed_ms)}
        if lacks := lacks + empty(given):
            return Held("lacking", ", ".join(lacks))
        if self._ways.items and item_code not in self._ways.items:
            return Held("item_not_mapped", item_code)
        if self._ways.holds_own_items and _OWN_ITEM in task_code(self.mapped(case)):
            return Held("own_item", item_code)
        if self._ways.bad_needs_reason and rating.level.bad and not (rating.tags or rating.text.strip()):
            return Held("bad_without_reason")  # a keypad cannot ask for a reason, and we do not make one up
        if self._ways.holds_early and case.service_ms is not None:
            early_s = case.service_ms // 1000 - rating.pressed_ms // 1000
            if early_s > 0:
                return Held("before_service", f"{early_s} s")
        return None

    def judge(self, said: str) -> Verdict:
        """What a no in these words means."""
        words = quoted(said)
        if _any_in(self._answers.unavailable, said):
            return Unavailable(words)
        if _any_in(self._answers.duplicate, said):
            return Accepted(duplicate=True, words=words)
        if _any_in(self._answers.case_unknown, said):
            return Refused(words, case_unknown=True)
        return Refused(words or "省平台未说明原因 / no reason given")


def _any_in(words: tuple[str, ...], said: str) -> bool:
    return any(word.lower() in said.lower() for word in words)


# ---- small things

_TASK_CODE, _HANDLE_CODE = 31, 33
_WAIT_MAX_S = 60  # whoever asks for an hour is asked again after a minute


def task_code(case: Case) -> str:
    """实施清单编码, 31 characters; the first 31 of a 业务办理项编码."""
    return (case.item_code or case.item_handle_code)[:_TASK_CODE]


def task_handle_item(case: Case) -> str:
    """业务办理项编码, 33 characters; empty for a main item."""
    return case.item_handle_code or (case.item_code if len(case.item_code) == _HANDLE_CODE else "")


def tag_codes(rating: Rating) -> str:
    """evalDetail: the codes of its tags, with commas between."""
    return ",".join(tag for tag in rating.tags if tags.is_code(tag))


def china_time(moment_ms: int | None) -> str:
    """yyyy-MM-dd HH:mm:ss; empty for no time, and for one that no calendar has (seconds given as milliseconds)."""
    if moment_ms is None or not _EARLIEST_MS <= moment_ms < _LATEST_MS:
        return ""
    return moment(moment_ms).strftime("%Y-%m-%d %H:%M:%S")


def moment(moment_ms: int) -> datetime:
    """In China. Whole seconds, cut and not rounded: what has not happened yet is not written down."""
    return datetime.fromtimestamp(moment_ms // 1000, _CHINA)


def wait_s(answer: Answer) -> int:
    """For how long the province asks to be left alone, in whole seconds; 0 where it does not say."""
    stated = answer.headers.get("retry-after", "")
    return min(int(stated), _WAIT_MAX_S) if stated.isascii() and stated.isdigit() and len(stated) < 6 else 0


def empty(required: Mapping[str, str]) -> tuple[str, ...]:
    """The names of those that say nothing."""
    return tuple(name for name, value in required.items() if not value.strip())
