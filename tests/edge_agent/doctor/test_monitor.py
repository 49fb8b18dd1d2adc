"""A watched line: how it is shown, and what is said of it."""

import pytest

from edge_agent.doctor.desk import BAUDS
from edge_agent.doctor.monitor import Rows, Watch
from firmware_sim.faults.baud import as_read


def kinds(watch: Watch) -> list[str]:
    return [sign.kind for sign in watch.signs()]


@pytest.mark.parametrize(
    ("device", "host", "kind"),
    [(9600, 19200, "too-fast"), (19200, 9600, "too-slow"), (9600, 4800, "too-slow"), (9600, 2400, "too-slow")],
)
def test_a_wrong_rate_is_seen(device, host, kind):
    """Six presses of a panel at another rate, by the bits of a UART; with rates to try on the right side of ours."""
    watch = Watch(host, BAUDS)
    for press, key in enumerate((1, 2, 3, 4, 5, 6, 1, 3, 5)):
        watch.feed(False, as_read(bytes([key]), device, host), 1000 * press)
    sign = watch.signs()[0]

    assert kind == sign.kind
    assert device in sign.try_bauds
    assert str(device) in sign.words.zh


def test_a_right_rate_is_not_blamed():
    """Bare keys, frames, text."""
    for said in (b"\x01\x02\x03\x04\x05\x06", bytes.fromhex("FF 68 03 03 68 05 11 02 18 16"), b"KEY 3\r\n"):
        watch = Watch(9600, BAUDS)
        for at_ms in range(0, 5000, 1000):
            watch.feed(False, said, at_ms)

        assert not {"too-slow", "too-fast"} & set(kinds(watch))


def test_an_echo_is_no_word_of_the_device():
    """Our own bytes come back: told so, and not judged."""
    watch = Watch(9600)
    watch.feed(True, b"\x55\xaa\x02\x20\x00\x1a", 0)
    watch.feed(False, b"\x55\xaa\x02\x20\x00\x1a", 8)

    assert ["echo"] == kinds(watch)


def test_rows_show_hex_and_text():
    """Sixteen bytes a row."""
    shown = Rows()
    shown.feed(False, b"KEY 3\r\n" + bytes(12), 1234)
    rows = shown.rest()

    assert ["KEY 3...........", "..."] == [row.text for row in rows]
    assert rows[0].hex.startswith("4B 45 59 20 33 0D 0A")


def test_what_two_reads_bring_is_one_row():
    """An adapter hands over the first byte of a frame alone; its answer and the next frame are rows of their own."""
    shown = Rows()
    rows = shown.feed(False, b"\xfe", 1000) + shown.feed(False, b"\x55\xaa", 1012)
    rows += shown.feed(True, b"\x06", 1020) + shown.feed(False, b"\xfe", 2000) + shown.rest()

    assert [(1000, "FE 55 AA"), (1020, "06"), (2000, "FE")] == [(row.at_ms, row.hex) for row in rows]
