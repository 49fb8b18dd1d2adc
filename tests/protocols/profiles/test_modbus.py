"""A polled panel: a press is what was seen to change, and nothing that may be older than the last look."""

from __future__ import annotations

import time
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.profiles.events import Noise, Pressed
from protocols.profiles.modbus import DeviceSaid, Keys, Mode, NoAnswer, Poll, Reading, Shape

RAW = bytes.fromhex("0103020003F845")
CODES = {0: 1, 1: 2, 2: 3, 3: 4}
NUMBERS = {1: 1, 2: 2, 3: 3, 4: 4}
EVERY_MS = 100


def number(*values: int) -> Reading:
    return Reading(values, RAW)


def inputs(*values: int) -> Reading:
    return Reading(values, RAW, bits=True)


def panel(mode: Mode, shape: Shape = "number", **more: int) -> Keys:
    return Keys("5", mode, shape, NUMBERS if shape == "number" else CODES, **more)


def heard(keys: Keys, *polls: Poll, at_ms: int = 0) -> list[Pressed | Noise]:
    """One look every tenth of a second."""
    return [each for count, poll in enumerate(polls) for each in keys.feed(poll, at_ms + count * EVERY_MS)]


def pressed(found: list[Pressed | Noise]) -> list[int]:
    return [each.key for each in found if isinstance(each, Pressed)]


def reasons(found: list[Pressed | Noise]) -> list[str]:
    return [each.reason for each in found if isinstance(each, Noise)]


# ---- level


def test_a_held_key_is_one_press_no_older_than_the_last_look():
    """However many looks it is held for."""
    found = heard(panel("level"), number(0), number(3), number(3), number(3), number(0))

    assert [Pressed("5", 3, EVERY_MS, RAW, None, None)] == found


def test_a_key_after_another_without_a_pause_is_a_press():
    """Both were seen to come."""
    assert [3, 1] == pressed(heard(panel("level"), number(0), number(3), number(1), number(0)))


@pytest.mark.parametrize(
    ("polls", "expected"),
    [
        ([inputs(0, 0, 0, 0), inputs(0, 0, 1, 0), inputs(0, 0, 0, 0)], [3]),
        ([inputs(0, 0, 0, 0), inputs(1, 0, 0, 0), inputs(1, 0, 0, 1)], [1, 4]),
        ([number(0), number(0b0100), number(0)], [3]),
    ],
)
def test_every_key_has_its_place(polls, expected):
    """An input each, or a bit of a register."""
    assert expected == pressed(heard(panel("level", "places"), *polls))


def test_of_two_keys_in_one_look_none_is_taken():
    """Which was first nobody knows, and always taking the lower one would favour it. Red if both are given."""
    found = heard(panel("level", "places"), inputs(0, 0, 0, 0), inputs(1, 0, 0, 1))

    assert [] == pressed(found)
    assert ["several keys since the last look: which was first is not known"] == reasons(found)


def test_what_is_not_in_the_key_map_is_noise():
    """By its number."""
    found = heard(panel("level"), number(0), number(9), number(9))

    assert ["number 9 is not in the key map"] == reasons(found)
    assert [] == pressed(found)


# ---- edge


def test_an_edge_is_a_press_by_changing():
    """Another number than before; an input that goes over, either way."""
    assert [2, 1] == pressed(heard(panel("edge"), number(4), number(2), number(2), number(1)))
    polls = inputs(1, 0), inputs(0, 0), inputs(0, 0), inputs(0, 1), inputs(0, 0)

    assert [1, 2, 2] == pressed(heard(panel("edge", "places"), *polls))


# ---- latched


def test_a_latched_key_is_one_press_until_it_was_seen_cleared():
    """A clear that was lost must not make the next look a second press. Red if any look with a key is one."""
    keys = panel("latched")
    wants = []
    found = []
    for count, value in enumerate((0, 3, 3, 3, 0, 3)):
        found += keys.feed(number(value), count * EVERY_MS)
        wants.append(keys.to_clear)

    assert [3, 3] == pressed(found)
    assert ["not cleared, or pressed again at once"] * 2 == reasons(found)
    assert [False, True, True, True, False, True] == wants


def test_a_key_latched_before_anybody_looked_is_no_press_but_is_cleared():
    """It may be of yesterday."""
    keys = panel("latched")
    found = keys.feed(number(3), 0)

    assert ["pressed before anybody looked"] == reasons(found)
    assert [] == pressed(found)
    assert keys.to_clear


# ---- counter


@pytest.mark.parametrize("modulus", [256, 65536])
def test_each_step_of_a_counter_is_one_press(modulus):
    """Also the one from its highest to 0; the second register says which key."""
    polls = number(modulus - 2, 1), number(modulus - 1, 2), number(0, 3), number(0, 3), number(1, 3)

    assert [2, 3, 3] == pressed(heard(panel("counter", modulus=modulus), *polls))


def test_a_counter_each_is_a_key_each():
    """The place of the register is the key's."""
    assert [2, 1] == pressed(heard(panel("counter", "places"), number(7, 9), number(7, 10), number(8, 10)))


def test_several_steps_are_one_press_and_said():
    """They cannot be told apart."""
    found = heard(panel("counter"), number(7, 1), number(10, 2))

    assert [2] == pressed(found)
    assert ["3 presses since the last look: taken for one"] == reasons(found)


@pytest.mark.parametrize(
    ("was", "count", "reason"),
    [
        (7, 0, "counter went back: restarted"),
        (65535, 1, "counter went back: restarted"),
        (7, 28, "counter leapt by 21: another panel?"),
    ],
)
def test_a_counter_that_cannot_have_counted_makes_no_press(was, count, reason):
    """A restart, another panel; the next step counts from there."""
    keys = panel("counter")
    found = heard(keys, number(was, 1), number(count, 1))

    assert ([], [reason]) == (pressed(found), reasons(found))
    assert [1] == pressed(heard(keys, number(count + 1, 1), at_ms=200))


@pytest.mark.parametrize("reading", [number(), number(3), number(300, 1), inputs(1, 0)])
def test_an_answer_without_a_counter_is_noise(reading):
    """Too short, too high, inputs."""
    found = heard(panel("counter", modulus=256), number(1, 1), reading, number(2, 1))

    assert [1] == pressed(found)
    assert 1 == len(reasons(found))


# ---- what is no look


@pytest.mark.parametrize("mode", get_args(Mode))
def test_the_first_look_makes_no_press(mode):
    """Nor the first after the cable was out, nor the first after a long time without an answer."""
    keys = panel(mode)
    first = pressed(keys.feed(number(3, 3), 0))
    keys.forget()
    after_cable = pressed(keys.feed(number(4, 4), 100))
    at_ms = 2101
    after_silence = pressed(keys.feed(NoAnswer(), 1000)) + pressed(keys.feed(number(1, 1), at_ms))

    assert [] == first + after_cable + after_silence


@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize("shape", get_args(Shape))
@pytest.mark.parametrize(
    "other", [NoAnswer(), DeviceSaid(2, b"\x01\x83\x02\xc0\xf1"), Noise(b"\x01\x03", "bad checksum")]
)
def test_what_is_no_answer_is_no_press_and_changes_nothing(mode, shape, other):
    """Silence, an exception, a damaged answer: between any two looks."""
    polls = [number(0, 1), number(1, 1), number(1, 1), number(2, 2), number(0, 2)]
    between = [each for poll in polls for each in (other, poll, other)]
    plain, mixed = panel(mode, shape), panel(mode, shape)

    assert pressed(heard(plain, *polls)) == pressed(heard(mixed, *between))


@given(
    st.sampled_from(get_args(Mode)),
    st.sampled_from(get_args(Shape)),
    st.lists(
        st.one_of(
            st.builds(Reading, st.lists(st.integers(0, 65535), max_size=4).map(tuple), st.binary(), st.booleans()),
            st.just(NoAnswer()),
        )
    ),
    st.integers(-(2**40), 2**40),
)
def test_nothing_makes_it_raise(mode, shape, polls, at_ms):
    """Whatever the panel shows: at most one press a look, never older than the time allowed between two."""
    keys = panel(mode, shape)
    for count, poll in enumerate(polls):
        found = keys.feed(poll, at_ms + count * 700)

        assert len(pressed(found)) <= 1
        assert all(0 <= each.age_ms <= 2000 for each in found if isinstance(each, Pressed))


@given(st.lists(st.booleans(), max_size=200), st.integers(0, 255))
def test_a_counter_books_what_was_pressed(steps, start):
    """Looked at often enough, each press once, over every wrap."""
    count, polls = start, [number(start, 1)]
    for step in steps:
        count = (count + step) % 256
        polls.append(number(count, 1))

    assert sum(steps) == len(pressed(heard(panel("counter", modulus=256), *polls)))


def test_a_look_costs_next_to_nothing():
    """Beside the poll itself: a line of 9600 baud gives thirty a second."""
    keys = panel("level")
    polls = [number(value) for value in (0, 0, 0, 3, 3, 0, 0, 1)] * 2_500
    began = time.process_time()
    for count, poll in enumerate(polls):
        keys.feed(poll, count)
    each_us = (time.process_time() - began) / len(polls) * 1e6

    assert each_us < 50, f"{each_us:.1f} µs"
