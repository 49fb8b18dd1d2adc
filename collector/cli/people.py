"""Who may sign in to the operators' pages: people add, list, password, role, disable, enable, log, verify. Done in
their file, whether a collector is running or not."""

from __future__ import annotations

import getpass
import re
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from ..ledger.tally import time_text
from ..people import People, open_people, people_of
from ..people.file import File, PeopleMismatch
from ..people.log import ACTIONS, HERE
from ..people.passwords import LEAST, mistake
from ..people.roles import ROLES, WORDS, NotSo
from .ground import CONFIG, give_up, settings_of

_HERE = "命令行 / command line"
_STDIN = click.option(
    "--password-stdin",
    is_flag=True,
    help="密码从标准输入来, 供脚本使用 / it comes from standard input, for scripts",
)
_ONCE = click.option(
    "--once", is_flag=True, help="第一次登录时必须更改密码 / the password has to be changed at the first sign-in"
)


@click.group()
def people() -> None:
    """操作页面的人员: 添加, 列出, 密码, 角色, 停用, 审计日志 / who may sign in to the operators' pages."""


@people.command()
@CONFIG
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True, help="角色 / role")
@_STDIN
@_ONCE
def add(path: Path, name: str, role: str, password_stdin: bool, once: bool) -> None:
    """添加一人 / add somebody."""
    with _opened(path) as here:
        here.add(name, role, _password(password_stdin, name), _by(), _HERE, _now_ms(), once)
    click.echo(f"{name}: 已添加 / added: {WORDS[role]}")


@people.command("list")
@CONFIG
def list_(path: Path) -> None:
    """列出所有人 / list everybody."""
    with _opened(path) as here:
        everybody = here.listed()
    for each in everybody:
        state = "已停用 / disabled" if each.disabled else "尚未更改密码 / password not changed yet" if each.once else ""
        last = time_text(each.signed_in_ms) if each.signed_in_ms else "–"
        click.echo(f"{each.name}  {WORDS[each.role]}  最近登录 last signed in {last}  {state}".rstrip())
    click.echo(f"{len(everybody)} 人 people")


@people.command()
@CONFIG
@click.argument("name")
@_STDIN
@_ONCE
def password(path: Path, name: str, password_stdin: bool, once: bool) -> None:
    """重置密码; 此人的登录和暂停随即结束 / another password; every session and lock-out of this person ends."""
    with _opened(path) as here:
        here.person(name)
        here.set_password(name, _password(password_stdin, name), _by(), _HERE, _now_ms(), once)
    click.echo(f"{name}: 密码已更改 / password changed")


@people.command()
@CONFIG
@click.argument("name")
@click.argument("to", metavar="ROLE", type=click.Choice(ROLES))
def role(path: Path, name: str, to: str) -> None:
    """更改角色; 此人的登录随即结束 / another role; every session of this person ends."""
    with _opened(path) as here:
        here.set_role(name, to, _by(), _HERE, _now_ms())
    click.echo(f"{name}: {WORDS[to]}")


@people.command()
@CONFIG
@click.argument("name")
@click.option("--undo", is_flag=True, help="恢复 / may sign in again")
def disable(path: Path, name: str, undo: bool) -> None:
    """停用; 此人的登录随即结束 / may not sign in any more; every session of this person ends."""
    with _opened(path) as here:
        here.set_disabled(name, not undo, _by(), _HERE, _now_ms())
    click.echo(f"{name}: {'已恢复 / may sign in again' if undo else '已停用 / disabled'}")


@people.command()
@CONFIG
@click.option("--who", default="", help="只看此人 / of this person only")
@click.option("--action", default="", type=click.Choice(["", *ACTIONS]), help="只看此动作 / of this action only")
@click.option("--most", default=50, show_default=True, type=click.IntRange(1, 100_000), help="最多几行 / at most")
def log(path: Path, who: str, action: str, most: int) -> None:
    """审计日志, 新的在前 / the audit log, newest first."""
    with _opened(path) as here:
        lines = here.log.lines(most, who, action)
    for each in lines:
        said = ACTIONS.get(each.action, each.action)
        click.echo(f"#{each.n} {time_text(each.at_ms)} {each.who or '–'} {said} {each.about} {each.address}".rstrip())


@people.command()
@CONFIG
@click.option("--head", default="", help="以前留存的 行号:链首 / a head that was kept before, as NUMBER:HASH")
def verify(path: Path, head: str) -> None:
    """重算审计日志的链; 有改动时指出哪一行, 退出码 1 / recompute the audit log's chain; exit 1 names the line that was
    changed."""
    kept = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", head)
    if head and kept is None:
        give_up("--head: 应为 行号:链首 / must be NUMBER:HASH, as verify prints it")
    with _opened(path) as here:
        found = here.log.verify((int(kept[1]), kept[2]) if kept is not None else None)
    for finding in found.findings:
        click.echo(f"✗ {finding}")
    click.echo(f"{found.lines} 行 lines, 链首 head {found.lines}:{found.head}")
    if found.findings:
        sys.exit(1)
    click.echo("✓ 完好 / whole; 请把链首抄存别处 / keep the head somewhere else: --head")


def check_people(ledger: Path) -> None:
    """Say where nobody can sign in yet."""
    file = people_of(ledger)
    try:
        if file.exists():
            here = People(File(file))  # looked at only: a damaged one is set aside by whoever needs it
            nobody = here.empty()
            here.close()
        else:
            nobody = True
    except PeopleMismatch as error:
        give_up(str(error))
    except sqlite3.DatabaseError as error:
        give_up(f"{file}: 打不开 / cannot be opened: {error}")
    if nobody:
        click.echo(
            "! 还没有可以登录网页的人, 网页什么也不显示 / nobody can sign in yet, the pages show nothing:"
            " collector people add NAME --role administrator"
        )


@contextmanager
def _opened(path: Path) -> Iterator[People]:
    """The people of this collector; what is wrong ends the program."""
    ledger = path.parent / settings_of(path)[0].ledger.path
    file = people_of(ledger)
    try:
        here, aside = open_people(ledger, _now_ms())
        if aside is not None:
            click.echo(f"{file}: 损坏, 已移存 / damaged, set aside: {aside.name}", err=True)
        try:
            yield here
        finally:
            here.close()
    except (PeopleMismatch, NotSo) as error:
        give_up(str(error))
    except sqlite3.DatabaseError as error:
        give_up(f"{file}: 打不开或写不了 / cannot be opened or written: {error}")


def _password(stdin: bool, name: str) -> str:
    if stdin:
        return sys.stdin.readline().rstrip("\r\n")
    words = (
        f"密码, 至少 {LEAST} 个字符, 不能是用户名、用户名加数字或常见的密码"
        f" / password, at least {LEAST} characters, neither the name, the name with digits nor a common one"
    )
    while True:
        said: str = click.prompt(words, hide_input=True)
        if wrong := mistake(name, said):
            click.echo(f"✗ {wrong}", err=True)
        elif said == click.prompt("再输入一次 / once more", hide_input=True):
            return said
        else:
            click.echo("✗ 两次输入的密码不同 / the two passwords differ", err=True)


def _by() -> str:
    return f"{getpass.getuser()}{HERE}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
