"""JSON bodies as business systems send them to either door, read with the types that say what may stand in them.

What was given is never repeated in words: it may be somebody's number that stands in the wrong field.
"""

from __future__ import annotations

import re
import typing
from typing import Any, TypeVar

import msgspec

from .errors import ProtocolError

T = TypeVar("T")
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*\Z"
"""A pattern: characters that a person can read."""
SAYING = r"^ *[^\x00-\x20\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*\Z"
"""And not only blanks."""


class BadBody(ProtocolError):
    """The field that is wrong, empty for all of it, and why in words."""

    def __init__(self, field: str, message: str):
        super().__init__(message)
        self.field = field
        self.message = message


def read(body: bytes, shape: type[T]) -> T:
    """This body as one of that type; BadBody says what is wrong with it."""
    return shaped(json_of(body), shape)


def json_of(body: bytes) -> Any:
    """What this JSON says; BadBody if it is none.

    Whole numbers are whole however they are written: Java's Gson makes 1.0 of a 1 that went through a map, and
    1.7954208E12 of a time.
    """
    try:
        return _whole(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadBody("", "请求体应为 JSON / the body must be JSON") from error


def shaped(value: Any, shape: type[T], where: str = "") -> T:
    """This value, which stands at `where` (`[2].`), as one of that type; BadBody says what is wrong with it."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        words, _, path = str(error).partition(" - at `$")
        inner = path.rstrip("`").lstrip(".") or _named(words)
        field = where + inner
        raise BadBody(field, f"{field or 'body'}: 值不对 / wrong value: {_hint(words, inner, shape)}") from error


def _whole(value: Any) -> Any:
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {name: _whole(each) for name, each in value.items()}
        case list():
            return [_whole(each) for each in value]
    return value


def _named(words: str) -> str:
    found = re.match(r"Object .* field `(\w+)`", words)
    return found.group(1) if found else ""


def _hint(words: str, field: str, shape: type) -> str:
    if words.startswith("Object missing required field"):
        return "缺少 / missing"
    if words.startswith("Invalid enum value"):
        known = typing.get_args(typing.get_type_hints(shape).get(field))
        return f"应为其中之一 / expected one of: {', '.join(str(each) for each in known if each)}"
    return re.sub(r"'.*'", "…", words.replace("`", ""))
