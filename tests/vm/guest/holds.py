"""Says, as JSON lines, from when to when a process holds a device node open.

Arguments: the process, and how the nodes begin that are of interest (/dev/ttyUSB).
"""

from __future__ import annotations

import json
import os
import sys
import time

LOOK_EVERY_S = 0.01  # a look costs about 1 ms here, and what is measured is in hundreds of ms


def main() -> None:
    process, beginning = sys.argv[1:]
    before: set[str] = set()
    print(json.dumps({"watching": True}), flush=True)
    while True:
        now = _held(f"/proc/{process}/fd", beginning)
        at_ms = time.monotonic_ns() / 1e6
        for node in sorted(before ^ now):
            print(json.dumps({"at_ms": at_ms, "did": "open" if node in now else "close", "node": node}), flush=True)
        before = now
        time.sleep(LOOK_EVERY_S)


def _held(folder: str, beginning: str) -> set[str]:
    held = set()
    for number in os.listdir(folder):
        try:
            node = os.readlink(f"{folder}/{number}")
        except FileNotFoundError:  # closed just now
            continue
        # A node that was pulled out is still held, but nothing comes from it.
        if node.startswith(beginning) and not node.endswith(" (deleted)"):
            held.add(node)
    return held


if __name__ == "__main__":
    main()
