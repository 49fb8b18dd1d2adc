"""The cable on real ptys and sockets: carried on after every interruption; each trouble in words with a next step."""

import errno
import fcntl
import os
import pty
import socket
import subprocess
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import serial

from edge_agent import clock
from edge_agent.link import LineFormat, Link, LinkDown, carry
from edge_agent.ports import PortFacts
from firmware_sim.line import PtyLine, TcpLine
from protocols.ratings import Moment

from .device_server import DeviceServer
from .hall import until

BAUD = 9600


class Notes:
    """A window that writes down what it is told and answers each piece of bytes with itself."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.heard = b""
        self.ticks = 0
        self.say = b""

    def plugged(self, moment: Moment) -> bytes:
        self.told.append("plugged")
        return b"hello"

    def unplugged(self, why: str, moment: Moment) -> None:
        if self.told[-1:] != [why]:
            self.told.append(why)

    def feed(self, data: bytes, moment: Moment, waited: bool) -> bytes:
        self.heard += data
        return data

    def tick(self, moment: Moment) -> bytes:
        self.ticks += 1
        said, self.say = self.say, b""
        return said


@pytest.fixture(params=["pty", "tcp"])
def line(request, tmp_path) -> Iterator[PtyLine | TcpLine]:
    line = PtyLine(tmp_path / "panel") if request.param == "pty" else TcpLine()
    yield line
    line.close()


@pytest.fixture
def panel(tmp_path) -> Iterator[PtyLine]:
    line = PtyLine(tmp_path / "panel")
    yield line
    line.close()


def port_of(line: PtyLine | TcpLine) -> str:
    return line.url if isinstance(line, TcpLine) else str(line.link)


@contextmanager
def carried(link: Link, window: Notes) -> Iterator[threading.Thread]:
    """The loop of the cable on a thread of its own; it has ended when this is left."""
    stop = threading.Event()
    thread = threading.Thread(target=carry, args=(link, window, clock.now, stop))
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        link.wake()
        thread.join(10)
        assert not thread.is_alive()


def taken(line: PtyLine | TcpLine, expected: bytes) -> bool:
    """Whether the device hears exactly this."""
    heard = bytearray()
    until(lambda: heard.extend(line.read()) or len(heard) >= len(expected))
    return expected == bytes(heard)


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


# ---- found


def ch340(device: Path, socket: str) -> PortFacts:
    return PortFacts(str(device), 0x1A86, 0x7523, location=socket)


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
    assert '"usb:1-0" / "usb:1-1"' in str(down.value)


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


# ---- what a person is told


def why_not(port: str, baud: int = BAUD) -> str:
    with pytest.raises(LinkDown) as down:
        Link(port, baud).open()
    words = str(down.value)
    assert words.startswith(f"{port}: ")
    assert " / " in words
    return words


def test_a_port_that_is_not_there(tmp_path):
    """Check the cable."""
    assert "没有这个串口, 请检查线缆 / no such port, check the cable" in why_not(str(tmp_path / "ttyUSB7"))


def test_a_port_that_another_program_holds(panel):
    """Of two agents by mistake, or a terminal program: the second is told to close the first."""
    first = Link(port_of(panel), BAUD)
    first.open()

    assert "已被其它程序占用, 请关闭它 / held by another program, close that" in why_not(port_of(panel))
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
