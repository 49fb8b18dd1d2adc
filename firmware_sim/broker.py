"""The demo's own MQTT broker, so that a demo runs where no broker is installed.

For demos and tests only: it listens on this machine alone, keeps nothing on disk and has no TLS. A hall or a city
runs mosquitto (deploy/mosquitto), which keeps the same fences.

The broker inside is the Python package amqtt, and amqtt may drop messages under faults: it acknowledges a message
before it passes it on, and forgets a message that a subscriber has not acknowledged within five seconds. That costs
nothing here, because the product does not rely on a broker: an agent keeps every record until the collector's
receipt says that the ledger has it, and sends again what no receipt covers.

What amqtt 0.12.1 gets wrong in a way that a demo would show (fences with holes, names that cannot be taken over,
agents that look alive, a farewell without end) is put right below, each with its reason.
"""

import asyncio
import hmac
import json
import logging
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from amqtt.adapters import ReaderAdapter, WriterAdapter
from amqtt.broker import Broker, Server
from amqtt.contexts import Action, ListenerConfig
from amqtt.errors import AMQTTError, BrokerError, MQTTError
from amqtt.mqtt.connack import NOT_AUTHORIZED, ConnackPacket
from amqtt.mqtt.connect import ConnectPacket
from amqtt.mqtt.disconnect import DisconnectPacket
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.session import Session
from amqtt.utils import gen_client_id

COLLECTOR = "collector"

# Whose words go where; deploy/mosquitto/acl says the same in mosquitto's language. An agent's name is its user name.
COLLECTOR_READS = ("hcp/v1/#",)
COLLECTOR_WRITES = (
    "hcp/v1/+/receipt",
    "hcp/v1/+/taken",
    "hcp/v1/+/invite",
    "hcp/v1/+/config/desired",
    "hcp/v1/collector/status",
)
AGENT_READS = ("hcp/v1/{agent}/#", "hcp/v1/collector/status")
AGENT_WRITES = (
    "hcp/v1/{agent}/batch",
    "hcp/v1/{agent}/details",
    "hcp/v1/{agent}/status",
    "hcp/v1/{agent}/health",
    "hcp/v1/{agent}/config/reported",
)


@click.command("broker")
@click.option("--port", default=0, show_default=True, help="端口; 0 由系统选择 / 0: the system chooses")
@click.option(
    "--port-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="监听后把端口写入此文件 / written once it listens",
)
@click.option(
    "--users-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="JSON: {用户 user: 口令 password}",
)
def main(port: int, port_file: Path | None, users_file: Path) -> None:
    """演示用消息服务器, 只在本机监听 / The demo's message broker, on this machine only."""
    users = json.loads(users_file.read_text("utf-8"))
    try:
        serve(port, users, port_file, ready=_say_where)
    except (BrokerError, ValueError) as error:
        raise click.ClickException(f"消息服务器无法启动 / the broker cannot start: {error}") from error


def _say_where(port: int) -> None:
    click.echo(f"消息服务器 broker: mqtt://127.0.0.1:{port} (amqtt)")


def serve(
    port: int,
    users: Mapping[str, str],
    port_file: Path | None = None,
    ready: Callable[[int], None] | None = None,
) -> None:
    """Be the broker until SIGTERM or SIGINT. Port 0: the system chooses, and `port_file` and `ready` are told.

    `users` maps a user name to its password. Wants the main thread of a process of its own. Raises BrokerError if
    the port is taken, ValueError for a user name that would not fit into one level of a topic.
    """
    _quieten()
    asyncio.run(_serve(port, users, port_file, ready))


async def _serve(
    port: int,
    users: Mapping[str, str],
    port_file: Path | None,
    ready: Callable[[int], None] | None,
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_report_what_is_not_everyday)
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    broker = DemoBroker(port, users)
    await broker.start()
    if port_file is not None:
        _write_whole(port_file, str(broker.port))
    if ready is not None:
        ready(broker.port)
    await stop.wait()
    broker.cut_all()
    await broker.shutdown()


class DemoBroker(Broker):  # type: ignore[misc]
    """amqtt's broker with fences, with takeover, and without sessions that outlive their connection."""

    def __init__(self, port: int, users: Mapping[str, str]):
        for user in users:
            _check_user(user)
        super().__init__({"listeners": {"default": {"bind": f"127.0.0.1:{port}"}}, "plugins": {}})
        self._users = users

    @property
    def port(self) -> int:
        """The port it really listens on; only once it is started."""
        return int(self._servers["default"].instance.sockets[0].getsockname()[1])

    def cut_all(self) -> None:
        """Drop every connection now. A client that no longer reads would otherwise hold up the farewell."""
        for _, connection in self._sessions.values():
            connection.cut()

    # One connection, from its first byte to its last

    async def stream_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        try:
            await super().stream_connected(reader, writer, listener_name)
        finally:
            # A connection nobody serves any more must not look alive: its client would wait instead of coming back.
            writer.transport.abort()

    async def _initialize_client_session(
        self, reader: ReaderAdapter, writer: WriterAdapter, remote_address: str, remote_port: int
    ) -> tuple["_Connection", Session]:
        connection, session = await _Connection.init_from_connect(reader, writer, self.plugins_manager)
        # Before anything else: amqtt would first delete the session of whoever rightly holds this client id.
        if not await self._authenticate(session, self.listeners_config["default"]):
            await ConnackPacket.build(0, NOT_AUTHORIZED).to_stream(writer)
            await writer.close()
            raise MQTTError("wrong user or password")
        session.client_id = session.client_id or gen_client_id()
        # Nothing is kept for a client that is away; amqtt's way of keeping it loses most of it.
        session.clean_session = True
        # MQTT 3.1.1, 3.1.2.10: one and a half times what the client promised.
        session.keep_alive += session.keep_alive // 2
        # amqtt publishes a will wherever it points to.
        session.will_flag = session.will_flag and may_write(session.username, session.will_topic)
        await self._put_out(session.client_id)
        return connection, session

    async def _authenticate(self, session: Session, _: ListenerConfig) -> bool:
        known = self._users.get(session.username or "")
        return known is not None and hmac.compare_digest(known.encode(), (session.password or "").encode())

    async def _put_out(self, client_id: str) -> None:
        """End the connection that holds this client id. Its will goes out before the newcomer can say a word."""
        while client_id in self._sessions:
            connection = self._sessions[client_id][1]
            connection.cut()
            await connection.ended.wait()

    async def _handle_client_session(
        self,
        reader: ReaderAdapter,
        writer: WriterAdapter,
        client_session: Session,
        handler: "_Connection",
        server: Server,
        listener_name: str,
    ) -> None:
        try:
            await super()._handle_client_session(reader, writer, client_session, handler, server, listener_name)
        finally:
            if self._get_handler(client_session) is handler:
                await self._delete_session(client_session.client_id)
            handler.ended.set()

    async def _handle_disconnect(
        self, client_session: Session, handler: "_Connection", disconnect_waiter: asyncio.Future[Any]
    ) -> None:
        # What it acknowledged it passes on, or an agent's last "offline" would vanish with the agent.
        said = client_session.delivered_message_queue
        while not said.empty():
            last_words: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            last_words.set_result(said.get_nowait())
            if not await self._handle_message_delivery(client_session, handler, last_words):
                break
        await super()._handle_disconnect(client_session, handler, disconnect_waiter)

    # Fences

    async def _topic_filtering(self, session: Session, topic: str, action: Action) -> bool:
        # Must not wait for anything: amqtt asks while it walks over its subscriptions, and if they change
        # meanwhile, the walk ends and the message is lost.
        if action == Action.PUBLISH:
            return may_write(session.username, topic)
        return may_read(session.username, topic)

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        # amqtt greets every newcomer with the retained messages that anybody has subscribed to.
        if any(holder is session for holder, _ in self._subscriptions.get(subscription[0], ())):
            await super()._publish_retained_messages_for_subscription(subscription, session)


class _Connection(BrokerProtocolHandler):  # type: ignore[misc]
    """One client's connection, which can be cut, and which ends when the client falls silent."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.ended = asyncio.Event()
        self._farewell: asyncio.Future[DisconnectPacket | None] = asyncio.Future()

    def cut(self) -> None:
        """Drop the line without a word; the reader sees the end of it and does the rest."""
        if self.writer is not None:
            self.writer._writer.transport.abort()

    # A farewell of our own, made before the first byte is read: amqtt makes its own afterwards, and would wait for
    # ever for a client that left in between.

    async def wait_disconnect(self) -> DisconnectPacket | None:
        return await self._farewell

    async def handle_disconnect(self, disconnect: DisconnectPacket | None) -> None:
        if not self._farewell.done():
            self._farewell.set_result(disconnect)

    async def stop(self) -> None:
        await super().stop()
        await self.handle_disconnect(None)

    async def handle_connect(self, connect: ConnectPacket) -> None:
        self.cut()

    def handle_read_timeout(self) -> None:
        # amqtt lets a silent client stay, and "online" would be shown for an agent that lost its power.
        self.cut()


def may_write(user: str | None, topic: str | None) -> bool:
    """Whether this user's word on this topic is passed on."""
    allowed = COLLECTOR_WRITES if user == COLLECTOR else AGENT_WRITES
    return _is_fenced_in(user, topic, allowed)


def may_read(user: str | None, topic_or_filter: str | None) -> bool:
    """Whether this user may hear this topic, or everything that this filter lets through."""
    allowed = COLLECTOR_READS if user == COLLECTOR else AGENT_READS
    return _is_fenced_in(user, topic_or_filter, allowed)


def _is_fenced_in(user: str | None, wanted: str | None, allowed: tuple[str, ...]) -> bool:
    if not user or not wanted:
        return False
    return any(_covers(fence.format(agent=user), wanted) for fence in allowed)


def _covers(fence: str, wanted: str) -> bool:
    levels = wanted.split("/")
    for place, post in enumerate(fence.split("/")):
        if post == "#":
            return True
        if place == len(levels) or levels[place] == "#" or post not in ("+", levels[place]):
            return False
    return len(levels) == place + 1


def _check_user(user: str) -> None:
    if not user or set(user) & set("/+#$"):
        raise ValueError(f"用户名不可用 / not a user name: {user!r}")


def _write_whole(path: Path, text: str) -> None:
    """Whoever waits for this file never reads half of it."""
    half = path.with_name(path.name + ".part")
    half.write_text(text, "utf-8")
    half.replace(path)


# amqtt calls these errors; here they are somebody who only knocked, a subscriber that went away or was slow, and
# what is raised as well.
EVERYDAY = ("No data from", "Task failed", "Broker startup failed")


def _quieten() -> None:
    speaker = logging.StreamHandler()
    speaker.addFilter(lambda record: not record.getMessage().startswith(EVERYDAY))
    log = logging.getLogger("amqtt")
    log.setLevel(logging.ERROR)
    log.propagate = False
    log.addHandler(speaker)


def _report_what_is_not_everyday(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # A message that could not be handed to a client that left; amqtt looks at none of these.
    if not isinstance(context.get("exception"), AMQTTError | MQTTError | OSError):
        loop.default_exception_handler(context)


if __name__ == "__main__":
    main()
