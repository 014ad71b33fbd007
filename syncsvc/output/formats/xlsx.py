"""
Rows as an Excel workbook of one sheet: typed cells, a frozen heading and totals.

Excel has binary floating point, which holds every amount of 15 digits exactly, no time zones, and
at most 1,048,576 rows: what does not fit is an error, not a shorter file.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, BinaryIO

import xlsxwriter
from xlsxwriter.utility import xl_range

from syncsvc.errors import ConfigurationError
from syncsvc.output.formats import csv_json
from syncsvc.reports import Kind
from syncsvc.reports.definition.totals import RunningTotals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from syncsvc.reports import Column, Row

MOST_ROWS = 1_048_576 - 2  # of a sheet, but for the heading and the totals
LONGEST_NAME = 31  # characters of a sheet's
LONGEST_TEXT = 32_767  # characters of a cell
MOST_DIGITS = 15  # of a number that Excel does not round
FIRST_YEAR = 1901  # Excel counts days from 1900, with a day too many in its February
ILLEGAL = str.maketrans(dict.fromkeys((0xFFFE, 0xFFFF), "\ufffd"))  # in XML
OPTIONS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_numbers": False,
    "strings_to_urls": False,
    "use_zip64": True,  # a sheet may be larger than 4 GB before it is compressed
}
LOOKS = {
    Kind.NUMBER: "#,##0",
    Kind.ID: "0",
    Kind.DAYS: "#,##0.0",
    Kind.PERCENT: "0.0",
    Kind.MOMENT: "yyyy-mm-dd hh:mm:ss",
    Kind.MONTH: "yyyy-mm",
}
WIDTHS = {Kind.TEXT: 20, Kind.MOMENT: 20, Kind.AMOUNT: 18}
USUAL_WIDTH = 12


class Workbook:
    """
    A workbook of one sheet, whose rows are added one after the other.
    """

    def __init__(
        self, file: BinaryIO, name: str, columns: Sequence[Column], currency: str | None
    ) -> None:
        self._columns = columns
        self._book = xlsxwriter.Workbook(file, OPTIONS)
        self._sheet = self._book.add_worksheet(name[:LONGEST_NAME])
        self._looks = {kind: _look(kind, currency) for kind in Kind}
        self._formats = {kind: self._format(kind) for kind in Kind}
        self._totals = RunningTotals(columns)
        self._last = 0
        self._write_heading(currency)

    def _format(self, kind: Kind, **more: object) -> Any:  # noqa: ANN401 - it ships no types
        return self._book.add_format({"num_format": self._looks[kind], **more})

    def _write_heading(self, currency: str | None) -> None:
        bold = self._book.add_format({"bold": True, "bottom": 1})
        for place, column in enumerate(self._columns):
            width = max(WIDTHS.get(column.kind, USUAL_WIDTH), len(column.name) + 2)
            self._sheet.set_column(place, place, width, self._formats[column.kind])
            self._sheet.write_string(0, place, csv_json.heading(column, currency), bold)
        self._sheet.freeze_panes(1, 0)

    def add(self, row: Row) -> None:
        """
        Add a row.

        Raises:
            ConfigurationError: The sheet is full, or a text is too long for a cell.
        """
        self._last += 1
        if self._last > MOST_ROWS:
            raise ConfigurationError(
                f"A sheet has room for {MOST_ROWS:,} rows. Use --format csv or parquet, or fewer "
                "rows, such as those of one --country."
            )
        self._totals.add(row)
        for place, column in enumerate(self._columns):
            self._write_cell(place, row[column.name], column)

    def _write_cell(self, place: int, value: Any, column: Column) -> None:  # noqa: ANN401 - of its kind
        at, look = (self._last, place), self._formats[column.kind]
        match _cell(value):
            case None:
                pass
            case str(text) if len(text) > LONGEST_TEXT:
                raise ConfigurationError(
                    f"{column.name} in row {self._last:,} has {len(text):,} characters, a cell at "
                    f"most {LONGEST_TEXT:,}. Use another format."
                )
            case str(text):
                self._sheet.write_string(*at, text, look)
            case date() as day:
                self._sheet.write_datetime(*at, day, look)
            case number:
                self._sheet.write_number(*at, number, look)

    def close(self) -> None:
        """
        Add the totals, which follow a filter, and write the file.
        """
        totals = self._totals.row()
        if totals is not None:
            for place, column in enumerate(self._columns):
                self._write_total(place, column, totals[column.name])
        self._sheet.autofilter(0, 0, self._last, len(self._columns) - 1)
        self._book.close()

    def _write_total(self, place: int, column: Column, total: Any) -> None:  # noqa: ANN401 - of its kind
        at, look = (self._last + 1, place), self._format(column.kind, bold=True, top=1)
        if column.has_total:
            cells = xl_range(1, place, self._last, place)
            self._sheet.write_formula(*at, f"=SUBTOTAL(109,{cells})", look, float(total))
        else:
            self._sheet.write(*at, total, look)


def write(
    columns: Sequence[Column],
    rows: Iterable[Row],
    stream: BinaryIO,
    *,
    name: str,
    currency: str | None,
) -> None:
    """
    Write a workbook with these rows, which may be very many.

    Args:
        columns: The columns, in order.
        rows: The rows, with a value for each column.
        stream: Where to, seekable or not.
        name: The name of the sheet.
        currency: The code of the amounts' currency, if known.

    Raises:
        ConfigurationError: A sheet can't hold that many rows, or a text that long.
    """
    with tempfile.TemporaryFile() as file:  # a ZIP file is not written from start to end
        with closing(Workbook(file, name, columns, currency)) as book:
            for row in rows:
                book.add(row)
        file.seek(0)
        shutil.copyfileobj(file, stream)


def _look(kind: Kind, currency: str | None) -> str:
    """
    Return the number format of a kind: amounts have four places, and the currency if it is known.
    """
    if kind is not Kind.AMOUNT:
        return LOOKS.get(kind, "@")
    return f'#,##0.0000 "{currency}"' if currency else "#,##0.0000"


def _cell(value: object) -> str | float | date | None:
    """
    Convert a value to what a cell can have: as text if Excel would round a number or move a date.
    """
    if isinstance(value, datetime):
        naive = value.astimezone(UTC).replace(tzinfo=None)
        return naive if naive.year >= FIRST_YEAR else str(naive)
    if isinstance(value, date) or value is None:
        return value
    if isinstance(value, int | Decimal):
        exact = len(str(value).lstrip("-").replace(".", "").lstrip("0")) <= MOST_DIGITS
        return float(value) if exact else str(value)
    return str(value).translate(ILLEGAL)
