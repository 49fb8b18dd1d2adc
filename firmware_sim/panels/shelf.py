"""The panels that can be had, by the name of the profile that reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from firmware_sim.panel import HousePanel
from firmware_sim.panels.base import Panel
from firmware_sim.panels.bus import Bus
from firmware_sim.panels.keypad import KeypadPanel
from firmware_sim.panels.keys import KeyAsciiPanel, KeyBytePanel
from firmware_sim.panels.modbus import ModbusPanel
from firmware_sim.panels.pj06 import Pj06Panel
from firmware_sim.panels.qs4 import CallerPanel, Qs4Panel
from firmware_sim.panels.screen import ScreenPanel
from firmware_sim.panels.sundyn import SundynPanel
from firmware_sim.panels.taxi905 import Taxi905Panel
from firmware_sim.panels.unknown import UnknownPanel, shape_of

Carrier = Literal["serial", "udp", "node", "door"]


@dataclass(frozen=True)
class Kind:
    """One sort of panel. `make` takes what it is called (an id, or a bus address as text), the time and the boot."""

    words: str
    make: Callable[[str, int, int], Panel]
    carrier: Carrier = "serial"
    first_address: int | None = None
    """Where several may share a line: the address of the first if none is given."""


KINDS = {
    "house": Kind("本系统协议 / our own line protocol", lambda device, on_ms, boot: HousePanel(device, boot, on_ms)),
    "qs4": Kind(
        "排队机四键, 主机开启后才收键 / four keys, only after the host's start",
        lambda device, on_ms, boot: Qs4Panel(int(device), on_ms, boot=boot),
        first_address=5,
    ),
    "qs4-always": Kind(
        "排队机四键, 随时收键 / four keys, at any time",
        lambda device, on_ms, boot: Qs4Panel(int(device), on_ms, boot=boot, always=True),
        first_address=5,
    ),
    "qs4-caller": Kind(
        "排队机叫号器 / a clerk's caller on the same line",
        lambda device, on_ms, boot: CallerPanel(int(device), on_ms, boot=boot),
        first_address=15,
    ),
    "pj06": Kind("PJ06 串口评价器 / PJ06", lambda _, on_ms, boot: Pj06Panel("", on_ms, boot=boot)),
    "key-byte": Kind("单字节键码 / one raw byte", lambda _, on_ms, boot: KeyBytePanel("", on_ms, boot=boot)),
    "key-byte-release": Kind(
        "单字节, 带松键 80|键 / one raw byte, and 80|key on release",
        lambda _, on_ms, boot: KeyBytePanel("", on_ms, boot=boot, release=True),
    ),
    "key-ascii": Kind("ASCII 数字 / a digit", lambda _, on_ms, boot: KeyAsciiPanel("", on_ms, boot=boot)),
    "key-ascii-crlf": Kind(
        "ASCII 数字加 CR LF / a digit and CR LF",
        lambda _, on_ms, boot: KeyAsciiPanel("", on_ms, boot=boot, suffix=b"\r\n"),
    ),
    "modbus-key": Kind(
        "Modbus RTU 从站, 锁存 / Modbus RTU slave, latched",
        lambda device, on_ms, boot: ModbusPanel(int(device), on_ms, boot=boot, mode="latched"),
        first_address=1,
    ),
    "modbus-level": Kind(
        "同上, 电平 / the same, level",
        lambda device, on_ms, boot: ModbusPanel(int(device), on_ms, boot=boot, mode="level"),
        first_address=1,
    ),
    "modbus-edge": Kind(
        "同上, 读即清 / the same, cleared by reading",
        lambda device, on_ms, boot: ModbusPanel(int(device), on_ms, boot=boot, mode="edge"),
        first_address=1,
    ),
    "modbus-counter": Kind(
        "同上, 计数 / the same, with a counter",
        lambda device, on_ms, boot: ModbusPanel(int(device), on_ms, boot=boot, mode="counter"),
        first_address=1,
    ),
    "taxi905": Kind(
        "出租车评价器, 未验证 / a taxi's evaluator, unverified; address 6 rear, 17 front",
        lambda device, on_ms, boot: Taxi905Panel(int(device), on_ms, boot=boot),
        first_address=6,
    ),
    "sundyn-udp": Kind(
        "平板, UDP JSON / tablet, JSON over UDP", lambda _, on_ms, boot: SundynPanel("", on_ms, boot=boot), "udp"
    ),
    "hid-keypad": Kind(
        "USB 数字键盘 / USB numeric keypad", lambda _, on_ms, boot: KeypadPanel("", on_ms, boot=boot), "node"
    ),
    "screen": Kind(
        "浏览器页面 / a page in a browser", lambda device, on_ms, boot: ScreenPanel(device, on_ms, boot=boot), "door"
    ),
}


def make(profile: str, device: str = "D0001", on_ms: int = 0, boot: int = 1) -> Panel:
    """One panel of that name. ValueError if there is none, or if this is no name for one."""
    return _kind(profile).make(device, on_ms, boot)


def make_line(profile: str, address: int | None, panels: int, on_ms: int = 0, boot: int = 1) -> Panel:
    """So many of them at successive addresses of one line. ValueError if they have none, or none so high."""
    first = _kind(profile).first_address
    if first is None:
        raise ValueError(f"{profile} 没有总线地址, 一条线只能接一个 / {profile} has no addresses: one panel on a line")
    start = first if address is None else address
    if panels < 1 or start < 0 or start + panels - 1 > 0xFF:
        raise ValueError(f"地址应为 0-255 / addresses are 0-255, not {start}-{start + panels - 1}")
    made = [make(profile, str(start + place), on_ms, boot) for place in range(panels)]
    return made[0] if panels == 1 else Bus(made)


def make_unknown(seed: int | str, on_ms: int = 0, boot: int = 1) -> UnknownPanel:
    """A panel of the shape of this seed."""
    return UnknownPanel(shape_of(seed), "", on_ms, boot=boot)


def _kind(profile: str) -> Kind:
    if profile not in KINDS:
        raise ValueError(f"没有这种面板 / no such panel: {profile!r}; 可用 / known: {', '.join(KINDS)}")
    return KINDS[profile]
