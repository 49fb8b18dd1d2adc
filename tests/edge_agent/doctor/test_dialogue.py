"""The conversation: what it does when nothing comes, and what it never decides for anybody."""

from edge_agent.doctor.learn.acts import Ask, Reopen
from edge_agent.doctor.learn.dialogue import IDLE_MS, RATE_MS, SILENT_MS, Dialogue, Plan
from protocols.profiles.vocabulary import LineSettings


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
