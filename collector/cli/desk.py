"""What a person does about ratings that are not sent: parked list, show, correct, link, send-again, give-up; and what
would be sent, without sending it.

Whoever only looks reads the ledger's file. What changes something is asked of the running collector, through its page's
address; where none is running, it is done in the file.
"""

from __future__ import annotations

import getpass
import http.client
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import click

from protocols.cases import SERVICES_MAX
from protocols.dialects import Dialect
from protocols.ratings import Level, ParkReason

from ..config import Settings
from ..credentials import secret
from ..directory import Directory
from ..ledger.delivery import Delivery, Due
from ..ledger.desk import FIELDS, Desk, NotSo
from ..ledger.file import LedgerMismatch
from ..ledger.intake import Intake
from ..ledger.store import Store
from ..provinces import dialect
from ..reconcile.words import REASONS
from ..vault import Vault, masked
from .ground import CONFIG, give_up, give_up_for_file, ledger_of, settings_of
from .keys import keys_in

_CHINA = timezone(timedelta(hours=8))
_KNOWN = ("awaiting_case", *getattr(ParkReason, "__args__", ()))
_WAIT_S = 10.0
_DIGITS_MAX = 18  # SQLite takes every number of so many digits, and no longer ones
_BY = [
    click.option("--who", default=getpass.getuser, show_default="登录名 / login name", help="谁 / who does this"),
    click.option("--why", required=True, help="为何, 会留存 / why: it is kept"),
]


def _number(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    """A rating's, as `list` prints it: with or without the #."""
    text = value.removeprefix("#")
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise click.BadParameter(f"{value!r}: 应为 parked list 中的编号 / must be a number of parked list")
    return int(text)


def _by(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in _BY:
        command = option(command)
    return command


@click.group()
def parked() -> None:
    """待处理的评价: 查看, 更正, 关联办件, 重发, 放弃 / ratings that wait: look, correct, link, send again, give up."""


@parked.command("list")
@CONFIG
@click.option("--reason", default="", type=click.Choice(["", *_KNOWN]), help="只看这种原因 / of this reason only")
@click.option("--most", default=50, show_default=True, type=click.IntRange(1, 999), help="最多几条 / at most so many")
@click.option("--json", "as_json", is_flag=True, help="以 JSON 输出 / print JSON")
def list_(path: Path, reason: str, most: int, as_json: bool) -> None:
    """列出待处理的评价, 差评在前 / list them, bad ones first."""
    with _looking(path) as desk:
        rows = desk.listed(most, reason)
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        why = row["reason"] or row["state"]
        name = REASONS[why].name if why in REASONS else why
        case = f"{row['case_no'] or '–'}/{row['service_number']}"
        said = f": {row['words']}" if row["words"] else ""
        at = _time(row["pressed_ms"])
        click.echo(f"#{row['id']} {at} {row['hall']} {row['number']} {_level(row['level'])} {case} {name}{said}")
    for why in dict.fromkeys(row["reason"] or row["state"] for row in rows):
        if why in REASONS:
            click.echo(f"{REASONS[why].name} → {REASONS[why].cure}")
    click.echo(f"{len(rows)} 条 ratings" + ("" if rows else ", 没有待处理的 / nothing waits"))


@parked.command()
@CONFIG
@click.argument("rating", callback=_number)
@click.option("--json", "as_json", is_flag=True, help="以 JSON 输出 / print JSON")
def show(path: Path, rating: int, as_json: bool) -> None:
    """一条评价的全部: 办件 (遮盖), 各次发送和处理 / all about one: its case (masked), its calls, what people did."""
    with _looking(path) as desk, _no_gives_up():
        found = desk.shown(rating)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    why = found["reason"] or found["state"]
    click.echo(
        f"#{found['id']} {_time(found['pressed_ms'])} {found['hall']} {found['number']} {_level(found['level'])}"
    )
    if why in REASONS:
        click.echo(f"  {REASONS[why].name}: {found['words']}\n  → {REASONS[why].cure}")
    click.echo("办件 case: " + ("没有 / not there" if found["case"] is None else ""))
    for name, value in (found["case"] or {}).items():
        shown = _time(value) if name.endswith("_ms") else value
        click.echo(f"  {name} = {shown}")
    if found["attempts"] or found["corrections"]:
        click.echo("发送与处理, 新的在前 / calls, and what people did, newest first:")
    for each in found["attempts"]:
        verdict = each["verdict"] or "无答复 / no answer"
        click.echo(f"  {_time(each['at_ms'])} 发送 sent {each['what']}: {verdict} {each['words']}")
    for each in found["corrections"]:
        changes = ", ".join(f"{name}: {side['before']} → {side['after']}" for name, side in each["changes"].items())
        click.echo(f"  {_time(each['at_ms'])} {each['who']} {each['what']}: {each['reason']} {changes}".rstrip())


@parked.command()
@CONFIG
@click.argument("rating", callback=_number)
@click.argument("fields", nargs=-1, metavar="字段=值 FIELD=VALUE ...")
@click.option(
    "--from",
    "source",
    type=click.File("r", encoding="utf-8"),
    help="从 JSON 文件读取字段, - 为标准输入: 个人信息不留在命令历史中 / fields as JSON from a file, or - : personal"
    " details stay out of the shell's history",
)
@_by
def correct(path: Path, rating: int, fields: tuple[str, ...], source: Any, who: str, why: str) -> None:
    """更正办件后重发; 等级、时间、标签、文字谁也改不了 / put its case right and send it; what was pressed stays."""
    changes = _read(source) if source is not None else {}
    for each in fields:
        name, equals, value = each.partition("=")
        if not equals or name not in FIELDS:
            give_up(f"{name}: 应为 字段=值 / expected FIELD=VALUE; 字段 fields: {', '.join(FIELDS)}")
        changes[name] = _valued(name, value)
    body = {"who": who, "why": why, "fields": changes}
    _done(path, rating, "correct", body, lambda desk, now_ms: desk.correct(rating, changes, who, why, now_ms))


@parked.command()
@CONFIG
@click.argument("rating", callback=_number)
@click.argument("case_no")
@click.option("--service-number", default=1, show_default=True, type=click.IntRange(1, SERVICES_MAX))
@_by
def link(path: Path, rating: int, case_no: str, service_number: int, who: str, why: str) -> None:
    """没有办件编号的评价, 关联到它的办件后上报; 只能一次 / a rating that came without a case number, to the case that a
    person has found for it: it is sent then. Once, and for good."""
    body = {"who": who, "why": why, "case_no": case_no, "service_number": service_number}
    _done(path, rating, "link", body, lambda desk, now_ms: desk.link(rating, case_no, service_number, who, why, now_ms))


@parked.command("send-again")
@CONFIG
@click.argument("rating", callback=_number)
@click.option("--as-is", is_flag=True, help="我方为省平台扣下的也照发 / also what we hold back for the province's sake")
@_by
def send_again(path: Path, rating: int, as_is: bool, who: str, why: str) -> None:
    """再发一次 / send it again."""
    body = {"who": who, "why": why, "as_is": as_is}
    _done(path, rating, "send-again", body, lambda desk, now_ms: desk.send_again(rating, who, why, as_is, now_ms))


@parked.command("give-up")
@CONFIG
@click.argument("rating", callback=_number)
@_by
def give_up_rating(path: Path, rating: int, who: str, why: str) -> None:
    """不再上报, 写明原因; 仍在账本和计数中 / not to be sent, with a reason; it stays in the ledger and every count."""
    body = {"who": who, "why": why}
    _done(path, rating, "give-up", body, lambda desk, now_ms: desk.give_up(rating, who, why, now_ms))


@click.command()
@CONFIG
@click.option("--dry-run", is_flag=True, required=True, help="只显示, 不发送 / show only, send nothing")
@click.option("--most", default=20, show_default=True, type=click.IntRange(1, 999), help="最多几条 / at most so many")
def forward(path: Path, dry_run: bool, most: int) -> None:
    """将要发送什么, 个人信息遮盖 / what would be sent, in the order in which it would be, personal details masked."""
    settings, _ = settings_of(path)
    if settings.province is None:
        give_up(f"{path.name}: 没有 [province] / no [province]")
    spoken = dialect(settings.province, path.parent)
    file, vault = ledger_of(settings, path), vault_of(settings, path)
    now_ms = time.time_ns() // 1_000_000
    with opened(file, look_only=True) as store:
        dues = Delivery(store, vault).batch(now_ms, (), most)
        for due in dues:
            _show_due(spoken, due)
        waiting = store.row("SELECT count(*) FROM rating WHERE state = 'due'")[0]
    click.echo(f"{len(dues)} / {waiting} 条待发送, 均未发送 / ratings due, nothing was sent")


def _show_due(spoken: Dialect, due: Due) -> None:
    rating = due.rating
    click.echo(f"#{due.id} {_time(rating.pressed_ms)} {rating.hall} {rating.window} {rating.level.zh} {rating.case_no}")
    held = spoken.held(rating, due.case)
    if held is not None and not (held.waivable and due.as_is):
        click.echo(f"  将扣下 would be parked: {REASONS[held.reason].name}: {held.detail}")
        return
    for name, record in spoken.records(rating, masked(due.case), case_too=not due.case_delivered):
        click.echo(f"  → {name}")
        for field, value in record.items():
            if value not in ("", None):
                click.echo(f"    {field} = {value}")


# ---- the ways in


@contextmanager
def opened(file: Path, look_only: bool) -> Iterator[Store]:
    """The ledger in this file; what is wrong with it ends the program."""
    try:
        store = Store(file, look_only=look_only)
        try:
            yield store
        finally:
            store.close()
    except LedgerMismatch as error:
        give_up(f"ledger.path: {error}")
    except sqlite3.DatabaseError as error:
        give_up_for_file(file, error)


@contextmanager
def _looking(path: Path) -> Iterator[Desk]:
    settings, directory = settings_of(path)
    file, vault = ledger_of(settings, path), vault_of(settings, path)
    with opened(file, look_only=True) as store:
        yield Desk(store, vault, Intake(store, directory, vault))


@contextmanager
def _no_gives_up() -> Iterator[None]:
    try:
        yield
    except NotSo as error:
        give_up(str(error))


def vault_of(settings: Settings, path: Path) -> Vault:
    """The keys of citizens' details; without any the program ends."""
    file = path.parent / settings.details.key_file
    vault = keys_in(file)
    if vault is None:
        give_up(f"details.key_file: {file}: 没有密钥文件 / no key file")
    return vault


def _done(path: Path, rating: int, what: str, body: dict[str, Any], here: Callable[[Desk, int], None]) -> None:
    """By the running collector if there is one, or else in the file."""
    settings, directory = settings_of(path)
    file = ledger_of(settings, path)
    answer = asked(settings, path, f"/api/v1/parked/{rating}/{what}", body)
    if answer is None:
        _in_the_file(file, settings, path, directory, here)
    click.echo(f"#{rating}: 已处理 / done: {what}")


def _in_the_file(
    file: Path, settings: Settings, path: Path, directory: Directory, here: Callable[[Desk, int], None]
) -> None:
    vault = vault_of(settings, path)
    now_ms = time.time_ns() // 1_000_000
    with opened(file, look_only=False) as store, _no_gives_up():
        here(Desk(store, vault, Intake(store, directory, vault)), now_ms)


def asked(settings: Settings, path: Path, address: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """What the running collector answered; None where none listens."""
    web = settings.web
    if web is None:
        return None
    port = web.port
    if web.port_file and (path.parent / web.port_file).exists():
        port = int((path.parent / web.port_file).read_text("ascii").strip())
    if not port:
        return None
    headers = {
        "Authorization": f"Bearer {secret(web.token, web.token_file, path.parent)}",
        "Content-Type": "application/json",
    }
    connection = http.client.HTTPConnection(web.host, port, timeout=_WAIT_S)
    try:
        connection.request("POST", address, json.dumps(body).encode(), headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
    except ConnectionRefusedError:
        return None
    except (OSError, ValueError, http.client.HTTPException) as error:
        give_up(f"汇聚器没有正常答复 / no proper answer from the collector: {type(error).__name__}")
    finally:
        connection.close()
    if response.status not in (200, 201):
        give_up(answer.get("error", {}).get("message", f"HTTP {response.status}"))
    found: dict[str, Any] = answer
    return found


def _read(source: Any) -> dict[str, Any]:
    try:
        read = json.load(source)
    except ValueError:
        read = None
    if not isinstance(read, dict):
        give_up('--from: 应为 JSON 对象 / must be a JSON object, {"mobile": …}')
    return read


def _valued(name: str, value: str) -> Any:
    if not name.endswith("_ms"):
        return value
    if value.isascii() and value.isdigit() and len(value) <= _DIGITS_MAX:
        return int(value)
    try:
        return int(datetime.fromisoformat(value).replace(tzinfo=_CHINA).timestamp()) * 1000
    except ValueError:
        give_up(f"{name}: 应为时间, 如 2026-11-24T09:31:00 (北京时间) / must be a time, UTC+8")


def _time(at_ms: int | None) -> str:
    if at_ms is None:
        return "–"
    return datetime.fromtimestamp(at_ms / 1000, _CHINA).strftime("%Y-%m-%d %H:%M:%S")


def _level(name: str) -> str:
    level = Level(name)
    return f"{level.zh}{' ◄' if level.bad else ''}"
