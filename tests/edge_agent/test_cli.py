"""The command line as a person meets it: its words when something is wrong, and the outbox shown while it runs."""

import csv
import fcntl
import io
import json
import os
import pty
import re
import socket
import sqlite3
import subprocess
import termios
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_agent.cli import main
from edge_agent.details import CaseDetails
from edge_agent.outbox import Outbox
from edge_agent.ports import PortFacts
from protocols.ratings import Case
from protocols.seal import PrivateKey
from protocols.seal_sm import SmPrivateKey

from .hall import DEVICE, at, invitation, keep, look, press, until
from .ledger import AGENT
from .program import ROOT, agent, command, environment, garbage, settings
from .program import said as said_in_log


def cli(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def program(*arguments: object) -> subprocess.CompletedProcess[str]:
    """`python -m edge_agent`, to its end."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, env=environment(), cwd="/", timeout=20)


# ---- check


def test_right_settings_are_told_so(file):
    """With each window, and a hint at a port that is not there now: it is no mistake."""
    result = cli("check", "--config", file)

    assert 0 == result.exit_code
    assert f"窗口 / window 3: {DEVICE} @ /nowhere ← 现在没有这个串口, 请检查线缆" in result.output
    assert "agent.toml: 配置正确 / settings are right" in result.output


def test_each_window_is_told_what_its_port_leads_to_now(file, tmp_path):
    """The device behind a link."""
    (tmp_path / "panel").symlink_to("/dev/null")
    file.write_text(settings(window=str(tmp_path / "panel")), encoding="utf-8")

    assert f"@ {tmp_path}/panel → /dev/null · house" in cli("check", "--config", file).output


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (["1-1"], "@ usb:1a86:7523 → /dev/null · house"),
        (["1-1", "1-2"], "← 分不清是 /dev/null (usb:1-1) 或 /dev/null (usb:1-2), 请在 windows.port 中写明"),
        ([], "← 现在没有这个串口, 请检查线缆 / not there now, check the cable"),
    ],
)
def test_a_port_that_is_searched_is_told_as_found(file, monkeypatch, there, words):
    """Or which two it could be, or that it is not there: no mistake of the settings."""
    ports = [PortFacts("/dev/null", 0x1A86, 0x7523, location=socket) for socket in there]
    monkeypatch.setattr("edge_agent.machine.serial_ports", lambda: ports)
    file.write_text(settings(window="usb:1a86:7523"), encoding="utf-8")
    result = cli("check", "--config", file)

    assert 0 == result.exit_code
    assert words in result.output


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


@pytest.mark.parametrize("desktop", [True, False], ids=["a desktop", "no desktop"])
def test_setup_says_the_address_and_nothing_of_a_browser_that_is_not_there(file, tmp_path, desktop):
    """xdg-open talks of its own troubles, page after page. Red if any of it is heard, and if it is asked without a
    desktop."""
    tools = tmp_path / "tools"
    tools.mkdir()
    noisy = tools / "xdg-open"
    noisy.write_text(f"#!/bin/sh\necho noise; echo noise >&2; echo $1 > {tmp_path}/asked\n", "ascii")
    noisy.chmod(0o755)
    file.write_text(settings(door='[door]\ntoken = "t-o-k-e-n-0123456789"'), "utf-8")
    around = {key: value for key, value in environment().items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    around |= {"PATH": f"{tools}:{around['PATH']}"} | ({"DISPLAY": ":9"} if desktop else {})
    done = subprocess.run(
        command("setup", "--config", file), capture_output=True, text=True, env=around, cwd="/", timeout=20
    )
    asked = until((tmp_path / "asked").exists, 10 if desktop else 0.5)

    assert (0, "") == (done.returncode, done.stderr)
    assert 1 == done.stdout.count("\n")
    assert done.stdout.strip().endswith("here, while the agent runs: http://127.0.0.1:8610/setup/")
    assert desktop == asked


@pytest.mark.parametrize("what", [["run"], ["setup", "--no-browser"]])
def test_a_folder_that_is_not_there_is_no_place_for_a_setup_page(tmp_path, what):
    """Nothing could be written there: said at once, instead of a page that cannot apply anything."""
    result = cli(*what, "--config", tmp_path / "nowhere" / "agent.toml")

    assert 2 == result.exit_code
    assert "cannot be made there" in result.output


@pytest.mark.parametrize("what", [["check"], ["outbox", "status"]])
def test_settings_that_are_not_there_are_named(tmp_path, what):
    """And how to name others."""
    result = cli(*what, "--config", tmp_path / "nowhere.toml")

    assert 2 == result.exit_code
    assert "nowhere.toml: 读不了: " in result.stderr


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


def test_details_that_wait_are_told(file, filled):
    """Sealed, and of nobody: how many."""
    assert "办件信息" not in cli("outbox", "status", "--config", file).output
    details = CaseDetails(file.parent / "outbox.db.details", PrivateKey.new().public, 0)
    details.keep(Case("C1", applicant_name="欧阳测试"), 0)

    assert 1 == json.loads(cli("outbox", "status", "--json", "--config", file).stdout)["details"]
    said = cli("outbox", "status", "--config", file).output
    assert "1 个已密封" in said and "欧阳" not in said
    details.close()


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


def test_the_halls_own_heads_are_printed(file, filled):
    """A line a day, as the collector compares them."""
    shown = [json.loads(line) for line in cli("heads", "--config", file).stdout.splitlines()]

    assert [(AGENT, filled.epoch, *filled.tip())] == [
        (each["agent"], each["epoch"], each["seq"], each["head"]) for each in shown
    ]


def test_a_damaged_outbox_is_read_as_far_as_it_goes(file, filled):
    """Every record that can be read, what cannot by number, and not a byte of the file is changed."""
    filled.close()
    path = file.parent / "outbox.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE record SET body = x'7b7d' WHERE seq = 2")
        db.commit()
    before, last = path.read_bytes(), filled_records(path)
    result = cli("outbox", "salvage", path)
    shown = [json.loads(line)["seq"] for line in result.stdout.splitlines()]

    assert 0 == result.exit_code
    assert [seq for seq in range(1, last + 1) if seq != 2] == shown
    assert "not readable: 2–2" in result.stderr
    assert before == path.read_bytes()
    assert [path.name, f"{path.name}.lock"] >= sorted(each.name for each in path.parent.glob("outbox.db*"))


def filled_records(path: Path) -> int:
    return look(path, "SELECT max(seq) FROM record")[0][0]


def test_a_damaged_outbox_that_is_not_there(tmp_path):
    """Said, no traceback."""
    result = cli("outbox", "salvage", tmp_path / "nowhere")

    assert (2, True) == (result.exit_code, "没有这个文件 / no such file" in result.stderr)


@pytest.mark.parametrize(("table", "what"), [("record", "status"), ("record", "export"), ("invitation_row", "status")])
def test_damage_that_shows_while_it_is_read_is_said_so(file, filled, table, what):
    """At the first look and in the middle. Red without what _Opened does at its end."""
    filled.open_invitation(invitation(1, at(0)))
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


@pytest.mark.parametrize(
    ("key", "library", "extra"),
    [
        (str(PrivateKey.new().public), "cryptography", "[agent]"),
        (str(SmPrivateKey.new().public), "fastecdsa", "[agent-national]"),
    ],
    ids=["x25519", "sm2"],
)
def test_ciphers_that_are_not_installed_are_named(file, tmp_path, monkeypatch, key, library, extra):
    """With the command that installs them: an agent without sealing does not carry them."""
    (tmp_path / "without" / library).mkdir(parents=True)
    words = f"raise ModuleNotFoundError('no', name='{library}')"
    (tmp_path / "without" / library / "__init__.py").write_text(words, "utf-8")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'without'}{os.pathsep}{ROOT}")
    file.write_text(settings(door=f'[details]\nkey = "{key}"'), encoding="utf-8")
    done = subprocess.run(
        command("run", "--config", file), capture_output=True, text=True, cwd="/", timeout=20, env=dict(os.environ)
    )

    assert 2 == done.returncode
    assert f"details.key: 缺少密码组件 {library}" in done.stderr and extra in done.stderr


def test_a_door_that_is_taken_is_named(file):
    """Which key, and that another program has it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        file.write_text(settings(door=f'[door]\ntoken = "t"\nport = {port}'), encoding="utf-8")
        said = stopped(file)

    assert f"agent.toml: door.port: 端口 {port} 已被占用 / {port} is taken by another program" in said


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[uplink]", '[outbox]\npath = "missing/outbox.db"\n[uplink]', "agent.toml: outbox.path: "),
        ("[uplink]", '[outbox]\npath = "."\n[uplink]', "agent.toml: outbox.path: "),
        ('password = "x"', 'password_file = "missing"', "uplink.password_file: 'missing' 读不了: "),
        (
            "[[windows]]",
            '[door]\ntoken = "t"\nhost = "10.255.255.1"\n[[windows]]',
            "door.host: '10.255.255.1' 不是本机的地址",
        ),
        (
            "[[windows]]",
            '[door]\ntoken = "t"\nhost = "no such host"\n[[windows]]',
            "door.host: 找不到主机名 'no such host'",
        ),
        (
            "[[windows]]",
            '[door]\ntoken = "t"\nport = 0\nport_file = "missing/port"\n[[windows]]',
            "door.port_file: ",
        ),
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

    assert "uplink.tls.certificate: 证书或密钥用不了" in told_at_a_terminal(file)


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
        return process.communicate(timeout=30)[1].decode()
    finally:
        process.kill()
        process.communicate()
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("what", ["check", "run"])
@pytest.mark.parametrize(
    ("tls", "words"),
    [
        ('ca = "agent.toml"', "agent.toml: uplink.tls.ca: 证书 'agent.toml' 用不了: "),
        ('certificate = "agent.toml"', "agent.toml: uplink.tls.certificate: 证书或密钥用不了"),
        ('certificate = "a.crt"\nkey_file = "b.key"', "agent.toml: uplink.tls.certificate: 证书或密钥用不了"),
    ],
)
def test_check_refuses_the_tls_files_that_a_run_refuses(file, what, tls, words):
    """No certificate, no key in it, the key of another one. Red if only the run looks into them."""
    for name in ("a", "b"):
        made = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.crt -subj /CN=a -days 1"
        subprocess.run(made.split(), cwd=file.parent, check=True, capture_output=True)
    file.write_text(settings().replace("[[windows]]", f"[uplink.tls]\n{tls}\n[[windows]]"), encoding="utf-8")
    result = cli(what, "--config", file)

    assert 2 == result.exit_code
    assert words in result.stderr


def test_a_second_agent_on_one_outbox_ends_at_once(file):
    """In words; looking goes on beside the first, and a killed one leaves no lock. Red without `sole`."""
    with agent(file) as first:
        assert until(lambda: "agent started" in said_in_log(file))

        assert "outbox.path: " in (said := stopped(file))
        assert "另一个代理正在使用这个存档 / another agent is using this outbox" in said
        assert 0 == cli("check", "--config", file).exit_code
        assert 0 == cli("outbox", "status", "--config", file).exit_code
        assert 0 == cli("outbox", "export", "--config", file).exit_code
        first.kill()
        first.wait()
        with agent(file):
            assert until(lambda: said_in_log(file).count("agent started") == 2)


def test_another_agents_outbox_is_not_touched(file):
    """Two configurations in one folder, by mistake."""
    somebody_elses(file.parent / "outbox.db")

    assert "outbox.path: " in (said := stopped(file))
    assert "belongs to hall-pc-9, not to agent-a" in said


def test_help_is_in_both_languages():
    """And every command is in it."""
    result = cli("--help")

    assert 0 == result.exit_code
    assert all(word in result.output for word in ("run", "check", "outbox", "评价器边缘代理", "device-edge agent"))
