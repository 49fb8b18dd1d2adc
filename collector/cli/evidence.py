"""What auditors and operators ask of a ledger: verify, checkpoint, reconcile."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from .. import checkpoint as signing
from ..directory import Directory
from ..ledger import audit, checkpoints
from ..ledger.checkpoint_text import BadCheckpoint, readable
from ..ledger.file import LedgerMismatch
from ..ledger.overview import Overview
from ..ledger.store import Store
from ..ledger.tally import day_number, day_of, day_text
from ..reconcile import reconcile as reconciled
from ..reconcile.balance import balance
from ..reconcile.text import table
from .ground import CONFIG, give_up, give_up_for_file, ledger_of, settings_of

_LATELY = 7  # days: what a person looks at; of older ones only what is not explained


@click.command()
@CONFIG
@click.option(
    "--heads",
    "heads_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="各厅自留的链首 (edge-agent heads 的输出) / what the halls kept themselves, as `edge-agent heads` prints it",
)
@click.option(
    "--checkpoint",
    "checkpoint_files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="以前的检查点, 文件或文件夹, 可多次给出 / earlier checkpoints: a file or a folder, as often as wanted",
)
@click.option(
    "--public-key",
    type=click.Path(path_type=Path),
    help="检查点的公钥 (.pub), 由审计人员自己保管 / the checkpoints' public key, as the auditor has kept it",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    help="用几个进程, 默认全部的核 / how many processes; one for each core if none are given",
)
@click.option("--json", "as_json", is_flag=True, help="以 JSON 输出 / print JSON")
def verify(
    path: Path,
    heads_file: Path | None,
    checkpoint_files: tuple[Path, ...],
    public_key: Path | None,
    processes: int | None,
    as_json: bool,
) -> None:
    """重算账本中每一条哈希链 / recompute every chain in the ledger. Exit 1 if anything was changed."""
    settings, _ = settings_of(path)
    file = ledger_of(settings, path)
    started = time.perf_counter()
    heads = _heads(heads_file) if heads_file is not None else []
    signed, forged = _checkpoints(checkpoint_files, public_key)
    progress = _Progress()
    try:
        found = audit.verify(file, processes, progress.shown)
        progress.end()
        found.findings.extend(audit.compared(file, heads))
        found.findings.extend([*forged, *_held_against(file, signed)])
    except LedgerMismatch as error:
        give_up(f"ledger.path: {error}")
    except sqlite3.DatabaseError as error:
        give_up_for_file(file, error)
    seconds = time.perf_counter() - started
    if as_json:
        shown = {
            "epochs": found.epochs,
            "records": found.records,
            "ratings": found.ratings,
            "checkpoints": len(signed) + len(forged),
            "gaps": len(found.gaps),
            "missing": [asdict(gap) for gap in found.gaps],
            "mendings": [asdict(mending) for mending in found.mendings],
            "findings": [asdict(finding) for finding in found.findings],
            "seconds": round(seconds, 3),
        }
        click.echo(json.dumps(shown, ensure_ascii=False))
    else:
        _show(found, len(signed) + len(forged), seconds)
    sys.exit(1 if found.findings else 0)


class _Progress:
    """One line on a terminal: how much is done, and how long the rest may take."""

    def __init__(self) -> None:
        self._started_s = self._shown_s = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def shown(self, done: int, whole: int) -> None:
        now_s = time.monotonic()
        if self._terminal and now_s - self._shown_s > 0.2:
            self._shown_s = now_s
            bar = "█" * (30 * done // whole)
            left_s = (now_s - self._started_s) * (whole - done) / done
            text = f"核对 checking {bar:░<30} {100 * done // whole:3} % · 还剩约 about {left_s:.0f} s left"
            click.echo(f"\r{text}\x1b[K", nl=False, err=True)

    def end(self) -> None:
        if self._terminal:
            click.echo("\r\x1b[K", nl=False, err=True)


_Signed = list[tuple[Path, checkpoints.Checkpoint]]


def _checkpoints(files: tuple[Path, ...], public_key: Path | None) -> tuple[_Signed, list[audit.Finding]]:
    """Those that were really signed, and a finding for each that was not; any other trouble ends the program."""
    if not files:
        return [], []
    if public_key is None:
        give_up(
            "--checkpoint: 还需要 --public-key, 审计人员保管的公钥 / needs --public-key, the one that the auditor kept"
        )
    try:
        public = signing.read_public(public_key)
    except signing.BadKey as error:
        give_up(f"--public-key: {error}")
    signed: _Signed = []
    forged = []
    for file in _files_of(files):
        try:
            signed += [(file, each) for each in signing.read(file.read_bytes(), public)]
        except signing.Forged as error:
            forged.append(audit.Finding(file.name, "", 0, str(error)))
        except BadCheckpoint as error:
            give_up(f"--checkpoint: {file}: {error}")
        except OSError as error:
            give_up(f"--checkpoint: {file}: 读不了 / cannot be read: {error.strerror}")
    return signed, forged


def _files_of(given: tuple[Path, ...]) -> list[Path]:
    files: list[Path] = []
    for each in given:
        inner = sorted(each.glob(f"*{signing.SUFFIX}")) if each.is_dir() else [each]
        if not inner:
            give_up(f"--checkpoint: {each}: 文件夹里没有 *{signing.SUFFIX} / no such file in this folder")
        files += inner
    return files


def _held_against(file: Path, signed: _Signed) -> list[audit.Finding]:
    if not signed:
        return []
    differences = checkpoints.compared(
        file, [each for _, each in signed], partial(signing.log_at, file), partial(signing.log_before, file)
    )
    return [
        audit.Finding(
            source.name,
            readable(each.at_ms),
            each.stretch,
            f"检查点不符 / checkpoint: {words}",
            "log" if words.startswith(checkpoints.LOG) else "ledger",
        )
        for (source, each), wrong in zip(signed, differences, strict=True)
        for words in wrong
    ]


def _heads(file: Path) -> list[audit.Head]:
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        give_up(f"{file}: 读不了 / cannot be read: {error.strerror}")
    return [_head(file, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _head(file: Path, number: int, line: bytes) -> audit.Head:
    try:
        return msgspec.json.decode(line, type=audit.Head)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        give_up(f"{file}: 第 {number} 行不是链首, 请用 edge-agent heads 的输出 / line {number} is no head")


def _show(found: audit.Audit, signed: int, seconds: float) -> None:
    against = f" {signed} 个检查点 checkpoints," if signed else ""
    click.echo(
        f"{found.epochs} 个纪元 epochs, {found.records} 条记录 records, {found.ratings} 条评价 ratings,"
        f" {len(found.gaps)} 处缺口 gaps,{against} {seconds:.2f} s"
    )
    for gap in found.gaps:
        where = f"{gap.agent} {gap.epoch} #{gap.first}–{gap.last}"
        click.echo(f"○ {where}: 账本没有, 请查备份 / not in the ledger, look for a backup")
    for mending in found.mendings:
        click.echo(f"↻ {mending.at}: {mending.what}; 损坏的原样 / the damaged one: {mending.aside or '–'}")
    for finding in found.findings:
        click.echo(f"✗ {finding.agent} {finding.epoch} #{finding.seq}: {finding.what}")
    of = {finding.of for finding in found.findings}
    if "ledger" in of:
        click.echo("账本被改动 / the ledger was changed")
    elif of:
        click.echo(
            "账本完好; 旁边的审计日志与检查点不符"
            " / the ledger is whole; the audit log beside it is not what a checkpoint says"
        )
    else:
        click.echo("完好 / whole")


def _day(value: str) -> int:
    try:
        return day_number(value)
    except ValueError:
        raise click.BadParameter(f"{value!r}: 应为日期, 如 2026-11-24 / must be a day, as in 2026-11-24") from None


@click.command()
@CONFIG
@click.option(
    "--new-key", type=click.Path(dir_okay=False, path_type=Path), help="生成一对密钥, 不覆盖 / make a pair of keys"
)
@click.option("--show-key", is_flag=True, help="只打印公钥 / print the public key only")
@click.option(
    "--key", type=click.Path(path_type=Path), help="私钥, 默认取自配置 / the private key, if not that of the settings"
)
@click.option(
    "--folder", type=click.Path(path_type=Path), help="写入何处, 默认取自配置 / where to, if not as in the settings"
)
def checkpoint(path: Path, new_key: Path | None, show_key: bool, key: Path | None, folder: Path | None) -> None:
    """写出带签名的账本链首 / write the signed head of the ledger's chain, now."""
    if new_key is not None:
        _make_key(new_key)
        return
    settings, _ = settings_of(path)
    usual = settings.checkpoint
    if key is None and usual is None:
        give_up(
            f"{path.name}: 没有 [checkpoint], 也没有 --key / neither [checkpoint] nor --key;"
            " 先生成密钥 / first make a key: collector checkpoint --new-key checkpoint.key"
        )
    try:
        signer = signing.read_key(key or path.parent / usual.key_file)  # type: ignore[union-attr]
    except signing.BadKey as error:
        give_up(f"checkpoint.key_file: {error}")
    if show_key:
        click.echo(signing.public_pem(signer.public), nl=False)
        return
    file = ledger_of(settings, path)
    where = folder or path.parent / (usual.folder if usual else "checkpoints")
    now_ms = time.time_ns() // 1_000_000
    try:
        taken = _taken(file, now_ms)
        stamp = "".join(each for each in readable(now_ms) if each not in ":.")
        written = signing.write(where, stamp, signer.signed(taken))
    except LedgerMismatch as error:
        give_up(f"ledger.path: {error}")
    except sqlite3.DatabaseError as error:
        give_up_for_file(file, error)
    except OSError as error:
        give_up(f"checkpoint.folder: {error.filename or where}: 写不了 / cannot be written: {error.strerror}")
    click.echo(
        f"{written}: 第 {taken.stretch} 段 stretches, {taken.records} 条记录 records, {taken.ratings} 条评价 ratings\n"
        "请将此文件与公钥保存到账本之外 / keep this file, and the public key, somewhere else than the ledger"
    )


def _make_key(file: Path) -> None:
    try:
        signer = signing.new_key(file)
    except OSError as error:
        give_up(f"{error.filename or file}: 写不了密钥 / the key cannot be written: {error.strerror}")
    click.echo(
        f"{file}: 私钥, 仅本用户可读, 不得外传 / the private key, for this user only: it stays here\n"
        f"{file}.pub: 公钥, 请交给审计人员保存 / the public key: hand it to the auditor, who keeps it elsewhere\n"
        f"公钥指纹 / its SHA-256: {signer.name}\n"
        f'写入配置, 每天自动出具 / put into collector.toml for one a day: [checkpoint] key_file = "{file.name}"'
    )


def _taken(file: Path, now_ms: int) -> checkpoints.Checkpoint:
    store = Store(file)
    try:
        return checkpoints.taken(store, signing.log_end(file), now_ms)
    finally:
        store.close()


@click.command()
@CONFIG
@click.option("--from", "first", type=_day, metavar="DAY", help="从这一天起 (北京时间) / from this day on, UTC+8")
@click.option("--to", "last", type=_day, metavar="DAY", help="到这一天为止 / to this day")
@click.option("--window", default="", help="只看这个窗口: 窗口或 代理/窗口 / one window only: its id, or agent/window")
@click.option("--json", "as_json", is_flag=True, help="以 JSON 输出 / print JSON")
def reconcile(path: Path, first: int | None, last: int | None, window: str, as_json: bool) -> None:
    """逐日逐窗口对账: 评价器计数 = 代理记录 = 账本 = 省平台, 每个差额都有名目 / device count = agent records = ledger =
    province, per day and window, and a named reason for every difference.

    \b
    第一行是结论; 差评单列: 收到 = 已接收 + 待处理 + 等待。
    The first line is the verdict; bad ratings have a line of their own: received = accepted + parked + waiting.
    按键算在按下的那一天 (北京时间, 按代理的时钟), 绝不挪动 / a press counts in the day (UTC+8, by the agent's clock)
    in which it was pressed, and is never moved.
    退出码 / exit code: 0 都说得清 all explained, 1 有无法解释的差额 something unexplained, 2 读不了 cannot be read.
    """
    if first is not None and last is not None and first > last:
        give_up("--from: 开始日期晚于结束日期, 请对调 / the first day is after the last: exchange them")
    settings, directory = settings_of(path)
    file = ledger_of(settings, path)
    now_ms = time.time_ns() // 1_000_000
    try:
        found = _reconciled(file, directory, now_ms, first, last, window)
    except LedgerMismatch as error:
        give_up(f"ledger.path: {error}")
    except sqlite3.DatabaseError as error:
        give_up_for_file(file, error)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        lately = day_text(day_of(now_ms) - _LATELY) if first is None and last is None else ""
        click.echo("\n".join(table(found, lately)))
    sys.exit(1 if found["unexplained"] else 0)


def _reconciled(
    file: Path, directory: Directory, now_ms: int, first: int | None, last: int | None, window: str
) -> dict[str, Any]:
    store = Store(file, look_only=True)
    try:
        overview = Overview(store)
        with overview.moment():
            counts = reconciled(overview, directory)
            return {**counts, **balance(overview.days, directory, now_ms, first, last, window)}
    finally:
        store.close()
