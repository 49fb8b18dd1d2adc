"""A device learnt at a terminal: the dialogue held over a port that may be pulled, and kept on disk as it goes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.link import RETRY_S, Link, LinkDown
from protocols.profiles.profile import Profile
from protocols.profiles.vocabulary import KeyMeaning
from protocols.words import Language, Words

from .learn import Proposal, Unsure
from .learn.acts import Act, Ask, Finish, Reopen, Tell
from .learn.dialogue import Dialogue
from .monitor import Rows
from .recording import Entry, Label, write_entry, write_head
from .terminal import Typed, give_up, now_ms, opened, say, why

_TICK_MS = 50


@dataclass
class Kept:
    """The recording's file: all that was recorded by now, whatever happens next."""

    file: Path
    _written: list[Entry] = field(default_factory=list)

    def end(self) -> bool:
        """Whether anything was recorded; a file with nothing in it is taken away."""
        heard = any(not isinstance(entry, Label) for entry in self._written)
        if not heard:
            self.file.unlink(missing_ok=True)
        return heard

    def keep(self, dialogue: Dialogue) -> None:
        """Put what is new into the file; what is no part of the recording any more is taken out."""
        entries = list(dialogue.entries)
        if entries == self._written:
            return
        old = len(self._written)
        if old and entries[:old] == self._written:
            with self.file.open("a", encoding="utf-8", newline="\n") as out:
                out.write("".join(map(write_entry, entries[old:])))
        else:
            text = write_head(dialogue.recording) + "".join(map(write_entry, entries))
            self.file.write_text(text, "utf-8", newline="\n")
        self._written = entries


def made_beside(out: Path) -> Kept:
    """A recording's file that was not there before, beside the profile's; the program ends if there can be none."""
    number, file = 1, out.with_name(f"{out.stem}.recording.txt")
    while file.exists():  # of an earlier try, which somebody may still want
        number += 1
        file = out.with_name(f"{out.stem}.recording-{number}.txt")
    try:
        file.touch(exist_ok=False)
    except OSError as error:
        give_up(f"{out.parent}: 写不了 / cannot be written: {why(error)}")
    return Kept(file)


# ---- the conversation


def learn_on(port: str, baud: int, dialogue: Dialogue, kept: Kept, spoken: Language) -> Proposal | Unsure:
    """The dialogue held with the person at the terminal, over the port."""
    with opened(port, baud) as link:
        typed, rows = Typed(link), Rows()
        acts = dialogue.begin(now_ms())
        while True:
            try:
                for act in acts:
                    _show(act, spoken)
                    if isinstance(act, Finish):
                        return act.result
                    if isinstance(act, Reopen):
                        link.close()
                        link = typed.link = Link(port, act.baud)
                        link.open()
                acts = _next_acts(dialogue, link, typed, rows)
            except LinkDown:
                acts = _put_back(dialogue, link, spoken)
            kept.keep(dialogue)


def _next_acts(dialogue: Dialogue, link: Link, typed: Typed, rows: Rows) -> list[Act]:
    data = link.read(_TICK_MS)
    heard_ms = now_ms()
    for row in rows.feed(False, data, heard_ms):
        say(f"    < {row.hex}  {row.text}")
    acts = dialogue.feed(data, heard_ms) if data else dialogue.tick(heard_ms)
    for line in typed.lines():
        acts += dialogue.answer(line, now_ms())
    return acts


def _put_back(dialogue: Dialogue, link: Link, spoken: Language) -> list[Act]:
    """Wait until the cable is there again."""
    for act in dialogue.unplugged():
        _show(act, spoken)
    while True:
        link.close()
        time.sleep(RETRY_S)
        try:
            link.open()
        except LinkDown:
            continue
        return dialogue.plugged(now_ms())


def _show(act: Act, spoken: Language) -> None:
    if isinstance(act, Tell):
        say(act.words.said(spoken))
    elif isinstance(act, Ask):
        say(f"? {act.words.said(spoken)}")


# ---- what comes after it


def not_sure(unsure: Unsure, file: Path) -> Iterator[Words]:
    """What is not known, and what to do about it; the bytes come last."""
    yield Words(f"不能确定: {unsure.what.zh}。{unsure.why.zh}", f"not sure: {unsure.what.en}. {unsure.why.en}")
    if unsure.keys:
        names = ", ".join(map(str, unsure.keys))
        yield Words(
            f"请再运行一次 learn, 按键 {names} 要单独短按, 两次之间等 2 秒",
            f"run learn once more; press key {names} alone and briefly, two seconds apart",
        )
    else:
        yield Words(
            "请再运行一次 learn, 每次只短按一个键, 两次之间等 2 秒",
            "run learn once more, pressing one key at a time and briefly, two seconds apart",
        )
    yield Words(f"仍不行就把 {file} 发给供应商或我们", f"if it stays so, send {file} to the maker or to us")
    if unsure.detail.en:
        yield Words(f"(供开发者: {unsure.detail.zh})", f"(for developers: {unsure.detail.en})")


def to_do(profile: Profile, out: Path, port: str, baud: int) -> Iterator[Words | str]:
    """Exactly what goes into which file, and what to expect then."""
    yield Words(f"已写好 {out}, 并已读回检查", f"{out} is written, and was read back")
    yield Words(
        "把它放在 agent.toml 旁边, agent.toml 中写 (编号自定, 不重复):",
        "put it beside agent.toml, and into agent.toml write (numbers of your own, each once):",
    )
    yield (
        '    [[windows]]\n    id = "1"\n    device = "D0001"\n'
        f'    port = "{_full(port)}"\n    baud = {baud}\n    profile = "{out.name}"'
    )
    meanings = {int(key): meaning for key, meaning in profile.shape.keys.items()}
    missing = sorted({key for key in _keys(profile) if key not in meanings})
    if meanings:
        yield Words(
            "汇聚器的 directory.toml 中写 (agent, window, device 与 agent.toml 相同):",
            "and into the collector's directory.toml (agent, window and device as in agent.toml):",
        )
        keys = ", ".join(f"{key} = {_line(meaning)}" for key, meaning in meanings.items())
        yield (
            '    [[windows]]\n    agent = "hall-pc-1"\n    window = "1"\n'
            '    hall = "市民中心"\n    number = "1号窗口"\n'
            f'    device = "D0001"\n    keys = {{ {keys} }}'
        )
        yield Words(
            "改过 directory.toml 后要重启汇聚器才生效", "restart the collector after directory.toml was changed"
        )
    if missing:
        names = ", ".join(map(str, missing))
        yield Words(
            f"按键 {names} 未确认: 它们的按键会保存, 但不计为评价",
            f"keys {names} are not confirmed: their presses are kept, not rated",
        )
    late_s = f"{profile.shape.press.late_ms / 1000:g}"
    yield Words(
        f"这种设备不说按键何时按下: 邀请打开后 {late_s} 秒内的按键会保存, 但不计为评价",
        f"such a device does not say when a key was pressed: a press in the first {late_s} s of an invitation"
        " is kept, but not rated",
    )


def _full(port: str) -> str:
    """A path as it is found from any folder. A link stays one: what it leads to changes."""
    return str(Path.cwd() / port) if port.startswith(".") else port


def _line(meaning: KeyMeaning) -> str:
    level = json.dumps(meaning.level)
    if not meaning.reason:
        return level
    # What JSON writes of printable characters is what TOML reads.
    return f"{{ level = {level}, reason = {json.dumps(meaning.reason, ensure_ascii=False)} }}"


def _keys(profile: Profile) -> Iterator[int]:
    for vector in profile.shape.vectors:
        yield from (each.key for each in vector.expect if each.key is not None)
