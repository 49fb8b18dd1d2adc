"""What provinces demand of single fields, whatever their dialect, and what one of them insists on beyond that."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

_CHINA = timezone(timedelta(hours=8))

Record = dict[str, str]


class Field(NamedTuple):
    """Whether it must say something, and whether what it says is of the right form."""

    required: bool
    holds: Callable[[str], bool]


def is_text(value: str) -> bool:
    """Not only blanks."""
    return bool(value.strip())


def shaped(pattern: str) -> Callable[[str], bool]:
    """Of this shape from end to end."""
    compiled = re.compile(pattern, re.ASCII)
    return lambda value: compiled.fullmatch(value) is not None


def one_of(codes: str) -> Callable[[str], bool]:
    """One of these codes, which stand with blanks between."""
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


def is_moment(value: str) -> bool:
    """A date and a time that there is."""
    return moment_ms(value) is not None


TASK_TYPE = one_of("01 05 07 08 09 10 20 99")
PAPER = one_of("111 001 821 114 118 414 511 516 999")
STAGE = one_of("1 2 3")
USCC = shaped(r"[0-9A-Z]{18}")
TASK = shaped(r"[0-9A-Za-z]{31}")
TASK_ITEM = shaped(r"[0-9A-Za-z]{33}")
COUNT = shaped(r"[1-9]\d*")
TAG_LIST = shaped(r"\d{3}(,\d{3})*")

# The national tags, the list in force and the one before it; the first digit is the level they belong to.
TAGS = frozenset(
    str(code)
    for first, last in (
        *((108, 115), (207, 214), (307, 314), (406, 413), (510, 517)),
        *((101, 107), (201, 206), (301, 306), (401, 402), (404, 405), (501, 509)),
    )
    for code in range(first, last + 1)
)


@dataclass(frozen=True)
class Rules:
    """What one province insists on, beyond the tables above."""

    tenancy: str = "370000000000"
    order: str = "C1C3C2"
    bad_sign: str = "签名验证失败"  # the real text is not public
    requires_reason: bool = False  # a bad rating needs tags or text
    refuses_early: bool = False  # assessTime before the serviceTime of its case
    refuses_future: bool = False  # assessTime more than five minutes ahead
    sign_clock_ms: int = 0  # dialect B: how far the time in a sign may be from our clock, 0 for any
    refuses_repeated_case: bool = False  # an identical case pushed again is refused instead of welcomed


def fields_mistake(
    record: Record, known: Mapping[str, Field], words: str, nullable: tuple[str, ...] = ()
) -> str | None:
    """The first field that is unknown, missing or of a wrong form, behind `words`; None if all are in order."""
    if unknown := record.keys() - known.keys():
        return f"{words}：未知参数{min(unknown)}"
    for name, rule in known.items():
        value = record.get(name, "")
        if value is None and name in nullable:
            continue  # the one field for which a main item is told to send null
        if not isinstance(value, str):
            return f"{words}：{name}不是字符串"
        if rule.required and not value.strip():
            return f"{words}：缺少{name}"
        if value and not rule.holds(value):
            return f"{words}：{name}"
    return None


def tags_mistake(tags: str, level: str) -> str | None:
    """The first of these codes, with commas between, that is no tag of this level."""
    for tag in tags.split(",") if tags else ():
        if tag not in TAGS or tag[0] != level:
            return tag
    return None
