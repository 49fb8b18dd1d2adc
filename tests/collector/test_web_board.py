"""The board over real HTTP: all windows at once, a stream of what changes, and what happens when there are too many."""

from __future__ import annotations

import gzip
import http.client
import json
from contextlib import AbstractContextManager

import pytest

from protocols.messages import AgentStatus, Health, WindowHealth
from tests.collector.agents import NOW_MS, Agent
from tests.collector.doors import app_of, served
from tests.collector.gates import StandIn
from tests.collector.ledgers import Ledger, directory_of, window
from tests.collector.test_web import EVIL, Clock, Site

HALL = directory_of(*(window(window=f"w{n}", device=f"D{n}") for n in (1, 2, 3)))
# waitress closes its sockets under its own loop when another thread closes it; the program ends with its process.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture
def hall(opened) -> Ledger:
    return opened(HALL)


def said(ledger: Ledger, *states: str, now_ms: int = NOW_MS) -> None:
    """The agent says how its windows are."""
    ledger.intake.note_status("hall-a", AgentStatus(True), NOW_MS)
    windows = [WindowHealth(f"w{n}", state, since_ms=NOW_MS) for n, state in enumerate(states, 1)]  # type: ignore[arg-type]
    ledger.intake.note_health("hall-a", Health(now_ms, Agent().epoch, windows), now_ms)


class Ticking(Clock):
    """Each look is a second after the one before."""

    def __call__(self) -> int:
        self.now_ms += 1000
        return self.now_ms


def board_of(ledger: Ledger) -> AbstractContextManager[int]:
    """The port of a real server for this ledger, as long as it lasts."""
    return served(app_of(ledger, StandIn(), Ticking()))


class Stream:
    """A browser's stream."""

    def __init__(self, port: int, last_id: str = ""):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self._connection.request("GET", "/board/stream", headers={"Last-Event-ID": last_id} if last_id else {})
        self.answer = self._connection.getresponse()

    def next(self) -> dict:
        """The next message."""
        while True:
            line = self.answer.readline()
            assert line, "the stream has ended"
            if line.startswith(b"data: "):
                return json.loads(line[6:])

    def close(self) -> None:
        self.answer.close()
        self._connection.close()


def whole(port: int, packed: bool = True) -> dict:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/board/windows", headers={"Accept-Encoding": "gzip"} if packed else {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert packed == (answer.getheader("Content-Encoding") == "gzip")
    return json.loads(gzip.decompress(body) if packed else body)


def test_all_windows_come_as_one_answer_packed_for_whoever_can_unpack(hall):
    said(hall, "ready", "cable_out", "inviting")
    with board_of(hall) as port:
        found, plain = whole(port), whole(port, packed=False)

    names = [each[0] for each in found["states"]]
    assert ["ready", "cable_out", "inviting"] == [names[state] for state in found["state"]]
    assert (["市民中心"], ["1号", "2号", "3号"]) == (found["halls"], found["number"])
    assert found["state"] == plain["state"]


def test_a_stream_brings_only_the_windows_that_changed(hall):
    """Within the look after the change. Red if all windows are sent, or the wrong one."""
    said(hall, "ready", "ready", "ready")
    with board_of(hall) as port:
        stream = Stream(port, whole(port)["id"])
        # The first look round every window settles what is said of it.
        assert [] in [stream.next()["rows"] for _ in range(5)]
        said(hall, "ready", "cable_out", "ready", now_ms=NOW_MS + 5000)
        rows: list = []
        while not rows:
            rows = stream.next()["rows"]
        stream.close()

    (row,) = rows
    assert (1, "线缆 16:00 起断开") == (row[0], row[2])


def test_a_stream_goes_on_where_it_was_broken_off(hall):
    """Red if a change in between is lost, or everything is sent again."""
    said(hall, "ready", "ready", "ready")
    with board_of(hall) as port:
        stream = Stream(port, whole(port)["id"])
        last = stream.next()["id"]
        stream.close()
        said(hall, "cable_out", "ready", "ready", now_ms=NOW_MS + 5000)
        again = Stream(port, last)
        rows: list = []
        while not any(row[0] == 0 for row in rows):
            message = again.next()
            assert "again" not in message
            rows += message["rows"]
        again.close()


@pytest.mark.parametrize("since", ["", "x", "00000000.1.1.00000000", "1.2", "ffffffff.9.9.ffffffff"])
def test_who_has_something_else_is_told_to_take_all_again(hall, since):
    """An id of another start, or no id. Red if a browser kept windows of before a restart."""
    client = Site(hall).client

    assert client.get("/board/changes", query_string={"since": since}).get_json()["again"]


def test_without_a_stream_the_same_can_be_asked_for(hall):
    said(hall, "ready", "ready", "ready")
    site = Site(hall)
    client = site.client
    first = client.get("/board/windows").get_json()
    site.clock.now_ms += 1000
    assert [] == client.get("/board/changes", query_string={"since": first["id"]}).get_json()["rows"]
    said(hall, "ready", "ready", "cable_out", now_ms=NOW_MS + 1)
    site.clock.now_ms += 1000
    found = client.get("/board/changes", query_string={"since": first["id"]}).get_json()

    assert [2] == [row[0] for row in found["rows"]]


def test_totals_come_only_when_they_changed(hall):
    site = Site(hall)
    first = site.client.get("/board/windows").get_json()["id"]
    site.clock.now_ms += 1000
    quiet = site.client.get("/board/changes", query_string={"since": first}).get_json()
    hall.rate(1)
    site.clock.now_ms += 1000
    rated = site.client.get("/board/changes", query_string={"since": quiet["id"]}).get_json()

    assert "totals" not in quiet
    assert "非常满意" in rated["lists"]
    assert "<b>1</b><span>入账评价" in rated["totals"]


def test_an_alarm_says_at_which_windows_its_agent_stands_and_leads_there(opened):
    """Red if it names the agent alone: whoever reads it has to look up where that is."""
    places = [window("pc", f"w{n}", f"P{n}") for n in range(1, 7)]
    ledger = opened(directory_of(window(), *places))
    for agent in ("hall-a", "pc"):
        ledger.intake.note_health(agent, Health(NOW_MS, Agent(agent).epoch, [], alarm="存档不符 / differs"), NOW_MS)
    page = " ".join(Site(ledger).page("/?lang=zh").split())

    assert '<a href="/windows/hall-a/w1">市民中心 1号</a> (hall-a): 存档不符' in page
    assert '<a href="/windows/pc/w1">市民中心 1号</a>, <a href="/windows/pc/w2">2号</a>, ' in page
    assert '<a href="/windows/pc/w4">4号</a> … (pc): 存档不符' in page


def test_beyond_its_bound_a_stream_is_refused_and_the_rest_goes_on(hall, monkeypatch):
    """503 with when to come again; the API has threads of its own. Red if a page hangs behind open streams."""
    monkeypatch.setattr("collector.web.board.STREAMS_MAX", 2)
    said(hall, "ready", "ready", "ready")
    with board_of(hall) as port:
        open_ones = [Stream(port), Stream(port)]
        refused = Stream(port)
        assert (503, "5") == (refused.answer.status, refused.answer.getheader("Retry-After"))
        assert 3 == len(whole(port)["agent"])
        for each in (refused, *open_ones):
            each.close()


def test_two_hundred_streams_and_the_api_at_once(hall):
    """Each is told of the change; connections to the ledger stay few. Red with waitress' hundred connections, or with
    a connection to the ledger for each thread."""
    said(hall, "ready", "ready", "ready")
    with board_of(hall) as port:
        streams = [Stream(port) for _ in range(200)]
        assert {200} == {each.answer.status for each in streams}
        assert all("again" in each.next() for each in streams)
        assert 3 == len(whole(port)["agent"])
        for each in streams:
            each.close()

    assert len(hall.store._readers) < 20


def test_what_others_wrote_is_data_and_never_markup(opened):
    ledger = opened(directory_of(window().replace("市民中心", EVIL)))
    page = Site(ledger).page()

    assert "<script>alert" not in page
    assert EVIL in Site(ledger).client.get("/board/windows").get_json()["halls"]


def test_without_scripts_the_list_can_be_searched_and_filtered(hall):
    said(hall, "ready", "cable_out", "ready")
    site = Site(hall)

    assert ["2号"] == [n for n in ("1号", "2号", "3号") if f">{n}</a>" in site.page("/")]
    assert ["3号"] == [n for n in ("1号", "2号", "3号") if f">{n}</a>" in site.page("/?q=D3")]
    assert ["1号", "3号"] == [n for n in ("1号", "2号", "3号") if f">{n}</a>" in site.page("/?state=ready")]
