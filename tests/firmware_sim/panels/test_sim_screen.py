"""The page in the browser: what it posts, and that it repeats it until the door says yes."""

import json
from random import Random

from firmware_sim.faults import Faults
from firmware_sim.panel import PressThanked
from firmware_sim.panels.screen import QUEUE_MAX, ScreenPanel


def test_a_press_is_posted_with_all_that_names_it():
    """The age in ms when it is sent."""
    screen = ScreenPanel("S1", boot=12)
    screen.press(4, 1_000)
    first = json.loads(screen.poll(1_005))

    assert {"device": "S1", "boot": 12, "count": 1, "button": 4, "age_ms": 5} == first


def test_a_page_that_knows_what_it_asks_says_it():
    """The invitation that it shows; none when its time is over."""
    screen = ScreenPanel()
    screen.ask(20_000, "i-1")
    screen.press(4, 1_000)
    shown = [json.loads(screen.poll(1_000))["invitation"]]
    screen.feed(b"200", 1_100)
    screen.press(4, 21_000)
    shown.append(json.loads(screen.poll(21_000))["invitation"])

    assert ["i-1", ""] == shown


def test_it_repeats_until_the_door_says_2xx():
    """No answer, a 503, then a 201; older each time, and thanked once."""
    screen = ScreenPanel()
    screen.press(4, 1_000)
    ages = [json.loads(screen.poll(1_000))["age_ms"]]
    ages.append(json.loads(screen.poll(screen.next_ms(1_000)))["age_ms"])
    screen.feed(b"503", 2_100)
    ages.append(json.loads(screen.poll(screen.next_ms(2_100)))["age_ms"])
    screen.feed(b"201", 3_200)

    assert [0, 1_000, 2_100] == ages
    assert (None, b"") == (screen.next_ms(3_200), screen.poll(9_000))
    made, thanked = screen.take_events()
    assert PressThanked(made, 3_200) == thanked


def test_presses_go_one_after_the_other():
    """The first until it is thanked."""
    screen = ScreenPanel()
    screen.press(1, 1_000)
    screen.press(2, 1_100)
    first, second = screen.poll(1_100), b""
    screen.feed(b"200", 1_200)
    second = screen.poll(1_200)

    assert [1, 2] == [json.loads(body)["count"] for body in (first, second)]


def test_an_answer_that_nobody_waits_for_thanks_nobody():
    """A status that comes twice."""
    screen = ScreenPanel()
    screen.press(1, 1_000)
    screen.press(2, 1_100)
    screen.poll(1_100)
    screen.feed(b"200", 1_200)
    screen.feed(b"200", 1_200)

    assert 1 == sum(isinstance(event, PressThanked) for event in screen.take_events())


def test_a_shut_door_fills_the_page():
    """What has no room is not accepted, and not counted."""
    screen = ScreenPanel()
    counts = [screen.press(1 + at % 2, 1_000 * at) for at in range(QUEUE_MAX + 1)]

    assert [*range(1, QUEUE_MAX + 1), None] == counts


def test_a_tablets_clock_may_be_set_while_a_press_waits():
    """By fault: the age is off by up to ten minutes, either way."""
    ages = []
    for seed in range(30):
        screen = ScreenPanel()
        screen.suffer(Faults(clock_skew=1), Random(seed))
        screen.press(1, 1_000)
        ages.append(json.loads(screen.poll(1_000))["age_ms"])

    assert -600_000 <= min(ages) < 0 < max(ages) <= 600_000
