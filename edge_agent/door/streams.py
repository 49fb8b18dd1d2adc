"""Server-sent events of the door: each stream tells its listener what is the case now, and whenever that changes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

from flask import Response

from ..outbox import OutboxClosed

AGAIN_S = 5  # after so long it is worth another try where there was no room
_KEEP_ALIVE_S = 15.0  # a comment now and then, so that a browser that left is noticed
SOON = "retry: 1000\n\n"
"""How a page's stream begins: where its agent starts again it is back in a second."""

State = tuple[dict[str, Any], dict[str, Any]]
"""What is the case, and what only goes with it: a change of the second alone is told nobody."""


class Streams:
    """All that are open. Each holds a thread of the server, so there are no more than `most`."""

    def __init__(self, most: int):
        self._free = threading.Semaphore(most)
        self._changed = threading.Condition()
        self._ended = False

    def changed(self) -> None:
        """Something that a stream may tell has changed. Any thread may call it."""
        with self._changed:
            self._changed.notify_all()

    def end(self) -> None:
        """All of them end: what answers behind the door is another one now."""
        self._ended = True
        self.changed()

    def follow(
        self, look: Callable[[], State | None], is_last: Callable[[dict[str, Any]], bool], first: str = ""
    ) -> Response:
        """A stream of what `look` sees, until that is None or `is_last`; 503 where there are too many. It begins with
        `first`."""
        if not self._free.acquire(blocking=False):
            response = Response(status=503)
            response.headers["Retry-After"] = str(AGAIN_S)
            return response
        response = Response(self._told(look, is_last, first), mimetype="text/event-stream")
        response.headers["Cache-Control"] = "no-store"
        response.call_on_close(self._free.release)
        return response

    def _told(
        self, look: Callable[[], State | None], is_last: Callable[[dict[str, Any]], bool], first: str
    ) -> Iterator[str]:
        yield first
        shown: dict[str, Any] | None = None
        while not self._ended:
            try:
                with self._changed:
                    seen = look()
                    if seen is not None and seen[0] == shown:
                        self._changed.wait(_KEEP_ALIVE_S)
                        seen = look()
            except OutboxClosed:
                return
            if seen is None:
                return
            state, beside = seen
            if state == shown:
                yield ": \n\n"
                continue
            shown = state
            yield f"event: state\ndata: {json.dumps(state | beside, ensure_ascii=False)}\n\n"
            if is_last(state):
                return
