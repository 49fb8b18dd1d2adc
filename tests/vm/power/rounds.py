"""One round: an empty disk, so many cuts at moments that the seed chooses, then everything delivered and compared."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

from firmware_sim.verdict import whole_lines
from tests.vm.guest_machine import GuestFailed, Program
from tests.vm.prepare import Boot

from .drive import HOWS, Drive
from .hall import WINDOWS, Hall
from .judge import judged
from .machine import Cuttable, said

Phase = Literal["mount", "start", "running"]
PHASES: tuple[Phase, ...] = ("mount", "start", "running")
_UP_S = 120.0  # emulated, on a machine that does other things as well
_LONGEST_S = 8.0  # of presses before a cut that waits for a write which does not come
_DRAIN_S = 240.0
FOLDERS = ("agent", "centre")
WAITING = (
    ("/disk/agent/outbox.db", "SELECT count(*) FROM record"),
    ("/disk/centre/ledger.db", "SELECT count(*) FROM rating WHERE state = 'due'"),
)
STARTED = {"collector": "collector started", "edge_agent": "agent started"}


@dataclass(frozen=True)
class FileSystem:
    """What a hall's PC may have on its disk."""

    kind: str
    options: str
    make: tuple[str, ...]
    """The command that makes it, without the image."""
    sector: int = 512
    """What its makers take for granted that a drive writes whole."""
    check: tuple[str, ...] = ()
    """What a boot runs before it mounts: without a question to anybody, or it has failed."""


_EXT4 = ("mke2fs", "-q", "-t", "ext4", "-F")
FILE_SYSTEMS = {
    # As Debian boots. A block of ext4's journal that was written by half is put right by that, and by nothing else.
    "ext4": FileSystem("ext4", "", _EXT4, check=("e2fsck", "-p")),
    "ext4-writeback": FileSystem("ext4", "data=writeback", _EXT4, sector=4096),
    "ext4-journal": FileSystem("ext4", "data=journal", _EXT4, sector=4096),
    "xfs": FileSystem("xfs", "", ("mkfs.xfs", "-q", "-f")),
    # Its superblock is one of 4 KiB with a sum over all of it, written in place.
    "btrfs": FileSystem("btrfs", "", ("mkfs.btrfs", "-q", "-f"), sector=4096),
}
_PUT_RIGHT = 1  # e2fsck(8): errors corrected; more than that wants a person
_SBIN = "/usr/sbin:/sbin:/usr/bin:/bin"
_ENV = {"PATH": _SBIN}
IMAGE_BYTES = 512 << 20  # sparse


@dataclass(frozen=True)
class Cut:
    """When the power goes, and what it leaves."""

    phase: Phase
    """What was begun just before."""
    what: Literal["time", "write", "flush"]
    after: float
    """So many seconds, or the so-manieth write or flush from then on: it does not happen any more."""
    later_s: float
    """Of presses before that is counted from."""
    how: str
    """What becomes of writes that were not flushed."""

    def __str__(self) -> str:
        when = f"{self.after:.2f} s" if self.what == "time" else f"{self.what} {self.after:.0f}"
        return f"{self.phase}{f' + {self.later_s:.1f} s' if self.later_s else ''}, {when}, {self.how}"


def plan(seed: int, number: int) -> Cut:
    """The same for the same seed. The first cuts of a disk are while the programs start for the first time."""
    rng = Random(f"{seed}/cut/{number}")
    phase: Phase = "start" if number < 2 else rng.choices(PHASES, (1, 2, 7))[0]
    what = rng.choice(("time", "write", "flush", "flush"))
    longest_s = {"mount": 0.3, "start": 2.5, "running": 5.0}[phase]
    most = {"mount": 6, "start": 40, "running": 60}[phase]
    after = {"time": rng.uniform(0, longest_s), "write": rng.randint(1, most), "flush": rng.randint(1, most // 2)}[what]
    later_s = rng.uniform(0, 4) if phase == "running" else 0.0
    return Cut(phase, what, after, later_s, rng.choice(HOWS))


@dataclass
class Lived:
    """What one life of the machine came to."""

    cut: Cut
    thanked: int = 0
    """Presses that were thanked in it."""
    pending: int = 0
    """Writes that were not flushed when it ended."""
    left: int = 0
    up_s: float | None = None
    """From the power to both programs; None if it did not come to that."""
    mistakes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Played:
    """What a round came to."""

    file_system: str
    lives: list[Lived]
    pressed: int
    thanked: int
    records: int
    at_province: int
    mistakes: list[str]


class Round:
    """One disk and its hall in `folder`, which is empty."""

    def __init__(self, folder: Path, boot: Boot, state: Path, seed: int, file_system: str, honest: bool = True):
        self.folder, self.seed, self.name = folder, seed, file_system
        self.ends_ms: list[int] = []
        """When the power went, by the wall clock."""
        self._boot, self._state = boot, state
        self._kind = FILE_SYSTEMS[file_system]
        self._socket = folder / "drive"
        self.image = folder / "disk.img"
        made(self.image, self._kind)
        self._drive = Drive(self.image, sector=self._kind.sector)
        self._honest = honest
        self._boots: set[str] = set()
        self._timers: list[threading.Timer] = []
        (folder / "hall").mkdir()
        self.hall = Hall(folder / "hall", seed)

    def play(self, cuts: int, tell: Callable[[int, Lived], None] = lambda *_: None, keep: bool = False) -> Played:
        """So many cuts, and the comparison; after a life that went wrong there is no other."""
        lives: list[Lived] = []
        try:
            self.hall.up()
            self._make_folders()
            self._drive.honest = self._honest
            for number in range(cuts):
                lives.append(self._life(plan(self.seed, number)))
                tell(number, lives[-1])
                if keep:
                    copied(self.image, self.folder / f"cut-{number}.img")
                if lives[-1].mistakes:
                    break
            mistakes = [mistake for life in lives for mistake in life.mistakes]
            mistakes += self._delivered()
        finally:
            self._drive.cut()
            self.hall.down()
        verdict = judged(self.hall, self.folder, self.ends_ms)
        return Played(
            self.name,
            lives,
            verdict.pressed,
            verdict.thanked,
            verdict.records,
            verdict.at_province,
            mistakes + verdict.mistakes,
        )

    def keep_state(self) -> None:
        """Boot, and keep the state of the machine before it knows of any disk."""
        machine = self._machine()
        try:
            machine.keep_state(self._state)
        finally:
            self._end(machine)

    def close(self) -> None:
        """Nothing is left open."""
        self._drive.close()

    # ---- lives

    def _make_folders(self) -> None:
        """As whoever installs it does, long before the first cut."""
        machine = self._machine()
        try:
            self._wake(machine)
            machine.mount(self._kind.kind, self._kind.options, FOLDERS)
            machine.umount()
        finally:
            self._end(machine)

    def _life(self, cut: Cut) -> Lived:
        """From the power until it goes."""
        lived, machine = Lived(cut), self._machine()
        programs: dict[str, Program] = {}
        before, began_s = self._thanked(), time.monotonic()
        try:
            self._wake(machine)
            self._arm(cut, "mount")
            machine.mount(self._kind.kind, self._kind.options)
            programs |= self._start(machine, cut)
            self._until_up(machine, programs)
            lived.up_s = time.monotonic() - began_s
            self._arm(cut, "running")
            machine.until(lambda: _ended(programs) != [], 4 * _LONGEST_S, "cut")
        except (GuestFailed, OSError) as error:
            # That it died is what was meant, wherever it happens to be noticed.
            if not self._drive.off:
                lived.mistakes.append(f"died: {error}")
        lived.mistakes += [f"ended: {each}" for each in _ended(programs)]
        lived.pending, lived.left = self._end(machine, cut.how)
        self.ends_ms.append(time.time_ns() // 1_000_000)
        lived.thanked = self._thanked() - before
        return lived

    def _delivered(self) -> list[str]:
        """A life without a cut, until nothing is on its way; what is wrong with that."""
        machine = self._machine()
        try:
            self._wake(machine)
            machine.mount(self._kind.kind, self._kind.options)
            programs = self._start(machine)
            self._until_up(machine, programs)
            self.hall.call_off()
            left = self._waited(machine)
            for name, program in programs.items():
                if program.stop():
                    left.append(f"stop: {name}: {program.errors[-5:]}")
            for folder in FOLDERS:
                _unpack(machine.fetch(f"/disk/{folder}"), self.folder / folder)
            machine.umount()
        except (GuestFailed, OSError) as error:
            return [f"last start: {error}"]
        finally:
            self._end(machine)
        return left

    def _waited(self, machine: Cuttable) -> list[str]:
        until_s = time.monotonic() + _DRAIN_S
        while time.monotonic() < until_s:
            left = {path: count for path, sql in WAITING if (count := machine.count(path, sql))}
            if self.hall.over() and not left:
                return []
            time.sleep(0.5)
        return [f"stuck: 还没有送达 / not delivered: {left}, {self.hall.over()}"]

    # ---- steps of a life

    def _machine(self) -> Cuttable:
        self._drive.power_on()
        machine = Cuttable(self._boot, self.folder, self._socket, self.hall.ports)
        self._serving = self._drive.serve(self._socket)
        return machine

    def _wake(self, machine: Cuttable) -> None:
        if self._kind.check:
            done = subprocess.run([*self._kind.check, str(self.image)], capture_output=True, text=True, env=_ENV)
            if done.returncode > _PUT_RIGHT:
                raise GuestFailed(f"{self._kind.check}: {done.returncode}: {done.stdout} {done.stderr}")
        machine.power_on(self._state)
        self._drive.on_cut = machine.power_off
        boot = machine.wake()
        assert boot not in self._boots, "两次启动同名 / two starts of the machine have one name"
        self._boots.add(boot)

    def _arm(self, cut: Cut, phase: Phase) -> None:
        """The power will go, if this is the phase."""
        if cut.phase != phase:
            return
        if cut.what == "time":
            self._after(cut.later_s + cut.after, self._drive.cut)
            return
        what, number = cut.what, int(cut.after)
        self._after(cut.later_s, lambda: self._drive.cut_at(what, number))
        self._after(cut.later_s + _LONGEST_S, self._drive.cut)

    def _start(self, machine: Cuttable, cut: Cut | None = None) -> dict[str, Program]:
        for path, text in self.hall.settings().items():
            machine.write(path, text)
        if cut is not None:
            self._arm(cut, "start")
        return {name: machine.start_program([name, "run", "--config", f"/run/{name}.toml"]) for name in STARTED}

    def _until_up(self, machine: Cuttable, programs: dict[str, Program]) -> None:
        machine.until(
            lambda: bool(_ended(programs)) or all(said(programs[name], words) for name, words in STARTED.items()),
            _UP_S,
            "start of both programs",
        )
        if gone := _ended(programs):
            raise GuestFailed("; ".join(gone))
        # Not before: what a panel says to an adapter that nobody reads waits in the adapter, and then seems to be new.
        self.hall.plug(machine)
        agent = programs["edge_agent"]
        machine.until(lambda: bool(_ended(programs)) or said(agent, "cable in", len(WINDOWS)), _UP_S, "cables")

    def _end(self, machine: Cuttable, how: str = "nothing") -> tuple[int, int]:
        """It has no power any more; what its drive had not flushed, and what is left of that."""
        machine.stop()
        self._drive.cut()
        for timer in self._timers:
            timer.cancel()
            timer.join()
        self._timers.clear()
        self._drive.hang_up()
        self._serving.join()
        return self._drive.settle(how, Random(f"{self.seed}/left/{len(self.ends_ms)}"))

    def _after(self, seconds: float, do: Callable[[], None]) -> None:
        self._timers.append(threading.Timer(seconds, do))
        self._timers[-1].start()

    def _thanked(self) -> int:
        return sum(json.loads(line)["what"] == "thanked" for line in whole_lines(self.hall.truth))


def copied(what: Path, to: Path) -> None:
    """A copy that is no larger on this disk than the original."""
    subprocess.run(["cp", "-a", "--sparse=always", str(what), str(to)], check=True)


def can_make(name: str) -> bool:
    """Whether this machine has the program for it."""
    return shutil.which(FILE_SYSTEMS[name].make[0], path=_SBIN) is not None


def made(image: Path, kind: FileSystem) -> None:
    """An image with that file system, and nothing in it."""
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    command = [*kind.make, str(image)]
    done = subprocess.run(command, capture_output=True, text=True, env=_ENV)
    assert done.returncode == 0, f"{command}: {done.stderr}"


def _ended(programs: dict[str, Program]) -> list[str]:
    return [
        f"{name}: {each.returncode}: {each.errors[-40:]}"
        for name, each in programs.items()
        if each.returncode is not None
    ]


def _unpack(files: dict[str, str], folder: Path) -> None:
    folder.mkdir()
    for name, packed in files.items():
        (folder / name).write_bytes(zlib.decompress(base64.b64decode(packed)))
