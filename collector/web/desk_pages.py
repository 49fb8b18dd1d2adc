"""The desk of parked ratings as pages: what waits and why, one rating with all that was done, and what a person can do.

What can be done is `ledger.desk`'s; here it is put into words and forms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from flask import Flask, redirect, render_template, request

from protocols.messages import SEQ_MAX
from protocols.ratings import Held, Level
from protocols.tags import TAGS

from ..directory import Directory
from ..ledger.desk import AT_ONCE, WHY_MAX, Desk, NotSo
from ..ledger.tally import time_text
from ..people.roles import Role
from ..reconcile.words import REASONS
from . import fields
from .gate import Gate
from .language import many
from .mending import allowed as may
from .pages import number_asked
from .words import LEVELS, STATES

_PAGE = 100
_READERS: tuple[Role, ...] = ("operator", "auditor")
"""Who sees the case, and words that may name somebody; whoever only looks sees what waits where, and why."""
_AWAITING = "awaiting_case"
_NOT_AGAIN = (_AWAITING, "no_case", "damaged")  # nothing is there that could be sent
_BY_CASE = ("lacking", "case_refused", "item_not_mapped", "case_damaged", "before_service", _AWAITING)
"""What is cured by putting the case right."""
_DONE = {
    "correct": "办件已更正, 评价即将重发 / the case is put right, the rating is sent again",
    "link": "已关联办件, 评价即将上报 / linked to its case, the rating is sent",
    "send-again": "即将重发 / it is sent again",
    "as-is": "即将照发 / it is sent as it is",
    "give-up": "已记下: 不再上报 / written down: it is not to be sent",
}
_SENDING = {
    "send-again": "检查后重发: 再检查一遍, 然后再发; 仍不符合的会再次扣下。"
    " / Check and send again: checked once more, then sent; held again if nothing has changed.",
    "as-is": "照发, 不再扣下: 我方为省平台扣下的, 仍然发出, 收不收由省平台决定。"
    " / Despite the hold: what we hold back for the province's sake is sent all the same, and the"
    " province decides.",
}
"""What happens, in the same words wherever it can be done."""
_NOTED = {
    "correct": "parked_corrected",
    "link": "parked_linked",
    "send-again": "parked_sent_again",
    "as-is": "parked_sent_as_is",
    "give-up": "parked_given_up",
}
_WHATS = {
    "correct": "更正办件 / put the case right",
    "link": "关联办件 / linked to its case",
    "send_again": "重发 / sent again",
    "give_up": "不再上报 / given up",
}
_VERDICTS = {
    "accepted": "已接收 / accepted",
    "refused": "拒收 / refused",
    "unavailable": "没有办成 / not available",
    "not_made": "未发出 / not made",
    "case": "办件 / case",
    "rating": "评价 / rating",
}


class _Picked(NamedTuple):
    reason: str
    hall: str
    level: str


def add(app: Flask, desk: Desk, directory: Directory, now_ms: Callable[[], int], gate: Gate) -> None:
    """Put the pages into the application."""
    one = f"/parked/<int(max={SEQ_MAX}):rating>"
    halls = sorted({place.hall for place in directory.places.values()})

    @app.get("/parked")
    def parked_page() -> Any:
        gate.person()
        picked, number = _picked(), number_asked("number")
        if number is not None:
            return redirect(f"/parked/{number}", 303)
        return _list(picked)

    @app.post("/parked/case")
    def of_case() -> Any:
        # A form of its own: a case's number is somebody's business, and stays out of addresses.
        gate.person(*_READERS)
        gate.form()
        case_no = request.form.get("case_no", "").strip()
        found = desk.of_case(case_no) if case_no else []
        if len(found) == 1:
            return redirect(f"/parked/{found[0]}", 303)
        return _list(_Picked("", "", ""), case_no, found), 200 if found else 404

    def _list(picked: _Picked, case_no: str = "", of_case: Sequence[int] | None = None) -> str:
        rows = desk.listed(_PAGE + 1, picked.reason, number_asked("after"), picked.hall, picked.level)
        return render_template(
            "parked.html",
            rows=[_told(row) for row in rows[:_PAGE]],
            reads=may(gate, *_READERS),
            more=rows[_PAGE - 1]["id"] if len(rows) > _PAGE else None,
            paged=number_asked("after") is not None,
            reasons=[_reason(each) for each in desk.reasons()],
            names={name: words.name for name, words in REASONS.items()},
            found=desk.count(*picked),
            awaiting=desk.count(_AWAITING, picked.hall, picked.level),
            picked=picked._asdict(),
            case_no=case_no,
            of_case=of_case,
            halls=halls,
            levels=LEVELS,
            sending=_SENDING,
            done=_said_done(),
            time_text=time_text,
        )

    @app.get("/parked/send-again")
    def send_all_page() -> str:
        gate.person("operator")
        return _send_all()

    @app.post("/parked/send-again")
    def send_all() -> Any:
        who = gate.person("operator")
        gate.form()
        picked, as_is = _picked(), request.form.get("as_is") == "yes"
        if not picked.reason or picked.reason in _NOT_AGAIN:
            return _send_all(NotSo("reason", "请先选择原因 / choose a reason first")), 400
        try:
            sent = desk.send_all_again(*picked, who, _why(), as_is, now_ms())
        except NotSo as error:
            return _send_all(error), 400
        if sent:  # else what was picked may be anything that somebody typed
            about = " ".join(each for each in (f"{sent} ×", *picked, "as-is" if as_is else "") if each)
            gate.note("parked_all_sent_again", about)
        return redirect(f"/parked?sent={sent}", 303)

    def _send_all(mistake: NotSo | None = None) -> str:
        picked = _picked()
        return render_template(
            "send_again.html",
            picked=picked._asdict(),
            reason=_reason({"reason": picked.reason}),
            level=LEVELS.get(picked.level, ""),
            number=min(desk.count(*picked), AT_ONCE),
            left=max(0, desk.count(*picked) - AT_ONCE),
            as_is=request.values.get("as_is") == "yes",
            sending=_SENDING,
            why=request.form.get("why", ""),
            why_max=WHY_MAX,
            mistake=mistake,
        )

    @app.get(one)
    def one_page(rating: int) -> Any:
        gate.person()
        try:
            return _one(rating)
        except NotSo as error:
            return render_template("wrong.html", message=str(error), status=404), 404

    @app.post(f"{one}/<any('correct', 'link', 'send-again', 'as-is', 'give-up'):what>")
    def do(rating: int, what: str) -> Any:
        who = gate.person("operator")
        gate.form()
        try:
            if what == "link" and request.form.get("sure") != "yes":
                return _one(rating, link=_linked(desk))
            about = _done(rating, what, who)
        except NotSo as error:
            return _one(rating, error, what), 409 if error.field == "id" else 400
        gate.note(_NOTED[what], " ".join([f"#{rating}", *about]))
        return redirect(f"/parked/{rating}?done={what}", 303)

    def _done(rating: int, what: str, who: str) -> list[str]:
        """Do it; the names of what was changed, never what stood there."""
        why, at_ms = _why(), now_ms()
        if what == "correct":
            changed = fields.changes(request.form, desk.shown(rating)["case"] or {})
            desk.correct(rating, changed, who, why, at_ms)
            return sorted(changed)
        if what == "link":
            case_no, service_number = _service()
            desk.link(rating, case_no, service_number, who, why, at_ms)
            return [f"{case_no}/{service_number}"]
        if what == "give-up":
            desk.give_up(rating, who, why, at_ms)
        else:
            desk.send_again(rating, who, why, what == "as-is", at_ms)
        return []

    def _one(rating: int, mistake: NotSo | None = None, tried: str = "", link: dict[str, Any] | None = None) -> str:
        found = desk.shown(rating)
        told = _told(found)
        following = desk.listed(1, before=rating)
        case = found["case"] or {}
        if found["reason"] == "lacking" and found["case"] is not None:
            told["detail"] = fields.told(case, found["words"]) or told["detail"]
        return render_template(
            "parked_one.html",
            row=told,
            reads=may(gate, *_READERS),
            open=_is_open(found),
            can=_can(found, told),
            case=[(fields.WORDS[name], fields.text_of(name, value)) for name, value in case.items()],
            form=fields.form(case, found["words"] if found["reason"] == "lacking" else ""),
            given=request.form,
            attempts=found["attempts"],
            corrections=[_correction(each) for each in found["corrections"]],
            verdicts=_VERDICTS,
            sending=_SENDING,
            mistake=mistake,
            tried=tried or ("link" if link else ""),
            link=link,
            following=following[0]["id"] if following else None,
            done=_DONE.get(request.args.get("done", ""), ""),
            why_max=WHY_MAX,
            time_text=time_text,
        )


def _picked() -> _Picked:
    return _Picked(*(request.values.get(name, "") for name in _Picked._fields))


def _said_done() -> str:
    sent = number_asked("sent")
    return "" if sent is None else f"{sent} 条即将重发 / {many(sent, 'rating is', 'ratings are')} sent again"


def _why() -> str:
    return request.form.get("why", "").strip()


def _service() -> tuple[str, int]:
    case_no, number = request.form.get("case_no", "").strip(), request.form.get("service_number", "1").strip()
    if not (number.isascii() and number.isdigit() and len(number) < 3):
        raise NotSo("service_number", "服务序号: 应为 1–99 / service number: must be 1–99")
    return case_no, int(number)


def _linked(desk: Desk) -> dict[str, Any]:
    """The case that a rating is about to be linked to, for a person to compare: once, and for good."""
    case_no, service_number = _service()
    shown = desk.case_shown(case_no, service_number)
    return {
        "case_no": case_no,
        "service_number": service_number,
        "case": [(fields.WORDS[name], fields.text_of(name, value)) for name, value in shown.items()],
    }


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """With its reason in words, and what a person does about it."""
    why = row["reason"] or (_AWAITING if row["state"] == _AWAITING else "")
    name, cure = REASONS.get(why, (why, ""))
    level = Level(row["level"])
    detail = row["words"]
    if why == "lacking":
        detail = fields.named(detail)
    elif why == "before_service" and (early := re.fullmatch(r"(\d+) s", detail)):
        detail = f"按键比服务早 {early[1]} 秒 / pressed {early[1]} s before the service"
    tags = [TAGS[code].text if code in TAGS else code for code in row["tags"]]
    return row | {
        "why": why,
        "reason_words": name,
        "cure": cure,
        "level_words": LEVELS[level.value],
        "bad": level.bad,
        "state_words": STATES.get(row["state"], row["state"]),
        "detail": detail,
        "ours": detail != row["words"],  # in both languages; the province's own words are shown as they came
        "tag_words": tags,
    }


def _reason(each: dict[str, Any]) -> dict[str, Any]:
    why = each["reason"]
    name, cure = REASONS.get(why, (why, ""))
    return each | {"name": name, "cure": cure, "again": why not in _NOT_AGAIN, "as_is": _waivable(why)}


def _waivable(why: str) -> bool:
    return bool(why) and Held(why).waivable  # type: ignore[arg-type]


def _is_open(row: dict[str, Any]) -> bool:
    return row["state"] in (_AWAITING, "parked") and row["reason"] != "damaged"


def _can(row: dict[str, Any], told: dict[str, Any]) -> list[str]:
    """What makes sense to do about it, the likeliest first."""
    if not _is_open(row):
        return []
    if row["case_no"] is None:
        return ["link"] + ([] if row["reason"] == "given_up" else ["give-up"])
    # What we hold back is held back again unless it is put right, or sent as it is.
    again = [] if row["case"] is None else [*(["as-is"] if _waivable(told["why"]) else []), "send-again"]
    if row["reason"] == "given_up":
        return again
    first = told["why"] in _BY_CASE
    return [*(["correct", *again] if first else [*again, "correct"]), "give-up"]


def _correction(each: dict[str, Any]) -> dict[str, Any]:
    changes = [
        (fields.WORDS.get(name, name), *(fields.text_of(name, side[when]) for when in ("before", "after")))
        for name, side in each["changes"].items()
    ]
    return each | {"what_words": _WHATS.get(each["what"], each["what"]), "changes": changes}
