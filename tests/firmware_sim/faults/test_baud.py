"""The bit model gives what a logic analyser gives: known bytes, known errors, and nothing at the right rate."""

import pytest

from firmware_sim.faults.baud import as_read, resample

EVERY = bytes(range(256))


@pytest.mark.parametrize("baud", [2_400, 9_600, 19_200])
def test_at_the_same_rate_every_byte_is_itself(baud):
    """No errors, through the same sampling."""

    assert [(byte, False) for byte in EVERY] == resample(EVERY, baud, baud)


@pytest.mark.parametrize(("sent", "read"), [(0x01, 0x06), (0x03, 0x1E), (0x05, 0x66)])
def test_a_slow_key_at_a_fast_host_is_another_key_with_a_framing_error(sent, read):
    """Device 9600, host 19200: a 01 that looks like a 06 is the dangerous one."""

    assert [(read, True)] == resample(bytes([sent]), 9_600, 19_200)


@pytest.mark.parametrize("key", range(1, 7))
def test_a_fast_key_at_a_slow_host_is_f_something_without_an_error(key):
    """Device 19200, host 9600; nothing tells it from a good byte but its value."""
    ((byte, error),) = resample(bytes([key]), 19_200, 9_600)

    assert (byte in (0xF0, 0xF1, 0xF2), False) == (True, error)


@pytest.mark.parametrize("key", range(1, 7))
def test_at_half_and_at_a_quarter_of_the_rate(key):
    """Device 9600: at 4800 the same as above, at 2400 FE or FF."""
    half = resample(bytes([key]), 9_600, 4_800)
    quarter = resample(bytes([key]), 9_600, 2_400)

    assert resample(bytes([key]), 19_200, 9_600) == half
    assert {byte for byte, _ in quarter} <= {0xFE, 0xFF}


def test_bytes_without_a_gap_run_into_each_other():
    """Six bytes sent at 9600 are not six bytes at 19200, nor at 4800."""
    command = bytes.fromhex("55 AA 02 20 00 1A")

    assert len(resample(command, 9_600, 19_200)) > 6
    assert len(resample(command, 9_600, 4_800)) < 6


def test_a_program_sees_an_error_as_it_is_or_as_00():
    """By its terminal's settings."""

    assert b"\x06" == as_read(b"\x01", 9_600, 19_200)
    assert b"\x00" == as_read(b"\x01", 9_600, 19_200, error_as_zero=True)
    assert b"\xf0" == as_read(b"\x01", 19_200, 9_600, error_as_zero=True)
    assert EVERY == as_read(EVERY, 9_600, 9_600)
