"""Mendings, spot checks and statistics."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

from ..mendings import month, serving, sign_in, worked_on
from ..screenshots import Camera

NARROW = {"width": 360, "height": 740}


def take(camera: Camera, folder: Path) -> None:
    ledger = month(folder)
    worked_on(ledger)
    with serving(ledger) as url:

        def auditor(page: Page) -> None:
            sign_in(page, url, "周审", "auditor")
            page.reload()

        first = ledger.store.row("SELECT rating FROM step WHERE what = 'call_back' ORDER BY id DESC")["rating"]
        untouched = ledger.store.row("SELECT max(id) FROM rating WHERE bad AND id NOT IN (SELECT rating FROM step)")[0]
        camera.take("mending", f"{url}/mending")
        camera.take("mending-overdue", f"{url}/mending?tab=overdue", looks=("zh",))
        camera.take("mending-closed", f"{url}/mending?tab=closed", looks=("zh",))
        camera.take("mending-narrow", f"{url}/mending", looks=("zh", "en"), size=NARROW)
        camera.take("mending-one", f"{url}/mending/{first}")
        camera.take("mending-one-auditor", f"{url}/mending/{first}", auditor, looks=("zh", "en"))
        camera.take("mending-one-new", f"{url}/mending/{untouched}", looks=("zh", "en"))
        camera.take("mending-one-narrow", f"{url}/mending/{first}", looks=("zh",), size=NARROW)
        own = ledger.store.row(
            "SELECT rating FROM step WHERE state = 'to_close' AND who = '赵强' AND rating NOT IN"
            " (SELECT rating FROM step WHERE what = 'close')"
        )[0]
        camera.paper("mending", f"{url}/mending?tab=overdue")
        camera.paper("mending-one", f"{url}/mending/{first}")
        camera.take("mending-own", f"{url}/mending/{own}", looks=("zh", "en"))
        camera.take("export", f"{url}/export")
        camera.take("export-narrow", f"{url}/export", looks=("zh",), size=NARROW)
        camera.take("export-too-long", f"{url}/export/ratings.xlsx?from=2026-01-01&to=2027-02-14", looks=("zh", "en"))
        camera.take("draws", f"{url}/draws", auditor)
        camera.take("draw", f"{url}/draws/1", auditor)
        camera.paper("draw", f"{url}/draws/1", auditor)
        camera.take("draw-narrow", f"{url}/draws/1", auditor, looks=("zh",), size=NARROW)
        camera.take("statistics", f"{url}/statistics?by=window&from=2027-01-01&to=2027-02-28")
        camera.take("statistics-clerk", f"{url}/statistics?by=clerk&from=2027-02-13&to=2027-02-14", looks=("zh",))
        camera.take("statistics-narrow", f"{url}/statistics?by=day", looks=("zh",), size=NARROW)
        camera.take(
            "statistics-paper",
            f"{url}/statistics?by=window&from=2027-01-01&to=2027-02-28&hall=市民中心",
            lambda page: page.emulate_media(media="print"),
            looks=("zh", "en"),
            size={"width": 1040, "height": 720},
        )
    ledger.store.close()
