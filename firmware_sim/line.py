"""Carries the panels' bytes over a pty or TCP, and runs many panels on one thread. The only I/O of the panels."""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
import tty
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from random import Random

from firmware_sim.faults import Faults, FaultyLine, Happening, finger
from firmware_sim.panel import Event, HousePanel

READ_MAX = 4_096
# Nothing is held back for a slow reader: a UART does not wait, and a press frame that lies about says a wrong age.
# So the bound is the kernel's own buffer: about 20 KB behind a pty (pyserial empties it on open), this much behind TCP.
TCP_SEND_MAX = 4_096
IDLE_MS = 200  # how late a bare `stop.set()` is noticed


class Line:
    """A cable's device end. Plugged in once made; nothing here ever waits for the other end."""

    def __init__(self) -> None:
        self.plugged = False
        self.turns = 0
        """Rises whenever `fileno` starts to mean something else."""
        self.dropped = 0
        """Bytes written that nobody can ever read."""
        self.replug()

    def fileno(self) -> int:
        """What to wait for; -1 while unplugged."""
        raise NotImplementedError

    def replug(self) -> None:
        """Plug it in again, at the same address. Nothing happens if it is plugged in."""
        if not self.plugged:
            self._plug()
            self.plugged = True
            self.turns += 1

    def unplug(self) -> None:
        """Pull the cable: the other end's next read or write fails. Nothing happens if it is out."""
        if self.plugged:
            self.plugged = False
            self.turns += 1
            self._pull()

    close = unplug

    def read(self) -> bytes:
        """What the host has written by now."""
        if not self.plugged:
            return b""
        try:
            return self._read()
        except BlockingIOError:
            return b""

    def write(self, data: bytes) -> None:
        """Hand bytes to the host; what cannot be taken at once is lost, as on a wire that nobody listens to."""
        sent = 0
        if self.plugged and data:
            try:
                sent = self._write(data)
            except BlockingIOError:
                pass
        self.dropped += len(data) - sent

    def _plug(self) -> None:
        raise NotImplementedError

    def _pull(self) -> None:
        raise NotImplementedError

    def _read(self) -> bytes:
        raise NotImplementedError

    def _write(self, data: bytes) -> int:
        raise NotImplementedError


class PtyLine(Line):
    """A pseudo terminal, published under a link that stays the same when the cable comes back."""

    def __init__(self, link: Path | str):
        self.link = Path(link)
        super().__init__()

    def fileno(self) -> int:
        return self._master if self.plugged else -1

    def _plug(self) -> None:
        if self.link.exists() and not self.link.is_symlink():
            raise FileExistsError(f"不是设备链接，不予替换 / not a link, will not replace it: {self.link}")
        # The slave stays open here too: without any open slave the master's read fails with EIO.
        self._master, self._slave = os.openpty()
        # Raw before the first byte, or the terminal would echo our own bytes back to us.
        tty.setraw(self._master)
        os.set_blocking(self._master, False)
        self._publish(os.ttyname(self._slave))

    def _publish(self, name: str) -> None:
        """Point the link at it in one step, so that nobody ever finds half a link."""
        new = self.link.with_name(f".{self.link.name}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(name)
        new.replace(self.link)

    def _pull(self) -> None:
        # The link may by now be another simulator's.
        if self.link.is_symlink() and self.link.readlink() == Path(os.ttyname(self._slave)):
            self.link.unlink()
        os.close(self._master)
        os.close(self._slave)

    def _read(self) -> bytes:
        return os.read(self._master, READ_MAX)

    def _write(self, data: bytes) -> int:
        return os.write(self._master, data)


class TcpLine(Line):
    """A device server: listens on this machine only, for one client at a time. Address for pyserial: `url`."""

    def __init__(self, port: int = 0):
        self.port = port
        """As given, or as the system chose; kept when the cable comes back."""
        super().__init__()

    @property
    def url(self) -> str:
        return f"socket://127.0.0.1:{self.port}"

    def fileno(self) -> int:
        return self._socket.fileno() if self.plugged else -1

    def _plug(self) -> None:
        self._listen()

    def _listen(self) -> None:
        self._connected = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", self.port))
        self._socket.listen(1)
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]

    def _accept(self) -> None:
        client, _ = self._socket.accept()
        # Nobody listens any more while a client is there: a second one is refused, as by a device with one port.
        self._socket.close()
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, TCP_SEND_MAX)
        self._socket, self._connected = client, True
        self.turns += 1

    def _hang_up(self) -> None:
        self._socket.close()
        self._listen()
        self.turns += 1

    def _pull(self) -> None:
        self._socket.close()

    def _read(self) -> bytes:
        if not self._connected:
            self._accept()
        try:
            data = self._socket.recv(READ_MAX)
        except ConnectionError:
            data = b""
        if not data:
            self._hang_up()
        return data

    def _write(self, data: bytes) -> int:
        if not self._connected:
            return 0
        try:
            return self._socket.send(data)
        except ConnectionError:
            self._hang_up()
            return 0


# ---- the boot number, as the device's non-volatile memory would keep it


def boot_file(link: Path | str) -> Path:
    """Where the boot number of the panel at this link is kept: a small file beside it."""
    link = Path(link)
    return link.with_name(f"{link.name}.boot")


def next_boot(path: Path) -> int:
    """The number of a start that begins now; on disk when this returns. A panel without a file has its first start."""
    boot = int(path.read_text("ascii")) + 1 if path.exists() else 1
    keep_boot(path, boot)
    return boot


def keep_boot(path: Path, boot: int) -> None:
    """Write the boot number down; it must never be used twice, even if this process is killed."""
    new = path.with_name(f".{path.name}.new")
    with new.open("w", encoding="ascii") as file:
        file.write(str(boot))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


# ---- many panels on one thread


@dataclass(frozen=True)
class Unplugged:
    """The cable of this window is out."""

    at_ms: int


@dataclass(frozen=True)
class Replugged:
    """The cable of this window is back."""

    at_ms: int


Change = Event | Unplugged | Replugged


@dataclass
class Station:
    """One panel at its window with its cable, and what is still going to happen to it."""

    window: str
    panel: HousePanel
    line: Line
    faults: Faults = field(default_factory=Faults)
    seed: int | str = 0
    boot_file: Path | None = None
    """Where reboots are written down, if anywhere."""

    def __post_init__(self) -> None:
        self.rng = Random(f"{self.seed}/{self.panel.device}/finger")
        self.wire = FaultyLine(self.faults, Random(f"{self.seed}/{self.panel.device}/wire"))
        self.ahead: list[Happening] = []

    def plan(self, happenings: Iterable[Happening]) -> None:
        """Have these happen in their time; those of one moment in the order given."""
        for happening in happenings:
            insort(self.ahead, happening, key=lambda other: other.at_ms)

    def next_ms(self, now_ms: int) -> int:
        """When it wants to be stepped if nothing happens before."""
        ahead_ms = self.ahead[0].at_ms if self.ahead else None
        moments = (self.panel.next_ms(now_ms), ahead_ms, self.wire.next_ms())
        return min((moment for moment in moments if moment is not None), default=now_ms + IDLE_MS)

    def step(self, now_ms: int) -> Iterator[Change]:
        """Let everything happen that is due, and give what the truth should know of it. To be run to its end."""
        self.wire.to_device(self.line.read(), now_ms)
        yield from self._happen(now_ms)
        up, down = self.wire.due(now_ms)
        self.panel.feed(down, now_ms)
        if said := self.panel.poll(now_ms):
            self.wire.to_host(said, now_ms)
        up += self.wire.due(now_ms)[0]
        # The truth knows of a press before the host does, or a killed simulator would leave a press that never was.
        yield from self.panel.take_events()
        self.line.write(up)

    def _happen(self, now_ms: int) -> Iterator[Change]:
        while self.ahead and self.ahead[0].at_ms <= now_ms:
            happening = self.ahead.pop(0)
            match happening.kind:
                case "closure":
                    # At its own moment, however late this thread is: bounces 5 ms apart must stay 5 ms apart.
                    self.panel.press(happening.button, happening.at_ms)
                case "reboot":
                    self._reboot(now_ms)
                case "unplug" if self.line.plugged:
                    self.line.unplug()
                    self.wire.cut()
                    yield Unplugged(now_ms)
                case "replug" if not self.line.plugged:
                    self.line.replug()
                    yield Replugged(now_ms)

    def _reboot(self, now_ms: int) -> None:
        if self.boot_file is not None:
            # First down, then used: a boot number must never come twice.
            keep_boot(self.boot_file, self.panel.boot + 1)
        self.panel.reboot(now_ms)


class Commands:
    """What other threads want done to the panels; each call returns at once and wakes the serving thread."""

    def __init__(self) -> None:
        self._wanted: SimpleQueue[tuple[str, str, int]] = SimpleQueue()
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)

    def press(self, window: str, button: int) -> None:
        """A finger pushes a button; what comes of it depends on the station's faults."""
        self._want(window, "press", button)

    def reboot(self, window: str) -> None:
        """Power off and on."""
        self._want(window, "reboot")

    def unplug(self, window: str) -> None:
        """Pull the cable."""
        self._want(window, "unplug")

    def replug(self, window: str) -> None:
        """Put the cable back."""
        self._want(window, "replug")

    def wake(self) -> None:
        """Have the serving thread look around, for instance at its `stop`."""
        try:
            self._wake.send(b".")
        except BlockingIOError:
            pass  # plenty of wake-ups are waiting already

    def close(self) -> None:
        self._wake.close()
        self._woken.close()

    def fileno(self) -> int:
        return self._woken.fileno()

    def take(self) -> list[tuple[str, str, int]]:
        """(window, what, button) of all that is wanted by now, in order."""
        try:
            self._woken.recv(READ_MAX)
        except BlockingIOError:
            pass
        wanted = []
        try:
            while True:
                wanted.append(self._wanted.get_nowait())
        except Empty:
            return wanted

    def _want(self, window: str, what: str, button: int = 0) -> None:
        self._wanted.put((window, what, button))
        self.wake()


def serve(
    stations: Sequence[Station],
    now: Callable[[], int],
    stop: threading.Event,
    commands: Commands,
    on_event: Callable[[str, Change], None],
) -> None:
    """Run the panels until `stop` is set; lines stay as they are then, their owner closes them.

    `now` is a clock in ms that never goes back, see `steady_clock`. `on_event(window, event)` is called on this
    thread for each press made and thanked, each reboot, and each cable out or back.
    """
    places = {station.window: station for station in stations}
    while not stop.is_set():
        with selectors.DefaultSelector() as selector:
            selector.register(commands, selectors.EVENT_READ, commands)
            for station in stations:
                if station.line.fileno() >= 0:
                    selector.register(station.line.fileno(), selectors.EVENT_READ, station)
            _serve_while_plugged_so(places, selector, now, stop, commands, on_event)


def _serve_while_plugged_so(
    places: dict[str, Station],
    selector: selectors.BaseSelector,
    now: Callable[[], int],
    stop: threading.Event,
    commands: Commands,
    on_event: Callable[[str, Change], None],
) -> None:
    """Serve until `stop`, or until what has to be waited for is no longer the same."""
    turns = _turns(places.values())
    due_ms = dict.fromkeys(places, 0)
    while not stop.is_set() and turns == _turns(places.values()):
        wait_ms = min([IDLE_MS, *(due - now() for due in due_ms.values())])
        ready = [key.data for key, _ in selector.select(max(0, wait_ms) / 1000)]
        now_ms = now()
        busy = {station.window for station in ready if isinstance(station, Station)}
        busy |= {window for window, due in due_ms.items() if due <= now_ms}
        if commands in ready:
            busy |= _plan(commands.take(), places, now_ms)
        for window in sorted(busy):
            for event in places[window].step(now_ms):
                on_event(window, event)
            due_ms[window] = places[window].next_ms(now_ms)


def _turns(stations: Iterable[Station]) -> int:
    return sum(station.line.turns for station in stations)


def _plan(wanted: list[tuple[str, str, int]], places: dict[str, Station], now_ms: int) -> set[str]:
    """Put what is wanted among what is going to happen; the windows it concerns."""
    for window, what, button in wanted:
        station = places[window]
        match what:
            case "press":
                happenings = finger(button, now_ms, station.faults, station.rng)
            case "reboot" | "unplug" | "replug":
                happenings = [Happening(now_ms, what)]
        station.plan(happenings)
    return {window for window, _, _ in wanted}


def steady_clock() -> Callable[[], int]:
    """A clock in ms that tells the time of day but never goes back, even if somebody sets this machine's."""
    ahead_ms = time.time_ns() // 1_000_000 - time.monotonic_ns() // 1_000_000
    return lambda: time.monotonic_ns() // 1_000_000 + ahead_ms
