"""Rules of text: an expression from anywhere cannot keep a line busy, and a key is a number of a key map or none."""

from __future__ import annotations

import time
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.profiles.events import Noise, Pressed
from protocols.profiles.rules import BareRules, _compiled, bytes_of, number_of
from protocols.profiles.vocabulary import Rule

LONGEST = 512
WORST_S = 5.0  # measured: 1.2 s; what is not let through takes minutes, or ages


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?P<key>1)(a*)*b",  # a group that is repeated, and one without a name
        r"(?P<key>1)(?:a*)*b",
        r"(?P<key>1)(?:a+)+b",
        r"(?P<key>1)(?:a|a)*b",
        r"(?P<key>a|b)",
        r"a*a*a*(?P<key>1)",
        r"\\*\\*\\*\\*\\*\\*(?P<key>1)",  # each a backslash, repeated
        r"[\]]*[\]]*[\]]*(?P<key>1)",
        "a?" * 30 + "a" * 30 + "(?P<key>1)",
        "a{0,99}" * 6 + "(?P<key>1)",
        "a{,99}" * 6 + "(?P<key>1)",
        "a{0,}" * 3 + "(?P<key>1)",
        r"(?P<key>1)\1",
        r"(?P<key>1)(?P=key)",
        r"(?=a)(?P<key>1)",
        r"(?i)(?P<key>1)",
        r"(?P<other>1)(?P<key>1)",
        r"(?P<key>1){9}",
        r"(?P<key>[[a]1])",  # Python warns of these
        r"(?P<key>[1--2])",
        r"(?P<key>[1&&2])",
        r"(?P<key>1",
        r"[1-6",
        r"(?P<key>\q)",
        "(?P<key>1)a{99999999999999}",
    ],
)
def test_an_evil_expression_is_refused(pattern):
    """In words, without a warning and without running it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"^pattern: .* / "):
            _compiled(pattern, LONGEST)


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (r".*.*a?a?a?a?a?a?(?P<key>1)", "a" * LONGEST),
        (r"a*a*" + "a?" * 6 + "(?P<key>1)", "a" * LONGEST),
        (r"a{0,500}a{0,500}" + "a?" * 5 + "(?P<key>1)", "a" * LONGEST),
        ("a?" * 22 + "a" * 22 + "(?P<key>1)", "a" * LONGEST),
        (r"[^x]*.+" + r"\s?" * 6 + "(?P<key>1)", " " * LONGEST),
        (r"a*?a*?" + "a??" * 6 + "(?P<key>1)", "a" * LONGEST),
    ],
)
def test_the_worst_that_is_let_through_takes_a_moment(pattern, line):
    """Red if a kind of repeat is not counted."""
    compiled = _compiled(pattern, LONGEST)
    started = time.process_time()
    found = compiled.fullmatch(line)

    assert found is None
    assert time.process_time() - started < WORST_S


def test_a_shorter_line_allows_more():
    """What counts is the steps over one line."""
    pattern = ".*.*" + "a?" * 8 + "(?P<key>1)"
    with pytest.raises(ValueError, match=r"bare\.longest"):
        _compiled(pattern, LONGEST)

    assert _compiled(pattern, 32)


def heard(pattern: str, raw: bytes, encoding: str = "ascii") -> object:
    rule = Rule(event="key", pattern=pattern)
    found = BareRules({}, ((_compiled(pattern, LONGEST), rule),), encoding).word(raw)
    assert found is not None
    return found.event


@pytest.mark.parametrize(
    ("pattern", "raw", "key"),
    [
        ("K(?P<key>[0-9]+)", b"K3", 3),
        ("K(?P<key>[0-9]+)", b"K999", 999),
        ("K(?P<key>[0-9]+)", b"K1000", None),  # no key map has it, and a database breaks on twenty digits
        ("K(?P<key>[0-9]+)", b"K" + b"9" * 400, None),
        ("K(?P<key>.*)", b"Kx", None),
        ("K(?P<key>.*)", b"K", None),
        ("K(?P<key>.*)", b"K-1", None),
        ("K(?P<key>.*)", b"K 1", None),
        ("K(?P<key>.*)", b"K1_0", None),
    ],
)
def test_a_key_is_a_number_of_three_digits_or_noise(pattern, raw, key):
    """Whatever the expression lets through. Red if it raises at the first citizen who presses."""
    event = heard(pattern, raw)

    assert key == (event.key if isinstance(event, Pressed) else None)
    assert isinstance(event, Pressed | Noise)


@pytest.mark.parametrize(("said", "device"), [(b"011", "11"), (b"5", "5"), (b"A-7", "A-7"), (b"\x1b[2J", None)])
def test_a_device_in_the_text_is_its_address_or_its_name(said, device):
    """`011` is bus address 11; what could be no name is noise and never in a log."""
    event = heard("(?P<device>.*),(?P<key>[0-9])", said + b",3")

    assert device == (event.device if isinstance(event, Pressed) else None)


@given(st.binary(max_size=64), st.sampled_from(["ascii", "utf-8", "gbk"]))
def test_no_line_breaks_a_rule(raw, encoding):
    """In any encoding."""

    assert isinstance(heard("(?P<device>.*),(?P<key>.*)", raw, encoding), Pressed | Noise)


def test_ranges_of_bytes_and_forms_of_keys():
    """As a profile writes them."""

    assert {1, 2, 3, 0x0B} == bytes_of("01..03 0B")
    assert [3, None, 3, 1, 8, None, None] == [
        number_of(0x33, "digit"), number_of(0x03, "digit"), number_of(3, "number"),
        number_of(0x01, "bit"), number_of(0x80, "bit"), number_of(0, "bit"), number_of(3, "bit"),
    ]  # fmt: skip
