"""The page of the alerts, on a bad Monday, and on a day on which nothing is wrong."""

from __future__ import annotations

from pathlib import Path

from tests.pages.alerting import centre, served
from tests.pages.screenshots import Camera


def take(camera: Camera, folder: Path) -> None:
    (folder / "well").mkdir()
    with served(centre(folder)) as url:
        camera.take("alerts", f"{url}/alerts")
        camera.take("alerts-narrow", f"{url}/alerts", looks=("zh", "en"), size={"width": 360, "height": 740})
    well = centre(folder / "well", troubled=False)
    well.pass_by(0)
    with served(well) as url:
        camera.take("alerts-well", f"{url}/alerts", looks=("zh", "dark"))
