"""`edge-agent ports` and `edge-agent doctor`: what was found, printed for a person or as JSON."""

from __future__ import annotations

import json
import locale
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from edge_agent import clock
from edge_agent.link import serial_ports
from protocols.words import Language, Words

from .checks import examine, needs_a_person
from .findings import Finding, as_json
from .inventory import Listed, bind, inventory
from .inventory import as_json as port_as_json
from .words import language

JSON = click.option("--json", "as_json_", is_flag=True, help="以 JSON 输出 / print JSON")
LANG = click.option(
    "--lang", type=click.Choice(["zh", "en"]), help="语言, 默认随系统 / language, by default the locale's"
)

_MARKS = {"ok": "✓", "warn": "!", "bad": "✗"}
_NO_PORTS = Words(
    "没有串口; 插上转换器, 或运行 edge-agent doctor",
    "no serial port is here; plug an adapter in, or run edge-agent doctor",
)
_FINE = Words("一切正常", "all is fine")
_TROUBLE = Words("需要处理: {}", "to be seen to: {}")


@click.command()
@JSON
@LANG
def ports(as_json_: bool, lang: str | None) -> None:
    """列出串口及占用者 (全部占用者只有 root 可见) / list the serial ports, and who holds them (only root sees all)."""
    found = inventory(serial_ports())
    if as_json_:
        click.echo(json.dumps([port_as_json(port) for port in found], ensure_ascii=False))
        return
    spoken = _spoken(lang)
    for port in found:
        click.echo("\n".join(_told(port, spoken)))
    if not found:
        click.echo(_NO_PORTS.said(spoken))


def _told(port: Listed, spoken: Language) -> Iterator[str]:
    facts = port.facts
    yield facts.device
    rows = (
        (Words("绑定", "bind"), f'port = "{bind(facts)}"'),
        (
            Words("型号", "adapter"),
            " ".join(each for each in (facts.adapter, facts.manufacturer, facts.product) if each),
        ),
        (Words("序列号", "serial"), facts.serial or (Words("无", "none").said(spoken) if facts.adapter else "")),
        (Words("USB 口", "USB socket"), facts.location),
        (Words("接口", "interface"), facts.interface),
        (Words("驱动", "driver"), facts.driver),
        *((Words("链接", "link"), link) for link in facts.links),
        *((Words("占用者", "held by"), str(holder)) for holder in port.holders),
    )
    yield from (f"    {label.said(spoken)}: {value}" for label, value in rows if value)


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help="配置文件, 默认为本文件夹的 agent.toml / settings file, by default agent.toml if it is here",
)
@JSON
@LANG
def doctor(path: Path | None, as_json_: bool, lang: str | None) -> None:
    """检查本机, 每个问题附一条处理命令 / examine this machine; each trouble comes with the command that cures it."""
    here = Path("agent.toml")
    file = path or (here if here.exists() else None)
    findings = examine(file, serial_ports(), clock.now())
    if as_json_:
        shown = {"fine": not needs_a_person(findings), "findings": [as_json(finding) for finding in findings]}
        click.echo(json.dumps(shown, ensure_ascii=False))
    else:
        _print(findings, _spoken(lang))
    sys.exit(1 if needs_a_person(findings) else 0)


def _print(findings: list[Finding], spoken: Language) -> None:
    for finding in findings:
        click.echo(f"{_MARKS[finding.severity]} {finding.words.said(spoken)}")
        if finding.severity != "ok":
            click.echo(f"    {finding.cure.said(spoken)}:\n    $ {finding.command}")
    trouble = sum(finding.severity != "ok" for finding in findings)
    click.echo(_TROUBLE.said(spoken).format(trouble) if trouble else _FINE.said(spoken))


def _spoken(chosen: str | None) -> Language:
    return language(os.environ, chosen, locale.getlocale()[0])
