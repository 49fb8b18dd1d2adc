"""A simulated province: strict about every field, and misbehaving by seed, in whichever dialect it speaks.

`Province` decides and remembers, without any I/O; a `Way` is one dialect as a province understands it, written from the
description of that province's interface and from nothing of ours. `door` is HTTP around it, `process` a process around
that. What it has accepted is the truth at the far end: each case and rating, exactly as it was opened, is a line of its
journal before the answer leaves. A restart goes on from its journal, as a province would.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

from firmware_sim.province.demands import Record, Rules
from firmware_sim.province.misbehaviour import FORGET, PER_CALL, PER_RECORD, Misbehaviour

FUTURE_MAX_MS = 300_000  # a rating this far ahead of our clock was not given yet


@dataclass(frozen=True)
class Call:
    """One HTTP call. Header names are in lower case; a GET has no body."""

    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    now_ms: int


@dataclass(frozen=True)
class Answer:
    """What goes back: after `delay_ms`, and if `drop` not at all, the line is only cut."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_ms: int = 0
    drop: bool = False


def shown(value: Any, status: int = 200) -> Answer:
    """An answer in JSON."""
    body = json.dumps(value, ensure_ascii=False).encode()
    return Answer(status, {"Content-Type": "application/json;charset=UTF-8"}, body)


class Told(NamedTuple):
    """One record of a call, after it was opened."""

    kind: Literal["case", "rating"]
    record: Record
    case_no: str = ""
    service: str = ""
    """What tells two services of one case apart."""
    row: Mapping[str, Any] = MappingProxyType({})
    """What the journal keeps of it."""
    id: str = ""


class Opened(NamedTuple):
    """A call that was understood: its records, or in the province's words why there are none."""

    told: tuple[Told, ...] = ()
    refusal: str = ""


class Outcome(NamedTuple):
    """What became of one record."""

    kind: Literal["accepted", "duplicate", "refused", "body_false"]
    words: str = ""
    receipt: str = ""
    told: Told | None = None


class Times(NamedTuple):
    """When a rating was given, and its service."""

    given_ms: int
    served_ms: int | None


class Way(Protocol):
    """One dialect, from the province's side."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Where it listens."""

    @property
    def case_first(self) -> bool:
        """Whether it must have the case before it takes a rating of it."""

    @property
    def no_case(self) -> str:
        """Its words for a rating of a case that it does not have."""

    @property
    def rated_already(self) -> str:
        """Its words for a second rating."""

    def open(self, call: Call) -> Opened | Answer:
        """What the call says; an Answer where the gateway in front answers by itself."""

    def mistake(self, told: Told) -> str | None:
        """The first thing wrong with a record by itself."""

    def repeated(self) -> str | None:
        """What it says to a case that it has already in the same words; None for nothing."""

    def times(self, told: Told, case: Record) -> Times:
        """The moments of a rating; `case` is what it has of its case."""

    def answer(self, outcomes: Sequence[Outcome]) -> Answer:
        """The answer to a call with these records."""

    def spoilt(self, kind: str) -> Outcome:
        """What it says of a record that it refuses for no good reason, one of PER_RECORD."""

    def token_lost(self) -> Answer:
        """What its gateway says when it knows a token no longer."""


def _keep_nothing(row: dict[str, Any]) -> None:
    """The journal of a province that keeps none."""


@dataclass
class Province:
    """Cases and ratings as one strict province holds them. Safe to call from many threads.

    `keep` is called with each case and rating before its answer is made, one call at a time.
    """

    way: Way
    rules: Rules = field(default_factory=Rules)
    misbehaviour: Misbehaviour = field(default_factory=Misbehaviour)
    keep: Callable[[dict[str, Any]], None] = _keep_nothing
    slow_ms: int = 2_000
    stall_ms: int = 30_000  # longer than a client should wait

    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _cases: dict[tuple[str, str], Record] = field(default_factory=dict, init=False, repr=False)
    _ratings: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict, init=False, repr=False)
    _forgotten: set[str] = field(default_factory=set, init=False, repr=False)
    _tries: Counter[str] = field(default_factory=Counter, init=False, repr=False)
    _counts: Counter[str] = field(default_factory=Counter, init=False, repr=False)
    _misbehaved: Counter[str] = field(default_factory=Counter, init=False, repr=False)
    _away_until_ms: int = field(default=0, init=False, repr=False)

    def answer(self, path: str, headers: Mapping[str, str], body: bytes, now_ms: int) -> Answer:
        """Answer one call. Whatever the answer says or hides, what was kept is in the journal by now."""
        bare, _, query = path.partition("?")
        if bare not in self.way.paths:
            return Answer(404)
        lower = {name.lower(): value for name, value in headers.items()}
        opened = self.way.open(Call(bare, query, lower, body, now_ms))  # outside the lock: the only slow part
        with self._lock:
            self._counts["calls"] += 1
            if now_ms < self._away_until_ms:
                self._misbehaved["away"] += 1
                return Answer(503, {"Retry-After": "1"})
            return opened if isinstance(opened, Answer) else self._misanswer(bare, opened, now_ms)

    def go_away(self, until_ms: int) -> None:
        """Refuse everything with 503 until that moment; a moment in the past ends it."""
        with self._lock:
            self._away_until_ms = until_ms

    def state(self) -> dict[str, Any]:
        """The counts: what is held, and what was refused, doubled or done wrong."""
        with self._lock:
            counted = {name: self._counts[name] for name in ("duplicates_refused", "refused", "calls")}
            held = {"cases": len(self._cases), "ratings": len(self._ratings)}
            return {**held, **counted, "misbehaved": dict(self._misbehaved)}

    def ratings(self) -> list[dict[str, Any]]:
        """Every accepted rating, in the order of acceptance, as it stands in the journal."""
        with self._lock:
            return list(self._ratings.values())

    def unrated(self) -> list[Record]:
        """The cases of which nobody has rated the service."""
        with self._lock:
            return [record for key, record in self._cases.items() if key not in self._ratings]

    def recall(self, row: dict[str, Any]) -> None:
        """Know again what an earlier process wrote into the journal."""
        record = {name: value for name, value in row.items() if name not in ("kind", "at_ms")}
        key = record["projectNo"], record.get("serviceNumber", "")
        with self._lock:
            if row["kind"] == "case":
                self._cases[key] = record
            else:
                self._ratings[key] = row

    # answering

    def _misanswer(self, path: str, opened: Opened, now_ms: int) -> Answer:
        """The answer of `_judge`, or what the line, the gateway or the load makes of it."""
        first = opened.told[0] if opened.told else Told("rating", {})
        about = f"{path} {first.case_no or None} {first.service or None}"
        self._tries[about] += 1
        kind, dice = self.misbehaviour.pick(PER_CALL, f"{about} {self._tries[about]}")
        if kind is None:
            return self._judge(path, opened, now_ms)
        self._misbehaved[kind] += 1
        kept = kind in ("slow", "timeout_after") or (kind in ("empty", "rubbish", "http_5xx") and dice.random() < 0.5)
        honest = self._judge(path, opened, now_ms) if kept else Answer()
        match kind:
            case "slow":
                return replace(honest, delay_ms=self.slow_ms)
            case "drop_before":
                return Answer(drop=True)
            case "stall_before" | "timeout_after":
                return Answer(delay_ms=self.stall_ms, drop=True)
            case "empty":
                return Answer()
            case "rubbish":
                return Answer(200, {"Content-Type": "text/html"}, "<html><h1>系统繁忙</h1></html>".encode())
            case "http_5xx":
                return Answer(dice.choice((500, 502, 503, 504)))
            case "http_429":
                return Answer(429, {"Retry-After": "1"})
            case "http_403":
                return Answer(403)
            case "token_lost":
                return self.way.token_lost()
            case _:
                return Answer(401)

    def _judge(self, path: str, opened: Opened, now_ms: int) -> Answer:
        """Keep the records and say success, or say in the province's words why not."""
        if not opened.told:
            outcomes = [Outcome("refused", opened.refusal)]
        else:
            outcomes = [self._outcome(path, told, now_ms) for told in opened.told]
        for outcome in outcomes:
            if outcome.kind != "accepted":
                self._counts["duplicates_refused" if outcome.kind == "duplicate" else "refused"] += 1
        return self.way.answer(outcomes)

    def _outcome(self, path: str, told: Told, now_ms: int) -> Outcome:
        mistake = self.way.mistake(told)
        if mistake is not None:
            return Outcome("refused", mistake, told=told)
        kind, _ = self.misbehaviour.pick(PER_RECORD, f"{path} {told.case_no}")
        if kind is not None:
            self._misbehaved[kind] += 1
            return self.way.spoilt(kind)._replace(told=told)
        outcome = self._take_case(told, now_ms) if told.kind == "case" else self._take_rating(told, now_ms)
        return outcome._replace(told=told)

    def _take_case(self, told: Told, now_ms: int) -> Outcome:
        key = told.case_no, told.service
        if self._cases.get(key) == told.record:
            repeated = self.way.repeated()
            return Outcome("refused", repeated) if repeated else Outcome("accepted")
        self.keep({"kind": "case", "at_ms": now_ms, **told.row})
        self._cases[key] = told.record
        return Outcome("accepted")

    def _take_rating(self, told: Told, now_ms: int) -> Outcome:
        key = told.case_no, told.service
        if key in self._ratings:
            return Outcome("duplicate", self.way.rated_already)
        case: Record | None = told.record
        if self.way.case_first:
            self._perhaps_forget(told.case_no)
            case = self._cases.get(key) or self._cases.get((told.case_no, ""))
        if case is None:
            return Outcome("refused", self.way.no_case)
        given_ms, served_ms = self.way.times(told, case)
        if self.rules.refuses_early and served_ms is not None and given_ms < served_ms:
            return Outcome("refused", "评价时间不能早于服务时间")
        if self.rules.refuses_future and given_ms > now_ms + FUTURE_MAX_MS:
            return Outcome("refused", "评价时间不能晚于当前时间")
        row = {"kind": "rating", "at_ms": now_ms, **told.row}
        self.keep(row)
        self._ratings[key] = row
        return Outcome("accepted", receipt=f"PJ{len(self._ratings):012}")

    def _perhaps_forget(self, case_no: str) -> None:
        kind, _ = self.misbehaviour.pick(FORGET, case_no)
        held = [key for key in self._cases if key[0] == case_no] if kind else []
        if not held or case_no in self._forgotten:
            return
        self._misbehaved["forget"] += 1
        self._forgotten.add(case_no)
        for key in held:
            del self._cases[key]
