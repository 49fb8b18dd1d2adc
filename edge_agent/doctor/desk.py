"""`edge-agent monitor`, `learn`, `record` and `replay`: standard input, a port and standard output put together."""

from __future__ import annotations

import locale
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, NoReturn

import click

from edge_agent import clock
from edge_agent.link import Link, LinkDown
from protocols import profiles
from protocols.errors import BadSettings
from protocols.profiles import presets
from protocols.profiles.events import Answered, Beat, Event, NobodyPressed, Noise, Pressed
from protocols.profiles.profile import Profile
from protocols.profiles.vocabulary import LineSettings

from .commands import LANG
from .learn import Naming, Proposal, Unsure
from .learn.acts import Act, Ask, Finish, Reopen, Tell
from .learn.dialogue import Dialogue, Plan
from .monitor import Row, Watch
from .recording import (
    BadRecording,
    Label,
    Recorder,
    Recording,
    paced,
    read,
    replayed,
    write,
    write_entry,
    write_head,
)
from .words import Language, Words, language

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
    watch = Watch(baud, BAUDS)
    told: set[str] = set()
    with _opened(port, baud) as link:
        began_ms = _now_ms()
        for out, data, now_ms in _traffic(link, _bytes(send), seconds):
            for row in watch.feed(out, data, now_ms - began_ms):
                click.echo(_row(row))
            for sign in watch.signs():
                if sign.kind not in told:
                    told.add(sign.kind)
                    click.echo(f"          → {sign.words.said(spoken)}")


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
    with _opened(port, baud) as link, _new(file) as out:
        out.write(write_head(Recording((), port, f"{baud} 8N1", profile)))
        labels = _Typed(link)
        click.echo(Words("录制中, Ctrl-C 结束", "recording, Ctrl-C ends it").said(spoken))
        began_ms = _now_ms()
        for _, data, now_ms in _traffic(link, b"", seconds):
            entries = [entry for text in labels.lines() for entry in recorder.label(text)]
            entries += recorder.heard(data, now_ms - began_ms)
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
        told = f"# {what.text}" if isinstance(what, Label) else _told(what).said(spoken)
        click.echo(f"{understood.at_ms / 1000:9.3f} {told}")


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
    plan = Plan(
        LineSettings(baud, alt_baud=[rate for rate in BAUDS if rate != baud]),
        keys,
        port,
        Naming(_id(out), date=_today()),
        presets.shipped()[preset].meanings if preset else {},
    )
    if out.exists():
        _give_up(f"{out}: 已存在, 请换个名字 / is there already, choose another name")
    dialogue = Dialogue(plan)
    result = _converse(dialogue, port, baud, spoken)
    kept = out.with_suffix(".recording.txt")
    kept.write_text(write(dialogue.recording), "utf-8")
    click.echo(Words(f"录制存于 {kept}", f"the recording is in {kept}").said(spoken))
    if isinstance(result, Unsure):
        click.echo(
            Words(f"不能确定: {result.what.zh}。{result.why.zh}", f"not sure: {result.what.en}. {result.why.en}").said(
                spoken
            )
        )
        sys.exit(1)
    out.write_text(result.text, "utf-8")
    click.echo("\n".join(_to_do(_profile(str(out), Path()), out, port, dialogue.baud, spoken)))


# ---- a port, a person, and time


def _converse(dialogue: Dialogue, port: str, baud: int, spoken: Language) -> Proposal | Unsure:
    """The dialogue held with the person at the terminal, over the port."""
    with _opened(port, baud) as first:
        link, typed = first, _Typed(first)
        acts = dialogue.begin(_now_ms())
        while True:
            for act in acts:
                _show(act, spoken)
                if isinstance(act, Finish):
                    return act.result
                if isinstance(act, Reopen):
                    link.close()
                    link = typed.link = Link(port, act.baud)
                    _open(link)
            acts = _next_acts(dialogue, link, typed, spoken)


def _next_acts(dialogue: Dialogue, link: Link, typed: _Typed, spoken: Language) -> list[Act]:
    data = link.read()
    if data:
        for row in Watch(dialogue.baud).feed(False, data, 0):
            click.echo(f"    < {row.hex}  {row.text}")
    acts = dialogue.feed(data, _now_ms()) if data else dialogue.tick(_now_ms())
    for line in typed.lines():
        acts += dialogue.answer(line, _now_ms())
    return acts


def _show(act: Act, spoken: Language) -> None:
    if isinstance(act, Tell):
        click.echo(act.words.said(spoken))
    elif isinstance(act, Ask):
        click.echo(f"? {act.words.said(spoken)}")


class _Typed:
    """Lines of standard input, as they come, without holding up the port."""

    def __init__(self, link: Link):
        self.link = link
        self._lines: SimpleQueue[str] = SimpleQueue()
        threading.Thread(target=self._listen, name="typed", daemon=True).start()

    def lines(self) -> list[str]:
        """What was typed by now."""
        found = []
        try:
            while True:
                found.append(self._lines.get_nowait())
        except Empty:
            return found

    def _listen(self) -> None:
        for line in sys.stdin:
            self._lines.put(line.rstrip("\n"))
            self.link.wake()


def _traffic(link: Link, send: bytes, seconds: float | None) -> Iterator[tuple[bool, bytes, int]]:
    """(out, bytes, ms) of all that is read and written, and an empty one now and then; until time is up or Ctrl-C."""
    end_ms = None if seconds is None else _now_ms() + int(seconds * 1000)
    try:
        if send:
            link.write(send)
            yield True, send, _now_ms()
        while end_ms is None or _now_ms() < end_ms:
            yield False, link.read(), _now_ms()
    except KeyboardInterrupt:
        pass


@contextmanager
def _opened(port: str, baud: int) -> Iterator[Link]:
    """The port, for us alone; the program ends with the reason if it cannot be had, or goes away."""
    link = Link(port, baud)
    _open(link)
    try:
        yield link
    except LinkDown as down:
        _give_up(str(down))
    finally:
        link.close()


def _open(link: Link) -> None:
    try:
        link.open()
    except LinkDown as down:
        _give_up(str(down))


def _say_again(recording: Recording, to: str, baud: int) -> None:
    with _opened(to, baud) as link:
        for after_ms, data in paced(recording):
            time.sleep(after_ms / 1000)
            link.write(data)


def _now_ms() -> int:
    return clock.now().mono_ms


def _today() -> str:
    return datetime.fromtimestamp(clock.now().wall_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d")


# ---- files


@contextmanager
def _new(file: Path) -> Iterator[IO[str]]:
    try:
        with file.open("x", encoding="utf-8", newline="\n") as out:
            yield out
    except OSError as error:
        _give_up(f"{file}: 写不了 / cannot be written: {error.strerror}")


def _recording(file: Path) -> Recording:
    try:
        return read(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        _give_up(f"{file}: 读不了 / cannot be read: {error}")
    except BadRecording as error:
        _give_up(f"{file}: {error}")


def _profile(name: str, folder: Path) -> Profile:
    """By its id if it comes with the program, else from its file."""
    if not name:
        _give_up("录制里没有写配置, 请用 --profile / the recording names no profile, give --profile")
    if name in profiles.SHIPPED:
        return profiles.shipped(name)
    try:
        return profiles.read((folder / name).read_bytes(), name)
    except OSError as error:
        known = ", ".join(profiles.SHIPPED)
        _give_up(f"{name}: 读不了 / cannot be read: {error.strerror}; 自带的有 / shipped are: {known}")
    except BadSettings as error:
        _give_up("\n".join(error.mistakes))


def _id(out: Path) -> str:
    id = out.stem
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", id):
        _give_up(f"{out}: 文件名只能用小写字母、数字和 - / its name may have small letters, digits and - only")
    return id


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        _give_up(f"--send: {text!r} 不是十六进制字节 / is not bytes in hex")


# ---- words


def _row(row: Row) -> str:
    return f"{row.at_ms / 1000:9.3f} {'>' if row.out else '<'} {row.hex:<47}  {row.text}"


def _told(event: Event) -> Words:
    match event:
        case Pressed(device, key, age_ms, raw, _, count):
            more = (f" @ {device}" if device else "") + ("" if count is None else f" #{count}")
            return Words(
                f"按键 {key}{more}, {age_ms} 毫秒前  [{_hex(raw)}]", f"key {key}{more}, {age_ms} ms ago  [{_hex(raw)}]"
            )
        case Beat(device):
            return Words(f"心跳 {device}".rstrip(), f"alive {device}".rstrip())
        case NobodyPressed(device):
            return Words(f"无人评价 {device}".rstrip(), f"nobody pressed {device}".rstrip())
        case Answered(device, name):
            return Words(f"回答 {name} {device}".rstrip(), f"answer {name} {device}".rstrip())
        case Noise(raw, reason):
            return Words(f"噪声 ({reason})  [{_hex(raw)}]", f"noise ({reason})  [{_hex(raw)}]")


def _hex(data: bytes) -> str:
    return data.hex(" ").upper()


def _to_do(profile: Profile, out: Path, port: str, baud: int, spoken: Language) -> Iterator[str]:
    """Exactly what goes into which file."""
    yield Words(f"已写好 {out}, 并已读回检查", f"{out} is written, and was read back").said(spoken)
    yield Words("agent.toml 的 [[windows]] 中写:", "in agent.toml, below [[windows]]:").said(spoken)
    yield f'    port = "{port}"\n    baud = {baud}\n    profile = "{out}"'
    levels = profile.levels
    missing = sorted({key for key in _keys(profile) if key not in levels})
    if levels:
        yield Words(
            "汇聚器 directory.toml 的 [[windows]] 中写:", "in the collector's directory.toml, below [[windows]]:"
        ).said(spoken)
        yield "    keys = { " + ", ".join(f'{key} = "{level.value}"' for key, level in levels.items()) + " }"
    if missing:
        names = ", ".join(map(str, missing))
        yield Words(
            f"按键 {names} 未确认: 它们的按键会保存, 但不计为评价",
            f"keys {names} are not confirmed: their presses are kept, not rated",
        ).said(spoken)


def _keys(profile: Profile) -> Iterator[int]:
    for vector in profile.shape.vectors:
        yield from (each.key for each in vector.expect if each.key is not None)


def _spoken(chosen: str | None) -> Language:
    return language(os.environ, chosen, locale.getlocale()[0])


def _give_up(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(2)
