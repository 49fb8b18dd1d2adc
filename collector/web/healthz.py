"""Whether the collector does its work, for a machine that asks: 200 means that ratings go to the province."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flask import Flask

from ..ledger.overview import Overview
from ..ledger.since import Forwarding

_ANSWERED_MS = 120_000  # as long as a slow province takes for a try or two
_BAD = 503


class Part(NamedTuple):
    """One part of the way, and in a sentence how it stands."""

    well: bool
    words: str


def add(
    app: Flask, overview: Overview, connected: Callable[[], bool | None], forwards: bool, now_ms: Callable[[], int]
) -> None:
    """Add `/healthz` to `app`. `connected`: whether the inbox hears the broker; None if there is no inbox."""

    @app.get("/healthz")
    def healthz() -> tuple[dict[str, Any], int]:
        return _answer(parts_of(overview, connected, forwards, now_ms))


def parts_of(
    overview: Overview, connected: Callable[[], bool | None], forwards: bool, now_ms: Callable[[], int]
) -> dict[str, Part]:
    """Each part of the way, as it stands now."""
    return {
        "ledger": _ledger(overview.since.writable()),
        "inbox": _inbox(connected()),
        "province": _province(overview.since.forwarding(), forwards, now_ms()),
    }


def well(overview: Overview, connected: Callable[[], bool | None], forwards: bool, now_ms: Callable[[], int]) -> bool:
    """Whether ratings go to the province, or none waits."""
    return all(part.well for part in parts_of(overview, connected, forwards, now_ms).values())


def _answer(parts: Mapping[str, Part]) -> tuple[dict[str, Any], int]:
    wrong = [part.words for part in parts.values() if not part.well]
    return {
        "forwarding": not wrong,
        "words": wrong[0] if wrong else "正常 / well",
        "parts": {name: {"well": part.well, "words": part.words} for name, part in parts.items()},
    }, _BAD if wrong else 200


def _ledger(writable: bool) -> Part:
    if writable:
        return Part(True, "账本可写 / the ledger can be written to")
    return Part(False, "账本写不进去 / the ledger cannot be written to")


def _inbox(connected: bool | None) -> Part:
    if connected is None or connected:
        return Part(True, "收得到代理的消息 / agents can be heard")
    return Part(False, "没有连上消息服务器 / not connected to the broker")


def _province(found: Forwarding, forwards: bool, now_ms: int) -> Part:
    if not forwards:
        return Part(True, "没有配置 [province], 只收不报 / no [province]: ratings are taken and not sent")
    if found.away_since_ms is not None:
        return Part(False, "省平台不可用, 评价全部保留 / the province is away, every rating is kept")
    if found.due_since_ms is None:
        return Part(True, "没有评价等待发送 / no rating waits to be sent")
    since_ms = max(found.due_since_ms, found.answered_ms or 0)
    if now_ms - since_ms < _ANSWERED_MS:
        return Part(True, "评价正在发送 / ratings are being sent")
    return Part(False, "有评价等待, 省平台久未答复 / ratings wait, and the province has not answered for long")
