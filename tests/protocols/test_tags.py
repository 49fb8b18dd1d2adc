"""The national rating tags are data: forty of them, each under its level, none twice."""

from __future__ import annotations

from collections import Counter

from protocols.ratings import Level
from protocols.tags import ENGLISH, TAGS, VERSION, is_code

DIGIT = {"5": "非常满意", "4": "满意", "3": "基本满意", "2": "不满意", "1": "非常不满意"}


def test_each_level_has_eight_tags_of_this_version():
    """Version 2 of the national list, three of each level in the basic set."""
    assert (2, 40) == (VERSION, len(TAGS))
    assert dict.fromkeys(Level, 8) == Counter(tag.level for tag in TAGS.values())
    assert dict.fromkeys(Level, 3) == Counter(tag.level for tag in TAGS.values() if tag.base)


def test_a_tag_stands_under_its_own_level():
    """The first digit of a code is its level. Red if a line is put under another heading."""
    assert [] == [tag for tag in TAGS.values() if DIGIT[tag.code[0]] != tag.level.zh]


def test_every_tag_is_known_by_its_code_and_says_something():
    assert all(code == tag.code and is_code(code) and tag.text for code, tag in TAGS.items())
    assert len({tag.text for tag in TAGS.values()}) > 35
    assert not is_code("态度不好")


def test_every_tag_has_our_english_and_no_other_has():
    """Whoever reads no Chinese chooses among the same forty. Red if a line is missing or left over."""
    assert TAGS.keys() == ENGLISH.keys()
    assert len(set(ENGLISH.values())) == len(ENGLISH)
    assert all(text.isascii() and text[:1].isupper() and len(text) < 60 for text in ENGLISH.values())
