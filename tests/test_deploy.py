"""What deploy/ gives a hall fits together: every commented example is right, and the service may read what it names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import collector.config
import collector.directory
import edge_agent.config
from collector.provinces import dialect
from protocols import profiles
from protocols.cases import case_of
from tests.brokers import make_certificates

DEPLOY = Path(__file__).parent.parent / "deploy"
AGENT = (DEPLOY / "agent.toml").read_text(encoding="utf-8")
RULES = (DEPLOY / "udev" / "60-hall-rating.rules").read_text(encoding="utf-8")
SERVICE = (DEPLOY / "systemd" / "edge-agent.service").read_text(encoding="utf-8")
ADAPTERS = ("1a86:7523", "067b:2303", "0403:6001", "10c4:ea60")


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A folder with everything that the example settings name."""
    for secret in ("broker.password", "door.token"):
        (tmp_path / secret).write_text("secret")
    make_certificates(tmp_path)
    learnt = Path(profiles.__file__).with_name("key-byte.toml").read_text(encoding="utf-8")
    (tmp_path / "learnt-a07.toml").write_text(learnt.replace('"generic"', '"learnt"'), encoding="utf-8")
    return tmp_path


def uncommented(text: str) -> str:
    """The settings with all that stands behind a # and looks like TOML."""
    return re.sub(r"^# ?(?=\[\[|[a-z_]+ = |$)", "", text, flags=re.MULTILINE)


def test_every_commented_example_is_right(beside):
    """All of them at once, beside the first window. Red if one names a profile, a port or a key that does not exist."""
    file = beside / "agent.toml"
    file.write_text(uncommented(AGENT), encoding="utf-8")
    windows = edge_agent.config.load(file).windows

    assert AGENT.count("[[windows]]") == len(windows) == 8
    assert ["house", "qs4", "qs4", "pj06", "hid-keypad", "page", "screen", "learnt-a07.toml"] == [
        window.profile for window in windows
    ]
    assert (1, 2) == tuple(window.address for window in windows if window.profile == "qs4")
    assert 1 == len({window.port for window in windows if window.profile == "qs4"})


def test_the_settings_as_they_lie_there_have_one_window(beside):
    """Nobody gets a device that they did not ask for."""
    file = beside / "agent.toml"
    file.write_text(AGENT, encoding="utf-8")

    assert ["1"] == [window.id for window in edge_agent.config.load(file).windows]


def test_the_commented_keys_are_right():
    """In the place of the keys above them. Red if the tag is not of that level."""
    text = (DEPLOY / "directory.toml").read_text(encoding="utf-8")
    above, commented = re.findall(r"^(?:# )?keys = .*$", text, flags=re.MULTILINE)
    (keys,) = collector.directory.read(text.replace(above, commented[2:], 1).encode(), "directory.toml").keys.values()

    assert (("214",), "态度不好") == (keys[2].tags, keys[3].text)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_no_modem_manager_speaks_to_an_evaluator(adapter):
    """Each adapter that evaluators come with is marked. Red if one is left out."""
    vendor, product = adapter.split(":")
    (line,) = [line for line in RULES.splitlines() if f'=="{product}"' in line]

    assert f'ATTRS{{idVendor}}=="{vendor}"' in line
    assert 'ENV{ID_MM_DEVICE_IGNORE}="1"' in line


def test_the_service_is_in_the_groups_that_the_rules_give_the_nodes_to():
    """A group in the one file only would be a port that cannot be opened."""
    (groups,) = re.findall(r"^SupplementaryGroups=(.+)$", SERVICE, flags=re.MULTILINE)

    assert {"dialout", "input"} == set(groups.split()) == set(re.findall(r'GROUP="(\w+)"', RULES))


@pytest.mark.parametrize("name", ["collector", "edge-agent"])
def test_a_service_may_write_beside_its_settings_and_is_started_however_often_it_ends(name):
    """Setting up is done by root, and the service is somebody else. Red if its first start ends at a file of root's, or
    if systemd gives up after five ends in ten seconds and no rating leaves the hall until somebody looks."""
    unit = (DEPLOY / "systemd" / f"{name}.service").read_text(encoding="utf-8")
    (user,) = re.findall(r"^User=(.+)$", unit, flags=re.MULTILINE)
    folders = re.findall(r"^ReadWritePaths=(\S+) /var/lib/hall-rating$", unit, flags=re.MULTILINE)

    assert [f"sudo chown -R {user}: {folder}" in unit for folder in folders] == [True]
    assert "StartLimitIntervalSec=0" in unit.split("[Unit]")[1].split("[Service]")[0]


@pytest.mark.parametrize("name", ["collector", "edge-agent"])
def test_nobody_else_on_the_machine_reads_what_a_service_writes(name):
    """Case numbers and what citizens wrote stand in these files. Red if they are made for all the world to read."""
    unit = (DEPLOY / "systemd" / f"{name}.service").read_text(encoding="utf-8")

    assert ["0027"] == re.findall(r"^UMask=(.+)$", unit, flags=re.MULTILINE)


def test_every_rule_is_one_that_udev_understands():
    """Key, operator, value in quotes, with commas between. Red after a slip of the pen."""
    part = r'[A-Z]+(\{\w+\})?(==|=)"[^"]+"'
    rules = [line for line in RULES.splitlines() if line and not line.startswith("#")]

    assert len(rules) >= 8
    assert [] == [rule for rule in rules if not re.fullmatch(rf"{part}(, {part})*", rule)]


def test_the_rules_say_how_to_be_rid_of_brltty():
    """It holds the port before anything of ours sees it."""
    assert "apt purge brltty" in RULES
    assert "/dev/null" in RULES


def test_the_trial_on_one_machine_fits_together(tmp_path):
    """As it lies there: settings that load, on loopback only, and passwords that broker and province know. Red if a
    newcomer's two commands end in a message."""
    for file in (DEPLOY / "trial").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    centre = collector.config.load(tmp_path / "collector.trial.toml")
    agent = edge_agent.config.load(tmp_path / "agent.trial.toml")
    directory = collector.directory.read((tmp_path / "directory.toml").read_bytes(), "directory.toml")
    users = json.loads((tmp_path / "users.json").read_text("utf-8"))
    province = json.loads((tmp_path / "province.json").read_text("utf-8"))

    assert users == {centre.broker.user: centre.broker.password, agent.agent: agent.uplink.password}
    assert province["api_token"] == centre.province.api_token
    assert {"127.0.0.1"} == {centre.broker.host, agent.uplink.host, centre.web.host, agent.door.host}
    assert "http://127.0.0.1:18800/" == centre.province.ratings_url[:23]
    assert {(agent.agent, window.id): window.device for window in agent.windows} == {
        at: place.device for at, place in directory.places.items()
    }
    case = case_of(json.loads((tmp_path / "case.json").read_text("utf-8")), "")
    assert () == dialect(centre.province, tmp_path).case_lacks(case)
