"""A bit turns round in a ledger: a short, seeded part of what `python -m tests.power.rot_ledger` does, and that it can
fail."""

from pathlib import Path

from collector.ledger import mend

from . import rot_ledger as rot

SEED = 3
FLIPS = 30


def wrong(folder: Path, beside: bool = False) -> list[str]:
    return [each.wrong for each in rot.rotted(SEED, FLIPS, folder, beside) if each.wrong]


def test_whatever_bit_turns_round_is_turned_back_before_the_start(tmp_path):
    """Noticed, the damaged file set aside whole, every row of every table what it was, all of it sent as it is."""
    assert [] == wrong(tmp_path)


def test_a_large_ledger_goes_on_meanwhile_and_sends_nothing_altered(tmp_path):
    """It is looked into beside the work; whatever meets the damage ends, and the next start turns the bit back."""
    assert [] == wrong(tmp_path, beside=True)


def test_without_the_look_the_rig_sees_what_it_leaves(tmp_path, monkeypatch):
    """What makes it worth having."""
    monkeypatch.setattr(mend, "_look", lambda *_: None)

    assert any("not noticed" in each for each in wrong(tmp_path))


def test_a_flip_can_be_made_again(tmp_path):
    """By its number alone, as a failure says it."""
    (tmp_path / "first").mkdir()
    (tmp_path / "again").mkdir()
    found = list(rot.rotted(SEED, 3, tmp_path / "first"))

    assert found[2] == rot.one(SEED, 2, tmp_path / "again")
