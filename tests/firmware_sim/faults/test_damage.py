"""Each way to damage a frame damages just that, and leaves alone what has no such part."""

from random import Random

import pytest

from firmware_sim.faults import LINES, Faults, FaultyLine, Wire
from firmware_sim.faults.damage import (
    add_break,
    glitch,
    header_inside,
    in_pieces,
    spoil,
    truncate,
    without_trailer,
    wrong_length,
    wrong_sum,
)
from firmware_sim.panel import frame as house
from firmware_sim.panels.modbus import WIRE as MODBUS
from firmware_sim.panels.modbus import frame as modbus
from firmware_sim.panels.qs4 import WIRE as QS4
from firmware_sim.panels.taxi905 import WIRE as TAXI

RATING = bytes.fromhex("FF 68 03 03 68 05 11 02 18 16")
ANSWER = bytes.fromhex("FF 68 03 03 68 05 01 02 08 16")
TAXI_RESULT = bytes.fromhex("55 AA 00 05 06 01 00 02 01 01 55 AA")
REPLY = bytes.fromhex("01 03 02 00 03 F8 45")
SEEDS = range(50)
BARE = Wire()


def changed(before: bytes, after: bytes) -> set[int]:
    assert len(before) == len(after)
    return {place for place, (a, b) in enumerate(zip(before, after, strict=True)) if a != b}


@pytest.mark.parametrize(
    ("wire", "frame", "places"),
    [
        (QS4, RATING, {8}),
        (TAXI, TAXI_RESULT, {9}),
        (MODBUS, REPLY, {5, 6}),
        (LINES, house("BEAT", 1), {-6, -5, -4, -3}),
    ],
)
def test_a_wrong_checksum_is_wrong_there_and_nowhere_else(wire, frame, places):
    """One byte of it."""
    found = [changed(frame, wrong_sum(frame, 1, Random(seed), wire)) for seed in SEEDS]

    assert {1} == {len(each) for each in found}
    assert {place % len(frame) for place in places} == set().union(*found)


@pytest.mark.parametrize(("wire", "frame", "places"), [(QS4, RATING, {2, 3}), (TAXI, TAXI_RESULT, {2, 3})])
def test_a_wrong_length_is_wrong_there_and_nowhere_else(wire, frame, places):
    """One byte of it, so two lengths may disagree."""
    found = [changed(frame, wrong_length(frame, 1, Random(seed), wire)) for seed in SEEDS]

    assert {1} == {len(each) for each in found}
    assert places == set().union(*found)


def test_a_missing_trailer_takes_nothing_else():
    """Of one byte and of two."""

    assert RATING[:-1] == without_trailer(RATING, 1, Random(1), QS4)
    assert TAXI_RESULT[:-2] == without_trailer(TAXI_RESULT, 1, Random(1), TAXI)


def test_a_header_inside_takes_nothing_away():
    """It stands anywhere behind the first byte."""
    spoilt = [header_inside(RATING, 1, Random(seed), QS4) for seed in SEEDS]

    assert {len(RATING) + 2} == {len(each) for each in spoilt}
    assert all(each.startswith(b"\xff") and b"\xff\x68" in each[1:] for each in spoilt)


def test_what_a_frame_does_not_have_cannot_be_damaged():
    """A bare key byte stays a bare key byte."""
    for damage in (wrong_sum, wrong_length, without_trailer, header_inside):
        assert b"\x03" == damage(b"\x03", 1, Random(1), BARE)


def test_a_frame_that_is_too_short_for_its_parts_is_left_alone():
    """Nothing is raised for bytes that are no frame."""

    assert b"\x03" == wrong_length(b"\x03", 1, Random(1), QS4)


def test_a_break_is_read_as_00():
    """Before or behind."""

    assert {b"\0abc", b"abc\0"} == {add_break(b"abc", 1, Random(seed)) for seed in SEEDS}


def test_a_glitch_at_power_on_is_00_and_ff():
    """One to four."""
    glitches = [glitch(Random(seed)) for seed in SEEDS]

    assert {1, 2, 3, 4} == {len(each) for each in glitches}
    assert {0x00, 0xFF} == set(b"".join(glitches))


def test_after_a_frame_that_was_cut_short_there_is_silence():
    """A second of it; then frames are whole again, if they are let be."""
    line = FaultyLine(Faults(truncated=1), Random(1), QS4)
    heard = []
    for now_ms in (0, 500, 999, 1_000):
        line.to_host(RATING, now_ms)
        heard.append(line.due(now_ms)[0])

    assert [True, False, False, True] == [bool(each) for each in heard]
    assert all(RATING.startswith(each) and each != RATING for each in heard)
    assert {1, 9} <= {len(truncate(RATING, Random(seed))) for seed in range(200)}


def test_lumps_come_at_full_16_ms():
    """As a USB bridge with its latency timer delivers them."""

    assert [(16 - 3, b"abc")] == list(in_pieces(b"abc", Faults(lumps=1), Random(1), 1_603))
    assert [(0, b"abc")] == list(in_pieces(b"abc", Faults(lumps=1), Random(1), 1_600))


def test_a_delay_is_up_to_two_seconds():
    """And holds up what is behind."""
    waits = [after_ms for seed in range(200) for after_ms, _ in in_pieces(b"abc", Faults(delay=1), Random(seed))]

    assert 0 <= min(waits) < 100 < 1_900 < max(waits) <= 2_000


@pytest.mark.parametrize(
    ("fault", "echoes"), [("echo", {RATING}), ("echo_late", {RATING}), ("echo_short", {RATING[1:], RATING[:-1]})]
)
def test_the_hosts_bytes_come_back(fault, echoes):
    """Exact, late, or one byte short; the device hears them all the same."""
    found = set()
    for seed in SEEDS:
        line = FaultyLine(Faults.parse(f"{fault}:1"), Random(seed), QS4)
        line.to_device(RATING, 0)
        at_once, heard = line.due(0)
        later, _ = line.due(300)
        assert (fault == "echo_late", RATING) == (not at_once, heard)
        found.add(at_once + later)

    assert echoes == found


def test_an_answer_that_is_lost_is_known_by_its_family():
    """The answer of a four-key host is lost by ack_lost; its start is not."""
    line = FaultyLine(Faults(ack_lost=1), Random(1), QS4)
    line.to_device(ANSWER, 0)
    line.to_device(bytes.fromhex("FF 68 03 03 68 05 01 0B 11 16"), 0)

    assert bytes.fromhex("FF 68 03 03 68 05 01 0B 11 16") == line.due(0)[1]


def test_a_silent_device_has_not_heard():
    """So nothing answers."""
    line = FaultyLine(Faults(silent=1), Random(1), QS4)
    line.to_device(ANSWER, 0)

    assert (b"", b"") == line.due(0)


@pytest.mark.parametrize(("fault", "code"), [("nak", 4), ("busy", 6)])
def test_a_slave_refuses_in_its_own_words_and_does_not_obey(fault, code):
    """Exceptions 04 and 06 of Modbus; a family that cannot say it obeys."""
    request = modbus(1, bytes.fromhex("03 00 00 00 01"))
    refusing = FaultyLine(Faults.parse(f"{fault}:1"), Random(1), MODBUS)
    mute = FaultyLine(Faults.parse(f"{fault}:1"), Random(1), QS4)
    refusing.to_device(request, 0)
    mute.to_device(ANSWER, 0)

    assert (modbus(1, bytes([0x83, code])), b"") == refusing.due(0)
    assert (b"", ANSWER) == mute.due(0)


def test_a_fault_that_cannot_happen_takes_nothing_from_the_seed():
    """So a new kind of fault does not change old runs."""
    rng, same = Random(1), Random(1)
    spoil(RATING, Faults(), rng, QS4)
    spoil(RATING, Faults(), same, LINES)

    assert rng.random() == same.random()
