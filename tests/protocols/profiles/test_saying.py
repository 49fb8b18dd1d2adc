"""What is said to a device: every place filled with what it can carry, and no character cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.profiles.framing import frames_of
from protocols.profiles.saying import Values, Voice
from protocols.profiles.vocabulary import Framing, Length, Says, TextForm

FRAMES = frames_of(Framing("AA", ["length", "command", "data"], length=Length(["command", "data"]), data_max=32))


def said(how: Says, values: Values, text: TextForm | None = None) -> bytes:
    return Voice({"clerk": how}, FRAMES, text or TextForm()).say("clerk", 0, values)


@pytest.mark.parametrize(
    ("template", "values", "data"),
    [
        ("13 {seconds} 00", Values(seconds=60), "13 3C 00"),
        ("{seconds}", Values(seconds=0), "01"),
        ("{seconds}", Values(seconds=100_000), "FE"),
        ("{stars}", Values(stars=9), "05"),
        ("{stars}", Values(stars=-1), "00"),
        ("{volume}", Values(volume=99), "0A"),
    ],
)
def test_a_number_is_what_its_byte_can_carry(template, values, data):
    """Never an error in front of a citizen."""

    assert bytes.fromhex(data) == said(Says(bytes=template), values)


def test_a_command_is_framed():
    """With its length."""

    assert bytes.fromhex("AA 02 20 1E") == said(Says(command="20", data="{seconds}"), Values(seconds=30))


@given(st.text(), st.sampled_from(["ascii", "utf-8", "gbk"]), st.integers(1, 32))
def test_text_of_fixed_width_is_never_cut_inside_a_character(text, encoding, width):
    """Red if it is cut by bytes: half a GBK character eats the next one."""
    data = said(Says(command="09", data="{text}"), Values(text=text), TextForm(encoding, width))[3:]

    assert width == len(data)
    whole = text.encode(encoding, "replace").decode(encoding)
    assert whole.startswith(data.decode(encoding).rstrip(" ")) or data.decode(encoding).rstrip() == ""


def test_gbk_is_cut_before_the_character_that_does_not_fit():
    """Five bytes hold two of these, and a blank."""
    data = said(Says(command="09", data="{text}"), Values(text="王小明"), TextForm("gbk", 5))[3:]

    assert "王小".encode("gbk") + b" " == data


def test_what_a_clerk_is_called_is_not_a_place():
    """Each place is filled once. Red if what was filled in is looked through again."""

    assert b"<{id}|7>" == said(Says(text="<{text}|{id}>"), Values(text="{id}", id="7"))
    assert b"{text.__class__}" == said(Says(text="{text.__class__}"), Values())


def test_what_the_device_has_no_word_for_is_not_said():
    """Empty, and no error."""

    assert b"" == Voice({}, FRAMES, TextForm()).say("welcome", 0, Values())
