"""What came and could not be used: messages that were not ours, and presses without a meaning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from flask import Flask, render_template

from protocols.messages import SEQ_MAX

from ..directory import Directory
from ..ledger.overview import Overview
from ..ledger.tally import time_text
from ..reconcile import reconcile
from ..reconcile.words import REASONS as CURES
from .gate import Gate
from .keyless import LINES_MAX, Unconfirmed, keys_to_fill, unconfirmed
from .pages import number_asked, text_asked
from .words import REASONS, said
from .wrong import Wrong

_PAGE = 100
_ROW = 16  # bytes
_SHOWN = 16 * 1024  # bytes of one message on a page: enough to see whose it is, and all that most are
_Put = dict[tuple[str, str, str, str], str]
"""What goes into directory.toml, by reason, agent, window and device; empty quotes are for a person to fill in, and are
refused until then."""
_NAMED = {9: r"\t", 10: r"\n", 13: r"\r", 92: "\\\\"}


class Bytes(NamedTuple):
    """A row of bytes as a person reads them."""

    at: str
    hex: str
    text: str


def add(app: Flask, overview: Overview, directory: Directory, gate: Gate) -> None:
    """Put the pages into the application."""

    @app.get("/quarantine")
    def quarantine_page() -> str:
        gate.person()
        agent = text_asked("agent")
        found = overview.quarantine(_PAGE + 1, agent, number_asked("before"))
        return render_template(
            "quarantine.html",
            messages=[{**each, "begins": next(rows_of(each["begins"]), None)} for each in found[:_PAGE]],
            older=found[_PAGE - 1]["id"] if len(found) > _PAGE else None,
            agent=agent,
            agents=overview.quarantine_agents(),
            time_text=time_text,
        )

    @app.get(f"/quarantine/<int(max={SEQ_MAX}):number>")
    def message_page(number: int) -> str:
        gate.person("operator", "auditor")  # nobody knows what a stranger has put into it
        found = overview.quarantined_one(number)
        if found is None:
            raise Wrong(404, "id", f"没有第 {number} 条 / there is no message {number}")
        payload = found.pop("payload")
        return render_template(
            "quarantined.html",
            message=found,
            rows=list(rows_of(payload[:_SHOWN])),
            shown=min(len(payload), _SHOWN),
            time_text=time_text,
        )

    @app.get("/unratable")
    def unratable_page() -> str:
        gate.person()
        with overview.moment():
            rows = overview.unratable()
            windows = reconcile(overview, directory)["windows"]
            keyless = unconfirmed(windows, rows, overview, directory)
            put = {**_unplaced(rows, overview), **_unconfirmed(keyless)}
        return render_template("unratable.html", groups=_grouped(rows, put, directory))


def rows_of(payload: bytes) -> Iterator[Bytes]:
    """All of these bytes: what cannot be printed as a programmer writes it, what is no ASCII as a dot."""
    for at in range(0, len(payload), _ROW):
        row = payload[at : at + _ROW]
        yield Bytes(f"{at:05x}", row.hex(" "), "".join(map(_letter, row)))


def _letter(byte: int) -> str:
    if byte in _NAMED:
        return _NAMED[byte]
    return f"\\x{byte:02x}" if byte < 0x20 or byte == 0x7F else chr(byte) if byte < 0x7F else "·"


def _unplaced(rows: list[dict[str, Any]], overview: Overview) -> _Put:
    """What places each device of a window that the directory does not have, with the buttons that were seen there."""
    found: _Put = {}
    for row in sorted(rows, key=lambda row: -row["presses"]):
        if row["reason"] == "window_not_placed":
            at = row["agent"], row["window"], row["device"]
            # Whoever has placed so many windows looks again: a page does not look into the ledger for thousands.
            buttons = overview.buttons(*at) if len(found) < LINES_MAX else []
            agent, window, device = (json.dumps(name, ensure_ascii=False) for name in at)
            found["window_not_placed", *at] = (
                f'[[windows]]\nagent = {agent}\nwindow = {window}\nhall = ""\nnumber = ""\n'
                f"device = {device}\n{keys_to_fill(buttons)}"
            )
    return found


def _unconfirmed(keyless: Unconfirmed) -> _Put:
    return {
        ("keys_not_confirmed", agent, window, each["device"]): each["lines"]
        for (agent, window), devices in keyless.items()
        for each in devices
    }


def _grouped(rows: list[dict[str, Any]], put: _Put, directory: Directory) -> list[dict[str, Any]]:
    """By reason: its words, its cure, how many presses, and each device with the lines that place it."""
    groups = []
    for reason in dict.fromkeys(row["reason"] for row in sorted(rows, key=lambda row: -row["presses"])):
        lines = [row for row in rows if row["reason"] == reason]
        groups.append(
            {
                "reason": reason,
                "words": said(REASONS, reason),
                "cure": CURES[reason].cure if reason in CURES else "",
                "presses": sum(row["presses"] for row in lines),
                "lines": [
                    {
                        **row,
                        **_placed(row, directory),
                        "put": put.get((reason, row["agent"], row["window"], row["device"]), ""),
                    }
                    for row in lines
                ],
            }
        )
    return groups


def _placed(row: dict[str, Any], directory: Directory) -> dict[str, str]:
    place = directory.places.get((row["agent"], row["window"]))
    return {"hall": place.hall, "number": place.number} if place is not None else {"hall": "", "number": ""}
