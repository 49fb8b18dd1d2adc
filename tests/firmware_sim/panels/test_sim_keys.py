"""Panels that say a key and nothing else, with all that cheap ones do."""

from firmware_sim.panel import PressMade
from firmware_sim.panels.keys import KeyAsciiPanel, KeyBytePanel


def said(panel, to_ms: int = 60_000) -> list[tuple[int, bytes]]:
    """(ms, bytes) of all it says by then, polled when it wants to be."""
    heard, now_ms = [], 0
    while (due := panel.next_ms(now_ms)) is not None and due <= to_ms:
        now_ms = due
        if data := panel.poll(now_ms):
            heard.append((now_ms, data))
    return heard


def test_a_key_is_one_raw_byte_at_any_time():
    """Nobody has to ask for it, and the truth says that nobody did."""
    panel = KeyBytePanel()
    panel.press(3, 1_000)

    assert [(1_000, b"\x03")] == said(panel)
    assert [PressMade("", 1, 1, 3, 1_000, False)] == panel.take_events()


def test_a_released_key_has_its_highest_bit_set():
    """120 ms later, where the panel says releases at all."""
    byte, digit = KeyBytePanel(release=True), KeyAsciiPanel(release=True)
    byte.press(3, 1_000)
    digit.press(1, 1_000)

    assert [(1_000, b"\x03"), (1_120, b"\x83")] == said(byte)
    assert [(1_000, b"\x31"), (1_120, b"\xb1")] == said(digit)


def test_a_digit_may_have_something_around_it():
    """As panels of this kind are made: nothing, CR LF, a prefix."""
    panels = [KeyAsciiPanel(), KeyAsciiPanel(suffix=b"\r\n"), KeyAsciiPanel(prefix=b"KEY", suffix=b";")]
    for panel in panels:
        panel.press(5, 1_000)

    assert [b"5", b"5\r\n", b"KEY5;"] == [said(panel)[0][1] for panel in panels]


def test_a_cheap_panel_says_every_bounce_but_the_truth_has_one_press():
    """A finger meant one press; what the line says is another matter."""
    cheap, better = KeyBytePanel(), KeyBytePanel(debounced=True)
    for panel in (cheap, better):
        for after_ms in (0, 4, 9):
            panel.press(2, 1_000 + after_ms)

    assert [(1_000, b"\x02"), (1_004, b"\x02"), (1_009, b"\x02")] == said(cheap)
    assert [(1_000, b"\x02")] == said(better)
    assert [1, 1] == [len(panel.take_events()) for panel in (cheap, better)]


def test_a_held_key_is_said_again_and_is_no_new_press():
    """Thirty times a second, if the finger stays."""
    panel = KeyBytePanel()
    panel.press(2, 1_000)
    panel.repeat(2, 1_500)
    panel.repeat(2, 1_533)

    assert [b"\x02"] * 3 == [data for _, data in said(panel)]
    assert 1 == len(panel.take_events())


def test_a_time_out_code_follows_a_question_that_nobody_answers():
    """As some say 5 for "nobody pressed"; not after an answer, not without a question."""
    silent, answered, unasked = (KeyBytePanel(opens_on=b"\x20", time_out=5, asks_ms=8_000) for _ in range(3))
    silent.feed(b"\x20", 1_000)
    answered.feed(b"\x20", 1_000)
    answered.press(1, 3_000)

    assert [(9_000, b"\x05")] == said(silent)
    assert [(3_000, b"\x01")] == said(answered)
    assert [] == said(unasked)
    assert [True] == [event.invited for event in answered.take_events()]
