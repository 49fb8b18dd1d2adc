"""The tables that people take away, row by row from where each is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from protocols.tags import TAGS

from ..directory import Directory
from ..ledger.desk import Desk
from ..ledger.overview import Overview
from ..ledger.tables import Tables
from ..ledger.tally import day_number, day_of, day_text, time_text
from ..mending import words as mended
from ..mending.mendings import TABS, Mendings
from ..reconcile.balance import NUMBERS, balance
from ..reconcile.words import REASONS
from ..statistics import ITEMS_MAX, Statistics, TooMany
from ..statistics import words as figures
from ..statistics.figures import BYS
from ..windows.live import Live
from ..windows.standing import STATES
from . import columns, fields
from .language import say
from .sheets import Cell, Column, Table
from .words import LEVELS, WORDS, said
from .wrong import Wrong

_TOGETHER = 500
_WHERE = "数据取自账本的副本, 改动本表不会改动评价 / a copy of what the ledger has: a change here changes no rating"
_BEIJING = "时间都是北京时间 / all times are Beijing time"


class Works(Protocol):
    """What is done about ratings, and what is counted of them."""

    @property
    def mendings(self) -> Mendings: ...

    @property
    def statistics(self) -> Statistics: ...


def windows(live: Live, at_ms: int) -> Table:
    """How each window stands now."""

    def rows() -> Iterator[Sequence[Cell]]:
        for line in live.look().lines:
            yield [
                line.hall,
                line.number,
                say(STATES[line.standing.state].name),
                say(line.standing.words),
                line.ratings,
                line.last_ms or None,
                line.oldest_ms or None,
                line.device,
                line.agent,
                line.window,
            ]

    return _table(_now("windows", at_ms), "窗口 / windows", columns.columns(*columns.WINDOWS), rows(), at_ms)


def ratings(tables: Tables, first: int, last: int, text: bool, window: str, at_ms: int) -> Table:
    """The ratings of these days, of one window (`agent/window`) if it is named; with what citizens wrote if `text`."""

    def rows() -> Iterator[Sequence[Cell]]:
        for row in tables.ratings(first, last, window):
            codes = row["tags"].split(",") if row["tags"] else []
            yield [
                row["id"],
                row["pressed_ms"],
                row["hall"],
                row["number"],
                say(mended.CHANNELS.get(row["channel"], row["channel"])),
                say(LEVELS[row["level"]]),
                ", ".join(TAGS[code].text if code in TAGS else code for code in codes),
                *([row["text"]] if text else []),
                say(said(WORDS, row["state"])),
                _reason(row["reason"]),
                row["made_ms"],
                row["settled_ms"],
                row["device"],
                row["agent"],
                row["window"],
                row["level"],
                row["tags"],
                row["channel"],
                row["state"],
                row["reason"],
            ]

    names = [each for each in columns.RATINGS if text or each != "text"]
    name = f"ratings-{day_text(first)}-{day_text(last)}{'-text' if text else ''}"
    return _table(name, "评价 / ratings", columns.columns(*names), rows(), at_ms)


def reconcile(overview: Overview, directory: Directory, first: int, last: int, window: str, at_ms: int) -> Table:
    """The lines of the reconciliation."""
    found = balance(overview.days, directory, at_ms, first, last, window)
    rows = (
        [
            day_number(line["day"]),
            line["hall"] or "",
            line["number"] or "",
            *(line[name] for name in NUMBERS),
            sum(map(abs, line["unexplained"].values())),  # one too many and one too few are two
            line["agent"],
            line["window"],
        ]
        for line in found["days"]
    )
    name = f"reconcile-{day_text(first)}-{day_text(last)}"
    return _table(name, "对账 / reconciliation", columns.columns(*columns.RECONCILE), rows, at_ms)


def parked(desk: Desk, picked: Sequence[str], at_ms: int) -> Table:
    """What waits for somebody on the desk, picked as there."""
    reason, hall, level = picked

    def rows() -> Iterator[Sequence[Cell]]:
        after = None
        while found := desk.listed(_TOGETHER, reason, after, hall, level):
            yield from map(_parked, found)
            after = found[-1]["id"]

    return _table(_now("parked", at_ms), "待处理 / parked", columns.columns(*columns.PARKED), rows(), at_ms)


def _parked(row: Mapping[str, Any]) -> Sequence[Cell]:
    why = str(row["reason"] or (row["state"] if row["state"] == "awaiting_case" else ""))
    detail = str(row["words"] or "")
    if why == "lacking":
        detail = ", ".join(say(fields.WORDS.get(name, name)) for name in detail.split(", "))
    return [
        row["id"],
        row["pressed_ms"],
        row["hall"],
        row["number"],
        say(LEVELS[row["level"]]),
        _reason(why),
        say(REASONS[why].cure) if why in REASONS else "",
        detail,
        f"{row['case_no']}/{row['service_number']}" if row["case_no"] else "",
        row["clerk"],
        say(said(WORDS, row["state"])),
        why,
    ]


def mending(mendings: Mendings, tab: str, picked: Mapping[str, str], at_ms: int) -> Table:
    """A tab of the list of bad ratings, without anybody's words."""
    if tab not in TABS:
        raise Wrong(400, "tab", f"tab: 应为 / must be {', '.join(TABS)}")

    def rows() -> Iterator[Sequence[Cell]]:
        for each in mendings.listed(tab, at_ms, -1, **picked):  # type: ignore[arg-type]
            closed = each.closed_ms is not None
            yield [
                each.rating,
                day_of(each.deadline_ms - 1),
                None if closed else each.days_left(at_ms),
                say(LEVELS[each.level]),
                each.hall,
                each.number or say(mended.CHANNELS.get(each.channel, each.channel)),
                each.clerk,
                each.pressed_ms,
                say(mended.STATES[each.state]),
                say(mended.FINDINGS[each.finding]) if each.finding else "",
                each.closed_ms,
                say("是 / yes" if each.in_time() else "否 / no") if closed else "",
            ]

    return _table(_now(f"mending-{tab}", at_ms), "整改 / mending", columns.columns(*columns.MENDING), rows(), at_ms)


def statistics(counted: Statistics, first: int, last: int, by: str, hall: str, at_ms: int) -> Table:
    """The statistics of these days, the total last."""
    if by not in BYS:
        raise Wrong(400, "by", f"by: 应为 / must be {', '.join(BYS)}")
    try:
        found = counted.of(first, last, by, hall, at_ms, ITEMS_MAX)  # type: ignore[arg-type]
    except TooMany as error:
        raise Wrong(400, "by", str(error)) from error
    rows = [[columns.of_line(by, line), *(line[name] for name in figures.FIGURES)] for line in found["lines"]]
    rows.append([say("合计 / total"), *(found["total"][name] for name in figures.FIGURES)])
    name = f"statistics-{found['from']}-{found['to']}-{by}"
    notes = [f"{found['from']} – {found['to']} {hall}".strip(), *map(say, figures.MEANINGS)]
    return _table(name, "统计 / statistics", columns.of_figures(by), iter(rows), at_ms, notes)


def _table(
    name: str, title: str, of: list[Column], rows: Iterator[Sequence[Cell]], at_ms: int, notes: Sequence[str] = ()
) -> Table:
    made = f"{say('制表 / made')} {time_text(at_ms)}"
    return Table(name, say(title), say("说明 / about"), of, rows, [made, say(_BEIJING), *notes, say(_WHERE)])


def _now(name: str, at_ms: int) -> str:
    return f"{name}-{time_text(at_ms).replace(' ', '-').replace(':', '')}"


def _reason(reason: str) -> str:
    return say(REASONS[reason].name) if reason in REASONS else reason
