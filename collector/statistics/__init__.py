"""Statistics of a period from the ledger alone. Nothing is kept for them, so there is nothing that could be edited:
each answer counts the rows again, and `recount.py` counts the same from the records themselves."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from protocols.seal import CannotOpen

from ..directory import CLIENT, Directory
from ..ledger.links import CASE_JOINED, CASE_NO, JOINED, NUMBER
from ..ledger.store import Store
from ..ledger.tally import DAY, begins_ms, day_of, day_text
from ..mending.mendings import Mending, Mendings
from ..vault import Locked, Vault
from .figures import By, Counts, Mended, Where, figures, lines

ITEMS_MAX = 200_000
"""Services whose details are opened for one answer of a page: some seconds. The command line knows no limit."""
_COLUMNS = {
    "hall": ("hall",),
    "window": ("hall", "number"),
    "item": (),
    "clerk": ("hall", "clerk"),
    "channel": ("channel",),
    "day": ("day",),
    "month": ("day",),
}
_SQL = {"day": DAY, "hall": "hall", "number": "rating.number", "clerk": "coalesce(clerk, '')", "channel": "channel"}
_NO_DETAILS = "?"
"""The item of a case whose details are not there, or cannot be read here."""


class _Details(msgspec.Struct, frozen=True):
    """What of a case's details says which item it is of."""

    item_code: str = ""
    item_name: str = ""


_item_in = msgspec.json.Decoder(_Details).decode


class TooMany(Exception):
    """More cases in the period than a page may open for its items."""


class Statistics:
    """Counts what the ledger has of a period, `first` to `last`, both included: days of Beijing time."""

    def __init__(self, store: Store, vault: Vault, mendings: Mendings, directory: Directory):
        self._store = store
        self._vault = vault
        self._mendings = mendings
        self._directory = directory

    def of(
        self, first: int, last: int, by: By, hall: str, now_ms: int, items_max: int | None = None, cases: bool = False
    ) -> dict[str, Any]:
        """The answer of the API: `lines` by hall, window, …, and `total`; with `cases` also how many services are
        known and rated, for which all of them are looked through. TooMany if the details of more than `items_max` would
        have to be opened."""
        with self._store.reading():
            counts = self.counts(first, last, by, hall, now_ms, items_max)
            known = self._cases(first, last) if cases else {}
            heads = self._heads()
        return {
            "from": day_text(first),
            "to": day_text(last),
            "zone": "UTC+8",
            "by": by,
            "hall": hall,
            "at_ms": now_ms,
            "lines": lines(counts, by),
            "total": figures(counts) | known,
            "heads": heads,
        }

    def counts(self, first: int, last: int, by: By, hall: str, now_ms: int, items_max: int | None = None) -> Counts:
        """What is counted for that."""
        found = Counts()
        period = {"first_ms": begins_ms(first), "end_ms": begins_ms(last + 1), "hall": hall}
        closings = self._closings(by, period)
        items = self._items(period, closings, items_max) if by == "item" else {}
        self._levels(found, by, period, items)
        self._asked(found, by, closings, hall, items)
        self._mended(found, by, first, last, hall, now_ms, items)
        return found

    # ---- the three counts

    def _levels(self, found: Counts, by: By, period: dict[str, Any], items: dict[tuple[str, int], str]) -> None:
        if by == "item":
            for row in self._store.rows(
                f"SELECT {CASE_NO} AS case_no, {NUMBER} AS service_number, level FROM rating INDEXED BY rating_day"
                f" {JOINED} WHERE {_IN_PERIOD}",
                period,
            ):
                found.levels[Where(item=_item(items, row)), row["level"]] += 1
            return
        columns = _COLUMNS[by]
        chosen = ", ".join(f"{_SQL[name]} AS {name}" for name in columns)
        for row in self._store.rows(
            f"SELECT {chosen}, level, count(*) AS n FROM rating INDEXED BY rating_day WHERE {_IN_PERIOD}"
            f" GROUP BY {', '.join(str(at + 1) for at in range(len(columns) + 1))}",
            period,
        ):
            found.levels[Where(**{name: row[name] for name in columns}), row["level"]] += row["n"]

    def _asked(
        self, found: Counts, by: By, closings: list[sqlite3.Row], hall: str, items: dict[tuple[str, int], str]
    ) -> None:
        """Invitations that ended in the period, however they ended: taking one back makes no rate better. A rated one
        is of its rating's hall and window, one that was not of where its window stands now."""
        for row in closings:
            place = self._directory.places.get((row["agent"], row["window"]))
            where = Where(
                row["day"],
                row["hall"] if row["hall"] is not None else place.hall if place else "",
                row["number"] if row["number"] is not None else place.number if place else "",
                row["clerk"] or "",
                row["channel"] if row["channel"] is not None else place.channel if place else "",
            )
            if hall in ("", where.hall):
                item = _item(items, row) if by == "item" else ""
                found.asked[_kept(where, by, item), bool(row["rated"])] += row["n"]

    def _closings(self, by: By, period: dict[str, Any]) -> list[sqlite3.Row]:
        # Ratings of other channels come with a closing of their own, and nobody knows whom that channel asked.
        day = DAY.replace("pressed_ms", "closed_ms") if by in ("day", "month") else "0"
        clerk = _said("clerk", "rating.clerk") if by == "clerk" else "NULL"
        case_no, number, joined = "NULL", "NULL", ""
        if by == "item":
            case_no, number, joined = _said("case_no", CASE_NO), _said("service_number", NUMBER), JOINED
        return self._store.rows(
            f"SELECT closing.agent, closing.window, {day} AS day, rating.hall, rating.number, rating.channel,"
            f" rating.id IS NOT NULL AS rated, {clerk} AS clerk, {case_no} AS case_no,"
            f" coalesce({number}, 1) AS service_number, count(*) AS n"
            f" FROM closing INDEXED BY closing_at LEFT JOIN rating ON rating.once = closing.invitation {joined}"
            " WHERE closed_ms >= :first_ms AND closed_ms < :end_ms AND substr(closing.agent, 1, :length) != :client"
            " GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10",
            period | {"client": CLIENT, "length": len(CLIENT)},
        )

    def _mended(
        self, found: Counts, by: By, first: int, last: int, hall: str, now_ms: int, items: dict[tuple[str, int], str]
    ) -> None:
        for mending in self._mendings.between(first, last, hall):
            where = Where(
                day_of(mending.pressed_ms), mending.hall, mending.number, mending.clerk or "", mending.channel
            )
            item = items.get((mending.case_no or "", mending.service_number), _NO_DETAILS) if by == "item" else ""
            found.mended[_kept(where, by, item), mended(mending, now_ms)] += 1

    def _cases(self, first: int, last: int) -> dict[str, int]:
        """Services whose details were handed in during these days, of all halls, and how many of them are rated: the
        other way to see coverage, where a hall hands in all that it does."""
        row = self._store.row(
            "SELECT count(*) AS cases, coalesce(sum(EXISTS(SELECT 1 FROM rating WHERE rating.case_no ="
            " service_case.case_no AND rating.service_number = service_case.service_number) OR EXISTS(SELECT 1 FROM"
            " case_link WHERE case_link.case_no = service_case.case_no AND case_link.service_number ="
            " service_case.service_number)), 0) AS cases_rated FROM service_case"
            " WHERE coalesce(given_ms, received_ms) >= ? AND coalesce(given_ms, received_ms) < ?",
            (begins_ms(first), begins_ms(last + 1)),
        )
        return dict(row)

    def _heads(self) -> dict[str, str]:
        """How far both chains reach from which this was counted: on paper they bind the ledger to the report."""
        found = {}
        for name, table in (("ledger", "stretch"), ("steps", "step")):
            number = "n" if table == "stretch" else "id"
            row = self._store.row(f"SELECT {number}, hash FROM {table} ORDER BY 1 DESC LIMIT 1")
            found[name] = f"{row[0]}:{row[1].hex()[:16]}" if row is not None else "0:"
        return found

    # ---- items

    def _items(
        self, period: dict[str, Any], closings: list[sqlite3.Row], most: int | None
    ) -> dict[tuple[str, int], str]:
        """The item of each service in the period: code and name stand in the hidden details, which are opened for it.
        No copy of them stands anywhere in clear."""
        rated = f"FROM rating INDEXED BY rating_day {JOINED} %s WHERE {_IN_PERIOD}"
        rows = self._store.rows(f"SELECT {CASE_NO}, {NUMBER} {rated % ''}", period)
        services = {(row[0], row[1]) for row in rows if row[0]}
        asked = {(row["case_no"], row["service_number"]) for row in closings if row["case_no"]} - services
        if most is not None and len(services) + len(asked) > most:
            raise TooMany(
                f"这段时间有 {len(services) + len(asked)} 个办件, 请缩短时间或用命令行"
                " / too many: fewer days, or the command line"
            )
        found = {}
        for case_no, number, body in self._store.rows(
            f"SELECT service_case.case_no, service_case.service_number, body {rated % f'JOIN {CASE_JOINED}'}", period
        ):
            found[case_no, number] = self._item_of(case_no, number, body)
        for case_no, number in asked:
            row = self._store.row(
                "SELECT body FROM service_case WHERE case_no = ? AND service_number = ?", (case_no, number)
            )
            if row is not None:
                found[case_no, number] = self._item_of(case_no, number, row["body"])
        return found

    def _item_of(self, case_no: str, number: int, body: bytes) -> str:
        try:
            item = _item_in(self._vault.written(case_no, number, body))
        except (Locked, CannotOpen, msgspec.MsgspecError, UnicodeDecodeError):
            return _NO_DETAILS
        return " ".join(filter(None, (item.item_code, item.item_name))) or _NO_DETAILS


def _said(field: str, rated: str) -> str:
    """What a closing says here, in SQL: its rating says it too, as `rated`, and only where there is none the record is
    read."""
    read = f"json_extract(CAST(body AS TEXT), '$.{field}') FROM record"
    where = "record.epoch_id = closing.epoch_id AND record.seq = closing.seq"
    return f"CASE WHEN rating.id IS NOT NULL THEN {rated} ELSE (SELECT {read} WHERE {where}) END"


_IN_PERIOD = "pressed_ms >= :first_ms AND pressed_ms < :end_ms AND (:hall = '' OR hall = :hall)"


def mended(mending: Mending, now_ms: int) -> Mended:
    """How it stands, as it is counted."""
    finding = mending.finding if mending.not_taken_up and mending.finding else ""
    if mending.closed_ms is None:
        return Mended("overdue" if now_ms >= mending.deadline_ms else "open", finding, 0)
    return Mended("in_time" if mending.in_time() else "late", finding, max(0, mending.closed_ms - mending.pressed_ms))


def _item(items: dict[tuple[str, int], str], row: sqlite3.Row) -> str:
    return items.get((row["case_no"] or "", row["service_number"]), _NO_DETAILS)


def _kept(where: Where, by: By, item: str) -> Where:
    """Of where something was, what this answer is by."""
    return Where(item=item) if by == "item" else Where(**{name: getattr(where, name) for name in _COLUMNS[by]})
