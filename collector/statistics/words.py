"""What the figures are called, as `Chinese / English`, and the figures as text for a terminal."""

from __future__ import annotations

import unicodedata
from typing import Any

from ..mending.words import CHANNELS, LEVELS

BYS = {
    "hall": "大厅 / hall",
    "window": "窗口 / window",
    "item": "事项 / item",
    "clerk": "窗口人员 / clerk",
    "channel": "渠道 / channel",
    "day": "日 / day",
    "month": "月 / month",
}
FIGURES = {
    "ratings": "评价 / ratings",
    **LEVELS,
    "good_rate": "好评率 / good",
    "coverage": "评价率 / coverage",
    "bad": "差评 / bad",
    "mistaken": "误评 / mistakes",
    "malicious": "恶意 / malicious",
    "mended_in_time": "按期办结 / in time",
    "mended_late": "逾期办结 / late",
    "mending": "整改中 / under way",
    "overdue": "逾期未结 / overdue",
    "in_time_rate": "按期率 / in-time rate",
    "days_to_mend": "平均天数 / days",
}
"""The columns, in their order."""
MEANINGS = (
    "好评率 = 前三等 ÷ 全部评价; 误评、恶意差评单列, 仍在全部评价中"
    " / good: the upper three levels ÷ all ratings; mistakes and malicious ones are counted apart, and in the total",
    "评价率 = 已评的邀请 ÷ 结束的邀请 (到时、谢绝、撤回的都算)"
    " / coverage: invitations that were rated ÷ all that ended, those taken back among them",
    "按期率 = 按期办结 ÷ (办结 + 逾期未结); 平均天数从按下到审批"
    " / in-time rate: closed in time ÷ (closed + overdue); days from the press to the approval",
    "窗口人员评价少于 10 条的只列数, 不列率 / a clerk with fewer than 10 ratings has counts and no rates",
)
RATES = ("good_rate", "coverage", "in_time_rate")


def figure(name: str, value: Any) -> str:
    """A figure as people write it; – where there is nothing that it could be of."""
    if value is None:
        return "–"
    if name in RATES:
        return f"{value:.1%}"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def called(by: str, line: dict[str, Any]) -> str:
    """What a line is of, in words of both languages."""
    name: str = line[by]
    if by == "channel":
        return CHANNELS.get(name, name)
    if by in ("hall", "window") and not name:
        return "未登记 / not placed"
    if by in ("window", "clerk"):
        return " ".join(filter(None, (line["hall"], name or "–")))
    return name or "–"


def table(found: dict[str, Any]) -> list[str]:
    """As text: a line for each, the total last."""
    rows = [[BYS[found["by"]].split(" / ")[0], *(words.split(" / ")[0] for words in FIGURES.values())]]
    rows += [_row(called(found["by"], line), line) for line in found["lines"]]
    rows += [_row("合计 total", found["total"])]
    widths = [max(_width(row[at]) for row in rows) for at in range(len(rows[0]))]
    text = ["  ".join(_padded(cell, widths[at], at) for at, cell in enumerate(row)) for row in rows]
    total = found["total"]
    return [
        f"{found['from']} – {found['to']} ({found['zone']})",
        *text,
        *(
            [f"办件 cases {total['cases']}, 其中已评 of them rated {total['cases_rated']} (各大厅合计 of all halls)"]
            if "cases" in total
            else []
        ),
        f"账本 ledger {found['heads']['ledger']}, 步骤 steps {found['heads']['steps']}",
        *MEANINGS,
    ]


def _row(name: str, line: dict[str, Any]) -> list[str]:
    return [name, *(figure(each, line[each]) for each in FIGURES)]


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)


def _padded(text: str, width: int, at: int) -> str:
    blanks = " " * (width - _width(text))
    return text + blanks if at == 0 else blanks + text
