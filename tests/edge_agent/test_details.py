"""Details of cases on a window PC: sealed at once, kept until the collector has them, and never readable there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from edge_agent.details import CaseDetails
from edge_agent.outbox import OutboxClosed, OutboxFull
from protocols.bodies import BadBody
from protocols.cases import about_case, decode_case
from protocols.messages import Details, SealedCase, Taken
from protocols.ratings import Case
from protocols.seal import CannotOpen, PrivateKey
from protocols.seal_sm import SmPrivateKey

from .hall import T0_MS, at

KEY = PrivateKey(bytes(range(32)))
OTHER = PrivateKey(bytes(range(1, 33)))
PERSON = {"applicant_name": "欧阳测试", "certificate_no": "370102199001011234", "mobile": "13912345678"}
WAIT_MS = 5_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db.details"


@pytest.fixture
def opened(file: Path) -> Iterator[Callable[..., CaseDetails]]:
    """Opens the file as one process has it."""
    open_ones: list[CaseDetails] = []

    def open_(sealer: object = KEY.public, **more: int) -> CaseDetails:
        open_ones.append(CaseDetails(file, sealer, T0_MS, **more))
        return open_ones[-1]

    yield open_
    for each in open_ones:
        each.close()


def a_case(number: int = 1, **other: object) -> Case:
    return Case(f"C{number}", **(PERSON | other))


def read(details: Details | None, key: PrivateKey | SmPrivateKey = KEY) -> list[Case]:
    """What the collector makes of it."""
    assert details is not None
    return [decode_case(key.open(each.sealed, about_case(each.case_no, each.service_number))) for each in details.cases]


def opened_by(sealed: SealedCase, key: PrivateKey = KEY) -> Case | None:
    try:
        return decode_case(key.open(sealed.sealed, about_case(sealed.case_no, sealed.service_number)))
    except CannotOpen:
        return None


def all_of(details: Details | None) -> Taken:
    """The answer that all of these have been taken."""
    assert details is not None
    return Taken([each.digest for each in details.cases])


def everything(folder: Path) -> bytes:
    return b"".join(each.read_bytes() for each in folder.iterdir())


@pytest.mark.parametrize("key", [KEY, SmPrivateKey.new()], ids=["x25519", "sm2"])
def test_nobody_on_this_pc_can_read_what_was_handed_in(opened, file, key):
    """Only the collector's key can. Red if a byte of it is written before it is sealed."""
    details = opened(key.public)
    details.keep(a_case(), T0_MS)

    assert [a_case()] == read(details.due(at(), WAIT_MS), key)
    for value in PERSON.values():
        assert value.encode() not in everything(file.parent)


def test_they_are_kept_until_the_collector_has_them(opened, file):
    """Also over a kill: what was sent and not answered for is sent again. Red if sending lets go of it."""
    first = opened()
    for number in (1, 2):
        first.keep(a_case(number), T0_MS)
    sent = first.due(at(), WAIT_MS)

    assert first.due(at(WAIT_MS - 1), WAIT_MS) is None
    assert [a_case(1), a_case(2)] == read(first.due(at(WAIT_MS), WAIT_MS))
    again = opened()
    again.answered(all_of(sent), at())
    due = again.due(at(), WAIT_MS)
    assert [a_case(1), a_case(2)] == read(due)
    again.answered(all_of(due), at(1))
    assert again.due(at(2), WAIT_MS) is None
    with closing(sqlite3.connect(file)) as db:
        assert (0,) == db.execute("SELECT count(*) FROM details").fetchone()


def test_what_was_put_right_meanwhile_is_not_taken_for_delivered(opened):
    """The answer is about the older one, and names it by what it was. Red if it is let go of by its case number."""
    details = opened()
    details.keep(a_case(mobile="1"), T0_MS)
    sent = details.due(at(), WAIT_MS)
    details.keep(a_case(mobile="2"), T0_MS + 1)
    details.answered(all_of(sent), at(2))

    assert [a_case(mobile="2")] == read(details.due(at(3), WAIT_MS))


def test_a_key_that_the_collector_lacks_is_waited_for_and_told(opened):
    """Nothing is let go of, others go past, and it is asked again once in a while; with the key all is well."""
    before = opened(OTHER.public)
    before.keep(a_case(1), T0_MS)
    before.close()
    details = opened()
    details.keep(a_case(2), T0_MS)
    due = details.due(at(), WAIT_MS)
    details.answered(Taken([due.cases[1].digest], locked=[OTHER.key_id]), at(1))

    assert OTHER.key_id in details.alarm
    assert details.due(at(2), WAIT_MS) is None
    again = details.due(at(60_001), WAIT_MS)
    assert [a_case(1)] == read(again, OTHER)
    details.answered(all_of(again), at(60_002))
    assert ("", None) == (details.alarm, details.due(at(200_000), WAIT_MS))


def test_what_cannot_be_opened_is_let_go_of_and_told(opened):
    details = opened()
    details.keep(a_case(), T0_MS)
    due = details.due(at(), WAIT_MS)
    details.answered(Taken([], spoilt=[due.cases[0].digest]), at(1))

    assert details.due(at(2), WAIT_MS) is None
    assert "重新提交" in details.alarm


@pytest.mark.parametrize("column", ["case_no = x'07'", "at_ms = 9e18", "sealed = 'text'", "service_number = -4"])
def test_a_row_that_cannot_be_what_was_written_stops_nobody_else(opened, file, column):
    """Red if one damaged row makes a message that nobody can take, again and again."""
    details = opened()
    for number in (1, 2):
        details.keep(a_case(number), T0_MS)
    with closing(sqlite3.connect(file)) as db, db:
        db.execute(f"UPDATE details SET {column} WHERE n = 1")

    assert [a_case(2)] == read(details.due(at(), WAIT_MS))
    assert "重新提交" in details.alarm


@pytest.mark.parametrize("when", ["start", "work"])
def test_a_damaged_file_is_set_aside_and_what_can_be_read_goes_on(opened, file, when):
    """Red if the agent ends for it, or if what waits in it is forgotten."""
    details = opened()
    for number in range(40):
        details.keep(a_case(number), T0_MS)
    if when == "start":
        details.close()
    else:
        details._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        details._db.execute("PRAGMA shrink_memory")
    raw = bytearray(file.read_bytes())
    raw[4096 * 2 : 4096 * 3] = b"\xff" * 4096 if when == "work" else b"\0" * 4096
    file.write_bytes(raw)
    details = opened() if when == "start" else details
    details.keep(a_case(77), T0_MS)
    found: list[Case] = []
    for turn in range(3):
        due = details.due(at(turn), WAIT_MS)
        if due is None:
            break
        found += read(due)
        details.answered(all_of(due), at(turn))

    assert a_case(77) in found
    assert ("曾损坏" in details.alarm) == bool(list(file.parent.glob("*.damaged-*")))


def test_a_file_of_rubbish_is_set_aside(opened, file):
    file.write_bytes(b"\x93" * 20_000)
    details = opened()
    details.keep(a_case(), T0_MS)

    assert [a_case()] == read(details.due(at(), WAIT_MS))
    assert "曾损坏" in details.alarm
    assert b"\x93" * 20_000 == next(file.parent.glob("*.damaged-*")).read_bytes()


def test_without_room_it_says_so_and_keeps_what_it_has(opened):
    details = opened(max_megabytes=1)
    kept = 0
    with pytest.raises(OutboxFull):
        for number in range(3_000):
            details.keep(a_case(number, case_name="x" * 1_000), T0_MS)
            kept += 1
    due = details.due(at(), WAIT_MS)

    assert 200 < kept < 1_000
    assert a_case(0, case_name="x" * 1_000) == read(due)[0]


def test_more_than_any_province_takes_is_not_taken(opened):
    with pytest.raises(BadBody, match="过长"):
        opened().keep(a_case(case_name="长" * 4_000), T0_MS)


@pytest.mark.parametrize("pragma", ["user_version = 9", "application_id = 7"])
def test_a_file_that_is_none_of_ours_stops_nobody(opened, file, pragma):
    """Of a newer program, or with a wrong bit in what says so: presses must go on. Red if the agent does not start."""
    opened().close()
    with closing(sqlite3.connect(file)) as db, db:
        db.execute(f"PRAGMA {pragma}")
    details = opened()
    details.keep(a_case(), T0_MS)

    assert [a_case()] == read(details.due(at(), WAIT_MS))
    assert "曾损坏" in details.alarm


def test_no_single_bit_keeps_an_agent_from_starting(tmp_path):
    """Whichever it is, of the header and of every page. Red if anything but a value comes of it."""
    whole = tmp_path / "whole"
    details = CaseDetails(whole, KEY.public, T0_MS)
    for number in range(12):
        details.keep(a_case(number), T0_MS)
    details.close()
    data, rng = whole.read_bytes(), Random(3)
    places = [*range(100 * 8), *rng.sample(range(len(data) * 8), 400)]
    for number, place in enumerate(places):
        turned = bytearray(data)
        turned[place // 8] ^= 1 << place % 8
        folder = tmp_path / f"{number}"
        folder.mkdir()
        (folder / "f").write_bytes(turned)
        again = CaseDetails(folder / "f", KEY.public, T0_MS)
        again.keep(a_case(99), T0_MS)
        for turn in range(4):
            due = again.due(at(turn), WAIT_MS)
            if due is not None:
                again.answered(all_of(due), at(turn))
        again.close()


def test_damage_that_shows_when_they_are_let_go_of_costs_none_that_was_not_sent(opened, file, monkeypatch):
    """The file begins anew, with other numbers. Red if the old ones are deleted in it."""
    details = opened()
    for number in range(110):
        details.keep(a_case(number), T0_MS)
    first = details.due(at(), WAIT_MS)
    details.answered(all_of(first), at(1))
    second = details.due(at(2), WAIT_MS)
    tried, failed = details._tried, []

    def spoilt(work):
        if not failed:
            failed.append(work)
            raise sqlite3.DatabaseError("database disk image is malformed")
        return tried(work)

    monkeypatch.setattr(details, "_tried", spoilt)
    details.answered(all_of(second), at(3))
    left: set[str] = set()
    while (due := details.due(at(10_000_000), 0)) is not None:
        left |= {each.case_no for each in due.cases}
        details.answered(all_of(due), at(10_000_000))

    assert {f"C{number}" for number in range(100, 110)} <= left


def test_an_answer_to_something_else_says_nothing_and_silence_is_waited_for_longer_and_longer(opened):
    """A centre that cannot keep up is not asked more and more. Red if each stale answer has all of it sent again."""
    details = opened()
    details.keep(a_case(), T0_MS)
    sent = []
    for second in range(200):
        if details.due(at(second * 1000), WAIT_MS) is not None:
            sent.append(second)
        details.answered(Taken(["0" * 64], locked=["ffffffff"]), at(second * 1000))

    assert [0, 5, 15, 35, 75, 155] == sent


def test_a_key_that_is_not_the_one_of_its_seal_is_spoilt_and_no_loop(opened, file):
    """A wrong bit where it says for which key: the collector knows no such key, and nobody waits for it."""
    details = opened()
    for number in (1, 2):
        details.keep(a_case(number), T0_MS)
    with closing(sqlite3.connect(file)) as db, db:
        [sealed] = db.execute("SELECT sealed FROM details WHERE n = 1").fetchone()
        turned = sealed[:2] + bytes([sealed[2] ^ 1]) + sealed[3:]
        db.execute("UPDATE details SET sealed = ? WHERE n = 1", (turned,))

    assert [a_case(2)] == read(details.due(at(), WAIT_MS))
    assert "重新提交" in details.alarm


@pytest.mark.parametrize("sealed", ["x''", "zeroblob(9000)"])
def test_what_no_message_may_carry_holds_up_nothing(opened, file, sealed):
    details = opened()
    for number in (1, 2):
        details.keep(a_case(number), T0_MS)
    with closing(sqlite3.connect(file)) as db, db:
        db.execute(f"UPDATE details SET sealed = {sealed} WHERE n = 1")

    assert [a_case(2)] == read(details.due(at(), WAIT_MS))


def test_one_row_that_is_no_text_costs_itself_only(opened, file):
    """Red if what stands behind it is not carried over."""
    details = opened()
    for number in range(99):
        details.keep(a_case(number), T0_MS)
    details.close()
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE details SET case_no = CAST(x'c337' AS TEXT) WHERE n = 8")
    details, found = opened(), []
    while (due := details.due(at(), 0)) is not None:
        found += [case for each in due.cases if (case := opened_by(each)) is not None]
        details.answered(all_of(due), at())

    assert 98 == len(found)


def test_nothing_is_taken_once_it_is_closed(opened):
    details = opened()
    details.close()

    with pytest.raises(OutboxClosed):
        details.keep(a_case(), T0_MS)


def test_a_collector_that_never_answers_is_told_of(opened):
    """An older one, or a broker whose rules do not know the topic: a person has to hear of it."""
    details = opened()
    details.keep(a_case(), T0_MS)
    for seconds in range(0, 70, 5):
        details.due(at(seconds * 1000), WAIT_MS)

    assert "没有收下" in details.alarm
    details.answered(all_of(details.due(at(80_000), WAIT_MS)), at(80_001))
    assert "" == details.alarm


def test_details_wait_no_longer_after_a_new_connection(opened):
    details = opened()
    details.keep(a_case(), T0_MS)
    details.due(at(), WAIT_MS)
    details.send_again()

    assert [a_case()] == read(details.due(at(1), WAIT_MS))
