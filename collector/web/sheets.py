"""Tables that people take away: as CSV that a spreadsheet opens, and as a workbook. The only user of XlsxWriter."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, Literal, NamedTuple

import xlsxwriter  # type: ignore[import-untyped]

from ..cells import harmless, runs
from ..ledger.tally import DAY_MS, ZONE_MS, day_text, second_text

Cell = str | int | float | None
Kind = Literal["text", "number", "time", "day", "share"]
"""What stands in a column: text, a number, a moment in milliseconds, a day by its number, a share of one."""
KINDS = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_TOGETHER = 500  # rows in one piece of the answer
_PIECE = 65_536
_ROW_LAST = 1_048_575  # of a sheet, counted from nought: what is written behind it is dropped without a word
_MORE = "还有更多行放不下, 请改用 CSV / there are more lines than a sheet has room for: take the CSV"
_EPOCH = 25_569  # 1970-01-01 as spreadsheets count days
_FORMATS = {"time": "yyyy-mm-dd hh:mm:ss", "day": "yyyy-mm-dd", "share": "0.0%"}


class Column(NamedTuple):
    """One column: what stands above it, what it means, and how wide it is in characters."""

    name: str
    about: str
    kind: Kind = "text"
    width: int = 12


class Table(NamedTuple):
    """A table to take away. `name` is its file's; `title` its sheet's; `explains` that of the sheet that says what each
    column means, below `notes`."""

    name: str
    title: str
    explains: str
    columns: Sequence[Column]
    rows: Iterable[Sequence[Cell]]
    notes: Sequence[str] = ()


def csv_of(table: Table) -> Iterator[bytes]:
    """RFC 4180, with a byte order mark: without it a spreadsheet takes Chinese for something else."""
    yield b"\xef\xbb\xbf"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([column.name for column in table.columns])
    for number, row in enumerate(table.rows, 1):
        writer.writerow([_as_text(column, cell) for column, cell in zip(table.columns, row, strict=True)])
        if number % _TOGETHER == 0:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


def _as_text(column: Column, cell: Cell) -> Cell:
    if column.kind == "time" and isinstance(cell, int):
        return second_text(cell)
    if column.kind == "day" and isinstance(cell, int):
        return day_text(cell)
    return harmless(cell)


def xlsx_of(table: Table) -> Iterator[bytes]:
    """A workbook with the table and what its columns mean, written row by row to a file of its own and read from
    there."""
    with tempfile.TemporaryFile() as file:
        _write(file, table)
        file.seek(0)
        while piece := file.read(_PIECE):
            yield piece


def _write(file: IO[bytes], table: Table) -> None:
    book = xlsxwriter.Workbook(
        file,
        {
            "constant_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
        },
    )
    _Sheet(book, table.title, table.columns).fill(table.rows)
    about = _Sheet(book, table.explains, [Column(table.explains, "", width=34), Column("", "", width=90)])
    about.fill([*([note, ""] for note in table.notes), ["", ""], *((each.name, each.about) for each in table.columns)])
    book.close()


class _Sheet:
    """One sheet of a workbook, written from its top to its end."""

    def __init__(self, book: Any, title: str, columns: Sequence[Column]):
        self._columns = columns
        self._sheet = book.add_worksheet(title)
        self._head = book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})
        # Excel takes it for text even after somebody has clicked into the cell; its words stay as they were.
        self._quoted = book.add_format({"quote_prefix": True})
        self._formats = {
            kind: book.add_format({"num_format": form, "align": "left"}) for kind, form in _FORMATS.items()
        }

    def fill(self, rows: Iterable[Sequence[Cell]]) -> None:
        """Write all of it."""
        for at, column in enumerate(self._columns):
            self._sheet.set_column(at, at, column.width)
            self._sheet.write_string(0, at, column.name, self._head)
        self._sheet.freeze_panes(1, 0)
        number, rows = 0, iter(rows)
        for number, row in enumerate(rows, 1):
            if number == _ROW_LAST and next(rows, None) is not None:
                self._sheet.write_string(number, 0, _MORE)
                break
            for at, (column, cell) in enumerate(zip(self._columns, row, strict=True)):
                self._put(number, at, column.kind, cell)
        self._sheet.autofilter(0, 0, number, len(self._columns) - 1)

    def _put(self, row: int, at: int, kind: Kind, cell: Cell) -> None:
        if kind == "time" and isinstance(cell, int):
            self._sheet.write_number(row, at, (cell + ZONE_MS) / DAY_MS + _EPOCH, self._formats[kind])
        elif kind == "day" and isinstance(cell, int):
            self._sheet.write_number(row, at, cell + _EPOCH, self._formats[kind])
        elif isinstance(cell, str):
            self._sheet.write_string(row, at, cell, self._quoted if runs(cell) else None)
        elif cell is not None:
            self._sheet.write_number(row, at, cell, self._formats.get(kind))
