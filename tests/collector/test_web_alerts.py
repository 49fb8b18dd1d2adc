"""The page of the alerts: what stands there, and who may do what."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest

from collector.alerts.alerts import Alerts, NotSent, Receiver
from collector.alerts.book import Book, book_of
from collector.alerts.core import Rule
from collector.alerts.hours import ALWAYS
from collector.alerts.reading import Reader
from protocols.messages import Health, WindowHealth
from tests.collector.agents import NOW_MS, Agent
from tests.collector.doors import app_of
from tests.collector.gates import WORD, StandIn
from tests.collector.test_web import EVIL, Clock

MIN = 60_000


class Ears:
    deaf = ""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def send(self, title: str, body: str) -> str:
        if not self.deaf:
            self.heard.append(title)
        return self.deaf


class Office:
    """A ledger, its alerts, their page, and who sits before it."""

    def __init__(self, ledger):
        self.ledger, self.gate, self.clock, self.ears = ledger, StandIn(), Clock(), Ears()
        self.book = Book(book_of(ledger.path))
        receiver = Receiver("wecom", "zh", "wecombot://…", self.ears)
        self.alerts = Alerts(self.book, [receiver], [Rule(("wecom",))], ALWAYS, 10, "", self.clock)
        self.alerts.begin(Reader(ledger.store, ledger.directory, NOW_MS))
        app = app_of(ledger, self.gate, self.clock, alerts=self.alerts)
        self.client = app.test_client()

    def pass_by(self, minutes: float) -> None:
        self.clock.now_ms += int(minutes * MIN)
        self.alerts.look()

    def cable(self, state: str) -> None:
        said = Health(self.clock.now_ms, Agent().epoch, [WindowHealth("w1", state, self.clock.now_ms)])
        self.ledger.intake.note_health("hall-a", said, self.clock.now_ms)

    def page(self, language: str = "zh") -> str:
        answer = self.client.get("/alerts", headers={"Accept-Language": language})
        assert 200 == answer.status_code, answer.text
        return answer.text

    def post(self, path: str, form: str = WORD, **data: str):
        return self.client.post(path, data={"form": form, **data})


@pytest.fixture
def office(ledger) -> Office:
    return Office(ledger)


def text(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_where_nothing_is_wrong_it_says_so(office):
    office.pass_by(0)

    assert "没有报警" in text(office.page())
    assert "Nothing is wrong" in text(office.page("en"))


def test_what_is_wrong_stands_there_worst_first_with_what_to_do_and_who_was_told(office):
    office.cable("cable_out")
    office.pass_by(2)
    office.ledger.rate(1, button=3)
    office.pass_by(0)
    page = text(office.page())

    assert page.index("非常不满意") < page.index("线缆断开")
    assert "还没送到 : wecom" in page or "还没送到: wecom" in page
    assert "尚未通知" in page
    assert "到窗口检查评价器的线缆和电源" in page
    assert "自 2027-01-15 16:00 起, 已 2 分钟" in page
    assert "cable out" in text(office.page("en"))


def test_whoever_sees_to_it_is_named_and_the_rest_comes_first(office):
    office.cable("cable_out")
    office.ledger.rate(1, button=3)
    office.pass_by(0)
    answer = office.post("/alerts/1/acknowledge")

    assert (303, "/alerts") == (answer.status_code, answer.location)
    assert [("李敏", "alert_acknowledged", "1 window_bad 市民中心 1号")] == office.gate.notes
    page = text(office.page())
    assert "李敏 处理中" in page
    assert page.index("线缆断开") < page.index("李敏 处理中")


def test_a_silence_is_made_shown_and_ended(office):
    office.cable("cable_out")
    office.pass_by(0)
    office.post("/alerts/silences", kind="window_bad", hall="市民*", window="", lasts="4", weekly="", reason="换线")
    office.clock.now_ms += 30 * MIN
    office.cable("cable_out")
    office.pass_by(0)
    page = text(office.page())

    assert "静默 #1" in page
    assert "换线 李敏" in page
    assert [] == office.book.dues("wecom")
    office.post("/alerts/silences/1/end")
    office.pass_by(0)
    assert "静默 #1" not in text(office.page())
    assert 1 == len(office.book.dues("wecom"))
    assert ["alerts_silenced", "silence_ended"] == [action for _, action, _ in office.gate.notes]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"reason": ""}, "请写明原因"),
        ({"kind": "window_bda"}, "没有这一类"),
        ({"lasts": "9999"}, "请选多久"),
        ({"weekly": "often"}, "每周时段应如"),
        ({"hall": "x" * 300}, "太长"),
    ],
)
def test_a_silence_that_cannot_be_says_why_and_keeps_what_was_typed(office, form, words):
    usual = {"kind": "", "hall": "北厅", "window": "", "lasts": "1", "weekly": "", "reason": "停电"}
    answer = office.post("/alerts/silences", **(usual | form))

    assert 400 == answer.status_code
    assert words in answer.text
    assert form.get("reason") == "" or 'value="停电"' in answer.text


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("viewer", ()),
        ("auditor", ()),
        ("operator", ("acknowledge", "silence", "end")),
        ("administrator", ("acknowledge", "silence", "end", "test")),
    ],
)
def test_who_may_do_what(office, role, may):
    """Everybody looks. Red if a button is all that keeps somebody out."""
    office.cable("cable_out")
    office.pass_by(0)
    silence = {"lasts": "1", "reason": "x"}
    office.post("/alerts/silences", **silence)
    office.gate.role = role
    asked = {
        "acknowledge": office.post("/alerts/1/acknowledge"),
        "silence": office.post("/alerts/silences", **silence),
        "end": office.post("/alerts/silences/1/end"),
        "test": office.post("/alerts/test", receiver="wecom"),
    }

    assert 200 == office.client.get("/alerts").status_code
    assert {name: 303 if name in may else 403 for name in asked} == {
        name: each.status_code for name, each in asked.items()
    }


@pytest.mark.parametrize(
    "path", ["/alerts/1/acknowledge", "/alerts/silences", "/alerts/silences/1/end", "/alerts/test"]
)
def test_a_form_that_is_not_ours_does_nothing(office, path):
    assert 403 == office.post(path, form="x", receiver="wecom", lasts="1", reason="x").status_code
    assert ([], []) == (office.ears.heard, office.book.standing(NOW_MS)[1])


@pytest.mark.parametrize("path", ["/alerts/{}/acknowledge", "/alerts/silences/{}/end"])
def test_a_number_that_no_file_could_have_given_is_no_address(office, path):
    assert 404 == office.post(path.format(2**64)).status_code


def test_a_test_message_arrives_or_the_page_says_why_not(office):
    well = office.client.get(office.post("/alerts/test", receiver="wecom").location).text
    office.ears.deaf = "403"
    ill = office.client.get(office.post("/alerts/test", receiver="wecom").location).text

    assert ["【测试】好差评报警"] == office.ears.heard
    assert "测试消息已送到" in well
    assert "测试消息没有送到" in ill
    assert 404 == office.post("/alerts/test", receiver="nobody").status_code
    assert "请致电" not in office.client.get("/alerts?tested=请致电").text  # a link is no test


def test_a_receiver_that_cannot_be_reached_is_an_alarm_on_the_page(office):
    """Or nobody would know that nobody hears."""
    office.ears.deaf = "93000 invalid webhook url"
    office.ledger.rate(1, button=3)
    office.pass_by(0)
    for _ in range(2):
        with suppress(NotSent):
            office.alerts._send_one(office.alerts.receivers[0])

    assert "报警送不到 wecom" in text(office.page())
    assert "93000 invalid webhook url" in office.page()


def test_alerts_that_do_not_look_any_longer_say_so(office):
    office.pass_by(0)
    assert 'id="stale"' not in office.page()
    office.clock.now_ms += 2 * MIN

    assert "报警没有在工作" in office.page()


def test_what_others_wrote_is_shown_and_not_run(office):
    office.ledger.intake.note_health("hall-a", Health(NOW_MS, Agent().epoch, [], alarm=EVIL), NOW_MS)
    office.pass_by(0)
    office.post("/alerts/silences", lasts="1", reason=EVIL)

    assert EVIL not in office.page()
    assert 2 <= office.page().count("&lt;script&gt;")
