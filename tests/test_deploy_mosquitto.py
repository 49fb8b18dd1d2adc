"""The deployed mosquitto configuration, run by a real mosquitto.

What it has in common with the demo's broker (fences, wills, takeover) is held by tests/firmware_sim/test_broker.py.
"""

import gc
import re
import ssl

import pytest

from firmware_sim import broker as demo_broker
from tests import brokers
from tests.brokers import DEPLOYED, Mosquitto, Peer, make_certificates, mosquitto_or_skip
from tests.collector.provinces import eventually

pytestmark = pytest.mark.mosquitto


@pytest.fixture
def deployed(tmp_path):
    mosquitto_or_skip()
    with Mosquitto(tmp_path, tls=True) as running:
        yield running


def _heard_over_tls(broker, host="127.0.0.1", **versions):
    """Whether a batch gets from an agent to the collector when both trust the CA that the README makes."""
    collector, agent = (Peer(broker, user).trust(broker.ca_file, **versions) for user in ("collector", "agent-a"))
    assert ["Success", "Success"] == [collector.connect(host), agent.connect(host)]
    collector.subscribe("hcp/v1/+/batch")
    agent.publish("hcp/v1/agent-a/batch", b"over TLS")
    heard = collector.hears("hcp/v1/agent-a/batch").payload
    collector.leave()
    agent.leave()
    return b"over TLS" == heard


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_who_trusts_the_ca_is_served(deployed, host):
    """By address and by name, with the certificates that the README's commands make."""
    assert _heard_over_tls(deployed, host)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(deployed, version):
    """`tls_version` in the configuration is the lowest, not the only one."""
    assert _heard_over_tls(deployed, minimum_version=version, maximum_version=version)


# paho 2.2 leaves the socket open when the handshake fails; it is closed, with a warning, when it is collected.
leaves_a_socket = pytest.mark.filterwarnings("ignore:.*SSLSocket:pytest.PytestUnraisableExceptionWarning")


@leaves_a_socket
def test_who_does_not_trust_the_ca_does_not_connect(deployed):
    """The machine's own list of authorities does not know a hall's CA."""
    with pytest.raises(ssl.SSLCertVerificationError):
        Peer(deployed, "agent-a").trust(None).connect()
    gc.collect()


@leaves_a_socket
def test_a_certificate_for_another_server_is_refused(tmp_path):
    """Right CA, wrong name."""
    mosquitto_or_skip()
    make_certificates(tmp_path, host="elsewhere.example", address="10.0.0.1")
    with Mosquitto(tmp_path, tls=True) as broker:
        agent = Peer(broker, "agent-a").trust(broker.ca_file)
        with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
            agent.connect()
    gc.collect()


def test_nobody_is_served_without_tls(deployed):
    """A client that speaks plainly gets no answer, and its password is not acted on."""
    plain = Peer(deployed, "agent-a")
    with pytest.raises(AssertionError, match="answer to CONNECT"):
        plain.connect(within_s=0.5)
    plain.leave()

    assert "as agent-a" not in deployed.said()


def test_a_wrong_password_over_tls_is_refused(deployed):
    """And leaves a trace in the log."""
    stranger = Peer(deployed, "agent-a", "wrong").trust(deployed.ca_file)

    assert "Not authorized" == stranger.connect()
    stranger.leave()
    # Its log is a file that it writes a little later than its answer.
    eventually(lambda: "not authorised" in deployed.said())


def test_a_message_above_the_limit_costs_the_connection(deployed):
    """Not the broker: 3 MB get through, 5 MB do not, and the next one is served."""
    with Peer(deployed, "collector").trust(deployed.ca_file) as collector:
        collector.subscribe("hcp/v1/+/batch")
        with Peer(deployed, "agent-a").trust(deployed.ca_file) as agent:
            agent.publish("hcp/v1/agent-a/batch", bytes(3_000_000))
            agent.send("hcp/v1/agent-a/batch", bytes(5_000_000))

            assert agent.lost.wait(5)
        with Peer(deployed, "agent-b").trust(deployed.ca_file) as other:
            other.publish("hcp/v1/agent-b/batch", b"next")
            collector.hears("hcp/v1/agent-b/batch")

    assert [3_000_000, 4] == [len(message.payload) for message in collector.messages]


def test_a_slow_collector_loses_nothing_that_fits(deployed):
    """5,000 messages while it acknowledges none: mosquitto's default would have dropped 4,000."""
    collector = Peer(deployed, "collector").trust(deployed.ca_file).acknowledge_by_hand()
    with collector, Peer(deployed, "agent-a").trust(deployed.ca_file) as agent:
        collector.subscribe("hcp/v1/+/batch")
        for each in range(5000):
            sent = agent.send("hcp/v1/agent-a/batch", b"%d" % each)
        sent.wait_for_publish(20)
        collector.acknowledge_all()
        collector.hears_many(5000)

        assert [b"%d" % each for each in range(5000)] == [message.payload for message in collector.messages]


def test_both_brokers_have_the_same_fences():
    """What an agent may do in the demo it may do in a hall, and no more."""
    acl = (DEPLOYED / "acl").read_text("utf-8")

    def rules(kind, access, agent):
        return {topic.replace("%u", agent) for topic in re.findall(rf"^{kind} {access} (.*)$", acl, flags=re.MULTILINE)}

    assert set(demo_broker.COLLECTOR_READS) == rules("topic", "read", "")
    assert set(demo_broker.COLLECTOR_WRITES) == rules("topic", "write", "")
    assert set(demo_broker.AGENT_READS) == rules("pattern", "read", "{agent}")
    assert set(demo_broker.AGENT_WRITES) == rules("pattern", "write", "{agent}")


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_missing_mosquitto_is_said_aloud(monkeypatch, ci, outcome):
    """Skipped with a reason on a desk, failed in CI."""
    monkeypatch.setattr(brokers, "_find", lambda _: None)
    monkeypatch.setenv("CI", ci)

    with pytest.raises(outcome, match="not installed"):
        mosquitto_or_skip()
