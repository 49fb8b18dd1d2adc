"""The command line of the collector: run, check, key, verify, checkpoint, reconcile, forward, parked, mending, draw,
statistics, people, alerts, qr."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
from pathlib import Path

import click

from protocols.errors import BadSettings
from protocols.ratings import Level
from protocols.tags import TAGS

from .. import checkpoint as signing
from ..__main__ import run as run_collector
from ..directory import Key
from ..ledger.file import LedgerDamaged, LedgerMismatch
from ..people.file import PeopleMismatch
from . import alerts, codes, desk, evidence, keys, mending, people, questions
from .ground import CONFIG, give_up, give_up_for_file, settings_of


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """好差评汇聚器 / central collector: 去重, 记账, 转发 / deduplicates, keeps the ledger, forwards."""


@main.command()
@CONFIG
def run(path: Path) -> None:
    """运行汇聚器 / run the collector."""
    settings, directory = settings_of(path)
    logging.basicConfig(
        level=settings.log.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    try:
        run_collector(settings, directory, path.parent)
    except BadSettings as error:
        give_up("\n".join(error.mistakes))
    except LedgerMismatch as error:
        give_up(f"ledger.path: {error}")
    except PeopleMismatch as error:
        give_up(str(error))
    except LedgerDamaged as error:
        words = "账本损坏, 下次启动时检查并修复 / damaged, looked into and mended at the next start"
        give_up(f"{path.parent / settings.ledger.path}: {words}: {error}")
    except sqlite3.DatabaseError as error:
        give_up_for_file(path.parent / settings.ledger.path, error)
    except OSError as error:
        if error.filename is None:
            raise
        give_up(f"{error.filename}: 打不开或用不了 / cannot be used: {error.strerror}")


@main.command()
@CONFIG
def check(path: Path) -> None:
    """检查配置和目录, 逐条指出错误 / check settings and directory, name every mistake."""
    settings, directory = settings_of(path)
    folder = (path.parent / settings.ledger.path).parent
    if not os.access(folder, os.W_OK):
        give_up(f"{path.name}: ledger.path: 不能写入文件夹 / folder cannot be written: {folder}")
    if settings.checkpoint is not None:
        _check_key(path.parent / settings.checkpoint.key_file)
    for place in directory.places.values():
        where = f"{place.hall} {place.number}: {place.agent}/{place.window} {place.device}"
        click.echo(f"{where} {_key_map(directory.keys.get(place.device, {}))}")
    if settings.province is None:
        click.echo("没有 [province], 评价只入账不上报 / no [province]: ratings are kept and not forwarded")
    if settings.web is not None:
        people.check_people(path.parent / settings.ledger.path)
    alerts.check_receivers(settings, path)
    keys.check_details(path.parent / settings.details.key_file)
    click.echo(f"{path.name}, {settings.directory}: 配置正确 / settings are right")


def _check_key(file: Path) -> None:
    try:
        signing.read_key(file)
    except signing.BadKey as error:
        give_up(f"checkpoint.key_file: {error}")
    if signing.readable_by_others(file):
        give_up(f"checkpoint.key_file: {file}: 别人也能读 / others can read it: chmod 600 {file}")


def _key_map(keys: dict[int, Key]) -> str:
    """A device's keys as a person confirms them, and what looks odd about them."""
    if not keys:
        words = "按键含义未确认, 其按键只保存不评价 (自带评价页不需要)"
        return f"← {words} / keys not confirmed: kept, not rated (our own page needs none)"
    shown = " ".join(f"{button}={_meaning(key)}" for button, key in sorted(keys.items()))
    levels = {key.level for key in keys.values()}
    missing = [level.zh for level in Level if level not in levels]
    odd = [f"没有 / none for {', '.join(missing)}"] if missing else []
    odd += ["两键同义 / two keys mean the same"] if len(set(keys.values())) < len(keys) else []
    return f"{shown}{' ← 请核对 / please confirm: ' + '; '.join(odd) if odd else ''}"


def _meaning(key: Key) -> str:
    reason = ", ".join([f"{code} {TAGS[code].text}" for code in key.tags] + ([key.text] if key.text else []))
    return f"{key.level.zh} ({reason})" if reason else key.level.zh


for _command in (
    evidence.verify,
    evidence.checkpoint,
    evidence.reconcile,
    desk.parked,
    desk.forward,
    codes.qr,
    keys.key,
    people.people,
    questions.province,
    alerts.alerts,
    mending.mending,
    mending.draw,
    mending.statistics,
):
    main.add_command(_command)
