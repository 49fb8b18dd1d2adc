"""The tablet's agent: one datagram, one message; an answer at once and the vote later."""

from random import Random

import pytest

from firmware_sim.faults import Faults
from firmware_sim.panel import PressMade
from firmware_sim.panels.sundyn import COMMANDS, SundynPanel

APPRISE = b'{"command":"apprise"}'
SUCC = b'{"succ":"0"}'


def said(panel: SundynPanel, from_ms: int, to_ms: int) -> list[tuple[int, bytes]]:
    return [(now_ms, data) for now_ms in range(from_ms, to_ms) if (data := panel.poll(now_ms))]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_answered_at_once(command):
    """The seven that were seen."""
    panel = SundynPanel()
    panel.feed(b'{"command":"%b","sno":"0042"}' % command.encode(), 1_000)

    assert [(1_000, SUCC)] == said(panel, 1_000, 2_000)


def test_a_vote_comes_as_it_was_observed():
    """With its empty tag."""
    panel = SundynPanel()
    panel.feed(APPRISE, 1_000)
    panel.press(4, 5_000)

    assert [(1_000, SUCC), (5_000, b'{"appriseresult":"4","tagId":"","tagName":""}')] == said(panel, 1_000, 9_000)
    assert [PressMade("", 1, 1, 4, 5_000, True)] == panel.take_events()


def test_the_tags_text_is_utf8_or_gbk():
    """By switch, or by fault; what comes in is read the same way."""
    utf8, gbk = SundynPanel(tag="1"), SundynPanel()
    gbk.suffer(Faults(gbk=1), Random(1))
    for panel in (utf8, gbk):
        panel.feed('{"command":"call","number":"A001","servicename":"社保"}'.encode(panel.encoding), 500)
        panel.feed(APPRISE, 1_000)
        panel.press(4, 5_000)
    text = '{"appriseresult":"4","tagId":"1","tagName":"服务热情"}'

    assert (text.encode("utf-8"), text.encode("gbk")) == tuple(said(each, 0, 9_000)[-1][1] for each in (utf8, gbk))
    assert {"number": "A001", "servicename": "社保"} == gbk.shown


def test_no_page_no_vote():
    """Before it is asked, after a vote, after a reset, after a minute."""
    panel = SundynPanel()
    panel.press(1, 500)
    panel.feed(APPRISE, 1_000)
    panel.press(2, 2_000)
    panel.press(3, 3_000)
    panel.feed(APPRISE, 4_000)
    panel.feed(b'{"command":"reset"}', 5_000)
    panel.press(4, 6_000)
    panel.feed(APPRISE, 7_000)
    panel.press(5, 67_000)

    assert [b'{"appriseresult":"2","tagId":"","tagName":""}'] == [
        data for _, data in said(panel, 0, 70_000) if data != SUCC
    ]


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b'{"command":"dance"}', b"\xff\xfe", b'{"command":["apprise"]}'])
def test_what_is_no_command_is_not_answered(junk):
    """And opens nothing."""
    panel = SundynPanel()
    panel.feed(junk, 1_000)

    assert (b"", False) == (panel.poll(2_000), panel.inviting(1_001))


def test_a_vote_may_come_up_to_two_seconds_late():
    """By fault."""
    waits = []
    for seed in range(40):
        panel = SundynPanel()
        panel.suffer(Faults(late_vote=1), Random(seed))
        panel.feed(APPRISE, 0)
        panel.poll(0)
        panel.press(1, 1_000)
        waits.append(panel.next_ms(1_000) - 1_000)

    assert 0 <= min(waits) < 500 < 1_500 < max(waits) <= 2_000


def test_an_old_vote_may_come_into_a_new_question():
    """By fault: the same bytes again, 50-500 ms after the next one was asked. No press of anybody."""
    panel = SundynPanel()
    panel.suffer(Faults(old_request=1), Random(1))
    panel.feed(APPRISE, 0)
    panel.press(1, 1_000)
    vote = said(panel, 0, 2_000)[-1][1]
    panel.feed(APPRISE, 5_000)
    (_, _), (again_ms, again) = said(panel, 5_000, 6_000)

    assert (vote, True) == (again, 5_050 <= again_ms <= 5_500)
    assert 1 == len(panel.take_events())
