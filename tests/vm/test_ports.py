"""What a real kernel says of its USB serial ports, and who may have one."""

from __future__ import annotations

import pytest

from .desk import appears, marks
from .guest_machine import Guest

pytestmark = pytest.mark.vm


def test_two_adapters_alike_differ_by_their_place_alone(guest: Guest) -> None:
    """Same maker, same product, same serial number, as cheap adapters have it: only the USB port tells them apart."""
    for name, port, node in (("left", "1", "/dev/ttyUSB0"), ("right", "4.2", "/dev/ttyUSB1")):
        seen = marks(guest.plugs)
        guest.plug_stranger(name, port, serial="0001")
        assert node == appears(guest, *seen)["node"]
    left, right = guest.run(["ports.py"]).json()

    assert ("/dev/ttyUSB0", "1-1") == (left.pop("device"), left.pop("location"))
    assert ("/dev/ttyUSB1", "1-4.2") == (right.pop("device"), right.pop("location"))
    assert left == right
    assert (0x0403, 0x6001, "0001") == (left["vid"], left["pid"], left["serial_number"])


def test_a_held_port_is_refused_to_a_second_program(guest: Guest) -> None:
    """A lock among programs that ask for it, and TIOCEXCL against every one but root's."""
    seen = marks(guest.plugs)
    guest.plug_stranger("adapter", "1")
    node = appears(guest, *seen)["node"]
    answers = guest.run(["exclusive.py", node]).json()
    refused = {(each["held"], each["second"], each["who"]): each["refused"] for each in answers}

    assert "EAGAIN" == refused["pyserial", "pyserial", "root"] == refused["pyserial", "pyserial", "nobody"]
    assert "EAGAIN" == refused["link", "pyserial", "root"]
    assert "EBUSY" == refused["link", "plain", "nobody"]
    assert "EBUSY" == refused["ioctl", "plain", "nobody"] == refused["ioctl", "pyserial", "nobody"]
    # What no lock prevents: a program that asks for none, and root.
    assert None is refused["pyserial", "plain", "nobody"] is refused["ioctl", "plain", "root"]
