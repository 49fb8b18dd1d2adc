"""What this machine says of its serial ports: which there are, and which programs have them open.

Read from the kernel's own files, of Linux. pyserial's list knows a port by its name and misses those of WCH's driver
(ttyCH343USB0) and of some boards (ttymxc0); the kernel knows them all.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from .ports import PortFacts


@dataclass(frozen=True)
class Roots:
    """The folders in which the system describes itself."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    etc: Path = Path("/etc")
    usr: Path = Path("/usr")


HERE = Roots()


def serial_ports(roots: Roots = HERE) -> list[PortFacts]:
    """Every port with hardware behind it, in the order of their names."""
    ttys = roots.sys / "class" / "tty"
    # Most names are the screen's consoles, which have no device; a window whose cable is out asks twice a second.
    names = sorted((name for name in _names(ttys) if os.path.exists(f"{ttys}/{name}/device")), key=_order)
    links = _links(roots.dev) if names else {}
    return [
        _facts(ttys / name / "device", roots.dev / name, links)
        for name in names
        if (roots.dev / name).exists() and not _is_ghost(ttys / name)
    ]


def _order(name: str) -> tuple[str, int]:
    letters = name.rstrip("0123456789")
    return letters, int(name[len(letters) :] or 0)


def _is_ghost(tty: Path) -> bool:
    # The kernel keeps names for a PC's four to 32 built-in ports, whether they were ever built in or not.
    return text(tty / "type") == "0"


def _facts(device: Path, node: Path, links: dict[str, tuple[str, ...]]) -> PortFacts:
    at = device.resolve()
    subsystem = (at / "subsystem").resolve().name
    # Newer kernels put a port and a controller of their own between a built-in port and its driver.
    driven = (at.parents[1] if subsystem == "serial-base" else at) / "driver"
    driver = driven.resolve().name if driven.exists() else ""
    there = links.get(str(node.resolve()), ())
    if subsystem not in ("usb", "usb-serial"):
        return PortFacts(str(node), links=there, driver=driver, description=node.name)
    interface = at.parent if subsystem == "usb-serial" else at
    usb = interface.parent
    product, label = text(usb / "product"), text(interface / "interface")
    return PortFacts(
        str(node),
        vid=_hex(usb / "idVendor"),
        pid=_hex(usb / "idProduct"),
        serial=text(usb / "serial"),
        location=usb.name if text(usb / "bNumInterfaces") in ("", "1") else interface.name,
        links=there,
        driver=driver,
        description=f"{product} - {label}" if product and label else product or node.name,
        manufacturer=text(usb / "manufacturer"),
        product=product,
        interface=label,
    )


def _links(dev: Path) -> dict[str, tuple[str, ...]]:
    """For each device the links that udev or a person made to it."""
    found: dict[str, tuple[str, ...]] = {}
    for folder in (dev / "serial" / "by-id", dev / "serial" / "by-path", dev):
        for link in _symlinks(folder):
            to = os.path.realpath(link)
            found[to] = (*found.get(to, ()), link)
    return found


def _symlinks(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.path for entry in entries if entry.is_symlink())
    except OSError:  # udev removes the folder with the last adapter
        return []


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # a process has ended and taken its folder along, or it is somebody else's
        return []


def text(file: Path) -> str:
    """What the file says; nothing where it says nothing."""
    try:
        return file.read_text("utf-8", "replace").strip()
    except OSError:  # not every device says everything, and it may be pulled while it is asked
        return ""


def _hex(file: Path) -> int | None:
    try:
        return int(text(file), 16)
    except ValueError:
        return None


@dataclass(frozen=True)
class Holder:
    """A program that has a port open."""

    pid: int
    command: str
    far_end: bool = False
    """Whether it is the device: the simulator behind a pseudo terminal."""

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid})"


def is_pty(device: str, roots: Roots = HERE) -> bool:
    """Whether it is a pseudo terminal: a simulator's, not a port."""
    return os.path.realpath(device).rpartition("/")[0] == str(roots.dev / "pts")


def is_tty(device: str, roots: Roots = HERE) -> bool:
    """Whether there is such a port or pseudo terminal; asked without opening it, which would raise its DTR."""
    node = Path(os.path.realpath(device))
    return node.exists() and (is_pty(device, roots) or (roots.sys / "class" / "tty" / node.name).exists())


def holders(device: str, roots: Roots = HERE) -> list[Holder]:
    """Who has this port open, ourselves included. Of other people's programs only root is told."""
    node = os.path.realpath(device)
    return [
        Holder(int(process.name), text(process / "comm") or "?", _is_far_end(process, node, roots))
        for process in (roots.proc / name for name in _names(roots.proc) if name.isdigit())
        if any(node == _target(f"{process}/fd/{file}") for file in _names(process / "fd"))
    ]


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:  # closed since it was listed
        return ""


def _is_far_end(process: Path, node: str, roots: Roots) -> bool:
    if not is_pty(node, roots):
        return False
    number = node.rpartition("/")[2]
    infos = process / "fdinfo"
    return any(f"tty-index:\t{number}" in text(infos / file).split("\n") for file in _names(infos))


def running(command: str, roots: Roots = HERE) -> list[int]:
    """The programs of this name that run now."""
    pids = [name for name in _names(roots.proc) if name.isdigit()]
    return sorted(int(pid) for pid in pids if text(roots.proc / pid / "comm") == command)


def is_agent(holder: Holder, roots: Roots = HERE) -> bool:
    """Whether it is an agent of ours that has the port, as it should be."""
    arguments = text(roots.proc / str(holder.pid) / "cmdline").split("\0")
    return any(Path(each).name in ("edge-agent", "edge_agent") for each in arguments)


def usb_devices(roots: Roots = HERE) -> dict[str, str]:
    """What is plugged in, by its USB socket: `1-1.3` to `1a86:7523`."""
    devices = roots.sys / "bus" / "usb" / "devices"
    found = {name: (text(devices / name / "idVendor"), text(devices / name / "idProduct")) for name in _names(devices)}
    return {name: f"{vendor}:{product}" for name, (vendor, product) in sorted(found.items()) if vendor and product}


def consoles(roots: Roots = HERE) -> set[str]:
    """The ports on which the kernel itself writes, by name: `ttyS0`."""
    words = text(roots.proc / "cmdline").split()
    return {word.removeprefix("console=").partition(",")[0] for word in words if word.startswith("console=")}


@dataclass(frozen=True)
class Account:
    """Who a program runs as."""

    name: str
    uid: int
    gids: frozenset[int]


def account(roots: Roots = HERE) -> Account:
    """Who this program runs as; where accounts have no numbers, one that may do everything."""
    if sys.platform == "win32":
        return Account("", 0, frozenset())
    uid = os.geteuid()
    names = [line.split(":")[0] for line in text(roots.etc / "passwd").split("\n") if f":{uid}:" in line]
    return Account(names[0] if names else str(uid), uid, frozenset({os.getegid(), *os.getgroups()}))


def group(gid: int, roots: Roots = HERE) -> tuple[str, list[str]]:
    """The name of a group and who is in it; the number and nobody where it has none."""
    for line in text(roots.etc / "group").split("\n"):
        name, _, number, members = [*line.split(":"), "", "", ""][:4]
        if number == str(gid):
            return name, members.split(",")
    return str(gid), []


def may(status: os.stat_result, account: Account, how: int) -> bool:
    """Whether this account may use a file of this status, by its mode alone; `how` is os.R_OK, os.W_OK or both."""
    if account.uid == 0:
        return True
    shift = 6 if status.st_uid == account.uid else 3 if status.st_gid in account.gids else 0
    return status.st_mode >> shift & how == how
