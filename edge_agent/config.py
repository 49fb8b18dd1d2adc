"""The agent's settings: what `agent.toml` may say, and every mistake in it named."""

from __future__ import annotations

import difflib
import ipaddress
import ssl
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from protocols import profiles, settings
from protocols.errors import BadSettings
from protocols.profiles.profile import Profile
from protocols.settings import DeviceId, Name, Port

from . import keypad, ports
from .datagrams import udp_address


class OutboxSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where presses are kept until they are receipted."""

    path: str = "outbox.db"
    # A press takes about 1 kB with its closing; 200 windows × 200 a day × 400 days fit.
    max_megabytes: Annotated[int, Meta(ge=1, le=1_000_000)] = 20_000


class TlsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """TLS to the broker. `ca` names the authority that signed the broker's certificate."""

    ca: str = ""
    certificate: str = ""
    key_file: str = ""


class UplinkSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The broker. The agent's id is its MQTT user name, so that one rule of the broker fences every agent in."""

    host: str
    port: Port = 1883
    password: str = ""
    password_file: str = ""
    tls: TlsSettings | None = None
    keepalive_s: Annotated[int, Meta(ge=5, le=600)] = 20
    receipt_wait_ms: Annotated[int, Meta(ge=100, le=600_000)] = 5_000
    health_every_s: Annotated[int, Meta(ge=1, le=3600)] = 30


Origin = Annotated[
    str,
    Meta(
        pattern=r"^https?://[A-Za-z0-9.:\[\]-]+\Z",
        description="网页来源, 如 https://kiosk.example.gov.cn, 不带路径"
        " / an origin as in https://kiosk.example.gov.cn, without a path",
    ),
]


class DoorSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The local HTTP door for the hall's business system. Loopback, and a token, unless told otherwise."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8610
    token: str = ""
    token_file: str = ""
    port_file: str = ""
    embed: list[Origin] = []
    """Whose pages may show the rating page in themselves, as a kiosk's own page does."""
    setup: bool | None = None
    """Whether the setup page is there; where nothing is said, on loopback alone."""

    @property
    def has_setup(self) -> bool:
        return self.setup if self.setup is not None else is_loopback(self.host)


class DetailsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose key the details of cases are sealed for that come through the door: `collector key` shows it."""

    key: Annotated[
        str,
        Meta(
            pattern=r"^(x25519:[A-Za-z0-9+/]{43}=|sm2:04[0-9a-fA-F]{128})\Z",
            description="汇聚器的公钥, 由 collector key 显示, 以 x25519: 或 sm2: 开头"
            " / the collector's public key as collector key shows it, begins with x25519: or sm2:",
        ),
    ]


class WindowSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One service window: its device and the cable to it. What `port` may say stands in ports.py.

    `profile` is the id of one that is shipped, or a TOML file beside the settings.
    """

    id: Name
    device: DeviceId
    port: str = ""
    baud: Annotated[int, Meta(ge=110, le=4_000_000)] | None = None
    profile: Annotated[str, Meta(min_length=1, max_length=200)] = "house"
    address: Annotated[int, Meta(ge=0, le=65_535)] | None = None
    """Of a device on a line of several."""
    invite_s: Annotated[int, Meta(ge=5, le=600)] = 30
    reasons: Literal["all", "bad"] = "all"
    """Of our own rating page: whether a good rating is asked for its reasons too, or kept at the first touch."""
    walk_in: bool = False
    """Of our own rating page: whether it may be rated without an invitation."""
    silent_after_s: Annotated[int, Meta(ge=5, le=3600)] = 30


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of agent.toml."""

    agent: Name
    uplink: UplinkSettings
    windows: list[WindowSettings]
    outbox: OutboxSettings = OutboxSettings()
    door: DoorSettings | None = None
    details: DetailsSettings | None = None
    log: Literal["debug", "info", "warning"] = "info"


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine can reach it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def load(path: Path) -> Settings:
    """The settings of this file; BadSettings names every mistake with file, key and what was expected."""
    return checked(_bytes(path), path)


def checked(raw: bytes, path: Path) -> Settings:
    """The same for a draft of what that file is to hold."""
    read = settings.read(raw, Settings, path.name)
    mistakes = [f"{path.name}: {mistake}" for mistake in _contradictions(read, path.parent)]
    if mistakes:
        raise BadSettings(mistakes)
    return read


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        why = f"{path}: 读不了 / cannot be read: {error.strerror}; 用 --config 指明文件 / name the file with --config"
        raise BadSettings([why]) from error


def _contradictions(read: Settings, folder: Path) -> list[str]:
    mistakes = []
    if read.agent == "collector":
        mistakes.append(
            "agent: 不能叫 collector, 那是汇聚器的名字 / may not be collector, that is the collector's own name"
        )
    if not read.windows:
        mistakes.append("windows: 至少一个窗口 / at least one [[windows]]")
    mistakes += _taken_twice("id", [window.id for window in read.windows])
    mistakes += _taken_twice("device", [window.device for window in read.windows])
    mistakes += _window_mistakes(read.windows, folder)
    mistakes += _secret_mistakes("uplink.password", read.uplink.password, read.uplink.password_file, folder)
    if read.door is not None:
        mistakes += _secret_mistakes("door.token", read.door.token, read.door.token_file, folder)
        if not read.door.token and not read.door.token_file:
            mistakes.append("door.token: 缺少 / missing; 填 token 或 token_file / give token or token_file")
    if read.uplink.tls is not None:
        mistakes += _tls_mistakes(read.uplink.tls, folder)
    return mistakes


def _taken_twice(key: str, values: list[str]) -> list[str]:
    mistakes: list[str] = []
    for at, value in enumerate(values):
        if value in values[:at]:
            mistakes += _taken(at + 1, key, value, values.index(value) + 1)
    return mistakes


def _window_mistakes(windows: list[WindowSettings], folder: Path) -> list[str]:
    """What does not go together: a profile with its file, a port with its profile, devices with their line."""
    mistakes: list[str] = []
    known: dict[int, Profile] = {}
    for number, window in enumerate(windows, 1):
        try:
            known[number] = profile_of(window.profile, folder)
        except BadSettings as error:
            mistakes += [f"windows[{number}].profile: {each}" for each in error.mistakes]
            continue
        wrong = _port_mistake(window, known[number])
        if wrong:
            mistakes.append(f"windows[{number}].port: {wrong}")
        if known[number].by_address and window.address is None:
            mistakes.append(
                f"windows[{number}].address: 缺少, {known[number].id} 的设备按地址区分 / missing: devices of profile"
                f" {known[number].id} are told apart by address"
            )
        if window.address is not None and not known[number].addressed:
            mistakes.append(
                f"windows[{number}].address: 多余, 协议 {known[number].id} 没有地址 / is too much: profile"
                f" {known[number].id} has no addresses"
            )
    return mistakes + _line_mistakes(windows, known)


def _port_mistake(window: WindowSettings, profile: Profile) -> str:
    match profile.shape.transport:
        case "screen":
            return f"{window.port!r} 多余, 页面没有串口 / is too much, a page has no port" if window.port else ""
        case "hid":
            wrong = keypad.mistake(window.port)
            return f"{wrong}" if wrong else ""
        case "udp":
            try:
                udp_address(window.port)
            except ValueError as expected:
                return f"{window.port!r} 不对 / is wrong: {expected}"
        case "serial" | "modbus":
            try:
                ports.parse(window.port)
            except ValueError as expected:
                return f"{window.port!r} 不对 / is wrong: {expected}"
    return ""


def _line_mistakes(windows: list[WindowSettings], known: dict[int, Profile]) -> list[str]:
    """Several devices on one line need addresses of their own, and one profile."""
    mistakes: list[str] = []
    lines: dict[str, list[int]] = {}
    for number, window in enumerate(windows, 1):
        if window.port and number in known:
            lines.setdefault(ports.spelling(window.port), []).append(number)
    for numbers in lines.values():
        for number in numbers[1:]:
            window, first = windows[number - 1], windows[numbers[0] - 1]
            same = [each for each in numbers if each < number and windows[each - 1].address == window.address]
            if not known[number].addressed or (same and window.address is None):
                mistakes += _taken(number, "port", window.port, numbers[0])
            elif window.port != first.port:
                mistakes.append(
                    f"windows[{number}].port: {window.port!r} 与窗口 {numbers[0]} 的 {first.port!r} 同口, 请写成一样"
                    f" / is the same port as windows[{numbers[0]}]'s {first.port!r}, write both alike"
                )
            elif (window.profile, window.baud) != (first.profile, first.baud):
                mistakes.append(
                    f"windows[{number}].profile: 与窗口 {numbers[0]} 同线, 协议和波特率须相同 / shares a line with"
                    f" windows[{numbers[0]}]: profile and baud have to be the same"
                )
            elif same:
                mistakes += _taken(number, "address", window.address, same[0])
    return mistakes


def _taken(number: int, key: str, value: object, by: int) -> list[str]:
    told = f"windows[{number}].{key}: {value!r} 已被窗口 {by} 占用 / is taken by windows[{by}]; "
    if key == "port":
        return [f"{told}每个窗口各用一个; 一线多机请各填 address / each window its own, or an address each on one line"]
    return [f"{told}每个窗口各用一个 / each window needs its own"]


def profile_of(name: str, folder: Path) -> Profile:
    """The profile that is shipped under this id, or that stands in this file; BadSettings says what is wrong."""
    if name in profiles.SHIPPED:
        return profiles.shipped(name)
    file = folder / name
    if not name.endswith(".toml"):
        near = difflib.get_close_matches(name, profiles.SHIPPED, 1)
        hint = (
            f"是否指 {near[0]}? / did you mean {near[0]}?" if near else f"可用 / known: {', '.join(profiles.SHIPPED)}"
        )
        raise BadSettings([f"{name!r}: 没有这个协议 / no such profile; {hint}; 或填 .toml 文件 / or a .toml file"])
    try:
        raw = file.read_bytes()
    except OSError as error:
        there = sorted(each.name for each in folder.glob("*.toml"))
        near = difflib.get_close_matches(name, there, 1)
        hint = f"; 是否指 {near[0]}? / did you mean {near[0]}?" if near else ""
        told = f"{name!r}: 读不了这个协议文件 / this profile's file cannot be read: {file}: {error.strerror}{hint}"
        raise BadSettings([told]) from error
    return profiles.read(raw, name)


def _tls_mistakes(tls: TlsSettings, folder: Path) -> list[str]:
    mistakes = [
        f"uplink.tls.{key}: 没有文件 / no file {value!r}"
        for key, value in (("ca", tls.ca), ("certificate", tls.certificate), ("key_file", tls.key_file))
        if value and not (folder / value).is_file()
    ]
    if tls.key_file and not tls.certificate:
        mistakes.append("uplink.tls.certificate: 缺少 / missing; key_file 需要它 / key_file is of no use without it")
    if mistakes:
        return mistakes
    try:
        tls_context(tls, folder)
    except BadSettings as error:
        return error.mistakes
    return []


def tls_context(tls: TlsSettings, folder: Path) -> ssl.SSLContext:
    """What a connection to the broker is made with; BadSettings says which file is none."""
    try:
        context = ssl.create_default_context(cafile=str(folder / tls.ca) if tls.ca else None)
    except OSError as error:
        raise BadSettings([f"uplink.tls.ca: 证书用不了 / certificate cannot be used {tls.ca!r}: {error}"]) from error
    if tls.certificate:
        key = folder / tls.key_file if tls.key_file else None
        try:
            # A password that nobody is there to type in would hold the start up for ever: an encrypted key is refused.
            context.load_cert_chain(folder / tls.certificate, key, password="")
        except OSError as error:
            words = "证书或密钥用不了, 密钥不能加密 / certificate or key cannot be used, the key may not be encrypted"
            raise BadSettings([f"uplink.tls.certificate: {words}: {error}"]) from error
    return context


def _secret_mistakes(key: str, value: str, file: str, folder: Path) -> list[str]:
    if value and file:
        return [f"{key}: 与 {key}_file 只能填一个 / give this or {key}_file, not both"]
    try:
        secret(key, value, file, folder)
    except BadSettings as error:
        return error.mistakes
    return []


def secret(key: str, value: str, file: str, folder: Path) -> str:
    """A password given in the settings or kept in a file beside them; BadSettings says why it cannot be had."""
    if not file:
        return value
    try:
        # Notepad puts three bytes before the word and a carriage return behind it.
        word = (folder / file).read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise BadSettings([f"{key}_file: 读不了 / cannot be read {file!r}: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise BadSettings([f"{key}_file: 不是 UTF-8 文本 / is not UTF-8 text {file!r}"]) from error
    if not word:
        # An empty word would let everybody in, or nobody.
        raise BadSettings([f"{key}_file: 空文件 / is empty {file!r}"])
    return word
