"""A line of panels that are asked in turn: no press is lost that a panel holds, and none is made up."""

from collections.abc import Callable

import pytest

from edge_agent.outbox import Outbox
from edge_agent.polled import PolledCable
from edge_agent.window import Window
from protocols import profiles
from protocols.profiles.modbus import DeviceSaid, NoAnswer, Poll, Reading

from .hall import an_id, answers, at, invitation, presses
from .test_window import fill

PROFILE = profiles.shipped("modbus-key")


class Asked:
    """Two panels with a key register each, and what was written to them; of the shape of ModbusPoll."""

    def __init__(self) -> None:
        self.keys = {1: 0, 2: 0}
        self.polled: list[int] = []
        self.written: list[tuple[int, int, int]] = []
        self.instead: Poll | None = None

    def poll(self, address: int) -> Poll:
        self.polled.append(address)
        return self.instead or Reading((self.keys[address],), b"raw")

    def write(self, address: int, register: int, value: int) -> Poll:
        self.written.append((address, register, value))
        if register == 16:
            self.keys[address] = 0
        return Reading((value,), b"")


@pytest.fixture
def windows(box: Outbox) -> list[Window]:
    return [Window(str(number), f"D000{number}", box, at(0), 5, PROFILE, number) for number in (1, 2)]


@pytest.fixture
def line(windows) -> PolledCable:
    cable = PolledCable(PROFILE, windows, at(0))
    cable.plugged(at(0))
    return cable


@pytest.fixture
def panels() -> Asked:
    return Asked()


def turns(line: PolledCable, panels: Asked, first_ms: int, last_ms: int, step_ms: int = 50) -> None:
    """As the loop does it, looking as often as it would be woken."""
    for ms in range(first_ms, last_ms + 1, step_ms):
        line.turn(panels, lambda ms=ms: at(ms))


def test_each_panel_is_asked_in_turn_and_so_often(line, panels):
    """Two of them, each every half second."""
    turns(line, panels, 0, 1_400)

    assert [1, 2] * 3 == panels.polled
    assert 0 < line.wait_ms(at(1_400)) <= 150


def test_a_key_that_a_panel_holds_is_kept_and_then_cleared(line, panels, box):
    """In this order: the panel is its only memory until then. Red if it is cleared first."""
    turns(line, panels, 0, 1_000)
    box.open_invitation(invitation(1, at(1_050), window="2"))
    turns(line, panels, 1_050, 3_000)
    panels.keys[2] = 4
    turns(line, panels, 3_050, 4_000)

    assert [("2", "D0002", 4, an_id(1))] == [
        (record.window, record.device, record.button, record.invitation) for record in presses(box)
    ]
    assert [(2, 4, 1), (2, 16, 1), (2, 4, 0)] == panels.written


def test_a_key_is_not_cleared_while_there_is_no_room_for_it(line, panels, box):
    """The panel keeps it, and it is kept here as soon as there is room. Red if it is cleared all the same."""
    turns(line, panels, 0, 1_000)
    fill(box)
    panels.keys[1] = 3
    turns(line, panels, 1_050, 3_000)

    assert [] == [write for write in panels.written if write[1] == 16]
    box._db.execute("PRAGMA max_page_count = 100000")
    turns(line, panels, 3_050, 4_000)
    assert [3] == [record.button for record in presses(box) if record.window == "1"]
    assert [(1, 16, 1)] == panels.written


def test_what_a_panel_shows_when_nobody_has_looked_before_is_no_press(line, panels, box, windows):
    """It may be of yesterday: cleared, and counted as noise."""
    panels.keys[1] = 2
    turns(line, panels, 0, 1_000)

    assert [] == presses(box)
    assert 1 == windows[0].noise
    assert (1, 16, 1) in panels.written


def test_a_polled_press_may_be_as_old_as_the_last_look(line, panels, box):
    """The invitation opened between two looks: kept for nobody. Red if the time of reading is taken for the press's."""
    turns(line, panels, 0, 1_000)
    panels.keys[1] = 5
    box.open_invitation(invitation(1, at(1_300), window="1"))
    turns(line, panels, 1_500, 1_600)
    [record] = presses(box)

    assert (None, an_id(1)) == (record.invitation, record.doubt)
    assert 500 <= record.unsure_ms <= 700


@pytest.mark.parametrize(
    ("said", "state"), [(NoAnswer(), "device_silent"), (DeviceSaid(6, b"\x01\x83\x06"), "ready")], ids=["silence", "no"]
)
def test_a_panel_that_answers_is_there_whatever_it_says(line, panels, windows, said, state):
    """Silence is not an answer."""
    panels.instead = said
    turns(line, panels, 0, 8_000)

    assert state == windows[0].health(at(8_000)).state


def test_a_panel_is_told_of_its_invitation_and_of_its_end(line, panels, box):
    """A register of the profile's."""
    box.open_invitation(invitation(1, at(100), window="1"))
    turns(line, panels, 100, 500)
    box.close_invitation(an_id(1), "withdrawn", at(550))
    turns(line, panels, 600, 1_000)

    assert [(1, 4, 1), (1, 4, 0)] == panels.written


def test_a_cable_that_was_out_begins_anew(line, panels, box):
    """What happened meanwhile is not known."""
    turns(line, panels, 0, 1_000)
    line.unplugged("out", at(1_100))
    panels.keys[1] = 3
    line.plugged(at(2_000))
    turns(line, panels, 2_000, 3_000)

    assert [] == answers(box)


def test_a_profile_that_is_not_polled_has_no_such_line(windows):
    """A mistake of ours, said at once."""
    wrong: Callable[[], PolledCable] = lambda: PolledCable(profiles.shipped("qs4"), windows, at(0))  # noqa: E731

    with pytest.raises(ValueError, match="qs4"):
        wrong()
