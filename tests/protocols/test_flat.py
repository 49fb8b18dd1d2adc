"""Dialect C: one form of 25 fields, and what we make of its answers."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl

import pytest

from protocols.dialects.flat import Flat, FlatSettings
from protocols.ratings import Accepted, Answer, Held, Refused, Unavailable
from tests.protocols.test_txnbody import CASE as COMMON
from tests.protocols.test_txnbody import NOW_MS, RATING

CASE = replace(COMMON, area_name="历下区")
RATED = [(RATING, CASE)]

# Written down from the description of the province's interface, in its order: 25 fields, all text.
ON_THE_WIRE = [
    ("areaCode", "370102000000"),
    ("areaName", "历下区"),
    ("deptCode", "1137010000418859XL"),
    ("taskCode", "1137010000418859XL4370114017000"),
    ("taskHandleItem", ""),
    ("taskName", "社会保障卡补领"),
    ("subMatter", "社会保障"),
    ("projectNo", "33" + RATING.case_no),
    ("proStatus", "3"),
    ("proDepartCode", "1137010000418859XL"),
    ("proDepart", "济南市历下区人力资源和社会保障局"),
    ("proManager", "李敏"),
    ("pf", "4"),
    ("certkeyGOV", "370102198001011234"),
    ("userName", "张建国"),
    ("userProp", "1"),
    ("satisfaction", "2"),
    ("evalDetail", "213,214"),
    ("writingEvaluation", '材料要了"两次"\\，还是不行'),
    ("assessTime", "2026-11-02 09:29:31"),
    ("assessNumber", "1"),
    ("appStatus", "1"),
    ("promiseTime", "2"),
    ("acceptDate", "2026-11-02 09:10:00"),
    ("dataSource", "133"),
]


def speaks(**other) -> Flat:
    usual = {"rating_url": "https://p/zwztapi/offlinereport.do", "data_source": "133", "province_prefix": "33"}
    return Flat(FlatSettings(**(usual | other)))


def form(request) -> list[tuple[str, str]]:
    return parse_qsl(request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)


def test_a_rating_is_one_form_of_25_fields():
    """Each field, in order. Red if one is left out, renamed or filled from another one of a case."""
    request = speaks().rating_request(RATED, NOW_MS)

    assert ON_THE_WIRE == form(request)
    assert 25 == len(ON_THE_WIRE)
    assert "application/x-www-form-urlencoded;charset=UTF-8" == request.headers["Content-Type"]


def test_this_province_counts_its_kinds_of_case_the_other_way_round():
    """承诺件=1, 即办件=2: a table of its own, and no enum."""
    promised = dict(form(speaks().rating_request([(RATING, replace(CASE, case_type="promised"))], NOW_MS)))

    assert "1" == promised["promiseTime"]


def test_all_that_is_no_person_is_a_legal_one():
    company = dict(form(speaks().rating_request([(RATING, replace(CASE, applicant_type="enterprise"))], NOW_MS)))

    assert "2" == company["userProp"]


def test_two_services_of_a_case_are_told_apart():
    second = replace(RATING, service_number=2)

    assert "2" == dict(form(speaks().rating_request([(second, CASE)], NOW_MS)))["assessNumber"]


def test_the_platform_between_is_told_who_calls():
    headers = speaks(app_id="hall", app_secret="s", app_id_header="X-App").rating_request(RATED, NOW_MS).headers

    assert ("hall", "s") == (headers["X-App"], headers["appSecret"])
    assert "appId" not in speaks().rating_request(RATED, NOW_MS).headers


def test_the_handle_code_travels_where_it_is_wanted():
    sent = dict(form(speaks(sends_handle_code=True).rating_request(RATED, NOW_MS)))

    assert CASE.item_handle_code == sent["taskHandleItem"]


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ('{"success": true, "data": "ZJ-1", "errorMsg": ""}', Accepted(receipt="ZJ-1")),
        ('{"success": "true", "data": {"a": 1}}', Accepted()),
        ('{"success": false, "errorMsg": "该办件已评价，无需重复评价"}', Accepted(True, "该办件已评价，无需重复评价")),
        ('{"success": false, "errorMsg": "taskCode 不存在"}', Refused("taskCode 不存在")),
        ('{"success": "0", "errorMsg": ""}', Refused("省平台未说明原因 / no reason given")),
        ('{"success": false, "errorMsg": "系统繁忙，请稍后再试"}', Unavailable("系统繁忙，请稍后再试")),
    ],
)
def test_what_the_province_says(body, verdict):
    assert (verdict,) == speaks().verdicts(Answer(200, body.encode()), RATED)


@pytest.mark.parametrize(
    "body", ["", "<html>", "[]", "{}", '{"success": null}', '{"success": "perhaps"}', "1", "\ud800"]
)
def test_rubbish_is_no_answer(body):
    """Never a yes, never a no. Red if a page of the platform's burns a rating."""
    [verdict] = speaks().verdicts(Answer(200, body.encode("utf-8", "surrogatepass")), RATED)

    assert isinstance(verdict, Unavailable)


@pytest.mark.parametrize("status", [302, 401, 403, 429, 500, 503])
def test_another_status_is_no_answer(status):
    [verdict] = speaks().verdicts(Answer(status, b'{"success": true}'), RATED)

    assert isinstance(verdict, Unavailable)


@pytest.mark.parametrize("field", ["area_name", "accepted_ms", "dept_code", "case_type", "applicant_type"])
def test_a_missing_detail_is_named(field):
    empty = None if field.endswith("_ms") else ""

    assert Held("lacking", field) == speaks().held(RATING, replace(CASE, **{field: empty}))
