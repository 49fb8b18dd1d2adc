"""What an agent takes from its PC, how soon it is there, and how fast it catches up."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edge_agent.outbox import Outbox
from firmware_sim.line import Commands, PtyLine, Station, serve, steady_clock
from firmware_sim.panel import HousePanel
from protocols.ratings import Invitation, Moment, Press, PressId
from tests.bench import limits, parts
from tests.bench.table import Bench, Line

IDLE_S = 20.0
WARM_UP_S = 3.0
SERVICES = 50_000  # a press and a closing each


def idle(folder: Path) -> dict[str, float]:
    """Two agents with three windows each, one of them with its door, connected to a broker; panels only beat."""
    with ExitStack() as stack:
        broker = stack.enter_context(parts.broker(folder))
        plain = stack.enter_context(_panels(folder, "D"))
        beside_the_door = stack.enter_context(_panels(folder, "E"))
        without = stack.enter_context(parts.agent(folder, plain, broker.port, "agent-a"))
        with_door = stack.enter_context(parts.agent(folder, beside_the_door, broker.port, "agent-b", door=True))
        with_door.await_file("agent-b.port")
        time.sleep(WARM_UP_S)
        before = without.cpu_s(), with_door.cpu_s()
        started_s = time.perf_counter()
        time.sleep(IDLE_S)
        took_s = time.perf_counter() - started_s
        return {
            "cpu": 100 * (without.cpu_s() - before[0]) / took_s,
            "cpu_door": 100 * (with_door.cpu_s() - before[1]) / took_s,
            "rss": without.rss_mb(),
            "rss_door": with_door.rss_mb(),
        }


class _Panel:
    """What `parts.agent` wants to know of a simulated panel."""

    def __init__(self, device: str, link: Path):
        self.device = device
        self.port = str(link)


@contextmanager
def _panels(folder: Path, series: str) -> Iterator[list[_Panel]]:
    """Three simulated panels that beat every ten seconds."""
    now = steady_clock()
    names = [f"{series}{at:04d}" for at in range(1, 4)]
    stations = [Station(name, HousePanel(name, 1, now()), PtyLine(folder / name)) for name in names]
    stop, commands = threading.Event(), Commands()
    thread = threading.Thread(target=serve, args=(stations, now, stop, commands, lambda *_: None))
    thread.start()
    try:
        yield [_Panel(name, folder / name) for name in names]
    finally:
        stop.set()
        commands.wake()
        thread.join()
        commands.close()
        for station in stations:
            station.line.close()


def start(folder: Path) -> dict[str, float]:
    """From the start of the process to the ack of a press, with an outbox that is there already."""
    found = {}
    for key, door in (("start", False), ("start_door", True)):
        with parts.cables() as cables:
            name = "agent-b" if door else "agent-a"
            program = parts.agent(folder, cables, parts.NOWHERE, name, door)
            with program:
                parts.first_ack(cables[0])
            started_s = time.perf_counter()
            program.start()
            parts.first_ack(cables[0])
            found[key] = time.perf_counter() - started_s
            program.stop()
    return found


# ---- the backlog


def catch_up(folder: Path) -> dict[str, float]:
    """The broker was away while services piled up; it comes back, and agent and collector find it by themselves."""
    outbox, ledger = folder / f"{parts.AGENT}.db", folder / "ledger.db"
    shutil.copy(_full_outbox(), outbox)
    total = 2 * SERVICES
    with parts.cables() as cables, ExitStack() as stack:
        broker = stack.enter_context(parts.broker(folder))
        broker.kill()
        devices = [cable.device for cable in cables]
        stack.enter_context(parts.collector(folder, devices, broker.port)).await_file("collector.port")
        stack.enter_context(parts.agent(folder, cables, broker.port))
        parts.first_ack(cables[0])
        time.sleep(2.0)  # both have been turned away often enough to be as patient as they get
        broker.start()
        back_s = time.perf_counter()
        moving_s = parts.wait_until(lambda: parts.asked(ledger, "SELECT count(*) FROM epoch")[0], 20, 0.002)
        already = parts.asked(ledger, "SELECT upto FROM epoch")[0]
        empty_s = parts.wait_until(lambda: not parts.asked(outbox, "SELECT count(*) FROM record")[0], 120, 0.02)
        received = parts.asked(ledger, "SELECT upto FROM epoch")[0]
        ratings = parts.asked(ledger, "SELECT count(*) FROM rating")[0]
    if (received, ratings) != (total + 1, SERVICES):
        raise RuntimeError(f"{received} records and {ratings} ratings in the ledger, expected {total + 1}, {SERVICES}")
    return {"moving": moving_s - back_s, "rate": (received - already) / (empty_s - moving_s)}


_FULL: list[Path] = []


def _full_outbox() -> Path:
    """An outbox with the records of so many services, made once per run of the benches."""
    if not _FULL:
        scratch = tempfile.TemporaryDirectory(prefix="bench-outbox-")
        _KEPT.append(scratch)
        _FULL.append(Path(scratch.name) / "outbox.db")
        _fill(_FULL[0])
    return _FULL[0]


_KEPT: list[tempfile.TemporaryDirectory[str]] = []  # until the interpreter ends


def _fill(path: Path) -> None:
    Outbox(path, parts.AGENT, 0).close()
    # Only the making of the file is hurried; the agent that opens it writes as always.
    outbox = Outbox(path, parts.AGENT, 0)
    _hurry(outbox)
    boot, started_ms = str(uuid.uuid4()), time.time_ns() // 1_000_000 - SERVICES * 1000
    for number in range(1, SERVICES + 1):
        window = str(1 + number % 3)
        moment = Moment(started_ms + number * 1000, number * 1000, boot, True)
        case_no = f"{number:016d}"
        outbox.open_invitation(Invitation(str(uuid.uuid4()), window, moment, 30, case_no, clerk="0042"))
        pressed = moment._replace(wall_ms=moment.wall_ms + 500, mono_ms=moment.mono_ms + 500)
        device = f"D{int(window):04d}"
        raw = f"$PRESS,{device},7,{number},1,35*D9F7".encode()
        outbox.keep(window, ("house", 1), [Press(PressId(device, 7, number), 1 + number % 5, 35, raw)], pressed)
    outbox.close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def _hurry(outbox: Outbox) -> None:
    outbox._db.execute("PRAGMA synchronous = OFF")


BENCHES = (
    Bench(
        name="start",
        how="从启动进程到首个确认 (三个窗口, 已有存档, 字节码已编译; 面板每 5 毫秒重发)。\n\n"
        "From the start of the process to its first ack: three windows, an outbox that is there already, compiled"
        " bytecode; the press is repeated every 5 ms.",
        bounded_by="Python 启动与导入 Python's own start and the imports",
        lines=(
            Line("start", "启动 → 首个确认 start → first ack, 无接口 without door", "s", at_most=0.7),
            Line("start_door", "同上, 有接口 with door", "s", at_most=0.7),
        ),
        measure=start,
        limits=(Line("python_ms", "空 Python 进程 a Python that does nothing", "ms"),),
        limit=limits.start,
        seconds=2,
    ),
    Bench(
        name="idle",
        how=f"连着 mosquitto、三个窗口、面板每 10 秒报一次平安, 预热 {WARM_UP_S:g} 秒后量 {IDLE_S:g} 秒; 内存取其末。"
        f"\n\nConnected to mosquitto, three windows whose panels beat every 10 s; {IDLE_S:g} s after {WARM_UP_S:g} s of"
        " warming up. Memory is taken at the end.",
        bounded_by="解释器与导入的库 the interpreter and the imported libraries; 每窗口每秒看一次时钟"
        " one look at the clock per window and second",
        lines=(
            Line("rss", "内存 RSS, 无接口 without door", "MB", at_most=35),
            Line("rss_door", "内存 RSS, 有接口 with door", "MB", at_most=50),
            Line("cpu", "空闲 CPU idle, 无接口 without door", "%", at_most=0.5),
            Line("cpu_door", "空闲 CPU idle, 有接口 with door", "%", at_most=0.5),
        ),
        measure=idle,
        limits=(Line("python_rss", "空 Python 进程的内存 RSS of a Python that does nothing", "MB"),),
        limit=limits.empty_python,
        seconds=25,
        runs_max=3,
    ),
    Bench(
        name="backlog",
        how=f"存档中 {2 * SERVICES:,} 条记录 ({SERVICES:,} 次服务, 各一次按键一次终结), 代理与汇聚器先遇断线,"
        " mosquitto 恢复; 至存档为空, 并核对账本中的记录与评价数。\n\n"
        f"{2 * SERVICES:,} records of {SERVICES:,} rated services in one outbox. Agent and collector have tried in"
        " vain, then mosquitto comes back; until the outbox is empty, and the ledger must hold every record and every"
        " rating.",
        bounded_by="汇聚器一个核 (链、插入、含义) the collector's one core: chain, rows, meaning; 每批一个往返"
        " one round trip per 1,000",
        lines=(
            Line("moving", "恢复 → 首批入账 broker back → first batch in the ledger", "s", at_most=2),
            Line("rate", "补传直至为空 catching up until empty", "/s", at_least=10_000),
        ),
        measure=catch_up,
        limits=(
            Line("rows", "SQLite 每 1,000 行一提交 rows in commits of 1,000", "/s"),
            Line("mqtt_p50", "mosquitto pub → sub, p50", "ms"),
        ),
        limit=limits.together(limits.rows, limits.broker),
        seconds=10,
    ),
)
