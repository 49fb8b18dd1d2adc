"""The power goes: a short, seeded part of what `python -m tests.power.cuts` does, and that it can fail."""

import shutil
import sqlite3
from pathlib import Path
from random import Random

import pytest

from collector.ledger.file import LedgerDamaged
from collector.ledger.pages import Sums
from edge_agent.outbox import Outbox
from edge_agent.outbox import file as outbox_file

from . import cuts
from .cuts import Lived
from .lives import AGENT, NOW_MS, OutboxLife
from .platter import Platter
from .watched import Deleted, Opened, Synced, Watched, Written

SEED = 2


@pytest.fixture(scope="module")
def lived(tmp_path_factory) -> dict[str, Lived]:
    """Both lives, once for all."""
    return {which: cuts.live(which, SEED, tmp_path_factory.mktemp(which)) for which in cuts.LIVES}


@pytest.mark.parametrize("which", cuts.LIVES)
def test_whatever_a_cut_leaves_opens_by_itself_and_holds_all_that_was_promised(lived, tmp_path, which):
    """Dropped, reordered and torn writes, also in the start after a cut."""
    found = list(cuts.cut(lived[which], which, SEED, 60, tmp_path / "cut", None))

    assert 60 == len(found)
    assert [] == [str(each) for each in found if each is not None]


def test_the_very_first_start_may_be_cut_at_every_request(tmp_path):
    """Its journal lies there then, and only a writer may undo it. Red if the file is looked at first."""
    with Watched() as watched:
        Outbox(tmp_path / "outbox.db", AGENT, NOW_MS).close()
    asked = cuts._of_the_database(watched)
    platter, rng = Platter(), Random(SEED)
    for each in asked:
        platter.take(each)
        for _ in range(4):
            cuts._lay(platter.after_cut(rng), tmp_path / "cut")
            assert "" == outbox_file.damage(tmp_path / "cut" / "outbox.db", AGENT)
            box = Outbox(tmp_path / "cut" / "outbox.db", AGENT, NOW_MS)
            assert (0, None) == (box.tip()[0], box.set_aside)
            box.close()


@pytest.mark.parametrize("pragma", ["NORMAL", "OFF"])
def test_commits_that_are_not_synced_are_seen_to_be_lost(tmp_path, monkeypatch, pragma):
    """What makes the rig worth having: with less than FULL it finds promises that were not kept."""
    begun = outbox_file.open_to_write

    def careless(*args):
        db = begun(*args)
        db.execute(f"PRAGMA synchronous = {pragma}")
        return db

    monkeypatch.setattr(outbox_file, "open_to_write", careless)
    (tmp_path / "life").mkdir()
    lived = cuts.live("outbox", SEED, tmp_path / "life")

    assert any(cuts.cut(lived, "outbox", SEED, 40, tmp_path / "cut", None))


def test_sums_that_are_not_on_the_disk_before_their_pages_are_seen_to_be_missing(tmp_path, monkeypatch):
    """What makes the rig worth having for them too: a start takes whole pages for damaged."""
    monkeypatch.setattr(Sums, "sync", lambda _: None)
    (tmp_path / "life").mkdir()
    lived = cuts.live("ledger", SEED, tmp_path / "life")
    try:
        found = any(cuts.cut(lived, "ledger", SEED, 60, tmp_path / "cut", None))
    except (LedgerDamaged, sqlite3.DatabaseError):
        found = True

    assert found


def test_the_layer_sees_all_that_reaches_the_file(tmp_path):
    """Played back, its requests make the very file. Red if one kind of them is missed."""
    with Watched() as watched:
        life = OutboxLife(SEED, tmp_path, steps=60)
        for _ in life.live():
            pass
        box = Outbox(tmp_path / "outbox.db", AGENT, NOW_MS)
        platter = Platter()
        for each in cuts._of_the_database(watched):
            platter.take(each)
        shutil.copyfile(tmp_path / "outbox.db", tmp_path / "copy")
        box.close()
    for name in ("outbox.db", "outbox.db-wal"):
        platter.take(Synced(name))

    assert (tmp_path / "copy").read_bytes() == platter.after_cut(Random(1))["outbox.db"]


# ---- the disk


def disk(*asked) -> Platter:
    platter = Platter()
    for each in asked:
        platter.take(each)
    return platter


def states(platter: Platter, name: str = "a") -> set[bytes | None]:
    return {platter.after_cut(Random(seed)).get(name) for seed in range(300)}


def test_what_was_synced_is_there():
    """Whatever else was asked before."""
    assert {b"abc"} == states(disk(Opened("a", True), Written("a", 0, b"abc"), Synced("a")))


def test_of_what_was_not_synced_any_part_may_be_there():
    """Each sector for itself, in any order; a file may have grown before its bytes came."""
    wide = bytes([1]) * 512 + bytes([2]) * 512
    seen = states(disk(Opened("a", True), Synced("a"), Written("a", 0, wide)))

    assert {b"", wide, wide[:512], bytes(512) + wide[512:]} == seen


def test_a_name_that_was_deleted_may_come_back_until_its_folder_is_synced():
    """And stays away afterwards."""
    there = (Opened("a", True), Written("a", 0, b"x"), Synced("a"))

    assert {b"x", None} == states(disk(*there, Deleted("a", synced=False)))
    assert {None} == states(disk(*there, Deleted("a", synced=True)))
    assert {None} == states(disk(*there, Deleted("a", synced=False), Opened("b", True), Synced("b")))


def test_a_file_that_was_made_may_not_be_there():
    """Until it is synced with its folder."""
    assert {b"", None} == states(disk(Opened("a", True)))


def test_a_failure_says_what_replays_it(lived):
    """One command."""
    broken = cuts.Broken("outbox", 3, 600, 17, 4_000, "chain broken at 5")

    assert "--life outbox --seed 3 --states 600 --only 17: chain broken at 5 (cut at request 4000)" == str(broken)
    assert Path(cuts.__file__).exists()
