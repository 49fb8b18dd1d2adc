"""A line written down: a text file that anyone can read, one line for each read or write, with labels between.

    # edge-agent recording 1
    # port: COM3
    # line: 9600 8N1

    # key 1 press 1
    1204 < AA 55 03 01 01 AA
    1230 > AA 55 02 81 A8

Milliseconds since the recording began, `<` from the device or `>` to it, bytes in hex; a line with `#` is a label.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from protocols.profiles.events import Event
from protocols.profiles.profile import Profile
from protocols.words import Words

FIRST_LINE = "# edge-agent recording 1"
TEXT_MAX = 4 * 1024 * 1024  # an hour of a busy line; nobody reads a longer one
PIECE_MAX = 4096  # what one read gives at most; a longer line can no longer be looked at
LABEL_MAX = 200
TIME_MAX_MS = 7 * 86_400_000  # a week
_ENTRY = re.compile(r"(\d{1,10})\s+([<>])((?:\s+[0-9A-Fa-f]{2})+)")


class BadRecording(Exception):
    """A text that is no recording: which line of it, and what is wrong there."""

    def __init__(self, line: int, words: Words):
        super().__init__(f"第 {line} 行 / line {line}: {words.zh} / {words.en}")
        self.line = line
        self.words = words


@dataclass(frozen=True)
class Piece:
    """Bytes of one read or write."""

    at_ms: int
    out: bool
    """Whether they went to the device."""
    data: bytes


@dataclass(frozen=True)
class Label:
    """A remark: what was being done from here on."""

    text: str


Entry = Piece | Label


@dataclass(frozen=True)
class Recording:
    """What was read and written, in order."""

    entries: tuple[Entry, ...] = ()
    port: str = ""
    line: str = ""
    profile: str = ""

    def pieces(self) -> Iterator[Piece]:
        return (entry for entry in self.entries if isinstance(entry, Piece))


@dataclass
class Recorder:
    """Takes down what happens; bounded, so that a line that never stops cannot fill the disk."""

    entries: list[Entry] = field(default_factory=list)
    full: bool = False
    _room: int = TEXT_MAX

    def heard(self, data: bytes, at_ms: int) -> list[Entry]:
        """These bytes came from the device; what was taken down of them."""
        return self._keep(data, at_ms, out=False)

    def said(self, data: bytes, at_ms: int) -> list[Entry]:
        """These bytes went to it."""
        return self._keep(data, at_ms, out=True)

    def label(self, text: str) -> list[Entry]:
        """From here on, this is being done."""
        return self._take([Label(label_text(text))])

    def forget(self, begin: int, end: int | None = None) -> None:
        """These entries are no part of it."""
        self._room += sum(len(write_entry(entry)) for entry in self.entries[begin:end])
        del self.entries[begin:end]

    def _keep(self, data: bytes, at_ms: int, out: bool) -> list[Entry]:
        return self._take([Piece(at_ms, out, data[at : at + PIECE_MAX]) for at in range(0, len(data), PIECE_MAX)])

    def _take(self, entries: list[Entry]) -> list[Entry]:
        kept: list[Entry] = []
        for entry in entries:
            self._room -= len(write_entry(entry))
            if self._room < len(FIRST_LINE) + 4 * LABEL_MAX:  # room for the first lines
                self.full = True
                break
            kept.append(entry)
        self.entries += kept
        return kept


def label_text(text: str) -> str:
    """As much of it as a label can hold."""
    return " ".join(text.split()).lstrip("# ")[:LABEL_MAX].strip()


# ---- the pair


def write(recording: Recording) -> str:
    """The recording as text."""
    return write_head(recording) + "".join(write_entry(entry) for entry in recording.entries)


def write_head(recording: Recording) -> str:
    """Its first lines, and the empty one that ends them."""
    facts = (("port", recording.port), ("line", recording.line), ("profile", recording.profile))
    said = [f"# {name}: {label_text(value)}" for name, value in facts if label_text(value)]
    return "\n".join([FIRST_LINE, *said, "", ""])


def write_entry(entry: Entry) -> str:
    """One line of it."""
    if isinstance(entry, Label):
        return f"# {entry.text}\n"
    return f"{entry.at_ms} {'>' if entry.out else '<'} {entry.data.hex(' ').upper()}\n"


def read(text: str) -> Recording:
    """The recording that this text holds; BadRecording names the line that is wrong."""
    if len(text) > TEXT_MAX:
        raise BadRecording(1, Words(f"太长, 最多 {TEXT_MAX} 字符", f"too long, at most {TEXT_MAX} characters"))
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    if lines[0].strip() != FIRST_LINE:
        raise BadRecording(1, Words(f"不是录制文件, 首行应为 {FIRST_LINE!r}", f"no recording, expected {FIRST_LINE!r}"))
    facts, begins = _head(lines)
    return Recording(tuple(_entries(lines, begins)), facts["port"], facts["line"], facts["profile"])


def _head(lines: list[str]) -> tuple[dict[str, str], int]:
    """What the first lines say, and where the others begin."""
    facts = dict.fromkeys(("port", "line", "profile"), "")
    for at, line in enumerate(lines[1:], 1):
        name, colon, value = line.removeprefix("#").partition(":")
        if not (line.startswith("#") and colon and name.strip() in facts):
            return facts, at
        facts[name.strip()] = label_text(value)
    return facts, len(lines)


def _entries(lines: list[str], begins: int) -> Iterator[Entry]:
    last_ms = 0
    for number, line in enumerate(lines[begins:], begins + 1):
        line = line.strip()
        if line.startswith("#"):
            yield Label(label_text(line))
        elif line:
            piece = _piece(number, line)
            if not last_ms <= piece.at_ms <= TIME_MAX_MS:
                raise BadRecording(number, Words("时间倒退或过大", "the time goes back, or is too large"))
            last_ms = piece.at_ms
            yield piece


def _piece(number: int, line: str) -> Piece:
    found = _ENTRY.fullmatch(line)
    if found is None:
        words = Words("应为 毫秒 < 或 > 十六进制字节", "expected milliseconds, < or >, bytes in hex")
        raise BadRecording(number, words)
    data = bytes.fromhex(found[3])
    if len(data) > PIECE_MAX:
        raise BadRecording(number, Words(f"一行最多 {PIECE_MAX} 字节", f"at most {PIECE_MAX} bytes in a line"))
    return Piece(int(found[1]), found[2] == ">", data)


# ---- read again


@dataclass(frozen=True)
class Understood:
    """What a profile understands, and when; or a label that stood there."""

    at_ms: int
    what: Event | Label


def replayed(recording: Recording, profile: Profile) -> Iterator[Understood]:
    """The recording through a profile's reader, in its own time; no port is touched and nobody waits."""
    reader = profile.reader()
    now_ms = 0
    for at_ms, entry in _timed(recording.entries):
        while (due_ms := reader.next_ms()) is not None and due_ms <= at_ms:
            yield from (Understood(due_ms, heard.event) for heard in reader.quiet(due_ms))
        if isinstance(entry, Label):
            yield Understood(now_ms, entry)
            continue
        now_ms = entry.at_ms
        if entry.out:
            reader.sent(entry.data, now_ms)
        else:
            yield from (Understood(now_ms, heard.event) for heard in reader.feed(entry.data, now_ms))
    while (due_ms := reader.next_ms()) is not None:
        yield from (Understood(due_ms, heard.event) for heard in reader.quiet(due_ms))


def _timed(entries: Sequence[Entry]) -> list[tuple[int, Entry]]:
    """Each with its time; a label has that of what comes after it."""
    timed: list[tuple[int, Entry]] = []
    at_ms = TIME_MAX_MS
    for entry in reversed(entries):
        at_ms = entry.at_ms if isinstance(entry, Piece) else at_ms
        timed.append((at_ms, entry))
    return timed[::-1]


def paced(recording: Recording) -> Iterator[tuple[int, bytes]]:
    """What the device said, each with how long after the one before, for a line that is to say it again."""
    last_ms = 0
    for piece in recording.pieces():
        if not piece.out:
            yield piece.at_ms - last_ms, piece.data
            last_ms = piece.at_ms
