"""Who stands where: read whole or not at all, every mistake named, and no meaning without a confirmed key map."""

from __future__ import annotations

import time

import pytest

from collector import directory
from collector.directory import Key, Place
from protocols.errors import BadSettings
from protocols.ratings import Level
from tests.collector.ledgers import directory_of, window


def mistakes(*windows: str) -> list[str]:
    """What is wrong with these windows."""
    with pytest.raises(BadSettings) as failure:
        directory_of(*windows)
    return failure.value.mistakes


def test_windows_are_found_by_agent_and_keys_by_device():
    read = directory_of(window(), window("hall-b", "w2", "D2", "{}", 'walk_in = true\nchannel = "kiosk"'))

    assert {"hall-a", "hall-b"} == read.agents
    assert Place("hall-b", "w2", "市民中心", "2号", "D2", "kiosk", True) == read.places["hall-b", "w2"]
    assert {
        1: Key(Level.VERY_SATISFIED),
        2: Key(Level.DISSATISFIED),
        3: Key(Level.VERY_DISSATISFIED),
    } == read.keys["D1"]


def test_a_key_may_be_a_reason_too():
    """A number is a tag of the national list, anything else the words that stand on the button."""
    keys = (
        '{2 = {level = "dissatisfied", reason = "214"}, 3 = {level = "dissatisfied", reason = "态度不好"},'
        ' 999 = {level = "satisfied"}}'
    )

    assert {
        2: Key(Level.DISSATISFIED, tags=("214",)),
        3: Key(Level.DISSATISFIED, text="态度不好"),
        999: Key(Level.SATISFIED),
    } == directory_of(window(keys=keys)).keys["D1"]


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ('{level = "dissatisfied", reason = "299"}', ["keys.3.reason", "299", "214 服务态度生硬"]),
        ('{level = "dissatisfied", reason = "２１４"}', ["keys.3.reason", "is no rating tag"]),
        ('{level = "very_dissatisfied", reason = "214"}', ["keys.3.reason", "214", "属于不满意", "very_dissatisfied"]),
        ('{level = "dissatisfied", reason = 214}', ["keys.3.reason", "214", "加引号"]),
        ('{level = "dissatisfied", reason = ""}', ["keys.3.reason"]),
        ('{level = "dissatisfied", reason = " 214"}', ["keys.3.reason", "首尾无空格"]),
        ('{level = "dissatisfied", reason = "%s"}' % ("字" * 51), ["keys.3.reason", "50"]),
        ('{level = "dissatisfied", reason = "a\\u0007b"}', ["keys.3.reason"]),
        ('{level = "bad"}', ["keys.3.level", "very_satisfied"]),
        ('{reason = "214"}', ["keys.3.level"]),
        ('{level = "dissatisfied", tag = "214"}', ["keys.3.tag", "reason"]),
        ('["dissatisfied"]', ["keys.3", "very_satisfied"]),
    ],
)
def test_a_wrong_reason_is_named_with_its_key(key, parts):
    """Red if a tag is taken that the country does not have, or that belongs to another level."""
    (mistake,) = mistakes(window(keys=f"{{3 = {key}}}"))

    assert [] == [part for part in ["directory.toml", "windows[1]", *parts] if part not in mistake]


def test_there_is_no_default_key_map():
    """A device without keys has none, and a device that nobody placed is not there."""
    read = directory_of(window(keys="{}"))

    assert {"D1": {}} == read.keys
    assert not directory_of(window().replace("keys = {1", "# {1")).keys["D1"]


@pytest.mark.parametrize("level", ["5", '"5"', '"good"', '"very satisfied"', "1.5", "true"])
def test_a_level_is_a_name_and_never_a_digit(level):
    """GB/T counts 1 = best and provinces 5 = best: a digit would be a guess."""
    (mistake,) = mistakes(window(keys=f"{{1 = {level}}}"))

    assert "windows[1].keys" in mistake


@pytest.mark.parametrize(
    ("windows", "parts"),
    [
        ([window(), window(device="D2")], ["windows[2]", "hall-a/w1", "windows[1]"]),
        ([window(), window(window="w2")], ["windows[2].device", "D1", "windows[1]"]),
        ([window("collector")], ["windows[1].agent", "collector"]),
        ([window("no/slash")], ["windows[1].agent"]),
        ([window(device="")], ["windows[1].device"]),
        ([window(device="x" * 33)], ["windows[1].device"]),
        ([window(keys='{1000 = "satisfied"}')], ["windows[1].keys"]),
        ([window(keys='{one = "satisfied"}')], ["windows[1].keys"]),
        ([window(keys='{1 = "satisfied", 01 = "dissatisfied"}')], ["windows[1].keys", "01"]),
        ([window(more='chanel = "qr"')], ["windows[1]", "chanel", "channel"]),
        ([window(more='channel = "fax"')], ["windows[1].channel", "kiosk"]),
        ([window().replace('hall = "市民中心"', "")], ["windows[1].hall"]),
        ([""], ["windows"]),
        (["x = "], ["TOML"]),
    ],
)
def test_every_mistake_is_named(windows, parts):
    """With file, window and key."""
    (mistake,) = mistakes(*windows)

    assert [] == [part for part in ["directory.toml", *parts] if part not in mistake]


def test_all_mistakes_are_named_at_once():
    found = mistakes(window(), window(), window("collector", "w3", "D3"))

    assert 3 == len(found)


def test_text_that_is_not_utf_8_is_named():
    with pytest.raises(BadSettings, match="UTF-8"):
        directory.read("大厅".encode("gbk"), "directory.toml")


def test_a_whole_province_is_read_in_seconds():
    """Ten thousand windows. Red if each is compared with all others."""
    windows = [window(f"hall-{number // 20}", f"w{number}", f"D{number}") for number in range(10_000)]
    began_s = time.monotonic()
    read = directory_of(*windows)

    assert 10_000 == len(read.places)
    assert time.monotonic() - began_s < 30
