"""Carries the panels' bytes over a pty or TCP, and runs many panels on one thread. The only I/O of the panels."""

from __future__ import annotations

import os
import selectors
import socket
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal

from firmware_sim.bench import Cable, Change
from firmware_sim.faults import Faults, Happening
from firmware_sim.panels.base import Panel

READ_MAX = 4_096
# Nothing is held back for a slow reader: a UART does not wait, and a press frame that lies about says a wrong age.
# So the bound is the kernel's own buffer: about 20 KB behind a pty (pyserial empties it on open), this much behind TCP.
TCP_SEND_MAX = 4_096
_OSPEED = 5  # place in what tcgetattr gives
_BAUDS = {getattr(termios, f"B{baud}"): baud for baud in (1_200, 2_400, 4_800, 9_600, 19_200, 38_400, 57_600, 115_200)}
IDLE_MS = 200  # how late a bare `stop.set()` is noticed


class Line:
    """A cable's device end. Plugged in once made; nothing here ever waits for the other end."""

    datagrams = False
    """Whether each write is one message and must stay so."""

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

    def rename(self) -> None:
        """When it is plugged in again, it has another name or address. A line without names stays as it is."""

    def host_baud(self) -> int | None:
        """The rate that the host has set, where that can be seen."""
        return None

    def error_as_zero(self) -> bool:
        """Whether the host reads a byte with a framing error as 00."""
        return False

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
        self._first = self.link
        super().__init__()

    def fileno(self) -> int:
        return self._master if self.plugged else -1

    def rename(self) -> None:
        """`panel0` becomes `panel0-other`, and the next time `panel0` again."""
        other = self._first.with_name(f"{self._first.name}-other")
        self.link = other if self.link == self._first else self._first

    def host_baud(self) -> int | None:
        return _BAUDS.get(termios.tcgetattr(self._slave)[_OSPEED]) if self.plugged else None

    def error_as_zero(self) -> bool:
        """As the kernel's line discipline: INPCK set, and neither IGNPAR nor PARMRK."""
        if not self.plugged:
            return False
        flags = termios.tcgetattr(self._slave)[0]
        return bool(flags & termios.INPCK) and not flags & (termios.IGNPAR | termios.PARMRK)

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


class Station(Cable):
    """One panel at its window with its cable, and what is still going to happen to it."""

    def __init__(
        self,
        window: str,
        panel: Panel,
        line: Line,
        faults: Faults | None = None,
        seed: int | str = 0,
        boot_file: Path | None = None,
        baud: int | None = None,
    ):
        super().__init__(panel, faults, seed)
        self.window = window
        self.line = line
        self.boot_file = boot_file
        """Where reboots are written down, if anywhere."""
        self._baud = baud
        """The device's own rate: if the host sets another on its pty, it reads nonsense."""

    def next_ms(self, now_ms: int) -> int:
        """When it wants to be stepped if nothing happens before."""
        due_ms = self.due_ms(now_ms)
        return now_ms + IDLE_MS if due_ms is None else due_ms

    def step(self, now_ms: int) -> Iterator[Change]:
        """Let everything happen that is due, and give what the truth should know of it. To be run to its end."""
        self.plugged = self.line.plugged
        self._look_at_the_terminal()
        self.to_device(self.line.read(), now_ms)
        pieces = self.carry(now_ms)
        # The truth knows of a press before the host does, or a killed simulator would leave a press that never was.
        yield from self.take_events()
        for piece in pieces if self.line.datagrams else [b"".join(pieces)]:
            self.line.write(piece)

    def _look_at_the_terminal(self) -> None:
        if self._baud is not None and (host_baud := self.line.host_baud()) is not None:
            self.wire.device_baud, self.wire.host_baud = self._baud, host_baud
        if self.wire.device_baud != self.wire.host_baud:
            self.wire.error_as_zero = self.line.error_as_zero()

    def _reboot(self, device: str, now_ms: int) -> None:
        if self.boot_file is not None:
            # First down, then used: a boot number must never come twice.
            keep_boot(self.boot_file, self.panel.boot + 1)
        super()._reboot(device, now_ms)

    def _pull(self) -> None:
        self.line.unplug()

    def _plug(self, renamed: bool) -> None:
        if renamed:
            self.line.rename()
        self.line.replug()


def swap(one: Station, other: Station) -> None:
    """Two devices change their places: each cable goes into the other's socket. Events keep their window's name."""
    one.line.unplug()
    other.line.unplug()
    one.line, other.line = other.line, one.line
    one.line.replug()
    other.line.replug()


@dataclass(frozen=True)
class Wish:
    """What another thread wants done at a window, to the panel of that name if several are on the line."""

    window: str
    what: Literal["press", "reboot", "unplug", "replug", "rename"]
    button: int = 0
    device: str = ""


class Commands:
    """What other threads want done to the panels; each call returns at once and wakes the serving thread."""

    def __init__(self) -> None:
        self._wanted: SimpleQueue[Wish] = SimpleQueue()
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)

    def press(self, window: str, button: int, device: str = "") -> None:
        """A finger pushes a button; what comes of it depends on the station's faults."""
        self._want(Wish(window, "press", button, device))

    def reboot(self, window: str, device: str = "") -> None:
        """Power off and on."""
        self._want(Wish(window, "reboot", device=device))

    def unplug(self, window: str) -> None:
        """Pull the cable."""
        self._want(Wish(window, "unplug"))

    def replug(self, window: str) -> None:
        """Put the cable back."""
        self._want(Wish(window, "replug"))

    def rename(self, window: str) -> None:
        """Put the cable back under another name."""
        self._want(Wish(window, "rename"))

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

    def take(self) -> list[Wish]:
        """All that is wanted by now, in order."""
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

    def _want(self, wish: Wish) -> None:
        self._wanted.put(wish)
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
    thread for each press made and thanked, each reboot, each cable out or back, and for what happens beside a panel.
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
                if isinstance(event, Happening) and event.kind == "swap":
                    swap(places[window], places[_next_to(window, places)])
            due_ms[window] = places[window].next_ms(now_ms)


def _turns(stations: Iterable[Station]) -> int:
    return sum(station.line.turns for station in stations)


def _plan(wishes: list[Wish], places: dict[str, Station], now_ms: int) -> set[str]:
    """Put what is wanted among what is going to happen; the windows it concerns."""
    for wish in wishes:
        if wish.what == "press":
            places[wish.window].press(wish.button, now_ms, wish.device)
        else:
            places[wish.window].plan([Happening(now_ms, wish.what, device=wish.device)])
    return {wish.window for wish in wishes}


def _next_to(window: str, places: dict[str, Station]) -> str:
    """The window that is served after this one, the first after the last."""
    windows = list(places)
    return windows[(windows.index(window) + 1) % len(windows)]


def steady_clock() -> Callable[[], int]:
    """A clock in ms that tells the time of day but never goes back, even if somebody sets this machine's."""
    ahead_ms = time.time_ns() // 1_000_000 - time.monotonic_ns() // 1_000_000
    return lambda: time.monotonic_ns() // 1_000_000 + ahead_ms
