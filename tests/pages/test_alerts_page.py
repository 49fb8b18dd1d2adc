"""The page of the alerts in a real browser, as somebody uses it who comes at 8:55 on a Monday: see what is wrong, take
it, keep quiet what is known, and see whether anybody hears."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.collector.test_web_alerts import Office
from tests.pages.alerting import centre, served
from tests.pages.browser import cut_off


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return centre(tmp_path)


@pytest.fixture
def url(office: Office) -> Iterator[str]:
    with served(office) as address:
        yield f"{address}/alerts"


@pytest.fixture(scope="module")
def monday(tmp_path_factory) -> Iterator[str]:
    """The same, for those who only look."""
    with served(centre(tmp_path_factory.mktemp("monday"))) as address:
        yield f"{address}/alerts"


def test_a_mondays_journey(browse, office, url):
    """Look, take one, silence another, send a test: all by keyboard and name, as somebody without a mouse does."""
    page = browse()
    page.goto(url)
    expect(page.get_by_role("heading", level=1)).to_have_text("报警")
    first = page.locator(".alerts li").first
    expect(first).to_contain_text("高新区分中心 6 台电脑中 6 台离线")
    first.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".alerts li", has_text="高新区分中心")).to_contain_text("李敏 处理中")

    page.get_by_label("类别").select_option("province_away")
    page.get_by_label("原因").fill("省平台已通知今日维护")
    page.get_by_role("button", name="静默", exact=True).click()
    expect(page.get_by_role("table").filter(has_text="省平台已通知今日维护")).to_be_visible()
    expect(page.locator(".alerts li", has_text="省平台不可用")).to_contain_text("静默 #2")

    office.ears.deaf = ""
    page.get_by_role("button", name="发测试: wecom").click()
    expect(page.get_by_role("status")).to_contain_text("测试消息已送到")
    page.get_by_role("button", name="结束静默 #2").click()
    expect(page.get_by_role("table").filter(has_text="省平台已通知今日维护")).to_have_count(0)
    assert {"alert_acknowledged", "alerts_silenced", "alert_tested", "silence_ended"} == {
        action for _, action, _ in office.gate.notes
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["zh-CN", "en-GB"])
def test_axe_has_nothing_against_it(browse, complaints, monday, locale, scheme):
    page = browse(locale=locale, color_scheme=scheme)
    page.goto(monday)

    assert [] == complaints(page)


@pytest.mark.parametrize("locale", ["zh-CN", "en-GB"])
def test_on_a_telephone_nothing_is_cut_off(browse, monday, locale):
    page = browse(locale=locale, viewport={"width": 360, "height": 740})
    page.goto(monday)

    assert [] == cut_off(page)
