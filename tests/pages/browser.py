"""A real Chromium for the pages, with a watch on each: no error, no request beyond this machine, nothing for axe."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Route, sync_playwright

ROOT = Path(__file__).parent.parent.parent
AXE = ROOT / ".venv" / "npm" / "node_modules" / "axe-core" / "axe.min.js"
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def path() -> str | None:
    """Where the browser is, if there is one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """A running browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path(), args=[*_FLAGS, *flags])
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page, and what went wrong in it that nobody sees."""

    def __init__(self, page: Page):
        self.page = page
        self.errors: list[str] = []
        self.beyond: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._heard)
        page.context.route("**/*", self._asked)

    def _heard(self, message: ConsoleMessage) -> None:
        # An answer of 4xx or 5xx is told there too: the page's own matter, and often the very thing that is tried.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.errors.append(message.text)

    def _asked(self, route: Route) -> None:
        url = route.request.url
        if url.startswith(("http://127.0.0.1:", "http://localhost:", "data:", "blob:", "file:")):
            route.continue_()
        else:
            self.beyond.append(url)
            route.abort()


@contextmanager
def opened(browser: Browser, may_err: bool = False, **options: Any) -> Iterator[Page]:
    """A page in a context of its own (`options` are those of `Browser.new_context`); afterwards AssertionError if it
    had an error or broke a content security policy, unless it `may_err`, or asked for anything beyond this machine."""
    context = browser.new_context(**{"locale": "zh-CN", "timezone_id": "Asia/Shanghai", **options})
    watched = Watched(context.new_page())
    try:
        yield watched.page
        assert may_err or [] == watched.errors
        assert [] == watched.beyond
    finally:
        context.close()


def cut_off(page: Page) -> list[str]:
    """What of the page has to be pushed sideways to be read: nothing should, on the smallest telephone, but bytes."""
    found: list[str] = page.evaluate(
        """() => [document.documentElement, ...document.querySelectorAll("main section, main")]
            .filter((each) => each.scrollWidth > each.clientWidth + 1 && !each.querySelector(":scope > .bytes"))
            .map((each) => `${each.tagName} ${each.getAttribute("aria-label") ?? ""} ${each.scrollWidth}`)"""
    )
    return found


def complaints(page: Page) -> list[str]:
    """What axe-core finds wrong with the page as it is now: rule, how bad, and where."""
    # By the debugger and not as a script of the page, whose policy would not have it.
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("tags => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", _RULES)
    return [
        f"{each['id']} ({each['impact']}): {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]
