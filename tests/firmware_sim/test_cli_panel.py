"""`firmware-sim panel` as hall staff start it: real processes, real ptys, a line typed for each press."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import serial
from click.testing import CliRunner

from firmware_sim.cli import main
from firmware_sim.faults import catalogue
from firmware_sim.panels.modbus import frame as modbus
from firmware_sim.panels.shelf import KINDS

START_6 = bytes.fromhex("FF 68 03 03 68 06 01 0B 12 16")
RATING_6 = bytes.fromhex("FF 68 03 03 68 06 11 02 19 16")


@contextmanager
def panel(folder: Path, *options: str) -> Iterator[subprocess.Popen]:
    """It has said where it is when this returns."""
    command = [sys.executable, "-m", "firmware_sim", "panel", *options]
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        process.where = process.stdout.readline().strip()  # type: ignore[attr-defined]
        try:
            yield process
        finally:
            process.stdin.close()
            process.wait(10)


def typed(process: subprocess.Popen, line: str) -> str:
    """What it says to that."""
    process.stdin.write(f"{line}\n")
    return process.stdout.readline().strip()


def test_three_panels_on_one_line_are_pressed_by_their_address(tmp_path):
    """One is started and answers; one is not there."""
    with (
        panel(tmp_path, "--profile", "qs4", "--link", "./panel0", "--address", "5", "--panels", "3") as process,
        serial.Serial(str(tmp_path / "panel0"), 9_600, timeout=5) as host,
    ):
        # A press that is told has been read behind the host's frame, so the one after it finds the panel started.
        host.write(START_6)
        told = [typed(process, "5:1"), typed(process, "6:2")]

        assert RATING_6 == host.read(10)
        assert [("5", False), ("6", True)] == [(each.split(":")[0], "邀请中" in each) for each in told]
        assert typed(process, "9:1").endswith("not on this line: 9")


def test_a_modbus_panel_is_polled(tmp_path):
    """Pressed, then read."""
    with (
        panel(tmp_path, "--profile", "modbus-key", "--link", "./panel0") as process,
        serial.Serial(str(tmp_path / "panel0"), 9_600, timeout=5) as host,
    ):
        typed(process, "3")
        host.write(bytes.fromhex("01 03 00 00 00 01 84 0A"))

        assert modbus(1, b"\x03\x02\x00\x03") == host.read(7)


def test_a_host_with_another_rate_reads_nonsense(tmp_path):
    """A pty carries anything at any rate; --baud makes it as it is on a wire."""
    with (
        panel(tmp_path, "--profile", "key-byte", "--link", "./panel0", "--baud", "9600") as process,
        serial.Serial(str(tmp_path / "panel0"), 19_200, timeout=5) as host,
    ):
        typed(process, "1")
        wrong = host.read(1)
        host.baudrate = 9_600
        typed(process, "2")  # the same button at once would be a bounce

        assert (b"\x06", b"\x02") == (wrong, host.read(1))


def test_an_unknown_shape_is_the_same_again(tmp_path):
    """By its seed."""
    heard = []
    for _ in range(2):
        with (
            panel(tmp_path, "--shape", "11", "--link", "./panel0") as process,
            serial.Serial(str(tmp_path / "panel0"), timeout=5) as host,
        ):
            typed(process, "1")
            heard.append(host.read(9))

    assert 9 == len(heard[0])
    assert heard[0] == heard[1]


def test_a_cable_comes_back_under_another_name(tmp_path):
    """By a typed word."""
    with panel(tmp_path, "--profile", "key-byte", "--link", "./panel0") as process:
        typed(process, "unplug")
        typed(process, "rename")

        assert ["panel0-other"] == [name for name in os.listdir(tmp_path) if (tmp_path / name).is_symlink()]


def test_a_port_may_be_in_other_hands(tmp_path):
    """By fault, and it is said whose."""
    with panel(tmp_path, "--profile", "pj06", "--link", "./panel0", "--faults", "port_held") as process:
        said = process.stdout.readline()

        assert "held by process" in said
        with pytest.raises(serial.SerialException, match="exclusively lock"):
            serial.Serial(str(tmp_path / "panel0"), exclusive=True)


def test_the_help_names_every_panel_and_every_fault():
    """With what each of them is."""
    said = CliRunner().invoke(main, ["panel", "--help"]).output

    assert [] == [name for name in KINDS if f"    {name} " not in said]
    assert [] == [name for _, name, _, _ in catalogue() if f"      {name} " not in said]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--profile", "qs5"], "qs5"),
        (["--profile", "pj06", "--panels", "2"], "pj06 has no addresses"),
        (["--faults", "bonce"], "no such fault"),
        (["--profile", "screen"], "127.0.0.1"),
    ],
)
def test_a_wrong_wish_is_answered_clearly(options, complaint, tmp_path, monkeypatch):
    """Exit code 2 and what is wrong."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["panel", *options])

    assert (2, True) == (result.exit_code, complaint in result.output)
