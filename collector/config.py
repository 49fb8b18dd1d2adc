"""The collector's settings: what `collector.toml` may say, and every mistake in it named."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from protocols import settings
from protocols.errors import BadSettings
from protocols.settings import Port

from . import provinces
from .alerts import settings as alerting
from .credentials import file_bytes, secret_mistakes
from .ledger.tally import day_number
from .mending.mendings import DAYS, Rules
from .provinces import ProvinceSettings

OtherChannel = Literal["web", "mobile", "qr", "phone", "sms", "kiosk"]
"""What a system of another channel may be; a window's own devices speak through an agent."""
_CLIENT_NAME = (
    "名称: 小写字母、数字和 -, 最多 32 个字符 / a name: lower-case letters, digits and -, at most 32 characters"
)

_DAY = "日期, 如 2027-01-01 / a day, as in 2027-01-01"


class LedgerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where every record ever accepted is kept."""

    path: str = "ledger.db"


class TlsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """TLS to the broker. `ca` names the authority that signed the broker's certificate."""

    ca: str = ""
    certificate: str = ""
    key_file: str = ""


class BrokerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The broker. With `share` several collectors divide the agents among them."""

    host: str
    port: Port = 1883
    user: str = "collector"
    password: str = ""
    password_file: str = ""
    tls: TlsSettings | None = None
    keepalive_s: Annotated[int, Meta(ge=5, le=600)] = 20
    share: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]*\Z")] = ""


class ClientSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A system of another channel that hands ratings over: its name, its secret, and which channels are its own."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}\Z", description=_CLIENT_NAME)]
    channels: Annotated[list[OtherChannel], Meta(min_length=1)]
    secret: str = ""
    secret_file: str = ""


class WebSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The operators' pages and the API. Loopback unless told otherwise; programs need the token, people an account."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8620
    token: str = ""
    token_file: str = ""
    metrics_token: str = ""
    metrics_token_file: str = ""
    """What `/metrics` takes, and nothing else does; `token` is taken there too."""
    port_file: str = ""
    clients: list[ClientSettings] = []
    trusted_proxy: Annotated[str, Meta(pattern=r"^[0-9A-Fa-f.:]*\Z")] = ""
    """The address of a proxy before it that speaks TLS: its X-Forwarded-For and X-Forwarded-Proto are believed."""
    idle_minutes: Annotated[int, Meta(ge=5, le=1440)] = 30
    """After so long without anything done somebody is signed out."""
    session_hours: Annotated[int, Meta(ge=1, le=744)] = 12
    """After so long everybody is, whatever they do."""


class CheckpointSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signed head of the ledger every day: which key signs, and the folder that it goes into."""

    key_file: str = "checkpoint.key"
    folder: str = "checkpoints"


class DetailsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Citizens' details: the file of the key that hides them, and how long they are kept."""

    key_file: str = "details.key"
    keep_days: Annotated[int, Meta(ge=1, le=3650)] = 30
    """Days after the province has taken the rating; a rating that waits or is parked keeps its details."""
    unrated_keep_days: Annotated[int, Meta(ge=1, le=3650)] = 90
    """Days after they came, of a case that nobody has rated."""


class MendingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What bad ratings ask of the hall: within how many natural days, and how many days before somebody is reminded."""

    days: Annotated[int, Meta(ge=1, le=365)] = DAYS
    remind_days: Annotated[tuple[Annotated[int, Meta(ge=0, le=365)], ...], Meta(min_length=1, max_length=8)] = (7, 3, 1)
    since: Annotated[str, Meta(pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2})?\Z", description=_DAY)] = ""
    """Bad ratings of days before this one were dealt with elsewhere; without it all of the ledger's are work items."""
    keep_days: Annotated[int, Meta(ge=30, le=3650)] = 365
    """Days after a mending was closed for which the words of its steps are kept."""

    def rules(self) -> Rules:
        """The same, for `Mendings`; ValueError if `since` is no day of the calendar."""
        since = day_number(self.since) if self.since else None
        return Rules(self.days, tuple(sorted(self.remind_days, reverse=True)), since, self.keep_days)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of collector.toml."""

    broker: BrokerSettings
    directory: str = "directory.toml"
    ledger: LedgerSettings = LedgerSettings()
    province: ProvinceSettings | None = None
    web: WebSettings | None = None
    checkpoint: CheckpointSettings | None = None
    details: DetailsSettings = DetailsSettings()
    alerts: alerting.AlertsSettings = alerting.AlertsSettings()
    mending: MendingSettings = MendingSettings()
    log: Literal["debug", "info", "warning"] = "info"


def load(path: Path) -> Settings:
    """The settings of this file; BadSettings names every mistake with file, key and what was expected."""
    read = settings.read(file_bytes(path), Settings, path.name)
    mistakes = [f"{path.name}: {mistake}" for mistake in _contradictions(read, path.parent)]
    if mistakes:
        raise BadSettings(mistakes)
    return read


def tls_context(tls: TlsSettings, folder: Path) -> ssl.SSLContext:
    """What to trust and who we are; OSError for a file that is no certificate or key."""
    context = ssl.create_default_context(cafile=str(folder / tls.ca) if tls.ca else None)
    if tls.certificate:
        context.load_cert_chain(folder / tls.certificate, folder / tls.key_file if tls.key_file else None)
    return context


def _contradictions(read: Settings, folder: Path) -> list[str]:
    mistakes = secret_mistakes("broker.password", read.broker.password, read.broker.password_file, folder)
    if not read.broker.host.strip():
        mistakes.append("broker.host: 不能为空 / must not be empty")
    if read.broker.tls is not None:
        mistakes += _tls_mistakes(read.broker.tls, folder)
    try:
        read.mending.rules()
    except ValueError:
        mistakes.append(f"mending.since: {read.mending.since!r}: 没有这一天 / there is no such day")
    if read.web is not None:
        mistakes += secret_mistakes("web.token", read.web.token, read.web.token_file, folder)
        if read.web.metrics_token or read.web.metrics_token_file:
            given = read.web.metrics_token, read.web.metrics_token_file
            mistakes += secret_mistakes("web.metrics_token", *given, folder)
        mistakes += _client_mistakes(read.web.clients, folder)
    if read.province is not None:
        mistakes += provinces.mistakes(read.province, folder)
    return mistakes + alerting.mistakes(read.alerts, folder, os.environ)


def _client_mistakes(clients: list[ClientSettings], folder: Path) -> list[str]:
    mistakes = []
    for at, client in enumerate(clients, 1):
        where = f"web.clients[{at}]"
        if client.name in {each.name for each in clients[: at - 1]}:
            mistakes.append(f"{where}.name: {client.name} 写了两次 / stands there twice")
        mistakes += secret_mistakes(f"{where}.secret", client.secret, client.secret_file, folder)
    return mistakes


def _tls_mistakes(tls: TlsSettings, folder: Path) -> list[str]:
    missing = [
        f"broker.tls.{key}: 没有文件 / no file {value!r}"
        for key, value in msgspec.structs.asdict(tls).items()
        if value and not (folder / value).is_file()
    ]
    if missing:
        return missing
    try:
        tls_context(tls, folder)
    except OSError as error:
        return [f"broker.tls: 证书或密钥用不了 / certificate or key cannot be used: {error.strerror or error}"]
    return []
