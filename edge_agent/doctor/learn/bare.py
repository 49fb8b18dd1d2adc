"""Keys without a frame: one bare byte, or a line of text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from protocols.profiles.vocabulary import Bare, Expected, Rule, Vector
from protocols.words import Words

from .guess import Guess, by_key, hexed, key_rules, key_vector, pressing, ranges
from .samples import Group, Push, Samples, Unsure

_WHAT = Words("看不懂这些字节", "these bytes are not understood")
_ENDS = {b"\r\n": "CRLF", b"\r": "CR", b"\n": "LF"}
_LONGEST = 128


@dataclass(frozen=True)
class _Said:
    """One word, and when."""

    word: bytes
    at_ms: int


def bare(samples: Samples) -> Iterator[Guess | Unsure]:
    """Every reading of the recording as bytes or words that stand alone."""
    groups = [group for push in samples.pushes for group in push.groups]
    if all(len(set(group.data)) == 1 or len(group.data) <= 2 for group in groups) and _mostly_single(groups):
        yield _bytes(samples)
    ends = [end for end in _ENDS if _ended_by(groups, end)]
    if ends:
        yield _text(samples, ends[0])
    elif all(_printable(group.data) for group in groups):
        yield _text(samples, b"")


def _mostly_single(groups: Sequence[Group]) -> bool:
    return 2 * sum(len(group.data) == 1 for group in groups) > len(groups)


def _ended_by(groups: Sequence[Group], end: bytes) -> bool:
    return all(group.data.endswith(end) and _printable(group.data.replace(end, b"")) for group in groups)


def _printable(data: bytes) -> bool:
    try:
        return bool(data) and data.decode("utf-8").isprintable()
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("gbk").isprintable()
    except UnicodeDecodeError:
        return False


# ---- which words are keys


@dataclass(frozen=True)
class _Keys:
    """The word of each key, and what else was heard, with how often."""

    words: dict[int, bytes]
    others: Counter[bytes]
    idle: frozenset[bytes]
    moments: list[list[int]]


def _keys(pushes: Sequence[tuple[Push, list[_Said]]], idle: set[bytes]) -> _Keys | Unsure:
    """The word that comes with every push of a key and never without; the first, where there are several."""
    words: dict[int, bytes] = {}
    for key, mine in by_key([push for push, _ in pushes]).items():
        heard = [[said.word for said in every] for push, every in pushes if any(push is each for each in mine)]
        always = [word for word in dict.fromkeys(heard[0]) if all(word in each for each in heard) and word not in idle]
        if not always:
            why = Words(f"按键 {key} 每次说的不一样", f"key {key} does not say the same each time")
            return Unsure(_WHAT, why, (key,))
        words[key] = always[0]
    twins = [key for key, word in words.items() if list(words.values()).count(word) > 1]
    if twins:
        names = ", ".join(map(str, twins))
        return Unsure(_WHAT, Words(f"按键 {names} 说的一样", f"keys {names} say the same"), tuple(twins))
    others: Counter[bytes] = Counter()
    moments = []
    for push, every in pushes:
        others.update(said.word for said in every if said.word != words[push.key])
        moments.append([said.at_ms for said in every if said.word == words[push.key]])
    crossed = sorted(key for key, word in words.items() if word in others)
    if crossed:
        names = ", ".join(map(str, crossed))
        why = Words(
            f"按键 {names} 的字节在按别的键时也出现", f"what key {names} says also came when another was pressed"
        )
        return Unsure(_WHAT, why, tuple(crossed))
    return _Keys(words, others, frozenset(idle), moments)


# ---- one bare byte


def _bytes(samples: Samples) -> Guess | Unsure:
    idle = {bytes([byte]) for group in samples.idle for byte in group.data}
    pushes = [
        (push, [_Said(bytes([byte]), group.at_ms) for group in push.groups for byte in dict.fromkeys(group.data)])
        for push in samples.pushes
    ]
    keys = _keys(pushes, idle)
    if isinstance(keys, Unsure):
        return keys
    codes = {key: word[0] for key, word in keys.words.items()}
    once = {word for word, times in keys.others.items() if times == 1 and word not in idle}
    beats = sorted(word[0] for word in idle)
    releases = sorted(word[0] for word in keys.others if word not in once and word not in idle)
    rules = _byte_rules(codes)
    rules += [Rule(event="ignore", bytes=ranges(releases))] if releases else []
    rules += [Rule(event="beat", bytes=ranges(beats))] if beats else []
    press, notes = pressing(keys.moments)
    vectors = [key_vector(word, key) for key, word in keys.words.items()]
    vectors += [Vector(read=f"{byte:02X}") for byte in releases]
    vectors += [Vector(read=f"{byte:02X}", expect=[Expected("beat")]) for byte in beats]
    weak = Words(
        "一个裸字节没有校验: 波特率不对或有干扰时, 别的字节可能变成按键",
        "one bare byte carries no check: at a wrong baud rate, or with noise, another byte can become a key",
    )
    return Guess("byte", rules, vectors, press, (*notes, weak), noise=frozenset(once))


def _byte_rules(codes: dict[int, int]) -> list[Rule]:
    form = key_rules(codes)
    if form is not None:
        return [Rule(event="key", bytes=form[1], key_form=form[0])]  # type: ignore[arg-type]
    return [Rule(event="key", bytes=f"{byte:02X}", key=key) for key, byte in codes.items()]


# ---- text


def _text(samples: Samples, end: bytes) -> Guess | Unsure:
    idle = {word for group in samples.idle for word in _words(group.data, end)}
    pushes = [
        (push, [_Said(word, group.at_ms) for group in push.groups for word in _words(group.data, end)])
        for push in samples.pushes
    ]
    keys = _keys(pushes, idle)
    if isinstance(keys, Unsure):
        return keys
    encoding = _encoding([*keys.words.values(), *keys.others, *idle])
    if encoding is None or max(map(len, keys.words.values())) > _LONGEST:
        return Unsure(_WHAT, Words("不是 ASCII、UTF-8 或 GBK 文字", "no text in ASCII, UTF-8 or GBK"))
    rules = _text_rules({key: word.decode(encoding) for key, word in keys.words.items()})
    once = {word for word, times in keys.others.items() if times == 1 and word not in idle}
    releases = sorted(word for word in keys.others if word not in once and word not in idle)
    rules += [Rule(event="ignore", pattern=re.escape(word.decode(encoding))) for word in releases]
    rules += [Rule(event="beat", pattern=re.escape(word.decode(encoding))) for word in sorted(idle)]
    press, notes = pressing(keys.moments)
    vectors = [key_vector(word + end, key) for key, word in keys.words.items()]
    vectors += [Vector(read=hexed(word + end)) for word in releases]
    vectors += [Vector(read=hexed(word + end), expect=[Expected("beat")]) for word in sorted(idle)]
    shape = Bare(ends=[_ENDS.get(end, "none")], longest=_LONGEST, encoding=encoding)  # type: ignore[list-item, arg-type]
    noise = frozenset(word + end for word in once)
    return Guess("text", rules, vectors, press, notes, bare=shape, noise=noise)


def _words(data: bytes, end: bytes) -> list[bytes]:
    return [word for word in (data.split(end) if end else [data]) if word]


def _encoding(words: Sequence[bytes]) -> str | None:
    for encoding in ("ascii", "utf-8", "gbk"):
        try:
            if all(word.decode(encoding).isprintable() for word in words):
                return encoding
        except UnicodeDecodeError:
            pass
    return None


def _text_rules(words: dict[int, str]) -> list[Rule]:
    """One pattern where the words differ in their key's digit only; else one rule for each key."""
    first = next(iter(words.values()))
    for at, digit in enumerate(first):
        before, after = first[:at], first[at + 1 :]
        if digit.isdigit() and all(word == f"{before}{key}{after}" for key, word in words.items()):
            keys = "".join(map(str, sorted(words)))
            return [Rule(event="key", pattern=f"{re.escape(before)}(?P<key>[{keys}]){re.escape(after)}")]
    return [Rule(event="key", pattern=re.escape(word), key=key) for key, word in words.items()]
