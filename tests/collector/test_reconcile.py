"""The counts that must agree: per window, in all, and at every moment."""

from __future__ import annotations

import json
import random
import threading

from collector.reconcile import KEYS, reconcile
from protocols.messages import Health, WindowHealth
from protocols.ratings import Accepted, Refused, Unavailable
from tests.collector.agents import NOW_MS, Agent, closing, press, rated
from tests.collector.ledgers import case, directory_of, window

TWO = directory_of(window(), window(window="w2", device="D2"), window(window="w3", device="D3", keys="{}"))
FATES = ("ratings", "unsolicited", "repeat", "duplicate", "undatable", "unratable")


def balances(line: dict) -> bool:
    """What holds for every window and for all."""
    return line["ratings"] == line["accepted"] + line["parked"] + line["waiting"] and line["in_ledger"] == sum(
        line[fate] for fate in FATES
    )


def test_each_press_is_counted_by_its_fate(opened):
    """One of each kind at one window."""
    ledger = opened(TWO)
    agent = Agent()
    w2 = {"window": "w2", "device": "D2"}
    ledger.take(
        agent,
        agent.write(
            *rated(1, **w2),  # accepted
            *rated(2, **w2),  # parked
            *rated(3, **w2),  # waiting
            press(4, **w2),  # unsolicited
            press(4, **w2),  # duplicate
            press(5, "i1", **w2),  # repeat
            press(6, "i6", button=9, **w2),
            closing("i6", "C6", window="w2"),  # unratable
            press(7, "i7", **w2),  # awaiting its closing
            press(8, doubt="i7", **w2),  # undatable
        ),
    )
    ledger.intake.take_cases([case("C1"), case("C2")], NOW_MS)
    for verdict in (Accepted(), Refused("no")):
        due = ledger.delivery.next(NOW_MS, ())
        ledger.delivery.end(due, "rating", ledger.delivery.begin(due, "rating", NOW_MS), verdict, NOW_MS)
    windows = [WindowHealth("w2", "ready", device="D2", boot=1, count=9, waiting=2)]
    ledger.intake.note_health("hall-a", Health(1, agent.epoch, windows), NOW_MS)

    found = reconcile(ledger.overview, TWO)
    assert ["w1", "w2", "w3"] == [line["window"] for line in found["windows"]]
    assert {
        "agent": "hall-a",
        "window": "w2",
        "hall": "市民中心",
        "number": "2号",
        "pressed": 9,
        "in_outbox": 2,
        "in_ledger": 9,
        "ratings": 3,
        "accepted": 1,
        "parked": 1,
        "waiting": 1,
        "unsolicited": 1,
        "repeat": 1,
        "duplicate": 1,
        "undatable": 1,
        "unratable": 2,
    } == found["windows"][1]
    assert all(balances(line) for line in (*found["windows"], found["all"]))


def test_windows_that_nobody_placed_are_counted_too(opened):
    """A press is not forgotten because the directory forgot its window."""
    ledger = opened(TWO)
    agent = Agent("hall-z")
    ledger.take(agent, agent.write(press(1, window="w7")))

    (line,) = [line for line in reconcile(ledger.overview, TWO)["windows"] if line["agent"] == "hall-z"]
    assert (None, None, 1, 1) == (line["hall"], line["number"], line["in_ledger"], line["unratable"])


def test_the_presses_of_all_boots_of_a_device_are_added_up(opened):
    ledger = opened(TWO)
    agent = Agent()
    ledger.take(agent, agent.write(press(3), press(7), press(2, boot=2), press(5, device="D9")))

    assert 7 + 2 + 5 == reconcile(ledger.overview, TWO)["all"]["pressed"]


def test_the_keys_are_what_programs_expect(opened):
    found = json.loads(json.dumps(reconcile(opened(TWO).overview, TWO)))

    assert {"windows", "all"} == set(found)
    assert set(KEYS) == set(found["all"])
    assert {"agent", "window", "hall", "number", *KEYS} == set(found["windows"][0])


def test_anything_that_happens_leaves_it_balanced(opened):
    """Random days: presses of every kind at three windows, and verdicts of every kind."""
    for seed in range(8):
        dice = random.Random(seed)
        ledger = opened(TWO)
        agent = Agent(f"hall-{seed}" if seed % 2 else "hall-a")
        for number in range(1, 40):
            where = dice.choice([{}, {"window": "w2", "device": "D2"}, {"window": "w3", "device": "D3"}])
            invitation = dice.choice([None, f"s{seed}i{dice.randrange(1, 20)}"])
            records = [press(dice.randrange(1, 30), invitation, button=dice.randrange(1, 5), boot=seed + 1, **where)]
            if invitation and dice.random() < 0.7:
                records.append(closing(invitation, dice.choice([None, f"S{seed}C{dice.randrange(1, 20)}"])))
            ledger.take(agent, agent.write(*records))
            if dice.random() < 0.3:
                ledger.intake.take_cases([case(f"S{seed}C{dice.randrange(1, 20)}")], NOW_MS)
            if due := ledger.delivery.next(NOW_MS, ()):
                verdict = dice.choice([Accepted(), Accepted(True), Refused("n"), Refused("?", True), Unavailable("x")])
                attempt = ledger.delivery.begin(due, "rating", NOW_MS)
                ledger.delivery.end(due, "rating", attempt, verdict, NOW_MS + number)

            found = reconcile(ledger.overview, TWO)
            assert all(balances(line) for line in (*found["windows"], found["all"])), f"seed {seed}, press {number}"
        assert ledger.count("press") == reconcile(ledger.overview, TWO)["all"]["in_ledger"]
        counts = ledger.overview.counts()
        assert counts["ratings"]["received"] == reconcile(ledger.overview, TWO)["all"]["ratings"]
        assert counts["presses"] == sum(counts["fates"].values()) == ledger.count("press")


def test_it_balances_while_the_collector_is_writing(opened):
    """All figures are of one moment. Red if each is asked for by itself."""
    ledger = opened(TWO)
    beside = opened(TWO)
    agent = Agent()
    begun, done = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            number += 1
            ledger.take(agent, agent.write(*rated(number)))
            begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(30)
        for _ in range(150):
            with beside.overview.moment():
                found = reconcile(beside.overview, TWO)["all"]
                counts = beside.overview.counts()
            assert balances(found)
            assert found["in_ledger"] == found["ratings"] == counts["ratings"]["received"] == counts["presses"]
    finally:
        done.set()
        writer.join()
    assert found["in_ledger"] > 0
