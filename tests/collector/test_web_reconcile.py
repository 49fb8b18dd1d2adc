"""The page on which four counts agree: whole without scripts, what matters first, by day and window."""

from __future__ import annotations

import json
import re

import pytest

from protocols.ratings import Accepted, Refused
from tests.collector.agents import NOW_MS, Agent, closing, press, rated
from tests.collector.doors import app_of, served
from tests.collector.halls import DAY_MS, HALL, Hall
from tests.collector.ledgers import Ledger, case, unguard
from tests.collector.people import NAMES, cookie, gate
from tests.collector.test_web import Site
from tests.pages import browser


@pytest.fixture
def hall(opened) -> Ledger:
    """Two days at two windows; a bad rating accepted, one parked, one that waits for its case."""
    ledger, agent = opened(HALL), Agent()
    w2 = {"window": "w2", "device": "D2"}
    ledger.take(agent, agent.write(*rated(1, button=2), *rated(2), *rated(3), press(4), press(4)))
    yesterday = [press(n, pressed_ms=NOW_MS - DAY_MS, **w2) for n in (1, 2)]
    ledger.take(agent, agent.write(*yesterday, press(3, "i9", button=9, **w2), closing("i9", "C9", window="w2")))
    ledger.intake.take_cases([case("C1"), case("C2")], NOW_MS)
    for verdict in (Accepted(), Refused("no")):
        due = ledger.delivery.next(NOW_MS, ())
        ledger.delivery.end(due, "rating", ledger.delivery.begin(due, "rating", NOW_MS), verdict, NOW_MS)
    return ledger


def text_of(page: str) -> str:
    """What a person reads, in one line."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_the_page_says_first_what_matters(hall):
    """Whether all is explained, then bad ratings on a line of their own, then the days, newest first."""
    page = Site(hall).page("/reconcile")
    text = text_of(page)

    assert text.index("✓ 全部说得清") < text.index("✓ 差评 收到") < text.index("2027-01-15")
    assert "收到 1 = 已接收 1 + 待处理 0 + 等待 0" in text
    assert text.index("2027-01-15") < text.index("2027-01-14")
    ours = re.findall(r'<script src="([^"]+)" defer[^>]*></script>', page)
    assert ["/static/stack.js", "/static/sideways.js"] == ours
    assert len(ours) == page.count("<script")  # and none that stands in the page itself
    for words in ("邀请外 2", "省平台拒收 1", "等待办件信息 1", "按键无含义"):
        assert words in text
    assert "请业务系统提交该办件" in text  # what to do


def test_what_is_not_explained_stands_above_everything(hall):
    """In red, with where and how much, and what to do."""
    unguard(hall.store._db)
    hall.store._db.execute("DELETE FROM press WHERE count = 4 AND fate = 'unsolicited'")
    text = text_of(Site(hall).page("/reconcile").partition("<main>")[2])

    assert text.index("✗ 1 无法解释") < text.index("差评")
    assert "运行 collector verify" in text
    assert "✗ 无法解释 1 : 按键: 收下的记录与账本行之差" in text


def test_days_and_window_can_be_chosen(hall):
    """As in the form, which keeps what was chosen."""
    site = Site(hall)
    page = site.page("/reconcile?from=2027-01-14&to=2027-01-14&window=hall-a/w2")

    assert ["2027-01-14"] == re.findall(r'<td class="name">(\d{4}-\d\d-\d\d)', page)
    assert 'name="from" value="2027-01-14"' in page
    assert "<option selected>hall-a/w2</option>" in page
    assert "这些天没有按键" in site.page("/reconcile?window=nobody")
    assert 3 == len(re.findall(r'<td class="name">\d{4}', site.page("/reconcile?from=&to=&window=")))


def test_the_board_leads_there_and_back(hall):
    site = Site(hall)

    assert 'href="/reconcile"' in site.page("/")
    assert 'href="/"' in site.page("/reconcile")


@pytest.mark.parametrize("path", ["/reconcile", "/api/v1/reconcile"])
@pytest.mark.parametrize(
    ("name", "day"), [("from", "today"), ("to", "2027-02-30"), ("from", "20270101"), ("to", "٢٠٢٧-٠١-٠١")]
)
def test_a_day_that_is_none_is_named(hall, path, name, day):
    answer = Site(hall).client.get(path, query_string={name: day})

    assert (400, name) == (answer.status_code, answer.get_json()["error"]["field"])
    assert "2026-11-24" in answer.get_json()["error"]["message"]


def test_the_page_shows_the_last_seven_days_and_the_api_all(opened):
    """Days in which something was pressed. Whoever wants more says from when."""
    ledger, agent = opened(HALL), Agent()
    ledger.take(agent, agent.write(*(press(10 - n, pressed_ms=NOW_MS - 3 * n * DAY_MS) for n in range(10))))
    site = Site(ledger)

    assert 7 == len(re.findall(r'<td class="name">\d{4}', site.page("/reconcile")))
    assert 10 == len(re.findall(r'<td class="name">\d{4}', site.page("/reconcile?from=2020-01-01")))
    assert 10 == len(site.get("reconcile")["days"])


def test_a_wrong_clock_is_named_and_linked(opened):
    ledger, agent = opened(HALL), Agent()
    ledger.take(agent, agent.write(press(1), press(2, pressed_ms=5000)))
    page = Site(ledger).page("/reconcile?from=2027-01-01")

    assert "! 时钟不对 1 次按键" in text_of(page)
    assert "1970-01-01" not in page
    assert "1970-01-01" in Site(ledger).page("/reconcile?to=2019-12-31")


def test_the_json_says_the_same_and_knows_nobody(hall):
    """Every figure of the page; no case, no clerk."""
    found = Site(hall).get("reconcile?window=w1")

    assert (0, {"received": 1, "accepted": 1, "parked": 0, "waiting": 0}) == (found["unexplained"], found["bad"])
    (line,) = found["days"]
    counts = ("device", "records", "ledger", "ratings", "accepted", "parked", "waiting")
    assert (4, 5, 5, 3, 1, 1, 1) == tuple(line[key] for key in counts)
    assert "C1" not in json.dumps(found)


# waitress closes its sockets under its own loop when another thread closes it; the program ends with its process.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_real_browser_shows_it_whole(opened, tmp_path):
    """Chromium draws it from the server alone, and every line is there; a picture of it is a few hundred kilobytes."""
    if browser.path() is None:
        pytest.skip("没有浏览器 / no browser on this machine: apt-get install chromium")
    ledger = opened(HALL)
    Hall(ledger, 3).live(300)
    app = app_of(ledger, gate(), lambda: NOW_MS + 30 * DAY_MS)
    picture = tmp_path / "page.png"
    with served(app) as port, browser.chromium() as running, browser.opened(running) as page:
        url = f"http://127.0.0.1:{port}/reconcile"
        page.context.add_cookies([cookie(url)])
        page.goto(url)
        drawn = page.content()
        page.screenshot(path=picture)

    assert "✓ 全部说得清" in text_of(drawn)
    assert drawn.count("</tbody>") > 5
    assert picture.stat().st_size > 20_000


def test_it_is_read_in_either_language(hall):
    """One at a time: nobody has to read past the other."""
    answer = Site(hall).client.get("/reconcile?lang=en")
    text = text_of(answer.text.partition("<main>")[2])
    names = r"市民中心|号|" + "|".join(NAMES.values())

    assert "✓ everything is explained" in text and "received 1 = accepted 1 + parked 0 + waiting 0" in text
    assert [] == re.findall("[\u4e00-\u9fff]+", re.sub(names, "", text))
