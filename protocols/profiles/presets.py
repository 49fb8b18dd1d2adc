"""What the keys of known families mean, as far as host programs show it: offered to a person, never taken as it is."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from protocols import settings
from protocols.errors import BadSettings

from .vocabulary import Id, Key, KeyMeaning, Title


class Preset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One family's keys, to be confirmed on the spot."""

    id: Id
    title: Title
    evidence: Literal["field-observed"]
    keys: dict[Key, KeyMeaning]
    nobody: list[Annotated[int, Meta(ge=0, le=999)]] = []
    """Numbers by which it says that nobody pressed."""

    @property
    def meanings(self) -> dict[int, KeyMeaning]:
        return {int(key): meaning for key, meaning in self.keys.items()}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    presets: list[Preset]


def read(raw: bytes, file: str) -> dict[str, Preset]:
    """The presets of this TOML text by id; BadSettings names every mistake."""
    found = settings.read(raw, _File, file).presets
    mistakes = [f"{file}: {each}" for each in _contradictions(found)]
    if mistakes:
        raise BadSettings(mistakes)
    return {preset.id: preset for preset in found}


def _contradictions(found: list[Preset]) -> list[str]:
    ids = [preset.id for preset in found]
    twice = [f"presets: {id!r} 写了两次 / is given twice" for id in sorted({id for id in ids if ids.count(id) > 1})]
    crossed = [
        f"presets: {preset.id}: {number} 既是按键又是无人评价 / is a key, and nobody's"
        for preset in found
        for number in preset.nobody
        if number in preset.meanings
    ]
    return twice + crossed


@lru_cache(maxsize=1)
def shipped() -> dict[str, Preset]:
    """Those that come with the program."""
    return read((files(__package__) / "presets.toml").read_bytes(), "presets.toml")
