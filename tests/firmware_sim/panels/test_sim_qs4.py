"""The four-key evaluator as it was observed: its frames byte for byte, its start, its repeats and its callers."""

import pytest

from firmware_sim.panel import PressMade, PressNotAccepted, PressThanked
from firmware_sim.panels.qs4 import CallerKey, CallerPanel, Deframer, Qs4Panel, frame

RATING = bytes.fromhex("FF 68 03 03 68 05 11 02 18 16")  # key 2 at address 5
ANSWER = bytes.fromhex("FF 68 03 03 68 05 01 02 08 16")
START = bytes.fromhex("FF 68 03 03 68 05 01 0B 11 16")
STARS = bytes.fromhex("FF 68 03 03 68 05 02 05 0C 16")


def started(**settings) -> Qs4Panel:
    panel = Qs4Panel(5, **settings)
    panel.feed(START, 1_000)
    return panel


def said(panel, from_ms: int, to_ms: int) -> list[tuple[int, bytes]]:
    """(ms, bytes) of all that it says, looked at each millisecond."""
    return [(now_ms, data) for now_ms in range(from_ms, to_ms) if (data := panel.poll(now_ms))]


def test_a_rating_is_said_as_it_was_observed():
    """Key 2 at address 5."""
    panel = started()
    count = panel.press(2, 2_000)

    assert 1 == count
    assert RATING == panel.poll(2_000)
    assert [PressMade("5", 1, 1, 2, 2_000, True)] == panel.take_events()


def test_it_repeats_an_unanswered_rating_every_600_ms():
    """The same bytes again; nothing on the line tells a repeat from a new press."""
    panel = started()
    panel.press(2, 2_000)

    assert [(2_000, RATING), (2_600, RATING), (3_200, RATING)] == said(panel, 2_000, 3_700)


def test_the_answer_ends_the_repeating():
    """The citizen is thanked by it, once."""
    panel = started()
    panel.press(2, 2_000)
    panel.poll(2_000)
    panel.feed(ANSWER, 2_100)
    panel.feed(ANSWER, 2_200)

    assert [] == said(panel, 2_100, 5_000)
    made, thanked = panel.take_events()
    assert PressThanked(made, 2_100) == thanked
    assert panel.next_ms(5_000) is None


@pytest.mark.parametrize(
    "wrong",
    [
        "FF 68 03 03 68 05 01 03 09 16",  # another key
        "FF 68 03 03 68 06 01 02 09 16",  # another address
        "FF 68 03 03 68 05 01 02 09 16",  # another sum
        "FF 68 03 04 68 05 01 02 08 16",  # two lengths
        "FF 68 03 03 68 05 01 02 08 17",  # another trailer
    ],
)
def test_what_is_no_answer_to_it_ends_nothing(wrong):
    """The device checks what it hears, whatever its host does."""
    panel = started()
    panel.press(2, 2_000)
    panel.poll(2_000)
    panel.feed(bytes.fromhex(wrong), 2_100)

    assert [(2_600, RATING)] == said(panel, 2_100, 3_000)


def test_before_the_start_a_key_is_pressed_but_not_said():
    """The truth knows that it was pressed when nothing was asked."""
    panel = Qs4Panel(5)
    panel.press(2, 2_000)

    assert [] == said(panel, 2_000, 5_000)
    assert [PressMade("5", 1, 1, 2, 2_000, False)] == panel.take_events()


def test_a_start_is_for_one_rating_and_ends_by_itself():
    """After a press, and after its seconds."""
    panel, late = started(), started(asks_ms=3_000)
    panel.press(0, 2_000)
    panel.feed(bytes.fromhex("FF 68 03 03 68 05 01 00 06 16"), 2_001)

    assert not panel.inviting(2_002)
    assert (4_000, True, False) == (late.asks_until_ms(3_999), late.inviting(3_999), late.inviting(4_000))


def test_an_always_open_one_says_a_key_that_nobody_asked_for():
    """Not asked for is still what the truth says of it."""
    panel = Qs4Panel(5, always=True)
    panel.press(2, 2_000)

    assert RATING == panel.poll(2_000)
    assert [PressMade("5", 1, 1, 2, 2_000, False)] == panel.take_events()


def test_it_has_room_for_one_rating():
    """A second key while the first waits for its answer is not accepted."""
    panel = Qs4Panel(5, always=True)
    panel.press(2, 2_000)
    second = panel.press(3, 2_100)

    assert second is None
    assert PressNotAccepted("5", 3, 2_100) == panel.take_events()[-1]


def test_it_has_four_keys_and_stars():
    """0 to 3; stars are what the host says."""
    panel = Qs4Panel(5)
    panel.feed(STARS, 1_000)

    assert (0, 1, 2, 3) == panel.buttons
    assert panel.press(4, 2_000) is None
    assert 5 == panel.stars


def test_a_reboot_forgets_the_rating():
    """It was never answered, so nobody was thanked."""
    panel = started()
    panel.press(2, 2_000)
    panel.reboot(2_100)

    assert [] == said(panel, 2_100, 5_000)
    made, rebooted = panel.take_events()
    assert ((made,), 2) == (rebooted.lost, rebooted.boot)


def test_a_deframer_finds_its_way_back():
    """Behind noise, behind a bad length, behind half a frame; in pieces of one byte."""
    noisy = b"\xff\x00\xff\x68\x03\xff" + STARS + b"\xff\x68\x63" + ANSWER[:7] + START + b"\xff"
    deframer = Deframer()
    found = [each for byte in noisy for each in deframer.feed(bytes([byte]))]

    assert [(5, 0x02, b"\x05"), (5, 0x01, b"\x0b")] == found


def test_a_deframer_does_not_grow():
    """Whatever arrives."""
    deframer = Deframer()
    for _ in range(1_000):
        list(deframer.feed(b"\xff\x68\x0a\x0a\x68" * 20))

    assert len(deframer._held) <= 64


def test_a_caller_says_the_clerks_keys_and_no_rating():
    """Call, call again, rate: 0C, 0D, 0B; no press of the truth."""
    caller = CallerPanel(15)
    for button in (1, 2, 3):
        caller.press(button, 1_000 * button)

    assert [frame(15, 0x10, b"\x0c"), frame(15, 0x10, b"\x0d"), frame(15, 0x10, b"\x0b")] == [
        data for _, data in said(caller, 0, 4_000)
    ]
    assert ([], CallerKey("15", 0x0C, 1_000)) == (caller.take_events(), caller.keys[0])
