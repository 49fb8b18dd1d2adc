"""`edge-agent ports` and `edge-agent doctor` as a person and a program meet them."""

import json
import os
import pty
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from edge_agent.cli import main
from edge_agent.doctor import checks
from edge_agent.doctor.inventory import as_json, inventory
from edge_agent.machine import serial_ports
from edge_agent.ports import PortFacts
from protocols.ratings import Moment

from ..machines import FTDI, Machine
from ..program import command, environment, settings

SYNCED = Moment(1_790_000_000_000, 5_000, "boot", True)


def cli(*arguments: object, lang: str = "en_US.UTF-8") -> Result:
    environment = {"LC_ALL": "", "LC_MESSAGES": "", "LANG": lang}
    result = CliRunner().invoke(main, [str(each) for each in arguments], env=environment)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


@pytest.fixture
def plugged(tmp_path, monkeypatch) -> Machine:
    """One adapter, with two programs at its port, instead of whatever this machine has."""
    made = Machine(tmp_path / "machine")
    node = made.adapter("ttyUSB0", "1-1.3", FTDI, "A9001XYZ", "ftdi_sio", by_id="usb-FTDI_A9001XYZ-if00-port0")
    made.program(41, "queue-client", node)
    monkeypatch.setattr("edge_agent.machine.serial_ports", lambda: serial_ports(made.roots))
    monkeypatch.setattr("edge_agent.doctor.commands.inventory", lambda there: inventory(there, made.roots))
    return made


# ---- ports


def test_a_port_is_listed_with_all_that_tells_it_from_others(plugged):
    """For a person: what to write into the settings first."""
    shown = cli("ports").output

    for line in (
        f"{plugged.roots.dev}/ttyUSB0",
        '    bind: port = "usb:1-1.3"',
        "    adapter: 0403:6001 QinHeng USB Serial",
        "    serial: A9001XYZ",
        "    USB socket: 1-1.3",
        "    driver: ftdi_sio",
        f"    link: {plugged.roots.dev}/serial/by-id/usb-FTDI_A9001XYZ-if00-port0",
        "    held by: queue-client (pid 41)",
    ):
        assert f"{line}\n" in shown


def test_a_port_is_listed_for_programs(plugged):
    """As JSON."""
    [port] = json.loads(cli("ports", "--json").stdout)

    assert ("usb:1-1.3", "0403:6001", "A9001XYZ", "1-1.3", "ftdi_sio") == tuple(
        port[key] for key in ("bind", "adapter", "serial", "location", "driver")
    )
    assert [{"pid": 41, "command": "queue-client"}] == port["holders"]
    assert 2 == len(port["links"])


def test_a_real_port_is_listed_with_the_real_program_that_holds_it():
    """This very process."""
    _, slave = terminal = pty.openpty()
    shown = as_json(inventory([PortFacts(os.ttyname(slave))])[0])
    for end in terminal:
        os.close(end)

    assert [os.getpid()] == [holder["pid"] for holder in shown["holders"]]


def test_no_ports_are_said_so(monkeypatch):
    """With the next step."""
    monkeypatch.setattr("edge_agent.machine.serial_ports", list)

    assert "edge-agent doctor" in cli("ports").output
    assert [] == json.loads(cli("ports", "--json").stdout)


# ---- doctor


def test_the_locale_or_the_person_chooses_the_language(plugged):
    """And help is in both."""
    assert "held by" in cli("ports").output
    assert "占用者" in cli("ports", lang="zh_CN.UTF-8").output
    assert "占用者" in cli("ports", "--lang", "zh").output
    assert "every adapter has its port" in cli("doctor").output
    assert "转换器都有串口" in cli("doctor", "--lang", "zh").output


@pytest.mark.parametrize(("synced", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_says_whether_a_person_is_needed(file, plugged, monkeypatch, synced, code):
    """For a program that looks after many of them."""
    monkeypatch.setattr("edge_agent.doctor.commands.examine", lambda *_: checks.host.clock(synced))
    result = cli("doctor", "--config", file)

    assert code == result.exit_code
    assert (synced, not synced) == ("all is fine" in result.output, "$ sudo timedatectl set-ntp true" in result.output)
    assert synced == json.loads(cli("doctor", "--json", "--config", file).stdout)["fine"]


def test_every_finding_is_given_to_programs_in_both_languages(file):
    """Code, severity, words, cure and command, whatever the locale; of this very machine."""
    file.write_text(settings(door='[door]\ntoken = "t"'), encoding="utf-8")
    result = cli("doctor", "--json", "--config", file)
    shown = json.loads(result.stdout)
    codes = [finding["code"] for finding in shown["findings"]]

    assert 1 == result.exit_code
    assert {"port-absent", "adapters-alike", "brltty", "modemmanager", "disk", "outbox", "broker", "door"} <= set(codes)
    for finding in shown["findings"]:
        assert {"code", "severity", "words", "cure", "command"} == finding.keys()
        assert finding["words"]["zh"] != finding["words"]["en"]
        assert (finding["severity"] == "ok") == (finding["command"] == "")


def test_wrong_settings_are_a_finding_and_the_rest_is_examined(file):
    """Not the end of it."""
    file.write_text(settings().replace("[[windows]]", "[[windows]]\nbaud = 1"), encoding="utf-8")
    result = cli("doctor", "--config", file)

    assert 1 == result.exit_code
    assert "windows[1].baud" in result.output
    assert f"$ edge-agent check --config {file}" in result.output
    assert "every adapter has its port" in result.output


def test_without_settings_the_machine_alone_is_examined(plugged):
    """Before there are any: no broker, no outbox."""
    findings = checks.examine(None, serial_ports(plugged.roots), SYNCED, roots=plugged.roots)

    assert {"broker", "outbox", "door", "port-absent"}.isdisjoint(finding.code for finding in findings)
    assert not checks.needs_a_person(findings)


def test_the_settings_beside_it_are_taken_if_none_are_named(file):
    """agent.toml of this folder, in a program of its own."""
    told = [sys.executable, "-m", "edge_agent", "doctor", "--json"]
    assert told[:3] == command()[:3]
    done = subprocess.run(told, capture_output=True, text=True, env=environment(), cwd=file.parent, timeout=60)

    assert "broker" in [finding["code"] for finding in json.loads(done.stdout)["findings"]], done.stderr
