"""The whole examination: every finding about this machine, in the order in which a press travels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_agent import config, machine
from edge_agent.config import Settings
from edge_agent.machine import HERE, Account, Roots
from edge_agent.ports import PortFacts
from protocols.errors import BadSettings
from protocols.ratings import Moment
from protocols.words import Words

from . import cable, host, keypads
from .findings import Finding


def examine(
    file: Path | None, there: Sequence[PortFacts], moment: Moment, account: Account | None = None, roots: Roots = HERE
) -> list[Finding]:
    """All that is found, with the settings of `file`; without a file, what can be said of the machine alone."""
    settings, trouble = _settings(file) if file is not None else (None, [])
    windows = settings.windows if settings is not None else []
    account = account or machine.account(roots)
    return [
        *trouble,
        *cable.examine(there, windows, account, roots),
        *keypads.examine(windows, account, roots),
        *(host.examine(settings, file, moment) if settings and file else host.clock(moment.synced)),
    ]


def needs_a_person(findings: Sequence[Finding]) -> bool:
    """Whether anything is not as it should be."""
    return any(finding.severity != "ok" for finding in findings)


def _settings(file: Path) -> tuple[Settings | None, list[Finding]]:
    try:
        return config.load(file), []
    except BadSettings as error:
        zh = "; ".join(each.said("zh") for each in error.mistakes)
        en = "; ".join(each.said("en") for each in error.mistakes)
        words = Words(f"配置有误: {zh}", f"the settings are wrong: {en}")
        cure = Words("逐条改正", "correct each of them")
        return None, [Finding("settings", "bad", words, cure, f"edge-agent check --config {file}")]
