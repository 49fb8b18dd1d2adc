"""The alerts on the command line: what is wrong, what is kept quiet, and whether a receiver hears."""

from __future__ import annotations

import getpass
import json
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from protocols.errors import BadSettings
from protocols.messages import SEQ_MAX

from ..alerts.alerts import Receiver
from ..alerts.book import Book, book_of
from ..alerts.core import Reach, Silence
from ..alerts.file import BookDamaged, NotABook, NotKept
from ..alerts.hours import ALWAYS, EXPECTED, BadHours, Hours, hours_of
from ..alerts.kinds import KINDS, WEIGHTS
from ..alerts.messages import test_message
from ..alerts.settings import kind_mistakes
from ..alerts.wiring import receivers_of
from ..config import Settings
from ..ledger.tally import time_text
from .ground import CONFIG, give_up, settings_of

_LASTS = re.compile(r"([1-9][0-9]{0,3})([mhd])")
_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@click.group()
def alerts() -> None:
    """报警: 列出, 静默, 发测试 / alerts: list them, keep them quiet, send a test."""


@alerts.command("list")
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="以 JSON 输出 / print JSON")
def list_(path: Path, as_json: bool) -> None:
    """列出现在的报警和静默, 最重的在前 / what is wrong now, worst first, and what is kept quiet."""
    now_ms = _now_ms()
    with _book(path) as book:
        standing, silences = book.standing(now_ms)
    open_now = [each for each in standing if each.closed_ms is None]
    open_now.sort(key=lambda each: (list(WEIGHTS).index(each.weight), each.found.since_ms))
    if as_json:
        rows = [
            {
                "id": each.id,
                "kind": each.found.kind,
                "weight": each.weight,
                "hall": each.found.hall,
                "window": each.found.window,
                "words": each.found.words,
                "since_ms": each.found.since_ms,
                "opens": each.opens,
                "acked_by": each.acked_by,
                "told": sorted(each.told),
            }
            for each in open_now
        ]
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    for each in open_now:
        seen_to = f" ← {each.acked_by}" if each.acked_by else ""
        times = f" × {each.opens}" if each.opens > 1 else ""
        name, weight = KINDS[each.found.kind].name, WEIGHTS[each.weight]
        click.echo(f"#{each.id} {time_text(each.found.since_ms)} [{weight}] {name}: {each.found.words}{times}{seen_to}")
    for silence in silences:
        click.echo(f"静默 silence #{silence.id} {_said(silence)}")
    click.echo(f"{len(open_now)} 条报警 alerts" + ("" if open_now else ", 一切正常 / nothing is wrong"))


@alerts.command()
@CONFIG
@click.option("--kind", "kinds", multiple=True, help="类别, 可用 * / kinds, * allowed; 不填为全部, 差评除外")
@click.option("--hall", "halls", multiple=True, help="大厅, 可用 * / halls, * allowed")
@click.option("--window", "windows", multiple=True, help="窗口, 可用 * / windows, * allowed")
@click.option("--for", "lasts", default="4h", show_default=True, help="多久, 如 30m 4h 7d / how long")
@click.option("--weekly", default="", help="只在每周这些时段, 如 'Sat 08:00-12:00' / in these times of the week only")
@click.option("--end", type=click.IntRange(1, SEQ_MAX), help="结束这个静默 / end this silence instead")
@click.option("--who", default=getpass.getuser, show_default="登录名 / login name", help="谁 / who does this")
@click.option("--why", default="", help="原因, 会留存 / why: it is kept")
def silence(
    path: Path,
    kinds: tuple[str, ...],
    halls: tuple[str, ...],
    windows: tuple[str, ...],
    lasts: str,
    weekly: str,
    end: int | None,
    who: str,
    why: str,
) -> None:
    """静默一段时间: 照常查看, 只是不通知; 到时自动结束 / keep quiet for a while: it ends by itself."""
    now_ms = _now_ms()
    if end is not None:
        with _book(path) as book:
            if not book.end_silence(end, who, now_ms):
                give_up(f"--end: 没有第 {end} 个静默, 或已结束 / there is no silence {end}, or it is over")
        click.echo(f"静默 silence #{end}: 已结束 / ended")
        return
    if not why.strip():
        give_up("--why: 请写明原因 / please say why")
    mistakes = kind_mistakes("--kind", list(kinds))
    if mistakes:
        give_up("\n".join(mistakes))
    wanted = Silence(
        Reach(kinds, halls, windows), now_ms, now_ms + _lasts_ms(lasts), why, who, _weekly(weekly), weekly, now_ms
    )
    with _book(path) as book:
        number = book.silence(wanted)
    click.echo(f"静默 silence #{number} {_said(wanted)}")


@alerts.command()
@CONFIG
@click.argument("receiver", required=False)
def test(path: Path, receiver: str | None) -> None:
    """给接收者发一条测试消息, 不填则全部 / send a test message to this receiver, or to all."""
    settings, _ = settings_of(path)
    receivers = _receivers(settings, path)
    chosen = [each for each in receivers if receiver in (None, each.name)]
    if not chosen:
        names = ", ".join(each.name for each in receivers) or "–"
        give_up(f"{path.name}: 没有这个接收者 / no such receiver; 有 / there are: {names}")
    failed = 0
    for each in chosen:
        words = each.carrier.send(*test_message(each.name, each.language, settings.alerts.link))
        failed += bool(words)
        said = f"没有送到 / not delivered: {words}" if words else "已送到, 请确认收到 / delivered, look for it there"
        click.echo(f"{each.name} {each.shown} {said}")
    if failed:
        raise SystemExit(1)


def check_receivers(settings: Settings, path: Path) -> None:
    """Say who is told, and end with what is wrong with an address."""
    for each in _receivers(settings, path):
        click.echo(f"报警发给 / alerts go to: {each.name} {each.shown}")


def _receivers(settings: Settings, path: Path) -> list[Receiver]:
    try:
        return receivers_of(settings.alerts, path.parent, os.environ)
    except BadSettings as error:
        give_up("\n".join(f"{path.name}: {mistake}" for mistake in error.mistakes))


@contextmanager
def _book(path: Path) -> Iterator[Book]:
    settings, _ = settings_of(path)
    file = book_of(path.parent / settings.ledger.path)
    if not file.exists():
        give_up(f"没有报警记录 / no alerts yet: {file}; 汇聚器还没有运行过 / the collector never ran")
    try:
        book = Book(file)
        try:
            yield book
        finally:
            book.close()
    except (NotABook, BookDamaged) as error:
        give_up(f"{error}; 汇聚器启动时会移存并另建 / the collector sets it aside at its next start")
    except (NotKept, sqlite3.OperationalError) as error:
        give_up(f"{file}: 没有写下 / not written: {error}")


def _said(silence: Silence) -> str:
    kinds = ", ".join(silence.reach.kinds) or "全部, 差评除外 / all but bad ratings"
    where = " ".join([*silence.reach.halls, *silence.reach.windows])
    weekly = f" {silence.weekly_text}" if silence.weekly_text else ""
    return f"{kinds} {where} → {time_text(silence.until_ms)}{weekly}: {silence.reason} ({silence.who})"


def _lasts_ms(text: str) -> int:
    found = _LASTS.fullmatch(text)
    if found is None:
        give_up(f"--for: {text!r}: 应如 30m, 4h, 7d / must be as in 30m, 4h, 7d")
    return int(found[1]) * _MS[found[2]]


def _weekly(text: str) -> Hours:
    try:
        return hours_of(text) if text else ALWAYS
    except BadHours:
        give_up(f"--weekly: {text!r}: 应为 / must be: {EXPECTED}")
