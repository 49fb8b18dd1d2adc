"""Thirty-two evaluators on one agent, and cables that are pulled and come back under other names."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

from firmware_sim.bench import Replugged
from firmware_sim.line import Commands, PtyLine, Station, serve, steady_clock
from firmware_sim.panel import HousePanel, PressMade, PressThanked
from firmware_sim.panels import shelf
from tests.bench import limits, parts
from tests.bench.table import Bench, Line
from tests.brokers import USERS

DEVICES = 32
IDLE_S = 20.0
WARM_UP_S = 4.0
POLLED_LINES = 4  # of eight panels each: a line of 9600 baud carries thirty polls a second
CYCLES = 200
SEED = 7


def many(folder: Path) -> dict[str, float]:
    """Two agents with a door and 32 devices each: panels that push on lines of their own, and polled ones on four."""
    with ExitStack() as stack:
        broker = stack.enter_context(parts.broker(folder))
        pushing = stack.enter_context(_agent(folder, broker.port, "agent-a", _pushing(folder, stack)))
        polled = stack.enter_context(_agent(folder, broker.port, "agent-b", _polled(folder, stack)))
        for name, part in (("agent-a", pushing), ("agent-b", polled)):
            part.await_file(f"{name}.port")
        time.sleep(WARM_UP_S)
        before = pushing.cpu_s(), polled.cpu_s()
        started_s = time.perf_counter()
        time.sleep(IDLE_S)
        took_s = time.perf_counter() - started_s
        used = (pushing.cpu_s() - before[0]) / took_s, (polled.cpu_s() - before[1]) / took_s
        for part in (pushing, polled):
            if "ERROR" in part.said() or "line not usable" in part.said():
                raise RuntimeError(part.said()[-2000:])
        return {
            "cpu_pushing": 100 * used[0],
            "cpu_polled": 100 * used[1],
            "rss_pushing": pushing.rss_mb(),
            "rss_polled": polled.rss_mb(),
        }


def _pushing(folder: Path, stack: ExitStack) -> str:
    """The windows of 32 house panels that beat every ten seconds, and their panels, running."""
    now = steady_clock()
    names = [f"D{at:04d}" for at in range(1, DEVICES + 1)]
    stack.enter_context(_served([Station(name, HousePanel(name, 1, now()), PtyLine(folder / name)) for name in names]))
    return "".join(
        f'[[windows]]\nid = "{at}"\ndevice = "{name}"\nport = "{folder / name}"\n' for at, name in enumerate(names, 1)
    )


def _polled(folder: Path, stack: ExitStack) -> str:
    """The same of 32 Modbus panels, eight on a line, each polled twice a second."""
    lines = [folder / f"modbus{at}" for at in range(POLLED_LINES)]
    per_line = DEVICES // POLLED_LINES
    stack.enter_context(
        _served(
            [
                Station(line.name, shelf.make_line("modbus-key", 1, per_line, steady_clock()()), PtyLine(line))
                for line in lines
            ]
        )
    )
    return "".join(
        f'[[windows]]\nid = "{line.name}-{address}"\ndevice = "M{at}{address:03d}"\nport = "{line}"\n'
        f'profile = "modbus-key"\naddress = {address}\n'
        for at, line in enumerate(lines)
        for address in range(1, per_line + 1)
    )


@contextmanager
def _served(stations: Sequence[Station]) -> Iterator[None]:
    stop, commands = threading.Event(), Commands()
    thread = threading.Thread(target=serve, args=(stations, steady_clock(), stop, commands, lambda *_: None))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        commands.wake()
        thread.join()
        commands.close()
        for station in stations:
            station.line.close()


def _agent(folder: Path, broker_port: int, name: str, windows: str) -> parts.Part:
    (folder / f"{name}.toml").write_text(
        f'agent = "{name}"\n{windows}[outbox]\npath = "{name}.db"\n[uplink]\nhost = "127.0.0.1"\nport = {broker_port}\n'
        f'password = "{USERS[name]}"\n[door]\nport = 0\nport_file = "{name}.port"\ntoken = "{parts.TOKEN}"\n',
        "utf-8",
    )
    return parts.Part("edge_agent", folder, "run", "--config", f"{name}.toml")


# ---- pulled and put back


class _Panel:
    """A house panel on a pty whose name changes, and what became of its presses."""

    def __init__(self, link: Path):
        self.station = Station("panel", HousePanel("D0001", 1, steady_clock()()), PtyLine(link))
        self.made: list[PressMade] = []
        self.thanked: list[PressMade] = []
        self.back_s: list[float] = []
        """When the cable was put back, each time."""
        self.seen = threading.Condition()

    def hear(self, _window: str, event: object) -> None:
        with self.seen:
            match event:
                case PressMade():
                    self.made.append(event)
                case PressThanked(press):
                    self.thanked.append(press)
                case Replugged():
                    self.back_s.append(time.perf_counter())
            self.seen.notify_all()

    def waits(self, claim: Callable[[], bool]) -> bool:
        with self.seen:
            return self.seen.wait_for(claim, 20)


def replugged(folder: Path) -> dict[str, float]:
    """A press before, during and after each outage; each time the cable comes back as another pty behind its link."""
    rng, panel = Random(SEED), _Panel(folder / "panel")
    stop, commands = threading.Event(), Commands()
    thread = threading.Thread(target=serve, args=([panel.station], steady_clock(), stop, commands, panel.hear))
    windows = f'[[windows]]\nid = "1"\ndevice = "D0001"\nport = "{folder / "panel"}"\n'
    back_ms, names = [], set()
    with _agent(folder, parts.NOWHERE, "agent-a", windows) as agent:
        thread.start()
        try:
            for cycle in range(1, CYCLES + 1):
                commands.press("panel", rng.randint(1, 5))
                panel.waits(lambda cycle=cycle: len(panel.made) == 2 * cycle - 1)
                time.sleep(rng.uniform(0, 0.05))  # pulled before, while or after the press is kept
                commands.unplug("panel")
                time.sleep(0.04)  # longer than a contact bounces
                commands.press("panel", rng.randint(1, 5))
                time.sleep(rng.uniform(0.05, 0.6))
                spare = [PtyLine(folder / f"spare{at}") for at in range(rng.randint(0, 2))]  # so that the name changes
                commands.replug("panel")
                panel.waits(lambda cycle=cycle: len(panel.back_s) == cycle)
                names.add((folder / "panel").readlink())
                if not panel.waits(lambda cycle=cycle: len(panel.thanked) == 2 * cycle):
                    raise RuntimeError(agent.said()[-2000:])
                back_ms.append(1000 * (time.perf_counter() - panel.back_s[-1]))
                for line in spare:
                    line.close()
        finally:
            stop.set()
            commands.wake()
            thread.join()
            commands.close()
            panel.station.line.close()
    kept = parts.asked(folder / "agent-a.db", "SELECT count(*) FROM record WHERE press = 1")[0]
    if not kept == len(panel.made) == 2 * CYCLES:
        raise RuntimeError(f"{kept} kept, {len(panel.made)} pressed")
    return {
        "back_p50": limits.quantile(back_ms, 0.5) / 1000,
        "back_max": max(back_ms) / 1000,
        "lost": float(len(panel.thanked) - kept),
        "names": float(len(names)),
    }


BENCHES = (
    Bench(
        name="devices",
        how=f"一个代理 (有接口) 接 {DEVICES} 台评价器: 各占一线、按下才说;"
        f" 或每线 {DEVICES // POLLED_LINES} 台 Modbus, 每台每秒问两次。"
        f"预热 {WARM_UP_S:g} 秒后量 {IDLE_S:g} 秒。\n\n"
        f"One agent with its door and {DEVICES} devices: each on a line of its own, speaking when pressed; or"
        f" {DEVICES // POLLED_LINES} Modbus panels to a line, each polled twice a second. {IDLE_S:g} s after"
        f" {WARM_UP_S:g} s of warming up.",
        bounded_by="解释器与导入的库; 每线每秒两次看时钟; 每次轮询的两次系统等待 the interpreter and the libraries;"
        " two looks at the clock per line and second; two waits of the system per poll",
        lines=(
            Line("rss_pushing", f"内存 RSS, {DEVICES} 台各一线 on lines of their own", "MB", at_most=50),
            Line("rss_polled", f"内存 RSS, {DEVICES} 台被轮询 polled", "MB", at_most=50),
            Line("cpu_pushing", "空闲 CPU idle, 各一线 pushing", "%", at_most=1),
            Line("cpu_polled", "CPU, 轮询 polled, 64 /s", "%", at_most=3),
        ),
        measure=many,
        limits=(Line("python_rss", "空 Python 进程的内存 RSS of a Python that does nothing", "MB"),),
        limit=limits.empty_python,
        seconds=32,
        runs_max=3,
    ),
    Bench(
        name="replug",
        how=f"拔线、插回 {CYCLES} 次, 插回时多半换了名字; 拔线前后各按一次; 直至全部致谢。\n\n"
        f"The cable pulled and put back {CYCLES} times, mostly as another device; a press before and during each"
        " outage; until all are thanked for.",
        bounded_by="每 0.5 秒找一次端口, 面板每 0.4 秒重发 looked for every 0.5 s; the panel repeats every 0.4 s",
        lines=(
            Line("back_p50", "插回 → 两次按键都已致谢 plug → both presses thanked for, p50", "s"),
            Line("back_max", "同上, 最长 the longest", "s", at_most=2),
            Line("lost", "已致谢而未存 thanked for and not kept", "", at_most=0),
            Line("names", "用过的名字 names that it had", ""),
        ),
        measure=replugged,
        limits=(Line("pty_p50", "pty 往返 round trip, p50", "ms"),),
        limit=limits.line,
        seconds=160,
        runs_max=1,
    ),
)
