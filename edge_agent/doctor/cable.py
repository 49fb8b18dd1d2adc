"""The way from a device to its window: is the port there, is it the right one, is it free, may we use it?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent import keypad, machine, ports
from edge_agent.config import WindowSettings
from edge_agent.machine import Account, Roots
from edge_agent.ports import Ambiguous, Matcher, PortFacts
from protocols.words import Words

from .findings import Finding, or_fine

_LIST = "edge-agent ports"
# The names that the kernel numbers in the order of plugging in; ttyS0 is soldered on.
_NUMBERED = ("ttyUSB", "ttyACM", "ttyCH", "ttyXRUSB", "ttyWCH")
_DRIVERS = {
    "1a86:7523": "ch341",
    "1a86:5523": "ch341",
    "067b:2303": "pl2303",
    "0403:6001": "ftdi_sio",
    "10c4:ea60": "cp210x",
}
_CH340 = "1a86:7523"  # what brltty's rules take for a braille display


@dataclass(frozen=True)
class Bound:
    """A window and what its port leads to now: a path that is there, or None, or more than one."""

    window: str
    matcher: Matcher
    device: str | Ambiguous | None

    @property
    def by_socket(self) -> bool:
        """Whether it follows the USB socket, and so tells adapters apart that are alike."""
        return bool(self.matcher.location) or "/by-path/" in self.matcher.path


def examine(
    there: Sequence[PortFacts], windows: Sequence[WindowSettings], account: Account, roots: Roots
) -> list[Finding]:
    """All of it. Without windows, what can be said of every adapter."""
    serial = [each for each in windows if each.port and "://" not in each.port and not keypad.is_keypad(each.port)]
    bound = [_bound(window, there) for window in serial]
    devices = [each.device for each in bound if isinstance(each.device, str)]
    return [
        *(_windows(bound, there, account, roots) if bound else ()),
        *_permission(devices or [each.device for each in there if each.adapter], account, roots),
        *or_fine(list(_alike(there, bound)), "adapters-alike", "没有分不清的转换器", "no two adapters are mixed up"),
        *or_fine(list(_without_port(there, roots)), "adapter-no-port", "转换器都有串口", "every adapter has its port"),
        *_brltty(there, roots),
        *_modem_manager(there, roots),
        *or_fine(
            list(_console(bound, roots)), "serial-console", "没有控制台占用串口", "no port is the kernel's console"
        ),
        *_wch(there, bound),
    ]


def _windows(bound: Sequence[Bound], there: Sequence[PortFacts], account: Account, roots: Roots) -> list[Finding]:
    unheld = ("没有其它程序占用", "no other program holds one")
    if account.uid != 0:
        unheld = (f"{unheld[0]} (全部程序只有 root 可见)", f"{unheld[1]} (only root sees them all)")
    return [
        *or_fine(list(_absent(bound)), "port-absent", "各窗口的串口都在", "every window's port is there"),
        *or_fine(list(_numbered(bound, there)), "port-number", "换插后仍找得到", "every port is found after a replug"),
        *or_fine(list(_busy(bound, roots)), "port-busy", *unheld),
    ]


def _bound(window: WindowSettings, there: Sequence[PortFacts]) -> Bound:
    matcher = ports.parse(window.port)
    found = ports.match(matcher, there)
    if isinstance(found, Ambiguous):
        return Bound(window.id, matcher, found)
    # The names of Windows are no files, but they are listed.
    present = isinstance(found, str) and (Path(found).exists() or any(found == facts.device for facts in there))
    return Bound(window.id, matcher, found if present and isinstance(found, str) else None)


def _absent(bound: Sequence[Bound]) -> Iterator[Finding]:
    for each in bound:
        if each.device is None:
            yield Finding(
                "port-absent",
                "bad",
                Words(f"窗口 {each.window}: 没有 {each.matcher.text}", f"window {each.window}: no {each.matcher.text}"),
                Words(
                    "插好线缆, 或按现有串口修改 windows.port",
                    "plug the cable in, or put a port that is there into windows.port",
                ),
                _LIST,
            )
        elif isinstance(each.device, Ambiguous):
            which = ", ".join(map(str, each.device.candidates))
            advice = " / ".join(f'port = "{cure}"' for cure in ports.cures(each.device.candidates))
            yield Finding(
                "port-ambiguous",
                "bad",
                Words(
                    f"窗口 {each.window}: {each.matcher.text} 分不清是哪一个: {which}",
                    f"window {each.window}: {each.matcher.text} could be any of {which}",
                ),
                Words(f"在 windows.port 中写明其一: {advice}", f"say which in windows.port: {advice}"),
                _LIST,
            )


def _numbered(bound: Sequence[Bound], there: Sequence[PortFacts]) -> Iterator[Finding]:
    for each in bound:
        name = each.matcher.path.rpartition("/")[2]
        if not name.startswith(_NUMBERED) or "/serial/" in each.matcher.path:
            continue
        sockets = [f"usb:{facts.location}" for facts in there if facts.device == each.matcher.path and facts.location]
        better = sockets[0] if sockets else "usb:1-1.3"
        yield Finding(
            "port-number",
            "warn",
            Words(
                f"窗口 {each.window}: {name} 是插入的顺序号, 换插后会变",
                f"window {each.window}: {name} is numbered by the order of plugging in and changes with a replug",
            ),
            Words(f'改为 USB 口: port = "{better}"', f'bind the USB socket: port = "{better}"'),
            _LIST,
        )


def _permission(devices: Sequence[str], account: Account, roots: Roots) -> list[Finding]:
    trouble = [found for device in devices if (found := forbidden(device, account, roots))]
    return or_fine(trouble, "port-permission", "有权使用串口", "the ports may be used") if devices else []


def forbidden(device: str, account: Account, roots: Roots) -> Finding | None:
    """Why this port may not be used by this account, and the one cure; None if it may."""
    try:
        status = Path(device).stat()
    except OSError:
        return None  # gone since it was listed, or a name of Windows
    if account.uid == 0 or machine.may(status, account, os.R_OK | os.W_OK):
        return None
    name, members = machine.group(status.st_gid, roots)
    words = Words(f"{device}: {account.name} 没有权限", f"{device}: {account.name} may not use it")
    if status.st_gid == 0 or status.st_mode & 0o060 != 0o060:
        cure = Words("把设备交给 dialout 组", "give the device to the group dialout")
        return Finding("port-permission", "bad", words, cure, f"sudo chgrp dialout {device} && sudo chmod 660 {device}")
    if account.name in members:
        cure = Words(f"已在 {name} 组, 重新登录后生效", f"in the group {name} already: sign in again for it to count")
        return Finding("port-permission", "bad", words, cure, f"newgrp {name}")
    cure = Words(f"加入 {name} 组, 然后重新登录", f"join the group {name}, then sign in again")
    return Finding("port-permission", "bad", words, cure, f"sudo usermod -aG {name} {account.name}")


def _busy(bound: Sequence[Bound], roots: Roots) -> Iterator[Finding]:
    for each in bound:
        if not isinstance(each.device, str):
            continue
        for holder in machine.holders(each.device, roots):
            if holder.far_end or machine.is_agent(holder, roots) or holder.pid == os.getpid():
                continue
            yield Finding(
                "port-busy",
                "bad",
                Words(
                    f"窗口 {each.window}: {each.device} 被 {holder} 占用",
                    f"window {each.window}: {each.device} is held by {holder}",
                ),
                Words("关闭该程序, 或让它改用其它串口", "close that program, or give it another port"),
                f"sudo kill {holder.pid}",
            )


def _alike(there: Sequence[PortFacts], bound: Sequence[Bound]) -> Iterator[Finding]:
    told_apart = {os.path.realpath(each.device) for each in bound if each.by_socket and isinstance(each.device, str)}
    for group in ports.alike(there):
        if all(os.path.realpath(facts.device) in told_apart for facts in group):
            continue
        which = ", ".join(map(str, group))
        advice = " / ".join(f'port = "{cure}"' for cure in ports.cures(group))
        yield Finding(
            "adapters-alike",
            "warn",
            Words(f"转换器无法区分: {which}", f"adapters that look alike: {which}"),
            Words(f"各窗口写明 USB 口: {advice}", f"bind each window to its USB socket: {advice}"),
            _LIST,
        )


def _without_port(there: Sequence[PortFacts], roots: Roots) -> Iterator[Finding]:
    for socket, adapter in _portless(there, roots):
        if adapter == _CH340 and _has_brltty(roots):
            continue  # told as what brltty does
        yield Finding(
            "adapter-no-port",
            "bad",
            Words(f"转换器 {adapter} (usb:{socket}) 没有串口", f"adapter {adapter} (usb:{socket}) has no port"),
            Words("装载驱动", "load its driver"),
            f"sudo modprobe {_DRIVERS[adapter]}",
        )


def _portless(there: Sequence[PortFacts], roots: Roots) -> list[tuple[str, str]]:
    with_port = {facts.location.partition(":")[0] for facts in there}
    plugged = machine.usb_devices(roots)
    return [(at, adapter) for at, adapter in plugged.items() if adapter in _DRIVERS and at not in with_port]


def _brltty(there: Sequence[PortFacts], roots: Roots) -> list[Finding]:
    stolen = [socket for socket, adapter in _portless(there, roots) if adapter == _CH340]
    if not _has_brltty(roots) or not (stolen or any(facts.adapter == _CH340 for facts in there)):
        return or_fine([], "brltty", "盲文程序 brltty 不碍事", "brltty, for braille displays, is not in the way")
    words = (
        Words(f"brltty 夺走了 CH340 (usb:{stolen[0]})", f"brltty has taken the CH340 (usb:{stolen[0]}) away")
        if stolen
        else Words("brltty 会夺走 CH340", "brltty will take the CH340 away at the next replug")
    )
    cure = Words(
        "没有盲文显示器时停用它, 再重新插上", "turn it off unless a braille display is in use, then plug in again"
    )
    command = "sudo systemctl mask --now brltty-udev.service brltty.service"
    return [Finding("brltty", "bad" if stolen else "warn", words, cure, command)]


def _has_brltty(roots: Roots) -> bool:
    if machine.running("brltty", roots):
        return True
    if os.path.realpath(roots.etc / "systemd" / "system" / "brltty-udev.service") == os.devnull:
        return False  # masked
    rules = [roots.usr / "lib" / "udev" / "rules.d", roots.etc / "udev" / "rules.d"]
    return any(machine.text(file) for folder in rules for file in folder.glob("*brltty*"))


def _modem_manager(there: Sequence[PortFacts], roots: Roots) -> list[Finding]:
    rules = (roots.etc / "udev" / "rules.d").glob("*.rules")
    running = machine.running("ModemManager", roots) and any(facts.adapter for facts in there)
    if not running or any("ID_MM_DEVICE_IGNORE" in machine.text(rule) for rule in rules):
        return or_fine([], "modemmanager", "ModemManager 不碍事", "ModemManager is not in the way")
    words = Words("ModemManager 会向串口发 AT 指令", "ModemManager sends AT commands to every new port")
    cure = Words("没有移动上网卡时停用它", "turn it off unless a mobile modem is in use")
    return [Finding("modemmanager", "warn", words, cure, "sudo systemctl disable --now ModemManager")]


def _console(bound: Sequence[Bound], roots: Roots) -> Iterator[Finding]:
    written_on = machine.consoles(roots)
    for each in bound:
        name = Path(each.device).resolve().name if isinstance(each.device, str) else ""
        if name not in written_on:
            continue
        grub = roots.etc / "default" / "grub"
        taken_out = f"sudo sed -i 's/console={name}[^ \"]*//' {grub} && sudo update-grub"
        yield Finding(
            "serial-console",
            "bad",
            Words(
                f"窗口 {each.window}: 内核在 {name} 上输出信息",
                f"window {each.window}: the kernel writes its messages on {name}",
            ),
            Words(
                f"从内核参数去掉 console={name}, 然后重启",
                f"take console={name} out of the kernel's parameters, then restart",
            ),
            taken_out if grub.exists() else f"sudo systemctl mask --now serial-getty@{name}.service",
        )


def _wch(there: Sequence[PortFacts], bound: Sequence[Bound]) -> list[Finding]:
    told_apart = {os.path.realpath(each.device) for each in bound if each.by_socket and isinstance(each.device, str)}
    return [
        Finding(
            "wch-driver",
            "warn",
            Words(
                f"{facts.device}: 沁恒自带驱动, 没有 by-id 链接",
                f"{facts.device}: WCH's own driver, which has no by-id link",
            ),
            Words(
                f'按 USB 口绑定: port = "usb:{facts.location}"', f'bind the USB socket: port = "usb:{facts.location}"'
            ),
            _LIST,
        )
        for facts in there
        if Path(facts.device).name.startswith(("ttyCH", "ttyWCH")) and facts.device not in told_apart
    ]
