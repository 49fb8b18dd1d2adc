"""Ratings of website, mobile, QR code and telephone: into the same ledger, once each, and on to the province."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import replace

import pytest

from collector import directory as directories
from collector.ledger import audit
from collector.ledger.channels import Given
from collector.reconcile.balance import balance
from collector.web import Client
from firmware_sim.province.door import serving
from firmware_sim.province.txnbody import ONLINE_PATH
from protocols import tags
from protocols.errors import BadSettings
from protocols.ratings import Level
from tests.collector.agents import NOW_MS
from tests.collector.doors import app_of
from tests.collector.ledgers import case, directory_of, window
from tests.collector.people import gate
from tests.collector.provinces import SPOKEN, eventually, forwarding

CLIENTS = [Client("portal", "s3cret", ("web", "mobile")), Client("queue", "other", ("qr",))]
DIRECTORY = directory_of(window()).with_clients([(each.name, each.channels) for each in CLIENTS])
GIVEN = Given("R-1", Level.DISSATISFIED, "web", "C1", NOW_MS - 60_000, tags=("213",), tags_version=2, text="等了很久")
BODY = {
    "id": "R-1",
    "level": "dissatisfied",
    "channel": "web",
    "case_no": "C1",
    "given_ms": NOW_MS - 60_000,
    "tags": ["213"],
    "text": "等了很久",
}


@pytest.fixture
def book(opened):
    return opened(DIRECTORY)


@pytest.fixture
def post(book):
    app = app_of(book, gate(), lambda: NOW_MS, CLIENTS).test_client()

    def call(body, who: str = "portal:s3cret"):
        return app.post(
            "/api/v1/ratings",
            data=body if isinstance(body, bytes) else json.dumps(body),
            headers={"Authorization": "Basic " + base64.b64encode(who.encode()).decode()},
        )

    return call


def test_a_rating_of_another_channel_is_one_like_any_other(book):
    """Level, tags, words, time and case as they were given; it waits for its case and is due when that comes."""
    book.channels.take("portal", GIVEN, NOW_MS)
    assert {"C1": "awaiting_case"} == book.states()
    book.intake.take_cases([case("C1")], NOW_MS)
    rating = book.delivery.next(NOW_MS, ()).rating

    assert (Level.DISSATISFIED, ("213",), "等了很久", "web", NOW_MS - 60_000, "C1") == (
        rating.level,
        rating.tags,
        rating.text,
        rating.channel,
        rating.pressed_ms,
        rating.case_no,
    )


def test_it_stands_in_a_chain_of_its_own_and_is_verified(book, opened):
    """Red if a level, a tag or the words could be changed without anybody noticing."""
    for number in range(1, 6):
        book.channels.take("portal", replace(GIVEN, ref=f"R-{number}", case_no=f"C{number}"), NOW_MS)
    book.channels.take("queue", replace(GIVEN, channel="qr", case_no="C9", tags=(), text=""), NOW_MS)

    assert [] == audit.verify(book.path).findings
    assert {"api.portal": 10, "api.queue": 2} == {
        row["agent"]: row["upto"] for row in book.store.rows("SELECT agent, upto FROM epoch")
    }
    book.rate(20)
    found = balance(book.overview.days, DIRECTORY, NOW_MS)
    assert 0 == found["unexplained"]


@pytest.mark.parametrize("what", ["level = 'satisfied', bad = 0", "tags = '214'", "text = '很好'", "tags = ''"])
def test_what_was_given_cannot_be_changed_unnoticed(book, what):
    book.channels.take("portal", GIVEN, NOW_MS)
    with book.store.writing() as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        db.execute(f"UPDATE rating SET {what}, sum = NULL")

    assert [] != audit.verify(book.path).findings


def test_the_same_number_is_the_same_rating(book):
    """However often it comes, also after the case is settled. Red if a call whose answer was lost makes two."""
    hows = [book.channels.take("portal", GIVEN, NOW_MS + again).how for again in range(3)]

    assert ["new", "known", "known"] == hows
    assert 2 == book.count("record")
    other = replace(GIVEN, level=Level.SATISFIED)
    assert "contradicts" == book.channels.take("portal", other, NOW_MS).how
    assert "dissatisfied" == book.store.row("SELECT level FROM rating")["level"]
    assert "new" == book.channels.take("queue", replace(GIVEN, channel="qr", case_no="C2"), NOW_MS).how


def test_a_service_that_was_rated_is_not_rated_again(book):
    """First come, first counted, whichever way it came; the second is kept as a repeat."""
    book.rate(1)
    taken = book.channels.take("portal", GIVEN, NOW_MS)

    assert ("new", "repeat", "") == (taken.how, taken.fate, taken.state)
    assert {"C1": "due"} == book.states()
    assert [] == audit.verify(book.path).findings


def test_many_at_once_make_one_chain(book):
    """Each number once, none lost. Red if two threads extend the same head."""
    threads = [
        threading.Thread(
            target=lambda first=first: [
                book.channels.take("portal", replace(GIVEN, ref=f"R{n}", case_no=f"C{n}"), NOW_MS)
                for n in range(first, first + 20)
            ]
        )
        for first in (0, 10, 20, 30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 50 == book.count("rating")
    assert [] == audit.verify(book.path).findings


@pytest.mark.parametrize("name", SPOKEN)
def test_it_reaches_the_province_by_its_own_channel(book, name):
    """In dialect A with the online record, at its own address."""
    book.channels.take("portal", GIVEN, NOW_MS)
    book.intake.take_cases([case("C1")], NOW_MS)
    there = SPOKEN[name].province()
    with serving(there) as door:
        online = {"online_rating_url": door.url + ONLINE_PATH} if name == "txnbody" else {}
        with forwarding(book, door.url, speaks=SPOKEN[name].dialect(door.url, **online)):
            eventually(lambda: book.states() == {"C1": "accepted"})
    (row,) = there.ratings()

    assert "2" == row["satisfaction"]
    assert "1" == row["pf"]
    if name == "txnbody":
        assert "assessNumber" in row and "certKey" in row


# ---- over HTTP


def test_the_api_takes_it_once(post):
    first, again, other = post(BODY), post(BODY), post({**BODY, "text": "很好"})

    assert (201, "rated", "awaiting_case", {}) == (
        first.status_code,
        *(first.get_json()[name] for name in ("fate", "state", "tags")),
    )
    assert (200, first.get_json()) == (again.status_code, again.get_json())
    assert (409, "id") == (other.status_code, other.get_json()["error"]["field"])


@pytest.mark.parametrize("who", ["portal:wrong", "nobody:s3cret", "queue:s3cret", ":", "x"])
def test_only_who_is_known_hands_ratings_over(post, book, who):
    assert 401 == post(BODY, who).status_code
    assert 0 == book.count("record")


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"channel": "qr"}, 403, "channel"),
        ({"channel": "window_pad"}, 403, "channel"),
        ({"level": "5"}, 400, "level"),
        ({"level": None}, 400, "level"),
        ({"given_ms": NOW_MS + 600_000}, 400, "given_ms"),
        ({"given_ms": NOW_MS // 1000}, 400, "given_ms"),
        ({"text": "x" * 151}, 400, "text"),
        ({"tags": ["1,2"]}, 400, "tags[0]"),
        ({"tags": "213"}, 400, "tags"),
        ({"case_no": ""}, 400, "case_no"),
        ({"service_number": 0}, 400, "service_number"),
        ({"id": "a b"}, 400, "id"),
        ({"nick": 1}, 400, "nick"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_kept(post, book, change, status, field):
    answer = post({**BODY, **change})

    assert (status, field) == (answer.status_code, answer.get_json()["error"]["field"])
    assert 0 == book.count("record")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"level": "satisfied"}', b"[" * 100_000])
def test_rubbish_is_no_rating(post, book, body):
    assert 400 == post(body).status_code
    assert 0 == book.count("record")


def test_an_unknown_tag_is_kept_sent_and_reported(post, book):
    """Not dropped: what a citizen chose is not ours to leave out. An old list's is named as such."""
    answer = post({**BODY, "tags": ["213", "299", "201", "510"]})

    assert {"299": "unknown", "201": "old", "510": "other_level"} == answer.get_json()["tags"]
    assert "213,299,201,510" == book.store.row("SELECT tags FROM rating")["tags"]


def test_every_tag_has_its_level_in_front():
    """The national lists say so, the old one too."""
    digits = {level: str(5 - at) for at, level in enumerate(Level)}

    assert all(code[0] == digits[tag.level] for code, tag in tags.TAGS.items())
    assert "old" == tags.standing("107", Level.VERY_DISSATISFIED)
    assert "other_level" == tags.standing("107", Level.SATISFIED)


def test_no_agent_can_pass_for_such_a_system():
    """Its name is kept for them, and the broker's side does not know it."""
    assert {"hall-a"} == DIRECTORY.agents
    with pytest.raises(BadSettings, match="api"):
        directories.read(window(agent="api.portal").encode(), "directory.toml")
