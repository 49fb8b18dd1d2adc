"""The `house` line protocol: one readable line per frame, each carrying its device and a CRC.

    $PRESS,D0217,12,7,1,35*D9F7\\r\\n

`$NAME,field,field…*CRC4` and CR LF. The CRC is CRC-16/CCITT-FALSE over the bytes between `$` and `*`, as upper-case
hex. `$`, `*` and `,` occur nowhere else: text is percent-encoded. A frame is complete at the last digit of its CRC, so
a lost line end costs nothing, and nothing but bytes ever makes a frame: no pause, no time-out.
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, fields
from typing import TypeVar
from urllib.parse import quote, unquote

LINE_MAX = 128  # with its line end; a press takes at most 90, the rest is room for a clerk's name
_LINE_END = b"\r\n"
_FRAME_MAX = LINE_MAX - len(_LINE_END)
_CRC_DIGITS = 4
_LINE = re.compile(rb"\$([^$*]*)\*(.{4})", re.DOTALL)
DEVICE = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII)
"""What a device may be called."""
_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)  # ten digits: seconds, counts and ages fit; longer is no number


# ---- from the device


@dataclass(frozen=True, slots=True)
class Pressed:
    """Button `button` of `device` went down `age_ms` ago: press `count` of its start `boot`. Repeated until acked."""

    device: str
    boot: int
    count: int
    button: int
    age_ms: int


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life: on for `uptime_s`, in `state`, `count` presses so far in this boot."""

    device: str
    boot: int
    uptime_s: int
    state: str
    count: int


# ---- to the device


@dataclass(frozen=True)
class Ack:
    """That press is on our disk: forget it, say thank you."""

    device: str
    boot: int
    count: int


@dataclass(frozen=True)
class Nak:
    """That press is not on our disk, which has no room: keep it, go on repeating it, and say so to the citizen."""

    device: str
    boot: int
    count: int


@dataclass(frozen=True)
class Invite:
    """Ask the citizen to rate, for `seconds`."""

    device: str
    seconds: int


@dataclass(frozen=True)
class Withdraw:
    """Stop asking."""

    device: str


@dataclass(frozen=True)
class Welcome:
    """Greet the citizen."""

    device: str


@dataclass(frozen=True)
class Clerk:
    """Show who serves here."""

    device: str
    text: str


@dataclass(frozen=True)
class Volume:
    """How loud to speak, 0–10."""

    device: str
    volume: int


@dataclass(frozen=True)
class Query:
    """Answer with a beat now."""

    device: str


Frame = Pressed | Beat | Ack | Nak | Invite | Withdraw | Welcome | Clerk | Volume | Query


@dataclass(frozen=True)
class Noise:
    """Bytes that are no frame, and why."""

    raw: bytes
    reason: str


Item = tuple[Frame, bytes] | Noise
"""What a line holds: a frame with its bytes, or noise."""
P = TypeVar("P")

_KINDS: dict[str, type[Frame]] = {
    "PRESS": Pressed,
    "BEAT": Beat,
    "ACK": Ack,
    "NAK": Nak,
    "INVITE": Invite,
    "WITHDRAW": Withdraw,
    "WELCOME": Welcome,
    "CLERK": Clerk,
    "VOLUME": Volume,
    "QUERY": Query,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_SHAPES = {kind: tuple((field.name, field.type) for field in fields(kind)) for kind in _KINDS.values()}


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE: polynomial 0x1021, start 0xFFFF, nothing reflected. `123456789` gives 0x29B1."""
    return crc_hqx(data, 0xFFFF)


def encode(frame: Frame) -> bytes:
    """The frame as it goes over the line, line end included. ValueError if `decode` would not give it back."""
    values = (quote(value, safe="") if isinstance(value, str) else str(value) for value in astuple(frame))
    body = ",".join((_NAMES[type(frame)], *values)).encode("ascii")
    line = b"$%s*%04X" % (body, crc16(body))
    heard = decode(line)
    if heard != frame:
        why = heard.reason if isinstance(heard, Noise) else "not the same when read back"
        raise ValueError(f"这一帧说不出来: {frame}: {why} / cannot be said on the line: {frame}: {why}")
    return line + _LINE_END


def decode(line: bytes) -> Frame | Noise:
    """The frame of `$…*CRC4`, or why it is none."""
    if len(line) > _FRAME_MAX:
        return Noise(line, "too long")
    parts = _LINE.fullmatch(line)
    if parts is None:
        return Noise(line, "not a frame")
    body, digits = parts.groups()
    if digits != b"%04X" % crc16(body):
        return Noise(line, "bad checksum")
    try:
        name, *texts = body.decode("ascii").split(",")
    except UnicodeDecodeError:
        return Noise(line, "not ASCII")
    kind = _KINDS.get(name)
    if kind is None:
        return Noise(line, "unknown frame")
    values = _values(_SHAPES[kind], texts)
    return Noise(line, "wrong fields") if values is None else _made(kind, values)


def _made(kind: Callable[..., Frame], values: list[str | int]) -> Frame:
    return kind(*values)


def _values(shape: tuple[tuple[str, object], ...], texts: list[str]) -> list[str | int] | None:
    if len(shape) != len(texts):
        return None
    values: list[str | int] = []
    for (name, kind), text in zip(shape, texts, strict=True):
        if kind == "int":
            if not _NUMBER.fullmatch(text):
                return None
            values.append(int(text))
        elif name == "device":
            if not DEVICE.fullmatch(text):
                return None
            values.append(text)
        else:
            values.append(unquote(text, errors="replace"))
    return values


class Decoder:
    """Bytes in, frames and noise out, however the line chops them. Never raises; holds at most LINE_MAX bytes."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> list[tuple[Frame, bytes] | Noise]:
        """Every frame that `data` completes, with its bytes, and what was no frame, in the order of the line."""
        return self.feed_into(data, _press_and_bytes)

    def feed_into(self, data: bytes, press: Callable[[str, int, int, int, int, bytes], P]) -> list[P | Item]:
        """The same, with `press(device, boot, count, button, age_ms, bytes)` in place of each press."""
        # A list, not a generator: whoever stops half way through one would make the next `feed` begin in the past.
        return list(self._read(self._held + data, press))

    def _read(self, held: bytes, made: Callable[[str, int, int, int, int, bytes], P]) -> Iterator[P | Item]:
        at = 0
        while True:
            # A press in one step, as it is what comes most often. Anything else below.
            found = _PRESS.match(held, at)
            if found is not None:
                line, body, device, boot, count, button, age_ms, digits = found.groups()
                if int(digits, 16) == crc_hqx(body, 0xFFFF):
                    yield made(device.decode("ascii"), int(boot), int(count), int(button), int(age_ms), line)
                else:
                    yield Noise(line, "bad checksum")
                at = found.end()
                continue
            start = held.find(b"$", at)
            if start < 0:
                yield from _noise(held[at:], "no frame begins here")
                self._held = b""
                return
            if start - at != len(_LINE_END) or not held.startswith(_LINE_END, at):
                yield from _noise(held[at:start], "no frame begins here")
            if start > at and _PRESS.match(held, start):
                at = start
                continue
            end = _end(held, start)
            if end is None:
                self._held = held[start:]
                return
            if end < 0:
                # A damaged beginning must not take the frame behind it along: look again from the next `$`.
                at = _next_start(held, start)
                yield Noise(held[start:at], "broken frame")
                continue
            line = held[start:end]
            frame = decode(line)
            yield frame if isinstance(frame, Noise) else (frame, line)
            at = end


_PRESS = re.compile(
    rb"(?:\r\n)?(\$(PRESS,([A-Za-z0-9_-]{1,32}),(%(number)s),(%(number)s),(%(number)s),(%(number)s))\*([0-9A-F]{4}))"
    % {b"number": _NUMBER.pattern.encode()}
)


def _press_and_bytes(device: str, boot: int, count: int, button: int, age_ms: int, line: bytes) -> Item:
    return Pressed(device, boot, count, button, age_ms), line


def _end(held: bytes, start: int) -> int | None:
    """Where the frame that starts at `start` ends; None if it may still grow, -1 if it never becomes one."""
    limit = start + _FRAME_MAX
    star = held.find(b"*", start + 1, limit)
    end = star + 1 + _CRC_DIGITS
    interrupted = held.find(b"$", start + 1, end if star >= 0 else limit)
    if interrupted >= 0:
        return -1
    if star < 0:
        return -1 if len(held) >= limit else None
    if end > limit:
        return -1
    return end if len(held) >= end else None


def _next_start(held: bytes, start: int) -> int:
    """The next `$` that can begin a frame: of several before one `*`, only the last."""
    limit = start + _FRAME_MAX
    star = held.find(b"*", start + 1, limit)
    following = held.rfind(b"$", start + 1, star if star >= 0 else limit)
    if following < 0:
        following = held.find(b"$", start + 1)
    return len(held) if following < 0 else following


def _noise(raw: bytes, reason: str) -> Iterator[Noise]:
    # The line end of a good frame is no noise, nor is an idle line's CR LF.
    stripped = raw.strip(b"\r\n")
    if stripped:
        yield Noise(stripped, reason)
