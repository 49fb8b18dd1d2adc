"""Signing in, who there is, the audit log; the desk of parked ratings, quarantine, and presses without meaning."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

from tests.collector.agents import NOW_MS
from tests.collector.ledgers import directory_of, window
from tests.pages.centre import PASSWORD, serving
from tests.pages.screenshots import Camera
from tests.pages.test_desk_pages import filled

SMALL = {"width": 360, "height": 740}
PAGES = {
    "parked": "/parked",
    "parked-lacking": "/parked/1",
    "parked-refused": "/parked/2",
    "parked-held": "/parked/3",
    "parked-no-case": "/parked/7",
    "send-again": "/parked/send-again?reason=before_service&as_is=yes",
    "quarantine": "/quarantine",
    "quarantined": "/quarantine/1",
    "unratable": "/unratable",
    "log": "/log",
    "people": "/people",
    "password": "/password",
    "wrong": "/nowhere",
}


def take(camera: Camera, folder: Path) -> None:
    with serving(folder, directory_of(window(), window(window="w2", device="D2", keys="{}"))) as centre:
        camera.take("nobody-yet", f"{centre.url}/")
        people = {"管理员甲": "administrator", "李敏": "operator", "赵审": "auditor", "大厅看板": "viewer"}
        for name, role in people.items():
            centre.people.add(name, role, PASSWORD, "root (本机 on this machine)", "命令行 / command line", NOW_MS)
        filled(centre.ledger)
        centre.ledger.desk.correct(
            4, {"mobile": "13800001111", "item_name": "身份证补领"}, "李敏", "核对原始材料", NOW_MS
        )
        centre.people.set_disabled("大厅看板", True, "管理员甲", "10.1.2.3", NOW_MS)
        centre.people.log.note("李敏", "parked_corrected", "#4 item_name mobile", "10.1.2.7", NOW_MS)
        camera.take("sign-in", f"{centre.url}/sign-in")
        camera.take("locked", f"{centre.url}/sign-in", lambda page: _fail(centre, page), looks=("zh", "en"))
        centre.now_ms += 3_600_000
        for name, path in {**PAGES, "parked-corrected": "/parked/4"}.items():
            camera.take(name, f"{centre.url}/password", _at(centre, path))
            camera.take(f"{name}-small", f"{centre.url}/password", _at(centre, path), looks=("zh",), size=SMALL)
        for name, path in (("people", "/people"), ("parked", "/parked")):
            camera.paper(name, f"{centre.url}/password", _at(centre, path))
        camera.take("person-added", f"{centre.url}/password", lambda page: _added(centre, page), looks=("zh", "en"))


def _at(centre, path: str):
    def prepare(page: Page) -> None:
        size = page.evaluate("document.documentElement.style.fontSize")
        centre.sign_in(page, "管理员甲")
        page.goto(f"{centre.url}{path}")
        page.evaluate("size => document.documentElement.style.fontSize = size", size)

    return prepare


def _fail(centre, page: Page) -> None:
    for _ in range(6):
        centre.sign_in(page, "李敏", "wrong wrong")


def _added(centre, page: Page) -> None:
    _at(centre, "/people")(page)
    page.fill("main [name=name]", f"新来的{page.evaluate('navigator.language')}")
    page.click("main button.first")
