"""What is fuzzed: each takes any bytes, and anything that it raises is a mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.resources import files
from struct import Struct

from edge_agent import keypad
from protocols import frames as house
from protocols import profiles
from protocols.errors import BadSettings
from protocols.profiles import hid, modbus
from protocols.profiles.events import Noise, Pressed

RAW_MAX = 1024  # bytes of a press that are kept with it
Target = Callable[[bytes], None]


def settings(data: bytes) -> None:
    """A profile or its mistakes."""
    try:
        profile = profiles.read(data, "fuzzed.toml")
    except BadSettings as error:
        assert error.mistakes
        return
    if profile.shape.form != "registers":
        reader(profile.id, data, profile)


def changed(name: str, data: bytes) -> None:
    """A shipped profile with something in it that was not there: deeper than any random text comes."""
    text = (files(profiles.__name__) / f"{name}.toml").read_bytes()
    place = int.from_bytes(data[:2], "big") % len(text)
    settings(text[:place] + data[3:] + text[place + (data[2] if len(data) > 2 else 0) :])


def reader(name: str, data: bytes, profile: profiles.Profile | None = None) -> None:
    """The reader of a profile; what it hears can be answered."""
    profile = profile or profiles.shipped(name)
    reads, now_ms = profile.reader(), 0
    for piece in pieces(data):
        now_ms += len(piece) * 7
        if len(piece) % 5 == 0:
            reads.sent(piece, now_ms)
        for event, _ in [*reads.feed(piece, now_ms), *reads.quiet(now_ms + 30 * len(piece))]:
            if isinstance(event, Pressed):
                assert len(event.raw) <= RAW_MAX
                profile.ack(event)
                profile.nak(event)
        reads.next_ms()


def decoder(data: bytes) -> None:
    """Our own line: what it holds is bounded, and chopping changes nothing."""
    whole = [item for item in house.Decoder().feed(data) if not isinstance(item, house.Noise)]
    reads = house.Decoder()
    found = [item for piece in pieces(data) for item in reads.feed(piece)]
    assert whole == [item for item in found if not isinstance(item, house.Noise)]
    assert len(reads._held) <= house.LINE_MAX


def events(data: bytes) -> None:
    """A keypad's events, of either kernel."""
    for shape in (hid.EVENT, Struct("=iiHHi")):
        reads = hid.Decoder(hid.DIGITS, shape)
        for number, piece in enumerate(pieces(data)):
            assert all(isinstance(each, Pressed | Noise) for each in reads.feed(piece, number * 1000))


def registers(data: bytes) -> None:
    """A panel's registers, in every mode."""
    modes: tuple[modbus.Mode, ...] = ("level", "edge", "latched", "counter")
    for mode in modes:
        for shows in ("number", "places"):
            keys = modbus.Keys("1", mode, shows, {0: 1, 1: 2, 2: 3})  # type: ignore[arg-type]
            for number, piece in enumerate(pieces(data)):
                values = tuple(int.from_bytes(piece[at : at + 2], "big") for at in range(0, len(piece), 2))
                keys.feed(modbus.Reading(values, piece, bits=len(piece) % 3 == 0), number * 300)


def devices(data: bytes) -> None:
    """The machine's list of its input devices."""
    for each in keypad.listed(data.decode("utf-8", "replace")):
        assert each.node.startswith("event")


def pieces(data: bytes) -> Iterator[bytes]:
    """The bytes as a line chops them, by themselves: the first of each says how many follow."""
    at = 0
    while at < len(data):
        size = data[at] % 64 + 1
        yield data[at : at + size]
        at += size


def _readers() -> dict[str, Target]:
    shipped = [name for name in profiles.SHIPPED if profiles.shipped(name).shape.form != "registers"]
    return {f"reader:{name}": partial(reader, name) for name in shipped}


TARGETS: dict[str, Target] = {
    "settings": settings,
    **{f"changed:{name}": partial(changed, name) for name in profiles.SHIPPED},
    **_readers(),
    "decoder": decoder,
    "events": events,
    "registers": registers,
    "devices": devices,
}
