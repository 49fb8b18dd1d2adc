"""What is measured, what is to be reached, and how both are shown: on a terminal, as JSON and as a page."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import ssl
import statistics
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Line:
    """One line of the table: a figure of a bench, its unit, and the reach if there is one."""

    figure: str
    what: str
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def reach(self) -> str:
        if self.at_most is not None:
            return f"≤ {_number(self.at_most)} {self.unit}"
        return f"≥ {_number(self.at_least)} {self.unit}" if self.at_least is not None else "–"

    def reached(self, value: float) -> bool | None:
        """Whether `value` is within the reach; None where there is none."""
        if self.at_most is not None:
            return value <= self.at_most
        return value >= self.at_least if self.at_least is not None else None


@dataclass(frozen=True)
class Bench:
    """One measurement: `measure` and `limit` are given an empty folder of their own and may take `seconds` together."""

    name: str
    how: str
    bounded_by: str
    lines: tuple[Line, ...]
    measure: Callable[[Path], Figures]
    limits: tuple[Line, ...]
    limit: Callable[[Path], Figures]
    seconds: float
    repeats: int = 1
    """How many times it runs for each run asked for: short ones can afford more."""
    runs_max: int | None = None
    """At most so many runs: long ones that say little more when repeated."""

    def runs(self, wanted: int) -> int:
        return min(wanted * self.repeats, self.runs_max or wanted * self.repeats)


@dataclass(frozen=True)
class Measured:
    """A line of a bench with the values of its runs."""

    bench: Bench
    line: Line
    values: tuple[float, ...]
    is_limit: bool

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def reached(self) -> bool | None:
        return self.line.reached(self.median)

    def shown(self) -> str:
        """Median (min–max) unit."""
        low, high = _number(min(self.values)), _number(max(self.values))
        span = f" ({low}–{high})" if len(self.values) > 1 else ""
        return f"{_number(self.median)}{span} {self.line.unit}"


def of_runs(bench: Bench, runs: Sequence[tuple[Figures, Figures]]) -> list[Measured]:
    """The lines of a bench from its runs, each with what was measured and the machine's own limits."""
    return [
        *(Measured(bench, line, tuple(run[0][line.figure] for run in runs), False) for line in bench.lines),
        *(Measured(bench, line, tuple(run[1][line.figure] for run in runs), True) for line in bench.limits),
    ]


def as_text(measured: Sequence[Measured]) -> str:
    """The table for a terminal."""
    rows = [("", "量什么 / what", "目标 / reach", "中位数 (最小–最大) / median (min–max)")]
    for each in measured:
        what = f"    机器 machine: {each.line.what}" if each.is_limit else each.line.what
        rows.append((_mark(each), what, "" if each.is_limit else each.line.reach, each.shown()))
    widths = [max(_width(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def as_json(measured: Sequence[Measured], date: str) -> dict[str, object]:
    """Everything as plain values."""
    return {
        "date": date,
        "machine": machine(),
        "figures": [
            {
                "bench": each.bench.name,
                "figure": each.line.figure,
                "what": each.line.what,
                "limit_of_the_machine": each.is_limit,
                "unit": each.line.unit,
                "reach": None if each.is_limit else each.line.reach,
                "reached": None if each.is_limit else each.reached,
                "median": each.median,
                "runs": list(each.values),
            }
            for each in measured
        ],
    }


def as_page(measured: Sequence[Measured], date: str, arguments: str) -> str:
    """A page of docs/, as `make bench` with these arguments writes it."""
    about = "\n".join(f"- {name}: {value}" for name, value in machine().items())
    sections = []
    for bench in dict.fromkeys(each.bench for each in measured):
        mine = [each for each in measured if each.bench is bench]
        rows = [
            f"| {'机器 machine: ' if each.is_limit else ''}{each.line.what} |"
            f" {'' if each.is_limit else each.line.reach} | {each.shown()} | {_mark(each)} |"
            for each in mine
        ]
        sections.append(
            f"## {bench.name}\n\n{bench.how}\n\n"
            "| 量什么 / what | 目标 / reach | 中位数 (最小–最大) / median (min–max) | |\n|---|---|---|---|\n"
            + "\n".join(rows)
            + f"\n\n受限于 / bounded by: {bench.bounded_by}; {len(mine[0].values)} 轮 runs.\n"
        )
    return _PAGE.format(date=date, arguments=arguments, about=about, sections="\n".join(sections))


_PAGE = """# 性能实测 / Benchmarks

<!-- 由 make bench 写成, 请勿手改 / written by make bench: do not edit -->

`make bench BENCH_ARGS="{arguments}"` 于 {date} 写成: 真实进程, 真实串口 (pty), 真实
mosquitto, 真实磁盘。每个数字旁是同一轮中本机自身的极限。✓ 达到目标, ✗ 未达到。

Written by the command above on {date}: real processes, real lines (pty), a real mosquitto, a real disk. Beside each
figure stands what the machine itself can do, measured in the same run. ✓ reached, ✗ missed.

{about}

{sections}"""


def machine() -> dict[str, str]:
    """What was measured on, without names and paths."""
    return {
        "CPU": f"{_cpu()}, {os.cpu_count()} 核 cores",
        "内核 kernel": f"{platform.system()} {platform.release()}",
        "磁盘 disk": _disk(Path.cwd()),
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "OpenSSL": ssl.OPENSSL_VERSION,
        "mosquitto": _mosquitto(),
    }


def _cpu() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    return found[1] if found else platform.machine()


def _disk(folder: Path) -> str:
    """File system and kind of the disk that holds `folder`, as far as the kernel knows."""
    device, kind = "", "?"
    for line in Path("/proc/mounts").read_text("utf-8").splitlines():
        source, mount, file_system, *_ = line.split()
        if folder.is_relative_to(mount) and len(mount) >= len(device.partition(" ")[2]):
            device, kind = f"{source} {mount}", file_system
    name = re.sub(r"p?\d+$", "", Path(device.split()[0]).name) if device else ""
    if name.startswith("vd"):
        return f"{kind}, 虚拟磁盘 virtual disk (virtio)"
    rotational = Path(f"/sys/block/{name}/queue/rotational")
    if not rotational.exists():
        return kind
    return f"{kind}, {'HDD' if rotational.read_text('ascii').strip() == '1' else 'SSD'}"


def _mosquitto() -> str:
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        return "–"
    said = subprocess.run([program, "-h"], capture_output=True, text=True, check=False).stdout
    return said.split("\n")[0].removeprefix("mosquitto version ")


def _mark(each: Measured) -> str:
    if each.is_limit or each.reached is None:
        return ""
    return "✓" if each.reached else "✗"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def python_environment(root: Path) -> dict[str, str]:
    """The environment of a measured process: as on a normal PC, where Python keeps what it compiled."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(root)}


PYTHON = sys.executable
