"""What a real kernel says of its USB serial ports, and who may have one."""

from __future__ import annotations

import pytest

from .desk import appears, marks
from .guest_machine import Guest

pytestmark = pytest.mark.vm

NOBODY = 65_534


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


@pytest.mark.parametrize(
    ("held", "second", "user", "refused"),
    [
        ("pyserial", "pyserial", 0, "EAGAIN"),
        ("link", "pyserial", 0, "EAGAIN"),
        ("ioctl", "open", NOBODY, "EBUSY"),
        ("ioctl", "pyserial", NOBODY, "EBUSY"),
        # What no lock prevents: a program that asks for none, and root.
        ("pyserial", "open", NOBODY, None),
        ("ioctl", "open", 0, None),
    ],
)
def test_a_held_port_is_refused_to_a_second_program(
    guest: Guest, held: str, second: str, user: int, refused: str | None
) -> None:
    """A lock among programs that ask for it, and TIOCEXCL against every one but root's."""
    seen = marks(guest.plugs)
    guest.plug_stranger("adapter", "1")
    node = appears(guest, *seen)["node"]
    (answer,) = guest.run(["exclusive.py", node, held, second, user]).json()

    assert refused == answer["refused"]
