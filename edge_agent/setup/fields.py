"""Every key that agent.toml may have, from the settings themselves, each with what it is for in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec import NODEFAULT, inspect

from protocols.words import Words

from ..config import Settings

Kind = Literal["text", "number", "choice", "yes-no", "list"]

SECRETS = ("uplink.password", "door.token")
"""Never shown: a form says only that they are set."""

WORDS: dict[str, Words] = {
    "agent": Words(
        "代理编号, 全厅唯一, 也是消息服务器上的用户名", "name of this agent, once in the hall; its user at the broker"
    ),
    "log": Words("日志详细程度", "how much the log says"),
    "uplink.host": Words("消息服务器的主机名或地址", "host name or address of the broker"),
    "uplink.port": Words("消息服务器端口: 通常 1883, 用 TLS 时 8883", "the broker's port: usually 1883, with TLS 8883"),
    "uplink.password": Words("消息服务器口令; 建议放在文件里", "password at the broker; better kept in a file"),
    "uplink.password_file": Words("存放该口令的文件, 与配置同文件夹", "the file that holds it, beside these settings"),
    "uplink.tls.ca": Words(
        "签发服务器证书的 CA 文件; 空为系统自带的",
        "file of the authority that signed the broker's certificate; empty: the system's own",
    ),
    "uplink.tls.certificate": Words(
        "本机证书文件, 服务器要求时才填", "this machine's certificate, where the broker wants one"
    ),
    "uplink.tls.key_file": Words("本机证书的密钥文件, 不加密", "its key file, not encrypted"),
    "uplink.keepalive_s": Words("多久互报一次平安 (秒)", "how often both say that they are there (s)"),
    "uplink.receipt_wait_ms": Words(
        "等回执多久后重发 (毫秒)", "how long a receipt is waited for before sending again (ms)"
    ),
    "uplink.health_every_s": Words("多久报一次状态 (秒)", "how often health is sent (s)"),
    "outbox.path": Words(
        "按键存盘的文件; 改动会另起一份存档", "the file that keeps presses; another name begins another outbox"
    ),
    "outbox.max_megabytes": Words("存档最多占多少 MB", "how large it may become (MB)"),
    "door.host": Words(
        "本机接口地址; 不是 127.0.0.1 时他机可达", "address of the door; other machines reach it unless it is 127.0.0.1"
    ),
    "door.port": Words("本机接口端口, 也是本页的端口", "port of the door, and of this page"),
    "door.token": Words("业务系统的口令; 建议放在文件里", "token of the business system; better kept in a file"),
    "door.token_file": Words("存放该口令的文件", "the file that holds it"),
    "door.port_file": Words("把实际端口写入此文件 (测试用)", "where to write the port that was taken (for tests)"),
    "door.setup": Words(
        "本页是否开放; 默认只在 127.0.0.1 开放", "whether this page is there; by default on 127.0.0.1 alone"
    ),
    "door.embed": Words(
        "哪些网站可以嵌入评价页, 逗号分隔", "whose pages may show the rating page in themselves, with commas"
    ),
    "windows.reasons": Words(
        "评价页: 好评也问原因 (all), 或只问差评 (bad)",
        "rating page: ask for reasons always (all), or of bad ratings only",
    ),
    "windows.walk_in": Words("评价页: 没有邀请也可以评价", "rating page: may be rated without an invitation"),
    "details.key": Words(
        "汇聚器公钥, 由 collector key 显示; 用来密封办件信息",
        "the collector's public key, shown by collector key; seals the details of cases",
    ),
    "windows.id": Words(
        "窗口编号, 与汇聚器 directory.toml 相同", "number of the window, as in the collector's directory.toml"
    ),
    "windows.device": Words(
        "评价器编号, 印在背面; 没有时自取, 不可重复",
        "id of the device, printed on its back; where there is none a name of your own, used once",
    ),
    "windows.port": Words(
        "串口: usb:1-1.3 是 USB 口, 换插不变; 评价页留空",
        "its port: usb:1-1.3 is a USB socket and stays; empty for a page",
    ),
    "windows.baud": Words("波特率; 空为评价器配置里的", "baud rate; empty: the profile's"),
    "windows.profile": Words(
        "评价器配置: 自带的名称, 或学到的 .toml 文件", "profile: the name of a shipped one, or a learnt .toml file"
    ),
    "windows.address": Words("一线多机时的地址", "address, where several share a line"),
    "windows.invite_s": Words("一次评价邀请多久 (秒)", "how long an invitation stays open (s)"),
    "windows.silent_after_s": Words("多久没有动静算失联 (秒)", "after how long without a word it counts as silent (s)"),
}
TABLES: dict[str, Words] = {
    "": Words("代理", "Agent"),
    "uplink": Words("消息服务器", "Broker"),
    "uplink.tls": Words("消息服务器 TLS", "Broker TLS"),
    "outbox": Words("存档", "Outbox"),
    "door": Words("本机接口", "Door"),
    "details": Words("办件信息", "Case details"),
    "windows": Words("窗口", "Window"),
}


@dataclass(frozen=True)
class Field:
    """One key of the settings."""

    key: str
    """With the tables it stands in: `uplink.tls.ca`, `windows.port`."""
    kind: Kind
    required: bool
    usual: str
    """What it is where nothing is said; empty where that is nothing."""
    choices: tuple[str, ...] = ()

    @property
    def table(self) -> str:
        return self.key.rpartition(".")[0]

    @property
    def name(self) -> str:
        return self.key.rpartition(".")[2]

    @property
    def words(self) -> Words:
        return WORDS[self.key]

    @property
    def secret(self) -> bool:
        return self.key in SECRETS


def fields() -> list[Field]:
    """All of them, table by table, in the order of the settings."""
    found = inspect.type_info(Settings)
    assert isinstance(found, inspect.StructType)
    return sorted(_fields(found, ""), key=lambda field: list(TABLES).index(field.table))


def _fields(struct: inspect.StructType, table: str) -> Iterator[Field]:
    for field in struct.fields:
        key = f"{table}.{field.encode_name}" if table else field.encode_name
        kind = _kind(field.type)
        inner = kind.item_type if isinstance(kind, inspect.ListType) else kind
        if isinstance(inner, inspect.StructType):
            yield from _fields(inner, key)
        else:
            yield _field(key, kind, field)


def _kind(kind: inspect.Type) -> inspect.Type:
    """Without what may stand in its place for nothing."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.UnionType):
        [kind] = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
        return _kind(kind)
    return kind


def _field(key: str, kind: inspect.Type, field: inspect.Field) -> Field:
    usual: Any = field.default
    shown = "" if usual is NODEFAULT or usual is None or usual is msgspec.UNSET else str(usual)
    match kind:
        case inspect.IntType():
            return Field(key, "number", field.required, shown)
        case inspect.BoolType():
            return Field(key, "yes-no", field.required, shown)
        case inspect.ListType():
            return Field(key, "list", field.required, "")
        case inspect.LiteralType(values=values):
            return Field(key, "choice", field.required, shown, tuple(map(str, values)))
        case _:
            return Field(key, "text", field.required, shown)
