"""The taxi evaluator as we read one copied text: what stands here is our reading, and changes with better knowledge."""

import pytest

from firmware_sim.panel import PressThanked
from firmware_sim.panels.taxi905 import FRONT, REAR, Taxi905Panel, frame

POLL = bytes.fromhex("55 AA 00 04 06 01 00 00 03 55 AA")
IDLE = bytes.fromhex("55 AA 00 05 06 01 00 00 00 02 55 AA")
ASKING = bytes.fromhex("55 AA 00 05 06 01 00 00 01 03 55 AA")
ASK_30_S = bytes.fromhex("55 AA 00 05 06 01 00 01 1E 1D 55 AA")
SATISFIED = bytes.fromhex("55 AA 00 05 06 01 00 02 01 01 55 AA")
NOBODY = bytes.fromhex("55 AA 00 05 06 01 00 02 00 00 55 AA")
TAKEN = bytes.fromhex("55 AA 00 04 06 01 80 02 81 55 AA")


def polled(panel: Taxi905Panel, now_ms: int) -> bytes:
    panel.feed(POLL, now_ms)
    return panel.poll(now_ms)


def asking() -> Taxi905Panel:
    panel = Taxi905Panel()
    panel.feed(ASK_30_S, 1_000)
    return panel


def test_it_speaks_only_when_polled():
    """And says whether it is asking."""
    panel = asking()

    assert b"" == panel.poll(1_000)
    assert (IDLE, ASKING) == (polled(Taxi905Panel(), 1_000), polled(panel, 2_000))


def test_a_result_is_given_to_every_poll_until_it_is_taken():
    """Only the acknowledgement thanks the citizen."""
    panel = asking()
    panel.press(1, 2_000)
    before = [polled(panel, now_ms) for now_ms in (2_100, 2_200)]
    panel.feed(TAKEN, 2_300)

    assert [SATISFIED, SATISFIED, IDLE] == [*before, polled(panel, 2_400)]
    made, thanked = panel.take_events()
    assert (PressThanked(made, 2_300), True) == (thanked, made.invited)


def test_nobody_pressed_is_a_result_too():
    """00, when the seconds are over."""
    panel = asking()

    assert [ASKING, NOBODY] == [polled(panel, now_ms) for now_ms in (30_999, 31_000)]


def test_a_key_outside_the_seconds_is_no_result():
    """Before and after."""
    panel = Taxi905Panel()
    panel.press(1, 500)
    panel.feed(ASK_30_S, 1_000)
    panel.press(2, 31_500)

    assert NOBODY == polled(panel, 32_000)
    assert [False, False] == [event.invited for event in panel.take_events()]


def test_rear_and_front_are_told_apart():
    """By the device type; the rear one does not hear what is for the front one."""
    rear, front = Taxi905Panel(REAR), Taxi905Panel(FRONT)
    for panel in (rear, front):
        panel.feed(frame(FRONT, 1, 0x0000), 1_000)

    assert (b"", frame(FRONT, 1, 0x0000, b"\0")) == (rear.poll(1_000), front.poll(1_000))


@pytest.mark.parametrize(
    "noise", [b"\x55", b"\x55\xaa", b"\x55\xaa\xff\xff", ASK_30_S[:7], POLL[:-3] + b"\x00\x55\xaa"]
)
def test_it_finds_its_way_back_behind_noise(noise):
    """Half frames, wrong lengths, a wrong XOR; a byte at a time."""
    panel, heard = Taxi905Panel(), b""
    for byte in noise + POLL + POLL + POLL:
        panel.feed(bytes([byte]), 1_000)
        heard += panel.poll(1_000)

    assert heard.endswith(IDLE)
