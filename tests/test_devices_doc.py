"""What docs/devices.md says is so: its commands exist, its profiles are those that are shipped, its examples load."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

import edge_agent.cli
import edge_agent.config
import firmware_sim.cli
from protocols import profiles

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


def test_every_shipped_profile_stands_in_the_table_with_its_evidence():
    """None is missing, none is made up."""
    rows = [row.split("|") for row in re.findall(r"^\| `.*", TEXT, re.MULTILINE)]
    told = {name: row[3].strip() for row in rows if len(row) == 6 for name in re.findall(r"`([a-z0-9-]+)`", row[1])}

    assert {each: profiles.shipped(each).shape.evidence for each in profiles.SHIPPED} == told


@pytest.mark.parametrize("line", sorted(set(re.findall(r"^edge-agent [a-z]+.*", TEXT, re.MULTILINE))))
def test_every_command_takes_what_it_is_given(line):
    """The command is there, with these options."""
    words = line.split("#")[0].split()
    command = edge_agent.cli.main.commands[words[1]]
    options = {name for each in command.params for name in each.opts}

    assert set(word for word in words if word.startswith("--")) <= options


def test_the_simulated_panel_takes_what_it_is_given():
    """For practising without a device."""
    panel: click.Command = firmware_sim.cli.main.commands["panel"]
    options = {name for each in panel.params for name in each.opts}

    assert {"--shape", "--link"} <= options


def test_its_profile_loads():
    """Vectors and all."""
    [example] = [block for block in BLOCKS if "[[vectors]]" in block]

    assert "ours" == profiles.read(example.encode(), "ours.toml").id


def test_its_windows_are_right(tmp_path):
    """Two devices on one line."""
    [windows] = [block for block in BLOCKS if "[[windows]]" in block]
    settings = f'agent = "a"\n{windows}[uplink]\nhost = "h"\npassword = "p"\n'
    (tmp_path / "agent.toml").write_text(settings, "utf-8")

    assert [5, 6] == [each.address for each in edge_agent.config.load(tmp_path / "agent.toml").windows]


def test_every_table_of_the_vocabulary_is_named():
    """A table that nobody tells of is one that nobody uses."""
    tables = {"line", "frame", "bare", "rules", "ack", "nak", "commands", "init", "poll", "alive", "press", "keys"}

    assert not [each for each in tables if not re.search(rf"\[\[?{each}\]\]?", TEXT)]
