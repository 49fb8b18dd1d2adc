"""Process 1 of the guest: does what the host asks over a virtio channel, and says what came of it, a JSON line each.

It ends when the host hangs up, and the guest with it, so that no machine is ever left running.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

CHANNEL = "orders"
CHANNEL_WAIT_S = 30  # a port is named some moments after its driver is there
PLACE = Path("/run/guest")  # the working folder of every program here; in memory

Order = dict[str, Any]


class Orderly:
    """Orders come in on one thread; each is carried out on a thread of its own, so none waits for another."""

    def __init__(self, channel: IO[bytes]):
        self._channel = channel
        self._talk = threading.Lock()
        self._programs: dict[int, subprocess.Popen[str]] = {}

    def serve(self) -> None:
        """Take orders until the host hangs up."""
        self._say(ready=True, kernel=os.uname().release, up_ms=time.monotonic_ns() // 1_000_000)
        for line in self._channel:
            order = json.loads(line)
            threading.Thread(target=self._answer, args=(order,), daemon=True).start()

    def _answer(self, order: Order) -> None:
        do: Callable[[Order], Order] = getattr(self, f"_do_{order['do']}")
        try:
            self._say(order=order["order"], **do(order))
        except (OSError, subprocess.SubprocessError) as error:
            self._say(order=order["order"], error=f"{type(error).__name__}: {error}")

    def _do_run(self, order: Order) -> Order:
        done = subprocess.run(
            order["argv"], input=order["input"], capture_output=True, text=True, timeout=order["timeout_s"], cwd=PLACE
        )
        return {"returncode": done.returncode, "stdout": done.stdout, "stderr": done.stderr}

    def _do_start(self, order: Order) -> Order:
        pipe = subprocess.PIPE
        program = subprocess.Popen(
            order["argv"], stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, cwd=PLACE
        )
        self._programs[program.pid] = program
        threading.Thread(target=self._follow, args=(program,), daemon=True).start()
        return {"pid": program.pid}

    def _do_signal(self, order: Order) -> Order:
        self._programs[order["pid"]].send_signal(signal.Signals[order["signal"]])
        return {}

    def _do_write(self, order: Order) -> Order:
        (PLACE / order["path"]).write_text(order["text"], "utf-8")
        return {}

    def _follow(self, program: subprocess.Popen[str]) -> None:
        """Hand on every line that a program says, and then how it ended."""

        def hand_on(name: str, lines: IO[str]) -> None:
            for line in lines:
                self._say(program=program.pid, **{name: line.rstrip("\n")})

        assert program.stdout and program.stderr
        errors = threading.Thread(target=hand_on, args=("err", program.stderr), daemon=True)
        errors.start()
        hand_on("out", program.stdout)
        errors.join()
        self._say(program=program.pid, ended=program.wait())

    def _say(self, **words: object) -> None:
        line = json.dumps(words).encode() + b"\n"
        with self._talk:
            while line:  # the driver takes 32 KiB at a time
                line = line[self._channel.write(line) :]


def channel() -> IO[bytes]:
    deadline = time.monotonic() + CHANNEL_WAIT_S
    while time.monotonic() < deadline:
        for port in Path("/sys/class/virtio-ports").glob("*"):
            if (port / "name").read_text().strip() == CHANNEL:
                return Path("/dev", port.name).open("r+b", buffering=0)
        time.sleep(0.02)
    sys.exit(f"no virtio channel named {CHANNEL}")


def main() -> None:
    PLACE.mkdir()
    root = Path(__file__).parent.parent.parent.parent
    os.environ.update(PATH="/usr/sbin:/usr/bin:/sbin:/bin", PYTHONPATH=str(root), PYTHONUTF8="1", TMPDIR="/run/guest")
    os.environ.update(PYTHONUNBUFFERED="1", HOME="/run/guest")
    Orderly(channel()).serve()


if __name__ == "__main__":
    main()
