"""The citizen's page in a real browser, before a real agent: one press, one record, and nobody is thanked for less."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from edge_agent.door.streams import EACH_MAX

from .agents import Hall, Running, running

LEVELS = ("very_satisfied", "satisfied", "basically_satisfied", "dissatisfied", "very_dissatisfied")
PHONE = {"width": 360, "height": 740}


@pytest.fixture
def agent(windows: Hall) -> Running:
    """A window that nobody has used, with a clerk."""
    fresh = windows.window()
    fresh.sit("018")
    return fresh


def shows(page: Page, section: str, wait_ms: int = 10_000) -> None:
    expect(page.locator(f"#{section}")).to_be_visible(timeout=wait_ms)


def invited(agent: Running, page: Page, **more: Any) -> str:
    """A citizen is asked; the invitation's id."""
    opened: str = agent.invite(**more)["id"]
    shows(page, "ask")
    return opened


def test_one_citizen_one_record(agent: Running, browse: Callable[..., Page]) -> None:
    """Idle, and then five citizens, a level each: asked, chosen with a tag and a sentence, thanked. One press of each
    on the disk that says just that, and idle again."""
    page = browse()
    page.goto(agent.standing)
    shows(page, "idle")
    for button, level in zip((5, 4, 3, 2, 1), LEVELS, strict=True):
        invitation = invited(agent, page, case_no="BJ20260001234")
        page.click(f".face.{level}")
        shows(page, "why")
        code = page.evaluate("level => given.tags[level][1][0]", level)
        page.click("#tags button >> nth=1")
        page.fill("#text", "第一行\n第二行")
        page.click("#submit")
        shows(page, "thanks")
        press = agent.kept()[-1]

        assert ("answered", 6 - button) == (agent.state(invitation), len(agent.kept()))
        assert (button, [code], 2) == (press["button"], press["tags"], press["tags_version"])
        assert ("第一行 第二行", invitation, "page") == (press["text"], press["invitation"], press["profile"])
    shows(page, "idle")


def test_a_bad_rating_asks_why_and_a_good_one_does_not(agent: Running, browse: Callable[..., Page]) -> None:
    """Without a reason the button of a bad one says what is missing and sends nothing; a good one goes at once."""
    page = browse()
    page.goto(agent.standing)
    invited(agent, page)
    page.click(".face.very_dissatisfied")
    page.locator("#submit").dispatch_event("click")
    expect(page.locator("#said")).to_have_text("请先选一项或写一句话")
    shows(page, "why")
    assert [] == agent.kept()
    page.fill("#text", "态度差")
    page.click("#submit")
    shows(page, "thanks")
    agent.invite()
    shows(page, "ask")
    page.click(".face.satisfied")
    page.click("#submit")
    shows(page, "thanks")

    assert [(1, "态度差"), (4, "")] == [(each["button"], each.get("text", "")) for each in agent.kept()]


def test_a_good_rating_is_one_touch_where_the_hall_wants_it_so(windows: Hall, browse: Callable[..., Page]) -> None:
    """With reasons = "bad" a good face is kept at the first touch; a bad one asks all the same."""
    agent = windows.window('reasons = "bad"')
    page = browse()
    page.goto(agent.standing)
    invited(agent, page)
    page.click(".face.basically_satisfied")
    shows(page, "thanks")
    agent.invite()
    shows(page, "ask")
    page.click(".face.dissatisfied")
    shows(page, "why")

    assert [3] == [each["button"] for each in agent.kept()]


def test_a_second_touch_says_no_more_than_the_first(agent: Running, browse: Callable[..., Page]) -> None:
    """Ten touches on two faces and on the button, as fast as a child can: one press. Red if submit() does not look
    whether something is on its way."""
    page = browse()
    page.goto(agent.standing)
    invited(agent, page)
    page.evaluate(
        """() => { for (let n = 0; n < 5; n++) { document.querySelector('.face.satisfied').click();
                   document.querySelector('.face.very_dissatisfied').click(); }
                   for (let n = 0; n < 10; n++) document.getElementById('submit').click(); }"""
    )
    shows(page, "thanks")

    assert [4] == [each["button"] for each in agent.kept()]


def test_nobody_is_thanked_before_the_press_is_on_the_disk(agent: Running, browse: Callable[..., Page]) -> None:
    """As long as the agent's answer is held back the page says that it is saving. Red if it thanks on sending."""
    page = browse()
    page.goto(agent.standing)
    invited(agent, page)
    waiting: list[Any] = []
    page.route("**/press", lambda route: waiting.append(route))
    page.click(".face.very_satisfied")
    page.click("#submit")
    shows(page, "sending")
    expect(page.locator("#sending-words")).to_be_visible()
    assert not page.locator("#thanks").is_visible()
    waiting[0].continue_()
    shows(page, "thanks")

    assert 1 == len(agent.kept())


def test_an_answer_that_was_lost_does_not_double_the_press(agent: Running, browse: Callable[..., Page]) -> None:
    """The agent keeps it, its answer is lost twice, the page says it again under the same number: one record. Red if
    each try counts as a press of its own."""
    page = browse()
    lost = []

    def lose(route: Any) -> None:
        if len(lost) < 2:
            route.fetch()  # the agent hears it
            lost.append(route)
            route.abort()
        else:
            route.continue_()

    page.goto(agent.standing)
    invited(agent, page)
    page.route("**/press", lose)
    page.click(".face.satisfied")
    page.click("#submit")
    shows(page, "thanks")

    assert (2, 1) == (len(lost), len(agent.kept()))


def test_what_is_refused_is_said_and_offered_again(agent: Running, browse: Callable[..., Page]) -> None:
    """No room on the disk: the page says so in words, and thanks only after the next try was kept."""
    page = browse()
    page.goto(agent.standing)
    invited(agent, page)
    page.route("**/press", lambda route: route.fulfill(status=507, json={"error": {"code": "storage_full"}}))
    page.click(".face.dissatisfied")
    page.click("#tags button >> nth=0")
    page.click("#submit")
    shows(page, "trouble")
    assert "存储已满" in page.inner_text("#trouble-words")
    page.unroute("**/press")
    page.click("#again")
    shows(page, "thanks")

    assert [2] == [each["button"] for each in agent.kept()]


def test_a_press_outlives_a_restart_of_the_agent(tmp_path: Path, browse: Callable[..., Page]) -> None:
    """Pressed while the agent is being started again: the page goes on saying it until it is kept, once, and for its
    own citizen."""
    page = browse()
    with running(tmp_path) as agent:
        page.goto(agent.standing)
        invitation = invited(agent, page, seconds=120)
        page.click(".face.very_dissatisfied")
        page.click("#tags button >> nth=0")
    page.click("#submit")
    shows(page, "sending")
    with running(tmp_path, port=agent.port) as agent:
        shows(page, "thanks", 20_000)

        assert [(1, invitation)] == [(each["button"], each["invitation"]) for each in agent.kept()]
        assert "answered" == agent.state(invitation)


def test_whoever_walks_away_has_pressed_all_the_same(agent: Running, browse: Callable[..., Page]) -> None:
    """A face was touched and then nothing more: it says on the screen that it will be sent, and it is. The bad one
    must arrive, with or without a reason."""
    page = browse()
    page.clock.install()
    page.goto(agent.standing)
    page.clock.run_for(1000)
    invited(agent, page)
    page.click(".face.dissatisfied")
    page.clock.run_for(1000)
    assert re.search(r"\d+ 秒内没有操作, 将按“不满意”提交", page.inner_text("#soon"))
    for _ in range(60):  # no faster than its questions are answered
        page.clock.run_for(1000)
        page.wait_for_timeout(20)
        if agent.kept():
            break

    assert [2] == [each["button"] for each in agent.kept()]


def test_the_next_citizen_does_not_answer_for_the_one_before(agent: Running, browse: Callable[..., Page]) -> None:
    """One is still choosing when the next is asked: what was chosen goes to the one who chose it, and the screen asks
    the next. Red if the press takes the invitation that is shown when it is sent."""
    page = browse()
    page.goto(agent.standing)
    before = invited(agent, page)
    page.click(".face.very_dissatisfied")
    shows(page, "why")
    after = agent.invite(replace=True)["id"]
    shows(page, "ask")
    page.click(".face.very_satisfied")
    page.click("#submit")
    shows(page, "thanks")

    assert {(1, before), (5, after)} == {(each["button"], each.get("invitation")) for each in agent.kept()}


def test_whoever_had_chosen_is_thanked_though_the_clerk_took_it_back(
    agent: Running, browse: Callable[..., Page]
) -> None:
    """What was pressed is kept, and the citizen is told just that, not that it was cancelled; the clerk learns that
    there was a rating after all."""
    page = browse()
    page.goto(agent.standing)
    invitation = invited(agent, page)
    page.click(".face.dissatisfied")
    shows(page, "why")
    agent.ask("DELETE", f"/v1/invitations/{invitation}")
    shows(page, "thanks")

    assert [(2, invitation)] == [(each["button"], each.get("invitation")) for each in agent.kept()]


@pytest.mark.parametrize("leaving", ["location = 'about:blank'", "location.reload()"])
def test_whoever_closes_the_page_has_pressed_all_the_same(
    agent: Running, browse: Callable[..., Page], leaving: str
) -> None:
    """A face was touched, and the phone is put away or the kiosk goes on: what was chosen is said on leaving. Whoever
    only looked, or took the face back, has said nothing. Red if a choice ends with its page."""
    page = browse()
    page.goto(agent.standing)
    first = invited(agent, page, seconds=120)
    page.click(".face.very_satisfied")
    page.click("#back")
    page.evaluate(leaving)
    page.wait_for_timeout(500)
    assert [] == agent.kept()
    page.goto(agent.standing)
    shows(page, "ask")
    page.click(".face.very_dissatisfied")
    page.click("#tags button >> nth=0")
    page.evaluate(leaving)
    for _ in range(50):
        page.wait_for_timeout(100)
        if agent.kept():
            break

    assert [(1, first, ["108"])] == [(each["button"], each["invitation"], each["tags"]) for each in agent.kept()]
    assert "answered" == agent.state(first)


def test_somebody_who_writes_is_not_cut_off(agent: Running, browse: Callable[..., Page]) -> None:
    """Each touch keeps the invitation open. Red without `stay`."""
    page = browse()
    page.goto(agent.standing)
    invitation = invited(agent, page, seconds=6)
    page.click(".face.dissatisfied")
    page.wait_for_timeout(7500)

    assert "open" == agent.state(invitation)
    page.click("#tags button >> nth=3")
    page.click("#submit")
    shows(page, "thanks")
    assert [invitation] == [each["invitation"] for each in agent.kept()]


def test_not_now_is_no_rating(agent: Running, browse: Callable[..., Page]) -> None:
    """Declined, said kindly, and nothing is kept as a press."""
    page = browse()
    page.goto(agent.standing)
    invitation = invited(agent, page)
    page.click("#decline")
    shows(page, "over")
    expect(page.locator("#over-words")).to_contain_text("祝您生活愉快")
    shows(page, "idle")

    assert ("declined", []) == (agent.state(invitation), agent.kept())
    assert ["declined"] == [each["outcome"] for each in agent.kept("closing")]


def test_time_over_is_said_and_the_page_is_ready_for_the_next(agent: Running, browse: Callable[..., Page]) -> None:
    """Nobody touched anything: expired, no press, and idle again."""
    page = browse()
    page.goto(agent.standing)
    invitation = invited(agent, page, seconds=1)
    shows(page, "idle")

    assert [] == agent.kept()
    deadline_s = time.monotonic() + 10
    while agent.state(invitation) == "open" and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert "expired" == agent.state(invitation)


def test_the_link_of_an_invitation_rates_it_alone(agent: Running, browse: Callable[..., Page]) -> None:
    """A kiosk opens it at the end of a transaction. Another invitation's, an altered key, and a link that was used are
    told in words and take nothing."""
    opened = agent.invite()
    page = browse()
    page.goto(agent.url + opened["page"])
    shows(page, "ask")
    page.click(".face.very_satisfied")
    page.click("#submit")
    shows(page, "thanks")
    again = browse()
    again.goto(agent.url + opened["page"])
    shows(again, "over")
    assert "已评价过" in again.inner_text("#over-words")
    slow = browse()
    slow.route("**/events", lambda _: None)  # the agent has not said anything yet
    slow.goto(agent.url + opened["page"])
    shows(slow, "idle")  # and nobody is told that a link has ended before it is known
    other = agent.invite()
    press = {"boot": 1, "count": 1, "level": "satisfied", "invitation": other["id"]}
    stolen = agent.ask("POST", opened["page"] + "press", press)
    forged = agent.ask("GET", opened["page"].replace(opened["id"], other["id"]))

    assert "invitation" == stolen["error"]["field"]
    assert "没有这个评价页" in forged["error"]["message"]
    assert 1 == len(agent.kept())


class _Kiosk(BaseHTTPRequestHandler):
    """A kiosk's own page, with ours in a frame, that writes down what it is told."""

    frame = ""

    def do_GET(self) -> None:
        body = f"""<!doctype html><meta charset="utf-8"><title>kiosk</title><body>
            <iframe src="{self.frame}" width="1000" height="700" title="rating"></iframe>
            <script>window.told = []; addEventListener("message", (e) => told.push([e.origin, e.data]));</script>"""
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def kiosk() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Kiosk)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_a_kiosks_own_page_learns_that_it_is_done_and_no_more(tmp_path: Path, browse: Callable[..., Page]) -> None:
    """In a frame of a page that the agent names: it is told ready, asked, kept, with the invitation, never the level;
    and may speak to the page. A page that is not named gets no frame at all."""
    with kiosk() as named, kiosk() as stranger, running(tmp_path, embed=(_origin(named),)) as agent:
        opened = agent.invite()
        _Kiosk.frame = agent.url + opened["page"]
        page = browse()
        page.goto(_origin(named))
        frame = page.frame_locator("iframe")
        expect(frame.locator("#ask")).to_be_visible()
        page.evaluate("frames[0].postMessage({ to: 'hall-rating', do: 'language', language: 'en' }, '*')")
        expect(frame.locator("#ask h1")).to_have_text("How was the service?")
        other = browse(may_err=True)
        other.goto(_origin(stranger), wait_until="commit")
        frame.locator(".face.very_dissatisfied").click()
        frame.locator("#tags button").first.click()
        frame.locator("#submit").click()
        expect(frame.locator("#thanks")).to_be_visible()
        told = page.evaluate("told")

        assert [[agent.url, "ready"], [agent.url, "asked"], [agent.url, "kept"]] == [
            [each[0], each[1]["event"]] for each in told
        ]
        assert opened["id"] == told[-1][1]["invitation"] and "dissatisfied" not in json.dumps(told)
        assert [] == other.evaluate("told")


def _origin(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def test_it_works_with_keys_alone(agent: Running, browse: Callable[..., Page]) -> None:
    """Arrows between the faces, tab and space: nobody needs a finger on the glass."""
    page = browse()
    page.goto(agent.standing)
    invited(agent, page)
    page.keyboard.press("Tab")
    page.locator(".face.very_satisfied").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    shows(page, "why")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator("#tags button").first).to_have_attribute("aria-pressed", "true")
    page.locator("#submit").press("Enter")
    shows(page, "thanks")

    assert [(4, ["406"])] == [(each["button"], each["tags"]) for each in agent.kept()]


def test_the_next_citizen_finds_it_as_it_was(agent: Running, browse: Callable[..., Page]) -> None:
    """Large type and English are one citizen's own; the next is asked in Chinese again."""
    page = browse()
    page.goto(agent.standing)
    invited(agent, page)
    page.click("#other")
    page.click("#large")
    assert "How was the service?" == page.inner_text("#ask h1") and "en" == page.get_attribute("html", "lang")
    page.click(".face.very_satisfied")
    page.click("#submit")
    shows(page, "thanks")
    agent.invite()
    shows(page, "ask")

    assert "请您评价本次服务" == page.inner_text("#ask h1")
    assert "large" not in page.get_attribute("html", "class")


def test_it_is_read_aloud_where_there_is_a_voice_and_silent_where_there_is_none(
    agent: Running, browse: Callable[..., Page]
) -> None:
    """This browser has no voice: no button that does nothing. With one it says question, face and thanks."""
    page = browse()
    page.goto(agent.standing)
    invited(agent, page)
    assert not page.locator("#aloud").is_visible()
    page = browse()
    page.add_init_script(
        """window.spoken = [];
           Object.defineProperty(window, 'speechSynthesis', { value: {
               getVoices: () => [{ lang: 'zh-CN' }], cancel() {}, addEventListener() {},
               speak: (said) => spoken.push(said.text) } });
           window.SpeechSynthesisUtterance = class { constructor(text) { this.text = text; } };"""
    )
    page.goto(agent.standing)
    shows(page, "ask")
    page.click("#aloud")
    page.click(".face.satisfied")
    page.click("#submit")
    shows(page, "thanks")
    spoken = page.evaluate("spoken")

    assert "请您评价本次服务" == spoken[0] and "谢谢您的评价" == spoken[-1]
    assert any("您选择了: 满意" in each for each in spoken)


def test_a_window_without_invitations_may_always_be_rated(windows: Hall, browse: Callable[..., Page]) -> None:
    """With walk_in the faces are there all the time, two citizens are two presses, and nobody was invited."""
    agent = windows.window("walk_in = true")
    page = browse()
    page.goto(agent.standing)
    for face in ("satisfied", "very_satisfied"):
        shows(page, "ask")
        page.click(f".face.{face}")
        page.click("#submit")
        shows(page, "thanks")

    assert [(4, None), (5, None)] == [(each["button"], each.get("invitation")) for each in agent.kept()]


def test_who_walks_in_after_a_not_now_rates_for_themselves(windows: Hall, browse: Callable[..., Page]) -> None:
    """Without a network the "not now" waits on the page, and so does the next citizen's press: hers is declined, theirs
    is nobody's invitation. Red if a press names what the page has declined, or if the decline is given up."""
    agent = windows.window("walk_in = true")
    page = browse()
    page.goto(agent.standing)
    invitation = invited(agent, page, seconds=120)
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.url.rpartition("/")[2]))
    page.context.set_offline(True)
    page.click("#decline")
    shows(page, "ask")
    page.click(".face.very_satisfied")
    page.click("#submit")
    for _ in range(200):
        page.wait_for_timeout(100)
        if failed.count("decline") > 5:
            break
    page.context.set_offline(False)
    shows(page, "thanks", 20_000)
    for _ in range(50):
        page.wait_for_timeout(100)
        if agent.state(invitation) != "open":
            break

    assert [(5, None)] == [(each["button"], each.get("invitation")) for each in agent.kept()]
    assert "declined" == agent.state(invitation)


def test_who_walks_in_after_an_answer_rates_for_themselves(windows: Hall, browse: Callable[..., Page]) -> None:
    """Also where the page has not heard yet that the invitation is over: it has answered it. Red if the second press
    names what was answered, and would count as the first citizen's once more."""
    agent = windows.window("walk_in = true")
    page = browse()
    page.goto(agent.standing)
    invitation = invited(agent, page, seconds=120)
    page.evaluate("told = () => {}")
    for face in ("very_satisfied", "satisfied"):
        shows(page, "ask")
        page.click(f".face.{face}")
        page.click("#submit")
        shows(page, "thanks")

    assert [(5, invitation), (4, None)] == [(each["button"], each.get("invitation")) for each in agent.kept()]


def test_who_walked_in_and_loads_the_page_again_counts_once(windows: Hall, browse: Callable[..., Page]) -> None:
    """Nothing tells them from the next citizen: what they had chosen and not sent is theirs to choose again. Red if it
    is said when they load the page."""
    agent = windows.window("walk_in = true")
    page = browse()
    page.goto(agent.standing)
    shows(page, "ask")
    page.click(".face.dissatisfied")
    shows(page, "why")
    page.reload()
    shows(page, "ask")
    page.click(".face.dissatisfied")
    page.click("#tags button >> nth=0")
    page.click("#submit")
    shows(page, "thanks")

    assert [2] == [each["button"] for each in agent.kept()]


def test_an_uncertain_rating_holds_up_the_next_one(windows: Hall, browse: Callable[..., Page]) -> None:
    """Without invitations nothing tells a citizen's second try from the next citizen: while nobody knows of the first
    no face is offered, it is said again by itself, and the citizen is thanked. The agent had it all along: one press.
    Red if the faces come back before."""
    agent = windows.window("walk_in = true")
    page = browse()
    page.clock.install()
    page.goto(agent.standing)
    page.clock.run_for(1000)
    shows(page, "ask")
    page.route("**/press", lambda route: (route.fetch(), route.abort()))  # the agent hears it, its answers are lost
    page.click(".face.satisfied")
    page.click("#submit")
    for _ in range(200):  # until it is on the screen that nobody knows, and then that nobody is asked to help
        page.clock.run_for(500)
        page.wait_for_timeout(10)
        assert not page.locator("#ask").is_visible()
        if page.evaluate("behind.size"):
            break
    page.clock.run_for(1000)
    shows(page, "trouble")
    expect(page.locator("#trouble-words")).to_contain_text("正在自动重试")
    assert not page.locator("#again").is_visible() and not page.locator("#leave").is_visible()
    page.unroute("**/press")
    for _ in range(60):
        page.clock.run_for(500)
        page.wait_for_timeout(20)
        if page.locator("#thanks").is_visible():
            break
    shows(page, "thanks")

    assert [4] == [each["button"] for each in agent.kept()]
    page.clock.run_for(6000)
    shows(page, "ask")


def test_a_page_that_lost_its_agent_says_so(tmp_path: Path, browse: Callable[..., Page]) -> None:
    """After a few seconds, and until it is back."""
    page = browse()
    with running(tmp_path) as agent:
        page.goto(agent.standing)
        shows(page, "idle")
        assert not page.locator("#lost").is_visible()
    shows(page, "lost")
    with running(tmp_path, port=agent.port):
        expect(page.locator("#lost")).to_be_hidden(timeout=15_000)


def test_a_stream_that_went_silent_keeps_no_question_from_the_screen(
    agent: Running, browse: Callable[..., Page]
) -> None:
    """A tablet slept, or its Wi-Fi was away, and neither side has noticed that the line is dead: the page asks beside
    its stream, and when it is looked at again. Red if it waits for the stream's error, which takes minutes."""
    page = browse()
    page.clock.install()
    page.route("**/events", lambda _: None)  # no word, and no error
    page.goto(agent.standing)
    page.clock.run_for(1000)
    shows(page, "idle")
    page.wait_for_function("checking")
    agent.invite(seconds=600)
    page.clock.run_for(16_000)
    shows(page, "ask")
    agent.invite(seconds=600, replace=True, case_no="BJ20260001234")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#case")).to_have_text("办件 …1234 ·")
    page.route("**/state?*", lambda route: route.abort())
    page.clock.run_for(16_000)
    page.wait_for_timeout(200)
    page.clock.run_for(4_000)
    shows(page, "lost")


def test_a_tablet_of_some_years_ago_shows_the_reasons_too(agent: Running, browse: Callable[..., Page]) -> None:
    """A browser that no shop of apps keeps fresh lacks what came after 2019. Red if the first face breaks the page."""
    page = browse()
    page.add_init_script(
        "for (const name of ['replaceChildren', 'toWellFormed', 'replaceAll', 'at', 'hasOwn'])"
        " for (const kind of [Element.prototype, String.prototype, Array.prototype, Object]) delete kind[name];"
    )
    page.goto(agent.standing)
    invited(agent, page)
    page.click(".face.dissatisfied")
    page.click("#tags button >> nth=0")
    page.click("#submit")
    shows(page, "thanks")

    assert [2] == [each["button"] for each in agent.kept()]


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_nobody_is_kept_out(
    agent: Running, browse: Callable[..., Page], complaints: Callable[[Page], list[str]], lang: str
) -> None:
    """axe-core finds nothing at any moment of the page, large or not, light or dark, and a phone need not scroll
    sideways."""
    page = browse(viewport=PHONE)

    def found() -> list[str]:
        both = []
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            both += complaints(page)
        return both

    page.goto(f"{agent.standing}?lang={lang}")
    shows(page, "idle")
    assert [] == found()
    for large in (False, True):
        invited(agent, page)
        if large:
            page.click("#large")
        assert [] == found()
        page.click(".face.very_dissatisfied")
        shows(page, "why")
        page.click("#tags button >> nth=1")
        assert [] == found()
        assert page.evaluate("document.body.scrollWidth <= innerWidth")
        page.click("#submit")
        shows(page, "thanks")
        page.evaluate("thanked_until = Infinity")  # until it has been looked at
        assert [] == found()


def test_one_page_too_many_can_be_rated_on_all_the_same(agent: Running, browse: Callable[..., Page]) -> None:
    """All streams of this link are taken: the newest page asks now and again, shows the question, thanks, and sees the
    end of it. Red if it waits for a stream."""
    with ExitStack() as open_ones:
        for _ in range(EACH_MAX):
            stream = open_ones.enter_context(closing(HTTPConnection("127.0.0.1", agent.port, timeout=10)))
            stream.request("GET", f"{agent.standing.removeprefix(agent.url)}events")
            assert 200 == open_ones.enter_context(stream.getresponse()).status
        page = browse()
        with page.expect_response(lambda answer: answer.url.endswith("/events")) as refused:
            page.goto(agent.standing)
        shows(page, "idle")
        invitation = invited(agent, page)
        expect(page.locator("#lost")).to_be_hidden()
        page.click(".face.very_satisfied")
        page.click("#submit")
        shows(page, "thanks")
        agent.invite()
        shows(page, "ask")
        agent.ask("DELETE", f"/v1/invitations/{agent.invite(replace=True)['id']}")
        shows(page, "over")

    assert (503, [(5, invitation)]) == (
        refused.value.status,
        [(each["button"], each["invitation"]) for each in agent.kept()],
    )


def test_the_tags_are_in_the_readers_language_and_sent_as_the_nations_codes(
    agent: Running, browse: Callable[..., Page]
) -> None:
    """English words of ours on the screen, and in what is read to whoever does not see it, which changes with the
    language; on the disk the code of the national list. Red if the live line stays in Chinese."""
    page = browse()
    page.goto(agent.standing)
    invited(agent, page)
    page.click(".face.very_dissatisfied")
    assert "服务态度差效率低" == page.inner_text("#tags button >> nth=7")
    page.click("#other")
    assert "Rude and slow" == page.inner_text("#tags button >> nth=7")
    said = page.inner_text("#said")
    assert said.startswith("You chose: Very dissatisfied. ")
    assert page.inner_text("#why-words") in said
    assert "Sent as “Very dissatisfied” after" in said
    page.click("#tags button >> nth=7")
    page.click("#submit")
    shows(page, "thanks")

    assert [["115"]] == [each["tags"] for each in agent.kept()]


SIZES = [(1024, 768), (1280, 800), (768, 1024), (1080, 1920), (1920, 1080)]


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_buttons_that_matter_are_seen_without_scrolling(
    agent: Running, browse: Callable[..., Page], lang: str
) -> None:
    """On tablets and kiosks, in normal type and in large: all five faces, and Send beside the reasons. Red at 1024 by
    768 without a footer that stays."""
    page = browse()
    page.goto(f"{agent.standing}?lang={lang}")
    invited(agent, page, seconds=600)
    hidden = []
    for large in (False, True):
        if large:
            page.click("#large")
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            hidden += [(width, height, large, *each) for each in page.evaluate(UNSEEN, ".face, .face .name, #decline")]
        page.click(".face.very_dissatisfied")
        shows(page, "why")
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            hidden += [(width, height, large, *each) for each in page.evaluate(UNSEEN, "#submit, #back, #soon")]
        page.click("#back")

    assert [] == hidden


UNSEEN = """what => [...document.querySelectorAll(what)].filter((each) => {
    const box = each.getBoundingClientRect();
    const over = each.parentElement.getBoundingClientRect();
    return box.top < 0 || box.bottom > innerHeight + 0.5 || box.left < over.left - 0.5 || box.right > over.right + 0.5
        || each.scrollWidth > each.clientWidth + 1;
}).map((each) => [each.id || each.className, Math.round(each.getBoundingClientRect().bottom)])"""
"""Which of these are not on the screen, or wider than what they stand in."""


@pytest.mark.parametrize("locale", ["zh-CN", "en-GB"])
def test_large_type_is_large_on_a_phone_too_and_nothing_lies_under_the_fold(
    agent: Running, browse: Callable[..., Page], locale: str
) -> None:
    """The names of the faces grow as the rest does, and "not now" needs no scrolling. Red if the names are held to what
    fits beside a face in normal type, or the faces are as tall as there."""
    page = browse(viewport={"width": 360, "height": 740}, locale=locale)
    page.goto(agent.standing)
    invited(agent, page)
    size = "getComputedStyle(document.querySelector('.face .name')).fontSize"
    normal = float(page.evaluate(size).removesuffix("px"))
    page.click("#large")

    assert 1.2 * normal < float(page.evaluate(size).removesuffix("px"))
    assert [] == page.evaluate(UNSEEN, ".face, .face .name, #decline")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1024, 768), (360, 740)])
def test_what_is_written_is_not_under_the_foot(
    agent: Running, browse: Callable[..., Page], width: int, height: int
) -> None:
    """In large type the box is below what fits: whoever goes to it sees all of it. Red without room for the foot."""
    page = browse(viewport={"width": width, "height": height})
    page.goto(agent.standing)
    invited(agent, page)
    page.click("#large")
    page.click(".face.dissatisfied")
    shows(page, "why")
    page.focus("#text")

    bottom, top = (page.locator(each).bounding_box() for each in ("#text", ".foot"))
    assert bottom is not None
    assert top is not None
    assert bottom["y"] + bottom["height"] <= top["y"]
