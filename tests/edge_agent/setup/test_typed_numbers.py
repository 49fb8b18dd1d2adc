"""Numbers as people type them into the setup page: what is none is said beside its field, and nothing breaks."""

from __future__ import annotations

import pytest

from .visitor import PAGE, beside, served

NONE = ("²", "9" * 5000, "-1", "1883.0", "")


@pytest.fixture
def visitor(tmp_path):
    with beside(tmp_path, PAGE.format(door="")) as visitor:
        yield visitor


@pytest.mark.parametrize("port", NONE)
@pytest.mark.parametrize("do", ["test", "save"])
def test_a_port_that_is_none_is_said_beside_its_field(visitor, port, do):
    """Red if whatever has the look of a digit, or is longer than any number, is taken for one."""
    answer = visitor.post("/setup/broker", {"host": "127.0.0.1", "port": port, "do": do})

    assert 422 == answer.status
    assert "expected 1 to 65535" in answer.text


@pytest.mark.parametrize("port", NONE)
def test_so_it_is_in_the_guide(tmp_path, port):
    with served(tmp_path) as page:
        visitor = page.visitor()
        visitor.begin()
        form = {"agent": "hall-pc-1", "broker": "now", "host": "127.0.0.1", "port": port, "do": "next"}
        answer = visitor.post("/setup/guide/name", form)

    assert 422 == answer.status
    assert "expected 1 to 65535" in answer.text


@pytest.mark.parametrize("port", NONE[:2])
def test_so_it_is_among_the_settings(visitor, port):
    answer = visitor.post("/setup/settings", {"uplink.port": port, "do": "review"})

    assert 422 == answer.status


def test_full_width_digits_are_a_number(tmp_path):
    """As a Chinese keyboard types them."""
    with served(tmp_path) as page:
        visitor = page.visitor()
        visitor.begin()
        form = {"agent": "hall-pc-1", "broker": "now", "host": "127.0.0.1", "port": "１８８３", "do": "next"}

        assert 303 == visitor.post("/setup/guide/name", form).status


def test_a_field_of_no_window_changes_nothing(visitor):
    """Red if the name of a field, which anything may stand in, breaks the page."""
    answer = visitor.post("/setup/settings", {"windows.².id": "B01", "do": "review"})

    assert 200 == answer.status
    assert "Nothing changes" in answer.text
