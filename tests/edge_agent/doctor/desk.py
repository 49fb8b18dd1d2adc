"""A person at the desk who presses what they are asked to, in virtual time, and the judge of what was learnt."""

from __future__ import annotations

import re
from random import Random

from edge_agent.doctor.learn import idle_label, key_label
from edge_agent.doctor.learn.acts import Ask, Finish
from edge_agent.doctor.learn.dialogue import Dialogue, Plan
from edge_agent.doctor.recording import Label, Piece, Recorder, Recording, replayed, write
from protocols.profiles.events import Noise, Pressed
from protocols.profiles.profile import Profile

QUIET_MS = 1500


def recorded(panel, keys, rng: Random, presses: int = 3, idle_ms: int = 8_000, now_ms: int = 0) -> Recording:
    """Idle first, then each key so often."""
    recorder = Recorder()
    recorder.label(idle_label())
    now_ms = run(panel, recorder, now_ms, now_ms + idle_ms)
    for key in keys:
        for press in range(1, presses + 1):
            recorder.label(key_label(key, press))
            now_ms = run(panel, recorder, now_ms, now_ms + rng.randrange(400, 1500))
            panel.press(key, now_ms)
            now_ms = run(panel, recorder, now_ms, now_ms + QUIET_MS)
    return Recording(tuple(recorder.entries))


def run(panel, recorder: Recorder, now_ms: int, end_ms: int) -> int:
    """Time goes by until then."""
    while (due_ms := panel.next_ms(now_ms)) is not None and due_ms < end_ms:
        now_ms = max(now_ms, due_ms)
        while said := panel.poll(now_ms):
            recorder.heard(said, now_ms)
    return end_ms


def equivalent(profile: Profile, panel, rng: Random, now_ms: int) -> str:
    """Why this profile does not read fresh presses of the panel; empty if it does."""
    keys = [rng.choice(panel.buttons) for _ in range(30)]
    recording = recorded(panel, keys, rng, presses=1, now_ms=now_ms)
    heard: list[Pressed] = []
    wanted = None
    entries = [*recording.entries, Label("end")]
    for understood in replayed(Recording(tuple(entries)), profile):
        match understood.what:
            case Label(text):
                got = list(dict.fromkeys((press.key, press.count) for press in heard))
                if [key for key, _ in got] != ([] if wanted is None else [wanted]):
                    return f"key {wanted} read as {got}"
                wanted, heard = int(text.split()[1]) if text.startswith("key") else None, []
            case Pressed() as press:
                heard.append(press)
            case Noise():
                pass
    return _phantoms(profile, recording, rng)


def _phantoms(profile: Profile, recording: Recording, rng: Random) -> str:
    """Presses that were none: in noise, and in frames with one bit wrong where the profile knows a checksum."""
    if profile.shape.frame is None or profile.shape.frame.check is None:
        return ""
    noise = [rng.randbytes(rng.randrange(1, 12)) for _ in range(200)]
    for piece in list(recording.pieces())[:20]:
        for bit in range(8 * len(piece.data)):
            wrong = bytearray(piece.data)
            wrong[bit // 8] ^= 1 << bit % 8
            noise.append(bytes(wrong))
    pieces = tuple(Piece(at * 1000, False, data) for at, data in enumerate(noise))
    phantoms = [each.what.raw for each in replayed(Recording(pieces), profile) if isinstance(each.what, Pressed)]
    return f"{len(phantoms)} phantoms, {phantoms[0].hex(' ')}" if phantoms else ""


def learnt(panel, rng: Random, plan: Plan | None = None, now_ms: int = 0) -> tuple[Dialogue, Finish]:
    """The whole conversation with a person who presses what they are asked to, and confirms no meaning."""
    dialogue = Dialogue(plan or Plan(keys=len(panel.buttons)))
    acts, press_ms, key, asked_for = dialogue.begin(now_ms), None, 0, ""
    while True:
        assert now_ms < 600_000, f"never ends: {write(dialogue.recording)[-2000:]}"
        for act in acts:
            if isinstance(act, Finish):
                return dialogue, act
            if isinstance(act, Ask):
                asked_for = act.words.en
                asked = re.match(r"press key (\d+)", asked_for)
                key = int(asked[1]) if asked else 0
                press_ms = now_ms + rng.randrange(300, 1500)
        if press_ms is not None and press_ms <= now_ms:
            press_ms = None
            if key:
                panel.press(key, now_ms)
            else:
                acts = dialogue.answer("y" if "y or n" in asked_for else "", now_ms)
                continue
        now_ms += 10
        said = b""
        while more := panel.poll(now_ms):
            said += more
        acts = dialogue.feed(said, now_ms) if said else dialogue.tick(now_ms) if now_ms % 100 == 0 else []


class Cable:
    """Bytes as a UART and an adapter bring them: one after the other, read in lumps of 1 to 16 ms."""

    def __init__(self, panel, rng: Random):
        self.panel, self.rng = panel, rng
        self._bytes: list[tuple[int, int]] = []
        self._free_ms = self._read_ms = 0

    def read(self, now_ms: int) -> bytes:
        while said := self.panel.poll(now_ms):
            for byte in said:
                self._free_ms = max(self._free_ms, now_ms) + 1
                self._bytes.append((self._free_ms, byte))
        if now_ms < self._read_ms or not self._bytes or self._bytes[0][0] > now_ms:
            return b""
        self._read_ms = now_ms + self.rng.randint(1, 16)
        here = [byte for at_ms, byte in self._bytes if at_ms <= now_ms]
        del self._bytes[: len(here)]
        return bytes(here)


class Person:
    """Somebody at the desk, a millisecond at a time: reads what is said, presses seconds later, and may be told to err.

    `slips` are presses of another key than asked for: number of the press → key. `types` are answers by what is asked.
    """

    def __init__(
        self,
        panel,
        rng: Random,
        *,
        slips: dict[int, int] | None = None,
        types: dict[str, str] | None = None,
        keys: int = 0,
    ):
        self.dialogue = Dialogue(Plan(keys=keys or len(panel.buttons)))
        self.panel, self.rng, self.cable = panel, rng, Cable(panel, rng)
        self.slips, self.types = slips or {}, types or {}
        self.doubles: dict[int, int] = {}
        """A second key right behind the one asked for: number of the press → key."""
        self.early: list[tuple[int, int]] = []
        """(ms, key): pressed while nobody asked."""
        self.told: list[str] = []
        self.asked: list[str] = []
        self.pressed = 0
        self._due_ms: int | None = None

    def learn(self, until_ms: int = 1_500_000) -> Finish:
        acts = self.dialogue.begin(0)
        for now_ms in range(1, until_ms):
            for act in acts:
                if isinstance(act, Finish):
                    return act
                self._heed(act, now_ms)
            acts = self._live(now_ms)
        raise AssertionError(f"never ends: {self.told[-9:]}")

    def _heed(self, act, now_ms: int) -> None:
        self.told.append(act.words.en)
        if isinstance(act, Ask) or act.words.en.startswith("still waiting"):
            self.asked.append(act.words.en)
            self._due_ms = now_ms + self.rng.randrange(900, 4000)

    def _live(self, now_ms: int) -> list:
        acts = []
        if self._due_ms == now_ms:
            self._due_ms = None
            acts += self._does(self.asked[-1], now_ms)
        while self.early and self.early[0][0] <= now_ms:
            self.panel.press(self.early.pop(0)[1], now_ms)
        data = self.cable.read(now_ms)
        if data:
            return acts + self.dialogue.feed(data, now_ms)
        return acts + (self.dialogue.tick(now_ms) if now_ms % 100 == 0 else [])

    def _does(self, asked: str, now_ms: int) -> list:
        for words, typed in self.types.items():
            if words in asked:
                del self.types[words]
                return self.dialogue.answer(typed, now_ms)
        if key := re.match(r"(?:press|still waiting for) key (\d+)", asked):
            self.pressed += 1
            self.panel.press(self.slips.get(self.pressed, int(key[1])), now_ms)
            if self.pressed in self.doubles:
                self.early.append((now_ms + 500, self.doubles[self.pressed]))
            return []
        return self.dialogue.answer("y" if "y or n" in asked else "", now_ms)
