"""Recordings: what is written is read again, a wrong line is named, and a profile reads them without a port."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.doctor.recording import (
    BadRecording,
    Label,
    Piece,
    Recorder,
    Recording,
    label_text,
    read,
    replayed,
    write,
)
from protocols import profiles
from protocols.profiles.events import Pressed

LABELS = st.text(max_size=30).map(label_text).map(Label)
STEPS = st.lists(
    st.one_of(LABELS, st.tuples(st.integers(0, 9_999), st.booleans(), st.binary(min_size=1, max_size=20))), max_size=12
)


def recording_of(steps) -> Recording:
    entries, now_ms = [], 0
    for step in steps:
        if isinstance(step, tuple):
            now_ms += step[0]
            entries.append(Piece(now_ms, step[1], step[2]))
        else:
            entries.append(step)
    return Recording(tuple(entries), "COM3", "9600 8N1", "pj06")


@given(STEPS)
def test_what_is_written_is_read_again(steps):
    """Times, directions, bytes and labels."""
    recording = recording_of(steps)

    assert recording == read(write(recording))


@pytest.mark.parametrize("line", ["12 < 5", "12 ? 55", "x < 55", "12 <", "5 < 55", "99999999999 < 55"])
def test_a_wrong_line_is_named(line):
    """By its number, in both languages."""
    with pytest.raises(BadRecording, match=r"第 4 行 / line 4: .+ / .+"):
        read(f"# edge-agent recording 1\n\n9 < 55\n{line}\n")


def test_a_recording_is_bounded():
    """A line that never stops fills no disk, and what was taken down is still read."""
    recorder = Recorder()
    for at_ms in range(2000):
        recorder.heard(b"\x55" * 4096, at_ms)

    assert recorder.full
    assert read(write(Recording(tuple(recorder.entries)))).entries == tuple(recorder.entries)


def test_a_profile_reads_a_recording_in_its_own_time():
    """A bare key counts after its silence; our own words are no key."""
    pieces = (Piece(100, True, b"\x02"), Piece(101, False, b"\x02"), Label("key 3"), Piece(900, False, b"\x03"))
    heard = list(replayed(Recording(pieces), profiles.shipped("pj06")))

    assert [(950, 3)] == [(each.at_ms, each.what.key) for each in heard if isinstance(each.what, Pressed)]
