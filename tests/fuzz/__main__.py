"""Runs atheris on each target for its share of the time: `python -m tests.fuzz [--seconds 60] [--only decoder]`.

Each target is a process of its own, because libFuzzer ends the one that it runs in. The bytes that broke one are kept,
and the command that breaks it again is printed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import click

from tests.fuzz.targets import TARGETS

CRASHES = Path("fuzz-crashes")
_LONGEST = 4096  # bytes of one input
_SLOW_S = 10  # an input that takes so long is a mistake too


@click.command()
@click.option("--seconds", default=60, show_default=True, type=click.IntRange(1), help="总时长 / for all together")
@click.option("--only", multiple=True, type=click.Choice([*TARGETS]), help="只测这些 / these only")
@click.option("--seed", default=1, show_default=True, help="种子 / seed")
@click.option(
    "--replay", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="重放一个文件 / play a file"
)
def main(seconds: int, only: tuple[str, ...], seed: int, replay: Path | None) -> None:
    """模糊测试 / fuzz everything that reads bytes. Exit 1 if something breaks."""
    names = list(only or TARGETS)
    if replay is not None:
        for name in names:
            TARGETS[name](replay.read_bytes())
            print(f"{name}: 没有出错 / nothing broke")
    else:
        sys.exit(1 if any([_ran(name, seconds, names, seed) for name in names]) else 0)


def _ran(name: str, seconds: int, names: list[str], seed: int) -> bool:
    """Whether this target broke in its share of the time."""
    share_s = max(1, seconds // len(names))
    left_s = (len(names) - names.index(name)) * share_s
    print(f"还剩约 about {left_s:4} s left · {name}", file=sys.stderr, flush=True)
    CRASHES.mkdir(exist_ok=True)
    started_s = time.time()
    limits = [f"-max_total_time={share_s}", f"-max_len={_LONGEST}", f"-seed={seed}", f"-timeout={_SLOW_S}"]
    own = f"{name.replace(':', '-')}-"
    kept = f"-artifact_prefix={CRASHES / own}"
    command = [sys.executable, "-m", "tests.fuzz.one", name, *limits, kept]
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if ended.returncode == 0:
        return False
    print("\n".join(line for line in ended.stderr.split("\n") if not line.startswith(("#", "INFO", "WARNING")))[-4000:])
    new = [file for file in CRASHES.iterdir() if file.stat().st_mtime >= started_s and file.name.startswith(own)]
    for file in new:
        print(f"重放 / to replay: .venv/bin/python -m tests.fuzz --only {name} --replay {file}")
    return True


if __name__ == "__main__":
    main()
