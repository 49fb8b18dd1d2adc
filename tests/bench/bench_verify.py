"""The check of a whole large ledger, with all cores and with one."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path

from firmware_sim import fleet
from tests.bench import ledgers, limits
from tests.bench.table import PYTHON, Bench, Line, python_environment
from tests.brokers import ROOT

ALONE_MAX = 1_000_000  # records: what one process does with more says nothing new


def verified(records: int, folder: Path) -> dict[str, float]:
    """Records a second of `collector verify`, by its own account of the time, and the seconds of the whole."""
    ledgers.by_hand(folder / "ledger.db", records, 7)
    (folder / "directory.toml").write_text(fleet.directory(ledgers.names()), "utf-8")
    (folder / "collector.toml").write_text('[broker]\nhost = "127.0.0.1"\npassword = "not used"\n', "utf-8")
    rate, seconds = _verify(folder, records)
    alone = _verify(folder, records, "--processes", "1")[0] if records <= ALONE_MAX else rate
    return {"rate": rate, "seconds": seconds, "alone": alone}


def _verify(folder: Path, records: int, *words: str) -> tuple[float, float]:
    command = [PYTHON, "-m", "collector", "verify", "--json", "--config", "collector.toml", *words]
    done = subprocess.run(command, cwd=folder, env=python_environment(ROOT), capture_output=True, check=True)
    found = json.loads(done.stdout)
    if found["records"] < records or found["findings"]:
        raise RuntimeError(f"{found}")
    return found["records"] / found["seconds"], found["seconds"]


def bench(records: int) -> Bench:
    """With a ledger of so many records."""
    return Bench(
        name="verify",
        how=f"一个 {records:,} 条记录的账本 (100 个窗口交替, 每段多为两条, 每条评价各有两次发送记录),"
        " 由 collector verify 核对全部: 两条链、每次按键、每条评价。一千万条的目标是 60 秒。\n\n"
        f"A ledger of {records:,} records: a hundred windows by turns, mostly two records to a stretch, two calls to"
        " each rating. `collector verify` checks all of it, both chains, every press and every rating, by its own"
        " account of the time. The reach is that of ten million in a minute.",
        bounded_by="SQLite 与 Python, 全部的核 all cores; 内存延迟 the latency of memory",
        lines=(
            Line("rate", "全部的核 with all cores", "/s", at_least=166_667),
            Line("seconds", "整个账本 the whole ledger", "s"),
            Line("alone", "一个进程 one process", "/s"),
        ),
        measure=partial(verified, records),
        limits=(Line("links", "SHA-256 链, 一个核 bare chain links, one core", "/s"),),
        limit=limits.chain,
        seconds=3 + records / 15_000,
        runs_max=1 if records > ALONE_MAX else None,
    )
