"""Tables of a configuration file, checked against a declared shape: every mistake at once, in words.

A shape is a `msgspec.Struct`; its field types and `msgspec.Meta` limits are the rules, its defaults the defaults.
"""

from __future__ import annotations

import difflib
import tomllib
from typing import Any, TypeVar, get_args, get_origin

import msgspec

from .errors import BadSettings

S = TypeVar("S", bound=msgspec.Struct)


def read(raw: bytes, shape: type[S], file: str) -> S:
    """The settings in this TOML text; BadSettings names every mistake with `file`, key and what was expected."""
    table = _table(raw, file)
    mistakes = _mistakes(table, shape, "")
    if mistakes:
        raise BadSettings([f"{file}: {mistake}" for mistake in mistakes])
    return msgspec.convert(table, shape)


def _table(raw: bytes, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadSettings([f"{file}: 第 {line} 行不是 UTF-8 文本 / line {line} is not UTF-8 text"]) from error
    except tomllib.TOMLDecodeError as error:
        raise BadSettings([f"{file}: 不是 TOML 格式 / is not TOML: {error}"]) from error


def _mistakes(table: dict[str, Any], shape: type[msgspec.Struct], path: str) -> list[str]:
    known = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    mistakes = [_unknown(path + key, key, list(known)) for key in table if key not in known]
    for name, field in known.items():
        if name in table:
            mistakes += _wrong(table[name], field.type, path + name)
        elif field.required:
            mistakes.append(f"{path}{name}: 缺少, 必须填写 / missing, must be given ({_expected(field.type)})")
    return mistakes


def _unknown(where: str, key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, 1)
    names = ", ".join(sorted(known))
    hint = f"是否指 {near[0]}? / did you mean {near[0]}?" if near else f"可用 / known: {names}"
    return f"{where}: 没有这个配置项 / no such key; {hint}"


def _wrong(value: Any, kind: Any, where: str) -> list[str]:
    if isinstance(value, dict) and _is_struct(kind):
        return _mistakes(value, kind, where + ".")
    if isinstance(value, list) and get_origin(kind) in (list, tuple) and _is_struct(get_args(kind)[0]):
        return [
            mistake
            for number, item in enumerate(value, 1)
            for mistake in _wrong(item, get_args(kind)[0], f"{where}[{number}]")
        ]
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return [f"{where}: 值不对 / wrong value {_shown(where, value)}: {_plain(error)} ({_expected(kind)})"]
    return []


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


_SECRET = ("password", "token", "word", "key")


def _shown(where: str, value: Any) -> str:
    # A password that was put down wrongly must not end in a log or on somebody's screen.
    if where.rsplit(".", 1)[-1].endswith(_SECRET):
        return "(不显示 / not shown)"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _plain(error: msgspec.ValidationError) -> str:
    return str(error).replace("`", "").split(" - at ")[0]


_WORDS = {int: "整数 / whole number", str: "文字 / text", bool: "true 或/or false", float: "数字 / number"}


def _expected(kind: Any) -> str:
    info = msgspec.inspect.type_info(kind)
    words = _WORDS.get(getattr(kind, "__origin__", kind), "")
    match info:
        case msgspec.inspect.IntType(ge=low, le=high) if low is not None or high is not None:
            words = f"整数 / whole number {low if low is not None else ''}–{high if high is not None else ''}"
        case msgspec.inspect.LiteralType(values=values):
            words = "其中之一 / one of " + ", ".join(map(str, values))
        case msgspec.inspect.StrType(pattern=pattern) if pattern:
            words = f"文字, 格式 / text like {pattern}"
        case msgspec.inspect.StrType():
            words = "文字 / text"
        case msgspec.inspect.IntType():
            words = "整数 / whole number"
        case msgspec.inspect.StructType(cls=cls):
            words = "一节 / a table with " + ", ".join(f.encode_name for f in msgspec.structs.fields(cls))
        case msgspec.inspect.ListType():
            words = "列表 / list"
    return f"应为 / expected: {words or kind}"
