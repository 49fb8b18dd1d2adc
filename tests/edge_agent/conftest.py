"""An outbox and settings of its own for each test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.outbox import Outbox
from firmware_sim.line import PtyLine

from .hall import AGENT, T0_MS
from .program import settings


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Outbox]]:
    """Opens the outbox at a path, by default always the same one; closes what it opened."""
    boxes: list[Outbox] = []

    def open_one(path: Path = tmp_path / "outbox.db", agent: str = AGENT, **options: object) -> Outbox:
        boxes.append(Outbox(path, agent, T0_MS, **options))  # type: ignore[arg-type]
        return boxes[-1]

    yield open_one
    for box in boxes:
        box.close()


@pytest.fixture
def box(opened: Callable[..., Outbox]) -> Outbox:
    return opened()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "agent.toml").write_text(settings(), encoding="utf-8")
    return tmp_path / "agent.toml"


@pytest.fixture
def panel(tmp_path) -> Iterator[PtyLine]:
    line = PtyLine(tmp_path / "panel")
    yield line
    line.close()
