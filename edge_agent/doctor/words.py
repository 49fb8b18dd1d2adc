"""Which of the two languages a terminal is told something in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from protocols.words import Language, Words

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
