"""Three real cuts of a guest's power, and that the drive loses what it may and nothing else."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from tests.brokers import mosquitto_or_skip

from .__main__ import kept_state
from .drive import HOWS, Drive
from .rounds import PHASES, Round, plan

SEED = 20
CUTS = 3
BLOCK = 4096
SECTOR = 512


@pytest.mark.vm
def test_whoever_was_thanked_is_rated_after_the_power_was_cut(tmp_path: Path, say: Callable[[str], None]) -> None:
    """Agent and collector on one ext4 disk, cut while they start for the first time and while citizens press.

    Turns red with `PRAGMA synchronous = OFF` in edge_agent/outbox/file.py and collector/ledger/store.py.
    """
    mosquitto_or_skip()
    with kept_state(tmp_path) as (boot, state):
        (tmp_path / "round").mkdir()
        one = Round(tmp_path / "round", boot, state, SEED, "ext4")
        try:
            played = one.play(CUTS)
        finally:
            one.close()
    say(f"{CUTS} × 断电 / cuts: 致谢 / thanked {played.thanked}, 启动 / up {[life.up_s for life in played.lives]} s")

    assert [] == played.mistakes, f"python -m tests.vm.power --cuts {CUTS} --seed {SEED} --on ext4 --keep FOLDER"
    assert CUTS == len(played.lives)
    assert 0 < played.thanked <= played.records


def test_cuts_are_planned_by_their_seed_alone() -> None:
    """The same seed plays the same cuts again; many of them come in every phase."""
    assert [plan(7, number) for number in range(50)] == [plan(7, number) for number in range(50)]
    assert set(PHASES) == {plan(7, number).phase for number in range(50)}
    assert {"start"} == {plan(seed, number).phase for seed in range(9) for number in range(2)}


class Machine:
    """What QEMU is to the drive."""

    def __init__(self, path: Path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(10)
        self._socket.connect(str(path))
        self._said = self._socket.makefile("rb")
        self._said.read(18)
        self._socket.sendall(struct.pack(">I8sII", 1, b"IHAVEOPT", 7, 6) + bytes(6))
        assert self._said.read(20 + 12 + 20)

    def write(self, at: int, data: bytes, flags: int = 0) -> bool:
        return self._asked(flags, 1, at, len(data), data) is not None

    def flush(self) -> bool:
        return self._asked(0, 3, 0, 0) is not None

    def read(self, at: int, size: int) -> bytes | None:
        return self._asked(0, 0, at, size, expected=size)

    def close(self) -> None:
        self._said.close()
        self._socket.close()

    def _asked(self, flags: int, what: int, at: int, size: int, data: bytes = b"", expected: int = 0) -> bytes | None:
        """What came back; None if the drive has no power any more."""
        self._socket.sendall(struct.pack(">IHHQQI", 0x25609513, flags, what, 1, at, size) + data)
        answer = self._said.read(16 + expected)
        return answer[16:] if len(answer) == 16 + expected else None


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(bytes(16 * BLOCK))
    return path


@pytest.fixture
def drive(image: Path) -> Iterator[Drive]:
    drive = Drive(image)
    yield drive
    drive.close()


@pytest.fixture
def machine(drive: Drive, tmp_path: Path) -> Iterator[Machine]:
    serving = drive.serve(tmp_path / "socket")
    machine = Machine(tmp_path / "socket")
    yield machine
    machine.close()
    serving.join()


@pytest.mark.parametrize("how", HOWS)
def test_what_was_flushed_is_there_after_any_cut(drive: Drive, machine: Machine, image: Path, how: str) -> None:
    """And of what was not, each sector is there or not. Red if a cut undoes more than was written since the flush."""
    first, second = b"1" * BLOCK, b"2" * BLOCK
    machine.write(4 * BLOCK, first)
    machine.flush()
    machine.write(4 * BLOCK, second)
    machine.write(8 * BLOCK, second)
    assert second == machine.read(4 * BLOCK, BLOCK)
    drive.cut()
    assert not machine.write(0, first)
    pending, _ = drive.settle(how, Random(1))
    left = image.read_bytes()

    assert 2 == pending
    assert {first[:SECTOR], second[:SECTOR]} >= set(_sectors(left[4 * BLOCK : 5 * BLOCK]))
    assert {bytes(SECTOR), second[:SECTOR]} >= set(_sectors(left[8 * BLOCK : 9 * BLOCK]))
    assert not any(left[: 4 * BLOCK])
    assert how != "nothing" or first == left[4 * BLOCK : 5 * BLOCK]
    assert how != "everything" or second == left[8 * BLOCK : 9 * BLOCK]


def test_a_write_with_its_own_flush_stays(drive: Drive, machine: Machine, image: Path) -> None:
    """FUA: what a file system asks for its most important block."""
    machine.write(4 * BLOCK, b"1" * BLOCK, flags=1)
    drive.cut()
    drive.settle("nothing", Random(1))

    assert b"1" * BLOCK == image.read_bytes()[4 * BLOCK : 5 * BLOCK]


def test_a_drive_that_lies_loses_what_it_said_it_had_flushed(image: Path, tmp_path: Path) -> None:
    """Such drives are sold; nothing that a program does helps against them."""
    drive = Drive(image, honest=False)
    serving, machine = drive.serve(tmp_path / "socket"), Machine(tmp_path / "socket")
    machine.write(4 * BLOCK, b"1" * BLOCK)
    machine.flush()
    drive.cut()
    drive.settle("nothing", Random(1))
    machine.close()
    serving.join()
    drive.close()

    assert not any(image.read_bytes())


@pytest.mark.parametrize(("what", "writes"), [("write", 2), ("flush", 3)])
def test_the_power_goes_at_the_very_write(drive: Drive, machine: Machine, image: Path, what: str, writes: int) -> None:
    """The third write, or the flush behind it, does not happen any more; whoever cares is told."""
    cuts: list[bool] = []
    drive.on_cut = lambda: cuts.append(True)
    drive.cut_at(what, 3 if what == "write" else 1)  # type: ignore[arg-type]
    done = [machine.write(each * BLOCK, b"1" * BLOCK) for each in (4, 5)]
    done += [machine.write(6 * BLOCK, b"1" * BLOCK)] + ([machine.flush()] if what == "flush" else [])
    pending, left = drive.settle("everything", Random(1))

    assert [True] * writes + [False] == done
    assert ([True], writes, writes) == (cuts, pending, left)
    assert writes * BLOCK == image.read_bytes().count(b"1")


def _sectors(data: bytes) -> list[bytes]:
    return [data[at : at + SECTOR] for at in range(0, len(data), SECTOR)]
