"""The PJ06 as its driver sees it: four commands, one raw byte for a vote, silence otherwise."""

import pytest

from firmware_sim.panel import PressMade
from firmware_sim.panels.pj06 import Pj06Panel

WELCOME = bytes.fromhex("55 AA 02 1F 00 1A")
PLEASE_RATE = bytes.fromhex("55 AA 02 20 00 1A")
SIXTY_SECONDS = bytes.fromhex("55 AA 03 13 3C 00 1A")
TEN_SECONDS = bytes.fromhex("55 AA 03 13 0A 00 1A")
FIVE_STARS = bytes.fromhex("55 AA 02 15 05 1A")
THREE_STARS = bytes.fromhex("55 AA 02 15 03 1A")


def rating(*commands: bytes) -> Pj06Panel:
    """A panel that was told all this, a second apart, and then to ask, at 10,000 ms."""
    panel = Pj06Panel()
    for number, command in enumerate(commands):
        panel.feed(command, 1_000 * number)
    panel.feed(PLEASE_RATE, 10_000)
    return panel


@pytest.mark.parametrize("key", range(1, 7))
def test_a_vote_is_one_raw_byte(key):
    """01 to 06."""
    panel = rating()
    panel.press(key, 11_000)

    assert bytes([key]) == panel.poll(11_000)
    assert [PressMade("", 1, 1, key, 11_000, True)] == panel.take_events()


def test_one_vote_for_one_window():
    """The second key is silent; the truth says that nothing was asked any more."""
    panel = rating()
    panel.press(1, 11_000)
    panel.press(2, 12_000)

    assert b"\x01" == panel.poll(12_000)
    assert b"" == panel.poll(12_000)
    assert [True, False] == [event.invited for event in panel.take_events()]


def test_it_is_silent_outside_a_window_and_on_a_time_out():
    """Before, and ten seconds after, it was asked."""
    early, late = Pj06Panel(), rating()
    early.press(1, 1_000)
    late.press(1, 20_000)

    assert (b"", b"") == (early.poll(2_000), late.poll(20_001))
    assert (None, False) == (late.next_ms(20_001), late.inviting(20_000))


@pytest.mark.parametrize(("command", "until_ms"), [(TEN_SECONDS, 20_000), (SIXTY_SECONDS, 70_000)])
def test_the_host_sets_how_long_it_asks(command, until_ms):
    """Command 13: the seconds."""

    assert until_ms == rating(command).asks_until_ms(10_001)


def test_the_host_sets_the_stars_and_so_the_keys():
    """Command 15: keys 1 to stars + 1, as the driver accepts them."""
    panel = rating(THREE_STARS)
    panel.press(5, 11_000)
    fifth = panel.poll(11_000)
    panel.press(4, 12_000)

    assert (b"", b"\x04") == (fifth, panel.poll(12_000))


def test_a_break_is_nothing():
    """The driver uses it as a delay: 00 before, between and after commands."""
    panel = Pj06Panel()
    panel.feed(b"\0\0" + PLEASE_RATE + b"\0", 1_000)
    panel.feed(b"\0" * 100, 2_000)

    assert 11_000 == panel.asks_until_ms(2_000)


def test_commands_may_come_in_pieces_but_not_at_once():
    """The driver leaves 500-1000 ms between them; one that follows at once is not heard."""
    panel = Pj06Panel()
    panel.feed(WELCOME[:2], 1_000)
    panel.feed(WELCOME[2:], 1_010)
    panel.feed(FIVE_STARS + THREE_STARS, 2_000)
    panel.feed(PLEASE_RATE, 2_100)
    apart = (panel.welcomed, panel.stars, panel.missed, panel.inviting(2_101))
    panel.feed(PLEASE_RATE, 2_600)

    assert (1, 5, 2, False) == apart
    assert panel.inviting(2_601)


@pytest.mark.parametrize("wrong", ["55 AA 02 20 00 1B", "55 AB 02 20 00 1A", "55 AA 09 20 00 1A", "AA 02 20 00 1A"])
def test_what_is_no_command_opens_nothing(wrong):
    """Another trailer, header or length; the next command is heard."""
    panel = Pj06Panel()
    panel.feed(bytes.fromhex(wrong), 1_000)
    opened = panel.inviting(1_001)
    panel.feed(b"\0" * 16 + PLEASE_RATE, 3_000)

    assert (False, True) == (opened, panel.inviting(3_001))


def test_a_bouncing_contact_is_one_vote():
    """It debounces."""
    panel = rating()
    closures = [panel.press(3, 11_000 + after_ms) for after_ms in (0, 5, 12, 29)]

    assert [1, None, None, None] == closures
