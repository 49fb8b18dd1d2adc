"""What every command of the agent stands on: where its settings are, and how it says that it cannot go on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click

CONFIG = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=Path("agent.toml"),
    show_default=True,
    help="配置文件 / settings file",
)


def give_up(message: str) -> NoReturn:
    """Say why on standard error, and end with 2."""
    click.echo(message, err=True)
    sys.exit(2)
