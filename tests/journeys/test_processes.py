"""The promise on real processes with a real mosquitto, killed in turn while presses go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware_sim.demo import Demo, Display
from tests.brokers import mosquitto_or_skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 4])
def test_killing_agent_collector_and_broker_in_turn_costs_nothing(tmp_path: Path, seed: int) -> None:
    """kill -9 of each while panels bounce, cables come out and the province answers badly: four zeros, whole chains.

    Turns red if an ack goes out before the press is kept, if records are deleted when they are sent, and if an
    unanswered call counts as accepted (tests/journeys/mutations.py).
    """
    mosquitto_or_skip()
    demo = Demo(tmp_path, seconds=15, faults=True, seed=seed, broker="mosquitto")
    try:
        show = Display(demo.up())
        demo.run(show)
        demo.drain(show)
    finally:
        demo.down()
    figures, mistakes = demo.figures(0)

    assert [] == mistakes
    assert figures.kept_promise
    assert figures.pressed > 10
    assert figures.pressed <= figures.kept == figures.received == figures.accepted + figures.parked + figures.waiting
    assert demo.verified()
    assert demo.reconciled()
