"""Wiring only: settings → parts → loops. It stops on the first failure; a supervisor starts it again."""

from __future__ import annotations

import importlib
import logging
import signal
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

from . import web
from .config import BrokerSettings, ProvinceSettings, Settings, WebSettings, dialect, secret
from .directory import Directory
from .forwarder import Forwarder
from .inbox import Broker, Inbox
from .ledger.delivery import Delivery
from .ledger.intake import Intake
from .ledger.overview import Overview
from .ledger.store import Store

log = logging.getLogger(__name__)


def now_ms() -> int:
    """Milliseconds UTC."""
    return time.time_ns() // 1_000_000


def run(settings: Settings, directory: Directory, folder: Path) -> None:
    """Run the collector until SIGTERM or SIGINT. Files in the settings are relative to `folder`."""
    store = Store(folder / settings.ledger.path)
    intake = Intake(store, directory)
    cured = intake.cure(now_ms())
    if cured:
        log.info("目录更新后 %s 条按键有了含义 / presses that the directory now gives a meaning", cured)
    stop = threading.Event()
    failures: list[BaseException] = []
    wakers: list[Callable[[], None]] = []

    def halt() -> None:
        stop.set()
        for wake in wakers:
            wake()

    def loop(name: str, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - not handled here: handed to the main thread, which ends with it
                failures.append(error)
            finally:
                halt()

        return threading.Thread(target=guarded, name=name, daemon=True)

    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    threads = []
    if settings.province is not None:
        forwarder = _forwarder(settings.province, store, folder)
        store.listen(forwarder.wake)
        wakers.append(forwarder.wake)
        for worker in range(settings.province.workers):
            threads.append(loop(f"forwarder-{worker}", lambda: forwarder.work(stop)))
    close_web: Callable[[], None] = _nothing
    if settings.web is not None:
        server = _web(settings.web, store, intake, directory, folder)
        close_web = server.close
        threads.append(loop("web", server.run))
    inbox = Inbox(_broker(settings.broker, folder), intake, directory.agents, now_ms)
    for thread in threads:
        thread.start()
    log.info("汇聚器已启动 / collector started: %s", store.path)
    try:
        inbox.run(stop)
    finally:
        halt()
        close_web()
        for thread in threads:
            thread.join(2)
        store.close()
    if failures:
        raise failures[0]


def _forwarder(province: ProvinceSettings, store: Store, folder: Path) -> Forwarder:
    return Forwarder(Delivery(store), dialect(province, folder), province.timeout_s, now_ms)


def _web(web_settings: WebSettings, store: Store, intake: Intake, directory: Directory, folder: Path):  # type: ignore[no-untyped-def]
    token = secret(web_settings.token, web_settings.token_file, folder)
    app = web.create_app(Overview(store), intake, directory, token, now_ms)
    server = web.serve(app, web_settings.host, web_settings.port)
    if web_settings.port_file:
        (folder / web_settings.port_file).write_text(str(server.effective_port), encoding="utf-8")
    log.info("网页 / page: http://%s:%s", web_settings.host, server.effective_port)
    return server


def _broker(broker: BrokerSettings, folder: Path) -> Broker:
    password = secret(broker.password, broker.password_file, folder)
    context = None
    if broker.tls is not None:
        context = ssl.create_default_context(cafile=str(folder / broker.tls.ca) if broker.tls.ca else None)
        if broker.tls.certificate:
            key = folder / broker.tls.key_file if broker.tls.key_file else None
            context.load_cert_chain(folder / broker.tls.certificate, key)
    return Broker(broker.host, broker.port, broker.user, password, broker.keepalive_s, context, broker.share)


def _nothing() -> None:
    pass


if __name__ == "__main__":
    importlib.import_module(".cli", __package__).main()
