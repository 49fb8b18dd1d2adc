"""The conversation at the desk: press this key, what does it mean. Fed with bytes, answers and time; says what to do.

It waits for nothing, touches no port and prints nothing: a terminal and a page can hold it alike. It never guesses what
a key means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from protocols.profiles.vocabulary import KeyMeaning, LineSettings
from protocols.words import Words

from ..monitor import Watch
from ..recording import Entry, Label, Recorder, Recording
from . import Naming, Proposal, infer, with_meanings
from .acts import NO, YES, Act, Ask, Finish, Reopen, Tell
from .beats import Beats, Pieces
from .meanings import Meanings
from .pushes import Look, Pushes
from .samples import PRESSES_MIN, Unsure, idle_label, key_label, key_of

IDLE_MS = 8_000  # signs of life come every few seconds
IDLE_MAX_MS = 20_000  # for those that come seldom
COUNT_DOWN_MS = 2_000
QUIET_MS = 1_500  # a press that is repeated until it is answered comes again within that
PUSH_MAX_MS = 6_000  # a device that never stops is not waited for
SILENT_MS = 20_000
RATE_MS = 8_000
_DOUBTED_MAX = 3  # so many presses that do not fit, and other rates are worth a try


@dataclass(frozen=True)
class Plan:
    """What is to be learnt, on which line."""

    line: LineSettings = field(default_factory=LineSettings)
    keys: int = 5
    port: str = ""
    naming: Naming = field(default_factory=Naming)
    preset: Mapping[int, KeyMeaning] = field(default_factory=dict)
    """What the keys of such a device often mean; nobody is spared the question."""


class Dialogue:
    """One device learnt. `begin` first; then `feed`, `answer` and `tick` as things happen, until there is a Finish."""

    def __init__(self, plan: Plan):
        self._plan = plan
        self.baud = plan.line.baud
        self._hear: Callable[[str, int], list[Act]] = self._no_answer
        self._do: Callable[[int], list[Act]] = self._idle
        self._refused_rates = False
        self._asked_again = False
        self._begun_anew = 0
        self._pressed_ms: int | None = None
        self._heard_all: list[bytes] = []
        """What came since the press was asked for, each word once."""
        self._look: Look = "fits"
        self._doubted = 0
        self._otherwise: Callable[[int], list[Act]] = self._wait
        self._proposal: Proposal | None = None
        self._restart(0)

    @property
    def recording(self) -> Recording:
        """Everything that was recorded at the rate that is set now."""
        return Recording(tuple(self._recorder.entries), self._plan.port, f"{self.baud} {_format(self._plan.line)}")

    @property
    def entries(self) -> Sequence[Entry]:
        return self._recorder.entries

    @property
    def asked(self) -> tuple[int, int] | None:
        """The key that is to be pressed now, and for which time; None while none is."""
        return (self._key, self._press) if self._do == self._pressing else None

    @property
    def may_end(self) -> bool:
        """Whether `e` is an answer now: there are no more keys."""
        return self._do == self._pressing and self._may_end()

    @property
    def idle_ms(self) -> int | None:
        """Since when nobody is to press; None once that is over."""
        return self._since_ms if self._do == self._idle else None

    @property
    def proposal(self) -> Proposal | None:
        """What was understood, once all keys were pressed: what is left to ask is what they mean."""
        return self._proposal

    # ---- what happens to it

    def begin(self, now_ms: int) -> list[Act]:
        """The first words."""
        self._restart(now_ms)
        seconds, more = IDLE_MS // 1000, IDLE_MAX_MS // 1000
        words = Words(
            f"请先不要碰评价器, 听 {seconds} 秒 (它自己会说话时最多 {more} 秒) …",
            f"please leave the device alone for {seconds} seconds ({more} at most, if it speaks by itself) …",
        )
        return [Tell(words)]

    def feed(self, data: bytes, now_ms: int) -> list[Act]:
        """Bytes from the device."""
        acts = self._hear_piece(now_ms)
        self._recorder.heard(data, now_ms)
        self._watch.feed(False, data, now_ms)
        self._pieces.heard(data, now_ms)
        return acts + self.tick(now_ms)

    def answer(self, text: str, now_ms: int) -> list[Act]:
        """A line from the person."""
        return self._hear(text.strip(), now_ms)

    def tick(self, now_ms: int) -> list[Act]:
        """Time goes by; to be called several times a second."""
        return self._hear_piece(now_ms) + self._do(now_ms)

    def unplugged(self) -> list[Act]:
        """The cable is out."""
        self._pieces = Pieces()
        return [Tell(Words("线缆断开了, 请插回", "the cable is out, please put it back"))]

    def plugged(self, now_ms: int) -> list[Act]:
        """It is back: what was being done begins again."""
        back = Tell(Words("线缆已插回", "the cable is back"))
        if self._do == self._idle:
            return [back, *self.begin(now_ms)]
        if self._do == self._pressing:
            return [back, *self._ask_again(now_ms)]
        self._since_ms = now_ms
        return [back]

    def _hear_piece(self, now_ms: int) -> list[Act]:
        piece = self._pieces.ended(now_ms)
        if piece is None:
            return []
        if self._do == self._idle:
            self._beats.keep(piece)
        elif not self._beats.takes(piece):
            self._last_ms = now_ms
            said = self._beats.without(piece)
            if said not in self._heard_all:
                self._heard_all.append(said)
            if self._pressed_ms is None:
                self._pressed_ms = piece.at_ms
                if self._hear == self._consent:
                    # Pressed while we ask for other rates: this one is the right one, then.
                    self._go(self._pressing, self._while_pressing, now_ms)
                return self._look_at_it() if self._do == self._pressing else []
        return []

    @property
    def _said(self) -> bytes:
        return self._heard_all[0]

    def _restart(self, now_ms: int) -> None:
        self._recorder = Recorder()
        self._recorder.label(idle_label())
        self._watch = Watch(self.baud, self._plan.line.alt_baud)
        self._beats, self._pieces, self._pushes = Beats(), Pieces(), Pushes()
        self._pressed_ms, self._last_ms = None, 0
        self._key = self._press = 1
        self._again: list[int] = []
        self._told_ms = now_ms
        self._go(self._idle, self._no_answer, now_ms)

    def _go(self, do: Callable[[int], list[Act]], hear: Callable[[str, int], list[Act]], now_ms: int) -> None:
        self._do, self._hear, self._since_ms = do, hear, now_ms

    def _wait(self, _now_ms: int) -> list[Act]:
        return []

    def _no_answer(self, _text: str, _now_ms: int) -> list[Act]:
        return []

    # ---- nobody presses

    def _idle(self, now_ms: int) -> list[Act]:
        waited_ms = now_ms - self._since_ms
        if self._beats.strange(now_ms) or (waited_ms >= IDLE_MAX_MS and self._beats.doubtful()):
            return self._disturbed(now_ms)
        if waited_ms >= IDLE_MAX_MS or (waited_ms >= IDLE_MS and self._beats.sure()):
            return self._next_press(now_ms)
        if now_ms - self._told_ms < COUNT_DOWN_MS:
            return []
        self._told_ms = now_ms
        left_s = -(-((IDLE_MS if waited_ms < IDLE_MS else IDLE_MAX_MS) - waited_ms) // 1000)
        return [Tell(Words(f"    还有 {left_s} 秒", f"    {left_s} s more"))]

    def _disturbed(self, now_ms: int) -> list[Act]:
        """Something came that keeps no pace. Once, that is a key; then only the person knows."""
        self._begun_anew += 1
        if self._begun_anew == 1:
            return [Tell(Words("有键被按过, 重新开始", "a key was pressed, starting again")), *self.begin(now_ms)]
        self._go(self._wait, self._whether_pressed, now_ms)
        return [self._ask_whether_pressed()]

    def _ask_whether_pressed(self) -> Ask:
        words = Words(
            "又有字节来了, 没有规律: 有人按了键吗? y 有, 重新开始; n 没有, 是它自己说的",
            "bytes came again, at no steady pace: was a key pressed? y or n (y begins again, n: it speaks by itself)",
        )
        return Ask(words)

    def _whether_pressed(self, text: str, now_ms: int) -> list[Act]:
        if text.lower() in YES:
            return self.begin(now_ms)
        return self._next_press(now_ms) if text.lower() in NO else [self._ask_whether_pressed()]

    # ---- key by key

    def _next_press(self, now_ms: int) -> list[Act]:
        self._recorder.label(key_label(self._key, self._press))
        self._begin_push(now_ms)
        return [self._ask_press()]

    def _ask_again(self, now_ms: int) -> list[Act]:
        """The same press once more: what came since it was asked for is no part of the recording."""
        self._recorder.forget(self._label_at() + 1)
        self._begin_push(now_ms)
        return [self._ask_press()]

    def _begin_push(self, now_ms: int) -> None:
        self._pressed_ms, self._heard_all, self._look = None, [], "fits"
        self._go(self._pressing, self._while_pressing, now_ms)

    def _label_at(self) -> int:
        """Where the label of the press stands that is asked for."""
        entries = self._recorder.entries
        return max(at for at, entry in enumerate(entries) if isinstance(entry, Label))

    def _ask_press(self) -> Ask:
        which = f"{self._press}/{PRESSES_MIN}"
        words = Words(f"请短按按键 {self._key} 一下 ({which})", f"press key {self._key} briefly, once ({which})")
        if self._may_end():
            end = self._end_words()
            words = Words(f"{words.zh}; {end.zh}", f"{words.en}; {end.en}")
        elif (self._key, self._press) == (1, 1):
            words = Words(f"{words.zh}; 每次按完等下一句", f"{words.en}; then wait for the next line")
        elif (self._key, self._press) == (1, 2):
            words = Words(f"{words.zh}; 按错了就输入 b 退回", f"{words.en}; type b to go back after a wrong press")
        return Ask(words)

    def _end_words(self) -> Words:
        return Words("没有这个键就输入 e", "type e if there is no such key")

    def _may_end(self) -> bool:
        """Whether what was pressed is enough, should there be no more keys."""
        return self._key > 2 and self._press == 1 and not self._again

    def _look_at_it(self) -> list[Act]:
        """At once, whether this may be the key that was asked for."""
        self._look = self._pushes.look(self._key, self._said)
        key = self._key
        match self._look:
            case "fits":
                return []
            case "odd":
                words = Words(
                    f"这不像按键 {key} 前几次说的, 未计入",
                    f"that did not look like key {key} before; it is not counted",
                )
            case "anew":
                words = self._anew_words()
            case other:
                words = Words(
                    f"这像是按键 {other}, 未计入; 请再按按键 {key} (前一个键按错了就输入 b)",
                    f"that looked like key {other}; press key {key} again (or type b if the key before was wrong)",
                )
        return [Tell(words)]

    def _anew_words(self) -> Words:
        return Words(
            f"按键 {self._key} 几次说的不一样, 有一次按错或按了两下 (或波特率不对): 这个键从头再按",
            f"key {self._key} did not say the same each time, one press was wrong or two (or the baud rate is):"
            " this key again from its first",
        )

    def _pressing(self, now_ms: int) -> list[Act]:
        if self._pressed_ms is None:
            return self._silent(now_ms) if now_ms - self._since_ms >= SILENT_MS else []
        if now_ms - self._last_ms < QUIET_MS and now_ms - self._pressed_ms < PUSH_MAX_MS:
            return []
        words = len(self._heard_all)
        if self._look == "fits" and self._pushes.several(self._key, words):
            two = Words(
                "这一次里有不止一次按键, 未计入; 按一下, 等下一句再按",
                "that was more than one press, it is not counted; press once, then wait for the next line",
            )
            return [Tell(two), *self._refused(now_ms, self._ask_again)]
        told: list[Act] = []
        if self._look == "fits":
            if not self._pushes.uneven(self._key, words):
                return self._pushed(now_ms)
            self._look, told = "anew", [Tell(self._anew_words())]
        if self._look == "anew":
            self._pushes.doubt(self._key)
            return told + self._refused(now_ms, lambda now_ms: self._from_its_first(self._key, now_ms))
        self._pushes.refuse(self._said)
        return self._refused(now_ms, self._ask_again)

    def _refused(self, now_ms: int, otherwise: Callable[[int], list[Act]]) -> list[Act]:
        """This press does not count. Where that goes on, it may not be the finger."""
        self._doubted += 1
        if self._doubted % _DOUBTED_MAX or not self._rates():
            return otherwise(now_ms)
        may_be = Words("总对不上, 可能是波特率不对", "it goes on not to fit: the baud rate may be wrong")
        return [Tell(may_be), *self._offer_rates(now_ms, otherwise)]

    def _pushed(self, now_ms: int) -> list[Act]:
        self._pushes.count(self._key, self._said, len(self._heard_all))
        if self._press < PRESSES_MIN:
            self._press += 1
            return self._next_press(now_ms)
        wrong = next((found for found in self._watch.signs() if found.kind in ("too-slow", "too-fast")), None)
        if wrong is not None and self._rates():
            return [Tell(wrong.words), *self._offer_rates(now_ms, self._next_key)]
        return self._next_key(now_ms)

    def _next_key(self, now_ms: int) -> list[Act]:
        self._press = 1
        if self._again:
            self._again.pop(0)
            if not self._again:
                return self._judge(now_ms)
            self._key = self._again[0]
            return self._next_press(now_ms)
        if self._key < self._plan.keys:
            self._key += 1
            return self._next_press(now_ms)
        return self._judge(now_ms)

    def _while_pressing(self, text: str, now_ms: int) -> list[Act]:
        if text.lower() == "e" and self._may_end():
            # What was asked for and never pressed is no part of the recording.
            self._recorder.forget(self._label_at())
            return self._judge(now_ms)
        if text.lower() == "b":
            # In the middle of a key, back is its own first press.
            back = self._key - 1 if self._press == 1 and not self._again else self._key
            return self._from_its_first(max(1, back), now_ms)
        if text:
            unknown = Words("这里可输入 b 退回, Ctrl-C 结束", "here you can type b to go back, or Ctrl-C to end")
            return [Tell(unknown), self._ask_press()]
        return [self._ask_press()]

    def _from_its_first(self, key: int, now_ms: int) -> list[Act]:
        for each in {key, self._key}:
            self._forget(each)
        self._key, self._press = key, 1
        return self._next_press(now_ms)

    def _forget(self, key: int) -> None:
        """Nothing was recorded of this key."""
        self._pushes.forget(key)
        entries, begin = self._recorder.entries, None
        for at in range(len(entries) - 1, -1, -1):
            entry = entries[at]
            if isinstance(entry, Label) and key_of(entry.text) == key:
                self._recorder.forget(at, begin)
            elif not isinstance(entry, Label):
                continue
            begin = at

    def _silent(self, now_ms: int) -> list[Act]:
        if self._key == self._press == 1 and self._rates() and not self._watch.heard:
            said = Words(
                "还没有任何字节。按过了吗? 按过却没有, 多半是波特率或线缆不对",
                "not a byte so far. If you did press, the baud rate or the cable is wrong",
            )
            return [Tell(said), *self._offer_rates(now_ms, self._ask_again)]
        self._since_ms = now_ms
        words = Words(f"还在等按键 {self._key} …", f"still waiting for key {self._key} …")
        if self._may_end():
            end = self._end_words()
            words = Words(f"{words.zh} {end.zh}", f"{words.en} {end.en}")
        return [Tell(words)]

    # ---- other rates

    def _rates(self) -> list[int]:
        return [] if self._refused_rates else [rate for rate in self._plan.line.alt_baud if rate != self.baud]

    def _offer_rates(self, now_ms: int, otherwise: Callable[[int], list[Act]]) -> list[Act]:
        """Ask whether to try other rates; go on with `otherwise` if not."""
        self._otherwise = otherwise
        self._go(self._wait, self._consent, now_ms)
        return [self._ask_rates()]

    def _ask_rates(self) -> Ask:
        rates = ", ".join(map(str, self._rates()))
        return Ask(Words(f"要试其它波特率吗 ({rates})? y 试, n 不试", f"try other baud rates ({rates})? y or n"))

    def _consent(self, text: str, now_ms: int) -> list[Act]:
        if text.lower() in YES:
            self._left = self._rates()
            return self._try_rate(now_ms)
        if text.lower() not in NO:
            return [self._ask_rates()]
        if self._pressed_ms is not None:
            self._refused_rates = True  # asked once is enough
        return self._otherwise(now_ms)

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
        self._pieces = Pieces()
        self._pressed_ms, self._heard_all = None, []
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
        return [*(Tell(sign.words) for sign in self._watch.signs()), self._ask_rate()]

    def _ask_rate(self) -> Ask:
        return Ask(Words(f"{self.baud} 收到了字节, 就用它吗? y/n", f"bytes came at {self.baud}: use it? y or n"))

    def _judge_rate(self, text: str, now_ms: int) -> list[Act]:
        if text.lower() in YES:
            return self.begin(now_ms)
        return self._try_rate(now_ms) if text.lower() in NO else [self._ask_rate()]

    # ---- what it comes to

    def _judge(self, now_ms: int) -> list[Act]:
        result = infer(self.recording, _at(self._plan.line, self.baud), self._plan.naming)
        if isinstance(result, Unsure):
            may_help = result.keys and not self._asked_again
            return self._offer_again(result, now_ms) if may_help else self._finish(result)
        self._proposal = result
        self._meanings = Meanings(result.keys, self._plan.preset)
        self._go(self._wait, self._meaning, now_ms)
        seen = Words(f"看懂了: {len(result.keys)} 个键", f"understood: {len(result.keys)} keys")
        return [Tell(seen), *(Tell(note) for note in result.notes), *self._meanings.begin()]

    def _meaning(self, text: str, _now_ms: int) -> list[Act]:
        acts = self._meanings.answer(text)
        if self._meanings.confirmed is None:
            return acts
        assert self._proposal is not None
        return acts + self._finish(with_meanings(self._proposal, self._meanings.confirmed))

    def _offer_again(self, unsure: Unsure, now_ms: int) -> list[Act]:
        """It lies with a few keys: pressing those again may be enough. Offered once."""
        self._asked_again = True
        names = ", ".join(map(str, unsure.keys))
        asked = Ask(
            Words(f"{unsure.why.zh}。再按一遍按键 {names} 吗? y/n", f"{unsure.why.en}. press key {names} again? y or n")
        )

        def hear(text: str, now_ms: int) -> list[Act]:
            if text.lower() in NO:
                return self._finish(unsure)
            if text.lower() not in YES:
                return [asked]
            for key in unsure.keys:
                self._forget(key)
            self._again, self._press = list(unsure.keys), 1
            self._key = self._again[0]
            return self._next_press(now_ms)

        self._go(self._wait, hear, now_ms)
        return [asked]

    def _finish(self, result: Proposal | Unsure) -> list[Act]:
        self._go(self._wait, self._no_answer, 0)
        return [Finish(result)]


def _at(line: LineSettings, baud: int) -> LineSettings:
    others = sorted({line.baud, *line.alt_baud} - {baud})
    return LineSettings(baud, others, line.bytesize, line.parity, line.stopbits, line.dtr, line.rts)


def _format(line: LineSettings) -> str:
    return f"{line.bytesize}{line.parity}{line.stopbits}"
