"""Runs a program with a wall clock that somebody else sets: `python -m tests.torture.clock FILE MODULE …`.

FILE holds how far the clock is wrong and how fast it runs away. Only the wall clock is wrong: no setting of a clock
moves the monotonic one.
"""

from __future__ import annotations

import mmap
import runpy
import struct
import sys
import time
from pathlib import Path

_SAID = struct.Struct("<qdq")  # nanoseconds wrong; nanoseconds more for each one that passes; since when, monotonic


def set_wrong(file: Path, by_s: float, drift: float = 0.0) -> None:
    """From now on the clock is so many seconds ahead, and gains `drift` seconds a second."""
    said = _SAID.pack(int(by_s * 1e9), drift, time.monotonic_ns())
    with file.open("r+b" if file.exists() else "w+b") as out:
        out.write(said)  # in one piece, and in place: the program has it mapped


def main() -> None:
    file, module, *arguments = sys.argv[1:]
    with open(file, "rb") as said:
        shared = mmap.mmap(said.fileno(), _SAID.size, access=mmap.ACCESS_READ)
    right = time.time_ns

    def wrong() -> int:
        by_ns, drift, since_ns = _SAID.unpack(shared[:])
        return right() + by_ns + int((time.monotonic_ns() - since_ns) * drift)

    time.time_ns = wrong
    time.time = lambda: wrong() / 1e9
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__")


if __name__ == "__main__":
    main()
