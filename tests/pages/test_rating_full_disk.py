"""A citizen presses while the window PC's disk is really full: told so, and counted once when there is room again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.disks import Disk

from .agents import running
from .test_rating import invited, shows


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    yield disk
    disk.unmount()


def test_a_press_on_a_full_disk_is_refused_in_words_and_kept_once_when_there_is_room(
    disk: Disk, tmp_path: Path, browse: Callable[..., Page]
) -> None:
    """507 from the agent itself and nobody is thanked; the same press again, twice while it is full, then with room:
    one record, of that citizen. Red if a refused press is kept after all, or if it counts twice."""
    page = browse()
    with running(tmp_path, more=f'[outbox]\npath = "{disk.path}/outbox.db"') as agent:
        page.goto(agent.standing)
        invitation = invited(agent, page, seconds=300)
        disk.fill()
        page.click(".face.dissatisfied")
        page.click("#tags button >> nth=0")
        with page.expect_response("**/press") as first:
            page.click("#submit")
        shows(page, "trouble", 30_000)
        words = page.inner_text("#trouble-words")
        with page.expect_response("**/press") as second:
            page.click("#again")
        shows(page, "trouble", 30_000)
        during = agent.state(invitation)
        disk.free()
        page.click("#again")
        shows(page, "thanks", 30_000)
        after = agent.state(invitation)

    assert [507, 507] == [first.value.status, second.value.status]
    assert "存储已满" in words
    assert ("open", "answered") == (during, after)
    assert [(2, invitation)] == [(each["button"], each["invitation"]) for each in agent.kept(folder=disk.path)]
