"""A press on its way: to the ack, to another subscriber, to the receipt; and as many as one line carries."""

from __future__ import annotations

import json
import select
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from edge_agent.outbox import Outbox
from tests.bench import limits, parts
from tests.bench.limits import quantile
from tests.bench.table import Bench, Line

PRESSES = 100
EVERY_S = 0.1
ABREAST = 64  # presses on the way at once: a commit's worth, and less than the 4 KiB that a pty holds
FAST_PRESSES = 12_000


def one_by_one(folder: Path) -> dict[str, float]:
    """Ten presses a second on one of three lines; what this thread sees of each, in ms."""
    with parts.cables() as cables, parts.broker(folder) as broker:
        devices = [cable.device for cable in cables]
        with parts.collector(folder, devices, broker.port), parts.agent(folder, cables, broker.port):
            parts.first_ack(cables[0])
            parts.wait_until(lambda: _ledger_has(folder, 1), 15)
            listener = parts.Listener(broker.port)
            pressed, acked = _press(cables[0], listener)
            listener.close()
    presses = {(cables[0].device, count): at_s for count, at_s in pressed.items()}
    ack = sorted((acked[count] - at_s) * 1000 for count, at_s in pressed.items())
    seen = sorted((listener.seen[press] - at_s) * 1000 for press, at_s in presses.items())
    receipt = sorted((listener.receipt_of(press) - at_s) * 1000 for press, at_s in presses.items())
    return {
        f"{name}_{label}": quantile(took, share)
        for name, took in (("ack", ack), ("seen", seen), ("receipt", receipt))
        for label, share in (("p50", 0.5), ("p99", 0.99))
    }


def _press(cable: parts.Cable, listener: parts.Listener) -> tuple[dict[int, float], dict[int, float]]:
    """When each press went onto the line, and when its ack came."""
    pressed: dict[int, float] = {}
    acked: dict[int, float] = {}
    next_s = time.perf_counter() + EVERY_S
    end_s = next_s + PRESSES * EVERY_S + 1.0
    while (now_s := time.perf_counter()) < end_s:
        if len(pressed) < PRESSES and now_s >= next_s:
            at_s = time.perf_counter()
            pressed[cable.press()] = at_s
            next_s += EVERY_S
        wait_s = min(end_s, next_s if len(pressed) < PRESSES else end_s) - time.perf_counter()
        sources: list[Any] = [cable, listener]
        readable, _, _ = select.select(sources, [], [], max(0.0, wait_s))
        heard_s = time.perf_counter()
        if cable in readable:
            for count in cable.acks():
                acked.setdefault(count, heard_s)
        if listener in readable:
            listener.read(heard_s)
    return pressed, acked


def _ledger_has(folder: Path, records: int) -> bool:
    try:
        return bool(parts.asked(folder / "ledger.db", "SELECT count(*) FROM record")[0] >= records)
    except sqlite3.OperationalError:
        return False  # the collector has not made it yet


def one_line(folder: Path) -> dict[str, float]:
    """One line alone, no broker: what stands in the outbox afterwards is all of it, once, and in order."""
    with parts.cables(1) as (cable,), parts.agent(folder, [cable], parts.NOWHERE):
        parts.first_ack(cable)
        rate = _as_fast_as_it_goes(cable)
    with closing(Outbox(folder / f"{parts.AGENT}.db", parts.AGENT, 0, look_only=True)) as box:
        bodies = [record["body"].encode() for record in box.records() if record["kind"] == "press"]
    _whole_and_in_order(bodies, cable.count)
    return {"rate": rate}


def one_line_to_the_ledger(folder: Path) -> dict[str, float]:
    """The same with a broker and a collector that takes the records meanwhile; what stands in the ledger counts."""
    with (
        parts.cables(1) as (cable,),
        parts.broker(folder) as broker,
        parts.collector(folder, [cable.device], broker.port),
        parts.agent(folder, [cable], broker.port),
    ):
        parts.first_ack(cable)
        parts.wait_until(lambda: _ledger_has(folder, 1), 15)
        started_s = time.perf_counter()
        rate = _as_fast_as_it_goes(cable)
        done_s = parts.wait_until(lambda: _ledger_has(folder, cable.count), 60, every_s=0.02)
    bodies = _bodies(folder / "ledger.db", "SELECT body FROM record ORDER BY epoch_id, seq")
    _whole_and_in_order(bodies, cable.count)
    return {"rate": rate, "through": (cable.count - 1) / (done_s - started_s)}


def _as_fast_as_it_goes(cable: parts.Cable) -> float:
    """Acked presses a second, with `ABREAST` on the way all the time. Acks must come in order."""
    first, last = cable.count + 1, cable.count + FAST_PRESSES
    unsent, expected = b"", first
    started_s = time.perf_counter()
    while expected <= last:
        while cable.count < last and cable.count - expected < ABREAST - 1:
            cable.count += 1
            unsent += cable.frame_of(cable.count)
        unsent = unsent[cable.write(unsent) :] if unsent else b""
        if not select.select([cable], [cable] if unsent else [], [], 5.0)[0]:
            continue
        for count in cable.acks():
            if count != expected:
                raise RuntimeError(f"ack of {count}, expected {expected}")
            expected += 1
    return FAST_PRESSES / (time.perf_counter() - started_s)


def _bodies(path: Path, question: str) -> list[bytes]:
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return [row[0] for row in db.execute(question)]
    finally:
        db.close()


def _whole_and_in_order(bodies: list[bytes], count: int) -> None:
    found = [json.loads(body)["count"] for body in bodies]
    if found != list(range(1, count + 1)):
        raise RuntimeError(f"{len(found)} presses kept of {count}, or not in order")


BENCHES = (
    Bench(
        name="press",
        how="每秒 10 次按键于三条线之一 (代理、mosquitto、汇聚器各为一个进程); 量测进程自持 pty 与一个可读该代理主题的"
        "订阅者, 一个线程, 到达即取时。回执在外部量: 订阅者收到覆盖该按键的回执。\n\n"
        "Ten presses a second on one of three lines; agent, mosquitto and collector are processes. The measuring"
        " thread holds the pty and a subscriber who may read the agent's topics, and takes the time as soon as"
        " something comes. The receipt is seen from outside: the"
        " subscriber hears the first receipt that covers the press, which is when the agent hears it too.",
        bounded_by="fdatasync + pty 往返 round trip; 其后 then mosquitto 往返 round trip; 再后 then 账本提交"
        " the ledger's commit",
        lines=(
            Line("ack_p50", "按键 → 确认 press → ack, p50", "ms"),
            Line("ack_p99", "按键 → 确认 press → ack, p99", "ms", at_most=20),
            Line("seen_p50", "按键 → 另一订阅者 press → another subscriber, p50", "ms", at_most=3),
            Line("seen_p99", "按键 → 另一订阅者 press → another subscriber, p99", "ms", at_most=6),
            Line("receipt_p50", "按键 → 回执 press → receipt, p50", "ms", at_most=10),
            Line("receipt_p99", "按键 → 回执 press → receipt, p99", "ms", at_most=50),
        ),
        measure=one_by_one,
        limits=(
            Line("sync_p50", "4 KiB + fdatasync, p50", "ms"),
            Line("sync_p99", "4 KiB + fdatasync, p99", "ms"),
            Line("pty_p50", "pty 往返 round trip, p50", "ms"),
            Line("pty_p99", "pty 往返 round trip, p99", "ms"),
            Line("mqtt_p50", "mosquitto pub → sub, p50", "ms"),
            Line("mqtt_p99", "mosquitto pub → sub, p99", "ms"),
            Line("paced_p50", "SQLite 一行提交, 每秒 10 次 one-row commit, ten a second, p50", "ms"),
            Line("paced_max", "SQLite 一行提交, 每秒 10 次 one-row commit, ten a second, max", "ms"),
        ),
        limit=limits.together(limits.disk, limits.line, limits.broker, limits.paced_commits),
        seconds=18,
    ),
    Bench(
        name="one-line",
        how=f"一条线上最多 {ABREAST} 次按键同时在途, 共 {FAST_PRESSES:,} 次, 无消息服务器; 每个确认须按序,"
        " 之后逐条核对存档。\n\n"
        f"{ABREAST} presses on the way at once on one pty, {FAST_PRESSES:,} in all, no broker. Acks must come in"
        " order; afterwards the outbox must hold every press once and in order.",
        bounded_by="fdatasync 每批一次 one per commit; Python 解码与写入 decoding and inserting (一个核 one core)",
        lines=(Line("rate", "一条线: 存盘后确认 acked from disk, 丢失 lost 0", "/s", at_least=4000),),
        measure=one_line,
        limits=(
            Line("syncs", "4 KiB + fdatasync", "/s"),
            Line("commits", "SQLite WAL FULL 一行提交 one-row commits", "/s"),
        ),
        limit=limits.together(limits.disk, limits.database),
        seconds=2,
    ),
    Bench(
        name="one-line-to-ledger",
        how="同上, 同时 mosquitto 与汇聚器收走记录; 逐条核对账本。\n\n"
        "The same while mosquitto and the collector take the records; afterwards the ledger must hold every press"
        " once and in order.",
        bounded_by="同上, 且四个进程分享本机的核 the same, and four processes share the machine's cores",
        lines=(
            Line("rate", "一条线, 同时上交 acked from disk meanwhile", "/s"),
            Line("through", "按键 → 账本 press → ledger, 丢失 lost 0", "/s"),
        ),
        measure=one_line_to_the_ledger,
        limits=(Line("rows", "SQLite 每 1,000 行一提交 rows in commits of 1,000", "/s"),),
        limit=limits.rows,
        seconds=4,
    ),
)
