"""Real agents' messages through a real mosquitto into a real ledger, and receipts only for what is on disk."""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from collector.config import TlsSettings, tls_context
from collector.inbox import Broker, Inbox
from protocols.messages import (
    COLLECTOR_STATUS,
    PAYLOAD_BYTES_MAX,
    AgentStatus,
    CollectorStatus,
    Health,
    Receipt,
    WindowHealth,
    decode,
    encode,
)
from tests.brokers import USERS, Mosquitto, Peer, hangs_up, mosquitto_or_skip
from tests.collector.agents import NOW_MS, Agent, rated
from tests.collector.ledgers import directory_of, window
from tests.collector.provinces import eventually

pytestmark = pytest.mark.mosquitto


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    mosquitto_or_skip()
    with Mosquitto(tmp_path / "broker") as running:
        yield running


@contextmanager
def collecting(ledger, broker: Mosquitto, password: str = USERS["collector"], **other) -> Iterator[Inbox]:
    """An inbox at work. Fails if its loop breaks or does not end."""
    here = Broker("127.0.0.1", broker.port, "collector", password, **other)
    with working(Inbox(here, ledger.intake, {"agent-a", "agent-b"}, lambda: NOW_MS)) as inbox:
        yield inbox


@contextmanager
def working(inbox: Inbox) -> Iterator[Inbox]:
    """The loop of this inbox, for as long as the block lasts."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        loop = pool.submit(inbox.run, stop)
        try:
            yield inbox
        finally:
            stop.set()
            loop.result(5)


@pytest.fixture
def ledger(opened):
    return opened(directory_of(window("agent-a", "w1", "D1"), window("agent-b", "w1", "D2")))


@contextmanager
def agent_peer(broker: Mosquitto, name: str = "agent-a") -> Iterator[Peer]:
    """An agent that hears its receipts and whether a collector is there."""
    with Peer(broker, name) as peer:
        peer.subscribe(f"hcp/v1/{name}/receipt", COLLECTOR_STATUS)
        yield peer


def online(peer: Peer) -> bool | None:
    """What the collector last said of itself, as this agent heard it."""
    heard = [message for message in peer.messages if message.topic == COLLECTOR_STATUS]
    return decode(heard[-1].payload, CollectorStatus).online if heard else None


def receipts(peer: Peer) -> list[Receipt]:
    return [decode(message.payload, Receipt) for message in peer.messages if message.topic.endswith("/receipt")]


def test_a_batch_is_answered_by_its_receipt(ledger, broker):
    """From an agent's message to the agent's receipt, through a real broker."""
    agent = Agent("agent-a")
    with collecting(ledger, broker), agent_peer(broker) as peer:
        eventually(lambda: online(peer))
        peer.publish("hcp/v1/agent-a/batch", encode(agent.write(*rated(1), *rated(2))))
        peer.hears("hcp/v1/agent-a/receipt")

    assert [Receipt(agent.epoch, 4, agent.heads[4].hex())] == receipts(peer)
    assert agent.bodies == ledger.records()


def test_a_receipt_is_given_only_after_the_commit(ledger, broker):
    """A commit that fails ends the collector, and nobody was promised anything. Red if it is published before."""
    agent = Agent("agent-a")
    tried: list[str] = []

    class DiskFull(Exception):
        pass

    class Full:
        def __getattr__(self, name):
            return getattr(real, name)

        def execute(self, sql, *values):
            if sql == "COMMIT":
                tried.append(sql)
                raise DiskFull
            return real.execute(sql, *values)

    with agent_peer(broker) as peer:
        with pytest.raises(DiskFull), collecting(ledger, broker) as inbox:
            eventually(lambda: online(peer))
            real, ledger.store._db = ledger.store._db, Full()
            peer.publish("hcp/v1/agent-a/batch", encode(agent.write(*rated(1))))
            eventually(lambda: tried)
        ledger.store._db = real
        inbox._client.socket().close()  # a process that ends does
        time.sleep(0.1)

        assert [] == receipts(peer)
    assert [] == ledger.records()


NONSENSE = {
    "not json": ("hcp/v1/agent-a/batch", b"hello"),
    "not a batch": ("hcp/v1/agent-a/batch", b'{"epoch": 1}'),
    "cut short": ("hcp/v1/agent-a/batch", zlib.compress(b"{}" * 500)[:-9]),
    "a bomb": ("hcp/v1/agent-a/batch", zlib.compress(b" " * 50_000_000)),
    "too long": ("hcp/v1/agent-a/batch", b"x" * (PAYLOAD_BYTES_MAX + 1)),
    "no health": ("hcp/v1/agent-a/health", b"[]"),
    "no status": ("hcp/v1/agent-a/status", b"\xff\xff"),
    "deep": ("hcp/v1/agent-a/health", b"[" * 200_000),
}
STRANGERS = {
    "not placed": ("hcp/v1/agent-z/status", encode(AgentStatus(True))),
    "odd name": ("hcp/v1/-odd-/batch", b"x"),
    "odd kind": ("hcp/v1/agent-a/mood", b"x"),
}


def test_what_is_not_ours_is_quarantined_and_the_inbox_goes_on(ledger, broker):
    """With topic, reason, size and bytes; counted when it comes again."""
    agent = Agent("agent-a")
    with collecting(ledger, broker), agent_peer(broker) as peer:
        eventually(lambda: online(peer))
        for name, payload in (*NONSENSE.values(), NONSENSE["not json"]):
            peer.publish(name, payload)
        peer.publish("hcp/v1/agent-a/batch", encode(agent.write(*rated(1))))
        peer.hears("hcp/v1/agent-a/receipt")

    kept = {(row["topic"], row["size"]): row for row in ledger.store.rows("SELECT * FROM quarantine")}
    assert {(name, len(payload)): payload[:65536] for name, payload in NONSENSE.values()} == {
        key: row["payload"] for key, row in kept.items()
    }
    assert 2 == kept["hcp/v1/agent-a/batch", len(b"hello")]["times"]
    assert all(row["reason"] for row in kept.values())
    assert agent.bodies == ledger.records()


@pytest.mark.parametrize("what", STRANGERS)
def test_who_is_not_in_the_directory_is_not_heard(ledger, broker, what):
    """Said to the inbox as paho would: the broker's own rules do not let it through."""
    with collecting(ledger, broker) as inbox, agent_peer(broker) as peer:
        eventually(lambda: online(peer))
        inbox._take([STRANGERS[what]])

    ((name, payload),) = [tuple(row) for row in ledger.store.rows("SELECT topic, payload FROM quarantine")]
    assert STRANGERS[what] == (name, payload)


def test_empty_messages_take_retained_ones_away_and_say_nothing(ledger, broker):
    """Red if an empty payload is quarantined: a broker that is cleaned up would fill the list."""
    with collecting(ledger, broker), agent_peer(broker) as peer:
        eventually(lambda: online(peer))
        peer.publish("hcp/v1/agent-a/status", encode(AgentStatus(True)), retain=True)
        eventually(lambda: ledger.overview.agents())
        for kind in ("status", "health", "batch"):
            peer.publish(f"hcp/v1/agent-a/{kind}", b"", retain=True)
        agent = Agent("agent-a")
        peer.publish("hcp/v1/agent-a/batch", encode(agent.write(*rated(1))))
        peer.hears("hcp/v1/agent-a/receipt")

    assert 0 == ledger.count("quarantine")
    assert ledger.overview.agents()[0]["status"]["online"]


def test_retained_messages_of_long_ago_do_no_harm(ledger, broker):
    """An old batch is answered like any other; the ledger is as it was."""
    agent = Agent("agent-a")
    agent.write(*rated(1), *rated(2))
    with agent_peer(broker) as peer:
        peer.publish("hcp/v1/agent-a/batch", encode(agent.batch(1, 2)), retain=True)
        ledger.take(agent, agent.batch(1, 4))
        with collecting(ledger, broker):
            peer.hears("hcp/v1/agent-a/receipt")

    assert [Receipt(agent.epoch, 4, agent.heads[4].hex())] == receipts(peer)
    assert agent.bodies == ledger.records()


def test_status_and_health_are_shown_as_they_came(ledger, broker):
    """Deflated too, as an agent may send anything. Red if the payload is kept and not what it says."""
    health = Health(
        at_ms=1, epoch=Agent().epoch, windows=[WindowHealth("w1", "cable_out", detail="ttyUSB0")], backlog=7
    )
    with collecting(ledger, broker), agent_peer(broker) as peer:
        eventually(lambda: online(peer))
        peer.publish("hcp/v1/agent-a/status", zlib.compress(encode(AgentStatus(True, "1.2"))), retain=True)
        peer.publish("hcp/v1/agent-a/health", encode(health), retain=True)
        eventually(lambda: ledger.overview.agents() and ledger.overview.agents()[0]["health"])

    (agent,) = ledger.overview.agents()
    assert ("1.2", 7, "cable_out") == (
        agent["status"]["version"],
        agent["health"]["backlog"],
        agent["health"]["windows"][0]["state"],
    )


def test_an_agents_will_reaches_the_page(ledger, broker):
    """A hall whose power is gone is offline without having said so."""
    with collecting(ledger, broker), agent_peer(broker, "agent-b") as watching:
        eventually(lambda: online(watching))
        peer = Peer(broker, "agent-a").will("hcp/v1/agent-a/status", encode(AgentStatus(False)))
        peer.connect()
        peer.publish("hcp/v1/agent-a/status", encode(AgentStatus(True)), retain=True)
        eventually(lambda: ledger.overview.agents() and ledger.overview.agents()[0]["status"]["online"])
        peer._client._sock_close()
        eventually(lambda: not ledger.overview.agents()[0]["status"]["online"])
        peer._client.loop_stop()


def test_agents_hear_whether_anybody_gives_receipts(ledger, broker):
    """Online once it is subscribed, offline when it leaves."""
    with agent_peer(broker) as peer:
        with collecting(ledger, broker):
            eventually(lambda: online(peer))
        eventually(lambda: online(peer) is False)


def test_an_old_farewell_does_not_silence_the_agents(ledger, broker):
    """The will of an earlier collector, or the farewell of another one: whoever is there says so again."""
    with collecting(ledger, broker), agent_peer(broker) as peer, Peer(broker, "collector", client_id="other") as other:
        eventually(lambda: online(peer))
        heard = len(peer.messages)
        other.publish(COLLECTOR_STATUS, encode(CollectorStatus(False)), retain=True)
        eventually(lambda: len(peer.messages) >= heard + 2)

        assert online(peer)


def test_a_broker_that_was_killed_is_found_again(ledger, broker, caplog):
    """It forgets everything; agents send again. Two outages."""
    caplog.set_level(logging.INFO)
    agent = Agent("agent-a")
    with collecting(ledger, broker):
        for number in (1, 2, 3):
            with agent_peer(broker) as peer:
                eventually(lambda peer=peer: online(peer))
                agent.write(*rated(number))
                peer.publish("hcp/v1/agent-a/batch", encode(agent.batch(1, 2 * number)))
                peer.hears("hcp/v1/agent-a/receipt")
            if number < 3:
                broker.kill()
                broker.start()

    assert agent.bodies == ledger.records()
    assert 6 == ledger.count("press") + ledger.count("closing")
    assert 2 == caplog.text.count("broker lost")


def test_a_broker_that_is_not_there_yet_is_waited_for(ledger, broker, caplog):
    """One line in the log, however long it takes."""
    broker.stop()
    with collecting(ledger, broker):
        time.sleep(0.6)
        broker.start()
        with agent_peer(broker) as peer:
            eventually(lambda: online(peer))

    assert 1 == caplog.text.count("cannot be reached")


def test_a_broker_that_hangs_up_at_the_first_word_is_called_again(ledger, caplog, monkeypatch):
    """paho calls such a connection made and has no socket. Red if that is believed: the loop broke on it."""
    with hangs_up() as (port, cut):
        monkeypatch.setattr("collector.inbox._no_delay", cut)
        nobody = Broker("127.0.0.1", port, "collector", "x")
        with working(Inbox(nobody, ledger.intake, {"agent-a"}, lambda: NOW_MS)):
            eventually(lambda: caplog.text.count("broker lost") >= 3)


def test_a_wrong_password_is_named_once_and_not_hurried(ledger, broker, caplog):
    """What to put right stands in the log, once; the broker is not asked in a hot loop.

    Red if a refused login counts as a connection.
    """
    with collecting(ledger, broker, password="wrong"):
        eventually(lambda: "broker.password" in caplog.text)
        time.sleep(0.7)

    assert 1 == caplog.text.count("broker refuses us")
    assert 1 == broker.said().count("not authorised")
    assert "wrong" not in caplog.text


def test_many_agents_messages_are_taken_in_one_transaction(ledger, broker):
    """What waits is kept together: under load one fsync serves many. Red if each message is a transaction."""
    first, second = Agent("agent-a"), Agent("agent-b")
    commits: list[str] = []
    with collecting(ledger, broker), agent_peer(broker) as peer, agent_peer(broker, "agent-b") as other:
        eventually(lambda: online(peer))
        with ledger.store._lock:  # the inbox is held up, and messages gather
            peer.publish("hcp/v1/agent-a/batch", encode(first.write(*rated(1))))
            time.sleep(0.1)
            for number in range(2, 8):
                peer.send("hcp/v1/agent-a/batch", encode(first.write(*rated(number))))
                other.send("hcp/v1/agent-b/batch", encode(second.write(*rated(number + 100, device="D2"))))
            time.sleep(0.2)
            ledger.store._db.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
        eventually(lambda: 6 == len(receipts(other)) and 7 == len(receipts(peer)))
        ledger.store._db.set_trace_callback(None)

    assert 14 + 12 == len(ledger.records())
    assert len(commits) <= 4


def test_fields_that_nobody_knows_yet_are_passed_over(ledger, broker):
    """A newer agent's status and batch are understood as far as they go."""
    agent = Agent("agent-a")
    agent.write(rated(1)[0])
    with collecting(ledger, broker), agent_peer(broker) as peer:
        eventually(lambda: online(peer))
        peer.publish("hcp/v1/agent-a/batch", encode(agent.batch(1, 1))[:-1] + b',"mood":"good"}')
        peer.hears("hcp/v1/agent-a/receipt")

    assert agent.bodies == ledger.records()


def test_it_works_through_tls(ledger, tmp_path, caplog):
    """A batch of many records at once, longer than one TLS record. Red if what TLS holds back is not read."""
    mosquitto_or_skip()
    agent = Agent("agent-a")
    caplog.set_level(logging.INFO)
    agent.write(*(record for number in range(1, 300) for record in rated(number)))
    with Mosquitto(tmp_path / "tls", tls=True) as broker:
        trusting = tls_context(TlsSettings(ca=str(broker.ca_file)), tmp_path)
        trusted = Broker("localhost", broker.port, "collector", USERS["collector"], tls=trusting)
        with working(Inbox(trusted, ledger.intake, {"agent-a"}, lambda: NOW_MS)):
            eventually(lambda: "broker connected" in caplog.text)
            with Peer(broker, "agent-a").trust(broker.ca_file) as peer:
                peer.subscribe("hcp/v1/agent-a/receipt")
                peer.publish("hcp/v1/agent-a/batch", encode(agent.batch(1, 598)))
                peer.hears("hcp/v1/agent-a/receipt")

    assert agent.bodies == ledger.records()


def test_it_knows_whether_agents_can_be_heard(ledger, broker):
    """What the health check tells. Red if a broker that went away still counts as connected."""
    with collecting(ledger, broker) as inbox:
        eventually(lambda: inbox.connected)
        broker.stop()
        eventually(lambda: not inbox.connected)
        broker.start()
        eventually(lambda: inbox.connected)
