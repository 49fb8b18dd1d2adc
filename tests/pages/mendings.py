"""A collector's pages of mendings, draws and statistics, served on loopback over a ledger with a month in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from playwright.sync_api import Page

from collector.mending.draws import Draws
from collector.mending.mendings import Mendings
from tests.collector.agents import NOW_MS, Agent, closing, press
from tests.collector.doors import app_of, served
from tests.collector.gates import StandIn, known, works_of
from tests.collector.ledgers import VAULT, Ledger, case, directory_of, window

DAY_MS = 86_400_000
KEYS = (
    '{5 = "very_satisfied", 4 = "satisfied", 3 = "basically_satisfied",'
    ' 1 = {level = "very_dissatisfied", reason = "115"}, 2 = {level = "dissatisfied", reason = "207"}}'
)
TODAY_MS = NOW_MS + 30 * DAY_MS
_MORNING_MS = NOW_MS - 7 * 3_600_000  # nine in Beijing
_WINDOWS = [("w1", "D1", "0042"), ("w2", "D2", "0043"), ("w3", "D3", "0057")]


def month(folder: Path) -> Ledger:
    """Thirty days at three windows, with good, bad and missing ratings, by a seed."""
    ledger = Ledger(
        folder / "ledger.db", directory_of(*(window(window=w, device=d, keys=KEYS) for w, d, _ in _WINDOWS))
    )
    dice, agent, number, counts = Random(7), Agent(), 0, dict.fromkeys((w for w, *_ in _WINDOWS), 0)
    for day in range(30):
        for name, device, clerk in _WINDOWS:
            for _ in range(dice.randrange(3, 9)):
                number, at_ms = number + 1, _MORNING_MS + day * DAY_MS + dice.randrange(8 * 3_600_000)
                asked = {"window": name, "clerk": clerk, "closed_ms": at_ms + 900}
                records = [closing(f"i{number}", f"BJ2027{number:04}", **asked)]
                if dice.random() < 0.83:
                    counts[name] += 1
                    button = dice.choices([5, 4, 3, 2, 1], [70, 18, 8, 3, 2])[0]
                    pressed = {"window": name, "device": device, "pressed_ms": at_ms, "button": button}
                    records.insert(0, press(counts[name], f"i{number}", **pressed))
                else:
                    records[0] = closing(f"i{number}", f"BJ2027{number:04}", **(asked | {"outcome": "expired"}))
                ledger.take(agent, agent.write(*records))
    ledger.intake.take_cases([case(f"BJ2027{each:04}") for each in range(1, number + 1)], NOW_MS)
    return ledger


def worked_on(ledger: Ledger) -> None:
    """Half of the bad ratings have been worked on, each as far as it goes."""
    mendings = Mendings(ledger.store, VAULT)
    way = [
        ("check", "founded", "回看录像并问过窗口: 当天样本架是空的", "李敏"),
        ("mend", "done", "已补齐材料样本, 并改为每日开门前检查", "李敏"),
        ("answer", "told", "已电话说明情况并致歉", "李敏"),
        ("call_back", "satisfied", "办事人表示认可", "赵强"),
        ("close", "approved", "同意", "王芳"),
    ]
    bad = mendings.listed("open", TODAY_MS, most=-1)
    for at, each in enumerate(bad):
        if at == 1:
            steps = [
                ("check", "malicious", "与录像不符", "赵强"),
                ("close", "approved", "属实", "王芳"),
            ]
        else:
            steps = way[: (5, 5, 5, 1, 0, 2, 4, 0)[at % 8]]
        for done, (what, outcome, words, who) in enumerate(steps):
            at_ms = each.pressed_ms + (done + 1) * 5 * 3_600_000
            mendings.take(each.rating, what, outcome, words, who, mendings.found(each.rating).last, at_ms)
    draws = Draws(ledger.store)
    draws.announce(20_834, 20_862, "all", "", 8, "周审", "一月监督查评", TODAY_MS - DAY_MS)
    ledger.rate(990_001, name="hall-b")
    draws.make(TODAY_MS - DAY_MS + 60_000)
    drawn = draws.found(1).ratings
    checks = (("sound", ""), ("doubtful", "办事人说没有评过"), ("not_reached", "两次未接"))
    for rating, (outcome, words) in zip(drawn, checks, strict=False):
        mendings.spot_checked(1, rating, outcome, words, "周审", TODAY_MS - DAY_MS + 90_000)


@contextmanager
def serving(ledger: Ledger) -> Iterator[str]:
    """The address of the pages over this ledger."""
    with served(app_of(ledger, StandIn(), lambda: TODAY_MS, works=works_of(ledger))) as port:
        yield f"http://127.0.0.1:{port}"


def sign_in(page: Page, url: str, name: str, role: str) -> None:
    """From now on this page's person is that one."""
    page.context.add_cookies([{"name": "as", "value": known(name, role), "url": url}])
