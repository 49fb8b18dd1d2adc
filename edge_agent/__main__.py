"""Wiring only: settings → parts → loops. It stops on the first failure; a supervisor starts it again."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import signal
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from protocols.cases import Sealer
from protocols.errors import BadSettings, Mistake
from protocols.words import Words

from . import clock
from .clerks import Clerks
from .config import DetailsSettings, DoorSettings, Settings, UplinkSettings, secret, tls_context
from .details import CaseDetails, beside
from .lately import Lately
from .lines import Line, lines_of
from .outbox import Outbox
from .outbox.file import READ_ONLY, OutboxForked, OutboxMismatch, is_damage, lacks
from .page import OWN, Page
from .setup.again import Again
from .setup.beside import Beside
from .setup.place import Place, Running
from .uplink import Broker, Uplink

log = logging.getLogger(__name__)

_STOPPED = "代理已停止 / agent stopped: %s"
_TURN_S = 0.0005  # Python's threads change this often: a press takes twenty turns, and must not wait for each while a
# month's backlog is sent or looked through
_ROOM_AGAIN_S = 1.0  # somebody has to make room first
_STOP_S = 1.8  # from the signal to the end; a supervisor and a person wait two seconds gladly


def run(settings: Settings, folder: Path, file: Path | None = None, lately: Lately | None = None) -> Again | None:
    """Run the agent until SIGTERM or SIGINT, or until its setup page wants it started again: what to start then. Files
    in the settings are relative to `folder`; `file` is the settings' own, without which there is no setup page."""
    started = clock.now()
    sys.setswitchinterval(_TURN_S)
    broker = _broker(settings.uplink, folder)
    (outbox, details), front = _awaited(settings, folder)
    lines = lines_of(settings.windows, folder, outbox, started)
    windows = [window for line in lines for window in line.windows]
    line_of = {window.id: line for line in lines for window in line.windows}
    uplink = Uplink(
        broker,
        settings.agent,
        outbox,
        lambda moment: [window.health(moment) for window in windows],
        clock.now,
        settings.uplink.receipt_wait_ms,
        settings.uplink.health_every_s,
        details,
    )

    def changed(window: str) -> None:
        uplink.wake()
        # Its own thread has just written a press and needs no waking; a door's thread has not.
        line = line_of.get(window)
        if line is not None and threading.current_thread().name != line.name:
            line.link.wake()

    outbox.listen(changed)
    stop, ended = threading.Event(), threading.Event()
    failures: list[BaseException] = []
    wanted: list[Again] = []

    def again(kept: Path | None) -> None:
        wanted.append(Again(kept))
        halt()

    def halt() -> None:
        stop.set()
        uplink.wake()
        for line in lines:
            line.link.wake()

    def loop(name: str, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - not handled here: handed to the main thread, which ends with it
                failures.append(error)
            finally:
                halt()

        return threading.Thread(target=guarded, name=name, daemon=True)

    def end_all_the_same() -> None:
        # A name server or a broker that does not answer can hold a loop for minutes. Nothing has to be put in order
        # before the end: whatever was acknowledged is on the disk.
        stop.wait()
        if not ended.wait(_STOP_S):
            for failure in failures:
                log.error("代理因错停止 / stopped by an error", exc_info=failure)
            if not failures:
                log.info(_STOPPED, settings.agent)
            logging.shutdown()
            if wanted and not failures:
                wanted[0].start()
            os._exit(1 if failures else 0)

    def carrier(line: Line) -> Callable[[], None]:
        return lambda: line.carry(clock.now, stop)

    def after_start() -> None:
        outbox.after_start(stop)
        stop.wait()  # done is not the end

    signal.signal(signal.SIGTERM, lambda *_: halt())
    signal.signal(signal.SIGINT, lambda *_: halt())
    threads = [loop(line.name, carrier(line)) for line in lines]
    # The door is not waited for at the end: whoever listens to a stream there may do so for minutes.
    place = None
    if file is not None and settings.door is not None and settings.door.has_setup:
        running = Running(settings, outbox, lines, uplink, details)
        place = Place(file, clock.now, lately or Lately(), again, settings.door.host, running)
    doors = (
        [loop("door", _door(settings, settings.door, folder, outbox, lines, front, details, place))]
        if settings.door is not None
        else []
    )
    later = loop("after start", after_start)
    threading.Thread(target=end_all_the_same, name="end", daemon=True).start()
    for thread in [*threads, *doors, later]:
        thread.start()
    log.info("代理已启动 / agent started: %s, epoch %s", settings.agent, outbox.epoch)
    try:
        uplink.run(stop)
    except BaseException as error:  # noqa: BLE001 - raised again below, after the others have ended
        failures.append(error)
    halt()
    for thread in threads:
        thread.join()
    later.join(_STOP_S)  # what it may still be at reads beside everything else
    if failures and isinstance(failures[0], OutboxForked):
        outbox.condemn(clock.now().wall_ms, "forked")
    elif failures and is_damage(failures[0]):
        outbox.condemn(clock.now().wall_ms)
    outbox.close()
    if details is not None:
        details.close()
    ended.set()
    if failures:
        raise failures[0]
    log.info(_STOPPED, settings.agent)
    return wanted[0] if wanted else None


def set_up(file: Path, port: int, lately: Lately, told: Callable[[str], None]) -> Again | None:
    """Serve the guide alone, on loopback, for a folder that has no settings yet: what to start once it has; None if it
    was stopped before. `told` is given the address to open."""
    stop, wanted = threading.Event(), list[Again]()

    def again(kept: Path | None) -> None:
        wanted.append(Again(kept))
        stop.set()

    door = DoorSettings(port=port)
    place = Place(file, clock.now, lately, again, door.host)
    module = importlib.import_module(".door", __package__)
    try:
        server, number = module.serve(_setup_page(place), door.host, door.port)
    except (OSError, ValueError) as error:
        raise BadSettings([_why_shut(door, error)]) from error
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    threading.Thread(target=server.run, name="door", daemon=True).start()
    told(f"http://{door.host}:{number}/setup/")
    while not stop.wait(0.5):
        pass  # a wait without end would not hear a signal on every system
    return wanted[0] if wanted else None


def _setup_page(place: Place) -> Any:
    return importlib.import_module(".door.setup", __package__).create(place)


class NoRoom(Exception):
    """The outbox cannot be opened for want of room, or because its disk is read-only."""


class _Shut:
    """The door of an agent that cannot have its outbox yet: it says so to whoever asks."""

    def __init__(self, settings: Settings, door: DoorSettings, folder: Path, why: str):
        module = importlib.import_module(".door", __package__)
        token = secret("door.token", door.token, door.token_file, folder)
        self.front = module.Front(module.create_shut(token, why))
        server = _bound(module, door, folder, self.front)
        self.thread = threading.Thread(target=server.run, name="door", daemon=True)
        self.thread.start()


def _awaited(settings: Settings, folder: Path) -> tuple[tuple[Outbox, CaseDetails | None], _Shut | None]:
    """The outbox and what stands beside it, when there is room for it; and the door that had to say until then that
    nothing is accepted."""
    shut, said = None, ""
    while True:
        try:
            return _kept(settings, folder, clock.now().wall_ms), shut
        except NoRoom as lack:
            why = str(lack)
        if why != said:
            zh, en = ("只读", "is read-only") if why == READ_ONLY else ("已满", "is full")
            path = folder / settings.outbox.path
            log.error("存储%s, 按键不收, 有空间后自动继续 / storage %s, nothing is accepted: %s", zh, en, path)
            said = why
        if shut is None and settings.door is not None:
            shut = _Shut(settings, settings.door, folder, why)
        threading.Event().wait(_ROOM_AGAIN_S)


def _kept(settings: Settings, folder: Path, now_ms: int) -> tuple[Outbox, CaseDetails | None]:
    path = folder / settings.outbox.path
    with _opening(path):
        outbox = Outbox(path, settings.agent, now_ms, settings.outbox.max_megabytes, sole=True)
    try:
        with _opening(path):
            return outbox, _details(settings, beside(path), now_ms)
    except BaseException:
        outbox.close()
        raise


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    try:
        yield
    except OutboxMismatch as error:
        mistake = Mistake.read(str(error).removeprefix(f"{path}: "))
        raise BadSettings([mistake.under(f"outbox.path: {path}")]) from error
    except (sqlite3.OperationalError, OSError) as error:
        why = lacks(path)
        if why:
            raise NoRoom(why) from error
        words = Words(f"{path} 打不开或写不了: {error}", f"{path} cannot be opened or written: {error}")
        raise BadSettings([Mistake("outbox.path", words)]) from error


def _details(settings: Settings, path: Path, now_ms: int) -> CaseDetails | None:
    """What waits there goes out also where no more are taken."""
    if settings.details is None:
        return CaseDetails(path, None, now_ms) if path.exists() else None
    return CaseDetails(path, sealer_of(settings.details), now_ms, settings.outbox.max_megabytes)


def sealer_of(details: DetailsSettings) -> Sealer:
    """What hides for the key that is named there; BadSettings if it is none, or if its cipher is not installed."""
    # The ciphers cost an agent ten megabytes, so they are loaded where they are asked for.
    national = details.key.startswith("sm2:")
    try:
        module = importlib.import_module("protocols.seal_sm" if national else "protocols.seal")
    except ModuleNotFoundError as error:
        extra = "agent-national" if national else "agent"
        install = f"pip install 'hall-rating-collector[{extra}]'"
        words = Words(f"缺少密码组件 {error.name}, 请安装: {install}", f"{error.name} is missing: {install}")
        raise BadSettings([Mistake("details.key", words)]) from error
    try:
        found: Sealer = (module.SmPublicKey if national else module.PublicKey).from_text(details.key)
    except BadSettings as error:
        raise BadSettings([mistake.under("details.key") for mistake in error.mistakes]) from error
    return found


def _door(
    settings: Settings,
    door: DoorSettings,
    folder: Path,
    outbox: Outbox,
    lines: list[Line],
    shut: _Shut | None,
    details: CaseDetails | None,
    place: Place | None,
) -> Callable[[], None]:
    """The door's loop; its port is bound when this returns."""
    # Flask costs an agent without a door ten megabytes and a tenth of a second, so it is loaded here.
    module = importlib.import_module(".door", __package__)
    token = secret("door.token", door.token, door.token_file, folder)
    seconds = {each.id: each.invite_s for each in settings.windows}
    pages = {line.windows[0].id: line.link for line in lines if isinstance(line.link, Page)}
    presses = {window: page.press for window, page in pages.items()}
    screens = {
        each.id: module.Screen(each.id, each.device, presses[each.id], each.reasons, each.walk_in)
        for each in settings.windows
        if each.id in presses and each.profile == OWN
    }
    windows = {window.id: window for line in lines for window in line.windows}
    people = module.People(
        screens, Clerks(folder), lambda window: windows[window].health(clock.now()), tuple(door.embed)
    )
    app = module.create_app(outbox, seconds, token, clock.now, presses, details, people)
    if place is not None:
        app = Beside(app, lambda: _setup_page(place))
        log.info("设置页 / setup page: http://%s:%s/setup/", door.host, door.port)
    if shut is not None:
        shut.front.app = app
        return shut.thread.join
    run: Callable[[], None] = _bound(module, door, folder, app).run
    return run


def _bound(module: Any, door: DoorSettings, folder: Path, app: Any) -> Any:
    """A server for this application at the door's address, not yet running."""
    try:
        server, port = module.serve(app, door.host, door.port)
    except (OSError, ValueError) as error:
        raise BadSettings([_why_shut(door, error)]) from error
    if door.port_file:
        _write_port(folder / door.port_file, port)
    log.info("本机接口 / door: http://%s:%s", door.host, port)
    return server


def _why_shut(door: DoorSettings, error: Exception) -> Mistake:
    if isinstance(error, ValueError | socket.gaierror):  # waitress says ValueError for a host that nobody knows
        return Mistake("door.host", Words(f"找不到主机名 {door.host!r}", f"no such host name {door.host!r}"))
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return Mistake("door.port", Words(f"端口 {door.port} 已被占用", f"{door.port} is taken by another program"))
    if number == errno.EADDRNOTAVAIL:
        words = Words(f"{door.host!r} 不是本机的地址", f"{door.host!r} is no address of this machine")
        return Mistake("door.host", words)
    return Mistake("door.port", Words(f"端口 {door.port} 用不了: {error}", f"{door.port} cannot be used: {error}"))


def _write_port(file: Path, port: int) -> None:
    try:
        file.write_text(str(port), encoding="utf-8")
    except OSError as error:
        words = Words(f"{file} 写不了: {error.strerror}", f"{file} cannot be written: {error.strerror}")
        raise BadSettings([Mistake("door.port_file", words)]) from error


def _broker(uplink: UplinkSettings, folder: Path) -> Broker:
    password = secret("uplink.password", uplink.password, uplink.password_file, folder)
    context = tls_context(uplink.tls, folder) if uplink.tls is not None else None
    return Broker(uplink.host, uplink.port, password, uplink.keepalive_s, context)


if __name__ == "__main__":
    importlib.import_module(".cli", __package__).main()
