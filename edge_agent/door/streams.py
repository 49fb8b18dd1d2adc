"""Server-sent events of the door: each stream tells its listener what is the case now, and whenever that changes."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from flask import Response

from ..outbox import OutboxClosed

EACH_MAX = 4  # of one link: a tablet that was loaded again leaves a stream behind until that is noticed
AGAIN_S = 5  # after so long it is worth another try where there was no room
_KEEP_ALIVE_S = 15.0  # a comment now and then, so that a browser that left is noticed
_UNSAID_MAX = 50  # looks without a word
SOON = "retry: 1000\n\n"
"""How a page's stream begins: where its agent starts again it is back in a second."""

_ALL, _PASSING = "*", "passing"
State = tuple[dict[str, Any], dict[str, Any]]
"""What is the case, and what only goes with it: a change of the second alone is told nobody."""


class Streams:
    """All that are open. Each holds a thread of the server, so there are no more than `most`; of these `kept` are for
    pages that stay open all day, whatever else is being followed."""

    def __init__(self, most: int, kept: int = 0):
        self._most, self._kept = most, kept
        self._places = threading.Lock()
        self._open: Counter[str] = Counter()
        """By whose they are, and all of them under ALL and PASSING."""
        self._changed = threading.Condition()
        self._changes = 0

    def changed(self) -> None:
        """Something that a stream may tell has changed. Any thread may call it."""
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    def follow(
        self,
        look: Callable[[], State | None],
        is_last: Callable[[dict[str, Any]], bool],
        first: str = "",
        whose: str = "",
        stays: bool = False,
    ) -> Response:
        """A stream of what `look` sees, until that is None or `is_last`. It begins with `first`.

        503 where there are too many, also of one link (`whose`; none: whoever has the token): a page then asks now and
        again. `stays`: of a page that stays open.
        """
        places = [_ALL, *([whose] if whose else []), *([] if stays else [_PASSING])]
        if not self._enters(places, whose):
            response = Response(status=503)
            response.headers["Retry-After"] = str(AGAIN_S)
            return response
        response = Response(self._told(look, is_last, first), mimetype="text/event-stream")
        response.headers["Cache-Control"] = "no-store"
        response.call_on_close(lambda: self._leaves(places))
        return response

    def _enters(self, places: list[str], whose: str) -> bool:
        bounds = {_ALL: self._most, _PASSING: self._most - self._kept, whose: EACH_MAX}
        with self._places:
            if any(self._open[place] >= bounds[place] for place in places):
                return False
            self._open.update(places)
            return True

    def _leaves(self, places: list[str]) -> None:
        with self._places:
            self._open.subtract(places)
            self._open += Counter()  # whoever has none is forgotten

    def _next(self, looked: int) -> tuple[int, bool]:
        """Wait until there is a change after number `looked`, for so long; the number of the last, and whether."""
        with self._changed:
            changed = self._changed.wait_for(lambda: self._changes != looked, _KEEP_ALIVE_S)
            return self._changes, changed

    def _told(
        self, look: Callable[[], State | None], is_last: Callable[[dict[str, Any]], bool], first: str
    ) -> Iterator[str]:
        yield first
        shown: dict[str, Any] | None = None
        looked, unsaid = -1, 0
        while True:
            looked, changed = self._next(looked)
            # Not within the lock: whoever keeps a press says so to all streams, and must not wait for their looks.
            try:
                seen = look()
            except OutboxClosed:
                return
            if seen is None:
                return
            state, beside = seen
            if state == shown:
                # In a busy hall something else changes all the time, and who has left is noticed by speaking only.
                unsaid = unsaid + 1 if changed else _UNSAID_MAX
                if unsaid >= _UNSAID_MAX:
                    unsaid = 0
                    yield ": \n\n"
                continue
            shown = state
            yield f"event: state\ndata: {json.dumps(state | beside, ensure_ascii=False)}\n\n"
            if is_last(state):
                return
