"""Bytes of a line in, what they say out; one reader for each form that a profile can have.

A reader never raises, holds a bounded number of bytes, and is told the time. Only where a wire has no frames at all
does silence matter: there a key counts when it stands alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Protocol

import msgspec

from protocols import bodies
from protocols import frames as house
from protocols.ratings import Reasons
from protocols.said import NUMBER_END, TagCodes, TagsVersion, Text

from . import hid
from .events import Beat, Noise, Pressed
from .framing import NOISE_MAX
from .rules import NOT_FRAMED, BareRules, FrameRules, Heard, aged
from .vocabulary import Shape

_MEANINGS_MAX = 1024  # frames whose meaning is remembered: a device has few keys, and a counter byte makes 256 of each
_DATAGRAMS_MAX = 128  # a tablet says a dozen things; its tags make it a few more
_SENT_MAX = 16  # frames of ours that may still come back; an echo is there within the time of a few frames
_ECHO_MS = 500  # a line server in between adds its own delay
_BURST_MAX = 256  # bytes without a pause; whoever says more than that is not pressing a key
_SCREEN_MAX = 4096  # bytes; a press of our own page is under 100, its longest text 1,800 where each letter is \uXXXX
_STUCK_MS = 30_000  # a key that is held so long is a book lying on it


class Reader(Protocol):
    """What every form gives."""

    def feed(self, data: bytes, now_ms: int) -> list[Heard]:
        """What these bytes, read at `now_ms`, complete."""

    def quiet(self, now_ms: int) -> list[Heard]:
        """What silence until `now_ms` completes or gives up."""

    def next_ms(self) -> int | None:
        """When `quiet` is to be asked if nothing comes before; None if silence does not matter now."""

    def sent(self, data: bytes, now_ms: int) -> None:
        """These bytes of ours went onto the line at `now_ms`, and may come back from it."""


class HouseReader:
    """Our own line protocol."""

    def __init__(self) -> None:
        self._decoder = house.Decoder()

    def feed(self, data: bytes, now_ms: int) -> list[Heard]:
        return [
            item if isinstance(item, Heard) else self._heard(item)
            for item in self._decoder.feed_into(data, _house_press)
        ]

    def quiet(self, now_ms: int) -> list[Heard]:
        return []

    def next_ms(self) -> int | None:
        return None

    def sent(self, data: bytes, now_ms: int) -> None:
        pass  # our own frames have other names than a device's

    def _heard(self, item: house.Item) -> Heard:
        match item:
            case house.Noise(raw, reason):
                return Heard(Noise(raw[:NOISE_MAX], reason))
            case (house.Beat(device, boot, uptime_s, state, count), _):
                return Heard(Beat(device, boot, uptime_s, state, count))
            case (_, raw):
                return Heard(Noise(raw, "our own words came back"))


def _house_press(device: str, boot: int, count: int, button: int, age_ms: int, raw: bytes) -> Heard:
    return Heard(Pressed(device, button, age_ms, raw, boot, count))


class FrameReader:
    """Frames with a head, and a length, a fixed size or a tail."""

    def __init__(self, shape: Shape, rules: FrameRules):
        self._scan = rules.frames.scanner()
        self._rules = rules
        self._idle_ms = shape.idle_ms
        self._echo = shape.echo
        self._meanings: dict[bytes, Heard] = {}
        self._held = b""
        self._fed_ms = self._held_ms = 0
        self._sent: deque[tuple[bytes, int]] = deque(maxlen=_SENT_MAX)

    def feed(self, data: bytes, now_ms: int) -> list[Heard]:
        given_up = self.quiet(now_ms)
        if not data:
            return given_up
        self._fed_ms = now_ms
        if not self._held:
            self._held_ms = now_ms
        return given_up + self._read(self._held + data, now_ms)

    def quiet(self, now_ms: int) -> list[Heard]:
        heard: list[Heard] = []
        # A frame that stopped half way must not swallow the next one; within what it held there may be a whole one.
        while self._held and now_ms - self._fed_ms >= self._idle_ms:
            heard.append(Heard(Noise(self._held[:NOISE_MAX], "half a frame", now_ms - self._held_ms)))
            heard += self._read(self._held[1:], now_ms)
        return heard

    def next_ms(self) -> int | None:
        return self._fed_ms + self._idle_ms if self._held else None

    def sent(self, data: bytes, now_ms: int) -> None:
        if self._echo:
            # Whatever stands in one write of ours comes back as the same frames.
            self._sent.extend((raw, now_ms + _ECHO_MS) for raw in self._cut(data))

    def _cut(self, data: bytes) -> list[bytes]:
        found, at = [], 0
        for start, raw in self._scan(data)[0]:
            if start >= at:
                found.append(raw)
                at = start + len(raw)
        return found

    def _read(self, held: bytes, now_ms: int) -> list[Heard]:
        heard: list[Heard] = []
        known = self._meanings.get
        may_be, halves = self._scan(held)
        before = len(self._held)  # so much of it came earlier
        done = 0  # up to here all has been told
        for start, raw in may_be:
            if start < done:
                continue  # a part of the frame before
            if halves and start > halves[0] and any(done <= half < start for half in halves):
                break  # it may be a part of one that is not all there yet
            meaning = known(raw) or self._learn(raw)
            if meaning is _NO_FRAME:
                continue  # the next one may begin inside it
            if start > done:
                heard.append(_no_frame(held, done, start, now_ms - self._held_ms if done < before else 0))
            done = start + len(raw)
            if self._sent and self._came_back(raw, now_ms):
                heard.append(Heard(Noise(raw[:NOISE_MAX], "our own words came back")))
            elif meaning is not _NOTHING:
                heard.append(meaning)
        end = next((half for half in halves if half >= done), len(held))
        if end > done:
            heard.append(_no_frame(held, done, end, now_ms - self._held_ms if done < before else 0))
        if end >= before:
            self._held_ms = self._fed_ms
        self._held = held[end:]
        return heard

    def _learn(self, raw: bytes) -> Heard:
        if len(self._meanings) >= _MEANINGS_MAX:
            self._meanings.clear()
        meaning = self._rules.meaning(raw) or _NOTHING
        if type(meaning.event) is Noise and meaning.event.reason in NOT_FRAMED:
            meaning = _NO_FRAME
        self._meanings[raw] = meaning
        return meaning

    def _came_back(self, raw: bytes, now_ms: int) -> bool:
        while self._sent and self._sent[0][1] < now_ms:
            self._sent.popleft()
        for mine in self._sent:
            if mine[0] == raw:
                self._sent.remove(mine)
                return True
        return False


_NO_FRAME, _NOTHING = (Heard(Noise(b"", word)) for word in ("no frame", "nothing"))


def _no_frame(held: bytes, start: int, end: int, age_ms: int) -> Heard:
    return Heard(Noise(held[start : min(end, start + NOISE_MAX)], "no frame", age_ms))


class BurstReader:
    """Keys that stand alone: one byte or a word of text, with silence before and after.

    A wire without frames cannot tell a key from a byte of noise, of an echo or of another rate. What it can tell is
    company: a press comes alone, or as the same bytes again where a contact bounces. Anything else is noise.
    """

    def __init__(self, shape: Shape, rules: BareRules):
        self._rules = rules
        self._text = bool(rules.patterns)
        self._quiet_ms = shape.bare.quiet_ms
        self._byte_ms = (1 + shape.line.bytesize + shape.line.stopbits) * 1000 / shape.line.baud
        self._burst = bytearray()
        self._more = 0
        self._began_ms = self._fed_ms = 0
        self._deaf_ms: int | None = None

    def feed(self, data: bytes, now_ms: int) -> list[Heard]:
        heard = self.quiet(now_ms)
        if not data:
            return heard
        if self._deaf_ms is not None and now_ms <= self._deaf_ms:
            # Our own words may be coming back: nothing that comes so close to them is a key.
            self._deaf_ms = max(self._deaf_ms, now_ms + self._quiet_ms)
            return [*heard, Heard(Noise(data[:NOISE_MAX], "too close to our own words"))]
        if not self._burst:
            self._began_ms = now_ms
        self._fed_ms = now_ms
        room = _BURST_MAX - len(self._burst)
        self._burst += data[:room]
        self._more += len(data) - len(data[:room])
        return heard

    def quiet(self, now_ms: int) -> list[Heard]:
        if not self._burst or now_ms - self._fed_ms < self._quiet_ms:
            return []
        burst, more, age_ms = bytes(self._burst), self._more, now_ms - self._began_ms
        self._burst, self._more = bytearray(), 0
        if more or self._fed_ms - self._began_ms > _STUCK_MS:
            return [Heard(Noise(burst[:NOISE_MAX], "bytes without a pause", age_ms))]
        heard = self._judged(burst)
        return [aged(heard, age_ms, burst)] if heard is not None else []

    def next_ms(self) -> int | None:
        return self._fed_ms + self._quiet_ms if self._burst else None

    def sent(self, data: bytes, now_ms: int) -> None:
        if data:
            begun = now_ms if self._deaf_ms is None else max(now_ms, self._deaf_ms - self._quiet_ms)
            self._deaf_ms = begun + int(len(data) * self._byte_ms) + 1 + self._quiet_ms

    def _judged(self, burst: bytes) -> Heard | None:
        """What the burst says as a whole; None if it is to be passed over."""
        words = burst.replace(b"\r", b"\n").split(b"\n") if self._text else [bytes([byte]) for byte in set(burst)]
        said = [self._rules.word(word) for word in {word for word in words if word}]
        meant = [heard for heard in said if heard is not None]
        # A sign of life comes when it comes, also beside a key.
        meant = [heard for heard in meant if type(heard.event) is not Beat] or meant[:1]
        if len(meant) > 1:
            reason = "several keys at once" if all(type(each.event) is Pressed for each in meant) else "a key in noise"
            return Heard(Noise(burst[:NOISE_MAX], reason))
        if meant and type(meant[0].event) is Noise:
            return Heard(Noise(burst[:NOISE_MAX], meant[0].event.reason))
        return meant[0] if meant else None


class LineReader:
    """Text in lines: each is complete at its end, and nothing but an end makes a line."""

    def __init__(self, shape: Shape, rules: BareRules):
        self._rules = rules
        self._longest = shape.bare.longest
        self._cr_ends = "CR" in shape.bare.ends
        self._held = b""
        self._held_ms = 0
        self._meanings: dict[bytes, Heard | None] = {}
        self._too_long = False

    def feed(self, data: bytes, now_ms: int) -> list[Heard]:
        age_ms = now_ms - self._held_ms if self._held else 0
        held = self._held + data
        if self._cr_ends:
            held = held.replace(b"\r", b"\n")
        lines = held.split(b"\n")
        self._held = lines.pop()
        heard: list[Heard] = []
        if lines or not age_ms:
            self._held_ms = now_ms
        for line in lines:
            line = line.removesuffix(b"\r")
            if self._too_long or len(line) > self._longest:
                heard.append(Heard(Noise(line[:NOISE_MAX], "a line that is too long", age_ms)))
                self._too_long = False
            elif line:
                meaning = self._meanings[line] if line in self._meanings else self._learn(line)
                if meaning is not None:
                    # A whole line says what it says now, however long its beginning has been there.
                    noise = age_ms and type(meaning.event) is Noise
                    heard.append(aged(meaning, age_ms, line) if noise else meaning)
            age_ms = 0
        if len(self._held) > self._longest + self._held.endswith(b"\r"):
            # Its end may be far off: nothing of it is kept, and what comes until then belongs to it.
            if not self._too_long:
                heard.append(Heard(Noise(self._held[:NOISE_MAX], "a line that is too long", age_ms)))
            self._held, self._too_long = b"", True
        return heard

    def quiet(self, now_ms: int) -> list[Heard]:
        return []

    def next_ms(self) -> int | None:
        return None

    def sent(self, data: bytes, now_ms: int) -> None:
        pass  # words of ours come back as lines that no rule of a device fits

    def _learn(self, line: bytes) -> Heard | None:
        if len(self._meanings) >= _MEANINGS_MAX:
            self._meanings.clear()
        meaning = self._meanings[line] = self._rules.word(line)
        return meaning


class DatagramReader:
    """Datagrams: each is a word of its own. `feed` takes one."""

    def __init__(self, shape: Shape, rules: BareRules):
        self._rules = rules
        self._longest = shape.bare.longest
        self._meanings: dict[bytes, Heard | None] = {}

    def feed(self, data: bytes, now_ms: int) -> list[Heard]:
        if len(data) > self._longest:
            return [Heard(Noise(data[:NOISE_MAX], "a datagram that is too long"))]
        if data not in self._meanings:
            if len(self._meanings) >= _DATAGRAMS_MAX:
                self._meanings.clear()
            self._meanings[data] = self._rules.word(data.strip(b"\r\n"))
        heard = self._meanings[data]
        return [heard] if heard is not None else []

    def quiet(self, now_ms: int) -> list[Heard]:
        return []

    def next_ms(self) -> int | None:
        return None

    def sent(self, data: bytes, now_ms: int) -> None:
        pass  # a datagram does not come back


class _Screen(msgspec.Struct):
    device: str
    boot: int
    count: int
    button: int
    age_ms: int = 0
    invitation: str | None = None
    tags: TagCodes = []
    tags_version: TagsVersion = 0
    text: Text = ""


# msgspec works a type out when it first meets it, and the process dies if two threads do that at once: so it is
# done here, before there are any.
msgspec.json.Decoder(_Screen)


class ScreenReader:
    """Presses on our own page, which counts them: each is one JSON object."""

    def feed(self, data: bytes, now_ms: int) -> list[Heard]:
        if len(data) > _SCREEN_MAX:
            return [Heard(Noise(data[:NOISE_MAX], "no press of a page"))]
        try:
            said = bodies.read(data, _Screen)
        except bodies.BadBody:
            return [Heard(Noise(data[:NOISE_MAX], "no press of a page"))]
        numbers = (said.boot, said.count, said.button, said.age_ms)
        if not (house.DEVICE.fullmatch(said.device) and min(numbers) >= 0 and max(numbers) < NUMBER_END):
            return [Heard(Noise(data[:NOISE_MAX], "no press of a page"))]
        reasons = Reasons(tuple(said.tags), said.tags_version, said.text)
        pressed = Pressed(said.device, said.button, said.age_ms, data, said.boot, said.count, said.invitation, reasons)
        return [Heard(pressed)]

    def quiet(self, now_ms: int) -> list[Heard]:
        return []

    def next_ms(self) -> int | None:
        return None

    def sent(self, data: bytes, now_ms: int) -> None:
        pass  # a page is not spoken to on a line


class EventReader:
    """A keypad's key events."""

    def __init__(self, keys: Mapping[int, int]):
        self._decoder = hid.Decoder(keys)

    def feed(self, data: bytes, now_ms: int) -> list[Heard]:
        return [Heard(event) for event in self._decoder.feed(data, now_ms)]

    def quiet(self, now_ms: int) -> list[Heard]:
        return []

    def next_ms(self) -> int | None:
        return None

    def sent(self, data: bytes, now_ms: int) -> None:
        pass  # a keypad is told nothing
