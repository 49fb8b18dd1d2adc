"""Wiring only: settings → parts → loops. It stops on the first failure; a supervisor starts it again."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from protocols.dialects import Dialect
from protocols.errors import BadSettings

from . import web
from .alerts.alerts import Alerts
from .alerts.facts import Seen, Work
from .alerts.heartbeat import Heartbeat
from .alerts.reading import Reader, disk
from .alerts.settings import heartbeat_of
from .alerts.wiring import alerts_of, watch_of
from .checkpoint import Daily
from .config import BrokerSettings, Settings, WebSettings, tls_context
from .credentials import secret
from .directory import Directory
from .forwarder import Forwarder
from .inbox import Broker, Inbox
from .ledger.channels import Channels
from .ledger.delivery import Delivery
from .ledger.desk import Desk
from .ledger.details import Details, Keep, hides
from .ledger.file import READ_ONLY, LedgerDamaged, is_damage, lacks, suspect
from .ledger.intake import Intake
from .ledger.overview import Overview
from .ledger.since import Since
from .ledger.store import Store
from .mending.draws import Draws
from .mending.mendings import Mendings
from .pace import Pace
from .people import People, Rules, open_people
from .provinces import dialect
from .statistics import Statistics
from .vault import Vault, new_key, read_keys
from .web.channels import Client
from .web.healthz import well
from .web.keeper import Keeper
from .windows.past import Past, past_of

log = logging.getLogger(__name__)

_LOOK_S = 0.05  # 20 MB a second at most: a disk has better things to do, and 10 GB are gone through in ten minutes
_LOOK_AGAIN_S = 6 * 3600.0  # what turned round meanwhile has been read by few
_FORGET_AGAIN_S = 3600.0  # the rule counts in days
_ROOM_AGAIN_S = 1.0  # somebody has to make room first
_NOTE_S = 60.0  # noise and backlog are looked at by the day
_END_S = 1.5  # a service manager, and a person, want to see it end


def now_ms() -> int:
    """Milliseconds UTC."""
    return time.time_ns() // 1_000_000


def run(settings: Settings, directory: Directory, folder: Path) -> None:
    """Run the collector until SIGTERM or SIGINT. Files in the settings are relative to `folder`."""
    path = folder / settings.ledger.path
    alerts = alerts_of(settings.alerts, folder, path, os.environ, now_ms)
    shut = _room_awaited(settings, folder, path, alerts)
    try:
        vault = _vault(folder / settings.details.key_file, path, bool(settings.broker.share))
        store = Store(path, sole=not settings.broker.share, now_ms=now_ms())
        _run(store, vault, settings, directory, folder, alerts, shut)
    except Exception as error:
        if not is_damage(error):
            raise
        # It ends without another word to the disk; the next start looks into all of the ledger and mends it.
        suspect(path, str(error))
        raise LedgerDamaged(str(error)) from error


class _Shut:
    """The pages of a collector that cannot have its ledger yet: they say so to whoever looks."""

    def __init__(self, web_settings: WebSettings, folder: Path, why: str):
        self.front = web.Front(web.create_shut(why))
        self.server = _bound(web_settings, folder, self.front)
        self.thread = threading.Thread(target=self.server.run, name="web", daemon=True)
        self.thread.start()


def _room_awaited(settings: Settings, folder: Path, path: Path, alerts: Alerts) -> _Shut | None:
    """Return when there is room for a ledger to grow; the pages that had to say until then that there is none.

    Agents keep what they have meanwhile: nobody is there to give receipts.
    """
    shut, said = None, ""
    while why := lacks(path):
        if why != said:
            words = "存储%s, 不收也不给回执, 有空间后自动继续 / storage %s, nothing is taken or receipted: %s"
            log.error(words, *(("只读", "is read-only") if why == READ_ONLY else ("已满", "is full")), path)
            said = why
        if shut is None and settings.web is not None:
            shut = _Shut(settings.web, folder, why)
        alerts.look_shut(Seen(now_ms(), **disk(path)))
        time.sleep(_ROOM_AGAIN_S)
    return shut


def _vault(file: Path, ledger: Path, shared: bool) -> Vault:
    """The keys of citizens' details; a new one where there is none. A ledger whose key is missing goes on: presses need
    none, and what it hides waits for the key, or for the business system."""
    try:
        vault = read_keys(file, os.environ)
        if vault is not None:
            return vault
        if shared:
            words = "数家汇聚器共用账本, 请各放同一份 / several collectors share the ledger: give each the same one"
            raise BadSettings([f"details.key_file: {file}: 没有密钥文件 / no key file; {words}"])
        made = new_key(file)
    except OSError as error:
        raise BadSettings([f"details.key_file: {file}: 用不了 / cannot be used: {error.strerror}"]) from error
    if ledger.exists() and hides(ledger):
        words = (
            "账本中的办件信息用另一把密钥隐藏, 请把它加在此文件末尾并重启; 找不到则请业务系统重新提交"
            " / details in the ledger are hidden with another key: add it below in this file and start again, or have"
            " the business system post them again"
        )
        log.error("%s: %s", words, file)
    log.warning("已生成办件信息密钥, 请另行备份 / key of citizens' details made, keep a copy elsewhere: %s", file)
    return made


def _run(
    store: Store,
    vault: Vault,
    settings: Settings,
    directory: Directory,
    folder: Path,
    alerts: Alerts,
    shut: _Shut | None = None,
) -> None:
    if settings.web is not None:
        directory = directory.with_clients((each.name, each.channels) for each in settings.web.clients)
    intake = Intake(store, directory, vault)
    cured = intake.cure(now_ms())
    if cured:
        log.info("目录更新后 %s 条按键有了含义 / presses that the directory now gives a meaning", cured)
    stop = threading.Event()
    failures: list[BaseException] = []
    enders: list[Callable[[], None]] = []

    def loop(name: str, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - not handled here: handed to the main thread, which ends with it
                failures.append(error)
            finally:
                stop.set()

        return threading.Thread(target=guarded, name=name, daemon=True)

    def asked_to_end(*_: object) -> None:
        # Not stop.set() itself: this may interrupt the main thread while it holds the lock of `stop`.
        threading.Thread(target=stop.set, daemon=True).start()

    signal.signal(signal.SIGTERM, asked_to_end)
    signal.signal(signal.SIGINT, asked_to_end)
    threads = []
    province = dialect(settings.province, folder) if settings.province is not None else None
    daily = None
    if settings.checkpoint is not None:
        daily = Daily(store, folder / settings.checkpoint.key_file, folder / settings.checkpoint.folder, now_ms)
        enders.append(daily.stop)
        threads.append(loop("checkpoint", daily.work))
    inbox = Inbox(_broker(settings.broker, folder), intake, directory.agents, now_ms)
    mendings = Mendings(store, vault, settings.mending.rules())
    past = Past(past_of(store.path))
    threads.append(loop("past", lambda: _note_past(Since(store), past, stop)))
    if settings.web is not None:
        desk = Desk(store, vault, intake)
        people = _people(settings.web, store.path)
        works = web.Works(mendings, Draws(store), Statistics(store, vault, mendings, directory))
        app = _web(
            settings.web, store, intake, directory, folder, province, daily, desk, people, alerts, inbox, works, past
        )
        if shut is not None:
            shut.front.app = app
            server, serving = shut.server, shut.thread.join
        else:
            server = _bound(settings.web, folder, app)
            serving = server.run
        enders += [server.close, app.extensions["board"].end]
        threads.append(loop("web", serving))
    if settings.province is not None and province is not None:
        pace = Pace(settings.province.calls_per_s)
        forwarder = Forwarder(Delivery(store, vault), province, settings.province.timeout_s, now_ms, pace=pace)
        store.listen(forwarder.wake)
        enders.append(forwarder.stop)
        threads += [loop(f"forwarder-{worker}", forwarder.work) for worker in range(settings.province.workers)]
    checkpoints = daily.state if daily is not None else lambda: None
    unrated = watch_of(settings.alerts, store, directory).look
    alerts.begin(Reader(store, directory, now_ms(), checkpoints, lambda at_ms: _work(mendings, at_ms), unrated))
    url = heartbeat_of(settings.alerts, folder, os.environ)
    if url:
        heartbeat = Heartbeat(url, lambda: well(Overview(store), lambda: inbox.connected, province is not None, now_ms))
        enders.append(heartbeat.stop)
        threads.append(loop("heartbeat", heartbeat.work))
    store.listen(alerts.wake)
    enders.append(alerts.stop)
    threads += [loop(name, work) for name, work in alerts.loops()]
    threads.append(loop("look", lambda: _look(store, stop)))
    keep = Keep(settings.details.keep_days, settings.details.unrated_keep_days)
    threads.append(loop("details", lambda: _look_after(Details(store, vault, keep), mendings, stop)))
    for thread in threads:
        thread.start()
    log.info("汇聚器已启动 / collector started: %s", store.path)
    try:
        inbox.run(stop)
    finally:
        failed = failures[:]  # what breaks from here on breaks because we end
        damaged = any(is_damage(each) for each in (*failed, sys.exc_info()[1]) if each is not None)
        for end in enders:
            end()
        if _all_ended(threads):
            past.close()
            if not damaged:
                store.close()
    if failed:
        raise failed[0]
    log.info("汇聚器已停止 / collector stopped")


def _work(mendings: Mendings, at_ms: int) -> Work:
    """What alerts are told of bad ratings whose mending is due."""
    reminders = mendings.reminders(at_ms)
    soon = [each.mending.deadline_ms for each in reminders if each.kind == "due_soon"]
    late = [each.mending.deadline_ms for each in reminders if each.kind == "overdue"]
    return Work(len(soon), min(soon, default=0), len(late), min(late, default=0))


def _note_past(since: Since, past: Past, stop: threading.Event) -> None:
    """What agents say of noise and backlog, kept by the hour: they say only how it stands."""
    marks: dict[str, tuple[Any, ...]] = {}
    while True:
        heard = [*since.heard(marks)]
        since.rest()
        past.note(heard)
        past.forget(now_ms())
        marks.update({each.agent: each.mark for each in heard})
        if stop.wait(_NOTE_S):
            return


def _look(store: Store, stop: threading.Event) -> None:
    """Page by page through the ledger, again and again: the disk may turn a bit round at any time."""
    page = 1
    while not stop.wait(_LOOK_S):
        page = store.look(page)
        if not page:
            log.info("账本每一页都与写入时相同 / every page of the ledger is what was written")
            stop.wait(_LOOK_AGAIN_S)
            page = 1


def _look_after(details: Details, mendings: Mendings, stop: threading.Event) -> None:
    """Hide what an older program left in clear, once; then delete what nobody needs any longer, every now and then."""
    hidden = 0
    while (some := details.hide()) and not stop.wait(_LOOK_S):
        hidden += some
    if hidden:
        log.info("已隐藏 %s 个办件的信息 / details of cases hidden that stood in clear", hidden)
    while not stop.is_set():
        forgotten = 0
        while (some := details.forget(now_ms())) and not stop.wait(_LOOK_S):
            forgotten += some
        while mendings.forget(now_ms()) and not stop.wait(_LOOK_S):
            pass  # the words of steps whose time is over
        if forgotten:
            log.info("已按保存期限删除 %s 个办件的个人信息 / personal details deleted as the rule says", forgotten)
        stop.wait(_FORGET_AGAIN_S)


def _all_ended(threads: list[threading.Thread]) -> bool:
    """Wait a little. One that is still connecting is left behind: its call is written down as begun, which is true."""
    last_s = time.monotonic() + _END_S
    for thread in threads:
        thread.join(max(0.0, last_s - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def _web(
    web_settings: WebSettings,
    store: Store,
    intake: Intake,
    directory: Directory,
    folder: Path,
    province: Dialect | None,
    daily: Daily | None,
    desk: Desk,
    people: People,
    alerts: Alerts,
    inbox: Inbox,
    works: web.Works,
    past: Past,
) -> Any:
    token = secret(web_settings.token, web_settings.token_file, folder)
    metrics_token = ""
    if web_settings.metrics_token or web_settings.metrics_token_file:
        metrics_token = secret(web_settings.metrics_token, web_settings.metrics_token_file, folder)
    clients = [
        Client(each.name, secret(each.secret, each.secret_file, folder), tuple(each.channels))
        for each in web_settings.clients
    ]
    return web.create_app(
        Overview(store),
        intake,
        desk,
        Channels(store, intake),
        directory,
        Keeper(people, token, now_ms, metrics_token),
        clients,
        now_ms,
        case_lacks=province.case_lacks if province is not None else lambda _case: (),
        checkpoint=daily.state if daily is not None else lambda: None,
        alerts=alerts,
        connected=lambda: inbox.connected,
        forwards=province is not None,
        works=works,
        past=past,
    )


def _people(web_settings: WebSettings, ledger: Path) -> People:
    """Who may sign in to the pages. A damaged file of theirs holds up no press."""
    rules = Rules(web_settings.idle_minutes * 60_000, web_settings.session_hours * 3_600_000)
    people, aside = open_people(ledger, now_ms(), rules)
    if aside is not None:
        words = "人员文件损坏, 已移存, 请重新添加 / the file of people was damaged and set aside: add people again"
        log.error("%s: %s", words, aside)
    if people.empty():
        log.warning("还没有可以登录的人 / nobody can sign in yet: collector people add NAME --role administrator")
    return people


def _bound(web_settings: WebSettings, folder: Path, app: Any) -> Any:
    """A server for this application, not yet running."""
    server = web.serve(app, web_settings.host, web_settings.port, web_settings.trusted_proxy)
    if web_settings.port_file:
        _write_whole(folder / web_settings.port_file, str(server.effective_port))
    log.info("网页 / page: http://%s:%s", web_settings.host, server.effective_port)
    return server


def _broker(broker: BrokerSettings, folder: Path) -> Broker:
    password = secret(broker.password, broker.password_file, folder)
    context = tls_context(broker.tls, folder) if broker.tls is not None else None
    return Broker(broker.host, broker.port, broker.user, password, broker.keepalive_s, context, broker.share)


def _write_whole(path: Path, text: str) -> None:
    """All of it or nothing: whoever waits for this file never reads half of it."""
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


if __name__ == "__main__":
    importlib.import_module(".cli", __package__).main()
