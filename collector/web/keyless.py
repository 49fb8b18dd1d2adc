"""Devices that are pressed and whose keys nobody has confirmed: what waits for it, and the lines that are missing."""

from __future__ import annotations

import json
from typing import Any

from ..directory import Directory
from ..ledger.overview import Overview

LINES_MAX = 50  # nobody confirms more devices in a day, and each is a look into the ledger

Unconfirmed = dict[tuple[str, str], list[dict[str, Any]]]


def unconfirmed(
    windows: list[dict[str, Any]], unratable: list[dict[str, Any]], overview: Overview, directory: Directory
) -> Unconfirmed:
    """By agent and window its devices without a key map: `presses` that wait for one, `buttons` seen, `lines`.

    The lines give no level to any button: that is the one thing that nobody may guess.
    """
    waiting = _waiting(windows, unratable, directory)
    found: Unconfirmed = {}
    for number, ((agent, window, device), presses) in enumerate(sorted(waiting.items())):
        buttons = overview.buttons(agent, window, device) if number < LINES_MAX else []
        found.setdefault((agent, window), []).append(
            {
                "device": device,
                "presses": presses,
                "buttons": buttons,
                "lines": _lines(agent, window, device, buttons) if buttons else "",
            }
        )
    return found


def _waiting(
    windows: list[dict[str, Any]], unratable: list[dict[str, Any]], directory: Directory
) -> dict[tuple[str, str, str], int]:
    """How many presses wait for a key map, by agent, window and device; 0 where all had another fate before that."""
    waiting = {
        (row["agent"], row["window"], row["device"]): row["presses"]
        for row in unratable
        if row["reason"] == "keys_not_confirmed"
    }
    for line in windows:
        place = directory.places.get((line["agent"], line["window"]))
        # Whatever was rated there has a meaning: our own page brings it along, and stands in nobody's key map.
        if place is not None and line["in_ledger"] and not line["ratings"] and not directory.keys.get(place.device):
            waiting.setdefault((place.agent, place.window, place.device), 0)
    return waiting


def _lines(agent: str, window: str, device: str, buttons: list[int]) -> str:
    named = json.dumps(device, ensure_ascii=False)
    return f"# [[windows]] {agent}/{window}\ndevice = {named}\n{keys_to_fill(buttons)}"


def keys_to_fill(buttons: list[int]) -> str:
    """The line of a key map in which a person puts a level for each of these buttons."""
    # An empty level is refused by `collector check`: what is copied and not filled in rates nothing.
    keys = ", ".join(f'{button} = ""' for button in buttons)
    return f"keys = {{ {keys} }}" if buttons else "keys = {}"
