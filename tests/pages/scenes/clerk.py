"""The clerk's page: signing in, a window at work, and a tablet that is off."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

from edge_agent.clerks import Clerk
from tests.pages.agents import clerks, running
from tests.pages.portrait import portrait
from tests.pages.screenshots import Camera

SIZE = {"width": 1100, "height": 800}
PHONE = {"width": 360, "height": 740}


def take(camera: Camera, folder: Path) -> None:
    known = clerks(folder)
    (folder / "photos").mkdir()
    (folder / "photos" / "018.png").write_bytes(portrait())
    known.put(Clerk("018", "张敏", 4, "018.png"))
    with running(folder) as agent:
        clerk = f"{agent.url}/clerk/"
        for number, outcome in enumerate(("withdrawn", "declined"), 1):
            opened = agent.invite(case_no=f"BJ2026000{number}", replace=True)
            agent.ask("DELETE", f"/v1/invitations/{opened['id']}?outcome={outcome}")
        opened = agent.invite(case_no="BJ20260003", replace=True)
        rated = {"boot": 1, "count": 1, "level": "satisfied", "invitation": opened["id"]}
        agent.ask("POST", f"{opened['page']}press", rated)
        camera.take("clerk-sign-in", clerk, size=SIZE)
        camera.take("clerk-no-tablet", clerk, _signed_in, size=SIZE, looks=("zh", "en"))
        with camera.beside(agent.standing):
            agent.invite(case_no="BJ20260004", seconds=600, replace=True)
            camera.take("clerk-asks", clerk, _signed_in, size=SIZE)
            camera.take("clerk-phone", clerk, _signed_in, size=PHONE, looks=("zh", "large"))


def _signed_in(page: Page) -> None:
    page.fill("#number", "018")
    page.fill("#pin", "2468")
    page.click("button.first")
    page.wait_for_selector("#latest tr >> nth=2")
    page.wait_for_timeout(200)
