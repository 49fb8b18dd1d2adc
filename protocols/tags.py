"""The national rating tags (评价标签): which code belongs to which level, and what it says. Data, with a version."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Literal

import msgspec

from .ratings import Level


@dataclass(frozen=True)
class Tag:
    """One reason that the whole country words alike."""

    code: str
    level: Level
    text: str
    base: bool
    """Whether it is of the basic set."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    old: dict[Level, list[str]]
    tags: dict[Level, dict[Literal["base", "more"], dict[str, str]]]


_FILE = msgspec.convert(tomllib.loads(resources.files("protocols").joinpath("tags.toml").read_text("utf-8")), _File)

VERSION = _FILE.version
TAGS = {
    code: Tag(code, level, text, kind == "base")
    for level, kinds in _FILE.tags.items()
    for kind, tags in kinds.items()
    for code, text in tags.items()
}
"""Every tag in force, by its code."""
ENGLISH: dict[str, str] = msgspec.convert(
    tomllib.loads(resources.files("protocols").joinpath("tags_en.toml").read_text("utf-8")), dict[str, str]
)
"""What each tag in force says, in English for whoever reads no Chinese: our own words, which are never sent."""
_OLD = {code: level for level, codes in _FILE.old.items() for code in codes}

Standing = Literal["current", "old", "other_level", "unknown"]
"""Whether a code is in force, of the list before, of another level than the rating's, or nobody's. Whatever it is, it
is kept as it came and sent: what a citizen chose is not ours to leave out."""


def standing(code: str, level: Level) -> Standing:
    """Where this code stands for a rating of this level."""
    tag = TAGS.get(code)
    known = tag.level if tag is not None else _OLD.get(code)
    if known is None:
        return "unknown"
    if known is not level:
        return "other_level"
    return "current" if tag is not None else "old"


def is_code(reason: str) -> bool:
    """Whether this stands for a tag and not for itself: all tags are numbers."""
    return reason.isdigit()
