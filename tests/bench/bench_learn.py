"""Learning at the desk: panels that no profile knows, a person who presses each key three times, and a judge."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

from edge_agent.doctor.learn import Unsure
from firmware_sim.panels.shelf import make_unknown
from tests.bench.table import Bench, Line
from tests.edge_agent.doctor.desk import equivalent, learnt

SEEDS = range(100)
LATER_MS = 10_000_000  # fresh presses are made long after those it was learnt from


def learning(_folder: Path) -> dict[str, float]:
    """How many profiles are right, how many times it says it is unsure, and how many are wrong without saying so."""
    figures = {"right": 0.0, "unsure": 0.0, "wrong": 0.0}
    took_s = 0.0
    for seed in SEEDS:
        panel, rng = make_unknown(seed), Random(f"{seed}/person")
        started = time.perf_counter()
        _, finish = learnt(panel, rng)
        took_s = max(took_s, time.perf_counter() - started)
        if isinstance(finish.result, Unsure):
            figures["unsure"] += 1
        else:
            figures["wrong" if equivalent(finish.result.profile, panel, rng, LATER_MS) else "right"] += 1
    return {**figures, "longest": took_s}


BENCHES = (
    Bench(
        name="learn",
        how="100 个无人认识的面板 (形状由种子定), 每键按三次; 再用学到的配置读新的按键、心跳、噪声和错一位的帧。\n\n"
        "100 panels that no profile knows, shape chosen by seed, each key pressed three times; what is learnt reads"
        " fresh presses, signs of life, noise, and frames one bit wrong.",
        bounded_by="三次按键里看得见的东西 what three presses of each key show",
        lines=(
            Line("right", "配置正确 profile right", "%", at_least=95),
            Line("unsure", "说不能确定 says that it is unsure", "%"),
            Line("wrong", "错而不自知 wrong without knowing", "%", at_most=0),
            Line("longest", "最慢的一个 the slowest of them", "s"),
        ),
        measure=learning,
        limits=(),
        limit=lambda _folder: {},
        seconds=8,
        runs_max=1,
    ),
)
