"""What somebody has typed: as the number that it is, and kept here between two of their pages, so that no secret has to
travel there and back."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from hashlib import sha256

_TYPED_MAX = 32  # each up to the size of a page's form; hall IT has a handful of people, and the oldest goes
_DIGITS_MAX = 18  # Python itself refuses what has thousands, and no number of a form has so many


class Typed:
    """Each text is known by an id that its form carries, in the session alone that typed it."""

    def __init__(self) -> None:
        self._texts: OrderedDict[tuple[str, str], str] = OrderedDict()

    def keep(self, token: str, text: str) -> str:
        """Keep this for the session of `token`; its id."""
        id = secrets.token_urlsafe(16)
        self._texts[_hash(token), id] = text
        while len(self._texts) > _TYPED_MAX:
            self._texts.popitem(last=False)
        return id

    def of(self, token: str, id: str) -> str | None:
        """The text of this id; None if this session has typed none, or too long ago."""
        return self._texts.get((_hash(token), id))

    def forget(self, token: str) -> None:
        """All that this session has typed."""
        for known in [each for each in list(self._texts) if each[0] == _hash(token)]:
            self._texts.pop(known, None)


def number_of(text: str) -> int | None:
    """The number that was typed, in digits of any script as a Chinese keyboard has them; None if it is none."""
    return int(text) if text.isdecimal() and len(text) <= _DIGITS_MAX else None


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()
