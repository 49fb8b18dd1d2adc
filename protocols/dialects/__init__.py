"""How each province wants to be told: a case and a rating become its request, its answer becomes a verdict."""

from __future__ import annotations

import re
from typing import Protocol

from protocols.ratings import Case, Lacking, Rating, Request, Verdict


class Dialect(Protocol):
    """One province's way to say it. Pure: whoever holds one makes the call and keeps the answer."""

    @property
    def case_first(self) -> bool:
        """Whether the province must have the case before it takes a rating of it."""

    def case_lacks(self, case: Case) -> tuple[str, ...]:
        """Which fields of this case a person has to fill in, or to put right, before it can be sent."""

    def case_request(self, case: Case, now_ms: int) -> Request | Lacking:
        """How to tell it of one service of a case, or which fields of `Case` a person has to fill in first."""

    def rating_request(self, rating: Rating, case: Case, now_ms: int) -> Request | Lacking:
        """How to tell it of one rating, or what is missing."""

    def verdict(self, status: int, body: bytes) -> Verdict:
        """What its answer means, whatever it is; never raises."""


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
        r"|certKey(?:GOV)?|creditNum|handleUserPageCode|writingEvaluation)[\"'\\]*\s*[:=：]\s*[\"'\\]*)"
        r"[^\"'\\,，;；&}\s]+",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<keep>)(?<!\d)\d{6}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\d)"),
    re.compile(r"(?P<keep>)(?<!\d)1[3-9]\d{9}(?!\d)"),  # mobile numbers
    re.compile(r"(?P<keep>)(?<![0-9A-Za-z])[A-Z]{1,2}\d{7,8}(?!\d)"),  # passports and permits
)
