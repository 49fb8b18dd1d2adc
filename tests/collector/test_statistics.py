"""Statistics: each figure from a ledger whose truth is known, and the same from the records by seed."""

from __future__ import annotations

import sqlite3
from fractions import Fraction
from math import floor
from random import Random

import pytest

from collector.ledger.channels import Given
from collector.ledger.tally import day_of, day_text
from collector.mending.mendings import Mendings, Rules
from collector.statistics import Statistics, TooMany
from collector.statistics.figures import BYS, SMALL, differences, rounded
from collector.statistics.recount import Altered, Recount
from collector.statistics.words import figure
from protocols.ratings import Level
from tests.collector.agents import NOW_MS, Agent, closing, press
from tests.collector.halls import HALL, Hall
from tests.collector.ledgers import VAULT, Ledger, case, directory_of, unguard, window

DAY_MS = 86_400_000
DAY = day_of(NOW_MS)
ALWAYS = (-10_000, 40_000)


def statistics(ledger: Ledger) -> Statistics:
    return Statistics(ledger.store, VAULT, Mendings(ledger.store, VAULT), ledger.directory)


def served(number: int, button: int, **other):
    """A press and its closing, served by somebody."""
    clerk = other.pop("clerk", "0042")
    return [
        press(number, f"i{number}", button=button, **other),
        closing(f"i{number}", f"C{number}", clerk=clerk, window=other.get("window", "w1")),
    ]


@pytest.fixture
def morning(opened) -> Ledger:
    """Two windows. w1: three very satisfied, one dissatisfied, one not pressed; w2: one very dissatisfied."""
    ledger = opened(directory_of(window(), window(window="w2", device="D2")))
    agent = Agent()
    records = [each for number, button in ((1, 1), (2, 1), (3, 1), (4, 2)) for each in served(number, button)]
    records += served(5, 3, window="w2", device="D2", clerk="0043")
    records += [closing("i6", "C6", outcome="expired", clerk="0042")]
    ledger.take(agent, agent.write(*records))
    return ledger


def of(ledger: Ledger, by: str, days=ALWAYS, hall: str = "", now_ms: int = NOW_MS):
    return statistics(ledger).of(*days, by, hall, now_ms)


def test_levels_good_rate_and_coverage_of_each_window(morning):
    """Good are the upper three. Red with another threshold, or with coverage of ratings by ratings."""
    one, two = of(morning, "window")["lines"]

    assert ("市民中心", "1号", 4, 3, 1, 0.75, 5, 4, 0.8) == tuple(
        one[name]
        for name in ("hall", "window", "ratings", "good", "bad", "good_rate", "asked", "asked_rated", "coverage")
    )
    assert (3, 1, 0) == (one["very_satisfied"], one["dissatisfied"], one["very_dissatisfied"])
    assert ("2号", 1, 0.0, 1.0) == (two["window"], two["very_dissatisfied"], two["good_rate"], two["coverage"])


def test_a_rate_of_nothing_is_none(ledger):
    """And never 0 or 100 %."""
    total = of(ledger, "hall")["total"]

    assert (0, None, None, None, None) == (
        total["ratings"],
        *(total[name] for name in ("good_rate", "coverage", "in_time_rate", "days_to_mend")),
    )


def test_taking_an_invitation_back_makes_no_rate_better(morning):
    """Red if withdrawn ones are left out: a clerk could take back whoever looks cross."""
    agent = Agent("hall-a")
    morning.take(agent, agent.write(closing("i7", "C7", outcome="withdrawn", clerk="0042")))

    assert (6, 4) == tuple(of(morning, "window")["lines"][0][name] for name in ("asked", "asked_rated"))


def test_a_few_ratings_of_a_clerk_have_counts_and_no_rates(morning):
    """Below ten; with the tenth there is a rate. Red at nine or eleven."""
    few = of(morning, "clerk")["lines"][0]
    agent = Agent("hall-a")
    morning.take(agent, agent.write(*(each for n in range(10, 15) for each in served(n, 1))))
    nine = of(morning, "clerk")["lines"][0]
    morning.take(agent, agent.write(*served(15, 1)))
    ten = of(morning, "clerk")["lines"][0]

    assert ("0042", 4, 1, None, None) == (
        few["clerk"],
        few["ratings"],
        few["bad"],
        few["good_rate"],
        few["coverage"],
    )
    assert (SMALL - 1, None) == (nine["ratings"], nine["good_rate"])
    assert (SMALL, 0.9) == (ten["ratings"], ten["good_rate"])


def test_what_was_mended_in_time_late_and_not_at_all(morning):
    """In time are those closed before the deadline, of those closed or overdue; what may still be mended
    does not count."""
    mendings = Mendings(morning.store, VAULT)

    def close(rating: int, at_ms: int) -> None:
        mendings.take(rating, "check", "malicious", "x", "李敏", 0, at_ms)
        mendings.take(rating, "close", "approved", "", "王芳", mendings.found(rating).last, at_ms)

    close(4, NOW_MS + 4000 + 3 * DAY_MS)
    soon = of(morning, "hall", now_ms=NOW_MS + DAY_MS)["lines"][0]
    late = of(morning, "hall", now_ms=NOW_MS + 40 * DAY_MS)["lines"][0]
    close(5, NOW_MS + 5000 + 40 * DAY_MS)
    closed = of(morning, "hall", now_ms=NOW_MS + 40 * DAY_MS)["lines"][0]
    names = ("mended_in_time", "mended_late", "mending", "overdue", "in_time_rate", "days_to_mend")

    assert (1, 0, 1, 0, 1.0, 3.0) == tuple(soon[name] for name in names)
    assert (1, 0, 0, 1, 0.5, 3.0) == tuple(late[name] for name in names)
    assert (1, 1, 0, 0, 0.5, 21.5) == tuple(closed[name] for name in names)
    assert (2, 2, 5) == (closed["malicious"], closed["bad"], closed["ratings"])


def test_by_item_opens_the_hidden_details_and_keeps_no_copy(morning):
    """Cases whose details are not there stand in a line of their own; nothing stands in clear afterwards."""
    morning.intake.take_cases([case("C1"), case("C4"), case("C5", item_code="2" * 31, item_name="居住证申领")], NOW_MS)
    found = {line["item"]: line["ratings"] for line in of(morning, "item")["lines"]}
    kept = b"".join(each.read_bytes() for each in morning.path.parent.glob("ledger.db*"))

    assert {f"{'1' * 31} 身份证换领": 2, f"{'2' * 31} 居住证申领": 1, "?": 2} == found
    assert "身份证换领".encode() not in kept
    with pytest.raises(TooMany, match="请缩短时间"):
        statistics(morning).of(*ALWAYS, "item", "", NOW_MS, items_max=2)


def test_who_was_asked_is_of_the_item_too(morning):
    """Whether rated or not. Red if an item's coverage leaves out whoever went without pressing."""
    morning.intake.take_cases([case("C1"), case("C6")], NOW_MS)
    found = {line["item"][:1]: (line["asked"], line["asked_rated"]) for line in of(morning, "item")["lines"]}

    assert {"1": (2, 1), "?": (4, 4)} == found


def test_a_rating_that_a_person_linked_to_its_case_is_of_its_item_on_both_sides(opened):
    """Red if it is a rating of the item, and an invitation of none."""
    ledger = opened(directory_of(window()))
    agent = Agent()
    ledger.take(agent, agent.write(press(1, "i1"), closing("i1", None)))
    ledger.intake.take_cases([case("C1")], NOW_MS)
    ledger.desk.link(1, "C1", 1, "李敏", "核对原始材料", NOW_MS)
    (found,) = of(ledger, "item")["lines"]

    assert (1, 1, 1) == (found["ratings"], found["asked"], found["asked_rated"])


def test_a_period_is_of_whole_days_in_beijing(morning):
    """The first and the last are in it. Red by an hour of another zone."""
    day = day_text(DAY)

    assert [day] == [line["day"] for line in of(morning, "day", (DAY, DAY))["lines"]]
    assert [day[:7]] == [line["month"] for line in of(morning, "month")["lines"]]
    assert [] == of(morning, "day", (DAY + 1, DAY + 9))["lines"]
    assert [] == of(morning, "day", hall="别处")["lines"]


def test_ratings_of_other_channels_do_not_dress_up_coverage(opened):
    """Nobody knows whom a website has asked."""
    ledger = opened(directory_of(window()).with_clients([("web", ["web"])]))
    given = Given("r1", Level.SATISFIED, "web", "C1", NOW_MS, 1, (), 0, "", "", "", None)
    ledger.channels.take("web", given, NOW_MS)

    assert (1, 0, None) == tuple(of(ledger, "hall")["total"][name] for name in ("ratings", "asked", "coverage"))


@pytest.mark.parametrize("seed", range(8))
def test_the_records_give_the_same(seed, tmp_path):
    """Halls that live through everything, by seed; mendings by dice. Every way to count, against the records alone."""
    ledger = Ledger(tmp_path / "ledger.db", HALL)
    hall = Hall(ledger, seed)
    hall.live(1500)
    dice, mendings = Random(seed), Mendings(ledger.store, VAULT)
    for mending in mendings.listed("open", hall.now_ms, most=-1):
        for _ in range(dice.randrange(7)):
            now = mendings.found(mending.rating)
            what, outcomes = dice.choice(mendings.can(now))
            who = "王芳" if what in ("close", "reopen") else "李敏"
            mendings.take(now.rating, what, dice.choice(outcomes), "x", who, now.last, hall.now_ms)
    now_ms = hall.now_ms + dice.randrange(30) * DAY_MS
    first, last = DAY, DAY + dice.randrange(1, 9)
    for by in BYS:
        for days in (ALWAYS, (first, last)):
            if by == "item":
                continue
            rows = statistics(ledger).counts(*days, by, "", now_ms)
            records = Recount(ledger.store, HALL, Rules()).counts(*days, by, "", now_ms)
            assert [] == list(differences(rows, records)), f"seed {seed} by {by} {days}"
    whole, by_item = (statistics(ledger).counts(*ALWAYS, by, "", now_ms) for by in ("day", "item"))
    ledger.store.close()

    assert whole.levels.total() == by_item.levels.total() >= 8
    assert whole.asked.total() == by_item.asked.total() >= 8
    assert whole.mended.total() == by_item.mended.total() >= 2


@pytest.mark.parametrize(
    "forged",
    [
        "UPDATE record SET body = replace(CAST(body AS TEXT), 'i1', 'i9')",
        "UPDATE rating SET level = 'very_satisfied' WHERE id = 4",
        "DELETE FROM press WHERE id = 2",
    ],
)
def test_nobody_can_edit_what_is_counted(morning, forged):
    """By who owns the file. Red if the records, or what they mean, are not looked at."""
    with sqlite3.connect(morning.path) as somebody:
        unguard(somebody)
        somebody.execute(forged)
    somebody.close()

    with pytest.raises(Altered):
        Recount(morning.store, morning.directory, Rules()).counts(*ALWAYS, "hall", "", NOW_MS)


def test_a_report_names_the_heads_from_which_it_was_counted(morning):
    """On paper they bind the ledger: another head is another ledger."""
    before = of(morning, "hall")["heads"]
    Mendings(morning.store, VAULT).take(4, "check", "founded", "x", "李敏", 0, NOW_MS)
    after = of(morning, "hall")["heads"]

    assert (before["ledger"], "0:") == (after["ledger"], before["steps"])
    assert after["steps"].startswith("1:")


def test_a_rate_is_rounded_once_and_half_up():
    """As whoever checks it with the counts beside it does. Red if it goes by way of a fourth place: 182 of 186 are
    97.8 % and not the 97.9 of 97.85, and 1,818 of 1,819 are not all."""
    said = [figure("good_rate", rounded(*counts, 3)) for counts in ((182, 186), (1818, 1819), (9, 16), (0, 7), (7, 7))]

    assert ["97.8%", "99.9%", "56.3%", "0.0%", "100.0%"] == said
    for whole in range(1, 300):
        for part in range(whole + 1):
            assert floor(Fraction(part, whole) * 1000 + Fraction(1, 2)) == round(rounded(part, whole, 3) * 1000)
