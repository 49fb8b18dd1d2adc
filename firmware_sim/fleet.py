"""Thousands of agents over real MQTT, for load: each presses, sends its chain of records and waits for receipts.

A load generator, not a simulated device: it speaks with the programs' own messages. Every agent has its own password,
its own connection and its own epoch; one thread serves them all. What it prints is what the agents saw: how many of
their records were receipted, and how long a batch waited for its receipt.
"""

from __future__ import annotations

import heapq
import json
import math
import resource
import selectors
import signal
import socket
import sys
import time
import uuid
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from protocols import __version__, chain
from protocols.messages import (
    BATCH_BYTES_MAX,
    COLLECTOR_STATUS,
    RECORDS_MAX,
    AgentStatus,
    ClosingRecord,
    PressRecord,
    Receipt,
    batch_of,
    decode,
    encode,
    encode_record,
    topic,
)

AGENTS_MAX = 5_000  # one thread serves them all
_FILES_EACH = 3  # what an agent's connection opens: paho makes two sockets of its own beside the broker's
HELD_MAX = 20_000  # records in the memory of one agent; a citizen who comes while it is full goes away
RECEIPT_WAIT_S = 5.0  # as an agent waits before it sends a batch again
LAST_RECEIPTS_S = 30.0  # how long the agents wait for their last receipts when the presses are over
_CONNECT_S = 5.0
_TICK_S = 0.05  # how late a press may be; also how often connections are looked after
_SECONDS = 30  # how long an invitation would have stayed open
_KEEPALIVE_S = 60
_READ_WRITE = selectors.EVENT_READ | selectors.EVENT_WRITE
_LEVELS = ("very_satisfied", "satisfied", "basically_satisfied", "dissatisfied", "very_dissatisfied")

Show = Callable[[float, int, int], None]
"""Called every second with the seconds left, records written and records receipted."""


class NotLetIn(Exception):
    """An agent could not sign in at the broker; the text says which and why."""


@dataclass(frozen=True)
class Figures:
    """What the agents saw. Times are from a batch's first sending to the receipt that covers all of it."""

    agents: int
    seconds: float
    presses: int
    records: int
    receipted: int
    records_per_s: float
    batches: int
    resent: int
    receipts: int
    mismatches: int
    """Receipts whose head was not ours: nothing is let go for them."""
    reconnects: int
    turned_away: int
    """Presses that were not made because too many records waited."""
    p50_ms: float
    p99_ms: float
    unfinished: int
    """Agents that ended without the receipt of their last record."""


@dataclass
class _Batch:
    upto: int
    payload: bytes
    first_sent_s: float
    sent_s: float


class Agent:
    """One simulated agent: its chain, what is not receipted, and its batch on the way. No connection, no clock."""

    def __init__(self, name: str, device: str, since_ms: int):
        self.name = name
        self.epoch = str(uuid.uuid4())
        self.presses = 0
        self.seq = 0
        self.receipted = 0
        self.batches = 0
        self.resent = 0
        self.receipts = 0
        self.mismatches = 0
        self._device = device
        self._since_ms = since_ms
        self._head = self._receipted_head = chain.genesis(name, self.epoch)
        self._held: deque[tuple[bytes, bytes]] = deque()
        self._batch: _Batch | None = None

    @property
    def finished(self) -> bool:
        """Whether every record has its receipt."""
        return self.receipted == self.seq

    @property
    def full(self) -> bool:
        """Whether it has no room for another citizen."""
        return len(self._held) >= HELD_MAX

    def serve(self, now_ms: int) -> None:
        """One citizen is asked and presses: a press and the closing of its invitation."""
        self.presses += 1
        invitation, mono_ms = str(uuid.uuid4()), now_ms - self._since_ms
        shared: dict[str, Any] = {"mono_ms": mono_ms, "host_boot": self.epoch, "synced": True}
        self._keep(
            PressRecord(
                window="1",
                device=self._device,
                boot=1,
                count=self.presses,
                button=1 + self.presses % 5,
                pressed_ms=now_ms,
                kept_ms=now_ms,
                profile="house",
                profile_version=1,
                raw=f"{self.presses:064x}",  # as long as a frame of a panel
                invitation=invitation,
                **shared,
            )
        )
        self._keep(
            ClosingRecord(
                window="1",
                invitation=invitation,
                outcome="answered",
                opened_ms=now_ms,
                deadline_ms=now_ms + _SECONDS * 1000,
                closed_ms=now_ms,
                case_no=f"{self.epoch[:13]}-{self.presses}",
                **shared,
            )
        )

    def due(self, now_s: float) -> bytes | None:
        """What is to be sent now: a new batch, or the one on the way again; None while there is nothing to do."""
        if self._batch is None:
            if not self._held:
                return None
            self._batch = self._next_batch(now_s)
            self.batches += 1
        elif now_s - self._batch.sent_s >= RECEIPT_WAIT_S:
            self.resent += 1
        else:
            return None
        self._batch.sent_s = now_s
        return self._batch.payload

    def lose(self) -> None:
        """What was on its way may be lost: it is due again at once."""
        if self._batch is not None:
            self._batch.sent_s = -math.inf

    def take(self, receipt: Receipt, now_s: float) -> float | None:
        """Let go of what the receipt covers; how many ms the batch waited for it, once it covers all of it."""
        self.receipts += 1
        if receipt.epoch != self.epoch or receipt.upto <= self.receipted:
            return None
        covered = receipt.upto - self.receipted
        if covered > len(self._held) or self._held[covered - 1][1].hex() != receipt.head:
            self.mismatches += 1
            return None
        for _ in range(covered):
            self._receipted_head = self._held.popleft()[1]
        self.receipted = receipt.upto
        batch = self._batch
        if batch is None or batch.upto > receipt.upto:
            return None
        self._batch = None
        return (now_s - batch.first_sent_s) * 1000

    def _keep(self, record: PressRecord | ClosingRecord) -> None:
        body = encode_record(record)
        self._head = chain.link(self._head, body)
        self._held.append((body, self._head))
        self.seq += 1

    def _next_batch(self, now_s: float) -> _Batch:
        bodies: list[bytes] = []
        room = BATCH_BYTES_MAX - 1024  # for what stands around the records
        for body, _ in self._held:
            room -= len(body) + 1
            if room < 0 or len(bodies) == RECORDS_MAX:
                break
            bodies.append(body)
        first, upto = self.receipted + 1, self.receipted + len(bodies)
        head = self._held[len(bodies) - 1][1]
        batch = batch_of(self.epoch, first, self._receipted_head, head, bodies, oldest=first)
        return _Batch(upto, encode(batch), now_s, now_s)


class _Connection:
    """An agent's own connection to the broker, watched by `selector` for as long as it has a socket."""

    def __init__(
        self,
        agent: Agent,
        password: str,
        address: tuple[str, int],
        selector: selectors.BaseSelector,
        waited: Callable[[float], None],
    ):
        self.agent = agent
        self.ready = False
        self.connects = 0
        self.refusal = ""
        self._address = address
        self._selector = selector
        self._waited = waited
        self._choked = False
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=agent.name, clean_session=True)
        self._client.connect_timeout = _CONNECT_S
        self._client.username_pw_set(agent.name, password)
        self._client.will_set(topic(agent.name, "status"), self._status(False), qos=1, retain=True)
        self._client.on_socket_open = self._on_socket_open
        self._client.on_socket_close = self._on_socket_close
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message

    def connect(self) -> None:
        """Begin to connect; nothing happens while there is a socket, or no broker."""
        if self._client.socket() is not None:
            return
        try:
            self._client.connect(*self._address, keepalive=_KEEPALIVE_S)
        except OSError:
            return
        self.connects += 1

    def read(self) -> None:
        """Take what has come."""
        self._client.loop_read()

    def turn(self, now_s: float) -> None:
        """Send what is due, and as much of what waited as the socket takes."""
        payload = self.agent.due(now_s) if self.ready else None
        if payload is not None:
            self._client.publish(topic(self.agent.name, "batch"), payload, qos=1)
        if self._client.want_write():
            self._client.loop_write()
        sock: Any = self._client.socket()
        if sock is not None and self._client.want_write() != self._choked:
            self._choked = not self._choked
            self._selector.modify(sock, _READ_WRITE if self._choked else selectors.EVENT_READ, self)

    def look_after(self) -> None:
        """Connect again, or keep alive what is connected; to be called every second or so."""
        self.connect()
        self._client.loop_misc()

    def leave(self) -> None:
        """Say goodbye."""
        if self._client.socket() is not None:
            self._client.publish(topic(self.agent.name, "status"), self._status(False), qos=1, retain=True)
            self._client.disconnect()

    def _status(self, online: bool) -> bytes:
        return encode(AgentStatus(online, __version__, self.agent.epoch))

    def _on_socket_open(self, _client: Any, _userdata: Any, sock: Any) -> None:
        # paho leaves Nagle on, which would have batches wait 40 ms for company.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(sock, selectors.EVENT_READ, self)
        self._choked = False

    def _on_socket_close(self, _client: Any, _userdata: Any, sock: Any) -> None:
        self._selector.unregister(sock)

    def _on_connect(self, client: mqtt.Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self.refusal = str(reason)
            return
        client.subscribe([(topic(self.agent.name, "receipt"), 1), (COLLECTOR_STATUS, 1)])
        client.publish(topic(self.agent.name, "status"), self._status(True), qos=1, retain=True)

    def _on_subscribe(self, *_: Any) -> None:
        # Only now can a receipt reach us.
        self.ready = True

    def _on_disconnect(self, *_: Any) -> None:
        self.ready = False
        self.agent.lose()

    def _on_message(self, _client: Any, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        if message.topic == COLLECTOR_STATUS:
            self.agent.lose()  # whoever just came back may never have seen it
            return
        waited_ms = self.agent.take(decode(bytes(message.payload), Receipt), time.monotonic())
        if waited_ms is not None:
            self._waited(waited_ms)


class Fleet:
    """`run` lets the agents press for `seconds`, waits for their last receipts, and says what they saw."""

    def __init__(self, passwords: Mapping[str, str], rate: float, seconds: float, host: str, port: int):
        self._every_s = 1 / rate
        self._seconds = seconds
        self._waits = array("d")
        self._turned_away = 0
        self._stopped = False
        self._selector = selectors.DefaultSelector()
        now_ms = time.time_ns() // 1_000_000
        self._connections = [
            _Connection(Agent(name, device_of(at), now_ms), password, (host, port), self._selector, self._waits.append)
            for at, (name, password) in enumerate(passwords.items(), 1)
        ]
        self._agents = [connection.agent for connection in self._connections]

    def stop(self) -> None:
        """No more presses; what was pressed is still handed over."""
        self._stopped = True

    def run(self, show: Show, last_receipts_s: float = LAST_RECEIPTS_S) -> Figures:
        """Blocks. NotLetIn if the agents cannot sign in at the start; later they reconnect for ever."""
        self._sign_in()
        started_s = time.monotonic()
        self._press(started_s, show)
        self._last_receipts(last_receipts_s, show)
        figures = self._figures(time.monotonic() - started_s)
        for connection in self._connections:
            connection.leave()
        self._selector.close()
        return figures

    def _sign_in(self) -> None:
        deadline_s = time.monotonic() + _CONNECT_S + len(self._connections) / 50
        for connection in self._connections:
            connection.connect()
            self._turn(0)
        while not all(connection.ready for connection in self._connections):
            for connection in self._connections:
                if connection.refusal:
                    raise NotLetIn(f"{connection.agent.name}: {connection.refusal}")
            if time.monotonic() > deadline_s:
                raise NotLetIn("消息服务器没有答复 / the broker does not answer")
            self._turn(_TICK_S)

    def _press(self, started_s: float, show: Show) -> None:
        # Spread over one interval: a real hall's citizens do not press in step.
        step_s = self._every_s / len(self._connections)
        due = [(started_s + at * step_s, at) for at in range(len(self._connections))]
        end_s = tick_s = started_s
        end_s += self._seconds
        while not self._stopped and (now_s := time.monotonic()) < end_s:
            busy = []
            while due[0][0] <= now_s:
                at_s, at = due[0]
                heapq.heapreplace(due, (at_s + self._every_s, at))
                self._serve(self._agents[at])
                busy.append(self._connections[at])
            for connection in busy:
                connection.turn(now_s)
            self._turn(min(max(0.0, due[0][0] - now_s), _TICK_S))
            tick_s = self._tick(tick_s, end_s, show)

    def _serve(self, agent: Agent) -> None:
        if agent.full:
            self._turned_away += 1
        else:
            agent.serve(time.time_ns() // 1_000_000)

    def _last_receipts(self, wait_s: float, show: Show) -> None:
        tick_s = time.monotonic()
        end_s = tick_s + wait_s
        while time.monotonic() < end_s and not all(agent.finished for agent in self._agents):
            self._turn(_TICK_S)
            tick_s = self._tick(tick_s, end_s, show)

    def _turn(self, wait_s: float) -> None:
        for key, events in self._selector.select(wait_s):
            if events & selectors.EVENT_READ:
                key.data.read()
            key.data.turn(time.monotonic())

    def _tick(self, tick_s: float, end_s: float, show: Show) -> float:
        """Once a second: connections that were lost, batches without a receipt, and what a person sees."""
        now_s = time.monotonic()
        if now_s < tick_s:
            return tick_s
        for connection in self._connections:
            connection.look_after()
            connection.turn(now_s)
        show(end_s - now_s, sum(agent.seq for agent in self._agents), sum(agent.receipted for agent in self._agents))
        return now_s + 1.0

    def _figures(self, seconds: float) -> Figures:
        agents, waits = self._agents, sorted(self._waits)
        receipted = sum(agent.receipted for agent in agents)
        return Figures(
            agents=len(agents),
            seconds=round(seconds, 1),
            presses=sum(agent.presses for agent in agents),
            records=sum(agent.seq for agent in agents),
            receipted=receipted,
            records_per_s=round(receipted / seconds, 1),
            batches=sum(agent.batches for agent in agents),
            resent=sum(agent.resent for agent in agents),
            receipts=sum(agent.receipts for agent in agents),
            mismatches=sum(agent.mismatches for agent in agents),
            reconnects=sum(connection.connects - 1 for connection in self._connections),
            turned_away=self._turned_away,
            p50_ms=round(quantile(waits, 0.50), 2),
            p99_ms=round(quantile(waits, 0.99), 2),
            unfinished=sum(not agent.finished for agent in agents),
        )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below or at which this share of them lies; NaN for none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def device_of(number: int) -> str:
    """The device of the fleet's agent with this number, counted from 1."""
    return f"F{number:05d}"


def directory(agents: Iterable[str]) -> str:
    """A directory.toml that places one window of each of these agents, for a collector that is to know them."""
    keys = ", ".join(f'{button} = "{level}"' for button, level in enumerate(_LEVELS, 1))
    return "\n".join(
        f'[[windows]]\nagent = "{agent}"\nwindow = "1"\nhall = "负载 load"\nnumber = "{number}"\n'
        f'device = "{device_of(number)}"\nkeys = {{ {keys} }}\n'
        for number, agent in enumerate(agents, 1)
    )


# ---- the command


@click.command("fleet")
@click.option(
    "--agents", default=100, show_default=True, type=click.IntRange(1, AGENTS_MAX), help="多少代理 / how many"
)
@click.option(
    "--rate",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.001, 1000),
    help="每代理每秒按键 / presses a second of each agent",
)
@click.option("--seconds", default=10, show_default=True, type=click.IntRange(1, 3600), help="多久 / for how long")
@click.option("--host", default="127.0.0.1", show_default=True, help="消息服务器 / broker")
@click.option("--port", default=1883, show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--users-file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON: {代理 agent: 口令 password}",
)
@click.option(
    "--directory",
    "directory_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="只写出这些代理的目录文件, 供汇聚器用 / only write these agents' directory.toml for a collector",
)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="结果文件 / figures as JSON")
def command(
    agents: int,
    rate: float,
    seconds: int,
    host: str,
    port: int,
    users_file: Path,
    directory_file: Path | None,
    json_file: Path | None,
) -> None:
    """成群的代理, 用于压测 / many agents over MQTT, for load. Exit 1 if one ended without its last receipt."""
    passwords = _passwords(users_file, agents)
    if directory_file is not None:
        directory_file.write_text(directory(passwords), encoding="utf-8")
        return
    _raise_file_limit(agents)
    fleet = Fleet(passwords, rate, seconds, host, port)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: fleet.stop())
    try:
        figures = fleet.run(_Progress())
    except NotLetIn as refused:
        raise click.ClickException(f"连不上 / cannot connect: {refused}") from refused
    _report(figures)
    if json_file is not None:
        json_file.write_text(json.dumps(asdict(figures)) + "\n", encoding="utf-8")
    sys.exit(1 if figures.unfinished else 0)


class _Progress:
    """One line, drawn over itself on a terminal, now and then elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._calls = 0

    def __call__(self, left_s: float, records: int, receipted: int) -> None:
        text = f"还剩 left {max(0.0, left_s):3.0f} s · 记录 records {records} · 有回执 receipted {receipted}"
        if self._terminal:
            click.echo(f"\r{text}\x1b[K", nl=False)
        elif self._calls % 5 == 0:
            click.echo(text)
        self._calls += 1


def _report(figures: Figures) -> None:
    click.echo(
        f"\n代理 agents       {figures.agents}, 按键 presses {figures.presses}, 记录 records {figures.records},"
        f" 来不及 turned away {figures.turned_away}\n"
        f"批次 batches      {figures.batches}, 重发 sent again {figures.resent}, 重连 reconnects {figures.reconnects}\n"
        f"回执 receipts     {figures.receipts}, 不符 mismatches {figures.mismatches}\n"
        f"等待 batch → receipt   p50 {figures.p50_ms} ms, p99 {figures.p99_ms} ms\n"
        f"吞吐 throughput   {figures.records_per_s} 条/秒 records/s ({figures.seconds} s)\n"
        f"{'✗' if figures.unfinished else '✓'} 缺最后回执的代理 agents without their last receipt: {figures.unfinished}"
    )


def _passwords(file: Path, agents: int) -> dict[str, str]:
    users = json.loads(file.read_text(encoding="utf-8"))
    names = [name for name in users if name != "collector"]
    if len(names) < agents:
        raise click.UsageError(f"{file.name}: 只有 {len(names)} 个代理 / only {len(names)} agents, {agents} are wanted")
    return {name: users[name] for name in names[:agents]}


def _raise_file_limit(agents: int) -> None:
    wanted = agents * _FILES_EACH + 100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


if __name__ == "__main__":
    command()
