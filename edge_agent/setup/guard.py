"""Who is let in: sessions kept here and not in the browser, wrong passwords slowed down, addresses that are ours.

Loopback is no wall: every page in the browser of this machine can call it. So each call is asked for the name it called
us by (another name than ours is DNS rebinding), each change for its origin and for the word that its form was given.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from protocols.ratings import Moment

from ..config import is_loopback
from ..hall_it import write_private

IDLE_MS = 60 * 60_000  # a technician is called away to another window
LIFE_MS = 12 * 3_600_000
_SESSIONS_MAX = 32  # hall IT has a handful of people; the oldest goes
_FREE_TRIES = 3
_WAIT_FIRST_MS = 5_000
_WAIT_MAX_MS = 15 * 60_000
_HANDED_OVER_MS = 120_000  # a restart takes seconds
_FILE = "setup.sessions"


@dataclass(frozen=True)
class _Session:
    mark: str
    """Of the password that it was begun with: with another one it is over."""
    ends_ms: int
    idle_ms: int


class Sessions:
    """Who is signed in. A token is known by its hash alone."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._open: OrderedDict[str, _Session] = OrderedDict()

    def begin(self, mark: str, now: Moment) -> str:
        """A new session under the password of this mark; its token, for a cookie."""
        token = secrets.token_urlsafe(32)
        self._open[_hash(token)] = _Session(mark, now.mono_ms + LIFE_MS, now.mono_ms + IDLE_MS)
        while len(self._open) > _SESSIONS_MAX:
            self._open.popitem(last=False)
        return token

    def knows(self, token: str, mark: str, now: Moment) -> bool:
        """Whether this one is signed in under the password of this mark, and has then been seen just now."""
        name = _hash(token)
        session = self._open.get(name)
        if session is None:
            return False
        if session.mark != mark or now.mono_ms >= min(session.ends_ms, session.idle_ms):
            self._open.pop(name, None)
            return False
        self._open[name] = _Session(mark, session.ends_ms, now.mono_ms + IDLE_MS)
        return True

    def end(self, token: str) -> None:
        """Signed out."""
        self._open.pop(_hash(token), None)

    def new_visitor(self) -> str:
        """What marks a visitor who has not signed in, for the forms that let them."""
        return secrets.token_urlsafe(16)

    def form_word(self, token: str) -> str:
        """What every form of this visitor carries, so that no other page can send one."""
        return hmac.new(self._key, token.encode(), sha256).hexdigest()

    def is_form_word(self, token: str, given: str) -> bool:
        return hmac.compare_digest(self.form_word(token).encode(), given.encode())

    # ---- over a restart

    def hand_over(self, folder: Path, now: Moment) -> None:
        """Leave word for the program that starts next who is signed in: hashes, of no use to who finds them."""
        write_private(
            folder / _FILE,
            json.dumps({"at_ms": now.wall_ms, "sessions": {name: each.mark for name, each in self._open.items()}}),
        )

    def take_over(self, folder: Path, now: Moment) -> None:
        """Let those in who were signed in before the restart; only just after it, and once."""
        file = folder / _FILE
        try:
            left = json.loads(file.read_bytes())
            file.unlink()
            if 0 <= now.wall_ms - left["at_ms"] < _HANDED_OVER_MS:
                for name, mark in left["sessions"].items():
                    self._open[str(name)] = _Session(str(mark), now.mono_ms + LIFE_MS, now.mono_ms + IDLE_MS)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # nobody left word, or nothing that can be read: they sign in


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()


class Tries:
    """Wrong passwords, and how long nobody may try any more: longer each time. One password, so one count for all."""

    def __init__(self) -> None:
        self._wrong = 0
        self._until_ms = 0

    def wait_s(self, now: Moment) -> int:
        """How long until the next try is looked at; 0 if at once."""
        return max(0, -(-(self._until_ms - now.mono_ms) // 1000))

    def wrong(self, now: Moment) -> None:
        self._wrong += 1
        if self._wrong >= _FREE_TRIES:
            wait_ms = _WAIT_FIRST_MS * 2 ** min(self._wrong - _FREE_TRIES, 20)
            self._until_ms = now.mono_ms + min(wait_ms, _WAIT_MAX_MS)

    def right(self) -> None:
        self._wrong = self._until_ms = 0


# ---- addresses


def is_ours(host: str, port: str, door_host: str) -> bool:
    """Whether a browser that calls us `host` (a Host header) means us: this machine, by number or as localhost."""
    try:
        called = urlsplit(f"//{host}")
        name, number = called.hostname or "", called.port or 80
    except ValueError:
        return False
    if str(number) != port:
        return False
    if is_loopback(name) or name == door_host.lower():
        return True
    # An address that was typed as a number cannot be another's name for us.
    return not is_loopback(door_host) and _is_number(name)


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_from_us(origin: str | None, host: str) -> bool:
    """Whether a form comes from a page of ours; browsers say where every POST comes from."""
    return origin == f"http://{host}"
