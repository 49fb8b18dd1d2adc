"""Each fault does what its name says, no more, and the same again with the same seed."""

from dataclasses import fields, replace
from random import Random

import pytest

from firmware_sim.faults import (
    GROUPS,
    Faults,
    FaultyLine,
    Happening,
    add_noise,
    catalogue,
    finger,
    flip_bits,
    lose_bytes,
)
from firmware_sim.faults.chances import in_group
from firmware_sim.panel import HousePanel, PressMade, frame

BEAT = frame("BEAT", "D0001", 12, 0, "idle", 0)
PRESS = frame("PRESS", "D0001", 12, 1, 1, 0)
ACK = frame("ACK", "D0001", 12, 1)
INVITE = frame("INVITE", "D0001", 30)
EVERYTHING = Faults(**{field.name: 0.2 for field in fields(Faults)})


def carried(faults: Faults, seed: int = 1, *, frames: int = 200, up: bytes = PRESS, down: bytes = ACK) -> list:
    """(ms, at the host, at the device) of all that arrives, looked at each millisecond."""
    line = FaultyLine(faults, Random(seed))
    arrived = []
    for now_ms in range(frames * 100 + 3_000):
        if now_ms % 100 == 0 and now_ms < frames * 100:
            line.to_host(up, now_ms)
            line.to_device(down, now_ms)
        for_host, for_device = line.due(now_ms)
        if for_host or for_device:
            arrived.append((now_ms, for_host, for_device))
    return arrived


def at_host(arrived: list) -> bytes:
    return b"".join(for_host for _, for_host, _ in arrived)


def at_device(arrived: list) -> bytes:
    return b"".join(for_device for _, _, for_device in arrived)


# ---- as text


def test_faults_are_read_from_text():
    """As on the command line; blanks do no harm."""

    assert Faults(bounce=0.3, flip=0.001, ack_lost=1) == Faults.parse("bounce:0.3, flip:0.001,ack_lost:1")
    assert Faults() == Faults.parse("")


def test_a_bare_name_happens_as_often_as_is_usual():
    """And a group is all its faults; one that is named beside its group is as named."""
    usual = {name: chance for _, name, chance, _ in catalogue()}
    group = {name: usual[name] for name in in_group(5)}

    assert Faults(bounce=usual["bounce"], flip=0.5) == Faults.parse("bounce,flip:0.5")
    assert Faults(**group) == Faults.parse("group5")
    assert Faults(**{**group, "flip": 0.5}) == Faults.parse("flip:0.5,group5")
    assert Faults(**dict.fromkeys(group, 1.0)) == Faults.parse("group5:1")


def test_every_fault_belongs_to_one_of_fourteen_groups():
    """Each group has some, and each fault says in Chinese and English what it does."""

    assert set(range(1, 15)) == {group for group, _, _, _ in catalogue()} == set(GROUPS)
    assert [] == [name for _, name, usual, words in catalogue() if not 0 < usual <= 1 or " / " not in words]


def test_faults_and_text_are_a_pair():
    """What `str` writes, `parse` reads."""

    assert EVERYTHING == Faults.parse(str(EVERYTHING))
    assert "flip:0.001" == str(Faults(flip=0.001))
    assert "" == str(Faults())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("bonce:0.3", "no such fault: 'bonce'"),
        ("0.3", "no such fault: '0.3'"),
        ("flip:many", "flip wants a number from 0 to 1, not 'many'"),
        ("flip:", "flip wants a number from 0 to 1, not ''"),
        ("group15", "no such fault: 'group15'"),
        ("group1:many", "bounce wants a number from 0 to 1, not 'many'"),
        ("flip:1.5", "flip wants a number from 0 to 1, not '1.5'"),
        ("flip:-0.1", "flip wants a number from 0 to 1"),
        ("flip:nan", "flip wants a number from 0 to 1"),
        ("flip:0.1,flip:0.2", "the same fault twice: flip"),
    ],
)
def test_a_wrong_wish_is_answered_clearly(text, complaint):
    """It says what is wrong."""
    with pytest.raises(ValueError, match=complaint):
        Faults.parse(text)


@pytest.mark.parametrize("text", ["bonce:0.3", "flip:many"])
def test_a_wrong_wish_is_answered_with_all_that_can_be_wished(text):
    """Every name of a fault stands in the message."""
    with pytest.raises(ValueError) as refused:
        Faults.parse(text)

    assert [] == [field.name for field in fields(Faults) if field.name not in str(refused.value)]


# ---- the line


def test_a_line_without_faults_changes_nothing():
    """Every byte both ways, at once."""

    assert [(now_ms, PRESS, ACK) for now_ms in range(0, 1_000, 100)] == carried(Faults(), frames=10)


@pytest.mark.parametrize("seed", range(20))
def test_the_same_seed_gives_the_same_bytes(seed):
    """At the same moments; another seed gives others."""
    arrived = carried(EVERYTHING, seed, frames=20)

    assert arrived == carried(EVERYTHING, seed, frames=20)
    assert arrived != carried(EVERYTHING, seed + 1, frames=20)


def test_what_the_host_says_does_not_change_what_the_device_suffers():
    """Each way has its own chance: a run with another host still has the same faults on the way up."""
    all_but_echo = replace(EVERYTHING, **dict.fromkeys(in_group(6), 0.0))
    talked_to, left_alone = carried(all_but_echo), carried(all_but_echo, down=b"")

    assert at_host(talked_to) == at_host(left_alone)


def test_split_frames_come_a_byte_at_a_time():
    """And whole in the end."""
    arrived = carried(Faults(split=1), frames=10)

    assert {1} == {len(for_host) for _, for_host, _ in arrived if for_host}
    assert PRESS * 10 == at_host(arrived)


def test_glued_frames_come_late_and_joined():
    """Nothing is lost and nothing overtakes."""
    arrived = carried(Faults(glue=1))

    assert PRESS * 200 == at_host(arrived)
    assert {1, 2, 3} >= {for_host.count(b"$") for _, for_host, _ in arrived if for_host} > {1}


def test_a_flipped_bit_is_one_bit():
    """About as often as asked for."""
    clean = bytes(10_000)
    spoilt = flip_bits(clean, 0.01, Random(1))
    wrong = [byte for byte in spoilt if byte]

    assert {1} == {byte.bit_count() for byte in wrong}
    assert 70 < len(wrong) < 130


def test_lost_bytes_leave_the_others_in_order():
    """About as many as asked for."""
    clean = bytes(range(256)) * 40
    left = lose_bytes(clean, 0.01, Random(1))
    rest = iter(clean)

    assert all(byte in rest for byte in left)
    assert 70 < len(clean) - len(left) < 130


def test_lost_frames_are_lost_whole():
    """About as many as asked for, both ways."""
    arrived = carried(Faults(frame_lost=0.5))
    host, device = at_host(arrived), at_device(arrived)

    assert b"" == host.replace(PRESS, b"")
    assert b"" == device.replace(ACK, b"")
    assert 70 < host.count(b"$") < 130
    assert 70 < device.count(b"$") < 130


def test_noise_is_added_and_takes_nothing():
    """1-8 bytes before, inside or after; those that hurt are among them."""
    noisy = [add_noise(b"abc", 1, Random(seed)) for seed in range(500)]
    seen = set(b"".join(noisy))

    assert all(1 <= len(data) - 3 <= 8 for data in noisy)
    assert {0x00, 0xFF, ord("$"), ord("*")} <= seen
    assert {True, False} == {data.startswith(b"abc") for data in noisy}
    assert {True, False} == {data.endswith(b"abc") for data in noisy}
    assert any(b"abc" not in data for data in noisy)


def test_only_acknowledgements_are_lost_by_ack_lost():
    """An invitation passes, and the way up is untouched."""
    arrived = carried(Faults(ack_lost=1), down=ACK + INVITE)

    assert INVITE * 200 == at_device(arrived)
    assert PRESS * 200 == at_host(arrived)


def test_late_acknowledgements_hold_up_what_is_behind_them():
    """Nothing overtakes on a wire."""
    arrived = carried(Faults(ack_late=1), frames=1, down=ACK + INVITE)
    late = [(now_ms, for_device) for now_ms, _, for_device in arrived if for_device]

    assert [ACK + INVITE] == [for_device for _, for_device in late]
    assert 200 <= late[0][0] <= 1_500


def test_a_cut_line_loses_what_was_on_its_way():
    """And carries what comes after."""
    line = FaultyLine(Faults(glue=1), Random(1))
    line.to_host(PRESS, 0)
    line.cut()
    line.to_host(BEAT, 1_000)

    assert (BEAT, b"") == line.due(5_000)


def test_the_line_says_when_the_next_byte_arrives():
    """None if nothing is on its way."""
    line = FaultyLine(Faults(split=1), Random(1))
    idle = line.next_ms()
    line.to_host(PRESS, 1_000)
    line.due(1_000)

    assert idle is None
    assert 1_001 == line.next_ms()


def test_a_line_that_nobody_empties_does_not_grow_for_ever():
    """What has no room any more is lost."""
    line = FaultyLine(Faults(), Random(1))
    for _ in range(10_000):
        line.to_host(BEAT, 0)

    assert len(line.due(0)[0]) <= 8_192


# ---- the finger


def test_a_clean_finger_closes_the_contact_once():
    """At that moment."""

    assert [Happening(1_000, "closure", 3)] == finger(3, 1_000, Faults(), Random(1))


@pytest.mark.parametrize("seed", range(30))
def test_a_bouncing_contact_is_one_press_to_the_firmware(seed):
    """Turns red if the firmware does not debounce, or the bounce lasts longer than contacts do."""
    happenings = finger(3, 1_000, Faults(bounce=1), Random(seed))
    panel = HousePanel("D0001", 1)
    for happening in happenings:
        panel.press(happening.button, happening.at_ms)

    assert len(happenings) > 1
    assert [PressMade("D0001", 1, 1, 3, 1_000, False)] == panel.take_events()


@pytest.mark.parametrize("seed", range(30))
def test_a_double_press_is_two_presses(seed):
    """80-400 ms later the same or another button."""
    first, second = finger(3, 1_000, Faults(double=1), Random(seed))

    assert Happening(1_000, "closure", 3) == first
    assert 1_080 <= second.at_ms <= 1_400
    assert second.button in (1, 2, 3, 4, 5)


@pytest.mark.parametrize("seed", range(30))
def test_reboots_and_pulled_cables_follow_a_press(seed):
    """In the order of time; the cable always comes back."""
    happenings = finger(3, 1_000, Faults(reboot=1, cable_out=1), Random(seed))
    moments = {happening.kind: happening.at_ms for happening in happenings}

    assert sorted(moments.values()) == list(moments.values())
    assert {"closure", "reboot", "unplug", "replug"} == set(moments)
    assert moments["unplug"] < moments["replug"]
