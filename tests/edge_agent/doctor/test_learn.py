"""Learning: right where the bytes say enough, unsure in words where they do not."""

from random import Random

import pytest

from edge_agent.doctor.learn import Proposal, Unsure, idle_label, infer, key_label
from edge_agent.doctor.learn.toml import profile_text
from edge_agent.doctor.recording import Label, Piece, Recording
from firmware_sim.panels.shelf import make_unknown
from protocols import profiles
from protocols.profiles import presets
from protocols.profiles.vocabulary import LineSettings

from .desk import equivalent, learnt
from .odd_panels import OddPanel

LATER_MS = 2_000_000


def recording(*pushes: tuple[int, str], idle: str = "") -> Recording:
    """Each push of a key with its bytes, two seconds apart."""
    entries = [Label(idle_label()), *([Piece(0, False, bytes.fromhex(idle))] if idle else [])]
    for number, (key, said) in enumerate(pushes, 1):
        entries.append(Label(key_label(key, number)))
        entries += [Piece(2000 * number, False, bytes.fromhex(said))] if said else []
    return Recording(tuple(entries))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("make", [make_unknown, OddPanel])
def test_a_panel_that_nobody_knows_is_learnt(make, seed):
    """It reads fresh presses, and no press in noise, signs of life or damaged frames."""
    panel, rng = make(seed), Random(seed)
    _, finish = learnt(panel, rng)

    assert isinstance(finish.result, Proposal), finish.result
    assert "" == equivalent(finish.result.profile, panel, rng, LATER_MS)
    assert {} == finish.result.profile.levels


@pytest.mark.parametrize(
    ("pushes", "why"),
    [
        ([(1, "01")] * 3, "two different keys"),
        ([(1, "01")] * 3 + [(2, "02")] * 2, "too seldom"),
        ([(1, "01")] * 3 + [(2, "02"), (2, ""), (2, "02")], "said nothing"),
        ([(1, "01")] * 3 + [(2, "01")] * 3, "say the same"),
        ([(1, "01"), (1, "01"), (1, "05"), (2, "02"), (2, "02"), (2, "02")], "not say the same each time"),
        (
            [(1, "AA 01 11"), (1, "AA 01 73"), (1, "AA 01 2C"), *[(2, f"AA 02 {x}") for x in ("51", "9F", "08")]],
            "neither",
        ),
    ],
)
def test_what_is_not_certain_is_said(pushes, why):
    """Too little, too alike, contradictory, or changing for no reason: no profile."""
    result = infer(recording(*pushes), LineSettings())

    assert isinstance(result, Unsure)
    assert why in result.why.en


def test_two_checksums_that_both_fit_are_told():
    """Sum and exclusive or agree on all that was heard, and not on what may come: a number that rises."""
    numbers = {1: (4, 8, 12), 2: (16, 20, 24)}
    pushes = [(key, f"A0 0{key} {n:02X} {0xA0 | key | n:02X}") for key, each in numbers.items() for n in each]
    result = infer(recording(*pushes), LineSettings())

    assert isinstance(result, Unsure)
    assert "xor" in result.detail.en and "sum8" in result.detail.en


def test_a_profile_is_written_as_it_is_read():
    """Every shipped one that loads comes back the same from our own writing."""
    for id in ("house", "qs4", "pj06", "key-byte", "key-ascii", "taxi905", "sundyn-udp", "screen"):
        shape = profiles.shipped(id).shape

        assert shape == profiles.read(profile_text(shape).encode(), id).shape


def test_presets_load_and_differ_in_what_key_1_means():
    """That is why none is ever taken without a look at the key."""
    found = presets.shipped()

    assert {"sle300", "pjq-old", "xjpjq", "scoreocx", "six-key"} <= found.keys()
    assert len({preset.meanings[1].level for preset in found.values() if 1 in preset.meanings}) > 2
