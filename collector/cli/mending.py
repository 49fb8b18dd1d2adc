"""Mendings of bad ratings, draws for spot checks, and statistics: what is asked of the ledger's file.

A draw is announced and made by the running collector, through its page's address, or in the file where none is running.
"""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from protocols.messages import SEQ_MAX
from protocols.ratings import Level

from ..ledger.desk import NotSo
from ..ledger.store import Store
from ..ledger.tally import day_number, day_text, time_text
from ..mending import report as reports
from ..mending.draws import WANTED_MAX, Draws
from ..mending.mendings import TABS, Mending, Mendings
from ..mending.words import FINDINGS, KINDS, STATES
from ..statistics import Statistics
from ..statistics.figures import BYS, differences
from ..statistics.recount import Altered, Recount
from ..statistics.words import table
from .desk import asked, opened, vault_of
from .ground import CONFIG, give_up, ledger_of, settings_of


def _day(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    try:
        return day_number(value)
    except ValueError:
        raise click.BadParameter(f"{value!r}: 应为日期, 如 2026-11-24 / must be a day, as in 2026-11-24") from None


_FROM = click.option("--from", "first", callback=_day, required=True, metavar="DAY", help="从这一天 / from this day")
_TO = click.option("--to", "last", callback=_day, required=True, metavar="DAY", help="到这一天 / to this day")
_HALL = click.option("--hall", default="", help="只看这个大厅 / of this hall only")
_JSON = click.option("--json", "as_json", is_flag=True, help="以 JSON 输出 / print JSON")


# ---- mendings


@click.group()
def mending() -> None:
    """差评整改: 列出, 导出上报行 / what bad ratings ask of the hall: the list, and lines for the province."""


@mending.command("list")
@CONFIG
@click.option("--tab", default="open", show_default=True, type=click.Choice(TABS), help="哪一栏 / which of them")
@_HALL
@click.option("--most", default=50, show_default=True, type=click.IntRange(1, 999), help="最多几条 / at most so many")
@_JSON
def list_(path: Path, tab: Any, hall: str, most: int, as_json: bool) -> None:
    """列出差评整改, 逾期最久的在前; 不含任何人写的文字 / list them, the longest overdue first; nobody's words."""
    now_ms = _now_ms()
    with _mendings(path) as (mendings, _):
        rows = mendings.listed(tab, now_ms, most, hall=hall)
        counts = mendings.counts(now_ms, hall)
    if as_json:
        shown = [asdict(each) | {"days_left": each.days_left(now_ms)} for each in rows]
        click.echo(json.dumps({"counts": counts, "mendings": shown}, ensure_ascii=False))
        return
    for each in rows:
        click.echo(_line(each, now_ms))
    click.echo(
        "未办结 open {open}, 即将到期 due soon {soon}, 逾期 overdue {overdue}, 已办结 closed {closed}".format(**counts)
    )


@mending.command()
@CONFIG
@_FROM
@_TO
@_HALL
@click.option("--format", "form", default="csv", show_default=True, type=click.Choice(["csv", "json"]))
def report(path: Path, first: int, last: int, hall: str, form: str) -> None:
    """差评整改上报行, 供大厅自行提交; 含整改文字, 请妥善保管 / lines for the hall's own hand-in.

    The field names are those of a provincial export; no province takes them by program. They hold what people wrote:
    keep them safe.
    """
    with _mendings(path) as (mendings, _):
        rows = list(reports.lines(mendings, first, last, hall))
    click.echo(json.dumps(rows, ensure_ascii=False) if form == "json" else reports.as_csv(rows), nl=form == "json")


def _line(each: Mending, now_ms: int) -> str:
    left = each.days_left(now_ms)
    if each.closed_ms is not None:
        until = "按期 in time" if each.in_time() else "逾期 late"
    else:
        until = f"还剩 {left} 天 days left" if left >= 0 else f"逾期 {-left} 天 days overdue ◄"
    found = f" ({FINDINGS[each.finding]})" if each.finding else ""
    return (
        f"#{each.rating} {time_text(each.pressed_ms)} {each.hall} {each.number} {Level(each.level).zh}"
        f" {STATES[each.state]}{found}: {until}"
    )


# ---- draws


@click.group()
def draw() -> None:
    """抽查 (监督查评): 公告, 抽取, 查看, 重抽核对 / spot checks: announce, make, show, draw again to check."""


@draw.command()
@CONFIG
@_FROM
@_TO
@_HALL
@click.option("--kind", default="all", show_default=True, type=click.Choice(list(KINDS)), help="哪种 / of which kind")
@click.option("--number", "wanted", required=True, type=click.IntRange(1, WANTED_MAX), help="抽几条 / how many")
@click.option("--who", default=getpass.getuser, show_default="登录名 / login name", help="谁 / who does this")
@click.option("--why", required=True, help="为何, 会留存 / why: it is kept")
def announce(path: Path, first: int, last: int, hall: str, kind: str, wanted: int, who: str, why: str) -> None:
    """公告一次抽查; 由账本此后收到的第一批记录决定抽到谁 / announce a draw: what the ledger takes next decides."""
    body = {"from": day_text(first), "to": day_text(last), "hall": hall, "kind": kind, "number": wanted}
    settings, _ = settings_of(path)
    answer = asked(settings, path, "/api/v1/draws", body | {"who": who, "why": why})
    if answer is None:
        with _no(), opened(ledger_of(settings, path), look_only=False) as store:
            made = Draws(store).announce(first, last, kind, hall, wanted, who, why, _now_ms())
        number, size, digest = made.id, made.size, made.hash.hex()
    else:
        number, size, digest = answer["id"], answer["size"], answer["hash"]
    click.echo(
        f"第 {number} 次抽查已公告, 范围 {size} 条, 校验码 {digest}: 请抄存"
        " / announced, so many in the frame; write the code down"
    )


@draw.command()
@CONFIG
def make(path: Path) -> None:
    """抽取已公告的抽查 / make the draws that were announced."""
    settings, _ = settings_of(path)
    answer = asked(settings, path, "/api/v1/draws/make", {})
    if answer is None:
        with opened(ledger_of(settings, path), look_only=False) as store:
            answer = {"made": Draws(store).make(_now_ms())}
    words = "" if answer["made"] else "; 公告后账本还没有收到新记录 / nothing has come since the announcement"
    click.echo(f"抽取了 {answer['made']} 次 / draws made{words}")


@draw.command()
@CONFIG
@click.argument("number", type=click.IntRange(1, SEQ_MAX))
@_JSON
def show(path: Path, number: int, as_json: bool) -> None:
    """一次抽查的全部 / all about one draw."""
    with _no(), opened(_file(path), look_only=True) as store:
        draws = Draws(store)
        found = draws.found(number)
        rows = draws.ratings(found)
    if as_json:
        click.echo(json.dumps(found.said(), ensure_ascii=False))
        return
    click.echo(
        f"第 {found.id} 次抽查 draw, {found.who}, {time_text(found.at_ms)}\n"
        f"{day_text(found.first)}–{day_text(found.last)} {found.hall or '全部大厅 all halls'} {KINDS[found.kind]}:"
        f" {found.size} 条中取 {found.wanted} 条 / so many of so many\n"
        f"范围 frame {found.frame.hex()}\n公告 announcement {found.hash.hex()}\n"
        f"公告后账本第一段 the ledger's first stretch after it: {found.stretch + 1} {found.came.hex() or '–'}\n"
        f"种子 seed {found.seed or '–'}"
    )
    for row in rows:
        at = time_text(row["pressed_ms"])
        click.echo(f"#{row['id']} {at} {row['hall']} {row['number']} {Level(row['level']).zh} {row['outcome'] or '–'}")


@draw.command()
@CONFIG
def verify(path: Path) -> None:
    """从账本重抽每一次, 不同则退出码 1 / draw each of them again from the ledger; exit 1 if anything differs."""
    with opened(_file(path), look_only=True) as store:
        draws = Draws(store)
        listed = draws.listed(-1)
        wrong = [words for each in listed for words in draws.differences(each)]
    for words in wrong:
        click.echo(f"✗ {words}")
    verdict = "有改动 / something was altered" if wrong else "重抽结果相同 / drawn again, all the same"
    click.echo(f"{len(listed)} 次抽查 draws: {verdict}")
    raise SystemExit(1 if wrong else 0)


# ---- statistics


@click.command()
@CONFIG
@_FROM
@_TO
@click.option("--by", default="hall", show_default=True, type=click.Choice(BYS), help="按什么分 / a line for each")
@_HALL
@click.option("--cases", is_flag=True, help="另数办件信息中已评的 / count the services that were handed in, too")
@click.option("--recompute", is_flag=True, help="再从记录逐条重算并比对 / count the records too, and compare")
@click.option("--csv", "as_csv", is_flag=True, help="以 CSV 输出 / print CSV")
@_JSON
def statistics(
    path: Path,
    first: int,
    last: int,
    by: Any,
    hall: str,
    cases: bool,
    recompute: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """好评率、评价率、按期整改率, 只由账本算出 / rates of a period, from the ledger alone.

    \b
    每次都从账本的行重新计数, 没有可改的统计值; --recompute 再沿每条哈希链从记录重算, 不同则退出码 1。
    Counted anew each time from the ledger's rows; --recompute counts the records along every chain too: exit 1 if
    these differ.
    """
    now_ms = _now_ms()
    settings, directory = settings_of(path)
    if recompute and by == "item":
        give_up("--recompute: 记录里没有事项, 请用其他 --by / no record knows items: choose another --by")
    with _mendings(path) as (mendings, store):
        counting = Statistics(store, vault_of(settings, path), mendings, directory)
        found = counting.of(first, last, by, hall, now_ms, cases=cases)
        try:
            wrong = (
                list(
                    differences(
                        counting.counts(first, last, by, hall, now_ms),
                        Recount(store, directory, mendings.rules).counts(first, last, by, hall, now_ms),
                    )
                )
                if recompute
                else []
            )
        except Altered as error:
            give_up(f"{error}; 请运行 collector verify / run collector verify")
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
    elif as_csv:
        click.echo(reports.as_csv(found["lines"], found["lines"][0] if found["lines"] else ()), nl=False)
    else:
        click.echo("\n".join(table(found)))
    if recompute:
        verdict = (
            f"与记录不符 / differ from the records: {', '.join(wrong)}" if wrong else "与记录相同 / the records agree"
        )
        click.echo(("✗ " if wrong else "✓ ") + verdict, err=True)
    raise SystemExit(1 if wrong else 0)


# ---- the ways in


@contextmanager
def _mendings(path: Path) -> Iterator[tuple[Mendings, Store]]:
    settings, _ = settings_of(path)
    vault = vault_of(settings, path)
    with opened(_file(path), look_only=True) as store:
        yield Mendings(store, vault, settings.mending.rules()), store


def _file(path: Path) -> Path:
    settings, _ = settings_of(path)
    return ledger_of(settings, path)


@contextmanager
def _no() -> Iterator[None]:
    try:
        yield
    except NotSo as error:
        give_up(str(error))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
