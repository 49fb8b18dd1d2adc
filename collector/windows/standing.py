"""What is to be said of a window: one state out of a short list, and one sentence why. Pure: facts and a time in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from protocols.words import said_in

from ..ledger.tally import day_of, time_text

State = Literal[
    "agent_away",
    "refusing",
    "cable_out",
    "device_silent",
    "alarm",
    "not_placed",
    "keys_not_confirmed",
    "no_rating",
    "backlog",
    "clock_wrong",
    "parked",
    "unknown",
    "inviting",
    "ready",
]
Look = Literal["look", "busy", "soft", "good"]


class Kind(NamedTuple):
    """How a state is called and shown: what one that sees no colours sees is its mark and its name."""

    name: str
    look: Look
    mark: str


STATES: dict[State, Kind] = {
    "agent_away": Kind("代理离线 / agent away", "look", "✕"),
    "refusing": Kind("不收按键 / refuses presses", "look", "✕"),
    "cable_out": Kind("线缆断开 / cable out", "look", "✕"),
    "device_silent": Kind("设备无应答 / device silent", "look", "✕"),
    "alarm": Kind("代理报警 / agent's alarm", "look", "▲"),
    "not_placed": Kind("窗口未登记 / not in the directory", "look", "▲"),
    "keys_not_confirmed": Kind("按键未确认 / keys not confirmed", "busy", "▲"),
    "no_rating": Kind("久无评价 / no ratings", "busy", "▲"),
    "backlog": Kind("待上交 / backlog", "busy", "▲"),
    "clock_wrong": Kind("时钟不对 / clock wrong", "busy", "▲"),
    "parked": Kind("有待处理 / parked ratings", "busy", "▲"),
    "unknown": Kind("尚无消息 / not heard of", "soft", "○"),
    "inviting": Kind("正在评价 / being rated", "good", "◐"),
    "ready": Kind("正常 / well", "good", "●"),
}
"""Every state there is, the worst first: of several that hold, the first is what is said."""
RANK: dict[State, int] = {state: rank for rank, state in enumerate(STATES)}
WELL: tuple[State, ...] = ("inviting", "ready")
"""States in which nobody has to do anything."""

UNHEARD_MS = 180_000  # an agent speaks every 30 s; what it says may be lost on the way, but not five times running
CLOCK_MS = 60_000  # a message takes seconds at most; what is off by a minute can be seen on the wall
BACKLOG_MS = 120_000  # a record on its way is no backlog; receipts come within seconds
# A citizen may always go without pressing. Seven times the usual number of cases for a rating come about by chance
# once in a thousand times; so few as to be nothing are never counted, and nobody rates while the hall has lunch.
_SILENT_TIMES = 7
_SILENT_MIN = 8
_SILENT_UNUSUAL = 20  # where nothing is known of what is usual there


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one window. Times are by the centre's clock, save those that its agent has said."""

    placed: bool = True
    online: bool | None = None
    """What its agent last said, or its will; None: never heard of."""
    online_ms: int | None = None
    """Since when that is so."""
    heard_ms: int | None = None
    """When its agent was last heard."""
    clock_off_ms: int = 0
    """How far its agent's clock is ahead."""
    said: str = ""
    """The state that its agent says the window is in; empty if it has never spoken of it."""
    said_ms: int = 0
    """Since when, by the agent's clock."""
    detail: str = ""
    alarm: str = ""
    """Of its agent."""
    backlog: int = 0
    """Records of its agent that are not receipted, and when the first was written, by the agent's clock."""
    oldest_ms: int | None = None
    keyless: int | None = None
    """Presses that wait for a key map; None where nobody waits for one."""
    parked: int = 0
    parked_bad: int = 0
    ratings: int = 0
    """Of today."""
    last_rating_ms: int | None = None
    """Of today: when it was pressed."""
    silent: int = 0
    """Cases of today that were closed without a rating since the last one."""
    usual: float | None = None
    """How many cases are closed there for each rating; None where too little is known."""


class Standing(NamedTuple):
    """What is to be said of a window, as `Chinese / English`."""

    state: State
    words: str
    since_ms: int | None = None
    """By the centre's clock, where a moment is known."""


def standing(facts: Facts, now_ms: int) -> Standing:
    """The worst that is true of this window."""
    for rule in _RULES:
        found = rule(facts, now_ms)
        if found is not None:
            return found
    return _well(facts, now_ms)


# ---- the rules, each in its place: see STATES


def _agent(facts: Facts, now_ms: int) -> Standing | None:
    if facts.online is None and facts.heard_ms is None:
        return None  # never heard of: `_unknown` says so
    if facts.online is not True:
        since_ms = facts.online_ms if facts.online_ms is not None else facts.heard_ms
        at = _at(since_ms, now_ms)
        left = facts.backlog
        zh = f"代理 {at} 起离线" + (f", 当时有 {left:,} 条待上交" if left else "")
        en = f"agent away since {at}" + (f", {_many(left, 'record was', 'records were')} waiting then" if left else "")
        return Standing("agent_away", f"{zh} / {en}", since_ms)
    heard_ms = max(facts.heard_ms or 0, facts.online_ms or 0)
    if now_ms - heard_ms > UNHEARD_MS:
        at = _at(heard_ms, now_ms)
        return Standing("agent_away", f"代理 {at} 起没有消息 / agent not heard since {at}", heard_ms)
    return None


def _refusing(facts: Facts, now_ms: int) -> Standing | None:
    return _since(facts, now_ms, "refusing", "磁盘已满, {} 起不收按键", "disk full, presses refused since {}")


def _cable(facts: Facts, now_ms: int) -> Standing | None:
    return _since(facts, now_ms, "cable_out", "线缆 {} 起断开", "cable out since {}")


def _device(facts: Facts, now_ms: int) -> Standing | None:
    return _since(facts, now_ms, "device_silent", "评价器 {} 起无应答", "device silent since {}")


def _since(facts: Facts, now_ms: int, state: State, zh: str, en: str) -> Standing | None:
    if facts.said != state:
        return None
    since_ms = facts.said_ms - facts.clock_off_ms if facts.said_ms else None
    at = _at(since_ms, now_ms)
    zh_detail, en_detail = (f" ({said_in(facts.detail, each)})" if facts.detail else "" for each in ("zh", "en"))
    return Standing(state, f"{zh.format(at)}{zh_detail} / {en.format(at)}{en_detail}", since_ms)


def _alarm(facts: Facts, now_ms: int) -> Standing | None:
    if not facts.alarm:
        return None
    zh, en = said_in(facts.alarm, "zh"), said_in(facts.alarm, "en")
    return Standing("alarm", f"代理报警: {zh} / agent's alarm: {en}")


def _place(facts: Facts, now_ms: int) -> Standing | None:
    if facts.placed:
        return None
    return Standing("not_placed", "目录中没有这个窗口, 按键只保存 / not in the directory: presses are only kept")


def _keys(facts: Facts, now_ms: int) -> Standing | None:
    if facts.keyless is None:
        return None
    zh, en = "按键未确认", "keys not confirmed"
    if facts.keyless:
        zh, en = f"{zh}, {facts.keyless:,} 次按键等待", f"{en}, {_many(facts.keyless, 'press', 'presses')} waiting"
    return Standing("keys_not_confirmed", f"{zh} / {en}")


def _silence(facts: Facts, now_ms: int) -> Standing | None:
    if facts.silent < silent_from(facts.usual):
        return None
    cases = f"{facts.silent} 个办件已结束", f"{facts.silent} cases closed"
    if facts.last_rating_ms is None:
        return Standing("no_rating", f"{cases[0]}, 今天还没有评价 / {cases[1]}, no rating yet today")
    at = _at(facts.last_rating_ms, now_ms)
    return Standing("no_rating", f"{cases[0]}, {at} 起无评价 / {cases[1]}, no rating since {at}", facts.last_rating_ms)


def silent_from(usual: float | None) -> int:
    """How many cases have to be closed without a rating before that is strange; `usual`: closed cases for a rating."""
    return _SILENT_UNUSUAL if usual is None else max(_SILENT_MIN, round(_SILENT_TIMES * usual))


def _behind(facts: Facts, now_ms: int) -> Standing | None:
    if not facts.backlog or facts.oldest_ms is None:
        return None
    oldest_ms = facts.oldest_ms - facts.clock_off_ms
    if now_ms - oldest_ms < BACKLOG_MS:
        return None
    zh, en = _long(now_ms - oldest_ms)
    many = _many(facts.backlog, "record", "records")
    return Standing("backlog", f"{facts.backlog:,} 条待上交, 最早 {zh} / {many} waiting, oldest {en}", oldest_ms)


def _clock(facts: Facts, now_ms: int) -> Standing | None:
    if abs(facts.clock_off_ms) < CLOCK_MS:
        return None
    zh, en = _long(abs(facts.clock_off_ms))
    ahead = facts.clock_off_ms > 0
    return Standing(
        "clock_wrong",
        f"时钟{'快' if ahead else '慢'} {zh} / clock {en} {'ahead' if ahead else 'behind'}",
        facts.heard_ms,
    )


def _parked(facts: Facts, now_ms: int) -> Standing | None:
    if not facts.parked:
        return None
    bad_zh = f", 其中差评 {facts.parked_bad:,} 条" if facts.parked_bad else ""
    bad_en = f", {facts.parked_bad:,} of them bad" if facts.parked_bad else ""
    many = _many(facts.parked, "rating", "ratings")
    return Standing("parked", f"{facts.parked:,} 条评价待处理{bad_zh} / {many} parked{bad_en}")


def _unknown(facts: Facts, now_ms: int) -> Standing | None:
    if facts.online is None and facts.heard_ms is None:
        return Standing("unknown", "代理还没有连接过 / its agent has never connected")
    if not facts.said:
        return Standing("unknown", "代理没有这个窗口 / its agent does not have this window")
    return None


_RULES: tuple[Callable[[Facts, int], Standing | None], ...] = (
    # Before all that an agent has said, whether it still says so.
    _agent,
    _refusing,
    _cable,
    _device,
    _alarm,
    _place,
    _keys,
    _silence,
    _behind,
    _clock,
    _parked,
    _unknown,
)


def _well(facts: Facts, now_ms: int) -> Standing:
    zh, en = "今日还没有评价", "no rating yet today"
    if facts.ratings:
        zh, en = f"今日 {facts.ratings:,} 条评价", f"{_many(facts.ratings, 'rating', 'ratings')} today"
        if facts.last_rating_ms is not None:
            at = _at(facts.last_rating_ms, now_ms)
            zh, en = f"{zh}, 最近 {at}", f"{en}, last {at}"
    if facts.said == "inviting":
        return Standing("inviting", f"正在评价: {zh} / being rated: {en}")
    return Standing("ready", f"正常: {zh} / well: {en}")


# ---- times and numbers, as a person says them


def _at(at_ms: int | None, now_ms: int) -> str:
    """`09:31`; with its date where that is not today's."""
    if at_ms is None:
        return "?"
    text = time_text(at_ms)
    if day_of(at_ms) == day_of(now_ms):
        return text[-5:]
    return text[5:] if text[:4] == time_text(now_ms)[:4] else text


def _long(length_ms: int) -> tuple[str, str]:
    """How long something takes or lies back, in the largest unit of which there are two."""
    for unit_ms, zh, en in ((86_400_000, "天", "days"), (3_600_000, "小时", "h"), (60_000, "分钟", "min")):
        if length_ms >= 2 * unit_ms:
            return f"{length_ms // unit_ms} {zh}", f"{length_ms // unit_ms} {en}"
    return f"{length_ms // 1000} 秒", f"{length_ms // 1000} s"


def _many(number: int, one: str, more: str) -> str:
    return f"{number:,} {one if number == 1 else more}"
