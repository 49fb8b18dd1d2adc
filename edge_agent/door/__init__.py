"""The agent's local HTTP door: a hall's business system opens invitations here and learns how they ended.

It never learns the level: rated, not rated or device fault is all that a clerk's side is told. The only user of Flask
here. Loopback and a token unless told otherwise.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

import msgspec
from flask import Flask, Response, render_template, request, send_from_directory
from flask.json.provider import DefaultJSONProvider
from msgspec import Meta
from waitress.server import create_server
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from protocols.bodies import PRINTABLE, BadBody, read
from protocols.cases import CaseNo, ServiceNumber, case_of
from protocols.messages import Count, WindowHealth
from protocols.ratings import Invitation, Moment
from protocols.said import NUMBER_END, TagCodes, TagsVersion, Text

from ..clerks import Clerks, Seat
from ..details import CaseDetails
from ..links import Links
from ..outbox import Outbox, OutboxClosed, OutboxFull, WindowBusy
from ..outbox.file import FULL
from ..outbox.invitations import new_id
from ..page import Answer
from . import language
from .clerk import ClerkPages
from .rating import Pages, Screen, Touched
from .streams import AGAIN_S, Streams
from .wrong import NO_KEY, NOT_YET, STOPPING, WHY, Wrong, no_room, unwritten

S = TypeVar("S", bound=msgspec.Struct)

THREADS = 64
_CONNECTIONS_MAX = 1000
_SILENT_S = 30
STREAMS_MAX = THREADS - 4  # each stream holds a thread; the rest stay free for invitations
STAYING = 24  # of these: for the pages of windows and clerks, so that no link of one invitation takes theirs
BODY_MAX = 16 * 1024  # an invitation is a few hundred bytes
_HEAD_MAX = 32 * 1024  # a browser's, with all cookies of this host, is a few thousand; each connection may take so much
_LOOK = str(resources.files("protocols").joinpath("look"))
"""What the pages of both doors wear."""
_WORN = ("/look/", "/static/")
"""What anybody may have, because it tells nothing: how pages look, and what they run."""
_OPEN = (*_WORN, "/rate/", "/clerk/", "/setup/")
"""Where the token is not asked for: these pages know by themselves whom they let in."""
_PAGE = re.compile(r"rate/[wi]/[^/]+/[^/]+/|clerk/")
"""What a person has before them, below the door's address."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /v1/invitations."""

    window: str
    id: str | None = None
    """A UUID of the caller's: sent again, the same invitation is answered, not a second one opened."""
    case_no: CaseNo | None = None
    service_number: ServiceNumber = 1
    clerk: Annotated[str, Meta(max_length=50, pattern=PRINTABLE)] | None = None
    case: dict[str, Any] | None = None
    """The details of its case, as POST /api/v1/cases of the collector takes them; sealed here at once."""
    seconds: Annotated[int, Meta(ge=1, le=600)] | None = None
    replace: bool = False
    """Withdraw an invitation that is still open at this window."""
    waited_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 0
    """How long ago this call was made first, if it had no answer then: whoever has pressed since was not asked yet."""


class Pressed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /v1/windows/<window>/presses: a page counts its presses, so that one sent again is the same."""

    device: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}\Z")]
    boot: Count
    count: Count
    button: Annotated[int, Meta(ge=0, le=999)]
    age_ms: Annotated[int, Meta(ge=0, lt=NUMBER_END)] = 0
    invitation: Annotated[str, Meta(max_length=36)] | None = None
    """The one that the page showed; empty for none. Left out, the age alone decides."""
    tags: TagCodes = []
    """Codes of the rating tags that the citizen chose."""
    tags_version: TagsVersion = 0
    text: Text = ""
    """In the citizen's own words."""


# msgspec works a type out when it first meets it, and the process dies if two threads do that at once: so it is
# done here, before there are any.
_ANY = Ask(window="")
msgspec.json.Decoder(Ask), msgspec.json.Decoder(Pressed)


@dataclass(frozen=True)
class People:
    """What the pages for citizens and clerks need."""

    screens: Mapping[str, Screen]
    clerks: Clerks
    health: Callable[[str], WindowHealth | None] = lambda _window: None
    """What is known of a window's device."""
    embed: tuple[str, ...] = ()
    """Whose pages may show the rating page in themselves, as origins."""


class Json(DefaultJSONProvider):
    """JSON that a person can read at a terminal: Chinese as it is, the fields in the order in which they are given."""

    ensure_ascii = False
    sort_keys = False


def create_app(
    outbox: Outbox,
    windows: dict[str, int],
    token: str,
    now: Callable[[], Moment],
    pages: Mapping[str, Callable[[bytes], Answer]] = MappingProxyType({}),
    details: CaseDetails | None = None,
    people: People | None = None,
) -> Flask:
    """The door's application. `windows` gives each window's usual seconds for an invitation; `pages` takes the presses
    of windows whose device is a page, and says what became of them; `details` those of cases; `people` is what the
    pages for citizens and clerks need, without which there are none."""
    app = _app(token)
    streams, links = Streams(STREAMS_MAX, STAYING), Links(token)
    screens = people.screens if people is not None else {}
    outbox.listen(lambda _window: streams.changed())
    if people is not None:
        clerks, touched = people.clerks, Touched()
        clerks.listen(streams.changed)
        Pages(outbox, screens, links, streams, clerks, touched, now, people.embed).add(app)
        ClerkPages(outbox, windows, screens, token, streams, clerks, touched, now, people.health).add(app)

    def shown(invitation: Invitation) -> dict[str, Any]:
        there = invitation.window in screens
        return _shown(invitation, outbox) | {"page": links.invitation(invitation.id) if there else None}

    @app.errorhandler(OutboxFull)
    def full(_error: OutboxFull) -> tuple[dict[str, Any], int, dict[str, str]]:
        return _told(no_room(FULL, "call"))

    @app.errorhandler(OutboxClosed)
    def closed(_error: OutboxClosed) -> tuple[dict[str, Any], int, dict[str, str]]:
        words = "代理正在停止, 请稍后再试 / the agent is stopping, please try again in a moment"
        return _told(Wrong(503, "", words, later=True, code=STOPPING))

    @app.post("/v1/invitations")
    def invite() -> tuple[dict[str, Any], int]:
        ask, moment = _asked(request.get_data(), windows), now()
        if ask.case is not None:
            # On the disk before anybody can answer: a rating that comes before its case would have to wait for it.
            try:
                ask = _handed_in(ask, ask.case, details, moment)
            except OutboxFull:
                if ask.replace:
                    outbox.not_asked(ask.window, moment.ago(ask.waited_ms))
                raise
        invitation = Invitation(
            id=ask.id or new_id(moment.wall_ms),
            window=ask.window,
            opened=moment,
            seconds=ask.seconds or windows[ask.window],
            case_no=ask.case_no,
            service_number=ask.service_number,
            clerk=ask.clerk,
        )
        try:
            opened = outbox.open_invitation(invitation, ask.replace, ask.waited_ms)
        except WindowBusy as busy:
            raise Wrong(
                409,
                "window",
                f"窗口 {ask.window} 正在评价, 先撤回或用 replace / window {ask.window} has an open invitation:"
                " withdraw it or send replace = true",
                open=busy.invitation,
            ) from busy
        if _what(opened) != _what(invitation):
            raise Wrong(409, "id", f"{ask.id} 已用于另一事项 / is the id of another invitation already")
        return shown(opened), 201 if opened is invitation else 200

    @app.get("/v1/invitations/<invitation>")
    def look(invitation: str) -> dict[str, Any]:
        return shown(_found(outbox.invitation(invitation)))

    @app.delete("/v1/invitations/<invitation>")
    def end(invitation: str) -> dict[str, Any]:
        outcome = request.args.get("outcome", "withdrawn")
        if outcome not in ("withdrawn", "declined"):
            raise Wrong(400, "outcome", "应为 withdrawn 或 declined / expected withdrawn or declined")
        return shown(_found(outbox.close_invitation(invitation, outcome, now())))  # type: ignore[arg-type]

    @app.get("/v1/invitations/<invitation>/events")
    def follow(invitation: str) -> Response:
        _found(outbox.invitation(invitation))

        def look() -> tuple[dict[str, Any], dict[str, Any]] | None:
            found = outbox.invitation(invitation)
            return (shown(found), {}) if found is not None else None

        return streams.follow(look, lambda state: state["state"] != "open")

    @app.route("/v1/windows/<window>/seat", methods=["GET", "PUT"])
    def seat(window: str) -> dict[str, Any]:
        if people is None or window not in windows:
            raise _no_window(window, windows)
        if request.method == "PUT":
            wanted = read(request.get_data(), Seat)
            try:
                people.clerks.sit(window, wanted)
            except OSError as error:
                raise unwritten(error) from error
        now_there = people.clerks.seat(window)
        return {"clerk": now_there.clerk, "paused": now_there.paused}

    @app.post("/v1/windows/<window>/presses")
    def press(window: str) -> dict[str, Any]:
        if window not in pages:
            known = ", ".join(pages) or "无 / none"
            raise Wrong(404, "window", f"窗口 {window!r} 的评价器不是页面 / its device is no page; pages: {known}")
        body = request.get_data()
        pressed = read(body, Pressed)
        match pages[window](body):
            case Answer.REFUSED:
                raise no_room(FULL, "press")
            case Answer.NOT_YET:
                words = "尚未存盘, 请重发同一次按键 / not on disk yet, send the same press again"
                raise Wrong(503, "", words, code=NOT_YET)
            case Answer.KEPT:
                return {"kept": True, "boot": pressed.boot, "count": pressed.count}

    return app


def create_shut(token: str, why: str) -> Flask:
    """What answers as long as there is no outbox for want of room: that nothing is accepted. `why`: FULL or
    READ_ONLY."""
    app = _app(token)

    @app.route("/", defaults={"path": ""}, methods=["GET", "POST", "PUT", "DELETE"])
    @app.route("/<path:path>", methods=["GET", "POST", "PUT", "DELETE"])
    def shut(path: str) -> Any:
        wrong = no_room(why, "press" if path.endswith("/presses") else "call")
        if request.method == "GET" and _PAGE.fullmatch(path):
            # Whoever switched the tablet on has gone.
            page = render_template("shut.html", words=" / ".join(WHY[why]))
            return page, wrong.status, {"Refresh": str(AGAIN_S)}
        raise wrong

    return app


class Front:
    """The one application that a server has from its start to its end; `app` is what answers behind it just now."""

    def __init__(self, app: Any):
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        return self.app(environ, start_response)


def _app(token: str) -> Flask:
    """With what every answer of the door has: the token asked for, mistakes told as JSON."""
    app = Flask(__name__)
    app.json = Json(app)
    app.config["MAX_CONTENT_LENGTH"] = BODY_MAX

    language.add(app)

    @app.get("/look/<path:name>")
    def worn(name: str) -> Response:
        return send_from_directory(_LOOK, name)

    @app.before_request
    def known() -> None:
        if request.path.startswith(_OPEN):
            return
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise Wrong(
                401, "Authorization", "令牌不对, 应为 Bearer <door.token> / wrong token, expected Bearer <door.token>"
            )

    @app.errorhandler(Wrong)
    def wrong(error: Wrong) -> tuple[dict[str, Any], int, dict[str, str]]:
        return _told(error)

    @app.errorhandler(BadBody)
    def bad_body(error: BadBody) -> tuple[dict[str, Any], int, dict[str, str]]:
        return _told(Wrong(400, error.field, error.message))

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> tuple[dict[str, Any], int, dict[str, str]]:
        words = {404: "没有这个地址", 405: "此地址不支持该方法", 413: f"请求过长, 至多 {BODY_MAX} 字节"}
        code = error.code or 500
        allow = {"Allow": ", ".join(error.valid_methods or ())} if isinstance(error, MethodNotAllowed) else {}
        return {"error": {"field": "", "message": f"{words.get(code, '请求有误')} / {error.name}"}}, code, allow

    @app.after_request
    def careful(response: Response) -> Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers.setdefault("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
        if not request.path.startswith(_WORN):
            response.headers["Cache-Control"] = "no-store"
        return response

    return app


def _told(error: Wrong) -> tuple[dict[str, Any], int, dict[str, str]]:
    return error.body, error.status, {"Retry-After": str(AGAIN_S)} if error.later else {}


_LINK = re.compile(r"(/rate/[wi]/[^/\s]+/)[0-9a-f]+")


def _without_keys(record: logging.LogRecord) -> bool:
    """A filter of logs: whoever reads one, or is sent it, may not rate by the links that stand in it."""
    record.msg, record.args = _LINK.sub(r"\1…", record.getMessage()), ()
    return True


for _logger in ("waitress", __name__):  # the server's, and what Flask says of a page that broke
    logging.getLogger(_logger).addFilter(_without_keys)
# That a browser has left is no news.
logging.getLogger("waitress").setLevel(logging.WARNING)
# Nor that a request waits a moment for a thread: a page asks for several things at once.
logging.getLogger("waitress.queue").setLevel(logging.ERROR)


def serve(app: Any, host: str, port: int) -> tuple[Any, int]:
    """A server for this application, bound and not yet running (`.run()`, `.close()`), and its port."""
    # Waitress takes a whole body before the application sees its length: a little more than BODY_MAX, not a gigabyte.
    server = create_server(
        app,
        host=host,
        port=port,
        threads=THREADS,
        ident=None,
        max_request_body_size=4 * BODY_MAX,
        max_request_header_size=_HEAD_MAX,
        # A hundred that connect and say nothing, waitress' own limit, must not keep a citizen's press out.
        connection_limit=_CONNECTIONS_MAX,
        asyncore_use_poll=True,  # not select(), which knows no file beyond number 1,023
        channel_timeout=_SILENT_S,
    )
    # A name of two addresses, as localhost often is, makes a server of several.
    several = getattr(server, "effective_listen", None)
    return server, int(several[0][1] if several else server.effective_port)


def _asked(body: bytes, windows: dict[str, int]) -> Ask:
    ask = read(body, Ask)
    if ask.window not in windows:
        raise _no_window(ask.window, windows)
    if ask.id is not None and not _UUID.fullmatch(ask.id):
        raise Wrong(400, "id", "id 应为小写 UUID / id must be a UUID in lower case")
    return ask


def _no_window(window: str, windows: Mapping[str, int]) -> Wrong:
    known = ", ".join(windows)
    return Wrong(404, "window", f"没有窗口 {window!r}, 本机有 / no such window, this agent has: {known}")


def _handed_in(ask: Ask, given: dict[str, Any], details: CaseDetails | None, moment: Moment) -> Ask:
    """The same, once the details of its case are sealed and kept."""
    if details is None or not details.seals:
        words = "本机没有配置 [details] key, 办件信息请交给汇聚器 POST /api/v1/cases"
        raise Wrong(
            409,
            "case",
            f"{words} / [details] key is not set here, post the case to the collector: POST /api/v1/cases",
            code=NO_KEY,
        )
    for name in ("case_no", "service_number"):
        ours = getattr(ask, name)
        if ours != getattr(_ANY, name) and given.get(name, ours) != ours:
            raise Wrong(409, f"case.{name}", f"case.{name}: 与邀请的不同 / is another one than the invitation's")
    if given.get("case_no", ask.case_no) is None:
        raise BadBody("case.case_no", "case.case_no: 缺少, 写在 case 里或旁边 / missing, in the case or beside it")
    try:
        case = case_of({"case_no": ask.case_no, "service_number": ask.service_number} | given, "case.")
        details.keep(case, moment.wall_ms)
    except BadBody as error:
        raise BadBody(error.field or "case", error.message) from error
    return msgspec.structs.replace(ask, case_no=case.case_no, service_number=case.service_number)


def _found(invitation: Invitation | None) -> Invitation:
    if invitation is None:
        raise Wrong(404, "id", "没有这个评价邀请 / no such invitation")
    return invitation


def _what(invitation: Invitation) -> tuple[str, str | None, int]:
    return invitation.window, invitation.case_no, invitation.service_number


def _shown(invitation: Invitation, outbox: Outbox) -> dict[str, Any]:
    return {
        "id": invitation.id,
        "window": invitation.window,
        "state": invitation.state,
        "case_no": invitation.case_no,
        "service_number": invitation.service_number,
        "opened_ms": invitation.opened.wall_ms,
        # As it was opened: who writes about a bad service keeps it open, and nobody is to see that.
        "deadline_ms": invitation.deadline_ms,
        "closed_ms": invitation.closed_ms,
        "storage": FULL if outbox.full else "ok",
    }
