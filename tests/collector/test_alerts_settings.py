"""`[alerts]` of collector.toml: what it means, and every mistake in it named without showing an address."""

from __future__ import annotations

import pytest

from collector import config
from collector.alerts.core import Reach, Rule
from collector.alerts.hours import hours_of
from collector.alerts.settings import masked, office_of, rules_of
from protocols.errors import BadSettings
from tests.collector.test_config import BROKER

WORD = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
RECEIVER = '[[alerts.receivers]]\nname = "desk"\nurl_file = "desk.url"\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "desk.url").write_text(f"wecombot://{WORD}\n")
    return tmp_path


def load(folder, text: str) -> config.Settings:
    (folder / "collector.toml").write_text(BROKER + text, "utf-8")
    return config.load(folder / "collector.toml")


def mistakes(folder, text: str) -> list[str]:
    with pytest.raises(BadSettings) as failure:
        load(folder, text)
    return failure.value.mistakes


def test_without_a_word_of_it_nobody_is_told(folder):
    read = load(folder, "").alerts

    assert ([], []) == (read.receivers, rules_of(read))


def test_a_receiver_alone_hears_of_everything_as_each_kind_has_it(folder):
    read = load(folder, RECEIVER).alerts

    assert [Rule(("desk",))] == rules_of(read)
    assert hours_of("Mon-Fri 08:30-17:30") == office_of(read)


def test_a_rule_says_what_when_and_to_whom(folder):
    rule = (
        '[[alerts.rules]]\nkinds = ["window_*"]\nhalls = ["市民*"]\nwindows = ["1号"]\nafter_minutes = 3\n'
        'repeat_minutes = 0\nweight = "urgent"\nhours = "周一至周五 09:00-17:00"\nto = ["desk"]\n'
    )

    assert [
        Rule(
            ("desk",),
            Reach(("window_*",), ("市民*",), ("1号",)),
            3,
            0,
            "urgent",
            hours_of("Mon-Fri 09:00-17:00"),
        )
    ] == rules_of(load(folder, RECEIVER + rule).alerts)


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ('[[alerts.receivers]]\nname = "desk"\n', "alerts.receivers[1].url_file", "缺少"),
        (f'[[alerts.receivers]]\nname = "desk"\nurl = "wecombot://{WORD}"\n', "alerts.receivers[1].url", "url_env?"),
        ('[[alerts.receivers]]\nname = "desk"\nurl_file = "no.url"\n', "alerts.receivers[1].url_file", "没有文件"),
        ('[[alerts.receivers]]\nname = "desk"\nurl_file = "bad.url"\n', "alerts.receivers[1].url_file", "不显示"),
        ('[[alerts.receivers]]\nname = "desk"\nurl_env = "NO_SUCH"\n', "alerts.receivers[1].url_env", "NO_SUCH"),
        ('[[alerts.receivers]]\nname = "desk"\nurl_env = "A B"\n', "alerts.receivers[1].url_env", "环境变量"),
        (RECEIVER + 'url_env = "X"\n', "alerts.receivers[1].url_file", "只能填一个"),
        (RECEIVER + RECEIVER, "alerts.receivers[2].name", "写了两次"),
        (RECEIVER + 'language = "de"\n', "alerts.receivers[1].language", '"zh", "en"'),
        (RECEIVER + '[[alerts.rules]]\nto = ["desc"]\n', "alerts.rules[1].to[1]", "desk?"),
        (RECEIVER + "[[alerts.rules]]\n", "alerts.rules[1].to", "缺少"),
        (
            RECEIVER + '[[alerts.rules]]\nto = ["desk"]\nkinds = ["window_bda"]\n',
            "alerts.rules[1].kinds[1]",
            "window_bad?",
        ),
        (
            RECEIVER + '[[alerts.rules]]\nto = ["desk"]\nhours = "8-17"\n',
            "alerts.rules[1].hours",
            "Mon-Fri 08:30-17:30",
        ),
        (RECEIVER + '[[alerts.rules]]\nto = ["desk"]\nafter_minutes = -1\n', "alerts.rules[1].after_minutes", "0 到"),
        ('[alerts]\nhours = "sometimes"\n', "alerts.hours", "Mon-Fri 08:30-17:30"),
        ("[alerts]\nper_minute = 99\n", "alerts.per_minute", "1 到 20"),
        ('[alerts]\nlink = "centre:8620"\n', "alerts.link", "http://"),
    ],
)
def test_every_mistake_is_named_with_its_key_and_what_to_do(folder, text, where, words):
    """And what stands in a file of an address is never shown."""
    (folder / "bad.url").write_text(f"{WORD}\n")
    found = mistakes(folder, text)

    assert [f"collector.toml: {where}"] == [each.split(": ", 2)[0] + ": " + each.split(": ", 2)[1] for each in found]
    assert words in found[0]
    assert WORD not in "".join(found)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"wecombot://{WORD}", "wecombot://…"),
        (f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={WORD}", "https://qyapi.weixin.qq.com/…"),
        (f"dingtalk://{WORD}@{WORD}/13912345678", "dingtalk://…"),
        (f"feishu://{WORD}", "feishu://…"),
        (f"mailtos://u:{WORD}@smtp.example.com:465/?to=li@hall.example", "mailtos://smtp.example.com/…"),
        (f"jsons://u:{WORD}@10.1.2.3:8443/hook/{WORD}?t={WORD}", "jsons://10.1.2.3/…"),
        (f"json://[{WORD}/", "json:///…"),
    ],
)
def test_of_an_address_only_what_is_no_secret_is_shown(url, shown):
    assert shown == masked(url)
