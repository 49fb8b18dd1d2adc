"""A Modbus slave by the public specification: frames byte for byte, four ways to hold a key, every way to say no."""

from random import Random

import pytest

from firmware_sim.faults import Faults
from firmware_sim.panel import PressThanked
from firmware_sim.panels.modbus import ModbusPanel, crc16, frame

READ_KEY = bytes.fromhex("01 03 00 00 00 01 84 0A")
KEY_3 = bytes.fromhex("01 03 02 00 03 F8 45")
READ_INPUTS = bytes.fromhex("01 02 00 00 00 05 B8 09")
INPUT_3 = bytes.fromhex("01 02 01 04 A0 4B")
CLEAR = bytes.fromhex("01 06 00 10 00 01 49 CF")
ILLEGAL_ADDRESS = bytes.fromhex("01 83 02 C0 F1")
NO_KEY = frame(1, b"\x03\x02\x00\x00")


def asked(panel: ModbusPanel, request: bytes, now_ms: int) -> bytes:
    """What it answers within a second."""
    panel.feed(request, now_ms)
    return b"".join(panel.poll(now_ms + after_ms) for after_ms in range(1_000))


def pressed(mode, key: int = 3, **settings) -> ModbusPanel:
    panel = ModbusPanel(1, mode=mode, **settings)
    panel.press(key, 1_000)
    return panel


def test_the_checksum_is_that_of_the_specification():
    """Its usual check value, and low byte first on the line."""

    assert 0x4B37 == crc16(b"123456789")
    assert READ_KEY == frame(1, bytes.fromhex("03 00 00 00 01"))


def test_a_key_is_read_as_it_stands_on_the_line():
    """Register and inputs."""

    assert KEY_3 == asked(pressed("latched"), READ_KEY, 2_000)
    assert INPUT_3 == asked(pressed("latched"), READ_INPUTS, 2_000)


def test_function_4_reads_the_same():
    """With its own number in front."""
    read = asked(pressed("latched"), frame(1, bytes.fromhex("04 00 00 00 01")), 2_000)

    assert frame(1, b"\x04\x02\x00\x03") == read


def test_a_latched_key_stays_until_it_is_cleared():
    """The clearing is answered by the same bytes, and thanks the citizen."""
    panel = pressed("latched")
    reads = [asked(panel, READ_KEY, now_ms) for now_ms in (2_000, 60_000)]
    cleared = asked(panel, CLEAR, 61_000)

    assert [KEY_3, KEY_3] == reads
    assert (CLEAR, NO_KEY) == (cleared, asked(panel, READ_KEY, 62_000))
    made, thanked = panel.take_events()
    assert PressThanked(made, 61_000) == thanked


def test_a_level_is_there_while_the_finger_is():
    """Who polls too late has missed it: register and inputs."""

    assert (KEY_3, NO_KEY) == tuple(asked(pressed("level"), READ_KEY, now_ms) for now_ms in (1_119, 1_120))
    assert INPUT_3 == asked(pressed("level"), READ_INPUTS, 1_050)
    assert frame(1, b"\x02\x01\x00") == asked(pressed("level"), READ_INPUTS, 1_500)


def test_an_edge_is_told_once():
    """To the first who reads it."""
    panel = pressed("edge")

    assert [KEY_3, NO_KEY] == [asked(panel, READ_KEY, now_ms) for now_ms in (2_000, 4_000)]


def test_a_counter_tells_a_second_press_of_the_same_key():
    """The last key and how many presses; the counter goes round."""
    panel = pressed("counter")
    both = frame(1, bytes.fromhex("03 00 00 00 02"))
    first = asked(panel, both, 2_000)
    panel.press(3, 3_000)

    assert frame(1, bytes.fromhex("03 04 00 03 00 01")) == first
    assert frame(1, bytes.fromhex("03 04 00 03 00 02")) == asked(panel, both, 4_000)


def test_the_counter_can_be_about_to_wrap():
    """By fault: the third press is number 1 after 65535 and 0."""
    panel = ModbusPanel(1, mode="counter")
    panel.suffer(Faults(wrap=1), Random(1))
    counts = []
    for now_ms in (1_000, 3_000, 5_000):
        panel.press(1, now_ms)
        counts.append(asked(panel, frame(1, bytes.fromhex("03 00 01 00 01")), now_ms + 500)[3:5].hex())

    assert ["ffff", "0000", "0001"] == counts


@pytest.mark.parametrize(
    ("request_body", "answer"),
    [
        ("03 00 02 00 01", ILLEGAL_ADDRESS),
        ("03 00 01 00 02", ILLEGAL_ADDRESS),
        ("03 00 00 00 00", frame(1, b"\x83\x03")),
        ("03 00 00 00 7E", frame(1, b"\x83\x03")),
        ("02 00 00 00 06", frame(1, b"\x82\x02")),
        ("06 00 20 00 01", frame(1, b"\x86\x02")),
        ("05 00 00 12 34", frame(1, b"\x85\x03")),
        ("07 00 00 00 00", frame(1, b"\x87\x01")),
    ],
)
def test_what_it_cannot_do_is_answered_by_an_exception(request_body, answer):
    """01 illegal function, 02 illegal address, 03 illegal value."""

    assert answer == asked(ModbusPanel(1), frame(1, bytes.fromhex(request_body)), 1_000)


@pytest.mark.parametrize("request_", [frame(2, READ_KEY[1:6]), READ_KEY[:-1] + b"\x0b", READ_KEY[:5]])
def test_what_is_not_for_it_or_damaged_is_answered_by_silence(request_):
    """And the next request is understood."""
    panel = pressed("latched")

    assert (b"", KEY_3) == (asked(panel, request_, 2_000), asked(panel, READ_KEY, 4_000))


def test_all_slaves_obey_address_0_and_none_answers():
    """A broadcast."""
    panel = pressed("latched")

    assert b"" == asked(panel, frame(0, CLEAR[1:6]), 2_000)
    assert NO_KEY == asked(panel, READ_KEY, 4_000)


def test_lamps_are_registers_and_coils_and_mean_that_it_asks():
    """Written, read back, and seen by the citizen."""
    panel = ModbusPanel(1)
    lit = frame(1, bytes.fromhex("05 00 02 FF 00"))
    written = asked(panel, lit, 1_000)
    asking = panel.inviting(1_500)

    assert (lit, True) == (written, asking)
    assert frame(1, bytes.fromhex("03 02 00 04")) == asked(panel, frame(1, bytes.fromhex("03 00 04 00 01")), 3_000)
    assert frame(1, bytes.fromhex("01 01 04")) == asked(panel, frame(1, bytes.fromhex("01 00 00 00 05")), 5_000)
    asked(panel, frame(1, bytes.fromhex("06 00 04 00 00")), 7_000)
    assert not panel.inviting(7_500)


def test_a_slow_one_takes_5_to_50_ms():
    """By fault; else two."""
    waits = []
    for seed in range(30):
        panel = ModbusPanel(1)
        panel.suffer(Faults(slow_turnaround=1), Random(seed))
        panel.feed(READ_KEY, 1_000)
        waits.append(panel.next_ms(1_000) - 1_000)
    quick = ModbusPanel(1)
    quick.feed(READ_KEY, 1_000)

    assert 5 <= min(waits) < 20 < max(waits) <= 50
    assert 1_002 == quick.next_ms(1_000)


def test_faults_inside_it_answer_what_a_master_must_not_believe():
    """Another address with a right checksum; an exception."""
    stranger, failing = pressed("latched"), pressed("latched")
    stranger.suffer(Faults(wrong_address=1), Random(1))
    failing.suffer(Faults(exception=1), Random(1))

    assert frame(2, KEY_3[1:5]) == asked(stranger, READ_KEY, 2_000)
    assert asked(failing, READ_KEY, 2_000) in (frame(1, b"\x83\x04"), frame(1, b"\x83\x06"))


def test_a_short_press_is_gone_before_a_slow_master_looks():
    """5-40 ms, so a level is 0 again after 40; a latch still has it."""
    level, latched = ModbusPanel(1, mode="level"), ModbusPanel(1)
    for panel in (level, latched):
        panel.suffer(Faults(short_press=1), Random(1))
        panel.press(3, 1_000)

    assert (NO_KEY, KEY_3) == (asked(level, READ_KEY, 1_040), asked(latched, READ_KEY, 1_040))
