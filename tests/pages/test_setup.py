"""Hall IT at the setup page: from an empty folder to the first press that is kept, and back from every mistake."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import time
import tomllib
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from edge_agent import machine
from edge_agent.outbox import rows
from firmware_sim.panel import frame
from protocols.messages import PressRecord, decode_record
from tests.edge_agent.hall import until
from tests.edge_agent.machines import Machine
from tests.edge_agent.setup.visitor import served

from .setup_rig import WORD, Rig, rig, set_up, sideways, sign_in, through

_NARROW = {"width": 360, "height": 740}
_BEHIND = ("", "password", "doctor", "broker", "settings", "settings/text", "log", "guide/device", "guide/try")


def records(at: Rig) -> list[PressRecord]:
    """What lies in the outbox and is not receipted, each record's own bytes."""
    with closing(sqlite3.connect(at.folder / "outbox.db")) as db:
        held = db.execute("SELECT seq, body, sum FROM record ORDER BY seq").fetchall()
    found = []
    for seq, body, check in held:
        record = decode_record(_unpacked(seq, body, check))
        if isinstance(record, PressRecord):
            found.append(record)
    return found


def _unpacked(seq: int, body: bytes, check: bytes) -> bytes:
    unpacked = rows.unpacked(seq, body, check)
    assert unpacked is not None
    return unpacked


def looked_at(page: Page, complaints, where: str) -> None:
    """This screen has nothing against it, and stays within a narrow window."""
    assert [] == complaints(page), where
    wide = page.viewport_size
    page.set_viewport_size(_NARROW)
    assert not sideways(page), where
    page.set_viewport_size(wide)


_IN_SIGHT = """selector => {
  if (!document.activeElement.matches(selector)) return null;
  const {top, bottom} = document.activeElement.getBoundingClientRect();
  return top >= 0 && bottom <= innerHeight + 1;
}"""


def to(page: Page, selector: str) -> None:
    """Go on with the Tab key alone until this has the focus, where it can be seen whole."""
    for _ in range(40):
        in_sight = page.evaluate(_IN_SIGHT, selector)
        if in_sight is not None:
            assert in_sight, f"{selector} is out of sight"
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no Tab leads to {selector}")


def entered(page: Page, selector: str) -> None:
    to(page, selector)
    page.keyboard.press("Enter")


def test_a_technician_brings_a_new_agent_to_its_first_kept_press(browse, complaints, tmp_path, capsys):
    """From an empty folder, without documentation, by keyboard alone and at twice the size; each screen with nothing
    for axe. Prints how long it took. Red if anything of the guide asks for a mouse."""
    page: Page = browse(viewport={"width": 683, "height": 384}, device_scale_factor=2)
    with rig(tmp_path / "hall") as hall:
        begun_s = time.monotonic()
        page.goto(hall.url)
        looked_at(page, complaints, "password")
        for name in ("word", "again"):
            to(page, f"#f-{name}")
            page.keyboard.type(WORD)
        page.keyboard.press("Enter")
        page.wait_for_url("**/guide/name")
        to(page, "#f-agent")
        looked_at(page, complaints, "name")
        page.keyboard.press("Control+A")
        page.keyboard.type("hall-pc-7")
        to(page, "[name=broker]:checked")
        page.keyboard.press("ArrowDown")
        entered(page, "button[value=next]")
        page.wait_for_url("**/guide/device")
        looked_at(page, complaints, "device")
        page.reload()
        entered(page, "summary")
        to(page, "#f-bind")
        page.keyboard.type(str(hall.port))
        page.keyboard.press("Enter")
        page.wait_for_selector(".wait")
        hall.press(3)
        page.wait_for_selector("#reads-house", timeout=60_000)
        looked_at(page, complaints, "bytes")
        entered(page, "#reads-house")
        expect(page.locator("#f-window")).to_be_focused()
        page.keyboard.type("A03")
        expect(page.locator("#f-device")).to_have_value("D0001")
        looked_at(page, complaints, "bind")
        page.keyboard.press("Enter")
        page.wait_for_url("**/guide/try", timeout=90_000)
        page.wait_for_selector(".well.done", timeout=60_000)
        took_s = time.monotonic() - begun_s
        looked_at(page, complaints, "try")
        assert until(lambda: records(hall))
        hall.press(5)
        page.wait_for_selector("text=键 5", timeout=60_000)
        kept = records(hall)
        rss_mb = hall.rss_mb

        assert [("A03", "D0001", 3, "house"), ("A03", "D0001", 5, "house")] == [
            (each.window, each.device, each.button, each.profile) for each in kept
        ]
        assert "hall-pc-7" in (hall.folder / "agent.toml").read_text("utf-8")
        assert hall.agent.poll() is None, "a supervisor saw it end"
    with capsys.disabled():
        print(f"\n第一屏到存盘 / first screen to the kept press: {took_s:.0f} s with checks; RSS {rss_mb:.0f} MB")


def test_an_adapter_that_is_plugged_in_while_the_list_is_open_shows_by_itself(browse, tmp_path, monkeypatch):
    """First and marked as new; whoever is on a button stays on it though the list has changed; its bytes are read. Red
    if the list is made once, and if a button moves under the finger."""
    there, here = Machine(tmp_path / "machine"), machine.serial_ports
    monkeypatch.setattr(machine, "serial_ports", lambda: here(there.roots))
    ours, theirs = os.openpty()
    page: Page = browse()
    folder = tmp_path / "hall"
    folder.mkdir()
    with served(folder) as at:
        sign_in(page, f"http://127.0.0.1:{at.port}/setup/")
        page.get_by_label("以后再填").check()
        page.click("button[value=next]")
        expect(page.locator(".none")).to_be_visible()
        there.adapter("ttyUSB0", "1-1.3", node=Path(os.ttyname(theirs)))
        expect(page.locator(".places .new")).to_contain_text("1-1.3", timeout=10_000)
        first = page.locator("[id='use-usb:1-1.3']")
        first.focus()
        there.adapter("ttyUSB1", "1-1.2")
        expect(page.locator(".places li")).to_have_count(2, timeout=10_000)
        expect(first).to_be_focused()
        page.keyboard.press("Enter")
        page.wait_for_selector(".wait")
        os.write(ours, frame("PRESS", "D0217", 1, 1, 3, 0))
        reads = page.locator("#reads-house")

        expect(reads).to_be_visible(timeout=20_000)
        page.context.close()  # a server waits for whoever is connected
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(("language", "colours"), [("en-GB", "dark"), ("zh-CN", "light")])
def test_every_page_behind_the_guide_is_fit_for_everybody(browse, complaints, standing, language, colours):
    """In both languages, dark and light, large and narrow; one language at a time."""
    page: Page = browse(locale=language, color_scheme=colours)
    sign_in(page, standing.url)
    for path in _BEHIND:
        page.goto(f"{standing.url}{path}")
        if path == "doctor":
            page.wait_for_selector(".findings", timeout=90_000)
        looked_at(page, complaints, path)
        if language == "en-GB" and path in ("", "password", "broker", "settings", "guide/device"):
            assert not re.findall("[\u4e00-\u9fff]", page.locator("main").inner_text()), path


def test_an_unknown_device_is_learnt_on_the_page(browse, complaints, tmp_path):
    """Two keys, three times each, a cable pulled between; the profile is written with vectors and reads a press."""
    page: Page = browse()
    with rig(tmp_path / "hall", "--shape", "4") as hall:
        sign_in(page, hall.url)
        through(page, hall, "bytes")
        hall.press(1)
        page.wait_for_selector("table.bytes", timeout=60_000)
        page.click("text=现场学会它")
        page.fill("#f-keys", "2")
        page.click("button.first")
        looked_at(page, complaints, "learn")
        for key, press in [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]:
            page.wait_for_selector(f"text=第 {press} 次", timeout=60_000)
            expect(page.locator(".big b")).to_have_text(f"键 {key}", timeout=60_000)
            if (key, press) == (1, 3):
                hall.say("unplug\n")
                page.wait_for_selector("text=线缆断开", timeout=60_000)
                hall.say("replug\n")
                page.wait_for_selector("text=第 3 次", timeout=60_000)
            hall.press(key)
        page.click("text=下一步: 键上写的是什么", timeout=60_000)
        looked_at(page, complaints, "meanings")
        page.select_option("[name=level-1]", "satisfied")
        page.select_option("[name=level-2]", "satisfied")
        page.click("button.first")
        page.wait_for_selector("[role=alert]:not([hidden])")
        page.select_option("[name=level-2]", "dissatisfied")
        page.click("button.first")
        page.fill("#f-window", "1")
        page.click("button.first")
        page.wait_for_url("**/guide/try", timeout=90_000)
        page.wait_for_selector(".lesson .hint", timeout=60_000)
        assert until(lambda: "线缆已接通" in hall.log.partition("代理已启动")[2])
        hall.press(2)
        page.wait_for_selector("text=键 2 → 不满意", timeout=60_000)
        profile = tomllib.loads((hall.folder / "learnt-1.toml").read_text("utf-8"))
        handed_over = page.inner_text("#directory")

        assert profile["vectors"]
        assert {"1": {"level": "satisfied"}, "2": {"level": "dissatisfied"}} == profile["keys"]
        assert [2] == [record.button for record in records(hall)]
        assert '1 = "satisfied", 2 = "dissatisfied"' in handed_over


def test_a_page_on_a_screen_is_set_up_and_can_be_opened_at_once(browse, complaints, tmp_path):
    """No cable: the guide ends with the link of the window's own rating page, which waits for an invitation there. Its
    keys are fixed, so that nobody is asked for them; the device is named after its window as that is typed."""
    page: Page = browse()
    with rig(tmp_path / "hall") as hall:
        sign_in(page, hall.url)
        through(page, hall, "device")
        page.click("text=用评价页")
        unbound, steps = page.inner_text("main"), page.locator(".steps li").count()
        page.fill("#f-window", "A03")
        expect(page.locator("#f-device")).to_have_value("A03-page")
        page.locator("details").first.locator("summary").click()
        page.fill("#f-hall", "青山区政务服务大厅")
        page.click("button.first")
        page.wait_for_url("**/guide/try", timeout=90_000)
        link, lines = page.get_attribute("#rating-page", "href"), page.inner_text("#directory")
        asked = page.locator("main select").count()
        still = page.locator(".steps li").count()
        looked_at(page, complaints, "try")
        page.click("text=再接一台")
        page.click("text=用评价页")
        page.fill("#f-window", "A03")
        another = page.locator(".steps li").count()
        again = page.input_value("#f-hall"), page.input_value("#f-device")
        screen = browse()
        screen.goto(str(link))

        expect(screen.locator("#idle")).to_be_visible()
        assert "可以评价" in page.goto(hall.url).text()
        assert (4, 4, 3) == (steps, still, another), "an agent that runs is not named once more"
        assert 0 == asked
        assert not [words for words in ("背面", "将写入 agent.toml") if words in unbound]
        assert 'device = "A03-page"' in lines
        assert "keys" not in lines
        assert ("青山区政务服务大厅", "A03-page") == again
        hall.agent.kill()
        expect(page.locator("#stale")).to_be_visible(timeout=20_000)


def test_our_own_page_is_tried_from_the_guide(browse, complaints, tmp_path):
    """Its window asks for one rating, of no case; it is kept and shown, and what becomes of it is said. Red if nobody
    but a business system can have the page take one."""
    page: Page = browse()
    with rig(tmp_path / "hall") as hall:
        sign_in(page, hall.url)
        through(page, hall, "device")
        page.click("text=用评价页")
        page.fill("#f-window", "A03")
        page.click("button.first")
        page.wait_for_url("**/guide/try", timeout=90_000)
        address = page.inner_text("#rating-page")
        screen = browse()
        screen.goto(address)
        page.click("#ask")
        expect(page.locator("[role=status]")).to_contain_text("正在邀请")
        looked_at(page, complaints, "asked")
        screen.click(".face.satisfied", timeout=20_000)

        expect(page.locator(".well.done")).to_be_visible(timeout=60_000)
        expect(page.locator("main")).to_contain_text("不能撤销")
        page.goto(hall.url)
        assert address in page.inner_text("#pages")
        looked_at(page, complaints, "overview")
        expect(page.locator("#pages")).to_contain_text(address)
        expect(page.locator("#pages")).to_contain_text("/clerk/")
        assert until(lambda: [None] != [record.invitation for record in records(hall)])
        assert hall.url.removesuffix("/setup/") == address.partition("/rate/")[0]


def test_a_broker_that_was_left_for_later_is_given_in_the_page(browse, complaints, tmp_path):
    """Its "give it" leads to host, port and password, which can be tried first; the password ends in its file, is kept
    over the try and stands in no page. Red if another way than this page is needed."""
    word = "swordfish one"
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = free.getsockname()[1]
    page: Page = browse()
    with rig(tmp_path / "hall") as hall:
        (hall.folder / "broker.password").write_text("")
        sign_in(page, hall.url)
        through(page, hall, "device")
        page.click("text=用评价页")
        page.fill("#f-window", "A03")
        page.click("button.first")
        page.wait_for_url("**/guide/try", timeout=90_000)
        page.click("#give", timeout=60_000)
        looked_at(page, complaints, "broker")
        page.fill("#f-host", "localhost")
        page.fill("#f-port", str(nobody))
        page.fill("#f-password", word)
        page.click("button[value=test]")
        expect(page.locator("p.alarm")).to_contain_text(str(nobody))
        source = page.content()
        page.click("button[value=apply]")
        page.wait_for_url(hall.url, timeout=90_000)
        uplink = tomllib.loads((hall.folder / "agent.toml").read_text("utf-8"))["uplink"]
        file = hall.folder / uplink["password_file"]

        assert {"host": "localhost", "port": nobody, "password_file": "broker.password"} == uplink
        assert word == file.read_text().strip()
        assert 0o600 == file.stat().st_mode & 0o777
        assert word not in source
        assert "还没有" not in (hall.folder / "agent.toml").read_text("utf-8").partition("[door]")[0]
        assert [file] == list(hall.folder.glob("broker.password*"))


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    """One agent that hall IT has set up, for every test that only visits it."""
    folder = tmp_path_factory.mktemp("set-up") / "hall"
    with rig(folder, settings=set_up(folder)) as hall:
        assert until(lambda: "线缆已接通" in hall.log)
        hall.press(3)
        assert until(lambda: [3] == [record.button for record in records(hall)])
        yield hall


@pytest.fixture
def hall(browse, standing: Rig):
    """That agent, and hall IT signed in at its page."""
    page = browse()
    sign_in(page, standing.url)
    return standing, page


def test_a_mistake_is_marked_and_the_agent_runs_on_with_what_it_had(hall):
    """The field says what is wrong; the file, the process and its start are the same."""
    at, page = hall
    before, started = (at.folder / "agent.toml").read_text("utf-8"), at.log.count("代理已启动")
    page.goto(f"{at.url}settings")
    page.fill("[id='s-windows.0.port']", "usb:nowhere-at-all")
    page.fill("[id='s-uplink.port']", "many")
    page.click("form.settings button.first")
    wrong = page.locator("[aria-invalid=true]")

    expect(wrong.first).to_be_visible()
    assert {"uplink.port"} == set(wrong.evaluate_all("each => each.map((one) => one.name)"))
    page.fill("[id='s-uplink.port']", "1883")
    page.click("form.settings button.first")
    expect(page.locator("[id='m-windows.0.port']")).to_contain_text("usb:1-1.3")
    assert before == (at.folder / "agent.toml").read_text("utf-8")
    assert started == at.log.count("代理已启动")


@pytest.mark.parametrize("key", ["agent", "uplink.port", "windows.0.silent_after_s"])
def test_a_mistake_leads_to_its_field(hall, key):
    """From the head of the page to wherever the field is, ready to be typed into, in sight together with what is wrong.
    Red if the link is to another field, or to none, or if the field's name is above what is seen."""
    at, page = hall
    page.set_viewport_size(_NARROW)
    page.goto(f"{at.url}settings")
    page.fill(f"[id='s-{key}']", "+")
    page.click("form.settings button.first")
    link = page.locator(".alarm a")
    expect(link).to_have_count(1)
    link.click()

    expect(page.locator(f"[id='s-{key}']")).to_be_focused()
    for part in (f"[for='s-{key}']", f"[id='s-{key}']", f"[id='m-{key}']"):
        expect(page.locator(part)).to_be_in_viewport(ratio=1)


def test_a_change_is_shown_then_applied_by_the_same_process(hall):
    """The old file is kept; who is signed in stays signed in; no press is lost over the restart."""
    at, page = hall
    before = len(records(at))
    page.goto(f"{at.url}settings")
    page.fill("[id='s-windows.0.invite_s']", "45")
    page.click("form.settings button.first")
    expect(page.locator(".diff .more")).to_have_text("+invite_s = 45")
    page.click("form.settings button.first")
    at.press(1)
    page.wait_for_url(at.url, timeout=90_000)
    page.wait_for_selector("text=可以评价", timeout=60_000)

    assert until(lambda: [1] == [record.button for record in records(at)[before:]])
    assert at.agent.poll() is None
    assert "invite_s = 45" in (at.folder / "agent.toml").read_text("utf-8")
    assert 1 == len([file for file in at.folder.iterdir() if re.fullmatch(r"agent\.toml\.[\d-]+", file.name)])


def test_settings_that_turn_out_not_to_work_are_taken_back(hall):
    """A port that is taken is seen only when it is tried: the agent goes back to the old ones and says so."""
    at, page = hall
    before, starts = (at.folder / "agent.toml").read_text("utf-8"), at.log.count("代理已启动")
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        page.goto(f"{at.url}settings")
        page.fill("[id='s-door.port']", str(taken))
        page.click("form.settings button.first")
        page.click("form.settings button.first")
        assert until(lambda: starts + 1 == at.log.count("代理已启动"), 30), at.log
    page.goto(at.url)

    expect(page.locator(".alarm")).to_contain_text(f"agent.toml: door.port: 端口 {taken} 已被占用")
    expect(page.locator(".alarm")).not_to_contain_text("taken by")
    assert before == (at.folder / "agent.toml").read_text("utf-8")
    assert at.agent.poll() is None


def test_a_port_that_a_window_has_is_looked_at_and_not_opened_again(hall):
    """Its own bytes are shown; the window goes on."""
    at, page = hall
    before, cables = len(records(at)), at.log.count("线缆已接通")
    page.goto(f"{at.url}guide/device")
    page.click("details summary")
    page.fill("#f-bind", str(at.port))
    page.locator("details button").click()
    page.wait_for_selector("text=窗口 1 使用")
    at.press(2)
    page.wait_for_selector("td:has-text('按键 2')", timeout=60_000)

    assert until(lambda: [2] == [record.button for record in records(at)[before:]])
    assert cables == at.log.count("线缆已接通")


def test_the_chain_is_checked_beside_the_work_and_a_diagnosis_holds_no_secret(hall):
    """Both from the home page."""
    at, page = hall
    page.goto(at.url)
    page.click("#check-chain")
    page.wait_for_selector("text=链完好", timeout=60_000)
    with page.expect_download() as download:
        page.click("text=下载诊断包")
    secrets = [(at.folder / "door.token").read_text().strip(), WORD]
    with zipfile.ZipFile(download.value.path()) as packed:
        texts = {name: packed.read(name).decode() for name in packed.namelist()}

    assert {"about.json", "agent.toml", "log.txt", "ports.json", "findings.json", "windows.json"} == set(texts)
    assert not [name for name, text in texts.items() if any(secret in text for secret in secrets)]
