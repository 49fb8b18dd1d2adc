"""What a device could be plugged into: the ports and keypads of this machine, in plain words, the new ones marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .. import keypad, link, machine, ports
from ..doctor import cable
from ..doctor.findings import Finding
from ..doctor.inventory import bind
from ..lines import Line
from ..machine import HERE, Account, Roots
from ..ports import PortFacts

_NEW_MS = 60_000
_DIGITS_MIN = 10  # a keypad; what has fewer digits is a knob or a lid


@dataclass(frozen=True)
class Place:
    """One port, or one keypad."""

    bind: str
    """What the settings call it."""
    device: str
    make: str
    socket: str
    adapter: str
    driver: str
    kind: str
    """serial or hid."""
    ours: str = ""
    """The window of this agent that has it."""
    held: str = ""
    """The other program that has it."""
    forbidden: Finding | None = None
    alike: bool = False
    """Whether another adapter looks the same: only the socket tells them apart."""
    new: bool = False


class Sockets:
    """Looks again at each call, and knows what was not there before."""

    def __init__(self, there: Callable[[], Sequence[PortFacts]] = link.serial_ports, roots: Roots = HERE) -> None:
        self._there = there
        self._roots = roots
        self._since_ms: dict[str, int] = {}
        self._looked = False

    def places(self, lines: Sequence[Line], now_ms: int) -> list[Place]:
        """All that is there now, what came last first."""
        facts = list(self._there())
        account = machine.account(self._roots)
        twins = {each.device for group in ports.alike(facts) for each in group}
        found = [self._port(each, lines, account, each.device in twins) for each in facts]
        found += [self._keypad(each) for each in self._keypads()]
        self._note([place.bind for place in found], now_ms)
        found = [_marked(place, self._is_new(place.bind, now_ms)) for place in found]
        return sorted(found, key=lambda place: (not place.new, not place.adapter, bool(place.ours), place.device))

    def _note(self, binds: Sequence[str], now_ms: int) -> None:
        gone = self._since_ms.keys() - set(binds)
        for name in gone:
            del self._since_ms[name]
        for name in binds:
            # What was there at the first look is not new, however short a time.
            self._since_ms.setdefault(name, now_ms if self._looked else now_ms - _NEW_MS)
        self._looked = True

    def _is_new(self, name: str, now_ms: int) -> bool:
        return now_ms - self._since_ms[name] < _NEW_MS

    def _port(self, facts: PortFacts, lines: Sequence[Line], account: Account, alike: bool) -> Place:
        ours = in_use(facts.device, lines, [facts])
        holders = [] if ours else [each for each in machine.holders(facts.device, self._roots) if not each.far_end]
        return Place(
            bind=bind(facts),
            device=facts.device,
            make=" ".join(filter(None, (facts.manufacturer, facts.product))) or facts.description,
            socket=facts.location,
            adapter=facts.adapter,
            driver=facts.driver,
            kind="serial",
            ours=", ".join(window.id for window in ours.windows) if ours else "",
            held=", ".join(map(str, holders)),
            forbidden=cable.forbidden(facts.device, account, self._roots),
            alike=alike,
        )

    def _keypads(self) -> list[keypad.Listed]:
        listed = keypad.listed(machine.text(self._roots.proc / "bus" / "input" / "devices"))
        # A whole keyboard is somebody's: taking it for ourselves would leave them without.
        return [
            each for each in listed if each.face.digits >= _DIGITS_MIN and len(each.face.keys) < 40 and each.face.phys
        ]

    def _keypad(self, listed: keypad.Listed) -> Place:
        face = listed.face
        return Place(
            bind=f"hid:{face.phys}",
            device=listed.node,
            make=face.name,
            socket=face.phys.partition("/")[0],
            adapter=f"{face.vendor:04x}:{face.product:04x}",
            driver="",
            kind="hid",
        )


def _marked(place: Place, new: bool) -> Place:
    return Place(**{**place.__dict__, "new": new}) if new else place


def in_use(port: str, lines: Sequence[Line], there: Sequence[PortFacts] | None = None) -> Line | None:
    """The line of this agent that has this port, under whatever name each of them calls it."""
    wanted = _device(port, there)
    for line in lines:
        if not line.link.port.startswith("screen:") and _device(line.link.port, there) == wanted:
            return line
    return None


def _device(port: str, there: Sequence[PortFacts] | None) -> str:
    try:
        found = link.resolve(port) if there is None else ports.match(ports.parse(port), there)
    except ValueError:
        return port
    return ports.spelling(found) if isinstance(found, str) else port
