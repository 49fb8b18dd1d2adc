"""The conversation at the desk: press this key, what does it mean. Fed with bytes, answers and time; says what to do.

It waits for nothing, touches no port and prints nothing: a terminal and a page can hold it alike. It never guesses what
a key means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from protocols.profiles.vocabulary import KeyMeaning, LevelName, LineSettings
from protocols.ratings import Level

from ..monitor import Watch
from ..recording import Entry, Recorder, Recording
from ..words import Words
from . import Naming, Proposal, infer, with_meanings
from .samples import GAP_MS, PRESSES_MIN, Unsure, idle_label, key_label

IDLE_MS = 8_000  # signs of life come every few seconds
IDLE_MORE_MS = 12_000  # for a second one, where only one was heard
QUIET_MS = 1_500  # a press that is repeated until it is answered comes again within that
PUSH_MAX_MS = 6_000  # a device that never stops is not waited for
SILENT_MS = 20_000
RATE_MS = 8_000
LETTERS: Mapping[str, LevelName] = {
    "a": "very_satisfied",
    "b": "satisfied",
    "c": "basically_satisfied",
    "d": "dissatisfied",
    "e": "very_dissatisfied",
}
"""Letters, because a digit is a different level on every device."""
_LEVELS_EN = {name: name.replace("_", " ") for name in LETTERS.values()}
_REASON_MAX = 50
_YES, _NO = ("y", "yes", "是"), ("n", "no", "否")


@dataclass(frozen=True)
class Tell:
    """Say this to the person."""

    words: Words


@dataclass(frozen=True)
class Ask:
    """Say this, and expect an answer or a press."""

    words: Words


@dataclass(frozen=True)
class Reopen:
    """Open the port again at this rate."""

    baud: int


@dataclass(frozen=True)
class Finish:
    """It is over, with a profile or the words why not."""

    result: Proposal | Unsure


Act = Tell | Ask | Reopen | Finish


@dataclass(frozen=True)
class Plan:
    """What is to be learnt, on which line."""

    line: LineSettings = field(default_factory=LineSettings)
    keys: int = 5
    port: str = ""
    naming: Naming = field(default_factory=Naming)
    preset: Mapping[int, KeyMeaning] = field(default_factory=dict)
    """What the keys of such a device often mean; nobody is spared the question."""


class Beats:
    """What the line says while nobody presses."""

    def __init__(self) -> None:
        self._seen: dict[int, list[bytes]] = {}

    def keep(self, group: bytes) -> None:
        self._seen.setdefault(len(group), []).append(group)

    @property
    def lonely(self) -> bool:
        """Whether something was heard only once: nobody knows yet what of it changes."""
        return any(len(groups) == 1 for groups in self._seen.values())

    def fits(self, group: bytes) -> bool:
        """Whether this is one of them: it differs only where they differ from each other."""
        seen = self._seen.get(len(group), [])
        return group in seen or (
            len(seen) > 1
            and len(group) > 1
            and all(
                byte in {each[at] for each in seen} or len({each[at] for each in seen}) > 1
                for at, byte in enumerate(group)
            )
        )


class Dialogue:
    """One device learnt. `begin` first; then `feed`, `answer` and `tick` as things happen, until there is a Finish."""

    def __init__(self, plan: Plan):
        self._plan = plan
        self.baud = plan.line.baud
        self._recorder = Recorder()
        self._do: Callable[[int], list[Act]] = self._idle
        self._hear: Callable[[str, int], list[Act]] = self._no_answer
        self._since_ms = 0
        self._key = self._press = 1
        self._refused = False
        self._group = b""
        self._heard_ms = -GAP_MS
        self._last_ms = 0
        self._pressed_ms: int | None = None
        self._restart(0)

    @property
    def recording(self) -> Recording:
        """Everything that was recorded at the rate that is set now."""
        return Recording(tuple(self._recorder.entries), self._plan.port, f"{self.baud} {_format(self._plan.line)}")

    @property
    def entries(self) -> Sequence[Entry]:
        return self._recorder.entries

    # ---- what happens to it

    def begin(self, now_ms: int) -> list[Act]:
        """The first words."""
        self._restart(now_ms)
        return [
            Tell(Words("请先不要碰评价器, 听几秒钟 …", "please leave the device alone; listening for some seconds …"))
        ]

    def feed(self, data: bytes, now_ms: int) -> list[Act]:
        """Bytes from the device."""
        self._recorder.heard(data, now_ms)
        self._watch.feed(False, data, now_ms)
        if now_ms - self._heard_ms >= GAP_MS:
            self._close_group()
        self._group += data
        self._heard_ms = now_ms
        return self.tick(now_ms)

    def answer(self, text: str, now_ms: int) -> list[Act]:
        """A line from the person."""
        return self._hear(text.strip(), now_ms)

    def tick(self, now_ms: int) -> list[Act]:
        """Time goes by; to be called several times a second."""
        if self._group and now_ms - self._heard_ms >= GAP_MS:
            self._close_group()
        return self._do(now_ms)

    def _close_group(self) -> None:
        group, self._group = bytes(self._group), b""
        if not group:
            return
        if self._do == self._idle:
            self._beats.keep(group)
        elif not self._beats.fits(group):
            self._pressed_ms = self._pressed_ms or self._heard_ms
            self._last_ms = self._heard_ms

    def _restart(self, now_ms: int) -> None:
        self._recorder = Recorder()
        self._recorder.label(idle_label())
        self._watch = Watch(self.baud, self._plan.line.alt_baud)
        self._beats = Beats()
        self._group = b""
        self._heard_ms = -GAP_MS
        self._pressed_ms = None
        self._last_ms = 0
        self._key = self._press = 1
        self._go(self._idle, self._no_answer, now_ms)

    def _go(self, do: Callable[[int], list[Act]], hear: Callable[[str, int], list[Act]], now_ms: int) -> None:
        self._do, self._hear, self._since_ms = do, hear, now_ms

    # ---- nobody presses

    def _idle(self, now_ms: int) -> list[Act]:
        waited_ms = now_ms - self._since_ms
        if waited_ms < IDLE_MS or (self._beats.lonely and waited_ms < IDLE_MS + IDLE_MORE_MS):
            return []
        return self._next_press(now_ms)

    def _no_answer(self, _text: str, _now_ms: int) -> list[Act]:
        return []

    # ---- key by key

    def _next_press(self, now_ms: int) -> list[Act]:
        self._recorder.label(key_label(self._key, self._press))
        self._pressed_ms = None
        self._go(self._pressing, self._while_pressing, now_ms)
        return self._ask_press()

    def _ask_press(self) -> list[Act]:
        which = f"{self._press}/{PRESSES_MIN}"
        words = Words(f"请短按按键 {self._key} 一下 ({which})", f"press key {self._key} briefly, once ({which})")
        if self._may_end():
            words = Words(f"{words.zh}; 没有这个键就输入 e", f"{words.en}; type e if there is no such key")
        return [Ask(words)]

    def _may_end(self) -> bool:
        """Whether what was pressed is enough, should there be no more keys."""
        return self._key > 2 and self._press == 1

    def _pressing(self, now_ms: int) -> list[Act]:
        if self._pressed_ms is None:
            return self._silent(now_ms) if now_ms - self._since_ms >= SILENT_MS else []
        if now_ms - self._last_ms < QUIET_MS and now_ms - self._pressed_ms < PUSH_MAX_MS:
            return []
        return self._pushed(now_ms)

    def _pushed(self, now_ms: int) -> list[Act]:
        if self._press < PRESSES_MIN:
            self._press += 1
            return self._next_press(now_ms)
        wrong = next((found for found in self._watch.signs() if found.kind in ("too-slow", "too-fast")), None)
        if wrong is not None and self._rates():
            return [Tell(wrong.words), *self._offer_rates(now_ms)]
        return self._next_key(now_ms)

    def _next_key(self, now_ms: int) -> list[Act]:
        if self._key < self._plan.keys:
            self._key, self._press = self._key + 1, 1
            return self._next_press(now_ms)
        return self._judge(now_ms)

    def _while_pressing(self, text: str, now_ms: int) -> list[Act]:
        if text.lower() == "e" and self._may_end():
            # What was asked for and never pressed is no part of the recording.
            self._recorder.entries.pop()
            return self._judge(now_ms)
        return []

    def _silent(self, now_ms: int) -> list[Act]:
        if self._key == self._press == 1 and self._rates():
            said = Tell(Words("按了却没有任何字节", "nothing came at all"))
            return [said, *self._offer_rates(now_ms)]
        self._since_ms = now_ms
        return [Tell(Words(f"还在等按键 {self._key} …", f"still waiting for key {self._key} …"))]

    # ---- other rates

    def _rates(self) -> list[int]:
        return [] if self._refused else [rate for rate in self._plan.line.alt_baud if rate != self.baud]

    def _offer_rates(self, now_ms: int) -> list[Act]:
        self._go(self._wait, self._consent, now_ms)
        rates = ", ".join(map(str, self._rates()))
        return [
            Ask(Words(f"要试其它波特率吗 ({rates})? y 试, n 不试", f"try other baud rates ({rates})? y or n")),
        ]

    def _wait(self, _now_ms: int) -> list[Act]:
        return []

    def _consent(self, text: str, now_ms: int) -> list[Act]:
        if text.lower() in _YES:
            self._left = self._rates()
            return self._try_rate(now_ms)
        if text.lower() not in _NO:
            return []
        if self._pressed_ms is not None:
            self._refused = True  # asked once is enough
            return self._next_key(now_ms)
        self._go(self._pressing, self._while_pressing, now_ms)
        return self._ask_press()

    def _try_rate(self, now_ms: int) -> list[Act]:
        if not self._left:
            return self._finish(
                Unsure(
                    Words("没有一种波特率能用", "no baud rate worked"),
                    Words("请检查线缆、电源和串口号", "check the cable, its power and the port"),
                )
            )
        self.baud = self._left.pop(0)
        self._watch = Watch(self.baud)
        self._group = b""
        self._pressed_ms = None
        self._go(self._listening, self._no_answer, now_ms)
        words = Words(f"{self.baud}: 请随便按几个不同的键 …", f"{self.baud}: press some different keys …")
        return [Reopen(self.baud), Tell(words)]

    def _listening(self, now_ms: int) -> list[Act]:
        if now_ms - self._since_ms < RATE_MS:
            return []
        wrong = any(found.kind in ("too-slow", "too-fast") for found in self._watch.signs())
        if self._pressed_ms is None or wrong:
            return self._try_rate(now_ms)
        self._go(self._wait, self._judge_rate, now_ms)
        return [Ask(Words(f"{self.baud} 收到了字节, 就用它吗? y/n", f"bytes came at {self.baud}: use it? y or n"))]

    def _judge_rate(self, text: str, now_ms: int) -> list[Act]:
        if text.lower() in _YES:
            return self.begin(now_ms)
        return self._try_rate(now_ms) if text.lower() in _NO else []

    # ---- what it comes to

    def _judge(self, now_ms: int) -> list[Act]:
        result = infer(self.recording, _at(self._plan.line, self.baud), self._plan.naming)
        if isinstance(result, Unsure):
            return self._finish(result)
        self._proposal = result
        self._left_keys = list(result.keys)
        self._meanings: dict[int, KeyMeaning] = {}
        seen = Words(f"看懂了: {len(result.keys)} 个键", f"understood: {len(result.keys)} keys")
        return [Tell(seen), *(Tell(note) for note in result.notes), *self._ask_meaning(now_ms)]

    def _ask_meaning(self, now_ms: int) -> list[Act]:
        if not self._left_keys:
            return self._finish(with_meanings(self._proposal, self._meanings))
        self._go(self._wait, self._meaning, now_ms)
        key = self._left_keys[0]
        levels_zh = "  ".join(f"{letter} {Level(name).zh}" for letter, name in LETTERS.items())
        levels_en = "  ".join(f"{letter} {_LEVELS_EN[name]}" for letter, name in LETTERS.items())
        hint = self._hint(key)
        return [
            Ask(
                Words(
                    f"按键 {key} 上写的是什么? {levels_zh}; 原因写在后面, 如 d 态度不好; 直接回车表示未确认{hint.zh}",
                    f"what stands on key {key}? {levels_en}; a reason behind it, as in: d too slow;"
                    f" Enter for not confirmed{hint.en}",
                )
            )
        ]

    def _hint(self, key: int) -> Words:
        usual = self._plan.preset.get(key)
        if usual is None:
            return Words("", "")
        reason = f" {usual.reason}" if usual.reason else ""
        level = f"{Level(usual.level).zh}{reason}"
        return Words(
            f" (同类设备常见: {level}; 看着键面确认后输入 y)",
            f" (such devices often have: {_LEVELS_EN[usual.level]}{reason}; type y once you have looked at the key)",
        )

    def _meaning(self, text: str, now_ms: int) -> list[Act]:
        key = self._left_keys[0]
        letter, _, reason = text.partition(" ")
        meaning: KeyMeaning | None = None
        if letter.lower() in LETTERS:
            meaning = KeyMeaning(LETTERS[letter.lower()], reason.strip()[:_REASON_MAX])
        elif text.lower() in _YES and key in self._plan.preset:
            meaning = self._plan.preset[key]
        elif text:
            return [Tell(Words("请输入 a 到 e, 或直接回车", "type a to e, or Enter alone")), *self._ask_meaning(now_ms)]
        if meaning is not None:
            self._meanings[key] = meaning
        self._left_keys.pop(0)
        return self._ask_meaning(now_ms)

    def _finish(self, result: Proposal | Unsure) -> list[Act]:
        self._go(self._wait, self._no_answer, 0)
        return [Finish(result)]


def _at(line: LineSettings, baud: int) -> LineSettings:
    others = sorted({line.baud, *line.alt_baud} - {baud})
    return LineSettings(baud, others, line.bytesize, line.parity, line.stopbits, line.dtr, line.rts)


def _format(line: LineSettings) -> str:
    return f"{line.bytesize}{line.parity}{line.stopbits}"
