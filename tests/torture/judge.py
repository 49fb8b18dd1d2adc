"""What a world came to, against the truth that its panels wrote down."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from dataclasses import dataclass
from math import inf
from pathlib import Path

from collector import directory
from collector.ledger import audit
from collector.ledger.overview import Overview
from collector.ledger.store import Store
from collector.reconcile.balance import balance
from firmware_sim.scenario import Fate, Pressed, Truth
from firmware_sim.verdict import at_province, in_ledger, of_fate, whole_lines

from .world import AGENTS, PressKey, World, reading

_SEEN_OUT_MS = 10_000  # whoever was asked before a file went may press for so long, and nobody knows of the question
# Words with which a program may end by itself here: its disk was full or read-only, or its file is an older copy.
_EXPECTED = re.compile(
    r"disk (is )?full|readonly database|disk I/O error|No space left|Read-only file system|unable to open database"
    r"|打不开或写不了|另一个|写不了|attempt to write a readonly|OutboxForked",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class WhileFull:
    """Cycles of a full disk that had room again, and what was pressed at those agents while theirs was full."""

    agents: int = 0
    collector: int = 0
    pressed: int = 0
    refused: int = 0
    """Presses whose citizen was told that they are not accepted."""
    thanked: int = 0
    """Presses thanked for within such a time: what the disk still took. All of them are in the ledger, as all are."""

    def __add__(self, other: WhileFull) -> WhileFull:
        return WhileFull(*(getattr(self, name) + getattr(other, name) for name in vars(self)))

    def __str__(self) -> str:
        return (
            f"满盘又腾空 / full and free again: 代理 agents {self.agents}, 汇聚器 collector {self.collector};"
            f" 代理满盘时 / while an agent's was full: 按键 pressed {self.pressed}, 告知未收下 told not accepted"
            f" {self.refused}, 致谢 thanked {self.thanked}"
        )


@dataclass(frozen=True)
class Verdict:
    """What happened, and every mistake in words."""

    pressed: int
    thanked: int
    at_province: int
    while_full: WhileFull
    destroyed: int
    """Presses that were in a file that somebody destroyed, and arrived nowhere."""
    mistakes: list[str]


def judged(world: World) -> Verdict:
    """Of a world that is down, with its disks still there."""
    lines = list(whole_lines(world.folder / "truth.jsonl"))
    truth = Truth.read(lines)
    ledger = world.store_of("collector")
    times = _times_in(ledger)
    held, here = at_province(world.folder / "province.jsonl"), in_ledger(ledger)
    thanked, pressed = truth.thanked(), truth.pressed()
    missing = {press for press in thanked if press not in times}
    mistakes = [
        *(f"lost: 已致谢而账本没有 / thanked, not in the ledger: {press}" for press in missing - world.gone.presses),
        *(f"invented: 从未按下 / never pressed: {press}" for press in times if press not in pressed),
        *(f"doubled: 账本中两次 / twice in the ledger: {press}" for press, count in times.items() if count > 1),
        *_of_fates(world, truth, held, here),
        *_unnamed(world, ledger),
        *_aside(world),
        *_without_case(world, ledger),
        *(f"ended: {said} × {count}" for said, count in world.ends.items() if not _EXPECTED.search(said)),
    ]
    mistakes += [f"verify: {found}" for found in audit.verify(ledger).findings]
    mistakes += _unexplained(world, ledger, len(missing))
    at_the_province = sum(map(len, held.values()))
    return Verdict(len(pressed), len(thanked), at_the_province, _while_full(world, lines), len(missing), mistakes)


def _while_full(world: World, lines: list[str]) -> WhileFull:
    whose = Counter(name for name, _, _ in world.full_spans)
    told: Counter[str] = Counter()
    for row in map(json.loads, lines):
        at_ms = {"pressed": "at_ms", "refused": "refused_ms", "thanked": "thanked_ms"}.get(row["what"])
        if at_ms and any(
            row["window"].split("/")[0] == name and begin <= row[at_ms] <= end for name, begin, end in world.full_spans
        ):
            told[row["what"]] += 1
    agents = sum(count for name, count in whose.items() if name in AGENTS)
    return WhileFull(agents, whose["collector"], told["pressed"], told["refused"], told["thanked"])


def _of_fates(world: World, truth: Truth, held: dict, here: dict) -> list[str]:
    mistakes = []
    for fate in truth.fates():
        wrong = of_fate(fate, held, here)
        if wrong is None or (wrong.startswith("lost") and _may_be_forgotten(world, fate)):
            continue
        mistakes.append(f"{wrong} — {fate.window} {fate.case_no} ({', '.join(map(str, fate.presses))})")
    known = {fate.case_no for fate in truth.fates()}
    mistakes += [f"invented: {case} 从未邀请 / never invited" for case, _ in held if case[2:] not in known]
    return mistakes


def _may_be_forgotten(world: World, fate: Fate) -> bool:
    agent = fate.window.split("/")[0]
    return any(
        _key(press) in world.gone.presses
        or any(
            who in ("", agent) and press.at_ms <= end + _SEEN_OUT_MS and (begin <= press.at_ms or _came(press) >= end)
            for who, begin, end in world.gone.spans
        )
        for press in fate.presses
    )


def _came(press: Pressed) -> float:
    """When it was kept: an agent that is down for long keeps it when nobody knows any more who had been asked."""
    return inf if press.thanked_ms is None else press.thanked_ms


def _unnamed(world: World, ledger: Path) -> list[str]:
    """What a restored ledger lacks has to be named: as a gap, or it came again."""
    with reading(ledger) as db:
        epochs = dict(db.execute("SELECT epoch, id FROM epoch"))
        upto = dict(db.execute("SELECT epoch, upto FROM epoch"))
        held = {(epoch, seq) for epoch, seq in db.execute("SELECT epoch_id, seq FROM record")}
        gaps = db.execute("SELECT epoch_id, after, upto FROM gap").fetchall()
    lacking = Counter(
        epoch
        for epoch, seq in world.gone.records
        if (epochs.get(epoch), seq) not in held
        and world.gone.agents[epoch]
        not in _destroyed_agents(world)  # which alone could say how far it had been receipted
        and not any(number == epochs.get(epoch) and after < seq <= last for number, after, last in gaps)
    )
    return [
        f"unnamed: {count} 条不在账本也不在缺口 / records neither in the ledger nor in a gap: {epoch}"
        f" (账本到 / ledger up to {upto.get(epoch)})"
        for epoch, count in lacking.items()
    ]


def _unexplained(world: World, ledger: Path, missing: int) -> list[str]:
    """An operator sees every difference explained.

    Where an agent's file was replaced by an older one with records that had never left it, or the ledger was replaced
    too, nobody is left who knows why something is missing: only its device still says that it was thanked for. Then it
    has to be seen that it is missing, and no more than that; each of `missing` is known to have been destroyed.
    """
    places = directory.read((world.folder / "directory.toml").read_bytes(), "directory.toml")
    store = Store(ledger)
    try:
        overview = Overview(store)
        with overview.moment():
            found = balance(overview.days, places, time.time_ns() // 1_000_000)
    finally:
        store.close()
    if found["unexplained"] <= (missing if _destroyed_agents(world) else 0):
        return []
    return [f"unexplained: 对账有 {found['unexplained']} 处说不清 / differences that reconcile cannot explain"]


def _destroyed_agents(world: World) -> set[str]:
    return {agent for agent, _, _ in world.gone.spans if agent}


def _aside(world: World) -> list[str]:
    """No disk was damaged here: nothing may be taken for damaged."""
    found = [path for agent in AGENTS for path in world.store_of(agent).parent.glob("*.damaged-*")]
    return [f"aside: 完好的存档被当成损坏 / a whole outbox was taken for damaged: {path.name}" for path in found]


def _without_case(world: World, ledger: Path) -> list[str]:
    """Every case was handed in, to the collector or to an agent that answered for it: its rating finds it."""
    if any(not agent for agent, _, _ in world.gone.spans):
        return []  # of a ledger that was restored the cases are gone too
    with reading(ledger) as db:
        rows = db.execute("SELECT case_no FROM rating WHERE state = 'awaiting_case'").fetchall()
    return [f"details: 办件信息没有到 / the details of a case did not arrive: {case_no}" for (case_no,) in rows]


def _times_in(ledger: Path) -> Counter[PressKey]:
    with reading(ledger) as db:
        rows = db.execute("SELECT device, boot, count FROM press WHERE fate != 'duplicate'").fetchall()
    return Counter(tuple(row) for row in rows)


def _key(press) -> PressKey:
    return press.device, press.boot, press.count
