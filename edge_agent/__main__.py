"""Wiring only: settings → parts → loops. It stops on the first failure; a supervisor starts it again."""

from __future__ import annotations

import importlib
import logging
import signal
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

from . import clock
from .config import DoorSettings, Settings, TlsSettings, UplinkSettings, secret
from .link import Link, carry
from .outbox import Outbox
from .uplink import Broker, Uplink
from .window import Window

log = logging.getLogger(__name__)


def run(settings: Settings, folder: Path) -> None:
    """Run the agent until SIGTERM or SIGINT. Files in the settings are relative to `folder`."""
    started = clock.now()
    outbox = Outbox(folder / settings.outbox.path, settings.agent, started.wall_ms, settings.outbox.max_megabytes)
    if outbox.set_aside is not None:
        log.error(
            "存档损坏, 已原样移至 / outbox was damaged, set aside whole as %s; 新纪元 / new epoch %s",
            outbox.set_aside,
            outbox.epoch,
        )
    windows = {each.id: Window(each.id, each.device, outbox, started, each.silent_after_s) for each in settings.windows}
    links = {each.id: Link(each.port, each.baud) for each in settings.windows}
    uplink = Uplink(
        _broker(settings.uplink, folder),
        settings.agent,
        outbox,
        lambda moment: [window.health(moment) for window in windows.values()],
        clock.now,
        settings.uplink.receipt_wait_ms,
        settings.uplink.health_every_s,
    )

    def changed(window: str) -> None:
        uplink.wake()
        # Its own thread has just written a press and needs no waking; a door's thread has not.
        if threading.current_thread().name != f"window-{window}" and window in links:
            links[window].wake()

    outbox.listen(changed)
    stop = threading.Event()
    failures: list[BaseException] = []

    def halt() -> None:
        stop.set()
        uplink.wake()
        for link in links.values():
            link.wake()

    def loop(name: str, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - not handled here: handed to the main thread, which ends with it
                failures.append(error)
            finally:
                halt()

        return threading.Thread(target=guarded, name=name, daemon=True)

    def carrier(window: str) -> Callable[[], None]:
        return lambda: carry(links[window], windows[window], clock.now, stop)

    signal.signal(signal.SIGTERM, lambda *_: halt())
    signal.signal(signal.SIGINT, lambda *_: halt())
    threads = [loop(f"window-{each}", carrier(each)) for each in windows]
    close_door = _nothing
    if settings.door is not None:
        threads_door, close_door = _door(settings, settings.door, folder, outbox, loop)
        threads.append(threads_door)
    for thread in threads:
        thread.start()
    log.info("代理已启动 / agent started: %s, epoch %s", settings.agent, outbox.epoch)
    try:
        uplink.run(stop)
    finally:
        halt()
        close_door()
        for thread in threads:
            thread.join(2)
        outbox.close()
    if failures:
        raise failures[0]


def _door(
    settings: Settings,
    door: DoorSettings,
    folder: Path,
    outbox: Outbox,
    loop: Callable[[str, Callable[[], None]], threading.Thread],
) -> tuple[threading.Thread, Callable[[], None]]:
    # Flask costs an agent without a door ten megabytes and a tenth of a second, so it is loaded here.
    module = importlib.import_module(".door", __package__)
    token = secret(door.token, door.token_file, folder)
    app = module.create_app(outbox, {each.id: each.invite_s for each in settings.windows}, token, clock.now)
    server = module.serve(app, door.host, door.port)
    if door.port_file:
        (folder / door.port_file).write_text(str(server.effective_port), encoding="utf-8")
    log.info("本机接口 / door: http://%s:%s", door.host, server.effective_port)
    return loop("door", server.run), server.close


def _broker(uplink: UplinkSettings, folder: Path) -> Broker:
    password = secret(uplink.password, uplink.password_file, folder)
    context = _tls(uplink.tls, folder) if uplink.tls is not None else None
    return Broker(uplink.host, uplink.port, password, uplink.keepalive_s, context)


def _tls(tls: TlsSettings, folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / tls.ca) if tls.ca else None)
    if tls.certificate:
        context.load_cert_chain(folder / tls.certificate, folder / tls.key_file if tls.key_file else None)
    return context


def _nothing() -> None:
    pass


if __name__ == "__main__":
    importlib.import_module(".cli", __package__).main()
