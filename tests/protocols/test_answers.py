"""Whatever a province answers, each dialect makes a verdict of it for each rating, and never raises."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dialects import Dialect
from protocols.ratings import Accepted, Answer, Refused, Token, Unavailable
from tests.protocols import test_flat, test_jsonrest, test_linewell, test_txnbody
from tests.protocols.test_txnbody import CASE, RATING

SPOKEN: dict[str, Dialect] = {
    "txnbody": test_txnbody.TxnBody(test_txnbody.settings()),
    "linewell": test_linewell.speaks(),
    "flat": test_flat.speaks(),
    "json": test_jsonrest.speaks(),
}
RATED = [(RATING, CASE)]
HEADERS = st.dictionaries(st.sampled_from(["retry-after", "x-error-code", "content-type"]), st.text(max_size=12))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "success",
                    "C-Response-Desc",
                    "C-Response-Body",
                    "message",
                    "results",
                    "id",
                    "result",
                    "errorMsg",
                    "data",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
).map(lambda value: json.dumps(value).encode())
XML = st.text(alphabet='<>/&;"Case returncode200123 evaluateUnid\n', max_size=80).map(
    lambda text: f"<return>{text}</return>".encode()
)


@pytest.mark.parametrize("name", SPOKEN)
@given(status=st.integers(100, 599), headers=HEADERS, body=st.binary(max_size=120) | JSON | XML)
def test_every_answer_has_a_verdict(name, status, headers, body):
    """One for each rating; words that a table can show; and only HTTP 200 says yes or no."""
    (verdict,) = SPOKEN[name].verdicts(Answer(status, body, headers), RATED)

    assert isinstance(verdict, Accepted | Refused | Unavailable)
    assert len(verdict.words) <= 250
    if status != 200:
        assert isinstance(verdict, Unavailable)


@given(status=st.integers(100, 599), body=st.binary(max_size=60) | JSON)
def test_every_answer_to_a_wish_for_a_token_is_one_or_none(status, body):
    assert isinstance(SPOKEN["linewell"].token(Answer(status, body), 0), Token | Unavailable)


@pytest.mark.parametrize("name", SPOKEN)
def test_a_rating_never_travels_with_another_case(name):
    """Red if somebody's details can go out under another one's rating."""
    other = [(RATING, test_txnbody.replace(CASE, case_no="2"))]
    with pytest.raises(ValueError, match="another case"):
        SPOKEN[name].rating_request(other, 0)


@pytest.mark.parametrize("name", SPOKEN)
def test_what_is_shown_to_a_person_is_what_is_sent(name):
    """`forward --dry-run` shows these records. Red if it shows another level, or forgets the rating."""
    shown = SPOKEN[name].records(RATING, test_flat.CASE, case_too=True)
    levels = [record.get("satisfaction") or record.get("alternate") for _, record in shown]

    assert "2" == levels[-1]
    assert (2 if name == "txnbody" else 1) == len(shown)
