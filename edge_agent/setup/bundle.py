"""What hall IT sends to whoever helps: one zip of how this agent stands, without secrets and without any rating."""

from __future__ import annotations

import io
import json
import platform
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from protocols import __version__

from .. import link
from ..doctor.findings import Finding, as_json
from ..doctor.inventory import as_json as port_as_json
from ..doctor.inventory import inventory
from .desk import Desk
from .toml import covered


def bundle(desk: Desk) -> bytes:
    """The zip. What the log and the settings hold of secrets is covered; presses are counted, never shown."""
    files = {
        "about.json": _json(_about(desk)),
        "agent.toml": covered(desk.text),
        "log.txt": "\n".join(
            f"{line.at_ms} {line.level} {line.name} {line.text}" for line in desk.place.lately.lines()
        ),
        "ports.json": _json([port_as_json(port) for port in inventory(link.serial_ports())]),
        "findings.json": _json(_findings(desk.examination.findings or [])),
        "windows.json": _json(_windows(desk)),
    }
    for name in desk.learnt():
        files[f"profiles/{name}"] = (desk.place.folder / name).read_text("utf-8")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in files.items():
            packed.writestr(name, text)
    return out.getvalue()


def _json(what: Any) -> str:
    return json.dumps(what, ensure_ascii=False, indent=1)


def _findings(found: Sequence[Finding]) -> list[dict[str, Any]]:
    return [as_json(finding) for finding in found]


def _about(desk: Desk) -> dict[str, Any]:
    moment, running = desk.place.now(), desk.place.running
    about: dict[str, Any] = {
        "version": __version__,
        "python": sys.version,
        "system": platform.platform(),
        "at_ms": moment.wall_ms,
        "synced": moment.synced,
        "started_ms": desk.started_ms,
    }
    if running is not None:
        backlog, tip = running.outbox.backlog(), running.outbox.tip()
        about |= {
            "agent": running.settings.agent,
            "epoch": running.outbox.epoch,
            "tip": tip[0],
            "head": tip[1],
            "backlog": backlog.records,
            "oldest_ms": backlog.oldest_ms,
            "reach": asdict(running.uplink.reach),
            "alarm": running.uplink.alarm,
        }
    return about


def _windows(desk: Desk) -> list[Any]:
    running = desk.place.running
    if running is None:
        return []
    return [msgspec.to_builtins(window.health(desk.place.now())) for window in running.windows]
