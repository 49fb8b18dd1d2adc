"""Which port a window means, found among those that are there. Never the first free one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from protocols.words import Words

_NETWORKS = Words("socket://主机:端口号 或 rfc2217://主机:端口号", "socket://host:number or rfc2217://host:number")
_USB = Words(
    "usb:1-1.3 (USB 口), usb:1a86:7523 (仅一个时), usb:0403:6001:A9001XYZ",
    "usb:1-1.3 (USB socket), usb:1a86:7523 (if there is only one), usb:0403:6001:A9001XYZ",
)
_PATHS = "/dev/serial/by-path/…, /dev/ttyS0, COM3"

_LOCATION = re.compile(r"usb:(\d+-\d+(?:\.\d+)*)(:[0-9x]+\.\d+)?")
_ADAPTER = re.compile(r"usb:([0-9a-f]{4}):([0-9a-f]{4})(?::(.+))?", re.IGNORECASE)
_NETWORK = re.compile(r"(?:socket|rfc2217)://(?:[^\s/:@?#\[\]]+|\[[0-9a-f:.]+\]):(\d{1,5})/?", re.IGNORECASE)
_COM = re.compile(r"(\\\\\.\\)?COM\d{1,3}", re.IGNORECASE)
_BY_ID = "/serial/by-id/"


@dataclass(frozen=True)
class PortFacts:
    """One serial port as the system describes it; empty or None where it says nothing."""

    device: str
    vid: int | None = None
    pid: int | None = None
    serial: str = ""
    location: str = ""
    """The USB socket, `1-1.3`; with the interface, `1-1.3:1.0`, for an adapter that has several."""
    links: tuple[str, ...] = ()
    driver: str = ""
    description: str = ""
    manufacturer: str = ""
    product: str = ""
    interface: str = ""

    @property
    def adapter(self) -> str:
        """`1a86:7523`; empty for what is no USB adapter."""
        return "" if self.vid is None or self.pid is None else f"{self.vid:04x}:{self.pid:04x}"

    def __str__(self) -> str:
        return f"{self.device} (usb:{self.location})" if self.location else self.device


@dataclass(frozen=True)
class Matcher:
    """What the settings call a port. Only one of path, location and adapter is given."""

    text: str
    path: str = ""
    """A path, a COM name or a network address: opened as it stands."""
    location: str = ""
    adapter: str = ""
    serial: str = ""

    @property
    def network(self) -> bool:
        """Whether it is no port of this machine."""
        return "://" in self.path

    @property
    def by_id(self) -> bool:
        """Whether it is a link that the system names after what the adapter says of itself."""
        return _BY_ID in self.path


class BadPort(ValueError):
    """A port that is written wrongly; `expected` says what it should look like."""

    def __init__(self, expected: Words):
        super().__init__(str(Words(f"应为 {expected.zh}", f"expected {expected.en}")))
        self.expected = expected


def parse(text: str) -> Matcher:
    """What this port string means; BadPort says what it should look like."""
    lowered = text.lower()
    if "://" in text or lowered.startswith(("socket:", "rfc2217:")):
        network = _NETWORK.fullmatch(text)
        if network is None or not 0 < int(network[1]) <= 65_535:
            raise BadPort(_NETWORKS)
        return Matcher(text, path=text)
    if lowered.startswith("usb:"):
        if at := _LOCATION.fullmatch(lowered):
            return Matcher(text, location=at[1] + (at[2] or ""))
        if adapter := _ADAPTER.fullmatch(text):
            return Matcher(text, adapter=f"{adapter[1]}:{adapter[2]}".lower(), serial=adapter[3] or "")
        raise BadPort(_USB)
    if "/" in text or _COM.fullmatch(text):
        return Matcher(text, path=text)
    raise BadPort(Words(*(f"{_PATHS}, {each}, socket://…, rfc2217://…" for each in _USB)))


def spelling(text: str) -> str:
    """One way to write this port, of several: `COM3` and `\\\\.\\com3` are one, and so are the paths to one node."""
    is_path = "/" in text and "://" not in text and not text.lower().startswith(("hid:", "usb:"))
    return os.path.realpath(text) if is_path else text.removeprefix("\\\\.\\").lower().rstrip("/")


@dataclass(frozen=True)
class NoMatch:
    """No such port is there now."""

    def __str__(self) -> str:
        return "现在没有这个串口, 请检查线缆 / not there now, check the cable"


@dataclass(frozen=True)
class Ambiguous:
    """More than one port answers to it, and guessing would rate the wrong clerk."""

    candidates: tuple[PortFacts, ...]

    def __str__(self) -> str:
        zh, en = " 或 ".join(map(str, self.candidates)), " or ".join(map(str, self.candidates))
        written = [f'"{cure}"' for cure in cures(self.candidates)]
        return (
            f"分不清是 {zh}, 请在 windows.port 中写明: {' 或 '.join(written)}"
            f" / could be {en}, say which in windows.port: {' or '.join(written)}"
        )


def match(matcher: Matcher, there: Sequence[PortFacts]) -> str | NoMatch | Ambiguous:
    """The one device path that is meant. A path stands for itself, whether or not anything is plugged in there."""
    if matcher.by_id:
        namesakes = _namesakes(matcher.path, there)
        return Ambiguous(namesakes) if len(namesakes) > 1 else matcher.path
    if matcher.path:
        return matcher.path
    found = tuple(facts for facts in there if _answers(matcher, facts))
    if len(found) > 1:
        return Ambiguous(found)
    return found[0].device if found else NoMatch()


def alike(there: Iterable[PortFacts]) -> list[tuple[PortFacts, ...]]:
    """Adapters that nothing but their USB socket tells apart: same make, and the same serial number or none."""
    groups: dict[tuple[str, str, str], list[PortFacts]] = {}
    for facts in there:
        if facts.adapter:
            # The interfaces of one adapter are told apart by their names; two adapters have the same ones.
            interface = facts.location.partition(":")[2]
            groups.setdefault((facts.adapter, facts.serial.lower(), interface), []).append(facts)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def cures(candidates: Iterable[PortFacts]) -> list[str]:
    """What to write into the settings for each of them."""
    return [f"usb:{facts.location}" if facts.location else facts.device for facts in candidates]


def _answers(matcher: Matcher, facts: PortFacts) -> bool:
    if matcher.location:
        socket, _, interface = matcher.location.partition(":")
        there, _, has = facts.location.partition(":")
        # An adapter with one interface is listed without it.
        return socket == there and (not interface or not has or interface == has)
    return matcher.adapter == facts.adapter and (
        not matcher.serial or matcher.serial.lower() == facts.serial.lower()  # Windows writes it in capitals
    )


def _namesakes(link: str, there: Sequence[PortFacts]) -> tuple[PortFacts, ...]:
    # CH340 and PL2303 carry no serial number: two of them share one link, which leads to whichever came last.
    for group in alike(there):
        if any(link in facts.links for facts in group):
            return group
    return ()
