"""Passwords and PINs as they are kept: salt and scrypt, so that nobody reads them from a file."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import NamedTuple

_SALT_BYTES = 16
_BLOCK = 8  # scrypt's own usual


class Cost(NamedTuple):
    """What each try costs, for us and for whoever stole the file."""

    memory: int
    """In steps of 1,024 bytes; a power of two."""
    times: int


class Hashed(NamedTuple):
    """A word that can be recognised and not read."""

    salt: bytes
    hash: bytes


def hashed(word: str, cost: Cost) -> Hashed:
    """This word, with a salt of its own."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return Hashed(salt, _scrypt(word, salt, cost))


def fits(word: str, kept: Hashed, cost: Cost) -> bool:
    """Whether this is the word."""
    return hmac.compare_digest(_scrypt(word, kept.salt, cost), kept.hash)


def nobodys() -> Hashed:
    """What no word fits: to look at it takes as long as at any other."""
    return Hashed(bytes(_SALT_BYTES), bytes(64))


def _scrypt(word: str, salt: bytes, cost: Cost) -> bytes:
    return hashlib.scrypt(word.encode(), salt=salt, n=cost.memory, r=_BLOCK, p=cost.times, maxmem=64 * 1024 * 1024)
