"""The conversation: what it does when nothing comes or the wrong thing, and what it never decides for anybody."""

from random import Random

import pytest

from edge_agent.doctor.learn import Proposal
from edge_agent.doctor.learn.acts import Ask, Reopen
from edge_agent.doctor.learn.dialogue import IDLE_MS, RATE_MS, SILENT_MS, Dialogue, Plan
from edge_agent.doctor.learn.meanings import Meanings
from firmware_sim.panels.shelf import make_unknown
from protocols.profiles.vocabulary import LineSettings

from .desk import Person, equivalent

LATER_MS = 10_000_000
COUNTS_IN_ITS_BEATS = (23, 24, 76, 152)
"""Shapes whose signs of life carry the number of the last press."""


def learns(person: Person) -> Person:
    """The whole lesson, and the profile reads what the panel says later."""
    result = person.learn().result

    assert isinstance(result, Proposal), result
    assert "" == equivalent(result.profile, person.panel, Random(1), LATER_MS)
    return person


def silent_until_asked() -> tuple[Dialogue, int]:
    dialogue = Dialogue(Plan(LineSettings(9600, alt_baud=[19200])))
    dialogue.begin(0)
    dialogue.tick(IDLE_MS)
    now_ms = IDLE_MS + SILENT_MS
    acts = dialogue.tick(now_ms)
    assert "19200" in acts[-1].words.en
    return dialogue, now_ms


def test_another_rate_is_tried_with_consent_only():
    """Nothing came: it asks, and opens the port again when told to."""
    dialogue, now_ms = silent_until_asked()

    assert [] == dialogue.tick(now_ms + 60_000)
    assert Reopen(19200) == dialogue.answer("y", now_ms + 60_000)[0]
    assert 19200 == dialogue.baud


def test_a_rate_at_which_bytes_come_is_used_after_a_yes():
    """Then it begins anew, with a recording of that rate alone."""
    dialogue, now_ms = silent_until_asked()
    dialogue.answer("y", now_ms)
    dialogue.feed(b"\x01", now_ms + 1000)
    (asked,) = dialogue.tick(now_ms + RATE_MS)

    assert isinstance(asked, Ask)
    dialogue.answer("y", now_ms + RATE_MS)
    assert [] == list(dialogue.recording.pieces())
    assert dialogue.recording.line.startswith("19200")


def test_a_no_keeps_the_rate_and_asks_again():
    """For the same press: the recording has one label for it."""
    dialogue, now_ms = silent_until_asked()
    (asked,) = dialogue.answer("n", now_ms)

    assert "press key 1" in asked.words.en
    assert 9600 == dialogue.baud
    assert 2 == len(dialogue.entries)
    dialogue.tick(now_ms + 2 * SILENT_MS)
    assert "try other baud rates" in dialogue.answer("what", now_ms + 2 * SILENT_MS)[-1].words.en


@pytest.mark.parametrize("seed", COUNTS_IN_ITS_BEATS)
def test_signs_of_life_that_carry_the_press_counter_are_no_press(seed):
    """Read in lumps, pressed seconds apart: each press counted was one, and none is asked for twice."""
    panel = make_unknown(seed)
    person = learns(Person(panel, Random(f"{seed}/p")))

    assert 3 * len(panel.buttons) == person.pressed
    assert 3 * len(panel.buttons) == sum(words.startswith("press key") for words in person.asked)


@pytest.mark.parametrize("seed", [4, 23])
def test_a_wrong_key_is_told_at_once_and_not_counted(seed):
    """Key 1 was pressed for key 2, and key 1 for key 3 in the middle of its presses."""
    person = learns(Person(make_unknown(seed), Random(seed), slips={5: 1, 9: 1}))

    assert 1 == sum("that looked like key 1; press key 2 again" in words for words in person.told)
    assert 1 == sum("that looked like key 1; press key 3 again" in words for words in person.told)


@pytest.mark.parametrize("seed", [4, 23])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 6])
def test_two_keys_pressed_for_one_are_not_taken_for_one(seed, number):
    """Half a second apart: told, not counted, and the lesson ends well. Red if only the first of them is looked at."""
    person = Person(make_unknown(seed), Random(seed))
    person.doubles = {number: 2 if number <= 3 else 1}
    learns(person)

    words = "more than one press" if number > 3 else "one press was wrong or two"
    assert 1 == sum(words in told for told in person.told)
    assert person.pressed > 3 * len(person.panel.buttons)


def test_who_is_slow_is_waited_for_as_long_as_the_device_lives():
    """Its signs of life come, so the rate is right: nobody is sent to try others. Red if only presses count."""
    panel = make_unknown(23)
    dialogue = Dialogue(Plan(LineSettings(9600, alt_baud=[19200]), keys=3))
    told = [act.words.en for act in dialogue.begin(0)]
    for now_ms in range(10, 90_000, 10):
        said = panel.poll(now_ms)
        acts = dialogue.feed(said, now_ms) if said else dialogue.tick(now_ms)
        told += [act.words.en for act in acts]

    assert any(words.startswith("still waiting for key 1") for words in told)
    assert not any("baud" in words for words in told)


def test_a_press_answers_the_question_about_rates():
    """Somebody was slow. Red if the question has to be answered first: the press would be lost."""
    dialogue, now_ms = silent_until_asked()
    dialogue.feed(b"\x01", now_ms + 1_000)
    for ms in range(1_000, 4_000, 100):
        acts = dialogue.tick(now_ms + ms)
        if acts:
            break

    assert "press key 1 briefly, once (2/3)" in acts[-1].words.en
    assert 9600 == dialogue.baud


def test_presses_that_go_on_not_to_fit_may_be_at_the_wrong_rate():
    """Each says something else, as bytes read at another rate do: other rates are offered. Red if it asks for ever."""
    panel, rng = make_unknown(4), Random(4)
    dialogue = Dialogue(Plan(LineSettings(9600, alt_baud=[19200]), keys=len(panel.buttons)))
    told, press_ms = [act.words.en for act in dialogue.begin(0)], None
    for now_ms in range(10, 120_000, 10):
        data = rng.choice([b"\x12\x34", b"\x55\x01\x7f", b"\x21"]) if now_ms == press_ms else b""
        acts = dialogue.feed(data, now_ms) if data else dialogue.tick(now_ms)
        told += [act.words.en for act in acts]
        if any(act.words.en.startswith("press key") for act in acts):
            press_ms = now_ms + 1_000
        if any("try other baud rates" in words for words in told):
            break

    assert "try other baud rates" in told[-1]
    assert any("baud rate is" in words or "baud rate may be" in words for words in told)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("非常满意", "key 1: very satisfied"),
        ("very dissatisfied", "key 1: very dissatisfied"),
        ("不满意 态度差", "key 1: dissatisfied 态度差"),
        ("b", "key 1: satisfied"),
    ],
)
def test_what_stands_on_a_key_may_be_typed_as_it_stands_there(typed, said):
    """In letters or in words, a reason behind it. Red if only the letter is known."""
    meanings = Meanings((1,), {})
    meanings.begin()

    assert any(said in act.words.en for act in meanings.answer(typed))


def test_b_goes_back():
    """A whole key was pressed wrong, which no byte can tell: its presses are dropped, and it is asked for again."""
    person = learns(Person(make_unknown(4), Random(4), slips={4: 3, 5: 3, 6: 3}, types={"press key 3": "b"}))

    assert 3 * len(person.panel.buttons) + 3 == person.pressed


def test_a_press_while_it_listens_begins_the_listening_again():
    """The key is no sign of life: it says so, counts down anew, and learns the panel."""
    person = Person(make_unknown(4), Random(4))
    person.early = [(3000, 1)]
    learns(person)

    assert 1 == person.told.count("a key was pressed, starting again")
    assert any("2 s more" in words for words in person.told)


def test_a_cable_put_back_asks_for_the_same_key():
    """What came of the press before is dropped: it may be half of it."""
    dialogue = Dialogue(Plan())
    dialogue.begin(0)
    dialogue.tick(IDLE_MS)
    dialogue.feed(b"\x01", IDLE_MS + 500)
    out, back = dialogue.unplugged(), dialogue.plugged(IDLE_MS + 5000)

    assert "put it back" in out[0].words.en
    assert "press key 1 briefly, once (1/3)" in back[-1].words.en
    assert [] == list(dialogue.recording.pieces())


def test_waiting_for_a_key_that_is_not_there_says_how_to_end():
    """The same words as when it was asked for."""
    panel = make_unknown(4)
    none = len(panel.buttons) + 1
    types = {f"press key {none}": "", f"still waiting for key {none}": "e"}
    person = learns(Person(panel, Random(4), types=types, keys=none))

    assert f"still waiting for key {none} … type e if there is no such key" in person.told


def test_one_meaning_for_two_keys_is_doubted():
    """A slip of the finger is asked about; a reason makes it another meaning; the end shows all keys."""
    meanings = Meanings((1, 2, 3), {})
    meanings.begin()
    meanings.answer("d")
    doubt = meanings.answer("d")[-1].words.en
    assert "key 1 is dissatisfied already; really key 2 too?" in doubt
    assert doubt == meanings.answer("d")[-1].words.en
    meanings.answer("n")
    meanings.answer("d 态度差")
    noted, *rows, right = meanings.answer("")

    assert "key 3 is noted as not confirmed" == noted.words.en
    assert ["    key 1: dissatisfied", "    key 2: dissatisfied 态度差", "    key 3: not confirmed"] == [
        row.words.en for row in rows
    ]
    assert "right?" in right.words.en
    assert "what stands on key 1" in meanings.answer("n")[-1].words.en
    assert meanings.confirmed is None


def test_a_reason_that_the_collector_refuses_is_asked_for_again():
    """A tag of another level, more than fifty characters."""
    meanings = Meanings((1, 2), {})
    meanings.begin()

    for reason in ("9" * 5, "x" * 51):
        told, again = meanings.answer(f"a {reason}")
        assert "reason" in told.words.en or "tag" in told.words.en
        assert "key 1" in again.words.en
