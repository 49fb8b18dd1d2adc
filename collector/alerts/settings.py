"""What `[alerts]` in collector.toml may say, and every mistake in it named. No address of a receiver stands there: it
holds a token, and is read from a file or the environment."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from protocols.settings import Name, Url

from .core import Reach, Rule
from .hours import EXPECTED, BadHours, Hours, hours_of
from .kinds import KINDS, Weight

Glob = Annotated[str, Meta(min_length=1, max_length=64)]
_MOST_MINUTES = 7 * 24 * 60
_VARIABLE = r"^([A-Za-z_][A-Za-z0-9_]*)?\Z"
_SCHEME = re.compile(r"[a-z][a-z0-9]*://\S+", re.IGNORECASE)
_HTTP = re.compile(r"https?://[^\s/]+\S*", re.IGNORECASE)
_WITH_HOST = ("json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos", "http", "https")


class ReceiverSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who hears: its name, and where its apprise address is read from."""

    name: Name
    url_file: str = ""
    url_env: Annotated[
        str,
        Meta(pattern=_VARIABLE, description="环境变量的名称 / the name of an environment variable"),
    ] = ""
    language: Literal["zh", "en"] = "zh"


class RuleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which alerts go to whom. Whatever is left out is as the kind of the alert has it."""

    to: Annotated[list[str], Meta(min_length=1)]
    kinds: list[Glob] = []
    halls: list[Glob] = []
    windows: list[Glob] = []
    after_minutes: Annotated[int, Meta(ge=0, le=_MOST_MINUTES)] | None = None
    repeat_minutes: Annotated[int, Meta(ge=0, le=_MOST_MINUTES)] | None = None
    weight: Weight | None = None
    hours: str = ""


class AlertsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is told of what. Without rules everybody hears of everything, each kind as the program has it."""

    link: Annotated[str, Meta(pattern=r"^(https?://\S+)?\Z", description=Url.__metadata__[0].description)] = ""
    """Where receivers find the pages of this collector."""
    hours: str = "Mon-Fri 08:30-17:30"
    """When somebody is there: all that can wait is told then."""
    per_minute: Annotated[int, Meta(ge=1, le=20)] = 10
    """Messages for one receiver; WeCom and DingTalk take 20 of a robot."""
    no_rating_cases: Annotated[int, Meta(ge=0, le=10_000)] = 20
    """So many cases closed one after the other without a rating are told; 0: never."""
    no_rating_hours: Annotated[int, Meta(ge=1, le=60)] = 4
    """Within so many hours of `hours`."""
    heartbeat_file: str = ""
    """The file of an address that is called each minute while ratings go to the province; or `heartbeat_env`."""
    heartbeat_env: Annotated[
        str, Meta(pattern=_VARIABLE, description="环境变量的名称 / the name of an environment variable")
    ] = ""
    receivers: list[ReceiverSettings] = []
    rules: list[RuleSettings] = []


def rules_of(settings: AlertsSettings) -> list[Rule]:
    """The rules that these settings mean."""
    if not settings.rules:
        everybody = tuple(each.name for each in settings.receivers)
        return [Rule(everybody)] if everybody else []
    return [
        Rule(
            tuple(each.to),
            Reach(tuple(each.kinds), tuple(each.halls), tuple(each.windows)),
            each.after_minutes,
            each.repeat_minutes,
            each.weight,
            hours_of(each.hours) if each.hours else None,
        )
        for each in settings.rules
    ]


def office_of(settings: AlertsSettings) -> Hours:
    """When somebody is there."""
    return hours_of(settings.hours)


def url_of(receiver: ReceiverSettings, folder: Path, environment: Mapping[str, str]) -> str:
    """Its address, which is never shown."""
    return _address(receiver.url_file, receiver.url_env, folder, environment)


def heartbeat_of(settings: AlertsSettings, folder: Path, environment: Mapping[str, str]) -> str:
    """The address that is called as long as all is well, which is never shown; empty if there is none."""
    if not settings.heartbeat_file and not settings.heartbeat_env:
        return ""
    return _address(settings.heartbeat_file, settings.heartbeat_env, folder, environment)


def _callable(url: str) -> bool:
    """Whether an address of this form can ever be called: letters of ASCII, a host with a name, a port that is one."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError:
        return False
    # A name and password before the host are not understood by what calls it.
    usual = url.isascii() and url.isprintable() and "@" not in parts.netloc
    return _HTTP.fullmatch(url) is not None and usual and bool(host) and port != 0


def _address(file: str, variable: str, folder: Path, environment: Mapping[str, str]) -> str:
    if variable:
        return environment.get(variable, "").strip()
    # utf-8-sig: what Windows' Notepad puts before a text is no part of an address.
    return (folder / file).read_text(encoding="utf-8-sig").strip()


def masked(url: str) -> str:
    """What may be seen of an address: how, and where that is no secret, to which machine."""
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme not in _WITH_HOST:
        return f"{scheme}://…"
    try:
        host = urlsplit(f"x://{rest}").hostname or ""
    except ValueError:
        host = ""
    return f"{scheme}://{host}/…"


def mistakes(settings: AlertsSettings, folder: Path, environment: Mapping[str, str]) -> list[str]:
    """What is wrong with these settings, by key."""
    found = _hours_mistake("alerts.hours", settings.hours)
    if settings.heartbeat_file or settings.heartbeat_env:
        found += _address_mistakes(
            "alerts.heartbeat_file", settings.heartbeat_file, "alerts.heartbeat_env", settings.heartbeat_env,
            folder, environment, _callable, "https://…",
        )  # fmt: skip
    names: list[str] = []
    for at, receiver in enumerate(settings.receivers, 1):
        where = f"alerts.receivers[{at}]"
        if receiver.name in names:
            found.append(f"{where}.name: {receiver.name} 写了两次 / stands there twice")
        names.append(receiver.name)
        found += _url_mistakes(where, receiver, folder, environment)
    for at, rule in enumerate(settings.rules, 1):
        where = f"alerts.rules[{at}]"
        if rule.hours:
            found += _hours_mistake(f"{where}.hours", rule.hours)
        found += [
            f"{where}.to[{number}]: 没有接收者 / no receiver {name!r}{_near(name, names)}"
            for number, name in enumerate(rule.to, 1)
            if name not in names
        ]
        found += kind_mistakes(f"{where}.kinds", rule.kinds)
    return found


def kind_mistakes(where: str, kinds: list[str]) -> list[str]:
    """Which of these globs mean no kind at all."""
    return [
        f"{where}[{number}]: 没有这一类 / no such kind: {glob!r}{_near(glob, list(KINDS))};"
        f" 有 / there are {', '.join(KINDS)}"
        for number, glob in enumerate(kinds, 1)
        if not any(fnmatchcase(kind, glob) for kind in KINDS)
    ]


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f", 是否指 / did you mean {near[0]}?" if near else ""


def _hours_mistake(where: str, text: str) -> list[str]:
    try:
        hours_of(text)
    except BadHours:
        zh, _, en = EXPECTED.partition(" / ")
        return [f"{where}: 值 {text!r} 不对, 应为{zh} / wrong value {text!r}, expected {en}"]
    return []


def _url_mistakes(where: str, receiver: ReceiverSettings, folder: Path, environment: Mapping[str, str]) -> list[str]:
    file, variable = receiver.url_file, receiver.url_env
    if not file and not variable:
        words = "缺少, 填此项或 url_env / missing, give this or url_env; 写法见 / see docs/alerts.md"
        return [f"{where}.url_file: {words}"]
    names = f"{where}.url_file", f"{where}.url_env"
    return _address_mistakes(names[0], file, names[1], variable, folder, environment, _SCHEME.fullmatch, "wecombot://…")


def _address_mistakes(
    file_key: str,
    file: str,
    variable_key: str,
    variable: str,
    folder: Path,
    environment: Mapping[str, str],
    fits: Callable[[str], object],
    like: str,
) -> list[str]:
    if file and variable:
        other = variable_key.rpartition(".")[2]
        return [f"{file_key}: 与 {other} 只能填一个 / give this or {other}, not both"]
    if variable and variable not in environment:
        return [f"{variable_key}: 没有这个环境变量 / no such environment variable: {variable}"]
    key = variable_key if variable else file_key
    try:
        url = _address(file, variable, folder, environment)
    except FileNotFoundError:
        return [f"{key}: 没有文件 / no file {file!r}"]
    except UnicodeDecodeError:
        return [f"{key}: 不是文本 / is no text: {file!r}"]
    except OSError as error:
        return [f"{key}: 读不了 / cannot be read: {file!r}: {error.strerror}"]
    if not fits(url):
        # Never the address itself: it holds a token.
        return [
            f"{key}: 应为一行地址, 如 {like} (不显示所填内容) / expected one line with an address, as in"
            f" {like} (what stands there is not shown); 写法见 / see docs/alerts.md"
        ]
    return []
