"""`make screenshots`: pictures of every page, in both languages, large and dark, to be looked at one by one.

Each module of `scenes` has a `take(camera, folder)` that starts what its pages need and takes the pictures.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from . import browser as browsers
from . import scenes

LOOKS: dict[str, dict[str, Any]] = {
    "zh": {"locale": "zh-CN"},
    "en": {"locale": "en-GB"},
    "large": {"locale": "zh-CN"},
    "dark": {"locale": "zh-CN", "color_scheme": "dark"},
}
WIDE = {"width": 1280, "height": 800}
PAPER = {"width": 688, "height": 1017}
"""What an A4 sheet leaves between its margins, at the 96 pixels an inch that pages are laid out in."""


class Camera:
    """Takes each page in each look, a file each: `<name>-<look>.png`."""

    def __init__(self, browser: Browser, into: Path):
        self.taken: list[Path] = []
        self._browser = browser
        self._into = into

    @contextmanager
    def beside(self, url: str) -> Iterator[Page]:
        """Another page that is open meanwhile."""
        with browsers.opened(self._browser) as page:
            page.goto(url)
            yield page

    def take(
        self,
        name: str,
        url: str,
        prepare: Callable[[Page], object] | None = None,
        looks: Sequence[str] = tuple(LOOKS),
        size: dict[str, int] | None = None,
        whole: bool = True,
    ) -> None:
        """Pictures of the page at `url`, once `prepare` has brought it to where it is to be seen. `whole`: all of it,
        however long it is. A page finds out by itself which language to show, from what the browser accepts."""
        for look in looks:
            with browsers.opened(self._browser, viewport=size or WIDE, **LOOKS[look]) as page:
                page.goto(url)
                if look == "large":
                    page.evaluate("document.documentElement.style.fontSize = '150%'")
                if prepare is not None:
                    prepare(page)
                if look == "large" and not page.evaluate("document.documentElement.className"):
                    page.evaluate("document.documentElement.style.fontSize = '150%'")  # `prepare` came to another page
                file = self._into / f"{name}-{look}.png"
                page.screenshot(path=file, full_page=whole, animations="disabled")
                self.taken.append(file)
                print(file, flush=True)

    def paper(self, name: str, url: str, prepare: Callable[[Page], object] | None = None) -> None:
        """A picture of what comes out of the printer, on one long sheet."""

        def printed(page: Page) -> None:
            if prepare is not None:
                prepare(page)
            page.emulate_media(media="print")

        self.take(f"{name}-paper", url, printed, looks=("zh",), size=PAPER)

    @contextmanager
    def page(self, prepare: Callable[[Page], object]) -> Iterator[Page]:
        """A page of which no picture is taken: it brings what it is of to where the next one is to be."""
        with browsers.opened(self._browser, viewport=WIDE, **LOOKS["zh"]) as page:
            prepare(page)
            yield page


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make screenshots", description=__doc__)
    parser.add_argument("--into", type=Path, default=Path("screenshots"), help="folder for the pictures")
    parser.add_argument("--only", default="", help="names of scenes that contain this")
    options = parser.parse_args(arguments)
    if browsers.path() is None:
        print("没有浏览器 / no browser on this machine: make browser", file=sys.stderr)
        return 1
    options.into.mkdir(parents=True, exist_ok=True)
    names = [each.name for each in pkgutil.iter_modules(scenes.__path__) if options.only in each.name]
    with browsers.chromium() as browser:
        camera = Camera(browser, options.into)
        for at, name in enumerate(names, 1):
            begun_s = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                importlib.import_module(f"{scenes.__name__}.{name}").take(camera, Path(folder))
            print(f"[{at}/{len(names)}] {name} {time.monotonic() - begun_s:.0f} s", flush=True)
    print(f"{len(camera.taken)} 张图片 / pictures in {options.into}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
