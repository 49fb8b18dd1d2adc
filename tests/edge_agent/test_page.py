"""A page's press between the door's threads and its window's: nobody is thanked for what is not on disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest

from edge_agent import page as pages
from edge_agent.page import Answer, Page
from protocols.profiles.profile import REFUSED

from .hall import PATIENCE_S

A = b'{"device":"S1","boot":1,"count":1,"button":5}'
B = b'{"device":"S1","boot":1,"count":2,"button":1}'


@pytest.fixture
def page() -> Page:
    return Page("3")


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Those of the door."""
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that wait for an answer a twentieth of a second."""
    monkeypatch.setattr(pages, "_ANSWER_S", 0.05)


def next_body(page: Page) -> bytes:
    """What the window reads next; it asks again as a window does."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        if body := page.read():
            return body
    raise AssertionError("no page spoke")


def told(answer: Future[Answer]) -> Answer:
    return answer.result(PATIENCE_S)


def test_a_press_that_the_window_answers_is_kept(page, threads):
    """The window reads exactly what the page said, and its write is the thanks."""
    answer = threads.submit(page.press, A)
    body = next_body(page)
    assert not answer.done()
    page.write(b"kept")

    assert (A, Answer.KEPT) == (body, told(answer))


@pytest.mark.alone
def test_a_press_that_the_window_leaves_unanswered_is_not_kept(page, threads):
    """It reads on without a word: the page hears so at once, and not after its patience. Red if read() says nothing."""
    answer = threads.submit(page.press, A)
    next_body(page)
    began_s = time.monotonic()
    page.read(wait_ms=0)

    assert Answer.NOT_YET is told(answer)
    assert time.monotonic() - began_s < 1


def test_a_press_that_there_is_no_room_for_is_refused(page, threads):
    """At once, and not for the one after it. Red if any word of the window is taken for the thanks."""
    answer = threads.submit(page.press, A)
    next_body(page)
    page.write(REFUSED)
    after = threads.submit(page.press, B)
    next_body(page)
    page.write(b"kept")

    assert (Answer.REFUSED, Answer.KEPT) == (told(answer), told(after))


def test_a_press_that_nobody_reads_is_not_kept(page, hasty):
    """The window is busy with a slow disk: the citizen is offered to try again. Red without the time-out."""
    assert Answer.NOT_YET is page.press(A)


def test_a_press_that_was_given_up_is_not_read_later(page, hasty):
    """The page has been told no, and asks again by itself: the window must not keep what nobody waits for."""
    page.press(A)

    assert b"" == page.read(wait_ms=0)


def test_an_answer_that_comes_too_late_thanks_nobody(page, threads, hasty):
    """The page has gone; the next one starts with nothing said. Red if an answer is kept for whoever comes."""
    answer = threads.submit(page.press, A)
    next_body(page)
    assert Answer.NOT_YET is told(answer)
    page.write(b"kept")

    assert Answer.NOT_YET is page.press(B)


def test_an_answer_that_comes_too_late_is_not_for_the_next_press(page, threads, monkeypatch):
    """A slow disk keeps A when its page has given up and B is waiting to be read: B is not thanked, and is read."""
    monkeypatch.setattr(pages, "_ANSWER_S", 0.05)
    given_up = threads.submit(page.press, A)
    next_body(page)
    assert Answer.NOT_YET is told(given_up)
    monkeypatch.setattr(pages, "_ANSWER_S", PATIENCE_S)
    answer = threads.submit(page.press, B)
    wait_for(page, lambda: page._outstanding)
    page.write(b"kept")
    too_early, _ = wait([answer], timeout=0.2)
    body = page.read(wait_ms=0)
    page.write(b"kept")

    assert (set(), B, Answer.KEPT) == (too_early, body, told(answer))


def test_two_pages_at_once_get_an_answer_each(page, threads):
    """Eight at the same moment, every second one kept: no body is lost or answered for another. Red without turns."""
    bodies = [b"%d" % number for number in range(8)]
    answers = {body: threads.submit(page.press, body) for body in bodies}
    seen = []
    while len(seen) < len(bodies):
        body = next_body(page)
        seen.append(body)
        if int(body) % 2:
            page.write(b"kept")
    page.read(wait_ms=0)

    assert bodies == sorted(seen)
    assert {body: int(body) % 2 == 1 for body in bodies} == {
        body: told(answer) is Answer.KEPT for body, answer in answers.items()
    }


@pytest.mark.alone
def test_a_window_that_waits_is_woken(page):
    """For an invitation or the end of the program: at once, with nothing read. Red if only a press ends the wait."""
    reads: list[tuple[bytes, float]] = []

    def read() -> None:
        began_s = time.monotonic()
        reads.append((page.read(), time.monotonic() - began_s))

    window = threading.Thread(target=read)
    window.start()
    page.wake()
    window.join(PATIENCE_S)

    ((body, took_s),) = reads
    assert b"" == body
    assert took_s < pages._READ_S / 2


def test_being_woken_once_ends_one_wait(page):
    """The next read waits again: a window must not spin. Red if the wake is not taken back."""
    page.wake()
    page.read()
    began_s = time.monotonic()
    page.read(wait_ms=50)

    assert time.monotonic() - began_s >= 0.045


@pytest.mark.alone
def test_a_window_looks_at_its_clock_though_no_page_speaks(page):
    """No read lasts longer than that of a serial line, whatever it is asked for."""
    began_s = time.monotonic()

    assert b"" == page.read(wait_ms=3_600_000)
    assert time.monotonic() - began_s < 4 * pages._READ_S


def test_a_page_has_a_name_and_is_always_there():
    """As any link: opened, closed, and never found to have lain about."""
    page = Page("3")
    page.open()
    page.close()

    assert ("screen:3", False) == (page.port, page.waited)


def wait_for(page: Page, true: Callable[[], bool]) -> None:
    with page._changed:
        assert page._changed.wait_for(true, PATIENCE_S)
