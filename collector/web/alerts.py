"""The page of the alerts: what is wrong now, worst first, who sees to it, who was told, and what is kept quiet."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from flask import Flask, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from protocols.messages import SEQ_MAX

from ..alerts.alerts import Alerts
from ..alerts.core import Alert, Reach, Silence
from ..alerts.file import NotKept
from ..alerts.hours import ALWAYS, BadHours, hours_of, in_words
from ..alerts.kinds import BAD_RATING, KINDS, WEIGHTS
from ..ledger.tally import time_text
from .gate import Gate

_HISTORY = 50
_HOUR_MS = 3_600_000
_LASTS = {"1": 1, "4": 4, "24": 24, "168": 168}  # hours
_YEAR_MS = 366 * 24 * _HOUR_MS
_TEXT_MAX = 200
_LOOK = {"urgent": "look", "warning": "busy", "notice": ""}
_CUT = re.compile(r"[,，、;；]+")


class _Refused(Exception):
    """A form that says something that cannot be; `str` says why."""


def add(app: Flask, alerts: Alerts, gate: Gate, now_ms: Callable[[], int]) -> None:
    """Put the page and its forms into the application."""
    book = alerts.book

    @app.get("/alerts")
    def alerts_page() -> str:
        gate.person()
        return _page("", request.args.to_dict())

    @app.post(f"/alerts/<int(max={SEQ_MAX}):alert>/acknowledge")
    def alerts_acknowledge(alert: int) -> Response:
        gate.form()
        who = gate.person("operator")
        standing, _ = book.standing(now_ms())
        about = [each.found for each in standing if each.id == alert]
        if book.acknowledge(alert, who, now_ms()):
            words = (str(alert), *(word for each in about for word in (each.kind, each.hall, each.window) if word))
            gate.note("alert_acknowledged", " ".join(words))
        return redirect(url_for("alerts_page"), 303)

    @app.post("/alerts/silences")
    def alerts_silence() -> Response | tuple[str, int]:
        gate.form()
        who = gate.person("operator")
        try:
            wanted = _wanted(request.form, who, now_ms())
        except _Refused as refused:
            return _page(str(refused), request.form.to_dict()), 400
        number = book.silence(wanted)
        gate.note("alerts_silenced", f"{number} {_reach(wanted.reach)}")
        alerts.wake()
        return redirect(url_for("alerts_page"), 303)

    @app.post(f"/alerts/silences/<int(max={SEQ_MAX}):silence>/end")
    def alerts_silence_end(silence: int) -> Response:
        gate.form()
        who = gate.person("operator")
        if book.end_silence(silence, who, now_ms()):
            gate.note("silence_ended", str(silence))
        alerts.wake()
        return redirect(url_for("alerts_page"), 303)

    @app.post("/alerts/test")
    def alerts_test() -> Response | tuple[str, int]:
        gate.form()
        gate.person("administrator")
        name = request.form.get("receiver", "")
        words = alerts.test(name)
        if words is None:
            return _page("没有这个接收者 / there is no such receiver", {}), 404
        gate.note("alert_tested", name)
        return redirect(url_for("alerts_page", tested=name, failed=1 if words else None), 303)

    @app.errorhandler(NotKept)
    def not_kept(_error: NotKept) -> tuple[str, int]:
        return _page("刚才没有记下, 请再试一次 / it was not written down, please try again", {}), 503

    def _page(mistake: str, given: dict[str, Any]) -> str:
        at_ms = now_ms()
        standing, silences = book.standing(at_ms)
        listed = sorted((each for each in standing if each.closed_ms is None), key=_worst_first)
        greater = {each.cause for each in listed}
        waits = book.undelivered()
        tested = request.args.get("tested", "") if request.method == "GET" else ""
        return render_template(
            "alerts.html",
            open=[_line(each, silences, waits, at_ms) for each in listed if each.found.part_of not in greater],
            parts=sum(each.found.part_of in greater for each in listed),
            history=[_line(each, [], waits, at_ms) for each in book.history(_HISTORY)],
            receivers=[_receiver(each, book.how_told(each.name)) for each in alerts.receivers],
            silences=[_shown(each, at_ms) for each in silences],
            kinds={name: kind.name for name, kind in KINDS.items()},
            bad_rating=BAD_RATING,
            mistake=mistake,
            given=given,
            in_memory=book.in_memory,
            looked=time_text(alerts.looked_ms) if alerts.looked_ms is not None else "",
            late=alerts.looked_ms is None or at_ms - alerts.looked_ms > 60_000,
            tested=tested if any(tested == each.name for each in alerts.receivers) else "",
            test_failed="failed" in request.args,
        )


# ---- what is shown


def _worst_first(alert: Alert) -> tuple[bool, int, int]:
    return alert.acked_ms is not None, list(WEIGHTS).index(alert.weight), alert.found.since_ms


def _line(alert: Alert, silences: list[Silence], undelivered: dict[int, set[str]], at_ms: int) -> dict[str, Any]:
    kind = KINDS[alert.found.kind]
    ended_ms = alert.gone_ms or alert.closed_ms or at_ms
    quiet = next((each for each in silences if each.holds(alert.found, at_ms)), None)
    return {
        "id": alert.id,
        "page": alert.page,
        "name": kind.name,
        "words": alert.found.words,
        "cure": kind.cure,
        "weight": WEIGHTS[alert.weight],
        "look": _LOOK[alert.weight],
        "since": time_text(alert.found.since_ms),
        "ended": time_text(ended_ms),
        "lasts": _lasts(max(0, ended_ms - alert.found.since_ms)),
        "event": alert.event,
        "opens": alert.opens,
        "flapping": alert.flapping,
        "gone": alert.gone_ms is not None,
        "acked_by": alert.acked_by,
        "acked": time_text(alert.acked_ms) if alert.acked_ms is not None else "",
        "told": sorted(set(alert.told) - undelivered.get(alert.id, set())),
        "waits": sorted(undelivered.get(alert.id, ())),
        "kind": alert.found.kind,
        "hall": alert.found.hall,
        "window": alert.found.window,
        "quiet": quiet.id if quiet else None,
    }


def _lasts(ms: int) -> str:
    minutes = ms // 60_000
    days, hours = minutes // 1440, minutes // 60
    if days >= 2:
        return f"{days} 天 / {days} days"
    if hours >= 2:
        return f"{hours} 小时 / {hours} hours"
    return f"{minutes} 分钟 / {minutes} min"


def _receiver(receiver: Any, how: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": receiver.name,
        "shown": receiver.shown,
        "language": receiver.language,
        **how,
        "sent": time_text(how["sent_ms"]) if how["sent_ms"] else "",
        "failed": time_text(how["failed_ms"]) if how["failed_ms"] else "",
    }


def _shown(silence: Silence, at_ms: int) -> dict[str, Any]:
    return {
        "id": silence.id,
        "reach": [(each, KINDS[each].name if each in KINDS else each) for each in silence.reach.kinds],
        "halls": ", ".join(silence.reach.halls),
        "windows": ", ".join(silence.reach.windows),
        "from": time_text(silence.from_ms),
        "until": time_text(silence.until_ms),
        "weekly": in_words(silence.weekly_text) if silence.weekly_text else "",
        "reason": silence.reason,
        "who": silence.who,
        "coming": silence.from_ms > at_ms,
    }


def _reach(reach: Reach) -> str:
    return " ".join(",".join(each) or "*" for each in (reach.kinds, reach.halls, reach.windows))


# ---- what is wanted


def _wanted(form: Any, who: str, at_ms: int) -> Silence:
    kind = _text(form, "kind")
    if kind and kind not in KINDS:
        raise _Refused("没有这一类 / there is no such kind")
    reason = _text(form, "reason")
    if not reason:
        raise _Refused("请写明原因 / please say why")
    lasts = _LASTS.get(_text(form, "lasts"))
    if lasts is None:
        raise _Refused("请选多久 / please choose how long")
    weekly = _text(form, "weekly")
    try:
        hours = hours_of(weekly) if weekly else ALWAYS
    except BadHours:
        raise _Refused(
            "每周时段应如 Mon-Fri 18:00-24:00 或 周六 08:00-12:00 / weekly times look like Mon-Fri 18:00-24:00"
        ) from None
    # What is to be quiet every week is meant for longer than a day.
    until_ms = at_ms + (_YEAR_MS if weekly else lasts * _HOUR_MS)
    reach = Reach((kind,) if kind else (), _globs(form, "hall"), _globs(form, "window"))
    return Silence(reach, at_ms, until_ms, reason, who, hours, weekly, at_ms)


def _text(form: Any, name: str) -> str:
    text = str(form.get(name, "")).strip()
    if len(text) > _TEXT_MAX or any(ord(each) < 32 for each in text):
        raise _Refused(f"太长或有控制字符 / too long, or with control characters: {name}")
    return text


def _globs(form: Any, name: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in _CUT.split(_text(form, name)) if each.strip())
