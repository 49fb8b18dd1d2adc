"""What the agent needs beside its cables: the time, room on the disk, its outbox, the broker, its door."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import sqlite3
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

from edge_agent.config import DoorSettings, Settings, UplinkSettings, tls_context
from edge_agent.outbox import Outbox
from edge_agent.outbox.file import OutboxMismatch
from protocols.errors import BadSettings
from protocols.ratings import Moment
from protocols.words import Words

from .findings import Finding, fine, or_fine

_LOW_MB, _FULL_MB = 1_000, 100  # a year of one hall is some hundred megabytes; SQLite needs room to work in as well
_OLD_MS = 3_600_000  # an hour without a receipt is no hiccup of the network
_LATER = "127.0.0.1"
_WITHIN_S = 3.0  # a broker that answers later than this is as good as away
_WITHIN_DOOR_S = 1.0  # it is on this machine


def examine(settings: Settings, file: Path, moment: Moment) -> list[Finding]:
    """All of it, for the settings of this file."""
    path = file.parent / settings.outbox.path
    return [
        *clock(moment.synced),
        *disk(path.parent),
        *outbox(path, settings.agent, moment.wall_ms, file),
        *broker(settings.uplink, file.parent),
        *(door(settings.door) if settings.door is not None else ()),
    ]


def clock(synced: bool | None) -> list[Finding]:
    """Whether somebody sets it; nothing where the system does not say."""
    if synced is None:
        return []
    trouble = Finding(
        "clock",
        "warn",
        Words("时钟没有同步", "the clock is not synchronised"),
        Words("打开网络对时", "turn time synchronisation on"),
        "sudo timedatectl set-ntp true",
    )
    return or_fine([] if synced else [trouble], "clock", "时钟已同步", "the clock is synchronised")


def disk(folder: Path, free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free) -> list[Finding]:
    """Room for the outbox. Without any, presses are not acknowledged."""
    try:
        megabytes = free(folder) // 1_000_000
    except OSError:
        return [
            Finding(
                "disk",
                "bad",
                Words(f"没有文件夹 {folder}", f"no folder {folder}"),
                Words("建立它", "make it"),
                f"sudo mkdir -p {folder}",
            )
        ]
    words = Words(
        f"磁盘剩余 {megabytes} MB: {folder.resolve()}", f"{megabytes} MB left on the disk: {folder.resolve()}"
    )
    if megabytes >= _LOW_MB:
        return [Finding("disk", "ok", words)]
    cure = Words("清出空间", "make room")
    command = "sudo journalctl --vacuum-size=200M"
    return [Finding("disk", "bad" if megabytes < _FULL_MB else "warn", words, cure, command)]


def outbox(path: Path, agent: str, now_ms: int, file: Path) -> list[Finding]:
    """The presses that are kept: whole, and not waiting for long. Only looked at."""
    if not path.exists():
        return [fine("outbox", "尚无记录, 代理还没有运行过", "no records yet, the agent never ran")]
    try:
        box = Outbox(path, agent, now_ms, look_only=True)
    except (OutboxMismatch, sqlite3.DatabaseError) as error:
        return [_unreadable(path, error)]
    try:
        return [
            _chain(box.first_break(), file),
            *_backlog(box.backlog().records, box.backlog().oldest_ms, now_ms, file),
        ]
    except sqlite3.DatabaseError as error:
        return [_unreadable(path, error)]
    finally:
        box.close()


def _unreadable(path: Path, error: Exception) -> Finding:
    return Finding(
        "outbox",
        "bad",
        Words(f"存档读不了: {path}: {error}", f"the outbox cannot be read: {path}: {error}"),
        Words("停止代理, 把文件移开保存 (不要删除)", "stop the agent and set the file aside, do not delete it"),
        f"mv {path} {path}.damaged",
    )


def _chain(broken: int | None, file: Path) -> Finding:
    if broken is None:
        return fine("outbox", "存档的哈希链完好", "the outbox's chain holds")
    return Finding(
        "outbox",
        "bad",
        Words(f"哈希链在第 {broken} 条断裂", f"the chain is broken at record {broken}"),
        Words("导出全部记录, 交给维护人员", "export every record and hand them to whoever maintains this"),
        f"edge-agent outbox export --config {file} > records.jsonl",
    )


def _backlog(records: int, oldest_ms: int | None, now_ms: int, file: Path) -> list[Finding]:
    minutes = (now_ms - oldest_ms) // 60_000 if oldest_ms is not None else 0
    words = Words(
        f"未上交 {records} 条, 最早 {minutes} 分钟前",
        f"{records} records not receipted, the oldest of {minutes} min ago",
    )
    if oldest_ms is None or now_ms - oldest_ms < _OLD_MS:
        return [Finding("backlog", "ok", words)]
    cure = Words("看代理是否在运行, 再看消息服务器一项", "see whether the agent runs, and what is said of the broker")
    return [Finding("backlog", "warn", words, cure, f"edge-agent outbox status --config {file}")]


def broker(uplink: UplinkSettings, folder: Path, within_s: float = _WITHIN_S) -> list[Finding]:
    """Whether it can be reached, and with TLS whether it is the one that it says; the password is not tried."""
    at = f"{uplink.host}:{uplink.port}"
    try:
        context = tls_context(uplink.tls, folder) if uplink.tls is not None else None
        error = _reached(uplink.host, uplink.port, context, within_s)
    except BadSettings as bad:
        error = ssl.SSLError(bad.mistakes[0])
    if error is None:
        return [fine("broker", f"消息服务器可达: {at}", f"the broker is reached: {at}")]
    cure, command = _cure(error, uplink)
    words = Words(f"消息服务器不可达: {at}: {error}", f"the broker is not reached: {at}: {error}")
    return [Finding("broker", "bad", words, cure, command)]


def _cure(error: Exception, uplink: UplinkSettings) -> tuple[Words, str]:
    if isinstance(error, socket.gaierror):
        cure = Words("改正 uplink.host, 或检查域名服务", "correct uplink.host, or check the name server")
        return cure, f"getent hosts {uplink.host}"
    if isinstance(error, ssl.SSLError):
        ca = uplink.tls.ca if uplink.tls is not None else ""
        cure = Words("检查 uplink.tls 的证书和主机名", "check the certificates of uplink.tls and the host's name")
        return cure, f"openssl s_client -connect {uplink.host}:{uplink.port}" + (f" -CAfile {ca}" if ca else "")
    if isinstance(error, ConnectionRefusedError) and uplink.host == _LATER:
        # What the guide writes where the broker is to be given later: then there is none here to be started.
        cure = Words(
            "按键先存在本机。请在设置页填好消息服务器, 就在本机的也要填; 打开设置页",
            "presses are kept here. Give the broker on the setup page, also one on this machine; to open that page",
        )
        return cure, "edge-agent setup"
    if isinstance(error, ConnectionRefusedError):
        cure = Words(
            "在该主机上启动消息服务器, 或改正 uplink.port", "start the broker on that host, or correct uplink.port"
        )
        return cure, "sudo systemctl restart mosquitto"
    return Words("检查网络和防火墙", "check the network and the firewall"), f"ping -c 3 {uplink.host}"


def _reached(host: str, port: int, context: ssl.SSLContext | None, within_s: float) -> Exception | None:
    """What was in the way. A name server can take minutes, and nothing can hurry it: it is left behind."""
    said: list[Exception | None] = []

    def call() -> None:
        try:
            with socket.create_connection((host, port), within_s) as plain:
                if context is not None:
                    context.wrap_socket(plain, server_hostname=host).close()
            said.append(None)
        except OSError as error:  # ssl.SSLError is one
            said.append(error)

    thread = threading.Thread(target=call, name="broker", daemon=True)
    thread.start()
    thread.join(within_s + 0.5)
    return said[0] if said else TimeoutError(f"{within_s:g} s")


def door(door: DoorSettings) -> list[Finding]:
    """Its port is free, or ours already."""
    at = f"{door.host}:{door.port}"
    try:
        socket.create_server((door.host, door.port)).close()
        return [fine("door", f"本机接口端口空闲: {at}", f"the door's port is free: {at}")]
    except OSError as error:
        if _is_our_door(door):
            return [fine("door", f"本机接口已由代理打开: {at}", f"the door is open, and ours: {at}")]
        return [
            Finding(
                "door",
                "bad",
                Words(
                    f"本机接口端口用不了: {at}: {error.strerror}",
                    f"the door's port cannot be had: {at}: {error.strerror}",
                ),
                Words(
                    "看是哪个程序占用, 关闭它或改 door.port",
                    "see which program has it; close that, or change door.port",
                ),
                f"sudo ss -ltnp 'sport = :{door.port}'",
            )
        ]


def _is_our_door(door: DoorSettings) -> bool:
    # Ours asks everybody for the token, in words of its own. None is given: it might be another program's door.
    connection = http.client.HTTPConnection(door.host, door.port, timeout=_WITHIN_DOOR_S)
    try:
        connection.request("GET", "/v1/invitations/doctor")
        answer = connection.getresponse()
        return answer.status == 401 and json.loads(answer.read())["error"]["field"] == "Authorization"
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return False  # whatever it is, it is not ours
    finally:
        connection.close()
