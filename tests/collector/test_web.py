"""The operators' page and the API: what is shown, what is refused and why, and what must never be seen there."""

from __future__ import annotations

import dataclasses
import http.client
import json
import logging
import re
import socket
import threading
from contextlib import closing

import pytest

from collector import web
from collector.directory import Directory
from collector.ledger.file import FULL
from collector.reconcile import KEYS
from protocols.messages import AgentStatus, Health, WindowHealth
from protocols.ratings import Accepted, Refused
from tests.collector.agents import NOW_MS, Agent, press, rated
from tests.collector.doors import app_of, served
from tests.collector.ledgers import PERSON, Ledger, case, directory_of, window
from tests.collector.people import gate, signed_in

TOKEN = "令牌-token"
EVIL = "<script>alert(1)</script>"
PAGES = ("/", "/board", "/reconcile")
READS = ("summary", "windows", "ratings", "agents", "quarantine", "reconcile", "unratable", "parked")


class Clock:
    now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


class Site:
    """A ledger's web application, as a browser and a hall's business system use it."""

    def __init__(self, ledger: Ledger):
        self.clock = Clock()
        app = app_of(ledger, gate(TOKEN), self.clock)
        self.client = signed_in(app.test_client())

    def get(self, path: str) -> dict:
        answer = self.client.get(f"/api/v1/{path}", headers=bearer())
        assert 200 == answer.status_code, answer.text
        return answer.get_json()

    def page(self, path: str = "/board") -> str:
        answer = self.client.get(path)
        assert (200, "text/html; charset=utf-8") == (answer.status_code, answer.content_type)
        self.clock.now_ms += 10_000  # the next look is a new one
        return answer.text

    def post(self, body: object, token: str = TOKEN):
        raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        return self.client.post("/api/v1/cases", data=raw, headers=bearer(token))


def bearer(token: str = TOKEN) -> dict[str, str]:
    # A header is bytes; WSGI shows them as latin-1.
    return {"Authorization": f"Bearer {token}".encode().decode("latin-1")}


@pytest.fixture
def site(ledger) -> Site:
    return Site(ledger)


# ---- the page


def test_a_bad_rating_that_waits_stands_first_and_an_alarm_names_its_pc(ledger, site):
    """Whoever reads the board has to know where to go. Red if twelve newer good ones hide the bad one."""
    ledger.rate(1, button=2)
    ledger.rate(*range(2, 16))
    for _ in range(15):
        ledger.delivery.park(ledger.delivery.next(NOW_MS, ()), "lacking", "mobile", NOW_MS)
    ledger.intake.note_health("hall-a", Health(1, Agent().epoch, [], alarm="ALARM-1"), NOW_MS)

    assert "不满意" in site.page().split("待处理 <small")[-1].split("<tbody>")[1].split("</tr>")[0]
    assert ["hall-a: ALARM-1"] == site.get("summary")["backlog"]["alarms"]


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("zh", ('<html lang="zh-CN">', "好差评汇聚器", "市民中心", "1号", "不满意", "待发送", "设备按键")),
        ("en", ('<html lang="en">', "Rating collector", "市民中心", "1号", "dissatisfied", "to be sent", "pressed")),
    ],
)
def test_the_page_is_whole_without_scripts_in_either_language(ledger, site, language, texts):
    """The board stands in it at once."""
    ledger.rate(1, button=2)
    page = site.page(f"/?lang={language}")

    assert [] == [text for text in texts if text not in page]
    assert "设备按键" in site.page("/?lang=zh")


def test_the_page_of_an_empty_ledger_renders(opened):
    site = Site(
        opened(
            Directory(),
        )
    )

    assert "还没有评价" in site.page()
    assert "还没有窗口" in site.page()


def test_the_board_says_what_is_wrong(ledger, site):
    """Province away, gaps, alarms, flagged, quarantined, cable out: each in words, and only when it is so."""
    words = [
        "起不可用",
        "段记录",
        "ALARM-1",
        "从未发送成功",
        "隔离消息",
        "线缆断开",
        "代理离线",
        "按键未确认",
        "省平台拒收",
    ]
    before = site.page().partition("<main>")[2]
    assert [] == [each for each in words if each in before]
    agent = Agent()
    agent.write(*rated(1), *rated(2), *rated(3), *rated(4), *rated(5, device="D9", window="w1"))
    ledger.take(agent, agent.batch(3, 10))
    ledger.intake.take_cases([case(f"C{number}") for number in range(2, 5)], NOW_MS)
    for verdict in (Accepted(duplicate=True), Refused("查无此件")):
        due = ledger.delivery.next(NOW_MS, ())
        ledger.delivery.end(due, "rating", ledger.delivery.begin(due, "rating", NOW_MS), verdict, NOW_MS)
    ledger.delivery.province_away("HTTP 503", NOW_MS)
    ledger.intake.quarantine("t", "why", b"x", NOW_MS)
    ledger.intake.note_status("hall-a", AgentStatus(True), NOW_MS)
    windows = [WindowHealth("w1", "cable_out", detail="ttyUSB0"), WindowHealth("w2", "ready")]
    ledger.intake.note_health("hall-a", Health(1, agent.epoch, windows, alarm="ALARM-1"), NOW_MS)

    page = site.page().partition("<main>")[2]
    assert [] == [each for each in words if each not in page and each != "代理离线"]
    assert "按省平台原话处理" in page
    assert "查无此件" not in page  # whose words may name somebody: they stand at the desk, for those who work there
    ledger.intake.note_status("hall-a", AgentStatus(False), NOW_MS)
    assert "代理离线" in site.page()


def test_what_others_wrote_is_shown_and_not_run(opened):
    """Device detail, alarm, province's words, hall: escaped everywhere. Red with |safe anywhere."""
    places = directory_of(window().replace("市民中心", EVIL).replace("1号", EVIL))
    ledger = opened(places)
    site = Site(ledger)
    ledger.rate(1, 2)
    ledger.delivery.park(ledger.delivery.next(NOW_MS, ()), "refused", EVIL, NOW_MS)
    ledger.delivery.province_away(EVIL, NOW_MS)
    agent = Agent()
    ledger.take(agent, agent.write(press(9, "i9", window=EVIL, device=EVIL)))
    ledger.intake.note_status("hall-a", AgentStatus(True), NOW_MS)
    windows = [WindowHealth("w1", "cable_out", detail=EVIL), WindowHealth(EVIL, "ready", detail=EVIL)]
    ledger.intake.note_health("hall-a", Health(1, agent.epoch, windows, alarm=EVIL), NOW_MS)

    for path in PAGES:
        page = site.page(path)
        assert page.count("&lt;script&gt;alert(1)") > (6 if path != "/reconcile" else 3)
        assert "<script>alert" not in page


def test_pages_are_fenced_in(site):
    """No script but ours, no frame around it, nothing cached but the static files; while there is no room too."""
    shut = web.create_shut(FULL).test_client()
    asked = [(site.client, path) for path in (*PAGES, "/api/v1/summary", "/nowhere")]
    for client, path in (*asked, (shut, "/"), (shut, "/api/v1/summary")):
        headers = client.get(path).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert ("nosniff", "same-origin", "no-store") == tuple(
            headers[name] for name in ("X-Content-Type-Options", "Referrer-Policy", "Cache-Control")
        )
    style = site.client.get("/static/page.css")
    assert 200 == style.status_code
    style.close()


def test_the_board_is_counted_once_a_second_however_many_look(ledger, site):
    """And the API is always of now. Red without the second's memory, or if it is kept for longer."""
    assert "非常满意" not in site.client.get("/board").text
    ledger.rate(1)
    assert "非常满意" not in site.client.get("/board").text
    assert 1 == site.get("summary")["ratings"]["received"]
    site.clock.now_ms += 1000
    assert "非常满意" in site.client.get("/board").text
    site.clock.now_ms -= 5_000_000  # a clock that was set back must not freeze it
    ledger.rate(2, button=2)
    assert "不满意" in site.client.get("/board").text


def test_of_very_many_windows_only_those_in_need_are_listed(opened):
    """A province has tens of thousands. The API lists all."""
    places = directory_of(*(window(window=f"w{number}", device=f"D{number}") for number in range(300)))
    ledger = opened(places)
    site = Site(ledger)
    windows = [WindowHealth(f"w{number}", "cable_out" if number == 7 else "ready") for number in range(300)]
    ledger.intake.note_status("hall-a", AgentStatus(True), NOW_MS)
    ledger.intake.note_health("hall-a", Health(NOW_MS, Agent().epoch, windows), NOW_MS)

    page = site.page()
    assert "7号" in page
    assert "8号" not in page
    assert "8号" in site.page("/?q=8号")
    assert "<b>99</b> 个窗口未列出" in site.page("/?state=ready")
    assert 300 == len(site.get("windows")["windows"])


# ---- the API


def test_the_api_gives_counts_that_add_up(ledger, site):
    ledger.rate(1, 2, button=2)
    ledger.rate(3)
    summary = site.get("summary")

    assert {"received": 3, "accepted": 0, "parked": 0, "waiting": 3} == summary["ratings"]
    assert 2 == summary["bad"]["received"]
    assert (6, 3, 3) == (summary["records"], summary["presses"], summary["all"]["in_ledger"])
    assert set(KEYS) == set(site.get("reconcile")["all"])
    assert 3 == len(site.get("ratings")["ratings"])
    assert 2 == len(site.get("ratings?most=2")["ratings"])


def test_a_person_with_the_token_finds_what_is_parked(ledger, site):
    """With its case number, which a page on a wall does not show."""
    ledger.rate(77)
    ledger.delivery.park(ledger.delivery.next(NOW_MS, ()), "refused", "不行", NOW_MS)

    (parked,) = site.get("parked")["parked"]
    assert ("C77", "refused", "不行") == (parked["case_no"], parked["reason"], parked["words"])
    assert 401 == site.client.get("/api/v1/parked", headers=bearer("x")).status_code
    assert "C77" not in site.page()
    assert "C77" not in json.dumps([site.get(path) for path in READS if path != "parked"])


@pytest.mark.parametrize("most", ["0", "-1", "x", "1000", "1e1", "", "٣"])
def test_a_wrong_number_is_named(site, most):
    answer = site.client.get("/api/v1/ratings", query_string={"most": most})

    assert (400, "most") == (answer.status_code, answer.get_json()["error"]["field"])


def test_a_page_that_is_not_there_says_so_in_its_heading(site):
    """Who mistyped an address is not told that something was not done; nor is a window that is none."""
    for path in ("/no-such-page", "/parked/99999"):
        answer = site.client.get(path, headers={"Accept": "text/html"})

        assert 404 == answer.status_code, path
        assert "<h1>没有找到</h1>" in answer.text, path


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/x", 404), ("POST", "/api/v1/summary", 405), ("PUT", "/api/v1/cases", 405)]
)
def test_errors_are_json(site, method, path, status):
    answer = site.client.open(path, method=method)

    assert status == answer.status_code
    assert {"field", "message"} == set(answer.get_json()["error"])


def test_a_browser_that_asks_for_what_is_only_done_is_told_in_words(site):
    """As when somebody reloads the answer to a form in the other language. Red if a person is shown JSON."""
    answer = site.client.get("/people/x/role", headers={"Accept": "text/html"})

    assert (405, "text/html", "OPTIONS, POST") == (
        answer.status_code,
        answer.mimetype,
        ", ".join(sorted(answer.headers["Allow"].split(", "))),
    )
    assert "回到看板" in answer.text


@pytest.mark.parametrize("path", ["/reconcile", "/api/v1/reconcile"])
def test_days_in_the_wrong_order_are_named_and_not_called_explained(ledger, site, path):
    """Red if whoever exchanges two days is told that nothing is unexplained, of no day at all."""
    answer = site.client.get(f"{path}?from=2027-01-16&to=2027-01-15")

    assert 409 == answer.status_code
    assert "全部说得清" not in answer.text
    assert 200 == site.client.get(f"{path}?from=2027-01-15&to=2027-01-15").status_code


# ---- cases


def details(**other) -> dict:
    """Complete details as JSON."""
    return dataclasses.asdict(case()) | other


def test_posting_a_case_makes_its_rating_due_and_again_changes_nothing(ledger, site):
    ledger.rate(1, with_case=False)

    assert {"taken": 1, "changed": 1, "lacking": []} == site.post(details()).get_json()
    assert {"C1": "due"} == ledger.states()
    assert {"taken": 1, "changed": 0, "lacking": []} == site.post(details()).get_json()
    assert {"taken": 2, "changed": 1, "lacking": []} == site.post([details(), details(case_no="C2")]).get_json()


def test_posting_a_case_tells_at_once_what_the_province_will_miss(ledger):
    """Not only when its rating is parked; the names of the fields, never what stands in them."""
    app = app_of(ledger, gate(TOKEN), lambda: 0, case_lacks=lambda case: ("mobile",))
    answer = app.test_client().post("/api/v1/cases", json=details(), headers=bearer()).get_json()

    assert [{"case_no": "C1", "service_number": 1, "fields": ["mobile"]}] == answer["lacking"]


def test_a_word_that_is_not_on_a_list_is_told_the_list(site):
    """The list is no secret; what was given may be."""
    answer = site.post(details(status="办结"))

    assert "pending, accepted, finished" in answer.get_json()["error"]["message"]
    assert "办结" not in answer.get_data(as_text=True)


@pytest.mark.parametrize("token", ["", "wrong", "令牌", "令牌-tokenx", TOKEN.upper()])
def test_without_the_token_nothing_is_written(ledger, site, token):
    answer = site.post(details(), token)

    assert (401, "Authorization") == (answer.status_code, answer.get_json()["error"]["field"])
    assert 0 == ledger.count("service_case")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", ""),
        (b"{", ""),
        (b'"text"', ""),
        (b"[]", ""),
        ([details()] * 501, ""),
        ([details(), 7], "[1]"),
        ({"service_number": 1}, "case_no"),
        (details(case_no=""), "case_no"),
        (details(case_no="x" * 51), "case_no"),
        (details(case_no=5), "case_no"),
        (details(service_number=0), "service_number"),
        (details(service_number=100), "service_number"),
        (details(service_number="1"), "service_number"),
        (details(service_ms="today"), "service_ms"),
        (details(status="PERSONAL-13911111111"), "status"),
        (details(applicant_type="PERSONAL-13911111111"), "applicant_type"),
        (details(mobile=13911111111), "mobile"),
        (details(applicant_name=["PERSONAL"]), "applicant_name"),
        ([details(), details(handler_name=None)], "[1].handler_name"),
        (details(case_number="PERSONAL"), "case_number"),
    ],
)
def test_a_wrong_case_is_named_by_field_and_nothing_of_it_is_repeated(ledger, site, body, field):
    """4xx JSON with the field; what stood in it may be somebody's number. Nothing is kept, not even the right ones."""
    answer = site.post(body)

    assert (400, field) == (answer.status_code, answer.get_json()["error"]["field"])
    assert answer.get_json()["error"]["message"]
    assert "PERSONAL" not in answer.text
    assert "13911111111" not in answer.text
    assert 0 == ledger.count("service_case")


def test_a_body_without_end_is_not_read(site):
    answer = site.post(b"[" + b" " * web.BODY_MAX + b"]")

    assert 413 == answer.status_code
    assert answer.get_json()["error"]["message"]


def test_what_is_far_too_long_is_refused_before_it_is_taken(ledger):
    """Anybody may announce a gigabyte. Red if the server waits for it, and puts it on the disk."""
    with (
        served(app_of(ledger, gate(TOKEN), Clock())) as port,
        closing(socket.create_connection(("127.0.0.1", port))) as to,
    ):
        to.settimeout(5)
        to.sendall(b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\n")
        answer = to.recv(4096)

    assert b"413" == answer.split()[1]


def test_odd_text_is_kept_or_refused_and_never_breaks_anything(ledger, site):
    """Lone surrogates, NUL, deep nesting: no 500."""
    for raw in (b'{"case_no":"\\ud800"}', b'{"case_no":"a\\u0000b"}', b"[" * 50_000, b'{"case_no":"\xff"}'):
        assert site.post(raw).status_code in (200, 400)

    assert 200 == site.client.get("/").status_code


def test_nobodys_details_are_seen(ledger, site, caplog):
    """Names, certificates and phones: in no page, no API answer, no error and no log, wherever they were put."""
    caplog.set_level(logging.DEBUG)
    ledger.rate(1, 2, with_case=False)
    seen = [site.post(details()).text, site.post(details(case_no="C2", dept_name="")).text]
    for name, value in PERSON.items():
        seen.append(site.post(details(status=value)).text)
        seen.append(site.post(details(service_number=value)).text)
        seen.append(site.post({name: value}).text)
        seen.append(site.post(details(case_no=value * 9)).text)
        seen.append(site.post([details(), value]).text)
        seen.append(site.client.post("/api/v1/cases", data=json.dumps(details())).text)
    ledger.delivery.park(ledger.delivery.next(NOW_MS, ()), "lacking", "dept_name", NOW_MS)
    seen += [site.page(path) for path in PAGES]
    seen += [json.dumps(site.get(path), ensure_ascii=False) for path in READS]
    everything = "\n".join(seen) + caplog.text

    assert [] == [value for value in PERSON.values() if value in everything]


# ---- the server


# waitress closes its sockets under its own loop when another thread closes it; the program ends with its process.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_it_serves_on_a_port_of_its_own(ledger, host):
    """One server with one port, behind a name too."""
    app = app_of(ledger, gate(TOKEN), lambda: NOW_MS)
    server = web.serve(app, host, 0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.effective_port, timeout=5)
    connection.request("GET", "/api/v1/summary", headers=bearer())
    answer = connection.getresponse()

    assert 200 == answer.status
    assert answer.getheader("Server") is None
    connection.close()
    server.close()
    thread.join(10)  # or its complaint comes in the middle of the next test


@pytest.mark.parametrize("host", ["no.such.host.invalid", "999.1.1.1"])
def test_an_address_that_cannot_be_had_is_named(ledger, host):
    app = app_of(ledger, gate(TOKEN), lambda: NOW_MS)

    with pytest.raises(OSError) as failure:
        web.serve(app, host, 0)
    assert f"web {host}:0" == failure.value.filename


def test_a_request_that_waits_for_a_thread_is_no_news_and_a_page_that_broke_is(caplog):
    """In whatever level the program logs. Red with "Task queue depth" in the terminal of whoever tries it out."""
    for name in ("waitress.queue", "waitress"):
        logging.getLogger(name).warning("Task queue depth is 1" if name == "waitress.queue" else "a page broke")
    logging.getLogger("waitress.queue").error("no thread is left")

    assert ["a page broke", "no thread is left"] == caplog.messages


def test_the_last_ratings_lead_to_their_own_page_and_to_their_window(ledger, site):
    """Red if whoever reads of a rating has to look for it by hand."""
    ledger.rate(1)
    page = site.client.get("/").text
    last = page[page.index("最近评价 <small>") :]

    assert '<a href="/parked/1">' in last and '<a href="/windows/hall-a/w1">' in last
    assert 200 == site.client.get("/parked/1").status_code


def test_what_came_late_shows_when_it_came_and_stands_where_that_belongs(ledger, site):
    """Board and window: the order is that of the first column. Red if only the press is dated: a late one looks as if
    the list were not in order."""
    agent = Agent("hall-a")
    first = agent.write(*rated(60))
    ledger.take(agent, first, NOW_MS + 61_000)
    ledger.take(agent, agent.write(*rated(5)), NOW_MS + 90_000)
    board, window_page = site.page("/?lang=zh"), site.page("/windows/hall-a/w1?lang=zh")
    tables = board[board.index("最近评价 <small>") :], window_page[window_page.index("最近的按键 <small>") :]

    for table in tables:
        times = re.findall(r"16:0\d:\d\d", table)
        assert ["16:01:30", "16:00:05", "16:01:01", "16:01:00"] == times
