"""One thing that was looked at: how it stands, in words, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from protocols.words import Words

from .words import NOTHING

Severity = Literal["ok", "warn", "bad"]


@dataclass(frozen=True)
class Finding:
    """How one thing stands. `warn` works now and will not for long; `bad` does not work. Both need a person."""

    code: str
    severity: Severity
    words: Words
    cure: Words = NOTHING
    command: str = ""
    """The one command that cures it, or that leads to the cure where no command can."""


def fine(code: str, zh: str, en: str) -> Finding:
    """Nothing to do."""
    return Finding(code, "ok", Words(zh, en))


def or_fine(trouble: list[Finding], code: str, zh: str, en: str) -> list[Finding]:
    """What is wrong, or the good news that nothing is."""
    return trouble or [fine(code, zh, en)]


def as_json(finding: Finding) -> dict[str, Any]:
    """For programs: both languages, whatever the locale."""
    return {
        "code": finding.code,
        "severity": finding.severity,
        "words": {"zh": finding.words.zh, "en": finding.words.en},
        "cure": {"zh": finding.cure.zh, "en": finding.cure.en},
        "command": finding.command,
    }
