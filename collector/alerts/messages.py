"""What a receiver reads: notes become messages, one by one as long as they are few, counted when they are many. Pure.

At most so many a minute: the last one of a minute is a digest of all that wait. What waited because the receiver could
not be reached comes as one too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from protocols.words import Language, said_in

from ..ledger.tally import time_text
from .core import What
from .kinds import KINDS, WEIGHTS, Weight

MINUTE_MS = 60_000
LATE_MS = 3 * MINUTE_MS
BYTES_MAX = 1900  # WeCom's robot takes 2048 bytes of UTF-8, and a mark of being late has to fit too
_LINES_MAX = 12
_WHAT: dict[What, str] = {
    "opened": "报警 / Alert",
    "flapping": "时好时坏 / Comes and goes",
    "reminded": "仍未恢复 / Still so",
    "resolved": "已恢复 / Right again",
}


@dataclass(frozen=True)
class Due:
    """A note as it is kept until it is part of a message."""

    id: int
    what: What
    at_ms: int
    weight: Weight
    kind: str
    hall: str
    words: str
    since_ms: int
    opens: int = 1
    ended_ms: int | None = None
    page: str = ""
    """Its kind's, if empty."""


@dataclass(frozen=True)
class Message:
    """What is sent, and which notes it tells."""

    notes: tuple[int, ...]
    title: str
    body: str


def next_message(
    dues: Sequence[Due], lately_ms: Sequence[int], per_minute: int, language: Language, link: str, now_ms: int
) -> Message | None:
    """The next one of these notes; None if there are none, or enough was sent in the last minute, see `lately_ms`."""
    room = per_minute - sum(now_ms - each < MINUTE_MS for each in lately_ms)
    if not dues or room <= 0:
        return None
    heaviest = list(WEIGHTS)
    ordered = sorted(dues, key=lambda each: (heaviest.index(each.weight), each.at_ms, each.id))
    waited = len(dues) > 2 and now_ms - min(each.at_ms for each in dues) >= LATE_MS
    if len(dues) > 1 and (room == 1 or waited):
        return digest(ordered, language, link)
    return single(ordered[0], language, link)


def single(due: Due, language: Language, link: str) -> Message:
    """One note."""
    kind = KINDS[due.kind]
    event = kind.event and due.what == "opened"
    name = said_in(kind.name, language)
    head = _head(due, language)
    lines = [said_in(due.words, language)]
    if due.what == "resolved":
        lines.append(_lasted(due, language))
    elif due.what == "flapping":
        lines.append(
            _either(
                language,
                f"已出现 {due.opens} 次, 稳定半小时前不再重复通知",
                f"{due.opens} times; told again once calm for half an hour",
            )
        )
    elif not event:
        lines.append(_either(language, f"自 {time_text(due.since_ms)} 起", f"since {time_text(due.since_ms)}"))
    if due.what != "resolved":
        lines.append(said_in(kind.cure, language))
    return Message(
        (due.id,),
        _cut(f"{head}{name}", 120),
        _cut("\n".join([*lines, *_linked(link, due.page or kind.page)]), BYTES_MAX - 160),
    )


def digest(dues: Sequence[Due], language: Language, link: str) -> Message:
    """All of them, counted by kind and hall, with the first lines."""
    title = _either(language, f"【汇总】{len(dues)} 条通知", f"[Digest] {len(dues)} notices")
    counted = Counter((each.what, each.kind, each.hall) for each in dues)
    lines = [
        f"{said_in(_WHAT[what], language)} · {said_in(KINDS[kind].name, language)}{f' · {hall}' if hall else ''}: {n}"
        for (what, kind, hall), n in counted.most_common(_LINES_MAX)
    ]
    if len(counted) > _LINES_MAX:
        more = sum(counted.values()) - sum(n for _, n in counted.most_common(_LINES_MAX))
        lines.append(_either(language, f"其他: {more}", f"others: {more}"))
    lines += ["", *(f"- {time_text(each.at_ms)[5:]} {said_in(each.words, language)}" for each in dues)]
    tail = "\n".join(_linked(link))
    return Message(tuple(each.id for each in dues), title, _fitting(lines, tail, BYTES_MAX - 160, language))


def marked_late(title: str, made_ms: int, language: Language, now_ms: int) -> str:
    """The title of a message that is sent only now, and since when it waited."""
    if now_ms - made_ms < LATE_MS:
        return title
    return _either(
        language, f"(迟到, {time_text(made_ms)[5:]} 的) {title}", f"(late, of {time_text(made_ms)[5:]}) {title}"
    )


def test_message(receiver: str, language: Language, link: str) -> tuple[str, str]:
    """Title and body of what an administrator sends to see whether it arrives."""
    title = _either(language, "【测试】好差评报警", "[Test] Rating alerts")
    said = _either(
        language,
        f"这是一条测试消息, 说明 {receiver} 收得到报警, 无需处理",
        f"This is a test: {receiver} receives alerts. Nothing is wrong",
    )
    return title, "\n".join([said, *_linked(link)])


def _head(due: Due, language: Language) -> str:
    what = said_in(_WHAT[due.what], language)
    if due.what == "opened":
        what = said_in(WEIGHTS[due.weight], language)
    return _either(language, f"【{what}】", f"[{what}] ")


def _lasted(due: Due, language: Language) -> str:
    minutes = max(0, (due.ended_ms or due.at_ms) - due.since_ms) // MINUTE_MS
    since, until = time_text(due.since_ms), time_text(due.ended_ms or due.at_ms)
    times = _either(language, f", 共 {due.opens} 次", f", {due.opens} times") if due.opens > 1 else ""
    return _either(language, f"{since} 至 {until}, {minutes} 分钟{times}", f"{since} to {until}, {minutes} min{times}")


def _linked(link: str, page: str = "/alerts") -> list[str]:
    return [f"{link.rstrip('/')}{page}"] if link else []


def _either(language: Language, zh: str, en: str) -> str:
    return zh if language == "zh" else en


def _cut(text: str, most: int) -> str:
    raw = text.encode()
    return text if len(raw) <= most else raw[: most - 3].decode("utf-8", "ignore") + "…"


def _fitting(lines: Sequence[str], tail: str, most: int, language: Language) -> str:
    """As many whole lines as fit, and how many do not."""
    room = most - len(tail.encode()) - 60
    kept: list[str] = []
    for line in lines:
        room -= len(line.encode()) + 1
        if room < 0:
            left = len(lines) - len(kept)
            kept.append(_either(language, f"…另有 {left} 行", f"… and {left} more lines"))
            break
        kept.append(line)
    return "\n".join([*kept, *([tail] if tail else [])])
