"""Broker to ledger, then the receipt. The only user of paho here.

What has arrived together is committed together, and only then receipted. Nothing depends on the broker keeping
anything: an agent sends again what was not receipted.
"""

from __future__ import annotations

import logging
import random
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from protocols.errors import BadMessage
from protocols.messages import (
    COLLECTOR_STATUS,
    ROOT,
    AgentStatus,
    Batch,
    CollectorStatus,
    Details,
    Health,
    Receipt,
    Taken,
    decode,
    encode,
    parse_topic,
    topic,
)

from .ledger.intake import Intake

log = logging.getLogger(__name__)

_CONNECT_S = 5.0
_TICK_S = 0.5
_BACK_OFF_MIN_S = 0.1
_BACK_OFF_MAX_S = 1.5
_REFUSED_S = 5.0
_STEADY_MS = 5000  # a connection that did not even last this long is no reason to hurry back
_TOGETHER_MAX = 64  # messages in one transaction: each may be a batch of a megabyte
_KINDS = ("batch", "details", "status", "health")


@dataclass(frozen=True)
class Broker:
    """Where the broker is, and who we are there."""

    host: str
    port: int
    user: str
    password: str
    keepalive_s: int = 20
    tls: ssl.SSLContext | None = None
    share: str = ""


class Inbox:
    """The way from the agents into the ledger. `run` is its loop."""

    def __init__(self, broker: Broker, intake: Intake, agents: set[str], now_ms: Callable[[], int]):
        self._broker = broker
        self._intake = intake
        self._agents = agents
        self._now_ms = now_ms
        self._arrived: list[tuple[str, bytes]] = []
        self._client = self._made(now_ms())
        self._failures = 0
        self._refused = ""
        self._since_ms = now_ms()
        self._leaving = False
        self.connected = False
        """Whether agents can be heard."""

    def run(self, stop: threading.Event) -> None:
        """Take what comes, until `stop`."""
        while not stop.is_set():
            if self._client.socket() is None and not self._connected(stop):
                continue
            self._turn()
        self._goodbye()

    def _turn(self) -> None:
        self._exchange(_TICK_S)
        if self._arrived:
            arrived, self._arrived = self._arrived, []
            self._take(arrived)

    def _exchange(self, within_s: float) -> None:
        """Read and write what there is, waiting for it this long at most."""
        sock: Any = self._client.socket()
        writers = [sock] if self._client.want_write() else []
        readable, writable = self._ready(sock, writers, within_s)
        while readable:
            self._client.loop_read()
            # What waits behind it is taken in the same transaction: under load one fsync serves many agents.
            if self._client.socket() is not sock or len(self._arrived) >= _TOGETHER_MAX:
                break
            readable, _ = self._ready(sock, [], 0)
        if writable and self._client.socket() is sock:
            self._client.loop_write()
        self._client.loop_misc()

    def _ready(self, sock: Any, writers: list[Any], within_s: float) -> tuple[bool, bool]:
        """Whether there is something to read, and whether it can be written to."""
        pending = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        readable, writable, _ = select.select([sock], writers, [], 0 if pending else within_s)
        return bool(readable or pending), bool(writable)

    def _take(self, arrived: list[tuple[str, bytes]]) -> None:
        batches: list[tuple[str, Batch, bytes]] = []
        answers: list[tuple[str, str, Receipt | Taken]] = []
        with self._intake.together():
            for name, payload in arrived:
                try:
                    answers += self._sort(name, payload, batches)
                except BadMessage as bad:
                    log.warning("消息已隔离 / message quarantined: topic=%r %s", name, bad.reason)
                    self._intake.quarantine(name, bad.reason, payload, self._now_ms())
            # Cases before what may be a rating of one of them.
            answers += [(agent, "receipt", each) for agent, each in self._intake.take(batches, self._now_ms())]
        for agent, kind, answer in answers:
            self._client.publish(topic(agent, kind), encode(answer), qos=1)

    def _sort(
        self, name: str, payload: bytes, batches: list[tuple[str, Batch, bytes]]
    ) -> Iterator[tuple[str, str, Taken]]:
        """Note what it says, or put it among the batches; with what is to be answered at once."""
        parsed = parse_topic(name)
        if parsed is None or parsed[1] not in _KINDS:
            raise BadMessage("不认识的主题 / unknown topic", payload)
        if not payload:
            return  # how a retained message is taken off a broker: it says nothing
        agent, kind = parsed
        if agent not in self._agents:
            raise BadMessage("目录中没有这个代理 / this agent is not in the directory", payload)
        if kind == "batch":
            batches.append((agent, decode(payload, Batch), payload))
        elif kind == "details":
            yield agent, "taken", self._intake.take_details(agent, decode(payload, Details), self._now_ms())
        elif kind == "health":
            self._intake.note_health(agent, decode(payload, Health), self._now_ms())
        else:
            self._intake.note_status(agent, decode(payload, AgentStatus), self._now_ms())

    # ---- the connection

    def _connected(self, stop: threading.Event) -> bool:
        if self._failures:
            ceiling = min(_BACK_OFF_MAX_S, _BACK_OFF_MIN_S * 2 ** min(self._failures, 8))
            stop.wait(_REFUSED_S if self._refused else random.uniform(ceiling / 3, ceiling))  # noqa: S311
            if stop.is_set():
                return False
        self._failures += 1
        # Nothing is steady before its subscription is granted.
        self._since_ms = self._now_ms()
        try:
            self._client.connect(self._broker.host, self._broker.port, self._broker.keepalive_s)
        except (OSError, ValueError) as error:
            if self._failures == 1:
                where = f"{self._broker.host}:{self._broker.port}"
                log.warning("连不上消息服务器 / broker cannot be reached: %s (%s)", error, where)
            self._refused = ""
            return False
        # Whoever hangs up before our first words are out leaves no socket, and paho calls that no error.
        return self._client.socket() is not None

    def _goodbye(self) -> None:
        if self._client.socket() is None:
            return
        self._leaving = True
        info = self._say(False)
        deadline_ms = self._now_ms() + 1000
        while not info.is_published() and self._client.socket() is not None and self._now_ms() < deadline_ms:
            self._exchange(0.05)
        self._client.disconnect()

    def _made(self, now_ms: int) -> mqtt.Client:
        # A shared subscription has several collectors side by side, and each needs a name of its own.
        name = f"collector-{random.getrandbits(48):012x}" if self._broker.share else "collector"
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=True)
        client.connect_timeout = _CONNECT_S
        client.username_pw_set(self._broker.user, self._broker.password)
        if self._broker.tls is not None:
            client.tls_set_context(self._broker.tls)
        client.will_set(COLLECTOR_STATUS, encode(CollectorStatus(False, now_ms)), qos=1, retain=True)
        client.on_socket_open = _no_delay
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    def _say(self, online: bool) -> mqtt.MQTTMessageInfo:
        """Tell the agents whether there is anyone to give receipts."""
        status = CollectorStatus(online, self._now_ms())
        return self._client.publish(COLLECTOR_STATUS, encode(status), qos=1, retain=True)

    def _on_connect(self, client: mqtt.Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._note_refusal(
                f"消息服务器拒绝登录, 请检查 broker.password / broker refuses us, check broker.password ({reason})"
            )
            return
        prefix = f"$share/{self._broker.share}/" if self._broker.share else ""
        client.subscribe([(f"{prefix}{ROOT}/+/{kind}", 1) for kind in _KINDS])

    def _on_subscribe(
        self, client: mqtt.Client, _userdata: Any, _mid: int, reasons: list[Any], _properties: Any
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self._note_refusal(
                f"消息服务器不许订阅, 请检查其权限规则 / broker forbids {ROOT}/+/…, check its topic rules"
            )
            client.disconnect()
            return
        log.info("消息服务器已连接 / broker connected: %s:%s", self._broker.host, self._broker.port)
        self._refused = ""
        self.connected = True
        self._since_ms = self._now_ms()
        # Only now does anything reach us: agents that hear this send at once.
        self._say(True)

    def _note_refusal(self, words: str) -> None:
        # Once, not at every attempt.
        if words != self._refused:
            log.error("%s", words)
        self._refused = words

    def _on_disconnect(self, _client: Any, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self.connected = False
        if self._now_ms() - self._since_ms > _STEADY_MS:
            self._failures = 0
        if reason.is_failure and not self._refused:
            log.warning("与消息服务器断开 / broker lost: %s", reason)

    def _on_message(self, _client: Any, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        if message.topic != COLLECTOR_STATUS:
            self._arrived.append((message.topic, bytes(message.payload)))
        elif not self._leaving and not _says_online(message.payload):
            # The farewell of another collector, or an old will: agents would stop sending.
            self._say(True)


def _says_online(payload: bytes | bytearray) -> bool:
    try:
        return decode(bytes(payload), CollectorStatus).online
    except BadMessage:
        return False


def _no_delay(_client: Any, _userdata: Any, sock: Any) -> None:
    # paho leaves Nagle on: receipts would go out 40 ms late.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
