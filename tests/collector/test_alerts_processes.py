"""A real collector that is killed between a message and its note of it, and one whose disk is full."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from collector.alerts.book import Book
from tests.collector.ledgers import window
from tests.collector.provinces import eventually
from tests.collector.receivers import Robot, robot
from tests.collector.test_cli import BROKER, WEB, running, said
from tests.disks import Disk

CLIENT = '[[web.clients]]\nname = "portal"\nsecret = "s3cret"\nchannels = ["web"]\n'
ALERTS = '[[alerts.receivers]]\nname = "hall"\nurl_file = "hall.url"\n'
HEADERS = {"Authorization": "Basic " + base64.b64encode(b"portal:s3cret").decode(), "Content-Type": "application/json"}


@pytest.fixture
def hall() -> Iterator[Robot]:
    with robot() as listening:
        yield listening


@pytest.fixture
def folder(tmp_path: Path, hall: Robot) -> Path:
    (tmp_path / "directory.toml").write_text(window("agent-a"), "utf-8")
    (tmp_path / "hall.url").write_text(f"json://127.0.0.1:{hall.port}/word-that-nobody-sees")
    (tmp_path / "collector.toml").write_text(BROKER.format(port=1) + WEB + CLIENT + ALERTS, "utf-8")
    return tmp_path


def begun(folder: Path) -> None:
    """It has looked once: what comes from now on is told."""
    eventually(lambda: (folder / "web.port").exists(), 30)
    eventually(lambda: (folder / "alerts.db").exists() and _marked(folder), 30)


def _marked(folder: Path) -> bool:
    book = Book(folder / "alerts.db")
    try:
        return book.mark("bad_rating") is not None
    finally:
        book.close()


def rate(folder: Path, number: int) -> None:
    """A bad rating by the portal."""
    given = {
        "id": str(number),
        "level": "very_dissatisfied",
        "channel": "web",
        "case_no": f"C{number}",
        "given_ms": time.time_ns() // 1_000_000,
    }
    port = int((folder / "web.port").read_text())
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("POST", "/api/v1/ratings", json.dumps(given), HEADERS)
        answer = connection.getresponse()
        assert 200 <= answer.status < 300, answer.read()


def test_a_bad_rating_is_told_at_once_by_the_running_program(folder, hall):
    """By the whole path: portal, ledger, alerts, apprise, receiver."""
    with running(folder) as process:
        begun(folder)
        rate(folder, 1)
        (told,) = hall.heard(1)

    assert "网站 web 非常不满意" in told
    assert "C1" not in told
    assert "word-that-nobody-sees" not in process.said()


def test_killed_between_a_message_and_its_note_it_repeats_that_one_once_and_no_other(folder, hall):
    """kill -9 when the receiver has it and the collector does not know. Red if it is forgotten, or told thrice."""
    with running(folder) as process:
        begun(folder)
        rate(folder, 1)
        hall.heard(1)
        eventually(lambda: not _waits(folder))

        hall.before_answer = lambda: os.kill(process.pid, signal.SIGKILL)
        rate(folder, 2)
        assert -signal.SIGKILL == process.wait(30)
    hall.before_answer = None
    (folder / "web.port").unlink()
    with running(folder):
        hall.heard(3)
        eventually(lambda: not _waits(folder))
        rate_after = len(hall.came)
        eventually(lambda: (folder / "web.port").exists(), 30)
        rate(folder, 3)
        hall.heard(4)
        eventually(lambda: not _waits(folder))
    texts = hall.texts()

    assert 3 == rate_after
    assert 4 == len(texts)
    assert texts[1].split("\n")[1:] == texts[2].split("\n")[1:]


def _waits(folder: Path) -> bool:
    book = Book(folder / "alerts.db")
    try:
        return book.how_told("hall")["waiting"] > 0
    finally:
        book.close()


def test_a_collector_that_has_no_room_for_its_ledger_tells_that(folder, hall):
    """Nothing else works then: no page but the one that says so, no ledger."""
    disk = Disk(folder / "disk")
    try:
        settings = (folder / "collector.toml").read_text()
        (folder / "collector.toml").write_text(f'{settings}[ledger]\npath = "{disk.path}/ledger.db"\n', "utf-8")
        disk.fill()
        with running(folder):
            (told,) = hall.heard(1, 30)
            time.sleep(3)
            assert 1 == len(hall.came)
    finally:
        disk.unmount()

    assert "中心存储已满" in told


# ---- the command line


def test_check_names_the_receivers_and_test_sends_to_them(folder, hall):
    checked = said(folder, "check")
    sent = said(folder, "alerts", "test", "hall")

    assert "报警发给 / alerts go to: hall json://127.0.0.1/…" in checked.stdout
    assert (0, True) == (sent.exit_code, "已送到" in sent.stdout)
    assert "【测试】" in hall.texts()[0]


def test_test_says_what_a_receiver_refuses_and_who_there_is(folder, hall):
    hall.status = 403
    refused, unknown = said(folder, "alerts", "test"), said(folder, "alerts", "test", "nobody")

    assert (1, True) == (refused.exit_code, "error=403" in refused.stdout)
    assert (2, True) == (unknown.exit_code, "有 / there are: hall" in unknown.stderr)
    assert "word-that-nobody-sees" not in refused.stdout + unknown.stderr


def test_an_address_that_apprise_does_not_take_is_named_and_not_shown(folder):
    (folder / "hall.url").write_text("wecombotz://word-that-nobody-sees")
    checked = said(folder, "check")

    assert 2 == checked.exit_code
    assert "collector.toml: alerts.receivers[1]: hall: wecombotz://…" in checked.stderr
    assert "word-that-nobody-sees" not in checked.stderr


def test_a_silence_is_made_listed_and_ended(folder):
    before = said(folder, "alerts", "list")
    Book(folder / "alerts.db").close()
    made = said(
        folder,
        "alerts",
        "silence",
        "--kind",
        "window_*",
        "--hall",
        "市民*",
        "--for",
        "2h",
        "--why",
        "换线",
        "--who",
        "李敏",
    )
    listed = said(folder, "alerts", "list")
    ended = said(folder, "alerts", "silence", "--end", "1")

    assert (2, True) == (before.exit_code, "还没有运行过" in before.stderr)
    assert "静默 silence #1 window_* 市民*" in made.stdout
    assert "换线 (李敏)" in listed.stdout
    assert "一切正常" in listed.stdout
    assert (0, 2) == (ended.exit_code, said(folder, "alerts", "silence", "--end", "1").exit_code)
    assert [] == json.loads(said(folder, "alerts", "list", "--json").stdout)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--for", "soon", "--why", "x"), "--for"),
        (("--kind", "window_bda", "--why", "x"), "window_bad?"),
        (("--weekly", "often", "--why", "x"), "--weekly"),
        ((), "--why"),
    ],
)
def test_a_silence_that_cannot_be_says_why(folder, words, told):
    Book(folder / "alerts.db").close()
    done = said(folder, "alerts", "silence", *words)

    assert (2, True) == (done.exit_code, told in done.stderr)
