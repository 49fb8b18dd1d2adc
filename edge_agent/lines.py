"""What the settings call windows, as lines: each port once, with the windows whose devices are on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from protocols.profiles.profile import Profile
from protocols.ratings import Moment

from .cable import Cable
from .config import WindowSettings, profile_of
from .datagrams import Datagrams
from .keypad import Keypad
from .link import LineFormat, Link, carry
from .outbox import Outbox
from .page import Page
from .polled import PolledCable, carry_polled
from .tap import Tap
from .window import Window

_NETWORK_LATE_MS = 2000  # a device server holds bytes back when the network does; a cable's own lumps are 16 ms

_LEVEL = {"keep": None, "on": True, "off": False}


@dataclass(frozen=True)
class Line:
    """A port, what takes its bytes apart, and the windows on it."""

    name: str
    """Of its thread."""
    windows: tuple[Window, ...]
    link: Link | Keypad | Datagrams | Page
    carry: Callable[[Callable[[], Moment], threading.Event], None]
    """Its loop, until the event is set."""
    tap: Tap | None = None
    """What goes over it, where that is bytes of a cable: what a page or a tablet says may be a citizen's own words."""


def lines_of(settings: Sequence[WindowSettings], folder: Path, outbox: Outbox, moment: Moment) -> list[Line]:
    """The lines of these windows; BadSettings if a profile cannot be had. Nothing is opened yet."""
    lines = []
    for _, group in groupby(sorted(settings, key=_port), key=_port):
        lines.append(_line(list(group), folder, outbox, moment))
    return lines


def _port(window: WindowSettings) -> str:
    # A page has no port: each is a line of its own.
    return window.port or f"screen:{window.id}"


def _line(settings: list[WindowSettings], folder: Path, outbox: Outbox, moment: Moment) -> Line:
    first = settings[0]
    profile = profile_of(first.profile, folder)
    late_ms = _NETWORK_LATE_MS if "://" in first.port and profile.shape.transport != "udp" else 0
    windows = tuple(
        Window(each.id, each.device, outbox, moment, each.silent_after_s, profile, each.address or 0, late_ms)
        for each in settings
    )
    name = f"line-{first.id}"
    if profile.shape.transport == "modbus":
        return _polled(name, windows, _link(first, profile), profile, moment)
    link = _link_of(first, profile)
    cable = Cable(profile, windows, moment)
    tap = Tap() if isinstance(link, Link) else None
    return Line(name, windows, link, lambda now, stop: carry(link, cable, now, stop, tap), tap)


def _polled(name: str, windows: tuple[Window, ...], link: Link, profile: Profile, moment: Moment) -> Line:
    cable = PolledCable(profile, windows, moment)
    return Line(name, windows, link, lambda now, stop: carry_polled(link, cable, now, stop))


def _link_of(window: WindowSettings, profile: Profile) -> Link | Keypad | Datagrams | Page:
    match profile.shape.transport:
        case "hid":
            return Keypad(window.port)
        case "udp":
            return Datagrams(window.port)
        case "screen":
            return Page(window.id)
        case _:
            return _link(window, profile)


def _link(window: WindowSettings, profile: Profile) -> Link:
    line = profile.shape.line
    how = LineFormat(
        line.bytesize,
        line.parity,
        line.stopbits,
        _LEVEL[line.dtr],
        _LEVEL[line.rts],
        # Where nothing but the byte itself says which key it is, one that came damaged must not look like a key.
        mark_errors=profile.shape.form in ("byte", "text"),
    )
    return Link(window.port, window.baud or line.baud, line=how)
