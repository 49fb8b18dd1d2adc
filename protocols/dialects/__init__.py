"""How each province wants to be told: a case and a rating become its request, its answer becomes a verdict."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

from protocols.ratings import Answer, Case, Held, Rating, Request, Token, Unavailable, Verdict

Rated = tuple[Rating, Case]
"""A rating and the case that it is of."""


class Dialect(Protocol):
    """One province's way to say it. Pure: whoever holds one makes the calls and keeps the answers."""

    @property
    def case_first(self) -> bool:
        """Whether the province must have the case before it takes a rating of it."""

    @property
    def together_max(self) -> int:
        """How many ratings may travel in one call."""

    def case_lacks(self, case: Case) -> tuple[str, ...]:
        """Which fields of this case a person has to fill in, or to put right, before it can be sent."""

    def held(self, rating: Rating, case: Case) -> Held | None:
        """Why a person has to look at this rating before it can be sent; None if it can go."""

    def token_request(self, now_ms: int) -> Request | None:
        """How to ask for a token; None where none is needed."""

    def token(self, answer: Answer, now_ms: int) -> Token | Unavailable:
        """The token in its answer."""

    def case_request(self, case: Case, now_ms: int, token: str = "") -> Request:
        """How to tell it of one service of a case that lacks nothing."""

    def rating_request(self, ratings: Sequence[Rated], now_ms: int, token: str = "") -> Request:
        """How to tell it of ratings that nothing holds back, `together_max` at most."""

    def records(self, rating: Rating, case: Case, case_too: bool) -> list[tuple[str, dict[str, Any]]]:
        """What would be sent, before it is hidden: where to, and field by field. For a person to look at."""

    def verdicts(self, answer: Answer, ratings: Sequence[Rated]) -> tuple[Verdict, ...]:
        """What its answer says about each of these ratings, or about the case of the one, in order; never raises."""


WORDS_MAX = 200  # characters: the longest reason seen is under 40, and an error page says all in its title


def quoted(text: str) -> str:
    """A province's own words, fit to be kept and shown: at most 200 characters, and nobody's numbers in them.

    Provinces repeat what they were sent ("身份证号…校验不通过"): certificate and telephone numbers, and whatever
    stands under the name of a personal field, become ***. The rest stays as it is. Names in running text cannot be
    told from other words here: `without_details` takes those out.
    """
    text = text[: WORDS_MAX * 10]  # an error page can be megabytes; what is looked through is bounded too
    for personal in _PERSONAL:
        text = personal.sub(lambda found: found.group("keep") + "***", text)
    return text[:WORDS_MAX]


def without_details(words: str, case: Case) -> str:
    """The same words, with *** wherever they repeat a personal detail of this case."""
    details = (
        case.applicant_name,
        case.certificate_no,
        case.mobile,
        case.handler_name,
        case.handler_certificate_no,
    )
    for detail in details:
        if len(detail) > 1:  # one character is in every sentence
            words = words.replace(detail, "***")
    return words


# A case number can look like a certificate (area, date, count). It goes too: the reader has it beside the words.
_PERSONAL = (
    re.compile(
        r"(?P<keep>(?<![A-Za-z])(?:(?:handle)?userName|applicantName|name|mobile|contactMobile|contactPhone"
        r"|certKey(?:GOV)?|certificate_?no|creditNum|handleUserPageCode|writingEvalua(?:tion)?)"
        r"[\"'\\]*\s*(?:[:=：>]|&gt;)\s*[\"'\\]*)[^\"'\\,，;；&}<\s]+",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<keep>)(?<!\d)\d{6}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\d)"),
    re.compile(r"(?P<keep>)(?<!\d)1[3-9]\d{9}(?!\d)"),  # mobile numbers
    re.compile(r"(?P<keep>)(?<![0-9A-Za-z])[A-Z]{1,2}\d{7,8}(?!\d)"),  # passports and permits
)
