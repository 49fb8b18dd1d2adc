"""The presses that were counted, key by key, and whether another looks like the key that was asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from .samples import PRESSES_MIN

_ANEW_MAX = 2

Look = int | Literal["fits", "odd", "anew"]
"""Another key's number; that it may be the one asked for; that it is not what this key said; or that of what this key
said before one was wrong, nobody knows which."""


@dataclass
class Pushes:
    """What each key said, without what changes from press to press."""

    _said: dict[int, list[bytes]] = field(default_factory=dict)
    _refused: list[bytes] = field(default_factory=list)
    _pressed_anew: Counter[int] = field(default_factory=Counter)
    _words: dict[int, list[int]] = field(default_factory=dict)
    """How many different things came within each press."""

    def look(self, key: int, said: bytes) -> Look:
        """What this press of `key` looks like."""
        mine = self._said.get(key, [])
        if len(mine) == PRESSES_MIN - 1 and self._doubts(key) and _one_is_other([*mine, said]):
            return "anew"
        if any(self._same(said, each) for each in mine):
            return "fits"
        like = [other for other, each in self._said.items() if other != key and any(self._same(said, o) for o in each)]
        if like:
            # Who insists gets it counted: it may be that two keys do say the same.
            return like[0] if len(self._refused) < PRESSES_MIN - 1 else "fits"
        if not mine:
            return "fits"
        if self._finished():
            return "anew" if any(self._same(said, each) for each in self._refused) else "odd"
        return "fits"

    def several(self, key: int, words: int) -> bool:
        """Whether so many different things are more than one press of `key` says: there were two."""
        return self._finished() and words > max(max(each) for each in self._words.values() if len(each) >= PRESSES_MIN)

    def uneven(self, key: int, words: int) -> bool:
        """Whether one of the first key's presses said more than the others: it was two."""
        mine = self._words.get(key, [])
        return len(mine) == PRESSES_MIN - 1 and self._doubts(key) and len({*mine, words}) > 1

    def count(self, key: int, said: bytes, words: int = 1) -> None:
        self._said.setdefault(key, []).append(said)
        self._words.setdefault(key, []).append(words)
        self._refused.clear()

    def refuse(self, said: bytes) -> None:
        self._refused.append(said)

    def doubt(self, key: int) -> None:
        """Of what this key said one was wrong."""
        self._pressed_anew[key] += 1

    def forget(self, key: int) -> None:
        """The key is pressed again from its first press."""
        self._said.pop(key, None)
        self._words.pop(key, None)
        self._refused.clear()

    def _doubts(self, key: int) -> bool:
        """Whether nothing is known yet but this key; not for ever, as the upper byte of a number may move."""
        return not self._finished() and self._pressed_anew[key] < _ANEW_MAX

    def _finished(self) -> bool:
        """Whether it is known by now what changes from press to press."""
        return any(len(said) >= PRESSES_MIN for said in self._said.values())

    def _same(self, one: bytes, two: bytes) -> bool:
        loose = self._loose(len(one))
        return len(one) == len(two) and all(
            a == b or at in loose for at, (a, b) in enumerate(zip(one, two, strict=True))
        )

    def _loose(self, size: int) -> set[int]:
        """The bytes that were not the same in all presses of one key: a number, a checksum."""
        groups = [[each for each in said if len(each) == size] for said in self._said.values()]
        return {at for group in groups for at in range(size) if len({each[at] for each in group}) > 1}


def _one_is_other(three: list[bytes]) -> bool:
    """Whether one of three differs where the others agree: a number that rises is different in all."""
    if len({len(each) for each in three}) > 1:
        return True
    return any(len({each[at] for each in three}) == 2 for at in range(len(three[0])))
