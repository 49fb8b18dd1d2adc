"""One cable and the devices on it: its bytes become what windows are told, what windows want becomes its bytes."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence

from protocols.profiles.events import Answered, Beat, NobodyPressed, Noise, Pressed
from protocols.profiles.profile import Profile
from protocols.profiles.rules import Heard
from protocols.profiles.saying import Values
from protocols.ratings import Moment

from .window import Say, Window

log = logging.getLogger(__name__)

STALE_MS = 1000  # bytes may lie so long between two reads; as long as the grace that an invitation gives
WAITED_MS = 100  # the same for bytes that surely did: any longer, and a press may seem to be the next citizen's
_SAYS_MAX = 64  # what waits for a slow device; an invitation a minute never fills it


class Cable:
    """The windows whose devices share one line; all of one profile. One thread carries it."""

    def __init__(self, profile: Profile, windows: Sequence[Window], moment: Moment):
        self.profile = profile
        self.windows = tuple(windows)
        self._by_name = {self._name(window): window for window in windows}
        self._reader = profile.reader()
        self._read_ms = moment.mono_ms
        self._waited_ms = 0
        self._waiting: deque[tuple[bytes, int]] = deque(maxlen=_SAYS_MAX)
        self._free_ms = 0
        self._polls = _Polls(profile, self.windows) if profile.shape.poll is not None else None
        self.strangers: set[str] = set()
        """Addresses on this line that are no window's."""

    def plugged(self, moment: Moment) -> bytes:
        """The cable is there: set the devices up, and invite again where a citizen is waiting."""
        self._reader = self.profile.reader()
        self._read_ms = moment.mono_ms
        self._waiting.clear()
        self._free_ms = moment.mono_ms
        for step in self.profile.shape.init:
            if step.say is None:
                self._waiting.append((b"", step.wait_ms))
                continue
            for window in self.windows:
                self._say(window, Say(step.say, step.seconds), stars=step.stars, volume=step.volume)
            self._waiting.append((b"", step.wait_ms))
        for window in self.windows:
            self._say_all(window, window.plugged(moment))
        return self._due(moment)

    def unplugged(self, why: str, moment: Moment) -> None:
        """The cable is not there, and `why` in words."""
        for window in self.windows:
            window.unplugged(why, moment)

    def feed(self, data: bytes, moment: Moment, waited: bool = False) -> bytes:
        """Keep every press in `data`, which was read at `moment`, and acknowledge those that are on disk.

        To be called after each read, also of nothing: a frame says how old its press was when it was sent, and what
        lies between two reads is how long it may have `waited` in this machine.
        """
        gap_ms, self._read_ms = moment.mono_ms - self._read_ms, moment.mono_ms
        known = {window.id: window.look() for window in self.windows}
        may_have_waited = gap_ms > (WAITED_MS if waited else STALE_MS)
        if not data:
            return self._told(self._reader.quiet(moment.mono_ms), known, moment)
        if may_have_waited and self.profile.counts:
            # Nobody can say when these were pressed. The device was not thanked, and repeats them with their true age.
            self._reader = self.profile.reader()
            return b""
        # What does not repeat itself is taken all the same, and its time stated with the doubt that it has. A key that
        # is only known for one when it has been quiet for a while keeps the doubt of its bytes.
        waited_ms = gap_ms if waited or may_have_waited else 0
        self._waited_ms = waited_ms if self._reader.next_ms() is None else max(self._waited_ms, waited_ms)
        return self._told(self._reader.feed(data, moment.mono_ms), known, moment)

    def tick(self, moment: Moment) -> bytes:
        """Time goes by: what is to be sent."""
        for window in self.windows:
            self._say_all(window, window.tick(moment))
        said = self._due(moment)
        if self._polls is not None and not self._waiting:
            said += self._polls.due(moment.mono_ms)
        return said

    def sent(self, data: bytes, moment: Moment) -> None:
        """These bytes went onto the line, and may come back from it."""
        self._reader.sent(data, moment.mono_ms)

    def wait_ms(self, moment: Moment) -> int | None:
        """How long it may be left alone if no byte comes; None if nothing is waiting for its time."""
        due = [self._reader.next_ms()]
        if self._waiting:
            due.append(self._free_ms)
        elif self._polls is not None:
            due.append(self._polls.next_ms(moment.mono_ms))
        times = [each for each in due if each is not None]
        return max(0, min(times) - moment.mono_ms) if times else None

    # ---- in

    def _told(self, heard: list[Heard], known: dict[str, str | None], moment: Moment) -> bytes:
        if not heard:
            return b""
        presses: dict[str, list[Pressed]] = {}
        answers = b""
        for event, answer in heard:
            answers += answer
            match event:
                case Noise(age_ms=age_ms):
                    # Nobody can say whose it was: it is the line's.
                    for window in self.windows:
                        window.disturbed(moment, age_ms)
                case Pressed():
                    window_of = self._window(event.device)
                    if window_of is not None:
                        presses.setdefault(window_of.id, []).append(event)
                case Beat():
                    if (window_of := self._window(event.device)) is not None:
                        self._say_all(window_of, self._beat(window_of, event, moment))
                case Answered() | NobodyPressed():
                    if (window_of := self._window(event.device)) is not None:
                        window_of.heard(moment)
            if self._polls is not None and not isinstance(event, Noise):
                self._polls.answered(event.device, moment.mono_ms)
        kept = b""
        for window in self.windows:
            if window.id in presses:
                taken = window.take(presses[window.id], known[window.id], self._waited_ms, moment)
                kept += b"".join(map(self.profile.ack, taken.thanked)) + b"".join(map(self.profile.nak, taken.refused))
        return kept + answers + self._due(moment)

    def _beat(self, window: Window, beat: Beat, moment: Moment) -> list[Say]:
        if self.profile.shape.form == "house":
            return window.beat(beat, moment)
        window.heard(moment)
        return []

    def _name(self, window: Window) -> str:
        """What the window's device calls itself on the line."""
        if self.profile.shape.form in ("house", "screen"):
            return window.device
        return str(window.address) if self.profile.addressed else ""

    def _window(self, device: str) -> Window | None:
        window = self._by_name.get(device)
        if window is not None:
            return window
        if self.profile.shape.form in ("house", "screen"):
            # A device with a name of its own is believed under that name, and the window says that it is another.
            return self.windows[0]
        if device not in self.strangers and len(self.strangers) < _SAYS_MAX:
            self.strangers.add(device)
            log.warning(
                "线上地址 %s 没有配置, 不收也不答 / address %s on this line is no window's, not kept, not answered: %s",
                device,
                device,
                ", ".join(window.id for window in self.windows),
            )
        return None

    # ---- out

    def _say_all(self, window: Window, says: list[Say]) -> None:
        for say in says:
            self._say(window, say)

    def _say(self, window: Window, say: Say, stars: int = 5, volume: int = 5) -> None:
        values = Values(seconds=say.seconds, stars=stars, volume=volume)
        data = self.profile.say(say.name, window.device, window.address, values)
        if data:
            how = self.profile.shape.commands.get(say.name)
            self._waiting.append((data, how.gap_ms if how is not None else 0))

    def _due(self, moment: Moment) -> bytes:
        """What the devices can hear by now of what is to be said."""
        said = b""
        while self._waiting and self._free_ms <= moment.mono_ms:
            data, gap_ms = self._waiting.popleft()
            said += data
            if gap_ms:
                self._free_ms = moment.mono_ms + gap_ms
        return said


class _Polls:
    """Whom to ask next on a line where devices speak only when they are asked."""

    def __init__(self, profile: Profile, windows: Sequence[Window]):
        poll = profile.shape.poll
        assert poll is not None
        self._every_ms, self._answer_ms = poll.every_ms, poll.answer_ms
        self._profile = profile
        self._turn = deque(windows)
        self._due_ms = dict.fromkeys((window.id for window in windows), 0)
        self._asked: tuple[str, int] | None = None

    def due(self, now_ms: int) -> bytes:
        """The next poll, if it is time for one."""
        if self.next_ms(now_ms) > now_ms:
            return b""
        window = self._turn[0]
        self._turn.rotate(-1)
        self._due_ms[window.id] = now_ms + self._every_ms
        self._asked = (str(window.address), now_ms + self._answer_ms)
        return self._profile.say("poll", window.device, window.address)

    def answered(self, device: str, now_ms: int) -> None:
        """This device has spoken: the next may be asked."""
        if self._asked is not None and self._asked[0] == device:
            self._asked = None

    def next_ms(self, now_ms: int) -> int:
        """When the next poll is due."""
        due_ms = self._due_ms[self._turn[0].id]
        return max(due_ms, self._asked[1]) if self._asked is not None else due_ms
