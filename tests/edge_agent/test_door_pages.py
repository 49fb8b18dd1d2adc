"""The door of the rating page and of the clerk's, over real HTTP: who finds room, who is let in, and who no longer."""

from __future__ import annotations

import errno
import http.client
import json
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from edge_agent import clock
from edge_agent.clerks import Clerk, Clerks
from edge_agent.config import WindowSettings
from edge_agent.door import STAYING, STREAMS_MAX, People, create_app, serve
from edge_agent.door.rating import Screen
from edge_agent.door.streams import EACH_MAX
from edge_agent.lines import lines_of
from edge_agent.links import Links
from edge_agent.outbox import Outbox
from edge_agent.page import Page

from .hall import an_id, presses, until

TOKEN = "a-token-of-the-hall"
WINDOWS = {"3": 30, "4": 45}
OF_3, OF_4 = (Links(TOKEN).window(window) for window in WINDOWS)


@dataclass
class Visitor:
    """A browser, as far as the door can tell."""

    port: int
    cookie: str = ""

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def ask(self, method: str, path: str, body: Any = None, form: bool = False) -> tuple[int, Any]:
        """Status, and what was said: as JSON where it is."""
        kind = "application/x-www-form-urlencoded" if form else "application/json"
        headers = {"Cookie": self.cookie, "Content-Type": kind, "Authorization": f"Bearer {TOKEN}"}
        with closing(self.connection()) as connection:
            connection.request(method, path, urlencode(body) if form else json.dumps(body), headers)
            with connection.getresponse() as response:
                text = response.read().decode()
                if given := response.getheader("Set-Cookie", ""):
                    self.cookie = given.partition(";")[0]
                return response.status, json.loads(text) if "json" in response.getheader("Content-Type", "") else text

    def invite(self, number: int, window: str = "3") -> str:
        """The link of this invitation, now open."""
        _, opened = self.ask("POST", "/v1/invitations", {"id": an_id(number), "window": window, "replace": True})
        link: str = opened["page"]
        return link

    @contextmanager
    def stream(self, path: str) -> Iterator[http.client.HTTPResponse]:
        """Of these events; read to its first state, if there is one."""
        with closing(self.connection()) as connection:
            connection.request("GET", path, headers={"Cookie": self.cookie, "Authorization": f"Bearer {TOKEN}"})
            with connection.getresponse() as response:
                while response.status == 200 and not response.readline().startswith(b"data: "):
                    pass
                yield response

    def sign_in(self) -> None:
        assert 303 == self.ask("POST", "/clerk/sign-in", {"number": "018", "pin": "2468", "window": "3"}, form=True)[0]

    def sign_out(self) -> None:
        _, page = self.ask("GET", "/clerk/")
        found = re.search(r'name="form" value="(\w+)"', page)
        assert found is not None
        assert 303 == self.ask("POST", "/clerk/sign-out", {"form": found.group(1)}, form=True)[0]


@pytest.fixture
def visitor(box: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    """Before a door with pages at windows 3 and 4, and clerk 018."""
    monkeypatch.setattr("edge_agent.door.streams._KEEP_ALIVE_S", 0.05)
    known = Clerks(tmp_path)
    known.put(Clerk("018", "张敏", 4), "2468")
    settings = [WindowSettings(window, f"PAGE-{window}", profile="page") for window in WINDOWS]
    stop, threads, screens = threading.Event(), [], {}
    for line in lines_of(settings, tmp_path, box, clock.now()):
        assert isinstance(line.link, Page)
        window = line.link.port.partition(":")[2]
        screens[window] = Screen(window, f"PAGE-{window}", line.link.press)
        threads.append((line.link, threading.Thread(target=line.carry, args=(clock.now, stop))))
    server, port = serve(create_app(box, WINDOWS, TOKEN, clock.now, people=People(screens, known)), "127.0.0.1", 0)
    threads.append((None, threading.Thread(target=server.run)))
    for _, thread in threads:
        thread.start()
    yield Visitor(port)
    stop.set()
    try:
        server.trigger.pull_trigger(server.close)
    except OSError:
        pass  # it was awake, and has closed before it could be woken
    for link, thread in threads:
        if link is not None:
            link.wake()
        thread.join(10)
        assert not thread.is_alive()
    server.task_dispatcher.shutdown()


# ---- room for streams


def test_one_link_takes_no_more_than_its_own_streams(visitor: Visitor) -> None:
    """Whoever opens it a hundred times gets four; other windows and the clerk find room. Red without the bound of each
    link."""
    visitor.sign_in()
    with ExitStack() as open_ones:
        statuses = [open_ones.enter_context(visitor.stream(f"{OF_3}events")).status for _ in range(EACH_MAX + 3)]
        others = [open_ones.enter_context(visitor.stream(path)).status for path in (f"{OF_4}events", "/clerk/events")]

        assert [200] * EACH_MAX + [503] * 3 == statuses
        assert [200, 200] == others


def test_the_links_of_invitations_leave_room_for_windows_and_clerks(visitor: Visitor) -> None:
    """Whatever is being followed for a while, a tablet that is switched on finds a stream. Red if all share all."""
    visitor.invite(1)
    with ExitStack() as open_ones:
        followers = [
            open_ones.enter_context(visitor.stream(f"/v1/invitations/{an_id(1)}/events")).status
            for _ in range(STREAMS_MAX - STAYING + 1)
        ]
        staying = open_ones.enter_context(visitor.stream(f"{OF_4}events")).status

        assert [200] * (STREAMS_MAX - STAYING) + [503] == followers
        assert 200 == staying


def test_a_page_without_a_stream_is_told_the_same(visitor: Visitor) -> None:
    """The one too many asks now and again, and learns all that a stream tells: who is asked, and how that ended."""
    visitor.invite(1)
    asked = visitor.ask("GET", f"{OF_3}state")[1]
    visitor.ask("DELETE", f"/v1/invitations/{an_id(1)}")
    ended = visitor.ask("GET", f"{OF_3}state?last={an_id(1)}")[1]
    of_another = visitor.ask("GET", f"{OF_4}state?last={an_id(1)}")[1]

    assert (an_id(1), 30) == (asked["invitation"]["id"], asked["invitation"]["seconds"]) and asked["left_ms"] > 0
    assert (None, {"id": an_id(1), "state": "withdrawn"}) == (ended["invitation"], ended["ended"])
    assert of_another["ended"] is None


def test_the_page_does_not_say_how_much_was_added_for_whoever_writes(visitor: Visitor) -> None:
    """Its seconds are those that were promised; that something has changed shows, for its streams. Red if what was
    added is told with them."""
    visitor.invite(1)
    before = visitor.ask("GET", f"{OF_3}state")[1]
    visitor.ask("POST", f"{OF_3}stay", {"invitation": an_id(1)})
    after = visitor.ask("GET", f"{OF_3}state")[1]

    assert 30 == before["invitation"]["seconds"] == after["invitation"]["seconds"]
    assert before["invitation"] != after["invitation"] and before["left_ms"] < after["left_ms"]


def test_a_screen_that_asks_is_open_for_the_clerk(visitor: Visitor) -> None:
    """Red if only streams count: she would be sent to look at a tablet that works."""
    visitor.sign_in()
    before = visitor.ask("GET", "/clerk/state")[1]["trouble"]
    visitor.ask("GET", f"{OF_3}state")
    after = visitor.ask("GET", "/clerk/state")[1]["trouble"]

    assert "评价屏没有打开" in before["zh"] and {} == after


# ---- what a page says


def test_a_press_of_last_week_is_kept_and_rated_for_nobody(visitor: Visitor, box: Outbox) -> None:
    """A tablet that was away for long says what it has: thanked, on the disk, a doubt. Red if such an age is refused,
    for then the page would drop it."""
    link = visitor.invite(1)
    visitor.ask("DELETE", f"/v1/invitations/{an_id(1)}")
    week_ms = 7 * 86_400_000
    said = {"boot": 1, "count": 1, "level": "satisfied", "invitation": an_id(1), "age_ms": week_ms}
    status, answer = visitor.ask("POST", f"{link}press", said)
    [record] = presses(box)

    assert (200, {"kept": True}) == (status, answer)
    assert (None, an_id(1)) == (record.invitation, record.doubt)


# ---- signing out


def test_signing_out_ends_every_copy(visitor: Visitor, tmp_path: Path) -> None:
    """A cookie that somebody copied lets nobody in, also after a restart; what they had open ends. Red if the browser
    is only told to forget it."""
    visitor.sign_in()
    copy = Visitor(visitor.port, visitor.cookie)
    with copy.stream("/clerk/events") as opened:
        visitor.sign_out()

        assert until(lambda: not opened.readline())
    assert 401 == copy.ask("GET", "/clerk/state")[0]
    assert Clerks(tmp_path).has_ended(copy.cookie.partition("=")[2].strip('"'))


def test_she_is_signed_out_though_the_disk_is_full(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """She and every copy are out, nobody sits there, her browser forgets it, and she is told that a restart would not
    know of it. Red if it is written down first."""
    visitor.sign_in()
    copy = Visitor(visitor.port, visitor.cookie)
    form = re.search(r'name="form" value="(\w+)"', visitor.ask("GET", "/clerk/")[1])
    assert form is not None

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("edge_agent.clerks.write_private", full)
    status, page = visitor.ask("POST", "/clerk/sign-out", {"form": form.group(1)}, form=True)

    assert 507 == status and "已退出" in page
    assert 401 == copy.ask("GET", "/clerk/state")[0]
    assert visitor.ask("GET", f"{OF_3}state")[1]["clerk"] is None
    assert "" == visitor.cookie.partition("=")[2]


def test_signing_out_here_leaves_her_signed_in_there(visitor: Visitor) -> None:
    """Two sign-ins of one second are two. Red if they bear the same word."""
    visitor.sign_in()
    other = Visitor(visitor.port)
    other.sign_in()
    visitor.sign_out()

    assert 200 == other.ask("GET", "/clerk/state")[0]
    visitor.sign_in()
    assert 200 == visitor.ask("GET", "/clerk/state")[0]


# ---- odd moments of hers


@pytest.mark.parametrize("path", ["/clerk/sign-in", "/clerk/sign-out"])
def test_what_is_loaded_again_after_a_mistake_is_her_page(visitor: Visitor, path: str) -> None:
    """A tablet that slept asks for the address once more, and so does who chooses English there. Red if she is told in
    JSON that this cannot be done."""
    status, page = visitor.ask("GET", f"{path}?lang=en")

    assert 200 == status
    assert 'action="/clerk/sign-in"' in page


def test_on_a_full_disk_nobody_sits_down_or_pauses_and_it_is_said(
    visitor: Visitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In words, and all stays as the screens show it, also of a business system's call. Red if the seat changes though
    the answer says that it did not."""
    visitor.sign_in()
    form = re.search(r'name="form" value="(\w+)"', visitor.ask("GET", "/clerk/")[1])
    assert form is not None

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("edge_agent.clerks.write_private", full)
    sign_in = {"number": "018", "pin": "2468", "window": "4"}
    there, page = visitor.ask("POST", "/clerk/sign-in", sign_in, form=True)
    with closing(visitor.connection()) as connection:
        headers = {"Cookie": visitor.cookie, "X-Form": form.group(1)}
        connection.request("POST", "/clerk/pause", '{"paused": true}', headers)
        with connection.getresponse() as response:
            pause, told = response.status, json.loads(response.read())
    put, said = visitor.ask("PUT", "/v1/windows/4/seat", {"clerk": "018"})
    seats = [visitor.ask("GET", f"/v1/windows/{window}/seat")[1] for window in WINDOWS]

    assert [507] * 3 == [there, pause, put]
    assert "写不进磁盘" in page and 'value="018"' in page
    assert "写不进磁盘" in told["error"]["message"] and "写不进磁盘" in said["error"]["message"]
    assert [{"clerk": "018", "paused": False}, {"clerk": "", "paused": False}] == seats


# ---- a bad neighbour in the hall's network


def test_nobody_fills_the_memory_with_what_stands_before_a_body(visitor: Visitor) -> None:
    """A thousand connections, each with a head of a quarter of a megabyte, are more than a window PC has to spare. Red
    with the server's own limit."""
    with closing(visitor.connection()) as connection:
        connection.request("GET", "/clerk/", headers={"X-Padding": "x" * 40_000})
        with connection.getresponse() as response:
            long = response.status

    assert 431 == long


def test_who_has_no_key_is_not_looked_up(visitor: Visitor, box: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link is known by its key alone. Red if whoever is in the network can keep the outbox busy with made-up ones."""
    asked: list[str] = []
    monkeypatch.setattr(box, "invitation", asked.append)
    statuses = {visitor.ask("GET", f"/rate/i/{an_id(number)}/{'0' * 32}/")[0] for number in range(5)}

    assert ({404}, []) == (statuses, asked)
