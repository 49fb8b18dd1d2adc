from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from . import browser as browsers
from .agents import Hall, hall


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if browsers.path() is None:
        pytest.skip("没有浏览器 / no browser on this machine: make browser")
    with browsers.chromium() as running:
        yield running


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    """One agent for all of a module: each test takes a window of it that nobody has used."""
    with hall(tmp_path_factory.mktemp("hall")) as one:
        yield one


@pytest.fixture
def browse(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page of its own each time it is called, see `browser.opened`."""
    with ExitStack() as pages:

        def open_page(**options: Any) -> Page:
            return pages.enter_context(browsers.opened(chromium, **options))

        yield open_page


@pytest.fixture
def complaints() -> Callable[[Page], list[str]]:
    """What axe-core has against a page."""
    if not browsers.AXE.is_file():
        pytest.skip("没有 axe-core / is not here: make axe")
    return browsers.complaints
