"""The printable code of each window: what a citizen reads with a telephone to rate there."""

from __future__ import annotations

import html
from pathlib import Path
from string import Formatter
from urllib.parse import quote, urlsplit

import click
import segno

from ..directory import Directory, Place
from .ground import CONFIG, give_up, settings_of

_KNOWN = ("hall", "number", "agent", "window")
_SHEET = """<!doctype html>
<html lang="zh"><meta charset="utf-8"><title>评价二维码 / rating codes</title>
<style>
@page {{ margin: 12mm }}
body {{ font: 14pt sans-serif; margin: 0 }}
main {{ display: grid; grid-template-columns: repeat(2, 1fr); gap: 10mm }}
section {{ break-inside: avoid; border: 1px solid #999; border-radius: 4mm; padding: 6mm; text-align: center }}
h1 {{ font-size: 18pt; margin: 0 0 2mm }} p {{ margin: 2mm 0 0 }} img {{ width: 55mm; height: 55mm }}
</style>
<main>
{sections}
</main></html>
"""
_SECTION = (
    '<section><h1>{hall} {number}</h1><img src="{file}" alt="{hall} {number}">'
    '<p>扫码评价本次服务</p><p lang="en">Scan to rate this service</p></section>'
)


@click.command()
@CONFIG
@click.option(
    "--url",
    required=True,
    help="评价页地址, 省里的或自己的, 可用 {hall} {number} {agent} {window} / the page's address, the province's or"
    " your own; these stand for the window",
)
@click.option(
    "--to", "folder", type=click.Path(file_okay=False, path_type=Path), default=Path("codes"), show_default=True
)
def qr(path: Path, url: str, folder: Path) -> None:
    """每个窗口一个可打印的二维码 (SVG), 及一张可直接打印的页 / a printable code for each window, and a page of all."""
    _, directory = settings_of(path)
    _check(url)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sections = [_written(place, _address(url, place), folder) for place in _places(directory)]
        (folder / "codes.html").write_text(_SHEET.format(sections="\n".join(sections)), encoding="utf-8")
    except OSError as error:
        give_up(f"--to: {error.filename or folder}: 写不了 / cannot be written: {error.strerror}")
    click.echo(f"{folder / 'codes.html'}: {len(sections)} 个窗口, 用浏览器打印 / windows, print it from a browser")


def _places(directory: Directory) -> list[Place]:
    return sorted(directory.places.values(), key=lambda place: (place.hall, place.number, place.agent, place.window))


def _check(url: str) -> None:
    try:
        names = {name for _, name, _, _ in Formatter().parse(url) if name is not None}
        parts = urlsplit(url)
    except ValueError as error:
        give_up(f"--url: {error}")
    unknown = sorted(names - set(_KNOWN))
    if unknown:
        known = " ".join(f"{{{name}}}" for name in _KNOWN)
        give_up(f"--url: {{{unknown[0]}}}: 没有这一项, 可用 / no such field, known: {known}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        give_up("--url: 应为 https://主机/路径 / expected https://host/path")
    if not names:
        give_up("--url: 没有 {hall}、{number} 等, 各窗口的码会一样 / names no window: all codes would be the same")


def _address(url: str, place: Place) -> str:
    return url.format(**{name: quote(str(getattr(place, name)), safe="") for name in _KNOWN})


def _written(place: Place, address: str, folder: Path) -> str:
    """Its section of the page."""
    file = f"{place.agent}-{place.window}.svg"
    # Level Q: a quarter of it may be dirty or worn, as what lies on a counter is.
    segno.make(address, error="q", micro=False).save(str(folder / file), scale=8, border=4, xmldecl=True)
    said = {name: html.escape(str(getattr(place, name))) for name in ("hall", "number")}
    return _SECTION.format(file=quote(file), **said)
