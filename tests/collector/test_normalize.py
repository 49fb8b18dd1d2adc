"""What a press means: total, without a default, and levels by their names."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.directory import Directory
from collector.normalize import normalize
from protocols.ratings import Level, PressId, Rating, Unratable
from tests.collector.agents import closing, press
from tests.collector.ledgers import directory_of, window

PLACED = directory_of(window())


def test_a_confirmed_button_at_a_placed_window_is_a_rating_of_its_case():
    """Every field of the rating comes from the press, its closing or the directory."""
    pressed = press(7, "i1", button=2)
    ended = closing("i1", "C1", service_number=3, clerk="K9")

    assert Rating(
        press=PressId("D1", 1, 7),
        level=Level.DISSATISFIED,
        hall="市民中心",
        window="1号",
        pressed_ms=pressed.pressed_ms,
        channel="window_keypad",
        invitation="i1",
        case_no="C1",
        service_number=3,
        clerk="K9",
    ) == normalize(pressed, ended, "hall-a", PLACED)


@pytest.mark.parametrize(
    ("pressed", "ended", "agent", "directory", "reason"),
    [
        (press(1, "i1"), closing("i1"), "hall-b", PLACED, "window_not_placed"),
        (press(1, "i1", window="w9"), closing("i1"), "hall-a", PLACED, "window_not_placed"),
        (press(1), None, "hall-a", PLACED, "unsolicited"),
        (press(1, "i1"), None, "hall-a", PLACED, "awaiting_closing"),
        (press(1, "i1", device="D2"), closing("i1"), "hall-a", PLACED, "keys_not_confirmed"),
        (press(1, "i1"), closing("i1"), "hall-a", directory_of(window(keys="{}")), "keys_not_confirmed"),
        (press(1, "i1", button=9), closing("i1"), "hall-a", PLACED, "button_not_mapped"),
        (press(1, doubt="i1"), closing("i1"), "hall-a", PLACED, "undatable"),
        (press(1, doubt="i1"), None, "hall-a", directory_of(window(keys="{}")), "undatable"),
        (press(1, "i1"), closing("i1"), "hall-a", Directory(), "window_not_placed"),
    ],
)
def test_what_means_nothing_yet_says_why(pressed, ended, agent, directory, reason):
    """One reason each. Red if an unplaced window or an unconfirmed key map falls back to anything."""
    meaning = normalize(pressed, ended, agent, directory)

    assert isinstance(meaning, Unratable)
    assert (pressed.press, reason) == (meaning.press, meaning.reason)


def test_our_own_page_needs_no_key_map():
    """Each of its keys is a level by itself, and what the citizen said goes with it. Nothing else is believed so: the
    same press of a page of somebody else's waits for a person."""
    pressed = msgspec.structs.replace(
        press(1, "i1", device="PAGE-1", button=1), profile="page", tags=["115"], text="等了两个小时"
    )
    rating = normalize(pressed, closing("i1"), "hall-a", PLACED)
    theirs = normalize(msgspec.structs.replace(pressed, profile="screen"), closing("i1"), "hall-a", PLACED)

    assert isinstance(rating, Rating)
    assert (Level.VERY_DISSATISFIED, ("115",), "等了两个小时") == (rating.level, rating.tags, rating.text)
    assert isinstance(theirs, Unratable) and "keys_not_confirmed" == theirs.reason


def test_a_press_that_may_be_from_before_names_the_invitation():
    """Whoever asks finds which citizen it may have been meant for. Red if the doubt is passed over."""
    meaning = normalize(press(1, doubt="i7"), closing("i7", "C7"), "hall-a", PLACED)

    assert Unratable(press(1).press, "undatable", "i7") == meaning


def test_a_walk_in_press_needs_no_date_against_an_invitation():
    """Where nobody invites, there is no invitation that it could be from before."""
    walk_in = directory_of(window(more="walk_in = true"))

    assert isinstance(normalize(press(1, doubt="i1"), None, "hall-a", walk_in), Rating)


@pytest.mark.parametrize(("reason", "tags", "text"), [("214", ("214",), ""), ("态度不好", (), "态度不好")])
def test_a_button_with_a_reason_gives_it_to_the_rating(reason, tags, text):
    """As a tag where it is one, as its own words where not."""
    keys = f'{{2 = {{level = "dissatisfied", reason = "{reason}"}}}}'
    meaning = normalize(press(1, "i1", button=2), closing("i1"), "hall-a", directory_of(window(keys=keys)))

    assert isinstance(meaning, Rating)
    assert (Level.DISSATISFIED, tags, text) == (meaning.level, meaning.tags, meaning.text)


def test_a_walk_in_window_takes_presses_without_an_invitation():
    """And only such a window: it has no case."""
    walk_in = directory_of(window(more="walk_in = true"))
    meaning = normalize(press(1), None, "hall-a", walk_in)

    assert isinstance(meaning, Rating)
    assert (None, None, 1) == (meaning.invitation, meaning.case_no, meaning.service_number)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ('{1 = "very_satisfied", 5 = "very_dissatisfied"}', [Level.VERY_SATISFIED, Level.VERY_DISSATISFIED]),
        ('{1 = "very_dissatisfied", 5 = "very_satisfied"}', [Level.VERY_DISSATISFIED, Level.VERY_SATISFIED]),
    ],
)
def test_no_digit_means_a_level_by_itself(keys, expected):
    """The GB/T trap: 1 is best there and worst at a province. Only the key map's names count."""
    directory = directory_of(window(keys=keys))

    assert expected == [
        normalize(press(1, "i1", button=button), closing("i1"), "hall-a", directory).level for button in (1, 5)
    ]


@given(
    button=st.integers(0, 2**62),
    window_name=st.text(),
    device=st.text(),
    agent=st.sampled_from(["hall-a", "hall-b", ""]),
    invited=st.booleans(),
    closed=st.booleans(),
    known=st.booleans(),
)
def test_every_press_has_an_answer(button, window_name, device, agent, invited, closed, known):
    """Total: a Rating or an Unratable for anything an agent may write, and a level only from the key map."""
    where = {} if known else {"window": window_name, "device": device}
    pressed = press(1, "i1" if invited else None, button=button, **where)
    meaning = normalize(pressed, closing("i1") if closed else None, agent, PLACED)

    assert isinstance(meaning, Rating | Unratable)
    assert not isinstance(meaning, Rating) or meaning.level is PLACED.keys["D1"][button].level
