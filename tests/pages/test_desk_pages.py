"""The desk of parked ratings in a browser: what an operator does there, and what nobody can."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from tests.collector.agents import NOW_MS, Agent, closing, press
from tests.collector.ledgers import PERSON, case, directory_of, window
from tests.collector.test_desk import park
from tests.pages.browser import cut_off
from tests.pages.centre import PASSWORD, serving

PEOPLE = {"李敏": "operator", "王看": "viewer"}


@contextmanager
def desk(folder):
    with serving(folder, directory_of(window(), window(window="w2", device="D2", keys="{}"))) as running:
        for name, role in PEOPLE.items():
            running.people.add(name, role, PASSWORD, "test", "", NOW_MS)
        filled(running.ledger)
        yield running


@pytest.fixture
def centre(tmp_path):
    """One of its own, for who changes something there."""
    with desk(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The same, for those who look."""
    with desk(tmp_path_factory.mktemp("shown")) as running:
        yield running


@pytest.fixture
def reader(shown, browse):
    return shown.sign_in(browse(), "李敏")


def filled(ledger) -> None:
    """One rating of each kind that waits, presses that mean nothing, and a message of somebody else's."""
    agent = Agent("hall-a")
    ledger.rate(1, 2, button=2)
    ledger.rate(3, 4, 5)
    for reason, words in (
        ("lacking", "mobile, dept_name, rating_channel"),
        ("refused", "<b>手机号</b>不对 / 请核对"),
        ("before_service", "61 s"),
        ("refused", "系统忙"),
        ("refused", "系统忙"),
    ):
        park(ledger, reason, words)
    ledger.rate(6, with_case=False)
    without = Agent("hall-a")
    ledger.take(without, without.write(press(90, "i90"), closing("i90", None)))
    ledger.intake.take_cases([case("C77")], NOW_MS)
    ledger.take(
        agent, agent.write(press(50, "i50", window="w9", device="D9"), press(51, "i51", window="w2", device="D2"))
    )
    ledger.take(agent, agent.write(closing("i50", "C50", window="w9"), closing("i51", "C51", window="w2")))
    ledger.intake.quarantine("hcp/v1/hall-z/batch", "看不懂 / not understood", b'{"who":\x00\xff\r\n}' * 9, NOW_MS)


@pytest.fixture
def operator(centre, browse):
    return centre.sign_in(browse(), "李敏")


def why(page, what: str, words: str = "核对原始材料") -> None:
    page.locator(f"[action$='/{what}'] [name=why]").fill(words)


def test_what_waits_stands_there_with_its_cure_bad_ones_first(shown, reader):
    """And the province's own words are shown whole, as words. Red if they are cut at a slash, or run."""
    reader.goto(f"{shown.url}/parked")
    first = reader.locator("section").nth(0)
    expect(first.locator("tr", has_text="缺少字段")).to_contain_text("补全办件")
    rows = reader.locator("section").nth(1).locator("tbody tr")

    assert ["#1", "#2", "#3", "#4", "#5"] == [rows.nth(at).locator("a").inner_text() for at in range(5)]
    expect(rows.nth(0)).to_contain_text("手机号, 部门")
    expect(rows.nth(1)).to_contain_text("<b>手机号</b>不对 / 请核对")
    expect(rows.nth(2)).to_contain_text("按键比服务早 61 秒")
    reader.select_option("[name=level]", "dissatisfied")
    reader.get_by_role("button", name="查看").click()
    assert 2 == reader.locator("section").nth(1).locator("tbody tr").count()


def test_a_case_is_put_right_and_nobody_sees_whose_it_is(centre, operator):
    """What is missing stands first; what is left alone stays; the log names fields and no values."""
    operator.goto(f"{centre.url}/parked/1")
    assert not [value for value in PERSON.values() if value in operator.content()]
    expect(operator.locator(".fields label").nth(0)).to_contain_text("不合格式")
    operator.get_by_label("手机号").fill("13800001111")
    operator.get_by_label("部门 ", exact=False).first.fill("公安分局")
    why(operator, "correct")
    operator.get_by_role("button", name="更正并重发").click()
    expect(operator.get_by_role("status")).to_contain_text("办件已更正")
    expect(operator.locator("section").first).to_contain_text("139****5678 → 138****1111")

    assert "due" == centre.ledger.desk.shown(1)["state"]
    assert "13800001111" == centre.ledger.desk.case("C1", 1).mobile
    (line,) = centre.people.log.lines(1)
    assert ("李敏", "parked_corrected", "#1 dept_name mobile") == (line.who, line.action, line.about)


def test_a_rating_without_a_case_is_linked_after_a_look(centre, operator):
    """First the case, masked, then the link, which stays."""
    number = next(row["id"] for row in centre.ledger.desk.listed(99) if row["case_no"] is None)
    operator.goto(f"{centre.url}/parked/{number}")
    operator.fill("[name=case_no]", "C78")
    why(operator, "link")
    operator.get_by_role("button", name="查看该办件").click()
    expect(operator.get_by_role("alert")).to_contain_text("没有办件 C78/1")
    operator.fill("[name=case_no]", "C77")
    operator.get_by_role("button", name="查看该办件").click()
    expect(operator.locator("details[open] .facts")).to_contain_text("139****5678")
    assert centre.ledger.desk.shown(number)["case_no"] is None
    operator.get_by_role("button", name="确认关联到").click()
    expect(operator.get_by_role("status")).to_contain_text("已关联办件")

    assert ("C77", "due") == tuple(centre.ledger.desk.shown(number)[name] for name in ("case_no", "state"))
    assert [number] == centre.ledger.desk.of_case("C77")


def test_held_ones_go_as_they_are_and_others_are_given_up(centre, operator):
    operator.goto(f"{centre.url}/parked/3")
    operator.get_by_text("照发, 不再扣下", exact=True).first.click()
    why(operator, "as-is")
    operator.get_by_role("button", name="照发").click()
    expect(operator.get_by_role("status")).to_contain_text("即将照发")
    operator.goto(f"{centre.url}/parked/2")
    operator.get_by_text("不再上报", exact=True).first.click()
    why(operator, "give-up")
    operator.get_by_role("button", name="不再上报").click()
    expect(operator.get_by_role("status")).to_contain_text("不再上报")

    assert (True, "given_up") == (centre.ledger.desk.shown(3)["as_is"], centre.ledger.desk.shown(2)["reason"])


def test_all_of_one_reason_are_sent_again_after_their_number_was_told(centre, operator):
    operator.goto(f"{centre.url}/parked")
    operator.locator("tr", has_text="省平台拒收").first.get_by_role("link", name="检查后重发").click()
    expect(operator.locator("main")).to_contain_text("将重发 3 条评价")
    operator.fill("[name=why]", "省平台已恢复")
    operator.get_by_role("button", name="重发 3 条").click()
    expect(operator.get_by_role("status")).to_contain_text("3 条即将重发")

    assert 0 == centre.ledger.desk.count("refused")
    (line,) = centre.people.log.lines(1)
    assert ("parked_all_sent_again", "3 × refused") == (line.action, line.about)


def test_a_rating_is_found_by_its_case_whose_number_is_in_no_address(shown, reader):
    """Also one that waits no more; what is not there is said. Red if the number goes into the address."""
    addresses = []
    reader.on("request", lambda request: addresses.append(request.url))
    for case_no, rating in (("C2", 2), (" C6 ", 6)):
        reader.goto(f"{shown.url}/parked")
        reader.fill("input[name=case_no]", case_no)
        reader.click("text=查找")
        expect(reader).to_have_url(f"{shown.url}/parked/{rating}")
    reader.goto(f"{shown.url}/parked")
    reader.fill("input[name=case_no]", "C999")
    reader.click("text=查找")

    expect(reader.locator("#of-case")).to_contain_text("没有这个办件的评价")
    assert "C999" == reader.input_value("input[name=case_no]")
    assert [] == [each for each in addresses if "C2" in each or "C6" in each or "C999" in each]


def test_a_viewer_looks_and_has_no_button(shown, browse):
    """Nor the bytes of strangers."""
    page = shown.sign_in(browse(), "王看")
    page.goto(f"{shown.url}/parked/1")
    expect(page.locator("main")).to_contain_text("缺少字段")

    assert 0 == page.locator("main form").count()
    page.goto(f"{shown.url}/quarantine")
    assert 0 == page.locator("main table a").count()
    assert 403 == page.goto(f"{shown.url}/quarantine/1").status
    expect(page.get_by_role("alert")).to_contain_text("您的角色不能做这件事")


def test_what_was_not_ours_is_shown_byte_by_byte(shown, reader):
    reader.goto(f"{shown.url}/quarantine?agent=hall-z")
    reader.get_by_role("link", name="查看全部字节 #1").click()
    expect(reader.locator(".bytes tbody tr").first).to_contain_text("7b 22 77 68 6f 22 3a 00 ff 0d 0a 7d")
    expect(reader.locator(".bytes tbody tr").first).to_contain_text(r'{"who":\x00·\r\n}')

    assert 0 == reader.locator("main form, main button").count()


@pytest.mark.parametrize("language", ["zh", "en"])
def test_what_sending_does_is_said_in_the_same_words_wherever_it_can_be_done(shown, reader, language):
    """In the list, for all of one reason, and for one. Red if a list says no more than two short verbs."""
    for what, one, all_of_them in (
        ("send-again", "/parked/2", "/parked/send-again?reason=refused"),
        ("as-is", "/parked/3", "/parked/send-again?reason=before_service&as_is=yes"),
    ):
        reader.goto(f"{shown.url}{one}?lang={language}")
        words = reader.locator(f"[action$='/{what}'] .hint").text_content()
        for path in ("/parked", all_of_them):
            reader.goto(f"{shown.url}{path}")
            expect(reader.locator("main")).to_contain_text(words)


def test_what_is_there_is_not_called_missing(shown, reader):
    """The province may not take a number that is there, nor a rating's own channel, which no case puts right. Red if a
    page says that the number is lacking, and what it is, or leaves the channel out."""
    reader.goto(f"{shown.url}/parked/1")

    expect(reader.locator(".reason")).to_contain_text("评价渠道 (省平台代码表里没有); 不合格式 部门, 手机号")
    assert ["不合格式"] * 2 == reader.locator(".fields .lacking b").all_inner_texts()


def test_the_fields_that_find_a_rating_stand_in_one_line(shown, reader):
    """Where there is room. Red if what begins with an or stands alone."""
    reader.goto(f"{shown.url}/parked")
    tops = [reader.locator(f"[name={name}]").bounding_box()["y"] for name in ("number", "case_no")]

    assert tops[0] == tops[1]


def test_one_rating_is_no_ratings(shown, reader):
    """In English. Red if one of them is several."""
    reader.goto(f"{shown.url}/parked?reason=before_service&lang=en")
    expect(reader.get_by_text("In all")).to_have_text("In all 1 rating")
    reader.goto(f"{shown.url}/parked/send-again?reason=before_service")

    expect(reader.locator("main")).to_contain_text("This sends 1 rating again")
    expect(reader.get_by_role("button", name="Send 1 rating again")).to_be_visible()
    reader.goto(f"{shown.url}/parked?sent=1")
    expect(reader.get_by_role("status")).to_contain_text("1 rating is sent again")
    reader.goto(f"{shown.url}/parked/send-again?reason=refused")
    expect(reader.get_by_role("button", name="Send 3 ratings again")).to_be_visible()


def test_a_device_that_nobody_placed_brings_its_lines(shown, reader):
    reader.goto(f"{shown.url}/unratable")

    expect(reader.locator("tr", has_text="D9")).to_contain_text('device = "D9"')
    expect(reader.locator("tr", has_text="D2")).to_contain_text("keys = {")


PAGES = (
    "/parked",
    "/parked?reason=lacking&hall=市民中心",
    "/parked/1",
    "/parked/2",
    "/parked/3",
    "/parked/6",
    "/parked/7",
    "/parked/send-again?reason=before_service&as_is=yes",
    "/quarantine",
    "/quarantine/1",
    "/unratable",
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_nobody_is_kept_out_by_how_the_pages_are_made(shown, browse, complaints, scheme, language):
    """axe finds nothing, in both languages, light and dark; at 360 px nothing has to be pushed sideways."""
    small = shown.sign_in(browse(viewport={"width": 360, "height": 740}, color_scheme=scheme), "李敏")
    small.goto(f"{shown.url}/parked?lang={language}")
    for path in PAGES:
        small.goto(f"{shown.url}{path}")
        assert [] == complaints(small), path
        assert [] == cut_off(small), path
