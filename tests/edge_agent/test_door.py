"""The door over real HTTP: invitations opened once, looked at, followed and ended; and never a word of the level."""

import http.client
import json
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge_agent import clock
from edge_agent.config import WindowSettings
from edge_agent.details import CaseDetails
from edge_agent.door import BODY_MAX, STAYING, STREAMS_MAX, create_app, create_shut, serve
from edge_agent.lines import lines_of
from edge_agent.outbox import Outbox, OutboxFull
from edge_agent.outbox.file import FULL
from edge_agent.outbox.invitations import new_id
from edge_agent.page import Answer as Told
from edge_agent.page import Page
from protocols.cases import about_case, decode_case
from protocols.ratings import Case
from protocols.seal import PrivateKey

from .hall import PATIENCE_S, T0_MS, an_id, closings, held, invitation, keep, press, presses, until

TOKEN = "a-token-of-the-hall"
WINDOWS = {"3": 30, "4": 45}
PATH = "/v1/invitations"
FOLLOWERS = STREAMS_MAX - STAYING
"""Streams that a business system may have."""


@dataclass
class Answer:
    """What the door said."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def field(self) -> str:
        return self.body["error"]["field"]

    @property
    def code(self) -> str:
        return self.body["error"]["code"]

    @property
    def message(self) -> str:
        return self.body["error"]["message"]


class Caller:
    """The hall's business system."""

    def __init__(self, port: int):
        self.port = port

    def ask(self, method: str, path: str, body: Any = None, token: str | None = TOKEN) -> Answer:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        raw = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        with closing(self.connection()) as connection:
            connection.request(method, path, raw, headers)
            with connection.getresponse() as response:
                return Answer(response.status, dict(response.getheaders()), response.read())

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def open(self, number: int = 1, window: str = "3", **more: Any) -> Answer:
        return self.ask("POST", PATH, {"id": an_id(number), "window": window, **more})

    def follow(self, number: int) -> "Stream":
        connection = self.connection()
        connection.request("GET", f"{PATH}/{an_id(number)}/events", headers={"Authorization": f"Bearer {TOKEN}"})
        return Stream(connection)


class Stream:
    """Server-sent events as a browser reads them."""

    def __init__(self, connection: http.client.HTTPConnection):
        self.connection = connection
        self.response = connection.getresponse()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()
        self.connection.close()

    def state(self) -> str:
        """The next state that it tells, or `end`."""
        return self.told()["state"]

    def told(self) -> dict[str, Any]:
        """All of the next event; one that does not come is no reason to wait for ever."""
        until_s = time.monotonic() + PATIENCE_S
        while (line := self.response.readline()) and time.monotonic() < until_s:
            if line.startswith(b"data: "):
                return json.loads(line[6:])
        return {"state": "end"}


@dataclass
class Screen:
    """Window 4's page as far as the door knows it: a disk that takes presses, or does not."""

    answer: Told = Told.KEPT
    said: list[bytes] = field(default_factory=list)

    def __call__(self, body: bytes) -> Told:
        self.said.append(body)
        return self.answer


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
def door(box: Outbox, screen: Screen, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    # A browser that left is noticed at the next comment; no test waits fifteen seconds for it.
    monkeypatch.setattr("edge_agent.door.streams._KEEP_ALIVE_S", 0.05)
    server, port = serve(create_app(box, WINDOWS, TOKEN, clock.now, {"4": screen}), "127.0.0.1", 0)
    yield from running(server, port)


def running(server: Any, port: int) -> Iterator[Caller]:
    thread = threading.Thread(target=server.run)
    thread.start()
    yield Caller(port)
    # In its own thread: closed from here, its select() may meet a file that is gone.
    try:
        server.trigger.pull_trigger(server.close)
    except OSError:
        pass  # that thread was awake, and has closed it before it could be woken
    thread.join(10)
    server.task_dispatcher.shutdown()
    assert not thread.is_alive()


# ---- who may come in


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", TOKEN[:-1], "令牌".encode().decode("latin-1")])
@pytest.mark.parametrize(
    "path", [PATH, f"{PATH}/{an_id(1)}", f"{PATH}/{an_id(1)}/events", "/v1/windows/4/presses", "/", "/nothing"]
)
def test_without_the_token_nobody_comes_in(door, box, token, path):
    """Whatever the address is, and nothing is changed. Red if one route forgets it."""
    box.open_invitation(invitation(1, clock.now()))
    for method in ("GET", "POST", "DELETE"):
        answer = door.ask(method, path, {"window": "4"} if method == "POST" else None, token)

        assert (401, "Authorization") == (answer.status, answer.field)
        assert "令牌不对, 应为 Bearer <door.token> / wrong token" in answer.message
    assert "open" == box.invitation(an_id(1)).state
    assert box.open_id("4") is None


# ---- opening


def test_an_invitation_is_opened(door, box):
    """All that was said of it is kept; the deadline is the window's usual one."""
    answer = door.open(1, case_no="A-1", clerk="王芳", service_number=2)
    asked = box.invitation(an_id(1))

    assert 201 == answer.status
    assert ("3", "open", "A-1", 2) == tuple(
        answer.body[key] for key in ("window", "state", "case_no", "service_number")
    )
    assert 30_000 == answer.body["deadline_ms"] - answer.body["opened_ms"]
    assert ("A-1", 2, "王芳", 30) == (asked.case_no, asked.service_number, asked.clerk, asked.seconds)


def test_a_caller_may_leave_the_id_to_us(door, box):
    """And give its own seconds."""
    answer = door.ask("POST", PATH, {"window": "4", "seconds": 9})

    assert 201 == answer.status
    assert 9_000 == answer.body["deadline_ms"] - answer.body["opened_ms"]
    assert answer.body["id"] == box.open_id("4")


def test_our_ids_stand_in_the_order_of_their_time():
    """A UUID of version 7, whatever the clock says; two of one moment differ. Red with ids of version 4."""
    ids = [uuid.UUID(new_id(at_ms)) for at_ms in (-5, 0, 1, T0_MS - 1, T0_MS, 2**48 - 1)]

    assert [uuid.RFC_4122] * 6 == [each.variant for each in ids]
    assert [7] * 6 == [each.version for each in ids]
    assert sorted(map(str, ids[1:])) == [str(each) for each in ids[1:]]
    assert T0_MS == ids[4].int >> 80
    assert new_id(T0_MS) != new_id(T0_MS)


def test_the_door_makes_them_of_its_own_time(door, box):
    """Those that it is not given."""
    before_ms = clock.now().wall_ms
    answer = door.ask("POST", PATH, {"window": "4"})

    assert before_ms <= uuid.UUID(answer.body["id"]).int >> 80 <= clock.now().wall_ms


def test_the_same_request_again_opens_nothing(door, box):
    """201, then 200 with the state of now: a caller that heard no answer just asks again."""
    first = door.open(1, case_no="A-1")
    again = door.open(1, case_no="A-1")
    keep(box, clock.now(), press(1, button=5))
    later = door.open(1, case_no="A-1")

    assert (201, 200, 200) == (first.status, again.status, later.status)
    assert first.body == again.body
    assert "answered" == later.body["state"]


def test_the_same_request_at_the_same_moment_opens_one(door, box):
    """Two at once, also with replace: one is new, none is an error. Red if only the door looks before it opens."""
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda: answers.append(door.open(1, replace=True)), name=str(number))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [200] * 7 + [201] == sorted(answer.status for answer in answers)
    assert [] == closings(box)


@pytest.mark.parametrize("other", [{"window": "4"}, {"case_no": "B-2"}, {"service_number": 2}])
def test_an_id_is_for_one_case(door, other):
    """A caller that numbers two cases alike would rate the wrong one. Red if the id alone is compared."""
    door.open(1, case_no="A-1")
    answer = door.open(1, **({"case_no": "A-1"} | other))

    assert (409, "id") == (answer.status, answer.field)


def test_a_busy_window_says_which_invitation_is_open(door, box):
    """409, what to do, and the id to withdraw; `replace` does it in one go."""
    door.open(1)
    busy = door.open(2)

    assert (409, "window", an_id(1)) == (busy.status, busy.field, busy.body["error"]["open"])
    assert "先撤回或用 replace / window 3 has an open invitation" in busy.message
    assert 201 == door.open(3, "4").status
    assert 201 == door.open(2, replace=True).status
    assert ["withdrawn"] == [closing.outcome for closing in closings(box)]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 400, ""),
        (b"{", 400, ""),
        (b"\xff\xfe", 400, ""),
        (b'{"window": "3", "clerk": "\xff"}', 400, ""),
        ([], 400, ""),
        ("3", 400, ""),
        (None, 400, ""),
        ({}, 400, "window"),
        ({"window": 3}, 400, "window"),
        ({"window": "9"}, 404, "window"),
        ({"window": "3", "id": "1"}, 400, "id"),
        ({"window": "3", "id": an_id(1).upper().replace("0", "A")}, 400, "id"),
        ({"window": "3", "seconds": 0}, 400, "seconds"),
        ({"window": "3", "seconds": 601}, 400, "seconds"),
        ({"window": "3", "seconds": "30"}, 400, "seconds"),
        ({"window": "3", "seconds": True}, 400, "seconds"),
        ({"window": "3", "case_no": ""}, 400, "case_no"),
        ({"window": "3", "case_no": "x" * 51}, 400, "case_no"),
        ({"window": "3", "service_number": 0}, 400, "service_number"),
        ({"window": "3", "clerk": 7}, 400, "clerk"),
        ({"window": "3", "replace": 1}, 400, "replace"),
        ({"window": "3", "case_number": "A-1"}, 400, "case_number"),
        ({"window": "3", "level": 5}, 400, "level"),
    ],
)
def test_a_wrong_request_names_the_field(door, box, body, status, field):
    """In words, as JSON, and nothing is opened."""
    answer = door.ask("POST", PATH, body)

    assert (status, field) == (answer.status, answer.field)
    assert answer.message
    assert " / " in answer.message
    assert box.open_id("3") is None


@pytest.mark.parametrize("size", [BODY_MAX + 1, 4 * BODY_MAX - 1, 5 * BODY_MAX, 3_000_000])
def test_a_body_that_is_too_long_is_refused(door, size):
    """413, before it is read whole. Red without the limits."""
    body = b'{"window": "3", "clerk": "' + b"x" * (size - 28) + b'"}'
    try:
        answer = door.ask("POST", PATH, body)
    except (BrokenPipeError, ConnectionResetError):
        return  # the answer came before the body had gone

    assert 413 == answer.status


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("PUT", PATH, 405), ("GET", PATH, 405)])
def test_a_wrong_address_is_answered_in_json(door, method, path, status):
    """A caller's parser must not meet HTML."""
    answer = door.ask(method, path)

    assert status == answer.status
    assert answer.message


def test_an_answer_can_be_read_at_a_terminal(door):
    """Chinese as it is and not as \\u5e94; the id first, in an answer and in a stream. Red with Flask's own JSON."""
    opened = door.open(1, case_no="办件-1")
    with door.follow(1) as stream:
        stream.response.readline()
        event = stream.response.readline()

    assert "没有窗口 '9'" in door.open(2, "9").raw.decode()
    assert '"办件-1"' in opened.raw.decode()
    assert list(opened.body) == list(json.loads(event.removeprefix(b"data: ")))
    assert "id" == next(iter(opened.body))


def test_a_full_disk_opens_nothing_and_says_so(door, box, monkeypatch):
    """507, no traceback: the hall's system can tell its clerk."""

    def no_room(*_: object) -> None:
        raise OutboxFull("outbox.db")

    monkeypatch.setattr(box, "open_invitation", no_room)
    answer = door.open(1)

    words = (
        "存储已满, 邀请未打开也未结束, 请稍后再试"
        " / storage is full, no invitation was opened or ended, please try again later"
    )
    assert (507, "storage_full", words) == (answer.status, answer.code, answer.message)
    assert "5" == answer.headers["Retry-After"]


def test_an_agent_that_is_ending_says_so(door, box, caplog):
    """503 and when to come again, no traceback; a stream that was followed ends. Red where the door meets a closed
    database, and where the stream ends with an error."""
    door.open(1)
    with door.follow(1) as stream:
        assert "open" == stream.state()
        box.close()
        assert "end" == stream.state()
    answer = door.open(2)

    words = "代理正在停止, 请稍后再试 / the agent is stopping, please try again in a moment"
    assert (503, "stopping", words) == (answer.status, answer.code, answer.message)
    assert "5" == answer.headers["Retry-After"]
    assert [] == [record.message for record in caplog.records if record.levelname == "ERROR"]


# ---- looking and ending


def test_an_invitation_can_be_looked_at(door, box):
    """Open, then answered; unknown is 404."""
    door.open(1)
    assert "open" == door.ask("GET", f"{PATH}/{an_id(1)}").body["state"]
    keep(box, clock.now(), press(1))
    answer = door.ask("GET", f"{PATH}/{an_id(1)}")

    assert (200, "answered") == (answer.status, answer.body["state"])
    assert answer.body["closed_ms"] >= answer.body["opened_ms"]
    assert (404, "id") == (door.ask("GET", f"{PATH}/{an_id(2)}").status, door.ask("GET", f"{PATH}/x").field)


@pytest.mark.parametrize("outcome", ["", "withdrawn", "declined"])
def test_an_invitation_is_ended_by_the_caller(door, box, outcome):
    """Withdrawn unless it says that the citizen declined; again is the same answer."""
    door.open(1)
    path = f"{PATH}/{an_id(1)}" + (f"?outcome={outcome}" if outcome else "")
    ended = [door.ask("DELETE", path) for _ in range(2)]

    assert [(200, outcome or "withdrawn")] * 2 == [(answer.status, answer.body["state"]) for answer in ended]
    assert [outcome or "withdrawn"] == [closing.outcome for closing in closings(box)]


@pytest.mark.parametrize("outcome", ["answered", "expired", "device_failed", "open", "x"])
def test_a_caller_cannot_say_that_somebody_answered(door, box, outcome):
    """Only a press does that. Red if any outcome is taken."""
    door.open(1)
    answer = door.ask("DELETE", f"{PATH}/{an_id(1)}?outcome={outcome}")

    assert (400, "outcome") == (answer.status, answer.field)
    assert an_id(1) == box.open_id("3")
    assert 404 == door.ask("DELETE", f"{PATH}/{an_id(2)}").status


def test_an_answer_cannot_be_withdrawn(door, box):
    """The clerk saw the citizen press and is too late."""
    door.open(1)
    keep(box, clock.now(), press(1, button=5))
    answer = door.ask("DELETE", f"{PATH}/{an_id(1)}")

    assert (200, "answered") == (answer.status, answer.body["state"])
    assert 2 == len(held(box))


def test_no_answer_ever_tells_the_level(door, box):
    """A clerk who knows who pressed what can take it out on them. Red if the button is shown anywhere."""
    said = [door.open(1), door.open(1)]
    with door.follow(1) as stream:
        assert "open" == stream.state()
        keep(box, clock.now(), press(4_114_711_474, button=5, boot=3_158_150_815))
        assert "answered" == stream.state()
    said += [door.ask("GET", f"{PATH}/{an_id(1)}"), door.ask("DELETE", f"{PATH}/{an_id(1)}"), door.open(1)]
    allowed = {"id", "window", "state", "case_no", "service_number", "opened_ms", "deadline_ms", "closed_ms", "storage"}
    allowed |= {"page"}

    assert all(allowed == set(answer.body) for answer in said)
    # Ten digits, which no time and no id holds by chance.
    told = (b"button", b"level", b"4114711474", b"3158150815")
    assert not any(word in answer.raw for answer in said for word in told)


# ---- following


@pytest.mark.alone
def test_a_stream_tells_the_states_and_ends(door, box):
    """Open at once, the end as soon as it is on the disk, and then the stream is over."""
    door.open(1)
    with door.follow(1) as stream:
        assert "text/event-stream; charset=utf-8" == stream.response.getheader("Content-Type")
        assert "open" == stream.state()
        started = time.monotonic()
        keep(box, clock.now(), press(1))

        assert ["answered", "end"] == [stream.state(), stream.state()]
        assert time.monotonic() - started < 1


def test_a_stream_of_what_has_ended_tells_that(door, box):
    """One state, then the end; unknown is 404."""
    door.open(1)
    door.ask("DELETE", f"{PATH}/{an_id(1)}?outcome=declined")
    with door.follow(1) as stream:
        assert ["declined", "end"] == [stream.state(), stream.state()]
    assert 404 == door.ask("GET", f"{PATH}/{an_id(2)}/events").status


def test_streams_leave_threads_for_invitations(door, box):
    """One too many is told to come back; invitations still open; a stream that ended makes room. Red without a cap."""
    door.open(1)
    door.open(2, "4")
    streams = [door.follow(1) for _ in range(FOLLOWERS)]
    assert ["open"] * FOLLOWERS == [stream.state() for stream in streams]
    refused = door.ask("GET", f"{PATH}/{an_id(2)}/events")

    assert (503, "5") == (refused.status, refused.headers["Retry-After"])
    assert 200 == door.open(2, "4").status
    box.close_invitation(an_id(1), "withdrawn", clock.now())
    assert ["withdrawn"] * FOLLOWERS == [stream.state() for stream in streams]
    for stream in streams:
        stream.__exit__()
    assert until(lambda: takes_a_stream(door, 2))


def test_a_browser_that_left_makes_room(door, box):
    """It is noticed at the next comment. Red if the place is given back only at the end of the invitation."""
    door.open(1)
    for _ in range(FOLLOWERS):
        with door.follow(1) as stream:
            stream.state()

    assert until(lambda: takes_a_stream(door, 1))
    assert an_id(1) == box.open_id("3")


def takes_a_stream(door: Caller, number: int) -> bool:
    with door.follow(number) as stream:
        return stream.response.status == 200


def test_a_name_of_several_addresses_has_one_port(box):
    """`localhost` may be two; a caller gets a port that answers."""
    server, port = serve(create_app(box, WINDOWS, TOKEN, clock.now), "localhost", 0)

    assert port > 0
    server.close()


# ---- presses on a page

PRESSES = "/v1/windows/4/presses"
PRESSED = {"device": "S4", "boot": 7, "count": 1, "button": 5, "age_ms": 120}


def test_a_page_is_told_that_its_press_is_on_disk(door, screen):
    """200 with what it is known by, and the window gets the very bytes."""
    body = json.dumps(PRESSED).encode()
    answer = door.ask("POST", PRESSES, body)

    assert (200, {"kept": True, "boot": 7, "count": 1}) == (answer.status, answer.body)
    assert [body] == screen.said


def test_a_press_that_is_not_on_disk_is_to_be_sent_again(door, screen):
    """503 in words, and the same press again is taken. Red if the page is thanked whatever the window says."""
    screen.answer = Told.NOT_YET
    refused = door.ask("POST", PRESSES, PRESSED)
    screen.answer = Told.KEPT
    again = door.ask("POST", PRESSES, PRESSED)

    assert (503, "not_yet", 200) == (refused.status, refused.code, again.status)
    assert "请重发同一次按键 / not on disk yet, send the same press again" in refused.message
    assert screen.said[0] == screen.said[1]


def test_a_press_that_there_is_no_room_for_is_told_in_words(door, screen):
    """507 with a code that stays, and never a thanks. Red if it is a 503, which a page repeats in silence."""
    screen.answer = Told.REFUSED
    answer = door.ask("POST", PRESSES, PRESSED)

    words = (
        "存储已满, 本次评价没有收下, 请稍后再按"
        " / storage is full, this rating was not accepted, please press again later"
    )
    assert (507, "storage_full", words) == (answer.status, answer.code, answer.message)
    assert "5" == answer.headers["Retry-After"]
    assert "kept" not in answer.body


@pytest.mark.parametrize("why", [("storage_full", "存储已满"), ("storage_read_only", "存储只读")])
def test_a_door_without_an_outbox_says_why_whatever_it_is_asked(why):
    """Before there is room for one; the token is asked for all the same."""
    code, words = why
    server, port = serve(create_shut(TOKEN, code), "127.0.0.1", 0)
    for caller in running(server, port):
        answers = [
            caller.ask("POST", PRESSES, PRESSED),
            caller.open(1),
            caller.ask("GET", f"{PATH}/{an_id(1)}/events"),
            caller.ask("DELETE", f"{PATH}/{an_id(1)}"),
            caller.ask("GET", "/"),
        ]
        assert 401 == caller.ask("POST", PRESSES, PRESSED, token="wrong").status

    assert {(507, code)} == {(answer.status, answer.code) for answer in answers}
    assert f"{words}, 本次评价没有收下, 请稍后再按" == answers[0].message.partition(" / ")[0]
    assert f"{words}, 邀请未打开也未结束, 请稍后再试" == answers[1].message.partition(" / ")[0]


@pytest.mark.parametrize("path", ["/rate/w/3/0123abcd/", "/clerk/"])
def test_a_screen_before_such_a_door_says_so_in_words_and_comes_back_by_itself(path):
    """A tablet that is switched on then has nobody to load it again. Red if it is left with a line of JSON."""
    server, port = serve(create_shut(TOKEN, FULL), "127.0.0.1", 0)
    for caller in running(server, port):
        page = caller.ask("GET", path, token=None)
        state = caller.ask("GET", f"{path}state", token=None)

    assert (507, "5") == (page.status, page.headers["Refresh"])
    assert "存储已满" in page.raw.decode() and "<html" in page.raw.decode()
    assert (507, FULL) == (state.status, state.code)


@pytest.mark.parametrize("window", ["3", "9", "%F0%9F%98%80"])
def test_only_a_page_takes_presses(door, screen, window):
    """Nobody rates for a button panel over the network. Red if any window takes them."""
    answer = door.ask("POST", f"/v1/windows/{window}/presses", PRESSED)

    assert (404, "window") == (answer.status, answer.field)
    assert "pages: 4" in answer.message
    assert [] == screen.said


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"device": ""}, "device"),
        ({"device": "S 4"}, "device"),
        ({"device": "S4\n"}, "device"),
        ({"device": "x" * 33}, "device"),
        ({"device": None}, "device"),
        ({"boot": -1}, "boot"),
        ({"boot": "7"}, "boot"),
        ({"count": 2**63}, "count"),
        ({"count": 1.5}, "count"),
        ({"button": 1000}, "button"),
        ({"button": -1}, "button"),
        ({"age_ms": -1}, "age_ms"),
        ({"age_ms": 10**10}, "age_ms"),
        ({"level": "satisfied"}, "level"),
        ({"invitation": 7}, "invitation"),
        ({"invitation": "x" * 37}, "invitation"),
        ({"invite": an_id(1)}, "invite"),
    ],
)
def test_a_wrong_press_names_the_field(door, screen, change, field):
    """400, and the window hears nothing of it."""
    answer = door.ask("POST", PRESSES, PRESSED | change)

    assert (400, field) == (answer.status, answer.field)
    assert [] == screen.said


@pytest.mark.parametrize("missing", ["device", "boot", "count", "button"])
def test_a_press_without_a_name_is_none(door, screen, missing):
    """Without boot and count the same press twice could not be told from two."""
    answer = door.ask("POST", PRESSES, {name: value for name, value in PRESSED.items() if name != missing})

    assert (400, missing) == (answer.status, answer.field)
    assert [] == screen.said


@pytest.fixture
def page_door(box: Outbox, tmp_path: Path) -> Iterator[Caller]:
    """The door with window 4's real page, carried as the agent carries it."""
    (line,) = lines_of([WindowSettings("4", "S4", profile="screen")], tmp_path, box, clock.now())
    assert isinstance(line.link, Page)
    stop = threading.Event()
    window = threading.Thread(target=line.carry, args=(clock.now, stop))
    window.start()
    server, port = serve(create_app(box, WINDOWS, TOKEN, clock.now, {"4": line.link.press}), "127.0.0.1", 0)
    yield from running(server, port)
    stop.set()
    line.link.wake()
    window.join(10)
    assert not window.is_alive()


def test_a_press_on_a_page_answers_its_invitation(page_door, box):
    """Through the real window to the real disk: thanked means kept, and sent again it is the same press.

    The first answer may be 503: the window had not seen yet that the invitation is open, and the repeat tells.
    """
    page_door.open(1, "4")
    pressed_s = time.monotonic()

    def say() -> int:
        age_ms = int((time.monotonic() - pressed_s) * 1000)
        return page_door.ask("POST", PRESSES, PRESSED | {"age_ms": age_ms}).status

    assert until(lambda: say() == 200)
    assert 200 == say()
    (kept,) = presses(box)
    assert ("S4", 7, 1, 5, an_id(1)) == (kept.device, kept.boot, kept.count, kept.button, kept.invitation)
    assert "answered" == page_door.ask("GET", f"{PATH}/{an_id(1)}").body["state"]


def test_a_page_that_says_what_it_asked_is_answered_at_once(page_door, box):
    """However freshly it was opened. Red if the window's last look decides."""
    for number in range(1, 6):
        page_door.open(number, "4", replace=True)
        answer = page_door.ask("POST", PRESSES, PRESSED | {"count": number, "invitation": an_id(number)})
        assert (200, number) == (answer.status, answer.body["count"])

    assert [an_id(number) for number in range(1, 6)] == [kept.invitation for kept in presses(box)]


# ---- details of the case


CASE = {"service_name": "办结", "applicant_name": "欧阳测试", "mobile": "13912345678"}
KEY = PrivateKey(bytes(range(32)))


@pytest.fixture
def details(tmp_path: Path) -> Iterator[CaseDetails]:
    details = CaseDetails(tmp_path / "outbox.db.details", KEY.public, T0_MS)
    yield details
    details.close()


@pytest.fixture
def sealing(box: Outbox, details: CaseDetails) -> Iterator[Caller]:
    yield from running(*serve(create_app(box, WINDOWS, TOKEN, clock.now, details=details), "127.0.0.1", 0))


def sent(details: CaseDetails) -> list[Case]:
    """What would go to the collector."""
    due = details.due(clock.now(), 1)
    return [
        decode_case(KEY.open(each.sealed, about_case(each.case_no, each.service_number)))
        for each in (due.cases if due else ())
    ]


@pytest.mark.parametrize(
    ("beside", "within"),
    [
        ({"case_no": "C1"}, {}),
        ({}, {"case_no": "C1"}),
        ({"case_no": "C1", "service_number": 2}, {"case_no": "C1", "service_number": 2}),
        ({}, {"case_no": "C1", "service_number": 2}),
    ],
)
def test_details_are_sealed_with_the_invitation(sealing, details, beside, within):
    """The case number may stand in either place; the answer repeats none of them."""
    answer = sealing.open(**beside, case=CASE | within)
    number = (beside | within).get("service_number", 1)

    assert (201, "C1", number) == (answer.status, answer.body["case_no"], answer.body["service_number"])
    assert [Case("C1", number, **CASE)] == sent(details)
    assert "欧阳" not in answer.raw.decode()


def test_the_same_call_once_more_opens_nothing_new(sealing, details):
    for status in (201, 200):
        assert status == sealing.open(case_no="C1", case=CASE).status

    assert [Case("C1", **CASE)] == sent(details)


@pytest.mark.parametrize(
    ("beside", "within", "field"),
    [
        ({}, {}, "case.case_no"),
        ({"case_no": "C1"}, {"mobile": 13912345678}, "case.mobile"),
        ({"case_no": "C1"}, {"applicant_type": "欧阳测试"}, "case.applicant_type"),
        ({"case_no": "C1"}, {"nickname": "x"}, "case.nickname"),
        ({"case_no": "C1"}, {"item_name": "长" * 2_600}, "case"),
    ],
)
def test_what_is_wrong_with_a_case_is_said_and_nothing_opened(sealing, details, box, beside, within, field):
    """By its field, and never what stood in it: that may be a citizen's number."""
    answer = sealing.open(**beside, case=CASE | within)

    assert (400, field) == (answer.status, answer.field)
    assert [] == [value for value in ("13912345678", "欧阳") if value in answer.message]
    assert ([], None) == (sent(details), box.invitation(an_id(1)))


@pytest.mark.parametrize(
    ("beside", "within", "field"),
    [
        ({"case_no": "C1"}, {"case_no": "C2"}, "case.case_no"),
        ({"case_no": "C1", "service_number": 2}, {"service_number": 3}, "case.service_number"),
    ],
)
def test_details_of_another_case_than_the_invitations_are_not_taken(sealing, details, beside, within, field):
    """Red if one of the two were believed: the rating would go under a case that it is not of."""
    answer = sealing.open(**beside, case=CASE | within)

    assert (409, field) == (answer.status, answer.field)
    assert [] == sent(details)


def test_without_a_key_the_case_has_to_go_to_the_collector(door, box):
    """Red if it were kept in clear, or thrown away without a word."""
    answer = door.open(case_no="C1", case=CASE)

    assert (409, "case", "no_details_key") == (answer.status, answer.field, answer.code)
    assert "POST /api/v1/cases" in answer.message
    assert box.invitation(an_id(1)) is None


def test_without_room_nothing_is_opened(sealing, details, box, monkeypatch):
    def full(*_: object) -> None:
        raise OutboxFull("details")

    sealing.open(1)
    monkeypatch.setattr(details, "keep", full)
    answer = sealing.open(2, case_no="C1", case=CASE, replace=True)
    keep(box, clock.now(), press(1))

    assert (507, "storage_full") == (answer.status, answer.code)
    assert [None] == [record.invitation for record in presses(box)], "the next citizen's, of whom nobody could be told"


def test_no_log_tells_how_to_rate(caplog):
    """A page's link bears a key, and a log is read, and sent, by others. Red without the filter."""
    path = "/rate/w/3/c1030fb6a1b2c3d4e5f60718293a4b5c/events"
    for name in ("waitress", "edge_agent.door"):
        logging.getLogger(name).warning("Client disconnected while serving %s", path)

    assert 2 == caplog.text.count("/rate/w/3/…/events") and "c1030fb6" not in caplog.text


def test_how_long_somebody_writes_is_not_told(door, box):
    """The deadline stays as it was opened: moved, it would say that somebody has much to write. Red if it moves."""
    opened = door.open(1, seconds=30).body
    box.stay(an_id(1), 60, clock.now())
    again = create_app(box, WINDOWS, TOKEN, clock.now).test_client()  # as after a restart: it remembers nothing
    after = again.get(f"{PATH}/{an_id(1)}", headers={"Authorization": f"Bearer {TOKEN}"}).json

    assert opened["deadline_ms"] == door.ask("GET", f"{PATH}/{an_id(1)}").body["deadline_ms"] == after["deadline_ms"]
