"""Hall IT in haste at the setup page: a double click is one click, and what is old is called old."""

from __future__ import annotations

import time
import tomllib

from playwright.sync_api import Page, expect

from edge_agent.setup import apply
from tests.edge_agent.setup.visitor import served

from .setup_rig import sign_in


def test_a_double_click_binds_one_window(browse, tmp_path, monkeypatch):
    """On a disk that takes half a second it is written once, and the page waits for the restart. Red if the second
    click is told that the window is taken already: by the first."""

    def slow(*given, at_once=apply.apply):
        kept = at_once(*given)
        time.sleep(0.5)
        return kept

    monkeypatch.setattr(apply, "apply", slow)
    page: Page = browse()
    with served(tmp_path) as at:
        sign_in(page, f"http://127.0.0.1:{at.port}/setup/")
        page.get_by_label("以后再填").check()
        page.click("button[value=next]")
        page.click("text=用评价页")
        page.fill("#f-window", "A03")
        at_button = page.locator("button.first").bounding_box()
        for _ in range(2):
            page.mouse.click(at_button["x"] + 9, at_button["y"] + 9)
            time.sleep(0.15)

        expect(page.locator("[data-restart]")).to_be_visible()
        assert ["A03"] == [each["id"] for each in tomllib.loads((tmp_path / "agent.toml").read_text())["windows"]]
        page.context.close()  # a server waits for whoever is connected


def test_an_agent_that_hangs_is_said_to_be_away(browse, tmp_path):
    """It takes the question and never answers, as a program does that waits for its disk. Red if only an answer, or the
    end of the connection, can tell."""
    page: Page = browse()
    page.clock.install()
    with served(tmp_path) as at:
        sign_in(page, f"http://127.0.0.1:{at.port}/setup/")
        page.get_by_label("以后再填").check()
        page.click("button[value=next]")
        expect(page.locator("[data-poll]")).to_be_visible()
        page.clock.run_for(1_500)
        page.wait_for_timeout(300)
        expect(page.locator("#stale")).to_be_hidden()
        page.route("**/device/part", lambda _: None)
        page.clock.run_for(8_000)

        expect(page.locator("#stale")).to_be_visible()
        page.context.close()  # a server waits for whoever is connected
