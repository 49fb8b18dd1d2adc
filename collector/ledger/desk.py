"""The desk of parked ratings: a person looks, puts the case right, has it sent again, or gives it up with a reason.

Everything that is done here is written down with who did it, when, why, and what was there before. What was pressed is
never touched: a level, a time, a tag or a text of a citizen's cannot be changed by anybody.
"""

from __future__ import annotations

import dataclasses
import re
import sqlite3
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from protocols.bodies import SAYING, BadBody
from protocols.cases import about_case, case_of
from protocols.ratings import Case
from protocols.seal import CannotOpen

from ..vault import PERSONAL, Locked, Vault, mask, masked
from . import links
from .intake import Intake
from .links import CASE_NO, JOINED, NUMBER
from .store import Store
from .tally import moved

What = Literal["correct", "link", "send_again", "give_up"]
OPEN = "state IN ('awaiting_case', 'parked') AND (state = 'awaiting_case' OR rating.reason != 'given_up')"
"""What waits for a person, or for the business system. Begins as the index `rating_open` says it, or SQLite would look
at every rating there is."""
FIELDS = {field.name: field for field in dataclasses.fields(Case) if field.name not in ("case_no", "service_number")}
"""What of a case can be put right; which case it is, was said when the citizen was asked to rate, or is linked."""
_SHOWN = (
    f"rating.id, hall, number, level, bad, pressed_ms, channel, {CASE_NO} AS case_no, {NUMBER} AS service_number,"
    " clerk, tags, text, state, rating.reason, words, tries, as_is, receipt, duplicate, flagged, made_ms, settled_ms"
    f" FROM rating {JOINED}"
)
_PICKED = (
    "(:reason = '' OR rating.reason = :reason OR state = :reason) AND (:hall = '' OR hall = :hall)"
    " AND (:level = '' OR level = :level)"
)
AT_ONCE = 1000  # ratings that one decision sends again; a person looks in between
_TOGETHER = 100  # in one transaction: what comes from the halls waits for no more
_NO_CASE = "这次评价没有办件编号, 请先关联办件 / it came without a case number: link it to its case first"
_NEVER = ("damaged",)  # nobody knows what the citizen had said
WHO_MAX, WHY_MAX = 64, 500  # characters: they stand in a table that a person reads
_saying = re.compile(SAYING).match
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, dict[str, Any]]).decode


class NotSo(Exception):
    """What somebody wants to be done cannot be done, and why. `field` is what has to be put right."""

    def __init__(self, field: str, words: str):
        super().__init__(words)
        self.field = field


class Desk:
    """What can be done about one parked rating after the other."""

    def __init__(self, store: Store, vault: Vault, intake: Intake):
        self._store = store
        self._vault = vault
        self._intake = intake

    def listed(
        self, most: int, reason: str = "", before: int | None = None, hall: str = "", level: str = ""
    ) -> list[dict[str, Any]]:
        """Ratings that wait, bad ones first, then the oldest; nobody's name in them. `reason`, `hall` and `level` pick,
        `before` goes on: the id of the last one seen, of those that are as bad as that one."""
        rows = self._store.rows(
            f"SELECT {_SHOWN} WHERE {OPEN} AND {_PICKED}"
            " AND (:after IS NULL OR bad < (SELECT bad FROM rating WHERE id = :after)"
            "  OR bad = (SELECT bad FROM rating WHERE id = :after) AND id > :after)"
            " ORDER BY bad DESC, rating.id LIMIT :most",
            {"reason": reason, "hall": hall, "level": level, "after": before, "most": most},
        )
        return [_row(row) for row in rows]

    def of_case(self, case_no: str) -> list[int]:
        """The ratings of this case, whatever became of them: one of each of its services that was rated."""
        with self._store.reading() as db:
            return links.ratings_of_case(db, case_no)

    def count(self, reason: str = "", hall: str = "", level: str = "") -> int:
        """How many wait, picked as in `listed`."""
        found: int = self._store.row(
            f"SELECT count(*) FROM rating WHERE {OPEN} AND {_PICKED}", {"reason": reason, "hall": hall, "level": level}
        )[0]
        return found

    def reasons(self) -> list[dict[str, Any]]:
        """Why ratings wait: each `reason` (or `awaiting_case`) with how many `ratings` and how many `bad` ones."""
        rows = self._store.rows(
            "SELECT CASE state WHEN 'parked' THEN reason ELSE state END AS why, count(*) AS ratings,"
            f" CAST(total(bad) AS INTEGER) AS bad FROM rating WHERE {OPEN} GROUP BY 1 ORDER BY bad DESC, ratings DESC"
        )
        return [{"reason": row["why"], "ratings": row["ratings"], "bad": row["bad"]} for row in rows]

    def shown(self, rating: int) -> dict[str, Any]:
        """One of them with its case, masked, every call that was made for it, and what people did. NotSo if there is
        none."""
        row = self._rating(rating)
        case = self._case(row)
        attempts = self._store.rows(
            "SELECT what, at_ms, verdict, words FROM attempt WHERE rating = ? ORDER BY id DESC LIMIT 50", (rating,)
        )
        return {
            **_row(row),
            "case": _said(masked(case)) if case is not None else None,
            "attempts": [dict(each) for each in attempts],
            "corrections": self._corrections(row),
        }

    def case(self, case_no: str, service_number: int) -> Case:
        """The details of this service as they are; NotSo if they are not there, or cannot be read."""
        found = self._case_of(case_no, service_number)
        if found is None:
            raise NotSo("case_no", f"没有办件 {case_no}/{service_number} 的信息 / its details are not there")
        return found

    def case_shown(self, case_no: str, service_number: int) -> dict[str, Any]:
        """The same, masked, for a person to compare."""
        return _said(masked(self.case(case_no, service_number)))

    # ---- what can be done

    def correct(self, rating: int, changes: Mapping[str, Any], who: str, why: str, now_ms: int) -> None:
        """Put these fields of its case right; it is due again. NotSo says what cannot be done, or be right."""
        with self._store.writing() as db:
            row = self._open(rating, who, why)
            before = self._case(row) or Case(row["case_no"] or "", row["service_number"])
            if not before.case_no:
                raise NotSo("case_no", _NO_CASE)
            after = _changed(before, changes)
            if after == before:
                raise NotSo("", "与现有内容相同 / nothing differs from what is there")
            names = [name for name in FIELDS if getattr(before, name) != getattr(after, name)]
            self._note(db, row, "correct", who, why, now_ms, names, before, after)
            self._intake.take_cases([after], now_ms)
            self._due(db, row, now_ms, as_is=False)

    def link(self, rating: int, case_no: str, service_number: int, who: str, why: str, now_ms: int) -> None:
        """This rating, which came without a case number, is of that service; it is due. Once, and for good. NotSo if
        that service is not there, or has a rating."""
        with self._store.writing() as db:
            row = self._open(rating, who, why, ended=True)
            if row["case_no"] is not None:
                raise NotSo("id", f"已属于办件 {row['case_no']}, 不能改 / it is of a case already, which stays")
            if self._case_of(case_no, service_number) is None:
                words = "请核对编号, 或先由业务系统提交 / check the number, or have the case posted first"
                raise NotSo("case_no", f"没有办件 {case_no}/{service_number} 的信息, {words}")
            other = links.rating_of(db, case_no, service_number)
            if other is not None:
                words = "一次服务只评价一次 / of one service there is one rating"
                raise NotSo("case_no", f"办件 {case_no}/{service_number} 已有第 {other} 号评价, {words}")
            links.link(db, rating, case_no, service_number, who.strip(), why.strip(), now_ms)
            names, before, after = ["case_no", "service_number"], Case(""), Case(case_no, service_number)
            bound = {"id": rating, "case_no": case_no, "service_number": service_number}  # what is noted is of its case
            self._note(db, bound, "link", who, why, now_ms, names, before, after)
            self._due(db, row, now_ms, as_is=False)

    def send_again(self, rating: int, who: str, why: str, as_is: bool, now_ms: int) -> None:
        """Try it again as it stands; with `as_is` also what we hold back ourselves for the province's sake."""
        with self._store.writing() as db:
            row = self._open(rating, who, why, ended=True)
            if row["case_no"] is None:
                raise NotSo("case_no", _NO_CASE)
            if self._case(row) is None:
                raise NotSo("", "还没有办件信息, 请先补齐 / its case is not there yet: put that in first")
            self._note(db, row, "send_again", who, why, now_ms)
            self._due(db, row, now_ms, as_is)

    def send_all_again(self, reason: str, hall: str, level: str, who: str, why: str, as_is: bool, now_ms: int) -> int:
        """The same for those that are picked so, AT_ONCE of them at most; how many were. One that cannot be sent is
        passed over, and waits on."""
        numbers = [row["id"] for row in self.listed(AT_ONCE, reason, None, hall, level)]
        sent = 0
        for at in range(0, len(numbers), _TOGETHER):
            with self._store.writing():
                for number in numbers[at : at + _TOGETHER]:
                    try:
                        self.send_again(number, who, why, as_is, now_ms)
                        sent += 1
                    except NotSo as error:
                        if error.field in ("who", "why"):
                            raise
        return sent

    def give_up(self, rating: int, who: str, why: str, now_ms: int) -> None:
        """It is not to be sent. It stays in the ledger and in every count, and can be sent again later."""
        with self._store.writing() as db:
            row = self._open(rating, who, why)
            self._note(db, row, "give_up", who, why, now_ms)
            moved(db, rating, "parked")
            db.execute(
                "UPDATE rating SET state = 'parked', reason = 'given_up', words = ?, settled_ms = ? WHERE id = ?",
                (f"{who}: {why}", now_ms, rating),
            )

    # ---- small things

    def _rating(self, rating: int) -> sqlite3.Row:
        row = self._store.row(f"SELECT {_SHOWN} WHERE rating.id = ?", (rating,))
        if row is None:
            raise NotSo("id", f"没有第 {rating} 号评价 / there is no rating {rating}")
        found: sqlite3.Row = row
        return found

    def _open(self, rating: int, who: str, why: str, ended: bool = False) -> sqlite3.Row:
        for field, value, most in (("who", who, WHO_MAX), ("why", why, WHY_MAX)):
            if not 1 <= len(value.strip()) <= most or not _saying(value):
                raise NotSo(field, f"{field}: 应为 1–{most} 个字 / must be 1–{most} characters")
        row = self._rating(rating)
        if row["reason"] in _NEVER:
            raise NotSo("id", "评价本身已损坏, 无法处理 / the rating itself is damaged: nothing can be done")
        waits = row["state"] == "awaiting_case" or row["state"] == "parked"
        if not waits or (row["reason"] == "given_up" and not ended):
            raise NotSo("id", f"第 {rating} 号评价不在待处理中 / rating {rating} does not wait for anybody")
        return row

    def _case(self, row: sqlite3.Row) -> Case | None:
        return self._case_of(row["case_no"], row["service_number"])

    def _case_of(self, case_no: str, service_number: int) -> Case | None:
        found = self._store.row(
            "SELECT body FROM service_case WHERE case_no = ? AND service_number = ?", (case_no, service_number)
        )
        if found is None:
            return None
        try:
            return self._vault.show(case_no, service_number, found["body"])
        except (Locked, CannotOpen):
            return None

    def _note(
        self,
        db: sqlite3.Connection,
        row: sqlite3.Row | Mapping[str, Any],
        what: What,
        who: str,
        why: str,
        now_ms: int,
        names: list[str] | None = None,
        before: Case | None = None,
        after: Case | None = None,
    ) -> None:
        changes = {name: {"before": getattr(before, name), "after": getattr(after, name)} for name in names or ()}
        about = about_case(row["case_no"] or "", row["service_number"])
        details = self._vault.hide_text(_encode(changes), about) if changes else None
        db.execute(
            "INSERT INTO correction(rating, at_ms, who, what, reason, details) VALUES (?,?,?,?,?,?)",
            (row["id"], now_ms, who.strip(), what, why.strip(), details),
        )

    def _due(self, db: sqlite3.Connection, row: sqlite3.Row, now_ms: int, as_is: bool) -> None:
        moved(db, row["id"], "due")
        db.execute(
            "UPDATE rating SET state = 'due', reason = '', words = '', tries = 0, next_ms = ?, settled_ms = NULL,"
            " as_is = ? WHERE id = ?",
            (now_ms, as_is, row["id"]),
        )

    def _corrections(self, row: sqlite3.Row) -> list[dict[str, Any]]:
        about = about_case(row["case_no"] or "", row["service_number"])
        found = []
        for each in self._store.rows("SELECT * FROM correction WHERE rating = ? ORDER BY id DESC", (row["id"],)):
            changes = {}
            if each["details"] is not None:
                try:
                    changes = _decode(self._vault.show_text(each["details"], about))
                except (Locked, CannotOpen):
                    changes = {"?": {"before": "?", "after": "?"}}
            found.append(
                {
                    **{name: each[name] for name in ("at_ms", "who", "what", "reason")},
                    "changes": {name: _masked(name, change) for name, change in changes.items()},
                }
            )
        return found


def _masked(name: str, change: dict[str, Any]) -> dict[str, Any]:
    return {side: mask(value) for side, value in change.items()} if name in PERSONAL else change


def _row(row: sqlite3.Row) -> dict[str, Any]:
    found = dict(row)
    found.pop("bad")
    yes_no = {name: bool(row[name]) for name in ("as_is", "duplicate", "flagged")}
    return found | yes_no | {"tags": row["tags"].split(",") if row["tags"] else []}


def _said(case: Case) -> dict[str, Any]:
    """A case without the fields that say nothing."""
    return {name: value for name, value in dataclasses.asdict(case).items() if value not in ("", None)}


def _changed(case: Case, changes: Mapping[str, Any]) -> Case:
    # The body of a posted case serves too, as far as it is of this one.
    own = {"case_no": case.case_no, "service_number": case.service_number}
    changes = {name: value for name, value in changes.items() if name not in own or own[name] != value}
    if not changes:
        raise NotSo("fields", "没有要改的字段 / no field to put right")
    for name in changes:
        if name not in FIELDS:
            raise NotSo(name, f"{name}: 没有这个字段, 可改 / no such field, can be put right: {', '.join(FIELDS)}")
    copied = [name for name in PERSONAL if "**" in str(changes.get(name, ""))]
    if copied:
        raise NotSo(copied[0], f"{copied[0]}: 是遮盖后的内容, 请填全 / this is the masked value: give all of it")
    values = {name: changes.get(name, getattr(case, name)) for name in FIELDS}
    try:
        return case_of({"case_no": case.case_no, "service_number": case.service_number, **values})
    except BadBody as error:
        raise NotSo(error.field, f"{error.field}: 值不对 / wrong value: {expected(error.field)}") from error


def expected(name: str) -> str:
    """What a field of a case may say, in words."""
    if name.endswith("_ms"):
        return "毫秒 UTC 整数 / whole milliseconds UTC"
    kinds = msgspec.inspect.type_info(Case)
    if isinstance(kinds, msgspec.inspect.DataclassType):
        for field in kinds.fields:
            if field.name == name and isinstance(field.type, msgspec.inspect.LiteralType):
                return ", ".join(str(value) for value in field.type.values if value)
    return "文字 / text"
