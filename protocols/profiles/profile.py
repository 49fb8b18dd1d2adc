"""One profile, ready for use: readers for its lines, words for its devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

from protocols import frames as house
from protocols.ratings import Level

from . import hid, modbus
from .events import Pressed
from .framing import frames_of
from .readers import (
    BurstReader,
    DatagramReader,
    EventReader,
    FrameReader,
    HouseReader,
    LineReader,
    Reader,
    ScreenReader,
)
from .rules import BareRules, FrameRules, Heard, bare_rules, check_answers
from .saying import Values, Voice, voice_of
from .vocabulary import CommandName, Shape

_HOUSE_SAYS: dict[CommandName, type[house.Invite | house.Withdraw | house.Welcome | house.Query | house.Clerk]] = {
    "please_rate": house.Invite,
    "withdraw": house.Withdraw,
    "welcome": house.Welcome,
    "query": house.Query,
    "clerk": house.Clerk,
}


REFUSED = b'{"kept":false}'
"""What our own page is told of a press that could not be kept."""


@dataclass(frozen=True)
class Profile:
    """A checked profile."""

    shape: Shape
    _frames: FrameRules | None
    _bare: BareRules | None
    _voice: Voice

    @property
    def id(self) -> str:
        return self.shape.id

    @property
    def version(self) -> int:
        return self.shape.version

    @property
    def counts(self) -> bool:
        """Whether its devices number their presses, so that a press said twice is known for one."""
        return self.shape.form in ("house", "screen")

    @property
    def shows_life(self) -> bool:
        """Whether silence means that the device is not there."""
        return self.shape.form in ("house", "registers") or self.shape.poll is not None or self.shape.alive is not None

    @property
    def addressed(self) -> bool:
        """Whether several of them can share a line."""
        return (
            self.shape.form == "house"
            or self.shape.modbus is not None
            or bool(self._frames and self.shape.form == "frame" and self._frames.frames.has("address"))
            or bool(self._bare and self._bare.names_devices)
        )

    @property
    def by_address(self) -> bool:
        """Whether nothing but its address tells a device of it from another."""
        return self.addressed and self.shape.form != "house"

    @property
    def levels(self) -> MappingProxyType[int, Level]:
        """What the keys mean, where this profile is of one device and somebody has confirmed it; else empty."""
        return MappingProxyType({int(key): Level(each.level) for key, each in self.shape.keys.items()})

    def reader(self) -> Reader:
        """Takes the bytes of one line apart. Not for `registers`, whose panels are asked one by one."""
        match self.shape.form:
            case "house":
                return HouseReader()
            case "screen":
                return ScreenReader()
            case "events" if self.shape.hid is not None:
                return EventReader({code: int(key) for key, code in self.shape.hid.codes.items()})
            case "frame" if self._frames is not None:
                return FrameReader(self.shape, self._frames)
        if self._bare is None:
            raise ValueError(f"{self.id}: {self.shape.form} is not read as bytes")
        if self.shape.transport == "udp":
            return DatagramReader(self.shape, self._bare)
        if self.shape.form == "byte" or "none" in self.shape.bare.ends:
            return BurstReader(self.shape, self._bare)
        return LineReader(self.shape, self._bare)

    def registers(self, device: str = "") -> modbus.Keys:
        """Takes what one polled panel shows apart."""
        wire = self.shape.modbus
        if wire is None:
            raise ValueError(f"{self.id}: no Modbus panel")
        first = 1 if wire.shows == "places" or wire.function == 2 else 0
        codes = {code: int(key) for key, code in wire.codes.items()} or {key - first: key for key in range(1, 100)}
        # What is not polled in time is not known, however often it should be.
        look_max_ms = max(modbus.LOOK_MAX_MS, 2 * self.shape.poll.every_ms) if self.shape.poll else modbus.LOOK_MAX_MS
        shows: modbus.Shape = "places" if wire.function == 2 else wire.shows
        return modbus.Keys(device, wire.mode, shows, codes, look_max_ms=look_max_ms, count_at=wire.count_at)

    def read_values(self, readings: Sequence[Sequence[int]]) -> list[Heard]:
        """What these readings say, one after the other: a keyboard's events, or Modbus registers."""
        if self.shape.hid is not None:
            raw = b"".join(hid.EVENT.pack(0, 0, *_three(reading)) for reading in readings)
            return self.reader().feed(raw, 0)
        keys, heard = self.registers(), list[Heard]()
        every_ms = self.shape.poll.every_ms if self.shape.poll is not None else 500
        for number, reading in enumerate(readings):
            shown = modbus.Reading(
                tuple(reading), b"", bits=self.shape.modbus is not None and self.shape.modbus.function == 2
            )
            heard += [Heard(event) for event in keys.feed(shown, number * every_ms)]
        return heard

    def ack(self, pressed: Pressed) -> bytes:
        """What tells the device that this press is on disk; empty if it does not wait for that."""
        if pressed.boot is not None and pressed.count is not None:
            if self.shape.form == "screen":
                return b'{"boot":%d,"count":%d}' % (pressed.boot, pressed.count)
            return house.encode(house.Ack(pressed.device, pressed.boot, pressed.count))
        return self._frames.ack(pressed) if self._frames is not None and self.shape.form == "frame" else b""

    def nak(self, pressed: Pressed) -> bytes:
        """What tells the device that this press could not be kept; empty if it has no word for that."""
        if pressed.boot is not None and pressed.count is not None:
            if self.shape.form == "screen":
                return REFUSED
            return house.encode(house.Nak(pressed.device, pressed.boot, pressed.count))
        return self._frames.nak(pressed) if self._frames is not None and self.shape.form == "frame" else b""

    def knows(self, name: CommandName) -> bool:
        """Whether its devices have a word for this."""
        return name in _HOUSE_SAYS if self.shape.form == "house" else name in self.shape.commands

    def say(self, name: CommandName, device: str = "", address: int = 0, values: Values | None = None) -> bytes:
        """The bytes that say this to the device; empty if it has no word for it."""
        values = values or Values()
        if self.shape.form != "house":
            return self._voice.say(name, address, values)
        match name:
            case "please_rate":
                return house.encode(house.Invite(device, values.seconds))
            case "clerk":
                return house.encode(house.Clerk(device, values.text))
            case "volume":
                return house.encode(house.Volume(device, values.volume))
            case "withdraw" | "welcome" | "query":
                return house.encode(_HOUSE_SAYS[name](device))  # type: ignore[call-arg]
            case _:
                return b""


def profile_of(shape: Shape) -> Profile:
    """The profile of this shape; ValueError says what contradicts itself in it. Its vectors are not run here."""
    try:
        frames = frames_of(shape.frame) if shape.frame is not None else None
    except ValueError as error:
        raise ValueError(f"frame.{error}") from error
    bare = bare_rules(shape) if shape.form in ("byte", "text") else None
    rules = FrameRules(tuple(shape.rules), frames, shape.ack, shape.nak) if frames is not None else None
    if rules is not None and shape.form == "frame":
        check_answers(rules)
    return Profile(shape, rules, bare, voice_of(shape, frames))


def _three(reading: Sequence[int]) -> tuple[int, int, int]:
    """Type, code and value of an event; ValueError if it is none."""
    kind, code, value = reading
    return kind & 0xFFFF, code & 0xFFFF, value
