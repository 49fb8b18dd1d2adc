"""The guide's last step: the first press that is kept, how far it has come, and the lines that the centre needs."""

from __future__ import annotations

import json
from typing import Any

from flask import Flask, abort, redirect, render_template, request, url_for

from protocols.profiles.vocabulary import KeyMeaning
from protocols.ratings import Invitation, Level

from ....config import is_loopback
from ....doctor.learn.meanings import LETTERS
from ....outbox import OutboxFull, WindowBusy
from ....outbox.invitations import new_id
from ....page import OWN
from ....setup import toml
from ....setup.draft import LATER, Draft
from ....window import Window
from .walk import Walk, levels

_ASKED_S = 120  # long enough to walk to the tablet and open the page
_TRIED_MS = 15 * 60_000  # after the first press: whoever tries is done by then


class Trial:
    def __init__(self, walk: Walk):
        self._walk = walk
        self._desk = walk.desk

    def add(self, app: Flask) -> None:
        app.add_url_rule("/setup/guide/try", "guide.try", self.try_it)
        app.add_url_rule("/setup/guide/try/part", "guide.try_part", self.try_part)
        app.add_url_rule("/setup/guide/try/ask", "guide.ask", self.ask, methods=["POST"])

    def try_it(self) -> Any:
        if self._desk.place.running is None:
            return redirect(url_for("guide"))
        return self._walk.page("try", **self._tried_so_far(), **self._handed_over())

    def try_part(self) -> str:
        return render_template("setup/try_part.html", draft=self._walk.draft(), **self._tried_so_far())

    def ask(self) -> Any:
        """Ask for one rating at this window, as a business system would, of no case. Nobody who is being asked now is
        put off for a try."""
        running, found = self._desk.place.running, self._walk.draft()
        if running is None or found.window not in [each.id for each in running.windows]:
            abort(404)
        now = self._desk.place.now()
        try:
            running.outbox.open_invitation(Invitation(new_id(now.wall_ms), found.window, now, _ASKED_S))
        except (WindowBusy, OutboxFull):
            pass  # the page says how the window stands
        return redirect(url_for("guide.try"), 303)

    def _asked_s(self, window: Window | None) -> int:
        """For how many seconds the window still asks for a rating; 0 if it does not."""
        running = self._desk.place.running
        if running is None or window is None:
            return 0
        waiting = running.outbox.open_at(window.id, self._desk.place.now())
        return max(0, waiting[1] // 1000) if waiting is not None else 0

    def _tried_so_far(self) -> dict[str, Any]:
        running, found = self._desk.place.running, self._walk.draft()
        if running is None:
            abort(404)
        window = next((each for each in running.windows if each.id == found.window), None)
        kept = _tried(window, found) if window is not None else []
        if kept and found.applied and found.kept_ms is None:
            found = self._walk.note(found, kept_ms=kept[0][0])
        done, _ = running.outbox.receipted()
        took_s = (found.kept_ms - found.began_ms) // 1000 if found.kept_ms is not None else None
        return {
            "window": window,
            "rating_page": self._page_of(window),
            "asked_s": self._asked_s(window),
            "here_alone": is_loopback(self._desk.place.door_host),
            "health": window.health(self._desk.place.now()) if window is not None else None,
            "kept": [(at, key, tip, tip <= done, _meaning(window, key)) for at, key, tip in reversed(kept)],
            "own": window is not None and window.profile.id == OWN,
            "backlog": running.outbox.backlog(),
            "reach": running.uplink.reach,
            "broker": running.settings.uplink,
            "later": LATER,
            "took": f"{took_s // 60}:{took_s % 60:02}" if took_s is not None else "",
        }

    def _page_of(self, window: Window | None) -> str:
        """The whole address of the window's rating page; empty where its device is none."""
        path = self._desk.rating_path(window) if window is not None else ""
        return f"http://{request.host}{path}" if path else ""

    def _handed_over(self) -> dict[str, Any]:
        """The lines for the collector's directory.toml."""
        found = self._walk.draft()
        profile = self._desk.profile(found.profile)
        meanings = {int(key): meaning for key, meaning in profile.shape.keys.items()} if profile is not None else {}
        asked = {int(name[1:]): value for name, value in request.args.items() if _is_key(name, value)}
        keys = {str(key): _value(meaning) for key, meaning in meanings.items()}
        keys |= {str(key): json.dumps(level) for key, level in sorted(asked.items())}
        number = max([5, *meanings, *asked])
        if found.profile == OWN:
            # Its keys are the levels, wherever it stands: the centre knows them.
            return {"directory": toml.directory_text(found, None), "levels": [], "keys": [], "chosen": {}}
        return {
            "directory": toml.directory_text(found, keys),
            "levels": levels(),
            "keys": range(1, number + 1),
            "chosen": {**{key: meaning.level for key, meaning in meanings.items()}, **asked},
        }


def _tried(window: Window, draft: Draft) -> list[tuple[int, int, int]]:
    """The presses of whoever tries the window that was just bound, and nobody's later: those are citizens'."""
    since = [each for each in list(window.lately) if draft.applied and each[0] >= draft.began_ms]
    first_ms = draft.kept_ms if draft.kept_ms is not None else (since[0][0] if since else 0)
    return [each for each in since if each[0] <= first_ms + _TRIED_MS]


def _meaning(window: Any, key: int) -> str:
    """What the profile says of this key; nothing where it says nothing: there is no usual meaning."""
    meaning = window.profile.shape.keys.get(str(key))
    if meaning is None:
        return ""
    reason = f" {meaning.reason}" if meaning.reason else ""
    return f"{Level(meaning.level).zh}{reason} / {meaning.level.replace('_', ' ')}{reason}"


def _value(meaning: KeyMeaning) -> str:
    level = json.dumps(meaning.level)
    return (
        f"{{ level = {level}, reason = {json.dumps(meaning.reason, ensure_ascii=False)} }}" if meaning.reason else level
    )


def _is_key(name: str, value: str) -> bool:
    return name[:1] == "k" and name[1:].isdecimal() and len(name) < 5 and value in LETTERS.values()
