"""Writes the documents anew."""

from __future__ import annotations

import json
from pathlib import Path

from .agent import agent
from .collector import collector

FOLDER = Path(__file__).parent.parent.parent / "docs" / "openapi"
DOCUMENTS = {"agent.json": agent, "collector.json": collector}


def text(name: str) -> str:
    """As it stands in its file."""
    return json.dumps(DOCUMENTS[name](), ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    for each in DOCUMENTS:
        (FOLDER / each).write_text(text(each), encoding="utf-8")
