"""One service window: what its device says becomes presses kept; what its invitation needs goes to the device."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from protocols import profiles
from protocols.messages import WindowHealth, WindowState
from protocols.profiles.events import Beat, Pressed
from protocols.profiles.profile import Profile
from protocols.profiles.vocabulary import CommandName
from protocols.ratings import Moment, Press, PressId

from .outbox import ANY_INVITATION, Outbox, OutboxFull

log = logging.getLogger(__name__)

_ASK_AGAIN_MS = 1000  # a device that has not confirmed an invitation is asked again, no faster than a person notices
_FIRST_WORD_MS = 1_500  # after the start: whoever asks again for want of an answer does so about every second
_ASK_SILENT_MS = 5000  # a network line that died without a word only shows it when something is written to it
_SAY_AGAIN_MS = 60_000
_APART_MS = 200  # two sayings of a press that come closer than that were held back together; a device repeats after 400
_AGREE_MS = 50  # how far two sayings may differ on when the press was made
_UNREAD_MAX = 3  # pieces of noise one after the other, with nothing understood between: no chance any more
_UNREADABLE = (
    "收到字节但读不懂, 波特率或协议对吗? 停下代理后用 edge-agent monitor 看 / bytes come that cannot be read: are baud"
    " rate and profile right? stop the agent and look with edge-agent monitor"
)
_PLUGGED = {
    "udp": "开始听平板 / listening for its tablet",
    "screen": "评价页可用了 / its page can be opened",
}
_HOLDS_NOTHING = ("idle", "inviting")  # a device that still waits for an ack says so instead
_KEYS_MAX = 1024  # a device has a dozen keys; one that numbers its presses by a byte makes 256 of each
_UNKNOWN_MS = 10**12  # thirty years: a press that was made at nobody knows what time


class Say(NamedTuple):
    """Something for the device to be told."""

    name: CommandName
    seconds: int = 30


class Taken(NamedTuple):
    """What became of presses."""

    thanked: tuple[Pressed, ...]
    """On disk: their device may say thank you."""
    refused: tuple[Pressed, ...]
    """Not on disk, for want of room: their device may say so, and may not say thank you."""


@dataclass(frozen=True)
class _Seen:
    """What the device last said of itself."""

    beat: Beat
    mono_ms: int


class Window:
    """A window with its device. One thread tells it what the device says; `health` may be asked from any."""

    def __init__(
        self,
        window: str,
        device: str,
        outbox: Outbox,
        moment: Moment,
        silent_after_s: int = 30,
        profile: Profile | None = None,
        address: int = 0,
        late_ms: int = 0,
    ):
        self.id = window
        self.device = device
        self.address = address
        """Where the device is on a line of several."""
        self.profile = profile or profiles.shipped("house")
        self.noise = 0
        self._outbox = outbox
        self._silent_after_ms = silent_after_s * 1000
        self._late_ms = late_ms + self.profile.shape.press.late_ms
        self._numbers = _Numbers(self.profile)
        self._seen: _Seen | None = None
        self._stranger = ""
        self._invited: str | None = None
        self._confirmed_boot: int | None = None
        self._asked_ms = moment.mono_ms
        self._put_ms = moment.mono_ms - _UNKNOWN_MS
        """When the device was last asked for a rating."""
        self._timeout_s = 0
        self._down = "未连接 / not connected yet"
        self._since = moment
        self._since_state: WindowState = "cable_out"
        self._heard_ms = moment.mono_ms
        self._known: str | None = None
        # Nobody listened before the start: a press that is repeated until it is answered may be of any age.
        self._deaf_since_ms: int | None = moment.mono_ms - _UNKNOWN_MS
        self._plugged_ms = moment.mono_ms
        self._began_ms = moment.mono_ms
        self._to_be_asked_again = False
        self._kept = 0
        self._unread = 0
        self._disturbed_ms: int | None = None
        """Since when nothing but noise has come."""
        self._hearings: dict[PressId, tuple[int, int]] = {}
        self._flapping = False
        self._told = ("", moment.mono_ms - _SAY_AGAIN_MS)
        self.not_taken: Counter[str] = Counter()
        """Keys that were no press of their own, by reason."""
        self._health_lock = threading.Lock()
        self.lately: deque[tuple[int, int, int]] = deque(maxlen=16)
        """The last presses that were kept: when, which key, and how many records the outbox had then."""

    # ---- the cable

    def plugged(self, moment: Moment) -> list[Say]:
        """The cable is there: ask the device who it is, and invite again if a citizen is waiting."""
        if moment.mono_ms - self._told[1] >= _SAY_AGAIN_MS or not self._flapping:
            words = _PLUGGED.get(self.profile.shape.transport, "线缆已接通 / cable in")
            log.info("%s: window=%s", words, self.id)
        self._down = ""
        self._heard_ms = self._plugged_ms = moment.mono_ms
        self._invited, self._timeout_s = None, 0
        self._known = self._outbox.open_id(self.id)
        return [Say("query"), *self.tick(moment)]

    def unplugged(self, why: str, moment: Moment) -> None:
        """The cable is not there, and `why` in words."""
        # A tablet that is off is there at each try, and gone at the next word: told once a minute, not twice a second.
        self._flapping = not self._down and why == self._told[0]
        if why != self._down and (why != self._told[0] or moment.mono_ms - self._told[1] >= _SAY_AGAIN_MS):
            log.warning("串口不可用 / line not usable: window=%s %s", self.id, why)
            self._told = (why, moment.mono_ms)
        if not self._down and self._deaf_since_ms is None:
            self._deaf_since_ms = moment.mono_ms
        self._down = why

    def look(self) -> str | None:
        """The invitation that was open at the last look; to be called after each read, also of nothing."""
        known, self._known = self._known, self._outbox.open_id(self.id)
        return known

    def take(self, presses: Sequence[Pressed], known: str | None, waited_ms: int, moment: Moment) -> Taken:
        """Keep these presses, read at `moment`. `known` is what `look` said.

        `waited_ms`: how long their bytes may have lain in this machine.
        """
        made: list[tuple[Pressed, Press | None]]
        if self.profile.counts:
            made = [
                (pressed, _counted(pressed))
                for pressed in presses
                if self.met(pressed.device, moment)
                and not self._waited_for_us(pressed, moment)
                and self._dated(pressed, moment)
            ]
            if all(pressed.shown is not None for pressed in presses):
                known = ANY_INVITATION  # whatever opened or ended meanwhile: what these answer, they say themselves
        else:
            known = ANY_INVITATION  # a device that does not count has said all that it knows: its repeat says no more
            made = [(pressed, self._number(pressed, waited_ms, moment)) for pressed in presses]
            self.heard(moment)
        fresh = [press for _, press in made if press is not None]
        try:
            kept = not fresh or self._keep(fresh, known, moment)
        except OutboxFull:
            said = tuple(pressed for pressed, press in made if press is not None)
            self._numbers.forget(said)
            # A device that asks once and does not repeat itself has closed by now: it is to ask again.
            self._to_be_asked_again = not self.profile.shape.press.repeats
            return Taken((), said)
        if not kept:
            return Taken((), ())
        # The lines above have put them on the disk: only now may the device say thank you.
        return Taken(tuple(pressed for pressed, press in made if press is not None or self._again(pressed)), ())

    def disturbed(self, moment: Moment, age_ms: int = 0) -> None:
        """Noise on its line, the first of it `age_ms` ago: a press that is being repeated may be in it."""
        self.noise += 1
        self._unread += 1
        if self._unread == 1:
            self._disturbed_ms = moment.mono_ms - age_ms
        if self._unread == _UNREAD_MAX:
            log.warning("%s: window=%s", _UNREADABLE, self.id)
        self._numbers.disturbed(moment.mono_ms)

    def heard(self, moment: Moment) -> None:
        """A sign of life of a device that has no name of its own."""
        self._heard_ms, self._unread, self._disturbed_ms = moment.mono_ms, 0, None

    def tick(self, moment: Moment) -> list[Say]:
        """End an invitation whose time is over; tell the device of one that was opened or ended."""
        if not self._down and moment.mono_ms - self._plugged_ms > self.profile.shape.press.same_ms:
            # What is repeated until it is answered has been heard by now.
            self._deaf_since_ms = None
        if self._outbox.full:
            self._outbox.look_for_room(moment)
        if self._to_be_asked_again and not self._outbox.full:
            self._invited, self._to_be_asked_again = None, False
        try:
            self._outbox.expire(self.id, "device_failed" if self._failed(moment) else "expired", moment)
        except OutboxFull:
            pass  # it ends as soon as there is room to say so
        waiting = self._outbox.open_at(self.id, moment)
        if waiting is None:
            return self._withdrawn() or self._asked_after(_ASK_SILENT_MS if self._silent(moment) else None, moment)
        invitation, remaining_ms = waiting
        if remaining_ms <= 0:
            return []
        if invitation.id != self._invited:
            self._invited, self._confirmed_boot, self._asked_ms = invitation.id, None, moment.mono_ms
            return self._invite(remaining_ms)
        return self._asked_after(_ASK_AGAIN_MS if self._confirmed_boot is None else None, moment)

    # ---- what the device says

    def _keep(self, presses: list[Press], known: str | None, moment: Moment) -> bool:
        fresh = self._outbox.keep(self.id, (self.profile.id, self.profile.version), presses, moment, known)
        if fresh is None:
            # An invitation opened or ended since the last read: before or after the press? The repeat will tell.
            return False
        self._kept += fresh
        if fresh:
            self.lately.append((moment.wall_ms, presses[-1].button, self._outbox.kept_upto))
        self._known = self._outbox.open_id(self.id)
        return True

    def _number(self, pressed: Pressed, waited_ms: int, moment: Moment) -> Press | None:
        """The press of a device that does not count, numbered here; None if it is no press of its own."""
        made_ms = moment.mono_ms - pressed.age_ms
        reason = self._numbers.not_another(pressed, made_ms)
        if reason:
            self.not_taken[reason] += 1
            log.info("按键未另计 / no press of its own: window=%s %s", self.id, reason)
            return None
        unsure_ms = self._late_ms + waited_ms
        if self.profile.shape.press.repeats:
            # It may have been said before, to nobody, or in bytes that could not be read.
            unheard = [since_ms for since_ms in (self._deaf_since_ms, self._disturbed_ms) if since_ms is not None]
            unsure_ms = max([unsure_ms, *(made_ms - since_ms for since_ms in unheard)])
        if not self._numbers.boot:
            self._numbers.boot = self._outbox.next_boot(self.device, moment.wall_ms)
        press_id, how = PressId(self.device, self._numbers.boot, self._numbers.next()), self.profile.shape.press
        # Also from the last time that it was asked: a replugged device is asked again, and may answer an older one.
        soon_ms = _UNKNOWN_MS if made_ms - self._put_ms < how.soon_ms else how.soon_ms
        return Press(press_id, pressed.key, pressed.age_ms, pressed.raw, unsure_ms, soon_ms, how.solicited)

    def _waited_for_us(self, pressed: Pressed, moment: Moment) -> bool:
        """Whether this was pressed before there was anybody to hear it, and is to be said again in a moment.

        The business system found nobody either, and may be about to say that another citizen stood there: what is kept
        before that would answer for the one before. A page is there as long as the door is, and says what it showed.
        """
        up_ms = moment.mono_ms - self._began_ms
        return up_ms < _FIRST_WORD_MS and pressed.age_ms > up_ms and self.profile.shape.transport != "screen"

    def _dated(self, pressed: Pressed, moment: Moment) -> bool:
        """Whether it is certain when a counted press was made, as far as its invitation depends on that.

        Behind a network a frame's age is short by what the network held it back. Where that could make it the next
        citizen's, it is believed when two sayings, some time apart, agree: what was held back comes at once.
        """
        if not self._late_ms:
            return True
        made_ms, press_id = (
            moment.mono_ms - pressed.age_ms,
            PressId(pressed.device, pressed.boot or 0, pressed.count or 0),
        )
        waiting = self._outbox.open_at(self.id, moment)
        opened = waiting[0].opened if waiting is not None else None
        if opened is None or opened.host_boot != moment.host_boot or not 0 <= made_ms - opened.mono_ms < self._late_ms:
            return True
        before = self._hearings.get(press_id)
        if before is not None and moment.mono_ms - before[1] < _APART_MS:
            self._hearings[press_id] = (min(made_ms, before[0]), before[1])
            return False
        if before is not None and abs(made_ms - before[0]) <= _AGREE_MS:
            return True
        if len(self._hearings) >= _KEYS_MAX:
            self._hearings.clear()
        self._hearings[press_id] = (made_ms, moment.mono_ms)
        return False

    def _again(self, pressed: Pressed) -> bool:
        """Whether this key was the press before it said again: its answer was lost, so it is answered again."""
        return self.profile.shape.press.repeats and self._numbers.is_again(pressed)

    def beat(self, beat: Beat, moment: Moment) -> list[Say]:
        """What a house device says of itself."""
        self.met(beat.device, moment)
        self._seen = _Seen(beat, moment.mono_ms)
        if beat.device != self.device or beat.boot is None:
            return []
        if self._invited is None:
            # It did not hear that the invitation has ended, and still asks the citizen.
            return [Say("withdraw")] if beat.state == "inviting" else []
        if beat.state == "inviting":
            self._confirmed_boot = beat.boot
        if beat.state != "idle" or beat.boot == self._confirmed_boot:
            return []
        # It did not hear us, or started anew. Only an idle device is asked again: to one that holds a press it would
        # be a second time.
        waiting = self._outbox.open_at(self.id, moment)
        if waiting is None or waiting[1] <= 0:
            return []
        self._asked_ms = moment.mono_ms
        return self._invite(waiting[1])

    def _invite(self, remaining_ms: int) -> list[Say]:
        seconds, self._put_ms = -(-remaining_ms // 1000), self._asked_ms
        says = [Say("please_rate", seconds), Say("query")]
        if self.profile.knows("set_timeout") and seconds != self._timeout_s:
            self._timeout_s = seconds
            says.insert(0, Say("set_timeout", seconds))
        return says

    def _withdrawn(self) -> list[Say]:
        if self._invited is None:
            return []
        self._invited = None
        return [Say("withdraw")]

    def _asked_after(self, wait_ms: int | None, moment: Moment) -> list[Say]:
        if wait_ms is None or moment.mono_ms - self._asked_ms < wait_ms:
            return []
        self._asked_ms = moment.mono_ms
        return [Say("query")]

    def met(self, device: str, moment: Moment) -> bool:
        """Whether to believe that what was said under this name is that device's."""
        if device == self.device:
            self._heard_ms, self._stranger, self._unread = moment.mono_ms, "", 0
            return True
        if device == self._stranger:
            return True
        # Once in 65,536 a damaged frame still fits its CRC, and may carry a wrong name. Another device that really is
        # there says so again, in its beat or when it repeats its press.
        log.warning(
            "接在此口的是另一台设备 / another device on this line: window=%s device=%s; "
            "配置为 %s, 请改 windows.device 或换回设备 / configured: %s, change windows.device or put that one back",
            self.id,
            device,
            self.device,
            self.device,
        )
        self._stranger = device
        return False

    # ---- what a person sees

    def health(self, moment: Moment) -> WindowHealth:
        """What is known about this window now."""
        with self._health_lock:
            state = self._state(moment)
            if state != self._since_state:
                self._since_state, self._since = state, moment
            beat = self._seen.beat if self._seen else None
            return WindowHealth(
                window=self.id,
                state=state,
                since_ms=self._since.wall_ms,
                detail=self._detail(state),
                device=beat.device if beat else "",
                boot=(beat.boot or 0) if beat else 0,
                count=(beat.count or 0) if beat else 0,
                kept=self._kept,
                noise=self.noise,
                waiting=self._outbox.waiting(self.id),
                profile=self.profile.id,
                evidence=self.profile.shape.evidence,
                not_taken=self.not_taken.total(),
                thanked=beat.count if beat and beat.state in _HOLDS_NOTHING else None,
            )

    def _state(self, moment: Moment) -> WindowState:
        if self._down:
            return "cable_out"
        if self._outbox.full:
            return "refusing"
        if self._failed(moment):
            return "device_silent"
        return "inviting" if self._invited else "ready"

    def _failed(self, moment: Moment) -> bool:
        return bool(self._down) or self._silent(moment)

    def _silent(self, moment: Moment) -> bool:
        return self.profile.shows_life and moment.mono_ms - self._heard_ms > self._silent_after_ms

    def _detail(self, state: WindowState) -> str:
        if state == "cable_out":
            return self._down
        if state == "refusing":
            return "存储已满, 按键未收下 / storage is full, presses are not accepted"
        if self._stranger:
            return f"另一台设备 / another device: {self._stranger}"
        return _UNREADABLE if self._unread >= _UNREAD_MAX else ""


_Said = tuple[str, int, int | None]
"""What a device says of a press: itself, the key, and a sequence number where it has one."""


class _Numbers:
    """What stands in for a count where a device has none: which keys are presses of their own, and their numbers."""

    def __init__(self, profile: Profile):
        self._press = profile.shape.press
        self.boot = 0
        self._count = 0
        self._made_ms: dict[_Said, int] = {}
        self._last: _Said | None = None
        self._last_ms: int | None = None
        """When the last key came that was taken, or taken for one that had been."""

    def next(self) -> int:
        self._count += 1
        return self._count

    def not_another(self, pressed: Pressed, made_ms: int) -> str:
        """Why this key is not another press; empty if it is one."""
        said = _said(pressed)
        before_ms = self._made_ms.get(said)
        if before_ms is not None and made_ms - before_ms <= self._press.same_ms:
            self._hear(said, made_ms)
            return "repeated"
        held = before_ms is not None and self._last == said
        if self._last_ms is not None and made_ms - self._last_ms < self._press.min_gap_ms:
            if held:
                # A key that is held goes on and on; one that bounces onto another key says no more than the first did.
                self._hear(said, made_ms)
            return "too soon"
        if len(self._made_ms) >= _KEYS_MAX:
            self._made_ms.clear()
        self._hear(said, made_ms)
        return ""

    def _hear(self, said: _Said, made_ms: int) -> None:
        self._made_ms[said] = self._last_ms = made_ms
        self._last = said

    def disturbed(self, now_ms: int) -> None:
        """Something was said that could not be read: a press that was being repeated may still be."""
        for said, made_ms in self._made_ms.items():
            if now_ms - made_ms <= self._press.same_ms:
                self._made_ms[said] = now_ms

    def is_again(self, pressed: Pressed) -> bool:
        """Whether a press that said the same has been kept."""
        return _said(pressed) in self._made_ms

    def forget(self, presses: Sequence[Pressed]) -> None:
        """These are not on disk: said again, they are presses."""
        for pressed in presses:
            self._made_ms.pop(_said(pressed), None)
        self._last, self._last_ms = None, max(self._made_ms.values(), default=None)


def _said(pressed: Pressed) -> _Said:
    return pressed.device, pressed.key, pressed.count


def _counted(pressed: Pressed) -> Press:
    id = PressId(pressed.device, pressed.boot or 0, pressed.count or 0)
    return Press(id, pressed.key, pressed.age_ms, pressed.raw, shown=pressed.shown, reasons=pressed.reasons)
