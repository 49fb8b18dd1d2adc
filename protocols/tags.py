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


def is_code(reason: str) -> bool:
    """Whether this stands for a tag and not for itself: all tags are numbers."""
    return reason.isdigit()
