"""What the parts of a profile ask of each other: contradictions, each with the key where it stands."""

from __future__ import annotations

from collections.abc import Iterator

from .vocabulary import Rule, Shape

_TRANSPORTS = {
    "house": ("serial",),
    "frame": ("serial",),
    "byte": ("serial",),
    "text": ("serial", "udp"),
    "events": ("hid",),
    "registers": ("modbus",),
    "screen": ("screen",),
}


def check_wiring(shape: Shape) -> Iterator[str]:
    """Each contradiction as `key: Chinese / English`."""
    if shape.transport not in _TRANSPORTS[shape.form]:
        fitting = ", ".join(_TRANSPORTS[shape.form])
        yield f"transport: form {shape.form!r} 要用 {fitting} / form {shape.form!r} goes with {fitting}"
    of = f"form {shape.form!r}, transport {shape.transport!r}"
    for key, there, wanted in (
        ("frame", shape.frame is not None, shape.form == "frame"),
        ("hid", shape.hid is not None, shape.form == "events"),
        ("modbus", shape.modbus is not None, shape.form == "registers"),
        ("udp", shape.udp is not None, shape.transport == "udp"),
    ):
        if wanted and not there:
            yield f"{key}: 缺少, {of} / missing: {of}"
        if there and not wanted and key != "frame":  # bare bytes may be answered by frames
            yield f"{key}: 与 {of} 不合 / does not go with {of}"
    if shape.rules and shape.form not in _OF_A_RULE:
        yield f"rules: 与 form {shape.form!r} 不合 / do not go with form {shape.form!r}"
    for number, rule in enumerate(shape.rules, 1):
        yield from (f"rules[{number}].{mistake}" for mistake in _rule(rule, shape))
    if shape.form in ("frame", "byte", "text") and not any(rule.event == "key" for rule in shape.rules):
        yield 'rules: 至少一条 event = "key" / at least one with event = "key"'
    if any(rule.answer == "ack" for rule in shape.rules) and shape.ack is None:
        yield 'ack: 缺少, 有规则写了 answer = "ack" / missing, a rule says answer = "ack"'
    if shape.press.repeats and not shape.press.same_ms and shape.form not in ("house", "screen"):
        yield "press.same_ms: 设备会重发, 重发多久仍算同一次? / it repeats: for how long is it the same press?"
    if shape.modbus is not None and shape.modbus.mode == "counter":
        if shape.modbus.function == 2:
            yield "modbus.mode: 输入点不能计数 / inputs cannot count"
        elif shape.modbus.shows == "number" and shape.modbus.count < 2:
            yield "modbus.count: 计数和键号要读两个寄存器 / a count and a key's number are two registers"
    if shape.poll is not None and "poll" not in shape.commands and shape.modbus is None:
        yield "commands.poll: 缺少, 有 [poll] / missing, there is [poll]"
    if shape.transport == "udp":
        for name, how in shape.commands.items():
            if not how.gap_ms:
                yield f"commands.{name}.gap_ms: 缺少, 每条命令一个报文 / missing: each is a datagram of its own"
    for number, step in enumerate(shape.init, 1):
        if step.say is not None and step.say not in shape.commands:
            yield f"init[{number}].say: 没有命令 {step.say} / no such command: {step.say}"


_OF_A_RULE = {
    "frame": {"command", "data", "keys", "count_at"},
    "byte": {"bytes"},
    "text": {"pattern"},
}
"""Which keys say what a rule of a form fits."""


def _rule(rule: Rule, shape: Shape) -> Iterator[str]:
    for key in ("command", "data", "keys", "count_at", "bytes", "pattern"):
        if shape.form in _OF_A_RULE and key not in _OF_A_RULE[shape.form] and getattr(rule, key) is not None:
            fitting = ", ".join(sorted(_OF_A_RULE[shape.form]))
            yield (
                f"{key}: 与 form {shape.form!r} 不合, 可用: {fitting}"
                f" / does not go with form {shape.form!r}, which has: {fitting}"
            )
    for key in ("bytes", "keys"):
        for part in (getattr(rule, key) or "").split(" "):
            low, _, high = part.partition("..")
            if high and int(low, 16) > int(high, 16):
                yield f"{key}: 范围 {part} 写反了 / this range runs backwards: {part}"
    if rule.command is not None and shape.frame is not None:
        size = shape.frame.command_bytes if "command" in shape.frame.layout else 0
        if len(bytes.fromhex(rule.command)) != size:
            yield f"command: 应为 {size} 个字节, 如布局所写 / has to be {size} bytes, as in the layout"
    if shape.form == "byte" and rule.bytes is None:
        yield "bytes: 缺少 / missing"
    elif shape.form == "text":
        if rule.pattern is None:
            yield "pattern: 缺少 / missing"
        elif rule.event == "key" and ("(?P<key>" in rule.pattern) != (rule.key is None):
            yield "pattern: 要么有 (?P<key>…), 要么有 key / has (?P<key>…), or the rule has key"
    if rule.key is not None and (rule.event != "key" or rule.keys is not None or rule.key_form != "number"):
        yield "key: 只用于 key 规则, 且不与 keys、key_form 同用 / for rules of keys only, without keys and key_form"
    if rule.event == "answer" and rule.name is None:
        yield "name: 缺少 / missing"
    if rule.answer != "none" and shape.form != "frame":
        yield "answer: 只用于帧 / for frames only"
