"""What else a province of dialect A can be asked: whether its rating tags are ours, what a citizen has not rated yet,
and the address of its own rating page for one case."""

from __future__ import annotations

import time
from pathlib import Path
from typing import get_args

import click

from protocols.dialects.txnbody import TxnBody
from protocols.ratings import Answer, Case, Channel, Request, Unavailable
from protocols.tags import TAGS, VERSION

from ..calls import asked_once
from ..ledger.desk import Desk, NotSo
from ..ledger.intake import Intake
from ..provinces import dialect
from .desk import opened, vault_of
from .ground import CONFIG, give_up, ledger_of, settings_of


@click.group()
def province() -> None:
    """问省平台 (方言 A) / questions to a province of dialect A."""


@province.command()
@CONFIG
def tags(path: Path) -> None:
    """省平台的评价标签与本程序的是否相同; 不同则退出码 1 / whether its rating tags are ours; exit 1 if they are not."""
    spoken, timeout_s = _spoken(path)
    answer = _answer(spoken.indicators_request(_now_ms()), "indicators_url", timeout_s)
    found = spoken.indicators(answer)
    if isinstance(found, Unavailable):
        give_up(f"省平台 / province: {found.words}")
    theirs = {each.norm_code: each.norm_name for each in found if each.using_status}
    for code in sorted(theirs.keys() - TAGS.keys()):
        click.echo(f"+ {code} {theirs[code]}: 省里有, 本程序没有 / the province has it, we do not")
    for code in sorted(TAGS.keys() - theirs.keys()):
        click.echo(f"- {code} {TAGS[code].text}: 本程序有, 省里没有 / we have it, the province does not")
    for code in sorted(code for code in theirs.keys() & TAGS.keys() if theirs[code] != TAGS[code].text):
        click.echo(f"≠ {code} {TAGS[code].text}: 省里的文字 / the province says: {theirs[code]}")
    same = theirs == {code: tag.text for code, tag in TAGS.items()}
    words = "相同 / the same" if same else "不同, 请升级或与省平台核对 / not the same: update, or ask the province"
    click.echo(f"{len(theirs)} / {len(TAGS)} (第 {VERSION} 版 version {VERSION}): {words}")
    raise SystemExit(0 if same else 1)


@province.command()
@CONFIG
@click.argument("case_no")
@click.option("--service-number", default=1, show_default=True, help="服务序号")
def unrated(path: Path, case_no: str, service_number: int) -> None:
    """此办件的申请人在省里还有哪些服务未评 / which services of this case's applicant nobody has rated."""
    spoken, timeout_s = _spoken(path)
    request = spoken.unrated_request(_case(path, case_no, service_number), _now_ms())
    found = spoken.unrated(_answer(request, "services_url, private_key", timeout_s))
    if isinstance(found, Unavailable):
        give_up(f"省平台 / province: {found.words}")
    for each in found:
        click.echo(f"{each.project_no} {each.service_number} {each.service_name} {each.task_name}".rstrip())
    click.echo(f"{len(found)} 项未评 / services not rated")


@province.command()
@CONFIG
@click.argument("case_no")
@click.option("--service-number", default=1, show_default=True, help="服务序号")
@click.option("--channel", default="kiosk", show_default=True, type=click.Choice(get_args(Channel)), help="评价渠道")
def page(path: Path, case_no: str, service_number: int, channel: Channel) -> None:
    """省平台自己的评价页地址, 带签名, 无个人信息 / its own rating page for this service: signed, nobody named."""
    spoken, _ = _spoken(path)
    address = spoken.page(_case(path, case_no, service_number), channel, _now_ms())
    if address is None:
        give_up("province.page_url: 没有配置 / is not set")
    click.echo(address)


def _spoken(path: Path) -> tuple[TxnBody, float]:
    settings, _ = settings_of(path)
    spoken = dialect(settings.province, path.parent) if settings.province is not None else None
    if not isinstance(spoken, TxnBody) or settings.province is None:
        give_up(f'{path.name}: 只有 dialect = "txnbody" 才能问 / only a province of that dialect can be asked')
    return spoken, settings.province.timeout_s


def _answer(request: Request | None, setting: str, timeout_s: float) -> Answer:
    if request is None:
        give_up(f"province: 缺少 / missing: {setting}")
    answer = asked_once(request, timeout_s)
    if isinstance(answer, Unavailable):
        give_up(f"省平台 / province: {answer.words}")
    return answer


def _case(path: Path, case_no: str, service_number: int) -> Case:
    settings, directory = settings_of(path)
    vault = vault_of(settings, path)
    with opened(ledger_of(settings, path), look_only=True) as store:
        try:
            return Desk(store, vault, Intake(store, directory, vault)).case(case_no, service_number)
        except NotSo as error:
            give_up(str(error))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
