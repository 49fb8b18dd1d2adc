"""The collector's settings: what `collector.toml` may say, and every mistake in it named."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from protocols import settings
from protocols.dialects.txnbody import TxnBody, TxnBodySettings
from protocols.errors import BadSettings, ProtocolError
from protocols.settings import Port, Url


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


class ProvinceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The province's system: who we are there and how it is spoken to."""

    case_url: Url
    offline_rating_url: Url
    app_mark: str
    public_key: str
    app_word: str = ""
    app_word_file: str = ""
    dialect: Literal["txnbody"] = "txnbody"
    tenancy_id: str = "370000000000"
    data_source: str = ""
    province_prefix: str = ""
    order: Literal["C1C3C2", "C1C2C3"] = "C1C3C2"
    bad_needs_reason: bool = False
    timeout_s: Annotated[int, Meta(ge=1, le=120)] = 10
    workers: Annotated[int, Meta(ge=1, le=32)] = 4


class WebSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The operators' page and the API. Loopback unless told otherwise; writing needs the token."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8620
    token: str = ""
    token_file: str = ""
    port_file: str = ""


class CheckpointSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signed head of the ledger every day: which key signs, and the folder that it goes into."""

    key_file: str = "checkpoint.key"
    folder: str = "checkpoints"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of collector.toml."""

    broker: BrokerSettings
    directory: str = "directory.toml"
    ledger: LedgerSettings = LedgerSettings()
    province: ProvinceSettings | None = None
    web: WebSettings | None = None
    checkpoint: CheckpointSettings | None = None
    log: Literal["debug", "info", "warning"] = "info"


def load(path: Path) -> Settings:
    """The settings of this file; BadSettings names every mistake with file, key and what was expected."""
    read = settings.read(file_bytes(path), Settings, path.name)
    mistakes = [f"{path.name}: {mistake}" for mistake in _contradictions(read, path.parent)]
    if mistakes:
        raise BadSettings(mistakes)
    return read


def file_bytes(path: Path) -> bytes:
    """The bytes of a settings file; BadSettings if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadSettings([f"{path}: 读不了 / cannot be read: {error.strerror}"]) from error


def secret(value: str, file: str, folder: Path) -> str:
    """A password given in the settings or kept in a file beside them."""
    # utf-8-sig: what Windows' Notepad puts before a text is no part of a password.
    return (folder / file).read_text(encoding="utf-8-sig").strip() if file else value


def tls_context(tls: TlsSettings, folder: Path) -> ssl.SSLContext:
    """What to trust and who we are; OSError for a file that is no certificate or key."""
    context = ssl.create_default_context(cafile=str(folder / tls.ca) if tls.ca else None)
    if tls.certificate:
        context.load_cert_chain(folder / tls.certificate, folder / tls.key_file if tls.key_file else None)
    return context


def dialect(province: ProvinceSettings, folder: Path) -> TxnBody:
    """The province's way to say it."""
    return TxnBody(
        TxnBodySettings(
            case_url=province.case_url,
            offline_rating_url=province.offline_rating_url,
            app_mark=province.app_mark,
            app_word=secret(province.app_word, province.app_word_file, folder),
            public_key=province.public_key,
            tenancy_id=province.tenancy_id,
            data_source=province.data_source,
            province_prefix=province.province_prefix,
            order=province.order,
            bad_needs_reason=province.bad_needs_reason,
        )
    )


def _contradictions(read: Settings, folder: Path) -> list[str]:
    mistakes = _secret_mistakes("broker.password", read.broker.password, read.broker.password_file, folder)
    if not read.broker.host.strip():
        mistakes.append("broker.host: 不能为空 / must not be empty")
    if read.broker.tls is not None:
        mistakes += _tls_mistakes(read.broker.tls, folder)
    if read.web is not None:
        mistakes += _secret_mistakes("web.token", read.web.token, read.web.token_file, folder)
    if read.province is not None:
        mistakes += _province_mistakes(read.province, folder)
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


def _province_mistakes(province: ProvinceSettings, folder: Path) -> list[str]:
    mistakes = [
        f"province.{key}: 网址不对 / wrong address {getattr(province, key)!r} (应为 / expected: https://主机[:端口]/路径)"
        for key in ("case_url", "offline_rating_url")
        if not _is_address(getattr(province, key))
    ]
    mistakes += [
        f"province.{key}: 不能为空 / must not be empty"
        for key in ("app_mark", "tenancy_id")
        if not getattr(province, key).strip()
    ]
    secrets = _secret_mistakes("province.app_word", province.app_word, province.app_word_file, folder)
    if secrets:
        return mistakes + secrets
    try:
        dialect(province, folder)
    except ProtocolError as error:
        mistakes.append(f"province.public_key: {error}")
    return mistakes


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and parts.port != 0 and not any(each.isspace() for each in text)
    except ValueError:  # a port that is no number
        return False


def _secret_mistakes(key: str, value: str, file: str, folder: Path) -> list[str]:
    if value and file:
        return [f"{key}: 与 {key}_file 只能填一个 / give this or {key}_file, not both"]
    if not value.strip() and not file:
        return [f"{key}: 缺少 / missing; 填此项或 {key}_file / give this or {key}_file"]
    if not file:
        return []
    try:
        # An empty token would let everybody in.
        return [] if secret("", file, folder) else [f"{key}_file: 文件是空的 / the file is empty: {file!r}"]
    except FileNotFoundError:
        return [f"{key}_file: 没有文件 / no file {file!r}"]
    except OSError as error:
        return [f"{key}_file: 读不了 / cannot be read: {file!r}: {error.strerror}"]
    except UnicodeDecodeError:
        return [f"{key}_file: 不是 UTF-8 文本 / is not UTF-8 text: {file!r}"]
