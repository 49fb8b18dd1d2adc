"""A line of panels that speak only when they are asked: whom to ask next, and what their answers mean for windows."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from protocols.profiles.events import Pressed
from protocols.profiles.modbus import NoAnswer, Poll
from protocols.profiles.profile import Profile
from protocols.profiles.vocabulary import Modbus
from protocols.ratings import Moment

from .link import RETRY_S, Link, LinkDown
from .modbus import ModbusPoll
from .window import Say, Window

_WRITES_MAX = 64  # what waits to be written; an invitation a minute never fills it
_TURN_MS = 500  # how often windows look at their clocks when no panel is due


class PolledCable:
    """The windows whose panels share one Modbus line. One thread asks."""

    def __init__(self, profile: Profile, windows: Sequence[Window], moment: Moment):
        if profile.shape.modbus is None or profile.shape.poll is None:
            raise ValueError(f"{profile.id}: no Modbus panel that is polled")
        self.profile = profile
        self.wire: Modbus = profile.shape.modbus
        self.windows = tuple(windows)
        self._every_ms = profile.shape.poll.every_ms
        self._keys = {window.id: profile.registers(window.device) for window in windows}
        self._turn = deque(windows)
        self._due_ms = {window.id: moment.mono_ms for window in windows}
        self._writes: deque[tuple[Window, int, int]] = deque(maxlen=_WRITES_MAX)
        self._unkept: dict[str, tuple[Pressed, int]] = {}

    def plugged(self, moment: Moment) -> None:
        """The cable is there: what the panels show now may be old."""
        for window in self.windows:
            self._keys[window.id].forget()
            self._say(window, window.plugged(moment))

    def unplugged(self, why: str, moment: Moment) -> None:
        """The cable is not there, and `why` in words."""
        self._writes.clear()
        self._unkept.clear()
        for window in self.windows:
            window.unplugged(why, moment)
            window.tick(moment)

    def wait_ms(self, moment: Moment) -> int:
        """How long until somebody is to be asked, or told something."""
        if self._writes:
            return 0
        return min(_TURN_MS, max(0, self._due_ms[self._turn[0].id] - moment.mono_ms))

    def turn(self, line: ModbusPoll, now: Callable[[], Moment]) -> None:
        """Write what waits, or ask the next panel if it is due; LinkDown if the cable is out."""
        moment = now()
        for window in self.windows:
            self._say(window, window.tick(moment))
        if self._writes:
            window, register, value = self._writes.popleft()
            line.write(window.address, register, value)
        window = self._turn[0]
        if self._due_ms[window.id] > moment.mono_ms:
            return
        self._turn.rotate(-1)
        self._due_ms[window.id] = moment.mono_ms + self._every_ms
        self._told(window, line.poll(window.address), line, now())

    def _told(self, window: Window, poll: Poll, line: ModbusPoll, moment: Moment) -> None:
        keys, known = self._keys[window.id], window.look()
        if not isinstance(poll, NoAnswer):
            window.heard(moment)
        for event in keys.feed(poll, moment.mono_ms):
            if isinstance(event, Pressed):
                self._unkept[window.id] = (event, moment.mono_ms)
            else:
                window.disturbed(moment)
        if window.id in self._unkept:
            event, seen_ms = self._unkept[window.id]
            # Some time since the last look: how long ago is not known, and said so.
            pressed = replace(event, age_ms=moment.mono_ms - seen_ms)
            if window.take([pressed], known, event.age_ms, moment).refused:
                return  # not on disk: the panel keeps it too
            del self._unkept[window.id]
        if keys.to_clear and self.wire.clear_register is not None:
            line.write(window.address, self.wire.clear_register, self.wire.clear_value)

    def _say(self, window: Window, says: Sequence[Say]) -> None:
        for say in says:
            how = self.profile.shape.commands.get(say.name)
            if how is not None and how.register is not None:
                self._writes.append((window, how.register, say.seconds if how.value is None else how.value))


def carry_polled(link: Link, cable: PolledCable, now: Callable[[], Moment], stop: threading.Event) -> None:
    """The loop of one line: its panels asked in turn, until `stop`."""
    while not stop.is_set():
        try:
            link.open()
            wire = cable.wire
            answer_ms = cable.profile.shape.poll.answer_ms if cable.profile.shape.poll is not None else 100
            line = ModbusPoll(link.opened(), wire.function, wire.register, wire.count, answer_ms, wire.echo)
            cable.plugged(now())
            while not stop.is_set():
                link.wait(cable.wait_ms(now()))
                cable.turn(line, now)
        except LinkDown as down:
            cable.unplugged(str(down), now())
            stop.wait(RETRY_S)
        finally:
            link.close()
