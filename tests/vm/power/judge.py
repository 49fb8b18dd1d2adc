"""What the disk holds after a round, against what the panels were thanked for and what the province was told."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

from collector.ledger import audit
from edge_agent.outbox import Outbox
from edge_agent.outbox import file as outbox_file
from firmware_sim.scenario import Truth
from firmware_sim.verdict import at_province, in_ledger, of_fates, of_presses, reading, whole_lines

from .hall import AGENT, Hall


@dataclass(frozen=True)
class Verdict:
    """What happened, and every mistake in words."""

    pressed: int
    thanked: int
    records: int
    """In the ledger."""
    at_province: int
    mistakes: list[str]


def judged(hall: Hall, folder: Path, ends_ms: list[int]) -> Verdict:
    """Of a hall that is down, with the guest's files under `folder`; the power went at `ends_ms`."""
    truth = Truth.read(whole_lines(hall.truth))
    ledger, outbox = folder / "centre" / "ledger.db", folder / "agent" / "outbox.db"
    if not ledger.exists() or not outbox.exists():
        return Verdict(len(truth.pressed()), len(truth.thanked()), 0, 0, ["no files came back / 没有取回文件"])
    held, here = at_province(hall.province_journal), in_ledger(ledger)
    doubled = [
        f"doubled: 省里 {len(each)} 条 / at the province: {case}" for case, each in held.items() if len(each) > 1
    ]
    mistakes = [
        *(_with_its_cut(each, truth, ends_ms) for each in of_presses(truth, ledger)),
        *of_fates(truth.fates(), held, here),
        *doubled,
        *_invented(truth, held),
        *_of_outbox(outbox, ledger),
        *(f"verify: {found}" for found in audit.verify(ledger).findings),
    ]
    with reading(ledger) as db:
        records = db.execute("SELECT count(*) FROM record").fetchone()[0]
    return Verdict(len(truth.pressed()), len(truth.thanked()), records, sum(map(len, held.values())), mistakes)


def _with_its_cut(mistake: str, truth: Truth, ends_ms: list[int]) -> str:
    """Which cut came after its thanks."""
    for press, thanked_ms in truth._thanked.items():
        if str(press) in mistake:
            number = bisect_left(ends_ms, thanked_ms)
            if number < len(ends_ms):
                return f"{mistake}, {ends_ms[number] - thanked_ms} ms before cut {number + 1}"
    return mistake


def _invented(truth: Truth, held: dict) -> list[str]:
    known = {fate.case_no for fate in truth.fates()}
    return [f"invented: {case} 从未邀请 / never invited" for case, _ in held if case[2:] not in known]


def _of_outbox(outbox: Path, ledger: Path) -> list[str]:
    """It is whole, was never set aside or begun anew, and the ledger has every record that it let go of."""
    mistakes = [f"aside: 被当成损坏 / taken for damaged: {each.name}" for each in outbox.parent.glob("*.damaged-*")]
    if damage := outbox_file.damage(outbox, AGENT):
        mistakes.append(f"damaged: {damage}")
    box = Outbox(outbox, AGENT, 0)
    try:
        broken, tip, waiting, epoch = box.first_break(), box.tip()[0], box.backlog().records, box.epoch
    finally:
        box.close()
    if broken is not None:
        mistakes.append(f"chain: 第 {broken} 条断裂 / broken at {broken}")
    with reading(ledger) as db:
        epochs = db.execute("SELECT epoch, upto FROM epoch").fetchall()
        held = db.execute("SELECT count(*) FROM record").fetchone()[0]
        gaps = db.execute("SELECT count(*) FROM gap").fetchone()[0]
        strange = db.execute("SELECT count(*) FROM quarantine").fetchone()[0]
    if epochs != [(epoch, tip)] or held != tip or waiting:
        mistakes.append(f"records: 存档 / outbox {epoch} {tip} (waiting {waiting}), 账本 / ledger {epochs}, {held}")
    if gaps or strange:
        mistakes.append(f"ledger: {gaps} 个缺口 / gaps, {strange} 条隔离 / in quarantine")
    return mistakes
