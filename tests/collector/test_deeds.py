"""The audit log as people read it: sentences in one language, and nothing in them that only programmers know."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import collector
from collector.mending.words import STEPS
from collector.people.log import ACTIONS, Line
from collector.web.deeds import deed, picks
from collector.web.desk_pages import _NOTED
from tests.collector.agents import NOW_MS

SAID = {
    ("mending_check", "#12 founded"): (
        "差评 #12: 核查, 属实且诉求合理, 应整改",
        "bad rating #12: check, true and reasonable: to be mended",
    ),
    ("export", "ratings-2027-01-01-2027-01-31 with text (12)"): (
        "导出评价表 2027-01-01 至 2027-01-31, 连同办事人原话, 12 条",
        "exported the table of ratings of 2027-01-01 to 2027-01-31 with what citizens wrote, 12 lines",
    ),
    ("parked_corrected", "#4 item_name mobile"): (
        "更正评价 #4 的办件: 事项名称、手机号",
        "put the case of rating #4 right: item, mobile number",
    ),
    ("parked_linked", "#4 BJ1/2"): ("把评价 #4 关联到办件 BJ1/2", "linked rating #4 to case BJ1/2"),
    ("parked_all_sent_again", "3 × before_service 市民中心 dissatisfied as-is"): (
        "成批重发 3 条: 早于服务时间 市民中心 不满意 照发",
        "sent 3 again all at once: before its service 市民中心 dissatisfied as they are",
    ),
    ("role_changed", "李敏 viewer → operator"): (
        "把 李敏 的角色由查看人员改为处理人员",
        "made 李敏, so far viewer, operator",
    ),
    ("draw", "1: 2027-01-01 2027-01-31 bad 40 → 8"): (
        "公告第 1 次抽查: 2027-01-01 至 2027-01-31, 差评, 40 条中抽 8 条",
        "announced draw 1: 2027-01-01 to 2027-01-31, bad ones, 8 out of 40",
    ),
    ("spot_check", "1: #5 sound"): ("第 1 次抽查, 评价 #5: 与办事人所说一致", "draw 1, rating #5: as the citizen says"),
    ("alerts_silenced", "3 window_bad 市民中心 1号"): (
        "静默报警 (#3): 窗口不能评价 · 市民中心 1号",
        "silenced alerts (#3): a window cannot take ratings · 市民中心 1号",
    ),
    ("alert_acknowledged", "7 window_bad 市民中心 1号"): (
        "处理报警 7: 窗口不能评价 市民中心 1号",
        "sees to alert 7: a window cannot take ratings 市民中心 1号",
    ),
    ("sign_in_failed", "没有此人 / nobody"): ("登录失败, 没有这个用户名", "could not sign in: nobody has this name"),
    ("log_exported", "who=李敏 action=export from=2027-01-01"): (
        "导出审计日志: 人员 李敏、动作 导出表格、从 2027-01-01",
        "exported the audit log: person 李敏, action table exported, from 2027-01-01",
    ),
    ("export", "ratings-2027-01-01-2027-01-31 (1)"): (
        "导出评价表 2027-01-01 至 2027-01-31, 1 条",
        "exported the table of ratings of 2027-01-01 to 2027-01-31, 1 line",
    ),
    ("export", "parked"): ("导出待处理评价表", "exported the table of parked ratings"),
    ("export", "parked reason=no_case hall=A%20厅 level=dissatisfied"): (
        "导出待处理评价表, 仅 原因 无办件编号、大厅 “A 厅”、等级 不满意",
        "exported the table of parked ratings, only of reason no case number, hall “A 厅”, level dissatisfied",
    ),
    ("export", "mending tab=overdue clerk=018"): (
        "导出差评整改清单, 仅 栏 逾期、窗口人员 018",
        "exported the list of bad ratings and their mending, only of tab Overdue, clerk 018",
    ),
    ("export", "ratings-2027-01-01-2027-01-31 (12) window=hall-a/w1"): (
        "导出评价表 2027-01-01 至 2027-01-31, 12 条, 仅 窗口 hall-a/w1",
        "exported the table of ratings of 2027-01-01 to 2027-01-31, 12 lines, only of window hall-a/w1",
    ),
    ("export", "statistics-2027-01-01-2027-01-31 hall=A%20厅"): (
        "导出按窗口人员的统计 2027-01-01 至 2027-01-31, 仅 大厅 “A 厅”",
        "exported the statistics by clerk of 2027-01-01 to 2027-01-31, only of hall “A 厅”",
    ),
    ("log_exported", ""): ("导出审计日志: 全部", "exported the audit log: all of it"),
    ("log_exported", "x=who=李敏 from=2027-01-01"): (
        "导出审计日志 x=who=李敏 from=2027-01-01",
        "audit log exported x=who=李敏 from=2027-01-01",
    ),
    ("of_a_newer_program", "a role / nothing"): (
        "of_a_newer_program a role / nothing",
        "of_a_newer_program a role / nothing",
    ),
    ("of_a_newer_program", "x"): ("of_a_newer_program x", "of_a_newer_program x"),
}


def line(action: str, about: str = "") -> Line:
    return Line(1, NOW_MS, "李敏", action, about, "10.1.2.3")


@pytest.mark.parametrize(("action", "about"), SAID)
def test_each_line_is_a_sentence_in_each_language(action, about):
    assert SAID[action, about] == tuple(deed(line(action, about), language).words for language in ("zh", "en"))


def test_what_was_picked_is_said_as_it_was_and_no_value_is_another_pick():
    """Red if somebody chooses what the line says: a space in a value, a per cent sign, a line end."""
    given = {"who": "李敏 from=2027-01-01", "action": "", "from": "5%20", "to": "a\n b"}
    about = picks(given)

    assert "who=李敏%20from=2027-01-01 from=5%2520 to=a%0A%20b" == about
    assert (
        "导出审计日志: 人员 “李敏 from=2027-01-01”、从 “5%20”、到 “a\n b”"
        == deed(line("log_exported", about), "zh").words
    )


@pytest.mark.parametrize(
    ("action", "about", "address"),
    [
        ("mending_close", "#12 approved", "/mending/12"),
        ("parked_linked", "#4 BJ1/2", "/parked/4"),
        ("draw", "2: 2027-01-01 2027-01-31 bad 40 → 8", "/draws/2"),
        ("signed_in", "", ""),
    ],
)
def test_a_line_leads_to_what_it_is_about(action, about, address):
    assert address == deed(line(action, about), "zh").address


def noted() -> Iterator[str]:
    """Every action that some call in the source notes by its name."""
    for path in Path(collector.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "note":
                # A page notes what it did; the people's own file says before that who did it.
                given = node.args[:2][getattr(node.func.value, "attr", "") == "log" :][:1]
                for each in (inner for arg in given for inner in ast.walk(arg)):
                    if isinstance(each, ast.Constant) and re.fullmatch("[a-z]+(_[a-z]+)*", str(each.value)):
                        yield each.value
    yield from _NOTED.values()
    yield from (f"mending_{step}" for step in STEPS)


def test_everything_that_is_noted_has_a_name_in_both_languages():
    """Red as soon as a page notes something that nobody has put into words."""
    found = set(noted())

    assert {"export", "draw", "alert_tested", "mending_check", "signed_in"} <= found
    assert set() == found - set(ACTIONS)
    assert all(" / " in words for words in ACTIONS.values())
