"""Everything that a profile may say: a vendor's wire and keys as data. A closed vocabulary; nothing in it runs.

A profile is a TOML file of this shape; `docs/profile.schema.json` is the same as JSON Schema. Bytes are written in hex
with blanks between (`55 AA`).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

_HEX = r"^[0-9A-Fa-f]{2}( [0-9A-Fa-f]{2})*\Z"
_STEP = r"([0-9A-Fa-f]{2}|\{(seconds|stars|volume|text)\})"
_RANGE = r"[0-9A-Fa-f]{2}(\.\.[0-9A-Fa-f]{2})?"

Hex = Annotated[
    str, Meta(pattern=_HEX, max_length=192, description='十六进制字节, 如 "55 AA" / bytes in hex, as in "55 AA"')
]
Pattern = Annotated[
    str,
    Meta(
        pattern=r"^([0-9A-Fa-f]{2}|\.\.)( ([0-9A-Fa-f]{2}|\.\.))*\Z",
        max_length=192,
        description='十六进制字节, .. 代表任意一个, 如 ".. 0B" / bytes in hex, .. for any one, as in ".. 0B"',
    ),
]
Bytes = Annotated[
    str,
    Meta(
        pattern=rf"^{_RANGE}( {_RANGE})*\Z",
        max_length=192,
        description='十六进制字节和范围, 如 "01..06 0B" / bytes and ranges in hex, as in "01..06 0B"',
    ),
]
Template = Annotated[
    str,
    Meta(
        pattern=rf"^{_STEP}( {_STEP})*\Z",
        max_length=192,
        description='十六进制字节, 可含 {seconds} {stars} {volume} {text}, 如 "13 {seconds} 00"'
        ' / bytes in hex with {seconds} {stars} {volume} {text}, as in "13 {seconds} 00"',
    ),
]
Id = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-z0-9-]{0,31}\Z",
        description="小写字母、数字和 -, 最多 32 个字符 / small letters, digits and -, at most 32 characters",
    ),
]
Key = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,2})\Z", description="按键号 0 到 999 / a key's number, 0 to 999")]
Form = Literal["house", "frame", "byte", "text", "events", "registers", "screen"]
"""How bytes become keys: our own line protocol, a frame, one bare byte, a line of text, a keyboard's events, Modbus
registers, or our own page."""
Evidence = Literal["own", "vendor-doc", "field-observed", "generic", "learnt", "unverified"]
"""How far to trust it: ours; the vendor wrote it; seen in a hall; a common way; recorded at the desk; a guess."""
CommandName = Literal[
    "welcome",
    "please_rate",
    "withdraw",
    "thanks",
    "wait",
    "set_timeout",
    "set_stars",
    "clerk",
    "volume",
    "pause",
    "resume",
    "query",
    "poll",
]
LevelName = Literal["very_satisfied", "satisfied", "basically_satisfied", "dissatisfied", "very_dissatisfied"]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of a profile: what it does not know is a mistake."""


class Title(_Part, frozen=True):
    """Words for people."""

    zh: Annotated[str, Meta(min_length=1, max_length=200)]
    en: Annotated[str, Meta(min_length=1, max_length=400)]


class LineSettings(_Part, frozen=True):
    """How the serial line is set."""

    baud: Annotated[int, Meta(ge=110, le=4_000_000)] = 9600
    alt_baud: list[Annotated[int, Meta(ge=110, le=4_000_000)]] = []
    """Other rates that devices of this kind were seen at."""
    bytesize: Literal[7, 8] = 8
    parity: Literal["N", "E", "O"] = "N"
    stopbits: Literal[1, 2] = 1
    dtr: Literal["keep", "on", "off"] = "keep"
    rts: Literal["keep", "on", "off"] = "keep"


PartName = Literal["address", "command", "data"]


class Length(_Part, frozen=True):
    """A number that says how long the frame is."""

    counts: list[Literal["length", "address", "command", "data", "check"]]
    """The parts whose bytes it counts; fixed bytes in the layout are never counted."""
    bytes: Literal[1, 2] = 1
    order: Literal["big", "little"] = "big"
    plus: Annotated[int, Meta(ge=-16, le=16)] = 0
    """What is added to that sum."""


class Check(_Part, frozen=True):
    """A checksum over some parts."""

    kind: Literal["xor", "sum8", "sum8-complement", "crc16"]
    """Exclusive or; sum of all bytes mod 256; the same in two's complement; a CRC of 16 bits."""
    over: list[Literal["head", "fixed", "length", "address", "command", "data"]]
    """The parts that it covers. `fixed`: fixed bytes in the layout."""
    poly: Annotated[int, Meta(ge=1, le=0xFFFF)] = 0x8005
    init: Annotated[int, Meta(ge=0, le=0xFFFF)] = 0xFFFF
    reflected: bool = True
    xor_out: Annotated[int, Meta(ge=0, le=0xFFFF)] = 0
    order: Literal["big", "little"] = "little"


class Escape(_Part, frozen=True):
    """How a byte that may not stand within a frame is written: `byte`, then itself xor `xor`."""

    byte: Hex
    xor: Hex
    of: Hex
    """The bytes that are written so."""


class Framing(_Part, frozen=True):
    """How a frame is put together: head, the parts of the layout in order, tail."""

    head: Hex
    layout: list[str]
    """`length`, `address`, `command`, `data`, `check`, each at most once but `length`; or fixed bytes in hex."""
    tail: Hex | None = None
    length: Length | None = None
    """Without one, `data` has always the same size, or ends at the tail."""
    address_bytes: Literal[1, 2] = 1
    command_bytes: Literal[1, 2] = 1
    data_min: Annotated[int, Meta(ge=0, le=250)] = 0
    data_max: Annotated[int, Meta(ge=0, le=250)] = 16
    check: Check | None = None
    escape: Escape | None = None


class Rule(_Part, frozen=True):
    """Which bytes mean what. The first rule that fits decides; what fits none is noise."""

    event: Literal["key", "nobody", "beat", "answer", "ignore"]
    name: Id | None = None
    """Of an answer."""
    command: Hex | None = None
    """Frames: with this command only."""
    data: Pattern | None = None
    """Frames: with these data only."""
    bytes: Bytes | None = None
    """Bare bytes: one of these."""
    pattern: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    """Text: a regular expression for the whole line; its group `key` is the key, its group `device` the device."""
    key_at: Annotated[int, Meta(ge=-64, le=63)] = 0
    """Frames: which byte of the data is the key; -1 is the last."""
    key_form: Literal["number", "digit", "bit"] = "number"
    """Its value, an ASCII digit, or the one bit that is set (bit 0 is key 1)."""
    keys: Bytes | None = None
    """Frames: the values that may stand there; others are noise."""
    key: Annotated[int, Meta(ge=0, le=999)] | None = None
    """The key itself, where its bytes are a code and no number: one rule for each key."""
    count_at: Annotated[int, Meta(ge=-64, le=63)] | None = None
    """Frames: a byte of the data that differs from press to press, and is the same when one is repeated."""
    answer: Literal["ack", "echo", "none"] = "none"
    """What the device waits for: the ack once the press is on disk; or its own frame back at once."""


class Ack(_Part, frozen=True):
    """Frames: what tells a device that its press is on disk: the frame itself with these parts replaced."""

    command: Hex | None = None
    data: Hex | None = None


class Bare(_Part, frozen=True):
    """Bare bytes and text: how they stand on the line."""

    ends: Annotated[list[Literal["CR", "LF", "CRLF", "none"]], Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: ["none"]
    )
    """Text: what ends a line. Any of these."""
    longest: Annotated[int, Meta(ge=1, le=512)] = 128
    """Text: bytes of the longest line."""
    encoding: Literal["ascii", "utf-8", "gbk"] = "ascii"
    quiet_ms: Annotated[int, Meta(ge=5, le=1000)] = 50
    """A key stands alone: nothing else comes for so long before and after it. A key among other bytes is noise."""


class Says(_Part, frozen=True):
    """How one thing is said to the device."""

    command: Hex | None = None
    """Framed: with this command and these data."""
    data: Template | None = None
    bytes: Template | None = None
    """Not framed: these bytes."""
    text: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    """Text, with {seconds} {stars} {volume} {text} {id}."""
    register: Annotated[int, Meta(ge=0, le=0xFFFF)] | None = None
    """Modbus: this register is written (function 06)."""
    value: Annotated[int, Meta(ge=0, le=0xFFFF)] | None = None
    gap_ms: Annotated[int, Meta(ge=0, le=5000)] = 0
    """How long the device needs before it hears the next."""


class TextForm(_Part, frozen=True):
    """How a clerk's words are written to the device."""

    encoding: Literal["ascii", "utf-8", "gbk"] = "utf-8"
    width: Annotated[int, Meta(ge=0, le=128)] = 0
    """Bytes, filled up with blanks and cut at a whole character; 0: as long as it is."""


class InitStep(_Part, frozen=True):
    """One step after the line is opened: say something, or wait."""

    say: CommandName | None = None
    wait_ms: Annotated[int, Meta(ge=0, le=10_000)] = 0
    seconds: Annotated[int, Meta(ge=1, le=254)] = 30
    stars: Annotated[int, Meta(ge=0, le=5)] = 5
    volume: Annotated[int, Meta(ge=0, le=10)] = 5


class Polling(_Part, frozen=True):
    """The host asks, the device answers: `poll`, so often."""

    every_ms: Annotated[int, Meta(ge=20, le=60_000)]
    answer_ms: Annotated[int, Meta(ge=5, le=5_000)] = 100
    """How long to wait for it before the next device is asked."""


class Alive(_Part, frozen=True):
    """How to see that the device is there: `query` is said so often, and any frame of it is a sign of life."""

    every_s: Annotated[int, Meta(ge=1, le=3600)]


class Pressing(_Part, frozen=True):
    """What may be believed of a press."""

    solicited: bool = True
    """Whether the device takes a key only after it was asked to."""
    repeats: bool = False
    """Whether it says a press again until it is answered."""
    min_gap_ms: Annotated[int, Meta(ge=0, le=10_000)] = 500
    """A key that comes sooner after another is a bounce or a held key, and no press."""
    same_ms: Annotated[int, Meta(ge=0, le=60_000)] = 0
    """Where presses are repeated and not counted: the same key heard again within this time is the same press."""
    soon_ms: Annotated[int, Meta(ge=0, le=10_000)] = 0
    """Nobody answers so soon after being asked: such a key is an old answer, of a device whose answers carry no id."""
    late_ms: Annotated[int, Meta(ge=0, le=60_000)] = 500
    """Its bytes come at most so long after it was made; where the device does not say how old it is."""


class Hid(_Part, frozen=True):
    """A keyboard's keys: event code (linux/input-event-codes.h) → key."""

    codes: dict[Key, Annotated[int, Meta(ge=0, le=999)]]


class Modbus(_Part, frozen=True):
    """Where a key stands, and how it shows a press."""

    function: Literal[2, 3, 4]
    register: Annotated[int, Meta(ge=0, le=0xFFFF)]
    mode: Literal["level", "edge", "latched", "counter"]
    """Key is there while it is held; the same, and only a change counts; stays until cleared; counts per key."""
    shows: Literal["number", "places"] = "number"
    """The first register is the key's number, 0 for none; or each key has an input, or a bit, in the order of keys."""
    count: Annotated[int, Meta(ge=1, le=16)] = 1
    """Inputs or registers that are read."""
    count_at: Literal[0, 1] = 0
    """Counter with a number: which of the two registers counts; the other is the key's number."""
    codes: dict[Key, Annotated[int, Meta(ge=0, le=0xFFFF)]] = {}
    """Key → its number or place, where that is not the key's own number, or for places one less."""
    clear_register: Annotated[int, Meta(ge=0, le=0xFFFF)] | None = None
    clear_value: Annotated[int, Meta(ge=0, le=0xFFFF)] = 0
    echo: bool = False
    """The adapter gives our own bytes back."""


class Udp(_Part, frozen=True):
    """Datagrams: the device's port, and ours for what it says unasked."""

    port: Annotated[int, Meta(ge=1, le=65535)]
    listen: Annotated[int, Meta(ge=0, le=65535)] = 0


class KeyMeaning(_Part, frozen=True):
    """What a key stands for."""

    level: LevelName
    reason: Annotated[str, Meta(max_length=50)] = ""
    """Where a key is a reason and not only a level: its words, as they stand on the device."""


class Expected(_Part, frozen=True):
    """What must be understood from a vector's bytes."""

    event: Literal["key", "nobody", "beat", "answer", "noise"]
    device: str = ""
    key: int | None = None
    name: str | None = None
    boot: int | None = None
    count: int | None = None
    age_ms: int | None = None


class Vector(_Part, frozen=True):
    """Bytes and what they mean, checked whenever the profile is loaded."""

    read: Annotated[str, Meta(max_length=2000)] | None = None
    """Bytes from the device in hex, or text for a text profile after `text:`."""
    readings: list[list[int]] | None = None
    """Modbus: values read one after the other."""
    expect: list[Expected] = []
    answer: str | None = None
    """What is answered to them, in hex, once they are on disk; empty for nothing."""
    say: CommandName | None = None
    address: Annotated[int, Meta(ge=0, le=0xFFFF)] | None = None
    seconds: Annotated[int, Meta(ge=1, le=254)] = 30
    stars: Annotated[int, Meta(ge=0, le=5)] = 5
    volume: Annotated[int, Meta(ge=0, le=10)] = 5
    text: str = ""
    bytes: str | None = None
    """What is said, in hex or after `text:`."""


class Shape(_Part, frozen=True):
    """One profile."""

    id: Id
    version: Annotated[int, Meta(ge=1, le=9999)]
    title: Title
    evidence: Evidence
    source: Annotated[str, Meta(min_length=1, max_length=300)]
    """Where these bytes are known from."""
    transport: Literal["serial", "hid", "modbus", "udp", "screen"]
    form: Form
    vectors: Annotated[list[Vector], Meta(min_length=1)]
    notes: Title | None = None
    author: Annotated[str, Meta(max_length=100)] = ""
    date: Annotated[str, Meta(max_length=10)] = ""
    line: LineSettings = LineSettings()
    frame: Framing | None = None
    bare: Bare = Bare()
    rules: list[Rule] = []
    ack: Ack | None = None
    nak: Ack | None = None
    """What tells a device that its press was not accepted."""
    commands: dict[CommandName, Says] = {}
    text: TextForm = TextForm()
    init: list[InitStep] = []
    poll: Polling | None = None
    alive: Alive | None = None
    press: Pressing = Pressing()
    idle_ms: Annotated[int, Meta(ge=20, le=5000)] = 200
    """Half a frame is given up after so long a silence."""
    echo: bool = False
    """The line may give our own bytes back."""
    hid: Hid | None = None
    modbus: Modbus | None = None
    udp: Udp | None = None
    keys: dict[Key, KeyMeaning] = {}
    """What the keys mean on this very device, where somebody has confirmed it. No shipped profile has any but
    that of our own page, whose keys are the levels."""
