"""Several panels on one line: all hear, each answers for itself, and two at once may spoil each other."""

from random import Random

import pytest

from firmware_sim.bench import VirtualLine
from firmware_sim.faults import Faults
from firmware_sim.panels.bus import Bus, mash
from firmware_sim.panels.modbus import ModbusPanel
from firmware_sim.panels.modbus import frame as modbus_frame
from firmware_sim.panels.qs4 import HOST, RATING, CallerPanel, Qs4Panel, frame

START_6 = frame(6, HOST, b"\x0b")


def bus(*, faults: Faults | None = None, seed: int = 1) -> Bus:
    made = Bus([Qs4Panel(5, always=True), Qs4Panel(6), CallerPanel(15)])
    made.suffer(faults or Faults(), Random(seed))
    return made


def all_said(panel: Bus, now_ms: int) -> list[bytes]:
    said = []
    while data := panel.poll(now_ms):
        said.append(data)
    return said


def test_all_hear_the_host_and_only_the_one_that_is_meant_obeys():
    """6 is started, 5 is not."""
    line = bus()
    line.feed(START_6, 1_000)

    assert [False, True] == [line.at(device).inviting(1_001) for device in ("5", "6")]
    assert (True, "inviting") == (line.inviting(1_001), line.state(1_001))


def test_they_speak_one_after_the_other():
    """Whole frames, none of them lost; the first is pressed if nobody says which."""
    line = bus()
    line.feed(START_6, 1_000)
    line.press(1, 2_000)
    line.at("6").press(2, 2_000)
    line.at("15").press(1, 2_000)

    assert [frame(5, RATING, b"\x01"), frame(6, RATING, b"\x02"), frame(15, 0x10, b"\x0c")] == all_said(line, 2_000)
    assert [("5", 1), ("6", 2)] == [(event.device, event.button) for event in line.take_events()]


def test_nobody_is_at_an_address_that_is_not_there():
    """KeyError, for whoever types it."""

    with pytest.raises(KeyError):
        bus().at("7")


def test_two_at_once_collide_by_fault():
    """One piece of rubbish in place of two frames; the truth has both presses, and both repeat."""
    line = bus(faults=Faults(collision=1))
    line.feed(START_6, 1_000)
    line.press(1, 2_000)
    line.at("6").press(2, 2_000)
    garbage = all_said(line, 2_000)

    assert [mash(frame(5, RATING, b"\x01"), frame(6, RATING, b"\x02"))] == garbage
    assert 2 == len(line.take_events())
    assert 2_600 == line.next_ms(2_001)


def test_one_alone_never_collides():
    """Nor with itself."""
    line = bus(faults=Faults(collision=1))
    line.press(1, 2_000)

    assert [frame(5, RATING, b"\x01")] == all_said(line, 2_000)


def test_where_nobody_is_nobody_hears_or_speaks():
    """By fault. A press there is still a press."""
    line = bus(faults=Faults(absent=1))
    line.feed(START_6, 1_000)
    line.press(1, 2_000)

    assert ([], False) == (all_said(line, 2_000), line.at("6").inviting(1_001))
    assert 1 == len(line.take_events())


def test_two_devices_of_one_address_speak_into_each_other():
    """By fault: a frame that is none."""
    line = bus(faults=Faults(same_address=1))
    line.press(1, 2_000)
    whole = frame(5, RATING, b"\x01")

    assert [mash(whole, whole[1:] + whole[:1])] == all_said(line, 2_000)


def test_the_line_has_one_power():
    """All of them start anew."""
    line = bus()
    line.press(1, 2_000)
    line.reboot(2_001)

    assert ([2, 2, 2], []) == ([panel.boot for panel in line.panels], all_said(line, 3_000))


def test_a_master_polls_several_slaves_on_one_line():
    """Each answers only to its own address."""
    line = VirtualLine(Bus([ModbusPanel(address) for address in (1, 2, 3)]))
    line.press(4, 1_000, device="2")
    heard = []
    for address in (1, 2, 3):
        line.to_device(modbus_frame(address, bytes.fromhex("03 00 00 00 01")), 2_000 + 100 * address)
        heard += [line.step(now_ms) for now_ms in range(2_000 + 100 * address, 2_090 + 100 * address)]

    assert [modbus_frame(address, bytes([3, 2, 0, key])) for address, key in ((1, 0), (2, 4), (3, 0))] == [
        data for data in heard if data
    ]
