"""A small machine with real USB drivers, as the host sees it: start it, run things in it, plug and unplug devices."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .prepare import Boot

QEMU = "qemu-system-x86_64"
PYTHON = sys.executable
"""The guest sees the host's files, so the interpreter of the tests is the guest's as well."""
GUEST = Path(__file__).parent / "guest"
ORDERLY = GUEST / "orderly.py"
BOOT_S = 300  # 8-15 s on two cores that do nothing else
ANSWER_S = 60  # emulated, a Python program takes seconds to begin
REACH_S = 5  # a panel on this machine listens again within milliseconds
CONSOLE_SHOWN = 4_000  # the last of what the kernel said is enough to see why it died

HUB_PORT = "4"
"""Here sits a USB hub from the start: its own ports are 4.1 to 4.8. Free beside it: 1, 2, 3."""

Words = dict[str, Any]


class GuestFailed(Exception):
    """The guest did not do what was asked of it; the text ends with what its console said."""


@dataclass(frozen=True)
class Done:
    """How a program in the guest ended."""

    returncode: int
    stdout: str
    stderr: str

    def json(self) -> list[Words]:
        """Its answer, one value a line; it must have ended well."""
        assert 0 == self.returncode, f"exit {self.returncode}: {self.stderr}"
        return [json.loads(line) for line in self.stdout.splitlines()]


class Guest:
    """One machine; from `start` to `stop` it can be used from any thread."""

    def __init__(self, boot: Boot, folder: Path):
        self.console = folder / "console.log"
        self.booted_s = 0.0
        self.plugs: Program
        """What the guest's kernel tells of devices that come and go."""
        self._boot = boot
        self._heard = threading.Condition()
        self._ready = False
        self._answers: dict[int, Words] = {}
        self._programs: dict[int, Program] = {}
        self._number = 0
        self._plugged: set[str] = set()
        self._lines: set[str] = set()

    # ---- its life

    def start(self) -> None:
        """Boot; when this returns the guest takes orders."""
        began = time.monotonic()
        self._switch_on([QEMU], ["-cpu", "max", *boot_words(self._boot, ORDERLY), *_HOSTS_FILES])
        self._wait(lambda: self._ready, BOOT_S, lambda: "boot")
        self.booted_s = time.monotonic() - began
        self.plugs = self.start_program(["plugs.py"])
        self.plugs.wait(lambda line: "watching" in line)

    def stop(self) -> None:
        """Switch it off; nothing of it is left when this returns."""
        if not hasattr(self, "_machine"):
            return  # it was never on
        self._machine.kill()
        self._machine.wait()
        self._listener.join()
        self._orders.close()
        self.monitor.close()

    # ---- programs in it. An argv that begins with "name.py" runs that script of tests/vm/guest.

    def run(self, argv: Sequence[object], text: str = "", timeout_s: float = ANSWER_S) -> Done:
        """Run a program to its end."""
        order = {"do": "run", "argv": _argv(argv), "input": text, "timeout_s": timeout_s}
        return Done(**self._ask(order, timeout_s + ANSWER_S))

    def python(self, code: str, *arguments: object) -> Done:
        """Run these lines of Python to their end."""
        return self.run([PYTHON, "-c", code, *arguments])

    def start_program(self, argv: Sequence[object]) -> Program:
        """Begin a program whose lines come in while it runs."""
        with self._heard:
            pid = int(self._ask({"do": "start", "argv": _argv(argv)})["pid"])
            return self._programs.setdefault(pid, Program(self, pid))

    def write(self, path: str, text: str) -> None:
        """Put a file into the guest's working folder."""
        self._ask({"do": "write", "path": path, "text": text})

    def signal(self, pid: int, name: str) -> None:
        """Send a signal to a program that was begun here."""
        self._ask({"do": "signal", "pid": pid, "signal": name})

    # ---- its USB ports

    def qmp(self, command: str, **arguments: object) -> Any:
        """Ask the machine itself, as in QEMU's QMP reference."""
        return self.monitor.ask(command, arguments)

    def plug(self, name: str, port: str, panel_port: int, serial: str = "") -> None:
        """Plug in an FTDI adapter whose other end is the TCP port of a panel on the host."""
        address = {"type": "inet", "data": {"host": "127.0.0.1", "port": str(panel_port)}}
        line = {"type": "socket", "data": {"addr": address, "server": False, "nodelay": True}}
        self._adapter(name, port, serial, line)

    def plug_stranger(self, name: str, port: str, serial: str = "") -> None:
        """Plug in an FTDI adapter that nothing hangs on."""
        self._adapter(name, port, serial, {"type": "null", "data": {}})

    def unplug(self, name: str) -> None:
        """Pull that adapter out, and its panel's cable with it."""
        self.unplug_any(name)
        self.qmp("chardev-remove", id=f"line-{name}")
        self._lines.remove(f"line-{name}")

    def plug_any(self, kind: str, name: str, port: str, **options: object) -> None:
        """Plug in any USB device that QEMU knows, such as `usb-kbd`."""
        self.qmp("device_add", driver=kind, id=name, bus="usb.0", port=port, **options)
        self._plugged.add(name)

    def unplug_any(self, name: str) -> None:
        """Pull a device out; it is gone from the bus when this returns."""
        mark = self.monitor.mark()
        self.qmp("device_del", id=name)
        self.monitor.wait("DEVICE_DELETED", lambda data: data.get("device") == name, mark)
        self._plugged.remove(name)

    def unplug_all(self) -> None:
        """Pull out whatever is plugged in."""
        for name in sorted(self._plugged):
            self.unplug(name) if f"line-{name}" in self._lines else self.unplug_any(name)

    def send_key(self, *keys: str, hold_ms: int = 50) -> None:
        """Hold these keys of the keyboard down together, by QEMU's names: kp_1, ret, num_lock."""
        self.qmp("send-key", keys=[{"type": "qcode", "data": key} for key in keys], **{"hold-time": hold_ms})

    # ---- inside

    def _switch_on(self, qemu: list[str], words: list[str]) -> None:
        """Start the machine; words come and go from now on."""
        self._orders, its_orders = socket.socketpair()
        monitor, its_monitor = socket.socketpair()
        channels = _channels(its_orders.fileno(), its_monitor.fileno())
        self._machine = subprocess.Popen(
            [*qemu, *_EMPTY, "-serial", f"file:{self.console}", *words, *channels],
            pass_fds=(its_orders.fileno(), its_monitor.fileno()),
            stdin=subprocess.DEVNULL,
        )
        its_orders.close()
        its_monitor.close()
        self.monitor = Monitor(monitor, self._fail)
        self._listener = threading.Thread(target=self._listen, name="guest", daemon=True)
        self._listener.start()

    def _adapter(self, name: str, port: str, serial: str, line: Words) -> None:
        self._line(name, line)
        # always-plugged: or QEMU takes the adapter off the bus whenever its far end hangs up.
        options = {"always-plugged": True, **({"serial": serial} if serial else {})}
        self.plug_any("usb-serial", name, port, chardev=f"line-{name}", **options)

    def _line(self, name: str, backend: Words) -> None:
        """The adapter's far end; a panel that was left a moment ago does not listen again at once."""
        deadline = time.monotonic() + REACH_S
        while True:
            try:
                self.qmp("chardev-add", id=f"line-{name}", backend=backend)
                self._lines.add(f"line-{name}")
                return
            except GuestFailed as failed:
                if "refused" not in str(failed) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _ask(self, order: Words, timeout_s: float = ANSWER_S) -> Words:
        with self._heard:
            self._number += 1
            number = self._number
            self._orders.sendall(json.dumps({**order, "order": number}).encode() + b"\n")
            self._wait(lambda: number in self._answers, timeout_s, lambda: f"answer {order}")
            answer = self._answers.pop(number)
        if "error" in answer:
            self._fail(f"{answer['error']}: {order}")
        return answer

    def _listen(self) -> None:
        for words in _lines(self._orders):
            with self._heard:
                self._take(words)
                self._heard.notify_all()

    def _take(self, words: Words) -> None:
        if "ready" in words:
            self._ready = True
        elif "order" in words:
            self._answers[words.pop("order")] = words
        else:
            pid = words.pop("program")
            self._programs.setdefault(pid, Program(self, pid)).take(words)

    def _wait(self, come: Callable[[], bool], timeout_s: float, what: Callable[[], str]) -> None:
        """Until it has come; a guest that died in the meantime, or talks nonsense, is noticed at once."""
        deadline = time.monotonic() + timeout_s
        with self._heard:
            while not come():
                left_s = deadline - time.monotonic()
                if left_s <= 0 or self._machine.poll() is not None or not self._listener.is_alive():
                    self._fail(f"{what()}: {'died' if left_s > 0 else f'nothing for {timeout_s} s'}")
                self._heard.wait(min(left_s, 1.0))

    def _fail(self, why: str) -> None:
        said = self.console.read_text("utf-8", "replace") if self.console.exists() else ""
        raise GuestFailed(f"虚拟机没有完成 / the guest failed: {why}\n--- console:\n{said[-CONSOLE_SHOWN:]}")


class Program:
    """A program that runs in the guest: its lines, as they come."""

    def __init__(self, guest: Guest, pid: int):
        self.pid = pid
        self.lines: list[str] = []
        self.errors: list[str] = []
        self.returncode: int | None = None
        self._guest = guest

    def take(self, words: Words) -> None:
        """What the guest says of it."""
        if "ended" in words:
            self.returncode = words["ended"]
        self.lines += [words["out"]] if "out" in words else []
        self.errors += [words["err"]] if "err" in words else []

    def wait(self, match: Callable[[Words], bool], mark: int = 0, timeout_s: float = ANSWER_S) -> Words:
        """The first JSON line from `mark` on that matches; `mark` is a number of lines, as len(lines) gave it."""
        self._guest._wait(
            lambda: self.returncode is not None or any(match(line) for line in self.said(mark)),
            timeout_s,
            lambda: f"lines of program {self.pid}: {self.lines[mark:]} {self.errors[-20:]}",
        )
        found = [line for line in self.said(mark) if match(line)]
        if not found:
            self._guest._fail(
                f"program {self.pid} ended with {self.returncode}: {self.lines[mark:]} {self.errors[-20:]}"
            )
        return found[0]

    def said(self, mark: int = 0) -> list[Words]:
        """Every JSON line since `mark`."""
        return [json.loads(line) for line in self.lines[mark:]]

    def stop(self, name: str = "SIGTERM") -> int:
        """End it; what it ended with."""
        if self.returncode is None:
            self._guest.signal(self.pid, name)
        return self.join()

    def join(self, timeout_s: float = ANSWER_S) -> int:
        """Wait for its end; what it ended with."""
        self._guest._wait(lambda: self.returncode is not None, timeout_s, lambda: f"end of program {self.pid}")
        assert self.returncode is not None
        return self.returncode


class Monitor:
    """QEMU's own channel: QMP, a JSON line each way, and events in between."""

    def __init__(self, channel: socket.socket, fail: Callable[[str], None]):
        self._channel = channel
        self._fail = fail
        self._heard = threading.Condition()
        self._events: list[Words] = []
        self._answers: list[Words] = []
        self._greeted = self._gone = False
        self._listener = threading.Thread(target=self._listen, name="monitor", daemon=True)
        self._listener.start()

    def ask(self, command: str, arguments: Words) -> Any:
        """The answer to one command; one is asked at a time."""
        with self._heard:
            if not self._greeted:
                self._greeted = True
                self.ask("qmp_capabilities", {})
            self._answers.clear()
            self._channel.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
            self._heard.wait_for(lambda: self._answers or self._gone, ANSWER_S)
            if not self._answers:
                self._fail(f"QMP does not answer {command}")
            answer = self._answers.pop()
        if "error" in answer:
            self._fail(f"QMP {command} {arguments}: {answer['error']}")
        return answer["return"]

    def mark(self) -> int:
        """How many events there were by now."""
        return len(self._events)

    def wait(self, event: str, match: Callable[[Words], bool], mark: int) -> None:
        """Until such an event has come since `mark`."""

        def come() -> bool:
            return any(each["event"] == event and match(each.get("data", {})) for each in self._events[mark:])

        with self._heard:
            if not self._heard.wait_for(come, ANSWER_S):
                self._fail(f"QMP tells of no {event}: {self._events[mark:]}")

    def close(self) -> None:
        self._listener.join()
        self._channel.close()

    def _listen(self) -> None:
        for words in _lines(self._channel):
            with self._heard:
                if "event" in words:
                    self._events.append(words)
                elif "QMP" not in words:
                    self._answers.append(words)
                self._heard.notify_all()
        with self._heard:
            self._gone = True
            self._heard.notify_all()


def _lines(channel: socket.socket) -> Iterator[Words]:
    """Each JSON line that comes, until the machine is switched off."""
    with channel.makefile("rb") as lines:
        try:
            for line in lines:
                yield json.loads(line)
        except ConnectionResetError:
            return  # it was switched off with words of ours unread


def _argv(argv: Sequence[object]) -> list[str]:
    first, *rest = map(str, argv)
    is_script = first.endswith(".py") and "/" not in first
    return [PYTHON, str(GUEST / first), *rest] if is_script else [first, *rest]


_EMPTY = (
    *("-accel", "tcg", "-machine", "pc", "-smp", "1", "-m", "512"),
    *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
)
_HOSTS_FILES = (
    *("-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"),
    *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
)


def boot_words(boot: Boot, orderly: Path, **environment: str) -> list[str]:
    """What it boots: that kernel, and with this environment the interpreter of the tests with that script."""
    named = {"PYTHON": PYTHON, "ORDERLY": str(orderly), **environment}
    assert " " not in "".join(named.values()), (
        "路径含空格 / the kernel's command line has no room for a space in a path"
    )
    words = "console=ttyS0 quiet panic=-1 mitigations=off " + " ".join(
        f"{name}={value}" for name, value in named.items()
    )
    return ["-kernel", str(boot.kernel), "-initrd", str(boot.initramfs), "-append", words]


def _channels(orders: int, monitor: int) -> list[str]:
    return [
        *("-chardev", f"socket,id=orders,fd={orders}", "-chardev", f"socket,id=monitor,fd={monitor}"),
        *("-device", "virtio-serial-pci", "-device", "virtserialport,chardev=orders,name=orders"),
        *("-mon", "chardev=monitor,mode=control"),
        *("-device", "qemu-xhci,id=usb", "-device", f"usb-hub,bus=usb.0,port={HUB_PORT}"),
    ]
