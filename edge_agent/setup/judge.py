"""A line's bytes for a person who looks for the right profile: in hex, what they mean, which profiles read them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from protocols import profiles
from protocols.profiles.events import Beat, Noise, Pressed
from protocols.profiles.profile import Profile
from protocols.profiles.readers import Reader
from protocols.profiles.rules import Heard
from protocols.words import Words

from ..doctor.desk import BAUDS
from ..doctor.monitor import Row, Rows, Sign, Watch, told
from ..doctor.words import NOTHING
from ..tap import Piece

_ROWS_MAX = 16  # a screen of them
_FORMS = ("house", "frame", "text", "byte")
"""The more a form demands of its bytes, the less likely is it read into others by chance."""


@dataclass
class Reading:
    """How one profile gets on with these bytes."""

    profile: Profile
    _reader: Reader
    presses: int = 0
    beats: int = 0
    noise: int = 0
    last: Words = NOTHING
    devices: list[str] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    _counted: tuple[str, int | None, int | None] | None = None

    @property
    def reads(self) -> bool:
        """Whether it makes sense of them, and of all of them."""
        return self.presses + self.beats > 0 and self.noise == 0

    def feed(self, out: bool, data: bytes, now_ms: int) -> Words:
        """What these bytes say by this profile; nothing where they say nothing yet."""
        if out:
            self._reader.sent(data, now_ms)
            return NOTHING
        return self._take(self._reader.quiet(now_ms) + self._reader.feed(data, now_ms))

    def quiet(self, now_ms: int) -> Words:
        return self._take(self._reader.quiet(now_ms))

    def _take(self, heard: Iterable[Heard]) -> Words:
        said = NOTHING
        for event, _ in heard:
            said = _short(told(event))
            if isinstance(event, Pressed):
                # A device that nobody thanks yet says one press again and again.
                which = (event.device, event.boot, event.count)
                self.presses += event.count is None or which != self._counted
                self._counted = which
                _note(self.keys, event.key)
                _note(self.devices, event.device)
            elif isinstance(event, Beat):
                self.beats += 1
                _note(self.devices, event.device)
            elif isinstance(event, Noise):
                self.noise += 1
            self.last = said
        return said


def _short(words: Words) -> Words:
    """Without its bytes, which stand beside it."""
    return Words(words.zh.partition("  [")[0], words.en.partition("  [")[0])


def _note(seen: list, one: object) -> None:  # type: ignore[type-arg]
    if one not in seen and len(seen) < 32:
        seen.append(one)


@dataclass(frozen=True)
class Shown:
    """A row and what it means by the profile that reads best."""

    row: Row
    words: Words


class Judge:
    """Fed with all that goes over a line; bounded."""

    def __init__(self, baud: int):
        self._watch = Watch(baud, BAUDS)
        self._rows = Rows()
        self._shown: deque[tuple[Row, dict[str, Words]]] = deque(maxlen=_ROWS_MAX)
        self._said: dict[str, Words] = {}
        self._readings = [Reading(each, each.reader()) for each in _serial()]
        self.bytes = 0
        self.keys = 0
        """Pieces in which some profile saw a key."""

    def feed(self, out: bool, data: bytes, now_ms: int) -> None:
        """These bytes were read or written (`out`), perhaps none."""
        self._watch.feed(out, data, now_ms)
        rows = self._rows.feed(out, data, now_ms)
        self._show(rows)
        for reading in self._readings:
            said = reading.feed(out, data, now_ms) if data else reading.quiet(now_ms)
            if said != NOTHING:
                self._said[reading.profile.id] = said
        self.bytes += 0 if out else len(data)

    def rest(self) -> None:
        """Nothing more comes for now."""
        self._show(self._rows.rest())

    def _show(self, rows: list[Row]) -> None:
        if rows:
            # A frame is longer than a row of a terminal, and one thing to a person.
            whole = Row(rows[0].at_ms, rows[0].out, " ".join(each.hex for each in rows), "".join(e.text for e in rows))
            self._shown.append((whole, dict(self._said)))
            self._said.clear()

    def signs(self) -> list[Sign]:
        """What the bytes look like."""
        return self._watch.signs()

    def readings(self) -> list[Reading]:
        """The profiles that read them, the likeliest first."""
        found = [reading for reading in self._readings if reading.reads]
        return sorted(found, key=lambda reading: (_FORMS.index(reading.profile.shape.form), -reading.presses))

    def shown(self) -> list[Shown]:
        """The last rows, the newest first."""
        best = next((reading.profile.id for reading in self.readings()), "")
        return [Shown(row, said.get(best, NOTHING)) for row, said in reversed(self._shown)]


def _serial() -> list[Profile]:
    every = [profiles.shipped(name) for name in profiles.SHIPPED]
    return [each for each in every if each.shape.transport == "serial" and each.shape.form in _FORMS]


def of_tap(pieces: Iterable[Piece], baud: int) -> Judge:
    """The same for a line that a window is using."""
    judge = Judge(baud)
    for piece in pieces:
        judge.feed(piece.out, piece.data, piece.at_ms)
    judge.rest()
    return judge
