"""What was seen, as what is wrong, one cause for each: pure.

Whoever sees (`reading`) fills in `Seen`; nothing here asks a ledger, a disk or a clock.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from protocols.ratings import Level

from ..ledger.file import FULL, READ_ONLY
from ..ledger.tally import time_text
from .core import Found
from .kinds import BAD_RATING

SILENT_MS = 180_000  # an agent says how it is every half a minute: six of them are missing
BACKLOG_MS = 30 * 60_000
CLOCK_MS = 60_000  # a minute: halls compare times of a press by the minute
UNANSWERED_MS = 10 * 60_000
BAD_CAUSE = "bad_rating/"
"""How the cause of a bad rating begins; its press follows."""
_TOGETHER = 3  # so many agents of a hall, and more than half of them, are one trouble: the hall's power or network
_TOGETHER_STILL = 2  # until no more than so many are left
_EVERYWHERE = "everywhere"
_NUMBERS_MAX = 4  # windows of one PC that a message names: few have more, and a message is one line
_REFUSED_KEY = re.compile(r"\bHTTP 40[13]\b")
_WELL = ("ready", "inviting")
_DISK = {FULL: "没有空间 / there is no room", READ_ONLY: "存储只读 / it is read-only"}
STATES = {
    "cable_out": "线缆断开 / cable out",
    "device_silent": "设备无应答 / device silent",
    "refusing": "存储已满, 按键未收下 / storage full, presses are not taken",
}


@dataclass(frozen=True)
class WindowSeen:
    """A window as its agent said it last, `since_ms` by the centre's clock."""

    window: str
    number: str
    state: str
    since_ms: int


@dataclass(frozen=True)
class AgentSeen:
    """An agent of the directory that has been heard of."""

    agent: str
    hall: str
    online: bool
    since_ms: int
    """Since when it is online, or is not."""
    heard_ms: int
    """When it said last how it is; the start of this program if that is later, which may just not have heard yet."""
    windows: tuple[WindowSeen, ...] = ()
    oldest_ms: int | None = None
    """When the oldest record that is not receipted was written."""
    backlog: int = 0
    clock_off_ms: int = 0
    synced: bool | None = None
    alarm: str = ""


@dataclass(frozen=True)
class BadRating:
    """A bad rating that came just now. Neither case nor citizen, clerk or text: this goes into a group chat."""

    press: str
    """Of which press of which device it is: a ledger that is restored gives other numbers to the same ratings."""
    hall: str
    window: str
    level: Level
    pressed_ms: int
    came_ms: int
    rating: int = 0
    """Its number in this ledger."""


@dataclass(frozen=True)
class Unrated:
    """A window at which so many cases were closed one after the other that nobody rated, the first at `since_ms`."""

    agent: str
    window: str
    hall: str
    number: str
    cases: int
    hours: int
    """Of opening, within which they were."""
    since_ms: int


@dataclass(frozen=True)
class Work:
    """How many bad ratings' mending is due soon, and how many are overdue; when the first of each is, or was."""

    due: int = 0
    due_ms: int = 0
    overdue: int = 0
    overdue_ms: int = 0


@dataclass(frozen=True)
class Seen:
    """Everything that is looked at, at one moment."""

    at_ms: int
    agents: tuple[AgentSeen, ...] = ()
    bad_ratings: tuple[BadRating, ...] = ()
    away_since_ms: int | None = None
    away_words: str = ""
    unanswered: int = 0
    unanswered_since_ms: int | None = None
    disk: str = ""
    """Why nothing can be written, see `ledger.file.lacks`; empty if it can."""
    disk_free: int | None = None
    """Bytes, where that is little."""
    checkpoint_trouble: str = ""
    parked: int = 0
    parked_bad: int = 0
    parked_since_ms: int = 0
    keys: tuple[tuple[str, int], ...] = ()
    """By hall: presses at devices whose keys nobody has confirmed."""
    quarantined: int = 0
    """Messages that were not ours, lately."""
    quarantined_ms: int = 0
    unexplained: int = 0
    gaps: int = 0
    work: Work = Work()
    unrated: tuple[Unrated, ...] = ()
    mended: frozenset[str] = frozenset()
    """Causes of bad ratings whose mending is closed."""


def found_in(seen: Seen, open_causes: Collection[str] = ()) -> list[Found]:
    """What is wrong, each with a cause of its own. `open_causes`: of what is open already, for what keeps together."""
    return [
        *(_bad(each) for each in seen.bad_ratings),
        *_agents(seen.agents, open_causes, seen.at_ms),
        *_province(seen),
        *_centre(seen),
        *_work(seen.work, seen.at_ms),
        *map(_unrated, seen.unrated),
    ]


def place(hall: str, number: str) -> str:
    """A window as people call it."""
    return f"{hall} {number}".strip()


def _bad(rating: BadRating) -> Found:
    where = place(rating.hall, rating.window)
    at = time_text(rating.pressed_ms)
    words = f"{where} {rating.level.zh}, {at} / {where} {rating.level.value.replace('_', ' ')}, {at}"
    page = f"/mending/{rating.rating}" if rating.rating else ""
    cause = f"{BAD_CAUSE}{rating.press}"
    return Found(BAD_RATING, cause, rating.came_ms, words, rating.hall, rating.window, page=page)


# ---- agents and their windows


def _agents(agents: Sequence[AgentSeen], open_causes: Collection[str], now_ms: int) -> Iterator[Found]:
    away = {each.agent: since_ms for each in agents if (since_ms := _away_since_ms(each, now_ms)) is not None}
    halls = list(_together(agents, away, open_causes))
    yield from halls
    whole = {each.hall for each in halls}
    for agent in agents:
        cause = f"agent/{agent.agent}"
        if agent.agent in away:
            part = f"hall/{agent.hall}" if agent.hall in whole else ""
            name = _named(agent)
            words = f"{name} 离线 / {name} is away"
            yield Found("agent_away", cause, away[agent.agent], words, agent.hall, "", part, page=_page(agent))
            # What it said last is neither better nor worse as long as it says nothing.
            yield from (replace(each, part_of=cause) for each in _of_agent(agent, now_ms))
        else:
            yield from _of_agent(agent, now_ms)


def _away_since_ms(agent: AgentSeen, now_ms: int) -> int | None:
    if not agent.online:
        return agent.since_ms
    # Without a broker in between nobody says that anybody is away.
    return agent.heard_ms if now_ms - agent.heard_ms >= SILENT_MS else None


def _together(agents: Sequence[AgentSeen], away: dict[str, int], open_causes: Collection[str]) -> Iterator[Found]:
    of_hall: dict[str, list[AgentSeen]] = {}
    for each in agents:
        of_hall.setdefault(each.hall, []).append(each)
    halls = []
    for hall, there in of_hall.items():
        gone = [away[each.agent] for each in there if each.agent in away]
        if _is_one(len(gone), len(there), f"hall/{hall}" in open_causes):
            words = (
                f"{hall} {len(there)} 台电脑中 {len(gone)} 台离线 / {hall}: {len(gone)} of {len(there)} PCs are away"
            )
            halls.append(Found("hall_away", f"hall/{hall}", min(gone), words, hall))
    if len(of_hall) > 1 and _is_one(len(halls), len(of_hall), _EVERYWHERE in open_causes):
        words = (
            f"{len(of_hall)} 个大厅中 {len(halls)} 个离线, 先查消息服务器和中心网络"
            f" / {len(halls)} of {len(of_hall)} halls are away: look at the broker and the centre's network first"
        )
        since_ms = min(each.since_ms for each in halls)
        yield Found("hall_away", _EVERYWHERE, since_ms, words)
        halls = [replace(each, part_of=_EVERYWHERE) for each in halls]
    yield from halls


def _is_one(gone: int, there: int, already: bool) -> bool:
    return gone > _TOGETHER_STILL if already else gone >= _TOGETHER and 2 * gone > there


def _of_agent(agent: AgentSeen, now_ms: int) -> Iterator[Found]:
    for window in agent.windows:
        if window.state not in _WELL:
            kind = "outbox_full" if window.state == "refusing" else "window_bad"
            zh, _, en = STATES.get(window.state, window.state).partition(" / ")
            where = place(agent.hall, window.number)
            # A full disk is the PC's, and all its windows': one cause.
            cause = f"outbox/{agent.agent}" if kind == "outbox_full" else f"window/{agent.agent}/{window.window}"
            words = f"{where} {zh} / {where}: {en or zh}"
            page = _page_of(agent.agent, window.window)
            yield Found(kind, cause, min(window.since_ms, now_ms), words, agent.hall, window.number, page=page)
    name, page = _named(agent), _page(agent)
    if agent.alarm:
        zh, _, en = agent.alarm.partition(" / ")
        words = f"{name}: {zh} / {name}: {en or zh}"
        yield Found("agent_alarm", f"alarm/{agent.agent}", agent.heard_ms, words, agent.hall, page=page)
    if agent.oldest_ms is not None and agent.backlog and now_ms - agent.oldest_ms >= BACKLOG_MS:
        since = time_text(agent.oldest_ms)
        words = f"{name} 自 {since} 起有按键未上交 / {name}: records since {since} have not come"
        since_ms = agent.oldest_ms + BACKLOG_MS
        yield Found("backlog_old", f"backlog/{agent.agent}", since_ms, words, agent.hall, page=page)
    if agent.synced is False or abs(agent.clock_off_ms) >= CLOCK_MS:
        off = f"{agent.clock_off_ms / 60_000:+.0f}"
        zh, en = (
            (f"时钟差 {off} 分钟", f"its clock is off by {off} min")
            if abs(agent.clock_off_ms) >= CLOCK_MS
            else ("没有自动对时", "its clock is not being set")
        )
        words = f"{name} {zh} / {name}: {en}"
        yield Found("clock_wrong", f"clock/{agent.agent}", agent.since_ms, words, agent.hall, page=page)


def _named(agent: AgentSeen) -> str:
    """An agent by where it stands: whoever goes there looks for a window, not for a name in a file."""
    numbers = [each.number for each in agent.windows]
    more = " …" if len(numbers) > _NUMBERS_MAX else ""
    where = place(agent.hall, f"{', '.join(numbers[:_NUMBERS_MAX])}{more}")
    return f"{where} ({agent.agent})" if numbers else f"{where} {agent.agent}"


def _page(agent: AgentSeen) -> str:
    """Its window's; of an agent with several its kind's, which lists them."""
    return _page_of(agent.agent, agent.windows[0].window) if len(agent.windows) == 1 else ""


def _page_of(agent: str, window: str) -> str:
    return f"/windows/{quote(agent)}/{quote(window)}"


# ---- the province, the centre


def _province(seen: Seen) -> Iterator[Found]:
    said = _said(seen.away_words)
    if seen.away_since_ms is not None:
        # A key that is refused is ours to mend; what the province said stands behind it, and the away is the same one.
        kind = "key_refused" if _REFUSED_KEY.search(seen.away_words) else "province_away"
        yield Found(kind, kind, seen.away_since_ms, said)
    elif seen.unanswered and seen.unanswered_since_ms is not None:
        since_ms = seen.unanswered_since_ms
        if seen.at_ms - since_ms >= UNANSWERED_MS:
            since, n = time_text(since_ms), seen.unanswered
            words = f"{n} 条评价自 {since} 起未获答复 / {n} ratings have no answer since {since}"
            yield Found("province_away", "province_away", since_ms, words)
    if seen.parked:
        zh = f"{seen.parked} 条评价待处理" + (f", 其中差评 {seen.parked_bad} 条" if seen.parked_bad else "")
        en = f"{seen.parked} ratings wait" + (f", {seen.parked_bad} of them bad" if seen.parked_bad else "")
        since = time_text(seen.parked_since_ms)
        words = f"{zh}, 最早 {since} / {en}, the oldest since {since}"
        yield Found("rating_parked", "rating_parked", seen.parked_since_ms, words)


def _said(words: str) -> str:
    # A province's answer may hold anything: its status is enough for a message, the rest stands on the board.
    status = re.search(r"HTTP \d{3}", words)
    return f"它答复 {status[0]} / it answers {status[0]}" if status else "它没有答复 / it does not answer"


def _centre(seen: Seen) -> Iterator[Found]:
    if seen.disk:
        zh, _, en = _DISK[seen.disk].partition(" / ")
        words = f"{zh}, 暂不收评价 / {en}, nothing is taken"
        yield Found("disk_full", "disk_full", seen.at_ms, words)
    elif seen.disk_free is not None:
        free = f"{seen.disk_free // 1_000_000} MB"
        yield Found("disk_low", "disk_low", seen.at_ms, f"还剩 {free} / {free} left")
    if seen.checkpoint_trouble:
        yield Found("checkpoint_missing", "checkpoint_missing", seen.at_ms, seen.checkpoint_trouble)
    for hall, presses in seen.keys:
        words = f"{hall} {presses} 次按键等待确认 / {hall}: {presses} presses wait for it"
        yield Found("keys_not_confirmed", f"keys/{hall}", seen.at_ms, words, hall)
    if seen.quarantined:
        words = f"近一小时 {seen.quarantined} 种 / {seen.quarantined} kinds within the last hour"
        yield Found("quarantine_grows", "quarantine_grows", seen.quarantined_ms, words)
    if seen.unexplained:
        words = f"近几日相差 {seen.unexplained} / of the last days: {seen.unexplained}"
        yield Found("count_unexplained", "count_unexplained", seen.at_ms, words)
    if seen.gaps:
        yield Found("ledger_gap", "ledger_gap", seen.at_ms, f"缺 {seen.gaps} 段 / {seen.gaps} stretches are missing")


def _work(work: Work, now_ms: int) -> Iterator[Found]:
    if work.overdue:
        first = time_text(work.overdue_ms)
        words = f"{work.overdue} 件, 最早应于 {first} 办结 / {work.overdue}, the first was due {first}"
        yield Found("work_overdue", "work_overdue", work.overdue_ms, words)
    if work.due:
        first = time_text(work.due_ms)
        words = f"{work.due} 件, 最早 {first} 到期 / {work.due}, the first is due {first}"
        yield Found("work_due", "work_due", now_ms, words)


def _unrated(each: Unrated) -> Found:
    where = place(each.hall, each.number)
    words = (
        f"{where} 近 {each.hours} 小时上班时间内 {each.cases} 个办件结束, 无一评价"
        f" / {where}: {each.cases} cases closed within {each.hours} office hours, none of them rated"
    )
    cause, page = f"no_rating/{each.agent}/{each.window}", _page_of(each.agent, each.window)
    return Found("no_rating", cause, each.since_ms, words, each.hall, each.number, page=page)
