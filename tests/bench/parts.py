"""The real parts around what is measured: agent, collector and province as processes, a cable, and a listener.

A cable and the listener are served by the measuring thread itself, which takes the time as soon as the system says that
something has come: no second thread keeps it from looking at the clock.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import sqlite3
import subprocess
import time
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from firmware_sim.panel import frame
from protocols.messages import Batch, Receipt, decode, parse_topic
from tests.bench.table import PYTHON, python_environment
from tests.brokers import ROOT, USERS, Mosquitto

AGENT = "agent-a"
WINDOWS = ("1", "2", "3")
TOKEN = "bench"
PREFIX = "37"
_UP_S = 15.0
_KEYS = ("very_satisfied", "satisfied", "basically_satisfied", "dissatisfied", "very_dissatisfied")
_ACK = re.compile(rb"\$ACK,(\w+),1,(\d+)\*")
NOWHERE = 1  # a port at which no broker listens


class Cable:
    """A panel's end of a pty, and the counter of its presses. The host's end is `port`."""

    def __init__(self, device: str):
        self.device = device
        self.count = 0
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.port = os.ttyname(self._slave)
        self._said = b""

    def fileno(self) -> int:
        return self._master

    def close(self) -> None:
        os.close(self._master)
        os.close(self._slave)

    def press(self, button: int = 1) -> int:
        """A press goes over the line; its count."""
        self.count += 1
        self.say(self.count, button)
        return self.count

    def say(self, count: int, button: int = 1) -> None:
        """The frame of press `count`, for the first time or again."""
        os.write(self._master, self.frame_of(count, button))

    def frame_of(self, count: int, button: int = 1) -> bytes:
        return frame("PRESS", self.device, 1, count, button, 0)

    def write(self, data: bytes) -> int:
        """As many of these bytes as the line takes now."""
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0

    def read(self) -> bytes:
        """What the host said by now, whole lines of it."""
        try:
            self._said += os.read(self._master, 65536)
        except BlockingIOError:
            return b""
        whole, end, self._said = self._said.rpartition(b"\n")
        return whole + end

    def acks(self) -> list[int]:
        """The counts of the presses that the host acknowledged by now, in its order."""
        return [int(count) for _, count in _ACK.findall(self.read())]


class Listener:
    """Another subscriber at the broker, in the collector's name, that knows when it heard of which press."""

    def __init__(self, port: int):
        self.seen: dict[tuple[str, int], float] = {}
        """(device, count) → when a batch with this press was heard."""
        self.receipted: list[tuple[int, float]] = []
        """(upto, when a receipt for it was heard)."""
        self._seq: dict[tuple[str, int], int] = {}
        self._heard_s = 0.0
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="listener")
        self._client.username_pw_set("collector", USERS["collector"])
        self._client.on_socket_open = _no_delay
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        granted: list[Any] = []
        self._client.on_subscribe = lambda *answer: granted.append(answer)
        self._client.on_connect = lambda client, *_: client.subscribe([(f"hcp/v1/{AGENT}/{kind}", 1) for kind in KINDS])
        while not granted:
            self._client.loop(0.05)

    def fileno(self) -> int:
        sock: Any = self._client.socket()
        return int(sock.fileno())

    def close(self) -> None:
        self._client.disconnect()

    def read(self, heard_s: float) -> None:
        """Take what has come, at the time given."""
        self._heard_s = heard_s
        self._client.loop_read()
        while self._client.want_write():
            self._client.loop_write()

    def receipt_of(self, press: tuple[str, int]) -> float:
        """When the first receipt that covers this press was heard."""
        seq = self._seq[press]
        return next(heard_s for upto, heard_s in self.receipted if upto >= seq)

    def _on_message(self, _client: Any, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        _, kind = parse_topic(message.topic) or ("", "")
        if kind == "receipt":
            self.receipted.append((decode(bytes(message.payload), Receipt).upto, self._heard_s))
            return
        batch = decode(bytes(message.payload), Batch)
        for seq, body in enumerate(batch.records, batch.first):
            record = json.loads(bytes(body))
            if record["kind"] == "press":
                press = record["device"], record["count"]
                self.seen.setdefault(press, self._heard_s)
                self._seq.setdefault(press, seq)


KINDS = ("batch", "receipt")


class Part:
    """One of our programs as a process of its own; its log is in the folder."""

    def __init__(self, package: str, folder: Path, *options: str):
        self._log = folder / f"{package}.log"
        self._command = [PYTHON, "-m", package, *options]
        self._folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, cwd=self._folder, env=python_environment(ROOT), stdout=log, stderr=log
            )

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)
            self.process = None

    def rss_mb(self) -> float:
        """Resident memory in MB (10⁶ bytes)."""
        status = Path(f"/proc/{self._pid}/status").read_text("utf-8")
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024 / 1e6

    def cpu_s(self) -> float:
        """Seconds of a core used so far, by all its threads, to the nanosecond."""
        threads = Path(f"/proc/{self._pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text("ascii").split()[0]) for thread in threads) / 1e9

    def said(self) -> str:
        return self._log.read_text("utf-8")

    def await_file(self, name: str) -> str:
        """The text of a file that it writes when it is up."""
        path = self._folder / name
        deadline_s = time.monotonic() + _UP_S
        while not path.exists() or not path.read_text("utf-8"):
            if self.process is None or self.process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"did not start:\n{self.said()}")
            time.sleep(0.01)
        return path.read_text("utf-8").strip()

    @property
    def _pid(self) -> int:
        assert self.process is not None
        return self.process.pid


class Wired(Protocol):
    """A device at the end of a cable, and the host's end of it."""

    device: str
    port: str


def agent(folder: Path, cables: Sequence[Wired], broker_port: int, name: str = AGENT, door: bool = False) -> Part:
    """An agent with a window for each cable."""
    windows = "".join(
        f'[[windows]]\nid = "{number}"\ndevice = "{cable.device}"\nport = "{cable.port}"\n'
        for number, cable in enumerate(cables, 1)
    )
    door_table = f'[door]\nport = 0\nport_file = "{name}.port"\ntoken = "{TOKEN}"\n' if door else ""
    (folder / f"{name}.toml").write_text(
        f'agent = "{name}"\n{windows}[outbox]\npath = "{name}.db"\n[uplink]\nhost = "127.0.0.1"\nport = {broker_port}\n'
        f'password = "{USERS[name]}"\n{door_table}',
        "utf-8",
    )
    return Part("edge_agent", folder, "run", "--config", f"{name}.toml")


def collector(folder: Path, devices: Sequence[str], broker_port: int, province: str = "") -> Part:
    """A collector that knows the agent's windows; `province` is its table in the settings."""
    write_directory(folder, devices)
    (folder / "collector.toml").write_text(
        f'[broker]\nhost = "127.0.0.1"\nport = {broker_port}\npassword = "{USERS["collector"]}"\n{province}'
        f'[web]\nport = 0\nport_file = "collector.port"\ntoken = "{TOKEN}"\n',
        "utf-8",
    )
    return Part("collector", folder, "run", "--config", "collector.toml")


def write_directory(folder: Path, devices: Sequence[str]) -> Path:
    """A directory that places these devices at the agent's windows."""
    keys = ", ".join(f'{button} = "{level}"' for button, level in enumerate(_KEYS, 1))
    path = folder / "directory.toml"
    path.write_text(
        "".join(
            f'[[windows]]\nagent = "{AGENT}"\nwindow = "{number}"\nhall = "H"\nnumber = "{number}"\n'
            f'device = "{device}"\nkeys = {{ {keys} }}\n\n'
            for number, device in enumerate(devices, 1)
        ),
        "utf-8",
    )
    return path


def province(folder: Path) -> Part:
    """A province that always does what it should, and writes down what it accepted and when."""
    options = ["--key-file", "province.json", "--journal", "province.jsonl", "--port-file", "province.port"]
    return Part("firmware_sim", folder, "province", *options)


def province_table(folder: Path) -> str:
    """How the collector reaches this province."""
    keys = json.loads((folder / "province.json").read_text("utf-8"))
    port = (folder / "province.port").read_text("utf-8").strip()
    return (
        f'[province]\ndialect = "txnbody"\ncase_url = "http://127.0.0.1:{port}/hcp/case"\n'
        f'offline_rating_url = "http://127.0.0.1:{port}/hcp/offline-rating"\napp_mark = "{keys["app_mark"]}"\n'
        f'app_word = "{keys["app_word"]}"\npublic_key = "{keys["public_hex"]}"\ndata_source = "165"\n'
        f'province_prefix = "{PREFIX}"\n'
    )


@contextmanager
def cables(number: int = len(WINDOWS), series: str = "D") -> Iterator[list[Cable]]:
    """Cables of as many devices."""
    made = [Cable(f"{series}{at:04d}") for at in range(1, number + 1)]
    try:
        yield made
    finally:
        for cable in made:
            cable.close()


@contextmanager
def broker(folder: Path) -> Iterator[Mosquitto]:
    """A real mosquitto with the deployed configuration."""
    with Mosquitto(folder / "broker") as running:
        yield running


def first_ack(cable: Cable, within_s: float = _UP_S) -> None:
    """Repeat one press until it is acknowledged: the agent is up."""
    count, started_s = cable.press(), time.perf_counter()
    while count not in cable.acks():
        if time.perf_counter() - started_s > within_s:
            raise RuntimeError("no ack")
        # Much more often than a panel does, so that the repeating is no part of what is measured.
        if not select.select([cable], [], [], 0.005)[0]:
            cable.say(count)


def asked(path: Path, question: str) -> Any:
    """The first row of a question to a SQLite file, beside the program that owns it."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        return db.execute(question).fetchone()
    finally:
        db.close()


def wait_until(claim: Any, within_s: float, every_s: float = 0.005) -> float:
    """When `claim()` was true for the first time."""
    deadline_s = time.perf_counter() + within_s
    while not claim():
        if time.perf_counter() > deadline_s:
            raise RuntimeError(f"not within {within_s} s")
        time.sleep(every_s)
    return time.perf_counter()


def _no_delay(_client: Any, _userdata: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
