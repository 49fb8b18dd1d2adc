"""A province in small, of real processes: broker, province, collector, agents with panels on ptys; every way between
them is a wire, every store is a disk of its own, and every clock can be set.

What ends is started again, as a service manager would.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.details import beside
from firmware_sim.demo import PANEL_FAULTS, PROVINCE_FAULTS, device_of, placed
from firmware_sim.verdict import PREFIX
from tests.brokers import Mosquitto

from .clock import set_wrong
from .wire import Net, Unruly, Wire, free_ports

ROOT = Path(__file__).parent.parent.parent
AGENTS = ("hall-1", "hall-2", "hall-3")
WINDOWS = ("1", "2", "3")
_AGENT_DISK, _CENTRE_DISK = "8m", "64m"
_AGAIN_S = 0.5
_UP_S = 20.0
PressKey = tuple[str, int, int]


class Program:
    """One process; killed, frozen, kept down, and started again when it ended."""

    def __init__(self, name: str, command: list[str], folder: Path, log: Path):
        self.name = name
        self.held = 0
        """So many faults need it down."""
        self.again_at_s = 0.0
        self.log = log
        self._command, self._folder = command, folder
        self.process: subprocess.Popen[bytes] | None = None
        self._ended = True

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self._folder,
                process_group=0,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
            )
        self._ended = False

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self, away_s: float = 0.0) -> bool:
        """kill -9; whether there was anything to kill. It stays away for so long."""
        self.again_at_s = time.monotonic() + away_s
        if not self.running or self.process is None:
            return False
        self.process.kill()
        self.process.wait()
        self._ended = True
        return True

    def tell(self, number: signal.Signals) -> None:
        if self.running and self.process is not None:
            self.process.send_signal(number)

    def stop(self) -> None:
        self.held += 1
        self.tell(signal.SIGCONT)
        self.tell(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self.process is not None:
                self.process.wait(10)
        self.kill()

    def become(self, command: list[str]) -> None:
        """Run this instead, from now on."""
        self._command = command
        self.kill()

    def look(self, now_s: float) -> str:
        """Start it again if that is due; its last word if it has just ended by itself."""
        if self.running:
            return ""
        said = ""
        if not self._ended:
            self._ended = True
            self.again_at_s = now_s + _AGAIN_S
            said = _last_word(self.log)
        if not self.held and now_s >= self.again_at_s:
            self.start()
        return said


@dataclass
class Gone:
    """What was destroyed by hand, and may therefore be missing; it has to be named all the same."""

    presses: set[PressKey] = field(default_factory=set)
    records: set[tuple[str, int]] = field(default_factory=set)
    """(epoch, number) that a ledger once had."""
    agents: dict[str, str] = field(default_factory=dict)
    """Whose each of these epochs is: the ledger may not know it any more."""
    spans: list[tuple[str, int, int]] = field(default_factory=list)
    """Agent (empty: all), from, until: whoever was asked in that time may have been forgotten."""


class World:
    """One run in `folder`, which is empty."""

    def __init__(self, folder: Path, seed: int, seconds: int):
        self.folder, self.seed, self.seconds = folder, seed, seconds
        self.net = Net()
        self.programs: dict[str, Program] = {}
        self.wires: dict[str, Wire] = {}
        self.kills: Counter[str] = Counter()
        self.gone = Gone()
        self.ends: Counter[str] = Counter()
        """What programs said when they ended by themselves."""
        self.full_spans: list[tuple[str, int, int]] = []
        """Whose disk was full, from when until when (ms); each is one cycle of full and free again."""
        self.disks: list[Path] = []
        self._ports = free_ports(len(AGENTS) * 2 + 2)
        self._disk("centre", _CENTRE_DISK)
        for agent in AGENTS:
            self._disk(agent, _AGENT_DISK)

    # ---- up and down

    def up(self) -> None:
        for name in (*AGENTS, "collector"):
            set_wrong(self.folder / f"{name}.clock", 0)
        users = {"collector": f"c-{self.seed}", **{agent: f"{agent}-{self.seed}" for agent in AGENTS}}
        self.broker = Mosquitto(self.folder / "broker", users)
        self.broker.port = next(self._ports)
        (self.folder / "broker").mkdir()
        self._program("broker", self.broker._command(), self.folder / "broker").start()
        self._province()
        for name in (*AGENTS, "collector"):
            self.wires[name] = self.net.wire(self.broker.port, True, f"{self.seed}/{name}")
        self._collector(users["collector"])
        doors = {agent: next(self._ports) for agent in AGENTS}
        for agent in AGENTS:
            self._agent(agent, users[agent], doors[agent])
        self._hall(doors)

    def down(self) -> None:
        for name in ("morning", *AGENTS, "collector", "province", "broker"):
            if name in self.programs:
                self.programs[name].stop()
        self.net.close()

    def unmount(self) -> None:
        """Let go of the disks, and of all that is on them."""
        while self.disks:
            subprocess.run(["umount", "--lazy", str(self.disks.pop())], check=False, capture_output=True)

    def look(self) -> None:
        """Start again what has ended."""
        now_s = time.monotonic()
        for program in self.programs.values():
            if program.name == "morning":
                continue
            said = program.look(now_s)
            if said:
                self.ends[f"{program.name}: {said}"] += 1

    def kill(self, name: str, away_s: float) -> None:
        """kill -9."""
        if self.programs[name].kill(away_s):
            self.kills[name] += 1

    def mend_province(self) -> None:
        """It does its work from now on. What it took stays, and what it refused comes again."""
        self.programs["province"].become(self._behaving)

    # ---- what is where

    def store_of(self, name: str) -> Path:
        """The database of an agent or the collector."""
        return self.folder / ("centre/ledger.db" if name == "collector" else f"{name}/outbox.db")

    def twin_settings(self, agent: str, folder: Path) -> Path:
        """A second PC with this agent's name and files, and no panels."""
        text = (self.folder / f"{agent}.toml").read_text("utf-8")
        text = text.replace(str(self.folder / "panel-"), str(folder / "nothing-"))
        text = text.replace(str(self.store_of(agent)), str(folder / "outbox.db"))
        text = text.split("[door]")[0]
        file = folder / "agent.toml"
        file.write_text(text, "utf-8")
        return file

    # ---- when it is over

    def begun(self) -> bool:
        """Whether the first citizen has come."""
        return (self.folder / "truth.jsonl").exists()

    def over(self) -> bool:
        """Whether everybody has gone home."""
        return not self.programs["morning"].running

    def waiting(self) -> dict[str, int]:
        """What is still on its way, by where; empty when nothing is."""
        left = {}
        for agent in AGENTS:
            left[agent] = _count(self.store_of(agent), "SELECT count(*) FROM record")
            details = beside(self.store_of(agent))
            left[f"{agent} details"] = _count(details, "SELECT count(*) FROM details") if details.exists() else 0
        left["collector"] = _count(self.store_of("collector"), "SELECT count(*) FROM rating WHERE state = 'due'")
        return {where: count for where, count in left.items() if count}

    # ---- parts

    def _disk(self, name: str, size: str) -> None:
        path = self.folder / name
        path.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path)], check=False, capture_output=True
        )
        if done.returncode == 0:
            self.disks.append(path)

    def _program(self, name: str, command: list[str], folder: Path) -> Program:
        self.programs[name] = Program(name, command, folder, self.folder / f"{name}.log")
        return self.programs[name]

    def _province(self) -> None:
        wrongs = [word for fault in PROVINCE_FAULTS for word in ("--misbehave", fault)]
        port = next(self._ports)
        options = ["--key-file", "province.json", "--journal", "province.jsonl", "--port", str(port)]
        slow = ["--slow-ms", "800", "--stall-ms", "3000", "--seed", str(self.seed)]
        self._behaving = [sys.executable, "-m", "firmware_sim", "province", *options, *slow]
        program = self._program("province", [*self._behaving, *wrongs], self.folder)
        program.start()
        self._await(lambda: (self.folder / "province.json").exists(), program)
        self.wires["province"] = self.net.wire(port, False, f"{self.seed}/province")

    def _collector(self, password: str) -> None:
        keys = json.loads((self.folder / "province.json").read_text("utf-8"))
        to_province = f"http://127.0.0.1:{self.wires['province'].port}/hcp"
        self._write(
            "collector.toml",
            f"""
directory = "{self.folder}/directory.toml"
[ledger]
path = "{self.store_of("collector")}"
[broker]
host = "127.0.0.1"
port = {self.wires["collector"].port}
password = "{password}"
keepalive_s = 5
[province]
dialect = "txnbody"
case_url = "{to_province}/case"
offline_rating_url = "{to_province}/offline-rating"
app_mark = "{keys["app_mark"]}"
app_word = "{keys["app_word"]}"
public_key = "{keys["public_hex"]}"
data_source = "165"
province_prefix = "{PREFIX}"
timeout_s = 2
[web]
port = 0
port_file = "{self.folder}/collector.port"
token = "w-{self.seed}"
""",
        )
        self._write("directory.toml", "".join(placed(agent, window) for agent in AGENTS for window in WINDOWS))
        made = [sys.executable, "-m", "collector", "key", "--config", "collector.toml"]
        self._details_key = subprocess.run(made, cwd=self.folder, capture_output=True, check=True, text=True).stdout
        program = self._program("collector", self.shifted("collector", "collector"), self.folder)
        program.start()
        self._await(lambda: (self.folder / "collector.port").exists(), program)

    def shifted(self, name: str, package: str, settings: Path | None = None) -> list[str]:
        """The command that runs a package by the clock of `name`."""
        clock, file = self.folder / f"{name}.clock", settings or self.folder / f"{name}.toml"
        return [sys.executable, "-m", "tests.torture.clock", str(clock), package, "run", "--config", str(file)]

    def _agent(self, agent: str, password: str, door: int) -> None:
        windows = "".join(
            f'[[windows]]\nid = "{window}"\ndevice = "{device_of(agent, window)}"\n'
            f'port = "{self.folder / f"panel-{device_of(agent, window)}"}"\n'
            for window in WINDOWS
        )
        self._write(
            f"{agent}.toml",
            f"""
agent = "{agent}"
{windows}
[outbox]
path = "{self.store_of(agent)}"
[uplink]
host = "127.0.0.1"
port = {self.wires[agent].port}
password = "{password}"
receipt_wait_ms = 500
health_every_s = 2
keepalive_s = 5
[door]
port = {door}
token = "d-{self.seed}"
[details]
key = "{self._details_key.strip()}"
""",
        )
        self._write(f"{agent}.port", str(door))
        self._program(agent, self.shifted(agent, "edge_agent"), self.folder).start()

    def _hall(self, doors: dict[str, int]) -> None:
        hall = {
            "seed": self.seed,
            "seconds": self.seconds,
            "faults": PANEL_FAULTS,
            "per_window_per_s": 0.5,
            "windows": {f"{agent}/{window}": device_of(agent, window) for agent in AGENTS for window in WINDOWS},
            "doors": {agent: f"{agent}.port" for agent in doors},
            "door_token": f"d-{self.seed}",
            "collector": "collector.port",
            "collector_token": f"w-{self.seed}",
            "sealed": 0.5,
        }
        self._write("hall.json", json.dumps(hall))
        self._program("morning", [sys.executable, "-m", "firmware_sim", "morning", "hall.json"], self.folder).start()

    def _await(self, ready, program: Program) -> None:
        deadline_s = time.monotonic() + _UP_S
        while not ready():
            if not program.running or time.monotonic() > deadline_s:
                raise RuntimeError(f"{program.name} 没有启动 / did not start: {_last_word(program.log)}")
            time.sleep(0.02)

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text.lstrip(), "utf-8")


def calm(wire: Wire) -> None:
    """Every message once, in order, at once."""
    wire.unruly = Unruly()


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A database beside the program that owns it."""
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)
    try:
        yield db
    finally:
        db.close()


def _count(path: Path, sql: str) -> int:
    """So many rows; a file that cannot be read just now counts as one that has work."""
    try:
        with reading(path) as db:
            return int(db.execute(sql).fetchone()[0])
    except sqlite3.Error:
        return 1


def _last_word(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    return lines[-1][:160] if lines else "?"
