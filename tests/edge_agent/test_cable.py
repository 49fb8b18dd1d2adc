"""A line of any profile: whose press it is, what is a press of its own, and what the devices are told, and when."""

import pytest

from edge_agent.cable import STALE_MS, WAITED_MS, Cable
from edge_agent.outbox import Outbox
from edge_agent.window import Window
from firmware_sim.panel import frame
from protocols import profiles

from .hall import DEVICE, WINDOW, Alone, an_id, answers, at, held, invitation, presses
from .test_window import fill

QS4_KEY_2 = bytes.fromhex("FF 68 03 03 68 05 11 02 18 16")
QS4_ACK_2 = bytes.fromhex("FF 68 03 03 68 05 01 02 08 16")
QS4_KEY_1 = bytes.fromhex("FF 68 03 03 68 05 11 01 17 16")
QS4_RATE = bytes.fromhex("FF 68 03 03 68 05 01 0B 11 16")
QUIET_MS = 50


def alone(box: Outbox, profile: str, address: int = 0) -> Alone:
    """A window of this profile, plugged in and past the first seconds of its line."""
    line = Alone(WINDOW, DEVICE, box, at(0), profile, address=address)
    line.plugged(at(0))
    for ms in range(500, 10_001, 500):
        line.feed(b"", at(ms))
        line.tick(at(ms))
    return line


@pytest.fixture
def qs4(box: Outbox) -> Alone:
    return alone(box, "qs4", address=5)


@pytest.fixture
def bare(box: Outbox) -> Alone:
    return alone(box, "key-byte")


def hears(line: Alone, data: bytes, ms: int) -> bytes:
    """The line says this at that time, with nothing before it and for a while after."""
    line.feed(b"", at(ms - 1))
    said = line.feed(data, at(ms))
    return said + line.feed(b"", at(ms + QUIET_MS))


# ---- devices that do not count


def test_a_frame_is_answered_once_it_is_on_the_disk(qs4, box):
    """Bus address and key, under the device's name in the settings, numbered here. Red if the ack comes first."""
    box.open_invitation(invitation(1, at(10_100)))
    said = hears(qs4, QS4_KEY_2, 14_000)
    [record] = presses(box)

    assert QS4_ACK_2 == said.replace(QS4_RATE, b"")
    assert (DEVICE, 1, 2, "qs4", QS4_KEY_2.hex()) == (
        record.device,
        record.count,
        record.button,
        record.profile,
        record.raw,
    )
    assert [an_id(1)] == answers(box)


def test_a_press_said_again_because_its_answer_was_lost_is_answered_again_and_kept_once(qs4, box):
    """For as long as it goes on. Red without `same_ms`."""
    said = [hears(qs4, QS4_KEY_2, ms) for ms in range(12_000, 30_000, 600)]

    assert {QS4_ACK_2} == set(said)
    assert 1 == len(presses(box))
    assert len(said) - 1 == qs4.window.not_taken["repeated"]


def test_a_press_that_goes_on_being_said_is_not_the_next_citizens(qs4, box):
    """The answer to it was lost; then the next invitation opens. Red if a new invitation begins the count anew."""
    box.open_invitation(invitation(1, at(10_100)))
    hears(qs4, QS4_KEY_2, 12_000)
    box.open_invitation(invitation(2, at(12_300)))
    hears(qs4, QS4_KEY_2, 12_600)
    hears(qs4, QS4_KEY_2, 13_200)

    assert [an_id(1)] == answers(box)


def test_two_keys_at_once_are_one_press_and_the_other_is_not_thanked_for(qs4, box):
    """The other key's device goes on saying it, and then it is a repeat. Red if every key is answered."""
    assert QS4_ACK_2 == hears(qs4, QS4_KEY_2, 12_000)
    assert b"" == hears(qs4, QS4_KEY_1, 12_200)
    assert [2] == [record.button for record in presses(box)]
    assert b"" != hears(qs4, QS4_KEY_1, 12_900)
    assert [2, 1] == [record.button for record in presses(box)]


def test_numbers_go_on_after_a_restart(qs4, box):
    """No press gets the number of another one, whatever the clock says. Red if the boot is the clock's alone."""
    hears(qs4, QS4_KEY_2, 12_000)
    again = Alone(WINDOW, DEVICE, box, at(0), "qs4", address=5)
    again.plugged(at(13_000, wall_jump_ms=-86_400_000))
    again.feed(QS4_KEY_1, at(13_100, wall_jump_ms=-86_400_000))
    [first, second] = presses(box)

    assert (first.boot, first.count) < (second.boot, second.count)


def test_a_full_outbox_is_not_answered_and_the_press_is_kept_when_there_is_room(qs4, box):
    """It says the press again, which is then no repetition. Red if a refused key counts as heard."""
    fill(box)

    assert b"" == hears(qs4, QS4_KEY_2, 12_000)
    box._db.execute("PRAGMA max_page_count = 100000")
    assert QS4_ACK_2 == hears(qs4, QS4_KEY_2, 12_600)


# ---- bare bytes


def test_a_byte_that_stands_alone_is_a_press(bare, box):
    """Judged when it has been quiet for a while, and dated when it came."""
    assert b"" == bare.feed(b"\x03", at(12_000))
    assert [] == presses(box)
    bare.feed(b"", at(12_050))

    assert [(3, at(12_000).wall_ms)] == [(record.button, record.pressed_ms) for record in presses(box)]


def test_a_byte_among_others_is_noise(bare, box):
    """Whatever else they are."""
    hears(bare, b"\x03\x7e", 12_000)
    hears(bare, b"\x01\x02", 13_000)

    assert [] == presses(box)
    assert 2 == bare.health(at(14_000)).noise


def test_a_held_key_is_one_press(bare, box):
    """It begins to repeat after half a second, thirty times a second. Red without `min_gap_ms`."""
    bare.feed(b"\x02", at(12_000))
    for ms in range(12_500, 14_500, 33):
        bare.feed(b"", at(ms - 1))
        bare.feed(b"\x02", at(ms))
    bare.feed(b"", at(15_000))

    assert [2] == [record.button for record in presses(box)]


def test_our_own_words_are_no_key_whatever_comes_back_of_them(box):
    """PJ06's "please rate" holds a 02; all of it, or all but its first bytes. Red without the deaf time."""
    line = alone(box, "pj06")
    box.open_invitation(invitation(1, at(10_100)))
    said = line.tick(at(12_000))
    line.sent(said, at(12_000))
    hears(line, said[2:3], 12_005)

    assert said
    assert [] == presses(box)
    assert 1 == line.health(at(13_000)).noise


# ---- when a press was made


def test_a_late_press_is_nobodys_where_it_may_be_from_before_the_invitation(bare, box):
    """An always-on panel, an invitation 0.3 s old: kept with its doubt, and rated for nobody. Red without unsure_ms."""
    box.open_invitation(invitation(1, at(12_000)))
    hears(bare, b"\x03", 12_300)
    [record] = presses(box)

    assert (None, an_id(1)) == (record.invitation, record.doubt)
    assert record.unsure_ms >= 500
    assert "open" == box.invitation(an_id(1)).state


def test_a_press_well_inside_an_invitation_answers_it(bare, box):
    """No doubt is left after the time that its line may be late."""
    box.open_invitation(invitation(1, at(12_000)))
    hears(bare, b"\x03", 12_700)

    assert [an_id(1)] == answers(box)


def test_a_device_that_asks_first_is_believed_at_once(qs4, box):
    """It takes no key before it is asked, so an early press is no older than its invitation."""
    box.open_invitation(invitation(1, at(12_000)))
    hears(qs4, QS4_KEY_2, 12_300)

    assert [an_id(1)] == answers(box)


def test_unless_it_may_still_have_been_asking_for_the_one_before(qs4, box):
    """Withdrawn a moment ago: it has no word for that, and goes on asking."""
    box.open_invitation(invitation(1, at(12_000)))
    box.close_invitation(an_id(1), "withdrawn", at(13_000))
    box.open_invitation(invitation(2, at(13_500)))
    hears(qs4, QS4_KEY_2, 13_800)
    [record] = presses(box)

    assert (None, an_id(2)) == (record.invitation, record.doubt)


def test_bytes_that_waited_make_a_press_older_not_lost(bare, box):
    """Nothing repeats it: it is kept, and the time that it waited is added to its doubt. Red if they are dropped."""
    box.open_invitation(invitation(1, at(10_400)))
    bare.feed(b"\x03", at(10_000 + WAITED_MS + 900), waited=True)
    bare.feed(b"", at(11_200))
    [record] = presses(box)

    assert (None, an_id(1)) == (record.invitation, record.doubt)
    assert record.unsure_ms >= 500 + WAITED_MS + 900


def test_a_press_first_heard_after_a_start_may_be_of_any_age(box):
    """Nobody listened before. Red if a start counts as having listened."""
    box.open_invitation(invitation(1, at(-5_000)))
    line = Alone(WINDOW, DEVICE, box, at(0), "qs4", address=5)
    line.plugged(at(0))
    box.close_invitation(an_id(1), "withdrawn", at(100))
    box.open_invitation(invitation(2, at(200)))
    line.feed(QS4_KEY_2, at(4_000))
    [record] = presses(box)

    assert (None, an_id(2)) == (record.invitation, record.doubt)


def test_a_press_first_heard_after_the_cable_was_out_may_be_as_old_as_that(qs4, box):
    """The invitation opened while nobody could hear."""
    box.open_invitation(invitation(1, at(10_100)))
    box.close_invitation(an_id(1), "withdrawn", at(10_200))
    qs4.unplugged("out", at(11_000))
    box.open_invitation(invitation(2, at(20_000)))
    qs4.plugged(at(24_900))
    qs4.feed(QS4_KEY_2, at(25_000))
    [record] = presses(box)

    assert (None, an_id(2)) == (record.invitation, record.doubt)


def test_a_counting_device_repeats_what_waited(box):
    """As ever: it says the true age itself."""
    line = alone(box, "house")

    assert b"" == line.feed(b"$PRESS,D0217,12,7,1,35*D9F7", at(10_000 + STALE_MS + 1))
    assert [] == held(box)


# ---- several on one line


@pytest.fixture
def bus(box: Outbox) -> Cable:
    """Two windows, addresses 5 and 7."""
    windows = [
        Window(str(number), f"D000{number}", box, at(0), profile=profiles.shipped("qs4"), address=address)
        for number, address in ((1, 5), (2, 7))
    ]
    cable = Cable(profiles.shipped("qs4"), windows, at(0))
    cable.plugged(at(0))
    for ms in range(500, 10_001, 500):
        cable.feed(b"", at(ms))
        cable.tick(at(ms))
    return cable


def test_each_press_goes_to_the_window_of_its_address(bus, box):
    """Glued together in one read."""
    other = bytes.fromhex("FF 68 03 03 68 07 11 00 18 16")
    said = bus.feed(other + QS4_KEY_2, at(12_000))

    assert {("1", "D0001", 2), ("2", "D0002", 0)} == {
        (record.window, record.device, record.button) for record in presses(box)
    }
    assert 20 == len(said)


def test_an_address_that_is_no_windows_is_neither_kept_nor_answered(bus, box, caplog):
    """Said once, with the address, so that somebody can place it."""
    stranger = bytes.fromhex("FF 68 03 03 68 09 11 02 1C 16")

    assert b"" == bus.feed(stranger, at(12_000)) + bus.feed(stranger, at(12_600))
    assert [] == presses(box)
    assert 1 == caplog.text.count("address 9 on this line")


def test_an_invitation_goes_to_its_own_device(bus, box):
    """By its address."""
    box.open_invitation(invitation(1, at(12_000), window="2"))

    assert bytes.fromhex("FF 68 03 03 68 07 01 0B 13 16") == bus.tick(at(12_000))


def test_a_callers_frame_is_given_back_and_is_no_press(bus, box):
    """Callers share the line; the host answers each with its own frame."""
    caller = bytes.fromhex("FF 68 03 03 68 05 10 0C 21 16")

    assert caller == bus.feed(caller, at(12_000))
    assert [] == held(box)


# ---- what devices are told, and when


def test_a_device_is_set_up_in_its_own_time(box):
    """PJ06: 0.2 s after the port is open the time-out, a second later the stars. Red if all is written at once."""
    line = Alone(WINDOW, DEVICE, box, at(0), "pj06")
    said = {0: line.plugged(at(0))} | {ms: line.tick(at(ms)) for ms in range(100, 3_001, 100)}

    assert {200: "55aa03131e001a", 1_200: "55aa0215051a"} == {ms: data.hex() for ms, data in said.items() if data}


def test_an_invitation_waits_until_the_device_can_hear_it(box):
    """The seconds first, where the device has a word for them, then the question. In between it is left alone."""
    line = alone(box, "pj06")
    box.open_invitation(invitation(1, at(12_000), seconds=20))
    said = {ms: line.tick(at(ms)) for ms in range(12_000, 15_001, 250)}

    assert {12_000: "55aa031314001a", 13_000: "55aa0220001a"} == {ms: data.hex() for ms, data in said.items() if data}


def test_a_line_says_how_long_it_can_be_left_alone(bare, box):
    """A byte waits for its silence; otherwise nothing is due."""
    assert bare.wait_ms(at(11_000)) is None
    bare.feed(b"\x03", at(12_000))

    assert QUIET_MS == bare.wait_ms(at(12_000))
    assert 10 == bare.wait_ms(at(12_040))


def test_devices_that_are_polled_are_asked_in_turn(box):
    """One at a time, each so often; one that does not answer holds nobody up for long. Red without `answer_ms`."""
    profile = profiles.shipped("taxi905")
    windows = [
        Window(str(number), f"D000{number}", box, at(0), 5, profile=profile, address=address)
        for number, address in ((1, 0x0601), (2, 0x1101))
    ]
    cable = Cable(profile, windows, at(0))
    cable.plugged(at(0))
    asked = [(ms, data[4]) for ms in range(0, 1_201, 20) if (data := cable.tick(at(ms)))]

    assert [(0, 0x06), (100, 0x11), (500, 0x06), (600, 0x11), (1_000, 0x06), (1_100, 0x11)] == asked
    cable.feed(bytes.fromhex("55 AA 00 05 06 01 00 00 00 02 55 AA"), at(1_000))
    states = [window.health(at(6_000)).state for window in windows]
    assert ["ready", "device_silent"] == states


def test_a_device_without_a_sign_of_life_is_never_called_silent(bare):
    """A panel that only speaks when it is pressed may be silent all day."""
    assert "ready" == bare.health(at(86_400_000)).state


def test_health_says_what_the_device_is_taken_for(bare):
    """And how far that is to be trusted."""
    health = bare.health(at(12_000))

    assert ("key-byte", "generic", 0) == (health.profile, health.evidence, health.not_taken)


def test_a_repeat_that_was_damaged_on_its_way_is_still_one(qs4, box):
    """Six seconds of noise between two sayings of one press. Red if noise counts as silence."""
    hears(qs4, QS4_KEY_2, 12_000)
    for ms in range(12_600, 18_600, 600):
        hears(qs4, QS4_KEY_2[:-2] + b"\x00\x16", ms)
    hears(qs4, QS4_KEY_2, 18_600)

    assert 1 == len(presses(box))


def test_an_answer_that_comes_before_anybody_can_have_read_the_question_is_an_old_one(box):
    """A tablet's answers carry no id. Red without `soon_ms`."""
    line = alone(box, "sundyn-udp")
    for number, opened_ms, answer_ms in ((1, 12_000, 12_800), (2, 60_000, 62_000)):
        line.feed(b"", at(opened_ms))
        box.open_invitation(invitation(number, at(opened_ms), seconds=15))
        line.feed(b"", at(answer_ms - 1))
        line.feed(b'{"appriseresult":"%d","tagId":""}' % number, at(answer_ms))

    assert [(None, an_id(1)), (an_id(2), "")] == [(record.invitation, record.doubt) for record in presses(box)]


def test_a_press_in_bytes_that_could_not_be_read_is_as_old_as_they_are(box):
    """Said for the citizen before, damaged, again and again; then whole, for the next. Red without the disturbance."""
    line = alone(box, "qs4", address=5)
    box.open_invitation(invitation(1, at(29_000), seconds=10))
    box.close_invitation(an_id(1), "withdrawn", at(30_000))
    for ms in range(31_000, 50_000, 600):
        hears(line, QS4_KEY_2[:-2] + b"\x00\x16", ms)
        if ms == 49_600:
            box.open_invitation(invitation(2, at(ms)))
    hears(line, QS4_KEY_2, 50_200)
    [record] = presses(box)

    assert (None, an_id(2)) == (record.invitation, record.doubt)


def test_half_a_frame_is_as_old_as_its_first_byte_not_as_its_giving_up(box):
    """Begun 100 ms before the citizen was asked, given up after. Red if noise is dated when it is told."""
    line = alone(box, "qs4", address=5)
    box.open_invitation(invitation(1, at(29_000), seconds=10))
    box.close_invitation(an_id(1), "withdrawn", at(30_000))
    line.feed(QS4_KEY_2[:3], at(39_000))
    box.open_invitation(invitation(2, at(39_100)))
    line.feed(b"", at(39_200))
    for ms in range(39_600, 45_000, 600):
        hears(line, QS4_KEY_2[:-2] + b"\x00\x16", ms)
    hears(line, QS4_KEY_2, 45_000)
    [record] = presses(box)

    assert (None, an_id(2)) == (record.invitation, record.doubt)


def test_a_counted_press_behind_a_network_is_believed_when_two_sayings_agree(box):
    """What the network held back makes a press seem younger: its repeat tells. Red if the first saying is believed."""
    line = Alone(WINDOW, DEVICE, box, at(0), late_ms=2_000)
    line.plugged(at(0))
    line.feed(b"", at(9_900))
    box.open_invitation(invitation(1, at(10_000)))
    line.feed(b"", at(10_300))

    assert b"" == line.feed(frame("PRESS", DEVICE, 1, 1, 3, 0), at(10_400))  # made at 9,500, held back for 900 ms
    assert b"" == line.feed(frame("PRESS", DEVICE, 1, 1, 3, 400), at(10_450))
    assert b"" != line.feed(frame("PRESS", DEVICE, 1, 1, 3, 1_300), at(10_800))
    assert [None] == answers(box)


def test_and_soon_enough_where_nothing_was_held_back(box):
    """Its second saying agrees with the first."""
    line = Alone(WINDOW, DEVICE, box, at(0), late_ms=2_000)
    line.plugged(at(0))
    line.feed(b"", at(9_900))
    box.open_invitation(invitation(1, at(10_000)))
    line.feed(b"", at(10_300))
    line.feed(frame("PRESS", DEVICE, 1, 1, 3, 0), at(10_400))
    line.feed(frame("PRESS", DEVICE, 1, 1, 3, 400), at(10_800))

    assert [an_id(1)] == answers(box)


def test_a_device_that_was_answered_has_stopped_asking(qs4, box):
    """An early press is believed, however short ago the one before was made. Red if its deadline counts."""
    box.open_invitation(invitation(1, at(12_000)))
    hears(qs4, QS4_KEY_2, 13_000)
    box.open_invitation(invitation(2, at(30_000)))
    hears(qs4, QS4_KEY_1, 30_900)

    assert [an_id(1), an_id(2)] == answers(box)
