"""What every simulated panel is to those who run it, and what all panels with plain buttons have in common."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Protocol

from firmware_sim.faults import Faults, Wire
from firmware_sim.faults.chances import happens
from firmware_sim.panel import EVENTS_MAX, Event, PressMade, PressNotAccepted, Rebooted

BOUNCE_MS = 30  # the same contact closing again within this is the same push of the finger
OUT_MAX = 64  # things a device still wants to say; its RAM has no room for more


class Panel(Protocol):
    """One simulated device, or several on a line. Pure: no line, no clock."""

    counts: bool
    """Whether it says boot and count on its line; else they are the simulator's own numbering."""
    wire: Wire
    buttons: tuple[int, ...]

    @property
    def device(self) -> str:
        """What it calls itself on its line: an id, a bus address, or nothing."""

    @property
    def boot(self) -> int:
        """Which start this is."""

    @property
    def count(self) -> int:
        """How many presses since that start."""

    def press(self, button: int, now_ms: int) -> int | None:
        """A contact closes. The press's count, or None if it is a bounce, or there is no such button or no room."""

    def repeat(self, button: int, now_ms: int) -> None:
        """The button is still down. No press, but some devices say the key again."""

    def feed(self, data: bytes, now_ms: int) -> None:
        """Bytes from the host, in any pieces; of datagrams and requests, one whole."""

    def poll(self, now_ms: int) -> bytes:
        """What it wants on the line now: one frame, or nothing. To be called until nothing more is due."""

    def next_ms(self, now_ms: int) -> int | None:
        """When it next wants to be polled if nothing happens before; never earlier than now; None for never."""

    def reboot(self, now_ms: int) -> None:
        """Power off and on."""

    def take_events(self) -> list[Event]:
        """What happened since the last call: the only truth about what was pressed."""

    def inviting(self, now_ms: int) -> bool:
        """Whether it is asking for a rating."""

    def asks_until_ms(self, now_ms: int) -> int | None:
        """When it will stop asking, or None if it does not ask."""

    def state(self, now_ms: int) -> str:
        """pending while a press waits to be handed over, else inviting, else idle."""

    def at(self, device: str) -> Panel:
        """The panel of this name on its line; itself if no name is given. KeyError if there is none."""

    def suffer(self, faults: Faults, rng: Random) -> None:
        """Have the faults that sit in the device and not on its line. Without this call it has none."""


class ButtonPanel:
    """Buttons, a contact that may bounce, and a queue of what is to be said. A family says what its bytes are."""

    wire: Wire = Wire()
    counts: bool = False

    def __init__(
        self,
        device: str = "",
        on_ms: int = 0,
        *,
        boot: int = 1,
        buttons: Sequence[int] = (1, 2, 3, 4, 5, 6),
        debounced: bool = True,
    ):
        self.device = device
        self.boot = boot
        self.count = 0
        self.buttons = tuple(buttons)
        self.faults = Faults()
        self.rng = Random(0)
        self._debounced = debounced
        self._events: deque[Event] = deque(maxlen=EVENTS_MAX)
        self._power_on(on_ms)

    # ---- what the world does to it

    def press(self, button: int, now_ms: int) -> int | None:
        if button not in self.buttons:
            return None
        if now_ms - self._closed_ms.get(button, now_ms - BOUNCE_MS) < BOUNCE_MS:
            if not self._debounced:
                self.repeat(button, now_ms)
            return None
        self._closed_ms[button] = now_ms
        if not self._has_room(now_ms):
            self._tell(PressNotAccepted(self.device, button, now_ms))
            return None
        self.count += 1
        press = PressMade(self.device, self.boot, self.count, button, now_ms, self.inviting(now_ms))
        self._tell(press)
        self._pressed(press)
        return press.count

    def repeat(self, button: int, now_ms: int) -> None:
        """A firmware that looks at the edge of a contact says nothing while a button stays down."""

    def feed(self, data: bytes, now_ms: int) -> None:
        """A panel that listens to nobody."""

    def poll(self, now_ms: int) -> bytes:
        self._pass(now_ms)
        if self._out and self._out[0][0] <= now_ms:
            return self._out.pop(0)[1]
        return b""

    def next_ms(self, now_ms: int) -> int | None:
        moments = [moment for moment in (*(due for due, _ in self._out[:1]), self._wakes_ms()) if moment is not None]
        return max(now_ms, min(moments)) if moments else None

    def reboot(self, now_ms: int) -> None:
        lost = tuple(self._waiting())
        self.boot += 1
        self._power_on(now_ms)
        self._tell(Rebooted(self.device, self.boot, now_ms, lost))

    def suffer(self, faults: Faults, rng: Random) -> None:
        self.faults, self.rng = faults, rng

    # ---- what can be seen of it

    def take_events(self) -> list[Event]:
        events = list(self._events)
        self._events.clear()
        return events

    def inviting(self, now_ms: int) -> bool:
        return now_ms < self._asks_until_ms

    def asks_until_ms(self, now_ms: int) -> int | None:
        return self._asks_until_ms if self.inviting(now_ms) else None

    def state(self, now_ms: int) -> str:
        if self._out or self._waiting():
            return "pending"
        return "inviting" if self.inviting(now_ms) else "idle"

    def at(self, device: str) -> Panel:
        if device not in ("", self.device):
            raise KeyError(device)
        return self

    # ---- what a family adds

    def _power_on(self, now_ms: int) -> None:
        self.count = 0
        self._out: list[tuple[int, bytes]] = []
        self._closed_ms: dict[int, int] = {}
        self._asks_until_ms = now_ms

    def _pressed(self, press: PressMade) -> None:
        """Say it, or keep it, or let it be."""
        raise NotImplementedError

    def _has_room(self, now_ms: int) -> bool:
        """Whether one more press can be taken."""
        return len(self._out) < OUT_MAX

    def _waiting(self) -> Sequence[PressMade]:
        """Presses that were not yet handed over."""
        return ()

    def _pass(self, now_ms: int) -> None:
        """Time has come to here: windows end, repeats are due."""

    def _wakes_ms(self) -> int | None:
        """When time alone will next change something."""
        return None

    def _say(self, data: bytes, at_ms: int) -> None:
        if len(self._out) < OUT_MAX:
            insort(self._out, (at_ms, data), key=lambda each: each[0])

    def _ask(self, until_ms: int) -> None:
        self._asks_until_ms = until_ms

    def _tell(self, event: Event) -> None:
        self._events.append(event)

    def _happens(self, chance: float) -> bool:
        return happens(chance, self.rng)


def sum8(data: bytes) -> int:
    """The sum of the bytes, its lowest eight bits."""
    return sum(data) % 256
