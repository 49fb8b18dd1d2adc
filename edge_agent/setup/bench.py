"""The one port that is tried out: listened to, or learnt from, on a thread that lets go when nobody looks."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from protocols import profiles
from protocols.profiles.saying import Values
from protocols.profiles.vocabulary import CommandName
from protocols.ratings import Moment
from protocols.words import Words

from ..doctor.learn import Proposal, Unsure
from ..doctor.learn.acts import Ask, Finish, Reopen, Tell
from ..doctor.learn.dialogue import IDLE_MS, Dialogue, Plan
from ..doctor.lesson import Kept
from ..doctor.monitor import Row, Rows
from ..doctor.words import NOTHING
from ..link import RETRY_S, Link, LinkDown
from .judge import Judge

_TICK_MS = 50
_ALONE_MS = 60_000  # a page asks each second; who left it wants the port back
_LESSON_ALONE_MS = 600_000  # somebody looks for the key that is stuck
_TOLD_MAX = 6


class Listening:
    """A port listened to. Nothing is sent unless somebody says so."""

    def __init__(self, port: str, baud: int, now: Callable[[], Moment]):
        self.port, self.baud = port, baud
        self._now = now
        self._judge = Judge(baud)
        self._link = Link(port, baud)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._says: SimpleQueue[bytes] = SimpleQueue()
        self._looked_ms = now().mono_ms
        self.down = ""
        """Why the port cannot be had, in words."""
        self._thread = threading.Thread(target=self._run, name="bench", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def look(self) -> Judge:
        """What was heard by now; to be used under `held`."""
        self._looked_ms = self._now().mono_ms
        return self._judge

    @property
    def held(self) -> threading.Lock:
        """What keeps the judge still while it is looked at."""
        return self._lock

    def say(self, profile: str, name: CommandName, device: str, address: int) -> bool:
        """Say this to the device in the words of that profile; whether it has such a word."""
        data = profiles.shipped(profile).say(name, device, address, Values(seconds=30, stars=5, volume=5))
        if data:
            self._says.put(data)
            self._link.wake()
        return bool(data)

    def stop(self) -> None:
        """Let go of the port; it is free when this returns."""
        self._stop.set()
        self._link.wake()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.is_set() and self._now().mono_ms - self._looked_ms < _ALONE_MS:
            try:
                self._link.open()
                self.down = ""
                while not self._stop.is_set() and self._now().mono_ms - self._looked_ms < _ALONE_MS:
                    self._turn()
            except LinkDown as down:
                self.down = str(down)
                self._stop.wait(RETRY_S)
            finally:
                self._link.close()

    def _turn(self) -> None:
        for data in _all(self._says):
            self._link.write(data)
            with self._lock:
                self._judge.feed(True, data, self._now().mono_ms)
        data = self._link.read(_TICK_MS)
        with self._lock:
            self._judge.feed(False, data, self._now().mono_ms)


@dataclass(frozen=True)
class Stage:
    """A lesson as it stands: what is asked, and what was said."""

    asked: Words = NOTHING
    told: tuple[Words, ...] = ()
    key: int = 0
    """The one to be pressed now; 0 for none."""
    press: int = 0
    yes_or_no: bool = False
    may_go_back: bool = False
    may_end: bool = False
    quiet_s: int = 0
    """For how long nobody is to press, at least."""
    rows: tuple[Row, ...] = ()
    proposal: Proposal | None = None
    unsure: Unsure | None = None
    down: str = ""


class Lesson:
    """A device learnt over a port that may be pulled; its recording is on disk as it goes."""

    def __init__(self, port: str, plan: Plan, recording: Path, now: Callable[[], Moment]):
        self.port, self.plan, self.recording = port, plan, recording
        self.stage = Stage()
        self._now = now
        self._dialogue = Dialogue(plan)
        self._kept = Kept(recording)
        self._link = Link(port, plan.line.baud)
        self._stop = threading.Event()
        self._answers: SimpleQueue[str] = SimpleQueue()
        self._told: deque[Words] = deque(maxlen=_TOLD_MAX)
        self._asked = NOTHING
        self._down = ""
        self._rows, self._shown = Rows(), deque[Row](maxlen=_TOLD_MAX)
        self._looked_ms = now().mono_ms
        self._thread = threading.Thread(target=self._run, name="lesson", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def baud(self) -> int:
        return self._dialogue.baud

    def look(self) -> Stage:
        """How it stands now."""
        self._looked_ms = self._now().mono_ms
        return self.stage

    def answer(self, text: str) -> None:
        """What the person says to the question."""
        self._answers.put(text)
        self._link.wake()

    def stop(self) -> None:
        """Let go of the port; it is free when this returns."""
        self._stop.set()
        self._link.wake()
        self._thread.join(5)

    # ---- its thread

    def _run(self) -> None:
        self._wait_for_port()
        try:
            acts = self._dialogue.begin(self._ms())
            while not self._ended():
                try:
                    if self._do(acts):
                        break
                    acts = self._next()
                except LinkDown as down:
                    acts = self._put_back(down)
                self._kept.keep(self._dialogue)
        finally:
            self._kept.keep(self._dialogue)
            self._kept.end()
            self._link.close()

    def _ms(self) -> int:
        return self._now().mono_ms

    def _ended(self) -> bool:
        return self._stop.is_set() or self._ms() - self._looked_ms > _LESSON_ALONE_MS

    def _next(self) -> list[Tell | Ask | Reopen | Finish]:
        data = self._link.read(_TICK_MS)
        now_ms = self._ms()
        self._shown.extend(self._rows.feed(False, data, now_ms))
        acts = self._dialogue.feed(data, now_ms) if data else self._dialogue.tick(now_ms)
        for text in _all(self._answers):
            acts += self._dialogue.answer(text, self._ms())
        return acts

    def _do(self, acts: list[Tell | Ask | Reopen | Finish]) -> bool:
        """Whether it is over."""
        unsure = None
        for act in acts:
            match act:
                case Tell(words):
                    self._tell(words)
                case Ask(words):
                    if self.stage.quiet_s:
                        self._told.clear()  # that nobody is to press is over
                    self._asked = words
                case Reopen(baud):
                    self._link.close()
                    self._link = Link(self.port, baud)
                    self._link.open()
                    self._asked = NOTHING
                case Finish(result):
                    unsure = result if isinstance(result, Unsure) else None
        proposal = self._dialogue.proposal
        self.stage = self._staged(unsure, proposal)
        return unsure is not None or proposal is not None

    def _tell(self, words: Words) -> None:
        # Indented lines count down, which the page does by itself.
        if not words.en.startswith(" "):
            self._told.append(words)

    def _staged(self, unsure: Unsure | None, proposal: Proposal | None) -> Stage:
        asked, idle_ms = self._dialogue.asked, self._dialogue.idle_ms
        quiet_s = 0 if idle_ms is None else max(1, -(-(idle_ms + IDLE_MS - self._ms()) // 1000))
        return Stage(
            asked=self._asked if idle_ms is None else NOTHING,
            told=tuple(self._told),
            key=asked[0] if asked else 0,
            press=asked[1] if asked else 0,
            yes_or_no=asked is None and idle_ms is None and self._asked != NOTHING,
            may_go_back=asked is not None,
            may_end=self._dialogue.may_end,
            quiet_s=quiet_s,
            rows=tuple(reversed(self._shown)),
            proposal=proposal,
            unsure=unsure,
            down=self._down,
        )

    def _wait_for_port(self) -> None:
        while not self._ended():
            try:
                self._link.open()
                self._down = ""
                return
            except LinkDown as down:
                self._down = str(down)
                self.stage = Stage(down=self._down)
                self._stop.wait(RETRY_S)

    def _put_back(self, down: LinkDown) -> list[Tell | Ask | Reopen | Finish]:
        self._down = str(down)
        self._do(self._dialogue.unplugged())
        self._link.close()
        self._wait_for_port()
        return self._dialogue.plugged(self._ms())


class Bench:
    """At most one port at a time is tried out here."""

    def __init__(self, now: Callable[[], Moment]):
        self._now = now
        self._turn = threading.Lock()
        self._at: Listening | Lesson | None = None

    def listening(self, port: str, baud: int) -> Listening:
        """The port listened to at this rate: as it is being listened to already, or from now on."""
        with self._turn:
            at = self._at
            if isinstance(at, Listening) and (at.port, at.baud) == (port, baud) and at.alive:
                return at
            self._clear()
            self._at = at = Listening(port, baud, self._now)
            return at

    @property
    def lesson(self) -> Lesson | None:
        """The one that is being held, or was held last."""
        at = self._at
        return at if isinstance(at, Lesson) else None

    def begin_lesson(self, port: str, plan: Plan, recording: Path) -> Lesson:
        """A new one. OSError if its recording cannot be written."""
        with self._turn:
            self._clear()
            recording.touch(exist_ok=False)
            self._at = at = Lesson(port, plan, recording, self._now)
            return at

    def clear(self) -> None:
        """Every port is free when this returns."""
        with self._turn:
            self._clear()

    def _clear(self) -> None:
        at, self._at = self._at, None
        if at is not None:
            at.stop()


def _all(queue: SimpleQueue) -> list:  # type: ignore[type-arg]
    found = []
    try:
        while True:
            found.append(queue.get_nowait())
    except Empty:
        return found
