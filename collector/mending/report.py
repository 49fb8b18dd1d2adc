"""整改情况的上报行: one line for each bad rating, in the field names of a provincial export, for the hall to hand in.

No province has published an interface that takes rectifications by program, so none is spoken. The names are those of
the export that Jining and Tai'an use (处理等级 cldj … 领导批示 ldps); what a mending does not have stays empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from protocols.ratings import Level

from ..cells import harmless
from ..ledger.tally import time_text
from .mendings import Mending, Mendings, Step

FIELDS = (
    "projectNo",
    "serviceNumber",
    "satisfaction",
    "assessTime",
    "hall",
    "winname",
    "winusername",
    "cldj",
    "sfss",
    "sfhl",
    "sfeypj",
    "eypjsh",
    "nbyj",
    "zbyj",
    "zgjg",
    "sfhf",
    "hfjg",
    "sfhfang",
    "hfdc",
    "hfxx",
    "ldps",
    "appstatus",
    "deadline",
    "finished",
)
_DIGITS = {level.value: str(5 - at) for at, level in enumerate(Level)}  # 5 for the best, as every province counts
_FOUND = {  # 是否属实, 是否合理, 是否恶意评价
    "founded": ("1", "1", "0"),
    "unreasonable": ("1", "0", "0"),
    "unfounded": ("0", "0", "0"),
    "mistaken": ("0", "0", "0"),
    "malicious": ("0", "0", "1"),
}
_CALLED = {"satisfied": "满意", "not_satisfied": "不满意", "not_reached": "未接通", "unreachable": "多次联系不上"}
_STANDS = {
    "to_check": "待核查",
    "to_mend": "待整改",
    "to_answer": "待回复",
    "to_call_back": "待回访",
    "to_close": "待审批",
    "closed": "已办结",
}


def lines(mendings: Mendings, first: int, last: int, hall: str = "") -> Iterator[dict[str, str]]:
    """A line of FIELDS for each bad rating that was pressed in these days."""
    for mending in mendings.between(first, last, hall):
        yield _line(mending, mendings.steps(mending.rating))


def as_csv(rows: Iterable[dict[str, str]], fields: Iterable[str] = FIELDS) -> str:
    """As a spreadsheet opens it; what would be taken for a formula gets a ' before it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(fields), lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: harmless(value) for name, value in row.items()})
    return "\ufeff" + text.getvalue()  # without it a spreadsheet takes the bytes for another encoding


def _line(mending: Mending, steps: list[Step]) -> dict[str, str]:
    last = {step.what: step for step in steps if step.draw is None}
    founded, reasonable, malicious = _FOUND.get(mending.finding or "", ("", "", ""))
    check, answer, call, close = (last.get(what) for what in ("check", "answer", "call_back", "close"))
    return {name: "" for name in FIELDS} | {
        "projectNo": mending.case_no or "",
        "serviceNumber": str(mending.service_number),
        "satisfaction": _DIGITS[mending.level],
        "assessTime": time_text(mending.pressed_ms),
        "hall": mending.hall,
        "winname": mending.number,
        "winusername": mending.clerk or "",
        "sfss": founded,
        "sfhl": reasonable,
        "sfeypj": malicious,
        "eypjsh": _words(close) if malicious == "1" and mending.state == "closed" else "",
        "nbyj": _words(check),
        "zgjg": _words(last.get("mend")),
        "sfhf": "" if answer is None else "1" if answer.outcome == "told" else "0",
        "hfjg": _words(answer),
        "sfhfang": "" if call is None else "1" if call.outcome in ("satisfied", "not_satisfied") else "0",
        "hfdc": "" if call is None else _CALLED[call.outcome],
        "hfxx": _words(call),
        "ldps": _words(close),
        "appstatus": _STANDS[mending.state],
        "deadline": time_text(mending.deadline_ms - 1),
        "finished": "" if mending.closed_ms is None else time_text(mending.closed_ms),
    }


def _words(step: Step | None) -> str:
    return "" if step is None else step.words or ""
