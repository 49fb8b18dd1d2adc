"""A profile's own test vectors, run whenever it is loaded: what must be understood, and what must be said."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .events import Answered, Beat, Event, NobodyPressed, Noise, Pressed
from .profile import Profile
from .rules import Heard
from .saying import Values
from .vocabulary import Expected, Vector

_LATER_MS = 60_000  # long after the last byte: whatever waits for silence has it


def check_vectors(profile: Profile) -> Iterator[str]:
    """Each vector that fails, as `key: Chinese / English`."""
    shape = profile.shape
    for number, vector in enumerate(shape.vectors, 1):
        yield from (f"vectors[{number}].{mistake}" for mistake in _check(profile, vector))
    if not any(expected.event == "key" for vector in shape.vectors for expected in vector.expect):
        yield "vectors: 至少一个读到按键 / at least one that reads a key"


def _check(profile: Profile, vector: Vector) -> Iterator[str]:
    given = [key for key in ("read", "readings", "say") if getattr(vector, key) is not None]
    if len(given) > 1:
        yield f"{given[1]}: read, readings, say 只填其中一个 / give one of: read, readings, say"
    elif vector.say is not None:
        yield from _check_said(profile, vector)
    elif vector.read is not None or vector.readings is not None:
        try:
            yield from _check_read(profile, vector)
        except (ValueError, struct.error):
            key = "read" if vector.read is not None else "readings"
            yield f"{key}: 不是字节或读数 / not bytes in hex, or no reading"
    else:
        yield "read: 应填 read, readings 或 say / give read, readings or say"


def _check_said(profile: Profile, vector: Vector) -> Iterator[str]:
    if vector.say is None or not profile.knows(vector.say):
        yield f"say: 没有命令 {vector.say} / no such command: {vector.say}"
        return
    values = Values(vector.seconds, vector.stars, vector.volume, vector.text)
    try:
        said = profile.say(vector.say, vector.text, vector.address or 0, values)
    except ValueError as error:
        yield f"say: {error}"
        return
    try:
        wanted = _bytes(vector.bytes or "")
    except ValueError:
        yield "bytes: 不是十六进制字节 / not bytes in hex"
        return
    if said != wanted:
        spoken = said.hex(" ").upper()
        yield f"bytes: 说出的是 {spoken!r} / what is said is {spoken!r}"


def _check_read(profile: Profile, vector: Vector) -> Iterator[str]:
    heard = _heard(profile, vector)
    # One piece of noise or several: where it is cut says nothing.
    events = [_described(each.event) for each in heard]
    events = [
        event for at, event in enumerate(events) if at == 0 or event["event"] != "noise" or event != events[at - 1]
    ]
    wanted = [_wanted(each) for each in vector.expect]
    if len(events) != len(wanted) or any(not _same(event, want) for event, want in zip(events, wanted, strict=True)):
        reasons = [each.event.reason for each in heard if isinstance(each.event, Noise)]
        read, expected = _listed(events), _listed(wanted)
        why = f" ({', '.join(dict.fromkeys(reasons))})" if reasons else ""
        yield f"expect: 应为 {expected}, 读到的是 {read}{why} / expected {expected}, what is read is {read}{why}"
    answer = b"".join(profile.ack(each.event) if isinstance(each.event, Pressed) else each.answer for each in heard)
    try:
        wanted_answer = answer if vector.answer is None else _bytes(vector.answer)
    except ValueError:
        yield "answer: 不是十六进制字节 / not bytes in hex"
        return
    if answer != wanted_answer:
        answered = answer.hex(" ").upper()
        yield f"answer: 回答的是 {answered!r} / what is answered is {answered!r}"


def _heard(profile: Profile, vector: Vector) -> list[Heard]:
    if vector.readings is not None:
        return profile.read_values(vector.readings)
    reader = profile.reader()
    return reader.feed(_bytes(vector.read or ""), 0) + reader.quiet(_LATER_MS)


def _bytes(text: str) -> bytes:
    if text.startswith("text:"):
        return text.removeprefix("text:").encode()
    return bytes.fromhex(text)


def _described(event: Event) -> dict[str, object]:
    match event:
        case Pressed(device, key, age_ms, _, boot, count):
            return {"event": "key", "device": device, "key": key, "boot": boot, "count": count, "age_ms": age_ms}
        case NobodyPressed(device):
            return {"event": "nobody", "device": device}
        case Beat(device, boot, _, _, count):
            return {"event": "beat", "device": device, "boot": boot, "count": count}
        case Answered(device, name):
            return {"event": "answer", "device": device, "name": name}
        case Noise():
            return {"event": "noise", "device": ""}


def _wanted(expected: Expected) -> dict[str, object]:
    given = {name: getattr(expected, name) for name in ("key", "name", "boot", "count", "age_ms")}
    return {"event": expected.event, "device": expected.device} | {
        name: value for name, value in given.items() if value is not None
    }


def _listed(events: list[dict[str, object]]) -> str:
    """`key 2 (device 5)`, one after the other; a dash for nothing."""
    return "; ".join(map(_in_words, events)) or "–"


def _in_words(event: dict[str, object]) -> str:
    details = [
        f"{name} {event[name]}"
        for name in ("device", "boot", "count", "age_ms")
        if event.get(name) not in (None, "", 0)
    ]
    what = " ".join(
        str(part) for part in (event["event"], event.get("key"), event.get("name")) if part not in (None, "")
    )
    return f"{what} ({', '.join(details)})" if details else what


def _same(event: dict[str, object], wanted: dict[str, object]) -> bool:
    return all(event.get(name) == value for name, value in wanted.items())
