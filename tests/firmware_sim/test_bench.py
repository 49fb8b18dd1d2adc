"""A panel in virtual time: no I/O, no clock, and everything from the seed."""

import time

import pytest

from firmware_sim.bench import Replugged, Unplugged, VirtualLine
from firmware_sim.faults import Faults, Happening
from firmware_sim.panel import PressMade, Rebooted, frame
from firmware_sim.panels.keypad import KeypadPanel
from firmware_sim.panels.keys import KeyBytePanel
from firmware_sim.panels.pj06 import Pj06Panel
from firmware_sim.panels.qs4 import Qs4Panel
from firmware_sim.panels.sundyn import SundynPanel

PLEASE_RATE = bytes.fromhex("55 AA 02 20 00 1A")
APPRISE = b'{"command":"apprise"}'
VOTE = b'{"appriseresult":"4","tagId":"","tagName":""}'


def heard(line: VirtualLine, to_ms: int, from_ms: int = 0) -> list[tuple[int, bytes]]:
    """(ms, bytes) of all that the host reads, stepped when the line wants to be."""
    found, now_ms = [], from_ms
    while now_ms <= to_ms:
        if data := line.step(now_ms):
            found.append((now_ms, data))
        due_ms = line.next_ms(now_ms)
        if due_ms is None:
            break
        now_ms = max(now_ms, due_ms)
    return found


def test_a_press_goes_to_the_host_and_an_answer_to_the_device():
    """In the caller's time."""
    line = VirtualLine(Pj06Panel())
    line.to_device(PLEASE_RATE, 1_000)
    asked = line.step(1_000)
    line.press(3, 2_000)

    assert (b"", b"\x03") == (asked, line.step(2_000))
    assert [PressMade("", 1, 1, 3, 2_000, True)] == line.take_events()
    assert ([], None) == (line.take_events(), line.next_ms(2_000))


def test_stepping_when_it_wants_misses_nothing():
    """As often as each millisecond, or only when something is due."""
    faults = Faults.parse("bounce,double,split,glue,noise,delay:0.5")
    seldom, often = (VirtualLine(Qs4Panel(5, always=True), faults, 7) for _ in range(2))
    for line in (seldom, often):
        line.press(2, 0)
    each = [(now_ms, data) for now_ms in range(5_000) if (data := often.step(now_ms))]

    assert each == heard(seldom, 4_999)


def test_what_happens_beside_a_panel_is_handed_to_the_runner():
    """A clock that jumps, an invitation taken back, two devices swapped, a stranger at another keypad."""
    line = VirtualLine(KeyBytePanel(), Faults.parse("clock_jump:1,after_cancel:1,swapped:1,second_keypad:1"), 1)
    line.press(1, 10_000)
    heard(line, 20_000, 10_000)
    kinds = {event.kind: event for event in line.take_events() if isinstance(event, Happening)}

    assert {"clock_jump", "withdraw", "swap", "stranger"} == set(kinds)
    assert 0 != kinds["clock_jump"].by_ms


@pytest.mark.parametrize("seed", range(20))
def test_a_withdrawn_invitation_is_withdrawn_before_the_press(seed):
    """0-300 ms before."""
    line = VirtualLine(KeyBytePanel(), Faults(after_cancel=1), seed)
    line.press(1, 10_000)
    heard(line, 20_000, 10_000)
    withdrawn, made = sorted(line.take_events(), key=lambda event: event.at_ms)

    assert ("withdraw", 10_000) == (withdrawn.kind, withdrawn.at_ms)
    assert 0 <= made.at_ms - withdrawn.at_ms <= 300


@pytest.mark.parametrize("seed", range(20))
def test_a_press_at_the_time_out_is_within_a_millisecond_of_it(seed):
    """Of the panel's own."""
    line = VirtualLine(Pj06Panel(), Faults(at_timeout=1), seed)
    line.to_device(PLEASE_RATE, 1_000)
    line.step(1_000)
    line.press(3, 5_000)
    heard(line, 20_000, 5_000)
    (made,) = line.take_events()

    assert abs(made.at_ms - 11_000) <= 1
    assert made.invited == (made.at_ms < 11_000)


@pytest.mark.parametrize("seed", range(20))
def test_a_pulled_cable_carries_nothing_and_comes_back(seed):
    """Under its old name, or by fault under another."""
    line = VirtualLine(KeyBytePanel(), Faults(other_name=1), seed)
    line.press(1, 0)
    told = []
    for now_ms in range(6_000):
        line.step(now_ms)
        told += line.take_events()
        if not line.plugged:
            line.to_device(PLEASE_RATE, now_ms)
            assert b"" == line.step(now_ms)
    out, back = (event for event in told if isinstance(event, Unplugged | Replugged))

    assert 1_000 <= back.at_ms - out.at_ms <= 4_000
    assert 1 == line.renamed


def test_what_was_on_its_way_is_gone_with_the_cable():
    """A key that was held back for 50 ms does not come out of the cable that is put back."""
    line = VirtualLine(KeyBytePanel(), Faults(glue=1), 1)
    line.plan([Happening(0, "closure", 1), Happening(10, "unplug"), Happening(20, "replug")])

    assert [] == heard(line, 1_000)


def test_a_device_that_gets_its_power_may_say_something_first():
    """00 and FF, at the start and after each reboot."""
    line = VirtualLine(KeyBytePanel(), Faults(power_on=1), 1)
    first = line.step(0)
    line.plan([Happening(1_000, "reboot")])
    second = line.step(1_000)

    assert all(1 <= len(each) <= 4 and set(each) <= {0x00, 0xFF} for each in (first, second))
    assert [Rebooted] == [type(event) for event in line.take_events()]


def test_a_framing_error_may_be_read_as_00():
    """01 at 9600 is read as 06 at 19200, without its stop bit."""
    as_it_is, as_zero = (
        VirtualLine(KeyBytePanel(), Faults(baud_9600_19200=1), 1, error_as_zero=zero) for zero in (False, True)
    )
    for line in (as_it_is, as_zero):
        line.press(1, 0)

    assert (b"\x06", b"\x00") == (as_it_is.step(0), as_zero.step(0))


def test_the_wrong_rate_spoils_what_the_host_says_too():
    """No command arrives."""
    line = VirtualLine(Pj06Panel(), Faults(baud_9600_19200=1), 1)
    line.to_device(PLEASE_RATE, 1_000)
    line.step(1_000)

    assert not line.panel.inviting(1_001)


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ("udp_lost:1", []),
        ("udp_doubled:1", [VOTE, VOTE]),
        ("", [VOTE]),
    ],
)
def test_datagrams_are_whole_or_not_there(faults, expected):
    """Lost, doubled, never cut and never joined."""
    line = VirtualLine(SundynPanel(), Faults.parse(f"split:1,flip:1,{faults}"), 1)
    line.panel.feed(APPRISE, 0)
    line.panel.poll(0)
    line.press(4, 1_000)
    pieces = [piece for now_ms in range(1_000, 3_000) for piece in line.step_pieces(now_ms)]

    assert expected == pieces


def test_datagrams_may_overtake_each_other():
    """By fault: some seed turns two around."""
    orders = set()
    for seed in range(20):
        line = VirtualLine(SundynPanel(), Faults(udp_late=0.5), seed)
        line.wire.to_host(b"1", 0)
        line.wire.to_host(b"2", 10)
        orders.add(b"".join(line.step(now_ms) for now_ms in range(1_000)))

    assert {b"12", b"21"} == orders


def test_a_second_reader_takes_whole_pieces():
    """By fault."""
    line = VirtualLine(KeyBytePanel(), Faults(reader_steals=1), 1)
    line.press(1, 0)

    assert (b"", 1) == (line.step(0), len(line.take_events()))


def test_a_keypad_that_is_unplugged_in_the_middle_of_a_key_never_lets_it_go():
    """By fault: the node is gone within 100 ms, mostly before the key came up."""
    sizes = set()
    for seed in range(20):
        line = VirtualLine(KeypadPanel(), Faults(enodev=1), seed)
        line.press(1, 0)
        sizes.add(sum(len(data) for _, data in heard(line, 10_000)))

    assert {72, 144} == sizes


def test_the_host_and_the_house_panel_meet_here_too():
    """A beat of its own accord."""
    line = VirtualLine(Qs4Panel(5, always=True), Faults(), 1)
    line.to_device(frame("QUERY", "D0001"), 0)

    assert [] == heard(line, 1_000)


@pytest.mark.alone
def test_thousands_of_runs_take_seconds():
    """300 short runs in less than three seconds on any machine; a campaign has tens of thousands."""
    faults = Faults.parse("group1,group2,group3,group4,group5,group6")
    started = time.perf_counter()
    for seed in range(300):
        line = VirtualLine(Pj06Panel(), faults, seed)
        line.to_device(PLEASE_RATE, 0)
        line.step(0)
        line.press(1, 1_000)
        heard(line, 20_000, 1_000)

    assert time.perf_counter() - started < 3
