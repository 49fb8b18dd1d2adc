"""The program as a person meets it: its words when something is wrong, and a whole agent between panel and broker."""

import csv
import fcntl
import io
import json
import os
import pty
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_agent.cli import main
from edge_agent.outbox import Outbox
from firmware_sim.line import Commands, PtyLine, Station, serve, steady_clock
from firmware_sim.panel import HousePanel, PressMade, PressThanked
from protocols.messages import AgentStatus, Health, PressRecord, decode, decode_record
from tests.brokers import Mosquitto, mosquitto_or_skip

from .hall import DEVICE, at, keep, look, press, presses, until
from .ledger import AGENT, HEALTH, STATUS, Ledger
from .test_door import Caller

ROOT = Path(__file__).parent.parent.parent
TOKEN = "a-token-of-the-hall"


def settings(
    broker_port: int = 1, password: str = "x", window: str = "/nowhere", door: str = "", more: str = ""
) -> str:
    return f"""
agent = "{AGENT}"
{more}
[uplink]
host = "127.0.0.1"
port = {broker_port}
password = "{password}"
receipt_wait_ms = 500
{door}
[[windows]]
id = "3"
device = "{DEVICE}"
port = "{window}"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "agent.toml").write_text(settings(), encoding="utf-8")
    return tmp_path / "agent.toml"


def cli(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def program(*arguments: object) -> subprocess.CompletedProcess[str]:
    """`python -m edge_agent`, to its end."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, env=environment(), cwd="/", timeout=20)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "edge_agent", *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}


# ---- check


def test_right_settings_are_told_so(file):
    """With each window, and a hint at a port that is not there now: it is no mistake."""
    result = cli("check", "--config", file)

    assert 0 == result.exit_code
    assert f"窗口 / window 3: {DEVICE} @ /nowhere ← 现在没有这个端口, 请检查线缆" in result.output
    assert "agent.toml: 配置正确 / settings are right" in result.output


@pytest.mark.parametrize("what", [["check"], ["run"], ["outbox", "status"], ["outbox", "export"]])
def test_every_command_names_every_mistake(file, what):
    """Exit 2, a line for each; nothing is started, nothing is made."""
    file.write_text(settings().replace("[[windows]]", "[[windows]]\nbaud = 1\nx = 1"), encoding="utf-8")
    result = cli(*what, "--config", file)

    assert 2 == result.exit_code
    assert ["agent.toml: windows[1].baud", "agent.toml: windows[1].x"] == sorted(
        ": ".join(line.split(": ")[:2]) for line in result.stderr.splitlines()
    )
    assert [file] == list(file.parent.iterdir())


@pytest.mark.parametrize("what", [["check"], ["run"], ["outbox", "status"]])
def test_settings_that_are_not_there_are_named(tmp_path, what):
    """And how to name others."""
    result = cli(*what, "--config", tmp_path / "nowhere.toml")

    assert 2 == result.exit_code
    assert "nowhere.toml: 读不了 / cannot be read" in result.stderr


def test_a_folder_that_cannot_be_written_is_named_before_the_start(file):
    """The outbox would have nowhere to be."""
    file.write_text(settings(more='[outbox]\npath = "missing/outbox.db"'), encoding="utf-8")
    result = cli("check", "--config", file)

    assert 2 == result.exit_code
    assert "outbox.path: 不能写入文件夹 / folder cannot be written: " in result.stderr
    assert "missing" in result.stderr


# ---- outbox


@pytest.fixture
def filled(file: Path, opened: Callable[..., Outbox]) -> Outbox:
    box = opened(file.parent / "outbox.db", agent=AGENT)
    keep(box, at(0), press(1, button=5), press(2))
    return box


def test_the_outbox_can_be_looked_at_while_the_agent_runs(file, filled):
    """As JSON for programs."""
    shown = json.loads(cli("outbox", "status", "--json", "--config", file).stdout)

    assert (AGENT, filled.epoch, 2, filled.tip()[1], 2, at(0).wall_ms, {"3": 2}, {}, "ok") == tuple(
        shown[key]
        for key in ("agent", "epoch", "records", "head", "backlog", "oldest_ms", "waiting", "kept_rated", "chain")
    )


def test_the_outbox_is_told_in_words(file, filled):
    """For a person: how many wait, for how long, and whether the chain holds."""
    result = cli("outbox", "status", "--config", file)

    assert 0 == result.exit_code
    assert re.search(r"未上交 / backlog +2 \(最早 / oldest -?\d+ s\)", result.output)
    assert "完好 / holds" in result.output


def test_a_broken_chain_is_told(file, filled):
    """With the number of the record. Looking does not set the file aside."""
    filled._db.execute("UPDATE record SET body = x'7b7d' WHERE seq = 2")

    assert "broken at 2" == json.loads(cli("outbox", "status", "--json", "--config", file).stdout)["chain"]
    assert "第 2 条断裂 / broken at 2" in cli("outbox", "status", "--config", file).output
    assert [] == list(file.parent.glob("*damaged*"))


def test_every_record_can_be_exported(file, filled):
    """As lines of JSON and as CSV, in order: evidence, or a rescue by hand."""
    lines = [json.loads(line) for line in cli("outbox", "export", "--config", file).stdout.splitlines()]
    rows = list(csv.DictReader(io.StringIO(cli("outbox", "export", "--format", "csv", "--config", file).stdout)))

    assert [(1, 5), (2, 1)] == [(line["seq"], line["body"]["button"]) for line in lines]
    assert [line["hash"] for line in lines] == [row["hash"] for row in rows]
    assert [line["body"] for line in lines] == [json.loads(row["body"]) for row in rows]


def test_looking_makes_no_outbox(file):
    """An agent that never ran has none: said, not made."""
    result = cli("outbox", "status", "--config", file)

    assert 2 == result.exit_code
    assert "没有这个文件 / no such file" in result.stderr
    assert [file] == list(file.parent.iterdir())


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage" * 1000)


def somebody_elses(path: Path) -> None:
    Outbox(path, "hall-pc-9", 0).close()


def a_folder(path: Path) -> None:
    path.mkdir()


def empty(path: Path) -> None:
    path.touch()


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (garbage, "读不了 / cannot be read"),
        (somebody_elses, "belongs to hall-pc-9, not to agent-a"),
        (a_folder, "读不了 / cannot be read"),
        (empty, "读不了 / cannot be read"),
    ],
)
@pytest.mark.parametrize("what", ["status", "export"])
def test_an_outbox_that_cannot_be_read_is_said_so(file, made, words, what):
    """No traceback, and no byte of it changes."""
    path = file.parent / "outbox.db"
    made(path)
    before = path.is_file() and path.read_bytes()
    result = cli("outbox", what, "--config", file)

    assert 2 == result.exit_code
    assert "outbox.path: " in result.stderr
    assert words in result.stderr
    assert before == (path.is_file() and path.read_bytes())


@pytest.mark.parametrize(("table", "what"), [("record", "status"), ("record", "export"), ("invitation", "status")])
def test_damage_that_shows_while_it_is_read_is_said_so(file, filled, table, what):
    """At the first look and in the middle. Red without what _Opened does at its end."""
    filled.close()
    path = file.parent / "outbox.db"
    [(page,)] = look(path, f"SELECT rootpage FROM sqlite_master WHERE name = '{table}'")
    raw = bytearray(path.read_bytes())
    raw[4096 * (page - 1) : 4096 * page] = b"\xff" * 4096
    path.write_bytes(raw)
    result = cli("outbox", what, "--config", file)

    assert 2 == result.exit_code
    assert "读不了 / cannot be read" in result.stderr


# ---- what stops a start


def stopped(file: Path) -> str:
    """What `run` says that ends at once: exit 2 and words, no traceback."""
    result = program("run", "--config", file)
    assert 2 == result.returncode, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def test_a_door_that_is_taken_is_named(file):
    """Which address, and that another program has it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        file.write_text(settings(door=f'[door]\ntoken = "t"\nport = {port}'), encoding="utf-8")
        said = stopped(file)

    assert f"agent.toml: door: 127.0.0.1:{port}: 被其它程序占用或不可用 / taken by another program" in said


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[uplink]", '[outbox]\npath = "missing/outbox.db"\n[uplink]', "agent.toml: outbox.path: "),
        ("[uplink]", '[outbox]\npath = "."\n[uplink]', "agent.toml: outbox.path: "),
        ('password = "x"', 'password_file = "missing"', "uplink.password_file: 读不了 / cannot be read 'missing'"),
        ("[[windows]]", '[door]\ntoken = "t"\nhost = "10.255.255.1"\n[[windows]]', "door: 10.255.255.1:8610: "),
        ("[[windows]]", '[door]\ntoken = "t"\nhost = "no such host"\n[[windows]]', "door: no such host:8610: "),
        (
            "[[windows]]",
            '[door]\ntoken = "t"\nport = 0\nport_file = "missing/port"\n[[windows]]',
            "door.port_file: ",
        ),
        ("[[windows]]", '[uplink.tls]\nca = "agent.toml"\n[[windows]]', "uplink.tls: 证书或密钥用不了"),
    ],
)
def test_what_a_person_can_put_right_is_said_in_words(file, old, new, words):
    """Key and place."""
    file.write_text(settings().replace(old, new), encoding="utf-8")

    assert words in stopped(file)


def test_an_encrypted_key_is_refused_and_not_asked_for(file):
    """Nobody sits there at start to type a password in. Red if OpenSSL may ask for it."""
    command = "openssl req -x509 -newkey rsa:2048 -passout pass:x -keyout key.pem -out agent.crt -subj /CN=a -days 1"
    subprocess.run(command.split(), cwd=file.parent, check=True, capture_output=True)
    tls = '[uplink.tls]\ncertificate = "agent.crt"\nkey_file = "key.pem"\n[[windows]]'
    file.write_text(settings().replace("[[windows]]", tls), encoding="utf-8")

    assert "uplink.tls: 证书或密钥用不了" in told_at_a_terminal(file)


def told_at_a_terminal(file: Path) -> str:
    """What `run` says to a person at a terminal, who types nothing."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command("run", "--config", file),
        stdin=slave,
        stderr=subprocess.PIPE,
        env=environment(),
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    try:
        return process.communicate(timeout=5)[1].decode()
    finally:
        process.kill()
        process.communicate()
        os.close(master)
        os.close(slave)


def test_another_agents_outbox_is_not_touched(file):
    """Two configurations in one folder, by mistake."""
    somebody_elses(file.parent / "outbox.db")

    assert "outbox.path: " in (said := stopped(file))
    assert "belongs to hall-pc-9, not to agent-a" in said


# ---- a whole agent


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    mosquitto_or_skip()
    with Mosquitto(tmp_path / "broker") as broker:
        yield broker


class Panel:
    """A panel on a real pty, and what its citizens saw."""

    def __init__(self, link: Path):
        self.line = PtyLine(link)
        self.events: list[object] = []
        self._commands = Commands()
        self._stop = threading.Event()
        station = Station("3", HousePanel(DEVICE, 1, steady_clock()()), self.line)
        arguments = ([station], steady_clock(), self._stop, self._commands, lambda _, event: self.events.append(event))
        self._thread = threading.Thread(target=serve, args=arguments)
        self._thread.start()

    def press(self, button: int) -> None:
        self._commands.press("3", button)

    def unplug(self) -> None:
        self._commands.unplug("3")

    def replug(self) -> None:
        self._commands.replug("3")

    def pressed(self) -> list[PressMade]:
        return [event for event in self.events if isinstance(event, PressMade)]

    def thanked(self) -> list[PressMade]:
        return [event.press for event in self.events if isinstance(event, PressThanked)]

    def close(self) -> None:
        self._stop.set()
        self._commands.wake()
        self._thread.join(10)
        self.line.close()
        self._commands.close()


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    panel = Panel(tmp_path / "panel")
    yield panel
    panel.close()


@contextmanager
def agent(file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A running agent; whatever is left of it is killed when this is left."""
    with (file.parent / "agent.log").open("ab") as log:
        process = subprocess.Popen(command("run", "--config", file), stderr=log, env=environment(), cwd="/")
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def said(file: Path) -> str:
    return (file.parent / "agent.log").read_text("utf-8")


@pytest.mark.mosquitto
def test_a_press_goes_through_a_whole_agent(file, panel, broker, tmp_path):
    """Panel, pty, outbox, mosquitto, receipt; the door opens and follows; SIGTERM ends it in two seconds with 0."""
    door = f'[door]\ntoken = "{TOKEN}"\nport = 0\nport_file = "door.port"'
    file.write_text(settings(broker.port, broker.users[AGENT], str(tmp_path / "panel"), door), encoding="utf-8")
    with Ledger(broker) as ledger, agent(file) as process:
        ledger.subscribe(STATUS, HEALTH)
        assert until(lambda: (tmp_path / "door.port").exists() and (tmp_path / "door.port").read_text())
        caller = Caller(int((tmp_path / "door.port").read_text()))
        assert 201 == caller.open(1).status
        with caller.follow(1) as stream:
            assert "open" == stream.state()
            assert until(lambda: any(health.windows[0].state == "inviting" for health in healths(ledger)))
            panel.press(5)
            assert "answered" == stream.state()
        assert until(lambda: panel.thanked())
        assert until(lambda: ledger.upto == 2)
        # One that nobody ends holds the door's thread, and must not hold up the end.
        caller.open(2)
        with caller.follow(2) as stream:
            assert "open" == stream.state()
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)

            assert 0 == process.wait(10), said(file)
            assert time.monotonic() - started < 2
        assert until(lambda: not statuses(ledger)[-1].online)

    assert [(5, True)] == [(made.button, made.invited) for made in panel.pressed()]
    assert [(DEVICE, 1, 1, 5)] == [(each.device, each.boot, each.count, each.button) for each in travelled(ledger)]
    assert "Traceback" not in said(file)


def statuses(ledger: Ledger) -> list[AgentStatus]:
    return [decode(message.payload, AgentStatus) for message in ledger.messages if message.topic == STATUS]


def healths(ledger: Ledger) -> list[Health]:
    return [decode(message.payload, Health) for message in ledger.messages if message.topic == HEALTH]


def travelled(ledger: Ledger) -> list[PressRecord]:
    """Every press that the ledger took, in the order of the chain."""
    taken: dict[int, PressRecord] = {}
    for batch in ledger.batches:
        for seq, body in enumerate(batch.records, batch.first):
            record = decode_record(bytes(body))
            if isinstance(record, PressRecord):
                taken.setdefault(seq, record)
    return [taken[seq] for seq in sorted(taken)]


@pytest.mark.mosquitto
def test_a_killed_agent_loses_and_doubles_nothing(file, panel, broker, tmp_path):
    """SIGKILL four times among presses; each press that was thanked for is in the ledger once, and the will tells."""
    file.write_text(settings(broker.port, broker.users[AGENT], str(tmp_path / "panel")), encoding="utf-8")
    with Ledger(broker) as ledger:
        ledger.subscribe(STATUS)
        for life in range(4):
            with agent(file) as process:
                panel.press(1)
                assert until(lambda life=life: len(panel.thanked()) > 3 * life)
                panel.press(2)
                panel.press(3)
                process.send_signal(signal.SIGKILL)
                process.wait()
            assert until(lambda: not statuses(ledger)[-1].online)
        with agent(file):
            assert until(lambda: len(panel.thanked()) == 12 == len(travelled(ledger)))

    made = [(press.device, press.boot, press.count, press.button) for press in panel.pressed()]
    assert made == [(each.device, each.boot, each.count, each.button) for each in travelled(ledger)]


@pytest.mark.mosquitto
def test_a_cable_that_comes_back_is_carried_on_by_the_agent(file, panel, broker, tmp_path):
    """Red in health with the reason while it is out; presses afterwards arrive."""
    file.write_text(settings(broker.port, broker.users[AGENT], str(tmp_path / "panel")), encoding="utf-8")
    with Ledger(broker) as ledger, agent(file):
        ledger.subscribe(HEALTH)
        assert until(lambda: "ready" in states(ledger))
        panel.unplug()
        assert until(lambda: states(ledger)[-1] == "cable_out")
        detail = healths(ledger)[-1].windows[0].detail
        panel.replug()
        assert until(lambda: states(ledger)[-1] == "ready")
        panel.press(3)
        assert until(lambda: [each.button for each in travelled(ledger)] == [3])

    assert str(tmp_path / "panel") in detail


def states(ledger: Ledger) -> list[str]:
    return [health.windows[0].state for health in healths(ledger)]


def test_a_press_is_thanked_for_without_any_broker(file, panel, tmp_path):
    """The outbox owns it; SIGINT is as good as SIGTERM."""
    file.write_text(settings(window=str(tmp_path / "panel")), encoding="utf-8")
    with agent(file) as process:
        panel.press(4)
        assert until(lambda: panel.thanked())
        process.send_signal(signal.SIGINT)
        assert 0 == process.wait(10)

    assert [4] == [record.button for record in presses(Outbox(tmp_path / "outbox.db", AGENT, 0, look_only=True))]


def test_a_broker_behind_a_black_hole_does_not_hold_up_the_end(file, panel, tmp_path):
    """Nobody answers its packets: connecting takes seconds, ending must not. Red if the end waits for every loop."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        # Its queue is full: further connections get no answer at all.
        callers = [socket.socket() for _ in range(4)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(deaf.getsockname())
        file.write_text(settings(deaf.getsockname()[1], window=str(tmp_path / "panel")), encoding="utf-8")
        with agent(file) as process:
            panel.press(4)
            assert until(lambda: panel.thanked())
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)

            assert 0 == process.wait(10)
            assert time.monotonic() - started < 2.5
        for caller in callers:
            caller.close()


def test_a_damaged_outbox_is_set_aside_and_the_agent_runs(file, panel, tmp_path):
    """Said in the log, in words; the next press is kept."""
    garbage(tmp_path / "outbox.db")
    file.write_text(settings(window=str(tmp_path / "panel")), encoding="utf-8")
    with agent(file):
        panel.press(4)
        assert until(lambda: panel.thanked())

    assert "存档损坏, 已原样移至 / outbox was damaged, set aside whole: " in said(file)
    assert 1 == len(list(tmp_path.glob("outbox.db.damaged-*")))


def test_damage_while_it_runs_ends_the_agent_and_the_next_one_runs(file, panel, tmp_path):
    """The supervisor starts it again; the file is aside by then. Red if it is used on, or kept for the next start."""
    file.write_text(settings(window=str(tmp_path / "panel")), encoding="utf-8")
    with agent(file) as process:
        panel.press(1)
        assert until(lambda: panel.thanked())
        ruin(tmp_path / "outbox.db")
        panel.press(2)
        assert 1 == process.wait(10)
    with agent(file):
        assert until(lambda: len(panel.thanked()) == 2)

    assert 1 == len(list(tmp_path.glob("outbox.db.damaged-*")))
    assert "Traceback" in said(file)


def ruin(path: Path) -> None:
    """Make a page of the running outbox unreadable, as a dying disk does: through SQLite, so that it is noticed."""
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_master SET rootpage = 1000000 WHERE name = 'seen_press'")
        db.execute(f"PRAGMA schema_version = {db.execute('PRAGMA schema_version').fetchone()[0] + 1}")
    db.close()


def test_help_is_in_both_languages():
    """And every command is in it."""
    result = cli("--help")

    assert 0 == result.exit_code
    assert all(word in result.output for word in ("run", "check", "outbox", "评价器边缘代理", "device-edge agent"))
