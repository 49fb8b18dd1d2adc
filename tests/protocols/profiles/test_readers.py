"""Readers of every form: never an error, never without a bound, and a press only where one was made."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import frames as house
from protocols import profiles
from protocols.profiles.events import Answered, Beat, Event, NobodyPressed, Noise, Pressed
from protocols.profiles.profile import Profile, profile_of
from protocols.profiles.readers import Reader
from protocols.profiles.rules import BareRules, FrameRules
from protocols.profiles.vocabulary import Shape
from protocols.ratings import Reasons

READ_AS_BYTES = [name for name in profiles.SHIPPED if profiles.shipped(name).shape.form != "registers"]
HELD_MAX = 4 * 1024 * 1024  # bytes; what is remembered of 1,024 frames of the longest kind is the most
HOSTILE = 2 * HELD_MAX  # who keeps every byte has twice what may be kept
UNIQUE = 1024 * 1024  # more than sixty thousand frames, of which a thousand are remembered


def made(form: str, **more: Any) -> Profile:
    table = {
        "id": "made",
        "version": 1,
        "title": {"zh": "生成", "en": "made"},
        "evidence": "generic",
        "source": "made here",
        "transport": "serial",
        "form": form,
        "vectors": [{"read": "00"}],
    }
    return profile_of(msgspec.convert(table | more, Shape))


BYTE = made(
    "byte",
    rules=[
        {"event": "key", "bytes": "01..06"},
        {"event": "nobody", "bytes": "0F"},
        {"event": "beat", "bytes": "10"},
        {"event": "answer", "name": "ok", "bytes": "20"},
        {"event": "ignore", "bytes": "81..86"},
    ],
    bare={"quiet_ms": 50},
)
LINES = made(
    "text",
    rules=[
        {"event": "key", "pattern": "K(?P<key>[0-9]+)"},
        {"event": "ignore", "pattern": "#.*"},
        {"event": "beat", "pattern": "(?P<device>[0-9]+) alive"},
    ],
    bare={"ends": ["CRLF"], "longest": 16},
)
CR = made("text", rules=[{"event": "key", "pattern": "K(?P<key>[0-9]+)"}], bare={"ends": ["CR"], "longest": 16})


def events(reader: Reader, *fed: tuple[int, bytes]) -> list[Event]:
    """What these bytes say, each read at its time in ms, and a second later."""
    heard = [each for now_ms, data in fed for each in reader.feed(data, now_ms)]
    return [each.event for each in heard + reader.quiet((fed[-1][0] if fed else 0) + 1000)]


def keys(found: list[Event]) -> list[int]:
    return [each.key for each in found if isinstance(each, Pressed)]


def reasons(found: list[Event]) -> list[str]:
    return [each.reason for each in found if isinstance(each, Noise)]


# ---- a key stands alone


def test_a_byte_alone_is_a_key_as_old_as_the_silence_behind_it():
    """It is only known to stand alone when nothing came for so long."""
    reader = BYTE.reader()

    assert [] == reader.feed(b"\x03", 1000)
    assert 1050 == reader.next_ms()
    assert [] == reader.quiet(1049)
    assert [Pressed("", 3, 50, b"\x03")] == [each.event for each in reader.quiet(1050)]
    assert reader.next_ms() is None


@pytest.mark.parametrize(
    ("fed", "expected"),
    [
        ([(0, b"\x03\x03\x03")], [3]),  # a bouncing contact
        ([(0, b"\x03"), (20, b"\x03"), (60, b"\x03")], [3]),
        ([(0, b"\x05\x85")], [5]),  # and its release
        ([(0, b"\x03"), (50, b"\x03")], [3, 3]),  # two presses: which of them counts is the window's matter
        ([(0, b"\x03"), (49, b"\x04")], []),
        ([(0, b"\x03\x00")], []),  # company
        ([(0, b"\x00"), (30, b"\x03"), (60, b"\xff")], []),
        ([(0, b"\x55\xaa\x02\x20\x00\x1a")], []),
        ([(0, b"\x07")], []),
        ([(0, b"\x85")], []),
        ([(0, b"\x03" * 257)], []),
        ([(at, b"\x03") for at in range(0, 31_000, 40)], []),  # a book lies on the key
        ([(at, b"\x03") for at in range(0, 8_000, 40)], [3]),
    ],
)
def test_a_key_in_company_is_noise(fed, expected):
    """No guess between two keys, and none out of a frame, an echo or another rate."""

    assert expected == keys(events(BYTE.reader(), *fed))


def test_other_bytes_say_what_their_rules_say():
    """Time over, alive, an answer."""
    found = events(BYTE.reader(), (0, b"\x0f"), (100, b"\x10"), (200, b"\x20"))

    assert [NobodyPressed("", b"\x0f"), Beat(""), Answered("", "ok", b"\x20")] == found


@pytest.mark.parametrize(
    ("at_ms", "heard"),
    [(1001, []), (1005, []), (1056, []), (1057, []), (1120, [2])],
)
def test_nothing_is_a_key_so_close_to_our_own_words(at_ms, heard):
    """Six bytes take 7 ms, and 50 ms more are nobody's: an echo, whole or cut, early or late, is no vote."""
    reader = BYTE.reader()
    reader.sent(bytes.fromhex("55AA0220001A"), 1000)

    assert heard == keys(events(reader, (at_ms, b"\x02")))


def test_an_echo_that_drips_is_no_key_at_its_end():
    """Each of its bytes keeps the ear shut for as long again. Red if the time runs from our words alone."""
    reader = BYTE.reader()
    reader.sent(bytes.fromhex("55AA0220001A"), 0)
    dripping = [(at, b"\x02") for at in range(10, 400, 40)]

    assert [] == keys(events(reader, *dripping))
    assert [4] == keys(events(reader, (2000, b"\x04")))


def test_a_key_before_our_own_words_is_a_key():
    """It was there before anything could come back."""
    reader = BYTE.reader()

    assert [] == reader.feed(b"\x03", 1000)
    reader.sent(b"\x55\xaa", 1010)
    assert [3] == keys(events(reader, (1015, b"\x55\xaa")))


def test_bytes_without_a_pause_are_held_no_longer_than_a_burst():
    """And are one piece of noise."""
    reader = BYTE.reader()
    found = [each for at in range(1000) for each in reader.feed(b"\x03" * 512, at)]

    assert [] == found
    assert ["bytes without a pause"] == reasons([each.event for each in reader.quiet(2000)])


def test_text_that_may_end_in_nothing_is_judged_as_a_whole():
    """`key-ascii`: with an end, without, twice the same, in company."""

    def of(raw: bytes) -> list[int]:
        return keys(events(profiles.shipped("key-ascii").reader(), (0, raw)))

    assert [3, 3, 3, 3] == of(b"3") + of(b"3\r") + of(b"3\r\n") + of(b"3\n3\r\n")
    assert [] == of(b"12") + of(b"1\r\n2\r\n") + of(b"9") + of(b"\xff") + of(b"\r\n")


# ---- lines


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"K3\r\nK4\r\n", [3, 4]),
        (b"K3\nK4\n", [3, 4]),
        (b"K3", []),
        (b"\r\n\r\nK3\r\n", [3]),
        (b"#K3\r\nxK3\r\nK3 \r\n", []),
        (b"K" + b"0" * 14 + b"3\r\n", []),
        (b"x" * 16 + b"\r\nK3\r\n", [3]),
        (b"x" * 17 + b"K3\r\nK4\r\n", [4]),
        (b"\xffK3\r\nK4\r\n", [4]),
    ],
)
def test_a_line_is_complete_at_its_end_in_any_chopping(raw, expected):
    """Silence makes no line; what is too long takes nothing along but itself."""
    for size in (1, 2, 3, len(raw)):
        pieces = [(at, raw[at : at + size]) for at in range(0, len(raw), size)]

        assert expected == keys(events(LINES.reader(), *pieces))


def test_a_line_as_long_as_allowed_is_read_with_either_end():
    """Red if the CR of a CR LF counts."""
    longest = b"# " + b"x" * 14
    for chunks in ([longest + b"\r\nK1\r\n"], [longest, b"\r", b"\nK1\r\n"], [longest + b"\r", b"\n", b"K1\n"]):
        found = events(LINES.reader(), *enumerate(chunks))

        assert [Pressed("", 1, 0, b"K1")] == found


def test_a_carriage_return_may_end_a_line():
    """With and without what a terminal adds."""

    assert [3, 4, 5] == keys(events(CR.reader(), (0, b"K3\rK4\r\nK5\r")))


def test_a_beat_in_text_has_its_address():
    """And such devices can share a line."""

    assert [Beat("11")] == events(LINES.reader(), (0, b"011 alive\r\n"))
    assert LINES.addressed
    assert not CR.addressed


# ---- datagrams, screens, our own line


def test_a_datagram_is_a_word_of_its_own():
    """Never two put together, and none longer than the profile says."""
    reader = profiles.shipped("sundyn-udp").reader()
    whole = b'{"appriseresult":"5","tagId":""}'

    assert [5] == keys(events(reader, (0, whole)))
    assert [] == keys(events(reader, (0, whole[:16]), (1, whole[16:])))
    assert ["a datagram that is too long"] == reasons(events(reader, (0, whole + b" " * 512)))


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"null",
        b"[" * 1000,
        b'{"device":"S1","boot":1,"count":1}',
        b'{"device":"S1","boot":1,"count":1,"button":"5"}',
        b'{"device":"S 1","boot":1,"count":1,"button":5}',
        b'{"device":"S1","boot":-1,"count":1,"button":5}',
        b'{"device":"S1","boot":1,"count":1,"button":5,"age_ms":-1}',
        b'{"device":"S1","boot":1,"count":99999999999999999999,"button":5}',  # a database breaks on it
        b'{"device":"S1","boot":1,"count":1,"button":5,"x":"%s"}' % (b"y" * 5000),
        b'{"device":"S1","boot":1,"count":1,"button":5,"tags":"510"}',
        b'{"device":"S1","boot":1,"count":1,"button":5,"tags":["51 0"]}',
        b'{"device":"S1","boot":1,"count":1,"button":5,"tags":[%s]}' % b",".join([b'"510"'] * 17),
        b'{"device":"S1","boot":1,"count":1,"button":5,"tags_version":-1}',
        b'{"device":"S1","boot":1,"count":1,"button":5,"text":"%s"}' % (b"y" * 151),
        b'{"device":"S1","boot":1,"count":1,"button":5,"text":"a\\nb"}',
        b'{"device":"\xff","boot":1,"count":1,"button":5}',
    ],
)
def test_what_is_no_press_of_a_page_is_noise(said):
    """A page is on a machine that others can reach."""

    assert ["no press of a page"] == reasons(events(profiles.shipped("screen").reader(), (0, said)))


def test_a_page_says_why():
    """Tags with the version of their list, and the citizen's own words to the last of 150 characters, however a
    library writes them."""
    text = "等" * 150
    said = {"device": "S1", "boot": 1, "count": 1, "button": 1, "tags": ["108", "115"], "tags_version": 2, "text": text}
    plain, escaped = (json.dumps(said, ensure_ascii=way).encode() for way in (False, True))
    reader = profiles.shipped("page").reader()
    reasons = [event.reasons for raw in (plain, escaped) for event in events(reader, (0, raw))]

    assert [Reasons(("108", "115"), 2, text)] * 2 == reasons


def test_our_own_line_gives_presses_beats_and_our_own_words():
    """Each with its bytes."""
    raw = house.encode(house.Pressed("D0217", 12, 7, 1, 35))
    stream = raw + house.encode(house.Beat("D0217", 12, 60, "idle", 7)) + house.encode(house.Ack("D0217", 12, 7)) + b"?"
    found = events(profiles.shipped("house").reader(), (0, stream))

    assert Pressed("D0217", 1, 35, raw.strip(), 12, 7) == found[0]
    assert Beat("D0217", 12, 60, "idle", 7) == found[1]
    assert ["our own words came back", "no frame begins here"] == reasons(found)


# ---- echoes of frames


QS4 = bytes.fromhex("FF 68 03 03 68 05 10 0C 21 16")


@pytest.mark.parametrize(
    ("late_ms", "back", "answered"),
    [(20, QS4, False), (500, QS4, False), (501, QS4, True), (20, QS4[1:], False), (20, QS4[:-1], False)],
)
def test_a_frame_of_ours_that_comes_back_is_noise_once(late_ms, back, answered):
    """For half a second; short of a byte it is no frame at all."""
    reader = profiles.shipped("qs4").reader()
    reader.sent(QS4, 0)
    heard = reader.feed(back, late_ms) + reader.quiet(late_ms + 300)

    assert answered == any(each.answer for each in heard)
    assert [QS4] == [each.answer for each in reader.feed(QS4, late_ms + 600)]


# ---- whatever arrives

PROFILES = {name: profiles.shipped(name) for name in READ_AS_BYTES} | {"byte": BYTE, "lines": LINES, "cr": CR}


def near(profile: Profile) -> st.SearchStrategy[bytes]:
    """Bytes that look like the profile's own: parts of its vectors among anything."""
    own = [vector.read for vector in profile.shape.vectors if vector.read]
    raws = [each[5:].encode() if each.startswith("text:") else bytes.fromhex(each) for each in own] or [b"\0"]
    parts = st.one_of(
        st.binary(max_size=8),
        st.sampled_from(raws),
        st.builds(lambda raw, a, b: raw[a:b], st.sampled_from(raws), st.integers(0, 12), st.integers(0, 40)),
        st.sampled_from([b"\r", b"\n", b"$", b"*", raws[0][:2] * 20]),
    )
    return st.lists(parts, max_size=12).map(b"".join)


NEAR = {name: st.lists(near(profile), max_size=6) for name, profile in PROFILES.items()}


@pytest.mark.parametrize("name", PROFILES)
@given(data=st.data())
def test_no_bytes_break_a_reader_in_any_chopping(name, data):
    """And every press that is made of them is one that its device can acknowledge, with few bytes kept."""
    profile = PROFILES[name]
    reader = profile.reader()
    now_ms = 0
    for raw in data.draw(NEAR[name]):
        now_ms += data.draw(st.sampled_from([0, 1, 30, 60, 300, 100_000, -50]))
        if data.draw(st.booleans()):
            reader.sent(raw, now_ms)
        for event, answer in [*reader.feed(raw, now_ms), *reader.quiet(now_ms + 10), *reader.quiet(now_ms)]:
            assert isinstance(answer, bytes)
            if isinstance(event, Pressed):
                assert isinstance(profile.ack(event) + profile.nak(event), bytes)
                assert len(event.raw) <= 1024
            if isinstance(event, Noise):
                assert len(event.raw) <= 128
        due_ms = reader.next_ms()
        assert due_ms is None or isinstance(due_ms, int)


def hostile(profile: Profile, kind: str) -> Iterator[bytes]:
    """One kind of bad will, in reads of 64 KiB."""
    framing = profile.shape.frame
    head = bytes.fromhex(framing.head) if framing else b"$"
    rnd = Random(7)
    size = 1 << 16
    for number in range(UNIQUE // size if kind == "unique" else HOSTILE // size):
        match kind:
            case "heads":
                yield (head * size)[:size]
            case "lengths":  # each says the most that it may, and what follows never ends it
                most = bytes.fromhex("FF68080868") if profile.id == "qs4" else head + b"\x00\x14"
                yield (most * size)[:size]
            case "no end":
                yield b"x" * size
            case "unique":
                yield b"".join(unique(profile, number * size + at) for at in range(size // 16))[:size]
            case _:
                yield rnd.randbytes(size)


def unique(profile: Profile, number: int) -> bytes:
    """A good frame, or a line, that was never said before."""
    if profile.shape.form == "house":
        return house.encode(house.Pressed("D", 1, number, 1, 1))
    if profile.id == "qs4":
        body = bytes([5, 0x10, *(number % 2**24).to_bytes(3, "big")])
        return b"\xff\x68\x05\x05\x68" + body + bytes([sum(body) & 0xFF, 0x16])
    return b"K%d\r\n" % number


@pytest.mark.parametrize("kind", ["heads", "lengths", "no end", "unique", "noise"])
@pytest.mark.parametrize("name", ["house", "qs4", "taxi905", "key-byte", "lines"])
def test_a_reader_holds_little_whatever_arrives(name, kind):
    """Neither bytes nor what they meant. Red if anything is kept for each frame or until an end that never comes."""
    profile = PROFILES[name]
    reader = profile.reader()
    for now_ms, piece in enumerate(hostile(profile, kind)):
        reader.feed(piece, now_ms)

    assert size_of(reader, set()) < HELD_MAX


def size_of(value: object, seen: set[int]) -> int:
    """Bytes of it and of all that it keeps; what the profile itself has is nobody's growth."""
    if id(value) in seen or isinstance(value, type | FrameRules | BareRules) or callable(value):
        return 0
    seen.add(id(value))
    size = sys.getsizeof(value)
    if isinstance(value, dict):
        size += sum(size_of(each, seen) for pair in value.items() for each in pair)
    elif isinstance(value, list | tuple | set | deque):
        size += sum(size_of(each, seen) for each in value)
    names = [*getattr(value, "__dict__", ()), *getattr(value, "__slots__", ())]
    return size + sum(size_of(getattr(value, name), seen) for name in names)
