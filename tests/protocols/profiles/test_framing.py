"""Any framing that the vocabulary allows: what is built is read back, in any chopping and whatever stands around."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protocols.profiles.events import Noise, Pressed
from protocols.profiles.framing import Frames, Parts, crc16, frames_of
from protocols.profiles.profile import Profile, profile_of
from protocols.profiles.readers import Reader
from protocols.profiles.rules import Heard
from protocols.profiles.vocabulary import Check, Framing, Shape

PARTS = ("address", "command", "data")


def hexed(raw: bytes) -> str:
    return raw.hex(" ").upper()


@st.composite
def framings(draw: st.DrawFn, safe: bool = False) -> dict[str, Any]:
    """A framing as a profile writes it. `safe`: one whose every frame is told from noise by a checksum of 16 bits."""
    order = draw(st.permutations(PARTS))
    layout = [*order[: draw(st.integers(1, 3))]]
    if "data" not in layout:
        layout.append("data")
    many = draw(st.booleans())
    framing: dict[str, Any] = {
        "head": hexed(draw(st.binary(min_size=1, max_size=3))),
        "data_min": draw(st.integers(1, 3)),
        "address_bytes": draw(st.integers(1, 2)),
        "command_bytes": draw(st.integers(1, 2)),
    }
    framing["data_max"] = framing["data_min"] + (draw(st.integers(1, 9)) if many else 0)
    kind = draw(st.sampled_from(["crc16"] if safe else ["xor", "sum8", "sum8-complement", "crc16", None]))
    ends_by = draw(st.sampled_from(["length", "tail", "escape"] if many else ["length", "size", "tail", "escape"]))
    if safe and ends_by == "tail":
        ends_by = "length"
    with_length = ends_by == "length" or draw(st.booleans())
    if with_length:
        layout.insert(draw(st.integers(0, layout.index("data"))), "length")
        if draw(st.booleans()):
            layout.insert(layout.index("length"), "length")
        counts = ["data", *draw(st.sets(st.sampled_from([name for name in layout if name != "data"])))]
        framing["length"] = {
            "counts": counts,
            "bytes": draw(st.integers(1, 2)),
            "order": draw(st.sampled_from(["big", "little"])),
            "plus": draw(st.integers(0, 16)),
        }
    if draw(st.booleans()):
        layout.insert(draw(st.integers(0, len(layout))), hexed(draw(st.binary(min_size=1, max_size=2))))
    if kind is not None:
        over = [name for name in ("length", *PARTS) if name in layout]
        framing["check"] = {
            "kind": kind,
            "over": [*over, *draw(st.sets(st.just("head")))],
            "poly": draw(st.sampled_from([0x8005, 0x1021])),
            "reflected": draw(st.booleans()),
            "order": draw(st.sampled_from(["big", "little"])),
        }
        layout.append("check")
    if ends_by in ("tail", "escape") or draw(st.booleans()):
        tail = draw(st.binary(min_size=1, max_size=2))
        framing["tail"] = hexed(tail)
        if ends_by == "escape":
            mark = draw(st.integers(0, 255).filter(lambda byte: byte not in (tail[0], tail[0] ^ 0x20)))
            framing["escape"] = {"byte": hexed(bytes([mark])), "xor": "20", "of": hexed(bytes([mark, tail[0]]))}
    return framing | {"layout": layout}


def profile_with(framing: dict[str, Any], idle_ms: int = 200) -> Profile:
    """A profile of these frames, in which every one is a key."""
    table = {
        "id": "made",
        "version": 1,
        "title": {"zh": "生成", "en": "made"},
        "evidence": "generic",
        "source": "made here",
        "transport": "serial",
        "form": "frame",
        "frame": framing,
        "idle_ms": idle_ms,
        "rules": [{"event": "key"}],
        "vectors": [{"read": "00"}],
    }
    return profile_of(msgspec.convert(table, Shape))


@st.composite
def words(draw: st.DrawFn, frames: Frames) -> Parts:
    """Something that such a frame can say."""
    framing = frames.framing
    return Parts(
        draw(st.integers(0, 256**framing.address_bytes - 1)) if frames.has("address") else 0,
        draw(st.binary(min_size=framing.command_bytes, max_size=framing.command_bytes))
        if frames.has("command")
        else b"",
        draw(st.binary(min_size=framing.data_min, max_size=framing.data_max)),
    )


def built(frames: Frames, said: Parts) -> bytes:
    return frames.build(said.command, said.data, said.address)


def chopped(data: st.DataObject, stream: bytes) -> list[bytes]:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)))
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def raws(reader: Reader, pieces: list[bytes]) -> list[bytes]:
    heard = [each for piece in pieces for each in reader.feed(piece, 0)] + reader.quiet(10_000)
    return [each.event.raw for each in heard if isinstance(each.event, Pressed)]


def ages(heard: list[Heard]) -> list[int]:
    return [each.event.age_ms for each in heard if isinstance(each.event, Noise)]


def ends_at_a_tail_only(frames: Frames) -> bool:
    framing = frames.framing
    return framing.escape is None and framing.length is None and framing.data_min != framing.data_max


@given(data=st.data())
def test_what_is_built_is_read_back_in_any_chopping(data):
    """By the real reader. Red if a length, a checksum or an escape is made differently on either way."""
    profile = profile_with(data.draw(framings()))
    frames = frames_of(profile.shape.frame)
    said = data.draw(words(frames))
    raw = built(frames, said)
    if ends_at_a_tail_only(frames):
        # Without an escape such a frame cannot hold its own end: the device's own weakness.
        assume(raw.find(frames.tail, len(frames.head)) == len(raw) - len(frames.tail))

    assert said == frames.open(raw)
    assert [raw] == raws(profile.reader(), chopped(data, raw))


@given(data=st.data())
def test_garbage_never_costs_the_frame_behind_it(data):
    """Heads, halves and lengths that promise more, before and between. Red if a broken frame is dropped whole."""
    profile = profile_with(data.draw(framings(safe=True)))
    frames = frames_of(profile.shape.frame)
    stream, good = b"", []
    for _ in range(data.draw(st.integers(1, 3))):
        raw = built(frames, data.draw(words(frames)))
        half = built(frames, data.draw(words(frames)))[: data.draw(st.integers(0, len(raw) - 1))]
        stream += data.draw(st.one_of(st.binary(max_size=40), st.just(half), st.just(frames.head * 3))) + raw
        good.append(raw)

    assert Counter(good) <= Counter(raws(profile.reader(), chopped(data, stream)))


@given(data=st.data())
def test_half_a_frame_is_given_up_after_the_idle_time_and_not_before(data):
    """Its own idle_ms. Red if a frame that stopped takes the next one along."""
    profile = profile_with(data.draw(framings(safe=True)), idle_ms=70)
    frames = frames_of(profile.shape.frame)
    raw = built(frames, data.draw(words(frames)))
    assume(frames.head not in raw[1:])
    reader = profile.reader()

    assert not [each for each in reader.feed(raw[:-1], 1000) if isinstance(each.event, Pressed)]
    assert [] == reader.quiet(1069)
    assert 1070 == reader.next_ms()
    assert {"half a frame"} == {each.event.reason for each in reader.quiet(1070) if isinstance(each.event, Noise)} - {
        "no frame"
    }
    assert reader.next_ms() is None
    assert [raw] == raws(reader, [raw])


@given(data=st.data())
def test_noise_is_as_old_as_the_first_of_its_bytes(data):
    """However it was cut, and a whole frame after it. Red if it is dated when it is told."""
    profile = profile_with(data.draw(framings(safe=True)), idle_ms=70)
    frames = frames_of(profile.shape.frame)
    raw = built(frames, data.draw(words(frames)))
    half = raw[: data.draw(st.integers(1, len(raw) - 1))]
    reader = profile.reader()
    began_ms = now_ms = 1000
    early = []
    for byte in half:
        early += ages(reader.feed(bytes([byte]), now_ms))
        now_ms += data.draw(st.integers(0, 69))
    late = ages(reader.quiet(now_ms + 70))

    assert [] == [age_ms for age_ms in early + late if age_ms > now_ms + 70 - began_ms]
    if not early:
        assert now_ms + 70 - began_ms == late[0]
    assert {0} >= set(ages(reader.feed(bytes(3), now_ms + 71)))


@pytest.mark.parametrize("size", [1, 5, 11, 12, 13, 100])
def test_a_frame_within_a_frame_is_a_part_of_it(size):
    """However late the rest of the outer one comes. Red if the inner one is a press as soon as it is whole."""
    framing = {
        "head": "AA",
        "layout": ["length", "data", "check"],
        "length": {"counts": ["data"]},
        "check": {"kind": "sum8", "over": ["data"]},
    }
    profile = profile_with(framing)
    frames = frames_of(profile.shape.frame)
    inner = built(frames, Parts(0, b"", b"\x03\x04"))
    outer = built(frames, Parts(0, b"", b"\x01" + inner + b"\x02\x03\x04\x05"))

    assert [outer] == raws(profile.reader(), [outer[at : at + size] for at in range(0, len(outer), size)])
    assert [inner] == raws(profile.reader(), [outer[:-1]])


def test_a_length_that_is_escaped_is_found():
    """An address or a length may be the very byte that is escaped. Red if the length is looked for at a fixed place."""
    framing = {
        "head": "7E",
        "layout": ["length", "data"],
        "tail": "7F",
        "length": {"counts": ["data"]},
        "data_max": 127,
        "escape": {"byte": "7D", "xor": "20", "of": "7D 7F"},
    }
    profile = profile_with(framing)
    frames = frames_of(profile.shape.frame)
    raw = built(frames, Parts(0, b"", bytes(0x7F)))

    assert raw.startswith(b"\x7e\x7d\x5f")
    assert [raw] == raws(profile.reader(), [raw])


def test_a_crc_is_the_one_of_the_standards():
    """Modbus, CCITT-FALSE and XMODEM over `123456789`, as every catalogue of CRCs has them."""
    text = b"123456789"

    assert 0x4B37 == crc16(text, Check("crc16", []))
    assert 0x29B1 == crc16(text, Check("crc16", [], poly=0x1021, reflected=False))
    assert 0x31C3 == crc16(text, Check("crc16", [], poly=0x1021, reflected=False, init=0))


GOOD = {"head": "AA", "layout": ["length", "data", "check"], "length": {"counts": ["data"]}}
SUM = {"check": {"kind": "sum8", "over": ["data"]}}
NO_CHECK = {"layout": ["length", "data"]}


@pytest.mark.parametrize(
    ("changed", "begins"),
    [
        (SUM | {"layout": ["length", "length", "data", "data", "check"]}, "layout"),
        (SUM | {"layout": ["data", "length", "check"]}, "layout"),
        (SUM | {"layout": ["length", "data", "check", "zz"]}, "layout"),
        (SUM | {"layout": ["length", "check"]}, "layout"),
        (SUM | {"length": None}, "length"),
        (SUM | {"layout": ["data", "check"]}, "length"),
        ({}, "check"),
        (SUM | {"layout": ["length", "data"]}, "check"),
        (SUM | {"data_min": 9, "data_max": 8}, "data_min"),
        (SUM | {"length": {"counts": ["data", "data"]}}, "length.counts"),
        (SUM | {"length": {"counts": ["data", "address"]}}, "length.counts"),
        (SUM | {"length": {"counts": []}}, "length.counts"),
        (SUM | {"length": {"counts": ["data"], "plus": -1}}, "length"),
        (SUM | {"length": {"counts": ["data"], "plus": 16}, "data_max": 240}, "length"),
        ({"check": {"kind": "sum8", "over": ["address"]}}, "check.over"),
        ({"check": {"kind": "sum8", "over": []}}, "check.over"),
        ({"layout": ["data"], "length": None}, "tail"),
        (NO_CHECK | {"escape": {"byte": "7D", "xor": "20", "of": "7D"}}, "escape"),
        (NO_CHECK | {"tail": "7E", "escape": {"byte": "7D", "xor": "20", "of": "7D"}}, "escape.of"),
        (NO_CHECK | {"tail": "7E", "escape": {"byte": "7D", "xor": "20", "of": "7E"}}, "escape.of"),
        (NO_CHECK | {"tail": "7E", "escape": {"byte": "7D", "xor": "03", "of": "7D 7E"}}, "escape.xor"),
        (NO_CHECK | {"tail": "7E", "escape": {"byte": "7D 7D", "xor": "20", "of": "7D 7E"}}, "escape"),
    ],
)
def test_a_framing_that_contradicts_itself_is_refused(changed, begins):
    """With the key that is wrong, before the first byte is built."""
    with pytest.raises(ValueError, match=rf"^{begins}: .* / ") as refused:
        frames_of(msgspec.convert(GOOD | changed, Framing))

    assert str(refused.value)
