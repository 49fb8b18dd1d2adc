"""The cable on real ptys and sockets: carried on after every interruption; each trouble in words with a next step."""

import fcntl
import os
import pty
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from edge_agent import clock
from edge_agent.link import Link, LinkDown, carry
from firmware_sim.line import PtyLine, TcpLine
from protocols.ratings import Moment

from .cable import BAUD, Notes, carried, port_of, taken, why_not
from .hall import until


@pytest.fixture(params=["pty", "tcp"])
def line(request, tmp_path) -> Iterator[PtyLine | TcpLine]:
    line = PtyLine(tmp_path / "panel") if request.param == "pty" else TcpLine()
    yield line
    line.close()


# ---- carried


def test_bytes_are_carried_both_ways(line):
    """The window's greeting, the device's bytes, the window's answer."""
    window = Notes()
    with carried(Link(port_of(line), BAUD), window):
        assert taken(line, b"hello")
        line.write(b"press")

        assert taken(line, b"press")
        assert ["plugged"] == window.told


def test_a_cable_that_comes_back_is_carried_on(line):
    """Behind the same name, as another pty or another connection. Red if the loop ends with the first error."""
    window = Notes()
    with carried(Link(port_of(line), BAUD), window):
        for number in range(3):
            assert taken(line, b"hello")
            line.write(b"%d" % number)
            assert taken(line, b"%d" % number)
            line.unplug()
            assert until(lambda number=number: "plugged" != window.told[-1])
            line.replug()

    assert b"012" == window.heard
    assert all(port_of(line) in why and " / " in why for why in window.told if why != "plugged")


def test_a_window_goes_on_ticking_while_the_cable_is_out(tmp_path):
    """An invitation has to end, cable or not."""
    window = Notes()
    with carried(Link(str(tmp_path / "nothing"), BAUD), window):
        assert until(lambda: window.ticks >= 2)


def test_a_line_server_that_hangs_up_is_called_again(tmp_path):
    """A socket:// that was closed by the other side."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        window = Notes()
        with carried(Link(f"socket://127.0.0.1:{server.getsockname()[1]}", BAUD), window):
            for _ in range(2):
                device, _ = server.accept()
                assert b"hello" == device.recv(100)
                device.close()

    assert ["plugged", "plugged"] == [told for told in window.told if told == "plugged"][:2]


@pytest.mark.alone
def test_waking_ends_a_read_at_once(panel):
    """The door has opened an invitation: the device must not wait for the next look at the clock."""
    window = Notes()
    link = Link(port_of(panel), BAUD)
    with carried(link, window):
        assert taken(panel, b"hello")
        for number in range(5):
            window.say = b"%d" % number
            started = time.monotonic()
            link.wake()
            assert taken(panel, b"%d" % number)
            assert time.monotonic() - started < 0.3


def test_waking_a_link_that_is_not_open_is_nothing(panel):
    """Before it was opened and after it was closed."""
    link = Link(port_of(panel), BAUD)
    link.wake()
    link.open()
    link.close()
    link.wake()
    link.close()

    with pytest.raises(LinkDown):
        link.read()


@pytest.mark.alone
def test_a_read_of_a_silent_line_comes_back_empty(line):
    """So that the window can look at its clock."""
    link = Link(port_of(line), BAUD)
    link.open()
    started = time.monotonic()

    assert b"" == link.read()
    assert time.monotonic() - started < 2
    link.close()


def test_a_device_that_takes_no_bytes_does_not_hold_us_up():
    """Its buffer is full: what it does not take is lost, and the loop goes on. Red without a write timeout."""
    master, slave = pty.openpty()
    tty.setraw(master)
    link = Link(os.ttyname(slave), BAUD)
    link.open()
    started = time.monotonic()
    link.write(bytes(100_000))

    assert 0.5 < time.monotonic() - started < 5
    os.set_blocking(master, False)
    while len(os.read(master, 65_536)) == 65_536:
        pass
    os.write(master, b"still there")
    assert b"still there" == link.read() + link.read()
    link.close()
    os.close(master)
    os.close(slave)


@pytest.mark.alone
@pytest.mark.parametrize("plugged", [True, False])
def test_carrying_stops_promptly(panel, plugged):
    """In the middle of a read, and in the pause before the next try."""
    if not plugged:
        panel.unplug()
    window = Notes()
    with carried(Link(port_of(panel), BAUD), window) as thread:
        assert until(lambda: window.told)
        started = time.monotonic()

    assert not thread.is_alive()
    assert time.monotonic() - started < 1


def test_a_bug_in_the_window_is_not_taken_for_a_cable(panel):
    """It ends the loop: the process has to end with it. Red with an `except Exception`."""

    class Broken(Notes):
        def feed(self, data: bytes, moment: Moment, waited: bool) -> bytes:
            raise ZeroDivisionError

    link = Link(port_of(panel), BAUD)
    with pytest.raises(ZeroDivisionError):
        carry(link, Broken(), clock.now, threading.Event())
    assert link._serial is None


# ---- what a person is told


def test_a_port_that_is_not_there(tmp_path):
    """Check the cable."""
    assert "没有这个串口, 请检查线缆 / no such port, check the cable" in why_not(str(tmp_path / "ttyUSB7"))


def test_a_port_that_another_window_holds(panel):
    """Spelled in a way that nobody could compare: nothing is to be closed, the settings are wrong."""
    first = Link(port_of(panel), BAUD)
    first.open()

    assert "本代理另一窗口已占用, 请改 windows.port / another window of this agent has it" in why_not(port_of(panel))
    first.close()
    second = Link(port_of(panel), BAUD)
    second.open()
    second.close()


def test_a_port_held_by_a_dead_program_is_free(panel):
    """The lock goes with the process, whatever killed it."""
    code = "import serial, sys, time; held = serial.Serial(sys.argv[1], exclusive=True); print('held', flush=True)\n"
    code += "time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code, port_of(panel)], stdout=subprocess.PIPE)
    assert b"held\n" == other.stdout.readline()
    words = why_not(port_of(panel))
    assert "held by another program, close that: " in words
    assert f"(pid {other.pid})" in words
    other.kill()
    other.wait()
    other.stdout.close()
    link = Link(port_of(panel), BAUD)
    link.open()

    assert fcntl.flock(link._serial.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB) is None
    link.close()


def test_a_port_without_permission():
    """Told the very command. Root may open anything, so the question is asked by somebody else."""
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    os.chmod(name, 0o600)
    code = """
import os, sys
from edge_agent.link import Link, LinkDown
os.setgroups([]), os.setgid(65534), os.setuid(65534)
try:
    Link(sys.argv[1], 9600).open()
except LinkDown as down:
    print(down)
"""
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    told = subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True, env=environment)
    os.close(master)
    os.close(slave)

    assert f"{name}: 没有权限, 请执行后重新登录 / no permission" in told.stdout, told.stderr
    assert "sudo usermod -aG dialout $USER" in told.stdout


def test_a_device_server_that_is_not_there():
    """A refused connection names the network, not the cable."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"socket://127.0.0.1:{probe.getsockname()[1]}"

    assert "连不上, 请检查网络和地址 / cannot be reached, check network and address" in why_not(url)


@pytest.mark.parametrize("port", ["/dev/null", "/etc/hostname", "/tmp", "nonsense://x", "socket://127.0.0.1"])
def test_a_port_that_is_no_port(port):
    """A slip in the settings: words that lead there, no traceback."""
    words = why_not(port)

    assert "check windows.port" in words or "check network and address" in words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            "could not open port 'COM9': FileNotFoundError(2, 'The system cannot find the file', None, 2)",
            "no such port",
        ),
        ("could not open port 'COM9': PermissionError(13, 'Access is denied.', None, 5)", "held by another program"),
    ],
)
def test_windows_says_it_in_words(monkeypatch, error, words):
    """There pyserial gives no error number."""

    def refuse(*_: object, **__: object) -> None:
        raise serial.SerialException(error)

    monkeypatch.setattr("edge_agent.link.serial.serial_for_url", refuse)

    assert words in why_not("COM9")


def test_a_pulled_cable_names_its_port(panel):
    """In Chinese and English, from whichever call notices it first."""
    link = Link(port_of(panel), BAUD)
    link.open()
    panel.unplug()

    with pytest.raises(LinkDown, match="线缆已断开 / cable out"):
        link.read()
    with pytest.raises(LinkDown, match="线缆已断开 / cable out"):
        link.write(b"x")
    link.close()
    assert not Path(port_of(panel)).exists()
