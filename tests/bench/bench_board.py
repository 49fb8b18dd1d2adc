"""The operators' board of 10,000 windows: what a browser has to do for it, and a server for two hundred of them.

`python -m tests.bench.bench_board FOLDER` is the server: a process of its own, in which windows change each second.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collector import web
from tests.bench.limits import quantile
from tests.bench.table import PYTHON, Bench, Line, python_environment
from tests.brokers import ROOT
from tests.collector.doors import app_of
from tests.collector.gates import StandIn
from tests.collector.windows.many import Province
from tests.pages import browser as browsers

WINDOWS = 10_000
STREAMS = 200
CHANGES_PER_S = 100
_STEADY_S = 15.0
_LONG = (
    "window.long = []; new PerformanceObserver(found => { for (const each of found.getEntries())"
    " window.long.push(each.duration) }).observe({type: 'longtask', buffered: true})"
)
_PAINT = (
    "new Promise(done => new PerformanceObserver(list => { for (const each of list.getEntriesByName("
    "'first-contentful-paint')) done(each.startTime) }).observe({type: 'paint', buffered: true}))"
)
_BYTES = (
    "[...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')]"
    ".reduce((all, each) => all + each.transferSize, 0)"
)
_UNTIL = (
    "name => new Promise(done => { const look = () => document.querySelector('.rows').textContent.includes(name)"
    " ? done(Date.now()) : requestAnimationFrame(look); look() })"
)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


# ---- the server


def serve(folder: Path) -> None:
    """Serve until standard input ends; a line `N` takes the cable out of window N and tells when."""
    province = Province(folder, WINDOWS, now_ms())
    province.morning(WINDOWS, now_ms())
    ledger = province.ledger
    app = app_of(ledger, StandIn(), now_ms)
    app.extensions["board"].look()
    server = web.serve(app, "127.0.0.1", 0)
    threading.Thread(target=server.run, daemon=True).start()
    threading.Thread(target=_change, args=(province,), daemon=True).start()
    print(server.effective_port, flush=True)
    for line in sys.stdin:
        place = province.places[int(line)]
        province.say(place, now_ms(), "cable_out", now_ms())
        print(now_ms(), flush=True)


def _change(province: Province) -> None:
    while True:
        time.sleep(1)
        with province.ledger.intake.together():
            for _ in range(CHANGES_PER_S):
                place = province.chance.choice(province.places[100:])
                if province.chance.random() < 0.5:
                    province.rate(place, now_ms())
                else:
                    province.say(place, now_ms(), province.chance.choice(("ready", "inviting")))


class Site:
    """A running server."""

    def __init__(self, process: subprocess.Popen[str], port: int):
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def pull(self, place: int) -> int:
        """Take the cable out of this window; when that was in the ledger."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(place, file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1000


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    process = subprocess.Popen(
        [PYTHON, "-m", "tests.bench.bench_board", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=python_environment(ROOT),
    )
    try:
        assert process.stdout is not None
        yield Site(process, int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()


# ---- what is measured


def browsing(folder: Path) -> dict[str, float]:
    """One browser: first paint, bytes, the longest task while it is scrolled, searched and changed, and how long a
    change takes to the screen."""
    with site(folder) as running, browsers.chromium() as chromium, browsers.opened(chromium) as page:
        page.goto(running.url)
        page.wait_for_selector(".rows .hall")
        page.add_init_script(_LONG)
        page.reload()
        page.wait_for_selector(".rows .hall")
        paint, size = page.evaluate(_PAINT), page.evaluate(_BYTES)
        page.wait_for_timeout(1000)
        page.evaluate("window.long.length = 0")
        for _ in range(100):
            page.evaluate("document.querySelector('.rows').scrollTop += 1700")
            page.wait_for_timeout(40)
        for text in ("pc-01", "3号", ""):
            page.fill("input[name=q]", text)
            page.wait_for_timeout(700)
        longest = max(page.evaluate("window.long"), default=0)
        page.goto(f"{running.url}/?q=pc-00")
        page.wait_for_selector(".rows .window")
        took = []
        for place in range(30):
            page.fill("input[name=q]", f"pc-{place // 20:03}-{place % 20 + 1:02}")
            page.wait_for_timeout(400 + 37 * place)  # not in step with the second
            at_ms = running.pull(place)
            took.append(page.evaluate(_UNTIL, "线缆") - at_ms)
    return {
        "paint": paint,
        "kilobytes": size / 1000,
        "longest": longest,
        "change_p50": quantile(sorted(took), 0.5),
        "change_max": max(took),
    }


def streaming(folder: Path) -> dict[str, float]:
    """Two hundred streams, read as they come: the server's share of a core, and its memory."""
    with site(folder) as running:
        alone_s, alone_mb = _steady(running), running.megabytes()
        connections = [_stream(running.port) for _ in range(STREAMS)]
        time.sleep(3)
        return {
            "cores": _steady(running),
            "cores_alone": alone_s,
            "megabytes": running.megabytes(),
            "more": running.megabytes() - alone_mb,
            "open": sum(each.is_alive() for each in connections),
        }


def _steady(running: Site) -> float:
    begun_s, cpu_s = time.monotonic(), running.cpu_s()
    time.sleep(_STEADY_S)
    return (running.cpu_s() - cpu_s) / (time.monotonic() - begun_s)


def _stream(port: int) -> threading.Thread:
    def read() -> None:
        whole = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        whole.request("GET", "/board/windows", headers={"Accept-Encoding": "gzip"})
        whole.getresponse().read()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/board/stream")
        answer = connection.getresponse()
        since = ""
        while line := answer.readline():
            if line.startswith(b"id: ") and not since:
                since = line[4:].decode().strip()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


# ---- the machine's own limits


def bare(folder: Path) -> dict[str, float]:
    """The same browser with a page that has one line, from Python's own little server."""
    (folder / "index.html").write_text("<!doctype html><title>x</title><p>x", "utf-8")
    process = subprocess.Popen(
        [PYTHON, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().split(" port ")[1].split()[0]
        with browsers.chromium() as chromium, browsers.opened(chromium) as page:
            page.goto(f"http://127.0.0.1:{port}/")
            page.reload()
            return {"bare_paint": page.evaluate(_PAINT)}
    finally:
        process.kill()
        process.wait()


def reading(folder: Path) -> dict[str, float]:
    """What one look reads of the ledger at the least, once a second: the agents' moments, in cores."""
    (folder / "bare").mkdir()
    province = Province(folder / "bare", 10, now_ms())
    with province.ledger.store.writing() as db:
        db.executemany(
            "INSERT INTO agent(agent, status, status_ms, health, health_ms) VALUES (?,?,?,?,?)",
            [(f"x{n}", b"x" * 100, n, b"x" * 300, n) for n in range(WINDOWS)],
        )
    begun_s = time.process_time()
    for _ in range(20):
        province.ledger.store.rows("SELECT agent, status_ms, health_ms FROM agent")
    return {"agents_read": (time.process_time() - begun_s) / 20}


BENCHES = (
    Bench(
        name="board",
        how=f"{WINDOWS} 个窗口, 每秒 {CHANGES_PER_S} 处变化, 真实 Chromium: 打开、滚动、查找; 拔线到可见。\n\n"
        f"The board of {WINDOWS} windows with {CHANGES_PER_S} changes a second in a real Chromium: opened, scrolled,"
        " searched; and from a pulled cable in the ledger to the screen.",
        bounded_by="浏览器排版, 每秒一次的快照 the browser's layout, one snapshot a second",
        lines=(
            Line("paint", "首次绘制 first paint", "ms", at_most=1000),
            Line("kilobytes", "传输 transferred", "kB", at_most=250),
            Line("longest", "滚动、查找、变化时最长的任务 longest task", "ms", at_most=100),
            Line("change_p50", "变化到屏幕 a change to the screen, median", "ms"),
            Line("change_max", "变化到屏幕, 最慢 slowest", "ms", at_most=1000),
        ),
        measure=browsing,
        limits=(Line("bare_paint", "只有一行的网页 a page of one line", "ms"),),
        limit=bare,
        seconds=150,
        runs_max=3,
    ),
    Bench(
        name="streams",
        how=f"{STREAMS} 个浏览器看 {WINDOWS} 个窗口, 每秒 {CHANGES_PER_S} 处变化: 占几个核、多少内存。\n\n"
        f"{STREAMS} browsers look at {WINDOWS} windows with {CHANGES_PER_S} changes a second: cores and memory of the"
        " server, the changes themselves included.",
        bounded_by="每秒读一遍各代理的时刻 reading every agent's moments once a second",
        lines=(
            Line("cores", f"{STREAMS} 个浏览器 browsers", "核 cores", at_most=1.0),
            Line("cores_alone", "没有浏览器 no browser", "核 cores"),
            Line("megabytes", "内存 memory", "MB"),
            Line("more", f"其中为 {STREAMS} 个浏览器 of it for the browsers", "MB"),
            Line("open", "仍开着的流 streams still open", "", at_least=STREAMS),
        ),
        measure=streaming,
        limits=(Line("agents_read", "只读各代理的时刻 reading the moments alone", "核 cores"),),
        limit=reading,
        seconds=130,
        runs_max=2,
    ),
)

if __name__ == "__main__":
    serve(Path(sys.argv[1]))
