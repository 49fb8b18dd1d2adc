"""What the machine itself can do, with as little of ours in between as possible: each line's own bound."""

from __future__ import annotations

import os
import pty
import secrets
import select
import socket
import sqlite3
import subprocess
import sys
import time
import tty
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from protocols import sm2
from tests.bench.table import PYTHON, python_environment
from tests.brokers import ROOT, USERS, Mosquitto

BLOCK = b"x" * 4096


def timed(action: Callable[[], Any], count: int) -> list[float]:
    """How many ms each of `count` calls takes, in ascending order."""
    took = []
    for _ in range(count):
        started = time.perf_counter()
        action()
        took.append((time.perf_counter() - started) * 1000)
    return sorted(took)


def note(text: str) -> None:
    """One line on standard error, over the last one where a person looks on."""
    start, end = ("\r", "\x1b[K") if sys.stderr.isatty() else ("", "\n")
    print(f"{start}{text}{end}", end="", file=sys.stderr, flush=True)


def quantile(ordered: list[float], share: float) -> float:
    """The value below or at which this share lies."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def per_second(action: Callable[[], Any], seconds: float) -> float:
    """How often `action` can be done a second."""
    count, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        action()
        count += 1
    return count / elapsed


def disk(folder: Path) -> dict[str, float]:
    """Appends of 4 KiB, each with fdatasync."""
    file = os.open(folder / "appends", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:

        def append() -> None:
            os.write(file, BLOCK)
            os.fdatasync(file)

        took = timed(append, 300)
    finally:
        os.close(file)
    return {
        "sync_p50": quantile(took, 0.5),
        "sync_p99": quantile(took, 0.99),
        "syncs": 1000 * len(took) / sum(took),
    }


_ECHO = "import os, sys\nwhile data := os.read(0, 4096): os.write(1, data)"


def line(_folder: Path) -> dict[str, float]:
    """A frame's length through a pty to another Python process and back."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    process = subprocess.Popen([PYTHON, "-c", _ECHO], stdin=slave, stdout=slave)
    frame = b"$PRESS,D0217,12,7,1,35*D9F7\r\n"

    def there_and_back() -> None:
        os.write(master, frame)
        got = 0
        while got < len(frame):
            got += len(os.read(master, 4096))

    try:
        there_and_back()  # it has started
        took = timed(there_and_back, 300)
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)
    return {"pty_p50": quantile(took, 0.5), "pty_p99": quantile(took, 0.99)}


def broker(folder: Path) -> dict[str, float]:
    """A message of a press's size through mosquitto to another client: QoS 1, paho, TCP_NODELAY, one thread."""
    with Mosquitto(folder / "bare-broker") as running:
        sender, receiver = (_client(running.port, name) for name in ("sender", "receiver"))
        heard: list[bytes] = []
        receiver.on_message = lambda _client, _userdata, message: heard.append(bytes(message.payload))
        receiver.subscribe("hcp/v1/agent-a/batch", qos=1)
        _spin([sender, receiver], 0.2)

        def there() -> None:
            heard.clear()
            sender.publish("hcp/v1/agent-a/batch", b"x" * 500, qos=1)
            while not heard:
                _spin([sender, receiver], 0)

        took = timed(there, 300)
        for client in (sender, receiver):
            client.disconnect()
    return {"mqtt_p50": quantile(took, 0.5), "mqtt_p99": quantile(took, 0.99)}


def _client(port: int, name: str) -> mqtt.Client:
    user = "agent-a" if name == "sender" else "collector"
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name)
    client.username_pw_set(user, USERS[user])
    client.on_socket_open = _no_delay
    client.connect("127.0.0.1", port)
    _spin([client], 0.1)
    return client


def _spin(clients: list[mqtt.Client], seconds: float) -> None:
    """Serve the clients for so long; 0: until something came."""
    end = time.perf_counter() + seconds
    while True:
        socks: dict[Any, mqtt.Client] = {client.socket(): client for client in clients}
        readable, _, _ = select.select(list(socks), [], [], max(0.0, end - time.perf_counter()) if seconds else 1.0)
        for sock in readable:
            socks[sock].loop_read()
        for client in clients:
            while client.want_write():
                client.loop_write()
        if time.perf_counter() >= end:
            return


def _no_delay(_client: Any, _userdata: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def paced_commits(folder: Path) -> dict[str, float]:
    """The same commits as `database`, ten a second: a disk that was left alone for a while answers later."""
    db = sqlite3.connect(folder / "paced.db", isolation_level=None)
    took = []
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE record(seq INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        for _ in range(40):
            time.sleep(0.1)
            took += timed(lambda: db.execute("INSERT INTO record(body) VALUES (?)", (b"x" * 400,)), 1)
    finally:
        db.close()
    took.sort()
    return {"paced_p50": quantile(took, 0.5), "paced_max": took[-1]}


def database(folder: Path) -> dict[str, float]:
    """Commits of one row of a press's size: SQLite, WAL, synchronous = FULL."""
    db = sqlite3.connect(folder / "bare.db", isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE record(seq INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        body = b"x" * 400
        took = timed(lambda: db.execute("INSERT INTO record(body) VALUES (?)", (body,)), 500)
    finally:
        db.close()
    return {"commits": 1000 * len(took) / sum(took)}


def rows(folder: Path) -> dict[str, float]:
    """Rows a second in transactions of 1,000, in the ledger's shape: what SQLite does, without a meaning."""
    db = sqlite3.connect(folder / "rows.db", isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE record(seq INTEGER PRIMARY KEY, body BLOB NOT NULL, hash BLOB NOT NULL)")
        some = [(b"x" * 400, b"h" * 32)] * 1000

        def thousand() -> None:
            db.execute("BEGIN")
            db.executemany("INSERT INTO record(body, hash) VALUES (?,?)", some)
            db.execute("COMMIT")

        return {"rows": 1000 * per_second(thousand, 0.5)}
    finally:
        db.close()


def chain(_folder: Path) -> dict[str, float]:
    """SHA-256 links a second over records of 400 bytes, and nothing else."""
    body, head = b"x" * 400, b"h" * 32

    def links() -> None:
        nonlocal head
        for _ in range(1000):
            head = sha256(head + body).digest()

    return {"links": 1000 * per_second(links, 0.3)}


def start(_folder: Path) -> dict[str, float]:
    """A Python that does nothing, from its start to its end."""
    bare = timed(lambda: python("pass"), 5)
    return {"python_ms": quantile(bare, 0.5)}


def python(code: str) -> None:
    """Run this code in a new Python."""
    subprocess.run([PYTHON, "-c", code], check=True, cwd=ROOT, env=python_environment(ROOT))


def together(*measures: Callable[[Path], dict[str, float]]) -> Callable[[Path], dict[str, float]]:
    """All of these, one after another."""

    def all_of_them(folder: Path) -> dict[str, float]:
        found: dict[str, float] = {}
        for measure in measures:
            found |= measure(folder)
        return found

    return all_of_them


def nothing(_folder: Path) -> dict[str, float]:
    """No limit worth measuring."""
    return {}


def empty_python(_folder: Path) -> dict[str, float]:
    """The resident memory of a Python that does nothing, in MB (10⁶ bytes)."""
    code = "print([line for line in open('/proc/self/status') if line.startswith('VmRSS')][0].split()[1])"
    said = subprocess.run([PYTHON, "-c", code], check=True, capture_output=True, env=python_environment(ROOT)).stdout
    return {"python_rss": int(said) * 1024 / 1e6}


def points(_folder: Path) -> dict[str, float]:
    """What an SM2 encryption cannot do without: two multiplications of a point of its curve, by the library used."""
    secret = secrets.randbits(255)

    def twice() -> None:
        sm2._G * secret
        sm2._G * (secret - 1)

    return {"points": per_second(twice, 0.3)}
