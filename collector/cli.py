"""The command line of the collector: run, check, verify, reconcile."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec

from protocols.errors import BadSettings
from protocols.ratings import Level
from protocols.tags import TAGS

from . import directory as directories
from .__main__ import run as run_collector
from .config import Settings, file_bytes, load
from .directory import Directory, Key
from .ledger import audit
from .ledger.file import LedgerDamaged, LedgerMismatch
from .ledger.overview import Overview
from .ledger.store import Store
from .reconcile import KEYS, NAMES_ZH
from .reconcile import reconcile as reconciled

CONFIG = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=Path("collector.toml"),
    show_default=True,
    help="配置文件 / settings file",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """好差评汇聚器 / central collector: 去重, 记账, 转发 / deduplicates, keeps the ledger, forwards."""


@main.command()
@CONFIG
def run(path: Path) -> None:
    """运行汇聚器 / run the collector."""
    settings, directory = _settings(path)
    logging.basicConfig(
        level=settings.log.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    try:
        run_collector(settings, directory, path.parent)
    except LedgerMismatch as error:
        _give_up(f"ledger.path: {error}")
    except LedgerDamaged as error:
        words = "账本损坏, 下次启动时检查并修复 / damaged, looked into and mended at the next start"
        _give_up(f"{path.parent / settings.ledger.path}: {words}: {error}")
    except sqlite3.DatabaseError as error:
        _give_up_for_file(path.parent / settings.ledger.path, error)
    except OSError as error:
        if error.filename is None:
            raise
        _give_up(f"{error.filename}: 打不开或用不了 / cannot be used: {error.strerror}")


@main.command()
@CONFIG
def check(path: Path) -> None:
    """检查配置和目录, 逐条指出错误 / check settings and directory, name every mistake."""
    settings, directory = _settings(path)
    folder = (path.parent / settings.ledger.path).parent
    if not os.access(folder, os.W_OK):
        _give_up(f"{path.name}: ledger.path: 不能写入文件夹 / folder cannot be written: {folder}")
    for place in directory.places.values():
        where = f"{place.hall} {place.number}: {place.agent}/{place.window} {place.device}"
        click.echo(f"{where} {_key_map(directory.keys.get(place.device, {}))}")
    if settings.province is None:
        click.echo("没有 [province], 评价只入账不上报 / no [province]: ratings are kept and not forwarded")
    click.echo(f"{path.name}, {settings.directory}: 配置正确 / settings are right")


def _key_map(keys: dict[int, Key]) -> str:
    """A device's keys as a person confirms them, and what looks odd about them."""
    if not keys:
        return "← 按键含义未确认, 其按键只保存不评价 / keys not confirmed: kept, not rated"
    shown = " ".join(f"{button}={_meaning(key)}" for button, key in sorted(keys.items()))
    levels = {key.level for key in keys.values()}
    missing = [level.zh for level in Level if level not in levels]
    odd = [f"没有 / none for {', '.join(missing)}"] if missing else []
    odd += ["两键同义 / two keys mean the same"] if len(set(keys.values())) < len(keys) else []
    return f"{shown}{' ← 请核对 / please confirm: ' + '; '.join(odd) if odd else ''}"


def _meaning(key: Key) -> str:
    reason = ", ".join([f"{code} {TAGS[code].text}" for code in key.tags] + ([key.text] if key.text else []))
    return f"{key.level.zh} ({reason})" if reason else key.level.zh


@main.command()
@CONFIG
@click.option(
    "--heads",
    "heads_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="各厅自留的链首 (edge-agent heads 的输出) / what the halls kept themselves, as `edge-agent heads` prints it",
)
@click.option("--json", "as_json", is_flag=True, help="以 JSON 输出 / print JSON")
def verify(path: Path, heads_file: Path | None, as_json: bool) -> None:
    """重算账本中每一条哈希链 / recompute every chain in the ledger. Exit 1 if anything was changed."""
    settings, _ = _settings(path)
    file = _ledger(settings, path)
    started = time.perf_counter()
    try:
        found = audit.verify(file)
        if heads_file is not None:
            found.findings.extend(audit.compared(file, _heads(heads_file)))
    except LedgerMismatch as error:
        _give_up(f"ledger.path: {error}")
    except sqlite3.DatabaseError as error:
        _give_up_for_file(file, error)
    seconds = time.perf_counter() - started
    if as_json:
        shown = {
            "epochs": found.epochs,
            "records": found.records,
            "ratings": found.ratings,
            "gaps": len(found.gaps),
            "missing": [asdict(gap) for gap in found.gaps],
            "mendings": [asdict(mending) for mending in found.mendings],
            "findings": [asdict(finding) for finding in found.findings],
            "seconds": round(seconds, 3),
        }
        click.echo(json.dumps(shown, ensure_ascii=False))
    else:
        _show(found, seconds)
    sys.exit(1 if found.findings else 0)


def _heads(file: Path) -> list[audit.Head]:
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        _give_up(f"{file}: 读不了 / cannot be read: {error.strerror}")
    return [_head(file, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _head(file: Path, number: int, line: bytes) -> audit.Head:
    try:
        return msgspec.json.decode(line, type=audit.Head)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        _give_up(f"{file}: 第 {number} 行不是链首, 请用 edge-agent heads 的输出 / line {number} is no head")


def _show(found: audit.Audit, seconds: float) -> None:
    click.echo(
        f"{found.epochs} 个纪元 epochs, {found.records} 条记录 records, {found.ratings} 条评价 ratings,"
        f" {len(found.gaps)} 处缺口 gaps, {seconds:.2f} s"
    )
    for gap in found.gaps:
        where = f"{gap.agent} {gap.epoch} #{gap.first}–{gap.last}"
        click.echo(f"○ {where}: 账本没有, 请查备份 / not in the ledger, look for a backup")
    for mending in found.mendings:
        click.echo(f"↻ {mending.at}: {mending.what}; 损坏的原样 / the damaged one: {mending.aside or '–'}")
    for finding in found.findings:
        click.echo(f"✗ {finding.agent} {finding.epoch} #{finding.seq}: {finding.what}")
    click.echo("账本被改动 / the ledger was changed" if found.findings else "完好 / whole")


@main.command()
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="以 JSON 输出 / print JSON")
def reconcile(path: Path, as_json: bool) -> None:
    """各窗口对账 / per window: pressed, in outbox, in ledger, accepted, parked, waiting.

    in_outbox 是各代理最近一次所说, 最多晚半分钟 / is what the agents said last, up to half a minute ago.
    """
    settings, directory = _settings(path)
    file = _ledger(settings, path)
    try:
        found = _reconciled(file, directory)
    except LedgerMismatch as error:
        _give_up(f"ledger.path: {error}")
    except sqlite3.DatabaseError as error:
        _give_up_for_file(file, error)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    # A Chinese character is as wide as two letters.
    click.echo("".join(" " * (13 - 2 * len(title)) + title for title in ("代理窗口", *NAMES_ZH.values())))
    click.echo("".join(f"{title:>13}" for title in ("agent/window", *KEYS)))
    for line in found["windows"]:
        click.echo(f"{line['agent'] + '/' + line['window']:>13}" + "".join(f"{line[key]:>13}" for key in KEYS))
    click.echo(f"{'合计 all':>11}" + "".join(f"{found['all'][key]:>13}" for key in KEYS))


def _reconciled(file: Path, directory: Directory) -> dict[str, Any]:
    store = Store(file, look_only=True)
    try:
        return reconciled(Overview(store), directory)
    finally:
        store.close()


def _settings(path: Path) -> tuple[Settings, Directory]:
    try:
        settings = load(path)
        file = path.parent / settings.directory
        return settings, directories.read(file_bytes(file), file.name)
    except BadSettings as error:
        _give_up("\n".join(error.mistakes))


def _ledger(settings: Settings, path: Path) -> Path:
    file = path.parent / settings.ledger.path
    if not file.exists():
        _give_up(f"ledger.path: 没有这个文件 / no such file: {file}; 汇聚器还没有运行过 / the collector never ran")
    return file


def _give_up_for_file(file: Path, error: sqlite3.DatabaseError) -> NoReturn:
    if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.InternalError):
        raise error  # that is our mistake, and no file's
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        words = "账本损坏, 汇聚器启动时会检查并修复; 修不了时请保留此文件并从备份恢复"
        _give_up(f"{file}: {words} / damaged, a start looks and mends; if it cannot, keep it and restore: {error}")
    _give_up(f"ledger.path: {file}: 打不开或写不了 / cannot be opened or written: {error}")


def _give_up(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
