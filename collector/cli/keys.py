"""The keys of citizens' details: made, looked at, and the public one shown, which window PCs seal with."""

from __future__ import annotations

import os
from pathlib import Path

import click

from protocols.errors import BadSettings

from .. import checkpoint as signing
from ..vault import Vault, new_key, read_keys
from .ground import CONFIG, give_up, settings_of


@click.command()
@CONFIG
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    help="直接指明密钥文件, 不读配置 / this key file, without any settings",
)
@click.option("--national", is_flag=True, help="新建时用国密 SM2 / a new one is an SM2 key, for halls that must")
def key(path: Path, key_file: Path | None, national: bool) -> None:
    """显示办件信息的公钥, 没有则先生成; 填入各代理的 [details] key / show the public key of citizens' details, made if
    there is none: it goes into each agent's [details] key."""
    file = key_file or path.parent / settings_of(path)[0].details.key_file
    vault = looked_at(file)
    if vault is None:
        try:
            vault = new_key(file, national)
        except OSError as error:
            give_up(f"details.key_file: {file}: 写不了 / cannot be written: {error.strerror}")
        click.echo(f"{file.name}: 已生成, 请另行备份 / made, keep a copy elsewhere", err=True)
    click.echo(f"编号 id {vault.key_ids[0]}", err=True)
    click.echo(vault.public)


def keys_in(file: Path) -> Vault | None:
    """The keys of environment and file, None if there are none; what is wrong with them ends the program."""
    try:
        return read_keys(file, os.environ)
    except BadSettings as error:
        give_up("\n".join(f"details.key_file: {mistake}" for mistake in error.mistakes))
    except OSError as error:
        give_up(f"details.key_file: {file}: 读不了 / cannot be read: {error.strerror}")


def looked_at(file: Path) -> Vault | None:
    """The same, and nobody else may read them."""
    vault = keys_in(file)
    if file.exists() and signing.readable_by_others(file):
        give_up(f"details.key_file: {file}: 别人也能读 / others can read it: chmod 600 {file}")
    return vault


def check_details(file: Path) -> None:
    """Say how these keys stand."""
    vault = looked_at(file)
    if vault is None:
        click.echo(f"{file.name}: 首次启动时生成, 请另行备份 / made at the first start: keep a copy elsewhere")
    else:
        older = f"; 另有 also there: {', '.join(vault.key_ids[1:])}" if vault.key_ids[1:] else ""
        click.echo(
            f"{file.name}: 公钥, 填入代理的 [details] key / public key, for agents: {vault.public}"
            f" (编号 id {vault.key_ids[0]}{older})"
        )
