"""The pages and the API of mendings, draws and statistics: who may see and do what, and what is said."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import subprocess

import pytest
from click.testing import CliRunner

from collector.cli import main
from tests.collector.agents import NOW_MS
from tests.collector.doors import app_of
from tests.collector.gates import WORD, StandIn, known, works_of
from tests.collector.ledgers import PERSON, window
from tests.collector.test_mending import SECRET, WAY

DAY_MS = 86_400_000


class Site:
    def __init__(self, ledger):
        self.gate, self.now_ms, self.ledger = StandIn(), NOW_MS + DAY_MS, ledger
        self.works = works_of(ledger)
        self.app = app_of(ledger, self.gate, lambda: self.now_ms, works=self.works)

    def ask(self, method: str, path: str, name: str = "李敏", role: str = "operator", **more):
        client = self.app.test_client()
        client.set_cookie("as", known(name, role))
        return getattr(client, method)(path, **more)

    def step(self, rating: int, move: str, words: str = "", seen: int = 0, **who):
        form = {"form": WORD, "move": move, "words": words, "seen": str(seen)}
        return self.ask("post", f"/mending/{rating}", data=form, **who)


@pytest.fixture
def site(ledger) -> Site:
    ledger.rate(1)
    ledger.rate(2, button=2)
    ledger.rate(3, button=3)
    return Site(ledger)


def test_an_item_goes_its_way_by_two_people_on_the_page(site):
    """Each step is noted by the gate; the approval is another person's, and an auditor's."""
    for at, (what, outcome, words, who) in enumerate(WAY):
        role = "auditor" if what == "close" else "operator"
        assert 303 == site.step(2, f"{what}:{outcome}", words, at, name=who, role=role).status_code

    assert "按期办结" in site.ask("get", "/mending/2").text
    assert [who for *_, who in WAY] == [name for name, _, _ in site.gate.notes]
    assert ("王芳", "mending_close", "#2 approved") == site.gate.notes[-1]


@pytest.mark.parametrize(
    ("move", "role", "status"),
    [
        ("check:founded", "viewer", 403),
        ("check:founded", "auditor", 403),
        ("close:approved", "operator", 403),
        ("close:approved", "viewer", 403),
        ("check:founded", "operator", 303),
        ("check:founded", "administrator", 303),
        ("", "operator", 400),
        ("close:approved", "auditor", 400),
    ],
)
def test_who_may_note_which_step(site, move, role, status):
    assert status == site.step(2, move, "x", role=role).status_code
    assert (1 if status == 303 else 0) == site.ledger.count("step") == len(site.gate.notes)


def test_a_form_that_is_not_our_own_does_nothing(site):
    """Red without gate.form() in each of them."""
    forms = [
        ("/mending/2", {"move": "check:founded", "words": "x", "seen": "0"}, "operator"),
        ("/draws", {"from": "2027-01-01", "to": "2027-02-01", "number": "1", "kind": "all", "why": "x"}, "auditor"),
        ("/draws/1", {"rating": "1", "outcome": "sound"}, "auditor"),
    ]

    assert [403, 403, 403] == [site.ask("post", path, role=role, data=form).status_code for path, form, role in forms]
    assert 0 == site.ledger.count("step") + site.ledger.count("draw")


def test_a_viewer_sees_how_it_stands_and_nobodys_words(site):
    """Nor the citizen's text, nor the case. Red if the template shows words to anybody."""
    site.step(2, "check:founded", SECRET)
    shown = site.ask("get", "/mending/2", role="viewer").text
    worked = site.ask("get", "/mending/2").text

    assert "待整改" in shown and "李敏" in shown
    assert SECRET not in shown and "C2" not in shown and "textarea" not in shown
    assert SECRET in worked and "C2/1" in worked and "139****5678" in worked
    assert not [value for value in PERSON.values() if value in worked.replace(SECRET, "")]


def test_a_mistake_leaves_what_was_written(site):
    """And says what is wrong, beside it."""
    answer = site.step(2, "check:founded", "  ")
    again = site.step(2, "check:malicious", "", seen=7)

    assert (400, True) == (answer.status_code, "请写明情况" in answer.text)
    assert 'value="check:founded" checked' in answer.text
    assert 400 == again.status_code
    kept = site.step(2, "check:founded", "我写了很久", seen=3)
    assert "别人刚刚记了一步" in kept.text and "我写了很久" in kept.text


def test_the_tabs_say_how_many_and_the_list_is_of_the_chosen(site):
    site.now_ms = NOW_MS + 40 * DAY_MS
    site.step(3, "check:mistaken", "按错了")
    site.step(3, "close:approved", "", 1, name="王芳", role="auditor")
    late = site.ask("get", "/mending?tab=overdue").text
    closed = site.ask("get", "/mending?tab=closed&hall=市民中心").text

    assert re.search(r"逾期 <b>1</b>", late) and "/mending/2" in late and "/mending/3" not in late
    assert "逾期办结" in closed and "误评" in closed
    assert ">期限</th>" in late and ">期限</th>" not in closed and ">办结</th>" in closed
    assert "这一栏没有差评" in site.ask("get", "/mending?clerk=9").text
    assert 400 == site.ask("get", "/mending?tab=x").status_code
    assert 404 == site.ask("get", "/mending/1").status_code


def test_approval_is_offered_to_those_who_may_and_the_others_are_told_who_may(site):
    """Red if a form is offered that is then refused, or nobody says for whom the item waits."""
    for at, (what, outcome, words, _) in enumerate(WAY[:-1]):
        site.step(2, f"{what}:{outcome}", words, at, name="李敏", role="administrator")
    pages = {
        name: site.ask("get", "/mending/2", name=name, role=role).text
        for name, role in (("李敏", "administrator"), ("王芳", "auditor"), ("赵强", "operator"))
    }

    assert [False, True, False] == ["close:approved" in page for page in pages.values()]
    assert all("由没有办理过这一项的审计人员或管理员审批" in page for page in pages.values())
    assert [True, False, False] == ["您办理过这一项, 不能审批" in page for page in pages.values()]
    assert 400 == site.step(2, "close:approved", "", 4, name="李敏", role="administrator").status_code


def test_a_deadline_is_the_end_of_its_day_wherever_it_is_said(site):
    """24:00 as in the rule below the list. Red with 23:59."""
    for path in ("/mending", "/mending/2"):
        page = site.ask("get", path).text
        assert re.search(r"20[0-9-]{8} 24:00", page) and "23:59" not in page, path


def test_a_draw_is_announced_by_an_auditor_and_made_with_what_comes(site):
    form = {"form": WORD, "from": "2027-01-01", "to": "2027-01-16", "number": "2", "kind": "bad", "why": "一月"}
    assert 403 == site.ask("post", "/draws", data=form).status_code
    assert 303 == site.ask("post", "/draws", name="周审", role="auditor", data=form).status_code
    assert "等待新记录" in site.ask("get", "/draws/1").text
    site.ledger.rate(9, name="hall-b")
    shown = site.ask("get", "/draws/1").text
    assert "重抽了一次, 结果相同" in shown and "#2" in shown and "#3" in shown
    noted = {"form": WORD, "rating": "3", "outcome": "doubtful", "words": SECRET}
    assert 303 == site.ask("post", "/draws/1", name="周审", role="auditor", data=noted).status_code

    assert SECRET in site.ask("get", "/draws/1").text
    assert SECRET not in site.ask("get", "/draws/1", role="viewer").text
    assert ["draw", "spot_check"] == [action for _, action, _ in site.gate.notes]
    assert not [about for *_, about in site.gate.notes if "139" in about]
    bad = site.ask("post", "/draws", role="auditor", data=form | {"to": "x", "number": "-1"})
    assert (400, True) == (bad.status_code, "应为日期" in bad.text)
    endless = site.ask("post", "/draws", role="auditor", data=form | {"number": "9" * 5000})
    assert (400, True) == (endless.status_code, "应为 1–" in endless.text)
    assert 404 == site.ask("get", "/draws/9").status_code


def test_a_stranger_makes_a_draw_again_with_what_its_page_says(site, tmp_path):
    """The file of the frame and the commands, as they stand there. Red if what went into the seed is not shown."""
    site.ledger.rate(*range(10, 30))
    form = {"form": WORD, "from": "2027-01-01", "to": "2027-01-16", "number": "4", "kind": "all", "why": "一月"}
    site.ask("post", "/draws", name="周审", role="auditor", data=form)
    before = site.ask("get", "/draws/1", role="viewer").text
    site.ledger.rate(9, name="hall-b")
    page = site.ask("get", "/draws/1", role="viewer").text
    file = site.ask("get", "/draws/1/frame.txt", role="viewer")
    (tmp_path / re.search(r"filename=(\S+)", file.headers["Content-Disposition"])[1]).write_bytes(file.data)
    framed, seeded, lots = (
        subprocess.run(["bash", "-c", each], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()
        for each in map(html.unescape, re.findall(r"<code>([^<]+)</code>", page))
        if "sha256sum" in each
    )
    draw = site.works.draws.found(1)

    assert [draw.frame.hex(), draw.seed] == [framed[0], seeded[0]]
    assert list(draw.ratings) == [int(each) for each in lots[1::2]]
    assert "尚未收到" in before and before.count("sha256sum") < page.count("sha256sum")
    assert 404 == site.ask("get", "/draws/2/frame.txt").status_code


def test_days_to_come_are_not_drawn_from(site, command):
    """On the page, for programs and from the command line: what is wrong, what was expected, and what to do. Red if a
    draw of the first half of a month bears the days of all of it."""
    form = {"form": WORD, "from": "2027-01-01", "to": "2027-01-17", "number": "2", "kind": "all", "why": "一月"}
    page = site.ask("post", "/draws", role="auditor", data=form)
    body = {"from": "2027-01-01", "to": "2027-01-17", "number": 1, "who": "周审", "why": "一月"}
    told = site.ask("post", "/api/v1/draws", headers={"Authorization": "Bearer t"}, json=body)
    days = ("--from", "2027-01-01", "--to", "2027-02-16")
    code, said = command("draw", "announce", *days, "--number", "2", "--why", "一月")

    assert (400, True) == (page.status_code, "2027-01-17 还没有到, 应为今天 (2027-01-16) 或更早" in page.text)
    assert re.search(r'name="to"[^>]* aria-invalid="true"', page.text)
    assert (409, "to") == (told.status_code, told.get_json()["error"]["field"])
    assert (2, True) == (code, "2027-02-16 还没有到, 应为今天 (2027-02-15) 或更早" in said)
    assert 0 == site.ledger.count("draw")


def test_statistics_say_the_same_on_the_page_as_csv_and_to_programs(site):
    """The three are one count."""
    asked = "from=2027-01-01&to=2027-01-31&by=window"
    page = site.ask("get", f"/statistics?{asked}", role="viewer").text
    table = site.ask("get", f"/statistics?{asked}&format=csv", role="viewer")
    found = site.ask("get", f"/api/v1/statistics?{asked}", headers={"Authorization": "Bearer t"}).get_json()
    (line,) = csv.DictReader(io.StringIO(table.get_data(as_text=True).removeprefix("\ufeff")))

    assert "33.3%" in page and "市民中心 1号" in page
    assert 'filename="statistics-2027-01-01-2027-01-31-window.csv"' in table.headers["Content-Disposition"]
    assert {name: str(value) if value is not None else "" for name, value in found["lines"][0].items()} == line
    assert 0.333 == found["total"]["good_rate"]


@pytest.mark.parametrize(
    ("asked", "field"),
    [("from=x", "from"), ("to=2027-13-01", "to"), ("by=x", "by"),
     ("format=xls", "format")],
)  # fmt: skip
def test_a_slip_in_the_question_is_named(site, asked, field):
    answer = site.ask("get", f"/api/v1/statistics?{asked}", headers={"Authorization": "Bearer t"})

    assert (400, field) == (answer.status_code, answer.get_json()["error"]["field"])


def test_statistics_of_days_in_the_wrong_order_are_none(site):
    """Red if whoever exchanges two days is told that there were no ratings."""
    answer = site.ask("get", "/api/v1/statistics?from=2027-02-01&to=2027-01-31", headers={"Authorization": "Bearer t"})

    assert (409, "from") == (answer.status_code, answer.get_json()["error"]["field"])


def test_the_api_needs_the_token(site):
    """Also where somebody is signed in, who may look."""
    for path in ("draws", "draws/make"):
        assert 401 == site.ask("post", f"/api/v1/{path}").status_code
    for path in ("draws", "statistics"):
        assert 200 == site.ask("get", f"/api/v1/{path}").status_code


def test_a_program_announces_a_draw_too(site):
    token = {"Authorization": "Bearer t"}
    body = {"from": "2027-01-01", "to": "2027-01-16", "number": 1, "who": "周审", "why": "一月"}
    made = site.ask("post", "/api/v1/draws", headers=token, json=body)
    slip = site.ask("post", "/api/v1/draws", headers=token, json=body | {"from": "2027-02-31"})
    none = site.ask("post", "/api/v1/draws", headers=token, json=body | {"hall": "别处"})
    site.ledger.rate(9, name="hall-b")

    assert (201, 1, 3, "") == (made.status_code, *(made.get_json()[name] for name in ("id", "size", "seed")))
    assert [(400, "from"), (409, "frame")] == [
        (each.status_code, each.get_json()["error"]["field"]) for each in (slip, none)
    ]
    assert {"made": 1} == site.ask("post", "/api/v1/draws/make", headers=token, json={}).get_json()
    (listed,) = site.ask("get", "/api/v1/draws", headers=token).get_json()["draws"]
    assert 1 == len(listed["ratings"])


# ---- from the command line


@pytest.fixture
def command(ledger, tmp_path, monkeypatch):
    monkeypatch.setattr("collector.cli.mending._now_ms", lambda: NOW_MS + 31 * DAY_MS)
    (tmp_path / "directory.toml").write_text(window(), "utf-8")
    (tmp_path / "collector.toml").write_text('[broker]\nhost = "127.0.0.1"\npassword = "x"\n', "utf-8")

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, [*words, "--config", str(tmp_path / "collector.toml")])
        return done.exit_code, done.output

    return run


PERIOD = ("--from", "2027-01-01", "--to", "2027-01-31")


def test_all_of_it_from_the_command_line(site, command):
    """The list, the lines for the province, a draw and its check, statistics and the count of the records."""
    site.step(2, "check:founded", "没有样本")
    code, listed = command("mending", "list")
    assert (0, True, True) == (code, "#2 " in listed, "待整改 / to be mended (属实 / true)" in listed)
    assert "没有样本" not in listed
    assert 2 == json.loads(command("mending", "list", "--json")[1])["counts"]["open"]
    code, lines = command("mending", "report", *PERIOD)
    assert (0, 3, True) == (code, len(lines.strip().splitlines()), "没有样本" in lines)
    assert ["C2", "C3"] == [
        each["projectNo"] for each in json.loads(command("mending", "report", *PERIOD, "--format", "json")[1])
    ]
    code, said = command("draw", "announce", *PERIOD, "--number", "2", "--why", "一月", "--who", "周审")
    assert (0, True) == (code, "第 1 次抽查已公告, 范围 3 条" in said)
    assert "还没有收到新记录" in command("draw", "make")[1]
    site.ledger.rate(9, name="hall-b")
    assert "抽取了 1 次" in command("draw", "make")[1]
    assert (0, True) == (lambda code, said: (code, "重抽结果相同" in said))(*command("draw", "verify"))
    assert 2 == command("draw", "show", "1")[1].count("\n#")
    assert site.works.draws.found(1).came.hex() in command("draw", "show", "1")[1]
    assert 2 == command("draw", "show", "7")[0]
    assert (2, True) == (lambda code, said: (code, "Error" in said))(*command("draw", "show", "9" * 19))
    code, counted = command("statistics", *PERIOD, "--by", "window", "--recompute")
    assert (0, True, True) == (code, "市民中心 1号" in counted, "✓ 与记录相同" in counted)
    assert "hall,ratings," in command("statistics", *PERIOD, "--csv")[1]
    assert 3 == json.loads(command("statistics", *PERIOD, "--json")[1])["total"]["ratings"]

    assert 2 == command("statistics", *PERIOD, "--by", "item", "--recompute")[0]
    assert 2 == command("statistics", "--from", "x", "--to", "2027-01-31")[0]


def test_what_waits_for_approval_has_a_list_and_no_step_of_it_is_framed_as_the_next_for_who_may_not(site):
    """Red if the call back, which is done, is framed as what is to be done now."""
    for at, (what, outcome, words, _) in enumerate(WAY[:-1]):
        site.step(2, f"{what}:{outcome}", words, at)
    waiting = site.ask("get", "/mending?tab=to_close", role="auditor").text
    worker = site.ask("get", "/mending/2").text
    approver = site.ask("get", "/mending/2", name="王芳", role="auditor").text

    assert re.search(r"待审批 <b>1</b>", waiting)
    assert "/mending/2" in waiting and "/mending/3" not in waiting
    assert 'class="now"' not in worker
    assert re.search(r'<fieldset class="now"><legend>审批', approver)
