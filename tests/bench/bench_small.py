"""Small things: sealing for a province, and what importing costs."""

from __future__ import annotations

from pathlib import Path

from firmware_sim import sm2 as simulated
from protocols import sm2
from tests.bench import limits
from tests.bench.limits import quantile, timed
from tests.bench.table import Bench, Line

TEXT = b"x" * 600
_IMPORTS = {
    "agent": "import edge_agent.cli",
    "agent_door": "import edge_agent.cli, edge_agent.door",
    "collector": "import collector.cli",
}


def sealing(_folder: Path) -> dict[str, float]:
    """SM2 encryptions a second of a record's length, on one core."""
    key = sm2.PublicKey.from_hex(simulated.generate().public_hex)
    return {"sealed": limits.per_second(lambda: sm2.encrypt(TEXT, key), 1.0)}


def importing(_folder: Path) -> dict[str, float]:
    """How long it takes to start Python, import a program and end, in ms."""
    for code in _IMPORTS.values():
        limits.python(code)  # compiled, and in the system's cache
    return {name: quantile(timed(lambda code=code: limits.python(code), 3), 0.5) for name, code in _IMPORTS.items()}  # type: ignore[misc]


BENCHES = (
    Bench(
        name="sealing",
        how="SM2 加密 600 字节 (一条评价或办件的长度)。\n\nSM2 encryption of 600 bytes, a record's length.",
        bounded_by="两次点乘 two point multiplications (fastecdsa, GMP)",
        lines=(Line("sealed", "SM2 加密 600 字节 encryptions of 600 bytes", "/s", at_least=200),),
        measure=sealing,
        limits=(Line("points", "曲线点乘, 两次 two bare point multiplications", "/s"),),
        limit=limits.points,
        seconds=2,
        repeats=2,
    ),
    Bench(
        name="imports",
        how="新进程导入一个程序后结束。\n\nA new process that imports a program and ends.",
        bounded_by="Python 自身与所用库 Python itself and the libraries",
        lines=(
            Line("agent", "edge-agent, 无接口 without door", "ms"),
            Line("agent_door", "edge-agent, 有接口 with door", "ms"),
            Line("collector", "collector", "ms"),
        ),
        measure=importing,
        limits=(Line("python_ms", "空 Python 进程 a Python that does nothing", "ms"),),
        limit=limits.start,
        seconds=4,
    ),
)
