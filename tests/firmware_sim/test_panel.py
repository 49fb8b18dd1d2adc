"""What the simulated firmware promises, held against frames worked out by another tool (binascii.crc_hqx)."""

import binascii

import pytest

from firmware_sim.panel import (
    QUEUE_MAX,
    HousePanel,
    PressMade,
    PressNotAccepted,
    PressRefused,
    PressThanked,
    Rebooted,
    crc16,
    frame,
)

POWER_ON_BEAT = b"$BEAT,D0001,12,0,idle,0*85FC\r\n"
FIRST_PRESS = b"$PRESS,D0001,12,1,1,0*7351\r\n"
ACK_FIRST = b"$ACK,D0001,12,1*BFAB\r\n"
INVITE_30 = b"$INVITE,D0001,30*8E46\r\n"


def panel(**settings: int) -> HousePanel:
    """A panel in its twelfth start that has said so."""
    made = HousePanel("D0001", 12, **settings)
    made.poll(0)
    return made


def acknowledge(panel: HousePanel, press: PressMade, now_ms: int) -> None:
    panel.feed(frame("ACK", press.device, press.boot, press.count), now_ms)


# ---- the line


def test_the_checksum_is_ccitt_false():
    """The check value of the published catalogue."""

    assert 0x29B1 == crc16(b"123456789")


@pytest.mark.parametrize("data", [b"", b"$", b"ACK,D0001,12,7", bytes(range(256))])
def test_the_checksum_agrees_with_another_tool(data):
    """binascii's CRC, started at 0xFFFF, is the same one."""

    assert binascii.crc_hqx(data, 0xFFFF) == crc16(data)


def test_frames_stand_on_the_line_as_agreed():
    """Golden frames, checksums from binascii.crc_hqx."""

    assert b"$PRESS,D0001,12,7,1,0*BED4\r\n" == frame("PRESS", "D0001", 12, 7, 1, 0)
    assert b"$PRESS,D0001,12,7,1,400*59FD\r\n" == frame("PRESS", "D0001", 12, 7, 1, 400)
    assert b"$ACK,D0001,12,7*DF6D\r\n" == frame("ACK", "D0001", 12, 7)


def test_the_longest_press_fits_into_a_frame():
    """Longest device id, a million reboots, a week-old press."""
    longest = frame("PRESS", "D" * 32, 999_999, 999_999, 99, 7 * 86_400_000)

    assert len(longest) <= 128


@pytest.mark.parametrize("device", ["", "D 1", "窗口", "D" * 33, "D*1"])
def test_a_device_id_that_cannot_stand_in_a_frame_is_refused(device):
    """Before anything is said under it."""
    with pytest.raises(ValueError, match="device id"):
        HousePanel(device, 1)


# ---- presses


def test_a_press_is_sent_at_once():
    """Counted from 1 in each start."""
    pressed = panel()

    assert 1 == pressed.press(1, 5_000)
    assert FIRST_PRESS == pressed.poll(5_000)


def test_bouncing_contacts_are_one_press():
    """Closures within 30 ms of the one that counted are the same press."""
    bouncing = panel()
    counts = [bouncing.press(1, at_ms) for at_ms in (100, 101, 107, 120, 129)]

    assert [1, None, None, None, None] == counts
    assert 1 == bouncing.count


def test_a_second_press_after_the_bounce_time_counts():
    """30 ms later the contact is trusted again."""
    pressed = panel()

    assert [1, 2] == [pressed.press(1, 100), pressed.press(1, 130)]


def test_two_buttons_do_not_debounce_each_other():
    """Bouncing is a matter of one contact."""
    pressed = panel()

    assert [1, 2] == [pressed.press(1, 100), pressed.press(2, 101)]


def test_an_unacknowledged_press_is_repeated_with_its_true_age():
    """Every 400 ms, for ever; turns red if the age is frozen when the press is made."""
    deaf = panel(beat_every_ms=10**9)
    deaf.press(1, 1_000)
    said = {now_ms: deaf.poll(now_ms) for now_ms in range(1_000, 2_300, 50)}

    assert {
        1_000: frame("PRESS", "D0001", 12, 1, 1, 0),
        1_400: frame("PRESS", "D0001", 12, 1, 1, 400),
        1_800: frame("PRESS", "D0001", 12, 1, 1, 800),
        2_200: frame("PRESS", "D0001", 12, 1, 1, 1_200),
    } == {now_ms: data for now_ms, data in said.items() if data}


def test_the_next_press_waits_until_the_one_before_is_acknowledged():
    """In the order of their counts, one at a time; turns red if all that wait are sent."""
    deaf = panel(beat_every_ms=10**9)
    for count in (1, 2, 3):
        deaf.press(count, 1_000 + 50 * count)
    first = deaf.poll(1_150)
    repeat = deaf.poll(1_600)
    deaf.feed(frame("ACK", "D0001", 12, 1), 1_700)
    second = deaf.poll(1_700)

    assert [b"1", b"1", b"2"] == [line.split(b",")[3] for line in (first + repeat + second).splitlines()]


def test_the_panel_says_when_it_wants_to_be_polled():
    """So that nobody has to ask it in between."""
    waiting = panel()
    waiting.press(1, 1_000)
    waiting.poll(1_000)

    assert 1_400 == waiting.next_ms(1_000)
    assert 1_500 == waiting.next_ms(1_500)
    assert b"" == waiting.poll(1_399)
    assert waiting.poll(1_400) != b""


def test_a_full_memory_refuses_the_key_and_says_so():
    """The seventeenth press is not counted: the citizen sees it and no one is told a lie."""
    full = panel()
    for at_ms in range(0, QUEUE_MAX * 100, 100):
        full.press(1, at_ms)
    count = full.press(1, 5_000)

    assert count is None
    assert QUEUE_MAX == full.count
    assert PressNotAccepted("D0001", 1, 5_000) == full.take_events()[-1]
    assert "未接受 / Not accepted" == full.display(5_000)


# ---- thanks


def test_thank_you_is_shown_only_on_the_acknowledgement():
    """Turns red if the panel thanks on the press itself."""
    polite = panel()
    polite.press(1, 1_000)
    before = polite.display(1_000)
    polite.feed(ACK_FIRST, 1_050)

    assert "正在送出 / Sending" == before
    assert "谢谢您的评价 / Thank you" == polite.display(1_050)
    assert "idle" == polite.state(1_050)


@pytest.mark.parametrize(
    "wrong",
    [
        frame("ACK", "D0001", 11, 1),
        frame("ACK", "D0001", 12, 2),
        frame("ACK", "D0002", 12, 1),
        frame("ACK", "D0001", 12, "01"),
        ACK_FIRST.replace(b"BFAB", b"BFAC"),
        ACK_FIRST.replace(b"BFAB", b"bfab"),
        ACK_FIRST.replace(b"\r\n", b"\n"),
        ACK_FIRST[1:],
    ],
    ids=["other start", "other press", "other device", "leading zero", "bad sum", "lower case", "no CR", "no head"],
)
def test_only_the_right_acknowledgement_counts(wrong):
    """Same device, same start, same count, undamaged; else the press goes on being repeated."""
    asking = panel()
    asking.press(1, 1_000)
    asking.poll(1_000)
    asking.feed(wrong, 1_100)

    assert [PressMade("D0001", 12, 1, 1, 1_000, False)] == asking.take_events()
    assert frame("PRESS", "D0001", 12, 1, 1, 400) == asking.poll(1_400)


def test_a_late_acknowledgement_is_welcome():
    """After 3 s the panel says that it waits; the thanks come when the ack comes."""
    patient = panel()
    patient.press(1, 1_000)
    waiting = patient.display(4_000)
    patient.feed(ACK_FIRST, 60_000)

    assert "尚未送达，请稍候 / Not accepted yet, please wait" == waiting
    assert "谢谢您的评价 / Thank you" == patient.display(60_000)


def test_a_press_that_the_host_has_no_room_for_is_said_so_at_once():
    """Not after its patience, told once, and repeated until it is taken. Red if only the silence is shown."""
    full = panel()
    full.press(1, 1_000)
    full.poll(1_000)
    full.feed(frame("NAK", "D0001", 12, 1) * 2 + frame("NAK", "D0001", 12, 2), 1_050)
    words, repeated = full.display(1_050), full.poll(1_400)
    full.feed(ACK_FIRST, 1_450)
    made = PressMade("D0001", 12, 1, 1, 1_000, False)

    assert "尚未收下，请稍候 / Not accepted yet, please wait" == words
    assert frame("PRESS", "D0001", 12, 1, 1, 400) == repeated
    assert [made, PressRefused(made, 1_050), PressThanked(made, 1_450)] == full.take_events()
    assert "谢谢您的评价 / Thank you" == full.display(1_450)


def test_the_same_acknowledgement_twice_thanks_once():
    """The second one finds nothing that waits."""
    polite = panel()
    polite.press(1, 1_000)
    polite.feed(ACK_FIRST + ACK_FIRST, 1_050)
    thanked = [event for event in polite.take_events() if isinstance(event, PressThanked)]

    assert [PressThanked(PressMade("D0001", 12, 1, 1, 1_000, False), 1_050)] == thanked
    assert (0, 0) == (polite.damaged, polite.unknown)


def test_acknowledged_presses_are_not_repeated():
    """The others are."""
    asking = panel()
    asking.press(1, 1_000)
    asking.press(2, 1_001)
    asking.poll(1_001)
    asking.feed(ACK_FIRST, 1_100)

    assert frame("PRESS", "D0001", 12, 2, 2, 400) == asking.poll(1_401)


# ---- starts and beats


def test_a_beat_comes_at_once_after_power_on_and_then_every_ten_seconds():
    """With uptime, state and the number of presses."""
    beating = HousePanel("D0001", 12, 1_000)
    first = beating.poll(1_000)
    beating.press(3, 2_000)
    beating.poll(2_000)
    beating.feed(ACK_FIRST, 2_050)

    assert POWER_ON_BEAT == first
    assert b"" == beating.poll(10_999)
    assert frame("BEAT", "D0001", 12, 10, "idle", 1) == beating.poll(11_000)


def test_a_reboot_loses_what_was_not_thanked():
    """Those presses are never said again, and nobody was ever thanked for them."""
    unlucky = panel()
    unlucky.press(1, 1_000)
    unlucky.poll(1_000)
    unlucky.reboot(1_200)
    made, rebooted = unlucky.take_events()

    assert Rebooted("D0001", 13, 1_200, (made,)) == rebooted
    assert frame("BEAT", "D0001", 13, 0, "idle", 0) == unlucky.poll(1_200)
    assert b"" == unlucky.poll(9_000)


def test_an_acknowledgement_from_before_the_reboot_thanks_nobody():
    """The first press of the new start has the same count and another boot."""
    unlucky = panel()
    unlucky.press(1, 1_000)
    unlucky.reboot(1_200)
    unlucky.press(5, 1_300)
    unlucky.take_events()
    unlucky.feed(ACK_FIRST, 1_400)

    assert [] == unlucky.take_events()
    assert "pending" == unlucky.state(1_400)


def test_counts_start_anew_with_each_start():
    """The pair of boot and count is what is unique."""
    started = panel()
    started.press(1, 1_000)
    started.reboot(2_000)

    assert (1, 13) == (started.press(1, 3_000), started.boot)


# ---- invitations


def test_the_first_press_ends_the_invitation():
    """The second is a fact as well, and not invited."""
    asking = panel()
    asking.feed(INVITE_30, 1_000)
    asking.press(1, 2_000)
    asking.press(5, 3_000)
    asking.feed(frame("ACK", "D0001", 12, 1), 3_000)

    assert [True, False] == [event.invited for event in asking.take_events() if isinstance(event, PressMade)]
    assert frame("PRESS", "D0001", 12, 2, 5, 0) in asking.poll(3_000)


def test_an_invitation_ends_by_itself():
    """After its seconds."""
    asking = panel()
    asking.feed(INVITE_30, 1_000)

    assert (True, False) == (asking.inviting(30_999), asking.inviting(31_000))
    assert "请评价 / Please rate" == asking.display(30_999)


def test_a_new_invitation_starts_over():
    """For its whole time."""
    asking = panel()
    asking.feed(INVITE_30, 1_000)
    asking.feed(INVITE_30, 21_000)

    assert (True, False) == (asking.inviting(50_999), asking.inviting(51_000))


def test_a_withdrawn_invitation_is_over():
    """At once."""
    asking = panel()
    asking.feed(INVITE_30, 1_000)
    asking.feed(frame("WITHDRAW", "D0001"), 2_000)

    assert "idle" == asking.state(2_000)


# ---- what the host says


def test_a_query_is_answered_by_a_beat_at_once():
    """With the state of that moment."""
    asked = panel()
    asked.feed(INVITE_30 + frame("QUERY", "D0001"), 4_000)

    assert frame("BEAT", "D0001", 12, 4, "inviting", 0) == asked.poll(4_000)


def test_frames_are_understood_in_any_pieces():
    """A byte at a time, with noise around and a frame broken off before."""
    asked = panel()
    for byte in b"\x00\xff*" + INVITE_30[:9] + INVITE_30 + b"\n*":
        asked.feed(bytes([byte]), 1_000)

    assert asked.inviting(1_000)
    assert (1, 0) == (asked.damaged, asked.unknown)


def test_clerk_and_volume_are_kept():
    """Text comes percent-encoded."""
    told = panel()
    told.feed(b"$CLERK,D0001,%E7%8E%8B*5F70\r\n" + frame("VOLUME", "D0001", 10), 1_000)

    assert ("王", 10) == (told.clerk, told.volume)
    assert "欢迎光临 王 / Welcome" == told.display(1_000)


@pytest.mark.parametrize(
    "odd",
    [
        frame("DANCE", "D0001"),
        frame("VOLUME", "D0001", 11),
        frame("INVITE", "D0001", "-1"),
        frame("INVITE", "D0001"),
        frame("CLERK", "D0001", "%FF"),
        frame("CLERK", "D0001", "%e7%8e%8b"),
        frame(""),
    ],
)
def test_what_the_firmware_does_not_know_is_ignored_and_counted(odd):
    """Whole frames that make no sense change nothing."""
    puzzled = panel()
    puzzled.feed(odd, 1_000)

    assert (0, 1) == (puzzled.damaged, puzzled.unknown)
    assert "idle" == puzzled.state(1_000)


def test_bytes_without_an_end_do_not_fill_the_memory():
    """A frame is at most 128 bytes; what is longer is none."""
    flooded = panel()
    flooded.feed(b"$" + b"A" * 100_000 + INVITE_30, 1_000)

    assert flooded.inviting(1_000)
    assert 1 == flooded.damaged
