"""What every command stands on: the settings, the ledger's file, and how a command gives up."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import NoReturn

import click

from protocols.errors import BadSettings

from .. import directory as directories
from ..config import Settings, load
from ..credentials import file_bytes
from ..directory import Directory

CONFIG = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=Path("collector.toml"),
    show_default=True,
    help="配置文件 / settings file",
)


def settings_of(path: Path) -> tuple[Settings, Directory]:
    """What this file says, and the directory that it names; every mistake ends the program."""
    if not path.exists():
        give_up(f"{path}: 没有这个配置文件, 请用 --config 指明它 / no such settings file: name it with --config")
    try:
        settings = load(path)
        file = path.parent / settings.directory
        return settings, directories.read(file_bytes(file), file.name)
    except BadSettings as error:
        give_up("\n".join(error.mistakes))


def ledger_of(settings: Settings, path: Path) -> Path:
    """The ledger's file, which has to be there."""
    file = path.parent / settings.ledger.path
    if not file.exists():
        give_up(f"ledger.path: 没有这个文件 / no such file: {file}; 汇聚器还没有运行过 / the collector never ran")
    return file


def give_up_for_file(file: Path, error: sqlite3.DatabaseError) -> NoReturn:
    """End with what is wrong with this file."""
    if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.InternalError):
        raise error  # that is our mistake, and no file's
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        words = "账本损坏, 汇聚器启动时会检查并修复; 修不了时请保留此文件并从备份恢复"
        give_up(f"{file}: {words} / damaged, a start looks and mends; if it cannot, keep it and restore: {error}")
    give_up(f"ledger.path: {file}: 打不开或写不了 / cannot be opened or written: {error}")


def give_up(message: str) -> NoReturn:
    """End with this message and exit code 2."""
    click.echo(message, err=True)
    sys.exit(2)
