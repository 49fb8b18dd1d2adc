"""Which language a page shows, and which half of two-language words that is."""

import pytest

from protocols.words import Language, said_in, wanted


@pytest.mark.parametrize(
    ("words", "language", "said"),
    [
        ("线缆已拔出 / cable out", "zh", "线缆已拔出"),
        ("线缆已拔出 / cable out", "en", "cable out"),
        ("cable out", "zh", "cable out"),
        ("只有中文", "en", "只有中文"),
        ("一 / one / two", "en", "one / two"),
    ],
)
def test_words_are_said_in_the_readers_language(words: str, language: Language, said: str) -> None:
    """Words that have one half only are shown as they are: nothing is left out."""
    assert said == said_in(words, language)


@pytest.mark.parametrize(
    ("asked", "kept", "accepted", "language"),
    [
        ("", "", "", "zh"),
        ("", "", "de-DE,de;q=0.9", "zh"),
        ("", "", "en-GB,en;q=0.9,zh;q=0.8", "en"),
        ("", "", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "zh", "en-GB", "zh"),
        ("en", "zh", "zh-CN", "en"),
        ("xx", "", "", "zh"),
    ],
)
def test_chinese_is_first(asked: str, kept: str, accepted: str, language: Language) -> None:
    """A choice made just now beats one made before, and that beats what the browser says of itself."""
    assert language == wanted(asked, kept, accepted)
