"""Whoever works on bad ratings, approves, draws spot checks and prints the month, in a real browser."""

from __future__ import annotations

import re

import openpyxl
import pytest
from playwright.sync_api import expect

from collector.ledger.tally import day_number

from .browser import cut_off
from .mendings import month, serving, sign_in, worked_on

PAGES = (
    "/mending",
    "/mending?tab=closed",
    "/mending/{new}",
    "/mending/{done}",
    "/draws",
    "/draws/1",
    "/statistics?by=day",
    "/export",
    "/export/ratings.xlsx?from=2026-01-01&to=2027-02-14",
)


@pytest.fixture(scope="module")
def hall(tmp_path_factory):
    ledger = month(tmp_path_factory.mktemp("hall"))
    worked_on(ledger)
    with serving(ledger) as url:
        yield ledger, url
    ledger.store.close()


def rating(ledger, having: str) -> int:
    return ledger.store.row(f"SELECT max(id) FROM rating WHERE bad AND id {having}")[0]


def test_an_operator_mends_and_an_auditor_approves(hall, browse):
    """From the list to closed, by mouse and keyboard; what the operator may not do is not offered."""
    ledger, url = hall
    number = rating(ledger, "NOT IN (SELECT rating FROM step)")
    page = browse()
    sign_in(page, url, "李敏", "operator")
    page.goto(f"{url}/mending")
    page.get_by_role("link", name=f"#{number}").click()
    for choice, words in (
        ("属实且诉求合理", "窗口没有样本"),
        ("已整改", "已补齐样本"),
        ("已告知办事人", "已电话告知"),
        ("已接通, 对整改满意", ""),
    ):
        page.get_by_label(choice).check()
        page.get_by_role("textbox", name="说明").fill(words)
        page.get_by_role("button", name="记下").click()
    expect(page.get_by_text("待审批").first).to_be_visible()
    assert 0 == page.get_by_label("同意办结").count()
    sign_in(page, url, "王芳", "auditor")
    page.reload()
    page.get_by_label("同意办结").check()
    page.get_by_role("button", name="记下").click()

    expect(page.get_by_text(re.compile("按期办结|逾期办结")).first).to_be_visible()
    expect(page.locator(".steps li")).to_have_count(5)


def test_what_was_written_is_there_after_a_mistake(hall, browse):
    """A colleague was faster: the words stay in the form."""
    ledger, url = hall
    number = rating(ledger, "IN (SELECT rating FROM step WHERE what = 'mend' AND state = 'to_answer'"
                            " AND id = (SELECT max(id) FROM step AS s WHERE s.rating = step.rating))")  # fmt: skip
    mine, theirs = browse(), browse()
    for page, name in ((mine, "李敏"), (theirs, "赵强")):
        sign_in(page, url, name, "operator")
        page.goto(f"{url}/mending/{number}")
        page.get_by_label("已告知办事人").check()
        page.get_by_role("textbox", name="说明").fill(f"{name}已电话告知, 办事人说明天来取")
    theirs.get_by_role("button", name="记下").click()
    mine.get_by_role("button", name="记下").click()

    expect(mine.get_by_role("alert").filter(has_text="别人刚刚记了一步")).to_be_visible()
    expect(mine.get_by_role("textbox", name="说明")).to_have_value("李敏已电话告知, 办事人说明天来取")


def test_an_auditor_draws_and_notes_what_came_of_it(hall, browse):
    ledger, url = hall
    page = browse()
    sign_in(page, url, "周审", "auditor")
    page.goto(f"{url}/draws")
    page.get_by_label("抽几条").fill("3")
    page.get_by_label("从").fill("2027-01-01")
    page.get_by_label("到").fill("2027-02-14")
    page.get_by_label("为何").fill("二月监督查评")
    page.get_by_role("button", name="公告抽查").click()
    expect(page.get_by_text("等待新记录")).to_be_visible()
    ledger.rate(990_100, name="hall-c")
    page.reload()
    expect(page.get_by_text("从账本重抽了一次, 结果相同")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(3)
    page.get_by_role("combobox", name="结果").select_option("doubtful")
    page.get_by_role("textbox", name="说明").fill("办事人说没有评过")
    page.get_by_role("button", name="记下").click()

    expect(page.get_by_text("周审: 办事人说没有评过")).to_be_visible()


def test_a_viewer_sees_the_month_and_prints_it(hall, browse):
    """No words of anybody; on paper the table fits an A4 page across, without buttons."""
    _, url = hall
    page = browse(viewport={"width": 1040, "height": 720})  # 277 mm at 96 dots an inch
    sign_in(page, url, "何看", "viewer")
    page.goto(f"{url}/statistics")
    page.get_by_label("从").fill("2027-01-01")
    page.get_by_role("combobox", name="按").select_option("window")
    page.get_by_role("button", name="查看").click()
    expect(page.get_by_role("rowheader", name="市民中心 2号")).to_be_visible()
    page.emulate_media(media="print")

    expect(page.get_by_text("单位 (盖章)")).to_be_visible()
    expect(page.get_by_role("button")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelector('.figures').getBoundingClientRect().right <= innerWidth")


@pytest.mark.parametrize("look", [{"locale": "zh-CN"}, {"locale": "en-GB", "color_scheme": "dark"}])
def test_the_pages_are_for_everybody(hall, browse, complaints, look):
    """axe has nothing to say, in both languages, light and dark; at 360 pixels nothing sticks out sideways."""
    ledger, url = hall
    new, done = rating(ledger, "NOT IN (SELECT rating FROM step)"), rating(ledger, "IN (SELECT rating FROM step)")
    page = browse(**look)
    for path in PAGES:
        sign_in(page, url, "周审", "administrator")
        page.set_viewport_size({"width": 1280, "height": 800})
        page.goto(url + path.format(new=new, done=done))
        assert [] == complaints(page), path
        page.set_viewport_size({"width": 360, "height": 740})
        assert [] == cut_off(page), path


def test_a_table_is_taken_away_from_the_page_and_opens(hall, browse, tmp_path):
    """Choose the days, press Excel: the file that comes has their ratings. Red if the button leads to a page."""
    ledger, url = hall
    page = browse(accept_downloads=True)
    sign_in(page, url, "李敏", "operator")
    page.goto(f"{url}/export")
    page.get_by_label("从").fill("2027-01-15")
    page.get_by_label("到").fill("2027-01-17")
    with page.expect_download() as coming:
        page.get_by_role("button", name="Excel: 评价", exact=True).click()
    coming.value.save_as(tmp_path / "ratings.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "ratings.xlsx").worksheets[0]

    assert "ratings-2027-01-15-2027-01-17.xlsx" == coming.value.suggested_filename
    assert ledger.overview.tables.count(day_number("2027-01-15"), day_number("2027-01-17")) == sheet.max_row - 1 > 5


def test_on_a_telephone_each_value_stands_beside_what_it_is(hall, browse):
    """A row is a card. Red if a column is beyond the edge, or a number stands there without its name."""
    _, url = hall
    page = browse(viewport={"width": 360, "height": 740})
    sign_in(page, url, "李敏", "operator")
    page.goto(f"{url}/statistics?by=window")
    cell = page.locator(".figures tbody td").first

    assert "评价" == cell.evaluate("cell => getComputedStyle(cell, '::before').content.slice(1, -1)")
    expect(page.get_by_role("table")).to_have_count(1)
    assert page.locator(".figures tbody tr").first.evaluate("row => row.getBoundingClientRect().right <= innerWidth")


@pytest.mark.parametrize("locale, words", [("zh-CN", "右边还有"), ("en-GB", "further to the right")])
def test_columns_of_the_statistics_that_are_out_of_sight_are_told_and_reached_by_keyboard(hall, browse, locale, words):
    """In large type on a small screen; what a line is of stays in view. Red if the last columns end without a word."""
    _, url = hall
    page = browse(locale=locale, viewport={"width": 1280, "height": 740})
    sign_in(page, url, "周审", "auditor")
    page.goto(f"{url}/statistics?by=window&from=2027-01-01&to=2027-02-28")
    expect(page.locator(".beyond")).to_have_count(0)
    page.set_viewport_size({"width": 1024, "height": 740})
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    told, frame = page.locator(".beyond"), page.locator("section:has(> .figures)")
    expect(told).to_contain_text(words)
    told.scroll_into_view_if_needed()
    expect(told).to_be_in_viewport(ratio=1)
    frame.focus()
    for _ in range(60):
        page.keyboard.press("ArrowRight")

    expect(told).to_have_text("\u00a0")
    expect(page.locator(".figures thead th").last).to_be_in_viewport(ratio=0.99)
    assert page.evaluate("document.querySelector('.figures tbody th').getBoundingClientRect().left >= 0")
    expect(page.locator(".figures tbody th").first).to_be_in_viewport(ratio=0.99)


def test_a_printed_list_says_how_it_was_picked(hall, browse):
    """Its tab and its hall, and no field that was left empty. Red if a sheet may be taken for all bad ratings."""
    _, url = hall
    page = browse()
    sign_in(page, url, "李敏", "operator")
    page.goto(f"{url}/mending?tab=overdue&hall=市民中心")
    page.emulate_media(media="print")

    assert ["逾期"] == [words.split()[0] for words in page.locator("nav.tabs a:visible").all_inner_texts()]
    expect(page.get_by_label("大厅")).to_be_visible()
    expect(page.get_by_label("大厅")).to_have_value("市民中心")
    expect(page.get_by_label("窗口人员")).to_be_hidden()
    assert 0 == page.locator("button:visible").count()


def test_every_heading_of_a_table_begins_with_a_capital(hall, browse):
    """In English. Red if some do and others do not."""
    _, url = hall
    page = browse(locale="en-GB")
    sign_in(page, url, "周审", "administrator")
    pages = "/mending /draws /draws/1 /statistics?by=window /reconcile /export / /parked /log /people"
    for path in pages.split():
        page.goto(url + path)
        heads = [head.strip() for head in page.locator("thead th, [role=columnheader]").all_inner_texts()]
        assert heads and not [head for head in heads if head[:1].islower()], path


def test_nothing_is_noted_of_a_check_that_nobody_made(hall, browse):
    """Red if an outcome stands there beforehand: one careless press would write it into a log that never changes."""
    _, url = hall
    page = browse()
    sign_in(page, url, "周审", "auditor")
    page.goto(f"{url}/draws/1")

    expect(page.locator("[name=outcome]")).to_have_value("")
    assert not page.evaluate("document.querySelector('[name=outcome]').checkValidity()")
