"""The rating page: from the citizen's touch to the thanks on the screen, and what an agent weighs that shows it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from edge_agent.clerks import Seat
from tests.bench import limits
from tests.bench.limits import quantile
from tests.bench.table import Bench, Line
from tests.pages import browser as browsers
from tests.pages.agents import Running, clerks, running

RATINGS = 150
SCREENS = 10
_TIMED = """() => {
  window.took = []; let at = 0;
  document.addEventListener("click", (event) => { if (event.target.closest("#submit")) at = performance.now(); }, true);
  new MutationObserver(() => {
    if (at && !document.getElementById("thanks").hidden) {
      const from = at; at = 0;
      requestAnimationFrame(() => setTimeout(() => took.push(performance.now() - from)));  // painted
    }
  }).observe(document.getElementById("thanks"), { attributes: true });
}"""
_BARE = """async (times) => {
  const took = [];
  for (let n = 0; n < times; n++) {
    const from = performance.now();
    await (await fetch("/look/icon.svg", { cache: "no-store" })).text();
    document.title = n;
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    took.push(performance.now() - from);
  }
  return took;
}"""


def touch_to_thanks(folder: Path) -> dict[str, float]:
    """Citizens one after the other on one tablet; then what the agent weighs, with ten more screens open."""
    clerks(folder).sit("3", Seat("018"))
    with running(folder) as agent, browsers.chromium() as chromium, ExitStack() as screens:
        page = screens.enter_context(browsers.opened(chromium))
        weight = _weighed(page)
        page.goto(agent.standing)
        page.wait_for_selector("#idle:visible")
        page.evaluate(_TIMED)
        for number in range(RATINGS):
            _rate(agent, page, number)
        took = sorted(page.evaluate("took"))
        rss = agent.rss_mb()
        for _ in range(SCREENS):
            screens.enter_context(browsers.opened(chromium)).goto(agent.standing)
        full = agent.rss_mb()
        bare = sorted(page.evaluate(_BARE, RATINGS))
    return {
        "thanks_p50": quantile(took, 0.5),
        "thanks_p99": quantile(took, 0.99),
        "rss": rss,
        "rss_screens": full,
        "weight": sum(weight) / 1000,
        "bare_p50": quantile(bare, 0.5),
        "bare_p99": quantile(bare, 0.99),
    }


def _weighed(page: Page) -> list[int]:
    sizes: list[int] = []

    def add(response: Any) -> None:
        if "events" not in response.url:
            sizes.append(int(response.headers.get("content-length", 0)))

    page.on("response", add)
    return sizes


def _rate(agent: Running, page: Page, number: int) -> None:
    agent.invite(case_no=f"C{number}", replace=True)
    page.wait_for_selector("#ask:visible")
    page.click(".face.satisfied")
    page.click("#submit")
    page.wait_for_function("number => took.length > number", arg=number)


BENCHES = (
    Bench(
        name="page",
        how=f"真实的代理和 Chromium, {RATINGS} 位办事人先后评价; 从点“提交”到“谢谢”画在屏上; 再开 {SCREENS} 个评价屏。\n\n"
        f"A real agent and Chromium: {RATINGS} citizens one after the other, from the touch on Send to the thanks"
        f" painted on the screen; then {SCREENS} more screens are opened.",
        bounded_by="浏览器一次请求加一帧, 一次落盘 one request and one frame of the browser, one commit to the disk",
        lines=(
            Line("thanks_p50", "触摸 → 谢谢 touch → thanks, p50", "ms"),
            Line("thanks_p99", "触摸 → 谢谢 touch → thanks, p99", "ms", at_most=100),
            Line("rss", "代理 agent with its page open, RSS", "MB", at_most=60),
            Line("rss_screens", f"同上, 另开 {SCREENS} 屏 with {SCREENS} more screens, RSS", "MB", at_most=60),
            Line("weight", "页面大小, 未压缩 page weight, not compressed", "kB", at_most=250),
            Line("bare_p50", "同一页面的空请求加一帧 an empty request and a frame in the same page, p50", "ms"),
            Line("bare_p99", "同上 the same, p99", "ms"),
        ),
        measure=touch_to_thanks,
        limits=(Line("paced_p50", "SQLite 一行提交, 每秒 10 次 one-row commit, ten a second, p50", "ms"),),
        limit=limits.paced_commits,
        seconds=70,
        runs_max=3,
    ),
)
