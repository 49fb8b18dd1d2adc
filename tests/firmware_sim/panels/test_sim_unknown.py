"""Shapes that no profile knows: a seed is a shape, and a shape is true to what it says of itself."""

import pytest

from firmware_sim.panel import crc16 as ccitt
from firmware_sim.panels.modbus import crc16 as modbus
from firmware_sim.panels.unknown import SUM_SIZE, Shape, UnknownPanel, shape_of

SEEDS = range(400)


def said(panel: UnknownPanel, to_ms: int) -> list[bytes]:
    heard, now_ms = [], 0
    while (due := panel.next_ms(now_ms)) is not None and due <= to_ms:
        now_ms = due
        heard += [data] if (data := panel.poll(now_ms)) else []
    return heard


def test_a_seed_is_a_shape():
    """The same again; others are others."""

    assert [shape_of(seed) for seed in range(50)] == [shape_of(seed) for seed in range(50)]
    assert len({shape_of(seed) for seed in range(50)}) > 45


def test_every_kind_of_shape_comes():
    """Of all that a shape can have, each is had by some."""
    shapes = [shape_of(seed) for seed in SEEDS]

    assert {"byte", "ascii", "framed"} == {shape.kind for shape in shapes}
    assert set(SUM_SIZE) == {shape.checksum for shape in shapes}
    assert {"none", "all", "behind", "before_sum", "data"} == {shape.length for shape in shapes}
    assert {"none", "state", "high-bit"} == {shape.release for shape in shapes}
    assert {"binary", "ascii", "one-hot", "odd"} == {shape.coding for shape in shapes}
    assert {0, 1, 2, 3} <= {len(shape.header) for shape in shapes if shape.kind == "framed"} | {0}
    assert {True, False} == {shape.sequence for shape in shapes}
    assert any(shape.beat_every_ms for shape in shapes)
    assert any(shape.address for shape in shapes)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_two_keys_of_a_shape_look_alike(seed):
    """And every key is one byte, so a guess can be right."""
    shape = shape_of(seed)

    assert 3 <= len(set(shape.codes)) == len(shape.codes) <= 6
    assert all(0 <= code <= 0xFF for code in shape.codes)
    assert all(code < 0x80 for code in shape.codes) or shape.release != "high-bit"


def test_a_frame_stands_as_it_is_described():
    """Every part, in order, with every way to count and to sum."""
    shape = Shape(
        "framed", "binary", (1, 2, 3), b"\xa5\x5a", "before_sum", 7, 0x11, True, "state", "xor", "all", b"\x0d"
    )
    plain = Shape("framed", "binary", (1, 2, 3), b"\x7e", checksum="sum8", sum_over="behind_header")
    negative = Shape("framed", "binary", (1, 2, 3), b"\x7e", checksum="negative8")
    both = [
        Shape("framed", "binary", (1, 2, 3), b"\x7e", length="all", checksum=kind)
        for kind in ("crc16-modbus", "crc16-ccitt")
    ]

    assert bytes.fromhex("A5 5A 05 07 11 09 02 01 E6 0D") == shape.say(2, command=0x11, sequence=9)
    assert bytes.fromhex("A5 5A 05 07 11 09 02 00 E7 0D") == shape.say(2, command=0x11, sequence=9, down=False)
    assert bytes.fromhex("7E 02 02") == plain.say(2, command=None, sequence=0)
    assert bytes.fromhex("7E 02 80") == negative.say(2, command=None, sequence=0)
    counted = bytes.fromhex("7E 05 02")
    assert [counted + modbus(counted).to_bytes(2, "little"), counted + ccitt(counted).to_bytes(2, "big")] == [
        each.say(2, command=None, sequence=0) for each in both
    ]


@pytest.mark.parametrize(
    ("length", "counted"), [("none", None), ("all", 10), ("behind", 7), ("before_sum", 4), ("data", 2)]
)
def test_a_length_counts_what_it_says(length, counted):
    """header 2, length 1, address 1, command 1, key and state 2, checksum 1, trailer 2."""
    shape = Shape("framed", "binary", (1, 2, 3), b"\xa5\x5a", length, 7, 0x11, False, "state", "sum8", "all", b"\r\n")
    frame = shape.say(2, command=0x11, sequence=0)

    assert (counted or 9) == {"all": len(frame)}.get(length, counted or len(frame))
    assert counted is None or counted == frame[2]


@pytest.mark.parametrize("seed", range(100))
def test_every_press_is_said_and_every_release_where_there_is_one(seed):
    """In the words of the shape; a beat is no press."""
    shape = shape_of(seed)
    panel = UnknownPanel(shape)
    for button in panel.buttons:
        panel.press(button, 10_000 * button)
    frames = said(panel, 10_000 * len(shape.codes) + 5_000)
    presses = [each for each in frames if not is_beat(shape, each)]

    assert len(presses) == len(shape.codes) * (1 if shape.release == "none" else 2)
    assert len(panel.take_events()) == len(shape.codes)
    assert (len(frames) > len(presses)) == (shape.beat_every_ms is not None)


def is_beat(shape: Shape, frame: bytes) -> bool:
    at = len(shape.header) + (shape.length != "none") + (shape.address is not None)
    return shape.beat_command is not None and frame[at] == shape.beat_command


def test_its_truth_can_be_read():
    """As plain values."""
    truth = UnknownPanel(shape_of(11)).describe()

    assert {"kind", "keys", "header", "checksum", "trailer", "length", "release"} <= set(truth)
    assert set(shape_of(11).codes) == {int(code, 16) for code in truth["keys"].values()}
