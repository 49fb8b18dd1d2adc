"""Whoever a citizen waits for goes first; the other work goes on all the same."""

import threading
import time
from contextlib import contextmanager

import pytest

from edge_agent.outbox.lock import _STAND_BACK_S, Lock, OutboxClosed

PATIENCE_S = 5


@contextmanager
def somebody_urgent(lock: Lock):
    """At a window, in a thread of its own, until this is left."""
    begun, over = threading.Event(), threading.Event()

    def press() -> None:
        with lock.urgent():
            begun.set()
            over.wait(PATIENCE_S)

    thread = threading.Thread(target=press)
    thread.start()
    assert begun.wait(PATIENCE_S)
    try:
        yield
    finally:
        over.set()
        thread.join()


def stood_back_s(lock: Lock) -> float:
    started_s = time.monotonic()
    lock.stand_back()
    return time.monotonic() - started_s


def test_other_work_waits_for_a_press_but_not_for_ever():
    """Red if nobody stands back, and if presses on end would stop the other work."""
    lock = Lock()
    with somebody_urgent(lock):
        while_urgent_s = stood_back_s(lock)
    afterwards_s = stood_back_s(lock)

    assert _STAND_BACK_S <= while_urgent_s < PATIENCE_S / 2
    assert afterwards_s < _STAND_BACK_S


def test_work_goes_on_as_soon_as_the_press_is_kept(monkeypatch):
    """Not only when its patience is over."""
    monkeypatch.setattr("edge_agent.outbox.lock._STAND_BACK_S", PATIENCE_S)
    lock = Lock()
    stood_s: list[float] = []
    with somebody_urgent(lock):
        work = threading.Thread(target=lambda: stood_s.append(stood_back_s(lock)))
        work.start()
        time.sleep(0.05)
        assert work.is_alive()
    work.join(PATIENCE_S)

    assert 0.04 < stood_s[0] < PATIENCE_S / 2


def test_a_press_that_fails_is_urgent_no_more():
    """Red if the next work would wait for one that is over."""
    lock = Lock()
    with pytest.raises(ZeroDivisionError), lock.urgent():
        _ = 1 / 0

    assert stood_back_s(lock) < _STAND_BACK_S


def test_a_lock_that_is_shut_lets_whoever_is_inside_finish():
    """And nobody in after that, neither for the first time nor again."""
    lock = Lock()
    inside, go = threading.Event(), threading.Event()

    def finish() -> None:
        with lock, lock:
            inside.set()
            go.wait(PATIENCE_S)

    holder = threading.Thread(target=finish)
    holder.start()
    inside.wait(PATIENCE_S)
    closer = threading.Thread(target=lock.shut)
    closer.start()
    closer.join(0.05)
    assert closer.is_alive()
    go.set()
    closer.join(PATIENCE_S)
    holder.join(PATIENCE_S)

    with pytest.raises(OutboxClosed), lock:
        pass
