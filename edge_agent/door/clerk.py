"""The clerk's page: who sits at the window, a pause, and "please rate", with what the citizen sees and whether they
rated. Never the level, and nothing here can rate."""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from flask import Flask, Response, redirect, render_template, request
from msgspec import Meta

from protocols.bodies import read
from protocols.cases import CaseNo, ServiceNumber
from protocols.messages import WindowHealth
from protocols.ratings import Invitation, Moment
from protocols.words import said_in

from ..clerks import Clerk, Clerks, Seat, Wait
from ..outbox import Outbox
from ..outbox.file import FULL
from ..outbox.invitations import new_id
from .rating import Screen, Touched, card, photo
from .streams import SOON, State, Streams
from .wrong import Wrong, unwritten

log = logging.getLogger(__name__)

_COOKIE = "clerk"
_SHIFT_S = 14 * 3600  # longer than any day at a window
_LATEST = 12  # services: what a clerk may want to look back at
_WELL = ("ready", "inviting")
_UNWRITTEN = (
    "已退出, 但本机写不进磁盘: 代理重启后, 别处拷走的登录可能又有效, 请告诉信息人员"
    " / you are signed out, but the disk took no note of it: a copied sign-in may hold again once the agent has been"
    " restarted. Tell hall IT"
)
_UNTIL = re.compile(r"[0-9]{1,12}", re.ASCII)


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Please rate."""

    case_no: CaseNo | None = None
    service_number: ServiceNumber = 1


class Paused(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the window serves."""

    paused: bool


class Ended(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nobody need answer this one any more."""

    invitation: Annotated[str, Meta(max_length=36)]


# Worked out here, before there are threads: msgspec cannot do it in two at once.
msgspec.json.Decoder(Asked), msgspec.json.Decoder(Paused), msgspec.json.Decoder(Ended)


class _At(NamedTuple):
    """Who asks, and at which window they sit."""

    clerk: Clerk
    window: str
    sign_in: str
    """What they bear, and until when it holds."""
    until_s: int
    form: str
    """What a form of theirs has to bear: nobody else's page can know it."""


class ClerkPages:
    """The clerk's page of one door. `windows` gives each window's usual seconds for an invitation."""

    def __init__(
        self,
        outbox: Outbox,
        windows: Mapping[str, int],
        screens: Mapping[str, Screen],
        token: str,
        streams: Streams,
        clerks: Clerks,
        touched: Touched,
        now: Callable[[], Moment],
        health: Callable[[str], WindowHealth | None],
    ):
        self._outbox = outbox
        self._windows = windows
        self._screens = screens
        self._key = hmac.digest(token.encode(), b"clerk", "sha256")
        self._streams = streams
        self._clerks = clerks
        self._touched = touched
        self._now = now
        self._health = health

    def add(self, app: Flask) -> None:
        """Put their addresses into the application."""
        for path, method, answer in (
            ("", "GET", self._page),
            ("sign-in", "POST", self._sign_in),
            ("sign-out", "POST", self._sign_out),
            # Where a mistake was told: a tablet that slept loads it again, and so does who chooses the language there.
            ("sign-in", "GET", self._page),
            ("sign-out", "GET", self._page),
            ("events", "GET", self._events),
            ("state", "GET", self._looked),
            ("ask", "POST", self._ask),
            ("withdraw", "POST", self._withdraw),
            ("pause", "POST", self._pause),
            ("photo/<number>", "GET", self._photo),
        ):
            app.add_url_rule(f"/clerk/{path}", f"clerk_{path.partition('/')[0]}_{method}", answer, methods=[method])

    # ---- in and out

    def _page(self) -> Response:
        at = self._who()
        if at is None:
            return self._door()
        return Response(
            render_template("clerk.html", at=at, card=card(self._clerks, at.clerk), page=at.window in self._screens)
        )

    def _door(self, mistake: str = "", status: int = 200) -> Response:
        known = [each for each in self._clerks.all() if each.pin]
        # What was typed stays, but for the PIN: whoever mistypes that need not say again who they are.
        words = render_template(
            "clerk_in.html", windows=list(self._windows), given=request.form, mistake=mistake, nobody=not known
        )
        return Response(words, status)

    def _sign_in(self) -> Response:
        self._own_page()
        number, window = request.form.get("number", "").strip(), request.form.get("window", "")
        if window not in self._windows:
            return self._door("请选择窗口 / choose a window", 400)
        moment = self._now()
        found = self._clerks.signs_in(number, request.form.get("pin", ""), moment.mono_ms)
        if isinstance(found, Wait):
            seconds = -(-found.ms // 1000)
            return self._door(f"试错太多, 请 {seconds} 秒后再试 / too many wrong tries, try again in {seconds} s", 429)
        if found is None:
            return self._door("工号或口令不对 / wrong number or PIN", 403)
        try:
            self._clerks.sit(window, Seat(found.number))
        except OSError as error:
            return self._door(str(unwritten(error)), 507)
        response: Any = redirect("/clerk/", 303)
        until_s = moment.wall_ms // 1000 + _SHIFT_S
        response.set_cookie(
            _COOKIE,
            # Of this sign-in alone: it ends without another one of the same second.
            self._signed(found, window, until_s, secrets.token_hex(8)),
            max_age=_SHIFT_S,
            httponly=True,
            samesite="Strict",
        )
        return response  # type: ignore[no-any-return]

    def _sign_out(self) -> Response:
        at = self._may()
        left = at.window if self._clerks.seat(at.window).clerk == at.clerk.number else ""
        response: Any = redirect("/clerk/", 303)
        try:
            # Also for whoever has a copy of the cookie, and for what of it is open elsewhere.
            self._clerks.end(at.sign_in, at.until_s, self._now().wall_ms // 1000, left)
        except OSError as error:
            log.error("退出没有写下 / a sign-out could not be written down: window=%s %s", at.window, error.strerror)
            response = self._door(_UNWRITTEN, 507)
        response.delete_cookie(_COOKIE)
        return response  # type: ignore[no-any-return]

    # ---- what it shows

    def _events(self) -> Response:
        at = self._here()

        def look() -> State | None:
            there = self._of(at.sign_in)  # whoever has signed out, or has another PIN, sees no more
            return self._state(there) if there is not None else None

        return self._streams.follow(look, lambda _state: False, SOON, f"clerk {at.window}", stays=True)

    def _looked(self) -> dict[str, Any]:
        """The same once, for a page that found no room for a stream."""
        state, beside = self._state(self._here())
        return state | beside

    def _photo(self, number: str) -> Response:
        self._here()
        return photo(self._clerks, number)

    def _state(self, at: _At) -> State:
        moment = self._now()
        waiting = self._outbox.open_at(at.window, moment)
        if waiting is not None and waiting[1] <= 0:
            waiting = None
        seat = self._clerks.seat(at.window)
        latest = self._outbox.latest_invitations(at.window, _LATEST)
        state = {
            "seat": seat.clerk,
            "paused": seat.paused,
            "sees": self._sees(at.window, waiting[0] if waiting is not None else None, seat, moment),
            "invitation": None
            if waiting is None
            else {"id": waiting[0].id, "seconds": self._seconds(at.window, waiting[0])},
            "trouble": self._trouble(at.window, moment),
            "latest": [
                {
                    "id": each.id,
                    "case_no": each.case_no or "",
                    "opened_ms": each.opened.wall_ms,
                    "state": "answered" if rated else each.state,
                }
                for each, rated in latest
            ],
        }
        if waiting is None or not self._tells(at.window):
            return state, {"left_ms": None}
        return state, {"left_ms": waiting[1]}

    def _seconds(self, window: str, waiting: Invitation) -> int | None:
        return waiting.seconds + waiting.added_s if self._tells(window) else None

    def _sees(
        self, window: str, open_now: Invitation | None, seat: Seat, moment: Moment
    ) -> Literal["closed", "asked", "answering", "paused", "welcome"]:
        """What the citizen has before them."""
        if self._is_closed(window, moment):
            return "closed"
        if open_now is not None:
            answering = self._tells(window) and self._touched.is_touched(window, open_now.id)
            return "answering" if answering else "asked"
        return "paused" if seat.paused else "welcome"

    def _tells(self, window: str) -> bool:
        """Whether the clerk may see that somebody writes: where only a bad rating is asked for its reasons, that would
        be to say the level."""
        screen = self._screens.get(window)
        return screen is None or screen.reasons == "all"

    def _trouble(self, window: str, moment: Moment) -> dict[str, str]:
        """Why nobody could rate here just now, in both languages; empty if somebody could."""
        words = ""
        health = self._health(window)
        if self._outbox.full:
            words = "本机存储已满, 评价收不下, 请联系信息人员 / storage is full: call hall IT"
        elif self._is_closed(window, moment):
            words = "评价屏没有打开, 请检查平板 / the rating screen is not open: look at the tablet"
        elif health is not None and health.state not in _WELL:
            words = f"评价器故障: {said_in(health.detail, 'zh')} / device fault: {said_in(health.detail, 'en')}"
        return {"zh": said_in(words, "zh"), "en": said_in(words, "en")} if words else {}

    def _is_closed(self, window: str, moment: Moment) -> bool:
        return window in self._screens and not self._touched.is_open(window, moment.mono_ms)

    # ---- what it does

    def _ask(self) -> dict[str, Any]:
        at, asked, moment = self._may(), read(request.get_data(), Asked), self._now()
        if self._outbox.full:
            raise Wrong(
                507, "", "存储已满, 现在收不下评价 / storage is full, no rating can be taken", later=True, code=FULL
            )
        invitation = Invitation(
            id=new_id(moment.wall_ms),
            window=at.window,
            opened=moment,
            seconds=self._windows[at.window],
            case_no=asked.case_no,
            service_number=asked.service_number,
            clerk=at.clerk.number,
        )
        before = self._outbox.open_at(at.window, moment)
        # The citizen before has gone by now: the clerk would not ask again otherwise.
        opened = self._outbox.open_invitation(invitation, replace=True)
        ended = self._outbox.invitation(before[0].id) if before is not None else None
        return {"id": opened.id, "replaced": ended is not None and ended.state == "withdrawn"}

    def _withdraw(self) -> dict[str, Any]:
        at, asked = self._may(), read(request.get_data(), Ended)
        known = self._outbox.invitation(asked.invitation)
        if known is None or known.window != at.window:
            raise Wrong(404, "invitation", "没有这个评价邀请 / no such invitation")
        ended = self._outbox.close_invitation(known.id, "withdrawn", self._now())
        return {"state": ended.state if ended is not None else known.state}

    def _pause(self) -> dict[str, Any]:
        at, asked = self._may(), read(request.get_data(), Paused)
        try:
            self._clerks.sit(at.window, Seat(at.clerk.number, asked.paused))
        except OSError as error:
            raise unwritten(error) from error
        return {"paused": asked.paused}

    # ---- whom it lets in

    def _here(self) -> _At:
        at = self._who()
        if at is None:
            raise Wrong(401, "", "请先登录 / please sign in")
        return at

    def _may(self) -> _At:
        """The same, where something is done: asked for by our own page and nobody else's."""
        self._own_page()
        at = self._here()
        form = request.headers.get("X-Form", "") or request.form.get("form", "")
        if not hmac.compare_digest(form.encode(), at.form.encode()):
            raise Wrong(403, "", "页面已过期, 请刷新 / this page is too old, please load it again")
        return at

    @staticmethod
    def _own_page() -> None:
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise Wrong(403, "", "请在本系统的页面操作 / only our own page may do this")

    def _who(self) -> _At | None:
        return self._of(request.cookies.get(_COOKIE, ""))

    def _of(self, cookie: str) -> _At | None:
        """Who the cookie says this is: it holds until they sign out, their shift is over, or their PIN is another."""
        number, _, rest = cookie.partition("|")
        window, _, rest = rest.partition("|")
        until, _, rest = rest.partition("|")
        once, _, _mac = rest.partition("|")
        clerk = self._clerks.get(number) if number else None
        if clerk is None or clerk.number != number or window not in self._windows or not _UNTIL.fullmatch(until):
            return None
        until_s = int(until)
        if not hmac.compare_digest(self._signed(clerk, window, until_s, once).encode(), cookie.encode()):
            return None
        if self._now().wall_ms // 1000 >= until_s or self._clerks.has_ended(cookie):
            return None
        form = hmac.digest(self._key, f"form\0{cookie}".encode(), "sha256").hex()
        return _At(clerk, window, cookie, until_s, form)

    def _signed(self, clerk: Clerk, window: str, until_s: int, once: str) -> str:
        said = f"{clerk.number}|{window}|{until_s}|{once}"
        return f"{said}|{hmac.digest(self._key, f'{said}|{clerk.pin}'.encode(), 'sha256').hex()}"
