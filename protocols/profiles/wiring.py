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
        yield f"transport: {shape.form} 要用 {fitting} / form {shape.form!r} goes with {fitting}"
    for key, there, wanted in (
        ("frame", shape.frame is not None, shape.form == "frame"),
        ("hid", shape.hid is not None, shape.form == "events"),
        ("modbus", shape.modbus is not None, shape.form == "registers"),
        ("udp", shape.udp is not None, shape.transport == "udp"),
    ):
        if wanted and not there:
            yield f"{key}: 缺少 / missing: form {shape.form!r}, transport {shape.transport!r}"
    for number, rule in enumerate(shape.rules, 1):
        yield from (f"rules[{number}].{mistake}" for mistake in _rule(rule, shape))
    if shape.form in ("frame", "byte", "text") and not any(rule.event == "key" for rule in shape.rules):
        yield 'rules: 至少一条 event = "key" / at least one with event = "key"'
    if any(rule.answer == "ack" for rule in shape.rules) and shape.ack is None:
        yield 'ack: 缺少, 有规则写了 answer = "ack" / missing, a rule says answer = "ack"'
    if shape.press.repeats and not shape.press.same_ms and shape.form not in ("house", "screen"):
        yield "press.same_ms: 设备会重发, 重发多久仍算同一次? / it repeats: for how long is it the same press?"
    if shape.poll is not None and "poll" not in shape.commands and shape.modbus is None:
        yield "commands.poll: 缺少, 有 [poll] / missing, there is [poll]"
    if shape.transport == "udp":
        for name, how in shape.commands.items():
            if not how.gap_ms:
                yield f"commands.{name}.gap_ms: 缺少, 每条命令一个报文 / missing: each is a datagram of its own"
    for number, step in enumerate(shape.init, 1):
        if step.say is not None and step.say not in shape.commands:
            yield f"init[{number}].say: 没有命令 / no such command: {step.say}"


def _rule(rule: Rule, shape: Shape) -> Iterator[str]:
    if shape.form == "frame":
        for key in ("bytes", "pattern"):
            if getattr(rule, key) is not None:
                yield f"{key}: 帧的规则用 command 和 data / rules of frames have command and data"
    elif shape.form == "byte" and rule.bytes is None:
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
