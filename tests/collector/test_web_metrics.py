"""What other machines read: figures for Prometheus that add up, and a health check that means that ratings go out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client.parser import text_string_to_metric_families

from collector.alerts.reading import Reader
from collector.ledger.delivery import What
from collector.web.keeper import Keeper
from collector.web.metrics import Metric, text
from protocols.messages import AgentStatus, Health, WindowHealth
from protocols.ratings import Accepted, Refused, Unavailable, Verdict
from tests.collector.agents import NOW_MS, Agent, closing, press
from tests.collector.doors import app_of
from tests.collector.ledgers import Ledger, case
from tests.collector.people import gate
from tests.collector.test_web import TOKEN, Clock, bearer

MEASURES = "for-figures-only"
DEPLOY = Path(__file__).parent.parent.parent / "deploy"


def client(ledger: Ledger, clock=None, **more):
    app = app_of(ledger, Keeper(gate(TOKEN).people, TOKEN, lambda: NOW_MS, MEASURES), clock or Clock(), **more)
    return app.test_client()


def figures(ledger: Ledger) -> dict:
    """Every sample by its name and labels, as Prometheus reads them."""
    answer = client(ledger).get("/metrics", headers=bearer(MEASURES))
    assert 200 == answer.status_code
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_figures_add_up_and_bad_ratings_have_their_own(ledger):
    ledger.rate(1, 2, button=2)
    ledger.rate(3)
    due = ledger.delivery.next(NOW_MS, ())
    ledger.delivery.end(due, "rating", ledger.delivery.begin(due, "rating", NOW_MS), Accepted(), NOW_MS)
    ledger.delivery.park(ledger.delivery.next(NOW_MS, ()), "lacking", "mobile", NOW_MS)
    found = figures(ledger)

    for of, expected in (("all", (3, 1, 1, 1)), ("bad", (2, 1, 0, 1))):
        states = [
            found["hall_rating_ratings", ("of", of), ("state", each)] for each in ("accepted", "waiting", "parked")
        ]
        assert expected == (found["hall_rating_ratings_received_total", ("of", of)], *states)
        assert expected[0] == sum(states)
    assert 1 == found["hall_rating_ratings_parked", ("reason", "lacking")]


def test_windows_agents_and_backlog_are_figures_too(ledger):
    ledger.intake.note_status("hall-a", AgentStatus(True), NOW_MS)
    windows = [WindowHealth("w1", "cable_out", since_ms=NOW_MS)]
    health = Health(NOW_MS, Agent().epoch, windows, backlog=7, oldest_ms=NOW_MS - 90_000)
    ledger.intake.note_health("hall-a", health, NOW_MS)
    ledger.delivery.province_away("HTTP 503", NOW_MS - 5000)
    found = figures(ledger)

    assert (1, 0) == tuple(found["hall_rating_windows", ("state", each)] for each in ("cable_out", "ready"))
    assert (1, 1, 7, 90.0, 5.0) == tuple(
        found[f"hall_rating_{name}",]
        for name in (
            "agents",
            "agents_online",
            "backlog_records",
            "backlog_oldest_seconds",
            "province_away_seconds",
        )
    )
    assert found["hall_rating_ledger_bytes",] > 0


def test_agents_of_another_place_do_not_stand_in_for_those_that_are_away(ledger):
    """Of the agents in the directory. Red if ten strangers who are there hide that ten of our own are not."""
    ledger.intake.note_status("hall-a", AgentStatus(False), NOW_MS)
    ledger.intake.note_status("hall-z", AgentStatus(True), NOW_MS)
    found = figures(ledger)

    assert (1, 0) == (found["hall_rating_agents",], found["hall_rating_agents_online",])


def test_bad_ratings_that_wait_are_told_from_those_that_were_given_up(ledger):
    """By reason, for whoever watches. Red if one that somebody has decided about rings for ever."""
    ledger.rate(1, 2, button=2)
    ledger.rate(3)
    for _ in range(3):
        ledger.delivery.park(ledger.delivery.next(NOW_MS, ()), "lacking", "mobile", NOW_MS)
    ledger.desk.give_up(1, "李敏", "x", NOW_MS)
    found = figures(ledger)

    assert {("lacking", 1), ("given_up", 1)} == {
        (labels[0][1], value) for (name, *labels), value in found.items() if name == "hall_rating_bad_ratings_parked"
    }


def test_every_figure_says_what_it_is(ledger):
    """HELP and TYPE before its samples; a counter's name ends in _total."""
    said = client(ledger).get("/metrics", headers=bearer(MEASURES)).text
    families = list(text_string_to_metric_families(said))

    assert len(families) > 15
    assert all(family.documentation and family.name.startswith("hall_rating_") for family in families)
    assert all(family.type in ("gauge", "counter") for family in families)


def test_odd_labels_come_back_as_they_were():
    odd = 'a"b\\c\nd'
    (family,) = text_string_to_metric_families(text([Metric("x", "gauge", "About.", [({"l": odd}, 1)])]))

    assert odd == family.samples[0].labels["l"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), (bearer("wrong"), 401), (bearer(""), 401), (bearer(), 200), (bearer(MEASURES), 200)],
)
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3"])
def test_figures_are_for_whoever_shows_a_token(ledger, address, headers, status):
    """On this machine too: through a proxy everybody seems to be here."""
    answer = client(ledger).get("/metrics", headers=headers, environ_base={"REMOTE_ADDR": address})

    assert status == answer.status_code


def test_the_token_for_figures_opens_nothing_else(ledger):
    page = client(ledger)

    assert 401 == page.get("/api/v1/summary", headers=bearer(MEASURES)).status_code
    assert 401 == page.post("/api/v1/cases", json={"case_no": "C1"}, headers=bearer(MEASURES)).status_code


NAMES = re.compile(r"hall_rating_[a-z_]+")


def names(ledger: Ledger) -> set[str]:
    return {name for name, *_ in figures(ledger)}


@pytest.mark.parametrize("file", ["grafana/hall-rating.json", "prometheus/hall-rating.yml"])
def test_every_figure_that_is_shown_or_watched_exists(ledger, file):
    """Red if a name changes here and not there."""
    ledger.rate(1, button=2)
    ledger.delivery.park(ledger.delivery.next(NOW_MS, ()), "lacking", "mobile", NOW_MS)
    said = {*NAMES.findall((DEPLOY / file).read_text("utf-8"))}

    assert len(said) > 6
    assert set() == said - names(ledger)


def test_the_grafana_board_is_whole():
    """JSON with panels that each ask something of the data source that its reader chooses."""
    board = json.loads((DEPLOY / "grafana" / "hall-rating.json").read_text("utf-8"))
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]

    assert len(panels) >= 10
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert all(target["expr"] for panel in panels for target in panel["targets"])
    assert {"${source}"} == {panel["datasource"]["uid"] for panel in panels}


def test_grafana_knows_everything_that_the_board_says():
    """Read and written again by Grafana's own types, nothing of it is gone: they keep only what Grafana 11 knows.

    Red if a word of the board is misspelt.
    """
    register_default_plugins()
    board = json.loads((DEPLOY / "grafana" / "hall-rating.json").read_text("utf-8"))
    kept = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))

    assert [] == list(missing(board, kept))
    board["panels"][0]["options"]["colourMode"] = board["panels"][0]["options"].pop("colorMode")
    kept = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
    assert ["/panels/0/options/colourMode"] == list(missing(board, kept))


def missing(said: Any, kept: Any, where: str = "") -> Iterator[str]:
    """Where `kept` lacks or changes something of `said`; what it has besides is nobody's loss."""
    if isinstance(said, dict) and isinstance(kept, dict):
        for name, value in said.items():
            yield from missing(value, kept.get(name, ...), f"{where}/{name}")
    elif isinstance(said, list) and isinstance(kept, list) and len(said) == len(kept):
        for at, (value, other) in enumerate(zip(said, kept, strict=True)):
            yield from missing(value, other, f"{where}/{at}")
    elif said != kept:
        yield where


# ---- is it doing its work?


def health(ledger: Ledger, at_ms: int = NOW_MS, **more) -> tuple[int, dict]:
    clock = Clock()
    clock.now_ms = at_ms
    answer = client(ledger, clock, **({"forwards": True} | more)).get("/healthz")
    return answer.status_code, answer.get_json()


def end(ledger: Ledger, verdict, now_ms: int) -> None:
    due = ledger.delivery.next(now_ms, ())
    ledger.delivery.end(due, "rating", ledger.delivery.begin(due, "rating", now_ms), verdict, now_ms)


def test_200_when_nothing_waits_or_something_was_just_answered(ledger):
    assert 200 == health(ledger)[0]
    ledger.rate(1, 2)
    assert 200 == health(ledger)[0]
    end(ledger, Refused("no"), NOW_MS + 200_000)

    assert 200 == health(ledger, NOW_MS + 201_000)[0]


def test_503_when_ratings_wait_and_nobody_answers(ledger):
    """No answer at all is no answer. Red if a rating that waits for an hour is called well."""
    ledger.rate(1)
    end(ledger, Unavailable("timeout"), NOW_MS + 190_000)
    status, said = health(ledger, NOW_MS + 200_000)

    assert (503, False, False) == (status, said["forwarding"], said["parts"]["province"]["well"])
    assert "省平台久未答复" in said["words"]


def test_503_in_words_while_the_province_is_known_to_be_away(ledger):
    ledger.delivery.province_away("SECRET 503", NOW_MS)
    status, said = health(ledger)

    assert 503 == status
    assert "省平台不可用" in said["words"]
    assert "SECRET" not in json.dumps(said)


def test_503_while_the_broker_is_away_or_the_disk_is_full(ledger, monkeypatch):
    assert 503 == health(ledger, connected=lambda: False)[0]
    assert 200 == health(ledger, connected=lambda: True)[0]
    monkeypatch.setattr("collector.ledger.file.lacks", lambda _path: "storage_full")

    assert "账本写不进去" in health(ledger)[1]["words"]


def test_without_a_province_it_says_so(ledger):
    ledger.rate(1)
    status, said = health(ledger, NOW_MS + 10**9, forwards=False)

    assert 200 == status
    assert "只收不报" in said["parts"]["province"]["words"]


def test_a_rating_that_waited_for_its_case_is_not_late_the_moment_it_has_it(ledger):
    """Red if it is blamed on the province that nobody told it before: the watchman's call would stop for nothing."""
    agent = Agent()
    ledger.take(agent, agent.write(press(1, f"{agent.epoch}-1"), closing(f"{agent.epoch}-1", "C1")))
    later_ms = NOW_MS + 8 * 60_000
    ledger.intake.take_cases([case("C1")], later_ms)

    assert 200 == health(ledger, later_ms + 8_000)[0]
    assert 503 == health(ledger, later_ms + 121_000)[0]


def test_it_is_unanswered_since_it_and_its_case_were_there(ledger):
    """Not since it was pressed. Red if the board says that the province is silent since before it was told."""
    agent = Agent()
    ledger.take(agent, agent.write(press(1, f"{agent.epoch}-1"), closing(f"{agent.epoch}-1", "C1")))
    later_ms = NOW_MS + 8 * 60_000
    ledger.intake.take_cases([case("C1")], later_ms)
    for again_ms in (later_ms + 400, later_ms + 60_000):
        called(ledger, again_ms, Unavailable("HTTP 503"))

    assert later_ms == ledger.overview.counts()["unanswered"]["since_ms"]
    assert later_ms == Reader(ledger.store, ledger.directory, 0).look(0, again_ms).seen.unanswered_since_ms


@pytest.mark.parametrize("by_hand", ["sent again", "corrected", "linked"])
def test_what_a_person_sent_again_is_unanswered_since_then(ledger, by_hand):
    """What was refused two weeks ago, or had no case, is the province's again since somebody did something about it.
    Red if the board, the alerts and the watchman are told of two weeks of silence for the first call that fails."""
    agent = Agent()
    case_no = None if by_hand == "linked" else "C1"
    ledger.take(agent, agent.write(press(1, f"{agent.epoch}-1"), closing(f"{agent.epoch}-1", case_no)))
    ledger.intake.take_cases([case("C1")], NOW_MS)
    if case_no is not None:
        called(ledger, NOW_MS + 1_000, Unavailable("HTTP 503"))
        called(ledger, NOW_MS + 60_000, Refused("时间不对"))
    later_ms = NOW_MS + 14 * 86_400_000
    match by_hand:
        case "sent again":
            ledger.desk.send_again(1, "李敏", "省平台已改", False, later_ms)
        case "corrected":
            ledger.desk.correct(1, {"item_name": "身份证补领"}, "李敏", "名称不对", later_ms)
        case "linked":
            ledger.desk.link(1, "C1", 1, "李敏", "按时间核对", later_ms)
    called(ledger, later_ms + 400, Unavailable("HTTP 503"))

    assert later_ms == ledger.overview.counts()["unanswered"]["since_ms"]
    assert later_ms == ledger.overview.since.forwarding().due_since_ms


def test_what_lay_parked_is_unanswered_only_since_its_case_was_posted_anew(ledger):
    """Red if an operator whose business system puts a case right after a week reads of a week of silence."""
    ledger.rate(1)
    called(ledger, NOW_MS + 1_000, Unavailable("HTTP 503"))
    called(ledger, NOW_MS + 60_000, Refused("no"), "case")
    later_ms = NOW_MS + 7 * 86_400_000
    ledger.intake.take_cases([case("C1", mobile="13900000000")], later_ms)
    called(ledger, later_ms + 1_000, Unavailable("HTTP 503"))

    assert later_ms == ledger.overview.counts()["unanswered"]["since_ms"]
    assert later_ms == ledger.overview.since.forwarding().due_since_ms
    assert later_ms == Reader(ledger.store, ledger.directory, NOW_MS).look(0, later_ms).seen.unanswered_since_ms


def called(ledger: Ledger, at_ms: int, verdict: Verdict, what: What = "rating") -> None:
    """A call for the next rating, and what the province said."""
    due = ledger.delivery.next(at_ms, ())
    assert due is not None
    ledger.delivery.end(due, what, ledger.delivery.begin(due, what, at_ms), verdict, at_ms + 10)
