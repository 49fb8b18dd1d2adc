"""A USB keypad: found by its socket or its make, taken for us alone, its key events read. Linux only.

On Windows nobody but the system can take a keypad: its digits go to whatever has the focus, so a window there uses the
screen page.

The event interface is the kernel's own (linux/input.h): a node gives `struct input_event`, which
`protocols.profiles.hid` reads, with times of the monotonic clock.
"""

from __future__ import annotations

import errno
import os
import re
import select
import struct
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from protocols.profiles.hid import DIGITS
from protocols.words import Words

from . import machine
from .link import LinkDown
from .waker import Waker

try:
    from fcntl import ioctl
except ImportError:  # Windows has no event nodes either

    def ioctl(*_: object) -> bytes:  # type: ignore[no-redef]
        """Never called there."""
        raise OSError(errno.ENOSYS, "no ioctl")


NODES = Path("/dev/input")
_BY_NODE = f"{NODES.as_posix()}/"  # settings are read on Windows too, to say there that it cannot be
DEVICES = Path("/proc/bus/input/devices")
"""Every input device of this machine with its nodes, its make, its socket and its keys, for anybody to read."""

_LONG = struct.calcsize("@l")
_READ_MAX = 4096  # 170 events; the kernel holds fewer
_MAKE = re.compile("([0-9a-f]{4}):([0-9a-f]{4})", re.IGNORECASE)


# ---- which keypad


@dataclass(frozen=True)
class Face:
    """What an input device says of itself."""

    vendor: int
    product: int
    name: str
    phys: str
    """Where it is plugged in, such as usb-0000:00:14.0-1/input0; empty for a few that are in no socket."""
    keys: frozenset[int]

    @property
    def digits(self) -> int:
        """How many of the digit keys it has: a keypad's volume knob and power key are input devices of their own."""
        return len(self.keys & DIGITS.keys())


@dataclass(frozen=True)
class Listed:
    """An input device as the machine lists it."""

    node: str
    face: Face
    unit: tuple[str, str]
    """The same for all input devices of one physical unit."""


def is_keypad(port: str) -> bool:
    """Whether this port of the settings is a keypad's and not a serial line's."""
    return port.startswith(("hid:", _BY_NODE))


def mistake(port: str, system: str = sys.platform) -> Words | None:
    """What is wrong with a keypad's port in the settings, in words; None if it can be looked for."""
    if not system.startswith("linux"):
        return Words(
            f"{port!r} 只能用于 Linux: 本系统上按键会进入当前焦点窗口, 请改用屏幕评价页",
            f"{port!r} is for Linux only: here its digits go to whatever has the focus, use the screen page",
        )
    if not is_keypad(port) or port in ("hid:", _BY_NODE):
        known, last = f"{_BY_NODE}by-path/…-event-kbd, {_BY_NODE}eventN, hid:04d9:1203", "hid:usb-0000:00:14.0-1/input0"
        return Words(f"{port!r} 不对, 应为 {known} 或 {last}", f"{port!r} is wrong, expected {known} or {last}")
    return None


def listed(text: str) -> Iterator[Listed]:
    """The input devices that have a node, from the machine's list of them."""
    for part in text.split("\n\n"):
        lines = dict(re.findall(r"^(?:I|N|P|S|U|H|B): (\w+)=(.*)$", part, re.MULTILINE))
        make = re.search(r"Vendor=([0-9a-f]+) Product=([0-9a-f]+)", part)
        node = re.search(r"\bevent[0-9]+\b", lines.get("Handlers", ""))
        if make and node:
            phys = lines.get("Phys", "")
            keys = _bits(lines.get("KEY", ""))
            face = Face(int(make[1], 16), int(make[2], 16), lines.get("Name", "").strip('"'), phys, keys)
            # All Bluetooth keypads of one adapter have its address as their phys; only uniq tells them apart.
            unit = (phys.rpartition("/")[0] or phys or lines.get("Sysfs", ""), lines.get("Uniq", ""))
            yield Listed(node[0], face, unit)


def _bits(words: str) -> frozenset[int]:
    """Which bits are set in what the kernel prints as longs, the highest first."""
    number = 0
    for word in words.split():
        number = number << _LONG * 8 | int(word, 16)
    return frozenset(bit for bit in range(number.bit_length()) if number >> bit & 1)


def find(port: str, devices: list[Listed]) -> Listed:
    """The one node with digit keys that `hid:…` means; LinkDown if there is none, or names those that are alike."""
    wanted = port.removeprefix("hid:")
    make = _MAKE.fullmatch(wanted)
    units: dict[tuple[str, str], list[Listed]] = defaultdict(list)
    for each in devices:
        face = each.face
        if make:
            meant = (face.vendor, face.product) == (int(make[1], 16), int(make[2], 16))
        else:
            meant = face.phys == wanted or face.phys.startswith(f"{wanted}/")
        if meant and face.digits:
            units[each.unit].append(each)
    if not units:
        raise LinkDown(f"{port}: 没有这个键盘, 请检查线缆 / no such keypad, check the cable")
    if len(units) > 1:
        raise LinkDown(_alike(port, "两个一样的键盘 / keypads alike", [nodes[0] for nodes in units.values()]))
    (nodes,) = units.values()
    most = max(each.face.digits for each in nodes)
    best = [each for each in nodes if each.face.digits == most]
    if len(best) > 1:
        raise LinkDown(_alike(port, "一个键盘有几组数字键 / one keypad with several sets of digits", best))
    return best[0]


def _alike(port: str, what: str, which: list[Listed]) -> str:
    names = ", ".join(f"{each.node} (hid:{each.face.phys or '?'})" for each in which)
    cure = "请按插口填写 windows.port / name its socket in windows.port"
    return f"{port}: {what}: {names}; {cure}"


# ---- the node

_KEY_BYTES = 96  # one bit for each of 768 key codes


class Node:
    """What is asked of an open node besides its bytes: ioctls, numbered as on x86, ARM, RISC-V and LoongArch."""

    def face(self, fd: int) -> Face:
        """What stands behind it."""
        _, vendor, product, _ = struct.unpack("=4H", ioctl(fd, _asked(0x02, 8), bytes(8)))
        words = struct.unpack(f"@{_KEY_BYTES // _LONG}L", ioctl(fd, _asked(0x21, _KEY_BYTES), bytes(_KEY_BYTES)))
        keys = _bits(" ".join(f"{word:x}" for word in reversed(words)))
        return Face(vendor, product, self._text(fd, 0x06), self._text(fd, 0x07), keys)

    def date_from_boot(self, fd: int) -> None:
        """Let its events carry the clock that nobody can set; forgets what was pressed before."""
        ioctl(fd, _told(0xA0), struct.pack("@i", 1))  # CLOCK_MONOTONIC

    def grab(self, fd: int) -> None:
        """Take it for us alone until it is closed; OSError EBUSY if somebody has."""
        ioctl(fd, _told(0x90), 1)

    @staticmethod
    def _text(fd: int, what: int) -> str:
        try:
            return ioctl(fd, _asked(what, 256), bytes(256)).split(b"\0")[0].decode("utf-8", "replace")
        except OSError as error:
            if error.errno != errno.ENOENT:  # it has none
                raise
            return ""


def _asked(what: int, size: int) -> int:
    return 2 << 30 | size << 16 | ord("E") << 8 | what


def _told(what: int) -> int:
    return 1 << 30 | struct.calcsize("@i") << 16 | ord("E") << 8 | what


class Keypad:
    """One keypad by its port in the settings; the shape of a `Link`, so that the same loop carries it."""

    def __init__(self, port: str, node: Node | None = None, devices: Path = DEVICES, nodes: Path = NODES):
        self.port = port
        self.waited = False
        """Whether the last events read were there before anybody looked."""
        self._node = node or Node()
        self._devices = devices
        self._nodes = nodes
        self._fd: int | None = None
        self._first: tuple[int, int, str] | None = None
        self._waker = Waker()

    def open(self) -> None:
        """Find it, under whatever number it has now, and take it for us alone; LinkDown says why not."""
        wrong = mistake(self.port)
        if wrong:
            raise LinkDown(wrong)
        self.close()
        found = self._found()
        path = self._nodes / (found.node if found else self.port.removeprefix(_BY_NODE))
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise LinkDown(_why(self.port, path, error)) from error
        try:
            self._take(self._fd, found)
        except OSError as error:
            self.close()  # first, or we would name ourselves as those who hold it
            raise LinkDown(_why(self.port, path, error)) from error
        except LinkDown:
            self.close()
            raise
        self._waker.open()

    def _found(self) -> Listed | None:
        if not self.port.startswith("hid:"):
            return None
        try:
            text = self._devices.read_text("utf-8", "replace")
        except OSError as error:
            raise LinkDown(f"{self.port}: 读不了 / cannot read {self._devices}: {error.strerror}") from error
        return find(self.port, list(listed(text)))

    def _take(self, fd: int, found: Listed | None) -> None:
        face = self._node.face(fd)
        if not face.digits:
            raise LinkDown(f"{self.port}: {face.name!r} 没有数字键, 不是键盘 / has no digit keys, is no keypad")
        if found and (face.vendor, face.product, face.phys) != (found.face.vendor, found.face.product, found.face.phys):
            raise LinkDown(f"{self.port}: 正在换口 / being plugged in elsewhere")  # since the list was read
        self._known(face)
        self._node.date_from_boot(fd)
        self._node.grab(fd)

    def _known(self, face: Face) -> None:
        """A number goes to whoever is plugged in first: after an unplug it may be the clerk's own keyboard's."""
        make = (face.vendor, face.product, face.name)
        if re.search("/event[0-9]+$", self.port) and self._first not in (None, make):
            raise LinkDown(
                f"{self.port}: 现在是另一个设备 / is another device now: {face.name!r}; "
                "请改用 by-path 或 hid: / use by-path or hid: instead"
            )
        self._first = make

    def read(self, wait_ms: int | None = None) -> bytes:
        """The events that have come; empty after a while without, at most `wait_ms`, or when woken."""
        fd = self._opened()
        self.waited = bool(select.select([fd], [], [], 0)[0])
        if not self.waited and not self._waker.waits(fd, wait_ms):
            return b""
        try:
            data = os.read(fd, _READ_MAX)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise LinkDown(_gone(self.port, error)) from error
        if not data:
            raise LinkDown(f"{self.port}: 线缆已断开 / cable out")
        return data

    def write(self, data: bytes) -> None:
        """A keypad can be told nothing: these bytes go nowhere."""
        self._opened()

    def wake(self) -> None:
        """End a `read` that waits. Any thread may call it."""
        self._waker.wake()

    def close(self) -> None:
        """Let go of it."""
        self._waker.close()
        fd, self._fd = self._fd, None
        if fd is not None:
            try:
                os.close(fd)
            except OSError:
                pass  # it is gone already

    def _opened(self) -> int:
        if self._fd is None:
            raise LinkDown(f"{self.port}: 未打开 / not open")
        return self._fd


# ---- in words


def _why(port: str, path: Path, error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return f"{port}: 没有这个键盘, 请检查线缆 / no such keypad, check the cable"
    if error.errno in (errno.EACCES, errno.EPERM):
        cure = "sudo usermod -aG input $USER"
        return f"{port}: 没有权限, 请执行后重新登录 / no permission, run this and sign in again: {cure}"
    if error.errno == errno.EBUSY:
        who = ", ".join(map(str, machine.holders(str(path)))) or f"sudo fuser -v {path}"
        return f"{port}: 已被其它程序独占, 请关闭它 / grabbed by another program, close that: {who}"
    if error.errno in (errno.ENODEV, errno.ENXIO):
        return _gone(port, error)
    return f"{port}: 打不开, 请检查 windows.port / cannot be opened, check windows.port: {error.strerror}"


def _gone(port: str, error: OSError) -> str:
    return f"{port}: 线缆已断开 / cable out ({error.strerror})"
