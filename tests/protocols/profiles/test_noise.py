"""Noise is never a rating: the seconds-long form of what `make bench` does with a hundred times as many bytes."""

from __future__ import annotations

import pytest

from protocols import profiles
from protocols.profiles.events import Pressed
from tests.bench import bench_noise, streams

SIZE = 10**6


@pytest.mark.parametrize("name", streams.CHECKSUMMED)
def test_random_bytes_make_no_press(name):
    """Where there is a checksum."""

    assert 0 == bench_noise.phantom_presses(name, streams.random_chunks(bench_noise.SEED, SIZE))


def test_random_bytes_make_no_answer_of_a_panel():
    """By the CRC of Modbus."""

    assert 0 == bench_noise.phantom_answers(streams.random_chunks(bench_noise.SEED, SIZE))
    assert 1 == bench_noise.phantom_answers([b"\x00\x01\x03\x02", b"\x00\x03\xf8\x45"])


@pytest.mark.parametrize("name", streams.CHECKSUMMED)
@pytest.mark.parametrize("invited", [False, True])
def test_random_bytes_make_no_rating(name, invited, tmp_path):
    """Through a whole cable with an invitation always open, and never."""
    pieces = streams.random_chunks(bench_noise.SEED, SIZE // 4)

    assert (0, 0) == bench_noise.rated(name, pieces, invited, tmp_path)


@pytest.mark.parametrize("name", ["qs4", "taxi905"])
def test_near_frames_get_past_a_sum_of_eight_bits_and_are_no_rating_without_an_invitation(name, tmp_path):
    """One of 256 with a random sum is a press at the reader: there a person has to be asked. Red if the cable rates
    what came outside an invitation."""
    raw = streams.vectors(profiles.shipped(name))[0]
    at = len(raw) - 1 - len(bytes.fromhex(profiles.shipped(name).shape.frame.tail))
    near = [raw[:at] + bytes([check]) + raw[at + 1 :] for check in range(256)]

    assert 1 == bench_noise.phantom_presses(name, near)
    assert 0 == bench_noise.rated(name, near, False, tmp_path)[1]


def test_a_true_press_is_a_rating_when_asked_for(tmp_path):
    """What the zeros above are worth. Red if nothing can be rated at all."""
    raw = bytes.fromhex("FF680303680511021816")
    pieces = [b""] * 200 + [raw]

    assert (1, 1) == bench_noise.rated("qs4", pieces, True, tmp_path)
    assert isinstance(profiles.shipped("qs4").reader().feed(raw, 0)[0].event, Pressed)


@pytest.mark.parametrize("name", ["house", "qs4", "taxi905"])
def test_a_reader_passes_noise_at_more_than_a_thousand_lines(name):
    """A hundredth of the bench: a loop that is quadratic in the noise never ends here."""
    pieces = [each for kind in streams.hostile(profiles.shipped(name)).values() for each in kind]

    assert 0 == bench_noise.phantom_presses(name, pieces)
