"""The clerk's page in a real browser: asks, pauses, and learns whether there was a rating, never which."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from .agents import Hall, Running, clerks, running


@pytest.fixture
def agent(windows: Hall) -> Running:
    """A window that nobody has used."""
    return windows.window()


def sign_in(agent: Running, page: Page, number: str = "018", pin: str = "2468", lang: str = "zh") -> None:
    page.goto(f"{agent.url}/clerk/?lang={lang}")
    page.select_option("#window", agent.window)
    page.fill("#number", number)
    page.fill("#pin", pin)
    page.click("button.first")


def test_a_day_at_the_window(agent: Running, browse: Callable[..., Page]) -> None:
    """Signs in, the tablet shows her card; asks for a rating of a case; sees that the citizen is at it, then that they
    rated, and nowhere how; pauses, and the tablet says so; signs out, and the card is gone."""
    tablet, clerk = browse(), browse()
    tablet.goto(agent.standing)
    expect(tablet.locator("#idle")).to_be_visible()
    heard: list[str] = []
    clerk.on("response", lambda response: heard.append(response.url))
    sign_in(agent, clerk)
    expect(clerk.locator("h1")).to_have_text(f"窗口 {agent.window}")
    expect(tablet.locator("#card-name")).to_have_text("张敏")
    expect(clerk.locator("#sees-words")).to_have_text("欢迎页和您的工牌")
    clerk.fill("#case", "BJ20260001234")
    clerk.click("#ask")
    expect(clerk.locator("#sees-words")).to_have_text("请您评价 · 五个表情")
    expect(tablet.locator("#case")).to_have_text("办件 …1234 ·")
    tablet.click(".face.very_dissatisfied")
    expect(clerk.locator("#sees-words")).to_have_text("正在填写评价")
    tablet.click("#tags button >> nth=7")
    tablet.click("#submit")
    expect(tablet.locator("#thanks")).to_be_visible()
    expect(clerk.locator("#last")).to_have_text("已评价")
    expect(clerk.locator("#latest tr").first).to_contain_text("BJ20260001234")
    assert not any(word in clerk.content() for word in ("满意", "satisfied", "服务态度", "差评"))
    clerk.click("#pause")
    expect(tablet.locator("#paused")).to_be_visible()
    clerk.click("#pause")
    expect(tablet.locator("#idle")).to_be_visible()
    clerk.click(".out button")
    expect(clerk.locator("#number")).to_be_visible()
    expect(tablet.locator("#card")).to_be_hidden()


def test_a_clerk_cannot_rate(agent: Running, browse: Callable[..., Page]) -> None:
    """Nothing on the page and no address of it takes a rating: what it may ask for is asked, taken back and paused."""
    clerk = browse()
    sign_in(agent, clerk)
    expect(clerk.locator("#ask")).to_be_visible()
    tried = clerk.evaluate(
        """async () => {
             const headers = { 'X-Form': document.getElementById('work').dataset.form };
             return Promise.all(['press', 'rate', 'decline', 'stay'].map(async (what) =>
               (await fetch(`/clerk/${what}`, { method: 'POST', body: '{}', headers })).status));
           }"""
    )

    assert [404] * 4 == tried


def test_one_who_takes_back_or_declines_is_told_apart(agent: Running, browse: Callable[..., Page]) -> None:
    """Taken back by the clerk, declined by the citizen, rated: each in its own words, the newest first."""
    tablet, clerk = browse(), browse()
    tablet.goto(agent.standing)
    sign_in(agent, clerk)
    clerk.click("#ask")
    expect(tablet.locator("#ask")).to_be_visible()
    clerk.click("#withdraw")
    expect(clerk.locator("#last")).to_have_text("已撤回")
    expect(tablet.locator("#ask")).to_be_hidden()
    clerk.click("#ask")
    tablet.click("#decline")
    expect(clerk.locator("#last")).to_have_text("未评价 (本人不评)")

    assert ["未评价 (本人不评)", "已撤回"] == [each.split("\t")[-1] for each in clerk.inner_text("#latest").split("\n")]


@pytest.mark.parametrize("face", ["", "satisfied", "very_dissatisfied"])
def test_asking_anew_says_that_one_was_still_open(agent: Running, browse: Callable[..., Page], face: str) -> None:
    """In the same words whether or not somebody was answering, and what they chose; only while this one is open, and
    not where the one before had ended. Red if one invitation takes another's place without a word."""
    tablet, clerk = browse(), browse()
    tablet.goto(agent.standing)
    sign_in(agent, clerk)
    clerk.click("#ask")
    expect(tablet.locator("#ask")).to_be_visible()
    expect(clerk.locator("#sees-words")).to_have_text("请您评价 · 五个表情")
    expect(clerk.locator("#replaced")).to_be_empty()
    if face:
        tablet.click(f".face.{face}")
        expect(clerk.locator("#sees-words")).to_have_text("正在填写评价")
    clerk.click("#ask")
    expect(clerk.locator("#replaced")).to_have_text("上一次评价邀请还没有结束, 已换成这一次")
    clerk.click("#withdraw")
    expect(clerk.locator("#replaced")).to_be_empty()
    with clerk.expect_response("**/clerk/ask") as answer:
        clerk.click("#ask")
    expect(clerk.locator("#sees-words")).to_have_text("请您评价 · 五个表情")

    assert not answer.value.json()["replaced"]
    expect(clerk.locator("#replaced")).to_be_empty()


def test_a_screen_that_is_not_open_is_a_fault_that_the_clerk_sees(agent: Running, browse: Callable[..., Page]) -> None:
    """The tablet is off: said at once, and gone when it is there."""
    clerk = browse()
    sign_in(agent, clerk)
    expect(clerk.locator("#trouble")).to_contain_text("评价屏没有打开")
    expect(clerk.locator("#sees-words")).to_contain_text("什么也没有")
    tablet = browse()
    tablet.goto(agent.standing)
    expect(clerk.locator("#trouble")).to_be_hidden()


def test_a_stream_that_went_silent_is_noticed(agent: Running, browse: Callable[..., Page]) -> None:
    """The lid was closed, and the line is dead without either side knowing: what is shown is fresh all the same, or
    said to be old. Red if it is the state of before for minutes."""
    clerk = browse()
    clerk.clock.install()
    clerk.route("**/clerk/events", lambda _: None)  # no word, and no error
    sign_in(agent, clerk)
    expect(clerk.locator("#ask")).to_be_visible()
    clerk.wait_for_function("checking")
    agent.invite(case_no="BJ20260001234")
    clerk.clock.run_for(16_000)
    expect(clerk.locator("#latest tr").first).to_contain_text("BJ20260001234")
    expect(clerk.locator("#stale")).to_be_hidden()
    clerk.route("**/clerk/state", lambda route: route.abort())
    clerk.clock.run_for(16_000)

    expect(clerk.locator("#stale")).to_be_visible()


def test_what_was_yesterday_is_not_taken_for_just_now(agent: Running, browse: Callable[..., Page]) -> None:
    """On the next morning the service of the day before stands there with its day, and nobody was here just now. Red if
    only the time of day is shown."""
    opened = agent.invite(case_no="BJ20260001234")
    agent.ask("DELETE", f"/v1/invitations/{opened['id']}")
    at = datetime.fromtimestamp(opened["opened_ms"] / 1000, ZoneInfo("Asia/Shanghai"))
    clerk = browse()
    clerk.clock.install(time=time.time() + 86_400)
    sign_in(agent, clerk)

    expect(clerk.locator("#latest tr").first).to_contain_text(f"{at.month}-{at.day} {at.hour:02}:")
    expect(clerk.locator("#last")).to_have_text("–")


def test_a_call_that_nobody_answers_is_said_to_have_failed(agent: Running, browse: Callable[..., Page]) -> None:
    """The Wi-Fi is away: after seconds the button can be pressed again. Red if it waits for ever."""
    clerk = browse()
    clerk.clock.install()
    sign_in(agent, clerk)
    expect(clerk.locator("#pause")).to_have_text("暂停服务")
    clerk.route("**/clerk/ask", lambda _: None)
    clerk.click("#ask")
    expect(clerk.locator("#ask")).to_be_disabled()
    clerk.clock.run_for(6_000)

    expect(clerk.locator("#ask")).to_be_enabled()
    expect(clerk.locator("#wrong")).to_contain_text("没有办成")


def test_a_wrong_pin_is_refused_and_five_have_to_wait(agent: Running, browse: Callable[..., Page]) -> None:
    """In words, in the reader's language."""
    clerk = browse()
    for _ in range(5):
        sign_in(agent, clerk, number="021", pin="0000")  # the other tests' clerk is not to wait
        expect(clerk.locator("#mistake")).to_have_text("工号或口令不对")
        expect(clerk.locator("#number")).to_have_value("021")  # a mistyped PIN asks for nothing else again
    sign_in(agent, clerk, number="021", lang="en")

    assert "oo many wrong tries" in clerk.inner_text("#mistake")


def test_an_old_page_and_another_site_can_do_nothing(agent: Running, browse: Callable[..., Page]) -> None:
    """Without the word of its own form a call is refused, and without a sign-in there is nothing to see."""
    clerk = browse()
    sign_in(agent, clerk)
    expect(clerk.locator("#ask")).to_be_visible()
    refused = clerk.evaluate(
        """async () => (await fetch('/clerk/ask', { method: 'POST', body: '{}', headers: { 'X-Form': 'x' } })).status"""
    )
    stranger = browse()
    stranger.goto(f"{agent.url}/clerk/")
    unseen = stranger.evaluate("async () => (await fetch('/clerk/events')).status")

    assert (403, 401) == (refused, unseen)


def test_she_stays_signed_in_when_the_agent_starts_again(tmp_path: Path, browse: Callable[..., Page]) -> None:
    """A restart is not hers to notice; a new PIN is, everywhere."""
    known = clerks(tmp_path)
    clerk = browse()
    with running(tmp_path) as agent:
        sign_in(agent, clerk)
        expect(clerk.locator("#ask")).to_be_visible()
    with running(tmp_path, port=agent.port):
        clerk.reload()
        expect(clerk.locator("#ask")).to_be_visible()
        known.put(known.get("018"), "9753")
        clerk.reload()
        expect(clerk.locator("#number")).to_be_visible()


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_nobody_is_kept_out(
    agent: Running, browse: Callable[..., Page], complaints: Callable[[Page], list[str]], lang: str
) -> None:
    """axe-core finds nothing, light or dark, and a phone need not scroll sideways."""
    page = browse(viewport={"width": 360, "height": 740})

    def found() -> list[str]:
        both = []
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            both += complaints(page)
        return both

    page.goto(f"{agent.url}/clerk/?lang={lang}")
    assert [] == found()
    sign_in(agent, page, lang=lang)
    expect(page.locator("#trouble")).to_be_visible()
    page.fill("#case", "BJ20260001234")
    page.click("#ask")
    expect(page.locator("#latest tr td")).to_have_count(3)
    assert [] == found()
    assert page.evaluate("document.body.scrollWidth <= innerWidth")


def test_signing_out_ends_what_is_open_elsewhere(agent: Running, browse: Callable[..., Page]) -> None:
    """A second tab, or somebody with a copy of the cookie, is at the sign-in page by itself. Red if only the browser
    that signs out forgets."""
    clerk, thief = browse(), browse()
    sign_in(agent, clerk)
    expect(clerk.locator("#ask")).to_be_visible()
    thief.context.add_cookies(clerk.context.cookies())
    thief.goto(f"{agent.url}/clerk/")
    expect(thief.locator("#ask")).to_be_visible()
    clerk.click(".out button")
    expect(thief.locator("#number")).to_be_visible()
    thief.context.add_cookies([{**each} for each in clerk.context.cookies()])
    thief.goto(f"{agent.url}/clerk/")

    assert thief.locator("#number").is_visible()
