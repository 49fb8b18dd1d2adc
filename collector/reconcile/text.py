"""The comparison as a table of text, 100 columns wide, for somebody who has half a minute."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any

from .words import REASONS, name_of, place_of

_WIDTH = 100
_TITLES = {
    "device": ("评价器", "device"),
    "records": ("记录", "records"),
    "ledger": ("账本", "ledger"),
    "ratings": ("评价", "ratings"),
    "accepted": ("已接收", "accepted"),
    "parked": ("待处理", "parked"),
    "waiting": ("等待", "waiting"),
}
_DIFFERENCES = {
    "device_records": "评价器 − 记录 / device − records",
    "ledger_ratings": "账本 − 评价 / ledger − ratings",
    "ratings_accepted": "评价 − 已接收 / ratings − accepted",
}
_KINDS = {
    "press": "按键 presses",
    "closing": "终结 closings",
    "salvage": "抢救 salvages",
    "other": "看不懂 not understood",
}


def table(found: dict[str, Any], lately: str = "") -> Iterator[str]:
    """Its lines. With `lately`, a day as text, older lines stand there only where something is unexplained."""
    yield from _verdict(found)
    yield ""
    lines = [line for line in found["days"] if line["day"] >= lately or line["unexplained"]]
    if lines:
        yield _row("日期 / 窗口", {key: zh for key, (zh, _) in _TITLES.items()})
        yield _row("day / window", {key: en for key, (_, en) in _TITLES.items()})
    for line in lines:
        yield from _of_day(line)
    if len(lines) < len(found["days"]):
        more = len(found["days"]) - len(lines)
        yield f"更早的 {more} 行都说得清, 用 --from 查看 / {more} older lines, all explained: see them with --from"
    if found["days"]:
        yield _row("合计 total", found["total"])
    yield ""
    for agent in found["agents"]:
        yield from _of_agent(agent, found["at_ms"])


def _verdict(found: dict[str, Any]) -> Iterator[str]:
    days = (
        "全部日期 all days" if not (found["from"] or found["to"]) else f"{found['from'] or '…'} – {found['to'] or '…'}"
    )
    ok = not found["unexplained"]
    words = "全部说得清 / everything is explained" if ok else f"{found['unexplained']} {REASONS['unexplained'].name}"
    yield f"{'✓' if ok else '✗'} {words}    {days}, {found['zone']}"
    for name, key in (("差评 / bad ratings", "bad"), ("全部评价 / all ratings", "ratings")):
        yield _received(name, found[key])
    if not ok:
        yield from _wrapped(f"  → {REASONS['unexplained'].cure}", "    ")
    if found["clock_wrong"]:
        reason = REASONS["clock_wrong"]
        yield from _wrapped(f"! {found['clock_wrong']} 次按键 presses: {reason.name}; {reason.cure}", "    ")


def _received(name: str, each: dict[str, int]) -> str:
    mark = "✓" if each["received"] == each["accepted"] + each["parked"] + each["waiting"] else "✗"
    return (
        f"{mark} {name}: 收到 received {each['received']} = 已接收 accepted {each['accepted']}"
        f" + 待处理 parked {each['parked']} + 等待 waiting {each['waiting']}"
    )


def _of_day(line: dict[str, Any]) -> Iterator[str]:
    yield _row(f"{line['day']}  {line['agent']}/{line['window']}", line)
    if line["clock_wrong"]:
        yield f"    ! {REASONS['clock_wrong'].name}"
    for key, title in _DIFFERENCES.items():
        reasons = line["differences"][key]
        if reasons:
            said = "; ".join(f"{name_of(reason)} {number}" for reason, number in reasons.items())
            yield from _wrapped(f"    {title} = {sum(reasons.values())}: {said}", "        ")
    for reason, number in line["accepted_notes"].items():
        yield from _wrapped(f"    已接收之中 / of the accepted: {name_of(reason)} {number}", "        ")
    for place, number in line["unexplained"].items():
        yield from _wrapped(f"  ✗ {REASONS['unexplained'].name} {number}: {place_of(place)}", "        ")


def _of_agent(agent: dict[str, Any], now_ms: int) -> Iterator[str]:
    parts = [f"收到 received {agent['received']}"]
    for key in ("in_flight", "gap", "loss", "epoch_lost"):
        if agent[key]:
            parts.append(f"{name_of(key)} {agent[key]}")
    if agent["sent_again"]:
        parts.append(f"抢救后重新上交 / salvaged and sent again {agent['sent_again']}")
    kinds = ", ".join(f"{_KINDS.get(kind, kind)} {number}" for kind, number in agent["kinds"].items())
    yield from _wrapped(f"{agent['agent']}: 写下 written {agent['written']} = {' + '.join(parts)}  ({kinds})", "    ")
    if agent["in_flight"]:
        since = _ago(agent["in_flight_since_ms"], now_ms)
        yield f"    最早一条 oldest: {since}; 代理所说 as said: {_ago(agent['heard_ms'], now_ms)}"
    for place, number in agent["unexplained"].items():
        yield f"  ✗ {REASONS['unexplained'].name} {number}: {place_of(place)}"


def _ago(at_ms: int | None, now_ms: int) -> str:
    if at_ms is None:
        return "–"
    minutes = max(0, now_ms - at_ms) // 60_000
    return f"{minutes} 分钟前 min ago" if minutes else "刚才 just now"


def _row(name: str, numbers: dict[str, Any]) -> str:
    row = name + " " * (28 - _wide(name))
    for key in _TITLES:
        shown = "–" if numbers[key] is None else str(numbers[key])
        row += " " * (10 - _wide(shown)) + shown
    return row


def _wrapped(text: str, indent: str) -> Iterator[str]:
    line, *words = text.strip().split(" ")
    line = text[: len(text) - len(text.lstrip())] + line
    for word in words:
        if _wide(line) + 1 + _wide(word) > _WIDTH:
            yield line
            line = indent + word
        else:
            line = f"{line} {word}"
    yield line


def _wide(text: str) -> int:
    """Columns on a terminal: a Chinese character is as wide as two letters."""
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)
