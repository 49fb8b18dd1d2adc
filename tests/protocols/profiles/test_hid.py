"""A keypad's events: each key that goes down is one press with its age, and nothing else ever is."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.profiles.events import Noise, Pressed
from protocols.profiles.hid import DIGITS, Decoder

NOW_MS = 5_000_000
SYN, KEY, MSC, LED, REL, REP = 0, 1, 4, 17, 2, 20
KP1, KP2, ENTER, NUMLOCK = 79, 80, 28, 69
MAP = {KP1: 1, KP2: 2}
WIDE, NARROW = struct.Struct("=qqHHi"), struct.Struct("=iiHHi")


def event(kind: int, code: int, value: int, ms: int = NOW_MS, shape: struct.Struct = WIDE) -> bytes:
    return shape.pack(ms // 1000, ms % 1000 * 1000, kind, code, value)


def key(code: int, value: int, ms: int = NOW_MS, shape: struct.Struct = WIDE) -> bytes:
    """As a real keypad says it: its scan code, the key, the end of the report."""
    parts = ((MSC, 4, 0x70059), (KEY, code, value), (SYN, 0, 0))
    return b"".join(event(*part, ms=ms, shape=shape) for part in parts)


def stroke(code: int) -> bytes:
    return key(code, 1) + key(code, 0)


def heard(data: bytes, now_ms: int = NOW_MS) -> list[Pressed | Noise]:
    return Decoder(MAP, WIDE).feed(data, now_ms)


def keys(found: list[Pressed | Noise]) -> list[int]:
    return [each.key for each in found if isinstance(each, Pressed)]


def reasons(found: list[Pressed | Noise]) -> list[str]:
    return [each.reason for each in found if isinstance(each, Noise)]


@pytest.mark.parametrize("shape", [WIDE, NARROW])
def test_a_key_that_goes_down_is_a_press_with_its_age(shape):
    """On a 64-bit kernel and on a 32-bit one; the raw bytes are those of the key's own event."""
    found = Decoder(MAP, shape).feed(key(KP2, 1, NOW_MS - 35, shape), NOW_MS)

    assert [Pressed("", 2, 35, event(KEY, KP2, 1, NOW_MS - 35, shape), None, None)] == found


def test_a_key_that_is_held_is_one_press():
    """Half a second, then thirty times a second. Red if value 2 is taken for a press."""
    found = heard(key(KP1, 1) + event(KEY, KP1, 2) * 300 + key(KP1, 0))

    assert [1] == keys(found)
    assert 1 == len(found)


def test_numlock_around_every_key_is_nothing():
    """As 04d9:1203 sends it, its lamp going on and off; not even a key map can make it a key."""
    around = stroke(NUMLOCK) + event(LED, 0, 1) + stroke(KP1) + stroke(NUMLOCK) + event(LED, 0, 0)

    assert [1] == keys(heard(around))
    assert [1] == keys(Decoder({**MAP, NUMLOCK: 3}, WIDE).feed(around, NOW_MS))
    assert [] == reasons(heard(around))


def test_a_key_outside_the_map_is_noise_with_its_code():
    """Enter behind each digit: kept as noise, once."""
    found = heard(stroke(KP1) + stroke(ENTER))

    assert [1] == keys(found)
    assert ["key code 28 is not in the key map"] == reasons(found)


def test_two_keys_together_are_two_presses():
    """In one report; which of them counts is the window's matter."""
    found = heard(event(KEY, KP2, 1) + event(KEY, KP1, 1) + event(SYN, 0, 0))

    assert [2, 1] == keys(found)


def test_events_lost_in_the_machine_make_no_press():
    """What stands before the next report is a remainder; from there on keys are heard again, also one never let go."""
    decoder = Decoder(MAP, WIDE)
    before = decoder.feed(key(KP1, 1), NOW_MS)
    lost = decoder.feed(event(SYN, 3, 0) + event(KEY, KP2, 1), NOW_MS)
    after = decoder.feed(event(KEY, KP1, 1) + event(SYN, 0, 0) + key(KP1, 1), NOW_MS)

    assert [1] == keys(before)
    assert ["events lost in this machine"] == reasons(lost)
    assert [] == keys(lost)
    assert [1] == keys(after)


def test_a_key_cannot_go_down_twice():
    """Without having been up: that is noise, not a second press."""
    found = heard(key(KP1, 1) + key(KP1, 1))

    assert [1] == keys(found)
    assert ["down again without having been up"] == reasons(found)


@pytest.mark.parametrize(("at_ms", "age_ms"), [(NOW_MS, 0), (NOW_MS - 60_000, 60_000)])
def test_a_believable_time_is_believed(at_ms, age_ms):
    """Up to a minute."""
    assert [age_ms] == [each.age_ms for each in heard(key(KP1, 1, at_ms)) if isinstance(each, Pressed)]


@pytest.mark.parametrize("at_ms", [NOW_MS + 1, NOW_MS - 60_001, 1_760_000_000_000, -5_000])
def test_a_time_that_cannot_be_is_now_and_said(at_ms):
    """The future, long ago, the wall clock's: the press counts, and why its age is 0 is kept."""
    found = heard(key(KP1, 1, at_ms))

    assert [0] == [each.age_ms for each in found if isinstance(each, Pressed)]
    assert ["time of the press not believable: taken as now"] == reasons(found)


def test_reads_may_cut_anywhere():
    """Byte by byte it is the same as in one piece."""
    data = stroke(KP1) + stroke(ENTER) + stroke(KP2)
    decoder = Decoder(MAP, WIDE)
    found = [each for at in range(len(data)) for each in decoder.feed(data[at : at + 1], NOW_MS)]

    assert heard(data) == found


def test_a_movement_is_noise():
    """A mouse is no keypad."""
    assert ["not a key"] == reasons(heard(event(REL, 0, -3)))


@given(st.binary(max_size=400), st.integers(min_value=0, max_value=2**62))
def test_nothing_makes_it_raise(data, now_ms):
    """Any bytes at any time; what it says never has a negative age, and it holds less than one event."""
    for shape in (WIDE, NARROW):
        decoder = Decoder(DIGITS, shape)
        found = decoder.feed(data, now_ms)

        assert all(0 <= each.age_ms <= 60_000 for each in found if isinstance(each, Pressed))
        assert len(decoder._held) < shape.size
        assert len(found) <= 2 * (len(data) // shape.size)


@given(st.lists(st.tuples(st.sampled_from([KP1, KP2, ENTER, NUMLOCK, 30]), st.sampled_from([0, 1, 2]))))
def test_no_more_presses_than_keys_that_went_down(told):
    """Whatever order they come in."""
    found = heard(b"".join(key(code, value) for code, value in told))

    assert len(keys(found)) <= sum(1 for code, value in told if value == 1 and code in MAP)


def test_every_digit_has_two_keys():
    """Above the letters and on the keypad."""
    assert sorted([*range(10)] * 2) == sorted(DIGITS.values())
    assert [1, 2, 3, 4, 5] == [DIGITS[code] for code in (2, 3, 4, 5, 6)]
    assert [1, 2, 3, 4, 5, 0] == [DIGITS[code] for code in (79, 80, 81, 75, 76, 82)]


@pytest.mark.parametrize("data", [stroke(KP1), event(KEY, ENTER, 1), event(SYN, 3, 0), bytes(24), b"\xff" * 24])
def test_five_megabytes_a_second(data):
    """Presses, noise, silence: on one core, of its own time."""
    pieces = [(data * (4096 // len(data) + 1))[:4096]] * 256
    decoder = Decoder(MAP, WIDE)
    began = time.process_time()
    for piece in pieces:
        decoder.feed(piece, NOW_MS)
    rate = 4096 * len(pieces) / (time.process_time() - began)

    assert rate >= 5_000_000, f"{rate / 1e6:.1f} MB/s"
