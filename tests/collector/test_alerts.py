"""Alerts from a real ledger to a real receiver, over restarts, full disks and receivers that are not there."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing as closing_of
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from collector.alerts.alerts import Alerts, NotSent, Receiver
from collector.alerts.book import Book, book_of, open_book
from collector.alerts.core import Found, Reach, Rule, Silence, decide
from collector.alerts.facts import Seen, Unrated
from collector.alerts.file import BookDamaged, NotABook, NotKept
from collector.alerts.hours import ALWAYS, hours_of
from collector.alerts.reading import Reader
from collector.alerts.settings import AlertsSettings, ReceiverSettings
from collector.alerts.unrated import Watch
from collector.alerts.wiring import alerts_of
from collector.ledger.file import FULL
from collector.ledger.since import Since
from collector.ledger.tally import day_of
from collector.mending.mendings import Mendings
from protocols.messages import Health, WindowHealth
from tests.collector.agents import NOW_MS, Agent, closing, press
from tests.collector.ledgers import VAULT, Ledger
from tests.collector.provinces import eventually
from tests.collector.receivers import robot
from tests.collector.test_mending import WAY
from tests.disks import Disk

MIN = 60_000
CABLE = Found("window_bad", "window/a/w1", NOW_MS, "市民中心 1号 线缆断开 / cable out", "市民中心", "1号")


class Ears:
    """A receiver in memory: `deaf` as long as it takes nothing."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.deaf = ""

    def send(self, title: str, body: str) -> str:
        if not self.deaf:
            self.heard.append(f"{title}\n{body}")
        return self.deaf


class Desk:
    """One collector's alerts over a ledger, one step at a time."""

    def __init__(self, ledger: Ledger, ears: Ears, now_ms: int = NOW_MS, rules=None, per_minute: int = 10):
        self.ledger, self.ears, self.now_ms = ledger, ears, now_ms
        self.alerts = Alerts(
            open_book(book_of(ledger.path), now_ms),
            [Receiver("desk", "zh", "test://…", ears)],
            rules or [Rule(("desk",))],
            ALWAYS,
            per_minute,
            "http://centre:8620",
            lambda: self.now_ms,
        )
        self.alerts.begin(Reader(ledger.store, ledger.directory, now_ms))

    def step(self, pass_ms: int = 0) -> None:
        """Look, and send what may be sent."""
        self.now_ms += pass_ms
        self.alerts.look()
        try:
            while self.alerts._send_one(self.alerts.receivers[0]):
                pass
        except NotSent:
            pass

    def cable(self, state: str) -> None:
        said = Health(self.now_ms, Agent().epoch, [WindowHealth("w1", state, self.now_ms)])
        self.ledger.intake.note_health("hall-a", said, self.now_ms)


@pytest.fixture
def ears() -> Ears:
    return Ears()


# ---- told


def test_a_bad_rating_that_was_mended_is_over(ledger, ears):
    """By the approval, and not by the steps before it. Red if the page goes on asking for what is done."""
    desk = Desk(ledger, ears)
    ledger.rate(1, 2, button=2)
    desk.step()
    mendings = Mendings(ledger.store, VAULT)
    for what, outcome, words, who in WAY:
        assert 2 == len(open_of(desk, "bad_rating"))
        mendings.take(1, what, outcome, words, who, mendings.found(1).last, desk.now_ms)
        desk.step(MIN)

    assert ["bad_rating/D1-1-2"] == [each.cause for each in open_of(desk, "bad_rating")]
    assert 2 == len(ears.heard)  # that it is over was nobody's question


def test_a_device_that_lost_its_counters_gives_bad_ratings_that_are_told_too(ledger, ears):
    """It begins again with numbers that it had, a week later and for another citizen. Red if the number alone says
    which rating was told, or is mended."""
    desk = Desk(ledger, ears)
    agent = Agent()
    for week in range(2):
        at_ms, of = NOW_MS + week * 7 * 86_400_000, f"i{week}"
        bad = press(7, of, button=3, pressed_ms=at_ms, kept_ms=at_ms + 3, mono_ms=week * 7 * 86_400_000 + 7)
        ledger.take(agent, agent.write(bad, closing(of, f"C{week}", closed_ms=at_ms + 9)), at_ms)
        desk.now_ms = at_ms
        desk.step(MIN)
    assert ["rated", "rated"] == ledger.fates()
    assert 2 == len(ears.heard)

    mendings = Mendings(ledger.store, VAULT)
    (before,) = open_of(desk, "bad_rating")
    for what, outcome, words, who in WAY:
        mendings.take(1, what, outcome, words, who, mendings.found(1).last, desk.now_ms)
    desk.step(MIN)
    assert [before.cause] == [each.cause for each in open_of(desk, "bad_rating")]
    for what, outcome, words, who in WAY:
        mendings.take(2, what, outcome, words, who, mendings.found(2).last, desk.now_ms)
    desk.step(MIN)
    assert [] == open_of(desk, "bad_rating")


def open_of(desk: Desk, kind: str):
    standing, _ = desk.alerts.book.standing(desk.now_ms)
    return [each for each in standing if each.closed_ms is None and each.found.kind == kind]


def test_cases_that_nobody_rates_are_told_until_somebody_does(ledger, ears):
    """So many within so many office hours; a night in between does not count, and one rating ends it."""
    friday_ms = NOW_MS  # 16:00 of a Friday in Beijing
    office = hours_of("Mon-Fri 08:30-17:30")
    desk = Desk(ledger, ears)
    watch = Watch(ledger.overview.since, ledger.directory, office, 5, 4)
    desk.alerts.begin(Reader(ledger.store, ledger.directory, NOW_MS, unrated=watch.look))
    agent = Agent()
    ends = ("expired", "declined", "device_failed", "withdrawn", "expired", "expired")
    for n, outcome in enumerate(ends):
        assert [] == open_of(desk, "no_rating")
        ledger.take(agent, agent.write(closing(f"i{n}", f"C{n}", outcome=outcome, closed_ms=friday_ms + n)))
        count(desk)
    (found,) = open_of(desk, "no_rating")
    assert "市民中心 1号 近 4 小时上班时间内 5 个办件结束, 无一评价" in found.found.words
    assert "http://centre:8620/windows/hall-a/w1" == ears.heard[-1].splitlines()[-1]

    monday_ms = 64 * 60 * MIN  # 8:00 of Monday: since Friday's last case an hour and a half of opening
    count(desk, monday_ms)
    assert 1 == len(open_of(desk, "no_rating"))
    ledger.take(agent, agent.write(press(1, "j", pressed_ms=desk.now_ms), closing("j", "D1", closed_ms=desk.now_ms)))
    count(desk, MIN)
    count(desk, 2 * MIN)
    assert [] == open_of(desk, "no_rating")


def test_a_first_count_that_takes_long_is_not_begun_by_another_thread_too(ledger):
    """The look at a start counts by itself, and a minute later the thread for that does. Red without the lock: each
    closing between the two is counted twice."""
    meeting, met = threading.Barrier(2), []

    def unrated(_now_ms: int) -> tuple[Unrated, ...]:
        with suppress(threading.BrokenBarrierError):
            meeting.wait(0.5)
            met.append("two at once")
        return ()

    reader = Reader(ledger.store, ledger.directory, NOW_MS, unrated=unrated)
    threads = [threading.Thread(target=reader.count, args=(NOW_MS,)) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert [] == met


def test_what_nobody_rated_long_ago_is_nobodys_trouble(ledger, ears):
    """Cases of before the hours that are looked at, read at a start, are not told."""
    agent = Agent()
    for n in range(8):
        ledger.take(agent, agent.write(closing(f"i{n}", f"C{n}", outcome="expired", closed_ms=NOW_MS - n * 60 * MIN)))
    office = hours_of("Mon-Fri 08:30-17:30")
    looks = {hours: Watch(ledger.overview.since, ledger.directory, office, 5, hours).look(NOW_MS) for hours in (3, 5)}

    assert (0, 6) == (len(looks[3]), looks[5][0].cases)
    assert () == Watch(ledger.overview.since, ledger.directory, office, 0, 5).look(NOW_MS)


def test_a_rating_that_comes_while_the_days_before_are_read_is_not_missed(ledger):
    """It is of a day that has been read, and the next day's ratings are numbered behind it. Red if the last day read
    says from which number the new ones are."""
    agent, thursday_ms = Agent(), NOW_MS - 24 * 60 * MIN
    for n in range(5):
        ledger.take(agent, agent.write(closing(f"i{n}", f"C{n}", outcome="expired", closed_ms=thursday_ms - MIN)))

    class Meanwhile(Since):
        """Thursday's rating comes in when Thursday has just been read."""

        def day(self, day):
            found = super().day(day)
            if day == day_of(thursday_ms):
                late = press(1, "j", pressed_ms=thursday_ms), closing("j", "D1", closed_ms=thursday_ms)
                ledger.take(agent, agent.write(*late))
            return found

    office = hours_of("Mon-Fri 08:30-17:30")
    assert 1 == len(Watch(ledger.overview.since, ledger.directory, office, 5, 10).look(NOW_MS))

    assert () == Watch(Meanwhile(ledger.store), ledger.directory, office, 5, 10).look(NOW_MS)


def count(desk: Desk, pass_ms: int = 0) -> None:
    """What is counted now and then, and a step."""
    desk.now_ms += pass_ms
    desk.alerts._reader.count(desk.now_ms)
    desk.step()


def test_a_book_of_an_older_program_goes_on(tmp_path):
    """What stood in it stands there, and what is new leads to its page. Red if it is set aside as damaged."""
    path = tmp_path / "alerts.db"
    Book(path).close()
    with closing_of(sqlite3.connect(path)) as db:
        for table in ("alert", "note"):
            db.execute(f"ALTER TABLE {table} DROP COLUMN page")
        db.execute("PRAGMA user_version = 1")
        db.execute("INSERT INTO mark VALUES ('bad_rating', '7')")
        db.commit()
    book = open_book(path, NOW_MS)
    book.keep(decide([replace(CABLE, page="/windows/a/w1")], [], [Rule(("desk",), after_minutes=0)], [], NOW_MS))

    assert "7" == book.mark("bad_rating")
    assert ["/windows/a/w1"] == [each.page for each in book.standing(NOW_MS)[0]]
    assert ["/windows/a/w1"] == [each.page for each in book.dues("desk")]
    book.close()


def test_a_bad_rating_is_told_at_once_with_hall_window_level_time_and_link(ledger, ears):
    desk = Desk(ledger, ears)
    ledger.rate(1)
    ledger.rate(2, button=3)
    desk.step()

    (told,) = ears.heard
    assert told.startswith("【紧急】差评\n市民中心 1号 非常不满意, 2027-01-15 16:00")
    assert told.endswith("http://centre:8620/mending/2")
    assert [] == [each for each in ("C2", "139", "欧阳") if each in told]


def test_what_came_before_alerts_were_there_is_not_told(ledger, ears):
    """A ledger of years is opened by this program for the first time."""
    ledger.rate(1, 2, 3, button=2)
    Desk(ledger, ears).step()

    assert [] == ears.heard


def test_a_restart_neither_repeats_nor_forgets(ledger, ears):
    """Told before it, not again; came while nobody looked, told then."""
    desk = Desk(ledger, ears)
    ledger.rate(1, button=2)
    desk.step()
    ledger.rate(*range(1, 3), button=2)
    again = Desk(ledger, ears, NOW_MS + MIN)
    again.step()
    again.step(MIN)
    once_more = Desk(ledger, ears, NOW_MS + 5 * MIN)
    once_more.step()

    assert 2 == len(ears.heard)


def test_a_ledger_that_is_restored_from_a_backup_tells_nothing_twice(opened, ears, tmp_path):
    """The same presses come again from their agent, into a ledger that lacks them, when the first are long over."""
    ledger = opened()
    Desk(ledger, ears).step()
    ledger.rate(1, button=2)
    desk = Desk(ledger, ears)
    desk.step()
    desk.alerts.book.acknowledge(1, "李敏", NOW_MS)
    desk.step(MIN)
    folder = tmp_path / "restored"
    folder.mkdir()
    for file in tmp_path.glob("alerts.db*"):
        (folder / file.name).write_bytes(file.read_bytes())
    restored = Ledger(folder / "ledger.db", ledger.directory)
    desk = Desk(restored, ears, NOW_MS + 120 * MIN)
    restored.rate(1, 2, button=2)
    desk.step()
    restored.store.close()

    assert 2 == len(ears.heard)


def test_a_window_is_told_once_and_its_end_too_over_restarts(ledger, ears):
    desk = Desk(ledger, ears)
    desk.cable("cable_out")
    for _ in range(12):
        desk.cable_kept = desk.step(MIN)
        desk = Desk(ledger, ears, desk.now_ms)
        ledger.intake.note_health(
            "hall-a",
            Health(desk.now_ms, Agent().epoch, [WindowHealth("w1", "cable_out", NOW_MS)]),
            desk.now_ms,
        )
    desk.cable("ready")
    for _ in range(3):
        desk.step(MIN)
        desk = Desk(ledger, ears, desk.now_ms)
        desk.cable("ready")

    first, last = ears.heard
    assert first.startswith("【要处理】窗口不能评价\n市民中心 1号 线缆断开")
    assert last.startswith("【已恢复】窗口不能评价\n")
    assert "13 分钟" in last


def test_a_storm_is_ten_messages_and_the_tenth_counts_the_rest(ledger, ears):
    """A hall's backlog of a day comes at once."""
    desk = Desk(ledger, ears)
    ledger.rate(*range(1, 61), button=2, with_case=False)
    for _ in range(5):
        desk.step(5000)

    assert 10 == len(ears.heard)
    assert ears.heard[-1].startswith("【汇总】51 条通知\n报警 · 差评 · 市民中心: 51\n")
    assert max(len(each.encode()) for each in ears.heard) < 2048
    desk.step(2 * MIN)
    assert 10 == len(ears.heard)


# ---- receivers that are not there


def test_what_could_not_be_sent_is_sent_later_marked_late_and_seen_meanwhile(ledger, ears):
    desk = Desk(ledger, ears)
    ears.deaf = "联系不上 / not reached"
    ledger.rate(1, button=2)
    desk.step()
    how = desk.alerts.book.how_told("desk")

    assert ("联系不上 / not reached", NOW_MS, 1, 1) == (how["words"], how["failed_ms"], how["tries"], how["waiting"])
    ears.deaf = ""
    desk.step(10 * MIN)
    assert ears.heard[0].startswith("(迟到, 01-15 16:00 的) 【紧急】差评")
    how = desk.alerts.book.how_told("desk")
    assert ("", None, 0, NOW_MS + 10 * MIN) == (how["words"], how["failed_ms"], how["waiting"], how["sent_ms"])


def test_hours_without_a_receiver_end_in_a_digest_and_not_in_a_flood(ledger, ears):
    desk = Desk(ledger, ears)
    ears.deaf = "no"
    for number in range(1, 31):
        ledger.rate(*range(1, number + 1), button=2, with_case=False)
        desk.step(MIN)
    ears.deaf = ""
    desk.step(5 * MIN)

    assert 2 == len(ears.heard)
    assert "【汇总】29 条通知" in ears.heard[1]


# ---- the book


def opened_alert(book: Book, now_ms: int = NOW_MS, found: Found = CABLE) -> None:
    standing, silences = book.standing(now_ms)
    book.keep(decide([found], standing, [Rule(("desk",), after_minutes=0)], silences, now_ms))


def test_acknowledging_holds_against_a_look_that_had_begun_before(tmp_path):
    """The look read the alert as nobody's, and writes it back."""
    book = Book(tmp_path / "alerts.db")
    opened_alert(book)
    standing, silences = book.standing(NOW_MS)
    assert book.acknowledge(1, "李敏", NOW_MS + 1)
    book.keep(decide([replace(CABLE, words="别的 / else")], standing, [], silences, NOW_MS + 2))

    assert [("李敏", "别的 / else")] == [(each.acked_by, each.found.words) for each in book.standing(NOW_MS)[0]]
    assert not book.acknowledge(1, "王芳", NOW_MS + 3)
    book.close()


def test_the_file_itself_refuses_two_of_one_cause(tmp_path):
    book = Book(tmp_path / "alerts.db")
    opened_alert(book)
    with pytest.raises(sqlite3.IntegrityError):
        book.keep(decide([CABLE], [], [], [], NOW_MS))
    book.close()


def test_silences_are_kept_end_early_and_are_gone_when_they_are_over(tmp_path):
    book = Book(tmp_path / "alerts.db")
    wanted = Silence(Reach(("window_*",), ("市民*",), ()), NOW_MS, NOW_MS + MIN, "换线", "李敏", made_ms=NOW_MS)
    number = book.silence(wanted)
    other = book.silence(replace(wanted, weekly_text="Sat 08:00-12:00", until_ms=NOW_MS + 9 * MIN))

    assert replace(wanted, id=number) == book.standing(NOW_MS)[1][0]
    assert book.end_silence(other, "王芳", NOW_MS)
    assert not book.end_silence(other, "王芳", NOW_MS)
    assert [number] == [each.id for each in book.standing(NOW_MS)[1]]
    assert [] == book.standing(NOW_MS + MIN)[1]
    book.close()


def test_half_a_year_later_it_is_forgotten(tmp_path):
    book = Book(tmp_path / "alerts.db")
    opened_alert(book)
    book.keep(decide([], book.standing(NOW_MS)[0], [], [], NOW_MS))
    book.keep(decide([], book.standing(NOW_MS)[0], [], [], NOW_MS + 2 * MIN))
    assert 1 == len(book.history(9))
    book.forget(NOW_MS + 200 * 86_400_000)

    assert [] == book.history(9)
    book.close()


def test_a_file_that_is_damaged_or_something_else_is_set_aside_and_holds_up_nothing(tmp_path):
    """Of the ledger it says nothing. Red if the collector does not start."""
    file = tmp_path / "alerts.db"
    for raw in (b"no database at all" * 100, _other_database(tmp_path)):
        file.write_bytes(raw)
        with pytest.raises((BookDamaged, NotABook)):
            Book(file)
        open_book(file, NOW_MS).close()
        assert raw == (tmp_path / f"alerts.db.damaged-{NOW_MS}").read_bytes()
        for each in tmp_path.glob("alerts.db*"):
            each.unlink()


def _other_database(folder: Path) -> bytes:
    db = sqlite3.connect(folder / "other.db")
    db.execute("CREATE TABLE t(x)")
    db.close()
    return (folder / "other.db").read_bytes()


def test_a_disk_that_is_full_costs_no_message_and_the_file_catches_up(tmp_path):
    """A real one. Meanwhile all goes on in memory, and a person may acknowledge there, too."""
    disk = Disk(tmp_path / "disk")
    try:
        book = Book(disk.path / "alerts.db")
        opened_alert(book)
        disk.fill()
        many = [replace(CABLE, cause=f"c{n}", words="很长 / long" * 200) for n in range(60)]
        decision = decide([CABLE, *many], book.standing(NOW_MS)[0], [], [], NOW_MS)
        with pytest.raises(NotKept):
            book.keep(decision)
        book.keep(decision)
        book.acknowledge(1, "李敏", NOW_MS)
        assert book.in_memory
        assert 61 == len(book.standing(NOW_MS)[0])
        disk.free()
        book.acknowledge(2, "李敏", NOW_MS)
        assert not book.in_memory
        book.close()
        again = Book(disk.path / "alerts.db")
        assert [1, 2] == [each.id for each in again.standing(NOW_MS)[0] if each.acked_by]
        again.close()
        disk.fill()
        other = Book(disk.path / "other.db")
        assert other.in_memory
        other.close()
    finally:
        disk.unmount()


@pytest.mark.parametrize("ended", ["closed", "killed", "by the program before"])
def test_a_start_on_a_full_disk_remembers_what_was_open_and_who_was_told(tmp_path, ended):
    """A collector that ended for want of room starts again without any: what it knew is not written over when there is
    room again, also where its last words stand in the log alone. Red if it begins with an empty memory."""
    before = Book(tmp_path / "alerts.db")
    opened_alert(before)
    before.keep(decide([CABLE], before.standing(NOW_MS)[0], [], [], NOW_MS), {"bad_rating": "7"})
    disk = Disk(tmp_path / "disk")
    try:
        file = disk.path / "alerts.db"
        if ended != "killed":
            before.close()
        for suffix in ("", "-wal"):
            if (part := tmp_path / f"alerts.db{suffix}").exists():
                shutil.copy(part, file.with_name(part.name))
        if ended == "by the program before":
            _as_version_1(file)
        disk.fill()
        book = open_book(file, NOW_MS)
        seen = [(each.id, each.cause) for each in book.standing(NOW_MS)[0]], book.mark("bad_rating"), book.in_memory
        disk.free()
        book.acknowledge(1, "李敏", NOW_MS)
        book.close()
        again = Book(file)
        there = [(each.id, each.acked_by) for each in again.standing(NOW_MS)[0]], again.mark("bad_rating")
        again.close()
    finally:
        disk.unmount()
        before.close()

    assert ([(1, CABLE.cause)], "7", True) == seen
    assert ([(1, "李敏")], "7") == there


def test_somebody_who_holds_the_file_when_there_is_room_again_holds_up_nobody(tmp_path, monkeypatch):
    """A copy of SQLite's waits for as long as they have it, and with it everybody who reads an alert. Red if it is
    begun all the same: then this never ends."""
    disk = Disk(tmp_path / "disk")
    try:
        before = Book(disk.path / "alerts.db")
        opened_alert(before)
        before.close()
        disk.fill()
        book = Book(disk.path / "alerts.db")
        disk.free()
        with closing_of(sqlite3.connect(disk.path / "alerts.db", isolation_level=None)) as person:
            person.execute("BEGIN IMMEDIATE")
            monkeypatch.setattr("collector.alerts.file._PATIENCE_S", 0.01)
            asking = threading.Thread(target=book.acknowledge, args=(1, "李敏", NOW_MS), daemon=True)
            asking.start()
            asking.join(10)
            waits, in_memory = asking.is_alive(), book.in_memory
            person.execute("ROLLBACK")
        asking.join()
        book.acknowledge(1, "王芳", NOW_MS)
        there = book.in_memory, [each.acked_by for each in book.standing(NOW_MS)[0]]
        book.close()
    finally:
        disk.unmount()

    assert (False, True) == (waits, in_memory)
    assert (False, ["李敏"]) == there


def _as_version_1(file: Path) -> None:
    with closing_of(sqlite3.connect(file)) as db:
        for table in ("alert", "note"):
            db.execute(f"ALTER TABLE {table} DROP COLUMN page")
        db.execute("PRAGMA user_version = 1")
        db.commit()


def test_somebody_who_holds_the_file_costs_a_look_and_nothing_else(tmp_path, ledger, ears):
    """A person with sqlite3 open. What was sent and could not be noted is not sent again."""
    desk = Desk(ledger, ears)
    ledger.rate(1, button=2)
    desk.alerts.look()
    desk.alerts._send_one(desk.alerts.receivers[0])
    desk.alerts.book._file._db.execute("PRAGMA busy_timeout = 0")
    person = sqlite3.connect(book_of(ledger.path), isolation_level=None)
    person.execute("BEGIN IMMEDIATE")
    with pytest.raises(NotKept):
        desk.alerts._send_one(desk.alerts.receivers[0])
    person.execute("ROLLBACK")
    person.close()
    desk.step()

    assert 1 == len(ears.heard)
    assert 0 == desk.alerts.book.how_told("desk")["waiting"]


def test_a_start_that_has_no_room_tells_it_and_only_that(ledger, ears):
    desk = Desk(ledger, ears)
    desk.cable("cable_out")
    desk.step(11 * MIN)
    told = len(ears.heard)
    desk.alerts.look_shut(Seen(desk.now_ms + MIN, disk=FULL))
    desk.alerts.look_shut(Seen(desk.now_ms + MIN + 1000, disk=FULL))

    assert ["【紧急】中心存储已满"] == [each.split("\n")[0] for each in ears.heard[told:]]
    desk.step(3 * MIN)
    desk.step(3 * MIN)
    assert any("【已恢复】中心存储已满" in each for each in ears.heard)


# ---- threads


@contextmanager
def running(alerts: Alerts) -> Iterator[None]:
    threads = [threading.Thread(target=work, name=name) for name, work in alerts.loops()]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        alerts.stop()
        for each in threads:
            each.join(10)
        assert not any(each.is_alive() for each in threads)


def test_a_bad_rating_wakes_the_loop_and_a_dead_receiver_holds_up_nobody(ledger, tmp_path, monkeypatch):
    """Looks are a minute apart here, so what is told at once is told by the wake. One of two receivers never answers:
    the other hears all the same, and so does the ledger, whose write returns before anything is sent."""
    monkeypatch.setattr("collector.alerts.alerts.LOOK_S", 60.0)
    with robot() as hall, robot() as dead:
        dead.status = 500
        (tmp_path / "hall.url").write_text(f"json://127.0.0.1:{hall.port}/x\n")
        monkeypatch.setenv("DEAD_URL", f"json://127.0.0.1:{dead.port}/x")
        settings = AlertsSettings(
            receivers=[
                ReceiverSettings("dead", url_env="DEAD_URL"),
                ReceiverSettings("hall", "hall.url", language="en"),
            ]
        )
        alerts = alerts_of(settings, tmp_path, ledger.path, os.environ, lambda: time.time_ns() // 1_000_000)
        alerts.begin(Reader(ledger.store, ledger.directory, 0))
        ledger.store.listen(alerts.wake)
        with running(alerts):
            while alerts.looked_ms is None:
                time.sleep(0.01)
            ledger.rate(1, button=2)
            (told,) = hall.heard(1)
            dead.heard(1)

    assert told.startswith("[urgent] bad rating\n市民中心 1号 dissatisfied")
    assert 1 == alerts.book.how_told("dead")["waiting"]
    assert "error=500" in alerts.book.how_told("dead")["words"]


def test_what_has_to_be_counted_is_counted_again_beside_the_looks(ledger, tmp_path, monkeypatch):
    """A rating that is parked after the start is told without another start."""
    monkeypatch.setattr("collector.alerts.alerts.LOOK_S", 0.1)
    monkeypatch.setattr("collector.alerts.alerts._COUNT_S", 0.1)
    ears = Ears()
    alerts = Alerts(
        Book(book_of(ledger.path)),
        [Receiver("desk", "zh", "", ears)],
        [Rule(("desk",), after_minutes=0)],
        ALWAYS,
        10,
        "",
        lambda: time.time_ns() // 1_000_000,
    )
    alerts.begin(Reader(ledger.store, ledger.directory, 0))
    with running(alerts):
        while alerts.looked_ms is None:
            time.sleep(0.01)
        ledger.rate(1)
        ledger.delivery.park(ledger.delivery.next(NOW_MS, ()), "lacking", "mobile", NOW_MS)
        eventually(lambda: ears.heard)

    assert "1 条评价待处理" in ears.heard[0]


def test_only_one_of_several_collectors_of_a_ledger_tells(ledger, tmp_path, monkeypatch):
    monkeypatch.setattr("collector.alerts.alerts.LOOK_S", 0.1)
    with robot() as hall:
        (tmp_path / "hall.url").write_text(f"json://127.0.0.1:{hall.port}/x")
        settings = AlertsSettings(receivers=[ReceiverSettings("hall", "hall.url")])
        both = [alerts_of(settings, tmp_path, ledger.path, {}, lambda: time.time_ns() // 1_000_000) for _ in range(2)]
        for each in both:
            each.begin(Reader(ledger.store, ledger.directory, 0))
        with running(both[0]):
            while both[0].looked_ms is None:
                time.sleep(0.01)
            with running(both[1]):
                ledger.rate(1, button=2)
                hall.heard(1)
                time.sleep(0.5)
                assert both[1].looked_ms is None

    assert 1 == len(hall.came)
