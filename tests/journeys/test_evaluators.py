"""Every evaluator through every group of faults: nothing is ever booked that was not meant, and each gap has a reason.

A few seeds here; `make bench BENCH_ARGS="--only evaluators"` runs them by the hundred. The rules that this proves, each
of which `make mutations` breaks and sees red: what is repeated until it is answered is one press; what may be from
before its invitation is no rating of it; nothing close to our own words is a key; a bare key stands alone.
"""

from __future__ import annotations

import pytest

from edge_agent.outbox import Outbox

from .evaluators import EVALUATORS, GROUP_NAMES, START_MS, morning, shown

SEEDS = range(3)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    box = Outbox(tmp_path_factory.mktemp("evaluators") / "outbox.db", "hall-pc-1", START_MS)
    # What is looked at is what is written, not whether a power cut leaves it.
    box._db.execute("PRAGMA synchronous = OFF")
    yield box
    box.close()


@pytest.mark.parametrize("group", ["", *GROUP_NAMES])
@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_nothing_is_booked_that_was_not_meant(evaluator, group, shared):
    """And of what was meant and is not booked, somebody can say why not."""
    for seed in SEEDS:
        result = morning(evaluator, group, seed, shared)
        replay = f"--evaluator {evaluator} --faults '{group}' --seed {seed}: {shown(result)}"

        assert [] == result.mistakes, replay
        assert 0 == result.reasons[""], replay


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_where_nothing_goes_wrong_what_is_meant_is_booked(evaluator, shared):
    """All of it, but for presses that come within the first moments of an invitation of a device that may be late."""
    meant = booked = undatable = certain = 0
    how = EVALUATORS[evaluator].profile.shape.press
    doubt_ms = max(how.late_ms, how.soon_ms)
    for seed in range(100, 110):
        result = morning(evaluator, "", seed, shared)
        certain += sum(1 for each in result.services if each.meant and each.meant[0].at_ms - each.opened_ms > doubt_ms)
        meant += sum(1 for service in result.services if service.meant)
        booked += sum(1 for service in result.services if service.booked)
        undatable += sum(number for reason, number in result.reasons.items() if "before" in reason)

    assert meant > 20
    assert booked >= 0.9 * certain > 0.3 * meant
    assert booked + undatable >= 0.9 * meant
