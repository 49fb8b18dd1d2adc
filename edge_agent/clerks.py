"""Who serves at the windows: clerks with their cards and PINs, who sits where just now, and where there is a pause.

Two files beside the settings: `clerks.json`, which hall IT fills in, and `seats.json`, which the clerks change by
signing in. Neither holds anything of a citizen.
"""

from __future__ import annotations

import codecs
import hashlib
import logging
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from protocols.bodies import PRINTABLE
from protocols.errors import BadSettings, Mistake
from protocols.words import Words

from .hall_it import write_private
from .hashed import Cost, Hashed, fits, hashed, nobodys

log = logging.getLogger(__name__)
S = TypeVar("S", bound=msgspec.Struct)

PIN_MIN = 4  # digits or letters: it opens a page that cannot rate
PIN_SHORT = f"口令至少 {PIN_MIN} 位 / a PIN has at least {PIN_MIN} characters"
CARD_WRONG = "工号用字母、数字和 -, 姓名至多 20 字 / number: letters, digits and -, name: at most 20 characters"
_TRIES = 5  # wrong PINs of a clerk before the next one has to wait
_WAIT_MS = 30_000  # so long, and twice as long after each further one
_WAIT_MAX_MS = 15 * 60_000
# 4 MB and a few milliseconds: a window PC is small, and the delay above is what holds a guesser up.
_COST = Cost(memory=2**12, times=1)
_HIDDEN = re.compile(r"[0-9a-f]{32}:[0-9a-f]{128}", re.ASCII)
_ENDED_MAX = 1_000  # sign-ins that were ended before their shift was over: days of a hall
PHOTOS = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
PHOTO_MAX = 512 * 1024  # bytes; a card's photo is a hand wide

Number = Annotated[str, Meta(min_length=1, max_length=20, pattern=r"^[0-9A-Za-z-]+\Z")]
"""What stands on the card: the clerk's number in the hall."""


class Clerk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One clerk, as the idle page shows them."""

    number: Number
    name: Annotated[str, Meta(max_length=20, pattern=PRINTABLE)] = ""
    stars: Annotated[int, Meta(ge=0, le=5)] = 0
    """How many the hall has awarded; 0 shows none."""
    photo: Annotated[str, Meta(max_length=100, pattern=r"^[^/\\]*\Z")] = ""
    """A file in the folder `photos` beside this one."""
    pin: str = ""
    """Salt and scrypt of it, in hex; empty for a clerk who cannot sign in."""


class _Clerks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    clerks: list[Clerk] = []


class Seat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who sits at a window, and whether it serves."""

    clerk: Annotated[str, Meta(max_length=20, pattern=r"^[0-9A-Za-z-]*\Z")] = ""
    """Their number; empty for nobody."""
    paused: bool = False


class _Seats(msgspec.Struct, frozen=True):
    seats: dict[str, Seat] = {}
    ended: dict[str, int] = {}
    """Sign-ins that were ended, as hashes, and until when (s UTC) they would have held."""


# Worked out here, before there are threads: msgspec cannot do it in two at once.
msgspec.json.Decoder(_Clerks), msgspec.json.Decoder(_Seats), msgspec.json.Decoder(Seat)


class Wait(NamedTuple):
    """So many wrong PINs that the next one has to wait."""

    ms: int


class Clerks:
    """Those of this machine. Any thread may call any of it; `changed` is called after who sits where has changed."""

    def __init__(self, folder: Path):
        self.photos = folder / "photos"
        self._file = folder / "clerks.json"
        self._seats_file = folder / "seats.json"
        self._lock = threading.Lock()
        self._known: tuple[int, dict[str, Clerk]] = (0, {})
        kept = _left(self._seats_file)
        self._seats, self._ended = kept.seats, kept.ended
        self._wrong: dict[str, tuple[int, int]] = {}
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Call this after each change of a seat."""
        self._listeners.append(listener)

    # ---- the cards

    def all(self) -> list[Clerk]:
        """Every clerk, by number."""
        return list(self._by_number().values())

    def check(self) -> None:
        """BadSettings if their file cannot be read."""
        if self._file.exists():
            _read(self._file, _Clerks)

    def get(self, number: str) -> Clerk | None:
        """The clerk of this number, or of this name where no number is so: business systems send either."""
        known = self._by_number()
        return known.get(number) or next((each for each in known.values() if number and each.name == number), None)

    def put(self, clerk: Clerk, pin: str | None = None) -> None:
        """Write this clerk down, in the place of whom has the number; with a new PIN, or the one there was."""
        with self._lock:
            known = dict(self._by_number())
            before = known.get(clerk.number)
            kept = before.pin if before is not None else ""
            known[clerk.number] = msgspec.structs.replace(clerk, pin=_hidden(pin) if pin is not None else kept)
            _write(self._file, _Clerks(sorted(known.values(), key=lambda each: each.number)))
            self._forget_photo_of(before, known)
        self._tell()

    def remove(self, number: str) -> bool:
        """Forget this clerk; whether there was one."""
        with self._lock:
            known = dict(self._by_number())
            gone = known.pop(number, None)
            if gone is None:
                return False
            _write(self._file, _Clerks(list(known.values())))
            self._forget_photo_of(gone, known)
        self._tell()
        return True

    def _forget_photo_of(self, before: Clerk | None, known: dict[str, Clerk]) -> None:
        # Nobody's face stays behind, whether they went or have another photo.
        if before is not None and before.photo and all(each.photo != before.photo for each in known.values()):
            (self.photos / before.photo).unlink(missing_ok=True)

    def keep_photo(self, number: str, suffix: str, photo: bytes) -> str:
        """Lay this clerk's photo beside the others; what their card is to call it. BadSettings if it is too large or of
        a kind that not every browser shows, OSError if there is no room for it."""
        if suffix not in PHOTOS:
            kinds = ", ".join(sorted(PHOTOS))
            raise BadSettings([Mistake("", Words(f"照片应为 {kinds}", f"a photo has to be one of {kinds}"))])
        if len(photo) > PHOTO_MAX:
            most = f"{PHOTO_MAX // 1024} kB"
            raise BadSettings(
                [Mistake("", Words(f"照片至多 {most}, 请缩小", f"a photo of at most {most}: make it smaller"))]
            )
        self.photos.mkdir(exist_ok=True)
        name = f"{number}{suffix}"
        write_private(self.photos / name, photo)
        return name

    def signs_in(self, number: str, pin: str, mono_ms: int) -> Clerk | Wait | None:
        """Who this is; None if number or PIN is wrong, Wait if there were too many wrong ones before."""
        clerk = self._by_number().get(number)
        # Numbers that nobody has are counted together: whoever tries a thousand of them frees nobody else.
        whose = number if clerk is not None else ""
        with self._lock:
            tries, since_ms = self._wrong.get(whose, (0, 0))
            wait_ms = min(_WAIT_MS << max(0, min(tries - _TRIES, 20)), _WAIT_MAX_MS) if tries >= _TRIES else 0
            if mono_ms - since_ms < wait_ms:
                return Wait(wait_ms - (mono_ms - since_ms))
            # Counted before it is known to be wrong: a hundred guesses at once are a hundred, not one.
            self._wrong[whose] = (tries + 1, mono_ms)
        # Also for a number that nobody has: how long an answer takes tells nothing.
        fitting = fits(pin, _shown(clerk.pin) if clerk is not None and clerk.pin else nobodys(), _COST)
        if clerk is None or not clerk.pin or not fitting:
            return None
        with self._lock:
            self._wrong.pop(whose, None)
        return clerk

    # ---- who sits where

    def seat(self, window: str) -> Seat:
        """Who sits at this window."""
        return self._seats.get(window, Seat())

    def card(self, window: str) -> Clerk | None:
        """The card of who sits at this window."""
        seat = self.seat(window)
        return self.get(seat.clerk) or Clerk(seat.clerk) if seat.clerk else None

    def sit(self, window: str, seat: Seat) -> None:
        """So it is at this window from now on, also after a restart. OSError if it could not be written down: then
        nothing has changed."""
        with self._lock:
            seats = {**self._seats, window: seat}
            _write(self._seats_file, _Seats(seats, self._ended))
            self._seats = seats
        self._tell()

    # ---- who has signed out

    def end(self, sign_in: str, until_s: int, now_s: int, left: str = "") -> None:
        """This sign-in, which would hold until then, lets nobody in any more, wherever it was copied to, also after a
        restart; nobody sits at the window that was `left`. OSError if it could not be written down: then it is so until
        the next start."""
        with self._lock:
            held = sorted((each, name) for name, each in self._ended.items() if each > now_s)[1 - _ENDED_MAX :]
            self._ended = {name: each for each, name in held} | {_name(sign_in): until_s}
            if left:
                self._seats = {**self._seats, left: Seat()}
        self._tell()
        with self._lock:
            _write(self._seats_file, _Seats(self._seats, self._ended))

    def has_ended(self, sign_in: str) -> bool:
        """Whether whoever signed in so has signed out."""
        return _name(sign_in) in self._ended

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def _by_number(self) -> dict[str, Clerk]:
        # Looked at each time it is asked for: hall IT changes the file, or has the command line do so, while we run.
        try:
            changed = self._file.stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        if changed != self._known[0]:
            try:
                known = {each.number: _with_pin_of_ours(each) for each in _read(self._file, _Clerks).clerks}
            except BadSettings as error:
                # A comma too many must not take the screens away from a hall: those of before stay until it is right.
                log.error("%s; 先用原来的 / those of before are used", "; ".join(error.mistakes))
                known = self._known[1]
            self._known = (changed, known)
        return self._known[1]


def _read(file: Path, shape: type[S]) -> S:
    try:
        # Windows' own editor puts a mark before the first letter, which JSON does not know.
        return msgspec.json.decode(file.read_bytes().removeprefix(codecs.BOM_UTF8), type=shape)
    except msgspec.MsgspecError as error:
        raise BadSettings([Mistake(file.name, Words(f"写法不对: {error}", f"cannot be read: {error}"))]) from error
    except OSError as error:
        words = Words(f"读不了: {error.strerror}", f"cannot be read: {error.strerror}")
        raise BadSettings([Mistake(file.name, words)]) from error


def _left(file: Path) -> _Seats:
    """Who sat where when it was last written down."""
    if not file.exists():
        return _Seats()
    try:
        return _read(file, _Seats)
    except BadSettings as error:
        # Who sits where is said anew by whoever sits down; no press may wait for that.
        words = "请窗口人员重新登录, 已退出的可能又有效 / clerks have to sign in again, and what they ended may hold"
        log.error("%s; %s", "; ".join(error.mistakes), words)
        return _Seats()


def _write(file: Path, value: msgspec.Struct) -> None:
    write_private(file, msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n")


def _with_pin_of_ours(clerk: Clerk) -> Clerk:
    # Typed into the file it would be there for everybody to read; hall IT sees on the setup page that there is none.
    if not clerk.pin or _HIDDEN.fullmatch(clerk.pin):
        return clerk
    log.error(
        "clerks.json: pin 只能由设置页或 edge-agent clerk 写入, 视为没有 / a PIN is written by the setup page or by"
        " edge-agent clerk alone, this one is taken for none"
    )
    return msgspec.structs.replace(clerk, pin="")


def _hidden(pin: str) -> str:
    made = hashed(pin, _COST)
    return f"{made.salt.hex()}:{made.hash.hex()}"


def _shown(hidden: str) -> Hashed:
    salt, _, made = hidden.partition(":")
    return Hashed(bytes.fromhex(salt), bytes.fromhex(made))


def _name(sign_in: str) -> str:
    return hashlib.sha256(sign_in.encode()).hexdigest()[:32]
