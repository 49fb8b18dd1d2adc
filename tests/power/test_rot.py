"""A bit turns round: a short, seeded part of what `python -m tests.power.rot` does, and that it can fail."""

from edge_agent.outbox import look
from edge_agent.outbox.rescue import Rescue

from . import rot

SEED = 3
FLIPS = 40


def test_whatever_bit_turns_round_at_most_one_record_is_lost_and_that_is_named(tmp_path):
    """And the program starts by itself with all the others."""
    found = list(rot.rotted(SEED, FLIPS, tmp_path))

    assert FLIPS == len(found)
    assert [] == [each.wrong for each in found if each.wrong]


def test_without_the_salvage_the_rig_sees_records_lost(tmp_path, monkeypatch):
    """What makes it worth having: a file that is only set aside keeps its records to itself."""
    monkeypatch.setattr(Rescue, "begin", lambda *_: None)

    assert any("lost and not named" in each.wrong for each in rot.rotted(SEED, FLIPS, tmp_path))


def test_without_the_sums_the_rig_sees_rows_altered(tmp_path, monkeypatch):
    """An invitation or a press seen that is not what was written, and nobody noticed."""
    monkeypatch.setattr(look, "_sums", lambda *_: iter(()))

    assert any("nobody noticed" in each.wrong for each in rot.rotted(SEED, 400, tmp_path))


def test_a_flip_can_be_made_again(tmp_path):
    """By its number alone, as a failure says it."""
    found = list(rot.rotted(SEED, 3, tmp_path))
    (tmp_path / "again").mkdir()

    assert found[2] == rot.one(SEED, 2, tmp_path / "again")
