"""A window with any evaluator, through a morning in which one group of things goes wrong: what is booked, and why not.

The agent's own parts (reader, line, window, a real outbox file) and a simulated panel with its cable, on a clock that a
seed moves. The truth is the panel's; the agent is judged by its records alone.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace

import msgspec

from edge_agent import modbus
from edge_agent.cable import Cable
from edge_agent.modbus import ModbusPoll
from edge_agent.outbox import GRACE_MS, Outbox
from edge_agent.polled import PolledCable
from edge_agent.window import Taken, Window
from firmware_sim.bench import Change, Replugged, Unplugged, VirtualLine
from firmware_sim.faults import GROUPS, Faults, Happening
from firmware_sim.panel import PressMade, PressThanked, Rebooted
from firmware_sim.panels import shelf
from firmware_sim.panels.bus import Bus
from protocols import profiles
from protocols.messages import PressRecord, Receipt, decode_record
from protocols.profiles.events import Pressed
from protocols.profiles.profile import Profile, profile_of
from protocols.ratings import Invitation, Moment

START_MS = 1_790_000_000_000
READ_MS = 500  # how long a read waits at the most
LINK_RETRY_MS = 500
NETWORK_LATE_MS = 2_000
SERVICES = 4
DOUBT_MS = 350  # a line may hold a frame back for so long, and its press then seems to be that much younger
SHOWN_MS = 500  # a screen may ask for so long after its invitation was taken back; its press says which one it showed
GROUP_NAMES = tuple(f"group{group}" for group in GROUPS)


@dataclass(frozen=True)
class Evaluator:
    """A profile with the panel that speaks it."""

    name: str
    panel: str
    profile: Profile
    address: int = 0
    """Of the panel: on the line, and by its profile unless `called` says otherwise."""
    called: int | None = None
    checked: bool = True
    """Whether a damaged byte cannot pass for another key."""
    shows: bool = False
    """Whether its press says which invitation it showed."""


def _variant(id: str, **press: object) -> Profile:
    shape = profiles.shipped(id).shape
    return profile_of(msgspec.structs.replace(shape, press=msgspec.structs.replace(shape.press, **press)))


def _modbus(mode: str, **wire: object) -> Profile:
    shape = profiles.shipped("modbus-key").shape
    return profile_of(msgspec.structs.replace(shape, modbus=msgspec.structs.replace(shape.modbus, mode=mode, **wire)))


EVALUATORS = {
    each.name: each
    for each in (
        Evaluator("house", "house", profiles.shipped("house")),
        Evaluator("qs4", "qs4", profiles.shipped("qs4"), 5),
        Evaluator("qs4-always", "qs4-always", _variant("qs4", solicited=False, late_ms=6_000), 5),
        Evaluator("pj06", "pj06", profiles.shipped("pj06"), checked=False),
        Evaluator("key-byte", "key-byte", profiles.shipped("key-byte"), checked=False),
        Evaluator("key-ascii", "key-ascii-crlf", profiles.shipped("key-ascii"), checked=False),
        Evaluator("modbus-key", "modbus-key", profiles.shipped("modbus-key"), 1),
        Evaluator("modbus-counter", "modbus-counter", _modbus("counter", count=2, count_at=1, clear_register=None), 1),
        Evaluator("hid-keypad", "hid-keypad", profiles.shipped("hid-keypad")),
        Evaluator("taxi905", "taxi905", profiles.shipped("taxi905"), 6, called=0x0601),
        Evaluator("sundyn-udp", "sundyn-udp", profiles.shipped("sundyn-udp"), checked=False),
        Evaluator("screen", "screen", profiles.shipped("screen"), shows=True),
    )
}
SHIPPED_ONES = tuple(name for name in EVALUATORS if name in profiles.SHIPPED)


@dataclass
class Service:
    """One invitation, as the agent's door opened it and as it ended."""

    id: str
    opened_ms: int
    until_ms: int
    """When nothing more can be for it: the deadline with its grace, or its withdrawal."""
    meant: list[PressMade] = field(default_factory=list)
    booked: list[PressRecord] = field(default_factory=list)


@dataclass
class Result:
    """What came of one run."""

    services: list[Service]
    records: list[PressRecord]
    reasons: Counter[str]
    """Why a press that was meant inside an invitation is not booked, one for each."""
    mistakes: list[str]


class Morning:
    """One run. `virtual` time only; the outbox is a real file that many runs share, a window each."""

    def __init__(self, evaluator: Evaluator, faults: str, seed: int, box: Outbox, window: str):
        self.evaluator, self.seed, self.box, self.window_id = evaluator, seed, box, window
        self.rng = Random(f"{seed}/{evaluator.name}/{faults}/people")
        self.now_ms = 10_000
        self.wall_ms = START_MS
        self.faults = Faults.parse(faults)
        network = self.faults.delay > 0 and evaluator.profile.shape.transport in ("serial", "modbus")
        address = evaluator.address or None
        kind = shelf.KINDS[evaluator.panel]
        # Runs share an outbox, and an outbox knows a press by its device.
        name = re.sub(r"[^A-Za-z0-9_-]", "-", window)[-32:]
        if kind.first_address is not None:
            # Two on one line: what concerns the other one must not become ours.
            self.panel = shelf.make_line(evaluator.panel, address, 2, self.now_ms)
        else:
            self.panel = shelf.make(evaluator.panel, name, self.now_ms, 1)
        self.device = self.panel.device
        marks = evaluator.profile.shape.form in ("byte", "text") and not network
        self.line = VirtualLine(self.panel, self.faults, seed, error_as_zero=marks)
        late_ms = NETWORK_LATE_MS if network else 0
        self.window = Window(
            window,
            name,
            box,
            self.moment(),
            30,
            evaluator.profile,
            evaluator.address if evaluator.called is None else evaluator.called,
            late_ms,
        )
        self.window.take = self._taking(self.window.take)  # type: ignore[method-assign]
        self.made: list[PressMade] = []
        self.thanked: list[PressMade] = []
        self.forgotten: list[PressMade] = []
        self.services: list[Service] = []
        self.plan: list[tuple[int, str, int]] = []
        self.replug_at_ms: int | None = None
        self.was_out = False
        self.keys_heard: list[tuple[int, int]] = []
        self.noise_at: list[int] = []
        self.out_spans: list[tuple[int, int]] = []

    def _taking(self, take: Callable[..., Taken]) -> Callable[..., Taken]:
        def taking(presses: Sequence[Pressed], *more: object) -> Taken:
            self.keys_heard += [(self.now_ms, pressed.key) for pressed in presses]
            return take(presses, *more)

        return taking

    def moment(self) -> Moment:
        return Moment(self.wall_ms + self.now_ms, self.now_ms, "pc-1", True)

    # ---- people

    def people(self) -> None:
        """Services one after the other, some close together; strays between them."""
        at_ms = 12_000
        for number in range(SERVICES):
            at_ms += self.rng.choice((self.rng.randint(300, 1_500), self.rng.randint(3_000, 9_000)))
            if self.rng.random() < 0.4:
                self.plan.append((at_ms - self.rng.randint(50, 2_500), "press", self._button()))
            self.plan.append((at_ms, "open", number))
            chance = self.rng.random()
            if chance < 0.75:
                after_ms = self.rng.randint(400, 9_000)
                self.plan.append((at_ms + after_ms, "press", self._button()))
                at_ms += after_ms + self.rng.randint(100, 2_000)
                if self.rng.random() < 0.3:
                    self.plan.append((at_ms, "withdraw", number))
            elif chance < 0.9:
                at_ms += self.rng.randint(500, 5_000)
                self.plan.append((at_ms, "withdraw", number))
            else:
                at_ms += 16_500
        self.plan.sort()
        self.until_ms = at_ms + 25_000

    def _button(self) -> int:
        return self.rng.choice(self.panel.buttons)

    # ---- the run

    def run(self) -> Result:
        self.people()
        self.host = _host(self)
        self.host.plugged()
        while self.now_ms < self.until_ms:
            self._do_what_is_due()
            self.host.turn()
            self._next()
        return self._judged()

    def _next(self) -> None:
        times = [self.now_ms + READ_MS, self.host.due_ms()]
        if self.plan:
            times.append(self.plan[0][0])
        if self.replug_at_ms is not None:
            times.append(self.replug_at_ms)
        line_ms = self.line.next_ms(self.now_ms)
        if line_ms is not None:
            times.append(line_ms)
        self.now_ms = max(self.now_ms + 1, min(times))

    def _do_what_is_due(self) -> None:
        while self.plan and self.plan[0][0] <= self.now_ms:
            _, what, number = self.plan.pop(0)
            match what:
                case "press":
                    self.line.press(number, self.now_ms, self.device if isinstance(self.panel, Bus) else "")
                case "open":
                    self._open(number)
                case "withdraw":
                    self._withdraw()

    def _open(self, number: int) -> None:
        now = self.moment()
        self._end_last(self.now_ms)
        ask = Invitation(f"{self.window_id}-{number}", self.window_id, now, 15)
        self.box.open_invitation(ask, replace=True)
        self.services.append(Service(ask.id, self.now_ms, self.now_ms + 15_000 + GRACE_MS + 500))
        if hasattr(self.panel, "ask"):
            self.panel.ask(self.now_ms + 15_000, ask.id)
        self.host.woken()

    def _withdraw(self) -> None:
        open_id = self.box.open_id(self.window_id)
        if open_id is not None:
            self.box.close_invitation(open_id, "withdrawn", self.moment())
            self._end_last(self.now_ms)
            self.host.woken()

    def _end_last(self, now_ms: int) -> None:
        if self.services:
            self.services[-1].until_ms = min(self.services[-1].until_ms, now_ms)

    def changed(self, changes: list[Change]) -> None:
        """What happened to panel and cable; the truth is written down, the rest is done."""
        for change in changes:
            match change:
                case PressMade() if change.device == self.device:
                    self.made.append(change)
                case PressThanked(press) if press.device == self.device:
                    self.thanked.append(press)
                case Rebooted(lost=lost):
                    self.forgotten += lost
                case Unplugged():
                    self.host.unplugged()
                    self.was_out = True
                    self.out_spans.append((self.now_ms, 10**12))
                case Replugged():
                    self.replug_at_ms = self.now_ms + self.rng.randint(0, LINK_RETRY_MS)
                    self.out_spans[-1] = (self.out_spans[-1][0], self.replug_at_ms)
                case Happening(kind="withdraw"):
                    self._withdraw()
                case Happening(kind="clock_jump", by_ms=by_ms):
                    self.wall_ms += by_ms
        if self.replug_at_ms is not None and self.now_ms >= self.replug_at_ms and self.line.plugged:
            self.replug_at_ms = None
            self.host.plugged()

    # ---- the judgement

    def _judged(self) -> Result:
        records = [
            record
            for row in self.box.records()
            if row["window"] == self.window_id
            and isinstance(record := decode_record(row["body"].encode()), PressRecord)
        ]
        by_id = {service.id: service for service in self.services}
        mistakes = []
        for record in records:
            if record.invitation:
                by_id[record.invitation].booked.append(record)
        for service in self.services:
            service.meant = [made for made in self.made if service.opened_ms <= made.at_ms <= service.until_ms]
            mistakes += list(self._mistakes(service))
        booked = sum(1 for service in self.services if service.booked)
        meant = sum(1 for service in self.services if self._may_be(service))
        if booked > meant:
            mistakes.append(f"booked {booked} > meant {meant}")
        reasons = Counter(
            self._reason(service, records) for service in self.services if service.meant and not service.booked
        )
        # What was looked at is let go, as if receipted: the next run in this outbox need not read it again.
        self.box.settle(Receipt(self.box.epoch, *self.box.tip()))
        return Result(self.services, records, reasons, mistakes)

    def _may_be(self, service: Service) -> list[PressMade]:
        """The presses that this invitation's rating can be: a line that counts may seem younger by what it was held,
        and a screen cannot know sooner than its network tells it that nobody is asked any more."""
        early_ms = DOUBT_MS if self.evaluator.profile.counts else 0
        until_ms = service.until_ms + (SHOWN_MS if self.evaluator.shows else 0)
        return [made for made in self.made if service.opened_ms - early_ms <= made.at_ms <= until_ms]

    def _mistakes(self, service: Service) -> Iterator[str]:
        if not service.booked:
            return
        may_be = self._may_be(service)
        rated = service.booked[0]
        if not may_be:
            yield f"{service.id}: invented: key {rated.button}, nobody pressed"
        elif self._certain_keys() and rated.button not in {made.button for made in may_be}:
            yield f"{service.id}: altered: {rated.button}, pressed {[made.button for made in may_be]}"
        if len(service.booked) > len(may_be):
            yield f"{service.id}: {len(service.booked)} presses booked, {len(may_be)} made"

    def _certain_keys(self) -> bool:
        """Whether a key can only be what was pressed: not where one wrong bit makes another key of a bare byte."""
        damage = self.faults.flip + self.faults.noise + self.faults.byte_lost + self.faults.bad_sum
        return self.evaluator.checked or not damage

    def _reason(self, service: Service, records: list[PressRecord]) -> str:
        if any(record.doubt == service.id for record in records):
            return "undatable: may be from before the invitation"
        first = service.meant[0]
        near = [
            record for record in records if abs(record.mono_ms - first.at_ms) < 6_000 and record.button == first.button
        ]
        if any(record.invitation is None for record in near):
            return "unsolicited: heard after the invitation had ended, or aged to before it"
        if any(record.invitation for record in near):
            return "taken for the same press as one shortly before"
        if first in self.forgotten:
            return "its device was restarted before it was thanked"
        if any(start - 1_000 <= first.at_ms <= end for start, end in self.out_spans):
            return "cable out"
        if self.window.not_taken:
            return f"no press of its own: {', '.join(sorted(self.window.not_taken))}"
        if any(first.at_ms <= at_ms < first.at_ms + 6_000 for at_ms in self.noise_at):
            return "noise on the line"
        if not any(
            first.at_ms <= at_ms < first.at_ms + 6_000 and key == first.button for at_ms, key in self.keys_heard
        ):
            return "its bytes never came"
        return ""


def _host(morning: Morning) -> SerialHost | PolledHost:
    return PolledHost(morning) if morning.evaluator.profile.shape.modbus is not None else SerialHost(morning)


class SerialHost:
    """The agent's loop of one cable, turn by turn."""

    def __init__(self, morning: Morning):
        self.morning = morning
        self.cable = Cable(morning.evaluator.profile, [morning.window], morning.moment())
        self.up = False
        self.wake_ms: int | None = None
        self.kind = shelf.KINDS[morning.evaluator.panel].carrier

    def plugged(self) -> None:
        self.up = True
        self._say(self.cable.plugged(self.morning.moment()))

    def unplugged(self) -> None:
        if self.up:
            self.up = False
            self.cable.unplugged("out", self.morning.moment())

    def woken(self) -> None:
        self.wake_ms = self.morning.now_ms

    def due_ms(self) -> int:
        wait_ms = self.cable.wait_ms(self.morning.moment()) if self.up else None
        return self.morning.now_ms + (READ_MS if wait_ms is None else min(READ_MS, wait_ms))

    def turn(self) -> None:
        morning = self.morning
        pieces = morning.line.step_pieces(morning.now_ms)
        morning.changed(morning.line.take_events())
        if not self.up:
            self.cable.tick(morning.moment())
            return
        if self.kind == "serial":
            pieces = [b"".join(pieces)] if pieces else []
        before = morning.window.noise
        for piece in pieces or [b""]:
            answer = self.cable.feed(piece, morning.moment(), False)
            if self.kind == "door" and piece:
                morning.line.to_device(b"200" if answer else b"503", morning.now_ms)
            else:
                self._say(answer)
        if morning.window.noise > before:
            morning.noise_at.append(morning.now_ms)
        self._say(self.cable.tick(morning.moment()))

    def _say(self, data: bytes) -> None:
        if data and self.kind in ("serial", "udp"):
            self.morning.line.to_device(data, self.morning.now_ms)
            self.cable.sent(data, self.morning.moment())


class PolledHost:
    """The agent's loop of one Modbus line, turn by turn; a poll takes its time."""

    def __init__(self, morning: Morning):
        self.morning = morning
        self.cable = PolledCable(morning.evaluator.profile, [morning.window], morning.moment())
        self.up = False
        self.baudrate, self.timeout, self.port = 9600, None, "virtual"
        self.held = b""
        modbus.time = SimpleNamespace(sleep=self._sleep)  # type: ignore[attr-defined]
        wire, poll = self.cable.wire, self.cable.profile.shape.poll
        self.asker = ModbusPoll(self, wire.function, wire.register, wire.count, poll.answer_ms, wire.echo)

    def plugged(self) -> None:
        self.up = True
        self.cable.plugged(self.morning.moment())

    def unplugged(self) -> None:
        if self.up:
            self.up = False
            self.cable.unplugged("out", self.morning.moment())

    def woken(self) -> None:
        pass

    def due_ms(self) -> int:
        return self.morning.now_ms + (self.cable.wait_ms(self.morning.moment()) if self.up else READ_MS)

    def turn(self) -> None:
        self._step()
        before = self.morning.window.noise
        if self.up:
            self.cable.turn(self.asker, self.morning.moment)
        else:
            self.morning.window.tick(self.morning.moment())
        if self.morning.window.noise > before:
            self.morning.noise_at.append(self.morning.now_ms)

    # ---- the port, as the poll sees it

    def read(self, size: int = 1) -> bytes:
        until_ms = self.morning.now_ms + int((self.timeout or 0) * 1000)
        while len(self.held) < size and self.morning.now_ms < until_ms:
            line_ms = self.morning.line.next_ms(self.morning.now_ms)
            self.morning.now_ms = max(self.morning.now_ms + 1, min(until_ms, line_ms or until_ms))
            self._step()
        data, self.held = self.held[:size], self.held[size:]
        return data

    def write(self, data: bytes) -> int:
        self.morning.line.to_device(data, self.morning.now_ms)
        return len(data)

    def reset_input_buffer(self) -> None:
        self._step()
        self.held = b""

    def _sleep(self, seconds: float) -> None:
        self.morning.now_ms += max(1, round(seconds * 1000))

    def _step(self) -> None:
        data = self.morning.line.step(self.morning.now_ms)
        self.held += data
        self.morning.changed(self.morning.line.take_events())


def morning(name: str, faults: str, seed: int, box: Outbox) -> Result:
    """One run of this evaluator with these faults; the outbox may be shared by many runs."""
    return Morning(EVALUATORS[name], faults, seed, box, f"{name}-{seed}-{faults}").run()


def shown(result: Result) -> str:
    """A line for a person who looks into a run."""
    return json.dumps(
        [
            {
                "opened": service.opened_ms,
                "until": service.until_ms,
                "meant": [(made.at_ms, made.button) for made in service.meant],
                "booked": [(record.mono_ms, record.button) for record in service.booked],
            }
            for service in result.services
        ]
    )
