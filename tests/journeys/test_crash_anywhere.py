"""The promise, while processes die at any call to their stores and messages are lost, doubled and shuffled."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.journeys.world import CrashingConnection, World

SEEDS = 24


@pytest.fixture(autouse=True)
def every_connection_may_be_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def crashing(*args: object, **options: object) -> sqlite3.Connection:
        return connect(*args, **{"factory": CrashingConnection, **options})  # type: ignore[arg-type]

    monkeypatch.setattr("edge_agent.outbox.sqlite3.connect", crashing)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_one_press_is_one_rating_whatever_dies(tmp_path: Path, seed: int) -> None:
    """Thanked for means at the province (or parked) once, as pressed; nothing else is there; every chain holds.

    Turns red if any rule in tests/journeys/mutations.py is broken; `make mutations` shows it.
    """
    world = World(tmp_path, seed)
    world.run()

    assert [] == world.mistakes()
    assert world.truth.thanked()


def test_the_crashes_and_losses_do_happen(tmp_path: Path) -> None:
    """A journey without them would prove nothing."""
    world = World(tmp_path, 1, crashes=0.02)
    world.run()

    assert sum(world.crashed.values()) > 20
    assert len(world.crashed) > 8
