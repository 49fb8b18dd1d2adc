"""Real brokers for tests: each a process of its own on a port of its own, killed and started again at will.

`Mosquitto` runs the deployed configuration and the deployed fences; `Embedded` is the demo's own broker. Both have
`port`, `start()`, `kill()`, `stop()` and are context managers. `Peer` is a real paho client that remembers what it saw.
"""

import json
import os
import re
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Self

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

ROOT = Path(__file__).parent.parent
DEPLOYED = ROOT / "deploy" / "mosquitto"
PATIENCE_S = 15  # for a busy machine, on which a program takes its time to start; what is expected comes at once
USERS = {"collector": "province-1", "agent-a": "hall-a-1", "agent-b": "hall-b-1"}


class _BrokerProcess:
    """A broker as its own process; the same port for all its lives."""

    def __init__(self, folder: Path, users: Mapping[str, str] = USERS):
        self.folder = folder
        self.users = users
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Accepts connections when this returns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = self._command()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        self._wait_until_it_listens()

    def kill(self) -> None:
        """As a power cut would: SIGKILL, nothing said to anybody."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait; does nothing if it does not run."""
        self._end(signal.SIGTERM)

    def said(self) -> str:
        """All it wrote to its standard output and error, in all its lives."""
        return self._log.read_text("utf-8")

    def rss_kib(self) -> int:
        """Its resident memory, in KiB."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    @property
    def _log(self) -> Path:
        return self.folder / "broker.log"

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _end(self, signum: int) -> None:
        if self.process is None:
            return
        self.process.send_signal(signum)
        self.process.wait(timeout=10)
        self.process = None

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the broker ended at once:\n{self.said()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except ConnectionRefusedError:
                time.sleep(0.005)
            else:
                return
        raise RuntimeError(f"the broker does not listen:\n{self.said()}")


class Embedded(_BrokerProcess):
    """The demo's broker, started as the demo starts it."""

    def _command(self) -> list[str]:
        users_file = self.folder / "users.json"
        users_file.write_text(json.dumps(dict(self.users)), "utf-8")
        options = ["--port", str(self.port), "--users-file", str(users_file)]
        return [sys.executable, "-m", "firmware_sim.broker", *options]


class Mosquitto(_BrokerProcess):
    """A real mosquitto with deploy/mosquitto; with `tls`, `ca_file` is what a client has to trust."""

    def __init__(self, folder: Path, users: Mapping[str, str] = USERS, tls: bool = False):
        super().__init__(folder, users)
        self.tls = tls

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.crt"

    def _command(self) -> list[str]:
        password_file = self.folder / "passwd"
        if not password_file.exists():
            self._write_passwords(password_file)
        if self.tls and not self.ca_file.exists():
            make_certificates(self.folder)
        config = self.folder / "mosquitto.conf"
        config.write_text(self._rendered(password_file), "utf-8")
        return [_find("mosquitto"), "-c", str(config)]

    def _write_passwords(self, password_file: Path) -> None:
        lines = [f"{user}:{password}\n" for user, password in self.users.items()]
        password_file.write_text("".join(lines), "utf-8")
        subprocess.run([_find("mosquitto_passwd"), "-U", str(password_file)], check=True)

    def _rendered(self, password_file: Path) -> str:
        tls = {
            "certfile": self.folder / "server.crt" if self.tls else None,
            "keyfile": self.folder / "server.key" if self.tls else None,
            "tls_version": "tlsv1.2" if self.tls else None,
        }
        here = {"listener": f"{self.port} 127.0.0.1", "password_file": password_file, "acl_file": DEPLOYED / "acl"}
        text = render((DEPLOYED / "mosquitto.conf").read_text("utf-8"), here | tls)
        # Started by root, mosquitto becomes the user mosquitto, who cannot look into a test's folder.
        return text + ("user root\n" if os.geteuid() == 0 else "")


def render(config: str, values: Mapping[str, object | None]) -> str:
    """The configuration with these options' values changed, or left out where None; every other line as it was."""
    for option, value in values.items():
        line = "" if value is None else f"{option} {value}\n"
        config, found = re.subn(rf"^{option} .*\n", lambda _, line=line: line, config, flags=re.MULTILINE)
        assert found == 1, f"{option}: {found} lines in the deployed configuration"
    return config


def make_certificates(folder: Path, host: str = "localhost", address: str = "127.0.0.1") -> None:
    """ca.crt, server.crt and server.key in the folder, made by the very commands of the deployment's README."""
    readme = (DEPLOYED / "README.md").read_text("utf-8")
    (commands,) = re.findall(r"```sh\n(HOST=.*?)```", readme, flags=re.DOTALL)
    commands, found = re.subn(r"\AHOST=.* ADDRESS=.*\n", f"HOST={host} ADDRESS={address}\n", commands)
    assert found == 1, commands
    subprocess.run(["bash", "-euc", commands], cwd=folder, check=True, capture_output=True)


def mosquitto_or_skip() -> None:
    """Skips where mosquitto is not installed; fails in CI, where it has to be."""
    if all(map(_find, ("mosquitto", "mosquitto_passwd", "openssl"))):
        return
    reason = "mosquitto (with mosquitto_passwd and openssl) is not installed"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _find(program: str) -> str | None:
    # Debian keeps mosquitto where only root's PATH looks.
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")


# Below those that the system gives away by itself: a port stays free while its broker is dead, whatever else runs.
_PORTS = count(10_000 + os.getpid() * 37 % 9_000)


@contextmanager
def hangs_up() -> Iterator[tuple[int, Callable[..., None]]]:
    """A port where whoever comes is cut off before a word, and paho's `on_socket_open` that waits for the cut.

    With it the client's very first write fails, while it still connects. Without it that is a matter of luck.
    """
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def cut_off() -> None:
            # Reset, not closed: on a closed one the first write would still go through.
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return  # it was shut down below
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()

        pool.submit(cut_off)
        try:
            yield server.getsockname()[1], lambda _client, _userdata, sock: select.select([sock], [], [], PATIENCE_S)
        finally:
            server.shutdown(socket.SHUT_RDWR)


def _free_port() -> int:
    for port in _PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError


class Peer:
    """A real paho client as our programs use it (MQTT 3.1.1, clean session) that remembers what it saw.

    Its client id is the user name if no other is given. Without a user it is anonymous; a password need not be
    given for a known user. It does not reconnect of its own accord. Every wait has `within_s` seconds, and
    says what it saw when they are over.
    """

    def __init__(
        self, broker: _BrokerProcess, user: str | None, password: str | None = None, client_id: str | None = None
    ):
        self.broker = broker
        self.messages: list[mqtt.MQTTMessage] = []
        self.answer: str | None = None
        self.lost = threading.Event()
        self._changed = threading.Condition()
        self._granted: dict[int, list[int]] = {}
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id or user, reconnect_on_failure=False)
        self._client.username_pw_set(user, broker.users.get(user) if password is None else password)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = lambda *_: self.lost.set()
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def __enter__(self) -> Self:
        """Connected and let in."""
        answer = self.connect()
        assert answer == "Success", answer
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def will(self, topic: str, payload: bytes) -> Self:
        """Leave a retained will, before connecting."""
        self._client.will_set(topic, payload, qos=1, retain=True)
        return self

    def trust(self, ca_file: Path | None, **versions: ssl.TLSVersion) -> Self:
        """Speak TLS, before connecting. None: trust what the machine trusts. `versions` as in ssl.SSLContext."""
        context = ssl.create_default_context(cafile=ca_file)
        for name, version in versions.items():
            setattr(context, name, version)
        self._client.tls_set_context(context)
        return self

    def acknowledge_by_hand(self) -> Self:
        """From now on nothing is acknowledged, until `acknowledge_all`."""
        self._client.manual_ack_set(True)
        return self

    def acknowledge_all(self) -> None:
        """Acknowledge what was heard, and from now on everything at once."""
        with self._changed:
            for message in self.messages:
                self._client.ack(message.mid, message.qos)
            self._client.manual_ack_set(False)

    def connect(self, host: str = "127.0.0.1", within_s: float = PATIENCE_S) -> str:
        """What the broker answered, in paho's words."""
        self._client.connect(host, self.broker.port, keepalive=60)
        self._client.loop_start()
        self._wait_for(lambda: self.answer is not None, within_s, "an answer to CONNECT")
        return self.answer

    def leave(self) -> None:
        """Say goodbye: no will."""
        self._client.disconnect()
        self._client.loop_stop()
        # paho closes its pair of sockets when it is collected; in a ring with us that is late, and with a warning.
        for name in ("on_connect", "on_disconnect", "on_subscribe", "on_message"):
            setattr(self._client, name, None)

    def subscribe(self, *filters: str, within_s: float = PATIENCE_S) -> list[int]:
        """What was granted for each filter, at QoS 1; 128 is a refusal."""
        _, mid = self._client.subscribe([(each, 1) for each in filters])
        self._wait_for(lambda: mid in self._granted, within_s, "SUBACK")
        return self._granted[mid]

    def publish(self, topic: str, payload: bytes = b"x", retain: bool = False, within_s: float = PATIENCE_S) -> None:
        """Acknowledged by the broker when this returns, which says nothing about anybody having got it."""
        self.send(topic, payload, retain).wait_for_publish(within_s)

    def send(self, topic: str, payload: bytes = b"x", retain: bool = False) -> mqtt.MQTTMessageInfo:
        """On its way when this returns."""
        return self._client.publish(topic, payload, qos=1, retain=retain)

    def hears(self, topic: str, payload: bytes | None = None, within_s: float = PATIENCE_S) -> mqtt.MQTTMessage:
        """Waits for a message on this topic, and with this payload if given."""
        self._wait_for(lambda: self._heard(topic, payload), within_s, f"{payload!r:.60} on {topic}")
        return self._heard(topic, payload)[0]

    def hears_many(self, number: int, within_s: float = 30) -> None:
        """Waits until it has heard this many messages in all."""
        self._wait_for(lambda: len(self.messages) >= number, within_s, f"{number} messages")

    @property
    def topics(self) -> list[str]:
        """Where it heard something, in order."""
        return [message.topic for message in self.messages]

    def _heard(self, topic: str, payload: bytes | None) -> list[mqtt.MQTTMessage]:
        return [m for m in self.messages if m.topic == topic and payload in (None, m.payload)]

    def _wait_for(self, claim, within_s: float, what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(claim, within_s):
                raise AssertionError(
                    f"no {what} within {within_s} s; heard {len(self.messages)}: {self.topics[-20:]}"
                    f"\nthe broker said: {self.broker.said()[-2000:]}"
                )

    def _on_connect(self, _client, _userdata, _flags, reason, _properties) -> None:
        with self._changed:
            self.answer = str(reason)
            self._changed.notify_all()

    def _on_subscribe(self, _client, _userdata, mid, reasons, _properties) -> None:
        with self._changed:
            self._granted[mid] = [reason.value for reason in reasons]
            self._changed.notify_all()

    def _on_message(self, _client, _userdata, message) -> None:
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()


class Stranger:
    """A client in a process of its own, with a retained will, to be killed or frozen. Its client id is the user."""

    CODE = """
import sys
import paho.mqtt.client as mqtt
port, keepalive, user, password, topic, payload = sys.argv[1:]
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=user)
client.username_pw_set(user, password)
client.will_set(topic, payload, qos=1, retain=True)
def connected(client, *_):
    client.subscribe("hcp/v1/" + user + "/#", qos=1)
client.on_connect = connected
client.on_subscribe = lambda *_: print("connected", flush=True)
client.connect("127.0.0.1", int(port), keepalive=int(keepalive))
client.loop_forever(retry_first_connection=True)
"""

    def __init__(self, broker: _BrokerProcess, user: str, will: tuple[str, str], keepalive_s: int = 60):
        arguments = [str(broker.port), str(keepalive_s), user, broker.users[user], *will]
        self.process = subprocess.Popen([sys.executable, "-c", self.CODE, *arguments], stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        """Connected and subscribed to all that is its own."""
        assert b"connected\n" == self.process.stdout.readline()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.process.stdout.close()

    def kill(self) -> None:
        """SIGKILL, and gone when this returns."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """The connection stays, and nobody is behind it: a machine that lost its power, as the broker sees it."""
        self.process.send_signal(signal.SIGSTOP)
