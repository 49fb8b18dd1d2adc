"""Which port a cable is, and that it is ours alone: real ptys, second programs, and a device server's own protocol."""

import errno
import os
import pty
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.link import LineFormat, Link, LinkDown
from edge_agent.ports import PortFacts
from firmware_sim.line import PtyLine, TcpLine

from .cable import BAUD, Notes, carried, port_of, taken, why_not
from .device_server import DeviceServer
from .hall import until

# ---- found


def ch340(device: Path, socket: str) -> PortFacts:
    return PortFacts(str(device), 0x1A86, 0x7523, location=socket)


@pytest.mark.alone
@pytest.mark.parametrize("port", ["usb:1-1.3", "usb:1a86:7523"])
def test_an_adapter_that_comes_back_under_another_name_is_carried_on_within_two_seconds(tmp_path, port):
    """ttyUSB0 becomes ttyUSB1. Red if the name is looked up only once."""
    lines = [PtyLine(tmp_path / name) for name in ("ttyUSB0", "ttyUSB1")]
    there = [ch340(lines[0].link, "1-1.3")]
    window = Notes()
    with carried(Link(port, BAUD, there=lambda: there), window):
        assert taken(lines[0], b"hello")
        there.clear()
        lines[0].unplug()
        assert until(lambda: any("现在没有这个串口" in why for why in window.told))
        there.append(ch340(lines[1].link, "1-1.3"))
        plugged = time.monotonic()

        assert taken(lines[1], b"hello")
        assert time.monotonic() - plugged < 2
    lines[1].close()


def test_the_other_adapter_is_never_taken_for_it(tmp_path):
    """Its own is unplugged, and another of the same make is there: nothing is opened. Red with the first free one."""
    other = PtyLine(tmp_path / "ttyUSB1")
    window = Notes()
    with carried(Link("usb:1-1.3", BAUD, there=lambda: [ch340(other.link, "1-1.4")]), window):
        assert until(lambda: window.ticks >= 2)

    assert ["usb:1-1.3: 现在没有这个串口, 请检查线缆 / not there now, check the cable"] == window.told
    assert b"" == other.read()
    other.close()


def test_of_two_that_answer_none_is_opened(tmp_path):
    """Both are named, with what to write into the settings."""
    lines = [PtyLine(tmp_path / name) for name in ("ttyUSB0", "ttyUSB1")]
    there = [ch340(line.link, f"1-{at}") for at, line in enumerate(lines)]
    with pytest.raises(LinkDown) as down:
        Link("usb:1a86:7523", BAUD, there=lambda: there).open()
    for line in lines:
        line.close()

    assert all(f"{line.link} (usb:1-{at})" in str(down.value) for at, line in enumerate(lines))
    assert all(f'"usb:1-0" {word} "usb:1-1"' in str(down.value) for word in ("或", "or"))


def test_a_path_asks_nobody(panel):
    """What is bound by its path is opened by its path; the machine is not searched. Red if it is, on every open."""

    def search() -> list[PortFacts]:
        raise AssertionError("searched")

    link = Link(port_of(panel), BAUD, there=search)
    link.open()
    link.close()


# ---- alone on the line


HOLD = """
import os, sys, termios
fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
line = termios.tcgetattr(fd)
line[4] = line[5] = termios.B19200
termios.tcsetattr(fd, termios.TCSANOW, line)
print(flush=True)
sys.stdin.read()
"""
TRY = """
import os, sys
os.setgroups([]), os.setgid(65534), os.setuid(65534)
try:
    os.close(os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY))
except OSError as error:
    print(error.errno)
"""


@contextmanager
def program(code: str, port: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another program with a port, until this is left; it has said that it has it."""
    with subprocess.Popen([sys.executable, "-c", code, port], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"\n"
        yield other
        other.stdin.close()


def test_a_program_that_shares_the_port_is_named_and_its_line_left_alone(panel):
    """It asked for no lock, so ours would succeed: each would get half of the bytes, and it our baud rate."""
    with program(HOLD, port_of(panel)) as other:
        words = why_not(port_of(panel))

        assert f"(pid {other.pid})" in words
        assert termios.B19200 == termios.tcgetattr(panel.fileno())[4]
    link = Link(port_of(panel), BAUD)
    link.open()
    link.close()


def test_the_simulator_at_the_far_end_is_no_other_program(tmp_path):
    """It holds its own end open, so that nobody's going ends the line; in the field there is no such end."""
    code = "import sys, threading; from firmware_sim.line import PtyLine; line = PtyLine(sys.argv[1])\n"
    code += "print(flush=True); sys.stdin.read()"
    with program(code, str(tmp_path / "panel")):
        link = Link(str(tmp_path / "panel"), BAUD)
        link.open()
        link.close()


def test_another_window_of_ours_is_named_as_that():
    """Two names for one port in the settings: no use to look for another program."""
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    os.close(slave)
    code = "import sys; from edge_agent.link import Link, LinkDown; first = Link(sys.argv[1], 9600); first.open()\n"
    code += "try:\n    Link(sys.argv[1], 9600).open()\nexcept LinkDown as down:\n    print(ascii(str(down)))"
    told = subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True)
    os.close(master)

    assert "another window of this agent" in told.stdout, told.stderr


def tried(name: str) -> str:
    """What it says to somebody who is not root and asks for no lock; empty if it opens."""
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody, and root is never stopped")
    return subprocess.run([sys.executable, "-c", TRY, name], capture_output=True, text=True).stdout.strip()


def test_nobody_can_open_the_port_beside_us(monkeypatch):
    """Not even who asks for no lock; and anybody again after us. Red without TIOCEXCL, and without TIOCNXCL."""
    monkeypatch.setattr("edge_agent.machine.is_pty", lambda *_: False)
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    os.close(slave)
    os.chmod(name, 0o666)
    link = Link(name, BAUD)
    link.open()
    beside = os.open(name, os.O_RDWR | os.O_NOCTTY)  # as root can

    assert str(errno.EBUSY) == tried(name)
    link.close()
    assert "" == tried(name)
    os.close(beside)
    os.close(master)


@pytest.mark.parametrize("kept_open", [True, False])
def test_an_agent_that_is_killed_locks_nobody_out_of_a_simulated_panel(kept_open):
    """Its far end lives on, and the mark of an exclusive port with it. Red if it is set there too."""
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    os.chmod(name, 0o666)
    if not kept_open:
        os.close(slave)
    code = "import sys; from edge_agent.link import Link; link = Link(sys.argv[1], 9600); link.open()\n"
    code += "print(flush=True); sys.stdin.read()"
    with program(code, name) as agent:
        agent.kill()
        agent.wait()
        said = tried(name)
    if kept_open:
        os.close(slave)
    os.close(master)

    assert "" == said


# ---- how a byte goes over the line


@pytest.mark.parametrize("mark_errors", [False, True])
def test_a_damaged_byte_is_read_as_00_where_the_profile_wants_it(panel, mark_errors):
    """The kernel is told so and stays told. A pty damages no byte, so the setting is what can be seen here."""
    link = Link(port_of(panel), BAUD, line=LineFormat(mark_errors=mark_errors))
    link.open()
    panel.write(b"\x01")
    link.read()
    link.write(b"x")
    flags = termios.tcgetattr(panel.fileno())[0]
    link.close()

    assert mark_errors == bool(flags & termios.INPCK)
    assert not flags & (termios.IGNPAR | termios.PARMRK | termios.ISTRIP)


def test_a_simulated_panel_with_parity_can_be_opened_again_and_again(panel):
    """A pty is 8N whatever it is told, and pyserial fails the second time. Red without the exception for ptys."""
    link = Link(port_of(panel), BAUD, line=LineFormat(bytesize=7, parity="E", stopbits=2))
    for _ in range(3):
        link.open()
        panel.write(b"1")
        assert b"1" == link.read()
        link.close()


# ---- behind a device server


@pytest.fixture
def server() -> Iterator[tuple[DeviceServer, TcpLine]]:
    line = TcpLine()
    server = DeviceServer(line.url)
    yield server, line
    server.close()
    line.close()


@pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning")
def test_a_device_server_is_told_the_line_and_carries_the_bytes(server):
    """RFC 2217: baud rate, parity and all go to where the port is; 255 is a byte like any other."""
    server, line = server
    link = Link(server.url, 19200, line=LineFormat(bytesize=7, parity="E", stopbits=2, dtr=False))
    link.open()
    link.write(b"\x02\xff\x03")
    assert taken(line, b"\x02\xff\x03")
    line.write(b"a\xffb")
    heard = b""
    while len(heard) < 3:
        heard += link.read()
    link.close()

    assert b"a\xffb" == heard
    assert (19200, 7, "E", 2, False) == (
        server.port.baudrate,
        server.port.bytesize,
        server.port.parity,
        server.port.stopbits,
        server.port.dtr,
    )


@pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning")
def test_a_device_server_that_hangs_up_is_called_again(server):
    """With words that say so."""
    server, line = server
    window = Notes()
    with carried(Link(server.url, BAUD), window):
        assert taken(line, b"hello")
        server.hang_up()
        assert taken(line, b"hello")

    assert 2 == server.clients
    assert any("线缆已断开 / cable out" in told for told in window.told)


@pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning")
def test_a_server_that_speaks_no_rfc2217_is_said_so():
    """A plain TCP port at the other end: it never answers. Within a few seconds, and with a way on."""
    with socket.create_server(("127.0.0.1", 0)) as plain:
        words = why_not(f"rfc2217://127.0.0.1:{plain.getsockname()[1]}")

    assert "连不上, 请检查网络和地址 / cannot be reached, check network and address" in words
