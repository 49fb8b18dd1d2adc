"""Frames told apart by kind: which are presses, which are releases, and which have nothing to do with a key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .samples import Samples

FRAME_MAX = 64  # bytes; what is longer is no press
_KINDS_AT_MAX = 16  # a byte that says what a frame is stands near its beginning
_IDLE = -1


@dataclass(frozen=True)
class Frame:
    """One frame, and during which push it came."""

    data: bytes
    at_ms: int
    push: int
    """Number of the push, or -1 while nobody pressed."""
    key: int
    """What was being pressed, or -1."""


Kind = tuple[Frame, ...]


@dataclass(frozen=True)
class Parting:
    """One way to tell the frames apart."""

    presses: Kind
    releases: tuple[Kind, ...]
    others: tuple[Kind, ...]


def frames_of(samples: Samples) -> list[Frame]:
    """Each group as a frame; those that ran into each other are cut."""
    groups = [(group, _IDLE, _IDLE) for group in samples.idle]
    groups += [(group, number, push.key) for number, push in enumerate(samples.pushes) for group in push.groups]
    seen = Counter(_outline(group.data) for group, _, _ in groups)
    return [
        Frame(data, group.at_ms, push, key)
        for group, push, key in groups
        for data in (_cut(group.data, _more_usual(group.data, seen)) or [group.data])
    ]


def _outline(data: bytes) -> tuple[int, int]:
    return len(data), data[0]


def _more_usual(data: bytes, seen: Counter[tuple[int, int]]) -> set[tuple[int, int]]:
    """What is seen so much more often than this that this may be several of them."""
    mine = seen[_outline(data)]
    return {outline for outline, times in seen.items() if times >= max(3, 2 * mine) and outline[0] < len(data)}


def _cut(data: bytes, usual: set[tuple[int, int]]) -> list[bytes] | None:
    """The usual frames that these bytes are, one after the other."""
    if len(data) > 4 * FRAME_MAX:
        return None
    if _outline(data) in usual:
        return [data]
    for size, first in sorted(usual):
        if first == data[0] and size < len(data) and (rest := _cut(data[size:], usual)) is not None:
            return [data[:size], *rest]
    return None


def partings(frames: Sequence[Frame]) -> Iterator[Parting]:
    """Every way to tell presses from the rest, the plainest first."""
    pushes = {frame.push for frame in frames} - {_IDLE}
    seen: set[frozenset[int]] = set()
    # First by what nobody presses, then what is left by press and release.
    for at in (None, *range(_KINDS_AT_MAX)):
        active, others = _active(_kinds(frames, at), pushes)
        if not active:
            continue
        for parting in _press_and_release(active, others, pushes):
            mark = frozenset(id(frame) for frame in parting.presses)
            if mark not in seen:
                seen.add(mark)
                yield parting


def _kinds(frames: Sequence[Frame], at: int | None) -> list[Kind]:
    """The frames by their length, and by their byte there."""
    kinds: dict[tuple[int, int], list[Frame]] = {}
    for frame in frames:
        byte = frame.data[at] if at is not None and at < len(frame.data) else -1
        kinds.setdefault((len(frame.data), byte), []).append(frame)
    return [tuple(kind) for kind in kinds.values()]


def _active(kinds: Sequence[Kind], pushes: set[int]) -> tuple[list[Kind], list[Kind]]:
    """Those that come with every push and never without, the first to come first; and the others."""
    active = [kind for kind in kinds if {frame.push for frame in kind} == pushes and len(kind[0].data) <= FRAME_MAX]
    active.sort(key=lambda kind: sum(_first_ms(kind).values()))
    return active, [kind for kind in kinds if kind not in active]


def _first_ms(kind: Kind) -> dict[int, int]:
    first: dict[int, int] = {}
    for frame in kind:
        first.setdefault(frame.push, frame.at_ms)
    return first


def _press_and_release(active: list[Kind], others: list[Kind], pushes: set[int]) -> Iterator[Parting]:
    presses, *releases = active
    rest = tuple(others)
    yield Parting(presses, tuple(releases), rest)
    for at in range(min(_KINDS_AT_MAX, len(presses[0].data))):
        down, up = _active(_kinds(presses, at), pushes)
        if len(down) > 1:
            yield Parting(down[0], (*down[1:], *releases), (*up, *rest))
    # No one byte tells them apart, but a finger goes down before it goes up.
    first: dict[int, bytes] = {}
    for frame in presses:
        first.setdefault(frame.push, frame.data)
    up_again = tuple(frame for frame in presses if frame.data != first[frame.push])
    if up_again:
        yield Parting(tuple(frame for frame in presses if frame.data == first[frame.push]), (up_again, *releases), rest)
