"""What `make mutations` breaks is there to be broken: it takes hours, and is run now and then."""

from __future__ import annotations

import pytest

from .mutations import MUTATIONS, ROOT


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.rule)
def test_every_rule_stands_in_one_place(mutation):
    """Red when somebody has written the line in another way: the rule is to be found again. Its journeys are there."""
    text = (ROOT / mutation.file).read_text("utf-8")

    assert (1, True) == (text.count(mutation.old), mutation.old != mutation.new), mutation
    assert [] == [journey for journey in mutation.journeys if not (ROOT / journey).exists()]
