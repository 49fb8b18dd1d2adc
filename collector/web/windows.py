"""The page of one window: how it stands, what it has, and what it has done in the last days."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from flask import Flask, render_template, request

from protocols.messages import WindowHealth
from protocols.ratings import Level, Outcome

from ..directory import Directory
from ..ledger.history import FATES, Day, History
from ..ledger.overview import Overview
from ..ledger.tally import day_of, day_text
from ..windows.live import Live
from ..windows.past import Past, PastDay
from ..windows.standing import STATES
from .gate import Gate
from .shown import Shown
from .words import EVIDENCE, FATE_WORDS, OUTCOMES, said
from .wrong import Wrong

DAYS = (7, 14, 31)
_LAST = 40  # presses that are listed
_LEVELS = tuple(level.value for level in Level)


def add(
    app: Flask,
    live: Live,
    shown: Shown,
    overview: Overview,
    directory: Directory,
    now_ms: Callable[[], int],
    gate: Gate,
    past: Past | None = None,
) -> None:
    """Add `/windows/<agent>/<window>` to `app`."""
    history: History = overview.history

    @app.get("/windows/<agent>/<path:window>")
    def window_page(agent: str, window: str) -> str:
        gate.person()
        picture = live.look()
        line = picture.line(agent, window)
        if line is None:
            raise Wrong(404, "window", "没有这个窗口 / no such window")
        health = live.said(agent, window) or WindowHealth(window, "ready")
        today, most = day_of(now_ms()), _wanted()
        days = history.days(agent, window, today - most + 1, today)
        noted = past.days(agent, window, today - most + 1, today) if past is not None else {}
        return render_template(
            "window.html",
            line=line,
            kind=STATES[line.standing.state],
            health=health,
            place=directory.places.get((agent, window)),
            keys=directory.keys_of(line.device, health.profile),
            counts=shown.of(agent, window),
            days=[_shown(day, noted.get(day.day)) for day in reversed(days)],
            levels=_LEVELS,
            outcomes=[each for each in get_args(Outcome) if any(day.outcomes[each] for day in days)],
            fates=[each for each in FATES if each != "rated" and any(day.fates[each] for day in days)],
            presses=history.presses(agent, window, _LAST)[:_LAST],
            outcome_words=OUTCOMES,
            fate_words=FATE_WORDS,
            evidence=said(EVIDENCE, health.evidence),
            most=most,
            choices=DAYS,
            first=day_text(today - most + 1),
            last=day_text(today),
        )


def _wanted() -> int:
    text = request.args.get("days", "14")
    return int(text) if text in map(str, DAYS) else 14


def _shown(day: Day, past: PastDay | None) -> dict[str, Any]:
    return {
        "day": day_text(day.day),
        "levels": day.levels,
        "ratings": sum(day.levels.values()),
        "fates": day.fates,
        "outcomes": day.outcomes,
        "ledger": _quantiles(day.to_ledger_ms),
        "province": _quantiles(day.to_province_ms),
        "past": past,
    }


def _quantiles(values: list[int]) -> tuple[float, float] | None:
    """Median and 99th percentile, in seconds; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return tuple(ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000 for share in (0.5, 0.99))  # type: ignore[return-value]
