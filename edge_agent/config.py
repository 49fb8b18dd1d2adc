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
from protocols.errors import BadSettings, Mistake
from protocols.profiles.profile import Profile
from protocols.settings import DeviceId, Name, Port
from protocols.words import Words

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
    mistakes = [mistake.under(path.name) for mistake in _contradictions(read, path.parent)]
    if mistakes:
        raise BadSettings(mistakes)
    return read


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        why = Words(
            f"读不了: {error.strerror}; 用 --config 指明文件",
            f"cannot be read: {error.strerror}; name it with --config",
        )
        raise BadSettings([Mistake(str(path), why)]) from error


def _contradictions(read: Settings, folder: Path) -> list[Mistake]:
    mistakes = []
    if read.agent == "collector":
        words = Words("不能叫 collector, 那是汇聚器的名字", "may not be collector, that is the collector's own name")
        mistakes.append(Mistake("agent", words))
    if not read.windows:
        mistakes.append(Mistake("windows", Words("至少一个窗口", "at least one [[windows]]")))
    mistakes += _taken_twice("id", [window.id for window in read.windows])
    mistakes += _taken_twice("device", [window.device for window in read.windows])
    mistakes += _window_mistakes(read.windows, folder)
    mistakes += _secret_mistakes("uplink.password", read.uplink.password, read.uplink.password_file, folder)
    if read.door is not None:
        mistakes += _secret_mistakes("door.token", read.door.token, read.door.token_file, folder)
        if not read.door.token and not read.door.token_file:
            words = Words("缺少, 填 token 或 token_file", "missing, give token or token_file")
            mistakes.append(Mistake("door.token", words))
    if read.uplink.tls is not None:
        mistakes += _tls_mistakes(read.uplink.tls, folder)
    return mistakes


def _taken_twice(key: str, values: list[str]) -> list[Mistake]:
    mistakes: list[Mistake] = []
    for at, value in enumerate(values):
        if value in values[:at]:
            mistakes += _taken(at + 1, key, value, values.index(value) + 1)
    return mistakes


def _window_mistakes(windows: list[WindowSettings], folder: Path) -> list[Mistake]:
    """What does not go together: a profile with its file, a port with its profile, devices with their line."""
    mistakes: list[Mistake] = []
    known: dict[int, Profile] = {}
    for number, window in enumerate(windows, 1):
        try:
            known[number] = profile_of(window.profile, folder)
        except BadSettings as error:
            mistakes += [each.under(f"windows[{number}].profile") for each in error.mistakes]
            continue
        wrong = _port_mistake(window, known[number])
        if wrong is not None:
            mistakes.append(Mistake(f"windows[{number}].port", wrong))
        id = known[number].id
        if known[number].by_address and window.address is None:
            words = Words(f"缺少, {id} 的设备按地址区分", f"missing: devices of profile {id} are told apart by address")
            mistakes.append(Mistake(f"windows[{number}].address", words))
        if window.address is not None and not known[number].addressed:
            words = Words(f"多余, 协议 {id} 没有地址", f"is too much: profile {id} has no addresses")
            mistakes.append(Mistake(f"windows[{number}].address", words))
    return mistakes + _line_mistakes(windows, known)


def _port_mistake(window: WindowSettings, profile: Profile) -> Words | None:
    match profile.shape.transport:
        case "screen":
            if window.port:
                return Words(f"{window.port!r} 多余, 页面没有串口", f"{window.port!r} is too much, a page has no port")
        case "hid":
            return keypad.mistake(window.port)
        case kind:
            try:
                (udp_address if kind == "udp" else ports.parse)(window.port)
            except ports.BadPort as error:
                zh, en = error.expected
                return Words(f"{window.port!r} 不对, 应为 {zh}", f"{window.port!r} is wrong, expected {en}")
    return None


def _line_mistakes(windows: list[WindowSettings], known: dict[int, Profile]) -> list[Mistake]:
    """Several devices on one line need addresses of their own, and one profile."""
    mistakes: list[Mistake] = []
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
                words = Words(
                    f"{window.port!r} 与窗口 {numbers[0]} 的 {first.port!r} 同口, 请写成一样",
                    f"{window.port!r} is the same port as windows[{numbers[0]}]'s {first.port!r}, write both alike",
                )
                mistakes.append(Mistake(f"windows[{number}].port", words))
            elif (window.profile, window.baud) != (first.profile, first.baud):
                words = Words(
                    f"与窗口 {numbers[0]} 同线, 协议和波特率须相同",
                    f"shares a line with windows[{numbers[0]}]: profile and baud have to be the same",
                )
                mistakes.append(Mistake(f"windows[{number}].profile", words))
            elif same:
                mistakes += _taken(number, "address", window.address, same[0])
    return mistakes


def _taken(number: int, key: str, value: object, by: int) -> list[Mistake]:
    advice = Words("每个窗口各用一个", "each window needs its own")
    if key == "port":
        advice = Words(f"{advice.zh}; 一线多机请各填 address", f"{advice.en}, or an address each on one line")
    words = Words(f"{value!r} 已被窗口 {by} 占用; {advice.zh}", f"{value!r} is taken by windows[{by}]; {advice.en}")
    return [Mistake(f"windows[{number}].{key}", words)]


def profile_of(name: str, folder: Path) -> Profile:
    """The profile that is shipped under this id, or that stands in this file; BadSettings says what is wrong."""
    if name in profiles.SHIPPED:
        return profiles.shipped(name)
    file = folder / name
    if not name.endswith(".toml"):
        near = difflib.get_close_matches(name, profiles.SHIPPED, 1)
        known = ", ".join(profiles.SHIPPED)
        hint = _meant(near[0]) if near else Words(f"可用: {known}", f"known: {known}")
        words = Words(
            f"没有协议 {name!r}; {hint.zh}; 或填 .toml 文件", f"no such profile {name!r}; {hint.en}; or a .toml file"
        )
        raise BadSettings([Mistake("", words)])
    try:
        raw = file.read_bytes()
    except OSError as error:
        there = sorted(each.name for each in folder.glob("*.toml"))
        near = difflib.get_close_matches(name, there, 1)
        hint = _meant(near[0]) if near else Words("", "")
        words = Words(
            f"读不了协议文件 {name!r}: {file}: {error.strerror}" + (f"; {hint.zh}" if near else ""),
            f"the profile's file {name!r} cannot be read: {file}: {error.strerror}" + (f"; {hint.en}" if near else ""),
        )
        raise BadSettings([Mistake("", words)]) from error
    return profiles.read(raw, name)


def _meant(near: str) -> Words:
    return Words(f"是否指 {near}?", f"did you mean {near}?")


def _tls_mistakes(tls: TlsSettings, folder: Path) -> list[Mistake]:
    mistakes = [
        Mistake(f"uplink.tls.{key}", Words(f"没有文件 {value!r}", f"no file {value!r}"))
        for key, value in (("ca", tls.ca), ("certificate", tls.certificate), ("key_file", tls.key_file))
        if value and not (folder / value).is_file()
    ]
    if tls.key_file and not tls.certificate:
        words = Words("缺少, key_file 需要它", "missing, key_file is of no use without it")
        mistakes.append(Mistake("uplink.tls.certificate", words))
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
        words = Words(f"证书 {tls.ca!r} 用不了: {error}", f"certificate {tls.ca!r} cannot be used: {error}")
        raise BadSettings([Mistake("uplink.tls.ca", words)]) from error
    if tls.certificate:
        key = folder / tls.key_file if tls.key_file else None
        try:
            # A password that nobody is there to type in would hold the start up for ever: an encrypted key is refused.
            context.load_cert_chain(folder / tls.certificate, key, password="")
        except OSError as error:
            words = Words(
                f"证书或密钥用不了, 密钥不能加密: {error}",
                f"certificate or key cannot be used, the key may not be encrypted: {error}",
            )
            raise BadSettings([Mistake("uplink.tls.certificate", words)]) from error
    return context


def _secret_mistakes(key: str, value: str, file: str, folder: Path) -> list[Mistake]:
    if value and file:
        return [Mistake(key, Words(f"与 {key}_file 只能填一个", f"give this or {key}_file, not both"))]
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
        words = Words(f"{file!r} 读不了: {error.strerror}", f"{file!r} cannot be read: {error.strerror}")
        raise BadSettings([Mistake(f"{key}_file", words)]) from error
    except UnicodeDecodeError as error:
        words = Words(f"{file!r} 不是 UTF-8 文本", f"{file!r} is not UTF-8 text")
        raise BadSettings([Mistake(f"{key}_file", words)]) from error
    if not word:
        # An empty word would let everybody in, or nobody.
        raise BadSettings([Mistake(f"{key}_file", Words(f"{file!r} 是空文件", f"{file!r} is empty"))])
    return word
