"""The keypad's event node: the kernel's structs, byte for byte, and what keypads add of their own."""

import struct
from random import Random

from firmware_sim.faults import Faults
from firmware_sim.panel import PressMade
from firmware_sim.panels.keypad import KeypadPanel


def events(panel: KeypadPanel, to_ms: int = 60_000) -> list[tuple[int, int, int]]:
    """(type, code, value) of all it says by then."""
    said, now_ms = b"", 0
    while (due := panel.next_ms(now_ms)) is not None and due <= to_ms:
        now_ms = due
        said += panel.poll(now_ms)
    return [struct.unpack("@llHHi", said[at : at + 24])[2:] for at in range(0, len(said), 24)]


def keys(panel: KeypadPanel) -> list[tuple[int, int]]:
    return [(code, value) for kind, code, value in events(panel) if kind == 1]


def test_a_key_is_a_scan_code_a_key_and_a_report():
    """Keypad 3 is code 81, usage 5B of page 7; down, and up again. Time stands in front: seconds and microseconds."""
    panel = KeypadPanel()
    panel.press(3, 1_234_567)
    first = panel.poll(1_234_567)

    assert struct.pack("@llHHi", 1_234, 567_000, 4, 4, 0x7005B) == first[:24]
    assert struct.pack("@llHHi", 1_234, 567_000, 1, 81, 1) == first[24:48]
    assert struct.pack("@llHHi", 1_234, 567_000, 0, 0, 0) == first[48:]
    assert [(4, 4, 0x7005B), (1, 81, 0), (0, 0, 0)] == events(panel, 2_000_000)
    assert [PressMade("", 1, 1, 3, 1_234_567, False)] == panel.take_events()


def test_each_digit_has_the_kernels_code():
    """Keypad and main row."""
    keypad, row = KeypadPanel(), KeypadPanel(main_row=True)
    for panel in (keypad, row):
        for place, digit in enumerate((1, 2, 3, 4, 5)):
            panel.press(digit, 1_000 * place)

    assert [79, 80, 81, 75, 76] == [code for code, value in keys(keypad) if value == 1]
    assert [2, 3, 4, 5, 6] == [code for code, value in keys(row) if value == 1]


def test_numlock_may_stand_around_every_key():
    """By switch and by fault."""
    switched, faulty = KeypadPanel(numlock=True), KeypadPanel()
    faulty.suffer(Faults(numlock=1), Random(1))
    for panel in (switched, faulty):
        panel.press(1, 1_000)

    assert [(69, 1), (69, 0), (79, 1), (79, 0), (69, 1), (69, 0)] == keys(switched) == keys(faulty)


def test_enter_may_follow():
    """As of a keypad that ends what it types."""
    panel = KeypadPanel(enter=True)
    panel.press(1, 1_000)

    assert [(79, 1), (79, 0), (96, 1), (96, 0)] == keys(panel)


def test_a_held_key_repeats_with_value_2():
    """By fault, between its down and its up; one press all the same."""
    panel = KeypadPanel()
    panel.suffer(Faults(key_repeat=1), Random(1))
    panel.press(1, 1_000)

    assert [(79, 1), *[(79, 2)] * 6, (79, 0)] == keys(panel)
    assert 1 == len(panel.take_events())


def test_the_other_event_node_says_nothing_that_is_a_digit():
    """By fault it speaks beside the key; the keypad's own node is as ever."""
    panel = KeypadPanel()
    panel.suffer(Faults(second_node=1), Random(1))
    panel.press(1, 1_000)
    other = panel.other_node()

    assert {115} == {
        struct.unpack_from("@llHHi", other, at)[3] for at in range(0, len(other), 24) if other[at + 16] == 1
    }
    assert ([(79, 1), (79, 0)], b"") == (keys(panel), panel.other_node())
