"""What stands on each key, asked of the person who looks at it: a level, and on some devices a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from protocols import tags
from protocols.profiles.vocabulary import KeyMeaning, LevelName
from protocols.ratings import Level
from protocols.words import Words

from ..words import NOTHING
from .acts import NO, YES, Act, Ask, Tell

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


class Meanings:
    """The questions, one after the other. Over when `confirmed` is not None; it never guesses."""

    def __init__(self, keys: Sequence[int], preset: Mapping[int, KeyMeaning]):
        self._keys = tuple(keys)
        self._preset = preset
        self.confirmed: dict[int, KeyMeaning] | None = None

    def begin(self) -> list[Act]:
        """The first question."""
        self._left = list(self._keys)
        self._given: dict[int, KeyMeaning] = {}
        return self._ask()

    def answer(self, text: str) -> list[Act]:
        """What was typed."""
        return self._hear(text)

    # ---- key by key

    def _ask(self) -> list[Act]:
        if not self._left:
            return self._sum_up()
        self._hear: Callable[[str], list[Act]] = self._meaning
        key = self._left[0]
        levels_zh = "  ".join(f"{letter} {Level(name).zh}" for letter, name in LETTERS.items())
        levels_en = "  ".join(f"{letter} {_LEVELS_EN[name]}" for letter, name in LETTERS.items())
        hint = self._hint(key)
        words = Words(
            f"按键 {key} 上写的是什么? {levels_zh}; 输入字母或这几个字, 原因写在后面, 如 d 态度差;"
            f" 直接回车表示未确认{hint.zh}",
            f"what stands on key {key}? {levels_en}; the letter or the words, a reason behind it, as in: d too slow;"
            f" Enter for not confirmed{hint.en}",
        )
        return [Ask(words)]

    def _hint(self, key: int) -> Words:
        usual = self._preset.get(key)
        if usual is None:
            return NOTHING
        said = _said(usual)
        return Words(
            f" (同类设备常见: {said.zh}; 看着键面确认后输入 y)",
            f" (such devices often have: {said.en}; type y once you have looked at the key)",
        )

    def _meaning(self, text: str) -> list[Act]:
        key = self._left[0]
        level, reason = _level(text)
        if level is not None:
            meaning = KeyMeaning(level, " ".join(reason.split()))
        elif text.lower() in YES and key in self._preset:
            meaning = self._preset[key]
        elif text:
            return [Tell(Words("请输入 a 到 e, 或直接回车", "type a to e, or Enter alone")), *self._ask()]
        else:
            noted = Words(f"按键 {key} 记为未确认", f"key {key} is noted as not confirmed")
            return [Tell(noted), *self._take(None)]
        wrong = mistake(meaning)
        if wrong is not None:
            return [Tell(wrong), *self._ask()]
        twin = next((other for other, given in self._given.items() if given == meaning), None)
        return self._take(meaning) if twin is None else self._doubt(twin, meaning)

    def _take(self, meaning: KeyMeaning | None) -> list[Act]:
        key = self._left.pop(0)
        if meaning is not None:
            self._given[key] = meaning
        return self._ask()

    def _doubt(self, twin: int, meaning: KeyMeaning) -> list[Act]:
        """Two keys with one meaning: mostly a slip of the finger."""

        def hear(text: str) -> list[Act]:
            if text.lower() in YES:
                return self._take(meaning)
            return self._ask() if text.lower() in NO else self._doubt(twin, meaning)

        self._hear = hear
        said, key = _said(meaning), self._left[0]
        words = Words(
            f"按键 {twin} 已经是 {said.zh}, 按键 {key} 真的也是吗? y/n",
            f"key {twin} is {said.en} already; really key {key} too? y or n",
        )
        return [Ask(words)]

    # ---- all of them once more

    def _sum_up(self) -> list[Act]:
        self._hear = self._agreed
        rows = []
        for key in self._keys:
            meaning = self._given.get(key)
            said = Words("未确认", "not confirmed") if meaning is None else _said(meaning)
            rows.append(Tell(Words(f"    按键 {key}: {said.zh}", f"    key {key}: {said.en}")))
        return [*rows, Ask(Words("对吗? y 对, n 重新问一遍", "right? y or n (n asks all of them again)"))]

    def _agreed(self, text: str) -> list[Act]:
        if text.lower() in YES:
            self.confirmed = self._given
            return []
        return self.begin() if text.lower() in NO else self._sum_up()


def _level(text: str) -> tuple[LevelName | None, str]:
    """The level that was typed, as a letter or in words, and what stands behind it."""
    for letter, name in LETTERS.items():
        for word in (letter, Level(name).zh, _LEVELS_EN[name], name):
            if text.lower() == word or text.lower().startswith(f"{word} "):
                return name, text[len(word) :]
    return None, ""


def _said(meaning: KeyMeaning) -> Words:
    reason = f" {meaning.reason}" if meaning.reason else ""
    return Words(f"{Level(meaning.level).zh}{reason}", f"{_LEVELS_EN[meaning.level]}{reason}")


def mistake(meaning: KeyMeaning) -> Words | None:
    """Why the collector would not take this reason."""
    if len(meaning.reason) > _REASON_MAX:
        return Words(f"原因最多 {_REASON_MAX} 个字", f"a reason has at most {_REASON_MAX} characters")
    if not meaning.reason.isprintable():
        return Words("原因里有看不见的字符", "there is something unprintable in this reason")
    if not tags.is_code(meaning.reason):
        return None
    tag = tags.TAGS.get(meaning.reason)
    if tag is not None and tag.level is Level(meaning.level):
        return None
    return Words(
        f"{meaning.reason} 不是{Level(meaning.level).zh}的评价标签编号",
        f"{meaning.reason} is no rating tag of {_LEVELS_EN[meaning.level]}",
    )
