"""A hall, a collector and a province in one process, on a clock that a seed moves; every store is a real file.

The parts are the product's own; only what carries bytes between them is played here, and it loses, doubles and
shuffles. Any call to a store may be the last one of its process.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from collector.directory import Directory, Key, Place
from collector.ledger import audit
from collector.ledger.days import Days
from collector.ledger.delivery import Delivery, Due
from collector.ledger.intake import Intake
from collector.ledger.store import Store
from collector.reconcile.balance import balance
from edge_agent.outbox import Outbox, Settled
from firmware_sim import sm2
from firmware_sim.faults import Faults, finger
from firmware_sim.line import Line, Station
from firmware_sim.panel import HousePanel
from firmware_sim.province import Province
from firmware_sim.province.misbehaviour import misbehaviour
from firmware_sim.province.txnbody import CASE_PATH, RATING_PATH, Keys
from firmware_sim.province.txnbody import province as txnbody
from firmware_sim.scenario import Service, Stray, Truth, busy_morning
from protocols.dialects.txnbody import TxnBody, TxnBodySettings
from protocols.messages import Batch, Health, Receipt, decode, encode
from protocols.ratings import Accepted, Answer, Case, Invitation, Level, Moment, Request, Unavailable, Verdict
from tests.collector.ledgers import VAULT
from tests.edge_agent.hall import Alone

AGENT = "hall-pc-1"
WINDOWS = ("1", "2")
LEVELS = list(Level)  # button 1 is the first
RESEND_MS = 800
HEALTH_EVERY_MS = 500
START_MS = 1_790_000_000_000
LINE_FAULTS = (
    "bounce:0.2,double:0.1,reboot:0.04,cable_out:0.03,split:0.05,glue:0.05,frame_lost:0.08,noise:0.1,"
    "ack_lost:0.15,ack_late:0.05,flip:0.002,byte_lost:0.001"
)
PROVINCE_FAULTS = (
    "drop_before:0.08",
    "timeout_after:0.1",
    "empty:0.05",
    "rubbish:0.05",
    "http_5xx:0.05",
    "forget:0.05",
)
_KEYS: list[Keys] = []


class Crash(BaseException):
    """The process that makes this call to its store is gone. No `except Exception` may catch it."""


class CrashingConnection(sqlite3.Connection):
    """A connection whose process dies at some of its calls: before the statement, or after it took effect."""

    rng: Random | None = None
    chance = 0.0

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return self._maybe(lambda: super(CrashingConnection, self).execute(sql, *values), sql)

    def executemany(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return self._maybe(lambda: super(CrashingConnection, self).executemany(sql, *values), sql)

    def _maybe(self, call: Any, sql: str) -> sqlite3.Cursor:
        rng = CrashingConnection.rng
        if rng is None or sql == "ROLLBACK" or rng.random() >= CrashingConnection.chance:
            return call()
        if rng.random() < 0.5:
            call()
        raise Crash(sql)


class MemoryLine(Line):
    """A cable whose host end is at hand."""

    def _plug(self) -> None:
        self.up, self.down = bytearray(), bytearray()

    def _pull(self) -> None:
        self.up, self.down = bytearray(), bytearray()

    def fileno(self) -> int:
        return -1

    def _read(self) -> bytes:
        data, self.down = bytes(self.down), bytearray()
        return data

    def _write(self, data: bytes) -> int:
        self.up += data
        return len(data)


@dataclass
class Network:
    """Messages between agent and collector: lost, doubled, shuffled."""

    rng: Random
    bad: bool = True
    flying: list[tuple[str, bytes]] = field(default_factory=list)

    def send(self, to: str, payload: bytes) -> None:
        copies = self.rng.choice((0, 1, 1, 1, 1, 2, 5)) if self.bad else 1
        self.flying += [(to, payload)] * copies

    def arrived(self, to: str) -> list[bytes]:
        if self.bad:
            self.rng.shuffle(self.flying)
        here = [payload for whom, payload in self.flying if whom == to and (not self.bad or self.rng.random() < 0.6)]
        for payload in here:
            self.flying.remove((to, payload))
        return here


class World:
    """One run. `run()` plays it, `mistakes()` says what is wrong with it."""

    def __init__(self, folder: Path, seed: int, seconds: int = 25, crashes: float = 0.004):
        self.folder, self.seed = folder, seed
        self.rng = Random(f"{seed}/world")
        self.crashes = crashes
        self.now_ms = START_MS
        self.booted_ms, self.host_boot = START_MS - 3_600_000, 1
        self.truth = Truth()
        self.network = Network(Random(f"{seed}/network"))
        self.windows = [f"{AGENT}/{window}" for window in WINDOWS]
        self.stations = {name: self._station(name) for name in self.windows}
        self.scenario = busy_morning(seed, self.windows, seconds, 0.6, start_ms=START_MS)
        self.actors = [self._actor(name) for name in self.windows]
        self.waiting_cases: list[tuple[int, Service]] = []
        self.province = _province(seed)
        self.accepted: list[dict[str, Any]] = []
        self.province.keep = self.accepted.append
        self.dialect = _dialect()
        self.agent_up = self.collector_up = False
        self.agent_back_ms = self.collector_back_ms = START_MS
        self.stalled_until_ms = 0
        self.sent_ms: int | None = None
        self.health: bytes | None = None
        """What the agent last said of itself and the collector has not heard yet: the broker keeps the last."""
        self.health_ms = START_MS
        self.unexplained: list[str] = []
        self.crashed: Counter[str] = Counter()

    # ---- time

    def run(self) -> None:
        """The morning, then whatever it takes until everything has arrived, without faults."""
        CrashingConnection.rng, CrashingConnection.chance = Random(f"{self.seed}/crash"), self.crashes
        try:
            while self.actors:
                self._step()
            self._heal()
            for _ in range(4000):
                self._step()
                if self._quiet():
                    return
            raise AssertionError(f"never quiet --seed {self.seed}: {self._left()}")
        finally:
            CrashingConnection.rng = None
            self._agent_down(0)
            self._collector_down(0)

    def moment(self) -> Moment:
        """Now, as the agent's PC sees it."""
        return Moment(self.now_ms, self.now_ms - self.booted_ms, f"boot-{self.host_boot}", None)

    def _step(self) -> None:
        self.now_ms += self.rng.randint(5, 120)
        self._people()
        for name, station in self.stations.items():
            for event in station.step(self.now_ms):
                self.truth.hear(name, event)
        for turn, dies in ((self._agent, self._agent_down), (self._collector, self._collector_down)):
            try:
                turn()
            except Crash as crash:
                self.crashed[str(crash).split("(")[0][:40]] += 1
                dies(self.rng.randint(50, 1500))
        if self.collector_up and self.rng.random() < 0.1:
            self._add_up()

    def _heal(self) -> None:
        CrashingConnection.chance = 0.0
        self.network.bad = False
        self.province.misbehaviour = misbehaviour(self.seed, ())
        for station in self.stations.values():
            station.faults = Faults()
            station.wire.faults = Faults()

    def _quiet(self) -> bool:
        panels = all(not each.ahead and each.panel.state(self.now_ms) == "idle" for each in self.stations.values())
        return panels and not any(self._left().values())

    def _left(self) -> dict[str, Any]:
        if not (self.agent_up and self.collector_up):
            return {"down": True}
        return {
            "backlog": self.outbox.backlog().records,
            "due": self.store.row("SELECT count(*) FROM rating WHERE state IN ('due', 'awaiting_case')")[0],
            "cases": len(self.waiting_cases),
        }

    def _add_up(self) -> None:
        """Whatever is on its way, whatever died: every difference has its reason, at any moment."""
        rng, CrashingConnection.rng = CrashingConnection.rng, None
        found = balance(Days(self.store), directory(), self.now_ms)
        CrashingConnection.rng = rng
        if found["unexplained"]:
            lines = [line for line in (*found["days"], *found["agents"]) if line["unexplained"]]
            self.unexplained.append(f"unexplained: {lines}")

    # ---- people

    def _people(self) -> None:
        self.actors = [actor for actor in self.actors if next(actor, "gone") != "gone"]
        for at_ms, service in list(self.waiting_cases):
            if self.now_ms >= at_ms and self.collector_up and self._took(service):
                self.waiting_cases.remove((at_ms, service))

    def _took(self, service: Service) -> bool:
        details = {**service.case_details, "case_no": service.case_no, "service_number": service.service_number}
        try:
            self.intake.take_cases([msgspec.convert(details, Case)], self.now_ms)
        except Crash:
            self._collector_down(300)
            return False
        return True

    def _actor(self, name: str) -> Iterator[None]:
        """What happens at one window, a step at a time."""
        everything: list[Service | Stray] = [*self.scenario.services, *self.scenario.strays]
        for each in sorted((one for one in everything if one.window == name), key=lambda one: one.at_ms):
            while self.now_ms < START_MS + each.at_ms:
                yield
            if isinstance(each, Stray):
                self.stations[name].press(each.button, self.now_ms)
                continue
            yield from self._citizen(name, each)

    def _citizen(self, name: str, service: Service) -> Iterator[None]:
        self.waiting_cases.append((self.now_ms + service.case_arrives_after_ms, service))
        asked_ms, number = self.now_ms, f"{self.rng.getrandbits(128):032x}"
        invitation = f"{number[:8]}-{number[8:12]}-{number[12:16]}-{number[16:20]}-{number[20:]}"
        while not self._invited(invitation, name, service):
            yield
        opened_ms = self.now_ms
        self.truth.opened(service, asked_ms, opened_ms, invitation)
        for press in service.presses:
            while self.now_ms < opened_ms + press.after_ms:
                yield
            self.stations[name].press(press.button, self.now_ms)
        if service.withdrawn_after_ms is not None:
            while self.now_ms < opened_ms + service.withdrawn_after_ms:
                yield
            self.truth.withdrawn(name, self.now_ms)
            while not self._withdrew(invitation):
                yield
        while service.intended == "nobody" and self.now_ms < opened_ms + service.seconds * 1000:
            yield
        for _ in range(8):
            yield

    def _invited(self, invitation: str, name: str, service: Service) -> bool:
        if not self.agent_up:
            return False
        try:
            if self.outbox.invitation(invitation) is None:
                window = name.split("/")[1]
                asked = Invitation(
                    invitation, window, self.moment(), service.seconds, service.case_no, service.service_number
                )
                self.outbox.open_invitation(asked, replace=True)
        except Crash:
            self._agent_down(300)
            return False
        return True

    def _withdrew(self, invitation: str) -> bool:
        if not self.agent_up:
            return False
        try:
            self.outbox.close_invitation(invitation, "withdrawn", self.moment())
        except Crash:
            self._agent_down(300)
            return False
        return True

    # ---- the agent

    def _agent(self) -> None:
        if not self.agent_up:
            self._agent_starts()
            return
        if self.now_ms < self.stalled_until_ms:
            return
        stalled, self.stalled_until_ms = self.stalled_until_ms > 0, 0
        if self.network.bad and self.rng.random() < 0.01:
            # A disk that takes seconds, a paused virtual machine: the door goes on, the cables are not looked at.
            self.stalled_until_ms = self.now_ms + self.rng.randint(100, 5000)
        for name, window in self.desks.items():
            line = self.stations[name].line
            assert isinstance(line, MemoryLine)
            if line.plugged != self.plugged[name]:
                self.plugged[name] = line.plugged
                if line.plugged:
                    line.up = bytearray()
                    line.down += window.plugged(self.moment())
                else:
                    window.unplugged("cable out", self.moment())
            data, line.up = bytes(line.up), bytearray()
            reply = window.feed(data, self.moment(), stalled) + window.tick(self.moment())
            if line.plugged:
                line.down += reply
        self._uplink()

    def _uplink(self) -> None:
        for payload in self.network.arrived("agent"):
            settled = self.outbox.settle(decode(payload, Receipt))
            assert settled is not Settled.MISMATCH, f"--seed {self.seed}"
            if settled is Settled.DELETED:
                self.sent_ms = None
        if self.sent_ms is None or self.now_ms - self.sent_ms > RESEND_MS:
            batch = self.outbox.due()
            if batch is not None:
                self.network.send("collector", encode(batch))
                self.sent_ms = self.now_ms
        if self.now_ms >= self.health_ms:
            self.health_ms = self.now_ms + HEALTH_EVERY_MS
            windows = [desk.health(self.moment()) for desk in self.desks.values()]
            backlog = self.outbox.backlog()
            self.health = encode(
                Health(self.now_ms, self.outbox.epoch, windows, backlog.records, backlog.oldest_ms, tip=backlog.tip)
            )

    def _agent_starts(self) -> None:
        if self.now_ms < self.agent_back_ms:
            return
        if self.rng.random() < 0.3:
            # Not only the program went down, the PC did.
            self.host_boot += 1
            self.booted_ms = self.now_ms - 20
        self.outbox = Outbox(self.folder / "outbox.db", AGENT, self.now_ms)
        assert self.outbox.set_aside is None, f"--seed {self.seed}: a crash damaged the outbox"
        self.desks = {
            name: Alone(name.split("/")[1], _device(name), self.outbox, self.moment()) for name in self.windows
        }
        self.plugged = dict.fromkeys(self.windows, False)
        self.sent_ms = None
        self.agent_up = True
        for station in self.stations.values():
            # What a port holds when it is opened is thrown away.
            assert isinstance(station.line, MemoryLine)
            station.line.up = bytearray()

    def _agent_down(self, for_ms: int) -> None:
        if self.agent_up:
            self.outbox.close()
        self.agent_up = False
        self.agent_back_ms = self.now_ms + for_ms

    # ---- the collector

    def _collector(self) -> None:
        if not self.collector_up:
            self._collector_starts()
            return
        if self.health is not None and self.rng.random() < 0.5:
            self.intake.note_health(AGENT, decode(self.health, Health), self.now_ms)
            self.health = None
        batches = [(AGENT, decode(payload, Batch), payload) for payload in self.network.arrived("collector")]
        for _, receipt in self.intake.take(batches, self.now_ms):
            self.network.send("agent", encode(receipt))
        due = self.delivery.next(self.now_ms, ()) or self.delivery.next_stubborn(self.now_ms, ())
        if due is not None:
            self._deliver(due)

    def _deliver(self, due: Due) -> None:
        """The forwarder's steps for one rating, with the province at hand."""
        held = self.dialect.held(due.rating, due.case)
        if held is not None:
            self.delivery.park(due, held.reason, held.detail, self.now_ms)
            return
        if not due.case_delivered:
            verdict = self._told(due, "case", CASE_PATH, self.dialect.case_request(due.case, self.now_ms))
            if not isinstance(verdict, Accepted):
                return
        request = self.dialect.rating_request([(due.rating, due.case)], self.now_ms)
        self._told(due, "rating", RATING_PATH, request)

    def _told(self, due: Due, what: Any, path: str, request: Request) -> Verdict:
        attempt = self.delivery.begin(due, what, self.now_ms)
        answer = self.province.answer(path, request.headers, request.body, self.now_ms)
        verdict: Verdict = Unavailable("drop")
        if not answer.drop:
            [verdict] = self.dialect.verdicts(Answer(answer.status, answer.body), [(due.rating, due.case)])
        self.delivery.end(due, what, attempt, verdict, self.now_ms)
        return verdict

    def _collector_starts(self) -> None:
        if self.now_ms < self.collector_back_ms:
            return
        self.store = Store(self.folder / "ledger.db", sole=True)
        self.collector_up = True
        self.intake = Intake(self.store, directory(), VAULT)
        self.delivery = Delivery(self.store, VAULT)
        self.intake.cure(self.now_ms)

    def _collector_down(self, for_ms: int) -> None:
        if self.collector_up:
            rng, CrashingConnection.rng = CrashingConnection.rng, None  # what is gone does not die again
            self.store.close()
            CrashingConnection.rng = rng
        self.collector_up = False
        self.collector_back_ms = self.now_ms + for_ms

    # ---- the verdict

    def mistakes(self) -> list[str]:
        """Everything that breaks the promise, with the seed that replays it."""
        held: dict[tuple[str, int], list[int]] = {}
        for row in self.accepted:
            if row["kind"] == "rating":
                service = (row["projectNo"], int(row["serviceNumber"]))
                held.setdefault(service, []).append(6 - int(row["satisfaction"]))
        db = sqlite3.connect(self.folder / "ledger.db")
        parked = {
            (case, number): 1 + LEVELS.index(Level(level))
            for case, number, level in db.execute(
                "SELECT case_no, service_number, level FROM rating WHERE state = 'parked'"
            )
        }
        in_ledger = Counter(
            tuple(row) for row in db.execute("SELECT device, boot, count FROM press WHERE fate != 'duplicate'")
        )
        db.close()
        wrong = []
        for fate in self.truth.fates():
            service = (fate.case_no, fate.service_number)
            ratings = held.pop(service, []) or ([parked[service]] if service in parked else [])
            mistake = fate.mistake(ratings)
            wrong += [f"{mistake} {fate}"] if mistake else []
        wrong += [f"invented at the province: {service}" for service in held]
        pressed, thanked = self.truth.pressed(), self.truth.thanked()
        wrong += [f"lost: thanked, not in the ledger: {press}" for press in thanked if press not in in_ledger]
        wrong += [f"invented in the ledger: {press}" for press in in_ledger if press not in pressed]
        wrong += [f"doubled in the ledger: {press}" for press, times in in_ledger.items() if times > 1]
        wrong += [*self.unexplained, *self._not_balanced(len(pressed))]
        found = audit.verify(self.folder / "ledger.db")
        wrong += [str(finding) for finding in found.findings]
        wrong += [f"{found.gaps} gaps"] if found.gaps else []
        return [f"--seed {self.seed}: {mistake}" for mistake in wrong]

    def _not_balanced(self, pressed: int) -> Iterator[str]:
        """What does not add up in the end, and where the device's count is not the truth."""
        store = Store(self.folder / "ledger.db")
        found = balance(Days(store), directory(), self.now_ms)
        store.close()
        if found["unexplained"]:
            yield f"unexplained in the end: {found['days']} {found['agents']}"
        if found["bad"]["received"] != sum(found["bad"][key] for key in ("accepted", "parked", "waiting")):
            yield f"bad ratings do not add up: {found['bad']}"
        reasons = found["total"]["differences"]["device_records"]
        if set(reasons) - {"duplicate", "device_rebooted"}:
            yield f"on its way, or lost, in a run where nothing is: {reasons}"
        if found["total"]["device"] > pressed:
            yield f"invented: devices counted {found['total']['device']} of {pressed}"

    def _station(self, name: str) -> Station:
        panel = HousePanel(_device(name), 1, START_MS)
        return PressableStation(name, panel, MemoryLine(), Faults.parse(LINE_FAULTS), self.seed)


class PressableStation(Station):
    """A station with a finger at hand."""

    def press(self, button: int, now_ms: int) -> None:
        self.plan(finger(button, now_ms, self.faults, self.rng))


def directory() -> Directory:
    """Both windows, placed and with their keys."""
    places = {
        (AGENT, window): Place(AGENT, window, "hall", f"10{window}", _device(window), "window_keypad", False)
        for window in WINDOWS
    }
    keys = {_device(window): {button: Key(level) for button, level in enumerate(LEVELS, 1)} for window in WINDOWS}
    return Directory(places, keys)


def _device(window: str) -> str:
    return f"D000{window[-1]}"


def _province(seed: int) -> Province:
    if not _KEYS:
        pair = sm2.generate()
        _KEYS.append(Keys(pair.private_hex, pair.public_hex, "hall", "word"))
    return txnbody(_KEYS[0], misbehaviour=misbehaviour(seed, PROVINCE_FAULTS))


def _dialect() -> TxnBody:
    return TxnBody(
        TxnBodySettings(
            case_url="http://p/hcp/case",
            offline_rating_url="http://p/hcp/offline-rating",
            app_mark=_KEYS[0].app_mark,
            app_word=_KEYS[0].app_word,
            public_key=_KEYS[0].public_hex,
            data_source="165",
        )
    )


def as_json(world: World) -> str:
    """What is left of a run, for a failure message."""
    return json.dumps(world.crashed)
