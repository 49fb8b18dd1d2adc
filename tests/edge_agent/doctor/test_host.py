"""The clock, the disk, the outbox, the broker and the door: real files, real sockets, a real certificate."""

import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent import clock as now
from edge_agent.config import DoorSettings, TlsSettings, UplinkSettings
from edge_agent.doctor.findings import Finding
from edge_agent.doctor.host import broker, clock, disk, door, outbox
from edge_agent.door import create_app, serve
from edge_agent.outbox import Outbox
from tests.brokers import make_certificates

from ..hall import AGENT, T0_MS, at, keep, press

HOUR_MS = 3_600_000


def told(findings: list[Finding]) -> Finding:
    """The only finding; a trouble is told whole, in both languages and with a command."""
    [finding] = findings
    assert finding.words.zh != finding.words.en
    if finding.severity != "ok":
        assert finding.cure.zh != finding.cure.en
        assert finding.command
    return finding


# ---- the clock and the disk


def test_the_disk_is_told_with_the_folder_that_is_meant(tmp_path, monkeypatch):
    """Also where the settings lie in the folder that the agent was started in: "." says nothing to who reads it."""
    monkeypatch.chdir(tmp_path)

    assert f"MB: {tmp_path}" in told(disk(Path())).words.zh


@pytest.mark.parametrize(("synced", "severity"), [(True, "ok"), (False, "warn")])
def test_a_clock_that_nobody_sets_is_told(synced, severity):
    """It costs no rating, and says wrong times."""
    assert severity == told(clock(synced)).severity


def test_a_clock_that_says_nothing_is_left_alone():
    """As on Windows."""
    assert [] == clock(None)


@pytest.mark.parametrize(("megabytes", "severity"), [(5_000, "ok"), (999, "warn"), (99, "bad")])
def test_a_disk_that_fills_up_is_told_in_time(tmp_path, megabytes, severity):
    """Before presses can no longer be kept."""
    finding = told(disk(tmp_path, lambda _: megabytes * 1_000_000))

    assert severity == finding.severity
    assert f"{megabytes} MB" in finding.words.en


def test_the_room_of_this_disk_is_found(tmp_path):
    """And a folder that is not there is told."""
    assert "MB left" in told(disk(tmp_path)).words.en
    assert f"sudo mkdir -p {tmp_path}/none" == told(disk(tmp_path / "none")).command


# ---- the outbox


@pytest.fixture
def kept(opened: Callable[..., Outbox], tmp_path: Path) -> Path:
    keep(opened(agent=AGENT), at(0), press(1), press(2))
    return tmp_path / "outbox.db"


def looked_at(path: Path, now_ms: int = T0_MS, agent: str = AGENT) -> dict[str, Finding]:
    findings = outbox(path, agent, now_ms, Path("agent.toml"))
    return {finding.code: told([finding]) for finding in findings}


def test_an_agent_that_never_ran_has_nothing_to_look_at(tmp_path):
    """Nothing is made by looking."""
    assert "ok" == looked_at(tmp_path / "outbox.db")["outbox"].severity
    assert [] == list(tmp_path.iterdir())


def test_presses_that_wait_for_long_are_told(kept):
    """A few minutes are nothing; more than an hour is."""
    assert {"ok"} == {finding.severity for finding in looked_at(kept, T0_MS + HOUR_MS - 1).values()}
    found = looked_at(kept, T0_MS + HOUR_MS)["backlog"]

    assert "warn" == found.severity
    assert "2 records not receipted, the oldest of 60 min ago" == found.words.en


def test_a_broken_chain_is_told(kept, opened):
    """With the record, and how to save what there is."""
    opened(agent=AGENT)._db.execute("UPDATE record SET body = x'7b7d' WHERE seq = 2")
    found = looked_at(kept)["outbox"]

    assert ("bad", "the chain is broken at record 2") == (found.severity, found.words.en)
    assert found.command.startswith("edge-agent outbox export --config agent.toml")


@pytest.mark.parametrize("agent", [AGENT, "somebody-else"])
def test_an_outbox_that_cannot_be_read_is_told_and_left_as_it_is(tmp_path, kept, agent):
    """Damaged, or another agent's."""
    path = kept
    if agent == AGENT:
        path = tmp_path / "damaged.db"
        path.write_bytes(b"garbage" * 1000)
    before = path.read_bytes()

    assert "bad" == looked_at(path, agent=agent)["outbox"].severity
    assert before == path.read_bytes()


# ---- the broker


@contextmanager
def listening(context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that takes one caller, with TLS if it has a certificate."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            caller, _ = server.accept()
            try:
                (context.wrap_socket(caller, server_side=True) if context else caller).close()
            except OSError:
                caller.close()  # the caller did not like the certificate

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


def test_a_broker_that_takes_the_call_is_fine(tmp_path):
    """No word of MQTT is spoken."""
    with listening() as port:
        finding = told(broker(UplinkSettings("127.0.0.1", port), tmp_path))

    assert "ok" == finding.severity


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    """What a broker shows, made as the deployment's README says; ca.crt lies in the folder."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    return context


def test_a_broker_with_its_certificate_is_fine(tmp_path, certificate):
    """Signed by the authority in the settings, for the name in the settings."""
    with listening(certificate) as port:
        uplink = UplinkSettings("127.0.0.1", port, tls=TlsSettings(ca="ca.crt"))

        assert "ok" == told(broker(uplink, tmp_path)).severity


def test_a_broker_that_shows_somebody_elses_certificate_is_told(tmp_path, certificate):
    """The system's own authorities did not sign it. Red if the handshake is left out."""
    with listening(certificate) as port:
        finding = told(broker(UplinkSettings("127.0.0.1", port, tls=TlsSettings()), tmp_path))

    assert "bad" == finding.severity
    assert finding.command.startswith(f"openssl s_client -connect 127.0.0.1:{port}")


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_broker_that_is_not_running_is_told(tmp_path):
    """Start it there; but of this very machine it may be that none was given yet: then there is none to be started."""
    finding = told(broker(UplinkSettings("localhost", closed_port()), tmp_path))
    later = told(broker(UplinkSettings("127.0.0.1", closed_port()), tmp_path))

    assert ["bad", "bad"] == [finding.severity, later.severity]
    assert "systemctl restart mosquitto" in finding.command
    assert "mosquitto" not in later.command
    assert "设置页" in later.cure.zh


def test_a_broker_that_nobody_knows_is_told(tmp_path):
    """By name."""
    assert "getent hosts broker.invalid" == told(broker(UplinkSettings("broker.invalid", 1883), tmp_path, 10)).command


def test_a_broker_that_does_not_answer_is_not_waited_for(tmp_path, monkeypatch):
    """A name server may take minutes, and no timeout of a socket hurries it. Red if it is asked on this thread."""
    asked = threading.Event()

    def slow(*_: object) -> None:
        asked.wait(30)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", slow)
    started = time.monotonic()
    finding = told(broker(UplinkSettings("broker.hall", 1883), tmp_path, within_s=0.1))
    asked.set()

    assert time.monotonic() - started < 5
    assert "ping -c 3 broker.hall" == finding.command


# ---- the door


def test_a_door_whose_port_is_free_is_fine():
    """The agent is not running."""
    assert "is free" in told(door(DoorSettings(port=closed_port(), token="t"))).words.en


def test_a_door_that_is_open_and_ours_is_fine(box):
    """The agent is running: it asks for its token, and gets none from here."""
    server, port = serve(create_app(box, {"3": 30}, "t", now.now), "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    finding = told(door(DoorSettings(port=port, token="t")))
    try:
        server.trigger.pull_trigger(server.close)
    except OSError:
        pass  # its thread was awake, and has closed it before it could be woken
    thread.join(10)
    server.task_dispatcher.shutdown()

    assert ("ok", True) == (finding.severity, "ours" in finding.words.en)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.0 401 No\r\n\r\n[]", b"HTTP/1.0 200 OK\r\n\r\n", b"SSH-2.0-x\r\n"])
def test_a_door_whose_port_another_program_has_is_told(answer):
    """Whatever it answers."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def take() -> None:
            caller, _ = other.accept()
            caller.recv(1000)
            caller.sendall(answer)
            caller.close()

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        port = other.getsockname()[1]
        finding = told(door(DoorSettings(port=port, token="t")))
        thread.join(10)

    assert "bad" == finding.severity
    assert f"sudo ss -ltnp 'sport = :{port}'" == finding.command
