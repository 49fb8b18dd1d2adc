"""Hall IT applies settings while the disk is really full: nothing of the old ones is lost, and the page says so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.clerks import Clerk, Clerks
from edge_agent.setup.apply import take_back
from tests.disks import Disk

from ..hall import until
from .visitor import Answer, Page, Visitor, served

BEFORE = """# by hand
agent = "hall-pc-1"

[uplink]
host = "broker.example"
password_file = "broker.password"

[door]
token_file = "door.token"

[[windows]]
id = "A03"
device = "A03-page"
profile = "page"
"""
AFTER = BEFORE.replace("broker.example", "other.example")
SAID = ("the disk is full: make room", "nothing was saved, the settings are as they were")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    yield disk
    disk.unmount()


@pytest.fixture
def page(disk: Disk) -> Iterator[Page]:
    with served(disk.path) as page:
        yield page


@pytest.fixture
def visitor(page: Page) -> Visitor:
    visitor = page.visitor()
    visitor.begin()
    return visitor


def written(folder: Path) -> dict[str, str]:
    """What lies there, but for what filled the disk."""
    return {file.name: file.read_text("utf-8") for file in folder.iterdir() if file.name != "ballast"}


def typed(answer: Answer) -> dict[str, str]:
    """What the form of this page carries."""
    return dict(re.findall(r'name="(typed)" value="([^"]+)"', answer.text))


def test_settings_applied_on_a_full_disk_leave_the_old_ones_whole(disk, page, visitor):
    """507 in words, not a byte of any file changed and none left over, nothing starts again; with room the same button
    applies them. Red if a half-written copy stays, and if what was typed is gone."""
    for name in ("broker.password", "door.token"):
        (disk.path / name).write_text("secret-0123456789")
    (disk.path / "agent.toml").write_text(BEFORE)
    before, reviewed = written(disk.path), visitor.post("/setup/settings/text", {"text": AFTER})
    disk.fill()
    refused = visitor.post("/setup/settings/apply", typed(reviewed), reviewed.form_word)
    during = written(disk.path)
    disk.free()
    applied = visitor.post("/setup/settings/apply", typed(refused), refused.form_word)
    assert until(lambda: page.again)

    assert 507 == refused.status
    assert not [words for words in SAID if words not in refused.text]
    assert "other.example" in refused.text
    assert before == during
    assert 200 == applied.status
    assert AFTER == (disk.path / "agent.toml").read_text()
    assert [BEFORE] == [file.read_text() for file in disk.path.glob("agent.toml.*")]


def test_the_guide_writes_nothing_on_a_full_disk_and_goes_on_when_there_is_room(disk, page, visitor):
    """Its screens are still shown, no half of an agent.toml lies there. Red if a page fails that only wants to look."""
    visitor.post("/setup/guide/name", {"agent": "hall-pc-1", "broker": "later", "do": "next"})
    visitor.post("/setup/guide/device", {"kind": "screen"})
    word = visitor.get("/setup/guide/bind").form_word
    bound = {"window": "A03", "device": ""}
    disk.fill()
    refused = visitor.post("/setup/guide/bind", bound, word)
    looked = [visitor.get(f"/setup/guide/{step}").status for step in ("name", "device", "bind")]
    nothing = sorted(written(disk.path))
    disk.free()
    applied = visitor.post("/setup/guide/bind", bound, word)
    assert until(lambda: page.again)

    assert (507, [200] * 3, 200) == (refused.status, looked, applied.status)
    assert not [words for words in SAID if words not in refused.text]
    assert 'value="A03"' in refused.text
    assert ["hall-it.json", "setup.draft"] == nothing
    assert 'device = "A03-page"' in (disk.path / "agent.toml").read_text()


def test_who_is_signed_in_is_forgotten_sooner_than_the_restart(page, visitor):
    """No room for the list: they sign in anew, and the agent starts all the same. Red if it waits for ever."""
    (page.folder / "setup.sessions").mkdir()
    visitor.post("/setup/guide/name", {"agent": "hall-pc-1", "broker": "later", "do": "next"})
    visitor.post("/setup/guide/device", {"kind": "screen"})
    visitor.post("/setup/guide/bind", {"window": "A03", "device": ""})

    assert until(lambda: page.again)


def test_what_was_put_in_place_can_be_taken_back_without_room(disk):
    """A rename asks for none."""
    file, kept = disk.path / "agent.toml", disk.path / "agent.toml.before"
    file.write_text(AFTER)
    kept.write_text(BEFORE)
    disk.fill()
    take_back(file, kept)
    back = file.read_text()
    take_back(file, None)

    assert BEFORE == back
    assert not file.exists()


def test_a_photo_that_finds_no_room_leaves_the_one_before(disk):
    """Red if it is written over it: half a face would be on the rating page."""
    clerks, before = Clerks(disk.path), b"\xff\xd8\xff" + bytes(10_000)
    clerks.put(Clerk("018", photo=clerks.keep_photo("018", ".jpg", before)))
    disk.fill()
    with pytest.raises(OSError, match="No space left"):
        clerks.keep_photo("018", ".jpg", b"\xff\xd8\xff" + bytes(200_000))

    assert before == (disk.path / "photos" / "018.jpg").read_bytes()
    assert ["018.jpg"] == [each.name for each in (disk.path / "photos").iterdir()]
