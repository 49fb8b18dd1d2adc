"""A short round of the torture, and that its parts do what they say."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest

from collector.ledger.store import Store
from tests.brokers import mosquitto_or_skip
from tests.disks import Disk

from . import judge
from .clock import set_wrong
from .faults import full
from .rounds import Round, played
from .wire import Net, Unruly, packet_id, packets_of
from .world import Gone

YEAR_S = 365 * 86_400


@pytest.mark.slow
@pytest.mark.mosquitto
@pytest.mark.parametrize("seed", [5])
def test_a_morning_in_which_everything_goes_wrong_costs_nothing(tmp_path: Path, seed: int) -> None:
    """kill -9, frozen, cut, doubled, full, at 1970, from an older copy: each thanked press is one rating, or was
    destroyed by hand and is named.

    Turns red if an ack goes out before the press is kept, if records are deleted when they are sent, and if an
    unanswered call counts as accepted (tests/journeys/mutations.py).
    """
    mosquitto_or_skip()
    one = Round(tmp_path, seed, seconds=20, every_s=0.5)
    try:
        done = played(one)
    finally:
        one.world.unmount()

    assert [] == done.mistakes, f"python -m tests.torture --rounds 1 --seed {seed} --seconds 20 --every 0.5"
    assert done.kills > 10
    assert done.thanked > 20
    assert done.at_province > 10


def test_a_clock_can_be_set_under_a_running_program(tmp_path: Path) -> None:
    """A year ahead, and right again; the monotonic clock goes on."""
    file, program = tmp_path / "clock", tmp_path / "says.py"
    program.write_text("import time\nfor _ in iter(input, 'end'): print(time.time_ns(), flush=True)\n", "utf-8")
    set_wrong(file, 0)
    command = [sys.executable, "-m", "tests.torture.clock", str(file), "says"]
    root = Path(__file__).parent.parent.parent
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": f"{root}:{tmp_path}"},
    ) as told:
        times = []
        for wrong_s in (0, YEAR_S, 0):
            set_wrong(file, wrong_s)
            print("now", file=told.stdin, flush=True)
            times.append(int(told.stdout.readline()))
        print("end", file=told.stdin, flush=True)

    assert YEAR_S - 10 < (times[1] - times[0]) / 1e9 < YEAR_S + 10
    assert 0 < (times[2] - times[0]) / 1e9 < 10


PUBLISH = bytes([0x32, 9]) + b"\x00\x03a/b" + b"\x00\x07" + b"hi"
PING = b"\xc0\x00"


def test_packets_are_cut_where_they_end() -> None:
    """Whole ones, and the beginning of the next; also one whose length takes two bytes."""
    long = bytes([0x30, 0xC8, 0x01]) + bytes(200)
    stream = PUBLISH + PING + long

    assert ([PUBLISH, PING, long], b"") == packets_of(stream)
    assert ([PUBLISH], PING[:1]) == packets_of(PUBLISH + PING[:1])
    assert ([], long[:2]) == packets_of(long[:2])
    assert b"\x00\x07" == packet_id(PUBLISH)


class Echo:
    """What came, and everybody who came."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.heard: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        try:
            while True:
                self.heard.append(self.server.accept()[0])
        except OSError:
            pass

    def said(self, size: int) -> bytes:
        while not self.heard:
            pass
        data, end = b"", self.heard[-1]
        end.settimeout(5)
        while len(data) < size and (more := end.recv(size - len(data))):
            data += more
        return data


@pytest.fixture
def echo():
    made = Echo()
    yield made
    made.server.close()
    for end in made.heard:
        end.close()


@pytest.fixture
def net():
    made = Net()
    yield made
    made.close()


def test_a_wire_carries_and_can_be_cut_and_mended(echo: Echo, net: Net) -> None:
    """Cut: whoever is connected hears it, and nobody can connect; mended at the same port."""
    wire = net.wire(echo.server.getsockname()[1], False, "1")
    with socket.create_connection(("127.0.0.1", wire.port)) as end:
        end.sendall(b"hello")
        assert b"hello" == echo.said(5)
        net.set(wire, "cut")
        end.settimeout(5)
        with pytest.raises(ConnectionResetError):
            end.recv(1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", wire.port))
    net.set(wire, "good")

    with socket.create_connection(("127.0.0.1", wire.port)) as end:
        end.sendall(b"again")
        before = len(echo.heard)
        while len(echo.heard) == before == 1:
            pass
        assert b"again" == echo.said(5)


def test_a_silent_wire_takes_everything_and_says_nothing(echo: Echo, net: Net) -> None:
    """Half-open: what was said comes when the silence ends."""
    wire = net.wire(echo.server.getsockname()[1], False, "1")
    with socket.create_connection(("127.0.0.1", wire.port)) as end:
        end.sendall(b"one")
        assert b"one" == echo.said(3)
        net.set(wire, "silent")
        end.sendall(b"two")
        echo.heard[-1].settimeout(0.3)
        with pytest.raises(TimeoutError):
            echo.heard[-1].recv(1)
        net.set(wire, "good")

        assert b"two" == echo.said(3)


def test_an_unruly_wire_copies_and_loses_what_it_answered_for(echo: Echo, net: Net) -> None:
    """Each message twice to five times, the copies marked; a lost one is answered and does not arrive."""
    wire = net.wire(echo.server.getsockname()[1], True, "1")
    with socket.create_connection(("127.0.0.1", wire.port)) as end:
        wire.unruly = Unruly(copied=1, copies_max=2)
        end.sendall(PUBLISH)
        assert PUBLISH + bytes([0x3A]) + PUBLISH[1:] == echo.said(2 * len(PUBLISH))
        wire.unruly = Unruly(lost=1)
        end.sendall(PUBLISH + PING)
        end.settimeout(5)

        assert b"\x40\x02\x00\x07" == end.recv(10)
        assert PING == echo.said(2)


def test_a_disk_that_is_full_twice_at_once_is_one_cycle(tmp_path: Path) -> None:
    """Counted is what was full and had room again. Red if every go at it counts, or one whose disk stays full."""
    disk = Disk(tmp_path / "disk")
    try:
        world = SimpleNamespace(store_of=lambda _: disk.path / "outbox.db", full_spans=[])
        one, other = full(world, Random(1)), full(world, Random(2))
        next(one)
        next(other)
        before = list(world.full_spans)
        list(one)
        list(other)
        third = full(world, Random(3))
        next(third)
        disk.fill()
        during = len(world.full_spans)
        list(third)
    finally:
        disk.unmount()

    assert ([], 1, 2) == (before, during, len(world.full_spans))
    assert all(begin <= end for _, begin, end in world.full_spans)


def test_a_round_is_planned_by_its_seed_alone(tmp_path: Path) -> None:
    """The same faults at the same times, however long anything takes: that is what replays a failure."""
    plans = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        one = Round(tmp_path / name, 5, seconds=20, every_s=0.5)
        plan = one._plan(one._kills | one._others, 0.5, "kills")
        plans.append([next(plan)[:2] for _ in range(50)])
        one.world.net.close()
        one.world.unmount()

    assert plans[0] == plans[1]
    assert Random("5/kills").random() != Random("6/kills").random()


@pytest.mark.parametrize(("destroyed", "said"), [("hall-1", []), ("hall-2", ["unnamed"])])
def test_what_nobody_is_left_to_name_need_not_be_named(tmp_path, destroyed, said):
    """A ledger from before it had heard of an epoch, whose outbox is gone too. Where the outbox is there, its agent
    says how far it was receipted, and the gap has to be named."""
    Store(tmp_path / "ledger.db").close()
    gone = Gone(records={("epoch-1", 1)}, agents={"epoch-1": "hall-1"}, spans=[(destroyed, 0, 1)])

    found = judge._unnamed(SimpleNamespace(gone=gone), tmp_path / "ledger.db")
    assert said == [each.partition(":")[0] for each in found]
