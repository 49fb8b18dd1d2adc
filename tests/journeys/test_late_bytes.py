"""Bytes that waited in the machine must not move a press to another citizen, nor out of its invitation."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.outbox import Outbox
from firmware_sim.panel import HousePanel
from protocols.ratings import Invitation, Moment
from tests.edge_agent.hall import Alone

START_MS = 1_790_000_000_000


class Desk:
    """A panel and a window on one cable, looked at only when a test says so."""

    def __init__(self, folder: Path):
        self.now_ms = START_MS
        self.outbox = Outbox(folder / "outbox.db", "hall-pc-1", self.now_ms)
        self.window = Alone("1", "D0001", self.outbox, self.moment())
        self.panel = HousePanel("D0001", 1, self.now_ms)
        self.up = b""
        self.panel.feed(self.window.plugged(self.moment()), self.now_ms)

    def moment(self) -> Moment:
        return Moment(self.now_ms, self.now_ms - START_MS + 60_000, "boot-1", None)

    def invite(self, seconds: int) -> str:
        asked = Invitation(str(uuid.uuid4()), "1", self.moment(), seconds)
        self.outbox.open_invitation(asked, replace=True)
        return asked.id

    def goes_by(self, ms: int, looked_at: bool = True) -> None:
        """Time passes; the panel says what it wants, and somebody reads the cable or nobody does."""
        for _ in range(ms // 50):
            self.now_ms += 50
            self.up += self.panel.poll(self.now_ms)
            if looked_at:
                self.look()

    def look(self, waited: bool = False) -> None:
        data, self.up = self.up, b""
        reply = self.window.feed(data, self.moment(), waited) + self.window.tick(self.moment())
        self.panel.feed(reply, self.now_ms)

    def answered(self, invitation: str) -> bool:
        """Whether a press was kept for this invitation."""
        return invitation in [
            record["body"].split('"invitation":"')[-1][:36]
            for record in self.outbox.records()
            if record["kind"] == "press"
        ]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    desk.goes_by(500)
    yield desk
    desk.outbox.close()


def test_a_press_that_waited_while_the_next_citizen_was_invited_stays_with_its_own(desk):
    """The frame says "just now", and "just now" is another invitation by the time it is read.

    Turns red if presses are kept while it is unclear which invitation was open (`known` in Outbox.keep).
    """
    first = desk.invite(30)
    desk.goes_by(1000)
    desk.panel.press(5, desk.now_ms)
    desk.goes_by(300, looked_at=False)
    second = desk.invite(30)
    desk.goes_by(300, looked_at=False)
    desk.goes_by(2000)

    assert desk.answered(first)
    assert not desk.answered(second)


def test_a_press_that_waited_past_the_deadline_still_counts(desk):
    """The citizen pressed in time; that the machine slept is not the citizen's fault.

    Turns red if bytes that may have waited for longer than STALE_MS are taken at their word.
    """
    invitation = desk.invite(5)
    desk.goes_by(3000)
    desk.panel.press(5, desk.now_ms)
    desk.goes_by(50, looked_at=False)
    desk.up += desk.panel.poll(desk.now_ms)
    desk.now_ms += 6000
    desk.look()
    desk.goes_by(2000)

    assert desk.answered(invitation)


def test_a_press_that_a_cable_held_back_for_minutes_counts_for_its_own_service(desk):
    """Twenty citizens later; turns red if only the last few invitations are looked at."""
    invitation = desk.invite(10)
    desk.goes_by(1000)
    desk.panel.press(5, desk.now_ms)
    for _ in range(20):
        desk.goes_by(3000, looked_at=False)
        desk.up = b""
        desk.invite(3)
    desk.goes_by(2000)

    assert desk.answered(invitation)


def test_a_press_before_an_invitation_does_not_become_its_answer_by_waiting(desk):
    """Made half a second before the next citizen was invited, and read from a buffer where its repeat lay as long.

    Turns red if bytes that were there before anybody looked may have waited for longer than WAITED_MS.
    """
    desk.panel.press(5, desk.now_ms)
    desk.goes_by(300, looked_at=False)
    desk.up = b""
    invitation = desk.invite(30)
    desk.look()
    repeat = b""
    while b"PRESS" not in repeat:
        desk.window.feed(b"", desk.moment())
        desk.now_ms += 50
        repeat = desk.panel.poll(desk.now_ms)
    desk.up = repeat
    desk.now_ms += 500
    desk.look(waited=True)
    desk.goes_by(1500)

    assert not desk.answered(invitation)
