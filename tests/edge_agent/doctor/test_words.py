"""Which language a person is spoken to in."""

import pytest

from edge_agent.doctor.words import language
from protocols.words import Words


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LANG": "de_DE"}, "en"),
        ({"LC_ALL": "zh_TW", "LANG": "en_US"}, "zh"),
        ({"LC_ALL": "C", "LC_MESSAGES": "zh_CN", "LANG": "zh_CN"}, "en"),
        ({"LC_ALL": "", "LC_MESSAGES": "zh_CN", "LANG": "en_US"}, "zh"),
        ({}, "en"),
    ],
)
def test_the_locale_decides(environment, expected):
    """LC_ALL before LC_MESSAGES before LANG; an empty one says nothing."""
    assert expected == language(environment)


def test_a_person_decides_before_the_locale():
    """--lang."""
    assert "en" == language({"LANG": "zh_CN"}, "en")
    assert "zh" == language({"LANG": "en_US"}, "zh")


def test_windows_is_asked_where_there_is_no_locale():
    """It has a name of its own for Chinese."""
    assert "zh" == language({}, None, "Chinese (Simplified)_China")
    assert "en" == language({"LANG": "en_US"}, None, "Chinese (Simplified)_China")


def test_words_are_said_in_one_language():
    """Not in both at once."""
    assert ("一", "one") == (Words("一", "one").said("zh"), Words("一", "one").said("en"))
