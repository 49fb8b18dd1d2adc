"""Who may use the outbox's connection just now: one thread at a time, and those behind whom a citizen waits first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_BREATH_S = 0.000_5
_STAND_BACK_S = 0.02  # a press takes a few milliseconds; with presses on end the other work goes on all the same


class OutboxClosed(Exception):
    """The agent is ending: whoever still asks gets no answer from this outbox any more."""


class Lock:
    """Held by one thread at a time, which may enter again; OutboxClosed for all who come once it was shut."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._shut = False
        self._urgent: set[int] = set()
        """The threads behind which somebody waits."""
        self._calm, self._never = threading.Event(), threading.Event()

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._shut:
            self._lock.release()
            raise OutboxClosed

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """Somebody at a window waits for what is done in here, all of it, with the lock or without."""
        thread = threading.get_ident()
        self._urgent.add(thread)
        self._calm.clear()
        try:
            yield
        finally:
            self._urgent.discard(thread)
            if not self._urgent:
                self._calm.set()

    def stand_back(self) -> None:
        """For work that nobody waits for, by whoever does not hold the lock: let what is urgent go first.

        A thread that lets go of a lock and takes it again at once mostly gets it, before the one that has waited for
        it has woken up; and one that computes holds up every other.
        """
        if self._urgent:
            self._calm.wait(_STAND_BACK_S)

    def breathe(self) -> None:
        """For long work that nobody waits for: a thread that never rests lets no other begin at once, not even to say
        that it is urgent."""
        self._never.wait(_BREATH_S)

    def shut(self) -> None:
        """Wait for whoever is inside, and let nobody in any more."""
        with self._lock:
            self._shut = True
