"""Every evaluator through every group of faults, by the hundred: what was meant, what is booked, and why not."""

from __future__ import annotations

import logging
import os
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.outbox import Outbox
from tests.bench.table import Bench, Line
from tests.journeys.evaluators import EVALUATORS, GROUP_NAMES, START_MS, morning

SEEDS = int(os.environ.get("SEEDS", "200"))
_CHUNK = 50  # runs that share an outbox: more, and its file grows; fewer, and making it takes longer than the runs


@dataclass
class Tally:
    """What came of many runs."""

    runs: int = 0
    meant: int = 0
    booked: int = 0
    mistakes: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)


def tally(evaluator: str, faults: str, first: int, last: int) -> Tally:
    """The seeds from `first` to before `last`, in an outbox of their own."""
    logging.disable(logging.WARNING)
    found = Tally()
    # The file's writes are hurried: what is looked at is what is written, not whether a power cut leaves it.
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        box = Outbox(Path(folder) / "outbox.db", "hall-pc-1", START_MS)
        box._db.execute("PRAGMA synchronous = OFF")
        for seed in range(first, last):
            result = morning(evaluator, faults, seed, box)
            found.runs += 1
            found.meant += sum(1 for service in result.services if service.meant)
            found.booked += sum(1 for service in result.services if service.booked)
            found.reasons += result.reasons
            found.mistakes += [
                f"--evaluator {evaluator} --faults {faults!r} --seed {seed}: {each}" for each in result.mistakes
            ]
        box.close()
    return found


def campaign(_folder: Path) -> dict[str, float]:
    """All of it, on all cores; what went wrong is said with what replays it."""
    work = [
        (name, faults, first, min(first + _CHUNK, SEEDS))
        for name in EVALUATORS
        for faults in ("", *GROUP_NAMES)
        for first in range(0, SEEDS, _CHUNK)
    ]
    total, of_each = Tally(), {name: Tally() for name in EVALUATORS}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for (name, *_), found in zip(work, pool.map(tally, *zip(*work, strict=True)), strict=True):
            for each in (total, of_each[name]):
                each.runs += found.runs
                each.meant += found.meant
                each.booked += found.booked
                each.mistakes += found.mistakes
                each.reasons += found.reasons
    for name, each in of_each.items():
        print(f"{name}: {each.runs} runs, meant {each.meant}, booked {each.booked}, {dict(each.reasons.most_common())}")
    for mistake in total.mistakes[:100]:
        print(f"!! {mistake}")
    return {
        "runs": float(total.runs),
        "meant": float(total.meant),
        "booked": float(total.booked),
        "too_many": float(len(total.mistakes)),
        "unexplained": float(total.reasons[""]),
    }


def cores(_folder: Path) -> dict[str, float]:
    return {"cores": float(os.cpu_count() or 1)}


BENCHES = (
    Bench(
        name="evaluators",
        how=f"{len(EVALUATORS)} 种评价器 × 无故障与 {len(GROUP_NAMES)} 组故障 × {SEEDS} 个种子;"
        " 每次四个邀请、之间的误按, 虚拟时间, 真实存档文件。"
        "真相来自模拟面板, 只按存档判断。\n\n"
        f"{len(EVALUATORS)} evaluators × no faults and {len(GROUP_NAMES)} groups of them × {SEEDS} seeds; four"
        " invitations each and strays between them, in virtual time, with a real outbox file. The truth is the panel's;"
        " the agent is judged by its records.",
        bounded_by="Python, 一次约 15 毫秒 about 15 ms a run",
        lines=(
            Line("runs", "次数 runs", ""),
            Line("meant", "邀请中有意的按键 invitations in which somebody pressed", ""),
            Line("booked", "其中入账 of them booked", ""),
            Line("too_many", "多于有意, 或改了键 more than was meant, or another key", "", at_most=0),
            Line("unexplained", "未入账而无原因 not booked, and nobody can say why", "", at_most=0),
        ),
        measure=campaign,
        limits=(Line("cores", "核 cores", ""),),
        limit=cores,
        seconds=SEEDS * 6.0,
        runs_max=1,
    ),
)
