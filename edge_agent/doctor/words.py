"""What people are told, in their language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Language = Literal["zh", "en"]


@dataclass(frozen=True)
class Words:
    """The same in both languages."""

    zh: str
    en: str

    def in_language(self, lang: Language) -> str:
        """For this reader."""
        return self.zh if lang == "zh" else self.en


def language(environ: Mapping[str, str]) -> Language:
    """What the locale asks for: Chinese where it says so, else English."""
    asked = next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "")
    return "zh" if asked.lower().startswith("zh") else "en"
