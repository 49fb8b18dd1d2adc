"""Spot checks: what is drawn, that nobody can steer it, and that anybody can draw again."""

from __future__ import annotations

import sqlite3
import subprocess
from hashlib import sha256

import pytest

from collector.ledger import audit, lots
from collector.ledger.desk import NotSo
from collector.ledger.tally import day_of
from collector.mending.draws import Draw, Draws
from collector.mending.mendings import Mendings
from tests.collector.agents import NOW_MS
from tests.collector.crashes import crashes
from tests.collector.ledgers import VAULT, Ledger, directory_of, unguard, window

DAY = day_of(NOW_MS)
BY = ("周审", "十一月监督查评")


@pytest.fixture
def draws(ledger) -> Draws:
    ledger.rate(*range(1, 41))
    ledger.rate(*range(41, 51), button=2, name="hall-a")
    return Draws(ledger.store)


def announced(
    draws: Draws, kind: str = "all", hall: str = "", wanted: int = 5, first: int = DAY, last: int = DAY
) -> Draw:
    return draws.announce(first, last, kind, hall, wanted, *BY, NOW_MS)


def made(ledger: Ledger, draws: Draws, draw: Draw) -> Draw:
    """The draw, once something has come behind it."""
    ledger.rate(900 + draw.id)
    draws.make(NOW_MS)
    return draws.found(draw.id)


def test_nothing_is_drawn_before_something_has_come_behind_the_announcement(ledger, draws):
    """The seed is made of presses that nobody can know yet. Red if the last stretch is taken instead of the next."""
    draw = announced(draws)
    assert (0, "", ()) == (draws.make(NOW_MS), draw.seed, draw.ratings)
    done = made(ledger, draws, draw)

    assert (50, 5) == (done.size, len(set(done.ratings)))
    assert (done.seed, 0) == (draws.found(draw.id).seed, draws.make(NOW_MS + 1))


def test_what_comes_after_the_announcement_is_not_in_the_frame(ledger, draws):
    """Or whoever presses later could make themselves part of it, and nobody could draw again next year."""
    done = made(ledger, draws, announced(draws, wanted=1000))

    assert list(range(1, 51)) == sorted(done.ratings)


@pytest.mark.parametrize(("kind", "numbers"), [("bad", range(41, 51)), ("good", range(1, 41))])
def test_only_those_of_its_kind_are_drawn(ledger, draws, kind, numbers):
    done = made(ledger, draws, announced(draws, kind=kind, wanted=1000))

    assert list(numbers) == sorted(done.ratings)


def test_anybody_can_draw_again_with_two_commands(ledger, draws):
    """printf and sha256sum, from nothing but what the draw says. Red with another separator, order or spelling."""
    done = made(ledger, draws, announced(draws))
    numbers = [row["id"] for row in ledger.store.rows("SELECT id FROM rating WHERE id <= ?", (done.upto,))]
    stretch = ledger.store.row("SELECT hash FROM stretch WHERE n = ?", (done.stretch + 1,))["hash"].hex()
    script = """
    test "$(printf '%s\\n' $NUMBERS | sha256sum | cut -c1-64)" = "$FRAME" || exit 1
    test "$(printf '%s/%s/%s' "$DRAW" "$FRAME" "$STRETCH" | sha256sum | cut -c1-64)" = "$SEED" || exit 2
    for n in $NUMBERS; do echo "$(printf '%s/%s' "$SEED" "$n" | sha256sum | cut -c1-64) $n"; done | sort | head -5
    """
    told = {
        "NUMBERS": " ".join(map(str, numbers)),
        "FRAME": done.frame.hex(),
        "STRETCH": stretch,
        "SEED": done.seed,
        "DRAW": str(done.id),
        "PATH": "/usr/bin:/bin",
    }
    found = subprocess.run(["bash", "-c", script], env=told, capture_output=True, text=True, check=True).stdout

    assert list(done.ratings) == [int(line.split()[1]) for line in found.splitlines()]


def test_each_rating_is_as_likely_as_any_other():
    """Over two thousand seeds, of twenty numbers five: each about 500 times (five sigma are 97)."""
    hits = [0] * 20
    for seed in range(2000):
        for number in lots.drawn(sha256(str(seed).encode()).hexdigest(), range(20), 5):
            hits[number] += 1

    assert all(400 < each < 600 for each in hits), hits


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "mine"}, "kind"),
        ({"wanted": 0}, "wanted"),
        ({"wanted": 1001}, "wanted"),
        ({"first": DAY + 1}, "frame"),
        ({"first": DAY + 1, "last": DAY + 1}, "to"),
        ({"last": DAY + 1}, "to"),
        ({"first": DAY - 9, "hall": "别处"}, "frame"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_words(draws, change, field):
    with pytest.raises(NotSo) as said:
        announced(draws, **change)

    assert (field, True) == (said.value.field, " / " in str(said.value))


def test_the_outcome_of_a_check_is_a_step_of_the_drawn_rating(ledger, draws):
    """And of no other. A mending beside it goes on as if there were none."""
    mendings = Mendings(ledger.store, VAULT)
    done = made(ledger, draws, announced(draws, kind="bad", wanted=1))
    (rating,) = done.ratings
    with pytest.raises(NotSo, match="不在第 1 次抽查中"):
        mendings.spot_checked(done.id, 1, "sound", "", "周审", NOW_MS)
    with pytest.raises(NotSo, match="请写明情况"):
        mendings.spot_checked(done.id, rating, "doubtful", "", "周审", NOW_MS)
    mendings.spot_checked(done.id, rating, "doubtful", "办事人说没有评过", "周审", NOW_MS)
    (row,) = draws.ratings(done)

    assert ("doubtful", "周审") == (row["outcome"], row["who"])
    assert "to_check" == mendings.found(rating).state
    assert "to_mend" == mendings.take(rating, "check", "founded", "x", "李敏", 0, NOW_MS).state
    assert [] == audit.verify(ledger.path).findings


@pytest.mark.parametrize("table", ["draw", "drawn"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET id = 7", "DELETE FROM {}", "REPLACE INTO {} SELECT * FROM {}"])
def test_draws_never_change_and_never_go(ledger, draws, table, statement):
    made(ledger, draws, announced(draws))
    with sqlite3.connect(ledger.path) as somebody, pytest.raises(sqlite3.IntegrityError):
        somebody.execute(statement.format(table, table))
    somebody.close()


@pytest.mark.parametrize(
    ("forged", "said"),
    [
        ("UPDATE draw SET wanted = 4", "公告与其哈希不符"),
        ("UPDATE draw SET upto = upto - 1", "范围与账本不符"),
        ("UPDATE draw SET hall = '别处'", "范围与账本不符"),
        ("UPDATE draw SET kind = '?'", "范围被改动"),
        ("UPDATE draw SET stretch = stretch - 1", "种子不是账本给出的"),
        ("UPDATE drawn SET seed = 'a'", "种子不是账本给出的"),
        ("UPDATE drawn SET ratings = '[1, 2, 3, 4, 5]'", "结果与重抽不符"),
        ("UPDATE drawn SET at_ms = 7", "结果与其哈希不符"),
        ("DELETE FROM draw", "没有公告过的抽查"),
    ],
)
def test_a_draw_that_was_altered_is_found(ledger, draws, forged, said):
    """By who owns the file. Red without the chain, or without drawing again."""
    made(ledger, draws, announced(draws))
    assert [] == audit.verify(ledger.path).findings
    with sqlite3.connect(ledger.path) as somebody:
        unguard(somebody)
        somebody.execute(forged)
    somebody.close()

    assert [True] == [said in each.what for each in audit.verify(ledger.path).findings if said in each.what]


def test_a_power_cut_at_any_moment_leaves_a_draw_whole_or_none(tmp_path):
    """What was announced is drawn later, and gives the same whoever draws."""

    def make(path):
        ledger = Ledger(path, directory_of(window()))
        ledger.rate(*range(1, 9))
        announced(Draws(ledger.store), wanted=2)
        ledger.rate(9, name="hall-b")
        return ledger

    for found in crashes(make, tmp_path, lambda ledger: Draws(ledger.store).make(NOW_MS)):
        again = Draws(found.store)
        again.make(NOW_MS)
        assert 2 == len(again.found(1).ratings)
        assert [] == audit.verify(found.path).findings
