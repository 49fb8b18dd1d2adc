"""Presses on our own page, on their way from the door to their window. Of the shape of a link."""

from __future__ import annotations

import threading
from enum import Enum

from protocols.profiles.profile import REFUSED

OWN = "page"
"""The profile of our own rating page; whoever has one of their own uses `screen`."""
_READ_S = 0.5  # as with a serial line: how often a window looks at its clock; a press and wake() end the wait at once
_ANSWER_S = 2.0  # a disk that needs longer has a page say so, and the citizen is offered to try again


class Answer(Enum):
    """What a page is told of its press. Only KEPT may thank the citizen."""

    KEPT = "kept"
    NOT_YET = "not yet"
    """To be said again: it is not clear, or not on disk, yet."""
    REFUSED = "refused"
    """There is no room on the disk: it was not accepted, and is not kept later by itself."""


class Page:
    """One window's page. Any thread may call `press`; the window's own thread reads and writes."""

    def __init__(self, window: str):
        self.port = f"screen:{window}"
        self.waited = False
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._body = b""
        self._outstanding = False
        self._woken = False
        self._answer = Answer.NOT_YET
        self._taken = False

    def press(self, body: bytes) -> Answer:
        """Hand over what the page said, and what became of it."""
        with self._turn, self._changed:
            self._body, self._outstanding, self._taken, self._answer = body, True, False, Answer.NOT_YET
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._outstanding, _ANSWER_S)
            self._body, self._outstanding = b"", False
            return self._answer

    def open(self) -> None:
        """A page is there whenever it speaks."""

    def read(self, wait_ms: int | None = None) -> bytes:
        """What a page has said; empty after a while without, or when woken."""
        wait_s = _READ_S if wait_ms is None else min(_READ_S, wait_ms / 1000)
        with self._changed:
            if not self._body:
                # What was read last has had its answer by now, or will have none.
                self._answered(Answer.NOT_YET)
            self._changed.wait_for(lambda: self._body or self._woken, wait_s)
            self._woken = False
            body, self._body = self._body, b""
            self._taken = bool(body)
            return body

    def write(self, data: bytes) -> None:
        """The window's answer: that the press is on disk, or that there is no room for it."""
        with self._changed:
            self._answered(Answer.REFUSED if data == REFUSED else Answer.KEPT)

    def wake(self) -> None:
        """End a `read` that waits. Any thread may call it."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing is held open."""

    def _answered(self, answer: Answer) -> None:
        # Only what the window has read can be what it answers: a late answer is not for the press after it.
        if self._outstanding and self._taken:
            self._outstanding, self._answer = False, answer
            self._changed.notify_all()
