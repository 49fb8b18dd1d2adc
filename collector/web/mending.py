"""差评整改 for people: the lists, and each bad rating with its steps and the form for the next one.

Everybody who is signed in sees how things stand; what people wrote is for those who work on it and those who audit it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flask import Flask, redirect, render_template, request

from protocols.messages import SEQ_MAX
from protocols.tags import TAGS

from ..ledger.desk import NotSo
from ..ledger.tally import day_of, day_text, time_text
from ..mending import words as w
from ..mending.mendings import TABS, WORDS_MAX, Mending, Mendings
from ..mending.states import NEEDS_WORDS, WORK, may_close
from ..people.roles import Role
from .gate import Gate
from .wrong import Wrong

_ONE = f"/mending/<int(max={SEQ_MAX}):rating>"
_PAGE = 50
_BY: dict[str, tuple[Role, ...]] = {"close": ("auditor",), "reopen": ("operator", "auditor")}
"""Who may note which kind of step; all others are an operator's."""
_NEXT = {
    "to_check": "下一步: 处理人员核查差评是否属实 / next: an operator finds out whether it is true",
    "to_mend": "下一步: 处理人员整改, 写明做了什么 / next: an operator mends it, and writes down how",
    "to_answer": "下一步: 处理人员告知办事人结果 / next: an operator tells the citizen what came of it",
    "to_call_back": "下一步: 处理人员回访办事人 / next: an operator calls the citizen back",
    "to_close": "下一步: 由没有办理过这一项的审计人员或管理员审批, 同意办结或退回重办"
    " / next: an auditor or administrator who has not worked on it approves it, or sends it back",
    "closed": "",
}
"""Of each state, what is to be done next, and by whom."""
_READERS: tuple[Role, ...] = ("operator", "auditor")


def add(app: Flask, mendings: Mendings, halls: Sequence[str], now_ms: Callable[[], int], gate: Gate) -> None:
    """Put the pages into the application; `halls` can be chosen."""

    @app.get("/mending")
    def mending_page() -> str:
        gate.person()
        at_ms, tab, chosen = now_ms(), request.args.get("tab", "open"), _chosen()
        if tab not in TABS:
            raise Wrong(400, "tab", f"tab: 应为 / must be {', '.join(TABS)}")
        page = _page()
        rows = mendings.listed(tab, at_ms, _PAGE + 1, page * _PAGE, **chosen)  # type: ignore[arg-type]
        return render_template(
            "mending.html",
            rows=[_row(each, at_ms) for each in rows[:_PAGE]],
            more=len(rows) > _PAGE,
            page=page,
            tab=tab,
            counts=mendings.counts(at_ms, **chosen),
            chosen=chosen,
            halls=halls,
            days=mendings.rules.days,
            w=w,
        )

    @app.get(_ONE)
    def mending_one(rating: int) -> str:
        gate.person()
        return _shown(rating, {}, None)

    @app.post(_ONE)
    def mending_step(rating: int) -> Any:
        what, _, outcome = request.form.get("move", "").partition(":")
        who = gate.person(*_BY.get(what, ("operator",)))
        gate.form()
        words, seen = request.form.get("words", ""), request.form.get("seen", "")
        try:
            if not what:
                raise NotSo("move", "请选择这一步做了什么 / choose what this step was")
            last = int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 19 else -1
            mendings.take(rating, what, outcome, words, who, last, now_ms())
        except NotSo as error:
            return _shown(rating, {"move": request.form.get("move", ""), "words": words}, error), 400
        gate.note(f"mending_{what}", f"#{rating} {outcome}")
        return redirect(f"/mending/{rating}#steps", 303)

    def _shown(rating: int, given: dict[str, str], mistake: NotSo | None) -> str:
        at_ms = now_ms()
        try:
            found = mendings.found(rating)
        except NotSo as error:
            raise Wrong(404, "id", str(error)) from error
        reads = allowed(gate, *_READERS)
        steps = mendings.steps(rating)
        own = not may_close([each.who for each in steps if each.draw is None and each.what in WORK], gate.person())
        possible = mendings.can(found)
        can = [
            (what, outs)
            for what, outs in possible
            if allowed(gate, *_BY.get(what, ("operator",))) and not (what == "close" and own)
        ]
        said = mendings.said(rating)
        return render_template(
            "mending_one.html",
            row=_row(found, at_ms),
            steps=[{**vars(each), "at": time_text(each.at_ms)} for each in steps],
            tags=[f"{code} {TAGS[code].text}" if code in TAGS else code for code in said["tags"]],
            text=said["text"] if reads else "",
            case=mendings.case(found) if reads else None,
            reads=reads,
            can=can,
            usual=possible[0][0],
            following=_NEXT[found.state],
            own=own and found.state == "to_close" and allowed(gate, "auditor"),
            needs={f"{what}:{outcome}" for what, outcome in NEEDS_WORDS},
            given=given,
            mistake=mistake,
            words_max=WORDS_MAX,
            w=w,
        )


def allowed(gate: Gate, *roles: Role) -> bool:
    """Whether who asks has one of these roles; nobody is refused for the question."""
    try:
        gate.person(*roles)
    except Wrong:
        return False
    return True


def _row(each: Mending, at_ms: int) -> dict[str, Any]:
    left = each.days_left(at_ms)
    return {
        **vars(each),
        "pressed": time_text(each.pressed_ms),
        "deadline": f"{day_text(day_of(each.deadline_ms - 1))} 24:00",
        "closed": time_text(each.closed_ms) if each.closed_ms is not None else "",
        "in_time": each.in_time(),
        "left": left,
        "pace": "good" if each.closed_ms is not None else "look" if left < 0 else "busy" if left <= 3 else "calm",
    }


def _chosen() -> dict[str, str]:
    return {name: request.args.get(name, "").strip() for name in ("hall", "number", "clerk")}


def _page() -> int:
    text = request.args.get("page", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise Wrong(400, "page", "page: 应为数字 / must be a number")
    return int(text)
