"""A fleet of agents over a real mosquitto, into a real collector process and its ledger."""

import json
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from click.testing import CliRunner

from firmware_sim.fleet import Agent, Fleet, NotLetIn, command, directory
from protocols.messages import Receipt
from tests.brokers import ROOT, Mosquitto, Peer, mosquitto_or_skip

AGENTS = {f"agent-{n}": f"word-{n}" for n in range(1, 6)}
USERS = {"collector": "province-1", **AGENTS}


@pytest.fixture
def broker(tmp_path):
    mosquitto_or_skip()
    with Mosquitto(tmp_path / "broker", USERS) as running:
        yield running


@pytest.fixture
def ledger(tmp_path, broker):
    """The ledger of a running collector."""
    (tmp_path / "directory.toml").write_text(directory(AGENTS), "utf-8")
    settings = f'[broker]\nhost = "127.0.0.1"\nport = {broker.port}\npassword = "{USERS["collector"]}"\n'
    (tmp_path / "collector.toml").write_text(settings, "utf-8")
    command = [sys.executable, "-m", "collector", "run", "--config", str(tmp_path / "collector.toml")]
    with (tmp_path / "collector.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stderr=log)
    with Peer(broker, "agent-1") as agent:
        agent.subscribe("hcp/v1/collector/status")
        agent.hears("hcp/v1/collector/status", within_s=20)
    yield tmp_path / "ledger.db"
    process.terminate()
    process.wait(10)


def test_every_press_of_the_fleet_is_one_rating_in_the_ledger(broker, ledger, tmp_path):
    """Red if the chain of an agent, its receipts or its resending is wrong: `unfinished` or the ledger says so."""
    users, figures_file = tmp_path / "users.json", tmp_path / "figures.json"
    users.write_text(json.dumps(USERS), "utf-8")
    options = ["--agents", "5", "--rate", "40", "--seconds", "1", "--port", str(broker.port)]
    done = CliRunner().invoke(command, [*options, "--users-file", str(users), "--json", str(figures_file)])
    figures = json.loads(figures_file.read_text("utf-8"))

    assert 0 == done.exit_code, done.output
    assert "还剩" in done.output
    assert (0, 0, 0) == (figures["unfinished"], figures["mismatches"], figures["turned_away"])
    assert 150 <= figures["presses"] <= 205
    assert 2 * figures["presses"] == figures["records"] == figures["receipted"]
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert [figures["presses"]] == asked(ledger, "SELECT count(*) FROM rating")
    assert [figures["records"]] == asked(ledger, "SELECT count(*) FROM record")


@pytest.mark.alone
def test_a_broker_that_is_killed_costs_the_fleet_no_record(broker, ledger):
    """Red if what was on its way is not due again at once when the connection is back (4 s, and not after 5)."""
    fleet = Fleet(AGENTS, rate=50, seconds=2, host="127.0.0.1", port=broker.port)
    killed = []

    def once_in_the_middle(left_s, _records, receipted):
        if not killed and left_s < 1.5 and receipted:
            killed.append(left_s)
            broker.kill()
            threading.Timer(0.3, broker.start).start()

    figures = fleet.run(once_in_the_middle, last_receipts_s=4)

    assert killed
    assert (0, 0) == (figures.unfinished, figures.mismatches)
    assert len(AGENTS) <= figures.reconnects
    assert [figures.records] == asked(ledger, "SELECT count(*) FROM record")


def test_agents_without_a_collector_end_without_their_last_receipt(broker):
    """Red if the fleet takes the broker's word for a receipt."""
    fleet = Fleet(AGENTS, rate=20, seconds=0.3, host="127.0.0.1", port=broker.port)
    figures = fleet.run(lambda *_: None, last_receipts_s=0.3)

    assert len(AGENTS) == figures.unfinished
    assert 0 == figures.receipted


@pytest.mark.alone
def test_a_wrong_password_ends_the_fleet_at_once(broker):
    """Red if agents that are not let in are waited for."""
    started = time.monotonic()
    with pytest.raises(NotLetIn, match="agent-1"):
        Fleet({"agent-1": "guess"}, rate=1, seconds=5, host="127.0.0.1", port=broker.port).run(lambda *_: None)

    assert 3 > time.monotonic() - started


def test_too_few_passwords_are_named(tmp_path):
    """The collector's own password is none of an agent's."""
    users = tmp_path / "users.json"
    users.write_text(json.dumps(USERS), "utf-8")
    done = CliRunner().invoke(command, ["--agents", "6", "--users-file", str(users)])

    assert 2 == done.exit_code
    assert "only 5 agents" in done.output


def test_a_batch_without_a_receipt_is_sent_again_and_a_foreign_head_lets_go_of_nothing():
    """Red without the wait of five seconds, and if `take` does not compare heads."""
    agent = Agent("a", "F00001", 0)
    agent.serve(1_000)
    sent = agent.due(10.0)

    assert sent is not None
    assert None is agent.due(14.9)
    assert sent == agent.due(15.0)
    assert 1 == agent.resent
    assert None is agent.take(Receipt(agent.epoch, 2, "00" * 32), 16.0)
    assert (1, 0) == (agent.mismatches, agent.receipted)
    assert not agent.finished


def asked(ledger, question):
    db = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
    try:
        return [row[0] for row in db.execute(question)]
    finally:
        db.close()
