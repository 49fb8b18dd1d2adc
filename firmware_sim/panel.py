"""A button panel's firmware: what it does with a press, a host's frame and the passing of time. No line, no clock."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from urllib.parse import unquote

from firmware_sim.faults import LINES, Faults, Wire

FRAME_MAX = 128  # the longest frame with its CR LF that was agreed on; the firmware has no more room for one
QUEUE_MAX = 16  # presses that fit into the device's RAM
EVENTS_MAX = 1_000  # a caller takes them after each call; nobody presses a thousand times in between

_DEVICE = re.compile(r"[A-Za-z0-9_-]{1,32}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")
_TEXT = re.compile(r"(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})*")
_FRAME = re.compile(rb"\$([^$*\r\n]*)\*([0-9A-F]{4})\r\n")


@dataclass(frozen=True)
class PressMade:
    """A button went down and the firmware counted it."""

    device: str
    boot: int
    count: int
    button: int
    at_ms: int
    invited: bool
    """Whether the panel was asking for a rating at that moment, as far as it knew."""


@dataclass(frozen=True)
class PressThanked:
    """The host has that press, and the citizen was told so."""

    press: PressMade
    at_ms: int


@dataclass(frozen=True)
class PressNotAccepted:
    """A button went down while the RAM was full: the citizen saw "not accepted", nothing was counted."""

    device: str
    button: int
    at_ms: int


@dataclass(frozen=True)
class PressRefused:
    """The host has no room for that press, and the citizen was told so; it is repeated until there is some."""

    press: PressMade
    at_ms: int


@dataclass(frozen=True)
class Rebooted:
    """The panel started anew; the presses it had not yet been able to hand over are gone, never thanked."""

    device: str
    boot: int
    at_ms: int
    lost: tuple[PressMade, ...]


Event = PressMade | PressThanked | PressNotAccepted | PressRefused | Rebooted


@dataclass
class _Kept:
    press: PressMade
    sent_ms: int | None = None
    refused: bool = False


class HousePanel:
    """A panel that speaks the `house` protocol. `boot` numbers this start; the caller keeps it over power cuts."""

    wire: Wire = LINES
    counts = True
    buttons: tuple[int, ...] = (1, 2, 3, 4, 5)

    def __init__(
        self,
        device: str,
        boot: int,
        on_ms: int = 0,
        *,
        debounce_ms: int = 30,
        repeat_ms: int = 400,
        beat_every_ms: int = 10_000,
        patience_ms: int = 3_000,
    ):
        if not _DEVICE.fullmatch(device):
            raise ValueError(f"设备编号不合规 / a device id is 1-32 of A-Z a-z 0-9 _ -, not {device!r}")
        self.device = device
        self.boot = boot
        self.count = 0
        self.volume = 5
        self.clerk = ""
        self.damaged = 0
        """Host frames that came broken."""
        self.unknown = 0
        """Whole host frames that this firmware does not know, or that are for another device."""
        self._debounce_ms = debounce_ms
        self._repeat_ms = repeat_ms
        self._beat_every_ms = beat_every_ms
        self._patience_ms = patience_ms
        self._events: deque[Event] = deque(maxlen=EVENTS_MAX)
        self._power_on(on_ms)

    # ---- what the world does to it

    def press(self, button: int, now_ms: int) -> int | None:
        """A contact closes. The press's count, or None if it is a bounce or there is no room for it."""
        bounce = now_ms - self._closed_ms.get(button, -self._debounce_ms) < self._debounce_ms
        if bounce:
            return None
        self._closed_ms[button] = now_ms
        if len(self._queue) >= QUEUE_MAX:
            self._full_ms = now_ms
            self._events.append(PressNotAccepted(self.device, button, now_ms))
            return None
        return self._keep(button, now_ms).count

    def repeat(self, button: int, now_ms: int) -> None:
        """A button that stays down: this firmware counts the edge of a contact and says nothing more."""

    def suffer(self, faults: Faults, rng: Random) -> None:
        """The faults inside a device are other families': this one has none."""

    def feed(self, data: bytes, now_ms: int) -> None:
        """Bytes from the host, in any pieces. What makes no sense is counted and otherwise ignored."""
        for body in self._frames(data):
            name, *fields = body.split(",")
            if not self._obey(name, fields, now_ms):
                self.unknown += 1

    def poll(self, now_ms: int) -> bytes:
        """Everything the panel wants on the line now: the oldest press if it is due, then a beat if one is due."""
        # One at a time: a host that heard the second press first would take that for the citizen's answer.
        frames = [self._say_press(kept, now_ms) for kept in self._queue[:1] if self._due_ms(kept) <= now_ms]
        if self._beat_ms <= now_ms:
            frames.append(self._say_beat(now_ms))
        return b"".join(frames)

    def next_ms(self, now_ms: int) -> int | None:
        """When it next wants to be polled if nothing happens before; never earlier than now."""
        return max(now_ms, min([self._beat_ms, *(self._due_ms(kept) for kept in self._queue[:1])]))

    def reboot(self, now_ms: int) -> None:
        """Power off and on. The boot number rises by one; RAM, with every unacknowledged press, is lost."""
        lost = tuple(kept.press for kept in self._queue)
        self.boot += 1
        self._power_on(now_ms)
        self._events.append(Rebooted(self.device, self.boot, now_ms, lost))

    # ---- what can be seen of it

    def take_events(self) -> list[Event]:
        """What happened since the last call: the only truth about what was pressed and what was thanked."""
        events = list(self._events)
        self._events.clear()
        return events

    def inviting(self, now_ms: int) -> bool:
        """Whether it is asking for a rating."""
        return now_ms < self._invited_until_ms

    def asks_until_ms(self, now_ms: int) -> int | None:
        """When it will stop asking, or None if it does not ask."""
        return self._invited_until_ms if self.inviting(now_ms) else None

    def at(self, device: str) -> HousePanel:
        """Itself; KeyError if another is meant."""
        if device not in ("", self.device):
            raise KeyError(device)
        return self

    def state(self, now_ms: int) -> str:
        """As in its beats: pending while any press waits for its acknowledgement, else inviting, else idle."""
        if self._queue:
            return "pending"
        return "inviting" if self.inviting(now_ms) else "idle"

    def display(self, now_ms: int) -> str:
        """What the citizen reads. "Thank you" stands there only after an acknowledgement."""
        if now_ms - self._full_ms < self._patience_ms:
            return "未接受 / Not accepted"
        if self._queue and self._queue[0].refused:
            return "尚未收下，请稍候 / Not accepted yet, please wait"
        if self.inviting(now_ms):
            return "请评价 / Please rate"
        if self._queue and now_ms - self._queue[0].press.at_ms >= self._patience_ms:
            return "尚未送达，请稍候 / Not accepted yet, please wait"
        if now_ms - self._thanked_ms < self._patience_ms:
            return "谢谢您的评价 / Thank you"
        if self._queue:
            return "正在送出 / Sending"
        return f"欢迎光临 {self.clerk}".rstrip() + " / Welcome"

    # ---- inside

    def _power_on(self, now_ms: int) -> None:
        self.count = 0
        self._on_ms = now_ms
        self._queue: list[_Kept] = []
        self._held = bytearray()
        self._closed_ms: dict[int, int] = {}
        self._beat_ms = now_ms
        self._invited_until_ms = now_ms
        # Long enough ago to show nothing.
        self._full_ms = self._thanked_ms = now_ms - self._patience_ms

    def _keep(self, button: int, now_ms: int) -> PressMade:
        self.count += 1
        press = PressMade(self.device, self.boot, self.count, button, now_ms, self.inviting(now_ms))
        self._queue.append(_Kept(press))
        self._events.append(press)
        self._invited_until_ms = now_ms  # the first press is the answer
        return press

    def _due_ms(self, kept: _Kept) -> int:
        """Now for a press that was not sent yet; then at each repeat."""
        return kept.press.at_ms if kept.sent_ms is None else kept.sent_ms + self._repeat_ms

    def _say_press(self, kept: _Kept, now_ms: int) -> bytes:
        kept.sent_ms = now_ms
        press = kept.press
        return frame("PRESS", self.device, press.boot, press.count, press.button, now_ms - press.at_ms)

    def _say_beat(self, now_ms: int) -> bytes:
        self._beat_ms = now_ms + self._beat_every_ms
        uptime_s = (now_ms - self._on_ms) // 1000
        return frame("BEAT", self.device, self.boot, uptime_s, self.state(now_ms), self.count)

    def _frames(self, data: bytes) -> Iterator[str]:
        """Cut the host's bytes into checked frames: from `$` to LF; whatever stands outside is nothing."""
        for byte in data:
            if byte == ord("$"):
                self.damaged += bool(self._held)
                self._held[:] = b"$"
            elif self._held:
                self._held.append(byte)
                if byte == ord("\n") or len(self._held) >= FRAME_MAX:
                    body = _checked(bytes(self._held))
                    self._held.clear()
                    if body is None:
                        self.damaged += 1
                    else:
                        yield body

    def _obey(self, name: str, fields: list[str], now_ms: int) -> bool:
        """Do what the host says; False if this firmware does not know it."""
        match name, fields:
            case _, [device, *_] if device != self.device:
                return False
            case "ACK", [_, boot, count] if _numbers(boot, count):
                self._acknowledged(int(boot), int(count), now_ms)
            case "NAK", [_, boot, count] if _numbers(boot, count):
                self._not_accepted(int(boot), int(count), now_ms)
            case "INVITE", [_, seconds] if _numbers(seconds):
                self._invited_until_ms = now_ms + int(seconds) * 1000
            case "WITHDRAW", [_]:
                self._invited_until_ms = now_ms
            case "WELCOME", [_]:
                self._thanked_ms = now_ms - self._patience_ms
            case "CLERK", [_, text] if (clerk := _plain(text)) is not None:
                self.clerk = clerk
            case "VOLUME", [_, volume] if _numbers(volume) and int(volume) <= 10:
                self.volume = int(volume)
            case "QUERY", [_]:
                self._beat_ms = now_ms
            case _:
                return False
        return True

    def _acknowledged(self, boot: int, count: int, now_ms: int) -> None:
        for kept in self._queue:
            if (kept.press.boot, kept.press.count) == (boot, count):
                self._queue.remove(kept)
                self._thanked_ms = now_ms
                self._events.append(PressThanked(kept.press, now_ms))
                return

    def _not_accepted(self, boot: int, count: int, now_ms: int) -> None:
        for kept in self._queue:
            if (kept.press.boot, kept.press.count) == (boot, count) and not kept.refused:
                kept.refused = True
                self._events.append(PressRefused(kept.press, now_ms))


def frame(name: str, *fields: str | int) -> bytes:
    """A frame as it stands on the line. Fields must need no percent-encoding."""
    body = ",".join([name, *map(str, fields)]).encode("ascii")
    return b"$%b*%04X\r\n" % (body, crc16(body))


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE, bit by bit as the firmware does it: polynomial 0x1021, start 0xFFFF, nothing reflected."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
        crc &= 0xFFFF
    return crc


def _checked(line: bytes) -> str | None:
    """The text between `$` and `*`, or None if the frame is damaged."""
    found = _FRAME.fullmatch(line)
    if found is None or not found[1].isascii() or int(found[2], 16) != crc16(found[1]):
        return None
    return found[1].decode("ascii")


def _numbers(*fields: str) -> bool:
    return all(_NUMBER.fullmatch(field) for field in fields)


def _plain(text: str) -> str | None:
    """Percent-encoded text as people read it, or None if it is not that."""
    if not _TEXT.fullmatch(text):
        return None
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return None
