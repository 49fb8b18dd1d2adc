"""Frames without a description: head, length, key, count, checksum and tail, as far as a recording shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from protocols.profiles.vocabulary import Check, Expected, Framing, Length, Rule, Vector
from protocols.words import Words

from .checks import TAIL_MAX, Fit, changed, fits_of
from .guess import Guess, hexed, key_rules, key_vector, pressing
from .parting import Frame, Kind, Parting, frames_of, partings
from .samples import Samples, Unsure

_STEP_MAX = 16  # a number that other frames use too rises by more than one from press to press
_VECTORS_MAX = 3  # of one key
_WHAT = Words("看不懂这些字节", "these bytes are not understood")


def framed(samples: Samples) -> Iterator[Guess | Unsure]:
    """Every reading of the recording as frames, the plainest first."""
    frames = frames_of(samples)
    for parting in partings(frames):
        yield from _readings(parting)


@dataclass(frozen=True)
class _Varying:
    """The bytes of a press that are not always the same."""

    keyed: tuple[int, ...]
    wild: tuple[int, ...]
    count_at: int | None


def _readings(parting: Parting) -> Iterator[Guess | Unsure]:
    presses = parting.presses
    if len({frame.data[0] for frame in presses}) > 1:
        why = Words("按键的字节没有固定的开头", "what a key says has no constant beginning")
        yield Unsure(_WHAT, why)
        return
    for kinds in _families(parting):
        yield from _with_checks(parting, kinds)


def _families(parting: Parting) -> Iterator[list[Kind]]:
    """Which kinds may be framed like the presses: all that begin alike, or only what belongs to a key."""
    near = [parting.presses, *parting.releases]
    alike = [kind for kind in parting.others if kind[0].data[0] == parting.presses[0].data[0] and len(kind[0].data) > 1]
    if alike:
        yield near + alike
    if parting.releases:
        yield near
    yield [parting.presses]


def _with_checks(parting: Parting, kinds: list[Kind]) -> Iterator[Guess | Unsure]:
    fits = [fit for fit in fits_of(list({frame.data for kind in kinds for frame in kind})) if _tail(kinds, fit.tail)]
    told: list[Unsure] = []
    for fit in fits:
        varying = _varying(parting.presses, range(fit.at(parting.presses[0].data), len(parting.presses[0].data)))
        if isinstance(varying, Unsure):
            told.append(varying)
            continue
        rivals = [other for other in fits if _differ(fit, other, kinds, varying)]
        if rivals:
            names = ", ".join(map(str, [fit, *rivals[:3]]))
            why = Words(
                "录到的还分不清两种校验和, 多按几次可能就分清了",
                "two checksums fit all that was heard; some more presses may tell them apart",
            )
            told.append(Unsure(Words("校验和不能确定", "the checksum is not certain"), why, detail=Words(names, names)))
            continue
        yield from _built(parting, kinds, varying, fit)
    yield from told
    varying = _varying(parting.presses, range(0))
    if isinstance(varying, Unsure):
        yield varying
    elif not fits:
        yield from _built(parting, kinds, varying, None)


def _tail(kinds: Sequence[Kind], size: int) -> bool:
    return size == 0 or len({frame.data[-size:] for kind in kinds for frame in kind}) == 1


def _differ(fit: Fit, other: Fit, kinds: Sequence[Kind], varying: _Varying) -> bool:
    """Whether the two part on a frame that may still come."""
    for kind in kinds:
        first = kind[0].data
        loose = varying.wild if kind is kinds[0] else _loose(kind, fit)
        for at in loose:
            for frame in {frame.key: frame.data for frame in kind}.values():
                if not all(other.holds(changed(frame, at, value, fit)) for value in range(256)):
                    return True
        if fit.tail + fit.size != other.tail + other.size and fit.at(first) in loose:
            return True
    return False


def _loose(kind: Kind, fit: Fit) -> list[int]:
    """The bytes of this kind that change, but for its checksum."""
    size = len(kind[0].data)
    return [at for at in range(fit.start, fit.at(kind[0].data)) if at < size and len({f.data[at] for f in kind}) > 1]


# ---- what a press is made of


def _varying(presses: Kind, check: range) -> _Varying | Unsure:
    """Which bytes are the key, and which a number; without those of the checksum."""
    size = len(presses[0].data)
    changing = [at for at in range(size) if at not in check and len({frame.data[at] for frame in presses}) > 1]
    keyed = tuple(at for at in changing if _follows_key(presses, at))
    if not keyed:
        why = Words(
            "按键分不开, 可能有一次按错或连按了", "the keys cannot be told apart: one press may have been wrong, or two"
        )
        return Unsure(_WHAT, why, tuple(sorted({frame.key for frame in presses})))
    codes = {frame.key: bytes(frame.data[at] for at in keyed) for frame in presses}
    if len(set(codes.values())) < len(codes):
        twins = sorted(key for key, code in codes.items() if list(codes.values()).count(code) > 1)
        names = ", ".join(map(str, twins))
        return Unsure(_WHAT, Words(f"按键 {names} 的字节一样", f"keys {names} say the same bytes"), tuple(twins))
    wild = tuple(at for at in changing if at not in keyed)
    counts = [at for at in wild if _is_count(presses, at)]
    if (wild and len(counts) != 1) or len(wild) > 1:
        places = ", ".join(str(at + 1) for at in wild)
        why = Words(
            "每按一次都有些字节在变, 既不随按键也不像序号",
            "something in its bytes changes with every press that is neither the key nor a number",
        )
        return Unsure(_WHAT, why, detail=Words(f"第 {places} 个字节", f"byte {places}"))
    alone = all(
        len({frame.data[at] for frame in presses if frame.push == push}) == 1
        for at in wild
        for push in _pushes(presses)
    )
    return _Varying(keyed, wild, wild[0] if wild and alone else None)


def _pushes(presses: Kind) -> set[int]:
    return {frame.push for frame in presses}


def _follows_key(presses: Kind, at: int) -> bool:
    of_key: dict[int, set[int]] = {}
    for frame in presses:
        of_key.setdefault(frame.key, set()).add(frame.data[at])
    return all(len(bytes_) == 1 for bytes_ in of_key.values())


def _is_count(presses: Kind, at: int) -> bool:
    """Whether this byte rises from press to press, and starts again from below."""
    values = [frame.data[at] for frame in presses]
    values = [value for number, value in enumerate(values) if number == 0 or value != values[number - 1]]
    if len(values) < len(_pushes(presses)):
        return False  # two presses of the same number could not be told apart
    steps = [(after - before) % 256 for before, after in pairwise(values)]
    falls = [after < before for before, after in pairwise(values)]
    usual = Counter(steps).most_common(1)[0][0]
    if all(1 <= step <= _STEP_MAX for step in steps):
        return True
    odd = [fell for step, fell in zip(steps, falls, strict=True) if step != usual]
    return usual <= _STEP_MAX and all(odd) and 3 * len(odd) <= len(steps)


# ---- put together


def _built(parting: Parting, kinds: list[Kind], varying: _Varying, fit: Fit | None) -> Iterator[Guess | Unsure]:
    sizes = {len(frame.data) for kind in kinds for frame in kind}
    if len(sizes) == 1:
        yield from _laid_out(parting, kinds, varying, fit, None)
        return
    lengths = list(_lengths(kinds, varying))
    for at in lengths[:1]:
        yield from _laid_out(parting, kinds, varying, fit, at)
    # Nothing in them says how long they are: only what is as long as a press is read.
    same = [kind for kind in kinds if len(kind[0].data) == len(parting.presses[0].data)]
    yield from _laid_out(parting, same, varying, fit, None)


def _lengths(kinds: Sequence[Kind], varying: _Varying) -> Iterator[int]:
    """Where a byte stands that follows the length of its frame."""
    frames = [frame.data for kind in kinds for frame in kind]
    for at in range(1, min(map(len, frames))):
        apart = {len(frame) - frame[at] for frame in frames}
        if len(apart) == 1 and -_STEP_MAX <= apart.pop() - at <= _STEP_MAX and at not in varying.keyed:
            yield at
        if len({frame[at] for frame in frames}) > 1:
            return  # before it, everything is the same


@dataclass(frozen=True)
class _Layout:
    """A frame's description, and where its data begin."""

    framing: Framing
    command: range
    data: int
    tail: int
    """Bytes behind the data."""

    def data_of(self, frame: bytes) -> bytes:
        return frame[self.data : len(frame) - self.tail]


def _laid_out(
    parting: Parting, kinds: list[Kind], varying: _Varying, fit: Fit | None, length_at: int | None
) -> Iterator[Guess | Unsure]:
    layout = _layout(kinds, fit, length_at)
    if layout is None or min(varying.keyed) < layout.data:
        return
    rules = _rules(parting, kinds, varying, layout)
    if isinstance(rules, Unsure):
        yield rules
        return
    outside = {frame.data for kind in (*parting.releases, *parting.others) if kind not in kinds for frame in kind}
    press, notes = pressing(_moments(parting.presses))
    yield Guess(
        form="frame",
        frame=layout.framing,
        rules=rules,
        vectors=_vectors(parting, kinds, varying, fit),
        press=press,
        notes=(*notes, *_notes(varying, fit)),
        noise=frozenset(outside),
    )


def _layout(kinds: Sequence[Kind], fit: Fit | None, length_at: int | None) -> _Layout | None:
    frames = [frame.data for kind in kinds for frame in kind]
    first = frames[0]
    tail = fit.tail if fit is not None else _same_ends(frames)
    behind = tail + (fit.size if fit is not None else 0)
    same = _same_starts(frames) if length_at is None else length_at
    start = fit.start if fit is not None else 0
    head = min(start or same, same)
    parts, over, data = [], ["head"] if fit is not None and start == 0 else [], head
    if length_at is not None:
        if head < length_at:
            parts.append(hexed(first[head:length_at]))
            over.append("fixed")
        parts.append("length")
        if start <= length_at:
            over.append("length")
        data = length_at + 1
    if start > data:
        # Bytes that stand before what the checksum covers.
        gap = {frame[data:start] for frame in frames}
        if len(gap) > 1 or "fixed" in over:
            return None
        parts.append(hexed(first[data:start]))
        data = start
    command = range(data, data)
    if _names_the_kind(kinds, data, behind):
        command = range(data, data + 1)
        parts.append("command")
        over.append("command")
        data += 1
    parts += ["data", *(["check"] if fit is not None else [])]
    sizes = {len(frame) - data - behind for frame in frames}
    if min(sizes) < 0 or head == 0:
        return None
    framing = Framing(
        head=hexed(first[:head]),
        layout=parts,
        tail=hexed(first[len(first) - tail :]) if tail else None,
        length=_length(first, length_at, data, behind, fit, len(command)) if length_at is not None else None,
        data_min=min(sizes),
        data_max=max(sizes),
        check=_check(fit, [*over, "data"]) if fit is not None else None,
    )
    return _Layout(framing, command, data, behind)


def _same_starts(frames: Sequence[bytes]) -> int:
    """How many bytes at the beginning are the same in all."""
    shortest = min(map(len, frames))
    return next((at for at in range(shortest) if len({frame[at] for frame in frames}) > 1), shortest)


def _same_ends(frames: Sequence[bytes]) -> int:
    """How many bytes at the end are the same in all, as far as they may be a tail."""
    limit = min(TAIL_MAX - 1, min(map(len, frames)) - _same_starts(frames) - 1)
    return next((at for at in range(limit) if len({frame[-1 - at] for frame in frames}) > 1), max(0, limit))


def _names_the_kind(kinds: Sequence[Kind], at: int, behind: int) -> bool:
    """Whether this byte is the same within each kind, and not the same in all."""
    if any(len(frame.data) - behind <= at for kind in kinds for frame in kind):
        return False
    values = [{frame.data[at] for frame in kind} for kind in kinds]
    return all(len(each) == 1 for each in values) and len(set.union(*values)) == len(kinds) > 1


def _length(frame: bytes, at: int, data: int, behind: int, fit: Fit | None, command: int) -> Length:
    counted = ["command"] if command else []
    counted.append("data")
    size = len(frame) - data - behind + command
    check = fit.size if fit is not None else 0
    for plus, more in ((0, []), (check, ["check"]), (1, ["length"]), (1 + check, ["length", "check"])):
        if frame[at] == size + plus and (check or "check" not in more):
            return Length(counts=[*more, *counted])  # type: ignore[list-item]
    return Length(counts=counted, plus=frame[at] - size)  # type: ignore[arg-type]


def _check(fit: Fit, over: list[str]) -> Check:
    crc = fit.check
    return Check(crc.kind, over, crc.poly, crc.init, crc.reflected, crc.xor_out, crc.order)  # type: ignore[arg-type]


# ---- rules and vectors


@dataclass(frozen=True)
class _Pattern:
    command: str | None
    data: tuple[int | None, ...]
    """None is any byte."""

    def meets(self, other: _Pattern) -> bool:
        """Whether a frame can fit both."""
        return (
            self.command == other.command
            and len(self.data) == len(other.data)
            and all(one is None or two is None or one == two for one, two in zip(self.data, other.data, strict=True))
        )

    @property
    def text(self) -> str | None:
        return " ".join(".." if byte is None else f"{byte:02X}" for byte in self.data) or None


def _rules(parting: Parting, kinds: Sequence[Kind], varying: _Varying, layout: _Layout) -> list[Rule] | Unsure:
    keys = _key_rules(parting.presses, varying, layout)
    presses = {_pattern([frame], layout, varying.wild) for frame in parting.presses}
    first: list[Rule] = []
    last: list[Rule] = []
    for kind in kinds[1:]:
        event = "ignore" if kind in parting.releases else _event(kind)
        for pattern in _patterns(kind, layout, presses):
            if any(pattern.meets(press) for press in presses):
                why = Words(
                    "有些不是按键的帧, 与按键的帧分不开", "frames that are no press cannot be told from presses"
                )
                return Unsure(_WHAT, why)
            rule = Rule(event=event, command=pattern.command, data=pattern.text)  # type: ignore[arg-type]
            mine = _pattern(parting.presses, layout, ())
            (first if pattern.meets(mine) else last).append(rule)
    return [*first, *keys, *last]


def _pattern(frames: Sequence[Frame], layout: _Layout, wild: Sequence[int]) -> _Pattern:
    datas = [layout.data_of(frame.data) for frame in frames]
    command = frames[0].data[layout.command.start : layout.command.stop]
    data = tuple(
        None if at + layout.data in wild or len({each[at] for each in datas}) > 1 else datas[0][at]
        for at in range(len(datas[0]))
    )
    return _Pattern(hexed(command) or None, data)


def _patterns(kind: Kind, layout: _Layout, presses: set[_Pattern]) -> list[_Pattern]:
    """One that fits all of the kind; where presses would fit it too, one for each of its frames."""
    whole = _pattern(kind, layout, ())
    if not any(whole.meets(press) for press in presses):
        return [whole]
    loose = [at for at in range(len(kind[0].data)) if not _follows_key(kind, at)]
    return list(dict.fromkeys(_pattern([frame], layout, loose) for frame in kind))


def _event(kind: Kind) -> str:
    """What comes again and again without a key is a sign of life."""
    return "beat" if len(kind) > 1 or kind[0].key < 0 else "ignore"


def _key_rules(presses: Kind, varying: _Varying, layout: _Layout) -> list[Rule]:
    count_at = None if varying.count_at is None else varying.count_at - layout.data
    codes = {frame.key: [frame] for frame in presses}
    if len(varying.keyed) == 1:
        at = varying.keyed[0]
        form = key_rules({key: frames[0].data[at] for key, frames in codes.items()})
        if form is not None:
            whole = _pattern(presses, layout, (at, *varying.wild))
            rule = Rule(
                event="key",
                command=whole.command,
                data=whole.text,
                key_at=at - layout.data,
                key_form=form[0],  # type: ignore[arg-type]
                keys=form[1],
                count_at=count_at,
            )
            return [rule]
    each = {key: _pattern(frames, layout, varying.wild) for key, frames in sorted(codes.items())}
    return [
        Rule(event="key", command=pattern.command, data=pattern.text, key=key, count_at=count_at)
        for key, pattern in each.items()
    ]


def _vectors(parting: Parting, kinds: Sequence[Kind], varying: _Varying, fit: Fit | None) -> list[Vector]:
    vectors = []
    for key in sorted({frame.key for frame in parting.presses}):
        mine = list(dict.fromkeys(frame.data for frame in parting.presses if frame.key == key))
        for data in mine[:_VECTORS_MAX]:
            vectors.append(key_vector(data, key, None if varying.count_at is None else data[varying.count_at]))
    for kind in kinds[1:]:
        event = "ignore" if kind in parting.releases else _event(kind)
        expect = [Expected("beat")] if event == "beat" else []
        seen = list(dict.fromkeys(frame.data for frame in kind))
        vectors += [Vector(read=hexed(data), expect=expect) for data in seen[:_VECTORS_MAX]]
    if fit is not None:
        good = parting.presses[0].data
        at = fit.at(good)
        bad = good[:at] + bytes([good[at] ^ 0x01]) + good[at + 1 :]
        vectors.append(Vector(read=hexed(bad), expect=[Expected("noise")]))
    return vectors


def _moments(presses: Kind) -> list[list[int]]:
    moments: dict[int, list[int]] = {}
    for frame in presses:
        moments.setdefault(frame.push, []).append(frame.at_ms)
    return list(moments.values())


def _notes(varying: _Varying, fit: Fit | None) -> Iterator[Words]:
    if fit is None and len(varying.keyed) > 1:
        yield Words(
            "随按键变化的字节不止一个: 整体当作该键的代码, 其中可能有不认识的校验和",
            "more than one byte follows the key: together they are taken as its code; one may be an unknown checksum",
        )
