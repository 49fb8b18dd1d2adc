"""Sets of row numbers, one bit each: which ratings are called accepted, and which the province took."""

from __future__ import annotations

import pickle
import random

import pytest

from collector.ledger.audit.marks import Marks


@pytest.mark.parametrize("seed", range(20))
def test_they_are_sets(seed):
    """Small numbers, strange and negative ones, in any order and number of parts. Red if a page is one bit short."""
    chance = random.Random(seed)
    some = [0, 1, 32_767, 32_768, -1, 2**60, *(chance.randrange(-(2**17), 2**17) for _ in range(500))]
    here, there = chance.choices(some, k=300), chance.choices(some, k=300)
    mine, theirs = Marks(here[:100]), Marks(there)
    mine.join(Marks(here[100:]))
    mine = pickle.loads(pickle.dumps(mine))  # as it comes from another process

    assert sorted(set(here) - set(there)) == list(mine.without(theirs))
    assert sorted(set(here)) == list(mine.without(Marks()))
