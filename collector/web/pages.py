"""What several pages ask of the address that they are called by."""

from __future__ import annotations

from flask import request

from protocols.messages import SEQ_MAX

from .wrong import Wrong


def number_asked(name: str) -> int | None:
    """A whole number behind the question mark; None if there is none, Wrong if it is something else."""
    text = request.args.get(name, "").strip().removeprefix("#")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= SEQ_MAX):
        raise Wrong(400, name, f"{name}: 应为编号 / must be a number")
    return int(text)


def text_asked(name: str) -> str:
    """What stands behind the question mark under this name; empty if nothing does."""
    return request.args.get(name, "").strip()
