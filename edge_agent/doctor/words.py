"""What is said to a person, in Chinese and in English, and which of the two it will be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

Language = Literal["zh", "en"]


@dataclass(frozen=True)
class Words:
    """One thing said in both languages."""

    zh: str
    en: str

    def said(self, language: Language) -> str:
        """In this one."""
        return self.zh if language == "zh" else self.en


NOTHING = Words("", "")


def language(environment: Mapping[str, str], chosen: str | None = None, system: str | None = None) -> Language:
    """The chosen one, or that of the locale: the first that is set of LC_ALL, LC_MESSAGES and LANG, as POSIX has it.

    `system` is what a machine says that has none of them: Windows calls it `Chinese (Simplified)_China`.
    """
    if chosen is not None:
        return cast(Language, chosen)
    set_ = [environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)]
    locale = (set_ or [system or ""])[0].lower()
    return "zh" if locale.startswith(("zh", "chinese")) else "en"
