"""What apprise really sends to each kind of receiver, and what counts as taken. The plug-ins of WeCom, DingTalk and
Feishu have their address in a variable of their class: here it points to this machine, all else is as it is."""

from __future__ import annotations

import email
import email.policy
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from apprise.plugins.dingtalk import NotifyDingTalk
from apprise.plugins.feishu import NotifyFeishu
from apprise.plugins.wecombot import NotifyWeComBot

from collector.alerts.carrier import BadUrl, Carrier
from tests.collector.receivers import TAKEN, post_office, robot

ROOT = Path(__file__).parent.parent.parent
TITLE, BODY = "【紧急】差评", "市民中心 3号 非常不满意\nhttp://centre:8620/alerts"
WORD = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
KEY = "693a91f6-7aoc-4bc4-97a0-0ec2sifa5aaa"
SECRET = "SEC0123456789abcdef"


@pytest.fixture
def hall(monkeypatch):
    """A robot to which the three plug-ins speak."""
    with robot() as listening:
        base = f"http://127.0.0.1:{listening.port}"
        monkeypatch.setattr(NotifyWeComBot, "notify_url", f"{base}/cgi-bin/webhook/send?key={{key}}")
        monkeypatch.setattr(NotifyDingTalk, "notify_url", f"{base}/robot/send?access_token={{token}}")
        monkeypatch.setattr(NotifyFeishu, "notify_url", f"{base}/open-apis/bot/v2/hook/{{token}}/")
        yield listening


def test_wecom_gets_one_text_at_its_key(hall):
    assert "" == Carrier(f"wecombot://{KEY}").send(TITLE, BODY)
    ((path, body),) = hall.came

    assert f"/cgi-bin/webhook/send?key={KEY}" == path
    assert "text" == body["msgtype"]
    assert [TITLE, *BODY.split("\n")] == body["text"]["content"].splitlines()


def test_the_address_that_wecom_shows_is_taken_as_it_is(hall):
    assert "" == Carrier(f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={KEY}").send(TITLE, BODY)

    assert f"/cgi-bin/webhook/send?key={KEY}" == hall.came[0][0]


def test_dingtalk_gets_one_text_signed_where_it_has_a_secret(hall):
    assert "" == Carrier(f"dingtalk://{SECRET}@{WORD}").send(TITLE, BODY)
    ((path, body),) = hall.came

    assert path.startswith(f"/robot/send?access_token={WORD}&timestamp=")
    assert "&sign=" in path
    assert "text" == body["msgtype"]
    assert [TITLE, *BODY.split("\n")] == body["text"]["content"].splitlines()


def test_feishu_gets_one_text_at_its_token(hall):
    assert "" == Carrier(f"feishu://{KEY}").send(TITLE, BODY)
    ((path, body),) = hall.came

    assert f"/open-apis/bot/v2/hook/{KEY}/" == path
    assert "text" == body["msg_type"]
    assert [TITLE, *BODY.split("\n")] == body["content"]["text"].splitlines()


def test_a_webhook_of_the_hall_gets_title_and_message(hall):
    assert "" == Carrier(f"json://127.0.0.1:{hall.port}/alerts/{WORD}").send(TITLE, BODY)
    ((path, body),) = hall.came

    assert f"/alerts/{WORD}" == path.rstrip("/")
    assert (TITLE, BODY) == (body["title"], body["message"])


def test_a_mail_says_it_in_its_subject_and_its_text():
    with post_office() as (port, mails):
        url = f"mailto://127.0.0.1:{port}/?from=alerts@hall.example&to=li@hall.example&format=text"
        assert "" == Carrier(url).send(TITLE, BODY)
    (mail,) = [email.message_from_string(each, policy=email.policy.default) for each in mails]

    assert TITLE == mail["Subject"]
    assert "li@hall.example" == mail["To"]
    assert BODY.split("\n") == mail.get_body(("plain",)).get_content().splitlines()


# ---- what counts as taken


@pytest.mark.parametrize(
    ("url", "answer", "words"),
    [
        (f"wecombot://{KEY}", {"errcode": 93000, "errmsg": "invalid webhook url"}, "93000 invalid webhook url"),
        (f"wecombot://{KEY}", {"errcode": 45009, "errmsg": "api freq out of limit"}, "45009 api freq out of limit"),
        (f"dingtalk://{WORD}", {"errcode": 310000, "errmsg": "keywords not in content"}, "310000 keywords"),
        (f"feishu://{KEY}", {"code": 19024, "msg": "Key Words Not Found"}, "19024 Key Words Not Found"),
    ],
)
def test_what_a_robot_refuses_with_200_was_not_sent(hall, url, answer, words):
    """apprise itself goes by the status alone, and would say that it was sent. Red without reading the answer."""
    hall.answer = answer
    carrier = Carrier(url)

    assert carrier.send(TITLE, BODY).startswith(words)
    hall.answer = TAKEN
    assert "" == carrier.send(TITLE, BODY)


def test_what_a_webhook_of_the_hall_means_by_its_code_nobody_knows(hall):
    """Many systems answer code 200: the status alone says whether it was taken."""
    hall.answer = {"code": 200, "msg": "ok"}

    assert "" == Carrier(f"json://127.0.0.1:{hall.port}/").send(TITLE, BODY)


@pytest.mark.parametrize("status", [302, 401, 404, 500, 503])
def test_any_other_status_is_not_sent_and_is_said(hall, status):
    hall.status = status

    for url in (f"json://127.0.0.1:{hall.port}/x", f"wecombot://{KEY}"):
        assert f"error={status}" in Carrier(url).send(TITLE, BODY)


@pytest.mark.parametrize(
    "url",
    [
        f"json://u:{WORD}@127.0.0.1:1/{SECRET}?x={KEY}",
        f"mailto://u:{WORD}@127.0.0.1:1/?from=a@hall.example&to=b@hall.example",
    ],
)
def test_a_receiver_that_is_not_there_is_said_without_any_secret(url, caplog):
    with caplog.at_level(logging.DEBUG):
        words = Carrier(url).send(TITLE, BODY)

    assert words
    told = words + caplog.text
    assert [] == [each for each in (WORD, SECRET, KEY) if each in told]


def test_words_of_a_robot_that_repeat_the_key_are_shown_without_it(hall):
    hall.answer = {"errcode": 93000, "errmsg": f"bad key {KEY}"}

    assert "93000 bad key ***" == Carrier(f"wecombot://{KEY}").send(TITLE, BODY)


@pytest.mark.parametrize(
    "url", ["wecombot://", f"wecomm://{KEY}", "dingtalk://!!/", "json://", "words://x/y", "mailto://"]
)
def test_an_address_that_is_none_is_refused_and_not_shown(url, caplog):
    with pytest.raises(BadUrl) as error, caplog.at_level(logging.DEBUG):
        Carrier(url)

    assert url not in str(error.value) + caplog.text


def test_messages_follow_one_another_without_waiting(hall):
    """apprise would wait 5.5 s between two; how many a minute is decided elsewhere."""
    carrier = Carrier(f"wecombot://{KEY}")

    assert 0 == carrier._plugin.request_rate_per_sec
    assert ["", "", ""] == [carrier.send(TITLE, BODY) for _ in range(3)]


def test_nothing_of_it_is_loaded_where_nobody_is_to_be_told():
    """It takes 200 ms and 30 MB. Red if any module of the collector imports it at its top but the carrier."""
    program = "import sys, collector.__main__, collector.cli; sys.exit('apprise' in sys.modules)"

    assert 0 == subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode
