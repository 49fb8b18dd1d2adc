"""All that survives the guest: broker, province, panels with their citizens, and the truth that they write down."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

from firmware_sim.verdict import KEYS, PREFIX
from tests.brokers import Mosquitto
from tests.torture.wire import free_ports
from tests.torture.world import Program

from .machine import HOST, Cuttable

AGENT = "hall-1"
WINDOWS = ("1", "2", "3")
DOOR, WEB = 8610, 8611  # in the guest
_MORNING_S = 4 * 3600  # longer than any round; it is called off
_UP_S = 60.0


class Hall:
    """One run in `folder`, which is empty; the guest's programs find it under `machine.HOST`."""

    def __init__(self, folder: Path, seed: int, per_window_per_s: float = 1.0):
        self.folder, self.seed = folder, seed
        self.truth = folder / "truth.jsonl"
        self.province_journal = folder / "province.jsonl"
        self._per_window_per_s = per_window_per_s
        self._users = {"collector": f"c-{seed}", AGENT: f"a-{seed}"}
        broker, self._province_port, door, web = free_ports(4)
        self.ports = {DOOR: door, WEB: web}
        self._broker = Mosquitto(folder / "broker", self._users)
        self._broker.port = broker
        self._programs: dict[str, Program] = {}

    def up(self) -> None:
        """Everything runs; citizens come as soon as the guest answers."""
        self._broker.start()
        journal = ["--key-file", "province.json", "--journal", self.province_journal.name]
        self._start("province", ["province", *journal, "--port", str(self._province_port)])
        self._until(lambda: (self.folder / "province.json").exists())
        for name, port in (("agent.port", self.ports[DOOR]), ("collector.port", self.ports[WEB])):
            (self.folder / name).write_text(str(port), "utf-8")
        hall = {
            "seed": self.seed,
            "seconds": _MORNING_S,
            "faults": "",
            "per_window_per_s": self._per_window_per_s,
            "windows": {f"{AGENT}/{window}": _device(window) for window in WINDOWS},
            "doors": {AGENT: "agent.port"},
            "door_token": f"d-{self.seed}",
            "collector": "collector.port",
            "collector_token": f"w-{self.seed}",
        }
        (self.folder / "hall.json").write_text(json.dumps(hall), "utf-8")
        self._start("morning", ["morning", "hall.json"])
        self._until(lambda: all(self._panel(window).is_symlink() for window in WINDOWS))

    def down(self) -> None:
        """Nothing of it runs when this returns."""
        for program in reversed(self._programs.values()):
            program.stop()
        self._broker.stop()

    def call_off(self) -> None:
        """No new citizens; those at the windows finish."""
        self._programs["morning"].tell(signal.SIGTERM)

    def over(self) -> bool:
        """Whether everybody has gone home."""
        return not self._programs["morning"].running

    # ---- what of it the guest needs

    def settings(self) -> dict[str, str]:
        """Files by their path in the guest."""
        keys = json.loads((self.folder / "province.json").read_text("utf-8"))
        province = f"http://{HOST}:{self._province_port}/hcp"
        return {
            "/run/edge_agent.toml": _AGENT_TOML.format(
                windows="".join(_window(window) for window in WINDOWS),
                broker=self._broker.port,
                password=self._users[AGENT],
                door=DOOR,
                seed=self.seed,
            ),
            "/run/collector.toml": _COLLECTOR_TOML.format(
                broker=self._broker.port,
                password=self._users["collector"],
                province=province,
                web=WEB,
                seed=self.seed,
                **keys,
            ),
            "/run/directory.toml": "".join(_placed(window) for window in WINDOWS),
        }

    def plug(self, machine: Cuttable) -> None:
        """Every panel at a USB socket of its own."""
        for window in WINDOWS:
            machine.plug_panel(f"panel-{window}", window, self._panel(window))

    def _panel(self, window: str) -> Path:
        return self.folder / f"panel-{_device(window)}"

    def _start(self, name: str, words: list[str]) -> None:
        command = [sys.executable, "-m", "firmware_sim", *words]
        self._programs[name] = Program(name, command, self.folder, self.folder / f"{name}.log")
        self._programs[name].start()

    def _until(self, ready) -> None:
        deadline_s = time.monotonic() + _UP_S
        while not ready():
            dead = [name for name, program in self._programs.items() if not program.running]
            if dead or time.monotonic() > deadline_s:
                raise RuntimeError(f"没有启动 / did not start: {dead or list(self._programs)[-1]}, {self.folder}")
            time.sleep(0.02)


def _device(window: str) -> str:
    return f"D100{window}"


def _window(window: str) -> str:
    return f'[[windows]]\nid = "{window}"\ndevice = "{_device(window)}"\nport = "usb:1-{window}"\n'


def _placed(window: str) -> str:
    keys = ", ".join(f'{button} = "{level}"' for button, level in enumerate(KEYS, 1))
    return (
        f'[[windows]]\nagent = "{AGENT}"\nwindow = "{window}"\nhall = "示例大厅"\nnumber = "10{window}"\n'
        f'device = "{_device(window)}"\nkeys = {{ {keys} }}\n\n'
    )


_AGENT_TOML = f"""
agent = "{AGENT}"
{{windows}}
[outbox]
path = "/disk/agent/outbox.db"
[uplink]
host = "{HOST}"
port = {{broker}}
password = "{{password}}"
receipt_wait_ms = 1000
health_every_s = 5
keepalive_s = 10
[door]
host = "0.0.0.0"
port = {{door}}
token = "d-{{seed}}"
"""

_COLLECTOR_TOML = f"""
directory = "/run/directory.toml"
[ledger]
path = "/disk/centre/ledger.db"
[details]
key_file = "/disk/centre/details.key"
[broker]
host = "{HOST}"
port = {{broker}}
password = "{{password}}"
keepalive_s = 10
[province]
dialect = "txnbody"
case_url = "{{province}}/case"
offline_rating_url = "{{province}}/offline-rating"
app_mark = "{{app_mark}}"
app_word = "{{app_word}}"
public_key = "{{public_hex}}"
data_source = "165"
province_prefix = "{PREFIX}"
timeout_s = 3
[web]
host = "0.0.0.0"
port = {{web}}
token = "w-{{seed}}"
"""
