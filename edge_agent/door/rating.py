"""The rating page: on a tablet at the window, in a kiosk's own page, or opened by the link of one invitation.

Whoever has the link may rate there and do nothing else: it holds a key of its window, or of its one invitation, made
from the door's token. The page says thank you only after the press is on the disk.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from flask import Flask, Response, render_template, request, send_from_directory
from msgspec import Meta

from protocols import profiles
from protocols.bodies import read
from protocols.ratings import Invitation, InvitationState, Level, Moment
from protocols.said import NUMBER_END, TEXT_MAX, TagCodes, TagsVersion, Text
from protocols.tags import ENGLISH, TAGS, VERSION

from ..clerks import PHOTOS, Clerk, Clerks
from ..links import Links
from ..outbox import Outbox, OutboxFull
from ..outbox.file import FULL
from ..page import Answer
from .streams import SOON, State, Streams
from .wrong import NOT_YET, Wrong, no_room

STAY_S = 60  # from each touch: whoever is silent for so long has gone
_BUTTONS = {level: button for button, level in profiles.shipped("page").levels.items()}
_NAMES = {level.value: level for level in Level}
LevelName = Literal["very_satisfied", "satisfied", "basically_satisfied", "dissatisfied", "very_dissatisfied"]
_CASE_SHOWN = 4  # digits: enough for a citizen to know it for theirs, and nothing to anybody who reads it in passing


@dataclass(frozen=True)
class Screen:
    """A window whose device is our own page."""

    window: str
    device: str
    press: Callable[[bytes], Answer]
    reasons: Literal["all", "bad"] = "all"
    """Whether a good rating is asked for its reasons too, or kept at the first touch."""
    walk_in: bool = False
    """Whether it may be rated without an invitation."""


_Number = Annotated[int, Meta(ge=0, lt=NUMBER_END)]
"""As a device's numbers on a line: larger ones are refused there."""
_ASKS_MS = 10_000  # a page without a stream asks every few seconds: silent for so long, it is closed


class Rated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the page sends when a citizen has rated."""

    boot: _Number
    count: _Number
    level: LevelName
    invitation: Annotated[str, Meta(max_length=36)]
    """The one that it showed; empty for none."""
    age_ms: _Number = 0
    tags: TagCodes = []
    tags_version: TagsVersion = 0
    text: Text = ""


class Shown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which invitation the page shows, where it says something else about it."""

    invitation: Annotated[str, Meta(max_length=36)]


# Worked out here, before there are threads: msgspec cannot do it in two at once.
msgspec.json.Decoder(Rated), msgspec.json.Decoder(Shown)


class Touched:
    """Which windows' pages are open, and where somebody is answering just now: for the clerk, and nowhere written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, int] = {}
        self._asked_ms: dict[str, int] = {}
        self._touched: dict[str, str] = {}
        self._versions: dict[str, int] = {}
        self._touches = 0

    def opened(self, window: str, by: int) -> None:
        """A page of this window was opened, or closed (-1)."""
        with self._lock:
            self._open[window] = max(0, self._open.get(window, 0) + by)

    def asked(self, window: str, mono_ms: int) -> bool:
        """A page of this window that has no stream has asked how it is; whether one was open there before."""
        was = self.is_open(window, mono_ms)
        self._asked_ms[window] = mono_ms
        return was

    def is_open(self, window: str, mono_ms: int) -> bool:
        """Whether somebody could rate there."""
        asked_ms = self._asked_ms.get(window)
        return self._open.get(window, 0) > 0 or (asked_ms is not None and mono_ms - asked_ms < _ASKS_MS)

    def touch(self, window: str, invitation: str) -> None:
        """Somebody is answering this invitation."""
        with self._lock:
            self._touched[window] = invitation
            self._touches += 1
            self._versions[window] = self._touches

    def version(self, window: str) -> int:
        """Another number after each touch there: that its end has moved, and nothing of how far."""
        return self._versions.get(window, 0)

    def is_touched(self, window: str, invitation: str) -> bool:
        """Whether somebody has begun to answer this one."""
        return self._touched.get(window) == invitation


class Pages:
    """The rating pages of one door."""

    def __init__(
        self,
        outbox: Outbox,
        screens: Mapping[str, Screen],
        links: Links,
        streams: Streams,
        clerks: Clerks,
        touched: Touched,
        now: Callable[[], Moment],
        embed: Sequence[str],
    ):
        self._outbox = outbox
        self._screens = screens
        self._links = links
        self._streams = streams
        self._clerks = clerks
        self._touched = touched
        self._now = now
        self._embed = tuple(embed)

    def add(self, app: Flask) -> None:
        """Put their addresses into the application: the same for a window and for one invitation."""
        here = "/rate/<any(w,i):kind>/<name>/<key>/"
        for path, method, answer in (
            ("", "GET", self._page),
            ("events", "GET", self._events),
            ("state", "GET", self._looked),
            ("press", "POST", self._press),
            ("decline", "POST", self._decline),
            ("stay", "POST", self._stay),
            ("photo/<number>", "GET", self._photo),
        ):
            app.add_url_rule(f"{here}{path}", f"rating_{path.partition('/')[0]}", answer, methods=[method])

    # ---- what the page is

    def _page(self, kind: str, name: str, key: str) -> Response:
        screen, one = self._found(kind, name, key)
        given = {
            "reasons": screen.reasons,
            "walk_in": screen.walk_in and one is None,
            "one": one.id if one is not None else "",
            "embed": self._embed,
            "text_max": TEXT_MAX,
            "tags_version": VERSION,
            "tags": {
                level.value: [[tag.code, tag.text, ENGLISH[tag.code]] for tag in TAGS.values() if tag.level is level]
                for level in Level
            },
        }
        # In a script element that is no script: "<" could end it early.
        text = json.dumps(given, ensure_ascii=False).replace("<", "\\u003c")
        response = Response(render_template("rating.html", given=text, levels=_LEVELS))
        within = " ".join(self._embed) or "'none'"
        response.headers["Content-Security-Policy"] = f"default-src 'self'; frame-ancestors {within}"
        return response

    def _photo(self, kind: str, name: str, key: str, number: str) -> Response:
        self._found(kind, name, key)
        return photo(self._clerks, number)

    # ---- what it is told

    def _events(self, kind: str, name: str, key: str) -> Response:
        screen, one = self._found(kind, name, key)
        last = [one.id if one is not None else ""]

        def look() -> State | None:
            return self._state(screen, one.id if one is not None else None, last)

        def is_last(state: dict[str, Any]) -> bool:
            # One invitation's page has nothing more to be told once that is over.
            return one is not None and state["invitation"] is None

        # One window asks one citizen at a time, so its passing pages are counted together.
        response = self._streams.follow(look, is_last, SOON, f"{kind} {screen.window}", stays=one is None)
        if response.status_code == 200:
            self._touched.opened(screen.window, 1)
            response.call_on_close(lambda: self._left(screen.window))
            self._streams.changed()
        return response

    def _looked(self, kind: str, name: str, key: str) -> dict[str, Any]:
        """The same once, for a page that found no room for a stream: it shows all of it, a little later."""
        screen, one = self._found(kind, name, key)
        if not self._touched.asked(screen.window, self._now().mono_ms):
            self._streams.changed()
        before = request.args.get("last", "")[:36]
        state, beside = self._state(screen, one.id if one is not None else None, [one.id if one else before])
        return state | beside

    def _left(self, window: str) -> None:
        self._touched.opened(window, -1)
        self._streams.changed()

    def _state(self, screen: Screen, one: str | None, last: list[str]) -> State:
        moment = self._now()
        waiting = self._outbox.open_at(screen.window, moment)
        if waiting is not None and (waiting[1] <= 0 or one not in (None, waiting[0].id)):
            waiting = None
        if waiting is not None:
            last[0] = waiting[0].id
        shown = self._outbox.invitation(last[0]) if last[0] else None
        if shown is not None and shown.window != screen.window:
            shown = None
        seat = self._clerks.seat(screen.window)
        clerk = self._clerks.card(screen.window)
        if waiting is not None and waiting[0].clerk:
            clerk = self._clerks.get(waiting[0].clerk) or Clerk(waiting[0].clerk[:20])
        state = {
            "window": screen.window,
            "paused": seat.paused,
            "clerk": card(self._clerks, clerk),
            "invitation": None
            if waiting is None
            else _asked(waiting[0]) | {"version": self._touched.version(screen.window)},
            "ended": None if shown is None or waiting is not None else {"id": shown.id, "state": shown.state},
            "storage": FULL if self._outbox.full else "ok",
        }
        return state, {"left_ms": None if waiting is None else waiting[1]}

    # ---- what it says

    def _press(self, kind: str, name: str, key: str) -> dict[str, Any]:
        screen, one = self._found(kind, name, key)
        rated = read(request.get_data(), Rated)
        self._only(one, rated.invitation)
        if not rated.invitation and not screen.walk_in:
            raise Wrong(409, "invitation", "现在没有评价邀请 / nobody is asked for a rating just now", code="not_asked")
        body = msgspec.json.encode(
            {
                "device": screen.device,
                "boot": rated.boot,
                "count": rated.count,
                "button": _BUTTONS[_NAMES[rated.level]],
                "age_ms": rated.age_ms,
                "invitation": rated.invitation,
                "tags": rated.tags,
                "tags_version": rated.tags_version,
                "text": rated.text,
            }
        )
        match screen.press(body):
            case Answer.REFUSED:
                raise no_room(FULL, "press")
            case Answer.NOT_YET:
                words = "尚未存盘, 请重发同一次按键 / not on disk yet, send the same press again"
                raise Wrong(503, "", words, code=NOT_YET)
            case Answer.KEPT:
                return {"kept": True}

    def _decline(self, kind: str, name: str, key: str) -> dict[str, Any]:
        screen, one = self._found(kind, name, key)
        asked = read(request.get_data(), Shown).invitation
        self._only(one, asked)
        return {"state": self._of(screen, asked, self._outbox.close_invitation(asked, "declined", self._now()))}

    def _stay(self, kind: str, name: str, key: str) -> dict[str, Any]:
        screen, one = self._found(kind, name, key)
        asked = read(request.get_data(), Shown).invitation
        self._only(one, asked)
        moment = self._now()
        known = self._outbox.invitation(asked)
        state = self._of(screen, asked, known)
        self._touched.touch(screen.window, asked)
        try:
            known = self._outbox.stay(asked, STAY_S, moment)
        except OutboxFull:
            pass  # it ends when it was to end: the page sends what it has before that
        waiting = self._outbox.open_at(screen.window, moment)
        self._streams.changed()
        left_ms = waiting[1] if waiting is not None and waiting[0].id == asked else 0
        return {"state": state, "left_ms": left_ms}

    # ---- whom it lets in

    def _found(self, kind: str, name: str, key: str) -> tuple[Screen, Invitation | None]:
        """Whose page this is, and the one invitation that it may answer, if it is that one's."""
        # The key first: whoever has none keeps nobody busy with a look into the outbox.
        fits = self._links.fits({"w": "window", "i": "invitation"}[kind], name, key)
        known = self._outbox.invitation(name) if fits and kind == "i" else None
        screen = self._screens.get(known.window if known is not None else name if kind == "w" else "")
        if screen is None or not fits:
            raise Wrong(404, "", "没有这个评价页, 或链接不对 / no such rating page, or a wrong link")
        return screen, known

    @staticmethod
    def _only(one: Invitation | None, asked: str) -> None:
        if one is not None and asked != one.id:
            raise Wrong(403, "invitation", "此链接只能评价它自己的邀请 / this link rates its own invitation only")

    @staticmethod
    def _of(screen: Screen, asked: str, known: Invitation | None) -> InvitationState:
        if known is None or known.window != screen.window:
            raise Wrong(404, "invitation", "没有这个评价邀请 / no such invitation")
        return known.state


def card(clerks: Clerks, clerk: Clerk | None) -> dict[str, Any] | None:
    """What a page shows of this clerk."""
    if clerk is None:
        return None
    there = bool(clerk.photo) and (clerks.photos / clerk.photo).is_file()
    return {"number": clerk.number, "name": clerk.name, "stars": clerk.stars, "photo": there}


def photo(clerks: Clerks, number: str) -> Response:
    """The photo on this clerk's card."""
    clerk = clerks.get(number)
    kind = PHOTOS.get(clerk.photo[clerk.photo.rfind(".") :].lower()) if clerk is not None else None
    if clerk is None or kind is None:
        raise Wrong(404, "", "没有照片 / no photo")
    return send_from_directory(clerks.photos.resolve(), clerk.photo, mimetype=kind)


def _asked(invitation: Invitation) -> dict[str, Any]:
    # As promised: what was added for somebody who writes is nothing for whoever else has the link.
    return {"id": invitation.id, "case": _tail(invitation.case_no), "seconds": invitation.seconds}


def _tail(case_no: str | None) -> str:
    """The end of a case's number."""
    return "" if case_no is None or len(case_no) <= _CASE_SHOWN else case_no[-_CASE_SHOWN:]


_LEVELS = [
    (Level.VERY_SATISFIED, "非常满意", "Very satisfied"),
    (Level.SATISFIED, "满意", "Satisfied"),
    (Level.BASICALLY_SATISFIED, "基本满意", "Fairly satisfied"),
    (Level.DISSATISFIED, "不满意", "Dissatisfied"),
    (Level.VERY_DISSATISFIED, "非常不满意", "Very dissatisfied"),
]
"""Best first, as on the provinces' own pages; all of one size."""
