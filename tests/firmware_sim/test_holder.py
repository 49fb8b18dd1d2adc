"""Another process at the port: one that holds it, one that merely has it open, one that steals."""

import os
import time

import pytest
import serial

from firmware_sim.holder import held
from firmware_sim.line import PtyLine


@pytest.fixture
def line(tmp_path):
    made = PtyLine(tmp_path / "panel0")
    yield made
    made.close()


def test_a_held_port_cannot_be_locked_until_it_is_let_go(line):
    """By the process that is named."""
    with held(line.link) as pid, pytest.raises(serial.SerialException, match="exclusively lock"):
        assert pid != os.getpid()
        serial.Serial(str(line.link), exclusive=True)

    serial.Serial(str(line.link), exclusive=True).close()


def test_a_shared_port_opens_and_nothing_is_taken(line):
    """Two programs, one of which does not read."""
    with held(line.link, "share"), serial.Serial(str(line.link), timeout=5) as host:
        line.write(b"abc")

        assert b"abc" == host.read(3)


def test_a_thief_takes_what_arrives(line):
    """Nobody else reads meanwhile, so it has all of it."""
    with held(line.link, "steal"):
        line.write(b"abc")
        deadline = time.monotonic() + 5
        with serial.Serial(str(line.link), timeout=0) as host:
            while host.in_waiting and time.monotonic() < deadline:
                time.sleep(0.002)

            assert b"" == host.read(3)


def test_a_port_that_is_not_there_is_said_to_be_so(tmp_path, capfd):
    """The other process cannot have it either."""
    with pytest.raises(RuntimeError, match="nowhere"), held(tmp_path / "nowhere"):
        pass
    capfd.readouterr()
