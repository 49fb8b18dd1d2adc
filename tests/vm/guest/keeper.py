"""Process 1 of the guest that is cut: wakes in a copy of itself, mounts the disk, starts the programs, hears them.

The state of the machine is copied before any of this. So nothing of the disk may be known by then, and nothing that a
start of the machine has for itself: its name, its chance, its time. One thread, because it forks: each program begins
as a copy of this process, in which the libraries are loaded already, and runs from its command line on.
"""

from __future__ import annotations

import base64
import ctypes
import faulthandler
import fcntl
import importlib
import json
import os
import selectors
import signal
import sqlite3
import struct
import subprocess
import sys
import time
import traceback
import zlib
from pathlib import Path
from typing import IO, Any, NoReturn

COMMANDS = {"edge_agent": "edge_agent.cli", "collector": "collector.cli"}
LOADED = (*COMMANDS.values(), "edge_agent.door", "collector.web", "encodings.idna")
RNDADDENTROPY, RNDRESEEDCRNG = 0x40085203, 0x5207  # linux/random.h
CLONE_NEWTIME = 0x80  # linux/sched.h
BUSYBOX = "/bin/busybox"

Order = dict[str, Any]


class Keeper:
    """Orders come in one by one and are carried out one by one."""

    def __init__(self, channel: IO[bytes]):
        self._channel = channel
        self._waiting = selectors.DefaultSelector()
        self._half = b""
        self._errors: dict[int, tuple[int, bytes]] = {}
        """By the pipe that a program writes its errors to: its process id, and the line that it has not ended."""

    def serve(self) -> None:
        """Take orders until the host hangs up."""
        self._waiting.register(self._channel, selectors.EVENT_READ)
        self._say(ready=True)
        while True:
            for key, _ in self._waiting.select():
                if key.fileobj is self._channel:
                    self._listen()
                else:
                    self._follow(key.fd)

    def _listen(self) -> None:
        data = self._channel.read(65_536)
        if not data:
            sys.exit("the host hung up")
        *lines, self._half = (self._half + data).split(b"\n")
        for line in lines:
            order = json.loads(line)
            try:
                answer = getattr(self, f"_do_{order['do']}")(order)
            except (OSError, subprocess.SubprocessError, sqlite3.Error) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            self._say(order=order["order"], **answer)

    def _do_hear(self, order: Order) -> Order:
        return {}

    def _do_wake(self, order: Order) -> Order:
        """A start of its own: chance, time, and a name; what every start of a machine has for itself."""
        chance = bytes.fromhex(order["chance"])
        with open("/dev/urandom", "wb") as random:
            fcntl.ioctl(random, RNDADDENTROPY, struct.pack("ii", 8 * len(chance), len(chance)) + chance)
            fcntl.ioctl(random, RNDRESEEDCRNG)
        time.clock_settime_ns(time.CLOCK_REALTIME, order["now_ns"])
        _busybox("mount", "-t", "proc", "proc", "/proc")
        Path("/proc/sys/kernel/printk").write_text("7")  # also why a program was killed
        _begin_at(order["up_ns"])
        return {"boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip()}

    def _do_mount(self, order: Order) -> Order:
        _busybox("insmod", "/modules/virtio_blk.ko")
        options = ["-o", order["options"]] if order["options"] else []
        _busybox("mount", "-t", order["kind"], *options, "/dev/vda", "/disk")
        for folder in order["folders"]:
            Path("/disk", folder).mkdir(exist_ok=True)
        return {}

    def _do_umount(self, order: Order) -> Order:
        _busybox("umount", "/disk")
        return {}

    def _do_start(self, order: Order) -> Order:
        ours, its = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ours)
            self._become(order["argv"], its)
        os.close(its)
        self._errors[ours] = (pid, b"")
        self._waiting.register(ours, selectors.EVENT_READ)
        return {"pid": pid}

    def _become(self, argv: list[str], errors: int) -> NoReturn:
        code = 1
        try:
            os.setsid()
            os.dup2(errors, 1)
            os.dup2(errors, 2)
            self._channel.close()
            self._waiting.close()
            faulthandler.enable()
            # The one module that keeps what belongs to a start of the machine.
            importlib.reload(sys.modules["edge_agent.clock"])
            sys.argv = argv
            importlib.import_module(COMMANDS[argv[0]]).main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1 if end.code else 0
        except BaseException:  # noqa: BLE001 - its end is the host's to judge
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _do_signal(self, order: Order) -> Order:
        os.kill(order["pid"], signal.Signals[order["signal"]])
        return {}

    def _do_write(self, order: Order) -> Order:
        Path(order["path"]).write_text(order["text"], "utf-8")
        return {}

    def _do_count(self, order: Order) -> Order:
        """What one number of a database is, beside the program that owns it."""
        db = sqlite3.connect(f"file:{order['path']}?mode=ro", uri=True, timeout=5)
        try:
            return {"count": db.execute(order["sql"]).fetchone()[0]}
        finally:
            db.close()

    def _do_fetch(self, order: Order) -> Order:
        """Every file of a folder."""
        files = [file for file in sorted(Path(order["path"]).iterdir()) if file.is_file()]
        return {"files": {file.name: base64.b64encode(zlib.compress(file.read_bytes(), 1)).decode() for file in files}}

    def _follow(self, pipe: int) -> None:
        """Hand on every line that a program says, and then how it ended."""
        pid, half = self._errors[pipe]
        data = os.read(pipe, 65_536)
        *lines, half = (half + data).split(b"\n")
        self._errors[pipe] = (pid, half)
        for line in lines:
            self._say(program=pid, err=line.decode("utf-8", "replace"))
        if not data:
            self._waiting.unregister(pipe)
            os.close(pipe)
            del self._errors[pipe]
            self._say(program=pid, ended=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    def _say(self, **words: object) -> None:
        line = json.dumps(words).encode() + b"\n"
        while line:  # the driver takes 32 KiB at a time
            line = line[self._channel.write(line) :]


def _begin_at(up_ns: int) -> None:
    """Let every program that is started from now on see a machine that has been up for so long."""
    seconds, rest = divmod(up_ns - time.monotonic_ns(), 1_000_000_000)
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWTIME):
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/timens_offsets").write_text(f"monotonic {seconds} {rest}\nboottime {seconds} {rest}\n")


def _busybox(*words: str) -> None:
    subprocess.run([BUSYBOX, *words], check=True)


def main() -> None:
    os.environ.update(PATH="/usr/sbin:/usr/bin:/sbin:/bin", HOME="/run", TMPDIR="/run")
    orders: IO[bytes] = importlib.import_module("orderly").channel()  # it lies beside this file
    for module in LOADED:
        importlib.import_module(module)
    sys.modules["protocols.profiles"].shipped("house")  # read and checked once for all starts: emulated, it takes long
    Keeper(orders).serve()


if __name__ == "__main__":
    main()
