"""Dialect A: provinces that take JSON in a "txnBodyCom" envelope, hidden with SM2; the case first, then its rating.

Source: the public Shandong integrations (the same scheme is seen in Beijing). Field names, their order and the codes
are the province's; whatever travels is text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from protocols import sm2
from protocols.ratings import Accepted, Answer, Case, Channel, Held, Rating, Request, Unavailable, Verdict

from .. import Rated, quoted
from ..codes import Codes, ProvinceWays, Tokenless, china_time, empty, load, task_code, wait_s
from .envelope import Envelope, Hider, Order, read_reply
from .queries import Indicator, Queries, Unrated, read_indicators, read_unrated
from .records import Record, Records

_TABLES = load("txnbody")
# Given on a website or a telephone, and not in a hall: the province has another address for these.
_ONLINE = ("web", "mobile")


class TxnBodySettings(ProvinceWays, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one province hands out on joining, and where it differs from the common tables."""

    case_url: str
    offline_rating_url: str
    online_rating_url: str = ""
    """For ratings of website and mobile; empty where the province takes them at the same address as the halls'."""
    app_mark: str
    """应用标识"""
    app_word: str
    """应用密钥"""
    public_key: str
    """The province's SM2 key: 130 hex digits with the leading 04, or 128 without."""
    tenancy_id: str = "370000000000"
    order: Order = "C1C3C2"
    upper_hex: bool = True
    case_sends_service_number: bool = True
    indicators_url: str = ""
    """评价指标: its list of rating tags."""
    services_url: str = ""
    """未评价服务: what a citizen has not rated yet."""
    page_url: str = ""
    """Its own rating page."""
    private_key: str = ""
    """Our SM2 key, 64 hex digits: what the province hides for us is opened with it."""


class TxnBody(Tokenless):
    """Dialect A, as one province speaks it. Raises BadSettings for a public key that is none."""

    case_first = True
    together_max = 1  # the array has room for more, and no client of any province ever sent two
    tables_version = _TABLES.version

    def __init__(self, settings: TxnBodySettings):
        self._settings = settings
        self._codes = Codes(_TABLES, settings)
        hider = Hider(settings.public_key, settings.order, settings.upper_hex)
        self._envelope = Envelope(hider, settings.app_mark, settings.app_word, settings.tenancy_id)
        self._records = Records(self._codes, settings.data_source, settings.case_sends_service_number)
        self._private_key = sm2.PrivateKey.from_hex(settings.private_key) if settings.private_key else None
        self._queries = Queries(self._envelope, hider, self._codes, settings.app_mark, settings.app_word)

    def case_lacks(self, case: Case) -> tuple[str, ...]:
        """What the province requires of a case and this one does not have in a form it takes, in our words for it."""
        case = self._codes.mapped(case)
        code = self._codes.code
        required = {
            "case_no": case.case_no,
            "area_code": self._records.area(case),
            "item_code": task_code(case),
            "item_name": case.item_name,
            "status": code("proStatus", case.status),
            "case_type": code("projectType", case.case_type),
            "dept_code": case.dept_code,
            "dept_name": case.dept_name,
            "mobile": case.mobile,
            "applicant_name": case.applicant_name,
            "applicant_type": code("userProp", case.applicant_type),
            "certificate_type": code("userPageType", case.certificate_type),
            "certificate_no": case.certificate_no,
            "service_name": case.service_name,
            "service_ms": china_time(case.service_ms),
        }
        if case.status == "finished":
            required["finished_ms"] = china_time(case.finished_ms)
        return empty(required)

    def held(self, rating: Rating, case: Case) -> Held | None:
        """Why this rating cannot go as it is."""
        return self._codes.held(rating, case, self.case_lacks(case))

    def case_request(self, case: Case, now_ms: int, token: str = "") -> Request:
        """办件服务: one service of a case."""
        record = self._records.case(self._codes.mapped(case))
        return self._envelope.around(self._settings.case_url, [record], now_ms)

    def rating_request(self, ratings: Sequence[Rated], now_ms: int, token: str = "") -> Request:
        """One rating, with the time at which it was pressed and nothing made up. ValueError for another case's."""
        [(rating, case)] = ratings
        if rating.case_no not in (None, case.case_no):
            raise ValueError(f"rating {rating.press} is of another case than the one it was handed with")
        url, record = self._rated(rating, self._codes.mapped(case))
        return self._envelope.around(url, [record], now_ms)

    def records(self, rating: Rating, case: Case, case_too: bool) -> list[tuple[str, dict[str, Any]]]:
        """The case if it is to go first, and the rating."""
        case = self._codes.mapped(case)
        first: list[tuple[str, dict[str, Any]]] = [(self._settings.case_url, self._records.case(case))]
        return (first if case_too else []) + [self._rated(rating, case)]

    def _rated(self, rating: Rating, case: Case) -> tuple[str, Record]:
        if rating.channel in _ONLINE and self._settings.online_rating_url:
            return self._settings.online_rating_url, self._records.online(rating, case)
        return self._settings.offline_rating_url, self._records.offline(rating, case)

    def verdicts(self, answer: Answer, ratings: Sequence[Rated]) -> tuple[Verdict, ...]:
        """What the province's answer says about the one record that it was sent; never raises."""
        return (self._verdict(answer),)

    def _verdict(self, answer: Answer) -> Verdict:
        text = answer.body.decode("utf-8", "replace")
        if answer.status != 200:
            return Unavailable(quoted(f"HTTP {answer.status} {text}".rstrip()), wait_s=wait_s(answer))
        reply = read_reply(answer.body)
        if reply is None:
            return Unavailable(quoted(text.strip()) or "空答复 / empty answer")
        return Accepted(words=quoted(reply.said)) if reply.taken else self._codes.judge(reply.said)

    # ---- what else it can be asked

    def indicators_request(self, now_ms: int) -> Request | None:
        """How to ask for its rating tags; None where it has no address for that."""
        url = self._settings.indicators_url
        return self._queries.indicators(url, now_ms) if url else None

    def indicators(self, answer: Answer) -> list[Indicator] | Unavailable:
        """The rating tags in its answer."""
        return read_indicators(answer)

    def unrated_request(self, case: Case, now_ms: int) -> Request | None:
        """How to ask what this case's applicant has not rated; None without an address or a key of our own."""
        url = self._settings.services_url
        return self._queries.unrated(url, case, now_ms) if url and self._private_key else None

    def unrated(self, answer: Answer) -> list[Unrated] | Unavailable:
        """The services in its answer."""
        if self._private_key is None:
            return Unavailable("缺少 private_key / private_key is missing")
        return read_unrated(answer, self._private_key, self._settings.order)

    def page(self, case: Case, channel: Channel, now_ms: int) -> str | None:
        """The address of its own rating page for this service, signed as of now; None where it has none."""
        url = self._settings.page_url
        return self._queries.page(url, case, channel, now_ms) if url else None
