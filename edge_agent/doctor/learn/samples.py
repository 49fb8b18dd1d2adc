"""What a labelled recording holds: bytes in groups, by what the person was asked to do at the time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from protocols.words import Words

from ..recording import Label, Recording
from ..words import NOTHING

GAP_MS = 30  # a USB adapter hands bytes over in lumps up to 16 ms apart; nobody presses and lets go so fast
PRESSES_MIN = 3  # two of a kind may be chance
_KEY = re.compile(r"key (\d{1,3})\b.*")


@dataclass(frozen=True)
class Unsure:
    """No profile is proposed: what is not known, and why."""

    what: Words
    why: Words
    keys: tuple[int, ...] = ()
    """The keys that should be pressed once more, where it lies with some of them."""
    detail: Words = NOTHING
    """Which bytes, for who looks at the recording."""


@dataclass(frozen=True)
class Group:
    """Bytes that came without a pause."""

    at_ms: int
    data: bytes


@dataclass(frozen=True)
class Push:
    """What came while the person was asked to press this key once."""

    key: int
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Samples:
    """All that was recorded."""

    idle: tuple[Group, ...]
    pushes: tuple[Push, ...]

    @property
    def keys(self) -> list[int]:
        return sorted({push.key for push in self.pushes})


def idle_label() -> str:
    """The label of a time in which nobody presses."""
    return "idle"


def key_label(key: int, press: int) -> str:
    """The label of one press of a key."""
    return f"key {key} press {press}"


def key_of(label: str) -> int | None:
    """Which key was pressed under this label; None for any other."""
    found = _KEY.fullmatch(label)
    return int(found[1]) if found else None


def samples_of(recording: Recording) -> Samples:
    """The recording by its labels; what stands before the first counts as idle."""
    idle: list[Group] = []
    pushes: list[Push] = []
    for label, groups in _sections(recording):
        key = key_of(label)
        if key is None:
            idle += groups
        else:
            pushes.append(Push(key, tuple(groups)))
    return Samples(tuple(idle), tuple(pushes))


@dataclass
class _Section:
    label: str
    groups: list[Group] = field(default_factory=list)
    last_ms: int = -GAP_MS

    def add(self, at_ms: int, data: bytes) -> None:
        if self.groups and at_ms - self.last_ms < GAP_MS:
            last = self.groups.pop()
            at, data = last.at_ms, last.data + data
        else:
            at = at_ms
        self.groups.append(Group(at, data))
        self.last_ms = at_ms


def _sections(recording: Recording) -> Iterator[tuple[str, list[Group]]]:
    section = _Section(idle_label())
    for entry in recording.entries:
        if isinstance(entry, Label):
            yield section.label, section.groups
            section = _Section(entry.text)
        elif not entry.out:
            section.add(entry.at_ms, entry.data)
    yield section.label, section.groups


def enough(samples: Samples) -> Unsure | None:
    """Whether there is enough to go by; if not, what is missing."""
    what = Words("录制还不够", "there is not enough to go by")
    if len(samples.keys) < 2:
        return Unsure(what, Words("至少要按两个不同的键", "at least two different keys have to be pressed"))
    silent = Counter(push.key for push in samples.pushes if not push.groups)
    if silent:
        keys = _listed(sorted(silent))
        return Unsure(
            what,
            Words(f"按键 {keys} 按下时有时没有字节", f"key {keys} was pressed and at times said nothing"),
            tuple(sorted(silent)),
        )
    few = [key for key, presses in Counter(push.key for push in samples.pushes).items() if presses < PRESSES_MIN]
    if few:
        keys = _listed(sorted(few))
        words = Words(
            f"按键 {keys} 按得太少, 每键要 {PRESSES_MIN} 次",
            f"key {keys} was pressed too seldom, each needs {PRESSES_MIN} presses",
        )
        return Unsure(what, words, tuple(sorted(few)))
    return None


def _listed(keys: Sequence[int]) -> str:
    return ", ".join(map(str, keys))
