"""The uplink through a real mosquitto: records go until they are receipted, whatever the broker and the ledger do."""

import logging
import socket
import sqlite3
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent import clock
from edge_agent.details import CaseDetails
from edge_agent.outbox import Outbox, OutboxFull
from edge_agent.outbox.file import OutboxForked
from edge_agent.uplink import Broker, Uplink
from protocols.messages import (
    COLLECTOR_STATUS,
    AgentStatus,
    Details,
    Health,
    Receipt,
    Taken,
    WindowHealth,
    decode,
    encode,
)
from protocols.ratings import Case
from protocols.seal import PrivateKey
from tests.brokers import Mosquitto, Peer, hangs_up, mosquitto_or_skip

from .hall import at, held, keep, press, receipt_for, until
from .ledger import AGENT, HEALTH, RECEIPT, STATUS, Ledger

SOON_MS = 300  # a receipt wait that a test can wait for
KEY = PrivateKey(bytes(range(32)))
LATE_MS = 60_000  # one that no test waits for

pytestmark = pytest.mark.mosquitto


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop looks at its clock more often than it has to, so that a test need not wait for it."""
    monkeypatch.setattr("edge_agent.uplink._TICK_S", 0.05)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    mosquitto_or_skip()
    with Mosquitto(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def box(opened: Callable[..., Outbox]) -> Outbox:
    return opened(agent=AGENT)


class NoBroker:
    """A place where a broker should be."""

    def __init__(self, port: int):
        self.port = port
        self.users = {AGENT: "x"}


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(broker: Mosquitto | NoBroker, box: Outbox, **options: object) -> Iterator[Uplink]:
    """The uplink's loop on a thread of its own; it has ended when this is left."""
    uplink = an_uplink(broker, box, **options)
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            uplink.run(stop)
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            failures.append(error)

    thread = threading.Thread(target=run)
    box.listen(lambda _: uplink.wake())
    thread.start()
    try:
        yield uplink
    finally:
        stop.set()
        uplink.wake()
        thread.join(10)
        assert not thread.is_alive()
        uplink.close()
        assert [] == failures


def an_uplink(broker: Mosquitto | NoBroker, box: Outbox, **options: object) -> Uplink:
    where = {"host": "127.0.0.1", "port": broker.port, "password": broker.users[AGENT]}
    where |= {key: options.pop(key) for key in tuple(options) if key in ("host", "password", "tls", "port")}
    usual = {"health": lambda _: [WindowHealth("3", "ready")], "receipt_wait_ms": LATE_MS}
    return Uplink(Broker(**where), AGENT, box, now=clock.now, **(usual | options))


# ---- how far it knows that it comes


def test_a_broker_that_answers_is_not_called_a_collector(broker, box, opened, tmp_path):
    """Each step is told only once its own answer has come: nobody, a broker that refuses, one that lets in, a receipt.
    Red if a broker alone is taken for the whole way."""

    def steps(uplink: Uplink) -> tuple[bool, bool, bool]:
        return uplink.reach.broker, uplink.reach.let_in, uplink.reach.receipt_ms is not None

    other = opened(tmp_path / "other.db", agent=AGENT)
    with running(NoBroker(a_free_port()), other) as nobody:
        assert until(lambda: "cannot be reached" in nobody.reach.why)
        assert (False, False, False) == steps(nobody)
    with running(broker, other, password="wrong") as refused:
        assert until(lambda: "refuses agent" in refused.reach.why)
        assert (True, False, False) == steps(refused)
    with running(broker, box) as uplink:
        assert until(lambda: uplink.reach.let_in)
        keep(box, at(0), press(1))
        assert not until(lambda: uplink.reach.receipt_ms is not None, 0.5)
        before_ms = clock.now().wall_ms
        with Ledger(broker) as ledger:
            ledger.says_it_is(True)
            assert until(lambda: uplink.reach.receipt_ms is not None)
        came_ms = uplink.reach.receipt_ms
        broker.stop()
        assert until(lambda: not uplink.reach.broker)
        after = steps(uplink)

    assert came_ms is not None and came_ms >= before_ms
    assert (False, False, True) == after


# ---- records and receipts


@pytest.mark.alone
def test_a_press_travels_and_its_receipt_lets_it_go(broker, box):
    """At once, without waiting for a tick: far below a second from press to receipt."""
    with Ledger(broker) as ledger, running(broker, box):
        keep(box, at(0), press(1))
        assert until(lambda: not held(box))
        started = time.monotonic()
        keep(box, at(10), press(2))
        assert until(lambda: not held(box))

        assert time.monotonic() - started < 0.8
        assert [1, 2] == [batch.first for batch in ledger.batches]
        assert (2, box.tip()[1]) == (ledger.upto, ledger.head)


def test_a_large_backlog_drains(broker, box):
    """Twelve thousand records, a thousand at a time, each batch after the receipt of the one before."""
    for first in range(0, 12_000, 3_000):
        keep(box, at(0), *(press(first + number) for number in range(3_000)))
    with Ledger(broker) as ledger, running(broker, box):
        assert until(lambda: box.due() is None)

    assert [1000] * 12 == [len(batch.records) for batch in ledger.batches]
    assert box.tip() == (ledger.upto, ledger.head)
    # Made ready while the one before was on its way, and sent before that was deleted. Red without `_make_ready`.
    assert any(batch.oldest < batch.first for batch in ledger.batches)


def test_the_next_batch_leaves_for_the_receipt_of_the_one_before_alone(broker, box):
    """Not for one of a part, nor of nothing. Red if `_send_behind` does not compare."""
    keep(box, at(0), *(press(number) for number in range(3_000)))
    first = box.due()
    with Ledger(broker, answering=False) as ledger, running(broker, box) as uplink:
        assert until(lambda: uplink._behind is not None)
        ledger.receipt(Receipt(box.epoch, 0, first.prev))
        ledger.receipt(receipt_for(first, 10))
        assert until(lambda: len(ledger.batches) > 1)

        assert [1, 11] == [batch.first for batch in ledger.batches]
        assert until(lambda: uplink._behind is not None)
        ledger.receipt(receipt_for(ledger.batches[1]))
        assert until(lambda: len(ledger.batches) > 2)

    assert [(1, 1), (11, 11), (1011, 11)] == [(batch.first, batch.oldest) for batch in ledger.batches]


def test_one_batch_is_on_its_way_at_a_time(broker, box):
    """While no receipt comes, presses wait; they go together afterwards. Red if each press sends what is due."""
    with Ledger(broker, answering=False) as ledger, running(broker, box):
        keep(box, at(0), press(1))
        assert until(lambda: ledger.batches)
        for number in range(2, 30):
            keep(box, at(number), press(number))
        ledger.answering = True
        ledger.receipt(receipt_for(ledger.batches[0]))
        assert until(lambda: len(ledger.batches) == 2)
        ledger.receipt(receipt_for(ledger.batches[1]))
        assert until(lambda: not held(box))

        assert [(1, 1), (2, 28)] == [(batch.first, len(batch.records)) for batch in ledger.batches]


def test_what_is_not_receipted_is_sent_again(broker, box):
    """And again, as it was; the broker's own acknowledgement means nothing. Red if a PUBACK counts."""
    keep(box, at(0), press(1))
    with Ledger(broker, answering=False) as ledger, running(broker, box, receipt_wait_ms=SOON_MS):
        assert until(lambda: len(ledger.batches) >= 3)
        assert 1 == len(held(box))
        ledger.answering = True
        assert until(lambda: not held(box))

    assert {ledger.batches[0].head} == {batch.head for batch in ledger.batches}


def test_a_collector_that_comes_back_gets_everything_at_once(broker, box):
    """Whoever just came back may have lost what was on its way. Red if only the receipt wait sends again."""
    keep(box, at(0), press(1))
    with Ledger(broker, answering=False) as ledger, running(broker, box):
        assert until(lambda: ledger.batches)
        ledger.answering = True
        ledger.says_it_is(False)
        ledger.says_it_is(True)

        assert until(lambda: not held(box))


def test_a_collector_that_is_away_is_not_pestered(broker, box):
    """It has said so: the wait is longer, but not for ever."""
    keep(box, at(0), press(1))
    with Ledger(broker, answering=False) as ledger:
        ledger.says_it_is(False)
        with running(broker, box, receipt_wait_ms=100):
            assert until(lambda: ledger.batches)
            started, sent = time.monotonic(), len(ledger.batches)
            assert until(lambda: len(ledger.batches) > sent + 1)

            assert time.monotonic() - started > 0.3


def test_a_ledger_that_contradicts_again_and_again_deletes_nothing(broker, box):
    """A new epoch has not helped: the alarm is in health, in words, and goes with the receipt that fits."""
    keep(box, at(0), press(1), press(2))
    box.path.with_name(f"{box.path.name}.forked-{clock.now().wall_ms}").touch()
    with Ledger(broker, answering=False) as ledger, running(broker, box) as uplink:
        ledger.subscribe(HEALTH)
        assert until(lambda: ledger.batches)
        ledger.receipt(Receipt(box.epoch, 1, "0" * 64))
        assert until(lambda: uplink.alarm)

        assert 2 == len(held(box))
        assert until(lambda: "第 1 条与本机不符" in "".join(alarms(ledger)[-1:]))
        assert "第 1 条与本机不符" in alarms(ledger)[-1]
        assert "the ledger differs from ours at record 1, nothing was deleted" in alarms(ledger)[-1]
        ledger.receipt(receipt_for(ledger.batches[0]))
        assert until(lambda: "第 1 条" not in alarms(ledger)[-1])
        assert "恢复过旧备份" in alarms(ledger)[-1]
        assert [] == held(box)


def test_an_older_copy_of_the_outbox_is_not_used_on(broker, box):
    """The ledger has records of ours that we do not: this file ends the loop, with all that is in it."""
    keep(box, at(0), press(1))
    stop, uplink = threading.Event(), an_uplink(broker, box)
    with Ledger(broker, answering=False) as ledger:
        failed = []
        thread = threading.Thread(target=lambda: failed.append(_raised(lambda: uplink.run(stop))))
        thread.start()
        assert until(lambda: ledger.batches)
        ledger.receipt(Receipt(box.epoch, 7, "0" * 64))
        thread.join(10)
        stop.set()
    uplink._client.disconnect()
    uplink.close()

    assert [OutboxForked] == [type(error) for error in failed]
    assert 1 == len(held(box))


def _raised(work) -> BaseException | None:
    try:
        work()
    except OutboxForked as error:
        return error
    return None


def alarms(ledger: Ledger) -> list[str]:
    return [decode(message.payload, Health).alarm for message in ledger.messages if message.topic == HEALTH]


def test_a_message_that_is_no_receipt_is_passed_over(broker, box):
    """Garbage, another shape, a number that cannot be: the loop lives, and the right receipt counts."""
    keep(box, at(0), press(1))
    with Ledger(broker, answering=False) as ledger, running(broker, box):
        assert until(lambda: ledger.batches)
        for payload in (b"", b"\x00\xff", b"[]", b'{"epoch":"x","upto":1,"head":"y"}', b"x\x9c garbage", b"{" * 5000):
            ledger.publish(RECEIPT, payload)
        ledger.publish(COLLECTOR_STATUS, b"not json", retain=False)
        assert 1 == len(held(box))
        ledger.receipt(receipt_for(ledger.batches[0]))

        assert until(lambda: not held(box))


def test_a_full_disk_while_a_receipt_comes_does_not_end_the_loop(broker, box, monkeypatch):
    """Even deleting needs a little room: the records stay due and go again. Red without `except OutboxFull`."""
    settle = box.settle
    refused = []

    def full_once(receipt: Receipt):
        if not refused:
            refused.append(receipt)
            raise OutboxFull(str(box.path))
        return settle(receipt)

    monkeypatch.setattr(box, "settle", full_once)
    keep(box, at(0), press(1))
    with Ledger(broker) as ledger, running(broker, box, receipt_wait_ms=SOON_MS):
        assert until(lambda: not held(box))

    assert len(refused) == 1 < len(ledger.batches)


def test_a_damaged_outbox_ends_the_loop(broker, box):
    """It is not sent again and again: the process ends, and the next start sets the file aside."""
    keep(box, at(0), press(1))
    box._db.execute("UPDATE record SET body = x'7b7d'")

    uplink = an_uplink(broker, box)
    with pytest.raises(sqlite3.DatabaseError, match="record 1 is damaged"):
        uplink.run(threading.Event())
    uplink._client.disconnect()
    uplink.close()


# ---- the broker goes and comes


@pytest.mark.alone
def test_a_broker_that_was_killed_is_found_again_within_two_seconds(broker, box):
    """What was pressed meanwhile goes then. Red if the back-off grows beyond that."""
    with Ledger(broker) as ledger, running(broker, box, receipt_wait_ms=SOON_MS) as uplink:
        keep(box, at(0), press(1))
        assert until(lambda: not held(box))
        broker.kill()
        assert ledger.lost.wait(5)
        keep(box, at(10), press(2))
        assert until(lambda: uplink._failures > 4)
        broker.start()
        back = time.monotonic()
        with Ledger(broker) as again:
            again.upto, again.head = ledger.upto, ledger.head
            assert until(lambda: not held(box))

            assert time.monotonic() - back < 2.5


def test_a_broker_that_is_not_there_is_named_once(box, caplog):
    """Not once per attempt: an outage of a night must not fill the disk with its log. Red if each try is logged."""
    port = a_free_port()
    with caplog.at_level(logging.WARNING), running(NoBroker(port), box) as uplink:
        assert until(lambda: uplink._failures >= 4)

    [record] = caplog.records
    assert "连不上消息服务器 / broker cannot be reached" in record.getMessage()
    assert f"127.0.0.1:{port}" in record.getMessage()


def test_a_wrong_password_says_what_to_check(broker, box, caplog, monkeypatch):
    """And goes on trying: it may be put right at the broker. Red if the refusal ends the loop."""
    monkeypatch.setattr("edge_agent.uplink._REFUSED_S", 0.2)
    keep(box, at(0), press(1))
    with caplog.at_level(logging.WARNING), running(broker, box, password="wrong") as uplink:
        assert until(lambda: uplink._failures >= 3)

        said = [record.getMessage() for record in caplog.records if record.name == "edge_agent.uplink"]
        assert 1 == len(said)
        assert "消息服务器拒绝登录, 请检查 agent、uplink.password 以及服务器上的用户" in said[0]
        assert f"broker refuses agent '{AGENT}', check agent, uplink.password and the users at the broker" in said[0]
        assert "wrong" not in said[0]


def test_two_agents_of_one_id_do_not_storm(broker, box, opened, tmp_path, caplog):
    """Each pushes the other out; both slow down, and say what may be the matter. Red if a success resets the pause."""
    other = opened(tmp_path / "other.db", agent=AGENT)
    with caplog.at_level(logging.INFO), running(broker, box) as first, running(broker, other) as second:
        assert until(lambda: first._failures > 2 and second._failures > 2)
        connected = sum("broker connected" in record.getMessage() for record in caplog.records)
        time.sleep(1.5)
        more = sum("broker connected" in record.getMessage() for record in caplog.records) - connected

    assert more < 8
    assert any("do two agents have this id?" in record.getMessage() for record in caplog.records)


@pytest.mark.alone
def test_agents_that_go_on_pushing_each_other_out_go_on_saying_so(broker, box, opened, tmp_path, caplog, monkeypatch):
    """Now and then, for as long as it lasts. Red if it is said once for ever, or at every push."""
    monkeypatch.setattr("edge_agent.uplink._REPEAT_MS", 1_500)
    other = opened(tmp_path / "other.db", agent=AGENT)
    started = time.monotonic()
    with caplog.at_level(logging.WARNING), running(broker, box), running(broker, other):
        assert until(lambda: len(takeovers(caplog)) >= 5)

    assert time.monotonic() - started > 1.5


def takeovers(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "two agents have this id?" in record.getMessage()]


@pytest.mark.parametrize("politely", [True, False])
def test_a_broker_that_hangs_up_before_it_answers_may_want_tls(box, caplog, politely):
    """Closed or reset, as a TLS port does with plain words. It is no other agent: red if that is what is asked."""
    with socket.create_server(("127.0.0.1", 0)) as server, caplog.at_level(logging.WARNING):
        server.settimeout(5)
        with running(NoBroker(server.getsockname()[1]), box):
            connection, _ = server.accept()
            if politely:
                connection.recv(1000)
            else:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            assert until(lambda: caplog.records)

    assert (
        "服务器是否要求 TLS (通常 8883)? / does the broker want TLS (usually 8883)?" in caplog.records[0].getMessage()
    )
    assert [] == takeovers(caplog)


def test_a_broker_that_hangs_up_at_the_first_word_is_called_again(box, caplog, monkeypatch):
    """paho calls such a connection made and has no socket. Red if that is believed: the loop broke on it."""
    with hangs_up() as (port, cut), caplog.at_level(logging.WARNING):
        monkeypatch.setattr("edge_agent.uplink._no_delay", cut)
        with running(NoBroker(port), box) as uplink:
            assert until(lambda: uplink._failures >= 3 and "broker lost" in caplog.text)


@pytest.mark.alone
def test_a_broker_that_says_nothing_does_not_stop_the_end(box):
    """It took the connection and is silent: the loop still ends within two seconds when it is told to."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with running(NoBroker(silent.getsockname()[1]), box) as uplink:
            connection, _ = silent.accept()
            assert until(lambda: uplink._client.socket() is not None)
            started = time.monotonic()
        connection.close()

    assert time.monotonic() - started < 2


@pytest.mark.alone
def test_a_wake_up_does_not_hurry_the_next_attempt(box):
    """A busy hall without a broker must not hammer it. Red if the pause ends with a wake-up."""
    with running(NoBroker(a_free_port()), box) as uplink:
        assert until(lambda: uplink._failures >= 3)
        before, started = uplink._failures, time.monotonic()
        while time.monotonic() - started < 0.5:
            uplink.wake()

        assert uplink._failures - before <= 3


def test_a_thousand_wake_ups_are_one(box):
    """Nobody empties the socket while the loop does something else: waking must not block or fail."""
    uplink = an_uplink(NoBroker(1), box)
    for _ in range(100_000):
        uplink.wake()
    uplink.close()


# ---- status, will and health


def test_status_is_online_while_it_runs_and_offline_after(broker, box):
    """Retained both times: whoever comes later sees it too."""
    with Peer(broker, "collector") as peer:
        peer.subscribe(STATUS)
        with running(broker, box):
            first = decode(peer.hears(STATUS).payload, AgentStatus)
        peer.hears_many(2)

        assert (True, box.epoch) == (first.online, first.epoch)
        assert [True, False] == [decode(message.payload, AgentStatus).online for message in peer.messages]
    with Peer(broker, "collector") as later:
        later.subscribe(STATUS)
        message = later.hears(STATUS)

        assert (True, False) == (message.retain, decode(message.payload, AgentStatus).online)


def test_health_is_retained_and_says_what_is_waiting(broker, box):
    """Backlog and the age of the oldest, the windows, the epoch."""
    keep(box, at(0), press(1), press(2))
    with Peer(broker, "collector") as peer, running(broker, box):
        peer.subscribe(STATUS)
        peer.hears(STATUS)
        assert until(lambda: (peer.subscribe(HEALTH), peer.messages[-1].topic == HEALTH)[1])
        message = peer.hears(HEALTH)
        health = decode(message.payload, Health)

        assert message.retain
        assert (box.epoch, 2, at(0).wall_ms, "") == (health.epoch, health.backlog, health.oldest_ms, health.alarm)
        assert box.tip()[0] == health.tip == 2
        assert [WindowHealth("3", "ready")] == health.windows


def test_an_outbox_that_has_been_emptied_says_so_at_once(broker, box):
    """Else the counts of the centre disagree for half a minute. Red if only the time counts."""
    keep(box, at(0), press(1))
    with Ledger(broker, answering=False) as ledger:
        ledger.subscribe(HEALTH)
        with running(broker, box):
            assert 1 == decode(ledger.hears(HEALTH).payload, Health).backlog
            ledger.answering = True
            ledger.says_it_is(True)
            told = lambda: [each.payload for each in ledger.messages if each.topic == HEALTH][-1]  # noqa: E731
            assert until(lambda: decode(told(), Health).backlog == 0)


def test_a_change_of_a_window_is_told_at_once(broker, box):
    """Not only at the next half minute. Red if only the time counts."""
    states = ["ready"]
    with Peer(broker, "collector") as peer:
        peer.subscribe(HEALTH)
        with running(broker, box, health=lambda _: [WindowHealth("3", states[-1])]) as uplink:
            peer.hears(HEALTH)
            states.append("cable_out")
            uplink.wake()
            peer.hears_many(2)

            assert ["ready", "cable_out"] == [
                decode(message.payload, Health).windows[0].state for message in peer.messages
            ]


def test_a_file_that_was_set_aside_is_an_alarm_until_somebody_looks(broker, opened, tmp_path):
    """Presses may be in it that no ledger has. Red if only this start knows of it."""
    (tmp_path / "outbox.db.damaged-7").write_bytes(b"whatever is left")
    box = opened(agent=AGENT)
    with Ledger(broker) as ledger, running(broker, box):
        ledger.subscribe(HEALTH)

        assert until(lambda: alarms(ledger))
        assert "an outbox was damaged, look at outbox.db.damaged-7" in alarms(ledger)[-1]


# ---- TLS


def test_records_travel_inside_tls(tmp_path, box):
    """To a broker whose certificate the named authority has signed."""
    mosquitto_or_skip()
    keep(box, at(0), press(1))
    with Mosquitto(tmp_path / "tls", tls=True) as broker:
        context = ssl.create_default_context(cafile=broker.ca_file)
        ledger = Ledger(broker)
        ledger.trust(broker.ca_file)
        with ledger, running(broker, box, host="localhost", tls=context):
            assert until(lambda: not held(box))


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_with_a_strange_certificate_gets_nothing(tmp_path, box, caplog):
    """Not even the password. Red if certificates are not checked."""
    mosquitto_or_skip()
    keep(box, at(0), press(1))
    with (
        Mosquitto(tmp_path / "tls", tls=True) as broker,
        caplog.at_level(logging.WARNING),
        running(broker, box, host="localhost", tls=ssl.create_default_context()) as uplink,
    ):
        assert until(lambda: uplink._failures >= 2)

    assert "CERTIFICATE_VERIFY_FAILED" in caplog.text
    assert "请检查 uplink.tls.ca / check uplink.tls.ca" in caplog.text
    assert 1 == len(held(box))


class OtherName(ssl.SSLContext):
    """Connects as if the settings named another host."""

    def wrap_socket(self, sock: socket.socket, **options: object) -> ssl.SSLSocket:
        return super().wrap_socket(sock, **(options | {"server_hostname": "broker.example"}))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_certificate_for_another_host_names_the_host(tmp_path, box, caplog):
    """The authority is the right one: red if it is what a person is told to check."""
    mosquitto_or_skip()
    context = OtherName(ssl.PROTOCOL_TLS_CLIENT)
    with Mosquitto(tmp_path / "tls", tls=True) as broker, caplog.at_level(logging.WARNING):
        context.load_verify_locations(broker.ca_file)
        with running(broker, box, host="localhost", tls=context) as uplink:
            assert until(lambda: uplink._failures >= 2)

    assert "请检查 uplink.host / check uplink.host" in caplog.text
    assert "uplink.tls.ca" not in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_at_a_port_that_knows_none_is_asked_about(broker, box, caplog):
    """A mosquitto that expects plain words resets what it does not understand."""
    with (
        caplog.at_level(logging.WARNING),
        running(broker, box, host="localhost", tls=ssl.create_default_context()) as uplink,
    ):
        assert until(lambda: uplink._failures >= 2)

    assert "does the broker talk TLS at this port" in caplog.text


# ---- details of cases


def test_details_go_until_they_are_taken_and_before_the_press(broker, box, tmp_path):
    """Again after each silence. Red if the broker's own word is taken for the collector's."""
    details = CaseDetails(tmp_path / "outbox.db.details", KEY.public, 0)
    details.keep(Case("C1", applicant_name="欧阳测试"), 0)
    keep(box, at(0), press(1))
    with (
        Peer(broker, "collector") as collector,
        running(broker, box, details=details, receipt_wait_ms=SOON_MS),
    ):
        collector.subscribe("hcp/v1/+/details", "hcp/v1/+/batch")
        heard = collector.messages
        assert until(lambda: sum(each.topic.endswith("/details") for each in heard) >= 3)
        # The order of the first two that this collector was there for.
        assert heard[0].topic.endswith("/details") or heard[1].topic.endswith("/details")
        sent = decode(next(each.payload for each in heard if each.topic.endswith("/details")), Details)
        collector.publish(f"hcp/v1/{AGENT}/taken", encode(Taken([sent.cases[0].digest])))
        assert until(lambda: details.due(clock.now(), 0) is None)
    details.close()

    assert not [each for each in heard if "欧阳".encode() in each.payload]


def test_an_answer_that_is_none_ends_nothing(broker, box, tmp_path, caplog):
    details = CaseDetails(tmp_path / "outbox.db.details", KEY.public, 0)
    with Peer(broker, "collector") as collector, running(broker, box, details=details) as uplink:
        assert until(lambda: uplink._ready)
        collector.publish(f"hcp/v1/{AGENT}/taken", b"rubbish")
        assert until(lambda: "taken" in caplog.text)
    details.close()


def test_what_a_person_has_to_know_of_details_is_in_the_health(broker, box, tmp_path):
    """A key that the collector does not have: it stands on the board."""
    details = CaseDetails(tmp_path / "outbox.db.details", KEY.public, 0)
    details.keep(Case("C1"), 0)
    with Ledger(broker) as ledger, running(broker, box, details=details, health_every_s=0) as uplink:
        assert until(lambda: uplink._ready)
        ledger.publish(f"hcp/v1/{AGENT}/taken", encode(Taken([], locked=[KEY.public.key_id])))
        assert until(lambda: KEY.public.key_id in uplink.alarm)
    details.close()
