"""The setup page learning a device that no profile knows."""

from __future__ import annotations

import time
from pathlib import Path

from playwright.sync_api import Page

from tests.pages.screenshots import Camera
from tests.pages.setup_rig import Rig, rig, sign_in, through


def take(camera: Camera, folder: Path) -> None:
    """The key that is to be pressed now, and what stands on the keys."""
    with rig(folder / "learn", "--shape", "4") as unknown:
        _learn(camera, unknown)


def _learn(camera: Camera, unknown: Rig) -> None:
    with camera.page(lambda page: sign_in(page, unknown.url)) as page:
        through(page, unknown, "bytes")
        unknown.press(1)
        page.wait_for_selector("table.bytes", timeout=10_000)
        page.goto(f"{unknown.url}guide/learn")
        page.fill("#f-keys", "2")
        page.click("button.first")
        page.wait_for_selector(".big b", timeout=30_000)

    def come(page: Page) -> None:
        sign_in(page, unknown.url)
        page.goto(f"{unknown.url}guide/learn")
        page.wait_for_selector(".lesson")

    camera.take("setup-9-learn", unknown.url, come, looks=("zh", "en", "dark"))
    for key in (1, 1, 1, 2, 2, 2):
        unknown.press(key)
        time.sleep(3)

    def meanings(page: Page) -> None:
        come(page)
        page.goto(f"{unknown.url}guide/meanings")

    camera.take("setup-9-meanings", unknown.url, meanings, looks=("zh", "en"))
