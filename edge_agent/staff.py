"""On the command line: who the clerks of this machine are, and where its pages are opened."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from protocols.errors import BadSettings

from .clerks import CARD_WRONG, PHOTO_MAX, PIN_MIN, PIN_SHORT, Clerk, Clerks
from .config import load, secret
from .ground import CONFIG, give_up
from .links import Links
from .page import OWN


@click.group()
def clerk() -> None:
    """窗口人员: 工牌和登录口令 / clerks: their cards and PINs."""


@clerk.command("add")
@click.argument("number")
@click.option("--name", default=None, help="工牌上的姓名 / the name on the card")
@click.option("--stars", type=click.IntRange(0, 5), default=None, help="星级, 0 不显示 / stars, 0 shows none")
@click.option("--photo", type=click.Path(path_type=Path, dir_okay=False), default=None, help="照片 / a photo")
@click.option("--pin/--no-pin", "asks", default=True, help="是否设登录口令 / whether to set a PIN for signing in")
@click.option("--pin-stdin", is_flag=True, help="从标准输入读口令 / read the PIN from standard input")
@CONFIG
def add(
    number: str, name: str | None, stars: int | None, photo: Path | None, asks: bool, pin_stdin: bool, path: Path
) -> None:
    """添加或更改一名窗口人员, 立即生效 / add or change a clerk, at once and without a restart."""
    clerks = _clerks(path)
    before = clerks.get(number)
    known = before if before is not None and before.number == number else Clerk(number)
    try:
        said = msgspec.convert(
            {
                "number": number,
                "name": known.name if name is None else name,
                "stars": known.stars if stars is None else stars,
                "photo": known.photo if photo is None else _kept(clerks, number, photo),
            },
            Clerk,
        )
    except msgspec.ValidationError as error:
        give_up(f"{CARD_WRONG} ({error})")
    clerks.put(said, _pin(pin_stdin) if asks or pin_stdin else None)
    click.echo(f"{said.number} {said.name} {'★' * said.stars} 已保存 / saved")


@clerk.command("list")
@CONFIG
def list_(path: Path) -> None:
    """列出窗口人员 / list the clerks."""
    for each in _clerks(path).all():
        ways = "可登录 / can sign in" if each.pin else "不能登录 / cannot sign in"
        click.echo(f"{each.number}\t{each.name}\t{'★' * each.stars}\t{each.photo or '无照片 / no photo'}\t{ways}")


@clerk.command("remove")
@click.argument("number")
@CONFIG
def remove(number: str, path: Path) -> None:
    """删除一名窗口人员 / forget a clerk."""
    if not _clerks(path).remove(number):
        give_up(f"{number}: 没有这个工号 / no such number; edge-agent clerk list")
    click.echo(f"{number} 已删除 / removed")


@click.command()
@click.option("--host", default=None, help="平板访问本机所用的地址 / how a tablet reaches this machine, as in 10.1.2.3")
@CONFIG
def pages(host: str | None, path: Path) -> None:
    """显示评价页和窗口人员页的网址 / show where the rating pages and the clerk's page are opened."""
    try:
        settings = load(path)
    except BadSettings as error:
        give_up("\n".join(error.mistakes))
    if settings.door is None:
        give_up(f"{path.name}: 没有 [door], 就没有页面 / no [door], so there are no pages")
    links = Links(secret("door.token", settings.door.token, settings.door.token_file, path.parent))
    root = f"http://{host or settings.door.host}:{settings.door.port}"
    for window in settings.windows:
        if window.profile == OWN:
            click.echo(f"窗口 {window.id} 评价页 / rating page of window {window.id}: {root}{links.window(window.id)}")
    click.echo(f"窗口人员 / clerks: {root}/clerk/")


def _clerks(path: Path) -> Clerks:
    try:
        clerks = Clerks(path.parent)
        clerks.check()
    except BadSettings as error:
        give_up("\n".join(error.mistakes))
    return clerks


def _kept(clerks: Clerks, number: str, photo: Path) -> str:
    """The photo's name once it lies beside the others."""
    try:
        with photo.open("rb") as file:
            return clerks.keep_photo(number, photo.suffix.lower(), file.read(PHOTO_MAX + 1))
    except BadSettings as error:
        give_up(f"{photo.name}: {error.mistakes[0]}")
    except OSError as error:
        give_up(f"{photo}: 读不了或放不下 / cannot be read or kept: {error.strerror}")


def _pin(from_stdin: bool) -> str:
    if from_stdin:
        pin = sys.stdin.readline().rstrip("\n")
    else:
        pin = click.prompt("登录口令 / PIN", hide_input=True, confirmation_prompt="再输一次 / again")
    if len(pin) < PIN_MIN:
        give_up(PIN_SHORT)
    return str(pin)
