"""A profile as TOML text: every value that is not what it would be anyhow, in the order of the vocabulary."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import NODEFAULT
from msgspec.structs import FieldInfo

from protocols.profiles.vocabulary import Shape, Title


def profile_text(shape: Shape) -> str:
    """The file of this profile. Reading it gives the same profile back."""
    plain: list[tuple[str, Any]] = []
    tables: list[tuple[str, Any]] = []
    for name, value in _given(shape):
        (tables if _is_table(value) else plain).append((name, value))
    lines = [f"{name} = {_inline(value)}" for name, value in plain]
    # Its vectors are the longest part, and the last that anybody reads.
    for name, value in sorted(tables, key=lambda table: table[0] == "vectors"):
        if isinstance(value, list):
            for each in value:
                lines += ["", f"[[{name}]]", *_lines(each)]
        else:
            lines += ["", f"[{name}]", *_lines(value)]
    return "\n".join(lines) + "\n"


def _is_table(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], msgspec.Struct)
    return isinstance(value, msgspec.Struct | dict) and not isinstance(value, Title)


def _lines(table: Any) -> list[str]:
    return [f"{name} = {_inline(value)}" for name, value in _given(table)]


def _given(table: Any) -> Iterator[tuple[str, Any]]:
    """What this table says that is not understood without it."""
    if isinstance(table, dict):
        yield from ((_key(name), value) for name, value in table.items())
        return
    for field in msgspec.structs.fields(table):
        value = getattr(table, field.encode_name)
        if value is not None and value != _default(field):
            yield field.encode_name, value


def _default(field: FieldInfo) -> Any:
    return field.default_factory() if field.default_factory is not NODEFAULT else field.default


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else _string(name)


def _inline(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    inside = ", ".join(f"{name} = {_inline(each)}" for name, each in _given(value))
    return "{ " + inside + " }" if inside else "{}"


def _string(text: str) -> str:
    # What JSON writes is what TOML reads, but for the one sign that JSON lets stand.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
