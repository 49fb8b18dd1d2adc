"""The operators' board in a real browser: who looks after halls finds what needs somebody, and is never shown old
figures as new."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from playwright.sync_api import expect

from collector import web
from protocols.messages import Health
from tests.pages.boards import Board, now_ms, small
from tests.pages.browser import cut_off
from tests.pages.screenshots import PAPER

LOOKS = [("zh-CN", "light"), ("en-GB", "light"), ("zh-CN", "dark"), ("en-GB", "dark")]
# waitress closes its sockets under its own loop when another thread closes it; the program ends with its process.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture(scope="module")
def hall(tmp_path_factory):
    """Twelve windows, served; changed by some of these journeys in windows of their own."""
    board = small(tmp_path_factory.mktemp("hall"))
    with board.served():
        yield board
    board.ledger.store.close()


def rows(page):
    return page.locator(".rows .body [role=row].window")


def test_trouble_stands_first_in_words_and_with_a_mark(hall, browse):
    """Red if a window that is well stands above one that is not, or colour alone tells them apart."""
    page = browse()
    page.goto(hall.url)

    expect(rows(page).nth(0)).to_contain_text("代理")
    expect(rows(page).nth(0).locator(".mark")).to_have_text("✕")
    expect(page.locator(".rows")).to_contain_text("214 条待上交, 最早 2 小时")
    expect(page.locator(".rows")).to_contain_text("时钟慢 3 分钟")
    expect(rows(page).last).to_contain_text("正常")


def test_a_cable_that_is_pulled_is_on_the_screen_within_moments(hall, browse):
    """By the stream, without asking again for all. Red if the page has to be loaded anew."""
    page = browse()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(hall.url)
    row = page.locator(".rows .window", has_text="12号")
    expect(row).to_contain_text("正常")
    hall.say(hall.places[11], now_ms(), "cable_out", now_ms())
    expect(row).to_contain_text("线缆")
    hall.say(hall.places[11], now_ms(), "ready")
    expect(row).to_contain_text("正常")

    assert 1 == sum(url.endswith("/board/windows") for url in asked)


def test_a_rating_counts_on_the_screen(hall, browse):
    page = browse()
    page.goto(hall.url)
    row = page.locator(".rows .window", has_text="7号")
    expect(row).to_contain_text("今日还没有评价")
    hall.rate(hall.places[6], now_ms())

    expect(row).to_contain_text("今日 1 条评价")


def test_the_address_holds_what_is_looked_for(hall, browse):
    """A link to what one sees can be sent to a colleague; back from a window it is as it was."""
    page = browse()
    page.goto(hall.url)
    page.get_by_label("查找").fill("D00001")
    expect(rows(page)).to_have_count(1)
    page.locator("select[name=state]").select_option("trouble")
    page.wait_for_url("**/?q=D00001&state=trouble")
    other = browse()
    other.goto(page.url)
    expect(rows(other)).to_have_count(1)
    expect(rows(other)).to_contain_text("线缆")
    other.get_by_label("查找").fill("nowhere")

    expect(other.get_by_role("status")).to_have_text("没有这样的窗口")


def test_it_can_be_gone_through_by_keys_alone(hall, browse):
    """Down to a window, Enter opens it; left folds its hall. The reader of rows hears which of how many it is."""
    page = browse()
    page.goto(f"{hall.url}/?sort=number")
    box = page.get_by_role("treegrid")
    expect(box).to_have_attribute("aria-rowcount", "14")
    box.focus()
    page.keyboard.press("ArrowLeft")
    expect(rows(page)).to_have_count(0)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("End")
    active = page.locator(f"#{box.get_attribute('aria-activedescendant')}")
    expect(active).to_contain_text("12号")
    expect(active).to_have_attribute("aria-rowindex", "14")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_have_text("市民中心001 1号")


def test_when_the_collector_is_gone_the_page_says_since_when(tmp_path, browse):
    """Old figures never look new; once it is back, they are new without a reload. Red without the banner."""
    board = Board(tmp_path, 3, now_ms())
    page = browse()
    with board.served() as url:
        page.goto(url)
        expect(rows(page)).to_have_count(3)
        expect(page.locator("#stale")).to_be_hidden()
        port = int(url.rsplit(":", 1)[1])
    expect(page.locator("#stale")).to_be_visible(timeout=20_000)
    expect(page.locator("#stale")).to_contain_text("最后一次更新")
    with board.served(port):
        expect(page.locator("#stale")).to_be_hidden(timeout=30_000)
    board.ledger.store.close()


def test_where_there_is_no_room_for_a_stream_the_page_asks_now_and_then(tmp_path, browse, monkeypatch):
    monkeypatch.setattr("collector.web.board.STREAMS_MAX", 0)
    board = Board(tmp_path, 3, now_ms())
    page = browse()
    with board.served() as url:
        page.goto(url)
        expect(rows(page)).to_have_count(3)
        board.say(board.places[1], now_ms(), "cable_out", now_ms())
        expect(rows(page).nth(0)).to_contain_text("线缆", timeout=20_000)
        expect(page.locator("#stale")).to_be_hidden()
    board.ledger.store.close()


def test_of_very_many_windows_only_those_in_view_are_in_the_document(tmp_path, browse):
    """And the last is reached all the same. Red if every window becomes an element."""
    board = Board(tmp_path, 2000, now_ms())
    page = browse()
    with board.served() as url:
        page.goto(f"{url}/?sort=number&q=pc")
        box = page.get_by_role("treegrid")
        expect(box).to_have_attribute("aria-rowcount", "2101", timeout=20_000)
        assert rows(page).count() < 60
        box.focus()
        page.keyboard.press("End")
        expect(rows(page).last).to_contain_text("20号")
        assert rows(page).count() < 60
    board.ledger.store.close()


TELEPHONE = {"width": 360, "height": 740}
_CUT = """rows => rows.flatMap(row => [...row.children])
    .filter(each => each.scrollWidth > each.clientWidth + 1 || each.scrollHeight > each.clientHeight + 1)
    .map(each => each.textContent)"""


def test_on_a_telephone_each_sentence_is_whole_and_the_page_scrolls_as_one(tmp_path, browse):
    """Red if a sentence is cut off, or the windows scroll in a box of their own within the page."""
    board = Board(tmp_path, 12, now_ms())
    place = board.places[3]
    long = "存档有一处损坏, 已移存为 outbox.db.damaged-20261129, 请用 edge-agent outbox salvage 抢救, 再告诉信息中心"
    health = Health(now_ms(), board.agents[place.agent].epoch, [], alarm=f"{long} / {long}")
    board.ledger.intake.note_health(place.agent, health, now_ms())
    page = browse(viewport=TELEPHONE)
    with board.served() as url:
        page.goto(url)
        expect(rows(page)).to_have_count(12)
        expect(rows(page).first).to_contain_text("再告诉信息中心")
        assert [] == page.eval_on_selector_all(".rows .body [role=row]", _CUT)
        assert page.evaluate("(box => box.scrollHeight <= box.clientHeight)(document.querySelector('.rows'))")
        page.get_by_role("treegrid").focus()
        page.keyboard.press("End")
        expect(rows(page).last).to_be_in_viewport()
    board.ledger.store.close()


def test_on_a_telephone_many_windows_keep_a_box_and_what_stands_below_is_near(tmp_path, browse):
    """Red if two thousand windows are elements, or have to be scrolled past to the last ratings."""
    board = Board(tmp_path, 2000, now_ms())
    page = browse(viewport=TELEPHONE)
    with board.served() as url:
        page.goto(f"{url}/?sort=number&q=pc")
        expect(page.get_by_role("treegrid")).to_have_attribute("aria-rowcount", "2101", timeout=20_000)
        assert rows(page).count() < 60
        assert page.locator("#lists").bounding_box()["y"] < 4 * TELEPHONE["height"]
        assert [] == page.eval_on_selector_all(".rows .body [role=row].window", _CUT)
    board.ledger.store.close()


def test_without_scripts_the_page_says_what_needs_somebody(hall, browse):
    page = browse(java_script_enabled=False)
    page.goto(hall.url)
    expect(page.locator("#plain")).to_contain_text("线缆")
    expect(page.locator("#plain")).not_to_contain_text("正常")
    page.get_by_label("查找").fill("3号")
    page.get_by_role("button", name="查看").click()

    expect(page.locator("#plain")).to_contain_text("3号")


def test_a_window_says_what_it_is_and_what_it_did(hall, browse):
    """The charts' tables are folded and add up; what a level is stands in words."""
    page = browse()
    page.goto(hall.address(1))
    expect(page.locator(".standing")).to_contain_text("线缆")
    expect(page.locator(".chart canvas")).to_have_count(4)
    expect(page.locator("#ratings")).to_be_hidden()
    page.locator(".by-day summary").first.click()
    table = page.locator("#ratings tbody tr").nth(0).locator("td")
    numbers = [int(text) for text in table.all_inner_texts()]
    assert sum(numbers[:5]) == numbers[5] > 0
    nothing = [page.locator(f"section:has(#{name}) > p.hint:not([id])") for name in ("noise", "ratings")]
    expect(nothing[0]).to_be_hidden()
    page.goto(hall.address(0))
    expect(nothing[0]).to_have_text("这些天没有记录。")
    expect(nothing[0]).to_be_visible()
    expect(page.locator("#noise")).to_be_hidden()
    expect(nothing[1]).to_be_hidden()
    page.goto(hall.address(1))
    page.get_by_role("link", name="31 天").click()
    expect(page.locator("#ratings tbody tr")).to_have_count(31)
    of_noise = page.locator("#noise tbody tr")
    expect(of_noise.last.locator("td").first).to_have_text("–")  # nobody listened yet
    expect(of_noise.first.locator("td").first).not_to_have_text("–")
    page.get_by_role("link", name="对账", exact=False).last.click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("对账")


def test_a_chart_of_ratings_counts_in_whole_ones(hall, browse):
    """Red with half a rating at the axis."""
    page = browse()
    page.add_init_script("""
        window.drawn = [];
        const fill = CanvasRenderingContext2D.prototype.fillText;
        CanvasRenderingContext2D.prototype.fillText = function (text, ...at) {
            window.drawn.push([this.canvas.closest(".chart")?.dataset.kind, text]);
            return fill.call(this, text, ...at);
        };""")
    hall.rate(hall.places[9], now_ms())  # the only one of that window
    page.goto(hall.address(9))
    page.wait_for_selector(".chart canvas")
    page.wait_for_timeout(300)
    labels = [text for kind, text in page.evaluate("drawn") if kind == "bars" and "-" not in text]

    assert 2 <= len(labels)
    assert [] == [label for label in labels if not label.replace(",", "").isdigit()]


def test_a_legend_tells_its_lines_apart_and_says_the_newest_figures(hall, browse):
    """Red if the median looks like the 99 % beside it, or the figures are dashes as long as nobody points at a day."""
    page = browse()
    page.goto(hall.address(0))
    legend = page.locator(".chart[data-of=latency] .u-legend")
    _, *looks = legend.locator(".u-marker").evaluate_all(  # the first is that of the day
        "all => all.map(each => [getComputedStyle(each).borderTopColor, getComputedStyle(each).borderTopStyle])"
    )
    assert ["solid", "dashed", "solid", "dashed"] == [style for _, style in looks]
    assert 4 == len({colour for colour, _ in looks})
    newest = page.locator("#ratings tbody tr").first
    values = page.locator(".chart[data-of=ratings] .u-legend .u-value")
    expect(values.first).to_have_text(newest.locator("th").text_content() or "no day")

    numbers = newest.locator("td:not(.sum)").all_text_contents()
    assert numbers[::-1] == values.all_inner_texts()[1:]


def test_charts_fit_on_paper(hall, browse):
    """No script is told that the sheet is narrower. Red if they keep the width that was drawn for the screen."""
    page = browse()
    page.add_init_script("""
        const observe = ResizeObserver.prototype.observe;
        window.watching = [];
        ResizeObserver.prototype.observe = function (box) { watching.push(this); observe.call(this, box); };""")
    page.goto(hall.address(0))
    page.wait_for_selector(".chart canvas")
    page.wait_for_timeout(300)
    page.evaluate("watching.forEach((each) => each.disconnect())")
    page.emulate_media(media="print")
    page.evaluate("width => { document.body.style.width = width + 'px'; }", PAPER["width"])
    charts = [box for box in (each.bounding_box() for each in page.locator(".chart canvas").all()) if box]

    assert charts
    assert PAPER["width"] >= max(box["x"] + box["width"] for box in charts)


_LINES = """[...document.querySelectorAll(".tiles b")].map((each) => {
    each.textContent = "22,204,375";
    return Math.round(each.clientHeight / parseFloat(getComputedStyle(each).lineHeight));
})"""
"""In how many lines each tile has a large figure."""


@pytest.mark.parametrize("size", ["100%", "150%"])
def test_six_tiles_stand_in_rows_of_the_same_length(hall, browse, size):
    """Each says of what time it is, and has room for what a province presses. Red with five in a row and one below, or
    with figures that do not fit into one line, at some widths."""
    page = browse()
    page.goto(hall.url)
    page.evaluate("size => { document.documentElement.style.fontSize = size; }", size)
    expect(page.locator(".tiles li > i")).to_have_count(6)
    for width in (320, 360, 480, 600, 760, 860, 960, 1024, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 800})
        tops = [round(box["y"]) for box in (each.bounding_box() for each in page.locator(".tiles li").all()) if box]
        assert 1 == len({tops.count(top) for top in tops}), (width, tops)
        assert [1] * 6 == page.evaluate(_LINES), width


def test_large_figures_are_parted_into_thousands(tmp_path, browse):
    """In the totals, in the rows and on the page of a window. Red with seven figures in a row."""
    board = Board(tmp_path, 1001, at_ms := now_ms())
    place = board.places[0]
    for _ in range(1200):
        board.rate(place, at_ms)
    page = browse()
    with board.served() as url:
        page.goto(f"{url}/?q={place.device}")
        expect(rows(page).locator("[role=gridcell]").nth(2)).to_have_text("1,200")
        expect(page.locator("#how-many")).to_have_text("1 / 1,001")
        expect(page.locator(".tiles li").nth(2)).to_contain_text("1,200")
        page.goto(board.address(0))
        page.wait_for_selector(".chart canvas")
        expect(page.locator("#ratings td.sum").first).to_have_text("1,200")
    board.ledger.store.close()


@pytest.mark.parametrize(("locale", "scheme"), LOOKS)
def test_nobody_is_shut_out(hall, browse, complaints, locale, scheme):
    """Nothing for axe to complain about, in either language, light and dark; nothing wider than a small telephone."""
    page = browse(locale=locale, color_scheme=scheme, viewport={"width": 360, "height": 740})
    for address in (hall.url, hall.address(0)):
        page.goto(address)
        page.wait_for_selector(".rows .hall" if address == hall.url else ".chart canvas")
        assert [] == complaints(page)
        assert [] == cut_off(page)


def test_what_others_wrote_is_shown_and_not_run(tmp_path, browse):
    """Hall and sentence become text of cells. Red with innerHTML for a row."""
    board = Board(tmp_path, 2, now_ms())
    evil = "<img src=x onerror=document.title='hacked'>"
    place = board.places[0]
    health = Health(now_ms(), board.agents[place.agent].epoch, [], alarm=evil)
    board.ledger.intake.note_health(place.agent, health, now_ms())
    page = browse()
    with board.served() as url:
        page.goto(url)
        expect(rows(page).nth(0)).to_contain_text(evil)
        page.wait_for_timeout(1500)
        assert "hacked" not in page.title()
    board.ledger.store.close()


def test_charts_come_from_our_own_copy_which_is_what_was_published():
    """No network beyond the hall; sums as VENDORED.md says."""
    folder = Path(web.__file__).parent / "static" / "vendor" / "uplot"
    said = (folder / "VENDORED.md").read_text("utf-8")
    for file in folder.iterdir():
        if file.name != "VENDORED.md":
            assert sha256(file.read_bytes()).hexdigest() in said
