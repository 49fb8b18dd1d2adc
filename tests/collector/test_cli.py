"""The collector as its administrator meets it: real processes, exit codes, and words that say what to put right."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from collector import cli
from edge_agent.config import DetailsSettings
from firmware_sim.province.door import serving
from firmware_sim.province.txnbody import province
from protocols.messages import COLLECTOR_STATUS, encode
from protocols.seal import PublicKey
from tests.brokers import ROOT, USERS, Mosquitto, Peer, mosquitto_or_skip
from tests.collector.agents import Agent, press, rated
from tests.collector.ledgers import Ledger, case, directory_of, unguard, window
from tests.collector.provinces import KEYS, eventually, stubbed

BROKER = '[broker]\nhost = "127.0.0.1"\nport = {port}\npassword = "province-1"\n'
PROVINCE = f"""[province]
dialect = "txnbody"
case_url = "{{url}}/hcp/case"
offline_rating_url = "{{url}}/hcp/offline-rating"
app_mark = "{KEYS.app_mark}"
app_word = "{KEYS.app_word}"
public_key = "{KEYS.public_hex}"
timeout_s = 60
"""
WEB = '[web]\nport = 0\nport_file = "web.port"\ntoken = "t"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a directory, and settings for a collector without broker, province or page."""
    (tmp_path / "directory.toml").write_text(window("agent-a"), "utf-8")
    (tmp_path / "collector.toml").write_text(BROKER.format(port=1), "utf-8")
    return tmp_path


def said(folder: Path, *words: str) -> Result:
    """What a command says, and its exit code; a traceback fails the test."""
    result = CliRunner().invoke(cli.main, [*words, "--config", str(folder / "collector.toml")])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def ledger_of(folder: Path) -> Ledger:
    return Ledger(folder / "ledger.db", directory_of(window("agent-a")))


@contextmanager
def running(folder: Path, **environment: str) -> Iterator[subprocess.Popen]:
    """The collector as a process of its own; killed if it is still there at the end."""
    command = [sys.executable, "-m", "collector", "run", "--config", str(folder / "collector.toml")]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stderr=subprocess.PIPE)
    words: list[str] = []
    process.said = lambda: "".join(words)  # type: ignore[attr-defined]
    reader = threading.Thread(target=lambda: words.extend(line.decode() for line in process.stderr))
    reader.start()
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stderr.close()


def ended(folder: Path) -> tuple[int, str]:
    """Exit code and words of a collector that cannot run."""
    with running(folder) as process:
        code = process.wait(30)
    return code, process.said()


# ---- check


@pytest.mark.parametrize(("words", "begins"), [((), "x25519:"), (("--national",), "sm2:04")])
def test_the_key_for_window_pcs_is_made_once_and_shown(folder, words, begins):
    """What an agent's settings take as it is printed; asked again it is the same, and `check` shows it too."""
    first, again = said(folder, "key", *words), said(folder, "key", *words)
    public = again.stdout.strip()

    assert (0, True) == (first.exit_code, public.startswith(begins))
    assert f"{public}\n" == first.stdout and "已生成" in first.stderr
    assert public in said(folder, "check").output
    assert DetailsSettings(public) == msgspec.convert({"key": public}, DetailsSettings)
    file = folder / "details.key"
    assert "-rw-------" == stat.filemode(file.stat().st_mode)
    assert file.read_text().split(":")[1].strip() not in first.output + again.output


def test_a_key_needs_no_settings(tmp_path):
    """Whoever prepares the window PCs has no collector yet. Red if its settings have to be right first."""
    result = CliRunner().invoke(cli.main, ["key", "--key-file", str(tmp_path / "details.key")])

    assert (0, True) == (result.exit_code, result.stdout.startswith("x25519:"))
    id = PublicKey.from_text(result.stdout).key_id
    assert f"编号 id {id}" in result.stderr


def test_a_key_that_cannot_be_had_is_named(folder):
    (folder / "details.key").mkdir()
    answer = said(folder, "key")

    assert (2, True) == (answer.exit_code, "details.key_file" in answer.output)


def test_check_lists_every_window_and_says_whose_keys_nobody_confirmed(folder):
    (folder / "directory.toml").write_text(window("agent-a") + window("agent-a", "w2", "D2", "{}"), "utf-8")
    result = said(folder, "check")

    assert 0 == result.exit_code
    first, second, *rest = result.output.splitlines()
    assert "agent-a/w1 D1" in first
    assert "keys not confirmed" not in first
    assert "keys not confirmed" in second
    assert "配置正确" in rest[-1]
    assert "not forwarded" in result.output


@pytest.mark.parametrize("command", [["check"], ["run"], ["verify"], ["reconcile"]])
@pytest.mark.parametrize(
    ("file", "text", "part"),
    [
        ("collector.toml", "[broker", "collector.toml"),
        ("collector.toml", BROKER.format(port=1) + "x = 1", "broker.x"),
        (
            "collector.toml",
            BROKER.format(port=1) + PROVINCE.format(url="http://h").replace(KEYS.public_hex, "77"),
            "public_key",
        ),
        ("directory.toml", "[[windows]]", "directory.toml"),
        ("directory.toml", window("agent-a") + window("agent-a"), "windows[2]"),
        ("directory.toml", None, "directory.toml"),
        ("collector.toml", None, "collector.toml"),
    ],
)
def test_wrong_settings_are_named_by_every_command(folder, command, file, text, part):
    """Exit code 2, one line per mistake, no traceback."""
    if text is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(text, "utf-8")
    result = said(folder, *command)

    assert 2 == result.exit_code
    assert part in result.output
    assert "Traceback" not in result.output


# ---- verify and reconcile


def test_verify_says_whole_or_which_record(folder):
    """Exit codes 0 and 1; the same as JSON."""
    ledger = ledger_of(folder)
    agent = Agent("agent-a")
    ledger.take(agent, agent.write(*rated(1), *rated(2)))
    other = Agent("agent-a")
    other.write(*rated(3), *rated(4))
    ledger.take(other, other.batch(3, 4))

    result = said(folder, "verify")
    assert 0 == result.exit_code
    assert "完好 / whole" in result.output
    assert f"agent-a {other.epoch} #1–2" in result.output
    shown = json.loads(said(folder, "verify", "--json").output)
    assert (2, 6, 3, 1, []) == tuple(shown[name] for name in ("epochs", "records", "ratings", "gaps", "findings"))
    assert [{"agent": "agent-a", "epoch": other.epoch, "first": 1, "last": 2}] == shown["missing"]

    ledger.store._db.execute("DROP TRIGGER record_never_changes")
    ledger.store._db.execute("UPDATE record SET body = x'00' WHERE epoch_id = 1 AND seq = 3")
    ledger.store.close()
    result = said(folder, "verify")
    assert 1 == result.exit_code
    assert f"✗ agent-a {agent.epoch} #3" in result.output
    (finding, *_) = json.loads(said(folder, "verify", "--json").output)["findings"]
    assert ("agent-a", agent.epoch, 3) == (finding["agent"], finding["epoch"], finding["seq"])


def test_the_halls_own_heads_are_compared(folder, tmp_path):
    """What `edge-agent heads` printed: the same, of records that are not there yet, and after a change with all hashes
    made anew, which nothing within the ledger's own agents' chains would show."""
    ledger = ledger_of(folder)
    agent = Agent("agent-a")
    ledger.take(agent, agent.write(*rated(1), *rated(2)))
    ledger.store.close()
    file = tmp_path / "heads.jsonl"

    def heads(*seqs: int) -> None:
        lines = [
            {
                "agent": agent.name,
                "day": f"2026-11-0{seq}",
                "epoch": agent.epoch,
                "seq": seq,
                "head": agent.heads[seq].hex(),
            }
            for seq in seqs
        ]
        file.write_text("\n".join(map(json.dumps, lines)))

    heads(2, 4)
    assert 0 == said(folder, "verify", "--heads", str(file)).exit_code
    agent.write(*rated(3))
    heads(2, 6)
    assert "#6: 2026-11-06: 账本还没有这一条" in said(folder, "verify", "--heads", str(file)).output
    agent.heads[2] = bytes(32)
    heads(2, 4)
    result = said(folder, "verify", "--heads", str(file))
    assert (1, True) == (result.exit_code, "#2: 2026-11-02: 与本厅自留的链首不符" in result.output)
    file.write_text("{}")
    assert (2, True) == ((result := said(folder, "verify", "--heads", str(file))).exit_code, "第 1 行" in result.output)


def test_reconcile_says_first_whether_all_is_explained_then_bad_ratings_then_each_day(folder):
    """Two lines that matter, then a line per day and window; the same as JSON, with the sums of all time."""
    ledger = ledger_of(folder)
    agent = Agent("agent-a")
    ledger.take(agent, agent.write(*rated(1), *rated(2, button=2)))
    ledger.store.close()
    result = said(folder, "reconcile", "--from", "2027-01-15")

    assert 0 == result.exit_code
    verdict, bad, *rest = result.output.splitlines()
    assert verdict.startswith("✓ 全部说得清 / everything is explained")
    assert "✓ 差评 / bad ratings: 收到 received 1 = 已接收 accepted 0 + 待处理 parked 0 + 等待 waiting 1" == bad
    assert ["2027-01-15", "agent-a/w1", *"2222002"] in [line.split() for line in rest]
    shown = json.loads(said(folder, "reconcile", "--json").output)
    assert (2, 2, 2) == tuple(shown["all"][name] for name in ("pressed", "in_ledger", "waiting"))
    assert "agent-a" == shown["windows"][0]["agent"] == shown["days"][0]["agent"]


def test_reconcile_ends_with_1_where_something_is_not_explained(folder):
    """A press that is gone: in the verdict, and in the line of its day with where and how much."""
    ledger = ledger_of(folder)
    agent = Agent("agent-a")
    ledger.take(agent, agent.write(press(1), press(2)))
    unguard(ledger.store._db)
    ledger.store._db.execute("DELETE FROM press WHERE count = 2")
    ledger.store.close()
    result = said(folder, "reconcile")

    assert 1 == result.exit_code
    assert result.output.startswith("✗ 1 无法解释 / unexplained")
    assert (
        "✗ 无法解释 / unexplained 1: 按键: 收下的记录与账本行之差 / presses: records taken, less rows" in result.output
    )
    assert 1 == json.loads(said(folder, "reconcile", "--json").output)["unexplained"]


def test_reconcile_shows_older_days_only_where_they_matter_and_when_asked(folder):
    """Half a minute is all that a person has. What is not explained stands there whatever its age."""
    ledger = ledger_of(folder)
    agent = Agent("agent-a")
    day_ms = 86_400_000
    ledger.take(agent, agent.write(*(press(n, pressed_ms=1_700_000_000_000 + n * day_ms) for n in range(1, 6))))
    unguard(ledger.store._db)
    ledger.store._db.execute("DELETE FROM press WHERE count = 2")
    ledger.store.close()

    shown = said(folder, "reconcile").output
    assert ["2023-11-17"] == [line.split()[0] for line in shown.splitlines() if "agent-a/w1" in line]
    assert "更早的 4 行都说得清" in shown
    asked = said(folder, "reconcile", "--from", "2023-11-18", "--to", "2023-11-19").output
    assert ["2023-11-19", "2023-11-18"] == [line.split()[0] for line in asked.splitlines() if "agent-a/w1" in line]
    assert asked.startswith("✓")
    assert "2023" not in "".join(said(folder, "reconcile", "--window", "w2").output.splitlines()[1:])


def test_reconcile_keeps_within_a_hundred_columns(folder):
    """A Chinese character is as wide as two letters."""
    ledger = ledger_of(folder)
    agent = Agent("agent-a")
    ledger.take(
        agent,
        agent.write(
            *rated(1), press(2), press(2), press(5, "i1"), press(6, doubt="i9"), press(7, "i9"), press(1, profile="x")
        ),
    )
    ledger.store.close()

    lines = said(folder, "reconcile", "--from", "2027-01-01").output.splitlines()
    assert [] == [line for line in lines if sum(1 + (each > "\u2e7f") for each in line) > 100]
    assert any(sum(1 + (each > "\u2e7f") for each in line) > 80 for line in lines)


@pytest.mark.parametrize("day", ["yesterday", "2026-13-01", "20261124", "2026-W47-2", ""])
def test_a_day_that_is_none_is_named(folder, day):
    ledger_of(folder).store.close()
    result = said(folder, "reconcile", "--from", day)

    assert 2 == result.exit_code
    assert "应为日期, 如 2026-11-24" in result.output


def test_days_in_the_wrong_order_are_not_called_explained(folder):
    """Red if a script that exchanges them is told for ever that all is well, of no day at all."""
    ledger_of(folder).store.close()
    result = said(folder, "reconcile", "--from", "2027-01-16", "--to", "2027-01-15")

    assert (2, True, False) == (result.exit_code, "请对调" in result.output, "全部说得清" in result.output)


@pytest.mark.parametrize("command", [["verify"], ["verify", "--json"], ["reconcile"], ["reconcile", "--json"]])
@pytest.mark.parametrize("what", ["none", "text", "another database", "cut short", "a folder", "empty"])
def test_a_ledger_that_cannot_be_read_is_named(folder, command, what):
    """No traceback, and exit code 2: nothing was found out."""
    file = folder / "ledger.db"
    if what == "text":
        file.write_text("this is no database, but it is long enough to be looked at " * 50)
    elif what == "another database":
        with sqlite3.connect(file) as other:
            other.execute("CREATE TABLE t(x)")
        other.close()
    elif what == "cut short":
        ledger = ledger_of(folder)
        ledger.rate(*range(1, 60))
        ledger.store.close()
        os.truncate(file, 20_000)
    elif what == "a folder":
        file.mkdir()
    elif what == "empty":
        file.touch()
    result = said(folder, *command)

    assert 2 == result.exit_code
    assert "ledger" in result.output


# ---- run


def test_a_ledger_that_cannot_be_used_is_named(folder):
    """A folder that is not there, a file that is no database, another program's database, another collector's."""
    settings = folder / "collector.toml"
    text = settings.read_text()
    (folder / "text.db").write_text("this is no database " * 100)
    with sqlite3.connect(folder / "other.db") as other:
        other.execute("CREATE TABLE t(x)")
    other.close()
    held = sqlite3.connect(folder / "mine.db.lock", isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    for name, words in (
        ("nowhere/ledger.db", "unable to open"),
        ("text.db", "not a database"),
        ("other.db", "no ledger"),
        ("mine.db", "another collector"),
    ):
        settings.write_text(text + f'[ledger]\npath = "{name}"\n')
        code, said_words = ended(folder)

        assert (2, True) == (code, name in said_words and words in said_words), said_words
        assert "Traceback" not in said_words
    held.close()


def test_a_web_port_that_is_taken_is_named(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (folder / "collector.toml").write_text(BROKER.format(port=1) + f'[web]\nport = {port}\ntoken = "t"\n')
        code, words = ended(folder)

    assert 2 == code
    assert f"web 127.0.0.1:{port}" in words
    assert "Traceback" not in words


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    mosquitto_or_skip()
    with Mosquitto(tmp_path / "broker") as started:
        yield started


@pytest.mark.alone
@pytest.mark.mosquitto
def test_from_an_agents_message_to_the_province_and_the_page(folder, broker):
    """The whole collector: batch in, receipt out, case by HTTP, rating at the province, page and counts.

    Killed with SIGKILL in between, and started again.
    """
    there = province(KEYS)
    agent = Agent("agent-a")
    with serving(there) as door:
        (folder / "collector.toml").write_text(BROKER.format(port=broker.port) + PROVINCE.format(url=door.url) + WEB)
        with Peer(broker, "agent-a") as peer:
            peer.subscribe("hcp/v1/agent-a/receipt", COLLECTOR_STATUS)
            with running(folder) as process:
                peer.hears(COLLECTOR_STATUS)
                peer.publish("hcp/v1/agent-a/batch", encode(agent.write(*rated(1), *rated(2, button=2))))
                peer.hears("hcp/v1/agent-a/receipt")
                process.kill()
                process.wait()
                (folder / "web.port").unlink()
            with running(folder) as process:
                eventually((folder / "web.port").exists)
                port = int((folder / "web.port").read_text())
                for number in (1, 2):
                    assert 200 == posted(port, case(f"C{number}"))
                eventually(lambda: 2 == len(there.ratings()))
                eventually(lambda: 2 == summary(port)["ratings"]["accepted"])
                began_s = time.monotonic()
                process.send_signal(signal.SIGTERM)

                assert 0 == process.wait(5), process.said()
                assert time.monotonic() - began_s < 2.5
                assert "Traceback" not in process.said()
    assert {"C1": "5", "C2": "2"} == {row["projectNo"]: row["satisfaction"] for row in there.ratings()}
    assert 0 == said(folder, "verify").exit_code


def posted(port: int, details) -> int:
    """The answer's status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    body = json.dumps(dataclasses.asdict(details))
    connection.request("POST", "/api/v1/cases", body, {"Authorization": "Bearer t"})
    status = connection.getresponse().status
    connection.close()
    return status


def summary(port: int) -> dict:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/api/v1/summary", headers={"Authorization": "Bearer t"})
    found = json.loads(connection.getresponse().read())
    connection.close()
    return found


@pytest.mark.alone
@pytest.mark.mosquitto
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_within_two_seconds_while_the_province_stalls(folder, broker, signum):
    """Four calls without an answer and a time-out of a minute; exit code 0, nothing lost, no traceback."""
    ledger = ledger_of(folder)
    ledger.rate(*range(1, 9), name="agent-a")
    ledger.store.close()
    release = threading.Event()
    with stubbed(lambda *_: release.wait(30)) as stub:
        (folder / "collector.toml").write_text(BROKER.format(port=broker.port) + PROVINCE.format(url=stub.url) + WEB)
        with Peer(broker, "agent-a") as peer:
            peer.subscribe(COLLECTOR_STATUS)
            with running(folder) as process:
                peer.hears(COLLECTOR_STATUS)
                eventually(lambda: 4 == len(stub.calls))
                began_s = time.monotonic()
                process.send_signal(signum)
                code = process.wait(10)
                took_s = time.monotonic() - began_s
        release.set()

    assert 0 == code, process.said()
    assert took_s < 2
    assert "Traceback" not in process.said()
    assert {"due"} == set(ledger_of(folder).states().values())


@pytest.mark.mosquitto
def test_a_second_collector_on_the_same_ledger_does_not_start(folder, broker):
    """And the first goes on."""
    (folder / "collector.toml").write_text(BROKER.format(port=broker.port))
    with Peer(broker, "agent-a") as peer:
        peer.subscribe(COLLECTOR_STATUS)
        with running(folder) as first:
            peer.hears(COLLECTOR_STATUS)
            code, words = ended(folder)

            assert 2 == code
            assert "another collector" in words
            assert first.poll() is None


def test_it_waits_for_a_broker_that_is_not_there_and_stops_when_told(folder):
    """Pages and forwarding do not depend on the broker."""
    (folder / "collector.toml").write_text(BROKER.format(port=1) + WEB)
    with running(folder) as process:
        eventually((folder / "web.port").exists)
        port = int((folder / "web.port").read_text())
        assert 0 == summary(port)["records"]
        eventually(lambda: "cannot be reached" in process.said())
        process.send_signal(signal.SIGTERM)

        assert 0 == process.wait(5), process.said()
    assert USERS["collector"] not in process.said()


@pytest.mark.mosquitto
def test_a_directory_put_right_is_used_after_a_restart(folder, broker):
    """How many presses that gave a meaning stands in the log."""
    (folder / "directory.toml").write_text(window("agent-a", keys="{}"), "utf-8")
    ledger = Ledger(folder / "ledger.db", directory_of(window("agent-a", keys="{}")))
    agent = Agent("agent-a")
    ledger.take(agent, agent.write(*rated(1), *rated(2)))
    ledger.store.close()
    (folder / "directory.toml").write_text(window("agent-a"), "utf-8")
    (folder / "collector.toml").write_text(BROKER.format(port=broker.port))
    with running(folder) as process:
        eventually(lambda: "collector started" in process.said())

    assert "2 条按键有了含义" in process.said()
    assert ["rated", "rated"] == ledger_of(folder).fates()
