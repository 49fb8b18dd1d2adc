"""One window: presses are thanked for once they are kept, invitations reach the device, and health tells the truth."""

import logging

import pytest

from edge_agent.cable import STALE_MS
from edge_agent.outbox import GRACE_MS, Outbox, OutboxFull
from firmware_sim.panel import HousePanel, PressThanked, frame
from protocols.ratings import Moment

from .hall import (
    DEVICE,
    T0_MS,
    WINDOW,
    Alone,
    an_id,
    answers,
    at,
    closings,
    drain,
    held,
    invitation,
    keep,
    look,
    power_cut,
    press,
    presses,
)


@pytest.fixture
def window(box: Outbox) -> Alone:
    """Plugged in, at the beginning."""
    window = Alone(WINDOW, DEVICE, box, at(0))
    window.plugged(at(0))
    return window


def pressed(count: int, button: int = 1, age_ms: int = 0, device: str = DEVICE, boot: int = 1) -> bytes:
    return frame("PRESS", device, boot, count, button, age_ms)


def beat(state: str = "idle", device: str = DEVICE, boot: int = 1, count: int = 0) -> bytes:
    return frame("BEAT", device, boot, 60, state, count)


def ack(count: int, device: str = DEVICE, boot: int = 1) -> bytes:
    return frame("ACK", device, boot, count)


def invite(seconds: int) -> bytes:
    return frame("INVITE", DEVICE, seconds) + QUERY


QUERY = frame("QUERY", DEVICE)
WITHDRAW = frame("WITHDRAW", DEVICE)


# ---- presses


def test_a_press_is_thanked_for_once_it_is_on_the_disk(window, box, opened, tmp_path):
    """What a power cut right after the answer leaves, holds it. Red if the ack is built without keep()."""
    reply = window.feed(pressed(1, button=5, age_ms=20), at(100))
    [record] = presses(opened(power_cut(box.path, tmp_path / "after")))

    assert ack(1) == reply
    assert (DEVICE, 1, 1, 5, T0_MS + 80) == (
        record.device,
        record.boot,
        record.count,
        record.button,
        record.pressed_ms,
    )
    assert pressed(1, button=5, age_ms=20).strip().hex() == record.raw


def test_a_press_that_is_repeated_is_thanked_for_again_and_kept_once(window, box):
    """The first ack may have been lost on the line."""
    assert ack(1) == window.feed(pressed(1), at(100))
    assert ack(1) == window.feed(pressed(1, age_ms=400), at(500))
    assert 1 == len(held(box))


def test_several_presses_in_one_read_are_each_thanked_for(window, box):
    """In their order, whatever lies between them."""
    data = pressed(1) + b"\x00garbage" + pressed(2) + beat(count=2) + pressed(3)

    assert ack(1) + ack(2) + ack(3) == window.feed(data, at(100))
    assert [1, 2, 3] == [record.count for record in presses(box)]


def test_a_press_that_comes_in_pieces_is_kept_when_it_is_whole(window, box):
    """A byte at a time, with silence between."""
    replies = [window.feed(bytes([byte]), at(number)) for number, byte in enumerate(pressed(1).rstrip())]

    assert [b""] * (len(replies) - 1) + [ack(1)] == replies
    assert 1 == len(held(box))


def test_bytes_that_may_have_waited_are_not_understood(window, box):
    """The machine slept: nobody knows when the button went down. Its repeat says it. Red without STALE_MS."""
    assert b"" == window.feed(pressed(1), at(STALE_MS + 1))
    assert [] == held(box)
    window.feed(b"", at(STALE_MS + 1_900))
    assert ack(1) == window.feed(pressed(1, age_ms=2_000), at(STALE_MS + 2_000))


def test_nothing_is_thanked_for_while_it_is_unclear_which_invitation_was_open(window, box):
    """It opened between two reads: the press may be from before. Its repeat says it. Red without `known`."""
    window.feed(b"", at(500))
    box.open_invitation(invitation(1, at(600)))

    assert b"" == window.feed(pressed(1), at(700))
    assert ack(1) == window.feed(pressed(1, age_ms=550), at(1_100))
    assert [None] == answers(box)


def test_a_press_that_waited_for_the_start_waits_for_the_first_word_of_the_business_system(box):
    """The agent was away: the next citizen's invitation found nobody, and she has pressed. Red if her press is kept
    before the caller asks again, and answers for the citizen before."""
    box.open_invitation(invitation(1, at(-10_000), seconds=30))
    window = Alone(WINDOW, DEVICE, box, at(0))
    window.plugged(at(0))

    assert ack(1) not in window.feed(pressed(1, age_ms=2_100), at(100))
    box.open_invitation(invitation(2, at(900)), replace=True, waited_ms=4_000)
    assert ack(1) not in window.feed(pressed(1, age_ms=3_000), at(1_000))
    assert ack(1) in window.feed(pressed(1, age_ms=3_600), at(1_600))
    assert [None] == answers(box)


def test_a_press_that_waited_for_the_start_is_rated_when_nobody_says_otherwise(box):
    """A moment later than at once. A press that was made since the start is taken at once."""
    box.open_invitation(invitation(1, at(-10_000), seconds=30))
    window = Alone(WINDOW, DEVICE, box, at(0))
    window.plugged(at(0))

    assert ack(1) not in window.feed(pressed(1, age_ms=2_100), at(1_499))
    assert ack(1) in window.feed(pressed(1, age_ms=2_101), at(1_500))
    assert [an_id(1)] == answers(box)
    other = Alone("4", "D0004", box, at(2_000))
    other.plugged(at(2_000))
    assert ack(1, "D0004") in other.feed(pressed(1, age_ms=90, device="D0004"), at(2_100))


def test_a_full_outbox_is_not_thanked_for(window, box, monkeypatch):
    """The device is told so, and the window says that it refuses; when there is room again, both end. Red if the state
    stays, and if nothing is said."""
    fill(box)

    assert frame("NAK", DEVICE, 1, 1) == window.feed(pressed(1), at(100))
    assert ("refusing", "存储已满, 按键未收下 / storage is full, presses are not accepted") == shown(window, at(200))
    drain(box)
    assert "ready" == shown(window, at(300))[0]
    assert ack(1) == window.feed(pressed(1, age_ms=400), at(500))


def test_a_full_outbox_does_not_stop_a_window(window, box):
    """An invitation whose time is over cannot end for want of room: it ends when there is some. Red without except."""
    box.open_invitation(invitation(1, at(0)))
    window.tick(at(10))
    fill(box)
    replies = [window.feed(b"", at(ms)) + window.tick(at(ms)) for ms in range(100, 33_000, 500)]

    assert set(replies) <= {b"", QUERY}
    assert [] == closings(box)
    drain(box)
    assert WITHDRAW == window.tick(at(33_500))
    assert ["device_failed"] == [closing.outcome for closing in closings(box)]


def fill(box: Outbox) -> None:
    """As if the disk had become full now."""
    box._db.execute(f"PRAGMA max_page_count = {look(box.path, 'PRAGMA page_count')[0][0]}")
    with pytest.raises(OutboxFull):
        for number in range(10_000):
            keep(box, at(0), press(number, device="OTHER"), window="99")


# ---- noise and strangers


def test_noise_is_counted_and_disturbs_nothing(window, box):
    """Broken frames, garbage, and our own words from an adapter that echoes."""
    broken = bytearray(pressed(1))
    broken[5] ^= 1

    assert b"" == window.feed(bytes(broken) + b"\xff\xfe" + ack(1), at(100))
    assert 3 == window.health(at(100)).noise
    assert [] == held(box)


def test_a_press_of_another_device_is_kept_and_the_window_says_so(window, box):
    """Two cables were swapped: own first, understand later. And its own device is missing.

    It has to say its name twice: red if a frame whose damage fits the CRC can use an invitation up at once.
    """
    assert b"" == window.feed(pressed(1, device="D0999"), at(50))
    assert ack(1, "D0999") == window.feed(pressed(1, device="D0999"), at(100))
    assert ["D0999"] == [record.device for record in presses(box)]
    assert ("ready", "另一台设备 / another device: D0999") == shown(window, at(200))
    window.feed(b"", at(900))
    assert "device_silent" == shown(window, at(40_000))[0]


def test_another_device_is_told_with_what_to_do(window, caplog):
    """Which one is there, which one was configured."""
    window.feed(beat(device="D0999"), at(100))
    [told] = [record.getMessage() for record in caplog.records]

    assert "接在此口的是另一台设备 / another device on this line: window=3 device=D0999" in told
    assert f"配置为 {DEVICE}, 请改 windows.device 或换回设备 / configured: {DEVICE}, change windows.device" in told


def test_a_line_that_cannot_be_used_is_told_once(window, caplog):
    """With the reason, which may be another program: it is not called a cable that is out."""
    for ms in (100, 600):
        window.unplugged("COM3: 已被其它程序占用 / held by another program", at(ms))

    assert ["串口不可用 / line not usable: window=3 COM3: 已被其它程序占用 / held by another program"] == [
        record.getMessage() for record in caplog.records
    ]


def test_a_window_forgets_the_stranger_when_its_own_device_is_back(window):
    """Red if it is remembered for ever."""
    window.feed(beat(device="D0999"), at(100))
    window.feed(beat(), at(200))

    assert ("ready", "") == shown(window, at(300))


def test_another_device_cannot_confirm_an_invitation(window, box):
    """It was not asked: nobody asks the citizen, and the invitation fails. Red if any beat counts."""
    box.open_invitation(invitation(1, at(0)))
    window.tick(at(0))
    for ms in range(500, 31_500, 500):
        window.feed(beat("inviting", "D0999"), at(ms))
        window.tick(at(ms))

    assert ["device_failed"] == [closing.outcome for closing in closings(box)]


# ---- invitations


def test_an_invitation_goes_to_the_device_with_the_time_that_is_left(window, box):
    """Once; rounded up, so that the device never stops asking before us."""
    box.open_invitation(invitation(1, at(0)))

    assert invite(25) == window.tick(at(5_001))
    assert b"" == window.tick(at(5_002))


def test_a_device_that_did_not_hear_is_asked_again(window, box):
    """QUERY every second; a beat that says idle brings the invitation again. Red if it is sent once and forgotten."""
    box.open_invitation(invitation(1, at(0)))
    window.tick(at(0))

    assert [b"", QUERY, b"", QUERY] == [window.tick(at(ms)) for ms in (999, 1_000, 1_999, 2_000)]
    window.feed(b"", at(1_500))
    assert invite(28) == window.feed(beat("idle"), at(2_100))
    window.feed(beat("inviting"), at(2_200))
    assert [b"", b""] == [window.tick(at(ms)) for ms in (3_500, 5_000)]


def test_a_device_that_holds_a_press_is_not_invited_again(window, box):
    """The citizen would be asked a second time. It is asked again once the press has gone and it is idle."""
    box.open_invitation(invitation(1, at(0)))
    window.tick(at(0))

    assert b"" == window.feed(beat("pending"), at(500))
    assert QUERY == window.tick(at(1_100))
    assert invite(29) == window.feed(beat("idle"), at(1_200))


def test_a_device_that_started_anew_is_invited_anew(window, box):
    """It lost its power in the middle of an invitation. Red if one confirmation is for good."""
    box.open_invitation(invitation(1, at(0)))
    window.tick(at(0))
    window.feed(beat("inviting"), at(100))

    assert b"" == window.feed(beat("idle"), at(200))
    assert invite(30) == window.feed(beat("idle", boot=2), at(300))
    window.feed(beat("inviting", boot=2), at(400))
    assert b"" == window.feed(beat("idle", boot=2), at(500))


def test_a_withdrawn_invitation_is_taken_from_the_device(window, box):
    """Once; and again if its beat shows that it still asks. Red if a lost WITHDRAW is lost for good."""
    box.open_invitation(invitation(1, at(0)))
    window.tick(at(0))
    box.close_invitation(an_id(1), "withdrawn", at(400))

    assert WITHDRAW == window.tick(at(500))
    assert b"" == window.tick(at(600))
    assert WITHDRAW == window.feed(beat("inviting"), at(700))
    assert b"" == window.feed(beat("idle"), at(800))


def test_the_next_invitation_follows_the_one_it_replaces(window, box):
    """No WITHDRAW between: the citizen would see the panel go dark."""
    box.open_invitation(invitation(1, at(0)))
    window.tick(at(0))
    box.open_invitation(invitation(2, at(5_000)), replace=True)

    assert invite(30) == window.tick(at(5_000))


def test_a_replugged_cable_brings_the_invitation_with_it(window, box):
    """With the time that is left."""
    box.open_invitation(invitation(1, at(0)))
    window.tick(at(0))
    window.unplugged("cable out", at(3_000))

    assert QUERY + invite(20) == window.plugged(at(10_000))


@pytest.mark.parametrize("heard", [True, False])
def test_who_is_to_blame_for_an_answer_that_did_not_come(window, box, heard):
    """The citizen if the device was there, the device if it was silent. Red if the outcome is always `expired`."""
    box.open_invitation(invitation(1, at(0), seconds=60))
    for ms in range(0, 62_000, 500):
        window.feed(beat("inviting") if heard else b"", at(ms))
        window.tick(at(ms))

    assert ["expired" if heard else "device_failed"] == [closing.outcome for closing in closings(box)]


def test_a_cable_that_is_out_fails_the_invitation(window, box):
    """The loop of the cable goes on ticking while it is out."""
    box.open_invitation(invitation(1, at(0)))
    window.unplugged("cable out", at(100))
    window.tick(at(30_000 + GRACE_MS))

    assert ["device_failed"] == [closing.outcome for closing in closings(box)]


def test_a_silent_device_is_asked_now_and_then(window):
    """A network line that died without a word only shows it when something is written. Red if nobody writes."""
    window.feed(b"", at(500))
    said = [window.tick(at(ms)) for ms in range(0, 60_000, 500)]

    assert not any(said[:61])
    assert [QUERY] * 6 == [each for each in said if each]


# ---- health


def shown(window: Alone, moment: Moment) -> tuple[str, str]:
    health = window.health(moment)
    return health.state, health.detail


def test_a_window_that_was_never_plugged_in_says_so(box):
    """Before the first open."""
    health = Alone(WINDOW, DEVICE, box, at(0)).health(at(5_000))

    assert ("cable_out", "未连接 / not connected yet", T0_MS) == (health.state, health.detail, health.since_ms)


def test_health_says_what_is_so_and_since_when(window, box):
    """Ready, inviting, silent, cable out, and back; each since the moment it was first seen."""
    seen = []

    def note(ms: int) -> None:
        health = window.health(at(ms))
        seen.append((health.state, health.since_ms - T0_MS))

    note(100)
    box.open_invitation(invitation(1, at(200)))
    window.tick(at(200))
    note(300)
    note(900)
    note(30_101)
    window.unplugged("/dev/panel: cable out", at(40_000))
    note(40_100)
    assert "/dev/panel: cable out" == window.health(at(40_100)).detail
    window.plugged(at(50_000))
    box.close_invitation(an_id(1), "withdrawn", at(50_100))
    window.tick(at(50_200))
    note(50_300)

    expected = [("ready", 100), ("inviting", 300), ("inviting", 300), ("device_silent", 30_101)]
    assert [*expected, ("cable_out", 40_100), ("ready", 50_300)] == seen


def test_health_counts_what_the_device_counts(window, box):
    """So that a person can compare: presses the device made, presses kept, presses not yet receipted."""
    window.feed(pressed(1) + pressed(2) + beat(boot=7, count=2), at(100))
    window.feed(pressed(2), at(200))
    drain(box)
    window.feed(pressed(3), at(300))
    health = window.health(at(300))

    assert (WINDOW, DEVICE, 7, 2) == (health.window, health.device, health.boot, health.count)
    assert (3, 1, 0) == (health.kept, health.waiting, health.noise)


@pytest.mark.parametrize(("state", "thanked"), [("idle", 2), ("inviting", 2), ("pending", None), ("asleep", None)])
def test_health_says_what_a_device_was_surely_thanked_for(window, state, thanked):
    """Only where the device holds none: else what it has counted may still be in it. Red if any state will do."""
    assert window.health(at(50)).thanked is None
    window.feed(pressed(1) + pressed(2) + beat(boot=7, count=2, state=state), at(100))

    assert thanked == window.health(at(100)).thanked


# ---- the log


def test_a_press_that_is_kept_is_told_without_its_button(window, box, caplog):
    """Window, press id, inside an invitation or not; a repeat is none. Red if the button can be read there."""
    caplog.set_level(logging.INFO)
    window.feed(pressed(1, button=5), at(100))
    window.feed(pressed(1, button=5, age_ms=100), at(200))
    box.open_invitation(invitation(1, at(300)))
    window.feed(b"", at(350))
    window.feed(pressed(2, button=5), at(400))

    assert [
        f"按键已存 / press kept: window=3 {DEVICE}-1-1 无邀请 / no invitation",
        f"按键已存 / press kept: window=3 {DEVICE}-1-2 评价中 / inside an invitation",
    ] == kept_lines(caplog)


def test_many_presses_of_one_read_are_one_line(window, caplog):
    """A device that gives back what it had stored must not fill the log: ten get a line each, eleven share one."""
    caplog.set_level(logging.INFO)
    window.feed(b"".join(pressed(number) for number in range(1, 11)), at(100))
    assert 10 == len(kept_lines(caplog))
    caplog.clear()
    window.feed(b"".join(pressed(number) for number in range(11, 22)), at(200))

    assert ["按键已存 / presses kept: window=3 11 次, 评价中 0 次 / 11 of them, 0 inside an invitation"] == kept_lines(
        caplog
    )


def kept_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "kept: " in record.getMessage()]


# ---- with a panel at the other end


def test_a_panel_and_a_window_understand_each_other(window, box):
    """Invited, pressed, thanked, and quiet afterwards."""
    panel = HousePanel(DEVICE, boot=1, on_ms=0)
    box.open_invitation(invitation(1, at(50)))
    for ms in range(0, 3_000, 10):
        reply = window.feed(panel.poll(ms), at(ms)) + window.tick(at(ms))
        panel.feed(reply, ms)
        if ms == 1_000:
            assert panel.inviting(ms)
            panel.press(4, ms)

    assert [PressThanked] == [type(event) for event in panel.take_events() if isinstance(event, PressThanked)]
    assert ([an_id(1)], ["answered"]) == (answers(box), [closing.outcome for closing in closings(box)])
    assert ("idle", 0) == (panel.state(3_000), panel.damaged + panel.unknown)


def test_bytes_that_cannot_be_read_are_told_as_such(window, caplog):
    """A wrong baud rate or another profile: the page and the log say so, until something is understood again."""
    for ms in (100, 200, 300, 400):
        window.feed(b"\xf0\xf8\xfe", at(ms))

    assert "are baud rate and profile right?" in window.health(at(500)).detail
    assert 1 == caplog.text.count("are baud rate and profile right?")
    window.feed(beat(), at(600))
    assert "" == window.health(at(700)).detail


def test_a_line_that_comes_and_goes_is_told_once_a_minute(window, caplog):
    """A tablet that is off is there at each try and gone at the next word. Red if each time is told."""
    caplog.set_level(logging.INFO)
    for ms in range(500, 50_000, 500):
        window.unplugged("tablet away", at(ms))
        window.plugged(at(ms + 10))

    assert 1 == caplog.text.count("tablet away")
    assert caplog.text.count("cable in") <= 2
    window.unplugged("tablet away", at(61_000))
    assert 2 == caplog.text.count("tablet away")
