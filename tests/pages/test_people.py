"""Signing in, as those do who have to at 8:55: the first administrator, a new operator, somebody who guesses."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.collector.agents import NOW_MS
from tests.collector.ledgers import directory_of, window
from tests.collector.test_desk import park
from tests.pages.browser import cut_off
from tests.pages.centre import PASSWORD, serving

NEW = "另一个很长的口令2027"


@pytest.fixture
def centre(tmp_path):
    with serving(tmp_path, directory_of(window())) as running:
        running.ledger.rate(1, button=2)
        park(running.ledger, "refused", "手机号不对")
        yield running


def given_out(page) -> str:
    """The password that is shown this once."""
    return page.inner_text(".word")


def changed(page, old: str) -> None:
    page.fill("[name=old]", old)
    page.fill("[name=password]", NEW)
    page.fill("[name=again]", NEW)
    page.click("main button")


def test_from_the_first_administrator_to_the_line_in_the_log(centre, browse):
    """Nobody can sign in; the command line makes the first; she adds an operator and an auditor; the operator has to
    change the password, sends a parked rating again; the auditor reads that. Red if any page shows anything before."""
    page = browse()
    page.goto(f"{centre.url}/parked")
    expect(page.locator("main")).to_contain_text("collector people add NAME --role administrator")
    assert "手机号不对" not in page.content()
    centre.command("people", "add", "管理员甲", "--role", "administrator", said=f"{PASSWORD}\n{PASSWORD}\n")
    page.reload()
    assert page.url.endswith("/sign-in?to=%2Fparked")
    expect(page.locator("header")).to_contain_text("好差评汇聚器")  # of several programs of a hall, which one asks
    page.fill("[name=name]", "管理员甲")
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{centre.url}/parked")
    words = {}
    for name, role in (("李敏", "operator"), ("赵审", "auditor")):
        page.goto(f"{centre.url}/people")
        page.fill("main [name=name]", name)
        page.locator("form.card select").select_option(role)
        page.get_by_role("button", name="添加", exact=True).click()
        words[name] = given_out(page)

    operator = centre.sign_in(browse(), "李敏", words["李敏"])
    expect(operator).to_have_url(f"{centre.url}/password")
    operator.goto(f"{centre.url}/parked")
    expect(operator).to_have_url(f"{centre.url}/password")
    changed(operator, words["李敏"])
    operator.get_by_role("navigation").get_by_role("link", name="待处理台").click()
    expect(operator).to_have_url(f"{centre.url}/parked")
    assert 0 == operator.get_by_role("link", name="人员", exact=True).count()
    operator.get_by_role("link", name="#1").click()
    operator.locator("[action$='/send-again'] [name=why]").fill("与省平台核对过")
    operator.get_by_role("button", name="检查后重发", exact=True).click()
    expect(operator.get_by_role("status")).to_contain_text("即将重发")
    assert {"C1": "due"} == centre.ledger.states()

    auditor = centre.sign_in(browse(), "赵审", words["赵审"])
    changed(auditor, words["赵审"])
    auditor.goto(f"{centre.url}/parked")
    auditor.get_by_role("link", name="审计日志").click()
    line = auditor.locator("tr", has_text="重发评价 #1")
    expect(line).to_contain_text("李敏")
    expect(line).to_contain_text("#1")
    assert "✓" in centre.command("people", "verify")


def test_whoever_fails_five_times_waits_and_is_told_until_when(centre, browse):
    """The right password does not help before; a minute later it does. Red if the message tells a name from a none."""
    centre.command("people", "add", "李敏", "--role", "operator", "--password-stdin", said=PASSWORD)
    page = browse()
    said = []
    for name in ("没有这个人", "李敏", "李敏", "李敏", "李敏"):
        centre.sign_in(page, name, "wrong wrong")
        said.append(page.inner_text("[role=alert]"))
    centre.sign_in(page, "李敏", "wrong wrong")
    assert {"用户名或密码不对"} == set(said)
    expect(page.get_by_role("alert")).to_contain_text("失败次数过多, 请在 2027-01-15")
    centre.sign_in(page, "李敏")
    expect(page.get_by_role("alert")).to_contain_text("再试")
    centre.now_ms += 61_000
    centre.sign_in(page, "李敏")
    expect(page.get_by_role("link", name="李敏")).to_be_visible()


def test_signing_out_ends_it_everywhere_the_cookie_is_known(centre, browse):
    """Not in this browser only: a copied cookie is worth nothing afterwards."""
    centre.command("people", "add", "李敏", "--role", "viewer", "--password-stdin", said=PASSWORD)
    page, copy = centre.sign_in(browse(), "李敏"), browse()
    copy.context.add_cookies(page.context.cookies())
    copy.goto(f"{centre.url}/parked")
    expect(copy).to_have_url(f"{centre.url}/parked")
    page.goto(f"{centre.url}/parked")
    page.get_by_role("button", name="退出").click()
    copy.reload()

    assert copy.url.startswith(f"{centre.url}/sign-in")


@pytest.fixture(scope="module")
def staffed(tmp_path_factory):
    """With an operator and an administrator, for those who look at the pages."""
    with serving(tmp_path_factory.mktemp("staffed"), directory_of(window())) as running:
        for name, role in (("李敏", "operator"), ("管理员甲", "administrator")):
            running.people.add(name, role, PASSWORD, "test", "", NOW_MS)
        running.people.log.note("李敏", "parked_corrected", "#4 item_name mobile", "10.1.2.7", NOW_MS)
        yield running


PAGES = ("/password", "/people", "/log", "/log?who=nobody", "/nowhere")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_nobody_is_kept_out_by_how_the_pages_are_made(staffed, browse, complaints, scheme, language):
    """axe finds nothing, in both languages, light and dark; at 360 px nothing has to be pushed sideways."""
    small = browse(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    small.goto(f"{staffed.url}/sign-in?lang={language}")
    assert [] == complaints(small)
    staffed.sign_in(small, "李敏", "wrong wrong")
    assert [] == complaints(small)
    staffed.sign_in(small, "管理员甲")
    for path in PAGES:
        small.goto(f"{staffed.url}{path}")
        assert [] == complaints(small), path
        assert [] == cut_off(small), path


def test_nobody_is_offered_what_would_shut_themselves_out(staffed, browse):
    """Their own row says by whom it is done. Red if it has the buttons, or a form that is sent all the same does it."""
    page = staffed.sign_in(browse(), "管理员甲")
    page.goto(f"{staffed.url}/people")
    own, other = (page.locator("tbody tr", has=page.get_by_role("cell", name=name)) for name in ("管理员甲", "李敏"))
    word = page.locator("input[name=form]").first.input_value()
    sent = {
        what: page.request.post(f"{staffed.url}/people/管理员甲/{what}", form={"form": word, **field})
        for what, field in (("role", {"role": "viewer"}), ("disabled", {"disabled": "yes"}))
    }

    assert 0 == own.locator("button, select").count() and 3 == other.locator("button").count()
    expect(own).to_contain_text("请另一位管理员更改")
    assert [True] * 2 == [answer.status == 400 and "请另一位管理员更改" in answer.text() for answer in sent.values()]


@pytest.mark.parametrize(("language", "who"), [("zh", "root (本机)"), ("en", "root (on this machine)")])
def test_the_log_says_the_second_and_speaks_one_language(staffed, browse, language, who):
    """Also of who did something from the command line. Red if two steps of one minute have the same time."""
    staffed.people.log.note("root (本机 on this machine)", "person_added", "新来的 viewer", "", NOW_MS + 7_000)
    page = staffed.sign_in(browse(), "管理员甲")
    page.goto(f"{staffed.url}/log?lang={language}&action=person_added")
    line = page.locator("tbody tr").first
    csv = page.request.get(f"{staffed.url}/log.csv?action=person_added").text()

    expect(line.locator("td").nth(1)).to_have_text("2027-01-15 16:00:07")
    expect(line.locator("td").nth(2)).to_have_text(who)
    assert f"2027-01-15 16:00:07,{who}," in csv
    line.get_by_role("link", name=who).click()
    expect(page.locator("[name=who] option:checked")).to_have_text(who)
    expect(page.locator("tbody tr").first).to_contain_text(who)


def test_the_paper_says_who_may_what_and_has_no_button(centre, browse):
    """Red if a role is lost with the field that changes it, or a heading stands over a form that is not printed."""
    centre.command("people", "add", "管理员甲", "--role", "administrator", said=f"{PASSWORD}\n{PASSWORD}\n")
    page = centre.sign_in(browse(), "管理员甲")
    page.goto(f"{centre.url}/people")
    expect(page.get_by_role("heading", name="添加人员")).to_be_visible()
    page.emulate_media(media="print")

    expect(page.get_by_role("cell", name="管理员", exact=True)).to_be_visible()
    assert 0 == page.locator("button:visible, form:visible, nav:visible").count()
    expect(page.get_by_role("heading", name="添加人员")).to_be_hidden()
    expect(page.get_by_role("heading", name="角色")).to_be_visible()
