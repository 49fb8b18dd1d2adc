"""The outbox: on disk when it says so, in one chain, each press once, and the right invitation for each."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from edge_agent.outbox import (
    ANY_INVITATION,
    GRACE_MS,
    Outbox,
    OutboxClosed,
    OutboxFull,
    Settled,
    WindowBusy,
    invitations,
    rows,
)
from edge_agent.outbox.invitations import HELD_MAX_MS
from edge_agent.page import OWN
from protocols import chain
from protocols.messages import BATCH_BYTES_MAX, RECORDS_MAX, Receipt, encode
from protocols.ratings import Moment, Press, Reasons

from .hall import (
    AGENT,
    DEVICE,
    PROFILE,
    T0_MS,
    WINDOW,
    an_id,
    answers,
    at,
    closings,
    drain,
    held,
    invitation,
    keep,
    look,
    power_cut,
    press,
    presses,
    rebooted,
    receipt_for,
)

DAY_MS = 86_400_000

# ---- on disk


def test_a_kept_press_is_on_the_disk_when_keep_returns(box, opened, tmp_path):
    """Seen by another connection, and in the files that a power cut leaves. Red if COMMIT moves behind the return."""
    keep(box, at(0), press(1))

    assert [(1,)] == look(box.path, "SELECT press FROM record")
    assert presses(box) == presses(opened(power_cut(box.path, tmp_path / "after")))


def test_the_file_survives_power_cuts_and_gives_space_back(box):
    """WAL with FULL (2), not NORMAL (1), and auto_vacuum FULL (1). Red with any other value."""
    assert [("wal",)] == look(box.path, "PRAGMA journal_mode")
    assert [(1,)] == look(box.path, "PRAGMA auto_vacuum")
    # How hard a connection syncs is its own affair: no other one can tell.
    assert 2 == box._db.execute("PRAGMA synchronous").fetchone()[0]


def test_the_file_shrinks_when_its_records_have_gone(box):
    """Red without auto_vacuum."""
    for first in range(0, 3000, 500):
        keep(box, at(0), *(press(each) for each in range(first, first + 500)))
    pages = look(box.path, "PRAGMA page_count")[0][0]
    drain(box)

    assert pages > 1.7 * look(box.path, "PRAGMA page_count")[0][0]


def test_listeners_hear_of_a_change_after_it_is_on_the_disk(box):
    """And not at all of one that did not happen."""
    heard = []
    box.listen(lambda window: heard.append((window, look(box.path, "SELECT count(*) FROM record")[0][0])))
    keep(box, at(0), press(1))
    keep(box, at(10), press(1))
    box.open_invitation(invitation(1, at(20)))
    box.close_invitation(an_id(1), "withdrawn", at(30))

    assert [(WINDOW, 1), (WINDOW, 1), (WINDOW, 2)] == heard


# ---- the chain


def test_the_records_hang_together_from_the_first(box):
    """From the genesis of this agent and epoch, without a hole, over several batches and restarts."""
    keep(box, at(0), press(1), press(2))
    box.open_invitation(invitation(1, at(10)))
    keep(box, at(20), press(3))
    bodies = [row["body"].encode() for row in box.records()]
    expected = chain.heads(chain.genesis(AGENT, box.epoch), bodies)

    assert [head.hex() for head in expected] == [row["hash"] for row in box.records()]
    assert [1, 2, 3, 4] == [row["seq"] for row in box.records()]
    assert (4, expected[-1].hex()) == box.tip()
    assert box.first_break() is None


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE record SET body = zeroblob(40) WHERE seq = 2",
        "UPDATE record SET body = x'' WHERE seq = 2",
        "UPDATE record SET body = substr(body, 1, length(body) - 1) WHERE seq = 2",
        "UPDATE record SET sum = zeroblob(8) WHERE seq = 2",
        "UPDATE record SET (body, sum) = (SELECT body, sum FROM record WHERE seq = 1) WHERE seq = 2",
        "DELETE FROM record WHERE seq = 2",
        "DELETE FROM record WHERE seq = 3",
        "DELETE FROM record WHERE seq = 1",
        "UPDATE tip SET head = zeroblob(32)",
        "UPDATE tip SET seq = 9",
        "UPDATE receipted SET head = zeroblob(32)",
    ],
)
def test_whoever_changes_a_record_breaks_the_chain(box, opened, tampering):
    """And the next start sets the file aside, whole. Red if the start does not look at the chain."""
    keep(box, at(0), press(1), press(2), press(3))
    epoch = box.epoch
    box.close()
    change(box.path, tampering)
    again = opened()

    assert epoch != again.epoch
    assert again.set_aside is not None
    assert [again.set_aside] == again.damaged_files()
    assert [epoch] == [row[0] for row in look(again.set_aside, "SELECT epoch FROM epoch")]
    assert 1 == keep(again, at(0), press(4))


def change(path: Path, sql: str) -> None:
    """Change one row behind its owner's back."""
    with closing(sqlite3.connect(path)) as db:
        assert 1 == db.execute(sql).rowcount
        db.commit()


def test_damage_met_on_the_way_is_not_sent(box):
    """A batch that does not add up would be refused by the ledger for ever. Red if due() does not check it."""
    keep(box, at(0), press(1), press(2))
    box._db.execute("UPDATE record SET body = x'7b7d' WHERE seq = 1")

    with pytest.raises(sqlite3.DatabaseError, match="record 1 is damaged"):
        box.due()


def test_two_processes_on_one_file_never_break_the_chain(box, tmp_path):
    """By mistake two agents may run: each press is kept once, in one chain. Red with BEGIN in place of IMMEDIATE."""
    code = """
import sys
from pathlib import Path
from tests.edge_agent.hall import AGENT, at, keep, press
from edge_agent.outbox import Outbox
box = Outbox(Path(sys.argv[1]), AGENT, 0)
for number in range(60):
    keep(box, at(number), press(number, device=sys.argv[2]))
"""
    command = [sys.executable, "-c", code, str(box.path)]
    both = [subprocess.Popen([*command, device]) for device in ("D1", "D2")]
    for number in range(60):
        keep(box, at(number), press(number, device="D3"))
        drain(box, 1)

    assert [0, 0] == [process.wait(30) for process in both]
    assert box.first_break() is None
    assert 180 == box.tip()[0]
    assert 180 == look(box.path, "SELECT seq FROM receipted")[0][0] + drain(box)


def test_the_last_head_of_a_day_is_kept_for_good(box):
    """Written with the first record of another day, and still there when all records have gone."""
    to_midnight_ms = DAY_MS - T0_MS % DAY_MS
    keep(box, at(0), press(1))
    keep(box, at(to_midnight_ms - 1), press(2))
    evening = box.tip()
    assert [] == look(box.path, "SELECT * FROM daily_head")
    keep(box, at(to_midnight_ms), press(3))
    drain(box)
    keep(box, at(to_midnight_ms + 3 * DAY_MS), press(4))

    assert [("2026-09-21", *evening), ("2026-09-22", 3, box_head(box, 3))] == look(
        box.path, "SELECT day, seq, head FROM daily_head"
    )
    assert ["2026-09-21", "2026-09-22"] == [head["day"] for head in box.heads()][:2]
    assert {box.epoch} == {head["epoch"] for head in box.heads()}


def box_head(box: Outbox, seq: int) -> str:
    return look(box.path, f"SELECT hex(head) FROM receipted WHERE seq = {seq}")[0][0].lower()


# ---- the same press, and another one


def test_the_same_press_again_is_not_kept_twice(box, opened):
    """At once, in one read, later, after its receipt and after a restart. Red if `seen` is emptied by settle()."""
    assert 1 == keep(box, at(0), press(1), press(1))
    assert 0 == keep(box, at(400), press(1, age_ms=400))
    drain(box)
    assert 0 == keep(box, at(800), press(1, age_ms=800))
    box.close()
    again = opened()

    assert 0 == keep(again, at(60_000), press(1, age_ms=60_100))
    assert 0 == keep(again, rebooted(90_000), press(1, age_ms=90_000))
    assert [] == held(again)
    assert 1 == again.tip()[0]


@pytest.mark.parametrize(
    "other",
    [press(1, button=2, age_ms=20_000), press(1), press(1, boot=2), press(2), press(1, device="D9")],
    ids=["another button", "another time", "another boot", "another count", "another device"],
)
def test_a_device_that_lost_its_counters_makes_another_press(box, other):
    """Same id, but not the same button at the same time: kept. Red if the id alone decides."""
    keep(box, at(0), press(1))

    assert 1 == keep(box, at(20_000), other)
    # And that one is known from now on, as the first one still is.
    again = press(other.id.count, other.button, other.age_ms + 400, other.id.boot, other.id.device)
    assert 0 == keep(box, at(20_400), again)
    assert 0 == keep(box, at(20_400), press(1, age_ms=20_400))
    assert 2 == len(held(box))


def test_a_set_wall_clock_does_not_make_one_press_two(box):
    """The clock that nobody can set decides. Red if the wall clock does."""
    keep(box, at(0), press(1))

    assert 0 == keep(box, at(2_000, wall_jump_ms=3_600_000), press(1, age_ms=2_000))
    assert 1 == keep(box, at(30_000, wall_jump_ms=-30_000), press(1))


def test_after_a_restart_of_the_pc_the_wall_clock_decides(box):
    """Only it is left. Minutes are forgiven, hours are another press."""
    keep(box, at(0), press(1))

    assert 0 == keep(box, rebooted(120_000), press(1, age_ms=100_000))
    assert 1 == keep(box, rebooted(3_600_000), press(1))


# ---- a press and its invitation


def test_a_press_inside_an_invitation_answers_it(box):
    """Press and closing are neighbours in the chain, of one transaction."""
    box.open_invitation(invitation(1, at(0)))
    keep(box, at(5_000), press(1, button=5))
    [first, second] = held(box)

    assert an_id(1) == first.invitation
    assert (an_id(1), "answered", "case-1", T0_MS, T0_MS + 30_000, T0_MS + 5_000) == (
        second.invitation,
        second.outcome,
        second.case_no,
        second.opened_ms,
        second.deadline_ms,
        second.closed_ms,
    )
    assert "answered" == box.invitation(an_id(1)).state


def test_a_second_press_refers_to_the_same_invitation(box):
    """A repeat: kept, and closes nothing a second time. Also when both come in one read."""
    box.open_invitation(invitation(1, at(0)))
    keep(box, at(5_000), press(1), press(2, button=5))
    keep(box, at(6_000), press(3))

    assert [an_id(1)] * 3 == answers(box)
    assert ["answered"] == [closing.outcome for closing in closings(box)]


@pytest.mark.parametrize(
    ("pressed_ms", "belongs"),
    [(-1, False), (0, True), (30_000, True), (30_000 + GRACE_MS, True), (30_000 + GRACE_MS + 1, False)],
)
def test_only_a_press_between_opening_and_deadline_belongs_to_an_invitation(box, pressed_ms, belongs):
    """To the millisecond; the grace is for the way that INVITE takes. Red if the age is not counted."""
    box.open_invitation(invitation(1, at(0)))
    read_ms = 60_000
    box.expire(WINDOW, "expired", at(40_000))
    keep(box, at(read_ms), press(1, age_ms=read_ms - pressed_ms))

    assert [an_id(1) if belongs else None] == answers(box)


def test_a_late_press_belongs_to_the_invitation_of_its_time(box):
    """Two citizens later, the first one's press arrives: it is the first one's. Red if the newest always wins."""
    for number in (1, 2, 3):
        opened_ms = number * 100_000
        box.open_invitation(invitation(number, at(opened_ms)))
        box.expire(WINDOW, "expired", at(opened_ms + 50_000))
    keep(box, at(320_000), press(1, age_ms=320_000 - 110_000))
    keep(box, at(320_000), press(2, age_ms=320_000 - 190_000))
    keep(box, at(320_000), press(3))

    assert [an_id(1), None, an_id(3)] == answers(box)
    assert ["expired", "expired", "expired"] == [closing.outcome for closing in closings(box)]


def test_a_late_press_finds_its_invitation_after_a_restart(box, opened):
    """Of the agent, on the same PC."""
    box.open_invitation(invitation(1, at(0)))
    box.close()
    again = opened()
    keep(again, at(50_000), press(1, age_ms=30_000))

    assert [an_id(1)] == answers(again)


def test_a_late_press_finds_its_invitation_after_the_pc_was_started_again(box, opened):
    """The wall clock decides: the monotonic one began anew. Red if the two boots' monotonic times are compared."""
    box.open_invitation(invitation(1, at(0)))
    box.close()
    again = opened()
    keep(again, rebooted(90_000), press(1, age_ms=70_000))
    keep(again, rebooted(91_000), press(2, age_ms=0))

    assert [an_id(1), None] == answers(again)


@pytest.mark.parametrize("jump_ms", [-3_600_000, 3_600_000])
def test_a_set_wall_clock_moves_no_press(box, jump_ms):
    """While the PC stays on, an hour more or less on the wall changes nothing. Red if the wall clock decides."""
    box.open_invitation(invitation(1, at(0)))
    keep(box, at(10_000, wall_jump_ms=jump_ms), press(1, age_ms=5_000))
    keep(box, at(45_000, wall_jump_ms=jump_ms), press(2))

    assert [an_id(1), None] == answers(box)


def test_a_pc_that_lost_the_date_does_not_invite_for_years(box):
    """Its clock says 1970 after the start: the invitation ends as long after the start as it was to last.

    Red if only the wall clock is asked.
    """
    box.open_invitation(invitation(1, at(0)))
    lost = -T0_MS
    waiting = box.open_at(WINDOW, rebooted(60_000, 10_000, lost))

    assert 20_000 == waiting[1]
    assert not box.expire(WINDOW, "expired", rebooted(60_000, 30_000, lost))
    assert box.expire(WINDOW, "expired", rebooted(60_000, 31_001, lost))


@pytest.mark.parametrize("outcome", ["withdrawn", "declined"])
def test_who_is_not_asked_any_more_does_not_answer(box, outcome):
    """Withdrawn and declined end at once; a press from before that moment still belongs."""
    box.open_invitation(invitation(1, at(0)))
    box.close_invitation(an_id(1), outcome, at(10_000))
    keep(box, at(12_000), press(1, age_ms=2_001), press(2, age_ms=1_999), press(3))

    assert [an_id(1), None, None] == answers(box)
    assert [outcome] == [closing.outcome for closing in closings(box)]


def test_a_screens_press_counts_for_half_a_second_after_its_invitation_was_taken_back(box):
    """It was on its way then; a second later it was not. Red with SHOWN_LATE_MS three seconds, or none."""
    for number, late_ms in ((1, 500), (2, 501)):
        box.open_invitation(invitation(number, at(number * 10_000)))
        box.close_invitation(an_id(number), "withdrawn", at(number * 10_000 + 5_000))
        keep(box, at(number * 10_000 + 5_000 + late_ms), replace(press(number), shown=an_id(number), age_ms=0))

    assert [an_id(1), None] == [each.invitation for each in presses(box)]


def test_an_invitation_that_was_withdrawn_before_the_pc_started_again_has_ended(box):
    """Also if the PC has lost the date."""
    box.open_invitation(invitation(1, at(0), seconds=600))
    box.close_invitation(an_id(1), "withdrawn", at(10_000))
    keep(box, rebooted(60_000), press(1, age_ms=100))
    keep(box, rebooted(60_000, wall_jump_ms=-T0_MS), press(2, age_ms=100))

    assert [None, None] == answers(box)


def test_a_device_that_failed_may_still_hand_its_press_over(box):
    """The cable was out; the citizen did press in time."""
    box.open_invitation(invitation(1, at(0)))
    box.expire(WINDOW, "device_failed", at(40_000))
    keep(box, at(90_000), press(1, age_ms=80_000))

    assert [an_id(1)] == answers(box)
    assert ["device_failed"] == [closing.outcome for closing in closings(box)]


def test_nothing_is_kept_while_it_is_unclear_which_invitation_was_open(box):
    """The caller believes that none was open; one was opened meanwhile. None, and the press is still unknown."""
    box.open_invitation(invitation(1, at(0)))

    assert box.keep(WINDOW, PROFILE, [press(1)], at(10), known=None) is None
    assert [] == held(box)
    assert 1 == box.keep(WINDOW, PROFILE, [press(1)], at(20), known=an_id(1))
    assert 1 == box.keep(WINDOW, PROFILE, [press(2)], at(30), known=ANY_INVITATION)


# ---- a device that says what it asked


def shown(count: int, number: int | None, age_ms: int = 0) -> Press:
    """A press on a page that showed this invitation, or none."""
    return replace(press(count, age_ms=age_ms), shown=an_id(number) if number is not None else "")


def test_a_page_that_says_what_it_asked_needs_no_clock(box):
    """Its clock was set, and says that it was pressed for the citizen before. Red if the age is believed first."""
    box.open_invitation(invitation(1, at(0)), replace=True)
    box.open_invitation(invitation(2, at(20_000)), replace=True)
    keep(box, at(25_000), shown(1, 2, age_ms=15_000))

    assert [an_id(2)] == answers(box)
    assert "answered" == box.invitation(an_id(2)).state


def test_our_page_says_a_press_again_though_its_clock_stood_still(box):
    """A tablet slept for an hour before it heard that its press was kept, and says that it is a minute old: the same
    press, for each start of the page has a number of its own. Red if the age decides."""
    before, after = (replace(press(1, age_ms=age_ms), shown="") for age_ms in (100, 60_000))

    assert 1 == box.keep(WINDOW, (OWN, 1), [before], at(0))
    assert 0 == box.keep(WINDOW, (OWN, 1), [after], at(3_600_000))


def test_a_late_press_answers_what_the_page_had_shown(box):
    """Kept by the page while nobody listened; the next citizen is already asked."""
    box.open_invitation(invitation(1, at(0)), replace=True)
    box.open_invitation(invitation(2, at(20_000)), replace=True)
    keep(box, at(25_000), shown(1, 1, age_ms=10_000))

    assert [an_id(1)] == answers(box)
    assert "open" == box.invitation(an_id(2)).state


def test_a_page_whose_clock_says_that_it_was_pressed_before_it_asked_is_doubted(box):
    """The invitation is over, and when the press was made nobody knows: kept, and rated for nobody."""
    box.open_invitation(invitation(1, at(10_000)))
    box.close_invitation(an_id(1), "withdrawn", at(11_000))
    keep(box, at(12_000), shown(1, 1, age_ms=600_000))
    [record] = presses(box)

    assert (None, an_id(1)) == (record.invitation, record.doubt)


@pytest.mark.parametrize("age_ms", [HELD_MAX_MS, HELD_MAX_MS + 1])
def test_what_a_page_has_held_for_an_hour_is_a_rating_and_then_a_doubt(box, age_ms):
    """It says that it was pressed while it was asked, and the tablet was away since. Longer than a PC takes to come
    back nobody can tell that from whoever has the link since yesterday: kept, and rated for nobody. Red without the
    bound."""
    box.open_invitation(invitation(1, at(0)))
    box.close_invitation(an_id(1), "expired", at(31_000))
    keep(box, at(5_000 + age_ms), shown(1, 1, age_ms=age_ms))
    [record] = presses(box)

    assert ((an_id(1), "") if age_ms == HELD_MAX_MS else (None, an_id(1))) == (record.invitation, record.doubt)


@pytest.mark.parametrize("number", [None, 9], ids=["asked nothing", "asked what nobody opened"])
def test_a_page_that_asked_nothing_rates_nothing(box, number):
    """A stray tap, also while an invitation has just been opened that the page does not show yet."""
    box.open_invitation(invitation(1, at(0)))
    keep(box, at(500), shown(1, number))

    assert [None] == answers(box)
    assert "open" == box.invitation(an_id(1)).state


def test_a_page_pressed_after_its_invitation_had_ended_rates_nothing(box):
    """Withdrawn a moment ago, and the page had not heard of it."""
    box.open_invitation(invitation(1, at(0)))
    box.close_invitation(an_id(1), "withdrawn", at(5_000))
    keep(box, at(6_000), shown(1, 1, age_ms=200))

    assert [None] == answers(box)


@pytest.mark.parametrize("outcome", ["expired", "answered", "device_failed"])
def test_what_a_tablet_says_that_slept_is_a_doubt(box, outcome):
    """Its clock stood still meanwhile, so its press seems younger than the end of what it shows. It is rated for
    nobody, and not passed off as that of a citizen whom nobody had asked. Red if its age alone decides."""
    box.open_invitation(invitation(1, at(0)))
    box.close_invitation(an_id(1), outcome, at(30_000))
    keep(box, at(2_400_000), shown(1, 1, age_ms=5_000))
    [record] = presses(box)

    assert (None, an_id(1)) == (record.invitation, record.doubt)


def test_what_another_window_was_asked_is_not_this_ones(box):
    """Red if the id alone decides."""
    box.open_invitation(invitation(1, at(0), window="other"))
    keep(box, at(500), shown(1, 1))

    assert [None] == answers(box)


# ---- invitations


def test_a_window_has_one_open_invitation(box):
    """A second is told which one is open; another window does not mind."""
    box.open_invitation(invitation(1, at(0)))

    with pytest.raises(WindowBusy) as busy:
        box.open_invitation(invitation(2, at(5)))
    assert an_id(1) == busy.value.invitation
    assert box.invitation(an_id(2)) is None
    box.open_invitation(invitation(3, at(5), window="4"))
    assert (an_id(1), an_id(3), None) == (box.open_id(WINDOW), box.open_id("4"), box.open_id("5"))


def test_replacing_withdraws_the_one_before(box):
    """One record, and the new one is open."""
    box.open_invitation(invitation(1, at(0)))
    box.open_invitation(invitation(2, at(5_000)), replace=True)

    assert [(an_id(1), "withdrawn")] == [(closing.invitation, closing.outcome) for closing in closings(box)]
    assert an_id(2) == box.open_id(WINDOW)


def test_an_invitation_whose_time_is_over_makes_room_for_the_next(box):
    """Even if nobody has looked at the clock yet: it has expired, was not withdrawn."""
    box.open_invitation(invitation(1, at(0)))
    box.open_invitation(invitation(2, at(30_000)))

    assert [(an_id(1), "expired")] == [(closing.invitation, closing.outcome) for closing in closings(box)]


def test_the_same_invitation_is_opened_once(box):
    """Asked again, it is answered as it is now: open, then answered. Red if only the caller looks before it asks."""
    first = box.open_invitation(invitation(1, at(0)))
    again = box.open_invitation(invitation(1, at(50)), replace=True)
    keep(box, at(100), press(1))

    assert first == again
    assert "answered" == box.open_invitation(invitation(1, at(200))).state
    assert 2 == len(held(box))


def test_an_invitation_that_is_being_answered_stays_open(box, opened):
    """Whoever writes about a bad service needs longer than a key does: as long as is said from now, and also after a
    restart. Red if `_change` leaves the seconds out."""
    box.open_invitation(invitation(1, at(0), seconds=30))
    box.stay(an_id(1), 60, at(25_000))
    box.close()
    again = opened(box.path)

    assert not again.expire(WINDOW, "expired", at(80_000))
    assert again.expire(WINDOW, "expired", at(86_001))
    assert T0_MS + 85_000 == closings(again)[0].deadline_ms


def test_how_long_somebody_writes_moves_no_deadline_that_is_told(box, opened):
    """Also after a restart: what was promised stays beside what was added. Red if `seconds` alone is kept."""
    box.open_invitation(invitation(1, at(0), seconds=30))
    box.stay(an_id(1), 60, at(25_000))
    box.stay(an_id(1), 60, at(40_000))
    box.close()
    again = opened(box.path).invitation(an_id(1))

    assert (30, 70) == (again.seconds, again.added_s)
    assert T0_MS + 30_000 == again.deadline_ms


@pytest.mark.parametrize("why", ["damaged", "forked"])
def test_what_was_promised_comes_along_when_a_file_is_set_aside(box, opened, why):
    """Of the one that is being answered and of one that has ended, also over a second such start: else their deadlines
    say how long somebody wrote, and where only bad ratings are asked for reasons that tells the level. Red if only the
    invitations come along."""
    for number in (1, 2):
        box.open_invitation(invitation(number, at(number * 100_000), seconds=30), replace=True)
        box.stay(an_id(number), 60, at(number * 100_000 + 25_000))
    box.open_invitation(invitation(3, at(210_000), window="4"))
    for stamp in (1, 2):
        box.condemn(stamp, why)
        box = opened(box.path)
    told = [box.invitation(an_id(number)) for number in (1, 2, 3)]

    assert [(30, 55), (30, 55), (30, 0)] == [(each.seconds, each.added_s) for each in told]
    assert ["expired", "open", "open"] == [each.state for each in told]
    assert 70_000 == box.open_at(WINDOW, at(215_000))[1]


def test_how_far_it_has_kept_is_known_before_another_window_may_go_on(box):
    """Else the number of another's press is taken back, and the setup page says that this one has arrived when only
    the one before it has. Red if each caller notes its own once the next may write."""
    seen: list[tuple[int, int]] = []
    box._writer.on_kept = lambda seq: seen.append((seq, box.kept_upto))  # while nobody else may write
    keep(box, at(0), press(1))
    box.open_invitation(invitation(1, at(2)))
    box.close_invitation(an_id(1), "declined", at(3))

    assert [(1, 1), (2, 2)] == seen


def test_an_older_program_of_this_form_reads_how_long_it_goes_on(box):
    """Its column says seconds and nothing more, and its sum holds: rolled back, the invitation is open for no longer
    than here. Red if what was promised is packed in with them."""
    box.open_invitation(invitation(1, at(0), seconds=30))
    box.stay(an_id(1), 60, at(25_000))
    box.close()
    with closing(sqlite3.connect(box.path)) as db:
        [row] = db.execute(rows.SELECT["invitation"]).fetchall()

    assert 85 == row[4]
    assert rows.holds("invitation", row)


def test_what_an_older_program_wrote_was_promised_for_all_of_its_time(box, opened):
    """It knows no other; and what it goes on with, and then ends, is told by this one as it was promised. Red if a file
    without the table is not read."""
    box.open_invitation(invitation(1, at(0), seconds=30))
    box.stay(an_id(1), 60, at(25_000))
    box.close()
    with closing(sqlite3.connect(box.path)) as db:
        db.execute("DROP TABLE promised")
        db.commit()
    again = opened(box.path)
    older = again.invitation(an_id(1))
    again.stay(an_id(1), 60, at(40_000))

    assert again.set_aside is None
    assert (85, 0) == (older.seconds, older.added_s)
    assert (85, 15) == (again.invitation(an_id(1)).seconds, again.invitation(an_id(1)).added_s)


def test_an_invitation_stays_open_no_longer_than_it_may(box):
    """Ten minutes in all, however often somebody touches the page; never shorter than it was opened for; and one that
    has ended, or is nobody's, is left alone."""
    box.open_invitation(invitation(1, at(0), seconds=300))
    shorter = box.stay(an_id(1), 60, at(0))
    for at_ms in range(290_000, 599_000, 50_000):
        longest = box.stay(an_id(1), 60, at(at_ms))
    box.open_invitation(invitation(2, at(600_000), seconds=30), replace=True)
    box.close_invitation(an_id(2), "declined", at(610_000))
    ended = box.stay(an_id(2), 60, at(611_000))

    assert [300, 600, 30] == [each.seconds + each.added_s for each in (shorter, longest, ended)]
    assert "declined" == ended.state
    assert box.stay(an_id(9), 60, at(0)) is None


def test_an_invitation_whose_time_is_over_is_not_taken_up_again(box):
    """A page that comes back after an outage must not hold a window that others wait for."""
    box.open_invitation(invitation(1, at(0), seconds=30))

    assert 0 == box.stay(an_id(1), 60, at(30_000 + GRACE_MS)).added_s
    assert box.expire(WINDOW, "expired", at(30_000 + GRACE_MS))


def test_a_pages_press_has_time_to_cross_the_hall(box):
    """Touched before the invitation was taken back, heard after it: its age does not know how long it was on its way.
    Red without the allowance."""
    box.open_invitation(invitation(1, at(0)))
    box.close_invitation(an_id(1), "withdrawn", at(5_000))
    keep(box, at(5_300), shown(1, 1, age_ms=50))

    assert [an_id(1)] == answers(box)


def test_a_press_says_why_in_its_record(box):
    """The citizen's reasons travel in the chain, as they were said."""
    why = Reasons(("115",), 2, "等了两个小时")
    keep(box, at(0), replace(press(1), reasons=why), press(2))
    first, second = presses(box)

    assert (["115"], 2, "等了两个小时") == (first.tags, first.tags_version, first.text)
    assert ([], 0, "") == (second.tags, second.tags_version, second.text)


def test_an_invitation_expires_once_and_after_the_grace(box):
    """Not a millisecond before, and only an open one."""
    box.open_invitation(invitation(1, at(0)))

    assert not box.expire(WINDOW, "expired", at(30_000 + GRACE_MS - 1))
    assert box.expire(WINDOW, "expired", at(30_000 + GRACE_MS))
    assert not box.expire(WINDOW, "expired", at(90_000))
    assert ["expired"] == [closing.outcome for closing in closings(box)]


def test_what_has_ended_does_not_end_again(box):
    """Answered stays answered, whoever withdraws it; unknown is unknown."""
    box.open_invitation(invitation(1, at(0)))
    keep(box, at(1_000), press(1))

    assert "answered" == box.close_invitation(an_id(1), "withdrawn", at(2_000)).state
    assert box.close_invitation(an_id(9), "withdrawn", at(2_000)) is None
    assert 1 == len(closings(box))


def test_invitations_survive_a_restart(box, opened):
    """Open, with all that was said of them, and the time that is left."""
    asked = box.open_invitation(invitation(1, at(0)))
    box.close()
    again = opened()

    assert (asked, 20_000) == again.open_at(WINDOW, at(10_000))
    assert asked == again.invitation(an_id(1))


def test_a_clock_that_was_put_right_does_not_make_the_last_invitation_forgotten(box):
    """It was a year behind when the citizen was asked; the press comes late. Red if only the wall clock says what is
    old."""
    box.open_invitation(invitation(1, at(0, wall_jump_ms=-365 * DAY_MS)))
    box.open_invitation(invitation(2, at(4_000)), replace=True)
    keep(box, at(4_200), press(1, age_ms=3_200))

    assert [an_id(1)] == answers(box)


def test_how_an_invitation_ended_can_be_asked_for_a_month(box, monkeypatch):
    """Longer it is not kept: the file would grow for ever. Its closing is a record, which is another matter."""
    monkeypatch.setattr(invitations, "_STAY", 2)
    for number, days in enumerate((0, 0, 1, 30), 1):
        box.open_invitation(invitation(number, at(days * DAY_MS)), replace=True)
    box.open_invitation(invitation(5, at(31 * DAY_MS - 1)), replace=True)

    assert [None, None] == [box.invitation(an_id(number)) for number in (1, 2)]
    assert ["expired", "expired", "open"] == [box.invitation(an_id(number)).state for number in (3, 4, 5)]
    assert 4 == len(closings(box))


# ---- due and settled


def test_a_batch_continues_where_the_last_receipt_stopped(box):
    """First, prev and head follow from the chain; what was receipted does not come again."""
    keep(box, at(0), press(1), press(2), press(3))
    whole = box.due()
    bodies = [bytes(body) for body in whole.records]
    heads = chain.heads(chain.genesis(AGENT, box.epoch), bodies)

    assert (box.epoch, 1, 1, chain.genesis(AGENT, box.epoch).hex(), heads[-1].hex()) == (
        whole.epoch,
        whole.first,
        whole.oldest,
        whole.prev,
        whole.head,
    )
    box.settle(receipt_for(whole, records=2))
    rest = box.due()

    assert (3, 3, heads[1].hex(), heads[2].hex()) == (rest.first, rest.oldest, rest.prev, rest.head)
    assert bodies[2:] == [bytes(body) for body in rest.records]


def test_nothing_is_due_when_all_is_receipted(box):
    """At the beginning and at the end, also when `upto` is the very last record."""
    assert box.due() is None
    keep(box, at(0), press(1))
    assert box.due() is not None
    drain(box)

    assert box.due() is None
    assert 0 == box.backlog().records
    assert box.backlog().oldest_ms is None


def test_a_batch_is_never_longer_than_agreed(box):
    """A thousand records, and what the collector will look at."""
    keep(box, at(0), *(press(number) for number in range(RECORDS_MAX + 1)))
    batch = box.due()

    assert RECORDS_MAX == len(batch.records)
    assert len(encode(batch)) < BATCH_BYTES_MAX
    box.settle(receipt_for(batch))
    assert 1 == len(box.due().records)


def test_a_batch_of_long_records_stays_within_its_bytes(box):
    """Raw bytes can be long; fewer records then. Red without the room for them."""
    long = [press(number) for number in range(300)]
    keep(box, at(0), *(type(each)(each.id, 1, 0, bytes(4_000)) for each in long))
    batch = box.due()

    assert 100 < len(batch.records) < 300
    assert sum(len(bytes(body)) + 1 for body in batch.records) < BATCH_BYTES_MAX
    assert 300 == drain(box)


def test_what_follows_the_batch_on_its_way_is_known_before_its_receipt(box):
    """It continues the chain, and says that the records before it still are here. Red if oldest is its own first."""
    keep(box, at(0), *(press(number) for number in range(2 * RECORDS_MAX)))
    first = box.due()
    behind = box.due_behind(first)

    assert (RECORDS_MAX + 1, RECORDS_MAX, first.head, 1) == (
        behind.first,
        len(behind.records),
        behind.prev,
        behind.oldest,
    )
    assert Settled.DELETED == box.settle(receipt_for(first))
    assert (behind.first, behind.head, behind.records) == (box.due().first, box.due().head, box.due().records)
    assert Settled.DELETED == box.settle(receipt_for(behind))
    assert box.due() is None


def test_less_than_a_whole_batch_waits_for_what_may_come(box):
    """A press of the meantime goes with it, and not in a round of its own."""
    keep(box, at(0), *(press(number) for number in range(2 * RECORDS_MAX - 1)))

    assert box.due_behind(box.due()) is None


def test_only_what_the_ledger_really_holds_is_let_go(box):
    """A head that is not ours, a number that we never wrote: nothing is deleted. Red if the head is not compared."""
    keep(box, at(0), press(1), press(2))
    batch = box.due()

    assert Settled.MISMATCH == box.settle(Receipt(box.epoch, 2, "0" * 64))
    assert Settled.MISMATCH == box.settle(Receipt(box.epoch, 1, batch.head))
    assert Settled.MISMATCH == box.settle(Receipt(box.epoch, 3, batch.head))
    assert 2 == len(held(box))
    assert Settled.DELETED == box.settle(receipt_for(batch))


@pytest.mark.parametrize(("records", "commits"), [(1, 1), (1000, 4)])
def test_a_receipt_holds_up_the_next_press_for_one_short_commit_at_a_time(box, records, commits):
    """Noted with the first deletions; many records go in several. Red if noting and deleting are a commit each."""
    keep(box, at(0), *(press(number) for number in range(records)))
    said: list[str] = []
    receipt = receipt_for(box.due())
    box._db.set_trace_callback(said.append)
    box.settle(receipt)

    assert commits == said.count("COMMIT")
    assert [] == held(box)


def test_an_old_receipt_and_one_of_another_epoch_change_nothing(box):
    """Messages are lost, doubled and late; epochs of a wiped agent go on being receipted."""
    keep(box, at(0), press(1), press(2))
    first, both = receipt_for(box.due(), 1), receipt_for(box.due())

    assert Settled.STALE == box.settle(Receipt(an_id(7), 2, both.head))
    assert Settled.STALE == box.settle(Receipt(box.epoch, 0, chain.genesis(AGENT, box.epoch).hex()))
    assert Settled.DELETED == box.settle(both)
    assert Settled.STALE == box.settle(both)
    assert Settled.STALE == box.settle(first)
    assert [(2,)] == look(box.path, "SELECT seq FROM receipted")


def test_the_backlog_says_how_much_and_since_when(box, opened):
    """Per window it counts presses, and is right after a restart and after receipts."""
    keep(box, at(0), press(1))
    keep(box, at(10), press(2), press(3), window="4")
    keep(box, at(20), press(3), window="4")

    assert (3, T0_MS) == (box.backlog().records, box.backlog().oldest_ms)
    box.settle(receipt_for(box.due(), 2))
    assert (0, 1, T0_MS + 10) == (box.waiting(WINDOW), box.waiting("4"), box.backlog().oldest_ms)
    box.close()
    assert (0, 1, 0) == tuple(opened().waiting(window) for window in (WINDOW, "4", "5"))


# ---- full


@pytest.fixture
def full(opened) -> Outbox:
    """The smallest outbox there can be, without room for another press."""
    box = opened(max_megabytes=1)
    box.open_invitation(invitation(1, at(0), window="4"))
    for size in (50, 1):
        fill(box, size)
    return box


def fill(box: Outbox, size: int) -> None:
    """Keep so many at a time until it is full."""
    for number in range(200):
        try:
            keep(box, at(0), *(press(number * 50 + each, boot=size) for each in range(size)))
        except OutboxFull:
            return
    raise AssertionError("a megabyte takes more than it holds")


@pytest.fixture
def crowded(opened, monkeypatch) -> tuple[Outbox, Callable[[bool], None]]:
    """An outbox with an open invitation, and whether there is room in it."""
    box = opened()
    box.open_invitation(invitation(1, at(0), seconds=30))
    append = box._writer.append

    def room(there: bool) -> None:
        def no_room(*_: object) -> None:
            raise OutboxFull("outbox.db")

        monkeypatch.setattr(box._writer, "append", append if there else no_room)

    return box, room


@pytest.mark.parametrize("how", ["the next one", "its case", "withdrawn"])
def test_who_could_not_be_asked_does_not_answer_for_the_one_before(crowded, how):
    """There was no room to open the next invitation, or to end this one, so this one is open still; and the next
    citizen presses. Red if that press becomes the rating of the one before."""
    box, room = crowded
    room(False)
    with pytest.raises(OutboxFull):
        if how == "withdrawn":
            box.close_invitation(an_id(1), "withdrawn", at(5_000))
        elif how == "its case":
            box.not_asked(WINDOW, at(5_000))
            raise OutboxFull("details")
        else:
            box.open_invitation(invitation(2, at(5_000)), replace=True)
    with pytest.raises(OutboxFull):
        keep(box, at(6_000), press(1))
    room(True)
    keep(box, at(7_000), press(1, age_ms=1_000), press(2), press(3, age_ms=3_000))
    box.open_invitation(invitation(2, at(8_000)), replace=True)
    keep(box, at(9_000), press(4, age_ms=2_500), press(5))

    assert [None, None, an_id(1), None, an_id(2)] == answers(box)
    assert [an_id(1), an_id(1)] == [record.doubt for record in presses(box)[:2]]


def test_an_end_that_could_not_be_written_is_written_as_of_then(crowded):
    """Also if its time is over meanwhile. Red if presses between the wish and the end answered it."""
    box, room = crowded
    room(False)
    with pytest.raises(OutboxFull):
        box.close_invitation(an_id(1), "declined", at(5_000))
    room(True)
    assert box.expire(WINDOW, "expired", at(40_000))

    assert [("declined", at(5_000).wall_ms)] == [(each.outcome, each.closed_ms) for each in closings(box)]
    keep(box, at(41_000), press(1, age_ms=35_000))
    assert [None] == answers(box)


@pytest.mark.parametrize("expired", [False, True])
def test_presses_while_the_next_was_waited_for_are_nobodys(box, expired):
    """The agent was away, or full, and the caller says for how long it has tried. Red if the press of the next citizen,
    who could not be asked, answers for the one before; whether that one's time was over meanwhile or not."""
    box.open_invitation(invitation(1, at(0), seconds=30))
    if expired:
        assert box.expire(WINDOW, "expired", at(40_000))
    box.open_invitation(invitation(2, at(41_000)), replace=True, waited_ms=31_000)
    keep(box, at(42_000), press(1, age_ms=33_000), press(2, age_ms=20_000), press(3, age_ms=1_500), press(4))

    assert [an_id(1), None, None, an_id(2)] == answers(box)


def test_who_was_asked_meanwhile_keeps_his_rating(box):
    """Another was opened while this one was waited for, and pressed. Red if the wait swallows that press."""
    box.open_invitation(invitation(1, at(5_000), seconds=10))
    assert box.expire(WINDOW, "expired", at(16_500))
    box.open_invitation(invitation(2, at(30_000)), waited_ms=30_000)
    keep(box, at(30_500), press(1, age_ms=22_500), press(2))

    assert [an_id(1), an_id(2)] == answers(box)


def test_who_is_being_asked_meanwhile_is_until_the_next_begins(box):
    """The same where that one is open still: it is replaced now, and not before it began."""
    box.open_invitation(invitation(1, at(5_000)))
    box.open_invitation(invitation(2, at(20_000)), replace=True, waited_ms=20_000)
    keep(box, at(20_500), press(1, age_ms=12_500), press(2))

    first = closings(box)[0]
    assert ("withdrawn", at(20_000).wall_ms) == (first.outcome, first.closed_ms)
    assert [an_id(1), an_id(2)] == answers(box)


def test_a_wait_reaches_behind_a_restart_of_the_pc(box):
    """The next was tried at 20 s, its citizen pressed at 25 s, the PC was started again. Red if the wait is cut off at
    the start: the press would answer for the one before."""
    box.open_invitation(invitation(1, at(0), seconds=60))
    later = rebooted(50_000, up_ms=5_000)
    box.open_invitation(replace(invitation(2, at(0)), opened=later), replace=True, waited_ms=30_000)
    keep(box, rebooted(51_000, up_ms=6_000), press(1, age_ms=26_000), press(2, age_ms=36_000))

    assert [None, an_id(1)] == answers(box)


def test_an_end_of_yesterday_leaves_yesterdays_head_alone(box):
    """It is written today, whenever it is said to have been. Red if the day's head, kept for good, is replaced."""
    midnight = 86_400_000 - T0_MS % 86_400_000
    box.open_invitation(invitation(1, at(midnight - 300_000)))
    keep(box, at(midnight - 290_000), press(1))
    box.open_invitation(invitation(2, at(midnight - 100_000), seconds=600))
    keep(box, at(midnight + 100_000), press(2, age_ms=400_000))
    yesterday = box.heads()[0]
    box.open_invitation(invitation(3, at(midnight + 110_000)), replace=True, waited_ms=200_000)
    keep(box, at(midnight + 120_000), press(3))

    assert "withdrawn" == closings(box)[1].outcome and closings(box)[1].closed_ms < at(midnight).wall_ms
    assert yesterday == box.heads()[0]


def test_a_press_in_the_very_moment_of_the_first_try_answers_nothing(box):
    box.open_invitation(invitation(1, at(0)))
    box.open_invitation(invitation(2, at(20_000)), replace=True, waited_ms=10_000)
    keep(box, at(20_000), press(1, age_ms=10_000))

    assert [None] == answers(box)
    assert [""] == [record.doubt for record in presses(box)]


def test_a_wait_is_not_taken_for_a_question(box):
    """Red if a device that is only heard when it was asked is believed to have been asked by nobody's invitation."""
    box.open_invitation(invitation(1, at(0)))
    keep(box, at(1_000), press(1))
    box.open_invitation(invitation(2, at(20_000)), waited_ms=5_000)
    unsure = replace(press(2, age_ms=100), unsure_ms=10_000, solicited=True)
    keep(box, at(20_200), unsure)

    assert [an_id(1), an_id(2)] == answers(box)


def test_a_page_that_shows_it_still_is_not_believed(crowded):
    """The next citizen stands before it, and nobody could tell the page."""
    box, room = crowded
    room(False)
    with pytest.raises(OutboxFull):
        box.open_invitation(invitation(2, at(5_000)), replace=True)
    room(True)
    keep(box, at(6_000), replace(press(1), shown=an_id(1)))

    assert [None] == answers(box)


def test_a_busy_window_is_no_wish(crowded):
    """Nobody has asked for the open one to end."""
    box, room = crowded
    with pytest.raises(WindowBusy):
        box.open_invitation(invitation(2, at(5_000)))
    room(False)
    with pytest.raises(WindowBusy):
        box.open_invitation(invitation(2, at(5_000)))
    room(True)
    keep(box, at(6_000), press(1))

    assert [an_id(1)] == answers(box)


def test_a_full_outbox_keeps_nothing_and_forgets_nothing(full):
    """The press is refused, what was acknowledged stays, and the chain holds. Red without max_page_count."""
    records = len(held(full))

    with pytest.raises(OutboxFull):
        keep(full, at(10), press(5_000_000))
    assert full.full
    assert records == len(held(full)) == full.backlog().records == full.waiting(WINDOW)
    assert full.first_break() is None
    with pytest.raises(OutboxFull):
        keep(full, at(10), *(press(6_000_000 + number) for number in range(50)))
    assert records == full.tip()[0]


def test_a_full_outbox_can_be_drained_and_keeps_again(full):
    """Deleting needs no room; the refused press is not taken for one that was kept. Red if `seen` is written apart."""
    with pytest.raises(OutboxFull):
        keep(full, at(10), press(5_000_000))
    drain(full, 1)

    assert not full.full
    assert 1 == keep(full, at(410), press(5_000_000, age_ms=400))
    drain(full)
    assert full.first_break() is None


def test_a_full_outbox_opens_and_ends_no_invitation(full):
    """Both are records, or become one; and afterwards the window is as it was."""
    with pytest.raises(OutboxFull):
        for number in range(2, 200):
            full.open_invitation(invitation(number, at(10)), replace=True)
    open_id = full.open_id(WINDOW)
    state = full.invitation(an_id(1)).state
    drain(full)

    assert "open" == state
    assert open_id == full.open_id(WINDOW)
    assert "withdrawn" == full.close_invitation(an_id(1), "withdrawn", at(20)).state


# ---- a process that dies at any call


class Dead(BaseException):
    """The process is gone: nothing it would have done afterwards happens."""


def open_it(box: Outbox) -> None:
    box.open_invitation(invitation(2, at(20_000)), replace=True)


def answer_it(box: Outbox) -> None:
    keep(box, at(20_000), press(11), press(12), press(1, age_ms=20_000))


def settle_it(box: Outbox) -> None:
    box.settle(receipt_for(box.due(), 2))


def expire_it(box: Outbox) -> None:
    box.expire(WINDOW, "expired", at(40_000))


def midnight(box: Outbox) -> None:
    keep(box, at(DAY_MS), press(13))


@pytest.mark.parametrize("act", [open_it, answer_it, settle_it, expire_it, midnight])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_whatever_call_is_the_last_nothing_is_half_done(tmp_path, opened, act, after):
    """At each SQL call in turn the process dies; the files as they are then hold all of it or nothing.

    Red if press and closing, or seen and record, are written in two transactions.
    """
    template = opened()
    keep(template, at(0), press(1), press(2))
    template.open_invitation(invitation(1, at(5_000)))
    before = everything(template.path)
    template.close()
    outcomes = []
    for number in count(1):
        path = power_cut(template.path, tmp_path / str(number))
        box = opened(path)
        died = dies_at(box, number, after, act)
        survivor = opened(power_cut(path, tmp_path / f"{number}-after"))

        assert survivor.first_break() is None
        outcomes.append(everything(survivor.path))
        if not died:
            break

    assert number > 4
    assert before != outcomes[-1]
    assert {before, outcomes[-1]} == set(outcomes)


def dies_at(box: Outbox, number: int, after: bool, act: Callable[[Outbox], None]) -> bool:
    """Have the process die at its call of this number; whether it came to that."""
    dying = Dying(box._db, number, after)
    for part in (box, box._invitations, box._seen):
        part._db = dying  # type: ignore[assignment]
    box._writer.db = dying  # type: ignore[assignment]
    try:
        act(box)
    except Dead:
        return True
    return False


class Dying:
    """A connection whose process dies at one call. What a dead process has not committed is not on the disk."""

    def __init__(self, db, calls: int, after: bool):
        self._db, self._calls, self._after = db, calls, after

    def __getattr__(self, name: str):
        return getattr(self._db, name)

    def execute(self, *call):
        return self._called(self._db.execute, call)

    def executemany(self, *call):
        return self._called(self._db.executemany, call)

    def _called(self, method, call):
        self._calls -= 1
        if self._calls < 0 or (self._calls == 0 and not self._after):
            raise Dead
        result = method(*call)
        if self._calls == 0:
            raise Dead
        return result


def everything(path: Path) -> str:
    # A record that was receipted is nobody's, whether it is still there or not.
    waiting = look(path, "SELECT * FROM record WHERE seq > (SELECT seq FROM receipted)")
    tables = ("tip", "receipted", "seen", "invitation", "daily_head")
    return repr([waiting, *(look(path, f"SELECT * FROM {table}") for table in tables)])


def test_a_new_file_is_begun_whole_or_not_at_all(tmp_path, opened):
    """Two agents that begin it at the same time share one epoch."""
    code = "import sys; from pathlib import Path; from edge_agent.outbox import Outbox\n"
    code += f"print(Outbox(Path(sys.argv[1]), {AGENT!r}, 0).epoch)"
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "new.db")], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    epochs = {process.communicate(timeout=30)[0].decode().strip() for process in both}

    assert {opened(tmp_path / "new.db").epoch} == epochs


def test_records_of_one_press_keep_its_facts(box):
    """What the device said, when by which clock, and how the profile reads it."""
    moment = Moment(T0_MS, 7_000, "pc-1", synced=True)
    keep(box, moment, press(9, button=4, age_ms=250, boot=3))
    [record] = presses(box)

    assert (WINDOW, DEVICE, 3, 9, 4) == (record.window, record.device, record.boot, record.count, record.button)
    assert (T0_MS - 250, T0_MS, 7_000, "pc-1", True) == (
        record.pressed_ms,
        record.kept_ms,
        record.mono_ms,
        record.host_boot,
        record.synced,
    )
    assert ("house", 1, b"$PRESS".hex()) == (record.profile, record.profile_version, record.raw)


@pytest.mark.parametrize("ending", ["closed", "condemned"])
def test_whoever_still_asks_at_the_end_is_told(box, ending):
    """What was begun is finished on the disk, and all others hear OutboxClosed. Red where they meet a closed
    database."""
    told: list[Exception] = []

    def ask() -> None:
        try:
            while True:
                box.open_invitation(invitation(1, at(0)))
                box.open_at(WINDOW, at(0))
        except (OutboxClosed, sqlite3.Error) as error:
            told.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    box.close() if ending == "closed" else box.condemn(T0_MS)
    for thread in threads:
        thread.join(10)

    assert [OutboxClosed] * 4 == [type(each) for each in told]


def test_the_end_does_not_wait_for_what_follows_a_start(box, monkeypatch):
    """A busy machine ends before the last piece of a salvage is written: no error of the agent's. Red if it is one."""

    def finish(*_: object) -> None:
        box.close()
        keep(box, at(0), press(1))

    monkeypatch.setattr(box._rescue, "finish", finish)
    box.after_start(threading.Event())
