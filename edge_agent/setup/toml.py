"""agent.toml as text: written anew with its comments, a window added, single values changed, secrets covered.

What a person wrote stays as it is: comments, order, blank lines.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, MutableMapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Table

from protocols.errors import BadSettings, Mistake
from protocols.words import Words

from .draft import LATER, Draft
from .fields import SECRETS, Field
from .typed import number_of

COVERED = "********"
"""Stands where a secret is: left alone, the secret stays."""


def new_text(draft: Draft, door_port: int) -> str:
    """Settings of an agent with its first window."""
    host = LATER if draft.later else draft.host
    broker = "还没有: 填好后按键自动上交 / none yet: once it is given, what was kept is sent" if draft.later else ""
    lines = [
        "# 边缘代理的配置, 由设置页写成 / settings of an edge agent, written by its setup page.",
        "# 检查 / check: edge-agent check --config agent.toml",
        f"agent = {_text(draft.agent)}  # 也是消息服务器上的用户名 / its user name at the broker too",
        "",
        "[uplink]",
        f"host = {_text(host)}        # {broker or '消息服务器 / the broker'}",
        f"port = {1883 if draft.later else draft.port}",
    ]
    if draft.password_file:
        lines.append(f"password_file = {_text(draft.password_file)}")
    if draft.tls and not draft.later:
        lines += [
            "",
            "[uplink.tls]",
            f"ca = {_text(draft.ca)}                  # 空为系统自带 / empty: the system's own",
        ]
    lines += [
        "",
        "[door]                         # 业务系统与设置页用 / for business systems, and the setup page",
        f"port = {door_port}",
        'token_file = "door.token"',
        "",
        window_text(draft),
    ]
    return "\n".join(lines)


def window_text(draft: Draft) -> str:
    """One more window."""
    lines = ["[[windows]]", f"id = {_text(draft.window)}", f"device = {_text(draft.device)}"]
    if draft.kind != "screen":
        lines.append(f"port = {_text(draft.bind)}")
    if draft.kind in ("serial", "modbus"):
        lines.append(f"baud = {draft.baud}")
    if draft.address is not None:
        lines.append(f"address = {draft.address}")
    return "\n".join([*lines, f"profile = {_text(draft.profile)}", ""])


def with_window(text: str, draft: Draft) -> str:
    """These settings and one more window, nothing else touched."""
    return f"{text.rstrip()}\n\n{window_text(draft)}"


def with_broker(text: str, draft: Draft) -> str:
    """These settings with another broker, that of the draft; its password is in a file. ValueError if they are none."""
    parsed = _parsed(text)
    uplink: Any = parsed["uplink"]
    was_later = uplink.get("host", LATER) == LATER
    uplink["host"], uplink["port"] = draft.host, draft.port
    if was_later and draft.host != LATER:
        # The comment of the guide says that none is given yet.
        uplink["host"].comment("消息服务器 / the broker")
    if draft.password_file:
        uplink.pop("password", None)
        uplink["password_file"] = draft.password_file
    if not draft.tls:
        uplink.pop("tls", None)
    elif "tls" not in uplink or uplink["tls"].get("ca", "") != draft.ca:
        tls: Any = _table(uplink, ["tls"], make=True)
        tls["ca"] = draft.ca
    return tomlkit.dumps(parsed)


def directory_text(draft: Draft, keys: Mapping[str, str] | None) -> str:
    """What goes into the collector's directory.toml: `keys` as TOML values, None where the profile says them all."""
    known = ", ".join(f"{key} = {value}" for key, value in (keys or {}).items())
    lines = "\n".join(
        [
            "[[windows]]",
            f"agent = {_text(draft.agent)}",
            f"window = {_text(draft.window)}",
            f"hall = {_text(draft.hall)}{'' if draft.hall else '  # 大厅名称 / name of the hall'}",
            f"number = {_text(draft.number)}{'' if draft.number else '  # 窗口名称 / name of the window'}",
            f"device = {_text(draft.device)}",
        ]
    )
    return lines if keys is None else f"{lines}\nkeys = {{ {known} }}" if known else f"{lines}\nkeys = {{}}"


def _text(value: str) -> str:
    # What JSON writes is what TOML reads, but for the one sign that JSON lets stand.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


# ---- settings that are there


def values(text: str) -> dict[str, str]:
    """Each value that is set, as a form shows it: `uplink.port`, `windows.0.id`. Secrets covered. ValueError if this
    is no TOML."""
    found: dict[str, str] = {}
    _gather(_parsed(text), "", found)
    return {key: COVERED if _is_secret(key) and value else value for key, value in found.items()}


def _gather(table: Any, at: str, found: dict[str, str]) -> None:
    for key, value in table.items():
        path = f"{at}.{key}" if at else key
        if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            for number, each in enumerate(value):
                _gather(each, f"{path}.{number}", found)
        elif isinstance(value, dict):
            _gather(value, path, found)
        elif isinstance(value, list):
            found[path] = ", ".join(map(str, value))
        else:
            found[path] = str(value).lower() if isinstance(value, bool) else str(value)


def changed(text: str, wanted: Mapping[str, str], known: list[Field]) -> str:
    """The text with these values; an empty one is taken out. What should be a number and is none is written as it was
    typed, for the check to name. ValueError if the text is no TOML."""
    parsed = _parsed(text)
    now = values(text)
    kinds = {field.key: field for field in known}
    for key, value in wanted.items():
        field = kinds.get(_plain(key))
        if field is None or value == now.get(key, "") or (field.secret and value == COVERED):
            continue
        table = _table(parsed, key.split(".")[:-1], make=bool(value))
        if table is not None:
            _put(table, field, value)
    return tomlkit.dumps(parsed)


def _plain(key: str) -> str:
    return ".".join(part for part in key.split(".") if not part.isdecimal())


def _table(root: Any, path: list[str], make: bool) -> Any | None:
    at = root
    for part in path:
        if isinstance(at, AoT | list):
            if not part.isdecimal() or int(part) >= len(at):
                return None
            at = at[int(part)]
        elif part in at:
            at = at[part]
        elif make:
            at.add(part, tomlkit.table())
            at = at[part]
        else:
            return None
    return at


def _put(table: Table, field: Field, value: str) -> None:
    if not value:
        table.remove(field.name)
    elif field.kind == "number" and number_of(value.removeprefix("-")) is not None:
        table[field.name] = int(value)
    elif field.kind == "list":
        table[field.name] = [each.strip() for each in value.split(",") if each.strip()]
    elif field.kind == "yes-no" and value in ("true", "false"):
        table[field.name] = value == "true"
    else:
        table[field.name] = value


def _is_secret(key: str) -> bool:
    return _plain(key) in SECRETS


def covered(text: str) -> str:
    """The same with its secrets covered; a text that is no TOML shows nothing."""
    try:
        parsed = _parsed(text)
    except ValueError:
        return ""
    for key in SECRETS:
        table = _table(parsed, key.split(".")[:-1], make=False)
        if isinstance(table, MutableMapping) and table.get(key.rpartition(".")[2]):
            table[key.rpartition(".")[2]] = COVERED
    return tomlkit.dumps(parsed)


def uncovered(text: str, before: str) -> str:
    """A text whose covered secrets are what they were before. As it stands, if it is no TOML: the check says why.
    BadSettings if there was none before: what stands for a secret is never taken for one."""
    try:
        parsed = _parsed(text)
    except ValueError:
        return text
    was = secrets(before)
    for key, value in secrets(text).items():
        if value != COVERED:
            continue
        if key not in was:
            words = Words(
                f"{COVERED} 不是口令, 请输入口令本身",
                f"{COVERED} only stands for one: type the secret itself",
            )
            raise BadSettings([Mistake(f"agent.toml: {key}", words)])
        table = _table(parsed, key.split(".")[:-1], make=False)
        assert table is not None
        table[key.rpartition(".")[2]] = was[key]
    return tomlkit.dumps(parsed)


def secrets(text: str) -> dict[str, str]:
    """The secrets that are set, as they are; none of a text that is no TOML."""
    try:
        parsed = _parsed(text)
    except ValueError:
        return {}
    found = dict[str, str]()
    for key in SECRETS:
        table = _table(parsed, key.split(".")[:-1], make=False)
        value = table.get(key.rpartition(".")[2]) if isinstance(table, Mapping) else None
        if value:
            found[key] = str(value)
    return found


def difference(before: str, after: str) -> list[str]:
    """What changes, line by line with - and +; secrets covered, and named where one is another from now on."""
    old, new = covered(before).splitlines(), covered(after).splitlines()
    lines = list(difflib.unified_diff(old, new, lineterm="", n=1))[2:]
    was, now = secrets(before), secrets(after)
    lines += [f'± {key} = "{COVERED}"' for key in SECRETS if key in was and key in now and was[key] != now[key]]
    if not lines and before != after:
        return [f"± {COVERED}"]
    return lines


def _parsed(text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except (TOMLKitError, RecursionError) as error:
        raise ValueError(str(error)) from error
