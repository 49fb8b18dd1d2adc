"""A life of the outbox, one of the details beside it, and one of the ledger: what was promised when, and whether what
a cut leaves keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from collector.ledger import audit, mend
from collector.ledger.intake import Intake
from collector.ledger.store import Store
from edge_agent.details import CaseDetails
from edge_agent.outbox import Outbox, Settled, rows
from edge_agent.outbox import file as outbox_file
from protocols.cases import about_case, decode_case
from protocols.messages import Receipt, Taken
from protocols.ratings import Case, Invitation, Moment, Press, PressId
from tests.collector.agents import Agent, closing, press
from tests.collector.ledgers import KEY, VAULT, directory_of, window

NOW_MS = 1_790_000_000_000
AGENT = "hall-pc-1"
WINDOWS = ("1", "2", "3")


@dataclass
class OutboxLife:
    """Presses, invitations and receipts as they come; now and then the program is started anew."""

    seed: int
    folder: Path
    steps: int = 400
    settles: float = 1
    """How often it is receipted, as others are of weight 10."""
    bodies: dict[int, bytes] = field(default_factory=dict)
    """Every record ever written, by its number."""
    tip: int = 0
    """The last record that somebody was promised."""
    settled: int = 0
    """The last record that the outbox may have let go of."""

    name = "outbox.db"

    def __post_init__(self) -> None:
        self.rng = Random(f"{self.seed}/outbox")
        self.at_ms = 0
        self.counts = dict.fromkeys(WINDOWS, 0)

    def live(self) -> Iterator[None]:
        """One step at a time; after each, `tip` is what was promised."""
        box = self._opened()
        yield
        for number in range(self.steps):
            self.at_ms += self.rng.randint(10, 5_000)
            window = self.rng.choice(WINDOWS)
            match self.rng.choices(("press", "open", "settle", "restart", "night"), (6, 3, self.settles, 0.05, 0.1))[0]:
                case "press":
                    self._press(box, window)
                case "open":
                    case_no = f"case-{number}" if self.rng.random() < 0.8 else None
                    box.open_invitation(Invitation(f"i-{number}", window, self._now(), 30, case_no), replace=True)
                case "settle":
                    self._settle(box)
                case "restart":
                    box.close()
                    box = self._opened()
                case "night":
                    self.at_ms += 86_400_000
            box.tidy()  # as the uplink does after each of its turns
            self._remember(box)
            yield
        box.close()
        yield

    def start(self, left: Path) -> None:
        """As the program does after the power came back."""
        assert not outbox_file.damage(left / self.name, AGENT)
        Outbox(left / self.name, AGENT, NOW_MS).close()

    def check(self, left: Path, promised: int, possible: int, settled: int) -> str:
        """What is wrong with the file in this folder, where so much was promised and so much may be there; '' if all
        is well."""
        before = outbox_file.damage(left / self.name, AGENT)
        if before:
            return f"taken for damaged: {before}"
        box = Outbox(left / self.name, AGENT, NOW_MS)
        try:
            return self._wrong(box, promised, possible, settled)
        finally:
            box.close()

    def _wrong(self, box: Outbox, promised: int, possible: int, settled: int) -> str:
        tip, done = box.tip()[0], box.tip()[0] - box.backlog().records
        if not promised <= tip <= possible:
            return f"last record is {tip}, {promised} were promised and {possible} written"
        if done > settled:
            return f"let go of {done}, {settled} were receipted"
        if box.first_break() is not None:
            return f"chain broken at {box.first_break()}"
        found = {record["seq"]: record["body"].encode() for record in box.records()}
        if found != {seq: self.bodies[seq] for seq in range(done + 1, tip + 1)}:
            return "other records than were written"
        if box._value("PRAGMA integrity_check") != "ok":
            return "not whole"
        if box.keep("9", ("house", 1), [Press(PressId("D9", 1, 1), 3, 0, b"$")], self._now()) != 1:
            return "takes no press"
        return ""

    def _opened(self) -> Outbox:
        return Outbox(self.folder / self.name, AGENT, NOW_MS + self.at_ms)

    def _now(self) -> Moment:
        return Moment(NOW_MS + self.at_ms, 50_000 + self.at_ms, "pc-1", True)

    def _press(self, box: Outbox, window: str) -> None:
        several = self.rng.choice((1, 1, 1, 3))
        presses = []
        for _ in range(several):
            self.counts[window] += 1
            raw = self.rng.randbytes(self.rng.choice((20, 60, 900)))
            id = PressId(f"D{window}", 1, self.counts[window])
            presses.append(Press(id, self.rng.randint(1, 5), self.rng.randint(0, 400), raw))
        box.keep(window, ("house", 1), presses, self._now())

    def _settle(self, box: Outbox) -> None:
        batch = box.due()
        if batch is not None:
            last = batch.first + len(batch.records) - 1
            self.settled = last
            assert box.settle(Receipt(batch.epoch, last, batch.head)) is Settled.DELETED

    def _remember(self, box: Outbox) -> None:
        self.tip = box.tip()[0]
        new = box._db.execute("SELECT seq, body, sum FROM record WHERE seq > ?", (max(self.bodies, default=0),))
        self.bodies.update((row["seq"], rows.unpacked(*row) or b"") for row in new)


@dataclass
class LedgerLife:
    """Batches of three agents, some of them twice; now and then the program is started anew."""

    seed: int
    folder: Path
    steps: int = 150

    name = "ledger.db"

    def __post_init__(self) -> None:
        self.rng = Random(f"{self.seed}/ledger")
        self.agents = [Agent(f"hall-{name}", f"00000000-0000-4000-8000-00000000000{name}") for name in "123"]
        self.tips = (0, 0, 0)
        """How many records of each agent were receipted."""
        self.settled = (0, 0, 0)
        self.directory = directory_of(*(window(f"hall-{name}", "w1", f"D{name}") for name in "123"))

    @property
    def tip(self) -> tuple[int, ...]:
        return self.tips

    def live(self) -> Iterator[None]:
        """One step at a time; after each, `tip` is what was receipted."""
        store, intake = self._opened()
        yield
        for number in range(self.steps):
            sent = []
            for which in self.rng.sample(range(3), self.rng.randint(1, 3)):
                agent = self.agents[which]
                for each in range(self.rng.choice((1, 2, 30))):
                    id = f"{which}-{number}-{each}"
                    device = f"D{which + 1}"
                    count = len(agent.bodies) + 1
                    agent.write(press(count, id, device=device), closing(id, f"C{id}"))
                first = self.tips[which] + 1 if self.rng.random() < 0.8 else self.rng.randint(1, self.tips[which] + 1)
                sent += agent.sent(agent.batch(first, len(agent.bodies)))
            for name, receipt in intake.take(sent, NOW_MS + number):
                which = int(name[-1]) - 1
                self.tips = tuple(receipt.upto if at == which else tip for at, tip in enumerate(self.tips))
            if self.rng.random() < 0.05:
                store.close()
                store, intake = self._opened()
            yield
        store.close()
        yield

    def start(self, left: Path) -> None:
        """As the program does after the power came back."""
        Store(left / self.name, sole=True).close()

    def check(self, left: Path, promised: tuple[int, ...], possible: tuple[int, ...], _settled: object) -> str:
        """What is wrong with the file in this folder; '' if all is well."""
        looked = mend.ready(left / self.name, NOW_MS)
        if looked.mended or looked.doubtful:
            return f"taken for damaged: {looked}"
        store = Store(left / self.name, sole=True)
        try:
            held = {row["agent"]: row["upto"] for row in store.rows("SELECT agent, upto FROM epoch")}
            bodies = [
                (row["agent"], row["seq"], row["body"])
                for row in store.rows("SELECT agent, seq, body FROM record JOIN epoch ON epoch.id = epoch_id")
            ]
            if store.row("PRAGMA integrity_check")[0] != "ok":
                return "not whole"
        finally:
            store.close()
        for agent, least, most in zip(self.agents, promised, possible, strict=True):
            if not least <= held.get(agent.name, 0) <= most:
                return f"{agent.name}: holds {held.get(agent.name, 0)}, {least} were receipted and {most} sent"
        if len(bodies) != sum(held.values()):
            return "records missing"
        by_name = {agent.name: agent for agent in self.agents}
        if any(by_name[name].bodies[seq - 1] != body for name, seq, body in bodies):
            return "other records than were sent"
        found = audit.verify(left / self.name).findings
        return f"{found[0]}" if found else ""

    def _opened(self) -> tuple[Store, Intake]:
        store = Store(self.folder / self.name, sole=True)
        store.log_frames = 200  # so that a short life has its log moved several times
        return store, Intake(store, self.directory, VAULT)


@dataclass
class DetailsLife:
    """Details of cases handed in, sent and taken; now and then the program is started anew."""

    seed: int
    folder: Path
    steps: int = 150
    tip: int = 0
    """The last case that somebody was promised."""
    settled: int = 0
    """The last one that the collector has."""

    name = "outbox.db.details"

    def __post_init__(self) -> None:
        self.rng = Random(f"{self.seed}/details")

    def live(self) -> Iterator[None]:
        """One step at a time; after each, `tip` is what was promised."""
        details = self._opened(self.folder)
        yield
        for number in range(self.steps):
            moment = Moment(NOW_MS + number, 50_000 + number, "pc-1", True)
            match self.rng.choices(("keep", "take", "restart"), (6, 2, 0.3))[0]:
                case "keep":
                    details.keep(self._case(self.tip + 1), moment.wall_ms)
                    self.tip += 1
                case "take":
                    due = details.due(moment, 0)
                    if due is not None:
                        taken = due.cases[: self.rng.randint(1, len(due.cases))]
                        self.settled = int(taken[-1].case_no)
                        details.answered(Taken([each.digest for each in taken]), moment)
                case "restart":
                    details.close()
                    details = self._opened(self.folder)
            yield
        details.close()
        yield

    def start(self, left: Path) -> None:
        """As the program does after the power came back."""
        self._opened(left).close()

    def check(self, left: Path, promised: int, possible: int, settled: int) -> str:
        """What is wrong with the file in this folder; '' if all is well."""
        details = self._opened(left)
        try:
            moment, found = Moment(NOW_MS, 50_000, "pc-1", True), []
            while (due := details.due(moment, 0)) is not None:
                found += [(int(each.case_no), KEY.open(each.sealed, about_case(each.case_no, 1))) for each in due.cases]
                details.answered(Taken([each.digest for each in due.cases]), moment)
            if details.alarm:
                return details.alarm
        finally:
            details.close()
        numbers = [number for number, _ in found]
        missing = set(range(settled + 1, promised + 1)) - set(numbers)
        if missing or numbers != sorted(set(numbers)) or not set(numbers) <= set(range(1, possible + 1)):
            return f"holds {numbers}, {settled + 1} to {promised} were promised and {possible} written"
        return "" if all(decode_case(text) == self._case(number) for number, text in found) else "other details"

    def _case(self, number: int) -> Case:
        return Case(str(number), case_name="x" * Random(number).choice((5, 300, 2_000)))

    def _opened(self, folder: Path) -> CaseDetails:
        return CaseDetails(folder / self.name, KEY.public, NOW_MS)
