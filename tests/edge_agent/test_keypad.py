"""A keypad through recorded events and a made list of devices: found without guessing, taken alone, back after a pull.

A FIFO stands for the node: it gives the same bytes to the same reads. What only a real node answers is told by a fake.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent import clock
from edge_agent.keypad import NODES, Face, Keypad, Listed, Node, find, is_keypad, listed, mistake
from edge_agent.link import LinkDown, carry
from protocols.profiles.events import Noise, Pressed
from protocols.profiles.hid import DIGITS, Decoder

from .hall import until
from .test_link import Notes

EVENT = struct.Struct("@llHHi")
KP1, KP2, NUMLOCK = 79, 80, 69
USB = "usb-0000:00:14.0"
# As a machine lists a keypad with its volume keys beside it, and a mouse. The key bits are a real boot keyboard's.
KEYPAD = """\
I: Bus=0003 Vendor=04d9 Product=1203 Version=0111
N: Name="HK USB Keypad"
P: Phys={usb}/input0
S: Sysfs=/devices/pci0000:00/{usb}/input/input{node}
U: Uniq=
H: Handlers=sysrq kbd leds event{node}{space}
B: PROP=0
B: EV=120013
B: KEY=1000000000007 ff9f207ac14057ff febeffdfffefffff fffffffffffffffe
B: MSC=10
B: LED=7

I: Bus=0003 Vendor=04d9 Product=1203 Version=0111
N: Name="HK USB Keypad Consumer Control"
P: Phys={usb}/input1
S: Sysfs=/devices/pci0000:00/{usb}/input/input{beside}
U: Uniq=
H: Handlers=kbd event{beside}
B: PROP=0
B: EV=1f
B: KEY=3f000301ff 0 0 483ffff17aff32d bfd4444600000000 1 130ff38b17c000 677bfad9415fed 9ed68000004400 10000002
B: MSC=10
"""
MOUSE = """\
I: Bus=0003 Vendor=046d Product=c077 Version=0111
N: Name="Logitech USB Optical Mouse"
P: Phys=usb-0000:00:14.0-9/input0
S: Sysfs=/devices/pci0000:00/usb1/input/input90
U: Uniq=
H: Handlers=mouse0 event90
B: PROP=0
B: EV=17
B: KEY=70000 0 0 0 0
"""
FACE = Face(0x04D9, 0x1203, "HK USB Keypad", f"{USB}-1/input0", frozenset(DIGITS))


def keypad_at(socket: str, node: int) -> str:
    return KEYPAD.format(usb=f"{USB}-{socket}", node=node, beside=node + 1, space=" ")


def machine(*parts: str) -> list[Listed]:
    return list(listed("\n".join(parts)))


def key(code: int, value: int, mono_ms: int) -> bytes:
    at = (mono_ms // 1000, mono_ms % 1000 * 1000)
    parts = ((4, 4, 0x70059), (1, code, value), (0, 0, 0))
    return b"".join(EVENT.pack(*at, *part) for part in parts)


def stroke(code: int) -> bytes:
    now_ms = clock.now().mono_ms
    return key(code, 1, now_ms) + key(code, 0, now_ms)


class Told(Node):
    """A node that says `face`, and whose grab somebody may have."""

    def __init__(self) -> None:
        self.says, self.grabbed, self.asked = FACE, False, []

    def face(self, fd: int) -> Face:
        return self.says

    def date_from_boot(self, fd: int) -> None:
        self.asked.append("clock")

    def grab(self, fd: int) -> None:
        self.asked.append("grab")
        if self.grabbed:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


class Desk:
    """A machine with keypads in it: its list, and a FIFO for each node."""

    def __init__(self, folder: Path):
        self.devices, self.nodes, self.node = folder / "devices", folder / "input", Told()
        self.nodes.mkdir()
        self.devices.write_text(MOUSE)
        self._open: dict[int, int] = {}

    def plug(self, socket: str, node: int) -> None:
        path = self.nodes / f"event{node}"
        os.mkfifo(path)
        self._open[node] = os.open(path, os.O_RDWR)
        self.node.says = Face(0x04D9, 0x1203, "HK USB Keypad", f"{USB}-{socket}/input0", frozenset(DIGITS))
        self.devices.write_text(keypad_at(socket, node) + "\n" + MOUSE)

    def unplug(self, node: int) -> None:
        self.devices.write_text(MOUSE)
        (self.nodes / f"event{node}").unlink()
        os.close(self._open.pop(node))

    def say(self, node: int, data: bytes) -> None:
        assert len(data) == os.write(self._open[node], data)

    def keypad(self, port: str) -> Keypad:
        return Keypad(port, self.node, self.devices, self.nodes)

    def close(self) -> None:
        for fd in self._open.values():
            os.close(fd)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


@pytest.fixture
def opened(desk: Desk) -> Iterator[Callable[[str], Keypad]]:
    keypads: list[Keypad] = []

    def open_one(port: str) -> Keypad:
        keypads.append(desk.keypad(port))
        keypads[-1].open()
        return keypads[-1]

    yield open_one
    for each in keypads:
        each.close()


# ---- which keypad


@pytest.mark.parametrize("port", ["hid:04d9:1203", "hid:04D9:1203", f"hid:{USB}-1/input0", f"hid:{USB}-1"])
def test_of_one_unit_the_node_with_the_digits_is_taken(port):
    """By make or by socket; its volume keys are a node of their own and never the keypad."""
    assert "event3" == find(port, machine(keypad_at("1", 3), MOUSE)).node


def test_two_keypads_alike_are_refused_and_both_are_named():
    """Their sockets tell them apart, and the words say how. Red if the first one is simply taken."""
    devices = machine(keypad_at("1", 3), keypad_at("2.4", 7), MOUSE)
    with pytest.raises(LinkDown) as refused:
        find("hid:04d9:1203", devices)

    assert f"event3 (hid:{USB}-1/input0), event7 (hid:{USB}-2.4/input0)" in str(refused.value)
    assert "event7" == find(f"hid:{USB}-2.4", devices).node


def test_a_socket_is_not_another_that_begins_alike():
    """Socket 1 is not socket 10."""
    assert "event5" == find(f"hid:{USB}-1", machine(keypad_at("10", 3), keypad_at("1", 5))).node


@pytest.mark.parametrize("port", ["hid:046d:c077", "hid:dead:beef", "hid:usb-nowhere"])
def test_what_has_no_digits_or_is_not_there_is_no_keypad(port):
    """A mouse, a make that nobody plugged in, an empty socket."""
    with pytest.raises(LinkDown, match="没有这个键盘"):
        find(port, machine(keypad_at("1", 3), MOUSE))


def test_one_unit_with_two_sets_of_digits_is_refused():
    """Which of them speaks nobody can know before a key is pressed."""
    twice = keypad_at("1", 3) + "\n" + keypad_at("1", 5).replace("input0", "input2")
    with pytest.raises(LinkDown, match=f"event3 .*event5 .hid:{USB}-1/input2"):
        find("hid:04d9:1203", machine(twice))

    assert "event5" == find(f"hid:{USB}-1/input2", machine(twice)).node


def test_bluetooth_keypads_of_one_adapter_are_two_units():
    """They share the adapter's address and have one of their own."""
    shared = [keypad_at("1", node).replace("Uniq=", f"Uniq=aa:bb:{node}") for node in (3, 5)]
    with pytest.raises(LinkDown, match="keypads alike"):
        find("hid:04d9:1203", machine(*shared))


def test_the_machines_own_list_is_read():
    """Whatever devices this machine has, or none."""
    text = Path("/proc/bus/input/devices").read_text() if Path("/proc/bus/input/devices").exists() else ""

    assert all(each.node.startswith("event") for each in listed(text))


@pytest.mark.parametrize("port", [f"{NODES}/by-path/pci-0-usb-0:1:1.0-event-kbd", f"{NODES}/event4", "hid:04d9:1203"])
def test_a_keypads_port_is_told_from_a_serial_lines(port):
    """By its beginning; on Linux there is nothing wrong with it."""
    assert is_keypad(port)
    assert mistake(port, "linux") is None


@pytest.mark.parametrize("port", ["hid:", f"{NODES}/", "/dev/ttyUSB0"])
def test_a_port_that_cannot_be_a_keypad_is_said(port):
    """With what was expected instead."""
    assert "hid:04d9:1203" in str(mistake(port, "linux"))


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_elsewhere_the_settings_say_that_a_keypad_cannot_be(system):
    """And what to use instead."""
    assert "屏幕评价页" in str(mistake("hid:04d9:1203", system))


# ---- taken and read


@pytest.mark.parametrize("port", ["hid:04d9:1203", f"{NODES}/event3"])
def test_recorded_events_become_presses(desk, opened, port):
    """Dated from boot before it is grabbed; a held key, NumLock and the key's own release are nothing."""
    desk.plug("1", 3)
    keypad = opened(port)
    now_ms = clock.now().mono_ms
    desk.say(3, stroke(NUMLOCK) + key(KP1, 1, now_ms) + key(KP1, 2, now_ms) * 3 + key(KP1, 0, now_ms) + stroke(KP2))
    found = Decoder({KP1: 1, KP2: 2}).feed(keypad.read(), clock.now().mono_ms)

    assert ["clock", "grab"] == desk.node.asked
    assert [1, 2] == [each.key for each in found if isinstance(each, Pressed)]
    assert [] == [each for each in found if isinstance(each, Noise)]
    assert all(0 <= each.age_ms < 1000 for each in found if isinstance(each, Pressed))


def test_a_link_by_path_leads_to_the_node(desk, opened):
    """As udev makes it, whatever the number behind."""
    desk.plug("1", 3)
    (desk.nodes / "by-path").mkdir()
    (desk.nodes / "by-path" / "pci-0-usb-0:1:1.0-event-kbd").symlink_to("../event3")
    keypad = opened(f"{NODES}/by-path/pci-0-usb-0:1:1.0-event-kbd")
    desk.say(3, stroke(KP1))

    assert 6 * EVENT.size == len(keypad.read())


def test_it_says_whether_events_waited(desk, opened):
    """Those that were there before anybody looked, and those that came while somebody did."""
    desk.plug("1", 3)
    keypad = opened("hid:04d9:1203")
    desk.say(3, stroke(KP1))
    keypad.read()
    waited = keypad.waited
    late = threading.Timer(0.1, desk.say, (3, stroke(KP1)))
    late.start()

    assert keypad.read()
    assert (True, False) == (waited, keypad.waited)


@pytest.mark.alone
def test_silence_ends_and_a_wake_ends_it_at_once(desk, opened):
    """Half a second without a key; none when woken."""
    desk.plug("1", 3)
    keypad = opened("hid:04d9:1203")
    began = time.monotonic()

    assert b"" == keypad.read()
    assert 0.4 < time.monotonic() - began < 2
    keypad.wake()
    began = time.monotonic()
    assert b"" == keypad.read()
    assert time.monotonic() - began < 0.3


def test_what_is_written_goes_nowhere(desk, opened):
    """A keypad can be told nothing."""
    desk.plug("1", 3)
    opened("hid:04d9:1203").write(b"thanks")


@pytest.mark.alone
def test_a_keypad_that_comes_back_in_another_socket_under_another_number_is_carried_on(desk):
    """Twenty times, each within two seconds. Red if the node is looked up once only."""
    window = Notes()
    keypad = desk.keypad("hid:04d9:1203")
    stop = threading.Event()
    thread = threading.Thread(target=carry, args=(keypad, window, clock.now, stop))
    thread.start()
    try:
        for node in range(20):
            desk.plug(str(node % 3), node)
            began = time.monotonic()
            assert until(lambda: "plugged" == window.told[-1:][0] if window.told else False)
            assert time.monotonic() - began < 2
            window.heard = b""
            desk.say(node, stroke(KP1))
            assert until(lambda: len(window.heard) == 6 * EVENT.size)
            desk.unplug(node)
            assert until(lambda: "plugged" != window.told[-1])
            assert "线缆已断开" in window.told[-1]
    finally:
        stop.set()
        keypad.wake()
        thread.join(10)
    assert not thread.is_alive()


def test_a_node_is_asked_in_the_kernels_own_numbers(monkeypatch):
    """EVIOCGID, EVIOCGBIT, EVIOCGNAME, EVIOCGPHYS, EVIOCSCLOCKID and EVIOCGRAB as a C compiler has them."""
    keys = sum(1 << code for code in (*DIGITS, 113, 0x2FF)).to_bytes(96, "little")
    answers = {
        0x80084502: struct.pack("=4H", 3, 0x04D9, 0x1203, 0x111),
        0x80604521: keys,
        0x81004506: b"HK USB Keypad".ljust(256, b"\0"),
        0x81004507: OSError(errno.ENOENT, "a made device is plugged in nowhere"),
        0x400445A0: 0,
        0x40044590: 0,
    }
    asked = []

    def ioctl(fd: int, number: int, given: bytes | int) -> bytes | int:
        asked.append((number, given))
        answer = answers[number]
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr("edge_agent.keypad.ioctl", ioctl)
    node = Node()
    face = node.face(7)
    node.date_from_boot(7)
    node.grab(7)

    assert Face(0x04D9, 0x1203, "HK USB Keypad", "", frozenset({*DIGITS, 113, 0x2FF})) == face
    assert [(0x400445A0, struct.pack("@i", time.CLOCK_MONOTONIC)), (0x40044590, 1)] == asked[-2:]


# ---- each trouble in words


def test_a_keypad_that_somebody_grabbed_is_busy_and_who_holds_it_is_named(desk, opened):
    """The test's own process has the FIFO open; the keypad lets go of it again."""
    desk.plug("1", 3)
    desk.node.grabbed = True
    with pytest.raises(LinkDown, match=rf"独占.*\(pid {os.getpid()}\)"):
        opened("hid:04d9:1203")

    assert 1 == sum(str(desk.nodes / "event3") == os.readlink(f"/proc/self/fd/{fd}") for fd in open_fds())


def open_fds() -> list[str]:
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")]


def test_a_node_without_digits_is_no_keypad(desk, opened):
    """The volume keys' own node, named by mistake, is not grabbed."""
    desk.plug("1", 3)
    desk.node.says = Face(0x04D9, 0x1203, "HK USB Keypad Consumer Control", "", frozenset({113, 114, 115}))
    with pytest.raises(LinkDown, match=r"Consumer Control.*没有数字键"):
        opened(f"{NODES}/event3")

    assert [] == desk.node.asked


def test_a_number_that_another_keyboard_took_is_not_grabbed(desk):
    """After an unplug event3 may be the clerk's own keyboard."""
    desk.plug("1", 3)
    keypad = desk.keypad(f"{NODES}/event3")
    keypad.open()
    keypad.close()
    desk.node.says, desk.node.asked = Face(0x046D, 0xC31C, "Clerk's Keyboard", "", frozenset(DIGITS)), []
    with pytest.raises(LinkDown, match=r"另一个设备.*Clerk's Keyboard"):
        keypad.open()

    assert [] == desk.node.asked


def test_a_node_that_changed_hands_between_list_and_open_is_not_grabbed(desk, opened):
    """The list said one socket, the node another."""
    desk.plug("1", 3)
    desk.node.says = Face(0x04D9, 0x1203, "HK USB Keypad", f"{USB}-7/input0", frozenset(DIGITS))
    with pytest.raises(LinkDown, match="正在换口"):
        opened("hid:04d9:1203")

    assert [] == desk.node.asked


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "usermod -aG input"),
        (errno.ENODEV, "线缆已断开"),
        (errno.ENOENT, "没有这个键盘"),
        (errno.EINVAL, "windows.port"),
    ],
)
def test_every_refusal_of_the_system_has_a_next_step(desk, opened, monkeypatch, number, words):
    """And names the port."""
    desk.plug("1", 3)

    def refuse(fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(desk.node, "grab", refuse)
    with pytest.raises(LinkDown, match=f"^hid:04d9:1203: .*{words}"):
        opened("hid:04d9:1203")


def test_nothing_is_read_before_it_is_open(desk):
    """Nor written; waking and closing it are no trouble."""
    keypad = desk.keypad("hid:04d9:1203")
    for use in (keypad.read, lambda: keypad.write(b"")):
        with pytest.raises(LinkDown, match="未打开"):
            use()
    keypad.wake()
    keypad.close()


def test_a_file_that_is_no_node_is_said(tmp_path):
    """The real node's ioctls, asked of something that knows none of them."""
    (tmp_path / "event0").write_bytes(b"")
    with pytest.raises(LinkDown, match="打不开"):
        Keypad(f"{NODES}/event0", nodes=tmp_path).open()
