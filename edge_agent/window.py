"""One service window: what its device says becomes presses kept; what its invitation needs goes to the device."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from protocols.frames import Ack, Beat, Decoder, Invite, Noise, Pressed, Query, Withdraw, encode
from protocols.messages import WindowHealth, WindowState
from protocols.ratings import Moment, Press, PressId

from .outbox import Outbox, OutboxFull

log = logging.getLogger(__name__)

PROFILE = ("house", 1)
STALE_MS = 1000  # bytes may lie so long between two reads; as long as the grace that an invitation gives
WAITED_MS = 100  # the same for bytes that surely did: any longer, and a press may seem to be the next citizen's
_ASK_AGAIN_MS = 1000  # a device that has not confirmed an invitation is asked again, no faster than a person notices
_ASK_SILENT_MS = 5000  # a network line that died without a word only shows it when something is written to it


@dataclass(frozen=True)
class _Seen:
    """What the device last said of itself."""

    beat: Beat
    mono_ms: int


class Window:
    """A window with a house device. One thread feeds it; `health` may be asked from any."""

    def __init__(self, window: str, device: str, outbox: Outbox, moment: Moment, silent_after_s: int = 30):
        self.id = window
        self._device = device
        self._outbox = outbox
        self._silent_after_ms = silent_after_s * 1000
        self._decoder = Decoder()
        self._seen: _Seen | None = None
        self._stranger = ""
        self._invited: str | None = None
        self._confirmed_boot: int | None = None
        self._asked_ms = moment.mono_ms
        self._down = "未连接 / not connected yet"
        self._since = moment
        self._since_state: WindowState = "cable_out"
        self._heard_ms = moment.mono_ms
        self._read_ms = moment.mono_ms
        self._known: str | None = None
        self._kept = 0
        self._noise = 0
        self._health_lock = threading.Lock()

    # ---- the cable

    def plugged(self, moment: Moment) -> bytes:
        """The cable is there: ask the device who it is, and invite again if a citizen is waiting."""
        log.info("线缆已接通 / cable in: window=%s", self.id)
        self._down = ""
        self._decoder = Decoder()
        self._heard_ms = moment.mono_ms
        self._invited = None
        self._read_ms = moment.mono_ms
        self._known = self._outbox.open_id(self.id)
        return encode(Query(self._device)) + self.tick(moment)

    def unplugged(self, why: str, moment: Moment) -> None:
        """The cable is not there, and `why` in words."""
        if why != self._down:
            log.warning("串口不可用 / line not usable: window=%s %s", self.id, why)
        self._down = why

    def feed(self, data: bytes, moment: Moment, waited: bool = False) -> bytes:
        """Keep every press in `data`, which was read at `moment`, and acknowledge those that are on disk.

        To be called after each read, also of nothing: a frame says how old its press was when it was sent, and what
        lies between two reads is how long it may have `waited` in this machine.
        """
        waited_ms, self._read_ms = moment.mono_ms - self._read_ms, moment.mono_ms
        known, self._known = self._known, self._outbox.open_id(self.id)
        if not data:
            return b""
        if waited_ms > (WAITED_MS if waited else STALE_MS):
            # Nobody can say when these were pressed. The device was not thanked, and repeats them with their true age.
            self._decoder = Decoder()
            return b""
        reply = self._heard(data, known, moment)
        self._known = self._outbox.open_id(self.id)
        return reply

    def _heard(self, data: bytes, known: str | None, moment: Moment) -> bytes:
        presses: list[Press] = []
        reply = b""
        for item in self._decoder.feed(data):
            match item:
                case Noise():
                    self._noise += 1
                case (Pressed() as frame, raw):
                    if self._met(frame.device, moment):
                        presses.append(_press(frame, raw))
                case (Beat() as frame, _):
                    self._met(frame.device, moment)
                    reply += self._beat(frame, moment)
                case _:
                    # Our own words back from the line: an adapter that echoes.
                    self._noise += 1
        return (self._keep(presses, known, moment) if presses else b"") + reply

    def tick(self, moment: Moment) -> bytes:
        """End an invitation whose time is over; tell the device of one that was opened or ended."""
        try:
            self._outbox.expire(self.id, "device_failed" if self._failed(moment) else "expired", moment)
        except OutboxFull:
            pass  # it ends as soon as there is room to say so
        waiting = self._outbox.open_at(self.id, moment)
        if waiting is None:
            return self._withdrawn() or self._asked_after(_ASK_SILENT_MS if self._silent(moment) else None, moment)
        invitation, remaining_ms = waiting
        if remaining_ms <= 0:
            return b""
        if invitation.id != self._invited:
            self._invited, self._confirmed_boot, self._asked_ms = invitation.id, None, moment.mono_ms
            return self._invite(remaining_ms)
        return self._asked_after(_ASK_AGAIN_MS if self._confirmed_boot is None else None, moment)

    # ---- what a frame does

    def _keep(self, presses: list[Press], known: str | None, moment: Moment) -> bytes:
        try:
            fresh = self._outbox.keep(self.id, PROFILE, presses, moment, known)
        except OutboxFull:
            return b""
        if fresh is None:
            # An invitation opened or ended since the last read: before or after the press? The repeat will tell.
            return b""
        # The lines above have put them on the disk: only now may the device say thank you.
        self._kept += fresh
        return b"".join(encode(Ack(press.id.device, press.id.boot, press.id.count)) for press in presses)

    def _beat(self, beat: Beat, moment: Moment) -> bytes:
        self._seen = _Seen(beat, moment.mono_ms)
        if beat.device != self._device:
            return b""
        if self._invited is None:
            # It did not hear that the invitation has ended, and still asks the citizen.
            return encode(Withdraw(self._device)) if beat.state == "inviting" else b""
        if beat.state == "inviting":
            self._confirmed_boot = beat.boot
        if beat.state != "idle" or beat.boot == self._confirmed_boot:
            return b""
        # It did not hear us, or started anew. Only an idle device is asked again: to one that holds a press it would
        # be a second time.
        waiting = self._outbox.open_at(self.id, moment)
        if waiting is None or waiting[1] <= 0:
            return b""
        self._asked_ms = moment.mono_ms
        return self._invite(waiting[1])

    def _invite(self, remaining_ms: int) -> bytes:
        return encode(Invite(self._device, -(-remaining_ms // 1000))) + encode(Query(self._device))

    def _withdrawn(self) -> bytes:
        if self._invited is None:
            return b""
        self._invited = None
        return encode(Withdraw(self._device))

    def _asked_after(self, wait_ms: int | None, moment: Moment) -> bytes:
        if wait_ms is None or moment.mono_ms - self._asked_ms < wait_ms:
            return b""
        self._asked_ms = moment.mono_ms
        return encode(Query(self._device))

    def _met(self, device: str, moment: Moment) -> bool:
        """Whether to believe that this frame is that device's."""
        if device == self._device:
            self._heard_ms, self._stranger = moment.mono_ms, ""
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
            self._device,
            self._device,
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
                boot=beat.boot if beat else 0,
                count=beat.count if beat else 0,
                kept=self._kept,
                noise=self._noise,
                waiting=self._outbox.waiting(self.id),
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
        return moment.mono_ms - self._heard_ms > self._silent_after_ms

    def _detail(self, state: WindowState) -> str:
        if state == "cable_out":
            return self._down
        if state == "refusing":
            return "磁盘已满 / disk full"
        return f"另一台设备 / another device: {self._stranger}" if self._stranger else ""


def _press(frame: Pressed, raw: bytes) -> Press:
    return Press(PressId(frame.device, frame.boot, frame.count), frame.button, frame.age_ms, raw)
