"""The test of the connection says in words what is wrong: against a real mosquitto, with and without TLS."""

import socket
import threading

import pytest

from edge_agent.config import TlsSettings, tls_context
from edge_agent.setup import broker
from tests.brokers import Mosquitto, mosquitto_or_skip
from tests.edge_agent.ledger import AGENT


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "tls"])
def running(request, tmp_path_factory):
    mosquitto_or_skip()
    with Mosquitto(tmp_path_factory.mktemp("broker"), tls=request.param) as running:
        yield running


def tried(
    running: Mosquitto, host: str = "localhost", password: str | None = None, ca: bool = True, agent: str = AGENT
):
    context = None
    if running.tls:
        context = tls_context(TlsSettings(ca=str(running.ca_file) if ca else ""), running.folder)
    return broker.tried(host, running.port, agent, running.users[AGENT] if password is None else password, context)


@pytest.mark.mosquitto
def test_who_is_let_in_is_told_so(running):
    """And the agent's own connection is not pushed out by it, as its id is another."""
    answer = tried(running)

    assert answer.well, answer.words


@pytest.mark.mosquitto
def test_what_is_wrong_is_named_with_the_field_to_look_at(running):
    """Password, user, host, port: each in words, none of them the password."""
    found = {
        "password": tried(running, password="wrong-one"),
        "host": tried(running, host="no-such-host.invalid"),
    }
    stranger = tried(running, agent="stranger")

    assert [(name, name) for name in found] == [(name, answer.field) for name, answer in found.items()]
    assert "password" == stranger.field
    assert "no host is called" in found["host"].words.en
    assert not [each for each in found.values() if "wrong-one" in str(each.words)]


@pytest.mark.mosquitto
def test_tls_where_there_is_none_and_the_other_way_round_is_told(running):
    """As a question of TLS, a certificate of nobody as one of the authority."""
    if running.tls:
        plain = broker.tried("localhost", running.port, AGENT, "x", None)
        unknown = tried(running, ca=False)
        assert "ca" == unknown.field
        assert "not signed by the authority" in unknown.words.en
    else:
        context = tls_context(TlsSettings(), running.folder)
        plain = broker.tried("localhost", running.port, AGENT, "x", context)

    assert not plain.well
    assert "TLS" in plain.words.en


def test_nobody_there_and_somebody_else_there_are_two_things(monkeypatch):
    """A port that refuses; and one that takes the call and says nothing."""
    monkeypatch.setattr(broker, "WITHIN_S", 0.6)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        heard: list[socket.socket] = []
        thread = threading.Thread(target=lambda: heard.append(silent.accept()[0]))
        thread.start()
        mute = broker.tried("127.0.0.1", port, AGENT, "x", None)
        thread.join(5)
        for each in heard:
            each.close()
    gone = broker.tried("127.0.0.1", port, AGENT, "x", None)

    assert ("port", "port") == (mute.field, gone.field)
    assert "no broker" in mute.words.en
    assert "no broker at port" in gone.words.en
