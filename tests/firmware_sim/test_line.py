"""The panels on real cables: a real pty and a real socket, with pyserial at the other end."""

import os
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import serial

from firmware_sim.bench import Change, Replugged, Unplugged
from firmware_sim.faults import Faults, Happening
from firmware_sim.line import (
    Commands,
    PtyLine,
    Station,
    TcpLine,
    boot_file,
    next_boot,
    serve,
    steady_clock,
)
from firmware_sim.panel import HousePanel, PressMade, PressThanked, Rebooted, frame
from firmware_sim.panels.keys import KeyBytePanel

PATIENCE_S = 5  # for a busy machine; what is expected comes within milliseconds


def until(true: Callable[[], object]) -> bool:
    """Wait for it; False if it does not come true."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


@contextmanager
def pty(tmp_path: Path) -> Iterator[PtyLine]:
    line = PtyLine(tmp_path / "panel0")
    try:
        yield line
    finally:
        line.close()


@contextmanager
def tcp() -> Iterator[TcpLine]:
    line = TcpLine()
    try:
        yield line
    finally:
        line.close()


def take(line: PtyLine | TcpLine, size: int) -> bytes:
    """So many bytes from the host."""
    taken = bytearray()
    until(lambda: taken.extend(line.read()) or len(taken) >= size)
    return bytes(taken)


# ---- the pty


def test_bytes_pass_a_pty_unchanged_both_ways(tmp_path):
    """All 256 values; no echo, no line endings made prettier."""
    every = bytes(range(256))
    with pty(tmp_path) as line, serial.Serial(str(line.link), timeout=PATIENCE_S) as host:
        line.write(every)
        host.write(every)

        assert every == host.read(256)
        assert every == take(line, 256)
        assert b"" == line.read()


def test_an_idle_pty_has_nothing_to_read_and_no_error(tmp_path):
    """Before anyone opened it, and after everyone has closed it."""
    with pty(tmp_path) as line:
        before = line.read()
        serial.Serial(str(line.link)).close()

        assert (b"", b"") == (before, line.read())


def test_a_panel_does_not_hear_itself(tmp_path):
    """Before the host has set its end of the pty, a terminal would echo; turns red without setraw."""
    with pty(tmp_path) as line:
        line.write(b"$BEAT\r\n")

        assert b"" == line.read()


def test_a_pulled_cable_is_an_error_at_the_other_end(tmp_path):
    """And the link is gone."""
    with pty(tmp_path) as line, serial.Serial(str(line.link), timeout=PATIENCE_S) as host:
        line.unplug()

        assert not os.path.lexists(line.link)
        with pytest.raises((serial.SerialException, OSError)):
            host.read(1)
        with pytest.raises((serial.SerialException, OSError)):
            host.write(b"x")
        with pytest.raises(serial.SerialException):
            serial.Serial(str(line.link))


def test_a_cable_comes_back_under_the_same_link(tmp_path):
    """As another pty, while the host still holds the old one."""
    with pty(tmp_path) as line, serial.Serial(str(line.link), timeout=PATIENCE_S):
        old = line.link.readlink()
        line.unplug()
        line.replug()
        with serial.Serial(str(line.link), timeout=PATIENCE_S) as host:
            line.write(b"back")
            host.write(b"welcome")

            assert old != line.link.readlink()
            assert b"back" == host.read(4)
            assert b"welcome" == take(line, 7)


def test_pulling_twice_and_plugging_twice_do_no_harm(tmp_path):
    """A cable is out or in."""
    with pty(tmp_path) as line:
        line.unplug()
        line.unplug()
        out = (line.plugged, line.fileno(), line.read())
        line.replug()
        line.replug()

        assert (False, -1, b"") == out
        assert line.plugged


def test_a_pty_is_not_published_over_somebodys_file(tmp_path):
    """Only links are replaced."""
    (tmp_path / "panel0").write_text("precious")

    with pytest.raises(FileExistsError, match="panel0"):
        PtyLine(tmp_path / "panel0")
    assert "precious" == (tmp_path / "panel0").read_text()


def test_a_link_left_by_a_killed_simulator_is_taken_over(tmp_path):
    """And the link of a later simulator is left to it."""
    with pty(tmp_path) as earlier, pty(tmp_path) as later:
        earlier.close()

        assert os.path.lexists(later.link)


@pytest.mark.alone
def test_nothing_blocks_if_nobody_reads_a_pty(tmp_path):
    """What the kernel does not take is lost and counted; a host that opens it finds nothing old."""
    with pty(tmp_path) as line:
        started = time.monotonic()
        for _ in range(20_000):
            line.write(b"x" * 50)
        took_s = time.monotonic() - started
        with serial.Serial(str(line.link), timeout=PATIENCE_S) as host:
            line.write(b"now")

            assert b"now" == host.read(3)
        assert took_s < PATIENCE_S
        assert 900_000 < line.dropped < 1_000_000


def test_a_cable_may_come_back_under_another_name_and_under_its_first_again(tmp_path):
    """Never under both."""
    with pty(tmp_path) as line:
        names = []
        for _ in range(2):
            line.unplug()
            line.rename()
            line.replug()
            names.append([name for name in os.listdir(tmp_path) if not name.startswith(".")])

        assert [["panel0-other"], ["panel0"]] == names


def test_a_pty_knows_what_the_host_has_set(tmp_path):
    """Its rate, and whether it wants to see framing errors as 00: INPCK without IGNPAR and PARMRK."""
    with pty(tmp_path) as line, serial.Serial(str(line.link), 19_200) as host:
        rate, usual = line.host_baud(), line.error_as_zero()
        settings = termios.tcgetattr(host.fileno())
        seen = []
        for flags in (termios.INPCK, termios.INPCK | termios.IGNPAR, termios.INPCK | termios.PARMRK):
            settings[0] = flags
            termios.tcsetattr(host.fileno(), termios.TCSANOW, settings)
            seen.append(line.error_as_zero())

        assert (19_200, False) == (rate, usual)
        assert [True, False, False] == seen


# ---- the socket


def test_bytes_pass_a_socket_unchanged_both_ways():
    """pyserial's socket:// at the other end."""
    every = bytes(range(256))
    with tcp() as line, serial.serial_for_url(line.url, timeout=PATIENCE_S) as host:
        host.write(every)

        assert every == take(line, 256)
        line.write(every)
        assert every == host.read(256)


def test_a_pulled_network_cable_is_an_error_and_comes_back_at_the_same_port():
    """Nobody listens in between."""
    with tcp() as line:
        host = serial.serial_for_url(line.url, timeout=PATIENCE_S)
        host.write(b"hello")
        take(line, 5)
        line.unplug()
        with pytest.raises(serial.SerialException):
            host.read(1)
        with pytest.raises(serial.SerialException):
            serial.serial_for_url(line.url)
        host.close()
        line.replug()
        with serial.serial_for_url(line.url, timeout=PATIENCE_S) as again:
            again.write(b"hello")

            assert b"hello" == take(line, 5)


def test_a_client_that_leaves_makes_room_for_the_next():
    """One at a time: a second one beside the first is refused."""
    with tcp() as line:
        with serial.serial_for_url(line.url) as first:
            first.write(b"1")
            taken = take(line, 1)
            with pytest.raises(serial.SerialException):
                serial.serial_for_url(line.url)
        until(lambda: line.read() or line.turns == 3)
        with serial.serial_for_url(line.url) as second:
            second.write(b"2")

            assert (b"1", b"2") == (taken, take(line, 1))


def test_nothing_blocks_if_nobody_reads_a_socket():
    """What the kernel does not take is lost and counted."""
    with tcp() as line:
        line.write(b"nobody is there")
        lost_alone = line.dropped
        with serial.serial_for_url(line.url) as host:
            host.write(b"1")
            take(line, 1)
            for _ in range(200_000):
                line.write(b"x" * 50)

        assert 15 == lost_alone
        assert line.dropped > 1_000_000


# ---- the boot number


def test_the_boot_number_rises_with_each_start(tmp_path):
    """Kept in a small file beside the link."""
    path = boot_file(tmp_path / "panel0")

    assert tmp_path / "panel0.boot" == path
    assert [1, 2, 3] == [next_boot(path) for _ in range(3)]
    assert "3" == path.read_text()


# ---- many panels on one thread


class Hall:
    """Panels being served on a thread, and what was told of them."""

    def __init__(self, stations: list[Station]):
        self.stations = stations
        self.commands = Commands()
        self.told: list[tuple[str, Change]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=serve,
            args=(stations, steady_clock(), self._stop, self.commands, lambda *event: self.told.append(event)),
        )

    def __enter__(self) -> "Hall":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.commands.wake()
        self._thread.join(PATIENCE_S)
        self.commands.close()
        for station in self.stations:
            station.line.close()
        assert not self._thread.is_alive()

    def heard(self, kind: type, window: str = "A1") -> list:
        return [event for where, event in self.told if where == window and isinstance(event, kind)]


def station(line: PtyLine | TcpLine, window: str = "A1", device: str = "D0001", **settings: object) -> Station:
    return Station(window, HousePanel(device, 1, steady_clock()()), line, **settings)


def read_frame(host: serial.Serial, name: bytes) -> bytes:
    """The next frame of that name."""
    while line := host.read_until(b"\n"):
        if line.startswith(b"$" + name):
            return line
    raise AssertionError(f"no {name!r} came")


def test_a_press_passes_a_real_pty_and_is_thanked_on_the_ack(tmp_path):
    """The truth hears of both."""
    with (
        Hall([station(PtyLine(tmp_path / "panel0"))]) as hall,
        serial.Serial(str(tmp_path / "panel0"), timeout=PATIENCE_S) as host,
    ):
        hall.commands.press("A1", 2)
        said = read_frame(host, b"PRESS")
        thanked_early = hall.heard(PressThanked)
        host.write(frame("ACK", "D0001", 1, 1))

        assert said.startswith(b"$PRESS,D0001,1,1,2,")
        assert [] == thanked_early
        assert until(lambda: hall.heard(PressThanked))
        assert hall.heard(PressMade) == [thanked.press for thanked in hall.heard(PressThanked)]


@pytest.mark.alone
def test_a_press_is_on_the_line_within_milliseconds(tmp_path):
    """The median of thirty: a thread that sleeps 20 ms between looks would turn this red."""
    with (
        Hall([station(PtyLine(tmp_path / "panel0"))]) as hall,
        serial.Serial(str(tmp_path / "panel0"), timeout=PATIENCE_S) as host,
    ):
        took_ms = []
        for count in range(1, 31):
            started = time.perf_counter()
            hall.commands.press("A1", 1)
            read_frame(host, b"PRESS")
            host.write(frame("ACK", "D0001", 1, count))
            until(lambda count=count: len(hall.heard(PressThanked)) == count)
            took_ms.append((time.perf_counter() - started) * 1000)
            time.sleep(0.031)  # longer than a contact is mistrusted

        assert sorted(took_ms)[15] < 20


def test_a_cable_pulled_on_the_wish_of_another_thread_comes_back(tmp_path):
    """The press made while it was out arrives afterwards, with its age."""
    with Hall([station(PtyLine(tmp_path / "panel0"))]) as hall:
        with serial.Serial(str(tmp_path / "panel0"), timeout=PATIENCE_S) as host:
            hall.commands.unplug("A1")
            with pytest.raises((serial.SerialException, OSError)):
                while True:
                    host.read(1)
        hall.commands.press("A1", 4)
        made = until(lambda: hall.heard(PressMade))
        time.sleep(0.05)
        hall.commands.replug("A1")
        back = until(lambda: hall.heard(Replugged))
        with serial.Serial(str(tmp_path / "panel0"), timeout=PATIENCE_S) as host:
            age_ms = int(read_frame(host, b"PRESS").split(b"*")[0].split(b",")[5])

        assert made
        assert back
        assert len(hall.heard(Unplugged)) == 1
        assert age_ms >= 50


def test_unplug_and_replug_in_one_breath_leave_the_cable_in(tmp_path):
    """Wishes are done in the order in which they came."""
    with Hall([station(PtyLine(tmp_path / "panel0"))]) as hall:
        for _ in range(20):
            hall.commands.unplug("A1")
            hall.commands.replug("A1")

        assert until(lambda: len(hall.heard(Replugged)) == 20)
        with serial.Serial(str(tmp_path / "panel0"), timeout=PATIENCE_S) as host:
            host.write(frame("QUERY", "D0001"))
            assert read_frame(host, b"BEAT").startswith(b"$BEAT,D0001,1,")


def test_a_reboot_is_written_down_and_told_before_it_is_said(tmp_path):
    """The next process goes on counting; turns red if bytes go out before the truth has heard of it."""
    path = boot_file(tmp_path / "panel0")
    with (
        Hall([station(PtyLine(tmp_path / "panel0"), boot_file=path)]) as hall,
        serial.Serial(str(tmp_path / "panel0"), timeout=PATIENCE_S) as host,
    ):
        hall.commands.reboot("A1")
        while not read_frame(host, b"BEAT").startswith(b"$BEAT,D0001,2,"):
            pass

        assert [2] == [event.boot for event in hall.heard(Rebooted)]
        assert 3 == next_boot(path)


def test_two_devices_swapped_are_heard_at_each_others_window(tmp_path):
    """By fault: what the first says comes out of the second's port."""
    stations = [station(PtyLine(tmp_path / f"panel{n}"), f"A{n}", f"D{n:04d}") for n in (0, 1)]
    stations[0].plan([Happening(0, "swap")])  # before anybody serves it: its next moment is then known to the thread
    with Hall(stations):
        swapped = until(lambda: stations[0].line.link.name == "panel1" and stations[0].line.plugged)
        with serial.Serial(str(tmp_path / "panel1"), timeout=PATIENCE_S) as host:
            host.write(frame("QUERY", "D0000"))

            assert swapped
            assert read_frame(host, b"BEAT").startswith(b"$BEAT,D0000,")


def test_a_framing_error_is_read_as_the_hosts_terminal_wants_it(tmp_path):
    """01 at 9600, read at 19200: 06, or 00 if it checks its input."""
    line = PtyLine(tmp_path / "panel0")
    wrong = Station("A1", KeyBytePanel("", steady_clock()()), line, Faults(baud_9600_19200=1))
    with Hall([wrong]) as hall, serial.Serial(str(line.link), timeout=PATIENCE_S) as host:
        hall.commands.press("A1", 1)
        as_it_is = host.read(1)
        settings = termios.tcgetattr(host.fileno())
        settings[0] |= termios.INPCK
        termios.tcsetattr(host.fileno(), termios.TCSANOW, settings)
        hall.commands.press("A1", 2)

        assert (b"\x06", b"\x00") == (as_it_is, host.read(1))


def test_many_panels_share_a_thread(tmp_path):
    """Thirty, a few of them on sockets, each answered for itself."""
    lines = [TcpLine() if n % 10 == 0 else PtyLine(tmp_path / f"panel{n}") for n in range(30)]
    stations = [station(line, f"A{n}", f"D{n:04d}") for n, line in enumerate(lines)]
    with Hall(stations) as hall:
        for n, line in enumerate(lines):
            address = str(line.link) if isinstance(line, PtyLine) else line.url
            with serial.serial_for_url(address, timeout=PATIENCE_S) as host:
                hall.commands.press(f"A{n}", 1)
                read_frame(host, b"PRESS")
                host.write(frame("ACK", f"D{n:04d}", 1, 1))
                assert until(lambda n=n: hall.heard(PressThanked, f"A{n}"))

        assert 30 == len([event for _, event in hall.told if isinstance(event, PressThanked)])


@pytest.mark.alone
def test_an_idle_hall_costs_no_work(tmp_path):
    """Turns red if the thread spins while nobody reads and nothing happens."""
    with Hall([station(PtyLine(tmp_path / f"panel{n}"), f"A{n}") for n in range(10)]):
        time.sleep(0.1)
        started, used = time.monotonic(), time.process_time()
        time.sleep(0.5)

        assert time.process_time() - used < 0.2 * (time.monotonic() - started)


def test_through_every_fault_what_was_thanked_was_acknowledged(tmp_path):
    """A host that acknowledges every frame it can read: no press is thanked that it did not read."""
    faults = Faults.parse("bounce:0.5,double:0.2,split:0.2,glue:0.2,flip:0.002,byte_lost:0.002,noise:0.1,ack_lost:0.2")
    with (
        Hall([station(PtyLine(tmp_path / "panel0"), faults=faults, seed=7)]) as hall,
        serial.Serial(str(tmp_path / "panel0"), timeout=0.02) as host,
    ):
        read: set[int] = set()
        held = b""
        for n in range(200):
            if n % 10 == 0:
                hall.commands.press("A1", 1 + n % 5)
            held += host.read(max(1, host.in_waiting))
            *lines, held = held.split(b"\n")
            for count in whole_presses(lines):
                read.add(count)
                host.write(frame("ACK", "D0001", 1, count))
        thanked = {event.press.count for event in hall.heard(PressThanked)}

        assert thanked <= read <= {event.count for event in hall.heard(PressMade)}
        assert len(thanked) >= 5, "--seed 7"


def whole_presses(lines: list[bytes]) -> Iterator[int]:
    """The counts of the presses that came undamaged."""
    for line in lines:
        head, _, _ = line[line.rfind(b"$") + 1 :].partition(b"*")
        try:
            fields = head.decode("ascii").split(",")
        except UnicodeDecodeError:
            continue
        if fields[0] == "PRESS" and frame(*fields) == line[line.rfind(b"$") :] + b"\n":
            yield int(fields[3])
