"""Evaluators as data: a profile is a vendor's wire and keys in a TOML file, checked against its own test vectors.

A profile that has none, has an unknown key, contradicts itself or does not do what its vectors say is refused, with the
line that is wrong. Above a profile there are only the events of `events.py`.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib.resources import files
from typing import Any

import msgspec

from protocols import settings
from protocols.errors import BadSettings, Mistake
from protocols.words import Words

from .places import with_line
from .profile import Profile, profile_of
from .vectors import check_vectors
from .vocabulary import Shape
from .wiring import check_wiring

SHIPPED = (
    "house",
    "qs4",
    "pj06",
    "key-byte",
    "key-ascii",
    "modbus-key",
    "hid-keypad",
    "taxi905",
    "sundyn-udp",
    "screen",
    "page",
)
"""What comes with the program, by id."""
FILE_MAX = 256 * 1024  # a hundred times the longest profile that anybody wrote by hand


def read(raw: bytes, file: str) -> Profile:
    """The profile in this TOML text; BadSettings names every mistake with file, line, key and what was expected."""
    if len(raw) > FILE_MAX:
        words = Words(f"太长: {len(raw)} > {FILE_MAX} 字节", f"too long: {len(raw)} > {FILE_MAX} bytes")
        raise BadSettings([Mistake(file, words)])
    text = raw.decode("utf-8-sig", "replace")
    try:
        shape = settings.read(raw, Shape, file)
    except BadSettings as error:
        if not _is_toml(raw):
            raise  # it says its line by itself
        told = [Mistake(each.where.removeprefix(file).removeprefix(": "), each.words) for each in error.mistakes]
        raise BadSettings([with_line(text, each).under(file) for each in told]) from error
    mistakes = list(check_wiring(shape))
    if not mistakes:
        try:
            profile = profile_of(shape)
        except ValueError as error:
            mistakes = [str(error)]
        else:
            mistakes = list(check_vectors(profile))
    if mistakes:
        raise BadSettings([with_line(text, Mistake.read(each)).under(file) for each in mistakes])
    return profile


def _is_toml(raw: bytes) -> bool:
    try:
        tomllib.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    return True


@lru_cache(maxsize=len(SHIPPED))
def shipped(id: str) -> Profile:
    """The profile of this id that comes with the program; KeyError if none does."""
    if id not in SHIPPED:
        raise KeyError(id)
    return read((files(__package__) / f"{id}.toml").read_bytes(), f"{id}.toml")


def json_schema() -> dict[str, Any]:
    """What a profile may say, as JSON Schema."""
    schema: dict[str, Any] = _ended(msgspec.json.schema(Shape))
    return schema


def _ended(part: Any) -> Any:
    """The same with every pattern's end as JSON Schema writes it: there `\\Z` is the letter."""
    if isinstance(part, dict):
        return {
            key: each.removesuffix("\\Z") + "$" * each.endswith("\\Z")
            if key == "pattern" and isinstance(each, str)
            else _ended(each)
            for key, each in part.items()
        }
    return [_ended(each) for each in part] if isinstance(part, list) else part
