"""What is done to a world: each fault a small generator that does something, says for how many seconds, and undoes it.

All chances come from the run's seed. A fault that destroys what nobody else has notes down what it was.
"""

from __future__ import annotations

import errno
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from edge_agent.outbox import Outbox
from protocols.messages import PressRecord, decode_record

from .clock import set_wrong
from .wire import Unruly
from .world import AGENTS, Program, World, calm, reading

Fault = Callable[[World, Random], Iterator[float]]
_A_DISK_FULL = 1 << 16  # bytes that there was room for until then
_YEAR_S = 365 * 86_400.0
_FORGOTTEN_MS = 20_000  # an invitation lasts eight seconds, and its press may be kept a little later


def kill(world: World, rng: Random) -> Iterator[float]:
    """kill -9 of one process."""
    names = [*AGENTS, "collector", "broker", "province"]
    world.kill(rng.choices(names, (3, 3, 3, 3, 2, 1))[0], rng.choice((0.0, 0.0, rng.uniform(0, 1))))
    yield 0


def kill_again(world: World, rng: Random) -> Iterator[float]:
    """kill -9 of the same process, again and again while it starts."""
    name = rng.choice((*AGENTS, "collector"))
    for _ in range(rng.randint(3, 8)):
        world.kill(name, 0)
        yield rng.uniform(0.05, 0.6)


def kill_all(world: World, rng: Random) -> Iterator[float]:
    """All at once."""
    for name in (*AGENTS, "collector", "broker", "province"):
        world.kill(name, rng.uniform(0, 1.5))
    yield 0


def freeze(world: World, rng: Random) -> Iterator[float]:
    """SIGSTOP, and SIGCONT after a while: a machine that swaps, a guest that is moved."""
    program = world.programs[rng.choice((*AGENTS, "collector", "broker", "province"))]
    program.tell(signal.SIGSTOP)
    yield rng.choice((rng.uniform(0.1, 1), rng.uniform(1, 7)))
    program.tell(signal.SIGCONT)


def cut(world: World, rng: Random) -> Iterator[float]:
    """The network is cut: everybody hears it."""
    yield from _wire_is(world, rng, "cut")


def silent(world: World, rng: Random) -> Iterator[float]:
    """Half-open: the connection stands, and nothing comes through."""
    yield from _wire_is(world, rng, "silent")


def slow(world: World, rng: Random) -> Iterator[float]:
    """Ten kilobytes a second."""
    yield from _wire_is(world, rng, "slow")


def reset(world: World, rng: Random) -> Iterator[float]:
    """Connections break, several times."""
    wire = world.wires[rng.choice(sorted(world.wires))]
    for _ in range(rng.randint(1, 4)):
        world.net.reset(wire)
        yield rng.uniform(0.05, 0.5)


def unruly(world: World, rng: Random) -> Iterator[float]:
    """MQTT messages up to five times, shuffled, late; and some are answered for and never arrive."""
    names = [name for name in sorted(world.wires) if name != "province"]
    wires = [world.wires[name] for name in rng.sample(names, rng.randint(1, len(names)))]
    for wire in wires:
        wire.unruly = Unruly(lost=rng.choice((0, 0.1)), copied=rng.random(), late=rng.random(), late_s=3 * rng.random())
    yield rng.uniform(2, 8)
    for wire in wires:
        calm(wire)


def full(world: World, rng: Random) -> Iterator[float]:
    """A disk is full, and has room again. One that was full already, by another fault, is no cycle of its own."""
    name = rng.choices((*AGENTS, "collector"), (1, 1, 1, 2))[0]
    ballast, began_ms = world.store_of(name).parent / f"ballast-{rng.random()}", 0
    try:
        with ballast.open("wb", buffering=0) as file:
            for step in (1 << 16, 1 << 12, 1):
                _write_until_full(file, bytes(step))
        began_ms = _now_ms() if ballast.stat().st_size >= _A_DISK_FULL else 0
    except OSError:
        pass  # read-only just now
    yield rng.uniform(0.5, 5)
    ended_ms = _now_ms()
    _thrown_away(ballast)
    if began_ms and shutil.disk_usage(ballast.parent).free:
        world.full_spans.append((name, began_ms, ended_ms))


def read_only(world: World, rng: Random) -> Iterator[float]:
    """A program starts on a disk that cannot be written, which is put right later."""
    name = rng.choice((*AGENTS, "collector"))
    folder = world.store_of(name).parent
    for flag, stays_s in (("ro", rng.uniform(0.5, 4)), ("rw", 0)):
        with _down(world, name):
            # Busy while somebody else looks into it: then it stays as it is.
            subprocess.run(["mount", "-o", f"remount,{flag}", str(folder)], check=False, capture_output=True)
        yield stays_s


def clock(world: World, rng: Random) -> Iterator[float]:
    """A wall clock at 1970, a year off, some minutes back, or running away."""
    file = world.folder / f"{rng.choice((*AGENTS, 'collector'))}.clock"
    wrong_s = rng.choice((-time.time(), -_YEAR_S, _YEAR_S, -rng.uniform(1, 900), rng.uniform(1, 900), 0.0))
    set_wrong(file, wrong_s, rng.choice((0.0, 0.0, 0.5, -0.5, 20.0)))
    yield rng.uniform(1, 8)
    set_wrong(file, 0)


def deleted(world: World, rng: Random) -> Iterator[float]:
    """Somebody deletes an agent's file."""
    agent = rng.choice(AGENTS)
    with _down(world, agent):
        _destroyed(world, agent, None)
    yield 0


def older(world: World, rng: Random) -> Iterator[float]:
    """An agent's file is replaced by a copy of a while ago."""
    agent = rng.choice(AGENTS)
    copy = world.folder / f"{agent}-{rng.random()}.copy"
    if not _copied(world.store_of(agent), copy):
        return
    yield rng.uniform(1, 10)
    with _down(world, agent):
        _destroyed(world, agent, copy)
    copy.unlink()


def twin(world: World, rng: Random) -> Iterator[float]:
    """A second PC is made from an image of the first: two agents with one identity."""
    agent = rng.choice(AGENTS)
    folder = world.folder / f"twin-{rng.random()}"
    folder.mkdir()
    if not _copied(world.store_of(agent), folder / "outbox.db"):
        return
    settings = world.twin_settings(agent, folder)
    second = Program("twin", world.shifted(agent, "edge_agent", settings), folder, world.folder / "twin.log")
    second.start()
    yield rng.uniform(2, 8)
    second.stop()


def restored(world: World, rng: Random) -> Iterator[float]:
    """The ledger is restored from a backup."""
    ledger = world.store_of("collector")
    copy = world.folder / f"ledger-{rng.random()}.copy"
    taken_ms = _now_ms()
    if not _copied(ledger, copy):
        return
    yield rng.uniform(1, 10)
    with _down(world, "collector"):
        _restored(world, copy, taken_ms)
    copy.unlink()


KILLS: dict[str, tuple[Fault, int]] = {"kill": (kill, 12), "kill_again": (kill_again, 2), "kill_all": (kill_all, 1)}
OTHERS: dict[str, tuple[Fault, int]] = {
    "freeze": (freeze, 4),
    "cut": (cut, 3),
    "silent": (silent, 2),
    "slow": (slow, 2),
    "reset": (reset, 3),
    "unruly": (unruly, 4),
    "clock": (clock, 4),
    "full": (full, 4),
    "read_only": (read_only, 1),
    "deleted": (deleted, 1),
    "older": (older, 1),
    "twin": (twin, 1),
    "restored": (restored, 1),
}
ON_A_DISK = ("full", "read_only")


# ---- small things


class _down:
    """The program is kept down while its files are changed."""

    def __init__(self, world: World, name: str):
        self._world, self._name = world, name

    def __enter__(self) -> None:
        self._world.programs[self._name].held += 1
        self._world.kill(self._name, 0)

    def __exit__(self, *_: object) -> None:
        self._world.programs[self._name].held -= 1


def _wire_is(world: World, rng: Random, mode: str) -> Iterator[float]:
    wire = world.wires[rng.choice(sorted(world.wires))]
    world.net.set(wire, mode)
    yield rng.choice((rng.uniform(0.2, 1.5), rng.uniform(1.5, 8)))
    world.net.set(wire, "good")


def _write_until_full(file, piece: bytes) -> None:
    try:
        while True:
            file.write(piece)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def _thrown_away(ballast: Path) -> None:
    try:
        ballast.unlink(missing_ok=True)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        # Whoever makes room on a disk that has become read-only meanwhile puts that right first.
        subprocess.run(["mount", "-o", "remount,rw", str(ballast.parent)], check=False, capture_output=True)
        ballast.unlink(missing_ok=True)


def _destroyed(world: World, agent: str, copy: Path | None) -> None:
    """The agent's file goes, and this copy takes its place. What was in it and nowhere else may be missing."""
    store = world.store_of(agent)
    try:
        waiting = _presses_in(store, agent)
        kept = _presses_in(copy, agent) if copy is not None else {}
    except sqlite3.Error:
        return  # it cannot be read just now, so nobody would know what is destroyed
    if _replaced(store, copy):
        world.gone.presses |= {press for body, press in waiting.items() if body not in kept and press is not None}
        world.gone.spans.append((agent, _now_ms() - _FORGOTTEN_MS, _now_ms()))


def _restored(world: World, copy: Path, taken_ms: int) -> None:
    ledger = world.store_of("collector")
    try:
        now, then = _records_in(ledger), _records_in(copy)
        agents = _agents_in(ledger)
    except sqlite3.Error:
        return
    if _replaced(ledger, copy):
        world.gone.records |= now.keys() - then.keys()
        world.gone.agents |= agents
        world.gone.presses |= {press for key, press in now.items() if key not in then and press is not None}
        world.gone.spans.append(("", taken_ms - _FORGOTTEN_MS, _now_ms()))


def _replaced(store: Path, copy: Path | None) -> bool:
    """Whether it could be done: a disk may be full or read-only just now."""
    draft = store.with_name("draft")
    try:
        if copy is not None:
            shutil.copyfile(copy, draft)
        for suffix in ("", "-wal", "-shm", "-journal"):
            store.with_name(store.name + suffix).unlink(missing_ok=True)
        if copy is not None:
            draft.rename(store)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EROFS):
            raise
        if error.errno == errno.ENOSPC:
            draft.unlink(missing_ok=True)
        return False
    return True


def _presses_in(path: Path, agent: str) -> dict[str, tuple[str, int, int] | None]:
    """The records that wait in this outbox, and the press of each that is one."""
    if not path.exists() or not path.stat().st_size:
        return {}
    box = Outbox(path, agent, 0, look_only=True)
    try:
        bodies = [row["body"] for row in box.records()]
    finally:
        box.close()
    return {body: _press_of(body.encode()) for body in bodies}


def _records_in(ledger: Path) -> dict[tuple[str, int], tuple[str, int, int] | None]:
    with reading(ledger) as db:
        rows = db.execute("SELECT epoch, seq, body FROM record JOIN epoch ON epoch.id = epoch_id").fetchall()
    return {(epoch, seq): _press_of(body) for epoch, seq, body in rows}


def _agents_in(ledger: Path) -> dict[str, str]:
    with reading(ledger) as db:
        return dict(db.execute("SELECT epoch, agent FROM epoch"))


def _press_of(body: bytes) -> tuple[str, int, int] | None:
    record = decode_record(body)
    return (record.device, record.boot, record.count) if isinstance(record, PressRecord) else None


def _copied(store: Path, copy: Path) -> bool:
    """A copy as a backup program makes it, while its owner goes on; False where it cannot be read just now."""
    try:
        with reading(store) as db:
            target = sqlite3.connect(copy)
            try:
                db.backup(target)
            finally:
                target.close()
    except sqlite3.Error:
        copy.unlink(missing_ok=True)
        return False
    return True


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
