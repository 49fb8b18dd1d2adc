"""Every panel by its name: runs, in virtual time, and under every fault without falling over."""

from dataclasses import fields
from random import Random

import pytest

from firmware_sim.bench import Replugged, Unplugged, VirtualLine
from firmware_sim.faults import Faults, Happening
from firmware_sim.faults.chances import in_group
from firmware_sim.panel import PressMade, PressNotAccepted, PressThanked, Rebooted
from firmware_sim.panels.bus import Bus
from firmware_sim.panels.qs4 import frame
from firmware_sim.panels.shelf import KINDS, make, make_line, make_unknown

SHIPPED = {
    "house",
    "qs4",
    "pj06",
    "key-byte",
    "key-ascii",
    "modbus-key",
    "taxi905",
    "sundyn-udp",
    "hid-keypad",
    "screen",
}
NAMES = {kind: "5" if KINDS[kind].first_address is not None else "D0001" for kind in KINDS}


def noise(rng: Random) -> bytes:
    """Something from a host that may be of any family, or of none."""
    return rng.choice(
        (
            rng.randbytes(rng.randint(1, 30)),
            frame(5, 0x01, b"\x0b"),
            bytes.fromhex("55 AA 02 20 00 1A"),
            bytes.fromhex("05 03 00 00 00 01 85 8E"),
            b'{"command":"apprise"}',
            b"201",
        )
    )


def run(panel, faults: Faults, seed: int) -> list:
    """Twenty seconds with a finger and a host: (events, what the host read)."""
    line, rng = VirtualLine(panel, faults, seed), Random(f"{seed}/host")
    told: list = []
    for now_ms in range(0, 20_000, 50):
        if now_ms % 2_000 == 0:
            line.press(rng.choice(panel.buttons), now_ms)
        if now_ms % 500 == 0:
            line.to_device(noise(rng), now_ms)
        told.append(line.step(now_ms))
        told += line.take_events()
    return told


def test_there_is_a_panel_for_every_shipped_profile():
    """By the profile's own name."""

    assert set(KINDS) >= SHIPPED


@pytest.mark.parametrize("kind", KINDS)
def test_every_panel_takes_every_fault(kind):
    """All at once: nothing is raised, the truth has only what truths have, and the same seed tells the same."""
    faults = Faults(**{field.name: 0.2 for field in fields(Faults)})
    told = run(make(kind, NAMES[kind]), faults, 7)
    events = [each for each in told if not isinstance(each, bytes)]

    known = PressMade | PressThanked | PressNotAccepted | Rebooted | Unplugged | Replugged | Happening
    assert all(isinstance(event, known) for event in events)
    assert told == run(make(kind, NAMES[kind]), faults, 7)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "qs4-caller"])
def test_without_faults_the_truth_has_exactly_what_was_pressed(kind):
    """Ten times, two seconds apart; or a panel said that it could not take it."""
    told = run(make(kind, NAMES[kind]), Faults(), 7)
    events = [each for each in told if isinstance(each, PressMade | PressNotAccepted)]

    assert 10 == len(events)
    assert [2_000 * at for at in range(10)] == [event.at_ms for event in events]


@pytest.mark.parametrize("kind", ["hid-keypad", "screen"])
def test_a_panel_without_a_line_suffers_nothing_of_a_line(kind):
    """What it says is the same under every fault of bytes."""
    names = [name for group in (3, 4, 5, 6, 7) for name in in_group(group)]
    spoilt = run(make(kind), Faults(**dict.fromkeys(names, 1.0)), 7)

    assert run(make(kind), Faults(), 7) == spoilt


def test_panels_stand_at_successive_addresses_of_one_line():
    """One alone is no bus."""
    three, one = make_line("qs4", 5, 3), make_line("modbus-key", None, 1)

    assert isinstance(three, Bus)
    assert (["5", "6", "7"], "1") == ([panel.device for panel in three.panels], one.device)


@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        (lambda: make("qs5"), "no such panel: 'qs5'"),
        (lambda: make_line("pj06", None, 2), "pj06 has no addresses"),
        (lambda: make_line("qs4", 254, 3), "addresses are 0-255, not 254-256"),
        (lambda: make_line("qs4", 5, 0), "addresses are 0-255"),
    ],
)
def test_a_wrong_wish_is_answered_clearly(wish, complaint):
    """It says what can be had instead."""
    with pytest.raises(ValueError, match=complaint):
        wish()


def test_an_unknown_panel_is_had_by_its_seed():
    """The same shape again."""

    assert make_unknown(11).describe() == make_unknown("11").describe()
