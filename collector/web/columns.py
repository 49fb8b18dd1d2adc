"""What stands above each column of the tables that people take away, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..statistics import words as figures
from .language import language, say
from .sheets import Column, Kind


def column(name: str, about: str = "", kind: Kind = "text", width: int = 12) -> Column:
    """In the reader's language, with the other in parentheses: tables travel further than their readers."""
    zh, _, en = name.partition(" / ")
    first, other = (zh, en) if language() == "zh" else (en, zh)
    return Column(f"{first} ({other})" if other else first, say(about or name), kind, width)


def columns(*names: str) -> list[Column]:
    """Those of the columns below."""
    return [column(*_COLUMNS[name]) for name in names]


def of_figures(by: str) -> list[Column]:
    """The columns of the statistics."""
    kinds: dict[str, Kind] = dict.fromkeys(figures.RATES, "share")
    return [
        column(figures.BYS[by], "这一行统计的是什么 / what the line is of", "text", 26),
        *(column(words, words, kinds.get(name, "number"), 12) for name, words in figures.FIGURES.items()),
    ]


def of_line(by: str, line: Mapping[str, Any]) -> str:
    """What a line of the statistics is of: in the reader's language where the words are ours, as it stands where they
    are a hall's, a clerk's or an item's."""
    words = figures.called(by, dict(line))
    return words if by != "channel" and line[by] else say(words)


WINDOWS = ("hall", "number", "state", "why", "today", "last", "oldest", "device", "agent", "window")
RATINGS = (
    "id",
    "pressed",
    "hall",
    "number",
    "channel",
    "level",
    "tags",
    "text",
    "fate",
    "reason",
    "made",
    "settled",
    "device",
    "agent",
    "window",
    "level_code",
    "tag_codes",
    "channel_code",
    "fate_code",
    "reason_code",
)
RECONCILE = (
    "day",
    "hall",
    "number",
    "pressed_there",
    "uncounted",
    "records",
    "ledger",
    "ratings",
    "accepted",
    "parked",
    "waiting",
    "unexplained",
    "agent",
    "window",
)
PARKED = (
    "id",
    "pressed",
    "hall",
    "number",
    "level",
    "reason",
    "cure",
    "detail",
    "case",
    "clerk",
    "fate",
    "reason_code",
)
MENDING = (
    "id",
    "deadline",
    "left",
    "level",
    "hall",
    "number",
    "clerk",
    "pressed",
    "stands",
    "finding",
    "closed",
    "in_time",
)
LOG = ("line", "at", "who", "what", "from", "action", "about")

_COLUMNS: dict[str, tuple[str, str, Kind, int]] = {
    "id": (
        "编号 / number",
        "评价在账本中的编号, 各页的 # 号 / of the rating in the ledger: # on the pages",
        "number",
        10,
    ),
    "pressed": (
        "按下时间 / pressed",
        "办事人按下的时间, 窗口电脑的时钟, 北京时间 / when the citizen pressed, by the window PC's clock, Beijing time",
        "time",
        20,
    ),
    "hall": ("大厅 / hall", "directory.toml 中的大厅 / the hall in directory.toml", "text", 24),
    "number": (
        "窗口 / window",
        "窗口编号; 网站、电话等渠道没有窗口 / its number; other channels have none",
        "text",
        12,
    ),
    "channel": ("渠道 / channel", "办事人在哪里评价的 / where the citizen rated", "text", 16),
    "level": ("满意度 / level", "五级之一, 照办事人按下的 / one of the five, as it was pressed", "text", 16),
    "tags": ("评价标签 / tags", "办事人选的原因 / reasons that the citizen chose", "text", 30),
    "text": (
        "办事人原话 / in their own words",
        "办事人写下的文字, 可能写到人名, 请妥善保管 / what the citizen wrote: it may name somebody, keep it with care",
        "text",
        40,
    ),
    "fate": (
        "去向 / where it is",
        "待发送、等待办件信息、省平台已接收、待处理 / to be sent, waits for its case, accepted"
        " by the province, or parked",
        "text",
        18,
    ),
    "reason": ("为何待处理 / why it waits", "待处理的原因; 其他去向为空 / of those that wait for a person", "text", 22),
    "made": ("入账时间 / in the ledger", "进入账本的时间 / when the ledger took it", "time", 20),
    "settled": (
        "定论时间 / settled",
        "省平台接收的时间; 待处理的, 转为待处理的时间; 还没有定论的为空"
        " / when the province accepted it, or when it became parked; empty while it is under way",
        "time",
        20,
    ),
    "device": ("评价器 / device", "评价器编号 / the device's id", "text", 14),
    "agent": ("代理 / agent", "窗口电脑上的程序 / the program on the window PC", "text", 16),
    "window": (
        "代理中的窗口 / window at the agent",
        "代理配置中的窗口名 / its name in the agent's settings",
        "text",
        14,
    ),
    "level_code": (
        "满意度代码 / level code",
        "very_satisfied, satisfied, basically_satisfied, dissatisfied, very_dissatisfied",
        "text",
        20,
    ),
    "tag_codes": ("标签编号 / tag codes", "全国评价标签编号 / codes of the national tags", "text", 14),
    "channel_code": ("渠道代码 / channel code", "本系统的代码 / as this system calls it", "text", 16),
    "fate_code": ("去向代码 / code of where it is", "due, awaiting_case, accepted, parked", "text", 16),
    "reason_code": ("原因代码 / reason code", "本系统的代码 / as this system calls it", "text", 18),
    "state": ("状态 / state", "只说最要紧的一样 / the worst of several", "text", 16),
    "why": ("说明 / why", "一句原因 / why, in a sentence", "text", 40),
    "today": ("今日评价 / ratings today", "今天的评价数 / ratings of today", "number", 10),
    "last": ("最近评价 / last rating", "最近一条评价的时间 / when the last one was pressed", "time", 20),
    "oldest": (
        "最早待上交 / oldest waiting",
        "窗口电脑上还没有上交的最早一条 / of what the PC has not handed over",
        "time",
        20,
    ),
    "day": ("日期 / day", "按下的那一天, 北京时间 / of the press, Beijing time", "day", 12),
    "pressed_there": (
        "评价器计数 / device's count",
        "评价器自己数的按键 / presses that the device counted",
        "number",
        12,
    ),
    "uncounted": (
        "不计数的评价器 / device that does not count",
        "无法与评价器核对的按键 / presses that no device counts",
        "number",
        12,
    ),
    "records": ("记录 / records", "代理上交的按键记录 / records of presses that agents handed over", "number", 10),
    "ledger": ("账本 / ledger", "账本中的按键 / presses in the ledger", "number", 10),
    "ratings": ("评价 / ratings", "成为评价的按键 / presses that are ratings", "number", 10),
    "accepted": ("已接收 / accepted", "省平台已接收 / that the province has", "number", 10),
    "parked": ("待处理 / parked", "等人处理 / that wait for a person", "number", 10),
    "waiting": ("等待 / waiting", "待发送, 或等待办件信息 / to be sent, or awaiting their case", "number", 10),
    "unexplained": (
        "无法解释 / unexplained",
        "没有原因可说的差数, 应为 0 / differences without a reason: should be 0",
        "number",
        10,
    ),
    "cure": ("怎么办 / what to do", "处理的办法 / what a person does about it", "text", 50),
    "detail": ("说明, 或省平台原话 / detail, or the province's words", "", "text", 40),
    "case": (
        "办件编号 / case number",
        "办件编号/服务序号; 空: 邀请时没有给 / with the service's number; empty: none given",
        "text",
        24,
    ),
    "clerk": ("窗口人员 / clerk", "邀请时登录的窗口人员 / who served", "text", 12),
    "deadline": ("期限 / due", "这一天 24:00 之前办结 / to be closed by the end of this day", "day", 12),
    "left": (
        "剩余天数 / days left",
        "负数: 逾期的天数; 已办结的为空 / below zero: overdue; empty where it is closed",
        "number",
        10,
    ),
    "stands": ("进展 / stands", "下一步做什么 / what the next step is", "text", 16),
    "finding": ("核查结论 / found", "", "text", 14),
    "closed": ("办结时间 / closed", "审批同意的时间 / when it was approved", "time", 20),
    "in_time": ("按期 / in time", "是否在期限内办结 / whether it was closed in time", "text", 10),
    "line": ("行 / line", "审计日志的行号 / its number in the audit log", "number", 8),
    "at": ("时间 / time", "北京时间 / Beijing time", "time", 20),
    "who": (
        "人员 / person",
        "做的人; 空: 没有这个用户名, 或程序自己 / who did it; empty: nobody has that name, or the program",
        "text",
        14,
    ),
    "what": ("做了什么 / what", "", "text", 60),
    "from": ("来自 / from", "此人所在的网络地址 / where the person sat, as far as the network says", "text", 18),
    "action": ("动作代码 / action code", "日志中的原样 / as it stands in the log", "text", 20),
    "about": ("对象原样 / about", "日志中的原样 / as it stands in the log", "text", 30),
}
