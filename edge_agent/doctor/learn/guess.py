"""What an inference comes to: the parts of a profile, to be tried on the recording that they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from protocols.profiles.rules import number_of
from protocols.profiles.vocabulary import Bare, Expected, Form, Framing, Pressing, Rule, Vector
from protocols.words import Words

from .samples import GAP_MS, Push


@dataclass(frozen=True)
class Guess:
    """A profile without its name."""

    form: Form
    rules: list[Rule]
    vectors: list[Vector]
    press: Pressing
    notes: tuple[Words, ...] = ()
    frame: Framing | None = None
    bare: Bare = field(default_factory=Bare)
    noise: frozenset[bytes] = frozenset()
    """Bytes of the recording that this profile does not explain."""


def hexed(data: bytes) -> str:
    return data.hex(" ").upper()


def key_rules(codes: Mapping[int, int]) -> tuple[str, str] | None:
    """The key form by which these bytes are their keys' numbers, and the bytes; None if they are not."""
    for form in ("number", "digit", "bit"):
        if all(number_of(byte, form) == key for key, byte in codes.items()):
            return form, ranges(sorted(codes.values()))
    return None


def ranges(values: Sequence[int]) -> str:
    """`01..06 0B`"""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return " ".join(f"{run[0]:02X}" if len(run) == 1 else f"{run[0]:02X}..{run[-1]:02X}" for run in runs)


def pressing(moments: Sequence[Sequence[int]]) -> tuple[Pressing, tuple[Words, ...]]:
    """What may be believed of presses that were said at these times, push by push."""
    spans = [times[-1] - times[0] for times in moments if len(times) > 1 and times[1] - times[0] > 2 * GAP_MS]
    if 2 * len(spans) <= len(moments):
        return Pressing(solicited=False), ()
    same_ms = min(60_000, max(1000, -(-max(spans) * 5 // 400) * 100))
    note = Words(
        "按一次会重发几次; 设备要等什么回答, 听不出来, 请问厂家",
        "it says a press several times; what answer it waits for cannot be heard: ask its maker",
    )
    return Pressing(solicited=False, repeats=True, same_ms=same_ms), (note,)


def key_vector(data: bytes, key: int, count: int | None = None) -> Vector:
    return Vector(read=hexed(data), expect=[Expected("key", key=key, count=count)])


def by_key(pushes: Sequence[Push]) -> dict[int, list[Push]]:
    """The pushes of each key."""
    return {key: [push for push in pushes if push.key == key] for key in sorted({push.key for push in pushes})}
