"""What clumsy fingers and busy hands do: each fault does what its name says."""

from itertools import pairwise
from random import Random

import pytest

from firmware_sim.faults import Faults, Happening, finger
from firmware_sim.faults.hand import DAY_MS

SEEDS = range(40)


def done(faults: str, seed: int, **settings) -> list[Happening]:
    return finger(3, 10_000, Faults.parse(faults), Random(seed), **settings)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_held_key_repeats_after_half_a_second_thirty_times_a_second(seed):
    """One closure; the rest is what a device may make of it."""
    first, *rest = done("held:1", seed)
    waits = [later.at_ms - sooner.at_ms for sooner, later in pairwise(rest)]

    assert Happening(10_000, "closure", 3) == first
    assert {"repeat"} == {each.kind for each in rest}
    assert (10_500, {33}) == (rest[0].at_ms, set(waits))
    assert 10_530 < rest[-1].at_ms < 12_000


@pytest.mark.parametrize("seed", SEEDS)
def test_two_keys_together_are_two_other_keys_at_one_moment(seed):
    """Never the same twice, that would be a bounce."""
    first, second = done("together:1", seed)

    assert first.at_ms == second.at_ms == 10_000
    assert first.button != second.button


@pytest.mark.parametrize("seed", SEEDS)
def test_a_second_vote_comes_half_a_second_to_three_later(seed):
    """Of any button."""
    first, second = done("second:1", seed)

    assert 500 <= second.at_ms - first.at_ms <= 3_000


@pytest.mark.parametrize("seed", SEEDS)
def test_a_press_outside_is_behind_the_end_of_the_question(seed):
    """Which the panel knows."""
    first, outside = done("outside:1", seed, until_ms=25_000)

    assert (10_000, True) == (first.at_ms, outside.at_ms > 25_000)


def test_a_time_out_is_met_on_either_side_and_on_the_spot():
    """If nothing is asked, there is none to be met."""
    moments = {done("at_timeout:1", seed, until_ms=25_000)[0].at_ms for seed in SEEDS}

    assert {24_999, 25_000, 25_001} == moments
    assert 10_000 == done("at_timeout:1", 1)[0].at_ms


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("fault", "back"),
    [("other_name", "rename"), ("enodev", "replug"), ("ip_change", "rename"), ("cable_out", "replug")],
)
def test_what_is_pulled_out_is_put_back(seed, fault, back):
    """One to four seconds later, under the name that the fault says."""
    out, in_again = (each for each in done(f"{fault}:1", seed) if each.kind != "closure")

    assert ("unplug", back) == (out.kind, in_again.kind)
    assert 1_000 <= in_again.at_ms - out.at_ms <= 4_000


def test_a_clock_jumps_either_way_by_up_to_a_day():
    """Around the press."""
    jumps = [each for seed in SEEDS for each in done("clock_jump:1", seed) if each.kind == "clock_jump"]

    assert {True, False} == {each.by_ms > 0 for each in jumps}
    assert DAY_MS == max(abs(each.by_ms) for each in jumps)
    assert all(abs(each.at_ms - 10_000) <= 500 for each in jumps)


def test_everything_happens_to_the_panel_that_is_meant():
    """On a shared line."""

    assert {"6"} == {each.device for each in done("group1:1,group2:1,group9:1", 1, device="6")}


def test_happenings_stand_in_the_order_of_time():
    """All of them together."""
    for seed in SEEDS:
        moments = [each.at_ms for each in done("group1:1,group2:1,group8:1,group9:1,group12:1,group14:1", seed)]
        assert sorted(moments) == moments
