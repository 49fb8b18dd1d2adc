"""Words for people in two languages, written everywhere as `Chinese / English`: which of them a page shows."""

from __future__ import annotations

from typing import Literal, NamedTuple

Language = Literal["zh", "en"]
SLASH = " / "
"""Stands between the two, wherever both are written."""


class Words(NamedTuple):
    """One thing said in both languages, each whole by itself: what is put together of several is put together in each
    of them first, and is `Chinese / English` only when it is written out."""

    zh: str
    en: str

    def said(self, language: Language) -> str:
        """In this one."""
        return self.zh if language == "zh" else self.en

    def __str__(self) -> str:
        return f"{self.zh}{SLASH}{self.en}"


def said_in(words: str, language: Language) -> str:
    """The half of `Chinese / English` for this language; all of it where there is one half only."""
    zh, _, en = words.partition(SLASH)
    return (en or zh) if language == "en" else zh


def wanted(asked: str, kept: str, accepted: str) -> Language:
    """Which language to show: what was asked for just now, else what was chosen before, else what the browser accepts
    (an Accept-Language header) if that names English before Chinese; Chinese where nothing says otherwise."""
    for chosen in (asked, kept):
        if chosen in ("zh", "en"):
            return chosen  # type: ignore[return-value]
    for each in accepted.lower().split(","):
        name = each.strip()[:2]
        if name in ("zh", "en"):
            return name  # type: ignore[return-value]
    return "zh"
