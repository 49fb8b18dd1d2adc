"""What a peer can get wrong; each error carries what failed."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .words import SLASH, Language, Words

_WHERE = re.compile(r"(?:[\w.\[\]-]+: )*", re.ASCII)


class ProtocolError(Exception):
    """Somebody else's bytes or values are not what was agreed."""


class BadMessage(ProtocolError):
    """A message that is not ours. Its bytes are kept for the quarantine."""

    def __init__(self, reason: str, payload: bytes = b""):
        super().__init__(reason)
        self.reason = reason
        self.payload = payload


class Mistake(str):
    """A mistake in a configuration: `where: Chinese / English` as text, for a terminal or a log, and whole in one
    language where it is asked for so."""

    where: str
    """The file and the key in it, `agent.toml: uplink.port`; empty where it is about none."""
    words: Words

    def __new__(cls, where: str, words: Words) -> Mistake:
        made = super().__new__(cls, _at(where, str(words)))
        made.where, made.words = where, words
        return made

    @classmethod
    def read(cls, text: str) -> Mistake:
        """Of one that is written as its text is. Both languages name the same values, so that of several ` / ` the one
        in the middle stands between them."""
        found = _WHERE.match(text)
        where = found[0] if found is not None else ""
        parts = text.removeprefix(where).split(SLASH)
        half = len(parts) // 2
        return cls(where.removesuffix(": "), Words(SLASH.join(parts[:half] or parts), SLASH.join(parts[half:])))

    def under(self, where: str) -> Mistake:
        """The same, in this file or table."""
        return Mistake(_at(where, self.where) if self.where else where, self.words)

    def said(self, language: Language) -> str:
        """With its place, in this language alone."""
        return self.whole.said(language)

    @property
    def whole(self) -> Words:
        """With its place, in each language."""
        return Words(_at(self.where, self.words.zh), _at(self.where, self.words.en))


def _at(where: str, words: str) -> str:
    return f"{where}: {words}" if where else words


class BadSettings(ProtocolError):
    """A configuration that cannot be used; `mistakes` names every one of them."""

    def __init__(self, mistakes: Iterable[str]):
        self.mistakes = [each if isinstance(each, Mistake) else Mistake.read(each) for each in mistakes]
        super().__init__("\n".join(self.mistakes))
