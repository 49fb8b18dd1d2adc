"""办件: the details of a case as a business system gives them to either door, and what they are bound to when hidden.

What was given is never repeated in words: it may be somebody's number that stands in the wrong field.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from typing import Protocol

import msgspec

from .errors import ProtocolError
from .ratings import Case

CASE_NO_MAX = 50
SERVICES_MAX = 99

# msgspec works a type out when it first meets it, and the process dies if two threads do that at once: so it is done
# here, before there are any.
_case = msgspec.json.Decoder(Case)
_encode = msgspec.json.Encoder().encode
_FIELDS = {field.name for field in dataclasses.fields(Case)}
_KINDS = typing.get_type_hints(Case)


class BadCase(ProtocolError):
    """No case: the field that is wrong, and why in words."""

    def __init__(self, field: str, message: str):
        super().__init__(message)
        self.field = field
        self.message = message


class Sealer(Protocol):
    """Hides texts for one key, see `seal`: whoever has it cannot open them again."""

    @property
    def key_id(self) -> str:
        """Which key, in hex."""

    def seal(self, text: bytes, about: bytes) -> bytes:
        """The text, so that only the key's owner reads it, and only as being about this."""


def case_of(item: object, where: str = "") -> Case:
    """The case that this decoded JSON says, which stands at `where` (`[2].`); BadCase names what is wrong."""
    if not isinstance(item, dict):
        raise BadCase(where.rstrip("."), f"{where}应为对象 / must be an object")
    unknown = sorted(str(name) for name in item if name not in _FIELDS)
    if unknown:
        raise BadCase(where + unknown[0], f"{where}{unknown[0]}: 没有这个字段 / no such field")
    try:
        case = msgspec.convert(item, Case)
    except msgspec.ValidationError as error:
        words, _, path = str(error).partition(" - at `$.")
        field = where + (path.rstrip("`") or _named(words))
        raise BadCase(field, f"{field}: 值不对 / wrong value: {_without_value(words, field)}") from error
    if not 1 <= len(case.case_no) <= CASE_NO_MAX:
        raise BadCase(where + "case_no", f"case_no: 1–{CASE_NO_MAX} 个字符 / 1–{CASE_NO_MAX} characters")
    if not 1 <= case.service_number <= SERVICES_MAX:
        raise BadCase(where + "service_number", f"service_number: 1–{SERVICES_MAX}")
    return case


def encode_case(case: Case) -> bytes:
    """All of it, to be hidden."""
    return _encode(case)


def decode_case(text: bytes) -> Case:
    """What `encode_case` made, also of a newer program; BadCase if it is none."""
    try:
        return _case.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadCase("", "不是办件 / no case") from error


def about_case(case_no: str, service_number: int) -> bytes:
    """What the details of a case are bound to when they are hidden: they open for that case and no other."""
    return _encode([case_no, service_number])


def _named(words: str) -> str:
    found = re.search(r"`(\w+)`", words)
    return found.group(1) if found else ""


def _without_value(words: str, field: str) -> str:
    if not words.startswith("Invalid enum value"):
        return words.replace("`", "")
    kind = _KINDS.get(field.rsplit(".", 1)[-1])
    known = ", ".join(str(value) for value in typing.get_args(kind) if value)
    return f"应为其中之一 / expected one of: {known}"
