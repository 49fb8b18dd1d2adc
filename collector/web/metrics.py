"""Figures for whoever watches many machines, as Prometheus reads them. Names stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from flask import Flask, Response

from protocols import __version__

from ..ledger.overview import Overview
from ..windows.live import Live, Picture
from ..windows.standing import STATES
from .shown import Shown
from .wrong import Wrong

_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Sample = tuple[Mapping[str, str], float]


class Metric(NamedTuple):
    """One figure with all its labels."""

    name: str
    kind: str
    about: str
    samples: Iterable[Sample]


def add(
    app: Flask, live: Live, shown: Shown, overview: Overview, may_read: Callable[[], bool], now_ms: Callable[[], int]
) -> None:
    """Add `/metrics` to `app`, for whoever shows a token: behind a proxy everybody would seem to be on this machine."""

    @app.get("/metrics")
    def metrics() -> Response:
        if not may_read():
            words = "令牌不对 / wrong token, expected Bearer <web.metrics_token>, or <web.token>"
            raise Wrong(401, "Authorization", words)
        picture = live.look()
        found = figures(picture, shown.last["summary"], overview.since.size(), now_ms())
        return Response(text(found), content_type=_TYPE)


def figures(picture: Picture, summary: dict[str, Any], ledger_bytes: int, now_ms: int) -> list[Metric]:
    """All of them, of one moment."""
    states, agents = picture.states(), picture.agents
    away_ms, unanswered = summary["province"]["away_since_ms"], summary["unanswered"]
    return [
        Metric("hall_rating_build_info", "gauge", "Which program this is.", [({"version": __version__}, 1)]),
        Metric(
            "hall_rating_ratings_received",
            "counter",
            "Ratings in the ledger; all of them, and the bad ones among them.",
            [({"of": name}, summary[key]["received"]) for name, key in _OF.items()],
        ),
        Metric(
            "hall_rating_ratings",
            "gauge",
            "What became of them: received = accepted + waiting + parked.",
            [
                ({"of": name, "state": state}, summary[key][state])
                for name, key in _OF.items()
                for state in ("accepted", "waiting", "parked")
            ],
        ),
        Metric(
            "hall_rating_ratings_parked",
            "gauge",
            "Parked ratings by reason.",
            [({"reason": reason}, n) for reason, n in sorted(summary["parked"].items())],
        ),
        Metric(
            "hall_rating_bad_ratings_parked",
            "gauge",
            "Parked bad ratings by reason.",
            [({"reason": reason}, n) for reason, n in sorted(summary["bad_parked"].items())],
        ),
        _one("hall_rating_ratings_flagged", "gauge", "Ratings that the province had before us.", summary["flagged"]),
        Metric(
            "hall_rating_presses",
            "gauge",
            "Presses in the ledger by what became of them.",
            [({"fate": fate}, n) for fate, n in sorted(summary["fates"].items())],
        ),
        _one("hall_rating_records_received", "counter", "Records in the ledger.", summary["records"]),
        _one("hall_rating_ledger_gaps", "gauge", "Gaps in the ledger: look for a backup.", summary["gaps"]),
        _one("hall_rating_messages_quarantined", "counter", "Messages that were not ours.", summary["quarantined"]),
        _one("hall_rating_backlog_records", "gauge", "Records that agents have not handed over.", agents.backlog),
        _one(
            "hall_rating_backlog_oldest_seconds",
            "gauge",
            "How old the oldest of them is.",
            _seconds(agents.oldest_ms, now_ms),
        ),
        _one("hall_rating_agents", "gauge", "Agents in the directory.", agents.placed),
        _one("hall_rating_agents_online", "gauge", "Agents that are connected.", agents.online),
        Metric(
            "hall_rating_windows",
            "gauge",
            "Windows by state; each is in one.",
            [({"state": state}, states[state]) for state in STATES],
        ),
        _one(
            "hall_rating_province_away_seconds",
            "gauge",
            "For how long the province has been away; 0 if it is not.",
            _seconds(away_ms, now_ms),
        ),
        _one("hall_rating_unanswered_ratings", "gauge", "Ratings sent without an answer.", unanswered["ratings"]),
        _one(
            "hall_rating_unanswered_seconds",
            "gauge",
            "For how long the first of them has waited.",
            _seconds(unanswered["since_ms"], now_ms),
        ),
        _one("hall_rating_ledger_bytes", "gauge", "Size of the ledger with its log.", ledger_bytes),
        _one(
            "hall_rating_counted_timestamp_seconds",
            "gauge",
            "When the ledger was counted for these figures.",
            summary["at_ms"] / 1000,
        ),
    ]


_OF = {"all": "ratings", "bad": "bad"}


def _one(name: str, kind: str, about: str, value: float) -> Metric:
    return Metric(name, kind, about, [({}, value)])


def _seconds(since_ms: int | None, now_ms: int) -> float:
    return max(0, now_ms - since_ms) / 1000 if since_ms is not None else 0


def text(metrics: Iterable[Metric]) -> str:
    """In Prometheus' own words; the total of a counter ends in `_total`."""
    lines = []
    for metric in metrics:
        name = f"{metric.name}_total" if metric.kind == "counter" else metric.name
        lines += [f"# HELP {name} {metric.about}", f"# TYPE {name} {metric.kind}"]
        for labels, value in metric.samples:
            shown = ",".join(f'{key}="{_escaped(of)}"' for key, of in labels.items())
            lines.append(f"{name}{{{shown}}} {value}" if shown else f"{name} {value}")
    return "\n".join([*lines, ""])


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
