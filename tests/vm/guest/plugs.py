"""Says each plug and unplug that the kernel tells of, as JSON lines, and keeps the links under /dev that udev would.

Links as in systemd's 60-serial.rules and 60-persistent-input.rules: by-id and by-path, in /dev/serial and /dev/input.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

KOBJECT_UEVENT = 15  # linux/netlink.h
KERNEL_GROUP = 1
TOLD = ("tty", "input")  # what is told to the host of all that happens


def main() -> None:
    news = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, KOBJECT_UEVENT)
    news.bind((0, KERNEL_GROUP))
    keep_links()
    print(json.dumps({"watching": True}), flush=True)
    while True:
        event = dict(_pairs(news.recv(65_536)))
        at_ms = time.monotonic_ns() / 1e6
        if event.get("SUBSYSTEM") in TOLD and "DEVNAME" in event:
            keep_links()
            told = {"at_ms": at_ms, "did": event["ACTION"], "node": f"/dev/{event['DEVNAME']}"}
            print(json.dumps(told), flush=True)


def _pairs(message: bytes) -> Iterator[tuple[str, str]]:
    for word in message.decode("utf-8", "replace").split("\0")[1:]:
        name, _, value = word.partition("=")
        yield name, value


def keep_links() -> None:
    """Make /dev/serial and the links under /dev/input say what is plugged in now."""
    wanted = dict(_wanted())
    for folder in (Path("/dev", kind, by) for kind in ("serial", "input") for by in ("by-id", "by-path")):
        folder.mkdir(parents=True, exist_ok=True)
        for link in folder.iterdir():
            if wanted.get(link) != link.resolve():
                link.unlink()
    for link, node in wanted.items():
        if not link.is_symlink():
            link.symlink_to(node)


def _wanted() -> Iterator[tuple[Path, Path]]:
    for tty in Path("/sys/class/tty").glob("ttyUSB*"):
        yield from _links("serial", tty, "-port0")
    for key in Path("/sys/class/input").glob("event*"):
        yield from _links("input", key, "-event-kbd")


def _links(kind: str, entry: Path, ending: str) -> Iterator[tuple[Path, Path]]:
    place = re.match(r"(/sys/devices/pci[^/]+/([0-9a-f:.]+)/usb\d+/.*/\d+-([\d.]+):([\d.]+))/", f"{entry.resolve()}/")
    if place is None:
        return  # on no USB port
    interface, controller, port, number = Path(place[1]), place[2], place[3], place[4]
    names = [_word(interface.parent / name) for name in ("manufacturer", "product", "serial")]
    by_id = "_".join(name for name in names if name)
    middle = f"-if{int(number.split('.')[1]):02d}" if kind == "serial" else ""
    node = Path("/dev", "input" if kind == "input" else "", entry.name)
    yield Path("/dev", kind, "by-path", f"pci-{controller}-usb-0:{port}:{number}{ending}"), node
    yield Path("/dev", kind, "by-id", f"usb-{by_id}{middle}{ending}"), node


def _word(file: Path) -> str:
    try:
        return re.sub(r"[^0-9A-Za-z#+.:=@_-]", "_", file.read_text().strip())
    except OSError:  # it says none, or was pulled just now
        return ""


if __name__ == "__main__":
    main()
