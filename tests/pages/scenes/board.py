"""The operators' board with twelve windows and with ten thousand, and the page of a window."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

from tests.pages.boards import Board, now_ms, small
from tests.pages.screenshots import Camera

PHONE = {"width": 360, "height": 740}


def take(camera: Camera, folder: Path) -> None:
    (folder / "small").mkdir()
    board = small(folder / "small")
    with board.served() as url:
        camera.take("board-12", url, _rows)
        camera.take("board-12-phone", url, _rows, looks=("zh", "en"), size=PHONE)
        camera.take("board-12-filtered", f"{url}/?state=trouble&sort=number", _rows, looks=("zh",))
        camera.take("window", board.address(0), _drawn)
        camera.paper("board", url, _rows)
        camera.paper("window", board.address(0), _drawn)
        camera.take("window-cable", board.address(1), _drawn, looks=("zh",))
        camera.take("window-phone", board.address(0), _drawn, looks=("zh",), size=PHONE)
    (folder / "many").mkdir()
    many = Board(folder / "many", 10_000, at_ms := now_ms())
    many.morning(2000, at_ms)
    with many.served() as url:
        camera.take("board-10000", url, _rows, looks=("zh", "dark"), whole=False)
        camera.take("board-10000-rows", url, _scrolled, looks=("zh", "en", "large"), whole=False)
        camera.take("board-10000-found", f"{url}/?q=pc-017", _scrolled, looks=("zh",), whole=False)


def _rows(page: Page) -> None:
    page.wait_for_selector(".rows .hall", timeout=60_000)


def _scrolled(page: Page) -> None:
    _rows(page)
    page.evaluate("document.getElementById('windows').scrollIntoView()")
    page.wait_for_timeout(300)


def _drawn(page: Page) -> None:
    page.wait_for_selector(".chart canvas")
