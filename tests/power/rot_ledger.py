"""A disk turns a bit round, anywhere in a ledger or its log: noticed, turned back, the damaged file set aside whole,
and the program starts by itself. Nothing altered is ever sent, nothing is lost, what is sent twice has its own name.

`python -m tests.power.rot_ledger --flips 10000` from the project's folder; a failure is said with what replays it.
With `--beside` the ledger is too large to be looked into before the start: everything goes on meanwhile, until the look
beside it or the work itself meets the damage.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing as closing_of
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from collector.ledger import audit, mend
from collector.ledger.delivery import Delivery, Due
from collector.ledger.file import is_damage, suspect
from collector.ledger.intake import Intake
from collector.ledger.store import Store
from protocols import wal
from protocols.ratings import Accepted, Refused, Unavailable, Verdict
from tests.collector.agents import Agent, closing, press
from tests.collector.ledgers import VAULT, case, directory_of, window

NAME = "ledger.db"
PAGE = 4096
NOW_MS = 1_800_000_100_000
_LATER_MS = NOW_MS + 10_000_000
_STEPS = (30, 60)
_AGENTS = "abc"
DIRECTORY = directory_of(*(window(f"hall-{name}", "w1", f"D{name}") for name in _AGENTS))


@dataclass
class Province:
    """Whatever it is sent, by the press; who is sent again is told so. It decrypts nothing."""

    has: dict[str, Any] = field(default_factory=dict)
    altered: list[str] = field(default_factory=list)

    def told(self, due: Due) -> Accepted:
        """It takes the rating, or has it already."""
        id, said = str(due.rating.press), (due.rating, due.case)
        known = self.has.setdefault(id, said)
        if known != said:
            self.altered.append(id)
        return Accepted(duplicate=known is not said)


@dataclass(frozen=True)
class Lying:
    """A ledger as it lay on the disk when its process was killed, and what it holds."""

    files: dict[str, bytes]
    agents: list[tuple[Agent, int]]
    """With how many records each has written."""
    sent: dict[str, Any]
    """What the province has been sent by then."""
    tables: dict[str, list[Any]] = field(default_factory=dict)
    due: dict[str, Any] = field(default_factory=dict)
    """What it has when everything that waited was sent."""


@dataclass(frozen=True)
class Found:
    """What one flipped bit came to."""

    mended: bool
    wrong: str
    """What is against the promise, with what replays it; empty if nothing is."""


# ---- a life


class Life:
    """Batches of several agents, cases that come before or after, and a province that takes, refuses, or is away."""

    def __init__(self, seed: int, folder: Path):
        self.rng = Random(f"{seed}/ledger")
        self.path = folder / NAME
        self.agents = [Agent(f"hall-{name}", f"00000000-0000-4000-8000-00000000000{name}") for name in _AGENTS]
        self.province = Province()
        self.number = 0
        self.at_ms = NOW_MS

    def opened(self) -> None:
        """As the program starts."""
        self.store = Store(self.path, sole=True, now_ms=self.at_ms)
        self.intake, self.delivery = Intake(self.store, DIRECTORY, VAULT), Delivery(self.store, VAULT)

    def step(self) -> None:
        """A transaction or two."""
        self.at_ms += self.rng.randint(100, 3_000)
        agent = self.rng.choice(self.agents)
        self.intake.take(agent.sent(agent.write(*self._written(agent))), self.at_ms)
        known = range(max(1, self.number - 30), self.number + 3)
        self.intake.take_cases([case(f"C{each}") for each in self.rng.sample(known, 2)], self.at_ms)
        for _ in range(self.rng.randint(0, 3)):
            self._send()

    def _written(self, agent: Agent) -> Iterator[Any]:
        device = f"D{agent.name[-1]}"
        for _ in range(self.rng.choice((1, 1, 2, 12))):
            self.number += 1
            id, count = f"i{self.number}", self.number
            match self.rng.choice(("rated", "rated", "rated", "repeat", "unsolicited", "no case", "waiting")):
                case "rated":
                    more = {"device": device, "button": self.rng.randint(1, 3), "raw": self.rng.randbytes(30).hex()}
                    yield from (press(count, id, **more), closing(id, f"C{count}"))
                case "repeat":
                    yield from (press(count, id, device=device), closing(id, f"C{count}"))
                    yield press(100_000 + count, id, device=device)
                case "unsolicited":
                    yield press(count, device=device)
                case "no case":
                    yield from (press(count, id, device=device), closing(id))
                case "waiting":
                    yield press(count, id, device=device)

    def _send(self) -> None:
        due = self.delivery.next(self.at_ms, ()) or self.delivery.next_stubborn(self.at_ms, ())
        if due is None:
            return
        attempt = self.delivery.begin(due, "rating", self.at_ms)
        verdict: Verdict | None
        match self.rng.choice(("taken", "taken", "taken", "refused", "away", "lost", "killed")):
            case "taken":
                verdict = self.province.told(due)
            case "refused":
                verdict = Refused("不是本省办件")
            case "away":
                verdict = Unavailable("502")
            case "lost":
                self.province.told(due)
                verdict = Unavailable("no answer in time")
            case _:
                self.province.told(due)
                return  # and the program went down before it could write that down
        self.delivery.end(due, "rating", attempt, verdict, self.at_ms)


def lying(seed: int, folder: Path) -> list[Lying]:
    """A life, looked at when all of it is in the log, when half of it is, and at its end, when there is no log."""
    (folder / "life").mkdir()
    life, found = Life(seed, folder / "life"), []
    life.opened()
    for number in range(1, _STEPS[-1] + 1):
        life.step()
        if number in _STEPS:
            found.append(_lying(life))
        if number == _STEPS[0]:
            life.store.close()
            life.opened()
    life.store.close()
    found.append(_lying(life))
    return [_with_truth(each, folder / "truth") for each in found]


def _lying(life: Life) -> Lying:
    files = {each.name: each.read_bytes() for each in life.path.parent.glob(f"{NAME}*") if ".lock" not in each.name}
    files.pop(f"{NAME}-shm", None)
    return Lying(files, [(agent, len(agent.bodies)) for agent in life.agents], dict(life.province.has))


def _with_truth(was: Lying, folder: Path) -> Lying:
    """What this ledger holds and would send, by a start of which nothing is in the way."""
    _lay(was.files, folder)
    store = Store(folder / NAME, sole=True, now_ms=_LATER_MS)
    tables, province = _tables(store), Province(dict(was.sent))
    _go_on(store, was, province)
    store.close()
    assert not province.altered
    return Lying(was.files, was.agents, was.sent, tables, province.has)


def _lay(files: dict[str, bytes], folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)


def _tables(store: Store) -> dict[str, list[Any]]:
    """All that stands in the ledger, but for what is said of its mending."""
    names = [row["name"] for row in store.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
    return {
        name: sorted(map(tuple, store.rows(f"SELECT * FROM {name}")), key=repr) for name in names if name != "mending"
    }


# ---- a flip


def rotted(seed: int, flips: int, folder: Path, beside: bool = False) -> Iterator[Found]:
    """So many flips, each in a fresh copy."""
    lives = lying(seed, folder)
    for number in range(flips):
        yield _one(lives, seed, number, folder / "rot", beside)


def one(seed: int, number: int, folder: Path, beside: bool = False) -> Found:
    """That flip again."""
    return _one(lying(seed, folder), seed, number, folder / "rot", beside)


def _one(lives: list[Lying], seed: int, number: int, folder: Path, beside: bool) -> Found:
    rng = Random(f"{seed}/{number}")
    was = rng.choice(lives)
    hit = rng.choice([name for name in (NAME, f"{NAME}-wal") if was.files.get(name)])
    if rng.random() < 0.05:  # what lies beside them may be hit as well
        hit = rng.choice([name for name in was.files if was.files[name]])
    raw = bytearray(was.files[hit])
    at = rng.randrange(len(raw))
    raw[at] ^= 1 << rng.randrange(8)
    files = {**was.files, hit: bytes(raw)}
    _lay(files, folder)
    again = f"--seed {seed} --only {number}{' --beside' if beside else ''}: bit in {hit} at {at}"
    province = Province(dict(was.sent))
    try:
        if beside:
            return _beside(was, province, folder, again)
        return _started(was, province, files, hit, at, folder, again)
    except Exception as error:  # noqa: BLE001 - whatever it is: the program would not have started
        return Found(False, f"{again}: {type(error).__name__}: {error}")


def _started(
    was: Lying, province: Province, files: dict[str, bytes], hit: str, at: int, folder: Path, again: str
) -> Found:
    """The start looks into all of it first."""
    store = Store(folder / NAME, sole=True, now_ms=_LATER_MS)
    try:
        mended = store.rows("SELECT * FROM mending")
        if _matters(was, hit, at) and not mended:
            return Found(False, f"{again}: not noticed")
        aside = [each for each in folder.glob(f"{NAME}.damaged-*") if each.name == (mended and mended[0]["aside"])]
        if mended and (not aside or aside[0].read_bytes() != files[NAME]):
            return Found(True, f"{again}: not set aside whole")
        changed = [name for name, rows in _tables(store).items() if rows != was.tables[name]]
        if changed:
            return Found(bool(mended), f"{again}: differs: {changed}")
        _go_on(store, was, province)
        return Found(bool(mended), _sent_wrong(was, province, again))
    finally:
        store.close()


def _matters(was: Lying, hit: str, at: int) -> bool:
    """Whether that byte is read by anybody: neither one that stands anew in the log, nor one behind the log's end."""
    log = was.files.get(f"{NAME}-wal", b"")
    newest = wal.newest(log)
    if hit == NAME:
        return at // PAGE + 1 not in newest
    return hit == f"{NAME}-wal" and at < max(newest.values()) + PAGE


def _beside(was: Lying, province: Province, folder: Path, again: str) -> Found:
    """The work goes on before the look is through. Whatever ends for damage is started anew by its supervisor."""
    first, mend._FIRST_BYTES = mend._FIRST_BYTES, 0
    starts, ended = 0, False
    try:
        while not ended:
            starts += 1
            ended = _worked(was, province, folder, starts)
            if starts > 3:
                return Found(True, f"{again}: does not get going")
    finally:
        mend._FIRST_BYTES = first
    with closing_of(sqlite3.connect(folder / NAME)) as db:
        whole = db.execute("PRAGMA integrity_check").fetchone()[0]
        mended = db.execute("SELECT count(*) FROM mending").fetchone()[0]
    wrong = f"{again}: {whole}" if whole != "ok" else _sent_wrong(was, province, again)
    findings = audit.verify(folder / NAME).findings
    return Found(bool(mended), wrong or (f"{again}: {findings[0]}" if findings else ""))


def _worked(was: Lying, province: Province, folder: Path, start: int) -> bool:
    """Whether it came to its end, and did not end for damage."""
    store = None
    try:
        store = Store(folder / NAME, sole=True, now_ms=_LATER_MS + start)
        _go_on(store, was, province, most=5)
        page = 1
        while page:
            page = store.look(page)
        _go_on(store, was, province)
        store.close()
        return True
    except Exception as error:
        if not is_damage(error):
            raise
        if store is not None:  # else it could not even be opened
            suspect(store.path, str(error))
            _killed(store, folder)
        return False


def _killed(store: Store, folder: Path) -> None:
    """Whatever is on the disk at this moment is all that is left."""
    left = {
        each.name: each.read_bytes() for each in folder.glob(f"{NAME}*") if not each.name.endswith((".lock", "-shm"))
    }
    for each in (*store._readers, store._mover, store._db, store._pages, store._owned):
        if each is not None:
            each.close()
    _lay(left, folder)


def _go_on(store: Store, was: Lying, province: Province, most: int = 10_000) -> None:
    """Every agent sends what it has not been receipted for and one press more; everything that is due is sent."""
    intake, delivery = Intake(store, DIRECTORY, VAULT), Delivery(store, VAULT)
    intake.cure(_LATER_MS)
    for agent, written in was.agents:
        more = _more(agent, written)
        intake.take(more.sent(more.batch(max(1, written - 3), written + 2)), _LATER_MS)
    intake.take_cases([case("C-more-a")], _LATER_MS)
    at_ms, sent = _LATER_MS + 1_000, 0
    while sent < most and (due := delivery.next(at_ms, ()) or delivery.next_stubborn(at_ms, ())) is not None:
        attempt = delivery.begin(due, "rating", at_ms)
        delivery.end(due, "rating", attempt, province.told(due), at_ms)
        sent += 1


def _more(agent: Agent, written: int) -> Agent:
    """The same agent as it was then, and with one rating more."""
    name = agent.name[-1]
    then = Agent(agent.name, agent.epoch)
    then.write(*agent.bodies[:written])
    then.write(press(500_000, f"i-more-{name}", device=f"D{name}"), closing(f"i-more-{name}", f"C-more-{name}"))
    return then


def _sent_wrong(was: Lying, province: Province, again: str) -> str:
    if province.altered:
        return f"{again}: sent altered: {province.altered}"
    if province.has != was.due:
        lost, more = was.due.keys() - province.has.keys(), province.has.keys() - was.due.keys()
        return f"{again}: lost {sorted(lost)}, invented {sorted(more)}, or altered"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description="账本位翻转之后还剩什么 / what a flipped bit leaves of a ledger")
    parser.add_argument("--flips", type=int, default=10_000, help="翻转多少次 / how many flips")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="只看这一次 / this flip only")
    parser.add_argument(
        "--beside", action="store_true", help="大账本, 边运行边检查 / a large ledger, looked into beside"
    )
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    began, mended, wrong = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory(prefix="rot-") as place:
        found = (
            rotted(options.seed, options.flips, Path(place), options.beside)
            if options.only is None
            else [one(options.seed, options.only, Path(place), options.beside)]
        )
        for number, each in enumerate(found, 1):
            mended += each.mended
            if each.wrong:
                wrong += 1
                print(f"!! {each.wrong}", flush=True)
            if number % 1_000 == 0:
                spent = time.monotonic() - began
                print(f"{number}, 还剩 / left {spent / number * (options.flips - number):.0f} s", flush=True)
    print(f"改回 / turned back: {mended}; 违约 / promises broken: {wrong}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
