"""The setup page: from the first password to the home of an agent that runs."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

from tests.pages.portrait import portrait
from tests.pages.screenshots import Camera
from tests.pages.setup_rig import Rig, rig, sign_in, through

_NARROW = {"width": 360, "height": 740}
_MISTAKE = "usb:nowhere-at-all"


def take(camera: Camera, folder: Path) -> None:
    """Every screen of the guide, and the pages behind it."""
    with rig(folder / "first") as first:
        camera.take("setup-1-password", first.url)
        _guide(camera, first)


def _guide(camera: Camera, first: Rig) -> None:
    def signed(path: str, prepare=None):  # type: ignore[no-untyped-def]
        def come(page: Page) -> None:
            sign_in(page, first.url)
            page.goto(first.url.replace("/setup/", path))
            if prepare is not None:
                prepare(page)

        return come

    def wrong_old(page: Page) -> None:
        for name in ("old", "word", "again"):
            page.fill(f"#f-{name}", "not the old one")
        page.click("button.first")
        page.wait_for_selector("[aria-invalid]")

    def answered(page: Page) -> None:
        page.fill("#f-host", "127.0.0.1")
        page.fill("#f-port", "9")
        page.click("button[value=test]")
        page.wait_for_selector("[role=status]")

    camera.take("setup-2-name", first.url, signed("/setup/guide/name", answered))
    camera.take("setup-2-name-narrow", first.url, signed("/setup/guide/name"), looks=("zh",), size=_NARROW)
    camera.take("setup-3-device", first.url, signed("/setup/guide/device"))
    with _signed_in(camera, first) as page:
        page.goto(f"{first.url}guide/name")
        through(page, first, "read")
    camera.take("setup-4-bytes", first.url, signed("/setup/guide/bytes", lambda page: page.wait_for_timeout(1500)))
    camera.take(
        "setup-4-bytes-narrow",
        first.url,
        signed("/setup/guide/bytes", lambda page: page.wait_for_timeout(1500)),
        looks=("zh",),
        size=_NARROW,
    )
    with _signed_in(camera, first) as page:
        page.goto(f"{first.url}guide/bytes")
        page.click("#reads-house")
        page.wait_for_selector("#f-window")
    camera.take("setup-5-bind", first.url, signed("/setup/guide/bind", _all_open))
    with _signed_in(camera, first) as page:
        page.goto(f"{first.url}guide/bind")
        page.fill("#f-window", "A03")
        page.click("button.first")
        page.wait_for_url("**/guide/try", timeout=30_000)
        page.wait_for_selector(".well.done", timeout=20_000)
    camera.take("setup-6-try", first.url, signed("/setup/guide/try"))
    for name, path in (("home", ""), ("doctor", "doctor"), ("log", "log"), ("text", "settings/text")):
        camera.take(f"setup-7-{name}", first.url, signed(f"/setup/{path}", lambda page: page.wait_for_timeout(1200)))

    def a_clerk(page: Page) -> None:
        page.set_input_files("#f-photo", {"name": "face.png", "mimeType": "image/png", "buffer": portrait()})
        page.wait_for_selector("#h-photo:text-is('face.png')")
        page.fill("#f-number", "018")
        page.fill("#f-name", "王芳")
        page.select_option("#f-stars", "4")
        page.fill("#f-pin", "2468")
        page.click("button[value=keep]")
        page.wait_for_selector("#clerks .face")

    camera.take("setup-7-clerks", first.url, signed("/setup/clerks", a_clerk))
    camera.take("setup-7-clerks-narrow", first.url, signed("/setup/clerks"), looks=("zh",), size=_NARROW)
    camera.take("setup-7-broker", first.url, signed("/setup/broker", answered))
    camera.take("setup-7-broker-narrow", first.url, signed("/setup/broker"), looks=("zh",), size=_NARROW)
    camera.take("setup-7-password", first.url, signed("/setup/password", wrong_old), looks=("zh", "en", "dark"))
    camera.take("setup-7-settings", first.url, signed("/setup/settings"), looks=("zh", "en", "dark"))
    camera.take("setup-7-home-narrow", first.url, signed("/setup/"), looks=("zh",), size=_NARROW)

    def wrong(page: Page) -> None:
        page.fill("[id='s-windows.0.port']", _MISTAKE)
        page.locator("form.settings button.first").click()
        page.wait_for_selector("[aria-invalid]")

    camera.take("setup-8-mistake", first.url, signed("/setup/settings", wrong), looks=("zh", "en"))


def _all_open(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")


def _signed_in(camera: Camera, at: Rig):  # type: ignore[no-untyped-def]
    return camera.page(lambda page: sign_in(page, at.url))
