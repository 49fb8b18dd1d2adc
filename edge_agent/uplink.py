"""Outbox to broker, receipts to outbox; status, will and health beside them. The only user of paho here.

One batch is on its way at a time; where many records wait, the one behind it is made ready meanwhile. A record is due
until its receipt has come: the broker's own acknowledgement says nothing about the ledger, and is not waited for.
"""

from __future__ import annotations

import logging
import random
import select
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from protocols import __version__
from protocols.errors import BadMessage
from protocols.messages import (
    COLLECTOR_STATUS,
    AgentStatus,
    Batch,
    CollectorStatus,
    Health,
    Receipt,
    Taken,
    WindowHealth,
    decode,
    encode,
    topic,
)
from protocols.ratings import Moment

from .details import CaseDetails
from .outbox import Outbox, OutboxFull, Settled
from .outbox.file import OutboxForked

log = logging.getLogger(__name__)

_CONNECT_S = 5.0
_TICK_S = 1.0
_BACK_OFF_MIN_S = 0.1
_BACK_OFF_MAX_S = 1.5  # a broker that is back is seen within two seconds; jitter spreads a hall's agents over them
_REFUSED_S = 5.0  # a wrong password is not cured by haste
_STEADY_MS = 10_000  # a connection that was lost sooner was none: two agents of one id push each other out at once
_REPEAT_MS = 60_000  # what goes on and on is said again, so that it stands near the end of the log
_AWAY_FACTOR = (
    6  # the collector has said that it is away: try all the same now and then, in case nobody says it is back
)
_GOODBYE_MS = 1000  # then the will has to say it
_LOOK_AGAIN_MS = 30_000  # after a receipt that does not fit ours
_TLS_WANTED = "; 服务器是否要求 TLS (通常 8883)? / does the broker want TLS (usually 8883)?"
_TLS_UNKNOWN = "; 服务器的此端口是否用 TLS (通常 8883)? / does the broker talk TLS at this port (usually 8883)?"
_OTHER_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH


@dataclass(frozen=True)
class Broker:
    """Where the broker is, and who we are there."""

    host: str
    port: int
    password: str
    keepalive_s: int = 20
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True)
class Reach:
    """How far what we say comes, as far as we know: each step is known by another's answer, never by its silence."""

    broker: bool
    """A broker answers."""
    let_in: bool
    """It lets us in, and receipts through to us; of our batches it says nothing."""
    receipt_ms: int | None
    """When the collector's last receipt came; None while none has come since the start."""
    why: str
    """What is in the way, in words; empty where nothing is known to be."""


class Uplink:
    """The agent's one connection to the outside. `run` is its loop; `wake` may be called from any thread."""

    def __init__(
        self,
        broker: Broker,
        agent: str,
        outbox: Outbox,
        health: Callable[[Moment], Sequence[WindowHealth]],
        now: Callable[[], Moment],
        receipt_wait_ms: int = 5_000,
        health_every_s: int = 30,
        details: CaseDetails | None = None,
    ):
        self._broker = broker
        self._agent = agent
        self._outbox = outbox
        self._details = details
        self._window_health = health
        self._now = now
        self._receipt_wait_ms = receipt_wait_ms
        self._health_every_ms = health_every_s * 1000
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._since = now()
        self._client = self._made()
        self._ready = self._reached = self._forbidden = False
        self._receipt_ms: int | None = None
        self._collector_away = False
        self._sent_ms: int | None = None
        self._on_its_way: Batch | None = None
        self._behind: tuple[Batch, bytes] | None = None
        """What follows the batch on its way, and that as it travels."""
        self._receipts: list[bytes] = []
        self._taken: list[bytes] = []
        self._hold_until_ms = 0
        self._failures = 0
        self._connected_ms = 0
        self._refused = False
        self._answered = False
        self._said = ""
        self._said_ms = 0
        self._alarm = ""
        self._health_due_ms = 0
        self._shown: tuple[Any, ...] = ()
        self._told_backlog = 0

    def run(self, stop: threading.Event) -> None:
        """Send what is due and take receipts, until `stop`."""
        while not stop.is_set():
            if self._client.socket() is None and not self._connected(stop):
                continue
            self._turn()
        self._goodbye()

    def close(self) -> None:
        """Let go of everything, once `run` has ended and nobody wakes it any more."""
        self._woken.close()
        self._waker.close()

    def wake(self) -> None:
        """There is something to send, or to stop for."""
        try:
            self._waker.send(b"\0")
        except BlockingIOError:
            pass  # it has been woken often enough already

    @property
    def alarm(self) -> str:
        """What a person has to look at, in words; empty when nothing."""
        aside = [_of_set_aside(file.name) for file in self._outbox.damaged_files()]
        of_details = self._details.alarm if self._details is not None else ""
        return "; ".join(filter(None, [self._alarm, *aside, of_details]))

    @property
    def reach(self) -> Reach:
        """How far we come now; any thread may ask."""
        if not self._ready:
            why = self._said or "正在连接消息服务器 / the broker is being called"
        elif self._forbidden:
            why = "消息服务器不许订阅回执, 请检查其权限规则 / the broker forbids receipts, check its topic rules"
        else:
            why = "汇聚器不在线 / the collector is away" if self._collector_away else ""
        return Reach(self._reached, self._ready and not self._forbidden, self._receipt_ms, why)

    # ---- one turn of the loop

    def _turn(self) -> None:
        self._exchange(_TICK_S)
        self._take_receipts()
        if self._ready and self._client.socket() is not None:
            moment = self._now()
            if self._details is not None:
                # Ahead of the presses: a rating that comes before its case has to wait for it.
                self._send_details(self._details, moment)
            self._send_due(moment)
            self._send_health(moment)
            self._make_ready()
        self._outbox.tidy()

    def _exchange(self, within_s: float) -> None:
        """Read and write what there is, waiting this long at most, and not when somebody wakes us."""
        sock: Any = self._client.socket()
        writers = [sock] if self._client.want_write() else []
        pending = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        readable, writable, _ = select.select([sock, self._woken], writers, [], 0 if pending else within_s)
        if self._woken in readable:
            self._sleep_again()
        if sock in readable or pending:
            self._client.loop_read()
        if writable:
            self._client.loop_write()
        self._client.loop_misc()

    def _send_details(self, details: CaseDetails, moment: Moment) -> None:
        answers, self._taken = self._taken, []
        for payload in answers:
            try:
                details.answered(decode(payload, Taken), moment)
            except BadMessage as bad:
                _note_bad(topic(self._agent, "taken"), bad)
        due = details.due(moment, self._wait_ms)
        if due is not None:
            self._client.publish(topic(self._agent, "details"), encode(due), qos=1)

    @property
    def _wait_ms(self) -> int:
        """How long an answer is waited for."""
        return self._receipt_wait_ms * (_AWAY_FACTOR if self._collector_away else 1)

    def _send_due(self, moment: Moment) -> None:
        if moment.mono_ms < self._hold_until_ms:
            return
        if self._sent_ms is not None and moment.mono_ms - self._sent_ms < self._wait_ms:
            return
        batch = self._outbox.due()
        if batch is None:
            self._sent_ms = self._on_its_way = self._behind = None
            return
        self._send(batch, encode(batch), moment)

    def _send(self, batch: Batch, payload: bytes, moment: Moment) -> None:
        self._client.publish(topic(self._agent, "batch"), payload, qos=1)
        self._sent_ms, self._on_its_way, self._behind = moment.mono_ms, batch, None

    def _make_ready(self) -> None:
        # While the collector has the one before: both work at once, and neither waits for the other.
        sent = self._on_its_way
        if self._sent_ms is None or sent is None or self._behind is not None or self._client.want_write():
            return
        batch = self._outbox.due_behind(sent) if len(sent.records) > 1 else None  # nothing waits behind a single press
        if batch is not None:
            self._behind = batch, encode(batch)

    def _send_health(self, moment: Moment) -> None:
        windows = list(self._window_health(moment))
        shown = (self._alarm, *((window.window, window.state, window.detail) for window in windows))
        if shown == self._shown and moment.mono_ms < self._health_due_ms and not self._drained():
            return
        self._shown = shown
        self._health_due_ms = moment.mono_ms + self._health_every_ms
        backlog = self._outbox.backlog()
        self._told_backlog = backlog.records
        receipted, head = self._outbox.receipted()
        health = Health(
            at_ms=moment.wall_ms,
            epoch=self._outbox.epoch,
            windows=windows,
            backlog=backlog.records,
            oldest_ms=backlog.oldest_ms,
            synced=moment.synced,
            alarm=self.alarm,
            receipted=receipted,
            head=head if receipted else "",
            tip=backlog.tip,
        )
        self._client.publish(topic(self._agent, "health"), encode(health), qos=0, retain=True)

    def _drained(self) -> bool:
        """Whether the centre still believes that something waits here; it must not have to wait half a minute."""
        return self._told_backlog > 0 and self._outbox.backlog().records == 0

    def _take_receipts(self) -> None:
        receipts, self._receipts = self._receipts, []
        for payload in receipts:
            try:
                receipt = decode(payload, Receipt)
            except BadMessage as bad:
                _note_bad(topic(self._agent, "receipt"), bad)
                continue
            self._receipt_ms = self._now().wall_ms
            answered = self._send_behind(receipt)
            self._receipted(receipt, answered)

    def _send_behind(self, receipt: Receipt) -> bool:
        """Whether this is the receipt of exactly the batch on its way, and what follows it is on its way now.

        Before anything is deleted: what the batch says to be the oldest here still is here.
        """
        sent = self._on_its_way
        if self._sent_ms is None or sent is None or self._behind is None or not self._ready:
            return False
        if (sent.epoch, sent.first + len(sent.records) - 1, sent.head) != (receipt.epoch, receipt.upto, receipt.head):
            return False
        self._send(*self._behind, self._now())
        return True

    def _receipted(self, receipt: Receipt, answered: bool) -> None:
        try:
            settled = self._outbox.settle(receipt)
        except OutboxFull:
            # The disk itself is full, and even deleting needs a little of it. The records stay due.
            return
        if settled is Settled.MISMATCH:
            self._alarm = (
                f"中心账本第 {receipt.upto} 条与本机不符, 未删除任何记录 / the ledger differs from ours at record"
                f" {receipt.upto}, nothing was deleted"
            )
            log.error("%s", self._alarm)
            # This file is an older copy, or another PC has the same one: only a new epoch goes on from here. But not
            # one after the other, so that a collector gone wrong does not fill a disk with files.
            if abs(self._now().wall_ms - self._outbox.forked_ms) >= _LOOK_AGAIN_MS:
                raise OutboxForked(self._alarm)
            self._hold_until_ms = self._now().mono_ms + _LOOK_AGAIN_MS
        elif settled is Settled.DELETED:
            self._alarm = ""
        if settled is not Settled.STALE and not answered:
            self._sent_ms = None

    # ---- the connection

    def _connected(self, stop: threading.Event) -> bool:
        if self._failures:
            ceiling = min(_BACK_OFF_MAX_S, _BACK_OFF_MIN_S * 2 ** min(self._failures, 8))
            self._pause(_REFUSED_S if self._refused else random.uniform(ceiling / 3, ceiling), stop)  # noqa: S311
            if stop.is_set():
                return False
        self._failures += 1
        self._refused = self._answered = False
        try:
            self._client.connect(self._broker.host, self._broker.port, self._broker.keepalive_s)
        except (OSError, ValueError) as error:
            self._reached = False
            self._say(f"连不上消息服务器 / broker cannot be reached: {error}{self._hint(error)}")
            return False
        # Whoever hangs up before our first words are out leaves no socket, and paho calls that no error.
        return self._client.socket() is not None

    def _hint(self, error: Exception) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            key = "uplink.host" if error.verify_code in _OTHER_NAME else "uplink.tls.ca"
            return f"; 请检查 {key} / check {key}"
        # Reset, aborted, broken pipe: somebody was there, and did not like what we said.
        hung_up = isinstance(error, ConnectionError) and not isinstance(error, ConnectionRefusedError)
        if not hung_up:
            return ""
        return _TLS_WANTED if self._broker.tls is None else _TLS_UNKNOWN

    def _pause(self, seconds: float, stop: threading.Event) -> None:
        # Not stop.wait(): a signal's handler that sets `stop` would wait for the very lock that this thread holds.
        # A wake-up here is mostly a press: it is on the disk, and hurrying does not bring the broker back.
        until_ms = self._now().mono_ms + int(seconds * 1000)
        while not stop.is_set() and (left_ms := until_ms - self._now().mono_ms) > 0:
            if select.select([self._woken], [], [], left_ms / 1000)[0]:
                self._sleep_again()
                self._outbox.tidy()

    def _say(self, words: str, again: bool = False) -> None:
        # Once per outage, not once per attempt; with `again` once in a while.
        now_ms = self._now().mono_ms
        if words != self._said or (again and now_ms - self._said_ms >= _REPEAT_MS):
            log.warning("%s (%s:%s)", words, self._broker.host, self._broker.port)
            self._said_ms = now_ms
        self._said = words

    def _goodbye(self) -> None:
        if self._client.socket() is None:
            return
        if self._client.is_connected():
            self._say_offline(self._now())
        self._client.disconnect()

    def _say_offline(self, moment: Moment) -> None:
        info = self._client.publish(topic(self._agent, "status"), self._status(False, moment), qos=1, retain=True)
        deadline_ms = moment.mono_ms + _GOODBYE_MS
        while not info.is_published() and self._client.socket() is not None and self._now().mono_ms < deadline_ms:
            self._exchange(0.05)

    def _made(self) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=self._agent, clean_session=True)
        client.connect_timeout = _CONNECT_S
        client.username_pw_set(self._agent, self._broker.password)
        if self._broker.tls is not None:
            client.tls_set_context(self._broker.tls)
        client.will_set(topic(self._agent, "status"), self._status(False, self._since), qos=1, retain=True)
        client.on_socket_open = _no_delay
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    def _status(self, online: bool, moment: Moment) -> bytes:
        return encode(AgentStatus(online, __version__, self._outbox.epoch, moment.wall_ms))

    def _on_connect(self, client: mqtt.Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._reached = True
        if reason.is_failure:
            self._refused = True
            self._say(
                "消息服务器拒绝登录, 请检查 agent、uplink.password 以及服务器上的用户 / broker refuses agent"
                f" {self._agent!r}, check agent, uplink.password and the users at the broker ({reason})"
            )
            return
        self._answered = True
        log.info("消息服务器已连接 / broker connected: %s:%s", self._broker.host, self._broker.port)
        self._connected_ms = self._now().mono_ms
        self._lost_on_its_way()
        self._collector_away = False
        answers = ["receipt", *(["taken"] if self._details is not None else [])]
        client.subscribe([*((topic(self._agent, kind), 1) for kind in answers), (COLLECTOR_STATUS, 1)])
        client.publish(topic(self._agent, "status"), self._status(True, self._now()), qos=1, retain=True)

    def _on_subscribe(self, _client: Any, _userdata: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        self._forbidden = bool(reasons) and reasons[0].is_failure
        if self._forbidden:
            log.error(
                "消息服务器不许订阅回执, 请检查其权限规则 / broker forbids %s, check its topic rules",
                topic(self._agent, "receipt"),
            )
        # Only now can a receipt reach us.
        self._ready = True
        self._health_due_ms = 0

    def _on_disconnect(self, _client: Any, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        ready, self._ready = self._ready, False
        self._reached = self._refused  # a refusal was an answer; a broken line is none
        if not reason.is_failure or self._refused:
            return
        if ready and self._now().mono_ms - self._connected_ms >= _STEADY_MS:
            self._failures = 0
            self._said = ""
        if self._answered:
            hint = "; 若反复出现, 是否有两个代理同名 agent? / if it goes on: do two agents have this id?"
        elif self._broker.tls is None:
            hint = _TLS_WANTED
        else:
            hint = ""
        self._say(f"与消息服务器断开 / broker lost: {reason}{hint}", again=self._answered)

    def _on_message(self, _client: Any, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        try:
            if message.topic == COLLECTOR_STATUS:
                self._collector_away = not decode(bytes(message.payload), CollectorStatus).online
                self._lost_on_its_way()  # whoever just came back may have lost it
            elif message.topic == topic(self._agent, "taken"):
                self._taken.append(bytes(message.payload))
            else:
                self._receipts.append(bytes(message.payload))
        except BadMessage as bad:
            _note_bad(message.topic, bad)

    def _lost_on_its_way(self) -> None:
        self._sent_ms = None
        if self._details is not None:
            self._details.send_again()

    def _sleep_again(self) -> None:
        try:
            while self._woken.recv(4096):
                pass
        except BlockingIOError:
            pass  # empty


def _note_bad(name: str, bad: BadMessage) -> None:
    log.warning("看不懂的消息 / message not understood: topic=%s %s", name, bad.reason)


def _of_set_aside(name: str) -> str:
    if ".forked-" in name:
        return (
            "存档与中心账本不符, 已换新档继续: 恢复过旧备份? 两台电脑同名? / the outbox was an old copy, or another PC"
            f" has the same name; work went on in a new one, look at {name}"
        )
    return f"存档曾损坏, 原件待查 / an outbox was damaged, look at {name}"


def _no_delay(_client: Any, _userdata: Any, sock: Any) -> None:
    # paho leaves Nagle on: receipts would come 40 ms late on a connection that also sends.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
