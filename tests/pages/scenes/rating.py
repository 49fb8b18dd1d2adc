"""The citizen's page on a tablet, a kiosk that stands upright, and a phone; and what it says when things go wrong."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

from edge_agent.clerks import Clerk, Seat
from tests.pages.agents import Running, clerks, running
from tests.pages.portrait import portrait
from tests.pages.screenshots import LOOKS, Camera

TABLET = {"width": 1280, "height": 800}
KIOSK = {"width": 1080, "height": 1920}
SMALL = {"width": 1024, "height": 768}
PHONE = {"width": 360, "height": 740}


def take(camera: Camera, folder: Path) -> None:
    known = clerks(folder)
    (folder / "photos").mkdir()
    (folder / "photos" / "018.png").write_bytes(portrait())
    known.put(Clerk("018", "张敏", 4, "018.png"))
    known.sit("3", Seat("018"))
    with running(folder) as agent:
        camera.take("rate-idle", agent.standing, _at("idle"), size=TABLET)
        for name, size in (("tablet", TABLET), ("small", SMALL), ("kiosk", KIOSK), ("phone", PHONE)):
            _ask_anew(agent)
            looks = None if name not in ("small", "phone") else ("zh", "en", "large")
            camera.take(f"rate-ask-{name}", agent.standing, _enlarged("ask"), size=size, **_looks(looks))
            # As much as is on the screen at once: what is to be pressed has to be there.
            for look in looks or LOOKS:
                _ask_anew(agent)
                camera.take(f"rate-bad-{name}", agent.standing, _why("dissatisfied"), (look,), size=size, whole=False)
        for look in LOOKS:
            _ask_anew(agent)
            camera.take("rate-good", agent.standing, _why("very_satisfied"), (look,), size=TABLET, whole=False)
            _ask_anew(agent)
            camera.take("rate-thanks", agent.standing, _thanks, (look,), size=TABLET)
        agent.invite(seconds=600, replace=True)
        camera.take("rate-not-kept", agent.standing, _not_kept, size=TABLET)
        _end(agent)
    with running(folder, window="walk_in = true") as agent:
        camera.take("rate-not-sure", agent.standing, _not_sure, size=TABLET)
    known.sit("3", Seat("018", paused=True))
    with running(folder) as agent:
        camera.take("rate-paused", agent.standing, _at("paused"), size=TABLET)


def _looks(looks: tuple[str, ...] | None) -> dict[str, tuple[str, ...]]:
    return {} if looks is None else {"looks": looks}


def _ask_anew(agent: Running) -> None:
    """Whoever has chosen and closes the page has rated: each picture of a choice needs an invitation of its own."""
    agent.invite(case_no="BJ20260001234", seconds=600, replace=True)


def _end(agent: Running) -> None:
    opened = agent.invite(replace=True)
    agent.ask("DELETE", f"/v1/invitations/{opened['id']}")


def _at(section: str):
    def prepare(page: Page) -> None:
        _as_its_reader_wants(page)
        page.wait_for_selector(f"#{section}:visible")
        page.wait_for_timeout(300)

    return prepare


def _enlarged(section: str):
    def prepare(page: Page) -> None:
        page.wait_for_selector(f"#{section}:visible")
        _as_its_reader_wants(page)

    return prepare


def _as_its_reader_wants(page: Page) -> None:
    """Large type by the page's own button, not by the browser's."""
    if page.evaluate("document.documentElement.style.fontSize"):
        page.evaluate("document.documentElement.style.fontSize = ''")
        page.click("#large")


def _why(level: str):
    def prepare(page: Page) -> None:
        _enlarged("ask")(page)
        page.click(f".face.{level}")
        page.wait_for_selector("#why:visible")
        page.click("#tags button >> nth=2")

    return prepare


def _thanks(page: Page) -> None:
    _why("satisfied")(page)
    page.click("#submit")
    page.wait_for_selector("#thanks:visible")


def _not_kept(page: Page) -> None:
    _enlarged("ask")(page)
    page.route("**/press", lambda route: route.fulfill(status=507, json={"error": {"code": "storage_full"}}))
    page.click(".face.very_satisfied")
    page.click("#submit")
    page.wait_for_selector("#trouble:visible")


def _not_sure(page: Page) -> None:
    """Of a rating without an invitation nobody knows: the next one waits for it."""
    _enlarged("ask")(page)
    page.evaluate("() => { behind.add({ body: { invitation: '' } }); draw(); }")
    page.wait_for_selector("#trouble:visible")
