"""The command line of the agent: run, check, and look into the outbox."""

from __future__ import annotations

import csv
import json
import logging
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import click

from protocols.errors import BadSettings

from . import clock, details, keypad
from .__main__ import run as run_agent
from .__main__ import sealer_of, set_up
from .config import Settings, load, profile_of
from .doctor.commands import doctor, ports
from .doctor.desk import learn, monitor, record, replay
from .ground import CONFIG, give_up
from .hall_it import BadPassword, HallIt
from .lately import Lately
from .link import resolve
from .outbox import Outbox
from .outbox.file import OutboxMismatch
from .outbox.salvage import reading
from .ports import NoMatch
from .setup import again
from .staff import clerk, pages


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """评价器边缘代理 / device-edge agent: 一次按键, 恰有一条评价 / one press, exactly one rating."""


SETUP_PORT = click.option(
    "--setup-port",
    default=8610,
    show_default=True,
    type=click.IntRange(0, 65_535),
    help="还没有配置时设置页的端口 / port of the setup page while there are no settings",
)


@main.command()
@CONFIG
@SETUP_PORT
def run(path: Path, setup_port: int) -> None:
    """运行代理; 还没有配置时先开设置页 / run the agent; where there are no settings yet, its setup page first."""
    if not path.exists():
        _guided(path, setup_port)
    lately = Lately()
    before = again.before()
    try:
        settings = load(path)
        _log_to(lately, settings.log)
        wanted = run_agent(settings, path.parent, path, lately)
    except BadSettings as error:
        # A port that is taken, a folder that is not there: seen only when it is tried.
        mistakes = [each if each.where.startswith(path.name) else each.under(path.name) for each in error.mistakes]
        if before is not None:
            before.refused(path, mistakes)
            before.start()
        give_up("\n".join(mistakes))
    if wanted is not None:
        wanted.start()


@main.command()
@CONFIG
@SETUP_PORT
@click.option("--no-browser", is_flag=True, help="不打开浏览器 / do not open the browser")
def setup(path: Path, setup_port: int, no_browser: bool) -> None:
    """打开设置页, 一步步配好代理 / open the setup page, which leads to a working agent."""
    if not path.exists():
        _guided(path, setup_port, browser=not no_browser)
    settings = _settings(path)
    if settings.door is None or not settings.door.has_setup:
        give_up(f"{path.name}: door.setup: 没有开放设置页 / the setup page is not open; {_NO_DOOR}")
    address = f"http://{settings.door.host}:{settings.door.port}/setup/"
    click.echo(f"代理运行时在本机浏览器打开 / open this in a browser here, while the agent runs: {address}")
    if not no_browser:
        _open(address)


def _open(address: str) -> None:
    """In this person's browser; where there is none nothing is said of it, as the address stands there to be opened."""
    if sys.platform in ("win32", "darwin"):
        click.launch(address)
    elif os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        quiet = subprocess.DEVNULL
        try:
            # Left to itself: it may stay for as long as the browser that it starts.
            subprocess.Popen(["xdg-open", address], stdin=quiet, stdout=quiet, stderr=quiet)  # noqa: S603, S607 - ours
        except OSError:
            return  # a desktop without xdg-open


_NO_DOOR = "请加 [door] 一节, 见样例 / add a [door] table as in the example"


def _guided(path: Path, port: int, browser: bool = False) -> None:
    """The guide, then the agent in its place; the program ends here."""
    folder = path.parent
    if not os.access(folder, os.W_OK):
        give_up(f"{path}: 没有这个文件, 也不能在此建立 / is not there, and cannot be made there: {folder}")
    lately = Lately()
    _log_to(lately, "info")

    def told(address: str) -> None:
        words = "还没有配置, 请在本机浏览器打开 / no settings yet, open this in a browser on this machine"
        logging.getLogger("edge_agent").warning("%s: %s", words, address)
        if browser:
            _open(address)

    try:
        wanted = set_up(path, port, lately, told)
    except BadSettings as error:
        give_up("\n".join([*error.mistakes, "换个端口 / take another port: --setup-port"]))
    if wanted is not None:
        wanted.start()
    sys.exit(0)


def _log_to(lately: Lately, level: str) -> None:
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger().addHandler(lately)


@main.command()
@CONFIG
@click.password_option(prompt="新口令 / new password", confirmation_prompt="再输一次 / once more")
def password(path: Path, password: str) -> None:
    """重设设置页的口令 / set the setup page's password anew."""
    hall_it = HallIt(path.parent)
    try:
        hall_it.set_password(password)
    except (BadPassword, ValueError) as error:
        give_up(str(error))
    click.echo(f"{hall_it.file}: 口令已设好 / the password is set")


@main.command()
@CONFIG
def check(path: Path) -> None:
    """检查配置, 逐条指出错误 / check the settings and name every mistake."""
    settings = _settings(path)
    folder = (path.parent / settings.outbox.path).parent
    if not os.access(folder, os.W_OK):
        give_up(f"{path.name}: outbox.path: 不能写入文件夹 / folder cannot be written: {folder}")
    for window in settings.windows:
        profile = profile_of(window.profile, path.parent)
        where = window.port or "页面 / page"
        click.echo(
            f"窗口 / window {window.id}: {window.device} @ {where}{_leads_to(window.port)}"
            f" · {profile.id} ({profile.shape.title.zh} / {profile.shape.title.en}; {profile.shape.evidence})"
        )
    if settings.details is not None:
        try:
            key = sealer_of(settings.details).key_id
        except BadSettings as error:
            give_up("\n".join(f"{path.name}: {mistake}" for mistake in error.mistakes))
        click.echo(f"办件信息用密钥 {key} 密封 / details are sealed for this key; 核对 compare: collector check")
    click.echo(f"{path.name}: 配置正确 / settings are right")


def _leads_to(port: str) -> str:
    if not port or keypad.is_keypad(port) or port.startswith("udp:"):
        return ""
    found = resolve(port)
    if not isinstance(found, str):
        return f" ← {found}"
    if "://" in found or os.name == "nt":
        return ""
    real = os.path.realpath(found)
    if not Path(real).exists():
        return f" ← {NoMatch()}"
    return "" if real == port else f" → {real}"


@main.group()
def outbox() -> None:
    """查看未上交的记录 / records not yet receipted."""


@outbox.command()
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="以 JSON 输出 / print JSON")
def status(path: Path, as_json: bool) -> None:
    """纪元, 条数, 最早一条, 链是否完好 / epoch, backlog, oldest, and whether the chain holds."""
    settings = _settings(path)
    with _Opened(settings, path.parent) as box:
        backlog, tip, broken = box.backlog(), box.tip(), box.first_break()
        shown = {
            "agent": settings.agent,
            "epoch": box.epoch,
            "records": tip[0],
            "head": tip[1],
            "backlog": backlog.records,
            "oldest_ms": backlog.oldest_ms,
            "waiting": {window.id: box.waiting(window.id) for window in settings.windows},
            "kept_rated": box.kept_rated(),
            "chain": "ok" if broken is None else f"broken at {broken}",
            "details": details.waiting(details.beside(path.parent / settings.outbox.path)),
        }
    if as_json:
        click.echo(json.dumps(shown, ensure_ascii=False))
        return
    age_s = (clock.now().wall_ms - backlog.oldest_ms) // 1000 if backlog.oldest_ms is not None else 0
    click.echo(f"代理 / agent     {shown['agent']}\n纪元 / epoch     {shown['epoch']}")
    click.echo(f"记录总数 / records {tip[0]}\n未上交 / backlog  {backlog.records} (最早 / oldest {age_s} s)")
    click.echo(f"哈希链 / chain    {'完好 / holds' if broken is None else f'第 {broken} 条断裂 / broken at {broken}'}")
    if shown["details"]:
        click.echo(f"办件信息 / details {shown['details']} 个已密封, 等待上交 / sealed, wait to be sent")


@outbox.command()
@CONFIG
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
def export(path: Path, form: str) -> None:
    """输出全部未上交的记录 / print every record not yet receipted."""
    settings = _settings(path)
    writer = csv.DictWriter(sys.stdout, ["seq", "window", "kind", "body", "hash"])
    if form == "csv":
        writer.writeheader()
    with _Opened(settings, path.parent) as box:
        for record in box.records():
            if form == "csv":
                writer.writerow(record)
            else:
                click.echo(json.dumps({**record, "body": json.loads(record["body"])}, ensure_ascii=False))


@main.command()
@CONFIG
def heads(path: Path) -> None:
    """本厅自留的每日链首, 可交审计 / the hall's own heads, day by day, for an auditor: collector verify --heads."""
    settings = _settings(path)
    with _Opened(settings, path.parent) as box:
        for head in box.heads():
            click.echo(json.dumps({"agent": settings.agent, **head}))


@outbox.command()
@click.argument("file", type=click.Path(path_type=Path))
def salvage(file: Path) -> None:
    """从损坏的存档 (outbox.db.damaged-…) 读出还能读的 / print what can still be read of a damaged outbox.

    代理启动时已自动读出并上交, 这里供人核对; 文件不会被改动 / the agent has done so at its start and sent it on: this
    is for a person who checks. Nothing is written to the file.
    """
    if not file.exists():
        give_up(f"{file}: 没有这个文件 / no such file")
    try:
        with reading(file) as damaged:
            records = damaged.records()
            for seq, body in records.after(records.done):
                click.echo(json.dumps({"seq": seq, "body": json.loads(body)}, ensure_ascii=False))
            names = ", ".join(f"{first}–{last}" for first, last in records.lost) or "无 / none"
            click.echo(
                f"纪元 / epoch {damaged.epoch or '读不出 / not readable'}; 已上交至 / receipted up to {records.done};"
                f" 读出 / read {len(records)}; 读不出 / not readable: {names}",
                err=True,
            )
    except OSError as error:
        give_up(f"{file}: 读不出, 旁边要有放一份副本的空间 / cannot be read, there has to be room for a copy: {error}")


main.add_command(clerk)
main.add_command(pages)
main.add_command(ports)
main.add_command(doctor)
main.add_command(monitor)
main.add_command(learn)
main.add_command(record)
main.add_command(replay)


class _Opened:
    """The outbox of these settings for a look, never made anew."""

    def __init__(self, settings: Settings, folder: Path):
        self._settings = settings
        self._path = folder / settings.outbox.path

    def __enter__(self) -> Outbox:
        if not self._path.exists():
            give_up(f"outbox.path: 没有这个文件 / no such file: {self._path}; 代理还没有运行过 / the agent never ran")
        try:
            self._box = Outbox(self._path, self._settings.agent, clock.now().wall_ms, look_only=True)
        except OutboxMismatch as error:
            give_up(f"outbox.path: {error}")
        except sqlite3.DatabaseError as error:
            self._unreadable(error)
        return self._box

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        self._box.close()
        if isinstance(error, sqlite3.DatabaseError):
            self._unreadable(error)

    def _unreadable(self, error: sqlite3.DatabaseError) -> NoReturn:
        give_up(f"outbox.path: {self._path}: 读不了 / cannot be read: {error}")


def _settings(path: Path) -> Settings:
    try:
        return load(path)
    except BadSettings as error:
        give_up("\n".join(error.mistakes))


if __name__ == "__main__":
    main()
