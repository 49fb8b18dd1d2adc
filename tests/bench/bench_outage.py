"""A hall's month without its broker: a million records wait, and the presses of the day come in as ever."""

from __future__ import annotations

import select
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edge_agent.outbox import Outbox
from edge_agent.outbox.invitations import new_id
from protocols.messages import Receipt
from protocols.ratings import Invitation, Moment, Press, PressId
from tests.bench import limits, parts
from tests.bench.limits import quantile
from tests.bench.table import Bench, Line

RECORDS = 1_000_000
PRESSES = 300
EVERY_S = 0.04
_AT_ONCE = 2_000  # services in a transaction while the file is built
_FORM_AT = 63  # the last byte of the file's version: a wrong bit there is seen at the very start
_REPEAT_S = 0.4
_PATIENCE_S = 10
_LONG_S = 1_800


def outage(folder: Path) -> dict[str, float]:
    """The file, a start with it, a press beside it, and how it empties; then the same file damaged."""
    full = folder / "full.db"
    _build(full, RECORDS)
    return {
        "bytes": full.stat().st_size / RECORDS,
        **_nothing_waits(_made(folder / "empty")),
        **_everything_waits(_made(folder / "away"), full),
        "loop": _drained_alone(_made(folder / "alone"), full),
        **_damaged(_made(folder / "damaged"), full),
    }


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _nothing_waits(folder: Path) -> dict[str, float]:
    with parts.cables() as cables, parts.agent(folder, cables, parts.NOWHERE):
        parts.first_ack(cables[0])
        return _quantiles("empty", _pressed(cables[0])[0])


def _everything_waits(folder: Path, full: Path) -> dict[str, float]:
    """The broker is away, and comes back."""
    outbox, ledger = folder / f"{parts.AGENT}.db", folder / "ledger.db"
    shutil.copy(full, outbox)
    with parts.cables() as cables, ExitStack() as stack:
        broker = stack.enter_context(parts.broker(folder))
        broker.kill()
        devices = [cable.device for cable in cables]
        stack.enter_context(parts.collector(folder, devices, broker.port)).await_file("collector.port")
        program = parts.agent(folder, cables, broker.port)
        started_s = time.perf_counter()
        stack.enter_context(program)
        parts.first_ack(cables[0])
        start_s = time.perf_counter() - started_s
        waiting, _ = _pressed(cables[0])
        broker.start()
        parts.wait_until(lambda: _receipted(outbox), 20, 0.002)
        began_s, already = time.perf_counter(), _receipted(outbox)
        total = RECORDS + 1 + len(waiting)
        draining, empty_s = _pressed(cables[0], until=lambda: _receipted(outbox) >= total)
        parts.wait_until(lambda: not _left(outbox), 20)
        [held] = parts.asked(ledger, "SELECT upto FROM epoch")
    if held != total + len(draining):
        raise RuntimeError(f"{held} records in the ledger, expected {total + len(draining)}")
    return {
        "start": start_s,
        "rate": (total - already) / (empty_s - began_s),
        **_quantiles("waiting", waiting),
        **_quantiles("draining", draining),
    }


def _drained_alone(folder: Path, full: Path) -> float:
    """Records a second to a ledger that takes everything at once."""
    shutil.copy(full, folder / "outbox.db")
    box = Outbox(folder / "outbox.db", parts.AGENT, 0)
    started_s = time.perf_counter()
    while (batch := box.due()) is not None:
        box.settle(Receipt(batch.epoch, batch.first + len(batch.records) - 1, batch.head))
    took_s = time.perf_counter() - started_s
    box.close()
    return RECORDS / took_s


def _damaged(folder: Path, full: Path) -> dict[str, float]:
    """A wrong bit: the file is set aside, and its records are taken over while the presses go on."""
    outbox = folder / f"{parts.AGENT}.db"
    shutil.copy(full, outbox)
    with outbox.open("r+b") as raw:
        raw.seek(_FORM_AT)
        [byte] = raw.read(1)
        raw.seek(_FORM_AT)
        raw.write(bytes([byte ^ 8]))
    with parts.cables() as cables, parts.agent(folder, cables, parts.NOWHERE):
        started_s = time.perf_counter()
        parts.first_ack(cables[0])
        first_s = time.perf_counter() - started_s
        took, whole_s = _pressed(cables[0], until=lambda: bool(parts.asked(outbox, "SELECT whole FROM rescued")[0]))
        [tip] = parts.asked(outbox, "SELECT seq FROM tip")
    if tip != RECORDS + 2 + len(took):  # one more names what is lost, and there is the first press
        raise RuntimeError(f"{tip} records after the salvage, expected {RECORDS + 2 + len(took)}")
    return {"damaged_start": first_s, "salvaged": whole_s - started_s, **_quantiles("salvaging", took)}


def _pressed(cable: parts.Cable, until: Callable[[], bool] = lambda: True) -> tuple[list[float], float]:
    """How many ms each of some presses took to its ack, as many as agreed and on until that comes true; and when that
    was seen, between two presses."""
    took: list[float] = []
    next_s, end_s = time.perf_counter(), time.perf_counter() + _LONG_S
    true_s = 0.0
    while len(took) < PRESSES or not true_s:
        time.sleep(max(0.0, next_s - time.perf_counter()))
        next_s = max(next_s, time.perf_counter()) + EVERY_S
        at_s = time.perf_counter()
        count = cable.press()
        while count not in cable.acks():
            if not select.select([cable], [], [], _REPEAT_S)[0]:
                cable.say(count)  # as a panel does
            if time.perf_counter() - at_s > _PATIENCE_S:
                raise RuntimeError("no ack")
        took.append((time.perf_counter() - at_s) * 1000)
        if not true_s and until():
            true_s = time.perf_counter()
        if time.perf_counter() > end_s:
            raise RuntimeError(f"not within {_LONG_S} s")
    return sorted(took), true_s


def _quantiles(name: str, took: list[float]) -> dict[str, float]:
    return {f"{name}_p50": quantile(took, 0.5), f"{name}_p99": quantile(took, 0.99)}


def _receipted(outbox: Path) -> int:
    return int(parts.asked(outbox, "SELECT seq FROM receipted")[0])


def _left(outbox: Path) -> int:
    return int(parts.asked(outbox, "SELECT tip.seq - receipted.seq FROM tip, receipted")[0])


# ---- the file


def _build(path: Path, records: int) -> None:
    """Of as many services, a press and a closing each, spread over a month. The agent's own code writes every row; only
    that a thousand services share a transaction makes it fast."""
    box = Outbox(path, parts.AGENT, 0)
    box._db.execute("PRAGMA synchronous = OFF")
    one_for_many, box._writer.transaction = box._writer.transaction, _inside  # type: ignore[method-assign]
    services, boot = records // 2, str(uuid.uuid4())
    every_ms = 30 * 86_400_000 // services
    started_ms = time.time_ns() // 1_000_000 - services * every_ms
    for first in range(1, services + 1, _AT_ONCE):
        with one_for_many():
            for number in range(first, min(first + _AT_ONCE, services + 1)):
                _serve(box, number, Moment(started_ms + number * every_ms, number * every_ms, boot, True))
        limits.note(f"存档已写 / built {2 * number:,}")
    box.close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


@contextmanager
def _inside() -> Iterator[None]:
    yield


def _serve(box: Outbox, number: int, moment: Moment) -> None:
    window = str(1 + number % 3)
    box.open_invitation(Invitation(new_id(moment.wall_ms), window, moment, 30, f"{number:016d}", clerk="0042"))
    pressed = moment._replace(wall_ms=moment.wall_ms + 500, mono_ms=moment.mono_ms + 500)
    device = f"D{int(window):04d}"
    raw = f"$PRESS,{device},7,{number},1,35*D9F7".encode()
    box.keep(window, ("house", 1), [Press(PressId(device, 7, number), 1 + number % 5, 35, raw)], pressed)


BENCHES = (
    Bench(
        name="outage",
        how="一个月没有消息服务器: 存档中一百万条记录 (--records 可改少), 每次服务一次按键一次终结,"
        f" 邀请 id 由接口给出。代理启动, 每秒 25 次按键 ({PRESSES} 次以上); 然后 mosquitto 恢复, 真实汇聚器收完, 核对"
        "账本条数; 再单独循环 due/settle; 再翻转版本号的一位, 边工作边抢救。\n\n"
        "A month without a broker: a million records in one outbox (fewer with --records), a press and a closing for"
        f" each service, invitations with ids of the door's own. The agent starts; 25 presses a second, {PRESSES} at"
        " least; then mosquitto comes back, the real"
        " collector takes everything, and the ledger must hold every record. Then due and settle alone in a loop; then"
        " one wrong bit in the file's version, and the records are taken over while presses go on.",
        bounded_by="fdatasync 与一个核 and one core: 解包、链、删除 unpacking, chain, deleting; 汇聚器一个核 the"
        " collector's one core",
        lines=(
            Line("bytes", "每条未上交的记录 each waiting record, 全部在内 all in", "B", at_most=250),
            Line("start", "启动 → 首个确认 start → first ack", "s", at_most=1),
            Line("empty_p50", "按键 → 确认 press → ack, 存档为空 empty outbox, p50", "ms"),
            Line("empty_p99", "同上 the same, p99", "ms"),
            Line("waiting_p50", "按键 → 确认 press → ack, 全部未上交 all waiting, p50", "ms"),
            Line("waiting_p99", "同上 the same, p99", "ms"),
            Line("draining_p50", "按键 → 确认 press → ack, 补传时 while draining, p50", "ms"),
            Line("draining_p99", "同上 the same, p99", "ms"),
            Line("rate", "补传 (mosquitto, 汇聚器) drained into the ledger", "/s", at_least=10_000),
            Line("loop", "due + settle 循环 in a loop", "/s", at_least=10_000),
            Line("damaged_start", "损坏: 启动 → 首个确认 damaged: start → first ack", "s", at_most=1),
            Line("salvaging_p50", "按键 → 确认 press → ack, 抢救时 while salvaging, p50", "ms"),
            Line("salvaging_p99", "同上 the same, p99", "ms"),
            Line("salvaged", "损坏: 启动 → 全部抢救 damaged: start → all taken over", "s"),
        ),
        measure=outage,
        limits=(
            Line("sync_p50", "4 KiB + fdatasync, p50", "ms"),
            Line("sync_p99", "4 KiB + fdatasync, p99", "ms"),
            Line("rows", "SQLite 每 1,000 行一提交 rows in commits of 1,000", "/s"),
        ),
        limit=limits.together(limits.disk, limits.rows),
        seconds=700,
        runs_max=1,
    ),
)
