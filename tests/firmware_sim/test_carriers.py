"""Lines that are no serial port, with real sockets, a real FIFO and a real HTTP server at the other end."""

import json
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from firmware_sim.carriers import DoorLine, NodeLine, UdpLine
from firmware_sim.line import Commands, Line, Station, serve, steady_clock
from firmware_sim.panel import PressThanked
from firmware_sim.panels.keypad import EVENT
from firmware_sim.panels.shelf import make

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
def served(kind: str, line: Line) -> Iterator[tuple[Commands, list]]:
    """A panel of that kind at the end of that line: its commands, and what is told of it."""
    commands, stop, told = Commands(), threading.Event(), []
    station = Station("A1", make(kind, "5", steady_clock()()), line)
    thread = threading.Thread(
        target=serve, args=([station], steady_clock(), stop, commands, lambda _, event: told.append(event))
    )
    thread.start()
    try:
        yield commands, told
    finally:
        stop.set()
        commands.wake()
        thread.join(PATIENCE_S)
        commands.close()
        station.line.close()


@contextmanager
def asker(port: int) -> Iterator[socket.socket]:
    """Queue software's socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(PATIENCE_S)
        udp.connect(("127.0.0.1", port))
        yield udp


# ---- a tablet


def test_a_tablet_answers_whoever_spoke_last():
    """Over real datagrams: an answer at once, the vote later, each in one of its own."""
    line = UdpLine()
    with served("sundyn-udp", line) as (commands, _), asker(line.port) as first, asker(line.port) as last:
        first.send(b'{"command":"welcome"}')
        first_heard = first.recv(999)
        last.send(b'{"command":"apprise"}')
        answer = last.recv(999)
        commands.press("A1", 4)

        assert b'{"succ":"0"}' == first_heard == answer
        assert b'{"appriseresult":"4","tagId":"","tagName":""}' == last.recv(999)


def test_two_datagrams_are_two_messages():
    """Sent before anybody looked."""
    line = UdpLine()
    with asker(line.port) as udp:
        udp.send(b'{"command":"welcome"}')
        udp.send(b'{"command":"apprise"}')
        with served("sundyn-udp", line):
            assert [b'{"succ":"0"}'] * 2 == [udp.recv(999) for _ in range(2)]


def test_a_tablet_comes_back_at_its_port_or_by_wish_at_another():
    """Nobody answers in between, and nothing falls over when it speaks to nobody."""
    line = UdpLine()
    first = line.port
    line.write(b"nobody has asked")
    line.unplug()
    line.replug()
    same = line.port
    line.unplug()
    line.rename()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as squatter:
        squatter.bind(("127.0.0.1", first))
        line.replug()

    assert first == same != line.port
    assert 16 == line.dropped
    line.close()


# ---- a keypad


def node_events(fd: int, count: int) -> list[tuple[int, int, int]]:
    """(type, code, value) of the next events."""
    found = b""
    while len(found) < count * EVENT.size and select.select([fd], [], [], PATIENCE_S)[0]:
        found += os.read(fd, 4_096)
    return [EVENT.unpack_from(found, at)[2:] for at in range(0, len(found), EVENT.size)]


def test_a_node_gives_whole_events_and_ends_when_it_is_unplugged(tmp_path):
    """Where a kernel would say ENODEV, it says end of file; the node is gone, and comes back."""
    path = tmp_path / "event7"
    with served("hid-keypad", NodeLine(path)) as (commands, _):
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with pytest.raises(BlockingIOError):
            os.read(fd, 24)
        commands.press("A1", 3)
        events = node_events(fd, 6)
        commands.unplug("A1")
        ended = select.select([fd], [], [], PATIENCE_S)[0] and os.read(fd, 24)
        gone = until(lambda: not path.exists())
        os.close(fd)
        commands.rename("A1")

        assert [(1, 81, 1), (1, 81, 0)] == [event for event in events if event[0] == 1]
        assert (b"", True) == (ended, gone)
        assert until((tmp_path / "event7-other").exists)


def test_a_node_left_by_a_killed_simulator_is_taken_over_and_a_file_is_not(tmp_path):
    """Only nodes are replaced."""
    os.mkfifo(tmp_path / "event7")
    NodeLine(tmp_path / "event7").close()
    (tmp_path / "event8").write_text("precious")

    with pytest.raises(FileExistsError):
        NodeLine(tmp_path / "event8")
    assert not (tmp_path / "event7").exists()


# ---- a screen


class Door(BaseHTTPRequestHandler):
    """Says 503 to the first request and 201 to the rest; keeps what it was asked."""

    asked: list[tuple[str, str | None, dict]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, self.headers["Authorization"], body))
        self.send_response(503 if len(self.asked) == 1 else 201)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def door() -> Iterator[tuple[str, list]]:
    handler = type("OneDoor", (Door,), {"asked": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/presses", handler.asked
        finally:
            server.shutdown()
            thread.join(PATIENCE_S)


def test_a_screen_posts_its_press_until_the_door_says_yes():
    """A real request and a real 503: repeated a second later with the same count, thanked after the 201."""
    with door() as (url, asked):
        line = DoorLine(url, {"Authorization": "Bearer secret"})
        with served("screen", line) as (commands, told):
            commands.press("A1", 4)

            assert until(lambda: [event for event in told if isinstance(event, PressThanked)])
    (path, token, first), (_, _, second) = asked
    assert ("/v1/presses", "Bearer secret", 4) == (path, token, first["button"])
    assert (first["count"], True) == (second["count"], second["age_ms"] >= 1_000)


def test_a_screen_whose_door_is_shut_waits_for_it():
    """Nothing is raised where nobody listens; the press is kept."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        line = DoorLine(f"http://127.0.0.1:{nobody.getsockname()[1]}/v1/presses")
        with served("screen", line) as (commands, told):
            commands.press("A1", 4)

            assert until(lambda: told)
            assert ["PressMade"] == [type(event).__name__ for event in told]


@pytest.mark.parametrize("url", ["", "file:///x", "http://example.com/", "https://127.0.0.1:1/"])
def test_a_screen_speaks_to_a_door_of_this_machine_only(url):
    """Anything else is refused before it is asked."""
    with pytest.raises(ValueError, match=r"127\.0\.0\.1"):
        DoorLine(url)


def test_paths_may_be_given_as_text(tmp_path: Path):
    """As from a command line."""
    line = NodeLine(str(tmp_path / "event7"))
    line.close()

    assert tmp_path / "event7" == line.path
