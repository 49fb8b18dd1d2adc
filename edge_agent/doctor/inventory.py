"""Every serial port of this machine with all that tells it from the others, and who has it open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent import machine
from edge_agent.machine import HERE, Holder, Roots
from edge_agent.ports import PortFacts


@dataclass(frozen=True)
class Listed:
    """A port and the programs that have it open."""

    facts: PortFacts
    holders: tuple[Holder, ...]


def inventory(there: Sequence[PortFacts], roots: Roots = HERE) -> list[Listed]:
    """Each of these ports with its holders. Of other people's programs only root is told."""
    return [Listed(facts, tuple(machine.holders(facts.device, roots))) for facts in there]


def as_json(port: Listed) -> dict[str, Any]:
    """For programs; `bind` is what to put into windows.port."""
    facts = port.facts
    return {
        "device": facts.device,
        "bind": bind(facts),
        "adapter": facts.adapter or None,
        "serial": facts.serial or None,
        "location": facts.location or None,
        "links": list(facts.links),
        "driver": facts.driver or None,
        "manufacturer": facts.manufacturer or None,
        "product": facts.product or None,
        "interface": facts.interface or None,
        "holders": [{"pid": holder.pid, "command": holder.command} for holder in port.holders],
    }


def bind(facts: PortFacts) -> str:
    """The steadiest name that it has."""
    return f"usb:{facts.location}" if facts.location else facts.device
