"""A second program at a port, as queue software is: a process that holds it, shares it, or steals what arrives.

`python -m firmware_sim.holder PORT hold|share|steal` says `ready` once it has the port, and goes when its input ends.
"""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

Manner = Literal["hold", "share", "steal"]


@contextmanager
def held(port: Path | str, manner: Manner = "hold") -> Iterator[int]:
    """Have another process at the port meanwhile; its process id. RuntimeError if it cannot have it.

    `hold` locks it as a well-behaved program does (TIOCEXCL and flock), `share` merely has it open, `steal` reads too.
    """
    command = [sys.executable, "-m", "firmware_sim.holder", str(port), manner]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"另一进程打不开端口 / the other process cannot open {port}")
        try:
            yield process.pid
        finally:
            process.stdin.close()
            process.wait()


def main() -> None:
    """Be that other program."""
    port, manner = sys.argv[1:]
    opened = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    if manner == "hold":
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.ioctl(opened, termios.TIOCEXCL)
    print("ready", flush=True)
    _stay(opened, steals=manner == "steal")


def _stay(opened: int, *, steals: bool) -> None:
    """Until whoever started us closes our input."""
    waiting = [sys.stdin.fileno(), *([opened] if steals else [])]
    while sys.stdin.fileno() not in (ready := select.select(waiting, [], [])[0]):
        if opened in ready:
            _swallow(opened, waiting)


def _swallow(opened: int, waiting: list[int]) -> None:
    try:
        os.read(opened, 4_096)
    except BlockingIOError:
        pass  # the rightful reader was faster
    except OSError:
        waiting.remove(opened)  # unplugged


if __name__ == "__main__":
    main()
