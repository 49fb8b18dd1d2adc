"""A real HID keypad at a real kernel: its keys, who may have them, and what is left when it is unplugged."""

from __future__ import annotations

import pytest

from .desk import appears
from .guest_machine import Guest, Program

pytestmark = pytest.mark.vm

EVENT = "/dev/input/event"
KEYS = {"kp_1": 79, "kp_2": 80, "kp_3": 81, "kp_4": 75, "kp_5": 76}  # linux/input-event-codes.h


@pytest.fixture
def keypad(guest: Guest) -> str:
    """The node of a keypad that is plugged in."""
    mark = len(guest.plugs.lines)
    guest.plug_any("usb-kbd", "keypad", "4.1")
    return str(appears(guest, mark, EVENT)["node"])


def test_keys_come_as_structs_of_24_bytes(guest: Guest, keypad: str) -> None:
    """Each key goes down and up once, by its number on a numeric keypad."""
    reader = reading(guest, keypad)
    for name in KEYS:
        guest.send_key(name)

    assert [(code, value) for code in KEYS.values() for value in (1, 0)] == keys(reader, 2 * len(KEYS))
    assert {24} == {line["bytes"] for line in reader.said() if "bytes" in line}


def test_a_grabbed_keypad_types_nowhere_else(guest: Guest, keypad: str) -> None:
    """While one program has grabbed it another hears nothing, and is refused a grab of its own."""
    listener = reading(guest, keypad)
    owner = reading(guest, keypad, "grab")
    owner.wait(lambda line: "grabbed" in line)
    second = reading(guest, keypad, "grab")
    second.wait(lambda line: line.get("refused") == "EBUSY")
    guest.send_key("kp_1")
    assert [(KEYS["kp_1"], 1), (KEYS["kp_1"], 0)] == keys(owner, 2)
    owner.stop()
    guest.send_key("kp_5")

    assert [(KEYS["kp_5"], 1), (KEYS["kp_5"], 0)] == keys(listener, 2)


def test_an_unplugged_keypad_says_so(guest: Guest, keypad: str) -> None:
    """A read that waits ends with ENODEV at once; the keypad comes back as a node that can be read."""
    reader = reading(guest, keypad, "grab")
    reader.wait(lambda line: "grabbed" in line)
    guest.unplug_any("keypad")
    reader.wait(lambda line: line.get("gone") == "ENODEV")
    mark = len(guest.plugs.lines)
    guest.plug_any("usb-kbd", "keypad", "3")
    again = reading(guest, appears(guest, mark, EVENT)["node"], "grab")
    guest.send_key("kp_3")

    assert [(KEYS["kp_3"], 1), (KEYS["kp_3"], 0)] == keys(again, 2)


def test_a_keypad_made_by_uinput_is_one(guest: Guest) -> None:
    """What a machine with uinput can test without any device: the same structs, the same end."""
    maker = guest.start_program(["made_keypad.py", KEYS["kp_2"], KEYS["kp_4"]])
    reader = reading(guest, maker.wait(lambda line: "made" in line)["made"], "grab")
    reader.wait(lambda line: "grabbed" in line)
    guest.signal(maker.pid, "SIGUSR1")
    reader.wait(lambda line: line.get("gone") == "ENODEV")

    assert 0 == maker.join()
    assert [(80, 1), (80, 0), (75, 1), (75, 0)] == keys(reader, 4)


def reading(guest: Guest, node: str, *grab: str) -> Program:
    """A program that reads this node by now."""
    program = guest.start_program(["keys.py", node, *grab])
    program.wait(lambda line: line.get("reading") == node)
    return program


def keys(reader: Program, count: int) -> list[tuple[int, int]]:
    """(code, value) of each key it heard, as soon as there are so many."""
    reader.wait(lambda _: len(heard(reader)) >= count)
    return heard(reader)


def heard(reader: Program) -> list[tuple[int, int]]:
    return [(line["key"], line["value"]) for line in reader.said() if "key" in line]
