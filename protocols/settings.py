"""Tables of a configuration file, checked against a declared shape: every mistake at once, in words.

A shape is a `msgspec.Struct`: its field types and their `msgspec.Meta` limits (`ge`, `le`, `min_length`, `max_length`,
`pattern`) are the rules, its defaults the defaults. `Meta(description="… / …")` says in words what a pattern wants.

A mistake reads `file: key: Chinese / English` and never shows what may be a secret.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from .errors import BadSettings, Mistake
from .frames import DEVICE
from .messages import NAME
from .words import Words

S = TypeVar("S", bound=msgspec.Struct)

Name = Annotated[
    str,
    Meta(
        pattern=rf"^(?:{NAME.pattern})\Z",
        description="名称: 字母、数字和 _ . -, 以字母或数字开头, 最多 64 个字符"
        " / a name: letters, digits and _ . -, beginning with a letter or digit, at most 64 characters",
    ),
]
"""What an agent or a window may be called."""
DeviceId = Annotated[
    str,
    Meta(
        pattern=rf"^(?:{DEVICE.pattern})\Z",
        description="评价器编号: 字母、数字和 _ -, 最多 32 个字符"
        " / a device id: letters, digits and _ -, at most 32 characters",
    ),
]
Port = Annotated[int, Meta(ge=1, le=65535)]
Url = Annotated[
    str,
    Meta(
        pattern=r"^https?://",
        description="以 http:// 或 https:// 开头的网址 / an address that begins with http:// or https://",
    ),
]


_Homes = dict[str, list[Words]]
"""Each key, and the tables in which it may stand."""


def read(raw: bytes, shape: type[S], file: str) -> S:
    """The settings in this TOML text; BadSettings names every mistake with `file`, key and what was expected."""
    table = _table(raw, file)
    homes: _Homes = {}
    for key, home in _homes(shape):
        if home not in homes.setdefault(key, []):
            homes[key].append(home)
    mistakes = _wrong(table, shape, "", homes)
    if mistakes:
        raise BadSettings([mistake.under(file) for mistake in mistakes])
    return msgspec.convert(table, shape)


# ---- the text


def _table(raw: bytes, file: str) -> dict[str, Any]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        zh, en = (
            f"第 {line} 行不是 UTF-8 文本, 请另存为 UTF-8",
            f"line {line} is not UTF-8 text, save the file as UTF-8",
        )
        raise BadSettings([Mistake(file, Words(zh, en))]) from error
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise BadSettings([Mistake(file, Words("括号套得太深", "brackets within brackets, too deep"))]) from error
    except ValueError as error:  # a TOMLDecodeError; a plain one for a number of thousands of digits
        raise BadSettings([Mistake(file, _not_toml(str(error), text))]) from error


_PLACE = re.compile(r"(.*) \(at line (\d+), column (\d+)\)", re.DOTALL)
_FULL_WIDTH = frozenset("“”‘’＂＇＝，。．：；［］｛｝（）＃、　\xa0")
_BACKSLASH = Words("反斜杠要写两个, 或改用单引号 '…'", "double the backslash, or use single quotes '…'")
_HINTS = {  # how tomllib's words begin
    "Unescaped": _BACKSLASH,
    "Invalid hex value": _BACKSLASH,
    "Cannot": Words("同一项写了两次", "the same key or table stands there twice"),
    "Unterminated": Words("引号没有配对", "a closing quote is missing"),
    "Illegal": Words("引号没有配对, 或有看不见的字符", "a closing quote is missing, or a character cannot be seen"),
    "Unclosed": Words("括号没有配对", "a closing bracket is missing"),
    "Expected ']": Words("括号没有配对", "a closing bracket is missing"),
    "Expected '='": Words("配置项和值之间要有 =", "a = is missing between key and value"),
    "Expected newline": Words("一行只能写一项", "only one key with its value fits in a line"),
    "Invalid value": Words("文字要加引号, 数字和 true/false 不加", "text needs quotes, numbers and true/false do not"),
    "": Words("请对照示例检查此处", "compare it with the example"),
}


def _not_toml(error: str, text: str) -> Words:
    # The line itself is not shown: it may hold a password.
    place = _PLACE.fullmatch(error)
    if place is None:
        why, where, at = error.removesuffix(" (at end of document)"), Words("文件末尾", "the end of the file"), ""
    else:
        why, line, column = place[1], int(place[2]), int(place[3])
        where = Words(f"第 {line} 行第 {column} 列", f"line {line}, column {column}")
        at = text.split("\n")[line - 1][column - 1 : column]
    if at and at in _FULL_WIDTH:
        hint = Words(f"{at} 是全角符号, 请改成半角", f"{at} is a full-width character, type it half-width")
    else:
        hint = next(words for beginning, words in _HINTS.items() if why.startswith(beginning))
    return Words(f"{where.zh}不合 TOML 写法: {hint.zh}", f"{where.en} is not TOML: {hint.en} ({why})")


# ---- the tables


def _wrong(value: Any, kind: Any, where: str, homes: _Homes) -> list[Mistake]:
    bare = _bare(kind)
    if get_origin(bare) in (Union, UnionType):
        if _tag_field(bare) and isinstance(value, dict):
            kind = _tagged(value, bare)
            if kind is None:
                return [_untagged(value, bare, where)]
        else:
            kind = _tried(value, bare)
        bare = _bare(kind)
    item = _item(bare)
    mistakes: list[Mistake] = []
    if isinstance(value, dict) and _is_struct(bare):
        mistakes = _wrong_table(value, bare, where, homes)
    elif isinstance(value, dict) and get_origin(bare) is dict:
        of_key, of_value = get_args(bare)
        for key, each in value.items():
            path = _join(where, key)
            mistakes += _unfit(key, of_key, path) or _wrong(each, of_value, path, homes)
    elif isinstance(value, list) and item is not None:
        for number, each in enumerate(value, 1):
            mistakes += _wrong(each, item, f"{where}[{number}]", homes)
    # Only what has no mistake inside can be wrong as a whole.
    return mistakes or _unfit(value, kind, where)


def _tried(value: Any, either: Any) -> Any:
    """Of a plain value or a table in its place, the one that was tried: what is wrong is told of that one alone."""
    tried = [each for each in get_args(either) if _is_struct(_bare(each)) == isinstance(value, dict)]
    return tried[0] if len(tried) == 1 else either


def _tag_field(either: Any) -> str:
    """The key whose value tells which of several tables this is; empty where nothing does."""
    fields = {each.__struct_config__.tag_field for each in get_args(either) if _is_struct(each)}
    return fields.pop() or "" if len(fields) == 1 else ""


def _tagged(table: dict[str, Any], either: Any) -> Any:
    """The one that its tag says it is, or None."""
    tag = table.get(_tag_field(either))
    return next((each for each in get_args(either) if _is_struct(each) and each.__struct_config__.tag == tag), None)


def _untagged(table: dict[str, Any], either: Any, where: str) -> Mistake:
    field = _tag_field(either)
    kinds = Literal[tuple(each.__struct_config__.tag for each in get_args(either) if _is_struct(each))]  # type: ignore[valid-type]
    path = _join(where, field)
    if field in table:
        return _unfit(table[field], kinds, path)[0]
    expected = _expected(kinds, path)
    return Mistake(path, Words(f"缺少, 应填{expected.zh}", f"missing, expected {expected.en}"))


def _wrong_table(table: dict[str, Any], shape: type[msgspec.Struct], where: str, homes: _Homes) -> list[Mistake]:
    known = {field.encode_name: field for field in _fields(shape)}
    tag_field = shape.__struct_config__.tag_field
    mistakes = [
        _unknown(_join(where, key), key, list(known), homes) for key in table if key not in known and key != tag_field
    ]
    for name, field in known.items():
        path = _join(where, name)
        if name in table:
            mistakes += _wrong(table[name], field.type, path, homes)
        elif field.required:
            expected = _expected(field.type, path)
            mistakes.append(Mistake(path, Words(f"缺少, 应填{expected.zh}", f"missing, expected {expected.en}")))
    return mistakes


def _unknown(where: str, key: str, known: list[str], homes: _Homes) -> Mistake:
    near = difflib.get_close_matches(key.lower(), known, 1)
    if key in homes:
        there = homes[key]
        hint = Words(
            "应写在" + "或".join(home.zh for home in there), "it belongs " + " or ".join(home.en for home in there)
        )
    elif near:
        hint = Words(f"是否指 {near[0]}?", f"did you mean {near[0]}?")
    else:
        hint = Words(f"这里可用: {', '.join(known)}", f"known here: {', '.join(known)}")
    return Mistake(where, Words(f"没有这个配置项, {hint.zh}", f"no such key, {hint.en}"))


def _unfit(value: Any, kind: Any, where: str) -> list[Mistake]:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return [Mistake(where, _why_unfit(value, kind, where, str(error)))]
    return []


def _why_unfit(value: Any, kind: Any, where: str, error: str) -> Words:
    if isinstance(value, dict) and _is_struct(_bare(kind)):
        return Words(error, error)  # its keys are right one by one: only the shape's own check can have said no
    expected = _expected(kind, where)
    if isinstance(value, dict | list) or _holds(_bare(kind)):
        return Words(f"写法不对, 应为{expected.zh}", f"wrong form, expected {expected.en}")
    shown, slip = _shown(where, value), _slip(value, _bare(kind))
    if "quotes" not in expected.en and _wants_quotes(value, kind):
        # What a name may look like is not what has to be told.
        return Words(f"值 {shown.zh} 不对, 请加引号", f"wrong value {shown.en}, put it in quotes")
    return Words(
        f"值 {shown.zh} 不对, 应为{expected.zh}{slip.zh}", f"wrong value {shown.en}, expected {expected.en}{slip.en}"
    )


def _wants_quotes(value: Any, kind: Any) -> bool:
    """Whether it is a number that would be right as text."""
    if isinstance(value, bool) or not isinstance(value, int | float) or _bare(kind) is not str:
        return False
    if isinstance(value, int) and value.bit_length() > 64:
        return False  # Python does not write out a number of thousands of digits
    try:
        msgspec.convert(str(value), kind)
    except msgspec.ValidationError:
        return False
    return True


_SECRETS = tuple(word + end for word in ("password", "passwd", "token", "word", "secret", "key") for end in ("", "s"))
_SHOWN_MAX = 60  # characters of a value: enough to find it in the file


def _shown(where: str, value: Any) -> Words:
    # A password that was put down wrongly must not end in a log or on somebody's screen. `keys` alone are buttons.
    parts = _NUMBERS.sub("", where).lower().split(".")
    if any(part.endswith(_SECRETS) and part != "keys" for part in parts):
        return Words("(不显示)", "(not shown)")
    if isinstance(value, str | bool):
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, int) and value.bit_length() > 64:
        return Words("(太大)", "(too large)")
    else:
        text = str(value)
    text = text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…"
    return Words(text, text)


def _slip(value: Any, bare: Any) -> Words:
    """What has probably happened, where that can be told."""
    if isinstance(value, str) and bare in (int, float, bool):
        return Words(", 不加引号", ", without quotes")
    if isinstance(value, str) and get_origin(bare) is Literal:
        near = difflib.get_close_matches(value.lower(), [str(each) for each in get_args(bare)], 1)
        return Words(f", 是否指 {near[0]}?", f", did you mean {near[0]}?") if near else Words("", "")
    return Words("", "")


# ---- what was expected, in words


def _expected(kind: Any, where: str) -> Words:
    bare, limits = _bare(kind), _limits(kind)
    item = _item(bare)
    if "description" in limits:
        zh, _, en = limits["description"].partition(" / ")
        return Words(zh, en or zh)
    if _is_struct(bare):
        return _expected_table(bare, _title(where))
    if item is not None and _is_struct(_bare(item)):
        return _expected_table(_bare(item), _title(where, "[[]]"))
    if get_origin(bare) is dict:
        return Words(f" {_title(where)} 一节", f"a table {_title(where)}")
    if item is not None:
        each = _expected(item, where)
        return Words(f"列表 […], 每项为{each.zh}", f"a list […], each {each.en}")
    if get_origin(bare) is Literal:
        values = ", ".join(json.dumps(each, ensure_ascii=False) for each in get_args(bare))
        return Words(f"其中之一: {values}", f"one of {values}")
    return _expected_value(bare, limits)


def _expected_table(shape: type[msgspec.Struct], title: str) -> Words:
    required = ", ".join(field.encode_name for field in _fields(shape) if field.required)
    if not required:
        return Words(f" {title} 一节", f"a table {title}")
    return Words(f" {title} 一节, 其中必填 {required}", f"a table {title}, with at least {required}")


def _expected_value(bare: Any, limits: dict[str, Any]) -> Words:
    if bare is bool:
        return Words(" true 或 false", "true or false")
    if bare in (int, float):
        noun = Words("整数", "a whole number") if bare is int else Words("数字", "a number")
        return _bounded(noun, limits.get("ge"), limits.get("le"), "")
    if bare is str and "pattern" in limits:
        return Words(f"符合 {limits['pattern']} 的文字", f"text that matches {limits['pattern']}")
    if bare is str:
        noun = Words("加引号的文字", "text in quotes")
        return _bounded(noun, limits.get("min_length"), limits.get("max_length"), " characters")
    return Words(str(bare), str(bare))


def _bounded(noun: Words, low: Any, high: Any, unit: str) -> Words:
    zh_unit = " 个字" if unit else ""
    if low is not None and high is not None:
        return Words(f"{noun.zh}, {low} 到 {high}{zh_unit}", f"{noun.en}, {low} to {high}{unit}")
    if low is not None:
        return Words(f"{noun.zh}, 至少 {low}{zh_unit}", f"{noun.en}, at least {low}{unit}")
    if high is not None:
        return Words(f"{noun.zh}, 最多 {high}{zh_unit}", f"{noun.en}, at most {high}{unit}")
    return noun


# ---- shapes


def _bare(kind: Any) -> Any:
    """The type without its limits, and without `| None`, which no TOML can say."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        given = [each for each in get_args(kind) if each is not type(None)]
        return _bare(given[0]) if len(given) == 1 else kind
    return kind


def _limits(kind: Any) -> dict[str, Any]:
    """What the type's `Meta` says, by name."""
    limits: dict[str, Any] = {}
    for each in get_args(kind) if get_origin(kind) in (Annotated, Union, UnionType) else ():
        said = {name: getattr(each, name) for name in _LIMITS} if isinstance(each, Meta) else _limits(each)
        limits |= {name: value for name, value in said.items() if value is not None}
    return limits


_LIMITS = ("ge", "le", "min_length", "max_length", "pattern", "description")


def _item(bare: Any) -> Any:
    """What a list of this type holds, each; None for anything else."""
    of = get_args(bare)
    if get_origin(bare) is list or (get_origin(bare) is tuple and of[1:] == (...,)):
        return of[0]
    return None


@lru_cache(maxsize=200)  # a file of ten thousand windows asks ten thousand times, and msgspec evaluates each anew
def _fields(shape: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(shape)


def _is_struct(bare: Any) -> bool:
    return isinstance(bare, type) and issubclass(bare, msgspec.Struct)


def _holds(bare: Any) -> bool:
    """Whether others stand inside it."""
    return _is_struct(bare) or (get_origin(bare) or bare) in (list, tuple, dict)


def _homes(kind: Any, where: str = "", brackets: str = "[]") -> Iterator[tuple[str, Words]]:
    """Each key of the shape, with a table in which it stands."""
    bare = _bare(kind)
    item = _item(bare)
    if item is not None:
        yield from _homes(item, where, "[[]]")
    elif _tag_field(bare):
        for each in get_args(bare):
            yield from _homes(each, where, brackets)
    elif _is_struct(bare):
        title = _title(where, brackets)
        home = Words(f" {title} 一节", f"in {title}") if where else _TOP
        for field in _fields(bare):
            yield field.encode_name, home
            yield from _homes(field.type, _join(where, field.encode_name))


_TOP = Words("文件开头, 第一个 [ ] 之前", "at the top of the file, before the first [ ]")
_NUMBERS = re.compile(r"\[\d+\]")


def _title(where: str, brackets: str = "[]") -> str:
    """The line that begins this table."""
    half = len(brackets) // 2
    return brackets[:half] + _NUMBERS.sub("", where) + brackets[half:]


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
