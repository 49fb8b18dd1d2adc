"""`edge-agent monitor`, `learn`, `record` and `replay`: standard input, a port and standard output put together."""

from __future__ import annotations

import locale
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import click

from edge_agent import clock, keypad
from protocols import profiles
from protocols.errors import BadSettings
from protocols.profiles import presets
from protocols.profiles.profile import Profile
from protocols.profiles.vocabulary import LineSettings
from protocols.words import Language, Words

from .commands import LANG
from .learn import Naming, Unsure
from .learn.dialogue import Dialogue, Plan
from .lesson import learn_on, made_beside, not_sure, to_do
from .monitor import Row, Rows, Watch, told, unheard
from .recording import (
    BadRecording,
    Label,
    Recorder,
    Recording,
    paced,
    read,
    replayed,
    write_entry,
    write_head,
)
from .terminal import Typed, give_up, now_ms, opened, traffic, why
from .words import language

BAUDS = (9600, 19200, 4800, 2400, 38400, 57600, 115200)
"""Rates that evaluators were seen at, or that their adapters offer."""

PORT = click.option("--port", required=True, help="串口, 如 COM3 / the port, as edge-agent ports shows it")
BAUD = click.option(
    "--baud", default=9600, show_default=True, type=click.IntRange(110, 4_000_000), help="波特率 / baud rate"
)
SECONDS = click.option("--seconds", type=click.FloatRange(min=0), help="多久之后结束, 默认 Ctrl-C / how long")


@click.command()
@PORT
@BAUD
@SECONDS
@click.option("--send", default="", metavar="HEX", help='先发这些字节, 如 "55 AA"; 不写就什么也不发 / send this first')
@LANG
def monitor(port: str, baud: int, seconds: float | None, send: str, lang: str | None) -> None:
    """看线上的字节 (十六进制), 并提示波特率是否不对 / show a line's bytes in hex, and whether its rate looks wrong."""
    spoken = _spoken(lang)
    _serial_only(port)
    watch, rows, told = Watch(baud, BAUDS), Rows(), set[str]()
    heard = False
    with opened(port, baud) as link:
        began_ms = now_ms()
        for out, data, at_ms in traffic(link, _bytes(send), seconds):
            watch.feed(out, data, at_ms - began_ms)
            heard |= bool(data) and not out
            for row in rows.feed(out, data, at_ms - began_ms):
                click.echo(_row(row))
            for sign in watch.signs():
                if sign.kind not in told:
                    told.add(sign.kind)
                    click.echo(f"          → {sign.words.said(spoken)}")
        for row in rows.rest():
            click.echo(_row(row))
    if not heard:
        click.echo(unheard(baud, BAUDS).said(spoken))


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@PORT
@BAUD
@SECONDS
@click.option("--profile", default="", help="记在文件里, 供 replay 使用 / noted in the file for replay")
@LANG
def record(file: Path, port: str, baud: int, seconds: float | None, profile: str, lang: str | None) -> None:
    """把线上的字节录成文本; 录制中输入一行即为标签 / record a line as text; a line typed meanwhile is a label."""
    spoken = _spoken(lang)
    recorder = Recorder()
    with opened(port, baud) as link, _new(file) as out:
        out.write(write_head(Recording((), port, f"{baud} 8N1", profile)))
        labels = Typed(link)
        click.echo(
            Words(
                "录制中; 输入一行文字即为标签, Ctrl-C 结束", "recording; a line typed is a label, Ctrl-C ends it"
            ).said(spoken)
        )
        began_ms = now_ms()
        for _, data, at_ms in traffic(link, b"", seconds):
            entries = [entry for text in labels.lines() for entry in recorder.label(text)]
            entries += recorder.heard(data, at_ms - began_ms)
            out.write("".join(write_entry(entry) for entry in entries))
            out.flush()
            if recorder.full:
                click.echo(Words("文件已满", "the file is full").said(spoken))
                break
    pieces = sum(not isinstance(entry, Label) for entry in recorder.entries)
    click.echo(Words(f"{file}: 录了 {pieces} 段", f"{file}: {pieces} pieces recorded").said(spoken))


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--profile", default="", help="配置编号或文件, 默认为录制中写的 / an id or a file; by default as recorded"
)
@click.option(
    "--to", default="", metavar="PORT", help="按录制的节奏写到这个串口 / say it again on this port, as recorded"
)
@BAUD
@LANG
def replay(file: Path, profile: str, to: str, baud: int, lang: str | None) -> None:
    """把录制读给一个配置, 显示读懂了什么; 不碰任何串口 / show what a profile understands of a recording."""
    spoken = _spoken(lang)
    recording = _recording(file)
    if to:
        _say_again(recording, to, baud)
        return
    known = _profile(profile or recording.profile, file.parent)
    for understood in replayed(recording, known):
        what = understood.what
        words = f"# {what.text}" if isinstance(what, Label) else told(what).said(spoken)
        click.echo(f"{understood.at_ms / 1000:9.3f} {words}")


@click.command()
@PORT
@BAUD
@click.option(
    "--keys", default=5, show_default=True, type=click.IntRange(2, 32), help="有几个键 / how many keys it has"
)
@click.option(
    "--out",
    default=Path("learnt.toml"),
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="写到这个文件 / the file to write",
)
@click.option(
    "--preset",
    type=click.Choice(sorted(presets.shipped())),
    help="同类设备常见的键义, 仍须逐键确认 / what such keys often mean, still to be confirmed",
)
@LANG
def learn(port: str, baud: int, keys: int, out: Path, preset: str | None, lang: str | None) -> None:
    """现场学会一台新评价器: 每键按三次, 写出配置文件 / learn a device: press each key three times, get a profile."""
    spoken = _spoken(lang)
    _serial_only(port)
    plan = Plan(
        LineSettings(baud, alt_baud=[rate for rate in BAUDS if rate != baud]),
        keys,
        port,
        Naming(_id(out), date=_today()),
        presets.shipped()[preset].meanings if preset else {},
    )
    if out.exists():
        give_up(f"{out}: 已存在, 请换个名字 / is there already, choose another name")
    # Beside the profile and before the first press: whether anything can be written there is known now.
    kept = made_beside(out)
    dialogue = Dialogue(plan)
    try:
        result = learn_on(port, baud, dialogue, kept, spoken)
    except KeyboardInterrupt:
        click.echo(Words("\n已取消, 没有写配置", "\ncancelled, no profile was written").said(spoken))
        sys.exit(130)  # as a shell says it of a program that was interrupted
    finally:
        kept.keep(dialogue)
        if kept.end():
            click.echo(Words(f"录制存于 {kept.file}", f"the recording is in {kept.file}").said(spoken))
    if isinstance(result, Unsure):
        for words in not_sure(result, kept.file):
            click.echo(words.said(spoken))
        sys.exit(1)
    out.write_text(result.text, "utf-8")
    for each in to_do(_profile(str(out), Path()), out, port, dialogue.baud):
        click.echo(each if isinstance(each, str) else each.said(spoken))


def _serial_only(port: str) -> None:
    """A line can be watched and learnt; what has no line comes with a profile."""
    if keypad.is_keypad(port):
        give_up(
            f'{port}: 键盘不用看也不用学, 请写 profile = "hid-keypad"'
            ' / a keypad is neither watched nor learnt: set profile = "hid-keypad"'
        )
    if port.lower().startswith("udp:"):
        give_up(
            f'{port}: 网络平板不用看也不用学, 请写 profile = "sundyn-udp"'
            ' / a tablet is neither watched nor learnt: set profile = "sundyn-udp"'
        )


# ---- files


def _say_again(recording: Recording, to: str, baud: int) -> None:
    with opened(to, baud) as link:
        for after_ms, data in paced(recording):
            time.sleep(after_ms / 1000)
            link.write(data)


@contextmanager
def _new(file: Path) -> Iterator[IO[str]]:
    try:
        with file.open("x", encoding="utf-8", newline="\n") as out:
            yield out
    except OSError as error:
        give_up(f"{file}: 写不了 / cannot be written: {why(error)}")


def _recording(file: Path) -> Recording:
    try:
        return read(file.read_text("utf-8"))
    except OSError as error:
        give_up(f"{file}: 读不了 / cannot be read: {why(error)}")
    except UnicodeDecodeError:
        give_up(f"{file}: 不是录制文件 / is no recording: 不是 UTF-8 文本 / not UTF-8 text")
    except BadRecording as error:
        give_up(f"{file}: {error}")


def _profile(name: str, folder: Path) -> Profile:
    """By its id if it comes with the program, else from its file."""
    if not name:
        give_up("录制里没有写配置, 请用 --profile / the recording names no profile, give --profile")
    if name in profiles.SHIPPED:
        return profiles.shipped(name)
    try:
        return profiles.read((folder / name).read_bytes(), name)
    except OSError as error:
        known = ", ".join(profiles.SHIPPED)
        give_up(f"{name}: 读不了 / cannot be read: {why(error)}; 自带的有 / shipped are: {known}")
    except BadSettings as error:
        give_up("\n".join(error.mistakes))


def _id(out: Path) -> str:
    id = out.stem
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", id):
        give_up(f"{out}: 文件名只能用小写字母、数字和 - / its name may have small letters, digits and - only")
    return id


def _today() -> str:
    return datetime.fromtimestamp(clock.now().wall_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d")


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        give_up(f"--send: {text!r} 不是十六进制字节 / is not bytes in hex")


# ---- words


def _row(row: Row) -> str:
    return f"{row.at_ms / 1000:9.3f} {'>' if row.out else '<'} {row.hex:<47}  {row.text}"


def _spoken(chosen: str | None) -> Language:
    return language(os.environ, chosen, locale.getlocale()[0])
