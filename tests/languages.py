"""What a message in two languages has to be, whichever of them is read."""

from __future__ import annotations

import re

from protocols.errors import Mistake

_CHINESE = re.compile("[\u4e00-\u9fff]")
_ENGLISH = re.compile(r"\b(is|are|has|have|expected|wrong|cannot)\b")
_NAMED = re.compile(r"\d+|(?<!\w)'[^' ]{2,}'")


def whole_in_each(mistake: Mistake) -> bool:
    """Whether each language says all of it and nothing of the other: both name the place, and the same values."""
    zh, en = mistake.said("zh"), mistake.said("en")
    return (
        _CHINESE.search(zh) is not None
        and _CHINESE.search(en) is None
        and _ENGLISH.search(zh) is None
        and zh.startswith(mistake.where)
        and en.startswith(mistake.where)
        and set(_NAMED.findall(zh)) == set(_NAMED.findall(en))
        and " / " not in zh + en
    )
