"""What the doctor says of keypads, by made lists of input devices and real files."""

from pathlib import Path

import pytest

from edge_agent.config import WindowSettings
from edge_agent.doctor import keypads
from edge_agent.machine import Account, Roots

DEVICE = """I: Bus=0003 Vendor=04d9 Product=1203 Version=0110
N: Name="HID Keypad"
P: Phys=usb-0000:00:14.0-{socket}/input0
S: Sysfs=/devices/{node}
U: Uniq=
H: Handlers=sysrq kbd {node} leds
B: EV=120013
B: KEY=10000 7 ff9f207ac14057ff febeffdfffefffff fffffffffffffffe
"""
CLERK = Account("agent", 1000, frozenset({1000}))
GROUP = 4242


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    for folder in ("proc/bus/input", "dev/input", "sys", "etc", "usr"):
        (tmp_path / folder).mkdir(parents=True)
    return Roots(**{name: tmp_path / name for name in ("proc", "sys", "dev", "etc", "usr")})


def plug(roots: Roots, *nodes: str) -> None:
    """A keypad at each of these nodes, in a socket of its own."""
    (roots.proc / "bus/input/devices").write_text(
        "\n".join(DEVICE.format(node=node, socket=at) for at, node in enumerate(nodes, 1))
    )
    for node in nodes:
        (roots.dev / "input" / node).touch(0o660)


def found(roots: Roots, port: str = "hid:04d9:1203", account: Account = CLERK) -> list[tuple[str, str, str]]:
    window = WindowSettings(id="1", device="D1", port=port, profile="hid-keypad")
    return [(each.code, each.severity, each.command) for each in keypads.examine([window], account, roots)]


def test_nothing_is_said_where_no_window_has_one(roots):
    """Most halls."""
    assert [] == keypads.examine([WindowSettings(id="1", device="D1", port="/dev/ttyS0")], CLERK, roots)


def test_a_keypad_that_is_there_and_may_be_read(roots):
    """Nothing to do."""
    plug(roots, "event5")
    (roots.dev / "input/event5").chmod(0o664)

    assert [("keypad", "ok", "")] == found(roots)


def test_a_keypad_that_may_not_be_read(roots):
    """The very command."""
    plug(roots, "event5")

    assert [("keypad-permission", "bad", "sudo usermod -aG input agent")] == found(roots)


@pytest.mark.parametrize("nodes", [(), ("event5", "event6")], ids=["none", "two alike"])
def test_a_keypad_that_cannot_be_told(roots, nodes):
    """None, or two alike: where to look which is which."""
    plug(roots, *nodes)

    assert [("keypad", "bad", "cat /proc/bus/input/devices")] == found(roots)


def test_a_node_that_is_not_there(roots):
    """Named by hand, and pulled out."""
    assert [("keypad", "bad", "cat /proc/bus/input/devices")] == found(roots, port="/dev/input/event77")
