"""A ledger of any size: the file that the intake and the forwarder would have written, several times faster.

`python -m tests.bench.ledgers FILE --records 10000000`. `by_parts` writes the same through the collector's own parts:
tests/collector/test_bench_ledgers.py holds the two against each other, table by table.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path

import click
import msgspec

from collector import directory as directories
from collector.ledger import rows as ledger_rows
from collector.ledger import tally
from collector.ledger.delivery import Delivery
from collector.ledger.intake import Intake
from collector.ledger.store import Store
from edge_agent.outbox.invitations import new_id
from firmware_sim import fleet
from protocols import chain
from protocols.messages import ClosingRecord, PressRecord, batch_of, encode, encode_record
from protocols.ratings import Accepted, Case, Level
from tests.collector.ledgers import VAULT

START_MS = 1_780_000_000_000
WINDOWS = 100
_TOGETHER = 20_000  # stretches whose rows go into the file at once


@dataclass(frozen=True)
class Stretch:
    """What one agent sends at once: records and what each of them is, `(case_no, button)` of those rated, and when."""

    agent: int
    bodies: list[bytes]
    records: list[PressRecord | ClosingRecord]
    fates: list[str]
    at_ms: int


def names() -> list[str]:
    return [f"hall-{number:03}" for number in range(1, WINDOWS + 1)]


def epochs(seed: int) -> list[str]:
    chance = random.Random(f"epochs {seed}")
    return [_uuid(chance) for _ in range(WINDOWS)]


def stretches(records: int, seed: int) -> Iterator[Stretch]:
    """About so many records: a press and its closing at a time, now and then a hundred that had waited.

    One service in fifty has a second press, and there is one press in fifty that nobody asked for.
    """
    chance = random.Random(seed)
    boot = _uuid(chance)
    counts = [0] * WINDOWS
    now_ms, made, number = START_MS, 0, 0
    while made < records:
        number += 1
        now_ms += 250
        agent = chance.randrange(WINDOWS)
        kept: list[PressRecord | ClosingRecord] = []
        fates: list[str] = []
        for service in range(50 if number % 100 == 0 else 1):
            at_ms = now_ms + service
            counts[agent] += 1
            invitation, odd = new_id(at_ms - 5000, chance.getrandbits), chance.randrange(50)
            kept.append(_press(agent, counts[agent], 1 + chance.randrange(5), at_ms, invitation, boot))
            fates.append("rated")
            if odd < 2:
                counts[agent] += 1
                kept.append(_press(agent, counts[agent], 1, at_ms + 1, invitation if odd else None, boot))
                fates.append("repeat" if odd else "unsolicited")
            kept.append(_closing(agent, at_ms, invitation, f"C{made + len(kept):09}", boot))
            fates.append("")
        made += len(kept)
        yield Stretch(agent, [encode_record(each) for each in kept], kept, fates, now_ms + 1000)


def _press(agent: int, count: int, button: int, at_ms: int, invitation: str | None, boot: str) -> PressRecord:
    return PressRecord(
        window="1",
        device=fleet.device_of(agent + 1),
        boot=1,
        count=count,
        button=button,
        pressed_ms=at_ms,
        kept_ms=at_ms + 3,
        mono_ms=at_ms - START_MS,
        host_boot=boot,
        profile="house",
        profile_version=1,
        raw=f"{count:064x}",
        synced=True,
        invitation=invitation,
    )


def _closing(agent: int, at_ms: int, invitation: str, case_no: str, boot: str) -> ClosingRecord:
    return ClosingRecord(
        window="1",
        invitation=invitation,
        outcome="answered",
        opened_ms=at_ms - 5000,
        deadline_ms=at_ms + 25_000,
        closed_ms=at_ms + 3,
        mono_ms=at_ms - START_MS,
        host_boot=boot,
        case_no=case_no,
        synced=True,
    )


def _uuid(chance: random.Random) -> str:
    text = f"{chance.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _case(case_no: str) -> Case:
    return Case(case_no, service_name="业务办结", status="accepted")


# ---- by the collector's own parts


def by_parts(path: Path, records: int, seed: int) -> None:
    """Every stretch a batch through the intake, every case known before, every rating accepted at once."""
    store = Store(path)
    intake = Intake(store, directories.read(fleet.directory(names()).encode(), "directory.toml"), VAULT)
    delivery = Delivery(store, VAULT)
    heads = [chain.genesis(name, epoch) for name, epoch in zip(names(), epochs(seed), strict=True)]
    seqs = [0] * WINDOWS
    for stretch in stretches(records, seed):
        at = stretch.agent
        after = chain.heads(heads[at], stretch.bodies)[-1]
        batch = batch_of(epochs(seed)[at], seqs[at] + 1, heads[at], after, stretch.bodies, 1)
        heads[at], seqs[at] = after, seqs[at] + len(stretch.bodies)
        cases = [_case(each.case_no or "") for each in stretch.records if isinstance(each, ClosingRecord)]
        intake.take_cases(cases, stretch.at_ms)
        intake.take([(names()[at], batch, encode(batch))], stretch.at_ms)
        while due := delivery.next(stretch.at_ms, ()):
            for what in ("case", "rating"):
                delivery.end(due, what, delivery.begin(due, what, stretch.at_ms), Accepted(), stretch.at_ms)
    store.close()


# ---- by hand


_INSERTS = {
    "record": "INSERT INTO record(epoch_id, seq, body, hash, received_ms) VALUES (?,?,?,?,?)",
    "stretch": "INSERT INTO stretch(epoch_id, first, upto, head, at_ms, hash) VALUES (?,?,?,?,?,?)",
    "closing": "INSERT INTO closing(invitation, epoch_id, seq, agent, window, outcome, closed_ms)"
    " VALUES (?,?,?,?,'1','answered',?)",
    "press": "INSERT INTO press(epoch_id, seq, agent, window, device, boot, count, invitation, pressed_ms, fate)"
    " VALUES (?,?,?,'1',?,1,?,?,?,?)",
    "rating": "INSERT INTO rating(press, once, level, bad, device, boot, count, hall, number, agent, window,"
    " pressed_ms, channel, invitation, case_no, service_number, state, next_ms, key_map, made_ms, settled_ms)"
    " VALUES (?,?,?,?,?,1,?,'负载 load',?,?,'1',?,'window_keypad',?,?,1,'accepted',?,?,?,?)",
    "service_case": "INSERT INTO service_case(case_no, service_number, body, received_ms, delivered_ms)"
    " VALUES (?,1,?,?,?)",
    "attempt": "INSERT INTO attempt(rating, what, at_ms, verdict) VALUES (?,?,?,'accepted')",
}


def by_hand(path: Path, records: int, seed: int) -> None:
    """The same rows, many at once and without waiting for the disk."""
    Store(path).close()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA journal_mode = OFF")
    db.execute("PRAGMA cache_size = -2000000")
    hand = _Hand(seed)
    source = stretches(records, seed)
    began_s = time.monotonic()
    while some := list(islice(source, _TOGETHER)):
        rows = hand.rows(some)
        db.execute("BEGIN")
        # The epoch and the key map of an agent that is new here come first, as with the intake.
        db.executemany("INSERT INTO epoch VALUES (?,?,?,0,x'',?,?)", hand.new_epochs)
        db.executemany("INSERT INTO key_map VALUES (?,?,?,?)", hand.new_maps)
        for table, values in rows.items():
            db.executemany(_INSERTS[table], values)
        db.execute("COMMIT")
        if sys.stderr.isatty():
            left_s = (time.monotonic() - began_s) * (records / hand.made - 1)
            print(f"\r{hand.made:,} · 还剩约 about {left_s:.0f} s left\x1b[K", end="", file=sys.stderr, flush=True)
    db.executemany("UPDATE epoch SET upto = ?, head = ?, last_ms = ? WHERE id = ?", hand.ends())
    counts = "INSERT INTO device_count(agent, window, device, boot, count, met) VALUES (?,'1',?,1,?,0)"
    db.executemany(counts, hand.counts())
    for statement in tally.TAKEN_OVER:
        db.execute(statement)
    db.create_function("rating_sum", -1, lambda *said: ledger_rows.rating_sum(said))
    db.create_function("case_sum", 4, ledger_rows.case_sum)
    db.execute(f"UPDATE rating SET sum = rating_sum({', '.join(ledger_rows.RATING)})")
    db.execute("UPDATE service_case SET sum = case_sum(case_no, service_number, body, received_ms)")
    db.execute("PRAGMA journal_mode = WAL")
    db.close()


class _Hand:
    """What each stretch becomes, with the numbers that SQLite would give."""

    def __init__(self, seed: int):
        self._epochs = epochs(seed)
        self._names = names()
        self._ids: dict[int, int] = {}
        self._maps: dict[int, int] = {}
        self._heads = [chain.genesis(name, epoch) for name, epoch in zip(self._names, self._epochs, strict=True)]
        self._seqs = [0] * WINDOWS
        self._last_ms = [0] * WINDOWS
        self._counts = [0] * WINDOWS
        self._ledger = chain.LEDGER
        self._presses = self._ratings = self.made = 0
        self.new_epochs: list[tuple] = []
        self.new_maps: list[tuple] = []
        levels = {str(button): level.value for button, level in enumerate(_levels(), 1)}
        self._keys = msgspec.json.encode(levels)
        self._levels = list(levels.values())

    def rows(self, some: list[Stretch]) -> dict[str, list[tuple]]:
        """The rows of these stretches, by table."""
        self.new_epochs, self.new_maps = [], []
        rows: dict[str, list[tuple]] = {table: [] for table in _INSERTS}
        for stretch in some:
            self._stretch(stretch, rows)
            self.made += len(stretch.bodies)
        return rows

    def _stretch(self, stretch: Stretch, rows: dict[str, list[tuple]]) -> None:
        at, at_ms = stretch.agent, stretch.at_ms
        name, device, epoch = self._names[at], fleet.device_of(at + 1), self._epochs[at]
        if at not in self._ids:
            self._ids[at] = len(self._ids) + 1
            self.new_epochs.append((self._ids[at], name, epoch, at_ms, at_ms))
        epoch_id, head, before = self._ids[at], self._heads[at], self._seqs[at]
        for seq, body in enumerate(stretch.bodies, before + 1):
            head = sha256(head + body).digest()
            rows["record"].append((epoch_id, seq, body, head, at_ms))
        upto = before + len(stretch.bodies)
        self._heads[at], self._seqs[at], self._last_ms[at] = head, upto, at_ms
        self._ledger = chain.stretch(self._ledger, epoch, before + 1, upto, head, at_ms)
        rows["stretch"].append((epoch_id, before + 1, upto, head, at_ms, self._ledger))
        cases = {each.invitation: each for each in stretch.records if isinstance(each, ClosingRecord)}
        made: list[tuple[bool, int, str]] = []
        for seq, record, fate in zip(range(before + 1, upto + 1), stretch.records, stretch.fates, strict=True):
            if isinstance(record, ClosingRecord):
                rows["closing"].append((record.invitation, epoch_id, seq, name, record.closed_ms))
                rows["service_case"].append((record.case_no, VAULT.hide(_case(record.case_no or "")), at_ms, at_ms))
                continue
            self._presses += 1
            self._counts[at] = record.count
            rows["press"].append(
                (epoch_id, seq, name, device, record.count, record.invitation, record.pressed_ms, fate)
            )
            if fate == "rated":
                made.append(self._rate(record, cases[record.invitation or ""], at, at_ms, rows))
        for _, rating in sorted((not bad, rating) for bad, rating, _ in made):
            rows["attempt"] += [(rating, "case", at_ms), (rating, "rating", at_ms)]

    def _rate(
        self, press: PressRecord, closing: ClosingRecord, at: int, at_ms: int, rows: dict[str, list[tuple]]
    ) -> tuple[bool, int, str]:
        if at not in self._maps:
            self._maps[at] = len(self._maps) + 1
            self.new_maps.append((self._maps[at], press.device, at_ms, self._keys))
        self._ratings += 1
        level = self._levels[press.button - 1]
        bad = Level(level).bad
        rows["rating"].append(
            (
                self._presses, press.invitation, level, bad, press.device, press.count, str(at + 1), self._names[at],
                press.pressed_ms, press.invitation, closing.case_no, at_ms, self._maps[at], at_ms, at_ms,
            )
        )  # fmt: skip
        return bad, self._ratings, level

    def ends(self) -> list[tuple]:
        """The last record of each epoch, its head and its time."""
        return [(self._seqs[at], self._heads[at], self._last_ms[at], number) for at, number in self._ids.items()]

    def counts(self) -> list[tuple]:
        return [(self._names[at], fleet.device_of(at + 1), self._counts[at]) for at in self._ids]


def _levels() -> list[Level]:
    known = directories.read(fleet.directory(["x"]).encode(), "directory.toml").keys[fleet.device_of(1)]
    return [known[button].level for button in sorted(known)]


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--records", default=300_000, show_default=True, type=click.IntRange(1), help="多少条 / how many")
@click.option("--seed", default=7, show_default=True, help="随机种子 / seed")
def main(file: Path, records: int, seed: int) -> None:
    """写一个大账本, 供实测 / write a large ledger to measure with."""
    by_hand(file, records, seed)


if __name__ == "__main__":
    main()
