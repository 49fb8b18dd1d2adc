"""Halls whose truth is known: what is pressed, kept, lost and answered by seed, over a real ledger."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from collector.ledger.tally import day_of, day_text
from protocols.messages import Health, PressRecord, Record, SalvageRecord, WindowHealth, decode_record
from protocols.ratings import Accepted, Refused, Unavailable, Verdict
from tests.collector.agents import NOW_MS, Agent, closing, press
from tests.collector.ledgers import Ledger, case, directory_of, window

DAY_MS = 86_400_000
HALL = directory_of(
    window(),
    window(window="w2", device="D2"),
    window(window="w3", device="D3"),
    window(window="w4", device="D4", keys="{}"),
)
DEVICES = {"w1": ("D1", "house"), "w2": ("D2", "house"), "w3": ("D3", "key-byte"), "w4": ("D4", "house")}


class FakeProvince:
    """Says what its dice say."""

    def __init__(self, dice: Random):
        self.dice = dice

    def verdict(self) -> Verdict:
        unknown = Refused("无此件", case_unknown=True)
        answers = [
            Accepted(),
            Accepted(),
            Accepted(duplicate=True),
            Refused("不行"),
            *[unknown] * 3,
            Unavailable("503"),
        ]
        return self.dice.choice(answers)


@dataclass
class Device:
    """What a counting device is: starts, presses of this start, and those that it has not been thanked for."""

    name: str
    window: str
    profile: str
    boot: int = 1
    count: int = 0
    held: list[PressRecord] = field(default_factory=list)

    @property
    def counts(self) -> bool:
        return self.profile == "house"


class Hall:
    """One agent with four windows. Every step of `live` is one event."""

    def __init__(self, ledger: Ledger, seed: int):
        self.ledger, self.dice = ledger, Random(f"{seed}/hall")
        self.province = FakeProvince(self.dice)
        self.agent = Agent("hall-a", f"00000000-0000-4000-8000-{seed:06}000000")
        self.seed, self.epochs, self.number = seed, 0, 0
        self.devices = {name: Device(device, name, profile) for name, (device, profile) in DEVICES.items()}
        self.devices["w4"].count = 5  # pressed before anybody listened
        self.devices["w9"] = Device("D9", "w9", "screen")  # in no directory
        self.done = 0
        """Records that the agent knows to be in the ledger."""
        self.now_ms = NOW_MS
        self.wrong_ms = 0
        """How wrong the agent's clock is."""

    def live(self, steps: int) -> None:
        events = [
            *[self.pressed] * 8,
            *[self.thanked] * 8,
            *[self.sent] * 3,
            *[self.said] * 3,
            *[self.case_posted] * 3,
            *[self.asked] * 5,
            self.rebooted,
            self.counters_lost,
            self.newer,
            self.night,
            self.set_clock,
            self.sent_twice,
            self.backup_restored,
            self.damaged,
            self.wiped,
        ]
        for _ in range(steps):
            self.dice.choice(events)()

    # ---- the device and its agent

    def pressed(self) -> None:
        device = self.dice.choice(list(self.devices.values()))
        device.count += 1
        self.number += 1
        self.now_ms += self.dice.randrange(100, 60_000)
        at_ms = self.now_ms + self.wrong_ms
        invitation = self.dice.choice([None, f"s{self.seed}i{self.dice.randrange(1, INVITATIONS)}"])
        device.held.append(
            press(
                device.count,
                invitation,
                window=device.window,
                device=device.name,
                boot=device.boot,
                button=self.dice.choice([1, 2, 3, 9]),
                pressed_ms=at_ms,
                profile=device.profile,
                doubt=f"d{self.number}" if invitation is None and self.dice.random() < 0.2 else "",
            )
        )
        if not device.counts:
            self.kept(device)

    def thanked(self) -> None:
        device = self.dice.choice(list(self.devices.values()))
        if device.held:
            self.kept(device)

    def kept(self, device: Device) -> None:
        record = device.held.pop(0)
        records: list[Record] = [record]
        if record.invitation and self.dice.random() < 0.8:
            case_no = self.dice.choice([None, f"S{self.seed}C{self.dice.randrange(1, CASES)}"])
            records.append(closing(record.invitation, case_no, window=device.window))
        self.agent.write(*records)

    def rebooted(self) -> None:
        device = self.dice.choice(list(self.devices.values()))
        device.boot, device.count, device.held = device.boot + 1, 0, []

    def counters_lost(self) -> None:
        device = self.dice.choice(list(self.devices.values()))
        if self.dice.random() < 0.2:
            device.boot, device.count, device.held = 1, 0, []

    def newer(self) -> None:
        """A press of a kind that only a newer collector knows."""
        device = self.devices["w1"]
        if not device.held and self.dice.random() < 0.3:
            device.count += 1
            self.agent.write(b'{"kind":"press","number":%d}' % self.dice.randrange(10**9))

    def night(self) -> None:
        self.now_ms += DAY_MS // 3

    def set_clock(self) -> None:
        self.wrong_ms = self.dice.choice([0, 0, -self.now_ms + 1000, -DAY_MS, DAY_MS * 400])

    # ---- agent and ledger

    def sent(self) -> None:
        first, last = self.done + 1, len(self.agent.bodies)
        if first <= last:
            last = self.dice.randrange(first, last + 1)
            receipt = self.ledger.take(self.agent, self.agent.batch(first, last), self.now_ms)
            if self.dice.random() < 0.8:  # or the receipt is lost
                self.done = receipt.upto

    def sent_twice(self) -> None:
        if self.done:
            first = self.dice.randrange(1, self.done + 1)
            self.ledger.take(self.agent, self.agent.batch(first, self.done), self.now_ms)

    def said(self) -> None:
        waiting = self.waiting()
        windows = [
            WindowHealth(
                each.window,
                "ready",
                device=each.name if each.counts else "",
                boot=each.boot if each.counts else 0,
                count=each.count if each.counts else 0,
                thanked=each.count if each.counts and not each.held else None,
                waiting=waiting[each.window],
            )
            for each in self.devices.values()
        ]
        tip = len(self.agent.bodies)
        health = Health(self.now_ms + self.wrong_ms, self.agent.epoch, windows, tip - self.done, self.now_ms, tip=tip)
        self.ledger.intake.note_health("hall-a", health, self.now_ms)

    def waiting(self) -> Counter[str]:
        """Presses by window that the agent holds, also those that only a newer collector can read."""
        bodies = self.agent.bodies[self.done :]
        records = [decode_record(body) for body in bodies if not is_newer(body)]
        found = Counter(record.window for record in records if isinstance(record, PressRecord))
        return found + Counter({"w1": len(bodies) - len(records)})

    def held(self) -> int:
        row = self.ledger.store.row("SELECT upto FROM epoch WHERE epoch = ?", (self.agent.epoch,))
        return row["upto"] if row else 0

    def backup_restored(self) -> None:
        """The ledger lacks some that the agent has let go of: all that it knows is that it has nothing older."""
        held, tip = self.held(), len(self.agent.bodies)
        if tip - held >= 2 and self.dice.random() < 0.3:
            first = self.dice.randrange(held + 2, tip + 1)
            self.done = self.ledger.take(self.agent, self.agent.batch(first, tip), self.now_ms).upto

    def damaged(self) -> None:
        """A file is set aside; what can be read of it goes on in the next, behind the word of what cannot."""
        self.said()
        old, done, tip = self.agent, self.done, len(self.agent.bodies)
        lost = {seq for seq in range(done + 1, tip + 1) if self.dice.random() < 0.3}
        self.new_outbox()
        said = SalvageRecord(old.epoch, done + 1, tip, [(seq, seq) for seq in sorted(lost)], self.now_ms, "f")
        self.agent.write(said, *[old.bodies[seq - 1] for seq in range(done + 1, tip + 1) if seq not in lost])
        self.said()

    def wiped(self) -> None:
        """Somebody put a new disk in."""
        self.said()
        self.new_outbox()
        self.said()

    def new_outbox(self) -> None:
        self.epochs += 1
        self.agent, self.done = Agent("hall-a", f"00000000-0000-4000-8000-{self.seed:06}{self.epochs:06}"), 0

    # ---- ledger and province

    def case_posted(self) -> None:
        self.ledger.intake.take_cases([case(f"S{self.seed}C{self.dice.randrange(1, CASES)}")], self.now_ms)

    def asked(self) -> None:
        due = self.ledger.delivery.next(self.now_ms, ()) or self.ledger.delivery.next_stubborn(self.now_ms, ())
        if due is None:
            return
        if self.dice.random() < 0.2:
            self.ledger.delivery.park(due, self.dice.choice(HELD), "", self.now_ms)
            if self.dice.random() < 0.2:
                self.ledger.desk.give_up(due.id, "李敏", "查无此人", self.now_ms)
            elif self.dice.random() < 0.2:
                self.ledger.desk.send_again(due.id, "李敏", "再试", True, self.now_ms)
            return
        what = "rating" if due.case_delivered or self.dice.random() < 0.5 else "case"
        attempt = self.ledger.delivery.begin(due, what, self.now_ms)
        self.ledger.delivery.end(due, what, attempt, self.province.verdict(), self.now_ms)


INVITATIONS, CASES = 160, 120
HELD = ("lacking", "item_not_mapped", "own_item", "bad_without_reason", "before_service", "locked")


def is_newer(body: bytes) -> bool:
    return body.startswith(b'{"kind":"press","number"')


def by_day(ledger: Ledger) -> dict[tuple[str, str], int]:
    """Press records by day and window, counted from the chains' own bytes."""
    found: Counter[tuple[str, str]] = Counter()
    for body in ledger.records():
        if not is_newer(body) and isinstance(record := decode_record(body), PressRecord):
            found[day_text(day_of(record.pressed_ms)), record.window] += 1
    return dict(found)
