"""agent.toml was changed by hand beside an agent that runs and cannot be read any more: the page leaves it alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from .test_secrets import form_of
from .visitor import Visitor, beside

SETTINGS = """agent = "hall-pc-1"  # 一号机
[uplink]
host = "127.0.0.1"
password_file = "broker.password"
[door]
token = "t"
[[windows]]
id = "A03"
device = "A03-page"
profile = "page"
"""
BROKEN = {
    "a bracket too few": SETTINGS.replace("[door]", "[door").encode(),
    "saved in another encoding": SETTINGS.encode("gbk"),
    "a table too few": SETTINGS.replace("[uplink]", "[uplinks]").encode(),
}


@pytest.fixture
def visitor(tmp_path: Path):
    (tmp_path / "broker.password").write_text("the old one\n")
    with beside(tmp_path, SETTINGS) as visitor:
        yield visitor


@pytest.fixture(params=BROKEN.values(), ids=BROKEN)
def broken(tmp_path: Path, visitor: Visitor, request: pytest.FixtureRequest) -> bytes:
    """What stands in the file now."""
    (tmp_path / "agent.toml").write_bytes(request.param)
    return request.param


def test_another_broker_leaves_the_password_of_before(tmp_path, visitor, broken):
    """Red if the new one is written before it is known that the settings cannot be, or if the page breaks."""
    given = {"host": "broker.example", "port": "1883", "password": "the new one", "do": "apply"}
    answer = visitor.post("/setup/broker", given)

    assert 422 == answer.status
    assert "agent.toml" in answer.text
    assert broken == (tmp_path / "agent.toml").read_bytes()
    assert "the old one\n" == (tmp_path / "broker.password").read_text()


def test_another_window_does_not_take_the_place_of_all(tmp_path, visitor, broken):
    """Red if what cannot be read is taken for an agent without settings, whose first window this is."""
    visitor.post("/setup/guide/device", {"kind": "screen"})
    answer = visitor.post("/setup/guide/bind", {"window": "A04", "device": ""})

    assert 422 == answer.status
    assert broken == (tmp_path / "agent.toml").read_bytes()
    assert not list(tmp_path.glob("agent.toml.*"))


@pytest.mark.parametrize("path", ["/setup/settings", "/setup/settings/text"])
def test_an_empty_page_says_why_it_is(tmp_path, visitor, path):
    """What is no TOML cannot be shown without its secrets. Red if it looks as if there were no settings at all."""
    for name, why in (("a bracket too few", "bracket is missing"), ("saved in another encoding", "is not UTF-8 text")):
        (tmp_path / "agent.toml").write_bytes(BROKEN[name])
        answer = visitor.get(path)
        if answer.status == 302:
            answer = visitor.get(answer.headers["Location"])

        assert "</textarea>" in answer.text
        assert "cannot be shown" in answer.text
        assert why in answer.text


def test_what_was_changed_by_hand_meanwhile_is_shown_before_it_is_gone(tmp_path, visitor):
    """Between the look at the changes and the button. Red if the button writes over a line that nobody was shown."""
    text = SETTINGS.replace("127.0.0.1", "broker.example")
    reviewed = visitor.post("/setup/settings/text", {"text": text})
    by_hand = SETTINGS + "invite_s = 45\n"
    (tmp_path / "agent.toml").write_text(by_hand)
    first = visitor.post("/setup/settings/apply", form_of(reviewed.text), reviewed.form_word)
    untouched = (tmp_path / "agent.toml").read_text()
    second = visitor.post("/setup/settings/apply", form_of(first.text), first.form_word)

    assert (409, 200) == (first.status, second.status)
    assert "-invite_s = 45" in first.text
    assert "changed meanwhile" in first.text
    assert by_hand == untouched
    assert text == (tmp_path / "agent.toml").read_text()
