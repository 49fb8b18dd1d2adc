"""Dialect D from the receiver's side: a data-exchange platform that takes lists of ratings with their cases."""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from firmware_sim.province import Answer, Call, Opened, Outcome, Times, Told, shown
from firmware_sim.province.demands import Record, Rules, tags_mistake

RATINGS_PATH = "/exchange/v1/ratings"
TOGETHER_MAX = 100
LEVELS = {
    "very_satisfied": "5",
    "satisfied": "4",
    "basically_satisfied": "3",
    "dissatisfied": "2",
    "very_dissatisfied": "1",
}
CHANNELS = ("window_keypad", "window_pad", "kiosk", "qr", "web", "mobile", "phone", "sms")
RATING = {  # name: type
    "id": str,
    "level": str,
    "satisfaction": str,
    "channel": str,
    "pf": str,
    "pressed_ms": int,
    "hall": str,
    "window": str,
    "clerk": str,
    "service_number": int,
    "tags": list,
    "tags_version": int,
    "text": str,
    "case": dict,
}
CASE_NEEDS = ("case_no", "area_code", "item_name", "dept_code", "dept_name", "applicant_name", "certificate_no")


@dataclass(frozen=True)
class ExchangeKeys:
    """What the platform and its client have agreed on."""

    api_token: str

    @classmethod
    def made(cls) -> Self:
        return cls(secrets.token_hex(24))


class Exchange:
    """The platform."""

    paths = (RATINGS_PATH,)
    case_first = False
    no_case = ""
    rated_already = "已有评价"

    def __init__(self, keys: ExchangeKeys, rules: Rules | None = None):
        self.keys = keys
        self.rules = rules or Rules()

    def open(self, call: Call) -> Opened | Answer:
        if call.headers.get("authorization") != f"Bearer {self.keys.api_token}":
            return Answer(401)
        try:
            match json.loads(call.body):
                case {"ratings": [*records]} if 1 <= len(records) <= TOGETHER_MAX and all(map(_is_object, records)):
                    return Opened(tuple(_told(record) for record in records))
        except ValueError:
            pass
        return Answer(400, {"Content-Type": "application/json"}, b'{"message": "ratings: 1-100"}')

    def mistake(self, told: Told) -> str | None:
        record: Mapping[str, Any] = told.record
        for name, kind in RATING.items():
            if not isinstance(record.get(name), kind) or isinstance(record[name], bool):
                return f"{name}: {kind.__name__}"
        if unknown := record.keys() - RATING.keys():
            return f"{min(unknown)}: unknown"
        if LEVELS.get(record["level"]) != record["satisfaction"]:
            return "level, satisfaction"
        if record["channel"] not in CHANNELS or not re.fullmatch("[1-7]", record["pf"]):
            return "channel, pf"
        if missing := [name for name in CASE_NEEDS if not record["case"].get(name)]:
            return f"case.{missing[0]}: missing"
        if wrong := tags_mistake(",".join(record["tags"]), record["satisfaction"]):
            return f"tags: {wrong}"
        if self.rules.requires_reason and record["satisfaction"] in "12" and not (record["tags"] or record["text"]):
            return "tags, text: required of a bad rating"
        return None

    def repeated(self) -> str | None:
        return None

    def times(self, told: Told, case: Record) -> Times:
        record: Mapping[str, Any] = told.record
        return Times(record["pressed_ms"], record["case"].get("service_ms"))

    def answer(self, outcomes: Sequence[Outcome]) -> Answer:
        results = [
            {
                "id": outcome.told.id if outcome.told else "",
                "result": "refused" if outcome.kind == "body_false" else outcome.kind,
                "message": outcome.words,
                "receipt": outcome.receipt,
            }
            for outcome in outcomes
        ]
        return shown({"results": results[::-1]})  # in whatever order: they are told by their ids

    def spoilt(self, kind: str) -> Outcome:
        return Outcome("refused", "业务校验未通过" if kind == "body_false" else kind)

    def token_lost(self) -> Answer:
        return Answer(401)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _told(record: dict[str, Any]) -> Told:
    case = record.get("case")
    case_no = str(case.get("case_no", "")) if isinstance(case, dict) else ""
    number = str(record.get("service_number", ""))
    row = record | {"projectNo": case_no, "serviceNumber": number}
    return Told("rating", record, case_no, number, row, str(record.get("id", "")))
