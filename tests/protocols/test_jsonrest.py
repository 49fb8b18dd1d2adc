"""Dialect D: a list of ratings with their cases, and a result for each of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from protocols.dialects.jsonrest import JsonRest, JsonRestSettings
from protocols.ratings import Accepted, Answer, Held, PressId, Refused, Unavailable
from tests.protocols.test_txnbody import CASE, NOW_MS, RATING

OTHER = replace(RATING, press=PressId("D0217", 12, 8), invitation="i-2", case_no="2")
OTHERS_CASE = replace(CASE, case_no="2")
RATED = [(RATING, CASE), (OTHER, OTHERS_CASE)]
FIRST = f"D0217-12-7@{RATING.pressed_ms}"


def speaks(**other) -> JsonRest:
    return JsonRest(JsonRestSettings(**({"ratings_url": "https://x/ratings", "api_token": "t"} | other)))


def told(*results) -> Answer:
    return Answer(200, json.dumps({"results": results}).encode())


def test_each_rating_travels_with_its_case_in_words():
    """Level and channel by name, with the national digits beside; no detail that says nothing."""
    request = speaks(province_prefix="36").rating_request(RATED, NOW_MS)
    sent = json.loads(request.body)["ratings"]

    assert "Bearer t" == request.headers["Authorization"]
    assert [FIRST, "i-2"] == [each["id"] for each in sent]
    assert {
        "id": FIRST,
        "level": "dissatisfied",
        "satisfaction": "2",
        "channel": "window_pad",
        "pf": "4",
        "pressed_ms": RATING.pressed_ms,
        "hall": "JN-LX",
        "window": "A07",
        "clerk": "",
        "service_number": 1,
        "tags": ["213", "214"],
        "tags_version": 2,
        "text": RATING.text,
    } == {name: value for name, value in sent[0].items() if name != "case"}
    assert "36" + RATING.case_no == sent[0]["case"]["case_no"]
    assert "张建国" == sent[0]["case"]["applicant_name"]
    assert "area_name" not in sent[0]["case"]


def test_results_are_told_by_their_ids():
    """Whatever the order. Red if the first result is taken for the first rating."""
    answer = told(
        {"id": "i-2", "result": "refused", "message": "不行"}, {"id": FIRST, "result": "accepted", "receipt": "R1"}
    )

    assert (Accepted(receipt="R1"), Refused("不行")) == speaks().verdicts(answer, RATED)


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        ({"result": "accepted"}, Accepted()),
        ({"result": "duplicate", "message": "已有"}, Accepted(duplicate=True, words="已有")),
        ({"result": "refused"}, Refused("省平台未说明原因 / no reason given")),
        ({"result": "again", "message": "忙"}, Unavailable("忙")),
    ],
)
def test_what_the_platform_says(result, verdict):
    assert (verdict,) == speaks().verdicts(told({"id": FIRST, **result}), RATED[:1])


def test_a_rating_that_the_answer_passes_over_is_not_marked():
    """It is sent again. Red if it counts as taken because the call was."""
    taken, passed_over = speaks().verdicts(told({"id": FIRST, "result": "accepted"}), RATED)

    assert Accepted() == taken
    assert isinstance(passed_over, Unavailable)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"results": []}', b'{"results": [{"id": "x"}]}', b"<html>", b"\xff"]
)
def test_rubbish_is_no_answer(body):
    verdicts = speaks().verdicts(Answer(200, body), RATED)

    assert [Unavailable, Unavailable] == [type(verdict) for verdict in verdicts]


@pytest.mark.parametrize("status", [302, 401, 403, 429, 500, 503])
def test_another_status_is_no_answer(status):
    answer = told({"id": FIRST, "result": "accepted"})
    verdicts = speaks().verdicts(Answer(status, answer.body, {"retry-after": "9"}), RATED)

    assert [9, 9] == [verdict.wait_s for verdict in verdicts]


def test_a_missing_detail_is_named():
    assert Held("lacking", "dept_code, certificate_no") == speaks().held(
        RATING, replace(CASE, dept_code="", certificate_no=" ")
    )


def test_a_rating_never_travels_with_another_case():
    with pytest.raises(ValueError, match="another case"):
        speaks().rating_request([(OTHER, CASE)], NOW_MS)
