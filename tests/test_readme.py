"""What the README and the glossary say is so."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

import collector.cli
import collector.config
import collector.directory
import edge_agent.cli
import edge_agent.config
import firmware_sim.cli
from protocols.frames import Noise, decode, encode
from tests.brokers import make_certificates

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = {"edge-agent": edge_agent.cli.main, "collector": collector.cli.main, "firmware-sim": firmware_sim.cli.main}


def test_its_first_screen_says_what_it_is_and_the_two_commands():
    """Promise, both commands and the path of a press stand in the first 35 lines."""
    first = "\n".join(README.splitlines()[:35])

    assert all(word in first for word in ("不丢、不重、不造、不改", "make demo", "make test", "edge agent", "ack"))


def test_every_frame_it_shows_is_one():
    """The examples decode, and encode to what stands there."""
    shown = re.findall(r"`(\$[A-Z]+,[^`]*\*[0-9A-F]{4})`", README)
    frames = [decode(line.encode()) for line in shown]

    assert len(shown) >= 5
    assert not [frame for frame in frames if isinstance(frame, Noise)]
    assert shown == [encode(frame).decode().strip() for frame in frames if not isinstance(frame, Noise)]


@pytest.mark.parametrize(
    "line", sorted(set(re.findall(r"((?:edge-agent|collector|firmware-sim) [a-z ]+[a-z])", README)))
)
def test_every_command_it_names_exists(line):
    """`edge-agent outbox status` is a command of the program, and so on."""
    name, *words = line.split()
    command: click.Command = PROGRAMS[name]
    for word in words:
        if not isinstance(command, click.Group):
            break
        assert word in command.commands, line
        command = command.commands[word]

    assert command is not PROGRAMS[name]


def test_its_tree_is_the_tree():
    """Every folder that it draws is there, and no package is missing."""
    drawn = re.findall(r"^([a-z_]+)/ ", README, flags=re.MULTILINE)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}

    assert not [folder for folder in drawn if not (ROOT / folder).is_dir()]
    assert packages <= set(drawn)


def test_every_file_it_points_to_is_there():
    """Links stay true."""
    links = re.findall(r"\]\(([^)#]+)\)", README)

    assert links
    assert not [link for link in links if "://" not in link and not (ROOT / link).exists()]


def test_the_example_settings_are_right(tmp_path):
    """deploy/*.toml pass their own check."""
    for name in ("agent.toml", "collector.toml", "directory.toml"):
        (tmp_path / name).write_bytes((ROOT / "deploy" / name).read_bytes())
    for secret in ("broker.password", "door.token", "web.token", "app.word"):
        (tmp_path / secret).write_text("secret")
    make_certificates(tmp_path)
    edge_agent.config.load(tmp_path / "agent.toml")
    collector.config.load(tmp_path / "collector.toml")

    assert collector.directory.read((tmp_path / "directory.toml").read_bytes(), "directory.toml").agents == {
        "hall-pc-1"
    }


@pytest.mark.parametrize(
    "word", ["outbox", "ledger", "receipt", "verdict", "invitation", "repeat", "duplicate", "moment"]
)
def test_the_glossary_has_the_words_of_the_code(word):
    """A word of the code stands there in bold."""
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")

    assert re.search(rf"\*\*[^*|]*\b{word}\b[^*|]*\*\*", glossary)


def test_every_extra_installs_only_its_own():
    """A window PC must not carry what only the centre needs, and the other way round."""
    text = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    extras = dict(re.findall(r"^(agent|collector) =\n((?:    .+\n)+)", text, flags=re.MULTILINE))

    assert not {"requests", "tenacity", "fastecdsa"} & set(re.findall(r"^    ([a-z-]+)", extras["agent"], re.MULTILINE))
    assert "pyserial" not in extras["collector"]
