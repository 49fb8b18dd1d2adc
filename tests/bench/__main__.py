"""Runs the benches and shows the table: `python -m tests.bench --help`."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import click

from tests.bench import (
    bench_agent,
    bench_collector,
    bench_decoders,
    bench_devices,
    bench_evaluators,
    bench_learn,
    bench_noise,
    bench_outage,
    bench_page,
    bench_press,
    bench_small,
    bench_verify,
)
from tests.bench.table import Bench, Figures, Measured, as_json, as_page, as_text, machine, of_runs

VERIFY_RECORDS = 300_000
BENCHES = (
    *bench_press.BENCHES,
    *bench_page.BENCHES,
    *bench_agent.BENCHES,
    *bench_outage.BENCHES,
    *bench_devices.BENCHES,
    *bench_decoders.BENCHES,
    *bench_noise.BENCHES,
    *bench_evaluators.BENCHES,
    *bench_learn.BENCHES,
    *bench_collector.BENCHES,
    bench_verify.bench(VERIFY_RECORDS),
    *bench_small.BENCHES,
)


@click.command()
@click.option("--only", multiple=True, help=f"只量这些 / only these: {', '.join(bench.name for bench in BENCHES)}")
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1, 100), help="轮数 / runs")
@click.option("--records", default=bench_outage.RECORDS, show_default=True, type=click.IntRange(2_000), help="outage")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="全部数值 / every value")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="写成页面 / write it as a page")
@click.option(
    "--verify-records",
    default=VERIFY_RECORDS,
    show_default=True,
    type=click.IntRange(1000),
    help="verify 的账本有多少条 / records in the ledger of verify",
)
@click.option("--date", default="", help="日期, 默认今天 / the date to put on it; today if none is given")
def main(
    only: tuple[str, ...],
    runs: int,
    records: int,
    json_file: Path | None,
    write: Path | None,
    verify_records: int,
    date: str,
) -> None:
    """实测: 真实进程, 旁列本机极限 / real processes beside the machine's own limits. Exit 1 if a reach is missed."""
    sized = bench_verify.bench(verify_records)
    chosen = [sized if bench.name == sized.name else bench for bench in _chosen(only)]
    bench_outage.RECORDS = records
    date = date or datetime.now().astimezone().strftime("%Y-%m-%d")
    progress = _Progress(chosen, runs)
    measured = [each for bench in chosen for each in _measured(bench, bench.runs(runs), progress)]
    progress.end()
    click.echo("\n".join(f"{name}: {value}" for name, value in machine().items()) + f"\n{date}\n")
    click.echo(as_text(measured))
    if json_file is not None:
        json_file.write_text(json.dumps(as_json(measured, date), ensure_ascii=False, indent=1) + "\n", "utf-8")
    if write is not None:
        write.write_text(as_page(measured, date, " ".join(sys.argv[1:])), "utf-8")
    sys.exit(0 if all(each.reached is not False for each in measured if not each.is_limit) else 1)


def _chosen(only: tuple[str, ...]) -> list[Bench]:
    unknown = set(only) - {bench.name for bench in BENCHES}
    if unknown:
        raise click.UsageError(f"没有 / no such bench: {', '.join(sorted(unknown))}")
    return [bench for bench in BENCHES if not only or bench.name in only]


def _measured(bench: Bench, runs: int, progress: _Progress) -> list[Measured]:
    found: list[tuple[Figures, Figures]] = []
    for run in range(runs):
        progress.next(bench, f"{run + 1}/{runs}")
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            limit = bench.limit(Path(folder))
            found.append((bench.measure(Path(folder)), limit))
    return of_runs(bench, found)


class _Progress:
    """One line on standard error: what runs, and how long everything may still take."""

    def __init__(self, benches: list[Bench], runs: int):
        self._left = [(bench, run) for bench in benches for run in range(bench.runs(runs))]
        self._planned_s = sum(bench.seconds for bench, _ in self._left)
        self._started_s = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def next(self, bench: Bench, run: str) -> None:
        left_s = sum(each.seconds for each, _ in self._left)
        done_s = self._planned_s - left_s
        # What was planned, corrected by how long it really took so far.
        pace = (time.monotonic() - self._started_s) / done_s if done_s else 1.0
        self._left.pop(0)
        start, end = ("\r", "\x1b[K") if self._terminal else ("", "\n")
        text = f"{start}还剩约 about {left_s * pace:4.0f} s left · {bench.name} 第 {run} 轮 run {run}"
        print(text + end, end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        took_s = time.monotonic() - self._started_s
        print(f"{chr(13) if self._terminal else ''}完成 done: {took_s:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
