"""The door of the operators' pages: what is shown to whom, and which forms are our own."""

from __future__ import annotations

import http.client
import re

import pytest

from collector.people import open_people
from collector.vault import masked
from collector.web.keeper import Keeper
from tests.collector.agents import NOW_MS
from tests.collector.doors import app_of, served
from tests.collector.ledgers import case
from tests.collector.people import NAMES, PASSWORD, gate, signed_in
from tests.collector.test_desk import park
from tests.collector.test_web import Clock, bearer

HTML = {"Accept": "text/html,application/xhtml+xml"}
OPEN = ("/static/", "/look/", "/sign-in", "/healthz", "/metrics")  # the last asks for a token itself


class Door:
    """An application with people of its own, in a real file."""

    def __init__(self, ledger, folder):
        self.clock = Clock()
        self.people, _ = open_people(folder / "ledger.db", NOW_MS)
        self.keeper = Keeper(self.people, "t", self.clock)
        self.app = app_of(ledger, self.keeper, self.clock)

    def add(self, role: str = "operator", once: bool = False) -> str:
        name = NAMES[role]
        self.people.add(name, role, PASSWORD, "test", "", NOW_MS, once)
        return name

    def browser(self, name: str):
        """Signed in."""
        client = self.app.test_client()
        answer = client.post("/sign-in", data={"name": name, "password": PASSWORD}, headers=HTML)
        assert 303 == answer.status_code, answer.text
        return client


@pytest.fixture
def door(ledger, tmp_path):
    ledger.rate(1, button=2)
    park(ledger, "refused", "手机号不对")
    found = Door(ledger, tmp_path)
    yield found
    found.people.close()


def addresses(app) -> list[tuple[str, str]]:
    """Every method and address that there is, with something in its blanks."""
    with app.test_request_context():
        rules = [rule for rule in app.url_map.iter_rules() if not rule.rule.startswith(OPEN)]
    found = []
    for rule in rules:
        blanks = {"name": "x", "rating": 1, "number": 1, "what": "correct", "agent": "hall-a", "window": "w1"}
        path = rule.build({name: blanks.get(name, "1") for name in rule.arguments}, append_unknown=False)[1]
        found += [(method, path) for method in rule.methods - {"HEAD", "OPTIONS"}]
    return found


def test_nothing_is_shown_to_who_has_not_signed_in(door, ledger):
    """Every address that there is, and those that are not. Red if a page is added beside the keeper."""
    door.add()
    client = door.app.test_client()
    there = [*addresses(door.app), ("GET", "/nowhere")]
    assert len(there) > 30
    for method, path in there:
        answer = client.open(path, method=method)
        assert 401 == answer.status_code, (method, path)
        assert "手机号" not in answer.text
        if method == "GET" and not path.startswith("/api/"):
            answer = client.get(path, headers=HTML)
            assert (303, True) == (answer.status_code, answer.headers["Location"].startswith("/sign-in")), path
    assert {"C1": "parked refused"} == ledger.states()


def test_before_there_is_anybody_every_page_says_how_to_begin(door):
    """In words of both languages, and nothing else; programs with the token go on."""
    client = door.app.test_client()
    for path in ("/", "/parked", "/sign-in", "/nowhere"):
        answer = client.get(path, headers=HTML)
        assert (403, True) == (answer.status_code, "collector people add NAME --role administrator" in answer.text)
        assert "Nobody can sign in yet" in client.get(path, headers=HTML | {"Accept-Language": "en"}).text

    assert "collector people add" in client.get("/api/v1/summary").get_json()["error"]["message"]
    assert 200 == client.get("/api/v1/summary", headers=bearer("t")).status_code


def test_the_reading_api_takes_a_session_or_the_token(door):
    """Writing takes the token alone: a script that changes something is a program."""
    browser, program = door.browser(door.add()), door.app.test_client()

    assert 200 == browser.get("/api/v1/summary").status_code == browser.get("/api/v1/parked").status_code
    assert 200 == program.get("/api/v1/summary", headers=bearer("t")).status_code
    assert 401 == program.get("/api/v1/summary", headers=bearer("x")).status_code
    assert 401 == browser.get("/api/v1/summary", headers=bearer("x")).status_code
    assert 401 == browser.post("/api/v1/parked/1/give-up", json={"who": "a", "why": "b"}).status_code
    assert 401 == browser.post("/api/v1/cases", json={"case_no": "C1"}).status_code


# ---- roles


@pytest.mark.parametrize(
    ("path", "who"),
    [
        ("/parked", "viewer operator auditor administrator"),
        ("/quarantine", "viewer operator auditor administrator"),
        ("/unratable", "viewer operator auditor administrator"),
        ("/quarantine/1", "operator auditor administrator"),
        ("/parked/send-again?reason=refused", "operator administrator"),
        ("/log", "auditor administrator"),
        ("/log.csv", "auditor administrator"),
        ("/log.xlsx", "auditor administrator"),
        ("/export", "viewer operator auditor administrator"),
        ("/api/v1/parked", "operator auditor administrator"),
        ("/api/v1/ratings", "operator auditor administrator"),
        ("/api/v1/quarantine", "operator auditor administrator"),
        ("/api/v1/summary", "viewer operator auditor administrator"),
        ("/people", "administrator"),
    ],
)
def test_each_page_is_for_those_who_need_it(ledger, path, who):
    ledger.intake.quarantine("hcp/v1/hall-a/batch", "why", b"x", NOW_MS)
    app = app_of(ledger, gate(), lambda: NOW_MS)
    answers = {role: signed_in(app.test_client(), role).get(path, headers=HTML).status_code for role in NAMES}

    assert {role: 200 if role in who.split() else 403 for role in NAMES} == answers


@pytest.mark.parametrize("role", ["viewer", "operator", "auditor"])
def test_whoever_only_looks_sees_nobodys_case(ledger, role):
    """What waits where, and why, is for everybody; the case, masked or not, its number, what the province wrote
    about it and what people noted is not for the screen in the hall. Red if a viewer's page has any of it."""
    ledger.rate(1, 2, button=2)
    park(ledger, "refused", "手机号不对: 王某")
    ledger.desk.correct(1, {"item_name": "身份证补领"}, "李敏", "与王某核对过", NOW_MS)
    park(ledger, "refused", "手机号不对: 王某")
    client = signed_in(app_of(ledger, gate(), lambda: NOW_MS).test_client(), role)
    one, listed, board = (client.get(path, headers=HTML).text for path in ("/parked/1", "/parked", "/"))
    secret = {"C1/1", "王某", masked(case("C1")).applicant_name, "身份证补领"}

    assert "更正办件" in one and "省平台拒收" in one and "省平台拒收" in listed
    assert (set() if role == "viewer" else secret) == {each for each in secret if each in one}
    assert (role != "viewer") == ("王某" in listed)
    assert (role != "viewer") == any(f"C{n}/1" in listed for n in (1, 2))
    assert "王某" not in board


def test_board_and_desk_count_the_same(ledger):
    """What the desk lists is on the board too, part by part: what is parked, and what awaits its case. Red if somebody
    reads 0 on the one and finds three on the other."""
    ledger.rate(1, 2, 3, with_case=False)
    ledger.intake.take_cases([case("C1")], NOW_MS)
    park(ledger, "refused", "x")
    client = signed_in(app_of(ledger, gate(), lambda: NOW_MS).test_client())
    said = {path: re.sub("<[^>]+>", "", client.get(path, headers=HTML).text) for path in ("/", "/parked")}

    assert "待处理台 上有 3 条: 待处理 1 + 等待办件信息 2" in said["/"]
    assert "共 3 条待处理 1 + 等待办件信息 2" in said["/parked"]
    ledger.desk.give_up(1, "李敏", "x", NOW_MS)
    app = app_of(ledger, gate(), lambda: NOW_MS)
    later = re.sub("<[^>]+>", "", signed_in(app.test_client()).get("/", headers=HTML).text)
    assert "上有 2 条: 待处理 0 + 等待办件信息 2 (上面算在等待中) · 另有 1 条已决定不再上报" in later


def test_who_may_only_look_does_nothing(ledger):
    """With a right form of their own."""
    ledger.rate(1)
    park(ledger, "refused", "x")
    keeper = gate()
    app = app_of(ledger, keeper, lambda: NOW_MS)
    for role in ("viewer", "auditor"):
        client = signed_in(app.test_client(), role)
        for path in ("/parked/1/send-again", "/parked/1/give-up", "/parked/send-again", "/people"):
            answer = client.post(path, data={"form": form_of(client), "why": "x", "reason": "refused"})
            assert (403, "role") == (answer.status_code, answer.get_json()["error"]["field"])

    assert {"C1": "parked refused"} == ledger.states()


def form_of(client) -> str:
    """The hidden word of this session's forms."""
    page = client.get("/password", headers=HTML).text
    return page.split('name="form" value="')[1].split('"')[0]


# ---- forms


def test_a_form_that_is_not_our_own_is_refused(door, ledger):
    """Without its word, with another session's, from another site. Red if any of them does something."""
    mine, other = door.browser(door.add()), door.browser(door.add("administrator"))
    right, wrong = {"form": form_of(mine), "why": "x"}, {"form": form_of(other), "why": "x"}
    for data, headers in (
        ({"why": "x"}, {}),
        (wrong, {}),
        (right | {"form": ""}, {}),
        (right, {"Origin": "http://evil.example"}),
        (right, {"Origin": "null"}),
        (right, {"Origin": "http://["}),
        (right, {"Sec-Fetch-Site": "cross-site"}),
        (right, {"Sec-Fetch-Site": "same-site"}),
    ):
        answer = mine.post("/parked/1/send-again", data=data, headers=headers)
        assert 403 == answer.status_code, (data, headers)
    assert {"C1": "parked refused"} == ledger.states()
    headers = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}

    assert 303 == mine.post("/parked/1/send-again", data=right, headers=headers).status_code
    assert {"C1": "due"} == ledger.states()


def test_a_script_of_ours_shows_the_same_word_in_a_header(door, ledger):
    mine = door.browser(door.add())

    assert 303 == mine.post("/parked/1/give-up", data={"why": "x"}, headers={"X-Form": form_of(mine)}).status_code
    assert {"C1": "parked given_up"} == ledger.states()


def test_nobody_is_signed_in_by_another_site(door):
    """A person would work under somebody else's name."""
    data = {"name": door.add(), "password": PASSWORD}
    answer = door.app.test_client().post("/sign-in", data=data, headers={"Origin": "http://evil.example"})

    assert (403, None) == (answer.status_code, answer.headers.get("Set-Cookie"))


@pytest.mark.parametrize("to", ["//evil.example", "/\\evil.example", "https://evil.example", "x", "/\tevil", "/a b"])
def test_signing_in_leads_nowhere_else(door, to):
    answer = door.app.test_client().post("/sign-in", data={"name": door.add(), "password": PASSWORD, "to": to})

    assert (303, "/") == (answer.status_code, answer.headers["Location"])


# ---- the session


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_cookie_is_for_this_site_and_for_no_script(door, scheme):
    """Over TLS alone where the page came by TLS."""
    data = {"name": door.add(), "password": PASSWORD}
    answer = door.app.test_client().post("/sign-in", data=data, base_url=f"{scheme}://localhost")
    (cookie,) = [each for each in answer.headers.getlist("Set-Cookie") if each.startswith("collector-")]

    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert (scheme == "https") == ("Secure" in cookie)


def test_who_is_locked_out_is_not_told_that_the_old_password_is_wrong(door):
    """Anybody can type a name wrongly five times. Red if its owner, who types the right password, is told that it is
    wrong, and not until when to wait."""
    name = door.add()
    client = door.browser(name)
    for _ in range(5):
        door.app.test_client().post("/sign-in", data={"name": name, "password": "x"}, headers=HTML)
    data = {"form": form_of(client), "old": PASSWORD, "password": "another-long-word", "again": "another-long-word"}
    answer = client.post("/password", data=data, headers=HTML)

    assert (400, False) == (answer.status_code, "原密码不对" in answer.text)
    assert "请在 2027-01-15 16:01 之后再试" in answer.text


def test_a_password_that_was_given_out_is_changed_before_anything_else(door):
    client = door.browser(door.add(once=True))
    for path in ("/", "/parked", "/log"):
        answer = client.get(path, headers=HTML)
        assert (303, "/password") == (answer.status_code, answer.headers["Location"])
    assert 403 == client.get("/api/v1/summary").status_code
    data = {"form": form_of(client), "old": PASSWORD, "password": "another-long-word", "again": "another-long-word"}

    assert 400 == client.post("/password", data=data | {"again": "x"}).status_code
    assert 303 == client.post("/password", data=data).status_code
    assert 200 == client.get("/parked", headers=HTML).status_code


def test_a_board_left_alone_signs_its_operator_out(door):
    """What it fetches by itself is nothing that somebody does. Red if it keeps the session for ever."""
    client = door.browser(door.add())
    for _ in range(4):
        door.clock.now_ms += 10 * 60_000
        answer = client.get("/board")

    assert 401 == answer.status_code


def test_a_copied_session_of_another_collector_is_none(door, ledger):
    """Two on one machine share their cookies: each has a name of its own."""
    app = app_of(ledger, gate(), door.clock)
    client = door.browser(door.add())
    signed_in(client)

    assert 200 == client.get("/parked", headers=HTML).status_code
    assert 401 == app.test_client().get("/parked").status_code


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_name_with_a_slash_in_it_is_whole_in_both_languages(door, ledger, language):
    """Our own words are written as Chinese / English, and a case's are not ours. Red if whoever compares a case, and
    links it once and for good, sees half of its name."""
    ledger.intake.take_cases([case("C1", item_name="设立 / 变更登记")], NOW_MS)
    client = door.browser(door.add())
    shown = client.get(f"/parked/1?lang={language}").text.split('class="facts card"')[2]

    assert "设立 / 变更登记" in shown
    assert {"zh": "线下", "en": "offline"}[language] in shown
    assert "线下 / offline" not in shown


def test_nothing_that_was_not_done_stands_in_the_log(door):
    """Red if an operator can write a sentence into it by sending again what there is not."""
    client = door.browser(door.add())
    made_up = {"form": form_of(client), "reason": "refused", "hall": "以及全部差评 as-is", "why": "x"}

    assert 303 == client.post("/parked/send-again", data=made_up).status_code
    assert ["signed_in"] == [line.action for line in door.people.log.lines(1)]


def test_the_log_goes_into_a_table_and_no_cell_of_it_runs(door):
    """Filtered as the page is; that it was exported is a line too."""
    client = door.browser(door.add("administrator"))
    door.people.log.note("=HYPERLINK(1)", "parked_corrected", "@x", "", NOW_MS)
    table = client.get("/log.csv?action=parked_corrected").text

    assert 2 == len(table.strip().splitlines())
    assert ",'=HYPERLINK(1),更正办件 / case put right @x" not in table
    assert ",'=HYPERLINK(1),更正办件 @x," in table
    assert ",parked_corrected,'@x" in table
    assert "log_exported" == door.people.log.lines(1)[0].action


# waitress closes its sockets under its own loop when another thread closes it; the program ends with its process.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(("trusted", "address", "secure"), [("127.0.0.1", "10.9.8.7", True), ("", "127.0.0.1", False)])
def test_a_proxy_is_believed_where_it_is_named_and_nobody_else(door, trusted, address, secure):
    """Otherwise anybody could say from where they come, and escape each lock-out."""
    name = door.add()
    headers = {"X-Forwarded-For": "10.9.8.7", "X-Forwarded-Proto": "https"}
    headers |= {"Content-Type": "application/x-www-form-urlencoded"}
    with served(door.app, trusted=trusted) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/sign-in", f"name={name}&password={PASSWORD}".encode(), headers)
        cookie = connection.getresponse().getheader("Set-Cookie")
        connection.close()

    assert secure == ("Secure" in cookie)
    assert address == door.people.log.lines(1)[0].address


def test_a_board_tells_nothing_more_to_who_may_not_see_it_any_longer(door, monkeypatch):
    """A stream is opened once and lasts for hours. Red if only its beginning asks who is there."""
    monkeypatch.setattr("collector.web.board._ASKED_TURNS", 2)
    name = door.add()
    stream = iter(door.browser(name).get("/board/stream", buffered=False).response)
    assert "retry" in next(stream).decode() and "data" in next(stream).decode()
    door.people.set_disabled(name, True, "test", "", NOW_MS)

    assert 3 > len(list(stream))


def test_the_page_of_people_says_which_role_approves_a_mending(ledger):
    """Red if an administrator has to try it out, or is not told that nobody approves their own work."""
    app = app_of(ledger, gate(), lambda: NOW_MS)
    page = signed_in(app.test_client(), "administrator").get("/people", headers=HTML).text

    for role, words in (
        ("查看人员", "不办理也不审批差评整改"),
        ("处理人员", "办理差评整改, 不能审批"),
        ("审计人员", "; 审批差评整改"),
        ("管理员", "自己办理过的差评整改不能审批"),
    ):
        (line,) = [each for each in page.splitlines() if f"<b>{role}</b>" in each]
        assert words in line
