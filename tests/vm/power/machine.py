"""A guest that loses its power again and again: booted once, its state kept, and woken from that within a second.

The state is taken before the disk's driver is loaded, so that no woken guest knows anything of an earlier disk.
"""

from __future__ import annotations

import os
import secrets
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.vm.guest_machine import BOOT_S, GUEST, QEMU, Guest, Program, boot_words
from tests.vm.prepare import ROOT, Boot

from .carried import PYTHON, SITE

_NICE = ["nice", "-n", "10", QEMU]
# No AVX and no XSAVE: programs of a machine whose state was kept and taken up again die of their emulation at random.
_CPU = "Nehalem"
_KEPT_S = 120
HOST = "10.0.2.2"
"""Where the guest finds this machine's loopback."""


class Cuttable(Guest):
    """One life of the machine, from the moment the power comes on until it goes."""

    def __init__(self, boot: Boot, folder: Path, disk: Path, ports: dict[int, int]):
        """`disk`: the socket of its drive. `ports`: which port of the guest is which one here."""
        super().__init__(boot, folder)
        ways = "".join(f",hostfwd=tcp:127.0.0.1:{here}-10.0.2.15:{there}" for there, here in ports.items())
        environment = {"PYTHONPATH": f"{ROOT}:{SITE}", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "LD_BIND_NOW": "1"}
        self._words = [
            *("-cpu", _CPU),
            *boot_words(boot, GUEST / "keeper.py", PYTHON=str(PYTHON), **environment),
            *("-netdev", f"user,id=net{ways}", "-device", "virtio-net-pci,netdev=net,romfile="),
            *("-blockdev", f"driver=nbd,node-name=disk,server.type=unix,server.path={disk}"),
            *("-device", "virtio-blk-pci,drive=disk,write-cache=on"),
        ]

    # ---- its state

    def keep_state(self, state: Path) -> None:
        """Boot, and write down the state of the machine when it waits for its first order."""
        began_s = time.monotonic()
        self._switch_on(_NICE, self._words)
        self._wait(lambda: self._ready, BOOT_S, lambda: "boot")
        self.booted_s = time.monotonic() - began_s
        self.qmp("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        self.qmp("migrate", uri=f"exec:cat > {state}")
        until_s = time.monotonic() + _KEPT_S
        while (told := self.qmp("query-migrate"))["status"] != "completed":
            if told["status"] == "failed" or time.monotonic() > until_s:
                self._fail(f"state not kept: {told}")
            time.sleep(0.1)

    def power_on(self, state: Path) -> None:
        """Go on from that state; a start of the machine of its own, which takes orders when this returns."""
        self._on_s = time.monotonic()
        self._switch_on(_NICE, [*self._words, "-incoming", f"exec:cat {state}"])

    def power_off(self) -> None:
        """At once, without a word to anybody; from any thread. `stop` clears away after it."""
        self._machine.kill()

    def wake(self) -> str:
        """What a start of a machine has for itself: chance, time; and the name of this one."""
        self._ask({"do": "hear"})  # it hears from now on, so that the time told next is not an old one
        up_ns = int((time.monotonic() - self._on_s) * 1e9)
        answer = self._ask({"do": "wake", "chance": secrets.token_hex(64), "now_ns": time.time_ns(), "up_ns": up_ns})
        return str(answer["boot"])

    # ---- its disk and programs

    def mount(self, kind: str, options: str, folders: Sequence[str] = ()) -> None:
        """Mount its disk, and make these folders on it."""
        self._ask({"do": "mount", "kind": kind, "options": options, "folders": list(folders)})

    def umount(self) -> None:
        """Let go of its disk, with all that it holds back."""
        self._ask({"do": "umount"})

    def count(self, path: str, sql: str) -> int:
        """One number of a database in the guest."""
        return int(self._ask({"do": "count", "path": path, "sql": sql})["count"])

    def fetch(self, folder: str) -> dict[str, str]:
        """Every file of a folder: zlib in base64."""
        return dict(self._ask({"do": "fetch", "path": folder})["files"])

    def until(self, come: Callable[[], bool], within_s: float, what: str) -> None:
        """Wait until a program has said or done something; it fails when the power goes."""
        self._wait(come, within_s, lambda: what)

    def plug_panel(self, name: str, port: str, link: Path) -> None:
        """Plug in an FTDI adapter on which the panel at this pty hangs."""
        # Nothing of it may have waited in this machine: a wire keeps nothing.
        line = os.open(link, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        termios.tcflush(line, termios.TCIOFLUSH)
        os.close(line)
        backend: dict[str, Any] = {"type": "serial", "data": {"device": str(link)}}
        self._adapter(name, port, "", backend)


def said(program: Program, words: str, times: int = 1) -> bool:
    """Whether so many of its lines have these words."""
    return sum(words in line for line in program.errors) >= times
