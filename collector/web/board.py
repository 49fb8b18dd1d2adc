"""The operators' board: every window of every hall, live. A page that is whole without scripts, all windows as one
answer, and a stream of what changes."""

from __future__ import annotations

import gzip
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any

from flask import Flask, Response, render_template, request, stream_with_context

from ..directory import Directory
from ..ledger.overview import Overview
from ..ledger.tally import moment_text
from ..windows.live import Line, Live, Picture
from ..windows.standing import STATES, WELL
from .gate import Gate
from .language import language, say
from .shown import Shown
from .words import WORDS, said

STREAMS_MAX = 220  # each has a thread; whoever comes later asks every few seconds instead
_AGAIN_S = 5
_STILL_TURNS = 3  # a stream that says nothing for longer is lost, and the page says so
_ASKED_TURNS = 10  # so many pictures after somebody has signed out, their other pages are told nothing more
_LISTED_MAX = 200  # more are not read by anybody without a script that finds them
_PLACES = {state: place for place, state in enumerate(STATES)}
_ID = re.compile(r"([0-9a-f]{8})\.([0-9]{1,15})\.([0-9]{1,15})\.([0-9a-f]{8})", re.ASCII)


def add(
    app: Flask,
    shown: Shown,
    overview: Overview,
    directory: Directory,
    now_ms: Callable[[], int],
    gate: Gate,
) -> Live:
    """Add the board to `app`; what it shows the windows from."""
    live = Live(overview.since, directory, now_ms, shown.count)
    sent = _Sent(live, shown)
    streams = threading.BoundedSemaphore(STREAMS_MAX)
    app.extensions["board"] = live
    app.jinja_env.globals["clock"] = lambda at_ms: moment_text(at_ms, now_ms())
    app.jinja_env.filters["figure"] = "{:,}".format
    app.jinja_env.globals["named"] = lambda word: say(said(WORDS, word))

    def looks() -> None:
        gate.person()

    @app.get("/")
    @app.get("/board")
    def page() -> str:
        looks()
        picture = live.look()
        # Those that need somebody, unless a reader asks for others.
        found = picture.lines if request.args.get("q") or request.args.get("state") in WELL else picture.troubled()
        lines = [line for line in found if _asked(line)]
        return render_template(
            "board.html",
            **shown.last,
            states=STATES,
            counts=picture.states(),
            lines=lines[:_LISTED_MAX],
            unlisted=len(lines) - len(lines[:_LISTED_MAX]),
            all_windows=len(picture.lines),
            asked=request.args,
        )

    @app.get("/board/windows")
    def windows() -> Response:
        looks()
        body, packed = sent.whole(live.look())
        if "gzip" not in request.headers.get("Accept-Encoding", ""):
            return Response(body, mimetype="application/json")
        response = Response(packed, mimetype="application/json")
        response.headers["Content-Encoding"] = "gzip"
        response.vary.add("Accept-Encoding")
        return response

    @app.get("/board/changes")
    def changes() -> Response:
        """Once, for a page that found no stream: what changed after `since`."""
        looks()
        return Response(sent.after(live.look(), request.args.get("since", "")), mimetype="application/json")

    @app.get("/board/stream")
    def stream() -> Response:
        looks()
        if not streams.acquire(blocking=False):
            response = Response(status=503)
            response.headers["Retry-After"] = str(_AGAIN_S)
            return response
        since = request.headers.get("Last-Event-ID") or request.args.get("since", "")
        response = Response(stream_with_context(sent.stream(since, gate.still_there)), mimetype="text/event-stream")
        response.call_on_close(streams.release)
        return response

    return live


def _asked(line: Line) -> bool:
    """Whether a reader without scripts wants to see it."""
    wanted = request.args.get("q", "").strip().lower()
    state = request.args.get("state", "")
    return state in ("", "trouble", line.standing.state) and all(
        part in f"{line.hall} {line.number} {line.agent}/{line.window} {line.device}".lower() for part in wanted.split()
    )


class _Sent:
    """What browsers are sent, made once for all of them."""

    def __init__(self, live: Live, shown: Shown):
        self._live = live
        self._shown = shown
        self._start = secrets.token_hex(4)
        """Of this program: another one counts its versions anew."""
        self._made: dict[Any, Any] = {}
        self._lock = threading.RLock()

    def _once(self, what: str, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What `make` made last under this name in this language, if it was for the same `key`."""
        name = (what, language())
        with self._lock:
            kept = self._made.get(name)
            if kept is None or kept[0] != key:
                kept = self._made[name] = (key, make())
            return kept[1]

    def whole(self, picture: Picture) -> tuple[bytes, bytes]:
        """All windows as JSON, plain and packed."""

        def make() -> tuple[bytes, bytes]:
            body = _json(
                {
                    "id": self.id(picture),
                    "at_ms": picture.at_ms,
                    "states": [[state, say(kind.name), kind.look, kind.mark] for state, kind in STATES.items()],
                    **_columns(picture.lines),
                }
            )
            return body, gzip.compress(body, 6, mtime=0)

        made: tuple[bytes, bytes] = self._once("whole", (self.id(picture),), make)
        return made

    def after(self, picture: Picture, since: str) -> bytes:
        """What changed after this id; `again` where that cannot be told."""
        now = self.id(picture)
        match = _ID.fullmatch(since)
        if not match or (match[1], int(match[2])) != (self._start, picture.order) or int(match[3]) > picture.version:
            return _json({"id": now, "at_ms": picture.at_ms, "again": True})
        version, seen = int(match[3]), match[4]

        def make() -> bytes:
            rows = [[place, *_changing(line)] for place, line in picture.since(version)]
            digest, totals = self._totals()
            said = {"id": now, "at_ms": picture.at_ms, "counted_ms": self._shown.last["summary"]["at_ms"], "rows": rows}
            return _json(said if digest == seen else said | totals)

        made: bytes = self._once("after", (since, now, picture.at_ms), make)
        return made

    def stream(self, since: str, still_there: Callable[[], bool]) -> Iterator[str]:
        """Server-sent events: what changed, and now and then that nothing did; as long as their reader may see it."""
        yield f"retry: {_AGAIN_S * 1000}\n\n"
        turns, asked = _STILL_TURNS, 0
        while True:
            asked += 1
            if asked % _ASKED_TURNS == 0 and not still_there():
                return
            picture = self._live.look(at_once=True)
            turns += 1
            if since != self.id(picture) or turns >= _STILL_TURNS:
                body = self.after(picture, since).decode()
                since, turns = self.id(picture), 0
                yield f"id: {since}\ndata: {body}\n\n"
            if not self._live.pause(picture):
                return

    def id(self, picture: Picture) -> str:
        """What a browser has that was sent this: which start of the program, order and version of the lines, and the
        totals beside them."""
        return f"{self._start}.{picture.order}.{picture.version}.{self._totals()[0]}"

    def _totals(self) -> tuple[str, dict[str, str]]:
        """What stands above and below the windows, and a name for it."""
        shown = self._shown.last

        def make() -> tuple[str, dict[str, str]]:
            made = {each: render_template(f"{each}.html", **shown) for each in ("totals", "lists")}
            return blake2b("".join(made.values()).encode(), digest_size=4).hexdigest(), made

        made: tuple[str, dict[str, str]] = self._once("totals", (shown["summary"]["at_ms"],), make)
        return made


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _columns(lines: tuple[Line, ...]) -> dict[str, list[Any]]:
    """Column by column: what is alike stands together, and packs to a fraction."""
    halls = {hall: place for place, hall in enumerate(dict.fromkeys(line.hall for line in lines))}
    changing = [_changing(line) for line in lines]
    return {
        "halls": [*halls],
        "hall": [halls[line.hall] for line in lines],
        "number": [line.number for line in lines],
        "agent": [line.agent for line in lines],
        "window": [line.window for line in lines],
        "device": [line.device for line in lines],
        **{name: [each[at] for each in changing] for at, name in enumerate(_CHANGING)},
    }


_CHANGING = ("state", "words", "ratings", "last_s", "oldest_s")


def _changing(line: Line) -> tuple[int, str, int, int, int]:
    """What of a line changes: see _CHANGING; 0 for no moment."""
    return (
        _PLACES[line.standing.state],
        say(line.standing.words),
        line.ratings,
        (line.last_ms or 0) // 1000,
        (line.oldest_ms or 0) // 1000,
    )
