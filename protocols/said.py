"""What a page may say with a press, and how much of it: the same wherever such a press comes in."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from .bodies import PRINTABLE

TAGS_MAX = 16  # no level has more than eight
TEXT_MAX = 150  # characters, as on the provinces' own pages
NUMBER_END = 10**10  # as on our own line: larger is no number of anything here; of an age, four months

TagCodes = Annotated[list[Annotated[str, Meta(pattern=r"^[0-9A-Za-z]{1,8}\Z")]], Meta(max_length=TAGS_MAX)]
"""Codes of rating tags, also of a list that this program does not know."""
TagsVersion = Annotated[int, Meta(ge=0, le=9999)]
"""Which version of the list was shown; 0 where that is not known."""
Text = Annotated[str, Meta(max_length=TEXT_MAX, pattern=PRINTABLE)]
"""In the citizen's own words."""
