"""What docs/alerts.md says is so: every address is one, every example is right, and the table is the program's."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from collector import config
from collector.alerts.carrier import Carrier
from collector.alerts.kinds import KINDS, WEIGHTS
from collector.alerts.settings import masked, rules_of
from collector.cli import main
from protocols.words import said_in
from tests.collector.test_config import BROKER

DOC = (Path(__file__).parent.parent / "docs" / "alerts.md").read_text("utf-8")
URLS = re.findall(r"^\| [^|`]+ \| `([^`]+://[^`]+)` \|", DOC, flags=re.MULTILINE)


def test_there_is_an_address_of_each_kind_of_receiver():
    assert {"wecombot", "https", "dingtalk", "feishu", "mailto", "mailtos", "jsons"} == {
        each.partition("://")[0] for each in URLS
    }


@pytest.mark.parametrize("url", URLS)
def test_apprise_takes_every_address(url):
    """As it stands there."""
    assert Carrier(url)
    assert masked(url) != url


@pytest.mark.parametrize("number", range(2))
def test_the_examples_of_settings_are_right(number, tmp_path):
    example = re.findall(r"```toml\n(.*?)```", DOC, flags=re.DOTALL)[number]
    for file in re.findall(r'url_file = "([^"]+)"', example):
        (tmp_path / file).write_text(URLS[0])
    text = "\n".join(line.strip() for line in example.splitlines())
    (tmp_path / "collector.toml").write_text(BROKER + text, "utf-8")

    assert rules_of(config.load(tmp_path / "collector.toml").alerts)


def _time(minutes: int, never: str) -> str:
    if not minutes:
        return never
    if minutes % 1440 == 0:
        return f"{minutes // 1440} 天"
    return f"{minutes // 60} 小时" if minutes % 60 == 0 else f"{minutes} 分钟"


def test_the_table_of_kinds_is_what_the_program_does():
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", DOC.split("<!-- kinds zh -->")[1], flags=re.MULTILINE)
    right = [
        (
            name,
            " | ".join(
                (
                    said_in(kind.name, "zh"),
                    said_in(WEIGHTS[kind.weight], "zh"),
                    _time(kind.after_minutes, "立即"),
                    _time(kind.repeat_minutes, "–"),
                    "等上班" if kind.office else "也报",
                )
            ),
        )
        for name, kind in KINDS.items()
    ]

    assert right == rows


def test_every_command_in_it_exists_with_its_options():
    lines = re.findall(r"^collector (alerts .*)$", DOC, flags=re.MULTILINE)

    assert len(lines) >= 5
    for line in lines:
        command: click.Command = main
        for word in line.split()[:2]:
            assert isinstance(command, click.Group)
            command = command.commands[word]
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z]+", line)) <= known
