"""The demo's broker and the deployed mosquitto keep the same promises, each as a real process with real clients."""

import json
import signal
import socket
import subprocess
import sys
import time

import pytest

from firmware_sim import broker as demo_broker
from tests.brokers import ROOT, Embedded, Mosquitto, Peer, Stranger, mosquitto_or_skip

REFUSED = 128
HELLO = b"\x10\x26\x00\x04MQTT\x04\xc2\x00\x3c\x00\x07agent-b\x00\x07agent-b\x00\x08hall-b-1"
RUBBISH = [
    b"",
    b"\x00",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x10\x05\xff\xff\xff",
    b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02\xff\xfe",  # a client id that is no UTF-8
    HELLO[:-3],
    b"\x10\xff\xff\xff\xff\x01",  # a length that is none
    bytes(range(256)),
    HELLO,
    HELLO + HELLO,
    HELLO + b"\x82\x05\x00\x01\x00\x01",  # a subscription cut off
    HELLO + b"\x82\x06\x00\x01\x00\x01\xff\x01",  # to a topic that is no UTF-8
    HELLO + b"\x32\x05\x00\x01\xff\x00\x01",  # a message likewise
    HELLO + b"\x82\x02\x00\x01",  # a subscription to nothing
    HELLO + bytes(range(256)),
]


@pytest.fixture(params=[Embedded, pytest.param(Mosquitto, marks=pytest.mark.mosquitto)])
def broker(request, tmp_path):
    if request.param is Mosquitto:
        mosquitto_or_skip()
    with request.param(tmp_path) as running:
        yield running


@pytest.fixture
def embedded(tmp_path):
    with Embedded(tmp_path) as running:
        yield running


# Fences


def test_agent_and_collector_hear_what_is_meant_for_them(broker):
    """Every topic of the two programs gets through, both ways."""
    up = ["batch", "status", "health", "config/reported"]
    down = ["receipt", "invite", "config/desired"]
    with Peer(broker, "collector") as collector, Peer(broker, "agent-a") as agent:
        collector.subscribe("hcp/v1/+/batch", "hcp/v1/+/status", "hcp/v1/+/health", "hcp/v1/+/config/reported")
        agent.subscribe(*(f"hcp/v1/agent-a/{each}" for each in down), "hcp/v1/collector/status")

        for each in up:
            agent.publish(f"hcp/v1/agent-a/{each}")
        for each in down:
            collector.publish(f"hcp/v1/agent-a/{each}")
        collector.publish("hcp/v1/collector/status")
        collector.hears("hcp/v1/agent-a/config/reported")
        agent.hears("hcp/v1/collector/status")

        assert [f"hcp/v1/agent-a/{each}" for each in up] == [t for t in collector.topics if "/agent-a/" in t]
        assert [*(f"hcp/v1/agent-a/{each}" for each in down), "hcp/v1/collector/status"] == agent.topics


@pytest.mark.parametrize(
    "wanted", ["#", "+/#", "hcp/#", "hcp/v1/+/receipt", "hcp/v1/agent-b/#", "hcp/v1/agent-b/receipt"]
)
def test_an_agent_hears_nothing_of_another_agent(broker, wanted):
    """Neither what is said now nor what was retained, whatever filter it tries."""
    with Peer(broker, "collector") as collector, Peer(broker, "agent-a") as agent, Peer(broker, "agent-b") as other:
        other.publish("hcp/v1/agent-b/status", b"retained", retain=True)
        agent.subscribe(wanted, "hcp/v1/collector/status")

        other.publish("hcp/v1/agent-b/batch")
        collector.publish("hcp/v1/agent-b/receipt")
        collector.publish("hcp/v1/collector/status", b"after the others")
        agent.hears("hcp/v1/collector/status")

        assert ["hcp/v1/collector/status"] == agent.topics


def test_a_newcomer_hears_nothing_before_it_subscribes(broker):
    """Somebody else's subscription must not bring it somebody else's retained messages."""
    with Peer(broker, "collector") as collector, Peer(broker, "agent-b") as other:
        collector.subscribe("hcp/v1/#")
        other.publish("hcp/v1/agent-b/status", b"retained", retain=True)
        collector.hears("hcp/v1/agent-b/status")
        with Peer(broker, "agent-a") as agent:
            agent.subscribe("hcp/v1/agent-a/status")
            agent.publish("hcp/v1/agent-a/status", b"own")
            agent.hears("hcp/v1/agent-a/status")

            assert ["hcp/v1/agent-a/status"] == agent.topics


@pytest.mark.parametrize(
    "forged",
    [
        "hcp/v1/agent-b/batch",
        "hcp/v1/agent-b/status",
        "hcp/v1/agent-b/receipt",
        "hcp/v1/agent-a/receipt",
        "hcp/v1/agent-a/invite",
        "hcp/v1/agent-a/config/desired",
        "hcp/v1/collector/status",
        "elsewhere",
    ],
)
def test_an_agent_is_not_heard_where_it_has_no_say(broker, forged):
    """Passed on to nobody, and the agent stays connected: one forbidden topic must not stop its ratings."""
    with (
        Peer(broker, "collector") as collector,
        Peer(broker, "agent-b") as other,
        Peer(broker, "agent-a") as agent,
    ):
        collector.subscribe("hcp/v1/#")
        other.subscribe("hcp/v1/agent-b/#", "hcp/v1/collector/status")

        agent.publish(forged, b"forged", retain=True)
        agent.publish("hcp/v1/agent-a/batch", b"honest")
        collector.hears("hcp/v1/agent-a/batch", b"honest")

        assert ["hcp/v1/agent-a/batch"] == collector.topics
        assert [] == other.topics


def test_the_collector_cannot_speak_for_an_agent(broker):
    """A batch comes from the agent or from nobody."""
    with Peer(broker, "collector") as collector, Peer(broker, "agent-a") as agent:
        collector.subscribe("hcp/v1/+/batch")
        collector.publish("hcp/v1/agent-a/batch", b"forged")
        agent.publish("hcp/v1/agent-a/batch", b"honest")

        assert b"honest" == collector.hears("hcp/v1/agent-a/batch").payload


def test_a_will_stays_within_the_fence(broker):
    """An agent must not be able to declare another one offline by dying."""
    will = ("hcp/v1/agent-b/status", "forged")
    with Peer(broker, "collector") as collector, Stranger(broker, "agent-a", will) as agent:
        collector.subscribe("hcp/v1/#")
        agent.kill()
        with Peer(broker, "agent-b") as other:
            other.publish("hcp/v1/agent-b/status", b"honest")

            assert b"honest" == collector.hears("hcp/v1/agent-b/status").payload


def test_the_embedded_broker_says_no_to_a_filter_outside_the_fence(embedded):
    """mosquitto grants such a filter and stays silent; the demo's broker says so."""
    with Peer(embedded, "agent-a") as agent:
        assert [1, REFUSED, REFUSED] == agent.subscribe("hcp/v1/agent-a/#", "hcp/v1/agent-b/receipt", "hcp/v1/#")


@pytest.mark.parametrize(
    ("user", "filter_", "expected"),
    [
        ("a", "hcp/v1/a", True),
        ("a", "hcp/v1/a/#", True),
        ("a", "hcp/v1/a/config/+", True),
        ("a", "hcp/v1/+/receipt", False),
        ("a", "hcp/v1/ab/receipt", False),
        ("a", "hcp/v1/#", False),
        ("a", "$SYS/#", False),
        ("a", "", False),
        ("", "hcp/v1//receipt", False),
        (None, "hcp/v1/None/receipt", False),
        ("collector", "hcp/v1/#", True),
        ("collector", "hcp/v1/+/batch", True),
        ("collector", "#", False),
        ("collector", "$share/collectors/hcp/v1/+/batch", False),
    ],
)
def test_a_filter_is_allowed_only_if_all_it_lets_through_is(user, filter_, expected):
    """The fence's own arithmetic."""
    assert expected is demo_broker.may_read(user, filter_)


@pytest.mark.parametrize("user", ["", "a/b", "+", "#", "$SYS"])
def test_a_user_name_that_would_break_the_fence_is_refused(user):
    """A name has to fit into one level of a topic."""
    with pytest.raises(ValueError, match="not a user name"):
        demo_broker.serve(0, {user: "secret"})


# Who is let in


@pytest.mark.parametrize(
    ("user", "password"), [("agent-a", "wrong"), ("agent-a", ""), ("nobody", "x"), ("", ""), (None, None)]
)
def test_nobody_is_let_in_with_a_wrong_name_or_password(broker, user, password):
    """paho hears the same words from both brokers."""
    stranger = Peer(broker, user, password, client_id="stranger")

    assert "Not authorized" == stranger.connect()
    stranger.leave()


def test_a_wrong_password_does_not_disturb_who_is_rightly_there(broker):
    """Even with the same client id."""
    with Peer(broker, "collector") as collector, Peer(broker, "agent-a") as agent:
        agent.subscribe("hcp/v1/agent-a/receipt")
        stranger = Peer(broker, "agent-a", "wrong")
        stranger.connect()
        stranger.leave()
        collector.publish("hcp/v1/agent-a/receipt", b"still there?")

        assert agent.hears("hcp/v1/agent-a/receipt")


# Wills and retained messages


def test_a_killed_agent_is_declared_offline(broker):
    """By its will, at once to who listens, and retained for who comes later."""
    topic = "hcp/v1/agent-a/status"
    with Peer(broker, "collector") as collector, Stranger(broker, "agent-a", (topic, "offline")) as agent:
        collector.subscribe("hcp/v1/+/status")
        agent.kill()

        assert not collector.hears(topic, b"offline", within_s=2).retain
    with Peer(broker, "collector") as later:
        later.subscribe("hcp/v1/+/status")

        assert later.hears(topic, b"offline").retain


def test_an_agent_that_falls_silent_is_declared_offline(broker):
    """Its keepalive runs out although the connection still stands: a machine that lost its power."""
    topic = "hcp/v1/agent-a/status"
    with (
        Peer(broker, "collector") as collector,
        Stranger(broker, "agent-a", (topic, "offline"), keepalive_s=2) as agent,
    ):
        collector.subscribe("hcp/v1/+/status")
        agent.freeze()

        assert collector.hears(topic, b"offline", within_s=15)


def test_an_agents_last_words_are_passed_on_and_its_will_is_not(broker):
    """It says "offline" itself and leaves at once."""
    topic = "hcp/v1/agent-a/status"
    with Peer(broker, "collector") as collector:
        collector.subscribe("hcp/v1/#")
        with Peer(broker, "agent-a").will(topic, b"died") as agent:
            for each in range(200):
                agent.send("hcp/v1/agent-a/batch", b"%d" % each)
            agent.publish(topic, b"offline", retain=True)
        collector.hears(topic, b"offline")
        with Peer(broker, "agent-b") as other:
            other.publish("hcp/v1/agent-b/status", b"after the others")
        collector.hears("hcp/v1/agent-b/status")

        assert [b"offline"] == [m.payload for m in collector.messages if m.topic == topic]
        assert {b"%d" % each for each in range(200)} == {m.payload for m in collector.messages if "batch" in m.topic}


def test_retained_messages_are_there_for_everyone_who_comes_later(broker):
    """The newest of each topic, at every new subscription, until it is cleared."""
    topic = "hcp/v1/agent-a/config/desired"
    with Peer(broker, "collector") as collector:
        collector.publish(topic, b"1", retain=True)
        collector.publish(topic, b"2", retain=True)
        for _ in range(3):
            with Peer(broker, "agent-a") as agent:
                agent.subscribe("hcp/v1/agent-a/#")

                assert b"2" == agent.hears(topic).payload
        collector.publish(topic, b"", retain=True)
        with Peer(broker, "agent-a") as agent:
            agent.subscribe("hcp/v1/agent-a/#", "hcp/v1/collector/status")
            collector.publish("hcp/v1/collector/status", b"after the others")
            agent.hears("hcp/v1/collector/status")

            assert ["hcp/v1/collector/status"] == agent.topics


# Coming back


def test_a_second_connection_with_the_same_id_puts_out_the_first(broker):
    """The newcomer is let in and heard; the first is cut off, and its will does not have the last word."""
    topic = "hcp/v1/agent-a/status"
    with Peer(broker, "collector") as collector:
        collector.subscribe("hcp/v1/+/status")
        first = Peer(broker, "agent-a").will(topic, b"offline")
        first.connect()
        first.subscribe("hcp/v1/agent-a/receipt")
        with Peer(broker, "agent-a") as second:
            second.subscribe("hcp/v1/agent-a/receipt")
            second.publish(topic, b"online", retain=True)
            collector.hears(topic, b"online")
            collector.publish("hcp/v1/agent-a/receipt")
            second.hears("hcp/v1/agent-a/receipt")

            assert first.lost.wait(5)
            assert [] == first.topics
            assert [b"offline", b"online"] == [message.payload for message in collector.messages]
        first.leave()


def test_a_killed_agent_is_let_in_again_at_once(broker):
    """Ten times in a row with the same client id, and receipts reach it each time."""
    will = ("hcp/v1/agent-a/status", "offline")
    with Peer(broker, "collector") as collector:
        for _ in range(10):
            with Stranger(broker, "agent-a", will) as agent:
                agent.kill()
            with Peer(broker, "agent-a") as back:
                back.subscribe("hcp/v1/agent-a/receipt")
                collector.publish("hcp/v1/agent-a/receipt")
                back.hears("hcp/v1/agent-a/receipt", within_s=2)


@pytest.mark.alone
def test_a_frozen_agent_does_not_hold_its_place(broker):
    """Nor does what is waiting for it: 20 MB that nobody reads."""
    will = ("hcp/v1/agent-a/status", "offline")
    with Peer(broker, "collector") as collector, Stranger(broker, "agent-a", will) as frozen:
        frozen.freeze()
        for _ in range(50):
            collector.publish("hcp/v1/agent-a/invite", bytes(400_000))
        before = time.monotonic()
        with Peer(broker, "agent-a") as back:
            back.subscribe("hcp/v1/agent-a/receipt")
            collector.publish("hcp/v1/agent-a/receipt", b"x")
            back.hears("hcp/v1/agent-a/receipt", b"x")

            assert 2 > time.monotonic() - before


def test_a_killed_broker_comes_back_on_the_same_port(broker):
    """Everyone notices and gets in again; what was retained is forgotten, so nobody may rely on it."""
    with Peer(broker, "agent-a") as agent, Peer(broker, "agent-b") as other:
        agent.publish("hcp/v1/agent-a/status", b"online", retain=True)
        broker.kill()

        assert agent.lost.wait(5)
        assert other.lost.wait(5)
    broker.start()
    with Peer(broker, "collector") as collector, Peer(broker, "agent-a") as agent:
        collector.subscribe("hcp/v1/#")
        agent.publish("hcp/v1/agent-a/batch", b"again")
        collector.hears("hcp/v1/agent-a/batch", b"again")

        assert ["hcp/v1/agent-a/batch"] == collector.topics


# Size and number


def test_a_whole_batch_arrives_as_it_was_sent(broker):
    """400 kB, byte for byte, several in a row."""
    batch = bytes(range(256)) * 1600
    with Peer(broker, "collector") as collector, Peer(broker, "agent-a") as agent:
        collector.subscribe("hcp/v1/+/batch")
        for _ in range(10):
            agent.publish("hcp/v1/agent-a/batch", batch)
        collector.hears_many(10)

        assert {batch} == {message.payload for message in collector.messages}


def test_thousands_of_small_messages_arrive_in_order(broker):
    """As an agent sends them when it is not behind, only faster."""
    with Peer(broker, "collector") as collector, Peer(broker, "agent-a") as agent:
        collector.subscribe("hcp/v1/+/batch")
        for each in range(3000):
            agent.send("hcp/v1/agent-a/batch", b"%d" % each)
        collector.hears_many(3000)

        assert [b"%d" % each for each in range(3000)] == [message.payload for message in collector.messages]


def test_comings_and_goings_cost_nobody_else_a_message(broker):
    """One agent talks while the other comes, subscribes and goes, fifty times."""
    with Peer(broker, "collector") as collector, Peer(broker, "agent-a") as agent:
        collector.subscribe("hcp/v1/+/batch")
        for each in range(50):
            for _ in range(20):
                agent.send("hcp/v1/agent-a/batch")
            with Peer(broker, "agent-b") as other:
                other.subscribe(f"hcp/v1/agent-b/{each}")
        collector.hears_many(1000)

        assert 1000 == len(collector.messages)


# The demo's broker as a process


def test_it_says_one_line_and_nothing_else(embedded):
    """Whatever clients do to it: a knock, garbage, a refusal, a subscriber that does not answer, a kill."""
    for rubbish in RUBBISH:
        with socket.create_connection(("127.0.0.1", embedded.port)) as line:
            line.sendall(rubbish)
    refused = Peer(embedded, "agent-b", "wrong")
    refused.connect()
    refused.leave()
    with (
        Peer(embedded, "collector") as collector,
        Stranger(embedded, "agent-a", ("hcp/v1/agent-a/status", "x")) as agent,
    ):
        collector.subscribe("hcp/v1/#")
        agent.freeze()
        for _ in range(10):
            collector.publish("hcp/v1/agent-a/receipt", bytes(400_000))
        time.sleep(6)
        agent.kill()
        collector.hears("hcp/v1/agent-a/status", b"x")
    embedded.stop()

    assert f"消息服务器 broker: mqtt://127.0.0.1:{embedded.port} (amqtt)\n" == embedded.said()


@pytest.mark.alone
def test_it_ends_at_once_when_told_to(embedded):
    """Even when a client has stopped reading, and while it is busy."""
    with (
        Peer(embedded, "collector") as collector,
        Stranger(embedded, "agent-a", ("hcp/v1/agent-a/status", "x")) as agent,
    ):
        agent.freeze()
        for _ in range(50):
            collector.send("hcp/v1/agent-a/receipt", bytes(400_000))
        process = embedded.process
        before = time.monotonic()
        embedded.stop()

        assert 1 > time.monotonic() - before
        assert 0 == process.returncode


def test_it_tells_the_port_that_the_system_chose(tmp_path):
    """In a file that appears whole, once it listens."""
    users_file, port_file = tmp_path / "users.json", tmp_path / "port"
    users_file.write_text(json.dumps({"collector": "x"}))
    command = [sys.executable, "-W", "error", "-m", "firmware_sim.broker"]
    options = ["--users-file", str(users_file), "--port-file", str(port_file)]
    with subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.PIPE) as process:
        line = process.stdout.readline().decode()
        port = int(port_file.read_text())
        socket.create_connection(("127.0.0.1", port)).close()
        process.send_signal(signal.SIGTERM)

        assert 0 == process.wait(5)
        assert f"消息服务器 broker: mqtt://127.0.0.1:{port} (amqtt)\n" == line


def test_a_taken_port_is_said_in_one_sentence(embedded, tmp_path):
    """No traceback for the person who started it twice."""
    options = ["--port", str(embedded.port), "--users-file", str(tmp_path / "users.json")]
    second = subprocess.run(
        [sys.executable, "-m", "firmware_sim.broker", *options], cwd=ROOT, capture_output=True, text=True
    )

    assert 1 == second.returncode
    assert "无法启动" in second.stderr
    assert "Traceback" not in second.stderr
