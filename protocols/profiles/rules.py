"""What bytes mean: the rules of a profile, made ready to be asked many times."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from protocols.frames import DEVICE

from .events import Answered, Beat, Event, NobodyPressed, Noise, Pressed
from .framing import NOISE_MAX, Frames, Parts
from .vocabulary import Ack, Rule, Shape

NOT_FRAMED = frozenset(
    {"wrong trailer", "wrong escape", "wrong length", "wrong fixed byte", "two lengths", "wrong checksum"}
)
"""Why bytes between a head and where its frame would end are no frame."""


_KEY_DIGITS = 3  # a key's number, as in a profile's key map


class Heard(NamedTuple):
    """What the line said, and what is to be answered at once. A press is answered when it is on disk, see `ack`."""

    event: Event
    answer: bytes = b""


@dataclass(frozen=True)
class FrameRules:
    """The rules of a profile whose bytes are frames."""

    rules: tuple[Rule, ...]
    frames: Frames
    acks: Ack | None
    naks: Ack | None

    def ack(self, pressed: Pressed) -> bytes:
        """What tells the device that this press is on disk."""
        return self._answered(pressed.raw, self.acks)

    def nak(self, pressed: Pressed) -> bytes:
        """What tells the device that this press could not be kept."""
        return self._answered(pressed.raw, self.naks)

    def _answered(self, raw: bytes, how: Ack | None) -> bytes:
        parts = self.frames.open(raw)
        rule = None if isinstance(parts, str) else next((rule for rule in self.rules if _fits(rule, parts)), None)
        return b"" if isinstance(parts, str) or rule is None or rule.answer != "ack" else self._reply(how, parts)

    def meaning(self, raw: bytes) -> Heard | None:
        """What this frame says; None for what is to be passed over."""
        parts = self.frames.open(raw)
        if isinstance(parts, str):
            return Heard(Noise(raw[:NOISE_MAX], parts))
        for rule in self.rules:
            if _fits(rule, parts):
                return self._heard(rule, parts, raw)
        return Heard(Noise(raw[:NOISE_MAX], "unknown frame"))

    def _heard(self, rule: Rule, parts: Parts, raw: bytes) -> Heard | None:
        device = str(parts.address) if self.frames.has("address") else ""
        answer = raw if rule.answer == "echo" else b""
        if rule.answer == "ack" and rule.event != "key":
            answer = self._reply(self.acks, parts)
        match rule.event:
            case "key":
                key = _key(rule, parts.data)
                if key is None:
                    return Heard(Noise(raw[:NOISE_MAX], "no key of this device"))
                count = None if rule.count_at is None else parts.data[rule.count_at]
                return Heard(Pressed(device, key, 0, raw, None, count), answer)
            case "nobody":
                return Heard(NobodyPressed(device, raw), answer)
            case "beat":
                return Heard(Beat(device), answer)
            case "answer":
                return Heard(Answered(device, rule.name or "", raw), answer)
            case "ignore":
                return Heard(Answered(device, "", raw), answer) if answer else None

    def _reply(self, how: Ack | None, parts: Parts) -> bytes:
        if how is None:
            return b""
        command = parts.command if how.command is None else bytes.fromhex(how.command)
        data = parts.data if how.data is None else bytes.fromhex(how.data)
        return self.frames.build(command, data, parts.address)


def check_answers(rules: FrameRules) -> None:
    """ValueError if an ack or a nak could not be built: the wrong size must not show itself at the first press."""
    frames = rules.frames
    for name, how in (("ack", rules.acks), ("nak", rules.naks)):
        if how is None:
            continue
        command = bytes(frames.framing.command_bytes if frames.has("command") else 0)
        command = command if how.command is None else bytes.fromhex(how.command)
        data = bytes(frames.framing.data_min) if how.data is None else bytes.fromhex(how.data)
        try:
            frames.build(command, data, 0)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error


def _fits(rule: Rule, parts: Parts) -> bool:
    if rule.command is not None and bytes.fromhex(rule.command) != parts.command:
        return False
    if rule.data is None:
        return True
    wanted = rule.data.split(" ")
    return len(wanted) == len(parts.data) and all(
        each == ".." or int(each, 16) == byte for each, byte in zip(wanted, parts.data, strict=True)
    )


def _key(rule: Rule, data: bytes) -> int | None:
    for at in (rule.key_at if rule.key is None else None, rule.count_at):
        if at is not None and not -len(data) <= at < len(data):
            return None
    if rule.key is not None:
        return rule.key
    value = data[rule.key_at]
    if rule.keys is not None and value not in bytes_of(rule.keys):
        return None
    return number_of(value, rule.key_form)


def number_of(value: int, form: str) -> int | None:
    """The key that this byte names; None if it names none."""
    if form == "number":
        return value
    if form == "digit":
        return value - 0x30 if 0x30 <= value <= 0x39 else None
    return value.bit_length() if value and value & (value - 1) == 0 else None


def bytes_of(text: str) -> frozenset[int]:
    """The bytes of `01..06 0B`."""
    found: set[int] = set()
    for part in text.split(" "):
        low, _, high = part.partition("..")
        found.update(range(int(low, 16), int(high or low, 16) + 1))
    return frozenset(found)


# ---- bare bytes and text


@dataclass(frozen=True)
class BareRules:
    """The rules of a profile whose bytes are a key each, or a line of text."""

    keys: dict[int, Heard | None]
    """Bare bytes: what each means; None is to be passed over."""
    patterns: tuple[tuple[re.Pattern[str], Rule], ...]
    encoding: str

    @property
    def names_devices(self) -> bool:
        """Whether a line of text says whose it is."""
        return any("device" in pattern.groupindex for pattern, _ in self.patterns)

    def word(self, raw: bytes) -> Heard | None:
        """What this byte, or this line of text, says."""
        if not self.patterns:
            return self.keys[raw[0]] if len(raw) == 1 and raw[0] in self.keys else _noise(raw, "no key of this device")
        try:
            text = raw.decode(self.encoding)
        except UnicodeDecodeError:
            return _noise(raw, f"not {self.encoding}")
        for pattern, rule in self.patterns:
            found = pattern.fullmatch(text)
            if found is not None:
                return _said(rule, found, raw)
        return _noise(raw, "no rule for it")


def bare_rules(shape: Shape) -> BareRules:
    """The rules of this profile; ValueError says what is wrong with a pattern."""
    keys: dict[int, Heard | None] = {}
    patterns = []
    for number, rule in enumerate(shape.rules, 1):
        try:
            for byte in sorted(bytes_of(rule.bytes)) if rule.bytes is not None else ():
                keys.setdefault(byte, _of_byte(rule, byte))
            if rule.pattern is not None:
                patterns.append((_compiled(rule.pattern, shape.bare.longest), rule))
        except ValueError as error:
            raise ValueError(f"rules[{number}].{error}") from error
    return BareRules(keys, tuple(patterns), shape.bare.encoding)


def _of_byte(rule: Rule, byte: int) -> Heard | None:
    raw = bytes([byte])
    key = number_of(byte, rule.key_form) if rule.key is None else rule.key
    if rule.event == "key" and key is None:
        raise ValueError(
            f"bytes: {byte:02X} 按 key_form {rule.key_form!r} 不是按键"
            f" / {byte:02X} is no key by key_form {rule.key_form!r}"
        )
    match rule.event:
        case "key":
            return Heard(Pressed("", key or 0, 0, raw))
        case "nobody":
            return Heard(NobodyPressed("", raw))
        case "beat":
            return Heard(Beat(""))
        case "answer":
            return Heard(Answered("", rule.name or "", raw))
        case "ignore":
            return None


def _said(rule: Rule, found: re.Match[str], raw: bytes) -> Heard | None:
    groups = found.groupdict()
    device = groups.get("device") or ""
    if device.isdecimal() and device.isascii():
        device = str(int(device))  # bus address 011 is 11
    if device and not DEVICE.fullmatch(device):
        return _noise(raw, "no name of a device")
    match rule.event:
        case "key":
            if rule.key is not None:
                return Heard(Pressed(device, rule.key, 0, raw))
            key = groups["key"] or ""
            if not (len(key) <= _KEY_DIGITS and key.isdecimal()):
                return _noise(raw, "no key of this device")
            return Heard(Pressed(device, int(key), 0, raw))
        case "nobody":
            return Heard(NobodyPressed(device, raw))
        case "beat":
            return Heard(Beat(device))
        case "answer":
            return Heard(Answered(device, rule.name or "", raw))
        case "ignore":
            return None


def _noise(raw: bytes, reason: str) -> Heard:
    return Heard(Noise(raw[:NOISE_MAX], reason))


_TOKENS = re.compile(
    r"(?P<set>\[\^?\]?(?:\\.|[^\\\]])*\])"
    r"|(?P<repeat>(?:[*+?]|\{(?P<low>\d*)(?P<comma>,?)(?P<high>\d*)\})(?P<how>[?+]?))"
    r"|(?P<group>\(\?P<(?:key|device)>|\(\?:)|(?P<close>\))"
    r"|(?P<wrong>\\[1-9]|[(|\[])|(?P<plain>\\.|.)",
    re.DOTALL,
)
_ODD_SET = re.compile(r"(?<!\\)\[.*(?<!\\)\[|--|&&|~~|\|\|")  # Python warns that it may mean something else one day
_STEPS_MAX = 1 << 23  # ways to read one line; the worst takes a fraction of a second


def _compiled(pattern: str, longest: int) -> re.Pattern[str]:
    """The expression, if no line of at most `longest` bytes can keep it busy; ValueError says what is wrong with it."""
    # A profile comes from anywhere, and an expression can be made to take hours over a line. Every repeat multiplies
    # the ways to read a line; groups cannot be repeated at all.
    ways, before = 1.0, ""
    opened = 0
    for found in _TOKENS.finditer(pattern):
        kind = found.lastgroup or ""
        kind = "repeat" if found["repeat"] else kind
        if kind == "wrong" or (kind == "set" and _ODD_SET.search(found[0])):
            raise ValueError(
                "pattern: 只可用 (?P<key>…) (?P<device>…) (?:…) 和简单的 […], 不可用 | "
                "/ only (?P<key>…) (?P<device>…) (?:…) and plain […], no |, no back-references"
            )
        if kind == "repeat":
            if before == "close":
                raise ValueError("pattern: 括号之后不可重复 / no repeat after a bracket")
            ways *= _choices(found, longest)
            opened += found[0][0] in "*+" or (found["comma"] == "," and not found["high"])
        before = kind
    if opened > 2:
        raise ValueError("pattern: 至多两个 * 或 + / at most two * or +")
    if opened == 2:
        ways /= 2  # what one takes, the other cannot
    if ways > _STEPS_MAX:
        raise ValueError(
            f"pattern: {longest} 字节的一行可能算得太久, 请少用 * + ? {{m,n}} 或减小 bare.longest "
            f"/ may take too long on a line of {longest} bytes: fewer * + ? {{m,n}}, or a smaller bare.longest"
        )
    try:
        return re.compile(pattern, re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"pattern: 不是正则表达式: {error} / is no regular expression: {error}") from error


def _choices(repeat: re.Match[str], longest: int) -> int:
    """How many lengths this repeat may have on a line."""
    if repeat[0][0] in "*+":
        return longest
    if repeat[0][0] == "?":
        return 2
    low = min(int(repeat["low"][:6] or 0), longest)
    if not repeat["comma"]:
        return 1
    return max(min(int(repeat["high"][:6] or longest), longest) - low + 1, 1)


def aged(heard: Heard, age_ms: int, raw: bytes) -> Heard:
    """The same, some time ago, with the bytes as they came."""
    event = heard.event
    if isinstance(event, Pressed | Noise):
        return heard._replace(event=replace(event, age_ms=age_ms, raw=raw[:NOISE_MAX]))
    return heard
